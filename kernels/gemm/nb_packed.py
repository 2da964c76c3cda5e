"""Packed, blocked, register-tiled matrix product; the Numba twin of cy_packed.

    out = act(alpha * a @ b + beta * c + bias)

Shapes   a (m, k)  b (k, n)  c, out (m, n)  bias (n,) or (m,)
Storage  a, b of any strides; c and out with unit column stride, any row stride
Packed   bp  panels of nr columns, kc deep, shared         ap  panels of mr rows, kc deep, one block of mc rows per thread
         Both are padded with zeros to whole panels.
Tile     mr x nr (_common/nb_tile.py); every tile is summed into a buffer of its own and finished from there by `finish`, a loop that LLVM vectorises

Loops    jc by nc, pc by kc; tasks: ic by mc, runs of panels; jr, ir: as in cy_packed, where the reasons stand
Edges    a tile that hangs over is computed whole on the zero padding; `finish` writes what is inside.
Threads  tasks are defined by m and n only; each element is summed by one task in one order.
"""

from functools import cache

import numpy as np
from lamella.kernels._common.nb import context, doubles, floats_of, inline, ints, run, task
from lamella.kernels._common.nb_tile import MR, NV, lanes, tile

KC, MC, NC, RUN = 384, 168, 3072, 512
RATE = {4: 120.0, 8: 60.0}  # flops per ns of one thread, for the pool's estimate

# words of the context
M, N, K, A, ARS, ACS, B, BRS, BCS, OUT, LDC, C, LDCC, BIAS, BIAS_KIND, ACT, BP, AP, AP_BYTES = range(19)
JC, WIDTH, PC, DEPTH, ROWS, RUN_COLUMNS, RUN_TASKS, ZERO, ALPHA, BETA, SLOPE, TILE = range(19, 31)


@cache
def tasks(dtype):
    """(pack a panel of B, multiply a block of A with a run of panels)"""
    array = floats_of(dtype)
    real = np.float32 if dtype == np.float32 else np.float64
    item, nr, mr = dtype.itemsize, NV * lanes(dtype), MR
    multiply = tile(dtype, MR, NV)
    zero, one = real(0), real(1)

    @task
    def pack_b(ctx, task, slot):
        c = ints(ctx)
        j0 = c[JC] + task * nr
        width = min(nr, c[JC] + c[WIDTH] - j0)
        rows, columns, depth = c[BRS], c[BCS], c[DEPTH]
        src = array(c[B] + (c[PC] * rows + j0 * columns) * item)
        dst = array(c[BP] + task * depth * nr * item)
        if width < nr:
            for i in range(depth * nr):
                dst[i] = zero
        if columns == 1 and width == nr:
            for l in range(depth):
                for j in range(nr):
                    dst[l * nr + j] = src[l * rows + j]
        elif rows == 1:
            for j in range(width):
                for l in range(depth):
                    dst[l * nr + j] = src[j * columns + l]
        else:
            for l in range(depth):
                for j in range(width):
                    dst[l * nr + j] = src[l * rows + j * columns]

    @inline
    def pack_a(c, i0, rows, dst):
        ars, acs, depth = c[ARS], c[ACS], c[DEPTH]
        for ir in range(0, rows, mr):
            height = min(mr, rows - ir)
            src = array(c[A] + ((i0 + ir) * ars + c[PC] * acs) * item)
            at = ir * depth
            for i in range(mr):
                if i >= height:
                    for l in range(depth):
                        dst[at + l * mr + i] = zero
                elif acs == 1:
                    for l in range(depth):
                        dst[at + l * mr + i] = src[i * ars + l]
                else:
                    for l in range(depth):
                        dst[at + l * mr + i] = src[i * ars + l * acs]

    @inline
    def finish(c, f, acc, i0, height, j0, width, first, last):
        """From the tile's sums to C: alpha, beta, bias, activation."""
        out, old, bias = array(c[OUT]), array(c[C]), array(c[BIAS])
        alpha, beta, slope = real(f[ALPHA]), real(f[BETA]), real(f[SLOPE])
        kind, act = c[BIAS_KIND], c[ACT]
        for i in range(height):
            at = (i0 + i) * c[LDC] + j0
            was = (i0 + i) * c[LDCC] + j0
            for j in range(width):
                acc[i * nr + j] *= alpha
            if not first:
                for j in range(width):
                    acc[i * nr + j] += out[at + j]
            elif beta != zero:
                for j in range(width):
                    acc[i * nr + j] += beta * old[was + j]
            if last:
                if kind == 1:
                    for j in range(width):
                        acc[i * nr + j] += bias[j0 + j]
                elif kind == 2:
                    for j in range(width):
                        acc[i * nr + j] += bias[i0 + i]
                if act == 1:
                    for j in range(width):
                        acc[i * nr + j] = zero if acc[i * nr + j] < zero else acc[i * nr + j]
                elif act == 2:
                    for j in range(width):
                        acc[i * nr + j] = acc[i * nr + j] if acc[i * nr + j] > zero else acc[i * nr + j] * slope
                elif act == 3:
                    for j in range(width):
                        acc[i * nr + j] = one / (one + np.exp(-acc[i * nr + j]))
                elif act == 4:
                    for j in range(width):
                        acc[i * nr + j] = np.tanh(acc[i * nr + j])
            for j in range(width):
                out[at + j] = acc[i * nr + j]

    @task
    def block(ctx, task, slot):
        c, f = ints(ctx), doubles(ctx)
        i0 = task // c[RUN_TASKS] * c[ROWS]
        rows = min(c[ROWS], c[M] - i0)
        j0 = task % c[RUN_TASKS] * c[RUN_COLUMNS]
        j1 = min(j0 + c[RUN_COLUMNS], c[WIDTH])
        depth = c[DEPTH]
        sums = c[AP] + slot * c[AP_BYTES]
        ap = sums + mr * nr * item
        acc = array(sums)
        pack_a(c, i0, rows, array(ap))
        zeros = ctx_address(c, ZERO)
        for jr in range(j0, j1, nr):
            for ir in range(0, rows, mr):
                multiply(1, zeros, zeros, depth, ap + ir * depth * item, 1, mr, c[BP] + jr * depth * item, nr, nr, sums, nr, 0, 0)
                finish(
                    c, f, acc, i0 + ir, min(mr, rows - ir), c[JC] + jr, min(nr, j1 - jr), c[PC] == 0, c[PC] + depth == c[K]
                )  # fmt: skip

    return pack_b, block


