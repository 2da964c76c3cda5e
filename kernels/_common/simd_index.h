/* Whole numbers in the lanes of a register, beside the floats or doubles of another: where a maximum was found.
 *
 * Lanes are as wide as the element type: int32 beside floats (_f), int64 beside doubles (_d). Memory holds them as bytes
 * (u8) or as int32 (i32). A count n below the number of lanes touches the first n only; loads give 0 in the others. */
#ifndef LAMELLA_SIMD_INDEX_H
#define LAMELLA_SIMD_INDEX_H
#include "simd.h"

LM_INLINE lm_vec lm_iset_f(int64_t i) { return (lm_vec)((int32_t)i - (lm_veci){}); }
LM_INLINE lm_vec lm_iset_d(int64_t i) { return (lm_vec)(i - (lm_vecl){}); }
LM_INLINE lm_vec lm_iadd_f(lm_vec a, lm_vec b) { return (lm_vec)((lm_veci)a + (lm_veci)b); }
LM_INLINE lm_vec lm_iadd_d(lm_vec a, lm_vec b) { return (lm_vec)((lm_vecl)a + (lm_vecl)b); }
LM_INLINE lm_vec lm_ieq_f(lm_vec a, lm_vec b) { return (lm_vec)((lm_veci)a == (lm_veci)b); }
LM_INLINE lm_vec lm_ieq_d(lm_vec a, lm_vec b) { return (lm_vec)((lm_vecl)a == (lm_vecl)b); }

/* acc + g where the lanes of `at` equal those of `tap`. */
#if defined(__AVX512F__)
LM_INLINE lm_vec lm_add_at_f(lm_vec acc, lm_vec g, lm_vec at, lm_vec tap) {
    return (lm_vec)_mm512_mask_add_ps((__m512)acc, _mm512_cmpeq_epi32_mask((__m512i)at, (__m512i)tap), (__m512)acc, (__m512)g);
}
LM_INLINE lm_vec lm_add_at_d(lm_vec acc, lm_vec g, lm_vec at, lm_vec tap) {
    return (lm_vec)_mm512_mask_add_pd((__m512d)acc, _mm512_cmpeq_epi64_mask((__m512i)at, (__m512i)tap), (__m512d)acc, (__m512d)g);
}
#else
LM_INLINE lm_vec lm_add_at_f(lm_vec acc, lm_vec g, lm_vec at, lm_vec tap) { return lm_add_f(acc, lm_and(lm_ieq_f(at, tap), g)); }
LM_INLINE lm_vec lm_add_at_d(lm_vec acc, lm_vec g, lm_vec at, lm_vec tap) { return lm_add_d(acc, lm_and(lm_ieq_d(at, tap), g)); }
#endif

/* The place alone, NaN apart: tap where v > best, else at. */
#if defined(__AVX512F__)
LM_INLINE lm_vec lm_place_f(lm_vec at, lm_vec v, lm_vec best, lm_vec tap) {
    return (lm_vec)_mm512_mask_mov_ps((__m512)at, _mm512_cmp_ps_mask((__m512)v, (__m512)best, _CMP_GT_OQ), (__m512)tap);
}
LM_INLINE lm_vec lm_place_d(lm_vec at, lm_vec v, lm_vec best, lm_vec tap) {
    return (lm_vec)_mm512_mask_mov_pd((__m512d)at, _mm512_cmp_pd_mask((__m512d)v, (__m512d)best, _CMP_GT_OQ), (__m512d)tap);
}
#else
LM_INLINE lm_vec lm_place_f(lm_vec at, lm_vec v, lm_vec best, lm_vec tap) { return lm_select(lm_gt_f(v, best), tap, at); }
LM_INLINE lm_vec lm_place_d(lm_vec at, lm_vec v, lm_vec best, lm_vec tap) { return lm_select(lm_gt_d(v, best), tap, at); }
#endif

