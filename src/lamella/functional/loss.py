"""cross_entropy, nll_loss, mse_loss."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from lamella.functional._broadcast import unbroadcast
from lamella.functional.softmax import as_operand, classes_last, rows_of
from lamella.layout import operand, same_dtype
from lamella.problems import SoftmaxProblem
from lamella.problems.softmax import REDUCTIONS
from lamella.registry import select
from lamella.tensor import Operation, apply


def reduction_of(name: str, reduction: str, size_average: bool | None, reduce: bool | None) -> str:
    """The reduction, also from PyTorch's two deprecated flags."""
    if size_average is not None or reduce is not None:
        reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
        warnings.warn(f"{name}: size_average and reduce are deprecated; use reduction={reduction!r}", DeprecationWarning, stacklevel=3)
    if reduction not in REDUCTIONS:
        raise ValueError(f"{name}: reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}")
    return reduction


def check_labels(name: str, target: np.ndarray, classes: int, ignore_index: int) -> np.ndarray:
    """Labels as contiguous int64; one that is neither a class nor `ignore_index` is refused."""
    labels = np.ascontiguousarray(target, np.int64)
    # seen as unsigned, a negative label is large: one pass finds both ends
    if labels.size and int(labels.view(np.uint64).max()) >= classes:
        wrong = ((labels < 0) | (labels >= classes)) & (labels != ignore_index)
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            place = at[0] if len(at) == 1 else at
            raise ValueError(
                f"{name}: expected labels in [0, {classes - 1}] for {classes} classes (or ignore_index = {ignore_index}), "
                f"got {int(labels[at])} at position {place}; {int(wrong.sum())} of {labels.size} labels are out of range"
            )
    return labels


def _logits(name: str, x: np.ndarray) -> tuple[np.ndarray, int]:
    """The input with its classes last, and the axis they came from."""
    if x.ndim == 0:
        raise ValueError(f"{name}: expected input of shape (C,), (N, C) or (N, C, d1, ...), got a single number")
    dim = 0 if x.ndim == 1 else 1
    return classes_last(operand(x, name), dim), dim


def _class_weight(name: str, weight: np.ndarray | None, x: np.ndarray, classes: int) -> np.ndarray | None:
    if weight is None:
        return None
    weight = operand(weight, name, "weight")
    same_dtype(name, input=x, weight=weight)
    if weight.shape != (classes,):
        raise ValueError(f"{name}: expected weight of shape ({classes},), one per class, got {weight.shape}")
    return np.ascontiguousarray(weight)


def _labels(name: str, x: np.ndarray, dim: int, target: np.ndarray, ignore_index: int) -> np.ndarray:
    """The checked labels of an input as the user gave it."""
    shape = x.shape[:dim] + x.shape[dim + 1 :]
    if target.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected a target of integer class numbers of shape {shape}, got {target.dtype}")
    if target.shape != shape:
        raise ValueError(f"{name}: expected a target of shape {shape} for an input of shape {x.shape}, got {target.shape}")
    return check_labels(name, target, x.shape[dim], ignore_index)


def _finished(loss: np.ndarray, reduction: str, shape: tuple[int, ...]) -> np.ndarray:
    return loss.reshape(shape if reduction == "none" else ())


def _back(dx: np.ndarray, dim: int) -> np.ndarray:
    return dx if dim == dx.ndim - 1 else np.moveaxis(dx, -1, dim)


def _problem(last: np.ndarray, shape: tuple[int, ...], reduction: str, ignore_index: int, label_smoothing: float) -> Any:
    rows, classes = rows_of(last)
    return SoftmaxProblem.of(rows if classes else int(np.prod(shape)), classes, last.dtype, reduction, ignore_index, label_smoothing)


# cross entropy: `soft` targets are probabilities


