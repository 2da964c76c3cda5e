"""Whole numbers in the lanes of a register, beside the elements of another: where a maximum was found (simd_index.h)."""
from lamella.kernels._common.simd cimport vec
from lamella.kernels._common.types cimport i64, real

cdef extern from "simd_index.h" nogil:
    vec lm_iset_f(i64) noexcept
    vec lm_iset_d(i64) noexcept
    vec lm_iadd_f(vec, vec) noexcept
    vec lm_iadd_d(vec, vec) noexcept
    vec lm_add_at_f(vec, vec, vec, vec) noexcept
    vec lm_add_at_d(vec, vec, vec, vec) noexcept
    vec lm_place_f(vec, vec, vec, vec) noexcept
    vec lm_place_d(vec, vec, vec, vec) noexcept
    void lm_argmax_f(vec *, vec *, vec, vec) noexcept
    void lm_argmax_d(vec *, vec *, vec, vec) noexcept
    vec lm_load_u8_f(const void *, i64) noexcept
    vec lm_load_u8_d(const void *, i64) noexcept
    vec lm_load_i32_f(const void *, i64) noexcept
    vec lm_load_i32_d(const void *, i64) noexcept
    void lm_store_u8_f(void *, i64, vec) noexcept
    void lm_store_u8_d(void *, i64, vec) noexcept
    void lm_store_i32_f(void *, i64, vec) noexcept
    void lm_store_i32_d(void *, i64, vec) noexcept
    vec lm_permute_f(vec, vec) noexcept
    vec lm_permute_d(vec, vec) noexcept
    vec lm_permute2_f(vec, vec, vec) noexcept
    vec lm_permute2_d(vec, vec, vec) noexcept
    vec lm_pow_f(vec, double) noexcept
    vec lm_pow_d(vec, double) noexcept


cdef inline vec v_iset(real t, i64 i) noexcept nogil:
    """i in every lane."""
    if real is float:
        return lm_iset_f(i)
    else:
        return lm_iset_d(i)


cdef inline vec v_iadd(real t, vec a, vec b) noexcept nogil:
    """The sums of whole numbers."""
    if real is float:
        return lm_iadd_f(a, b)
    else:
        return lm_iadd_d(a, b)


cdef inline vec v_add_at(real t, vec acc, vec g, vec at, vec tap) noexcept nogil:
    """acc + g where at == tap, else acc."""
    if real is float:
        return lm_add_at_f(acc, g, at, tap)
    else:
        return lm_add_at_d(acc, g, at, tap)


cdef inline vec v_place(real t, vec at, vec v, vec best, vec tap) noexcept nogil:
    """tap where v > best, else at: the place of a maximum among numbers; NaN is never greater."""
    if real is float:
        return lm_place_f(at, v, best, tap)
    else:
        return lm_place_d(at, v, best, tap)


cdef inline void v_argmax(real t, vec *best, vec *at, vec v, vec tap) noexcept nogil:
    """(best, at) becomes (v, tap) where v is greater, or NaN."""
    if real is float:
        lm_argmax_f(best, at, v, tap)
    else:
        lm_argmax_d(best, at, v, tap)


cdef inline vec v_iload(real t, int nbytes, const void *p, i64 n) noexcept nogil:
    """The first n lanes from memory that holds bytes (nbytes 1) or int32 (4)."""
    if nbytes == 1:
        if real is float:
            return lm_load_u8_f(p, n)
        else:
            return lm_load_u8_d(p, n)
    if real is float:
        return lm_load_i32_f(p, n)
    else:
        return lm_load_i32_d(p, n)


cdef inline void v_istore(real t, int nbytes, void *p, i64 n, vec v) noexcept nogil:
    if nbytes == 1:
        if real is float:
            lm_store_u8_f(p, n, v)
        else:
            lm_store_u8_d(p, n, v)
    elif real is float:
        lm_store_i32_f(p, n, v)
    else:
        lm_store_i32_d(p, n, v)


cdef inline vec v_permute(real t, vec a, vec idx) noexcept nogil:
    """Lane i of the result is lane idx[i] of a."""
    if real is float:
        return lm_permute_f(a, idx)
    else:
        return lm_permute_d(a, idx)


cdef inline vec v_permute2(real t, vec a, vec b, vec idx) noexcept nogil:
    """The same of a followed by b."""
    if real is float:
        return lm_permute2_f(a, b, idx)
    else:
        return lm_permute2_d(a, b, idx)


cdef inline vec v_pow(real t, vec x, double e) noexcept nogil:
    """x ** e lane by lane, at the speed of the C library."""
    if real is float:
        return lm_pow_f(x, e)
    else:
        return lm_pow_d(x, e)
