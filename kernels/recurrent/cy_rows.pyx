"""Recurrent layers: some sequences per task, through all their steps in one call.

    h' = cell(a + W h),  and back through time:  dh = g + W^T da of the step after

Shapes   gates, da (rows, G hidden)  w (G hidden, hidden)  out, kept (rows, hidden)  h0, c0 (batch, hidden); see the manual page
Packed   wp, shared, once per call, in strips of nr = LM_NV registers, depth after depth:
             forward   wp[unit / nr][gate][l][unit % nr] = w[gate, unit, l]      all gates of nr units side by side
             backward  wp[l / nr][gate, unit][l % nr] = w[gate, unit, l]
         The operand on the other side, h or da of the task's rows, stands in the task's own memory, with a stride of an odd number of cache lines.
Tile     mr x nr (_common/tile.pxd); forward it adds a, which it finds in `gates`; backward what dh holds

Loops    tasks       of 8 to 16 sequences, by the batch alone. A task never waits for another: steps depend on each other within a sequence only
         steps       of the task, in time
         strips      forward: the sums of all gates of nr units into L1, then the cell on them while they are there, in vector registers;
                     a strip of weights, 16 KiB for 128 units, serves all rows from L1, all strips (256 KiB) stay in L2
         panels      of mr rows
         backward is the same in the other order: the cell for all units first, then W^T da, whose depth (all gates) goes in blocks of KC
Edges    the last units are loaded and stored by masks; strips are zero-padded; a step computes only the sequences that are still running.
Cost     2 G hidden^2 flops per element and pass; 5 (lstm) or 3 (gru) exponentials per unit
Gains    over one product per step and gate: one crossing, no barrier, gates and states never leave the caches of their core.
         Loses parallelism for batches of less than 16 sequences, which are one task or two.
After    Appleyard et al., arXiv:1604.01946 (all inputs in one product, fused cells); Diamos et al., ICML 2016 (weights that stay close).
"""
cimport numpy as cnp
from libc.string cimport memcpy, memset

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport (
    LM_MR, LM_NV, LM_VB, lanes, v_add, v_fma, v_gt, v_load, v_load_n, v_max, v_mul, v_select, v_set, v_store, v_store_n, v_sub, v_zero, vec,
)
from lamella.kernels._common.tile cimport BIAS_COLUMN, Epilogue, plain, tile_run
from lamella.kernels._common.transpose cimport square
from lamella.kernels._common.types cimport i64, real
from lamella.kernels._common.vmath cimport v_sigmoid, v_tanh

cnp.import_array()

cdef enum:
    ROWS = 16           # sequences of a task; of a batch no larger, half
    KC = 128            # depth of a block of the backward product: a strip of it and the gradients of a task stay in L1

cdef enum Kind:         # the order of lamella.problems.CELLS
    RNN_TANH
    RNN_RELU
    LSTM
    GRU
    GRU_BEFORE

cdef struct Context:
    Kind kind
    i64 length, batch, hidden, gates, stride
    bint reverse
    bint backward
    const i64 *offset   # of the rows of a step, and how many there are
    const i64 *size
    i64 tasks, rows     # rows: of the largest task
    i64 ld              # of a row of units in a task's memory; ldg: of all gates
    i64 ldg
    const char *w
    const char *b
    const char *h0
    const char *c0
    char *out
    i64 ldo
    char *kept
    char *cn
    char *a             # gates
    const char *g       # backward
    i64 ldgr
    const char *dcn
    char *da
    char *dkept
    char *dh0
    char *dc0
    char *wp
    char *scratch
    i64 per_thread


cdef inline i64 ceil_div(i64 a, i64 b) noexcept nogil:
    return (a + b - 1) // b


cdef inline i64 spread(i64 n, i64 item) noexcept nogil:
    """A stride of at least n elements, whole strips, that is an odd number of cache lines: rows fall into different sets of L1."""
    cdef i64 line = 64 // item
    cdef i64 nr = LM_NV * LM_VB // item
    return (ceil_div(ceil_div(n, nr) * nr, line) | 1) * line


