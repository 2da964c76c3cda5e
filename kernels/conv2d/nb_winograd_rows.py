"""Winograd F(4, 5) along the rows of an image: 8 products for 4 pixels of the output; the Numba twin of cy_winograd_rows.

    Y = A^T [ sum over i, c of  (G g[i]) * (B^T d[i]) ]          *: element by element; cy_winograd_rows has the matrices
    dg[i] = G^T [ sum over tiles of  (B^T d[i]) * (A dY) ]       the adjoint: backward_weight

Shapes   images (mb, c, h, w) in channels-last memory, weights (oc, ic, kh, 5) with kh <= 8; stride 1, no dilation, one group, any padding.
         backward_input is the forward pass of g with weights turned by 180 degrees, channels exchanged and padding kh - 1 - ph, 4 - pw.
Storage  V = B^T d [8][row][tile][ic], with the kh - 1 rows around a band    U = G g [panel of nr channels][8][kh][ic][nr]    M = V U [8][row][tile][nr]
         dM = A dY [8][row][tile][oc]    dU = V^T dM [panel][8][kh][ic][nr].  Tiles of V and dM are an odd number of cache lines apart.
         Up to half a register of channels share it with those of the next row: V [8][row % 2][row / 2][tile][ic], M [8][row / 2][tile][row % 2, oc],
         U [8][kh + 1][ic][row % 2, oc] with the rows of the filter one further down for the second row.
Loops    as cy_winograd_rows, tasks and blocks the same
Edges    pixels outside an image are read from a pixel of zeros and written to a spare one; the last register of channels is masked
Cost     8/20 multiplications, more where 4 does not divide the width, and the transforms
After    Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray, CVPR 2016, arXiv:1509.09308.
"""

from functools import cache, lru_cache, partial

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, array_i64, doubles, inline, ints, program, runs, stack, task
from lamella.kernels._common.nb_simd import VECTOR_BYTES, first, lanes, load, namespace, operation, prefetch_l2, simd, store
from lamella.kernels._common.nb_tile import MR, NV, call, tile_function
from lamella.kernels.conv2d._nb_gather import RATE, activating, aligned, ceil_div, no_program
from llvmlite import ir
from numba import types

# isort: off
from lamella.kernels.conv2d._nb_winograd import (
    ACROSS, ACT, BIAS, COLUMNS, DB, DEPTH, DST, DST_PIXEL, DW, FIRST_TAP, HEIGHT, HEIGHTS, LEFT, LOCAL, LOCAL_BYTES, MB, MOST, N, NR, N_PITCH, N_PLANE,
    PANELS, PITCH, PLANE, ROWS, SLOPE, SRC, SUMS_PLANE, TAP_STEP, TOP, U, W, WIDTH, W_IN, W_OUT, ZERO, ZEROS, bias_task, odd_lines, Registers,
)  # fmt: skip
# isort: on

M = 4  # pixels of an output tile
R = 5  # weights of a row of a filter
A = M + R - 1  # products
HIGH = 8  # rows of a filter at most
BLOCK = 256 * 1024  # bytes of V and M, or of V and dM, that a task works on
CHUNKS = 8  # private copies of dU at most
PRIVATE = 16 << 20  # bytes of them, from which on there are fewer
UNITS = 4  # tasks wanted at least
LOW = 7  # rows of a band at least, if that many tasks can be had otherwise
GRAIN = 12500  # ns of a task at least, likewise

# Words of the context, beside those of _nb_winograd: the fields of Rows (cy_winograd_rows.pyx)
(TAPS, BAND_ROWS, BANDS, BAND, N_BAND, AO, BO, BLOCK_OF_BANDS, CHUNKS_OF, HIGH_OF_TILE, PARTS, HALVES, HALF) = range(ZERO + 1, ZERO + 14)

_I64 = ir.IntType(64)


# Transforms


def _pair(o, a, even, odd):
    """The values of the points a and -a."""
    return o.fma(a, odd, even), o.fma(-a, odd, even)


