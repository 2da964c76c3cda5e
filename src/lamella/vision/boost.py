"""Boosting: a strong classifier from the best of many weak ones, each a threshold on one feature."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from lamella.vision.haar import HaarFeatures
from lamella.vision.haar import haar_features as haar_features  # for the example
from lamella.vision.integral import integral_image, rectangle_sum

BLOCK = 1 << 22  # numbers looked at together


def haar_values(images: Any, features: HaarFeatures) -> np.ndarray:
    """The values of features on windows, divided by the spread of each window's pixels, as detectors see them.

    value = sum over r of weights[r] * (sum over rectangle r) / sqrt(area * sum of squares - sum^2), the spread without the outermost pixels;
    0 for a window without any.

    Parameters
    ----------
    images : uint8 array (N, height, width)
    features : HaarFeatures, upright ones

    Returns
    -------
    float32 array (N, F)

    Raises
    ------
    ValueError
        Windows of another size, or tilted features.

    Examples
    --------
    >>> windows = np.random.default_rng(0).integers(0, 256, (3, 24, 24)).astype(np.uint8)
    >>> haar_values(windows, haar_features(24, 24, ["checker"])).shape
    (3, 20736)
    """
    x = np.asarray(images)
    if x.ndim != 3 or x.shape[1:] != (features.height, features.width):
        raise ValueError(f"haar_values: expected windows (N, {features.height}, {features.width}), got {x.shape}")
    if features.tilted.any():
        raise ValueError("haar_values: tilted features are evaluated by detectors only")
    sums, squares = integral_image(x, squared=True)
    inner = (1, 1, features.width - 2, features.height - 2)
    area = float(inner[2] * inner[3])
    total = rectangle_sum(sums, *inner).astype(np.float64)
    variance = area * rectangle_sum(squares, *inner) - total * total
    norm = np.where(variance > 0, 1 / np.sqrt(np.maximum(variance, 1)), 0).astype(np.float32)
    out = np.zeros((len(x), len(features)), np.float32)
    for r in range(3):
        used = np.flatnonzero(features.weights[:, r])
        out[:, used] += features.weights[used, r] * rectangle_sum(sums, *features.rectangles[used, r].T).astype(np.float32)
    return out * norm[:, None]


class AdaBoost:
    """Discrete AdaBoost over decision stumps.

    Each round takes the feature, threshold and direction with the least weighted error e, gives it the vote log((1 - e) / e), and
    multiplies the weights of the samples it has right by e / (1 - e).

    Parameters
    ----------
    n_estimators : int
        Rounds; fewer where a stump is right on all samples.

    Attributes
    ----------
    features_, thresholds_, signs_, votes_ : arrays (rounds,)
        A stump says 1 where signs * value < signs * threshold.

    Notes
    -----
    Freund, Schapire: A decision-theoretic generalization of on-line learning, 1997; Viola, Jones, 2001, table 1.

    Examples
    --------
    >>> x = np.array([[0.0, 5.0], [1.0, 4.0], [2.0, 6.0], [3.0, 3.0]])
    >>> AdaBoost(3).fit(x, [1, 1, 0, 0]).score(x, [1, 1, 0, 0])
    1.0
    """

    def __init__(self, n_estimators: int = 50):
        if n_estimators < 1:
            raise ValueError(f"AdaBoost: expected n_estimators of at least 1, got {n_estimators}")
        self.n_estimators = n_estimators

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from values X (N, F) and labels y (N,) of 0 and 1."""
        x, target = np.asarray(X), np.asarray(y)
        if x.ndim != 2 or target.shape != (len(x),) or not x.size:
            raise ValueError(f"AdaBoost.fit: expected X (N, F) and y (N,), got {x.shape} and {target.shape}")
        if not np.isin(target, (0, 1)).all() or target.min() == target.max():
            raise ValueError("AdaBoost.fit: expected labels 0 and 1, and some of each")
        if not np.isfinite(x).all():
            raise ValueError("AdaBoost.fit: a value is not finite")
        values = np.ascontiguousarray(x.T)
        order = np.argsort(values, axis=1, kind="stable").astype(np.int32)
        values = np.take_along_axis(values, order, 1)
        cuts = values[:, 1:] > values[:, :-1]  # a threshold lies between different values only
        positive = target == 1
        weight = np.where(positive, 0.5 / positive.sum(), 0.5 / (~positive).sum())
        found = []
        for _ in range(self.n_estimators):
            weight = weight / weight.sum()
            error, f, at, sign = _best(np.where(positive, weight, -weight), order, cuts, weight[positive].sum())
            threshold = (np.float64(values[f, at]) + np.float64(values[f, at + 1])) / 2
            error = max(error, 1e-10)
            found.append((f, threshold, sign, np.log((1 - error) / error)))
            if error >= 0.5 or error <= 1e-10:
                break
            right = (sign * x[:, f] < sign * threshold) == positive
            weight = np.where(right, weight * error / (1 - error), weight)
        numbers, thresholds, signs, votes = zip(*found)
        self.features_, self.thresholds_ = np.array(numbers), np.array(thresholds, np.float64)
        self.signs_, self.votes_ = np.array(signs), np.array(votes)
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """The votes for 1 less half of all votes: above 0 is 1."""
        says = self.signs_ * np.asarray(X)[:, self.features_] < self.signs_ * self.thresholds_
        return (says * self.votes_).sum(1) - self.votes_.sum() / 2

    def predict(self, X: Any) -> np.ndarray:
        """0 or 1 for each row of X (N, F)."""
        return (self.decision_function(X) >= 0).astype(np.int64)

    def score(self, X: Any, y: Any) -> float:
        """The share of rows predicted right."""
        return float((self.predict(X) == np.asarray(y)).mean())


def _best(signed: np.ndarray, order: np.ndarray, cuts: np.ndarray, positive: float) -> tuple[float, int, int, int]:
    """The stump of least error: (error, feature, position of the threshold, sign); the first of equal ones.

    With S the signed weight below a threshold, the stump that says 1 below it errs by (weight of ones) - S, its opposite by 1 - that.
    """
    best = (np.inf, 0, 0, 1)
    block = max(1, BLOCK // order.shape[1])
    for start in range(0, len(order), block):
        part = slice(start, start + block)
        below = np.cumsum(signed[order[part, :-1]], axis=1)
        for sign, error in ((1, positive - below), (-1, 1 - positive + below)):
            error = np.where(cuts[part], error, np.inf)
            i = int(np.argmin(error))
            if error.flat[i] < best[0]:
                f, at = divmod(i, error.shape[1])
                best = (float(error.flat[i]), start + f, at, sign)
    return best
