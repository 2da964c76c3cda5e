"""MultiTask: several heads on one trunk. MultiTaskLoss: the sum of their losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lamella.nn.module import Module

__all__ = ["MultiTask", "MultiTaskLoss"]


class MultiTask(Module):
    """A trunk that several tasks share, and a head for each.

    Parameters
    ----------
    trunk : Module
    heads : mapping of str to Module
        Each is given what the trunk puts out.

    Raises
    ------
    ValueError
        No heads.

    Notes
    -----
    Returns a dict of the heads' outputs. Parameters are named ``trunk.*`` and ``heads.<name>.*``. Caruana, Machine Learning 28 (1997).

    Examples
    --------
    >>> import lamella
    >>> from lamella.nn import Linear, ReLU, Sequential
    >>> model = MultiTask(Sequential(Linear(8, 4), ReLU()), {"kind": Linear(4, 3), "size": Linear(4, 1)})
    >>> {name: out.shape for name, out in model(lamella.zeros(5, 8)).items()}
    {'kind': (5, 3), 'size': (5, 1)}
    """

    def __init__(self, trunk: Module, heads: Mapping[str, Module]):
        super().__init__()
        if not heads:
            raise ValueError("MultiTask: expected at least one head")
        self.trunk = trunk
        self.heads = _Named(heads)

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        features = self.trunk(*args, **kwargs)
        return {name: head(features) for name, head in self.heads.named_children()}


class _Named(Module):
    """Children by name; computes nothing."""

    def __init__(self, modules: Mapping[str, Module]):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


class MultiTaskLoss(Module):
    """The weighted sum of the losses of several tasks.

    Parameters
    ----------
    losses : mapping of str to callable
        ``loss(output, target)`` per task; tasks of the model that are not named do not count.
    weights : mapping of str to float, optional
        Default 1.

    Raises
    ------
    ValueError
        A weight of a task that has no loss; an output or a target is missing.

    Notes
    -----
    ``loss(outputs, targets)``: outputs as MultiTask returns them, targets a mapping, or a sequence in the order of the losses, which is what a
    TensorDataset(x, y1, y2) gives a Trainer. `parts` keeps each task's last loss, before its weight.

    Examples
    --------
    >>> import lamella
    >>> loss = MultiTaskLoss({"a": lamella.nn.MSELoss(), "b": lamella.nn.L1Loss()}, weights={"b": 0.5})
    >>> ones = lamella.ones(3)
    >>> loss({"a": 2 * ones, "b": 5 * ones}, {"a": ones, "b": ones}).item(), loss.parts
    (3.0, {'a': 1.0, 'b': 4.0})
    """

    def __init__(self, losses: Mapping[str, Callable[[Any, Any], Any]], weights: Mapping[str, float] | None = None):
        super().__init__()
        self.weights = dict.fromkeys(losses, 1.0)
        for name, weight in (weights or {}).items():
            if name not in losses:
                raise ValueError(f"MultiTaskLoss: a weight for {name!r}, which has no loss; there are {', '.join(losses)}")
            self.weights[name] = float(weight)
        if not losses:
            raise ValueError("MultiTaskLoss: expected at least one loss")
        self.losses = dict(losses)
        self.parts: dict[str, float] = {}

    def forward(self, outputs: Mapping[str, Any], targets: Mapping[str, Any] | Sequence[Any]) -> Any:
        if not isinstance(targets, Mapping):
            if len(targets) != len(self.losses):
                raise ValueError(f"MultiTaskLoss: expected {len(self.losses)} targets ({', '.join(self.losses)}), got {len(targets)}")
            targets = dict(zip(self.losses, targets))
        for what, given in (("outputs", outputs), ("targets", targets)):
            absent = [name for name in self.losses if name not in given]
            if absent:
                raise ValueError(f"MultiTaskLoss: {what} lack {', '.join(absent)}; they have {', '.join(given)}")
        total: Any = None
        for name, loss in self.losses.items():
            part = loss(outputs[name], targets[name])
            self.parts[name] = float(part.item())
            weighted = part * self.weights[name]
            total = weighted if total is None else total + weighted
        return total

    def extra_repr(self) -> str:
        return ", ".join(f"{name}: {weight:g}" for name, weight in self.weights.items())
