"""A batch of images moved, changed, erased in part, mixed: the functions that `lamella.data.transforms` call."""

from __future__ import annotations

from functools import cache, lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np

from lamella.layout import empty_channels_last
from lamella.problems import AugmentProblem
from lamella.problems.augment import STEPS
from lamella.registry import select

ONE = 1 << 16  # a pixel, in the units of places
FARTHEST = 1 << 14  # pixels
IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))


@cache
def _normal(dtype: np.dtype) -> np.ndarray:
    """4096 quantiles of the normal distribution, scaled so that the sum of two drawn at random has variance 1."""
    quantile = NormalDist().inv_cdf
    upper = np.array([quantile((i + 0.5) / 4096) for i in range(2048, 4096)])
    return (np.concatenate([-upper[::-1], upper]) / np.sqrt(2 * np.mean(upper * upper))).astype(dtype)


def _images(name: str, images: Any) -> tuple[np.ndarray, bool]:
    """The batch as a kernel takes it, and whether its memory is channels-last."""
    x = np.asarray(images)
    if x.ndim != 4:
        raise ValueError(
            f"{name}: expected images of shape (N, C, H, W), got {x.shape}; one image: image[None], one channel: images[:, None]"
        )
    if x.dtype not in (np.uint8, np.float32, np.float64):
        raise TypeError(f"{name}: expected images of uint8, float32 or float64, got {x.dtype}; convert with images.astype")
    if 0 in x.shape[1:]:
        raise ValueError(f"{name}: expected images with at least one pixel, got {x.shape}")
    if x.flags.c_contiguous:
        return x, False
    if x.transpose(0, 2, 3, 1).flags.c_contiguous:
        return x, True
    return np.ascontiguousarray(x), False


Numbers = tuple[float, ...]


@lru_cache(256)
def _channels(fill: Numbers, gain: Numbers, offset: Numbers, value: Numbers, channels: int, unit: float, dtype: np.dtype) -> np.ndarray:
    """What the kernel takes per channel."""
    rows = []
    for what, given, scale in (("fill", fill, unit), ("gain", gain, 1 / unit), ("offset", offset, 1.0), ("value", value, 1.0)):
        if len(given) not in (1, channels) or not np.isfinite(given).all():
            raise ValueError(f"augment: expected {what} to be one number or {channels}, one per channel, got {given}")
        rows.append(np.broadcast_to(np.array(given) * scale, (channels,)))
    return np.array(rows, dtype)


