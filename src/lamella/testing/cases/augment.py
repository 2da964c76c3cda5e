"""Cases of augmented images."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.problems import AugmentProblem
from lamella.problems.augment import BORDERS, STEPS
from lamella.testing.cases.base import DTYPE, Arrays, Row, values

_VALUES, _NOISE, _ERASE, _CLIP = (STEPS[name] for name in ("values", "noise", "erase", "clip"))
_NAMES = list(BORDERS)
# mb, ic, ih, iw, oh, ow
_SIZES = [
    (0, 1, 3, 4, 3, 4), (1, 1, 1, 1, 1, 1), (2, 1, 1, 5, 2, 3), (3, 1, 5, 1, 4, 4), (5, 1, 8, 8, 8, 8), (3, 3, 7, 9, 7, 9), (4, 2, 6, 5, 9, 11),
    (2, 3, 11, 17, 8, 16), (3, 4, 9, 9, 9, 9), (2, 1, 28, 28, 28, 28), (2, 3, 32, 32, 32, 33),
]  # fmt: skip
_STEPS = (0, _ERASE, _VALUES, _NOISE, _VALUES | _NOISE | _CLIP | _ERASE)
_CASES = [
    (*size, source, last, _NAMES[(i + k) % 4], nearest, _STEPS[(i + 2 * k + nearest) % 5], DTYPE)
    for i, size in enumerate(_SIZES)
    for k, (source, last, nearest) in enumerate(
        [("uint8", False, False), ("float", True, False), ("uint8", True, True), ("float", False, True)]
    )
] + [(2, c, 6, 7, 6, 7, "float", last, "constant", False, 0, DTYPE) for c in (1, 3) for last in (False, True)]


def _matrices(p: AugmentProblem, rng: np.random.Generator) -> np.ndarray:
    """Whole-pixel moves, mirrored ones, and others: of each something."""
    m = rng.uniform(-1.5, 1.5, (p.mb, 6)) * 65536
    m[:, [2, 5]] *= max(p.ih, p.iw)
    whole = np.arange(p.mb) % 3 != 2
    m[whole] = 0
    m[whole, 0], m[whole, 4] = 65536, 65536
    m[whole, 2], m[whole, 5] = (65536 * rng.integers(-n // 2, n // 2 + 1, whole.sum()) for n in (p.ih, p.iw))
    mirrored = np.arange(p.mb) % 3 == 1
    m[mirrored, 4] *= -1
    m[mirrored, 5] += 65536 * (p.iw - 1)
    return m.astype(np.int32)


def _boxes(p: AugmentProblem, rng: np.random.Generator) -> np.ndarray:
    rows, columns = (np.sort(rng.integers(0, n + 1, (p.mb, 2)), 1) for n in (p.oh, p.ow))
    return np.ascontiguousarray(np.stack([rows[:, 0], columns[:, 0], rows[:, 1], columns[:, 1]], 1).astype(np.int32))


def _images(p: AugmentProblem, rng: np.random.Generator, integers: bool) -> np.ndarray:
    shape = (p.mb, p.ih, p.iw, p.ic) if p.last else (p.mb, p.ic, p.ih, p.iw)
    if p.source == "uint8":
        x = rng.integers(0, 256, shape).astype(np.uint8)
    else:
        x = values(rng, shape, p.dtype, integers)
    return np.moveaxis(x, -1, 1) if p.last else x


def _make(p: AugmentProblem, pass_: str, rng: np.random.Generator, integers: bool) -> tuple[list[np.ndarray | None], Arrays]:
    x = _images(p, rng, integers)
    if pass_ == "mix":
        weight = (rng.integers(0, 2, p.mb) if integers else rng.uniform(0, 1, p.mb)).astype(p.dtype)
        return [x, rng.integers(0, p.mb, p.mb).astype(np.int32), weight, _boxes(p, rng)], [np.empty_like(x)]
    key = rng.integers(-(2**63), 2**63, p.mb)
    changes = np.stack([rng.uniform(0, 2, p.mb), rng.uniform(0, 2, p.mb), rng.uniform(0, 0.5, p.mb) * p.top], 1).astype(p.dtype)
    normal = rng.standard_normal(4096).astype(p.dtype)
    channels = values(rng, (4, p.ic), p.dtype, integers)
    out = np.moveaxis(np.empty((p.mb, p.oh, p.ow, p.ic), p.dtype), -1, 1)
    noise = p.steps & _NOISE
    inputs = [x, _matrices(p, rng), changes if p.steps & (_VALUES | _NOISE) else None, key if noise else None, normal if noise else None]
    return [*inputs, _boxes(p, rng) if p.steps & _ERASE else None, channels], [out]


def _bound(p: AugmentProblem, pass_: str, inputs: list[Any], expected: Arrays) -> list[Any]:
    if pass_ == "mix":
        return [4 * np.abs(inputs[0]).max(initial=0.0)]
    channels = np.abs(inputs[6])
    largest = np.maximum(np.abs(inputs[0].astype(np.float64)).max(initial=0.0), np.abs(inputs[6][0]).max()) + p.top
    scale = (
        16 * largest * 2
        + (8 * p.top * 6 if p.steps & _NOISE else 0)
        + (np.sqrt(p.ic * p.oh * p.ow) + 8) * largest * bool(p.steps & _VALUES)
    )
    return [np.broadcast_to((scale * channels[1] + 2 * channels[2])[:, None, None], expected[0].shape)]


def _exact(p: AugmentProblem, pass_: str) -> bool:
    return not p.steps & (_VALUES | _NOISE)


ROW = Row(
    AugmentProblem,
    _CASES,
    _make,
    _exact,
    _bound,
    {
        "u8-28-b64": (64, 1, 28, 28, 28, 28, "uint8", False, "constant", False, 0, DTYPE),
        "u8-32-b64": (64, 3, 32, 32, 32, 32, "uint8", False, "constant", False, 0, DTYPE),
        "u8-32-b64-all": (64, 3, 32, 32, 32, 32, "uint8", False, "reflect", False, _VALUES | _NOISE | _ERASE, DTYPE),
        "float-32-b64": (64, 3, 32, 32, 32, 32, "float", True, "constant", False, 0, DTYPE),
    },
)
