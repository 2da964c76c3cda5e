"""The code of nb_winograd_f2 and nb_winograd_f4; the twin of winograd.pxi, whose names it keeps.

A transform of two dimensions is emitted as LLVM IR: `_transform` draws a function of one dimension along the columns of a square of registers, and
then along its rows; `transforms` gives it the matrices of cy_winograd_f4. Pixels outside an image, and of tiles that hang over, are
read from a pixel of zeros and written to a spare one, through a table of addresses.

`m` is the side of an output tile, `a` = m + 2 that of an input tile.
"""

from functools import cache, cached_property, lru_cache

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, array_i64, doubles, inline, ints, program, stack, task

# isort: off
from lamella.kernels._common.nb_simd import (
    VECTOR_BYTES, first, fma, lanes, load, namespace, operation, prefetch_l2, prefetch_write, simd, store,
)  # fmt: skip

# isort: on
from lamella.kernels._common.nb_tile import MR, NV, call, tile_function
from lamella.kernels.conv2d._nb_gather import RATE, activating, aligned, ceil_div
from llvmlite import ir
from numba import types

BLOCK = 330 * 1024  # bytes of V of a task: with M, inside L2
SUMS = 256 * 1024  # bytes of M of a task
STREAM = 3 << 20  # bytes of U that may stream past every block of tiles
SPAN = 8 << 20  # bytes of V that all threads work on at a time, where U is large
ROWS_DU = 70  # channels of src per task of backward_weight: dU stays in L2
SPAN_DU = 4 << 20  # bytes of V and dM that all threads work on at a time
SLICE = 128  # channels of src at a time, where few tiles let U be made in L2 and used up there
MOST = 64 << 20  # bytes of transformed weights, or of sums of their gradients
UNITS = 16  # tasks wanted at least
WIDE_BYTES = 256  # of a pixel's channels that are transformed together, where there are several groups
POINT = 5 / 8  # the point p of F(4x4); its powers are exact

# Words of the context, named as the fields of Winograd (winograd.pxi); FIRST_TAP, TAP_STEP: the order in which w is read, in registers
(
    SRC, DST, W, BIAS, ACT, SLOPE, MB, HEIGHT, WIDTH, DEPTH, ROWS, COLUMNS, N, TOP, LEFT, DY, DX, DOWN, ACROSS, TILES, W_IN, W_OUT, FIRST_TAP, TAP_STEP,
    W_GROUP, WIDE, SRC_PIXEL, DST_PIXEL, NR, PANELS, STATIONARY, SLICE_OF_U, SPAN_OF_V, FIRST, BLOCK_OF_TILES, PITCH, PLANE, SUMS_PLANE, U_PLANE,
    N_PITCH, N_PLANE, HEIGHT_DU, BLOCKS_DU, DW, DB, EARLIER, ZEROS, U, V, DM, LOCAL, LOCAL_BYTES, HEIGHTS, ZERO,
) = range(54)  # fmt: skip

_ZERO = np.zeros(1, np.int64)
_I64 = ir.IntType(64)


# Transforms


class Registers:
    """Arithmetic on registers while IR is emitted."""

    def __init__(self, builder, vector):
        self.b, self.vector = builder, vector

    def add(self, x, *others):
        for y in others:
            x = self.b.fadd(x, y)
        return x

    def sub(self, x, y):
        return self.b.fsub(x, y)

    def _constant(self, value):
        return ir.Constant(self.vector, [value] * self.vector.count)

    def times(self, factor, x):
        return self.b.fmul(self._constant(factor), x)

    def fma(self, factor, x, y):
        return fma(self.b, self._constant(factor), x, y)


def _input_line(o, d):
    """B^T d"""
    if len(d) == 4:
        return o.sub(d[0], d[2]), o.add(d[1], d[2]), o.sub(d[2], d[1]), o.sub(d[3], d[1])
    p, q = POINT, POINT**2
    outer = [o.fma(q, d[i], o.fma(-1 - q, d[i + 2], d[i + 4])) for i in (0, 1)]
    even, odd = o.fma(-q, d[2], d[4]), o.fma(-q, d[1], d[3])
    even_p, odd_p = o.sub(d[4], d[2]), o.sub(d[3], d[1])
    return outer[0], o.add(even, odd), o.sub(even, odd), o.fma(p, odd_p, even_p), o.fma(-p, odd_p, even_p), outer[1]


def _weight_line(m, o, g):
    """G g"""
    p, q = POINT, POINT**2
    one, two = 0.5 if m == 2 else 0.5 / (1 - q), 0.5 / (q * (q - 1))
    s = o.add(g[0], g[2])
    unit = [o.times(one, o.add(s, g[1])), o.times(one, o.sub(s, g[1]))]
    if m == 2:
        return g[0], *unit, g[2]
    s = o.fma(two * q, g[2], o.times(two, g[0]))
    return o.times(1 / q, g[0]), *unit, o.fma(two * p, g[1], s), o.fma(-two * p, g[1], s), g[2]


