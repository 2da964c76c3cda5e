/* Inclusive prefix sums within a register, of 32-bit whole numbers (they wrap around) and of doubles. */
#ifndef LAMELLA_SCAN_H
#define LAMELLA_SCAN_H
#include "simd.h"

#if LM_VB == 64
#define LM_SHIFT_U(v, n) __builtin_shuffle((lm_vecu){}, v, (lm_veci){16 - n, 17 - n, 18 - n, 19 - n, 20 - n, 21 - n, 22 - n, 23 - n, 24 - n, 25 - n, 26 - n, 27 - n, 28 - n, 29 - n, 30 - n, 31 - n})
#define LM_SHIFT_D(v, n) __builtin_shuffle((lm_vecd){}, v, (lm_vecl){8 - n, 9 - n, 10 - n, 11 - n, 12 - n, 13 - n, 14 - n, 15 - n})
#elif LM_VB == 32
#define LM_SHIFT_U(v, n) __builtin_shuffle((lm_vecu){}, v, (lm_veci){8 - n, 9 - n, 10 - n, 11 - n, 12 - n, 13 - n, 14 - n, 15 - n})
#define LM_SHIFT_D(v, n) __builtin_shuffle((lm_vecd){}, v, (lm_vecl){4 - n, 5 - n, 6 - n, 7 - n})
#else
#define LM_SHIFT_U(v, n) __builtin_shuffle((lm_vecu){}, v, (lm_veci){4 - n, 5 - n, 6 - n, 7 - n})
#define LM_SHIFT_D(v, n) __builtin_shuffle((lm_vecd){}, v, (lm_vecl){2 - n, 3 - n})
#endif

LM_INLINE lm_vec lm_scan_u(lm_vec x) {
    lm_vecu v = (lm_vecu)x;
    v += LM_SHIFT_U(v, 1);
    v += LM_SHIFT_U(v, 2);
#if LM_VF > 4
    v += LM_SHIFT_U(v, 4);
#endif
#if LM_VF > 8
    v += LM_SHIFT_U(v, 8);
#endif
    return (lm_vec)v;
}

LM_INLINE lm_vec lm_scan_d(lm_vec x) {
    lm_vecd v = (lm_vecd)x;
    v += LM_SHIFT_D(v, 1);
#if LM_VD > 2
    v += LM_SHIFT_D(v, 2);
#endif
#if LM_VD > 4
    v += LM_SHIFT_D(v, 4);
#endif
    return (lm_vec)v;
}

/* The last lane, in every lane. */
LM_INLINE lm_vec lm_last_u(lm_vec x) { return (lm_vec)__builtin_shuffle((lm_vecu)x, (lm_vecu){} + (LM_VF - 1)); }
LM_INLINE lm_vec lm_last_d(lm_vec x) { return (lm_vec)__builtin_shuffle((lm_vecd)x, (lm_vecl){} + (LM_VD - 1)); }
LM_INLINE uint32_t lm_lane0_u(lm_vec x) { return ((lm_vecu)x)[0]; }
LM_INLINE double lm_lane0_d(lm_vec x) { return ((lm_vecd)x)[0]; }

LM_INLINE lm_vec lm_add_u(lm_vec a, lm_vec b) { return (lm_vec)((lm_vecu)a + (lm_vecu)b); }
LM_INLINE lm_vec lm_mul_u(lm_vec a, lm_vec b) { return (lm_vec)((lm_vecu)a * (lm_vecu)b); }

/* LM_VF bytes as whole numbers; LM_VD floats as doubles; one half of a register of whole numbers below 2^31, as doubles. */
#if LM_VB == 64
LM_INLINE lm_vec lm_bytes_u(const uint8_t *p) { return (lm_vec)_mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)p)); }
LM_INLINE lm_vec lm_floats_d(const float *p) { return (lm_vec)_mm512_cvtps_pd(_mm256_loadu_ps(p)); }
LM_INLINE lm_vec lm_half_d(lm_vec x, int half) {
    return (lm_vec)_mm512_cvtepi32_pd(half ? _mm512_extracti64x4_epi64((__m512i)x, 1) : _mm512_castsi512_si256((__m512i)x));
}
#elif LM_VB == 32
LM_INLINE lm_vec lm_bytes_u(const uint8_t *p) { return (lm_vec)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)p)); }
LM_INLINE lm_vec lm_floats_d(const float *p) { return (lm_vec)_mm256_cvtps_pd(_mm_loadu_ps(p)); }
LM_INLINE lm_vec lm_half_d(lm_vec x, int half) {
    return (lm_vec)_mm256_cvtepi32_pd(half ? _mm256_extracti128_si256((__m256i)x, 1) : _mm256_castsi256_si128((__m256i)x));
}
#else
LM_INLINE lm_vec lm_bytes_u(const uint8_t *p) { return (lm_vec)(lm_vecu){p[0], p[1], p[2], p[3]}; }
LM_INLINE lm_vec lm_floats_d(const float *p) { return (lm_vec)(lm_vecd){p[0], p[1]}; }
LM_INLINE lm_vec lm_half_d(lm_vec x, int half) {
    lm_veci v = (lm_veci)x;
    return (lm_vec)(half ? (lm_vecd){v[2], v[3]} : (lm_vecd){v[0], v[1]});
}
#endif
#endif
