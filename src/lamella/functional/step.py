"""heaviside, the step of the first artificial neurons."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.layout import operand
from lamella.tensor import Operation, apply


def _forward(x: Any, values: float) -> tuple[np.ndarray, Any]:
    x = operand(np.asarray(x), "heaviside")
    return np.asarray(np.heaviside(x, x.dtype.type(values))), None


def _backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray]:
    return (np.zeros_like(g),)


_HEAVISIDE = Operation("heaviside", _forward, _backward)


def heaviside(input: Any, values: float = 1.0) -> Any:
    """0 where x < 0, 1 where x > 0, `values` at 0; NaN propagates.

    Parameters
    ----------
    input : array or Tensor of float32 or float64
    values : number
        At 0. PyTorch has no default; here it is that of the courses, H(0) = 1.

    Returns
    -------
    array or Tensor of the same shape

    Notes
    -----
    The gradient is 0 everywhere (at 0 there is none): a step learns by the perceptron's rule, not by gradients. For -1 and 1, take 2 H - 1.

    Examples
    --------
    >>> heaviside(np.array([-2.0, 0.0, 3.0])), heaviside(np.array([0.0]), 0.5)
    (array([0., 1., 1.]), array([0.5]))
    """
    return apply(_HEAVISIDE, (input,), float(values))
