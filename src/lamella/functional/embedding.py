"""embedding."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.layout import operand
from lamella.memory import empty
from lamella.tensor import Operation, Tensor, apply

__all__ = ["embedding"]


def _row(padding_idx: int | None, rows: int) -> int | None:
    if padding_idx is None:
        return None
    if not hasattr(padding_idx, "__index__") or not -rows <= padding_idx < rows:
        raise ValueError(f"embedding: expected padding_idx as one of {rows} rows, got {padding_idx!r}")
    return padding_idx % rows


def _forward(index: Any, weight: Any, padding: int | None, by_frequency: bool) -> tuple[np.ndarray, Any]:
    weight = operand(np.asarray(weight), "embedding", "weight")
    out = empty((*index.shape, weight.shape[1]), weight.dtype)
    np.take(weight, index, axis=0, out=out, mode="clip")  # in range, as checked
    return out, (index.ravel().copy(), weight.shape, padding, by_frequency)


def _backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    index, shape, padding, by_frequency = saved
    dw = np.zeros(shape, g.dtype)
    g = g.reshape(len(index), shape[1])
    if padding is not None:
        kept = index != padding
        index, g = index[kept], g[kept]
    if len(index):
        order = np.argsort(index, kind="stable")  # rows taken several times stand together, and are added in their order
        rows, starts, counts = np.unique(index[order], return_index=True, return_counts=True)
        sums = np.add.reduceat(g[order], starts, axis=0)
        dw[rows] = sums / counts[:, None].astype(g.dtype) if by_frequency else sums
    return None, dw


_EMBEDDING = Operation("embedding", _forward, _backward)


def _norms(rows: np.ndarray, order: float) -> np.ndarray:
    size = np.abs(rows)
    return size.max(axis=1, initial=0) if order == np.inf else (size**order).sum(axis=1) ** (1 / order)


def _limit(weight: Any, index: np.ndarray, max_norm: float, norm_type: float) -> None:
    """Shorten the rows in use to max_norm, in place."""
    rows = weight.data if isinstance(weight, Tensor) else weight
    if not isinstance(rows, np.ndarray) or not rows.flags.writeable:
        raise ValueError("embedding: max_norm changes weight in place, which has to be a writable array or Tensor")
    used = np.unique(index)
    norms = _norms(rows[used], norm_type)
    long = norms > max_norm
    if long.any():
        rows[used[long]] *= (max_norm / (norms[long] + 1e-7))[:, None].astype(rows.dtype)
        if isinstance(weight, Tensor):
            weight._version[0] += 1


def embedding(
    input: Any, weight: Any, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0,
    scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Any:  # fmt: skip
    """Rows of a table: ``weight[input]``.

    Parameters
    ----------
    input : array or Tensor of int, any shape
        Numbers of rows, from 0.
    weight : array or Tensor, shape (rows, features)
    padding_idx : int, optional
        A row that gets no gradient.
    max_norm : float, optional
        Rows in use that are longer are first scaled to this norm, in `weight` itself.
    norm_type : float
        Of max_norm.
    scale_grad_by_freq : bool
        Divide the gradient of a row by how often it was taken.
    sparse : bool
        Only False: gradients are dense.

    Returns
    -------
    array or Tensor, shape (*input.shape, features)

    Raises
    ------
    ValueError
        Numbers outside the table; a weight that is no matrix; sparse=True.
    TypeError
        Input that does not hold integers.

    Examples
    --------
    >>> embedding(np.array([1, 0, 1]), np.array([[0.0, 1.0], [2.0, 3.0]]))
    array([[2., 3.],
           [0., 1.],
           [2., 3.]])
    """
    index = np.asarray(input.data if isinstance(input, Tensor) else input)
    if index.dtype.kind not in "iu":
        raise TypeError(f"embedding: expected integers as input, got {index.dtype}; convert with .long()")
    if len(weight.shape) != 2:
        raise ValueError(f"embedding: expected weight of shape (rows, features), got {tuple(weight.shape)}")
    rows = weight.shape[0]
    if index.size and (index.min() < 0 or index.max() >= rows):
        raise ValueError(f"embedding: expected numbers from 0 to {rows - 1}, got {index.min()} to {index.max()}")
    if sparse:
        raise ValueError("embedding: sparse gradients are not there; use sparse=False")
    if max_norm is not None:
        _limit(weight, index, max_norm, norm_type)
    out = apply(_EMBEDDING, (index, weight), _row(padding_idx, rows), bool(scale_grad_by_freq))
    return Tensor(out) if isinstance(input, Tensor) and not isinstance(out, Tensor) else out
