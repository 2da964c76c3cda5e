"""Matrices transposed square by square, in registers.

    out[n, j, i] = x[n, i, j]

Shapes   x (mb, rows, cols), out (mb, cols, rows), C-contiguous
Tile     as many registers as one has lanes, read as rows and written as columns: 16x16 floats with AVX-512, each a cache line
Loops    tasks are strips of the longer side, the whole shorter side wide: on one of the two arrays a strip is one run of memory,
         and its part of the other stays in the second cache level until its lines are complete
           blocks of the shorter side
             blocks of the strip: every row of the block is read (or written) in order
Edges    partial blocks load and store the lanes they have; below four rows or columns element by element
Cost     one read and one write per element, log2(lanes) shuffles per register
"""
cimport numpy as cnp

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport lanes
from lamella.kernels._common.transpose cimport square
from lamella.kernels._common.types cimport i64, real

cnp.import_array()

cdef enum:
    STRIP = 16384   # elements of a task
    BLOCK = 16

cdef struct Context:
    const char *x
    char *out
    i64 mb, rows, cols
    i64 strips          # of a matrix
    i64 length          # of a strip


cdef inline void work(real t, Context *c, i64 task) noexcept nogil:
    cdef i64 image = task // c.strips
    cdef i64 start = (task - image * c.strips) * c.length
    cdef bint wide = c.cols >= c.rows   # strips run along the columns
    cdef i64 stop = min(start + c.length, c.cols if wide else c.rows)
    cdef const real *x = <const real *>c.x + image * c.rows * c.cols
    cdef real *out = <real *>c.out + image * c.rows * c.cols
    cdef i64 width = c.rows if wide else c.cols
    cdef i64 a = 0
    cdef i64 b, i, j, m, n
    while a < width:
        b = start
        while b < stop:
            i = a if wide else b
            j = b if wide else a
            m = min(<i64>lanes(t), (width if wide else stop) - i)
            n = min(<i64>lanes(t), (stop if wide else width) - j)
            square(t, x + i * c.cols + j, c.cols, out + j * c.rows + i, c.rows, m, n)
            b += lanes(t)
        a += lanes(t)


cdef void task_f32(void *c, i64 task, i64 slot) noexcept nogil:
    work(<float>0, <Context *>c, task)


cdef void task_f64(void *c, i64 task, i64 slot) noexcept nogil:
    work(<double>0, <Context *>c, task)


def forward(p, cnp.ndarray x, cnp.ndarray out, scratch):
    cdef Context c
    cdef bint double_precision = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT64
    c.x = cnp.PyArray_BYTES(x)
    c.out = cnp.PyArray_BYTES(out)
    c.mb = p.mb
    c.rows = p.rows
    c.cols = p.cols
    cdef i64 size = c.mb * c.rows * c.cols
    if not size:
        return
    c.length = max(<i64>1, STRIP // min(c.rows, c.cols) // BLOCK) * BLOCK
    c.strips = (max(c.rows, c.cols) + c.length - 1) // c.length
    with nogil:
        parallel_for(task_f64 if double_precision else task_f32, &c, c.mb * c.strips, 0.5 * size, ANY_SLOTS)
