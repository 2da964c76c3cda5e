"""Prefix sums within a register (scan.h): of 32-bit whole numbers, which wrap around (u), and of doubles (d)."""
from lamella.kernels._common.simd cimport vec
from lamella.kernels._common.types cimport u8

cdef extern from "scan.h" nogil:
    int LM_VF, LM_VD
    vec scan_u "lm_scan_u"(vec) noexcept            # lane l: the sum of lanes 0 to l
    vec scan_d "lm_scan_d"(vec) noexcept
    vec last_u "lm_last_u"(vec) noexcept            # the last lane, in every lane
    vec last_d "lm_last_d"(vec) noexcept
    unsigned int first_u "lm_lane0_u"(vec) noexcept
    double first_d "lm_lane0_d"(vec) noexcept
    vec add_u "lm_add_u"(vec, vec) noexcept
    vec mul_u "lm_mul_u"(vec, vec) noexcept
    vec bytes_u "lm_bytes_u"(const u8 *) noexcept   # LM_VF bytes
    vec floats_d "lm_floats_d"(const float *) noexcept
    vec half_d "lm_half_d"(vec, int) noexcept       # a half of the lanes, as doubles
