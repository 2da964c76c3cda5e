"""Depthwise convolution: every channel has a filter of its own, so channels are the lanes; the Numba twin of cy_depthwise.

    dst[n, r, q, c] = act(b[c] + sum over taps t of  src[n, r*sy + ty[t], q*sx + tx[t], c] * w[c, t])         (gather.pxd, one channel per group)
    dw[c, t] = sum over n, r, q of  x[n, r*sy + ty[t], q*sx + tx[t], c] * g[n, r, q, c]

Shapes   images (mb, c, h, w) in channels-last memory, weights (c, 1, kh, kw)
Packed   wp[t][c]: the weights of a tap side by side, as the channels of a pixel are
Tile     4 pixels of a row x 1 register of channels, summed over taps (backward_weight: for every tap, summed over the pixels)
Loops    tasks: image, band of rows, read in place; rows, tiles, registers of channels, taps
         backward_weight: tasks are chunks of rows with a private dw each, summed in order afterwards
Edges    taps above and below the image are left out for a whole row; columns whose taps reach outside, and the last register of channels
         where it is partial, are computed pixel by pixel with the taps there are.
Cost     2 * mb * c * oh * ow * kh * kw flops, five loads for four FMA
"""

from functools import cache, lru_cache

from lamella.kernels._common.nb import Argument, Stage, array_i64, doubles, floats_of, inline, ints, program, task
from lamella.kernels._common.nb_simd import simd

# isort: off
from lamella.kernels.conv2d._nb_gather import (
    ACT, BIAS, CHANNELS, CHUNKS, COLUMNS, DB, DST, DST_COLUMN, DST_FIRST, DST_IMAGE, DST_ROW, DW, HEIGHT, MB, OWN, PARTS, PRIVATES, ROWS,
    SLOPE, SRC, SX, SY, TAPS, TW, TX, TY, W, WIDTH, WP, activating, address, aligned, backward_gathers, ceil_div, forward_gather,
)  # fmt: skip
# isort: on

UNITS = 16  # tasks wanted at least

# words of the context, beside those of the Gather: columns whose taps are all inside, bands, taps of the whole filter
FIRST, BEHIND, BAND_ROWS, BANDS, FILTER = range(OWN, OWN + 5)
# those in which the gathers of one pass differ
DIFFER = ROWS, COLUMNS, DST_FIRST, TAPS, TY, TX, TW, FIRST, BEHIND, BAND_ROWS, BANDS


@inline
def taps_of_row(c, y):
    """The taps t0 <= t < t1 that stay between the first and the last row of the image; y is the source row of ty = 0."""
    ty = array_i64(c[TY])
    t0, t1 = 0, c[TAPS]
    while t0 < t1 and y + ty[t0] < 0:
        t0 += 1
    while t1 > t0 and y + ty[t1 - 1] >= c[HEIGHT]:
        t1 -= 1
    return t0, t1


@cache
def pack_task(dtype):
    array = floats_of(dtype)

    @task
    def pack(ctx, task, slot):
        c = ints(ctx)
        w, wp, tw, channels = array(c[W]), array(c[WP]), array_i64(c[TW]), c[CHANNELS]
        for t in range(c[TAPS]):
            for i in range(channels):
                wp[t * channels + i] = w[i * c[FILTER] + tw[t]]

    return pack


