"""Cases of the optimizers."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.problems import OptimizerProblem
from lamella.testing.cases.base import DTYPE, Arrays, Row, values


def _decays(p: OptimizerProblem) -> bool:
    return p.n % 2 == 1  # both occur over the sizes


def _make(p: OptimizerProblem, pass_: str, rng: np.random.Generator, integers: bool) -> tuple[list[np.ndarray | None], Arrays]:
    def draw() -> np.ndarray:
        return values(rng, (p.n,), p.dtype, integers)

    g, param, m = draw(), draw(), draw()
    if pass_ == "sgd":
        h = [2.0, 3.0, -1.0, 5.0] if integers else [0.1, 0.9, 0.75, 0.01]
        h[3] *= _decays(p)
        return [np.array(h), g], [param, m] if p.momentum else [param, None]  # type: ignore[list-item]
    decay = 0.01 * _decays(p)
    h = [0.1, 0.99, 0.01, decay, 1 - 0.1 * decay, 0.1 / (1 - 0.9**3), 1 / (1 - 0.99**3) ** 0.5, 1e-3]
    return [np.array(h), g], [param, m, draw() ** 2, draw() ** 2 if p.amsgrad else None]  # type: ignore[list-item]


def _bound(p: OptimizerProblem, pass_: str, inputs: list[Any], expected: Arrays) -> list[Any]:
    """Each term of each formula is rounded a few times: 8 units of the sum of the terms' absolute values."""
    h, g, param, m, *second = inputs
    if pass_ == "sgd":
        lr, momentum, take, decay = np.abs(h)
        size_g = np.abs(g) + decay * np.abs(param)
        size_b = momentum * np.abs(m) + take * size_g if p.momentum else size_g
        return [8 * (np.abs(param) + lr * (size_g + (1 + momentum) * size_b)), 8 * size_b]
    take1, beta2, take2, decay, keep, step, correction, eps = h
    v, vmax = second
    size_g = np.abs(g) + decay * np.abs(param)
    size_m = np.abs(m) + take1 * (size_g + np.abs(m))
    size_v = beta2 * v + take2 * size_g**2
    used = expected[3] if p.amsgrad else expected[2]
    root = np.sqrt(used) * correction
    # the denominator moves by half the relative error of v
    relative = 8 * (1 + size_v / np.maximum(used, 1e-30) * root / (root + eps))
    return [8 * np.abs(param) + relative * step * size_m / (root + eps), 8 * size_m, 8 * size_v, 8 * (size_v + (vmax if p.amsgrad else 0))]


_SIZES = (0, 1, 7, 8, 15, 16, 17, 33, 101, 16384, 40001)
_OPTIONS = [  # momentum, nesterov, amsgrad, decoupled, maximize
    (False, False, False, False, False),
    (True, False, True, False, True),
    (True, True, False, True, False),
    (True, True, True, True, True),
]

ROW = Row(
    OptimizerProblem,
    [(n, DTYPE, *options) for options in _OPTIONS for n in _SIZES],
    _make,
    lambda p, pass_: pass_ == "sgd",
    _bound,
    {"sgd-1M": (1 << 20, DTYPE, True), "adam-1M": (1 << 20, DTYPE)},
)