/* One step of a maximum with its place: (best, at) becomes (v, tap) where v is greater, or NaN. */
#if defined(__AVX512F__)
LM_INLINE void lm_argmax_f(lm_vec *best, lm_vec *at, lm_vec v, lm_vec tap) {
    __mmask16 m = _mm512_cmp_ps_mask((__m512)v, (__m512)*best, _CMP_GT_OQ) | _mm512_cmp_ps_mask((__m512)v, (__m512)v, _CMP_UNORD_Q);
    *best = (lm_vec)_mm512_mask_mov_ps((__m512)*best, m, (__m512)v);
    *at = (lm_vec)_mm512_mask_mov_ps((__m512)*at, m, (__m512)tap);
}
LM_INLINE void lm_argmax_d(lm_vec *best, lm_vec *at, lm_vec v, lm_vec tap) {
    __mmask8 m = _mm512_cmp_pd_mask((__m512d)v, (__m512d)*best, _CMP_GT_OQ) | _mm512_cmp_pd_mask((__m512d)v, (__m512d)v, _CMP_UNORD_Q);
    *best = (lm_vec)_mm512_mask_mov_pd((__m512d)*best, m, (__m512d)v);
    *at = (lm_vec)_mm512_mask_mov_pd((__m512d)*at, m, (__m512d)tap);
}
#else
#if defined(__AVX2__)
#define LM_BLEND(mask, a, b) ((lm_vec)_mm256_blendv_ps((__m256)(b), (__m256)(a), (__m256)(mask)))
#else
#define LM_BLEND(mask, a, b) lm_select(mask, a, b)
#endif
LM_INLINE void lm_argmax_f(lm_vec *best, lm_vec *at, lm_vec v, lm_vec tap) {
    lm_vec m = lm_or((lm_vec)(v > *best), (lm_vec)(v != v));
    *best = LM_BLEND(m, v, *best);
    *at = LM_BLEND(m, tap, *at);
}
LM_INLINE void lm_argmax_d(lm_vec *best, lm_vec *at, lm_vec v, lm_vec tap) {
    lm_vec m = lm_or((lm_vec)((lm_vecd)v > (lm_vecd)*best), (lm_vec)((lm_vecd)v != (lm_vecd)v));
    *best = LM_BLEND(m, v, *best);
    *at = LM_BLEND(m, tap, *at);
}
#endif

#if defined(__AVX512F__)
LM_INLINE lm_vec lm_load_u8_f(const void *p, int64_t n) { return (lm_vec)_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8((__mmask16)_bzhi_u32(0xFFFFu, (unsigned)n), p)); }
LM_INLINE lm_vec lm_load_u8_d(const void *p, int64_t n) { return (lm_vec)_mm512_cvtepu8_epi64(_mm_maskz_loadu_epi8((__mmask16)_bzhi_u32(0xFFu, (unsigned)n), p)); }
LM_INLINE lm_vec lm_load_i32_f(const void *p, int64_t n) { return lm_load_n_f(p, n); }
LM_INLINE lm_vec lm_load_i32_d(const void *p, int64_t n) { return (lm_vec)_mm512_cvtepi32_epi64(_mm256_maskz_loadu_epi32((__mmask8)_bzhi_u32(0xFFu, (unsigned)n), p)); }
LM_INLINE void lm_store_u8_f(void *p, int64_t n, lm_vec v) { _mm512_mask_cvtepi32_storeu_epi8(p, (__mmask16)_bzhi_u32(0xFFFFu, (unsigned)n), (__m512i)v); }
LM_INLINE void lm_store_u8_d(void *p, int64_t n, lm_vec v) { _mm512_mask_cvtepi64_storeu_epi8(p, (__mmask8)_bzhi_u32(0xFFu, (unsigned)n), (__m512i)v); }
LM_INLINE void lm_store_i32_f(void *p, int64_t n, lm_vec v) { lm_store_n_f(p, n, v); }
LM_INLINE void lm_store_i32_d(void *p, int64_t n, lm_vec v) { _mm512_mask_cvtepi64_storeu_epi32(p, (__mmask8)_bzhi_u32(0xFFu, (unsigned)n), (__m512i)v); }
#else
#define LM_INDEX(NAME, MEMORY, SUFFIX, VECTOR, LANES)                                                            \
    typedef MEMORY lm_##NAME##SUFFIX __attribute__((vector_size(LANES * sizeof(MEMORY))));                      \
    LM_INLINE lm_vec lm_load_##NAME##SUFFIX(const void *p, int64_t n) {                                         \
        lm_##NAME##SUFFIX v = {};                                                                                \
        if (n >= LANES) memcpy(&v, p, sizeof v);                                                                 \
        else for (int64_t i = 0; i < n; i++) v[i] = ((const MEMORY *)p)[i];                                      \
        return (lm_vec)__builtin_convertvector(v, VECTOR);                                                       \
    }                                                                                                            \
    LM_INLINE void lm_store_##NAME##SUFFIX(void *p, int64_t n, lm_vec x) {                                      \
        lm_##NAME##SUFFIX v = __builtin_convertvector((VECTOR)x, lm_##NAME##SUFFIX);                            \
        if (n >= LANES) memcpy(p, &v, sizeof v);                                                                 \
        else for (int64_t i = 0; i < n; i++) ((MEMORY *)p)[i] = v[i];                                            \
    }
