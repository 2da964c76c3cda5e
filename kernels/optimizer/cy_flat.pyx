"""Optimizer updates over memory in equal slices.

    sgd     buf = mu * buf + (1 - tau) * g;  param = param - lr * buf                  all terms: the folder's page
    adam    m, v = averages of g, g^2;       param = param - step * m / (sqrt(v) * correction + eps)

Shapes   one-dimensional runs of n elements; param and state in place, all of equal memory order; h (k,) float64
Loops    slices of SLICE elements are the tasks; inside, one register at a time, the last one masked. Options that select terms are
         constants of the inlined loop (momentum, amsgrad), the rest are branches that never change within a run
Edges    masked loads give 0 in the lanes beyond the end, masked stores leave memory alone; 0 / eps stays finite or is not stored
Cost     each array is read once and written once at most; one square root and one division per element of adam hide behind memory
"""
cimport numpy as cnp

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport (
    lanes, v_div, v_fma, v_load, v_load_n, v_max, v_mul, v_set, v_sqrt, v_store, v_store_n, v_sub, v_zero, vec,
)
from lamella.kernels._common.types cimport i64, real

cnp.import_array()

cdef enum:
    SLICE = 16384

cdef struct Context:
    const void *g
    void *param
    void *m             # sgd: the momentum buffer
    void *v
    void *vmax
    const double *h
    i64 n
    bint nesterov
    bint maximize
    bint decoupled


cdef inline vec load(real t, const real *p, i64 n) noexcept nogil:
    return v_load(p) if n == lanes(t) else v_load_n(t, p, n)


cdef inline void store(real t, real *p, i64 n, vec v) noexcept nogil:
    if n == lanes(t):
        v_store(p, v)
    else:
        v_store_n(t, p, n, v)


cdef inline void sgd_lanes(real t, bint momentum, const Context *c, i64 i, i64 n) noexcept nogil:
    """n elements from i on, at most one register."""
    cdef real *param = <real *>c.param + i
    cdef real *buf = <real *>c.m + i
    cdef const double *h = c.h
    cdef vec g = load(t, <const real *>c.g + i, n)
    cdef vec w = load(t, param, n)
    cdef vec b
    if c.maximize:
        g = v_sub(t, v_zero(), g)
    if h[3] != 0:
        g = v_fma(t, v_set(<real>h[3]), w, g)
    if momentum:
        b = v_fma(t, v_set(<real>h[1]), load(t, buf, n), v_mul(t, v_set(<real>h[2]), g))
        store(t, buf, n, b)
        g = v_fma(t, v_set(<real>h[1]), b, g) if c.nesterov else b
    store(t, param, n, v_fma(t, v_set(<real>-h[0]), g, w))


cdef inline void adam_lanes(real t, bint amsgrad, const Context *c, i64 i, i64 n) noexcept nogil:
    """n elements from i on, at most one register."""
    cdef real *param = <real *>c.param + i
    cdef real *pm = <real *>c.m + i
    cdef real *pv = <real *>c.v + i
    cdef real *pu = <real *>c.vmax + i
    cdef const double *h = c.h
    cdef vec g = load(t, <const real *>c.g + i, n)
    cdef vec w = load(t, param, n)
    cdef vec m = load(t, pm, n)
    cdef vec v = load(t, pv, n)
    if c.maximize:
        g = v_sub(t, v_zero(), g)
    if h[3] != 0:
        if c.decoupled:
            w = v_mul(t, v_set(<real>h[4]), w)
        else:
            g = v_fma(t, v_set(<real>h[3]), w, g)
    m = v_fma(t, v_set(<real>h[0]), v_sub(t, g, m), m)
    v = v_fma(t, v_set(<real>h[1]), v, v_mul(t, v_mul(t, v_set(<real>h[2]), g), g))
    store(t, pm, n, m)
    store(t, pv, n, v)
    if amsgrad:
        v = v_max(t, load(t, pu, n), v)
        store(t, pu, n, v)
    v = v_fma(t, v_sqrt(t, v), v_set(<real>h[6]), v_set(<real>h[7]))
    store(t, param, n, v_fma(t, v_set(<real>-h[5]), v_div(t, m, v), w))


