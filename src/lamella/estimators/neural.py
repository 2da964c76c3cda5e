"""NeuralClassifier: any network as an estimator. MLPClassifier: fully connected ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lamella import functional as F
from lamella import nn, optim, random
from lamella.data import DataLoader, TensorDataset
from lamella.estimators.base import Classifier
from lamella.train import Trainer

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

    Attributes
    ----------
    classes_ : the labels, sorted
    module_ : the trained network
    history_ : list of dict, what Trainer found per epoch
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
    ):
        self.module = module
        self.loss = loss
        self.optimizer = optimizer
        self.lr = lr
        self.epochs = epochs
        self.batch_size = batch_size
        self.alpha = alpha
        self.random_state = random_state

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
            trainer = Trainer(self.module_, make_optimizer(self.module_.parameters(), lr=self.lr), self.loss_, progress="none")
            loader = DataLoader(TensorDataset(X, codes.astype(np.int64)), batch_size=min(self.batch_size, len(X)), shuffle=True)
            self.history_ = trainer.fit(loader, epochs=self.epochs)
        finally:
            if self.random_state is not None:
                random.set_rng_state(before)
        self.loss_curve_ = [epoch["train_loss"] for epoch in self.history_]
        self.n_iter_ = len(self.history_)

    def decision_function(self, X: Any) -> np.ndarray:
        """The network's output: one score per class, shape (N, classes)."""
        X = self._inputs(X)
        return Trainer(self._fitted("module_"), None, progress="none").predict(X)

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class: the softmax of the scores."""
        return F.softmax(self.decision_function(X), 1)


class MLPClassifier(NeuralClassifier):
    """Fully connected layers with an activation between them.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int
        () gives a linear classifier.
    activation : "identity", "logistic", "relu", "tanh" or callable
        A callable makes a layer.
    loss, optimizer, lr, epochs, batch_size, alpha, random_state
        As NeuralClassifier.

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

    def _network(self, shape: tuple[int, ...], classes: int) -> Any:
        make = chosen(type(self).__name__, "activation", self.activation, ACTIVATIONS)
        sizes = [shape[0], *self.hidden_layer_sizes, classes]
        layers: list[Any] = []
        for n_in, n_out in zip(sizes, sizes[1:]):
            layers += [make(), nn.Linear(n_in, n_out)] if layers else [nn.Linear(n_in, n_out)]
        return nn.Sequential(*layers)
