"""The call of a Numba kernel: what is the same for every call is worked out once, the rest is done here, in C.

A `Program` holds the words of a task's context (_common/nb.py) and the stages that run over them. A call

    copies the words        so that several threads may be in the same program
    fills in what is new    the addresses of its arrays, and strides where the kernel asks for them
    runs the stages         on the pool, without the GIL
"""
cimport numpy as cnp
from libc.string cimport memcpy

from cpython.object cimport PyObject
from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for, task_fn
from lamella.kernels._common.types cimport i64

cnp.import_array()

cdef enum:
    WORDS = 128     # of a context at most
    ARRAYS = 32     # of a call


cdef class Program:
    """
    words    int64 array: the context
    places   rows (word, argument, axis, value): words[word] = the address of the argument's memory + value, if axis is -1, otherwise
             its stride along the axis in elements; None has the address 0
    stages   rows (task, number of tasks, bytes per slot, first setting, end of its settings)
    times    of the stages: ns of a single thread
    settings rows (word, value): what changes in the context before a stage
    shared   bytes at the beginning of the scratch, the last argument; slots begin behind them
    """
    def __init__(self, words, places, stages, times, settings, i64 shared, Py_ssize_t arguments, kept):
        if len(words) > WORDS:
            raise ValueError(f"a context has at most {WORDS} words, got {len(words)}")
        self.words, self.places, self.stages, self.times, self.settings = words, places, stages, times, settings
        self.shared, self.arguments, self.kept = shared, arguments, kept

    def __call__(self, *arrays):
        cdef PyObject *given[ARRAYS]
        cdef Py_ssize_t i
        if len(arrays) > ARRAYS:
            raise TypeError(f"at most {ARRAYS} arrays, got {len(arrays)}")
        for i in range(len(arrays)):
            given[i] = <PyObject *>arrays[i]
        self.run(given, len(arrays))

    cdef int run(self, PyObject **arrays, Py_ssize_t count) except -1:
        cdef i64 words[WORDS]
        cdef Py_ssize_t i, j
        cdef i64 slots, nbytes
        cdef PyObject *given
        if count < self.arguments:
            raise TypeError(f"expected {self.arguments} arrays, got {count}")
        memcpy(words, &self.words[0], self.words.shape[0] * sizeof(i64))
        for i in range(self.places.shape[0]):
            given = arrays[self.places[i, 1]]
            if given == <PyObject *>None:
                words[self.places[i, 0]] = 0
            elif self.places[i, 2] < 0:
                words[self.places[i, 0]] = <i64>cnp.PyArray_DATA(<cnp.ndarray?><object>given) + self.places[i, 3]
            else:
                words[self.places[i, 0]] = (
                    cnp.PyArray_STRIDE(<cnp.ndarray?><object>given, <int>self.places[i, 2]) // cnp.PyArray_ITEMSIZE(<cnp.ndarray><object>given)
                )
        nbytes = cnp.PyArray_NBYTES(<cnp.ndarray?><object>arrays[count - 1]) - self.shared
        with nogil:
            for i in range(self.stages.shape[0]):
                for j in range(self.stages[i, 3], self.stages[i, 4]):
                    words[self.settings[j, 0]] = self.settings[j, 1]
                slots = nbytes // self.stages[i, 2] if self.stages[i, 2] else ANY_SLOTS
                parallel_for(<task_fn><void *>self.stages[i, 0], words, self.stages[i, 1], self.times[i], slots)
        return 0
