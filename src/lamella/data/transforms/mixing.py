"""Images and labels mixed within a batch: MixUp and CutMix."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lamella.data import draws as drawn
from lamella.data.augment import mix
from lamella.data.draws import Draws


class _Mixing:
    """Each image is mixed with the one before it, by a share of its own."""

    def __init__(self, *, alpha: float = 1.0, num_classes: int | None = None):
        name = type(self).__name__
        if not 0 < alpha < math.inf:
            raise ValueError(f"{name}: expected alpha to be positive, got {alpha}")
        if num_classes is not None and num_classes < 1:
            raise ValueError(f"{name}: expected num_classes to be positive, got {num_classes}")
        self.alpha, self.num_classes = float(alpha), num_classes

    def __repr__(self) -> str:
        return f"{type(self).__name__}(alpha={self.alpha}, num_classes={self.num_classes})"

    def _labels(self, labels: Any, dtype: Any) -> np.ndarray:
        """One row of probabilities per label."""
        given = np.asarray(labels)
        if given.ndim == 2 and given.dtype.kind == "f":
            return given.astype(dtype, copy=False)
        if given.ndim != 1 or given.dtype.kind not in "iu":
            raise ValueError(
                f"{type(self).__name__}: expected labels (N,) of integers, or probabilities (N, classes), got {given.shape} of {given.dtype}"
            )
        if self.num_classes is None:
            raise ValueError(f"{type(self).__name__}: labels that are numbers need num_classes")
        if given.size and not (given.min() >= 0 and given.max() < self.num_classes):
            raise ValueError(f"{type(self).__name__}: expected labels below num_classes, {self.num_classes}, got {given.max()}")
        return (given[:, None] == np.arange(self.num_classes)).astype(dtype)

    def __call__(self, images: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
        """The images mixed, and their labels as probabilities."""
        images = np.asarray(images)
        n = len(images)
        draws = drawn.current(n)
        partner = (np.arange(n) - 1) % max(n, 1)
        images, own = self._mixed(images, partner, draws.generator().beta(self.alpha, self.alpha, n), draws)
        rows = self._labels(labels, images.dtype)
        own = own.astype(images.dtype)[:, None]
        return images, own * rows + (1 - own) * rows[partner]

    def _mixed(self, images: np.ndarray, partner: np.ndarray, share: np.ndarray, draws: Draws) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError


class MixUp(_Mixing):
    """Each image, and its label, blended with another of the batch: share x image + (1 - share) x other, the share drawn from Beta(alpha, alpha).

    For `DataLoader(batch_transform=)`: a function of images and labels. Cross entropy takes the labels it gives.

    Parameters
    ----------
    alpha : float
    num_classes : int, optional
        Needed for labels that are numbers.

    Notes
    -----
    Zhang et al., arXiv:1710.09412. torchvision draws one share for a batch; here each image has its own.

    Examples
    --------
    >>> images, labels = MixUp(num_classes=2)(np.ones((4, 1, 2, 2), np.float32), np.array([0, 1, 0, 1]))
    >>> labels.sum(1)
    array([1., 1., 1., 1.], dtype=float32)
    """

    def _mixed(self, images: np.ndarray, partner: np.ndarray, share: np.ndarray, draws: Draws) -> tuple[np.ndarray, np.ndarray]:
        return mix(images, partner, share), share


class CutMix(_Mixing):
    """A rectangle of each image replaced by that of another of the batch, labels mixed by area; the area's share drawn from Beta(alpha, alpha).

    For `DataLoader(batch_transform=)`: a function of images and labels. Cross entropy takes the labels it gives.

    Parameters
    ----------
    alpha : float
    num_classes : int, optional
        Needed for labels that are numbers.

    Notes
    -----
    Yun et al., arXiv:1905.04899. torchvision draws one rectangle for a batch; here each image has its own.

    Examples
    --------
    >>> images, labels = CutMix(num_classes=2)(np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1) * np.ones((1, 1, 8, 8)), np.array([0, 1, 0, 1]))
    >>> labels.sum(1)
    array([1., 1., 1., 1.])
    """

    def _mixed(self, images: np.ndarray, partner: np.ndarray, share: np.ndarray, draws: Draws) -> tuple[np.ndarray, np.ndarray]:
        size = images.shape[2:]
        half = np.floor(0.5 * np.sqrt(1 - share) * np.array(size)[:, None]).astype(np.int64)
        box = []
        for n, reach in zip(size, half):
            middle = draws.integers(0, n)
            box.append((np.clip(middle - reach, 0, n), np.clip(middle + reach, 0, n)))
        (top, bottom), (left, right) = box
        mixed = mix(images, partner, 0.0, np.stack([top, left, bottom, right], 1))
        return mixed, 1 - (bottom - top) * (right - left) / math.prod(size)
