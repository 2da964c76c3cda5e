"""Elementwise functions: activations, exp, log and erf."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lamella.problems.base import Problem


class Function(NamedTuple):
    """One elementwise function: a row here, and a branch in `value` and `derivative` of each file of kernels/activation."""

    number: int  # by which compiled kernels know it
    saves: str  # "input" or "output": what its derivative is computed from
    parameters: tuple[str, ...] = ()  # what a, b and c are
    epilogue: bool = False  # whether a matrix product can apply it before storing (kernels/_common/tile.pxd)
    exact: bool = False  # whether whole numbers give results without rounding
    nanoseconds: float = 1.5  # of one thread, for an element


CHEAP = 0.5

FUNCTIONS = {
    "relu": Function(1, "output", epilogue=True, exact=True, nanoseconds=CHEAP),
    # the sign of the output is that of the input, where the slope is not negative
    "leaky_relu": Function(2, "output", ("slope",), epilogue=True, exact=True, nanoseconds=CHEAP),
    "sigmoid": Function(3, "output", epilogue=True),
    "tanh": Function(4, "output", epilogue=True),
    "exp": Function(5, "output"),
    "log": Function(6, "input"),
    "erf": Function(7, "input"),
    "gelu": Function(8, "input"),
    "gelu_tanh": Function(9, "input"),
    "hardtanh": Function(10, "output", ("least", "largest"), exact=True, nanoseconds=CHEAP),
    "threshold": Function(11, "input", ("threshold", "value"), exact=True, nanoseconds=CHEAP),
    "hardshrink": Function(12, "input", ("lambd",), exact=True, nanoseconds=CHEAP),
    "softshrink": Function(13, "input", ("lambd",), exact=True, nanoseconds=CHEAP),
    "hardsigmoid": Function(14, "input", nanoseconds=CHEAP),
    "hardswish": Function(15, "input", nanoseconds=CHEAP),
    "softsign": Function(16, "input"),
    "elu": Function(17, "input", ("negative scale", "positive scale", "input scale")),
    "softplus": Function(18, "input", ("beta", "threshold")),
    "swish": Function(19, "input", ("beta",)),
    "mish": Function(20, "input"),
    "tanhshrink": Function(21, "input"),
}
# the numbers of the functions that close a matrix product
ACTIVATIONS = {"none": 0} | {name: row.number for name, row in FUNCTIONS.items() if row.epilogue}


class ActivationProblem(Problem):
    """out = f(x) over n elements; function is a name from FUNCTIONS; a, b and c are its parameters, in the order given there."""

    operation = "activation"
    FIELDS = ("n", "act")
    __slots__ = ("n", "function", "act", "a", "b", "c", "nanoseconds")

    def __init__(self, n: int, dtype: np.dtype, function: str, a: float = 0.0, b: float = 0.0, c: float = 0.0):
        self.n, self.dtype, self.function = n, np.dtype(dtype), function
        if function not in FUNCTIONS:
            raise ValueError(f"activation: function must be one of {', '.join(FUNCTIONS)}, got {function!r}")
        self.a, self.b, self.c = float(a), float(b), float(c)
        self.act, self.nanoseconds = FUNCTIONS[function].number, FUNCTIONS[function].nanoseconds * n
        self.flops = n
        self.bytes = 2 * n * self.dtype.itemsize
