"""Blocked, register-tiled matrix product, packed where memory asks for it; the Numba twin of cy_packed.

    out = act(alpha * a @ b + beta * c + bias)

Shapes   a (.., m, k)  b (.., k, n)  c, out (.., m, n)  bias (n,) or (m,); leading axes, equal for all, are a batch
Storage  as cy_packed: a, b of any strides; c and out with unit column stride
Tile     mr x nr (_common/nb_tile.py), of exactly the rows and registers there are; it adds what stands in `out`, c, or the bias of the columns

Loops    BLOCKS, RANK, DOT and TURNED, as in cy_packed, where the reasons stand; the sums of RANK and DOT are _nb_registers'. A program holds for
         one problem and one set of strides, so `_plan` chooses once.
Edges    an odd strip is padded; the last rows make lower tiles; stores are masked.
After    the last pass, `finish` adds the biases that no tile could add and applies the activation, tile by tile, in L1.
         alpha is multiplied into the copy of A; a beta other than 0 and 1 into out, before the first tiles add to it.
Threads  tasks are defined by m, n, k and the batch; each element is summed by one task in one order.
"""

from functools import cache, lru_cache

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, doubles, floats_of, inline, ints, program, task, word
from lamella.kernels._common.nb_math import math_of
from lamella.kernels._common.nb_simd import VECTOR_BYTES, lanes, maximum, select, simd
from lamella.kernels._common.nb_tile import MR, NV, call_ahead, tile_ahead_function
from lamella.kernels._common.pool import get_num_threads
from lamella.kernels.gemm._nb_registers import RANK_COLUMNS, dot_columns, dot_rows, dot_sums, rank_sums

KC, MC = 1024, 84  # depth of a pass over C, rows of a block of A
RANK_ROWS, DOT_ROWS, DOT_DEPTH, DOT_BLOCK = 8, 8, 64, 32768
STRIPS = 524288  # bytes of the strips packed at a time, if one block of A uses them
SHALLOW = 16  # a depth at which C is what takes the time
SMALL = 32768  # bytes of an operand that stays in L1 as it is
PANEL, PACK = 8388608, 8  # bytes of shared strips, or of a B that does not stay in L3; strips of a task that packs
TURN = 4  # strips of a run of rows, where roles are exchanged
RATE, PACK_RATE = {4: 120.0, 8: 60.0}, 16  # flops per ns of one thread and bytes per ns of one that packs, for the pool's estimate
NONE, COLUMN, ROW = 0, 1, 2  # bias
RELU, LEAKY_RELU, SIGMOID, TANH = 1, 2, 3, 4

# words of the context
(
    M, N, K, A, ARS, ACS, B, BRS, BCS, OUT, LDC, C, LDCC, BIAS, BIAS_KIND, ACT, AXES, AXIS_TABLE, ROW_TASKS, COLUMN_TASKS, PASSES, COPY_A, PACK_B,
    OWN, OWN_BYTES, A_BYTES, TILES, ZERO, FIRST, LAST, J0, J1, SHARED, TOGETHER, TALLEST, ALPHA, BETA, SLOPE,
) = range(38)  # fmt: skip

_ZERO = np.zeros(1, np.int64)


@inline
def ceil_div(a, b):
    return (a + b - 1) // b


@inline
def spread_of(n):
    """A stride of at least n elements, an odd number of cache lines: successive rows fall into different sets."""
    return (ceil_div(n, 16) | 1) * 16


@inline
def rows_of(depth):
    """Rows from strip to strip: an odd number, so that equal rows of several strips fall into different sets."""
    return depth | 1


