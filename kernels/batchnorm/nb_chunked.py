"""Batch normalisation over chunks of rows; the Numba twin of cy_chunked.

    out = (x - mean) * weight / sqrt(var + eps) + bias            all formulas: the folder's page

Shapes   x, g, out, dx n rows of `channels` elements, dense; the others (channels,), or None for weight and bias
Storage  fold rows of few channels count as one wide row of width = fold * channels elements, so that inner loops are long
Loops    chunks of wide rows    parallel; the second look at a chunk comes from L2
         rows, four at a time   the columns' sums pass through L1 once for four rows
         columns                the loop that LLVM turns into vector code
         then, per column       chunks are combined in float64, in order
         then chunks again      out (or dx), row by row
Edges    up to fold - 1 rows that fill no wide row are summed in float64 while combining; LLVM's remainder loops do the rest
Threads  chunks depend on the problem only: the same bits for any number of threads
Cost     forward_train reads x twice and writes out; backward reads g and x twice and writes dx; the eval passes touch everything once
"""

from functools import cache

import numpy as np
from lamella.kernels._common.nb import ANY_SLOTS, array_f64, context, doubles, floats_of, ints, run, task

COLUMNS = 64  # columns in a wide row, at least
CHUNK = 16384  # elements of a chunk, as far as it has between 64 and 256 rows
TRAIN, EVAL, BACKWARD, BACKWARD_EVAL = range(4)

# the words of the context
(
    X,
    G,
    OUT,
    WEIGHT,
    BIAS,
    MEAN,
    VAR,
    DW,
    DB,
    K,
    SUMS,
    PARTIAL,
    SPARE,
    SPARE_SIZE,
    ROWS,
    CHANNELS,
    FOLD,
    WIDTH,
    WIDE,
    STEP,
    CHUNKS,
    KIND,
    EPS,
) = range(23)


def _real(dtype):
    return np.float32 if dtype == np.float32 else np.float64


@cache
def statistics_task(dtype):
    """mean and M2 of the columns of one chunk."""
    array, real, item = floats_of(dtype), _real(dtype), dtype.itemsize

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        width = c[WIDTH]
        n = min(c[STEP], c[WIDE] - task * c[STEP])
        row = width * item
        x0 = c[X] + task * c[STEP] * row
        means = array(c[PARTIAL] + 2 * task * row)
        squares = array(c[PARTIAL] + (2 * task + 1) * row)
        spare = array(c[SPARE] + slot * c[SPARE_SIZE] * item)
        share = real(1.0 / n)
        for j in range(width):
            means[j] = real(0)
            squares[j] = real(0)
            spare[j] = real(0)
        fours = n // 4
        for r in range(fours):
            at = x0 + 4 * r * row
            a0, a1, a2, a3 = array(at), array(at + row), array(at + 2 * row), array(at + 3 * row)
            for j in range(width):
                means[j] += (a0[j] + a1[j]) + (a2[j] + a3[j])
        for r in range(4 * fours, n):
            a0 = array(x0 + r * row)
            for j in range(width):
                means[j] += a0[j]
        for j in range(width):
            means[j] *= share
        for r in range(fours):
            at = x0 + 4 * r * row
            a0, a1, a2, a3 = array(at), array(at + row), array(at + 2 * row), array(at + 3 * row)
            for j in range(width):
                mean = means[j]
                d0 = a0[j] - mean
                d1 = a1[j] - mean
                d2 = a2[j] - mean
                d3 = a3[j] - mean
                spare[j] += (d0 + d1) + (d2 + d3)
                squares[j] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
        for r in range(4 * fours, n):
            a0 = array(x0 + r * row)
            for j in range(width):
                d0 = a0[j] - means[j]
                spare[j] += d0
                squares[j] += d0 * d0
        for j in range(width):  # what rounding left of the sum of differences
            d0 = spare[j] * share
            means[j] += d0
            squares[j] -= d0 * spare[j]

    return work


