"""The suites: what is timed, and the figures it is meant to reach.

A suite is a function that makes its cases by name; BARS are the figures. Names are kept: results of different commits are compared by them.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lamella.testing.peers import cases as of
from lamella.testing.peers.augmentation import pipelines
from lamella.testing.peers.cases import DENORMAL, PASSES, Case, Step, Training

Cases = dict[str, Any]


def gemm_square() -> Cases:
    return {f"{n}x{n}x{n}": of.gemm(n, n, n) for n in (512, 1024, 2048)}


def gemm_small() -> Cases:
    sizes = [(64, 64, 64), (128, 128, 128), (256, 256, 256), (64, 500, 800), (512, 49, 4608), (64, 3136, 576), (64, 50176, 147)]
    more = [(128, 10, 1024), (2, 1000, 512), (128, 512, 784)]  # fully connected layers: few columns, few rows
    return {f"{m}x{n}x{k}": of.gemm(m, n, k) for m, n, k in sizes + more}


def _convs(layers: Mapping[str, tuple[int | None, ...]], batches: tuple[int, ...]) -> Cases:
    names = ("ic", "size", "oc", "k", "stride", "padding", "dilation", "groups")
    named: dict[str, dict[str, Any]] = {name: dict(zip(names, arguments)) for name, arguments in layers.items()}
    return {
        f"{name} b{mb} {pass_}": of.conv(mb, **arguments, pass_=pass_)
        for mb in batches
        for name, arguments in named.items()
        for pass_ in PASSES
    }


# (input channels, size of the image, output channels, size of the kernel, stride)
_3X3 = {
    "resnet18 64@56": (64, 56, 64, 3),
    "resnet18 128@28": (128, 28, 128, 3),
    "resnet18 256@14": (256, 14, 256, 3),
    "resnet18 512@7": (512, 7, 512, 3),
    "cifar 64@8": (64, 8, 64, 3),
    "cifar 64@32": (64, 32, 64, 3),
    "cifar 64-128@16": (64, 16, 128, 3),
    "cifar 128@16": (128, 16, 128, 3),
    "cifar 256@8": (256, 8, 256, 3),
    "cifar 512@4": (512, 4, 512, 3),
}


def conv3x3() -> Cases:
    """Batches of 8 and 64, and batch 1 forward: 3x3, stride 1, 64 to 512 channels."""
    return {**_convs(_3X3, (8, 64)), **{n: c for n, c in _convs(_3X3, (1,)).items() if n.endswith("forward")}}


_RESNET = {
    "resnet 7x7/2 3-64@224": (3, 224, 64, 7, 2),
    "resnet18 3x3/2 64-128@56": (64, 56, 128, 3, 2),
    "resnet18 3x3/2 128-256@28": (128, 28, 256, 3, 2),
    "resnet18 3x3/2 256-512@14": (256, 14, 512, 3, 2),
    "resnet18 1x1/2 64-128@56": (64, 56, 128, 1, 2),
    "resnet18 1x1/2 128-256@28": (128, 28, 256, 1, 2),
    "resnet18 1x1/2 256-512@14": (256, 14, 512, 1, 2),
    "resnet50 1x1 64@56": (64, 56, 64, 1),
    "resnet50 1x1 64-256@56": (64, 56, 256, 1),
    "resnet50 1x1 256-64@56": (256, 56, 64, 1),
    "resnet50 1x1 256-128@56": (256, 56, 128, 1),
    "resnet50 1x1 128-512@28": (128, 28, 512, 1),
    "resnet50 1x1 512-128@28": (512, 28, 128, 1),
    "resnet50 1x1 512-256@28": (512, 28, 256, 1),
    "resnet50 1x1 256-1024@14": (256, 14, 1024, 1),
    "resnet50 1x1 1024-256@14": (1024, 14, 256, 1),
    "resnet50 1x1 1024-512@14": (1024, 14, 512, 1),
    "resnet50 1x1 512-2048@7": (512, 7, 2048, 1),
    "resnet50 1x1 2048-512@7": (2048, 7, 512, 1),
    "resnet50 1x1/2 256-512@56": (256, 56, 512, 1, 2),
    "resnet50 1x1/2 512-1024@28": (512, 28, 1024, 1, 2),
    "resnet50 1x1/2 1024-2048@14": (1024, 14, 2048, 1, 2),
    "resnet50 3x3/2 128@56": (128, 56, 128, 3, 2),
    "resnet50 3x3/2 256@28": (256, 28, 256, 3, 2),
    "resnet50 3x3/2 512@14": (512, 14, 512, 3, 2),
}
_CIFAR = {
    "cifar 3x3 3-16@32": (3, 32, 16, 3),
    "cifar 3x3 16@32": (16, 32, 16, 3),
    "cifar 3x3/2 16-32@32": (16, 32, 32, 3, 2),
    "cifar 1x1/2 16-32@32": (16, 32, 32, 1, 2),
    "cifar 3x3 32@16": (32, 16, 32, 3),
    "cifar 3x3/2 32-64@16": (32, 16, 64, 3, 2),
    "cifar 1x1/2 32-64@16": (32, 16, 64, 1, 2),
    "cifar 3x3 3-64@32": (3, 32, 64, 3),
    "cifar 3x3/2 64-128@32": (64, 32, 128, 3, 2),
    "cifar 1x1/2 64-128@32": (64, 32, 128, 1, 2),
    "cifar 3x3/2 128-256@16": (128, 16, 256, 3, 2),
    "cifar 3x3/2 256-512@8": (256, 8, 512, 3, 2),
    "vgg 3x3 1-32@28": (1, 28, 32, 3),
    "vgg 3x3 32@28": (32, 28, 32, 3),
    "vgg 3x3 32-64@14": (32, 14, 64, 3),
}


def conv_other() -> Cases:
    """Every other convolution of ResNet-18, ResNet-50 and of networks for CIFAR: 1x1, strided, the 7x7 stem, 3 to 32 channels."""
    return _convs(_RESNET | _CIFAR, (1, 8, 64))


def conv_lenet() -> Cases:
    layers = {
        "5x5 1-6@28": (1, 28, 6, 5),
        "5x5 6-16@14": (6, 14, 16, 5, 1, 0),
        "5x5 1-8@28": (1, 28, 8, 5),
        "5x5 8-16@14": (8, 14, 16, 5),
        "5x5 1-16@28": (1, 28, 16, 5),
        "5x5 16@14": (16, 14, 16, 5),
    }
    return _convs(layers, (1, 64))


def conv_grouped() -> Cases:
    """Depthwise, grouped and dilated convolutions: MobileNet's, ResNeXt-50's, DeepLab's."""
    layers = {
        "depthwise 3x3 32@112": (32, 112, 32, 3, 1, 1, 1, 32),
        "depthwise 3x3/2 96@112": (96, 112, 96, 3, 2, 1, 1, 96),
        "depthwise 3x3 144@56": (144, 56, 144, 3, 1, 1, 1, 144),
        "depthwise 3x3 192@28": (192, 28, 192, 3, 1, 1, 1, 192),
        "depthwise 3x3 384@14": (384, 14, 384, 3, 1, 1, 1, 384),
        "depthwise 3x3/2 576@14": (576, 14, 576, 3, 2, 1, 1, 576),
        "depthwise 3x3 960@7": (960, 7, 960, 3, 1, 1, 1, 960),
        "grouped 3x3 32x4@56": (128, 56, 128, 3, 1, 1, 1, 32),
        "grouped 3x3 32x8@28": (256, 28, 256, 3, 1, 1, 1, 32),
        "grouped 3x3 32x16@14": (512, 14, 512, 3, 1, 1, 1, 32),
        "grouped 3x3 2x32@28": (64, 28, 64, 3, 1, 1, 1, 2),
        "dilated 3x3 d2 64@28": (64, 28, 64, 3, 1, None, 2),
        "dilated 3x3 d2 256@28": (256, 28, 256, 3, 1, None, 2),
        "dilated 3x3 d4 128@14": (128, 14, 128, 3, 1, None, 4),
    }
    return _convs(layers, (8,))


