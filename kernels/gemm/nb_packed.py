"""Packed, blocked, register-tiled matrix product; the Numba twin of cy_packed.

    out = act(alpha * a @ b + beta * c + bias)

Shapes   a (m, k)  b (k, n)  c, out (m, n)  bias (n,) or (m,)
Storage  a, b of any strides; c and out with unit column stride, any row stride
Packed   bp  panels of nr columns, kc deep, shared         ap  panels of mr rows, kc deep, one block of mc rows per thread
         Rows that lie across a panel are transposed in registers. For at most two panels of rows, B with unit column stride is read in place.
         alpha is multiplied into ap.
Tile     mr x nr (_common/nb_tile.py), of exactly the rows and registers there are; it adds what stands in `out`, c, or the bias of the columns

Loops    jc by nc, pc by kc; tasks: ic by mc, runs of panels; jr, ir: as in cy_packed, where the reasons stand
Edges    the last registers of a panel are stored masked; B read in place is loaded masked.
After    the last pc, `finish` adds the biases that no tile could add and applies the activation, a strip of a block at a time, in L1.
Threads  tasks are defined by m and n only; each element is summed by one task in one order.
"""

from functools import cache, lru_cache

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, array_i64, doubles, floats_of, inline, ints, program, task
from lamella.kernels._common.nb_math import math_of
from lamella.kernels._common.nb_simd import VECTOR_BYTES, lanes, maximum, select, simd
from lamella.kernels._common.nb_tile import MR, NV, call, tile_function

KC, MC, NC, RUN = 384, 168, 3072, 512
RATE = {4: 120.0, 8: 60.0}  # flops per ns of one thread, for the pool's estimate
NONE, COLUMN, ROW = 0, 1, 2  # bias
RELU, LEAKY_RELU, SIGMOID, TANH = 1, 2, 3, 4

# words of the context
(
    M, N, K, A, ARS, ACS, B, BRS, BCS, OUT, LDC, C, LDCC, BIAS, BIAS_KIND, ACT, BP, AP, AP_BYTES, IN_PLACE, TILES, ZERO,
    JC, WIDTH, PC, DEPTH, ROWS, RUN_COLUMNS, RUN_TASKS, ALPHA, BETA, SLOPE,
) = range(32)  # fmt: skip

_ZERO = np.zeros(1, np.int64)


@cache
def pack_b_task(dtype):
    """bp[panel] = the panel's columns of the slab, row after row; columns beyond are 0."""
    array, v, item = floats_of(dtype), simd(dtype), dtype.itemsize
    count = v.lanes
    nr = NV * count

    @task
    def pack(ctx, task, slot):
        c = ints(ctx)
        j0 = c[JC] + task * nr
        width = min(nr, c[JC] + c[WIDTH] - j0)
        brs, bcs, depth = c[BRS], c[BCS], c[DEPTH]
        src, dst = c[B] + (c[PC] * brs + j0 * bcs) * item, c[BP] + task * depth * nr * item
        if bcs == 1 and width == nr:
            for l in range(depth):
                for j in range(NV):
                    v.store(dst + l * nr * item + j * VECTOR_BYTES, v.load(src + l * brs * item + j * VECTOR_BYTES))
            return
        if bcs == 1:
            for l in range(depth):
                for j in range(NV):
                    v.store(dst + l * nr * item + j * VECTOR_BYTES, v.load_n(src + l * brs * item + j * VECTOR_BYTES, width - j * count))
            return
        if width < nr:
            for i in range(depth * NV):
                v.store(dst + i * VECTOR_BYTES, v.zero())
        if brs == 1:
            for l in range(0, depth, count):
                for j in range(0, width, count):
                    m, n = min(count, width - j), min(count, depth - l)
                    start, to = src + (j * bcs + l) * item, dst + (l * nr + j) * item
                    if m == count and n == count:
                        v.square(start, bcs * item, to, nr * item)
                    else:
                        v.square_n(start, bcs * item, to, nr * item, m, n)
        else:
            x, y = array(src), array(dst)
            for l in range(depth):
                for j in range(width):
                    y[l * nr + j] = x[l * brs + j * bcs]

    return pack


