"""Batch normalisation over chunks of rows; the Numba twin of cy_chunked.

    out = act((x - mean) * weight / sqrt(var + eps) + bias + residual)            all formulas: the folder's page

Shapes   x, g, residual, out, dx, dresidual n rows of `channels` elements, dense; the others (channels,), or None for weight and bias
Storage  fold rows of few channels count as one wide row of width = fold * channels elements, so that inner loops are long
Loops    chunks of wide rows    parallel; the second look at a chunk comes from L2
         rows, four at a time   the columns' sums pass through L1 once for four rows
         columns                the loop that LLVM turns into vector code
         then, per column       chunks are combined in float64, in order
         then chunks again      out (or dx), row by row
ReLU     backward takes its mask from x, computed as forward did, or with a residual from out, and leaves the masked gradient in dresidual
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
NONE, INPUT, OUTPUT = range(3)  # what masks g: nothing, the sign of the normalised x, that of out

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
    RESIDUAL,
    Y,
    DRESIDUAL,
    EPS,
) = range(26)


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
def gradient_sums_task(dtype, write, mask):
    """sum(g) and sum(g (x - mean)) of the columns of one chunk; write: also dx = scale * g."""
    array, real, item = floats_of(dtype), _real(dtype), dtype.itemsize
    zero = real(0)

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        width = c[WIDTH]
        n = min(c[STEP], c[WIDE] - task * c[STEP])
        row = width * item
        start = task * c[STEP] * row
        means, scales, shifts = array(c[K]), array(c[K] + row), array(c[K] + 2 * row)
        sums = array(c[PARTIAL] + 2 * task * row)
        products = array(c[PARTIAL] + (2 * task + 1) * row)
        for j in range(width):
            sums[j] = zero
            products[j] = zero
        twos = n // 2 if mask == NONE else 0
        for r in range(twos):
            at = start + 2 * r * row
            g0, g1, a0, a1 = array(c[G] + at), array(c[G] + at + row), array(c[X] + at), array(c[X] + at + row)
            for j in range(width):
                mean = means[j]
                sums[j] += g0[j] + g1[j]
                products[j] += g0[j] * (a0[j] - mean) + g1[j] * (a1[j] - mean)
        for r in range(2 * twos, n):
            at = start + r * row
            g0, a0, y0, m0 = array(c[G] + at), array(c[X] + at), array(c[Y] + at), array(c[DRESIDUAL] + at)
            for j in range(width):
                d = a0[j] - means[j]
                v = g0[j]
                if mask == INPUT:
                    v = zero if d * scales[j] + shifts[j] <= zero else v
                elif mask == OUTPUT:
                    v = zero if y0[j] <= zero else v
                    m0[j] = v
                sums[j] += v
                products[j] += v * d
        if write:
            for r in range(n):
                at = start + r * row
                g0, a0, d0 = array((c[DRESIDUAL] if mask == OUTPUT else c[G]) + at), array(c[X] + at), array(c[OUT] + at)
                for j in range(width):
                    v = g0[j]
                    if mask == INPUT:
                        v = zero if (a0[j] - means[j]) * scales[j] + shifts[j] <= zero else v
                    d0[j] = v * scales[j]

    return work


@cache
def combine_task(dtype, kind, mask):
    """All chunks of a block of columns, in float64; the columns of a block hold whole channels."""
    array, real = floats_of(dtype), _real(dtype)
    zero = real(0)

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        eps = doubles(ctx)[EPS]
        x, g, partial, sums = array(c[X]), array(c[G]), array(c[PARTIAL]), array_f64(c[SUMS])
        mean, var, dw, db, k, weight = array(c[MEAN]), array(c[VAR]), array(c[DW]), array(c[DB]), array(c[K]), array(c[WEIGHT])
        y, dresidual = array(c[Y]), array(c[DRESIDUAL])
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
                    at = tail + i * channels + h
                    v = g[at]
                    if mask == INPUT:
                        v = zero if (x[at] - k[h]) * k[width + h] + k[2 * width + h] <= zero else v
                    elif mask == OUTPUT:
                        v = zero if y[at] <= zero else v
                        dresidual[at] = v
                    d = np.float64(v)
                    total += d
                    products += d * (np.float64(x[at]) - np.float64(mean[h]))
                s = 1.0 / np.sqrt(np.float64(var[h]) + eps)
                scale = s * np.float64(weight[h]) if c[WEIGHT] != 0 else s
                db[h] = real(total)
                dw[h] = real(products * s)
                for i in range(fold):
                    k[3 * width + i * channels + h] = real(-scale * s * s * products / rows)
                    k[4 * width + i * channels + h] = real(-scale * total / rows)

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
def apply_task(dtype, backward, relu, residual):
    """A chunk of wide rows; as the last task, the rows left over. backward: relu masks g by x."""
    array, item = floats_of(dtype), dtype.itemsize
    zero = _real(dtype)(0)

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        width, wide = c[WIDTH], c[WIDE]
        row = width * item
        k0, k1, k2, k3, k4 = array(c[K]), array(c[K] + row), array(c[K] + 2 * row), array(c[K] + 3 * row), array(c[K] + 4 * row)
        r0 = task * c[STEP]
        r1 = min(r0 + c[STEP], wide)
        n = width
        if c[KIND] == BACKWARD_EVAL or task == c[CHUNKS]:
            r0, r1 = wide, wide + 1
            n = (c[ROWS] - wide * c[FOLD]) * c[CHANNELS]
        for r in range(r0, r1):
            x, g, out = array(c[X] + r * row), array(c[G] + r * row), array(c[OUT] + r * row)
            added = array(c[RESIDUAL] + r * row)
            if not backward:
                for j in range(n):
                    v = (x[j] - k0[j]) * k1[j] + k2[j]
                    if residual:
                        v += added[j]
                    if relu:
                        v = zero if v <= zero else v
                    out[j] = v
            elif c[KIND] == BACKWARD:
                for j in range(n):
                    d = x[j] - k0[j]
                    v = g[j]
                    if relu:
                        v = zero if d * k1[j] + k2[j] <= zero else v
                    out[j] = v * k1[j] + (d * k3[j] + k4[j])
            else:
                for j in range(n):
                    v = g[j]
                    if relu:
                        v = zero if (x[j] - k0[j]) * k1[j] + k2[j] <= zero else v
                    out[j] = v * k1[j]

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
    return _up(5 * width * item) + _up(16 * width) + _up(2 * chunks * width * item), _up(width * item) if pass_ == "forward_train" else 0


def _run(p, kind, x, weight, bias, mean, var, out, scratch, residual=None, g=None, y=None, dw=None, db=None, dresidual=None):
    fold, width, wide, step, chunks = _geometry(p)
    item = p.dtype.itemsize
    at = scratch.__array_interface__["data"][0]
    sums = at + _up(5 * width * item)
    partial = sums + _up(16 * width)
    spare = partial + _up(2 * chunks * width * item)
    each = _up(width * item)
    slots = (scratch.size - (spare - at)) // each if kind == TRAIN else ANY_SLOTS
    ctx = context(
        x, g, out, weight, bias, mean, var, dw, db, at, sums, partial, spare, each // item,
        p.rows, p.channels, fold, width, wide, step, chunks, kind, residual, y, dresidual, p.eps,
    )  # fmt: skip
    n = float(p.rows * p.channels)
    left = int(wide * fold < p.rows)
    blocks = 1 if fold > 1 else -(-p.channels // 256)
    relu = p.act != 0
    if kind != TRAIN:
        run(constants_task(p.dtype), ctx, 1, 0.0)
    if kind == TRAIN:
        run(statistics_task(p.dtype), ctx, chunks, 0.3 * n, slots)
        run(combine_task(p.dtype, TRAIN, NONE), ctx, blocks, 2.0 * chunks * width)
        run(constants_task(p.dtype), ctx, 1, 0.0)
    elif kind != EVAL:
        mask = NONE if not relu else OUTPUT if p.residual else INPUT
        run(gradient_sums_task(p.dtype, kind == BACKWARD_EVAL, mask), ctx, chunks, 0.3 * n)
        run(combine_task(p.dtype, BACKWARD, mask), ctx, blocks, 2.0 * chunks * width)
        relu = mask == INPUT
        if mask == OUTPUT:  # the masked gradient stands there
            ctx[G] = ctx[DRESIDUAL]
    apply = apply_task(p.dtype, kind >= BACKWARD, relu, residual is not None)
    run(apply, ctx, left if kind == BACKWARD_EVAL else chunks + left, 0.3 * n)


def forward_train(p, x, weight, bias, residual, out, mean, var, scratch):
    _run(p, TRAIN, x, weight, bias, mean, var, out, scratch, residual)


def forward_eval(p, x, weight, bias, mean, var, residual, out, scratch):
    _run(p, EVAL, x, weight, bias, mean, var, out, scratch, residual)


def backward(p, g, x, weight, bias, mean, var, out, dx, dw, db, dresidual, scratch):
    _run(p, BACKWARD, x, weight, bias, mean, var, dx, scratch, None, g, out, dw, db, dresidual)


def backward_eval(p, g, x, weight, bias, mean, var, out, dx, dw, db, dresidual, scratch):
    _run(p, BACKWARD_EVAL, x, weight, bias, mean, var, dx, scratch, None, g, out, dw, db, dresidual)
