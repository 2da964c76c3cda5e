"""NeuralClassifier: any network as an estimator. MLPClassifier: fully connected ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lamella import functional as F
from lamella import nn, optim, random
from lamella.data import DataLoader, TensorDataset
from lamella.estimators.base import Classifier
from lamella.train import EarlyStopping, Trainer

__all__ = ["MLPClassifier", "NeuralClassifier"]

LOSSES: dict[str, Callable[[], Any]] = {
    "softmax": nn.CrossEntropyLoss,
    "svm": lambda: nn.MultiMarginLoss(normalize_classes=False),
}
ACTIVATIONS: dict[str, Callable[[], Any]] = {"identity": nn.Identity, "logistic": nn.Sigmoid, "relu": nn.ReLU, "tanh": nn.Tanh}
OPTIMIZERS: dict[str, Callable[..., Any]] = {"adam": optim.Adam, "adamw": optim.AdamW, "sgd": optim.SGD}


def chosen(owner: str, argument: str, value: Any, table: dict[str, Any]) -> Any:
    """A row of a table by its name; anything callable stands for itself."""
    if callable(value):
        return value
    if value not in table:
        raise ValueError(f"{owner}: {argument} must be one of {', '.join(map(repr, table))} or a function, got {value!r}")
    return table[value]


class NeuralClassifier(Classifier):
    """Any network as a classifier.

    Parameters
    ----------
    module : callable
        ``module(shape, classes)`` makes the network, from the shape of one sample and the number of classes; it puts out one score per class.
    loss : "softmax", "svm" or callable
        Cross entropy; the multi-class hinge loss, summed over classes; or a function that makes a loss.
    optimizer : "adam", "adamw", "sgd" or callable
        A callable is given the parameters and lr.
    lr : float
    epochs : int
    batch_size : int
    alpha : float
        Adds alpha / 2 times the sum of squared weights (no biases) to the loss.
    random_state : int, optional
        Makes initial weights and the order of samples repeatable, and leaves lamella's own random state as it was.
    early_stopping : bool
        Hold out a part of each class, stop when the loss on it no longer falls, and return to the weights of the best epoch.
    validation_fraction : float
        The part held out.
    n_iter_no_change : int
        Epochs without improvement that are forgiven.

    Attributes
    ----------
    classes_ : the labels, sorted
    module_ : the trained network
    history_ : list of dict, what Trainer found per epoch
    best_epoch_ : int, the epoch whose weights it has; the last one without early stopping
    loss_curve_ : list of float

    Examples
    --------
    >>> from lamella import nn
    >>> def network(shape, classes):
    ...     return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 8), nn.Tanh(), nn.Linear(8, classes))
    >>> x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> xor = NeuralClassifier(network, lr=0.1, epochs=100, batch_size=4, random_state=0).fit(x, ["same", "other", "other", "same"])
    >>> xor.predict(x).tolist()
    ['same', 'other', 'other', 'same']
    """

    _any_shape = True

    def __init__(
        self,
        module: Callable[[tuple[int, ...], int], Any],
        loss: Any = "softmax",
        optimizer: Any = "adam",
        lr: float = 1e-3,
        epochs: int = 20,
        batch_size: int = 32,
        alpha: float = 0.0,
        random_state: int | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
    ):
        self.module = module
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
        return self.module(shape, classes)

    def _fit(self, X: np.ndarray, codes: np.ndarray) -> None:
        name = type(self).__name__
        make_loss = chosen(name, "loss", self.loss, LOSSES)
        make_optimizer = chosen(name, "optimizer", self.optimizer, OPTIMIZERS)
        before = random.get_rng_state()
        if self.random_state is not None:
            random.manual_seed(self.random_state)
        try:
            self.module_ = self._network(X.shape[1:], len(self.classes_))
            self.loss_ = make_loss()
            if self.alpha:
                self.loss_ = nn.RegularizedLoss(self.loss_, self.module_, "l2", self.alpha, half=True)
            optimizer = make_optimizer(self.module_.parameters(), lr=self.lr)
            stopping = [EarlyStopping("val_loss", self.n_iter_no_change)] if self.early_stopping else []
            trainer = Trainer(self.module_, optimizer, self.loss_, callbacks=stopping, progress="none")
            train, valid = self._split(codes)
            loader = DataLoader(TensorDataset(X[train], codes[train]), batch_size=min(self.batch_size, len(train)), shuffle=True)
            held = DataLoader(TensorDataset(X[valid], codes[valid]), batch_size=256) if self.early_stopping else None
            self.history_ = trainer.fit(loader, held, epochs=self.epochs)
        finally:
            if self.random_state is not None:
                random.set_rng_state(before)
        self.loss_curve_ = [epoch["train_loss"] for epoch in self.history_]
        self.n_iter_ = len(self.history_)
        self.best_epoch_ = stopping[0].best_epoch if stopping else self.n_iter_

    def _split(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows to train on and those held out: of every class at least one, and not all."""
        if not self.early_stopping:
            return np.arange(len(codes)), np.arange(0)
        name = type(self).__name__
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"{name}: expected validation_fraction between 0 and 1, got {self.validation_fraction}")
        order = random.generator().permutation(len(codes))
        held = []
        for k in range(len(self.classes_)):
            rows = order[codes[order] == k]
            if len(rows) < 2:
                raise ValueError(
                    f"{name}: early_stopping needs two samples or more of every class, got one of {self.classes_.tolist()[k]!r}"
                )
            held.append(rows[: min(max(1, round(self.validation_fraction * len(rows))), len(rows) - 1)])
        valid = np.concatenate(held)
        return np.setdiff1d(order, valid), np.sort(valid)

    def decision_function(self, X: Any) -> np.ndarray:
        """The network's output: one score per class, shape (N, classes)."""
        X = self._inputs(X)
        return Trainer(self._fitted("module_"), None, progress="none").predict(X)

    def predict_proba(self, X: Any, mc_samples: int = 0) -> Any:
        """The probability of each class: the softmax of the scores.

        Parameters
        ----------
        X : array, shape (samples, ...)
        mc_samples : int
            Monte Carlo dropout: so many passes with dropout at work.

        Returns
        -------
        ndarray, shape (samples, classes); with mc_samples a `lamella.train.MonteCarlo` of two, their mean and std
        """
        if not mc_samples:
            return F.softmax(self.decision_function(X), 1)
        X = self._inputs(X)
        trainer = Trainer(self._fitted("module_"), None, progress="none")
        return trainer.predict(X, mc_samples=mc_samples, output=lambda scores: F.softmax(scores, 1))


