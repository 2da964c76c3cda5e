"""Features without correlation: PCA, ZCA, and affine maps that are given."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.data.preprocessing.base import Fitted
from lamella.data.preprocessing.eigen import symmetric_eigen
from lamella.functional import matmul


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(matmul(np.ascontiguousarray(a), np.ascontiguousarray(b)))


class _Covariance(Fitted):
    """Samples are taken as rows of features, whatever their shape."""

    def _spectrum(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = x.reshape(len(x), -1).astype(np.float64)
        name = type(self).__name__
        if len(rows) < 2:
            raise ValueError(f"{name}.fit: expected at least two samples, got {len(rows)}")
        if not np.isfinite(rows).all():
            raise ValueError(f"{name}.fit: expected finite numbers, got NaN or infinities; impute them with SimpleImputer")
        self.mean_ = rows.mean(0)
        rows -= self.mean_
        values, vectors = symmetric_eigen(_product(rows.T, rows) / (len(rows) - 1))
        return np.maximum(values, 0.0), vectors

    def _centred(self, x: np.ndarray) -> np.ndarray:
        rows = x.reshape(len(x), -1)
        if rows.shape[1] != len(self.mean_):
            raise ValueError(f"{type(self).__name__}: expected samples of {len(self.mean_)} features, as fitted, got {rows.shape[1]}")
        return rows.astype(np.float64) - self.mean_


class PCA(_Covariance):
    """Decorrelation: the principal components of the samples; whitened on request.

    Parameters
    ----------
    n_components : int or float, optional
        How many of the components to keep, those of greatest variance first; a float below 1: as many as make up that share of the variance.
    whiten : bool
        Divide each component by its standard deviation.

    Attributes
    ----------
    mean_ : (features,)
    components_ : (n_components, features)
        Of length 1, the largest element of each positive.
    explained_variance_ : (n_components,)

    Notes
    -----
    scikit-learn's names. Learning takes O(features**3).

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((500, 2))
    >>> x[:, 1] += 3 * x[:, 0]
    >>> white = PCA(whiten=True).fit_transform(x)
    >>> np.cov(white.T).round(6) + 0.0
    array([[1., 0.],
           [0., 1.]])
    """

    learned = ("mean_", "components_", "explained_variance_")

    def __init__(self, n_components: int | float | None = None, *, whiten: bool = False):
        if n_components is not None and not (n_components >= 1 and n_components == int(n_components)) and not 0 < n_components < 1:
            raise ValueError(f"PCA: expected n_components to be a positive int or a share below 1, got {n_components!r}")
        self.n_components, self.whiten = n_components, whiten

    def _fit(self, x: np.ndarray) -> None:
        values, vectors = self._spectrum(x)
        count = len(values) if self.n_components is None else int(self.n_components)
        if self.n_components is not None and self.n_components < 1:
            share = np.cumsum(values) / max(float(values.sum()), 1e-300)
            count = int(np.searchsorted(share, self.n_components)) + 1
        if count > len(values):
            raise ValueError(f"PCA.fit: expected n_components of at most {len(values)}, the number of features, got {count}")
        largest = np.take_along_axis(vectors, np.abs(vectors).argmax(1)[:, None], 1)
        self.components_ = (vectors * np.sign(largest))[:count]
        self.explained_variance_ = values[:count]

    def _scale(self) -> np.ndarray:
        deviation = np.sqrt(self.explained_variance_)
        return np.where(deviation > 1e-12 * deviation.max(initial=0.0), deviation, 1.0) if self.whiten else np.ones(len(deviation))

    def _transform(self, x: np.ndarray) -> np.ndarray:
        return _product(self._centred(x), self.components_.T) / self._scale()

    def _inverse(self, x: np.ndarray) -> np.ndarray:
        return _product(x.astype(np.float64) * self._scale(), self.components_) + self.mean_


class ZCA(_Covariance):
    """Whitening that stays as close to the data as it can: covariance 1, and images that still look like images.

    Parameters
    ----------
    eps : float
        Added to the variances, in units of the largest.

    Attributes
    ----------
    mean_ : (features,)
    weight_ : (features, features)
        The inverse square root of the covariance.

    Notes
    -----
    Bell, Sejnowski, Vision Research 37, 1997. The result has the samples' shape.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((500, 2))
    >>> x[:, 1] += 3 * x[:, 0]
    >>> np.cov(ZCA(eps=0).fit_transform(x).T).round(6) + 0.0
    array([[1., 0.],
           [0., 1.]])
    """

    learned = ("mean_", "weight_")

    def __init__(self, eps: float = 1e-5):
        if not eps >= 0:
            raise ValueError(f"ZCA: expected eps not to be negative, got {eps}")
        self.eps = eps

    def _fit(self, x: np.ndarray) -> None:
        values, vectors = self._spectrum(x)
        values = values + self.eps * values.max(initial=0.0)
        if not values.min(initial=1.0) > 1e-14 * values.max(initial=0.0):
            raise ValueError("ZCA.fit: the features depend on each other; pass an eps above 0")
        self.weight_ = _product(vectors.T / np.sqrt(values), vectors)

    def _transform(self, x: np.ndarray) -> np.ndarray:
        return _product(self._centred(x), self.weight_).reshape(x.shape)


class AffineMap(Fitted):
    """x W + b with given numbers, such as a whitening that somebody else learned.

    Parameters
    ----------
    weight : array (features, results)
    bias : array (results,), optional

    Examples
    --------
    >>> AffineMap([[0.05, 0.12], [0.61, -1.23]], [-1.45, 0.12])(np.array([[10.0, 1.0]])).round(2)
    array([[-0.34,  0.09]])
    """

    learned = ("weight", "bias")

    def __init__(self, weight: Any, bias: Any = None):
        self.weight = np.array(weight, np.float64)
        if self.weight.ndim != 2:
            raise ValueError(f"AffineMap: expected weight (features, results), got {self.weight.shape}")
        self.bias = np.zeros(self.weight.shape[1]) if bias is None else np.array(bias, np.float64)
        if self.bias.shape != self.weight.shape[1:]:
            raise ValueError(f"AffineMap: expected bias {self.weight.shape[1:]}, got {self.bias.shape}")

    def _fit(self, x: np.ndarray) -> None:
        """The numbers are given; there is nothing to learn."""

    def _transform(self, x: np.ndarray) -> np.ndarray:
        if x.shape[1:] != self.weight.shape[:1]:
            raise ValueError(f"AffineMap: expected samples of {self.weight.shape[0]} features, got {x.shape[1:]}")
        return _product(x.astype(np.float64), self.weight) + self.bias
