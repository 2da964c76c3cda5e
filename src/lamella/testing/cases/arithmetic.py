"""Cases of arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.problems import ArithmeticProblem
from lamella.problems.arithmetic import FUNCTIONS
from lamella.testing.cases.base import DTYPE, Arrays, Row, values


def _make(p: ArithmeticProblem, pass_: str, rng: np.random.Generator, integers: bool) -> tuple[list[np.ndarray | None], Arrays]:
    x, y = (values(rng, (p.n,), p.dtype, integers) for _ in range(2))
    return [x, y], [np.empty_like(x)]


def _bound(p: ArithmeticProblem, pass_: str, inputs: list[Any], expected: Arrays) -> list[Any]:
    return [np.abs(expected[0]) + 1e-30]


ROW = Row(
    ArithmeticProblem,
    [
        (n, DTYPE, function, activation)
        for function in FUNCTIONS
        for activation in ("none", "relu")
        for n in (0, 1, 7, 15, 16, 17, 101, 40000)
    ],
    _make,
    lambda p, pass_: p.function != "div",
    _bound,
    {"add-1M": (1 << 20, DTYPE, "add"), "mul-1M": (1 << 20, DTYPE, "mul"), "add-relu-1M": (1 << 20, DTYPE, "add", "relu")},
)
