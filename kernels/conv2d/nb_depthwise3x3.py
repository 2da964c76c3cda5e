"""Depthwise 3 x 3 convolution at stride 1 or 2: tiles of pixels read the image in place; the Numba twin of cy_depthwise3x3.

    dst[n, r, q, c] = act(b[c] + sum over taps t of  src[n, r*s + ty[t], q*s + tx[t], c] * w[c, t])         (gather.pxd, one channel per group)
    dw[c, t] = sum over n, r, q of  x[n, r*s + ty[t], q*s + tx[t], c] * g[n, r, q, c]

Shapes   images (mb, c, h, w) in channels-last memory, weights (c, 1, 3, 3)
Packed   wp[register of channels][t][lanes]
Tile     forward, backward_input: 2 rows x 4 columns of pixels x 1 register of channels (stride 1), every pixel loaded once for all its taps;
         at stride 2, one row; backward_input there has four gathers with 1, 2, 2 and 4 taps
         backward_weight: 9 taps x 1 register of channels, summed over rows and columns, 4 columns at a time
Loops    tasks: image, band of rows; all gathers of a band, so that g is read once from memory; results larger than L2 are stored past the caches
         blocks of channels whose rows stay in L1 (one block, if few would), rows, columns of the tile, registers of channels: channels
         innermost, because they are what lies side by side in memory
         backward_weight: tasks are chunks of rows, with a private dw each, x blocks of registers, added in order afterwards; groups of rows,
         registers of channels, columns: the sums stay in registers over a group. Images that the caches do not hold: blocks of columns before
         registers, in the order of memory, the next row fetched ahead.
Edges    rows above and below the image are a line of zeros, and so are the pixels of a tile beside the image. A last register of channels
         that is partial (backward_weight: masked), and columns at the edges in backward_weight and where that saves a tile, are computed pixel by
         pixel with the taps there are.
Cost     2 * 9 * mb * c * oh * ow flops; reads and writes every value once: bound by memory for images that do not fit the cache
Gains    over nb_depthwise, which loads a pixel for every tap
"""

from functools import cache, lru_cache

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, array_i64, compiled, doubles, floats_of, inline, ints, program, stack, task
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

# isort: off
from lamella.kernels._common.nb_simd import VECTOR_BYTES, declare, fma, load, namespace, operation, prefetch, prefetch_l1, simd, store
from lamella.kernels._common.nb_simd import first as first_lanes
from lamella.kernels.conv2d._nb_gather import (
    ACT, BIAS, BLOCKS, CHANNELS, COLUMNS, DB, DEPTH, DST, DST_COLUMN, DST_IMAGE, DST_ROW, DW, GROUPS, HEIGHT, K, MB, N, NR, OWN, PANELS,
    PARTS, PRIVATES, ROWS, SLOPE, SRC, SX, TAPS, TW, W, W_OUT, WIDTH, WP, activating, address, aligned, backward_gathers, ceil_div,
    forward_gather, sum_private,
)  # fmt: skip
# isort: on

UNITS = 16  # tasks wanted at least
BAND = 192 * 1024  # bytes of source per task
NEAR = 32 * 1024  # bytes of source rows, those to come too, that stay in L1
LEAST = 4  # registers of channels in them at least
STREAM_FROM = 1 << 20  # bytes of results from which on they go past the caches: what they would push out is what is read next
FAR_FROM = 16 << 20  # bytes of images from which on they are fetched ahead: the caches do not hold them
WIDE = 4 if VECTOR_BYTES == 64 else 2  # columns of a tile
CHUNKS = 8  # tasks of backward_weight, wanted at least
MOST = 16  # registers of channels of such a task, at most
SUMMED = 64  # columns that are summed at once, rows of them, before the next register
FEW = 8  # columns of x, the same in images that the caches do not hold, which are read in the order in which they lie there
COLUMNS_OF_ROW = 9  # of the source, in a table of addresses

