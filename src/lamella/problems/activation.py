"""Elementwise activations."""

from __future__ import annotations

import numpy as np

from lamella.problems.base import Problem

# the numbers by which compiled kernels know them
ACTIVATIONS = {"none": 0, "relu": 1, "leaky_relu": 2, "sigmoid": 3, "tanh": 4}


class ActivationProblem(Problem):
    """out = f(x) over n elements; function is one of relu, leaky_relu, sigmoid, tanh."""

    operation = "activation"
    FIELDS = ("n", "act")
    __slots__ = ("n", "function", "act", "slope")

    def __init__(self, n: int, dtype: np.dtype, function: str, slope: float = 0.0):
        self.n, self.dtype, self.function, self.slope = n, np.dtype(dtype), function, float(slope)
        if function not in ACTIVATIONS or function == "none":
            raise ValueError(f"activation: function must be one of {', '.join(list(ACTIVATIONS)[1:])}, got {function!r}")
        self.act = ACTIVATIONS[function]
        self.flops = n
        self.bytes = 2 * n * self.dtype.itemsize
