"""Recurrent layers: some sequences per task, through all their steps in one call; the Numba twin of cy_rows.

    h' = cell(a + W h),  and back through time:  dh = g + W^T da of the step after

Shapes   gates, da (rows, G hidden)  w (G hidden, hidden)  out, kept (rows, hidden)  h0, c0 (batch, hidden); see the manual page
Packed   wp, shared, once per call, in strips of nr = NV registers, as in cy_rows: all gates of nr units side by side; backward rows of W
Tile     mr x nr (_common/nb_tile.py), always all rows of the task, so that few tiles are compiled; what sequences that have ended or not yet
         begun add up is not looked at

Loops    tasks of 8 to 16 sequences, their steps, strips, panels of mr rows: as in cy_rows, where the reasons stand. a is added by the cell.
Edges    the last units are loaded and stored by masks; strips are zero-padded.
Threads  tasks by the batch alone; no barrier but that between packing and steps.
"""

from functools import cache, lru_cache

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, array_i64, inline, ints, program, runs, task
from lamella.kernels._common.nb_math import math_of
from lamella.kernels._common.nb_simd import VECTOR_BYTES, lanes, maximum, select, simd
from lamella.kernels._common.nb_tile import MR, NV, call, tile_function

TASK_ROWS, KC = 16, 128
RATE = {4: 100.0, 8: 50.0}  # flops per ns of one thread, for the pool's estimate
RNN_TANH, RNN_RELU, LSTM, GRU, GRU_BEFORE = range(5)

# words of the context
(
    LENGTH, BATCH, HIDDEN, GATES, STRIDE, REVERSE, TASKS, ROWS, LD, LDG, W, B, H0, C0, STEPS, OUT, LDO, KEPT, CN, A, G, LDGR, DCN, DA, DKEPT,
    DH0, DC0, WP, OWN, OWN_BYTES, TILES, ZERO,
) = range(32)  # fmt: skip

_ZERO = np.zeros(1, np.int64)


@cache
def moving(dtype):
    """take and put: load and store a register, or the first n lanes of it; copy_rows, and clear."""
    v, item = simd(dtype), dtype.itemsize
    count = v.lanes

    @inline
    def take(address, n):
        return v.load(address) if n >= count else v.load_n(address, n)

    @inline
    def put(address, n, x):
        if n >= count:
            v.store(address, x)
        else:
            v.store_n(address, n, x)

    @inline
    def copy_rows(src, ld_src, dst, ld_dst, rows, n):
        for r in range(rows):
            for u in range(0, n, count):
                put(dst + (r * ld_dst + u) * item, n - u, take(src + (r * ld_src + u) * item, n - u))

    @inline
    def clear(address, elements):
        for u in range(0, elements, count):
            v.store_n(address + u * item, elements - u, v.zero())

    return take, put, copy_rows, clear


@cache
def pack_task(dtype, backward):
    """A strip of one gate (forward), or a strip of columns (backward)."""
    v, item = simd(dtype), dtype.itemsize
    count = v.lanes
    nr = NV * count
    _, _, _, clear = moving(dtype)

    @task
    def pack(ctx, task, slot):
        c = ints(ctx)
        hidden, gates = c[HIDDEN], c[GATES]
        if backward:
            width = min(nr, hidden - task * nr)
            src, dst = c[W] + task * nr * item, c[WP] + task * gates * hidden * nr * item
            for l in range(gates * hidden):
                for i in range(NV):
                    v.store(dst + l * nr * item + i * VECTOR_BYTES, v.load_n(src + l * hidden * item + i * VECTOR_BYTES, width - i * count))
            return
        unit = task // gates * nr
        width = min(nr, hidden - unit)
        src, dst = c[W] + (task % gates * hidden + unit) * hidden * item, c[WP] + task * hidden * nr * item
        if width < nr:
            clear(dst, hidden * nr)
        for i in range(0, width, count):
            for l in range(0, hidden, count):
                m, n = min(count, width - i), min(count, hidden - l)
                v.square_n(src + (i * hidden + l) * item, hidden * item, dst + (l * nr + i) * item, nr * item, m, n)

    return pack


