"""Activations over memory in equal slices.

    out = f(x)        dx = g * f'(saved)

Shapes   one-dimensional runs of n elements; the caller hands over dense arrays of equal memory order
Loops    slices of SLICE elements are the tasks; inside, MANY registers at a time, then one, masked. Instructions of one register wait for each other: the
         compiler is told to mix those of MANY, or the processor's queues would fill with waiting ones
Cost     one read and one write per element (backward: two reads); bound by memory where nothing but comparisons and
         products is computed, by some 20 instructions a register for the others
"""
cimport numpy as cnp

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport (
    lanes, v_add, v_and, v_andnot, v_div, v_eq, v_fma, v_gt, v_load, v_load_n, v_max, v_min, v_mul, v_or, v_select, v_set, v_store, v_store_n, v_sub,
    v_zero, vec,
)
from lamella.kernels._common.types cimport i64, real
from lamella.kernels._common.vmath cimport v_erf, v_exp, v_expm1, v_log, v_sigmoid, v_softplus, v_tanh

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
    HARDTANH = 10
    THRESHOLD = 11
    HARDSHRINK = 12
    SOFTSHRINK = 13
    HARDSIGMOID = 14
    HARDSWISH = 15
    SOFTSIGN = 16
    ELU = 17
    SOFTPLUS = 18
    SWISH = 19
    MISH = 20
    TANHSHRINK = 21

cdef enum:
    SLICE = 16384
    MANY = 4

cdef struct Context:
    const void *x       # forward: x; backward: what was saved
    const void *g
    void *out
    i64 n
    int act
    double nanoseconds
    double[3] parameters


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


cdef inline vec inside(real t, vec x, vec limit) noexcept nogil:
    """All ones where x <= limit; NaN is beyond it."""
    return v_eq(t, v_max(t, limit, x), limit)


cdef inline vec magnitude(real t, vec x) noexcept nogil:
    return v_andnot(v_set(<real>-0.0), x)


cdef inline vec hard_gate(real t, vec x) noexcept nogil:
    """min(max(x + 3, 0), 6)"""
    return v_max(t, v_zero(), v_min(t, v_set(<real>6), v_add(t, x, v_set(<real>3))))


cdef inline vec mish_power(real t, vec x, vec *e) noexcept nogil:
    """e (e + 2), e = e^x: from 40 on, mish is x in both types."""
    e[0] = v_exp(t, v_min(t, v_set(<real>40), x))
    return v_mul(t, e[0], v_add(t, e[0], v_set(<real>2)))


cdef inline vec mish_slope(real t, vec x) noexcept nogil:
    """w + x s (1 - w^2) = d (m + 4 x e (1 + e) d), m = e (e + 2), d = 1 / (m + 2)"""
    cdef vec e, m, d, q
    x = v_min(t, v_set(<real>40), x)
    m = mish_power(t, x, &e)
    d = v_div(t, v_set(<real>1), v_add(t, m, v_set(<real>2)))
    q = v_mul(t, v_mul(t, v_set(<real>4), v_fma(t, e, e, e)), d)
    return v_mul(t, d, v_fma(t, x, q, m))


cdef inline vec value(real t, int act, vec x, vec a, vec b, vec c) noexcept nogil:
    cdef vec half, m
    if act == RELU:
        return v_max(t, v_zero(), x)
    elif act == LEAKY_RELU:
        return v_select(v_gt(t, x, v_zero()), x, v_mul(t, x, a))
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
    elif act == GELU_TANH:
        return v_mul(t, x, gelu_gate(t, x, v_mul(t, x, x)))
    elif act == HARDTANH:
        return v_max(t, a, v_min(t, b, x))
    elif act == THRESHOLD:
        return v_select(inside(t, x, a), b, x)
    elif act == HARDSHRINK:
        return v_select(inside(t, magnitude(t, x), a), v_zero(), x)
    elif act == SOFTSHRINK:
        return v_select(inside(t, magnitude(t, x), a), v_zero(), v_sub(t, x, v_or(a, v_and(v_set(<real>-0.0), x))))
    elif act == HARDSIGMOID:
        return v_mul(t, hard_gate(t, x), v_set(<real>0.16666666666666667))
    elif act == HARDSWISH:
        return v_mul(t, x, v_mul(t, hard_gate(t, x), v_set(<real>0.16666666666666667)))
    elif act == SOFTSIGN:
        return v_div(t, x, v_add(t, v_set(<real>1), magnitude(t, x)))
    elif act == ELU:
        return v_select(v_gt(t, x, v_zero()), v_mul(t, b, x), v_mul(t, a, v_expm1(t, v_mul(t, c, x))))
    elif act == SOFTPLUS:
        m = v_mul(t, a, x)
        return v_select(v_gt(t, m, b), x, v_div(t, v_softplus(t, m), a))
    elif act == SWISH:
        return v_mul(t, x, v_sigmoid(t, v_mul(t, a, x)))
    elif act == MISH:
        m = mish_power(t, x, &half)
        return v_mul(t, x, v_div(t, m, v_add(t, m, v_set(<real>2))))
    return v_sub(t, x, v_tanh(t, x))


