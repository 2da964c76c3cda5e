"""Convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.core import Geometry
from lamella.functional.activation import before_activation
from lamella.layout import c_contiguous, channels_last, empty_channels_last, operand, same_dtype
from lamella.problems import Conv2dProblem
from lamella.problems.conv2d import pair, whole
from lamella.registry import select
from lamella.tensor import Operation, apply


def _described(
    x: np.ndarray, w: np.ndarray, b: Any, stride: Any, padding: Any, dilation: Any, groups: int, activation: str, algorithm: str
) -> Conv2dProblem:
    stride, dilation = pair(stride, "conv2d", "stride", 1), pair(dilation, "conv2d", "dilation", 1)
    if not isinstance(padding, str):
        padding = pair(padding, "conv2d", "padding", 0)
    groups = whole(groups, "conv2d", "groups")
    dtype = same_dtype("conv2d", input=x, weight=w, bias=b)
    if x.ndim == 3 and w.ndim == 4 and len(x) != (channels := w.shape[1] * groups):
        hint = "; images without an axis for their one channel? add it: x[:, None]" if channels == 1 else ""
        if x.shape[-1] == channels:
            hint = "; the last axis fits: lamella takes (C, H, W), try x.transpose(2, 0, 1)"
        raise ValueError(
            f"conv2d: expected input (N, {channels}, H, W) or ({channels}, H, W) for weight {w.shape} with groups={groups}, got {x.shape}{hint}"
        )
    x_shape = (1, *x.shape) if x.ndim == 3 else x.shape
    p = Conv2dProblem.of(x_shape, w.shape, dtype, b is not None, stride, padding, dilation, groups, activation, algorithm)
    if b is not None and b.shape != (p.oc,):
        raise ValueError(f"conv2d: expected bias of shape ({p.oc},) for {p.oc} output channels, got {b.shape}")
    return p


_problem = Geometry(_described)


def _conv2d_forward(x: Any, w: Any, b: Any, *attributes: Any) -> tuple[np.ndarray, Any]:
    x, w = operand(x, "conv2d"), operand(w, "conv2d", "weight")
    if b is not None:
        b = c_contiguous(operand(b, "conv2d", "bias"))
    p = _problem(x, w, b, *attributes)
    unbatched = x.ndim == 3
    x, w = channels_last(x[None] if unbatched else x), c_contiguous(w)
    out = empty_channels_last(p.out_shape, p.dtype)
    select("conv2d", "forward", p)(p, x, w, b, out)
    return (out[0] if unbatched else out), (p, x, w, out if p.act else None, unbatched)


def _conv2d_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
    p, x, w, out, unbatched = saved
    g = channels_last(g[None] if unbatched else g)
    if out is not None:
        g = before_activation(p, out, g)
    dx = dw = db = None
    if needs[0]:
        dx = empty_channels_last(p.x_shape, p.dtype)
        select("conv2d", "backward_input", p)(p, g, w, dx)
        if unbatched:
            dx = dx[0]
    if needs[1] or needs[2]:
        dw = np.empty(p.w_shape, p.dtype)
        db = np.empty(p.oc, p.dtype) if p.bias else None
        select("conv2d", "backward_weight", p)(p, x, g, dw, db)
    return dx, dw, db


_CONV2D = Operation("conv2d", _conv2d_forward, _conv2d_backward)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] | str = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    activation: str = "none",
    algorithm: str = "auto",
) -> Any:
    """Convolve images with a bank of filters (cross-correlation: the filters are not flipped).

    out[n, o, y, x] = activation(bias[o] + sum_{c, i, j} input[n, c, y*sh - ph + i*dh, x*sw - pw + j*dw] * weight[o, c, i, j])

    Parameters
    ----------
    input : array or Tensor, shape (N, in_channels, H, W) or (in_channels, H, W)
    weight : array or Tensor, shape (out_channels, in_channels // groups, kh, kw)
    bias : array or Tensor, shape (out_channels,), optional
    stride, dilation : int or (int, int), at least 1
    padding : int, (int, int), "valid" or "same"
        Zeros on each side; "same" keeps the size and needs stride 1.
    groups : int
        Divides both channel numbers; group g of the outputs sees only group g of the inputs.
    activation : {"none", "relu", "leaky_relu", "sigmoid", "tanh"}
        Applied before the output is stored. The slope of leaky_relu is 0.01.
    algorithm : str
        One of "auto", "direct", "im2col", "pixels", "lanes", "single", "grouped", "depthwise", "depthwise3x3", "winograd_f2", "winograd_f4",
        "winograd_rows", "ref": an implementation's name (the page of `lamella.kernels.conv2d`) without its prefix.
        "auto" ranks those that apply by a cost model of shapes and instruction set. The others force one, in every pass
        (the backend "reference" computes all of them by the formula). The Winograd algorithms, for 3 x 3 filters at stride 1 and
        at least 8 channels in each of several groups, multiply 2.25 and 4 times less and round more: up to 1e-5 and 2e-5 of the largest
        output in float32; winograd_rows, for filters 5 wide at stride 1 in one group, multiplies 2.5 times less, at 5e-6.
        `lamella.allow_winograd(False)` keeps "auto" from them.

    Returns
    -------
    array or Tensor, shape (N, out_channels, oh, ow), in channels-last memory, with
        oh = (H + 2*ph - dh*(kh - 1) - 1) // sh + 1

    Raises
    ------
    ValueError
        Shapes that do not fit, a kernel larger than the padded input, groups that do not divide, an algorithm that does not apply.
    TypeError
        A dtype other than float32 and float64, or mixed dtypes.

    References
    ----------
    Dumoulin and Visin, A guide to convolution arithmetic for deep learning, arXiv:1603.07285.

    Examples
    --------
    >>> x = np.array([[2, 1, 0, 1, 1], [1, 1, 0, 2, 0], [0, 0, 1, 1, 1], [1, 2, 2, 0, 2], [2, 0, 1, 2, 1]], dtype=float)
    >>> k = np.array([[0, 1, -1], [-1, 1, 0], [0, 1, 1]], dtype=float)
    >>> conv2d(x[None, None], k[None, None], stride=2, padding=1)[0, 0]
    array([[4., 1., 0.],
           [3., 1., 2.],
           [1., 3., 1.]])
    """
    return apply(_CONV2D, (input, weight, bias), stride, padding, dilation, groups, activation, algorithm)
