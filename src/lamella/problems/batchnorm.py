"""The geometry of batch normalisation."""

from __future__ import annotations

import math

import numpy as np

from lamella.problems.base import Problem


class BatchNormProblem(Problem):
    """Normalise `rows` values (images times pixels) of each of `channels` channels; eps is added to the variance."""

    operation = "batchnorm"
    FIELDS = ("rows", "channels")
    __slots__ = ("rows", "channels", "eps")

    def __init__(self, rows: int, channels: int, dtype: np.dtype, eps: float = 1e-5):
        if not (eps >= 0 and math.isfinite(eps)):
            raise ValueError(f"batch_norm: expected a finite eps >= 0, got {eps}")
        self.rows, self.channels, self.dtype, self.eps = rows, channels, np.dtype(dtype), float(eps)
        self.flops = 7 * rows * channels
        self.bytes = 3 * rows * channels * self.dtype.itemsize
