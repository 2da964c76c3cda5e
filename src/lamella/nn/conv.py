"""Convolution layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamella import functional as F
from lamella.creation import empty
from lamella.functional.conv1d import one
from lamella.functional.conv3d import triple
from lamella.nn import init
from lamella.nn.module import Module, Parameter
from lamella.problems.conv2d import pair

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d"]

MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}  # as the functions call them
Sizes = tuple[int, ...]


def _single(value: Any, operation: str, name: str, least: int) -> Sizes:
    number = one(value, operation, name)
    if number < least:
        raise ValueError(f"{operation}: expected {name} of at least {least}, got {value!r}")
    return (number,)


class _Conv(Module):
    """What all convolutions share: sizes, parameters, their first values."""

    _sizes: Callable[[Any, str, str, int], Sizes]
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        dtype: Any,
        transposed: bool = False,
    ):
        super().__init__()
        name, sizes = type(self).__name__, type(self)._sizes
        for what, value in (("in_channels", in_channels), ("out_channels", out_channels), ("groups", groups)):
            if not hasattr(value, "__index__") or value < 1:
                raise ValueError(f"{name}: {what} must be a positive integer, got {value!r}")
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"{name}: groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}")
        modes = ("zeros",) if transposed else tuple(MODES)
        if padding_mode not in modes:
            raise ValueError(f"{name}: expected padding_mode to be one of {', '.join(modes)}, got {padding_mode!r}")
        if isinstance(padding, str) and (transposed or padding not in ("valid", "same")):
            raise ValueError(f"{name}: expected padding as numbers{'' if transposed else ', valid or same'}, got {padding!r}")
        self.padding: Sizes | str = padding if isinstance(padding, str) else sizes(padding, name, "padding", 0)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = sizes(kernel_size, name, "kernel_size", 1)
        self.stride = sizes(stride, name, "stride", 1)
        self.dilation = sizes(dilation, name, "dilation", 1)
        self.padding_mode = padding_mode
        if padding == "same" and max(self.stride) > 1:
            raise ValueError(f"{name}: padding='same' needs stride 1, got {stride}; give the padding as numbers")
        shape = (in_channels, out_channels // groups) if transposed else (out_channels, in_channels // groups)
        self.weight = Parameter(empty(*shape, *self.kernel_size, dtype=dtype))
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

    def _padded(self, input: Any) -> tuple[Any, Any]:
        """The input with a border that is not zero, and the padding that the convolution has to add."""
        if self.padding_mode == "zeros" or self.padding == "valid":
            return input, self.padding
        both = [(p, p) for p in self.padding if isinstance(p, int)]  # of the text "same": none
        if self.padding == "same":
            reach = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size)]
            both = [(n // 2, n - n // 2) for n in reach]
        widths = [n for low_high in reversed(both) for n in low_high]
        return F.pad(input, widths, MODES[self.padding_mode]), (0,) * len(both)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * len(self.kernel_size):
            text += f", padding={self.padding}"
        if self.dilation != (1,) * len(self.kernel_size):
            text += f", dilation={self.dilation}"
        output_padding = getattr(self, "output_padding", (0,))
        if any(output_padding):
            text += f", output_padding={output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if getattr(self, "algorithm", "auto") != "auto":
            text += f", algorithm={self.algorithm}"
        if self.bias is None:
            text += ", bias=False"
        return text + ("" if self.padding_mode == "zeros" else f", padding_mode={self.padding_mode}")


class Conv1d(_Conv):
    """Convolve sequences with a bank of learned filters.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int
    padding : int, "valid" or "same"
    groups : int, divides both channel numbers
    bias : bool
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
    dtype : optional, default float32

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels // groups, kernel_size)
    bias : Parameter, shape (out_channels,), or None

    Examples
    --------
    >>> import lamella
    >>> Conv1d(3, 16, 3, padding=1)(lamella.randn(2, 3, 8)).shape
    (2, 16, 8)
    """

    _sizes = staticmethod(_single)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] = 1,
        padding: int | tuple[int] | str = 0,
        dilation: int | tuple[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        dtype: Any = None,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, dtype)

    def forward(self, input: Any) -> Any:
        input, padding = self._padded(input)
        return F.conv1d(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)  # type: ignore[arg-type]


class Conv2d(_Conv):
    """Convolve images with a bank of learned filters.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or (int, int)
    stride, dilation : int or (int, int)
    padding : int, (int, int), "valid" or "same"
    groups : int, divides both channel numbers; ``groups=in_channels`` is a depthwise convolution
    bias : bool
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
        What stands in the padding: of the others than zeros see `lamella.functional.pad`, which makes a padded copy of the input.
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

    _sizes = staticmethod(pair)

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
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, dtype)
        self.algorithm = algorithm

    def forward(self, input: Any) -> Any:
        input, padding = self._padded(input)
        return F.conv2d(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups, algorithm=self.algorithm)  # type: ignore[arg-type]


