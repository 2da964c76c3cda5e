"""Stumps over features, one by one; the Numba twin of cy_radix.

    S(i) = weight[order[0]] + ... + weight[order[i]]

Shapes   sum (height + 1, width + 1, samples), norm (samples,), rectangles (F, 3, 4), weights (F, 3), out, x, order (F, samples),
         weight (samples,), extreme, cut (F, 2)
Loops    as in cy_radix, where the reasons stand; sums of one feature at a time
Cost     per feature and sample: 8 to 12 loads; 4 turns (float; double 8) over numbers in the first cache level; one read of 2 or 4 bytes and one of a
         weight, for each round of boosting, in a chain of additions
"""

from functools import cache, lru_cache, partial

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, _pointer, array_f32, array_f64, array_i32, ints, program, runs, task
from numba import carray, njit, types

BLOCK, DIGITS = 16, 256


def _per_slot(p):
    return (16 * p.samples + 32 * DIGITS + 63) // 64 * 64


def scratch(pass_, p):
    return 0, _per_slot(p) if pass_ == "sort" else 0


@cache
def values_task():
    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        rectangles, weights, norm = array_i32(c[2]), array_f32(c[3]), array_f32(c[1])
        features, n, ld = c[5], c[6], c[7] + 1
        for f in range(task * BLOCK, min((task + 1) * BLOCK, features)):
            out = array_f32(c[4] + f * n * 4)
            for i in range(n):
                out[i] = np.float32(0)
            for r in range(3):
                weight, o = weights[3 * f + r], 12 * f + 4 * r
                if weight != np.float32(0):
                    x, y, w, h = (
                        np.int64(rectangles[o]),
                        np.int64(rectangles[o + 1]),
                        np.int64(rectangles[o + 2]),
                        np.int64(rectangles[o + 3]),
                    )
                    at = c[0] + (y * ld + x) * n * 4
                    a, b = array_i32(at), array_i32(at + w * n * 4)
                    d, e = array_i32(at + h * ld * n * 4), array_i32(at + (h * ld + w) * n * 4)
                    for i in range(n):
                        out[i] += weight * np.float32(np.int32(np.int32(a[i] - b[i]) - np.int32(d[i] - e[i])))
            for i in range(n):
                out[i] *= norm[i]

    return work


@cache
def unsigned(bits):
    """The function that makes an array of unsigned numbers from an address."""
    at = _pointer(getattr(types, f"uint{bits}"))

    @njit(inline="always")
    def array(address):
        return carray(at(address), 1 << 56)

    return array


@cache
def sort_task(digits, narrow):
    of_bits, u32, u64 = unsigned(8 * digits), unsigned(32), unsigned(64)
    places, number, same, size = (unsigned(16), np.uint16, 1 << 15, 2) if narrow else (u32, np.uint32, 1 << 31, 4)
    sign, ones = np.uint64(1 << (8 * digits - 1)), np.uint64((1 << (8 * digits)) - 1)
    digit = np.uint64(DIGITS - 1)

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        features, n = c[3], c[4]
        memory = c[2] + slot * c[5]
        keys, counts = u64(memory), array_i32(memory + 16 * n)
        for f in range(task * BLOCK, min((task + 1) * BLOCK, features)):
            x, order = of_bits(c[0] + f * n * digits), places(c[1] + f * n * size)
            src, dst = memory + 8 * n, memory + 12 * n
            a = array_i32(src)
            for i in range(DIGITS * digits):
                counts[i] = 0
            for i in range(n):
                bits = np.uint64(x[i])
                if bits == sign:  # -0
                    bits = np.uint64(0)
                key = (bits ^ ones) if bits & sign else (bits | sign)
                keys[i] = key
                a[i] = i
                for d in range(digits):
                    counts[DIGITS * d + np.int64((key >> np.uint64(8 * d)) & digit)] += 1
            for d in range(digits):
                shift, at = np.uint64(8 * d), DIGITS * d
                if counts[at + np.int64((keys[0] >> shift) & digit)] == n:
                    continue
                total = np.int32(0)
                for b in range(at, at + DIGITS):
                    count = counts[b]
                    counts[b] = total
                    total += count
                a, z = array_i32(src), array_i32(dst)
                for i in range(n):
                    s = a[i]
                    b = at + np.int64((keys[s] >> shift) & digit)
                    z[counts[b]] = s
                    counts[b] += 1
                src, dst = dst, src
            a = array_i32(src)
            for i in range(n):
                order[i] = number(np.int64(a[i]) | (same if i + 1 == n or keys[a[i]] == keys[a[i + 1]] else 0))

    return work


@cache
def choose_task(narrow):
    places, same, size = (unsigned(16), 1 << 15, 2) if narrow else (unsigned(32), 1 << 31, 4)

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        weight, extreme, cut, features, n = array_f64(c[1]), array_f64(c[2]), array_i32(c[3]), c[4], c[5]
        for f in range(task * BLOCK, min((task + 1) * BLOCK, features)):
            order = places(c[0] + f * n * size)
            total, most, least = 0.0, -np.inf, np.inf
            where_most, where_least = -1, -1
            for i in range(n):
                at = np.int64(order[i])
                total += weight[at & (same - 1)]
                if at < same:
                    if total > most:
                        most, where_most = total, i
                    if total < least:
                        least, where_least = total, i
            extreme[2 * f], extreme[2 * f + 1] = most, least
            cut[2 * f], cut[2 * f + 1] = where_most, where_least

    return work


@lru_cache(4096)
def programs(pass_, p):
    tasks, work = -(-p.features // BLOCK), float(p.features * p.samples)
    if pass_ == "values":
        words = [*(Argument(i) for i in range(5)), p.features, p.samples, p.width]
        return program(words, Stage(values_task(), tasks, work))
    if pass_ == "sort":
        words = [*(Argument(i) for i in range(3)), p.features, p.samples, _per_slot(p)]
        return program(words, Stage(sort_task(p.dtype.itemsize, p.narrow), tasks, 10 * work, per_slot=_per_slot(p)))
    words = [*(Argument(i) for i in range(4)), p.features, p.samples]
    return program(words, Stage(choose_task(p.narrow), tasks, 2 * work))


@runs(partial(programs, "values"))
def values(p, sum, norm, rectangles, weights, out, scratch): ...


@runs(partial(programs, "sort"))
def sort(p, x, order, scratch): ...


@runs(partial(programs, "choose"))
def choose(p, order, weight, extreme, cut, scratch): ...
