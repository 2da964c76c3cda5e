"""Dropout layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamella import functional as F
from lamella.nn.module import Module

__all__ = ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d"]


class _Dropout(Module):
    """What the layers share; they differ in what is dropped together. `lamella.train.mc_dropout` keeps all of them at work."""

    _function: Callable[..., Any]

    def __init__(self, p: float = 0.5, inplace: bool = False, *, mode: str = "inverted"):
        super().__init__()
        name = type(self).__name__
        if not 0 <= p <= 1:
            raise ValueError(f"{name}: probability has to be between 0 and 1, but got {p}")
        if mode not in ("inverted", "classic"):
            raise ValueError(f"{name}: mode must be 'inverted' or 'classic', got {mode!r}")
        self.p = p
        self.inplace = inplace
        self.mode = mode

    def forward(self, input: Any) -> Any:
        return type(self)._function(input, self.p, self.training, self.inplace, mode=self.mode)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}" + (f", mode={self.mode!r}" if self.mode != "inverted" else "")


class Dropout(_Dropout):
    """In training, sets elements to zero with probability p and divides the others by 1 - p; in evaluation, does nothing.

    Parameters
    ----------
    p : float
        The probability to drop.
    inplace : bool
        Accepted for PyTorch's sake; the input is never changed.
    mode : {"inverted", "classic"}
        "classic": nothing is divided in training, and in evaluation everything is multiplied by 1 - p.

    Examples
    --------
    >>> import lamella
    >>> Dropout(0.2).eval()(lamella.ones(3))
    tensor([1., 1., 1.])
    >>> Dropout(0.2, mode="classic").eval()(lamella.ones(3))
    tensor([0.8, 0.8, 0.8])
    """

    _function = staticmethod(F.dropout)


class Dropout1d(_Dropout):
    """In training, drops whole channels of sequences (N, C, L) or (C, L), each with probability p.

    Parameters
    ----------
    p, inplace, mode
        As Dropout.

    Examples
    --------
    >>> import lamella
    >>> Dropout1d(1.0)(lamella.ones(1, 2, 3)).sum().item()
    0.0
    """

    _function = staticmethod(F.dropout1d)


class Dropout2d(_Dropout):
    """In training, drops whole channels of images (N, C, H, W), each with probability p: spatial dropout.

    Parameters
    ----------
    p, inplace, mode
        As Dropout.

    Examples
    --------
    >>> import lamella
    >>> lamella.manual_seed(0)
    >>> sorted(set(Dropout2d(0.5)(lamella.ones(4, 6, 3, 3)).numpy().mean((2, 3)).ravel().tolist()))
    [0.0, 2.0]
    """

    _function = staticmethod(F.dropout2d)


class Dropout3d(_Dropout):
    """In training, drops whole channels of volumes (N, C, D, H, W) or (C, D, H, W), each with probability p.

    Parameters
    ----------
    p, inplace, mode
        As Dropout.

    Examples
    --------
    >>> import lamella
    >>> Dropout3d().eval()(lamella.ones(1, 2, 2, 2, 2)).sum().item()
    16.0
    """

    _function = staticmethod(F.dropout3d)
