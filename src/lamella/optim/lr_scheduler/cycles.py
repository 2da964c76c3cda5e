"""Schedules that raise the learning rate and lower it again, and move the momentum against it; stepped per batch."""

from __future__ import annotations

import math
from typing import Any

from lamella.optim.lr_scheduler.base import LRScheduler, check_cycled, checked, per_group, set_momentum
from lamella.optim.optimizer import Optimizer


class OneCycleLR(LRScheduler):
    """One cycle: the learning rate rises to `max_lr` and falls far below where it began, the momentum does the opposite; stepped per batch.

    Parameters
    ----------
    optimizer : Optimizer
    max_lr : float or list of float (per parameter group)
    total_steps : int, optional
        Or epochs and steps_per_epoch, whose product it is.
    epochs, steps_per_epoch : int, optional
    pct_start : float in [0, 1]
        The part of the cycle in which the learning rate rises.
    anneal_strategy : {"cos", "linear"}
    cycle_momentum : bool
        Also move the momentum (SGD) or the first beta (Adam).
    base_momentum, max_momentum : float or list of float
    div_factor, final_div_factor : float
        The cycle starts at max_lr / div_factor and ends at that / final_div_factor.
    three_phase : bool
        Fall to the start symmetrically, then on to the end, instead of in one go.
    last_epoch : int
        See `LRScheduler`.

    Raises
    ------
    ValueError
        No total length; an option out of range; cycle_momentum with an optimizer that has neither momentum nor betas;
        a step beyond the last.

    Notes
    -----
    Smith and Topin, arXiv:1708.07120, as modified by fast.ai and PyTorch. In its plain form, two linear halves from a tenth of max_lr, it is
    ``OneCycleLR(optimizer, max_lr, total_steps, pct_start=0.5, anneal_strategy="linear", div_factor=10, final_div_factor=1e3, cycle_momentum=False)``.

    Examples
    --------
    >>> import lamella
    >>> optimizer = lamella.optim.SGD([lamella.tensor([1.0])], lr=0.1, momentum=0.9)
    >>> scheduler = OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    >>> for _ in range(2):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr(), optimizer.param_groups[0]["momentum"]
    ([1.0], 0.85)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ):
        checked(self, optimizer)
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR: expected total_steps, or epochs and steps_per_epoch")
            for name, value in (("epochs", epochs), ("steps_per_epoch", steps_per_epoch)):
                if not isinstance(value, int) or value <= 0:
                    raise ValueError(f"OneCycleLR: expected {name} to be a positive integer, got {value}")
            total_steps = epochs * steps_per_epoch
        if not isinstance(total_steps, int) or total_steps <= 0:
            raise ValueError(f"OneCycleLR: expected total_steps to be a positive integer, got {total_steps}")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: expected pct_start between 0 and 1, got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: expected anneal_strategy 'cos' or 'linear', got {anneal_strategy!r}")
        self.total_steps = total_steps
        self._anneal_func_type = anneal_strategy
        rise = float(pct_start * total_steps)
        phases = [(rise - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum")]
        if three_phase:
            phases.append((2 * rise - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum"))
            phases.append((total_steps - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum"))
        else:
            phases.append((total_steps - 1, "max_lr", "min_lr", "base_momentum", "max_momentum"))
        names = ("end_step", "start_lr", "end_lr", "start_momentum", "end_momentum")
        self._schedule_phases: list[dict[str, Any]] = [dict(zip(names, phase)) for phase in phases]

        max_lrs = per_group(self, "max_lr", max_lr, optimizer)
        max_momentums = per_group(self, "max_momentum", max_momentum, optimizer)
        base_momentums = per_group(self, "base_momentum", base_momentum, optimizer)
        self.cycle_momentum = cycle_momentum
        self.use_beta1 = cycle_momentum and check_cycled(self, optimizer)
        if last_epoch == -1:
            for group, peak, high, low in zip(optimizer.param_groups, max_lrs, max_momentums, base_momentums):
                group["initial_lr"] = peak / div_factor
                group["max_lr"] = peak
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if cycle_momentum:
                    set_momentum(group, high, self.use_beta1)
                    group["max_momentum"], group["base_momentum"] = high, low
        super().__init__(optimizer, last_epoch)

    def _anneal(self, start: float, end: float, part: float) -> float:
        if self._anneal_func_type == "cos":
            return end + (start - end) / 2.0 * (math.cos(math.pi * part) + 1)
        return (end - start) * part + start

    def get_lr(self) -> list[float]:
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(f"OneCycleLR: step {step} of a cycle of {self.total_steps}; total_steps must cover the whole training")
        start = 0.0
        phase = self._schedule_phases[0]
        for phase in self._schedule_phases:
            if step <= phase["end_step"]:
                break
            if phase is not self._schedule_phases[-1]:
                start = phase["end_step"]
        length = phase["end_step"] - start
        part = (step - start) / length if length else 1.0  # a phase of no length is over at once
        lrs = []
        for group in self.optimizer.param_groups:
            lrs.append(self._anneal(group[phase["start_lr"]], group[phase["end_lr"]], part))
            if self.cycle_momentum:
                value = self._anneal(group[phase["start_momentum"]], group[phase["end_momentum"]], part)
                set_momentum(group, value, self.use_beta1)
        return lrs


class CyclicLR(LRScheduler):
    """The learning rate goes up and down between `base_lr` and `max_lr`, again and again; the momentum does the opposite.

    Parameters
    ----------
    optimizer : Optimizer
    base_lr, max_lr : float or list of float (per parameter group)
    step_size_up, step_size_down : int
        Steps of the way up, and of the way down (default: as many).
    mode : {"triangular", "triangular2", "exp_range"}
        Peaks as high as the first, each half as high as the one before, or times ``gamma**step``.
    gamma : float
    cycle_momentum : bool
        Also move the momentum (SGD) or the first beta (Adam).
    base_momentum, max_momentum : float or list of float
    last_epoch : int
        See `LRScheduler`.

    Raises
    ------
    ValueError
        An unknown mode; cycle_momentum with an optimizer that has neither momentum nor betas.

    Notes
    -----
    Smith, WACV 2017. PyTorch's scale_fn and scale_mode are left out: use `LambdaLR`.

    Examples
    --------
    >>> import lamella
    >>> optimizer = lamella.optim.SGD([lamella.tensor([1.0])], lr=0.1, momentum=0.9)
    >>> scheduler = CyclicLR(optimizer, base_lr=0.0, max_lr=1.0, step_size_up=4)
    >>> for _ in range(2):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        *,
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ):
        checked(self, optimizer)
        if mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(f"CyclicLR: expected mode 'triangular', 'triangular2' or 'exp_range', got {mode!r}")
        self.max_lrs = per_group(self, "max_lr", max_lr, optimizer)
        lows = per_group(self, "base_lr", base_lr, optimizer)
        self.total_size = float(step_size_up + (step_size_up if step_size_down is None else step_size_down))
        self.step_ratio = step_size_up / self.total_size
        self.mode, self.gamma, self.cycle_momentum = mode, gamma, cycle_momentum
        self.use_beta1 = cycle_momentum and check_cycled(self, optimizer)
        self.base_momentums = per_group(self, "base_momentum", base_momentum, optimizer)
        self.max_momentums = per_group(self, "max_momentum", max_momentum, optimizer)
        if last_epoch == -1:
            for group, low, high_momentum, low_momentum in zip(optimizer.param_groups, lows, self.max_momentums, self.base_momentums):
                group["lr"] = low
                if cycle_momentum:
                    set_momentum(group, high_momentum, self.use_beta1)
                    group["max_momentum"], group["base_momentum"] = high_momentum, low_momentum
        super().__init__(optimizer, last_epoch)
        self.base_lrs = lows

    def get_lr(self) -> list[float]:
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        height = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        scale = {"triangular": 1.0, "triangular2": 1 / (2.0 ** (cycle - 1)), "exp_range": self.gamma**self.last_epoch}[self.mode]
        if self.cycle_momentum:
            for group, low, high in zip(self.optimizer.param_groups, self.base_momentums, self.max_momentums):
                set_momentum(group, high - (high - low) * height * scale, self.use_beta1)
        return [low + (high - low) * height * scale for low, high in zip(self.base_lrs, self.max_lrs)]
