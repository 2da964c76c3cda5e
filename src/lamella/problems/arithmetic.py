"""Arithmetic of two arrays of one shape, element by element."""

from __future__ import annotations

import numpy as np

from lamella.problems.activation import ACTIVATIONS
from lamella.problems.base import Problem

FUNCTIONS = ("add", "sub", "mul", "div")  # their numbers are known to compiled kernels


class ArithmeticProblem(Problem):
    """out = act(x op y) over n elements; function is a name from FUNCTIONS, activation "none" or "relu"."""

    operation = "arithmetic"
    FIELDS = ("n", "number", "act")
    __slots__ = ("n", "function", "number", "activation", "act")

    def __init__(self, n: int, dtype: np.dtype, function: str, activation: str = "none"):
        if function not in FUNCTIONS:
            raise ValueError(f"arithmetic: function must be one of {', '.join(FUNCTIONS)}, got {function!r}")
        if activation not in ("none", "relu"):
            raise ValueError(f"{function}: activation must be 'none' or 'relu', got {activation!r}; apply others to the result")
        self.n, self.dtype = n, np.dtype(dtype)
        self.function, self.number = function, FUNCTIONS.index(function)
        self.activation, self.act = activation, ACTIVATIONS[activation]
        self.flops = n
        self.bytes = 3 * n * self.dtype.itemsize
