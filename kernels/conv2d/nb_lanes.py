"""Convolution of few channels: the lanes of a register are images or pixels, so that 1 or 6 channels fill it like 16; the Numba twin of cy_lanes.

    dst[n, r, q, o] = act(b[o] + sum over taps t and channels c of  src[n, r*sy + ty[t], q*sx + tx[t], c] * w[o, c, t])         (gather.pxd)

    dw[o, c, t] = sum over n, r, q of  x[n, r*sy + ty[t], q*sx + tx[t], c] * g[n, r, q, o]

Shapes   images (mb, c, h, w) in channels-last memory, weights (oc, ic, kh, kw), one group
Lanes    images: as many images as a register has lanes, a band of them transposed into vec[row][column][channel], padded with zeros
         pixels: neighbours of a row of one of the images left, a band of it split into padded planes[channel][row][column] (one set per residue
         of the stride); the pixels computed past the end of a row are dropped
         Both are the same tile: only the tables of offsets differ. k = (t, c) is at ao[k] from a position, position p at po[p].
Packed   wp[tile of channels][1 + k][height]: the bias, then the weights of each k side by side
Tile     `height` output channels (broadcast weights) x `positions` registers, summed over k (cy_lanes shows the picture)
         backward_weight: height channels of g x as many k, lane by lane, summed over positions; the lanes are added at the very end
Loops    tasks: registers of images (or single images) x bands of rows, the band stays in L2; chunks of positions, whose results are still in L1
         when they are turned into channels-last pixels; tiles of channels, tiles of positions, k
         backward_weight: tasks are chunks of bands with a private dw each, register by register, added in order afterwards; tiles of channels,
         chunks of positions whose g stays in L1, tiles of k, positions
Edges    the last tile of channels (and of k) begins early and computes some twice; positions are filled up with copies of the last one.
         backward_weight masks what lies beyond a row.
Cost     2 * mb * oc * oh * ow * ic * kh * kw flops at full width, and a transpose of source and result
Gains    over nb_direct for channels that fill its lanes badly
"""

from functools import cache, lru_cache

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, array_i64, compiled, doubles, floats_of, inline, ints, program, task
from lamella.kernels._common.nb_simd import VECTOR_BYTES, first, fma, load, opaque, simd, splat, store
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

# isort: off
from lamella.kernels.conv2d._nb_gather import (
    ACT, BIAS, BUFFER, BUFFER_BYTES, CHANNELS, COLUMNS, DB, DST, DST_COLUMN, DST_FIRST, DST_IMAGE, DST_ROW, DW, HEIGHT, K, N, OWN, PARTS,
    PRIVATES, RATE, ROWS, SLOPE, SRC, SX, SY, TAPS, TILES, TW, W, WIDTH, WP, W_IN, W_OUT,
    activating, address, aligned, backward_gathers, ceil_div, forward_gather,
)  # fmt: skip
# isort: on

BAND = 256 * 1024  # bytes of a band, source and g
RESULTS = 24 * 1024  # bytes of results (or of g) that stay in L1
COPY = 64 * 1024  # bytes of a private copy of dw, from which on there are fewer
UNITS = 8  # tasks wanted at least, and private copies of dw at most
GRAIN = 5000  # ns that are worth a task
SUMS = 64  # of a task that adds up private copies

# words of the context, beside those of the Gather; those from FIRST_IMAGE on differ with what fills the lanes
(
    TALL, ACROSS, ACROSS_PARTS, AO, PO, GO, K_FIRST, K_BEHIND, X_LOW, Y_LOW, Y_HIGH, WIDE, FIRST_IMAGE, UNITS_OF, BAND_ROWS, BANDS, CHUNK, RESULT,
    PITCH, PLANE, BY_CHANNEL, FULL, TAIL, TAIL_TILE, FIRST_COPY,
) = range(OWN, OWN + 25)  # fmt: skip
WORDS = OWN + 25
# those that every gather and filling sets
DIFFER = (ROWS, COLUMNS, DST_FIRST, TAPS, TW, K, TILES, PARTS, *range(OWN, WORDS))

