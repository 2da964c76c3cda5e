"""Activations with a parameter per channel, learned, or per element, drawn: prelu, learned swish; rrelu."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.core import empty_like, select
from lamella.functional._broadcast import arithmetic, total
from lamella.functional.activation import forms_of, leaky_relu
from lamella.layout import dense, like, operand, same_dtype
from lamella.problems import ActivationProblem
from lamella.random import uniform
from lamella.tensor import Operation, apply


def _operands(name: str, x: Any, w: Any) -> tuple[np.ndarray, np.ndarray]:
    """The input, and the parameter so that it broadcasts along axis 1."""
    x, w = operand(np.asarray(x), name), operand(np.asarray(w), name, "weight")
    same_dtype(name, input=x, weight=w)
    channels = x.shape[1] if x.ndim > 1 else 1
    if w.ndim > 1 or w.size not in (1, channels):
        raise ValueError(f"{name}: expected weight of 1 element, or of {channels}, one per channel of input {x.shape}; got shape {w.shape}")
    return x, w.reshape(()) if w.size == 1 else w.reshape(-1, *(1,) * (x.ndim - 2))


def _by_channel(dw: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of a parameter of `shape`, from that of its every use."""
    axes = tuple(i for i in range(dw.ndim) if i != 1 or shape in ((), (1,)))
    return np.asarray(total(dw, axes, False)).reshape(shape)


def _relu(pass_: str, *arrays: np.ndarray) -> np.ndarray:
    """A pass of relu, by its kernel; of dense arrays of one memory order."""
    x, out = arrays[0], empty_like(arrays[0])
    p = ActivationProblem.of(x.size, x.dtype, "relu")
    select("activation", pass_, p)(p, *arrays, out)
    return out


def _prelu_forward(x: Any, weight: Any) -> tuple[np.ndarray, Any]:
    x, w = _operands("prelu", x, weight)
    x = dense(x)
    with np.errstate(all="ignore"):
        negative = np.asarray(np.minimum(x, 0))
        np.multiply(negative, w, out=negative)
        out = _relu("forward", x)
        out += negative
    return out, (x, w, np.shape(weight))


def _prelu_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
    x, w, shape = saved
    g = like(g, x)
    with np.errstate(all="ignore"):
        dx = _relu("backward", g, x)  # g where x > 0; the difference from g is exact
        rest = arithmetic("sub", g, dx)
        if needs[0]:
            dx += rest * w
        dw = _by_channel(arithmetic("mul", rest, x), shape) if needs[1] else None
    return dx if needs[0] else None, dw


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)), x.dtype)


def _swish_forward(x: Any, beta: Any) -> tuple[np.ndarray, Any]:
    x, b = _operands("swish", x, beta)
    with np.errstate(all="ignore"):
        s = _sigmoid(np.asarray(x * b))
        return np.asarray(x * s), (x, b, s, np.shape(beta))


def _swish_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
    x, b, s, shape = saved
    with np.errstate(all="ignore"):
        rest = np.asarray(x * s * (1 - s))  # the derivative by beta is x times this, that by x is s + beta times this
        dx = np.asarray(g * (s + b * rest)) if needs[0] else None
        return dx, _by_channel(g * x * rest, shape) if needs[1] else None


def _rrelu_forward(x: Any, lower: float, upper: float) -> tuple[np.ndarray, Any]:
    x = operand(np.asarray(x), "rrelu")
    slopes = uniform(x.shape).astype(x.dtype, copy=False)
    slopes *= x.dtype.type(upper - lower)
    slopes += x.dtype.type(lower)
    positive = (x > 0).astype(x.dtype)  # a choice by arithmetic: one by a random mask is 30 times slower
    slopes *= 1 - positive
    slopes += positive
    return np.asarray(x * slopes), slopes


def _rrelu_backward(slopes: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray]:
    return (np.asarray(g * slopes),)


_PRELU = Operation("prelu", _prelu_forward, _prelu_backward)
_SWISH = Operation("swish", _swish_forward, _swish_backward)
_RRELU = forms_of("rrelu", _rrelu_forward, _rrelu_backward)


def prelu(input: Any, weight: Any) -> Any:
    """x where x > 0, else weight * x, with a weight that is learned.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, (N, C, ...) or any shape for a single weight
    weight : array or Tensor of one element, or of C

    Returns
    -------
    array or Tensor of the same shape

    Raises
    ------
    ValueError
        Weights that are neither one nor one per channel.
    TypeError
        Input and weight differ in dtype.

    Notes
    -----
    The gradient of a weight is the sum of g * min(x, 0) over its channel.

    References
    ----------
    He et al., Delving deep into rectifiers, arXiv:1502.01852.

    Examples
    --------
    >>> prelu(np.array([[-1.0, 2.0], [3.0, -4.0]]), np.array([0.25, 0.5]))
    array([[-0.25,  2.  ],
           [ 3.  , -2.  ]])
    """
    return apply(_PRELU, (input, weight))


def learned_swish(input: Any, beta: Any) -> Any:
    """`swish` with a beta that is learned: one, or one per channel."""
    return apply(_SWISH, (input, beta))


def rrelu(input: Any, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False) -> Any:
    """Leaky ReLU with slopes drawn, in training, for every element anew; otherwise with the mean of the two limits.

    Parameters
    ----------
    input : array or Tensor of float32 or float64
    lower, upper : float
        Between which slopes are uniform.
    training : bool
    inplace : bool
        As in `relu`.

    Returns
    -------
    array or Tensor of the same shape

    Raises
    ------
    ValueError
        lower > upper.

    Notes
    -----
    The slopes are one draw from lamella's random state; they depend on the shape, not on memory order, dtype or threads.

    References
    ----------
    Xu et al., Empirical evaluation of rectified activations, arXiv:1505.00853.

    Examples
    --------
    >>> rrelu(np.array([-1.0, 2.0]), 0.25, 0.75)
    array([-0.5,  2. ])
    """
    if lower > upper:
        raise ValueError(f"rrelu: lower bound should be less than or equal to the upper bound, got {lower} and {upper}")
    if training:
        return _RRELU(input, inplace, float(lower), float(upper))
    return leaky_relu(input, (lower + upper) / 2, inplace)


def rrelu_(input: Any, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False) -> Any:
    """`rrelu` in place.

    Parameters
    ----------
    input : array or Tensor of float32 or float64
    lower, upper : float
    training : bool

    Examples
    --------
    >>> x = np.array([-1.0, 2.0])
    >>> rrelu_(x, 0.25, 0.75) is x, x
    (True, array([-0.5,  2. ]))
    """
    return rrelu(input, lower, upper, training, True)
