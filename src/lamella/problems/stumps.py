"""Boosting over stumps: features of samples."""

from __future__ import annotations

import numpy as np

from lamella.problems.base import Problem


class StumpsProblem(Problem):
    """So many features of so many samples; where their values come from images, of windows of height x width pixels (else 0)."""

    operation = "stumps"
    FIELDS = ("features", "samples", "height", "width")
    __slots__ = (*FIELDS, "narrow", "same", "order_dtype")

    def __init__(self, features: int, samples: int, height: int, width: int, dtype: np.dtype):
        self.features, self.samples, self.height, self.width, self.dtype = features, samples, height, width, np.dtype(dtype)
        if min(features, samples, height, width) < 0 or samples > 1 << 31:
            raise ValueError(f"stumps: expected sizes of at least 0 and at most 2**31 samples, got {(features, samples, height, width)}")
        self.narrow = samples <= 1 << 15
        self.order_dtype = np.dtype(np.uint16 if self.narrow else np.uint32)
        self.same = self.order_dtype.type(1 << (15 if self.narrow else 31))  # the bit of a sample whose successor has the same value
        self.flops = features * samples
        self.bytes = features * samples * (self.dtype.itemsize + self.order_dtype.itemsize)
