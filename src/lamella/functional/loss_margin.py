"""multi_margin_loss, triplet_margin_loss, cosine_embedding_loss: zero where the right answer wins by a margin."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.functional._pointwise import reduced, reduction_of, share
from lamella.functional.elementwise import abs, add, clamp, compare, div, minimum, mul, pow, sqrt, sub
from lamella.functional.loss import class_weight, labels_of, logits_last
from lamella.functional.reduce import mean
from lamella.functional.reduce import sum as total
from lamella.functional.softmax import as_operand
from lamella.tensor import Operation, apply

_NAME = "multi_margin_loss"


def _multi_margin(
    x: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    reduction: str,
    p: int,
    margin: float,
    normalize_classes: bool,
    hardest: bool,
) -> tuple[np.ndarray, Any]:
    last, _ = logits_last(_NAME, x)
    if last.ndim > 2:
        raise ValueError(f"{_NAME}: expected input of shape (N, C) or (C,), got {x.shape}")
    labels = labels_of(_NAME, x, x.ndim - 1, target, None).reshape(-1)
    rows = last.reshape(-1, last.shape[-1])
    weight = class_weight(_NAME, weight, last, rows.shape[1])
    at = np.arange(len(rows)), labels
    with np.errstate(all="ignore"):
        room = rows - rows[at][:, None] + rows.dtype.type(margin)
        room[at] = 0
        room = np.where(room > 0, room, 0)
        if hardest:
            room *= np.arange(rows.shape[1]) == room.argmax(axis=1, keepdims=True)
        scale = np.ones(len(rows), x.dtype) if weight is None else weight[labels]
        if normalize_classes:
            scale = scale / x.dtype.type(rows.shape[1])
        losses = scale * np.sum(room if p == 1 else room * room, axis=1)
    slope = (room > 0) if p == 1 else 2 * room
    return reduced(losses.reshape(x.shape[:-1]), reduction), (slope, scale, at, reduction, x.shape)


def _multi_margin_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
    slope, scale, at, reduction, shape = saved
    dx = slope * (np.reshape(share(g, reduction, scale.size), -1) * scale)[:, None]
    dx[at] = -dx.sum(axis=1)
    return dx.reshape(shape), None, None


_MULTI_MARGIN = Operation(_NAME, _multi_margin, _multi_margin_backward)


def multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    normalize_classes: bool = True,
    hardest: bool = False,
) -> Any:
    """The multi-class hinge loss: the sum over the other classes j of max(0, margin + x_j - x_y)^p.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, shape (C,) or (N, C)
        Scores.
    target : array of integers, shape () or (N,)
        The class y of each row.
    p : {1, 2}
    margin : float
    weight : array, shape (C,), optional
        Of each class y.
    reduction : {"mean", "sum", "none"}
    normalize_classes : bool
        Divide by C, as PyTorch does. Courses sum (False): the loss of Weston and Watkins.
    hardest : bool
        Only the class that violates the margin most counts: the loss of Crammer and Singer.
    size_average, reduce
        Deprecated in PyTorch; use reduction.

    Returns
    -------
    array or Tensor, shape () or, with reduction="none", that of target

    Raises
    ------
    ValueError
        A label out of range; a wrong shape, reduction or p.
    TypeError
        A target that does not hold integers; mixed dtypes.

    References
    ----------
    Weston and Watkins, Support vector machines for multi-class pattern recognition, ESANN 1999. Crammer and Singer, JMLR 2 (2001).

    Examples
    --------
    >>> scores = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
    >>> multi_margin_loss(scores, np.array([0, 1, 2]), reduction="none", normalize_classes=False).round(4)
    array([ 2.9,  0. , 12.9])
    """
    reduction = reduction_of(_NAME, reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError(f"{_NAME}: p must be 1 or 2, got {p}")
    inputs = (as_operand(input), as_operand(target), None if weight is None else as_operand(weight))
    return apply(_MULTI_MARGIN, inputs, reduction, p, float(margin), bool(normalize_classes), bool(hardest))


def _finished(losses: Any, reduction: str) -> Any:
    return losses if reduction == "none" else mean(losses) if reduction == "mean" else total(losses)


def _distance(a: Any, b: Any, p: float, eps: float) -> Any:
    """The p-norm of a - b + eps along the last axis."""
    d = a - b + eps
    if p == 1:
        return total(abs(d), -1)
    return sqrt(total(d * d, -1)) if p == 2 else pow(total(pow(abs(d), p), -1), 1 / p)


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), where d is the p-norm of the difference (+ eps).

    Parameters
    ----------
    anchor, positive, negative : array or Tensor of one dtype, float32 or float64, shape (N, D) or (D,)
    margin : float, positive
    p : float
        Of the norm.
    eps : float
    swap : bool
        The distance to the negative is the lesser of those from anchor and from positive.
    reduction : {"mean", "sum", "none"}
    size_average, reduce
        Deprecated in PyTorch; use reduction.

    Returns
    -------
    array or Tensor, shape () or, with reduction="none", (N,)

    Raises
    ------
    ValueError
        Shapes that do not broadcast; a margin that is not positive; a wrong reduction.
    TypeError
        Mixed dtypes.

    References
    ----------
    Balntas et al., Learning local feature descriptors with triplets, BMVC 2016.

    Examples
    --------
    >>> a = np.array([[0.0, 0.0]])
    >>> triplet_margin_loss(a, a + 3, a + 1, eps=0.0).round(4)
    np.float64(3.8284)
    """
    reduction = reduction_of("triplet_margin_loss", reduction, size_average, reduce)
    if not margin > 0:
        raise ValueError(f"triplet_margin_loss: margin must be positive, got {margin}")
    anchor, positive, negative = as_operand(anchor), as_operand(positive), as_operand(negative)
    far = _distance(anchor, negative, p, eps)
    if swap:
        far = minimum(far, _distance(positive, negative, p, eps))
    return _finished(clamp(_distance(anchor, positive, p, eps) - far + margin, 0), reduction)


