"""Convolution of few channels: the lanes of a register are images, so that 1 or 6 channels fill it like 16; the Numba twin of cy_lanes.

    dst[n, r, q, o] = act(b[o] + sum over taps t and channels c of  src[n, r*sy + ty[t], q*sx + tx[t], c] * w[o, c, t])         (gather.pxd)

Shapes   images (mb, c, h, w) in channels-last memory, weights (oc, ic, kh, kw), one group
Lanes    as many images as a register has lanes, a band of them transposed into vec[row][column][channel], padded with zeros; k = (t, c) is
         at ao[k] from a position, position p at po[p]
Packed   wp[tile of channels][1 + k][height]: the bias, then the weights of each k side by side
Tile     `height` output channels (broadcast weights) x `positions` registers of pixels, summed over k (cy_lanes shows the picture)
Loops    tasks: registers of images x bands of rows, the band stays in L2; chunks of positions, whose results are still in L1 when they are
         turned into channels-last pixels; tiles of channels, tiles of positions, k
Edges    the last tile of channels begins early and computes some twice; positions are filled up with copies of the last one; the last
         images may leave lanes empty
Cost     2 * mb * oc * oh * ow * ic * kh * kw flops at full width, and a transpose of source and result
Gains    over nb_direct for channels that fill its lanes badly
Loses    for fewer images than lanes, and in backward_weight, which nb_direct has
"""

from functools import cache, lru_cache

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, array_i64, compiled, doubles, floats_of, ints, program, task
from lamella.kernels._common.nb_simd import VECTOR_BYTES, fma, load, simd, splat, store
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

# isort: off
from lamella.kernels.conv2d._nb_gather import (
    ACT, BIAS, BUFFER, BUFFER_BYTES, CHANNELS, COLUMNS, DST, DST_COLUMN, DST_FIRST, DST_IMAGE, DST_ROW, HEIGHT, K, MB, N, OWN, RATE, ROWS, SLOPE,
    SRC, SX, SY, TAPS, TILES, TW, W, WIDTH, WP, W_IN, W_OUT, activating, address, aligned, backward_gathers, ceil_div, forward_gather,
)  # fmt: skip
# isort: on

BAND = 256 * 1024  # bytes of a band
RESULTS = 24 * 1024  # bytes of results that stay in L1
UNITS = 8  # tasks wanted at least

# words of the context, beside those of the Gather
TALL, ACROSS, PARTS, AO, PO, GO, K_FIRST, K_BEHIND, X_LOW, Y_LOW, Y_HIGH, WIDE, BAND_ROWS, BANDS, CHUNK, RESULT = range(OWN, OWN + 16)
# those in which the gathers of one pass differ
DIFFER = (
    ROWS, COLUMNS, DST_FIRST, TAPS, TW, K, TALL, ACROSS, PARTS, AO, PO, GO, K_FIRST, K_BEHIND, X_LOW, Y_LOW, Y_HIGH, WIDE, BAND_ROWS, BANDS,
    CHUNK, RESULT, TILES,
)  # fmt: skip

_I64 = ir.IntType(64)
_ARGUMENTS = 9


def positions_of(height):
    """Registers of a tile's row: the accumulators, one row and a weight fit the processor's registers."""
    if VECTOR_BYTES == 64:
        return (8, 8, 7, 6, 5, 4, 3, 3)[height - 1]
    return (8, 5, 3, 3, 2, 2)[height - 1]


def height_of(n):
    """The height whose tiles cost the least: in half cycles, an FMA one, a load a quarter beside them, a step at least a chain of four cycles."""

    def cycles(height):
        across = positions_of(height)
        return ceil_div(n, height) * max(height * across + 0.25 * (height + across), 8) / across

    return min(range(1, min(8 if VECTOR_BYTES == 64 else 6, n) + 1), key=cycles)


def _emit(b, dtype, height, arguments):
    k, ao, x, po, bias, wp, c, by_channel, go = arguments
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


@cache
def tile(dtype, height):
    """sum over k of w[k] * x[ao[k]] for `height` channels and positions_of(height) positions, as a function with an `.address`."""

    @intrinsic
    def emitted(typingctx, k, ao, x, po, bias, wp, c, by_channel, go):
        def codegen(context, builder, signature, arguments):
            _emit(builder, dtype, height, arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * _ARGUMENTS), codegen

    def run(k, ao, x, po, bias, wp, c, by_channel, go):
        emitted(k, ao, x, po, bias, wp, c, by_channel, go)

    return compiled(run, types.void(*[types.int64] * _ARGUMENTS))


