"""softmax, log_softmax, softmin and hardmax."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from lamella.layout import c_contiguous, operand
from lamella.problems import SoftmaxProblem
from lamella.registry import select
from lamella.tensor import Operation, apply


def classes_last(x: np.ndarray, dim: int) -> np.ndarray:
    """x with axis `dim` moved to the end, C-contiguous: no copy where the classes lie side by side already."""
    return c_contiguous(x if dim == x.ndim - 1 else np.moveaxis(x, dim, -1))


def rows_of(x: np.ndarray) -> tuple[int, int]:
    """Rows and classes of an array whose last axis holds the classes."""
    classes = x.shape[-1]
    return (x.size // classes if classes else 0), classes


def _forward(x: np.ndarray, name: str, pass_: str, dim: int, dtype: Any) -> tuple[np.ndarray, Any]:
    given = x.dtype
    x = operand(x if dtype is None else x.astype(dtype), name)
    if x.ndim == 0:
        x, scalar = x.reshape(1), True
    else:
        scalar = False
    last = classes_last(x, dim)
    p = SoftmaxProblem.of(*rows_of(last), x.dtype)
    y = np.empty_like(last)
    select("softmax", pass_, p)(p, last, y)
    out = y.reshape(()) if scalar else np.moveaxis(y, -1, dim) if dim != y.ndim - 1 else y
    return out, (p, y, pass_, dim, given, out)


def _backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray]:
    p, y, pass_, dim, given, out = saved
    dx = np.empty_like(y)
    last = classes_last(g.reshape(out.shape or 1), dim)
    select("softmax", pass_.replace("forward", "backward"), p)(p, last, y, dx)
    dx = dx.reshape(()) if out.ndim == 0 else np.moveaxis(dx, -1, dim) if dim != y.ndim - 1 else dx
    return (dx.astype(given, copy=False),)


def _negative_forward(x: Any) -> tuple[np.ndarray, Any]:
    return np.negative(operand(x, "softmin")), None


def _negative_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray]:
    return (np.negative(g),)


def _hardmax_forward(x: Any, dim: int) -> tuple[np.ndarray, Any]:
    x = operand(x, "hardmax")
    if not x.size or not x.ndim:
        return np.ones_like(x), None
    out = np.zeros_like(x)
    np.put_along_axis(out, np.expand_dims(x.argmax(dim), dim), 1, dim)
    return out, None


def _hardmax_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray]:
    return (np.zeros_like(g),)


_NEGATIVE = Operation("neg", _negative_forward, _negative_backward)
_HARDMAX = Operation("hardmax", _hardmax_forward, _hardmax_backward)
_SOFTMAX = Operation("softmax", _forward, _backward)
_LOG_SOFTMAX = Operation("log_softmax", _forward, _backward)


def _dim(name: str, input: Any, dim: int | None) -> int:
    ndim = np.ndim(input) if not hasattr(input, "ndim") else input.ndim
    if dim is None:
        dim = 0 if ndim in (0, 1, 3) else 1
        warnings.warn(f"{name}: without dim, the axis is a guess ({dim} here, as in PyTorch); say dim={dim}", stacklevel=3)
    limit = max(ndim, 1)
    if not -limit <= dim < limit:
        raise IndexError(f"{name}: expected dim in [{-limit}, {limit - 1}] for an input of {ndim} axes, got {dim}")
    return dim % limit


def softmax(input: Any, dim: int | None = None, dtype: Any = None) -> Any:
    """exp(x) / sum of exp(x) along an axis, without overflow: shifted by the maximum.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape
    dim : int
        The axis that sums to 1. Without it the axis is guessed as PyTorch does, with a warning.
    dtype : dtype, optional
        Convert the input first.

    Returns
    -------
    array or Tensor of the same shape; in memory, the classes lie side by side

    Raises
    ------
    IndexError
        There is no such axis.
    TypeError
        The input is not float32 or float64.

    Notes
    -----
    A row that holds NaN or +inf, or only -inf, gives NaN, as in PyTorch.

    Examples
    --------
    >>> softmax(np.array([[0.0, 0.0], [1e4, -1e4]]), dim=1)
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    return apply(_SOFTMAX, (as_operand(input),), "softmax", "forward", _dim("softmax", input, dim), dtype)


def log_softmax(input: Any, dim: int | None = None, dtype: Any = None) -> Any:
    """log(softmax(x)) along an axis, exact where softmax itself would be 0.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape
    dim : int
        The axis of the classes. Without it the axis is guessed as PyTorch does, with a warning.
    dtype : dtype, optional
        Convert the input first.

    Returns
    -------
    array or Tensor of the same shape; in memory, the classes lie side by side

    Raises
    ------
    IndexError
        There is no such axis.
    TypeError
        The input is not float32 or float64.

    Examples
    --------
    >>> log_softmax(np.array([1e4, 0.0]), dim=0)
    array([     0., -10000.])
    """
    return apply(_LOG_SOFTMAX, (as_operand(input),), "log_softmax", "log_forward", _dim("log_softmax", input, dim), dtype)


def softmin(input: Any, dim: int | None = None, dtype: Any = None) -> Any:
    """softmax(-x) along an axis.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape
    dim : int
        The axis that sums to 1. Without it the axis is guessed as PyTorch does, with a warning.
    dtype : dtype, optional
        Convert the input first.

    Returns
    -------
    array or Tensor of the same shape

    Examples
    --------
    >>> softmin(np.array([0.0, 1e4]), dim=0)
    array([1., 0.])
    """
    dim, x = _dim("softmin", input, dim), as_operand(input)
    return softmax(apply(_NEGATIVE, (x,)), dim, dtype)


def hardmax(input: Any, dim: int = -1) -> Any:
    """1 at the first maximum along an axis, else 0: ONNX's Hardmax. Its gradient is 0.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape
    dim : int

    Returns
    -------
    array or Tensor of the same shape

    Notes
    -----
    NaN counts as the largest number, as in NumPy's argmax.

    Examples
    --------
    >>> hardmax(np.array([[1.0, 3.0, 3.0], [2.0, 1.0, 0.0]]))
    array([[0., 1., 0.],
           [1., 0., 0.]])
    """
    return apply(_HARDMAX, (as_operand(input),), _dim("hardmax", input, dim))


def as_operand(x: Any) -> Any:
    """Lists and numbers become arrays; arrays and Tensors stay."""
    return x if hasattr(x, "dtype") and hasattr(x, "ndim") else np.asarray(x)