cdef inline vec derivative(real t, int act, vec s, vec a, vec b, vec c) noexcept nogil:
    """f' from what was saved. Of NaN it is that of large x where f has pieces, as in PyTorch."""
    cdef vec one = v_set(<real>1)
    cdef vec m
    if act == RELU:
        return v_select(inside(t, s, v_zero()), v_zero(), one)
    elif act == LEAKY_RELU:
        return v_select(v_gt(t, s, v_zero()), one, a)
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
    elif act == GELU_TANH:
        return gelu_tanh_slope(t, s)
    elif act == HARDTANH:
        return v_select(v_or(v_eq(t, s, a), v_eq(t, s, b)), v_zero(), one)
    elif act == THRESHOLD:
        return v_select(inside(t, s, a), v_zero(), one)
    elif act == HARDSHRINK or act == SOFTSHRINK:
        return v_select(inside(t, magnitude(t, s), a), v_zero(), one)
    elif act == HARDSIGMOID:
        return v_and(v_gt(t, v_set(<real>3), magnitude(t, s)), v_set(<real>0.16666666666666667))
    elif act == HARDSWISH:
        m = v_select(v_gt(t, v_set(<real>3), s), v_fma(t, s, v_set(<real>0.33333333333333333), v_set(<real>0.5)), one)
        return v_select(inside(t, s, v_set(<real>-3)), v_zero(), m)
    elif act == SOFTSIGN:
        m = v_div(t, one, v_add(t, one, magnitude(t, s)))
        return v_mul(t, m, m)
    elif act == ELU:
        return v_select(inside(t, s, v_zero()), v_mul(t, v_mul(t, a, c), v_exp(t, v_mul(t, c, s))), b)
    elif act == SOFTPLUS:
        m = v_mul(t, a, s)
        return v_select(v_gt(t, m, b), one, v_sigmoid(t, m))
    elif act == SWISH:
        m = v_sigmoid(t, v_mul(t, a, s))
        return v_mul(t, m, v_fma(t, v_mul(t, a, s), v_sub(t, one, m), one))
    elif act == MISH:
        return mish_slope(t, s)
    m = v_tanh(t, s)
    return v_mul(t, m, m)


cdef inline void run(real t, int act, bint backward, Context *x, i64 task) noexcept nogil:
    """`act` and `backward` are constants at every call: the branches on them vanish."""
    cdef i64 i = task * SLICE
    cdef i64 end = min(i + SLICE, x.n)
    cdef const real *saved = <const real *>x.x
    cdef const real *g = <const real *>x.g
    cdef real *out = <real *>x.out
    cdef vec a = v_set(<real>x.parameters[0])
    cdef vec b = v_set(<real>x.parameters[1])
    cdef vec c = v_set(<real>x.parameters[2])
    cdef vec[MANY] v
    cdef i64 left
    cdef int j
    while i + MANY * lanes(t) <= end:
        for j in range(MANY):
            if backward:
                v[j] = v_mul(t, v_load(g + i + j * lanes(t)), derivative(t, act, v_load(saved + i + j * lanes(t)), a, b, c))
            else:
                v[j] = value(t, act, v_load(saved + i + j * lanes(t)), a, b, c)
        for j in range(MANY):
            v_store(out + i + j * lanes(t), v[j])
        i += MANY * lanes(t)
    while i < end:
        left = min(end - i, <i64>lanes(t))
        if backward:
            v_store_n(t, out + i, left, v_mul(t, v_load_n(t, g + i, left), derivative(t, act, v_load_n(t, saved + i, left), a, b, c)))
        else:
            v_store_n(t, out + i, left, value(t, act, v_load_n(t, saved + i, left), a, b, c))
        i += lanes(t)


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
    elif c.act == HARDTANH:
        both(t, HARDTANH, c, task)
    elif c.act == THRESHOLD:
        both(t, THRESHOLD, c, task)
    elif c.act == HARDSHRINK:
        both(t, HARDSHRINK, c, task)
    elif c.act == SOFTSHRINK:
        both(t, SOFTSHRINK, c, task)
    elif c.act == HARDSIGMOID:
        both(t, HARDSIGMOID, c, task)
    elif c.act == HARDSWISH:
        both(t, HARDSWISH, c, task)
    elif c.act == SOFTSIGN:
        both(t, SOFTSIGN, c, task)
    elif c.act == ELU:
        both(t, ELU, c, task)
    elif c.act == SOFTPLUS:
        both(t, SOFTPLUS, c, task)
    elif c.act == SWISH:
        both(t, SWISH, c, task)
    elif c.act == MISH:
        both(t, MISH, c, task)
    elif c.act == TANHSHRINK:
        both(t, TANHSHRINK, c, task)


cdef void task_f32(void *c, i64 task, i64 slot) noexcept nogil:
    choose(<float>0, <Context *>c, task)


cdef void task_f64(void *c, i64 task, i64 slot) noexcept nogil:
    choose(<double>0, <Context *>c, task)


cdef void start(p, Context *c, bint double_precision):
    c.n = p.n
    c.act = p.act
    c.nanoseconds = p.nanoseconds
    c.parameters = [p.a, p.b, p.c]
    cdef i64 tasks = (c.n + SLICE - 1) // SLICE
    with nogil:
        parallel_for(task_f64 if double_precision else task_f32, c, tasks, c.nanoseconds, ANY_SLOTS)


def accepts(pass_, p):
    """Only the functions that `choose` knows."""
    return RELU <= p.act <= TANHSHRINK


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
