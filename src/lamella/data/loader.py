"""DataLoader: batches of a dataset, shuffled by a seed, prepared ahead by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from lamella import random
from lamella.data.dataset import split_generator
from lamella.data.draws import Draws, drawing, keys
from lamella.tensor import Tensor


def default_collate(samples: Sequence[Any]) -> Any:
    """Samples to a batch: arrays and numbers are stacked, tuples and dicts taken apart. Python floats become float32.

    Examples
    --------
    >>> x, y = default_collate([(np.zeros(3), 0), (np.ones(3), 1)])
    >>> x.shape, y
    ((2, 3), array([0, 1]))
    """
    first = samples[0]
    if isinstance(first, (tuple, list)):
        return tuple(default_collate(column) for column in zip(*samples, strict=True))
    if isinstance(first, dict):
        return {key: default_collate([sample[key] for sample in samples]) for key in first}
    if isinstance(first, str):
        return list(samples)
    if isinstance(first, Tensor):
        samples = [sample.data for sample in samples]
    try:
        batch = np.stack([np.asarray(sample) for sample in samples])
    except ValueError:
        shapes = sorted({np.shape(sample) for sample in samples})
        raise ValueError(f"DataLoader: expected samples of one shape to make a batch of, got {shapes}; pass a collate_fn") from None
    return batch.astype(np.float32) if isinstance(first, float) and not isinstance(first, np.generic) else batch


def _tensors(batch: Any) -> Any:
    if isinstance(batch, np.ndarray):
        return Tensor(batch)
    if isinstance(batch, tuple):
        return tuple(_tensors(part) for part in batch)
    if isinstance(batch, dict):
        return {key: _tensors(part) for key, part in batch.items()}
    return batch


class DataLoader:
    """Walk through a dataset in batches, once per loop, as tuples of Tensors.

    Parameters
    ----------
    dataset : Dataset
        Anything with ``len`` and indexing; with ``gather(indices)`` whole batches are taken at once.
    batch_size : int
    shuffle : bool
        A new order in every loop. Loop number `e` of a loader has the order of the generator ``Philox(key=[seed, e])``.
    sampler : iterable of int, optional
        The order to use, instead of `shuffle`. One with ``order(seed, epoch)``, such as `WeightedRandomSampler`, follows from the loader's seed.
    batch_sampler : iterable of sequences of int, optional
        The indices of each batch, instead of batch_size, shuffle, sampler and drop_last.
    num_workers : int
        Threads that prepare batches ahead (never processes: nothing is forked or pickled). 0 prepares each when it is asked for, which is
        fastest for arrays in memory.
    collate_fn : callable, optional
        Makes a batch of a list of samples. Default: `default_collate`, then Tensors.
    drop_last : bool
        Leave out the last batch if it is smaller.
    generator : int or numpy.random.Generator, optional
        Where the seed comes from. Default: lamella's random state (`lamella.manual_seed`), when first needed.
    prefetch_factor : int
        How many batches each worker prepares ahead.
    batch_transform : callable, optional
        A function of the arrays of a batch that returns those to hand out, such as `transforms.MixUp`.

    Raises
    ------
    ValueError
        Sizes that are not positive, or options that exclude each other.

    Notes
    -----
    Errors of worker threads are raised in the loop. `state_dict` tells the seed, the loop and how many of its batches were handed out; a
    loader that loads it goes on with the next batch. What random transforms draw for a sample follows from the seed (of lamella's random state, if
    nothing is shuffled and no generator given), the loop, the batch and the place in it: neither workers nor threads change it.

    Examples
    --------
    >>> from lamella.data import TensorDataset
    >>> loader = DataLoader(TensorDataset(np.arange(5.0), np.arange(5)), batch_size=2)
    >>> [y.tolist() for x, y in loader]
    [[0, 1], [2, 3], [4]]
    >>> len(loader)
    3
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[Sequence[int]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        *,
        drop_last: bool = False,
        generator: Any = None,
        prefetch_factor: int = 2,
        batch_transform: Callable[..., Any] | None = None,
    ):
        for name, value, least in (("batch_size", batch_size, 1), ("num_workers", num_workers, 0), ("prefetch_factor", prefetch_factor, 1)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise ValueError(f"DataLoader: expected {name} to be an int of at least {least}, got {value!r}")
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: a sampler gives the order; it excludes shuffle=True")
        if batch_sampler is not None and (shuffle or sampler is not None or drop_last or batch_size != 1):
            raise ValueError("DataLoader: a batch_sampler excludes batch_size, shuffle, sampler and drop_last")
        self.dataset, self.batch_size, self.shuffle, self.drop_last = dataset, int(batch_size), bool(shuffle), bool(drop_last)
        self.sampler, self.batch_sampler = sampler, batch_sampler
        self.num_workers, self.prefetch_factor, self.collate_fn = int(num_workers), int(prefetch_factor), collate_fn
        self.batch_transform = batch_transform
        self._seed: int | None = None
        self._seeded = generator is not None
        if generator is not None:
            self._seed = (
                int(generator) & (2**64 - 1)
                if isinstance(generator, (int, np.integer))
                else int(split_generator(generator).integers(2**63))
            )
        self._epoch, self._batch, self._open = 0, 0, False  # the newest loop, how many of its batches were handed out, whether it goes on
        self._next, self._start = 0, 0  # the next loop and its first batch

    @property
    def seed(self) -> int:
        """The seed of the orders; drawn from lamella's random state when first needed."""
        if self._seed is None:
            self._seed = int(random.generator().integers(2**63))
        return self._seed

    def __len__(self) -> int:
        if self.batch_sampler is not None:
            return len(self.batch_sampler)  # type: ignore[arg-type]
        size = len(self.dataset) if self.sampler is None else len(self.sampler)  # type: ignore[arg-type]
        return size // self.batch_size if self.drop_last else -(-size // self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """The indices of loop number `epoch`, in order."""
        if self.sampler is not None and hasattr(self.sampler, "order"):
            return self.sampler.order(self.seed, epoch)
        if self.sampler is not None:
            return np.fromiter(self.sampler, np.int64)
        if not self.shuffle:
            return np.arange(len(self.dataset))
        generator = np.random.Generator(np.random.Philox(key=np.array([self.seed, epoch], np.uint64)))
        return generator.permutation(len(self.dataset))

    def _batches(self, epoch: int) -> list[np.ndarray]:
        if self.batch_sampler is not None:
            return [np.asarray(batch, np.int64) for batch in self.batch_sampler]
        order = self.order(epoch)
        end = len(order) - len(order) % self.batch_size if self.drop_last else len(order)
        return [order[i : i + self.batch_size] for i in range(0, end, self.batch_size)]

    def _load(self, batch: tuple[np.ndarray, Draws]) -> Any:
        indices, draws = batch
        with drawing(draws):
            if self.collate_fn is None and hasattr(self.dataset, "gather"):
                loaded = self.dataset.gather(indices)
            else:
                samples = []
                for place, i in enumerate(indices):
                    with drawing(draws.part([place])):
                        samples.append(self.dataset[int(i)])
                loaded = default_collate(samples) if self.collate_fn is None else self.collate_fn(samples)
            if self.batch_transform is not None:
                loaded = self.batch_transform(*loaded)
        return loaded if self.collate_fn is not None and self.batch_transform is None else _tensors(loaded)

    def __iter__(self) -> Iterator[Any]:
        epoch, start = self._next, self._start
        self._epoch, self._batch, self._open = epoch, start, True
        self._next, self._start = epoch + 1, 0
        whole = self._batches(epoch)
        seed = self.seed if self.shuffle or self._seeded or hasattr(self.sampler, "order") else random.initial_seed()
        batches = [(whole[i], Draws(keys(seed, epoch, i, count=len(whole[i])))) for i in range(start, len(whole))]
        return self._walk(epoch, start, self._prefetched(batches) if self.num_workers else map(self._load, batches))

    def _walk(self, epoch: int, start: int, loaded: Iterator[Any]) -> Iterator[Any]:
        try:
            for i, batch in enumerate(loaded, start + 1):
                if self._epoch == epoch:
                    self._batch = i
                yield batch
        finally:
            if hasattr(loaded, "close"):
                loaded.close()
        if self._epoch == epoch:
            self._open = False

    def _prefetched(self, batches: list[tuple[np.ndarray, Draws]]) -> Iterator[Any]:
        pool = ThreadPoolExecutor(self.num_workers, thread_name_prefix="lamella-loader")
        waiting: deque[Future] = deque()
        try:
            for batch in batches:
                waiting.append(pool.submit(self._load, batch))
                if len(waiting) > self.num_workers * self.prefetch_factor:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def state_dict(self) -> dict[str, int]:
        """Where the loader is: its seed, the loop, and how many batches of it were handed out."""
        epoch, batch = (self._epoch, self._batch) if self._open else (self._next, self._start)
        return {"seed": self.seed, "epoch": epoch, "batch": batch}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on where another loader of the same dataset and batch size was: the next loop starts with its next batch."""
        self._seed, self._next, self._start = (int(state_dict[key]) for key in ("seed", "epoch", "batch"))
        self._open = False
