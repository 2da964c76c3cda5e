"""Transfer learning: freeze layers, replace the last one, take over the weights that fit, give layers their own learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lamella.nn.conv import Conv2d
from lamella.nn.linear import Linear
from lamella.nn.module import Module, Parameter
from lamella.tensor import Tensor

__all__ = ["LoadReport", "freeze", "layer_groups", "load_matching", "replace_head", "unfreeze"]


def _below(name: str, prefix: str) -> bool:
    return not prefix or name == prefix or name.startswith(prefix + ".")


def _named(owner: str, model: Module, names: tuple[str, ...]) -> tuple[list[Module], list[Parameter]]:
    """The modules and parameters at or below the names; of all without names."""
    wanted = names or ("",)
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
    for name in wanted:
        if name not in modules and name not in parameters:
            children = ", ".join(key for key, _ in model.named_children()) or "none"
            raise ValueError(f"{owner}: {type(model).__name__} has no layer or parameter {name!r}; its layers are {children}")
    return (
        [module for key, module in modules.items() if any(_below(key, name) for name in wanted)],
        [parameter for key, parameter in parameters.items() if any(_below(key, name) for name in wanted)],
    )


def freeze(model: Module, *names: str) -> Module:
    """Keep layers as they are: their parameters need no gradient, their batch norms keep their statistics, also in training mode.

    Parameters
    ----------
    model : Module
    *names : str
        Dotted names of layers or parameters, with all that is below them. Without names: everything.

    Returns
    -------
    the model

    Raises
    ------
    ValueError
        No layer of that name; the layers are listed.

    Notes
    -----
    ``requires_grad_(False)`` alone would let a batch norm in training mode go on averaging the statistics of the new data.

    Examples
    --------
    >>> import lamella
    >>> model = freeze(lamella.models.LeNet(), "conv1", "conv2")
    >>> [name for name, p in model.named_parameters() if p.requires_grad][:2]
    ['fc1.weight', 'fc1.bias']
    """
    modules, parameters = _named("freeze", model, names)
    for parameter in parameters:
        parameter.requires_grad_(False)
    for module in modules:
        if module._buffers.get("running_mean") is not None:
            module._frozen = True
            module.training = False
    return model


def unfreeze(model: Module, *names: str) -> Module:
    """Train frozen layers again: the opposite of `freeze`.

    Parameters
    ----------
    model : Module
    *names : str
        As `freeze`.

    Returns
    -------
    the model

    Examples
    --------
    >>> import lamella
    >>> model = unfreeze(freeze(lamella.nn.Sequential(lamella.nn.Linear(2, 2), lamella.nn.Linear(2, 1))), "1")
    >>> [p.requires_grad for p in model.parameters()]
    [False, False, True, True]
    """
    modules, parameters = _named("unfreeze", model, names)
    for parameter in parameters:
        parameter.requires_grad_(True)
    for module in modules:
        if module._frozen:
            module._frozen = False
            module.training = model.training
    return model


def _parent(model: Module, name: str) -> tuple[Module, str]:
    path, _, last = name.rpartition(".")
    return model.get_submodule(path), last


def replace_head(model: Module, head: int | Module, name: str | None = None) -> Module:
    """Put a new layer, with new weights, where the network puts out its answer.

    Parameters
    ----------
    model : Module
    head : int or Module
        The number of outputs of a layer like the old one, or a layer.
    name : str, optional
        The layer to replace. Default: the last Linear or Conv2d, in the order in which the layers were made.

    Returns
    -------
    the new layer

    Raises
    ------
    ValueError
        There is no such layer, or one that a number of outputs does not describe.

    Examples
    --------
    >>> import lamella
    >>> model = lamella.models.LeNet()
    >>> replace_head(model, 5)
    Linear(in_features=84, out_features=5, bias=True)
    >>> model.fc3.weight.shape
    (5, 84)
    """
    modules = dict(model.named_modules())
    if name is None:
        name = next((key for key, m in reversed(modules.items()) if key and isinstance(m, (Linear, Conv2d))), None)
        if name is None:
            raise ValueError(f"replace_head: {type(model).__name__} has no Linear or Conv2d below it; pass name=")
    if not name or name not in modules:
        raise ValueError(f"replace_head: {type(model).__name__} has no layer {name!r}; there are {', '.join(filter(None, modules))}")
    old = modules[name]
    if isinstance(head, Module):
        new = head
    elif isinstance(old, Linear):
        new = Linear(old.in_features, head, bias=old.bias is not None, dtype=old.weight.dtype)
    elif isinstance(old, Conv2d):
        same: dict[str, Any] = {
            key: getattr(old, key) for key in ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
        }
        new = Conv2d(old.in_channels, head, bias=old.bias is not None, dtype=old.weight.dtype, **same)
    else:
        raise ValueError(f"replace_head: {name} is a {type(old).__name__}, not a Linear or Conv2d; pass the new layer itself")
    parent, last = _parent(model, name)
    setattr(parent, last, new)
    new.train(model.training)
    return new


@dataclass(frozen=True)
class LoadReport:
    """What `load_matching` did, by names: loaded, missing (not in the state), unexpected (not in the model), mismatched (name: (shape there, here)).

    Examples
    --------
    >>> print(LoadReport(["conv1.weight"], ["fc.bias"], [], {"fc.weight": ((10, 84), (5, 84))}))
    1 of 3 loaded
      not in the state, kept as they were: fc.bias
      of another shape, kept as they were: fc.weight (10, 84) -> (5, 84)
    """

    loaded: list[str]
    missing: list[str]
    unexpected: list[str]
    mismatched: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} of {len(self.loaded) + len(self.missing) + len(self.mismatched)} loaded"]
        shapes = [f"{name} {there} -> {here}" for name, (there, here) in self.mismatched.items()]
        for title, names in (
            ("not in the state, kept as they were", self.missing),
            ("not in the model, left out", self.unexpected),
            ("of another shape, kept as they were", shapes),
        ):
            if names:
                lines.append(f"  {title}: {', '.join(names)}")
        return "\n".join(lines)


def load_matching(model: Module, state_dict: Mapping[str, Any], prefix: str = "") -> LoadReport:
    """Take over the weights whose names and shapes fit, leave the others as they are, and tell.

    Parameters
    ----------
    model : Module
    state_dict : mapping of str to Tensor or array
    prefix : str
        What the state's names have before the model's, e.g. "module." or "backbone."; other names of the state are unexpected.

    Returns
    -------
    LoadReport

    Raises
    ------
    ValueError
        Nothing fits.

    Notes
    -----
    ``model.load_state_dict(state, strict=False)`` forgives missing and unexpected names, but not other shapes, as in PyTorch.

    Examples
    --------
    >>> import lamella
    >>> report = load_matching(lamella.models.LeNet(num_classes=5), lamella.models.LeNet(num_classes=10).state_dict())
    >>> len(report.loaded), report.mismatched["fc3.bias"]
    (8, ((10,), (5,)))
    """
    own = model.state_dict()
    given = {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}
    shapes = {name: np.shape(value.data if isinstance(value, Tensor) else value) for name, value in given.items()}
    fits = {name: given[name] for name in own if name in given and shapes[name] == own[name].shape}
    if not fits:
        raise ValueError(
            f"load_matching: nothing of the state fits {type(model).__name__}; it has names like {next(iter(state_dict), None)!r}, "
            f"the model like {next(iter(own), None)!r}; pass prefix= if they differ by one"
        )
    model.load_state_dict(fits, strict=False)
    return LoadReport(
        loaded=list(fits),
        missing=[name for name in own if name not in given],
        unexpected=[name for name in state_dict if not name.startswith(prefix) or name.removeprefix(prefix) not in own],
        mismatched={name: (shapes[name], own[name].shape) for name in own if name in given and name not in fits},
    )


def layer_groups(model: Module, options: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Parameter groups by layer, for an optimizer: e.g. a small learning rate for what was taken over, a large one for a new head.

    Parameters
    ----------
    model : Module
    options : mapping of dotted names to options of a group
        The longest name that a parameter lies at or below counts; "" is everything. Frozen parameters are left out.

    Returns
    -------
    list of dict; groups that would be empty are left out

    Raises
    ------
    ValueError
        No layer of that name, or a parameter that no name covers.

    Examples
    --------
    >>> import lamella
    >>> model = lamella.models.LeNet()
    >>> optimizer = lamella.optim.SGD(layer_groups(model, {"": {"lr": 0.001}, "fc3": {}}), lr=0.1)
    >>> [(len(group["params"]), group["lr"]) for group in optimizer.param_groups]
    [(8, 0.001), (2, 0.1)]
    """
    _named("layer_groups", model, tuple(options))
    groups: dict[str, list[Any]] = {name: [] for name in options}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        over = [prefix for prefix in options if _below(name, prefix)]
        if not over:
            raise ValueError(f'layer_groups: no name covers {name}; add "" for all others')
        groups[max(over, key=len)].append(parameter)
    return [{"params": parameters, **options[name]} for name, parameters in groups.items() if parameters]
