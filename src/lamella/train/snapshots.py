"""Snapshots: the weights of several epochs of one training, to let them answer together or to average them."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np

from lamella.nn import Ensemble, Module
from lamella.optim.swa_utils import AveragedModel, update_bn
from lamella.train.callbacks import Callback

__all__ = ["Snapshots"]


class Snapshots(Callback):
    """Keep the weights at the end of some epochs: an ensemble, or an average of weights, for the price of one training.

    Parameters
    ----------
    every : int
        Epochs between snapshots: the length of a cycle, where the learning rate restarts.
    start : int
        The first epoch that may be kept.
    last : int, optional
        Keep only so many, the newest. Default: all.

    Attributes
    ----------
    epochs : list of int
        Whose weights are kept.

    Raises
    ------
    ValueError
        Numbers below 1.

    Notes
    -----
    Snapshot ensembles: Huang et al., ICLR 2017, with CosineAnnealingWarmRestarts. Averages of weights: Izmailov et al., UAI 2018, with SWALR.

    Examples
    --------
    >>> Snapshots(every=10, last=5).epochs
    []
    """

    def __init__(self, every: int = 1, start: int = 1, last: int | None = None):
        if min(every, start, 1 if last is None else last) < 1:
            raise ValueError(f"Snapshots: expected numbers of at least 1, got every={every}, start={start}, last={last}")
        self.every, self.start, self.last = every, start, last
        self.epochs: list[int] = []
        self.states: list[dict[str, np.ndarray]] = []

    def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> None:
        epoch = record["epoch"]
        if epoch >= self.start and epoch % self.every == 0:
            self.epochs.append(epoch)
            self.states.append({name: np.array(t.data) for name, t in trainer.model.state_dict().items()})
            if self.last is not None:
                del self.epochs[: -self.last], self.states[: -self.last]

    def _models(self, model: Module) -> list[Module]:
        if not self.states:
            raise ValueError(f"Snapshots: nothing kept yet; the first comes after an epoch >= {self.start} that {self.every} divides")
        models = []
        for state in self.states:
            models.append(copy.deepcopy(model))
            models[-1].load_state_dict(state)
        return models

    def ensemble(self, model: Module, average: str = "probabilities") -> Ensemble:
        """Copies of `model` with the weights kept, as an `nn.Ensemble`."""
        return Ensemble(self._models(model), average).eval()

    def averaged(self, model: Module, loader: Iterable[Any] | None = None) -> Module:
        """A copy of `model` with the mean of the weights kept; a model with batch norm needs the training data to compute its statistics anew."""
        models = self._models(model)
        mean = AveragedModel(models[0])
        for member in models:
            mean.update_parameters(member)
        if loader is not None:
            update_bn(loader, mean)
        elif any(module._buffers.get("running_mean") is not None for module in model.modules()):
            raise ValueError(
                "Snapshots.averaged: the model has batch norms, whose statistics are not those of averaged weights; pass a loader"
            )
        return mean.module.eval()

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "states": self.states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs, self.states = list(state_dict["epochs"]), [dict(state) for state in state_dict["states"]]
