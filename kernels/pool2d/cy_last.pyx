"""Pooling over channels-last memory, vector lanes over the channels.

    forward    out[i, j, :] = max, average or norm over the window's taps of x[tap, :]
    backward   dx[t, :] = sum over the (window, tap) pairs that are input t

Shapes   x, dx (mb, ih, iw, c); out, g, where (mb, oh, ow, c) in memory; where one byte or one int32 an element
Loops    tasks are blocks of rows of the result (out, or dx): each element is written once, by one task, without being zeroed first
           column of the row
             registers of channels, four at a time, then one, the last one masked
               taps of the window, or pairs of the input: rows, then columns, in registers that stay
Edges    the problem's table holds each window's first tap inside and the number of taps: no test in the loops, no padding
Cost     forward reads x once from memory (overlapping windows find it in cache), kh * kw loads from cache per register of results;
         backward kh/sh * kw/sw loads of g and where per register of dx. Memory-bound from 16 channels on.
Loses    with fewer channels than lanes part of each register is idle.
"""
cimport numpy as cnp
from libc.math cimport INFINITY

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport (
    lanes, v_add, v_andnot, v_div, v_eq, v_fma, v_load, v_load_n, v_mul, v_set, v_sqrt, v_store, v_store_n, v_zero, vec,
)
from lamella.kernels._common.simd_index cimport v_add_at, v_argmax, v_iload, v_iset, v_istore, v_pow
from lamella.kernels._common.types cimport i64, real

cnp.import_array()

cdef enum:
    MAX = 0
    AVG = 1
    LP = 2
    SQUARE = 3  # lp with the exponent 2

cdef enum:
    MANY = 4       # registers of channels at a time
    GRAIN = 65536  # loads of one element that make a task

cdef struct Axis:
    i64 size            # of the input
    i64 out
    const i64 *lo       # (out,) first tap inside the input
    const i64 *n        # (out,) taps inside
    const i64 *div      # (out,) factor of the divisor
    const i64 *ptr      # (size + 1,)
    const i64 *pairs    # (.., 2) window, tap

cdef struct Context:
    const char *x
    const char *g
    char *out
    char *where
    char *dx
    Axis h
    Axis w
    i64 mb, c, kw, dh, dw, taps, override
    i64 rows            # of the result in a task
    int kind, index_bytes
    double q            # exponent of the norm


cdef inline vec fetch(real t, bint whole, const real *p, i64 n) noexcept nogil:
    if whole:
        return v_load(p)
    return v_load_n(t, p, n)


cdef inline void put(real t, bint whole, real *p, i64 n, vec v) noexcept nogil:
    if whole:
        v_store(p, v)
    else:
        v_store_n(t, p, n, v)


cdef inline double divisor(Context *c, i64 i, i64 j) noexcept nogil:
    return <double>(c.override if c.override else c.h.div[i] * c.w.div[j])


cdef inline void window(
    real t, int kind, int index_bytes, bint whole, int many, Context *c, i64 image, i64 i, i64 j, i64 channel, i64 n
) noexcept nogil:
    """Results of the window (i, j), channels from `channel` on: `many` whole registers, or n lanes of one."""
    cdef const real *x = <const real *>c.x + ((image * c.h.size + c.h.lo[i]) * c.w.size + c.w.lo[j]) * c.c + channel
    cdef i64 at_out = ((image * c.h.out + i) * c.w.out + j) * c.c + channel
    cdef i64 row_step = c.dh * c.w.size * c.c
    cdef i64 step = c.dw * c.c
    cdef i64 rows = c.h.n[i]
    cdef i64 cols = c.w.n[j]
    cdef const real *tap
    cdef i64 r, s
    cdef int u
    cdef vec v, number
    cdef vec acc[MANY]
    cdef vec at[MANY]
    for u in range(many):
        acc[u] = v_set(<real>-INFINITY) if kind == MAX else v_zero()
        at[u] = v_zero()
    for r in range(rows):
        for s in range(cols):
            tap = x + r * row_step + s * step
            number = v_iset(t, r * c.kw + s)
            for u in range(many):
                v = fetch(t, whole, tap + u * lanes(t), n)
                if kind == MAX:
                    v_argmax(t, &acc[u], &at[u], v, number)
                elif kind == AVG:
                    acc[u] = v_add(t, acc[u], v)
                elif kind == SQUARE:
                    acc[u] = v_fma(t, v, v, acc[u])
                else:
                    acc[u] = v_add(t, acc[u], v_pow(t, v, c.q))
    for u in range(many):
        if kind == AVG:
            acc[u] = v_div(t, acc[u], v_set(<real>divisor(c, i, j)))
        elif kind == SQUARE:
            acc[u] = v_sqrt(t, v_mul(t, acc[u], v_set(<real>(c.taps / divisor(c, i, j)))))
        elif kind == LP:
            acc[u] = v_pow(t, v_mul(t, acc[u], v_set(<real>(c.taps / divisor(c, i, j)))), 1 / c.q)
        put(t, whole, <real *>c.out + at_out + u * lanes(t), n, acc[u])
        if index_bytes:
            v_istore(t, index_bytes, c.where + (at_out + u * lanes(t)) * index_bytes, n, at[u])


