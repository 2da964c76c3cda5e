"""Transposes in registers (transpose.h) for float and double."""
from lamella.kernels._common.simd cimport vec
from lamella.kernels._common.types cimport i64, real

cdef extern from "transpose.h" nogil:
    void lm_transpose_f(const float *, i64, float *, i64, i64, i64) noexcept
    void lm_transpose_d(const double *, i64, double *, i64, i64, i64) noexcept
    vec lm_sum_lanes_f(vec *) noexcept
    vec lm_sum_lanes_d(vec *) noexcept
    vec lm_sum_halves_f(vec *) noexcept
    vec lm_sum_halves_d(vec *) noexcept


cdef inline vec sum_lanes(real t, vec *r) noexcept nogil:
    """Lane l of the result is the sum of the lanes of r[l], for as many registers as they have lanes; r is used up."""
    if real is float:
        return lm_sum_lanes_f(r)
    else:
        return lm_sum_lanes_d(r)


cdef inline void sum_halves(real t, vec *r, vec *upper) noexcept nogil:
    """Lane l of r[0] and of `upper` becomes the sum of the lower and of the upper lanes of r[l], for as many registers as they have lanes; r is used up."""
    if real is float:
        upper[0] = lm_sum_halves_f(r)
    else:
        upper[0] = lm_sum_halves_d(r)


cdef inline void square(real t, const real *src, i64 ld_src, real *dst, i64 ld_dst, i64 m, i64 n) noexcept nogil:
    """dst[j * ld_dst + i] = src[i * ld_src + j] for i < m, j < n; m and n at most lanes(t)."""
    if real is float:
        lm_transpose_f(src, ld_src, dst, ld_dst, m, n)
    else:
        lm_transpose_d(src, ld_src, dst, ld_dst, m, n)
