"""What a network consists of, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lamella.functional.conv1d import one
from lamella.nn.module import Module
from lamella.tensor import Tensor, no_grad

__all__ = ["Summary", "summary"]


class Layer(NamedTuple):
    """One call of a layer, for a batch of one."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    flops: int
    activation_bytes: int


def _window(module: Any) -> int:
    size = module.kernel_size
    return math.prod(size) if isinstance(size, (tuple, list)) else size * size


def _conv(module: Any, x: int, out: int) -> int:
    return out * (2 * math.prod(module.weight.shape[1:]) + (module.bias is not None))


def _conv_transpose(module: Any, x: int, out: int) -> int:
    return 2 * x * math.prod(module.weight.shape[1:]) + (out if module.bias is not None else 0)


def _linear(module: Any, x: int, out: int) -> int:
    return out * (2 * module.in_features + (module.bias is not None))


def _recurrent(module: Any, x: int, out: int) -> int:
    """Per step, a multiplication and an addition per weight, an addition per bias."""
    return x // module.input_size * sum(p.numel() * (2 if p.ndim == 2 else 1) for p in module.parameters())


# multiplications and additions of a layer, from its input's and output's number of elements; comparisons of a max-pool count as one.
# Subclasses count as their base; what is not listed counts nothing.
FLOPS: dict[str, Callable[[Any, int, int], int]] = {
    "Linear": _linear,
    "Conv1d": _conv,
    "Conv2d": _conv,
    "Conv3d": _conv,
    "ConvTranspose1d": _conv_transpose,
    "ConvTranspose2d": _conv_transpose,
    "BatchNorm1d": lambda module, x, out: 2 * out,  # scale and shift
    "BatchNorm2d": lambda module, x, out: 2 * out,
    "BatchNorm3d": lambda module, x, out: 2 * out,
    "GroupNorm": lambda module, x, out: 7 * out,  # statistics, too
    "LayerNorm": lambda module, x, out: 7 * out,
    "RMSNorm": lambda module, x, out: 4 * out,
    "MaxPool1d": lambda module, x, out: one(module.kernel_size, "summary", "kernel_size") * out,
    "LPPool1d": lambda module, x, out: 2 * one(module.kernel_size, "summary", "kernel_size") * out,
    "AvgPool1d": lambda module, x, out: _window(module) * out,
    "MaxPool2d": lambda module, x, out: _window(module) * out,
    "AvgPool2d": lambda module, x, out: _window(module) * out,
    "LPPool2d": lambda module, x, out: 2 * _window(module) * out,
    "AdaptiveAvgPool2d": lambda module, x, out: x,
    "AdaptiveMaxPool2d": lambda module, x, out: x,
    "RNN": _recurrent,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "ReLU": lambda module, x, out: out,
    "LeakyReLU": lambda module, x, out: out,
    "GELU": lambda module, x, out: 4 * out,
    "Sigmoid": lambda module, x, out: 4 * out,
    "Tanh": lambda module, x, out: 4 * out,
    "Softmax": lambda module, x, out: 4 * out,
    "LogSoftmax": lambda module, x, out: 4 * out,
}


def _flops(module: Module, x: int, out: int) -> int:
    for kind in type(module).__mro__:
        if kind.__name__ in FLOPS:
            return int(FLOPS[kind.__name__](module, x, out))
    return 0


def _si(n: float, unit: str = "") -> str:
    for prefix in ("", "k", "M", "G"):
        if n < 1000:
            return f"{n:.0f} {prefix}{unit}".strip() if not prefix else f"{n:.3g} {prefix}{unit}"
        n /= 1000
    return f"{n:,.3g} T{unit}"


