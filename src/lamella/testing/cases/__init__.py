"""The cases that tests and benchmarks share: one module, one ROW, per operation."""

from lamella.testing.cases import (
    activation,
    arithmetic,
    augment,
    batchnorm,
    cascade,
    conv2d,
    gemm,
    groupnorm,
    integral,
    optimizer,
    pool2d,
    recurrent,
    reorder,
    resample,
    softmax,
    stumps,
)
from lamella.testing.cases.base import DTYPE, Row, summed, values

ROWS: dict[str, Row] = {
    "activation": activation.ROW,
    "arithmetic": arithmetic.ROW,
    "augment": augment.ROW,
    "batchnorm": batchnorm.ROW,
    "cascade": cascade.ROW,
    "conv2d": conv2d.ROW,
    "gemm": gemm.ROW,
    "integral": integral.ROW,
    "groupnorm": groupnorm.ROW,
    "optimizer": optimizer.ROW,
    "pool2d": pool2d.ROW,
    "recurrent": recurrent.ROW,
    "reorder": reorder.ROW,
    "resample": resample.ROW,
    "softmax": softmax.ROW,
    "stumps": stumps.ROW,
}

__all__ = [
    "DTYPE",
    "ROWS",
    "Row",
    "summed",
    "values",
]
