"""Vector registers for kernels written once for float and double.

``vec`` is one register of ``LM_VB`` bytes. Functions that depend on the element
type take the element type first, as a value ``t`` that is only looked at by the
compiler: ``v_fma(t, a, b, c)``. ``lanes(t)`` elements fit one register.
"""
from lamella.kernels._common.types cimport i64, real

cdef extern from "simd.h" nogil:
    ctypedef struct vec "lm_vec":
        pass
    int LM_VB, LM_MR, LM_NV
    vec v_zero "lm_zero"() noexcept
    vec v_load "lm_load"(const void *) noexcept
    void v_store "lm_store"(void *, vec) noexcept
    void v_stream "lm_stream"(void *, vec) noexcept
    void v_fence "lm_fence"() noexcept
    vec v_pin "lm_pin"(vec) noexcept
    void v_prefetch "lm_prefetch"(const void *) noexcept
    void vacate "lm_vacate"() noexcept
    vec v_fresh_zero "lm_fresh_zero"() noexcept
    const void *opaque "lm_opaque"(const void *) noexcept
    void v_prefetch_l2 "lm_prefetch_l2"(const void *) noexcept
    void v_prefetch_write "lm_prefetch_write"(const void *) noexcept
    vec v_and "lm_and"(vec, vec) noexcept
    vec v_or "lm_or"(vec, vec) noexcept
    vec v_xor "lm_xor"(vec, vec) noexcept
    vec v_andnot "lm_andnot"(vec, vec) noexcept
    vec v_select "lm_select"(vec, vec, vec) noexcept
    vec v_permute "lm_permute"(vec, vec) noexcept       # by indices of 32-bit lanes
    vec lm_set_f(float) noexcept
    vec lm_set_d(double) noexcept
    vec lm_add_f(vec, vec) noexcept
    vec lm_add_d(vec, vec) noexcept
    vec lm_sub_f(vec, vec) noexcept
    vec lm_sub_d(vec, vec) noexcept
    vec lm_mul_f(vec, vec) noexcept
    vec lm_mul_d(vec, vec) noexcept
    vec lm_div_f(vec, vec) noexcept
    vec lm_div_d(vec, vec) noexcept
    vec lm_fma_f(vec, vec, vec) noexcept
    vec lm_fma_d(vec, vec, vec) noexcept
    vec lm_gt_f(vec, vec) noexcept
    vec lm_gt_d(vec, vec) noexcept
    vec lm_eq_f(vec, vec) noexcept
    vec lm_eq_d(vec, vec) noexcept
    bint lm_any_nan_f(vec) noexcept
    bint lm_any_nan_d(vec) noexcept
    vec lm_max_f(vec, vec) noexcept
    vec lm_max_d(vec, vec) noexcept
    vec lm_min_f(vec, vec) noexcept
    vec lm_min_d(vec, vec) noexcept
    vec lm_sqrt_f(vec) noexcept
    vec lm_sqrt_d(vec) noexcept
    vec lm_load_n_f(const void *, i64) noexcept
    vec lm_load_n_d(const void *, i64) noexcept
    void lm_store_n_f(void *, i64, vec) noexcept
    void lm_store_n_d(void *, i64, vec) noexcept
    float lm_hsum_f(vec) noexcept
    double lm_hsum_d(vec) noexcept
    float lm_hmax_f(vec) noexcept
    double lm_hmax_d(vec) noexcept
    vec lm_head_f(i64) noexcept
    vec lm_head_d(i64) noexcept
    float LM_ROUND_F
    double LM_ROUND_D
    vec lm_scale_f(vec, vec) noexcept
    vec lm_scale_d(vec, vec) noexcept
    vec lm_exponent_f(vec) noexcept
    vec lm_exponent_d(vec) noexcept
    vec lm_mantissa_f(vec) noexcept
    vec lm_mantissa_d(vec) noexcept


cdef inline int lanes(real t) noexcept nogil:
    return LM_VB // <int>sizeof(real)


cdef inline vec v_set(real s) noexcept nogil:
    if real is float:
        return lm_set_f(s)
    else:
        return lm_set_d(s)


