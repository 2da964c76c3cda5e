"""Sums, means and maxima over axes."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from lamella.functional._broadcast import add_reduce, axes, axis, channels_last_only, empty, total, unary, zeros
from lamella.layout import operand
from lamella.tensor import Operation, Tensor, apply

__all__ = ["argmax", "argmin", "max", "mean", "min", "sum"]


def _input(x: Any, operation: str) -> np.ndarray:
    x = np.asarray(x)
    return x if x.dtype.kind in "iub" else operand(x, operation)


def _spread(g: np.ndarray, shape: tuple[int, ...], dims: tuple[int, ...], keepdim: bool, channels_last: bool) -> np.ndarray:
    """A gradient copied along the axes that were reduced, in the memory format of the input."""
    dx = empty(shape, g.dtype, channels_last)
    dx[...] = g if keepdim else g.reshape([1 if i in dims else n for i, n in enumerate(shape)])
    return dx


# sum, mean


def _sum_forward(x: Any, dim: Any, keepdim: bool) -> tuple[np.ndarray, Any]:
    x = _input(x, "sum")
    dims = axes("sum", dim, x.ndim)
    if x.dtype.kind == "f":
        with np.errstate(all="ignore"):
            out = total(x, dims, keepdim)
    else:
        out = np.asarray(add_reduce(x, axis=dims, keepdims=keepdim, dtype=np.int64))
    return out, (x.shape, dims, keepdim, channels_last_only(x))


def _sum_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray]:
    shape, dims, keepdim, channels_last = saved
    return (_spread(g, shape, dims, keepdim, channels_last),)


def _mean_forward(x: Any, dim: Any, keepdim: bool) -> tuple[np.ndarray, Any]:
    x = operand(np.asarray(x), "mean")
    dims = axes("mean", dim, x.ndim)
    count = math.prod(x.shape[i] for i in dims)
    with np.errstate(all="ignore"):
        out = np.asarray(total(x, dims, keepdim) / x.dtype.type(count))
    return out, (x.shape, dims, keepdim, channels_last_only(x), count)


def _mean_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray]:
    shape, dims, keepdim, channels_last, count = saved
    with np.errstate(all="ignore"):
        g = np.asarray(g / g.dtype.type(count))
    return (_spread(g, shape, dims, keepdim, channels_last),)


_SUM = Operation("sum", _sum_forward, _sum_backward)
_MEAN = Operation("mean", _mean_forward, _mean_backward)


def sum(input: Any, dim: int | tuple[int, ...] | None = None, keepdim: bool = False) -> Any:
    """The sum over some axes, or all.

    Parameters
    ----------
    input : array or Tensor
        Integers and booleans are summed as int64.
    dim : int or tuple of int, optional
    keepdim : bool
        Keep the axes, with size 1.

    Raises
    ------
    ValueError
        No such axis.

    Examples
    --------
    >>> sum(np.array([[1.0, 2.0], [3.0, 4.0]]), dim=0)
    array([4., 6.])
    """
    return apply(_SUM, (input,), dim, keepdim)


def mean(input: Any, dim: int | tuple[int, ...] | None = None, keepdim: bool = False) -> Any:
    """The mean over some axes, or all; NaN of nothing.

    Parameters
    ----------
    input : array or Tensor of float32 or float64
    dim : int or tuple of int, optional
    keepdim : bool

    Examples
    --------
    >>> mean(np.array([[1.0, 2.0], [3.0, 4.0]]), dim=1)
    array([1.5, 3.5])
    """
    return apply(_MEAN, (input,), dim, keepdim)


# max, min


class Extremum(NamedTuple):
    """What `max` and `min` along an axis return."""

    values: Any
    indices: Any


def _all_operation(name: str, ufunc: Any) -> Operation:
    def forward(x: Any) -> tuple[np.ndarray, Any]:
        x = _input(x, name)
        if not x.size:
            raise ValueError(f"{name}: expected at least one element, got shape {x.shape}")
        out = np.asarray(ufunc.reduce(x, axis=None))
        return out, (x, out)

    def backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray]:
        x, out = saved
        chosen = unary(np.isnan, x) if np.isnan(out) else x == out
        return (chosen * np.asarray(g / g.dtype.type(np.count_nonzero(chosen))),)

    return Operation(name, forward, backward)


def _axis_operation(name: str, arg: Any) -> Operation:
    def forward(x: Any, dim: int, keepdim: bool) -> tuple[Any, Any]:
        x = _input(x, name)
        dim = axis(name, dim, x.ndim)
        shape, channels_last = x.shape, channels_last_only(x)
        if x.ndim == 0:
            x = x[None]
        elif not x.shape[dim]:
            raise ValueError(f"{name}: expected axis {dim} to have elements, got shape {x.shape}")
        indices = arg(x, axis=dim, keepdims=True)
        values = np.take_along_axis(x, indices, dim)
        result = indices.reshape(shape) if not shape else indices if keepdim else indices.squeeze(dim)
        out = values.reshape(shape) if not shape else values if keepdim else values.squeeze(dim)
        return (out, result), (indices, shape, dim, channels_last)

    def backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray]:
        indices, shape, dim, channels_last = saved
        dx = zeros(shape, g.dtype, channels_last)
        np.put_along_axis(dx if shape else dx[None], indices, g.reshape(indices.shape), dim)
        return (dx,)

    return Operation(name, forward, backward)


_MAX, _MIN = _all_operation("max", np.maximum), _all_operation("min", np.minimum)
_MAX_DIM, _MIN_DIM = _axis_operation("max", np.argmax), _axis_operation("min", np.argmin)


def _extremum(operation: Operation, along: Operation, input: Any, dim: int | None, keepdim: bool) -> Any:
    if dim is None:
        if keepdim:
            raise ValueError(f"{operation.name}: keepdim needs dim")
        return apply(operation, (input,))
    out = apply(along, (input,), dim, keepdim)
    values, indices = out
    return Extremum(values, Tensor(indices) if isinstance(values, Tensor) else indices)


def max(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The largest element; along an axis, the largest elements and where they are. NaN counts as largest.

    Parameters
    ----------
    input : array or Tensor
    dim : int, optional
    keepdim : bool

    Returns
    -------
    array or Tensor without dim (equal elements share the gradient); with dim, a named tuple (values, indices: int64, of the first one)

    Examples
    --------
    >>> values, indices = max(np.array([[1.0, 5.0], [7.0, 4.0]]), dim=1)
    >>> values, indices
    (array([5., 7.]), array([1, 0]))
    """
    return _extremum(_MAX, _MAX_DIM, input, dim, keepdim)


