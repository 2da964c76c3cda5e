"""Arithmetic, element by element: large arrays of one shape by our kernels, on all threads; the rest by NumPy's ufuncs.

Operands broadcast; the gradient of one that did is summed back to its shape. A result is channels-last when an operand is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.functional._broadcast import alike, arithmetic, binary, number, pair, unary, unbroadcast
from lamella.functional.activation import before_activation, relu
from lamella.layout import FLOATS, operand
from lamella.problems import ArithmeticProblem
from lamella.tensor import Operation, Tensor, apply

__all__ = ["abs", "add", "clamp", "div", "exp", "log", "maximum", "minimum", "mul", "neg", "pow", "sqrt", "sub", "where"]

Gradients = tuple[np.ndarray | None, ...]


def _shape(x: Any) -> tuple[int, ...]:
    return x.shape if type(x) is np.ndarray else ()


def _scaled(operation: str, y: Any, alpha: float) -> Any:
    return y if alpha == 1 else binary(operation, np.multiply, *pair(operation, y, alpha))


# add, sub


def _add_forward(x: Any, y: Any, alpha: float) -> tuple[np.ndarray, Any]:
    x, y = pair("add", x, y)
    return binary("add", np.add, x, _scaled("add", y, alpha)), (_shape(x), _shape(y), alpha)


def _sub_forward(x: Any, y: Any, alpha: float) -> tuple[np.ndarray, Any]:
    x, y = pair("sub", x, y)
    return binary("sub", np.subtract, x, _scaled("sub", y, alpha)), (_shape(x), _shape(y), -alpha)


def _add_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> Gradients:
    x_shape, y_shape, alpha = saved
    dx = unbroadcast(g, x_shape) if needs[0] else None
    dy = unbroadcast(g, y_shape) if needs[1] else None
    if dy is not None and alpha != 1:
        dy = unary(np.negative, dy) if alpha == -1 else np.asarray(dy * g.dtype.type(alpha))
    return dx, dy


def _add_relu_forward(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, Any]:
    out = arithmetic("add", x, y, "relu")
    return out, (ArithmeticProblem.of(out.size, out.dtype, "add", "relu"), out)


def _add_relu_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> Gradients:
    p, out = saved
    d = before_activation(p, out, g)
    return d, d


_ADD_RELU = Operation("add", _add_relu_forward, _add_relu_backward)
_ADD = Operation("add", _add_forward, _add_backward)
_SUB = Operation("sub", _sub_forward, _add_backward)


def add(input: Any, other: Any, *, alpha: float = 1, activation: str = "none") -> Any:
    """input + alpha * other; then, if asked, ReLU.

    Parameters
    ----------
    input, other : array, Tensor or number
        Shapes broadcast.
    alpha : float
    activation : {"none", "relu"}
        Applied to the sum; in the same pass where the two have one shape and memory order, as at the end of a residual block.

    Returns
    -------
    array or Tensor

    Raises
    ------
    ValueError
        The shapes do not broadcast; an activation that is not known.
    TypeError
        float32 meets float64. (Python numbers, single elements, integers and booleans take the dtype of the other operand.)

    Examples
    --------
    >>> add(np.array([1.0, 2.0]), 10)
    array([11., 12.])
    >>> add(np.array([1.0, 2.0]), np.array([1.0, -3.0]), activation="relu")
    array([2., 0.])
    """
    if activation == "none":
        return apply(_ADD, (input, other), alpha)
    ArithmeticProblem.of(0, np.dtype(np.float32), "add", activation)  # refuses what it does not know
    arrays = (x.data if isinstance(x, Tensor) else x for x in (input, other))
    return apply(_ADD_RELU, (input, other)) if alpha == 1 and alike(*arrays) else relu(apply(_ADD, (input, other), alpha))


def sub(input: Any, other: Any, *, alpha: float = 1) -> Any:
    """input - alpha * other; otherwise as `add`.

    Parameters
    ----------
    input, other : array, Tensor or number
    alpha : float

    Examples
    --------
    >>> sub(np.array([1.0, 2.0]), np.array([[1.0], [2.0]]))
    array([[ 0.,  1.],
           [-1.,  0.]])
    """
    return apply(_SUB, (input, other), alpha)


# mul, div


# an operand is kept only where the other is an array: beside a number it has no use, and may be changed in place


def _mul_forward(x: Any, y: Any) -> tuple[np.ndarray, Any]:
    x, y = pair("mul", x, y)
    kept = (x if type(y) is np.ndarray else None, y if type(x) is np.ndarray else None)
    return binary("mul", np.multiply, x, y), (*kept, _shape(x), _shape(y))


def _mul_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> Gradients:
    x, y, x_shape, y_shape = saved
    return (
        unbroadcast(binary("mul", np.multiply, g, y), x_shape) if needs[0] else None,
        unbroadcast(binary("mul", np.multiply, g, x), y_shape) if needs[1] else None,
    )


def _div_forward(x: Any, y: Any) -> tuple[np.ndarray, Any]:
    x, y = pair("div", x, y)
    out = binary("div", np.divide, x, y)
    if not any(type(operand) is np.ndarray and operand.dtype.kind == "f" for operand in (x, y)):
        out = out.astype(np.float32)
    return out, (x if type(y) is np.ndarray else None, y, _shape(x), _shape(y))


def _div_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> Gradients:
    x, y, x_shape, y_shape = saved
    dx = binary("div", np.divide, g, y)
    dy = unary(np.negative, binary("div", np.multiply, dx, binary("div", np.divide, x, y))) if needs[1] else None
    return unbroadcast(dx, x_shape) if needs[0] else None, None if dy is None else unbroadcast(dy, y_shape)


_MUL = Operation("mul", _mul_forward, _mul_backward)
_DIV = Operation("div", _div_forward, _div_backward)


def mul(input: Any, other: Any) -> Any:
    """input * other; operands as in `add`.

    Parameters
    ----------
    input, other : array, Tensor or number

    Examples
    --------
    >>> mul(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    array([3., 8.])
    """
    return apply(_MUL, (input, other))


def div(input: Any, other: Any) -> Any:
    """input / other; operands as in `add`. Integers divide into float32; division by zero gives inf or NaN.

    Parameters
    ----------
    input, other : array, Tensor or number

    Examples
    --------
    >>> div(np.array([1.0, 2.0]), 4)
    array([0.25, 0.5 ])
    """
    return apply(_DIV, (input, other))


# pow


def _power(x: Any, y: Any) -> np.ndarray:
    if not isinstance(y, np.ndarray) and y == 2:
        return unary(np.square, x)
    return binary("pow", np.power, x, y)


def _pow_forward(x: Any, y: Any) -> tuple[np.ndarray, Any]:
    x, y = pair("pow", x, y)
    out = _power(x, y)
    return out, (x, y, out)


def _pow_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> Gradients:
    x, y, out = saved
    dx = dy = None
    if needs[0]:
        if isinstance(y, np.ndarray):
            slope = binary("pow", np.multiply, _power(x, binary("pow", np.subtract, y, 1)), y)
            dx = np.where(y == 0, g.dtype.type(0), binary("pow", np.multiply, g, slope))
        elif y == 0:
            dx = np.zeros_like(g)
        else:
            dx = binary("pow", np.multiply, g, binary("pow", np.multiply, x if y == 2 else _power(x, y - 1), y))
        dx = unbroadcast(dx, _shape(x))
    if needs[1]:
        with np.errstate(all="ignore"):
            slope = np.where((np.asarray(x) == 0) & (np.asarray(y) >= 0), g.dtype.type(0), out * np.log(np.asarray(x, g.dtype)))
        dy = unbroadcast(binary("pow", np.multiply, g, slope), _shape(y))
    return dx, dy


_POW = Operation("pow", _pow_forward, _pow_backward)


def pow(input: Any, exponent: Any) -> Any:
    """input ** exponent; operands as in `add`.

    Parameters
    ----------
    input, exponent : array, Tensor or number

    Examples
    --------
    >>> pow(np.array([1.0, 2.0, 3.0]), 2)
    array([1., 4., 9.])
    """
    return apply(_POW, (input, exponent))


# of one operand: the forward function, and the derivative from input and output


def _unary(name: str, function: Any, derivative: Any, saves_input: bool, floats: bool = True) -> Operation:
    def forward(x: Any) -> tuple[np.ndarray, Any]:
        x = np.asarray(x)
        if x.dtype.kind in "iub":
            x = x.astype(np.float32) if floats else x
        else:
            x = operand(x, name)
        out = unary(function, x)
        return out, x if saves_input else out

    def backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> Gradients:
        with np.errstate(all="ignore"):
            return (np.asarray(derivative(g, saved)),)

    return Operation(name, forward, backward)


_NEG = _unary("neg", np.negative, lambda g, out: np.negative(g), False, floats=False)
_EXP = _unary("exp", np.exp, lambda g, out: g * out, False)
_LOG = _unary("log", np.log, lambda g, x: g / x, True)
_SQRT = _unary("sqrt", np.sqrt, lambda g, out: g / (out + out), False)
_ABS = _unary("abs", np.absolute, lambda g, x: g * np.sign(x), True, floats=False)


def neg(input: Any) -> Any:
    """-input.

    Parameters
    ----------
    input : array or Tensor

    Examples
    --------
    >>> neg(np.array([1.0, -2.0]))
    array([-1.,  2.])
    """
    return apply(_NEG, (input,))


def exp(input: Any) -> Any:
    """e to the power of every element; overflow gives inf.

    Parameters
    ----------
    input : array or Tensor

    Examples
    --------
    >>> exp(np.array([0.0, 1.0]))
    array([1.        , 2.71828183])
    """
    return apply(_EXP, (input,))


def log(input: Any) -> Any:
    """The natural logarithm; -inf of 0, NaN of a negative number.

    Parameters
    ----------
    input : array or Tensor

    Examples
    --------
    >>> log(np.array([1.0, 0.0]))
    array([  0., -inf])
    """
    return apply(_LOG, (input,))


def sqrt(input: Any) -> Any:
    """The square root; NaN of a negative number.

    Parameters
    ----------
    input : array or Tensor

    Examples
    --------
    >>> sqrt(np.array([4.0, 9.0]))
    array([2., 3.])
    """
    return apply(_SQRT, (input,))


def abs(input: Any) -> Any:
    """The absolute value; its derivative at 0 is 0.

    Parameters
    ----------
    input : array or Tensor

    Examples
    --------
    >>> abs(np.array([-1.0, 2.0]))
    array([1., 2.])
    """
    return apply(_ABS, (input,))


# maximum, minimum, clamp, where


def _extremum(name: str, ufunc: Any, loses: Any) -> Operation:
    def forward(x: Any, y: Any) -> tuple[np.ndarray, Any]:
        x, y = pair(name, x, y)
        return binary(name, ufunc, x, y), (x, y)

    def backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> Gradients:
        x, y = saved
        shared = np.where(np.equal(x, y), g * g.dtype.type(0.5), g)
        return (
            unbroadcast(np.where(loses(x, y), g.dtype.type(0), shared), _shape(x)) if needs[0] else None,
            unbroadcast(np.where(loses(y, x), g.dtype.type(0), shared), _shape(y)) if needs[1] else None,
        )

    return Operation(name, forward, backward)


_MAXIMUM = _extremum("maximum", np.maximum, np.less)
_MINIMUM = _extremum("minimum", np.minimum, np.greater)


def maximum(input: Any, other: Any) -> Any:
    """The larger of two, element by element; NaN propagates; equal elements share the gradient.

    Parameters
    ----------
    input, other : array, Tensor or number
        As in `add`.

    Examples
    --------
    >>> maximum(np.array([1.0, 5.0]), np.array([3.0, 4.0]))
    array([3., 5.])
    """
    return apply(_MAXIMUM, (input, other))


def minimum(input: Any, other: Any) -> Any:
    """The smaller of two, element by element; NaN propagates; equal elements share the gradient.

    Parameters
    ----------
    input, other : array, Tensor or number
        As in `add`.

    Examples
    --------
    >>> minimum(np.array([1.0, 5.0]), np.array([3.0, 4.0]))
    array([1., 4.])
    """
    return apply(_MINIMUM, (input, other))


def _clamp_forward(x: Any, low: float | None, high: float | None) -> tuple[np.ndarray, Any]:
    x = np.asarray(x)
    if x.dtype.kind not in "iub":
        x = operand(x, "clamp")
    out = x
    if low is not None:
        out = binary("clamp", np.maximum, *pair("clamp", out, low))
    if high is not None:
        out = binary("clamp", np.minimum, *pair("clamp", out, high))
    return out, (x, low, high)


def _clamp_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> Gradients:
    x, low, high = saved
    inside = np.ones_like(x, dtype=bool)
    if low is not None:
        inside &= x >= low
    if high is not None:
        inside &= x <= high
    return (np.where(inside, g, g.dtype.type(0)),)


_CLAMP = Operation("clamp", _clamp_forward, _clamp_backward)


def clamp(input: Any, min: float | None = None, max: float | None = None) -> Any:
    """Elements below `min` become min, those above `max` become max.

    Parameters
    ----------
    input : array or Tensor
    min, max : number, optional
        At least one of them.

    Examples
    --------
    >>> clamp(np.array([-2.0, 0.5, 2.0]), -1, 1)
    array([-1. ,  0.5,  1. ])
    """
    for name, bound in (("min", min), ("max", max)):
        if bound is not None and not isinstance(bound, (int, float, np.number)):
            raise TypeError(f"clamp: expected {name} to be a number, got {type(bound).__name__}; use maximum and minimum for arrays")
    if min is None and max is None:
        raise ValueError("clamp: expected min or max or both")
    return apply(_CLAMP, (input,), min, max)


def _where_forward(condition: Any, x: Any, y: Any) -> tuple[np.ndarray, Any]:
    condition = np.asarray(condition)
    if condition.dtype != np.bool_:
        raise TypeError(f"where: expected a boolean condition, got {condition.dtype}; compare first, e.g. x > 0")
    x, y = pair("where", x, y)
    try:
        return np.where(condition, x, y), (condition, _shape(x), _shape(y))
    except ValueError:
        raise ValueError(f"where: shapes {condition.shape}, {np.shape(x)} and {np.shape(y)} do not broadcast") from None


def _where_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> Gradients:
    condition, x_shape, y_shape = saved
    zero = g.dtype.type(0)
    return (
        None,
        unbroadcast(np.where(condition, g, zero), x_shape) if needs[1] else None,
        unbroadcast(np.where(condition, zero, g), y_shape) if needs[2] else None,
    )


_WHERE = Operation("where", _where_forward, _where_backward)


def where(condition: Any, input: Any, other: Any) -> Any:
    """`input` where the condition holds, else `other`.

    Parameters
    ----------
    condition : boolean array or Tensor
    input, other : array, Tensor or number
        As in `add`.

    Examples
    --------
    >>> where(np.array([True, False]), np.array([1.0, 2.0]), 0)
    array([1., 0.])
    """
    return apply(_WHERE, (condition, input, other))


# comparisons and logic: no gradient


def compare(ufunc: Any, x: Any, y: Any, dtype: Any = np.bool_) -> Any:
    """A ufunc whose result is not differentiable, through the door (as a Tensor where one goes in)."""
    return apply(_COMPARE, (x, y), ufunc, dtype)


def _compare_forward(x: Any, y: Any, ufunc: Any, dtype: Any) -> tuple[np.ndarray, Any]:
    name = ufunc.__name__
    return binary(name, ufunc, number(x, name, "input"), number(y, name, "other"), dtype), None


def _no_gradient(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> Gradients:
    return None, None


_COMPARE = Operation("compare", _compare_forward, _no_gradient)


# dtype and memory


def _to_forward(x: Any, dtype: np.dtype, copy: bool) -> tuple[np.ndarray, Any]:
    return x.astype(dtype, order="K", copy=copy), x.dtype


def _to_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> Gradients:
    return (g.astype(saved, order="K", copy=False),)


_TO = Operation("to", _to_forward, _to_backward)


def to(input: Any, dtype: Any, copy: bool = False) -> Any:
    """The same numbers in another dtype; the gradient returns in the old one."""
    dtype = np.dtype(dtype)
    if dtype.kind not in "fiub" or (dtype.kind == "f" and dtype not in FLOATS):
        raise TypeError(f"to: expected float32, float64, an integer type or bool, got {dtype}")
    if input.dtype == dtype and not copy:
        return input
    return apply(_TO, (input,), dtype, copy)


def _contiguous_forward(x: Any) -> tuple[np.ndarray, Any]:
    return np.array(x, order="C"), None


def _contiguous_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> Gradients:
    return (g,)


_CONTIGUOUS = Operation("contiguous", _contiguous_forward, _contiguous_backward)


def contiguous(input: Any) -> Any:
    """The same Tensor in C-contiguous memory: itself where it is."""
    return input if input.data.flags.c_contiguous else apply(_CONTIGUOUS, (input,))
