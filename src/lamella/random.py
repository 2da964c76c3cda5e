"""Random numbers that depend on a seed and on how many draws came before, and on nothing else.

Draw number n of seed s takes its numbers from its own generator, ``Philox(key=[s, n])``: counter-based, so independent of threads, of
the kernels in use and of how many numbers other draws took. The whole state is two integers. Safe to use from several threads.
"""

from __future__ import annotations

import threading

import numpy as np

__all__ = ["generator", "get_rng_state", "initial_seed", "manual_seed", "set_rng_state", "uniform"]

_lock = threading.Lock()
_seed = 0
_draws = 0
_MASK = (1 << 64) - 1


def manual_seed(seed: int) -> None:
    """Start the random numbers of lamella anew from `seed`.

    Parameters
    ----------
    seed : int
        Any integer; taken modulo 2**64.

    Examples
    --------
    >>> import lamella
    >>> lamella.manual_seed(7)
    >>> a = lamella.rand(3)
    >>> lamella.manual_seed(7)
    >>> bool((a == lamella.rand(3)).all())
    True
    """
    set_rng_state((seed, 0))


def initial_seed() -> int:
    """The seed in use.

    Examples
    --------
    >>> import lamella
    >>> lamella.manual_seed(7)
    >>> lamella.initial_seed()
    7
    """
    return _seed


def get_rng_state() -> tuple[int, int]:
    """The state: the seed, and the number of draws made from it.

    Examples
    --------
    >>> import lamella
    >>> lamella.manual_seed(7)
    >>> _ = lamella.rand(3)
    >>> lamella.get_rng_state()
    (7, 1)
    """
    with _lock:
        return _seed, _draws


def set_rng_state(state: tuple[int, int]) -> None:
    """Return to a state given by `get_rng_state`.

    Parameters
    ----------
    state : (int, int)

    Raises
    ------
    TypeError, ValueError
        The state is not a pair of integers, the second not negative.

    Examples
    --------
    >>> import lamella
    >>> state = lamella.get_rng_state()
    >>> a = lamella.rand(3)
    >>> lamella.set_rng_state(state)
    >>> bool((a == lamella.rand(3)).all())
    True
    """
    global _seed, _draws
    try:
        seed, draws = (v.__index__() for v in state)
    except (TypeError, AttributeError):
        raise TypeError(f"set_rng_state: expected (seed, draws), two integers, got {state!r}") from None
    if draws < 0:
        raise ValueError(f"set_rng_state: the number of draws cannot be negative, got {draws}")
    with _lock:
        _seed, _draws = seed & _MASK, draws


def generator() -> np.random.Generator:
    """The generator of the next draw.

    Examples
    --------
    >>> import lamella
    >>> lamella.manual_seed(0)
    >>> lamella.random.generator().permutation(4).shape
    (4,)
    """
    global _draws
    with _lock:
        key = np.array([_seed, _draws], dtype=np.uint64)
        _draws += 1
    return np.random.Generator(np.random.Philox(key=key))


def uniform(shape: tuple[int, ...]) -> np.ndarray:
    """float32 numbers between 0 and 1, one draw; they depend on the shape, not on a memory order.

    Those of images (four axes) lie in channels-last memory, as the fast kernels' results do.

    Parameters
    ----------
    shape : tuple of int

    Examples
    --------
    >>> import lamella
    >>> lamella.manual_seed(0)
    >>> lamella.random.uniform((2, 3)).shape
    (2, 3)
    """
    if len(shape) == 4:
        n, c, h, w = shape
        return np.moveaxis(generator().random((n, h, w, c), np.float32), -1, 1)
    return generator().random(shape, np.float32)
