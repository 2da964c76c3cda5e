"""Averages of a model's weights over training: exponential moving averages and stochastic weight averaging, with PyTorch's names."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from lamella.nn import Module
from lamella.optim.lr_scheduler.base import LRScheduler, per_group
from lamella.tensor import no_grad

__all__ = ["SWALR", "AveragedModel", "get_ema_avg_fn", "get_swa_avg_fn", "update_bn"]

Average = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """For `AveragedModel`: ``decay * average + (1 - decay) * weight``.

    Parameters
    ----------
    decay : float in [0, 1]

    Examples
    --------
    >>> float(get_ema_avg_fn(0.75)(np.array(4.0), np.array(8.0), 1))
    5.0
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"get_ema_avg_fn: expected a decay in [0, 1], got {decay}")
    return lambda average, weight, count: average + (1 - decay) * (weight - average)


def get_swa_avg_fn() -> Average:
    """For `AveragedModel`: the mean of all weights so far.

    Examples
    --------
    >>> float(get_swa_avg_fn()(np.array(4.0), np.array(7.0), 2))
    5.0
    """
    return lambda average, weight, count: average + (weight - average) / (count + 1)


class AveragedModel(Module):
    """A copy of a model whose weights are an average of the model's over training.

    Parameters
    ----------
    model : Module
    device
        Accepted for PyTorch's sake; there is one.
    avg_fn : callable, optional
        ``avg_fn(average, weight, n_averaged)`` -> the new average. Default: the mean of all (`get_swa_avg_fn`).
    use_buffers : bool
        Average floating-point buffers as well (batch norm's statistics); otherwise they are copied.

    Notes
    -----
    Izmailov et al., UAI 2018; Polyak and Juditsky, 1992. State: ``n_averaged`` and ``module.*``, as in PyTorch.

    Examples
    --------
    >>> import lamella
    >>> model = lamella.nn.Linear(2, 1)
    >>> ema = AveragedModel(model, avg_fn=get_ema_avg_fn(0.9))
    >>> for _ in range(3):  # ... optimizer.step()
    ...     ema.update_parameters(model)
    >>> int(ema.n_averaged), ema(np.ones((4, 2), np.float32)).shape
    (3, (4, 1))
    """

    def __init__(self, model: Module, device: Any = None, avg_fn: Average | None = None, *, use_buffers: bool = False):
        super().__init__()
        self.module = copy.deepcopy(model)
        self.register_buffer("n_averaged", np.array(0, np.int64))
        self.avg_fn, self.use_buffers = avg_fn or get_swa_avg_fn(), use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the model's weights into the average; the first time, take them over."""
        count = int(self.n_averaged)
        with no_grad():
            for ours, theirs in zip(self.module.parameters(), model.parameters(), strict=True):
                ours.copy_(theirs if count == 0 else self.avg_fn(ours.data, theirs.data, count))
            for kept, new in zip(self.module.buffers(), model.buffers(), strict=True):
                averaged = self.use_buffers and count and kept.data.dtype.kind == "f"
                kept.copy_(self.avg_fn(kept.data, new.data, count) if averaged else new)
            self.n_averaged.fill_(count + 1)


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the statistics of a model's batch norms anew, from all batches of a loader: for averaged weights they are not those of training.

    Parameters
    ----------
    loader : DataLoader, or iterable of batches (of a batch that is a tuple, the first part)
    model : Module
    device
        Accepted for PyTorch's sake; there is one.

    Examples
    --------
    >>> import lamella
    >>> model = lamella.nn.BatchNorm1d(1)
    >>> update_bn([np.array([[1.0], [3.0]], np.float32), np.array([[5.0], [7.0]], np.float32)], model)
    >>> model.running_mean
    tensor([4.])
    """
    norms = [m for m in model.modules() if hasattr(m, "running_mean") and m.running_mean is not None]
    if not norms:
        return
    momenta = [m.momentum for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # a plain mean over batches
    training = model.training
    model.train()
    try:
        with no_grad():
            for batch in loader:
                model(batch[0] if isinstance(batch, (tuple, list)) else batch)
    finally:
        for m, momentum in zip(norms, momenta):
            m.momentum = momentum
        model.train(training)


class SWALR(LRScheduler):
    """Anneal each group's learning rate to a constant, at which weights are then averaged (`AveragedModel`).

    Parameters
    ----------
    optimizer : Optimizer
    swa_lr : float, or list of one per group
        The constant.
    anneal_epochs : int
        Steps to get there.
    anneal_strategy : {"cos", "linear"}
    last_epoch : int

    Raises
    ------
    ValueError
        An unknown strategy, or a negative number of epochs.

    Notes
    -----
    Each step first undoes the interpolation of the one before it, so that another schedule may have moved the rate in between. Izmailov et al.,
    UAI 2018.

    Examples
    --------
    >>> import lamella
    >>> optimizer = lamella.optim.SGD([lamella.tensor([1.0])], lr=1.0)
    >>> scheduler = SWALR(optimizer, swa_lr=0.2, anneal_epochs=2, anneal_strategy="linear")
    >>> for _ in range(3):
    ...     optimizer.step()
    ...     scheduler.step()
    ...     print(round(scheduler.get_last_lr()[0], 6))
    0.6
    0.2
    0.2
    """

    def __init__(self, optimizer: Any, swa_lr: Any, anneal_epochs: int = 10, anneal_strategy: str = "cos", last_epoch: int = -1):
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"SWALR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"SWALR: expected anneal_epochs of at least 0, got {anneal_epochs!r}")
        self.anneal_epochs, self.anneal_strategy = anneal_epochs, anneal_strategy
        for group, rate in zip(optimizer.param_groups, per_group(self, "swa_lr", swa_lr, optimizer)):
            group["swa_lr"] = rate
        super().__init__(optimizer, last_epoch)

    def _part(self, step: int) -> float:
        """How much of swa_lr there is after `step` steps, from 0 to 1."""
        t = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return t if self.anneal_strategy == "linear" else (1 - math.cos(math.pi * t)) / 2

    def get_lr(self) -> list[float]:
        step = max(self._step_count - 1, 0 if self.anneal_epochs else 1)
        before, now = self._part(step - 1), self._part(step)
        rates = []
        for group in self.optimizer.param_groups:
            last = group["swa_lr"]
            first = last if before == 1 else (group["lr"] - before * last) / (1 - before)
            rates.append(last * now + first * (1 - now))
        return rates
