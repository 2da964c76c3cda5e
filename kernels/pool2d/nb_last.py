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
         The other loops over taps and pairs step by an unknown 1: LLVM would unroll windows of two or three taps eightfold.
Squares  as in cy_last: 2 x 2 and 3 x 3 windows that lie inside are unrolled, their maximum is taken without looking for NaN (`square_of`); so are inputs
         under one or two windows either way (`covered_by`)
Prefetch and few channels: as in cy_last; backward of averages over windows side by side is faster without
Edges    the problem's table holds each window's first tap inside and the number of taps: no test in the loops, no padding
Cost     as cy_last
"""

from functools import cache, lru_cache, partial

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, array_i64, doubles, floats_of, inline, ints, program, runs, task, unknown, word
from lamella.kernels._common.nb_simd import VECTOR_BYTES, lanes, maximum, prefetch_l1, prefetch_write, select, simd

MAX, AVG, LP, SQUARE = 0, 1, 2, 3  # SQUARE: lp with the exponent 2
MANY = 4  # registers of channels at a time
GRAIN = 65536  # loads of one element that make a task
# the words of a context before the problem's geometry
X, G, OUT, WHERE, DX, TABLE, ROWS, NORM, TOGETHER, LANES, TAPS, FIELDS = range(12)
(
    MB, C, IH, IW, OH, OW, KH, KW, DH, DW, KIND, _, OVERRIDE, H_WINDOWS, H_PTR, H_PAIRS, W_WINDOWS, W_PTR, W_PAIRS, SH, SW,
) = range(FIELDS, FIELDS + 21)  # fmt: skip


@inline
def divisor(c, i, j):
    """Of the average over window (i, j)."""
    if c[OVERRIDE]:
        return np.float64(c[OVERRIDE])
    return np.float64(word(c[TABLE] + 8 * (c[H_WINDOWS] + 2 * c[OH] + i)) * word(c[TABLE] + 8 * (c[W_WINDOWS] + 2 * c[OW] + j)))


@cache
def ask(dtype, registers, index_bytes):
    """Prefetch what backward reads for the next row of windows, of so many registers: g and where at o."""
    item, count = dtype.itemsize, lanes(dtype)

    @inline
    def fetch(c, o):
        for u in range(registers):
            prefetch_l1(c[G] + o * item + u * VECTOR_BYTES)
        if index_bytes:
            for u in range(0, registers * count * index_bytes, 64):
                prefetch_l1(c[WHERE] + o * index_bytes + u)

    return fetch


@cache
def window_of(v, kind, index_bytes, masked):
    """The results of a window of rows x cols taps for the registers of v; masked: of n channels."""
    integers = v.integers_1 if index_bytes == 1 else v.integers_4
    element = v.type.element
    low = np.dtype(str(element)).type(-np.inf)

    @inline
    def window(c, i, j, x, rows, cols, row_step, step, kw, out, where, n):
        acc = v.set(low) if kind == MAX else v.zero()
        at = v.set_integer(0)
        r, once = 0, unknown(1)
        while r < rows:
            tap, s = x + r * row_step, 0
            while s < cols:
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
def square_of(v, kind, index_bytes, masked, size):
    """As `window_of` for size x size taps, without looking for NaN: returns whether there was one."""
    integers = v.integers_1 if index_bytes == 1 else v.integers_4
    element, item = v.type.element, v.type.element.bitwidth // 8
    registers = v.lanes * item // VECTOR_BYTES

    @inline
    def square(c, i, j, x, row_step, step, out, where, n):
        below, r, once = x + size * row_step, 0, unknown(1)
        while r < c[SH]:
            s = 0
            while s < c[SW]:
                for u in range(registers):
                    prefetch_l1(below + r * row_step + s * step + u * VECTOR_BYTES)
                s += once
            r += once
        acc = v.load_n(x, n) if masked else v.load(x)
        total, at = acc, v.set_integer(0)
        for r in range(size):
            for s in range(0 if r else 1, size):
                tap = x + r * row_step + s * step
                y = v.load_n(tap, n) if masked else v.load(tap)
                total = total + y
                if kind == MAX:
                    if index_bytes:
                        at = select(y > acc, v.set_integer(r * size + s), at)
                    acc = maximum(y, acc)
        if kind == AVG:
            acc = total * element(1.0 / divisor(c, i, j))
        if masked:
            v.store_n(out, n, acc)
        else:
            v.store(out, acc)
        if index_bytes:
            integers.store_n(where, n, at)
        return kind == MAX and v.any(total != total)

    return square


@cache
def windows_of(dtype, kind, index_bytes, size):
    """The results of a window for all channels: registers four at a time, then one, the last one masked. size: of a square, or 0.

    Returns whether it has to be done again: a square that holds NaN.
    """
    one, many, item = lanes(dtype), MANY * lanes(dtype), dtype.itemsize
    parts = (MANY, False), (1, False), (1, True)
    whole, single, masked = (
        square_of(simd(dtype, n), kind, index_bytes, part, size) if size else window_of(simd(dtype, n), kind, index_bytes, part)
        for n, part in parts
    )

    @inline
    def windows(c, i, j, x, rows, cols, row_step, step, to):
        channels, kw, out, where = c[C], c[KW], c[OUT] + to * item, c[WHERE] + to * index_bytes
        end, rest, again = channels // many * many, channels // one * one, False
        for k in range(0, end, many):
            if size:
                again |= whole(c, i, j, x + k * item, row_step, step, out + k * item, where + k * index_bytes, many)
            else:
                whole(c, i, j, x + k * item, rows, cols, row_step, step, kw, out + k * item, where + k * index_bytes, many)
        for k in range(end, rest, one):
            if size:
                again |= single(c, i, j, x + k * item, row_step, step, out + k * item, where + k * index_bytes, one)
            else:
                single(c, i, j, x + k * item, rows, cols, row_step, step, kw, out + k * item, where + k * index_bytes, one)
        if rest < channels:
            n = channels - rest
            if size:
                again |= masked(c, i, j, x + rest * item, row_step, step, out + rest * item, where + rest * index_bytes, n)
            else:
                masked(c, i, j, x + rest * item, rows, cols, row_step, step, kw, out + rest * item, where + rest * index_bytes, n)
        return again

    return windows


@cache
def few_of(dtype, kind, index_bytes, size):
    """The results of squares side by side, in one register; returns whether there was NaN."""
    v, item, real = simd(dtype), dtype.itemsize, dtype.type
    count = v.lanes
    integers = v.integers_1 if index_bytes == 1 else v.integers_4
    low = real(-np.inf)

    @inline
    def few(c, i, j, x, windows, row_step, step, to):
        n, reach = windows * c[C], ((windows - 1) * c[SW] + 1) * c[C]
        first, idx = min(reach, count), v.integers_4.load_n(c[LANES], count)
        r, once = size, unknown(1)
        while r < size + c[SH]:
            prefetch_l1(x + r * row_step)
            prefetch_l1(x + r * row_step + VECTOR_BYTES)
            r += once
        acc = v.set(low) if kind == MAX else v.zero()
        total, at = v.zero(), v.set_integer(0)
        for r in range(size):
            for s in range(size):
                tap = x + r * row_step + s * step
                y = v.permute(v.load_n(tap, first), v.load_n(tap + first * item, reach - first), idx)
                total = total + y
                if kind == MAX:
                    if index_bytes:
                        at = select(y > acc, v.set_integer(r * size + s), at)
                    acc = maximum(y, acc)
        if kind == AVG:
            acc = total * real(1.0 / divisor(c, i, j))
        v.store_n(c[OUT] + to * item, n, acc)
        if index_bytes:
            integers.store_n(c[WHERE] + to * index_bytes, n, at)
        return kind == MAX and v.any(v.head(n) & (total != total))

    return few


@cache
def forward_task(dtype, kind, index_bytes, size, together):
    """A block of rows of out. size: of squares that are not dilated, or 0; together: whether windows share a register."""
    item = dtype.itemsize
    clipped = windows_of(dtype, kind, index_bytes, 0)
    square = windows_of(dtype, kind, index_bytes, size) if size else clipped
    few = few_of(dtype, kind, index_bytes, size) if together else clipped

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
            j = 0
            while j < width:
                left = word(lefts + 8 * j)
                x, cols, to = start + left * channels * item, word(lefts + 8 * (width + j)), (row * width + j) * channels
                again, windows = True, 1
                if size and rows == size and cols == size:
                    if together:
                        m = min(c[TOGETHER], width - j)
                        while word(lefts + 8 * (width + j + m - 1)) != size or word(lefts + 8 * (j + m - 1)) - left != (m - 1) * c[SW]:
                            m -= 1  # inside, and as far apart
                        if kind == MAX or divisor(c, i, j + m - 1) == divisor(c, i, j):
                            again, windows = few(c, i, j, x, m, row_step, step, to), m
                    if not together or again:
                        again, windows = square(c, i, j, x, rows, cols, row_step, step, to), 1
                if again:
                    clipped(c, i, j, x, rows, cols, row_step, step, to)
                j += windows

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
def covered_by(v, index_bytes, tall, wide, masked):
    """As `covered_of` for a maximum, of an input under tall x wide windows, 1 or 2 each; first, second: where their rows begin in g, with the channel;
    upper, lower: the numbers of the input's row of taps in them."""
    integers = v.integers_1 if index_bytes == 1 else v.integers_4
    item = v.type.element.bitwidth // 8
    registers = v.lanes * item // VECTOR_BYTES
    fetch = ask(np.dtype(str(v.type.element)), registers, index_bytes)

    @inline
    def covered(c, first, second, upper, lower, wp, at, n):
        channels, dx = c[C], c[DX] + at
        acc = v.zero()
        for u in range(registers):
            prefetch_l1(dx + c[IW] * channels * item + u * VECTOR_BYTES)
        for a in range(tall):
            for b in range(wide):
                o = (second if a else first) + word(wp + 16 * b) * channels
                tap = (lower if a else upper) + word(wp + 16 * b + 8)
                g = v.load_n(c[G] + o * item, n) if masked else v.load(c[G] + o * item)
                where = integers.load_n(c[WHERE] + o * index_bytes, n)
                acc = select(where == v.set_integer(tap), acc + g, acc)
                if a == tall - 1 and b == wide - 1:
                    fetch(c, o + c[OW] * channels)
        if masked:
            v.store_n(dx, n, acc)
        else:
            v.store(dx, acc)

    return covered


