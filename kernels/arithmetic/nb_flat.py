"""Arithmetic of two arrays over memory in equal slices; the Numba twin of cy_flat.

    out = act(x op y)

Shapes   one-dimensional runs of n elements; out may be x or y
Loops    slices of SLICE elements are the tasks; LLVM turns the branch-free loop into vector code
Cost     two reads and one write per element: bound by memory
"""

from functools import cache, lru_cache

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, floats_of, ints, program, runs, task

SLICE = 16384


@cache
def tasks(dtype, function, relu):
    """The task for one function and one dtype."""
    array, item = floats_of(dtype), dtype.itemsize
    zero = np.float32(0) if dtype == np.float32 else np.float64(0)

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        at = task * SLICE * item
        x, y, out = array(c[0] + at), array(c[1] + at), array(c[2] + at)
        for i in range(min(SLICE, c[3] - task * SLICE)):
            if function == "add":
                z = x[i] + y[i]
            elif function == "sub":
                z = x[i] - y[i]
            elif function == "mul":
                z = x[i] * y[i]
            else:
                z = x[i] / y[i]
            out[i] = zero if relu and z <= zero else z

    return work


@lru_cache(4096)
def programs(p):
    work = Stage(tasks(p.dtype, p.function, p.act != 0), -(-p.n // SLICE), 0.5 * p.n)
    return program([Argument(0), Argument(1), Argument(2), p.n], work)


@runs(programs)
def forward(p, x, y, out, scratch): ...