@intrinsic
def call(typingctx, at, k, ao, x, po, bias, wp, c, by_channel, go):
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
        for part in range(c[PARTS]):
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
def band_task(dtype):
    """A band of rows of a register of images."""
    v, item = simd(dtype), dtype.itemsize
    lanes = v.lanes
    activate = activating(dtype)

    @task
    def band(ctx, task, slot):
        c, slope = ints(ctx), doubles(ctx)[SLOPE]
        n, k, tall, across, columns, channels, wide = c[N], c[K], c[TALL], c[ACROSS], c[COLUMNS], c[CHANNELS], c[WIDE]
        k_first, k_behind = array_i64(c[K_FIRST]), array_i64(c[K_BEHIND])
        image = task // c[BANDS] * lanes
        images = min(lanes, c[MB] - image)
        r0 = task % c[BANDS] * c[BAND_ROWS]
        rows = min(c[BAND_ROWS], c[ROWS] - r0)
        source = c[BUFFER] + slot * c[BUFFER_BYTES]
        results = source + c[RESULT]

        # the source under these rows, register by register
        step = c[HEIGHT] * c[WIDTH] * channels * item
        left = min(max(-c[X_LOW], 0), wide)
        right = max(left, min(wide, c[WIDTH] - c[X_LOW]))
        for i in range((rows - 1) * c[SY] + c[Y_HIGH] - c[Y_LOW] + 1):
            y = r0 * c[SY] + c[Y_LOW] + i
            start, end = left * channels, right * channels
            if y < 0 or y >= c[HEIGHT]:
                start = end = wide * channels
            line = source + i * wide * channels * VECTOR_BYTES
            there = c[SRC] + image * step + (y * c[WIDTH] + c[X_LOW]) * channels * item
            for e in range(start):
                v.store(line + e * VECTOR_BYTES, v.zero())
            for e in range(start, end, lanes):
                if images == lanes and e + lanes <= end:
                    v.square(there + e * item, step, line + e * VECTOR_BYTES, VECTOR_BYTES)
                else:
                    v.square_n(there + e * item, step, line + e * VECTOR_BYTES, VECTOR_BYTES, images, min(lanes, end - e))
            for e in range(end, wide * channels):
                v.store(line + e * VECTOR_BYTES, v.zero())

        by_image = c[DST_IMAGE] * item
        dst = c[DST] + (c[DST_FIRST] + r0 * c[DST_ROW]) * item + image * by_image
        dense = c[DST_COLUMN] == n and c[DST_ROW] == columns * n
        for p0 in range(0, rows * columns, c[CHUNK]):
            count = min(c[CHUNK], rows * columns - p0)
            for part in range(c[PARTS]):
                wp = c[WP] + part * tall * (1 + k) * item
                to = results + min(part * tall, n - tall) * VECTOR_BYTES
                for p in range(0, count, across):
                    top, bottom = (p0 + p) // columns, min((p0 + p + across - 1) // columns, rows - 1)
                    first = k_first[r0 + bottom]
                    call(
                        c[TILES], k_behind[r0 + top] - first, c[AO] + first * 8, source, c[PO] + (p0 + p) * 8, wp,
                        wp + (1 + first) * tall * item, to, VECTOR_BYTES, c[GO] + p * 8,
                    )  # fmt: skip
            if c[ACT] != 0:
                activate(c[ACT], slope, results, count * n * lanes)
            # channels-last pixels of every image
            runs, size = (1, count * n) if dense else (count, n)
            for i in range(runs):
                p = p0 + i
                at = dst + (p * n if dense else p // columns * c[DST_ROW] + p % columns * c[DST_COLUMN]) * item
                own = results + i * size * VECTOR_BYTES
                for e in range(0, size, lanes):
                    if images == lanes and e + lanes <= size:
                        v.square(own + e * VECTOR_BYTES, VECTOR_BYTES, at + e * item, by_image)
                    else:
                        v.square_n(own + e * VECTOR_BYTES, VECTOR_BYTES, at + e * item, by_image, min(lanes, size - e), images)

    return band


class Plan:
    """Bands, tables and tile of a gather."""

    def __init__(self, v):
        self.v = v
        lanes = VECTOR_BYTES // v.item
        tall = height_of(v.n)
        across = positions_of(tall)
        parts = ceil_div(v.n, tall)
        wide = (v.columns - 1) * v.sx + v.x_high - v.x_low + 1
        row, halo = wide * v.channels * VECTOR_BYTES, v.y_high - v.y_low
        groups = max(1, ceil_div(v.mb, lanes))
        band_rows = max(1, min(v.rows, (BAND - halo * row) // (v.sy * row), ceil_div(v.rows, ceil_div(UNITS, groups))))
        bands = ceil_div(v.rows, band_rows)
        pieces = RESULTS // (across * v.n * VECTOR_BYTES)
        chunk = max(1, pieces if pieces < 4 else pieces // 4 * 4) * across
        ty, tx, tw = v.tables
        channel = np.arange(v.depth)
        ao = ((((ty - v.y_low) * wide + tx - v.x_low) * v.channels)[:, None] + channel).ravel() * VECTOR_BYTES
        p = np.minimum(np.arange(band_rows * v.columns + across), band_rows * v.columns - 1)
        po = (p // v.columns * v.sy * wide + p % v.columns * v.sx) * v.channels * VECTOR_BYTES
        go = np.arange(chunk) * v.n * VECTOR_BYTES
        y = np.arange(v.rows)[:, None] * v.sy + ty  # taps are sorted: those above the image come first, those below it last
        k_first = (y < 0).sum(1) * v.depth
        k_behind = np.maximum(k_first, (y < v.height).sum(1) * v.depth)
        self.tables = [np.ascontiguousarray(table, np.int64) for table in (ao, po, go, k_first, k_behind)]
        self.tile = tile(v.dtype, tall)
        self.packed = aligned(parts * tall * (1 + v.k) * v.item)
        result = aligned(((band_rows - 1) * v.sy + halo + 1) * row)
        self.buffer = result + aligned(chunk * v.n * VECTOR_BYTES)
        self.tasks = groups * bands
        words = self.words = [0] * (OWN + 16)
        for index, word in {
            MB: v.mb, HEIGHT: v.height, WIDTH: v.width, CHANNELS: v.channels, ROWS: v.rows, COLUMNS: v.columns, SY: v.sy, SX: v.sx,
            DST_FIRST: v.dst_first, DST_IMAGE: v.dst_image, DST_ROW: v.dst_row, DST_COLUMN: v.dst_column, N: v.n, TAPS: v.taps,
            TW: address(tw), K: v.k, W_IN: v.w_in, W_OUT: v.w_out, ACT: v.act, SLOPE: float(v.slope), TILES: self.tile.address, TALL: tall,
            ACROSS: across, PARTS: parts, X_LOW: v.x_low, Y_LOW: v.y_low, Y_HIGH: v.y_high, WIDE: wide, BAND_ROWS: band_rows, BANDS: bands,
            CHUNK: chunk, RESULT: result, **dict(zip((AO, PO, GO, K_FIRST, K_BEHIND), map(address, self.tables))),
        }.items():  # fmt: skip
            words[index] = word


@lru_cache(4096)
def programs(pass_, p):
    """(bytes shared, bytes per thread, program, the plans, whose tables the program reads)"""
    forward_ = pass_ == "forward"
    plans = [Plan(v) for v in ([forward_gather(p, p.act)] if forward_ else backward_gathers(p)) if v.mb and v.rows and v.columns]
    if not plans:
        return 0, 0, None, plans
    shared, per_slot = max(plan.packed for plan in plans), max(plan.buffer for plan in plans)
    words = plans[0].words.copy()
    arrays = [SRC, W, BIAS, DST] if forward_ else [SRC, W, DST]
    for i, index in enumerate(arrays):
        words[index] = Argument(i)
    words[WP] = Argument(len(arrays))
    words[BUFFER], words[BUFFER_BYTES] = Argument(len(arrays), shared), per_slot
    stages = []
    for plan in plans:
        stages.append(Stage(pack_task(p.dtype), 1, 0.0, settings={i: plan.words[i] for i in DIFFER}))
        stages.append(Stage(band_task(p.dtype), plan.tasks, plan.v.flops / RATE[plan.v.item], per_slot))
    return shared, per_slot, program(words, *stages, shared=shared), plans


def scratch(pass_, p):
    """Packed weights, shared; a band of the source and results per thread."""
    return programs(pass_, p)[:2]


def forward(p, x, w, b, out, scratch):
    if out.size:
        programs("forward", p)[2](x, w, b, out, scratch)


def backward_input(p, g, w, dx, scratch):
    if dx.size:
        programs("backward_input", p)[2](g, w, dx, scratch)
