"""What happens to a batch of images between the dataset and the model: functions of a whole (N, C, H, W) array.

Random ones draw for each image: its numbers follow from the seed and the image's place, so that results are the same for any number of threads and every
backend. `Compose` runs as many of them as possible in one pass of the kernel `augment`; images leave it as floats, bytes as floats between 0 and 1.
"""

from lamella.data.transforms.basic import Compose, Normalize, ToFloat
from lamella.data.transforms.color import ColorJitter, GaussianNoise
from lamella.data.transforms.erase import Cutout, RandomErasing
from lamella.data.transforms.geometric import (
    RandomAffine,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
)
from lamella.data.transforms.mixing import CutMix, MixUp

__all__ = [
    "ColorJitter",
    "Compose",
    "CutMix",
    "Cutout",
    "GaussianNoise",
    "MixUp",
    "Normalize",
    "RandomAffine",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomVerticalFlip",
    "ToFloat",
]