_I64 = ir.IntType(64)
_ARGUMENTS = 13


def positions_of(height):
    """Registers of a tile's row: the accumulators, one row and a weight fit the processor's registers."""
    if VECTOR_BYTES == 64:
        return (8, 8, 7, 6, 5, 4, 3, 3)[height - 1]
    return (8, 5, 3, 3, 2, 2)[height - 1]


def height_of(n, k, weight):
    """The height whose tiles cost the least: in half cycles, an FMA one, a load a quarter beside them, a step at least a chain of four cycles."""

    def cycles(height):
        across = positions_of(height)
        step = ceil_div(n, height) * max(height * across + 0.25 * (height + across), 8)
        return step * ceil_div(k, across) if weight else step / across

    return min(range(1, min(8 if VECTOR_BYTES == 64 else 6, n) + 1), key=cycles)


def _emit(b, dtype, height, arguments):
    k, ao, x, po, bias, wp, c, by_channel, go, *_ = arguments
    across, item = positions_of(height), dtype.itemsize
    element = ir.FloatType() if item == 4 else ir.DoubleType()
    lanes = VECTOR_BYTES // item
    vector = ir.VectorType(element, lanes)
    i64 = lambda value: ir.Constant(_I64, value)  # noqa: E731

    def word(at, index):
        return b.load(b.inttoptr(b.add(at, i64(8 * index)), _I64.as_pointer()))

    def number(at, index):
        return splat(b, b.load(b.inttoptr(b.add(at, i64(item * index)), element.as_pointer())), lanes)

    pixels = [b.add(x, word(po, j)) for j in range(across)]
    starts = [number(bias, i) for i in range(height) for _ in range(across)]
    entry = b.block
    head, body, done = (b.append_basic_block(name) for name in ("head", "body", "done"))
    b.branch(head)
    b.position_at_end(head)
    q, at, weights = b.phi(_I64), b.phi(_I64), b.phi(_I64)
    sums = [b.phi(vector) for _ in starts]
    for phi, start in zip([q, at, weights, *sums], [i64(0), ao, wp, *starts]):
        phi.add_incoming(start, entry)
    b.cbranch(b.icmp_signed("<", q, k), body, done)
    b.position_at_end(body)
    offset = word(at, 0)
    row = [load(b, b.add(pixel, offset), vector) for pixel in pixels]
    summed = []
    for i in range(height):
        w = number(weights, i)
        summed += [fma(b, w, row[j], sums[i * across + j]) for j in range(across)]
    step = [b.add(q, i64(1)), b.add(at, i64(8)), b.add(weights, i64(height * item)), *summed]
    for phi, value in zip([q, at, weights, *sums], step):
        phi.add_incoming(value, body)
    b.branch(head)
    b.position_at_end(done)
    for j in range(across):
        to = b.add(c, word(go, j))
        for i in range(height):
            store(b, sums[i * across + j], b.add(to, b.mul(by_channel, i64(i))))


