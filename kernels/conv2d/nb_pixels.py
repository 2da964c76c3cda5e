"""Convolution with few pixels and many weights: the lanes are output pixels, and every weight is broadcast from where it lies; the Numba twin of cy_pixels.

    out[pixel, o] = sum over l of  w[o, l] * A[l, pixel]        l = (channel, tap), as in w       A[(c, t), pixel] = x[n, y*sh + ty[t], x*sw + tx[t], c]

Shapes   images (mb, c, h, w) in channels-last memory, weights (oc, ic / groups, kh, kw)
Packed   A, once per call, for all pixels: A[set][l][register], sets of up to three registers of pixels. w is not touched before it is multiplied.
         Where the last register would be less than half full, its pixels are left out (`alone`): they are rows of A instead, over l.
Tile     HALF output channels x a set of registers, the sums of which are transposed on their way to out; a set of one register takes the whole strip.
         Pixels alone: one or two x HALF output channels, four x half as many; their lanes are l, added up before they are stored.

Loops    tasks: registers of pixels, while A is packed; then blocks of pixels, whose A stays in L2, x strips of 2 * HALF output channels
         halves of the strip             their weights come from memory once, HALF streams side by side, and stay in L2 for the other sets
         sets, then pixels alone; l
Edges    the last strip ends with the channels: it computes some of those of the strip before again, and does not store them.
Cost     2 * mb * oc * oh * ow * ic / groups * kh * kw flops; a copy of A, and the transpose of out.
Gains    over kernels that transpose the weights into panels first: that is 32 pixels' worth of work and more, if each weight meets few of them.
Loses    where pixels are many: A grows with them, and what packing of the weights costs is shared by all.
"""

from functools import cache, lru_cache

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, array_i64, doubles, floats_of, inline, ints, program, runs, stack, task
from lamella.kernels._common.nb_simd import VECTOR_BYTES, add_lanes, first, fma, load, opaque, prefetch_write, simd, store
from lamella.kernels._common.nb_tile import MR, call, tile_function

# isort: off
from lamella.kernels.conv2d._nb_gather import (
    ACT, BIAS, BLOCKS, BUFFER, BUFFER_BYTES, CHANNELS, DEPTH, DST, DST_COLUMN, GROUPS, HEIGHT, K, N, OWN, RATE, SLOPE, SRC, TAPS, TILES, TX, TY, W,
    W_GROUP, WIDTH, ZERO, activating, aligned, ceil_div, copying, forward_gather, no_program,
)  # fmt: skip

# isort: on
from lamella.kernels.conv2d.nb_grouped import counted
from lamella.kernels.conv2d.nb_lanes import call as call_dots
from lamella.kernels.conv2d.nb_lanes import function
from llvmlite import ir

SET = 3  # registers of pixels in a tile at most
BLOCK = 512 * 1024  # bytes of A for which the weights pass by: with half a strip of them, inside L2
HALF = MR // 2 + 1  # output channels in a tile: HALF * SET accumulators
STRIP = 2 * HALF  # output channels of a task

# the table of tiles: those of a set at its width, of a strip and a set of one register at WHOLE, of pixels alone at DOTS + their number.
WHOLE, DOTS = 0, 3

# words of the context, as in Pixels (cy_pixels.pyx); LINES: pixels alone, PLACES: where every pixel reads, FIRSTS and WIDTHS: the set of every register
PIXELS, REGISTERS, ALONE, PITCH, STRIPS, BLOCK_REGISTERS, MOST, A, LINES, PLACES, FIRSTS, WIDTHS = range(OWN, OWN + 12)

_I64 = ir.IntType(64)


def set_width(left):
    """Registers in the next set, if so many are left: four are twice two."""
    return SET if left >= SET and left != 4 else min(left, 2)


@inline
def alone_together(left):
    """Pixels of the next tile of those alone, if so many are left."""
    return 4 if left >= 4 else 2 if left >= 2 else 1


