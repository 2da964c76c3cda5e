"""Images of bytes in another size: two rows to one line, then pairs of its columns.

    out[y, x] = ((256 - h) line[columns[x]] + h line[columns[x] + 1] + 2^15) >> 16,  line = (256 - v) x[rows[y]] + v x[rows[y] + 1]

Shapes   x (ih, iw), out (oh, ow), bytes; a line has iw + 1 numbers of 16 bits, the last one twice
Loops    tasks are BAND rows of out: rows; first along x, where neighbours are neighbours in memory and the compiler fills registers, then
         along out, where they are not: one 32-bit read fetches both columns. Nothing is rounded in between, so the order does not matter
Cost     for each row of out two rows of x are read; two products per pixel and direction
"""
cimport numpy as cnp

from lamella.kernels._common.pool cimport parallel_for
from lamella.kernels._common.types cimport i32, i64, u8

cnp.import_array()

ctypedef unsigned short u16
ctypedef unsigned int u32

cdef enum:
    BAND = 16

cdef struct Context:
    const u8 *x
    u8 *out
    char *lines
    const i32 *rows
    const i32 *columns
    i64 ih, iw, oh, ow, per_slot


def scratch(pass_, p):
    return 0, (2 * (p.iw + 1) + 63) // 64 * 64


cdef void task(void *context, i64 number, i64 slot) noexcept nogil:
    cdef Context *c = <Context *>context
    cdef u16 *line = <u16 *>(c.lines + slot * c.per_slot)
    cdef const u8 *a
    cdef const u8 *b
    cdef u8 *out
    cdef i64 y, i
    cdef u32 v, h, both
    for y in range(number * BAND, min((number + 1) * BAND, c.oh)):
        a = c.x + c.rows[2 * y] * c.iw
        b = a + (c.iw if c.rows[2 * y] + 1 < c.ih else 0)
        v = c.rows[2 * y + 1]
        for i in range(c.iw):
            line[i] = <u16>((256 - v) * a[i] + v * b[i])
        line[c.iw] = line[c.iw - 1]
        out = c.out + y * c.ow
        for i in range(c.ow):
            h = c.columns[2 * i + 1]
            both = (<u32>line[c.columns[2 * i]]) * (256 - h) + (<u32>line[c.columns[2 * i] + 1]) * h
            out[i] = <u8>((both + 32768) >> 16)


def forward(p, cnp.ndarray x, cnp.ndarray out, cnp.ndarray scratch):
    cdef Context c
    cdef cnp.ndarray rows = p.rows
    cdef cnp.ndarray columns = p.columns
    c.x = <const u8 *>cnp.PyArray_DATA(x)
    c.out = <u8 *>cnp.PyArray_DATA(out)
    c.lines = cnp.PyArray_BYTES(scratch)
    c.rows = <const i32 *>cnp.PyArray_DATA(rows)
    c.columns = <const i32 *>cnp.PyArray_DATA(columns)
    c.ih = p.ih
    c.iw = p.iw
    c.oh = p.oh
    c.ow = p.ow
    c.per_slot = (2 * (c.iw + 1) + 63) // 64 * 64
    cdef i64 bytes = cnp.PyArray_NBYTES(scratch)
    with nogil:
        parallel_for(task, &c, (c.oh + BAND - 1) // BAND, 0.5 * c.oh * c.ow, bytes // c.per_slot)