@cache
def pixel_of(dtype, index_bytes, tall, wide):
    """`covered_by` for all channels."""
    one, many, item = lanes(dtype), MANY * lanes(dtype), dtype.itemsize
    whole, single, masked = (
        covered_by(simd(dtype, n), index_bytes, tall, wide, part) for n, part in ((MANY, False), (1, False), (1, True))
    )

    @inline
    def pixel(c, first, second, upper, lower, wp, to):
        channels = c[C]
        end, rest = channels // many * many, channels // one * one
        for k in range(0, end, many):
            whole(c, first + k, second + k, upper, lower, wp, (to + k) * item, many)
        for k in range(end, rest, one):
            single(c, first + k, second + k, upper, lower, wp, (to + k) * item, one)
        if rest < channels:
            masked(c, first + rest, second + rest, upper, lower, wp, (to + rest) * item, channels - rest)

    return pixel


@cache
def backward_task(dtype, kind, index_bytes):
    """A block of rows of dx."""
    one, many, item = lanes(dtype), MANY * lanes(dtype), dtype.itemsize
    whole, single, masked = (covered_of(simd(dtype, n), kind, index_bytes, part) for n, part in ((MANY, False), (1, False), (1, True)))
    quick = kind == MAX and index_bytes == 1
    by11, by12, by21, by22 = (pixel_of(dtype, 1, tall, wide) for tall in (1, 2) for wide in (1, 2))

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
            first = second = upper = lower = 0
            if quick and (tall == 1 or tall == 2):
                last = hp + 16 * (tall - 1)
                first, second = plane + word(hp) * ow * channels, plane + word(last) * ow * channels
                upper, lower = word(hp + 8) * kw, word(last + 8) * kw
            for j in range(iw):
                wp = w_pairs + 16 * word(w_ptr + 8 * j)
                wide = word(w_ptr + 8 * (j + 1)) - word(w_ptr + 8 * j)
                to = (row * iw + j) * channels
                if quick and (tall == 1 or tall == 2) and (wide == 1 or wide == 2):
                    if tall == 1 and wide == 1:
                        by11(c, first, second, upper, lower, wp, to)
                    elif tall == 1:
                        by12(c, first, second, upper, lower, wp, to)
                    elif wide == 1:
                        by21(c, first, second, upper, lower, wp, to)
                    else:
                        by22(c, first, second, upper, lower, wp, to)
                    continue
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

    registers = v.lanes * item // VECTOR_BYTES
    fetch = ask(np.dtype(str(element)), registers, index_bytes)

    @inline
    def tile(c, o, scale, dx, rows, cols, row_step, step, n):
        if kind == MAX:
            fetch(c, o + c[OW] * c[C])
        g = v.load_n(c[G] + o * item, n) if masked else v.load(c[G] + o * item)
        at = integers.load_n(c[WHERE] + o * index_bytes, n) if kind == MAX else v.set_integer(0)
        if kind == AVG:
            g = g * element(scale)
        r, once = 0, unknown(1)
        while r < rows:
            tap, s = dx + r * row_step, 0
            while s < cols:
                part = select(at == v.set_integer(r * c[KW] + s), g, v.zero()) if kind == MAX else g
                if kind == MAX:
                    for u in range(registers):
                        prefetch_write(tap + rows * row_step + u * VECTOR_BYTES)
                if masked:
                    v.store_n(tap, n, part)
                else:
                    v.store(tap, part)
                tap += step
                s += once
            r += once

    return tile