def _emit_weight(b, dtype, height, whole, arguments):
    count, x, ao, g, by_channel, po, go, sums, channels, skip, k_skip, k_behind, n = arguments
    across = positions_of(height)
    element = ir.FloatType() if dtype.itemsize == 4 else ir.DoubleType()
    vector = ir.VectorType(element, VECTOR_BYTES // dtype.itemsize)
    zero = ir.Constant(vector, [0.0] * vector.count)
    i64 = lambda value: ir.Constant(_I64, value)  # noqa: E731
    mask = None if whole else first(b, n, vector.count)

    def word(at, index):
        return b.load(b.inttoptr(b.add(at, b.mul(index, i64(8))), _I64.as_pointer()))

    last = b.sub(k_behind, i64(1))
    rows = [b.select(b.icmp_signed("<", i64(j), k_behind), i64(j), last) for j in range(across)]
    offsets = [word(ao, row) for row in rows]

    entry = b.block
    head, body, done = (b.append_basic_block(name) for name in ("head", "body", "done"))
    b.branch(head)
    b.position_at_end(head)
    p, *inner = b.phi(_I64), *(b.phi(vector) for _ in range(height * across))
    for phi, start in zip([p, *inner], [i64(0), *[zero] * (height * across)]):
        phi.add_incoming(start, entry)
    b.cbranch(b.icmp_signed("<", p, count), body, done)
    b.position_at_end(body)
    p_now = opaque(b, p)  # LLVM would unroll the loop, for which there are not registers enough
    xp, gp = b.add(x, word(po, p_now)), b.add(g, word(go, p_now))
    values = [load(b, b.add(xp, offset), vector, mask) for offset in offsets]
    summed = []
    for i in range(height):
        gs = load(b, b.add(gp, b.mul(by_channel, i64(i))), vector, mask)
        summed += [fma(b, values[j], gs, inner[i * across + j]) for j in range(across)]
    for phi, value in zip([p, *inner], [b.add(p_now, i64(1)), *summed]):
        phi.add_incoming(value, body)
    b.branch(head)
    b.position_at_end(done)
    for j in range(across):
        wanted = b.and_(b.icmp_signed("<=", k_skip, i64(j)), b.icmp_signed(">", k_behind, i64(j)))
        row = b.add(sums, b.mul(b.mul(rows[j], channels), i64(VECTOR_BYTES)))
        for i in range(height):
            added = b.select(b.and_(wanted, b.icmp_signed("<=", skip, i64(i))), inner[i * across + j], zero)
            at = b.add(row, i64(i * VECTOR_BYTES))
            store(b, b.fadd(load(b, at, vector), added), at)


def function(emit, *how):
    """A function of thirteen integers, with its `.address`."""

    @intrinsic
    def f(typingctx, a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12):
        def codegen(context, builder, signature, arguments):
            emit(builder, *how, arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * _ARGUMENTS), codegen

    def run(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12):
        f(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12)

    return compiled(run, types.void(*[types.int64] * _ARGUMENTS))


@cache
def tile(dtype, height):
    """f(k, ao, x, po, bias, wp, c, by_channel, go, ...): sum over k of w[k] * x[ao[k]] for `height` channels and positions_of(height) positions."""
    return function(_emit, dtype, height)


@cache
def weight_tile(dtype, height, whole):
    """f(count, x, ao, g, by_channel, po, go, sums, channels, skip, k_skip, k_behind, n): sums[j, i] += g[i] * x[ao[j]] over `count` positions, n lanes
    of each (whole: all), for i >= skip and k_skip <= j < k_behind."""
    return function(_emit_weight, dtype, height, whole)


@intrinsic
def call(typingctx, at, a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12):
    """Call the tile at an address."""

    def codegen(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.VoidType(), [_I64] * _ARGUMENTS)
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * (_ARGUMENTS + 1)), codegen


