"""Normalisation within images, every image read from memory once; the Numba twin of cy_images.

    out = (x - mean) * weight / sqrt(var + eps) + bias            all formulas: the folder's page

Shapes   x, g, out, dx (images, rows, channels), weight, bias, dw, db (channels,), mean, var (images, groups)
Storage  C-contiguous. Images of one row and one group are *lines*, others *planes* of wide rows, as in cy_images
Loops    images         parallel, in at most TASKS tasks of neighbours
         columns        planes: one register of columns, or a masked one; lines: registers of the line
         rows by STEP   the sums of a piece stay in registers, pieces are added in float64; then columns make channels, channels groups
         once more      out (or dx)
Edges    the rows left over by the fold are one short wide row; the last register of a row is masked
Threads  tasks depend on the problem only; dw and db of the tasks are summed in their order, in float64
Cost     forward reads x three times, the first time from memory; backward x and g twice
"""

from functools import cache, lru_cache, partial
from math import gcd

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, array_f64, doubles, floats_of, inline, ints, program, runs, task
from lamella.kernels._common.nb_simd import lanes, select, simd

NB = 4  # registers that a wide row should have at least
STEP = 256  # wide rows, or registers of a line, of a piece
TASKS = 64  # at most
COLUMNS = 512  # columns whose dw and db one task combines
PLAIN, SQUARES, GRADIENTS = range(3)  # sum(x); sum((x - mean)^2); sum(g) and sum(g (x - mean))

# the words of the context
(
    X, G, WEIGHT, BIAS, OUT, MEAN, VAR, DW, DB, SCRATCH, IMAGES, ROWS, CHANNELS, GROUPS, CENTRED, FOLD, WIDTH, WIDE, REST, BLOCK, NTASKS, PRIVATE, EPS,
) = range(23)  # fmt: skip


@cache
def sums_of(dtype, kind):
    """The function that adds up all columns of an image: those of a channel end in the first of its columns."""
    v, array, item = simd(dtype), floats_of(dtype), dtype.itemsize
    count = v.lanes

    @inline
    def block(x, g, mean, rows, row, n, piece):
        m = v.load_n(mean, n)
        a, b = v.zero(), v.zero()
        for r in range(rows):
            d = v.load_n(x + r * row, n)
            if kind == PLAIN:
                a = a + d
            elif kind == SQUARES:
                d = d - m
                a = v.fma(d, d, a)
            else:
                e = v.load_n(g + r * row, n)
                a = a + e
                b = v.fma(e, d - m, b)
        v.store_n(piece, n, a)
        if kind == GRADIENTS:
            v.store_n(piece + row, n, b)

    @inline
    def rows_of(c, x, g, mean, rows, width, piece, sums):
        row = c[WIDTH] * item
        for j in range(0, width, count):
            block(x + j * item, g + j * item, mean + j * item, rows, row, min(count, width - j), piece + j * item)
        found, total = array(piece), array_f64(sums)
        for j in range(width):
            total[j] += np.float64(found[j])
        if kind == GRADIENTS:
            found, total = array(piece + row), array_f64(sums + 8 * c[WIDTH])
            for j in range(width):
                total[j] += np.float64(found[j])

    @inline
    def image(c, x, g, mean, piece, sums):
        width, wide, channels, row = c[WIDTH], c[WIDE], c[CHANNELS], c[WIDTH] * item
        total = array_f64(sums)
        for j in range(2 * width):
            total[j] = 0.0
        for r in range(0, wide, STEP):
            rows_of(c, x + r * row, g + r * row, mean, min(wide - r, STEP), width, piece, sums)
        if c[REST] > 0:
            rows_of(c, x + wide * row, g + wide * row, mean, 1, c[REST], piece, sums)
        for which in range(2 if kind == GRADIENTS else 1):
            columns = array_f64(sums + 8 * which * width)
            for f in range(1, c[FOLD]):
                for j in range(channels):
                    columns[j] += columns[f * channels + j]

    return image


