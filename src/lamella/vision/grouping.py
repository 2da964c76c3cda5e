"""One rectangle for each object, out of the many windows that found it."""

from __future__ import annotations

from typing import Any

import numpy as np


def _boxes(value: Any, name: str) -> np.ndarray:
    boxes = np.asarray(value)
    if boxes.size == 0:
        return np.zeros((0, 4), np.int32)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{name}: expected rectangles of shape (n, 4): x, y, width, height; got {boxes.shape}")
    return boxes


def _similar(a: np.ndarray, b: np.ndarray, eps: float) -> np.ndarray:
    """Whether each of a lies where each of b does, within eps of their size."""
    a, b = a[:, None].astype(np.int64), b[None].astype(np.int64)
    delta = eps * (np.minimum(a[..., 2], b[..., 2]) + np.minimum(a[..., 3], b[..., 3])) * 0.5
    start = np.abs(a[..., :2] - b[..., :2])
    end = np.abs(a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:])
    return (np.maximum(start, end) <= delta[..., None]).all(-1)


def group_rectangles(rectangles: Any, min_neighbors: int = 3, eps: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Average the rectangles of each group, as OpenCV's groupRectangles does.

    Two rectangles are alike if all four edges lie within eps times their size of each other; a group is whatever likeness connects. Groups of
    `min_neighbors` or fewer are dropped, and small ones inside a larger group.

    Parameters
    ----------
    rectangles : int array (n, 4): x, y, width, height
    min_neighbors : int
        0 leaves the rectangles as they are.
    eps : float

    Returns
    -------
    int32 array (m, 4), int32 array (m,): the means, and how many rectangles each stands for

    Raises
    ------
    ValueError
        Not rectangles.

    Examples
    --------
    >>> group_rectangles([[10, 10, 20, 20], [11, 10, 20, 20], [12, 10, 20, 20], [90, 90, 20, 20]], 2)
    (array([[11, 10, 20, 20]], dtype=int32), array([3], dtype=int32))
    """
    boxes = _boxes(rectangles, "group_rectangles").astype(np.int32)
    if min_neighbors <= 0 or not len(boxes):
        return boxes, np.ones(len(boxes), np.int32)
    labels = np.full(len(boxes), -1)
    groups = 0
    for first in range(len(boxes)):
        if labels[first] >= 0:
            continue
        new = np.array([first])
        while len(new):
            labels[new] = groups
            free = np.flatnonzero(labels < 0)
            near = np.zeros(len(free), bool)
            for block in range(0, len(new), 256):
                near |= _similar(boxes[new[block : block + 256]], boxes[free], eps).any(0)
            new = free[near]
        groups += 1
    counts = np.bincount(labels, minlength=groups)
    total = np.stack([np.bincount(labels, boxes[:, k], groups) for k in range(4)], axis=1)
    means = np.rint(total.astype(np.float32) * (np.float32(1) / counts.astype(np.float32))[:, None]).astype(np.int64)
    large = counts > min_neighbors
    margin = np.rint(means[:, 2:] * eps).astype(np.int64)
    kept = []
    for i in np.flatnonzero(large):
        inside = ((means[i, :2] >= means[:, :2] - margin) & (means[i, :2] + means[i, 2:] <= means[:, :2] + means[:, 2:] + margin)).all(1)
        inside &= large & ((counts > max(3, counts[i])) | (counts[i] < 3))
        inside[i] = False
        if not inside.any():
            kept.append(i)
    return means[kept].astype(np.int32).reshape(-1, 4), counts[kept].astype(np.int32)


def non_maximum_suppression(boxes: Any, scores: Any, threshold: float = 0.5) -> np.ndarray:
    """Of boxes that overlap, keep the one with the highest score.

    From the highest score to the lowest, a box is kept unless its intersection with one kept before, over their union, is above the threshold.

    Parameters
    ----------
    boxes : array (n, 4): x, y, width, height
    scores : array (n,)
    threshold : float
        Of intersection over union.

    Returns
    -------
    int array: the numbers of the boxes kept, highest score first; of equal scores the first comes first

    Raises
    ------
    ValueError
        Not boxes, or not one score for each.

    Examples
    --------
    >>> non_maximum_suppression([[0, 0, 10, 10], [1, 0, 10, 10], [30, 0, 10, 10]], [0.5, 0.9, 0.7])
    array([1, 2])
    """
    box = _boxes(boxes, "non_maximum_suppression").astype(np.float64)
    score = np.asarray(scores, np.float64)
    if score.shape != (len(box),):
        raise ValueError(f"non_maximum_suppression: expected {len(box)} scores, got an array of shape {score.shape}")
    low, high = box[:, :2], box[:, :2] + box[:, 2:]
    area = box[:, 2] * box[:, 3]
    order = np.argsort(-score, kind="stable")
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        common = (np.minimum(high[best], high[order]) - np.maximum(low[best], low[order])).clip(0).prod(1)
        order = order[common <= threshold * (area[best] + area[order] - common)]
    return np.array(kept, np.int64)
