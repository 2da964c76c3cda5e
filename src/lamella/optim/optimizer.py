"""What all optimizers share: parameter groups, state, saving and loading."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from lamella.core import updates
from lamella.optim.constraint import max_norm_
from lamella.problems import OptimizerProblem
from lamella.registry import select
from lamella.tensor import Tensor, enable_grad

REGULARISATION: dict[str, Any] = {"decay_kind": "coupled", "l1": 0.0, "max_norm": None}
DECAYS = ("coupled", "decoupled", "independent")
SCALARS = ("step", "mu_product")  # of the state of a parameter, as float32


class Optimizer:
    """Base of all optimizers.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor), or of dict
        What to optimize. Dicts are parameter groups: ``{"params": [...], "lr": 0.01}`` overrides the defaults for its parameters.
    defaults : dict
        Options of groups that do not set them.
    **regularisation
        What all optimizers of this package understand besides their own options, for a group or for all:

        decay_kind : {"coupled", "decoupled", "independent"}
            What ``weight_decay`` (wd) does before the step: ``grad += wd * param``, the gradient of ``wd / 2 * (param**2).sum()``; or
            ``param *= 1 - lr * wd`` (as AdamW); or ``param *= 1 - wd``, whatever the learning rate.
        l1 : float
            ``grad += l1 * sign(param)``, the gradient of ``l1 * abs(param).sum()``.
        max_norm : float, optional
            After the step, each neuron's or filter's weights ``param[i]`` are scaled down to this norm if theirs is larger
            (`max_norm_`; parameters of one axis, such as biases, stay).

    Attributes
    ----------
    param_groups : list of dict
    state : dict, Tensor -> dict of name -> ndarray
    grad_scale : float
        What gradients are multiplied by on their way into the step, 1 at first: ``max_norm / norm`` clips them, ``1 / k`` averages
        gradients accumulated over k batches, without a pass over memory of its own.

    Raises
    ------
    TypeError, ValueError
        No parameters; something that is no Tensor, not a leaf, or stands in two groups.

    Examples
    --------
    An optimizer of your own gives `_step`, the update of one group; it changes parameters through the Tensor, so that the tape sees it.

    >>> import lamella
    >>> class SignDescent(Optimizer):
    ...     def _step(self, group):
    ...         with lamella.no_grad():
    ...             for p in group["params"]:
    ...                 p.add_(np.sign(p.grad.data), alpha=-group["lr"])
    >>> w = lamella.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = SignDescent([w], {"lr": 0.25})
    >>> w.backward(2 * w.data)
    >>> optimizer.step()
    >>> w.detach()
    tensor([ 0.75, -1.75])
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any], **regularisation: Any):
        if isinstance(params, (Tensor, np.ndarray)):
            raise TypeError(
                f"{type(self).__name__}: expected an iterable of Tensors or dicts, got a {type(params).__name__}; wrap it: [param]"
            )
        if unknown := set(regularisation) - set(REGULARISATION):
            raise TypeError(
                f"{type(self).__name__}: got an unexpected option {min(unknown)!r}; besides its own it has {', '.join(REGULARISATION)}"
            )
        self.defaults = {**defaults, **REGULARISATION, **regularisation}
        self.grad_scale = 1.0
        self._stepped = False  # what a schedule warns about: its step() must come after ours
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError(f"{type(self).__name__}: got an empty parameter list; has the model any parameters?")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def __repr__(self) -> str:
        lines = []
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {key}: {value}" for key, value in sorted(group.items()) if key not in ("params", "param_names")]
        return "\n".join([f"{type(self).__name__} (", *lines, ")"])

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, e.g. layers that are unfrozen during training."""
        name = type(self).__name__
        if not isinstance(param_group, dict):
            raise TypeError(f"{name}: expected a parameter group as a dict, got {type(param_group).__name__}")
        if isinstance(param_group["params"], set):
            raise TypeError(f"{name}: the order of parameters in a set changes from run to run; use a list")
        group = dict(param_group)
        params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        names = [p[0] for p in params if isinstance(p, tuple)]
        if names and len(names) != len(params):
            raise ValueError(f"{name}: expected names for all parameters or for none")
        if names:
            group["param_names"] = names
            params = [p[1] for p in params]
        for i, p in enumerate(params):
            if not isinstance(p, Tensor):
                raise TypeError(f"{name}: expected Tensors as parameters, got {type(p).__name__} at {i}")
            if not p.is_leaf:
                raise ValueError(f"{name}: can't optimize a non-leaf Tensor (parameter {i}); detach() it")
        ids = [id(p) for p in params]
        if len(set(ids)) < len(ids):
            raise ValueError(f"{name}: a parameter appears twice in one group")
        if not set(ids).isdisjoint(id(p) for g in self.param_groups for p in g["params"]):
            raise ValueError(f"{name}: some parameters appear in more than one parameter group")
        if any(("param_names" in g) != bool(names) for g in self.param_groups):
            raise ValueError(f"{name}: expected names in all parameter groups or in none")
        group["params"] = params
        for key, value in self.defaults.items():
            group.setdefault(key, value)
        self._check(group)
        self.param_groups.append(group)

    def _check(self, group: dict[str, Any]) -> None:
        """Raise ValueError on options that make no sense; a subclass checks its own, then calls this."""
        self._one_of(group, "decay_kind", DECAYS)
        self._not_negative(group, "l1")
        if group["max_norm"] is not None and not group["max_norm"] > 0:
            raise ValueError(f"{type(self).__name__}: expected max_norm > 0 or None, got {group['max_norm']}")

    def _not_negative(self, group: dict[str, Any], *keys: str) -> None:
        for key in keys:
            if not group[key] >= 0:
                raise ValueError(f"{type(self).__name__}: expected {key} >= 0, got {group[key]}")

    def _one_of(self, group: dict[str, Any], key: str, names: tuple[str, ...]) -> None:
        if group[key] not in names:
            raise ValueError(f"{type(self).__name__}: expected {key} {' or '.join(map(repr, names))}, got {group[key]!r}")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or set them to zero."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if set_to_none:
                    p.grad = None
                else:
                    p.grad.data.fill(0)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient, in place.

        Parameters
        ----------
        closure : callable, optional
            Recomputes the model and returns the loss, which is passed on.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        self._stepped = True
        for group in self.param_groups:
            self._step(group)
            if group["max_norm"] is not None:
                for p in group["params"]:
                    if p.data.ndim > 1:
                        max_norm_(p, group["max_norm"])
        return loss

    def _step(self, group: dict[str, Any]) -> None:
        raise NotImplementedError

    # what a subclass's _step is made of

    def _update(
        self,
        group: dict[str, Any],
        pass_: str,
        options: tuple[bool, ...],
        names: tuple[str | None, ...],
        numbers: Callable[[int], list[float]],
        counts: bool = False,
        factor: float = 1.0,
    ) -> None:
        """Run one kernel over all parameters of a group that have a gradient, and the named arrays of their state.

        numbers(step) gives the pass's own part of h; `factor` multiplies the gradient, after the regularisation. Parameters that have made different numbers of steps (some had no gradient for a
        while), or are of another dtype, take a call of their own.
        """

        def refuse(i: int) -> None:
            p = group["params"][i]
            g = p.grad.data
            if g.shape != p.data.shape or g.dtype != p.data.dtype:
                raise RuntimeError(
                    f"{type(self).__name__}: parameter {i} is {p.data.dtype} {p.data.shape}, but its gradient {g.dtype} {g.shape}; "
                    "after replacing a parameter's data call zero_grad()"
                )
            raise ValueError(f"{type(self).__name__}: parameter {i} of shape {p.data.shape} is read-only; give it a copy of its array")

        scale = -self.grad_scale if group["maximize"] else self.grad_scale
        decay, kind, keep = group["weight_decay"], group["decay_kind"], 1.0
        if kind != "coupled" or group.get("decoupled_weight_decay"):
            decay, keep = 0.0, 1 - (1 if kind == "independent" else group["lr"]) * decay
        begin = [factor * scale, factor * decay, factor * group["l1"], keep]
        for update in updates(group["params"], self.state, names, counts, refuse):
            problem = OptimizerProblem.of(update.sizes, update.dtype, *options)
            h = np.array([*begin, *numbers(update.step)], np.float64)
            select("optimizer", pass_, problem)(problem, h, update.grads, update.params, *update.states)
            for array, copy in update.copies:
                array[...] = copy

    # saving and loading

    def state_dict(self) -> dict[str, Any]:
        """State and options, structured as PyTorch's, parameters replaced by their number; the arrays are the live ones, not copies.

        Returns
        -------
        dict with "state": {number: {name: array}}, "param_groups": [{option: value, "params": [numbers]}]
        """
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                numbers[id(p)] = len(numbers)
            groups.append({**group, "params": [numbers[id(p)] for p in group["params"]]})
        state = {numbers[id(p)]: dict(values) for p, values in self.state.items() if id(p) in numbers}
        return {"state": dict(sorted(state.items())), "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state of this optimizer, or of PyTorch's with its tensors as arrays; the arrays are copied.

        Raises
        ------
        ValueError
            Other numbers of groups, of parameters in a group, or other shapes.
        """
        name = type(self).__name__
        groups, loaded = self.param_groups, state_dict["param_groups"]
        if len(groups) != len(loaded):
            raise ValueError(f"{name}: expected a state of {len(groups)} parameter groups, got {len(loaded)}")
        by_number: dict[Any, Tensor] = {}
        for i, (group, saved) in enumerate(zip(groups, loaded)):
            if len(group["params"]) != len(saved["params"]):
                raise ValueError(
                    f"{name}: expected a state of {len(group['params'])} parameters in group {i}, got {len(saved['params'])}; "
                    "is it the state of another model?"
                )
            by_number.update(zip(saved["params"], group["params"]))
        state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        for number, values in state_dict["state"].items():
            p = by_number.get(number)
            if p is None:
                raise ValueError(f"{name}: the state holds parameter {number}, which is in none of its groups")
            for key, value in values.items():
                if value is None:
                    continue
                array = value.data if isinstance(value, Tensor) else np.asarray(value)
                if key in SCALARS:
                    state[p][key] = np.array(array, np.float32).reshape(())
                elif array.shape != p.data.shape:
                    raise ValueError(f"{name}: expected {key} of parameter {number} of shape {p.data.shape}, got {array.shape}")
                else:
                    copy = np.empty_like(p.data)
                    copy[...] = array
                    state[p][key] = copy
        updated = [
            {**{k: tuple(v) if isinstance(v, list) and k == "betas" else v for k, v in saved.items()}, "params": group["params"]}
            for group, saved in zip(groups, loaded)
        ]
        for group, old in zip(updated, groups):
            for key, value in old.items():
                group.setdefault(key, value)
            self._check(group)
        self.state, self.param_groups = state, updated


def refuse(name: str, differentiable: bool, capturable: bool = False) -> None:
    """Options of PyTorch's that would change what an update is, and that this one cannot honour."""
    if differentiable:
        raise RuntimeError(f"{name}: differentiable=True is not available: the update runs in place outside the tape")
    if capturable:
        raise RuntimeError(f"{name}: capturable=True is not available: it is about CUDA graphs; leave it out")
