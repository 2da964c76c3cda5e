"""The program of a Numba kernel (program.pyx), for whoever calls it from C."""
from cpython.object cimport PyObject
from lamella.kernels._common.types cimport i64


cdef class Program:
    cdef const i64[::1] words
    cdef const i64[:, ::1] places, stages, settings
    cdef const double[::1] times
    cdef i64 shared
    cdef Py_ssize_t arguments
    cdef readonly object kept

    cdef int run(self, PyObject **arrays, Py_ssize_t count) except -1
