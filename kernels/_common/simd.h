/* One vector register, opaque to Cython, whatever it holds.
 *
 * lm_vec is a register of LM_VB bytes. Operations on floats end in _f, on
 * doubles in _d; simd.pxd chooses between them by the element type, so a kernel
 * is written once. Loads and stores need no alignment. Portable operations use
 * GCC's vector extensions (any processor); the few that need instructions of
 * their own (masks, min, max, sqrt, rounding) have a portable fallback. */
#ifndef LAMELLA_SIMD_H
#define LAMELLA_SIMD_H
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Bytes in a register, and the register tile of the matrix product:
 * LM_MR rows by LM_NV registers. 28 of 32 registers accumulate with AVX-512, 12 of 16 otherwise. */
#if defined(__AVX512F__)
#define LM_VB 64
#define LM_MR 14
#define LM_NV 2
#elif defined(__AVX2__)
#define LM_VB 32
#define LM_MR 6
#define LM_NV 2
#else
#define LM_VB 16
#define LM_MR 6
#define LM_NV 2
#endif
#define LM_VF (LM_VB / 4)
#define LM_VD (LM_VB / 8)

typedef float lm_vec __attribute__((vector_size(LM_VB)));
typedef double lm_vecd __attribute__((vector_size(LM_VB)));
typedef int32_t lm_veci __attribute__((vector_size(LM_VB)));
typedef int64_t lm_vecl __attribute__((vector_size(LM_VB)));
typedef lm_vec lm_unaligned __attribute__((aligned(1), may_alias));

#define LM_INLINE static inline __attribute__((always_inline))

LM_INLINE lm_vec lm_zero(void) { return (lm_vec){}; }
LM_INLINE lm_vec lm_load(const void *p) { return *(const lm_unaligned *)p; }
LM_INLINE void lm_store(void *p, lm_vec v) { *(lm_unaligned *)p = v; }
/* A store past the caches, for results too large to stay there: memory is not read before it is written. p is aligned to a register;
 * lm_fence makes such stores visible to other threads. */
#if defined(__AVX512F__)
LM_INLINE void lm_stream(void *p, lm_vec v) { _mm512_stream_ps(p, (__m512)v); }
#elif defined(__AVX2__)
LM_INLINE void lm_stream(void *p, lm_vec v) { _mm256_stream_ps(p, (__m256)v); }
#elif defined(__SSE2__)
LM_INLINE void lm_stream(void *p, lm_vec v) { _mm_stream_ps(p, (__m128)v); }
#else
LM_INLINE void lm_stream(void *p, lm_vec v) { lm_store(p, v); }
#endif
#if defined(__SSE2__)
LM_INLINE void lm_fence(void) { _mm_sfence(); }
#else
LM_INLINE void lm_fence(void) {}
#endif
LM_INLINE void lm_prefetch_l2(const void *p) { __builtin_prefetch(p, 0, 2); }
/* The pointer, of unknown origin from here on: pointers that differ by multiples of a stride otherwise become one and offsets too many for registers. */
LM_INLINE const void *lm_opaque(const void *p) { __asm__("" : "+r"(p)); return p; }
/* No vector register holds anything here: what lives on beyond a tile waits in memory, and the accumulators get all registers. */
#if defined(__AVX512F__)
LM_INLINE void lm_vacate(void) {
    __asm__ volatile("" ::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
                     "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28",
                     "xmm29", "xmm30", "xmm31");
}
#elif defined(__x86_64__)
LM_INLINE void lm_vacate(void) {
    __asm__ volatile("" ::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
                     "xmm15");
}
#else
LM_INLINE void lm_vacate(void) {}
#endif
/* A zero made here and now: one that may be moved out of the loops around a tile takes a register from its accumulators. */
#if defined(__AVX512F__)
LM_INLINE lm_vec lm_fresh_zero(void) { lm_vec v; __asm__ volatile("vpxord %0, %0, %0" : "=v"(v)); return v; }
#elif defined(__AVX2__)
LM_INLINE lm_vec lm_fresh_zero(void) { lm_vec v; __asm__ volatile("vpxor %0, %0, %0" : "=x"(v)); return v; }
#elif defined(__SSE2__)
LM_INLINE lm_vec lm_fresh_zero(void) { lm_vec v; __asm__ volatile("pxor %0, %0" : "=x"(v)); return v; }
#else
LM_INLINE lm_vec lm_fresh_zero(void) { return (lm_vec){}; }
#endif
/* The value, in one register from here on: after a loop over doubles GCC otherwise keeps the accumulators twice and spills them. */
#if defined(__AVX512F__)
LM_INLINE lm_vec lm_pin(lm_vec v) { __asm__("" : "+v"(v)); return v; }
#elif defined(__x86_64__)
LM_INLINE lm_vec lm_pin(lm_vec v) { __asm__("" : "+x"(v)); return v; }
#else
LM_INLINE lm_vec lm_pin(lm_vec v) { return v; }
#endif

