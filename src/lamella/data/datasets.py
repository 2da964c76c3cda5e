"""Image datasets: MNIST and Fashion-MNIST from IDX files, and the part of Fashion-MNIST that is shipped with lamella."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lamella.data.dataset import Dataset
from lamella.data.transforms import ToFloat

__all__ = ["MNIST", "EmbeddedFashionMNIST", "FashionMNIST", "ImageDataset", "read_idx"]

_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_RATIO = 1032  # deflate cannot shrink more


def read_idx(path: str | os.PathLike, ndim: int | None = None) -> np.ndarray:
    """Read an array from an IDX file, compressed by gzip or not.

    The format (LeCun's, of MNIST): two zero bytes, a type code, the number of axes, their lengths as big-endian 32-bit integers, the data. Type
    and sizes are checked against the size of the file before memory is taken.

    Parameters
    ----------
    path : str or path
    ndim : int, optional
        The number of axes expected.

    Returns
    -------
    ndarray in native byte order

    Raises
    ------
    ValueError
        The file is truncated, too long, or no IDX file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "three")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
    ...     read_idx(path)
    array([7, 8, 9], dtype=uint8)
    """
    path = Path(path)
    size = path.stat().st_size
    with open(path, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            with gzip.GzipFile(fileobj=raw) if packed else raw as file:
                return _read_idx(file, path, ndim, size, packed)  # type: ignore[arg-type]
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: expected a whole gzip file, got one that is damaged ({error}); fetch it again") from None


def _read_idx(file: BinaryIO, path: Path, ndim: int | None, size: int, packed: bool) -> np.ndarray:
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _IDX_TYPES or start[3] == 0:
        raise ValueError(
            f"{path}: expected an IDX file (it begins with 00 00, a type and a number of axes), got {start.hex(' ') or 'an empty file'}"
        )
    if ndim is not None and start[3] != ndim:
        what = {1: "labels", 3: "images"}.get(ndim, "an array")
        raise ValueError(f"{path}: expected {what} with {ndim} axes, got {start[3]}; are images and labels interchanged?")
    header = file.read(4 * start[3])
    if len(header) < 4 * start[3]:
        raise ValueError(f"{path}: expected {start[3]} sizes after the first 4 bytes, got the end of the file; fetch it again")
    shape = tuple(int(n) for n in np.frombuffer(header, ">u4"))
    dtype = np.dtype(_IDX_TYPES[start[2]])
    expected = math.prod(shape) * dtype.itemsize
    there = size - 4 - len(header)
    if (expected > size * _MAX_RATIO) if packed else (expected != there):
        got = f"a compressed file of {size} bytes, which cannot hold them" if packed else f"{there}"
        raise ValueError(f"{path}: expected {expected} bytes of data for shape {shape}, got {got}; fetch it again")
    data = np.empty(expected, np.uint8)
    view, done = data.data, 0
    while done < expected and (n := file.readinto(view[done:])):  # type: ignore[attr-defined]
        done += n
    if done < expected or file.read(1):
        got = f"{done}" if done < expected else "more"
        raise ValueError(f"{path}: expected {expected} bytes of data for shape {shape}, got {got}; fetch it again")
    return data.view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


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


class MNIST(ImageDataset):
    """The handwritten digits of LeCun, Cortes and Burges: 60,000 training and 10,000 test images of 28 x 28.

    Parameters
    ----------
    root : str or path, optional
        A folder with the four IDX files (compressed or not), or with torchvision's ``MNIST/raw``. Default: the Debian package's folder, if there is
        one, then the download cache.
    train : bool
        The training images, or the test images.
    transform : callable, optional
        A function of a batch of images. Default: float32 between 0 and 1; None leaves them uint8.
    download : bool
        Fetch files that are missing, through pooch, checked by SHA-256. Nothing is ever downloaded without it.

    Raises
    ------
    FileNotFoundError
        No such files.
    ValueError
        A file is truncated or foreign.

    Examples
    --------
    >>> images = MNIST("downloads/mnist", train=False)  # doctest: +SKIP
    >>> len(images)  # doctest: +SKIP
    10000
    """

    name = "mnist"
    debian: str | None = None
    url = "https://ossci-datasets.s3.amazonaws.com/mnist/"
    sha256 = {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    }
    class_names = tuple("0123456789")

    def __init__(
        self,
        root: str | os.PathLike | None = None,
        train: bool = True,
        transform: Callable[[np.ndarray], np.ndarray] | None = ToFloat(),  # noqa: B008
        download: bool = False,
    ):
        split = "train" if train else "t10k"
        path = self._find(f"{split}-images-idx3-ubyte", root, download)
        images = read_idx(path, 3)
        labels = read_idx(self._find(f"{split}-labels-idx1-ubyte", root, download), 1)
        if len(images) != len(labels):
            raise ValueError(f"{path}: expected as many images as labels, got {len(images)} and {len(labels)}")
        for name, array in (("images", images), ("labels", labels)):
            if array.dtype != np.uint8:
                raise ValueError(f"{path.parent}: expected {name} of uint8, got {array.dtype}; is this {self.name}?")
        super().__init__(images[:, None], labels, self.class_names, transform)

    @classmethod
    def _cache(cls) -> Path:
        base = os.environ.get("LAMELLA_CACHE_DIR") or os.path.join(
            os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "lamella"
        )
        return Path(base) / cls.name

    @classmethod
    def _find(cls, stem: str, root: str | os.PathLike | None, download: bool) -> Path:
        if root is not None:
            folders = [Path(root), Path(root) / cls.__name__ / "raw", Path(root) / "raw"]
        else:
            folders = [Path(cls.debian)] if cls.debian else []
            folders.append(cls._cache())
        for folder in folders:
            for name in (stem, stem + ".gz"):
                if (folder / name).is_file():
                    return folder / name
        target = folders[0] if root is not None else cls._cache()
        if not download:
            looked = " or ".join(str(folder) for folder in folders)
            package = " install the Debian package dataset-fashion-mnist," if cls.debian else ""
            raise FileNotFoundError(
                f"{cls.__name__}: expected {stem}[.gz] in {looked}, found none;{package} pass the folder that holds it as root, "
                f"or download=True to fetch it from {cls.url}"
            )
        try:
            import pooch
        except ImportError:
            raise RuntimeError(f"{cls.__name__}: download=True needs pooch; run: pip install 'lamella[train]'") from None
        name = stem + ".gz"
        return Path(pooch.retrieve(cls.url + name, "sha256:" + cls.sha256[name], fname=name, path=target))


class FashionMNIST(MNIST):
    """Zalando's article images: 60,000 training and 10,000 test images of 28 x 28 (Xiao, Rasul, Vollgraf, arXiv:1708.07747).

    Parameters
    ----------
    root : str or path, optional
        A folder with the four IDX files (compressed or not), or with torchvision's ``FashionMNIST/raw``. Default: the folder of the Debian package
        dataset-fashion-mnist, if it is installed, then the download cache.
    train, transform, download
        As in `MNIST`.

    Raises
    ------
    FileNotFoundError
        No such files.
    ValueError
        A file is truncated or foreign.

    Examples
    --------
    >>> images = FashionMNIST()  # doctest: +SKIP
    >>> len(images)  # doctest: +SKIP
    60000
    """

    name = "fashion-mnist"
    debian = "/usr/share/datasets/fashion-mnist"
    url = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
    sha256 = {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    }
    class_names = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


class EmbeddedFashionMNIST(FashionMNIST):
    """The part of Fashion-MNIST that comes with lamella: the first 600 training and 100 test images of each class.

    Parameters
    ----------
    train : bool
        The 6,000 training images, or the 1,000 test images.
    transform : callable, optional
        A function of a batch of images. Default: float32 between 0 and 1; None leaves them uint8.

    Notes
    -----
    Copyright 2017 Zalando SE, MIT licence; see ``LICENSE-fashion-mnist`` beside the files.

    Examples
    --------
    >>> EmbeddedFashionMNIST(train=False)
    EmbeddedFashionMNIST(1000 images of 1x28x28, 10 classes)
    """

    def __init__(self, train: bool = True, transform: Callable[[np.ndarray], np.ndarray] | None = ToFloat()):  # noqa: B008
        super().__init__(Path(__file__).parent / "embedded", train, transform)
