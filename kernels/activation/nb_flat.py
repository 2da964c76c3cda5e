"""Activations over memory in equal slices; the Numba twin of cy_flat.

    out = f(x)        dx = g * f'(saved)

Shapes   one-dimensional runs of n elements; the caller hands over dense arrays of equal memory order
Loops    slices of SLICE elements are the tasks; LLVM turns the branch-free loop into vector code. Each slice is indexed from 0: an
         index that could be negative would be corrected at every access
Cost     one read and one write per element (backward: two reads)
"""

from functools import cache, lru_cache

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, doubles, floats_of, ints, program, task
from lamella.kernels._common.nb_math import math_of

SLICE = 16384
RELU, LEAKY_RELU, SIGMOID, TANH, EXP, LOG, ERF, GELU, GELU_TANH = range(1, 10)


@cache
def tasks(dtype, act, backward):
    """The task for one function, one dtype, one direction."""
    array, f = floats_of(dtype), math_of(dtype)
    exp, log, sigmoid, tanh, erf = f.exp, f.log, f.sigmoid, f.tanh, f.erf
    real = np.float32 if dtype == np.float32 else np.float64
    item = dtype.itemsize
    zero, half, one = real(0), real(0.5), real(1)
    a, b, c3 = (
        real(1.5957691216057308),
        real(0.07135481627260025),
        real(0.21406444881780076),
    )  # sqrt(2 / pi) times 2, 2 * 0.044715 and 6 * 0.044715
    root, density, two_over_root = real(0.70710678118654752), real(0.3989422804014327), real(1.1283791670955126)

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        at = task * SLICE * item
        x, g, out = array(c[0] + at), array(c[1] + at), array(c[2] + at)
        slope = real(doubles(ctx)[4])
        for i in range(min(SLICE, c[3] - task * SLICE)):
            s = x[i]
            if act == RELU:
                y = (zero if s <= zero else one) if backward else (zero if s <= zero else s)
            elif act == LEAKY_RELU:
                y = (one if s > zero else slope) if backward else (s if s > zero else s * slope)
            elif act == SIGMOID:
                y = s * (one - s) if backward else sigmoid(s)
            elif act == TANH:
                y = one - s * s if backward else tanh(s)
            elif act == EXP:
                y = s if backward else exp(s)
            elif act == LOG:
                y = one / s if backward else log(s)
            elif act == ERF:
                y = two_over_root * exp(-s * s) if backward else erf(s)
            elif act == GELU:
                y = half + half * erf(root * s)
                y = y + s * (density * exp(-half * s * s)) if backward else s * y
            else:
                h = sigmoid(s * (a + b * (s * s)))  # (1 + tanh u) / 2, which does not cancel
                y = h + s * (a + c3 * (s * s)) * (h * (one - h)) if backward else s * h
            out[i] = g[i] * y if backward else y

    return work


def accepts(pass_, p):
    """Only the functions that the task above knows."""
    return RELU <= p.act <= GELU_TANH


@lru_cache(4096)
def programs(pass_, p):
    first, second, third = Argument(0), Argument(1), Argument(2)
    tasks_of_run, cheap = -(-p.n // SLICE), p.act <= LEAKY_RELU
    if pass_ == "forward":
        work = Stage(tasks(p.dtype, p.act, False), tasks_of_run, (0.5 if cheap else 1.5) * p.n)
        return program([first, None, second, p.n, p.slope], work)
    return program([second, first, third, p.n, p.slope], Stage(tasks(p.dtype, p.act, True), tasks_of_run, 0.5 * p.n))


def forward(p, x, out, scratch):
    programs("forward", p)(x, out, scratch)


def backward(p, g, saved, dx, scratch):
    programs("backward", p)(g, saved, dx, scratch)
