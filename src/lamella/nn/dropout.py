"""Dropout."""

from __future__ import annotations

from typing import Any

from lamella import functional as F
from lamella.nn.module import Module

__all__ = ["Dropout"]


class Dropout(Module):
    """In training, sets elements to zero with probability p and divides the others by 1 - p; in evaluation, does nothing.

    Parameters
    ----------
    p : float
    inplace : bool
        Accepted for PyTorch's sake; the input is never changed.

    Examples
    --------
    >>> import lamella
    >>> Dropout(0.2).eval()(lamella.ones(3))
    tensor([1., 1., 1.])
    """

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.dropout(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"
