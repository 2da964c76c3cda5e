"""Ensemble: several networks answer together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lamella import functional as F
from lamella.nn.container import ModuleList
from lamella.nn.module import Module

__all__ = ["Ensemble"]

AVERAGES: dict[str, Callable[[Any], Any]] = {"outputs": lambda out: out, "probabilities": lambda out: F.softmax(out, 1)}


class Ensemble(Module):
    """The mean of what several networks put out; errors that are independent cancel.

    Parameters
    ----------
    models : iterable of Module
        Trained from other initial weights, on other samples, or snapshots of one training.
    average : {"outputs", "probabilities"}
        The mean of the outputs (logits, or regression), or of their softmax over axis 1. The latter is returned as logarithms of the mean
        probabilities, which are logits again: `cross_entropy`, `softmax` and argmax of them mean the same as of a single network.

    Raises
    ------
    ValueError
        No models, or an unknown average.

    Examples
    --------
    >>> import lamella
    >>> pair = Ensemble([lamella.nn.Linear(2, 1), lamella.nn.Linear(2, 1)])
    >>> x = lamella.ones(1, 2)
    >>> bool(abs(pair(x) - (pair.models[0](x) + pair.models[1](x)) / 2).item() < 1e-6)
    True
    """

    def __init__(self, models: Iterable[Module], average: str = "outputs"):
        super().__init__()
        self.models = ModuleList(models)
        if not len(self.models):
            raise ValueError("Ensemble: expected at least one model")
        if average not in AVERAGES:
            raise ValueError(f"Ensemble: average must be 'outputs' or 'probabilities', got {average!r}")
        self.average = average

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        total: Any = None
        for model in self.models:
            out = AVERAGES[self.average](model(*args, **kwargs))
            total = out if total is None else total + out
        mean = total * (1 / len(self.models))
        return F.log(mean) if self.average == "probabilities" else mean

    def extra_repr(self) -> str:
        return f"average={self.average!r}"
