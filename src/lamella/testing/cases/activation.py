"""Cases of the activations."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.problems import ActivationProblem
from lamella.problems.activation import FUNCTIONS
from lamella.testing.cases.base import DTYPE, Arrays, Row, values


def _make(p: ActivationProblem, pass_: str, rng: np.random.Generator, integers: bool) -> tuple[list[np.ndarray | None], Arrays]:
    x = values(rng, (p.n,), p.dtype, integers)
    if p.function == "log":
        x = np.abs(x) + p.dtype.type(0.01)
    if pass_ == "forward":
        return [x], [np.empty_like(x)]
    if p.function == "sigmoid":
        x = (1 / (1 + np.exp(-x))).astype(p.dtype)
    elif p.function == "tanh":
        x = np.tanh(x)
    elif p.function == "exp":
        x = np.exp(x)
    return [values(rng, (p.n,), p.dtype, integers), x], [np.empty_like(x)]


def _bound(p: ActivationProblem, pass_: str, inputs: list[Any], expected: Arrays) -> list[Any]:
    if p.function.startswith("gelu"):  # 1 + erf and 1 + tanh cancel for negative x; u' grows with x^2, its factor falls faster
        x = np.abs(inputs[-1])
        return [8 * x + 1e-30] if pass_ == "forward" else [16 * np.abs(inputs[0]) * (1 + x) + 1e-30]
    if p.function == "erf" and pass_ == "backward":  # the rounding of x^2 is stretched
        return [(4 + 2 * inputs[1] ** 2) * np.abs(expected[0]) + 1e-30]
    # 1 - y and 1 - y^2 cancel near 1: the rounding of 1 stays
    return [4 * np.abs(expected[0]) + (2 * np.abs(inputs[0]) if pass_ == "backward" and p.function in ("sigmoid", "tanh") else 0) + 1e-30]


ROW = Row(
    ActivationProblem,
    [
        (n, DTYPE, function, 0.25 if function == "leaky_relu" else 0.0)
        for function in FUNCTIONS
        for n in (0, 1, 7, 8, 15, 16, 17, 33, 101, 40000)
    ],
    _make,
    lambda p, pass_: FUNCTIONS[p.function].exact,
    _bound,
    {
        "relu-1M": (1 << 20, DTYPE, "relu", 0.0),
        "sigmoid-1M": (1 << 20, DTYPE, "sigmoid", 0.0),
        "tanh-1M": (1 << 20, DTYPE, "tanh", 0.0),
        "gelu-1M": (1 << 20, DTYPE, "gelu", 0.0),
    },
)
