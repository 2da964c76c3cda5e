"""conv3d: a 2-d convolution of every output slice, whose channels are those of all input slices it sees."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from lamella.functional.conv import conv2d
from lamella.functional.shape import permute, reshape
from lamella.layout import channels_last, operand
from lamella.problems.conv2d import whole
from lamella.tensor import Operation, Tensor, apply

__all__ = ["conv3d"]

Triple = tuple[int, int, int]


def triple(value: Any, operation: str, name: str, least: int) -> Triple:
    """An int or three ints as three, each at least `least`."""
    try:
        three = tuple(operator.index(v) for v in value) if isinstance(value, (tuple, list)) else (operator.index(value),) * 3
    except TypeError:
        raise TypeError(f"{operation}: expected {name} as an int or three ints, got {value!r}") from None
    if len(three) != 3 or min(three) < least:
        raise ValueError(f"{operation}: expected {name} as an int or three ints of at least {least}, got {value!r}")
    return three[0], three[1], three[2]


def _taps(depth: int, out: int, k: int, s: int, p: int, d: int) -> list[tuple[slice, slice]]:
    """Per tap of the depth: the output slices that have an input slice there, and those input slices."""
    found = []
    for tap in range(k):
        start = tap * d - p
        first = max(0, -(start // s))
        end = max(min(out, (depth - 1 - start) // s + 1), first)
        found.append((slice(first, end), slice(start + first * s, start + (end - 1) * s + 1, s) if end > first else slice(0, 0)))
    return found


def _unfold_forward(x: Any, out: int, k: int, s: int, p: int, d: int, groups: int) -> tuple[np.ndarray, Any]:
    x = channels_last(operand(x, "conv3d"))
    n, c, depth, h, w = x.shape
    slices = x.transpose(0, 2, 3, 4, 1).reshape(n, depth, h, w, groups, c // groups)
    taps = _taps(depth, out, k, s, p, d)
    stacked = np.empty((n, out, h, w, groups, k, c // groups), x.dtype)
    for tap, (to, at) in enumerate(taps):
        stacked[:, : to.start, ..., tap, :] = 0
        stacked[:, to, ..., tap, :] = slices[:, at]
        stacked[:, to.stop :, ..., tap, :] = 0
    return stacked.reshape(n * out, h, w, c * k).transpose(0, 3, 1, 2), (slices.shape, x.shape, stacked.shape, taps)


def _unfold_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray]:
    slices, shape, stacked, taps = saved
    g = channels_last(g).transpose(0, 2, 3, 1).reshape(stacked)
    dx = np.zeros(slices, g.dtype)
    for tap, (to, at) in enumerate(taps):
        dx[:, at] += g[:, to, ..., tap, :]
    n, c, depth, h, w = shape
    return (dx.reshape(n, depth, h, w, c).transpose(0, 4, 1, 2, 3),)


_UNFOLD = Operation("conv3d", _unfold_forward, _unfold_backward)


def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Triple = 1,
    padding: int | Triple | str = 0,
    dilation: int | Triple = 1,
    groups: int = 1,
) -> Any:
    """Convolve volumes with a bank of filters (cross-correlation).

    out[n, o, z, y, x] = bias[o] + sum_{c, l, i, j} input[n, c, z*sd - pd + l*dd, y*sh - ph + i*dh, x*sw - pw + j*dw] * weight[o, c, l, i, j]

    Parameters
    ----------
    input : array or Tensor, shape (N, in_channels, D, H, W) or (in_channels, D, H, W)
    weight : array or Tensor, shape (out_channels, in_channels // groups, kd, kh, kw)
    bias : array or Tensor, shape (out_channels,), optional
    stride, dilation : int or three ints, at least 1
    padding : int, three ints, "valid" or "same"
    groups : int, divides both channel numbers

    Returns
    -------
    array or Tensor, shape (N, out_channels, od, oh, ow), in channels-last memory

    Raises
    ------
    ValueError, TypeError
        As for `conv2d`.

    Notes
    -----
    Every output slice is a 2-d convolution, by the kernels of `conv2d` of whichever backend, over the channels of the kd input slices it
    sees, laid side by side: kd times the input's memory, and one long sum instead of kd outputs added up.

    Examples
    --------
    >>> conv3d(np.ones((1, 1, 3, 3, 3)), np.ones((1, 1, 2, 3, 3))).ravel()
    array([18., 18.])
    """
    input, weight = (x if isinstance(x, Tensor) else np.asarray(x) for x in (input, weight))
    if weight.ndim != 5:
        raise ValueError(f"conv3d: expected weight of shape (out_channels, in_channels / groups, kd, kh, kw), got {weight.shape}")
    if input.ndim not in (4, 5):
        raise ValueError(f"conv3d: expected input of shape (N, in_channels, D, H, W) or (in_channels, D, H, W), got {input.shape}")
    groups = whole(groups, "conv3d", "groups")
    volumes = input if input.ndim == 5 else reshape(input, (1, *input.shape))
    channels = weight.shape[1] * groups
    if volumes.shape[1] != channels:
        raise ValueError(
            f"conv3d: expected input (N, {channels}, D, H, W) for weight {weight.shape} with groups={groups}, got {input.shape}"
        )
    strides, dilations = triple(stride, "conv3d", "stride", 1), triple(dilation, "conv3d", "dilation", 1)
    n, _, depth, height, width = volumes.shape
    k = weight.shape[2]
    reach = dilations[0] * (k - 1)
    plane: Any = padding
    if padding == "same":
        if strides != (1, 1, 1):
            raise ValueError(f"conv3d: padding='same' needs stride 1, got {stride}; give the padding as numbers")
        low, total = reach // 2, reach
    elif padding == "valid":
        low = total = 0
    else:
        low, *plane = triple(padding, "conv3d", "padding", 0)
        total, plane = 2 * low, tuple(plane)
    if depth + total < reach + 1:
        raise ValueError(
            f"conv3d: the kernel spans {reach + 1} slices, the padded input has {depth + total}; pad more or use a smaller kernel"
        )
    out = (depth + total - reach - 1) // strides[0] + 1
    stacked = apply(_UNFOLD, (volumes,), out, k, strides[0], low, dilations[0], groups)
    filters = reshape(permute(weight, (0, 2, 1, 3, 4)), (weight.shape[0], k * weight.shape[1], *weight.shape[3:]))
    result = conv2d(stacked, filters, bias, strides[1:], plane, dilations[1:], groups)
    result = permute(reshape(result, (n, out, *result.shape[1:])), (0, 2, 1, 3, 4))
    return result if input.ndim == 5 else reshape(result, result.shape[1:])
