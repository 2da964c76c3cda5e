"""Brightness, contrast and noise: each image of a batch by its own draw."""

from __future__ import annotations

import math
from typing import Any

from lamella.data.draws import Draws
from lamella.data.transforms.plan import CHANGED, NOISY, Plan, Transform


def _factors(what: str, given: Any) -> tuple[float, float] | None:
    low, high = (max(0.0, 1 - given), 1 + given) if isinstance(given, (int, float)) else tuple(given)
    if (isinstance(given, (int, float)) and given < 0) or not 0 <= low <= high < math.inf:
        raise ValueError(f"ColorJitter: expected {what} to be a number that is not negative, or (low, high), got {given!r}")
    return None if low == high == 1 else (float(low), float(high))


class ColorJitter(Transform):
    """Each image brighter or darker, with more or less contrast.

    Parameters
    ----------
    brightness : float or (float, float)
        The factor's range; a number x means 1 - x (at least 0) to 1 + x. Values are clipped to those of an image.
    contrast : float or (float, float)
        The same of the distance from the image's mean grey value.
    saturation, hue : 0
        Not implemented: other values are refused.

    Notes
    -----
    torchvision applies them in random order; here brightness comes first.

    Examples
    --------
    >>> ColorJitter(brightness=(2, 2))(np.array([[[[0.25, 0.75]]]]))[0, 0]
    array([[0.5, 1. ]])
    """

    stage = CHANGED

    def __init__(self, brightness: Any = 0, contrast: Any = 0, saturation: Any = 0, hue: Any = 0):
        if saturation or hue:
            raise ValueError(f"ColorJitter: brightness and contrast are implemented, got saturation={saturation!r}, hue={hue!r}")
        self.brightness, self.contrast = _factors("brightness", brightness), _factors("contrast", contrast)

    def join(self, plan: Plan, draws: Draws) -> None:
        for name, factors in (("brightness", self.brightness), ("contrast", self.contrast)):
            if factors is not None:
                plan.add(CHANGED, **{name: draws.uniform(*factors)})


class GaussianNoise(Transform):
    """Normal noise on every value.

    Parameters
    ----------
    mean, sigma : float
        In units of images between 0 and 1.
    clip : bool
        Clip to 0 ... 1 afterwards.

    Raises
    ------
    ValueError
        A mean, which the noise of images must not have here: add it by `Normalize`; a negative sigma.

    Examples
    --------
    >>> noisy = GaussianNoise(sigma=0.1)(np.full((1, 1, 64, 64), 0.5))
    >>> bool(abs(noisy.std() - 0.1) < 0.005)
    True
    """

    stage = NOISY

    def __init__(self, mean: float = 0.0, sigma: float = 0.1, clip: bool = True):
        if mean != 0 or not 0 <= sigma < math.inf:
            raise ValueError(f"GaussianNoise: expected mean 0 and a sigma that is not negative, got {mean} and {sigma}")
        self.mean, self.sigma, self.clip = mean, float(sigma), clip

    def join(self, plan: Plan, draws: Draws) -> None:
        plan.add(NOISY, noise=self.sigma, keys=draws.bits(), clip=self.clip)