@cache
def multiplying(dtype):
    """out = a @ a strip of packed weights (+ d), all rows of a task."""
    item = dtype.itemsize
    nr = NV * lanes(dtype)

    @inline
    def multiply(tiles, zero, rows, a, lda, depth, b, out, ldc, add):
        panels = (rows + MR - 1) // MR
        height = (rows + panels - 1) // panels
        for i in range(0, rows, height):
            to = out + i * ldc * item
            tile = array_i64(tiles)[min(height, rows - i)]
            call(tile, 1, zero, zero, depth, a + i * lda * item, lda, 1, b, nr, nr, to, ldc, to if add else 0, ldc)

    return multiply


@inline
def step_of(c, task, i):
    """Where the rows of a task stand in step i of the order of time: how many run, their first, how many go on from the step before, their first."""
    batch, tasks, length = c[BATCH], c[TASKS], c[LENGTH]
    n0, n1 = batch * task // tasks, batch * (task + 1) // tasks
    t, before = i, i - 1
    if c[REVERSE] != 0:
        t, before = length - 1 - i, length - i
    steps = array_i64(c[STEPS])
    rows = max(0, min(n1, steps[length + t]) - n0)
    old, old_row = 0, 0
    if before >= 0 and before < length:
        old = max(0, min(rows, steps[length + before] - n0))
        old_row = steps[before] + n0 * c[STRIDE]
    return rows, steps[t] + n0 * c[STRIDE], old, old_row


@cache
def forward_task(dtype, kind):
    v, f, item = simd(dtype), math_of(dtype, 1), dtype.itemsize
    count = v.lanes
    nr = NV * count
    zero = dtype.type(0)
    gates = {LSTM: 4, GRU: 3, GRU_BEFORE: 3}.get(kind, 1)
    products = 2 if kind == GRU_BEFORE else gates
    take, put, copy_rows, clear = moving(dtype)
    multiply = multiplying(dtype)

    @task
    def forward(ctx, task, slot):
        c = ints(ctx)
        hidden, stride, ld, ldo, tiles, zeros = c[HIDDEN], c[STRIDE], c[LD], c[LDO], c[TILES], c[ZERO]
        n0, n1 = c[BATCH] * task // c[TASKS], c[BATCH] * (task + 1) // c[TASKS]
        count_rows, plane, block = n1 - n0, c[ROWS] * ld, c[ROWS] * nr * item
        h = c[OWN] + slot * c[OWN_BYTES]
        new, cell = h + plane * item, h + 2 * plane * item
        buf = h + 3 * plane * item
        clear(h, 3 * plane)
        copy_rows(c[H0] + n0 * hidden * item, hidden, h, ld, count_rows, hidden)
        copy_rows(h, ld, new, ld, count_rows, hidden)  # for sequences that begin later
        if kind == LSTM:
            copy_rows(c[C0] + n0 * hidden * item, hidden, cell, ld, count_rows, hidden)
        for step in range(c[LENGTH]):
            rows, row, _, _ = step_of(c, task, step)
            if rows == 0:
                continue
            for j in range(0, hidden, nr):
                width = min(nr, hidden - j)
                wp = c[WP] + j * gates * hidden * item
                for q in range(products):
                    multiply(tiles, zeros, count_rows, h, ld, hidden, wp + q * hidden * nr * item, buf + q * block, nr, False)
                for k in range(rows):
                    at = row + k * stride
                    a = c[A] + (at * gates * hidden + j) * item
                    kept, out = c[KEPT] + (at * hidden + j) * item, c[OUT] + (at * ldo + j) * item
                    own = (k * ld + j) * item
                    for u in range(0, width, count):
                        m, x = width - u, u * item
                        sums = buf + k * nr * item + x
                        if kind == LSTM:
                            gi = f.sigmoid(v.load(sums) + take(a + x, m))
                            gf = f.sigmoid(v.load(sums + block) + take(a + hidden * item + x, m))
                            gg = f.tanh(v.load(sums + 2 * block) + take(a + 2 * hidden * item + x, m))
                            go = f.sigmoid(v.load(sums + 3 * block) + take(a + 3 * hidden * item + x, m))
                            cv = v.fma(gf, v.load(cell + own + x), gi * gg)
                            hv = go * f.tanh(cv)
                            v.store(cell + own + x, cv)
                            v.store(new + own + x, hv)
                            put(a + x, m, gi)
                            put(a + hidden * item + x, m, gf)
                            put(a + 2 * hidden * item + x, m, gg)
                            put(a + 3 * hidden * item + x, m, go)
                            put(kept + x, m, cv)
                            put(out + x, m, hv)
                        elif kind == GRU or kind == GRU_BEFORE:
                            gr = f.sigmoid(v.load(sums) + take(a + x, m))
                            gz = f.sigmoid(v.load(sums + block) + take(a + hidden * item + x, m))
                            hv = v.load(h + own + x)
                            put(a + x, m, gr)
                            put(a + hidden * item + x, m, gz)
                            if kind == GRU:
                                q = v.load(sums + 2 * block)
                                if c[B] != 0:
                                    q = q + take(c[B] + j * item + x, m)
                                gn = f.tanh(v.fma(gr, q, take(a + 2 * hidden * item + x, m)))
                                hv = v.fma(gz, hv - gn, gn)
                                put(kept + x, m, q)
                                put(a + 2 * hidden * item + x, m, gn)
                                put(out + x, m, hv)
                                v.store(new + own + x, hv)
                            else:
                                hv = gr * hv
                                put(kept + x, m, hv)
                                v.store(cell + own + x, hv)
                        else:
                            hv = v.load(sums) + take(a + x, m)
                            hv = f.tanh(hv) if kind == RNN_TANH else maximum(zero, hv)
                            v.store(new + own + x, hv)
                            put(out + x, m, hv)
            if kind == GRU_BEFORE:
                for j in range(0, hidden, nr):
                    width = min(nr, hidden - j)
                    multiply(tiles, zeros, count_rows, cell, ld, hidden, c[WP] + (j * gates + 2 * nr) * hidden * item, buf, nr, False)
                    for k in range(rows):
                        at = row + k * stride
                        a = c[A] + (at * gates * hidden + j) * item
                        own = (k * ld + j) * item
                        for u in range(0, width, count):
                            m, x = width - u, u * item
                            gn = f.tanh(v.load(buf + k * nr * item + x) + take(a + 2 * hidden * item + x, m))
                            hv = v.fma(take(a + hidden * item + x, m), v.load(h + own + x) - gn, gn)
                            put(a + 2 * hidden * item + x, m, gn)
                            put(c[OUT] + (at * ldo + j) * item + x, m, hv)
                            v.store(new + own + x, hv)
            h, new = new, h
        if kind == LSTM:
            copy_rows(cell, ld, c[CN] + n0 * hidden * item, hidden, count_rows, hidden)

    return forward


