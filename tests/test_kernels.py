"""Every implementation of every operation, on every case of the table, in both dtypes: exact, bounded, adjoint, clean."""

import numpy as np
import pytest

from lamella.registry import OPERATIONS
from lamella.testing.cases import ROWS
from lamella.testing.check import check_adjoint, check_kernel, find

IMPLEMENTATIONS = [(op, row.name) for op, operation in OPERATIONS.items() for row in operation.implementations if row.functions is None]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("operation", "name"), IMPLEMENTATIONS, ids=lambda v: str(v))
def test_kernel(operation, name, dtype):
    row = ROWS[operation]
    ran = 0
    for arguments in row.problems:
        p = row.of(arguments, dtype)
        for pass_ in OPERATIONS[operation].passes:
            if find(operation, pass_, name, p) is not None:
                check_kernel(operation, pass_, name, p)
                ran += 1
    assert ran, f"{operation}.{name} accepts none of its cases"


@pytest.mark.parametrize(("operation", "name"), [(op, name) for op, name in IMPLEMENTATIONS if ROWS[op].adjoint], ids=lambda v: str(v))
def test_adjoint(operation, name):
    row = ROWS[operation]
    assert sum(check_adjoint(operation, name, row.of(arguments, np.float64)) for arguments in row.problems)
