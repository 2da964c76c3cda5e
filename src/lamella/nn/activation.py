"""ReLU, LeakyReLU, GELU, Sigmoid, Tanh, Softmax and LogSoftmax."""

from __future__ import annotations

from typing import Any

from lamella import functional as F
from lamella.nn.module import Module

__all__ = ["GELU", "LeakyReLU", "LogSoftmax", "ReLU", "Sigmoid", "Softmax", "Tanh"]


class ReLU(Module):
    """max(x, 0), elementwise.

    Parameters
    ----------
    inplace : bool
        Accepted for PyTorch's sake; the result always has memory of its own.

    Examples
    --------
    >>> import lamella
    >>> ReLU()(lamella.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.relu(input)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class LeakyReLU(Module):
    """x where x > 0, else negative_slope * x.

    Parameters
    ----------
    negative_slope : float
    inplace : bool
        Accepted for PyTorch's sake; the result always has memory of its own.

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
        return F.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class GELU(Module):
    """x Phi(x), Phi the distribution function of the standard normal distribution.

    Parameters
    ----------
    approximate : {"none", "tanh"}
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