def min(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The smallest element; along an axis, the smallest elements and where they are; otherwise as `max`.

    Parameters
    ----------
    input : array or Tensor
    dim : int, optional
    keepdim : bool

    Examples
    --------
    >>> min(np.array([[1.0, 5.0], [7.0, 4.0]]))
    array(1.)
    """
    return _extremum(_MIN, _MIN_DIM, input, dim, keepdim)


def _where_extremum(name: str, arg: Any) -> Operation:
    def forward(x: Any, dim: int | None, keepdim: bool) -> tuple[np.ndarray, Any]:
        x = _input(x, name)
        where = None if dim is None else axis(name, dim, x.ndim)
        if not x.size and (where is None or not x.shape[where]):
            raise ValueError(f"{name}: expected elements to compare, got shape {x.shape}")
        if not x.ndim:
            return np.zeros((), np.int64), None
        return np.asarray(arg(x, axis=where, keepdims=keepdim)), None

    return Operation(name, forward, lambda saved, g, needs: (None,))


_ARGMAX, _ARGMIN = _where_extremum("argmax", np.argmax), _where_extremum("argmin", np.argmin)


def argmax(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Where the (first) largest element is, counted along an axis or through all elements.

    Parameters
    ----------
    input : array or Tensor
    dim : int, optional
    keepdim : bool

    Returns
    -------
    array or Tensor of int64

    Examples
    --------
    >>> argmax(np.array([[1.0, 5.0], [7.0, 4.0]]), dim=1)
    array([1, 0])
    """
    return apply(_ARGMAX, (input,), dim, keepdim)


def argmin(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Where the (first) smallest element is, counted along an axis or through all elements.

    Parameters
    ----------
    input : array or Tensor
    dim : int, optional
    keepdim : bool

    Examples
    --------
    >>> argmin(np.array([[1.0, 5.0], [7.0, 4.0]]), dim=1)
    array([0, 1])
    """
    return apply(_ARGMIN, (input,), dim, keepdim)