@cache
def few_tiles_of(dtype, kind, index_bytes):
    """As `tile_of`, for windows side by side whose taps of a row fill a register."""
    v, item, real = simd(dtype), dtype.itemsize, dtype.type
    count = v.lanes
    integers = v.integers_1 if index_bytes == 1 else v.integers_4

    @inline
    def tiles(c, o, windows, scale, dx, rows, row_step):
        n, idx = windows * c[C], v.integers_4.load_n(c[LANES], count)
        g = v.load_n(c[G] + o * item, n)
        g = v.permute(g, g, idx)
        if kind == MAX:
            at = integers.load_n(c[WHERE] + o * index_bytes, n)
            at, columns = v.permute_integers(at, at, idx), v.integers_4.load_n(c[TAPS], count)
        else:
            g = g * real(scale)
        for r in range(rows):
            part = g
            if kind == MAX:
                part = select(at == columns + v.set_integer(r * c[KW]), g, v.zero())
            v.store_n(dx + r * row_step, n * c[KW], part)

    return tiles


@cache
def tiles_task(dtype, kind, index_bytes, together):
    """A block of rows of g, and the rows of dx under it, where windows lie side by side; inputs behind the last window get 0."""
    few = few_tiles_of(dtype, kind, index_bytes)
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
            if together:
                scale = 1.0 / divisor(c, i, 0) if kind == AVG else 1.0
                for j in range(0, ow, c[TOGETHER]):
                    few(c, (row * ow + j) * channels, min(c[TOGETHER], ow - j), scale, below + j * c[KW] * step, rows, row_step)
            for j in range(0 if together else ow):
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


