"""Flatten."""

from __future__ import annotations

from typing import Any

from lamella import functional as F
from lamella.nn.module import Module

__all__ = ["Flatten"]


class Flatten(Module):
    """Joins axes start_dim to end_dim into one; by default all but the batch.

    Parameters
    ----------
    start_dim, end_dim : int

    Examples
    --------
    >>> import lamella
    >>> Flatten()(lamella.zeros(2, 3, 4, 4)).shape
    (2, 48)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Any) -> Any:
        return F.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
