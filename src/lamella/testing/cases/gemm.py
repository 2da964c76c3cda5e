"""Cases of gemm."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.problems import GemmProblem
from lamella.testing.cases.base import DTYPE, Arrays, Row, summed, values


def _matrices(p: GemmProblem, rows: int, columns: int, transposed: bool, rng: np.random.Generator, integers: bool) -> np.ndarray:
    if transposed:
        return values(rng, (*p.batch, columns, rows), p.dtype, integers).swapaxes(-1, -2)
    return values(rng, (*p.batch, rows, columns), p.dtype, integers)


def _gemm_make(p: GemmProblem, pass_: str, rng: np.random.Generator, integers: bool) -> tuple[list[np.ndarray | None], Arrays]:
    if pass_ == "backward_bias":
        wide = values(rng, (p.m, p.n + p.n % 3), p.dtype, integers)  # rows apart from each other, too
        return [wide[:, : p.n]], [np.empty(p.n, p.dtype)]
    transposes = (p.m + 2 * p.n + p.k) % 4  # all four combinations occur over the sizes
    a = _matrices(p, p.m, p.k, bool(transposes & 1), rng, integers)
    b = _matrices(p, p.k, p.n, bool(transposes & 2), rng, integers)
    bias = values(rng, {"none": (0,), "column": (p.n,), "row": (p.m,)}[p.bias], p.dtype, integers) if p.bias != "none" else None
    c = _matrices(p, p.m, p.n, False, rng, integers) if p.beta else None
    return [a, b, bias, c], [np.empty((*p.batch, p.m, p.n), p.dtype)]


def _gemm_bound(p: GemmProblem, pass_: str, inputs: list[Any], expected: Arrays) -> list[Any]:
    if pass_ == "backward_bias":
        return [summed(p.m, np.abs(inputs[0]).sum(axis=0) + 1e-30)]
    a, b, bias, c = inputs
    magnitude = abs(p.alpha) * (np.abs(a) @ np.abs(b)) + 1e-30
    if c is not None:
        magnitude = magnitude + abs(p.beta) * np.abs(c)
    if bias is not None:
        magnitude = magnitude + np.abs(bias[:, None] if p.bias == "row" else bias)
    # sigmoid and tanh never stretch an error; their own 4 ulp come on top
    return [summed(p.k + 2, magnitude) + (4 if p.activation in ("sigmoid", "tanh") else 0)]


_SIZES = [
    (1, 1, 1), (1, 17, 5), (13, 31, 7), (14, 32, 16), (15, 33, 17), (5, 15, 3), (6, 16, 8), (7, 17, 9), (3, 64, 31), (29, 5, 2), (53, 61, 59),
    (170, 33, 20), (31, 530, 3), (16, 16, 385), (9, 40, 800), (2, 3100, 5), (0, 4, 3), (4, 0, 3), (4, 5, 0), (1, 2, 1), (2, 1, 1), (1, 1, 2),
    # few rows or columns: dot products and rank updates, with whole and odd registers and rows
    (1, 1030, 9), (3, 520, 17), (4, 33, 1), (4, 70, 80), (1, 67, 65), (2, 66, 71), (3, 65, 130), (8, 67, 97), (7, 35, 64), (9, 5, 70), (37, 12, 101),
    (50, 3, 129), (6, 1, 200), (23, 1, 64), (5, 140, 71), (6, 131, 9), (7, 533, 20), (8, 129, 71),
    # row strides of powers of two, several blocks and passes
    (40, 1024, 20), (190, 64, 1024), (40, 70, 1024), (340, 512, 30), (341, 96, 530), (174, 64, 1100),
    # columns that leave a register nearly empty
    (150, 49, 1100), (153, 33, 70), (72, 17, 66),
]  # fmt: skip

ROW = Row(
    GemmProblem,
    [(m, n, k, DTYPE) for m, n, k in _SIZES]
    + [
        (15, 33, 17, DTYPE, 2.0, 1.0, "column", "relu"),
        (15, 33, 18, DTYPE, -1.0, 2.0, "row", "leaky_relu", 0.5),
        (15, 33, 19, DTYPE, 1.0, 0.0, "column", "none"),
        (15, 33, 20, DTYPE, 1.0, -3.0, "none", "none"),
        (6, 16, 400, DTYPE, 2.0, 3.0, "row", "relu"),
        (4, 40, 0, DTYPE, 1.0, 2.0, "column", "relu"),
        (15, 33, 17, DTYPE, 1.0, 0.0, "column", "sigmoid"),
        (6, 32, 400, DTYPE, 0.25, 1.0, "row", "tanh"),
        (7, 5, 0, DTYPE, 1.0, 0.0, "row", "tanh"),
        (4, 70, 80, DTYPE, 2.0, 1.0, "column", "relu"),
        (8, 70, 81, DTYPE, 1.0, 1.0, "row", "relu"),
        (15, 40, 530, DTYPE, 1.0, 1.0, "column", "relu"),
        (15, 40, 531, DTYPE, 2.0, -1.0, "row", "leaky_relu", 0.5),
        (16, 33, 17, DTYPE, 1.0, 1.0, "column", "relu", 0.0, (3,)),
        (2, 33, 19, DTYPE, 1.0, 0.0, "row", "none", 0.0, (2, 3)),
        (5, 6, 70, DTYPE, 1.0, 0.0, "none", "none", 0.0, (3, 1, 2)),
        (5, 6, 7, DTYPE, 1.0, 0.0, "none", "none", 0.0, (0, 2)),
    ]
    # sums of columns: one chunk of rows and several, whole and odd registers and blocks
    + [
        (m, n, 1, DTYPE, 1.0, 0.0, "column", "none")
        for m, n in [(1, 1), (0, 5), (3, 0), (64, 10), (17, 64), (255, 31), (256, 33), (257, 120), (1030, 1100), (5, 2111), (70000, 3)]
    ],
    _gemm_make,
    lambda p, pass_: p.activation in ("none", "relu", "leaky_relu"),
    _gemm_bound,
    {
        f"{m}x{n}x{k}": (m, n, k, DTYPE)
        for m, n, k in [
            (64, 64, 64),
            (512, 512, 512),
            (64, 500, 800),
            (1024, 1024, 1024),
            (512, 49, 4608),
            (64, 3136, 576),
            (64, 50176, 147),
            (128, 10, 1024),
        ]
    }
    | {f"bias {m}x{n}": (m, n, 1, DTYPE, 1.0, 0.0, "column") for m, n in [(64, 120), (128, 1000), (8192, 512)]},  # fmt: skip
)
