"""bias_variance: why a model errs: too simple, too nervous, or noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

__all__ = ["BiasVariance", "bias_variance"]


class BiasVariance(NamedTuple):
    """The parts of the expected squared error, means over the test inputs; error = variance + bias2 + noise.

    error : the mean squared error of the fits against the measured targets
    variance : of the fits about their mean
    bias2 : squared distance of the mean fit from the true mean
    noise : variance of the targets about the true mean

    Examples
    --------
    >>> BiasVariance(1.0, 0.25, 0.5, 0.25).variance
    0.25
    """

    error: float
    variance: float
    bias2: float
    noise: float


def bias_variance(
    fit: Callable[[Any, Any], Callable[[Any], Any]],
    x: Any,
    y: Any,
    x_test: Any,
    y_test: Any,
    *,
    mean: Any = None,
    repeats: int = 50,
    draw: Callable[[np.random.Generator], tuple[Any, Any]] | None = None,
    seed: int = 0,
) -> BiasVariance:
    """Estimate bias, variance and noise from repeated fits: E (f - y)^2 = E (f - E f)^2 + (E f - mu)^2 + sigma^2.

    Parameters
    ----------
    fit : callable
        ``fit(x, y)`` returns a function that predicts. (Of an estimator: ``lambda x, y: make().fit(x, y).predict``.)
    x, y : arrays
        The training set; each fit gets a bootstrap sample of it, drawn with replacement.
    x_test : array
        Inputs at which to judge.
    y_test : array, shape (T, ...), or (R, T, ...) with R measurements of each target
    mean : array, shape (T, ...), optional
        The true mean mu of the targets, where it is known. Without it the mean of the R measurements stands for it; with R = 1 noise cannot be
        told from bias, is NaN, and is contained in bias2.
    repeats : int
        Fits.
    draw : callable, optional
        ``draw(generator)`` returns a training set; instead of the bootstrap, where fresh data can be had. x and y are then not used.
    seed : int

    Returns
    -------
    BiasVariance

    Raises
    ------
    ValueError
        Fewer than two repeats, or shapes that do not fit.

    References
    ----------
    Geman, Bienenstock and Doursat, Neural networks and the bias/variance dilemma, Neural Computation 4 (1992).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = np.linspace(0, 1, 50)
    >>> constant = lambda x, y: lambda at: np.full(len(at), y.mean())
    >>> parts = bias_variance(constant, x, x + 0.1 * rng.normal(size=50), x, x + 0.1 * rng.normal(size=50), mean=x)
    >>> parts.bias2 > parts.noise > parts.variance
    True
    """
    if repeats < 2:
        raise ValueError(f"bias_variance: expected at least two repeats, got {repeats}")
    rng = np.random.default_rng(seed)
    fits = []
    for _ in range(repeats):
        if draw is None:
            rows = rng.integers(0, len(x), len(x))
            sample = np.asarray(x)[rows], np.asarray(y)[rows]
        else:
            sample = draw(rng)
        out = fit(*sample)(x_test)
        fits.append(np.asarray(getattr(out, "data", out), np.float64))
    f = np.stack(fits)
    targets = np.asarray(y_test, np.float64)
    if targets.ndim == f.ndim - 1:
        targets = targets[None]
    if targets.shape[1:] != f.shape[1:]:
        raise ValueError(f"bias_variance: expected targets of the predictions' shape {f.shape[1:]}, got {np.shape(y_test)}")
    average = f.mean(0)
    measured = len(targets)
    mu = targets.mean(0) if mean is None else np.asarray(mean, np.float64)
    variance = float(((f - average) ** 2).mean())
    bias2 = float(((average - mu) ** 2).mean())
    if mean is None and measured == 1:
        noise = float("nan")
    else:
        noise = float(((targets - mu) ** 2).mean())
    error = float(((f[:, None] - targets[None]) ** 2).mean())
    return BiasVariance(error, variance, bias2, noise)
