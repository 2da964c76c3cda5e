"""Choosing by measurement, when a user asks for it: a table of timed kernels goes before the cost model.

A table is measured once (`tune`, or the command ``lamella tune``), written as JSON, and loaded explicitly: `load_tuning`, or the environment variable
LAMELLA_TUNING. It never changes by itself, and an entry holds for one operation, pass, problem, dtype and instruction set, for any number of
threads, so that runs with one table repeat. `lamella.train.Trainer` keeps the table in its checkpoints, and goes on with it.
"""

from __future__ import annotations

import ast
import json
import math
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lamella import registry
from lamella.problems import Problem
from lamella.serialization import write_atomically

__all__ = ["Entry", "clear_tuning", "get_tuning", "load_tuning", "save_tuning", "set_tuning", "tune"]

FORMAT = "lamella tuning 1"
COMPILED = ("cython", "numba")
METADATA = "lamella.tuning"  # the entry of a checkpoint's metadata


class Entry(NamedTuple):
    """What was measured: seconds of each implementation, fastest first.

    Examples
    --------
    >>> Entry("conv2d", "forward", "v4", "float32", {"mb": 1}, {"cy_direct": 2e-3, "cy_im2col": 1e-3}).order()
    {'cy_im2col': 0, 'cy_direct': 1}
    """

    operation: str
    pass_: str
    isa: str
    dtype: str
    problem: dict[str, int]  # the fields of its geometry
    seconds: dict[str, float]

    @property
    def key(self) -> tuple:
        return registry.tuning_key(self.operation, self.pass_, self.isa, self.dtype, self.problem.values())

    def order(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(sorted(self.seconds, key=lambda name: self.seconds[name]))}


_in_use: tuple[Entry, ...] = ()


def get_tuning() -> tuple[Entry, ...]:
    """The table in use; empty without one.

    Examples
    --------
    >>> get_tuning()
    ()
    """
    return _in_use


def set_tuning(entries: Iterable[Entry]) -> None:
    """Choose by this table from now on. Entries for another instruction set do not apply.

    Parameters
    ----------
    entries : iterable of Entry

    Examples
    --------
    >>> set_tuning([Entry("conv2d", "forward", "v4", "float32", {"mb": 1}, {"cy_im2col": 1e-3})])
    >>> len(get_tuning())
    1
    >>> set_tuning([])
    """
    global _in_use
    _in_use = tuple(entries)
    registry.order_by({entry.key: entry.order() for entry in _in_use})


def clear_tuning() -> None:
    """Choose by the cost model again.

    Examples
    --------
    >>> import lamella
    >>> lamella.clear_tuning()
    """
    set_tuning(())


def _text(entries: Iterable[Entry]) -> str:
    """One entry a line, so that tables can be read and compared."""
    rows = [json.dumps({**entry._asdict(), "seconds": {n: float(f"{s:.4g}") for n, s in entry.seconds.items()}}) for entry in entries]
    return f'{{"format": "{FORMAT}", "entries": [\n' + ",\n".join(rows) + "\n]}\n"


def _parsed(text: str | bytes, where: str) -> tuple[Entry, ...]:
    def wrong(what: str) -> ValueError:
        return ValueError(f"{where}: expected a table of lamella tune, got {what}; measure it again: lamella tune")

    try:
        data = json.loads(text)
    except ValueError as error:
        raise wrong(f"a file that is not JSON ({error})") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("entries"), list):
        raise wrong(f"a file without format {FORMAT!r} and entries")
    entries = []
    unknown = set()
    for number, row in enumerate(data["entries"]):
        if not isinstance(row, dict) or set(row) != set(Entry._fields):
            raise wrong(f"entry {number} without exactly {', '.join(Entry._fields)}")
        entry = Entry(**row)
        if not all(isinstance(value, str) for value in entry[:4]):
            raise wrong(f"entry {number} with names that are not text")
        if not isinstance(entry.problem, dict) or not all(type(value) is int for value in entry.problem.values()):
            raise wrong(f"entry {number} with a problem of other than whole numbers")
        times = entry.seconds.values() if isinstance(entry.seconds, dict) else ()
        if not times or not all(isinstance(s, (int, float)) and math.isfinite(s) and s > 0 for s in times):
            raise wrong(f"entry {number} with times other than positive numbers")
        operation = registry.OPERATIONS.get(entry.operation)
        names = {i.name for i in operation.implementations} if operation else set()
        unknown |= {f"{entry.operation}.{name}" for name in entry.seconds if name not in names}
        entries.append(entry)
    if unknown:
        warnings.warn(f"{where}: this version of lamella has no {', '.join(sorted(unknown))}; measure again: lamella tune", stacklevel=3)
    return tuple(entries)


def save_tuning(entries: Iterable[Entry], path: str | os.PathLike) -> None:
    """Write a table as JSON; a file of that name is replaced in one step.

    Parameters
    ----------
    entries : iterable of Entry
    path : str or path

    Examples
    --------
    >>> import tempfile
    >>> entry = Entry("conv2d", "forward", "v4", "float32", {"mb": 1}, {"cy_im2col": 1e-3})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_tuning([entry], folder + "/tuning.json")
    ...     load_tuning(folder + "/tuning.json") == (entry,)
    True
    >>> clear_tuning()
    """
    write_atomically(path, _text(entries))


