"""The update of parameters."""

from __future__ import annotations

import numpy as np

from lamella.problems.base import Problem


class OptimizerProblem(Problem):
    """One step over parameters of sizes[i] elements each, in place; each pass reads its own options.

    momentum belongs to sgd, rms and sign (it has a buffer), nesterov to sgd and adam, amsgrad to adam, centered to rms. Numbers that change between
    steps (learning rate, bias corrections, the sign and scale of the gradient) are an input of the pass, so that one problem serves a whole
    training run. starts[i] counts the elements before parameter i, starts[count] all n of them.
    """

    operation = "optimizer"
    FIELDS = ("n", "count", "momentum", "nesterov", "amsgrad", "centered")
    __slots__ = (*FIELDS, "sizes", "starts")

    def __init__(
        self,
        sizes: tuple[int, ...],
        dtype: np.dtype,
        momentum: bool = False,
        nesterov: bool = False,
        amsgrad: bool = False,
        centered: bool = False,
    ):
        self.sizes, self.dtype = sizes, np.dtype(dtype)
        self.n, self.count = sum(sizes), len(sizes)
        self.starts = np.cumsum([0, *sizes], dtype=np.int64)
        self.starts.flags.writeable = False
        self.momentum, self.nesterov = momentum, nesterov
        self.amsgrad, self.centered = amsgrad, centered
        self.flops = 12 * self.n
        self.bytes = (7 + 2 * amsgrad) * self.n * self.dtype.itemsize
