"""Images of bytes in another size."""

from __future__ import annotations

import numpy as np

from lamella.problems.base import Problem


def _taps(source: int, wanted: int) -> np.ndarray:
    """int32 rows (first pixel, weight of the one after it in 1/256), one per pixel wanted."""
    at = (1.0 / (wanted / source)) * (np.arange(wanted) + 0.5) - 0.5
    first = np.floor(at)
    weight = np.rint((at - first) * 256)
    weight[(first < 0) | (first >= source - 1)] = 0
    return np.ascontiguousarray(np.stack([first.clip(0, source - 1), weight], axis=1).astype(np.int32))


class ResampleProblem(Problem):
    """An image of ih x iw bytes as one of oh x ow, interpolated linearly in fixed point; `rows` and `columns` hold places and weights."""

    operation = "resample"
    FIELDS = ("ih", "iw", "oh", "ow")
    __slots__ = (*FIELDS, "rows", "columns")

    def __init__(self, ih: int, iw: int, oh: int, ow: int, dtype: np.dtype):
        self.ih, self.iw, self.oh, self.ow, self.dtype = ih, iw, oh, ow, np.dtype(dtype)
        if min(ih, iw, oh, ow) < 1:
            raise ValueError(f"resample: expected sizes of at least 1, got {(ih, iw)} to {(oh, ow)}")
        self.rows, self.columns = _taps(ih, oh), _taps(iw, ow)
        self.flops = 4 * oh * ow
        self.bytes = ih * iw + oh * ow
