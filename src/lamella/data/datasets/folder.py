"""Folders of pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lamella.data.dataset import Dataset
from lamella.data.pictures import read_picture
from lamella.data.transforms import ToFloat

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def inside(root: Path, name: str | os.PathLike) -> Path:
    """The file of that name under root; a name that leads out of it, by `..`, an absolute path or a link, is refused."""
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ValueError(f"{root / name}: expected a file inside {root}, got one outside of it, at {path}")
    return path


class ImageFiles(Dataset):
    """Picture files with their labels, read when they are asked for.

    Parameters
    ----------
    root : str or path
        The folder that holds the files.
    files : sequence of str or path
        Relative to root; names that lead out of it are refused.
    labels : sequence of int
    classes : sequence of str, optional
    size : (int, int), optional
        Height and width to which the pictures are resized. Without it, all have to have one size.
    channels : {1, 3}
    transform : callable, optional
        A function of a batch of images (N, C, H, W). Default: float32 between 0 and 1; None leaves them uint8.

    Raises
    ------
    ValueError
        A file outside of root, or no picture; labels that do not match.
    RuntimeError
        Pillow, which decodes the pictures, is not installed.

    Examples
    --------
    >>> rows = read_table("labels.csv")  # doctest: +SKIP
    >>> dataset = ImageFiles("photos", rows["file"], rows["label"], size=(64, 64))  # doctest: +SKIP
    """

    def __init__(
        self,
        root: str | os.PathLike,
        files: Sequence[str | os.PathLike],
        labels: Any,
        classes: Sequence[str] | None = None,
        *,
        size: tuple[int, int] | None = None,
        channels: int = 3,
        transform: Callable[[np.ndarray], np.ndarray] | None = ToFloat(),  # noqa: B008
    ):
        self.root = Path(root)
        if not self.root.is_dir():
            raise FileNotFoundError(f"{type(self).__name__}: expected a folder, got {self.root}")
        self.files = [inside(self.root, name) for name in files]
        self.labels = np.asarray(labels)
        if self.labels.shape != (len(self.files),) or (self.files and self.labels.dtype.kind not in "iu"):
            raise ValueError(
                f"{type(self).__name__}: expected {len(self.files)} integers as labels, one per file, got shape {self.labels.shape}"
            )
        self.labels = self.labels.astype(np.int64)
        count = int(self.labels.max(initial=-1)) + 1
        self.classes = [str(c) for c in (range(count) if classes is None else classes)]
        if count > len(self.classes) or self.labels.min(initial=0) < 0:
            raise ValueError(f"{type(self).__name__}: expected labels from 0 to {len(self.classes) - 1}")
        self.size, self.channels, self.transform = size, channels, transform

    @property
    def in_channels(self) -> int:
        return self.channels

    @property
    def image_size(self) -> tuple[int, int]:
        return self.size or self._read(0).shape[1:]

    def _read(self, index: int) -> np.ndarray:
        return read_picture(self.files[index], self.channels, self.size)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.int64]:
        images = self._read(index)[None]
        return (images if self.transform is None else self.transform(images))[0], self.labels[index]

    def gather(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        read = [self._read(int(i)) for i in indices]
        shapes = {image.shape for image in read}
        if len(shapes) > 1:
            raise ValueError(f"{type(self).__name__}: expected pictures of one size, got {sorted(s[1:] for s in shapes)}; pass size=")
        images = np.stack(read)
        return (images if self.transform is None else self.transform(images)), self.labels[indices]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} files of {self.root}, {len(self.classes)} classes)"


class ImageFolder(ImageFiles):
    """A folder of folders of pictures: each is a class, in alphabetical order.

    Parameters
    ----------
    root : str or path
    transform, size, channels
        As for `ImageFiles`.

    Raises
    ------
    FileNotFoundError
        No folder with classes; a class without pictures.

    Notes
    -----
    Pictures are files that end in .jpg, .jpeg, .png, .ppm, .bmp, .pgm, .tif, .tiff, .webp, at any depth. Links that lead out of the folder are refused.

    Examples
    --------
    >>> dataset = ImageFolder("photos", size=(64, 64))  # photos/cat/1.png, photos/dog/7.jpg, ...  # doctest: +SKIP
    """

    def __init__(
        self,
        root: str | os.PathLike,
        transform: Callable[[np.ndarray], np.ndarray] | None = ToFloat(),  # noqa: B008
        *,
        size: tuple[int, int] | None = None,
        channels: int = 3,
    ):
        root = Path(root)
        classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir()) if root.is_dir() else []
        if not classes:
            raise FileNotFoundError(f"ImageFolder: expected a folder with one folder per class, got {root}")
        files: list[Path] = []
        labels: list[int] = []
        for label, name in enumerate(classes):
            found = sorted(p.relative_to(root) for p in (root / name).rglob("*") if p.suffix.lower() in EXTENSIONS and p.is_file())
            if not found:
                raise FileNotFoundError(f"ImageFolder: expected pictures ({', '.join(EXTENSIONS)}) in {root / name}, found none")
            files += found
            labels += [label] * len(found)
        super().__init__(root, files, np.array(labels, np.int64), classes, size=size, channels=channels, transform=transform)