@cache
def pack_task(dtype):
    array = floats_of(dtype)
    zero = dtype.type(0)

    @task
    def pack(ctx, task, slot):
        c = ints(ctx)
        w, wp, bias, tw, tall = array(c[W]), array(c[WP]), array(c[BIAS]), array_i64(c[TW]), c[TALL]
        at = 0
        for part in range(c[ACROSS_PARTS]):
            first = min(part * tall, c[N] - tall)
            for j in range(tall):
                wp[at + j] = bias[first + j] if c[BIAS] != 0 else zero
            at += tall
            for t in range(c[TAPS]):
                for i in range(c[K] // c[TAPS]):
                    for j in range(tall):
                        wp[at + j] = w[i * c[W_IN] + (first + j) * c[W_OUT] + tw[t]]
                    at += tall

    return pack


@cache
def transposing(dtype):
    """The function that transposes lines of memory, m by n values; leading dimensions in bytes."""
    v, item = simd(dtype), dtype.itemsize
    lanes = v.lanes

    @inline
    def transpose(src, ld_src, m, n, dst, ld_dst):
        if n == 1 and ld_src == item:
            for i in range(0, m // lanes * lanes, lanes):
                v.store(dst + i * item, v.load(src + i * item))
            i = m // lanes * lanes
            v.store_n(dst + i * item, m - i, v.load_n(src + i * item, m - i))
            return
        for i in range(0, m, lanes):
            high = min(lanes, m - i)
            for j in range(0, n, lanes):
                wide = min(lanes, n - j)
                if high == lanes and wide == lanes:
                    v.square(src + i * ld_src + j * item, ld_src, dst + j * ld_dst + i * item, ld_dst)
                else:
                    v.square_n(src + i * ld_src + j * item, ld_src, dst + j * ld_dst + i * item, ld_dst, high, wide)

    return transpose


@cache
def bringing(dtype, images):
    """The function that lays out the source under `rows` output rows from r0, with zeros outside the image."""
    v, array, item = simd(dtype), floats_of(dtype), dtype.itemsize
    lanes, zero, transpose = v.lanes, dtype.type(0), transposing(dtype)

    @inline
    def bring_images(c, image, r0, rows, source):
        wide, channels = c[WIDE], c[CHANNELS]
        step, register = c[HEIGHT] * c[WIDTH] * channels * item, channels * VECTOR_BYTES
        left = min(max(-c[X_LOW], 0), wide)
        right = max(left, min(wide, c[WIDTH] - c[X_LOW]))
        for i in range((rows - 1) * c[SY] + c[Y_HIGH] - c[Y_LOW] + 1):
            y = r0 * c[SY] + c[Y_LOW] + i
            start, end = left, right
            if y < 0 or y >= c[HEIGHT]:
                start = end = wide
            line = source + i * wide * register
            there = c[SRC] + image * step + (y * c[WIDTH] + c[X_LOW] + start) * channels * item
            for e in range(0, start * register, VECTOR_BYTES):
                v.store(line + e, v.zero())
            transpose(there, step, lanes, (end - start) * channels, line + start * register, VECTOR_BYTES)
            for e in range(end * register, wide * register, VECTOR_BYTES):
                v.store(line + e, v.zero())

    @inline
    def bring_pixels(c, image, r0, rows, source):
        wide, channels, plane, sx, sy = c[WIDE], c[CHANNELS], c[PLANE], c[SX], c[SY]
        left = min(max(-c[X_LOW], 0), wide)
        right = max(left, min(wide, c[WIDTH] - c[X_LOW]))
        for i in range((rows - 1) * sy + c[Y_HIGH] - c[Y_LOW] + 1):
            y = r0 * sy + c[Y_LOW] + i
            start, end = left, right
            if y < 0 or y >= c[HEIGHT]:
                start = end = wide
            line = source + (i % sy * sx * channels * plane + i // sy * c[PITCH]) * item
            there = c[SRC] + ((image * c[HEIGHT] + y) * c[WIDTH] + c[X_LOW]) * channels * item
            if sx == 1:
                transpose(there + start * channels * item, channels * item, end - start, channels, line + start * item, plane * item)
                for channel in range(channels):
                    own = array(line + channel * plane * item)
                    for x in range(start):
                        own[x] = zero
                    for x in range(end, wide):
                        own[x] = zero
            else:
                own, pixels = array(line), array(there)
                for x in range(wide):
                    for channel in range(channels):
                        inside = start <= x < end
                        own[(x % sx * channels + channel) * plane + x // sx] = pixels[x * channels + channel] if inside else zero

    return bring_images if images else bring_pixels


@cache
def band_task(dtype, images):
    """A band of rows of a register of images, or of one image."""
    item, lanes = dtype.itemsize, VECTOR_BYTES // dtype.itemsize
    activate, bring, transpose = activating(dtype), bringing(dtype, images), transposing(dtype)
    each, step = (1, lanes) if images else (lanes, 1)

    @task
    def band(ctx, task, slot):
        c, slope = ints(ctx), doubles(ctx)[SLOPE]
        n, k, tall, across, columns, by_channel = c[N], c[K], c[TALL], c[ACROSS], c[COLUMNS], c[BY_CHANNEL]
        k_first, k_behind = array_i64(c[K_FIRST]), array_i64(c[K_BEHIND])
        image = c[FIRST_IMAGE] + task // c[BANDS] * step
        r0 = task % c[BANDS] * c[BAND_ROWS]
        rows = min(c[BAND_ROWS], c[ROWS] - r0)
        source = c[BUFFER] + slot * c[BUFFER_BYTES]
        results = source + c[RESULT]
        bring(c, image, r0, rows, source)
        by_image, by_row, by_column = c[DST_IMAGE] * item, c[DST_ROW] * item, c[DST_COLUMN] * item
        dst = c[DST] + (c[DST_FIRST] + r0 * c[DST_ROW]) * item + image * by_image
        dense = c[DST_COLUMN] == n and c[DST_ROW] == columns * n
        edge = columns if images else c[PITCH]
        positions = ((rows - 1) * edge + columns + each - 1) // each
        for p0 in range(0, positions, c[CHUNK]):
            count = min(c[CHUNK], positions - p0)
            for part in range(c[ACROSS_PARTS]):
                wp = c[WP] + part * tall * (1 + k) * item
                to = results + min(part * tall, n - tall) * by_channel
                for p in range(0, count, across):
                    top, bottom = (p0 + p) * each // edge, min(((p0 + p + across) * each - 1) // edge, rows - 1)
                    first = k_first[r0 + bottom]
                    call(
                        c[TILES], k_behind[r0 + top] - first, c[AO] + first * 8, source, c[PO] + (p0 + p) * 8, wp,
                        wp + (1 + first) * tall * item, to, by_channel, c[GO] + p * 8, 0, 0, 0, 0,
                    )  # fmt: skip
            if images:
                if c[ACT] != 0:
                    activate(c[ACT], slope, results, count * n * lanes)
                # channels-last pixels of every image
                runs, size = (1, count * n) if dense else (count, n)
                for i in range(runs):
                    p = p0 + i
                    at = dst + (p * n * item if dense else p // columns * by_row + p % columns * by_column)
                    transpose(results + i * size * VECTOR_BYTES, VECTOR_BYTES, size, lanes, at, by_image)
        if not images:
            if c[ACT] != 0:
                for i in range(n):
                    activate(c[ACT], slope, results + i * by_channel, positions * lanes)
            for r in range(rows):
                own = results + r * c[PITCH] * item
                if n == 1 and by_column == item:
                    transpose(own, item, columns, 1, dst + r * by_row, item)
                else:
                    transpose(own, by_channel, n, columns, dst + r * by_row, by_column)

    return band


@cache
def chunk_task(dtype, images):
    """The private dw of a chunk of units (group, band): k rows and one for db, of a register per channel."""
    v, item = simd(dtype), dtype.itemsize
    lanes, bring, transpose = v.lanes, bringing(dtype, images), transposing(dtype)
    step = lanes if images else 1

    @inline
    def add(c, tile, n, count, po, go, source, g, sums):
        """Add `count` positions, n lanes of each, to dw and db."""
        tall, across, k, channels, by_channel = c[TALL], c[ACROSS], c[K], c[N], c[BY_CHANNEL]
        some = (count + c[CHUNK] - 1) // c[CHUNK]
        some = (count + some - 1) // some if some > 0 else 1
        for i in range(0, channels, tall):
            first = min(i, channels - tall)
            for p in range(0, count, some):
                for j in range(0, k, across):
                    start = max(min(j, k - across), 0)
                    call(
                        tile, min(some, count - p), source, c[AO] + start * 8, g + first * by_channel, by_channel, po + p * 8, go + p * 8,
                        sums + (start * channels + first) * VECTOR_BYTES, channels, i - first, j - start, min(k - start, across), n,
                    )  # fmt: skip
        if c[DB] != 0:
            places = array_i64(go)
            for i in range(channels):
                at = sums + (k * channels + i) * VECTOR_BYTES
                total = v.load(at)
                for p in range(count):
                    total = total + v.load_n(g + places[p] + i * by_channel, n)
                v.store(at, total)

    @task
    def chunk(ctx, task, slot):
        c = ints(ctx)
        n, columns = c[N], c[COLUMNS]
        size = (c[K] + 1) * n * VECTOR_BYTES
        sums = c[PRIVATES] + (c[FIRST_COPY] + task) * size
        source = c[BUFFER] + slot * c[BUFFER_BYTES]
        g = source + c[RESULT]
        for i in range(0, size, VECTOR_BYTES):
            v.store(sums + i, v.zero())
        for unit in range(task * c[UNITS_OF] // c[PARTS], (task + 1) * c[UNITS_OF] // c[PARTS]):
            image = c[FIRST_IMAGE] + unit // c[BANDS] * step
            r0 = unit % c[BANDS] * c[BAND_ROWS]
            rows = min(c[BAND_ROWS], c[ROWS] - r0)
            bring(c, image, r0, rows, source)
            there = c[DST] + (image * c[DST_IMAGE] + r0 * c[DST_ROW]) * item
            if images:
                transpose(there, c[DST_IMAGE] * item, lanes, rows * columns * n, g, VECTOR_BYTES)
            else:
                transpose(there, n * item, rows * columns, n, g, c[BY_CHANNEL])
            add(c, c[TILES], lanes, rows * c[FULL], c[PO], c[GO], source, g, sums)
            if c[TAIL] != 0:
                behind = c[BAND_ROWS] * c[FULL] * 8
                add(c, c[TAIL_TILE], c[TAIL], rows, c[PO] + behind, c[GO] + behind, source, g, sums)

    return chunk


@cache
def sum_task(dtype):
    """Add up the private copies, in order, and the lanes of every sum, and lay them out as dw and db."""
    v, array = simd(dtype), floats_of(dtype)

    @task
    def add(ctx, task, slot):
        c = ints(ctx)
        n, depth, k = c[N], c[K] // c[TAPS], c[K]
        dw, db, tw = array(c[DW]), array(c[DB]), array_i64(c[TW])
        size = (k + 1) * n * VECTOR_BYTES
        for i in range(task * SUMS, min((task + 1) * SUMS, (k + 1) * n)):
            at = c[PRIVATES] + i * VECTOR_BYTES
            total = v.load(at)
            for copy in range(1, c[FIRST_COPY]):
                total = total + v.load(at + copy * size)
            o, l = i % n, i // n
            if l < k:
                dw[o * c[W_OUT] + l % depth * c[W_IN] + tw[l // depth]] = v.sum(total)
            elif c[DB] != 0:
                db[o] = v.sum(total)

    return add


class Plan:
    """Bands, tables and tile of a gather, its lanes filled with images or with the pixels of the images that are left."""

    def __init__(self, v, images, weight):
        self.v, self.images = v, images
        lanes = VECTOR_BYTES // v.item
        whole = v.mb // lanes * lanes
        groups = v.mb // lanes if images else v.mb - whole
        tall = height_of(v.n, v.k, weight) if v.k else 1
        across = positions_of(tall)
        parts = ceil_div(v.n, tall)
        wide = (v.columns - 1) * v.sx + v.x_high - v.x_low + 1
        width, halo = VECTOR_BYTES if images else v.item, v.y_high - v.y_low
        row = wide * v.channels * width
        result = v.columns * v.n * width if weight or not images else 0
        one = v.flops / v.mb / RATE[v.item]
        wanted = UNITS if images else min(UNITS, ceil_div(int(one), GRAIN))
        band_rows = max(1, min(v.rows, (BAND - halo * row) // (v.sy * row + result)))
        band_rows = max(1, min(band_rows, ceil_div(v.rows, max(1, ceil_div(wanted, groups)))))
        bands = ceil_div(v.rows, band_rows)
        full, tail, pitch = (v.columns, 0, 0) if images else (v.columns // lanes, v.columns % lanes, ceil_div(wide, v.sx))
        plane, source = 0, ((band_rows - 1) * v.sy + halo + 1) * row
        ty, tx, tw = v.tables
        y, x, channel = (ty - v.y_low)[:, None], (tx - v.x_low)[:, None], np.arange(v.depth)
        r, q = np.arange(band_rows)[:, None], np.arange(full)
        if images:
            count = band_rows * v.columns
            pieces = RESULTS // (across * v.n * VECTOR_BYTES)
            chunk = max(1, pieces if pieces < 4 else pieces // 4 * 4) * across
            by_channel, buffer = VECTOR_BYTES, (count if weight else chunk) * v.n * VECTOR_BYTES
            ao = ((y * wide + x) * v.channels + channel) * VECTOR_BYTES
            po = ((r * v.sy * wide + q * v.sx) * v.channels * VECTOR_BYTES).ravel()
            go = np.arange(max(count, chunk)) * v.n * VECTOR_BYTES
        else:
            count = band_rows * ceil_div(v.columns, lanes) if weight else ceil_div((band_rows - 1) * pitch + v.columns, lanes)
            chunk = count = ceil_div(count, across) * across
            plane = (halo // v.sy + 1) * pitch + max(count * lanes, band_rows * pitch)
            by_channel = (band_rows * v.columns if weight else count * lanes) * v.item
            source, buffer = v.sy * v.sx * v.channels * plane * v.item, v.n * by_channel
            ao = (((y % v.sy * v.sx + x % v.sx) * v.channels + channel) * plane + y // v.sy * pitch + x // v.sx) * v.item
            if weight:
                po, go = ((r * line + q * lanes).ravel() for line in (pitch, v.columns))
                if tail:
                    po, go = (np.append(at, r * line + full * lanes) for at, line in ((po, pitch), (go, v.columns)))
                po, go = po * v.item, go * v.item
            else:
                po = go = np.arange(count) * VECTOR_BYTES
        if weight:
            chunk = max(8, 4 * RESULTS // (3 * tall * VECTOR_BYTES))
        po = np.append(po, [po[-1]] * across)
        rows = np.arange(v.rows)[:, None] * v.sy + ty  # taps are sorted: those above the image come first, those below it last
        k_first = (rows < 0).sum(1) * v.depth
        k_behind = np.maximum(k_first, (rows < v.height).sum(1) * v.depth)
        self.tables = [np.ascontiguousarray(table, np.int64) for table in (ao.ravel(), po, go, k_first, k_behind)]
        self.copies = min(UNITS if (v.k + 1) * v.n * VECTOR_BYTES <= COPY else UNITS // 2, groups * bands) if weight else 0
        self.packed = aligned(parts * tall * (1 + v.k) * v.item)
        result = aligned(source)
        self.buffer = result + aligned(buffer)
        self.tasks = self.copies or groups * bands
        self.time = one * groups * (lanes if images else 1)
        used = weight_tile(v.dtype, tall, True) if weight else tile(v.dtype, tall)
        words = self.words = [0] * WORDS
        for index, word in {
            HEIGHT: v.height, WIDTH: v.width, CHANNELS: v.channels, ROWS: v.rows, COLUMNS: v.columns, SY: v.sy, SX: v.sx,
            DST_FIRST: v.dst_first, DST_IMAGE: v.dst_image, DST_ROW: v.dst_row, DST_COLUMN: v.dst_column, N: v.n, TAPS: v.taps,
            TW: address(tw), K: v.k, W_IN: v.w_in, W_OUT: v.w_out, ACT: v.act, SLOPE: float(v.slope), TILES: used.address, PARTS: self.copies, TALL: tall,
            ACROSS: across, ACROSS_PARTS: parts, X_LOW: v.x_low, Y_LOW: v.y_low, Y_HIGH: v.y_high, WIDE: wide, BAND_ROWS: band_rows, BANDS: bands,
            CHUNK: chunk, RESULT: result, FIRST_IMAGE: 0 if images else whole, UNITS_OF: groups * bands, PITCH: pitch, PLANE: plane,
            BY_CHANNEL: by_channel, FULL: full, TAIL: tail, TAIL_TILE: weight_tile(v.dtype, tall, False).address if weight and tail else 0,
            **dict(zip((AO, PO, GO, K_FIRST, K_BEHIND), map(address, self.tables))),
        }.items():  # fmt: skip
            words[index] = word


def _plans(v, weight):
    """Plans for the images that fill registers, and for the others."""
    lanes = VECTOR_BYTES // v.item
    if not (v.mb and v.rows and v.columns):
        return []
    return [Plan(v, images, weight) for images in (True, False) if (v.mb >= lanes if images else v.mb % lanes)]


@lru_cache(4096)
def programs(pass_, p):
    """(bytes shared, bytes per thread, program, the plans, whose tables the program reads)"""
    weight = pass_ == "backward_weight"
    gathers = list(backward_gathers(p)) if pass_ == "backward_input" else [forward_gather(p, p.act if pass_ == "forward" else 0)]
    groups = [made for v in gathers if (made := _plans(v, weight))]
    plans = [plan for made in groups for plan in made]
    if not plans:
        return 0, 0, None, plans
    v = plans[0].v
    copies = sum(plan.copies for plan in plans)
    shared = aligned(copies * (v.k + 1) * v.n * VECTOR_BYTES) if weight else max(plan.packed for plan in plans)
    per_slot = max(plan.buffer for plan in plans)
    words = plans[0].words.copy()
    arrays = {"forward": [SRC, W, BIAS, DST], "backward_input": [SRC, W, DST], "backward_weight": [SRC, DST, DW, DB]}[pass_]
    for i, index in enumerate(arrays):
        words[index] = Argument(i)
    words[PRIVATES if weight else WP] = Argument(len(arrays))
    words[BUFFER], words[BUFFER_BYTES] = Argument(len(arrays), shared), per_slot
    stages, first_copy = [], 0
    for made in groups:
        for plan in made:
            settings = {i: plan.words[i] for i in DIFFER} | {FIRST_COPY: first_copy}
            if not weight and plan is made[0]:
                stages.append(Stage(pack_task(p.dtype), 1, 0.0, settings=settings))
            run = chunk_task if weight else band_task
            stages.append(Stage(run(p.dtype, plan.images), plan.tasks, plan.time, per_slot, settings=settings))
            first_copy += plan.copies
    if weight:
        sums = (v.k + 1) * v.n
        stages.append(Stage(sum_task(p.dtype), ceil_div(sums, SUMS), 0.5 * copies * sums, settings={FIRST_COPY: copies}))
    return shared, per_slot, program(words, *stages, shared=shared), plans


def scratch(pass_, p):
    """Packed weights or private copies of dw, shared; a band of the source and results or g per thread."""
    return programs(pass_, p)[:2]


def transformed(pass_, p):
    """Bytes of the packed weights or private copies of dw."""
    return programs(pass_, p)[0]


def forward(p, x, w, b, out, scratch):
    if out.size:
        programs("forward", p)[2](x, w, b, out, scratch)


def backward_input(p, g, w, dx, scratch):
    if dx.size:
        programs("backward_input", p)[2](g, w, dx, scratch)


def backward_weight(p, x, g, dw, db, scratch):
    if p.mb:
        programs("backward_weight", p)[2](x, g, dw, db, scratch)
        return
    dw[...] = 0
    if db is not None:
        db[...] = 0
