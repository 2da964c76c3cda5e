"""Transposes in registers (transpose.h) for float and double."""
from lamella.kernels._common.simd cimport lanes
from lamella.kernels._common.types cimport i64, real

cdef extern from "transpose.h" nogil:
    void lm_transpose_f(const float *, i64, float *, i64, i64, i64) noexcept
    void lm_transpose_d(const double *, i64, double *, i64, i64, i64) noexcept


cdef inline void square(real t, const real *src, i64 ld_src, real *dst, i64 ld_dst, i64 m, i64 n) noexcept nogil:
    """dst[j * ld_dst + i] = src[i * ld_src + j] for i < m, j < n; m and n at most lanes(t)."""
    if real is float:
        lm_transpose_f(src, ld_src, dst, ld_dst, m, n)
    else:
        lm_transpose_d(src, ld_src, dst, ld_dst, m, n)
