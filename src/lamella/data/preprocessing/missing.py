"""Missing values: NaN, and None in arrays of objects."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.data.preprocessing.base import Fitted, table


def drop_missing(*arrays: Any) -> Any:
    """The samples that have all their values, of all arrays.

    Parameters
    ----------
    *arrays : array
        With the samples along the first axis, all of the same length. Integers and strings miss nothing.

    Returns
    -------
    the array, or a tuple of them

    Raises
    ------
    ValueError
        Arrays of different lengths.

    Examples
    --------
    >>> x, y = drop_missing(np.array([[1.0, 2.0], [np.nan, 3.0]]), np.array([0, 1]))
    >>> x, y
    (array([[1., 2.]]), array([0]))
    """
    found = [np.asarray(a) if np.asarray(a).dtype.kind in "iubUS" else table("drop_missing", a) for a in arrays]
    if not found or len({len(a) for a in found}) > 1:
        raise ValueError(f"drop_missing: expected arrays of one length, got {[a.shape for a in found]}")
    kept = np.ones(len(found[0]), bool)
    for a in found:
        if a.dtype.kind == "f":
            kept &= ~np.isnan(a.reshape(len(a), -1)).any(1)
    parts = tuple(a[kept] for a in found)
    return parts[0] if len(parts) == 1 else parts


class SimpleImputer(Fitted):
    """Missing values replaced by what the training data have there.

    Parameters
    ----------
    strategy : {"mean", "median", "constant"}
        Per feature.
    fill_value : float
        Of "constant".

    Attributes
    ----------
    statistics_ : ndarray
        What each feature's missing values are replaced by.

    Notes
    -----
    scikit-learn's names.

    Examples
    --------
    >>> imputer = SimpleImputer(strategy="median").fit(np.array([[1.0], [2.0], [np.nan], [9.0]]))
    >>> imputer.transform(np.array([[np.nan], [5.0]]))
    array([[2.],
           [5.]])
    """

    learned = ("statistics_",)

    def __init__(self, *, strategy: str = "mean", fill_value: float = 0.0):
        if strategy not in ("mean", "median", "constant"):
            raise ValueError(f"SimpleImputer: expected strategy mean, median or constant, got {strategy!r}")
        self.strategy, self.fill_value = strategy, fill_value

    def _fit(self, x: np.ndarray) -> None:
        if self.strategy == "constant":
            self.statistics_ = np.full(x.shape[1:], float(self.fill_value))
            return
        if np.isnan(x).all(0).any():
            raise ValueError("SimpleImputer.fit: a feature has no values to take a mean of; drop it, or use strategy='constant'")
        self.statistics_ = np.asarray((np.nanmean if self.strategy == "mean" else np.nanmedian)(x.astype(np.float64), axis=0))

    def _transform(self, x: np.ndarray) -> np.ndarray:
        self._match(x, self.statistics_)
        return np.where(np.isnan(x), self.statistics_, x)
