"""Grouped convolution with few channels per group: a register holds the channels of several groups; the Numba twin of cy_grouped.

    dst[n, r, q, o] = act(b[o] + sum over taps t and the channels c of o's group of  src[n, r*sy + ty[t], q*sx + tx[t], o // m * m + c] * w[o, c, t])
    dw[o, c, t] = sum over n, r, q of  x[n, r*sy + ty[t], q*sx + tx[t], o // m * m + c] * g[n, r, q, o]        (gather.pxd)

Shapes   images (mb, groups * m, h, w) in channels-last memory, weights (groups * m, m, kh, kw): as many channels out as in, m of which a register
         holds a whole number
Packed   wp[slice][bias, then run][c][tap of the run][lanes]: a slice is a register of output channels. Bands of the image are copied into padded
         slices, too: in an image, the few channels of a group lie as far apart from pixel to pixel as all channels are many.
Tile     up to mr pixels of a row x one register. Taps side by side are a run: a pixel is loaded, channel c of each group put into all lanes
         of the group, and multiplied for all taps of the run, one per neighbour.

             pixel  a0 a1 a2 a3 b0 b1 b2 b3 ..      m = 4, c = 1        a1 a1 a1 a1 b1 b1 b1 b1 ..      (a broadcast, where a group fills a register)

         backward_weight: lanes are the channels of x; those of g are spread, once for all taps of a run; m sums for every tap,
         or half of them at a time where a group fills a register

Loops    tasks: image, band of rows      the band stays in L2
         slices, rows, tiles of the row, runs, channels of a group, pixels, taps of a run
         backward_weight: tasks are chunks of bands with a private dw each, summed in order afterwards; slices, runs, rows, pixels
Edges    the last slice is masked
Cost     2 * mb * oc * oh * ow * m * kh * kw flops, one permutation per run of FMA
Gains    over nb_direct, which leaves all but m lanes idle
"""

from functools import cache, lru_cache

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, array_i64, compiled, doubles, floats_of, inline, ints, program, task
from lamella.kernels._common.nb_simd import VECTOR_BYTES, first, fma, load, opaque, simd, splat, store
from lamella.kernels._common.nb_tile import MR
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

# isort: off
from lamella.kernels.conv2d._nb_gather import (
    ACT, BIAS, BUFFER, BUFFER_BYTES, CHANNELS, CHUNKS, COLUMNS, DB, DEPTH, DST, DST_COLUMN, DST_FIRST, DST_IMAGE, DST_ROW, DW, HEIGHT, K,
    MB, OWN, PARTS, PRIVATES, RATE, ROWS, RUN_TAPS, RUNS, SLOPE, SRC, SX, SY, TW, W, W_GROUP, W_IN, W_OUT, WIDTH, WP,
    activating, aligned, backward_gathers, ceil_div, forward_gather, tile_of,
)  # fmt: skip
# isort: on

BAND = 160 * 1024  # bytes of a band in slices
UNITS = 16  # tasks wanted at least

# words of the context
BAND_ROWS, BANDS, PITCH, TALL, AO, SLICES, Y_LOW, Y_HIGH, X_LOW, BLOCK = range(OWN, OWN + 10)

_I64 = ir.IntType(64)
_ARGUMENTS = 10


def _i64(value):
    return ir.Constant(_I64, value)


