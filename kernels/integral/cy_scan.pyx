"""Integral images by prefix sums in registers.

    out[y, x] = out[y-1, x] + (x[y-1, 0] + ... + x[y-1, x-1])

Shapes   x (mb, ih, iw); out, squared, tilted (mb, ih + 1, iw + 1)
Loops    images are the tasks: rows depend on the row above
           rows
             registers of a row: log2(lanes) shuffled additions sum within the register, one addition brings in what stands to the left
             of it (the only chain through the row), one the row above, which the first cache level still holds
           of tilted sums all neighbours come from the two rows above: the loop has no chain at all
             tilted[y, x] = tilted[y-1, x-1] + tilted[y-1, x+1] - tilted[y-2, x] + x[y-1, x-1] + x[y-2, x-1]
Edges    the rest of a row element by element; beyond the left and right border of tilted sums stands what the recursion misses:
             tilted[y, 0] = tilted[y-1, 1],  tilted[y, iw] = tilted[y-1, iw-1] + x[y-1, iw-1] + x[y-2, iw-1]
Cost     one read and one write per element and sum: bound by memory for images beyond the second cache level
Source   Viola, Jones: Rapid object detection using a boosted cascade of simple features, 2001; Lienhart, Maydt: An extended set of Haar-like
         features for rapid object detection, 2002
"""
cimport numpy as cnp
from libc.string cimport memset

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.scan cimport (
    LM_VD, LM_VF, add_u, bytes_u, first_d, first_u, floats_d, half_d, last_d, last_u, mul_u, scan_d, scan_u,
)
from lamella.kernels._common.simd cimport lm_add_d, lm_mul_d, v_load, v_store, v_zero, vec
from lamella.kernels._common.types cimport i64, u8

cnp.import_array()

ctypedef unsigned int u32

ctypedef fused pixel:
    u8
    float
    double

ctypedef fused total:
    u32
    double

cdef struct Context:
    const char *x
    char *out
    double *squared     # or NULL
    char *tilted        # or NULL
    i64 ih, iw


cdef inline vec doubles(pixel *x) noexcept nogil:
    if pixel is float:
        return floats_d(x)
    elif pixel is double:
        return v_load(x)
    else:
        return v_zero()


cdef inline void bytes_row(bint squares, const u8 *x, i64 n, const u32 *above, u32 *out, const double *above2, double *out2) noexcept nogil:
    """A row of sums (above and out point at column 1), of squares too."""
    cdef vec carry = v_zero()
    cdef vec carry2 = v_zero()
    cdef vec v, low, high
    cdef i64 i = 0
    while i + LM_VF <= n:
        v = bytes_u(x + i)
        if squares:
            low = scan_u(mul_u(v, v))
            high = lm_add_d(half_d(low, 1), carry2)
            low = lm_add_d(half_d(low, 0), carry2)
            carry2 = last_d(high)
            v_store(out2 + i, lm_add_d(low, v_load(above2 + i)))
            v_store(out2 + i + LM_VD, lm_add_d(high, v_load(above2 + i + LM_VD)))
        v = add_u(scan_u(v), carry)
        carry = last_u(v)
        v_store(out + i, add_u(v, v_load(above + i)))
        i += LM_VF
    cdef u32 sum = first_u(carry)
    cdef double sum2 = first_d(carry2)
    while i < n:
        sum += x[i]
        out[i] = above[i] + sum
        if squares:
            sum2 += <double>x[i] * <double>x[i]
            out2[i] = above2[i] + sum2
        i += 1


cdef inline void floats_row(bint squares, const pixel *x, i64 n, const double *above, double *out, const double *above2, double *out2) noexcept nogil:
    cdef vec carry = v_zero()
    cdef vec carry2 = v_zero()
    cdef vec v, w
    cdef i64 i = 0
    while i + LM_VD <= n:
        v = doubles(<pixel *>x + i)
        if squares:
            w = lm_add_d(scan_d(lm_mul_d(v, v)), carry2)
            carry2 = last_d(w)
            v_store(out2 + i, lm_add_d(w, v_load(above2 + i)))
        v = lm_add_d(scan_d(v), carry)
        carry = last_d(v)
        v_store(out + i, lm_add_d(v, v_load(above + i)))
        i += LM_VD
    cdef double sum = first_d(carry)
    cdef double sum2 = first_d(carry2)
    while i < n:
        sum += x[i]
        out[i] = above[i] + sum
        if squares:
            sum2 += <double>x[i] * <double>x[i]
            out2[i] = above2[i] + sum2
        i += 1


