"""Dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.layout import operand
from lamella.random import generator
from lamella.tensor import Operation, apply

__all__ = ["dropout"]


def _dropout_forward(x: Any, p: float) -> tuple[np.ndarray, Any]:
    x = operand(np.asarray(x), "dropout")
    # images draw in channels-last order, so that the mask lies in memory as the fast kernels' results do; it depends on the shape alone
    if x.ndim == 4:
        n, c, h, w = x.shape
        kept = np.moveaxis(generator().random((n, h, w, c), np.float32) >= p, -1, 1)
    else:
        kept = generator().random(x.shape, np.float32) >= p
    scale = x.dtype.type(0 if p == 1 else 1 / (1 - p))
    return _scaled(x, kept, scale), (kept, scale)


def _scaled(x: np.ndarray, kept: np.ndarray, scale: Any) -> np.ndarray:
    out = np.empty_like(x)  # keeps the memory order of x
    with np.errstate(all="ignore"):
        np.multiply(x, kept, out=out)
        out *= scale
    return out


def _dropout_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray]:
    return (_scaled(g, *saved),)


_DROPOUT = Operation("dropout", _dropout_forward, _dropout_backward)


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """In training, set elements to zero with probability p and divide the others by 1 - p; otherwise return the input.

    Parameters
    ----------
    input : array or Tensor of float32 or float64
    p : float
        From 0 to 1.
    training : bool
    inplace : bool
        Accepted for PyTorch's sake; the input is never changed.

    Returns
    -------
    array or Tensor of the same shape

    Raises
    ------
    ValueError
        p is no probability.

    Notes
    -----
    The mask is one draw from lamella's random state; it depends on the shape, not on memory order, dtype or threads.
    After Srivastava et al., JMLR 15, 2014.

    Examples
    --------
    >>> import lamella
    >>> lamella.manual_seed(0)
    >>> np.unique(dropout(np.ones(1000), 0.2))
    array([0.  , 1.25])
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: probability has to be between 0 and 1, but got {p}")
    if not training or p == 0:
        return input
    return apply(_DROPOUT, (input,), float(p))
