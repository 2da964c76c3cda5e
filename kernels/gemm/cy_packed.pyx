"""Packed, blocked, register-tiled matrix product.

    out = act(alpha * a @ b + beta * c + bias)

Shapes   a (m, k)  b (k, n)  c, out (m, n)  bias (n,) or (m,)
Storage  a, b of any strides; c and out with unit column stride, any row stride
Packed   bp  panels of nr columns, kc deep:  bp[j / nr][l][j % nr]     shared, packed once per (jc, pc) by all threads
         ap  panels of mr rows, kc deep:     ap[i / mr][l][i % mr]     one block of mc rows per thread, in its L2
         Both are padded with zeros to whole panels. Rows that lie across a panel are transposed in registers (_common/transpose.h).
         For at most two panels of rows, B with unit column stride is read in place instead: packing would cost more than it saves.
Tile     mr x nr = LM_MR x LM_NV registers (_common/tile.pxd)

Loops    jc over n by nc      a slab of B that stays in L3
         pc over k by kc      one pass over C; the first applies alpha and beta, the last bias and activation
         tasks: ic by mc, jr  a block of A that stays in L2, against a run of the slab's panels
         jr, ir               the tiles of the block: the B panel (kc * nr) stays in L1 while all mr-panels of A pass by
Edges    a tile that hangs over is computed whole on the zero padding and stored masked.
Threads  tasks are defined by m and n only; each element of C is summed by one task in one order, so bits do not depend on threads.
After    Goto and van de Geijn, ACM TOMS 34(3), 2008; Van Zee and van de Geijn (BLIS), ACM TOMS 41(3), 2015.
"""
cimport numpy as cnp

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport LM_MR, LM_NV, LM_VB, lanes, v_load, v_store
from lamella.kernels._common.tile cimport BIAS_COLUMN, BIAS_NONE, BIAS_ROW, Epilogue, tile, tile_run
from lamella.kernels._common.transpose cimport square
from lamella.kernels._common.types cimport i64, real

cnp.import_array()

cdef enum:
    KC = 384        # depth of a panel: kc * nr floats of B (48 KiB with AVX-512) and a strip of A pass through L1
    MC = 168        # rows of a block of A: mc * kc floats = 258 KiB, a quarter of L2; a multiple of 14 and 6
    NC = 3072       # columns of a slab of B: kc * nc floats = 4.7 MB
    RUN = 512       # columns a task works on, where n is long and m too short to give every thread a block


cdef struct Context:
    i64 m, n, k
    i64 item            # bytes per element
    const char *a
    i64 ars, acs        # strides in elements
    const char *b
    i64 brs, bcs
    char *out
    i64 ldc
    const char *c
    i64 ldcc
    const char *bias
    Epilogue e
    char *bp
    char *ap
    i64 ap_bytes        # per slot
    i64 jc, nc, pc, kc  # the slab at work
    bint in_place       # B is not packed
    i64 mc, run         # rows and columns of a task
    i64 run_tasks       # tasks along n


cdef inline i64 ceil_div(i64 a, i64 b) noexcept nogil:
    return (a + b - 1) // b


cdef void transpose(real t, const real *src, i64 ld_src, real *dst, i64 ld_dst, i64 m, i64 n) noexcept nogil:
    """dst[j * ld_dst + i] = src[i * ld_src + j] for i < m, j < n."""
    cdef i64 i, j
    cdef i64 w = lanes(t)
    for i in range(ceil_div(m, w)):
        for j in range(ceil_div(n, w)):
            square(t, src + i * w * ld_src + j * w, ld_src, dst + j * w * ld_dst + i * w, ld_dst, min(w, m - i * w), min(w, n - j * w))


cdef void pack_b(real t, Context *c, i64 panel) noexcept nogil:
    """bp[panel] = the panel's columns of the slab, row after row."""
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 j0 = c.jc + panel * nr
    cdef i64 width = min(nr, c.jc + c.nc - j0)
    cdef const real *src = <const real *>c.b + c.pc * c.brs + j0 * c.bcs
    cdef real *dst = <real *>c.bp + panel * c.kc * nr
    cdef i64 l, j
    if c.bcs == 1 and width == nr:
        for l in range(c.kc):
            for j in range(LM_NV):
                v_store(dst + l * nr + j * lanes(t), v_load(src + l * c.brs + j * lanes(t)))
        return
    if c.brs == 1:
        transpose(t, src, c.bcs, dst, nr, width, c.kc)
    else:
        for l in range(c.kc):
            for j in range(width):
                dst[l * nr + j] = src[l * c.brs + j * c.bcs]
    for l in range(c.kc):
        for j in range(width, nr):
            dst[l * nr + j] = 0