@cache
def band_task(dtype):
    """A band of rows of an image."""
    v, item = simd(dtype), dtype.itemsize
    lanes = v.lanes
    activate = activating(dtype)

    @task
    def band(ctx, task, slot):
        c, slope = ints(ctx), doubles(ctx)[SLOPE]
        channels, width, sx, by_column, bias = c[CHANNELS], c[WIDTH], c[SX], c[DST_COLUMN] * item, c[BIAS]
        ty, tx, taps_wp = array_i64(c[TY]), array_i64(c[TX]), c[WP]
        pixel = channels * item
        step = sx * pixel
        whole = channels // lanes * lanes
        image = task // c[BANDS]
        r0 = task % c[BANDS] * c[BAND_ROWS]
        for r in range(r0, min(r0 + c[BAND_ROWS], c[ROWS])):
            y = r * c[SY]
            t0, t1 = taps_of_row(c, y)
            src = c[SRC] + (image * c[HEIGHT] + y) * width * pixel
            dst = c[DST] + (c[DST_FIRST] + image * c[DST_IMAGE] + r * c[DST_ROW]) * item
            q = c[FIRST]
            if c[BEHIND] - q >= 4:
                while q < c[BEHIND]:
                    q = min(q, c[BEHIND] - 4)  # the last tile computes some columns twice
                    for i in range(0, whole, lanes):
                        a0 = v.load(bias + i * item) if bias != 0 else v.zero()
                        a1, a2, a3 = a0, a0, a0
                        for t in range(t0, t1):
                            at = src + ((ty[t] * width + q * sx + tx[t]) * channels + i) * item
                            w = v.load(taps_wp + (t * channels + i) * item)
                            a0 = v.fma(v.load(at), w, a0)
                            a1 = v.fma(v.load(at + step), w, a1)
                            a2 = v.fma(v.load(at + 2 * step), w, a2)
                            a3 = v.fma(v.load(at + 3 * step), w, a3)
                        to = dst + q * by_column + i * item
                        v.store(to, a0)
                        v.store(to + by_column, a1)
                        v.store(to + 2 * by_column, a2)
                        v.store(to + 3 * by_column, a3)
                    q += 4
            for column in range(c[COLUMNS]):
                for i in range(whole if c[FIRST] <= column < q else 0, channels, lanes):
                    n = min(lanes, channels - i)
                    a = v.load_n(bias + i * item, n) if bias != 0 else v.zero()
                    for t in range(t0, t1):
                        x = column * sx + tx[t]
                        if 0 <= x < width:
                            at = src + ((ty[t] * width + x) * channels + i) * item
                            a = v.fma(v.load_n(at, n), v.load_n(taps_wp + (t * channels + i) * item, n), a)
                    v.store_n(dst + column * by_column + i * item, n, a)
            if c[ACT] != 0:
                for column in range(c[COLUMNS]):
                    activate(c[ACT], slope, dst + column * by_column, channels)

    return band


