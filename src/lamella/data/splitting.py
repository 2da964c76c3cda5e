"""Training, validation and test sets that hold similar data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lamella.data.dataset import Subset, split_generator
from lamella.tensor import Tensor


def labels_of(dataset: Any, name: str = "labels_of") -> np.ndarray:
    """The labels of a dataset, one integer per sample, without loading the inputs where the dataset keeps labels apart.

    Parameters
    ----------
    dataset : Dataset
        An image dataset (its `labels`), a TensorDataset (its last array), parts of them, or anything whose samples end with the label.

    Returns
    -------
    ndarray (N,)

    Raises
    ------
    ValueError
        The last element of the samples is no integer.

    Examples
    --------
    >>> from lamella.data import Subset, TensorDataset
    >>> labels_of(Subset(TensorDataset(np.zeros((4, 2)), np.array([0, 1, 1, 0])), [1, 3]))
    array([1, 0])
    """
    if isinstance(dataset, Subset):
        return labels_of(dataset.dataset, name)[dataset.indices]
    if hasattr(dataset, "datasets"):
        return np.concatenate([labels_of(part, name) for part in dataset.datasets])
    if hasattr(dataset, "labels"):
        labels = dataset.labels
    elif hasattr(dataset, "tensors"):
        labels = dataset.tensors[-1]
    else:
        labels = [dataset[i][-1] for i in range(len(dataset))]
    found = np.asarray(labels.data if isinstance(labels, Tensor) else labels)
    if found.shape != (len(dataset),) or found.dtype.kind not in "iub":
        raise ValueError(f"{name}: expected one integer per sample as label, got shape {found.shape} of {found.dtype}; pass labels=")
    return found


def _labels(name: str, dataset: Any, labels: Any) -> np.ndarray:
    if labels is None:
        return labels_of(dataset, name)
    found = np.asarray(labels.data if isinstance(labels, Tensor) else labels)
    if found.shape != (len(dataset),):
        raise ValueError(f"{name}: expected {len(dataset)} labels, one per sample, got shape {found.shape}")
    return found


def _by_class(labels: np.ndarray, generator: np.random.Generator) -> list[np.ndarray]:
    """The places of each class, shuffled."""
    return [generator.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]


def stratified_split(dataset: Any, lengths: Sequence[float] = (0.7, 0.15, 0.15), generator: Any = None, labels: Any = None) -> list[Subset]:
    """Split a dataset at random so that every part has the classes in equal shares, such as training, validation and test set.

    Parameters
    ----------
    dataset : Dataset
    lengths : sequence of float, or of int
        Fractions that sum to 1, or numbers of samples that sum to the dataset's.
    generator : int or numpy.random.Generator, optional
        Default: lamella's random state (`lamella.manual_seed`).
    labels : array (N,), optional
        What is shared out equally. Default: the dataset's labels.

    Returns
    -------
    list of Subset
        Of each class each part has its share, rounded up or down; the parts' lengths differ from theirs by at most the number of classes.

    Raises
    ------
    ValueError
        Lengths that do not sum to 1, or to the dataset's length.

    Examples
    --------
    >>> from lamella.data import TensorDataset
    >>> dataset = TensorDataset(np.arange(100), np.arange(100) % 5 == 0)
    >>> parts = stratified_split(dataset, (0.7, 0.15, 0.15), generator=0)
    >>> [len(part) for part in parts], [int(labels_of(part).sum()) for part in parts]
    ([70, 15, 15], [14, 3, 3])
    """
    size, given = len(dataset), [float(n) for n in lengths]
    whole = bool(given) and all(isinstance(n, (int, np.integer)) for n in lengths)
    if not given or min(given) < 0 or not (math.isclose(sum(given), 1) if not whole else sum(given) == size):
        raise ValueError(f"stratified_split: expected fractions that sum to 1, or numbers that sum to {size}, got {list(lengths)}")
    shares = np.array(given) / (size if whole and size else 1)
    parts: list[list[np.ndarray]] = [[] for _ in given]
    rng = split_generator(generator)
    owed = np.zeros(len(given))  # what rounding has kept from each part so far
    for places in _by_class(_labels("stratified_split", dataset, labels), rng):
        exact = shares * len(places)
        counts = np.floor(exact + 1e-9).astype(np.int64)
        owed += exact - counts
        for i in np.argsort(-owed, kind="stable")[: len(places) - counts.sum()]:
            counts[i] += 1
            owed[i] -= 1
        for part, piece in zip(parts, np.split(places, np.cumsum(counts)[:-1])):
            part.append(piece)
    return [Subset(dataset, rng.permutation(np.concatenate(part)) if part else []) for part in parts]


def k_fold(
    dataset: Any, n_splits: int = 5, stratified: bool = True, generator: Any = None, labels: Any = None
) -> Iterator[tuple[Subset, Subset]]:
    """Cross-validation: every sample is in the validation set of one of n_splits pairs.

    Parameters
    ----------
    dataset : Dataset
    n_splits : int
        At least 2.
    stratified : bool
        Every fold has the classes in equal shares.
    generator : int or numpy.random.Generator, optional
    labels : array (N,), optional

    Yields
    ------
    (training, validation) : Subset, Subset

    Raises
    ------
    ValueError
        Fewer samples, or fewer of a class, than folds.

    Examples
    --------
    >>> from lamella.data import TensorDataset
    >>> [len(valid) for train, valid in k_fold(TensorDataset(np.zeros(10), np.arange(10) % 2), 5, generator=0)]
    [2, 2, 2, 2, 2]
    """
    size = len(dataset)
    if not 2 <= n_splits <= size:
        raise ValueError(f"k_fold: expected n_splits from 2 to {size}, the number of samples, got {n_splits}")
    rng = split_generator(generator)
    fold = np.empty(size, np.int64)
    if stratified:
        found = _by_class(_labels("k_fold", dataset, labels), rng)
        if min(map(len, found)) < n_splits:
            raise ValueError(
                f"k_fold: expected at least {n_splits} samples of each class, got {min(map(len, found))}; pass stratified=False"
            )
        order = np.concatenate(found)
    else:
        order = rng.permutation(size)
    fold[order] = np.arange(size) % n_splits
    for i in range(n_splits):
        yield Subset(dataset, np.flatnonzero(fold != i)), Subset(dataset, np.flatnonzero(fold == i))
