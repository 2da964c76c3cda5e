"""What the Numba convolutions share; the twin of gather.pxd, where the formulas stand.

A `Gather` is worked out once per problem and pass and kept: its numbers are a template of the tasks' context, so that a call only
copies it and fills in addresses. Tiles go to the tasks by address, in a table of two rows, for full panels and for the last one, by height:

    call(int64[c[TILES] + ...], ...)        tile_of(c, last, height)

so that a problem compiles the tiles it needs (0.1 s each) and the tasks are compiled once for all of them.
"""

from functools import cache

import numpy as np
from lamella.kernels._common.nb import array_i64, context, floats_of, inline, ints, stack, task
from lamella.kernels._common.nb_math import math_of
from lamella.kernels._common.nb_simd import prefetch_l1, simd
from lamella.kernels._common.nb_tile import MR, NV, VECTOR_BYTES, call, lanes, pair_function, tile_function

CHUNKS = 8  # private copies of dw at most
MAX_ROWS = 128  # rows of pixels that a tile sums over at most
PRIVATE = 32 << 20  # bytes of all private copies at most
RATE = {4: VECTOR_BYTES, 8: VECTOR_BYTES / 2}  # flops per ns of one thread, for the pool's estimate

# Words of the context: those of the Gather of gather.pxd (NR: columns of a panel), then what both ways of computing it need.
# Addresses are filled in by the call.
(
    GROUPS, SRC, MB, HEIGHT, WIDTH, CHANNELS, DEPTH, ROWS, COLUMNS, SY, SX, DST, DST_FIRST, DST_IMAGE, DST_ROW, DST_COLUMN, N, TAPS,
    TY, TX, TW, W, W_GROUP, W_IN, W_OUT, WP, PANELS, NR, K, PARTS, PRIVATES, DW, DB,
    BIAS, TILES, ZERO, ONE, BUFFER, BUFFER_BYTES, RUNS, RUN_TAPS, BLOCKS, BLOCK_PANELS, ACT, SLOPE, FILTER, PLACE, PACKED,
    OWN,
) = range(49)  # fmt: skip

_ZERO = np.zeros(MAX_ROWS, np.int64)
_ONE = {4: np.ones(1, np.float32), 8: np.ones(1, np.float64)}


