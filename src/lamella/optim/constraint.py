"""What holds after every step: norms of weights below a bound; and which parameters regularisation is for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from lamella.tensor import Tensor

__all__ = ["max_norm_", "weights_only"]


def max_norm_(tensor: Any, max_norm: float) -> Any:
    """Scale each neuron's (filter's) weights w down to ``w / norm(w) * max_norm`` where their Euclidean norm is larger, in place.

    Parameters
    ----------
    tensor : Tensor or ndarray, shape (out, in, *window)
        The weight of a Linear or convolution layer; ``tensor[i]`` belongs to neuron i.
    max_norm : float

    Returns
    -------
    the tensor

    Raises
    ------
    ValueError
        Less than two axes.

    Notes
    -----
    Srebro and Shraibman, COLT 2005; Hinton et al., arXiv:1207.0580. As `max_norm` of any optimizer it holds after every step.

    Examples
    --------
    >>> max_norm_(np.array([[3.0, 4.0], [0.3, 0.4]]), 1.0)
    array([[0.6, 0.8],
           [0.3, 0.4]])
    """
    data = tensor.data if isinstance(tensor, Tensor) else tensor
    if data.ndim < 2:
        raise ValueError(f"max_norm_: expected a weight (out, in, ...) of two axes or more, got shape {data.shape}")
    norms = np.sqrt(np.square(data).sum(axis=tuple(range(1, data.ndim)), keepdims=True))
    if (norms > max_norm).any():
        data *= np.where(norms > max_norm, max_norm / np.maximum(norms, max_norm), 1).astype(data.dtype)
        if isinstance(tensor, Tensor):
            tensor._version[0] += 1
    return tensor


def weights_only(params: Iterable[Any]) -> list[dict[str, Any]]:
    """Two parameter groups: weights, to be regularised, and parameters of one axis (biases, batch norm), which are not.

    Parameters
    ----------
    params : iterable of Tensor
        ``model.parameters()``.

    Returns
    -------
    list of dict
        For an optimizer: in the second group ``weight_decay`` and ``l1`` are 0. Empty groups are left out.

    Examples
    --------
    >>> import lamella
    >>> model = lamella.nn.Linear(3, 2)
    >>> optimizer = lamella.optim.SGD(weights_only(model.parameters()), lr=0.1, weight_decay=1e-3, momentum=0.9)
    >>> [group["weight_decay"] for group in optimizer.param_groups]
    [0.001, 0.0]
    """
    found = list(params)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in found if p.data.ndim > 1]},
        {"params": [p for p in found if p.data.ndim <= 1], "weight_decay": 0.0, "l1": 0.0},
    ]
    return [group for group in groups if group["params"]]
