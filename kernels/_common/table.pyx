"""Lists of arrays as tables of addresses, for kernels that walk over many arrays in one call."""
cimport numpy as cnp

from lamella.kernels._common.types cimport i64

cnp.import_array()


def addresses(cnp.ndarray memory, *lists):
    """Write the addresses of the arrays of each list into `memory`, 8 bytes each, list after list; None counts as an empty list."""
    cdef i64 *word = <i64 *>cnp.PyArray_DATA(memory)
    cdef i64 *end = word + cnp.PyArray_NBYTES(memory) // sizeof(i64)
    for arrays in lists:
        if arrays is None:
            continue
        if len(arrays) > end - word:
            raise ValueError("a table of addresses has no room for its arrays")
        for array in arrays:
            word[0] = <i64>cnp.PyArray_DATA(<cnp.ndarray?>array)
            word += 1
