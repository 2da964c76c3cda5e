"""What is compared: one call, written once against the names that lamella.functional and torch.nn.functional share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import numpy as np

PASSES = ("forward", "backward_input", "backward_weight")
DENORMAL = 1e-39  # a scale at which almost every float32 number is denormal


@cache
def _noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1 << 20) + 7, np.float32)


def noise(shape: tuple[int, ...], seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Normal numbers; large arrays repeat them."""
    values = np.resize(_noise(seed), shape)
    return values if scale == 1 else (values * scale).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """``call(F, *arrays)``.

    Attributes
    ----------
    shapes : of the arrays
    flops, bytes : of the pass timed, each byte read or written counted once
    how : "forward"; "backward", what the tape's node computes, alone; "both", forward and backward as a user writes them
    leaves : the arrays whose gradients a backward pass computes
    images : the arrays of (N, C, H, W), given in the peer's memory format
    weights : the arrays ONNX Runtime knows beforehand
    fixed : arrays given as they are: labels, statistics
    scales : of the random numbers of an array
    numpy : the same for NumPy
    onnx : operator and attributes
    memory : bound by memory, not by arithmetic: judged by its share of the copy bandwidth
    """

    shapes: tuple[tuple[int, ...], ...]
    call: Callable[..., Any]
    flops: float = 0.0
    bytes: float = 0.0
    how: str = "forward"
    leaves: tuple[int, ...] = (0,)
    images: tuple[int, ...] = ()
    weights: tuple[int, ...] = ()
    fixed: dict[int, np.ndarray] = field(default_factory=dict)
    scales: dict[int, float] = field(default_factory=dict)
    numpy: Callable[..., Any] | None = None
    onnx: tuple[str, dict[str, Any]] | None = None
    memory: bool = False

    def arrays(self) -> list[np.ndarray]:
        return [self.fixed[i] if i in self.fixed else noise(shape, i, self.scales.get(i, 1.0)) for i, shape in enumerate(self.shapes)]

    @property
    def ordinary(self) -> Case:
        """The same on numbers of ordinary size."""
        return replace(self, scales={})


@dataclass(frozen=True)
class Step:
    """One step of an optimizer over parameters of these shapes; `words` are read and written per parameter."""

    optimizer: str
    arguments: dict[str, float]
    shapes: tuple[tuple[int, ...], ...]
    words: int
    memory: bool = True

    @property
    def count(self) -> int:
        return sum(int(np.prod(shape)) for shape in self.shapes)

    @property
    def bytes(self) -> float:
        return 4.0 * self.words * self.count

    @property
    def flops(self) -> float:
        return 12.0 * self.count


@dataclass(frozen=True)
class Training:
    """One training step of a network on 28 x 28 images: forward, cross entropy, backward, AdamW. `build(nn, relu)` makes it in any library."""

    build: Callable[[Any, Any], Any]
    batch: int
    forward: float  # flops per image of the forward pass
    bytes: float = 0.0
    memory: bool = False

    @property
    def flops(self) -> float:
        return 3 * self.batch * self.forward

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        return noise((self.batch, 1, 28, 28)), np.random.default_rng(0).integers(0, 10, self.batch)

    @staticmethod
    def initial(number: int, shape: tuple[int, ...]) -> np.ndarray:
        """The same values for parameter `number` everywhere; those of one axis (biases, batch norms) lie around 0.5."""
        if len(shape) == 1:
            return np.linspace(0.4, 0.6, shape[0], dtype=np.float32)
        return noise(shape, number, float(np.sqrt(2 / np.prod(shape[1:]))))


@dataclass(frozen=True)
class Vision:
    """Something that lamella.vision and OpenCV find in the same image: what `ours(vision, image)` and `theirs(cv2, image)` return is called and timed."""

    image: Callable[[], np.ndarray]
    ours: Callable[[Any, np.ndarray], Callable[[], Any]]
    theirs: Callable[[Any, np.ndarray], Callable[[], Any]]
    bytes: float = 0.0
    flops: float = 0.0
    memory: bool = False


def photograph() -> np.ndarray:
    """Grey levels, 512 x 512: scikit-image's astronaut; without scikit-image clouds, noise with a photograph's spectrum."""
    try:
        from skimage.data import astronaut
    except ImportError:
        waves = np.hypot(*np.meshgrid(np.fft.fftfreq(512), np.fft.rfftfreq(512), indexing="ij"))
        clouds = np.fft.irfft2(np.fft.rfft2(noise((512, 512))) / np.maximum(waves, 1 / 512))
        return (128 + 50 * clouds / clouds.std()).clip(0, 255).astype(np.uint8)
    return np.rint((astronaut() * np.array([0.299, 0.587, 0.114])).sum(2)).astype(np.uint8)


