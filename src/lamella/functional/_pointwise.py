"""What losses share: the reduction, and an Operation for those that are computed element by element.

They are bound by memory and small beside the network that feeds them, so NumPy's ufuncs do. Sums are taken in float64.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from lamella.functional._broadcast import unbroadcast
from lamella.layout import operand, same_dtype
from lamella.problems.softmax import REDUCTIONS
from lamella.tensor import Operation


def reduction_of(name: str, reduction: str, size_average: bool | None = None, reduce: bool | None = None) -> str:
    """The reduction, also from PyTorch's two deprecated flags."""
    if size_average is not None or reduce is not None:
        reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
        warnings.warn(f"{name}: size_average and reduce are deprecated; use reduction={reduction!r}", DeprecationWarning, stacklevel=3)
    if reduction not in REDUCTIONS:
        raise ValueError(f"{name}: reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}")
    return reduction


def reduced(loss: np.ndarray, reduction: str) -> np.ndarray:
    """The losses themselves, their sum or their mean; the mean of nothing is NaN."""
    if reduction == "none":
        return loss
    with np.errstate(all="ignore"):
        total = loss.sum(dtype=np.float64)
        return np.asarray(total / np.float64(loss.size) if reduction == "mean" else total).astype(loss.dtype)


def share(g: np.ndarray, reduction: str, size: int) -> np.ndarray:
    """The gradient of each loss, given that of what `reduced` returned."""
    return np.asarray(g / g.dtype.type(size)) if reduction == "mean" and size else g


def pointwise(name: str, labels: tuple[str, ...], value: Callable[..., Any], slopes: Callable[..., Any]) -> Operation:
    """The Operation of a loss.

    Applied to one array (or None) per label, the reduction, and attributes. ``value(*arrays, *attributes)`` returns the losses and what to keep;
    ``slopes(kept, needs)`` the derivative with respect to each array, None where there is none.
    """

    def forward(*given: Any) -> tuple[np.ndarray, Any]:
        arrays = [None if x is None else operand(x, name, label) for label, x in zip(labels, given)]
        same_dtype(name, **dict(zip(labels, arrays)))
        reduction, *attributes = given[len(labels) :]
        with np.errstate(all="ignore"):
            loss, kept = value(*arrays, *attributes)
        loss = np.asarray(loss)
        return reduced(loss, reduction), (kept, reduction, loss.size, [None if x is None else x.shape for x in arrays])

    def backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        kept, reduction, size, shapes = saved
        g = share(g, reduction, size)
        with np.errstate(all="ignore"):
            found = slopes(kept, needs)
            return tuple(
                unbroadcast(np.asarray(slope * g), shape) if need and slope is not None else None
                for slope, need, shape in zip(found, needs, shapes)
            )

    return Operation(name, forward, backward)


def one_shape(name: str, input: Any, target: Any) -> None:
    """Refuse shapes that do not broadcast; warn where they do and differ."""
    if input.shape != target.shape:
        try:
            shape = np.broadcast_shapes(input.shape, target.shape)
        except ValueError:
            raise ValueError(f"{name}: expected input and target of one shape, got {input.shape} and {target.shape}") from None
        warnings.warn(
            f"{name}: input of shape {input.shape} and target of shape {target.shape} are broadcast to {shape}; reshape one of them",
            stacklevel=3,
        )
