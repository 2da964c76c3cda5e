"""Schedules that follow a curve."""

from __future__ import annotations

import math

from lamella.optim.lr_scheduler.base import LRScheduler
from lamella.optim.optimizer import Optimizer


class ExponentialLR(LRScheduler):
    """The learning rate times `gamma` at every step: ``lr * gamma**t``; with ``gamma = exp(-d)`` it is ``lr * exp(-d * t)``.

    Parameters
    ----------
    optimizer : Optimizer
    gamma : float
    last_epoch : int
        See `LRScheduler`.

    Examples
    --------
    >>> import lamella
    >>> optimizer = lamella.optim.SGD([lamella.tensor([1.0])], lr=1.0)
    >>> scheduler = ExponentialLR(optimizer, gamma=0.5)
    >>> for _ in range(3):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.125]
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._lrs() if self._is_initial else [lr * self.gamma for lr in self._lrs()]

    def _get_closed_form_lr(self) -> list[float]:
        return [lr * self.gamma**self.last_epoch for lr in self.base_lrs]


class TimeBasedLR(LRScheduler):
    """Time-based decay: ``lr(t + 1) = lr(t) / (1 + decay * t)``.

    Parameters
    ----------
    optimizer : Optimizer
    decay : float, >= 0
    last_epoch : int
        See `LRScheduler`.

    Notes
    -----
    The recursion multiplies all its denominators and so falls faster than any power of t. ``lr / (1 + decay * t)``, which other libraries call inverse time decay, is
    ``PowerLR(optimizer, 1 / decay)``.

    Examples
    --------
    >>> import lamella
    >>> optimizer = lamella.optim.SGD([lamella.tensor([1.0])], lr=1.0)
    >>> scheduler = TimeBasedLR(optimizer, decay=1.0)
    >>> for _ in range(3):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> round(1 / scheduler.get_last_lr()[0])
    6
    """

    def __init__(self, optimizer: Optimizer, decay: float, last_epoch: int = -1):
        if not decay >= 0:
            raise ValueError(f"TimeBasedLR: expected decay >= 0, got {decay}")
        self.decay = decay
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._lrs() if self._is_initial else [lr / (1 + self.decay * (self.last_epoch - 1)) for lr in self._lrs()]


class PowerLR(LRScheduler):
    """Power scheduling: ``lr / (1 + t / s)**c``.

    Parameters
    ----------
    optimizer : Optimizer
    s : float, > 0
        With c = 1, the rate is halved after s steps, a third after 2 s, ...
    c : float
    last_epoch : int
        See `LRScheduler`.

    Examples
    --------
    >>> import lamella
    >>> optimizer = lamella.optim.SGD([lamella.tensor([1.0])], lr=1.0)
    >>> scheduler = PowerLR(optimizer, s=2)
    >>> for _ in range(2):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(self, optimizer: Optimizer, s: float, c: float = 1.0, last_epoch: int = -1):
        if not s > 0:
            raise ValueError(f"PowerLR: expected s > 0, got {s}")
        self.s, self.c = s, c
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [lr / (1 + self.last_epoch / self.s) ** self.c for lr in self.base_lrs]


class LinearLR(LRScheduler):
    """The learning rate times a factor that goes from `start_factor` to `end_factor` in `total_iters` steps: a linear warm-up.

    Parameters
    ----------
    optimizer : Optimizer
    start_factor : float in (0, 1]
    end_factor : float in [0, 1]
    total_iters : int
    last_epoch : int
        See `LRScheduler`.

    Notes
    -----
    As in PyTorch, each value follows from the one before, so that other changes of the learning rate carry on.

    Examples
    --------
    >>> import lamella
    >>> optimizer = lamella.optim.SGD([lamella.tensor([1.0])], lr=1.0)
    >>> scheduler = LinearLR(optimizer, start_factor=0.5, total_iters=4)
    >>> for _ in range(2):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.75]
    """

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1.0 / 3, end_factor: float = 1.0, total_iters: int = 5, last_epoch: int = -1
    ):
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: expected start_factor in (0, 1], got {start_factor}")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: expected end_factor in [0, 1], got {end_factor}")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [lr * self.start_factor for lr in self._lrs()]
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._lrs()
        rise = self.end_factor - self.start_factor
        return [lr * (1.0 + rise / (self.total_iters * self.start_factor + (self.last_epoch - 1) * rise)) for lr in self._lrs()]

    def _get_closed_form_lr(self) -> list[float]:
        rise = self.end_factor - self.start_factor
        return [lr * (self.start_factor + rise * min(self.total_iters, self.last_epoch) / self.total_iters) for lr in self.base_lrs]