LM_INDEX(u8, uint8_t, _f, lm_veci, LM_VF)
LM_INDEX(u8, uint8_t, _d, lm_vecl, LM_VD)
LM_INDEX(i32, int32_t, _f, lm_veci, LM_VF)
LM_INDEX(i32, int32_t, _d, lm_vecl, LM_VD)
#undef LM_INDEX
#endif

/* Lane i of the result is lane idx[i] of a, or of a followed by b. */
#if defined(__AVX512F__)
LM_INLINE lm_vec lm_permute_f(lm_vec a, lm_vec idx) { return (lm_vec)_mm512_permutexvar_ps((__m512i)idx, (__m512)a); }
LM_INLINE lm_vec lm_permute_d(lm_vec a, lm_vec idx) { return (lm_vec)_mm512_permutexvar_pd((__m512i)idx, (__m512d)a); }
LM_INLINE lm_vec lm_permute2_f(lm_vec a, lm_vec b, lm_vec idx) { return (lm_vec)_mm512_permutex2var_ps((__m512)a, (__m512i)idx, (__m512)b); }
LM_INLINE lm_vec lm_permute2_d(lm_vec a, lm_vec b, lm_vec idx) { return (lm_vec)_mm512_permutex2var_pd((__m512d)a, (__m512i)idx, (__m512d)b); }
#else
#if defined(__AVX2__)
LM_INLINE lm_vec lm_permute_f(lm_vec a, lm_vec idx) { return (lm_vec)_mm256_permutevar8x32_ps((__m256)a, (__m256i)idx); }
#else
LM_INLINE lm_vec lm_permute_f(lm_vec a, lm_vec idx) { lm_vec v; for (int i = 0; i < LM_VF; i++) v[i] = a[((lm_veci)idx)[i] & (LM_VF - 1)]; return v; }
#endif
LM_INLINE lm_vec lm_permute_d(lm_vec a, lm_vec idx) { lm_vecd v; for (int i = 0; i < LM_VD; i++) v[i] = ((lm_vecd)a)[((lm_vecl)idx)[i] & (LM_VD - 1)]; return (lm_vec)v; }
LM_INLINE lm_vec lm_permute2_f(lm_vec a, lm_vec b, lm_vec idx) { return lm_select((lm_vec)((lm_veci)idx >= LM_VF), lm_permute_f(b, idx), lm_permute_f(a, idx)); }
LM_INLINE lm_vec lm_permute2_d(lm_vec a, lm_vec b, lm_vec idx) { return lm_select((lm_vec)((lm_vecl)idx >= LM_VD), lm_permute_d(b, idx), lm_permute_d(a, idx)); }
#endif

/* x^e lane by lane; the C library's function. Not inlined: sixteen calls at every use would be most of a kernel's code. */
static __attribute__((noinline, unused)) lm_vec lm_pow_f(lm_vec x, double e) { for (int i = 0; i < LM_VF; i++) x[i] = powf(x[i], (float)e); return x; }
static __attribute__((noinline, unused)) lm_vec lm_pow_d(lm_vec x, double e) { lm_vecd d = (lm_vecd)x; for (int i = 0; i < LM_VD; i++) d[i] = pow(d[i], e); return (lm_vec)d; }
#endif
