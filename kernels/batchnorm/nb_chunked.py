"""Batch normalisation over chunks of rows, each read from memory once for its statistics; the Numba twin of cy_chunked.

    out = act((x - mean) * weight / sqrt(var + eps) + bias + residual)            all formulas: the folder's page

Shapes   x, g, residual, out, dx, dresidual n rows of `channels` elements, dense; the others (channels,), or None for weight and bias
Storage  fold rows of few channels count as one wide row of width = fold * channels elements, a whole number of registers
Loops    chunks of wide rows    parallel; the second look at a chunk comes from L2
         columns by NB registers
         rows                   sums stay in registers. Statistics: the chunk's mean first, then squared differences to it
         then, per column       chunks are combined in float64, in order
         then chunks again      out (or dx), by columns too: their constants stay in registers
ReLU     backward takes its mask from x, computed bit by bit as forward did, or with a residual from out, and leaves the masked gradient
         in dresidual, where the pass over dx finds it
Edges    up to fold - 1 rows that fill no wide row are summed in float64 while combining; the last register of a row is masked where it is not whole
Threads  chunks depend on the problem only: the same bits for any number of threads
Cost     forward_train reads x twice and writes out; backward reads g and x twice and writes dx; the eval passes touch everything once
"""

from functools import cache, lru_cache, partial
from math import gcd

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, array_f64, doubles, floats_of, inline, ints, program, runs, task
from lamella.kernels._common.nb_simd import lanes, select, simd

NB = 4  # registers of columns summed at a time
CHUNK = 16384  # elements of a chunk, as far as it has between 64 and 256 rows
COLUMNS = 256  # columns whose chunks one task combines
TRAIN, EVAL, BACKWARD, BACKWARD_EVAL = range(4)
NONE, INPUT, OUTPUT = range(3)  # what masks g: nothing, the sign of the normalised x, that of out

# the words of the context
(
    X, G, MASKED, RESIDUAL, Y, OUT, DRESIDUAL, WEIGHT, BIAS, MEAN, VAR, DW, DB, K, SUMS, PARTIAL, MASK, ROWS, CHANNELS, FOLD, WIDTH, WIDE,
    STEP, CHUNKS, EPS,
) = range(25)  # fmt: skip


@cache
def over_columns(dtype, function, *how):
    """`function`, specialised by `how`, for `rows` wide rows from `first` on: of NB registers of columns, of one, and of one that is masked."""
    item, one, many = dtype.itemsize, lanes(dtype), NB * lanes(dtype)
    whole, single, masked = function(simd(dtype, NB), False, *how), function(simd(dtype), False, *how), function(simd(dtype), True, *how)

    @inline
    def columns(c, first, rows, width, partial):
        row = c[WIDTH] * item
        start, k = first * row, c[K]
        end, rest = width // many * many, width // one * one
        for j in range(0, end, many):
            whole(c, start + j * item, row, rows, partial + j * item, k + j * item, many)
        for j in range(end, rest, one):
            single(c, start + j * item, row, rows, partial + j * item, k + j * item, one)
        if rest < width:
            masked(c, start + rest * item, row, rows, partial + rest * item, k + rest * item, width - rest)

    return columns


def cutting(v):
    """The function that gives 0 where y <= 0, else x; NaN in y lets x pass, as in PyTorch."""

    @inline
    def cut(y, x):
        return select(y <= v.zero(), v.zero(), x)

    return cut


def statistics_of(v, masked):
    """mean and M2 of columns."""
    element = v.type.element

    @inline
    def statistics(c, at, row, rows, partial, k, n):
        x = c[X] + at
        share = element(1.0 / rows)
        s = v.zero()
        for r in range(rows):
            s = s + (v.load_n(x + r * row, n) if masked else v.load(x + r * row))
        mean = s * share
        s, q = v.zero(), v.zero()
        for r in range(rows):
            d = (v.load_n(x + r * row, n) if masked else v.load(x + r * row)) - mean
            s = s + d
            q = v.fma(d, d, q)
        d = s * share  # what rounding left of the sum of differences: zero but for the rounding of the mean
        mean, q = mean + d, q - d * s
        if masked:
            v.store_n(partial, n, mean)
            v.store_n(partial + row, n, q)
        else:
            v.store(partial, mean)
            v.store(partial + row, q)

    return statistics


