"""Optimizer updates over all parameters in equal slices.

    sgd     buf = mu * buf + (1 - tau) * g;  param = param - lr * buf                  all passes and terms: the folder's page
    adam    m, v = averages of g, g^2;       param = param - step * m / (sqrt(v) * correction + eps)

Shapes   lists of p.count arrays of p.sizes[i] elements, of equal memory order within a parameter; h (k,) float64
Storage  the scratch holds the arrays' addresses, a row of p.count for each list; p.starts counts the elements before a parameter
Loops    slices of SLICE elements, counted through all parameters, are the tasks: a task walks over the parameters in its slice; inside,
         one register at a time, the last one masked. The pass, and in the commonest of them momentum or amsgrad, are constants of the inlined loop,
         the rest are branches that never change within a run. All arrays are fetched 2 KB ahead: with four to read and three to write, the
         processor's own prefetching comes too late (a step of adam over arrays in memory takes 0.88 of the time)
Edges    masked loads give 0 in the lanes beyond the end, masked stores leave memory alone; 0 / eps stays finite or is not stored
Cost     each array is read once and written once at most; one square root and one division per element of adam hide behind memory
"""
cimport numpy as cnp

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for, task_fn
from lamella.kernels._common.simd cimport (
    lanes, v_add, v_div, v_fma, v_gt, v_load, v_load_n, v_max, v_mul, v_prefetch, v_select, v_set, v_sqrt, v_store, v_store_n, v_sub, v_zero,
    vec,
)
from lamella.kernels._common.table import addresses
from lamella.kernels._common.types cimport i64, real

cnp.import_array()

cdef enum:
    SLICE = 16384
    AHEAD = 2048    # bytes: by so much each array is fetched before it is used
    NUMBERS = 12    # of h, at most
    LISTS = 5       # g, param and the state

cdef enum Rule:
    SGD, ADAM, RMS, ADAMAX, ADADELTA, SIGN

cdef enum:      # numbers of h; from 4 on each pass has its own
    SCALE, DECAY, L1, KEEP

cdef struct Context:
    const i64 *table    # rows of addresses: g, param, then the state in the order of the pass's arguments
    const i64 *starts
    i64 count
    i64 n
    const double *h
    i64 lists
    i64 numbers
    bint momentum
    bint nesterov
    bint amsgrad
    bint centered


# One parameter, or a part of one, with its numbers: a copy on the stack, which the stores of the loop cannot change, so that it stays in registers
cdef struct Run:
    char *arrays[LISTS]
    double h[NUMBERS]
    bint momentum
    bint nesterov
    bint centered


cdef inline vec load(real t, const char *array, i64 i, i64 n) noexcept nogil:
    cdef const real *p = <const real *>array + i
    if n == lanes(t):
        v_prefetch(<const char *>p + AHEAD)
        return v_load(p)
    return v_load_n(t, p, n)


cdef inline void store(real t, char *array, i64 i, i64 n, vec v) noexcept nogil:
    cdef real *p = <real *>array + i
    if n == lanes(t):
        v_store(p, v)
    else:
        v_store_n(t, p, n, v)


cdef inline vec number(real t, const Run *r, int i) noexcept nogil:
    return v_set(<real>r.h[i])


cdef inline vec sign_of(real t, vec x) noexcept nogil:
    """-1, 1, or x itself where that is 0 or NaN."""
    return v_select(v_gt(t, x, v_zero()), v_set(<real>1), v_select(v_gt(t, v_zero(), x), v_set(<real>-1), x))


cdef inline vec absolute(real t, vec x) noexcept nogil:
    return v_max(t, v_sub(t, v_zero(), x), x)


cdef inline vec weight(real t, const Run *r, i64 i, i64 n) noexcept nogil:
    """The parameter, shrunk by a decoupled decay."""
    cdef vec w = load(t, r.arrays[1], i, n)
    return v_mul(t, number(t, r, KEEP), w) if r.h[KEEP] != 1 else w


cdef inline vec gradient(real t, const Run *r, i64 i, i64 n, vec w) noexcept nogil:
    cdef vec g = v_mul(t, number(t, r, SCALE), load(t, r.arrays[0], i, n))
    if r.h[DECAY] != 0:
        g = v_fma(t, number(t, r, DECAY), w, g)
    if r.h[L1] != 0:
        g = v_fma(t, number(t, r, L1), sign_of(t, w), g)
    return g


