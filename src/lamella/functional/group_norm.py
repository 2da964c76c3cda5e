"""layer_norm, rms_norm, group_norm, instance_norm: one Operation over one Problem; and local_response_norm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lamella.functional._broadcast import channels_last_only
from lamella.functional.elementwise import add, div, mul, pow
from lamella.functional.normalization import batch_norm, update_running
from lamella.functional.padding import pad
from lamella.functional.pooling import avg_pool2d
from lamella.functional.shape import permute, reshape
from lamella.layout import c_contiguous, channels_last, empty_channels_last, operand, same_dtype
from lamella.memory import empty
from lamella.problems import GroupNormProblem
from lamella.registry import select
from lamella.tensor import Operation, Tensor, apply

__all__ = ["group_norm", "instance_norm", "layer_norm", "local_response_norm", "rms_norm"]


def _flat(name: str, what: str, v: Any, shape: tuple[int, ...], moved: bool) -> np.ndarray | None:
    """A weight as one row, in the memory order of the input: moved means channels last."""
    if v is None:
        return None
    v = operand(v, name, what)
    if v.shape != shape:
        raise ValueError(f"{name}: expected {what} of shape {shape}, got {v.shape}")
    return np.ascontiguousarray(np.moveaxis(v, 0, -1) if moved else v).reshape(-1)


def _sets(x: np.ndarray, last: bool, shape: tuple[int, int, int]) -> np.ndarray:
    """The (images, rows, channels) of dense memory: a view."""
    return (x.transpose(0, *range(2, x.ndim), 1) if last else x).reshape(shape)


def _forward(
    x: Any, weight: Any, bias: Any, name: str, axes: int, groups: int, eps: float, centred: bool, statistics: bool
) -> tuple[Any, Any]:
    """axes: how many last ones make a set; 0: groups of channels, with all pixels."""
    x = operand(x, name)
    last = axes == 0 or (axes == x.ndim - 1 and channels_last_only(x))
    shape = x.shape[-axes:] if axes else x.shape[1:2]
    weight, bias = (_flat(name, what, v, shape, last and axes > 1) for what, v in (("weight", weight), ("bias", bias)))
    dtype = same_dtype(name, input=x, weight=weight, bias=bias)
    if axes:
        images, rows, channels = math.prod(x.shape[: x.ndim - axes]), 1, math.prod(shape)
    else:
        images, rows, channels = x.shape[0], math.prod(x.shape[2:]), x.shape[1]
    p = GroupNormProblem.of(images, rows, channels, groups, dtype, eps, centred)
    dense = channels_last(x) if last else c_contiguous(x)
    out = empty_channels_last(x.shape, dtype) if last else empty(x.shape, dtype)
    sets = images, rows, channels
    mean, var = np.zeros((images, groups)), np.zeros((images, groups))
    if x.size:
        select("groupnorm", "forward", p)(p, _sets(dense, last, sets), weight, bias, _sets(out, last, sets), mean, var)
    saved = (p, x, dense, weight, mean, var, last, shape, last and axes > 1)
    return ((out, mean, var) if statistics else out), saved


def _backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
    p, x, dense, weight, mean, var, last, shape, moved = saved
    g = channels_last(g) if last else c_contiguous(g)
    dx = empty_channels_last(x.shape, p.dtype) if last else empty(x.shape, p.dtype)
    sets = p.images, p.rows, p.channels
    dw, db = np.zeros(p.channels, p.dtype), np.zeros(p.channels, p.dtype)
    if x.size:
        kernel = select("groupnorm", "backward", p)
        kernel(p, _sets(g, last, sets), _sets(dense, last, sets), weight, mean, var, _sets(dx, last, sets), dw, db)
    of_channels = tuple(np.moveaxis(d.reshape(*shape[1:], shape[0]), -1, 0) if moved else d.reshape(shape) for d in (dw, db))
    return dx, of_channels[0] if needs[1] else None, of_channels[1] if needs[2] else None


_OPERATIONS = {name: Operation(name, _forward, _backward) for name in ("layer_norm", "rms_norm", "group_norm", "instance_norm")}


def _last_axes(name: str, input: Any, normalized_shape: Any) -> int:
    shape = (normalized_shape,) if hasattr(normalized_shape, "__index__") else tuple(normalized_shape)
    found = input.shape if isinstance(input, Tensor) else np.shape(input)
    if not shape or found[len(found) - len(shape) :] != shape:
        raise ValueError(f"{name}: expected input whose shape ends in normalized_shape {shape}, got {found}")
    return len(shape)


def layer_norm(input: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Normalise over the last axes, every element of the batch by itself: (x - mean) / sqrt(var + eps) * weight + bias.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, shape (..., *normalized_shape)
        Images normalised as a whole, (C, H, W), may be in channels-last memory; others are made C-contiguous.
    normalized_shape : int or sequence of int
    weight, bias : array or Tensor of normalized_shape, optional
    eps : float
        Added to the (biased) variance, inside the root.

    Returns
    -------
    array or Tensor of the input's shape

    Raises
    ------
    ValueError
        Shapes that do not fit.
    TypeError
        Not float32 or float64, or different dtypes.

    References
    ----------
    Ba, Kiros, Hinton, Layer normalization, arXiv:1607.06450.

    Examples
    --------
    >>> layer_norm(np.array([[1.0, 3.0], [10.0, 30.0]]), 2, eps=0.0)
    array([[-1.,  1.],
           [-1.,  1.]])
    """
    axes = _last_axes("layer_norm", input, normalized_shape)
    return apply(_OPERATIONS["layer_norm"], (input, weight, bias), "layer_norm", axes, 1, float(eps), True, False)


