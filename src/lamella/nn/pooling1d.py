"""The pooling layers of sequences, and the layers that undo max-pooling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamella import functional as F
from lamella.functional.conv1d import one
from lamella.nn.module import Module
from lamella.nn.pooling import AdaptiveAvgPool2d, AdaptiveMaxPool2d, LPPool2d, MaxPool2d

__all__ = ["AdaptiveAvgPool1d", "AdaptiveMaxPool1d", "AvgPool1d", "LPPool1d", "MaxPool1d", "MaxUnpool1d", "MaxUnpool2d"]


class MaxPool1d(MaxPool2d):
    """The maximum over windows of every channel's sequence.

    Parameters
    ----------
    kernel_size : int
    stride : int, default kernel_size
    padding, dilation : int
    return_indices, ceil_mode : bool

    Examples
    --------
    >>> import lamella
    >>> MaxPool1d(3, stride=2, padding=1)(lamella.randn(8, 16, 32)).shape
    (8, 16, 16)
    """

    def forward(self, input: Any) -> Any:
        return F.max_pool1d(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices)  # type: ignore[arg-type]


class AvgPool1d(Module):
    """The average over windows of every channel's sequence.

    Parameters
    ----------
    kernel_size : int
    stride : int, default kernel_size
    padding : int
    ceil_mode, count_include_pad : bool

    Examples
    --------
    >>> import lamella
    >>> AvgPool1d(2)(lamella.randn(8, 16, 32)).shape
    (8, 16, 16)
    """

    def __init__(
        self, kernel_size: int, stride: int | None = None, padding: int = 0, ceil_mode: bool = False, count_include_pad: bool = True
    ):
        super().__init__()
        self.kernel_size = (one(kernel_size, "AvgPool1d", "kernel_size"),)
        self.stride = self.kernel_size if stride is None else (one(stride, "AvgPool1d", "stride"),)
        self.padding = (one(padding, "AvgPool1d", "padding"),)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Any) -> Any:
        return F.avg_pool1d(input, self.kernel_size[0], self.stride[0], self.padding[0], self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class LPPool1d(LPPool2d):
    """The Lp norm over windows of every channel's sequence.

    Parameters
    ----------
    norm_type : float
    kernel_size : int
    stride : int, default kernel_size
    ceil_mode : bool

    Examples
    --------
    >>> import lamella
    >>> LPPool1d(2, 3, stride=2)(lamella.randn(8, 16, 33)).shape
    (8, 16, 16)
    """

    def forward(self, input: Any) -> Any:
        return F.lp_pool1d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)  # type: ignore[arg-type]


class AdaptiveAvgPool1d(AdaptiveAvgPool2d):
    """The average over windows that divide every channel's sequence into output_size parts.

    Parameters
    ----------
    output_size : int
        1 is global average pooling.

    Examples
    --------
    >>> import lamella
    >>> AdaptiveAvgPool1d(1)(lamella.randn(8, 64, 7)).shape
    (8, 64, 1)
    """

    def forward(self, input: Any) -> Any:
        return F.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveMaxPool1d(AdaptiveMaxPool2d):
    """The maximum over windows that divide every channel's sequence into output_size parts.

    Parameters
    ----------
    output_size : int
    return_indices : bool

    Examples
    --------
    >>> import lamella
    >>> AdaptiveMaxPool1d(5)(lamella.randn(8, 64, 7)).shape
    (8, 64, 5)
    """

    def forward(self, input: Any) -> Any:
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class MaxUnpool2d(Module):
    """Numbers back at the places where max-pooling found them; 0 elsewhere.

    Parameters
    ----------
    kernel_size : int or (int, int)
    stride : int or (int, int), default kernel_size
    padding : int or (int, int)

    Examples
    --------
    >>> import lamella
    >>> pool, unpool = lamella.nn.MaxPool2d(2, return_indices=True), MaxUnpool2d(2)
    >>> unpool(*pool(lamella.randn(8, 16, 32, 32))).shape
    (8, 16, 32, 32)
    """

    _function: Callable[..., Any] = staticmethod(F.max_unpool2d)

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding

    def forward(self, input: Any, indices: Any, output_size: Any = None) -> Any:
        return type(self)._function(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(MaxUnpool2d):
    """Numbers back at the places where `MaxPool1d` found them; 0 elsewhere.

    Parameters
    ----------
    kernel_size : int
    stride : int, default kernel_size
    padding : int

    Examples
    --------
    >>> import lamella
    >>> pool, unpool = lamella.nn.MaxPool1d(2, return_indices=True), MaxUnpool1d(2)
    >>> unpool(*pool(lamella.randn(8, 16, 32))).shape
    (8, 16, 32)
    """

    _function = staticmethod(F.max_unpool1d)