cdef inline vec average(real t, char *array, i64 i, i64 n, vec take, vec g) noexcept nogil:
    """array + take * (g - array), stored and returned."""
    cdef vec a = load(t, array, i, n)
    a = v_fma(t, take, v_sub(t, g, a), a)
    store(t, array, i, n, a)
    return a


cdef inline vec squares(real t, char *array, i64 i, i64 n, vec keep, vec take, vec g) noexcept nogil:
    """keep * array + take * g^2, stored and returned."""
    cdef vec v = v_fma(t, keep, load(t, array, i, n), v_mul(t, v_mul(t, take, g), g))
    store(t, array, i, n, v)
    return v


cdef inline void less(real t, const Run *r, i64 i, i64 n, vec w, int rate, vec d) noexcept nogil:
    """param = w - h[rate] * d"""
    store(t, r.arrays[1], i, n, v_fma(t, v_set(<real>-r.h[rate]), d, w))


# n elements from i on, at most one register


cdef inline void sgd_lanes(real t, bint momentum, const Run *r, i64 i, i64 n) noexcept nogil:
    cdef vec w = weight(t, r, i, n)
    cdef vec g = gradient(t, r, i, n, w)
    cdef vec b
    if momentum:
        b = v_fma(t, number(t, r, 5), load(t, r.arrays[2], i, n), v_mul(t, number(t, r, 6), g))
        store(t, r.arrays[2], i, n, b)
        g = v_fma(t, number(t, r, 5), b, g) if r.nesterov else b
    less(t, r, i, n, w, 4, g)


cdef inline void adam_lanes(real t, bint amsgrad, const Run *r, i64 i, i64 n) noexcept nogil:
    cdef vec w = weight(t, r, i, n)
    cdef vec g = gradient(t, r, i, n, w)
    cdef vec m = average(t, r.arrays[2], i, n, number(t, r, 4), g)
    cdef vec v = squares(t, r.arrays[3], i, n, number(t, r, 5), number(t, r, 6), g)
    if amsgrad:
        v = v_max(t, load(t, r.arrays[4], i, n), v)
        store(t, r.arrays[4], i, n, v)
    if r.h[10] != 0:
        v = v_add(t, v, number(t, r, 10))
    v = v_fma(t, v_sqrt(t, v), number(t, r, 9), number(t, r, 11))
    m = v_mul(t, number(t, r, 7), m)
    if r.nesterov:
        m = v_fma(t, number(t, r, 8), g, m)
    store(t, r.arrays[1], i, n, v_sub(t, w, v_div(t, m, v)))


cdef inline void rms_lanes(real t, const Run *r, i64 i, i64 n) noexcept nogil:
    cdef vec w = weight(t, r, i, n)
    cdef vec g = gradient(t, r, i, n, w)
    cdef vec v = squares(t, r.arrays[2], i, n, number(t, r, 5), number(t, r, 6), g)
    cdef vec a
    if r.centered:
        a = average(t, r.arrays[3], i, n, number(t, r, 6), g)
        v = v_fma(t, v_sub(t, v_zero(), a), a, v)
    v = v_add(t, v_sqrt(t, v_add(t, v, number(t, r, 8))), number(t, r, 9))
    g = v_div(t, g, v)
    if r.momentum:
        g = v_fma(t, number(t, r, 7), load(t, r.arrays[4], i, n), g)
        store(t, r.arrays[4], i, n, g)
    less(t, r, i, n, w, 4, g)


cdef inline void adamax_lanes(real t, const Run *r, i64 i, i64 n) noexcept nogil:
    cdef vec w = weight(t, r, i, n)
    cdef vec g = gradient(t, r, i, n, w)
    cdef vec m = average(t, r.arrays[2], i, n, number(t, r, 4), g)
    cdef vec u = v_max(t, v_mul(t, number(t, r, 5), load(t, r.arrays[3], i, n)), v_add(t, absolute(t, g), number(t, r, 7)))
    store(t, r.arrays[3], i, n, u)
    less(t, r, i, n, w, 6, v_div(t, m, v_add(t, u, number(t, r, 8))))


