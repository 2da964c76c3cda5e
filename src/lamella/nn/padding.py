"""Layers that surround their input."""

from __future__ import annotations

from typing import Any

from lamella import functional as F
from lamella.nn.module import Module

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]


class _Pad(Module):
    """padding: one width for all sides, or (left, right), (left, right, top, bottom), (left, right, top, bottom, front, back)."""

    _axes: int
    _mode: str
    _value = 0.0

    def __init__(self, padding: Any):
        super().__init__()
        widths = tuple(padding) if isinstance(padding, (tuple, list)) else (padding,) * (2 * self._axes)
        if len(widths) != 2 * self._axes or not all(hasattr(n, "__index__") for n in widths):
            raise ValueError(
                f"{type(self).__name__}: expected an int or {2 * self._axes} ints, (low, high) of the last axis first, got {padding!r}"
            )
        self.padding = widths

    def forward(self, input: Any) -> Any:
        if input.ndim not in (self._axes + 1, self._axes + 2):
            axes = ", ".join("DHW"[3 - self._axes :]) if self._axes > 1 else "L"
            raise ValueError(f"{type(self).__name__}: expected input (N, C, {axes}) or (C, {axes}), got {input.shape}")
        return F.pad(input, self.padding, self._mode, self._value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding: Any, value: float):
        super().__init__(padding)
        self.value = self._value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ZeroPad1d(_Pad):
    """Surround sequences, (N, C, L) with or without N, with zeros.

    Parameters
    ----------
    padding : int, or (left, right)

    Examples
    --------
    >>> import lamella
    >>> ZeroPad1d(1)(lamella.zeros(2, 3, 5)).shape
    (2, 3, 7)
    """

    _axes, _mode = 1, "constant"


class ZeroPad2d(_Pad):
    """Surround images, (N, C, H, W) with or without N, with zeros.

    Parameters
    ----------
    padding : int, or (left, right, top, bottom)

    Examples
    --------
    >>> import lamella
    >>> ZeroPad2d(1)(lamella.zeros(2, 3, 5, 5)).shape
    (2, 3, 7, 7)
    """

    _axes, _mode = 2, "constant"


class ZeroPad3d(_Pad):
    """Surround volumes, (N, C, D, H, W) with or without N, with zeros.

    Parameters
    ----------
    padding : int, or (left, right, top, bottom, front, back)

    Examples
    --------
    >>> import lamella
    >>> ZeroPad3d(1)(lamella.zeros(2, 3, 5, 5, 5)).shape
    (2, 3, 7, 7, 7)
    """

    _axes, _mode = 3, "constant"


class ConstantPad1d(_ConstantPad):
    """Surround sequences, (N, C, L) with or without N, with a constant.

    Parameters
    ----------
    padding : int, or (left, right)
    value : float

    Examples
    --------
    >>> import lamella
    >>> ConstantPad1d(1, 1.5)(lamella.zeros(2, 3, 5)).shape
    (2, 3, 7)
    """

    _axes, _mode = 1, "constant"


class ConstantPad2d(_ConstantPad):
    """Surround images, (N, C, H, W) with or without N, with a constant.

    Parameters
    ----------
    padding : int, or (left, right, top, bottom)
    value : float

    Examples
    --------
    >>> import lamella
    >>> ConstantPad2d(1, 1.5)(lamella.zeros(2, 3, 5, 5)).shape
    (2, 3, 7, 7)
    """

    _axes, _mode = 2, "constant"


class ConstantPad3d(_ConstantPad):
    """Surround volumes, (N, C, D, H, W) with or without N, with a constant.

    Parameters
    ----------
    padding : int, or (left, right, top, bottom, front, back)
    value : float

    Examples
    --------
    >>> import lamella
    >>> ConstantPad3d(1, 1.5)(lamella.zeros(2, 3, 5, 5, 5)).shape
    (2, 3, 7, 7, 7)
    """

    _axes, _mode = 3, "constant"


class ReflectionPad1d(_Pad):
    """Surround sequences, (N, C, L) with or without N, with their mirror image, without the border itself.

    Parameters
    ----------
    padding : int, or (left, right)

    Examples
    --------
    >>> import lamella
    >>> ReflectionPad1d(1)(lamella.zeros(2, 3, 5)).shape
    (2, 3, 7)
    """

    _axes, _mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """Surround images, (N, C, H, W) with or without N, with their mirror image, without the border itself.

    Parameters
    ----------
    padding : int, or (left, right, top, bottom)

    Examples
    --------
    >>> import lamella
    >>> ReflectionPad2d(1)(lamella.zeros(2, 3, 5, 5)).shape
    (2, 3, 7, 7)
    """

    _axes, _mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """Surround volumes, (N, C, D, H, W) with or without N, with their mirror image, without the border itself.

    Parameters
    ----------
    padding : int, or (left, right, top, bottom, front, back)

    Examples
    --------
    >>> import lamella
    >>> ReflectionPad3d(1)(lamella.zeros(2, 3, 5, 5, 5)).shape
    (2, 3, 7, 7, 7)
    """

    _axes, _mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """Surround sequences, (N, C, L) with or without N, with copies of their border.

    Parameters
    ----------
    padding : int, or (left, right)

    Examples
    --------
    >>> import lamella
    >>> ReplicationPad1d(1)(lamella.zeros(2, 3, 5)).shape
    (2, 3, 7)
    """

    _axes, _mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """Surround images, (N, C, H, W) with or without N, with copies of their border.

    Parameters
    ----------
    padding : int, or (left, right, top, bottom)

    Examples
    --------
    >>> import lamella
    >>> ReplicationPad2d(1)(lamella.zeros(2, 3, 5, 5)).shape
    (2, 3, 7, 7)
    """

    _axes, _mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """Surround volumes, (N, C, D, H, W) with or without N, with copies of their border.

    Parameters
    ----------
    padding : int, or (left, right, top, bottom, front, back)

    Examples
    --------
    >>> import lamella
    >>> ReplicationPad3d(1)(lamella.zeros(2, 3, 5, 5, 5)).shape
    (2, 3, 7, 7, 7)
    """

    _axes, _mode = 3, "replicate"


class CircularPad1d(_Pad):
    """Surround sequences, (N, C, L) with or without N, with their other end.

    Parameters
    ----------
    padding : int, or (left, right)

    Examples
    --------
    >>> import lamella
    >>> CircularPad1d(1)(lamella.zeros(2, 3, 5)).shape
    (2, 3, 7)
    """

    _axes, _mode = 1, "circular"


class CircularPad2d(_Pad):
    """Surround images, (N, C, H, W) with or without N, with their other end.

    Parameters
    ----------
    padding : int, or (left, right, top, bottom)

    Examples
    --------
    >>> import lamella
    >>> CircularPad2d(1)(lamella.zeros(2, 3, 5, 5)).shape
    (2, 3, 7, 7)
    """

    _axes, _mode = 2, "circular"


class CircularPad3d(_Pad):
    """Surround volumes, (N, C, D, H, W) with or without N, with their other end.

    Parameters
    ----------
    padding : int, or (left, right, top, bottom, front, back)

    Examples
    --------
    >>> import lamella
    >>> CircularPad3d(1)(lamella.zeros(2, 3, 5, 5, 5)).shape
    (2, 3, 7, 7, 7)
    """

    _axes, _mode = 3, "circular"
