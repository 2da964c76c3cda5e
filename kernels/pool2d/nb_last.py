"""Pooling over channels-last memory, vector lanes over the channels; the Numba twin of cy_last.

    forward    out[i, j, :] = max, average or norm over the window's taps of x[tap, :]
    backward   dx[t, :] = sum over the (window, tap) pairs that are input t

Shapes   x, dx (mb, ih, iw, c); out, g, where (mb, oh, ow, c) in memory; where one byte or one int32 an element
Loops    tasks are blocks of rows of the result (out, or dx): each element is written once, by one task
           column of the row
             registers of channels, four at a time, then one, the last one masked
               taps of the window, or pairs of the input: rows, then columns, in registers that stay
         A norm with another exponent than 2 goes element by element through the C library's pow (`norm_task`).
         Backward of windows side by side goes through g instead, and writes the taps of each window (`tiles_task`).
         Forward, windows of 2 x 2 and 3 x 3 taps that lie inside are unrolled (`windows_of`).
         The other loops over taps and pairs step by an unknown 1: LLVM would unroll windows of two or three taps eightfold.
Edges    the problem's table holds each window's first tap inside and the number of taps: no test in the loops, no padding
Cost     as cy_last
"""

from functools import cache, lru_cache

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, array_i64, doubles, floats_of, inline, ints, program, task, unknown, word
from lamella.kernels._common.nb_simd import lanes, select, simd

MAX, AVG, LP, SQUARE = 0, 1, 2, 3  # SQUARE: lp with the exponent 2
MANY = 4  # registers of channels at a time
GRAIN = 65536  # loads of one element that make a task
# the words of a context before the problem's geometry
X, G, OUT, WHERE, DX, TABLE, ROWS, NORM, FIELDS = range(9)
MB, C, IH, IW, OH, OW, KH, KW, DH, DW, KIND, _, OVERRIDE, H_WINDOWS, H_PTR, H_PAIRS, W_WINDOWS, W_PTR, W_PAIRS = range(FIELDS, FIELDS + 19)


@inline
def divisor(c, i, j):
    """Of the average over window (i, j)."""
    if c[OVERRIDE]:
        return np.float64(c[OVERRIDE])
    return np.float64(word(c[TABLE] + 8 * (c[H_WINDOWS] + 2 * c[OH] + i)) * word(c[TABLE] + 8 * (c[W_WINDOWS] + 2 * c[OW] + j)))


@cache
def window_of(v, kind, index_bytes, masked, size):
    """The results of a window of rows x cols taps for the registers of v; masked: of n channels; size: rows and cols where they are known, or 0."""
    integers = v.integers_1 if index_bytes == 1 else v.integers_4
    element = v.type.element
    low = np.dtype(str(element)).type(-np.inf)

    @inline
    def window(c, i, j, x, rows, cols, row_step, step, kw, out, where, n):
        acc = v.set(low) if kind == MAX else v.zero()
        at = v.set_integer(0)
        r, once = 0, 1 if size else unknown(1)
        tall, wide = size or rows, size or cols
        while r < tall:
            tap, s = x + r * row_step, 0
            while s < wide:
                y = v.load_n(tap, n) if masked else v.load(tap)
                if kind == MAX:
                    take = (y > acc) | (y != y)
                    acc = select(take, y, acc)
                    if index_bytes:
                        at = select(take, v.set_integer(r * kw + s), at)
                elif kind == AVG:
                    acc = acc + y
                else:
                    acc = v.fma(y, y, acc)
                tap += step
                s += once
            r += once
        if kind == AVG:
            acc = acc * element(1.0 / divisor(c, i, j))
        elif kind == SQUARE:
            acc = v.sqrt(acc * element(c[KH] * c[KW] / divisor(c, i, j)))
        if masked:
            v.store_n(out, n, acc)
        else:
            v.store(out, acc)
        if index_bytes:
            integers.store_n(where, n, at)

    return window