cdef inline void adadelta_lanes(real t, const Run *r, i64 i, i64 n) noexcept nogil:
    cdef vec w = weight(t, r, i, n)
    cdef vec g = gradient(t, r, i, n, w)
    cdef vec eps = number(t, r, 7)
    cdef vec v = v_add(t, squares(t, r.arrays[2], i, n, number(t, r, 5), number(t, r, 6), g), eps)
    cdef vec d = v_mul(t, g, v_div(t, v_sqrt(t, v_add(t, load(t, r.arrays[3], i, n), eps)), v_sqrt(t, v)))
    squares(t, r.arrays[3], i, n, number(t, r, 5), number(t, r, 6), d)
    less(t, r, i, n, w, 4, d)


cdef inline void sign_lanes(real t, const Run *r, i64 i, i64 n) noexcept nogil:
    cdef vec w = weight(t, r, i, n)
    cdef vec d = gradient(t, r, i, n, w)
    cdef vec m, g
    if r.momentum:
        g = d
        m = load(t, r.arrays[2], i, n)
        d = v_fma(t, number(t, r, 5), v_sub(t, g, m), m)
        average(t, r.arrays[2], i, n, number(t, r, 6), g)
    if r.h[7] != 0:
        d = v_div(t, d, v_add(t, absolute(t, d), number(t, r, 7)))
    else:
        d = sign_of(t, d)
    less(t, r, i, n, w, 4, d)


cdef inline void some(real t, Rule rule, bint option, const Run *r, i64 i, i64 n) noexcept nogil:
    """n elements from i on, at most one register."""
    if rule == SGD:
        sgd_lanes(t, option, r, i, n)
    elif rule == ADAM:
        adam_lanes(t, option, r, i, n)
    elif rule == RMS:
        rms_lanes(t, r, i, n)
    elif rule == ADAMAX:
        adamax_lanes(t, r, i, n)
    elif rule == ADADELTA:
        adadelta_lanes(t, r, i, n)
    else:
        sign_lanes(t, r, i, n)


cdef inline void update(real t, Rule rule, bint option, const Run *shared, i64 n) noexcept nogil:
    """n elements of one parameter."""
    cdef Run r = shared[0]
    cdef i64 i = 0
    while i + lanes(t) <= n:
        some(t, rule, option, &r, i, lanes(t))
        i += lanes(t)
    if i < n:
        some(t, rule, option, &r, i, n - i)


cdef inline void slice_(real t, Rule rule, bint option, const Context *c, i64 task) noexcept nogil:
    """`rule` and `option` are constants at every call."""
    cdef i64 i = task * SLICE
    cdef i64 end = min(i + SLICE, c.n)
    cdef i64 low = 0, high = c.count, middle, stop, j
    cdef Run r
    r.momentum = c.momentum
    r.nesterov = c.nesterov
    r.centered = c.centered
    for j in range(c.numbers):
        r.h[j] = c.h[j]
    while high - low > 1:       # starts[low] <= i < starts[high]
        middle = (low + high) // 2
        if c.starts[middle] <= i:
            low = middle
        else:
            high = middle
    while i < end:
        stop = min(end, c.starts[low + 1])
        for j in range(c.lists):
            r.arrays[j] = <char *>c.table[j * c.count + low] + (i - c.starts[low]) * <i64>sizeof(real)
        update(t, rule, option, &r, stop - i)
        i = stop
        low += 1


cdef void sgd_run(real t, const Context *c, i64 task) noexcept nogil:
    if c.momentum:
        slice_(t, SGD, True, c, task)
    else:
        slice_(t, SGD, False, c, task)


cdef void adam_run(real t, const Context *c, i64 task) noexcept nogil:
    if c.amsgrad:
        slice_(t, ADAM, True, c, task)
    else:
        slice_(t, ADAM, False, c, task)


cdef void rms_run(real t, const Context *c, i64 task) noexcept nogil:
    slice_(t, RMS, False, c, task)


cdef void adamax_run(real t, const Context *c, i64 task) noexcept nogil:
    slice_(t, ADAMAX, False, c, task)


cdef void adadelta_run(real t, const Context *c, i64 task) noexcept nogil:
    slice_(t, ADADELTA, False, c, task)


cdef void sign_run(real t, const Context *c, i64 task) noexcept nogil:
    slice_(t, SIGN, False, c, task)