def _together(p, tiled):
    """How many windows share a register (1: none), and for its lanes: where the windows' channels stand, and the number of the tap (of `tiled`)."""
    count, lane = lanes(p.dtype), np.arange(lanes(p.dtype))
    if tiled:
        span, n = p.kw * p.c, p.table[p.w_windows + p.ow :]
        if span > count or n[0] != p.kw or n[p.ow - 1] != p.kw:
            return 1, None, None
        return count // span, np.minimum(lane // span * p.c + lane % p.c, count - 1).astype(np.int32), (lane // p.c % p.kw).astype(np.int32)
    windows = min(count // p.c, (2 * count // p.c - 1) // max(p.sw, 1) + 1)  # their channels fill a register, their taps two
    return max(1, windows), (lane // p.c * p.sw * p.c + lane % p.c).astype(np.int32) % (2 * count), None


@lru_cache(4096)
def programs(pass_, p):
    backward = pass_ == "backward"
    tiled = backward and p.tiled and p.kind != "lp"
    height, width = (p.ih, p.iw) if backward and not tiled else (p.oh, p.ow)
    loads = (p.oh * p.ow * p.kh * p.kw // max(1, height) + width) * p.c  # per row of the result
    rows = max(1, GRAIN // max(1, loads))
    g, x, out, where, dx = map(Argument, range(5)) if backward else (None, Argument(0), Argument(1), Argument(2), None)
    square = p.kh if p.kh == p.kw and p.kh in (2, 3) and p.dh == p.dw == 1 and p.kind != "lp" and p.index_bytes <= 1 else 0
    together, lane, taps = _together(p, tiled) if (tiled if backward else square) else (1, None, None)
    words = [x, g, out, where if p.indices else None, dx, p.table, rows, p.norm_type, together, lane, taps, *map(int, p.geometry)]
    if p.kind == "lp" and p.norm_type != 2:
        work = norm_task(p.dtype, backward)
    else:
        kind = SQUARE if p.kind == "lp" else p.kind_number
        if tiled:
            work = tiles_task(p.dtype, kind, p.index_bytes, taps is not None)
        elif backward:
            work = backward_task(p.dtype, kind, p.index_bytes)
        else:
            work = forward_task(p.dtype, kind, p.index_bytes, square, together > 1)
    each = (40 if p.kind == "lp" else 1) / min(lanes(p.dtype), p.c)
    return program(words, Stage(work, -(-p.mb * height // rows), each * loads * p.mb * height))


@runs(partial(programs, "forward"))
def forward(p, x, out, where, scratch): ...


@runs(partial(programs, "backward"))
def backward(p, g, x, out, where, dx, scratch): ...
