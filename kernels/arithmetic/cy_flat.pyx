"""Arithmetic of two arrays over memory in equal slices.

    out = act(x op y)

Shapes   one-dimensional runs of n elements; out may be x or y
Loops    slices of SLICE elements are the tasks; inside, one register at a time, the last one masked
Cost     two reads and one write per element: bound by memory
"""
cimport numpy as cnp

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport (
    lanes, v_add, v_div, v_load, v_load_n, v_max, v_mul, v_store, v_store_n, v_sub, v_zero, vec,
)
from lamella.kernels._common.types cimport i64, real

cnp.import_array()

cdef enum:
    ADD = 0
    SUB = 1
    MUL = 2
    DIV = 3

cdef enum:
    SLICE = 16384

cdef struct Context:
    const void *x
    const void *y
    void *out
    i64 n
    int function
    bint relu


cdef inline vec value(real t, int function, bint relu, vec x, vec y) noexcept nogil:
    if function == ADD:
        x = v_add(t, x, y)
    elif function == SUB:
        x = v_sub(t, x, y)
    elif function == MUL:
        x = v_mul(t, x, y)
    else:
        x = v_div(t, x, y)
    return v_max(t, v_zero(), x) if relu else x


cdef inline void run(real t, int function, bint relu, Context *c, i64 task) noexcept nogil:
    """`function` and `relu` are constants at every call: the branches on them vanish."""
    cdef i64 i = task * SLICE
    cdef i64 end = min(i + SLICE, c.n)
    cdef const real *x = <const real *>c.x
    cdef const real *y = <const real *>c.y
    cdef real *out = <real *>c.out
    while i + lanes(t) <= end:
        v_store(out + i, value(t, function, relu, v_load(x + i), v_load(y + i)))
        i += lanes(t)
    if i < end:
        v_store_n(t, out + i, end - i, value(t, function, relu, v_load_n(t, x + i, end - i), v_load_n(t, y + i, end - i)))


cdef inline void either(real t, int function, Context *c, i64 task) noexcept nogil:
    if c.relu:
        run(t, function, True, c, task)
    else:
        run(t, function, False, c, task)


cdef void choose(real t, Context *c, i64 task) noexcept nogil:
    if c.function == ADD:
        either(t, ADD, c, task)
    elif c.function == SUB:
        either(t, SUB, c, task)
    elif c.function == MUL:
        either(t, MUL, c, task)
    else:
        either(t, DIV, c, task)


cdef void task_f32(void *c, i64 task, i64 slot) noexcept nogil:
    choose(<float>0, <Context *>c, task)


cdef void task_f64(void *c, i64 task, i64 slot) noexcept nogil:
    choose(<double>0, <Context *>c, task)


def forward(p, cnp.ndarray x, cnp.ndarray y, cnp.ndarray out, scratch):
    cdef Context c
    cdef bint double_precision = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT64
    c.x = cnp.PyArray_DATA(x)
    c.y = cnp.PyArray_DATA(y)
    c.out = cnp.PyArray_DATA(out)
    c.n = p.n
    c.function = p.number
    c.relu = p.act != 0
    with nogil:
        parallel_for(task_f64 if double_precision else task_f32, &c, (c.n + SLICE - 1) // SLICE, 0.5 * c.n, ANY_SLOTS)
