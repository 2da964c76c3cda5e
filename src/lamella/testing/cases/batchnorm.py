"""Cases of batch normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.problems import BatchNormProblem
from lamella.testing.cases.base import DTYPE, Arrays, Row, summed


def _make(p: BatchNormProblem, pass_: str, rng: np.random.Generator, integers: bool) -> tuple[list[np.ndarray | None], Arrays]:
    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(p.dtype)

    offset = 1000.0 if p.rows % 2 else 0.0  # odd numbers of rows lie far from zero
    x = (rng.standard_normal((p.rows, p.channels)) + offset * rng.standard_normal(p.channels)).astype(p.dtype)
    affine = p.channels % 3 != 0
    weight, bias = (draw(p.channels), draw(p.channels)) if affine else (None, None)
    channel = [np.empty(p.channels, p.dtype) for _ in range(2)]
    residual = draw(p.rows, p.channels) if p.residual else None
    if pass_ == "forward_train":
        return [x, weight, bias, residual], [np.empty_like(x), *channel]
    mean = x.mean(axis=0, dtype=np.float64).astype(p.dtype)
    var = x.var(axis=0, dtype=np.float64).astype(p.dtype)
    if pass_.endswith("eval"):
        mean, var = mean + draw(p.channels), var + draw(p.channels) ** 2
    if pass_ == "forward_eval":
        return [x, weight, bias, mean, var, residual], [np.empty_like(x)]
    g = draw(p.rows, p.channels)
    if p.act and not p.residual:  # on which side of 0 rounding leaves a number must not count
        y = (x.astype(np.float64) - mean) / np.sqrt(var + p.eps) * (1 if weight is None else weight) + (0 if bias is None else bias)
        g[np.abs(y) < 1e-4] = 0
    out: Any = np.maximum(draw(p.rows, p.channels), 0) if p.act and p.residual else None
    dresidual: Any = None if out is None else np.empty_like(x)
    return [g, x, weight, bias, mean, var, out], [np.empty_like(x), *channel, dresidual]


def _bound(p: BatchNormProblem, pass_: str, inputs: list[Any], expected: Arrays) -> list[Any]:
    if pass_.startswith("forward"):
        x, weight, bias = inputs[:3]
        mean, var = expected[1:] if pass_ == "forward_train" else inputs[3:5]
        residual = inputs[-1] if pass_ == "forward_eval" else inputs[3]
        s = 1 / np.sqrt(var + p.eps)
        scale = s * np.abs(1.0 if weight is None else weight)
        shift = np.abs(0.0 if bias is None else bias) + np.abs(0.0 if residual is None else residual)
        near = np.abs(x - mean)
        if pass_ == "forward_eval":
            return [8 * (near * scale + shift)]
        # a mean is rounded like the numbers it comes from, and what it is wrong by counts twice in a difference of means
        size = np.abs(x).mean(axis=0)
        spread = summed(p.rows, var) + 8 * size * np.sqrt(var) + 8 * np.finfo(p.dtype).eps * size**2
        return [8 * (near * scale + shift) + scale * (4 * size + near * s**2 * spread), 4 * size + 1e-30, spread + 1e-30]
    g, x, weight, _, mean, var, _ = inputs
    s = 1 / np.sqrt(var + p.eps)
    scale = s * np.abs(1.0 if weight is None else weight)
    normal = np.abs(x - mean) * s
    dw, db = (np.abs(g) * normal).sum(axis=0), np.abs(g).sum(axis=0)
    sums = [summed(p.rows, dw), summed(p.rows, db), 0.0]
    if pass_ == "backward_eval":
        return [8 * scale * np.abs(g), *sums]
    return [scale * (8 * (np.abs(g) + (db + normal * dw) / p.rows) + (sums[1] + normal * sums[0]) / p.rows), *sums]


def _adjoint(p: BatchNormProblem, run: Any, rng: np.random.Generator) -> None:
    """The derivative of forward_train is symmetric: <a, D b> == <D a, b>. That of forward_eval is diagonal: <a, F(b) - F(0)> == <D a, b>."""
    a, b, x = (rng.standard_normal((p.rows, p.channels)) for _ in range(3))
    weight = rng.standard_normal(p.channels)
    mean, var = x.mean(axis=0), x.var(axis=0)
    if p.act or p.residual:
        raise LookupError
    da, db = (run("backward", g, x, weight, None, mean, var, None)[0] for g in (a, b))
    np.testing.assert_allclose((a * db).sum(), (da * b).sum(), rtol=1e-9, atol=1e-9 * p.rows * p.channels)
    da = run("backward_eval", a, x, weight, None, mean, var, None)[0]
    (fb,) = run("forward_eval", b, weight, None, mean, var, None)
    (f0,) = run("forward_eval", 0 * b, weight, None, mean, var, None)
    np.testing.assert_allclose((a * (fb - f0)).sum(), (da * b).sum(), rtol=1e-9, atol=1e-9 * p.rows * p.channels)


_SIZES = [  # rows, channels
    (1, 1), (1, 5), (2, 3), (3, 64), (64, 1), (63, 1), (65, 1), (5000, 1), (16385, 2), (1001, 3), (31, 4), (33, 5), (255, 7), (256, 8), (257, 9),
    (1025, 15), (1024, 16), (1031, 17), (100, 31), (130, 32), (101, 33), (47, 63), (64, 64), (65, 65), (257, 64), (511, 100), (129, 128),
    (67, 130), (9, 257), (131, 300), (4, 520),
]  # fmt: skip

ROW = Row(
    BatchNormProblem,
    [(rows, channels, DTYPE) for rows, channels in _SIZES]
    + [(97, 16, DTYPE, 0.1), (96, 20, DTYPE, 1e-3)]
    + [(rows, channels, DTYPE, 1e-5, *how) for rows, channels in _SIZES[::3] for how in (("relu", False), ("none", True), ("relu", True))],
    _make,
    lambda p, pass_: False,
    _bound,
    {
        "64x32x32-16": (65536, 16, DTYPE),
        "64x8x8-64": (4096, 64, DTYPE),
        "32x14x14-256": (6272, 256, DTYPE),
        "64x32x32-16-relu": (65536, 16, DTYPE, 1e-5, "relu", False),
        "64x32x32-16-add-relu": (65536, 16, DTYPE, 1e-5, "relu", True),
    },
    _adjoint,
)
