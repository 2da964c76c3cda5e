"""Memory formats.

Shapes are always (N, C, H, W). An array is *channels-last* when its memory runs
N, H, W, C. Strides of axes of size 1 say nothing, so an array can be both
channels-last and C-contiguous.
"""

from __future__ import annotations

import numpy as np

from lamella import memory
from lamella.core import c_contiguous as c_contiguous
from lamella.core import channels_last as channels_last
from lamella.core import copies_by, empty_channels_last, is_channels_last, is_dense
from lamella.core import like as like
from lamella.core import operand as operand
from lamella.problems import ReorderProblem
from lamella.registry import select

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
reorders = 0  # copies made only to change the memory format; a test holds it at zero through a training step


def _last(x: np.ndarray) -> np.ndarray:
    """The view (N, *spatial, C) of x (N, C, *spatial)."""
    return x.transpose(0, *range(2, x.ndim), 1)


def _reordered(x: np.ndarray, to_last: bool) -> np.ndarray | None:
    """A copy in the other memory format by our kernel; None where it does not apply."""
    if x.ndim != 4 or x.dtype not in FLOATS or not x.flags.aligned or not (x.flags.c_contiguous if to_last else is_channels_last(x)):
        return None
    n, c, h, w = x.shape
    out = empty_channels_last(x.shape, x.dtype) if to_last else memory.empty(x.shape, x.dtype)
    rows, cols = (c, h * w) if to_last else (h * w, c)
    p = ReorderProblem.of(n, rows, cols, x.dtype)
    source, target = (x, _last(out)) if to_last else (_last(x), out)
    select("reorder", "forward", p)(p, source.reshape(n, rows, cols), target.reshape(n, cols, rows))
    return out


def _to_channels_last(x: np.ndarray) -> np.ndarray:
    global reorders
    reorders += 1
    copy = _reordered(x, True)
    return np.moveaxis(np.ascontiguousarray(_last(x)), -1, 1) if copy is None else copy


def _to_c_contiguous(x: np.ndarray) -> np.ndarray:
    global reorders
    reorders += 1
    copy = _reordered(x, False)
    return np.ascontiguousarray(x) if copy is None else copy


def _to_like(x: np.ndarray, reference: np.ndarray) -> np.ndarray:
    global reorders
    copy = np.empty_like(reference, dtype=x.dtype)  # keeps the order of axes of a dense array
    if copy.strides == x.strides:
        return x
    reorders += 1
    copy[...] = x
    return copy


copies_by(_to_channels_last, _to_c_contiguous, _to_like)


def dense(x: np.ndarray) -> np.ndarray:
    """x itself if it is dense, else a C-contiguous copy."""
    return x if is_dense(x) else np.ascontiguousarray(x)


def same_dtype(operation: str, **arrays: np.ndarray | None) -> np.dtype:
    """The one dtype of all arrays given."""
    found = {name: x.dtype for name, x in arrays.items() if x is not None}
    if len(set(found.values())) > 1:
        listing = ", ".join(f"{name} {dtype}" for name, dtype in found.items())
        raise TypeError(f"{operation}: expected one dtype, got {listing}; convert with .astype")
    return next(iter(found.values()))
