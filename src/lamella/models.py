"""Networks for images, by name: mlp, lenet, vgg-small, resnet20.

Each is an ordinary Module with named layers, and takes the number of channels, of classes, and the size of the images.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from lamella import nn

__all__ = ["LeNet", "MLP", "ResNet8", "ResNet20", "VGGSmall", "create", "names", "register"]


def _size(image_size: Any) -> tuple[int, int]:
    height, width = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    return int(height), int(width)


def _needs(name: str, image_size: Any, least: int) -> tuple[int, int]:
    size = _size(image_size)
    if min(size) < least:
        raise ValueError(f"{name}: expected images of at least {least} x {least}, got {size[0]} x {size[1]}")
    return size


class MLP(nn.Sequential):
    """Two fully connected hidden layers on the pixels: the baseline every convolutional network has to beat.

    Parameters
    ----------
    in_channels, num_classes : int
    image_size : int or (int, int)
    hidden : int
        The width of both hidden layers.

    Examples
    --------
    >>> import lamella
    >>> MLP(image_size=8, hidden=16)(lamella.zeros(2, 1, 8, 8)).shape
    (2, 10)
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10, image_size: Any = 28, hidden: int = 256):
        height, width = _size(image_size)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["flatten"] = nn.Flatten()
        layers["fc1"] = nn.Linear(in_channels * height * width, hidden)
        layers["relu1"] = nn.ReLU()
        layers["fc2"] = nn.Linear(hidden, hidden)
        layers["relu2"] = nn.ReLU()
        layers["fc3"] = nn.Linear(hidden, num_classes)
        super().__init__(layers)


class LeNet(nn.Sequential):
    """LeNet-5 with ReLU and max-pooling: two 5x5 convolutions and three fully connected layers.

    Parameters
    ----------
    in_channels, num_classes : int
    image_size : int or (int, int)
        At least 12. The first convolution pads by 2, so that 28 x 28 images meet the layers as the 32 x 32 ones of the paper did.

    Notes
    -----
    LeCun, Bottou, Bengio, Haffner, Proceedings of the IEEE 86(11), 1998, without the hand-made connections of its second convolution.

    Examples
    --------
    >>> import lamella
    >>> model = LeNet()
    >>> sum(p.numel() for p in model.parameters())
    61706
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10, image_size: Any = 28):
        height, width = _needs("lenet", image_size, 12)
        height, width = ((n // 2 - 4) // 2 for n in (height, width))
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["conv1"] = nn.Conv2d(in_channels, 6, 5, padding=2)
        layers["relu1"] = nn.ReLU()
        layers["pool1"] = nn.MaxPool2d(2)
        layers["conv2"] = nn.Conv2d(6, 16, 5)
        layers["relu2"] = nn.ReLU()
        layers["pool2"] = nn.MaxPool2d(2)
        layers["flatten"] = nn.Flatten()
        layers["fc1"] = nn.Linear(16 * height * width, 120)
        layers["relu3"] = nn.ReLU()
        layers["fc2"] = nn.Linear(120, 84)
        layers["relu4"] = nn.ReLU()
        layers["fc3"] = nn.Linear(84, num_classes)
        super().__init__(layers)


class VGGSmall(nn.Sequential):
    """Three stages of two 3x3 convolutions (32, 64, 128 channels) with batch norm and ReLU, max-pooling after each, averaged at the end.

    Parameters
    ----------
    in_channels, num_classes : int
    image_size : int or (int, int)
        At least 8.

    Notes
    -----
    In the manner of Simonyan and Zisserman, ICLR 2015 (arXiv:1409.1556), with batch norm after each convolution (which then needs no bias).

    Examples
    --------
    >>> model = VGGSmall()
    >>> sum(p.numel() for p in model.parameters())
    288170
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10, image_size: Any = 28):
        _needs("vgg-small", image_size, 8)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels = in_channels
        for stage, width in enumerate((32, 64, 128), 1):
            for i in (1, 2):
                layers[f"conv{stage}_{i}"] = nn.Conv2d(channels, width, 3, padding=1, bias=False)
                layers[f"bn{stage}_{i}"] = nn.BatchNorm2d(width, activation="relu")
                channels = width
            layers[f"pool{stage}"] = nn.MaxPool2d(2)
        layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        layers["fc"] = nn.Linear(channels, num_classes)
        super().__init__(layers)
        _he(self)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, and the input added before the last ReLU."""

    foldable = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels, activation="relu")
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels, activation="relu")
        self.downsample = None
        if stride != 1 or in_channels != channels:
            layers: OrderedDict[str, nn.Module] = OrderedDict()
            layers["conv"] = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)
            layers["bn"] = nn.BatchNorm2d(channels)
            self.downsample = nn.Sequential(layers)

    def forward(self, x: Any) -> Any:
        out = self.bn1(self.conv1(x))
        return self.bn2(self.conv2(out), x if self.downsample is None else self.downsample(x))


class _SmallResNet(nn.Module):
    """Three stages of `blocks` residual blocks, 16, 32 and 64 channels wide, averaged at the end."""

    foldable = (("conv1", "bn1"),)
    blocks: int

    def __init__(self, in_channels: int = 1, num_classes: int = 10, image_size: Any = 28):
        super().__init__()
        _needs(f"resnet{6 * self.blocks + 2}", image_size, 4)
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16, activation="relu")
        self.layer1 = self._stage(16, 16, 1)
        self.layer2 = self._stage(16, 32, 2)
        self.layer3 = self._stage(32, 64, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(64, num_classes)
        _he(self)

    def _stage(self, in_channels: int, channels: int, stride: int) -> nn.Sequential:
        return nn.Sequential(BasicBlock(in_channels, channels, stride), *(BasicBlock(channels, channels, 1) for _ in range(1, self.blocks)))

    def forward(self, x: Any) -> Any:
        x = self.bn1(self.conv1(x))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.flatten(self.avgpool(x)))


class ResNet8(_SmallResNet):
    """The residual network of 8 layers for small images: `ResNet20` with one block per stage.

    Parameters
    ----------
    in_channels, num_classes : int
    image_size : int or (int, int)
        At least 4; the averaging at the end accepts any.

    Examples
    --------
    >>> model = ResNet8()
    >>> sum(p.numel() for p in model.parameters())
    77754
    """

    blocks = 1


class ResNet20(_SmallResNet):
    """The residual network of 20 layers for small images: 3 stages of 3 blocks, 16, 32, 64 channels, projection shortcuts.

    Parameters
    ----------
    in_channels, num_classes : int
    image_size : int or (int, int)
        At least 4; the averaging at the end accepts any.

    Notes
    -----
    He, Zhang, Ren, Sun, CVPR 2016 (arXiv:1512.03385), section 4.2. Where the number of channels changes, the shortcut is a strided
    1x1 convolution with batch norm (their option B; the paper's own small networks pad with zeros, option A, which saves 0.8 % of the
    parameters and costs a copy of the activation).

    Examples
    --------
    >>> model = ResNet20(in_channels=3)
    >>> sum(p.numel() for p in model.parameters())
    272474
    """

    blocks = 3


def _he(model: nn.Module) -> None:
    """He's initialisation of the convolutions (He et al., ICCV 2015); the rest keeps PyTorch's default."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


