"""The pooling layers."""

from __future__ import annotations

from typing import Any

from lamella import functional as F
from lamella.nn.module import Module

__all__ = ["AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "AvgPool2d", "LPPool2d", "MaxPool2d"]

Size = int | tuple[int, int]


class MaxPool2d(Module):
    """The maximum over windows of every channel's plane.

    Parameters
    ----------
    kernel_size : int or (int, int)
    stride : int or (int, int), default kernel_size
    padding : int or (int, int)
    dilation : int or (int, int)
    return_indices : bool
        Whether `forward` also returns the places of the maxima, row * W + column.
    ceil_mode : bool
        Whether windows may reach over the border at the end.

    Notes
    -----
    Maps (N, C, H, W) to (N, C, OH, OW); see `lamella.functional.max_pool2d`.

    Examples
    --------
    >>> import lamella
    >>> MaxPool2d(3, stride=2, padding=1)(lamella.randn(8, 16, 32, 32)).shape
    (8, 16, 16, 16)
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Any) -> Any:
        return F.max_pool2d(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """The average over windows of every channel's plane.

    Parameters
    ----------
    kernel_size : int or (int, int)
    stride : int or (int, int), default kernel_size
    padding : int or (int, int)
    ceil_mode : bool
        Whether windows may reach over the border at the end.
    count_include_pad : bool
        Whether padding counts in the divisor.
    divisor_override : int, optional
        Divide every sum by this number instead.

    Notes
    -----
    Maps (N, C, H, W) to (N, C, OH, OW); see `lamella.functional.avg_pool2d`.

    Examples
    --------
    >>> import lamella
    >>> AvgPool2d(2)(lamella.randn(8, 16, 32, 32)).shape
    (8, 16, 16, 16)
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Any) -> Any:
        return F.avg_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad, self.divisor_override
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class LPPool2d(Module):
    """The Lp norm over windows of every channel's plane.

    Parameters
    ----------
    norm_type : float
    kernel_size : int or (int, int)
    stride : int or (int, int), default kernel_size
    ceil_mode : bool
        Whether windows may reach over the border at the end.

    Notes
    -----
    Maps (N, C, H, W) to (N, C, OH, OW); see `lamella.functional.lp_pool2d`.

    Examples
    --------
    >>> import lamella
    >>> LPPool2d(2, 3, stride=2)(lamella.randn(8, 16, 33, 33)).shape
    (8, 16, 16, 16)
    """

    def __init__(self, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False):
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Any) -> Any:
        return F.lp_pool2d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, ceil_mode={self.ceil_mode}"


class AdaptiveAvgPool2d(Module):
    """The average over windows that divide every channel's plane into output_size parts.

    Parameters
    ----------
    output_size : int or (int or None, int or None)
        None keeps the input's size; 1 is global average pooling.

    Notes
    -----
    Maps (N, C, H, W) to (N, C, OH, OW); see `lamella.functional.adaptive_avg_pool2d`.

    Examples
    --------
    >>> import lamella
    >>> AdaptiveAvgPool2d(1)(lamella.randn(8, 64, 7, 7)).shape
    (8, 64, 1, 1)
    """

    def __init__(self, output_size: Any):
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Any) -> Any:
        return F.adaptive_avg_pool2d(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool2d(Module):
    """The maximum over windows that divide every channel's plane into output_size parts.

    Parameters
    ----------
    output_size : int or (int or None, int or None)
        None keeps the input's size.
    return_indices : bool
        Whether `forward` also returns the places of the maxima, row * W + column.

    Notes
    -----
    Maps (N, C, H, W) to (N, C, OH, OW); see `lamella.functional.adaptive_max_pool2d`.

    Examples
    --------
    >>> import lamella
    >>> AdaptiveMaxPool2d((5, None))(lamella.randn(8, 64, 7, 9)).shape
    (8, 64, 5, 9)
    """

    def __init__(self, output_size: Any, return_indices: bool = False):
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: Any) -> Any:
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"
