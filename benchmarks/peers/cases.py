"""What is compared: the same call on the same numbers, in lamella, in PyTorch, and in NumPy where it has the operation.

A case is written once, against names that lamella.functional and torch.nn.functional share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """`call(F, *arrays)`; `shapes` of the arrays, those in `images` being (N, C, H, W) in the peer's memory format; `backward` times forward and backward."""

    shapes: tuple[tuple[int, ...], ...]
    call: Callable[..., Any]
    flops: float = 0.0
    bytes: float = 0.0
    backward: bool = False
    images: tuple[int, ...] = ()
    fixed: dict[int, np.ndarray] = field(default_factory=dict)  # arrays given as they are: labels, statistics
    numpy: Callable[..., Any] | None = None

    def arrays(self) -> list[np.ndarray]:
        rng = np.random.default_rng(0)
        return [self.fixed.get(i, rng.standard_normal(shape).astype(np.float32)) for i, shape in enumerate(self.shapes)]


def _both(name: str, case: Callable[[bool], Case]) -> dict[str, Case]:
    return {f"{name} forward": case(False), f"{name} forward+backward": case(True)}


def gemm() -> dict[str, Case]:
    sizes = [(64, 64, 64), (256, 256, 256), (1024, 1024, 1024), (128, 10, 1024), (128, 512, 784), (2, 1000, 512)]
    return {f"{m}x{n}x{k}": Case(((m, k), (k, n)), lambda F, a, b: F.matmul(a, b), 2 * m * n * k, numpy=np.matmul) for m, n, k in sizes}


def _conv(mb: int, ic: int, size: int, oc: int, k: int, stride: int = 1, padding: int = 0) -> Callable[[bool], Case]:
    out = (size + 2 * padding - k) // stride + 1
    flops = 2 * mb * oc * ic * k * k * out * out
    return lambda backward: Case(
        ((mb, ic, size, size), (oc, ic, k, k)),
        lambda F, x, w: F.conv2d(x, w, stride=stride, padding=padding),
        flops * (3 if backward else 1),
        backward=backward,
        images=(0,),
    )


def conv() -> dict[str, Case]:
    layers = {
        "lenet conv1 b64": _conv(64, 1, 28, 6, 5, padding=2),
        "lenet conv2 b64": _conv(64, 6, 14, 16, 5),
        "resnet20 first b128": _conv(128, 3, 32, 16, 3, padding=1),
        "resnet20 16ch b128": _conv(128, 16, 32, 16, 3, padding=1),
        "resnet20 16-32ch/2 b128": _conv(128, 16, 32, 32, 3, 2, 1),
        "resnet20 32ch b128": _conv(128, 32, 16, 32, 3, padding=1),
        "resnet20 64ch b128": _conv(128, 64, 8, 64, 3, padding=1),
        "resnet18 first b8": _conv(8, 3, 224, 64, 7, 2, 3),
        "resnet18 64ch b8": _conv(8, 64, 56, 64, 3, padding=1),
        "resnet18 128ch b8": _conv(8, 128, 28, 128, 3, padding=1),
        "resnet18 256ch b8": _conv(8, 256, 14, 256, 3, padding=1),
        "resnet18 512ch b8": _conv(8, 512, 7, 512, 3, padding=1),
        "resnet18 64-128ch 1x1/2 b8": _conv(8, 64, 56, 128, 1, 2),
    }
    return {name: case for layer, make in layers.items() for name, case in _both(layer, make).items()}


def _image(mb: int, c: int, size: int, call: Callable[..., Any], passes: int = 2) -> Callable[[bool], Case]:
    n = 4 * mb * c * size * size
    return lambda backward: Case(((mb, c, size, size),), call, bytes=n * passes * (2 if backward else 1), backward=backward, images=(0,))


def pool() -> dict[str, Case]:
    return {
        **_both("max 2x2 b64 6x28x28", _image(64, 6, 28, lambda F, x: F.max_pool2d(x, 2))),
        **_both("max 3x3/2 b8 64x112x112", _image(8, 64, 112, lambda F, x: F.max_pool2d(x, 3, 2, 1))),
        **_both("avg 2x2 b128 16x32x32", _image(128, 16, 32, lambda F, x: F.avg_pool2d(x, 2))),
        **_both("global avg b128 64x8x8", _image(128, 64, 8, lambda F, x: F.adaptive_avg_pool2d(x, 1))),
    }


def batchnorm() -> dict[str, Case]:
    def case(mb: int, c: int, size: int) -> Callable[[bool], Case]:
        n = 4 * mb * c * size * size
        return lambda backward: Case(
            ((mb, c, size, size), (c,), (c,), (c,), (c,)),
            lambda F, x, mean, var, weight, bias: F.batch_norm(x, mean, var, weight, bias, training=True),
            bytes=n * (6 if backward else 3),
            backward=backward,
            images=(0,),
            fixed={1: np.zeros(c, np.float32), 2: np.ones(c, np.float32)},
        )

    return {**_both("b128 16x32x32", case(128, 16, 32)), **_both("b128 64x8x8", case(128, 64, 8)), **_both("b8 64x56x56", case(8, 64, 56))}


