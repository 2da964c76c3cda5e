"""The geometry of batch normalisation."""

from __future__ import annotations

import math

import numpy as np

from lamella.problems.activation import ACTIVATIONS
from lamella.problems.base import Problem


class BatchNormProblem(Problem):
    """Normalise `rows` values (images times pixels) of each of `channels` channels; eps is added to the variance.

    activation, "none" or "relu", is applied to the result; with `residual`, to the sum of the result and another array of its shape.
    """

    operation = "batchnorm"
    FIELDS = ("rows", "channels", "act", "residual")
    __slots__ = ("rows", "channels", "eps", "activation", "act", "residual")

    def __init__(self, rows: int, channels: int, dtype: np.dtype, eps: float = 1e-5, activation: str = "none", residual: bool = False):
        if not (eps >= 0 and math.isfinite(eps)):
            raise ValueError(f"batch_norm: expected a finite eps >= 0, got {eps}")
        if activation not in ("none", "relu"):
            raise ValueError(f"batch_norm: activation must be 'none' or 'relu', got {activation!r}; apply others to the result")
        self.rows, self.channels, self.dtype, self.eps = rows, channels, np.dtype(dtype), float(eps)
        self.activation, self.act, self.residual = activation, ACTIVATIONS[activation], residual
        self.flops = (7 + residual) * rows * channels
        self.bytes = (3 + residual) * rows * channels * self.dtype.itemsize

    def has(self, pass_: str) -> bool:
        """The gradient of a residual that no activation follows is g itself: nothing to compute beyond the problem without it."""
        return pass_.startswith("forward") or not self.residual or self.activation != "none"