cdef void pack_a(real t, Context *c, i64 i0, i64 rows, real *dst) noexcept nogil:
    """dst = `rows` rows from i0 on, in panels of mr rows."""
    cdef i64 mr = LM_MR
    cdef i64 i, l, ir, panel, height
    cdef const real *src
    for panel in range(ceil_div(rows, mr)):
        ir = panel * mr
        height = min(mr, rows - ir)
        src = <const real *>c.a + (i0 + ir) * c.ars + c.pc * c.acs
        if height < mr:
            for l in range(c.kc):
                for i in range(height, mr):
                    dst[l * mr + i] = 0
        if c.acs == 1:
            transpose(t, src, c.ars, dst, mr, height, c.kc)
        else:
            for l in range(c.kc):
                for i in range(height):
                    dst[l * mr + i] = src[i * c.ars + l * c.acs]
        dst += mr * c.kc


cdef void block(real t, Context *c, i64 task, i64 slot) noexcept nogil:
    """One task: pack a block of A, multiply it with a run of panels of B."""
    cdef i64 mr = LM_MR
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 i0 = task // c.run_tasks * c.mc
    cdef i64 rows = min(c.mc, c.m - i0)
    cdef i64 j0 = task % c.run_tasks * c.run
    cdef i64 j1 = min(j0 + c.run, c.nc)
    cdef i64 zero = 0
    cdef i64 jr, ir, i, j, panel, strip, height, width
    cdef real *ap = <real *>(c.ap + slot * c.ap_bytes)
    cdef real *out
    cdef const real *b
    cdef i64 bls
    cdef const real *old
    cdef bint first = c.pc == 0
    cdef bint last = c.pc + c.kc == c.k
    cdef Epilogue e = c.e
    if not first:
        e.beta = 1
    if not last:
        e.bias_kind = BIAS_NONE
        e.act = 0
    pack_a(t, c, i0, rows, ap)
    if first and e.beta != 0 and c.c != c.out:      # bring c in: from here on the old values stand in out
        for i in range(i0, i0 + rows):
            out = <real *>c.out + i * c.ldc + c.jc
            old = <const real *>c.c + i * c.ldcc + c.jc
            for j in range(j0, j1):
                out[j] = old[j]
    for strip in range(ceil_div(j1 - j0, nr)):
        jr = j0 + strip * nr
        width = min(nr, j1 - jr)
        b = <const real *>c.bp + jr * c.kc
        bls = nr
        if c.in_place:
            b = <const real *>c.b + c.pc * c.brs + c.jc + jr
            bls = c.brs
        for panel in range(ceil_div(rows, mr)):
            ir = panel * mr
            height = min(mr, rows - ir)
            if e.bias_kind == BIAS_COLUMN:
                e.bias = <const real *>c.bias + c.jc + jr
            elif e.bias_kind == BIAS_ROW:
                e.bias = <const real *>c.bias + i0 + ir
            out = <real *>c.out + (i0 + ir) * c.ldc + c.jc + jr
            if width <= lanes(t):
                tile_run(t, height, 1, 1, &zero, &zero, c.kc, ap + ir * c.kc, 1, LM_MR, b, bls, width, out, c.ldc, width, &e)
            elif width < nr and c.in_place:
                tile_run(t, height, LM_NV, 1, &zero, &zero, c.kc, ap + ir * c.kc, 1, LM_MR, b, bls, width, out, c.ldc, width, &e)
            else:
                tile_run(t, height, LM_NV, 1, &zero, &zero, c.kc, ap + ir * c.kc, 1, LM_MR, b, bls, -1, out, c.ldc, width, &e)


cdef void pack_b_f32(void *c, i64 task, i64 slot) noexcept nogil:
    pack_b(<float>0, <Context *>c, task)


cdef void pack_b_f64(void *c, i64 task, i64 slot) noexcept nogil:
    pack_b(<double>0, <Context *>c, task)


cdef void block_f32(void *c, i64 task, i64 slot) noexcept nogil:
    block(<float>0, <Context *>c, task, slot)


cdef void block_f64(void *c, i64 task, i64 slot) noexcept nogil:
    block(<double>0, <Context *>c, task, slot)


cdef void finish_empty(real t, Context *c) noexcept nogil:
    """k = 0: the sum is empty, the epilogue is not."""
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 i, j, l, strip
    cdef real *out
    cdef i64 zero = 0
    cdef Epilogue e = c.e
    for i in range(c.m):
        for strip in range(ceil_div(c.n, nr)):
            j = strip * nr
            out = <real *>c.out + i * c.ldc + j
            if e.beta != 0 and c.c != c.out:
                for l in range(min(nr, c.n - j)):
                    out[l] = (<const real *>c.c)[i * c.ldcc + j + l]
            if e.bias_kind == BIAS_COLUMN:
                e.bias = <const real *>c.bias + j
            elif e.bias_kind == BIAS_ROW:
                e.bias = <const real *>c.bias + i
            tile(
                t, 1, LM_NV, 0, &zero, &zero, 0, <const real *>NULL, 1, 1, <const real *>NULL, 0, -1,
                out, c.ldc, 1, min(nr, c.n - j), &e,
            )


