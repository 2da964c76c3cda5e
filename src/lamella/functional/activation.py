"""relu, leaky_relu, sigmoid, tanh, gelu: one row each of the table of elementwise functions; and what makes functions of the rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lamella.core import Unary, empty_like, select
from lamella.layout import dense, like, operand
from lamella.problems import ActivationProblem
from lamella.problems.activation import FUNCTIONS
from lamella.tensor import Operation, apply, replace


class Forms(NamedTuple):
    """The two forms of an elementwise function."""

    new: Operation
    in_place: Operation

    def __call__(self, input: Any, inplace: bool, *parameters: Any) -> Any:
        return replace(self.in_place, input, *parameters) if inplace else apply(self.new, (input,), *parameters)


def forms(row: str, name: str | None = None, saves: str | None = None) -> Forms:
    """The forms of a row of FUNCTIONS; their attributes are its parameters. `saves` where it is not what the row says."""
    name = name or row

    def problem(n: int, dtype: np.dtype, a: float, b: float, c: float) -> ActivationProblem:
        return ActivationProblem.of(n, dtype, row, a, b, c)

    def converted(x: Any) -> np.ndarray:
        return dense(operand(x, name))

    unary = Unary("activation", (saves or FUNCTIONS[row].saves) == "input", problem, converted)
    return Forms(Operation(name, unary.forward, unary.backward), Operation(f"{name}_", unary.replace, unary.backward))


def forms_of(name: str, forward: Callable[..., tuple[np.ndarray, Any]], backward: Callable[..., Any]) -> Forms:
    """The forms of two functions of an Operation whose derivative does not need the input."""

    def replaced(x: Any, keep: bool, shared: bool, *attributes: Any) -> tuple[np.ndarray, Any]:
        out, saved = forward(x, *attributes)
        if shared:
            return out, saved
        x[...] = out
        return x, saved

    return Forms(Operation(name, forward, backward), Operation(f"{name}_", replaced, backward))


def before_activation(p: Any, out: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The gradient before the activation that problem p fused into `out`, dense."""
    inner = empty_like(out)
    problem = ActivationProblem.of(out.size, out.dtype, p.activation, p.slope if p.activation == "leaky_relu" else 0.0)
    select("activation", "backward", problem)(problem, like(g, out), out, inner)
    return inner


_RELU, _LEAKY_RELU, _SIGMOID, _TANH = (forms(name) for name in ("relu", "leaky_relu", "sigmoid", "tanh"))
_FALLING = forms("leaky_relu", saves="input")  # with a negative slope: then the output does not tell the sign of the input
_GELU = {"none": forms("gelu"), "tanh": forms("gelu_tanh"), "sigmoid": forms("swish", "gelu")}
QUICK = 1.702  # sigmoid(1.702 x) is near the normal distribution function


def relu(input: Any, inplace: bool = False) -> Any:
    """max(x, 0), elementwise; the derivative at 0 is 0; NaN propagates.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)
    inplace : bool
        The input itself becomes the result. Where the tape records and other Tensors look at the same memory, they keep what they see: the
        result then takes memory of its own.

    Returns
    -------
    array or Tensor of the same shape

    Raises
    ------
    RuntimeError
        In place, on a leaf that requires a gradient.

    Examples
    --------
    >>> relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    return replace(_RELU.in_place, input) if inplace else apply(_RELU.new, (input,))


def relu_(input: Any) -> Any:
    """`relu` in place.

    Parameters
    ----------
    input : array or Tensor of float32 or float64

    Examples
    --------
    >>> x = np.array([-1.0, 2.0])
    >>> relu_(x) is x, x
    (True, array([0., 2.]))
    """
    return replace(_RELU.in_place, input)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """x where x > 0, else negative_slope * x.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)
    negative_slope : float
    inplace : bool
        As in `relu`.

    Returns
    -------
    array or Tensor of the same shape

    Examples
    --------
    >>> leaky_relu(np.array([-1.0, 2.0]), 0.25)
    array([-0.25,  2.  ])
    """
    slope = float(negative_slope)
    return (_FALLING if slope < 0 else _LEAKY_RELU)(input, inplace, slope)


def leaky_relu_(input: Any, negative_slope: float = 0.01) -> Any:
    """`leaky_relu` in place.

    Parameters
    ----------
    input : array or Tensor of float32 or float64
    negative_slope : float

    Examples
    --------
    >>> x = np.array([-1.0, 2.0])
    >>> leaky_relu_(x, 0.5) is x, x
    (True, array([-0.5,  2. ]))
    """
    return leaky_relu(input, negative_slope, True)


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
    return apply(_SIGMOID.new, (input,))


def sigmoid_(input: Any) -> Any:
    """`sigmoid` in place.

    Parameters
    ----------
    input : array or Tensor of float32 or float64

    Examples
    --------
    >>> x = np.zeros(1)
    >>> sigmoid_(x) is x, x
    (True, array([0.5]))
    """
    return replace(_SIGMOID.in_place, input)


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
    return apply(_TANH.new, (input,))


def tanh_(input: Any) -> Any:
    """`tanh` in place.

    Parameters
    ----------
    input : array or Tensor of float32 or float64

    Examples
    --------
    >>> x = np.zeros(1)
    >>> tanh_(x) is x, x
    (True, array([0.]))
    """
    return replace(_TANH.in_place, input)


def gelu(input: Any, approximate: str = "none") -> Any:
    """x Phi(x), where Phi is the distribution function of the standard normal distribution.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)
    approximate : {"none", "tanh", "sigmoid"}
        "tanh": x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, as some published networks were trained with; "sigmoid":
        x sigmoid(1.702 x), the rougher one of the same paper, which PyTorch does not have.

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
        raise ValueError(f"gelu: approximate must be 'none', 'tanh' or 'sigmoid', got {approximate!r}")
    return _GELU[approximate](input, False, QUICK if approximate == "sigmoid" else 0.0)
