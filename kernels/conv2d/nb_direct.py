"""Direct convolution: the register tile runs over the pixels of an output row and reads the image in place; the Numba twin of cy_direct.

    dst[n, r, q, :] = sum over taps t of  src[n, r*sy + ty[t], q*sx + tx[t], :] @ wp[t]         (gather.pxd)
    dw[t] = sum over n, r, q of  x[n, r*sy + ty[t], q*sx + tx[t], :]^T @ g[n, r, q, :]

Shapes   images (mb, c, h, w) in channels-last memory, weights (oc, ic / groups, kh, kw)
Packed   wp (gather.pxd), once per call; the image is not packed: a task works on a band of rows, in place, or copied
         once into a zero-padded buffer where taps reach over the border
Tile     forward, backward_input                          backward_weight
         rows: up to mr pixels of an output row            rows: up to mr input channels (of neighbouring taps)
         columns: nr output channels                       columns: nr output channels
         depth: taps x channels of a pixel                 depth: the pixels of the band
         With one group and taps side by side, the taps of a filter row and their channels are one run (_nb_gather.py).
         mr is chosen so that the tiles of a row are equal.

Loops    tasks: image, band of rows      the band stays in L2
         groups, panels of nr channels   the panel of weights streams from L2
         rows of the band, tiles of the row, taps, depth
         backward_weight: tasks are chunks of (image, band) x blocks of panels with a private dw each, summed in order afterwards.
Edges    tiles have exactly the rows they need, and store or read only the columns there are.
Cost     2 * mb * oc * oh * ow * ic / groups * kh * kw flops; (mr + nv) loads per mr * nv FMA.
Loses    to nb_im2col where output rows are much shorter than mr, and for few channels per group.
After    Zhang, Franchetti, Low, ICML 2018 (no packing of the image); Georganas et al., SC18, arXiv:1808.05567 (batch-reduce tiles).
"""

from functools import cache, lru_cache

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, array_i64, doubles, floats_of, inline, ints, program, task
from lamella.kernels._common.nb_tile import MR, call

# isort: off
from lamella.kernels.conv2d._nb_gather import (
    ACT, BIAS, BLOCK_PANELS, BLOCKS, BUFFER, BUFFER_BYTES, CHANNELS, DB, DEPTH, DST, DST_COLUMN, DST_FIRST, DST_IMAGE, DST_ROW, DW,
    COLUMNS, GROUPS, HEIGHT, K, MAX_ROWS, MB, N, NR, OWN, PANELS, PARTS, PLACE, PRIVATES, RATE, ROWS, RUNS, SLOPE, SRC, SX, SY, TAPS, W, WIDTH, WP, ZERO,
    activating, add_pixels, address, aligned, backward_gathers, ceil_div, forward_gather, pack_weights, sum_private, tile_of,
)  # fmt: skip
# isort: on

BAND = 160 * 1024  # bytes of an image band: with a panel of weights, well inside L2
UNITS = 16  # tasks wanted at least, so that a few threads share the work evenly

# words of the context
(
    BAND_ROWS, BANDS, BAND_COLUMNS, STRIPS, IN_PLACE, PITCH, Y_LOW, Y_HIGH, X_LOW, X_HIGH, TALL, AO, BO, RUN_DEPTH, ROW_AO, ROW_BO,
) = range(OWN, OWN + 16)  # fmt: skip