cdef inline i64 tasks_of(i64 batch) noexcept nogil:
    return ceil_div(batch, <i64>ROWS if batch > ROWS else ROWS // 2)


cdef inline vec take(real t, const real *p, i64 n) noexcept nogil:
    """The first n elements."""
    return v_load(p) if n >= lanes(t) else v_load_n(t, p, n)


cdef inline void put(real t, real *p, i64 n, vec v) noexcept nogil:
    if n >= lanes(t):
        v_store(p, v)
    else:
        v_store_n(t, p, n, v)


# Packing: a task is a strip of one gate (forward), or a strip of columns (backward)


cdef void pack(real t, Context *c, i64 task) noexcept nogil:
    cdef i64 w = lanes(t)
    cdef i64 nr = LM_NV * w
    cdef i64 hidden = c.hidden
    cdef i64 strip = task if c.backward else task // c.gates
    cdef i64 width = min(nr, hidden - strip * nr)
    cdef const real *src = <const real *>c.w
    cdef real *dst = <real *>c.wp
    cdef i64 i, l, n
    if c.backward:
        dst += strip * c.gates * hidden * nr
        src += strip * nr
        for l in range(c.gates * hidden):
            for i in range(LM_NV):
                n = width - i * w
                v_store(dst + l * nr + i * w, take(t, src + l * hidden + i * w, n) if n > 0 else v_zero())
        return
    dst += task * hidden * nr
    src += (task % c.gates * hidden + strip * nr) * hidden
    if width < nr:
        memset(dst, 0, hidden * nr * sizeof(real))
    for i in range(ceil_div(width, w)):
        for l in range(ceil_div(hidden, w)):
            square(t, src + i * w * hidden + l * w, hidden, dst + l * w * nr + i * w, nr, min(w, width - i * w), min(w, hidden - l * w))


cdef void pack_f32(void *c, i64 task, i64 slot) noexcept nogil:
    pack(<float>0, <Context *>c, task)


cdef void pack_f64(void *c, i64 task, i64 slot) noexcept nogil:
    pack(<double>0, <Context *>c, task)


cdef void multiply(
    real t, i64 rows, const real *a, i64 lda, i64 depth, const real *b, real *out, i64 ldc, i64 n, const real *old, i64 ld_old, const real *bias
) noexcept nogil:
    """out = a @ a strip of packed weights, plus `old` or a bias per column if they are given; the first n columns."""
    cdef i64 panels = ceil_div(rows, LM_MR)
    cdef i64 height = ceil_div(rows, panels)
    cdef i64 zero = 0
    cdef i64 i = 0
    cdef Epilogue e = plain()
    if bias != NULL:
        e.bias_kind = BIAS_COLUMN
        e.bias = bias
    if old != NULL:
        e.beta = 1
        e.ld_old = ld_old
    while i < rows:
        if old != NULL:
            e.old = old + i * ld_old
        tile_run(
            t, min(height, rows - i), LM_NV, 1, &zero, &zero, depth, a + i * lda, lda, 1, b, LM_NV * lanes(t), -1, out + i * ldc, ldc, n, &e
        )
        i += height


# Forward


# Where the rows of a task stand in one step.
cdef struct Step:
    i64 rows
    i64 row             # the first, in the arrays with a row per element
    i64 old             # rows that go on; the others begin here, from h0 and c0
    i64 old_row


cdef Step at(Context *c, i64 task, i64 step) noexcept nogil:
    """Step `step` in the order of time, counted from the end in `reverse`; rows == 0: nothing to do."""
    cdef Step s
    cdef i64 n0 = c.batch * task // c.tasks
    cdef i64 n1 = c.batch * (task + 1) // c.tasks
    cdef i64 t = c.length - 1 - step if c.reverse else step
    cdef i64 before = t + 1 if c.reverse else t - 1
    s.rows = max(<i64>0, min(n1, c.size[t]) - n0)
    s.row = c.offset[t] + n0 * c.stride
    s.old = 0
    s.old_row = 0
    if 0 <= before < c.length:
        s.old = max(<i64>0, min(s.rows, c.size[before] - n0))
        s.old_row = c.offset[before] + n0 * c.stride
    return s


cdef inline void lstm_forward(
    real t, Context *c, Step *s, i64 j, i64 width, const real *buf, i64 block, real *cell, real *new
) noexcept nogil:
    """The cell for `width` units from j on; buf holds the sums of the gates, a block apart."""
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 hidden = c.hidden
    cdef i64 r, u, n
    cdef real *a
    cdef const real *sums
    cdef vec i, f, g, o, h, cv
    for r in range(s.rows):
        a = <real *>c.a + (s.row + r * c.stride) * 4 * hidden + j
        u = 0
        while u < width:
            n = width - u
            sums = buf + r * nr + u
            i = v_sigmoid(t, v_load(sums))
            f = v_sigmoid(t, v_load(sums + block))
            g = v_tanh(t, v_load(sums + 2 * block))
            o = v_sigmoid(t, v_load(sums + 3 * block))
            cv = v_fma(t, f, v_load(cell + r * c.ld + j + u), v_mul(t, i, g))
            h = v_mul(t, o, v_tanh(t, cv))
            v_store(cell + r * c.ld + j + u, cv)
            v_store(new + r * c.ld + j + u, h)
            put(t, a + u, n, i)
            put(t, a + hidden + u, n, f)
            put(t, a + 2 * hidden + u, n, g)
            put(t, a + 3 * hidden + u, n, o)
            put(t, <real *>c.kept + (s.row + r * c.stride) * hidden + j + u, n, cv)
            put(t, <real *>c.out + (s.row + r * c.stride) * c.ldo + j + u, n, h)
            u += lanes(t)


cdef inline void rnn_forward(real t, Context *c, Step *s, i64 j, i64 width, const real *buf, real *new) noexcept nogil:
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 r, u
    cdef vec h
    for r in range(s.rows):
        u = 0
        while u < width:
            h = v_load(buf + r * nr + u)
            h = v_tanh(t, h) if c.kind == RNN_TANH else v_max(t, v_zero(), h)
            v_store(new + r * c.ld + j + u, h)
            put(t, <real *>c.out + (s.row + r * c.stride) * c.ldo + j + u, width - u, h)
            u += lanes(t)


cdef inline void gru_forward(real t, Context *c, Step *s, i64 j, i64 width, const real *buf, i64 block, const real *h, real *new) noexcept nogil:
    """r, z and n = tanh(a + r (W h + b)); with the reset gate before the product r, z and r h alone."""
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 hidden = c.hidden
    cdef i64 k, u, m
    cdef real *a
    cdef real *kept
    cdef const real *sums
    cdef vec r, z, n, q, hv
    for k in range(s.rows):
        a = <real *>c.a + (s.row + k * c.stride) * 3 * hidden + j
        kept = <real *>c.kept + (s.row + k * c.stride) * hidden + j
        u = 0
        while u < width:
            m = width - u
            sums = buf + k * nr + u
            hv = v_load(h + k * c.ld + j + u)
            r = v_sigmoid(t, v_load(sums))
            z = v_sigmoid(t, v_load(sums + block))
            put(t, a + u, m, r)
            put(t, a + hidden + u, m, z)
            if c.kind == GRU:
                q = v_load(sums + 2 * block)
                n = v_tanh(t, v_fma(t, r, q, take(t, a + 2 * hidden + u, m)))
                put(t, a + 2 * hidden + u, m, n)
                hv = v_fma(t, z, v_sub(t, hv, n), n)
                put(t, <real *>c.out + (s.row + k * c.stride) * c.ldo + j + u, m, hv)
            else:
                q = hv = v_mul(t, r, hv)
            put(t, kept + u, m, q)
            v_store(new + k * c.ld + j + u, hv)
            u += lanes(t)


cdef inline void gru_before_forward(real t, Context *c, Step *s, i64 j, i64 width, const real *buf, const real *h, real *new) noexcept nogil:
    """n and the new h, once r h has been multiplied."""
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 k, u, m
    cdef real *a
    cdef vec z, n, hv
    for k in range(s.rows):
        a = <real *>c.a + (s.row + k * c.stride) * 3 * c.hidden + j
        u = 0
        while u < width:
            m = width - u
            n = v_tanh(t, v_load(buf + k * nr + u))
            z = take(t, a + c.hidden + u, m)
            hv = v_fma(t, z, v_sub(t, v_load(h + k * c.ld + j + u), n), n)
            put(t, a + 2 * c.hidden + u, m, n)
            put(t, <real *>c.out + (s.row + k * c.stride) * c.ldo + j + u, m, hv)
            v_store(new + k * c.ld + j + u, hv)
            u += lanes(t)


cdef void forward_task(real t, Context *c, i64 task, i64 slot) noexcept nogil:
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 hidden = c.hidden
    cdef i64 n0 = c.batch * task // c.tasks
    cdef i64 n1 = c.batch * (task + 1) // c.tasks
    cdef i64 ld = c.ld
    cdef i64 block = c.rows * nr            # of the sums of one gate
    cdef i64 strip = hidden * nr            # of the weights of one gate and nr units
    cdef i64 plane = c.rows * ld
    cdef real *h = <real *>(c.scratch + slot * c.per_thread)
    cdef real *new = h + plane
    cdef real *cell = new + plane           # lstm: c; gru_before: r h
    cdef real *buf = cell + plane
    cdef i64 products = 2 if c.kind == GRU_BEFORE else c.gates
    cdef i64 r, i, j, q, width
    cdef const real *a
    cdef const real *bias
    cdef const real *wp
    cdef Step s
    memset(h, 0, 3 * plane * sizeof(real))
    for r in range(n1 - n0):
        memcpy(h + r * ld, <const real *>c.h0 + (n0 + r) * hidden, hidden * sizeof(real))
        memcpy(new + r * ld, <const real *>c.h0 + (n0 + r) * hidden, hidden * sizeof(real))     # sequences that begin later
        if c.kind == LSTM:
            memcpy(cell + r * ld, <const real *>c.c0 + (n0 + r) * hidden, hidden * sizeof(real))
    for i in range(c.length):
        s = at(c, task, i)
        if s.rows == 0:
            continue
        a = <const real *>c.a + s.row * c.gates * hidden
        j = 0
        while j < hidden:
            width = min(nr, hidden - j)
            wp = <const real *>c.wp + j // nr * c.gates * strip
            for q in range(products):
                if c.kind == GRU and q == 2:
                    bias = <const real *>c.b + j if c.b != NULL else NULL
                    multiply(t, s.rows, h, ld, hidden, wp + q * strip, buf + q * block, nr, width, <const real *>NULL, 0, bias)
                else:
                    multiply(
                        t, s.rows, h, ld, hidden, wp + q * strip, buf + q * block, nr, width,
                        a + q * hidden + j, c.stride * c.gates * hidden, <const real *>NULL,
                    )
            if c.kind == LSTM:
                lstm_forward(t, c, &s, j, width, buf, block, cell, new)
            elif c.kind <= RNN_RELU:
                rnn_forward(t, c, &s, j, width, buf, new)
            else:
                gru_forward(t, c, &s, j, width, buf, block, h, new if c.kind == GRU else cell)
            j += nr
        j = 0 if c.kind == GRU_BEFORE else hidden
        while j < hidden:
            width = min(nr, hidden - j)
            wp = <const real *>c.wp + (j // nr * c.gates + 2) * strip
            multiply(t, s.rows, cell, ld, hidden, wp, buf, nr, width, a + 2 * hidden + j, c.stride * 3 * hidden, <const real *>NULL)
            gru_before_forward(t, c, &s, j, width, buf, h, new)
            j += nr
        h, new = new, h
    if c.kind == LSTM:
        for r in range(n1 - n0):
            memcpy(<real *>c.cn + (n0 + r) * hidden, cell + r * ld, hidden * sizeof(real))


cdef void forward_f32(void *c, i64 task, i64 slot) noexcept nogil:
    forward_task(<float>0, <Context *>c, task, slot)


cdef void forward_f64(void *c, i64 task, i64 slot) noexcept nogil:
    forward_task(<double>0, <Context *>c, task, slot)


# Backward


cdef inline const real *before(real t, Context *c, Step *s, i64 n0, i64 r, const char *states, i64 ld, const char *start) noexcept nogil:
    """The state that row r of the step came from."""
    if r < s.old:
        return <const real *>states + (s.old_row + r * c.stride) * ld
    return <const real *>start + (n0 + r) * c.hidden


cdef inline void lstm_backward(real t, Context *c, Step *s, i64 n0, const real *dh, real *dc, real *own) noexcept nogil:
    """da of all gates, to da and to `own`, the operand of the product; dc becomes the gradient of the c before."""
    cdef i64 hidden = c.hidden
    cdef i64 r, row, u, m
    cdef const real *a
    cdef const real *c1
    cdef real *da
    cdef real *mine
    cdef vec i, f, g, o, d, tc, dcv, v
    cdef vec one = v_set(<real>1)
    for r in range(s.rows):
        row = s.row + r * c.stride
        a = <const real *>c.a + row * 4 * hidden
        da = <real *>c.da + row * 4 * hidden
        c1 = before(t, c, s, n0, r, c.kept, hidden, c.c0)
        mine = own + r * c.ldg
        u = 0
        while u < hidden:
            m = hidden - u
            i = take(t, a + u, m)
            f = take(t, a + hidden + u, m)
            g = take(t, a + 2 * hidden + u, m)
            o = take(t, a + 3 * hidden + u, m)
            d = v_add(t, v_load(dh + r * c.ld + u), take(t, <const real *>c.g + row * c.ldgr + u, m))
            tc = v_tanh(t, take(t, <const real *>c.kept + row * hidden + u, m))
            dcv = v_fma(t, v_mul(t, d, o), v_sub(t, one, v_mul(t, tc, tc)), v_load(dc + r * c.ld + u))
            v_store(dc + r * c.ld + u, v_mul(t, dcv, f))
            v = v_mul(t, v_mul(t, dcv, g), v_mul(t, i, v_sub(t, one, i)))
            put(t, da + u, m, v)
            put(t, mine + u, m, v)
            v = v_mul(t, v_mul(t, dcv, take(t, c1 + u, m)), v_mul(t, f, v_sub(t, one, f)))
            put(t, da + hidden + u, m, v)
            put(t, mine + hidden + u, m, v)
            v = v_mul(t, v_mul(t, dcv, i), v_sub(t, one, v_mul(t, g, g)))
            put(t, da + 2 * hidden + u, m, v)
            put(t, mine + 2 * hidden + u, m, v)
            v = v_mul(t, v_mul(t, d, tc), v_mul(t, o, v_sub(t, one, o)))
            put(t, da + 3 * hidden + u, m, v)
            put(t, mine + 3 * hidden + u, m, v)
            u += lanes(t)


cdef inline void rnn_backward(real t, Context *c, Step *s, const real *dh, real *own) noexcept nogil:
    cdef i64 hidden = c.hidden
    cdef i64 r, row, u, m
    cdef vec d, y
    for r in range(s.rows):
        row = s.row + r * c.stride
        u = 0
        while u < hidden:
            m = hidden - u
            y = take(t, <const real *>c.out + row * c.ldo + u, m)
            d = v_add(t, v_load(dh + r * c.ld + u), take(t, <const real *>c.g + row * c.ldgr + u, m))
            if c.kind == RNN_TANH:
                d = v_mul(t, d, v_sub(t, v_set(<real>1), v_mul(t, y, y)))
            else:
                d = v_select(v_gt(t, y, v_zero()), d, v_zero())
            put(t, <real *>c.da + row * hidden + u, m, d)
            put(t, own + r * c.ldg + u, m, d)
            u += lanes(t)


cdef inline void gru_backward(real t, Context *c, Step *s, i64 n0, real *dh, real *own) noexcept nogil:
    """da of all gates; dh becomes what reaches the h before past the product. `own` gets dr, dz and the gradient of W h + b;
    with the reset gate before the product nothing for r yet, and dn."""
    cdef i64 hidden = c.hidden
    cdef i64 k, row, u, m
    cdef const real *a
    cdef const real *h1
    cdef real *da
    cdef real *mine
    cdef vec r, z, n, d, dn, dr, dz
    cdef vec one = v_set(<real>1)
    for k in range(s.rows):
        row = s.row + k * c.stride
        a = <const real *>c.a + row * 3 * hidden
        da = <real *>c.da + row * 3 * hidden
        h1 = before(t, c, s, n0, k, c.out, c.ldo, c.h0)
        mine = own + k * c.ldg
        u = 0
        while u < hidden:
            m = hidden - u
            z = take(t, a + hidden + u, m)
            n = take(t, a + 2 * hidden + u, m)
            d = v_add(t, v_load(dh + k * c.ld + u), take(t, <const real *>c.g + row * c.ldgr + u, m))
            v_store(dh + k * c.ld + u, v_mul(t, d, z))
            dz = v_mul(t, v_mul(t, d, v_sub(t, take(t, h1 + u, m), n)), v_mul(t, z, v_sub(t, one, z)))
            dn = v_mul(t, v_mul(t, d, v_sub(t, one, z)), v_sub(t, one, v_mul(t, n, n)))
            put(t, da + hidden + u, m, dz)
            put(t, mine + hidden + u, m, dz)
            put(t, da + 2 * hidden + u, m, dn)
            if c.kind == GRU:
                r = take(t, a + u, m)
                dr = v_mul(t, v_mul(t, dn, take(t, <const real *>c.kept + row * hidden + u, m)), v_mul(t, r, v_sub(t, one, r)))
                put(t, da + u, m, dr)
                put(t, mine + u, m, dr)
                dn = v_mul(t, dn, r)
                put(t, <real *>c.dkept + row * hidden + u, m, dn)
            put(t, mine + 2 * hidden + u, m, dn)
            u += lanes(t)


cdef inline void gru_before_backward(real t, Context *c, Step *s, i64 n0, const real *dq, real *dh, real *own) noexcept nogil:
    """dr, and what reaches the h before through r h, from the gradient dq of r h."""
    cdef i64 hidden = c.hidden
    cdef i64 k, row, u, m
    cdef const real *h1
    cdef vec r, q, v
    for k in range(s.rows):
        row = s.row + k * c.stride
        h1 = before(t, c, s, n0, k, c.out, c.ldo, c.h0)
        u = 0
        while u < hidden:
            m = hidden - u
            r = take(t, <const real *>c.a + row * 3 * hidden + u, m)
            q = v_mul(t, v_load(dq + k * c.ld + u), r)
            v_store(dh + k * c.ld + u, v_add(t, v_load(dh + k * c.ld + u), q))
            v = v_mul(t, v_mul(t, q, take(t, h1 + u, m)), v_sub(t, v_set(<real>1), r))
            put(t, <real *>c.da + row * 3 * hidden + u, m, v)
            put(t, own + k * c.ldg + u, m, v)
            u += lanes(t)


cdef void to_states(real t, Context *c, i64 rows, const real *own, i64 first, i64 depth, bint add, real *dh) noexcept nogil:
    """dh = (or +=) da @ W, over `depth` rows of W from `first` on."""
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 j = 0
    cdef i64 blocks = ceil_div(depth, KC)
    cdef i64 k, l0, l1
    cdef const real *wp
    while j < c.hidden:
        wp = <const real *>c.wp + j * c.gates * c.hidden
        for k in range(blocks):
            l0 = first + depth * k // blocks
            l1 = first + depth * (k + 1) // blocks
            multiply(
                t, rows, own + l0, c.ldg, l1 - l0, wp + l0 * nr, dh + j, c.ld, nr,
                <const real *>dh + j if add or k > 0 else <const real *>NULL, c.ld, <const real *>NULL,
            )
        j += nr


cdef void backward_task(real t, Context *c, i64 task, i64 slot) noexcept nogil:
    cdef i64 hidden = c.hidden
    cdef i64 n0 = c.batch * task // c.tasks
    cdef i64 n1 = c.batch * (task + 1) // c.tasks
    cdef i64 plane = c.rows * c.ld
    cdef real *dh = <real *>(c.scratch + slot * c.per_thread)
    cdef real *dc = dh + plane              # gru_before: the gradient of r h
    cdef real *own = dc + plane
    cdef i64 r, i
    cdef Step s
    memset(dh, 0, (2 * plane + c.rows * c.ldg) * sizeof(real))
    if c.dcn != NULL:
        for r in range(n1 - n0):
            memcpy(dc + r * c.ld, <const real *>c.dcn + (n0 + r) * hidden, hidden * sizeof(real))
    for i in range(c.length - 1, -1, -1):
        s = at(c, task, i)
        if s.rows == 0:
            continue
        if c.kind == LSTM:
            lstm_backward(t, c, &s, n0, dh, dc, own)
            to_states(t, c, s.rows, own, 0, 4 * hidden, False, dh)
        elif c.kind <= RNN_RELU:
            rnn_backward(t, c, &s, dh, own)
            to_states(t, c, s.rows, own, 0, hidden, False, dh)
        elif c.kind == GRU:
            gru_backward(t, c, &s, n0, dh, own)
            to_states(t, c, s.rows, own, 0, 3 * hidden, True, dh)
        else:
            gru_backward(t, c, &s, n0, dh, own)
            to_states(t, c, s.rows, own, 2 * hidden, hidden, False, dc)
            gru_before_backward(t, c, &s, n0, dc, dh, own)
            to_states(t, c, s.rows, own, 0, 2 * hidden, True, dh)
    for r in range(n1 - n0):
        memcpy(<real *>c.dh0 + (n0 + r) * hidden, dh + r * c.ld, hidden * sizeof(real))
        if c.kind == LSTM:
            memcpy(<real *>c.dc0 + (n0 + r) * hidden, dc + r * c.ld, hidden * sizeof(real))


cdef void backward_f32(void *c, i64 task, i64 slot) noexcept nogil:
    backward_task(<float>0, <Context *>c, task, slot)


cdef void backward_f64(void *c, i64 task, i64 slot) noexcept nogil:
    backward_task(<double>0, <Context *>c, task, slot)


# From Python


cdef i64 sizes(Context *c, i64 item) noexcept nogil:
    """Tasks, strides and bytes per thread; the bytes of the packed weights."""
    cdef i64 nr = LM_NV * LM_VB // item
    c.tasks = tasks_of(c.batch)
    c.rows = ceil_div(c.batch, c.tasks) if c.batch > 0 else 0
    c.ld = spread(c.hidden, item)
    c.ldg = spread(c.gates * c.hidden, item)
    c.per_thread = c.rows * (2 * c.ld + c.ldg if c.backward else 3 * c.ld + c.gates * nr) * item
    c.per_thread = ceil_div(c.per_thread, 128) * 128
    return ceil_div(ceil_div(c.hidden, nr) * nr * c.gates * c.hidden * item, 128) * 128


cdef void describe(Context *c, p, bint backward, cnp.ndarray steps):
    cdef const i64 *geometry = <const i64 *>cnp.PyArray_DATA(p.geometry)
    c.kind = <Kind>geometry[0]
    c.length = geometry[1]
    c.batch = geometry[2]
    c.hidden = geometry[3]
    c.gates = geometry[4]
    c.stride = geometry[5]
    c.reverse = geometry[6]
    c.backward = backward
    if steps is not None:
        c.offset = <const i64 *>cnp.PyArray_DATA(steps)
        c.size = c.offset + c.length


cdef inline char *memory(cnp.ndarray x) noexcept:
    return NULL if x is None else cnp.PyArray_BYTES(x)


def scratch(pass_, p):
    """The packed weights; states, sums and gradients of a task's sequences."""
    cdef Context c
    describe(&c, p, pass_ == "backward", None)
    cdef i64 shared = sizes(&c, p.dtype.itemsize)
    return shared, c.per_thread


def transformed(pass_, p):
    """Bytes of the packed weights."""
    return scratch(pass_, p)[0]


cdef void run(Context *c, i64 shared, i64 total, bint double_precision) noexcept nogil:
    cdef i64 nr = LM_NV * LM_VB // (8 if double_precision else 4)
    cdef double rate = 50.0 if double_precision else 100.0      # flops per ns of one thread, for the pool's estimate
    cdef double elements = <double>c.gates * c.hidden * c.hidden
    if c.batch == 0 or c.hidden == 0:
        return
    c.wp = c.scratch
    c.scratch += shared
    parallel_for(
        pack_f64 if double_precision else pack_f32, c, ceil_div(c.hidden, nr) * (1 if c.backward else c.gates), 0.5 * elements, ANY_SLOTS
    )
    if c.backward:
        parallel_for(
            backward_f64 if double_precision else backward_f32, c, c.tasks, 2.0 * c.length * c.batch * elements / rate,
            (total - shared) // c.per_thread,
        )
    else:
        parallel_for(
            forward_f64 if double_precision else forward_f32, c, c.tasks, 2.0 * c.length * c.batch * elements / rate,
            (total - shared) // c.per_thread,
        )


def forward(
    p, cnp.ndarray w, cnp.ndarray b, cnp.ndarray h0, cnp.ndarray c0, cnp.ndarray steps, cnp.ndarray out, cnp.ndarray kept, cnp.ndarray cn,
    cnp.ndarray gates, cnp.ndarray scratch,
):
    cdef Context c
    cdef i64 item = cnp.PyArray_ITEMSIZE(out)
    describe(&c, p, False, steps)
    cdef i64 shared = sizes(&c, item)
    cdef i64 total = cnp.PyArray_NBYTES(scratch)
    c.w, c.b, c.h0, c.c0 = memory(w), memory(b), memory(h0), memory(c0)
    c.out, c.kept, c.cn, c.a = memory(out), memory(kept), memory(cn), memory(gates)
    c.ldo = cnp.PyArray_STRIDE(out, 0) // item
    c.scratch = memory(scratch)
    with nogil:
        run(&c, shared, total, item == 8)


def backward(
    p, cnp.ndarray g, cnp.ndarray dcn, cnp.ndarray w, cnp.ndarray gates, cnp.ndarray out, cnp.ndarray kept, cnp.ndarray h0, cnp.ndarray c0,
    cnp.ndarray steps, cnp.ndarray da, cnp.ndarray dkept, cnp.ndarray dh0, cnp.ndarray dc0, cnp.ndarray scratch,
):
    cdef Context c
    cdef i64 item = cnp.PyArray_ITEMSIZE(out)
    describe(&c, p, True, steps)
    cdef i64 shared = sizes(&c, item)
    cdef i64 total = cnp.PyArray_NBYTES(scratch)
    c.g, c.dcn, c.w, c.a, c.out, c.kept = memory(g), memory(dcn), memory(w), memory(gates), memory(out), memory(kept)
    c.h0, c.c0, c.da, c.dkept, c.dh0, c.dc0 = memory(h0), memory(c0), memory(da), memory(dkept), memory(dh0), memory(dc0)
    c.ldo = cnp.PyArray_STRIDE(out, 0) // item
    c.ldgr = cnp.PyArray_STRIDE(g, 0) // item
    c.scratch = memory(scratch)
    with nogil:
        run(&c, shared, total, item == 8)
