"""New Tensors: zeros, ones, full, arange, eye, rand, randn."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.random import generator
from lamella.tensor import Tensor

__all__ = ["arange", "empty", "eye", "full", "ones", "ones_like", "rand", "randn", "zeros", "zeros_like"]


def _shape(size: tuple[Any, ...]) -> Any:
    """``f(2, 3)`` and ``f((2, 3))`` mean the same."""
    return size[0] if len(size) == 1 and not hasattr(size[0], "__index__") else size


def _dtype(dtype: Any) -> np.dtype:
    return np.dtype(np.float32 if dtype is None else dtype)


def empty(*size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A Tensor whose elements are not set.

    Parameters
    ----------
    *size : int, or one tuple
    dtype : optional, default float32
    requires_grad : bool

    Examples
    --------
    >>> empty(2, 3).shape
    (2, 3)
    """
    return Tensor(np.empty(_shape(size), _dtype(dtype)), requires_grad)


def zeros(*size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A Tensor of zeros.

    Parameters
    ----------
    *size : int, or one tuple
    dtype : optional, default float32
    requires_grad : bool

    Examples
    --------
    >>> zeros(2, 3).shape, zeros((2, 3)).shape
    ((2, 3), (2, 3))
    """
    return Tensor(np.zeros(_shape(size), _dtype(dtype)), requires_grad)


def ones(*size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A Tensor of ones.

    Parameters
    ----------
    *size : int, or one tuple
    dtype : optional, default float32
    requires_grad : bool

    Examples
    --------
    >>> ones(2)
    tensor([1., 1.])
    """
    return Tensor(np.ones(_shape(size), _dtype(dtype)), requires_grad)


def full(size: Any, fill_value: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A Tensor filled with one number.

    Parameters
    ----------
    size : tuple
    fill_value : number
    dtype : optional
        Default: float32 for a float, int64 for an integer, bool for a bool.
    requires_grad : bool

    Examples
    --------
    >>> full((2,), 0.5)
    tensor([0.5, 0.5])
    """
    if dtype is None and not isinstance(fill_value, float):
        dtype = np.asarray(fill_value).dtype
    return Tensor(np.full(size, fill_value, _dtype(dtype)), requires_grad)


def zeros_like(input: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of the shape, dtype and memory format of another Tensor.

    Parameters
    ----------
    input : Tensor or array
    dtype : optional, default that of input
    requires_grad : bool

    Examples
    --------
    >>> zeros_like(np.zeros(2, np.float32))
    tensor([0., 0.])
    """
    return Tensor(np.zeros_like(input.data if isinstance(input, Tensor) else input, dtype=dtype), requires_grad)


def ones_like(input: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of the shape, dtype and memory format of another Tensor.

    Parameters
    ----------
    input : Tensor or array
    dtype : optional, default that of input
    requires_grad : bool

    Examples
    --------
    >>> ones_like(np.zeros(2, np.float32))
    tensor([1., 1.])
    """
    return Tensor(np.ones_like(input.data if isinstance(input, Tensor) else input, dtype=dtype), requires_grad)


def arange(*limits: float, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """``arange([start,] end[, step])``: from start (0) up to, without, end.

    Parameters
    ----------
    *limits : number
    dtype : optional
        Default: int64 if all limits are integers, else float32.
    requires_grad : bool

    Examples
    --------
    >>> arange(1, 7, 2)
    tensor([1, 3, 5])
    """
    array = np.arange(*limits, dtype=dtype)
    if dtype is None:
        array = array.astype(np.int64 if array.dtype.kind == "i" else np.float32, copy=False)
    return Tensor(array, requires_grad)


def eye(n: int, m: int | None = None, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones on the diagonal, zeros elsewhere.

    Parameters
    ----------
    n, m : int
        Rows, and columns (as many as rows, unless given).
    dtype : optional, default float32
    requires_grad : bool

    Examples
    --------
    >>> eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    return Tensor(np.eye(n, m, dtype=_dtype(dtype)), requires_grad)


def rand(*size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Uniform random numbers in [0, 1), one draw from lamella's random state.

    Parameters
    ----------
    *size : int, or one tuple
    dtype : optional, default float32
    requires_grad : bool

    Examples
    --------
    >>> rand(2, 3).shape
    (2, 3)
    """
    return Tensor(generator().random(_shape(size), _floating(dtype, "rand")), requires_grad)


def randn(*size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Standard normal random numbers, one draw from lamella's random state.

    Parameters
    ----------
    *size : int, or one tuple
    dtype : optional, default float32
    requires_grad : bool

    Examples
    --------
    >>> randn(2, 3).shape
    (2, 3)
    """
    return Tensor(generator().standard_normal(_shape(size), _floating(dtype, "randn")), requires_grad)


def _floating(dtype: Any, name: str) -> Any:
    dtype = _dtype(dtype)
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"{name}: expected dtype float32 or float64, got {dtype}")
    return dtype
