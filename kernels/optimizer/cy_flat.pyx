"""Optimizer updates over all parameters in equal slices.

    sgd     buf = mu * buf + (1 - tau) * g;  param = param - lr * buf                  all terms: the folder's page
    adam    m, v = averages of g, g^2;       param = param - step * m / (sqrt(v) * correction + eps)

Shapes   lists of p.count arrays of p.sizes[i] elements, of equal memory order within a parameter; h (k,) float64
Storage  the scratch holds the arrays' addresses, a row of p.count for each list; p.starts counts the elements before a parameter
Loops    slices of SLICE elements, counted through all parameters, are the tasks: a task walks over the parameters in its slice; inside,
         one register at a time, the last one masked. Options that select terms are constants of the inlined loop (momentum, amsgrad), the
         rest are branches that never change within a run
Edges    masked loads give 0 in the lanes beyond the end, masked stores leave memory alone; 0 / eps stays finite or is not stored
Cost     each array is read once and written once at most; one square root and one division per element of adam hide behind memory
"""
cimport numpy as cnp

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport (
    lanes, v_div, v_fma, v_load, v_load_n, v_max, v_mul, v_set, v_sqrt, v_store, v_store_n, v_sub, vec,
)
from lamella.kernels._common.table import addresses
from lamella.kernels._common.types cimport i64, real

cnp.import_array()

cdef enum:
    SLICE = 16384
    NUMBERS = 9     # of h, at most
    LISTS = 5       # g, param and the state

cdef struct Context:
    const i64 *table    # rows of addresses: g, param, then sgd: buf; adam: m, v, vmax
    const i64 *starts
    i64 count
    i64 n
    const double *h
    bint option         # sgd: momentum; adam: amsgrad
    bint nesterov
    bint decoupled


# One parameter, or a part of one, with its numbers: a copy on the stack, which the stores of the loop cannot change, so that it stays in registers
cdef struct Run:
    char *arrays[LISTS]
    double h[NUMBERS]
    bint nesterov
    bint decoupled


cdef inline vec load(real t, const char *array, i64 i, i64 n) noexcept nogil:
    cdef const real *p = <const real *>array + i
    return v_load(p) if n == lanes(t) else v_load_n(t, p, n)


cdef inline void store(real t, char *array, i64 i, i64 n, vec v) noexcept nogil:
    cdef real *p = <real *>array + i
    if n == lanes(t):
        v_store(p, v)
    else:
        v_store_n(t, p, n, v)


cdef inline void sgd_lanes(real t, bint momentum, Run *r, i64 i, i64 n) noexcept nogil:
    """n elements from i on, at most one register."""
    cdef double *h = r.h
    cdef vec w = load(t, r.arrays[1], i, n)
    cdef vec g = v_mul(t, v_set(<real>h[0]), load(t, r.arrays[0], i, n))
    cdef vec b
    if h[4] != 0:
        g = v_fma(t, v_set(<real>h[4]), w, g)
    if momentum:
        b = v_fma(t, v_set(<real>h[2]), load(t, r.arrays[2], i, n), v_mul(t, v_set(<real>h[3]), g))
        store(t, r.arrays[2], i, n, b)
        g = v_fma(t, v_set(<real>h[2]), b, g) if r.nesterov else b
    store(t, r.arrays[1], i, n, v_fma(t, v_set(<real>-h[1]), g, w))


cdef inline void adam_lanes(real t, bint amsgrad, Run *r, i64 i, i64 n) noexcept nogil:
    """n elements from i on, at most one register."""
    cdef double *h = r.h
    cdef vec w = load(t, r.arrays[1], i, n)
    cdef vec g = v_mul(t, v_set(<real>h[0]), load(t, r.arrays[0], i, n))
    cdef vec m = load(t, r.arrays[2], i, n)
    cdef vec v = load(t, r.arrays[3], i, n)
    if h[4] != 0:
        if r.decoupled:
            w = v_mul(t, v_set(<real>h[5]), w)
        else:
            g = v_fma(t, v_set(<real>h[4]), w, g)
    m = v_fma(t, v_set(<real>h[1]), v_sub(t, g, m), m)
    v = v_fma(t, v_set(<real>h[2]), v, v_mul(t, v_mul(t, v_set(<real>h[3]), g), g))
    store(t, r.arrays[2], i, n, m)
    store(t, r.arrays[3], i, n, v)
    if amsgrad:
        v = v_max(t, load(t, r.arrays[4], i, n), v)
        store(t, r.arrays[4], i, n, v)
    v = v_fma(t, v_sqrt(t, v), v_set(<real>h[7]), v_set(<real>h[8]))
    store(t, r.arrays[1], i, n, v_fma(t, v_set(<real>-h[6]), v_div(t, m, v), w))


