"""Memory formats.

Shapes are always (N, C, H, W). An array is *channels-last* when its memory runs
N, H, W, C. Strides of axes of size 1 say nothing, so an array can be both
channels-last and C-contiguous.
"""

from __future__ import annotations

import numpy as np

from lamella import memory
from lamella.problems import ReorderProblem
from lamella.registry import select

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
reorders = 0  # copies made only to change the memory format; a test holds it at zero through a training step


def is_channels_last(x: np.ndarray) -> bool:
    """Whether the memory of x (N, C, *spatial) runs N, *spatial, C without gaps."""
    if x.ndim != 4:
        return _last(x).flags.c_contiguous
    n, c, h, w = x.shape
    a, b, d, e = x.strides
    row = x.itemsize * c * w
    if (c == 1 or b == x.itemsize) and (w == 1 or e == x.itemsize * c) and (h == 1 or d == row) and (n == 1 or a == row * h):
        return True
    return not x.size


def _last(x: np.ndarray) -> np.ndarray:
    """The view (N, *spatial, C) of x (N, C, *spatial)."""
    return x.transpose(0, *range(2, x.ndim), 1)


def empty_channels_last(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An uninitialised (N, C, *spatial) array in channels-last memory."""
    dtype = np.dtype(dtype)
    if len(shape) == 4:
        n, c, h, w = shape
        pixel = dtype.itemsize * c
        return memory.empty((n, c, h, w), dtype, (pixel * w * h, dtype.itemsize, pixel * w, pixel))
    return np.moveaxis(np.empty((shape[0], *shape[2:], shape[1]), dtype), -1, 1)


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


def channels_last(x: np.ndarray) -> np.ndarray:
    """x itself if its memory is channels-last, else a copy that is."""
    global reorders
    if is_channels_last(x):
        return x
    reorders += 1
    copy = _reordered(x, True)
    return np.moveaxis(np.ascontiguousarray(_last(x)), -1, 1) if copy is None else copy


def c_contiguous(x: np.ndarray) -> np.ndarray:
    """x itself if it is C-contiguous, else a copy that is."""
    global reorders
    if x.flags.c_contiguous:
        return x
    reorders += 1
    copy = _reordered(x, False)
    return np.ascontiguousarray(x) if copy is None else copy


def is_dense(x: np.ndarray) -> bool:
    """Whether the elements fill one block of memory, in whatever order of axes."""
    if x.flags.c_contiguous or x.flags.f_contiguous:
        return True
    axes = sorted((i for i in range(x.ndim) if x.shape[i] != 1), key=lambda i: -x.strides[i])
    return x.transpose(axes + [i for i in range(x.ndim) if x.shape[i] == 1]).flags.c_contiguous


def dense(x: np.ndarray) -> np.ndarray:
    """x itself if it is dense, else a C-contiguous copy."""
    return x if is_dense(x) else np.ascontiguousarray(x)


def like(x: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """x itself if its strides are those of the dense `reference` of the same shape, else a copy in that memory order."""
    global reorders
    if x.strides == reference.strides:
        return x
    if reference.flags.c_contiguous:
        return c_contiguous(x)
    if is_channels_last(reference):
        return channels_last(x)
    copy = np.empty_like(reference, dtype=x.dtype)  # keeps the order of axes of a dense array
    if copy.strides == x.strides:
        return x
    reorders += 1
    copy[...] = x
    return copy


def operand(x: np.ndarray, operation: str, name: str = "input") -> np.ndarray:
    """A float32 or float64 array as kernels take them: native byte order and aligned; anything else is refused with the fix."""
    if x.dtype not in FLOATS:
        if x.dtype.newbyteorder("=") in FLOATS:
            return x.astype(x.dtype.newbyteorder("="))
        hint = "complex numbers have no place in these operations" if x.dtype.kind == "c" else f"convert it: {name}.astype('float32')"
        raise TypeError(f"{operation}: expected {name} of float32 or float64, got {x.dtype}; {hint}")
    return x if x.flags.aligned else x.copy(order="K")


def same_dtype(operation: str, **arrays: np.ndarray | None) -> np.dtype:
    """The one dtype of all arrays given."""
    found = {name: x.dtype for name, x in arrays.items() if x is not None}
    if len(set(found.values())) > 1:
        listing = ", ".join(f"{name} {dtype}" for name, dtype in found.items())
        raise TypeError(f"{operation}: expected one dtype, got {listing}; convert with .astype")
    return next(iter(found.values()))
