"""LinearClassifier: one score W x + b per class."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella import nn
from lamella.estimators.neural import NeuralClassifier

__all__ = ["LinearClassifier"]


class LinearClassifier(NeuralClassifier):
    """Scores W x + b, one per class; learned with the softmax loss (logistic regression) or the multi-class hinge loss (a linear SVM).

    Parameters
    ----------
    loss : "softmax", "svm" or callable
    optimizer, lr, epochs, batch_size, alpha, random_state, early_stopping, validation_fraction, n_iter_no_change
        As NeuralClassifier.

    Attributes
    ----------
    coef_, intercept_ : weights (classes, features) and biases (classes,)

    Examples
    --------
    >>> x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> svm = LinearClassifier("svm", lr=0.1, epochs=50, batch_size=4, random_state=0).fit(x, [0, 0, 0, 1])
    >>> svm.predict(x), svm.coef_.shape
    (array([0, 0, 0, 1]), (2, 2))
    """

    _any_shape = False

    def __init__(
        self,
        loss: Any = "softmax",
        optimizer: Any = "adam",
        lr: float = 1e-2,
        epochs: int = 50,
        batch_size: int = 32,
        alpha: float = 1e-4,
        random_state: int | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
    ):
        self.loss = loss
        self.optimizer = optimizer
        self.lr = lr
        self.epochs = epochs
        self.batch_size = batch_size
        self.alpha = alpha
        self.random_state = random_state
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change

    def _network(self, shape: tuple[int, ...], classes: int) -> Any:
        return nn.Linear(shape[0], classes)

    @property
    def coef_(self) -> np.ndarray:
        return self._fitted("module_").weight.data

    @property
    def intercept_(self) -> np.ndarray:
        return self._fitted("module_").bias.data