/* Bring the cache line at p into L2, to be written soon. */
LM_INLINE void lm_prefetch_write(const void *p) { __builtin_prefetch(p, 1, 2); }

LM_INLINE lm_vec lm_set_f(float s) { return s - (lm_vec){}; }
LM_INLINE lm_vec lm_set_d(double s) { return (lm_vec)(s - (lm_vecd){}); }
LM_INLINE lm_vec lm_add_f(lm_vec a, lm_vec b) { return a + b; }
LM_INLINE lm_vec lm_add_d(lm_vec a, lm_vec b) { return (lm_vec)((lm_vecd)a + (lm_vecd)b); }
LM_INLINE lm_vec lm_sub_f(lm_vec a, lm_vec b) { return a - b; }
LM_INLINE lm_vec lm_sub_d(lm_vec a, lm_vec b) { return (lm_vec)((lm_vecd)a - (lm_vecd)b); }
LM_INLINE lm_vec lm_mul_f(lm_vec a, lm_vec b) { return a * b; }
LM_INLINE lm_vec lm_mul_d(lm_vec a, lm_vec b) { return (lm_vec)((lm_vecd)a * (lm_vecd)b); }
LM_INLINE lm_vec lm_div_f(lm_vec a, lm_vec b) { return a / b; }
LM_INLINE lm_vec lm_div_d(lm_vec a, lm_vec b) { return (lm_vec)((lm_vecd)a / (lm_vecd)b); }
LM_INLINE lm_vec lm_fma_f(lm_vec a, lm_vec b, lm_vec c) { return a * b + c; } /* contracted where the set has FMA */
LM_INLINE lm_vec lm_fma_d(lm_vec a, lm_vec b, lm_vec c) { return (lm_vec)((lm_vecd)a * (lm_vecd)b + (lm_vecd)c); }

/* Comparisons give all-ones lanes; lm_select(mask, a, b) = mask ? a : b, lane by lane. NaN compares false. */
LM_INLINE lm_vec lm_gt_f(lm_vec a, lm_vec b) { return (lm_vec)(a > b); }
LM_INLINE lm_vec lm_gt_d(lm_vec a, lm_vec b) { return (lm_vec)((lm_vecd)a > (lm_vecd)b); }
LM_INLINE lm_vec lm_eq_f(lm_vec a, lm_vec b) { return (lm_vec)(a == b); }
LM_INLINE lm_vec lm_eq_d(lm_vec a, lm_vec b) { return (lm_vec)((lm_vecd)a == (lm_vecd)b); }
LM_INLINE lm_vec lm_and(lm_vec a, lm_vec b) { return (lm_vec)((lm_veci)a & (lm_veci)b); }
LM_INLINE lm_vec lm_or(lm_vec a, lm_vec b) { return (lm_vec)((lm_veci)a | (lm_veci)b); }
LM_INLINE lm_vec lm_xor(lm_vec a, lm_vec b) { return (lm_vec)((lm_veci)a ^ (lm_veci)b); }
LM_INLINE lm_vec lm_andnot(lm_vec a, lm_vec b) { return (lm_vec)(~(lm_veci)a & (lm_veci)b); }
LM_INLINE lm_vec lm_select(lm_vec mask, lm_vec a, lm_vec b) { return lm_or(lm_and(mask, a), lm_andnot(mask, b)); }

