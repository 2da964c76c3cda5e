"""Cases of images in another size."""

from __future__ import annotations

import numpy as np

from lamella.problems import ResampleProblem
from lamella.testing.cases.base import DTYPE, Arrays, Row

_SIZES = [
    (1, 1, 1, 1), (1, 1, 3, 2), (5, 7, 5, 7), (5, 7, 1, 1), (4, 4, 2, 2), (9, 11, 8, 10), (33, 17, 30, 16), (40, 67, 19, 31), (3, 5, 17, 34),
    (2, 100, 2, 91), (64, 1, 50, 1),
]  # fmt: skip


def _make(p: ResampleProblem, pass_: str, rng: np.random.Generator, integers: bool) -> tuple[list[np.ndarray | None], Arrays]:
    return [rng.integers(0, 256, (p.ih, p.iw)).astype(np.uint8)], [np.empty((p.oh, p.ow), np.uint8)]


ROW = Row(
    ResampleProblem,
    [(*size, DTYPE) for size in _SIZES],
    _make,
    lambda p, pass_: True,
    lambda p, pass_, inputs, expected: [0.0],
    {"512-to-465": (512, 512, 465, 465, DTYPE), "1080p-to-720p": (1080, 1920, 720, 1280, DTYPE)},
)
