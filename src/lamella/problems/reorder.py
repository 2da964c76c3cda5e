"""Copies between memory formats."""

from __future__ import annotations

import numpy as np

from lamella.problems.base import Problem


class ReorderProblem(Problem):
    """out (mb, cols, rows) = x (mb, rows, cols), every matrix transposed."""

    operation = "reorder"
    FIELDS = ("mb", "rows", "cols")
    __slots__ = FIELDS

    def __init__(self, mb: int, rows: int, cols: int, dtype: np.dtype):
        self.mb, self.rows, self.cols, self.dtype = mb, rows, cols, np.dtype(dtype)
        if min(mb, rows, cols) < 0:
            raise ValueError(f"reorder: sizes must not be negative, got {(mb, rows, cols)}")
        self.flops = 0
        self.bytes = 2 * mb * rows * cols * self.dtype.itemsize
