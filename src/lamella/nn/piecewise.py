"""Layers of the activations made of straight pieces: Hardtanh, ReLU6, Threshold, Hardshrink, Softshrink, Hardsigmoid, Hardswish."""

from __future__ import annotations

from typing import Any

from lamella import functional as F
from lamella.nn.activation import InPlace
from lamella.nn.module import Module

__all__ = ["Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "ReLU6", "Softshrink", "Threshold"]


class Hardtanh(Module):
    """min(max(x, min_val), max_val), elementwise.

    Parameters
    ----------
    min_val, max_val : float
    inplace : bool
        The input itself becomes the result, as in `lamella.functional.relu`.

    Examples
    --------
    >>> import lamella
    >>> Hardtanh()(lamella.tensor([-2.0, 0.5]))
    tensor([-1. ,  0.5])
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False):
        super().__init__()
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}" + (", inplace=True" if self.inplace else "")


class ReLU6(InPlace):
    """min(max(x, 0), 6), elementwise.

    Parameters
    ----------
    inplace : bool
        The input itself becomes the result, as in `lamella.functional.relu`.

    Examples
    --------
    >>> import lamella
    >>> ReLU6()(lamella.tensor([-1.0, 8.0]))
    tensor([0., 6.])
    """

    def forward(self, input: Any) -> Any:
        return F.relu6(input, self.inplace)


class Threshold(Module):
    """x where x > threshold, else value.

    Parameters
    ----------
    threshold, value : float
    inplace : bool
        The input itself becomes the result, as in `lamella.functional.relu`.

    Examples
    --------
    >>> import lamella
    >>> Threshold(0.5, -1.0)(lamella.tensor([0.1, 1.0]))
    tensor([-1.,  1.])
    """

    def __init__(self, threshold: float, value: float, inplace: bool = False):
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, value={self.value}" + (", inplace=True" if self.inplace else "")


class Hardshrink(Module):
    """0 in [-lambd, lambd], else x.

    Parameters
    ----------
    lambd : float

    Examples
    --------
    >>> import lamella
    >>> Hardshrink()(lamella.tensor([-1.0, 0.3]))
    tensor([-1.,  0.])
    """

    def __init__(self, lambd: float = 0.5):
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Any) -> Any:
        return F.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Softshrink(Module):
    """x moved by lambd towards 0; 0 within lambd of it.

    Parameters
    ----------
    lambd : float

    Examples
    --------
    >>> import lamella
    >>> Softshrink()(lamella.tensor([-1.0, 0.3]))
    tensor([-0.5,  0. ])
    """

    def __init__(self, lambd: float = 0.5):
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Any) -> Any:
        return F.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Hardsigmoid(InPlace):
    """min(max(x + 3, 0), 6) / 6, elementwise.

    Parameters
    ----------
    inplace : bool
        The input itself becomes the result, as in `lamella.functional.relu`.

    Examples
    --------
    >>> import lamella
    >>> Hardsigmoid()(lamella.tensor([-3.0, 0.0]))
    tensor([0. , 0.5])
    """

    def forward(self, input: Any) -> Any:
        return F.hardsigmoid(input, self.inplace)

    def extra_repr(self) -> str:
        return ""


class Hardswish(InPlace):
    """x min(max(x + 3, 0), 6) / 6, elementwise.

    Parameters
    ----------
    inplace : bool
        The input itself becomes the result, as in `lamella.functional.relu`.

    Examples
    --------
    >>> import lamella
    >>> Hardswish()(lamella.tensor([1.5, 4.0]))
    tensor([1.125, 4.   ])
    """

    def forward(self, input: Any) -> Any:
        return F.hardswish(input, self.inplace)

    def extra_repr(self) -> str:
        return ""