def _cross_entropy(
    x: np.ndarray, target: np.ndarray, weight: np.ndarray | None, reduction: str, ignore_index: int, label_smoothing: float
) -> tuple[np.ndarray, Any]:
    name = "cross_entropy"
    last, dim = _logits(name, x)
    soft = target.shape == x.shape and target.dtype.kind not in "iu"
    weight = _class_weight(name, weight, last, x.shape[dim])
    shape = last.shape[:-1]
    p = _problem(last, shape, reduction, ignore_index, label_smoothing)
    loss = np.empty(p.rows if reduction == "none" else 1, p.dtype)
    stats = np.empty((p.rows, 2), p.dtype)
    if soft:
        target = classes_last(operand(target, name, "target"), dim)
        same_dtype(name, input=last, target=target)
        select("softmax", "cross_entropy_soft_forward", p)(p, last, target, weight, loss, stats)
        total = None
    else:
        target = _labels(name, x, dim, target, ignore_index)
        total = np.empty(1)
        select("softmax", "cross_entropy_forward", p)(p, last, target.reshape(-1), weight, loss, stats, total)
    return _finished(loss, reduction, shape), (p, dim, last, target, weight, stats, total, x if np.may_share_memory(last, x) else None)


def _cross_entropy_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
    p, dim, last, target, weight, stats, total, _ = saved
    g = np.ascontiguousarray(g).reshape(-1)
    dx = dt = None
    if needs[0]:
        dx = np.empty_like(last)
        if total is None:
            select("softmax", "cross_entropy_soft_backward", p)(p, g, last, target, weight, stats, dx)
        else:
            select("softmax", "cross_entropy_backward", p)(p, g, last, target.reshape(-1), weight, stats, total, dx)
        dx = _back(dx, dim)
    if needs[1]:
        logs = np.empty_like(last)
        select("softmax", "log_forward", p)(p, last, logs)
        scale = g.reshape(last.shape[:-1])[..., None] if p.reduction == "none" else g / p.rows if p.reduction == "mean" else g
        logs *= -(1 - p.label_smoothing) * scale.astype(p.dtype)
        if weight is not None:
            logs *= weight
        dt = _back(logs, dim)
    return dx, dt, None


_CROSS_ENTROPY = Operation("cross_entropy", _cross_entropy, _cross_entropy_backward)


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """The cross entropy between logits and classes, fused: no softmax is stored.

    Parameters
    ----------
    input : array or Tensor, shape (C,), (N, C) or (N, C, d1, ...)
        Logits, float32 or float64.
    target : array of integers, shape (), (N,) or (N, d1, ...), or array of the input's shape and dtype
        Class numbers, or the probability of each class.
    weight : array, shape (C,), optional
        Of each class.
    ignore_index : int
        A label that adds neither to the loss nor to the gradient. Class numbers only.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the sum of the weights of the labels that count; for probabilities, by the number of rows.
    label_smoothing : float in [0, 1]
        The share of the target that is spread evenly over all classes.
    size_average, reduce
        Deprecated in PyTorch; use reduction.

    Returns
    -------
    array or Tensor, shape () or, with reduction="none", the shape of class numbers

    Raises
    ------
    ValueError
        A label out of range (its value, position and the number of classes are named), a wrong shape, reduction or label_smoothing.
    TypeError
        Neither integers nor floats of the input's shape; mixed dtypes.

    Notes
    -----
    The mean over no label at all is NaN, as in PyTorch. Losses are summed in float64 in a fixed order, whatever the number of threads.

    Examples
    --------
    >>> cross_entropy(np.array([[2.0, 0.0], [0.0, 0.0]]), np.array([0, 1])).round(4)
    np.float64(0.41)
    >>> cross_entropy(np.zeros((1, 4)), np.array([[0.5, 0.5, 0.0, 0.0]])).round(4)
    np.float64(1.3863)
    """
    reduction = reduction_of("cross_entropy", reduction, size_average, reduce)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing must be in [0, 1], got {label_smoothing}")
    inputs = (as_operand(input), as_operand(target), None if weight is None else as_operand(weight))
    return apply(_CROSS_ENTROPY, inputs, reduction, int(ignore_index), float(label_smoothing))


# negative log-likelihood