@cache
def gradient_sums_task(dtype, write):
    """sum(g) and sum(g (x - mean)) of the columns of one chunk; write: also dx = scale * g."""
    array, real, item = floats_of(dtype), _real(dtype), dtype.itemsize

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        width = c[WIDTH]
        n = min(c[STEP], c[WIDE] - task * c[STEP])
        row = width * item
        start = task * c[STEP] * row
        means, scales = array(c[K]), array(c[K] + row)
        sums = array(c[PARTIAL] + 2 * task * row)
        products = array(c[PARTIAL] + (2 * task + 1) * row)
        for j in range(width):
            sums[j] = real(0)
            products[j] = real(0)
        twos = n // 2
        for r in range(twos):
            at = start + 2 * r * row
            g0, g1, a0, a1 = array(c[G] + at), array(c[G] + at + row), array(c[X] + at), array(c[X] + at + row)
            for j in range(width):
                mean = means[j]
                sums[j] += g0[j] + g1[j]
                products[j] += g0[j] * (a0[j] - mean) + g1[j] * (a1[j] - mean)
        for r in range(2 * twos, n):
            g0, a0 = array(c[G] + start + r * row), array(c[X] + start + r * row)
            for j in range(width):
                sums[j] += g0[j]
                products[j] += g0[j] * (a0[j] - means[j])
        if write:
            for r in range(n):
                g0, d0 = array(c[G] + start + r * row), array(c[OUT] + start + r * row)
                for j in range(width):
                    d0[j] = g0[j] * scales[j]

    return work


@cache
def combine_task(dtype, kind):
    """All chunks of a block of columns, in float64; the columns of a block hold whole channels."""
    array, real = floats_of(dtype), _real(dtype)

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        eps = doubles(ctx)[EPS]
        x, g, partial, sums = array(c[X]), array(c[G]), array(c[PARTIAL]), array_f64(c[SUMS])
        mean, var, dw, db, k, weight = array(c[MEAN]), array(c[VAR]), array(c[DW]), array(c[DB]), array(c[K]), array(c[WEIGHT])
        width, channels, fold, chunks, step, wide, rows = c[WIDTH], c[CHANNELS], c[FOLD], c[CHUNKS], c[STEP], c[WIDE], c[ROWS]
        j0, j1, h0, h1 = 0, width, 0, channels
        if fold == 1:
            j0 = h0 = task * 256
            j1 = h1 = min(j0 + 256, width)
        tail = wide * width
        left = rows - wide * fold
        for j in range(j0, j1):
            sums[j] = 0.0
            sums[width + j] = 0.0
        if kind == TRAIN:
            for chunk in range(chunks):
                at = 2 * chunk * width
                n = np.float64(min(step, wide - chunk * step))
                for j in range(j0, j1):
                    sums[j] += n * np.float64(partial[at + j])
            for h in range(h0, h1):
                total = 0.0
                for i in range(fold):
                    total += sums[i * channels + h]
                for i in range(left):
                    total += np.float64(x[tail + i * channels + h])
                total /= rows
                for i in range(fold):
                    sums[i * channels + h] = total
            for chunk in range(chunks):
                at = 2 * chunk * width
                n = np.float64(min(step, wide - chunk * step))
                for j in range(j0, j1):
                    d = np.float64(partial[at + j]) - sums[j]
                    sums[width + j] += np.float64(partial[at + width + j]) + n * d * d
            for h in range(h0, h1):
                total = 0.0
                for i in range(fold):
                    total += sums[width + i * channels + h]
                for i in range(left):
                    d = np.float64(x[tail + i * channels + h]) - sums[h]
                    total += d * d
                mean[h] = real(sums[h])
                var[h] = real(total / rows)
        else:
            for chunk in range(chunks):
                at = 2 * chunk * width
                for j in range(j0, j1):
                    sums[j] += np.float64(partial[at + j])
                    sums[width + j] += np.float64(partial[at + width + j])
            for h in range(h0, h1):
                total = 0.0
                products = 0.0
                for i in range(fold):
                    total += sums[i * channels + h]
                    products += sums[width + i * channels + h]
                for i in range(left):
                    d = np.float64(g[tail + i * channels + h])
                    total += d
                    products += d * (np.float64(x[tail + i * channels + h]) - np.float64(mean[h]))
                s = 1.0 / np.sqrt(np.float64(var[h]) + eps)
                scale = s * np.float64(weight[h]) if c[WEIGHT] != 0 else s
                db[h] = real(total)
                dw[h] = real(products * s)
                for i in range(fold):
                    k[2 * width + i * channels + h] = real(-scale * s * s * products / rows)
                    k[3 * width + i * channels + h] = real(-scale * total / rows)

    return work


@cache
def constants_task(dtype):
    """mean, scale and shift for every column."""
    array, real = floats_of(dtype), _real(dtype)

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        eps = doubles(ctx)[EPS]
        weight, bias, mean, var, k = array(c[WEIGHT]), array(c[BIAS]), array(c[MEAN]), array(c[VAR]), array(c[K])
        width, channels = c[WIDTH], c[CHANNELS]
        for h in range(channels):
            scale = 1.0 / np.sqrt(np.float64(var[h]) + eps)
            if c[WEIGHT] != 0:
                scale *= np.float64(weight[h])
            shift = bias[h] if c[BIAS] != 0 else real(0)
            for i in range(c[FOLD]):
                k[i * channels + h] = mean[h]
                k[width + i * channels + h] = real(scale)
                k[2 * width + i * channels + h] = shift

    return work


