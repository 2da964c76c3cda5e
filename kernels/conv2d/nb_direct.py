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
         mr is chosen so that the tiles of a row are equal. Where a row leaves registers free, a tile takes the same pixels of two rows.

Loops    tasks: as many images, rows of one, or pixels of a long row as stay in L2 x blocks of panels
         panels of nr channels           the panel of weights streams from L2
         images, rows, tiles of the row, taps, depth
         Few pixels under large weights: tasks are panels, which pack their weights into L2 and use them up there; all images pass by, padded once
         beforehand. The residues of backward_input share the packed panel.
         backward_weight: tasks are chunks of (image, band) x blocks of panels with a private dw each, summed in order afterwards.
Edges    tiles have exactly the rows they need, and store or read only the columns there are. Where the gradient of a strided 1 x 1 filter is
         zero, a band's task zeroes it before it writes the pixels between.
Cost     2 * mb * oc * oh * ow * ic / groups * kh * kw flops; (mr + nv) loads per mr * nv FMA.
Loses    to nb_im2col where output rows are much shorter than mr, and for few channels per group.
After    Zhang, Franchetti, Low, ICML 2018 (no packing of the image); Georganas et al., SC18, arXiv:1808.05567 (batch-reduce tiles).
"""

from functools import cache, lru_cache

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, array_i64, doubles, floats_of, inline, ints, program, task
from lamella.kernels._common.nb_tile import MR, call, call_pair

# isort: off
from lamella.kernels.conv2d._nb_gather import (
    ACT, BIAS, BLOCK_PANELS, BLOCKS, BUFFER, BUFFER_BYTES, CHANNELS, COLUMNS, DB, DEPTH, DST, DST_COLUMN, DST_FIRST, DST_IMAGE, DST_ROW, DW,
    GROUPS, HEIGHT, K, MAX_ROWS, MB, N, NR, OWN, PACKED, PANELS, PARTS, PRIVATES, RATE, ROWS, RUNS, SLOPE, SRC, SX, SY, W, WIDTH, WP, ZERO,
    activating, add_pixels, address, aligned, backward_gathers, ceil_div, copying, forward_gather, pack_weights, packing_weights, pair_of,
    share_weights, sum_private, tile_of,
)  # fmt: skip
# isort: on

SOURCE = 384 * 1024  # bytes that a task reads of images: with a panel of weights, inside L2
BAND = 160 * 1024  # bytes of an image band of backward_weight: with what is multiplied with it, well inside L2
UNITS = 16  # tasks wanted at least, so that a few threads share the work evenly
PANEL = 640 * 1024  # bytes of a panel of weights that stays in L2 while all images pass
FEW = 4 << 20  # bytes of those images at most
LARGE = 1 << 20  # bytes of weights from which that pays
PARTS_AT_MOST = 4  # gathers that share a panel

# words of the context, beside those of the Gather (of the first part)
(
    BAND_ROWS, BANDS, BAND_COLUMNS, STRIPS, IN_PLACE, PITCH, Y_LOW, Y_HIGH, X_LOW, X_HIGH, IMAGES, FILL, ROW_AO, ROW_BO, PANEL_AT, PANEL_BYTES,
    COUNT, PART,
) = range(OWN, OWN + 18)  # fmt: skip
# words of each part, a gather, from PART on
P_ROWS, P_COLUMNS, P_FIRST, TALL, P_RUNS, AO, BO, RUN_DEPTH, TAP, CORNER, FIELDS = range(11)


@cache
def bringing(dtype):
    """The function that finds or makes a band."""
    copy, item = copying(dtype), dtype.itemsize

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
            y = y0 + i
            begin, end = left, right
            if y < 0 or y >= c[HEIGHT]:
                begin = end = wide
            there = src + (y * width + x0 + begin) * channels * item
            copy(band + i * c[PITCH] * channels * item, begin * channels, there, (end - begin) * channels, (wide - end) * channels)
        return band

    return bring


@cache
def multiplying(dtype):
    """The function that computes a panel of channels for all pixels of a band."""
    item = dtype.itemsize

    @inline
    def band_rows(c, part, last, n, band, to, rows, columns, wp, bias):
        tall, runs, ao, bo, depth = c[part + TALL], c[part + P_RUNS], c[part + AO], c[part + BO], c[part + RUN_DEPTH]
        nr, step, line, by_row, by_column = c[NR], c[SX] * c[CHANNELS], c[SY] * c[PITCH] * c[CHANNELS], c[DST_ROW], c[DST_COLUMN]
        for r in range(0, rows, 2):
            for q in range(0, columns, tall):
                height = min(tall, columns - q)
                a, at = band + (r * line + q * step) * item, to + (r * by_row + q * by_column) * item
                two = pair_of(c, last, height)
                if r + 1 < rows and two != 0:
                    call_pair(two, runs, ao, bo, depth, a, step, 1, wp, nr, n, at, by_column, bias, 0, line, by_row)
                else:
                    for h in range(min(2, rows - r)):
                        call(
                            tile_of(c, last, height), runs, ao, bo, depth, a + h * line * item, step, 1, wp, nr, n, at + h * by_row * item,
                            by_column, bias, 0,
                        )  # fmt: skip

    return band_rows


@cache
def band_task(dtype):
    """A block of panels for some images, for a band of one, or for a strip of a long row."""
    item = dtype.itemsize
    bring, copy, band_rows, activate = bringing(dtype), copying(dtype), multiplying(dtype), activating(dtype)

    @task
    def band(ctx, task, slot):
        c = ints(ctx)
        nr, n_all, panels, by_row, by_column, per_task = c[NR], c[N], c[PANELS], c[DST_ROW], c[DST_COLUMN], c[IMAGES]
        first = task % c[BLOCKS] * c[BLOCK_PANELS]
        behind = min(first + c[BLOCK_PANELS], c[GROUPS] * panels)
        unit = task // c[BLOCKS]
        q0 = unit % c[STRIPS] * c[BAND_COLUMNS]
        r0 = unit // c[STRIPS] % c[BANDS] * c[BAND_ROWS]
        image0 = unit // (c[STRIPS] * c[BANDS]) * per_task
        images = min(per_task, c[MB] - image0)
        rows, columns = min(c[BAND_ROWS], c[ROWS] - r0), min(c[BAND_COLUMNS], c[COLUMNS] - q0)
        to = c[DST] + (c[DST_FIRST] + image0 * c[DST_IMAGE] + r0 * by_row + q0 * by_column) * item
        by_image = c[DST_IMAGE] * item
        src = c[BUFFER] + slot * per_task * c[BUFFER_BYTES]
        by_source = c[BUFFER_BYTES]
        for i in range(images):
            there = bring(c, image0 + i, r0, rows, q0, columns, slot * per_task + i)
            if i == 0 and c[IN_PLACE] != 0:
                src, by_source = there, c[HEIGHT] * c[WIDTH] * c[CHANNELS] * item
            if c[FILL] != 0:  # the pixels between those of the grid, and up to the next row
                start, end = r0 * by_row, c[DST_IMAGE] if r0 + rows == c[ROWS] else (r0 + rows) * by_row
                copy(c[DST] + (image0 + i) * by_image + start * item, end - start, 0, 0, 0)
        for both in range(first, behind):
            group, panel = both // panels, both % panels
            channel = group * n_all + panel * nr
            wp = c[WP] + (both * c[PACKED] + c[PART + TAP]) * c[DEPTH] * nr * item
            bias = 0 if c[BIAS] == 0 else c[BIAS] + channel * item
            for i in range(images):
                band_rows(
                    c, PART, 1 if panel + 1 == panels else 0, min(nr, n_all - panel * nr), src + i * by_source + group * c[DEPTH] * item,
                    to + i * by_image + channel * item, rows, columns, wp, bias,
                )  # fmt: skip
        if c[ACT] != 0:
            low = first // panels * n_all + first % panels * nr
            high = behind // panels * n_all + behind % panels * nr
            whole = c[BLOCKS] == 1  # channels, so rows are one run
            for i in range(images):
                for r in range(rows):
                    for q in range(1 if whole else columns):
                        at = to + i * by_image + (r * by_row + q * by_column + low) * item
                        activate(c[ACT], doubles(ctx)[SLOPE], at, columns * by_column if whole else min(high, by_column) - low)

    return band


@cache
def pad_task(dtype):
    """The padded copy of an image, and zeros for the pixels that no part computes."""
    bring, copy, item = bringing(dtype), copying(dtype), dtype.itemsize

    @task
    def pad(ctx, task, slot):
        c = ints(ctx)
        if c[IN_PLACE] == 0:
            bring(c, task, 0, 1, 0, 1, task)
        if c[FILL] != 0:
            copy(c[DST] + task * c[DST_IMAGE] * item, c[DST_IMAGE], 0, 0, 0)

    return pad


@cache
def panel_task(dtype):
    """A panel of weights: packed, and used up by all images."""
    item = dtype.itemsize
    pack, band_rows, activate = packing_weights(dtype), multiplying(dtype), activating(dtype)

    @task
    def panel(ctx, task, slot):
        c = ints(ctx)
        nr, channels = c[NR], c[CHANNELS]
        n, last = min(nr, c[N] - task * nr), 1 if task + 1 == c[PANELS] else 0
        packed = c[PANEL_AT] + slot * c[PANEL_BYTES]
        pack(c, 0, task, packed)
        bias = 0 if c[BIAS] == 0 else c[BIAS] + task * nr * item
        src, by_source = c[BUFFER], c[BUFFER_BYTES]
        if c[IN_PLACE] != 0:
            src, by_source = c[SRC], c[HEIGHT] * c[WIDTH] * channels * item
        for image in range(c[MB]):
            for part in range(PART, PART + c[COUNT] * FIELDS, FIELDS):
                rows, columns = c[part + P_ROWS], c[part + P_COLUMNS]
                to = c[DST] + (c[part + P_FIRST] + image * c[DST_IMAGE] + task * nr) * item
                wp = packed + c[part + TAP] * c[DEPTH] * nr * item
                band_rows(c, part, last, n, src + image * by_source + c[part + CORNER] * item, to, rows, columns, wp, bias)
                for i in range(rows * columns if c[ACT] != 0 else 0):
                    activate(c[ACT], doubles(ctx)[SLOPE], to + (i // columns * c[DST_ROW] + i % columns * c[DST_COLUMN]) * item, n)

    return panel


@cache
def chunk_task(dtype):
    """The private dw of a chunk of units (image, band, strip), for a block of panels."""
    array, item = floats_of(dtype), dtype.itemsize
    zero = dtype.type(0)
    bring = bringing(dtype)

    @task
    def chunk(ctx, task, slot):
        c = ints(ctx)
        nr, panels, runs, by_column = c[NR], c[PANELS], c[RUNS], c[DST_COLUMN]
        tall, ao, run_depth = c[PART + TALL], c[PART + AO], c[PART + RUN_DEPTH]
        row_ao, row_bo, zeros = c[ROW_AO], c[ROW_BO], c[ZERO]
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


def in_place(v):
    """Whether the source can be read in place; a 1 x 1 filter at step 1 makes all pixels of all images one long row."""
    inside = v.y_low >= 0 and v.x_low >= 0 and (v.rows - 1) * v.sy + v.y_high < v.height and (v.columns - 1) * v.sx + v.x_high < v.width
    if (
        v.mb > 0 and v.taps == 1 and v.sy == 1 and v.sx == 1 and v.y_low == 0 and v.x_low == 0 and v.rows == v.height
        and v.columns == v.width and v.dst_row == v.dst_column * v.columns and v.dst_image == v.dst_row * v.rows
    ):  # fmt: skip
        v.columns = v.width = v.mb * v.rows * v.columns
        v.rows = v.height = v.mb = 1
    return inside


def part_words(v, pitch, tall, corner=0):
    """The words of a part; `corner`: elements from where the source begins to its first pixel."""
    run_depth = v.run_taps * v.depth
    firsts = v.tables[:, :: v.run_taps]
    ao = ((firsts[0] - v.y_low) * pitch + firsts[1] - v.x_low) * v.channels
    bo = np.arange(v.runs) * (run_depth * v.nr)
    v.kept += [ao, bo]
    return v.rows, v.columns, v.dst_first, tall, v.runs, address(ao), address(bo), run_depth, v.first_tap, corner


def equal_tiles(columns):
    """Pixels of the tiles of a row."""
    return ceil_div(columns, ceil_div(columns, MR))


class Plan:
    """Bands, runs and tile of a gather, with its context."""

    def __init__(self, v, backward_weight=False, fill=False):
        self.v, self.fill = v, fill
        self.inside = in_place(v)
        self.long_row = v.rows == 1 and v.mb == 1
        self.images, self.band_columns, tall = 1, v.columns, MR if self.long_row else equal_tiles(v.columns)
        (self.cut_weight if backward_weight else self.cut)()
        self.bands, self.strips = ceil_div(v.rows, self.band_rows), ceil_div(v.columns, self.band_columns)
        self.buffer_bytes = 0 if self.inside else aligned(self.source_rows(self.band_rows) * self.source_row(self.band_columns))
        pitch = v.width if self.inside else self.source_row(self.band_columns) // (v.channels * v.item)
        row_ao = np.arange(self.band_rows) * (v.sy * pitch * v.channels)
        row_bo = np.arange(self.band_rows) * v.dst_row
        self.time = v.flops / RATE[v.item] + 0.3 * v.mb * v.rows * v.columns * v.groups * v.n
        if backward_weight:
            v.divide(v.mb * self.bands * self.strips, 1)
            self.tasks = v.parts * v.blocks
            depth = v.run_taps * v.depth
            tall = equal_tiles(depth)
            v.need_tiles({1, tall, depth % tall or tall}, masked=True)
        else:
            self.tasks = ceil_div(v.mb, self.images) * self.bands * self.strips * v.blocks
            lengths = {min(self.band_columns, v.columns), v.columns - (self.strips - 1) * self.band_columns}
            v.need_tiles({height for n in lengths for height in (min(tall, n), n % tall) if height}, narrow=True, pairs=self.band_rows > 1)
        self.words = v.template(
            self.buffer_bytes, self.band_rows, self.bands, self.band_columns, self.strips, self.inside, pitch, v.y_low, v.y_high, v.x_low,
            v.x_high, self.images, fill, row_ao, row_bo, 0, 0, 1, *part_words(v, pitch, tall),
        )  # fmt: skip
        v.kept += [row_ao, row_bo]

    def source_row(self, columns):
        """Bytes of the source row that so many output pixels read."""
        return ((columns - 1) * self.v.sx + self.v.x_high - self.v.x_low + 1) * self.v.channels * self.v.item

    def source_rows(self, rows):
        return (rows - 1) * self.v.sy + self.v.y_high - self.v.y_low + 1

    def cut(self):
        """Tasks: the images, rows or columns whose source fits SOURCE, for all panels; then halves of whatever is read again at less cost, until
        there are enough tasks."""
        v, panels = self.v, self.v.groups * self.v.panels
        panel = v.k * v.nr * v.item
        v.block_panels, self.band_rows = panels, 1
        if self.long_row:
            self.band_columns = max(1, SOURCE // (v.sx * v.channels * v.item * MR)) * MR
        else:
            self.band_rows = max(1, min(v.rows, (SOURCE // self.source_row(v.columns) - (v.y_high - v.y_low)) // v.sy))
            if self.band_rows == v.rows:
                self.images = max(1, min(v.mb, SOURCE // (self.source_rows(v.rows) * self.source_row(v.columns))))
        while True:
            blocks = ceil_div(panels, v.block_panels)
            if ceil_div(v.mb, self.images) * ceil_div(v.rows, self.band_rows) * ceil_div(v.columns, self.band_columns) * blocks >= UNITS:
                break
            source = self.images * self.source_rows(self.band_rows) * self.source_row(min(self.band_columns, v.columns))
            few_rows = self.images * self.band_rows <= 2 and not self.long_row
            if v.block_panels > 1 and not self.fill and (v.block_panels * panel >= source or few_rows):
                v.block_panels = ceil_div(v.block_panels, 2)
            elif self.images > 1:
                self.images = ceil_div(self.images, 2)
            elif self.band_rows > 2:
                self.band_rows = ceil_div(self.band_rows, 2)
            elif self.long_row and self.band_columns > MR:
                self.band_columns = ceil_div(self.band_columns, 2 * MR) * MR
            else:
                break
        v.blocks = ceil_div(panels, v.block_panels)
        self.band_rows = ceil_div(v.rows, ceil_div(v.rows, self.band_rows))  # equal bands, of pairs of rows
        self.band_rows = min(self.band_rows + self.band_rows % 2, v.rows)

    def cut_weight(self):
        """Bands of rows whose source stays in L2, or strips of a single long row."""
        v = self.v
        if self.long_row:
            wanted = max(ceil_div(v.columns * v.sx * v.channels * v.item, BAND), min(UNITS, ceil_div(v.columns, 2 * MR)), 1)
            self.band_columns = ceil_div(ceil_div(v.columns, wanted), MR) * MR
        self.band_rows = (BAND // self.source_row(self.band_columns) - (v.y_high - v.y_low)) // v.sy
        self.band_rows = max(1, min(self.band_rows, MAX_ROWS, v.rows, max(ceil_div(v.rows * v.mb, UNITS), 2)))


class Few:
    """Few pixels under large weights: the gathers of a pass, `parts`, use up each panel of weights as soon as it is packed."""

    def __init__(self, gathers):
        self.parts = [v for v in gathers if v.taps]
        fill = len(self.parts) < len(gathers)
        v = self.v = self.parts[0]
        if len(gathers) == 1:
            in_place(v)  # perhaps one long row
        # what all parts read of an image
        y_low, x_low = min(u.y_low for u in self.parts), min(u.x_low for u in self.parts)
        y_high, x_high = max((u.rows - 1) * u.sy + u.y_high for u in self.parts), max((u.columns - 1) * u.sx + u.x_high for u in self.parts)
        inside = y_low >= 0 and x_low >= 0 and y_high < v.height and x_high < v.width
        if inside:
            y_low = x_low = 0
        pitch = v.width if inside else x_high - x_low + 1
        band = (y_high - y_low + 1) * (x_high - x_low + 1) * v.channels * v.item
        self.read = v.mb * band
        self.panel_bytes = v.packed_bytes // v.panels
        self.padded_bytes = 0 if inside else v.mb * aligned(band)
        self.pads, self.images = fill or not inside, v.mb
        words, heights = [], set()
        for u in self.parts:
            tall = equal_tiles(u.columns)
            heights |= {tall, u.columns % tall or tall}
            corner = ((u.y_low - y_low) * pitch + u.x_low - x_low) * v.channels
            words += part_words(u, pitch, tall, corner)
        self.heights = heights
        self.time = sum(u.flops for u in self.parts) / RATE[v.item] + 0.1 * v.packed_bytes
        self.own = (
            0 if inside else aligned(band), 1, 1, 1, 1, inside, pitch, y_low, y_high, x_low, x_high, 1, fill, 0, 0, 0, aligned(self.panel_bytes),
            len(self.parts), *words,
        )  # fmt: skip

    def pays(self):
        v = self.v
        return self.panel_bytes <= PANEL and self.read <= FEW and v.panels >= 4 and v.panels * self.panel_bytes >= max(LARGE, self.read)

    def program(self):
        v = self.v
        v.need_tiles(self.heights, narrow=True, pairs=True)
        words = v.template(*self.own).tolist()
        words[SRC], words[W], words[BIAS], words[DST], words[BUFFER] = map(Argument, range(5))
        words[PANEL_AT] = Argument(4, self.padded_bytes)
        stages = [Stage(panel_task(v.dtype), v.panels, self.time, aligned(self.panel_bytes))]
        if self.pads:
            stages.insert(0, Stage(pad_task(v.dtype), self.images, 0.1 * self.padded_bytes))
        return program(words, *stages, shared=self.padded_bytes, keep=self)


def _program(plan, pass_, shared):
    """The program of a gather; the first one with taps packs the weights for all."""
    v, words = plan.v, plan.words.tolist()
    if pass_ == "backward_weight":
        words[SRC], words[DST], words[DW], words[DB], words[PRIVATES], words[BUFFER] = (*map(Argument, range(5)), Argument(4, shared))
        stages = [
            Stage(chunk_task(v.dtype), plan.tasks, plan.time, plan.buffer_bytes),
            Stage(sum_private(v.dtype), v.groups * v.panels, v.sum_time),
        ]
    else:
        words[SRC], words[W], words[BIAS], words[DST], words[WP], words[BUFFER] = (*map(Argument, range(5)), Argument(4, shared))
        stages = [Stage(band_task(v.dtype), plan.tasks, plan.time, plan.images * plan.buffer_bytes)]
        if v.taps and v.first_tap == 0:
            stages.insert(0, Stage(pack_weights(v.dtype), v.groups * v.panels, v.pack_time))
    return program(words, *stages, shared=shared, keep=v)


@lru_cache(4096)
def plans(pass_, p):
    """(bytes shared, bytes per thread, programs)"""
    backward = pass_ == "backward_input"
    gathers = list(backward_gathers(p)) if backward else [forward_gather(p, p.act if pass_ == "forward" else 0)]
    if not gathers or gathers[0].mb * gathers[0].rows * gathers[0].columns == 0 and pass_ != "backward_weight":
        return 0, 0, []
    if pass_ == "backward_weight":
        plan = Plan(gathers[0], True)
        shared = plan.v.private_bytes
        return shared, plan.buffer_bytes, [_program(plan, pass_, shared)]
    share_weights(gathers)
    reading = [v for v in gathers if v.taps]
    if p.groups == 1 and reading and not (backward and p.sh * p.sw > PARTS_AT_MOST):
        few = Few(gathers)
        if few.pays():
            return few.padded_bytes, aligned(few.panel_bytes), [few.program()]
    fill = len(reading) == 1 < len(gathers)
    made = [Plan(v, fill=fill) for v in (reading if fill else gathers)]
    shared = made[0].v.packed_bytes
    per_thread = max(plan.images * plan.buffer_bytes for plan in made)
    return shared, per_thread, [_program(plan, pass_, shared) for plan in made]


def scratch(pass_, p):
    """Packed weights or private copies of dw, shared; padded bands per thread. Few pixels under large weights: padded images shared, packed weights
    per thread."""
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
