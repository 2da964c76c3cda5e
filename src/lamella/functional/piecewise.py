"""Activations made of straight pieces (and hardswish, of a parabola between two): hardtanh, relu6, threshold, hardshrink, softshrink, hardsigmoid."""

from __future__ import annotations

from typing import Any

from lamella.functional.activation import forms

_HARDTANH, _THRESHOLD, _HARDSHRINK, _SOFTSHRINK, _HARDSIGMOID, _HARDSWISH = (
    forms(name) for name in ("hardtanh", "threshold", "hardshrink", "softshrink", "hardsigmoid", "hardswish")
)
_RELU6 = forms("hardtanh", "relu6")


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """min(max(x, min_val), max_val), elementwise; the derivative is 1 strictly between, else 0.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)
    min_val, max_val : float
    inplace : bool
        As in `relu`.

    Returns
    -------
    array or Tensor of the same shape

    Raises
    ------
    ValueError
        min_val > max_val.

    Notes
    -----
    `clamp` does the same forward; its derivative is 1 at the limits too.

    Examples
    --------
    >>> hardtanh(np.array([-2.0, 0.5, 2.0]))
    array([-1. ,  0.5,  1. ])
    """
    if min_val > max_val:
        raise ValueError(f"hardtanh: expected min_val <= max_val, got {min_val} and {max_val}")
    return _HARDTANH(input, inplace, float(min_val), float(max_val))


def hardtanh_(input: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """`hardtanh` in place.

    Parameters
    ----------
    input : array or Tensor of float32 or float64
    min_val, max_val : float

    Examples
    --------
    >>> x = np.array([-2.0, 0.5])
    >>> hardtanh_(x) is x, x
    (True, array([-1. ,  0.5]))
    """
    return hardtanh(input, min_val, max_val, inplace=True)


def relu6(input: Any, inplace: bool = False) -> Any:
    """min(max(x, 0), 6), elementwise: ReLU for arithmetic of few bits.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)
    inplace : bool
        As in `relu`.

    Returns
    -------
    array or Tensor of the same shape

    References
    ----------
    Howard et al., MobileNets, arXiv:1704.04861.

    Examples
    --------
    >>> relu6(np.array([-1.0, 3.0, 8.0]))
    array([0., 3., 6.])
    """
    return _RELU6(input, inplace, 0.0, 6.0)


def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    """x where x > threshold, else value; the derivative is 1 or 0.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)
    threshold, value : float
    inplace : bool
        As in `relu`.

    Returns
    -------
    array or Tensor of the same shape

    Examples
    --------
    >>> threshold(np.array([0.1, 1.0]), 0.5, -1)
    array([-1.,  1.])
    """
    return _THRESHOLD(input, inplace, float(threshold), float(value))


def threshold_(input: Any, threshold: float, value: float) -> Any:
    """`threshold` in place.

    Parameters
    ----------
    input : array or Tensor of float32 or float64
    threshold, value : float

    Examples
    --------
    >>> x = np.array([0.1, 1.0])
    >>> threshold_(x, 0.5, -1) is x, x
    (True, array([-1.,  1.]))
    """
    return _THRESHOLD(input, True, float(threshold), float(value))


def hardshrink(input: Any, lambd: float = 0.5) -> Any:
    """0 in [-lambd, lambd], else x.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)
    lambd : float

    Returns
    -------
    array or Tensor of the same shape

    Examples
    --------
    >>> hardshrink(np.array([-1.0, 0.3]))
    array([-1.,  0.])
    """
    return _HARDSHRINK(input, False, float(lambd))


def softshrink(input: Any, lambd: float = 0.5) -> Any:
    """x moved by lambd towards 0; 0 within lambd of it.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)
    lambd : float
        Not negative.

    Returns
    -------
    array or Tensor of the same shape

    Raises
    ------
    ValueError
        lambd is negative.

    Examples
    --------
    >>> softshrink(np.array([-1.0, 0.3]))
    array([-0.5,  0. ])
    """
    if lambd < 0:
        raise ValueError(f"softshrink: lambda must be greater or equal to 0, but found to be {lambd}")
    return _SOFTSHRINK(input, False, float(lambd))


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """min(max(x + 3, 0), 6) / 6: a sigmoid of three straight pieces.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)
    inplace : bool
        As in `relu`.

    Returns
    -------
    array or Tensor of the same shape

    Notes
    -----
    Others (ONNX, older Keras) take 0.2 x + 0.5 between -2.5 and 2.5: ``hardtanh(0.2 * x + 0.5, 0, 1)``.

    Examples
    --------
    >>> hardsigmoid(np.array([-3.0, 0.0, 3.0]))
    array([0. , 0.5, 1. ])
    """
    return _HARDSIGMOID(input, inplace)


def hardswish(input: Any, inplace: bool = False) -> Any:
    """x min(max(x + 3, 0), 6) / 6: SiLU with a sigmoid of straight pieces.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)
    inplace : bool
        As in `relu`.

    Returns
    -------
    array or Tensor of the same shape

    References
    ----------
    Howard et al., Searching for MobileNetV3, arXiv:1905.02244.

    Examples
    --------
    >>> hardswish(np.array([-4.0, 1.5, 4.0]))
    array([-0.   ,  1.125,  4.   ])
    """
    return _HARDSWISH(input, inplace)
