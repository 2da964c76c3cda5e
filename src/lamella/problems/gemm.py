"""The geometry of a matrix product."""

from __future__ import annotations

import math

import numpy as np

from lamella.problems.activation import ACTIVATIONS
from lamella.problems.base import Problem


class GemmProblem(Problem):
    """out (m, n) = act(alpha * a (m, k) @ b (k, n) + beta * c + bias), once per matrix of a batch.

    bias is "none", "column" (n,) or "row" (m,); activation one of ACTIVATIONS; batch the sizes of the leading axes, which a, b, c and out share.
    """

    operation = "gemm"
    FIELDS = ("m", "n", "k", "bias_kind", "act")
    __slots__ = ("m", "n", "k", "alpha", "beta", "bias", "bias_kind", "activation", "act", "slope", "batch")

    def __init__(
        self,
        m: int,
        n: int,
        k: int,
        dtype: np.dtype,
        alpha: float = 1.0,
        beta: float = 0.0,
        bias: str = "none",
        activation: str = "none",
        slope: float = 0.01,
        batch: tuple[int, ...] = (),
    ):
        self.m, self.n, self.k, self.dtype = m, n, k, np.dtype(dtype)
        self.alpha, self.beta, self.slope = float(alpha), float(beta), float(slope)
        if bias not in ("none", "column", "row"):
            raise ValueError(f"gemm: bias must be 'none', 'column' or 'row', got {bias!r}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"gemm: activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        self.bias, self.bias_kind = bias, ("none", "column", "row").index(bias)
        self.activation, self.act = activation, ACTIVATIONS[activation]
        self.batch = batch
        self.flops = 2 * m * n * k * math.prod(batch)
        self.bytes = (m * k + k * n + m * n) * self.dtype.itemsize * math.prod(batch)

    def has(self, pass_: str) -> bool:
        """backward_bias sums the columns of one matrix: it belongs to a bias per column, without a batch."""
        return pass_ == "forward" or (self.bias == "column" and not self.batch)