@cache
def packing_a(dtype):
    """The function that packs `rows` rows of A from i0 on in panels of mr, times alpha."""
    array, v, item, real = floats_of(dtype), simd(dtype), dtype.itemsize, dtype.type
    count = v.lanes

    @inline
    def pack(c, alpha, i0, rows, dst):
        ars, acs, depth = c[ARS], c[ACS], c[DEPTH]
        for ir in range(0, rows, MR):
            height = min(MR, rows - ir)
            src, panel = c[A] + ((i0 + ir) * ars + c[PC] * acs) * item, dst + ir * depth * item
            if acs == 1:
                for l in range(0, depth, count):
                    for i in range(0, height, count):
                        start, to = src + (i * ars + l) * item, panel + (l * MR + i) * item
                        if height == MR and depth - l >= count:  # constants: no masks to compute
                            v.square_n(start, ars * item, to, MR * item, min(count, MR - i), count)
                        else:
                            v.square_n(start, ars * item, to, MR * item, min(count, height - i), min(count, depth - l))
            elif ars == 1:
                for l in range(depth):
                    for i in range(0, height, count):
                        n = min(count, height - i)
                        v.store_n(panel + (l * MR + i) * item, n, v.load_n(src + (l * acs + i) * item, n))
            else:
                x, y = array(src), array(panel)
                for l in range(depth):
                    for i in range(height):
                        y[l * MR + i] = x[i * ars + l * acs]
            if alpha != 1.0:
                y = array(panel)
                for l in range(depth):
                    for i in range(height):
                        y[l * MR + i] *= real(alpha)

    return pack


@cache
def finishing(dtype):
    """Biases that are missing, and the activation, of `height` rows from i0 on and `width` columns from j0 on."""
    array, v, f, item, real = floats_of(dtype), simd(dtype), math_of(dtype, 1), dtype.itemsize, dtype.type
    count = v.lanes
    zero = real(0)

    @inline
    def finish(c, slope, kind, i0, height, j0, width):
        act = c[ACT]
        for i in range(i0, i0 + height):
            row = c[OUT] + (i * c[LDC] + j0) * item
            added = array(c[BIAS])[i] if kind == ROW else zero
            for j in range(0, width, count):
                n, at = min(count, width - j), row + j * item
                y = v.load_n(at, n) + added
                if kind == COLUMN:
                    y = y + v.load_n(c[BIAS] + (j0 + j) * item, n)
                if act == RELU:
                    y = maximum(zero, y)
                elif act == LEAKY_RELU:
                    y = select(y > zero, y, y * real(slope))
                elif act == SIGMOID:
                    y = f.sigmoid(y)
                elif act == TANH:
                    y = f.tanh(y)
                v.store_n(at, n, y)

    return finish


@cache
def block_task(dtype):
    """Pack a block of A, multiply it with a run of panels of B."""
    v, item, real = simd(dtype), dtype.itemsize, dtype.type
    count = v.lanes
    nr = NV * count
    pack_a, finish = packing_a(dtype), finishing(dtype)

    @task
    def block(ctx, task, slot):
        c, f = ints(ctx), doubles(ctx)
        i0 = task // c[RUN_TASKS] * c[ROWS]
        rows = min(c[ROWS], c[M] - i0)
        j0 = task % c[RUN_TASKS] * c[RUN_COLUMNS]
        j1 = min(j0 + c[RUN_COLUMNS], c[WIDTH])
        depth, kind, beta = c[DEPTH], c[BIAS_KIND], f[BETA]
        first, last = c[PC] == 0, c[PC] + depth == c[K]
        ap = c[AP] + slot * c[AP_BYTES]
        zeros, out, ldc, old, ldcc = c[ZERO], c[OUT], c[LDC], c[C], c[LDCC]
        if old == 0:
            old, ldcc = out, ldc
        pack_a(c, f[ALPHA], i0, rows, ap)
        if first and beta != 0.0 and beta != 1.0:  # from here on the old values stand in out
            for i in range(i0, i0 + rows):
                for j in range(j0, j1, count):
                    n, at = min(count, j1 - j), c[JC] + j
                    v.store_n(out + (i * ldc + at) * item, n, v.load_n(old + (i * ldcc + at) * item, n) * real(beta))
            old, ldcc = out, ldc
        added = kind == COLUMN and beta == 0.0  # by the first tiles
        for jr in range(j0, j1, nr):
            column = c[JC] + jr
            width = min(nr, j1 - jr)
            whole = 0 if width == nr else 1
            b, bls = c[BP] + jr * depth * item, nr
            if c[IN_PLACE] != 0:
                b, bls = c[B] + (c[PC] * c[BRS] + column) * item, c[BRS]
            for ir in range(0, rows, MR):
                tile = array_i64(c[TILES])[whole * (MR + 1) + min(MR, rows - ir)]
                to = out + ((i0 + ir) * ldc + column) * item
                d, ldd = to, ldc
                if first:
                    d, ldd = (c[BIAS] + column * item if added else 0), 0
                    if beta != 0.0:
                        d, ldd = old + ((i0 + ir) * ldcc + column) * item, ldcc
                call(tile, 1, zeros, zeros, depth, ap + ir * depth * item, 1, MR, b, bls, width, to, ldc, d, ldd)
            if last and (c[ACT] != 0 or (kind != NONE and not added)):
                finish(c, f[SLOPE], NONE if added else kind, i0, rows, column, width)

    return block


