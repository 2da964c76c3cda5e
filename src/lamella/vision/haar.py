"""Haar-like features: differences between the sums of neighbouring rectangles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# cells across and down, and the rectangles that are weighted: the whole (in units of cells: x, y, width, height), then what outweighs it
KINDS: dict[str, tuple[int, int, list[tuple[tuple[int, int, int, int], float]]]] = {
    "edge_vertical": (2, 1, [((0, 0, 2, 1), -1), ((1, 0, 1, 1), 2)]),
    "edge_horizontal": (1, 2, [((0, 0, 1, 2), -1), ((0, 1, 1, 1), 2)]),
    "line_vertical": (3, 1, [((0, 0, 3, 1), -1), ((1, 0, 1, 1), 3)]),
    "line_horizontal": (1, 3, [((0, 0, 1, 3), -1), ((0, 1, 1, 1), 3)]),
    "checker": (2, 2, [((0, 0, 2, 2), -1), ((0, 0, 1, 1), 2), ((1, 1, 1, 1), 2)]),
}


@dataclass(frozen=True)
class HaarFeatures:
    """Haar-like features of a window: each is the weighted sum of up to three rectangles.

    Attributes
    ----------
    width, height : int, of the window
    rectangles : int32 array (F, 3, 4): x, y, width, height; unused ones are 0
    weights : float32 array (F, 3): unused ones are 0
    tilted : bool array (F,): rectangles turned by 45 degrees, as OpenCV's

    Examples
    --------
    >>> features = haar_features(24, 24)
    >>> len(features), features.rectangles[0].tolist(), features.weights[0].tolist()
    (162336, [[0, 0, 2, 1], [1, 0, 1, 1], [0, 0, 0, 0]], [-1.0, 2.0, 0.0])
    """

    width: int
    height: int
    rectangles: np.ndarray
    weights: np.ndarray
    tilted: np.ndarray

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, index: Any) -> HaarFeatures:
        """The features of a slice, a mask, or a list of numbers."""
        return HaarFeatures(self.width, self.height, self.rectangles[index], self.weights[index], self.tilted[index])


def haar_features(width: int = 24, height: int = 24, kinds: Sequence[str] = tuple(KINDS), step: int = 1) -> HaarFeatures:
    """All Haar-like features of a window: every kind at every position and in every size.

    A 24 x 24 window has 162,336: 43,200 + 43,200 edges, 27,600 + 27,600 lines, 20,736 checkers. (Viola and Jones wrote "over 180,000", which
    many courses repeat.)

    Parameters
    ----------
    width, height : int
        Of the window.
    kinds : sequence of str
        Of edge_vertical, edge_horizontal (two rectangles), line_vertical, line_horizontal (three) and checker (four).
    step : int
        Positions and sizes go in steps of so many pixels: 1 gives all features.

    Returns
    -------
    HaarFeatures

    Raises
    ------
    ValueError
        An unknown kind, or numbers below 1.

    Notes
    -----
    Viola, Jones: Rapid object detection using a boosted cascade of simple features, 2001.

    Examples
    --------
    >>> [len(haar_features(24, 24, [kind])) for kind in KINDS]
    [43200, 43200, 27600, 27600, 20736]
    """
    if min(width, height, step) < 1:
        raise ValueError(f"haar_features: expected width, height and step of at least 1, got {(width, height, step)}")
    parts = []
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"haar_features: no kind {kind!r}; there are {', '.join(KINDS)}")
        across, down, cells = KINDS[kind]
        x, w = _places(width, across, step)
        y, h = _places(height, down, step)
        x, w = (np.tile(v, len(y)) for v in (x, w))  # sizes and positions of columns change fastest
        y, h = (np.repeat(v, len(x) // max(1, len(y))) for v in (y, h))
        rectangles = np.zeros((len(x), 3, 4), np.int32)
        weights = np.zeros((len(x), 3), np.float32)
        for r, ((cx, cy, cw, ch), weight) in enumerate(cells):
            rectangles[:, r] = np.stack([x + cx * w, y + cy * h, cw * w, ch * h], axis=1)
            weights[:, r] = weight
        parts.append((rectangles, weights))
    rectangles = np.concatenate([np.zeros((0, 3, 4), np.int32), *(part[0] for part in parts)])
    weights = np.concatenate([np.zeros((0, 3), np.float32), *(part[1] for part in parts)])
    return HaarFeatures(width, height, rectangles, weights, np.zeros(len(weights), bool))


def _places(length: int, cells: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """All (position, size of a cell) of a feature of so many cells along a side."""
    found = [(at, size) for size in range(1, length // cells + 1, step) for at in range(0, length - cells * size + 1, step)]
    both = np.array(found, np.int32).reshape(-1, 2)
    return both[:, 0], both[:, 1]