def _passes(name: str, make: Callable[..., Case], *arguments: Any, hows: tuple[str, ...] = ("forward", "backward"), **more: Any) -> Cases:
    return {f"{name} {how}": make(*arguments, how=how, **more) for how in hows}


IMAGES = {"b128 16@32": (128, 16, 32, 32), "b128 64@8": (128, 64, 8, 8), "b8 64@56": (8, 64, 56, 56), "b8 256@14": (8, 256, 14, 14)}


def batchnorm() -> Cases:
    cases: Cases = {}
    for name, shape in {**IMAGES, "b64 64@56": (64, 64, 56, 56)}.items():
        cases |= _passes(f"train {name}", of.batch_norm, shape)
        cases[f"eval {name} forward"] = of.batch_norm(shape, "forward", training=False)
    return cases


def pool() -> Cases:
    def window(op: str, k: int, s: int, p: int) -> tuple[str, dict[str, Any]]:
        return op, {"kernel_shape": [k] * 2, "strides": [s] * 2, "pads": [p] * 4}

    kinds: dict[str, tuple[tuple[int, ...], Callable[..., Any], float, Any]] = {
        "max 2x2 b64 6@28": ((64, 6, 28, 28), lambda F, x: F.max_pool2d(x, 2), 0.25, window("MaxPool", 2, 2, 0)),
        "max 2x2 b128 32@28": ((128, 32, 28, 28), lambda F, x: F.max_pool2d(x, 2), 0.25, window("MaxPool", 2, 2, 0)),
        "max 3x3/2 b8 64@112": ((8, 64, 112, 112), lambda F, x: F.max_pool2d(x, 3, 2, 1), 0.25, window("MaxPool", 3, 2, 1)),
        "max 3x3/2 b64 64@112": ((64, 64, 112, 112), lambda F, x: F.max_pool2d(x, 3, 2, 1), 0.25, window("MaxPool", 3, 2, 1)),
        "avg 2x2 b128 16@32": ((128, 16, 32, 32), lambda F, x: F.avg_pool2d(x, 2), 0.25, window("AveragePool", 2, 2, 0)),
        "global avg b128 64@8": ((128, 64, 8, 8), lambda F, x: F.adaptive_avg_pool2d(x, 1), 0, ("GlobalAveragePool", {})),
        "global avg b64 512@7": ((64, 512, 7, 7), lambda F, x: F.adaptive_avg_pool2d(x, 1), 0, ("GlobalAveragePool", {})),
    }
    cases: Cases = {}
    for name, (shape, call, out, onnx) in kinds.items():
        words = (1 + out, 1 + 1.25 * out if name.startswith("max") else 1 + out)  # backward of max reads indices of a byte
        cases |= _passes(name, of.image, shape, call, words=words, onnx=onnx)
    return cases