cdef inline void covered(
    real t, int kind, int index_bytes, bint whole, int many, Context *c, i64 image, i64 i, i64 j, i64 channel, i64 n
) noexcept nogil:
    """dx of input (i, j): what the windows over it give it, channels from `channel` on: `many` whole registers, or n lanes of one."""
    cdef i64 at_dx = ((image * c.h.size + i) * c.w.size + j) * c.c + channel
    cdef i64 a, b, o
    cdef int u
    cdef vec g, y, x, number
    cdef vec acc[MANY]
    for u in range(many):
        acc[u] = v_zero()
    for a in range(c.h.ptr[i], c.h.ptr[i + 1]):
        for b in range(c.w.ptr[j], c.w.ptr[j + 1]):
            o = ((image * c.h.out + c.h.pairs[2 * a]) * c.w.out + c.w.pairs[2 * b]) * c.c + channel
            if kind == MAX:
                number = v_iset(t, c.h.pairs[2 * a + 1] * c.kw + c.w.pairs[2 * b + 1])
            elif kind == AVG:
                number = v_set(<real>divisor(c, c.h.pairs[2 * a], c.w.pairs[2 * b]))
            else:
                number = v_set(<real>(c.taps / divisor(c, c.h.pairs[2 * a], c.w.pairs[2 * b])))
            for u in range(many):
                g = fetch(t, whole, <const real *>c.g + o + u * lanes(t), n)
                if kind == MAX:
                    acc[u] = v_add_at(t, acc[u], g, v_iload(t, index_bytes, c.where + (o + u * lanes(t)) * index_bytes, n), number)
                elif kind == AVG:
                    acc[u] = v_add(t, acc[u], v_div(t, g, number))
                else:
                    y = fetch(t, whole, <const real *>c.out + o + u * lanes(t), n)
                    x = v_div(t, fetch(t, whole, <const real *>c.x + at_dx + u * lanes(t), n), y)
                    if kind == LP:
                        x = v_pow(t, x, c.q - 1)
                    acc[u] = v_add(t, acc[u], v_andnot(v_eq(t, y, v_zero()), v_mul(t, v_mul(t, g, number), x)))
    for u in range(many):
        put(t, whole, <real *>c.dx + at_dx + u * lanes(t), n, acc[u])


cdef inline void either(
    real t, int kind, int index_bytes, bint backward, bint whole, int many, Context *c, i64 image, i64 i, i64 j, i64 channel, i64 n
) noexcept nogil:
    if backward:
        covered(t, kind, index_bytes, whole, many, c, image, i, j, channel, n)
    else:
        window(t, kind, index_bytes, whole, many, c, image, i, j, channel, n)


cdef inline void run(real t, int kind, int index_bytes, bint backward, Context *c, i64 task) noexcept nogil:
    """The constants kind, index_bytes and backward leave one path each."""
    cdef i64 height = c.h.size if backward else c.h.out
    cdef i64 width = c.w.size if backward else c.w.out
    cdef i64 row, image, i, j, channel
    for row in range(task * c.rows, min((task + 1) * c.rows, c.mb * height)):
        image = row // height
        i = row - image * height
        for j in range(width):
            channel = 0
            while kind != LP and channel + MANY * lanes(t) <= c.c:
                either(t, kind, index_bytes, backward, True, MANY, c, image, i, j, channel, lanes(t))
                channel += MANY * lanes(t)
            while channel + lanes(t) <= c.c:
                either(t, kind, index_bytes, backward, True, 1, c, image, i, j, channel, lanes(t))
                channel += lanes(t)
            if channel < c.c:
                either(t, kind, index_bytes, backward, False, 1, c, image, i, j, channel, c.c - channel)


cdef void forward_task(real t, Context *c, i64 task) noexcept nogil:
    if c.kind == MAX:
        if c.index_bytes == 0:
            run(t, MAX, 0, False, c, task)
        elif c.index_bytes == 1:
            run(t, MAX, 1, False, c, task)
        else:
            run(t, MAX, 4, False, c, task)
    elif c.kind == AVG:
        run(t, AVG, 0, False, c, task)
    elif c.kind == SQUARE:
        run(t, SQUARE, 0, False, c, task)
    else:
        run(t, LP, 0, False, c, task)


