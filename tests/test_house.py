"""The rules of the house. Each is checked on whatever operations, files and functions there are."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import lamella.kernels as kernels
import pytest

import lamella
from lamella.registry import OPERATIONS
from lamella.testing.cases import ROWS
from lamella.testing.selfcheck import check_extensions

KERNELS = Path(kernels.__file__).parent
SOURCE = Path(lamella.__file__).parent
KERNEL_FILES = sorted(path for path in KERNELS.glob("[!_]*/*") if re.fullmatch(r"(ref\.py|nb_\w+\.py|cy_\w+\.pyx)", path.name))
PYTHON_FILES = sorted(path for path in SOURCE.rglob("*.py") if KERNELS not in path.parents)
BUILT_IN = {name: [row.name for row in operation.implementations if row.functions is None] for name, operation in OPERATIONS.items()}


def relative(path):
    return str(path.relative_to(KERNELS.parent) if KERNELS in path.parents else path.relative_to(SOURCE))


def python_part(path):
    """The syntax tree of a .py file; of a .pyx file, of its docstring alone."""
    text = path.read_text()
    return ast.parse(text if path.suffix == ".py" else re.match(r'\s*"""(.|\n)*?"""', text).group())


def imported(tree):
    """Every module that a file imports, at the top or inside a function: (name, line, whether inside a function)."""
    inside = {id(node) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(f)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, id(node) in inside
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno, id(node) in inside


# An operation is complete


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operation_has_reference_cython_and_numba(operation):
    names = BUILT_IN[operation]
    assert names[-1] == "ref", "ref closes every list"
    for prefix in ("cy_", "nb_"):
        assert any(name.startswith(prefix) for name in names), f"{operation} has no {prefix}* implementation"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_pass_has_all_three(operation):
    for pass_ in OPERATIONS[operation].passes:
        for prefix in ("ref", "cy_", "nb_"):
            files = [path for path in KERNEL_FILES if path.parent.name == operation and path.name.startswith(prefix)]
            assert any(re.search(rf"^def {pass_}\(", path.read_text(), re.M) for path in files), (
                f"{operation}: no {prefix} file has {pass_}"
            )


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operation_has_cases_and_benchmark_shapes(operation):
    row = ROWS[operation]
    assert row.problems
    assert row.shapes
    assert row.problem.operation == operation


def test_folders_rows_and_cases_name_the_same_operations():
    folders = {path.parent.name for path in KERNELS.glob("*/ref.py")}
    assert folders == set(OPERATIONS) == set(ROWS)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_file_has_a_row(operation):
    files = {path.stem for path in KERNEL_FILES if path.parent.name == operation}
    assert files == set(BUILT_IN[operation])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_manual_page(operation):
    page = (KERNELS / operation / "__init__.py").read_text()
    for name in BUILT_IN[operation]:
        assert re.search(rf"^\| `*{name}`* \|", page, re.M), f"kernels/{operation}/__init__.py: the table has no line for {name}"


@pytest.mark.parametrize(("operation", "name"), [(op, name) for op, names in BUILT_IN.items() for name in names], ids=str)
def test_signatures(operation, name):
    if name.startswith("nb_"):
        pytest.importorskip("numba")
    module = kernels.load(operation, name)
    found = 0
    for pass_ in OPERATIONS[operation].passes:
        function = getattr(module, pass_, None)
        if function is not None:
            inputs, outputs = OPERATIONS[operation].arguments(pass_)
            assert list(inspect.signature(function).parameters) == ["p", *inputs, *outputs, "scratch"], f"{operation}.{name}.{pass_}"
            found += 1
    assert found, f"{operation}.{name} has none of the passes {list(OPERATIONS[operation].passes)}"


# Files


@pytest.mark.parametrize("path", [path for path in KERNEL_FILES if path.name != "ref.py"], ids=relative)
def test_kernel_docstring_has_its_fields(path):
    text = ast.get_docstring(python_part(path), clean=False)
    assert text, "no docstring"
    first, blank, *_ = text.split("\n")
    assert first.endswith("."), "the first line is a sentence"
    assert not blank
    assert re.search(r"^ {4}\S.*=", text, re.M), "no formula: an indented line with ="
    for name in ("Shapes", "Loops"):
        assert re.search(rf"^{name}\s", text, re.M), f"no field {name}"


@pytest.mark.parametrize("path", [path for path in KERNEL_FILES if path.name == "ref.py"], ids=relative)
def test_reference_imports_only_numpy(path):
    assert {name for name, *_ in imported(python_part(path))} <= {"numpy", "math"}


def test_no_file_shadows_a_package():
    forbidden = {"numba", "cython", "numpy", "torch"}
    assert not [relative(path) for path in [*PYTHON_FILES, *KERNELS.rglob("*.py*")] if path.name.split(".")[0] in forbidden]


# Imports point one way. A module may import from its own floor and from floors below; testing, above the functions, looks into everything.

FLOORS = [
    {"_lazy", "core"},
    {"distributions", "problems", "cost", "memory"},
    {"registry", "layout"},
    {"threads", "random"},
    {"tensor"},
    {"functional", "creation"},
    {"nn", "optim", "data", "testing"},
    {"models", "summarizing", "serialization", "io", "vision"},
    {"train"},
    {"estimators", "bench"},
    {"cli", "__main__"},
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
KERNEL_IMPORTERS = {"registry", "testing"}
ANYWHERE = {"__version__"}


def floor_of(module):
    """The floor of lamella.<module>...; what is not listed stands beside models."""
    return FLOOR.get(module.split(".")[1], FLOOR["models"])


@pytest.mark.parametrize("path", [path for path in PYTHON_FILES if path != SOURCE / "__init__.py"], ids=relative)
def test_imports_point_down(path):
    parts = path.relative_to(SOURCE).with_suffix("").parts
    own = floor_of("lamella." + parts[0])
    for name, line, lazily in imported(python_part(path)):
        if not name.startswith("lamella.") or name.split(".")[1] in ANYWHERE:
            continue
        target = name.split(".")[1]
        if target == "kernels":
            assert parts[0] in KERNEL_IMPORTERS, f"line {line}: only registry and testing import lamella.kernels"
        elif parts[0] == "tensor" and target == "functional":
            assert lazily, f"line {line}: Tensor's operators import lamella.functional when called"
        else:
            assert floor_of(name) <= own, f"line {line}: {name} stands above {'.'.join(parts)}"


@pytest.mark.parametrize("path", [*KERNELS.glob("*.py"), *KERNEL_FILES, *KERNELS.glob("_common/*.py*")], ids=relative)
def test_kernels_import_nothing_from_above(path):
    names = re.findall(r"^\s*(?:from|c?import)\s+(lamella[\w.]*)", path.read_text(), re.M)
    assert all(name == "lamella.kernels" or name.startswith("lamella.kernels.") for name in names), names
    own = path.parent.name
    for name in names:
        other = name.split(".")[2:3]
        assert not other or other[0] in (own, "_common", "gemm"), f"{name}: kernels share through _common (and may stand on gemm)"


# No foreign thread pool

BLAS = {"dot", "vdot", "inner", "matmul", "einsum", "tensordot", "linalg", "convolve", "correlate", "matvec", "vecmat", "vecdot"}
BLAS_IN_CYTHON = re.compile(rf"\bnp\.({'|'.join(BLAS)})\b|\.dot\(|[\w)\]] @ [\w(]")


@pytest.mark.parametrize(
    "path",
    [path for path in [*PYTHON_FILES, *KERNELS.rglob("*.py")] if path.name != "ref.py" and SOURCE / "testing" not in path.parents],
    ids=relative,
)
def test_no_blas(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.BinOp | ast.AugAssign):
            assert not isinstance(node.op, ast.MatMult), f"line {node.lineno}: @ calls NumPy's BLAS"
        elif isinstance(node, ast.Attribute):
            numpy_s = isinstance(node.value, ast.Name) and node.value.id in ("np", "numpy") and node.attr in BLAS
            assert not numpy_s and node.attr != "dot", f"line {node.lineno}: {node.attr} calls NumPy's BLAS"


@pytest.mark.parametrize("path", sorted(path for path in KERNELS.rglob("*") if path.suffix in (".pyx", ".pxd")), ids=relative)
def test_no_blas_in_cython(path):
    code = re.sub(r'""".*?"""', "", path.read_text(), flags=re.S)
    for number, line in enumerate(code.splitlines(), 1):
        assert not BLAS_IN_CYTHON.search(line.split("#")[0]), f"line {number} of the code: {line.strip()}"
        assert not re.match(r"\s*DEF\s", line), "DEF is deprecated"
        assert "prange" not in line, "threads come from _common/pool"


# Public names


PUBLIC = [
    "distributions",
    "functional",
    "nn",
    "nn.init",
    "optim",
    "optim.lr_scheduler",
    "data",
    "data.datasets",
    "data.preprocessing",
    "data.transforms",
    "train",
    "vision",
    "models",
    "testing",
]


def public():
    """Every public function and class: what a public module lists in __all__ (lamella itself: what it imports)."""
    seen = {}
    there = [name for name in PUBLIC if list(SOURCE.glob(name.replace(".", "/") + ".py")) or (SOURCE / name.replace(".", "/")).is_dir()]
    modules = [importlib.import_module(f"lamella.{name}") for name in there]
    for module in [lamella, *modules]:
        names = getattr(module, "__all__", None) or ([] if module is not lamella else [name for name in dir(module) if name[0] != "_"])
        for name in names:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isroutine(thing):
                seen.setdefault(id(thing), (f"{module.__name__}.{name}", thing))
    return [pytest.param(thing, id=name) for name, thing in seen.values()]


@pytest.mark.parametrize("thing", public())
def test_public_docstring(thing):
    text = inspect.getdoc(thing)
    assert text, "no docstring"
    assert text.split("\n")[0].strip(), "no summary"
    assert "Examples\n--------" in text, "no Examples section"
    if inspect.isroutine(thing) and [p for p in inspect.signature(thing).parameters if p not in ("self", "cls")]:
        assert "Parameters\n----------" in text, "no Parameters section"


# Import and build


def fresh(code, *arguments):
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, timeout=120).stdout.split()


LAZY_NAMES = """
import importlib, inspect, re, sys
from pathlib import Path
package = sys.argv[1]
module = importlib.import_module(package)
for path in Path(module.__path__[0]).glob("*.py"):
    if path.stem not in ("__init__", "__main__"):
        importlib.import_module(f"{package}.{path.stem}")