_MODELS: dict[str, Callable[..., nn.Module]] = {"mlp": MLP, "lenet": LeNet, "vgg-small": VGGSmall, "resnet8": ResNet8, "resnet20": ResNet20}


def names() -> list[str]:
    """The names `create` knows.

    Examples
    --------
    >>> names()
    ['mlp', 'lenet', 'vgg-small', 'resnet8', 'resnet20']
    """
    return list(_MODELS)


def register(name: str, make: Callable[..., nn.Module]) -> None:
    """Add a model of your own, so that `create`, and with it saved models, know it.

    Parameters
    ----------
    name : str
    make : callable
        ``make(**arguments)`` -> Module; of the arguments JSON must be able to hold.

    Examples
    --------
    >>> import lamella
    >>> lamella.models.register("my-linear", lambda n=2: lamella.nn.Linear(n, n))
    >>> lamella.models.create("my-linear", n=3).architecture
    {'name': 'my-linear', 'arguments': {'n': 3}}
    >>> del lamella.models._MODELS["my-linear"]
    """
    _MODELS[name] = make


def create(name: str, **arguments: Any) -> nn.Module:
    """Make a model by its name.

    Parameters
    ----------
    name : str
        One of `names`.
    **arguments
        in_channels, num_classes, image_size, and what else the model takes.

    Returns
    -------
    Module, with the attribute `architecture`: the name and the arguments, which `lamella.save_model` keeps

    Raises
    ------
    ValueError
        No model of that name; images too small for it.

    Examples
    --------
    >>> import lamella
    >>> lamella.models.create("lenet", in_channels=3, image_size=32).conv1
    Conv2d(3, 6, kernel_size=(5, 5), stride=(1, 1), padding=(2, 2))
    """
    if name not in _MODELS:
        raise ValueError(f"models.create: no model {name!r}; there are {', '.join(_MODELS)}")
    model = _MODELS[name](**arguments)
    model.architecture = {"name": name, "arguments": {k: list(v) if isinstance(v, tuple) else v for k, v in arguments.items()}}
    return model