@cache
def writing(dtype, backward):
    """The functions that lay constants out for all columns, and that write out (or dx) of an image."""
    v, array, item = simd(dtype), floats_of(dtype), dtype.itemsize
    count = v.lanes

    @inline
    def spread(c, k):
        constants, channels = array(k), c[CHANNELS]
        for f in range(1, c[FOLD]):
            for j in range(channels):
                constants[f * channels + j] = constants[j]

    @inline
    def block(c, x, g, k, rows, n, out):
        row = c[WIDTH] * item
        mean, scale = v.load_n(k, n), v.load_n(k + row, n)
        factor, shift = v.load_n(k + 3 * row, n), v.load_n(k + (4 if backward else 2) * row, n)
        for r in range(rows):
            d = v.load_n(x + r * row, n) - mean
            if backward:
                d = v.fma(v.load_n(g + r * row, n), scale, v.fma(d, factor, shift))
            else:
                d = v.fma(d, scale, shift)
            v.store_n(out + r * row, n, d)

    @inline
    def write(c, x, g, k, out):
        width, at = c[WIDTH], c[WIDE] * c[WIDTH] * item
        for j in range(0, width, count):
            block(c, x + j * item, g + j * item, k + j * item, c[WIDE], min(count, width - j), out + j * item)
        for j in range(0, c[REST], count):
            block(c, x + at + j * item, g + at + j * item, k + j * item, 1, min(count, c[REST] - j), out + at + j * item)

    return spread, write


@cache
def forward_plane(dtype):
    array, real, item = floats_of(dtype), dtype.type, dtype.itemsize
    plain, squares = sums_of(dtype, PLAIN), sums_of(dtype, SQUARES)
    spread, write = writing(dtype, False)

    @inline
    def group_means(c, sums):
        total, size = array_f64(sums), c[CHANNELS] // c[GROUPS]
        for i in range(c[GROUPS]):
            s = 0.0
            for j in range(size):
                s += total[i * size + j]
            total[i] = s / (c[ROWS] * size)

    @inline
    def plane(c, eps, image, own):
        width, groups, size, at = c[WIDTH], c[GROUPS], c[CHANNELS] // c[GROUPS], image * c[ROWS] * c[CHANNELS] * item
        sums, k = own, own + 16 * width
        piece, x = k + 5 * width * item, c[X] + at
        mean, var, total, constants = (
            array_f64(c[MEAN] + 8 * image * groups),
            array_f64(c[VAR] + 8 * image * groups),
            array_f64(sums),
            array(k),
        )
        weight, bias = array(c[WEIGHT]), array(c[BIAS])
        if c[CENTRED] != 0:
            plain(c, x, x, k, piece, sums)
            group_means(c, sums)
        for i in range(groups):
            mean[i] = total[i] if c[CENTRED] != 0 else 0.0
            for j in range(i * size, (i + 1) * size):
                constants[j] = real(mean[i])
        spread(c, k)
        squares(c, x, x, k, piece, sums)
        group_means(c, sums)
        for i in range(groups):
            s = mean[i] - np.float64(real(mean[i]))  # what the rounded mean was wrong by
            q = total[i] - s * s
            var[i] = 0.0 if q < 0.0 else q
            s = 1.0 / np.sqrt(var[i] + eps)
            for j in range(i * size, (i + 1) * size):
                constants[width + j] = real(s * np.float64(weight[j])) if c[WEIGHT] != 0 else real(s)
                constants[2 * width + j] = bias[j] if c[BIAS] != 0 else real(0)
        spread(c, k + width * item)
        spread(c, k + 2 * width * item)
        write(c, x, x, k, c[OUT] + at)

    return plane


