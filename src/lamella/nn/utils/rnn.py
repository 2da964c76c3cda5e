"""Sequences of unequal length, packed and padded; weights of other libraries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lamella import functional as F
from lamella.tensor import Operation, Tensor, apply

__all__ = ["PackedSequence", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence", "pad_sequence", "reorder_gates"]


class PackedSequence(NamedTuple):
    """Sequences of unequal length without padding: all first elements, then all second elements, ...; the longest sequence first.

    Made by `pack_padded_sequence` or `pack_sequence`, taken and returned by RNN, LSTM and GRU.

    Attributes
    ----------
    data : Tensor or array, shape (elements, features)
    batch_sizes : int64 Tensor, shape (longest,)
        How many sequences have a first, second, ... element.
    sorted_indices, unsorted_indices : int64 Tensor, shape (batch,), or None
        Which sequence of the batch stands first, second, ...; and back. None: they were sorted.

    Examples
    --------
    >>> pack_sequence([np.zeros((3, 4)), np.zeros((2, 4))]).data.shape
    (5, 4)
    """

    data: Any
    batch_sizes: Any
    sorted_indices: Any = None
    unsorted_indices: Any = None


def _lengths(name: str, lengths: Any) -> np.ndarray:
    found = np.asarray(lengths.data if isinstance(lengths, Tensor) else lengths)
    if found.ndim != 1 or not found.size or found.dtype.kind not in "iu":
        raise ValueError(f"{name}: expected lengths as integers, one per sequence, got {lengths!r}")
    if found.min() <= 0:
        raise ValueError(f"{name}: expected lengths of at least 1, got {found.tolist()}; leave empty sequences out")
    return found.astype(np.int64)


def _present(sizes: np.ndarray) -> np.ndarray:
    """Mask (length, batch) of the elements there are, the longest sequence first."""
    return sizes[:, None] > np.arange(sizes[0])


def pack_padded_sequence(input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True) -> PackedSequence:
    """Take the padding out of a batch of sequences.

    Parameters
    ----------
    input : Tensor or array, shape (length, batch, features), with batch_first (batch, length, features)
    lengths : sequence, array or Tensor of int, shape (batch,)
    batch_first : bool
    enforce_sorted : bool
        True: the longest must come first. False: they are sorted, and outputs are put back in order.

    Returns
    -------
    PackedSequence

    Raises
    ------
    ValueError
        A length that is not positive or longer than the input; a wrong number of them; not sorted.

    Examples
    --------
    >>> x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 0.0]])[:, :, None]
    >>> packed = pack_padded_sequence(x, [3, 2], batch_first=True)
    >>> packed.data.ravel(), packed.batch_sizes
    (array([1., 4., 2., 5., 3.]), tensor([2, 2, 1]))
    """
    if len(input.shape) < 2:
        raise ValueError(f"pack_padded_sequence: expected input with a length, a batch and features, got shape {tuple(input.shape)}")
    if batch_first:
        input = F.transpose(input, 0, 1)
    found = _lengths("pack_padded_sequence", lengths)
    if len(found) != input.shape[1]:
        raise ValueError(f"pack_padded_sequence: expected {input.shape[1]} lengths, one per sequence, got {len(found)}")
    if found.max() > input.shape[0]:
        raise ValueError(f"pack_padded_sequence: a length of {found.max()} is more than the {input.shape[0]} steps of the input")
    order = back = None
    if (np.diff(found) > 0).any():
        if enforce_sorted:
            raise ValueError("pack_padded_sequence: expected the longest sequence first; pass enforce_sorted=False to have them sorted")
        order = np.argsort(-found, kind="stable")
        back = np.argsort(order)
        input, found = F.getitem(input, (slice(None), order)), found[order]
    sizes = (found[None, :] > np.arange(found[0])[:, None]).sum(axis=1)
    data = F.getitem(F.getitem(input, slice(0, len(sizes))), _present(sizes))
    return PackedSequence(data, Tensor(sizes), *(None if i is None else Tensor(i) for i in (order, back)))


def _unpack_forward(x: Any, sizes: np.ndarray, length: int, padding: float) -> tuple[np.ndarray, Any]:
    x = np.asarray(x)
    out = np.full((length, int(sizes[0]), *x.shape[1:]), padding, x.dtype)
    there = _present(sizes)
    out[: len(sizes)][there] = x
    return out, there


def _unpack_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray]:
    return (g[: len(saved)][saved],)


_UNPACK = Operation("pad_packed_sequence", _unpack_forward, _unpack_backward)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Any, Tensor]:
    """Put the padding back: the inverse of `pack_padded_sequence`.

    Parameters
    ----------
    sequence : PackedSequence
    batch_first : bool
    padding_value : float
    total_length : int, optional
        The length to pad to; default the longest sequence's.

    Returns
    -------
    padded : shape (length, batch, features), with batch_first (batch, length, features)
    lengths : int64 Tensor, shape (batch,)

    Raises
    ------
    ValueError
        total_length is less than the longest sequence.

    Examples
    --------
    >>> packed = pack_sequence([np.array([1.0, 2.0, 3.0]), np.array([4.0])])
    >>> pad_packed_sequence(packed, batch_first=True)
    (array([[1., 2., 3.],
           [4., 0., 0.]]), tensor([3, 1]))
    """
    sizes = np.asarray(sequence.batch_sizes.data if isinstance(sequence.batch_sizes, Tensor) else sequence.batch_sizes)
    length = len(sizes) if total_length is None else total_length
    if length < len(sizes):
        raise ValueError(f"pad_packed_sequence: total_length={total_length} is less than the longest sequence, {len(sizes)}")
    out = apply(_UNPACK, (sequence.data,), sizes, length, padding_value)
    lengths = _present(sizes).sum(axis=0)
    if sequence.unsorted_indices is not None:
        back = sequence.unsorted_indices
        out, lengths = F.getitem(out, (slice(None), back)), lengths[np.asarray(back.data if isinstance(back, Tensor) else back)]
    return (F.transpose(out, 0, 1) if batch_first else out), Tensor(lengths)


def pad_sequence(sequences: Sequence[Any], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right") -> Any:
    """Sequences of unequal length as one array.

    Parameters
    ----------
    sequences : sequence of Tensors or arrays, shapes (length, ...), equal but for the length
    batch_first : bool
    padding_value : float
    padding_side : {"right", "left"}

    Returns
    -------
    Tensor or array, shape (longest, batch, ...), with batch_first (batch, longest, ...)

    Raises
    ------
    ValueError
        No sequences, or another side.

    Examples
    --------
    >>> pad_sequence([np.array([1.0, 2.0]), np.array([3.0])], batch_first=True)
    array([[1., 2.],
           [3., 0.]])
    """
    if not len(sequences):
        raise ValueError("pad_sequence: expected at least one sequence")
    if padding_side not in ("right", "left"):
        raise ValueError(f"pad_sequence: padding_side must be 'right' or 'left', got {padding_side!r}")
    longest = max(s.shape[0] for s in sequences)
    padded = []
    for s in sequences:
        missing = longest - s.shape[0]
        widths = (missing, 0) if padding_side == "left" else (0, missing)
        padded.append(F.pad(s, (0, 0) * (len(s.shape) - 1) + widths, value=padding_value) if missing else s)
    return F.stack(padded, 0 if batch_first else 1)


def pack_sequence(sequences: Sequence[Any], enforce_sorted: bool = True) -> PackedSequence:
    """Pack a list of sequences.

    Parameters
    ----------
    sequences : sequence of Tensors or arrays, shapes (length, ...)
    enforce_sorted : bool
        As of `pack_padded_sequence`; where the lengths are not sorted, False is needed.

    Returns
    -------
    PackedSequence

    Raises
    ------
    ValueError
        As of `pack_padded_sequence`.

    Examples
    --------
    >>> pack_sequence([np.array([1.0, 2.0, 3.0]), np.array([4.0])]).data
    array([1., 4., 2., 3.])
    """
    return pack_padded_sequence(pad_sequence(sequences), [s.shape[0] for s in sequences], enforce_sorted=enforce_sorted)


_LETTERS = str.maketrans("ch", "gn")


def reorder_gates(weight: Any, source: str, target: str = "") -> np.ndarray:
    """Rows of an LSTM's or GRU's weight or bias in another order of gates.

    Parameters
    ----------
    weight : array or Tensor, shape (gates * hidden, ...)
        For weights of Keras, transposed first: they are (features, gates * hidden).
    source : str
        The order it has: of LSTMs "iofc" (ONNX), "ifco" (Keras), "ifgo" (PyTorch, lamella), c and g being one; of GRUs "zrh" (ONNX, Keras), "rzn"
        (PyTorch, lamella), h and n being one.
    target : str, optional
        The order wanted; default lamella's.

    Returns
    -------
    ndarray of the same shape, a copy

    Raises
    ------
    ValueError
        Orders that are none of a cell's, or a number of rows that is no multiple of the gates.

    Notes
    -----
    ONNX's GRU has linear_before_reset=0 by default: ``nn.GRU(..., reset_after=False)``. ONNX's tensors have a leading axis of directions, and B
    holds both biases in a row: ``reorder_gates(B[0][:3 * hidden], "zrh")`` is bias_ih_l0.

    Examples
    --------
    >>> reorder_gates(np.array([0, 1, 2, 3]), "iofc")  # what were i o f c are now i f g o
    array([0, 2, 3, 1])
    >>> reorder_gates(np.array([0, 1, 2]), "zrh")
    array([1, 0, 2])
    """
    x = np.asarray(weight.data if isinstance(weight, Tensor) else weight)
    have = source.lower().translate(_LETTERS)
    home = next((order for order in ("ifgo", "rzn") if sorted(order) == sorted(have)), None)
    want = target.lower().translate(_LETTERS) or home
    if home is None or want is None or sorted(want) != sorted(home):
        raise ValueError(
            f"reorder_gates: expected orders of the LSTM's gates i f g (or c) o, or of the GRU's r z n (or h); got {source!r} and {target!r}"
        )
    if not x.ndim or len(x) % len(home):
        raise ValueError(f"reorder_gates: expected rows for {len(home)} gates, got shape {x.shape}")
    blocks = x.reshape(len(home), len(x) // len(home), *x.shape[1:])
    return blocks[[have.index(gate) for gate in want]].reshape(x.shape)