cdef void multiply(Context *c, bint double_precision, i64 slots) noexcept nogil:
    cdef i64 nr = LM_NV * LM_VB // c.item
    cdef i64 blocks = ceil_div(c.m, MC)
    cdef double rate = 60.0 if double_precision else 120.0     # flops per ns of one thread, for the pool's estimate
    if c.m == 0 or c.n == 0:
        return
    if c.k == 0:
        if double_precision:
            finish_empty(<double>0, c)
        else:
            finish_empty(<float>0, c)
        return
    c.in_place = c.bcs == 1 and c.m <= 2 * LM_MR
    c.mc = ceil_div(ceil_div(c.m, blocks), LM_MR) * LM_MR     # equal blocks
    c.jc = 0
    while c.jc < c.n:
        c.nc = min(<i64>NC, c.n - c.jc)
        c.run = ceil_div(c.nc, nr) * nr if blocks >= 8 else RUN
        c.run_tasks = ceil_div(c.nc, c.run)
        c.pc = 0
        while c.pc < c.k:
            c.kc = min(<i64>KC, c.k - c.pc)
            if not c.in_place:
                parallel_for(pack_b_f64 if double_precision else pack_b_f32, c, ceil_div(c.nc, nr), 0.3 * c.nc * c.kc, ANY_SLOTS)
            parallel_for(
                block_f64 if double_precision else block_f32, c, ceil_div(c.m, c.mc) * c.run_tasks,
                2.0 * c.m * c.nc * c.kc / rate, slots,
            )
            c.pc += KC
        c.jc += NC


cdef i64 round_up(i64 bytes) noexcept nogil:
    return ceil_div(bytes, 128) * 128


def scratch(pass_, p):
    """The slab of B, shared, and a block of A per thread."""
    cdef i64 item = p.dtype.itemsize
    cdef i64 nr = LM_NV * LM_VB // item
    cdef i64 kc = min(<i64>KC, <i64>p.k)
    cdef i64 nc = min(<i64>NC, <i64>p.n)
    cdef i64 mc = min(<i64>MC, ceil_div(p.m, LM_MR) * LM_MR)
    return round_up(kc * ceil_div(nc, nr) * nr * item), round_up(mc * kc * item)


def forward(p, cnp.ndarray a, cnp.ndarray b, bias, c, cnp.ndarray out, cnp.ndarray scratch):
    cdef Context x
    cdef bint double_precision = cnp.PyArray_TYPE(out) == cnp.NPY_FLOAT64
    x.item = 8 if double_precision else 4
    x.m = p.m
    x.n = p.n
    x.k = p.k
    x.a = cnp.PyArray_BYTES(a)
    x.ars = cnp.PyArray_STRIDE(a, 0) // x.item
    x.acs = cnp.PyArray_STRIDE(a, 1) // x.item
    x.b = cnp.PyArray_BYTES(b)
    x.brs = cnp.PyArray_STRIDE(b, 0) // x.item
    x.bcs = cnp.PyArray_STRIDE(b, 1) // x.item
    x.out = cnp.PyArray_BYTES(out)
    x.ldc = cnp.PyArray_STRIDE(out, 0) // x.item
    x.e.alpha = p.alpha
    x.e.beta = p.beta
    x.e.slope = p.slope
    x.e.act = p.act
    x.e.bias_kind = p.bias_kind
    x.e.bias = NULL
    x.bias = cnp.PyArray_BYTES(bias) if bias is not None else NULL
    x.c = NULL
    x.ldcc = 0
    if c is not None:
        x.c = cnp.PyArray_BYTES(c)
        x.ldcc = cnp.PyArray_STRIDE(c, 0) // x.item
    cdef i64 mc = min(<i64>MC, ceil_div(x.m, LM_MR) * LM_MR)
    cdef i64 kc = min(<i64>KC, x.k)
    cdef i64 slab = round_up(kc * ceil_div(min(<i64>NC, x.n), LM_NV * LM_VB // x.item) * LM_NV * LM_VB)
    x.ap_bytes = round_up(mc * kc * x.item)
    x.bp = cnp.PyArray_BYTES(scratch)
    x.ap = x.bp + slab
    cdef i64 slots = (cnp.PyArray_SIZE(scratch) - slab) // x.ap_bytes if x.ap_bytes else 1
    with nogil:
        multiply(&x, double_precision, slots)