def _input_line(o, d):
    """B^T d"""

    def pair(a, even4, even2):  # the coefficients of x^2 and 1 in (x^2 - b^2)(x^2 - c^2)
        return _pair(o, a, *(o.fma(even2, d[i], o.fma(even4, d[i + 2], d[i + 4])) for i in (2, 1)))

    ends = [o.fma(5.25, o.sub(d[i + 2], d[i + 4]), o.sub(d[i + 6], d[i])) for i in (0, 1)]
    return ends[0], *pair(1, -4.25, 1), *pair(2, -1.25, 0.25), *pair(0.5, -5, 4), ends[1]


def _weight_line(o, g):
    """G g"""

    def pair(a, scale):
        even = o.fma(scale * a * a, o.fma(a * a, g[4], g[2]), o.times(scale, g[0]))
        odd = o.times(scale * a, o.fma(a * a, g[3], g[1]))
        return o.add(even, odd), o.sub(even, odd)

    return o.times(-1, g[0]), *pair(1, -2 / 9), *pair(2, 1 / 90), *pair(0.5, 32 / 45), g[4]


def _powers(o, pairs):
    """Rows 0 to 4 of what the powers of the points give, from the sums and differences of pairs."""
    (s1, d1), (s2, d2), (s3, d3) = pairs
    yield o.add(s1, s2, s3)
    yield o.fma(0.5, d3, o.fma(2, d2, d1))
    yield o.fma(0.25, s3, o.fma(4, s2, s1))
    yield o.fma(0.125, d3, o.fma(8, d2, d1))
    yield o.fma(0.0625, s3, o.fma(16, s2, s1))


def _output_line(o, m):
    """A^T m"""
    r = list(_powers(o, [(o.add(m[i], m[i + 1]), o.sub(m[i], m[i + 1])) for i in (1, 3, 5)]))
    return o.add(m[0], r[0]), r[1], r[2], o.add(r[3], m[7])


def _gradient_line(o, y):
    """A y"""
    pairs = [_pair(o, a, o.fma(a * a, y[2], y[0]), o.fma(a * a, y[3], y[1])) for a in (1, 2, 0.5)]
    return y[0], *(value for pair in pairs for value in pair), y[3]


def _filter_line(o, u):
    """G^T u"""
    scales = ((1, -2 / 9), (3, 1 / 90), (5, 32 / 45))
    r = list(_powers(o, [[o.times(scale, f(u[i], u[i + 1])) for f in (o.add, o.sub)] for i, scale in scales]))
    return o.sub(r[0], u[0]), r[1], r[2], r[3], o.add(r[4], u[7])


