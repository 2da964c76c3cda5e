"""Schedules that change the learning rate at certain epochs only."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from lamella.optim.lr_scheduler.base import LRScheduler
from lamella.optim.optimizer import Optimizer


class StepLR(LRScheduler):
    """The learning rate times `gamma` every `step_size` epochs.

    Parameters
    ----------
    optimizer : Optimizer
    step_size : int, > 0
    gamma : float
    offset : int
        Counted on top of the epoch: the rate is ``lr * gamma**((epoch + offset) // step_size)``. With 1 every drop comes one epoch earlier.
    last_epoch : int
        See `LRScheduler`.

    Examples
    --------
    >>> import lamella
    >>> optimizer = lamella.optim.SGD([lamella.tensor([1.0])], lr=0.5)
    >>> scheduler = StepLR(optimizer, step_size=2, gamma=0.5)
    >>> for _ in range(4):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.125]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1, *, offset: int = 0):
        if step_size <= 0:
            raise ValueError(f"StepLR: expected step_size > 0, got {step_size}")
        if offset < 0:
            raise ValueError(f"StepLR: expected offset >= 0, got {offset}")
        self.step_size, self.gamma, self.offset = step_size, gamma, offset
        super().__init__(optimizer, last_epoch)

    def _drops(self, epoch: int) -> int:
        return (epoch + self.offset) // self.step_size

    def get_lr(self) -> list[float]:
        new = self._drops(self.last_epoch) - (self._drops(self.last_epoch - 1) if self.last_epoch else 0)
        return [lr * self.gamma**new if new else lr for lr in self._lrs()]

    def _get_closed_form_lr(self) -> list[float]:
        return [lr * self.gamma ** self._drops(self.last_epoch) for lr in self.base_lrs]


class MultiStepLR(LRScheduler):
    """The learning rate times `gamma` at each milestone.

    Parameters
    ----------
    optimizer : Optimizer
    milestones : iterable of int
        Epochs; one that stands there twice counts twice.
    gamma : float
    last_epoch : int
        See `LRScheduler`.

    Examples
    --------
    >>> import lamella
    >>> optimizer = lamella.optim.SGD([lamella.tensor([1.0])], lr=1.0)
    >>> scheduler = MultiStepLR(optimizer, milestones=[2, 3], gamma=0.5)
    >>> for _ in range(4):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1):
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        count = self.milestones.count(self.last_epoch)
        return [lr * self.gamma**count if count else lr for lr in self._lrs()]

    def _get_closed_form_lr(self) -> list[float]:
        return [lr * self.gamma ** bisect_right(self.milestones, self.last_epoch) for lr in self.base_lrs]


class PiecewiseConstantLR(LRScheduler):
    """Given learning rates, each from its milestone on.

    Parameters
    ----------
    optimizer : Optimizer
    milestones : sequence of int, increasing
        Epochs.
    values : sequence of float
        ``values[i]`` is the learning rate of all groups from epoch ``milestones[i]`` on; before the first it is what the optimizer was made with.
    last_epoch : int
        See `LRScheduler`.

    Raises
    ------
    ValueError
        Not as many values as milestones; milestones out of order.

    Examples
    --------
    >>> import lamella
    >>> optimizer = lamella.optim.SGD([lamella.tensor([1.0])], lr=1.0)
    >>> scheduler = PiecewiseConstantLR(optimizer, [2, 4], [0.3, 0.05])
    >>> for _ in range(4):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.05]
    """

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], values: Sequence[float], last_epoch: int = -1):
        if len(milestones) != len(values) or list(milestones) != sorted(set(milestones)):
            raise ValueError(
                f"PiecewiseConstantLR: expected increasing milestones and one value for each, got milestones {milestones} and values {values}"
            )
        self.milestones, self.values = list(milestones), list(values)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        piece = bisect_right(self.milestones, self.last_epoch)
        return [self.values[piece - 1] if piece else lr for lr in self.base_lrs]


class ConstantLR(LRScheduler):
    """The learning rate times `factor` until epoch `total_iters`, then as it was.

    Parameters
    ----------
    optimizer : Optimizer
    factor : float in [0, 1]
    total_iters : int
    last_epoch : int
        See `LRScheduler`.

    Examples
    --------
    >>> import lamella
    >>> optimizer = lamella.optim.SGD([lamella.tensor([1.0])], lr=1.0)
    >>> scheduler = ConstantLR(optimizer, factor=0.5, total_iters=4)
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1):
        if not 0 <= factor <= 1:
            raise ValueError(f"ConstantLR: expected a factor between 0 and 1, got {factor}")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [lr * self.factor for lr in self._lrs()]
        return [lr * (1.0 / self.factor) for lr in self._lrs()] if self.last_epoch == self.total_iters else self._lrs()

    def _get_closed_form_lr(self) -> list[float]:
        return [lr * (self.factor + (self.last_epoch >= self.total_iters) * (1 - self.factor)) for lr in self.base_lrs]