for source, names in re.findall(r"^from (\\S+) import (\\([^)]*\\)|.*)", Path(module.__path__[0], "__init__.pyi").read_text(), re.M):
    for name in re.findall(r"(\\w+)(?=,|\\n|\\)|$)", re.sub("#.*", "", names)):
        if inspect.ismodule(getattr(module, name)) != (source in (package, "lamella")):
            print(name)
"""


@pytest.mark.parametrize("package", ["lamella", "lamella.functional", "lamella.nn", "lamella.optim", "lamella.optim.lr_scheduler"])
def test_lazy_names(package):
    """Each name of a stub leads to its thing even after every module of the package was imported (which binds the modules' names)."""
    assert fresh(LAZY_NAMES, package) == []
    module = importlib.import_module(package)
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


def test_import_is_light():
    modules = set(fresh("import sys, lamella; print(*sys.modules)"))
    with_numpy = set(fresh("import sys, numpy, safetensors; print(*sys.modules)"))
    for heavy in ("numba", "llvmlite", "matplotlib", "torch", "PIL", "tqdm", "pooch", "scipy", "lamella.testing", "lamella.cli"):
        assert heavy not in modules
    ours = {name for name in modules if name.startswith("lamella")}
    assert len(ours) < 140
    assert len(modules - with_numpy - ours) < 60, sorted(modules - with_numpy - ours)


def test_one_extension_per_kernel_file_and_instruction_set():
    assert check_extensions() == []


def test_readme_lists_every_implementation():
    rows = {
        line.split("`")[1]: line
        for line in (Path(__file__).parent.parent / "README.md").read_text().splitlines()
        if line.startswith("| [`")
    }
    assert set(rows) == set(OPERATIONS)
    for operation, row in rows.items():
        listed = set(re.findall(r"`((?:cy|nb)_\w+|ref)`", row))
        assert listed == {i.name for i in OPERATIONS[operation].implementations if i.functions is None}
