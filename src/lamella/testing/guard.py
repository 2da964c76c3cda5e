"""Arrays whose memory ends where reading or writing on is a crash."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np
from numpy.lib.array_utils import byte_bounds

_libc = ctypes.CDLL(None, use_errno=True)
_PAGE = mmap.PAGESIZE


def _protect(address: int, length: int) -> None:
    if _libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(length), 0):  # PROT_NONE
        raise OSError(ctypes.get_errno(), "mprotect failed")


def guarded(x: np.ndarray, end: str) -> np.ndarray:
    """A copy of x, with its strides, flush against an unreadable page before (`end` "low") or behind it ("high").

    The page on the other side is unreadable too, up to a page away. The memory is returned when the copy is collected.
    """
    low, high = byte_bounds(x) if x.size else (0, 0)
    span = high - low
    inner = -(-max(span, 1) // _PAGE) * _PAGE
    block = mmap.mmap(-1, inner + 2 * _PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(block))
    _protect(start, _PAGE)
    _protect(start + _PAGE + inner, _PAGE)
    offset = _PAGE if end == "low" else _PAGE + inner - span
    offset += x.__array_interface__["data"][0] - low if x.size else 0
    copy = np.ndarray(x.shape, x.dtype, block, offset, x.strides)
    copy[...] = x
    return copy