class PolynomialLR(LRScheduler):
    """``lr * (1 - t / total_iters)**power``, down to 0.

    Parameters
    ----------
    optimizer : Optimizer
    total_iters : int
    power : float
    last_epoch : int
        See `LRScheduler`.

    Examples
    --------
    >>> import lamella
    >>> optimizer = lamella.optim.SGD([lamella.tensor([1.0])], lr=1.0)
    >>> scheduler = PolynomialLR(optimizer, total_iters=4)
    >>> for _ in range(2):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> round(scheduler.get_last_lr()[0], 6)
    0.5
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1):
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        t, total = self.last_epoch, self.total_iters
        if self._is_initial or t > total:
            return self._lrs()
        factor = ((1.0 - t / total) / (1.0 - (t - 1) / total)) ** self.power
        return [lr * factor for lr in self._lrs()]

    def _get_closed_form_lr(self) -> list[float]:
        return [lr * (1.0 - min(self.total_iters, self.last_epoch) / self.total_iters) ** self.power for lr in self.base_lrs]


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial learning rate down to `eta_min` in `T_max` epochs (and up again in the next T_max).

    Parameters
    ----------
    optimizer : Optimizer
    T_max : int, > 0
    eta_min : float
    last_epoch : int
        See `LRScheduler`.

    Notes
    -----
    Loshchilov and Hutter, ICLR 2017, without restarts. As in PyTorch, each value follows from the one before, so that other changes of the
    learning rate carry on; ``step(epoch)`` uses the closed form.

    Examples
    --------
    >>> import lamella
    >>> optimizer = lamella.optim.SGD([lamella.tensor([1.0])], lr=1.0)
    >>> scheduler = CosineAnnealingLR(optimizer, T_max=4)
    >>> for _ in range(2):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> round(scheduler.get_last_lr()[0], 6)
    0.5
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):
        if T_max <= 0:
            raise ValueError(f"CosineAnnealingLR: expected T_max > 0, got {T_max}")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        t, period, low = self.last_epoch, self.T_max, self.eta_min
        lrs = self._lrs()
        if self._is_initial:
            return lrs
        if self._step_count == 1 and t > 0:
            return self._get_closed_form_lr()
        if (t - 1 - period) % (2 * period) == 0:  # the value before is eta_min: a ratio to it says nothing
            return [lr + (base - low) * (1 - math.cos(math.pi / period)) / 2 for base, lr in zip(self.base_lrs, lrs)]
        ratio = (1 + math.cos(math.pi * t / period)) / (1 + math.cos(math.pi * (t - 1) / period))
        return [ratio * (lr - low) + low for lr in lrs]

    def _get_closed_form_lr(self) -> list[float]:
        shape = 1 + math.cos(math.pi * self.last_epoch / self.T_max)
        return [self.eta_min + (base - self.eta_min) * shape / 2 for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half cosines from the initial learning rate down to `eta_min`, one after the other, the first `T_0` steps long, each `T_mult` times the one before.

    Parameters
    ----------
    optimizer : Optimizer
    T_0 : int, > 0
    T_mult : int, >= 1
    eta_min : float
    last_epoch : int
        See `LRScheduler`.

    Notes
    -----
    Loshchilov and Hutter, ICLR 2017. ``step(epoch)`` takes fractions of an epoch, without a warning.

    Examples
    --------
    >>> import lamella
    >>> optimizer = lamella.optim.SGD([lamella.tensor([1.0])], lr=1.0)
    >>> scheduler = CosineAnnealingWarmRestarts(optimizer, T_0=2)
    >>> for _ in range(3):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> round(scheduler.get_last_lr()[0], 6)
    0.5
    """

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1):
        if not isinstance(T_0, int) or T_0 <= 0:
            raise ValueError(f"CosineAnnealingWarmRestarts: expected T_0 to be a positive integer, got {T_0}")
        if not isinstance(T_mult, int) or T_mult < 1:
            raise ValueError(f"CosineAnnealingWarmRestarts: expected T_mult to be an integer >= 1, got {T_mult}")
        self.T_0, self.T_i, self.T_mult, self.eta_min = T_0, T_0, T_mult, eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        shape = 1 + math.cos(math.pi * self.T_cur / self.T_i)
        return [self.eta_min + (base - self.eta_min) * shape / 2 for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Move on by one step, or to `epoch`, which may be a fraction."""
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        elif epoch < 0:
            raise ValueError(f"CosineAnnealingWarmRestarts: expected an epoch >= 0, got {epoch}")
        else:
            length, start = self.T_0, 0
            if self.T_mult == 1:
                start = int(epoch // length) * length
            else:
                while epoch >= start + length:
                    start += length
                    length *= self.T_mult
            self.T_cur, self.T_i = epoch - start, length
        self._step_count += 1
        self._move(math.floor(epoch))
