"""Cases of reorder."""

from __future__ import annotations

import numpy as np

from lamella.problems import ReorderProblem
from lamella.testing.cases.base import DTYPE, Arrays, Row, values

_SIZES = [
    (0, 3, 4), (2, 0, 3), (1, 1, 1), (2, 1, 17), (2, 17, 1), (3, 2, 5), (2, 3, 49), (2, 49, 3), (1, 4, 4), (1, 8, 8), (2, 16, 16), (2, 15, 17),
    (1, 17, 15), (2, 7, 9), (3, 6, 784), (2, 784, 6), (2, 33, 101), (1, 101, 33), (1, 64, 1024), (1, 1024, 64), (1, 1, 20000), (1, 5, 7001), (1, 7001, 5),
]  # fmt: skip


def _make(p: ReorderProblem, pass_: str, rng: np.random.Generator, integers: bool) -> tuple[list[np.ndarray | None], Arrays]:
    return [values(rng, (p.mb, p.rows, p.cols), p.dtype, integers)], [np.empty((p.mb, p.cols, p.rows), p.dtype)]


ROW = Row(
    ReorderProblem,
    [(*size, DTYPE) for size in _SIZES],
    _make,
    lambda p, pass_: True,
    lambda p, pass_, inputs, expected: [0.0],
    {
        "rgb224-b8": (8, 3, 224 * 224, DTYPE),
        "64x56x56-b8-to-last": (8, 64, 56 * 56, DTYPE),
        "64x56x56-b8-from-last": (8, 56 * 56, 64, DTYPE),
    },
)