def _nll(x: np.ndarray, target: np.ndarray, weight: np.ndarray | None, reduction: str, ignore_index: int) -> tuple[np.ndarray, Any]:
    last, dim = _logits("nll_loss", x)
    target = _labels("nll_loss", x, dim, target, ignore_index)
    weight = _class_weight("nll_loss", weight, last, x.shape[dim])
    shape = last.shape[:-1]
    p = _problem(last, shape, reduction, ignore_index, 0.0)
    loss, total = np.empty(p.rows if reduction == "none" else 1, p.dtype), np.empty(1)
    select("softmax", "nll_forward", p)(p, last, target.reshape(-1), weight, loss, total)
    return _finished(loss, reduction, shape), (p, dim, last.shape, target, weight, total)


def _nll_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
    p, dim, shape, target, weight, total = saved
    dx = np.empty(shape, p.dtype)
    g = np.ascontiguousarray(g).reshape(-1)
    select("softmax", "nll_backward", p)(p, g, target.reshape(-1), weight, total, dx)
    return _back(dx, dim), None, None


_NLL = Operation("nll_loss", _nll, _nll_backward)


def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Minus the log-probability of the target class.

    Parameters
    ----------
    input : array or Tensor, shape (C,), (N, C) or (N, C, d1, ...)
        Log-probabilities, e.g. from log_softmax; float32 or float64.
    target : array of integers, shape (), (N,) or (N, d1, ...)
    weight, ignore_index, reduction, size_average, reduce
        As in cross_entropy.

    Returns
    -------
    array or Tensor, shape () or, with reduction="none", the shape of target

    Raises
    ------
    ValueError
        A label out of range, a wrong shape or reduction.
    TypeError
        The target does not hold integers; mixed dtypes.

    Examples
    --------
    >>> nll_loss(np.log([[0.5, 0.5], [0.25, 0.75]]), np.array([0, 0])).round(4)
    np.float64(1.0397)
    """
    reduction = reduction_of("nll_loss", reduction, size_average, reduce)
    inputs = (as_operand(input), as_operand(target), None if weight is None else as_operand(weight))
    return apply(_NLL, inputs, reduction, int(ignore_index))


# mean squared error: elementwise and bound by memory, so NumPy's ufuncs do


def _mse(x: np.ndarray, target: np.ndarray, reduction: str) -> tuple[np.ndarray, Any]:
    x, target = operand(x, "mse_loss"), operand(target, "mse_loss", "target")
    dtype = same_dtype("mse_loss", input=x, target=target)
    d = np.asarray(x - target)
    out = d * d
    if reduction != "none":
        total = out.sum(dtype=np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            out = np.asarray(total / d.size if reduction == "mean" and d.size else np.nan if reduction == "mean" else total).astype(dtype)
    return np.asarray(out), (d, reduction, x.shape, target.shape)


def _mse_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
    d, reduction, shape, target_shape = saved
    scale = np.asarray(2 * g / d.size if reduction == "mean" and d.size else 2 * g).astype(d.dtype)
    dx = np.asarray(d * scale)
    return unbroadcast(dx, shape) if needs[0] else None, unbroadcast(np.asarray(-dx), target_shape) if needs[1] else None


_MSE = Operation("mse_loss", _mse, _mse_backward)


def mse_loss(input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> Any:
    """The squared difference (input - target)^2, averaged, summed or element by element.

    Parameters
    ----------
    input, target : array or Tensor of one dtype, float32 or float64, and one shape
        Shapes that differ are broadcast, with a warning: it is rarely what was meant.
    reduction : {"mean", "sum", "none"}
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
    input, target = as_operand(input), as_operand(target)
    if input.shape != target.shape:
        try:
            shape = np.broadcast_shapes(input.shape, target.shape)
        except ValueError:
            raise ValueError(f"mse_loss: expected input and target of one shape, got {input.shape} and {target.shape}") from None
        warnings.warn(
            f"mse_loss: input of shape {input.shape} and target of shape {target.shape} are broadcast to {shape}; reshape one of them",
            stacklevel=2,
        )
    return apply(_MSE, (input, target), reduction)
