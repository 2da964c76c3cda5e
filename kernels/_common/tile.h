/* From a run-time number of rows to a compile-time one: f must be an always-inlined function whose second argument is that number. */
#ifndef LAMELLA_TILE_H
#define LAMELLA_TILE_H
#include "simd.h"
#if LM_MR == 14
#define LM_MORE_ROWS(f, t, ...)                                                                                                            \
    case 7: f(t, 7, __VA_ARGS__); break;                                                                                                   \
    case 8: f(t, 8, __VA_ARGS__); break;                                                                                                   \
    case 9: f(t, 9, __VA_ARGS__); break;                                                                                                   \
    case 10: f(t, 10, __VA_ARGS__); break;                                                                                                 \
    case 11: f(t, 11, __VA_ARGS__); break;                                                                                                 \
    case 12: f(t, 12, __VA_ARGS__); break;                                                                                                 \
    case 13: f(t, 13, __VA_ARGS__); break;                                                                                                 \
    case 14: f(t, 14, __VA_ARGS__); break;
#elif LM_MR == 6
#define LM_MORE_ROWS(f, t, ...)
#else
#error "lm_switch_rows knows tiles of 6 and 14 rows"
#endif
#define lm_switch_rows(f, t, mr, ...)                                                                                                      \
    switch (mr) {                                                                                                                          \
        case 1: f(t, 1, __VA_ARGS__); break;                                                                                               \
        case 2: f(t, 2, __VA_ARGS__); break;                                                                                               \
        case 3: f(t, 3, __VA_ARGS__); break;                                                                                               \
        case 4: f(t, 4, __VA_ARGS__); break;                                                                                               \
        case 5: f(t, 5, __VA_ARGS__); break;                                                                                               \
        case 6: f(t, 6, __VA_ARGS__); break;                                                                                               \
        LM_MORE_ROWS(f, t, __VA_ARGS__)                                                                                                    \
    }

/* The same for a tile of two blocks of `half` rows each. A case outside pair_fits is never reached, and not compiled: nv is constant. */
#define LM_PAIR(f, t, half, nv, ...)                                                                                                       \
    case half: if (8 < 2 * half * nv && 2 * half * nv <= LM_MR * LM_NV) f(t, half, nv, __VA_ARGS__); break;
#if LM_MR == 14
#define LM_MORE_PAIRS(f, t, nv, ...)                                                                                                       \
    LM_PAIR(f, t, 7, nv, __VA_ARGS__) LM_PAIR(f, t, 8, nv, __VA_ARGS__) LM_PAIR(f, t, 9, nv, __VA_ARGS__)                                  \
    LM_PAIR(f, t, 10, nv, __VA_ARGS__) LM_PAIR(f, t, 11, nv, __VA_ARGS__) LM_PAIR(f, t, 12, nv, __VA_ARGS__)                               \
    LM_PAIR(f, t, 13, nv, __VA_ARGS__) LM_PAIR(f, t, 14, nv, __VA_ARGS__)
#else
#define LM_MORE_PAIRS(f, t, nv, ...)
#endif
#define lm_switch_pairs(f, t, half, nv, ...)                                                                                               \
    switch (half) {                                                                                                                        \
        LM_PAIR(f, t, 3, nv, __VA_ARGS__) LM_PAIR(f, t, 4, nv, __VA_ARGS__) LM_PAIR(f, t, 5, nv, __VA_ARGS__)                              \
        LM_PAIR(f, t, 6, nv, __VA_ARGS__) LM_MORE_PAIRS(f, t, nv, __VA_ARGS__)                                                             \
    }

/* The same for a number that divides the lanes of a register. */
#define lm_switch_powers(f, t, n, ...)                                                                                                     \
    switch (n) {                                                                                                                           \
        case 2: f(t, 2, __VA_ARGS__); break;                                                                                               \
        case 4: f(t, 4, __VA_ARGS__); break;                                                                                               \
        case 8: f(t, 8, __VA_ARGS__); break;                                                                                               \
    }
#endif
