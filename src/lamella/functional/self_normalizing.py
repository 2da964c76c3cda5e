"""Dropout that keeps mean and variance of a self-normalising network: alpha_dropout and feature_alpha_dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.functional.activation import forms_of
from lamella.functional.smooth import SELU_ALPHA, SELU_SCALE
from lamella.layout import operand
from lamella.random import uniform

SATURATION = -SELU_SCALE * SELU_ALPHA  # of SELU: what is dropped is set to it


def _forward(x: Any, p: float, whole: bool) -> tuple[np.ndarray, Any]:
    x = operand(np.asarray(x), "alpha_dropout")
    if p == 1:
        return np.asarray(x * x.dtype.type(0)), np.zeros((), x.dtype)
    kept = uniform((*x.shape[:2], *(1,) * (x.ndim - 2)) if whole else x.shape) >= p
    a = ((1 - p) * (1 + p * SATURATION**2)) ** -0.5
    scale = kept.astype(x.dtype)
    scale *= x.dtype.type(a)
    with np.errstate(all="ignore"):  # a (x - p s) where kept, a (s - p s) elsewhere
        out = np.asarray(x - x.dtype.type(SATURATION))
        out *= scale
        out += x.dtype.type(a * (1 - p) * SATURATION)
    return out, scale


def _backward(scale: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray]:
    return (np.asarray(g * scale),)


_ALPHA_DROPOUT = forms_of("alpha_dropout", _forward, _backward)


def _checked(name: str, input: Any, p: float, training: bool, whole: bool, inplace: bool) -> Any:
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: probability has to be between 0 and 1, but got {p}")
    if whole and input.ndim < 2:
        raise ValueError(f"{name}: expected input of (N, C, ...), got {input.ndim} axes")
    return _ALPHA_DROPOUT(input, inplace, float(p), whole) if training and p > 0 else input


def alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """Dropout for SELU: dropped elements become -1.7581, what SELU saturates to; then all are scaled and shifted so that mean 0 and variance 1 stay.

    Parameters
    ----------
    input : array or Tensor of float32 or float64
    p : float
        From 0 to 1: the share that is dropped.
    training : bool
        Otherwise the input is returned.
    inplace : bool
        As in `relu`.

    Returns
    -------
    array or Tensor of the same shape

    Raises
    ------
    ValueError
        p is no probability.

    Notes
    -----
    With s = -1.7581: out = a (x where kept, else s) - a p s, a = ((1 - p) (1 + p s^2))^(-1/2).

    References
    ----------
    Klambauer et al., Self-normalizing neural networks, arXiv:1706.02515.

    Examples
    --------
    >>> import lamella
    >>> lamella.manual_seed(0)
    >>> np.unique(alpha_dropout(np.zeros(1000), 0.2, True)).round(4)
    array([-1.2362,  0.309 ])
    """
    return _checked("alpha_dropout", input, p, training, False, inplace)


def feature_alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """`alpha_dropout` of whole channels.

    Parameters
    ----------
    input : array or Tensor (N, C, ...) of float32 or float64
    p : float
    training : bool
    inplace : bool
        As in `relu`.

    Returns
    -------
    array or Tensor of the same shape

    Examples
    --------
    >>> import lamella
    >>> lamella.manual_seed(0)
    >>> feature_alpha_dropout(np.zeros((1, 3, 2)), 0.5, True).shape
    (1, 3, 2)
    """
    return _checked("feature_alpha_dropout", input, p, training, True, inplace)
