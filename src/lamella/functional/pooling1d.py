"""Pooling of sequences: that of images of height 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.functional import pooling
from lamella.functional.conv1d import one
from lamella.functional.shape import squeeze, unsqueeze
from lamella.tensor import Tensor

__all__ = ["adaptive_avg_pool1d", "adaptive_max_pool1d", "avg_pool1d", "lp_pool1d", "max_pool1d"]


def _images(name: str, input: Any) -> Any:
    input = input if isinstance(input, Tensor) else np.asarray(input)
    if input.ndim not in (2, 3):
        raise ValueError(f"{name}: expected input of shape (N, C, L) or (C, L), got {input.shape}")
    return unsqueeze(input, -2)


def _window(name: str, kernel_size: Any, stride: Any, padding: Any = 0) -> tuple[Any, Any, Any]:
    k = one(kernel_size, name, "kernel_size")
    return (1, k), (1, k if stride is None else one(stride, name, "stride")), (0, one(padding, name, "padding"))


def _flat(result: Any) -> Any:
    return tuple(squeeze(x, -2) for x in result) if isinstance(result, tuple) else squeeze(result, -2)


def max_pool1d(
    input: Any,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum over windows of every channel's sequence.

    Parameters
    ----------
    input : array or Tensor (N, C, L) or (C, L) of float32 or float64
    kernel_size, stride, padding, dilation, ceil_mode, return_indices
        As for `max_pool2d`, of one axis.

    Returns
    -------
    array or Tensor (N, C, OL); with return_indices also the int64 places of the maxima

    Raises
    ------
    ValueError, TypeError
        As for `max_pool2d`.

    Examples
    --------
    >>> max_pool1d(np.array([[[1.0, 3.0, 2.0, 0.0]]]), 2)
    array([[[3., 2.]]])
    """
    name = "max_pool1d"
    kernel, stride, padding = _window(name, kernel_size, stride, padding)
    dilations = (1, one(dilation, name, "dilation"))
    return _flat(pooling.max_pool2d(_images(name, input), kernel, stride, padding, dilations, ceil_mode, return_indices))


def avg_pool1d(
    input: Any, kernel_size: int, stride: int | None = None, padding: int = 0, ceil_mode: bool = False, count_include_pad: bool = True
) -> Any:
    """The average over windows of every channel's sequence.

    Parameters
    ----------
    input : array or Tensor (N, C, L) or (C, L) of float32 or float64
    kernel_size, stride, padding, ceil_mode, count_include_pad
        As for `avg_pool2d`, of one axis.

    Returns
    -------
    array or Tensor (N, C, OL)

    Raises
    ------
    ValueError, TypeError
        As for `avg_pool2d`.

    Examples
    --------
    >>> avg_pool1d(np.array([[[1.0, 3.0, 2.0, 0.0]]]), 2)
    array([[[2., 1.]]])
    """
    window = _window("avg_pool1d", kernel_size, stride, padding)
    return _flat(pooling.avg_pool2d(_images("avg_pool1d", input), *window, ceil_mode, count_include_pad))


def lp_pool1d(input: Any, norm_type: float, kernel_size: int, stride: int | None = None, ceil_mode: bool = False) -> Any:
    """The Lp norm over windows of every channel's sequence: (sum of x^p)^(1/p).

    Parameters
    ----------
    input : array or Tensor (N, C, L) or (C, L) of float32 or float64
    norm_type : float
        p, see `lp_pool2d`.
    kernel_size, stride, ceil_mode
        As for `lp_pool2d`, of one axis.

    Returns
    -------
    array or Tensor (N, C, OL)

    Raises
    ------
    ValueError, TypeError
        As for `lp_pool2d`.

    Examples
    --------
    >>> lp_pool1d(np.array([[[3.0, 4.0]]]), 2, 2)
    array([[[5.]]])
    """
    kernel, step, _ = _window("lp_pool1d", kernel_size, stride)
    return _flat(pooling.lp_pool2d(_images("lp_pool1d", input), norm_type, kernel, step, ceil_mode))


def adaptive_avg_pool1d(input: Any, output_size: int) -> Any:
    """The average over windows that divide every channel's sequence into output_size parts.

    Parameters
    ----------
    input : array or Tensor (N, C, L) or (C, L) of float32 or float64
    output_size : int

    Returns
    -------
    array or Tensor (N, C, output_size)

    Raises
    ------
    ValueError, TypeError
        As for `adaptive_avg_pool2d`.

    Examples
    --------
    >>> adaptive_avg_pool1d(np.array([[[1.0, 3.0, 2.0, 0.0]]]), 1)
    array([[[1.5]]])
    """
    name = "adaptive_avg_pool1d"
    return _flat(pooling.adaptive_avg_pool2d(_images(name, input), (1, one(output_size, name, "output_size"))))


def adaptive_max_pool1d(input: Any, output_size: int, return_indices: bool = False) -> Any:
    """The maximum over windows that divide every channel's sequence into output_size parts.

    Parameters
    ----------
    input : array or Tensor (N, C, L) or (C, L) of float32 or float64
    output_size : int
    return_indices : bool
        Also give the places of the maxima.

    Returns
    -------
    array or Tensor (N, C, output_size); with return_indices also int64 places

    Raises
    ------
    ValueError, TypeError
        As for `adaptive_max_pool2d`.

    Examples
    --------
    >>> adaptive_max_pool1d(np.array([[[1.0, 3.0, 2.0, 0.0]]]), 2)
    array([[[3., 2.]]])
    """
    name = "adaptive_max_pool1d"
    return _flat(pooling.adaptive_max_pool2d(_images(name, input), (1, one(output_size, name, "output_size")), return_indices))
