"""Step and Perceptron: the neuron that decides, and the rule it learns by."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lamella import functional as F
from lamella.nn.linear import Linear
from lamella.nn.module import Module
from lamella.tensor import Tensor

__all__ = ["Perceptron", "PerceptronReport", "Step"]


class Step(Module):
    """The Heaviside step: 0 below 0, 1 above, `at_zero` at 0. Its gradient is 0.

    Parameters
    ----------
    at_zero : float

    Examples
    --------
    >>> import lamella
    >>> Step()(lamella.tensor([-1.0, 0.0, 2.0]))
    tensor([0., 1., 1.])
    """

    def __init__(self, at_zero: float = 1.0):
        super().__init__()
        self.at_zero = at_zero

    def forward(self, input: Any) -> Any:
        return F.heaviside(input, self.at_zero)

    def extra_repr(self) -> str:
        return f"at_zero={self.at_zero}"


class PerceptronReport(NamedTuple):
    """How a perceptron learned: one entry per iteration, which is one walk through the samples.

    weights : list of arrays (samples, outputs, 1 + features): bias and weights after each sample
    outputs : list of arrays (samples, outputs): what it answered before learning from the sample
    errors : list of int: samples with a wrong answer
    converged : the iteration (from 1) that found no error, or None
    last_change : the iteration (from 1) that last changed a weight, or 0

    Examples
    --------
    >>> x, y = np.array([[0.0], [1.0]]), np.array([1, 0])
    >>> layer = Perceptron(1)
    >>> report = layer.learn(x, y)
    >>> report.errors, report.converged, report.last_change
    ([1, 1, 0], 3, 2)
    """

    weights: list[np.ndarray]
    outputs: list[np.ndarray]
    errors: list[int]
    converged: int | None
    last_change: int


class Perceptron(Linear):
    """Step units side by side: y_j = H(w_j . x + b_j). Weights start at zero.

    Parameters
    ----------
    in_features, out_features : int
        One unit per output; a unit draws one straight boundary, w . x = -b.
    at_zero : float
        H(0).
    dtype : optional, default float32

    References
    ----------
    Rosenblatt, The perceptron, Psychological Review 65 (1958).

    Examples
    --------
    Learn AND:

    >>> x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    >>> layer = Perceptron(2)
    >>> layer.learn(x, np.array([0, 0, 0, 1])).converged
    6
    >>> layer.weight.tolist(), layer.bias.tolist(), layer(x).tolist()
    ([[2.0, 1.0]], [-3.0], [[0.0], [0.0], [0.0], [1.0]])
    """

    def __init__(self, in_features: int, out_features: int = 1, at_zero: float = 1.0, dtype: Any = None):
        super().__init__(in_features, out_features, dtype=dtype)
        self.at_zero = at_zero

    def reset_parameters(self) -> None:
        """Return to zero."""
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                parameter.data[...] = 0

    def forward(self, input: Any) -> Any:
        return F.heaviside(super().forward(input), self.at_zero)

    def learn(self, x: Any, target: Any, lr: float = 1.0, max_iter: int = 1000, tol: int = 0) -> PerceptronReport:
        """Learn by the perceptron's rule: after every sample, w += lr (target - y) x and b += lr (target - y), in the order of the data.

        Parameters
        ----------
        x : array or Tensor, shape (N, in_features)
        target : array of 0 and 1, shape (N,) or (N, out_features)
        lr : float
        max_iter : int
            Walks through the samples. Where no boundary separates the samples, the rule never ends by itself.
        tol : int
            Stop when an iteration has at most this many errors.

        Returns
        -------
        PerceptronReport

        Raises
        ------
        ValueError
            Wrong shapes, or targets other than 0 and 1.
        """
        x = np.asarray(x.data if isinstance(x, Tensor) else x, self.weight.dtype)
        target = np.asarray(target.data if isinstance(target, Tensor) else target)
        if x.ndim != 2 or x.shape[1] != self.in_features:
            raise ValueError(f"learn: expected x of shape (N, {self.in_features}), got {x.shape}")
        wanted = target.reshape(len(target), -1) if target.ndim else target
        if wanted.shape != (len(x), self.out_features):
            raise ValueError(f"learn: expected a target of shape {(len(x), self.out_features)}, got {target.shape}")
        if not ((wanted == 0) | (wanted == 1)).all():
            raise ValueError("learn: expected targets 0 and 1; for -1 and 1 give (target + 1) / 2")
        assert self.bias is not None
        w = np.concatenate([self.bias.data[:, None], self.weight.data], axis=1)
        inputs = np.concatenate([np.ones((len(x), 1), x.dtype), x], axis=1)
        wanted = wanted.astype(x.dtype)
        weights, outputs, errors = [], [], []
        converged, last_change = None, 0
        for iteration in range(1, max_iter + 1):
            after, answers = np.empty((len(x), *w.shape), w.dtype), np.empty_like(wanted)
            for j, (row, t) in enumerate(zip(inputs, wanted)):
                y = np.heaviside((w * row).sum(1), x.dtype.type(self.at_zero))
                w += lr * (t - y)[:, None] * row
                answers[j], after[j] = y, w
            wrong = int((answers != wanted).any(1).sum())
            weights.append(after)
            outputs.append(answers)
            errors.append(wrong)
            if wrong:
                last_change = iteration
            if wrong <= tol:
                converged = iteration if wrong == 0 else None
                break
        self.bias.data[...], self.weight.data[...] = w[:, 0], w[:, 1:]
        return PerceptronReport(weights, outputs, errors, converged, last_change)
