"""Probability distributions of a network's outputs, with PyTorch's names: what a loss assumes, `predict` returns.

Choose the distribution of the targets; let the network predict its parameters; train with minus its log-probability; answer with the
distribution, or with its mode.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["Bernoulli", "Categorical", "Laplace", "Normal", "Poisson", "kl_divergence"]

_lgamma = np.vectorize(math.lgamma, otypes=[np.float64])


def _array(x: Any) -> np.ndarray:
    x = np.asarray(x.data if hasattr(x, "requires_grad") else x)
    return x if x.dtype.kind == "f" else x.astype(np.float64)


def _xlogy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x log y, 0 where x is."""
    with np.errstate(all="ignore"):
        return np.where(x == 0, 0, x * np.log(y))


class Normal:
    """The normal distribution, exp(-(y - loc)^2 / (2 scale^2)) / (scale sqrt(2 pi)); behind MSELoss and GaussianNLLLoss.

    Parameters
    ----------
    loc : array, Tensor or number
        The mean, and mode.
    scale : array, Tensor or number
        The standard deviation.

    Examples
    --------
    >>> p = Normal(1.0, 2.0)
    >>> p.log_prob(1.0).round(4), p.entropy().round(4)
    (np.float64(-1.6121), np.float64(2.1121))
    """

    def __init__(self, loc: Any, scale: Any):
        self.loc, self.scale = np.broadcast_arrays(_array(loc), _array(scale))

    @property
    def mean(self) -> np.ndarray:
        return self.loc

    mode = mean

    @property
    def variance(self) -> np.ndarray:
        return self.scale * self.scale

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density at a value."""
        z = (_array(value) - self.loc) / self.scale
        return -0.5 * z * z - np.log(self.scale) - 0.5 * math.log(2 * math.pi)

    def entropy(self) -> Any:
        """-integral of q log q: the differential entropy, log(scale sqrt(2 pi e))."""
        return np.log(self.scale) + 0.5 * math.log(2 * math.pi * math.e)


class Laplace:
    """The Laplace distribution, exp(-\\|y - loc\\| / scale) / (2 scale); behind L1Loss.

    Parameters
    ----------
    loc : array, Tensor or number
        The mean, median and mode.
    scale : array, Tensor or number

    Examples
    --------
    >>> Laplace(0.0, 1.0).log_prob(2.0).round(4)
    np.float64(-2.6931)
    """

    def __init__(self, loc: Any, scale: Any):
        self.loc, self.scale = np.broadcast_arrays(_array(loc), _array(scale))

    @property
    def mean(self) -> np.ndarray:
        return self.loc

    mode = mean

    @property
    def variance(self) -> np.ndarray:
        return 2 * self.scale * self.scale

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density at a value."""
        return -np.abs(_array(value) - self.loc) / self.scale - np.log(2 * self.scale)

    def entropy(self) -> Any:
        """The differential entropy, 1 + log(2 scale)."""
        return 1 + np.log(2 * self.scale)


