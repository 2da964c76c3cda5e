"""gaussian_nll_loss, poisson_nll_loss, kl_div: losses that are distances between distributions."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from lamella.functional._pointwise import pointwise, reduction_of
from lamella.functional.softmax import as_operand
from lamella.tensor import apply


def _gaussian(x: np.ndarray, t: np.ndarray, var: np.ndarray, full: bool, eps: float) -> tuple[Any, Any]:
    if (var < 0).any():
        raise ValueError(
            f"gaussian_nll_loss: expected no negative variance, got {var.min()}; let the network predict its logarithm, or softplus"
        )
    v = np.maximum(var, var.dtype.type(eps))
    d = x - t
    loss = 0.5 * (np.log(v) + d * d / v)
    return loss + 0.5 * math.log(2 * math.pi) if full else loss, (d, v)


def _gaussian_slopes(kept: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    d, v = kept
    dx = d / v
    return dx, -dx if needs[1] else None, 0.5 * (1 / v - dx * dx) if needs[2] else None


def _poisson(x: np.ndarray, t: np.ndarray, log_input: bool, full: bool, eps: float) -> tuple[Any, Any]:
    loss = np.exp(x) - t * x if log_input else x - t * np.log(x + eps)
    if full:
        loss = loss + np.where(t > 1, t * np.log(t) - t + 0.5 * np.log(2 * math.pi * t), 0)
    return loss, (x, t, log_input, full, eps)


def _poisson_slopes(kept: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    x, t, log_input, full, eps = kept
    dx = np.exp(x) - t if log_input else 1 - t / (x + eps)
    dt = None
    if needs[1]:
        dt = -x if log_input else -np.log(x + eps)
        if full:
            dt = dt + np.where(t > 1, np.log(t) + 0.5 / t, 0)
    return dx, dt


def _kl(x: np.ndarray, t: np.ndarray, log_target: bool) -> tuple[Any, Any]:
    if log_target:
        loss = np.exp(t) * (t - x)
    else:
        loss = np.where(t == 0, 0, t * np.log(t)) - t * x
    return loss, (x, t, log_target)


def _kl_slopes(kept: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    x, t, log_target = kept
    if log_target:
        p = np.exp(t)
        return -p, p * (t - x + 1) if needs[1] else None
    return -t, np.log(t) + 1 - x if needs[1] else None


_GAUSSIAN = pointwise("gaussian_nll_loss", ("input", "target", "var"), _gaussian, _gaussian_slopes)
_POISSON = pointwise("poisson_nll_loss", ("input", "target"), _poisson, _poisson_slopes)
_KL = pointwise("kl_div", ("input", "target"), _kl, _kl_slopes)


def gaussian_nll_loss(input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> Any:
    """Minus the log-likelihood of normal distributions: (log var + (input - target)^2 / var) / 2.

    With a constant variance it is the squared loss; a network that predicts the variance as well learns how sure it is.

    Parameters
    ----------
    input : array or Tensor of float32 or float64
        The means.
    target : array of the input's shape and dtype
    var : array, Tensor or number
        The variances: of the input's shape, or without its last axis, or with one axis of size 1.
    full : bool
        Add the constant log(2 pi) / 2.
    eps : float
        Smaller variances count as eps (the gradient passes through).
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    array or Tensor, shape () or, with reduction="none", the input's

    Raises
    ------
    ValueError
        A negative variance; a variance of another shape; an eps that is not positive; a wrong reduction.
    TypeError
        Mixed dtypes, or neither float32 nor float64.

    References
    ----------
    Nix and Weigend, Estimating the mean and variance of the target probability distribution, ICNN 1994.

    Examples
    --------
    >>> gaussian_nll_loss(np.array([1.0, 1.0]), np.array([1.0, 3.0]), np.array([1.0, 4.0]), reduction="none").round(4)
    array([0.    , 1.1931])
    """
    reduction = reduction_of("gaussian_nll_loss", reduction)
    if not eps > 0:
        raise ValueError(f"gaussian_nll_loss: eps must be positive, got {eps}")
    input, target = as_operand(input), as_operand(target)
    if isinstance(var, (int, float)):
        var = np.full(input.shape, var, input.dtype)
    var = as_operand(var)
    if var.shape != input.shape:
        if var.shape == input.shape[:-1]:
            var = var.reshape((*var.shape, 1))
        elif var.ndim != input.ndim or [n for n, m in zip(var.shape, input.shape) if n != m] != [1]:
            raise ValueError(
                f"gaussian_nll_loss: expected var of shape {input.shape}, {input.shape[:-1]}, or {input.shape} with a 1 in it, got {var.shape}"
            )
    return apply(_GAUSSIAN, (input, target, var), reduction, bool(full), float(eps))


def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Minus the log-likelihood of counts: exp(x) - t x, for the logarithm x of the expected count.

    Parameters
    ----------
    input : array or Tensor of float32 or float64
        The logarithm of the rate; with log_input=False the rate itself, whose loss is x - t log(x + eps).
    target : array of the input's shape and dtype
        Counts.
    log_input : bool
    full : bool
        Add Stirling's approximation of log(t!), for t > 1: t log t - t + log(2 pi t) / 2.
    eps : float
    reduction : {"mean", "sum", "none"}
    size_average, reduce
        Deprecated in PyTorch; use reduction.

    Returns
    -------
    array or Tensor, shape () or, with reduction="none", the broadcast shape

    Raises
    ------
    ValueError
        The shapes do not broadcast; a wrong reduction.
    TypeError
        Mixed dtypes, or neither float32 nor float64.

    Examples
    --------
    >>> poisson_nll_loss(np.log([2.0, 3.0]), np.array([2.0, 0.0]), reduction="none").round(4)
    array([0.6137, 3.    ])
    """
    reduction = reduction_of("poisson_nll_loss", reduction, size_average, reduce)
    return apply(_POISSON, (as_operand(input), as_operand(target)), reduction, bool(log_input), bool(full), float(eps))


def kl_div(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Any:
    """The Kullback-Leibler divergence of a model from a target, element by element: t (log t - x).

    Parameters
    ----------
    input : array or Tensor of float32 or float64
        Log-probabilities of the model.
    target : array that broadcasts with it, of its dtype
        Probabilities, or with log_target=True their logarithms.
    reduction : {"mean", "batchmean", "sum", "none"}
        "batchmean" divides by the size of the first axis, and is the divergence of the formula; "mean" divides by the number of elements.
    log_target : bool
    size_average, reduce
        Deprecated in PyTorch; use reduction.

    Returns
    -------
    array or Tensor, shape () or, with reduction="none", the broadcast shape

    Raises
    ------
    ValueError
        The shapes do not broadcast; a wrong reduction.
    TypeError
        Mixed dtypes, or neither float32 nor float64.

    Examples
    --------
    >>> model, truth = np.array([[0.5, 0.5]]), np.array([[0.25, 0.75]])
    >>> kl_div(np.log(model), truth, reduction="batchmean").round(4)
    np.float64(0.1308)
    """
    batch_mean = reduction == "batchmean" and size_average is None and reduce is None
    reduction = "sum" if batch_mean else reduction_of("kl_div", reduction, size_average, reduce)
    input, target = as_operand(input), as_operand(target)
    if reduction == "mean" and input.ndim > 1:
        warnings.warn(
            "kl_div: reduction='mean' divides by the number of elements, which is not the divergence; 'batchmean' is", stacklevel=2
        )
    loss = apply(_KL, (input, target), reduction, bool(log_target))
    if not batch_mean:
        return loss
    with np.errstate(all="ignore"):
        return loss / (input.shape[0] if input.ndim else 1)