def cosine_embedding_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Of the cosine c of two vectors: 1 - c where the target is 1, max(0, c - margin) where it is -1.

    Parameters
    ----------
    input1, input2 : array or Tensor of one dtype, float32 or float64, shape (N, D) or (D,)
    target : array, shape (N,) or ()
        1: alike; -1: not.
    margin : float
    reduction : {"mean", "sum", "none"}
    size_average, reduce
        Deprecated in PyTorch; use reduction.

    Returns
    -------
    array or Tensor, shape () or, with reduction="none", (N,)

    Raises
    ------
    ValueError
        Shapes that do not fit; a wrong reduction.

    Examples
    --------
    >>> x = np.array([[1.0, 0.0], [1.0, 0.0]])
    >>> cosine_embedding_loss(x, np.array([[0.0, 1.0], [2.0, 0.0]]), np.array([1, -1]), reduction="none")
    array([1., 1.])
    """
    reduction = reduction_of("cosine_embedding_loss", reduction, size_average, reduce)
    input1, input2, target = as_operand(input1), as_operand(input2), as_operand(target)
    if target.shape != input1.shape[:-1] or input1.shape != input2.shape:
        raise ValueError(
            f"cosine_embedding_loss: expected inputs of one shape (N, D) or (D,) and a target of shape (N,) or (), "
            f"got {input1.shape}, {input2.shape} and {target.shape}"
        )
    tiny = float(np.float32(1e-12))  # PyTorch's: keeps the cosine with a zero vector finite
    lengths = mul(add(total(input1 * input1, -1), tiny), add(total(input2 * input2, -1), tiny))
    cosine = div(total(input1 * input2, -1), sqrt(lengths))
    alike, apart = mul(compare(np.equal, target, 1), sub(1.0, cosine)), mul(compare(np.equal, target, -1), clamp(sub(cosine, margin), 0))
    losses = add(alike, apart)
    return _finished(losses, reduction)
