"""Each feature, or each channel, brought to one range or to mean 0 and standard deviation 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.data.preprocessing.base import Fitted


class _PerFeature(Fitted):
    """Statistics over the samples; of images per channel, over their pixels too, if `per_channel`. Missing values do not count."""

    def __init__(self, per_channel: bool = False):
        self.per_channel = per_channel

    def _axes(self, x: np.ndarray) -> tuple[int, ...]:
        if self.per_channel and x.ndim < 3:
            raise ValueError(f"{type(self).__name__}: per_channel needs samples (N, C, ...), got {x.shape}")
        return (0, *range(2, x.ndim)) if self.per_channel else (0,)

    def _statistics(self, x: np.ndarray, *functions: Any) -> list[np.ndarray]:
        wide = x.astype(np.float64)
        if np.isnan(wide).all(self._axes(x)).any():
            raise ValueError(f"{type(self).__name__}.fit: a feature has no values; drop it first")
        return [function(wide, axis=self._axes(x), keepdims=True)[0] for function in functions]


class StandardScaler(_PerFeature):
    """Mean subtracted, divided by the standard deviation: what courses also call whitening, though features stay correlated.

    Parameters
    ----------
    with_mean, with_std : bool
    per_channel : bool
        One mean and deviation per channel of images (N, C, ...), instead of per feature.

    Attributes
    ----------
    mean_, scale_ : ndarray
        Learned. The scale of a feature that does not vary is 1. Deviations divide by the number of samples.

    Notes
    -----
    scikit-learn's names. Missing values (NaN) do not count, and stay.

    Examples
    --------
    >>> scaler = StandardScaler().fit(np.array([[0.0, 5.0], [20.0, 5.0]]))
    >>> scaler.transform(np.array([[10.0, 5.0], [30.0, 6.0]]))
    array([[0., 0.],
           [2., 1.]])
    """

    learned = ("mean_", "scale_")

    def __init__(self, *, with_mean: bool = True, with_std: bool = True, per_channel: bool = False):
        super().__init__(per_channel)
        self.with_mean, self.with_std = with_mean, with_std

    def _fit(self, x: np.ndarray) -> None:
        mean, std = self._statistics(x, np.nanmean, np.nanstd)
        self.mean_ = mean if self.with_mean else np.zeros_like(mean)
        self.scale_ = np.where(std > 0, std, 1.0) if self.with_std else np.ones_like(std)

    def _transform(self, x: np.ndarray) -> np.ndarray:
        self._match(x, self.mean_)
        return (x - self.mean_) / self.scale_

    def _inverse(self, x: np.ndarray) -> np.ndarray:
        return x * self.scale_ + self.mean_


class MinMaxScaler(_PerFeature):
    """All features in one range.

    Parameters
    ----------
    feature_range : (float, float)
    clip : bool
        Clip other data to the range, too.
    per_channel : bool
        One range per channel of images (N, C, ...).

    Attributes
    ----------
    min_, scale_ : ndarray
        Learned: the result is x scale_ + min_.

    Examples
    --------
    >>> scaler = MinMaxScaler().fit(np.array([[0.0, 1.0], [20.0, 2.0]]))
    >>> scaler.transform(np.array([[5.0, 3.0]]))
    array([[0.25, 2.  ]])
    """

    learned = ("min_", "scale_")

    def __init__(self, feature_range: tuple[float, float] = (0.0, 1.0), *, clip: bool = False, per_channel: bool = False):
        super().__init__(per_channel)
        low, high = feature_range
        if not low < high:
            raise ValueError(f"MinMaxScaler: expected feature_range to be (low, high), got {feature_range}")
        self.feature_range, self.clip = (float(low), float(high)), clip

    def _fit(self, x: np.ndarray) -> None:
        least, most = self._statistics(x, np.nanmin, np.nanmax)
        low, high = self.feature_range
        self.scale_ = (high - low) / np.where(most > least, most - least, 1.0)
        self.min_ = low - least * self.scale_

    def _transform(self, x: np.ndarray) -> np.ndarray:
        self._match(x, self.min_)
        out = x * self.scale_ + self.min_
        return np.clip(out, *self.feature_range) if self.clip else out

    def _inverse(self, x: np.ndarray) -> np.ndarray:
        return (x - self.min_) / self.scale_
