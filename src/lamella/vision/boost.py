"""Boosting: a strong classifier from the best of many weak ones, each a threshold on one feature."""

from __future__ import annotations

from itertools import islice
from typing import Any, Self

import numpy as np

from lamella.vision import stumps
from lamella.vision.haar import HaarFeatures
from lamella.vision.haar import haar_features as haar_features  # for the example

MEMORY = 1 << 30


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
    return stumps.haar(x, features)(slice(None)).T


class AdaBoost:
    """Discrete AdaBoost over decision stumps.

    Each round takes the feature, threshold and direction with the least weighted error e, gives it the vote log((1 - e) / e), and
    multiplies the weights of the samples it has right by e / (1 - e).

    Parameters
    ----------
    n_estimators : int
        Rounds; fewer where a stump is right on all samples.
    memory : int
        Bytes for the samples in the order of each feature, 2 for each value (4 for more than 2**15 samples); features that do not fit are
        sorted again in every round, and nothing else changes.

    Attributes
    ----------
    features_, thresholds_, signs_, votes_ : arrays (rounds,)
        Below the threshold a stump with sign 1 says 1, from it on one with sign -1.

    Notes
    -----
    Freund, Schapire: A decision-theoretic generalization of on-line learning, 1997; Viola, Jones, 2001, table 1.

    Examples
    --------
    >>> x = np.array([[0.0, 5.0], [1.0, 4.0], [2.0, 6.0], [3.0, 3.0]])
    >>> AdaBoost(3).fit(x, [1, 1, 0, 0]).score(x, [1, 1, 0, 0])
    1.0
    """

    def __init__(self, n_estimators: int = 50, memory: int = MEMORY):
        if n_estimators < 1 or memory < 0:
            raise ValueError(f"AdaBoost: expected n_estimators of at least 1 and memory of at least 0, got {n_estimators}, {memory}")
        self.n_estimators, self.memory = n_estimators, memory

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from values X (N, F) and labels y (N,) of 0 and 1."""
        x, target = np.asarray(X), np.asarray(y)
        if x.ndim != 2 or target.shape != (len(x),) or not x.size:
            raise ValueError(f"AdaBoost.fit: expected X (N, F) and y (N,), got {x.shape} and {target.shape}")
        if not np.isin(target, (0, 1)).all() or target.min() == target.max():
            raise ValueError("AdaBoost.fit: expected labels 0 and 1, and some of each")
        if not np.isfinite(x).all():
            raise ValueError("AdaBoost.fit: a value is not finite")
        if x.dtype != np.float32:
            x = x.astype(np.float64)
        found = list(
            islice(stumps.rounds(lambda part: np.ascontiguousarray(x[:, part].T), x.shape[1], target == 1, self.memory), self.n_estimators)
        )
        if not found:
            raise ValueError("AdaBoost.fit: no feature has two values, so that no threshold tells samples apart")
        numbers, thresholds, signs, votes, _ = zip(*found)
        self.features_, self.thresholds_ = np.array(numbers), np.array(thresholds, x.dtype)
        self.signs_, self.votes_ = np.array(signs), np.array(votes)
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """The votes for 1 less half of all votes: above 0 is 1."""
        says = (np.asarray(X)[:, self.features_] < self.thresholds_) == (self.signs_ > 0)
        return (says * self.votes_).sum(1) - self.votes_.sum() / 2

    def predict(self, X: Any) -> np.ndarray:
        """0 or 1 for each row of X (N, F)."""
        return (self.decision_function(X) >= 0).astype(np.int64)

    def score(self, X: Any, y: Any) -> float:
        """The share of rows predicted right."""
        return float((self.predict(X) == np.asarray(y)).mean())