def gradient_sums_of(v, masked, mask, write):
    """sum(g) and sum(g (x - mean)) of columns, g masked; write: also dx = scale * g."""
    cut = cutting(v)

    @inline
    def sums(c, at, row, rows, partial, k, n):
        x, g, out, dx, dresidual = c[X] + at, c[G] + at, c[Y] + at, c[OUT] + at, c[DRESIDUAL] + at
        mean = v.load_n(k, n) if masked else v.load(k)
        scale = v.load_n(k + row, n) if masked else v.load(k + row)
        shift = v.load_n(k + 2 * row, n) if masked else v.load(k + 2 * row)
        a, b = v.zero(), v.zero()
        for r in range(rows):
            y = v.load_n(g + r * row, n) if masked else v.load(g + r * row)
            d = (v.load_n(x + r * row, n) if masked else v.load(x + r * row)) - mean
            if mask == INPUT:
                y = cut(v.fma(d, scale, shift), y)
            elif mask == OUTPUT:
                if masked:
                    y = cut(v.load_n(out + r * row, n), y)
                    v.store_n(dresidual + r * row, n, y)
                else:
                    y = cut(v.load(out + r * row), y)
                    v.store(dresidual + r * row, y)
            a = a + y
            b = v.fma(y, d, b)
            if write:
                if masked:
                    v.store_n(dx + r * row, n, y * scale)
                else:
                    v.store(dx + r * row, y * scale)
        if masked:
            v.store_n(partial, n, a)
            v.store_n(partial + row, n, b)
        else:
            v.store(partial, a)
            v.store(partial + row, b)

    return sums


@cache
def sum_task(dtype, function, *how):
    """The sums of one chunk."""
    columns, item = over_columns(dtype, function, *how), dtype.itemsize

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        first = task * c[STEP]
        columns(c, first, min(c[STEP], c[WIDE] - first), c[WIDTH], c[PARTIAL] + 2 * task * c[WIDTH] * item)

    return work


@cache
def combine_task(dtype, kind):
    """All chunks of a block of columns, in float64; the columns of a block hold whole channels."""
    array, real, item = floats_of(dtype), dtype.type, dtype.itemsize
    spread = constants(dtype)

    @inline(fastmath={"contract"})
    def normal(x, mean, scale, shift):
        return (x - mean) * scale + shift

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        y, dresidual, mask = array(c[Y] + c[WIDE] * c[WIDTH] * item), array(c[DRESIDUAL] + c[WIDE] * c[WIDTH] * item), c[MASK]
        mean, var, dw, db, k, weight = array(c[MEAN]), array(c[VAR]), array(c[DW]), array(c[DB]), array(c[K]), array(c[WEIGHT])
        width, channels, fold, chunks, step, wide, rows = c[WIDTH], c[CHANNELS], c[FOLD], c[CHUNKS], c[STEP], c[WIDE], c[ROWS]
        j0, j1, h0, h1 = 0, width, 0, channels
        if fold == 1:
            j0 = h0 = task * COLUMNS
            j1 = h1 = min(j0 + COLUMNS, width)
        row = width * item
        x, g = array(c[X] + wide * row), array(c[G] + wide * row)  # the rows that are left
        left = rows - wide * fold
        sums, sums2 = array_f64(c[SUMS]), array_f64(c[SUMS] + 8 * width)
        block, block2, partial = array_f64(c[SUMS] + 8 * j0), array_f64(c[SUMS] + 8 * (width + j0)), c[PARTIAL] + j0 * item
        for j in range(j1 - j0):
            block[j] = 0.0
            block2[j] = 0.0
        if kind == TRAIN:
            for chunk in range(chunks):
                first = array(partial + 2 * chunk * row)
                n = np.float64(min(step, wide - chunk * step))
                for j in range(j1 - j0):
                    block[j] += n * np.float64(first[j])
            for h in range(h0, h1):
                total = 0.0
                for i in range(fold):
                    total += sums[i * channels + h]
                for i in range(left):
                    total += np.float64(x[i * channels + h])
                total /= rows
                for i in range(fold):
                    sums[i * channels + h] = total
            for chunk in range(chunks):
                first, second = array(partial + 2 * chunk * row), array(partial + (2 * chunk + 1) * row)
                n = np.float64(min(step, wide - chunk * step))
                for j in range(j1 - j0):
                    d = np.float64(first[j]) - block[j]
                    block2[j] += np.float64(second[j]) + n * d * d
            for h in range(h0, h1):
                total = 0.0
                for i in range(fold):
                    total += sums2[i * channels + h]
                for i in range(left):
                    d = np.float64(x[i * channels + h]) - sums[h]
                    total += d * d
                mean[h] = real(sums[h])
                var[h] = real(total / rows)
            spread(c, doubles(ctx)[EPS], h0, h1)
        else:
            for chunk in range(chunks):
                first, second = array(partial + 2 * chunk * row), array(partial + (2 * chunk + 1) * row)
                for j in range(j1 - j0):
                    block[j] += np.float64(first[j])
                    block2[j] += np.float64(second[j])
            for h in range(h0, h1):
                total = 0.0
                products = 0.0
                for i in range(fold):
                    total += sums[i * channels + h]
                    products += sums2[i * channels + h]
                for i in range(left):
                    at = i * channels + h
                    v = g[at]
                    if mask == INPUT:
                        v = real(0) if normal(x[at], k[h], k[width + h], k[2 * width + h]) <= real(0) else v
                    elif mask == OUTPUT:
                        v = real(0) if y[at] <= real(0) else v
                        dresidual[at] = v
                    total += np.float64(v)
                    products += np.float64(v) * (np.float64(x[at]) - np.float64(mean[h]))
                s = 1.0 / np.sqrt(np.float64(var[h]) + doubles(ctx)[EPS])
                scale = s * np.float64(weight[h]) if c[WEIGHT] != 0 else s
                db[h] = real(total)
                dw[h] = real(products * s)
                for i in range(fold):
                    k[3 * width + i * channels + h] = real(-scale * s * s * products / rows)
                    k[4 * width + i * channels + h] = real(-scale * total / rows)

    return work


