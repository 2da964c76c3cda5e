"""Column sums: the gradient of a bias that was added to every row.

    db[j] = sum_i g[i, j]

Shapes   g (m, n)  db (n,)
Storage  g with unit column stride, any row stride
Loops    chunks of CHUNK rows x blocks of COLUMNS columns    parallel
         columns by NB registers: so much of a row is read at a time
         rows                                                NB independent sums stand in registers
         then, where there are several, chunks are added up as rows are
Edges    columns that fill no NB registers go one register at a time, four rows at once; the last one is masked
Sums     by chunks, so that an element passes through some CHUNK + m / CHUNK additions; chunks depend on the problem only: the same bits
         for any number of threads
Cost     g is read once: bound by memory, or by the caches where a product has just read it
"""
cimport numpy as cnp

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport lanes, v_add, v_load, v_load_n, v_store, v_store_n, v_zero, vec
from lamella.kernels._common.types cimport i64, real

cnp.import_array()

cdef enum:
    NB = 8              # registers of columns
    CHUNK = 256
    COLUMNS = 1024
    RATE = 16           # bytes per ns, for the pool's estimate

cdef struct Context:
    const char *g
    i64 ld              # elements from row to row
    i64 rows, columns
    i64 step            # rows of a chunk
    i64 blocks          # of columns
    char *out           # a row of sums per chunk


cdef inline i64 ceil_div(i64 a, i64 b) noexcept nogil:
    return (a + b - 1) // b


cdef inline void sum_wide(real t, const real *g, i64 ld, i64 rows, real *out) noexcept nogil:
    """NB registers of columns."""
    cdef vec s[NB]
    cdef i64 _r
    cdef int j
    for j in range(NB):
        s[j] = v_zero()
    for _r in range(rows):
        for j in range(NB):
            s[j] = v_add(t, s[j], v_load(g + j * lanes(t)))
        g += ld
    for j in range(NB):
        v_store(out + j * lanes(t), s[j])


cdef inline void sum_register(real t, i64 width, const real *g, i64 ld, i64 rows, real *out) noexcept nogil:
    """`width` columns, one register at most."""
    cdef vec s0 = v_zero()
    cdef vec s1 = v_zero()
    cdef vec s2 = v_zero()
    cdef vec s3 = v_zero()
    cdef i64 _r
    for _r in range(rows // 4):
        s0 = v_add(t, s0, v_load_n(t, g, width))
        s1 = v_add(t, s1, v_load_n(t, g + ld, width))
        s2 = v_add(t, s2, v_load_n(t, g + 2 * ld, width))
        s3 = v_add(t, s3, v_load_n(t, g + 3 * ld, width))
        g += 4 * ld
    for _r in range(rows % 4):
        s0 = v_add(t, s0, v_load_n(t, g, width))
        g += ld
    v_store_n(t, out, width, v_add(t, v_add(t, s0, s1), v_add(t, s2, s3)))


cdef void block(real t, Context *c, i64 task) noexcept nogil:
    cdef i64 chunk = task // c.blocks
    cdef i64 j = task % c.blocks * COLUMNS
    cdef i64 end = min(j + COLUMNS, c.columns)
    cdef i64 rows = min(c.step, c.rows - chunk * c.step)
    cdef const real *g = <const real *>c.g + chunk * c.step * c.ld
    cdef real *out = <real *>c.out + chunk * c.columns
    while j + NB * lanes(t) <= end:
        sum_wide(t, g + j, c.ld, rows, out + j)
        j += NB * lanes(t)
    while j < end:
        sum_register(t, min(<i64>lanes(t), end - j), g + j, c.ld, rows, out + j)
        j += lanes(t)


cdef void block_f32(void *c, i64 task, i64 slot) noexcept nogil:
    block(<float>0, <Context *>c, task)


cdef void block_f64(void *c, i64 task, i64 slot) noexcept nogil:
    block(<double>0, <Context *>c, task)


cdef inline i64 chunks_of(i64 rows) noexcept nogil:
    return max(<i64>1, ceil_div(rows, CHUNK))


def scratch(pass_, p):
    cdef i64 chunks = chunks_of(p.m)
    return (chunks * p.n * p.dtype.itemsize if chunks > 1 else 0), 0


def backward_bias(p, cnp.ndarray g, cnp.ndarray db, cnp.ndarray scratch):
    cdef Context c
    cdef bint double_precision = cnp.PyArray_TYPE(g) == cnp.NPY_FLOAT64
    cdef i64 item = 8 if double_precision else 4
    cdef i64 chunks
    c.g = cnp.PyArray_BYTES(g)
    c.rows = cnp.PyArray_DIM(g, 0)
    c.columns = cnp.PyArray_DIM(g, 1)
    c.ld = cnp.PyArray_STRIDE(g, 0) // item
    c.blocks = ceil_div(c.columns, COLUMNS)
    chunks = chunks_of(c.rows)
    c.step = CHUNK
    c.out = cnp.PyArray_BYTES(db) if chunks == 1 else cnp.PyArray_BYTES(scratch)
    with nogil:
        parallel_for(block_f64 if double_precision else block_f32, &c, chunks * c.blocks, c.rows * c.columns * item / <double>RATE, ANY_SLOTS)
        if chunks > 1:
            c.g = c.out
            c.rows = chunks
            c.ld = c.columns
            c.step = chunks
            c.out = cnp.PyArray_BYTES(db)
            parallel_for(block_f64 if double_precision else block_f32, &c, c.blocks, chunks * c.columns * item / <double>RATE, ANY_SLOTS)