def softmax_loss() -> Cases:
    cases: Cases = {}
    for rows, classes in ((128, 10), (256, 1000), (8192, 100)):
        cases |= _passes(f"softmax {rows}x{classes}", of.softmax, rows, classes)
        cases |= _passes(f"cross entropy {rows}x{classes}", of.cross_entropy, rows, classes, hows=("forward", "both"))
    return cases


MORE_ACTIVATIONS = ("relu", "hardtanh", "hardswish", "elu", "gelu", "silu", "mish", "softplus", "softsign")  # forward and backward together


def activation() -> Cases:
    numpy = {"relu": lambda x: np.maximum(x, 0), "leaky_relu": None, "tanh": np.tanh, "sigmoid": lambda x: 1 / (1 + np.exp(-x))}
    onnx = {"relu": ("Relu", {}), "leaky_relu": ("LeakyRelu", {"alpha": 0.01}), "tanh": ("Tanh", {}), "sigmoid": ("Sigmoid", {})}
    cases: Cases = {}
    for size, shape in {"64K": (16, 64, 8, 8), "2M": (128, 16, 32, 32), "13M": (64, 64, 56, 56)}.items():
        for name in numpy:

            def call(F: Any, x: Any, name: str = name) -> Any:
                return getattr(F, name)(x)

            more: dict[str, Any] = {"onnx": onnx[name], "numpy": numpy[name], "memory": name.endswith("relu")}
            cases |= _passes(f"{name} {size}", of.image, shape, call, words=(2, 3), **more)
        if size != "13M":
            for name in MORE_ACTIVATIONS:

                def call(F: Any, x: Any, name: str = name) -> Any:
                    return getattr(F, name)(x)

                cases |= _passes(f"{name} {size}", of.image, shape, call, hows=("both",), words=(2, 3), memory=name.startswith("hard"))
    return cases


# ResNet-18's parameters: the stem; 4 stages of 2 blocks, of which the first of stages 2 to 4 has a projection; the classifier
RESNET18: tuple[tuple[int, ...], ...] = ((64, 3, 7, 7), (64,), (64,))
for _ic, _oc in ((64, 64), (64, 128), (128, 256), (256, 512)):
    for _first in (True, False):
        RESNET18 += ((_oc, _ic if _first else _oc, 3, 3), (_oc,), (_oc,), (_oc, _oc, 3, 3), (_oc,), (_oc,))
        if _first and _ic != _oc:
            RESNET18 += ((_oc, _ic, 1, 1), (_oc,), (_oc,))
