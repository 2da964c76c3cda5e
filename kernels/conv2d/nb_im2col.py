"""Convolution as a matrix product over all pixels, packed a block of pixels at a time; the Numba twin of cy_im2col.

    dst[pixel, :] = sum over l of  A[pixel, l] * wp[l, :]       A[pixel, (t, c)] = src[n, r*sy + ty[t], q*sx + tx[t], c]   (gather.pxd)
    dw[l, :] = sum over pixels of  A[pixel, l] * g[pixel, :]

Shapes   images (mb, c, h, w) in channels-last memory, weights (oc, ic / groups, kh, kw)
Packed   wp (gather.pxd), once per call; ap[pixel][l], a block of pixels (backward_weight: and a range of l) at a time, per thread.
         cy_im2col interleaves the pixels of a tile for the other two passes as well; here every pass copies rows,
         runs of taps and channels at once, and the tile reads them through its row stride.
Tile     mr pixels x nr output channels, depth taps x channels; pixels of a tile may lie in several rows and images
         backward_weight: mr of l x nr output channels, depth the pixels of the block

Loops    tasks: blocks of pixels x blocks of panels
         groups, ranges of l             the packed block stays in L2; sums of later ranges are added in dst
         panels of nr channels           the panel of weights streams past the block
         tiles of mr pixels
         backward_weight: tasks are chunks of pixels x ranges of l x blocks of panels; private copies of dw are summed in order.
Edges    tiles have exactly the rows they need, and store or read only the columns there are; they go through a buffer, pixel by
         pixel, where the output grid is not contiguous.
Cost     2 * mb * oc * oh * ow * ic / groups * kh * kw flops, and one packed copy of every value of A per group and block of panels
Gains    over nb_direct where output rows are short: its tiles end with the row.
Loses    where a run of taps is short (few channels per group): copying it costs more than multiplying it.
After    Chetlur et al. (cuDNN), arXiv:1410.0759: the lowering happens while packing, not in memory.
"""

from functools import cache, lru_cache

from lamella.kernels._common.nb import Argument, Stage, array_i64, doubles, floats_of, inline, ints, program, task
from lamella.kernels._common.nb_simd import prefetch_l1
from lamella.kernels._common.nb_tile import MR, call

# isort: off
from lamella.kernels.conv2d._nb_gather import (
    ACT, BIAS, BLOCK_PANELS, BLOCKS, BUFFER, BUFFER_BYTES, CHANNELS, CHUNKS, COLUMNS, DB, DEPTH, DST, DST_COLUMN, DST_FIRST, DST_IMAGE, DST_ROW, DW,
    GROUPS, HEIGHT, K, N, NR, OWN, PACKED, PANELS, PARTS, PRIVATE, PRIVATES, RATE, ROWS, RUN_TAPS, SLOPE, SRC, SX, SY, TX, TY, W, WIDTH, WP, ZERO,
    activating, add_pixels, aligned, backward_gathers, ceil_div, copying, forward_gather, pack_weights, share_weights, sum_private,
    tile_of,
)  # fmt: skip
# isort: on

BLOCK = 320 * 1024  # bytes of packed pixels: with a panel of weights, inside L2
RANGE = 768  # values of l in a block of the other passes at most
AHEAD = 8  # pixels that are fetched ahead
PIXELS = 512  # pixels of a block of backward_weight at most
UNITS = 16  # tasks wanted at least

# words of the context
COUNT, BLOCK_PIXELS, PITCH, CONTIGUOUS, RANGES, SPAN, SHARES = range(OWN, OWN + 7)


