"""What all schedules share."""

from __future__ import annotations

import copy
import warnings
from typing import Any

from lamella.optim.optimizer import Optimizer


def checked(scheduler: object, optimizer: Any) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(scheduler).__name__}: expected an Optimizer, got {type(optimizer).__name__}")
    return optimizer


def per_group(scheduler: object, name: str, value: Any, optimizer: Optimizer) -> list[Any]:
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
        self.optimizer = checked(self, optimizer)
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
        self._begin()

    def _begin(self) -> None:
        """The first step, which sets the learning rate of `last_epoch` + 1."""
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
        if epoch is not None:
            warnings.warn(f"{type(self).__name__}: step(epoch) is deprecated; call step()", stacklevel=2)
        self._move(epoch)

    def _move(self, epoch: int | None = None) -> None:
        """Set the learning rates of the next epoch, or, in closed form where there is one, of `epoch`."""
        if epoch is None:
            self.last_epoch += 1
            values = self.get_lr()
        else:
            self.last_epoch = epoch
            values = getattr(self, "_get_closed_form_lr", self.get_lr)()
        for group, lr in zip(self.optimizer.param_groups, values, strict=True):
            group["lr"] = lr
        self._remember()

    def _lrs(self) -> list[float]:
        """The learning rates as they are."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def _remember(self) -> None:
        self._last_lr = self._lrs()

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, as numbers, strings and lists that JSON can hold."""
        return {key: copy.deepcopy(value) for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken; load the optimizer's state as well."""
        self.__dict__.update(copy.deepcopy({key: value for key, value in state_dict.items() if key != "optimizer"}))


def check_cycled(scheduler: object, optimizer: Optimizer) -> bool:
    """Whether the momentum to cycle is the first beta; refuses optimizers that have neither."""
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        raise ValueError(f"{type(scheduler).__name__}: the optimizer has neither momentum nor betas to cycle; pass cycle_momentum=False")
    return "betas" in optimizer.defaults


def set_momentum(group: dict[str, Any], value: float, first_beta: bool) -> None:
    if first_beta:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value
