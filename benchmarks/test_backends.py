"""The backends side by side, for those who prefer pytest to asv: ``pytest benchmarks/test_backends.py --benchmark-only``.

One group is one pass on one shape of the case tables. Results are verified against the reference before they are timed.
"""

import os

import numpy as np
import pytest

from lamella.registry import OPERATIONS
from lamella.testing.cases import ROWS
from lamella.testing.check import find, verified
from lamella.testing.measure import SLOW

SHAPES = int(os.environ.get("LAMELLA_BENCH_SHAPES", 0)) or None  # of each operation
CASES = [
    pytest.param(operation, pass_, shape, row.name, id=f"{operation}-{pass_}-{shape}-{row.name}")
    for operation, entry in OPERATIONS.items()
    for pass_ in entry.passes
    for shape in list(ROWS[operation].shapes)[:SHAPES]
    for row in entry.implementations
    if row.functions is None
]


@pytest.mark.parametrize(("operation", "pass_", "shape", "name"), CASES)
def test_backends(benchmark, operation, pass_, shape, name):
    row = ROWS[operation]
    p = row.of(row.shapes[shape], np.float32)
    if name.startswith("nb_"):
        pytest.importorskip("numba")
    kernel = find(operation, pass_, name, p)
    if kernel is None or (name == "ref" and p.flops > SLOW):
        pytest.skip(f"{name} does not compute this, or would take too long")
    inputs, outputs = verified(operation, pass_, kernel, p)
    benchmark.group = f"{operation} {pass_} {shape}"
    benchmark(kernel, p, *inputs, *outputs)