# words of the context, beside those of the Gather (of the first part)
BAND_ROWS, BANDS, ALL_ROWS, STREAM, FAR, ZEROS, ZEROS_BYTES, COUNT, BLOCK, PART = range(OWN, OWN + 10)
# words of each part, a gather, from PART on: addresses of the function for one row and for two
(
    RUN, RUN_TWO, P_ROWS, P_COLUMNS, DST_FIRST, Y_LOW, X_LOW, FIRST, BEHIND, P_TAPS, P_TW, P_WP, FIELDS,
) = range(13)  # fmt: skip

_I64 = ir.IntType(64)


def _i64(value):
    return ir.Constant(_I64, value)


def _vector(dtype):
    return ir.VectorType(ir.FloatType() if dtype == np.float32 else ir.DoubleType(), VECTOR_BYTES // dtype.itemsize)


def _steps(b, step, count):
    """0, step, 2 * step ..."""
    return [b.mul(step, _i64(i)) for i in range(count)]


def _entry(b, table, offset, number):
    """An address in a table, plus an offset."""
    return b.add(b.load(b.inttoptr(b.add(table, _i64(8 * number)), _I64.as_pointer())), offset)


def _emit_tile(b, dtype, rows, kh, kw, s, edge, arguments):
    x, (pixel, line, wp, bias, relu, c, row, column, stream, far, table, offset) = arguments[:4], arguments[4:]
    vector, lines, across = _vector(dtype), kh + (rows - 1) * s, (WIDE - 1) * s + kw
    pixels = _steps(b, pixel, WIDE * s)
    w = [load(b, b.add(wp, _i64(t * VECTOR_BYTES)), vector) for t in range(kh * kw)]
    start = load(b, bias, vector)
    sums = [start] * (rows * WIDE)
    fetch, fetched = (b.append_basic_block(name) for name in ("fetch", "fetched"))
    b.cbranch(b.icmp_signed("!=", far, _i64(0)), fetch, fetched)
    b.position_at_end(fetch)  # what the next rows read first
    for i in range(rows * s):
        ahead = b.add(x[lines - 1], b.mul(line, _i64(i + 1)))
        for u in range(WIDE * s):
            prefetch(b, b.add(ahead, pixels[u]))
    b.branch(fetched)
    b.position_at_end(fetched)
    for i in range(lines):
        at = [_entry(b, table, offset, i * COLUMNS_OF_ROW + u) if edge else b.add(x[i], b.mul(pixel, _i64(u))) for u in range(across)]
        values = [load(b, there, vector) for there in at]
        for r in range(rows):
            if 0 <= i - r * s < kh:
                for q in range(WIDE):
                    for j in range(kw):
                        sums[r * WIDE + q] = fma(b, values[q * s + j], w[(i - r * s) * kw + j], sums[r * WIDE + q])
    before, floor, floored = b.block, *(b.append_basic_block(name) for name in ("floor", "floored"))
    b.cbranch(b.icmp_signed("!=", relu, _i64(0)), floor, floored)
    b.position_at_end(floor)
    zero = ir.Constant(vector, [0.0] * vector.count)
    positive = [b.select(b.fcmp_ordered("<=", value, zero), zero, value) for value in sums]
    b.branch(floored)
    b.position_at_end(floored)
    either = [b.phi(vector) for _ in sums]
    for phi, value, above in zip(either, sums, positive):
        phi.add_incoming(value, before)
        phi.add_incoming(above, floor)
    sums = either
    past, cached, end = (b.append_basic_block(name) for name in ("past", "cached", "end"))
    b.cbranch(b.icmp_signed("!=", stream, _i64(0)), past, cached)
    for block in (past, cached):
        b.position_at_end(block)
        for r in range(rows):
            for q in range(WIDE):
                to = b.add(b.add(c, b.mul(row, _i64(r))), b.mul(column, _i64(q)))
                if block is past:
                    stored = b.store(sums[r * WIDE + q], b.inttoptr(to, vector.as_pointer()))
                    stored.align = VECTOR_BYTES
                    stored.set_metadata("nontemporal", b.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
                else:
                    store(b, sums[r * WIDE + q], to)
        b.branch(end)
    b.position_at_end(end)


@cache
def tile(dtype, rows, kh, kw, s, edge):
    """rows x WIDE pixels of one register of channels; source row i begins at x<i>; at an edge, its columns are where a table says, plus an offset."""

    @intrinsic
    def f(typingctx, x0, x1, x2, x3, pixel, line, wp, bias, relu, c, row, column, stream, far, table, offset):
        def codegen(context, builder, signature, arguments):
            _emit_tile(builder, dtype, rows, kh, kw, s, edge, arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 16), codegen

    return f


def _join(b, values):
    """Values of one type as a tuple."""
    joined = ir.Constant(ir.ArrayType(values[0].type, len(values)), ir.Undefined)
    for i, value in enumerate(values):
        joined = b.insert_value(joined, value, i)
    return joined


def _split(b, joined):
    return [b.extract_value(joined, i) for i in range(joined.type.count)]


@cache
def nine(dtype):
    """Nine registers as one value: nine.type, nine.load(address), nine.store(address, registers)."""
    kind, vector, steps = types.UniTuple(simd(dtype).type, 9), _vector(dtype), [_i64(t * VECTOR_BYTES) for t in range(9)]

    def save(b, at, joined):
        for step, value in zip(steps, _split(b, joined)):
            store(b, value, b.add(at, step))

    return namespace(
        f"nine_{kind}",
        type=kind,
        load=operation(kind, (types.int64,), lambda b, at: _join(b, [load(b, b.add(at, step), vector) for step in steps])),
        store=operation(None, (types.int64, kind), save),
    )


def _emit_sums(b, dtype, s, columns, across, masked, arguments):
    sums, x, (g, pixel, n) = _split(b, arguments[0]), arguments[1:4], arguments[4:]
    vector, pixels = _vector(dtype), _steps(b, pixel, (columns - 1) * s + 3)
    mask = first_lanes(b, n, vector.count) if masked else None
    gs = [load(b, b.add(g, step), vector, mask) for step in pixels[:columns]]
    for i in range(3):
        read = sorted({q * s + j for q in range(columns) for j in across})
        values = {u: load(b, b.add(x[i], pixels[u]), vector, mask) for u in read}
        for q in range(columns):
            for j in across:
                sums[i * 3 + j] = fma(b, gs[q], values[q * s + j], sums[i * 3 + j])
    return _join(b, sums)


@cache
def add_columns(dtype, s, columns, across, masked):
    """nine(dtype) after `columns` columns of x * g, for the taps in these columns of the filter; masked: of n channels only.

    What tap 0 reads of source row i begins at x<i>.
    """
    kind = nine(dtype).type

    @intrinsic
    def f(typingctx, sums, x0, x1, x2, g, pixel, n):
        def codegen(context, builder, signature, arguments):
            return _emit_sums(builder, dtype, s, columns, across, masked, arguments)

        return kind(kind, *[types.int64] * 6), codegen

    return f


@intrinsic
def call_run(typingctx, at, ctx, part, image, r, c0, c1):
    """Call the `rows_run` at an address."""

    def codegen(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in arguments[1:]])
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return types.void(types.int64, types.voidptr, *[types.int64] * 5), codegen


@intrinsic
def fence(typingctx):
    """Stores past the caches come before those that follow."""

    def codegen(context, builder, signature, arguments):
        builder.call(declare(builder, "llvm.x86.sse.sfence", ir.VoidType(), []), [])
        return context.get_dummy_value()

    return types.void(), codegen


@cache
def source_row(dtype):
    item = dtype.itemsize

    @inline
    def row(c, image, y, x_low):
        """Where column 0 of the output begins to read row y of the source, which is a line of zeros outside the image."""
        pixel, inside = c[CHANNELS] * item, 0 <= y < c[HEIGHT]
        there = c[SRC] + (image * c[HEIGHT] + y) * c[WIDTH] * pixel
        return (there if inside else c[ZEROS]) + x_low * pixel

    return row


@cache
def columns_table(dtype):
    item, source = dtype.itemsize, source_row(dtype)

    @inline
    def fill(c, at, image, y, lines, first, across, x_low):
        """at[9 * i ..]: where `across` columns of the source from `first` on lie in its rows from y on; those outside are zeros."""
        pixel, width, zeros = c[CHANNELS] * item, c[WIDTH], c[ZEROS]
        for i in range(lines):
            row = source(c, image, y + i, x_low) + first * pixel
            for u in range(across):
                at[i * COLUMNS_OF_ROW + u] = row + u * pixel if 0 <= first + u + x_low < width else zeros

    return fill


@cache
def rows_run(dtype, rows, kh, kw, s):
    """The function that computes `rows` rows of a part from row r on, channels c0 to c1, with its `.address`."""
    v, item, source = simd(dtype), dtype.itemsize, source_row(dtype)
    lanes = v.lanes
    inside, at_edge = tile(dtype, rows, kh, kw, s, False), tile(dtype, rows, kh, kw, s, True)
    activate, fill = activating(dtype), columns_table(dtype)
    lines, across = kh + (rows - 1) * s, (WIDE - 1) * s + kw
    table_of = stack(8 * 4 * COLUMNS_OF_ROW)

    def run(ctx, k, image, r, c0, c1):
        c, slope = ints(ctx), doubles(ctx)[SLOPE]
        channels, width, columns, first, behind = c[CHANNELS], c[WIDTH], c[k + P_COLUMNS], c[k + FIRST], c[k + BEHIND]
        y, x_low, zeros = r * s + c[k + Y_LOW], c[k + X_LOW], c[ZEROS]
        pixel, by_row, by_column = channels * item, c[DST_ROW] * item, c[DST_COLUMN] * item
        x0, x1, x2, x3 = (
            source(c, image, y, x_low),
            source(c, image, y + 1, x_low),
            source(c, image, y + 2, x_low),
            source(c, image, y + 3, x_low),
        )
        dst = c[DST] + (c[k + DST_FIRST] + image * c[DST_IMAGE]) * item + r * by_row
        wp = c[WP] + c[k + P_WP]
        stream = c[STREAM] if c[DST] % VECTOR_BYTES == 0 else 0
        far = c[FAR] if c[COUNT] == 1 else 1
        relu = 1 if c[ACT] == 1 else 0
        table = table_of()
        entries = array_i64(table)
        begin, end = 0, columns
        if (behind - first + WIDE - 1) // WIDE < (columns + WIDE - 1) // WIDE:  # tiles fit between the edges: those pixel by pixel
            begin, end = first, behind
        tiled = end - begin >= WIDE
        q = begin
        whole = c0 + (c1 - c0) // lanes * lanes
        while tiled and q < end:
            start = min(q, end - WIDE)  # the last tile computes some columns twice
            at, to = start * s * pixel, dst + start * by_column
            edge = start < first or start + WIDE > behind
            if edge:
                fill(c, entries, image, y, lines, start * s, across, x_low)
            for i in range(c0 * item, whole * item, VECTOR_BYTES):
                bias = zeros if c[BIAS] == 0 else c[BIAS] + i
                if not edge:
                    inside(
                        x0 + at + i, x1 + at + i, x2 + at + i, x3 + at + i, pixel, width * pixel, wp + i * kh * kw, bias, relu, to + i, by_row, by_column,
                        stream, far, 0, 0,
                    )  # fmt: skip
                else:
                    at_edge(
                        x0 + at + i, x1 + at + i, x2 + at + i, x3 + at + i, pixel, width * pixel, wp + i * kh * kw, bias, relu, to + i, by_row, by_column,
                        stream, far, table, i,
                    )  # fmt: skip
            q = start + WIDE
        for column in range(columns):
            covered = tiled and begin <= column < end
            low = -column * s - x_low
            for i in range(whole if covered else c0, c1, lanes):
                n = min(lanes, c1 - i)
                for h in range(rows):
                    a = v.load_n(c[BIAS] + i * item, n) if c[BIAS] != 0 else v.zero()
                    for t in range(kh):
                        there = source(c, image, y + h * s + t, x_low) + column * s * pixel + i * item
                        for j in range(max(low, 0), min(kw, width + low)):
                            a = v.fma(v.load_n(there + j * pixel, n), v.load_n(wp + i * kh * kw * item + (t * kw + j) * VECTOR_BYTES, n), a)
                    v.store_n(dst + h * by_row + column * by_column + i * item, n, a)
        if c[ACT] != 0:
            for h in range(rows):
                for column in range(columns):
                    activate(c[ACT], slope, dst + h * by_row + column * by_column + c0 * item, c1 - c0)

    return compiled(run, types.void(types.voidptr, *[types.int64] * 5))


@cache
def prepare_task(dtype):
    """The line of zeros and the packed weights of all parts."""
    array, item, lanes = floats_of(dtype), dtype.itemsize, VECTOR_BYTES // dtype.itemsize
    zero = dtype.type(0)

    @task
    def prepare(ctx, task, slot):
        c = ints(ctx)
        line, w, channels = array(c[ZEROS]), array(c[W]), c[CHANNELS]
        for i in range(c[ZEROS_BYTES] // item):
            line[i] = zero
        for part in range(c[COUNT]):
            k = PART + part * FIELDS
            wp, tw = array(c[WP] + c[k + P_WP]), array_i64(c[k + P_TW])
            taps = c[k + P_TAPS]
            for i in range(channels):
                for t in range(taps):
                    wp[(i // lanes * taps + t) * lanes + i % lanes] = w[i * 9 + tw[t]]

    return prepare


@task
def band(ctx, task, slot):
    """A band of rows of an image."""
    c = ints(ctx)
    image, first = task // c[BANDS], task % c[BANDS] * c[BAND_ROWS]
    behind = min(c[ALL_ROWS], first + c[BAND_ROWS])
    for c0 in range(0, c[CHANNELS], c[BLOCK]):
        c1, r = min(c[CHANNELS], c0 + c[BLOCK]), first
        while r < behind:
            rows = 2 if c[PART + RUN_TWO] != 0 and r + 1 < behind else 1
            for part in range(c[COUNT]):
                k = PART + part * FIELDS
                if r < c[k + P_ROWS]:
                    call_run(c[k + RUN_TWO] if rows == 2 else c[k + RUN], ctx, k, image, r, c0, c1)
            r += rows
    if c[STREAM] != 0:
        fence()


@cache
def register_sums(dtype, s, masked):
    """The function that adds rows r0 to r1 and columns q0 to q1 of an image, the n channels `at` bytes behind the first, to the sums of their register."""
    item, source, nine_sums = dtype.itemsize, source_row(dtype), nine(dtype)
    tile = add_columns(dtype, s, WIDE, (0, 1, 2), masked)
    left, middle, right = (add_columns(dtype, s, 1, (j,), masked) for j in range(3))

    @inline
    def add(c, image, r0, r1, q0, q1, at, n, to):
        pixel, width, rows, far = c[CHANNELS] * item, c[WIDTH], c[ROWS], c[FAR]
        y_low, x_low, first, behind = c[PART + Y_LOW], c[PART + X_LOW], c[PART + FIRST], min(c[PART + BEHIND], q1) - WIDE
        line, g_line = width * pixel, c[DST_ROW] * item
        sums = nine_sums.load(to)
        for r in range(r0, r1):
            y = r * s + y_low
            x0, x1, x2 = source(c, image, y, x_low) + at, source(c, image, y + 1, x_low) + at, source(c, image, y + 2, x_low) + at
            g = c[DST] + (image * rows + r) * g_line + at
            if far != 0:  # what the next row reads first
                for q in range(q0, q1):
                    prefetch_l1(g + g_line + q * pixel)
                    for i in range(s):
                        for j in range(s):
                            prefetch_l1(x2 + (i + 1) * line + (q * s + j) * pixel)
            q = q0
            while q < q1:
                column, at_g = q * s, g + q * pixel
                at0, at1, at2 = x0 + column * pixel, x1 + column * pixel, x2 + column * pixel
                if first <= q <= behind:
                    sums = tile(sums, at0, at1, at2, at_g, pixel, n)
                    q += WIDE
                else:
                    if 0 <= column + x_low < width:
                        sums = left(sums, at0, at1, at2, at_g, pixel, n)
                    if 0 <= column + 1 + x_low < width:
                        sums = middle(sums, at0, at1, at2, at_g, pixel, n)
                    if 0 <= column + 2 + x_low < width:
                        sums = right(sums, at0, at1, at2, at_g, pixel, n)
                    q += 1
        nine_sums.store(to, sums)

    return add


@cache
def chunk_task(dtype, s):
    """The private dw of a chunk of the rows of all images, for a block of registers: for each of these the nine taps, and once more for db."""
    v, item = simd(dtype), dtype.itemsize
    lanes = v.lanes
    add_whole, add_partial = register_sums(dtype, s, False), register_sums(dtype, s, True)

    @task
    def chunk(ctx, task, slot):
        c = ints(ctx)
        channels, columns, rows, pixel = c[CHANNELS], c[COLUMNS], c[ROWS], c[CHANNELS] * item
        part, c0 = task // c[BLOCKS], task % c[BLOCKS] * c[BLOCK]
        c1 = min(channels, c0 + c[BLOCK])
        most = FEW // s if c[FAR] != 0 else columns
        sums = c[PRIVATES] + part * c[PANELS] * 10 * VECTOR_BYTES
        for i in range(c0, c1, lanes):
            for t in range(10):
                v.store(sums + (i * 10 + t * lanes) * item, v.zero())
        row, behind = part * c[MB] * rows // c[PARTS], (part + 1) * c[MB] * rows // c[PARTS]
        while row < behind:
            image, r0 = row // rows, row % rows
            r1 = min(rows, r0 + min(behind - row, max(1, SUMMED // columns)))
            for q0 in range(0, columns, most):
                q1 = min(columns, q0 + most)
                for i in range(c0, c1, lanes):
                    n, at, to = min(lanes, channels - i), i * item, sums + i * 10 * item
                    if n == lanes:
                        add_whole(c, image, r0, r1, q0, q1, at, n, to)
                    else:
                        add_partial(c, image, r0, r1, q0, q1, at, n, to)
                    if c[DB] != 0 and q1 == columns:
                        total = v.load(to + 9 * VECTOR_BYTES)
                        for g in range(c[DST] + row * columns * pixel + at, c[DST] + (row + r1 - r0) * columns * pixel, pixel):
                            total = total + v.load_n(g, n)
                        v.store(to + 9 * VECTOR_BYTES, total)
            row += r1 - r0

    return chunk


def _part(v, wp, runs):
    """The words of a gather; `runs`: whether it needs the functions for one row and for two."""
    words = [0] * FIELDS
    first = min(max(ceil_div(-v.x_low, v.sx), 0), v.columns)
    for index, word in {
        P_ROWS: v.rows, P_COLUMNS: v.columns, DST_FIRST: v.dst_first, Y_LOW: v.y_low, X_LOW: v.x_low, FIRST: first,
        BEHIND: max(first, min(v.columns, (v.width - 1 - v.x_high) // v.sx + 1)), P_TAPS: v.taps, P_TW: address(v.tables[2]), P_WP: wp,
    }.items():  # fmt: skip
        words[index] = word
    for rows in runs:
        words[RUN_TWO if rows == 2 else RUN] = rows_run(v.dtype, rows, v.y_high - v.y_low + 1, v.x_high - v.x_low + 1, v.sx).address
    return words


@lru_cache(4096)
def programs(pass_, p):
    """(bytes of scratch, program, the gathers, whose tables the program reads)"""
    weight, backward = pass_ == "backward_weight", pass_ == "backward_input"
    gathers = list(backward_gathers(p)) if backward else [forward_gather(p, p.act if pass_ == "forward" else 0)]
    if not gathers or not p.mb and not weight:
        return 0, None, []
    v = gathers[0]
    rows = max(part.rows for part in gathers)
    image = p.mb * v.channels * v.item
    far = image * (p.ih * p.iw + p.oh * p.ow) >= FAR_FROM
    near, registers = NEAR // ((3 + 2 * p.sh) * v.width * VECTOR_BYTES + 1), ceil_div(v.channels * v.item, VECTOR_BYTES)
    if weight:
        blocks = 1 if far else ceil_div(registers, MOST)
    else:
        blocks = ceil_div(registers, near) if near >= LEAST else 1
    band_bytes = v.sy * v.width * v.channels * v.item
    band_rows = max(2, min(BAND // max(band_bytes, 1) if blocks == 1 else rows, ceil_div(rows * v.mb, UNITS)) // 2 * 2)
    zeros = aligned(v.width * v.channels * v.item + VECTOR_BYTES)
    packed = aligned(9 * ceil_div(v.channels * v.item, VECTOR_BYTES) * VECTOR_BYTES)
    words = [0] * PART
    for index, word in {
        MB: v.mb, HEIGHT: v.height, WIDTH: v.width, CHANNELS: v.channels, ROWS: v.rows, COLUMNS: v.columns, SX: v.sx,
        DST_IMAGE: v.dst_image, DST_ROW: v.dst_row, DST_COLUMN: v.dst_column, TAPS: v.taps, TW: address(v.tables[2]), ACT: v.act,
        SLOPE: float(v.slope), BAND_ROWS: band_rows, BANDS: ceil_div(rows, band_rows), ALL_ROWS: rows, BLOCKS: blocks,
        PARTS: max(1, min(ceil_div(CHUNKS, blocks), v.mb * v.rows)), PANELS: registers, NR: v.width_of_register, N: v.channels, W_OUT: v.taps,
        K: v.taps, DEPTH: 1, GROUPS: 1,
        FAR: far, BLOCK: ceil_div(registers, blocks) * VECTOR_BYTES // v.item, ZEROS_BYTES: zeros, COUNT: 0 if weight else len(gathers),
        STREAM: v.act == 0 and image * (p.ih * p.iw if backward else p.oh * p.ow) >= STREAM_FROM and v.channels * v.item % VECTOR_BYTES == 0,
    }.items():  # fmt: skip
        words[index] = word
    arrays = {"forward": [SRC, W, BIAS, DST], "backward_input": [SRC, W, DST], "backward_weight": [SRC, DST, DW, DB]}[pass_]
    for i, index in enumerate(arrays):
        words[index] = Argument(i)
    words[ZEROS] = Argument(len(arrays))
    words[PRIVATES if weight else WP] = Argument(len(arrays), zeros)
    time = 0.01 * v.item * p.mb * v.channels * (p.ih * p.iw + 2 * p.oh * p.ow)
    prepare = Stage(prepare_task(p.dtype), 1, 0.0)
    if weight:
        parts = words[PARTS]
        stages = prepare, Stage(chunk_task(p.dtype, p.sh), parts * blocks, time), Stage(sum_private(p.dtype), registers, 0.0)
        return zeros + aligned(parts * registers * 10 * VECTOR_BYTES), program(words + _part(v, 0, ()), *stages), gathers
    for i, part in enumerate(gathers):
        words += _part(part, i * packed, (1, 2) if p.sh == 1 else (1,))
    return zeros + len(gathers) * packed, program(words, prepare, Stage(band, p.mb * words[BANDS], time)), gathers


def accepts(pass_, p):
    """3 x 3 at stride 1 or 2; zeros on either side reach over no more than a filter."""
    return p.groups == p.ic == p.oc and p.w_shape[2:] == (3, 3) and p.sh == p.sw <= 2 and p.dh == p.dw == 1 and max(p.ph, p.pw) <= 2


def scratch(pass_, p):
    """A line of zeros, then packed weights or private copies of dw."""
    return programs(pass_, p)[0], 0


def forward(p, x, w, b, out, scratch):
    if out.size:
        programs("forward", p)[1](x, w, b, out, scratch)


def backward_input(p, g, w, dx, scratch):
    if dx.size:
        programs("backward_input", p)[1](g, w, dx, scratch)


def backward_weight(p, x, g, dw, db, scratch):
    programs("backward_weight", p)[1](x, g, dw, db, scratch)
