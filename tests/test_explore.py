"""Problems around the table: every compiled implementation on cases nobody wrote down.

A problem of the table is taken, and each number that occurs in it is replaced by a neighbour, wherever it occurs; what is no problem any more
is dropped. The search is the same on every run; LAMELLA_EXPLORE=1000 searches elsewhere, with that many examples.
"""

import os

import pytest
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st

from lamella.registry import OPERATIONS
from lamella.testing.cases import ROWS
from lamella.testing.check import check_kernel, find

EXPLORE = int(os.environ.get("LAMELLA_EXPLORE", 0))
EXAMPLES = {"cy_": 40, "nb_": 12}
LARGEST = 5e6  # flops: the reference is slow
COMPILED = [(op, row.name) for op, operation in OPERATIONS.items() for row in operation.implementations if row.name[:3] in EXAMPLES]
NEIGHBOUR = st.sampled_from([0, 0, 0, 1, -1, 2, -2, 3, 5, 13])


def numbers(arguments):
    """The whole numbers in a problem's arguments."""
    for a in arguments:
        if isinstance(a, tuple):
            yield from numbers(a)
        elif type(a) is int:
            yield a


def replaced(arguments, by):
    return tuple(replaced(a, by) if isinstance(a, tuple) else by.get(a, a) if type(a) is int else a for a in arguments)


@st.composite
def problems(draw, operation):
    row = ROWS[operation]
    arguments = draw(st.sampled_from(row.problems))
    old = sorted(set(numbers(arguments)))
    changed = draw(st.lists(st.sampled_from(old), max_size=3, unique=True)) if old else []
    # strides and sizes start at 1: what may be 0 (a padding, an empty batch) is 0 somewhere in the table
    arguments = replaced(arguments, {n: max(n + draw(NEIGHBOUR), min(n, 1)) for n in changed})
    try:
        p = row.of(arguments, draw(st.sampled_from(["float32", "float64"])))
    except (ValueError, TypeError):
        assume(False)
    assume(p.flops <= LARGEST)
    return p


@pytest.mark.parametrize(("operation", "name"), COMPILED, ids=str)
def test_around_the_table(operation, name):
    if name.startswith("nb_"):
        pytest.importorskip("numba")

    @settings(
        max_examples=EXPLORE or EXAMPLES[name[:3]],
        derandomize=not EXPLORE,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    @given(problems(operation), st.integers(0, 2**16))
    def explore(p, seed):
        note(f"check_kernel({operation!r}, pass_, {name!r}, {p!r}, seed={seed})")
        for pass_ in OPERATIONS[operation].passes:
            if find(operation, pass_, name, p) is not None:
                check_kernel(operation, pass_, name, p, seed=seed)

    explore()
