"""Memory for results: a large block is kept when its array dies, and handed out again.

A network computes arrays of the same sizes at every step. Returned to the system and asked for anew, each would be filled with zero pages again
by page faults, which cost more than the arithmetic of an activation. Blocks of at least LEAST bytes are therefore kept, LIMIT bytes at most
while unused; `lamella.empty_cache()` gives them back.
"""

from __future__ import annotations

import os
import threading

import numpy as np

from lamella.core import Block, empty, empty_like, large_blocks, owns_its_memory

__all__ = ["LEAST", "LIMIT", "empty", "empty_cache", "empty_like", "owns_its_memory"]

LEAST = 1 << 17
LIMIT = 1 << 30
_ALIGN = 128

_free: dict[int, list[np.ndarray]] = {}
_idle = 0
_lock = threading.RLock()  # a block can die while its thread holds the lock


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()  # another thread may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _rounded(nbytes: int) -> int:
    """Up to a multiple of an eighth of the power of two below: sizes that differ little share blocks."""
    step = max(1 << (nbytes.bit_length() - 4), 4096)
    return -(-nbytes // step) * step + _ALIGN


def _take(nbytes: int) -> Block | None:
    """A block of at least nbytes, kept or new."""
    global _idle
    if nbytes > LIMIT:
        return None
    size = _rounded(nbytes)
    with _lock:
        kept = _free.get(size)
        if kept:
            raw = kept.pop()
            _idle -= size
        else:
            raw = None
    return Block(np.empty(size, np.uint8) if raw is None else raw, _ALIGN, _give)


def _give(raw: np.ndarray) -> None:
    """The last view of a block has died."""
    global _idle
    if _lock is None:  # the interpreter is going down
        return
    with _lock:
        if _idle + raw.size <= LIMIT:
            _free.setdefault(raw.size, []).append(raw)
            _idle += raw.size


large_blocks(_take, LEAST)


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