@cache
def locating(dtype, height):
    """Where a task's block lies, in panels of `height` rows (0: all rows): its first and last row and column, and the matrices of the batch."""
    nr = NV * lanes(dtype)

    @inline
    def locate(c, task):
        row, column, batch = task // c[COLUMN_TASKS] % c[ROW_TASKS], task % c[COLUMN_TASKS], task // c[COLUMN_TASKS] // c[ROW_TASKS]
        high = height if height else c[M]
        panels, strips = ceil_div(c[M], high), ceil_div(c[J1] - c[J0], nr)
        a, b, old, out = c[A], c[B], c[C], c[OUT]
        for axis in range(c[AXES] - 1, -1, -1):
            at = c[AXIS_TABLE] + axis * 40
            index, batch = batch % word(at), batch // word(at)
            a += index * word(at + 8)
            b += index * word(at + 16)
            old += index * word(at + 24)
            out += index * word(at + 32)
        i0, i1 = row * panels // c[ROW_TASKS] * high, min(c[M], (row + 1) * panels // c[ROW_TASKS] * high)
        j0, j1 = column * strips // c[COLUMN_TASKS] * nr, (column + 1) * strips // c[COLUMN_TASKS] * nr
        return a, b, old, out, i0, i1, c[J0] + j0, min(c[J1], c[J0] + j1)

    return locate


@cache
def transposing(dtype):
    """dst[j * ld_dst + i] = src[i * ld_src + j] for i < m, j < n; leading dimensions in bytes."""
    v, item = simd(dtype), dtype.itemsize
    count = v.lanes

    @inline
    def transpose(src, ld_src, dst, ld_dst, m, n):
        for i in range(0, m, count):
            for j in range(0, n, count):
                start, to = src + i * ld_src + j * item, dst + j * ld_dst + i * item
                if m - i >= count and n - j >= count:
                    v.square(start, ld_src, to, ld_dst)
                else:
                    v.square_n(start, ld_src, to, ld_dst, min(count, m - i), min(count, n - j))

    return transpose


@cache
def packing_b(dtype):
    """`columns` columns of B in strips of nr, each row after row; the last strip is filled up with zeros."""
    array, v, item = floats_of(dtype), simd(dtype), dtype.itemsize
    count = v.lanes
    nr = NV * count
    line = nr * item
    transpose = transposing(dtype)

    @inline
    def pack(src, rs, cs, depth, columns, dst):
        whole = columns // nr
        width = columns - whole * nr
        step = rows_of(depth) * line
        if cs == 1:
            for l in range(depth):  # along the rows: the strips are written side by side
                row, to = src + l * rs * item, dst + l * line
                for strip in range(whole):
                    for j in range(NV):
                        v.store(to + strip * step + j * VECTOR_BYTES, v.load(row + strip * line + j * VECTOR_BYTES))
                if width > 0:
                    row, to = row + whole * line, to + whole * step
                    for j in range(NV):
                        v.store(to + j * VECTOR_BYTES, v.load_n(row + j * VECTOR_BYTES, width - j * count))
            return
        for strip in range(ceil_div(columns, nr)):
            n, to = min(nr, columns - strip * nr), dst + strip * step
            if n < nr:
                for l in range(depth * NV):
                    v.store(to + l * VECTOR_BYTES, v.zero())
            if rs == 1:
                transpose(src + strip * nr * cs * item, cs * item, to, line, n, depth)
            else:
                x, y = array(src + strip * nr * cs * item), array(to)
                for l in range(depth):
                    for j in range(n):
                        y[l * nr + j] = x[l * rs + j * cs]

    return pack


@cache
def copying_a(dtype):
    """A block of A as it stands, times alpha, with a stride that is kind to the cache: rows, or columns where those are contiguous."""
    array, v, item, real = floats_of(dtype), simd(dtype), dtype.itemsize, dtype.type
    count = v.lanes

    @inline
    def copy(src, rs, cs, rows, depth, alpha, dst):
        lines, length, step = (depth, rows, cs) if rs == 1 else (rows, depth, rs)
        ld = spread_of(length)
        if rs == 1 or cs == 1:
            for l in range(lines):
                start, to = src + l * step * item, dst + l * ld * item
                rest = length // count * count
                for i in range(0, rest, count):
                    v.store(to + i * item, v.load(start + i * item) * alpha)
                if rest < length:
                    v.store_n(to + rest * item, length - rest, v.load_n(start + rest * item, length - rest) * alpha)
        else:
            x, y = array(src), array(dst)
            for i in range(rows):
                for l in range(depth):
                    y[i * ld + l] = x[i * rs + l * cs] * real(alpha)

    return copy


