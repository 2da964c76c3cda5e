"""Rounds of boosting: the best stump for weighted samples, again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from lamella.problems import StumpsProblem
from lamella.registry import select
from lamella.vision.haar import HaarFeatures
from lamella.vision.integral import integral_image, rectangle_sum

BLOCK = 1 << 22  # values looked at together
LEAST_ERROR = 1e-10
Values = Callable[[slice], np.ndarray]  # of a slice of the features: (features, samples), float32 or float64


class Stump(NamedTuple):
    """A threshold on a feature: below it says 1 if sign is 1, from it on if sign is -1."""

    feature: int
    threshold: float
    sign: int
    vote: float
    says: np.ndarray  # bool (samples,)


def haar(windows: np.ndarray, features: HaarFeatures) -> Values:
    """Values of upright features of windows (N, height, width) of bytes, divided by the spread of the window's pixels, as detectors see them."""
    sums, squares = integral_image(windows, squared=True)
    inner = (1, 1, features.width - 2, features.height - 2)
    total = rectangle_sum(sums, *inner).astype(np.float64)
    variance = float(inner[2] * inner[3]) * rectangle_sum(squares, *inner) - total * total
    norm = np.where(variance > 0, 1 / np.sqrt(np.maximum(variance, 1)), 0).astype(np.float32)
    side_by_side = np.ascontiguousarray(np.moveaxis(sums, 0, 2))

    def values(part: slice) -> np.ndarray:
        chosen = features[part]
        p = StumpsProblem.of(len(chosen), len(windows), features.height, features.width, np.dtype(np.float32))
        out = np.empty((len(chosen), len(windows)), np.float32)
        select("stumps", "values", p)(p, side_by_side, norm, chosen.rectangles, chosen.weights, out)
        return out

    return values


def _orders(values: Values, features: int, samples: int, memory: int) -> Callable[[], Iterator[tuple[int, np.ndarray]]]:
    """What gives the samples in the order of each feature, by blocks of features (the first one's number, the order).

    As many blocks as fit `memory` bytes are kept; the others are evaluated and sorted again each time.
    """
    step = max(1, BLOCK // samples)
    kept: dict[int, np.ndarray] = {}

    def blocks() -> Iterator[tuple[int, np.ndarray]]:
        free = memory - sum(order.nbytes for order in kept.values())
        for start in range(0, features, step):
            order = kept.get(start)
            if order is None:
                x = values(slice(start, start + step))
                p = StumpsProblem.of(*x.shape, 0, 0, x.dtype)
                order = np.empty(x.shape, p.order_dtype)
                select("stumps", "sort", p)(p, x, order)
                if order.nbytes <= free:
                    free -= order.nbytes
                    kept[start] = order
            yield start, order

    return blocks


def rounds(values: Values, features: int, positive: np.ndarray, memory: int) -> Iterator[Stump]:
    """The stumps that AdaBoost chooses, one after the other: to the end of time, or until one is right on all samples, or none on half.

    Of stumps with the same error the first feature's counts, first those with sign 1, and the lowest threshold. At most `memory` bytes hold sorted
    features from round to round.
    """
    blocks = _orders(values, features, len(positive), memory)
    weight = np.where(positive, 0.5 / positive.sum(), 0.5 / (~positive).sum())
    error = 0.25
    while LEAST_ERROR < error < 0.5:
        weight = weight / weight.sum()
        signed = np.where(positive, weight, -weight)
        ones, zeros = weight[positive].sum(), weight[~positive].sum()
        best = (np.inf, 0, 0, 1)
        for start, order in blocks():
            p = StumpsProblem.of(*order.shape, 0, 0, np.dtype(np.float32))
            extreme, cut = np.empty((len(order), 2)), np.empty((len(order), 2), np.int32)
            select("stumps", "choose", p)(p, order, signed, extreme, cut)
            for column, sign, errors in ((0, 1, ones - extreme[:, 0]), (1, -1, zeros + extreme[:, 1])):
                i = int(np.argmin(errors))
                if errors[i] < best[0]:
                    best = (float(errors[i]), start + i, int(cut[i, column]), sign)
        if best[0] == np.inf:
            return  # all samples are alike
        error, feature, at, sign = best
        value = values(slice(feature, feature + 1))[0]
        low, high = np.partition(value, (at, at + 1))[at : at + 2]
        threshold = value.dtype.type((np.float64(low) + np.float64(high)) / 2)
        threshold = threshold if threshold > low else high  # between neighbouring numbers there is none
        says = (value < threshold) == (sign > 0)
        error = max(error, LEAST_ERROR)
        yield Stump(feature, float(threshold), sign, float(np.log((1 - error) / error)), says)
        weight = np.where(says == positive, weight * error / (1 - error), weight)
