"""Cases of cascades: random trees over random features, with limits that some windows pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.problems import CascadeProblem
from lamella.testing.cases.base import DTYPE, Arrays, Row

# ih, iw, wh, ww, step, oh, ow, features, stages, tilts, skip
_SIZES = [
    (3, 3, 3, 3, 1, 1, 1, 1, 1, False, False), (9, 20, 5, 4, 1, 5, 17, 3, 2, False, True), (12, 31, 4, 5, 1, 9, 27, 9, 4, True, True),
    (12, 38, 4, 5, 2, 5, 17, 9, 4, True, True), (11, 37, 6, 6, 2, 3, 16, 20, 6, False, False), (14, 70, 7, 5, 2, 4, 33, 40, 9, True, True),
    (9, 30, 5, 5, 3, 2, 9, 6, 3, True, True), (24, 90, 20, 20, 1, 3, 71, 12, 5, False, True),
]  # fmt: skip


def _rectangles(p: CascadeProblem, rng: np.random.Generator, slanted: np.ndarray) -> np.ndarray:
    """Random rectangles inside the window, two or three to a feature."""
    out = np.zeros((p.features, 3, 4), np.int32)
    for f in range(p.features):
        for r in range(3):
            if slanted[f]:
                w = int(rng.integers(1, max(2, min(p.ww, p.wh) // 2)))
                h = int(rng.integers(1, max(2, min(p.ww - w, p.wh - w) + 1)))
                out[f, r] = rng.integers(h, p.ww - w + 1), rng.integers(0, p.wh - w - h + 1), w, h
            else:
                w, h = int(rng.integers(1, p.ww + 1)), int(rng.integers(1, p.wh + 1))
                out[f, r] = rng.integers(0, p.ww - w + 1), rng.integers(0, p.wh - h + 1), w, h
    return out


def _tree(nodes: int, rng: np.random.Generator) -> np.ndarray:
    """The left and right of so many nodes: a child comes after its parent, or is the next leaf."""
    links = np.zeros((nodes, 2), np.int32)
    free = [(0, 0), (0, 1)]
    for node in range(1, nodes):
        links[free.pop(int(rng.integers(len(free))))] = node
        free += [(node, 0), (node, 1)]
    for leaf, place in enumerate(free):
        links[place] = -leaf
    return links


def _make(p: CascadeProblem, pass_: str, rng: np.random.Generator, integers: bool) -> tuple[list[np.ndarray | None], Arrays]:
    image = rng.integers(0, 256, (p.ih, p.iw)).astype(np.int64)
    if not integers:
        image[:, : p.iw // 2] //= 100  # half of it too flat to judge, here and there
        image[:, : p.iw // 3] = 7
    sums = np.zeros((3, p.ih + 1, p.iw + 1), np.int64)
    sums[0, 1:, 1:] = image.cumsum(0).cumsum(1)
    sums[1, 1:, 1:] = (image * image).cumsum(0).cumsum(1)
    if p.tilts:
        j, i = np.mgrid[: p.ih, : p.iw]
        for y in range(p.ih + 1):
            for x in range(p.iw + 1):
                sums[2, y, x] = image[(j < y) & (abs(i - x + 1) <= y - j - 1)].sum()
    slanted = (rng.random(p.features) < 0.4 * p.tilts).astype(np.uint8)
    counts = rng.integers(1, 4, (p.stages, 3))  # trees of one to three nodes, three to a stage
    trees = np.concatenate([[0], counts.ravel().cumsum()]).astype(np.int32)
    links = np.concatenate([_tree(int(count), rng) for count in counts.ravel()])
    inputs: list[np.ndarray | None] = [
        sums[0].astype(np.int32),
        sums[1].astype(np.float64),
        sums[2].astype(np.int32) if p.tilts else None,
        _rectangles(p, rng, slanted),
        rng.integers(-2, 4, (p.features, 3)).astype(np.float32),
        slanted,
        np.column_stack([rng.integers(0, p.features, len(links)), links]).astype(np.int32),
        (0.1 * rng.standard_normal(len(links))).astype(np.float32),
        rng.standard_normal(len(links) + len(trees) - 1).astype(np.float32),
        trees,
        np.arange(0, 3 * p.stages + 1, 3, dtype=np.int32),
        (rng.standard_normal(p.stages) - 1.5).astype(np.float32),
    ]
    return inputs, [np.empty((p.oh, p.ow), np.int32), np.empty((p.oh, p.ow), np.float64)]


def _bound(p: CascadeProblem, pass_: str, inputs: list[Any], expected: Arrays) -> list[Any]:
    return [0.0, 4 * (1 + np.abs(expected[1]))]


ROW = Row(
    CascadeProblem,
    [(*size, DTYPE) for size in _SIZES],
    _make,
    lambda p, pass_: True,
    _bound,
    {
        "200x300-step2": (200, 300, 20, 20, 2, 91, 141, 400, 15, False, True, DTYPE),
        "200x300-step1": (200, 300, 20, 20, 1, 181, 281, 400, 15, False, True, DTYPE),
    },
)