RESNET18 += ((1000, 512), (1000,))
RESNET20: tuple[tuple[int, ...], ...] = ((16, 3, 3, 3), (16,), (16,)) + ((16, 16, 3, 3), (16,), (16,)) * 6
RESNET20 += ((32, 16, 3, 3), (32,), (32,)) + ((32, 32, 3, 3), (32,), (32,)) * 5
RESNET20 += ((64, 32, 3, 3), (64,), (64,)) + ((64, 64, 3, 3), (64,), (64,)) * 5
RESNET20 += ((32, 16, 1, 1), (32,), (32,), (64, 32, 1, 1), (64,), (64,), (10, 64), (10,))


_STEPS = {"SGD": 3, "NAdam": 7, "RAdam": 7, "Adamax": 7, "Adagrad": 5, "RMSprop": 5, "Adadelta": 7}  # words read and written per parameter


def optimizer() -> Cases:
    momentum, rate = {"lr": 1e-3, "momentum": 0.9}, {"lr": 1e-3}
    return {
        "SGD momentum resnet18": Step("SGD", momentum, RESNET18, 5),
        "Adam resnet18": Step("Adam", rate, RESNET18, 7),
        "AdamW resnet18": Step("AdamW", rate, RESNET18, 7),
        "SGD momentum resnet20": Step("SGD", momentum, RESNET20, 5),
        "AdamW resnet20": Step("AdamW", rate, RESNET20, 7),
        **{f"{name} resnet18": Step(name, rate, RESNET18, words) for name, words in _STEPS.items()},
        "RMSprop centered momentum resnet18": Step("RMSprop", {**momentum, "centered": True}, RESNET18, 9),
    }


def overhead() -> Cases:
    """What a call costs from Python."""
    return {
        "relu of 16": Case(((16,),), lambda F, x: F.relu(x), bytes=128),
        "conv2d 1x1x4x4": Case(((1, 1, 4, 4), (1, 1, 3, 3)), lambda F, x, w: F.conv2d(x, w), 72, images=(0,)),
    }


def denormal() -> Cases:
    """Cases whose peer is lamella itself on ordinary numbers."""
    tiny = {
        "conv 64@56 b8 weights": (of.conv(8, 64, 56, 64, 3), 1),
        "conv 64@56 b8 input": (of.conv(8, 64, 56, 64, 3), 0),
        "conv 64@56 b8 backward_input weights": (of.conv(8, 64, 56, 64, 3, pass_="backward_input"), 1),
        "conv 64@56 b8 backward_weight input": (of.conv(8, 64, 56, 64, 3, pass_="backward_weight"), 0),
        "conv 1x1 256-64@56 b8 input": (of.conv(8, 256, 56, 64, 1), 0),
        "conv 5x5 1-6@28 b64 weights": (of.conv(64, 1, 28, 6, 5), 1),
        "depthwise 64@28 b8 weights": (of.conv(8, 64, 28, 64, 3, groups=64), 1),
        "gemm 512 input": (of.gemm(512, 512, 512), 0),
        "relu 2M": (activation()["relu 2M forward"], 0),
        "tanh 2M": (activation()["tanh 2M forward"], 0),
        "gelu 2M both": (activation()["gelu 2M both"], 0),
        "softmax 256x1000": (softmax_loss()["softmax 256x1000 forward"], 0),
        "cross entropy 256x1000 both": (softmax_loss()["cross entropy 256x1000 both"], 0),
        "batch norm b8 64@56": (of.batch_norm(IMAGES["b8 64@56"], "forward"), 0),
        "batch norm b8 64@56 backward": (of.batch_norm(IMAGES["b8 64@56"], "backward"), 0),
        "max pool 3x3/2 b8 64@112": (pool()["max 3x3/2 b8 64@112 forward"], 0),
    }
    return {name: replace(case, scales={which: DENORMAL}) for name, (case, which) in tiny.items()}


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
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), *blocks,
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def training() -> Cases:
    return {
        "lenet b64": Training(_lenet, 64, 0.833e6),
        "lenet b1": Training(_lenet, 1, 0.833e6),
        "resnet20 b128": Training(_resnet20, 128, 62.1e6),
    }


def recurrent() -> Cases:
    """Training steps on images read row by row: 28 steps of 28 features, hidden 128, batch 64."""

    def build(kind: str) -> Callable[[Any, Any], Any]:
        def made(nn: Any, relu: Any) -> Any:
            class Net(nn.Module):
                def __init__(self) -> None:
                    super().__init__()
                    self.rnn, self.head = getattr(nn, kind)(28, 128, batch_first=True), nn.Linear(128, 10)

                def forward(self, x: Any) -> Any:
                    return self.head(self.rnn(x[:, 0])[0][:, -1])

            return Net()

        return made

    gates = {"RNN": 1, "LSTM": 4, "GRU": 3}
    return {f"{kind} b64 28x28-128": Training(build(kind), 64, 28 * 2 * n * 128 * (28 + 128)) for kind, n in gates.items()}


