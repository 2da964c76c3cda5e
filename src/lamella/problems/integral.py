"""Integral images."""

from __future__ import annotations

import numpy as np

from lamella.problems.base import Problem


class IntegralProblem(Problem):
    """Sums over everything above and to the left, of mb images of ih x iw pixels: bytes (source "uint8") or numbers of the dtype ("float")."""

    operation = "integral"
    FIELDS = ("mb", "ih", "iw")
    __slots__ = (*FIELDS, "source", "out_shape")

    def __init__(self, mb: int, ih: int, iw: int, source: str, dtype: np.dtype):
        self.mb, self.ih, self.iw, self.source, self.dtype = mb, ih, iw, source, np.dtype(dtype)
        if source not in ("uint8", "float"):
            raise ValueError(f"integral: expected source uint8 or float, got {source!r}")
        if min(mb, ih, iw) < 0:
            raise ValueError(f"integral: sizes must not be negative, got {(mb, ih, iw)}")
        self.out_shape = (mb, ih + 1, iw + 1)
        self.flops = 2 * mb * ih * iw
        self.bytes = mb * ih * iw * (5 if source == "uint8" else self.dtype.itemsize + 8)

    @property
    def sum_dtype(self) -> np.dtype:
        """Of sums and tilted sums."""
        return np.dtype(np.int32 if self.source == "uint8" else np.float64)