/* Whether any lane is NaN. */
#if defined(__AVX512F__)
LM_INLINE int lm_any_nan_f(lm_vec a) { return _mm512_cmp_ps_mask((__m512)a, (__m512)a, _CMP_UNORD_Q) != 0; }
LM_INLINE int lm_any_nan_d(lm_vec a) { return _mm512_cmp_pd_mask((__m512d)a, (__m512d)a, _CMP_UNORD_Q) != 0; }
#else
LM_INLINE int lm_any_set(lm_vec mask) { lm_vecl m = (lm_vecl)mask; int64_t any = 0; for (int i = 0; i < LM_VD; i++) any |= m[i]; return any != 0; }
LM_INLINE int lm_any_nan_f(lm_vec a) { return lm_any_set((lm_vec)(a != a)); }
LM_INLINE int lm_any_nan_d(lm_vec a) { return lm_any_set((lm_vec)((lm_vecd)a != (lm_vecd)a)); }
#endif

/* Ask for the cache line at p, which may lie outside of any array. */
LM_INLINE void lm_prefetch(const void *p) { __builtin_prefetch(p); }

/* max(a, b) and min(a, b) give b when either is NaN: put the operand that must propagate second. */
#if defined(__AVX512F__)
LM_INLINE lm_vec lm_max_f(lm_vec a, lm_vec b) { return (lm_vec)_mm512_max_ps((__m512)a, (__m512)b); }
LM_INLINE lm_vec lm_max_d(lm_vec a, lm_vec b) { return (lm_vec)_mm512_max_pd((__m512d)a, (__m512d)b); }
LM_INLINE lm_vec lm_min_f(lm_vec a, lm_vec b) { return (lm_vec)_mm512_min_ps((__m512)a, (__m512)b); }
LM_INLINE lm_vec lm_min_d(lm_vec a, lm_vec b) { return (lm_vec)_mm512_min_pd((__m512d)a, (__m512d)b); }
LM_INLINE lm_vec lm_sqrt_f(lm_vec a) { return (lm_vec)_mm512_sqrt_ps((__m512)a); }
LM_INLINE lm_vec lm_sqrt_d(lm_vec a) { return (lm_vec)_mm512_sqrt_pd((__m512d)a); }
#elif defined(__AVX2__)
LM_INLINE lm_vec lm_max_f(lm_vec a, lm_vec b) { return (lm_vec)_mm256_max_ps((__m256)a, (__m256)b); }
LM_INLINE lm_vec lm_max_d(lm_vec a, lm_vec b) { return (lm_vec)_mm256_max_pd((__m256d)a, (__m256d)b); }
LM_INLINE lm_vec lm_min_f(lm_vec a, lm_vec b) { return (lm_vec)_mm256_min_ps((__m256)a, (__m256)b); }
LM_INLINE lm_vec lm_min_d(lm_vec a, lm_vec b) { return (lm_vec)_mm256_min_pd((__m256d)a, (__m256d)b); }
LM_INLINE lm_vec lm_sqrt_f(lm_vec a) { return (lm_vec)_mm256_sqrt_ps((__m256)a); }
LM_INLINE lm_vec lm_sqrt_d(lm_vec a) { return (lm_vec)_mm256_sqrt_pd((__m256d)a); }
#elif defined(__SSE2__)
LM_INLINE lm_vec lm_max_f(lm_vec a, lm_vec b) { return (lm_vec)_mm_max_ps((__m128)a, (__m128)b); }
LM_INLINE lm_vec lm_max_d(lm_vec a, lm_vec b) { return (lm_vec)_mm_max_pd((__m128d)a, (__m128d)b); }
LM_INLINE lm_vec lm_min_f(lm_vec a, lm_vec b) { return (lm_vec)_mm_min_ps((__m128)a, (__m128)b); }
LM_INLINE lm_vec lm_min_d(lm_vec a, lm_vec b) { return (lm_vec)_mm_min_pd((__m128d)a, (__m128d)b); }
LM_INLINE lm_vec lm_sqrt_f(lm_vec a) { return (lm_vec)_mm_sqrt_ps((__m128)a); }
LM_INLINE lm_vec lm_sqrt_d(lm_vec a) { return (lm_vec)_mm_sqrt_pd((__m128d)a); }
#else
LM_INLINE lm_vec lm_max_f(lm_vec a, lm_vec b) { return lm_select(lm_gt_f(a, b), a, b); }
LM_INLINE lm_vec lm_max_d(lm_vec a, lm_vec b) { return lm_select(lm_gt_d(a, b), a, b); }
LM_INLINE lm_vec lm_min_f(lm_vec a, lm_vec b) { return lm_select(lm_gt_f(b, a), a, b); }
LM_INLINE lm_vec lm_min_d(lm_vec a, lm_vec b) { return lm_select(lm_gt_d(b, a), a, b); }
LM_INLINE lm_vec lm_sqrt_f(lm_vec a) { for (int i = 0; i < LM_VF; i++) a[i] = sqrtf(a[i]); return a; }
LM_INLINE lm_vec lm_sqrt_d(lm_vec a) { lm_vecd d = (lm_vecd)a; for (int i = 0; i < LM_VD; i++) d[i] = sqrt(d[i]); return (lm_vec)d; }
#endif