cdef inline void sgd_slice(real t, bint momentum, const Context *shared, i64 task) noexcept nogil:
    cdef Context c = shared[0]      # a copy on the stack: the stores of the loop cannot change it, so its numbers stay in registers
    cdef double h[4]
    cdef i64 i = task * SLICE
    cdef i64 end = min(i + SLICE, c.n)
    cdef int k
    for k in range(4):
        h[k] = shared.h[k]
    c.h = h
    while i + lanes(t) <= end:
        sgd_lanes(t, momentum, &c, i, lanes(t))
        i += lanes(t)
    if i < end:
        sgd_lanes(t, momentum, &c, i, end - i)


cdef inline void adam_slice(real t, bint amsgrad, const Context *shared, i64 task) noexcept nogil:
    cdef Context c = shared[0]
    cdef double h[8]
    cdef i64 i = task * SLICE
    cdef i64 end = min(i + SLICE, c.n)
    cdef int k
    for k in range(8):
        h[k] = shared.h[k]
    c.h = h
    while i + lanes(t) <= end:
        adam_lanes(t, amsgrad, &c, i, lanes(t))
        i += lanes(t)
    if i < end:
        adam_lanes(t, amsgrad, &c, i, end - i)


cdef void sgd_run(real t, const Context *c, i64 task) noexcept nogil:
    if c.m == NULL:
        sgd_slice(t, False, c, task)
    else:
        sgd_slice(t, True, c, task)


cdef void adam_run(real t, const Context *c, i64 task) noexcept nogil:
    if c.vmax == NULL:
        adam_slice(t, False, c, task)
    else:
        adam_slice(t, True, c, task)


cdef void sgd_f32(void *c, i64 task, i64 slot) noexcept nogil:
    sgd_run(<float>0, <const Context *>c, task)


cdef void sgd_f64(void *c, i64 task, i64 slot) noexcept nogil:
    sgd_run(<double>0, <const Context *>c, task)


cdef void adam_f32(void *c, i64 task, i64 slot) noexcept nogil:
    adam_run(<float>0, <const Context *>c, task)


cdef void adam_f64(void *c, i64 task, i64 slot) noexcept nogil:
    adam_run(<double>0, <const Context *>c, task)


cdef inline void *address(array):
    return NULL if array is None else cnp.PyArray_DATA(<cnp.ndarray>array)


def sgd(p, cnp.ndarray h, cnp.ndarray g, cnp.ndarray param, buf, scratch):
    cdef Context c
    cdef bint double_precision = cnp.PyArray_TYPE(g) == cnp.NPY_FLOAT64
    c.h = <const double *>cnp.PyArray_DATA(h)
    c.g = cnp.PyArray_DATA(g)
    c.param = cnp.PyArray_DATA(param)
    c.m = address(buf) if p.momentum else NULL
    c.v = NULL
    c.vmax = NULL
    c.n = p.n
    c.nesterov = p.nesterov
    c.maximize = p.maximize
    c.decoupled = False
    with nogil:
        parallel_for(sgd_f64 if double_precision else sgd_f32, &c, (c.n + SLICE - 1) // SLICE, 1.0 * c.n, ANY_SLOTS)


def adam(p, cnp.ndarray h, cnp.ndarray g, cnp.ndarray param, cnp.ndarray m, cnp.ndarray v, vmax, scratch):
    cdef Context c
    cdef bint double_precision = cnp.PyArray_TYPE(g) == cnp.NPY_FLOAT64
    c.h = <const double *>cnp.PyArray_DATA(h)
    c.g = cnp.PyArray_DATA(g)
    c.param = cnp.PyArray_DATA(param)
    c.m = cnp.PyArray_DATA(m)
    c.v = cnp.PyArray_DATA(v)
    c.vmax = address(vmax) if p.amsgrad else NULL
    c.n = p.n
    c.nesterov = False
    c.maximize = p.maximize
    c.decoupled = p.decoupled
    with nogil:
        parallel_for(adam_f64 if double_precision else adam_f32, &c, (c.n + SLICE - 1) // SLICE, 2.0 * c.n, ANY_SLOTS)
