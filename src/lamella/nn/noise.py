"""Noise in training: on inputs, and on weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella import functional as F
from lamella.nn.module import Module
from lamella.random import generator
from lamella.tensor import Tensor

__all__ = ["GaussianNoise", "WeightNoise"]


def _normal(like: Any, std: float) -> np.ndarray:
    return np.multiply(generator().standard_normal(like.shape, np.float64 if like.dtype == np.float64 else np.float32), std)


def _checked(name: str, std: float) -> float:
    if not 0 <= std < np.inf:
        raise ValueError(f"{name}: expected a standard deviation that is finite and not negative, got {std}")
    return std


class GaussianNoise(Module):
    """In training, adds normal noise of standard deviation std; in evaluation, does nothing.

    Parameters
    ----------
    std : float

    Raises
    ------
    ValueError
        A negative standard deviation.

    Notes
    -----
    Input, output (*), any shape. On the inputs of a linear model under the squared loss it is L2 regularisation of strength std**2 (Bishop, Neural
    Computation 7, 1995). The noise is one draw from lamella's random state and depends on the shape alone.

    Examples
    --------
    >>> import lamella
    >>> lamella.manual_seed(0)
    >>> bool(0.09 < GaussianNoise(0.1)(lamella.zeros(1000)).numpy().std() < 0.11)
    True
    >>> GaussianNoise(0.1).eval()(lamella.zeros(2))
    tensor([0., 0.])
    """

    def __init__(self, std: float = 0.1):
        super().__init__()
        self.std = _checked("GaussianNoise", std)

    def forward(self, input: Any) -> Any:
        if not self.training or not self.std:
            return input
        input = input if isinstance(input, Tensor) else np.asarray(input)
        return F.add(input, _normal(input, self.std))

    def extra_repr(self) -> str:
        return f"std={self.std}"


class WeightNoise(Module):
    """A module that, in training, computes with weights to which normal noise is added, anew in every pass.

    Parameters
    ----------
    module : Module
    std : float
        The noise's standard deviation.
    weights_only : bool
        Parameters of one axis (biases, scales of a normalisation) stay as they are.

    Raises
    ------
    ValueError
        A negative standard deviation.

    Notes
    -----
    Gradients are those at the noisy weights, and are given to the true ones. Parameters are named ``module.*``. Graves, NeurIPS 2011.

    Examples
    --------
    >>> import lamella
    >>> lamella.manual_seed(0)
    >>> noisy = WeightNoise(lamella.nn.Linear(3, 1), 0.1)
    >>> x = lamella.ones(1, 3)
    >>> noisy(x).item() != noisy(x).item(), noisy.eval()(x).item() == noisy.module(x).item()
    (True, True)
    """

    def __init__(self, module: Module, std: float = 0.01, *, weights_only: bool = True):
        super().__init__()
        self.module = module
        self.std = _checked("WeightNoise", std)
        self.weights_only = weights_only

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if not self.training or not self.std:
            return self.module(*args, **kwargs)
        made: dict[int, Tensor] = {}  # a weight that several layers share gets one noise
        kept = []
        for module in self.module.modules():
            for name, p in module._parameters.items():
                if p is not None and (p.ndim > 1 or not self.weights_only):
                    kept.append((module, name, p))
                    if id(p) not in made:
                        made[id(p)] = F.add(p, _normal(p, self.std))
        try:
            for module, name, p in kept:
                module._parameters[name] = made[id(p)]  # type: ignore[assignment]
            return self.module(*args, **kwargs)
        finally:
            for module, name, p in kept:
                module._parameters[name] = p

    def extra_repr(self) -> str:
        return f"std={self.std}" + ("" if self.weights_only else ", weights_only=False")