@cache
def constants(dtype):
    """The function that lays out mean, scale and shift of channels for every column that holds them."""
    array, real = floats_of(dtype), dtype.type

    @inline
    def spread(c, eps, h0, h1):
        weight, bias, mean, var, k = array(c[WEIGHT]), array(c[BIAS]), array(c[MEAN]), array(c[VAR]), array(c[K])
        width, channels = c[WIDTH], c[CHANNELS]
        for h in range(h0, h1):
            scale = 1.0 / np.sqrt(np.float64(var[h]) + eps)
            if c[WEIGHT] != 0:
                scale *= np.float64(weight[h])
            shift = bias[h] if c[BIAS] != 0 else real(0)
            for i in range(c[FOLD]):
                k[i * channels + h] = mean[h]
                k[width + i * channels + h] = real(scale)
                k[2 * width + i * channels + h] = shift

    return spread


@cache
def constants_task(dtype):
    """The constants of all channels, from given statistics."""
    spread = constants(dtype)

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        spread(c, doubles(ctx)[EPS], 0, c[CHANNELS])

    return work


def output_of(v, masked, relu, residual):
    """out of columns, whose constants stay in registers."""
    cut = cutting(v)

    @inline
    def output(c, at, row, rows, partial, k, n):
        x, added, out = c[X] + at, c[RESIDUAL] + at, c[OUT] + at
        mean = v.load_n(k, n) if masked else v.load(k)
        scale = v.load_n(k + row, n) if masked else v.load(k + row)
        shift = v.load_n(k + 2 * row, n) if masked else v.load(k + 2 * row)
        for r in range(rows):
            y = v.fma((v.load_n(x + r * row, n) if masked else v.load(x + r * row)) - mean, scale, shift)
            if residual:
                y = y + (v.load_n(added + r * row, n) if masked else v.load(added + r * row))
            if relu:
                y = cut(y, y)
            if masked:
                v.store_n(out + r * row, n, y)
            else:
                v.store(out + r * row, y)

    return output


def gradient_of(v, masked, relu, train):
    """dx of columns; relu: g is masked by x."""
    cut = cutting(v)

    @inline
    def gradient(c, at, row, rows, partial, k, n):
        x, g, dx = c[X] + at, c[MASKED] + at, c[OUT] + at
        mean = v.load_n(k, n) if masked else v.load(k)
        scale = v.load_n(k + row, n) if masked else v.load(k + row)
        shift = v.load_n(k + 2 * row, n) if masked else v.load(k + 2 * row)
        factor = v.load_n(k + 3 * row, n) if masked else v.load(k + 3 * row)
        constant = v.load_n(k + 4 * row, n) if masked else v.load(k + 4 * row)
        for r in range(rows):
            y = v.load_n(g + r * row, n) if masked else v.load(g + r * row)
            d = (v.load_n(x + r * row, n) if masked else v.load(x + r * row)) - mean
            if relu:
                y = cut(v.fma(d, scale, shift), y)
            y = v.fma(y, scale, v.fma(d, factor, constant)) if train else y * scale
            if masked:
                v.store_n(dx + r * row, n, y)
            else:
                v.store(dx + r * row, y)

    return gradient