@cache
def backward_task(dtype, kind):
    v, f, item = simd(dtype), math_of(dtype, 1), dtype.itemsize
    count = v.lanes
    nr = NV * count
    one, zero = dtype.type(1), dtype.type(0)
    gates = {LSTM: 4, GRU: 3, GRU_BEFORE: 3}.get(kind, 1)
    take, put, copy_rows, clear = moving(dtype)
    multiply = multiplying(dtype)

    @inline
    def to_states(c, rows, own, first, depth, add, dh):
        """dh = (or +=) da @ W, over `depth` rows of W from `first` on."""
        hidden, blocks = c[HIDDEN], (depth + KC - 1) // KC
        for j in range(0, hidden, nr):
            wp = c[WP] + j * gates * hidden * item
            for k in range(blocks):
                l0, l1 = first + depth * k // blocks, first + depth * (k + 1) // blocks
                multiply(
                    c[TILES], c[ZERO], rows, own + l0 * item, c[LDG], l1 - l0, wp + l0 * nr * item, dh + j * item, c[LD], add or k > 0
                )  # fmt: skip

    @task
    def backward(ctx, task, slot):
        c = ints(ctx)
        hidden, stride, ld, ldg, ldo = c[HIDDEN], c[STRIDE], c[LD], c[LDG], c[LDO]
        n0, n1 = c[BATCH] * task // c[TASKS], c[BATCH] * (task + 1) // c[TASKS]
        count_rows, plane = n1 - n0, c[ROWS] * ld
        dh = c[OWN] + slot * c[OWN_BYTES]
        dc, own = dh + plane * item, dh + 2 * plane * item
        clear(dh, 2 * plane + c[ROWS] * ldg)
        if kind == LSTM and c[DCN] != 0:
            copy_rows(c[DCN] + n0 * hidden * item, hidden, dc, ld, count_rows, hidden)
        for i in range(c[LENGTH]):
            rows, row, old, old_row = step_of(c, task, c[LENGTH] - 1 - i)
            if rows == 0:
                continue
            for k in range(rows):
                at = row + k * stride
                a, da = c[A] + at * gates * hidden * item, c[DA] + at * gates * hidden * item
                kept, out, g = c[KEPT] + at * hidden * item, c[OUT] + at * ldo * item, c[G] + at * c[LDGR] * item
                mine, state, cell = own + k * ldg * item, dh + k * ld * item, dc + k * ld * item
                if kind == LSTM:
                    before = c[KEPT] + (old_row + k * stride) * hidden * item if k < old else c[C0] + (n0 + k) * hidden * item
                else:
                    before = c[OUT] + (old_row + k * stride) * ldo * item if k < old else c[H0] + (n0 + k) * hidden * item
                for u in range(0, hidden, count):
                    m, x = hidden - u, u * item
                    d = v.load(state + x) + take(g + x, m)
                    v.store(state + x, v.zero())
                    if kind == LSTM:
                        second, third, fourth = hidden * item + x, 2 * hidden * item + x, 3 * hidden * item + x
                        gi, gf, gg, go = take(a + x, m), take(a + second, m), take(a + third, m), take(a + fourth, m)
                        tc = f.tanh(take(kept + x, m))
                        dcv = v.fma(d * go, one - tc * tc, v.load(cell + x))
                        v.store(cell + x, dcv * gf)
                        y = dcv * gg * (gi * (one - gi))
                        put(da + x, m, y)
                        put(mine + x, m, y)
                        y = dcv * take(before + x, m) * (gf * (one - gf))
                        put(da + second, m, y)
                        put(mine + second, m, y)
                        y = dcv * gi * (one - gg * gg)
                        put(da + third, m, y)
                        put(mine + third, m, y)
                        y = d * tc * (go * (one - go))
                        put(da + fourth, m, y)
                        put(mine + fourth, m, y)
                    elif kind == GRU or kind == GRU_BEFORE:
                        second, third = hidden * item + x, 2 * hidden * item + x
                        gz, gn = take(a + second, m), take(a + third, m)
                        v.store(state + x, d * gz)
                        y = d * (take(before + x, m) - gn) * (gz * (one - gz))
                        put(da + second, m, y)
                        put(mine + second, m, y)
                        y = d * (one - gz) * (one - gn * gn)
                        put(da + third, m, y)
                        if kind == GRU:
                            gr = take(a + x, m)
                            dr = y * take(kept + x, m) * (gr * (one - gr))
                            put(da + x, m, dr)
                            put(mine + x, m, dr)
                            y = y * gr
                            put(c[DKEPT] + at * hidden * item + x, m, y)
                        put(mine + third, m, y)
                    else:
                        y = take(out + x, m)
                        y = d * (one - y * y) if kind == RNN_TANH else select(y > zero, d, v.zero())
                        put(da + x, m, y)
                        put(mine + x, m, y)
            if kind == GRU_BEFORE:
                to_states(c, count_rows, own, 2 * hidden, hidden, False, dc)
                for k in range(rows):
                    at = row + k * stride
                    before = c[OUT] + (old_row + k * stride) * ldo * item if k < old else c[H0] + (n0 + k) * hidden * item
                    for u in range(0, hidden, count):
                        m, x = hidden - u, u * item
                        gr = take(c[A] + at * gates * hidden * item + x, m)
                        q = v.load(dc + k * ld * item + x) * gr
                        v.store(dh + k * ld * item + x, v.load(dh + k * ld * item + x) + q)
                        y = q * take(before + x, m) * (one - gr)
                        put(c[DA] + at * gates * hidden * item + x, m, y)
                        put(own + k * ldg * item + x, m, y)
            # all rows of the task are multiplied: those that do not run add nothing
            clear(own + rows * ldg * item, (count_rows - rows) * ldg)
            if kind == GRU_BEFORE:
                to_states(c, count_rows, own, 0, 2 * hidden, True, dh)
            else:
                to_states(c, count_rows, own, 0, gates * hidden, True, dh)
        copy_rows(dh, ld, c[DH0] + n0 * hidden * item, hidden, count_rows, hidden)
        if kind == LSTM:
            copy_rows(dc, ld, c[DC0] + n0 * hidden * item, hidden, count_rows, hidden)

    return backward