def rms_norm(input: Any, normalized_shape: int | Sequence[int], weight: Any = None, eps: float | None = None) -> Any:
    """Divide by the root mean square over the last axes: x / sqrt(mean(x^2) + eps) * weight.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, shape (..., *normalized_shape)
    normalized_shape : int or sequence of int
    weight : array or Tensor of normalized_shape, optional
    eps : float, optional
        Default: the machine epsilon of the dtype.

    Returns
    -------
    array or Tensor of the input's shape

    Raises
    ------
    ValueError, TypeError
        As for `layer_norm`.

    References
    ----------
    Zhang and Sennrich, Root mean square layer normalization, NeurIPS 2019, arXiv:1910.07467.

    Examples
    --------
    >>> rms_norm(np.array([[3.0, 4.0]]), 2).round(4)
    array([[0.8485, 1.1314]])
    """
    axes = _last_axes("rms_norm", input, normalized_shape)
    if eps is None:
        eps = float(np.finfo(operand(input.data if isinstance(input, Tensor) else input, "rms_norm").dtype).eps)
    return apply(_OPERATIONS["rms_norm"], (input, weight, None), "rms_norm", axes, 1, float(eps), False, False)


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Normalise every group of neighbouring channels of every image, over its channels and all pixels.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, shape (N, C) or (N, C, ...)
        Any memory order; the result is channels-last.
    num_groups : int, divides C
    weight, bias : array or Tensor, shape (C,), optional
    eps : float
        Added to the (biased) variance.

    Returns
    -------
    array or Tensor of the input's shape

    Raises
    ------
    ValueError
        num_groups does not divide the channels; shapes that do not fit.
    TypeError
        Not float32 or float64, or different dtypes.

    References
    ----------
    Wu and He, Group normalization, ECCV 2018, arXiv:1803.08494.

    Examples
    --------
    >>> group_norm(np.array([[1.0, 3.0, 10.0, 30.0]]), 2, eps=0.0)
    array([[-1.,  1., -1.,  1.]])
    """
    _at_least("group_norm", input, 2)
    if not hasattr(num_groups, "__index__"):
        raise TypeError(f"group_norm: expected num_groups as an int, got {num_groups!r}")
    return apply(_OPERATIONS["group_norm"], (input, weight, bias), "group_norm", 0, int(num_groups), float(eps), True, False)


def _at_least(name: str, input: Any, axes: int) -> tuple[int, ...]:
    shape = input.shape if isinstance(input, Tensor) else np.shape(input)
    if len(shape) < axes:
        raise ValueError(f"{name}: expected input of shape (N, C{', ...' if axes > 2 else ''}) with at least {axes} axes, got {shape}")
    return shape


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Normalise every channel of every image over its pixels.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, shape (N, C, ...)
    running_mean, running_var : array or Tensor, shape (C,), optional
        Averages over the images so far: updated with use_input_stats, else what is normalised by.
    weight, bias : array or Tensor, shape (C,), optional
    use_input_stats : bool
    momentum : float
        ``running = (1 - momentum) * running + momentum * mean over the images``; variances are the unbiased ones.
    eps : float
        Added to the (biased) variance.

    Returns
    -------
    array or Tensor of the input's shape, channels-last

    Raises
    ------
    ValueError
        One pixel per channel, no running statistics where they are to be used, shapes that do not fit.
    TypeError
        Not float32 or float64, or different dtypes.

    References
    ----------
    Ulyanov, Vedaldi, Lempitsky, Instance normalization, arXiv:1607.08022.

    Examples
    --------
    >>> instance_norm(np.array([[[1.0, 3.0], [10.0, 30.0]]]), eps=0.0)
    array([[[-1.,  1.],
            [-1.,  1.]]])
    """
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    shape = _at_least("instance_norm", input, 3)
    pixels = math.prod(shape[2:])
    if pixels == 1:
        raise ValueError(f"instance_norm: expected more than 1 pixel per channel, got input of shape {shape}")
    arguments = "instance_norm", 0, shape[1], float(eps), True, True
    out, mean, var = apply(_OPERATIONS["instance_norm"], (input, weight, bias), *arguments)
    if running_mean is not None and running_var is not None and len(mean):
        for name, running, new, unbias in (
            ("running_mean", running_mean, mean, 1.0),
            ("running_var", running_var, var, pixels / (pixels - 1)),
        ):
            array = running.data if isinstance(running, Tensor) else running
            update_running("instance_norm", name, array, new.mean(axis=0).astype(array.dtype), momentum, unbias)
            if isinstance(running, Tensor):
                running._version[0] += 1
    return out


