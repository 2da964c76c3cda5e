"""Batch norm folded into the layer before it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from lamella import nn
from lamella.nn.batchnorm import _BatchNorm
from lamella.nn.conv import _Conv, _ConvTranspose
from lamella.nn.module import Module, Parameter
from lamella.tensor import Tensor

__all__ = ["fold_batchnorm"]


def _pairs(module: Module) -> Iterator[tuple[str, str]]:
    """Names of children of which the second is called with the first one's output, and nobody else is."""
    if isinstance(module, nn.Sequential):
        names = list(module._modules)
        yield from zip(names, names[1:])
    else:
        yield from getattr(module, "foldable", ())


def _folded(layer: Any, bn: Any) -> None:
    """Change the layer so that it computes what bn makes of its output."""
    mean, var = bn.running_mean.data.astype(np.float64), bn.running_var.data.astype(np.float64)
    scale = (1.0 if bn.weight is None else bn.weight.data) / bn.sigma(var)
    shape = layer.weight.shape
    if isinstance(layer, _ConvTranspose):  # (in, out / groups, ...): the outputs of group g stand beside the inputs of group g
        spread = np.repeat(scale.reshape(layer.groups, -1), shape[0] // layer.groups, axis=0)
    else:
        spread = scale
    bias = 0.0 if layer.bias is None else layer.bias.data.astype(np.float64)
    dtype = layer.weight.dtype
    layer.weight.data[...] = layer.weight.data * spread.reshape(spread.shape + (1,) * (len(shape) - spread.ndim))
    shift = (bias - mean) * scale + (0.0 if bn.bias is None else bn.bias.data)
    layer.bias = Parameter(Tensor(np.ascontiguousarray(shift, dtype)), layer.weight.requires_grad)


def _rest(bn: Any, residual: bool) -> Module:
    """What of a batch norm remains: the sum with a residual, its activation, or nothing."""
    if residual:
        return nn.Add(bn.activation)
    return nn.ReLU() if bn.activation == "relu" else nn.Identity()


def fold_batchnorm(module: Module) -> Module:
    """A copy of a network, in evaluation mode, in which every batch norm is part of the layer before it.

        weight' = gamma / sigma * weight,  bias' = gamma / sigma * (bias - mu) + beta,  sigma = sqrt(var + eps)

    Parameters
    ----------
    module : Module
        Its children are folded too. Folded are Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d and Linear followed by a BatchNorm with running statistics: neighbours in a
        Sequential, and pairs of names that a module of your own lists as ``foldable = [("conv1", "bn1")]``, as those of `lamella.models` do.

    Returns
    -------
    Module
        Instead of the batch norms it has Identity, ReLU where the batch norm had that activation, or Add where it took a residual. The
        original is unchanged.

    Raises
    ------
    TypeError
        Not a Module.

    Notes
    -----
    For inference: statistics are those of the running mean and variance. The result is the same up to rounding.

    Examples
    --------
    >>> net = lamella.nn.Sequential(lamella.nn.Conv2d(1, 4, 3, bias=False), lamella.nn.BatchNorm2d(4, activation="relu"))
    >>> fold_batchnorm(net)
    Sequential(
      (0): Conv2d(1, 4, kernel_size=(3, 3), stride=(1, 1))
      (1): ReLU()
    )
    """
    if not isinstance(module, Module):
        raise TypeError(f"fold_batchnorm: expected a Module, got {type(module).__name__}")
    result = copy.deepcopy(module).eval()
    uses: dict[int, int] = {}
    for parent in result.modules():
        for child in parent._modules.values():
            uses[id(child)] = uses.get(id(child), 0) + 1
    for parent in result.modules():
        for first, second in _pairs(parent):
            layer, bn = parent._modules.get(first), parent._modules.get(second)
            if not isinstance(layer, (_Conv, nn.Linear)) or not isinstance(bn, _BatchNorm) or bn.running_mean is None:
                continue
            channels = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
            if channels != bn.num_features or uses[id(layer)] > 1 or uses[id(bn)] > 1 or layer._forward_hooks or bn._forward_hooks:
                continue
            _folded(layer, bn)
            parent._modules[second] = _rest(bn, not isinstance(parent, nn.Sequential)).eval()
    return result