# From Python


def _sizes(pass_, p):
    """(tasks, their rows, stride of a row of units, of all gates, bytes of the packed weights, bytes per thread)"""
    item = p.dtype.itemsize
    nr, line = NV * lanes(p.dtype), 64 // item

    def spread(n):
        """A stride of at least n elements, whole strips, that is an odd number of cache lines."""
        return (-(-(-(-n // nr) * nr) // line) | 1) * line

    tasks = -(-p.batch // (TASK_ROWS if p.batch > TASK_ROWS else TASK_ROWS // 2))
    rows = -(-p.batch // tasks) if tasks else 0
    ld, ldg = spread(p.hidden), spread(p.gates * p.hidden)
    own = rows * (3 * ld + p.gates * nr if pass_ == "forward" else 2 * ld + ldg) * item
    packed = -(-p.hidden // nr) * nr * p.gates * p.hidden * item
    return tasks, rows, ld, ldg, -(-packed // 128) * 128, -(-own // 128) * 128


def scratch(pass_, p):
    """The packed weights; states, sums and gradients of a task's sequences."""
    return _sizes(pass_, p)[4:]


def transformed(pass_, p):
    """Bytes of the packed weights."""
    return scratch(pass_, p)[0]


def _tiles(p, tasks):
    """Addresses of the tiles by height."""
    table = np.zeros(MR + 1, np.int64)
    for rows in {p.batch // tasks, -(-p.batch // tasks)}:
        height = -(-rows // -(-rows // MR))
        for h in {height, rows % height or height}:
            table[h] = tile_function(p.dtype, h, NV).address
    return table


def _program(pass_, p, work, packing, ntasks, **arrays):
    tasks, rows, ld, ldg, packed, own = _sizes(pass_, p)
    if not tasks or not p.hidden:
        return lambda *arguments: None
    memory = arrays.pop("scratch")
    words = [0] * 32
    described = {
        LENGTH: p.length, BATCH: p.batch, HIDDEN: p.hidden, GATES: p.gates, STRIDE: p.stride, REVERSE: p.reverse, TASKS: tasks, ROWS: rows, LD: ld,
        LDG: ldg, WP: memory, OWN: memory.at(packed), OWN_BYTES: own, TILES: _tiles(p, tasks), ZERO: _ZERO,
    }  # fmt: skip
    for where, word in (described | {globals()[name.upper()]: argument for name, argument in arrays.items()}).items():
        words[where] = word
    elements = p.gates * p.hidden**2
    return program(
        words,
        Stage(packing, ntasks, 0.5 * elements),
        Stage(work, tasks, 2.0 * p.length * p.batch * elements / RATE[p.dtype.itemsize], own),
        shared=packed,
    )


@lru_cache(4096)
def forward_program(p):
    w, b, h0, c0, steps, out, kept, cn, gates, scratch = map(Argument, range(10))
    strips = -(-p.hidden // (NV * lanes(p.dtype)))
    return _program(
        "forward", p, forward_task(p.dtype, p.kind), pack_task(p.dtype, False), strips * p.gates,
        w=w, b=b, h0=h0, c0=c0, steps=steps, out=out, ldo=out.stride(0), kept=kept, cn=cn, a=gates, scratch=scratch,
    )  # fmt: skip


@lru_cache(4096)
def backward_program(p):
    g, dcn, w, gates, out, kept, h0, c0, steps, da, dkept, dh0, dc0, scratch = map(Argument, range(14))
    strips = -(-p.hidden // (NV * lanes(p.dtype)))
    return _program(
        "backward", p, backward_task(p.dtype, p.kind), pack_task(p.dtype, True), strips,
        g=g, ldgr=g.stride(0), dcn=dcn, w=w, a=gates, out=out, ldo=out.stride(0), kept=kept, h0=h0, c0=c0, steps=steps, da=da, dkept=dkept,
        dh0=dh0, dc0=dc0, scratch=scratch,
    )  # fmt: skip


@runs(forward_program)
def forward(p, w, b, h0, c0, steps, out, kept, cn, gates, scratch): ...


@runs(backward_program)
def backward(p, g, dcn, w, gates, out, kept, h0, c0, steps, da, dkept, dh0, dc0, scratch): ...
