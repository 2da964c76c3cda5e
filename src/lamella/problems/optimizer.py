"""The update of one parameter."""

from __future__ import annotations

import numpy as np

from lamella.problems.base import Problem


class OptimizerProblem(Problem):
    """One step over a parameter of n elements, in place; the passes sgd and adam each read their own options.

    momentum, nesterov belong to sgd; amsgrad, decoupled (weight decay as in AdamW) to adam; maximize to both. Numbers that change between
    steps (learning rate, bias corrections) are an input of the pass, so that one problem serves a whole training run.
    """

    operation = "optimizer"
    FIELDS = ("n", "momentum", "nesterov", "amsgrad", "decoupled", "maximize")
    __slots__ = FIELDS

    def __init__(
        self,
        n: int,
        dtype: np.dtype,
        momentum: bool = False,
        nesterov: bool = False,
        amsgrad: bool = False,
        decoupled: bool = False,
        maximize: bool = False,
    ):
        self.n, self.dtype = n, np.dtype(dtype)
        self.momentum, self.nesterov = momentum, nesterov
        self.amsgrad, self.decoupled, self.maximize = amsgrad, decoupled, maximize
        self.flops = 12 * n
        self.bytes = (7 + 2 * amsgrad) * n * self.dtype.itemsize