@cache
def apply_task(dtype, backward):
    """A chunk of wide rows; as the last task, the rows left over."""
    array, item = floats_of(dtype), dtype.itemsize

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        width, wide = c[WIDTH], c[WIDE]
        row = width * item
        k0, k1, k2, k3 = array(c[K]), array(c[K] + row), array(c[K] + 2 * row), array(c[K] + 3 * row)
        r0 = task * c[STEP]
        r1 = min(r0 + c[STEP], wide)
        n = width
        if c[KIND] == BACKWARD_EVAL or task == c[CHUNKS]:
            r0, r1 = wide, wide + 1
            n = (c[ROWS] - wide * c[FOLD]) * c[CHANNELS]
        for r in range(r0, r1):
            x, g, out = array(c[X] + r * row), array(c[G] + r * row), array(c[OUT] + r * row)
            if not backward:
                for j in range(n):
                    out[j] = (x[j] - k0[j]) * k1[j] + k2[j]
            elif c[KIND] == BACKWARD:
                for j in range(n):
                    out[j] = g[j] * k1[j] + ((x[j] - k0[j]) * k2[j] + k3[j])
            else:
                for j in range(n):
                    out[j] = g[j] * k1[j]

    return work


def _geometry(p):
    fold = -(-COLUMNS // p.channels) if 0 < p.channels < COLUMNS else 1
    width = fold * p.channels
    wide = p.rows // fold
    step = min(max(CHUNK // max(width, 1), 64), 256)
    return fold, width, wide, step, -(-wide // step)


def _up(nbytes):
    return -(-nbytes // 128) * 128


def scratch(pass_, p):
    fold, width, wide, step, chunks = _geometry(p)
    item = p.dtype.itemsize
    return _up(4 * width * item) + _up(16 * width) + _up(2 * chunks * width * item), _up(width * item) if pass_ == "forward_train" else 0


def _run(p, kind, g, x, weight, bias, mean, var, out, dw, db, scratch):
    fold, width, wide, step, chunks = _geometry(p)
    item = p.dtype.itemsize
    at = scratch.__array_interface__["data"][0]
    sums = at + _up(4 * width * item)
    partial = sums + _up(16 * width)
    spare = partial + _up(2 * chunks * width * item)
    each = _up(width * item)
    slots = (scratch.size - (spare - at)) // each if kind == TRAIN else ANY_SLOTS
    ctx = context(
        x, g, out, weight, bias, mean, var, dw, db, at, sums, partial, spare, each // item,
        p.rows, p.channels, fold, width, wide, step, chunks, kind, p.eps,
    )  # fmt: skip
    n = float(p.rows * p.channels)
    left = int(wide * fold < p.rows)
    blocks = 1 if fold > 1 else -(-p.channels // 256)
    if kind != TRAIN:
        run(constants_task(p.dtype), ctx, 1, 0.0)
    if kind == TRAIN:
        run(statistics_task(p.dtype), ctx, chunks, 0.3 * n, slots)
        run(combine_task(p.dtype, TRAIN), ctx, blocks, 2.0 * chunks * width)
        run(constants_task(p.dtype), ctx, 1, 0.0)
    elif kind != EVAL:
        run(gradient_sums_task(p.dtype, kind == BACKWARD_EVAL), ctx, chunks, 0.3 * n)
        run(combine_task(p.dtype, BACKWARD), ctx, blocks, 2.0 * chunks * width)
    run(apply_task(p.dtype, kind >= BACKWARD), ctx, left if kind == BACKWARD_EVAL else chunks + left, 0.3 * n)


def forward_train(p, x, weight, bias, out, mean, var, scratch):
    _run(p, TRAIN, None, x, weight, bias, mean, var, out, None, None, scratch)


def forward_eval(p, x, weight, bias, mean, var, out, scratch):
    _run(p, EVAL, None, x, weight, bias, mean, var, out, None, None, scratch)


def backward(p, g, x, weight, mean, var, dx, dw, db, scratch):
    _run(p, BACKWARD, g, x, weight, None, mean, var, dx, dw, db, scratch)


def backward_eval(p, g, x, weight, mean, var, dx, dw, db, scratch):
    _run(p, BACKWARD_EVAL, g, x, weight, None, mean, var, dx, dw, db, scratch)