cdef void sgd_f32(void *c, i64 task, i64 slot) noexcept nogil:
    sgd_run(<float>0, <const Context *>c, task)


cdef void sgd_f64(void *c, i64 task, i64 slot) noexcept nogil:
    sgd_run(<double>0, <const Context *>c, task)


cdef void adam_f32(void *c, i64 task, i64 slot) noexcept nogil:
    adam_run(<float>0, <const Context *>c, task)


cdef void adam_f64(void *c, i64 task, i64 slot) noexcept nogil:
    adam_run(<double>0, <const Context *>c, task)


cdef void rms_f32(void *c, i64 task, i64 slot) noexcept nogil:
    rms_run(<float>0, <const Context *>c, task)


cdef void rms_f64(void *c, i64 task, i64 slot) noexcept nogil:
    rms_run(<double>0, <const Context *>c, task)


cdef void adamax_f32(void *c, i64 task, i64 slot) noexcept nogil:
    adamax_run(<float>0, <const Context *>c, task)


cdef void adamax_f64(void *c, i64 task, i64 slot) noexcept nogil:
    adamax_run(<double>0, <const Context *>c, task)


cdef void adadelta_f32(void *c, i64 task, i64 slot) noexcept nogil:
    adadelta_run(<float>0, <const Context *>c, task)


cdef void adadelta_f64(void *c, i64 task, i64 slot) noexcept nogil:
    adadelta_run(<double>0, <const Context *>c, task)


cdef void sign_f32(void *c, i64 task, i64 slot) noexcept nogil:
    sign_run(<float>0, <const Context *>c, task)


cdef void sign_f64(void *c, i64 task, i64 slot) noexcept nogil:
    sign_run(<double>0, <const Context *>c, task)


cdef int run(p, cnp.ndarray h, cnp.ndarray scratch, task_fn f32, task_fn f64, double cost, lists) except -1:
    """All slices; the lists are those of the pass, with None for what no option asks for."""
    cdef Context c
    cdef cnp.ndarray starts = p.starts
    cdef task_fn task = f64 if p.dtype.itemsize == 8 else f32
    addresses(scratch, *lists)
    c.table = <const i64 *>cnp.PyArray_DATA(scratch)
    c.starts = <const i64 *>cnp.PyArray_DATA(starts)
    c.count = p.count
    c.n = p.n
    c.h = <const double *>cnp.PyArray_DATA(h)
    c.lists = len(lists)
    c.numbers = cnp.PyArray_DIM(h, 0)
    c.momentum = p.momentum
    c.nesterov = p.nesterov
    c.amsgrad = p.amsgrad
    c.centered = p.centered
    with nogil:
        parallel_for(task, &c, (c.n + SLICE - 1) // SLICE, cost * c.n, ANY_SLOTS)
    return 0


def scratch(pass_, p):
    """The table of addresses."""
    return 8 * LISTS * p.count, 0


def sgd(p, cnp.ndarray h, g, param, buf, cnp.ndarray scratch):
    run(p, h, scratch, sgd_f32, sgd_f64, 0.5, (g, param, buf) if p.momentum else (g, param))


def adam(p, cnp.ndarray h, g, param, m, v, vmax, cnp.ndarray scratch):
    run(p, h, scratch, adam_f32, adam_f64, 1.0, (g, param, m, v, vmax) if p.amsgrad else (g, param, m, v))


def rms(p, cnp.ndarray h, g, param, v, mean, buf, cnp.ndarray scratch):
    run(p, h, scratch, rms_f32, rms_f64, 1.0, (g, param, v, mean if p.centered else v, buf if p.momentum else v))


def adamax(p, cnp.ndarray h, g, param, m, u, cnp.ndarray scratch):
    run(p, h, scratch, adamax_f32, adamax_f64, 1.0, (g, param, m, u))


def adadelta(p, cnp.ndarray h, g, param, v, delta, cnp.ndarray scratch):
    run(p, h, scratch, adadelta_f32, adadelta_f64, 1.0, (g, param, v, delta))


def sign(p, cnp.ndarray h, g, param, m, cnp.ndarray scratch):
    run(p, h, scratch, sign_f32, sign_f64, 0.5, (g, param, m) if p.momentum else (g, param))