cdef void backward_task(real t, Context *c, i64 task) noexcept nogil:
    if c.kind == MAX:
        if c.index_bytes == 1:
            run(t, MAX, 1, True, c, task)
        else:
            run(t, MAX, 4, True, c, task)
    elif c.kind == AVG:
        run(t, AVG, 0, True, c, task)
    elif c.kind == SQUARE:
        run(t, SQUARE, 0, True, c, task)
    else:
        run(t, LP, 0, True, c, task)


cdef void forward_f32(void *c, i64 task, i64 slot) noexcept nogil:
    forward_task(<float>0, <Context *>c, task)


cdef void forward_f64(void *c, i64 task, i64 slot) noexcept nogil:
    forward_task(<double>0, <Context *>c, task)


cdef void backward_f32(void *c, i64 task, i64 slot) noexcept nogil:
    backward_task(<float>0, <Context *>c, task)


cdef void backward_f64(void *c, i64 task, i64 slot) noexcept nogil:
    backward_task(<double>0, <Context *>c, task)


cdef void axis(Axis *a, i64 size, i64 out, const i64 *windows, const i64 *ptr, const i64 *pairs):
    a.size = size
    a.out = out
    a.lo = windows
    a.n = windows + out
    a.div = windows + 2 * out
    a.ptr = ptr
    a.pairs = pairs


cdef void describe(Context *c, p, bint double_precision):
    """Read the problem: its fields stand in `geometry` in the order of Pool2dProblem.FIELDS."""
    cdef cnp.ndarray geometry = p.geometry
    cdef cnp.ndarray table = p.table
    cdef const i64 *f = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef const i64 *at = <const i64 *>cnp.PyArray_DATA(table)
    c.mb = f[0]
    c.c = f[1]
    c.taps = f[6] * f[7]
    c.kw = f[7]
    c.dh = f[8]
    c.dw = f[9]
    c.kind = <int>f[10]
    c.index_bytes = <int>f[11]
    c.override = f[12]
    axis(&c.h, f[2], f[4], at + f[13], at + f[14], at + f[15])
    axis(&c.w, f[3], f[5], at + f[16], at + f[17], at + f[18])
    c.q = 2
    if c.kind == LP:
        c.q = p.norm_type
        if c.q == 2:
            c.kind = SQUARE


cdef void launch(Context *c, bint backward, bint double_precision):
    cdef i64 height = c.h.size if backward else c.h.out
    cdef i64 width = c.w.size if backward else c.w.out
    cdef i64 loads = c.h.out * c.w.out * c.taps // max(<i64>1, height) * c.c + width * c.c  # per row of the result
    cdef i64 step = lanes(<double>0) if double_precision else lanes(<float>0)
    cdef double each = 1.0 / min(step, c.c) * (40 if c.kind == LP else 1)  # ns
    c.rows = max(<i64>1, GRAIN // max(<i64>1, loads))
    cdef i64 tasks = (c.mb * height + c.rows - 1) // c.rows
    with nogil:
        if backward:
            parallel_for(backward_f64 if double_precision else backward_f32, c, tasks, each * loads * c.mb * height, ANY_SLOTS)
        else:
            parallel_for(forward_f64 if double_precision else forward_f32, c, tasks, each * loads * c.mb * height, ANY_SLOTS)


def forward(p, cnp.ndarray x, cnp.ndarray out, where, scratch):
    cdef Context c
    cdef bint double_precision = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT64
    describe(&c, p, double_precision)
    c.x = cnp.PyArray_BYTES(x)
    c.out = cnp.PyArray_BYTES(out)
    c.where = cnp.PyArray_BYTES(where) if c.index_bytes else NULL
    launch(&c, False, double_precision)


def backward(p, cnp.ndarray g, x, out, where, cnp.ndarray dx, scratch):
    cdef Context c
    cdef bint double_precision = cnp.PyArray_TYPE(g) == cnp.NPY_FLOAT64
    describe(&c, p, double_precision)
    c.g = cnp.PyArray_BYTES(g)
    c.x = cnp.PyArray_BYTES(x) if x is not None else NULL
    c.out = cnp.PyArray_BYTES(out) if out is not None else NULL
    c.where = cnp.PyArray_BYTES(where) if where is not None else NULL
    c.dx = cnp.PyArray_BYTES(dx)
    launch(&c, True, double_precision)