@cache
def bringing(dtype):
    """The function that finds or makes a band."""
    array, item = floats_of(dtype), dtype.itemsize
    zero = dtype.type(0)

    @inline
    def bring(c, image, r0, rows, q0, columns, slot):
        """The address of the source pixel of the first tap of `rows` output rows from r0 and `columns` columns from q0."""
        channels, width = c[CHANNELS], c[WIDTH]
        y0, x0 = r0 * c[SY] + c[Y_LOW], q0 * c[SX] + c[X_LOW]
        src = c[SRC] + image * c[HEIGHT] * width * channels * item
        if c[IN_PLACE] != 0:
            return src + (y0 * width + x0) * channels * item
        band = c[BUFFER] + slot * c[BUFFER_BYTES]
        wide = (columns - 1) * c[SX] + c[X_HIGH] - c[X_LOW] + 1
        left = min(max(-x0, 0), wide)  # pixels of padding
        right = max(left, min(wide, width - x0))  # where the padding on the right begins
        for i in range((rows - 1) * c[SY] + c[Y_HIGH] - c[Y_LOW] + 1):
            line = array(band + i * c[PITCH] * channels * item)
            y = y0 + i
            start, end = left * channels, right * channels
            if y < 0 or y >= c[HEIGHT]:
                end = start
            there = array(src + (y * width + x0) * channels * item)
            for l in range(start):
                line[l] = zero
            for l in range(start, end):
                line[l] = there[l]
            for l in range(end, wide * channels):
                line[l] = zero
        return band

    return bring


@cache
def band_task(dtype):
    """One band of one image (or one strip of a long row), all groups and panels."""
    item = dtype.itemsize
    bring, activate = bringing(dtype), activating(dtype)

    @task
    def band(ctx, task, slot):
        c = ints(ctx)
        nr, k, n_all, panels, tall, by_row, by_column = c[NR], c[K], c[N], c[PANELS], c[TALL], c[DST_ROW], c[DST_COLUMN]
        runs, ao, bo, run_depth = c[RUNS], c[AO], c[BO], c[RUN_DEPTH]
        image = task // (c[BANDS] * c[STRIPS])
        r0 = task // c[STRIPS] % c[BANDS] * c[BAND_ROWS]
        q0 = task % c[STRIPS] * c[BAND_COLUMNS]
        rows, columns = min(c[BAND_ROWS], c[ROWS] - r0), min(c[BAND_COLUMNS], c[COLUMNS] - q0)
        src = bring(c, image, r0, rows, q0, columns, slot)
        dst = c[DST] + (c[DST_FIRST] + image * c[DST_IMAGE] + r0 * by_row + q0 * by_column) * item
        step = c[SX] * c[CHANNELS]
        line = c[SY] * c[PITCH] * c[CHANNELS]
        for group in range(c[GROUPS]):
            for panel in range(panels):
                last = panel + 1 == panels
                n = min(nr, n_all - panel * nr)
                wp = c[WP] + (group * panels + panel) * k * nr * item
                channel = group * n_all + panel * nr
                bias = 0 if c[BIAS] == 0 else c[BIAS] + channel * item
                for r in range(rows):
                    a = src + (r * line + group * c[DEPTH]) * item
                    to = dst + (r * by_row + channel) * item
                    for q in range(0, columns, tall):
                        call(
                            tile_of(c, last, min(tall, columns - q)), runs, ao, bo, run_depth, a + q * step * item, step, 1, wp, nr, n,
                            to + q * by_column * item, by_column, bias, 0,
                        )  # fmt: skip
        for r in range(rows if c[ACT] != 0 else 0):
            activate(c[ACT], doubles(ctx)[SLOPE], dst + r * by_row * item, columns * by_column)

    return band


