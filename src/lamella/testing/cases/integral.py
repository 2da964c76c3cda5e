"""Cases of integral images."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.problems import IntegralProblem
from lamella.testing.cases.base import DTYPE, Arrays, Row, summed, values

_SIZES = [
    (0, 3, 4), (1, 0, 5), (2, 4, 0), (1, 1, 1), (1, 2, 1), (1, 1, 2), (2, 3, 5), (3, 7, 8), (2, 8, 7), (1, 5, 15), (2, 2, 16), (1, 4, 17),
    (1, 13, 31), (2, 24, 24), (1, 11, 97), (1, 40, 64), (1, 67, 3),
]  # fmt: skip


def _make(p: IntegralProblem, pass_: str, rng: np.random.Generator, integers: bool) -> tuple[list[np.ndarray | None], Arrays]:
    shape = (p.mb, p.ih, p.iw)
    x = rng.integers(0, 256, shape).astype(np.uint8) if p.source == "uint8" else values(rng, shape, p.dtype, integers)
    outputs = [np.empty(p.out_shape, p.sum_dtype), np.empty(p.out_shape, np.float64), np.empty(p.out_shape, p.sum_dtype)]
    return [x], outputs[: ("forward", "squared", "tilted").index(pass_) + 1]


def _bound(p: IntegralProblem, pass_: str, inputs: list[Any], expected: Arrays) -> list[Any]:
    x = np.abs(inputs[0].astype(np.float64))
    terms = p.ih * p.iw
    total = [summed(terms, x.sum(axis=(1, 2), keepdims=True)), summed(terms, (x * x).sum(axis=(1, 2), keepdims=True))]
    return [*total, total[0]][: len(expected)]


ROW = Row(
    IntegralProblem,
    [(*size, source, DTYPE) for size in _SIZES for source in ("uint8", "float")],
    _make,
    lambda p, pass_: True,
    _bound,
    {
        "u8-512": (1, 512, 512, "uint8", DTYPE),
        "u8-1080p": (1, 1080, 1920, "uint8", DTYPE),
        "float-512": (1, 512, 512, "float", DTYPE),
        "u8-24x24-b1024": (1024, 24, 24, "uint8", DTYPE),
    },
)
