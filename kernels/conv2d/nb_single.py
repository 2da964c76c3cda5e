"""Convolution of images of one channel, whose lanes are the channels on the other side, in place; the Numba twin of cy_single.

    out[n, r, q, o] = act(b[o] + sum_{i, j} x[n, r - ph + i, q - pw + j] * w[o, i, j])
    dx[n, r, q] = sum_{i, j, o} g[n, r + ph - i, q + pw - j, o] * w[o, i, j]
    dw[o, i, j] = sum_{n, r, q} x[n, r - ph + i, q - pw + j] * g[n, r, q, o]

Shapes   x, dx (mb, 1, h, w), out, g (mb, oc, oh, ow) in channels-last memory, w (oc, 1, kh, kw) with kw 3 or 5; stride 1, no dilation, any padding
Lanes    channels, `pixels` times, as in cy_single: (channel, pixel) in forward and backward_weight, where what is stored or loaded is shuffled,
         (pixel, channel) in backward_input, which adds up lanes in the end
Packed   wp[register of channels][1 + tap][lane]: the bias, then the weights of each tap; backward_input: no bias, taps turned by 180 degrees
Tile     forward, backward_input: `height` registers of pixels of a row side by side, all taps; a row of the filter is unrolled
         backward_weight: taps, as many rows of the filter as registers hold; a register of g is loaded once for all of them
Loops    tasks: bands of an image      the rows under a filter stay in L1
         rows, registers of channels, tiles
         backward_weight: tasks are chunks of bands with a private dw each, added in order afterwards
Memory   out, g and the next image's x are asked for ahead, as in cy_single
Edges    bands are padded with zeros; the last tile of a row begins early and computes some pixels twice, its last register is stored in part
Cost     2 * mb * oc * oh * ow * kh * kw flops; no transposes
Gains    over nb_lanes, which transposes every channel of the larger side
Loses    where half of the lanes or more are empty
"""

from functools import cache, lru_cache, partial

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, doubles, floats_of, inline, ints, program, runs, stack, task
from lamella.kernels._common.nb_simd import VECTOR_BYTES, add_lanes, first, fma, load, opaque, prefetch, prefetch_l1, simd, splat, store
from lamella.kernels._common.nb_tile import MR
from lamella.kernels.conv2d._nb_gather import RATE, activating, aligned, ceil_div, no_program
from lamella.kernels.conv2d.nb_lanes import call, function
from llvmlite import ir

BAND = 64 * 1024  # bytes of a band
UNITS = 4  # tasks wanted at least
LOW = 7  # rows of a band at least, if that many tasks can be had otherwise
GRAIN = 12500  # ns of a task at least, likewise
CHUNKS = 8  # private copies of dw at most
AHEAD = 8 * 1024  # bytes between what is read or written and what is asked for: memory may be that far away

# Words of the context, named as the fields of Single (cy_single.pyx); STEP: values of a register of pixels, REST: the tile of the rows of taps that remain
(
    SRC, DST, W, BIAS, DW, DB, ACT, SLOPE, LEAST, HEIGHT, WIDTH, ROWS, COLUMNS, CHANNELS, N, TOP, LEFT, TAPS_Y, TAPS_X, PIXELS, STEP, WIDE, PARTS,
    TURNS, ACROSS, TILES, HEIGHT_OF_TILE, PITCH, BAND_ROWS, BANDS, UNITS_OF, CHUNKS_OF, AT_ONCE, TILE, REST, WP, LOCAL, LOCAL_BYTES,
) = range(38)  # fmt: skip

_I64 = ir.IntType(64)


def _i64(value):
    return ir.Constant(_I64, value)


