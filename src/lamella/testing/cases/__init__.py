"""The cases that tests and benchmarks share: one module, one ROW, per operation."""

from lamella.testing.cases import activation, gemm
from lamella.testing.cases.base import DTYPE, Row, summed, values

ROWS: dict[str, Row] = {
    "activation": activation.ROW,
    "gemm": gemm.ROW,
}

__all__ = ["DTYPE", "ROWS", "Row", "summed", "values"]