def ceil_div(a, b):
    return -(-a // b)


def aligned(nbytes):
    return ceil_div(nbytes, 128) * 128


def address(array):
    return 0 if array is None else array.__array_interface__["data"][0]


def no_program(pass_):
    """What a pass does instead of its program where there are no images or no pixels."""

    def zeros(x, g, dw, db, scratch):
        dw[...] = 0
        if db is not None:
            db[...] = 0

    return zeros if pass_ == "backward_weight" else lambda *arrays: None


class Gather:
    """The numbers of one gather. `taps` lists (ty, tx, tw), sorted by source pixel."""

    def __init__(self, p, taps, **numbers):
        self.act, self.slope = 0, p.slope  # the activation of the forward pass
        self.dtype, self.item, self.groups, self.mb = p.dtype, p.dtype.itemsize, p.groups, p.mb
        self.__dict__.update(numbers)
        self.taps = len(taps)
        self.tables = np.array(taps, np.int64).reshape(-1, 3).T.copy()
        ty, tx, _ = self.tables
        self.y_low, self.y_high, self.x_low, self.x_high = (int(f()) if taps else 0 for f in (ty.min, ty.max, tx.min, tx.max))
        self.filter = p.kh * p.kw
        self.place = np.full(self.filter, -1)  # packed number of tap i * kw + j, if the gather has it
        self.place[self.tables[2]] = np.arange(self.taps)
        self.packed, self.first_tap = self.taps, 0  # taps packed in a panel, and the first of them that is the gather's own
        self.width_of_register = lanes(p.dtype)
        self.nr = (1 if self.n <= lanes(p.dtype) else NV) * lanes(p.dtype)
        self.panels = ceil_div(self.n, self.nr)
        self.k = self.taps * self.depth
        # taps that lie side by side in memory form a run: their values are read at once
        per_row = next((t for t in range(1, self.taps) if ty[t] != ty[0]), self.taps)
        beside = self.groups == 1 and self.taps and bool((tx[1:per_row] == tx[: per_row - 1] + 1).all())
        self.run_taps = per_row if beside else 1
        self.runs = self.taps // self.run_taps
        self.flops = 2.0 * self.mb * self.rows * self.columns * self.groups * self.n * self.k
        self.parts = self.blocks = self.block_panels = 0
        self.kept = [self.tables, self.place]

    def need_tiles(self, heights, masked=False, narrow=False, pairs=False):
        """The table of tiles for these heights; masked, narrow: what becomes of a last panel that is not whole registers; pairs: of two rows, too."""
        table = np.zeros((4, MR + 1), np.int64)
        rest = self.n - (self.panels - 1) * self.nr
        partial = rest % self.width_of_register > 0
        for height in heights:
            if self.panels > 1:
                table[0, height] = tile_function(self.dtype, height, self.nr // self.width_of_register).address
            last = tile_function(self.dtype, height, ceil_div(rest, self.width_of_register), masked and partial, narrow and partial)
            table[1, height] = last.address
            for line, registers, part in ((2, NV, False), (3, ceil_div(rest, self.width_of_register), narrow and partial)) if pairs else ():
                two = pair_function(self.dtype, height, registers, part) if line == 3 or self.panels > 1 else None
                table[line, height] = 0 if two is None else two.address
        self.tiles = table
        self.kept.append(table)

    def divide(self, units, parts):
        """backward_weight: at most `units` chunks, each task doing one of `parts` further divisions of its work; blocks of panels."""
        panels = self.groups * self.panels
        self.parts = max(1, min(CHUNKS, units, PRIVATE // (panels * (self.k + 1) * self.nr * self.item)))
        self.block_panels = ceil_div(panels, min(panels, ceil_div(CHUNKS, self.parts * parts)))
        self.blocks = ceil_div(panels, self.block_panels)

    @property
    def packed_bytes(self):
        return aligned(self.groups * self.panels * self.packed * self.depth * self.nr * self.item)

    @property
    def private_bytes(self):
        return aligned(self.parts * self.groups * self.panels * (self.k + 1) * self.nr * self.item)

    @property
    def pack_time(self):
        return 0.2 * self.groups * self.n * self.packed * self.depth

    @property
    def sum_time(self):
        return (self.parts * 0.1 + 0.2) * self.groups * self.panels * self.k * self.nr

    def template(self, buffer_bytes, *own):
        """The context, but for the addresses of the call; `own` are the implementation's words."""
        ty, tx, tw = self.tables
        return context(
            self.groups, 0, self.mb, self.height, self.width, self.channels, self.depth, self.rows, self.columns, self.sy, self.sx,
            0, self.dst_first, self.dst_image, self.dst_row, self.dst_column, self.n, self.taps, ty, tx, tw,
            0, self.w_group, self.w_in, self.w_out, 0, self.panels, self.nr, self.k, self.parts, 0, 0, 0,
            0, self.tiles, _ZERO, _ONE[self.item], 0, buffer_bytes, self.runs, self.run_taps, self.blocks, self.block_panels, self.act, self.slope,
            self.filter, self.place, self.packed, *own,
        )  # fmt: skip


def forward_gather(p, act=0):
    """The one gather of the forward pass (and, its output grid read instead of written, of backward_weight)."""
    icg, n = p.ic // p.groups, p.oc // p.groups
    taps = [(i * p.dh - p.ph, j * p.dw - p.pw, i * p.kw + j) for i in range(p.kh) for j in range(p.kw)]
    return Gather(
        p, taps, act=act, height=p.ih, width=p.iw, channels=p.ic, depth=icg, rows=p.oh, columns=p.ow, sy=p.sh, sx=p.sw, n=n,
        dst_first=0, dst_image=p.oh * p.ow * p.oc, dst_row=p.ow * p.oc, dst_column=p.oc,
        w_group=n * icg * p.kh * p.kw, w_in=p.kh * p.kw, w_out=icg * p.kh * p.kw,
    )  # fmt: skip


def backward_gathers(p):
    """The gathers of the input pixels (a, b) modulo the stride that have pixels. One may have no taps: its gradient is 0."""
    icg, depth = p.ic // p.groups, p.oc // p.groups
    for a in range(min(p.sh, p.ih)):
        for b in range(min(p.sw, p.iw)):
            taps = [  # descending in w: ascending source pixels
                ((a + p.ph - i * p.dh) // p.sh, (b + p.pw - j * p.dw) // p.sw, i * p.kw + j)
                for i in reversed(range(p.kh))
                if (a + p.ph - i * p.dh) % p.sh == 0
                for j in reversed(range(p.kw))
                if (b + p.pw - j * p.dw) % p.sw == 0
            ]
            yield Gather(
                p, taps, height=p.oh, width=p.ow, channels=p.oc, depth=depth, n=icg, sy=1, sx=1,
                rows=ceil_div(p.ih - a, p.sh), columns=ceil_div(p.iw - b, p.sw),
                dst_first=(a * p.iw + b) * p.ic, dst_image=p.ih * p.iw * p.ic, dst_row=p.sh * p.iw * p.ic, dst_column=p.sw * p.ic,
                w_group=depth * icg * p.kh * p.kw, w_in=icg * p.kh * p.kw, w_out=p.kh * p.kw,
            )  # fmt: skip


def share_weights(gathers):
    """The taps of all gathers of a pass are packed together, gather after gather, so that the weights are read once."""
    place, count = np.full(gathers[0].filter if gathers else 0, -1), 0
    for v in gathers:
        place[v.tables[2]] = count + np.arange(v.taps)
        v.place, v.first_tap = place, count
        v.kept.append(place)
        count += v.taps
    for v in gathers:
        v.packed = count


@inline
def pair_of(c, last, height):
    """The address of the tile of two rows of this height each, or 0."""
    return array_i64(c[TILES])[(2 + last) * (MR + 1) + height]


@inline
def tile_of(c, last, height):
    """The address of the tile of this height for a full panel or the last one."""
    return array_i64(c[TILES])[last * (MR + 1) + height]


@cache
def activating(dtype):
    """The function that applies the activation to `n` neighbouring values."""
    array, f = floats_of(dtype), math_of(dtype)
    sigmoid, tanh = f.sigmoid, f.tanh
    real = np.float32 if dtype == np.float32 else np.float64
    zero = real(0)

    @inline
    def activate(act, slope, at, n):
        out = array(at)
        if act == 1:
            for i in range(n):
                out[i] = zero if out[i] <= zero else out[i]
        elif act == 2:
            for i in range(n):
                out[i] = out[i] if out[i] > zero else out[i] * real(slope)
        elif act == 3:
            for i in range(n):
                out[i] = sigmoid(out[i])
        elif act == 4:
            for i in range(n):
                out[i] = tanh(out[i])

    return activate


@cache
def copying(dtype):
    """The function that copies values, `zeros` before and behind them: LLVM would first ask each time whether the two places overlap."""
    v, item, width = simd(dtype), dtype.itemsize, lanes(dtype)

    @inline
    def clear(dst, n):
        whole = n // width * width
        for l in range(0, whole, width):
            v.store(dst + l * item, v.zero())
        if n > whole:
            v.store_n(dst + whole * item, n - whole, v.zero())

    @inline
    def copy(dst, before, src, n, behind):
        """dst[:before + n + behind] = 0 .., src[:n], 0 .."""
        clear(dst, before)
        dst += before * item
        whole = n // width * width
        for l in range(0, whole, width):
            v.store(dst + l * item, v.load(src + l * item))
        if n > whole:
            v.store_n(dst + whole * item, n - whole, v.load_n(src + whole * item, n - whole))
        clear(dst + n * item, behind)

    return copy


@cache
def packing_weights(dtype):
    """The function that packs a panel of a group: squares of w are transposed in registers."""
    v, item = simd(dtype), dtype.itemsize
    width_of_register, corner_of, copy = v.lanes, stack(v.lanes * VECTOR_BYTES), copying(dtype)

    @inline
    def pack(c, group, panel, packed):
        nr, taps, depth, w_in, w_out, filter_ = c[NR], c[PACKED], c[DEPTH], c[W_IN], c[W_OUT], c[FILTER]
        first = panel * nr
        width = min(nr, c[N] - first)
        w = c[W] + (group * c[W_GROUP] + first * w_out) * item
        place = array_i64(c[PLACE])
        if w_out == 1:  # 1 x 1 filters, backward: the lanes lie side by side in w
            for ci in range(depth if taps > 0 else 0):
                copy(packed + ci * nr * item, 0, w + ci * w_in * item, width, nr - width)
            return
        if width < nr:
            copy(packed, taps * depth * nr, 0, 0, 0)
        corner = corner_of()
        # in w, the taps of one input channel may follow those of the one before
        neighbours = w_in == filter_
        span = depth * filter_ if neighbours else filter_
        for outer in range(depth * filter_ // span if taps > 0 else 0):
            if not neighbours:
                for i in range(0, width * filter_ * item, 64):
                    prefetch_l1(w + (outer + 2) * w_in * item + i)
            for start in range(0, span, width_of_register):
                n = min(span - start, width_of_register)
                for j in range(0, width, width_of_register):
                    m = min(width - j, width_of_register)
                    src = w + (outer * w_in + j * w_out + start) * item
                    if neighbours:  # many streams: none of them is seen coming
                        for i in range(m):
                            prefetch_l1(src + (i * w_out + 4 * width_of_register) * item)
                    if m == width_of_register and n == width_of_register:
                        v.square(src, w_out * item, corner, VECTOR_BYTES)
                    else:
                        v.square_n(src, w_out * item, corner, VECTOR_BYTES, m, n)
                    tap, ci = start % filter_, outer + start // filter_
                    for i in range(n):
                        row = packed + ((place[tap] * depth + ci) * nr + j) * item
                        if place[tap] < 0:
                            pass
                        elif m == width_of_register:
                            v.store(row, v.load(corner + i * VECTOR_BYTES))
                        else:
                            v.store_n(row, m, v.load(corner + i * VECTOR_BYTES))
                        tap += 1
                        if tap == filter_:
                            tap = 0
                            ci += 1

    return pack


@cache
def pack_weights(dtype):
    """The task that packs panel task % panels of group task // panels."""
    item, pack = dtype.itemsize, packing_weights(dtype)

    @task
    def panel(ctx, task, slot):
        c = ints(ctx)
        pack(c, task // c[PANELS], task % c[PANELS], c[WP] + task * c[PACKED] * c[DEPTH] * c[NR] * item)

    return panel


@cache
def sum_private(dtype):
    """The task that adds up the private copies of one panel, in order, and lays the sum out as dw and db, squares transposed in registers."""
    v, item = simd(dtype), dtype.itemsize
    width_of_register, corner_of = v.lanes, stack(v.lanes * VECTOR_BYTES)

    @inline
    def total(at, parts, step):
        s = v.load(at)
        for chunk in range(1, parts):
            s = s + v.load(at + chunk * step)
        return s

    @task
    def add(ctx, task, slot):
        c = ints(ctx)
        nr, taps, depth, k, w_out, parts = c[NR], c[TAPS], c[DEPTH], c[K], c[W_OUT] * item, c[PARTS]
        size = (k + 1) * nr * item
        step = c[GROUPS] * c[PANELS] * size
        group = task // c[PANELS]
        first = task % c[PANELS] * nr
        width = min(nr, c[N] - first)
        sums = c[PRIVATES] + task * size
        dw = c[DW] + group * c[W_GROUP] * item + first * w_out
        corner = corner_of()
        for start in range(0, k, width_of_register):
            n = min(k - start, width_of_register)
            for j in range(0, width, width_of_register):
                m = min(width - j, width_of_register)
                tap, ci = start % taps, start // taps
                for i in range(n):
                    v.store(corner + i * VECTOR_BYTES, total(sums + ((tap * depth + ci) * nr + j) * item, parts, step))
                    tap += 1
                    if tap == taps:
                        tap = 0
                        ci += 1
                to = dw + j * w_out + start * item
                if m == width_of_register and n == width_of_register:
                    v.square(corner, VECTOR_BYTES, to, w_out)
                else:
                    v.square_n(corner, VECTOR_BYTES, to, w_out, n, m)
        if c[DB] != 0:
            for j in range(0, width, width_of_register):
                db = c[DB] + (group * c[N] + first + j) * item
                v.store_n(db, min(width - j, width_of_register), total(sums + (k * nr + j) * item, parts, step))

    return add


@inline
def add_pixels(c, last, n, g, rows, zeros, row_bo, columns, sums):
    """sums[:n] += g over rows x columns pixels: a tile of one row whose A is 1."""
    call(tile_of(c, last, 1), rows, zeros, row_bo, columns, c[ONE], 0, 0, g, c[DST_COLUMN], n, sums, c[NR], sums, c[NR])
