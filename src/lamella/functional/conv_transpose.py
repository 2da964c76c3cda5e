"""conv_transpose2d: what conv2d's kernels compute, in the other direction."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.functional._broadcast import unbroadcast
from lamella.functional.padding import pad
from lamella.layout import c_contiguous, channels_last, empty_channels_last, operand, same_dtype
from lamella.problems import Conv2dProblem
from lamella.problems.conv2d import pair, whole
from lamella.registry import select
from lamella.tensor import Operation, Tensor, apply

__all__ = ["conv_transpose2d"]

Pair = tuple[int, int]
NAME = "conv_transpose2d"


def _forward(x: Any, w: Any, b: Any, stride: Pair, padding: Pair, output_padding: Pair, groups: int, dilation: Pair) -> tuple[Any, Any]:
    x, w = operand(x, NAME), operand(w, NAME, "weight")
    if b is not None:
        b = operand(b, NAME, "bias")
    dtype = same_dtype(NAME, input=x, weight=w, bias=b)
    if w.ndim != 4:
        raise ValueError(f"{NAME}: expected weight of shape (in_channels, out_channels / groups, kh, kw), got {w.shape}")
    if x.ndim not in (3, 4) or x.shape[-3] != w.shape[0]:
        raise ValueError(
            f"{NAME}: expected input (N, {w.shape[0]}, H, W) or ({w.shape[0]}, H, W), as weight {w.shape} begins with the input's channels; got {x.shape}"
        )
    unbatched = x.ndim == 3
    x, w = channels_last(x[None] if unbatched else x), c_contiguous(w)
    channels = w.shape[1] * groups
    sizes = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + more + 1
        for n, s, p, d, k, more in zip(x.shape[2:], stride, padding, dilation, w.shape[2:], output_padding)
    )
    if min(sizes) < 1:
        raise ValueError(f"{NAME}: the output would have the size {sizes}: input {x.shape}, padding {padding} cuts away more than there is")
    if b is not None and b.shape != (channels,):
        raise ValueError(f"{NAME}: expected bias of shape ({channels},) for {channels} output channels, got {b.shape}")
    p = Conv2dProblem.of((x.shape[0], channels, *sizes), w.shape, dtype, False, stride, padding, dilation, groups)
    out = empty_channels_last(p.x_shape, dtype)
    select("conv2d", "backward_input", p)(p, x, w, out)
    if b is not None:
        out += b[:, None, None]
    return (out[0] if unbatched else out), (p, x, w, unbatched)


def _backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
    p, x, w, unbatched = saved
    g = channels_last(g[None] if unbatched else g)
    dx = dw = db = None
    if needs[0]:
        dx = empty_channels_last(p.out_shape, p.dtype)
        select("conv2d", "forward", p)(p, g, w, None, dx)
        if unbatched:
            dx = dx[0]
    if needs[1]:
        dw = np.empty(p.w_shape, p.dtype)
        select("conv2d", "backward_weight", p)(p, g, x, dw, None)
    if needs[2]:
        db = unbroadcast(g, (1, p.ic, 1, 1)).reshape(p.ic)
    return dx, dw, db


_CONV_TRANSPOSE2D = Operation(NAME, _forward, _backward)


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    output_padding: int | Pair = 0,
    groups: int = 1,
    dilation: int | Pair = 1,
) -> Any:
    """The transpose of `conv2d` (fractionally strided convolution): every input pixel adds its multiple of the filters to the output.

    out[n, o, y*sh - ph + i*dh, x*sw - pw + j*dw] += input[n, c, y, x] * weight[c, o, i, j]; then bias[o] is added. The kernels are those of conv2d:
    this is its gradient with respect to the input, whose gradients are conv2d itself and its gradient with respect to the weight.

    Parameters
    ----------
    input : array or Tensor, shape (N, in_channels, H, W) or (in_channels, H, W)
    weight : array or Tensor, shape (in_channels, out_channels // groups, kh, kw)
    bias : array or Tensor, shape (out_channels,), optional
    stride, dilation : int or (int, int), at least 1
    padding : int or (int, int)
        Of the convolution it transposes: so much is cut off on each side.
    output_padding : int or (int, int)
        Added to the size below and to the right, less than stride or dilation: which of the sizes a strided convolution maps to H is meant.
    groups : int, divides both channel numbers

    Returns
    -------
    array or Tensor, shape (N, out_channels, oh, ow), in channels-last memory, with
        oh = (H - 1)*sh - 2*ph + dh*(kh - 1) + output_padding + 1

    Raises
    ------
    ValueError
        Shapes that do not fit, an output without pixels, an output_padding as large as both stride and dilation.
    TypeError
        A dtype other than float32 and float64, or mixed dtypes.

    References
    ----------
    Dumoulin and Visin, A guide to convolution arithmetic for deep learning, arXiv:1603.07285, chapter 4.

    Examples
    --------
    >>> x = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> conv_transpose2d(x, np.ones((1, 1, 2, 2)), stride=2)[0, 0]
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.],
           [3., 3., 4., 4.],
           [3., 3., 4., 4.]])
    """
    strides, dilations = pair(stride, NAME, "stride", 1), pair(dilation, NAME, "dilation", 1)
    groups = whole(groups, NAME, "groups")
    more = pair(output_padding, NAME, "output_padding", 0)
    if any(m >= max(s, d) for m, s, d in zip(more, strides, dilations)):
        raise ValueError(f"{NAME}: expected output_padding below stride {strides} or dilation {dilations}, got {more}")
    rows = tuple(m // s for m, s in zip(more, strides))
    if any(rows):  # beyond what any convolution of this stride maps to H: as if zeros followed the input
        input = pad(input if isinstance(input, Tensor) else np.asarray(input), (0, rows[1], 0, rows[0]))
        more = (more[0] - rows[0] * strides[0], more[1] - rows[1] * strides[1])
    return apply(_CONV_TRANSPOSE2D, (input, weight, bias), strides, pair(padding, NAME, "padding", 0), more, groups, dilations)