@cache
def apply_task(dtype, function, *how):
    """A chunk of wide rows; as the last task, the rows left over."""
    columns = over_columns(dtype, function, *how)

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        first, wide = task * c[STEP], c[WIDE]
        if task == c[CHUNKS]:
            columns(c, wide, 1, (c[ROWS] - wide * c[FOLD]) * c[CHANNELS], 0)
        else:
            columns(c, first, min(c[STEP], wide - first), c[WIDTH], 0)

    return work


def _geometry(p):
    registers = lanes(p.dtype)
    unit = registers // gcd(p.channels, registers)  # rows that make a whole number of registers
    fold = unit * -(-NB * registers // (unit * p.channels)) if 0 < p.channels < NB * registers else 1
    width = fold * p.channels
    wide = p.rows // fold
    step = min(max(CHUNK // max(width, 1), 64), 256)
    return fold, width, wide, step, -(-wide // step)


def _up(nbytes):
    return -(-nbytes // 128) * 128


def scratch(pass_, p):
    """Constants and sums of the columns; per chunk two rows of partial sums."""
    _, width, _, _, chunks = _geometry(p)
    item = p.dtype.itemsize
    return _up(5 * width * item) + _up(16 * width) + 2 * chunks * width * item, 0


@lru_cache(4096)
def programs(kind, p):
    fold, width, wide, step, chunks = _geometry(p)
    names = ARGUMENTS[kind].split()
    of = {name: Argument(names.index(name)) for name in names}
    sums = _up(5 * width * p.dtype.itemsize)
    relu, residual = p.act != 0, p.residual
    mask = NONE if not relu or kind < BACKWARD else OUTPUT if residual else INPUT
    of["masked"] = of.get("dresidual" if mask == OUTPUT else "g")
    of["out"], of["y"] = (of["out"], None) if kind < BACKWARD else (of["dx"], of["out"])
    words = [
        of.get(name) for name in ("x", "g", "masked", "residual", "y", "out", "dresidual", "weight", "bias", "mean", "var", "dw", "db")
    ]
    words += [
        of["scratch"], of["scratch"].at(sums), of["scratch"].at(sums + _up(16 * width)), mask, p.rows, p.channels, fold, width, wide, step, chunks,
        p.eps,
    ]  # fmt: skip
    time = (0.3 if p.dtype.itemsize == 8 else 0.15) * p.rows * p.channels
    left = int(wide * fold < p.rows)
    blocks = 1 if fold > 1 else -(-p.channels // COLUMNS)
    stages = []
    if kind != TRAIN:
        stages.append(Stage(constants_task(p.dtype), 1, 0.0))
    if kind != EVAL:
        work = sum_task(p.dtype, statistics_of) if kind == TRAIN else sum_task(p.dtype, gradient_sums_of, mask, kind == BACKWARD_EVAL)
        stages.append(Stage(work, chunks, time))
        stages.append(Stage(combine_task(p.dtype, min(kind, BACKWARD)), blocks, 1.5 * chunks * width))
    if kind < BACKWARD:
        stages.append(Stage(apply_task(p.dtype, output_of, relu, residual), chunks + left, time))
    elif kind == BACKWARD:
        stages.append(Stage(apply_task(p.dtype, gradient_of, mask == INPUT, True), chunks + left, time))
    elif left:  # the chunks are written already
        stages.append(Stage(apply_task(p.dtype, gradient_of, mask == INPUT, False), 1, 0.0, settings={CHUNKS: 0}))
    return program(words, *stages)


ARGUMENTS = {
    TRAIN: "x weight bias residual out mean var scratch",
    EVAL: "x weight bias mean var residual out scratch",
    BACKWARD: "g x weight bias mean var out dx dw db dresidual scratch",
    BACKWARD_EVAL: "g x weight bias mean var out dx dw db dresidual scratch",
}


@runs(partial(programs, TRAIN))
def forward_train(p, x, weight, bias, residual, out, mean, var, scratch): ...


@runs(partial(programs, EVAL))
def forward_eval(p, x, weight, bias, mean, var, residual, out, scratch): ...


@runs(partial(programs, BACKWARD))
def backward(p, g, x, weight, bias, mean, var, out, dx, dw, db, dresidual, scratch): ...


@runs(partial(programs, BACKWARD_EVAL))
def backward_eval(p, g, x, weight, bias, mean, var, out, dx, dw, db, dresidual, scratch): ...