@cache
def packing(dtype):
    """The function that packs the values l0 to l1 of A for `count` pixels, one row each."""
    copy, item = copying(dtype), dtype.itemsize

    @inline
    def pack_rows(c, pixel, count, group, l0, l1, ap):
        rows, columns, height, width, channels, depth = c[ROWS], c[COLUMNS], c[HEIGHT], c[WIDTH], c[CHANNELS], c[DEPTH]
        sy, sx, per_run, step = c[SY], c[SX], c[RUN_TAPS], c[PITCH]
        ty, tx, src = array_i64(c[TY]), array_i64(c[TX]), c[SRC] + group * depth * item
        length, ahead = per_run * depth, AHEAD * sx * channels * item
        image, r, q = pixel // (rows * columns), pixel // columns % rows, pixel % columns
        for i in range(count):
            at = i * step - l0
            for u in range(l0 // length, (l1 + length - 1) // length):
                start, end = max(l0 - u * length, 0), min(l1 - u * length, length)
                y, x = r * sy + ty[u * per_run], q * sx + tx[u * per_run]
                # the part of the run inside the image
                low = min(max(-x * depth, start), end)
                high = max(min((width - x) * depth, end), low)
                if y < 0 or y >= height:
                    low = high = end
                there = src + ((image * height + y) * width + x) * channels * item
                for l in range(0, (high - low) * item, 64):  # of a few pixels on: pixels at a step lie apart
                    prefetch_l1(there + low * item + ahead + l)
                copy(ap + (at + u * length + start) * item, low - start, there + low * item, high - low, end - high)
            q += 1
            if q == columns:
                q = 0
                r += 1
                if r == rows:
                    r = 0
                    image += 1

    return pack_rows


@cache
def moving(dtype):
    """The function that brings a tile from the buffer to its pixels, or back."""
    copy, item = copying(dtype), dtype.itemsize

    @inline
    def move(c, pixel, count, channel, n, buffer, back):
        rows, columns = c[ROWS], c[COLUMNS]
        for i in range(count):
            p, there = pixel + i, buffer + i * c[NR] * item
            at = (
                c[DST_FIRST]
                + channel
                + p // (rows * columns) * c[DST_IMAGE]
                + p // columns % rows * c[DST_ROW]
                + p % columns * c[DST_COLUMN]
            )
            at = c[DST] + at * item
            copy(there if back else at, 0, at if back else there, n, 0)

    return move


@cache
def block_task(dtype):
    """A block of panels for a block of pixels."""
    item = dtype.itemsize
    pack_rows, move, activate = packing(dtype), moving(dtype), activating(dtype)

    @task
    def block(ctx, task, slot):
        c = ints(ctx)
        nr, k, n_all, panels, step, zeros, span = c[NR], c[K], c[N], c[PANELS], c[PITCH], c[ZERO], c[SPAN]
        by_column, contiguous = c[DST_COLUMN], c[CONTIGUOUS]
        first = task % c[BLOCKS] * c[BLOCK_PANELS]
        behind = min(first + c[BLOCK_PANELS], c[GROUPS] * panels)
        pixel = task // c[BLOCKS] * c[BLOCK_PIXELS]
        count = min(c[BLOCK_PIXELS], c[COUNT] - pixel)
        ap = c[BUFFER] + slot * c[BUFFER_BYTES]
        buffer = ap + c[BLOCK_PIXELS] * step * item  # a tile on its way to pixels that are not contiguous
        start = first
        while start < behind:  # the panels of a group read the same block
            group = start // panels
            end = min(behind, (group + 1) * panels)
            for part in range(c[RANGES]):
                l0, l1 = part * span, min((part + 1) * span, k)
                pack_rows(c, pixel, count, group, l0, l1, ap)
                for both in range(start, end):
                    last = both + 1 == (group + 1) * panels
                    n = min(nr, n_all - both % panels * nr)
                    wp = c[WP] + (both * c[PACKED] * c[DEPTH] + l0) * nr * item
                    channel = group * n_all + both % panels * nr
                    bias = 0 if c[BIAS] == 0 else c[BIAS] + channel * item
                    for i in range(0, count, MR):
                        height = min(MR, count - i)
                        tile, a = tile_of(c, last, height), ap + i * step * item
                        if contiguous != 0:
                            to = c[DST] + (c[DST_FIRST] + (pixel + i) * by_column + channel) * item
                            call(
                                tile, 1, zeros, zeros, l1 - l0, a, step, 1, wp, nr, n, to, by_column,
                                to if part > 0 else bias, by_column if part > 0 else 0,
                            )  # fmt: skip
                        else:
                            if part > 0:
                                move(c, pixel + i, height, channel, n, buffer, True)
                            call(
                                tile, 1, zeros, zeros, l1 - l0, a, step, 1, wp, nr, n, buffer, nr,
                                buffer if part > 0 else bias, nr if part > 0 else 0,
                            )  # fmt: skip
                            move(c, pixel + i, height, channel, n, buffer, False)
            start = end
        if c[ACT] != 0 and c[BLOCKS] == 1:
            activate(c[ACT], doubles(ctx)[SLOPE], c[DST] + pixel * by_column * item, count * by_column)
        elif c[ACT] != 0:
            low = first // panels * n_all + first % panels * nr
            high = min(behind // panels * n_all + behind % panels * nr, c[GROUPS] * n_all)
            for i in range(pixel, pixel + count):
                activate(c[ACT], doubles(ctx)[SLOPE], c[DST] + (i * by_column + low) * item, high - low)

    return block


@cache
def chunk_task(dtype):
    """The private dw of a chunk of pixels, for a part of the ranges and a block of panels."""
    array, item = floats_of(dtype), dtype.itemsize
    zero = dtype.type(0)
    pack_rows = packing(dtype)

    @task
    def chunk(ctx, task, slot):
        c = ints(ctx)
        nr, k, step, panels, zeros, by_column = c[NR], c[K], c[PITCH], c[PANELS], c[ZERO], c[DST_COLUMN]
        number = task // (c[SHARES] * c[BLOCKS])
        share = task // c[BLOCKS] % c[SHARES]
        first_range, behind_range = share * c[RANGES] // c[SHARES], (share + 1) * c[RANGES] // c[SHARES]
        low, high = first_range * c[SPAN], min(behind_range * c[SPAN], k)
        first = task % c[BLOCKS] * c[BLOCK_PANELS]
        behind = min(first + c[BLOCK_PANELS], c[GROUPS] * panels)
        size = (k + 1) * nr
        ap = c[BUFFER] + slot * c[BUFFER_BYTES]
        private = c[PRIVATES] + number * c[GROUPS] * panels * size * item
        start, end = number * c[COUNT] // c[PARTS], (number + 1) * c[COUNT] // c[PARTS]
        for both in range(first, behind):  # the first block of pixels stores its sums, but for those of db
            sums = array(private + both * size * item)
            for i in range(low * nr if start == end else high * nr, size if high == k else high * nr):
                sums[i] = zero
        for pixel in range(start, end, c[BLOCK_PIXELS]):
            count = min(c[BLOCK_PIXELS], end - pixel)
            both = first
            while both < behind:  # the panels of a group read the same block
                group = both // panels
                behind_group = min(behind, (group + 1) * panels)
                for l0 in range(low, high, c[SPAN]):
                    l1 = min(l0 + c[SPAN], k)
                    tiles = (l1 - l0 + MR - 1) // MR
                    mr = (l1 - l0 + tiles - 1) // tiles
                    pack_rows(c, pixel, count, group, l0, l1, ap)
                    for panel in range(both, behind_group):
                        last = panel + 1 == (group + 1) * panels
                        n = min(nr, c[N] - panel % panels * nr)
                        g = c[DST] + (pixel * by_column + group * c[N] + panel % panels * nr) * item
                        sums = private + panel * size * item
                        for i in range(l0, l1, mr):
                            to = sums + i * nr * item
                            call(
                                tile_of(c, last, min(mr, l1 - i)), 1, zeros, zeros, count, ap + (i - l0) * item, 1, step, g, by_column, n, to, nr,
                                0 if pixel == start else to, nr,
                            )  # fmt: skip
                        if c[DB] != 0 and l1 == k:
                            add_pixels(c, last, n, g, 1, zeros, zeros, count, sums + k * nr * item)
                both = behind_group

    return chunk


class Plan:
    """A gather cut into blocks (chunks, for backward_weight), with its context."""

    def __init__(self, v, backward_weight):
        self.v, self.count = v, v.mb * v.rows * v.columns
        contiguous = v.dst_row == v.dst_column * v.columns and v.dst_image == v.dst_row * v.rows
        shares = 0
        panels = v.groups * v.panels
        work = v.flops / RATE[v.item]
        if backward_weight:
            pixels = max(1, min(PIXELS, self.count))
            span = max(1, BLOCK // (pixels * v.item * MR)) * MR
            span = ceil_div(ceil_div(v.k, ceil_div(v.k, span)), MR) * MR
        else:
            span = ceil_div(v.k, max(ceil_div(v.k, RANGE), 1))
        ranges = ceil_div(v.k, span) if span else 1
        step = (span * v.item // 64 + 1 | 1) * 64 // v.item  # an odd number of cache lines: rows do not share L1's sets
        if backward_weight:
            v.parts = max(1, min(CHUNKS, self.count // PIXELS, PRIVATE // (panels * (v.k + 1) * v.nr * v.item)))
            wanted = ceil_div(UNITS, v.parts)
            shares = min(ranges, wanted)
            v.block_panels = ceil_div(panels, min(panels, ceil_div(wanted, shares)))
            v.blocks = ceil_div(panels, v.block_panels)
            self.tasks, self.time = v.parts * shares * v.blocks, work + 0.1 * self.count * v.k
            self.shared, self.buffer_bytes = v.private_bytes, aligned(pixels * step * v.item)
            heights = {1}
            for length in {span, v.k - (ranges - 1) * span}:
                mr = ceil_div(length, ceil_div(length, MR))
                heights |= {mr, length % mr or mr}
            v.need_tiles(heights, masked=True)
        else:
            pixels, v.block_panels = max(1, BLOCK // (step * v.item * MR)) * MR, panels
            while ceil_div(self.count, pixels) * ceil_div(panels, v.block_panels) < UNITS:  # halves of what costs least to be read again
                if v.block_panels > 1 and (v.block_panels * v.nr >= pixels or pixels == MR):
                    v.block_panels = ceil_div(v.block_panels, 2)
                elif pixels > MR:
                    pixels = ceil_div(pixels, 2 * MR) * MR
                else:
                    break
            v.blocks = ceil_div(panels, v.block_panels)
            self.tasks, self.time = ceil_div(self.count, pixels) * v.blocks, work + 0.1 * self.count * v.groups * v.k
            self.shared, self.buffer_bytes = v.packed_bytes, aligned((pixels * step + MR * v.nr) * v.item)
            heights = {MR if self.count >= MR else self.count, self.count % MR or MR} - {0}
            v.need_tiles(heights, narrow=contiguous)
        self.words = v.template(self.buffer_bytes, self.count, pixels, step, contiguous, ranges, span, shares)


def _program(plan, pass_, shared):
    v, words = plan.v, plan.words.tolist()
    if pass_ == "backward_weight":
        words[SRC], words[DST], words[DW], words[DB], words[PRIVATES], words[BUFFER] = (*map(Argument, range(5)), Argument(4, shared))
        stages = [
            Stage(chunk_task(v.dtype), plan.tasks, plan.time, plan.buffer_bytes),
            Stage(sum_private(v.dtype), v.groups * v.panels, v.sum_time),
        ]
    else:
        words[SRC], words[W], words[BIAS], words[DST] = map(Argument, range(4))
        words[WP], words[BUFFER] = Argument(4, v.first_tap * v.depth * v.nr * v.item), Argument(4, shared)
        stages = [Stage(block_task(v.dtype), plan.tasks, plan.time, plan.buffer_bytes)]
        if v.taps and v.first_tap == 0:  # of all gathers
            stages.insert(0, Stage(pack_weights(v.dtype), v.groups * v.panels, v.pack_time))
    return program(words, *stages, shared=shared, keep=v)


@lru_cache(4096)
def plans(pass_, p):
    """(bytes shared, bytes per thread, programs)"""
    gathers = list(backward_gathers(p)) if pass_ == "backward_input" else [forward_gather(p, p.act if pass_ == "forward" else 0)]
    share_weights(gathers)
    made = [Plan(v, pass_ == "backward_weight") for v in gathers]
    shared, per_thread = max((plan.shared for plan in made), default=0), max((plan.buffer_bytes for plan in made), default=0)
    return shared, per_thread, [_program(plan, pass_, shared) for plan in made]


def scratch(pass_, p):
    """Packed weights or private copies of dw, shared; packed pixels per thread."""
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