def local_response_norm(input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    """Divide by what neighbouring channels do at the same pixel: x / (k + alpha / size * sum of x^2 over `size` channels)^beta.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, shape (N, C, ...) with at least one axis of pixels
    size : int
        Channels of a window: size // 2 before, the one itself, (size - 1) // 2 after.
    alpha, beta, k : float

    Returns
    -------
    array or Tensor of the input's shape

    Raises
    ------
    ValueError
        Fewer than three axes; a size below 1.

    Notes
    -----
    Krizhevsky, Sutskever, Hinton, NeurIPS 2012, write alpha for what is alpha / size here, as in PyTorch and ONNX.

    Examples
    --------
    >>> local_response_norm(np.ones((1, 3, 1, 1)), 3, alpha=3.0, beta=1.0).ravel().round(4)
    array([0.3333, 0.25  , 0.3333])
    """
    input = input if isinstance(input, Tensor) else np.asarray(input)
    shape = _at_least("local_response_norm", input, 3)
    if not hasattr(size, "__index__") or size < 1:
        raise ValueError(f"local_response_norm: expected size to be a positive integer, got {size!r}")
    if not math.prod(shape):
        return mul(input, 1.0)
    n, c, *pixels = shape
    there = (0, *range(2, len(shape)), 1)
    back = (0, len(shape) - 1, *range(1, len(shape) - 1))
    rows = reshape(permute(mul(input, input), there), (-1, 1, 1, c))  # every pixel a sequence of its channels
    means = avg_pool2d(pad(rows, (size // 2, (size - 1) // 2)), (1, size), 1)
    return div(input, pow(add(mul(permute(reshape(means, (n, *pixels, c)), back), alpha), k), beta))
