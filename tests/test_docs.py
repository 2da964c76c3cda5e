"""Every example runs: docstrings of all modules, and the Python blocks of README and CONTRIBUTING.

A Markdown block is skipped if the line above its fence is ``<!-- not run -->``. Blocks without prompts are executed, in order, in one
namespace per file; then their functions named test_* are called.
"""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

import lamella

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(lamella.__path__, "lamella.")
    if ".kernels" not in module.name and "__main__" not in module.name
)
ROOT = Path(__file__).parent.parent
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.fixture(autouse=True)
def clean_state(tmp_path, monkeypatch):
    """Examples run in a folder of their own, and leave no setting behind."""
    monkeypatch.chdir(tmp_path)
    threads, backend = lamella.get_num_threads(), lamella.get_backend()
    yield
    lamella.set_num_threads(threads)
    lamella.use_backend(backend)


@pytest.mark.parametrize("name", ["lamella", *MODULES])
def test_docstrings(name):
    module = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs={"np": np, "lamella": lamella}, optionflags=FLAGS)
    assert result.failed == 0


def blocks(path):
    text = path.read_text()
    for match in re.finditer(r"(^.*\n)?^```(?:python|py|pycon)\n(.*?)^```", text, re.M | re.S):
        if "<!-- not run -->" not in (match.group(1) or ""):
            yield text[: match.start(2)].count("\n") + 1, match.group(2)


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.md")), ids=lambda path: path.name)
def test_markdown(path):
    namespace = {"__name__": path.stem, "np": np}
    for line, code in blocks(path):
        if ">>>" in code:
            test = doctest.DocTestParser().get_doctest(code, namespace, path.name, path.name, line)
            runner = doctest.DocTestRunner(optionflags=FLAGS)
            runner.run(test, clear_globs=False)
            assert runner.failures == 0
            namespace.update(test.globs)
        else:
            exec(compile("\n" * line + code, str(path), "exec"), namespace)
    for name, function in list(namespace.items()):
        if name.startswith("test_"):
            function()