class Conv3d(_Conv):
    """Convolve volumes with a bank of learned filters.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or three ints: depth, height, width
    padding : int, three ints, "valid" or "same"
    groups : int, divides both channel numbers
    bias : bool
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
    dtype : optional, default float32

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels // groups, kd, kh, kw)
    bias : Parameter, shape (out_channels,), or None

    Examples
    --------
    >>> import lamella
    >>> Conv3d(1, 4, 3, padding=1)(lamella.randn(2, 1, 5, 8, 8)).shape
    (2, 4, 5, 8, 8)
    """

    _sizes = staticmethod(triple)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        dtype: Any = None,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, dtype)

    def forward(self, input: Any) -> Any:
        input, padding = self._padded(input)
        return F.conv3d(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)  # type: ignore[arg-type]


class _ConvTranspose(_Conv):
    _transpose: Callable[..., Any]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        dtype: Any = None,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, dtype, True)
        self.output_padding = type(self)._sizes(output_padding, type(self).__name__, "output_padding", 0)

    def forward(self, input: Any, output_size: Any = None) -> Any:
        more, padding = self.output_padding, self.padding
        assert not isinstance(padding, str)
        if output_size is not None:
            wanted, axes = tuple(output_size)[-len(self.kernel_size) :], input.shape[-len(self.kernel_size) :]
            least = tuple(
                (n - 1) * s - 2 * p + d * (k - 1) + 1 for n, s, p, d, k in zip(axes, self.stride, padding, self.dilation, self.kernel_size)
            )
            more = tuple(w - n for w, n in zip(wanted, least))
            if not all(0 <= m < s for m, s in zip(more, self.stride)):
                raise ValueError(f"expected output_size from {least} on, by less than stride {self.stride} more; got {tuple(output_size)}")
        return type(self)._transpose(input, self.weight, self.bias, self.stride, padding, more, self.groups, self.dilation)


class ConvTranspose1d(_ConvTranspose):
    """The transpose of `Conv1d`, which makes sequences longer.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, output_padding : int
    groups : int, divides both channel numbers
    bias : bool
    dilation : int
    padding_mode : {"zeros"}
    dtype : optional, default float32

    Attributes
    ----------
    weight : Parameter, shape (in_channels, out_channels // groups, kernel_size)
    bias : Parameter, shape (out_channels,), or None

    Examples
    --------
    >>> import lamella
    >>> ConvTranspose1d(3, 2, 4, stride=2, padding=1)(lamella.randn(2, 3, 8)).shape
    (2, 2, 16)
    """

    _sizes = staticmethod(_single)
    _transpose = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_ConvTranspose):
    """The transpose of `Conv2d`, which makes images larger.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride : int or (int, int)
    padding : int or (int, int)
        Of the convolution it transposes: so much is cut off.
    output_padding : int or (int, int)
        Added to the size; ``forward(input, output_size)`` works it out.
    groups : int, divides both channel numbers
    bias : bool
    dilation : int or (int, int)
    padding_mode : {"zeros"}
    dtype : optional, default float32

    Attributes
    ----------
    weight : Parameter, shape (in_channels, out_channels // groups, kh, kw)
    bias : Parameter, shape (out_channels,), or None

    Examples
    --------
    >>> import lamella
    >>> up = ConvTranspose2d(3, 2, 3, stride=2, padding=1)
    >>> up(lamella.randn(2, 3, 8, 8)).shape, up(lamella.randn(2, 3, 8, 8), output_size=(16, 16)).shape
    ((2, 2, 15, 15), (2, 2, 16, 16))
    """

    _sizes = staticmethod(pair)
    _transpose = staticmethod(F.conv_transpose2d)
