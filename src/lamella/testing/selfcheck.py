"""`lamella check`: every kernel of this installation against the reference, on the tables the tests use.

Needs only NumPy. Kernels that need Numba are skipped, and named, where it is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lamella.kernels as kernels
from lamella import registry
from lamella.testing.cases import ROWS
from lamella.testing.check import check_adjoint, check_kernel, find

DTYPES = ("float32", "float64")
FAULTS_SHOWN = 5


@dataclass
class Result:
    """What became of one implementation of one operation."""

    operation: str
    name: str
    cases: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def cell(self) -> str:
        if self.skipped:
            return "skipped"
        if self.faults:
            return f"{len(self.faults)} FAULTS of {self.cases}"
        return f"{self.cases} ok" if self.cases else "no case"

    @property
    def failed(self) -> bool:
        return bool(self.faults) or not (self.cases or self.skipped)


def check_implementation(operation: str, name: str, quick: bool = False) -> Result:
    """Run `check_kernel` on every pass, case and dtype that an implementation accepts, and `check_adjoint`.

    Parameters
    ----------
    operation, name : str
        As in the registry, e.g. "gemm", "cy_packed".
    quick : bool
        Only every fourth of these cases, in float32.

    Returns
    -------
    Result, with the number of cases and the faults found

    Examples
    --------
    >>> check_implementation("activation", "ref", quick=True).faults
    []
    """
    result = Result(operation, name)
    if name.startswith("nb_") and importlib.util.find_spec("numba") is None:
        result.skipped = "Numba is not installed"
        return result
    row = ROWS[operation]
    start = time.perf_counter()
    passes = registry.OPERATIONS[operation].passes
    dtypes = DTYPES[:1] if quick else DTYPES

    def accepts(arguments: Any) -> bool:
        return any(find(operation, pass_, name, row.of(arguments, dtype)) for dtype in dtypes for pass_ in passes)

    cases = [arguments for arguments in row.problems if accepts(arguments)]
    for arguments in cases[:: 4 if quick else 1]:
        for dtype in dtypes:
            p = row.of(arguments, dtype)
            for pass_ in passes:
                try:
                    if find(operation, pass_, name, p) is None:
                        continue
                    result.cases += 1
                    check_kernel(operation, pass_, name, p)
                except Exception as error:  # a kernel may fail in any way; the others are still to be proven
                    result.faults.append(
                        str(error) if isinstance(error, AssertionError) else f"{operation}.{name}.{pass_} on {p}: {error!r}"
                    )
        if row.adjoint is not None and not quick:
            try:
                check_adjoint(operation, name, row.of(arguments, "float64"))
            except Exception as error:
                result.faults.append(f"{operation}.{name} on {row.of(arguments, 'float64')}: adjoint: {error}")
    result.seconds = time.perf_counter() - start
    return result


def report(results: Iterable[Result]) -> str:
    """The results as a table of operations x implementations.

    Examples
    --------
    >>> print(report([Result("gemm", "ref", 3), Result("gemm", "nb_packed", skipped="Numba is not installed")]))
    operation   reference   cython   numba
    gemm        ref: 3 ok            nb_packed: skipped
    """
    columns = {"reference": "ref", "cython": "cy_", "numba": "nb_", "user": ""}
    cells: dict[str, dict[str, list[str]]] = {}
    for result in results:
        column = next(title for title, prefix in columns.items() if result.name.startswith(prefix))
        cells.setdefault(result.operation, {}).setdefault(column, []).append(f"{result.name}: {result.cell}")
    titles = [title for title in columns if title != "user" or any("user" in row for row in cells.values())]
    table = [["operation", *titles]]
    for operation, row in cells.items():
        stacked = itertools.zip_longest([operation], *(row.get(title, []) for title in titles), fillvalue="")
        table += map(list, stacked)
    widths = [max(map(len, column)) for column in zip(*table)]
    return "\n".join("   ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in table)


def extensions() -> dict[str, list[str]]:
    """The compiled modules of this installation: kernel file -> instruction sets it was built for ("" for the common ones).

    Examples
    --------
    >>> "gemm/cy_packed" in extensions()
    True
    """
    root = Path(kernels.__file__).parent
    found: dict[str, list[str]] = {}
    for path in sorted(root.rglob("*.so")):
        name = path.name.split(".")[0]
        file, _, isa = name.partition("__")
        found.setdefault(f"{path.parent.relative_to(root)}/{file}", []).append(isa)
    return found


def check_extensions() -> list[str]:
    """Faults of the build: a kernel file without its module, a module for some instruction sets only, a module without its file.

    Examples
    --------
    >>> check_extensions()
    []
    """
    root = Path(kernels.__file__).parent
    sources = {f"{path.parent.relative_to(root)}/{path.stem}" for path in root.rglob("*.pyx")}
    built = extensions()
    isas = {isa for names in built.values() for isa in names if isa}
    faults = [f"{name}: not built" for name in sorted(sources - set(built))]
    faults += [f"{name}: a module without its .pyx" for name in sorted(set(built) - sources)]
    for name, names in built.items():
        wanted = {""} if name.startswith("_common/") else isas
        if set(names) != wanted:
            faults.append(f"{name}: built for {sorted(names)}, expected {sorted(wanted)}")
    return faults


def main(argv: Sequence[str] | None = None, parser_class: type[argparse.ArgumentParser] = argparse.ArgumentParser) -> int:
    """Entry point of ``lamella check``; returns the exit status: 0, or 1 on a fault.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; see ``lamella check --help``.
    parser_class : type, optional
        What reads them, and reports what is wrong with them.

    Examples
    --------
    >>> main(["--operation", "activation", "--backend", "reference", "--quick"])  # doctest: +ELLIPSIS
    lamella ...
    0
    """
    parser = parser_class(prog="lamella check", description="Prove every kernel of this installation against the reference.")
    parser.add_argument("--backend", choices=("cython", "numba", "reference"), help="only this one; default: all")
    parser.add_argument("--operation", action="append", choices=sorted(registry.OPERATIONS), help="only this one (may be repeated)")
    parser.add_argument("--quick", action="store_true", help="every fourth case, float32 only")
    parser.add_argument(
        "--count-extensions", action="store_true", help="only check that every kernel file is built for every instruction set"
    )
    options = parser.parse_args(argv)

    from lamella import __version__

    if options.count_extensions:
        built = extensions()
        print(f"{sum(map(len, built.values()))} extensions: {len(built)} files; instruction sets here: {', '.join(registry.isas())}")
        faults = check_extensions()
        print("\n".join(faults), end="\n" if faults else "")
        return 1 if faults else 0

    print(f"lamella {__version__}, instruction set {registry.ISA}, {registry.pool.get_num_threads()} threads")
    results = []
    progress = sys.stderr.isatty()
    for operation in options.operation or sorted(registry.OPERATIONS):
        for row in registry.OPERATIONS[operation].implementations:
            if options.backend in (None, row.backend):
                if progress:
                    print(f"\r\033[K{operation}.{row.name} ...", end="", file=sys.stderr, flush=True)
                results.append(check_implementation(operation, row.name, options.quick))
    if progress:
        print("\r\033[K", end="", file=sys.stderr)
    print(report(results))
    failed = [result for result in results if result.failed]
    for result in failed:
        for fault in result.faults[:FAULTS_SHOWN] or [f"{result.operation}.{result.name}: accepts none of its cases"]:
            print("FAULT ", " ".join(fault.split()))
        if len(result.faults) > FAULTS_SHOWN:
            print(f"       ... and {len(result.faults) - FAULTS_SHOWN} more of {result.operation}.{result.name}")
    if any(result.skipped for result in results):
        print("Numba is not installed: its kernels were skipped (pip install 'lamella[numba]')")
    cases, seconds = sum(result.cases for result in results), sum(result.seconds for result in results)
    print(
        f"{cases} cases in {seconds:.1f} s: "
        + ("a kernel computes wrong numbers here; please report this output" if failed else "all proven")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