@inline
def ctx_address(c, word):
    """The address of a word of the context."""
    return c.ctypes.data + 8 * word


def _sizes(p):
    """(rows of a block, depth of a panel, bytes of the slab of B, bytes per thread)"""
    item, nr = p.dtype.itemsize, NV * lanes(p.dtype)
    blocks = -(-p.m // MC)
    even = -(-p.m // max(blocks, 1))  # rows, were all blocks equal
    rows = -(-even // MR) * MR
    depth = min(KC, p.k)
    slab = depth * -(-min(NC, p.n) // nr) * nr * item
    return rows, depth, -(-slab // 128) * 128, -(-(rows * depth + MR * nr) * item // 128) * 128


def scratch(pass_, p):
    """The slab of B, shared; a block of A and a tile per thread."""
    return _sizes(p)[2:]


def forward(p, a, b, bias, c, out, scratch):
    if p.m == 0 or p.n == 0:
        return
    item, nr = p.dtype.itemsize, NV * lanes(p.dtype)
    rows, _, slab, per_thread = _sizes(p)
    pack_b, block = tasks(p.dtype)
    old = out if c is None else c
    address = scratch.__array_interface__["data"][0]
    words = context(
        p.m, p.n, p.k, a, a.strides[0] // item, a.strides[1] // item, b, b.strides[0] // item, b.strides[1] // item, out,
        out.strides[0] // item, old, old.strides[0] // item, bias, p.bias_kind, p.act, address, address + slab, per_thread,
        0, 0, 0, 0, rows, 0, 0, 0, p.alpha, p.beta, p.slope, 0,
    )  # fmt: skip
    slots = (scratch.size - slab) // per_thread
    blocks = -(-p.m // rows)
    for jc in range(0, p.n, NC):
        width = min(NC, p.n - jc)
        run_columns = -(-width // nr) * nr if blocks >= 8 else RUN
        words[JC], words[WIDTH], words[RUN_COLUMNS], words[RUN_TASKS] = jc, width, run_columns, -(-width // run_columns)
        for pc in range(0, max(p.k, 1), KC):  # an empty sum still has its epilogue
            depth = min(KC, p.k - pc)
            words[PC], words[DEPTH] = pc, depth
            run(pack_b, words, -(-width // nr), 0.5 * width * depth)
            run(block, words, blocks * int(words[RUN_TASKS]), 2.0 * p.m * width * depth / RATE[item], slots)
