"""The table is complete: every number has a row, every row a test, every test carries its number.

A number that gets its row leaves `MISSING`, which has to be exact.
"""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from courses.table import TABLE

ROOT = Path(__file__).parents[2]


SECTIONS = {
    "neuron, perceptron, linear models": ("A", 3, 1, 18),
    "activations": ("A", 3, 20, 37),
    "losses and statistics": ("A", 3, 40, 59),
    "gradients": ("A", 3, 60, 73),
    "optimisers": ("A", 3, 80, 97),
    "schedules": ("A", 3, 100, 110),
    "initialisers": ("A", 3, 120, 129),
    "regularisation and generalisation": ("A", 3, 130, 150),
    "data": ("A", 3, 160, 175),
    "layers": ("A", 3, 180, 199),
    "classical vision": ("A", 3, 200, 204),
    "worked examples": ("G", 2, 1, 19),
}
NUMBERS = [f"{letter}-{n:0{digits}}" for letter, digits, first, last in SECTIONS.values() for n in range(first, last + 1)]

MISSING: set[str] = set()


def marked():
    """(test as the table names it) -> the numbers of its markers, from the files' syntax."""
    found = {}
    for path in sorted(Path(__file__).parent.rglob("test_*.py")):
        file = path.relative_to(ROOT).as_posix()

        def visit(body, prefix):
            for node in body:
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{prefix}::{node.name}")
                elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                    found[f"{prefix}::{node.name}"] = [
                        ast.literal_eval(argument)
                        for mark in node.decorator_list
                        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.course"
                        for argument in mark.args
                    ]

        visit(ast.parse(path.read_text()).body, file)
    return found


TESTS = marked()


def test_171_features_and_19_examples():
    assert len(NUMBERS) == len(set(NUMBERS)) == 190
    assert sum(number[0] == "G" for number in NUMBERS) == 19


def test_every_number_has_a_row_or_is_known_to_be_missing():
    assert set(TABLE) <= set(NUMBERS), "no such number"
    assert set(NUMBERS) - set(TABLE) == MISSING, "a number that has its row leaves MISSING"


def test_rows_are_sorted():
    assert list(TABLE) == sorted(TABLE)
    source = (Path(__file__).parent / "table.py").read_text()
    assert len(re.findall(r'^ +"[AG]-\d+":', source, re.M)) == len(TABLE), "a number stands twice"


@pytest.mark.parametrize("number", TABLE)
def test_row_names_a_test_with_its_number(number):
    assert TABLE[number] in TESTS, f"{number}: no test {TABLE[number]}"
    assert number in TESTS[TABLE[number]], f"{number}: {TABLE[number]} is not decorated with @pytest.mark.course({number!r})"


def test_every_marked_number_has_a_row():
    assert {number for given in TESTS.values() for number in given} == set(TABLE)


def test_a_skipped_course_test_fails(tmp_path):
    shutil.copy(Path(__file__).parent / "conftest.py", tmp_path)
    (tmp_path / "test_skips.py").write_text(
        "import pytest\n\n@pytest.mark.course('A-001')\ndef test_it():\n    pytest.skip('no such package')\n\ndef test_other():\n    pytest.skip('may')\n"
    )
    (tmp_path / "test_absent.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore",
        "--continue-on-collection-errors",
        str(tmp_path),
    ]
    out = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path).stdout
    assert "1 failed, 1 skipped, 1 error" in out, out