def _sizes(p):
    """(rows of a block, bytes of the slab of B, bytes per thread)"""
    item, nr = p.dtype.itemsize, NV * lanes(p.dtype)
    blocks = -(-p.m // MC)
    even = -(-p.m // max(blocks, 1))  # rows, were all blocks equal
    rows = -(-even // MR) * MR
    depth = min(KC, p.k)
    slab = depth * -(-min(NC, p.n) // nr) * nr * item
    return rows, -(-slab // 128) * 128, -(-rows * depth * item // 128) * 128


def scratch(pass_, p):
    """The slab of B, shared; a block of A per thread."""
    return _sizes(p)[1:]


def _tiles(p, rows, in_place):
    """Addresses of the tiles by height, for whole panels and for the last one."""
    registers = lanes(p.dtype)
    table = np.zeros((2, MR + 1), np.int64)
    heights = {min(MR, n - i) for n in {min(rows, p.m), p.m % rows or rows} for i in range(0, min(n, p.m), MR)}
    rest = p.n % (NV * registers)
    for height in heights:
        if p.n >= NV * registers:
            table[0, height] = tile_function(p.dtype, height, NV, packed=MR).address
        if rest:
            partial = rest % registers > 0
            table[1, height] = tile_function(p.dtype, height, -(-rest // registers), in_place and partial, partial, MR).address
    return table


@lru_cache(4096)
def forward_program(p, in_place):
    nr = NV * lanes(p.dtype)
    rows, slab, per_thread = _sizes(p)
    blocks = -(-p.m // rows) if p.m else 0
    a, b, bias, c, out, scratch = map(Argument, range(6))
    words = [
        p.m, p.n, p.k, a, a.stride(0), a.stride(1), b, b.stride(0), b.stride(1), out, out.stride(0), c, c.stride(0), bias, p.bias_kind, p.act,
        scratch, scratch.at(slab), per_thread, in_place, _tiles(p, rows, in_place) if p.m and p.n else 0, _ZERO, 0, 0, 0, 0, rows, 0, 1,
        p.alpha, p.beta, p.slope,
    ]  # fmt: skip
    stages = []
    for jc in range(0, p.n, NC):
        width = min(NC, p.n - jc)
        run_columns = -(-width // nr) * nr if blocks >= 8 else RUN
        run_tasks = -(-width // run_columns)
        for pc in range(0, max(p.k, 1), KC):  # an empty sum still has its epilogue
            depth = min(KC, p.k - pc)
            slab_at = {JC: jc, WIDTH: width, PC: pc, DEPTH: depth, RUN_COLUMNS: run_columns, RUN_TASKS: run_tasks}
            if not in_place:
                stages.append(Stage(pack_b_task(p.dtype), -(-width // nr), 0.3 * width * depth, settings=slab_at))
            time = 2.0 * p.m * width * depth / RATE[p.dtype.itemsize]
            stages.append(Stage(block_task(p.dtype), blocks * run_tasks, time, per_thread, slab_at))
    return program(words, *stages, shared=slab)


def forward(p, a, b, bias, c, out, scratch):
    run = forward_program(p, p.m <= 2 * MR and b.strides[-1] == b.itemsize)
    for i in np.ndindex(p.batch):
        run(a[i], b[i], bias, None if c is None else c[i], out[i], scratch)