def activation() -> dict[str, Case]:
    numpy = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh, "sigmoid": lambda x: 1 / (1 + np.exp(-x))}

    def case(name: str) -> Callable[[bool], Case]:
        return lambda backward: Case(
            ((128, 16, 32, 32),),
            lambda F, x: getattr(F, name)(x),
            bytes=4 * 128 * 16 * 32 * 32 * (5 if backward else 2),
            backward=backward,
            images=(0,),
            numpy=None if backward else numpy[name],
        )

    return {key: value for name in numpy for key, value in _both(f"{name} 2M", case(name)).items()}


def softmax() -> dict[str, Case]:
    def case(mb: int, c: int) -> Callable[[bool], Case]:
        labels = np.random.default_rng(0).integers(0, c, mb)
        return lambda backward: Case(
            ((mb, c), (mb,)),
            lambda F, x, y: F.cross_entropy(x, y),
            bytes=4 * mb * c * (2 if backward else 1),
            backward=backward,
            fixed={1: labels},
        )

    return {**_both("cross entropy 128x10", case(128, 10)), **_both("cross entropy 256x1000", case(256, 1000))}


@dataclass(frozen=True)
class Step:
    """One step of an optimizer over parameters of these sizes."""

    optimizer: str
    arguments: dict[str, float]
    sizes: tuple[int, ...]
    words: int  # read and written per parameter
    flops: float = 0.0

    @property
    def bytes(self) -> float:
        return 4.0 * self.words * sum(self.sizes)


RESNET20 = (432, 16, 16) + (2304, 16, 16) * 6 + (4608, 32, 32) + (9216, 32, 32) * 5 + (18432, 64, 64) + (36864, 64, 64) * 5 + (640, 10)


def optimizer() -> dict[str, Step]:
    return {
        "SGD momentum, resnet20": Step("SGD", {"lr": 1e-3, "momentum": 0.9}, RESNET20, 5),
        "AdamW, resnet20": Step("AdamW", {"lr": 1e-3}, RESNET20, 7),
        "AdamW, one of 4M": Step("AdamW", {"lr": 1e-3}, (1 << 22,), 7),
    }


@dataclass(frozen=True)
class Training:
    """One training step of a network on 28 x 28 images: forward, cross entropy, backward, AdamW. `build(nn, relu)` makes it in lamella and in PyTorch."""

    build: Callable[[Any, Any], Any]
    batch: int
    forward: float  # flops per image of the forward pass
    bytes: float = 0.0

    @property
    def flops(self) -> float:
        return 3 * self.batch * self.forward

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        return rng.standard_normal((self.batch, 1, 28, 28)).astype(np.float32), rng.integers(0, 10, self.batch)

    @staticmethod
    def initial(number: int, shape: tuple[int, ...]) -> np.ndarray:
        """The same values for parameter `number` everywhere; those of one axis (biases, batch norms) lie around 0.5."""
        if len(shape) == 1:
            return np.linspace(0.4, 0.6, shape[0], dtype=np.float32)
        scale = np.sqrt(2 / np.prod(shape[1:]))
        return (np.random.default_rng(number).standard_normal(shape) * scale).astype(np.float32)


def _lenet(nn: Any, relu: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def _resnet20(nn: Any, relu: Any) -> Any:
    class Block(nn.Module):
        def __init__(self, ic: int, oc: int, stride: int):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(ic, oc, 3, stride, 1, bias=False), nn.BatchNorm2d(oc)
            self.conv2, self.bn2 = nn.Conv2d(oc, oc, 3, 1, 1, bias=False), nn.BatchNorm2d(oc)
            self.shortcut = (
                nn.Identity() if stride == 1 and ic == oc else nn.Sequential(nn.Conv2d(ic, oc, 1, stride, bias=False), nn.BatchNorm2d(oc))
            )

        def forward(self, x: Any) -> Any:
            return relu(self.bn2(self.conv2(relu(self.bn1(self.conv1(x))))) + self.shortcut(x))

    blocks: list[Any] = []
    channels = 16
    for oc in (16, 32, 64):
        for number in range(3):
            blocks.append(Block(channels, oc, 2 if number == 0 and oc > 16 else 1))
            channels = oc
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def training() -> dict[str, Training]:
    return {
        "lenet b64": Training(_lenet, 64, 0.833e6),
        "lenet b1": Training(_lenet, 1, 0.833e6),
        "resnet20 b128": Training(_resnet20, 128, 62.1e6),
    }


SUITES: dict[str, Callable[[], dict[str, Any]]] = {
    "gemm": gemm, "conv": conv, "pool": pool, "batchnorm": batchnorm, "activation": activation, "softmax": softmax, "optimizer": optimizer,
    "training": training,
}  # fmt: skip