@cache
def chunk_task(dtype):
    """The private dw of a chunk of the rows of all images: for each tap the channels, and once more for db."""
    v, array, item = simd(dtype), floats_of(dtype), dtype.itemsize
    lanes = v.lanes
    zero = dtype.type(0)

    @task
    def chunk(ctx, task, slot):
        c = ints(ctx)
        channels, width, sx, taps, columns, rows = c[CHANNELS], c[WIDTH], c[SX], c[TAPS], c[COLUMNS], c[ROWS]
        ty, tx = array_i64(c[TY]), array_i64(c[TX])
        pixel = channels * item
        step = sx * pixel
        whole = channels // lanes * lanes
        sums = c[PRIVATES] + task * (taps + 1) * pixel
        s = array(sums)
        for i in range((taps + 1) * channels):
            s[i] = zero
        for row in range(task * c[MB] * rows // c[PARTS], (task + 1) * c[MB] * rows // c[PARTS]):
            y = row % rows * c[SY]
            t0, t1 = taps_of_row(c, y)
            src = c[SRC] + (row // rows * c[HEIGHT] + y) * width * pixel
            g = c[DST] + row * c[DST_ROW] * item
            q = c[FIRST]
            while q + 4 <= c[BEHIND]:
                for i in range(0, whole, lanes):
                    there = g + (q * channels + i) * item
                    g0, g1, g2, g3 = v.load(there), v.load(there + pixel), v.load(there + 2 * pixel), v.load(there + 3 * pixel)
                    for t in range(t0, t1):
                        at = src + ((ty[t] * width + q * sx + tx[t]) * channels + i) * item
                        to = sums + (t * channels + i) * item
                        a = v.fma(v.load(at), g0, v.load(to))
                        a = v.fma(v.load(at + step), g1, a)
                        a = v.fma(v.load(at + 2 * step), g2, a)
                        v.store(to, v.fma(v.load(at + 3 * step), g3, a))
                q += 4
            for column in range(columns):
                for i in range(whole if c[FIRST] <= column < q else 0, channels, lanes):
                    n = min(lanes, channels - i)
                    g0 = v.load_n(g + (column * channels + i) * item, n)
                    for t in range(t0, t1):
                        x = column * sx + tx[t]
                        if 0 <= x < width:
                            at = src + ((ty[t] * width + x) * channels + i) * item
                            to = sums + (t * channels + i) * item
                            v.store_n(to, n, v.fma(v.load_n(at, n), g0, v.load_n(to, n)))
            if c[DB] != 0:
                for i in range(0, channels, lanes):
                    n = min(lanes, channels - i)
                    to = sums + (taps * channels + i) * item
                    a = v.load_n(to, n)
                    for column in range(columns):
                        a = a + v.load_n(g + (column * channels + i) * item, n)
                    v.store_n(to, n, a)

    return chunk


@cache
def sum_task(dtype):
    """Add up the private copies, in order, and lay the sum out as dw and db."""
    array, item = floats_of(dtype), dtype.itemsize

    @task
    def add(ctx, task, slot):
        c = ints(ctx)
        taps, channels = c[TAPS], c[CHANNELS]
        sums, dw, db, tw = array(c[PRIVATES]), array(c[DW]), array(c[DB]), array_i64(c[TW])
        size = (taps + 1) * channels
        for part in range(1, c[PARTS]):
            other = array(c[PRIVATES] + part * size * item)
            for i in range(size):
                sums[i] += other[i]
        for i in range(channels):
            for t in range(taps):
                dw[i * taps + tw[t]] = sums[t * channels + i]
            if c[DB] != 0:
                db[i] = sums[taps * channels + i]

    return add


def _words(v, p):
    """The context of a gather, but for its addresses."""
    words = [0] * (OWN + 5)
    ty, tx, tw = v.tables
    first = min(max(ceil_div(-v.x_low, v.sx), 0), v.columns)
    band_rows = max(1, min(v.rows, v.mb * v.rows // UNITS))
    for index, word in {
        MB: v.mb, HEIGHT: v.height, WIDTH: v.width, CHANNELS: v.channels, ROWS: v.rows, COLUMNS: v.columns, SY: v.sy, SX: v.sx,
        DST_FIRST: v.dst_first, DST_IMAGE: v.dst_image, DST_ROW: v.dst_row, DST_COLUMN: v.dst_column, TAPS: v.taps, TY: address(ty), TX: address(tx), TW: address(tw),
        ACT: v.act, SLOPE: float(v.slope), FIRST: first, BEHIND: max(first, min(v.columns, (v.width - 1 - v.x_high) // v.sx + 1)),
        BAND_ROWS: band_rows, BANDS: ceil_div(v.rows, band_rows), FILTER: p.kh * p.kw, PARTS: max(1, min(CHUNKS, v.mb * v.rows)),
    }.items():  # fmt: skip
        words[index] = word
    return words


@lru_cache(4096)
def programs(pass_, p):
    """(bytes of scratch, program, the gathers, whose tables the program reads)"""
    if pass_ == "backward_weight":
        v = forward_gather(p)
        words = _words(v, p)
        words[SRC], words[DST], words[DW], words[DB], words[PRIVATES] = map(Argument, range(5))
        parts = words[PARTS]
        size = parts * (v.taps + 1) * v.channels
        stages = Stage(chunk_task(p.dtype), parts, 0.2 * v.flops), Stage(sum_task(p.dtype), 1, 0.0)
        return aligned(size * v.item), program(words, *stages), [v]
    gathers = [forward_gather(p, p.act)] if pass_ == "forward" else list(backward_gathers(p))
    if not gathers or not p.mb:
        return 0, None, []
    words = _words(gathers[0], p)
    if pass_ == "forward":
        words[SRC], words[W], words[BIAS], words[DST], words[WP] = map(Argument, range(5))
    else:
        words[SRC], words[W], words[DST], words[WP] = map(Argument, range(4))
    stages = []
    for v in gathers:
        mine = _words(v, p)
        stages.append(Stage(pack_task(p.dtype), 1, 0.0, settings={i: mine[i] for i in DIFFER}))
        stages.append(Stage(band_task(p.dtype), v.mb * mine[BANDS], 0.2 * v.flops))
    return aligned(max(v.taps for v in gathers) * p.ic * v.item), program(words, *stages), gathers


def scratch(pass_, p):
    """Packed weights, or private copies of dw."""
    return programs(pass_, p)[0], 0


def forward(p, x, w, b, out, scratch):
    if out.size:
        programs("forward", p)[1](x, w, b, out, scratch)


def backward_input(p, g, w, dx, scratch):
    if dx.size:
        programs("backward_input", p)[1](g, w, dx, scratch)


def backward_weight(p, x, g, dw, db, scratch):
    programs("backward_weight", p)[1](x, g, dw, db, scratch)
