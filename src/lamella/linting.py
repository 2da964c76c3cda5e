"""Things in a network that work, and are probably not meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lamella import nn
from lamella.folding import _pairs
from lamella.nn.batchnorm import _BatchNorm
from lamella.nn.module import Module

__all__ = ["lint"]

LOGITS = {"CrossEntropyLoss": ("Softmax", "LogSoftmax", "Sigmoid"), "BCEWithLogitsLoss": ("Sigmoid", "Softmax"), "NLLLoss": ("Softmax",)}
ADVICE = {
    "CrossEntropyLoss": "it takes logits: leave the layer away, and apply softmax to predictions only",
    "BCEWithLogitsLoss": "it takes logits: leave the layer away, or use BCELoss",
    "NLLLoss": "it takes log-probabilities: use LogSoftmax, or CrossEntropyLoss without the layer",
}


def _leaves(module: Module, name: str = "") -> Iterator[tuple[str, Module]]:
    children = [(key, child) for key, child in module._modules.items() if child is not None]
    if not children:
        yield name, module
    for key, child in children:
        yield from _leaves(child, f"{name}.{key}" if name else key)


def lint(model: Module, loss: Any = None) -> list[str]:
    """Look for layers that undo or repeat each other.

    Parameters
    ----------
    model : Module
    loss : Module, optional
        The loss it is trained with: then its last layer is compared with what the loss expects.

    Returns
    -------
    list of str, one per finding, with the layer's name; empty where there is nothing to say

    Raises
    ------
    TypeError
        Not a Module.

    Notes
    -----
    bias before batch norm     its mean takes the bias away again: bias=False saves the parameter
    softmax before the loss    CrossEntropyLoss applies it itself: applied twice, gradients are small and probabilities never reach 0 or 1
    several saturating layers  sigmoid or tanh between layers, three or more: gradients vanish; ReLU or one of its relatives is the usual choice

    Examples
    --------
    >>> net = lamella.nn.Sequential(lamella.nn.Linear(4, 3), lamella.nn.Softmax(-1))
    >>> print(*lint(net, lamella.nn.CrossEntropyLoss()))
    1 (Softmax): followed by CrossEntropyLoss, which does that itself; it takes logits: leave the layer away, and apply softmax to predictions only
    """
    if not isinstance(model, Module):
        raise TypeError(f"lint: expected a Module, got {type(model).__name__}")
    found = []
    for path, parent in model.named_modules():
        for first, second in _pairs(parent):
            layer, bn = parent._modules.get(first), parent._modules.get(second)
            if isinstance(bn, _BatchNorm) and getattr(layer, "bias", None) is not None and hasattr(layer, "weight"):
                name = f"{path}.{first}" if path else first
                found.append(f"{name} ({type(layer).__name__}): its bias is taken away by the batch norm behind it; bias=False saves it")
    leaves = list(_leaves(model))
    last = type(leaves[-1][1]).__name__
    kind = type(loss).__name__
    if last in LOGITS.get(kind, ()):
        found.append(f"{leaves[-1][0]} ({last}): followed by {kind}, which does that itself; {ADVICE[kind]}")
    saturating = [name for name, leaf in leaves[:-1] if isinstance(leaf, (nn.Sigmoid, nn.Tanh))]
    if len(saturating) >= 3:
        found.append(
            f"{', '.join(saturating)}: {len(saturating)} saturating activations between layers, gradients vanish; use ReLU or a relative"
        )
    return found
