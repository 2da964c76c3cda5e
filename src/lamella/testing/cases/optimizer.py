"""Cases of the optimizers."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.problems import OptimizerProblem
from lamella.testing.cases.base import DTYPE, Arrays, Row, values


def _decays(p: OptimizerProblem) -> bool:
    return p.n % 2 == 1  # both occur over the sizes


def _make(p: OptimizerProblem, pass_: str, rng: np.random.Generator, integers: bool) -> tuple[list[Any], Arrays]:
    def draw() -> list[np.ndarray]:
        return [values(rng, (n,), p.dtype, integers) for n in p.sizes]

    def positive() -> list[np.ndarray]:
        return [x**2 for x in draw()]

    g, param, m = draw(), draw(), draw()
    if pass_ == "sgd":
        h = [-1.0, 2.0, 3.0, -1.0, 5.0] if integers else [0.5, 0.1, 0.9, 0.75, 0.01]
        h[4] *= _decays(p)
        return [np.array(h), g], [param, m] if p.momentum else [param, None]  # type: ignore[list-item]
    decay = 0.01 * _decays(p)
    h = [-0.5, 0.1, 0.99, 0.01, decay, 1 - 0.1 * decay, 0.1 / (1 - 0.9**3), 1 / (1 - 0.99**3) ** 0.5, 1e-3]
    return [np.array(h), g], [param, m, positive(), positive() if p.amsgrad else None]  # type: ignore[list-item]


def _bound(p: OptimizerProblem, pass_: str, inputs: list[Any], expected: list[Any]) -> list[Any]:
    """Each term of each formula is rounded a few times: 8 units of the sum of the terms' absolute values."""
    h, *lists = inputs
    bound: Any = _sgd_bound if pass_ == "sgd" else _adam_bound
    if pass_ == "adam":
        lists.append(expected[3 if p.amsgrad else 2])  # what the root is taken of
    each = [bound(p, np.abs(h), *[None if x is None else x[i] for x in lists]) for i in range(p.count)]
    return [None if out is None else [bounds[j] for bounds in each] for j, out in enumerate(expected)]


def _sgd_bound(p: OptimizerProblem, h: Any, g: Any, param: Any, m: Any) -> list[Any]:
    scale, lr, momentum, take, decay = h
    size_g = scale * np.abs(g) + decay * np.abs(param)
    size_b = momentum * np.abs(m) + take * size_g if p.momentum else size_g
    return [8 * (np.abs(param) + lr * (size_g + (1 + momentum) * size_b)), 8 * size_b]


def _adam_bound(p: OptimizerProblem, h: Any, g: Any, param: Any, m: Any, v: Any, vmax: Any, used: Any) -> list[Any]:
    scale, take1, beta2, take2, decay, keep, step, correction, eps = h
    size_g = scale * np.abs(g) + decay * np.abs(param)
    size_m = np.abs(m) + take1 * (size_g + np.abs(m))
    size_v = beta2 * v + take2 * size_g**2
    root = np.sqrt(used) * correction
    # the denominator moves by half the relative error of v
    relative = 8 * (1 + size_v / np.maximum(used, 1e-30) * root / (root + eps))
    return [8 * np.abs(param) + relative * step * size_m / (root + eps), 8 * size_m, 8 * size_v, 8 * (size_v + (vmax if p.amsgrad else 0))]


_SIZES = [(n,) for n in (0, 1, 7, 8, 15, 16, 17, 33, 101, 16384, 40001)] + [(), (3, 0, 17, 16384, 1), (16383, 2, 16384, 0, 5, 33000)]
_OPTIONS = [  # momentum, nesterov, amsgrad, decoupled
    (False, False, False, False),
    (True, False, True, False),
    (True, True, False, True),
    (True, True, True, True),
]

# the parameters of ResNet-18 for 1000 classes, and of ResNet-20 for 10
_STAGES = ((64, 64), (128, 64), (256, 128), (512, 256))
RESNET18: tuple[int, ...] = (9408, 64, 64)
for n, before in _STAGES:
    RESNET18 += (9 * n * before, n, n) + (9 * n * n, n, n) * 3 + ((n * before, n, n) if n > before else ())
RESNET18 += (512000, 1000)
RESNET20 = (432, 16, 16) + (2304, 16, 16) * 6 + (4608, 32, 32) + (9216, 32, 32) * 5 + (18432, 64, 64) + (36864, 64, 64) * 5 + (640, 10)

ROW = Row(
    OptimizerProblem,
    [(sizes, DTYPE, *options) for options in _OPTIONS for sizes in _SIZES],
    _make,
    lambda p, pass_: pass_ == "sgd",
    _bound,
    {
        "sgd-1M": ((1 << 20,), DTYPE, True),
        "adam-1M": ((1 << 20,), DTYPE),
        "resnet18": (RESNET18, DTYPE, True),
        "resnet20": (RESNET20, DTYPE, True),
    },
)
