"""Activations over memory in equal slices.

    out = f(x)        dx = g * f'(saved)

Shapes   one-dimensional runs of n elements; the caller hands over dense arrays of equal memory order
Loops    slices of SLICE elements are the tasks; inside, one register at a time, the last one masked
Cost     one read and one write per element (backward: two reads); bound by memory for relu and leaky_relu, by some 20 instructions a register for the others
"""
cimport numpy as cnp

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport (
    lanes, v_div, v_eq, v_gt, v_load, v_load_n, v_max, v_mul, v_select, v_set, v_store, v_store_n, v_sub, v_zero, vec,
)
from lamella.kernels._common.types cimport i64, real
from lamella.kernels._common.vmath cimport v_exp, v_log, v_sigmoid, v_tanh

cnp.import_array()

cdef enum:
    RELU = 1
    LEAKY_RELU = 2
    SIGMOID = 3
    TANH = 4
    EXP = 5
    LOG = 6

cdef enum:
    SLICE = 16384

cdef struct Context:
    const void *x       # forward: x; backward: what was saved
    const void *g
    void *out
    i64 n
    int act
    double slope


cdef inline vec value(real t, int act, vec x, vec slope) noexcept nogil:
    if act == RELU:
        return v_max(t, v_zero(), x)
    elif act == LEAKY_RELU:
        return v_select(v_gt(t, x, v_zero()), x, v_mul(t, x, slope))
    elif act == SIGMOID:
        return v_sigmoid(t, x)
    elif act == TANH:
        return v_tanh(t, x)
    elif act == EXP:
        return v_exp(t, x)
    else:
        return v_log(t, x)


cdef inline vec derivative(real t, int act, vec s, vec slope) noexcept nogil:
    """f' from what was saved."""
    cdef vec one = v_set(<real>1)
    if act == RELU:     # 1 for NaN, as in PyTorch
        return v_select(v_eq(t, v_max(t, v_zero(), s), v_zero()), v_zero(), one)
    elif act == LEAKY_RELU:
        return v_select(v_gt(t, s, v_zero()), one, slope)
    elif act == SIGMOID:
        return v_mul(t, s, v_sub(t, one, s))
    elif act == TANH:
        return v_sub(t, one, v_mul(t, s, s))
    elif act == EXP:
        return s
    else:
        return v_div(t, one, s)


cdef inline void run(real t, int act, bint backward, Context *c, i64 task) noexcept nogil:
    """`act` and `backward` are constants at every call: the branches on them vanish."""
    cdef i64 i = task * SLICE
    cdef i64 end = min(i + SLICE, c.n)
    cdef const real *x = <const real *>c.x
    cdef const real *g = <const real *>c.g
    cdef real *out = <real *>c.out
    cdef vec slope = v_set(<real>c.slope)
    while i + lanes(t) <= end:
        if backward:
            v_store(out + i, v_mul(t, v_load(g + i), derivative(t, act, v_load(x + i), slope)))
        else:
            v_store(out + i, value(t, act, v_load(x + i), slope))
        i += lanes(t)
    if i < end:
        if backward:
            v_store_n(t, out + i, end - i, v_mul(t, v_load_n(t, g + i, end - i), derivative(t, act, v_load_n(t, x + i, end - i), slope)))
        else:
            v_store_n(t, out + i, end - i, value(t, act, v_load_n(t, x + i, end - i), slope))


cdef inline void both(real t, int act, Context *c, i64 task) noexcept nogil:
    if c.g == NULL:
        run(t, act, False, c, task)
    else:
        run(t, act, True, c, task)


cdef void choose(real t, Context *c, i64 task) noexcept nogil:
    if c.act == RELU:
        both(t, RELU, c, task)
    elif c.act == LEAKY_RELU:
        both(t, LEAKY_RELU, c, task)
    elif c.act == SIGMOID:
        both(t, SIGMOID, c, task)
    elif c.act == TANH:
        both(t, TANH, c, task)
    elif c.act == EXP:
        both(t, EXP, c, task)
    elif c.act == LOG:
        both(t, LOG, c, task)


cdef void task_f32(void *c, i64 task, i64 slot) noexcept nogil:
    choose(<float>0, <Context *>c, task)


cdef void task_f64(void *c, i64 task, i64 slot) noexcept nogil:
    choose(<double>0, <Context *>c, task)


cdef void start(p, Context *c, bint double_precision):
    c.n = p.n
    c.act = p.act
    c.slope = p.slope
    cdef i64 tasks = (c.n + SLICE - 1) // SLICE
    with nogil:
        parallel_for(task_f64 if double_precision else task_f32, c, tasks, (0.5 if c.act <= LEAKY_RELU else 1.5) * c.n, ANY_SLOTS)


def accepts(pass_, p):
    """Only the functions that `choose` knows."""
    return RELU <= p.act <= LOG


def forward(p, cnp.ndarray x, cnp.ndarray out, scratch):
    cdef Context c
    c.x = cnp.PyArray_DATA(x)
    c.g = NULL
    c.out = cnp.PyArray_DATA(out)
    start(p, &c, cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT64)


def backward(p, cnp.ndarray g, cnp.ndarray saved, cnp.ndarray dx, scratch):
    cdef Context c
    c.x = cnp.PyArray_DATA(saved)
    c.g = cnp.PyArray_DATA(g)
    c.out = cnp.PyArray_DATA(dx)
    start(p, &c, cnp.PyArray_TYPE(g) == cnp.NPY_FLOAT64)
