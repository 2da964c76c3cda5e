"""mse_loss, l1_loss, smooth_l1_loss, huber_loss: distances between numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.functional._pointwise import one_shape, pointwise, reduction_of
from lamella.functional.softmax import as_operand
from lamella.tensor import apply


def _weighted(d: np.ndarray, weight: np.ndarray | None, loss: Any, slope: Any) -> tuple[Any, Any]:
    """Losses of a difference d and their slope, kept with what turns it into gradients."""
    return (loss, slope) if weight is None else (loss * weight, slope * weight)


def _both_ways(slope: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    return slope, -slope if needs[1] else None, None


def _squared(x: np.ndarray, t: np.ndarray, weight: np.ndarray | None) -> tuple[Any, Any]:
    d = x - t
    return _weighted(d, weight, d * d, d + d)


def _absolute(x: np.ndarray, t: np.ndarray, weight: np.ndarray | None) -> tuple[Any, Any]:
    d = x - t
    return _weighted(d, weight, np.abs(d), np.sign(d))


def _smooth(x: np.ndarray, t: np.ndarray, weight: np.ndarray | None, beta: float) -> tuple[Any, Any]:
    d = x - t
    a = np.abs(d)
    near = a < beta
    return np.where(near, 0.5 * d * d / beta, a - 0.5 * beta), np.where(near, d / beta, np.sign(d))


def _huber(x: np.ndarray, t: np.ndarray, weight: np.ndarray | None, delta: float) -> tuple[Any, Any]:
    d = x - t
    a = np.abs(d)
    near = a <= delta
    return _weighted(d, weight, np.where(near, 0.5 * d * d, delta * (a - 0.5 * delta)), np.where(near, d, delta * np.sign(d)))


_LABELS = ("input", "target", "weight")
_MSE = pointwise("mse_loss", _LABELS, _squared, _both_ways)
_L1 = pointwise("l1_loss", _LABELS, _absolute, _both_ways)
_SMOOTH_L1 = pointwise("smooth_l1_loss", _LABELS, _smooth, _both_ways)
_HUBER = pointwise("huber_loss", _LABELS, _huber, _both_ways)


def _apply(operation: Any, input: Any, target: Any, weight: Any, reduction: str, *attributes: float, by_weight: bool = False) -> Any:
    """Apply to checked operands; `by_weight`: the mean divides by the sum of the weights."""
    name = operation.name
    input, target = as_operand(input), as_operand(target)
    one_shape(name, input, target)
    if weight is None:
        return apply(operation, (input, target, None), reduction, *attributes)
    weight = as_operand(weight)
    if weight.shape != input.shape:
        raise ValueError(f"{name}: expected weight of the input's shape {input.shape}, got {weight.shape}")
    if not (by_weight and reduction == "mean"):
        return apply(operation, (input, target, weight), reduction, *attributes)
    with np.errstate(all="ignore"):
        return apply(operation, (input, target, weight), "sum", *attributes) / np.asarray(weight).sum()


def mse_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean", weight: Any = None
) -> Any:
    """The squared difference (input - target)^2, averaged, summed or element by element.

    Parameters
    ----------
    input, target : array or Tensor of one dtype, float32 or float64, and one shape
        Shapes that differ are broadcast, with a warning: it is rarely what was meant.
    reduction : {"mean", "sum", "none"}
    weight : array of the input's shape, optional
        Of each element; the mean then divides by the sum of the weights.
    size_average, reduce
        Deprecated in PyTorch; use reduction.

    Returns
    -------
    array or Tensor, shape () or, with reduction="none", the broadcast shape

    Raises
    ------
    ValueError
        The shapes do not fit; a wrong reduction.
    TypeError
        Mixed dtypes, or neither float32 nor float64.

    Examples
    --------
    >>> mse_loss(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    array(2.)
    """
    reduction = reduction_of("mse_loss", reduction, size_average, reduce)
    return _apply(_MSE, input, target, weight, reduction, by_weight=True)


def l1_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean", weight: Any = None
) -> Any:
    """The absolute difference \\|input - target\\|, averaged, summed or element by element; its slope at 0 is 0.

    Parameters
    ----------
    input, target : array or Tensor of one dtype, float32 or float64, and one shape
        Shapes that differ are broadcast, with a warning.
    reduction : {"mean", "sum", "none"}
    weight : array of the input's shape, optional
        Of each element; the mean then divides by the sum of the weights.
    size_average, reduce
        Deprecated in PyTorch; use reduction.

    Returns
    -------
    array or Tensor, shape () or, with reduction="none", the broadcast shape

    Raises
    ------
    ValueError, TypeError
        As mse_loss.

    Examples
    --------
    >>> l1_loss(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    array(1.)
    """
    reduction = reduction_of("l1_loss", reduction, size_average, reduce)
    return _apply(_L1, input, target, weight, reduction, by_weight=True)


def smooth_l1_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Any:
    """With d = input - target: d^2 / (2 beta) where \\|d\\| < beta, else \\|d\\| - beta / 2.

    Parameters
    ----------
    input, target : array or Tensor of one dtype, float32 or float64, and one shape
        Shapes that differ are broadcast, with a warning.
    reduction : {"mean", "sum", "none"}
    beta : float, not negative
        Where the parabola meets the line; 0 gives l1_loss.
    size_average, reduce
        Deprecated in PyTorch; use reduction.

    Returns
    -------
    array or Tensor, shape () or, with reduction="none", the broadcast shape

    Raises
    ------
    ValueError, TypeError
        As mse_loss; a negative beta.

    Examples
    --------
    >>> smooth_l1_loss(np.array([0.5, 3.0]), np.zeros(2), reduction="none")
    array([0.125, 2.5  ])
    """
    reduction = reduction_of("smooth_l1_loss", reduction, size_average, reduce)
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    return _apply(_SMOOTH_L1, input, target, None, reduction, float(beta))


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Any:
    """With d = input - target: d^2 / 2 where \\|d\\| <= delta, else delta (\\|d\\| - delta / 2): delta times smooth_l1_loss.

    Parameters
    ----------
    input, target : array or Tensor of one dtype, float32 or float64, and one shape
        Shapes that differ are broadcast, with a warning.
    reduction : {"mean", "sum", "none"}
    delta : float, positive
        Where the parabola meets the line.
    weight : array of the input's shape, optional
        Of each element; here the mean divides by their number, as in PyTorch.

    Returns
    -------
    array or Tensor, shape () or, with reduction="none", the broadcast shape

    Raises
    ------
    ValueError, TypeError
        As mse_loss; a delta that is not positive.

    References
    ----------
    Huber, Robust estimation of a location parameter, Ann. Math. Statist. 35 (1964).

    Examples
    --------
    >>> huber_loss(np.array([0.5, 3.0]), np.zeros(2), reduction="none", delta=2.0)
    array([0.125, 4.   ])
    """
    reduction = reduction_of("huber_loss", reduction)
    if not delta > 0:
        raise ValueError(f"huber_loss: delta must be positive, got {delta}")
    return _apply(_HUBER, input, target, weight, reduction, float(delta))