class Summary:
    """The table that `summary` makes; ``str`` draws it.

    Attributes
    ----------
    layers : list of Layer (name, kind, output_shape, parameters, flops, activation_bytes), in the order of the calls
    parameters, trainable : int, each parameter counted once
    parameter_bytes, activation_bytes, flops : int

    Examples
    --------
    >>> import lamella
    >>> lamella.summary(lamella.nn.Linear(4, 3), (4,)).flops
    27
    """

    def __init__(self, kind: str, input_shape: tuple[int, ...], layers: list[Layer], parameters: list[Any]):
        self.kind = kind
        self.input_shape = input_shape
        self.layers = layers
        self.parameters = sum(p.numel() for p in parameters)
        self.trainable = sum(p.numel() for p in parameters if p.requires_grad)
        self.parameter_bytes = sum(p.data.nbytes for p in parameters)
        self.activation_bytes = sum(layer.activation_bytes for layer in layers)
        self.flops = sum(layer.flops for layer in layers)

    def __str__(self) -> str:
        head = ("layer", "output shape", "parameters", "FLOPs", "activations")
        rows = [
            (
                f"{layer.name} ({layer.kind})" if layer.name else layer.kind,
                str(layer.output_shape),
                f"{layer.parameters:,}" if layer.parameters else "-",
                _si(layer.flops) if layer.flops else "-",
                _si(layer.activation_bytes, "B") if layer.activation_bytes else "-",
            )
            for layer in self.layers
        ]
        totals = (self.kind, "", f"{self.parameters:,}", _si(self.flops), _si(self.activation_bytes, "B"))
        widths = [max(map(len, column)) for column in zip(head, *rows, totals)]
        rule = "-" * (sum(widths) + 2 * len(widths) - 2)

        def line(cells: Sequence[str]) -> str:
            return "  ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths))).rstrip()

        frozen = f", {self.parameters - self.trainable:,} of them frozen" if self.trainable != self.parameters else ""
        return "\n".join(
            [
                line(head),
                rule,
                *map(line, rows),
                rule,
                line(totals),
                f"One input of shape {self.input_shape}; parameters {_si(self.parameter_bytes, 'B')}{frozen}.",
            ]
        )

    __repr__ = __str__


def summary(model: Module, input_shape: Sequence[int]) -> Summary:
    """A network's layers: output shape, parameters, FLOPs and memory of their results.

    Parameters
    ----------
    model : Module
    input_shape : sequence of int
        Of one input, without the batch: (channels, height, width) of an image.

    Returns
    -------
    Summary: ``print`` it, or read its `layers` and totals

    Raises
    ------
    TypeError
        The model is not a Module.
    ValueError and others
        As the model raises them for an input of this shape, with the layer's name.

    Notes
    -----
    The model runs once, in evaluation mode, on a batch of one image of zeros; its mode is restored. FLOPs count multiplications and
    additions of layers, not of functions called between them. A layer called twice is listed twice, its parameters counted once.

    Examples
    --------
    >>> import lamella
    >>> net = lamella.nn.Sequential(lamella.nn.Flatten(), lamella.nn.Linear(784, 10))
    >>> print(lamella.summary(net, (1, 28, 28)))
    layer        output shape  parameters   FLOPs  activations
    ----------------------------------------------------------
    0 (Flatten)  (784,)                 -       -            -
    1 (Linear)   (10,)              7,850  15.7 k         40 B
    ----------------------------------------------------------
    Sequential                      7,850  15.7 k         40 B
    One input of shape (1, 28, 28); parameters 31.4 kB.
    """
    if not isinstance(model, Module):
        raise TypeError(f"summary: expected a Module, got {type(model).__name__}")
    shape = tuple(input_shape)
    if not all(hasattr(n, "__index__") and n >= 0 for n in shape):
        raise ValueError(f"summary: expected input_shape to be the sizes of one input, without the batch, got {input_shape!r}")
    parameters = list(model.parameters())
    layers: list[Layer] = []
    counted: set[int] = set()

    def record(name: str) -> Callable[[Module, tuple[Any, ...], Any], None]:
        def hook(module: Module, args: tuple[Any, ...], out: Any) -> None:
            out = out[0] if isinstance(out, tuple) and out else out
            own = [p for p in module._parameters.values() if p is not None]
            if not isinstance(out, Tensor) or (module._modules and not own):
                return
            new = [p for p in own if id(p) not in counted]
            counted.update(map(id, new))
            arrays = [x.data for x in args if isinstance(x, Tensor)]
            kept = any(np.may_share_memory(out.data, x) for x in arrays)  # a view, or the input itself
            layers.append(
                Layer(
                    name,
                    type(module).__name__,
                    out.shape[1:],
                    sum(p.numel() for p in new),
                    _flops(module, arrays[0].size if arrays else 0, out.data.size),
                    0 if kept else out.data.nbytes,
                )
            )

        return hook

    modes = [(module, module.training) for module in model.modules()]
    handles = [module.register_forward_hook(record(name)) for name, module in model.named_modules()]
    try:
        model.eval()
        with no_grad():
            model(Tensor(np.zeros((1, *shape), parameters[0].dtype if parameters else np.float32)))
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode
    return Summary(type(model).__name__, shape, layers, parameters)
