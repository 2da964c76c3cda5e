"""MNIST and Fashion-MNIST from IDX files, and the part of Fashion-MNIST that is shipped with lamella."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lamella.data.datasets.idx import read_idx
from lamella.data.datasets.images import ImageDataset
from lamella.data.transforms import ToFloat


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
    mirrors = False  # whether a mirrored image shows the same class

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
    mirrors = True
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
        super().__init__(Path(__file__).parents[1] / "embedded", train, transform)