@cache
def finishing(dtype):
    """out = act(alpha * sums + beta * old + bias) for `height` rows from row i on and `width` columns from column j on."""
    array, v, f, item, real = floats_of(dtype), simd(dtype), math_of(dtype, 1), dtype.itemsize, dtype.type
    count = v.lanes
    zero = real(0)

    @inline
    def finish(c, slope, alpha, beta, kind, sums, ld, i, height, j, width, old, ldo, out):
        act, ldc = c[ACT], c[LDC]
        for r in range(height):
            added = array(c[BIAS])[i + r] if kind == ROW else zero
            for u in range(0, width, count):
                n = min(count, width - u)
                y = v.load_n(sums + (r * ld + u) * item, n) * alpha
                if beta != 0:
                    y = v.fma(v.set(real(beta)), v.load_n(old + (r * ldo + u) * item, n), y)
                if kind == COLUMN:
                    y = y + v.load_n(c[BIAS] + (j + u) * item, n)
                elif kind == ROW:
                    y = y + added
                if act == RELU:
                    y = maximum(zero, y)
                elif act == LEAKY_RELU:
                    y = select(y > zero, y, y * real(slope))
                elif act == SIGMOID:
                    y = f.sigmoid(y)
                elif act == TANH:
                    y = f.tanh(y)
                v.store_n(out + (r * ldc + u) * item, n, y)

    return finish


