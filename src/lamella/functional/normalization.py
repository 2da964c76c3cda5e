"""batch_norm."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.functional.activation import relu
from lamella.functional.elementwise import add, div, mul, sqrt, sub
from lamella.functional.reduce import mean
from lamella.functional.shape import reshape
from lamella.layout import channels_last, empty_channels_last, operand, same_dtype
from lamella.problems import BatchNormProblem
from lamella.registry import select
from lamella.tensor import Operation, Tensor, apply


def _per_channel(name: str, v: np.ndarray | None, x: np.ndarray) -> np.ndarray | None:
    if v is None:
        return None
    if v.shape != (x.shape[1],):
        raise ValueError(f"batch_norm: expected {name} of shape ({x.shape[1]},), one number per channel of input {x.shape}, got {v.shape}")
    return np.ascontiguousarray(operand(v, "batch_norm", name))


def update_running(operation: str, name: str, running: np.ndarray, new: np.ndarray, momentum: float, unbias: float = 1.0) -> None:
    """Let a new statistic into a running one, in place."""
    if not running.flags.writeable:
        raise ValueError(f"{operation}: {name} is read-only, but training updates it in place; give it a copy")
    running *= 1 - momentum
    running += momentum * unbias * new


def _share(convention: str, momentum: float, rows: int) -> tuple[float, float]:
    """The weight of new statistics, and the factor of their variance."""
    if convention not in ("torch", "keras", "onnx"):
        raise ValueError(f"batch_norm: expected convention to be torch, keras or onnx, got {convention!r}")
    return (momentum, rows / (rows - 1)) if convention == "torch" else (1 - momentum, 1.0)


def _forward(
    x: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    residual: Any,
    training: bool,
    momentum: float,
    eps: float,
    activation: str,
    convention: str,
) -> tuple[np.ndarray, Any]:
    x = operand(np.asarray(x), "batch_norm")
    if x.ndim < 2:
        raise ValueError(f"batch_norm: expected input of shape (N, C) or (N, C, ...), got {x.shape}")
    if (running_mean is None) != (running_var is None):
        raise ValueError("batch_norm: expected running_mean and running_var both, or neither")
    if not training and running_mean is None:
        raise ValueError("batch_norm: expected running_mean and running_var when training=False; the batch's own need training=True")
    weight, bias = _per_channel("weight", weight, x), _per_channel("bias", bias, x)
    mean, var = _per_channel("running_mean", running_mean, x), _per_channel("running_var", running_var, x)
    if residual is not None:
        residual = operand(np.asarray(residual), "batch_norm", "residual")
        if residual.shape != x.shape:
            raise ValueError(f"batch_norm: expected residual of the input's shape {x.shape}, got {residual.shape}")
    same_dtype("batch_norm", input=x, weight=weight, bias=bias, running_mean=mean, running_var=var, residual=residual)
    channels = x.shape[1]
    rows = x.size // channels if channels else 0
    if training and rows == 1:
        raise ValueError(f"batch_norm: expected more than 1 value per channel when training, got input of shape {x.shape}")
    x = channels_last(x)
    if residual is not None:
        residual = channels_last(residual)
    p = BatchNormProblem.of(rows, channels, x.dtype, eps, activation, residual is not None)
    out = empty_channels_last(x.shape, x.dtype)
    if training:
        mean, var = np.empty(channels, x.dtype), np.empty(channels, x.dtype)
        if rows:
            select("batchnorm", "forward_train", p)(p, x, weight, bias, residual, out, mean, var)
            if running_mean is not None:
                share, unbias = _share(convention, momentum, rows)
                update_running("batch_norm", "running_mean", running_mean, mean, share)
                update_running("batch_norm", "running_var", running_var, var, share, unbias)
    elif rows:
        select("batchnorm", "forward_eval", p)(p, x, weight, bias, mean, var, residual, out)
    if residual is not None and activation == "none":  # its gradient is g: what is left to compute knows nothing of it
        p = BatchNormProblem.of(rows, channels, x.dtype, eps)
    return out, (p, x, weight, bias if p.act else None, mean, var, out if p.residual else None, training)


def _backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
    p, x, weight, bias, mean, var, out, training = saved
    dx = empty_channels_last(x.shape, x.dtype)
    dresidual = empty_channels_last(x.shape, x.dtype) if p.residual else None
    dw, db = np.zeros(p.channels, x.dtype), np.zeros(p.channels, x.dtype)
    if p.rows:
        kernel = select("batchnorm", "backward" if training else "backward_eval", p)
        kernel(p, channels_last(g), x, weight, bias, mean, var, out, dx, dw, db, dresidual)
    return dx, dw if needs[1] else None, db if needs[2] else None, None, None, g if dresidual is None else dresidual


_BATCH_NORM = Operation("batch_norm", _forward, _backward)


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    activation: str = "none",
    residual: Any = None,
    convention: str = "torch",
    eps_outside: bool = False,
) -> Any:
    """Normalise every channel to mean 0 and variance 1, then scale and shift it; then, if asked, add another array and apply ReLU.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, shape (N, C) or (N, C, ...)
        Any memory order; the result is channels-last.
    running_mean, running_var : array or Tensor, shape (C,), or None
        Averages over the batches so far. With training=True they are updated in place; without, they are what the input is normalised by.
    weight, bias : array or Tensor, shape (C,), optional
        Scale and shift.
    training : bool
        Normalise by mean and (biased) variance of this batch, over all axes but the second.
    momentum : float
        ``running = (1 - momentum) * running + momentum * new``; the new variance is the unbiased one.
    eps : float
        Added to the variance.
    activation : {"none", "relu"}
        Applied to the result in the same pass; backward finds its mask again without reading the result.
    residual : array or Tensor of the input's shape, optional
        Added before the activation: the end of a residual block, ``relu(batch_norm(x) + residual)``, in one pass.
    convention : {"torch", "keras", "onnx"}
        Of momentum and running variance. "torch": momentum weighs the new statistics, of which the variance is unbiased. "keras" and "onnx": it weighs the
        old ones, ``running = momentum * running + (1 - momentum) * new`` (their defaults: momentum 0.99, eps 1e-3; 0.9, 1e-5), with the biased variance.
    eps_outside : bool
        Divide by sqrt(var) + eps, as some courses write it, instead of sqrt(var + eps). In training this is composed of other operations, and slower.

    Returns
    -------
    array or Tensor of the input's shape

    Raises
    ------
    ValueError
        Fewer than two axes; a wrong number of channels; training on one value per channel; no running statistics in evaluation; a
        residual of another shape; an activation that is not known.
    TypeError
        Not float32 or float64, or different dtypes.

    Notes
    -----
    Ioffe and Szegedy, ICML 2015. The variance is summed from differences to the mean, so that float32 data far from zero keep their digits.

    Examples
    --------
    >>> x = np.array([[1.0, 10.0], [3.0, 30.0]])
    >>> batch_norm(x, None, None, training=True, eps=0.0)
    array([[-1., -1.],
           [ 1.,  1.]])
    >>> batch_norm(x, None, None, training=True, eps=0.0, activation="relu", residual=np.full((2, 2), 0.5))
    array([[0. , 0. ],
           [1.5, 1.5]])
    """
    if eps_outside:
        arguments = (input, running_mean, running_var, weight, bias, bool(training), float(momentum), float(eps))
        return _outside(*arguments, activation, residual, convention)
    inputs = (input, weight, bias, running_mean, running_var, residual)
    out = apply(_BATCH_NORM, inputs, bool(training), float(momentum), float(eps), activation, convention)
    if training:
        for running in (running_mean, running_var):
            if isinstance(running, Tensor):
                running._version[0] += 1
    return out


def _outside(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any,
    bias: Any,
    training: bool,
    momentum: float,
    eps: float,
    activation: str,
    residual: Any,
    convention: str,
) -> Any:
    """batch_norm that divides by sqrt(var) + eps: that of a variance of which this is the root."""
    if not training:
        var = None if running_var is None else (np.sqrt(running_var.data if isinstance(running_var, Tensor) else running_var) + eps) ** 2
        return batch_norm(input, running_mean, var, weight, bias, False, momentum, 0.0, activation=activation, residual=residual)
    plain = batch_norm(input, running_mean, running_var, None, None, True, momentum, 0.0, convention=convention)  # (x - mean) / sqrt(var)
    axes = (0, *range(2, input.ndim))
    apart = sub(input, mean(input, axes, True))
    deviation = sqrt(mean(mul(apart, apart), axes, True))
    shape = (1, -1) + (1,) * (input.ndim - 2)
    out = mul(plain, div(deviation, add(deviation, eps)))
    out = out if weight is None else mul(out, reshape(weight, shape))
    out = out if bias is None else add(out, reshape(bias, shape))
    if residual is not None:
        return add(out, residual, activation=activation)
    return relu(out) if activation == "relu" else out
