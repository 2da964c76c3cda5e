"""Convolution layers."""

from __future__ import annotations

from typing import Any

from lamella import functional as F
from lamella.creation import empty
from lamella.nn import init
from lamella.nn.module import Module, Parameter
from lamella.problems.conv2d import pair

__all__ = ["Conv2d"]


class Conv2d(Module):
    """Convolve images with a bank of learned filters.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or (int, int)
    stride, dilation : int or (int, int)
    padding : int, (int, int), "valid" or "same"
    groups : int, divides both channel numbers; ``groups=in_channels`` is a depthwise convolution
    bias : bool
    padding_mode : {"zeros"}
    dtype : optional, default float32
    algorithm : str, of `lamella.functional.conv2d`: "auto" unless one is to be forced

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels // groups, kh, kw)
    bias : Parameter, shape (out_channels,), or None

    Notes
    -----
    Both start uniform within 1 / sqrt(in_channels // groups * kh * kw).

    Examples
    --------
    >>> import lamella
    >>> Conv2d(3, 16, 3, padding=1)(lamella.randn(2, 3, 8, 8)).shape
    (2, 16, 8, 8)
    """

    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        dtype: Any = None,
        algorithm: str = "auto",
    ):
        super().__init__()
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels), ("groups", groups)):
            if not hasattr(value, "__index__") or value < 1:
                raise ValueError(f"Conv2d: {name} must be a positive integer, got {value!r}")
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"Conv2d: groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}")
        if padding_mode != "zeros":
            raise ValueError(f"Conv2d: expected padding_mode 'zeros', got {padding_mode!r}; pad the input with lamella.functional.pad")
        if isinstance(padding, str):
            if padding not in ("valid", "same"):
                raise ValueError(f"Conv2d: expected padding as numbers, 'valid' or 'same', got {padding!r}")
            self.padding: tuple[int, int] | str = padding
        else:
            self.padding = pair(padding, "Conv2d", "padding", 0)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = pair(kernel_size, "Conv2d", "kernel_size", 1)
        self.stride = pair(stride, "Conv2d", "stride", 1)
        self.dilation = pair(dilation, "Conv2d", "dilation", 1)
        self.padding_mode, self.algorithm = padding_mode, algorithm
        if padding == "same" and self.stride != (1, 1):
            raise ValueError(f"Conv2d: padding='same' needs stride 1, got {stride}; give the padding as numbers")
        self.weight = Parameter(empty(out_channels, in_channels // groups, *self.kernel_size, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_channels, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        init.default_weight_(self.weight)
        if self.bias is not None:
            init.default_bias_(self.bias, self.weight)

    def forward(self, input: Any) -> Any:
        return F.conv2d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups, algorithm=self.algorithm)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0, 0):
            text += f", padding={self.padding}"
        if self.dilation != (1, 1):
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.algorithm != "auto":
            text += f", algorithm={self.algorithm}"
        return text + ("" if self.bias is not None else ", bias=False")
