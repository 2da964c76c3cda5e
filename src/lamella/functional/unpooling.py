"""max_unpool2d: back to the places that max_pool2d found."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.functional.conv1d import one
from lamella.functional.shape import squeeze, unsqueeze
from lamella.layout import channels_last, operand
from lamella.problems.conv2d import pair
from lamella.tensor import Operation, Tensor, apply

__all__ = ["max_unpool1d", "max_unpool2d"]

Pair = tuple[int, int]


def _rows(x: np.ndarray) -> np.ndarray:
    """(N, C, H, W) as (N, H * W, C), a view of channels-last memory."""
    n, c, h, w = x.shape
    return channels_last(x).transpose(0, 2, 3, 1).reshape(n, h * w, c)


def _forward(x: Any, places: Any, size: Pair) -> tuple[np.ndarray, Any]:
    x, places = operand(x, "max_unpool2d"), np.asarray(places)
    if x.ndim not in (3, 4) or x.shape != places.shape:
        raise ValueError(
            f"max_unpool2d: expected input (N, C, H, W) or (C, H, W) and indices of its shape, got {x.shape} and {places.shape}"
        )
    if places.dtype.kind not in "iu":
        raise TypeError(f"max_unpool2d: expected integer indices, as max_pool2d(return_indices=True) gives them, got {places.dtype}")
    h, w = size
    if places.size and not (places.min() >= 0 and places.max() < h * w):
        raise ValueError(f"max_unpool2d: indices from {places.min()} to {places.max()} do not fit an output of {h} x {w}; pass output_size")
    single = x.ndim == 3
    values, at = (_rows(a[None] if single else a) for a in (x, places))
    n, _, c = values.shape
    out = np.zeros((n, h * w, c), x.dtype)
    np.put_along_axis(out, at, values, 1)
    out = out.reshape(n, h, w, c).transpose(0, 3, 1, 2)
    return (out[0] if single else out), (at, x.shape)


def _backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray, None]:
    at, shape = saved
    single = len(shape) == 3
    dx = np.take_along_axis(_rows(g[None] if single else g), at, 1)
    dx = dx.reshape(len(at), *shape[-2:], shape[-3]).transpose(0, 3, 1, 2)
    return (dx[0] if single else dx), None


_MAX_UNPOOL2D = Operation("max_unpool2d", _forward, _backward)


def max_unpool2d(
    input: Any,
    indices: Any,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    output_size: Any = None,
) -> Any:
    """Put every number back where `max_pool2d` found it; 0 elsewhere.

    Parameters
    ----------
    input : array or Tensor (N, C, H, W) or (C, H, W) of float32 or float64
    indices : int64 array or Tensor of its shape
        Of ``max_pool2d(..., return_indices=True)``: row * width + column.
    kernel_size, stride, padding
        Of that pooling.
    output_size : tuple of int, optional
        (OH, OW), or a shape that ends so; default: (H - 1)*stride - 2*padding + kernel_size.

    Returns
    -------
    array or Tensor (N, C, OH, OW) in channels-last memory

    Raises
    ------
    ValueError
        Indices of another shape or beyond the output.
    TypeError
        Indices that are no integers.

    Notes
    -----
    Where pooling windows overlapped, several numbers may have one place: the last one, in row-major order, stands there, and all get its gradient.

    Examples
    --------
    >>> from lamella.functional import max_pool2d
    >>> out, places = max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2, return_indices=True)
    >>> max_unpool2d(out, places, 2)[0, 0]
    array([[ 0.,  0.,  0.,  0.],
           [ 0.,  5.,  0.,  7.],
           [ 0.,  0.,  0.,  0.],
           [ 0., 13.,  0., 15.]])
    """
    name = "max_unpool2d"
    input = input if isinstance(input, Tensor) else np.asarray(input)
    kernel = pair(kernel_size, name, "kernel_size", 1)
    step = kernel if stride is None else pair(stride, name, "stride", 1)
    border = pair(padding, name, "padding", 0)
    least = tuple((n - 1) * s - 2 * p + k for n, s, p, k in zip(input.shape[-2:], step, border, kernel))
    size = least if output_size is None else tuple(output_size)[-2:]
    if output_size is not None and not all(abs(n - m) < s for n, m, s in zip(size, least, step)):
        raise ValueError(f"{name}: expected output_size within a stride {step} of {least}, got {tuple(output_size)}")
    return apply(_MAX_UNPOOL2D, (input, indices.data if isinstance(indices, Tensor) else indices), size)


def max_unpool1d(input: Any, indices: Any, kernel_size: int, stride: int | None = None, padding: int = 0, output_size: Any = None) -> Any:
    """Put every number back where `max_pool1d` found it; 0 elsewhere.

    Parameters
    ----------
    input : array or Tensor (N, C, L) or (C, L) of float32 or float64
    indices : int64 array or Tensor of its shape
    kernel_size, stride, padding : int
    output_size : tuple of int, optional

    Returns
    -------
    array or Tensor (N, C, OL)

    Raises
    ------
    ValueError, TypeError
        As for `max_unpool2d`.

    Examples
    --------
    >>> max_unpool1d(np.array([[3.0, 2.0]]), np.array([[1, 2]]), 2)
    array([[0., 3., 2., 0.]])
    """
    name = "max_unpool1d"
    size = None if output_size is None else (1, tuple(output_size)[-1])
    window = (1, one(kernel_size, name, "kernel_size")), None if stride is None else (1, one(stride, name, "stride"))
    out = max_unpool2d(unsqueeze(input, -2), unsqueeze(indices, -2), *window, (0, one(padding, name, "padding")), size)
    return squeeze(out, -2)
