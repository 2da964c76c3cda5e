"""Integral images, sums over rectangles, and grey levels."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.memory import empty
from lamella.problems import IntegralProblem
from lamella.registry import select


def integral_image(image: Any, squared: bool = False, tilted: bool = False) -> Any:
    """Sums over everything above and to the left of each point, by one pass over the image.

    out[y, x] = sum of image[j, i] for j < y, i < x, by the recursion s(y, x) = s(y, x-1) + i(y, x), ii(y, x) = ii(y-1, x) + s(y, x).
    The tilted sums are tilted[y, x] = sum of image[j, i] for j < y, abs(i - x + 1) <= y - j - 1. Shapes and types are those of OpenCV's
    integral, integral2 and integral3.

    Parameters
    ----------
    image : array (H, W) or (N, H, W) of uint8, float32 or float64
    squared : bool
        Also the sums of the squared pixels.
    tilted : bool
        Also the sums over triangles, from which rectangles turned by 45 degrees are summed.

    Returns
    -------
    out (H + 1, W + 1) or (N, H + 1, W + 1), int32 for uint8 images (it wraps around, so that the sum of a rectangle is right wherever that is
    below 2**31), else float64; or the tuple (out, squared: float64), (out, tilted), (out, squared, tilted) as asked for

    Raises
    ------
    TypeError
        Other types of pixels.
    ValueError
        Not an image or a batch of images.

    Notes
    -----
    Viola, Jones: Rapid object detection using a boosted cascade of simple features, 2001; Lienhart, Maydt, 2002 (tilted).

    Examples
    --------
    >>> integral_image(np.array([[1, 2], [3, 4]], np.uint8))
    array([[ 0,  0,  0],
           [ 0,  1,  3],
           [ 0,  4, 10]], dtype=int32)
    """
    x = np.asarray(image)
    if x.dtype not in (np.uint8, np.float32, np.float64):
        raise TypeError(f"integral_image: expected pixels of uint8, float32 or float64, got {x.dtype}; convert with image.astype")
    if x.ndim not in (2, 3):
        raise ValueError(
            f"integral_image: expected an image (H, W) or images (N, H, W), got {x.shape}; lamella.vision.grey makes colours grey"
        )
    batch = np.ascontiguousarray(x if x.ndim == 3 else x[None])
    of_bytes = x.dtype == np.uint8
    p = IntegralProblem.of(*batch.shape, "uint8" if of_bytes else "float", np.dtype(np.float32) if of_bytes else x.dtype)
    pass_ = "tilted" if tilted else "squared" if squared else "forward"
    types = {"out": p.sum_dtype, "squared": np.dtype(np.float64), "tilted": p.sum_dtype}
    made = {
        name: empty(p.out_shape, types[name]) for name in ("out", "squared", "tilted")[: ("forward", "squared", "tilted").index(pass_) + 1]
    }
    select("integral", pass_, p)(p, batch, *made.values())
    wanted = [made[name] for name, asked in (("out", True), ("squared", squared), ("tilted", tilted)) if asked]
    wanted = wanted if x.ndim == 3 else [array[0] for array in wanted]
    return wanted[0] if len(wanted) == 1 else tuple(wanted)


def rectangle_sum(integral: np.ndarray, x: Any, y: Any, width: Any, height: Any) -> Any:
    """The sum over a rectangle from its four corners in the integral image, A - B - C + D: in constant time, whatever its size.

    Parameters
    ----------
    integral : array (..., H + 1, W + 1)
        From `integral_image`.
    x, y, width, height : int, or arrays of ints that broadcast
        Columns x to x + width - 1 and rows y to y + height - 1 of the image.

    Returns
    -------
    number, or array of them (..., and the shape of the broadcast rectangles)

    Raises
    ------
    ValueError
        A rectangle that is not inside the image.

    Examples
    --------
    >>> ii = integral_image(np.arange(12, dtype=np.uint8).reshape(3, 4))
    >>> int(rectangle_sum(ii, 1, 1, 2, 2))  # 5 + 6 + 9 + 10
    30
    """
    x, y, width, height = (np.asarray(v) for v in (x, y, width, height))
    right, low = x + width, y + height
    rows, columns = integral.shape[-2] - 1, integral.shape[-1] - 1
    if np.any((x < 0) | (y < 0) | (width < 0) | (height < 0) | (right > columns) | (low > rows)):
        raise ValueError(f"rectangle_sum: expected rectangles inside an image of {rows} rows and {columns} columns")
    return integral[..., y, x] - integral[..., y, right] - integral[..., low, x] + integral[..., low, right]


def grey(image: Any) -> np.ndarray:
    """Grey levels of a colour image of bytes, rounded as OpenCV does: (9798 R + 19235 G + 3735 B + 2**14) >> 15.

    Parameters
    ----------
    image : uint8 array (H, W, 3) or (H, W, 4), red, green, blue and an ignored fourth channel; (H, W) and (H, W, 1) are grey already

    Returns
    -------
    uint8 array (H, W)

    Raises
    ------
    TypeError
        Not bytes.
    ValueError
        Another shape.

    Examples
    --------
    >>> grey(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8))
    array([[ 76, 150,  29]], dtype=uint8)
    """
    x = np.asarray(image)
    if x.dtype != np.uint8:
        raise TypeError(
            f"grey: expected an image of uint8, got {x.dtype}; images in [0, 1] become bytes by (255 * image).round().astype('uint8')"
        )
    if x.ndim == 2:
        return x
    if x.ndim != 3 or x.shape[2] not in (1, 3, 4):
        raise ValueError(f"grey: expected an image (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {x.shape}")
    if x.shape[2] == 1:
        return x[:, :, 0]
    red, green, blue = (x[:, :, c].astype(np.uint32) for c in range(3))
    return ((9798 * red + 19235 * green + 3735 * blue + (1 << 14)) >> 15).astype(np.uint8)
