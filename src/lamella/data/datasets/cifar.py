"""CIFAR-10 and CIFAR-100 from their binary files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lamella.data.datasets.images import ImageDataset
from lamella.data.transforms import ToFloat

PIXELS = 3 * 32 * 32


def read_cifar(path: str | os.PathLike, labels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Read a file of CIFAR's "binary version": records of `labels` bytes, then 1024 red, green and blue values, row by row.

    Parameters
    ----------
    path : str or path
    labels : int
        Bytes before each image: 1 in CIFAR-10; 2 in CIFAR-100, the coarse and the fine class.

    Returns
    -------
    images : uint8 array (N, 3, 32, 32)
    labels : uint8 array (N, labels)

    Raises
    ------
    ValueError
        The file is no whole number of records; or it is the Python version, which is a pickle: loading it could run any program.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "two.bin")
    ...     _ = path.write_bytes(bytes([7]) + bytes(3072) + bytes([9]) + bytes(3072))
    ...     images, labels = read_cifar(path)
    >>> images.shape, labels.tolist()
    ((2, 3, 32, 32), [[7], [9]])
    """
    path = Path(path)
    size, record = path.stat().st_size, labels + PIXELS
    with open(path, "rb") as file:
        if file.read(2)[:1] == b"\x80" and size % record:
            raise ValueError(
                f"{path}: expected CIFAR's binary version, got the Python version, a pickle, which is not read since loading one may run any "
                "program; fetch cifar-10-binary.tar.gz"
            )
    if not size or size % record:
        raise ValueError(f"{path}: expected records of {record} bytes, got {size} bytes, which is no whole number of them; fetch it again")
    data = np.fromfile(path, np.uint8)
    if data.size != size:
        raise ValueError(f"{path}: expected {size} bytes, got {data.size}; is it being written?")
    data = data.reshape(-1, record)
    return np.ascontiguousarray(data[:, labels:]).reshape(-1, 3, 32, 32), data[:, :labels].copy()


class CIFAR10(ImageDataset):
    """The 50,000 training and 10,000 test images of 32 x 32 pixels, red, green and blue, of ten classes (Krizhevsky, 2009).

    Parameters
    ----------
    root : str or path
        The folder ``cifar-10-batches-bin`` of the binary version, or the folder that holds it. Nothing is downloaded.
    train : bool
        The training images, or the test images.
    transform : callable, optional
        A function of a batch of images. Default: float32 between 0 and 1; None leaves them uint8.

    Raises
    ------
    FileNotFoundError
        No such files.
    ValueError
        A file is truncated or foreign.

    Examples
    --------
    >>> images = CIFAR10("downloads")  # doctest: +SKIP
    >>> len(images), images.images.shape[1:]  # doctest: +SKIP
    (50000, (3, 32, 32))
    """

    folder = "cifar-10-batches-bin"
    files = (tuple(f"data_batch_{i}.bin" for i in range(1, 6)), ("test_batch.bin",))
    class_names: tuple[str, ...] = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    names_file: str | None = None
    labels_per_image = 1

    def __init__(
        self,
        root: str | os.PathLike,
        train: bool = True,
        transform: Callable[[np.ndarray], np.ndarray] | None = ToFloat(),  # noqa: B008
    ):
        names = self.files[0 if train else 1]
        folder = next((f for f in (Path(root), Path(root) / self.folder) if (f / names[0]).is_file()), None)
        if folder is None:
            raise FileNotFoundError(f"{type(self).__name__}: expected {names[0]} in {Path(root)} or its folder {self.folder}, found none")
        parts = [read_cifar(folder / name, self.labels_per_image) for name in names]
        classes = list(self.class_names)
        if self.names_file is not None and (folder / self.names_file).is_file():
            classes = (folder / self.names_file).read_text().split()
        super().__init__(np.concatenate([images for images, _ in parts]), np.concatenate([y[:, -1] for _, y in parts]), classes, transform)


class CIFAR100(CIFAR10):
    """The same with 100 classes.

    Parameters
    ----------
    root, train, transform
        As for `CIFAR10`; the folder is ``cifar-100-binary``. The labels are the fine ones.

    Examples
    --------
    >>> images = CIFAR100("downloads", train=False)  # doctest: +SKIP
    """

    folder = "cifar-100-binary"
    files = (("train.bin",), ("test.bin",))
    class_names = tuple(str(i) for i in range(100))
    names_file = "fine_label_names.txt"
    labels_per_image = 2
