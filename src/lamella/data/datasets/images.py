"""Images in memory with their labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lamella.data.dataset import Dataset
from lamella.data.transforms import ToFloat


class ImageDataset(Dataset):
    """Images in memory with their labels.

    Parameters
    ----------
    images : array of uint8 (or floats), shape (N, C, H, W)
    labels : array of integers, shape (N,)
    classes : sequence of str, optional
        The names of the classes.
    transform : callable, optional
        A function of a batch of images. None leaves them as they are.

    Attributes
    ----------
    images, labels, classes, transform
    in_channels : int
    image_size : (int, int)
        Height and width.

    Examples
    --------
    >>> dataset = ImageDataset(np.zeros((2, 1, 4, 4), np.uint8), [0, 1], ["cat", "dog"])
    >>> image, label = dataset[1]
    >>> image.shape, image.dtype, dataset.classes[label]
    ((1, 4, 4), dtype('float32'), 'dog')
    """

    def __init__(self, images: Any, labels: Any, classes: Any = None, transform: Callable[[np.ndarray], np.ndarray] | None = ToFloat()):  # noqa: B008
        self.images, self.labels = np.asarray(images), np.asarray(labels)
        name = type(self).__name__
        if self.images.ndim != 4:
            raise ValueError(f"{name}: expected images of shape (N, C, H, W), got {self.images.shape}; one channel: images[:, None]")
        if self.labels.shape != self.images.shape[:1] or self.labels.dtype.kind not in "iu":
            raise ValueError(
                f"{name}: expected {len(self.images)} integers as labels, one per image, got shape {self.labels.shape} of {self.labels.dtype}"
            )
        self.labels = self.labels.astype(np.int64, copy=False)
        count = int(self.labels.max(initial=-1)) + 1
        self.classes = [str(c) for c in (range(count) if classes is None else classes)]
        if count > len(self.classes) or self.labels.min(initial=0) < 0:
            raise ValueError(f"{name}: expected labels from 0 to {len(self.classes) - 1}, got {self.labels.min()} to {self.labels.max()}")
        self.transform = transform

    @property
    def in_channels(self) -> int:
        return self.images.shape[1]

    @property
    def image_size(self) -> tuple[int, int]:
        return self.images.shape[2], self.images.shape[3]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.int64]:
        images = self.images[index][None]
        return (images if self.transform is None else self.transform(images))[0], self.labels[index]

    def gather(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images = self.images[indices]
        return (images if self.transform is None else self.transform(images)), self.labels[indices]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} images of {self.in_channels}x{self.image_size[0]}x{self.image_size[1]}, {len(self.classes)} classes)"
