"""Memory for results: a large block is kept when its array dies, and handed out again.

A network computes arrays of the same sizes at every step. Returned to the system and asked for anew, each would be filled with zero pages again
by page faults, which cost more than the arithmetic of an activation. Blocks of at least LEAST bytes are therefore kept, LIMIT bytes at most
while unused; `lamella.empty_cache()` gives them back.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np

LEAST = 1 << 17
LIMIT = 1 << 30
_ALIGN = 128

_free: dict[int, list[np.ndarray]] = {}
_idle = 0
_lock = threading.RLock()  # a block can die while its thread holds the lock


class _Block:
    """The owner of an array's memory: NumPy keeps it as the array's base until the last view has died."""

    __slots__ = ("__array_interface__", "raw")

    def __init__(self, raw: np.ndarray, interface: dict[str, Any]):
        self.raw = raw
        self.__array_interface__ = interface

    def __del__(self) -> None:
        global _idle
        if _lock is None:  # the interpreter is going down
            return
        with _lock:
            if _idle + self.raw.size <= LIMIT:
                _free.setdefault(self.raw.size, []).append(self.raw)
                _idle += self.raw.size


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()  # another thread may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _rounded(nbytes: int) -> int:
    """Up to a multiple of an eighth of the power of two below: sizes that differ little share blocks."""
    step = max(1 << (nbytes.bit_length() - 4), 4096)
    return -(-nbytes // step) * step + _ALIGN


def empty(shape: tuple[int, ...], dtype: np.dtype, strides: tuple[int, ...] | None = None) -> np.ndarray:
    """Like numpy.empty; with the strides of a dense array, if given."""
    global _idle
    nbytes = dtype.itemsize
    for n in shape:
        nbytes *= n
    if nbytes < LEAST or nbytes > LIMIT:
        return np.empty(shape, dtype) if strides is None else np.ndarray(shape, dtype, np.empty(nbytes, np.uint8), 0, strides)
    size = _rounded(nbytes)
    with _lock:
        kept = _free.get(size)
        if kept:
            raw = kept.pop()
            _idle -= size
        else:
            raw = None
    if raw is None:
        raw = np.empty(size, np.uint8)
    address = raw.__array_interface__["data"][0]
    interface = {"shape": shape, "typestr": dtype.str, "data": (address + -address % _ALIGN, False), "strides": strides, "version": 3}
    return np.asarray(_Block(raw, interface))


def empty_like(x: np.ndarray) -> np.ndarray:
    """An array of the shape, dtype and memory order of a dense array."""
    return empty(x.shape, x.dtype, None if x.flags.c_contiguous else x.strides)


def owns_its_memory(x: np.ndarray) -> bool:
    """Whether no other array was made of x's memory before it: true of results of `empty` and of NumPy's own, false of views."""
    return x.base is None or type(x.base) is _Block


def empty_cache() -> None:
    """Return the memory that is kept for future results to the system.

    Examples
    --------
    >>> import lamella
    >>> lamella.empty_cache()
    """
    global _idle
    with _lock:
        _free.clear()
        _idle = 0
