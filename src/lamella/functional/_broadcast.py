"""What elementwise operations share: operands of one dtype, memory formats, and the sums that undo a broadcast."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lamella.layout import FLOATS, empty_channels_last, is_dense, operand, same_dtype
from lamella.memory import LEAST, empty_like
from lamella.problems import ArithmeticProblem
from lamella.registry import select

add_reduce: Any = np.add.reduce  # np.sum without its detours
_CHANNELS_LAST = {3: (0, 2, 1), 4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}


def channels_last_only(x: np.ndarray) -> bool:
    """Whether the memory of x is channels-last and not C-contiguous too."""
    axes = _CHANNELS_LAST.get(x.ndim)
    return axes is not None and not x.flags.c_contiguous and x.transpose(axes).flags.c_contiguous


def empty(shape: tuple[int, ...], dtype: Any, channels_last: bool) -> np.ndarray:
    return empty_channels_last(shape, dtype) if channels_last else np.empty(shape, dtype)


def zeros(shape: tuple[int, ...], dtype: Any, channels_last: bool) -> np.ndarray:
    out = empty(shape, dtype, channels_last)
    out.fill(0)
    return out


def number(x: Any, operation: str, name: str) -> Any:
    """x as an ndarray of numbers or booleans, or a Python number, whose dtype gives way to that of an array."""
    if isinstance(x, np.generic) and x.dtype.kind in "fiub":
        return x.item()
    if isinstance(x, (bool, int, float)):
        return x
    x = np.asarray(x)
    return x if x.dtype.kind in "iub" else operand(x, operation, name)


def pair(operation: str, x: Any, y: Any) -> tuple[Any, Any]:
    """Two operands of one dtype: numbers, single elements and integers give way to a floating array, Python's numbers to NumPy's."""
    if type(x) is np.ndarray and type(y) is np.ndarray and x.dtype is y.dtype and x.dtype in FLOATS and x.flags.aligned and y.flags.aligned:
        return x, y
    floats = [v.dtype for v in (x, y) if isinstance(v, np.floating)]
    x, y = number(x, operation, "input"), number(y, operation, "other")
    arrays = isinstance(x, np.ndarray), isinstance(y, np.ndarray)
    if not any(arrays):
        if floats:
            return np.asarray(x, np.float64 if any(dtype.itemsize > 4 for dtype in floats) else np.float32), y
        return np.asarray(x, np.float32 if isinstance(x, float) else None), y
    if not all(arrays):
        array, scalar = (x, y) if arrays[0] else (y, x)
        if isinstance(scalar, float) and array.dtype.kind != "f":
            array = array.astype(np.float32)
        return (array, scalar) if arrays[0] else (scalar, array)
    if x.dtype != y.dtype:
        kinds = x.dtype.kind == "f", y.dtype.kind == "f"
        if all(kinds):
            if (x.size == 1) == (y.size == 1):
                same_dtype(operation, input=x, other=y)
            x, y = (x.astype(y.dtype), y) if x.size == 1 else (x, y.astype(x.dtype))
        elif any(kinds):
            x, y = (x, y.astype(x.dtype)) if kinds[0] else (x.astype(y.dtype), y)
    return x, y


def _recyclable(x: np.ndarray) -> bool:
    """Whether a result like x is worth a block of lamella.memory."""
    return x.nbytes >= LEAST and x.dtype in FLOATS and is_dense(x)


_COMPILED: dict[Any, str] = {np.add: "add", np.subtract: "sub", np.multiply: "mul", np.divide: "div"}


def arithmetic(function: str, x: np.ndarray, y: np.ndarray, activation: str = "none") -> np.ndarray:
    """The compiled function of two dense float arrays of one shape, dtype and memory order."""
    p = ArithmeticProblem.of(x.size, x.dtype, function, activation)
    out = empty_like(x)
    select("arithmetic", "forward", p)(p, x, y, out)
    return out


def alike(x: Any, y: Any) -> bool:
    """Whether `arithmetic` takes them."""
    return (
        type(x) is np.ndarray
        and type(y) is np.ndarray
        and x.shape == y.shape
        and x.strides == y.strides
        and x.dtype == y.dtype
        and x.dtype in FLOATS
        and is_dense(x)
    )


def plus(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The sum of two gradients."""
    return binary("add", np.add, x, y)


