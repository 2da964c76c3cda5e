"""Rectangles of images overwritten: each image of a batch by its own draw."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lamella.data.draws import Draws
from lamella.data.transforms.geometric import Pair, _probability
from lamella.data.transforms.plan import ERASED, Plan, Transform

TRIES = 10


class RandomErasing(Transform):
    """A rectangle of each image overwritten, with probability p.

    Parameters
    ----------
    p : float
    scale : (float, float)
        The rectangle's area, as a share of the image's.
    ratio : (float, float)
        Its height over its width, whose logarithm is drawn uniformly.
    value : float, or one per channel
        What it is overwritten with, in units of the images at this point.

    Notes
    -----
    Zhong et al., arXiv:1708.04896. Up to ten rectangles are drawn until one fits; then the image is left as it is.

    Examples
    --------
    >>> erased = RandomErasing(p=1)(np.ones((100, 1, 20, 20)))
    >>> bool((erased == 0).any((1, 2, 3)).all())
    True
    """

    stage = ERASED

    def __init__(self, p: float = 0.5, scale: Pair = (0.02, 0.33), ratio: Pair = (0.3, 3.3), value: Any = 0):
        self.p = _probability("RandomErasing", p)
        if not 0 <= scale[0] <= scale[1] <= 1:
            raise ValueError(f"RandomErasing: expected scale to be shares (low, high) between 0 and 1, got {scale!r}")
        if not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f"RandomErasing: expected ratio to be (low, high), positive, got {ratio!r}")
        self.scale, self.ratio, self.value = scale, ratio, value

    def join(self, plan: Plan, draws: Draws) -> None:
        height, width = plan.size
        area = height * width * draws.uniform(*self.scale, TRIES)
        ratio = np.exp(draws.uniform(math.log(self.ratio[0]), math.log(self.ratio[1]), TRIES))
        h, w = np.rint(np.sqrt(area * ratio)).astype(np.int64), np.rint(np.sqrt(area / ratio)).astype(np.int64)
        fits = (h < height) & (w < width)
        fits &= draws.uniform() < self.p
        first, each = fits.argmax(0), np.arange(len(plan))
        erased = fits[first, each]
        h, w = h[first, each] * erased, w[first, each] * erased
        top, left = draws.integers(0, height - h + 1), draws.integers(0, width - w + 1)
        plan.add(ERASED, box=np.stack([top, left, top + h, left + w], 1), value=np.asarray(self.value, np.float64))


class Cutout(Transform):
    """A square of each image overwritten; its middle lies anywhere in the image, so that parts of it may lie outside.

    Parameters
    ----------
    size : int
        Of the square's side, in pixels.
    p : float
    value : float, or one per channel

    Notes
    -----
    DeVries, Taylor, arXiv:1708.04552.

    Examples
    --------
    >>> erased = Cutout(8)(np.ones((100, 1, 20, 20)))
    >>> int((erased == 0).sum((1, 2, 3)).max())
    64
    """

    stage = ERASED

    def __init__(self, size: int, p: float = 1.0, value: Any = 0):
        if not isinstance(size, (int, np.integer)) or size < 1:
            raise ValueError(f"Cutout: expected size to be a positive int, got {size!r}")
        self.size, self.p, self.value = int(size), _probability("Cutout", p), value

    def join(self, plan: Plan, draws: Draws) -> None:
        side = self.size * (draws.uniform() < self.p)
        box = np.empty((len(plan), 4), np.int32)
        for axis, n in enumerate(plan.size):
            first = draws.integers(0, n) - self.size // 2
            box[:, axis] = np.maximum(first, 0)
            box[:, axis + 2] = np.maximum(np.minimum(first + side, n), box[:, axis])
        plan.add(ERASED, box=box, value=np.asarray(self.value, np.float64))