def _vector(dtype):
    return ir.VectorType(ir.FloatType() if dtype == np.float32 else ir.DoubleType(), VECTOR_BYTES // dtype.itemsize)


def _spread(b, vector, pixels, address):
    """The values of neighbouring pixels, over and over."""
    if pixels == 1:
        return splat(b, b.load(b.inttoptr(address, vector.element.as_pointer())), vector.count)
    pair = b.load(b.inttoptr(address, ir.DoubleType().as_pointer()))
    pair.align = 4
    return b.bitcast(splat(b, pair, vector.count // 2), vector)


def _in_turn(b, address):
    """The same address, which is read after all that was read before: registers are too few for values that wait."""
    return b.asm(ir.FunctionType(_I64, [_I64]), "", "=r,0,~{memory}", [address], True)


def _loop(b, turns, carried, body):
    """Values after `turns` turns of body(values), which gives the next ones."""
    entry = b.block
    head, inside, done = (b.append_basic_block(name) for name in ("head", "body", "done"))
    b.branch(head)
    b.position_at_end(head)
    turn, *values = [b.phi(_I64), *(b.phi(value.type) for value in carried)]
    for phi, start in zip([turn, *values], [_i64(0), *carried]):
        phi.add_incoming(start, entry)
    b.cbranch(b.icmp_signed("<", turn, turns), inside, done)
    b.position_at_end(inside)
    for phi, value in zip([turn, *values], [b.add(turn, _i64(1)), *body(values)]):
        phi.add_incoming(value, inside)
    b.branch(head)
    b.position_at_end(done)
    return values


def _sum_taps(b, vector, taps_x, step, start, arguments, operand):
    """Sums of w * operand(address, j) over rows of taps, the next tap `step` bytes on; every taps_y-th row is followed by one `jump` behind it."""
    x, pitch, jump, turns, taps_y, wp = arguments

    def row(values):
        at, weights, y, *sums = values
        for k in range(taps_x):
            w = load(b, b.add(weights, _i64(k * VECTOR_BYTES)), vector)
            base = opaque(b, b.add(at, _i64(k * step)))  # LLVM would keep values of x from one tap to the next, in memory
            sums = [fma(b, w, operand(base, j), value) for j, value in enumerate(sums)]
        y = b.add(y, _i64(1))
        last = b.icmp_signed("==", y, taps_y)
        at = b.add(at, b.select(last, jump, pitch))
        return at, b.add(weights, _i64(taps_x * VECTOR_BYTES)), b.select(last, _i64(0), y), *sums

    return _loop(b, turns, [x, wp, _i64(0), *start], row)[3:]


def _emit_forward(b, dtype, height, pixels, taps_x, channels, whole, arguments):
    *taps, bias, to, step, n, last, least, _ = arguments
    vector = _vector(dtype)
    step_of_register = pixels * dtype.itemsize
    for j in range(height):
        prefetch(b, b.add(to, b.add(_i64(AHEAD), b.mul(step, _i64(j)))))
    sums = _sum_taps(
        b, vector, taps_x, dtype.itemsize, [load(b, bias, vector)] * height, taps,
        lambda base, j: _spread(b, vector, pixels, b.add(base, _i64(j * step_of_register))),
    )  # fmt: skip
    lowest = load(b, least, vector)
    for j, value in enumerate(sums):
        value = b.select(b.fcmp_ordered("<=", value, lowest), lowest, value)
        if pixels == 2:
            order = [i % channels * 2 + i // channels if i < 2 * channels else 0 for i in range(vector.count)]
            value = b.shuffle_vector(value, value, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), order))
        mask = None if whole else first(b, n if j + 1 < height else last, vector.count)
        store(b, value, b.add(to, b.mul(step, _i64(j))), mask)


def _emit_input(b, dtype, height, pixels, taps_x, arguments):
    *taps, _, to, _, _, count, _, _ = arguments
    vector = _vector(dtype)
    zero = ir.Constant(vector, [0.0] * vector.count)
    sums = _sum_taps(
        b, vector, taps_x, VECTOR_BYTES // pixels, [zero] * height, taps,
        lambda base, j: load(b, b.add(base, _i64(j * VECTOR_BYTES)), vector),
    )  # fmt: skip
    each = vector.count // pixels
    sums += [zero] * (-height % each)
    for j in range(0, len(sums), each):
        total = add_lanes(b, sums[j : j + each])  # of two pixels: those of the first, then those of the second
        if pixels == 2:
            order = [i % 2 * each + i // 2 for i in range(vector.count)]
            total = b.shuffle_vector(total, total, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), order))
        start = j * pixels
        store(b, total, b.add(to, _i64(start * dtype.itemsize)), first(b, b.sub(count, _i64(start)), vector.count))


def _emit_weight(b, dtype, rows, pixels, taps_x, channels, whole, arguments):
    turns, across, x, pitch, g, step, n, sums, *_ = arguments
    vector, item = _vector(dtype), dtype.itemsize
    mask = None if whole else first(b, n, vector.count)
    places = [b.add(sums, _i64(k * VECTOR_BYTES)) for k in range(rows * taps_x)]
    lines = [b.mul(pitch, _i64(i)) for i in range(rows)]
    to_next_row = b.sub(pitch, b.mul(b.sub(across, _i64(1)), _i64(pixels * item)))

    def position(values):
        at, at_g, q, *inner = values
        prefetch(b, b.add(at_g, _i64(AHEAD)))
        gs = load(b, at_g, vector, mask)
        if pixels == 2:  # lanes without a channel take one that was not loaded
            order = [i % 2 * channels + i // 2 if i < 2 * channels else vector.count - 1 for i in range(vector.count)]
            gs = b.shuffle_vector(gs, gs, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), order))
        summed = []
        for i, line in enumerate(lines):
            for k, total in enumerate(inner[i * taps_x : (i + 1) * taps_x]):
                base = _in_turn(b, b.add(at, line))
                summed += [fma(b, gs, _spread(b, vector, pixels, b.add(base, _i64(k * item))), total)]
        q = b.add(q, _i64(1))
        last = b.icmp_signed("==", q, across)
        at = b.add(at, b.select(last, to_next_row, _i64(pixels * item)))
        return at, b.add(at_g, step), b.select(last, _i64(0), q), *summed

    starts = [load(b, place, vector) for place in places]
    for place, value in zip(places, _loop(b, turns, [x, g, _i64(0), *starts], position)[3:]):
        store(b, value, place)


