"""Elementwise functions: activations, exp, log and erf."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lamella.problems.base import Problem


class Function(NamedTuple):
    """One elementwise function: a row here, and a branch in `value` and `derivative` of each file of kernels/activation."""

    number: int  # by which compiled kernels know it
    saves: str  # "input" or "output": what its derivative is computed from
    epilogue: bool = False  # whether a matrix product can apply it before storing (kernels/_common/tile.pxd)
    exact: bool = False  # whether whole numbers give results without rounding


FUNCTIONS = {
    "relu": Function(1, "output", epilogue=True, exact=True),
    "leaky_relu": Function(2, "input", epilogue=True, exact=True),
    "sigmoid": Function(3, "output", epilogue=True),
    "tanh": Function(4, "output", epilogue=True),
    "exp": Function(5, "output"),
    "log": Function(6, "input"),
    "erf": Function(7, "input"),
    "gelu": Function(8, "input"),
    "gelu_tanh": Function(9, "input"),
}
# the numbers of the functions that close a matrix product
ACTIVATIONS = {"none": 0} | {name: row.number for name, row in FUNCTIONS.items() if row.epilogue}


class ActivationProblem(Problem):
    """out = f(x) over n elements; function is a name from FUNCTIONS."""

    operation = "activation"
    FIELDS = ("n", "act")
    __slots__ = ("n", "function", "act", "slope")

    def __init__(self, n: int, dtype: np.dtype, function: str, slope: float = 0.0):
        self.n, self.dtype, self.function, self.slope = n, np.dtype(dtype), function, float(slope)
        if function not in FUNCTIONS:
            raise ValueError(f"activation: function must be one of {', '.join(FUNCTIONS)}, got {function!r}")
        self.act = FUNCTIONS[function].number
        self.flops = n
        self.bytes = 2 * n * self.dtype.itemsize
