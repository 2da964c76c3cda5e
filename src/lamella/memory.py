"""Memory for results: a large block is kept when its array dies, and handed out again.

A network computes arrays of the same sizes at every step. Returned to the system and asked for anew, each would be filled with zero pages again
by page faults, which cost more than the arithmetic of an activation. Blocks of at least LEAST bytes are therefore kept, `blocks.limit` bytes at most
while unused; `lamella.empty_cache()` gives them back.
"""

from __future__ import annotations

from lamella.core import LEAST, blocks, empty, empty_like, owns_its_memory

__all__ = ["LEAST", "blocks", "empty", "empty_cache", "empty_like", "owns_its_memory"]


def empty_cache() -> None:
    """Return the memory that is kept for future results to the system.

    Examples
    --------
    >>> import lamella
    >>> lamella.empty_cache()
    """
    blocks.clear()
