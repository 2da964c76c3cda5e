"""Monte Carlo dropout: a network asked many times, each time without other neurons, tells how sure it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from lamella.nn import Module
from lamella.nn.dropout import _Dropout
from lamella.tensor import Tensor, no_grad

__all__ = ["MonteCarlo", "mc_dropout", "monte_carlo"]


class MonteCarlo(NamedTuple):
    """Mean and standard deviation over the passes, each of the output's shape.

    Examples
    --------
    >>> MonteCarlo(np.array([0.9]), np.array([0.1])).std
    array([0.1])
    """

    mean: Any
    std: Any


@contextlib.contextmanager
def mc_dropout(model: Module) -> Iterator[None]:
    """Within it, the dropout layers of a model are at work, and everything else is in evaluation mode.

    Parameters
    ----------
    model : Module

    Raises
    ------
    ValueError
        The model has no dropout layer that drops anything.

    Examples
    --------
    >>> import lamella
    >>> lamella.manual_seed(0)
    >>> model = lamella.nn.Sequential(lamella.nn.BatchNorm1d(3), lamella.nn.Dropout(0.5))
    >>> with mc_dropout(model):
    ...     print(model[0].training, model[1].training)
    False True
    """
    layers = [module for module in model.modules() if isinstance(module, _Dropout) and module.p]
    if not layers:
        raise ValueError(f"mc_dropout: {type(model).__name__} has no dropout layer with p > 0, so every pass would be the same")
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def monte_carlo(model: Module, function: Callable[[Any], Any], x: Any, samples: int) -> Any:
    """Mean and standard deviation of ``function(x)`` over passes with dropout at work.

    Parameters
    ----------
    model : Module
        Whose dropout layers are at work.
    function : callable
        Returns a Tensor, array, or dict of them; the model, or a function of its output.
    x : array or Tensor
    samples : int
        Passes, at least two.

    Returns
    -------
    MonteCarlo, or a dict of them

    Raises
    ------
    ValueError
        Less than two samples, or no dropout.

    Notes
    -----
    Sums are kept, not samples (Welford): the memory does not depend on their number. The standard deviation is that of the samples (divided by
    their number less one). Gal and Ghahramani, ICML 2016.

    Examples
    --------
    >>> import lamella
    >>> lamella.manual_seed(0)
    >>> drop = lamella.nn.Dropout(0.5)
    >>> found = monte_carlo(drop, drop, np.ones(4, np.float32), 400)
    >>> bool(abs(found.mean - 1).max() < 0.2), bool(abs(found.std - 1).max() < 0.01)
    (True, True)
    """
    if samples < 2:
        raise ValueError(f"monte_carlo: expected at least 2 samples to tell a spread, got {samples}")
    state: dict[str, list[np.ndarray]] = {}
    named = True
    with mc_dropout(model), no_grad():
        for n in range(1, samples + 1):
            out = function(x)
            named = isinstance(out, dict)
            for name, part in (out if named else {"": out}).items():
                value = np.asarray(part.data if isinstance(part, Tensor) else part)
                if n == 1:
                    state[name] = [value.astype(np.float64), np.zeros(value.shape)]
                    continue
                mean, squares = state[name]
                delta = value - mean
                mean += delta / n
                squares += delta * (value - mean)
    dtype = value.dtype
    found = {
        name: MonteCarlo(mean.astype(dtype), np.sqrt(squares / (samples - 1)).astype(dtype)) for name, (mean, squares) in state.items()
    }
    return found if named else found[""]
