"""IDX files, the format of MNIST."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_RATIO = 1032  # deflate cannot shrink more


def read_idx(path: str | os.PathLike, ndim: int | None = None) -> np.ndarray:
    """Read an array from an IDX file, compressed by gzip or not.

    The format (LeCun's, of MNIST): two zero bytes, a type code, the number of axes, their lengths as big-endian 32-bit integers, the data. Type
    and sizes are checked against the size of the file before memory is taken.

    Parameters
    ----------
    path : str or path
    ndim : int, optional
        The number of axes expected.

    Returns
    -------
    ndarray in native byte order

    Raises
    ------
    ValueError
        The file is truncated, too long, or no IDX file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "three")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
    ...     read_idx(path)
    array([7, 8, 9], dtype=uint8)
    """
    path = Path(path)
    size = path.stat().st_size
    with open(path, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            with gzip.GzipFile(fileobj=raw) if packed else raw as file:
                return _read_idx(file, path, ndim, size, packed)  # type: ignore[arg-type]
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: expected a whole gzip file, got one that is damaged ({error}); fetch it again") from None


def _read_idx(file: BinaryIO, path: Path, ndim: int | None, size: int, packed: bool) -> np.ndarray:
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _IDX_TYPES or start[3] == 0:
        raise ValueError(
            f"{path}: expected an IDX file (it begins with 00 00, a type and a number of axes), got {start.hex(' ') or 'an empty file'}"
        )
    if ndim is not None and start[3] != ndim:
        what = {1: "labels", 3: "images"}.get(ndim, "an array")
        raise ValueError(f"{path}: expected {what} with {ndim} axes, got {start[3]}; are images and labels interchanged?")
    header = file.read(4 * start[3])
    if len(header) < 4 * start[3]:
        raise ValueError(f"{path}: expected {start[3]} sizes after the first 4 bytes, got the end of the file; fetch it again")
    shape = tuple(int(n) for n in np.frombuffer(header, ">u4"))
    dtype = np.dtype(_IDX_TYPES[start[2]])
    expected = math.prod(shape) * dtype.itemsize
    there = size - 4 - len(header)
    if (expected > size * _MAX_RATIO) if packed else (expected != there):
        got = f"a compressed file of {size} bytes, which cannot hold them" if packed else f"{there}"
        raise ValueError(f"{path}: expected {expected} bytes of data for shape {shape}, got {got}; fetch it again")
    data = np.empty(expected, np.uint8)
    view, done = data.data, 0
    while done < expected and (n := file.readinto(view[done:])):  # type: ignore[attr-defined]
        done += n
    if done < expected or file.read(1):
        got = f"{done}" if done < expected else "more"
        raise ValueError(f"{path}: expected {expected} bytes of data for shape {shape}, got {got}; fetch it again")
    return data.view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