/* The first n lanes (0 <= n <= lanes); loads give 0 in the others and never touch memory beyond, stores leave it alone. */
#if defined(__AVX512F__)
LM_INLINE lm_vec lm_load_n_f(const void *p, int64_t n) { return (lm_vec)_mm512_maskz_loadu_ps((__mmask16)_bzhi_u32(0xFFFFu, (unsigned)n), p); }
LM_INLINE lm_vec lm_load_n_d(const void *p, int64_t n) { return (lm_vec)_mm512_maskz_loadu_pd((__mmask8)_bzhi_u32(0xFFu, (unsigned)n), p); }
LM_INLINE void lm_store_n_f(void *p, int64_t n, lm_vec v) { _mm512_mask_storeu_ps(p, (__mmask16)_bzhi_u32(0xFFFFu, (unsigned)n), (__m512)v); }
LM_INLINE void lm_store_n_d(void *p, int64_t n, lm_vec v) { _mm512_mask_storeu_pd(p, (__mmask8)_bzhi_u32(0xFFu, (unsigned)n), (__m512d)v); }
#elif defined(__AVX2__)
LM_INLINE __m256i lm_first_f(int64_t n) { return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }
LM_INLINE __m256i lm_first_d(int64_t n) { return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3)); }
LM_INLINE lm_vec lm_load_n_f(const void *p, int64_t n) { return (lm_vec)_mm256_maskload_ps(p, lm_first_f(n)); }
LM_INLINE lm_vec lm_load_n_d(const void *p, int64_t n) { return (lm_vec)_mm256_maskload_pd(p, lm_first_d(n)); }
LM_INLINE void lm_store_n_f(void *p, int64_t n, lm_vec v) { _mm256_maskstore_ps(p, lm_first_f(n), (__m256)v); }
LM_INLINE void lm_store_n_d(void *p, int64_t n, lm_vec v) { _mm256_maskstore_pd(p, lm_first_d(n), (__m256d)v); }
#else
LM_INLINE lm_vec lm_load_n_f(const void *p, int64_t n) { lm_vec v = {}; memcpy(&v, p, (size_t)n * 4); return v; }
LM_INLINE lm_vec lm_load_n_d(const void *p, int64_t n) { lm_vec v = {}; memcpy(&v, p, (size_t)n * 8); return v; }
LM_INLINE void lm_store_n_f(void *p, int64_t n, lm_vec v) { memcpy(p, &v, (size_t)n * 4); }
LM_INLINE void lm_store_n_d(void *p, int64_t n, lm_vec v) { memcpy(p, &v, (size_t)n * 8); }
#endif

