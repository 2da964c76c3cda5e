"""Cases of recurrent layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.problems import RecurrentProblem
from lamella.testing.cases.base import DTYPE, Arrays, Row, summed


def _steps(p: RecurrentProblem) -> np.ndarray:
    """Time-major (stride 1) or batch-major (stride length) rows; odd hidden sizes get sequences of unequal length."""
    if p.stride > 1:
        return np.array([np.arange(p.length), np.full(p.length, p.batch)])
    sizes = np.full(p.length, p.batch)
    if p.hidden % 2:
        sizes = np.maximum(1, p.batch - np.arange(p.length) * 2)
    return np.array([np.cumsum(sizes) - sizes, sizes])


def _make(p: RecurrentProblem, pass_: str, rng: np.random.Generator, integers: bool) -> tuple[list[Any], list[Any]]:
    from lamella.kernels.recurrent import ref

    def draw(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (scale * rng.standard_normal(shape)).astype(p.dtype)

    steps = _steps(p)
    rows = int(steps[1].sum()) if p.stride == 1 else p.batch * p.length
    w = draw(p.gates * p.hidden, p.hidden, scale=p.hidden**-0.5)
    lstm = p.cell == "lstm"
    b = draw(p.hidden) if p.cell == "gru" and p.batch % 3 else None
    h0, c0 = draw(p.batch, p.hidden), draw(p.batch, p.hidden) if lstm else None
    gates = draw(rows, p.gates * p.hidden)
    out, g = (np.zeros((rows, p.hidden + (p.batch % 2) * 3), p.dtype)[:, : p.hidden] for _ in range(2))
    kept = np.zeros((rows, p.hidden), p.dtype) if p.keeps else None
    cn = np.zeros_like(h0) if lstm else None
    if pass_ == "forward":
        return [w, b, h0, c0, steps], [out, kept, cn, gates]
    ref.forward(p, w, b, h0, c0, steps, out, kept, cn, gates, None)
    g[...] = draw(*g.shape)
    dcn = draw(p.batch, p.hidden) if lstm and p.batch % 3 else None
    dkept = np.zeros_like(kept) if p.cell == "gru" else None
    saved = None if p.cell.startswith("rnn") else gates
    return [g, dcn, w, saved, out, kept, h0, c0, steps], [np.zeros_like(gates), dkept, np.zeros_like(h0), None if c0 is None else h0.copy()]


def _bound(p: RecurrentProblem, pass_: str, inputs: list[Any], expected: Arrays) -> list[Any]:
    # every step adds the rounding of its sums to what came before; the cases' weights neither stretch nor shrink it much
    size = 1 + max(float(np.abs(x).max(initial=0)) for x in [*inputs, *expected] if x is not None and x.dtype.kind == "f")
    return [None if x is None else (2 + p.length) * summed(p.gates * p.hidden, size) for x in expected]


_SIZES = [  # length, batch, hidden, and optionally stride, reverse
    (1, 1, 1), (3, 2, 5), (2, 1, 7, 1, True), (4, 9, 16), (3, 7, 15, 1, True), (2, 17, 31), (3, 16, 32, 3), (2, 18, 33, 2, True), (3, 33, 64, 1, True),
    (2, 14, 65), (5, 3, 20, 5, True), (2, 40, 48, 2), (2, 5, 150), (0, 3, 4),
]  # fmt: skip
_CELLS = ("rnn_tanh", "rnn_relu", "lstm", "gru", "gru_before")

ROW = Row(
    RecurrentProblem,
    [(cell, *size[:3], DTYPE, *size[3:]) for cell in _CELLS for size in _SIZES],
    _make,
    lambda p, pass_: False,
    _bound,
    {f"{cell} 28x64x128": (cell, 28, 64, 128, DTYPE) for cell in _CELLS} | {"lstm 100x1x256": ("lstm", 100, 1, 256, DTYPE)},
)