def _per_image(name: str, what: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    given = np.asarray(value, np.float64)
    if given.shape == shape:
        return given
    try:
        return np.broadcast_to(given, shape)
    except ValueError:
        raise ValueError(f"{name}: expected {what} of shape {shape}, got {np.shape(value)}") from None


def _boxes(name: str, box: Any, n: int, height: int, width: int) -> np.ndarray:
    found = np.asarray(box, np.int32)
    if found.shape != (n, 4) or not found.flags.c_contiguous:
        found = np.ascontiguousarray(np.broadcast_to(found, (n, 4)))
    bottom, right = found[:, 2:].max(0, initial=0).tolist()
    if n and (found.min() < 0 or bottom > height or right > width or (found[:, :2] > found[:, 2:]).any()):
        raise ValueError(f"{name}: expected boxes (top, left, bottom, right) inside {height} x {width} images")
    return found


def augment(
    images: Any, matrix: Any = None, size: tuple[int, int] | None = None, *, interpolation: str = "bilinear", padding_mode: str = "constant",
    fill: Any = 0.0, brightness: Any = None, contrast: Any = None, noise: Any = None, keys: Any = None, clip: bool = True, box: Any = None,
    value: Any = 0.0, gain: Any = 1.0, offset: Any = 0.0,
) -> np.ndarray:  # fmt: skip
    """One pass over a batch of images: moved by an affine map, changed in brightness and contrast, noisy, scaled, erased in part.

    v[y, x] = image[m00 y + m01 x + m02, m10 y + m11 x + m12];  v = clip(brightness v);  v = clip(contrast v + (1 - contrast) mean(v));
    v = v + noise z;  out = gain v + offset, value inside the box. Bytes count in units of 1/255, so that all numbers here, and the result, are
    those of images between 0 and 1.

    Parameters
    ----------
    images : array (N, C, H, W) of uint8, float32 or float64
    matrix : array (N, 2, 3) or (2, 3), optional
        Where in the image, in rows and columns of pixels, the result's pixel (y, x) lies. Rounded to 1/65536; interpolation rounds places
        to 1/256 of a pixel.
    size : (int, int), optional
        Height and width of the result. Default: of the images.
    interpolation : {"bilinear", "nearest"}
    padding_mode : {"constant", "edge", "reflect", "symmetric"}
        What lies beyond the images: `fill`, the border's pixels, or the image mirrored at the middle or the edge of its border.
    fill, value, gain, offset : float, or one per channel
    brightness, contrast, noise : float or array (N,), optional
        Factors, and the standard deviation of the normal noise. Values are clipped to 0 ... 1 after each of the first two.
    keys : array (N,) of uint64, optional
        What the noise follows from; needed with `noise`.
    clip : bool
        Clip to 0 ... 1 after the noise.
    box : array (N, 4) or (4,) of int, optional
        Top, left, bottom, right of what is erased.

    Returns
    -------
    float32 array (N, C, H, W), float64 of float64 images, in channels-last memory

    Raises
    ------
    TypeError
        Images of another type.
    ValueError
        Shapes that do not match; places further than 16384 pixels from the image; boxes beyond the result.

    Notes
    -----
    The same bits for any number of threads. Kernel `augment`; its manual page has the formulas.

    Examples
    --------
    >>> image = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)
    >>> augment(image, [[1, 0, 0], [0, -1, 2]])[0, 0]  # mirrored
    array([[2., 1., 0.],
           [5., 4., 3.]], dtype=float32)
    >>> augment(image, [[1, 0, 0.5], [0, 1, 0]], padding_mode="edge")[0, 0]
    array([[1.5, 2.5, 3.5],
           [3. , 4. , 5. ]], dtype=float32)
    """
    x, last = _images("augment", images)
    n, c, h, w = x.shape
    if interpolation not in ("bilinear", "nearest"):
        raise ValueError(f"augment: expected interpolation bilinear or nearest, got {interpolation!r}")
    oh, ow = (h, w) if size is None else (int(v) for v in size)
    of_bytes = x.dtype == np.uint8
    dtype = np.dtype(np.float32) if of_bytes else x.dtype
    unit = 255.0 if of_bytes else 1.0
    steps = 0
    if brightness is not None or contrast is not None:
        steps |= STEPS["values"]
    if noise is not None:
        steps |= STEPS["noise"] | (STEPS["clip"] if clip else 0)
        if keys is None:
            raise ValueError("augment: noise needs keys, one per image, from which it follows")
    if box is not None:
        steps |= STEPS["erase"]
        box = _boxes("augment", box, n, oh, ow)
    p = AugmentProblem.of(
        n, c, h, w, oh, ow, "uint8" if of_bytes else "float", last, padding_mode, interpolation == "nearest", steps, dtype
    )
    out = empty_channels_last((n, c, oh, ow), dtype)
    if not n:
        return out
    m = _per_image("augment", "matrix", IDENTITY if matrix is None else matrix, (n, 2, 3))
    (yy, yx, y0), (xy, xx, x0) = np.abs(m).max(0).tolist()
    if not (yy * oh + yx * ow + y0 < FARTHEST and xy * oh + xx * ow + x0 < FARTHEST):
        raise ValueError(
            f"augment: expected finite places at most {FARTHEST} pixels from the image; is the matrix that of the result's pixels?"
        )
    places = np.rint(m * ONE).astype(np.int32).reshape(n, 6)
    changes = None
    if steps & (STEPS["values"] | STEPS["noise"]):
        changes = np.empty((n, 3), dtype)
        for i, (what, given, scale) in enumerate((("brightness", brightness, 1.0), ("contrast", contrast, 1.0), ("noise", noise, unit))):
            changes[:, i] = 1 if given is None else _per_image("augment", what, given, (n,)) * scale
    key = None if noise is None else np.ascontiguousarray(_keys(keys, n))
    fills, gains, offsets, values = (
        (v,) if isinstance(v, (int, float)) else tuple(np.ravel(v).tolist()) for v in (fill, gain, offset, value)
    )
    channels = _channels(fills, gains, offsets, values, c, unit, dtype)
    normal = None if noise is None else _normal(dtype)
    select("augment", "forward", p)(p, x, places, changes, key, normal, box, channels, out)
    return out


def _keys(keys: Any, n: int) -> np.ndarray:
    found = np.asarray(keys)
    if found.shape != (n,) or found.dtype.kind not in "iu":
        raise ValueError(f"augment: expected keys, {n} integers, one per image, got shape {found.shape} of {found.dtype}")
    return found.astype(np.uint64, copy=False).view(np.int64)


def mix(images: Any, partner: Any, weight: Any, box: Any = None) -> np.ndarray:
    """Each image mixed with another one of the batch: weight image + (1 - weight) partner inside the box, the image outside of it.

    Parameters
    ----------
    images : array (N, C, H, W) of float32 or float64
    partner : array (N,) of int
        The other image's place in the batch.
    weight : float or array (N,)
        The image's own share.
    box : array (N, 4) or (4,) of int, optional
        Top, left, bottom, right. Default: the whole image.

    Returns
    -------
    array of the images' shape, type and memory order

    Raises
    ------
    TypeError
        Images of bytes.
    ValueError
        Partners that are not in the batch; boxes beyond the images.

    Examples
    --------
    >>> images = np.array([0.0, 8.0]).reshape(2, 1, 1, 1) * np.ones((1, 1, 1, 2))
    >>> mix(images, [1, 0], 0.75)[:, 0, 0]
    array([[2., 2.],
           [6., 6.]])
    >>> mix(images, [1, 0], 0.0, box=(0, 1, 1, 2))[:, 0, 0]
    array([[0., 8.],
           [8., 0.]])
    """
    x, last = _images("mix", images)
    if x.dtype == np.uint8:
        raise TypeError("mix: expected images of floats, got uint8; transforms.ToFloat makes them")
    n, c, h, w = x.shape
    p = AugmentProblem.of(n, c, h, w, h, w, "float", last, "constant", False, 0, x.dtype)
    out = empty_channels_last(x.shape, x.dtype) if last else np.empty_like(x)
    if not n:
        return out
    others = np.ascontiguousarray(partner, np.int32)
    if others.shape != (n,) or others.min() < 0 or others.max() >= n:
        raise ValueError(f"mix: expected {n} partners from 0 to {n - 1}, got {partner!r}")
    weights = np.ascontiguousarray(_per_image("mix", "weight", weight, (n,)), x.dtype)
    select("augment", "mix", p)(p, x, others, weights, _boxes("mix", (0, 0, h, w) if box is None else box, n, h, w), out)
    return out