def binary(operation: str, ufunc: Callable[..., Any], x: Any, y: Any, dtype: Any = None) -> np.ndarray:
    """ufunc(x, y), in channels-last memory when any of the two is; silent about infinities and NaN, which propagate.

    dtype: of the result, where it is not that of floating operands.
    """
    with np.errstate(all="ignore"):
        try:
            if type(x) is np.ndarray and type(y) is np.ndarray and x.strides != y.strides:
                last = x if channels_last_only(x) else y if channels_last_only(y) else None
                if last is not None and (dtype is not None or (x.dtype is y.dtype and x.dtype in FLOATS)):
                    shape = x.shape if x.shape == y.shape else np.broadcast_shapes(x.shape, y.shape)
                    if len(shape) == last.ndim:
                        return ufunc(x, y, out=empty_channels_last(shape, dtype or x.dtype))
            elif (
                type(x) is np.ndarray
                and type(y) is np.ndarray
                and dtype is None
                and _recyclable(x)
                and x.shape == y.shape
                and x.dtype is y.dtype
            ):
                function = _COMPILED.get(ufunc)
                return ufunc(x, y, out=empty_like(x)) if function is None else arithmetic(function, x, y)
            out = ufunc(x, y)
        except ValueError as error:
            if "broadcast" not in str(error) and "shape mismatch" not in str(error):
                raise
            raise ValueError(
                f"{operation}: shapes {np.shape(x)} and {np.shape(y)} do not broadcast; from the last axis backwards, sizes must be equal or 1"
            ) from None
    return out if type(out) is np.ndarray else np.asarray(out)


def unary(ufunc: Callable[..., Any], x: np.ndarray) -> np.ndarray:
    """ufunc(x), in the memory order of x."""
    with np.errstate(all="ignore"):
        out = ufunc(x)
    return out if type(out) is np.ndarray else np.asarray(out)


def total(x: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """The sum over axes. NumPy adds pairwise only along one run of memory; elsewhere, many float32 terms are summed in float64."""
    dtype = None
    if x.dtype == np.float32 and math.prod(x.shape[i] for i in axes) > 1024:
        if len(axes) == x.ndim:
            run = x.flags.c_contiguous or channels_last_only(x)
        else:
            run = x.flags.c_contiguous and sorted(axes) == list(range(x.ndim - len(axes), x.ndim))
        if not run:
            dtype = np.float64
    return np.asarray(add_reduce(x, axis=axes, keepdims=keepdims, dtype=dtype), x.dtype)


def unbroadcast(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of an operand of `shape` that was broadcast to the shape of g: g itself, or its sum over the repeated axes."""
    if g.shape == shape:
        return g
    lead = g.ndim - len(shape)
    axes = (*range(lead), *(lead + i for i, n in enumerate(shape) if n == 1 and g.shape[lead + i] != 1))
    return total(g, axes, keepdims=True).reshape(shape) if axes else g.reshape(shape)


def axis(operation: str, dim: Any, ndim: int) -> int:
    """One axis, not negative."""
    if not hasattr(dim, "__index__") or isinstance(dim, (bool, np.bool_)):
        raise TypeError(f"{operation}: expected dim to be an integer, got {dim!r}")
    if not -max(ndim, 1) <= dim < max(ndim, 1):
        raise ValueError(f"{operation}: dim {dim} is out of range for {ndim} axes; expected {-max(ndim, 1)} to {max(ndim, 1) - 1}")
    return dim.__index__() % max(ndim, 1)


def axes(operation: str, dim: Any, ndim: int) -> tuple[int, ...]:
    """Several axes, not negative, each once; None and () are all."""
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        return tuple(range(ndim))
    found = tuple(axis(operation, d, ndim) for d in (dim if isinstance(dim, (tuple, list)) else (dim,)))
    if len(set(found)) != len(found):
        raise ValueError(f"{operation}: dim {dim} names an axis twice")
    return found if ndim else ()