def _vector(dtype):
    return ir.VectorType(ir.FloatType() if dtype == np.float32 else ir.DoubleType(), VECTOR_BYTES // dtype.itemsize)


def _spread(b, at, x, depth, channel):
    """This channel of each group in all lanes of the group; x is what lies at `at`."""
    if depth == x.type.count:  # a group fills the register: broadcast while it is loaded
        element = x.type.element
        value = b.load(b.inttoptr(b.add(at, _i64(channel * VECTOR_BYTES // depth)), element.as_pointer()))
        value.align = VECTOR_BYTES // depth
        return splat(b, value, depth)
    lanes = [lane // depth * depth + channel for lane in range(x.type.count)]
    return b.shuffle_vector(x, ir.Constant(x.type, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes))


def counted(b, count, starts, body):
    """A loop in IR: `body(*values)` gives the values of the next turn. Returns those after the last one."""
    entry, head, inside, done = b.block, *(b.append_basic_block(name) for name in ("head", "inside", "done"))
    b.branch(head)
    b.position_at_end(head)
    turn, *values = phis = [b.phi(start.type) for start in (_i64(0), *starts)]
    for phi, start in zip(phis, (_i64(0), *starts)):
        phi.add_incoming(start, entry)
    b.cbranch(b.icmp_signed("<", turn, count), inside, done)
    b.position_at_end(inside)
    for phi, value in zip(phis, [b.add(turn, _i64(1)), *body(*values)]):
        phi.add_incoming(value, b.block)
    b.branch(head)
    b.position_at_end(done)
    return values


def _emit_pixels(b, dtype, mr, depth, run, narrow, arguments):
    runs, ao, a, step, wp, n, c, ldc, _, _ = arguments
    vector = _vector(dtype)
    steps = [b.mul(step, _i64(i)) for i in range(mr)] if run == 1 else [_i64(i * VECTOR_BYTES) for i in range(mr + run - 1)]

    def body(offset, w, *sums):
        sums = list(sums)
        at = b.add(a, b.load(b.inttoptr(offset, _I64.as_pointer())))
        for channel in range(depth):  # pixels are loaded again for each: there are not registers enough
            at = opaque(b, at)
            weights = [load(b, b.add(w, _i64((channel * run + j) * VECTOR_BYTES)), vector) for j in range(run)]
            for u, there in enumerate(steps):
                x = _spread(b, b.add(at, there), load(b, b.add(at, there), vector), depth, channel)
                for j in range(run):
                    if 0 <= u - j < mr:
                        sums[u - j] = fma(b, x, weights[j], sums[u - j])
        return b.add(offset, _i64(8)), b.add(w, _i64(depth * run * VECTOR_BYTES)), *sums

    bias = load(b, wp, vector)
    _, _, *sums = counted(b, runs, [ao, b.add(wp, _i64(VECTOR_BYTES)), *[bias] * mr], body)
    mask = first(b, n, vector.count) if narrow else None
    for i, value in enumerate(sums):
        store(b, value, b.add(c, b.mul(ldc, _i64(i))), mask)


def _emit_gradients(b, dtype, depth, block, run, narrow, arguments):
    rows, columns, a, step, row, g, gls, g_row, n, c = arguments
    vector = _vector(dtype)
    copies = 1 if run * block >= 8 else 2  # even and odd pixels: enough independent sums
    mask = first(b, n, vector.count) if narrow else None
    zero = ir.Constant(vector, [0.0] * vector.count)

    def pixel(at, there, sums):
        values = [load(b, b.add(at, _i64(j * VECTOR_BYTES)), vector) for j in range(run)]
        gs = load(b, there, vector, mask) if block == depth else zero
        out = []
        for channel in range(block):
            spread = _spread(b, there, gs, depth, channel)
            out += [fma(b, x, spread, s) for x, s in zip(values, sums[channel * run : (channel + 1) * run])]
        return out

    def pixels(at, there, *sums):
        size, out = block * run, []
        for copy in range(copies):
            out += pixel(at, there, sums[copy * size : (copy + 1) * size])
            at, there = b.add(at, step), b.add(there, gls)
        return at, there, *out

    def odd(at, there, *sums):
        return at, there, *pixel(at, there, sums[: block * run]), *sums[block * run :]

    def line(at, there, *sums):
        behind = counted(b, b.sdiv(columns, _i64(copies)), [at, there, *sums], pixels)
        if copies == 2:
            behind = counted(b, b.srem(columns, _i64(copies)), behind, odd)
        return b.add(at, row), b.add(there, g_row), *behind[2:]

    _, _, *sums = counted(b, rows, [a, g, *[zero] * (copies * block * run)], line)
    for i in range(block * run):
        at = b.add(c, _i64(i * VECTOR_BYTES))
        value = sums[i] if copies == 1 else b.fadd(sums[i], sums[i + block * run])
        store(b, b.fadd(load(b, at, vector), value), at)


_SIGNATURE = types.void(*[types.int64] * _ARGUMENTS)


def _function(emit, *how):
    """A function of ten integers, with its `.address`."""

    @intrinsic
    def f(typingctx, a0, a1, a2, a3, a4, a5, a6, a7, a8, a9):
        def codegen(context, builder, signature, arguments):
            emit(builder, *how, arguments)
            return context.get_dummy_value()

        return _SIGNATURE, codegen

    def run(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9):
        f(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9)

    return compiled(run, _SIGNATURE)


@cache
def pixels(dtype, mr, depth, run, narrow):
    """f(runs, ao, a, step, wp, n, c, ldc, 0, 0): mr pixels of a row, the first n channels of a slice; strides in bytes."""
    return _function(_emit_pixels, dtype, mr, depth, run, narrow)


@cache
def gradients(dtype, depth, block, run, narrow):
    """f(rows, columns, a, step, row, g, gls, g_row, n, c): c[l][j] += the sum over rows x columns pixels of x[j] times channel l < block of each group
    of g. A block smaller than the group may begin at any of its channels: the group fills a register then."""
    return _function(_emit_gradients, dtype, depth, block, run, narrow)


@intrinsic
def call(typingctx, at, a0, a1, a2, a3, a4, a5, a6, a7, a8, a9):
    """Call the function at an address."""

    def codegen(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.VoidType(), [_I64] * _ARGUMENTS)
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * (_ARGUMENTS + 1)), codegen


@cache
def pack_task(dtype):
    """The bias and weights of a slice."""
    array, item = floats_of(dtype), dtype.itemsize
    lanes, zero = VECTOR_BYTES // item, dtype.type(0)

    @task
    def pack(ctx, task, slot):
        c = ints(ctx)
        depth, run = c[DEPTH], c[RUN_TAPS]
        wp, w, bias, tw = array(c[WP] + task * (1 + c[K]) * VECTOR_BYTES), array(c[W]), array(c[BIAS]), array_i64(c[TW])
        for lane in range(lanes):
            channel = task * lanes + lane
            inside = channel < c[CHANNELS]
            wp[lane] = bias[channel] if inside and c[BIAS] != 0 else zero
            at = channel // depth * c[W_GROUP] + channel % depth * c[W_OUT]
            for u in range(c[RUNS]):
                for i in range(depth):
                    for j in range(run):
                        to = (1 + (u * depth + i) * run + j) * lanes + lane
                        wp[to] = w[at + i * c[W_IN] + tw[u * run + j]] if inside else zero

    return pack


@cache
def bringing(dtype):
    """The function that copies a band into slices."""
    v, item = simd(dtype), dtype.itemsize
    lanes = v.lanes

    @inline
    def bring(c, image, r0, rows, slot):
        """band[slice][row][column][lanes] of the source under `rows` output rows from r0, zeros outside the image."""
        wide, channels, width = c[PITCH], c[CHANNELS], c[WIDTH]
        left = min(max(-c[X_LOW], 0), wide)
        right = max(left, min(wide, width - c[X_LOW]))
        height = (rows - 1) * c[SY] + c[Y_HIGH] - c[Y_LOW] + 1
        band = c[BUFFER] + slot * c[BUFFER_BYTES]
        for i in range(height):
            y = r0 * c[SY] + c[Y_LOW] + i
            start, end = left, right
            if y < 0 or y >= c[HEIGHT]:
                start = end = wide
            there = c[SRC] + ((image * c[HEIGHT] + y) * width + c[X_LOW]) * channels * item
            for s in range(c[SLICES]):
                line = band + (s * height + i) * wide * VECTOR_BYTES
                src = there + s * VECTOR_BYTES
                n = channels - s * lanes
                for x in range(start):
                    v.store(line + x * VECTOR_BYTES, v.zero())
                if n >= lanes:
                    for x in range(start, end):
                        v.store(line + x * VECTOR_BYTES, v.load(src + x * channels * item))
                else:
                    for x in range(start, end):
                        v.store(line + x * VECTOR_BYTES, v.load_n(src + x * channels * item, n))
                for x in range(end, wide):
                    v.store(line + x * VECTOR_BYTES, v.zero())
        return band

    return bring


@cache
def band_task(dtype):
    """One band of one image."""
    item, lanes = dtype.itemsize, VECTOR_BYTES // dtype.itemsize
    bring, activate = bringing(dtype), activating(dtype)

    @task
    def band(ctx, task, slot):
        c = ints(ctx)
        image, r0 = task // c[BANDS], task % c[BANDS] * c[BAND_ROWS]
        rows = min(c[BAND_ROWS], c[ROWS] - r0)
        columns, tall, by_row, by_column = c[COLUMNS], c[TALL], c[DST_ROW] * item, c[DST_COLUMN] * item
        src = bring(c, image, r0, rows, slot)
        dst = c[DST] + (c[DST_FIRST] + image * c[DST_IMAGE]) * item + r0 * by_row
        line, step = c[PITCH] * VECTOR_BYTES, c[SX] * VECTOR_BYTES
        size = ((rows - 1) * c[SY] + c[Y_HIGH] - c[Y_LOW] + 1) * line
        for s in range(c[SLICES]):
            n = min(lanes, c[CHANNELS] - s * lanes)
            last = 1 if n < lanes else 0
            for r in range(rows):
                a = src + s * size + r * c[SY] * line
                to = dst + r * by_row + s * VECTOR_BYTES
                for q in range(0, columns, tall):
                    call(
                        tile_of(c, last, min(tall, columns - q)), c[RUNS], c[AO], a + q * step, step, c[WP] + s * (1 + c[K]) * VECTOR_BYTES, n,
                        to + q * by_column, by_column, 0, 0,
                    )  # fmt: skip
        if c[ACT] != 0:
            for r in range(rows):
                activate(c[ACT], doubles(ctx)[SLOPE], dst + r * by_row, columns * c[DST_COLUMN])

    return band


@cache
def chunk_task(dtype):
    """The private dw of a chunk of bands: k rows of a register for each slice, and one for db."""
    v, item = simd(dtype), dtype.itemsize
    lanes, bring = v.lanes, bringing(dtype)

    @task
    def chunk(ctx, task, slot):
        c = ints(ctx)
        size = (c[K] + 1) * VECTOR_BYTES
        per_run = c[RUN_TAPS] * c[DEPTH] * VECTOR_BYTES
        by_row, by_column = c[DST_ROW] * item, c[DST_COLUMN] * item
        line, step = c[PITCH] * VECTOR_BYTES, c[SX] * VECTOR_BYTES
        sums = c[PRIVATES] + task * c[SLICES] * size
        for i in range(0, c[SLICES] * size, VECTOR_BYTES):
            v.store(sums + i, v.zero())
        units = c[MB] * c[BANDS]
        for unit in range(task * units // c[PARTS], (task + 1) * units // c[PARTS]):
            image, r0 = unit // c[BANDS], unit % c[BANDS] * c[BAND_ROWS]
            rows = min(c[BAND_ROWS], c[ROWS] - r0)
            src = bring(c, image, r0, rows, slot)
            height = (rows - 1) * c[SY] + c[Y_HIGH] - c[Y_LOW] + 1
            for s in range(c[SLICES]):
                n = min(lanes, c[CHANNELS] - s * lanes)
                tile = tile_of(c, 1 if n < lanes else 0, 1)
                g = c[DST] + image * c[DST_IMAGE] * item + r0 * by_row + s * VECTOR_BYTES
                own = sums + s * size
                for u in range(c[RUNS]):
                    a = src + s * height * line + array_i64(c[AO])[u]
                    for l in range(0, c[DEPTH], c[BLOCK]):
                        at = own + u * per_run + l * c[RUN_TAPS] * VECTOR_BYTES
                        call(tile, rows, c[COLUMNS], a, step, c[SY] * line, g + l * item, by_column, by_row, n, at)
                if c[DB] != 0:
                    total = v.load(own + size - VECTOR_BYTES)
                    for r in range(rows):
                        for q in range(c[COLUMNS]):
                            total = total + v.load_n(g + r * by_row + q * by_column, n)
                    v.store(own + size - VECTOR_BYTES, total)

    return chunk


@cache
def sum_task(dtype):
    """Add up the private copies of a slice, in order, and lay the sum out as dw and db."""
    v, array = simd(dtype), floats_of(dtype)
    lanes = v.lanes

    @task
    def add(ctx, task, slot):
        c = ints(ctx)
        depth, run, rows = c[DEPTH], c[RUN_TAPS], c[K] + 1
        step = c[SLICES] * rows * VECTOR_BYTES
        own = c[PRIVATES] + task * rows * VECTOR_BYTES
        for i in range(rows):
            total = v.load(own + i * VECTOR_BYTES)
            for part in range(1, c[PARTS]):
                total = total + v.load(own + part * step + i * VECTOR_BYTES)
            v.store(own + i * VECTOR_BYTES, total)
        sums, dw, db, tw = array(own), array(c[DW]), array(c[DB]), array_i64(c[TW])
        for lane in range(min(lanes, c[CHANNELS] - task * lanes)):
            channel = task * lanes + lane
            at = channel // depth * c[W_GROUP] + channel % depth * c[W_IN]
            for u in range(c[RUNS]):
                for i in range(depth):
                    for j in range(run):
                        dw[at + i * c[W_OUT] + tw[u * run + j]] = sums[((u * depth + i) * run + j) * lanes + lane]
            if c[DB] != 0:
                db[channel] = sums[c[K] * lanes + lane]

    return add


class Plan:
    """Bands, runs and tiles of a gather, with its context."""

    def __init__(self, v, backward_weight):
        self.v = v
        lanes = VECTOR_BYTES // v.item
        slices = self.slices = ceil_div(v.channels, lanes)
        ty, tx, _ = v.tables
        per_row = next((t for t in range(1, v.taps) if ty[t] != ty[0]), v.taps)
        block = min(v.depth, 8 if VECTOR_BYTES == 64 else 4) if v.depth == lanes else v.depth
        most = 7 if not backward_weight else (24 if VECTOR_BYTES == 64 else 12) // block
        beside = 0 < per_row <= most and v.sx == 1 and bool((tx[1:per_row] == tx[: per_row - 1] + 1).all())
        v.run_taps = per_row if beside else 1
        v.runs = v.taps // v.run_taps
        pitch = (v.columns - 1) * v.sx + v.x_high - v.x_low + 1
        row = pitch * slices * VECTOR_BYTES
        band_rows = (BAND // row - (v.y_high - v.y_low)) // v.sy
        band_rows = max(1, min(band_rows, v.rows, max(ceil_div(v.rows * v.mb, UNITS), 2)))
        bands = ceil_div(v.rows, band_rows)
        self.buffer_bytes = aligned(((band_rows - 1) * v.sy + v.y_high - v.y_low + 1) * row)
        tall = ceil_div(v.columns, ceil_div(v.columns, MR))
        ao = (((ty - v.y_low) * pitch + tx - v.x_low) * VECTOR_BYTES)[:: v.run_taps].copy()
        v.tiles = np.zeros((2, MR + 1), np.int64)
        kinds = {False} if v.channels % lanes == 0 else {True} if slices == 1 else {False, True}
        for narrow in kinds:
            if backward_weight:
                v.tiles[int(narrow), 1] = gradients(v.dtype, v.depth, block, v.run_taps, narrow).address
            else:
                for height in {tall, v.columns % tall or tall}:
                    v.tiles[int(narrow), height] = pixels(v.dtype, height, v.depth, v.run_taps, narrow).address
        v.kept += [ao, v.tiles]
        self.time = v.flops / RATE[v.item] * 2
        size = slices * (v.k + 1) * VECTOR_BYTES
        self.tasks, self.shared = v.mb * bands, aligned(size)
        if backward_weight:
            self.tasks = v.parts = max(1, min(CHUNKS, v.mb * bands))
            self.shared = aligned(v.parts * size)
        self.words = v.template(self.buffer_bytes, band_rows, bands, pitch, tall, ao, slices, v.y_low, v.y_high, v.x_low, block)


def _program(plan, pass_, shared):
    v, words = plan.v, plan.words.tolist()
    if pass_ == "backward_weight":
        words[SRC], words[DST], words[DW], words[DB], words[PRIVATES], words[BUFFER] = (*map(Argument, range(5)), Argument(4, shared))
        stages = (
            Stage(chunk_task(v.dtype), plan.tasks, plan.time, plan.buffer_bytes),
            Stage(sum_task(v.dtype), plan.slices, 0.2 * v.parts * v.channels * v.k),
        )
    else:
        words[SRC], words[W], words[BIAS], words[DST], words[WP], words[BUFFER] = (*map(Argument, range(5)), Argument(4, shared))
        stages = Stage(pack_task(v.dtype), plan.slices, v.pack_time), Stage(band_task(v.dtype), plan.tasks, plan.time, plan.buffer_bytes)
    return program(words, *stages, shared=shared, keep=v)


@lru_cache(4096)
def plans(pass_, p):
    """(bytes shared, bytes per thread, programs)"""
    gathers = backward_gathers(p) if pass_ == "backward_input" else [forward_gather(p, p.act if pass_ == "forward" else 0)]
    made = [Plan(v, pass_ == "backward_weight") for v in gathers]
    shared, per_thread = max((plan.shared for plan in made), default=0), max((plan.buffer_bytes for plan in made), default=0)
    return shared, per_thread, [_program(plan, pass_, shared) for plan in made]


def scratch(pass_, p):
    """Packed weights or private copies of dw, shared; a band in slices per thread."""
    return plans(pass_, p)[:2]


def transformed(pass_, p):
    """Bytes of the packed weights or private copies of dw."""
    return plans(pass_, p)[0]


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
