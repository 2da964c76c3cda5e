"""Cases of the activations."""

from __future__ import annotations

import numpy as np

from lamella.problems import ActivationProblem
from lamella.testing.cases.base import DTYPE, Arrays, Row, values


def _activation_make(p: ActivationProblem, pass_: str, rng: np.random.Generator, integers: bool) -> tuple[list[np.ndarray | None], Arrays]:
    x = values(rng, (p.n,), p.dtype, integers)
    if pass_ == "forward":
        return [x], [np.empty_like(x)]
    if p.function == "sigmoid":
        x = (1 / (1 + np.exp(-x))).astype(p.dtype)
    elif p.function == "tanh":
        x = np.tanh(x)
    return [values(rng, (p.n,), p.dtype, integers), x], [np.empty_like(x)]


ROW = Row(
    ActivationProblem,
    [
        (n, DTYPE, function, slope)
        for function, slope in [("relu", 0.0), ("leaky_relu", 0.25)]
        for n in (0, 1, 7, 8, 15, 16, 17, 33, 101, 40000)
    ],
    _activation_make,
    lambda p, pass_: p.function in ("relu", "leaky_relu"),
    lambda p, pass_, inputs, expected: [4 * np.abs(expected[0]) + 1e-30],
    {"relu-1M": (1 << 20, DTYPE, "relu", 0.0)},
)
