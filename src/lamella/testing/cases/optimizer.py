"""Cases of the optimizers."""

from __future__ import annotations

from collections.abc import Callable
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

    decays = _decays(p)
    begin = [0.5, 0.01 * decays, 0.02 * decays, 1 - 0.01 * decays]  # scale, wd, l1, keep
    if pass_ == "sgd" and integers:
        begin = [-1.0, 5.0 * decays, 2.0 * decays, 1 + decays]
    own: dict[str, list[float]] = {
        "sgd": [2.0, 3.0, -1.0] if integers else [0.1, 0.9, 0.75],
        "adam": [0.1, 0.99, 0.01, 0.1 / (1 - 0.9**3), 0.03, 1 / (1 - 0.99**3) ** 0.5, 1e-4 * p.amsgrad, 1e-3],
        "rms": [0.1, 0.9, 0.1, 0.8, 0.01 * decays, 1e-2],
        "adamax": [0.1, 0.99, 0.2, 1e-3, 1e-3 * decays],
        "adadelta": [0.5, 0.9, 0.1, 1e-3],
        "sign": [0.1, 0.1, 0.01, 0.25 * decays],
    }
    h = np.array([*begin, *own[pass_]])
    g, param, m = draw(), draw(), draw()
    state: dict[str, Callable[[], list[Any]]] = {
        "sgd": lambda: [m if p.momentum else None],
        "adam": lambda: [m, positive(), positive() if p.amsgrad else None],
        "rms": lambda: [[x**2 + 1 for x in m], [x / 8 for x in m] if p.centered else None, draw() if p.momentum else None],
        "adamax": lambda: [m, positive()],
        "adadelta": lambda: [positive(), positive()],
        "sign": lambda: [m if p.momentum else None],
    }
    return [h, g], [param, *state[pass_]()]


def _bound(p: OptimizerProblem, pass_: str, inputs: list[Any], expected: list[Any]) -> list[Any]:
    """Each term of each formula is rounded a few times: 8 units of the sum of the terms' absolute values."""
    h, *lists = inputs
    bound: Any = {
        "sgd": _sgd_bound,
        "adam": _adam_bound,
        "rms": _rms_bound,
        "adamax": _adamax_bound,
        "adadelta": _adadelta_bound,
        "sign": _sign_bound,
    }
    each = [
        bound[pass_](p, np.abs(h), *[None if x is None else x[i] for x in lists], [None if x is None else x[i] for x in expected])
        for i in range(p.count)
    ]
    return [None if out is None else [bounds[j] for bounds in each] for j, out in enumerate(expected)]


def _gradient(h: Any, g: Any, param: Any) -> Any:
    """The sum of the absolute terms of the gradient."""
    scale, decay, l1, keep = h[:4]
    return scale * np.abs(g) + decay * keep * np.abs(param) + l1


def _sgd_bound(p: OptimizerProblem, h: Any, g: Any, param: Any, m: Any, out: Any) -> list[Any]:
    lr, momentum, take = h[4:]
    size_g = _gradient(h, g, param)
    size_b = momentum * np.abs(m) + take * size_g if p.momentum else size_g
    return [8 * (h[3] * np.abs(param) + lr * (size_g + (1 + momentum) * size_b)), 8 * size_b]


def _adam_bound(p: OptimizerProblem, h: Any, g: Any, param: Any, m: Any, v: Any, vmax: Any, out: Any) -> list[Any]:
    take1, beta2, take2, step, now, correction, inside, eps = h[4:]
    used = out[3 if p.amsgrad else 2] + inside  # what the root is taken of
    size_g = _gradient(h, g, param)
    size_m = np.abs(m) + take1 * (size_g + np.abs(m))
    size_v = beta2 * v + take2 * size_g**2
    root = np.sqrt(used) * correction
    # the denominator moves by half the relative error of v
    relative = 8 * (1 + size_v / np.maximum(used, 1e-30) * root / (root + eps))
    top = step * size_m + (now * size_g if p.nesterov else 0)
    return [8 * np.abs(param) + relative * top / (root + eps), 8 * size_m, 8 * size_v, 8 * (size_v + (vmax if p.amsgrad else 0))]


def _rms_bound(p: OptimizerProblem, h: Any, g: Any, param: Any, v: Any, mean: Any, buf: Any, out: Any) -> list[Any]:
    lr, rho, take, momentum, inside, eps = h[4:]
    size_g = _gradient(h, g, param)
    size_v = rho * v + take * size_g**2
    size_a = np.abs(mean) + take * (size_g + np.abs(mean)) if p.centered else 0
    used = out[1] - (out[2] ** 2 if p.centered else 0) + inside
    relative = 8 * (1 + (size_v + 2 * size_a**2) / np.maximum(used, 1e-30))
    size_d = relative * size_g / (np.sqrt(used) + eps)
    if p.momentum:
        size_d = size_d + 8 * momentum * np.abs(buf)
    return [8 * np.abs(param) + (1 + lr) * size_d, 8 * size_v, 8 * size_a, size_d]


def _adamax_bound(p: OptimizerProblem, h: Any, g: Any, param: Any, m: Any, u: Any, out: Any) -> list[Any]:
    take1, beta2, step, inside, eps = h[4:]
    size_g = _gradient(h, g, param)
    size_m, size_u = np.abs(m) + take1 * (size_g + np.abs(m)), beta2 * u + size_g + inside
    return [8 * np.abs(param) + 8 * step * size_m / (out[2] + eps) * (1 + size_u / (out[2] + eps)), 8 * size_m, 8 * size_u]


def _adadelta_bound(p: OptimizerProblem, h: Any, g: Any, param: Any, v: Any, delta: Any, out: Any) -> list[Any]:
    lr, rho, take, eps = h[4:]
    size_g = _gradient(h, g, param)
    size_v = rho * v + take * size_g**2
    size_d = 8 * (1 + size_v / (out[1] + eps)) * size_g * np.sqrt((delta + eps) / (out[1] + eps))
    return [8 * np.abs(param) + lr * size_d, 8 * size_v, 8 * (rho * delta + take * size_d**2)]


def _sign_bound(p: OptimizerProblem, h: Any, g: Any, param: Any, m: Any, out: Any) -> list[Any]:
    """Without eps the sign is exact, unless rounding decides it: such numbers may be wrong by both signs."""
    lr, take1, take2, eps = h[4:]
    size_g = _gradient(h, g, param)
    size_m = np.abs(m) + take1 * (size_g + np.abs(m)) if p.momentum else size_g
    unsure = np.zeros_like(size_m)
    if not eps:
        tiny = np.finfo(p.dtype).eps
        signed = h[0] * g if not p.momentum else m + take1 * (h[0] * g - m)
        unsure = np.where(np.abs(signed) <= 64 * tiny * size_m, 2 / tiny, 0)
    return [8 * np.abs(param) + lr * (8 * (1 + size_m / eps if eps else 1) + unsure), 8 * (np.abs(size_m) + np.abs(size_g))]


_SIZES = [(n,) for n in (0, 1, 7, 8, 15, 16, 17, 33, 101, 16384, 40001)] + [(), (3, 0, 17, 16384, 1), (16383, 2, 16384, 0, 5, 33000)]
_OPTIONS = [  # momentum, nesterov, amsgrad, centered
    (False, False, False, False),
    (True, False, True, False),
    (True, True, False, True),
    (False, False, True, True),
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
    [(sizes, DTYPE, *options) for options in _OPTIONS for sizes in (_SIZES if options in _OPTIONS[:2] else _SIZES[2::3])],
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
