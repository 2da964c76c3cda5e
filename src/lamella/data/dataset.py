"""What a DataLoader walks through: Dataset, TensorDataset, Subset, ConcatDataset, random_split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lamella import random
from lamella.data.draws import current_part
from lamella.tensor import Tensor


class Dataset:
    """Base of all datasets: ``len(dataset)`` samples, ``dataset[i]`` one of them (an array, or a tuple of arrays and numbers).

    A subclass may also define ``gather(indices)``, which returns a whole batch as a tuple of arrays: `DataLoader` then asks for batches
    instead of samples, without a Python loop over them.

    Examples
    --------
    >>> class Squares(Dataset):
    ...     def __len__(self):
    ...         return 10
    ...     def __getitem__(self, i):
    ...         return np.float32(i), i * i
    >>> Squares()[3]
    (np.float32(3.0), 9)
    """

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} does not define __len__")

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define __getitem__")


class TensorDataset(Dataset):
    """Arrays whose first axis counts the samples.

    Parameters
    ----------
    *tensors : array or Tensor
        All of the same length.

    Raises
    ------
    ValueError
        No arrays, or arrays of different lengths.

    Examples
    --------
    >>> dataset = TensorDataset(np.zeros((6, 1, 28, 28), np.float32), np.arange(6))
    >>> len(dataset), dataset[4][1]
    (6, np.int64(4))
    """

    def __init__(self, *tensors: Any):
        self.tensors: tuple[Any, ...] = tuple(t if isinstance(t, Tensor) else np.asarray(t) for t in tensors)
        if not tensors:
            raise ValueError("TensorDataset: expected at least one array")
        shapes = [t.shape for t in self.tensors]
        if () in shapes:
            raise ValueError("TensorDataset: expected arrays whose first axis counts the samples, got a single number")
        if len({shape[0] for shape in shapes}) > 1:
            raise ValueError(f"TensorDataset: expected arrays of one length, got shapes {', '.join(map(str, shapes))}")

    def __len__(self) -> int:
        return self.tensors[0].shape[0]

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(t[index] for t in self.tensors)

    def gather(self, indices: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple((t.data if isinstance(t, Tensor) else t)[indices] for t in self.tensors)


class Subset(Dataset):
    """Some samples of a dataset, in the order of `indices`.

    Examples
    --------
    >>> subset = Subset(TensorDataset(np.arange(10)), [7, 3])
    >>> [int(x) for x, in subset]
    [7, 3]
    """

    def __init__(self, dataset: Any, indices: Sequence[int] | np.ndarray):
        self.dataset = dataset
        self.indices = np.asarray(indices, dtype=np.int64).reshape(-1)
        size = len(dataset)
        if self.indices.size and not (-size <= self.indices.min() and self.indices.max() < size):
            bad = self.indices[(self.indices < -size) | (self.indices >= size)][0]
            raise ValueError(f"Subset: expected indices below {size}, the dataset's length, got {bad}")
        if hasattr(dataset, "gather"):
            self.gather = lambda i: dataset.gather(self.indices[i])

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[int(self.indices[index])]

    def __getattr__(self, name: str) -> Any:
        # what describes the images (classes, normalisation) holds for some of them too
        if name in ("classes", "in_channels", "image_size", "transform"):
            return getattr(self.dataset, name)
        raise AttributeError(f"'Subset' object has no attribute {name!r}")


class ConcatDataset(Dataset):
    """Datasets one after the other, such as training and validation set for the last training.

    Parameters
    ----------
    datasets : sequence of Dataset

    Raises
    ------
    ValueError
        No datasets.

    Examples
    --------
    >>> both = ConcatDataset([TensorDataset(np.arange(3)), TensorDataset(np.arange(10, 12))])
    >>> len(both), int(both[3][0]), [int(x) for x, in both]
    (5, 10, [0, 1, 2, 10, 11])
    """

    def __init__(self, datasets: Sequence[Any]):
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: expected at least one dataset")
        self.cumulative_sizes = np.cumsum([len(dataset) for dataset in self.datasets])
        if all(hasattr(dataset, "gather") for dataset in self.datasets):
            self.gather = self._gather

    def __len__(self) -> int:
        return int(self.cumulative_sizes[-1])

    def _place(self, index: Any) -> tuple[Any, Any]:
        """Which dataset, and where in it."""
        which = np.searchsorted(self.cumulative_sizes, index, side="right")
        return which, index - np.concatenate([[0], self.cumulative_sizes])[which]

    def __getitem__(self, index: int) -> Any:
        i = int(index) + (len(self) if index < 0 else 0)
        if not 0 <= i < len(self):
            raise IndexError(f"ConcatDataset: index {index} is out of range for {len(self)} samples")
        which, place = self._place(i)
        return self.datasets[which][int(place)]

    def _gather(self, indices: np.ndarray) -> tuple[np.ndarray, ...]:
        which, places = self._place(np.asarray(indices))
        found: list[tuple[np.ndarray, tuple[np.ndarray, ...]]] = []
        for number, dataset in enumerate(self.datasets):
            mine = np.flatnonzero(which == number)
            if len(mine):
                with current_part(mine):
                    found.append((mine, dataset.gather(places[mine])))
        if len(found) == 1:
            return found[0][1]
        back = np.argsort(np.concatenate([mine for mine, _ in found]))
        return tuple(np.concatenate(column)[back] for column in zip(*(arrays for _, arrays in found), strict=True))


def split_generator(generator: Any) -> np.random.Generator:
    """A NumPy generator from what users pass as `generator`: None (lamella's own random state), a seed, or a Generator."""
    if generator is None:
        return random.generator()
    if isinstance(generator, (int, np.integer)):
        return np.random.Generator(np.random.Philox(key=np.array([int(generator) & (2**64 - 1), 0], np.uint64)))
    if isinstance(generator, np.random.Generator):
        return generator
    raise TypeError(f"generator: expected None, an int or a numpy.random.Generator, got {type(generator).__name__}")


def random_split(dataset: Any, lengths: Sequence[float], generator: Any = None) -> list[Subset]:
    """Split a dataset at random into parts that do not overlap.

    Parameters
    ----------
    dataset : Dataset
    lengths : sequence of int, or of float
        The lengths of the parts, which sum to ``len(dataset)``; or fractions which sum to 1 (what rounding leaves over goes to the
        first parts, one each).
    generator : int or numpy.random.Generator, optional
        Default: lamella's random state (`lamella.manual_seed`).

    Returns
    -------
    list of Subset

    Raises
    ------
    ValueError
        The lengths do not sum to the dataset's.

    Examples
    --------
    >>> train, valid = random_split(TensorDataset(np.arange(10)), [0.8, 0.2], generator=0)
    >>> len(train), len(valid)
    (8, 2)
    """
    size = len(dataset)
    sizes: list[Any] = list(lengths)
    if any(n < 0 for n in sizes):
        raise ValueError(f"random_split: expected lengths that are not negative, got {sizes}")
    if not all(isinstance(n, (int, np.integer)) for n in sizes) and math.isclose(sum(sizes), 1):
        sizes = [math.floor(size * fraction) for fraction in sizes]
        for i in range(size - sum(sizes)):
            sizes[i % len(sizes)] += 1
    if sum(sizes) != size:
        raise ValueError(
            f"random_split: expected lengths that sum to {size}, the dataset's, or fractions that sum to 1, got {list(lengths)}"
        )
    order = split_generator(generator).permutation(size)
    ends = np.cumsum([int(n) for n in sizes])
    return [Subset(dataset, order[end - n : end]) for n, end in zip(map(int, sizes), ends)]