def vision() -> Cases:
    """Integral images, and where OpenCV is installed the detectors that it ships."""
    cases: Cases = {
        f"integral {what} {dtype} {width}x{height}": of.integral(dtype, height, width, sums)
        for dtype in ("uint8", "float32", "float64")
        for height, width in ((512, 512), (1080, 1920))
        for sums, what in ((1, "sum"), (2, "squared"), (3, "tilted"))
    }
    opencv = importlib.util.find_spec("cv2")
    if opencv is not None and opencv.origin is not None:
        for path in sorted((Path(opencv.origin).parent / "data").glob("haarcascade_*.xml")):
            cases[f"detect {path.stem.removeprefix('haarcascade_')}"] = of.detection(str(path))
    return cases


SUITES: dict[str, Callable[[], Cases]] = {
    "gemm-square": gemm_square, "gemm-small": gemm_small, "conv3x3": conv3x3, "conv-other": conv_other, "conv-lenet": conv_lenet,
    "conv-grouped": conv_grouped, "batchnorm": batchnorm, "pool": pool, "softmax": softmax_loss, "activation": activation,
    "optimizer": optimizer, "overhead": overhead, "denormal": denormal, "training": training,
    "recurrent": recurrent, "vision": vision, "augmentation": pipelines,
}  # fmt: skip


LIBRARIES = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "cv2": "OpenCV", "numpy": "NumPy"}


class Bar(NamedTuple):
    """What a suite is meant to reach: a figure over those of its rows whose name has `rows` in it.

    figure : "mean", geometric mean of the ratios to the best peer; "least", the lowest lower confidence limit of them; "peak" and "copy", the lowest share
    of the FMA peak or (of rows bound by memory and larger than the caches) of the copy bandwidth; "numba", geometric mean of Numba's speed against
    Cython's; "scaling" and "least scaling", of the gain of two threads against that of the FMA-peak program, for rows above 100 MFLOP.
    against : the libraries that the best peer is chosen from
    """

    figure: str
    least: float
    rows: str = ""
    threads: int | None = None  # only for this number
    against: tuple[str, ...] = tuple(LIBRARIES)

    def of(self, name: str) -> bool:
        return re.search(self.rows, name) is not None


MATMUL = ("torch", "numpy")  # ONNX Runtime packs a constant operand beforehand
BARS: dict[str, list[Bar]] = {
    "gemm-square": [
        Bar("least", 0.97, against=("torch",)),
        Bar("peak", 0.85, "^512x", 1),
        Bar("peak", 0.90, "^(1024|2048)x", 1),
        Bar("peak", 0.85, threads=2),
    ],
    "gemm-small": [Bar("mean", 1.1, against=MATMUL), Bar("least", 0.9, against=MATMUL)],
    "conv3x3": [
        Bar("mean", 1.7, "b(8|64) forward"),
        Bar("mean", 1.7, "b(8|64) backward_input"),
        Bar("mean", 1.3, "b(8|64) backward_weight"),
        Bar("mean", 1.15, "b1 forward"),
    ],
    "conv-other": [*(Bar("mean", 1.15, f" b{mb} ") for mb in (1, 8, 64)), *(Bar("least", 0.9, f" b{mb} ") for mb in (1, 8, 64))],
    "conv-lenet": [Bar("mean", 3, " b64 "), Bar("mean", 5, " b1 ")],
    "conv-grouped": [Bar("mean", 1.5), Bar("least", 1)],
    "batchnorm": [Bar("mean", 1.5), Bar("least", 1), Bar("copy", 0.7)],
    "pool": [Bar("mean", 1.5), Bar("least", 1), Bar("copy", 0.7)],
    "softmax": [Bar("mean", 1.5), Bar("least", 1)],
    "activation": [Bar("mean", 1.5), Bar("least", 1), Bar("copy", 0.7), Bar("mean", 1.3, " both")],
    "optimizer": [Bar("least", 1, "resnet18"), Bar("copy", 0.8, "resnet18")],
    "recurrent": [Bar("least", 1.3)],
    "augmentation": [Bar("least", 3, "crop|rotate", 1)],
    "overhead": [Bar("least", 1 / 0.6)],
    "denormal": [Bar("least", 1 / 1.1)],
    "vision": [Bar("least", 1, threads=1)],
}
EVERYWHERE = [Bar("numba", 0.9), Bar("scaling", 0.92, threads=2), Bar("least scaling", 0.8, threads=2)]
