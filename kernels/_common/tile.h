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
#endif