cdef inline vec v_add(real t, vec a, vec b) noexcept nogil:
    if real is float:
        return lm_add_f(a, b)
    else:
        return lm_add_d(a, b)


cdef inline vec v_sub(real t, vec a, vec b) noexcept nogil:
    if real is float:
        return lm_sub_f(a, b)
    else:
        return lm_sub_d(a, b)


cdef inline vec v_mul(real t, vec a, vec b) noexcept nogil:
    if real is float:
        return lm_mul_f(a, b)
    else:
        return lm_mul_d(a, b)


cdef inline vec v_div(real t, vec a, vec b) noexcept nogil:
    if real is float:
        return lm_div_f(a, b)
    else:
        return lm_div_d(a, b)


cdef inline vec v_fma(real t, vec a, vec b, vec c) noexcept nogil:
    """a * b + c"""
    if real is float:
        return lm_fma_f(a, b, c)
    else:
        return lm_fma_d(a, b, c)


cdef inline vec v_gt(real t, vec a, vec b) noexcept nogil:
    """All ones where a > b, for ``v_select(mask, x, y)``; NaN compares false."""
    if real is float:
        return lm_gt_f(a, b)
    else:
        return lm_gt_d(a, b)


cdef inline vec v_eq(real t, vec a, vec b) noexcept nogil:
    if real is float:
        return lm_eq_f(a, b)
    else:
        return lm_eq_d(a, b)


cdef inline bint v_any_nan(real t, vec a) noexcept nogil:
    """Whether any lane is NaN."""
    if real is float:
        return lm_any_nan_f(a)
    else:
        return lm_any_nan_d(a)


cdef inline vec v_max(real t, vec a, vec b) noexcept nogil:
    """Gives b when either is NaN: the operand that must propagate comes second."""
    if real is float:
        return lm_max_f(a, b)
    else:
        return lm_max_d(a, b)


cdef inline vec v_min(real t, vec a, vec b) noexcept nogil:
    if real is float:
        return lm_min_f(a, b)
    else:
        return lm_min_d(a, b)


cdef inline vec v_sqrt(real t, vec a) noexcept nogil:
    if real is float:
        return lm_sqrt_f(a)
    else:
        return lm_sqrt_d(a)


cdef inline vec v_load_n(real t, const void *p, i64 n) noexcept nogil:
    """The first n lanes, 0 in the others; memory beyond them is not touched."""
    if real is float:
        return lm_load_n_f(p, n)
    else:
        return lm_load_n_d(p, n)


cdef inline void v_store_n(real t, void *p, i64 n, vec v) noexcept nogil:
    if real is float:
        lm_store_n_f(p, n, v)
    else:
        lm_store_n_d(p, n, v)


cdef inline real v_hsum(real t, vec v) noexcept nogil:
    """The sum over the lanes, in a fixed order."""
    if real is float:
        return lm_hsum_f(v)
    else:
        return lm_hsum_d(v)


cdef inline real v_hmax(real t, vec v) noexcept nogil:
    """The maximum over the lanes; not to be relied on where one is NaN."""
    if real is float:
        return lm_hmax_f(v)
    else:
        return lm_hmax_d(v)


cdef inline vec v_head(real t, i64 n) noexcept nogil:
    """All ones in the first n lanes, for ``v_select``."""
    if real is float:
        return lm_head_f(n)
    else:
        return lm_head_d(n)


cdef inline vec v_scale(real t, vec a, vec n) noexcept nogil:
    """a * 2^n for whole numbers n, |n| < 250 (float) or 2000 (double)."""
    if real is float:
        return lm_scale_f(a, n)
    else:
        return lm_scale_d(a, n)


cdef inline vec v_exponent(real t, vec x) noexcept nogil:
    """e of a positive normal x = m * 2^e, m in [sqrt(1/2), sqrt(2))."""
    if real is float:
        return lm_exponent_f(x)
    else:
        return lm_exponent_d(x)


cdef inline vec v_mantissa(real t, vec x) noexcept nogil:
    """m of a positive normal x = m * 2^e, m in [sqrt(1/2), sqrt(2))."""
    if real is float:
        return lm_mantissa_f(x)
    else:
        return lm_mantissa_d(x)