def load_tuning(path: str | os.PathLike) -> tuple[Entry, ...]:
    """Choose by the table in a file from now on; replaces the one in use. LAMELLA_TUNING=path does so at import.

    Parameters
    ----------
    path : str or path
        Written by ``lamella tune`` or `save_tuning`.

    Returns
    -------
    the entries

    Raises
    ------
    ValueError
        No such table, or a damaged one.

    Examples
    --------
    See `save_tuning`.
    """
    entries = _parsed(Path(path).read_bytes(), str(path))
    set_tuning(entries)
    return entries


def metadata() -> dict[str, str]:
    """What a checkpoint keeps of the table in use."""
    return {METADATA: _text(_in_use)} if _in_use else {}


def restore(kept: Mapping[str, str], where: str) -> None:
    """Go on with the table that a checkpoint's metadata hold, or without one if they hold none."""
    set_tuning(_parsed(kept[METADATA], where) if METADATA in kept else ())


def used_by(function: Callable[..., Any], *arguments: Any, **options: Any) -> list[tuple[str, str, Problem]]:
    """Each (operation, pass, problem) that a call computes, once.

    Examples
    --------
    >>> import numpy as np, lamella
    >>> used_by(lamella.functional.relu, np.ones(3))
    [('activation', 'forward', ActivationProblem(3, dtype('float64'), 'relu', 0.0, 0.0, 0.0))]
    """
    with registry.recorded_choices() as found:
        function(*arguments, **options)
    return found


def read_problems(path: str | os.PathLike) -> list[tuple[str, str, Problem]]:
    """Every pass of the problems in a text file, one a line, written as they print: ``Conv2dProblem((8, 64, 56, 56), (64, 64, 3, 3), 'float32')``.

    Raises
    ------
    ValueError
        A line that is no problem; the message says which.
    """
    found = []
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            p = _problem(line.partition(": ")[2] or line)
        except (ValueError, TypeError, SyntaxError) as error:
            raise ValueError(
                f"{path}, line {number}: expected a problem such as Conv2dProblem((1, 3, 8, 8), (4, 3, 3, 3), 'float32'), got {error}"
            ) from None
        found += [(p.operation, pass_, p) for pass_ in registry.OPERATIONS[p.operation].passes if p.has(pass_)]
    return found


def _problem(text: str) -> Problem:
    """Reads a call with literal arguments; nothing is evaluated."""
    call = ast.parse(text.strip(), mode="eval").body
    kinds = {kind.__name__: kind for kind in Problem.__subclasses__()}
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id not in kinds or call.keywords:
        raise ValueError(f"{text.strip()!r}; the kinds are {', '.join(kinds)}")
    arguments = []
    for node in call.args:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dtype":
            arguments.append(np.dtype(ast.literal_eval(node.args[0])))
        else:
            value = ast.literal_eval(node)
            arguments.append(np.dtype(value) if value in ("float32", "float64") else value)
    return kinds[call.func.id].of(*arguments)


def tune(
    problems: Iterable[tuple[str, str, Problem]], rounds: int = 7, seconds: float = 0.005, say: Callable[[str], None] = lambda line: None
) -> list[Entry]:
    """Time every implementation of the problems, in turns, where there is a choice.

    Parameters
    ----------
    problems : iterable of (operation, pass, problem)
        For instance what `used_by` returns.
    rounds : int
        Each implementation is timed so many times; the median counts.
    seconds : float
        For how long a short one is repeated in a round.
    say : callable, optional
        Is given a line about each problem.

    Returns
    -------
    entries for the instruction set in use, for `save_tuning` or `set_tuning`

    Examples
    --------
    >>> import numpy as np
    >>> from lamella.problems import Conv2dProblem
    >>> p = Conv2dProblem.of((1, 4, 6, 6), (4, 4, 3, 3), np.dtype("float32"))
    >>> [entry] = tune([("conv2d", "forward", p)], rounds=1, seconds=1e-4)
    >>> "cy_direct" in entry.seconds
    True
    """
    from lamella.testing.explain import candidates
    from lamella.testing.measure import measured

    entries = []
    for operation, pass_, p in problems:
        found = [(row.backend, kernel) for row, kernel, _ in candidates(operation, pass_, p) if kernel and row.backend in COMPILED]
        backends = [backend for backend, _ in found]
        kernels = [kernel for backend, kernel in found if backends.count(backend) > 1]
        if not kernels:
            continue  # nothing to choose from
        times, _ = measured(operation, pass_, p, kernels, rounds, seconds)
        ordered = dict(sorted(times.items(), key=lambda item: item[1]))
        entries.append(Entry(operation, pass_, registry.ISA, p.dtype.name, dict(zip(p.FIELDS, p.geometry.tolist())), ordered))
        best = ", ".join(f"{name} {time * 1e6:.4g} us" for name, time in ordered.items())
        say(f"{operation} {pass_} {p}: {best}")
    return entries
