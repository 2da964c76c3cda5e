"""Cases of normalisation within images."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.problems import GroupNormProblem
from lamella.testing.cases.base import DTYPE, Arrays, Row, summed


def _make(p: GroupNormProblem, pass_: str, rng: np.random.Generator, integers: bool) -> tuple[list[np.ndarray | None], Arrays]:
    shape = (p.images, p.rows, p.channels)
    offset = 100.0 if p.channels % 2 else 0.0  # odd numbers of channels lie far from zero
    x = (rng.standard_normal(shape) + offset).astype(p.dtype)
    affine = p.channels % 3 != 0
    weight, bias = (rng.standard_normal(p.channels).astype(p.dtype) if affine else None for _ in range(2))
    out, channel = np.empty_like(x), [np.empty(p.channels, p.dtype) for _ in range(2)]
    if pass_ == "forward":
        return [x, weight, bias], [out, *(np.empty((p.images, p.groups)) for _ in range(2))]
    sets = x.astype(np.float64).reshape(p.images, p.rows, p.groups, p.channels // p.groups)
    mean = sets.mean(axis=(1, 3)) if p.centred else np.zeros((p.images, p.groups))
    var = ((sets - mean[:, None, :, None]) ** 2).mean(axis=(1, 3))
    return [rng.standard_normal(shape).astype(p.dtype), x, weight, mean, var], [out, *channel]


def _bound(p: GroupNormProblem, pass_: str, inputs: list[Any], expected: Arrays) -> list[Any]:
    def sets(x: np.ndarray) -> np.ndarray:
        return np.abs(x).reshape(p.images, p.rows, p.groups, p.channels // p.groups)

    def channels(v: Any, otherwise: float) -> Any:
        return otherwise if v is None else np.abs(v).reshape(p.groups, p.channels // p.groups)

    n = p.rows * p.channels // p.groups
    x, weight, mean, var = (inputs[0], inputs[1], *expected[1:]) if pass_ == "forward" else inputs[1:]
    mean, var = (a[:, None, :, None] for a in (mean, var))
    s = 1 / np.sqrt(var + p.eps)
    size = sets(x).mean(axis=(1, 3), keepdims=True)
    near = np.abs(x.reshape(p.images, p.rows, p.groups, p.channels // p.groups) - mean)
    off: Any = summed(n, size) if p.centred else np.zeros((1, 1, 1, 1))  # what a mean may be wrong by
    if pass_ == "forward":
        spread = summed(n, var) + 8 * size * np.sqrt(var) + off**2 * np.finfo(p.dtype).eps
        out = (
            (near + size) * s * channels(weight, 1.0) * 8 + channels(inputs[2], 0.0) * 8 + channels(weight, 1.0) * s * near * s**2 * spread
        )
        return [out.reshape(x.shape), off[:, 0, :, 0] + 1e-30, spread[:, 0, :, 0] + 1e-30]
    g = sets(inputs[0])
    normal = (near + size) * s  # x - mean is rounded like x
    h = g * channels(weight, 1.0)
    terms = 16 + np.sqrt(p.rows * p.images) + np.sqrt(n)
    dx = terms * s * (h + h.mean(axis=(1, 3), keepdims=True) + normal * (h * normal).mean(axis=(1, 3), keepdims=True))
    return [dx.reshape(x.shape), terms * (g * normal).sum(axis=(0, 1)).ravel(), terms * g.sum(axis=(0, 1)).ravel()]


def _adjoint(p: GroupNormProblem, run: Any, rng: np.random.Generator) -> None:
    """The derivative with weight 1 is symmetric: <a, D b> == <D a, b>."""
    shape = (p.images, p.rows, p.channels)
    a, b, x = (rng.standard_normal(shape) for _ in range(3))
    _, mean, var = run("forward", x, None, None)
    da, db = (run("backward", g, x, None, mean, var)[0] for g in (a, b))
    np.testing.assert_allclose((a * db).sum(), (da * b).sum(), rtol=1e-9, atol=1e-9 * max(a.size, 1))


_SIZES = [  # images, rows, channels, groups
    (1, 1, 1, 1), (3, 1, 7, 1), (65, 1, 16, 1), (130, 1, 33, 1), (2, 1, 1031, 1), (2, 1, 17000, 1), (5, 1, 64, 1), (0, 1, 8, 1),
    (3, 1, 12, 4), (2, 5, 1, 1), (2, 49, 3, 3), (1, 50, 3, 1), (3, 64, 4, 2), (2, 33, 16, 16), (67, 9, 8, 4), (2, 700, 16, 4), (2, 31, 17, 17),
    (1, 37, 63, 7), (2, 16, 64, 32), (3, 15, 65, 5), (1, 9, 130, 2), (2, 7, 130, 1), (1, 3, 600, 3),
]  # fmt: skip

ROW = Row(
    GroupNormProblem,
    [(*size, DTYPE) for size in _SIZES]
    + [(*size, DTYPE, 1e-6, False) for size in ((4, 1, 100, 1), (2, 9, 8, 2), (5, 1, 33, 1))]
    + [(2, 30, 8, 4, DTYPE, 0.1)],
    _make,
    lambda p, pass_: False,
    _bound,
    {
        "layer-8192x768": (8192, 1, 768, 1, DTYPE),
        "group-32x28x28-64-g32": (32, 784, 64, 32, DTYPE),
        "instance-32x28x28-64": (32, 784, 64, 64, DTYPE),
    },
    _adjoint,
)
