"""Pooling over channels-last memory; the Numba twin of cy_last.

    forward    out[i, j, :] = max, average or norm over the window's taps of x[tap, :]
    backward   dx[t, :] = sum over the (window, tap) pairs that are input t

Shapes   x, dx (mb, ih, iw, c); out, g, where (mb, oh, ow, c) in memory; where one byte or one int32 an element
Loops    tasks are blocks of rows of the result; column of the row; taps of the window, or pairs of the input; channels innermost, so that
         LLVM makes vector code of branch-free selections, accumulating in the result's own cache lines; arrays are
         re-based to the pixel, for an index that starts at 0 needs no test for negative numbers.
         With fewer than FEW channels they go outside the taps, one accumulator each.
Edges    the problem's table holds each window's first tap inside and the number of taps: no test in the loops, no padding
Cost     as cy_last, and a load and store of the result per tap, from the first cache level
"""

from functools import cache

import numpy as np
from lamella.kernels._common.nb import array_i32, array_i64, array_u8, context, doubles, floats_of, ints, run, task

MAX, AVG, LP = 0, 1, 2
GRAIN = 65536  # loads of one element that make a task
FEW = 2
# the words of a context before the problem's geometry
X, G, OUT, WHERE, DX, TABLE, ROWS, NORM, FIELDS = range(9)
MB, C, IH, IW, OH, OW, KH, KW, DH, DW, KIND, _, OVERRIDE, H_WINDOWS, H_PTR, H_PAIRS, W_WINDOWS, W_PTR, W_PAIRS = range(FIELDS, FIELDS + 19)


def _types(dtype, index_bytes):
    return floats_of(dtype), np.float32 if dtype == np.float32 else np.float64, array_u8 if index_bytes == 1 else array_i32


@cache
def forward_max(dtype, index_bytes):
    array, real, index = _types(dtype, index_bytes)
    number = np.uint8 if index_bytes == 1 else np.int32
    low = real(-np.inf)
    size = np.dtype(dtype).itemsize

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        table = array_i64(c[TABLE])
        channels, oh, ow = c[C], c[OH], c[OW]
        row_step, step = c[DH] * c[IW] * channels, c[DW] * channels
        hw, ww = c[H_WINDOWS], c[W_WINDOWS]
        for row in range(task * c[ROWS], min((task + 1) * c[ROWS], c[MB] * oh)):
            image = row // oh
            i = row - image * oh
            rows = table[hw + oh + i]
            for j in range(ow):
                cols = table[ww + ow + j]
                first = ((image * c[IH] + table[hw + i]) * c[IW] + table[ww + j]) * channels
                o = (row * ow + j) * channels
                out, where = array(c[OUT] + o * size), index(c[WHERE] + o * index_bytes)
                if channels < FEW:
                    x = array(c[X] + first * size)
                    for k in range(channels):
                        best, at = low, 0
                        for r in range(rows):
                            for s in range(cols):
                                v = x[r * row_step + s * step + k]
                                take = (v > best) | (v != v)
                                best = v if take else best
                                at = r * c[KW] + s if take else at
                        out[k] = best
                        if index_bytes:
                            where[k] = number(at)
                    continue
                for k in range(channels):
                    out[k] = low
                if index_bytes:
                    for k in range(channels):
                        where[k] = number(0)
                for r in range(rows):
                    for s in range(cols):
                        x = array(c[X] + (first + r * row_step + s * step) * size)
                        tap = number(r * c[KW] + s)
                        if index_bytes:
                            for k in range(channels):
                                v, best, at = x[k], out[k], where[k]
                                take = (v > best) | (v != v)
                                out[k] = v if take else best
                                where[k] = tap if take else at
                        else:
                            for k in range(channels):
                                v, best = x[k], out[k]
                                out[k] = v if (v > best) | (v != v) else best

    return work


