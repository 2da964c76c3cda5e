"""cross_entropy and nll_loss: losses of classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.functional._pointwise import reduction_of
from lamella.functional.softmax import as_operand, classes_last, rows_of
from lamella.layout import operand, same_dtype
from lamella.problems import SoftmaxProblem
from lamella.registry import select
from lamella.tensor import Operation, apply


def check_labels(name: str, target: np.ndarray, classes: int, ignore_index: int | None) -> np.ndarray:
    """Labels as contiguous int64; one that is neither a class nor `ignore_index` is refused."""
    labels = np.ascontiguousarray(target, np.int64)
    # seen as unsigned, a negative label is large: one pass finds both ends
    if labels.size and int(labels.view(np.uint64).max()) >= classes:
        wrong = ((labels < 0) | (labels >= classes)) & (labels != ignore_index)
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            place = at[0] if len(at) == 1 else at
            besides = "" if ignore_index is None else f" (or ignore_index = {ignore_index})"
            raise ValueError(
                f"{name}: expected labels in [0, {classes - 1}] for {classes} classes{besides}, "
                f"got {int(labels[at])} at position {place}; {int(wrong.sum())} of {labels.size} labels are out of range"
            )
    return labels


def logits_last(name: str, x: np.ndarray) -> tuple[np.ndarray, int]:
    """The input with its classes last, and the axis they came from."""
    if x.ndim == 0:
        raise ValueError(f"{name}: expected input of shape (C,), (N, C) or (N, C, d1, ...), got a single number")
    dim = 0 if x.ndim == 1 else 1
    return classes_last(operand(x, name), dim), dim


def class_weight(name: str, weight: np.ndarray | None, x: np.ndarray, classes: int) -> np.ndarray | None:
    if weight is None:
        return None
    weight = operand(weight, name, "weight")
    same_dtype(name, input=x, weight=weight)
    if weight.shape != (classes,):
        raise ValueError(f"{name}: expected weight of shape ({classes},), one per class, got {weight.shape}")
    return np.ascontiguousarray(weight)


def labels_of(name: str, x: np.ndarray, dim: int, target: np.ndarray, ignore_index: int | None) -> np.ndarray:
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
    last, dim = logits_last(name, x)
    soft = target.shape == x.shape and target.dtype.kind not in "iu"
    weight = class_weight(name, weight, last, x.shape[dim])
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
        target = labels_of(name, x, dim, target, ignore_index)
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
    smoothing_over: str = "all",
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
        The share of the target that is spread evenly.
    smoothing_over : {"all", "others"}
        Over all K classes, as in PyTorch and Keras (the right one has 1 - label_smoothing + label_smoothing / K), or over the K - 1 others
        (it has 1 - label_smoothing), as some courses define it.
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
    if smoothing_over not in ("all", "others"):
        raise ValueError(f"cross_entropy: smoothing_over must be 'all' or 'others', got {smoothing_over!r}")
    inputs = (as_operand(input), as_operand(target), None if weight is None else as_operand(weight))
    if smoothing_over == "others" and label_smoothing:
        classes = inputs[0].shape[min(inputs[0].ndim - 1, 1)] if inputs[0].ndim else 0
        label_smoothing *= classes / (classes - 1) if classes > 1 else 0
    return apply(_CROSS_ENTROPY, inputs, reduction, int(ignore_index), float(label_smoothing))


# negative log-likelihood


def _nll(x: np.ndarray, target: np.ndarray, weight: np.ndarray | None, reduction: str, ignore_index: int) -> tuple[np.ndarray, Any]:
    last, dim = logits_last("nll_loss", x)
    target = labels_of("nll_loss", x, dim, target, ignore_index)
    weight = class_weight("nll_loss", weight, last, x.shape[dim])
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