class Bernoulli:
    """1 with probability `probs`, else 0; behind BCELoss and BCEWithLogitsLoss.

    Parameters
    ----------
    probs : array, Tensor or number, from 0 to 1

    Examples
    --------
    >>> Bernoulli([0.25, 0.5]).entropy().round(4)
    array([0.5623, 0.6931])
    """

    def __init__(self, probs: Any):
        self.probs = _array(probs)

    @property
    def mean(self) -> np.ndarray:
        return self.probs

    @property
    def variance(self) -> np.ndarray:
        return self.probs * (1 - self.probs)

    @property
    def mode(self) -> np.ndarray:
        """The more probable of 0 and 1, as int64; of two equally probable ones, 0."""
        return (self.probs > 0.5).astype(np.int64)

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the probability of 0 or 1."""
        value = _array(value)
        return _xlogy(value, self.probs) + _xlogy(1 - value, 1 - self.probs)

    def entropy(self) -> Any:
        """-p log p - (1 - p) log(1 - p)."""
        return -_xlogy(self.probs, self.probs) - _xlogy(1 - self.probs, 1 - self.probs)


class Categorical:
    """One of K classes; behind CrossEntropyLoss and NLLLoss.

    Parameters
    ----------
    probs : array or Tensor, shape (..., K)
        The last axis sums to 1.

    Examples
    --------
    >>> p = Categorical([[0.2, 0.8], [0.5, 0.5]])
    >>> p.mode, p.entropy().round(4)
    (array([1, 0]), array([0.5004, 0.6931]))
    """

    def __init__(self, probs: Any):
        self.probs = _array(probs)
        if self.probs.ndim < 1:
            raise ValueError("Categorical: expected probs of shape (..., K), got a single number")

    @property
    def mode(self) -> np.ndarray:
        """The most probable class, the first of several."""
        return self.probs.argmax(-1)

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the probability of class numbers."""
        value = np.asarray(value)
        with np.errstate(divide="ignore"):
            return np.log(np.take_along_axis(self.probs, value[..., None], -1)[..., 0])

    def entropy(self) -> Any:
        """-sum of p log p."""
        return -_xlogy(self.probs, self.probs).sum(-1)


class Poisson:
    """Counts of independent events, rate^y exp(-rate) / y!; behind PoissonNLLLoss.

    Parameters
    ----------
    rate : array, Tensor or number
        The mean, and variance.

    Examples
    --------
    >>> Poisson(2.5).mode, Poisson(2.0).log_prob(0).round(4)
    (np.int64(2), np.float64(-2.0))
    """

    def __init__(self, rate: Any):
        self.rate = _array(rate)

    @property
    def mean(self) -> np.ndarray:
        return self.rate

    variance = mean

    @property
    def mode(self) -> np.ndarray:
        """The most probable count, as int64."""
        return np.floor(self.rate).astype(np.int64)

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the probability of counts."""
        value = _array(value)
        return _xlogy(value, self.rate) - self.rate - _lgamma(value + 1)


def kl_divergence(p: Any, q: Any) -> Any:
    """The Kullback-Leibler divergence D[p, q] = E_p log(p / q) of two distributions of one kind: at least 0, and not symmetric.

    Parameters
    ----------
    p, q : Bernoulli, Categorical, Laplace, Normal or Poisson

    Returns
    -------
    array

    Raises
    ------
    TypeError
        Two kinds.

    Examples
    --------
    >>> kl_divergence(Normal(0.0, 1.0), Normal(1.0, 1.0)), kl_divergence(Categorical([0.5, 0.5]), Categorical([0.25, 0.75])).round(4)
    (np.float64(0.5), np.float64(0.1438))
    """
    if type(p) is not type(q):
        raise TypeError(f"kl_divergence: expected two distributions of one kind, got {type(p).__name__} and {type(q).__name__}")
    if isinstance(p, Normal):
        ratio, shift = p.variance / q.variance, (p.loc - q.loc) / q.scale
        return 0.5 * (ratio + shift * shift - 1 - np.log(ratio))
    if isinstance(p, Laplace):
        ratio, shift = p.scale / q.scale, np.abs(p.loc - q.loc)
        return ratio * np.exp(-shift / p.scale) + shift / q.scale - np.log(ratio) - 1
    if isinstance(p, Bernoulli):
        a, b = p.probs, q.probs
        return _xlogy(a, a) - _xlogy(a, b) + _xlogy(1 - a, 1 - a) - _xlogy(1 - a, 1 - b)
    if isinstance(p, Categorical):
        return (_xlogy(p.probs, p.probs) - _xlogy(p.probs, q.probs)).sum(-1)
    if isinstance(p, Poisson):
        return _xlogy(p.rate, p.rate) - _xlogy(p.rate, q.rate) - (p.rate - q.rate)
    raise TypeError(f"kl_divergence: expected distributions of this module, got {type(p).__name__}")
