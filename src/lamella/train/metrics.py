"""What says how good predictions are."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.tensor import Tensor

__all__ = ["accuracy", "confusion_matrix"]


def _array(x: Any) -> np.ndarray:
    return x.data if isinstance(x, Tensor) else np.asarray(x)


def _labels(predictions: Any) -> np.ndarray:
    predictions = _array(predictions)
    return predictions.argmax(1) if predictions.ndim == 2 else predictions


def accuracy(predictions: Any, labels: Any) -> float:
    """The part of the predictions that is right; NaN for none.

    Parameters
    ----------
    predictions : array or Tensor, shape (N, classes), scores of which the highest counts; or shape (N,), classes
    labels : array or Tensor of integers, shape (N,)

    Examples
    --------
    >>> accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1])
    0.5
    """
    found, labels = _labels(predictions), _array(labels)
    if found.shape != labels.shape:
        raise ValueError(f"accuracy: expected one prediction per label, got shapes {_array(predictions).shape} and {labels.shape}")
    return float((found == labels).mean()) if labels.size else float("nan")


def confusion_matrix(labels: Any, predictions: Any, num_classes: int | None = None) -> np.ndarray:
    """How often images of class i (row) were taken for class j (column); the argument order is scikit-learn's.

    Parameters
    ----------
    labels : array or Tensor of integers, shape (N,)
    predictions : array or Tensor, shape (N, classes) or (N,)
    num_classes : int, optional
        Default: as many as occur.

    Returns
    -------
    array of int64, shape (num_classes, num_classes)

    Raises
    ------
    ValueError
        Lengths differ, or a class is out of range.

    Examples
    --------
    >>> confusion_matrix([0, 1, 1], [0, 1, 0])
    array([[1, 0],
           [1, 1]])
    """
    labels, found = _array(labels), _labels(predictions)
    if found.shape != labels.shape:
        raise ValueError(f"confusion_matrix: expected one prediction per label, got shapes {found.shape} and {labels.shape}")
    highest = int(max(labels.max(initial=-1), found.max(initial=-1)))
    n = highest + 1 if num_classes is None else num_classes
    if highest >= n or min(labels.min(initial=0), found.min(initial=0)) < 0:
        raise ValueError(f"confusion_matrix: expected classes from 0 to {n - 1}, got {highest}")
    return np.bincount(labels.astype(np.int64) * n + found.astype(np.int64), minlength=n * n).reshape(n, n)
