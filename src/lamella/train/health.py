"""layer_health: do gradients vanish or explode on their way back, and which units are dead."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lamella import random
from lamella.functional import cross_entropy
from lamella.nn import Module
from lamella.tensor import Tensor, enable_grad

__all__ = ["HealthReport", "LayerHealth", "layer_health"]

RECTIFIERS = ("ReLU", "ReLU6")
SATURATING = {"Sigmoid": (0.01, 0.99), "Tanh": (-0.99, 0.99)}
REMEDIES = {
    "vanishing": "batch normalisation, residual connections, better initial values (nn.init), ReLU or a relative instead of sigmoid and tanh",
    "exploding": "gradient clipping (nn.utils.clip_grad_norm_), better initial values (nn.init), batch normalisation, a lower learning rate",
    "dead units": "a lower learning rate, better initial values (nn.init), LeakyReLU or PReLU instead of ReLU",
}


@dataclass
class LayerHealth:
    """One layer of a `HealthReport`; what does not apply to it is NaN.

    Attributes
    ----------
    name, kind : str
    gradient : float
        The root mean square of the gradient over the layer's weights (parameters of two or more axes).
    norm : float
        The gradient's Euclidean norm.
    relative : float
        That norm over the weights' own.
    dead : float
        Of a rectifier: the share of units (channels) that put out nothing but zeros in the whole batch, and so learn nothing.
    saturated : float
        Of sigmoid and tanh: the share of outputs within 0.01 of a bound, where the slope is nearly zero.

    Examples
    --------
    >>> LayerHealth("0", "Linear", gradient=0.5).gradient
    0.5
    """

    name: str
    kind: str
    gradient: float = math.nan
    norm: float = math.nan
    relative: float = math.nan
    dead: float = math.nan
    saturated: float = math.nan


@dataclass
class HealthReport:
    """What `layer_health` found.

    Attributes
    ----------
    layers : list of LayerHealth
        In the order in which the network uses them.
    findings : dict of str to str
        "vanishing", "exploding", "dead units": what was seen, and what helps. Empty for a network in good health.
    loss : float

    Examples
    --------
    >>> HealthReport([], 0.5).findings
    {}
    """

    layers: list[LayerHealth]
    loss: float
    findings: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        def shown(value: float, form: str) -> str:
            return "" if math.isnan(value) else format(value, form)

        width = max([5, *(len(layer.name) for layer in self.layers)])
        lines = [f"{'layer':{width}}  {'kind':12} {'gradient':>9} {'norm':>9} {'relative':>9} {'dead':>6} {'saturated':>9}"]
        for s in self.layers:
            numbers = f"{shown(s.gradient, '.2e'):>9} {shown(s.norm, '.2e'):>9} {shown(s.relative, '.2e'):>9}"
            lines.append(f"{s.name:{width}}  {s.kind:12} {numbers} {shown(s.dead, '.0%'):>6} {shown(s.saturated, '.0%'):>9}".rstrip())
        return "\n".join(lines + [f"{name}: {text}" for name, text in self.findings.items()])


def layer_health(
    model: Module,
    x: Any,
    y: Any,
    loss: Callable[[Any, Any], Any] = cross_entropy,
    *,
    vanishing: float = 1e-3,
    exploding: float = 1e3,
    dead: float = 0.5,
) -> HealthReport:
    """One forward and backward pass that leaves everything as it was, and a report of gradients and activations, layer by layer.

    Parameters
    ----------
    model : Module
        In the mode it is in. Activations are seen where they are layers, or an argument of a batch norm.
    x, y : array or Tensor
        One batch, large enough to tell a dead unit from a rare one.
    loss : callable
    vanishing : float
        Gradients vanish if those of the first weights are smaller than this part of the largest layer's.
    exploding : float
        Gradients explode if the norm of all is above it, or not finite.
    dead : float
        The share of dead units in a layer that is too much.

    Returns
    -------
    HealthReport; printed, it is a table

    Raises
    ------
    ValueError
        No weights with gradients.

    Notes
    -----
    Weights, buffers, gradients and random state are restored. Glorot and Bengio, AISTATS 2010; Pascanu, Mikolov and Bengio, ICML 2013.

    Examples
    --------
    >>> import lamella
    >>> from lamella import nn
    >>> lamella.manual_seed(0)
    >>> deep = nn.Sequential(*(layer for _ in range(9) for layer in (nn.Linear(8, 8), nn.Sigmoid())), nn.Linear(8, 2))
    >>> report = layer_health(deep, np.random.default_rng(0).normal(size=(32, 8)).astype("f"), np.arange(32) % 2)
    >>> list(report.findings)
    ['vanishing']
    """
    if not any(p.requires_grad and p.ndim > 1 for p in model.parameters()):
        raise ValueError("layer_health: no layer has weights that require a gradient; is everything frozen?")
    kept = [(p, p.grad) for p in model.parameters()]
    buffers = [(b, b.data.copy()) for b in model.buffers()]
    state = random.get_rng_state()
    seen: dict[int, LayerHealth] = {}
    names = {id(module): name for name, module in model.named_modules()}
    leaves = [module for module in model.modules() if not any(True for _ in module.children())]
    handles = [module.register_forward_hook(lambda m, args, out: _look(m, out, seen, names)) for module in leaves]
    try:
        for p, _ in kept:
            p.grad = None
        with enable_grad():
            value = loss(model(x), y)
            value.backward()
        for module in leaves:
            if id(module) in seen:
                _weigh(module, seen[id(module)])
        norm = math.sqrt(sum(float((p.grad.data.astype(np.float64) ** 2).sum()) for p, _ in kept if p.grad is not None))
    finally:
        for handle in handles:
            handle.remove()
        for p, grad in kept:
            p.grad = grad
        for buffer, data in buffers:
            buffer.copy_(data)
        random.set_rng_state(state)
    report = HealthReport(list(seen.values()), float(value.item()))
    graded = [layer for layer in report.layers if not math.isnan(layer.norm)]
    if not graded:
        raise ValueError("layer_health: the loss depends on no layer with weights")
    _judge(report, graded, norm, vanishing, exploding, dead)
    return report


def _look(module: Module, output: Any, seen: dict[int, LayerHealth], names: dict[int, str]) -> None:
    """Note a layer when it puts something out."""
    kind = type(module).__name__
    entry = seen.setdefault(id(module), LayerHealth(names[id(module)], kind))
    if not isinstance(output, Tensor) or not output.data.size:
        return
    out = output.data
    if kind in RECTIFIERS or getattr(module, "activation", None) == "relu":
        axes = tuple(i for i in range(out.ndim) if i != min(1, out.ndim - 1))
        entry.dead = float((out == 0).all(axes).mean())
    elif kind in SATURATING:
        low, high = SATURATING[kind]
        entry.saturated = float(((out < low) | (out > high)).mean())


def _weigh(module: Module, entry: LayerHealth) -> None:
    weights = [p for p in module.parameters() if p.ndim > 1 and p.grad is not None]
    if not weights:
        return
    with np.errstate(all="ignore"):
        squares = sum(float((p.grad.data.astype(np.float64) ** 2).sum()) for p in weights)
        own = math.sqrt(sum(float((p.data.astype(np.float64) ** 2).sum()) for p in weights))
    entry.norm = math.sqrt(squares)
    entry.gradient = math.sqrt(squares / sum(p.data.size for p in weights))
    entry.relative = entry.norm / own if own else math.inf


def _judge(report: HealthReport, graded: list[LayerHealth], norm: float, vanishing: float, exploding: float, dead: float) -> None:
    largest = max(graded, key=lambda layer: layer.gradient)
    first = graded[0]
    if not math.isfinite(norm) or norm > exploding:
        report.findings["exploding"] = f"the gradient's norm is {norm:.3g}; try {REMEDIES['exploding']}"
    if math.isfinite(norm) and first.gradient < vanishing * largest.gradient:
        part = first.gradient / largest.gradient
        report.findings["vanishing"] = f"{first.name} gets {part:.1e} of the gradient of {largest.name}; try {REMEDIES['vanishing']}"
    gone = [f"{layer.dead:.0%} in {layer.name}" for layer in report.layers if layer.dead > dead]
    if gone:
        report.findings["dead units"] = f"{', '.join(gone)}; try {REMEDIES['dead units']}"