/* All-ones in the first n lanes. */
static const int32_t lm_heads[2 * LM_VF] = {
#if LM_VF == 16
    -1, -1, -1, -1, -1, -1, -1, -1,
#endif
#if LM_VF >= 8
    -1, -1, -1, -1,
#endif
    -1, -1, -1, -1};
LM_INLINE lm_vec lm_head_f(int64_t n) { return lm_load(lm_heads + LM_VF - n); }
LM_INLINE lm_vec lm_head_d(int64_t n) { return lm_load(lm_heads + LM_VF - 2 * n); }

/* Lane i of the result is lane index[i] of v. An index counts 32-bit lanes: those of doubles come in pairs. */
#if defined(__AVX512F__)
LM_INLINE lm_vec lm_permute(lm_vec v, lm_vec index) { return (lm_vec)_mm512_permutexvar_ps((__m512i)index, (__m512)v); }
#elif defined(__AVX2__)
LM_INLINE lm_vec lm_permute(lm_vec v, lm_vec index) { return (lm_vec)_mm256_permutevar8x32_ps((__m256)v, (__m256i)index); }
#else
LM_INLINE lm_vec lm_permute(lm_vec v, lm_vec index) { lm_vec r; for (int i = 0; i < LM_VF; i++) r[i] = v[((lm_veci)index)[i]]; return r; }
#endif

/* A shuffle whose lanes are constants. */
#if defined(__clang__)
#define LM_PICK(INDEX, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define LM_PICK(INDEX, a, b, ...) __builtin_shuffle(a, b, (INDEX){__VA_ARGS__})
#endif

/* Sum and maximum over the lanes, always in the same order: lanes l and l ^ b exchange their values, the farthest first. */
#if LM_VF == 16
#define LM_EXCHANGED(b) \
    0 ^ (b), 1 ^ (b), 2 ^ (b), 3 ^ (b), 4 ^ (b), 5 ^ (b), 6 ^ (b), 7 ^ (b), 8 ^ (b), 9 ^ (b), 10 ^ (b), 11 ^ (b), 12 ^ (b), 13 ^ (b), 14 ^ (b), 15 ^ (b)
#elif LM_VF == 8
#define LM_EXCHANGED(b) 0 ^ (b), 1 ^ (b), 2 ^ (b), 3 ^ (b), 4 ^ (b), 5 ^ (b), 6 ^ (b), 7 ^ (b)
#else
#define LM_EXCHANGED(b) 0 ^ (b), 1 ^ (b), 2 ^ (b), 3 ^ (b)
#endif
#define LM_FOLD(op, v, b) v = op(v, LM_PICK(lm_veci, v, v, LM_EXCHANGED(b)))
#if LM_VF == 16
#define LM_FOLD_PAIRS(op, v) LM_FOLD(op, v, 8); LM_FOLD(op, v, 4); LM_FOLD(op, v, 2)
#elif LM_VF == 8
#define LM_FOLD_PAIRS(op, v) LM_FOLD(op, v, 4); LM_FOLD(op, v, 2)
#else
#define LM_FOLD_PAIRS(op, v) LM_FOLD(op, v, 2)
#endif
LM_INLINE float lm_hsum_f(lm_vec v) { LM_FOLD_PAIRS(lm_add_f, v); LM_FOLD(lm_add_f, v, 1); return v[0]; }
LM_INLINE float lm_hmax_f(lm_vec v) { LM_FOLD_PAIRS(lm_max_f, v); LM_FOLD(lm_max_f, v, 1); return v[0]; }
LM_INLINE double lm_hsum_d(lm_vec v) { LM_FOLD_PAIRS(lm_add_d, v); return ((lm_vecd)v)[0]; }
LM_INLINE double lm_hmax_d(lm_vec v) { LM_FOLD_PAIRS(lm_max_d, v); return ((lm_vecd)v)[0]; }

