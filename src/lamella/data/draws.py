"""Random numbers for samples: each sample has a key, and a draw depends on that key and on how many draws the sample's pipeline made before.

So a batch is augmented alike whoever prepares it, in whatever order and with however many threads. `DataLoader` gives the keys: they follow
from its seed, the loop, the batch and the place in the batch. Without a loader, one draw of lamella's random state gives them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import numpy as np

from lamella import random

GAMMA = np.uint64(0x9E3779B97F4A7C15)
BLOCK = 8


def _mixed(z: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): every bit of the result depends on every bit of z."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def keys(*numbers: int, count: int) -> np.ndarray:
    """uint64 keys of `count` samples, from whole numbers such as a seed, a loop and a batch."""
    key = np.zeros(1, np.uint64)
    for number in numbers:
        key = _mixed(key * GAMMA + np.uint64(number & (2**64 - 1)) + GAMMA)
    return _mixed(key + np.arange(1, count + 1, dtype=np.uint64) * GAMMA)


@lru_cache(64)
def _streams(first: int, count: int) -> np.ndarray:
    """What tells the draws of a sample apart: one row each."""
    return (np.arange(first, first + count, dtype=np.uint64) * GAMMA)[:, None]


class Draws:
    """The random numbers of a batch's samples, draw after draw."""

    def __init__(self, keys: np.ndarray):
        self.keys, self.made, self._start = keys, 0, 0
        self._block = np.empty((0, len(keys)), np.uint64)
        self._uniform: np.ndarray = np.empty((0, len(keys)))

    def __len__(self) -> int:
        return len(self.keys)

    def _next(self, count: int) -> int:
        """Where in the block the next `count` draws are. They are made BLOCK at a time: a few calls of NumPy cost more than the numbers."""
        if self.made + count > self._start + len(self._block):
            self._start = self.made
            self._block = _mixed(self.keys + _streams(self.made + 1, max(count, BLOCK)))
            self._uniform = (self._block >> np.uint64(11)) * 2.0**-53
        self.made += count
        return self.made - count - self._start

    def bits(self) -> np.ndarray:
        """64 random bits per sample."""
        place = self._next(1)
        return self._block[place]

    def uniform(self, low: Any = 0.0, high: Any = 1.0, count: int | None = None) -> np.ndarray:
        """Uniform numbers from low to below high, which are numbers or one per sample; with a count, so many per sample: (count, samples)."""
        first = self._next(count or 1)
        u = self._uniform[first] if count is None else self._uniform[first : first + count]
        return u * (high - low) + low

    def integers(self, low: Any, high: Any) -> np.ndarray:
        """Whole numbers from low to below high."""
        return np.floor(self.uniform(low, high)).astype(np.int64)

    def generator(self) -> np.random.Generator:
        """A generator for the batch as a whole."""
        return np.random.Generator(np.random.Philox(key=np.array([self.bits()[0] if len(self) else 0, 0], np.uint64)))

    def part(self, which: Any) -> Draws:
        """The draws of some of the samples."""
        return Draws(self.keys[which])


_current: ContextVar[Draws | None] = ContextVar("lamella.data.draws", default=None)


@contextlib.contextmanager
def drawing(draws: Draws) -> Iterator[None]:
    """In the block, transforms draw from these."""
    token = _current.set(draws)
    try:
        yield
    finally:
        _current.reset(token)


def current(count: int) -> Draws:
    """The draws for a batch of `count` samples here."""
    draws = _current.get()
    if draws is None:
        return Draws(keys(int(random.generator().integers(2**63)), count=count))
    if len(draws) == count:
        return draws
    return Draws(keys(int(draws.bits()[0]) if len(draws) else 0, count=count))


def current_part(which: Any) -> contextlib.AbstractContextManager[None]:
    """In the block, the draws are those of some of the batch's samples; without a loader, nothing changes."""
    draws = _current.get()
    return contextlib.nullcontext() if draws is None else drawing(draws.part(which))
