"""Transforms in turn, and those that draw nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lamella.data.transforms.plan import run


class Compose:
    """Several transforms in turn; those that can share a pass over the images do.

    Examples
    --------
    >>> transform = Compose([ToFloat(), Normalize(0.5, 0.5)])
    >>> float(transform(np.full((1, 1, 2, 2), 255, np.uint8)).max())
    1.0
    """

    def __init__(self, transforms: Sequence[Callable[[np.ndarray], np.ndarray]]):
        self.transforms = list(transforms)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return run(self.transforms, images)

    def __repr__(self) -> str:
        return f"Compose({self.transforms})"


class ToFloat:
    """uint8 images to float32 between 0 and 1 (divided by 255); floats pass unchanged.

    Examples
    --------
    >>> ToFloat()(np.array([0, 51, 255], np.uint8))
    array([0. , 0.2, 1. ], dtype=float32)
    """

    def __call__(self, images: np.ndarray) -> np.ndarray:
        if images.dtype == np.uint8:
            return np.divide(images, np.float32(255), dtype=np.float32)
        if images.dtype.kind != "f":
            raise TypeError(f"ToFloat: expected images of uint8 or floats, got {images.dtype}")
        return images

    def scaling(self, channels: int) -> tuple[np.ndarray, np.ndarray]:
        """Gain and offset for images between 0 and 1."""
        return np.ones(1), np.zeros(1)

    def __repr__(self) -> str:
        return "ToFloat()"


class Normalize:
    """(images - mean) / std for each channel; uint8 images are divided by 255 first.

    Parameters
    ----------
    mean, std : float or sequence of float, one per channel
        In units of images between 0 and 1.

    Raises
    ------
    ValueError
        Numbers of means, standard deviations and channels that do not match; a standard deviation that is not positive.

    Examples
    --------
    >>> float(Normalize(0.5, 0.25)(np.ones((1, 1, 2, 2), np.float32)).max())
    2.0
    """

    def __init__(self, mean: Any, std: Any):
        self.mean = [float(m) for m in np.atleast_1d(mean)]
        self.std = [float(s) for s in np.atleast_1d(std)]
        if len(self.mean) != len(self.std):
            raise ValueError(f"Normalize: expected as many means as standard deviations, got {len(self.mean)} and {len(self.std)}")
        if not all(s > 0 for s in self.std):
            raise ValueError(f"Normalize: expected positive standard deviations, got {self.std}")

    def __call__(self, images: np.ndarray) -> np.ndarray:
        if images.ndim != 4 or len(self.mean) not in (1, images.shape[1]):
            raise ValueError(f"Normalize: expected images of shape (N, {len(self.mean)}, H, W), got {images.shape}")
        dtype = np.float64 if images.dtype == np.float64 else np.float32
        unit = 255.0 if images.dtype == np.uint8 else 1.0
        std = np.array(self.std)
        scale = (1 / (std * unit)).astype(dtype).reshape(-1, 1, 1)
        out = np.multiply(images, scale, dtype=dtype)
        out -= (np.array(self.mean) / std).astype(dtype).reshape(-1, 1, 1)
        return out

    def scaling(self, channels: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Gain and offset for images between 0 and 1; None if the images have other channels."""
        if len(self.mean) not in (1, channels):
            return None
        return 1 / np.array(self.std), -np.array(self.mean) / np.array(self.std)

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean}, std={self.std})"
