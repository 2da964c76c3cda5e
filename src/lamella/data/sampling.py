"""Which samples an epoch visits: samplers, and weights against classes of unequal size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lamella.data.dataset import split_generator
from lamella.data.splitting import labels_of


def class_weights(labels: Any, num_classes: int | None = None) -> np.ndarray:
    """A weight per class, inversely proportional to its size: for the `weight` of cross entropy.

    weight_k = N / (K count_k), so that the weights of all samples sum to N.

    Parameters
    ----------
    labels : array (N,) of int
    num_classes : int, optional
        K. Default: the largest label and one. Classes without samples have weight 0, and do not count for K.

    Returns
    -------
    float32 array (num_classes,)

    Raises
    ------
    ValueError
        Labels that are no integers from 0 to num_classes - 1.

    Examples
    --------
    >>> class_weights([0, 0, 0, 1])
    array([0.6666667, 2.       ], dtype=float32)
    """
    found = np.asarray(labels)
    count = int(found.max(initial=-1)) + 1 if num_classes is None else num_classes
    if found.ndim != 1 or found.dtype.kind not in "iub" or (found.size and not 0 <= found.min() <= found.max() < count):
        raise ValueError(f"class_weights: expected integers (N,) from 0 to {count - 1}, got shape {found.shape} of {found.dtype}")
    sizes = np.bincount(found, minlength=count)
    present = max(int((sizes > 0).sum()), 1)
    return np.where(sizes > 0, len(found) / (present * np.maximum(sizes, 1)), 0.0).astype(np.float32)


class Sampler:
    """Base of the samplers: ``order(seed, epoch)`` gives the samples of a loop, which `DataLoader` asks for with its own seed.

    Walked through without a loader, a sampler takes its seed from `generator`, or from lamella's random state.

    Examples
    --------
    >>> class Backwards(Sampler):
    ...     def order(self, seed, epoch):
    ...         return np.arange(self.size)[::-1]
    >>> list(Backwards(3))
    [2, 1, 0]
    """

    def __init__(self, size: int, generator: Any = None):
        self.size, self.generator = int(size), generator

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        seed = int(split_generator(self.generator).integers(2**63))
        return iter(self.order(seed, 0).tolist())

    def order(self, seed: int, epoch: int) -> np.ndarray:
        raise NotImplementedError

    def _rng(self, seed: int, epoch: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=np.array([seed, epoch], np.uint64)))


class WeightedRandomSampler(Sampler):
    """Samples drawn with given probabilities.

    Parameters
    ----------
    weights : sequence of float
        One per sample of the dataset; they need not sum to 1.
    num_samples : int
        How many to draw.
    replacement : bool
        A sample may be drawn again.
    generator : int or numpy.random.Generator, optional

    Raises
    ------
    ValueError
        Weights that are negative, not finite or all 0; more samples without replacement than there are.

    Examples
    --------
    >>> list(WeightedRandomSampler([0.0, 1.0, 0.0], 4))
    [1, 1, 1, 1]
    """

    def __init__(self, weights: Any, num_samples: int, replacement: bool = True, generator: Any = None):
        super().__init__(num_samples, generator)
        self.weights, self.replacement = np.asarray(weights, np.float64).reshape(-1), bool(replacement)
        w = self.weights
        if not w.size or not np.isfinite(w).all() or w.min() < 0 or not w.sum() > 0:
            raise ValueError("WeightedRandomSampler: expected weights that are finite, not negative and not all 0")
        if num_samples < 1 or (not replacement and num_samples > np.count_nonzero(w)):
            raise ValueError(f"WeightedRandomSampler: expected num_samples from 1 to {np.count_nonzero(w)}, got {num_samples}")

    def order(self, seed: int, epoch: int) -> np.ndarray:
        rng = self._rng(seed, epoch)
        if not self.replacement:  # the smallest of exponential times: Efraimidis, Spirakis, 2006
            with np.errstate(divide="ignore"):
                times = rng.exponential(size=len(self.weights)) / self.weights
            return np.argsort(times, kind="stable")[: self.size]
        ends = np.cumsum(self.weights)
        return np.searchsorted(ends, rng.random(self.size) * ends[-1], side="right").clip(0, np.flatnonzero(self.weights)[-1])


class BalancedSampler(Sampler):
    """All classes equally often: small ones over-sampled, or large ones under-sampled.

    Parameters
    ----------
    labels : array (N,) of int, or Dataset
    mode : {"over", "under"}
        "over": every sample is visited, those of smaller classes again until all are as large as the largest. "under": as many of each class as
        the smallest has, others in every epoch.
    generator : int or numpy.random.Generator, optional

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 0, 1, 1])
    >>> [np.bincount(labels[list(BalancedSampler(labels, mode))]).tolist() for mode in ("over", "under")]
    [[4, 4], [2, 2]]
    """

    def __init__(self, labels: Any, mode: str = "over", generator: Any = None):
        if mode not in ("over", "under"):
            raise ValueError(f"BalancedSampler: expected mode over or under, got {mode!r}")
        found = (
            labels_of(labels, "BalancedSampler")
            if hasattr(labels, "__getitem__") and not isinstance(labels, (np.ndarray, Sequence))
            else np.asarray(labels)
        )
        if found.ndim != 1 or not len(found):
            raise ValueError(f"BalancedSampler: expected labels (N,), at least one, got shape {found.shape}")
        self.places = [np.flatnonzero(found == label) for label in np.unique(found)]
        self.mode, self.each = mode, (max if mode == "over" else min)(map(len, self.places))
        super().__init__(self.each * len(self.places), generator)

    def order(self, seed: int, epoch: int) -> np.ndarray:
        rng = self._rng(seed, epoch)
        chosen = [np.concatenate([rng.permutation(p) for _ in range(-(-self.each // len(p)))])[: self.each] for p in self.places]
        return rng.permutation(np.concatenate(chosen))
