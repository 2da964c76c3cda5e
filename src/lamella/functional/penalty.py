"""l1_penalty, l2_penalty: what a regularised loss adds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from lamella.functional.elementwise import abs, add, mul
from lamella.functional.reduce import sum as total


def _over(parameters: Any, function: Any) -> Any:
    result: Any = None
    for parameter in [parameters] if hasattr(parameters, "dtype") else parameters:
        part = total(function(parameter))
        result = part if result is None else add(result, part)
    return np.asarray(0.0, np.float32) if result is None else result


def l1_penalty(parameters: Iterable[Any]) -> Any:
    """The sum of absolute values: LASSO. Its slope at 0 is 0.

    Parameters
    ----------
    parameters : arrays or Tensors of one dtype

    Returns
    -------
    array or Tensor of one element

    Examples
    --------
    >>> l1_penalty([np.array([1.0, -2.0]), np.array([3.0])])
    array(6.)
    """
    return _over(parameters, abs)


def l2_penalty(parameters: Iterable[Any], half: bool = False) -> Any:
    """The sum of squares: ridge, Tikhonov.

    Parameters
    ----------
    parameters : arrays or Tensors of one dtype
    half : bool
        Half of it, whose gradient is the parameter itself, as an optimizer's weight_decay has it; without, the gradient is twice that.

    Returns
    -------
    array or Tensor of one element

    Examples
    --------
    >>> l2_penalty([np.array([1.0, -2.0])]), l2_penalty([np.array([1.0, -2.0])], half=True)
    (array(5.), array(2.5))
    """
    squares = _over(parameters, lambda w: mul(w, w))
    return mul(squares, 0.5) if half else squares
