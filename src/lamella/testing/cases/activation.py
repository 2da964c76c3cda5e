"""Cases of the activations."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.problems import ActivationProblem
from lamella.problems.activation import FUNCTIONS
from lamella.testing.cases.base import DTYPE, Arrays, Row, values

PARAMETERS: dict[str, tuple[float, ...]] = {
    "leaky_relu": (0.25,),
    "hardtanh": (-1.0, 2.0),
    "threshold": (1.0, -3.0),
    "hardshrink": (1.0,),
    "softshrink": (1.0,),
    "elu": (1.5, 1.25, 0.5),
    "softplus": (2.0, 3.0),
    "swish": (1.5,),
}
# outputs from which derivatives are computed
_OUTPUTS: dict[str, Any] = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "exp": np.exp,
    "hardtanh": lambda x: np.clip(x, -1.0, 2.0),
}
_SUMS = {"gelu", "gelu_tanh", "swish", "mish", "hardswish"}  # whose values or derivatives are a difference of larger ones somewhere


def _make(p: ActivationProblem, pass_: str, rng: np.random.Generator, integers: bool) -> tuple[list[np.ndarray | None], Arrays]:
    x = values(rng, (p.n,), p.dtype, integers)
    if p.function == "log":
        x = np.abs(x) + p.dtype.type(0.01)
    if pass_ == "forward":
        return [x], [np.empty_like(x)]
    x = _OUTPUTS.get(p.function, lambda x: x)(x).astype(p.dtype)
    return [values(rng, (p.n,), p.dtype, integers), x], [np.empty_like(x)]


def _bound(p: ActivationProblem, pass_: str, inputs: list[Any], expected: Arrays) -> list[Any]:
    x, y = np.abs(inputs[-1]), np.abs(expected[0])
    if p.function in _SUMS or (p.function == "tanhshrink" and pass_ == "forward"):
        return [8 * x + 1e-30] if pass_ == "forward" else [16 * np.abs(inputs[0]) * (1 + x) + 1e-30]
    if p.function == "erf" and pass_ == "backward":  # the rounding of x^2 is stretched
        return [(4 + 2 * x**2) * y + 1e-30]
    if p.function in ("elu", "softplus", "softsign", "tanhshrink"):  # so is that of a x
        return [(8 + 4 * x) * y + 1e-30]
    if p.function == "hardsigmoid" and pass_ == "forward":
        return [4 * (1 + x)]
    # 1 - y and 1 - y^2 cancel near 1: the rounding of 1 stays
    return [4 * y + (2 * np.abs(inputs[0]) if pass_ == "backward" and p.function in ("sigmoid", "tanh") else 0) + 1e-30]


ROW = Row(
    ActivationProblem,
    [(n, DTYPE, function, *PARAMETERS.get(function, ())) for function in FUNCTIONS for n in (0, 1, 7, 8, 15, 16, 17, 33, 101, 40000)],
    _make,
    lambda p, pass_: FUNCTIONS[p.function].exact,
    _bound,
    {
        "relu-1M": (1 << 20, DTYPE, "relu", 0.0),
        "sigmoid-1M": (1 << 20, DTYPE, "sigmoid", 0.0),
        "tanh-1M": (1 << 20, DTYPE, "tanh", 0.0),
        "gelu-1M": (1 << 20, DTYPE, "gelu", 0.0),
        "mish-1M": (1 << 20, DTYPE, "mish"),
        "hardswish-1M": (1 << 20, DTYPE, "hardswish"),
    },
)