/* Exponents. Adding LM_ROUND to |x| < 2^22 (2^51) rounds x to the nearest integer and leaves it in the low bits of the sum.
 * lm_scale(v, n) = v * 2^n for a whole number |n| < 250 (2000), rounded once; without AVX-512 in two steps, as 2^n itself may be out of range. */
#define LM_ROUND_F 12582912.0f
#define LM_ROUND_D 6755399441055744.0
typedef uint32_t lm_vecu __attribute__((vector_size(LM_VB)));
typedef uint64_t lm_vecul __attribute__((vector_size(LM_VB)));
LM_INLINE lm_vec lm_pow2_f(lm_vec rounded) { return (lm_vec)(((lm_vecu)rounded << 23) + 0x3f800000u); }
LM_INLINE lm_vec lm_pow2_d(lm_vec rounded) { return (lm_vec)(((lm_vecul)rounded << 52) + 0x3ff0000000000000u); }
#if defined(__AVX512F__)
LM_INLINE lm_vec lm_scale_f(lm_vec v, lm_vec n) { return (lm_vec)_mm512_scalef_ps((__m512)v, (__m512)n); }
LM_INLINE lm_vec lm_scale_d(lm_vec v, lm_vec n) { return (lm_vec)_mm512_scalef_pd((__m512d)v, (__m512d)n); }
#else
LM_INLINE lm_vec lm_scale_f(lm_vec v, lm_vec n) {
    lm_vec half = n * 0.5f + LM_ROUND_F;
    return v * lm_pow2_f(half) * lm_pow2_f(n - (half - LM_ROUND_F) + LM_ROUND_F);
}
LM_INLINE lm_vec lm_scale_d(lm_vec v, lm_vec n) {
    lm_vecd half = (lm_vecd)n * 0.5 + LM_ROUND_D;
    return (lm_vec)((lm_vecd)v * (lm_vecd)lm_pow2_d((lm_vec)half) * (lm_vecd)lm_pow2_d((lm_vec)((lm_vecd)n - (half - LM_ROUND_D) + LM_ROUND_D)));
}
#endif

/* A positive normal x = m * 2^e with m in [sqrt(1/2), sqrt(2)): lm_exponent gives e as a float, lm_mantissa m. */
#define LM_SQRT_HALF_F 0x3f3504f3u
#define LM_SQRT_HALF_D 0x3fe6a09e667f3bcdu
LM_INLINE lm_vec lm_exponent_f(lm_vec x) {
    lm_vecu u = ((lm_vecu)x + (0x3f800000u - LM_SQRT_HALF_F)) >> 23;
    return (lm_vec)(u | 0x4b000000u) - (8388608.0f + 127.0f);
}
LM_INLINE lm_vec lm_exponent_d(lm_vec x) {
    lm_vecul u = ((lm_vecul)x + (0x3ff0000000000000u - LM_SQRT_HALF_D)) >> 52;
    return (lm_vec)((lm_vecd)(u | 0x4330000000000000u) - (4503599627370496.0 + 1023.0));
}
LM_INLINE lm_vec lm_mantissa_f(lm_vec x) { return (lm_vec)((((lm_vecu)x + (0x3f800000u - LM_SQRT_HALF_F)) & 0x007fffffu) + LM_SQRT_HALF_F); }
LM_INLINE lm_vec lm_mantissa_d(lm_vec x) {
    return (lm_vec)((((lm_vecul)x + (0x3ff0000000000000u - LM_SQRT_HALF_D)) & 0x000fffffffffffffu) + LM_SQRT_HALF_D);
}
#endif
