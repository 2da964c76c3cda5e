"""The types of every kernel: one index type, one fused element type."""
from libc.stdint cimport int32_t, int64_t, uint8_t

ctypedef int64_t i64
ctypedef int32_t i32
ctypedef uint8_t u8

ctypedef fused real:
    float
    double
