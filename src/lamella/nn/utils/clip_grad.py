"""Clipping of gradients, between ``backward`` and ``step``, with PyTorch's names."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from lamella.tensor import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_"]


def _gradients(parameters: Any) -> list[np.ndarray]:
    return [p.grad.data for p in ([parameters] if isinstance(parameters, Tensor) else parameters) if p.grad is not None]


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Cut each component of the gradients to [-clip_value, clip_value], in place.

    Parameters
    ----------
    parameters : Tensor, or iterable of Tensor
        Those without a gradient are passed over.
    clip_value : float
    foreach
        Accepted for PyTorch's sake and without effect.

    Examples
    --------
    >>> import lamella
    >>> w = lamella.tensor([1.0, 2.0], requires_grad=True)
    >>> w.backward(np.array([0.25, -8.0], np.float32))
    >>> clip_grad_value_([w], 1.0)
    >>> w.grad
    tensor([ 0.25, -1.  ])
    """
    for g in _gradients(parameters):
        np.clip(g, -clip_value, clip_value, out=g)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients together, in place, so that their norm as one vector is at most max_norm.

    Parameters
    ----------
    parameters : Tensor, or iterable of Tensor
        Those without a gradient are passed over.
    max_norm : float
    norm_type : float
        p of the p-norm; infinity for the largest component.
    error_if_nonfinite : bool
    foreach
        Accepted for PyTorch's sake and without effect.

    Returns
    -------
    Tensor
        The norm before, of one element.

    Raises
    ------
    RuntimeError
        error_if_nonfinite, and the norm is NaN or infinite.

    Notes
    -----
    Pascanu, Mikolov and Bengio, ICML 2013. Gradients are multiplied by ``min(1, max_norm / (norm + 1e-6))``, as in PyTorch. An optimizer's
    ``grad_scale`` scales them on their way into the step instead, without a pass over memory of its own.

    Examples
    --------
    >>> import lamella
    >>> w = lamella.tensor([1.0, 2.0], requires_grad=True)
    >>> w.backward(np.array([3.0, 4.0], np.float32))
    >>> float(clip_grad_norm_([w], 1.0))
    5.0
    >>> bool(np.allclose(w.grad.data, [0.6, 0.8]))
    True
    """
    grads = _gradients(parameters)
    if math.isinf(norm_type):
        norm = float(np.max([np.abs(g).max() for g in grads if g.size], initial=0.0))
    elif norm_type == 2:
        norm = math.sqrt(sum(float(np.square(g).sum(dtype=np.float64)) for g in grads))
    else:
        norm = sum(float((np.abs(g) ** norm_type).sum(dtype=np.float64)) for g in grads) ** (1 / norm_type)
    if error_if_nonfinite and not math.isfinite(norm):
        raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {norm}; look for NaN in the data, or lower the learning rate")
    scale = max_norm / (norm + 1e-6)
    if not scale >= 1:
        for g in grads:
            g *= scale
    return Tensor(np.array(norm, grads[0].dtype if grads else np.float32))
