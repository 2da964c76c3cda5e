"""label_noise: some labels replaced by wrong ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.data.dataset import split_generator
from lamella.tensor import Tensor

__all__ = ["label_noise"]


def label_noise(labels: Any, rate: float, num_classes: int | None = None, generator: Any = None) -> np.ndarray:
    """Replace a part of the labels by others, drawn at random from the other classes.

    Parameters
    ----------
    labels : array of integers, shape (N,)
    rate : float
        From 0 to 1; round(rate * N) labels are replaced, all of them by another one.
    num_classes : int, optional
        Default: the largest label and one.
    generator : int or numpy.random.Generator, optional
        Default: lamella's random state (`lamella.manual_seed`).

    Returns
    -------
    ndarray, a copy

    Raises
    ------
    ValueError
        The rate is no probability, labels are out of range, or there is no other class.

    Notes
    -----
    Keeps a network from being too sure, as label smoothing does without chance (``cross_entropy(..., label_smoothing=)``); and tests what a
    training makes of wrong labels.

    Examples
    --------
    >>> y = np.arange(1000) % 10
    >>> noisy = label_noise(y, 0.2, generator=0)
    >>> int((noisy != y).sum()), int(noisy.min()), int(noisy.max())
    (200, 0, 9)
    """
    labels = np.array(labels.data if isinstance(labels, Tensor) else labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(f"label_noise: expected integer labels of shape (N,), got {labels.dtype} of shape {labels.shape}")
    if not 0 <= rate <= 1:
        raise ValueError(f"label_noise: rate has to be between 0 and 1, but got {rate}")
    classes = int(labels.max(initial=-1)) + 1 if num_classes is None else int(num_classes)
    if labels.size and not (0 <= labels.min() and labels.max() < classes):
        raise ValueError(f"label_noise: expected labels from 0 to {classes - 1}, got {labels.min()} to {labels.max()}")
    rng = split_generator(generator)
    chosen = rng.permutation(len(labels))[: round(rate * len(labels))]
    if len(chosen):
        if classes < 2:
            raise ValueError("label_noise: expected at least two classes, to have another label to put")
        labels[chosen] = (labels[chosen] + rng.integers(1, classes, len(chosen))) % classes
    return labels
