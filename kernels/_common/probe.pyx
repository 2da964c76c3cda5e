"""What this machine can do at most: multiply-adds per second and bytes copied per second; and a task that shows what the pool does.

Benchmarks put kernels beside these numbers; measure them in the same minute, on the same threads.
"""
cimport numpy as cnp

from lamella.kernels._common.pool cimport parallel_for
from lamella.kernels._common.types cimport i64

import time

from lamella.kernels._common import cpu

cnp.import_array()

cdef extern from "probe.h" nogil:
    enum: LM_CHAINS
    int lm_lanes(int isa, int item) noexcept
    double lm_peak(int isa, int item, i64 steps) noexcept
    void lm_copy(int isa, char *to, const char *origin, i64 n) noexcept

STEPS = 1 << 20     # of one pass over the chains: their counts stay exact in float32
cdef double LONG = 1e12

cdef struct Work:
    int isa, item
    i64 steps, rounds, n, part
    double *sums
    char *to
    const char *origin


cdef void peak_task(void *ctx, i64 task, i64 slot) noexcept nogil:
    cdef Work *w = <Work *>ctx
    cdef double total = 0
    cdef i64 _i
    for _i in range(w.rounds):
        total += lm_peak(w.isa, w.item, w.steps)
    w.sums[task] = total


cdef void copy_task(void *ctx, i64 task, i64 slot) noexcept nogil:
    cdef Work *w = <Work *>ctx
    cdef i64 start = task * w.part
    if start < w.n:
        lm_copy(w.isa, w.to + start, w.origin + start, min(w.part, w.n - start))


cdef void tally_task(void *ctx, i64 task, i64 slot) noexcept nogil:
    (<i64 *>ctx)[task] += 1


def tally():
    """Address of a task that adds 1 to ``ctx[task]`` (int64): proves that each task was run, and run once."""
    return <size_t>&tally_task


def peak(int threads, int rounds, isa=None, int item=4, i64 steps=STEPS):
    """Run `rounds` passes of `steps` multiply-adds on registers, per thread.

    Returns
    -------
    sum : float
        Of all lanes of all registers: flops / 2, exactly, if every multiply-add was executed.
    flops : int
    seconds : float
    """
    cdef Work w
    cdef cnp.ndarray sums = cnp.PyArray_ZEROS(1, [threads], cnp.NPY_FLOAT64, 0)
    w.isa = ("base", "v3", "v4").index(isa or cpu.supported()[0])
    w.item = item
    w.steps = steps
    w.rounds = rounds
    w.sums = <double *>cnp.PyArray_DATA(sums)
    start = time.perf_counter()
    with nogil:
        parallel_for(peak_task, &w, threads, LONG, threads)
    seconds = time.perf_counter() - start
    return sum(sums.tolist()), 2 * threads * rounds * steps * LM_CHAINS * lm_lanes(w.isa, item), seconds


def copy(int threads, cnp.ndarray to, cnp.ndarray origin, isa=None):
    """Copy one contiguous array over another of the same size with ordinary stores, in one part per thread; returns the seconds."""
    cdef Work w
    if to.nbytes != origin.nbytes:
        raise ValueError(f"copy: expected arrays of one size, got {to.nbytes} and {origin.nbytes} bytes")
    w.isa = ("base", "v3", "v4").index(isa or cpu.supported()[0])
    w.to = <char *>cnp.PyArray_DATA(to)
    w.origin = <const char *>cnp.PyArray_DATA(origin)
    w.n = to.nbytes
    w.part = (w.n + threads - 1) // threads
    start = time.perf_counter()
    with nogil:
        parallel_for(copy_task, &w, threads, LONG, threads)
    return time.perf_counter() - start