def _output_line(o, x):
    """A^T x"""
    s, d = o.add(x[1], x[2]), o.sub(x[1], x[2])
    if len(x) == 4:
        return o.add(x[0], s), o.add(d, x[3])
    p, s2, d2 = POINT, o.add(x[3], x[4]), o.sub(x[3], x[4])
    return o.add(x[0], s, s2), o.fma(p, d2, d), o.fma(p**2, s2, s), o.add(o.fma(p**3, d2, d), x[5])


def _gradient_line(o, y):
    """A y"""
    if len(y) == 2:
        return y[0], o.add(y[0], y[1]), o.sub(y[0], y[1]), y[1]
    p = POINT
    even, odd = o.add(y[0], y[2]), o.add(y[1], y[3])
    even_p, odd_p = o.fma(p**2, y[2], y[0]), o.fma(p**3, y[3], o.times(p, y[1]))
    return y[0], o.add(even, odd), o.sub(even, odd), o.add(even_p, odd_p), o.sub(even_p, odd_p), y[3]


def _filter_line(o, u):
    """G^T u"""
    p, q = POINT, POINT**2
    one = 0.5 if len(u) == 4 else 0.5 / (1 - q)
    s, d = (o.times(one, f(u[1], u[2])) for f in (o.add, o.sub))
    if len(u) == 4:
        return o.add(u[0], s), d, o.add(s, u[3])
    two = 0.5 / (q * (q - 1))
    s2, d2 = (o.times(two, f(u[3], u[4])) for f in (o.add, o.sub))
    return o.add(o.fma(1 / q, u[0], s), s2), o.fma(p, d2, d), o.add(o.fma(q, s2, s), u[5])


def _transform(line, side, read, write):
    """`line` along the columns of the square of registers read(i, j), then along its rows, to write(i, j, value)."""
    columns = [line([read(i, j) for i in range(side)]) for j in range(side)]
    for i, row in enumerate(zip(*columns)):
        for j, value in enumerate(line(row)):
            write(i, j, value)


@cache
def transforms(dtype, m):
    """The transforms of a tile, for a register of channels.

    f.input(table, offset, to, plane)           the a * a pixels at the addresses of a table, plus an offset, to planes of V
    f.gradient(table, offset, to, plane)        m * m pixels of the gradient, likewise, to planes of dM
    f.weights(taps, step, to, plane)            nine registers, a step apart, to planes of U
    f.output(m, plane, table, offset, bias, least)      planes of M to m * m pixels, plus bias, at least `least`
    f.filter(u, plane, to, step)                planes of dU to nine registers, a step apart
    f.filter_plus(u, plane, sums, step, to, to_step)    likewise, plus nine others

    input_n, gradient_n and output_n read and write the first n lanes of pixels only; n comes last. Offsets and steps count bytes.
    """
    a, count = m + 2, lanes(dtype)
    vector = ir.VectorType(ir.FloatType() if dtype == np.float32 else ir.DoubleType(), count)
    kind, at = simd(dtype).type, types.int64

    def line_of(b, line):
        return lambda values: line(Registers(b, vector), values)

    def beside(b, base, step, number):
        return b.add(base, b.mul(step, ir.Constant(_I64, number)))

    def entry(b, table, offset, number):
        return b.add(b.load(b.inttoptr(b.add(table, ir.Constant(_I64, 8 * number)), _I64.as_pointer())), offset)

    def from_pixels(line, side):
        def code(b, table, offset, to, plane, n=None):
            mask = None if n is None else first(b, n, count)
            _transform(
                line_of(b, line), side,
                lambda i, j: load(b, entry(b, table, offset, i * side + j), vector, mask),
                lambda i, j, value: store(b, value, beside(b, to, plane, i * a + j)),
            )  # fmt: skip

        return operation(None, (at,) * 4, code), operation(None, (at,) * 5, code)

    def weights(b, taps, step, to, plane):
        _transform(
            line_of(b, lambda o, g: _weight_line(m, o, g)), 3,
            lambda i, j: load(b, beside(b, taps, step, i * 3 + j), vector),
            lambda i, j, value: store(b, value, beside(b, to, plane, i * a + j)),
        )  # fmt: skip

    def output(b, planes, plane, table, offset, bias, least, n=None):
        mask = None if n is None else first(b, n, count)

        def write(i, j, value):
            value = b.fadd(value, bias)
            value = b.select(b.fcmp_ordered(">", least, value), least, value)
            store(b, value, entry(b, table, offset, i * m + j), mask)

        _transform(line_of(b, _output_line), a, lambda i, j: load(b, beside(b, planes, plane, i * a + j), vector), write)

    def filters(b, u, plane, sums, step, to, to_step):
        def write(i, j, value):
            if sums is not None:
                value = b.fadd(value, load(b, beside(b, sums, step, i * 3 + j), vector))
            store(b, value, beside(b, to, to_step, i * 3 + j))

        _transform(line_of(b, _filter_line), a, lambda i, j: load(b, beside(b, u, plane, i * a + j), vector), write)

    (input_, input_n), (gradient, gradient_n) = from_pixels(_input_line, a), from_pixels(_gradient_line, m)
    return namespace(
        f"winograd_{m}_{kind}",
        input=input_,
        input_n=input_n,
        gradient=gradient,
        gradient_n=gradient_n,
        weights=operation(None, (at,) * 4, weights),
        output=operation(None, (at, at, at, at, kind, kind), output),
        output_n=operation(None, (at, at, at, at, kind, kind, at), output),
        filter=operation(None, (at,) * 4, lambda b, u, plane, to, step: filters(b, u, plane, None, None, to, step)),
        filter_plus=operation(None, (at,) * 6, filters),
    )