@cache
def forward_sum(dtype):
    array, real, _ = _types(dtype, 0)
    size = np.dtype(dtype).itemsize

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        table = array_i64(c[TABLE])
        channels, oh, ow, norm = c[C], c[OH], c[OW], c[KIND] == LP
        q = real(doubles(ctx)[NORM])
        row_step, step = c[DH] * c[IW] * channels, c[DW] * channels
        hw, ww = c[H_WINDOWS], c[W_WINDOWS]
        for row in range(task * c[ROWS], min((task + 1) * c[ROWS], c[MB] * oh)):
            image = row // oh
            i = row - image * oh
            rows = table[hw + oh + i]
            for j in range(ow):
                cols = table[ww + ow + j]
                first = ((image * c[IH] + table[hw + i]) * c[IW] + table[ww + j]) * channels
                out = array(c[OUT] + (row * ow + j) * channels * size)
                divisor = real(c[OVERRIDE] if c[OVERRIDE] else table[hw + 2 * oh + i] * table[ww + 2 * ow + j])
                for k in range(channels):
                    out[k] = real(0)
                for r in range(rows):
                    for s in range(cols):
                        x = array(c[X] + (first + r * row_step + s * step) * size)
                        if not norm:
                            for k in range(channels):
                                out[k] += x[k]
                        elif q == real(2):
                            for k in range(channels):
                                out[k] += x[k] * x[k]
                        else:
                            for k in range(channels):
                                out[k] += x[k] ** q
                if not norm:
                    for k in range(channels):
                        out[k] /= divisor
                else:
                    share = real(c[KH] * c[KW]) / divisor
                    if q == real(2):
                        for k in range(channels):
                            out[k] = np.sqrt(out[k] * share)
                    else:
                        for k in range(channels):
                            out[k] = (out[k] * share) ** (real(1) / q)

    return work


@cache
def backward_task(dtype, kind, index_bytes):
    array, real, index = _types(dtype, index_bytes)
    number = np.uint8 if index_bytes == 1 else np.int32
    size = np.dtype(dtype).itemsize

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        table = array_i64(c[TABLE])
        channels, ih, iw, oh, ow = c[C], c[IH], c[IW], c[OH], c[OW]
        q = real(doubles(ctx)[NORM])
        hp, wp, hdiv, wdiv = c[H_PAIRS], c[W_PAIRS], c[H_WINDOWS] + 2 * oh, c[W_WINDOWS] + 2 * ow
        for row in range(task * c[ROWS], min((task + 1) * c[ROWS], c[MB] * ih)):
            image = row // ih
            i = row - image * ih
            for j in range(iw):
                d = (row * iw + j) * channels * size
                dx, x = array(c[DX] + d), array(c[X] + d)
                for k in range(channels):
                    dx[k] = real(0)
                for a in range(table[c[H_PTR] + i], table[c[H_PTR] + i + 1]):
                    for b in range(table[c[W_PTR] + j], table[c[W_PTR] + j + 1]):
                        m, n = table[hp + 2 * a], table[wp + 2 * b]
                        o = ((image * oh + m) * ow + n) * channels
                        g, out, where = array(c[G] + o * size), array(c[OUT] + o * size), index(c[WHERE] + o * index_bytes)
                        if kind == MAX:
                            tap = number(table[hp + 2 * a + 1] * c[KW] + table[wp + 2 * b + 1])
                            for k in range(channels):
                                v, at = g[k], where[k]
                                dx[k] += v if at == tap else real(0)
                            continue
                        divisor = real(c[OVERRIDE] if c[OVERRIDE] else table[hdiv + m] * table[wdiv + n])
                        if kind == AVG:
                            for k in range(channels):
                                dx[k] += g[k] / divisor
                            continue
                        share = real(c[KH] * c[KW]) / divisor
                        if q == real(2):
                            for k in range(channels):
                                y = out[k]
                                dx[k] += real(0) if y == real(0) else g[k] * share * (x[k] / y)
                        else:
                            for k in range(channels):
                                y = out[k]
                                dx[k] += real(0) if y == real(0) else g[k] * share * (x[k] / y) ** (q - real(1))

    return work


def _launch(work, p, height, width, x, g, out, where, dx):
    loads = (p.oh * p.ow * p.kh * p.kw // max(1, height) + width) * p.c  # per row of the result
    rows = max(1, GRAIN // max(1, loads))
    ctx = context(x, g, out, where, dx, p.table, rows, p.norm_type, *p.geometry)
    each = (40 if p.kind == "lp" else 1) / min(8, p.c)
    run(work, ctx, -(-p.mb * height // rows), each * loads * p.mb * height)


def forward(p, x, out, where, scratch):
    work = forward_max(p.dtype, p.index_bytes) if p.kind == "max" else forward_sum(p.dtype)
    _launch(work, p, p.oh, p.ow, x, None, out, where if p.indices else None, None)


def backward(p, g, x, out, where, dx, scratch):
    _launch(backward_task(p.dtype, p.kind_number, p.index_bytes), p, p.ih, p.iw, x, g, out, where if p.indices else None, dx)
