"""Images mirrored, cropped, moved, turned, zoomed: each image of a batch by its own draw."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lamella.data.draws import Draws
from lamella.data.transforms.plan import MOVED, Plan, Transform

Pair = tuple[float, float]


def _probability(name: str, p: float) -> float:
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: expected a probability between 0 and 1, got {p}")
    return float(p)


def _whole_size(name: str, size: Any) -> tuple[int, int]:
    pair = (size, size) if isinstance(size, (int, np.integer)) else tuple(size)
    if len(pair) != 2 or not all(isinstance(v, (int, np.integer)) and v > 0 for v in pair):
        raise ValueError(f"{name}: expected size to be a positive int, or height and width, got {size!r}")
    return int(pair[0]), int(pair[1])


def _range(name: str, what: str, given: Any, least: float) -> Pair:
    """Low and high from (low, high), or from one number x as (-x, x)."""
    low, high = (-given, given) if isinstance(given, (int, float)) else tuple(given)
    if not (least <= low <= high < math.inf):
        raise ValueError(f"{name}: expected {what} to be a number that is not negative, or (low, high), got {given!r}")
    return float(low), float(high)


def _matrices(n: int) -> np.ndarray:
    m = np.zeros((n, 2, 3))
    m[:, 0, 0] = m[:, 1, 1] = 1
    return m


class _RandomFlip(Transform):
    stage, mirror = MOVED, True
    axis = 0

    def __init__(self, p: float = 0.5):
        self.p = _probability(type(self).__name__, p)

    def join(self, plan: Plan, draws: Draws) -> None:
        m = _matrices(len(plan))
        flipped = draws.uniform() < self.p
        m[:, self.axis, self.axis] -= 2 * flipped
        m[:, self.axis, 2] = (plan.size[self.axis] - 1) * flipped
        plan.move(m, plan.size, mirror=True)


class RandomHorizontalFlip(_RandomFlip):
    """Each image mirrored left to right with probability p.

    Parameters
    ----------
    p : float

    Examples
    --------
    >>> RandomHorizontalFlip(p=1)(np.array([[[[1.0, 2.0, 3.0]]]]))[0, 0]
    array([[3., 2., 1.]])
    """

    axis = 1


class RandomVerticalFlip(_RandomFlip):
    """Each image turned upside down (mirrored) with probability p.

    Parameters
    ----------
    p : float

    Examples
    --------
    >>> RandomVerticalFlip(p=1)(np.array([[[[1.0], [2.0]]]]))[0, 0]
    array([[2.],
           [1.]])
    """

    axis = 0


class RandomCrop(Transform):
    """A part of each image, at a place of its own.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the result.
    padding : int, (left and right, top and bottom) or (left, top, right, bottom), optional
        How far the images are extended first.
    pad_if_needed : bool
        Extend images that are smaller than the size.
    fill : float, or one per channel
        With padding_mode "constant", in units of images between 0 and 1.
    padding_mode : {"constant", "edge", "reflect", "symmetric"}

    Raises
    ------
    ValueError
        A size that is larger than the extended images.

    Notes
    -----
    Beyond one width of the image, "reflect" and "symmetric" go on mirroring.

    Examples
    --------
    >>> RandomCrop(28, padding=2)(np.zeros((5, 1, 28, 28), np.uint8)).shape
    (5, 1, 28, 28)
    """

    stage = MOVED

    def __init__(self, size: Any, padding: Any = None, pad_if_needed: bool = False, fill: Any = 0, padding_mode: str = "constant"):
        self.size = _whole_size("RandomCrop", size)
        given = (0,) if padding is None else (padding,) if isinstance(padding, (int, np.integer)) else tuple(padding)
        if len(given) not in (1, 2, 4) or min(given) < 0:
            raise ValueError(f"RandomCrop: expected padding to be 1, 2 or 4 numbers that are not negative, got {padding!r}")
        self.padding = tuple(int(v) for v in (given * 4 if len(given) == 1 else given * 2 if len(given) == 2 else given))
        self.pad_if_needed, self.fill, self.padding_mode = pad_if_needed, fill, padding_mode

    def join(self, plan: Plan, draws: Draws) -> None:
        left, top, right, bottom = self.padding
        m = _matrices(len(plan))
        for axis, (before, after) in enumerate(((top, bottom), (left, right))):
            there, wanted = plan.size[axis] + before + after, self.size[axis]
            if self.pad_if_needed and there < wanted:
                before, there = before + wanted - there, there + 2 * (wanted - there)
            if there < wanted:
                raise ValueError(
                    f"RandomCrop: expected images of at least {self.size[0]} x {self.size[1]} with their padding, got {plan.size[0]} x {plan.size[1]}; "
                    "pass a padding, or pad_if_needed=True"
                )
            m[:, axis, 2] = draws.integers(0, there - wanted + 1) - before
        plan.move(m, self.size, fill=self.fill, padding_mode=self.padding_mode)


class RandomResizedCrop(Transform):
    """A part of each image of random area and shape, zoomed to one size.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the result.
    scale : (float, float)
        The part's area, as a share of the image's.
    ratio : (float, float)
        Its width over its height, whose logarithm is drawn uniformly.
    interpolation : {"bilinear", "nearest"}

    Notes
    -----
    As in PyTorch, up to ten parts are drawn until one lies in the image; then the largest part in the middle with an allowed ratio is taken. Pixels are
    interpolated between their neighbours, without smoothing where the image shrinks (PyTorch's antialias=False).

    Examples
    --------
    >>> RandomResizedCrop(16)(np.zeros((5, 3, 32, 32), np.uint8)).shape
    (5, 3, 16, 16)
    """

    stage = MOVED

    def __init__(self, size: Any, scale: Pair = (0.08, 1.0), ratio: Pair = (3 / 4, 4 / 3), interpolation: str = "bilinear"):
        self.size = _whole_size("RandomResizedCrop", size)
        for what, (low, high) in (("scale", scale), ("ratio", ratio)):
            if not 0 < low <= high:
                raise ValueError(f"RandomResizedCrop: expected {what} to be (low, high), positive, got {(low, high)}")
        self.scale, self.ratio, self.interpolation = scale, ratio, interpolation

    def join(self, plan: Plan, draws: Draws) -> None:
        height, width = plan.size
        low, high = (math.log(r) for r in self.ratio)
        shape = np.clip(width / height, *self.ratio)
        area, ratio = height * width * draws.uniform(*self.scale, 10), np.exp(draws.uniform(low, high, 10))
        h, w = (np.rint(np.sqrt(v)).astype(np.int64) for v in (area / ratio, area * ratio))
        fits = (h > 0) & (w > 0) & (h <= height) & (w <= width)
        one, each = fits.argmax(0), np.arange(len(plan))
        found = fits[one, each]
        h = np.where(found, h[one, each], max(1, round(min(height, width / shape))))
        w = np.where(found, w[one, each], max(1, round(min(width, height * shape))))
        m = _matrices(len(plan))
        for axis, (there, taken) in enumerate(((height, h), (width, w))):
            first = np.where(found, draws.integers(0, there - taken + 1), (there - taken) // 2)
            zoom = taken / self.size[axis]
            m[:, axis, axis] = zoom
            m[:, axis, 2] = first + 0.5 * zoom - 0.5
        plan.move(m, self.size, interpolation=self.interpolation, padding_mode="edge")


class RandomAffine(Transform):
    """Each image turned, moved, zoomed and sheared about its middle.

    Parameters
    ----------
    degrees : float or (float, float)
        Angles, clockwise; a number x means -x to x.
    translate : (float, float), optional
        The farthest moves to the right and downwards, as shares of width and height; to the left and upwards, too.
    scale : (float, float), optional
        Factors by which things grow.
    shear : float or (float, float) or (float, float, float, float), optional
        Angles in degrees by which columns lean, and, of four numbers, rows.
    interpolation : {"nearest", "bilinear"}
    fill : float, or one per channel
        Beyond the image, in units of images between 0 and 1.
    center : (float, float), optional
        x and y of the point that stays. Default: the image's middle.
    padding_mode : {"constant", "edge", "reflect", "symmetric"}
        Not in torchvision, which knows "constant" only.

    Notes
    -----
    Moves are rounded to whole pixels, as in torchvision. The map is T C R(a) H S C^-1 with the moves T, C and the rotation, shear and scale
    between; its inverse is applied.

    Examples
    --------
    >>> RandomAffine(15, translate=(0.1, 0.1), scale=(0.9, 1.1), interpolation="bilinear")(np.zeros((5, 1, 28, 28), np.uint8)).shape
    (5, 1, 28, 28)
    """

    stage = MOVED

    def __init__(
        self, degrees: Any, translate: Pair | None = None, scale: Pair | None = None, shear: Any = None, interpolation: str = "nearest",
        fill: Any = 0, center: Pair | None = None, padding_mode: str = "constant",
    ):  # fmt: skip
        self.degrees = _range("RandomAffine", "degrees", degrees, -math.inf)
        if translate is not None and not all(0 <= v <= 1 for v in translate):
            raise ValueError(f"RandomAffine: expected translate to be shares between 0 and 1, got {translate!r}")
        if scale is not None and not 0 < scale[0] <= scale[1]:
            raise ValueError(f"RandomAffine: expected scale to be (low, high), positive, got {scale!r}")
        angles = None if shear is None or isinstance(shear, (int, float)) else tuple(shear)
        if angles is not None and len(angles) == 4:
            self.shear = (_range("RandomAffine", "shear", angles[:2], -90), _range("RandomAffine", "shear", angles[2:], -90))
        else:
            self.shear = (_range("RandomAffine", "shear", 0 if shear is None else shear, -90), (0.0, 0.0))
        self.translate, self.scale, self.interpolation, self.fill = translate, scale, interpolation, fill
        self.center, self.padding_mode = center, padding_mode

    def join(self, plan: Plan, draws: Draws) -> None:
        h, w = plan.size
        angle = np.deg2rad(draws.uniform(*self.degrees))
        right, down = (0.0, 0.0)
        if self.translate is not None:
            right, down = (np.rint(draws.uniform(-share * n, share * n)) for share, n in zip(self.translate, (w, h)))
        scale = 1.0 if self.scale is None else draws.uniform(*self.scale)
        sx, sy = (np.deg2rad(draws.uniform(*s)) if s != (0.0, 0.0) else np.zeros(len(plan)) for s in self.shear)
        cx, cy = ((w - 1) / 2, (h - 1) / 2) if self.center is None else (self.center[0] - 0.5, self.center[1] - 0.5)
        # x' = scale (a x + b y), y' = scale (c x + d y): torchvision's rotation times shears; inverted below (the determinant of a b c d is 1)
        a = np.cos(angle - sy) / np.cos(sy)
        b = -np.cos(angle - sy) * np.tan(sx) / np.cos(sy) - np.sin(angle)
        c = np.sin(angle - sy) / np.cos(sy)
        d = -np.sin(angle - sy) * np.tan(sx) / np.cos(sy) + np.cos(angle)
        m = np.empty((len(plan), 2, 3))
        m[:, 0, 0], m[:, 0, 1], m[:, 1, 0], m[:, 1, 1] = a / scale, -c / scale, -b / scale, d / scale
        for row, middle in enumerate((cy, cx)):
            m[:, row, 2] = middle - m[:, row, 0] * (cy + down) - m[:, row, 1] * (cx + right)
        plan.move(m, plan.size, interpolation=self.interpolation, fill=self.fill, padding_mode=self.padding_mode)


class RandomRotation(RandomAffine):
    """Each image turned about its middle.

    Parameters
    ----------
    degrees : float or (float, float)
        Angles, counter-clockwise as in torchvision; a number x means -x to x.
    interpolation, fill, center
        As in `RandomAffine`.

    Examples
    --------
    >>> RandomRotation((90, 90))(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]))[0, 0]
    array([[2., 4.],
           [1., 3.]])
    """

    def __init__(self, degrees: Any, interpolation: str = "nearest", fill: Any = 0, center: Pair | None = None):
        low, high = _range("RandomRotation", "degrees", degrees, -math.inf)
        super().__init__((-high, -low), interpolation=interpolation, fill=fill, center=center)