@cache
def windows_of(dtype, kind, index_bytes, size):
    """The results of a window for all channels: registers four at a time, then one, the last one masked."""
    one, many, item = lanes(dtype), MANY * lanes(dtype), dtype.itemsize
    whole, single, masked = (window_of(simd(dtype, n), kind, index_bytes, part, size) for n, part in ((MANY, False), (1, False), (1, True)))

    @inline
    def windows(c, i, j, x, rows, cols, row_step, step, to):
        channels, kw, out, where = c[C], c[KW], c[OUT] + to * item, c[WHERE] + to * index_bytes
        end, rest = channels // many * many, channels // one * one
        for k in range(0, end, many):
            whole(c, i, j, x + k * item, rows, cols, row_step, step, kw, out + k * item, where + k * index_bytes, many)
        for k in range(end, rest, one):
            single(c, i, j, x + k * item, rows, cols, row_step, step, kw, out + k * item, where + k * index_bytes, one)
        if rest < channels:
            n = channels - rest
            masked(c, i, j, x + rest * item, rows, cols, row_step, step, kw, out + rest * item, where + rest * index_bytes, n)

    return windows


@cache
def forward_task(dtype, kind, index_bytes, size):
    """A block of rows of out; windows of size x size taps that lie inside are unrolled."""
    item = dtype.itemsize
    clipped, square = windows_of(dtype, kind, index_bytes, 0), windows_of(dtype, kind, index_bytes, size)

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        height, width, channels, ih, iw = c[OH], c[OW], c[C], c[IH], c[IW]
        row_step, step = c[DH] * iw * channels * item, c[DW] * channels * item
        tops, lefts = c[TABLE] + 8 * c[H_WINDOWS], c[TABLE] + 8 * c[W_WINDOWS]
        for row in range(task * c[ROWS], min((task + 1) * c[ROWS], c[MB] * height)):
            image = row // height
            i = row - image * height
            start = c[X] + (image * ih + word(tops + 8 * i)) * iw * channels * item
            rows = word(tops + 8 * (height + i))
            for j in range(width):
                x, cols, to = start + word(lefts + 8 * j) * channels * item, word(lefts + 8 * (width + j)), (row * width + j) * channels
                if size and rows == size and cols == size:
                    square(c, i, j, x, rows, cols, row_step, step, to)
                else:
                    clipped(c, i, j, x, rows, cols, row_step, step, to)

    return work


@cache
def covered_of(v, kind, index_bytes, masked):
    """dx of an input: what the windows over it give it, the pairs from hp and wp on, for the registers of v; masked: for n channels."""
    integers = v.integers_1 if index_bytes == 1 else v.integers_4
    element, item = v.type.element, v.type.element.bitwidth // 8

    @inline
    def covered(c, hp, tall, wp, wide, plane, channel, channels, width, kw, at, n):
        acc = v.zero()
        a, once = 0, unknown(1)
        while a < tall:
            i, b = word(hp + 16 * a), 0
            while b < wide:
                j = word(wp + 16 * b)
                o = plane + (i * width + j) * channels + channel
                g = v.load_n(c[G] + o * item, n) if masked else v.load(c[G] + o * item)
                if kind == MAX:
                    tap = word(hp + 16 * a + 8) * kw + word(wp + 16 * b + 8)
                    where = integers.load_n(c[WHERE] + o * index_bytes, n)
                    acc = select(where == v.set_integer(tap), acc + g, acc)
                elif kind == AVG:
                    acc = acc + g / element(divisor(c, i, j))
                else:
                    y = v.load_n(c[OUT] + o * item, n) if masked else v.load(c[OUT] + o * item)
                    x = v.load_n(c[X] + at, n) if masked else v.load(c[X] + at)
                    share = element(c[KH] * c[KW] / divisor(c, i, j))
                    acc = acc + select(y == v.zero(), v.zero(), g * share * (x / y))
                b += once
            a += once
        if masked:
            v.store_n(c[DX] + at, n, acc)
        else:
            v.store(c[DX] + at, acc)

    return covered