@cache
def block_task(dtype):
    """A block of C."""
    v, item, real = simd(dtype), dtype.itemsize, dtype.type
    count = v.lanes
    nr = NV * count
    line = nr * item
    locate, pack_b, copy_a, finish = locating(dtype, MR), packing_b(dtype), copying_a(dtype), finishing(dtype)

    @task
    def block(ctx, task, slot):
        c, f = ints(ctx), doubles(ctx)
        x, y, old, out, i0, i1, j0, j1 = locate(c, task)
        rows, columns = i1 - i0, j1 - j0
        blocks = ceil_div(rows, MC)
        mc = ceil_div(ceil_div(rows, MR), blocks) * MR
        ap = c[OWN] + slot * c[OWN_BYTES]
        bp = ap + c[A_BYTES]
        brs, bcs, ldc, ldo, kind, beta = c[BRS], c[BCS], c[LDC], c[LDCC], c[BIAS_KIND], f[BETA]
        if old == 0:
            old, ldo = out, ldc
        if beta != 0.0 and beta != 1.0 and c[FIRST] == 0:  # from here on the old values stand in out
            for i in range(i0, i1):
                for j in range(j0, j1, count):
                    n = min(count, j1 - j)
                    v.store_n(out + (i * ldc + j) * item, n, v.load_n(old + (i * ldo + j) * item, n) * real(beta))
            old, ldo = out, ldc
        added = kind == COLUMN and beta == 0.0  # by the first tiles
        shared, together = c[SHARED] != 0, c[TOGETHER] != 0
        after = c[ACT] != 0 or (kind != NONE and not added)
        for pass_ in range(c[FIRST], c[LAST]):
            pc = c[K] * pass_ // c[PASSES]
            depth = c[K] * (pass_ + 1) // c[PASSES] - pc
            packed_step = rows_of(depth) * line
            finishes, along = after and pass_ == c[PASSES] - 1, depth <= SHALLOW
            j = 0
            while j < columns:
                source = y + (pc * brs + (j0 + j) * bcs) * item
                # whole strips in place; or strips that all share; or a few after the others, if they serve one block of A only; or all of them
                run = columns // nr * nr - j
                b, bls, strip_step, ahead, reach, ahead_step = source, brs, line, source + line, nr, brs * item
                ahead_line, ahead_strip = 64, line
                if c[PACK_B] != 0 or run == 0:
                    run = columns - j
                    b, bls, strip_step = bp, nr, packed_step
                    if blocks > 1 or shared:
                        b = c[SHARED] + (j0 - c[J0]) // nr * packed_step if shared else bp
                        ahead, ahead_step, ahead_line, ahead_strip = b + packed_step, VECTOR_BYTES, depth * 64, packed_step
                    else:
                        run = min(run, nr * max(1, STRIPS // (max(depth, 1) * line)))
                        ahead, reach, ahead_step = source + run * item, run, (brs * item if bcs == 1 else 0)
                    if not together:
                        pack_b(source, brs, bcs, depth, run, b)
                for i in range(0, rows, mc):
                    high = min(mc, rows - i)
                    a, ars, acs = x + ((i0 + i) * c[ARS] + pc * c[ACS]) * item, c[ARS], c[ACS]
                    if c[COPY_A] != 0:
                        if j == 0 or blocks > 1:
                            copy_a(a, ars, acs, high, depth, real(f[ALPHA]), ap)
                        a, ars, acs = ap, (1 if c[ARS] == 1 else spread_of(depth)), (spread_of(high) if c[ARS] == 1 else 1)
                    strips, panels = ceil_div(run, nr), ceil_div(high, c[TALLEST])
                    height = ceil_div(high, panels)  # panels of equal height: a low one would wait for its few accumulators
                    for tile in range(strips * panels):
                        strip, panel = (tile % strips, tile // strips) if along else (tile // panels, tile % panels)
                        column, r = j0 + j + strip * nr, i0 + i + panel * height
                        width, h = min(nr, run - strip * nr), min(height, i0 + i + high - r)
                        to = out + (r * ldc + column) * item
                        d, ldd = to, ldc
                        if pass_ == 0:
                            d, ldd = (c[BIAS] + column * item if added else 0), 0
                            if beta != 0.0:
                                d, ldd = old + (r * ldo + column) * item, ldo
                        start, step = a, 0
                        if panel * 64 < NV * VECTOR_BYTES and column + reach < j1:
                            start, step = ahead + strip * ahead_strip + panel * ahead_line, ahead_step
                        call_ahead(
                            word(c[TILES] + 8 * (h if width == nr else h + MR + 1)), 1, c[ZERO], c[ZERO], depth, a + panel * height * ars * item,
                            ars, acs, b + strip * strip_step, bls, width, to, ldc, d, ldd, start, step,
                        )  # fmt: skip
                        if finishes:
                            finish(c, f[SLOPE], real(1), 0.0, NONE if added else kind, to, ldc, r, h, column, width, to, ldc, to)
                j += run

    return block


@cache
def pack_task(dtype):
    """PACK of the shared strips."""
    item, nr, pack_b = dtype.itemsize, NV * lanes(dtype), packing_b(dtype)

    @task
    def pack(ctx, task, slot):
        c = ints(ctx)
        pc = c[K] * c[FIRST] // c[PASSES]
        depth = c[K] * c[LAST] // c[PASSES] - pc
        j = c[J0] + task * PACK * nr
        to = c[SHARED] + task * PACK * rows_of(depth) * nr * item
        pack_b(c[B] + (pc * c[BRS] + j * c[BCS]) * item, c[BRS], c[BCS], depth, min(c[J1] - j, PACK * nr), to)

    return pack


@cache
def rank_task(dtype, rows):
    """Few rows: B is read once, in its order, several rows at a time; the sums stand in L1."""
    v, item, real = simd(dtype), dtype.itemsize, dtype.type
    count = v.lanes
    steps = 8 if rows < 3 else 4 if rows < 7 else 3
    if rows > 1 and VECTOR_BYTES < 64:
        steps //= 2
    sweep, locate, finish = rank_sums(dtype, rows, steps), locating(dtype, 0), finishing(dtype)

    @task
    def rank(ctx, task, slot):
        c, f = ints(ctx), doubles(ctx)
        a, b, old, out, _, _, j0, j1 = locate(c, task)
        sums = c[OWN] + slot * c[OWN_BYTES]
        width, ars, acs, brs = j1 - j0, c[ARS] * item, c[ACS] * item, c[BRS] * item
        b += j0 * item
        for i in range(rows):
            for j in range(0, width, count):
                v.store(sums + (i * RANK_COLUMNS + j) * item, v.zero())
        end = c[K] // steps * steps
        for l in range(0, end, steps):
            sweep.many(a + l * acs, ars, acs, b + l * brs, brs, width, sums)
        for l in range(end, c[K]):
            sweep.one(a + l * acs, ars, acs, b + l * brs, brs, width, sums)
        old, ldo = (out, c[LDC]) if old == 0 else (old, c[LDCC])
        finish(
            c, f[SLOPE], real(f[ALPHA]), f[BETA], c[BIAS_KIND], sums, RANK_COLUMNS, 0, rows, j0, width, old + j0 * item, ldo, out + j0 * item
        )  # fmt: skip

    return rank


@cache
def dots_task(dtype):
    """Rows of A and columns of B that are contiguous: register against register along k."""
    array, item, real = floats_of(dtype), dtype.itemsize, dtype.type
    dr, dc, nr = dot_rows(dtype), dot_columns(dtype), NV * lanes(dtype)
    tile, locate, transpose, finish = dot_sums(dtype), locating(dtype, dr), transposing(dtype), finishing(dtype)

    @task
    def dots(ctx, task, slot):
        c, f = ints(ctx), doubles(ctx)
        a, b, old, out, i0, i1, j0, j1 = locate(c, task)
        sums = c[OWN] + slot * c[OWN_BYTES]
        m, n, k, ars, bcs = c[M], c[N], c[K], c[ARS] * item, c[BCS] * item
        if c[PACK_B] != 0:
            bp = sums + DOT_ROWS * nr * item
            if c[BCS] == 1:
                transpose(b, c[BRS] * item, bp, k * item, k, n)
            else:
                x, y = array(b), array(bp)
                for j in range(n):
                    for l in range(k):
                        y[j * k + l] = x[l * c[BRS] + j * c[BCS]]
            b, bcs = bp, k * item
        old, ldo = (out, c[LDC]) if old == 0 else (old, c[LDCC])
        height = m if m <= DOT_ROWS else dr  # few rows stay while the columns pass by; few columns stay while the rows do
        for i in range(i0, i1, height):
            rows = min(height, i1 - i)
            for j in range(j0, j1, nr):
                width = min(nr, j1 - j)
                for jj in range(0, width, dc):
                    for ii in range(0, rows, dr):
                        x, y, to = a + (i + ii) * ars, b + (j + jj) * bcs, sums + (ii * nr + jj) * item
                        if rows - ii == 1:
                            tile.one(1, min(dc, width - jj), k, x, ars, y, bcs, to)
                        else:
                            tile.many(min(dr, rows - ii), min(dc, width - jj), k, x, ars, y, bcs, to)
                finish(
                    c, f[SLOPE], real(f[ALPHA]), f[BETA], c[BIAS_KIND], sums, nr, i, rows, j, width,
                    old + (i * ldo + j) * item, ldo, out + (i * c[LDC] + j) * item,
                )  # fmt: skip

    return dots


@cache
def turned_task(dtype):
    """C^T = B^T A^T: rows of A, transposed, fill the registers. A run of rows passes over k, and its sums are turned back at the end."""
    item, count, real = dtype.itemsize, lanes(dtype), dtype.type
    nr = NV * count
    line, run = nr * item, TURN * nr
    locate, pack_b, transpose, finish = locating(dtype, nr), packing_b(dtype), transposing(dtype), finishing(dtype)

    @task
    def turned(ctx, task, slot):
        c, f = ints(ctx), doubles(ctx)
        a, b, old, out, i0, i1, _, _ = locate(c, task)
        n, k, ars, acs, brs = c[N], c[K], c[ARS], c[ACS], c[BRS]
        bp = c[OWN] + slot * c[OWN_BYTES]  # strips of A
        sums = bp + c[A_BYTES]
        block = sums + n * run * item
        ld = ceil_div(n, count) * count
        old, ldo = (out, c[LDC]) if old == 0 else (old, c[LDCC])
        height = ceil_div(n, ceil_div(n, MR))
        for i in range(i0, i1, run):
            rows = min(run, i1 - i)
            for pass_ in range(c[PASSES]):
                pc = k * pass_ // c[PASSES]
                depth = k * (pass_ + 1) // c[PASSES] - pc
                pack_b(a + (i * ars + pc * acs) * item, acs, ars, depth, rows, bp)
                for strip in range(ceil_div(rows, nr)):
                    for j in range(0, n, height):
                        to = sums + (j * run + strip * nr) * item
                        call_ahead(
                            word(c[TILES] + 8 * min(height, n - j)), 1, c[ZERO], c[ZERO], depth, b + (pc * brs + j) * item, 1, brs,
                            bp + strip * rows_of(depth) * line, nr, nr, to, run, to if pass_ > 0 else 0, run, bp, 0,
                        )  # fmt: skip
            transpose(sums, run * item, block, ld * item, n, rows)
            finish(
                c, f[SLOPE], real(f[ALPHA]), f[BETA], c[BIAS_KIND], block, ld, i, rows, 0, n,
                old + i * ldo * item, ldo, out + i * c[LDC] * item,
            )  # fmt: skip

    return turned


# Sizes; what is chosen by them

ceil, spread, odd = ceil_div.py_func, spread_of.py_func, rows_of.py_func


def _grid(p):
    """Tasks along m and n. More tasks balance better over more threads, larger ones pack less."""
    nr, batch = NV * lanes(p.dtype), int(np.prod(p.batch))
    rows = columns = 1
    while True:
        tasks = batch * rows * columns
        flops = 2.0 * batch * p.m * p.n * p.k / max(tasks, 1)
        if not ((tasks < 4 and flops > 4e6) or (tasks < 8 and flops > 1e9) or (tasks < 32 and flops > 1e10)):
            return rows, columns
        if p.n * rows >= p.m * columns and 2 * columns * nr <= p.n:
            columns *= 2
        elif 2 * rows * MR <= p.m:
            rows *= 2
        elif 2 * columns * nr <= p.n:
            columns *= 2
        else:
            return rows, columns


def _shares(p):
    """Whether more than two blocks of A use the strips of a single product: for fewer, columns are a better cut."""
    return p.m > 2 * MC and np.prod(p.batch) == 1


def _depth(p):
    """The deepest pass."""
    return ceil(p.k, max(1, ceil(p.k, KC)))


def _panel_strips(p):
    line = NV * lanes(p.dtype) * p.dtype.itemsize
    return max(1, min(ceil(p.n, NV * lanes(p.dtype)), PANEL // (odd(_depth(p)) * line)))


def _shared_bytes(p):
    """The strips of a panel."""
    return _panel_strips(p) * odd(_depth(p)) * NV * lanes(p.dtype) * p.dtype.itemsize if _shares(p) else 0


def _ranks(p):
    """Up to how many rows are summed into L1."""
    return RANK_ROWS if VECTOR_BYTES == 64 and p.n >= 4 * NV * lanes(p.dtype) else RANK_ROWS // 2


def _turns(p):
    """Whether columns leave three quarters of their last register empty, which costs more than to transpose A."""
    w = lanes(p.dtype)
    return w < p.n < 4 * NV * w and 4 * (-p.n % w) >= 3 * w and p.k >= DOT_DEPTH


def _sizes(p):
    """(tasks along m, along n, bytes of a copied block of A, bytes per thread)"""
    item, nr = p.dtype.itemsize, NV * lanes(p.dtype)
    row_tasks, column_tasks = _grid(p)
    kc = _depth(p)
    most = MC if _shares(p) else ceil(ceil(p.m, MR), row_tasks) * MR
    a = max(min(MC, most) * spread(kc), kc * spread(min(MC, most)))
    strips = 1 if _shares(p) else ceil(ceil(p.n, nr), column_tasks)
    if most <= MC:
        strips = min(strips, max(1, STRIPS // (max(p.k // max(1, ceil(p.k, KC)), 1) * nr * item)))
    elements = a + strips * odd(kc) * nr
    if p.m <= RANK_ROWS:
        elements = max(elements, RANK_ROWS * RANK_COLUMNS)
    if p.m <= DOT_ROWS or p.n < nr:
        elements = max(elements, DOT_ROWS * nr + min(p.n * p.k, DOT_BLOCK))
    if _turns(p):
        elements = max(elements, TURN * (odd(kc) * nr + p.n * nr + ceil(p.n, nr) * nr * nr))
    return row_tasks, column_tasks, a * item, ceil(elements * item, 128) * 128


def scratch(pass_, p):
    """Of all, the strips of a panel; of a thread, a block of A and strips of B."""
    return _shared_bytes(p), _sizes(p)[3]


def _share(p, copy_a, threads):
    """Tasks of a panel along m and n, and whether they share strips: if A is not copied, runs of columns, provided that threads find about as many;
    otherwise blocks of A, each copied once, unless there are more threads than blocks."""
    strips, rows = _panel_strips(p), ceil(ceil(p.m, MR), MC // MR)
    if not copy_a and 16 * (ceil(strips, threads) * threads - strips) <= strips:
        return 1, threads, False
    if threads <= rows:
        return ceil(rows, threads) * threads, 1, True
    return rows, min(strips, ceil(2 * threads, rows)), True


def _crowd(stride):
    """How many of the mr rows of a tile, `stride` bytes apart, meet the first in one set of L1 (64 sets of 64 bytes)."""
    return sum(i * stride % 4096 < 64 for i in range(MR))


def _turned_tiles(p):
    """Addresses of the tiles by height."""
    table, height = np.zeros(MR + 1, np.int64), ceil(p.n, ceil(p.n, MR))
    for high in {min(height, p.n - j) for j in range(0, p.n, height)}:
        table[high] = tile_ahead_function(p.dtype, high, NV, False).address
    return table


def _tallest(p, ldc):
    """Rows of a tile at most: half of them, if C takes the time and all would meet in few sets of L1."""
    return MR // 2 if p.k <= SHALLOW and _crowd(ldc) > MR // 2 else MR


def _block_tiles(p, row_tasks, tallest):
    """Addresses of the tiles by height, for whole strips and for the last one."""
    count, table = lanes(p.dtype), np.zeros((2, MR + 1), np.int64)
    panels, heights = ceil(p.m, MR), set()
    for number in range(row_tasks):
        rows = min(p.m, (number + 1) * panels // row_tasks * MR) - number * panels // row_tasks * MR
        mc = ceil(ceil(rows, MR), ceil(rows, MC)) * MR if rows else 1
        for block in {min(mc, rows - i) for i in range(0, rows, mc)}:
            high = ceil(block, ceil(block, tallest))
            heights |= {min(high, block - i) for i in range(0, block, high)}
    rest = p.n % (NV * count)
    for height in heights:
        if p.n >= NV * count:
            table[0, height] = tile_ahead_function(p.dtype, height, NV, False).address
        if rest:
            table[1, height] = tile_ahead_function(p.dtype, height, ceil(rest, count), rest % count > 0).address
    return table


def _plan(p, a_strides, b_strides):
    """The task, tasks along m and n, whether A is copied and B packed: by sizes and strides alone."""
    item, nr = p.dtype.itemsize, NV * lanes(p.dtype)
    ars, acs = a_strides[-2:]
    brs, bcs = b_strides[-2:]
    row_tasks, column_tasks = _sizes(p)[:2]
    if acs == item and p.k >= DOT_DEPTH and ((8 * p.n <= 3 * nr and p.n * p.k <= DOT_BLOCK) or (p.m <= DOT_ROWS and brs == item)):
        if p.m <= DOT_ROWS:
            row_tasks, column_tasks = 1, ceil(p.n, RANK_COLUMNS)
        return dots_task(p.dtype), row_tasks, column_tasks, False, brs != item
    if p.m <= _ranks(p) and bcs == item and p.k > 0:
        return rank_task(p.dtype, p.m), 1, ceil(ceil(p.n, nr), RANK_COLUMNS // nr), False, False
    if _turns(p) and bcs == item and item in (ars, acs) and p.m >= TURN * nr:
        return turned_task(p.dtype), row_tasks, 1, False, False
    # powers of two send all rows of a strip into few sets of L2; memory wants to be read along the rows
    b_bytes = p.k * p.n * item
    pack_b = bcs != item or (p.m > 2 * MR and b_bytes > SMALL and brs & -brs > 1024) or (p.m <= 2 * MC and b_bytes > PANEL)
    copy_a = p.alpha != 1.0 or not (p.m * p.k * item <= SMALL or (acs == item and _crowd(ars) <= MR // 2))
    return block_task(p.dtype), row_tasks, column_tasks, copy_a, pack_b


@lru_cache(4096)
def forward_program(p, a_strides, b_strides, c_strides, out_strides, threads):
    item = p.dtype.itemsize
    if p.n == 1:
        b_strides = (*b_strides[:-1], item)
    if p.m == 0 or p.n == 0 or 0 in p.batch:
        return lambda *arrays: None
    work, row_tasks, column_tasks, copy_a, pack_b = _plan(p, a_strides, b_strides)
    _, _, a_bytes, own = _sizes(p)
    common, tiles, together, tallest = _shared_bytes(p), 0, False, _tallest(p, out_strides[-2])
    shared = work is block_task(p.dtype) and pack_b and common > 0
    if shared:
        row_tasks, column_tasks, together = _share(p, copy_a, threads)
    if work is block_task(p.dtype):
        tiles = _block_tiles(p, row_tasks, tallest)
    elif work is turned_task(p.dtype):
        tiles, a_bytes = _turned_tiles(p), TURN * odd(_depth(p)) * NV * lanes(p.dtype) * item
    passes = max(1, ceil(p.k, KC))
    a, b, bias, c, out, scratch = map(Argument, range(6))
    (ars, acs), (brs, bcs), ldo, ldc = (
        [s // item for s in strides[-2:]] for strides in (a_strides, b_strides, c_strides or (0, 0), out_strides)
    )
    axes = np.array(
        [p.batch, a_strides[:-2], b_strides[:-2], (c_strides or (0,) * len(out_strides))[:-2], out_strides[:-2]], np.int64
    ).T.copy()
    words = [
        p.m, p.n, p.k, a, ars, acs, b, brs, bcs, out, ldc[0], c, ldo[0], bias, p.bias_kind, p.act, len(p.batch), axes, row_tasks, column_tasks,
        passes, copy_a, pack_b, Argument(5, offset=common), own, a_bytes, tiles, _ZERO,
        0, passes, 0, p.n, scratch if shared else 0, together, tallest, p.alpha, p.beta, p.slope,
    ]  # fmt: skip
    tasks = int(np.prod(p.batch)) * row_tasks * column_tasks
    time = p.flops / RATE[item]
    if not shared:
        return program(words, Stage(work, tasks, time, own), shared=common)
    nr = NV * lanes(p.dtype)
    strips, stages = ceil(p.n, nr), []
    panels = ceil(strips, _panel_strips(p))
    for panel in range(panels):
        first, last = panel * strips // panels, (panel + 1) * strips // panels
        for number in range(passes):
            place = {FIRST: number, LAST: number + 1, J0: first * nr, J1: min(p.n, last * nr)}
            nbytes = p.k // passes * (last - first) * nr * item
            if together:
                stages.append(Stage(pack_task(p.dtype), ceil(last - first, PACK), nbytes / PACK_RATE, own, place))
            stages.append(Stage(work, tasks, time / panels / passes, own, place))
    return program(words, *stages, shared=common)


def forward(p, a, b, bias, c, out, scratch):
    threads = get_num_threads() if _shares(p) else 0
    forward_program(p, a.strides, b.strides, None if c is None else c.strides, out.strides, threads)(a, b, bias, c, out, scratch)
