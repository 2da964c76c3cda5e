"""The geometry of a recurrent layer."""

from __future__ import annotations

import numpy as np

from lamella.problems.base import Problem

CELLS = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3, "gru_before": 3}  # and how many blocks of `hidden` rows their weights have


class RecurrentProblem(Problem):
    """`length` steps of a cell of CELLS with `hidden` units over `batch` sequences; what comes from the input is computed already.

    Element n of step t is row ``steps[0, t] + n * stride`` of every array with a row per element, for n < steps[1, t]; `steps`, an array, is an input
    of the passes. Its second row never grows, so sequences of unequal length are sorted, the longest first. reverse: from the last step to
    the first.
    """

    operation = "recurrent"
    FIELDS = ("kind", "length", "batch", "hidden", "gates", "stride", "reverse")
    __slots__ = ("cell", *FIELDS)

    def __init__(self, cell: str, length: int, batch: int, hidden: int, dtype: np.dtype, stride: int = 1, reverse: bool = False):
        if cell not in CELLS:
            raise ValueError(f"recurrent: cell must be one of {', '.join(CELLS)}, got {cell!r}")
        if stride not in (1, length):
            raise ValueError(
                f"recurrent: expected a stride of 1 (sequences side by side) or of the {length} steps (one after the other), got {stride}"
            )
        self.cell, self.kind, self.gates = cell, list(CELLS).index(cell), CELLS[cell]
        self.length, self.batch, self.hidden, self.dtype = length, batch, hidden, np.dtype(dtype)
        self.stride, self.reverse = stride, reverse
        self.flops = 2 * length * batch * self.gates * hidden * hidden
        self.bytes = (length * batch * (2 * self.gates + 2) + self.gates * hidden) * hidden * self.dtype.itemsize

    @property
    def keeps(self) -> bool:
        """Whether the backward pass needs more than gates and outputs: the array `kept`."""
        return self.cell in ("lstm", "gru", "gru_before")