@cache
def backward_task(dtype, kind, index_bytes):
    """A block of rows of dx."""
    one, many, item = lanes(dtype), MANY * lanes(dtype), dtype.itemsize
    whole, single, masked = (covered_of(simd(dtype, n), kind, index_bytes, part) for n, part in ((MANY, False), (1, False), (1, True)))

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        ih, iw, oh, ow, channels, kw, table = c[IH], c[IW], c[OH], c[OW], c[C], c[KW], c[TABLE]
        h_ptr, w_ptr, h_pairs, w_pairs = table + 8 * c[H_PTR], table + 8 * c[W_PTR], table + 8 * c[H_PAIRS], table + 8 * c[W_PAIRS]
        end, rest = channels // many * many, channels // one * one
        for row in range(task * c[ROWS], min((task + 1) * c[ROWS], c[MB] * ih)):
            image = row // ih
            i = row - image * ih
            plane = image * oh * ow * channels
            hp = h_pairs + 16 * word(h_ptr + 8 * i)
            tall = word(h_ptr + 8 * (i + 1)) - word(h_ptr + 8 * i)
            for j in range(iw):
                wp = w_pairs + 16 * word(w_ptr + 8 * j)
                wide = word(w_ptr + 8 * (j + 1)) - word(w_ptr + 8 * j)
                to = (row * iw + j) * channels
                for k in range(0, end, many):
                    whole(c, hp, tall, wp, wide, plane, k, channels, ow, kw, (to + k) * item, many)
                for k in range(end, rest, one):
                    single(c, hp, tall, wp, wide, plane, k, channels, ow, kw, (to + k) * item, one)
                if rest < channels:
                    masked(c, hp, tall, wp, wide, plane, rest, channels, ow, kw, (to + rest) * item, channels - rest)

    return work


@cache
def tile_of(v, kind, index_bytes, masked):
    """dx of the rows x cols taps of a window that shares them with no other, for the registers of v; o: its place in g; masked: of n channels."""
    integers = v.integers_1 if index_bytes == 1 else v.integers_4
    element, item = v.type.element, v.type.element.bitwidth // 8

    @inline
    def tile(c, o, scale, dx, rows, cols, row_step, step, n):
        g = v.load_n(c[G] + o * item, n) if masked else v.load(c[G] + o * item)
        at = integers.load_n(c[WHERE] + o * index_bytes, n) if kind == MAX else v.set_integer(0)
        if kind == AVG:
            g = g * element(scale)
        r, once = 0, unknown(1)
        while r < rows:
            tap, s = dx + r * row_step, 0
            while s < cols:
                part = select(at == v.set_integer(r * c[KW] + s), g, v.zero()) if kind == MAX else g
                if masked:
                    v.store_n(tap, n, part)
                else:
                    v.store(tap, part)
                tap += step
                s += once
            r += once

    return tile


@cache
def tiles_task(dtype, kind, index_bytes):
    """A block of rows of g, and the rows of dx under it, where windows lie side by side; inputs behind the last window get 0."""
    array, real = floats_of(dtype), dtype.type
    one, many, item = lanes(dtype), MANY * lanes(dtype), dtype.itemsize
    whole, single, masked = (tile_of(simd(dtype, n), kind, index_bytes, part) for n, part in ((MANY, False), (1, False), (1, True)))

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        ih, iw, oh, ow, channels = c[IH], c[IW], c[OH], c[OW], c[C]
        row_step, step = iw * channels * item, channels * item
        tops, lefts = c[TABLE] + 8 * c[H_WINDOWS], c[TABLE] + 8 * c[W_WINDOWS]
        end, rest = channels // many * many, channels // one * one
        covered = word(lefts + 8 * (ow - 1)) + word(lefts + 8 * (2 * ow - 1))
        for row in range(task * c[ROWS], min((task + 1) * c[ROWS], c[MB] * oh)):
            image = row // oh
            i = row - image * oh
            top, rows = word(tops + 8 * i), word(tops + 8 * (oh + i))
            below = c[DX] + (image * ih + top) * row_step
            for j in range(ow):
                cols, dx, o = word(lefts + 8 * (ow + j)), below + word(lefts + 8 * j) * step, (row * ow + j) * channels
                scale = 1.0 / divisor(c, i, j) if kind == AVG else 1.0
                for k in range(0, end, many):
                    whole(c, o + k, scale, dx + k * item, rows, cols, row_step, step, many)
                for k in range(end, rest, one):
                    single(c, o + k, scale, dx + k * item, rows, cols, row_step, step, one)
                if rest < channels:
                    masked(c, o + rest, scale, dx + rest * item, rows, cols, row_step, step, channels - rest)
            for r in range(rows):
                behind = array(below + r * row_step + covered * step)
                for k in range((iw - covered) * channels):
                    behind[k] = real(0)
            if i == oh - 1:
                behind = array(below + rows * row_step)
                for k in range((ih - top - rows) * iw * channels):
                    behind[k] = real(0)

    return work


