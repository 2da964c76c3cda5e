"""Learning-rate schedules: PyTorch's sequences, number for number.

A schedule is stepped once per epoch, or once per batch, after ``optimizer.step()``; it writes ``lr`` (and, for OneCycleLR, the momentum)
into the optimizer's parameter groups. Its `state_dict` holds numbers, strings and lists only.
"""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any

from lamella.optim.optimizer import Optimizer

__all__ = ["CosineAnnealingLR", "LRScheduler", "OneCycleLR", "ReduceLROnPlateau", "StepLR"]


def _checked(scheduler: object, optimizer: Any) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(scheduler).__name__}: expected an Optimizer, got {type(optimizer).__name__}")
    return optimizer


def _per_group(scheduler: object, name: str, value: Any, optimizer: Optimizer) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        return [value] * len(optimizer.param_groups)
    if len(value) != len(optimizer.param_groups):
        raise ValueError(
            f"{type(scheduler).__name__}: expected one {name} or one per parameter group ({len(optimizer.param_groups)}), got {len(value)}"
        )
    return list(value)


class LRScheduler:
    """Base of the schedules: a subclass gives `get_lr`, the learning rates at `last_epoch`.

    Parameters
    ----------
    optimizer : Optimizer
    last_epoch : int
        -1 starts; otherwise the number of steps already done, with ``initial_lr`` in every parameter group.

    Raises
    ------
    TypeError
        The optimizer is none.
    KeyError
        last_epoch >= 0 with groups that lack ``initial_lr``.

    Examples
    --------
    >>> import lamella
    >>> class Halving(LRScheduler):
    ...     def get_lr(self):
    ...         return [lr / 2**self.last_epoch for lr in self.base_lrs]
    >>> optimizer = lamella.optim.SGD([lamella.tensor([1.0])], lr=1.0)
    >>> scheduler = Halving(optimizer)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    optimizer: Optimizer

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        self.optimizer = _checked(self, optimizer)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{type(self).__name__}: last_epoch={last_epoch} resumes a schedule, but parameter group {i} has no 'initial_lr'; "
                    "load the optimizer's state first, or start with last_epoch=-1"
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._step_count = 0
        self._is_initial = True
        self.step()
        self._is_initial = False

    def get_lr(self) -> list[float]:
        """The learning rates at `last_epoch`, one per parameter group."""
        raise NotImplementedError

    def get_last_lr(self) -> list[float]:
        """The learning rates that the last step set, one per parameter group."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Move on by one epoch (or batch), after ``optimizer.step()``; with `epoch`, deprecated as in PyTorch, jump there."""
        if self._step_count == 1 and not self.optimizer._stepped and type(self.optimizer).step is Optimizer.step:
            warnings.warn(
                f"{type(self).__name__}: step() was called before optimizer.step(); the first learning rate is skipped", stacklevel=2
            )
        self._step_count += 1
        if epoch is None:
            self.last_epoch += 1
            values = self.get_lr()
        else:
            warnings.warn(f"{type(self).__name__}: step(epoch) is deprecated; call step()", stacklevel=2)
            self.last_epoch = epoch
            values = getattr(self, "_get_closed_form_lr", self.get_lr)()
        for group, lr in zip(self.optimizer.param_groups, values, strict=True):
            group["lr"] = lr
        self._remember()

    def _remember(self) -> None:
        self._last_lr: list[float] = [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, as numbers, strings and lists that JSON can hold."""
        return {key: copy.deepcopy(value) for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken; load the optimizer's state as well."""
        self.__dict__.update(copy.deepcopy({key: value for key, value in state_dict.items() if key != "optimizer"}))


class StepLR(LRScheduler):
    """The learning rate times `gamma` every `step_size` epochs.

    Parameters
    ----------
    optimizer : Optimizer
    step_size : int, > 0
    gamma : float
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

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        if step_size <= 0:
            raise ValueError(f"StepLR: expected step_size > 0, got {step_size}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        hold = self.last_epoch == 0 or self.last_epoch % self.step_size != 0
        return [group["lr"] if hold else group["lr"] * self.gamma for group in self.optimizer.param_groups]

    def _get_closed_form_lr(self) -> list[float]:
        return [lr * self.gamma ** (self.last_epoch // self.step_size) for lr in self.base_lrs]


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
        lrs = [group["lr"] for group in self.optimizer.param_groups]
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
    Smith and Topin, arXiv:1708.07120, as modified by fast.ai and PyTorch.

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
        _checked(self, optimizer)
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

        max_lrs = _per_group(self, "max_lr", max_lr, optimizer)
        max_momentums = _per_group(self, "max_momentum", max_momentum, optimizer)
        base_momentums = _per_group(self, "base_momentum", base_momentum, optimizer)
        self.cycle_momentum = cycle_momentum
        self.use_beta1 = "betas" in optimizer.defaults
        if cycle_momentum and not self.use_beta1 and "momentum" not in optimizer.defaults:
            raise ValueError("OneCycleLR: the optimizer has neither momentum nor betas to cycle; pass cycle_momentum=False")
        if last_epoch == -1:
            for group, peak, high, low in zip(optimizer.param_groups, max_lrs, max_momentums, base_momentums):
                group["initial_lr"] = peak / div_factor
                group["max_lr"] = peak
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if cycle_momentum:
                    self._set_momentum(group, high)
                    group["max_momentum"], group["base_momentum"] = high, low
        super().__init__(optimizer, last_epoch)

    def _set_momentum(self, group: dict[str, Any], value: float) -> None:
        if self.use_beta1:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value

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
                self._set_momentum(group, self._anneal(group[phase["start_momentum"]], group[phase["end_momentum"]], part))
        return lrs


class ReduceLROnPlateau(LRScheduler):
    """The learning rate times `factor` when a metric has not improved for more than `patience` epochs.

    Parameters
    ----------
    optimizer : Optimizer
    mode : {"min", "max"}
        Whether the metric should fall or rise.
    factor : float, < 1
    patience : int
        Epochs without improvement that are forgiven.
    threshold : float
        An improvement is better than the best by this much: times the best ("rel"), or by difference ("abs").
    threshold_mode : {"rel", "abs"}
    cooldown : int
        Epochs after a reduction in which nothing counts.
    min_lr : float or list of float (per parameter group)
    eps : float
        Smaller reductions are not made.

    Raises
    ------
    ValueError
        factor >= 1; an unknown mode.

    Examples
    --------
    >>> import lamella
    >>> optimizer = lamella.optim.SGD([lamella.tensor([1.0])], lr=1.0)
    >>> scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in [1.0, 1.0, 1.0]:
    ...     scheduler.step(loss)
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ):
        if factor >= 1.0:
            raise ValueError(f"ReduceLROnPlateau: expected factor < 1, got {factor}")
        if mode not in ("min", "max"):
            raise ValueError(f"ReduceLROnPlateau: expected mode 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"ReduceLROnPlateau: expected threshold_mode 'rel' or 'abs', got {threshold_mode!r}")
        self.optimizer = _checked(self, optimizer)
        self.min_lrs = _per_group(self, "min_lr", min_lr, optimizer)
        self.default_min_lr = None if isinstance(min_lr, (list, tuple)) else min_lr
        self.mode, self.threshold, self.threshold_mode = mode, threshold, threshold_mode
        self.factor, self.patience, self.cooldown, self.eps = factor, patience, cooldown, eps
        self.last_epoch = 0
        self._remember()
        self._reset()

    def _reset(self) -> None:
        self.best = math.inf if self.mode == "min" else -math.inf
        self.cooldown_counter = 0
        self.num_bad_epochs = 0

    @property
    def in_cooldown(self) -> bool:
        return self.cooldown_counter > 0

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Report the metric of an epoch."""
        current = float(metrics)
        if epoch is not None:
            warnings.warn("ReduceLROnPlateau: step(metrics, epoch) is deprecated; call step(metrics)", stacklevel=2)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._is_better(current, self.best):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._remember()

    def _is_better(self, a: float, best: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        margin = best * (1.0 + sign * self.threshold) if self.threshold_mode == "rel" else best + sign * self.threshold
        return a > margin if self.mode == "max" else a < margin

    def _reduce(self) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs):
            if self.default_min_lr is None:
                raise RuntimeError(
                    f"ReduceLROnPlateau: min_lr was given for {len(self.min_lrs)} parameter groups, now there are {len(groups)}; extend min_lrs"
                )
            self.min_lrs = [self.default_min_lr] * len(groups)
        for group, low in zip(groups, self.min_lrs):
            lr = max(group["lr"] * self.factor, low)
            if group["lr"] - lr > self.eps:
                group["lr"] = lr
