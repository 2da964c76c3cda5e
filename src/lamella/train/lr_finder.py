"""How large a learning rate may be: raise it from batch to batch, and watch the loss."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lamella import random
from lamella.functional import cross_entropy
from lamella.train.plots import plot_lr_find

__all__ = ["LRFound", "find_lr"]


@dataclass
class LRFound:
    """What `find_lr` saw.

    Attributes
    ----------
    lrs, losses, smoothed : list of float
        Per batch: the learning rate, the loss of the batch before its step, and the running average of losses.
    rises : float
        The learning rate at which the smoothed loss is least: behind it the loss rises.
    suggestion : float
        A tenth of `rises`.
    steepest : float
        The learning rate at which the smoothed loss falls fastest, per factor of the learning rate.

    Examples
    --------
    >>> found = LRFound([0.01, 0.1, 1.0, 10.0], [5.0, 4.0, 1.0, 9.0], [5.0, 4.0, 1.0, 9.0])
    >>> found.rises, found.suggestion, found.steepest
    (1.0, 0.1, 0.1)
    """

    lrs: list[float]
    losses: list[float]
    smoothed: list[float]
    rises: float = field(init=False)
    suggestion: float = field(init=False)
    steepest: float = field(init=False)

    def __post_init__(self) -> None:
        least = int(np.argmin(self.smoothed))
        self.rises = self.lrs[least]
        self.suggestion = self.rises / 10
        falls = np.diff(self.smoothed[: least + 1])
        self.steepest = self.lrs[int(np.argmin(falls))] if falls.size else self.lrs[0]

    def plot(self, path: str | os.PathLike | None = None) -> Any:
        """The losses over the learning rate, with the suggestion; see `lamella.train.plots.plot_lr_find`."""
        return plot_lr_find(self.lrs, self.losses, self.smoothed, self.suggestion, self.rises, path)


def _endless(data: Iterable[Any]) -> Iterator[Any]:
    while True:
        empty = True
        for batch in data:
            empty = False
            yield batch
        if empty:
            raise ValueError("find_lr: expected at least one batch to train on, got none; is the dataset empty, or smaller than a batch?")


def find_lr(
    model: Any,
    optimizer: Any,
    data: Iterable[Any],
    loss: Callable[[Any, Any], Any] = cross_entropy,
    *,
    start: float = 1e-6,
    end: float = 10.0,
    steps: int = 100,
    smoothing: float = 0.9,
    diverged: float = 4.0,
) -> LRFound:
    """Train with a learning rate that is multiplied by a constant at every batch, and suggest one: a tenth of where the loss starts to rise.

    Parameters
    ----------
    model : Module
    optimizer : Optimizer
        All its parameter groups get the same learning rate meanwhile.
    data : DataLoader, or iterable of (input, target) batches
        Begun again when it ends.
    loss : callable
        ``loss(output, target)`` -> Tensor of one element.
    start, end : float
        The first and the last learning rate.
    steps : int
        Batches between them.
    smoothing : float in [0, 1)
        Decay of the running average of the losses, which begins without bias.
    diverged : float
        Stop when the smoothed loss exceeds this many times the least, or is not finite.

    Returns
    -------
    LRFound
        Model, optimizer, random state and the place of the loader are as they were before.

    Raises
    ------
    ValueError
        No batches; learning rates out of order; the loss is not finite from the start.

    Notes
    -----
    Smith, WACV 2017.

    Examples
    --------
    >>> import lamella
    >>> lamella.manual_seed(0)
    >>> x = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
    >>> batches = [(x, (x[:, 0] > 0).astype(np.int64))]
    >>> model = lamella.nn.Linear(2, 2)
    >>> found = find_lr(model, lamella.optim.SGD(model.parameters(), lr=1.0), batches, start=1e-4, end=1e4, steps=60)
    >>> 0.1 < found.suggestion < 1000
    True
    """
    if not 0 < start < end:
        raise ValueError(f"find_lr: expected 0 < start < end, got start={start} and end={end}")
    if steps < 2:
        raise ValueError(f"find_lr: expected at least 2 steps, got {steps}")
    kept = {name: value.data.copy(order="K") for name, value in model.state_dict().items()}
    state, training, chance = copy.deepcopy(optimizer.state_dict()), model.training, random.get_rng_state()
    place = data.state_dict() if hasattr(data, "state_dict") else None
    lrs: list[float] = []
    losses: list[float] = []
    smoothed: list[float] = []
    average = 0.0
    try:
        model.train()
        for i, (x, y) in zip(range(steps), _endless(data)):
            lr = start * (end / start) ** (i / (steps - 1))
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.zero_grad()
            value = loss(model(x), y)
            now = float(value.item())
            average = smoothing * average + (1 - smoothing) * now
            level = average / (1 - smoothing ** (i + 1))
            if not math.isfinite(level) or (smoothed and level > diverged * min(smoothed)):
                break
            lrs.append(lr)
            losses.append(now)
            smoothed.append(level)
            value.backward()
            optimizer.step()
    finally:
        model.load_state_dict(kept)
        model.train(training)
        optimizer.zero_grad()
        optimizer.load_state_dict(state)
        random.set_rng_state(chance)
        if place is not None:
            data.load_state_dict(place)  # type: ignore[attr-defined]
    if not lrs:
        raise ValueError(f"find_lr: the loss of the first batch is {now}; look for NaN in the data")
    return LRFound(lrs, losses, smoothed)
