"""Cases of boosting over stumps: features with equal values, negative ones, and zeros of both signs."""

from __future__ import annotations

import numpy as np

from lamella.problems import StumpsProblem
from lamella.testing.cases.base import DTYPE, Arrays, Row, values

# features, samples, height, width
_SIZES = [(0, 3, 4, 4), (3, 0, 4, 4), (1, 1, 1, 1), (4, 2, 3, 2), (5, 15, 4, 7), (17, 16, 5, 5), (15, 17, 24, 24), (33, 300, 6, 9)]
_WIDE = (2, (1 << 15) + 1, 2, 2)  # too many samples for 16 bits


def _make(p: StumpsProblem, pass_: str, rng: np.random.Generator, integers: bool) -> tuple[list[np.ndarray | None], Arrays]:
    f, n = p.features, p.samples
    if pass_ == "values":
        images = rng.integers(0, 256, (p.height, p.width, n))
        sums = np.zeros((p.height + 1, p.width + 1, n), np.int32)
        sums[1:, 1:] = images.cumsum(0).cumsum(1)
        norm = (2.0 ** rng.integers(-9, 0, n) if integers else rng.random(n)).astype(np.float32)
        low, high = (np.sort(rng.integers(0, (p.width + 1, p.height + 1), (2, f, 3, 2)), axis=0)[i] for i in range(2))
        rectangles = np.concatenate([low, high - low], axis=2).astype(np.int32)
        weights = rng.integers(-2, 4, (f, 3)).astype(np.float32)
        return [sums, norm, rectangles, weights], [np.empty((f, n), np.float32)]
    if pass_ == "sort":
        x = values(rng, (f, n), p.dtype, integers)
        x[::3] = x[::3].round()
        x *= rng.choice([-1, 1], (f, n)).astype(p.dtype)  # -0, too
        return [x], [np.empty((f, n), p.order_dtype)]
    order = np.argsort(rng.random((f, n)), axis=1).astype(p.order_dtype)
    order |= np.where(rng.random((f, n)) < 0.2, p.same, 0).astype(p.order_dtype)
    order[:, -1:] |= p.same
    return [order, values(rng, (n,), np.float64, integers)], [np.empty((f, 2)), np.empty((f, 2), np.int32)]


ROW = Row(
    StumpsProblem,
    [(*size, DTYPE) for size in (*_SIZES, _WIDE)],
    _make,
    lambda p, pass_: True,
    lambda p, pass_, inputs, expected: [0.0] * len(expected),
    {"4096x2000-24x24": (4096, 2000, 24, 24, DTYPE), "4096x200-24x24": (4096, 200, 24, 24, DTYPE)},
)