@inline
def place(c, m, tile):
    """The image of a tile and its first pixel. Tiles of all sub-images that cover the same square follow each other."""
    dy, dx, down, across = c[DY], c[DX], c[DOWN], c[ACROSS]
    square = tile // (dy * dx)
    return square // (down * across), square // across % down * m * dy + tile // dx % dy, square % across * m * dx + tile % dx


@inline
def group_of(c, panel):
    return panel // c[PANELS]


@inline
def place_of(c, panel):
    """The first channel of a panel, in its group."""
    return panel % c[PANELS] * c[NR]


@inline
def channel_of(c, panel):
    """The same in dst."""
    return group_of(c, panel) * c[N] + place_of(c, panel)


@inline
def set_panels(c):
    """Panels of the groups that are transformed together."""
    return c[WIDE] * c[PANELS]


@cache
def fetching(dtype, m):
    """The function that brings the pixels of tiles into L2."""
    item = dtype.itemsize

    @inline
    def fetch(c, start, end, channel, write):
        """What the tiles from start to end will write of a panel that begins with a channel, or read of a set of groups."""
        rows, columns, height, width = c[ROWS], c[COLUMNS], c[HEIGHT], c[WIDTH]
        panel_bytes, set_bytes = c[NR] * item, c[WIDE] * c[DEPTH] * item
        for k in range(start, min(end, c[TILES])):
            image, y0, x0 = place(c, m, k)
            for i in range(m):
                y = y0 + i * c[DY]
                for j in range(m):
                    x = x0 + j * c[DX]
                    if write:
                        if y < rows and x < columns:
                            at = c[DST] + (((image * rows + y) * columns + x) * c[DST_PIXEL] + channel) * item
                            for line in range(0, panel_bytes, 64):
                                prefetch_write(at + line)
                    elif y < height and x < width:
                        at = c[SRC] + (((image * height + y) * width + x) * c[SRC_PIXEL] + channel) * item
                        for line in range(0, set_bytes, 64):
                            prefetch_l2(at + line)

    return fetch


@cache
def input_transform(dtype, m):
    """The function that makes V."""
    f, width_of_register, item, a = transforms(dtype, m), lanes(dtype), dtype.itemsize, m + 2
    fetch, table_of = fetching(dtype, m), stack(8 * (m + 2) ** 2)

    @inline
    def transform_input(c, group_set, tile, count, v):
        """v[product][tile][channel] = B^T d B for a set of groups and `count` tiles from `tile` on."""
        table = table_of()
        at = array_i64(table)
        height, width, channels = c[HEIGHT], c[WIDTH], c[WIDE] * c[DEPTH]
        first = group_set * channels
        plane = c[PLANE] * item
        for k in range(tile, tile + count):
            fetch(c, k + 2, k + 3, first, False)
            image, y0, x0 = place(c, m, k)
            for i in range(a):
                y = y0 + i * c[DY] - c[TOP]
                for j in range(a):
                    x = x0 + j * c[DX] - c[LEFT]
                    inside = y >= 0 and y < height and x >= 0 and x < width
                    at[i * a + j] = c[SRC] + (((image * height + y) * width + x) * c[SRC_PIXEL] + first) * item if inside else c[ZEROS]
            to = v + (k - tile) * c[PITCH] * item
            for i in range(0, channels, width_of_register):
                if channels - i >= width_of_register:
                    f.input(table, i * item, to + i * item, plane)
                else:
                    f.input_n(table, i * item, to + i * item, plane, channels - i)

    return transform_input


@cache
def gradient_transform(dtype, m):
    """The function that makes dM."""
    f, width_of_register, item = transforms(dtype, m), lanes(dtype), dtype.itemsize
    table_of = stack(8 * m * m)

    @inline
    def transform_gradient(c, tile, count, v):
        """v[product][tile][channel] = A y A^T for all groups and `count` tiles of g from `tile` on."""
        table = table_of()
        at = array_i64(table)
        rows, columns, n = c[ROWS], c[COLUMNS], c[DST_PIXEL]
        plane = c[N_PLANE] * item
        for k in range(tile, tile + count):
            image, y0, x0 = place(c, m, k)
            for i in range(m):
                y = y0 + i * c[DY]
                for j in range(m):
                    x = x0 + j * c[DX]
                    at[i * m + j] = c[DST] + ((image * rows + y) * columns + x) * n * item if y < rows and x < columns else c[ZEROS]
            to = v + (k - tile) * c[N_PITCH] * item
            for i in range(0, n, width_of_register):
                if n - i >= width_of_register:
                    f.gradient(table, i * item, to + i * item, plane)
                else:
                    f.gradient_n(table, i * item, to + i * item, plane, n - i)

    return transform_gradient


