"""Dropout of elements and of whole channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.functional.elementwise import mul
from lamella.layout import operand
from lamella.random import uniform
from lamella.tensor import Operation, Tensor, apply

__all__ = ["dropout", "dropout1d", "dropout2d", "dropout3d"]

MODES = ("inverted", "classic")


def _dropout_forward(x: Any, p: float, channels: bool, inverted: bool) -> tuple[np.ndarray, Any]:
    x = operand(np.asarray(x), "dropout")
    kept = uniform(x.shape[:2] + (1,) * (x.ndim - 2) if channels else x.shape) >= p
    scale = x.dtype.type(1 if not inverted else 0 if p == 1 else 1 / (1 - p))
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


def _apply(name: str, input: Any, p: float, training: bool, mode: str, channels: bool = False) -> Any:
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: probability has to be between 0 and 1, but got {p}")
    if mode not in MODES:
        raise ValueError(f"{name}: mode must be 'inverted' (divide by 1 - p in training) or 'classic' (multiply by it later), got {mode!r}")
    if p == 0:
        return input
    if training:
        return apply(_DROPOUT, (input,), float(p), channels, mode == "inverted")
    return mul(input, 1 - p) if mode == "classic" else input


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, mode: str = "inverted") -> Any:
    """In training, set elements to zero with probability p and divide the others by 1 - p; otherwise return the input.

    Parameters
    ----------
    input : array or Tensor of float32 or float64
    p : float
        From 0 to 1: the probability to drop, never that to keep.
    training : bool
    inplace : bool
        Accepted for PyTorch's sake; the input is never changed.
    mode : {"inverted", "classic"}
        "classic" is the older form that some courses teach: in training the others stay as they are, afterwards everything is multiplied
        by 1 - p.

    Returns
    -------
    array or Tensor of the same shape

    Raises
    ------
    ValueError
        p is no probability, or an unknown mode.

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
    >>> dropout(np.ones(2), 0.2, training=False, mode="classic")
    array([0.8, 0.8])
    """
    return _apply("dropout", input, p, training, mode)


def _spatial(name: str, input: Any, p: float, training: bool, mode: str, batches: tuple[int, ...], single: int, shapes: str) -> Any:
    """Drop channels of inputs whose number of axes is one of `batches`, or of one without the axis of the batch."""
    input = input if isinstance(input, Tensor) else np.asarray(input)
    if input.ndim in batches:
        return _apply(name, input, p, training, mode, True)
    if input.ndim != single:
        raise ValueError(f"{name}: expected input of shape {shapes}, got {input.shape}")
    return _apply(name, input[None], p, training, mode, True)[0]


def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, mode: str = "inverted") -> Any:
    """Drop whole channels of sequences, (N, C, L) or (C, L): each with probability p, in training; the others are divided by 1 - p.

    Parameters
    ----------
    input, p, training, inplace, mode
        As `dropout`.

    Raises
    ------
    ValueError
        Another number of axes, p is no probability, or an unknown mode.

    Notes
    -----
    Neighbours in a feature map resemble each other, so dropping single elements of it hides little. Tompson et al., CVPR 2015.

    Examples
    --------
    >>> import lamella
    >>> lamella.manual_seed(0)
    >>> sorted(set(dropout1d(np.ones((8, 4, 9)), 0.5).sum(-1).ravel().tolist()))
    [0.0, 18.0]
    """
    return _spatial("dropout1d", input, p, training, mode, (3,), 2, "(N, C, L) or (C, L)")


def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, mode: str = "inverted") -> Any:
    """Drop whole channels of images, (N, C, H, W), or, as PyTorch has it, of sequences (N, C, L).

    Parameters
    ----------
    input, p, training, inplace, mode
        As `dropout`.

    Raises
    ------
    ValueError
        Another number of axes, p is no probability, or an unknown mode.

    Notes
    -----
    As `dropout1d`. A single image (C, H, W) is ``image[None]``: three axes are read as (N, C, L).

    Examples
    --------
    >>> import lamella
    >>> lamella.manual_seed(0)
    >>> sorted(set(dropout2d(np.ones((8, 4, 3, 3)), 0.5).sum((2, 3)).ravel().tolist()))
    [0.0, 18.0]
    """
    return _spatial("dropout2d", input, p, training, mode, (4, 3), -1, "(N, C, H, W) or (N, C, L)")


def dropout3d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, mode: str = "inverted") -> Any:
    """Drop whole channels of volumes, (N, C, D, H, W) or (C, D, H, W).

    Parameters
    ----------
    input, p, training, inplace, mode
        As `dropout`.

    Raises
    ------
    ValueError
        Another number of axes, p is no probability, or an unknown mode.

    Notes
    -----
    As `dropout1d`.

    Examples
    --------
    >>> import lamella
    >>> lamella.manual_seed(0)
    >>> sorted(set(dropout3d(np.ones((8, 4, 2, 3, 3)), 0.5).sum((2, 3, 4)).ravel().tolist()))
    [0.0, 36.0]
    """
    return _spatial("dropout3d", input, p, training, mode, (5,), 4, "(N, C, D, H, W) or (C, D, H, W)")
