"""Memory formats.

Shapes are always (N, C, H, W). An array is *channels-last* when its memory runs
N, H, W, C. Strides of axes of size 1 say nothing, so an array can be both
channels-last and C-contiguous.
"""

from __future__ import annotations

import numpy as np

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
reorders = 0  # copies made only to change the memory format; a test holds it at zero through a training step


def is_channels_last(x: np.ndarray) -> bool:
    """Whether the memory of x (N, C, *spatial) runs N, *spatial, C without gaps."""
    return np.moveaxis(x, 1, -1).flags.c_contiguous


def empty_channels_last(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An uninitialised (N, C, *spatial) array in channels-last memory."""
    return np.moveaxis(np.empty((shape[0], *shape[2:], shape[1]), dtype), -1, 1)


def channels_last(x: np.ndarray) -> np.ndarray:
    """x itself if its memory is channels-last, else a copy that is."""
    global reorders
    last = np.moveaxis(x, 1, -1)
    if last.flags.c_contiguous:
        return x
    reorders += 1
    return np.moveaxis(np.ascontiguousarray(last), -1, 1)


def c_contiguous(x: np.ndarray) -> np.ndarray:
    """x itself if it is C-contiguous, else a copy that is."""
    global reorders
    if x.flags.c_contiguous:
        return x
    reorders += 1
    return np.ascontiguousarray(x)


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
