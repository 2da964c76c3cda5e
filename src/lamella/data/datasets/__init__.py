"""Image datasets: in memory, from the files of MNIST, Fashion-MNIST and CIFAR, and from folders of pictures."""

from lamella.data.datasets.cifar import CIFAR10, CIFAR100, read_cifar
from lamella.data.datasets.folder import ImageFiles, ImageFolder
from lamella.data.datasets.idx import read_idx
from lamella.data.datasets.images import ImageDataset
from lamella.data.datasets.mnist import MNIST, EmbeddedFashionMNIST, FashionMNIST

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "EmbeddedFashionMNIST",
    "FashionMNIST",
    "ImageDataset",
    "ImageFiles",
    "ImageFolder",
    "MNIST",
    "read_cifar",
    "read_idx",
]