@cache
def norm_task(dtype, backward):
    """A block of rows of the result, for a norm of any exponent."""
    array, real, item = floats_of(dtype), dtype.type, dtype.itemsize

    @task
    def work(ctx, task, slot):
        c, table = ints(ctx), array_i64(ints(ctx)[TABLE])
        height, width, channels = c[IH if backward else OH], c[IW if backward else OW], c[C]
        q = real(doubles(ctx)[NORM])
        for row in range(task * c[ROWS], min((task + 1) * c[ROWS], c[MB] * height)):
            image = row // height
            i = row - image * height
            for j in range(width):
                here = (row * width + j) * channels * item
                x, out = array(c[X] + (here if backward else 0)), array((c[DX] if backward else c[OUT]) + here)
                for k in range(channels):
                    out[k] = real(0)
                if backward:
                    for a in range(table[c[H_PTR] + i], table[c[H_PTR] + i + 1]):
                        for b in range(table[c[W_PTR] + j], table[c[W_PTR] + j + 1]):
                            wi, wj = table[c[H_PAIRS] + 2 * a], table[c[W_PAIRS] + 2 * b]
                            o = ((image * c[OH] + wi) * c[OW] + wj) * channels * item
                            g, y = array(c[G] + o), array(c[OUT] + o)
                            share = real(c[KH] * c[KW] / divisor(c, wi, wj))
                            for k in range(channels):
                                out[k] += real(0) if y[k] == real(0) else g[k] * share * (x[k] / y[k]) ** (q - real(1))
                else:
                    share = real(c[KH] * c[KW] / divisor(c, i, j))
                    for r in range(table[c[H_WINDOWS] + c[OH] + i]):
                        for s in range(table[c[W_WINDOWS] + c[OW] + j]):
                            top, left = table[c[H_WINDOWS] + i] + r * c[DH], table[c[W_WINDOWS] + j] + s * c[DW]
                            tap = array(c[X] + ((image * c[IH] + top) * c[IW] + left) * channels * item)
                            for k in range(channels):
                                out[k] += tap[k] ** q
                    for k in range(channels):
                        out[k] = (out[k] * share) ** (real(1) / q)

    return work


@lru_cache(4096)
def programs(pass_, p):
    backward = pass_ == "backward"
    tiled = backward and p.tiled and p.kind != "lp"
    height, width = (p.ih, p.iw) if backward and not tiled else (p.oh, p.ow)
    loads = (p.oh * p.ow * p.kh * p.kw // max(1, height) + width) * p.c  # per row of the result
    rows = max(1, GRAIN // max(1, loads))
    g, x, out, where, dx = map(Argument, range(5)) if backward else (None, Argument(0), Argument(1), Argument(2), None)
    words = [x, g, out, where if p.indices else None, dx, p.table, rows, p.norm_type, *map(int, p.geometry)]
    if p.kind == "lp" and p.norm_type != 2:
        work = norm_task(p.dtype, backward)
    else:
        kind = SQUARE if p.kind == "lp" else p.kind_number
        if backward:
            work = (tiles_task if tiled else backward_task)(p.dtype, kind, p.index_bytes)
        else:
            work = forward_task(p.dtype, kind, p.index_bytes, p.kh if p.kh == p.kw and p.kh in (2, 3) else 0)
    each = (40 if p.kind == "lp" else 1) / min(lanes(p.dtype), p.c)
    return program(words, Stage(work, -(-p.mb * height // rows), each * loads * p.mb * height))


def forward(p, x, out, where, scratch):
    programs("forward", p)(x, out, where, scratch)


def backward(p, g, x, out, where, dx, scratch):
    programs("backward", p)(g, x, out, where, dx, scratch)