cdef inline void update(real t, bint adam, bint option, const Run *shared, i64 n) noexcept nogil:
    """n elements of one parameter."""
    cdef Run r = shared[0]
    cdef i64 i = 0
    while i + lanes(t) <= n:
        if adam:
            adam_lanes(t, option, &r, i, lanes(t))
        else:
            sgd_lanes(t, option, &r, i, lanes(t))
        i += lanes(t)
    if i < n:
        if adam:
            adam_lanes(t, option, &r, i, n - i)
        else:
            sgd_lanes(t, option, &r, i, n - i)


cdef inline void slice_(real t, bint adam, bint option, const Context *c, i64 task) noexcept nogil:
    """`adam` and `option` are constants at every call."""
    cdef i64 i = task * SLICE
    cdef i64 end = min(i + SLICE, c.n)
    cdef i64 low = 0, high = c.count, middle, stop
    cdef int j, lists = (5 if option else 4) if adam else (3 if option else 2)
    cdef Run r
    r.nesterov = c.nesterov
    r.decoupled = c.decoupled
    for j in range(9 if adam else 5):
        r.h[j] = c.h[j]
    while high - low > 1:       # starts[low] <= i < starts[high]
        middle = (low + high) // 2
        if c.starts[middle] <= i:
            low = middle
        else:
            high = middle
    while i < end:
        stop = min(end, c.starts[low + 1])
        for j in range(lists):
            r.arrays[j] = <char *>c.table[j * c.count + low] + (i - c.starts[low]) * <i64>sizeof(real)
        update(t, adam, option, &r, stop - i)
        i = stop
        low += 1


cdef void sgd_run(real t, const Context *c, i64 task) noexcept nogil:
    if c.option:
        slice_(t, False, True, c, task)
    else:
        slice_(t, False, False, c, task)


cdef void adam_run(real t, const Context *c, i64 task) noexcept nogil:
    if c.option:
        slice_(t, True, True, c, task)
    else:
        slice_(t, True, False, c, task)


cdef void sgd_f32(void *c, i64 task, i64 slot) noexcept nogil:
    sgd_run(<float>0, <const Context *>c, task)


cdef void sgd_f64(void *c, i64 task, i64 slot) noexcept nogil:
    sgd_run(<double>0, <const Context *>c, task)


cdef void adam_f32(void *c, i64 task, i64 slot) noexcept nogil:
    adam_run(<float>0, <const Context *>c, task)


cdef void adam_f64(void *c, i64 task, i64 slot) noexcept nogil:
    adam_run(<double>0, <const Context *>c, task)


cdef void begin(Context *c, p, cnp.ndarray h, cnp.ndarray scratch):
    cdef cnp.ndarray starts = p.starts
    c.table = <const i64 *>cnp.PyArray_DATA(scratch)
    c.starts = <const i64 *>cnp.PyArray_DATA(starts)
    c.count = p.count
    c.n = p.n
    c.h = <const double *>cnp.PyArray_DATA(h)
    c.nesterov = p.nesterov
    c.decoupled = p.decoupled


def scratch(pass_, p):
    """The table of addresses."""
    return 8 * LISTS * p.count, 0


def sgd(p, cnp.ndarray h, g, param, buf, cnp.ndarray scratch):
    cdef Context c
    cdef bint double_precision = p.dtype.itemsize == 8
    begin(&c, p, h, scratch)
    c.option = p.momentum
    addresses(scratch, g, param, buf if p.momentum else None)
    with nogil:
        parallel_for(sgd_f64 if double_precision else sgd_f32, &c, (c.n + SLICE - 1) // SLICE, 0.5 * c.n, ANY_SLOTS)


def adam(p, cnp.ndarray h, g, param, m, v, vmax, cnp.ndarray scratch):
    cdef Context c
    cdef bint double_precision = p.dtype.itemsize == 8
    begin(&c, p, h, scratch)
    c.option = p.amsgrad
    addresses(scratch, g, param, m, v, vmax if p.amsgrad else None)
    with nogil:
        parallel_for(adam_f64 if double_precision else adam_f32, &c, (c.n + SLICE - 1) // SLICE, 1.0 * c.n, ANY_SLOTS)
