"""Activations over memory in equal slices.

    out = f(x)        dx = g * f'(saved)

Shapes   one-dimensional runs of n elements; the caller hands over dense arrays of equal memory order
Loops    slices of SLICE elements are the tasks; inside, one register at a time, the last one masked
Cost     one read and one write per element (backward: two reads); bound by memory for relu and leaky_relu, by some 20 instructions a register for the others
"""
cimport numpy as cnp

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport (
    lanes, v_div, v_eq, v_fma, v_gt, v_load, v_load_n, v_max, v_mul, v_select, v_set, v_store, v_store_n, v_sub, v_zero, vec,
)
from lamella.kernels._common.types cimport i64, real
from lamella.kernels._common.vmath cimport v_erf, v_exp, v_log, v_sigmoid, v_tanh

cnp.import_array()

cdef enum:
    RELU = 1
    LEAKY_RELU = 2
    SIGMOID = 3
    TANH = 4
    EXP = 5
    LOG = 6
    ERF = 7
    GELU = 8
    GELU_TANH = 9

cdef enum:
    SLICE = 16384

cdef struct Context:
    const void *x       # forward: x; backward: what was saved
    const void *g
    void *out
    i64 n
    int act
    double slope


cdef inline vec gelu_gate(real t, vec x, vec square) noexcept nogil:
    """(1 + tanh u) / 2 = sigmoid(2 u), which does not cancel"""
    return v_sigmoid(t, v_mul(t, x, v_fma(t, square, v_set(<real>0.07135481627260025), v_set(<real>1.5957691216057308))))


cdef inline vec gelu_slope(real t, vec x) noexcept nogil:
    """Phi(x) + x phi(x)"""
    cdef vec half = v_set(<real>0.5)
    cdef vec density = v_mul(t, v_set(<real>0.3989422804014327), v_exp(t, v_mul(t, v_mul(t, v_set(<real>-0.5), x), x)))
    return v_fma(t, x, density, v_fma(t, half, v_erf(t, v_mul(t, x, v_set(<real>0.70710678118654752))), half))


cdef inline vec gelu_tanh_slope(real t, vec x) noexcept nogil:
    """s + x s (1 - s) 2 u', s = sigmoid(2 u)"""
    cdef vec square = v_mul(t, x, x)
    cdef vec s = gelu_gate(t, x, square)
    cdef vec inner = v_fma(t, square, v_set(<real>0.21406444881780076), v_set(<real>1.5957691216057308))
    return v_fma(t, v_mul(t, x, inner), v_mul(t, s, v_sub(t, v_set(<real>1), s)), s)


cdef inline vec value(real t, int act, vec x, vec slope) noexcept nogil:
    cdef vec half
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
    elif act == LOG:
        return v_log(t, x)
    elif act == ERF:
        return v_erf(t, x)
    elif act == GELU:
        half = v_mul(t, x, v_set(<real>0.5))
        return v_fma(t, half, v_erf(t, v_mul(t, x, v_set(<real>0.70710678118654752))), half)
    return v_mul(t, x, gelu_gate(t, x, v_mul(t, x, x)))


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
    elif act == LOG:
        return v_div(t, one, s)
    elif act == ERF:
        return v_mul(t, v_set(<real>1.1283791670955126), v_exp(t, v_mul(t, s, v_sub(t, v_zero(), s))))
    elif act == GELU:
        return gelu_slope(t, s)
    else:
        return gelu_tanh_slope(t, s)


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
    elif c.act == ERF:
        both(t, ERF, c, task)
    elif c.act == GELU:
        both(t, GELU, c, task)
    elif c.act == GELU_TANH:
        both(t, GELU_TANH, c, task)


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
    return RELU <= p.act <= GELU_TANH


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