@cache
def weight_transform(dtype, m):
    """The function that makes U."""
    f, v, item = transforms(dtype, m), simd(dtype), dtype.itemsize
    width_of_register = v.lanes
    taps_of = stack(9 * width_of_register * VECTOR_BYTES)  # [channel of src][tap][lane]

    @inline
    def transform_weights(c, panel, start, end, u):
        """u[product][channel of src][nr] = G g G^T for the channels of src from `start` to `end` and a panel of those of dst."""
        taps = taps_of()
        w_in, w_out, plane, nr = c[W_IN], c[W_OUT] * item, c[U_PLANE] * item, c[NR]
        w = c[W] + group_of(c, panel) * c[W_GROUP] * item
        for q in range(nr // width_of_register):
            first = place_of(c, panel) + q * width_of_register
            left = max(0, min(c[N] - first, width_of_register))
            for k in range(start, end, width_of_register):
                count = min(end - k, width_of_register)
                src = w + first * w_out + k * w_in * item
                # w_in = 9: a run of 9 * count values per lane; otherwise nine of each channel
                together = w_in == 9
                for channel in range(1 if together else count):
                    values = 9 * count if together else 9
                    at, to = src + channel * w_in * item, taps + channel * 9 * VECTOR_BYTES
                    for i in range(0, values, width_of_register):
                        if left == width_of_register and values - i >= width_of_register:
                            v.square(at + i * item, w_out, to + i * VECTOR_BYTES, VECTOR_BYTES)
                        else:  # rows of no lane are zeros
                            width = min(values - i, width_of_register)
                            for j in range(width if left < width_of_register else 0):
                                v.store(to + (i + j) * VECTOR_BYTES, v.zero())
                            v.square_n(at + i * item, w_out, to + i * VECTOR_BYTES, VECTOR_BYTES, left, width)
                for channel in range(count):
                    to = u + ((k - start + channel) * nr + q * width_of_register) * item
                    f.weights(taps + (9 * channel + c[FIRST_TAP]) * VECTOR_BYTES, c[TAP_STEP] * VECTOR_BYTES, to, plane)

    return transform_weights


@cache
def output_transform(dtype, m):
    """The function that makes dst."""
    f, v, item = transforms(dtype, m), simd(dtype), dtype.itemsize
    width_of_register = v.lanes
    table_of, spare_of, activate = stack(8 * m * m), stack(NV * VECTOR_BYTES), activating(dtype)
    real = dtype.type
    zero, none = real(0), real(-np.inf)

    @inline
    def transform_output(c, slope, tile, count, panel, sums):
        """dst = act(A^T m A + bias) for a panel of channels of `count` tiles from `tile` on."""
        table, spare = table_of(), spare_of()
        at = array_i64(table)
        rows, columns, n, act, nr, channel = c[ROWS], c[COLUMNS], c[DST_PIXEL], c[ACT], c[NR], channel_of(c, panel)
        plane = c[SUMS_PLANE] * item
        bias = c[BIAS] + channel * item if c[BIAS] != 0 else 0
        least = v.set(zero) if act == 1 else v.set(none)
        left = min(nr, c[N] - place_of(c, panel))
        for k in range(tile, tile + count):
            image, y0, x0 = place(c, m, k)
            for i in range(m):
                y = y0 + i * c[DY]
                for j in range(m):
                    x = x0 + j * c[DX]
                    inside = y < rows and x < columns
                    at[i * m + j] = c[DST] + (((image * rows + y) * columns + x) * n + channel) * item if inside else spare
            origin = sums + (k - tile) * nr * item
            for q in range(0, left, width_of_register):
                if left - q >= width_of_register:
                    b = v.load(bias + q * item) if bias != 0 else v.zero()
                    f.output(origin + q * item, plane, table, q * item, b, least)
                else:
                    b = v.load_n(bias + q * item, left - q) if bias != 0 else v.zero()
                    f.output_n(origin + q * item, plane, table, q * item, b, least, left - q)
            if act > 1:
                for i in range(m * m):
                    if at[i] != spare:
                        activate(act, slope, at[i], left)

    return transform_output


@cache
def filter_transform(dtype, m):
    """The function that makes dw."""
    f, v, item = transforms(dtype, m), simd(dtype), dtype.itemsize
    width_of_register = v.lanes
    taps_of = stack(9 * width_of_register * VECTOR_BYTES)  # [channel of src][tap][lane], of one register of channels

    @inline
    def transform_filter(c, channel, count, panel, u, before, last):
        """dw = G^T dU G for `count` channels of src and a panel of those of dst, plus the sums of earlier spans."""
        taps = taps_of()
        nr = c[NR]
        depth, w_out, plane = c[DEPTH], c[W_OUT] * item, c[HEIGHT_DU] * nr * item
        step = depth * nr * item
        for q in range(nr // width_of_register):
            first = place_of(c, panel) + q * width_of_register
            left = min(c[N] - first, width_of_register)
            for k in range(0, count if left > 0 else 0, width_of_register):
                block = min(count - k, width_of_register)
                for i in range(block):
                    at = u + ((k + i) * nr + q * width_of_register) * item
                    sums = c[EARLIER] + ((panel * 9 * depth + channel + k + i) * nr + q * width_of_register) * item
                    to, to_step = (taps + 9 * i * VECTOR_BYTES, VECTOR_BYTES) if last else (sums, step)
                    if before:
                        f.filter_plus(at, plane, sums, step, to, to_step)
                    else:
                        f.filter(at, plane, to, to_step)
                if last:  # a run of 9 * block values per lane
                    to = c[DW] + group_of(c, panel) * c[W_GROUP] * item + first * w_out + (channel + k) * 9 * item
                    for i in range(0, 9 * block, width_of_register):
                        if left == width_of_register and 9 * block - i >= width_of_register:
                            v.square(taps + i * VECTOR_BYTES, VECTOR_BYTES, to + i * item, w_out)
                        else:
                            v.square_n(
                                taps + i * VECTOR_BYTES, VECTOR_BYTES, to + i * item, w_out, min(9 * block - i, width_of_register), left
                            )

    return transform_filter


@cache
def multiplication(dtype, m):
    """The function that makes M."""
    item, products = dtype.itemsize, (m + 2) ** 2
    fetch = fetching(dtype, m)

    @inline
    def multiply(c, tile, panel, count, depth, v, u, sums, add):
        """sums[product] (+)= v[product] @ u[product] for `count` tiles and a panel of channels: register tiles of equal height, V read in place."""
        heights, zero, pitch, nr = array_i64(c[HEIGHTS]), c[ZERO], c[PITCH], c[NR]
        group, first_panel = group_of(c, panel), panel % set_panels(c) == 0
        v += group % c[WIDE] * c[DEPTH] * item
        tiles = -(-count // MR)
        height = -(-count // tiles)
        for product in range(products):
            start, end = product * count // products, (product + 1) * count // products
            fetch(c, tile + start, tile + end, channel_of(c, panel), True)
            if c[STATIONARY] == 0 and first_panel:
                fetch(c, tile + count + start, tile + count + end, group * c[DEPTH], False)
            for i in range(0, count, height):
                to = sums + (product * c[SUMS_PLANE] + i * nr) * item
                call(
                    heights[min(height, count - i)], 1, zero, zero, depth, v + (product * c[PLANE] + i * pitch) * item, pitch, 1,
                    u + product * c[U_PLANE] * item, nr, nr, to, nr, to if add else 0, nr,
                )  # fmt: skip

    return multiply


# Tasks


@cache
def weights_task(dtype, m):
    transform_weights, panel_bytes = weight_transform(dtype, m), (m + 2) ** 2 * dtype.itemsize

    @task
    def weights(ctx, task, slot):
        c = ints(ctx)
        transform_weights(c, task, 0, c[DEPTH], c[U] + task * c[U_PLANE] * panel_bytes)

    return weights


@cache
def tiles_task(dtype, m):
    """A block of tiles and a set of groups: V, then panel by panel M and dst."""
    products_bytes = (m + 2) ** 2 * dtype.itemsize
    transform_input, multiply, transform_output = input_transform(dtype, m), multiplication(dtype, m), output_transform(dtype, m)

    @task
    def tiles(ctx, task, slot):
        c, slope = ints(ctx), doubles(ctx)[SLOPE]
        blocks = -(-c[TILES] // c[BLOCK_OF_TILES])
        group_set, tile = task // blocks, task % blocks * c[BLOCK_OF_TILES]
        count = min(c[BLOCK_OF_TILES], c[TILES] - tile)
        v = c[LOCAL] + slot * c[LOCAL_BYTES]
        sums = v + c[PLANE] * products_bytes
        transform_input(c, group_set, tile, count, v)
        for panel in range(group_set * set_panels(c), (group_set + 1) * set_panels(c)):
            multiply(c, tile, panel, count, c[DEPTH], v, c[U] + panel * c[U_PLANE] * products_bytes, sums, False)
            transform_output(c, slope, tile, count, panel, sums)

    return tiles


@cache
def input_task(dtype, m):
    """V of a block of the span."""
    item, transform_input = dtype.itemsize, input_transform(dtype, m)

    @task
    def source(ctx, task, slot):
        c = ints(ctx)
        tile = task * c[BLOCK_OF_TILES]
        transform_input(c, 0, c[FIRST] + tile, min(c[BLOCK_OF_TILES], c[SPAN_OF_V] - tile), c[V] + tile * c[PITCH] * item)

    return source


@cache
def panel_task(dtype, m):
    """A panel of channels: U, then block by block M and dst."""
    item, products_bytes = dtype.itemsize, (m + 2) ** 2 * dtype.itemsize
    transform_weights, multiply, transform_output = weight_transform(dtype, m), multiplication(dtype, m), output_transform(dtype, m)

    @task
    def one(ctx, panel, slot):
        c, slope = ints(ctx), doubles(ctx)[SLOPE]
        depth, span = c[DEPTH], c[SPAN_OF_V]
        u = c[LOCAL] + slot * c[LOCAL_BYTES]
        sums = u + c[U_PLANE] * products_bytes
        for k in range(0, depth, c[SLICE_OF_U]):
            end = min(k + c[SLICE_OF_U], depth)
            transform_weights(c, panel, k, end, u)
            for tile in range(0, span, c[BLOCK_OF_TILES]):
                count = min(c[BLOCK_OF_TILES], span - tile)
                multiply(c, c[FIRST] + tile, panel, count, end - k, c[V] + (tile * c[PITCH] + k) * item, u, sums, k > 0)
                if end == depth:
                    transform_output(c, slope, c[FIRST] + tile, count, panel, sums)

    return one


@cache
def both_task(dtype, m):
    """V and dM of a block of the span."""
    item, transform_input, transform_gradient = dtype.itemsize, input_transform(dtype, m), gradient_transform(dtype, m)

    @task
    def both(ctx, task, slot):
        c = ints(ctx)
        tile = task * c[BLOCK_OF_TILES]
        count = min(c[BLOCK_OF_TILES], c[SPAN_OF_V] - tile)
        transform_input(c, 0, c[FIRST] + tile, count, c[V] + tile * c[PITCH] * item)
        transform_gradient(c, c[FIRST] + tile, count, c[DM] + tile * c[N_PITCH] * item)

    return both


@cache
def filter_task(dtype, m):
    """dU of some channels of src and a panel of those of dst, over the span."""
    item, products = dtype.itemsize, (m + 2) ** 2
    transform_filter = filter_transform(dtype, m)

    @task
    def filters(ctx, task, slot):
        c = ints(ctx)
        heights, zero, span, pitch, n_pitch, nr = array_i64(c[HEIGHTS]), c[ZERO], c[SPAN_OF_V], c[PITCH], c[N_PITCH], c[NR]
        panel, channel = task // c[BLOCKS_DU], task % c[BLOCKS_DU] * c[HEIGHT_DU]
        count = min(c[HEIGHT_DU], c[DEPTH] - channel)
        height = -(-count // -(-count // MR))
        u = c[LOCAL] + slot * c[LOCAL_BYTES]
        for product in range(products):
            v = c[V] + (product * c[PLANE] + group_of(c, panel) * c[DEPTH] + channel) * item
            dm = c[DM] + (product * c[N_PLANE] + channel_of(c, panel)) * item
            for i in range(0, count, height):
                to = u + (product * c[HEIGHT_DU] + i) * nr * item
                call(heights[min(height, count - i)], 1, zero, zero, span, v + i * item, 1, pitch, dm, n_pitch, nr, to, nr, 0, 0)
        transform_filter(c, channel, count, panel, u, c[FIRST] > 0, c[FIRST] + span == c[TILES])

    return filters


@cache
def bias_task(dtype):
    """db of a panel: image by image, so that sums stay short."""
    v, item = simd(dtype, NV), dtype.itemsize

    @task
    def bias(ctx, panel, slot):
        c = ints(ctx)
        channel = channel_of(c, panel)
        n, pixel, pixels = min(c[NR], c[N] - place_of(c, panel)), c[DST_PIXEL] * item, c[ROWS] * c[COLUMNS]
        at = c[DST] + channel * item
        total = v.zero()
        for _ in range(c[MB]):
            one = v.zero()
            for _ in range(pixels):
                one = one + v.load_n(at, n)
                at += pixel
            total = total + one
        if c[DB] != 0:
            v.store_n(c[DB] + channel * item, n, total)

    return bias


# Planning


def odd_lines(elements, item):
    """At least so many elements, in an odd number of cache lines: neighbours do not share the sets of L1."""
    return (ceil_div(elements * item, 64) | 1) * 64 // item


class Plan:
    """The cuts of a pass, its scratch, and its program."""

    def __init__(self, pass_, p, m):
        self.pass_, self.p, self.m, self.dtype, self.item = pass_, p, m, p.dtype, p.dtype.itemsize
        self.products = (m + 2) ** 2
        source, result = (p.ih, p.iw, p.ic), (p.oh, p.ow, p.oc)
        self.top, self.left, self.w_in, self.w_out, self.taps = p.ph, p.pw, 9, p.ic // p.groups * 9, (0, 1)
        if pass_ == "backward_input":
            source, result = result, source
            self.top, self.left, self.w_in, self.w_out, self.taps = 2 * p.dh - p.ph, 2 * p.dw - p.pw, p.ic // p.groups * 9, 9, (8, -1)
        (self.height, self.width, self.src_pixel), (self.rows, self.columns, self.dst_pixel) = source, result
        self.depth, self.n = self.src_pixel // p.groups, self.dst_pixel // p.groups
        self.down, self.across = ceil_div(self.rows, m * p.dh), ceil_div(self.columns, m * p.dw)
        self.tiles = p.mb * self.down * self.across * p.dh * p.dw
        self.nv = 1 if self.n <= lanes(p.dtype) else NV
        self.nr = self.nv * lanes(p.dtype)
        self.panels = ceil_div(self.n, self.nr)
        self.wide = p.groups
        if pass_ != "backward_weight":
            most = WIDE_BYTES // (max(self.depth, self.n) * self.item)
            self.wide = max(k for k in range(1, p.groups + 1) if p.groups % k == 0 and k <= max(most, 1))
        self.pitch = odd_lines(ceil_div(self.wide * self.depth * self.item, VECTOR_BYTES) * VECTOR_BYTES // self.item, self.item)
        self.stationary, self.slice, self.transformed = False, self.depth, 0
        self.sums_plane = self.u_plane = self.n_pitch = self.n_plane = self.height_du = self.blocks_du = 0
        shared = self._divide() if pass_ == "backward_weight" else self._blocks()
        self.scratch = shared, self.local_bytes
        self.fits = self.transformed <= MOST
        self.zeros = np.zeros(self.wide * max(self.depth, self.n), self.dtype)

    def _blocks(self):
        """Cut the work of forward and backward_input; the bytes of U, or of V, where U is large."""
        nr, item, products, groups = self.nr, self.item, self.products, self.p.groups
        weights = groups * self.panels * products * odd_lines(self.depth * nr, item) * item
        self.stationary = groups == 1 and (weights > STREAM or (self.panels > 1 and self.tiles < (8 if self.panels >= 4 else 4) * MR))
        if self.stationary:
            self.span = max(MR, min(self.tiles, min(SPAN, self.p.bytes) // (products * self.pitch * item)))
            self.span = ceil_div(self.tiles, ceil_div(self.tiles, self.span))
            self.block = ceil_div(self.span, ceil_div(self.span, SUMS // (products * nr * item)))
            self.plane = odd_lines(self.span * self.pitch, item)
            if self.block == self.span:  # one block: M stays where it is while U passes slice by slice
                self.slice = ceil_div(self.depth, ceil_div(self.depth, SLICE if self.p.bytes > 4 << 20 else SLICE // 2))
        else:
            most = BLOCK // (products * self.pitch * item)
            units = max(
                1, min(ceil_div(UNITS, groups // self.wide), self.tiles // (MR // 2))
            )  # U streams past every block: no fewer tiles than keep the FMA busy
            self.span = self.tiles
            self.block = max(1, min(most // MR * MR if most > MR else most, ceil_div(self.tiles, units)))
            self.plane = odd_lines(self.block * self.pitch, item)
            self.transformed = weights
        self.sums_plane, self.u_plane = odd_lines(self.block * nr, item), odd_lines(self.slice * nr, item)
        self.local_bytes = aligned(products * (self.sums_plane + (self.u_plane if self.stationary else self.plane)) * item)
        return aligned(products * self.plane * item if self.stationary else weights)

    def _divide(self):
        """Cut the work of backward_weight; the bytes of V and dM and of the sums of earlier spans."""
        nr, item, products, groups = self.nr, self.item, self.products, self.p.groups
        self.n_pitch = odd_lines((groups - 1) * self.n + self.panels * nr, item)
        self.span = max(MR, min(self.tiles, min(SPAN_DU, self.p.bytes) // (products * (self.pitch + self.n_pitch) * item)))
        self.span = ceil_div(self.tiles, max(ceil_div(self.tiles, self.span), 1))
        self.block = max(ceil_div(self.span, UNITS), 1)
        self.plane, self.n_plane = odd_lines(self.span * self.pitch, item), odd_lines(self.span * self.n_pitch, item)
        self.blocks_du = ceil_div(self.depth, min(ROWS_DU, max(2 * MR, self.depth * self.panels * groups // UNITS)))
        self.height_du = ceil_div(self.depth, self.blocks_du)
        self.local_bytes = aligned(products * self.height_du * nr * item)
        self.transformed = aligned(groups * self.panels * 9 * self.depth * nr * item) if self.span < self.tiles else 0
        return self.transformed + aligned(products * (self.plane + self.n_plane) * item)

    def _spans(self):
        """(first tile, number of tiles) of each."""
        return [(start, min(self.span, self.tiles - start)) for start in range(0, self.tiles, max(self.span, 1))]

    def _heights(self):
        """The table of register tiles, by height: those that the cuts need."""
        if self.pass_ == "backward_weight":
            counts = {self.height_du, self.depth - (self.blocks_du - 1) * self.height_du}
        else:
            counts = {count for _, span in self._spans() for count in (min(self.block, span), span % self.block) if count}
        table = np.zeros(MR + 1, np.int64)
        for count in counts:
            height = ceil_div(count, ceil_div(count, MR))
            for rows in {min(height, count), count % height or height}:
                table[rows] = tile_function(self.dtype, rows, self.nv).address
        return table

    def _words(self, arguments):
        heights = self._heights()
        words = [0] * (ZERO + 1)
        for place, word in {
            MB: self.p.mb, HEIGHT: self.height, WIDTH: self.width, DEPTH: self.depth, ROWS: self.rows, COLUMNS: self.columns, N: self.n,
            TOP: self.top, LEFT: self.left, DY: self.p.dh, DX: self.p.dw, DOWN: self.down, ACROSS: self.across, TILES: self.tiles, W_IN: self.w_in, W_OUT: self.w_out,
            FIRST_TAP: self.taps[0], TAP_STEP: self.taps[1], W_GROUP: 9 * self.depth * self.n, WIDE: self.wide, SRC_PIXEL: self.src_pixel,
            DST_PIXEL: self.dst_pixel, NR: self.nr, PANELS: self.panels, STATIONARY: int(self.stationary), SLICE_OF_U: self.slice,
            BLOCK_OF_TILES: self.block, PITCH: self.pitch, PLANE: self.plane, SUMS_PLANE: self.sums_plane, U_PLANE: self.u_plane,
            N_PITCH: self.n_pitch, N_PLANE: self.n_plane, HEIGHT_DU: self.height_du, BLOCKS_DU: self.blocks_du,
            ACT: self.p.act if self.pass_ == "forward" else 0, SLOPE: self.p.slope, LOCAL_BYTES: self.local_bytes,
            ZEROS: self.zeros, HEIGHTS: heights, ZERO: _ZERO, LOCAL: Argument(4, self.scratch[0]), **arguments,
        }.items():  # fmt: skip
            words[place] = word
        return words

    @cached_property
    def program(self):
        kind, local = (self.dtype, self.m), self.local_bytes
        groups = self.p.groups
        panels = groups * self.panels
        time = 2.0 * self.products * self.tiles * groups * self.depth * self.n / RATE[self.item]
        share = 1 / max(self.tiles, 1)
        spans = [({FIRST: start, SPAN_OF_V: span}, span, ceil_div(span, self.block)) for start, span in self._spans()]
        stages = []
        if self.pass_ == "backward_weight":
            v = self.transformed
            dm = v + self.products * self.plane * self.item
            words = {
                SRC: Argument(0), DST: Argument(1), DW: Argument(2), DB: Argument(3), EARLIER: Argument(4), V: Argument(4, v), DM: Argument(4, dm),
            }  # fmt: skip
            if self.p.bias:
                stages.append(Stage(bias_task(self.dtype), panels, 0.2 * self.p.mb * self.rows * self.columns * self.dst_pixel))
            for settings, span, blocks in spans:
                stages.append(Stage(both_task(*kind), blocks, 2.0 * span * (self.src_pixel + self.dst_pixel), 0, settings))
                stages.append(Stage(filter_task(*kind), panels * self.blocks_du, time * span * share, local))
        else:
            words = {SRC: Argument(0), W: Argument(1), BIAS: Argument(2), DST: Argument(3), U: Argument(4), V: Argument(4)}
            if self.stationary:
                for settings, span, blocks in spans:
                    stages.append(Stage(input_task(*kind), blocks, 2.0 * span * self.depth, 0, settings))
                    stages.append(Stage(panel_task(*kind), self.panels, time * span * share, local))
            else:
                stages.append(Stage(weights_task(*kind), panels, 2.0 * groups * self.n * self.depth))
                stages.append(Stage(tiles_task(*kind), groups // self.wide * ceil_div(self.tiles, self.block), time, local))
        return program(self._words(words), *stages, shared=self.scratch[0])


@lru_cache(4096)
def plan_of(pass_, p, m):
    return Plan(pass_, p, m)


def passes(m):
    """scratch, accepts, transformed and the passes of the implementation with tiles of m x m pixels."""

    def scratch(pass_, p):
        """U and V, shared, or sums of weight gradients, V and dM; V or a panel of U, and M, per thread, or dU."""
        return plan_of(pass_, p, m).scratch

    def accepts(pass_, p):
        return plan_of(pass_, p, m).fits

    def transformed(pass_, p):
        """How many of the shared bytes are transformed weights, or sums of weight gradients."""
        return plan_of(pass_, p, m).transformed

    def forward(p, x, w, b, out, scratch):
        if out.size:
            plan_of("forward", p, m).program(x, w, b, out, scratch)

    def backward_input(p, g, w, dx, scratch):
        if dx.size:
            plan_of("backward_input", p, m).program(g, w, None, dx, scratch)

    def backward_weight(p, x, g, dw, db, scratch):
        if g.size == 0:
            dw.fill(0)
        plan_of("backward_weight", p, m).program(x, g, dw, db, scratch)

    return scratch, accepts, transformed, forward, backward_input, backward_weight
