/* The transpose of a square of registers: as many rows as a register has lanes.
 *
 * Eklundh's method: for every bit b of the lane number, rows i and i + b exchange the lanes in which b differs from their own
 * bit. log2(lanes) rounds of as many shuffles as there are rows; all in registers. */
#ifndef LAMELLA_TRANSPOSE_H
#define LAMELLA_TRANSPOSE_H
#include "simd.h"

/* Lane l of the new upper row (LO) and lower row (HI), as a lane of the old pair; w lanes in a row. */
#define LM_LO(l, b, w) (((l) & (b)) ? (w) + ((l) ^ (b)) : (l))
#define LM_HI(l, b, w) (((l) & (b)) ? (w) + (l) : (l) ^ (b))
#define LM_MASK2(F, b) F(0, b, 2), F(1, b, 2)
#define LM_MASK4(F, b) F(0, b, 4), F(1, b, 4), F(2, b, 4), F(3, b, 4)
#define LM_MASK8(F, b) F(0, b, 8), F(1, b, 8), F(2, b, 8), F(3, b, 8), F(4, b, 8), F(5, b, 8), F(6, b, 8), F(7, b, 8)
#define LM_MASK16(F, b) \
    F(0, b, 16), F(1, b, 16), F(2, b, 16), F(3, b, 16), F(4, b, 16), F(5, b, 16), F(6, b, 16), F(7, b, 16), \
    F(8, b, 16), F(9, b, 16), F(10, b, 16), F(11, b, 16), F(12, b, 16), F(13, b, 16), F(14, b, 16), F(15, b, 16)

#define LM_ROUND(TYPE, INDEX, W, MASK, b)                                      \
    _Pragma("GCC unroll 16") for (int i = 0; i < W; i++) if (!(i & b)) {       \
        TYPE upper = (TYPE)r[i], lower = (TYPE)r[i + b];                       \
        r[i] = (lm_vec)LM_PICK(INDEX, upper, lower, MASK(LM_LO, b));           \
        r[i + b] = (lm_vec)LM_PICK(INDEX, upper, lower, MASK(LM_HI, b));       \
    }

#if LM_VB == 64
#define LM_ROUNDS_F LM_ROUND(lm_vec, lm_veci, 16, LM_MASK16, 1) LM_ROUND(lm_vec, lm_veci, 16, LM_MASK16, 2) LM_ROUND(lm_vec, lm_veci, 16, LM_MASK16, 4) LM_ROUND(lm_vec, lm_veci, 16, LM_MASK16, 8)
#define LM_ROUNDS_D LM_ROUND(lm_vecd, lm_vecl, 8, LM_MASK8, 1) LM_ROUND(lm_vecd, lm_vecl, 8, LM_MASK8, 2) LM_ROUND(lm_vecd, lm_vecl, 8, LM_MASK8, 4)
#elif LM_VB == 32
#define LM_ROUNDS_F LM_ROUND(lm_vec, lm_veci, 8, LM_MASK8, 1) LM_ROUND(lm_vec, lm_veci, 8, LM_MASK8, 2) LM_ROUND(lm_vec, lm_veci, 8, LM_MASK8, 4)
#define LM_ROUNDS_D LM_ROUND(lm_vecd, lm_vecl, 4, LM_MASK4, 1) LM_ROUND(lm_vecd, lm_vecl, 4, LM_MASK4, 2)
#else
#define LM_ROUNDS_F LM_ROUND(lm_vec, lm_veci, 4, LM_MASK4, 1) LM_ROUND(lm_vec, lm_veci, 4, LM_MASK4, 2)
#define LM_ROUNDS_D LM_ROUND(lm_vecd, lm_vecl, 2, LM_MASK2, 1)
#endif

/* Lane l of the result is the sum of all lanes of r[l]: the rounds of the transpose, but the two rows of a pair are added and one remains. */
#define LM_SUM_ROUND(TYPE, INDEX, W, MASK, b)                                  \
    _Pragma("GCC unroll 16") for (int i = 0; i < W; i += 2 * b) {              \
        TYPE upper = (TYPE)r[i], lower = (TYPE)r[i + b];                       \
        r[i] = (lm_vec)(LM_PICK(INDEX, upper, lower, MASK(LM_LO, b)) + LM_PICK(INDEX, upper, lower, MASK(LM_HI, b))); \
    }