@cache
def transforms(dtype):
    """The transforms of a tile, for a register of channels.

    f.input(table, offset, to, plane)           the 8 pixels at the addresses of a table, plus an offset, to planes of V
    f.gradient(table, offset, to, plane)        4 pixels of the gradient, likewise, to planes of dM
    f.weights(taps, step, to, plane)            five registers, a step apart, to planes of U
    f.output(m, plane, table, offset, bias, least)      planes of M to 4 pixels, plus bias, at least `least`
    f.filter(u, plane, to)                      planes of dU to five registers side by side

    input_n, gradient_n and output_n read and write the first n lanes of pixels only; n comes last. output_halves writes the upper half of a
    register, too, as pixels of four more addresses of the table. Offsets and steps count bytes.
    """
    vector = ir.VectorType(ir.FloatType() if dtype == np.float32 else ir.DoubleType(), lanes(dtype))
    kind, at = simd(dtype).type, types.int64

    def beside(b, base, step, number):
        return b.add(base, b.mul(step, ir.Constant(_I64, number)))

    def entry(b, table, offset, number):
        return b.add(b.load(b.inttoptr(b.add(table, ir.Constant(_I64, 8 * number)), _I64.as_pointer())), offset)

    def mask_of(b, n):
        return None if n is None else first(b, n, vector.count)

    def from_pixels(line, count):
        def code(b, table, offset, to, plane, n=None):
            mask = mask_of(b, n)
            values = [load(b, entry(b, table, offset, j), vector, mask) for j in range(count)]
            for j, value in enumerate(line(Registers(b, vector), values)):
                store(b, value, beside(b, to, plane, j))

        return operation(None, (at,) * 4, code), operation(None, (at,) * 5, code)

    def planes(line, count):
        def code(b, source, step, to, plane):
            values = [load(b, beside(b, source, step, j), vector) for j in range(count)]
            for j, value in enumerate(line(Registers(b, vector), values)):
                store(b, value, beside(b, to, plane, j))

        return operation(None, (at,) * 4, code)

    turn = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [(i + vector.count // 2) % vector.count for i in range(vector.count)])

    def output(b, sums, plane, table, offset, bias, least, n=None, halves=1):
        mask = mask_of(b, n)
        values = [load(b, beside(b, sums, plane, j), vector) for j in range(A)]
        results = list(_output_line(Registers(b, vector), values))
        for j, value in enumerate(results + [b.shuffle_vector(value, value, turn) for value in results] if halves > 1 else results):
            total = b.fadd(value, bias)
            total = b.select(b.fcmp_ordered(">", least, total), least, total)
            store(b, total, entry(b, table, offset, j), mask)

    (input_, input_n), (gradient, gradient_n) = from_pixels(_input_line, A), from_pixels(_gradient_line, M)
    return namespace(
        f"winograd_rows_{kind}",
        input=input_,
        input_n=input_n,
        gradient=gradient,
        gradient_n=gradient_n,
        weights=planes(_weight_line, R),
        output=operation(None, (at, at, at, at, kind, kind), output),
        output_n=operation(None, (at, at, at, at, kind, kind, at), output),
        output_halves=operation(None, (at, at, at, at, kind, kind, at), partial(output, halves=2)),
        filter=planes(_filter_line, A),
    )


@cache
def input_transform(dtype):
    f, v, item, table_of = transforms(dtype), simd(dtype), dtype.itemsize, stack(8 * A)
    width_of_register = v.lanes

    @inline
    def transform_input(c, image, r0, to_band):
        """v[product][row][tile][channel] = B^T d for the rows of src under a band of dst from r0 on."""
        table = table_of()
        at = array_i64(table)
        width, depth, across, left = c[WIDTH], c[DEPTH], c[ACROSS], c[LEFT]
        plane, pitch, pixel = c[PLANE] * item, c[PITCH] * item, c[DEPTH] * item
        for row in range(c[BAND_ROWS] + c[TAPS] - 1):
            y = r0 + row - c[TOP]
            to = to_band + (row % c[HALVES] * c[HALF] + row // c[HALVES]) * across * pitch
            if y < 0 or y >= c[HEIGHT]:
                for j in range(A):
                    for i in range(0, across * pitch, VECTOR_BYTES):
                        v.store_n(to + j * plane + i, (across * pitch - i) // item, v.zero())
                continue
            line = c[SRC] + (image * c[HEIGHT] + y) * width * pixel
            for tile in range(across):
                for j in range(A):
                    x = tile * M + j - left
                    at[j] = line + x * pixel if x >= 0 and x < width else c[ZEROS]
                for i in range(0, depth, width_of_register):
                    if depth - i >= width_of_register:
                        f.input(table, i * item, to + i * item, plane)
                    else:
                        f.input_n(table, i * item, to + i * item, plane, depth - i)
                to += pitch

    return transform_input


@cache
def gradient_transform(dtype):
    f, v, item, table_of = transforms(dtype), simd(dtype), dtype.itemsize, stack(8 * M)
    width_of_register = v.lanes

    @inline
    def transform_gradient(c, image, r0, rows, to_band):
        """dM[product][row][tile][channel] = A y for a band of g; rows beyond the image are zero."""
        table = table_of()
        at = array_i64(table)
        columns, n, across = c[COLUMNS], c[N], c[ACROSS]
        plane, pitch = c[N_PLANE] * item, c[N_PITCH] * item
        for row in range(c[BAND_ROWS]):
            to = to_band + row * across * pitch
            line = c[DST] + (image * c[ROWS] + r0 + row) * columns * n * item
            for tile in range(across):
                for j in range(M):
                    at[j] = line + (tile * M + j) * n * item if row < rows and tile * M + j < columns else c[ZEROS]
                for i in range(0, c[PANELS] * c[NR], width_of_register):
                    if n - i >= width_of_register:
                        f.gradient(table, i * item, to + i * item, plane)
                    else:
                        f.gradient_n(table, i * item, to + i * item, plane, n - i)
                to += pitch

    return transform_gradient


@cache
def weights_task(dtype):
    """U of a panel: taps are transposed in registers, then transformed row by row of the filter."""
    f, v, item = transforms(dtype), simd(dtype), dtype.itemsize
    width_of_register = v.lanes
    taps_of, products_of = stack((HIGH * R + width_of_register) * VECTOR_BYTES), stack(A * VECTOR_BYTES)  # [tap][lane]

    @task
    def weights(ctx, panel, slot):
        c = ints(ctx)
        taps, products, count, nr, depth = taps_of(), products_of(), c[TAPS] * R, c[NR], c[DEPTH]
        step = (c[TAPS] + c[HALVES] - 1) * depth * nr * item
        lower = depth * nr * item + VECTOR_BYTES // 2  # from the weights of the first row of dst to those of the second one
        for i in range(0, A * step if c[HALVES] > 1 else 0, VECTOR_BYTES):
            v.store(c[U] + i, v.zero())
        by_tap = c[TAP_STEP] * VECTOR_BYTES
        for q in range(0, nr, width_of_register):
            left = min(c[N] - panel * nr - q, width_of_register)
            for i in range(count if left < width_of_register else 0):
                v.store(taps + i * VECTOR_BYTES, v.zero())
            src = c[W] + (panel * nr + q) * c[W_OUT] * item
            for channel in range(depth):
                for i in range(0, count if left > 0 else 0, width_of_register):
                    v.square_n(
                        src + (channel * c[W_IN] + i) * item, c[W_OUT] * item, taps + i * VECTOR_BYTES, VECTOR_BYTES,
                        left, min(count - i, width_of_register),
                    )  # fmt: skip
                for i in range(c[TAPS]):
                    to = c[U] + panel * A * step + ((i * depth + channel) * nr + q) * item
                    tap = taps + c[FIRST_TAP] * VECTOR_BYTES + i * R * by_tap
                    if c[HALVES] == 1:
                        f.weights(tap, by_tap, to, step)
                        continue
                    f.weights(tap, by_tap, products, VECTOR_BYTES)
                    for j in range(A):
                        v.store_n(to + j * step, left, v.load(products + j * VECTOR_BYTES))
                        v.store_n(to + j * step + lower, left, v.load(products + j * VECTOR_BYTES))

    return weights


@inline
def tile_height(count, nv):
    """Rows of the tiles that a run of positions is cut into: as many as fill the registers at most."""
    return -(-count // -(-count // (MR * NV // nv)))


@inline
def fetch(start, size, part, parts):
    """Ask for a part of memory that is transformed, or written, after the products in progress."""
    for at in range(part * size // (parts * 64), (part + 1) * size // (parts * 64)):
        prefetch_l2(start + at * 64)


@cache
def band_task(dtype):
    """V of a band, then panel by panel M and dst."""
    f, v, item, transform_input, activate = transforms(dtype), simd(dtype), dtype.itemsize, input_transform(dtype), activating(dtype)
    width_of_register, zero, lowest = v.lanes, dtype.type(0), dtype.type(-np.inf)
    table_of, spare_of = stack(2 * 8 * M), stack(NV * VECTOR_BYTES)

    @inline
    def transform_output(c, image, r0, rows, panel, sums):
        """dst = A^T m + bias for a panel of channels of a band."""
        table, spare = table_of(), spare_of()
        at = array_i64(table)
        columns, n, nr, across, plane = c[COLUMNS], c[N], c[NR], c[ACROSS], c[SUMS_PLANE] * item
        least = v.set(zero if c[ACT] == 1 else lowest)
        for row in range(0, rows, c[HALVES]):
            for tile in range(across):
                to = c[DST] + (((image * c[ROWS] + r0 + row) * columns + tile * M) * n + panel * nr) * item
                for j in range(M):
                    inside = tile * M + j < columns
                    at[j] = to + j * n * item if inside else spare
                    at[M + j] = to + (columns + j) * n * item if inside and row + 1 < rows else spare
                for q in range(0, min(nr, n - panel * nr), width_of_register):
                    left = n - panel * nr - q
                    bias = v.load_n(c[BIAS] + (panel * nr + q) * item, left) if c[BIAS] != 0 else v.zero()
                    there = sums + ((row // c[HALVES] * across + tile) * nr + q) * item
                    if c[HALVES] > 1:
                        f.output_halves(there, plane, table, q * item, bias, least, left)
                    elif left >= width_of_register:
                        f.output(there, plane, table, q * item, bias, least)
                    else:
                        f.output_n(there, plane, table, q * item, bias, least, left)

    @task
    def band(ctx, task, slot):
        c, slope, heights = ints(ctx), doubles(ctx)[SLOPE], array_i64(ints(ctx)[HEIGHTS])
        image, r0 = task // c[BANDS], task % c[BANDS] * c[BAND_ROWS]
        rows, nr, pitch = min(c[BAND_ROWS], c[ROWS] - r0), c[NR], c[PITCH]
        count, reach = -(-rows // c[HALVES]) * c[ACROSS], c[TAPS] + c[HALVES] - 1
        height = tile_height(count, nr // width_of_register)
        source = c[LOCAL] + slot * c[LOCAL_BYTES]
        sums = source + A * c[PLANE] * item
        line, dst_line = c[WIDTH] * c[DEPTH] * item, c[COLUMNS] * c[N] * item
        following = c[SRC] + (image * c[HEIGHT] + min(c[HEIGHT], r0 + c[BAND_ROWS] - c[TOP] + c[TAPS] - 1)) * line
        transform_input(c, image, r0, source)
        for panel in range(c[PANELS]):
            for product in range(A):
                if c[MB] * c[BANDS] > 1:
                    fetch(following, c[BAND_ROWS] * line, panel * A + product, c[PANELS] * A)
                if c[MB] * c[BANDS] > 1 and panel == 0:
                    fetch(c[DST] + (image * c[ROWS] + r0) * dst_line, rows * dst_line, product, A)
                u = c[U] + (panel * A + product) * reach * c[DEPTH] * nr * item
                for i in range(0, count, height):
                    at = source + (product * c[PLANE] + i * pitch) * item
                    to = sums + (product * c[SUMS_PLANE] + i * nr) * item
                    call(heights[min(height, count - i)], reach, c[AO], c[BO], c[DEPTH], at, pitch, 1, u, nr, nr, to, nr, 0, 0)
            transform_output(c, image, r0, rows, panel, sums)
        if c[ACT] > 1:
            values = c[COLUMNS] * c[N]
            activate(c[ACT], slope, c[DST] + (image * c[ROWS] + r0) * values * item, rows * values)

    return band


@cache
def chunk_task(dtype):
    """The private dU of a chunk of bands."""
    item, transform_input, transform_gradient = dtype.itemsize, input_transform(dtype), gradient_transform(dtype)

    @task
    def chunk(ctx, task, slot):
        c, heights = ints(ctx), array_i64(ints(ctx)[HEIGHTS])
        units, nr, depth, pitch, high = c[MB] * c[BANDS], c[NR], c[DEPTH], c[PITCH], c[HIGH_OF_TILE]
        start, end = task * units // c[CHUNKS_OF], (task + 1) * units // c[CHUNKS_OF]
        source = c[LOCAL] + slot * c[LOCAL_BYTES]
        g = source + A * c[PLANE] * item
        x_size, g_size = c[HEIGHT] * c[WIDTH] * depth * item // c[BANDS], c[ROWS] * c[COLUMNS] * c[N] * item // c[BANDS]
        own = c[U] + task * c[PANELS] * A * c[TAPS] * depth * nr * item
        for unit in range(start, end, c[BLOCK_OF_BANDS]):
            count = min(c[BLOCK_OF_BANDS], end - unit)
            for i in range(count):
                image, r0 = (unit + i) // c[BANDS], (unit + i) % c[BANDS] * c[BAND_ROWS]
                transform_input(c, image, r0, source + i * c[BAND] * item)
                transform_gradient(c, image, r0, c[ROWS] - r0, g + i * c[N_BAND] * item)
            for panel in range(c[PANELS]):
                for product in range(A):
                    fetch(c[SRC] + (unit + count) * x_size, count * x_size, panel * A + product, c[PANELS] * A)
                    fetch(c[DST] + (unit + count) * g_size, count * g_size, panel * A + product, c[PANELS] * A)
                    du = own + (panel * A + product) * c[TAPS] * depth * nr * item
                    b = g + (product * c[N_PLANE] + panel * nr) * item
                    for i in range(c[TAPS] * c[PARTS]):
                        tap, channel = i // c[PARTS], i % c[PARTS] * high
                        a = source + (product * c[PLANE] + tap * c[ACROSS] * pitch + channel) * item
                        to = du + (tap * depth + channel) * nr * item
                        call(
                            heights[min(high, depth - channel)], count, c[AO], c[BO], c[BAND_ROWS] * c[ACROSS], a, 1, pitch, b, c[N_PITCH], nr,
                            to, nr, to if unit > start else 0, nr,
                        )  # fmt: skip

    return chunk


@cache
def filter_task(dtype):
    """dw of a channel of src and a panel of those of dst: G^T of the sum of all private dU, chunk after chunk."""
    f, v, item = transforms(dtype), simd(dtype), dtype.itemsize
    width_of_register = v.lanes
    taps_of, sums_of = stack((HIGH * R + width_of_register) * VECTOR_BYTES), stack(A * VECTOR_BYTES)

    @task
    def filters(ctx, task, slot):
        c = ints(ctx)
        taps, sums, nr, depth, count = taps_of(), sums_of(), c[NR], c[DEPTH], c[TAPS] * R
        panel, channel = task // depth, task % depth
        step = c[TAPS] * depth * nr * item
        for q in range(0, min(nr, c[N] - panel * nr), width_of_register):
            for i in range(c[TAPS]):
                at = c[U] + panel * A * step + ((i * depth + channel) * nr + q) * item
                for j in range(A):
                    total = v.load(at + j * step)
                    for chunk in range(1, c[CHUNKS_OF]):
                        total = total + v.load(at + (chunk * c[PANELS] * A + j) * step)
                    v.store(sums + j * VECTOR_BYTES, total)
                f.filter(sums, VECTOR_BYTES, taps + i * R * VECTOR_BYTES, VECTOR_BYTES)
            to = c[DW] + ((panel * nr + q) * c[W_OUT] + channel * c[W_IN]) * item
            left = min(c[N] - panel * nr - q, width_of_register)
            for i in range(0, count, width_of_register):
                rows = min(count - i, width_of_register)
                v.square_n(taps + i * VECTOR_BYTES, VECTOR_BYTES, to + i * item, c[W_OUT] * item, rows, left)

    return filters


# Planning


class Plan:
    """The cuts of a pass, its scratch, and its program."""

    def __init__(self, pass_, p):
        weight, rotated = pass_ == "backward_weight", pass_ == "backward_input"
        dtype, item, taps = p.dtype, p.dtype.itemsize, p.kh
        source, result, top, left = (p.ih, p.iw, p.ic), (p.oh, p.ow, p.oc), p.ph, p.pw
        w_in, w_out = taps * R, p.ic * taps * R
        if rotated:
            source, result, top, left, w_in, w_out = result, source, taps - 1 - p.ph, R - 1 - p.pw, w_out, w_in
        (height, width, depth), (rows, columns, n) = source, result
        across, nv = ceil_div(columns, M), 1 if n <= lanes(dtype) else NV
        nr = nv * lanes(dtype)
        panels = ceil_div(n, nr)
        pitch = odd_lines(ceil_div(depth * item, VECTOR_BYTES) * VECTOR_BYTES // item, item)
        n_pitch = odd_lines(panels * nr, item) if weight else nr
        by_row = A * across * (pitch + n_pitch) * item
        most = max(1, (BLOCK - A * across * (taps - 1) * pitch * item) // max(by_row, 1))
        time = 2.0 * A * p.mb * rows * across * taps * depth * n / RATE[item]
        bands = max(ceil_div(rows, most), min(UNITS // max(p.mb, 1), rows // LOW, int(time / GRAIN)))
        halves = 2 if not weight and 2 * n <= lanes(dtype) and rows > 1 else 1
        band_rows = ceil_div(max(1, ceil_div(rows, max(bands, 1))), halves) * halves
        bands = ceil_div(rows, band_rows)
        half = ceil_div(band_rows + taps - 1, halves)
        band, n_band = halves * half * across * pitch, band_rows // halves * across * n_pitch
        block, chunks, high, parts = 1, 1, 1, 1
        reach = taps + halves - 1
        u = panels * A * reach * depth * nr * item
        if weight:
            chunks = max(1, min(CHUNKS, PRIVATE // max(u, 1), p.mb * bands))
            block = max(1, min(BLOCK // max(A * (band + n_band) * item, 1), ceil_div(p.mb * bands, chunks)))
            high = ceil_div(depth, ceil_div(depth, MR))
            parts = ceil_div(depth, high)
        plane, n_plane = odd_lines(block * band, item), odd_lines(block * n_band, item)
        self.transformed, local = aligned(chunks * u), aligned(A * (plane + n_plane) * item)
        self.scratch = self.transformed, local
        self.program = no_program(pass_)
        self.fits = taps <= HIGH and self.transformed <= MOST
        if not (self.fits and p.mb and rows and columns):
            return
        heights = np.zeros(MR * NV + 1, np.int64)
        if weight:
            needed = {high, depth - (parts - 1) * high}
            ao, bo = (np.arange(block) * step for step in (band, n_band))
        else:
            needed = set()
            for count in {ceil_div(r, halves) * across for r in (band_rows, rows - (bands - 1) * band_rows)}:
                each = tile_height(count, nv)
                needed |= {each, count % each or each}
            i = np.arange(reach)
            ao, bo = (i % halves * half + i // halves) * across * pitch, i * depth * nr
        for count in needed:
            heights[count] = tile_function(dtype, count, nv).address
        arguments = {"forward": (SRC, W, BIAS, DST), "backward_input": (SRC, W, DST), "backward_weight": (SRC, DST, DW, DB)}[pass_]
        words = [0] * (HALF + 1)
        for place, word in {
            MB: p.mb, HEIGHT: height, WIDTH: width, DEPTH: depth, ROWS: rows, COLUMNS: columns, N: n, TOP: top, LEFT: left, ACROSS: across,
            W_IN: w_in, W_OUT: w_out, FIRST_TAP: taps * R - 1 if rotated else 0, TAP_STEP: -1 if rotated else 1, PANELS: panels, PITCH: pitch,
            PLANE: plane, SUMS_PLANE: n_plane, N_PITCH: n_pitch, N_PLANE: n_plane, ZEROS: np.zeros(max(depth, n), dtype), HEIGHTS: heights,
            ACT: p.act if pass_ == "forward" else 0, SLOPE: float(p.slope), TAPS: taps, BAND_ROWS: band_rows, BANDS: bands, BAND: band,
            N_BAND: n_band, NR: nr, DST_PIXEL: n, AO: ao.astype(np.int64), BO: bo.astype(np.int64), BLOCK_OF_BANDS: block, CHUNKS_OF: chunks, HIGH_OF_TILE: high,
            PARTS: parts, HALVES: halves, HALF: half, LOCAL_BYTES: local, U: Argument(len(arguments)), LOCAL: Argument(len(arguments), self.transformed),
            **{index: Argument(i) for i, index in enumerate(arguments)},
        }.items():  # fmt: skip
            words[place] = word
        if weight:
            stages = [
                Stage(chunk_task(dtype), chunks, time, local),
                Stage(filter_task(dtype), panels * depth, 0.2 * chunks * A * taps * n * depth),
            ]
            if p.bias:
                stages.append(Stage(bias_task(dtype), panels, 0.2 * p.mb * rows * columns * n))
        else:
            stages = [
                Stage(weights_task(dtype), panels, 0.5 * A * taps * n * depth),
                Stage(band_task(dtype), p.mb * bands, time, local),
            ]
        self.program = program(words, *stages, shared=self.transformed)


@lru_cache(4096)
def plan_of(pass_, p):
    return Plan(pass_, p)


def scratch(pass_, p):
    """U or private copies of dU, shared; V, and M or dM, per thread."""
    return plan_of(pass_, p).scratch


def accepts(pass_, p):
    return plan_of(pass_, p).fits


def transformed(pass_, p):
    """How many of the shared bytes are transformed weights, or sums of weight gradients."""
    return plan_of(pass_, p).transformed


def program_of(pass_, p):
    return plan_of(pass_, p).program


@runs(partial(program_of, "forward"))
def forward(p, x, w, b, out, scratch): ...


@runs(partial(program_of, "backward_input"))
def backward_input(p, g, w, dx, scratch): ...


@runs(partial(program_of, "backward_weight"))
def backward_weight(p, x, g, dw, db, scratch): ...
