"""The geometry of a 2-d convolution."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from lamella.problems.activation import ACTIVATIONS
from lamella.problems.base import Problem

MOST = 2**62  # of a size or a step: what is computed with them still fits 64 bits


def whole(value: Any, operation: str, name: str) -> int:
    """An int, or what stands for one."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{operation}: expected {name} as an int, got {value!r}") from None


def pair(value: Any, operation: str, name: str, least: int = 0) -> tuple[int, int]:
    """An int, the only one of a sequence, or a pair of ints as a pair (height, width), each at least `least`."""
    try:
        both = tuple(map(operator.index, value)) if isinstance(value, (tuple, list)) else (operator.index(value),)
    except TypeError:
        raise TypeError(f"{operation}: expected {name} as an int or a pair of ints (height, width), got {value!r}") from None
    if len(both) not in (1, 2):
        raise ValueError(f"{operation}: expected {name} as an int or a pair of ints (height, width), got {value!r}")
    if not least <= min(both) <= max(both) < MOST:
        what = f"of at least {least}" if min(both) < least else "below 2**62"
        raise ValueError(f"{operation}: expected {name} {what}, got {value!r}")
    return both[0], both[-1]


class Conv2dProblem(Problem):
    """out[n, o, y, x] = act(b[o] + sum over c, i, j of x[n, c, y*sh - ph + i*dh, x*sw - pw + j*dw] * w[o, c, i, j]), group by group.

    Parameters of `of`: shape of x (mb, ic, ih, iw), shape of w (oc, ic // groups, kh, kw), dtype, whether there is a bias,
    (sh, sw), padding as (ph, pw), "valid" or "same", (dh, dw), groups, activation (one of ACTIVATIONS, applied by the forward pass; the
    slope of leaky_relu is 0.01), algorithm. ph and pw are the rows above and columns to the left; those below
    and to the right follow from the output size ("same" with an even kernel pads one more there, as in PyTorch).
    The gradient passes are those of the convolution alone: their g is the gradient before the activation.
    """

    operation = "conv2d"
    FIELDS = ("mb", "ic", "ih", "iw", "oc", "oh", "ow", "kh", "kw", "sh", "sw", "ph", "pw", "dh", "dw", "groups", "bias", "act")
    __slots__ = (*FIELDS, "x_shape", "w_shape", "out_shape", "activation", "slope", "algorithm")

    def __init__(
        self,
        x_shape: tuple[int, ...],
        w_shape: tuple[int, ...],
        dtype: np.dtype,
        bias: bool = False,
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int] | str = (0, 0),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
        activation: str = "none",
        algorithm: str = "auto",
    ):
        if len(w_shape) != 4:
            raise ValueError(f"conv2d: expected weight of 4 dimensions (out_channels, in_channels / groups, kh, kw), got shape {w_shape}")
        if len(x_shape) != 4:
            raise ValueError(
                f"conv2d: expected input of 4 dimensions (N, {w_shape[1] * groups}, H, W) or 3 without N, got shape {x_shape}; "
                "add the missing axis, e.g. x[None] or x[:, None]"
            )
        self.mb, self.ic, self.ih, self.iw = x_shape
        self.oc, icg, self.kh, self.kw = w_shape
        self.dtype, self.bias, self.groups = np.dtype(dtype), bool(bias), groups
        if activation not in ACTIVATIONS:
            raise ValueError(f"conv2d: activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        self.activation, self.act, self.slope, self.algorithm = activation, ACTIVATIONS[activation], 0.01, algorithm
        if groups < 1:
            raise ValueError(f"conv2d: expected groups of at least 1, got {groups}")
        if self.oc % groups or self.ic % groups:
            raise ValueError(f"conv2d: groups={groups} must divide the {self.ic} input and the {self.oc} output channels")
        if icg * groups != self.ic:
            hint = ""
            if x_shape[3] == icg * groups:
                hint = "; the last axis fits: lamella takes (N, C, H, W), try x.transpose(0, 3, 1, 2)"
            raise ValueError(
                f"conv2d: expected input (N, {icg * groups}, H, W) for weight {w_shape} with groups={groups}, got {x_shape}{hint}"
            )
        if min(self.oc, icg, self.kh, self.kw) < 1:
            raise ValueError(f"conv2d: weight has an empty axis: shape {w_shape}")
        (self.sh, self.sw), (self.dh, self.dw) = stride, dilation
        reach = (self.dh * (self.kh - 1), self.dw * (self.kw - 1))
        if padding == "valid":
            total = (0, 0)
            self.ph, self.pw = 0, 0
        elif padding == "same":
            if stride != (1, 1):
                raise ValueError(f"conv2d: padding='same' needs stride 1, got {stride}; give the padding as numbers")
            total = reach
            self.ph, self.pw = reach[0] // 2, reach[1] // 2
        elif isinstance(padding, str):
            raise ValueError(f"conv2d: expected padding as numbers, 'valid' or 'same', got {padding!r}")
        else:
            self.ph, self.pw = padding
            total = (2 * self.ph, 2 * self.pw)
        heights = (self.ih + total[0] - reach[0] - 1, self.iw + total[1] - reach[1] - 1)
        if min(heights) < 0:
            raise ValueError(
                f"conv2d: the kernel is larger than the padded input: kernel {(self.kh, self.kw)} with dilation {dilation} spans "
                f"{(reach[0] + 1, reach[1] + 1)}, padded input {(self.ih + total[0], self.iw + total[1])}; pad more or use a smaller kernel"
            )
        self.oh, self.ow = heights[0] // self.sh + 1, heights[1] // self.sw + 1
        self.x_shape, self.w_shape, self.out_shape = tuple(x_shape), tuple(w_shape), (self.mb, self.oc, self.oh, self.ow)
        outputs = self.mb * self.oc * self.oh * self.ow
        self.flops = 2 * outputs * icg * self.kh * self.kw
        self.bytes = self.dtype.itemsize * (int(np.prod(x_shape)) + int(np.prod(w_shape)) + outputs)
        if max(self.flops, self.bytes) >= 2**62:
            raise ValueError(f"conv2d: the problem is too large: input {x_shape}, output {self.out_shape}")