#if LM_VB == 64
LM_INLINE lm_vec lm_sum_lanes_f(lm_vec *r) {
    LM_SUM_ROUND(lm_vec, lm_veci, 16, LM_MASK16, 1) LM_SUM_ROUND(lm_vec, lm_veci, 16, LM_MASK16, 2)
    LM_SUM_ROUND(lm_vec, lm_veci, 16, LM_MASK16, 4) LM_SUM_ROUND(lm_vec, lm_veci, 16, LM_MASK16, 8)
    return r[0];
}
LM_INLINE lm_vec lm_sum_lanes_d(lm_vec *r) {
    LM_SUM_ROUND(lm_vecd, lm_vecl, 8, LM_MASK8, 1) LM_SUM_ROUND(lm_vecd, lm_vecl, 8, LM_MASK8, 2) LM_SUM_ROUND(lm_vecd, lm_vecl, 8, LM_MASK8, 4)
    return r[0];
}
#elif LM_VB == 32
LM_INLINE lm_vec lm_sum_lanes_f(lm_vec *r) {
    LM_SUM_ROUND(lm_vec, lm_veci, 8, LM_MASK8, 1) LM_SUM_ROUND(lm_vec, lm_veci, 8, LM_MASK8, 2) LM_SUM_ROUND(lm_vec, lm_veci, 8, LM_MASK8, 4)
    return r[0];
}
LM_INLINE lm_vec lm_sum_lanes_d(lm_vec *r) {
    LM_SUM_ROUND(lm_vecd, lm_vecl, 4, LM_MASK4, 1) LM_SUM_ROUND(lm_vecd, lm_vecl, 4, LM_MASK4, 2)
    return r[0];
}
#else
LM_INLINE lm_vec lm_sum_lanes_f(lm_vec *r) {
    LM_SUM_ROUND(lm_vec, lm_veci, 4, LM_MASK4, 1) LM_SUM_ROUND(lm_vec, lm_veci, 4, LM_MASK4, 2)
    return r[0];
}
LM_INLINE lm_vec lm_sum_lanes_d(lm_vec *r) {
    LM_SUM_ROUND(lm_vecd, lm_vecl, 2, LM_MASK2, 1)
    return r[0];
}
#endif

/* Lane l of r[0] becomes the sum of the lower lanes of r[l], that of the result is the sum of its upper lanes: the halves change places first. */
#if LM_VB == 64
LM_INLINE lm_vec lm_sum_halves_f(lm_vec *r) {
    LM_ROUND(lm_vec, lm_veci, 16, LM_MASK16, 8)
    LM_SUM_ROUND(lm_vec, lm_veci, 16, LM_MASK16, 1) LM_SUM_ROUND(lm_vec, lm_veci, 16, LM_MASK16, 2) LM_SUM_ROUND(lm_vec, lm_veci, 16, LM_MASK16, 4)
    return r[8];
}
LM_INLINE lm_vec lm_sum_halves_d(lm_vec *r) {
    LM_ROUND(lm_vecd, lm_vecl, 8, LM_MASK8, 4)
    LM_SUM_ROUND(lm_vecd, lm_vecl, 8, LM_MASK8, 1) LM_SUM_ROUND(lm_vecd, lm_vecl, 8, LM_MASK8, 2)
    return r[4];
}
#elif LM_VB == 32
LM_INLINE lm_vec lm_sum_halves_f(lm_vec *r) {
    LM_ROUND(lm_vec, lm_veci, 8, LM_MASK8, 4)
    LM_SUM_ROUND(lm_vec, lm_veci, 8, LM_MASK8, 1) LM_SUM_ROUND(lm_vec, lm_veci, 8, LM_MASK8, 2)
    return r[4];
}
LM_INLINE lm_vec lm_sum_halves_d(lm_vec *r) {
    LM_ROUND(lm_vecd, lm_vecl, 4, LM_MASK4, 2)
    LM_SUM_ROUND(lm_vecd, lm_vecl, 4, LM_MASK4, 1)
    return r[2];
}
#else
LM_INLINE lm_vec lm_sum_halves_f(lm_vec *r) {
    LM_ROUND(lm_vec, lm_veci, 4, LM_MASK4, 2)
    LM_SUM_ROUND(lm_vec, lm_veci, 4, LM_MASK4, 1)
    return r[2];
}
LM_INLINE lm_vec lm_sum_halves_d(lm_vec *r) {
    LM_ROUND(lm_vecd, lm_vecl, 2, LM_MASK2, 1)
    return r[1];
}
#endif

/* dst[j * ld_dst + i] = src[i * ld_src + j] for i < m, j < n; m and n at most a register's lanes. */
#define LM_TRANSPOSE(SUFFIX, ELEMENT, W, ROUNDS)                                                                                 \
    LM_INLINE void lm_transpose##SUFFIX(const ELEMENT *src, int64_t ld_src, ELEMENT *dst, int64_t ld_dst, int64_t m, int64_t n) { \
        lm_vec r[W];                                                                                                              \
        if (m == W && n == W) {                                                                                                   \
            _Pragma("GCC unroll 16") for (int i = 0; i < W; i++) r[i] = lm_load(src + i * ld_src);                                \
            ROUNDS                                                                                                                \
            _Pragma("GCC unroll 16") for (int i = 0; i < W; i++) lm_store(dst + i * ld_dst, r[i]);                                \
        } else if (LM_VB >= 32 && m >= 4 && n >= 4) {                                                                             \
            _Pragma("GCC unroll 16") for (int i = 0; i < W; i++) r[i] = i < m ? lm_load_n##SUFFIX(src + i * ld_src, n) : lm_zero(); \
            ROUNDS                                                                                                                \
            _Pragma("GCC unroll 16") for (int i = 0; i < W; i++) if (i < n) lm_store_n##SUFFIX(dst + i * ld_dst, m, r[i]);        \
        } else if (m < n) {                                                                                                       \
            for (int64_t j = 0; j < n; j++) for (int64_t i = 0; i < m; i++) dst[j * ld_dst + i] = src[i * ld_src + j];            \
        } else {                                                                                                                  \
            for (int64_t i = 0; i < m; i++) for (int64_t j = 0; j < n; j++) dst[j * ld_dst + i] = src[i * ld_src + j];            \
        }                                                                                                                         \
    }
LM_TRANSPOSE(_f, float, LM_VF, LM_ROUNDS_F)
LM_TRANSPOSE(_d, double, LM_VD, LM_ROUNDS_D)
#endif
