"""Layers that only rearrange, join or add."""

from __future__ import annotations

from typing import Any

from lamella import functional as F
from lamella.nn.module import Module

__all__ = ["Add", "Concat", "Flatten", "Permute", "Reshape", "Unflatten"]


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


class Unflatten(Module):
    """Splits one axis into several.

    Parameters
    ----------
    dim : int
    unflattened_size : tuple of int
        One may be -1.

    Examples
    --------
    >>> import lamella
    >>> Unflatten(1, (3, 4, 4))(lamella.zeros(2, 48)).shape
    (2, 3, 4, 4)
    """

    def __init__(self, dim: int, unflattened_size: Any):
        super().__init__()
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, input: Any) -> Any:
        return F.unflatten(input, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Reshape(Module):
    """Another shape for every element of the batch.

    Parameters
    ----------
    *shape : int
        Without the batch; one may be -1.

    Examples
    --------
    >>> import lamella
    >>> Reshape(3, -1)(lamella.zeros(2, 6, 4)).shape
    (2, 3, 8)
    """

    def __init__(self, *shape: int):
        super().__init__()
        self.shape = shape

    def forward(self, input: Any) -> Any:
        return F.reshape(input, (input.shape[0], *self.shape))

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.shape))


class Permute(Module):
    """The axes in another order: a view.

    Parameters
    ----------
    *dims : int
        All axes, that of the batch too. ``Permute(0, 3, 1, 2)`` takes (N, H, W, C) images to (N, C, H, W) without a copy; see also
        `lamella.from_nhwc`.

    Examples
    --------
    >>> import lamella
    >>> Permute(0, 3, 1, 2)(lamella.zeros(2, 8, 9, 3)).shape
    (2, 3, 8, 9)
    """

    def __init__(self, *dims: int):
        super().__init__()
        self.dims = dims

    def forward(self, input: Any) -> Any:
        return F.permute(input, self.dims)

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.dims))


class Concat(Module):
    """Several inputs joined along an axis; by default that of the channels.

    Parameters
    ----------
    dim : int

    Examples
    --------
    >>> import lamella
    >>> Concat()(lamella.zeros(2, 3, 8, 8), lamella.zeros(2, 5, 8, 8)).shape
    (2, 8, 8, 8)
    """

    def __init__(self, dim: int = 1):
        super().__init__()
        self.dim = dim

    def forward(self, *inputs: Any) -> Any:
        return F.cat(inputs, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Add(Module):
    """The sum of its inputs, as at the end of a residual block; then, if asked, ReLU.

    Parameters
    ----------
    activation : {"none", "relu"}

    Examples
    --------
    >>> import lamella
    >>> Add("relu")(lamella.tensor([1.0, -3.0]), lamella.tensor([1.0, 2.0]))
    tensor([2., 0.])
    """

    def __init__(self, activation: str = "none"):
        super().__init__()
        if activation not in ("none", "relu"):
            raise ValueError(f"Add: expected activation 'none' or 'relu', got {activation!r}")
        self.activation = activation

    def forward(self, input: Any, *others: Any) -> Any:
        if not others:
            return F.relu(input) if self.activation == "relu" else input
        for other in others[:-1]:
            input = F.add(input, other)
        return F.add(input, others[-1], activation=self.activation)

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}" if self.activation != "none" else ""
