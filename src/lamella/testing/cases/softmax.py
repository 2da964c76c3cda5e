"""Cases of softmax and its losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.problems import SoftmaxProblem
from lamella.testing.cases.base import DTYPE, Arrays, Row, values


def _target(p: SoftmaxProblem, rng: np.random.Generator) -> np.ndarray:
    target = rng.integers(0, max(p.classes, 1), p.rows)
    if p.ignore_index < 0:
        target[rng.random(p.rows) < 0.2] = p.ignore_index
    return target


def _probabilities(x: np.ndarray, dtype: Any) -> np.ndarray:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return (e / e.sum(axis=1, keepdims=True)).astype(dtype)


def _make(p: SoftmaxProblem, pass_: str, rng: np.random.Generator, integers: bool) -> tuple[list[np.ndarray | None], Arrays]:
    shape = (p.rows, p.classes)
    x = values(rng, shape, p.dtype, integers) * p.dtype.type(1 if integers else 3)
    g = values(rng, shape, p.dtype, integers)
    out = np.empty(shape, p.dtype)
    if pass_ in ("forward", "log_forward"):
        return [x], [out]
    if pass_ in ("backward", "log_backward"):
        y = _probabilities(x.astype(np.float64), p.dtype)
        return [g, y if pass_ == "backward" else np.log(y)], [out]
    # every other problem has class weights
    weight = (rng.integers(1, 4, p.classes) / (1 if integers else 3)).astype(p.dtype) if (p.rows + p.classes) % 2 else None
    soft = "soft" in pass_
    target = _probabilities(values(rng, shape, np.float64, False), p.dtype) if soft else _target(p, rng)
    loss = np.empty(p.rows if p.reduction == "none" else 1, p.dtype)
    stats = np.empty((p.rows, 2), p.dtype)
    total = np.empty(1)
    if pass_.endswith("forward"):
        return [x, target, weight], [loss, *([] if pass_ == "nll_forward" else [stats]), *([] if soft else [total])]
    counts = target != p.ignore_index if not soft else np.ones(p.rows, bool)
    total[0] = counts.sum() if weight is None or soft else weight[target[counts]].sum(dtype=np.float64)
    stats[:, 0] = x.max(axis=1)
    stats[:, 1] = np.exp(x.astype(np.float64) - stats[:, :1]).sum(axis=1)
    upper = values(rng, loss.shape, p.dtype, integers)
    if pass_ == "nll_backward":
        return [upper, target, weight, total], [out]
    return [upper, x, target, weight, stats, *([] if soft else [total])], [out]


def _bound(p: SoftmaxProblem, pass_: str, inputs: list[Any], expected: Arrays) -> list[Any]:
    """Derived from: exp within 2 + |x - m| / 20 ulp, its argument rounded once (|x - m| e^(x - m) <= 0.37), and sums of C terms."""
    terms = 12 + np.sqrt(p.classes) + np.sqrt(p.rows)
    if pass_ in ("forward", "log_forward"):
        x = inputs[0]
        spread = np.abs(x - x.max(axis=1, keepdims=True))
        return [(terms + spread) * (expected[0] if pass_ == "forward" else 1) + 1e-30]
    if pass_ in ("backward", "log_backward"):
        g, y = inputs
        summed = np.abs(g * y if pass_ == "backward" else g).sum(axis=1, keepdims=True)
        if pass_ == "backward":
            return [terms * np.abs(y) * (np.abs(g) + summed) + 1e-30]
        return [terms * np.abs(g) + (terms + np.abs(y)) * np.exp(y) * summed + 1e-30]
    weight = next((a for a in inputs[1:] if a is not None and a.shape == (p.classes,) and a.ndim == 1), np.ones(1))
    largest = float(np.max(weight, initial=1.0))
    if pass_.endswith("forward"):
        x = inputs[0]
        size = np.abs(x).max(axis=1, initial=0.0) * 2 + 1 + np.log(max(p.classes, 1))
        rows = terms * size * largest
        loss = rows if p.reduction == "none" else rows.sum() if p.reduction == "sum" else rows.max(initial=0.0) * largest
        loss = np.broadcast_to(loss, expected[0].shape)
        stats = [] if pass_ == "nll_forward" else [np.stack([np.zeros(p.rows), terms * expected[1][:, 1]], axis=1)]
        return [loss, *stats, *([] if "soft" in pass_ else [terms * np.abs(expected[-1])])]
    divisor = 1.0
    if p.reduction == "mean":
        divisor = p.rows if "soft" in pass_ else max(float(inputs[-1][0]), 1e-30)
    return [np.broadcast_to(terms * np.max(np.abs(inputs[0]), initial=0.0) * 2 * largest / max(divisor, 1e-30), expected[0].shape)]


_SIZES = [(1, 1), (3, 2), (5, 7), (7, 8), (2, 9), (64, 10), (3, 15), (4, 16), (5, 17), (3, 33), (2, 101), (0, 10), (1, 1000), (97, 257)]

ROW = Row(
    SoftmaxProblem,
    [(rows, classes, DTYPE, ("mean", "sum", "none")[i % 3]) for i, (rows, classes) in enumerate(_SIZES)]
    + [
        (rows, classes, DTYPE, reduction, ignore, smoothing)
        for rows, classes in ((6, 10), (7, 10), (5, 16), (4, 33), (3000, 11))
        for reduction, ignore, smoothing in (("mean", -100, 0.1), ("sum", 1, 0.5), ("none", -1, 1.0), ("mean", 3, 0.0))
    ],
    _make,
    lambda p, pass_: pass_.startswith("nll") and p.reduction != "mean",
    _bound,
    {"128x10": (128, 10, DTYPE), "128x1000": (128, 1000, DTYPE), "16384x21": (16384, 21, DTYPE)},
)
