/* Loops that measure the machine: multiply-adds on registers and a copy, for the instruction sets of the kernels.
 *
 * lm_peak computes acc = acc * a + b on CHAINS independent registers. The compiler knows neither a nor b, and each step needs the one
 * before: nothing can be hoisted or merged. With a = b = 1 every lane counts the steps, so the sum proves that they were executed. */
#ifndef LAMELLA_PROBE_H
#define LAMELLA_PROBE_H
#include <stdint.h>

#define LM_CHAINS 12 /* two pipes with a latency of 4 or 5 need 10; AVX2 has 16 registers */
#define LM_TARGET(t) __attribute__((noinline, target(t)))

#define LM_PEAK(name, target, bytes, real)                                                                    \
    target static double name(int64_t steps, real a_, real b_) {                                              \
        typedef real vec __attribute__((vector_size(bytes)));                                                 \
        enum { LANES = bytes / sizeof(real) };                                                                \
        vec acc[LM_CHAINS], a, b;                                                                             \
        double sum = 0;                                                                                       \
        for (int l = 0; l < LANES; l++) a[l] = a_, b[l] = b_;                                                 \
        for (int i = 0; i < LM_CHAINS; i++) {                                                                 \
            acc[i] = a - a;                                                                                   \
            __asm__ volatile("" : "+x"(acc[i])); /* the chains may not be seen to be equal */                 \
        }                                                                                                     \
        for (int64_t s = 0; s < steps; s++)                                                                   \
            for (int i = 0; i < LM_CHAINS; i++) acc[i] = acc[i] * a + b;                                      \
        for (int i = 0; i < LM_CHAINS; i++)                                                                   \
            for (int l = 0; l < LANES; l++) sum += acc[i][l];                                                 \
        return sum;                                                                                           \
    }

#define LM_COPY(name, target, bytes)                                                                          \
    target __attribute__((optimize("no-tree-loop-distribute-patterns"))) static void name(char *to, const char *from, int64_t n) { \
        typedef char vec __attribute__((vector_size(bytes), aligned(1), may_alias));                          \
        int64_t i = 0;                                                                                        \
        for (; i + bytes <= n; i += bytes) *(vec *)(to + i) = *(const vec *)(from + i);                       \
        for (; i < n; i++) to[i] = from[i];                                                                   \
    }

#if defined(__x86_64__)
LM_PEAK(lm_peak_base_f32, LM_TARGET("sse2"), 16, float)
LM_PEAK(lm_peak_base_f64, LM_TARGET("sse2"), 16, double)
LM_PEAK(lm_peak_v3_f32, LM_TARGET("avx2,fma"), 32, float)
LM_PEAK(lm_peak_v3_f64, LM_TARGET("avx2,fma"), 32, double)
LM_PEAK(lm_peak_v4_f32, LM_TARGET("avx512f,avx512vl,avx512dq,avx512bw,fma"), 64, float)
LM_PEAK(lm_peak_v4_f64, LM_TARGET("avx512f,avx512vl,avx512dq,avx512bw,fma"), 64, double)
LM_COPY(lm_copy_base, LM_TARGET("sse2"), 16)
LM_COPY(lm_copy_v3, LM_TARGET("avx2"), 32)
LM_COPY(lm_copy_v4, LM_TARGET("avx512f,avx512bw"), 64)
#else
LM_PEAK(lm_peak_base_f32, __attribute__((noinline)), 16, float)
LM_PEAK(lm_peak_base_f64, __attribute__((noinline)), 16, double)
LM_COPY(lm_copy_base, __attribute__((noinline)), 16)
#endif

static inline int lm_lanes(int isa, int item) { return (16 << isa) / item; }

static inline double lm_peak(int isa, int item, int64_t steps) {
#if defined(__x86_64__)
    if (isa == 2) return item == 8 ? lm_peak_v4_f64(steps, 1, 1) : lm_peak_v4_f32(steps, 1, 1);
    if (isa == 1) return item == 8 ? lm_peak_v3_f64(steps, 1, 1) : lm_peak_v3_f32(steps, 1, 1);
#endif
    return item == 8 ? lm_peak_base_f64(steps, 1, 1) : lm_peak_base_f32(steps, 1, 1);
}

static inline void lm_copy(int isa, char *to, const char *from, int64_t n) {
#if defined(__x86_64__)
    if (isa == 2) { lm_copy_v4(to, from, n); return; }
    if (isa == 1) { lm_copy_v3(to, from, n); return; }
#endif
    lm_copy_base(to, from, n);
}
#endif
