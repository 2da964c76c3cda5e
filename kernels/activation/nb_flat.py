"""Activations over memory in equal slices; the Numba twin of cy_flat.

    out = f(x)        dx = g * f'(saved)

Shapes   one-dimensional runs of n elements; the caller hands over dense arrays of equal memory order
Loops    slices of SLICE elements are the tasks; LLVM turns the branch-free loop into vector code
Cost     one read and one write per element (backward: two reads)
"""

from functools import cache

import numpy as np
from lamella.kernels._common.nb import KEY, context, doubles, floats_of, ints, run, task

SLICE = 16384
RELU, LEAKY_RELU, SIGMOID, TANH = 1, 2, 3, 4


@cache
def tasks(dtype, act, backward):
    """The task for one function, one dtype, one direction."""
    array = floats_of(dtype)
    real = np.float32 if dtype == np.float32 else np.float64
    key = KEY

    @task
    def work(ctx, task, slot):
        key  # noqa: B018 (part of the cache key)
        c = ints(ctx)
        x, g, out, n = array(c[0]), array(c[1]), array(c[2]), c[3]
        slope = real(doubles(ctx)[4])
        start = task * SLICE
        for i in range(start, min(start + SLICE, n)):
            s = x[i]
            if act == RELU:
                y = (real(1) if s > real(0) else real(0)) if backward else (real(0) if s <= real(0) else s)
            elif act == LEAKY_RELU:
                y = (real(1) if s > real(0) else slope) if backward else (s if s > real(0) else s * slope)
            elif act == SIGMOID:
                y = s * (real(1) - s) if backward else real(1) / (real(1) + np.exp(-s))
            else:
                y = real(1) - s * s if backward else np.tanh(s)
            out[i] = g[i] * y if backward else y

    return work


def forward(p, x, out, scratch):
    ctx = context(x, None, out, p.n, p.slope)
    run(tasks(p.dtype, p.act, False), ctx, -(-p.n // SLICE), 0.5 * p.n)


def backward(p, g, saved, dx, scratch):
    ctx = context(saved, g, dx, p.n, p.slope)
    run(tasks(p.dtype, p.act, True), ctx, -(-p.n // SLICE), 0.5 * p.n)
