"""pad, in every mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lamella.functional._broadcast import channels_last_only, empty, zeros
from lamella.tensor import Operation, Tensor, apply

__all__ = ["pad"]

Widths = tuple[tuple[int, int], ...]
MODES = ("constant", "reflect", "replicate", "circular")


def _along(axis: int, start: int, stop: int, backwards: bool = False) -> tuple[slice, ...]:
    """An index that takes start to stop - 1 of one axis, from behind if asked."""
    first, last = (stop - 1, start - 1 if start else None) if backwards else (start, stop)
    return (slice(None),) * axis + (slice(first, last, -1 if backwards else 1),)


def _borders(mode: str, shape: tuple[int, ...], widths: Widths) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """(target, source) of every border of the padded array: axis after axis, so that corners are copied from borders."""
    found = []
    for axis, (n, (low, high)) in enumerate(zip(shape, widths)):
        end = low + n  # of the input, in the padded array
        if mode == "reflect":
            sources = _along(axis, low + 1, 2 * low + 1, True), _along(axis, end - 1 - high, end - 1, True)
        elif mode == "replicate":
            sources = _along(axis, low, low + 1), _along(axis, end - 1, end)
        else:
            sources = _along(axis, end - low, end), _along(axis, low, low + high)
        targets = _along(axis, 0, low), _along(axis, end, end + high)
        found += [(target, source) for target, source, width in zip(targets, sources, (low, high)) if width]
    return found


def _pad_forward(x: Any, widths: Widths, mode: str, value: float) -> tuple[np.ndarray, Any]:
    x = np.asarray(x)
    shape = tuple(n + low + high for n, (low, high) in zip(x.shape, widths))
    if any(n < 0 for n in shape):
        raise ValueError(f"pad: negative padding cuts away more than there is of shape {x.shape}")
    last = channels_last_only(x)
    out = empty(shape, x.dtype, last)
    inner = tuple(slice(max(low, 0), n - max(high, 0)) for n, (low, high) in zip(shape, widths))
    kept = tuple(slice(max(-low, 0), n - max(-high, 0)) for n, (low, high) in zip(x.shape, widths))
    borders = []
    if mode == "constant":
        out.fill(value)
        out[inner] = x[kept]
    else:
        out[inner] = x[kept]
        borders = _borders(mode, tuple(s.stop - s.start for s in inner), tuple((max(low, 0), max(high, 0)) for low, high in widths))
        for target, source in borders:
            out[target] = out[source]
    return out, (x.shape, inner, kept, last, borders)


def _pad_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray]:
    shape, inner, kept, channels_last, borders = saved
    if borders:
        g = g.copy(order="K")
    for target, source in reversed(borders):
        back = g[target]
        wide = g[source].shape
        axes = tuple(i for i, (n, m) in enumerate(zip(back.shape, wide)) if n != m)  # replicate: one row gave many
        g[source] += back.sum(axes, keepdims=True) if axes else back
    dx = zeros(shape, g.dtype, channels_last)
    dx[kept] = g[inner]
    return (dx,)


_PAD = Operation("pad", _pad_forward, _pad_backward)


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Any:
    """Surround with a constant, with the input mirrored, with its border repeated, or with its other end. Channels-last memory stays so.

        reflect      3 2 | 1 2 3 | 2 1         replicate    1 1 | 1 2 3 | 3 3         circular    2 3 | 1 2 3 | 1 2

    Parameters
    ----------
    input : array or Tensor
    pad : sequence of int
        (low, high) of the last axis, then of the last but one, and so on: (left, right, top, bottom) of images. Negative ones cut, before
        anything is added.
    mode : {"constant", "reflect", "replicate", "circular"}
    value : float
        The constant.

    Returns
    -------
    array or Tensor

    Raises
    ------
    ValueError
        An odd number of widths, more than there are axes, or another mode; reflect by as much as an axis has, circular by more, replicate of
        an empty axis.

    Notes
    -----
    Source: the definitions of PyTorch's pad, here on any axes.

    Examples
    --------
    >>> pad(np.ones((1, 2)), (1, 0))
    array([[0., 1., 1.]])
    >>> pad(np.array([1.0, 2.0, 3.0]), (2, 1), mode="reflect")
    array([3., 2., 1., 2., 3., 2.])
    """
    shape = input.shape if isinstance(input, Tensor) else np.shape(input)
    if mode not in MODES:
        raise ValueError(f"pad: expected mode to be one of {', '.join(MODES)}, got {mode!r}")
    if len(pad) % 2 or len(pad) > 2 * len(shape) or not all(hasattr(n, "__index__") for n in pad):
        raise ValueError(f"pad: expected pairs of integers (low, high), last axis first, for at most {len(shape)} axes; got {tuple(pad)}")
    pairs = [(pad[i].__index__(), pad[i + 1].__index__()) for i in range(0, len(pad), 2)]
    widths = ((0, 0),) * (len(shape) - len(pairs)) + tuple(pairs[::-1])
    for axis, (size, (low, high)) in enumerate(zip(shape, widths)):
        size += min(low, 0) + min(high, 0)
        most = {"reflect": size - 1, "circular": size, "replicate": max(low, high) if size > 0 else 0}.get(mode)
        if most is not None and max(low, high) > most and max(low, high) > 0:
            raise ValueError(
                f"pad: mode {mode!r} can add at most {max(most, 0)} to axis {axis} of size {size}, got {(low, high)}; input shape {shape}"
            )
    return apply(_PAD, (input,), widths, mode, value)