def integral(dtype: str, height: int, width: int, sums: int) -> Vision:
    """The integral image; with 2 sums that of the squares, too, with 3 the tilted one."""
    size = np.dtype(dtype).itemsize
    written = (4, 8, 4) if dtype == "uint8" else (8, 8, 8)
    return Vision(
        lambda: np.resize(photograph(), (height, width)).astype(dtype),
        lambda vision, x: partial(vision.integral_image, x, squared=sums > 1, tilted=sums > 2),
        lambda cv2, x: partial((cv2.integral, cv2.integral2, cv2.integral3)[sums - 1], x),
        bytes=float(height * width * (size + sum(written[:sums]))),
    )


def _found(detector: Any, image: np.ndarray) -> np.ndarray:
    return np.reshape(detector.detectMultiScale(image), (-1, 4))  # of none, OpenCV gives ()


def detection(file: str) -> Vision:
    """The objects that one of OpenCV's cascades finds in the photograph."""
    return Vision(
        photograph,
        lambda vision, x: partial(vision.CascadeClassifier.load(file).detect, x),
        lambda cv2, x: partial(_found, cv2.CascadeClassifier(file), x),
        bytes=512.0 * 512,
    )


def gemm(m: int, n: int, k: int) -> Case:
    return Case(
        ((m, k), (k, n)),
        lambda F, a, b: F.matmul(a, b),
        2 * m * n * k,
        4 * (m * k + k * n + m * n),
        weights=(1,),
        numpy=np.matmul,
        onnx=("MatMul", {}),
    )


def conv(
    mb: int, ic: int, size: int, oc: int, k: int, stride: int = 1, padding: int | None = None, dilation: int = 1, groups: int = 1,
    pass_: str = "forward",
) -> Case:  # fmt: skip
    """Padding by default keeps the size (at stride 1)."""
    reach = dilation * (k - 1)
    padding = reach // 2 if padding is None else padding
    out = (size + 2 * padding - reach - 1) // stride + 1
    shapes = ((mb, ic, size, size), (oc, ic // groups, k, k))
    return Case(
        shapes,
        lambda F, x, w: F.conv2d(x, w, None, stride, padding, dilation, groups),
        2 * mb * oc * (ic // groups) * k * k * out * out,
        4 * (sum(int(np.prod(shape)) for shape in shapes) + mb * oc * out * out),
        how="forward" if pass_ == "forward" else "backward",
        leaves=(PASSES.index(pass_) - 1,) if pass_ != "forward" else (),
        images=(0,),
        weights=(1,),
        onnx=(
            "Conv",
            {"strides": [stride] * 2, "pads": [padding] * 4, "dilations": [dilation] * 2, "group": groups, "kernel_shape": [k] * 2},
        ),
    )


def image(
    shape: tuple[int, ...],
    call: Callable[..., Any],
    how: str,
    words: tuple[float, float],
    flops: float = 1,
    onnx: tuple[str, dict[str, Any]] | None = None,
    numpy: Callable[..., Any] | None = None,
    memory: bool = True,
) -> Case:
    """An operation on one array of images; `words`: how many floats per element forward and backward read and write; `flops`, per element."""
    n = 4 * float(np.prod(shape))
    moved = {"forward": words[0], "backward": words[1], "both": sum(words)}[how]
    numpy = numpy if how == "forward" else None
    return Case((shape,), call, n / 4 * flops, n * moved, how, images=(0,), onnx=onnx, numpy=numpy, memory=memory)


def batch_norm(shape: tuple[int, ...], how: str, training: bool = True) -> Case:
    c, n = shape[1], 4 * float(np.prod(shape))
    reads = {"forward": 3 if training else 2, "backward": 5, "both": 8}
    return Case(
        (shape, (c,), (c,), (c,), (c,)),
        lambda F, x, mean, var, weight, bias: F.batch_norm(x, mean, var, weight, bias, training=training),
        flops=n / 4 * 7,
        bytes=n * reads[how],
        how=how,
        leaves=(0, 3, 4),
        images=(0,),
        weights=(1, 2, 3, 4),
        fixed={1: np.zeros(c, np.float32), 2: np.ones(c, np.float32)},
        memory=True,
    )


def softmax(rows: int, classes: int, how: str) -> Case:
    moved = {"forward": 2, "backward": 3, "both": 5}[how]
    return Case(
        ((rows, classes),),
        lambda F, x: F.softmax(x, -1),
        flops=5.0 * rows * classes,
        bytes=4.0 * rows * classes * moved,
        how=how,
        onnx=("Softmax", {"axis": -1}),
    )


def cross_entropy(rows: int, classes: int, how: str) -> Case:
    return Case(
        ((rows, classes), (rows,)),
        lambda F, x, y: F.cross_entropy(x, y),
        flops=5.0 * rows * classes,
        bytes=4.0 * rows * classes * {"forward": 1, "both": 3}[how],
        how=how,
        fixed={1: np.random.default_rng(0).integers(0, classes, rows)},
    )
