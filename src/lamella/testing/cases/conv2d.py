"""Cases of conv2d."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lamella.layout import channels_last
from lamella.problems import Conv2dProblem
from lamella.testing.cases.base import DTYPE, Arrays, Row, summed, values


def _make(p: Conv2dProblem, pass_: str, rng: np.random.Generator, integers: bool) -> tuple[list[np.ndarray | None], Arrays]:
    def image(shape: tuple[int, ...]) -> np.ndarray:
        return channels_last(values(rng, shape, p.dtype, integers))

    w, b = values(rng, p.w_shape, p.dtype, integers), values(rng, (p.oc,), p.dtype, integers)
    if pass_ == "forward":
        return [image(p.x_shape), w, b if p.bias else None], [image(p.out_shape)]
    if pass_ == "backward_input":
        return [image(p.out_shape), w], [image(p.x_shape)]
    return [image(p.x_shape), image(p.out_shape)], [w, b] if p.bias else [w, None]  # type: ignore[list-item]


def _bound(p: Conv2dProblem, pass_: str, inputs: list[Any], expected: Arrays) -> list[Any]:
    from lamella.kernels.conv2d import ref

    absolute = [None if x is None else np.abs(x) for x in inputs]
    outs: list[Any] = [None if e is None else np.empty(e.shape) for e in expected]
    getattr(ref, pass_)(Conv2dProblem.of(*p.args[:8]), *absolute, *outs, None)  # without activation
    terms = {
        "forward": p.ic // p.groups * p.kh * p.kw,
        "backward_input": p.oc // p.groups * p.kh * p.kw,
        "backward_weight": p.mb * p.oh * p.ow,
    }
    # sigmoid and tanh never stretch an error; their own 4 ulp come on top
    own = 4 if pass_ == "forward" and p.activation in ("sigmoid", "tanh") else 1e-30
    return [None if o is None else summed(terms[pass_] + 1, o) + own for o in outs]


def _adjoint(p: Conv2dProblem, run: Callable[..., Arrays], rng: np.random.Generator) -> None:
    """<g, F(x, w)> = <backward_input(g, w), x> = <backward_weight(x, g), w>, without bias."""
    if p.act:  # not linear
        return
    x, g = (channels_last(rng.standard_normal(shape)) for shape in (p.x_shape, p.out_shape))
    w, b = rng.standard_normal(p.w_shape), np.zeros(p.oc) if p.bias else None
    left = np.vdot(g, run("forward", x, w, b)[0])
    scale = 1e-11 * (1 + np.sqrt(p.flops))
    for pass_, inputs, other in (("backward_input", (g, w), x), ("backward_weight", (x, g), w)):
        right = np.vdot(run(pass_, *inputs)[0], other)
        assert abs(left - right) <= scale, f"<g, F(x)> = {left!r} but {pass_} gives {right!r} on {p}"


def _case(
    mb: int, ic: int, ih: int, iw: int, oc: int, k: tuple[int, int] = (3, 3), stride: Any = (1, 1), padding: Any = (0, 0), dilation: Any = (1, 1),
    groups: int = 1, bias: bool = True, activation: str = "none",
) -> tuple:  # fmt: skip
    return ((mb, ic, ih, iw), (oc, ic // groups, *k), DTYPE, bias, stride, padding, dilation, groups, activation)


ROW = Row(
    Conv2dProblem,
    [
        _case(1, 1, 1, 1, 1, (1, 1)),
        _case(1, 1, 5, 5, 1, (3, 3), (2, 2), (1, 1)),
        _case(2, 1, 28, 28, 6, (5, 5), padding=(2, 2)),
        _case(3, 6, 14, 14, 16, (5, 5)),
        _case(2, 3, 9, 11, 5, (3, 3), padding=(1, 1)),
        _case(2, 16, 8, 13, 31, padding=(1, 1)),
        _case(1, 17, 7, 14, 32, padding=(1, 1)),
        _case(2, 13, 6, 15, 33, padding=(1, 1), bias=False),
        _case(2, 8, 4, 4, 70, padding=(1, 1)),
        _case(2, 33, 4, 4, 16, (1, 1)),
        _case(3, 5, 7, 7, 18, (1, 1), (2, 2)),
        _case(2, 4, 9, 9, 7, (3, 3), (2, 2), (1, 1)),
        _case(1, 3, 17, 13, 9, (7, 7), (2, 2), (3, 3)),
        _case(1, 2, 12, 10, 3, (2, 5), (3, 1), (1, 2), (1, 2)),
        _case(2, 3, 8, 8, 4, (4, 2), padding="same"),
        _case(1, 3, 8, 9, 4, (3, 3), padding="same", dilation=(2, 3)),
        _case(1, 3, 8, 9, 4, (3, 3), padding="valid"),
        _case(1, 4, 11, 11, 6, (3, 3), (3, 2), (2, 1), (2, 1), groups=2),
        _case(2, 6, 9, 9, 6, (3, 3), padding=(1, 1), groups=6),
        _case(2, 6, 9, 9, 12, (3, 3), (2, 2), (1, 1), groups=6, bias=False),
        _case(2, 33, 8, 11, 33, (3, 3), (2, 2), (1, 1), groups=33),
        _case(3, 16, 7, 7, 16, (3, 3), padding=(1, 1), groups=16, activation="leaky_relu"),
        _case(1, 48, 13, 12, 48, (3, 3), (2, 2), (0, 2), groups=48, activation="relu"),
        _case(1, 20, 3, 2, 20, (3, 3), padding=(2, 2), groups=20, bias=False),
        _case(2, 35, 9, 10, 35, (3, 3), (2, 1), (1, 1), groups=35),
        _case(2, 260, 7, 7, 260, (3, 3), padding=(1, 1), groups=260),
        _case(1, 200, 9, 10, 200, (3, 3), (2, 2), (1, 1), groups=200, bias=False),
        _case(1, 17, 12, 19, 17, (5, 4), padding=(2, 3), dilation=(1, 2), groups=17, bias=False),
        _case(1, 20, 6, 6, 40, (3, 3), padding=(1, 1), groups=4),
        _case(1, 2, 3, 3, 2, (3, 3), padding=(4, 5)),
        _case(1, 1, 3, 40, 2, (1, 7), padding=(0, 3)),
        _case(0, 3, 8, 8, 4),
        _case(0, 1, 8, 8, 4, (1, 1)),
        _case(1, 1, 4, 4, 1, (3, 3), (15, 15), (1, 1)),
        _case(9, 2, 5, 5, 3, (3, 3), (4, 4), (0, 0)),
        _case(1, 40, 3, 3, 50, (3, 3), padding=(1, 1)),
        _case(1, 64, 14, 14, 64, padding=(1, 1)),
        _case(1, 256, 10, 10, 90, padding=(1, 1), bias=False),
        _case(1, 1024, 3, 4, 30, (1, 1)),
        _case(1, 1, 3, 3, 1),
        _case(5, 18, 6, 7, 47, padding=(1, 1)),
        _case(3, 37, 5, 11, 65, padding=(2, 0), bias=False),
        _case(30, 70, 4, 4, 130, padding=(1, 1), bias=False),
        _case(2, 160, 9, 10, 150, padding=(1, 1), activation="relu"),
        _case(2, 5, 9, 17, 37, padding=(1, 1), activation="relu"),
        _case(2, 7, 6, 5, 20, padding=(1, 1), bias=False, activation="leaky_relu"),
        _case(1, 3, 8, 9, 33, (3, 3), (2, 1), activation="sigmoid"),
        _case(3, 9, 5, 5, 14, (1, 1), activation="tanh"),
        _case(1, 18, 7, 12, 18, padding=(1, 1), groups=18, activation="relu"),
        _case(1, 5, 7, 12, 5, padding=(1, 1), groups=5, bias=False, activation="sigmoid"),
        _case(2, 32, 7, 15, 32, padding=(1, 1), groups=8),
        _case(1, 24, 9, 6, 24, (3, 3), (2, 2), (1, 1), groups=3),
        _case(2, 10, 6, 31, 10, (2, 3), (1, 2), (1, 0), (2, 1), groups=5, bias=False),
        _case(2, 16, 5, 6, 16, (1, 1), (2, 2), groups=4),
        _case(2, 32, 6, 15, 32, padding=(1, 1), groups=2, activation="relu"),
        _case(1, 48, 9, 8, 48, (3, 3), (2, 2), (2, 0), groups=3, bias=False),
        _case(1, 16, 5, 31, 16, padding=(0, 1), groups=2),
        _case(1, 20, 8, 9, 20, padding=(1, 2), dilation=(1, 2), groups=5),
        _case(1, 48, 5, 7, 40, (1, 1), (2, 3), (1, 1)),
        _case(3, 16, 7, 11, 16, padding=(1, 1)),
        _case(17, 1, 9, 10, 6, (5, 5), padding=(2, 2)),
        _case(16, 3, 7, 6, 16, (3, 3), padding=(1, 1)),
        _case(33, 5, 6, 7, 9, (2, 3), (2, 1), (1, 0), (1, 2)),
        _case(1, 3, 9, 37, 7, (3, 3), (2, 3), (1, 1)),
        _case(18, 8, 5, 9, 13, padding=(1, 1), activation="leaky_relu"),
        _case(2, 17, 11, 14, 34, padding=(2, 2), dilation=(2, 2)),
        _case(1, 20, 9, 10, 33, padding=(1, 3), dilation=(3, 4), bias=False, activation="relu"),
        _case(1, 5, 7, 20, 18, padding=(0, 1), dilation=(1, 2)),
        _case(1, 150, 4, 4, 45, (3, 3), (2, 2), (1, 1), activation="relu"),
        _case(2, 38, 4, 5, 90, (2, 5), padding=(1, 2), groups=2, bias=False),
        _case(2, 17, 9, 11, 33, (5, 5), padding=(2, 1), activation="relu"),
        _case(2, 1, 9, 13, 37, (4, 3), padding=(1, 3), activation="leaky_relu"),
        _case(3, 1, 31, 17, 7, (3, 5), activation="relu"),
        _case(1, 3, 7, 6, 40, (3, 5), padding=(1, 6), bias=False),
        _case(1, 515, 3, 5, 29, (1, 1), (2, 2), (1, 0), activation="tanh"),
        _case(2, 1024, 3, 5, 260, (1, 1), activation="relu"),
        _case(2, 256, 7, 5, 20, (3, 3), (2, 2), (1, 1)),
        _case(2, 64, 9, 10, 64, padding=(1, 1), groups=2, activation="relu"),
        _case(1, 80, 6, 11, 60, padding=(1, 0), dilation=(1, 2), groups=5),
        _case(3, 176, 5, 6, 242, padding=(1, 1), groups=11, bias=False, activation="tanh"),
        _case(5, 112, 13, 11, 120, padding=(2, 1), groups=2),
        _case(1, 65, 9, 7, 130, (3, 3), (2, 2), (1, 0)),
    ],
    _make,
    lambda p, pass_: pass_ != "forward" or p.activation in ("none", "relu"),
    _bound,
    {
        "lenet-conv1-b64": _case(64, 1, 28, 28, 6, (5, 5), padding=(2, 2)),
        "lenet-conv2-b64": _case(64, 6, 14, 14, 16, (5, 5)),
        "resnet20-16ch-b128": _case(128, 16, 32, 32, 16, padding=(1, 1), bias=False),
        "resnet20-32ch-b128": _case(128, 32, 16, 16, 32, padding=(1, 1), bias=False),
        "resnet20-64ch-b128": _case(128, 64, 8, 8, 64, padding=(1, 1), bias=False),
        "resnet18-64ch-b8": _case(8, 64, 56, 56, 64, padding=(1, 1), bias=False),
        "resnet18-256ch-b8": _case(8, 256, 14, 14, 256, padding=(1, 1), bias=False),
        "resnet18-stem-b8": _case(8, 3, 224, 224, 64, (7, 7), (2, 2), (3, 3), bias=False),
        "resnet18-down-b8": _case(8, 64, 56, 56, 128, (3, 3), (2, 2), (1, 1), bias=False),
        "lenet-conv1-b1": _case(1, 1, 28, 28, 6, (5, 5), padding=(2, 2)),
        "lenet-conv2-b1": _case(1, 6, 14, 14, 16, (5, 5)),
        "mobilenet-128ch-b8": _case(8, 128, 56, 56, 128, padding=(1, 1), groups=128, bias=False),
        "mobilenet-256ch-down-b8": _case(8, 256, 28, 28, 256, (3, 3), (2, 2), (1, 1), groups=256, bias=False),
        "resnet18-64ch-b1": _case(1, 64, 56, 56, 64, padding=(1, 1), bias=False),
        "resnet18-128ch-b8": _case(8, 128, 28, 28, 128, padding=(1, 1), bias=False),
        "resnet18-512ch-b8": _case(8, 512, 7, 7, 512, padding=(1, 1), bias=False),
        "resnet18-1x1-down-b8": _case(8, 64, 56, 56, 128, (1, 1), (2, 2), bias=False),
        "resnet50-1x1-256-64-b8": _case(8, 256, 56, 56, 64, (1, 1), bias=False),
        "resnet50-1x1-256-1024-b8": _case(8, 256, 14, 14, 1024, (1, 1), bias=False),
        "resnet20-16-32ch-b128": _case(128, 16, 32, 32, 32, (3, 3), (2, 2), (1, 1), bias=False),
        "depthwise-144ch-b8": _case(8, 144, 56, 56, 144, padding=(1, 1), groups=144, bias=False),
        "grouped-32x4-b8": _case(8, 128, 56, 56, 128, padding=(1, 1), groups=32, bias=False),
        "dilated-64ch-b8": _case(8, 64, 28, 28, 64, padding=(2, 2), dilation=(2, 2), bias=False),
    },
    _adjoint,
    {"winograd_f2": 2.0, "winograd_f4": 4.0, "winograd_rows": 2.0},
)
