"""Perceptron: step units that learn by the perceptron's rule."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella import nn
from lamella.estimators.base import Classifier

__all__ = ["Perceptron"]


class Perceptron(Classifier):
    """Step units that learn by the perceptron's rule: one for two classes, one per class for more.

    Parameters
    ----------
    lr : float
        The learning rate.
    max_iter : int
        Walks through the samples, in their order.
    tol : int
        Stop when a walk has at most this many errors.
    at_zero : float
        H(0) of the units.

    Attributes
    ----------
    classes_ : the labels, sorted
    coef_, intercept_ : weights (units, features) and biases (units,)
    report_ : PerceptronReport
        Weights after each sample, errors of each iteration, the iteration that found none.
    n_iter_ : iterations

    Examples
    --------
    >>> x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> p = Perceptron().fit(x, [0, 0, 0, 1])
    >>> p.coef_.tolist(), p.intercept_.tolist(), p.report_.errors, p.score(x, [0, 0, 0, 1])
    ([[2.0, 1.0]], [-3.0], [2, 3, 3, 2, 1, 0], 1.0)
    """

    _dtype = np.float64

    def __init__(self, lr: float = 1.0, max_iter: int = 1000, tol: int = 0, at_zero: float = 1.0):
        self.lr = lr
        self.max_iter = max_iter
        self.tol = tol
        self.at_zero = at_zero

    def _fit(self, X: np.ndarray, codes: np.ndarray) -> None:
        two = len(self.classes_) == 2
        layer = nn.Perceptron(X.shape[1], 1 if two else len(self.classes_), self.at_zero, dtype=np.float64)
        target = codes if two else np.eye(len(self.classes_))[codes]
        self.report_ = layer.learn(X, target, self.lr, self.max_iter, self.tol)
        assert layer.bias is not None
        self.coef_, self.intercept_ = layer.weight.data, layer.bias.data
        self.n_iter_ = len(self.report_.errors)
        self.module_ = layer

    def decision_function(self, X: Any) -> np.ndarray:
        """w . x + b of each unit; for two classes, that of the only unit, shape (N,)."""
        X = self._inputs(X)
        scores = nn.functional.linear(X, self._fitted("coef_"), self.intercept_)
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> np.ndarray:
        """The label of each sample: where the step says 1, the class of its unit."""
        scores = self.decision_function(X)
        return self.classes_[np.heaviside(scores, self.at_zero).astype(int) if scores.ndim == 1 else scores.argmax(1)]
