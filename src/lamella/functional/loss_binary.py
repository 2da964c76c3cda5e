"""binary_cross_entropy, the same from logits, hinge_loss: targets of two kinds."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.functional._pointwise import pointwise, reduction_of
from lamella.functional.softmax import as_operand
from lamella.tensor import apply

LEAST_LOG = -100.0  # PyTorch's: keeps log(0) finite
LEAST_PRODUCT = float(np.float32(1e-12))  # PyTorch's: keeps the slope finite


def _same_shape(name: str, input: Any, target: Any, **weights: Any) -> None:
    if input.shape != target.shape:
        raise ValueError(f"{name}: expected a target of the input's shape {input.shape}, got {target.shape}; reshape one of them")
    for label, weight in weights.items():
        if weight is not None:
            try:
                fits = np.broadcast_shapes(weight.shape, input.shape) == input.shape
            except ValueError:
                fits = False
            if not fits:
                raise ValueError(f"{name}: expected {label} to broadcast to the input's shape {input.shape}, got {weight.shape}")


def _bce(x: np.ndarray, t: np.ndarray, weight: np.ndarray | None) -> tuple[Any, Any]:
    for label, a in (("input", x), ("target", t)):
        bad = ~((a >= 0) & (a <= 1))
        if bad.any():
            at = tuple(int(i) for i in np.argwhere(bad)[0])
            raise ValueError(
                f"binary_cross_entropy: expected {label} between 0 and 1, got {a[at]} at {at}; "
                "of logits, use binary_cross_entropy_with_logits"
            )
    loss = (t - 1) * np.maximum(np.log1p(-x), LEAST_LOG) - t * np.maximum(np.log(x), LEAST_LOG)
    return loss if weight is None else loss * weight, (x, t, weight)


def _bce_slopes(kept: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    x, t, weight = kept
    dx = (x - t) / np.maximum((1 - x) * x, LEAST_PRODUCT)
    dt = np.log1p(-x) - np.log(x) if needs[1] else None
    if weight is not None:
        dx, dt = dx * weight, None if dt is None else dt * weight
    return dx, dt, None


def log_sigmoid(x: np.ndarray) -> Any:
    """log(1 / (1 + exp(-x))), without overflow."""
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def _logistic(x: np.ndarray) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def _bce_logits(x: np.ndarray, t: np.ndarray, weight: np.ndarray | None, pos_weight: np.ndarray | None) -> tuple[Any, Any]:
    loss = (1 - t) * x - log_sigmoid(x) * (1 if pos_weight is None else (pos_weight - 1) * t + 1)
    return loss if weight is None else loss * weight, (x, t, weight, pos_weight)


def _bce_logits_slopes(kept: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    x, t, weight, pos_weight = kept
    positive = t if pos_weight is None else pos_weight * t
    dx = (positive + 1 - t) * _logistic(x) - positive
    dt = None
    if needs[1]:
        dt = -x if pos_weight is None else log_sigmoid(-x) - pos_weight * log_sigmoid(x)
    if weight is not None:
        dx, dt = dx * weight, None if dt is None else dt * weight
    return dx, dt, None, None


def _hinge(x: np.ndarray, t: np.ndarray, margin: float, zero_one: bool) -> tuple[Any, Any]:
    expected = (0, 1) if zero_one else (-1, 1)
    bad = (t != expected[0]) & (t != expected[1])
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        hint = "" if zero_one else "; for targets 0 and 1 say zero_one=True"
        raise ValueError(f"hinge_loss: expected targets {expected[0]} and {expected[1]}, got {t[at]} at {at}{hint}")
    t = 2 * t - 1 if zero_one else t
    room = margin - t * x
    return np.maximum(room, 0), (t, room)


def _hinge_slopes(kept: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    t, room = kept
    return np.where(room > 0, -t, np.where(np.isnan(room), room, 0)), None


_BCE = pointwise("binary_cross_entropy", ("input", "target", "weight"), _bce, _bce_slopes)
_BCE_LOGITS = pointwise("binary_cross_entropy_with_logits", ("input", "target", "weight", "pos_weight"), _bce_logits, _bce_logits_slopes)
_HINGE = pointwise("hinge_loss", ("input", "target"), _hinge, _hinge_slopes)


def _optional(x: Any) -> Any:
    return None if x is None else as_operand(x)


def binary_cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """-(t log p + (1 - t) log(1 - p)) of probabilities p; logarithms are not taken below -100.

    Parameters
    ----------
    input : array or Tensor of float32 or float64
        Probabilities, from 0 to 1. From logits, `binary_cross_entropy_with_logits` is safer and faster.
    target : array of the input's shape and dtype, from 0 to 1
    weight : array that broadcasts to the input, optional
    reduction : {"mean", "sum", "none"}
    size_average, reduce
        Deprecated in PyTorch; use reduction.

    Returns
    -------
    array or Tensor, shape () or, with reduction="none", the input's

    Raises
    ------
    ValueError
        A probability outside [0, 1]; shapes that do not fit; a wrong reduction.
    TypeError
        Mixed dtypes, or neither float32 nor float64.

    Examples
    --------
    >>> binary_cross_entropy(np.array([0.5, 0.25]), np.array([1.0, 0.0]), reduction="none").round(4)
    array([0.6931, 0.2877])
    """
    reduction = reduction_of("binary_cross_entropy", reduction, size_average, reduce)
    input, target, weight = as_operand(input), as_operand(target), _optional(weight)
    _same_shape("binary_cross_entropy", input, target, weight=weight)
    return apply(_BCE, (input, target, weight), reduction)


def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:
    """The binary cross entropy of p = sigmoid(x): max(x, 0) - x t + log(1 + exp(-\\|x\\|)), which overflows for no x.

    Parameters
    ----------
    input : array or Tensor of float32 or float64
        Logits.
    target : array of the input's shape and dtype, from 0 to 1
    weight : array that broadcasts to the input, optional
    reduction : {"mean", "sum", "none"}
    pos_weight : array that broadcasts to the input, optional
        Multiplies the loss of positive targets: above 1 raises recall, below 1 precision.
    size_average, reduce
        Deprecated in PyTorch; use reduction.

    Returns
    -------
    array or Tensor, shape () or, with reduction="none", the input's

    Raises
    ------
    ValueError
        Shapes that do not fit; a wrong reduction.
    TypeError
        Mixed dtypes, or neither float32 nor float64.

    Examples
    --------
    >>> binary_cross_entropy_with_logits(np.array([0.0, -1e4]), np.array([1.0, 1.0]), reduction="none").round(4)
    array([6.931e-01, 1.000e+04])
    """
    reduction = reduction_of("binary_cross_entropy_with_logits", reduction, size_average, reduce)
    input, target, weight, pos_weight = as_operand(input), as_operand(target), _optional(weight), _optional(pos_weight)
    _same_shape("binary_cross_entropy_with_logits", input, target, weight=weight, pos_weight=pos_weight)
    return apply(_BCE_LOGITS, (input, target, weight, pos_weight), reduction)


def hinge_loss(input: Any, target: Any, margin: float = 1.0, zero_one: bool = False, reduction: str = "mean") -> Any:
    """max(0, margin - t y): zero for scores y on the right side, at a distance.

    Parameters
    ----------
    input : array or Tensor of float32 or float64
        Scores y.
    target : array of the input's shape and dtype
        -1 or 1.
    margin : float
    zero_one : bool
        The targets are 0 and 1 instead; 0 means -1.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    array or Tensor, shape () or, with reduction="none", the input's

    Raises
    ------
    ValueError
        Another target; shapes that differ; a wrong reduction.
    TypeError
        Mixed dtypes, or neither float32 nor float64.

    Notes
    -----
    PyTorch's hinge_embedding_loss is another thing. The slope at the margin is 0.

    Examples
    --------
    >>> hinge_loss(np.array([0.5, 0.5, 2.0]), np.array([1.0, -1.0, 1.0]), reduction="none")
    array([0.5, 1.5, 0. ])
    """
    reduction = reduction_of("hinge_loss", reduction)
    input, target = as_operand(input), as_operand(target)
    _same_shape("hinge_loss", input, target)
    return apply(_HINGE, (input, target), reduction, float(margin), bool(zero_one))