@cache
def forward_tile(dtype, height, pixels, taps_x, channels, whole):
    """f(x, pitch, jump, turns, taps_y, wp, bias, to, step, n, last, least, 0): registers of pixels of a row, `step` bytes apart when stored, n lanes
    of each, `last` of the last one. channels: of two pixels; whole: n is a register."""
    return function(_emit_forward, dtype, height, pixels, taps_x, channels, whole)


@cache
def input_tile(dtype, height, pixels, taps_x):
    """f(g, pitch, jump, turns, taps_y, wp, 0, to, 0, 0, count, 0, 0): `count` pixels of a row of dx."""
    return function(_emit_input, dtype, height, pixels, taps_x)


@cache
def weight_tile(dtype, rows, pixels, taps_x, channels, whole):
    """f(turns, across, x, pitch, g, step, n, sums, ...): sums[tap] += g * x over a band, for some rows of the filter, n lanes of a register of g."""
    return function(_emit_weight, dtype, rows, pixels, taps_x, channels, whole)


@cache
def bringing(dtype, rotated):
    """The function that lays out a band: the rows of src under `rows` rows of dst from r0 on, with zeros outside of the image.

    x: band[row][pixel]; g: band[register of channels][row][pixel][lane], a pixel's channels filled up with zeros to a register's, or half a
    register's. What a store writes past the end of its line, the next one overwrites.
    """
    v, item = simd(dtype), dtype.itemsize
    lanes = v.lanes

    @inline
    def bring(c, image, r0, rows, band):
        depth, pitch, lines = c[CHANNELS], c[PITCH], c[BAND_ROWS] + c[TAPS_Y] - 1
        size = VECTOR_BYTES // c[PIXELS] if rotated else item  # bytes of a pixel in the band
        begin, start = max(0, -c[LEFT]), max(0, c[LEFT])
        count = max(0, min(c[WIDTH] - begin, pitch // size - start))
        for part in range(c[WIDE] if rotated else 1):
            n = min(depth * item - part * size, size) // item
            for row in range(rows + c[TAPS_Y] - 1):
                y = r0 + row - c[TOP]
                line = band + (part * lines + row) * pitch
                for i in range(0, pitch, VECTOR_BYTES):
                    v.store(line + i, v.zero())
                if y < 0 or y >= c[HEIGHT]:
                    continue
                line += start * size
                src = c[SRC] + ((image * c[HEIGHT] + y) * c[WIDTH] + begin) * depth * item + part * size
                if rotated:
                    for q in range(0, count * size, 64):
                        prefetch_l1(src + AHEAD + q)
                    for q in range(count):
                        v.store(line + q * size, v.load_n(src + q * depth * item, n))
                else:
                    for q in range(0, count * item, 64):
                        prefetch_l1(src + c[HEIGHT] * c[WIDTH] * item + q)
                    for q in range(0, count - lanes + 1, lanes):
                        v.store(line + q * item, v.load(src + q * item))
                    q = count // lanes * lanes
                    v.store_n(line + q * item, count - q, v.load_n(src + q * item, count - q))

    return bring


@cache
def band_task(dtype, rotated):
    """A band of out, or of dx."""
    item, bring, activate = dtype.itemsize, bringing(dtype, rotated), activating(dtype)
    lanes = VECTOR_BYTES // item

    @task
    def band(ctx, task, slot):
        c, slope = ints(ctx), doubles(ctx)[SLOPE]
        image, r0 = task // c[BANDS], task % c[BANDS] * c[BAND_ROWS]
        rows = min(c[BAND_ROWS], c[ROWS] - r0)
        height, pixels, n, pitch = c[HEIGHT_OF_TILE], c[PIXELS], c[N], c[PITCH]
        source = c[LOCAL] + slot * c[LOCAL_BYTES]
        size = (1 + c[TAPS_Y] * c[TAPS_X]) * VECTOR_BYTES
        by_tile = VECTOR_BYTES if rotated else pixels * item
        jump = c[BAND_ROWS] * pitch
        bring(c, image, r0, rows, source)
        for row in range(rows):
            dst = c[DST] + (image * c[ROWS] + r0 + row) * c[COLUMNS] * n * item
            for part in range(c[PARTS]):
                wp = c[WP] + part * size
                whole = min(c[STEP] - part * lanes, lanes)
                for k in range(c[TILES]):
                    start = min(k * height, c[ACROSS] - height)
                    last = whole
                    if rotated:
                        last = min(height * pixels, c[COLUMNS] - start * pixels)
                    elif (start + height) * pixels > c[COLUMNS]:
                        last = n
                    call(
                        c[TILE], source + row * pitch + start * by_tile, pitch, jump, c[TURNS], c[TAPS_Y], wp if rotated else wp + VECTOR_BYTES, wp,
                        dst + start * pixels * n * item + part * VECTOR_BYTES, c[STEP] * item, whole, last, c[LEAST], 0,
                    )  # fmt: skip
            if c[ACT] > 1:
                activate(c[ACT], slope, dst, c[COLUMNS] * n)

    return band


@cache
def pack_task(dtype, rotated):
    """The weights of every tap as the lanes want them."""
    array, lanes, v = floats_of(dtype), VECTOR_BYTES // dtype.itemsize, simd(dtype)

    @task
    def pack(ctx, task, slot):
        c = ints(ctx)
        w, wp, bias, taps = array(c[W]), array(c[WP]), array(c[BIAS]), c[TAPS_Y] * c[TAPS_X]
        size = taps if rotated else 1 + taps
        for i in range(c[WIDE] * size):
            v.store(c[WP] + i * VECTOR_BYTES, v.zero())
        for channel in range(c[CHANNELS] if rotated else c[N]):
            for e in range(c[PIXELS]):
                if c[PIXELS] == 1:
                    at = channel // lanes * size * lanes + channel % lanes
                else:
                    at = e * lanes // 2 + channel if rotated else 2 * channel + e
                if not rotated:
                    if c[BIAS] != 0:
                        wp[at] = bias[channel]
                    at += lanes
                for k in range(taps):
                    wp[at + k * lanes] = w[channel * taps + (taps - 1 - k if rotated else k)]

    return pack


@cache
def chunk_task(dtype):
    """The private dw of a chunk of bands, a register per tap, and one more for db, in the order of memory."""
    v, item, bring = simd(dtype), dtype.itemsize, bringing(dtype, False)
    lanes = v.lanes

    @task
    def chunk(ctx, task, slot):
        c = ints(ctx)
        taps_y, taps_x, pitch, step = c[TAPS_Y], c[TAPS_X], c[PITCH], c[STEP] * item
        size = (taps_y * taps_x + 1) * VECTOR_BYTES
        sums = c[WP] + task * c[WIDE] * size
        source = c[LOCAL] + slot * c[LOCAL_BYTES]
        for i in range(0, c[WIDE] * size, VECTOR_BYTES):
            v.store(sums + i, v.zero())
        for unit in range(task * c[UNITS_OF] // c[CHUNKS_OF], (task + 1) * c[UNITS_OF] // c[CHUNKS_OF]):
            image, r0 = unit // c[BANDS], unit % c[BANDS] * c[BAND_ROWS]
            rows = min(c[BAND_ROWS], c[ROWS] - r0)
            positions = rows * c[ACROSS]
            bring(c, image, r0, rows, source)
            for part in range(c[WIDE]):
                g = c[DST] + (image * c[ROWS] + r0) * c[COLUMNS] * c[N] * item + part * VECTOR_BYTES
                n = min(c[STEP] - part * lanes, lanes)
                for y in range(0, taps_y, c[AT_ONCE]):
                    tile = c[TILE] if taps_y - y >= c[AT_ONCE] else c[REST]
                    to = sums + part * size + y * taps_x * VECTOR_BYTES
                    call(tile, positions, c[ACROSS], source + y * pitch, pitch, g, step, n, to, 0, 0, 0, 0, 0)
                if c[DB] != 0:
                    at = sums + (part + 1) * size - VECTOR_BYTES
                    total = v.load(at)
                    for k in range(positions):
                        total = total + v.load_n(g + k * step, n)
                    v.store(at, total)

    return chunk


@cache
def sum_task(dtype):
    """dw and db from the private copies, in order."""
    v, array, own = simd(dtype), floats_of(dtype), stack(VECTOR_BYTES)
    lanes = v.lanes

    @task
    def add(ctx, task, slot):
        c = ints(ctx)
        dw, db, taps, pixels, n = array(c[DW]), array(c[DB]), c[TAPS_Y] * c[TAPS_X], c[PIXELS], c[N]
        size = (taps + 1) * VECTOR_BYTES
        there = own()
        total = array(there)
        for part in range(c[WIDE]):
            for k in range(taps + 1 if c[DB] != 0 else taps):
                at = c[WP] + part * size + k * VECTOR_BYTES
                s = v.load(at)
                for chunk in range(1, c[CHUNKS_OF]):
                    s = s + v.load(at + chunk * c[WIDE] * size)
                v.store(there, s)
                for i in range(min(n - part * lanes, lanes)):
                    channel = part * lanes + i
                    if k == taps:
                        db[channel] = total[i] if pixels == 1 else total[i] + total[n + i]
                    else:
                        dw[channel * taps + k] = total[i] if pixels == 1 else total[2 * i] + total[2 * i + 1]

    return add


def rows_at_once(taps_x):
    """Rows of a filter whose sums the registers hold."""
    return 5 if VECTOR_BYTES == 64 else 4 if taps_x == 3 else 2


@lru_cache(4096)
def programs(pass_, p):
    """(bytes shared, bytes per thread, program)"""
    weight, rotated = pass_ == "backward_weight", pass_ == "backward_input"
    dtype, item = p.dtype, p.dtype.itemsize
    lanes = VECTOR_BYTES // item
    source, result, top, left = (p.ih, p.iw, 1), (p.oh, p.ow, p.oc), p.ph, p.pw
    if rotated:
        source, result, top, left = result, source, p.kh - 1 - p.ph, p.kw - 1 - p.pw
    (height, width, channels), (rows, columns, n) = source, result
    pixels = 2 if lanes == 16 and p.oc <= 8 and not (weight and columns % 2) else 1
    wide, across = ceil_div(p.oc, lanes), ceil_div(columns, pixels)
    tiles = ceil_div(across, MR)
    height_of_tile = ceil_div(across, max(tiles, 1))
    pitch = across * pixels + p.kw - 1
    pitch = ceil_div(pitch, pixels) * VECTOR_BYTES if rotated else (pitch + lanes) * item
    planes = wide if rotated else 1
    band_rows = max(1, min(rows, BAND // (planes * pitch) - p.kh + 1))
    time = 2.0 * p.mb * rows * across * wide * p.kh * p.kw * lanes / RATE[item]
    bands = max(ceil_div(rows, band_rows), min(UNITS // max(p.mb, 1), rows // LOW, int(time / GRAIN)))
    band_rows = ceil_div(rows, max(bands, 1))
    bands = ceil_div(rows, max(band_rows, 1))
    chunks = min(CHUNKS, p.mb * bands) if weight else 1
    shared = aligned(chunks * wide * (p.kh * p.kw + 1) * VECTOR_BYTES)
    local = aligned(planes * (band_rows + p.kh - 1) * pitch + VECTOR_BYTES)
    if not (p.mb and rows and columns):
        return shared, local, no_program(pass_)
    act = p.act if pass_ == "forward" else 0
    least = np.full(lanes, 0 if act == 1 else -np.inf, dtype)
    whole = p.oc % lanes == 0
    ordered = p.oc if pixels == 2 else 0
    at_once, rest = rows_at_once(p.kw), 0
    if weight:
        at_once = min(at_once, p.kh)
        tile, rest = (
            weight_tile(dtype, count, pixels, p.kw, ordered, whole).address if count else 0 for count in (at_once, p.kh % at_once)
        )
    elif rotated:
        tile = input_tile(dtype, height_of_tile, pixels, p.kw).address
    else:
        tile = forward_tile(dtype, height_of_tile, pixels, p.kw, ordered, whole).address
    arguments = {"forward": (SRC, W, BIAS, DST), "backward_input": (SRC, W, DST), "backward_weight": (SRC, DST, DW, DB)}[pass_]
    words = [0] * (LOCAL_BYTES + 1)
    for index, word in {
        ACT: act, SLOPE: float(p.slope), LEAST: least, HEIGHT: height, WIDTH: width, ROWS: rows, COLUMNS: columns, CHANNELS: channels, N: n,
        TOP: top, LEFT: left, TAPS_Y: p.kh, TAPS_X: p.kw, PIXELS: pixels, STEP: pixels * n, WIDE: wide, PARTS: 1 if rotated else wide,
        TURNS: planes * p.kh, ACROSS: across, TILES: tiles, HEIGHT_OF_TILE: height_of_tile, PITCH: pitch, BAND_ROWS: band_rows, BANDS: bands,
        UNITS_OF: p.mb * bands, CHUNKS_OF: chunks, AT_ONCE: at_once, TILE: tile, REST: rest, LOCAL_BYTES: local,
        **{index: Argument(i) for i, index in enumerate(arguments)},
        WP: Argument(len(arguments)), LOCAL: Argument(len(arguments), shared),
    }.items():  # fmt: skip
        words[index] = word
    if weight:
        stages = Stage(chunk_task(dtype), chunks, time, local), Stage(sum_task(dtype), 1, 0.0)
    else:
        stages = Stage(pack_task(dtype, rotated), 1, 0.0), Stage(band_task(dtype, rotated), p.mb * bands, time, local)
    return shared, local, program(words, *stages, shared=shared)


def scratch(pass_, p):
    """Packed weights or private copies of dw, shared; a band per thread."""
    return programs(pass_, p)[:2]


def transformed(pass_, p):
    """The bytes of packed weights or private copies of dw."""
    return programs(pass_, p)[0]


def program_of(pass_, p):
    return programs(pass_, p)[2]


@runs(partial(program_of, "forward"))
def forward(p, x, w, b, out, scratch): ...


@runs(partial(program_of, "backward_input"))
def backward_input(p, g, w, dx, scratch): ...


@runs(partial(program_of, "backward_weight"))
def backward_weight(p, x, g, dw, db, scratch): ...
