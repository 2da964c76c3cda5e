"""BaggingClassifier: several estimators, each fitted to its own sample, answer together."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from lamella.estimators.base import Classifier

__all__ = ["BaggingClassifier"]


class BaggingClassifier(Classifier):
    """The mean probabilities of several classifiers that saw other samples and began with other weights.

    Parameters
    ----------
    estimator : classifier
        With ``fit``, ``predict`` and, where it has one, ``predict_proba`` (without, its label counts as probability 1). Copies of it are fitted.
    n_estimators : int
    max_samples : float
        The size of each sample, as a part of the training set.
    bootstrap : bool
        Draw with replacement: bagging. False with max_samples=1: all see everything, and differ by their initial weights alone.
    random_state : int, optional
        Draws samples, and every copy's own random_state, where it has one.

    Attributes
    ----------
    estimators_ : list
    samples_ : list of arrays, the rows that each was fitted to
    oob_score_ : float, the accuracy on training samples, each judged by the estimators that did not see it; NaN without such

    Raises
    ------
    ValueError
        Less than one estimator, or a max_samples outside (0, 1].

    Notes
    -----
    Breiman, Machine Learning 24 (1996).

    Examples
    --------
    >>> from lamella.estimators import MLPClassifier
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(80, 2))
    >>> y = np.where(x[:, 0] > 0, "right", "left")
    >>> bag = BaggingClassifier(MLPClassifier((4,), lr=0.05, epochs=10), n_estimators=3, random_state=0).fit(x, y)
    >>> bag.score(x, y) > 0.9, len(bag.estimators_)
    (True, 3)
    """

    _any_shape = True

    def __init__(
        self, estimator: Any, n_estimators: int = 10, max_samples: float = 1.0, bootstrap: bool = True, random_state: int | None = None
    ):
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.bootstrap = bootstrap
        self.random_state = random_state

    def _fit(self, X: np.ndarray, codes: np.ndarray) -> None:
        if self.n_estimators < 1 or not 0 < self.max_samples <= 1:
            raise ValueError(
                f"BaggingClassifier: expected n_estimators of at least 1 and max_samples in (0, 1], got {self.n_estimators} and {self.max_samples}"
            )
        rng = np.random.default_rng(self.random_state)
        size = max(1, round(self.max_samples * len(X)))
        self.estimators_, self.samples_ = [], []
        votes = np.zeros((len(X), len(self.classes_)))
        for _ in range(self.n_estimators):
            member = copy.deepcopy(self.estimator)
            seed = int(rng.integers(2**31))
            if "random_state" in member.get_params() and (self.random_state is not None or member.random_state is not None):
                member.set_params(random_state=seed)
            rows = rng.integers(0, len(X), size) if self.bootstrap else np.sort(rng.permutation(len(X))[:size])
            while len(np.unique(codes[rows])) < 2:  # a classifier needs two classes; the training set has them
                rows = rng.integers(0, len(X), max(size, 2))
            member.fit(X[rows], codes[rows])
            self.estimators_.append(member)
            self.samples_.append(rows)
            unseen = np.setdiff1d(np.arange(len(X)), rows)
            if len(unseen):
                votes[unseen] += self._probabilities(member, X[unseen])
        judged = votes.sum(1) > 0
        self.oob_score_ = float((votes.argmax(1) == codes)[judged].mean()) if judged.any() else float("nan")

    def _probabilities(self, member: Any, X: np.ndarray) -> np.ndarray:
        """Of all classes; a class that the member's sample lacked has probability 0."""
        out = np.zeros((len(X), len(self.classes_)))
        if hasattr(member, "predict_proba"):
            out[:, member.classes_] = member.predict_proba(X)
        else:
            out[np.arange(len(X)), member.predict(X)] = 1
        return out

    def predict_proba(self, X: Any) -> np.ndarray:
        """The mean of the members' probabilities, shape (samples, classes)."""
        X = self._inputs(X)
        return np.mean([self._probabilities(member, X) for member in self._fitted("estimators_")], axis=0)

    def decision_function(self, X: Any) -> np.ndarray:
        """As predict_proba."""
        return self.predict_proba(X)
