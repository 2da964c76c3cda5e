"""Softmax and the losses on top of it, over rows of classes."""

from __future__ import annotations

import numpy as np

from lamella.problems.base import Problem

REDUCTIONS = ("none", "sum", "mean")


class SoftmaxProblem(Problem):
    """`rows` rows of `classes` numbers. The other fields concern the losses only; see the manual page of kernels/softmax."""

    operation = "softmax"
    FIELDS = ("rows", "classes", "reduction_kind", "ignore_index")
    __slots__ = ("rows", "classes", "reduction", "reduction_kind", "ignore_index", "label_smoothing")

    def __init__(
        self,
        rows: int,
        classes: int,
        dtype: np.dtype,
        reduction: str = "mean",
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
    ):
        self.rows, self.classes, self.dtype = rows, classes, np.dtype(dtype)
        if reduction not in REDUCTIONS:
            raise ValueError(f"softmax: reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}")
        self.reduction, self.reduction_kind = reduction, REDUCTIONS.index(reduction)
        self.ignore_index, self.label_smoothing = ignore_index, float(label_smoothing)
        self.flops = 5 * rows * classes
        self.bytes = 2 * rows * classes * self.dtype.itemsize
