"""Schedules made of functions, and of other schedules."""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from lamella.optim.lr_scheduler.base import LRScheduler, checked, per_group
from lamella.optim.lr_scheduler.plateau import ReduceLROnPlateau
from lamella.optim.optimizer import Optimizer


class LambdaLR(LRScheduler):
    """The initial learning rate times a function of the epoch.

    Parameters
    ----------
    optimizer : Optimizer
    lr_lambda : callable, or list of callable (per parameter group)
        ``lr_lambda(epoch)`` -> factor.
    last_epoch : int
        See `LRScheduler`.

    Notes
    -----
    The state holds the attributes of callable objects, and nothing of functions.

    Examples
    --------
    >>> import lamella
    >>> optimizer = lamella.optim.SGD([lamella.tensor([1.0])], lr=1.0)
    >>> scheduler = LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | list[Callable[[int], float]], last_epoch: int = -1):
        self.lr_lambdas = per_group(self, "lr_lambda", lr_lambda, checked(self, optimizer))
        for function in self.lr_lambdas:
            if not callable(function):
                raise TypeError(f"{type(self).__name__}: expected lr_lambda to be a function, got {type(function).__name__}")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [lr * function(self.last_epoch) for lr, function in zip(self.base_lrs, self.lr_lambdas)]

    def state_dict(self) -> dict[str, Any]:
        state = {key: copy.deepcopy(value) for key, value in self.__dict__.items() if key not in ("optimizer", "lr_lambdas")}
        return {**state, "lr_lambdas": [None if isinstance(f, FunctionType) else dict(f.__dict__) for f in self.lr_lambdas]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "lr_lambdas"})
        for function, values in zip(self.lr_lambdas, state_dict["lr_lambdas"]):
            if values is not None:
                function.__dict__.update(copy.deepcopy(values))


class MultiplicativeLR(LambdaLR):
    """The learning rate times a function of the epoch, at every step.

    Parameters
    ----------
    optimizer, lr_lambda, last_epoch
        As `LambdaLR`.

    Examples
    --------
    >>> import lamella
    >>> optimizer = lamella.optim.SGD([lamella.tensor([1.0])], lr=1.0)
    >>> scheduler = MultiplicativeLR(optimizer, lambda epoch: 0.5)
    >>> for _ in range(2):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def get_lr(self) -> list[float]:
        return self._lrs() if self._is_initial else [lr * function(self.last_epoch) for lr, function in zip(self._lrs(), self.lr_lambdas)]


class _Combined(LRScheduler):
    """Of several schedules of one optimizer."""

    _schedulers: list[LRScheduler]

    def _take(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None) -> None:
        name = type(self).__name__
        if not schedulers:
            raise ValueError(f"{name}: expected at least one scheduler, got none")
        self._schedulers, self.optimizer = list(schedulers), optimizer or schedulers[0].optimizer
        for i, scheduler in enumerate(schedulers):
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(f"{name}: scheduler {i} is ReduceLROnPlateau, whose step needs a metric; step it by itself")
            if scheduler.optimizer is not self.optimizer:
                raise ValueError(f"{name}: scheduler {i} belongs to another optimizer; all must change the same one")

    def state_dict(self) -> dict[str, Any]:
        state = {key: copy.deepcopy(value) for key, value in self.__dict__.items() if key not in ("optimizer", "_schedulers")}
        return {**state, "_schedulers": [scheduler.state_dict() for scheduler in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "_schedulers"})
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(state)


class SequentialLR(_Combined):
    """One schedule after the other: a warm-up, say, then a cosine.

    Parameters
    ----------
    optimizer : Optimizer
    schedulers : list of LRScheduler
    milestones : list of int
        The epochs at which the second, third, ... begin.
    last_epoch : int
        -1.

    Raises
    ------
    ValueError
        Not one milestone between any two schedules; schedules of other optimizers; ReduceLROnPlateau.

    Examples
    --------
    >>> import lamella
    >>> from lamella.optim.lr_scheduler import CosineAnnealingLR, LinearLR
    >>> optimizer = lamella.optim.SGD([lamella.tensor([1.0])], lr=1.0)
    >>> parts = [LinearLR(optimizer, start_factor=0.25, total_iters=3), CosineAnnealingLR(optimizer, T_max=4)]
    >>> scheduler = SequentialLR(optimizer, parts, milestones=[3])
    >>> seen = scheduler.get_last_lr()
    >>> for _ in range(5):
    ...     optimizer.step()
    ...     scheduler.step()
    ...     seen.append(round(scheduler.get_last_lr()[0], 3))
    >>> seen
    [0.25, 0.5, 0.75, 1.0, 0.854, 0.5]
    """

    def __init__(self, optimizer: Optimizer, schedulers: list[LRScheduler], milestones: list[int], last_epoch: int = -1):
        self._take(schedulers, checked(self, optimizer))
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: expected {len(schedulers) - 1} milestones between {len(schedulers)} schedulers, got {len(milestones)}"
            )
        self._milestones, self.last_epoch = list(milestones), last_epoch + 1
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        self._undo(self)
        first = self._schedulers[bisect_right(self._milestones, 0)]
        first._begin()
        self._last_lr = first.get_last_lr()

    @staticmethod
    def _undo(scheduler: LRScheduler) -> None:
        """Take back the step that making a schedule is."""
        if isinstance(scheduler, _Combined):
            for part in scheduler._schedulers:
                SequentialLR._undo(part)
        else:
            scheduler.last_epoch -= 1

    def step(self) -> None:  # type: ignore[override]
        self.last_epoch += 1
        number = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[number]
        if number and self._milestones[number - 1] == self.last_epoch:
            scheduler._move(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


class ChainedScheduler(_Combined):
    """Several schedules at once: each changes what the ones before left.

    Parameters
    ----------
    schedulers : list of LRScheduler
    optimizer : Optimizer, optional
        That of the schedulers.

    Raises
    ------
    ValueError
        No schedule; schedules of other optimizers; ReduceLROnPlateau.

    Examples
    --------
    >>> import lamella
    >>> from lamella.optim.lr_scheduler import ConstantLR, ExponentialLR
    >>> optimizer = lamella.optim.SGD([lamella.tensor([1.0])], lr=1.0)
    >>> scheduler = ChainedScheduler([ConstantLR(optimizer, 0.125, total_iters=2), ExponentialLR(optimizer, 0.5)])
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.0625]
    """

    def __init__(self, schedulers: list[LRScheduler], optimizer: Optimizer | None = None):
        self._take(schedulers, optimizer)
        self._remember()

    def step(self) -> None:  # type: ignore[override]
        for scheduler in self._schedulers:
            scheduler.step()
        self._remember()