@cache
def backward_plane(dtype):
    array, real, item = floats_of(dtype), dtype.type, dtype.itemsize
    gradients = sums_of(dtype, GRADIENTS)
    spread, write = writing(dtype, True)

    @inline
    def plane(c, eps, image, own):
        width, groups, size, at = c[WIDTH], c[GROUPS], c[CHANNELS] // c[GROUPS], image * c[ROWS] * c[CHANNELS] * item
        sums, k = own, own + 16 * width
        piece = k + 5 * width * item
        dw, db = array(piece + 2 * width * item), array(piece + (2 * width + c[CHANNELS]) * item)
        mean, var, constants = array_f64(c[MEAN] + 8 * image * groups), array_f64(c[VAR] + 8 * image * groups), array(k)
        total, total2, weight = array_f64(sums), array_f64(sums + 8 * width), array(c[WEIGHT])
        for i in range(groups):
            for j in range(i * size, (i + 1) * size):
                constants[j] = real(mean[i])
        spread(c, k)
        gradients(c, c[X] + at, c[G] + at, k, piece, sums)
        n = np.float64(c[ROWS] * size)
        for i in range(groups):
            s = 1.0 / np.sqrt(var[i] + eps)
            plain = 0.0
            products = 0.0
            for j in range(i * size, (i + 1) * size):
                w = np.float64(weight[j]) if c[WEIGHT] != 0 else 1.0
                db[j] += real(total[j])
                dw[j] += real(s * total2[j])
                plain += w * total[j]
                products += w * total2[j]
                constants[width + j] = real(s * w)
            for j in range(i * size, (i + 1) * size):
                constants[3 * width + j] = real(-s * s * s * products / n)
                constants[4 * width + j] = real(-s * plain / n) if c[CENTRED] != 0 else real(0)
        spread(c, k + width * item)
        spread(c, k + 3 * width * item)
        spread(c, k + 4 * width * item)
        write(c, c[X] + at, c[G] + at, k, c[OUT] + at)

    return plane


@cache
def forward_line(dtype):
    v, real, item = simd(dtype), dtype.type, dtype.itemsize
    count = v.lanes

    @inline
    def line_sum(squares, x, n, mean):
        m = v.set(mean)
        total = 0.0
        for piece in range(0, n, STEP * count):
            a = v.zero()
            end = min(n, piece + STEP * count)
            for j in range(piece, end, count):
                left = min(count, end - j)
                d = v.load_n(x + j * item, left)
                if squares:
                    d = select(v.head(left), d - m, v.zero())
                    a = v.fma(d, d, a)
                else:
                    a = a + d
            total += np.float64(v.sum(a))
        return total

    @inline
    def line(c, eps, image, own):
        n, at = c[CHANNELS], image * c[CHANNELS] * item
        x, out = c[X] + at, c[OUT] + at
        mean = line_sum(False, x, n, real(0)) / n if c[CENTRED] != 0 else 0.0
        d = mean - np.float64(real(mean))
        q = line_sum(True, x, n, real(mean)) / n - d * d
        q = 0.0 if q < 0.0 else q
        array_f64(c[MEAN])[image], array_f64(c[VAR])[image] = mean, q
        m, s = v.set(real(mean)), v.set(real(1.0 / np.sqrt(q + eps)))
        for j in range(0, n, count):
            left = min(count, n - j)
            y = v.load_n(x + j * item, left) - m
            scale = v.load_n(c[WEIGHT] + j * item, left) * s if c[WEIGHT] != 0 else s
            shift = v.load_n(c[BIAS] + j * item, left) if c[BIAS] != 0 else v.zero()
            v.store_n(out + j * item, left, v.fma(y, scale, shift))

    return line


@cache
def backward_line(dtype):
    v, real, item = simd(dtype), dtype.type, dtype.itemsize
    count = v.lanes

    @inline
    def line(c, eps, image, own):
        n, at = c[CHANNELS], image * c[CHANNELS] * item
        x, g, dx, weight = c[X] + at, c[G] + at, c[OUT] + at, c[WEIGHT]
        dw = own
        db = own + n * item
        s = 1.0 / np.sqrt(array_f64(c[VAR])[image] + eps)
        m, scale = v.set(real(array_f64(c[MEAN])[image])), v.set(real(s))
        a = 0.0
        b = 0.0
        for piece in range(0, n, STEP * count):
            plain, products = v.zero(), v.zero()
            end = min(n, piece + STEP * count)
            for j in range(piece, end, count):
                left = min(count, end - j)
                e = v.load_n(g + j * item, left)
                d = select(v.head(left), v.load_n(x + j * item, left) - m, v.zero())
                h = v.load_n(weight + j * item, left) * e if weight != 0 else e
                plain = plain + h
                products = v.fma(h, d, products)
                v.store_n(dw + j * item, left, v.fma(e * scale, d, v.load_n(dw + j * item, left)))
                v.store_n(db + j * item, left, v.load_n(db + j * item, left) + e)
            a += np.float64(v.sum(plain))
            b += np.float64(v.sum(products))
        shift = v.set(real(-s * a / n)) if c[CENTRED] != 0 else v.zero()
        factor = v.set(real(-s * s * s * b / n))
        for j in range(0, n, count):
            left = min(count, n - j)
            h = v.load_n(g + j * item, left)
            if weight != 0:
                h = v.load_n(weight + j * item, left) * h
            v.store_n(dx + j * item, left, v.fma(h, scale, v.fma(v.load_n(x + j * item, left) - m, factor, shift)))

    return line