@cache
def chunk_task(dtype):
    """The private dw of a chunk of units (image, band, strip), for a block of panels."""
    array, item = floats_of(dtype), dtype.itemsize
    zero = dtype.type(0)
    bring = bringing(dtype)

    @task
    def chunk(ctx, task, slot):
        c = ints(ctx)
        nr, panels, tall, runs, run_depth, by_column = c[NR], c[PANELS], c[TALL], c[RUNS], c[RUN_DEPTH], c[DST_COLUMN]
        ao, row_ao, row_bo, zeros = c[AO], c[ROW_AO], c[ROW_BO], c[ZERO]
        number = task // c[BLOCKS]
        first = task % c[BLOCKS] * c[BLOCK_PANELS]
        behind = min(first + c[BLOCK_PANELS], c[GROUPS] * panels)
        per_image = c[BANDS] * c[STRIPS]
        units = c[MB] * per_image
        size = (c[K] + 1) * nr
        step = c[SX] * c[CHANNELS]
        private = c[PRIVATES] + number * c[GROUPS] * panels * size * item
        sums = array(private + first * size * item)
        for i in range((behind - first) * size):
            sums[i] = zero
        for unit in range(number * units // c[PARTS], (number + 1) * units // c[PARTS]):
            image = unit // per_image
            r0 = unit // c[STRIPS] % c[BANDS] * c[BAND_ROWS]
            q0 = unit % c[STRIPS] * c[BAND_COLUMNS]
            rows, columns = min(c[BAND_ROWS], c[ROWS] - r0), min(c[BAND_COLUMNS], c[COLUMNS] - q0)
            src = bring(c, image, r0, rows, q0, columns, slot)
            dst = c[DST] + (image * c[DST_IMAGE] + r0 * c[DST_ROW] + q0 * by_column) * item
            for both in range(first, behind):
                group, panel = both // panels, both % panels
                last = panel + 1 == panels
                n = min(nr, c[N] - panel * nr)
                g = dst + (group * c[N] + panel * nr) * item
                own = private + both * size * item
                for u in range(runs):
                    a = src + (group * c[DEPTH] + array_i64(ao)[u]) * item
                    for i in range(0, run_depth, tall):
                        to = own + (u * run_depth + i) * nr * item
                        tile = tile_of(c, last, min(tall, run_depth - i))
                        call(tile, rows, row_ao, row_bo, columns, a + i * item, 1, step, g, by_column, n, to, nr, to, nr)
                if c[DB] != 0:
                    add_pixels(c, last, n, g, rows, zeros, row_bo, columns, own + c[K] * nr * item)

    return chunk


class Plan:
    """Bands, runs and tile of a gather, with its context."""

    def __init__(self, v, backward_weight):
        self.v = v
        run_depth = v.run_taps * v.depth
        firsts = v.tables[:, :: v.run_taps]
        in_place = (
            v.y_low >= 0 and v.x_low >= 0 and (v.rows - 1) * v.sy + v.y_high < v.height and (v.columns - 1) * v.sx + v.x_high < v.width
        )
        # a 1 x 1 filter at step 1: all pixels of all images are one row
        if (
            v.mb > 0 and v.taps == 1 and v.sy == 1 and v.sx == 1 and v.y_low == 0 and v.x_low == 0 and v.rows == v.height
            and v.columns == v.width and v.dst_row == v.dst_column * v.columns and v.dst_image == v.dst_row * v.rows
        ):  # fmt: skip
            v.columns = v.width = v.mb * v.rows * v.columns
            v.rows = v.height = v.mb = 1
        band_columns, strips, tall = v.columns, 1, MR
        if v.rows == 1 and v.mb == 1:
            wanted = max(ceil_div(v.columns * v.sx * v.channels * v.item, BAND), min(UNITS, ceil_div(v.columns, 2 * MR)), 1)
            band_columns = ceil_div(ceil_div(v.columns, wanted), MR) * MR
            strips = ceil_div(v.columns, band_columns)
        else:
            tall = ceil_div(v.columns, ceil_div(v.columns, MR))
        width = (band_columns - 1) * v.sx + v.x_high - v.x_low + 1
        pitch = v.width if in_place else width
        row_bytes = width * v.channels * v.item
        band_rows = max(1, (BAND // row_bytes - (v.y_high - v.y_low)) // v.sy)
        band_rows = max(1, min(band_rows, MAX_ROWS, v.rows, max(ceil_div(v.rows * v.mb, UNITS), 2)))
        bands = ceil_div(v.rows, band_rows)
        self.buffer_bytes = 0 if in_place else aligned(((band_rows - 1) * v.sy + v.y_high - v.y_low + 1) * row_bytes)
        ao = ((firsts[0] - v.y_low) * pitch + firsts[1] - v.x_low) * v.channels
        bo = np.arange(v.runs) * (run_depth * v.nr)
        row_ao = np.arange(band_rows) * (v.sy * pitch * v.channels)
        row_bo = np.arange(band_rows) * v.dst_row
        v.kept += [ao, bo, row_ao, row_bo]
        self.tasks, self.time = v.mb * bands * strips, v.flops / RATE[v.item] + 0.3 * v.mb * v.rows * v.columns * v.groups * v.n
        if backward_weight:
            v.divide(self.tasks, 1)
            self.tasks = v.parts * v.blocks
            tall = ceil_div(run_depth, ceil_div(run_depth, MR))
            v.need_tiles({1, tall, run_depth % tall or tall}, masked=True)
        else:
            lengths = {min(band_columns, v.columns), v.columns - (strips - 1) * band_columns}
            v.need_tiles({height for n in lengths for height in (min(tall, n), n % tall) if height}, narrow=True)
        self.words = v.template(
            self.buffer_bytes, band_rows, bands, band_columns, strips, in_place, pitch, v.y_low, v.y_high, v.x_low, v.x_high, tall, ao, bo,
            run_depth, row_ao, row_bo,
        )  # fmt: skip


def _program(plan, pass_, shared, first=0, taps=0, place=None):
    """The program of a gather; its weights are packed with those of `taps` taps in all, from number `first` on, by the first gather."""
    v, words = plan.v, plan.words.tolist()
    if pass_ == "backward_weight":
        words[SRC], words[DST], words[DW], words[DB], words[PRIVATES], words[BUFFER] = (*map(Argument, range(5)), Argument(4, shared))
        stages = (
            Stage(chunk_task(v.dtype), plan.tasks, plan.time, plan.buffer_bytes),
            Stage(sum_private(v.dtype), v.groups * v.panels, v.sum_time),
        )
    else:
        words[SRC], words[W], words[BIAS], words[DST] = map(Argument, range(4))
        words[WP], words[BUFFER] = Argument(4, first * v.depth * v.nr * v.item), Argument(4, shared)
        words[TAPS], words[K], words[PLACE] = taps, taps * v.depth, address(place)
        stages = [Stage(band_task(v.dtype), plan.tasks, plan.time, plan.buffer_bytes)]
        if first == 0 and v.taps:
            stages.insert(0, Stage(pack_weights(v.dtype), v.groups * v.panels, 0.2 * v.groups * v.n * taps * v.depth))
    return program(words, *stages, shared=shared, keep=(v, place))


@lru_cache(4096)
def plans(pass_, p):
    """(bytes shared, bytes per thread, programs)"""
    gathers = backward_gathers(p) if pass_ == "backward_input" else [forward_gather(p, p.act if pass_ == "forward" else 0)]
    made = [Plan(v, pass_ == "backward_weight") for v in gathers]
    per_thread = max((plan.buffer_bytes for plan in made), default=0)
    if pass_ == "backward_weight":
        shared = made[0].v.private_bytes
        return shared, per_thread, [_program(made[0], pass_, shared)]
    # the residues of backward_input share packed panels, so that the weights are read once
    taps, place = sum(plan.v.taps for plan in made), np.full(p.kh * p.kw, -1)
    firsts = np.cumsum([0, *(plan.v.taps for plan in made)]).tolist()
    for first, plan in zip(firsts, made):
        place[plan.v.tables[2]] = first + np.arange(plan.v.taps)
    v = made[0].v
    shared = aligned(v.groups * v.panels * taps * v.depth * v.nr * v.item)
    return shared, per_thread, [_program(plan, pass_, shared, first, taps, place) for first, plan in zip(firsts, made)]


def scratch(pass_, p):
    """Packed weights or private copies of dw, shared; a padded band per thread."""
    return plans(pass_, p)[:2]


def forward(p, x, w, b, out, scratch):
    if out.size:
        for gather in plans("forward", p)[2]:
            gather(x, w, b, out, scratch)


def backward_input(p, g, w, dx, scratch):
    if dx.size:
        for gather in plans("backward_input", p)[2]:
            gather(g, w, None, dx, scratch)


def backward_weight(p, x, g, dw, db, scratch):
    plans("backward_weight", p)[2][0](x, g, dw, db, scratch)
