"""Cases of pooling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import lamella.kernels as kernels
from lamella.layout import empty_channels_last
from lamella.problems import Pool2dProblem
from lamella.testing.cases.base import DTYPE, Arrays, Row, summed, values

EMPTY = np.empty(0, np.uint8)


def _random(p: Pool2dProblem, rng: np.random.Generator, shape: tuple[int, ...], integers: bool) -> np.ndarray:
    x = empty_channels_last(shape, p.dtype)
    x[...] = values(rng, shape, p.dtype, integers)
    if p.kind == "lp" and p.norm_type % 2:  # a sum of odd powers may be negative: its root is NaN
        np.abs(x, out=x)
    return x


def _make(p: Pool2dProblem, pass_: str, rng: np.random.Generator, integers: bool) -> tuple[list[np.ndarray | None], Arrays]:
    shape = (p.mb, p.c, p.ih, p.iw)
    x = _random(p, rng, shape, integers)
    if integers and p.kind == "max" and x.size:
        x.ravel(order="K")[rng.integers(0, x.size, 1 + x.size // 50)] = np.nan
        x.ravel(order="K")[rng.integers(0, x.size, 1 + x.size // 50)] = -np.inf
    where = empty_channels_last(p.out_shape, p.index_dtype) if p.indices else EMPTY
    out = empty_channels_last(p.out_shape, p.dtype)
    if pass_ == "forward":
        return [x], [out, where]
    kernels.load("pool2d", "ref").forward(p, x, out, where, None)
    g = empty_channels_last(p.out_shape, p.dtype)
    g[...] = values(rng, p.out_shape, p.dtype, integers)
    norm = p.kind == "lp"
    return [g, x if norm else None, out if norm else None, where if p.kind == "max" else None], [empty_channels_last(shape, p.dtype)]


def _exact(p: Pool2dProblem, pass_: str) -> bool:
    return p.kind == "max" or (p.kind == "avg" and p.power_divisors)


def _bound(p: Pool2dProblem, pass_: str, inputs: list[Any], expected: Arrays) -> list[Any]:
    taps = p.kh * p.kw
    if p.kind == "max":
        bound = 0.0 if pass_ == "forward" else summed(taps, 4 * np.sqrt(taps))
    elif p.kind == "avg":
        div = abs(p.divisor_override) or 1
        magnitude = 6.0 * (taps / div if p.divisor_override or pass_ == "backward" else 1)
        bound = summed(taps, magnitude)
    elif pass_ == "forward":  # a norm's relative error is the sum's (all terms of one sign), divided by q, and that of a power
        bound = (summed(taps, 1.0) + 4 * abs(p.norm_type) + 8) * np.abs(expected[0])
    else:
        bound = (summed(taps, 1.0) + 8 * abs(p.norm_type) + 8) * 6 * taps * max(1.0, float(np.abs(expected[0]).max(initial=0)))
    return [bound, 0.0]


def _adjoint(p: Pool2dProblem, run: Callable[..., Arrays], rng: np.random.Generator) -> None:
    """<g, F(x)> == <backward(g), x>: F is linear for averages, and for a maximum once it is known where it was."""
    if p.kind == "lp":
        raise LookupError
    x = _random(p, rng, (p.mb, p.c, p.ih, p.iw), False)
    if p.kind == "max" and not p.indices:
        raise LookupError
    out, where = run("forward", x)
    g = _random(p, rng, p.out_shape, False)
    (dx,) = run("backward", g, None, None, where if p.kind == "max" else None)
    finite = np.isfinite(out)
    left, right = float((g * out)[finite].sum()), float((dx * x).sum())
    magnitude = float(np.abs(g * out)[finite].sum())
    assert abs(left - right) <= 1e-12 * magnitude + 1e-14, f"pool2d on {p}: <g, F(x)> = {left!r}, <backward(g), x> = {right!r}"


def _problems() -> list[tuple]:
    regular = [  # size, kernel, stride, padding, dilation, ceil_mode
        ((8, 8), (2, 2), (2, 2), (0, 0), (1, 1), False),
        ((7, 9), (2, 2), (2, 2), (0, 0), (1, 1), True),
        ((9, 7), (3, 3), (2, 2), (1, 1), (1, 1), False),
        ((9, 8), (3, 2), (2, 3), (1, 1), (1, 1), True),
        ((6, 5), (3, 3), (1, 1), (1, 1), (1, 1), False),
        ((7, 11), (2, 3), (3, 4), (0, 0), (1, 1), True),
        ((1, 13), (1, 5), (1, 2), (0, 2), (1, 1), False),
        ((5, 5), (5, 5), (5, 5), (0, 0), (1, 1), False),
        ((1, 1), (1, 1), (1, 1), (0, 0), (1, 1), False),
    ]
    dilated = [
        ((9, 11), (3, 2), (2, 1), (1, 1), (2, 3), False),
        ((8, 7), (2, 3), (3, 2), (1, 1), (3, 2), True),
        ((1, 4), (3, 1), (5, 2), (1, 0), (3, 1), True),
        ((20, 19), (17, 16), (3, 2), (8, 8), (1, 1), False),
    ]
    adaptive = [((7, 5), (1, 1)), ((7, 5), (3, 2)), ((3, 4), (5, 7)), ((6, 6), (6, 3)), ((18, 17), (1, 1)), ((4, 4), (0, 2))]
    channels = (1, 3, 16, 17, 4, 33, 8, 15, 7)
    cases: list[tuple] = []
    for i, (size, *window) in enumerate(regular):
        c, mb = channels[i % len(channels)], 1 + i % 3
        cases.append((mb, c, *size, DTYPE, "max", *window, True, 0, 2.0, True))
        cases.append((mb, channels[(i + 2) % len(channels)], *size, DTYPE, "max", *window))
        cases.append((mb, c, *size, DTYPE, "avg", *window))
        cases.append((mb, channels[(i + 4) % len(channels)], *size, DTYPE, "avg", *window, False))
        cases.append(
            (mb, c, *size, DTYPE, "lp", window[0], window[1], (0, 0), (1, 1), window[4], True, 0, (2.0, 3.0, 1.0, 2.5, 4.0)[i % 5])
        )
    for c in (3, 5, 7):  # one column per window: every register takes its values from another place
        cases.append((1, c, 4, 11, DTYPE, "max", (2, 1), (2, 1), (0, 0), (1, 1), False))
        cases.append((1, c, 4, 11, DTYPE, "avg", (2, 1), (2, 1), (0, 0), (1, 1), False))
    for i, (size, *window) in enumerate(dilated):
        cases.append((2, channels[i], *size, DTYPE, "max", *window, True, 0, 2.0, True))
        cases.append((1, channels[i + 3], *size, DTYPE, "max", *window))
    for i, (size, out) in enumerate(adaptive):
        for j, kind in enumerate(("max", "avg", "lp")):
            c = channels[(2 * i + j) % len(channels)]
            cases.append((2, c, *size, DTYPE, kind, out, (1, 1), (0, 0), (1, 1), False, False, 0, 2.0, True, True))
    cases += [
        (2, 5, 6, 6, DTYPE, "avg", (3, 3), (2, 2), (1, 1), (1, 1), True, True, 8),
        (2, 5, 6, 6, DTYPE, "avg", (3, 3), (1, 2), (0, 1), (1, 1), False, False, -3),
        (0, 3, 6, 6, DTYPE, "max", (2, 2), (2, 2), (0, 0), (1, 1), False, True, 0, 2.0, True),
        (0, 3, 6, 6, DTYPE, "avg", (2, 2), (2, 2)),
        (5, 20, 24, 24, DTYPE, "max", (2, 2), (2, 2), (0, 0), (1, 1), False, True, 0, 2.0, True),
        (9, 1, 28, 28, DTYPE, "max", (2, 2), (2, 2), (0, 0), (1, 1), False, True, 0, 2.0, True),
        (3, 2, 21, 37, DTYPE, "max", (3, 3), (2, 2), (1, 1), (1, 1), False, True, 0, 2.0, True),
        (3, 1, 9, 41, DTYPE, "avg", (3, 3), (1, 1), (1, 1)),
        (3, 1, 9, 71, DTYPE, "avg", (2, 4), (2, 4)),
    ]
    return cases


_TRAIN = (False, True, 0, 2.0, True)
ROW = Row(
    Pool2dProblem,
    _problems(),
    _make,
    _exact,
    _bound,
    {
        "lenet1-max2-b64": (64, 6, 28, 28, DTYPE, "max", (2, 2), (2, 2), (0, 0), (1, 1), *_TRAIN),
        "vgg-max2-b64": (64, 32, 28, 28, DTYPE, "max", (2, 2), (2, 2), (0, 0), (1, 1), *_TRAIN),
        "resnet-max3-b8": (8, 64, 112, 112, DTYPE, "max", (3, 3), (2, 2), (1, 1), (1, 1), *_TRAIN),
        "gray-max2-b64": (64, 1, 28, 28, DTYPE, "max", (2, 2), (2, 2), (0, 0), (1, 1), *_TRAIN),
        "vgg-avg2-b64": (64, 32, 28, 28, DTYPE, "avg", (2, 2), (2, 2)),
        "resnet20-global-b128": (128, 64, 8, 8, DTYPE, "avg", (1, 1), (1, 1), (0, 0), (1, 1), False, True, 0, 2.0, False, True),
    },
    _adjoint,
)
