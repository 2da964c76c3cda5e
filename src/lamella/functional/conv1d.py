"""conv1d and conv_transpose1d: images of height 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.functional.conv import conv2d
from lamella.functional.conv_transpose import conv_transpose2d
from lamella.functional.shape import squeeze, unsqueeze
from lamella.problems.conv2d import whole
from lamella.tensor import Tensor

__all__ = ["conv1d", "conv_transpose1d"]


def one(value: Any, operation: str, name: str) -> int:
    """An int, or the only one of a sequence."""
    return whole(value[0] if isinstance(value, (tuple, list)) and len(value) == 1 else value, operation, name)


def _check(operation: str, input: Any, weight: Any, expected: str) -> None:
    if input.ndim not in (2, 3):
        raise ValueError(f"{operation}: expected input of shape (N, in_channels, L) or (in_channels, L), got {input.shape}")
    if weight.ndim != 3:
        raise ValueError(f"{operation}: expected weight of shape {expected}, got {weight.shape}")


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: int | tuple[int] = 1,
    padding: int | tuple[int] | str = 0,
    dilation: int | tuple[int] = 1,
    groups: int = 1,
) -> Any:
    """Convolve sequences with a bank of filters (cross-correlation): `conv2d` on images of height 1, whose kernels compute it.

    out[n, o, t] = bias[o] + sum_{c, i} input[n, c, t*stride - padding + i*dilation] * weight[o, c, i]

    Parameters
    ----------
    input : array or Tensor, shape (N, in_channels, L) or (in_channels, L)
    weight : array or Tensor, shape (out_channels, in_channels // groups, k)
    bias : array or Tensor, shape (out_channels,), optional
    stride, dilation : int, at least 1
    padding : int, "valid" or "same"
    groups : int, divides both channel numbers

    Returns
    -------
    array or Tensor, shape (N, out_channels, (L + 2*padding - dilation*(k - 1) - 1) // stride + 1)

    Raises
    ------
    ValueError, TypeError
        As for `conv2d`.

    Examples
    --------
    >>> conv1d(np.array([[[1.0, 2.0, 4.0]]]), np.array([[[-1.0, 1.0]]]))
    array([[[1., 2.]]])
    """
    input, weight = (x if isinstance(x, Tensor) else np.asarray(x) for x in (input, weight))
    _check("conv1d", input, weight, "(out_channels, in_channels / groups, k)")
    groups, (_, channels, k) = whole(groups, "conv1d", "groups"), weight.shape
    if input.shape[-2] != channels * groups:
        raise ValueError(
            f"conv1d: expected input (N, {channels * groups}, L) for weight {weight.shape} with groups={groups}, got {input.shape}"
        )
    border = 0 if isinstance(padding, str) else one(padding, "conv1d", "padding")
    stride, dilation = one(stride, "conv1d", "stride"), one(dilation, "conv1d", "dilation")
    if isinstance(padding, str) and padding == "same" and stride != 1:
        raise ValueError(f"conv1d: padding='same' needs stride 1, got {stride}; give the padding as a number")
    reach, padded = dilation * (k - 1) + 1, input.shape[-1] + 2 * border
    if padding != "same" and reach > padded:
        raise ValueError(
            f"conv1d: the kernel is larger than the padded input: kernel {k} with dilation {dilation} spans {reach}, padded input {padded}; "
            "pad more or use a smaller kernel"
        )
    out = conv2d(
        unsqueeze(input, -2),
        unsqueeze(weight, -2),
        bias,
        (1, stride),
        padding if isinstance(padding, str) else (0, border),
        (1, dilation),
        groups,
    )
    return squeeze(out, -2)


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: int | tuple[int] = 1,
    padding: int | tuple[int] = 0,
    output_padding: int | tuple[int] = 0,
    groups: int = 1,
    dilation: int | tuple[int] = 1,
) -> Any:
    """The transpose of `conv1d`: `conv_transpose2d` on images of height 1.

    Parameters
    ----------
    input : array or Tensor, shape (N, in_channels, L) or (in_channels, L)
    weight : array or Tensor, shape (in_channels, out_channels // groups, k)
    bias : array or Tensor, shape (out_channels,), optional
    stride, padding, output_padding, groups, dilation : int
        As for `conv_transpose2d`.

    Returns
    -------
    array or Tensor, shape (N, out_channels, (L - 1)*stride - 2*padding + dilation*(k - 1) + output_padding + 1)

    Raises
    ------
    ValueError, TypeError
        As for `conv_transpose2d`.

    Examples
    --------
    >>> conv_transpose1d(np.array([[[1.0, 2.0]]]), np.array([[[1.0, 10.0]]]), stride=2)
    array([[[ 1., 10.,  2., 20.]]])
    """
    name = "conv_transpose1d"
    input, weight = (x if isinstance(x, Tensor) else np.asarray(x) for x in (input, weight))
    _check(name, input, weight, "(in_channels, out_channels / groups, k)")
    out = conv_transpose2d(
        unsqueeze(input, -2),
        unsqueeze(weight, -2),
        bias,
        (1, one(stride, name, "stride")),
        (0, one(padding, name, "padding")),
        (0, one(output_padding, name, "output_padding")),
        groups,
        (1, one(dilation, name, "dilation")),
    )
    return squeeze(out, -2)