def _emit_dots(b, dtype, mr, nv, arguments):
    depth, w, a, pitch, c, ldc, *_ = arguments
    i64 = lambda value: ir.Constant(_I64, value)  # noqa: E731
    item = dtype.itemsize
    lanes = VECTOR_BYTES // item
    vector = ir.VectorType(ir.FloatType() if item == 4 else ir.DoubleType(), lanes)
    zero = ir.Constant(vector, [0.0] * lanes)
    bytes_of = lambda elements: b.mul(elements, i64(item))  # noqa: E731
    rows, pixels = [bytes_of(b.mul(depth, i64(i))) for i in range(3)], [bytes_of(b.mul(pitch, i64(j))) for j in range(nv)]
    starts = [b.add(w, b.mul(rows[1], i64(i))) for i in range(0, mr, 3)]  # of channels 0, 3, 6

    def products(a, bases, sums, mask=None):
        xs = [load(b, b.add(a, pixel), vector) for pixel in pixels]
        out = []
        for i in range(mr):
            s = load(b, b.add(bases[i // 3], rows[i % 3]), vector, mask)
            out += [fma(b, s, x, sums[i * nv + j]) for j, x in enumerate(xs)]
        return out

    def body(a, *values):
        bases = [opaque(b, base) for base in values[: len(starts)]]
        next_ = [b.add(at, i64(VECTOR_BYTES)) for at in (a, *bases)]
        return *next_, *products(a, bases, values[len(starts) :])

    a, *values = counted(b, b.sdiv(depth, i64(lanes)), [a, *starts, *[zero] * (mr * nv)], body)
    left = b.srem(depth, i64(lanes))
    rest = lambda *sums: products(a, values[: len(starts)], sums, first(b, left, lanes))  # noqa: E731
    sums = counted(b, b.zext(b.icmp_signed("!=", left, i64(0)), _I64), values[len(starts) :], rest)
    flat = [sums[i * nv + j] for j in range(nv) for i in range(mr)]
    piece = min(mr, lanes)
    for start in range(0, len(flat), lanes):
        some = flat[start : start + lanes]
        total = add_lanes(b, some + [zero] * (lanes - len(some)))
        for i in range(start, start + len(some), piece):
            to = b.add(c, bytes_of(b.add(b.mul(ldc, i64(i // mr)), i64(i % mr))))
            order = ir.Constant(ir.VectorType(ir.IntType(32), piece), list(range(i - start, i - start + piece)))
            store(b, b.shuffle_vector(total, total, order), to)


@cache
def dots(dtype, mr, nv):
    """f(depth, w, a, pitch, c, ldc, 0, ..): c[j][i] of channel i < mr and pixel j < nv, sums over l. Rows of a go on with zeros, to a whole register."""
    return function(_emit_dots, dtype, mr, nv)


@inline
def source(c, pixel, tap, group, item):
    """The address of the channels that a pixel reads through a tap, or 0 outside."""
    count = c[PIXELS]
    places = array_i64(c[PLACES])
    y, x = places[count + pixel] + array_i64(c[TY])[tap], places[2 * count + pixel] + array_i64(c[TX])[tap]
    if y < 0 or y >= c[HEIGHT] or x < 0 or x >= c[WIDTH]:
        return 0
    return c[SRC] + (((places[pixel] + y) * c[WIDTH] + x) * c[CHANNELS] + group * c[DEPTH]) * item


@cache
def pack_task(dtype):
    """A register of pixels, for all l, or the row of a pixel alone."""
    v, item = simd(dtype), dtype.itemsize
    lanes, copy = v.lanes, copying(dtype)
    corner_of, sources_of = stack(v.lanes * VECTOR_BYTES), stack(v.lanes * 8)

    @inline
    def pack_register(c, group, number):
        taps, depth = c[TAPS], c[DEPTH]
        begin, width = array_i64(c[FIRSTS])[number], array_i64(c[WIDTHS])[number] * VECTOR_BYTES
        a = c[A] + (group * c[REGISTERS] + begin) * c[K] * VECTOR_BYTES + (number - begin) * VECTOR_BYTES
        count = min(c[PIXELS] - number * lanes, lanes)
        corner, src = corner_of(), array_i64(sources_of())  # [pixel][channel]
        for i in range(count, lanes):
            v.store(corner + i * VECTOR_BYTES, v.zero())
        for tap in range(taps):
            for i in range(count):
                src[i] = source(c, number * lanes + i, tap, group, item)
            for channel in range(0, depth, lanes):
                n = min(depth - channel, lanes)
                to = a + (channel * taps + tap) * width
                for i in range(count):
                    at = corner + i * VECTOR_BYTES
                    if src[i] == 0:
                        v.store(at, v.zero())
                    elif n == lanes:
                        v.store(at, v.load(src[i] + channel * item))
                    else:
                        v.store(at, v.load_n(src[i] + channel * item, n))
                if n == lanes:
                    v.square(corner, VECTOR_BYTES, to, taps * width)
                else:
                    v.square_n(corner, VECTOR_BYTES, to, taps * width, lanes, n)

    @inline
    def pack_alone(c, group, number):
        """Its taps side by side, transposed; zero at the end."""
        taps, depth, k = c[TAPS], c[DEPTH], c[K]
        pixel = c[PIXELS] - c[ALONE] + number
        row = c[LINES] + (group * c[ALONE] + number) * c[PITCH] * item
        copy(row + k * item, c[PITCH] - k, 0, 0, 0)
        if taps == 1:
            src = source(c, pixel, 0, group, item)
            inside = k if src != 0 else 0
            copy(row, 0, src, inside, k - inside)
            return
        corner = corner_of()  # [tap][channel]
        for begin in range(0, taps, lanes):
            count = min(taps - begin, lanes)
            for channel in range(0, depth, lanes):
                n = min(depth - channel, lanes)
                for tap in range(count):
                    src = source(c, pixel, begin + tap, group, item)
                    if src == 0:
                        v.store(corner + tap * VECTOR_BYTES, v.zero())
                    else:
                        v.store(corner + tap * VECTOR_BYTES, v.load_n(src + channel * item, n))
                v.square_n(corner, VECTOR_BYTES, row + (channel * taps + begin) * item, taps * item, count, n)

    @task
    def pack(ctx, task, slot):
        c = ints(ctx)
        each = c[REGISTERS] + c[ALONE]
        group, number = task // each, task % each
        if number < c[REGISTERS]:
            pack_register(c, group, number)
        else:
            pack_alone(c, group, number - c[REGISTERS])

    return pack


@cache
def finishing(dtype):
    """The functions that bring the sums of a set, transposed, or those of a pixel alone to out; the first `skip` channels of the strip are left out."""
    v, item, array, activate = simd(dtype), dtype.itemsize, floats_of(dtype), activating(dtype)
    lanes = v.lanes

    @inline
    def finish_set(c, slope, width, sums, skip, bias, pixels, to):
        ld, by_column = width * VECTOR_BYTES, c[DST_COLUMN] * item
        sums += skip * ld
        if bias != 0:  # a channel is a row here
            for channel in range(STRIP - skip):
                s = v.set(array(bias)[channel])
                for at in range(sums + channel * ld, sums + (channel + 1) * ld, VECTOR_BYTES):
                    v.store(at, v.load(at) + s)
        if c[ACT] != 0:
            activate(c[ACT], slope, sums, (STRIP - skip) * width * lanes)
        for channel in range(0, STRIP - skip, lanes):
            n = min(STRIP - skip - channel, lanes)
            for j in range(width):
                m = min(pixels - j * lanes, lanes)
                at, there = sums + channel * ld + j * VECTOR_BYTES, to + j * lanes * by_column + channel * item
                if n == lanes and m == lanes:
                    v.square(at, ld, there, by_column)
                else:
                    v.square_n(at, ld, there, by_column, n, m)

    @inline
    def finish_alone(c, slope, sums, skip, bias, to):
        for channel in range(0, STRIP - skip, lanes):
            n = min(STRIP - skip - channel, lanes)
            s = v.load_n(sums + (skip + channel) * item, n)
            if bias != 0:
                s = s + v.load_n(bias + channel * item, n)
            v.store_n(to + channel * item, n, s)
        if c[ACT] != 0:
            activate(c[ACT], slope, to, STRIP - skip)

    return finish_set, finish_alone


@cache
def strip_task(dtype):
    """A strip of output channels, for a block of pixels."""
    item, lanes = dtype.itemsize, VECTOR_BYTES // dtype.itemsize
    finish_set, finish_alone = finishing(dtype)

    @task
    def strip(ctx, task, slot):
        c, slope = ints(ctx), doubles(ctx)[SLOPE]
        k, zeros, pitch = c[K], c[ZERO], c[PITCH]
        tiles, widths = array_i64(c[TILES]), array_i64(c[WIDTHS])
        group, block = task // c[STRIPS] % c[GROUPS], task // (c[STRIPS] * c[GROUPS])
        begin = min(task % c[STRIPS] * STRIP, c[N] - STRIP)  # of the group's channels
        skip = task % c[STRIPS] * STRIP - begin
        channel = group * c[N] + begin + skip
        w = c[W] + (group * c[W_GROUP] + begin * k) * item
        a = c[A] + group * c[REGISTERS] * k * VECTOR_BYTES
        lines = c[LINES] + group * c[ALONE] * pitch * item
        sums = c[BUFFER] + slot * c[BUFFER_BYTES]
        rest = sums + c[MOST] * STRIP * VECTOR_BYTES  # of pixels alone: [pixel][channel]
        bias = 0 if c[BIAS] == 0 else c[BIAS] + channel * item
        out, by_column = c[DST] + channel * item, c[DST_COLUMN] * item
        last = block + 1 == c[BLOCKS]
        start = block * c[BLOCK_REGISTERS]
        end = c[REGISTERS] if last else start + c[BLOCK_REGISTERS]
        alone = c[ALONE] if last else 0
        for half in range(2):
            weights = w + half * HALF * k * item
            at = start
            while at < end:
                width = widths[at]
                pixels = min(width * lanes, c[PIXELS] - at * lanes)
                own = sums + (at - start) * STRIP * VECTOR_BYTES
                to = out + at * lanes * by_column
                if half == 1:  # time enough for what will be written to come from afar
                    for i in range(pixels):
                        prefetch_write(to + i * by_column)
                whole = width == 1 and tiles[WHOLE] != 0
                if half == 0 or not whole:
                    call(
                        tiles[WHOLE] if whole else tiles[width], 1, zeros, zeros, k, weights, k, 1, a + at * k * VECTOR_BYTES, width * lanes, 0,
                        own + half * HALF * width * VECTOR_BYTES, width * lanes, 0, 0,
                    )  # fmt: skip
                if half == 1:  # stores wait for lines of L1 while the next set is multiplied
                    finish_set(c, slope, width, own, skip, bias, pixels, to)
                at += width
            at = 0
            while at < alone:
                width = alone_together(alone - at)
                rows = HALF // 2 if width == 4 else HALF
                for row in range(0, HALF, rows):
                    call_dots(
                        tiles[DOTS + width], k, weights + row * k * item, lines + at * pitch * item, pitch,
                        rest + (at * STRIP + half * HALF + row) * item, STRIP, 0, 0, 0, 0, 0, 0, 0,
                    )  # fmt: skip
                at += width
        for pixel in range(alone):
            to = out + (c[PIXELS] - alone + pixel) * by_column
            finish_alone(c, slope, rest + pixel * STRIP * item, skip, bias, to)

    return strip


class Plan:
    """Which pixels are lanes, and which are alone."""

    def __init__(self, p):
        v = self.v = forward_gather(p, p.act)
        lanes = VECTOR_BYTES // v.item
        self.pixels = v.mb * v.rows * v.columns
        alone = self.pixels % lanes
        self.alone = alone = alone if 2 * alone < lanes else 0
        self.registers = ceil_div(self.pixels - alone, lanes)
        self.pitch = (ceil_div((v.k + lanes) * v.item, 64) | 1) * 64 // v.item  # an odd number of cache lines: rows do not share L1's sets
        self.strips = ceil_div(v.n, STRIP)
        self.block = max(1, BLOCK // (SET * v.k * VECTOR_BYTES)) * SET
        v.blocks = max(1, self.registers // self.block)
        self.most = max(1, min(self.registers, 2 * self.block))  # registers of a task; the last block takes what is left over
        self.work_bytes = aligned(self.most * STRIP * VECTOR_BYTES + alone * STRIP * v.item)
        self.registers_bytes = v.groups * self.registers * v.k * VECTOR_BYTES
        self.packed_bytes = aligned(self.registers_bytes + v.groups * alone * self.pitch * v.item)

    def sets(self):
        """Of every register, where its set begins and how wide it is."""
        begin, out = 0, []
        while begin < self.registers:
            width = set_width(self.registers - begin)
            out += [(begin, width)] * width
            begin += width
        return np.array(out, np.int64).reshape(-1, 2).T.copy()

    def places(self):
        """Of every pixel, the row of all images where its own begins, and where it reads it."""
        v, pixel = self.v, np.arange(self.pixels)
        return np.stack([pixel // (v.rows * v.columns) * v.height, pixel // v.columns % v.rows * v.sy, pixel % v.columns * v.sx])

    def tiles(self, widths):
        """The tiles of these sets and of pixels alone."""
        v, table = self.v, np.zeros(DOTS + 5, np.int64)
        crowded = v.k * v.item % 4096 == 0  # weights of neighbouring channels meet in one set of L1
        for width in set(widths.tolist()):
            if width == 1 and not crowded:
                table[WHOLE] = tile_function(v.dtype, STRIP, 1).address
            else:
                table[width] = tile_function(v.dtype, HALF, width).address
        for width, wanted in ((4, self.alone >= 4), (2, self.alone & 2), (1, self.alone & 1)):
            if wanted:
                table[DOTS + width] = dots(v.dtype, HALF // 2 if width == 4 else HALF, width).address
        return table

    def program(self):
        v, (firsts, widths), places = self.v, self.sets(), self.places()
        v.tiles = self.tiles(widths)
        v.kept += [firsts, widths, places, v.tiles]
        own = self.pixels, self.registers, self.alone, self.pitch, self.strips, self.block, self.most, 0, 0, places, firsts, widths
        words = v.template(self.work_bytes, *own).tolist()
        words[SRC], words[W], words[BIAS], words[DST], words[A] = map(Argument, range(5))
        words[LINES], words[BUFFER] = Argument(4, self.registers_bytes), Argument(4, self.packed_bytes)
        return program(
            words,
            Stage(pack_task(v.dtype), v.groups * (self.registers + self.alone), 0.1 * self.pixels * v.groups * v.k),
            Stage(strip_task(v.dtype), v.groups * self.strips * v.blocks, v.flops / RATE[v.item], self.work_bytes),
            shared=self.packed_bytes,
            keep=v,
        )


@lru_cache(4096)
def planned(p):
    """(bytes shared, bytes per thread, program)"""
    if p.mb * p.oh * p.ow == 0:
        return 0, 0, no_program("forward")
    plan = Plan(p)
    return plan.packed_bytes, plan.work_bytes, plan.program()


def scratch(pass_, p):
    """A, shared; the sums of a strip per thread."""
    return planned(p)[:2]


@runs(lambda p: planned(p)[2])
def forward(p, x, w, b, out, scratch): ...