class MLPClassifier(NeuralClassifier):
    """Fully connected layers with an activation between them.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int
        () gives a linear classifier.
    activation : "identity", "logistic", "relu", "tanh" or callable
        A callable makes a layer.
    loss, optimizer, lr, epochs, batch_size, alpha, random_state, early_stopping, validation_fraction, n_iter_no_change
        As NeuralClassifier.
    dropout : float
        The probability to drop a hidden neuron in training; with it, ``predict_proba(X, mc_samples=30)`` tells how sure the network is.

    Examples
    --------
    >>> x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> MLPClassifier((8,), "tanh", lr=0.1, epochs=100, batch_size=4, random_state=0).fit(x, [0, 1, 1, 0]).score(x, [0, 1, 1, 0])
    1.0
    """

    _any_shape = False

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (100,),
        activation: Any = "relu",
        loss: Any = "softmax",
        optimizer: Any = "adam",
        lr: float = 1e-3,
        epochs: int = 100,
        batch_size: int = 32,
        alpha: float = 1e-4,
        random_state: int | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        dropout: float = 0.0,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
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
        self.dropout = dropout

    def _network(self, shape: tuple[int, ...], classes: int) -> Any:
        make = chosen(type(self).__name__, "activation", self.activation, ACTIVATIONS)
        sizes = [shape[0], *self.hidden_layer_sizes, classes]
        layers: list[Any] = []
        for n_in, n_out in zip(sizes, sizes[1:]):
            if layers:
                layers += [make(), nn.Dropout(self.dropout)] if self.dropout else [make()]
            layers.append(nn.Linear(n_in, n_out))
        return nn.Sequential(*layers)
