"""Estimator and Classifier: what scikit-learn expects of an estimator, without it."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from lamella.tensor import Tensor

__all__ = ["Classifier", "Estimator", "NotFittedError"]


class NotFittedError(ValueError, AttributeError):
    """An estimator was asked before it was fitted.

    Examples
    --------
    >>> issubclass(NotFittedError, ValueError)
    True
    """


class Estimator:
    """Base of all estimators: ``__init__`` only stores its arguments, by name; what `fit` finds ends in an underscore.

    Examples
    --------
    >>> class Constant(Estimator):
    ...     def __init__(self, value=0.0):
    ...         self.value = value
    >>> Constant(2.0).set_params(value=3.0)
    Constant(value=3.0)
    """

    @classmethod
    def _parameters(cls) -> dict[str, inspect.Parameter]:
        return {name: p for name, p in inspect.signature(cls).parameters.items() if p.kind is not p.VAR_KEYWORD}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of ``__init__`` and their values; with `deep` also those of arguments that are estimators, as ``name__argument``."""
        found: dict[str, Any] = {}
        for name in self._parameters():
            value = found[name] = getattr(self, name)
            if deep and hasattr(value, "get_params") and not isinstance(value, type):
                found.update({f"{name}__{key}": inner for key, inner in value.get_params().items()})
        return found

    def set_params(self, **params: Any) -> Any:
        """Change arguments of ``__init__``, also of estimators among them, as ``name__argument``. Returns self."""
        own = self._parameters()
        for name, value in params.items():
            outer, _, inner = name.partition("__")
            if outer not in own:
                raise ValueError(f"{type(self).__name__}.set_params: no parameter {outer!r}; there are {', '.join(own)}")
            if inner:
                getattr(self, outer).set_params(**{inner: value})
            else:
                setattr(self, outer, value)
        return self

    def __repr__(self) -> str:
        changed = (
            f"{name}={getattr(self, name)!r}"
            for name, p in self._parameters().items()
            if p.default is p.empty or repr(getattr(self, name)) != repr(p.default)
        )
        return f"{type(self).__name__}({', '.join(changed)})"

    def _fitted(self, name: str) -> Any:
        if not hasattr(self, name):
            raise NotFittedError(f"This {type(self).__name__} is not fitted yet: call fit(X, y) first")
        return getattr(self, name)


class Classifier(Estimator):
    """Base of the classifiers: labels of any kind, `score`.

    A subclass has ``_fit(X, codes)``, where codes number the sorted `classes_`, and ``decision_function(X)``, shape (N, classes).

    Examples
    --------
    >>> class Nearest(Classifier):
    ...     def _fit(self, X, codes):
    ...         self.centres_ = np.stack([X[codes == k].mean(0) for k in range(len(self.classes_))])
    ...     def decision_function(self, X):
    ...         return -((self._inputs(X)[:, None] - self.centres_) ** 2).sum(-1)
    >>> Nearest().fit([[0.0], [1.0]], ["no", "yes"]).predict([[0.9]])
    array(['yes'], dtype='<U3')
    """

    _estimator_type = "classifier"
    _dtype: Any = np.float32
    _any_shape = False  # whether inputs may have more than two axes

    def _fit(self, X: np.ndarray, codes: np.ndarray) -> None:
        raise NotImplementedError

    def decision_function(self, X: Any) -> np.ndarray:
        """The score of every class; the highest wins."""
        raise NotImplementedError

    def _inputs(self, X: Any, fitting: bool = False) -> np.ndarray:
        name = type(self).__name__
        X = np.asarray(X.data if isinstance(X, Tensor) else X)
        if X.dtype.kind not in "fiub":
            raise ValueError(f"{name}: expected X of numbers, got {X.dtype}")
        if X.ndim != 2 and not (self._any_shape and X.ndim > 2):
            shape = "(samples, features)" if not self._any_shape else "(samples, ...)"
            raise ValueError(f"{name}: expected X of shape {shape}, got {X.shape}. Reshape your data: one sample is X.reshape(1, -1)")
        if not len(X):
            raise ValueError(f"{name}: expected at least one sample, got X of shape {X.shape}")
        X = np.ascontiguousarray(X, self._dtype)
        if not np.isfinite(X).all():
            raise ValueError(f"{name}: X holds NaN or infinity (or numbers too large for {np.dtype(self._dtype)})")
        if fitting:
            self._shape_ = X.shape[1:]
            self.n_features_in_ = X.shape[1]
        elif X.shape[1:] != self._fitted("_shape_"):
            raise ValueError(f"{name}: expected X of shape (samples, {', '.join(map(str, self._shape_))}) as in fit, got {X.shape}")
        return X

    def fit(self, X: Any, y: Any) -> Any:
        """Learn from samples and their labels.

        Parameters
        ----------
        X : array, shape (samples, features)
        y : array, shape (samples,)
            Labels: numbers or strings.

        Returns
        -------
        self
        """
        X = self._inputs(X, fitting=True)
        y = np.asarray(y)
        if y.shape != (len(X),):
            raise ValueError(f"{type(self).__name__}.fit: expected y of shape ({len(X)},), one label per sample, got {y.shape}")
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"{type(self).__name__}.fit: expected at least two classes, got one class: {self.classes_[0]!r}")
        self._fit(X, codes)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The label of each sample."""
        self._fitted("classes_")
        return self.classes_[self.decision_function(X).argmax(1)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of samples (by weight) whose label is predicted."""
        return float(np.average(self.predict(X) == np.asarray(y), weights=sample_weight))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "classes_")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
        )
