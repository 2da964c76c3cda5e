"""interpolate, pixel_shuffle and pixel_unshuffle: other numbers of pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lamella.functional.shape import permute, reshape
from lamella.layout import channels_last, operand
from lamella.tensor import Operation, Tensor, apply

__all__ = ["interpolate", "pixel_shuffle", "pixel_unshuffle", "upsample"]

Taps = list[tuple[np.ndarray, np.ndarray | None]]
LINEAR = {"linear": 3, "bilinear": 4, "trilinear": 5}  # and the number of axes they take


def _taps(mode: str, size: int, out: int, ratio: float | None, align_corners: bool) -> Taps:
    """What out pixels of one axis are made of: (places, rising, and weights or None for 1) per tap.

    ratio: of input to output pixels, where it is not that of the sizes.
    """
    o = np.arange(out, dtype=np.float64)
    scale = size / out if ratio is None else ratio
    if mode.startswith("nearest"):  # in float32, as PyTorch does it: ties fall as they do there
        at = (o + (0.5 if mode == "nearest-exact" else 0.0)).astype(np.float32) * np.float32(scale)
        return [(np.minimum(np.floor(at).astype(np.int64), size - 1), None)]
    if align_corners:
        at = o * ((size - 1) / (out - 1) if out > 1 else 0.0)
    else:
        at = np.maximum((o + 0.5) * scale - 0.5, 0.0)
    low = np.minimum(np.floor(at).astype(np.int64), size - 1)
    far = np.clip(at - low, 0.0, 1.0)
    return [(low, 1 - far), (np.minimum(low + 1, size - 1), far)]


def _column(weights: np.ndarray, x: np.ndarray, axis: int) -> np.ndarray:
    return weights.astype(x.dtype).reshape((-1,) + (1,) * (x.ndim - 1 - axis))


def _resample(x: np.ndarray, axis: int, taps: Taps) -> np.ndarray:
    out = np.zeros(0)
    for i, (places, weights) in enumerate(taps):
        part = x.take(places, axis)
        if weights is not None:
            part *= _column(weights, x, axis)
        out = part if i == 0 else np.add(out, part, out=out)
    return out


def _spread(g: np.ndarray, axis: int, taps: Taps, size: int) -> np.ndarray:
    """The adjoint of `_resample`: neighbours with one place are added up first, so that nothing is scattered twice."""
    dx = np.zeros((*g.shape[:axis], size, *g.shape[axis + 1 :]), g.dtype)
    for places, weights in taps:
        found, starts = np.unique(places, return_index=True)
        part = g if weights is None else g * _column(weights, g, axis)
        dx[(slice(None),) * axis + (found,)] += np.add.reduceat(part, starts, axis)
    return dx


def _forward(x: Any, taps: list[Taps]) -> tuple[np.ndarray, Any]:
    x = channels_last(operand(x, "interpolate"))
    last = x.transpose(0, *range(2, x.ndim), 1)
    with np.errstate(all="ignore"):  # infinities and NaN propagate
        for axis, each in enumerate(taps, 1):
            last = _resample(last, axis, each)
    return np.moveaxis(last, -1, 1), (x.shape, taps)


def _backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray]:
    shape, taps = saved
    g = channels_last(g)
    last = g.transpose(0, *range(2, g.ndim), 1)
    with np.errstate(all="ignore"):
        for axis in range(len(taps), 0, -1):
            last = _spread(last, axis, taps[axis - 1], shape[axis + 1])
    return (np.moveaxis(last, -1, 1),)


_INTERPOLATE = Operation("interpolate", _forward, _backward)


def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
) -> Any:
    """Images, sequences or volumes with another number of pixels.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, L), (N, C, H, W) or (N, C, D, H, W), of float32 or float64
    size : int or tuple of int, optional
        Of the output, without N and C. Either this or scale_factor.
    scale_factor : float or tuple of float, optional
        Output pixels per input pixel; the size is rounded down.
    mode : {"nearest", "nearest-exact", "linear", "bilinear", "trilinear"}
        "nearest" takes pixel floor(i * H / OH); "nearest-exact" the one whose middle is nearest; the linear modes, for three, four and five
        axes, weigh the two neighbours along every axis.
    align_corners : bool, optional
        Of the linear modes: pixel i of the output lies at i * (H - 1) / (OH - 1), so that the middles of the corner pixels coincide; otherwise (False, the
        default) at (i + 1/2) * H / OH - 1/2, so that the images' edges do.
    recompute_scale_factor : bool, optional
        Take the ratio of the sizes, rounded down, instead of the scale_factor given.

    Returns
    -------
    array or Tensor, in channels-last memory

    Raises
    ------
    ValueError
        Neither or both of size and scale_factor; another mode, or one of another number of axes; an empty image; align_corners where it has no meaning.

    Notes
    -----
    Source: the definitions of PyTorch's interpolate.

    Examples
    --------
    >>> interpolate(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), scale_factor=2)[0, 0]
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.],
           [3., 3., 4., 4.],
           [3., 3., 4., 4.]])
    >>> interpolate(np.array([[[0.0, 3.0]]]), size=4, mode="linear", align_corners=True)
    array([[[0., 1., 2., 3.]]])
    """
    input = input if isinstance(input, Tensor) else np.asarray(input)
    shape = input.shape
    if len(shape) not in (3, 4, 5):
        raise ValueError(f"interpolate: expected input (N, C, L), (N, C, H, W) or (N, C, D, H, W), got {shape}")
    if mode not in ("nearest", "nearest-exact", *LINEAR):
        raise ValueError(f"interpolate: expected mode to be one of nearest, nearest-exact, {', '.join(LINEAR)}, got {mode!r}")
    if LINEAR.get(mode, len(shape)) != len(shape):
        right = next(name for name, axes in LINEAR.items() if axes == len(shape))
        raise ValueError(f"interpolate: mode {mode!r} takes inputs of {LINEAR[mode]} axes, got {shape}; for this one it is {right!r}")
    if align_corners is not None and mode not in LINEAR:
        raise ValueError(f"interpolate: align_corners is for the linear modes, got mode {mode!r}")
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: expected either size or scale_factor")
    axes = len(shape) - 2
    given = size if scale_factor is None else scale_factor
    numbers = tuple(given) if isinstance(given, (tuple, list)) else (given,) * axes
    if len(numbers) != axes:
        raise ValueError(f"interpolate: expected one number or {axes} for an input {shape}, got {given!r}")
    ratios: tuple[float | None, ...] = (None,) * axes
    if scale_factor is not None:
        sizes = tuple(math.floor(n * f) for n, f in zip(shape[2:], numbers))
        if not recompute_scale_factor:
            ratios = tuple(1 / f for f in numbers)
    else:
        sizes = numbers
        if not all(hasattr(n, "__index__") for n in sizes):
            raise TypeError(f"interpolate: expected size in whole pixels, got {size!r}")
    if min(sizes) < 1 or min(shape[1:]) < 1:
        raise ValueError(f"interpolate: input {shape} and output size {sizes} must not be empty")
    taps = [_taps(mode, n, out, ratio, bool(align_corners)) for n, out, ratio in zip(shape[2:], sizes, ratios)]
    return apply(_INTERPOLATE, (input,), taps)


def upsample(input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None) -> Any:
    """`interpolate` by its older name.

    Parameters
    ----------
    input, size, scale_factor, mode, align_corners
        As for `interpolate`.

    Examples
    --------
    >>> upsample(np.ones((1, 1, 2, 2)), scale_factor=3).shape
    (1, 1, 6, 6)
    """
    return interpolate(input, size, scale_factor, mode, align_corners)


def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """Channels become pixels: (N, C r r, H, W) to (N, C, H r, W r).

    Parameters
    ----------
    input : array or Tensor, shape (N, C, H, W) or (C, H, W)
    upscale_factor : int
        r, whose square divides the number of channels.

    Returns
    -------
    array or Tensor; channel c, pixel (y r + i, x r + j) is channel c r r + i r + j, pixel (y, x) of the input

    Raises
    ------
    ValueError
        The channels are no multiple of r * r.

    Notes
    -----
    Shi et al., CVPR 2016 (arXiv:1609.05158).

    Examples
    --------
    >>> pixel_shuffle(np.arange(4.0).reshape(1, 4, 1, 1), 2)[0, 0]
    array([[0., 1.],
           [2., 3.]])
    """
    lead, (c, h, w) = _images("pixel_shuffle", input)
    r = _factor("pixel_shuffle", "upscale_factor", upscale_factor)
    if c % (r * r):
        raise ValueError(f"pixel_shuffle: upscale_factor {r} needs a multiple of {r * r} channels, got input {(*lead, c, h, w)}")
    c //= r * r
    pixels = permute(reshape(input, (-1 if h * w * c else 0, c * r * r, h, w)), (0, 2, 3, 1))  # channels last, as the memory is
    pixels = permute(reshape(pixels, (*pixels.shape[:3], c, r, r)), (0, 1, 4, 2, 5, 3))
    return reshape(permute(reshape(pixels, (pixels.shape[0], h * r, w * r, c)), (0, 3, 1, 2)), (*lead, c, h * r, w * r))


def pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """Pixels become channels: (N, C, H r, W r) to (N, C r r, H, W), the inverse of `pixel_shuffle`.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, H, W) or (C, H, W)
    downscale_factor : int
        r, which divides height and width.

    Returns
    -------
    array or Tensor

    Raises
    ------
    ValueError
        r does not divide height and width.

    Examples
    --------
    >>> pixel_unshuffle(np.arange(4.0).reshape(1, 1, 2, 2), 2).shape
    (1, 4, 1, 1)
    """
    lead, (c, h, w) = _images("pixel_unshuffle", input)
    r = _factor("pixel_unshuffle", "downscale_factor", downscale_factor)
    if h % r or w % r:
        raise ValueError(f"pixel_unshuffle: downscale_factor {r} must divide height and width of input {(*lead, c, h, w)}")
    h, w = h // r, w // r
    pixels = permute(reshape(input, (-1 if h * w * c else 0, c, h * r, w * r)), (0, 2, 3, 1))
    pixels = permute(reshape(pixels, (pixels.shape[0], h, r, w, r, c)), (0, 1, 3, 5, 2, 4))
    return reshape(permute(reshape(pixels, (pixels.shape[0], h, w, c * r * r)), (0, 3, 1, 2)), (*lead, c * r * r, h, w))


def _images(name: str, input: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    shape = input.shape if isinstance(input, Tensor) else np.shape(input)
    if len(shape) not in (3, 4):
        raise ValueError(f"{name}: expected input (N, C, H, W) or (C, H, W), got {shape}")
    return shape[:-3], shape[-3:]


def _factor(name: str, what: str, r: Any) -> int:
    if not hasattr(r, "__index__") or r < 1:
        raise ValueError(f"{name}: expected {what} to be a positive integer, got {r!r}")
    return int(r)
