"""ReLU, LeakyReLU, GELU, Sigmoid, Tanh; Softmax, Softmax2d, LogSoftmax, Softmin and Hardmax."""

from __future__ import annotations

from typing import Any

from lamella import functional as F
from lamella.nn.module import Module

__all__ = ["GELU", "Hardmax", "LeakyReLU", "LogSoftmax", "ReLU", "Sigmoid", "Softmax", "Softmax2d", "Softmin", "Tanh"]


class InPlace(Module):
    """What layers share that have no other argument than `inplace`."""

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ReLU(InPlace):
    """max(x, 0), elementwise.

    Parameters
    ----------
    inplace : bool
        The input itself becomes the result, as in `lamella.functional.relu`.

    Examples
    --------
    >>> import lamella
    >>> ReLU()(lamella.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def forward(self, input: Any) -> Any:
        return F.relu(input, self.inplace)


class LeakyReLU(Module):
    """x where x > 0, else negative_slope * x.

    Parameters
    ----------
    negative_slope : float
    inplace : bool
        The input itself becomes the result, as in `lamella.functional.relu`.

    Examples
    --------
    >>> import lamella
    >>> LeakyReLU(0.25)(lamella.tensor([-1.0, 2.0]))
    tensor([-0.25,  2.  ])
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False):
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class GELU(Module):
    """x Phi(x), Phi the distribution function of the standard normal distribution.

    Parameters
    ----------
    approximate : {"none", "tanh", "sigmoid"}
        As in `lamella.functional.gelu`.

    Examples
    --------
    >>> import lamella
    >>> GELU()(lamella.tensor([0.0, 10.0]))
    tensor([ 0., 10.])
    """

    def __init__(self, approximate: str = "none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Any) -> Any:
        return F.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Sigmoid(Module):
    """1 / (1 + exp(-x)), elementwise.

    Examples
    --------
    >>> import lamella
    >>> Sigmoid()(lamella.tensor([0.0]))
    tensor([0.5])
    """

    def forward(self, input: Any) -> Any:
        return F.sigmoid(input)


class Tanh(Module):
    """The hyperbolic tangent, elementwise.

    Examples
    --------
    >>> import lamella
    >>> Tanh()(lamella.tensor([0.0]))
    tensor([0.])
    """

    def forward(self, input: Any) -> Any:
        return F.tanh(input)


class Softmax(Module):
    """exp(x) / sum of exp(x) along an axis.

    Parameters
    ----------
    dim : int
        The axis that sums to 1. Without it the axis is guessed as PyTorch does, with a warning.

    Examples
    --------
    >>> import lamella
    >>> Softmax(dim=1)(lamella.tensor([[0.0, 0.0]]))
    tensor([[0.5, 0.5]])
    """

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """log(softmax(x)) along an axis.

    Parameters
    ----------
    dim : int
        The axis of the classes. Without it the axis is guessed as PyTorch does, with a warning.

    Examples
    --------
    >>> import lamella
    >>> LogSoftmax(dim=0)(lamella.tensor([0.0]))
    tensor([0.])
    """

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return F.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmin(Module):
    """softmax(-x) along an axis.

    Parameters
    ----------
    dim : int
        The axis that sums to 1. Without it the axis is guessed as PyTorch does, with a warning.

    Examples
    --------
    >>> import lamella
    >>> Softmin(dim=0)(lamella.tensor([0.0, 0.0]))
    tensor([0.5, 0.5])
    """

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return F.softmin(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax2d(Module):
    """softmax over the channels of each pixel of (N, C, H, W) or (C, H, W).

    Examples
    --------
    >>> import lamella
    >>> Softmax2d()(lamella.zeros(1, 2, 1, 1)).flatten()
    tensor([0.5, 0.5])
    """

    def forward(self, input: Any) -> Any:
        if input.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got a {input.ndim}D input")
        return F.softmax(input, -3)


class Hardmax(Module):
    """1 at the first maximum along an axis, else 0.

    Parameters
    ----------
    dim : int

    Examples
    --------
    >>> import lamella
    >>> Hardmax()(lamella.tensor([[1.0, 3.0, 3.0]]))
    tensor([[0., 1., 0.]])
    """

    def __init__(self, dim: int = -1):
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return F.hardmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