cdef inline void row(bint squares, const pixel *x, i64 n, const total *above, total *out, const double *above2, double *out2) noexcept nogil:
    if pixel is u8:
        bytes_row(squares, x, n, <const u32 *>above, <u32 *>out, above2, out2)
    else:
        floats_row(squares, x, n, <const double *>above, <double *>out, above2, out2)


cdef inline void tilted_rows(const pixel *x, i64 ih, i64 iw, total *out) noexcept nogil:
    cdef i64 ld = iw + 1
    cdef i64 y, i
    cdef const pixel *near
    cdef const pixel *far
    cdef total *a
    cdef total *b
    cdef total *t
    memset(out, 0, ld * sizeof(total))
    if ih:
        out[ld] = 0
        for i in range(iw):
            out[ld + 1 + i] = <total>x[i]
    for y in range(2, ih + 1):
        near = x + (y - 1) * iw
        far = near - iw
        t = out + y * ld
        a = t - ld
        b = a - ld
        t[0] = a[1] if iw else 0
        for i in range(1, iw):
            t[i] = a[i - 1] + a[i + 1] - b[i] + <total>near[i - 1] + <total>far[i - 1]
        if iw:
            t[iw] = a[iw - 1] + <total>near[iw - 1] + <total>far[iw - 1]


cdef inline void image(const pixel *x, total *out, Context *c, i64 task) noexcept nogil:
    cdef i64 iw = c.iw
    cdef i64 ld = iw + 1
    cdef i64 y
    cdef i64 at = task * (c.ih + 1) * ld
    cdef double *out2 = c.squared + at if c.squared else NULL
    x += task * c.ih * iw
    out += at
    memset(out, 0, ld * sizeof(total))
    if out2:
        memset(out2, 0, ld * sizeof(double))
    for y in range(c.ih):
        out[ld] = 0
        if out2:
            out2[ld] = 0
            row(True, x + y * iw, iw, out + 1, out + ld + 1, out2 + 1, out2 + ld + 1)
            out2 += ld
        else:
            row(False, x + y * iw, iw, out + 1, out + ld + 1, NULL, NULL)
        out += ld
    if c.tilted:
        tilted_rows(x, c.ih, iw, <total *>c.tilted + at)


cdef void task_u8(void *c, i64 task, i64 slot) noexcept nogil:
    image(<const u8 *>(<Context *>c).x, <u32 *>(<Context *>c).out, <Context *>c, task)


cdef void task_f32(void *c, i64 task, i64 slot) noexcept nogil:
    image(<const float *>(<Context *>c).x, <double *>(<Context *>c).out, <Context *>c, task)


cdef void task_f64(void *c, i64 task, i64 slot) noexcept nogil:
    image(<const double *>(<Context *>c).x, <double *>(<Context *>c).out, <Context *>c, task)


cdef void run(p, cnp.ndarray x, cnp.ndarray out, cnp.ndarray squared, cnp.ndarray tilted):
    cdef Context c
    cdef int kind = cnp.PyArray_TYPE(x)
    cdef i64 mb = p.mb
    c.x = cnp.PyArray_BYTES(x)
    c.out = cnp.PyArray_BYTES(out)
    c.squared = NULL if squared is None else <double *>cnp.PyArray_DATA(squared)
    c.tilted = NULL if tilted is None else cnp.PyArray_BYTES(tilted)
    c.ih = p.ih
    c.iw = p.iw
    with nogil:
        parallel_for(
            task_u8 if kind == cnp.NPY_UINT8 else task_f64 if kind == cnp.NPY_FLOAT64 else task_f32, &c, mb, 0.3 * mb * c.ih * c.iw, ANY_SLOTS
        )


def forward(p, cnp.ndarray x, cnp.ndarray out, scratch):
    run(p, x, out, None, None)


def squared(p, cnp.ndarray x, cnp.ndarray out, cnp.ndarray squared, scratch):
    run(p, x, out, squared, None)


def tilted(p, cnp.ndarray x, cnp.ndarray out, cnp.ndarray squared, cnp.ndarray tilted, scratch):
    run(p, x, out, squared, tilted)
