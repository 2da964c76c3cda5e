"""relu, leaky_relu, sigmoid, tanh, gelu: one row each."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.core import Unary, empty_like, select
from lamella.layout import dense, like, operand
from lamella.problems import ActivationProblem
from lamella.problems.activation import FUNCTIONS
from lamella.tensor import Operation, apply


def operation(name: str) -> Operation:
    """The Operation of a row of FUNCTIONS; its attribute is the slope."""

    def problem(n: int, dtype: np.dtype, slope: float) -> ActivationProblem:
        return ActivationProblem.of(n, dtype, name, slope)

    def converted(x: Any) -> np.ndarray:
        return dense(operand(x, name))

    unary = Unary("activation", FUNCTIONS[name].saves == "input", problem, converted)
    return Operation(name, unary.forward, unary.backward)


def before_activation(p: Any, out: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The gradient before the activation that problem p fused into `out`, dense."""
    inner = empty_like(out)
    problem = ActivationProblem.of(out.size, out.dtype, p.activation, p.slope if p.activation == "leaky_relu" else 0.0)
    # the sign of a leaky_relu's output is that of its input, so the output serves for all of them
    select("activation", "backward", problem)(problem, like(g, out), out, inner)
    return inner


_RELU, _LEAKY_RELU, _SIGMOID, _TANH = (operation(name) for name in ("relu", "leaky_relu", "sigmoid", "tanh"))
_GELU = {"none": operation("gelu"), "tanh": operation("gelu_tanh")}


def relu(input: Any) -> Any:
    """max(x, 0), elementwise; the derivative at 0 is 0; NaN propagates.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)

    Returns
    -------
    array or Tensor of the same shape

    Examples
    --------
    >>> relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    return apply(_RELU, (input,))


def leaky_relu(input: Any, negative_slope: float = 0.01) -> Any:
    """x where x > 0, else negative_slope * x.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)
    negative_slope : float

    Returns
    -------
    array or Tensor of the same shape

    Examples
    --------
    >>> leaky_relu(np.array([-1.0, 2.0]), 0.25)
    array([-0.25,  2.  ])
    """
    return apply(_LEAKY_RELU, (input,), float(negative_slope))


def sigmoid(input: Any) -> Any:
    """1 / (1 + exp(-x)), elementwise, without overflow for any x.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)

    Returns
    -------
    array or Tensor of the same shape

    Examples
    --------
    >>> sigmoid(np.array([0.0, -1e4]))
    array([0.5, 0. ])
    """
    return apply(_SIGMOID, (input,))


def tanh(input: Any) -> Any:
    """The hyperbolic tangent, elementwise.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)

    Returns
    -------
    array or Tensor of the same shape

    Examples
    --------
    >>> tanh(np.array([0.0]))
    array([0.])
    """
    return apply(_TANH, (input,))


def gelu(input: Any, approximate: str = "none") -> Any:
    """x Phi(x), where Phi is the distribution function of the standard normal distribution.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)
    approximate : {"none", "tanh"}
        "tanh": x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, as some published networks were trained with.

    Returns
    -------
    array or Tensor of the same shape

    Raises
    ------
    ValueError
        Another approximation.

    References
    ----------
    Hendrycks and Gimpel, Gaussian error linear units, arXiv:1606.08415.

    Examples
    --------
    >>> gelu(np.array([-1.0, 0.0, 2.0])).round(4)
    array([-0.1587,  0.    ,  1.9545])
    """
    if approximate not in _GELU:
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return apply(_GELU[approximate], (input,))
