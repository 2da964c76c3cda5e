"""What is learned from the training data alone: fit, then transform whatever comes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from lamella.tensor import Tensor


def table(name: str, x: Any) -> np.ndarray:
    """Samples along the first axis, in float64, of float32 and bytes in float32; missing values are NaN."""
    found = np.asarray(x.data if isinstance(x, Tensor) else x)
    if found.dtype == object:
        try:
            found = found.astype(np.float64)  # None becomes NaN
        except (TypeError, ValueError):
            raise TypeError(
                f"{name}: expected numbers, got objects such as {found.reshape(-1)[0]!r}; read tables with lamella.data.read_table"
            ) from None
    if found.dtype.kind not in "fiub":
        raise TypeError(f"{name}: expected numbers, got {found.dtype}")
    if found.ndim < 1:
        raise ValueError(f"{name}: expected samples along the first axis, got a single number")
    return found if found.dtype in (np.float32, np.float64) else found.astype(np.float32 if found.dtype == np.uint8 else np.float64)


class Fitted:
    """Base of the transforms that are fitted: `fit` to the training set, then `transform` every set, or use it as a dataset's `transform`.

    A state_dict holds what was learned, as arrays: ``lamella.save({"model": model.state_dict(), "inputs": scaler.state_dict()}, path)``.
    """

    learned: tuple[str, ...] = ()  # names of the arrays that fit makes

    def fit(self, x: Any) -> Self:
        """Learn from the training data, samples along the first axis."""
        data = table(type(self).__name__, x)
        if len(data) == 0:
            raise ValueError(f"{type(self).__name__}.fit: expected at least one sample, got none")
        self._fit(data)
        return self

    def transform(self, x: Any) -> np.ndarray:
        """The data, transformed by what was learned; float32 stays float32."""
        data = table(type(self).__name__, x)
        self._check()
        return self._transform(data).astype(data.dtype, copy=False)

    def inverse_transform(self, x: Any) -> np.ndarray:
        """The data that `transform` gives x for."""
        data = table(type(self).__name__, x)
        self._check()
        return self._inverse(data).astype(data.dtype, copy=False)

    def fit_transform(self, x: Any) -> np.ndarray:
        """fit, then transform the same data: for the training set only."""
        return self.fit(x).transform(x)

    __call__ = transform

    def _check(self) -> None:
        if any(not hasattr(self, each) for each in self.learned):
            raise RuntimeError(f"{type(self).__name__}: call fit with the training data first, or load_state_dict")

    def _match(self, x: np.ndarray, learned: np.ndarray) -> None:
        """Samples have the shape that was fitted; where statistics are per channel, any size."""
        wanted = learned.shape
        if len(x.shape) - 1 != len(wanted) or any(n not in (1, m) for n, m in zip(wanted, x.shape[1:])):
            raise ValueError(f"{type(self).__name__}: expected samples of shape {wanted}, as fitted, got {x.shape[1:]}")

    def state_dict(self) -> dict[str, np.ndarray]:
        """The arrays learned."""
        self._check()
        return {name: np.asarray(getattr(self, name)) for name in self.learned}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what another one learned."""
        if set(state_dict) != set(self.learned):
            raise ValueError(f"{type(self).__name__}: expected the arrays {', '.join(self.learned)}, got {', '.join(map(str, state_dict))}")
        for name, value in state_dict.items():
            setattr(self, name, np.array(value.data if isinstance(value, Tensor) else value))

    def _fit(self, x: np.ndarray) -> None:
        raise NotImplementedError

    def _transform(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _inverse(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} has no inverse")

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value}" for name, value in vars(self).items() if name[0] != "_" and name not in self.learned)
        return f"{type(self).__name__}({shown})"