@cache
def images_task(dtype, backward, lines):
    """The images of one task; dw and db stand behind everything else in its part of the scratch."""
    function = ((forward_plane, forward_line), (backward_plane, backward_line))[backward][lines](dtype)
    array, item = floats_of(dtype), dtype.itemsize

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        own = c[SCRATCH] + task * c[PRIVATE]
        if backward:
            sums = array(own + 16 * c[WIDTH] + 7 * c[WIDTH] * item)
            for j in range(2 * c[CHANNELS]):
                sums[j] = 0
        for image in range(task * c[BLOCK], min((task + 1) * c[BLOCK], c[IMAGES])):
            function(c, doubles(ctx)[EPS], image, own)

    return work


@cache
def combine_task(dtype):
    """dw and db of a block of columns: the sums of all tasks."""
    array, real, item = floats_of(dtype), dtype.type, dtype.itemsize

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        dw, db, channels = array(c[DW]), array(c[DB]), c[CHANNELS]
        first = c[SCRATCH] + 16 * c[WIDTH] + 7 * c[WIDTH] * item
        for j in range(task * COLUMNS, min((task + 1) * COLUMNS, channels)):
            a = 0.0
            b = 0.0
            for i in range(c[NTASKS]):
                own = array(first + i * c[PRIVATE])
                a += np.float64(own[j])
                b += np.float64(own[channels + j])
            dw[j] = real(a)
            db[j] = real(b)

    return work


def _geometry(p):
    """lines, fold, width, block, tasks, private"""
    count, lines, fold = lanes(p.dtype), p.rows == 1 and p.groups == 1, 1
    if 0 < p.channels < NB * count and p.rows > 1:
        unit = count // gcd(p.channels, count)  # rows that make a whole number of registers
        fold = min(unit * -(-NB * count // (unit * p.channels)), p.rows)
    width = 0 if lines else fold * p.channels
    block = max(-(-p.images // TASKS), 1)
    private = -(-(16 * width + (7 * width + 2 * p.channels) * p.dtype.itemsize) // 128) * 128
    return lines, fold, width, block, -(-p.images // block), private


def scratch(pass_, p):
    """Per task: two rows of sums, constants of the columns, a piece's sums, dw and db."""
    lines, _, _, _, tasks, private = _geometry(p)
    return (0 if lines and pass_ == "forward" else tasks * private), 0


ARGUMENTS = ("x weight bias out mean var scratch", "g x weight mean var out dw db scratch")


@lru_cache(4096)
def programs(backward, p):
    lines, fold, width, block, tasks, private = _geometry(p)
    of = {name: Argument(i) for i, name in enumerate(ARGUMENTS[backward].split())}
    wide = p.rows // fold
    words = [of.get(name) for name in ("x", "g", "weight", "bias", "out", "mean", "var", "dw", "db", "scratch")]
    words += [
        p.images,
        p.rows,
        p.channels,
        p.groups,
        int(p.centred),
        fold,
        width,
        wide,
        (p.rows - wide * fold) * p.channels,
        block,
        tasks,
        private,
        p.eps,
    ]
    time = (0.7 if p.dtype.itemsize == 8 else 0.35) * p.images * p.rows * p.channels
    stages = [Stage(images_task(p.dtype, backward, lines), tasks, time)]
    if backward:
        stages.append(Stage(combine_task(p.dtype), -(-p.channels // COLUMNS), 1.5 * tasks * p.channels))
    return program(words, *stages)


@runs(partial(programs, False))
def forward(p, x, weight, bias, out, mean, var, scratch): ...


@runs(partial(programs, True))
def backward(p, g, x, weight, mean, var, dx, dw, db, scratch): ...
