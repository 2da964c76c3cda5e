"""Numba kernels compiled ahead of their first use, and cached on disk: what `lamella warmup` does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from lamella import registry
from lamella.testing.cases import ROWS
from lamella.testing.check import find

Unit = tuple[str, Callable[[], Any]]


def every_kernel(dtype: str) -> Iterator[Unit]:
    """What to call so that all Numba kernels are compiled: every implementation on every problem of the tests, which visit all edges.

    Parameters
    ----------
    dtype : {"float32", "float64"}

    Yields
    ------
    (name, function)
        The operation with the implementation, and a call of all its passes on one problem.

    Examples
    --------
    >>> name, call = next(every_kernel("float32"))
    >>> name
    'gemm.nb_packed'
    """
    import numpy as np

    def call(operation: str, name: str, p: Any) -> None:
        for pass_ in registry.OPERATIONS[operation].passes:
            kernel = find(operation, pass_, name, p)
            if kernel is not None:
                inputs, outputs = ROWS[operation].make(p, pass_, np.random.default_rng(0), False)
                kernel(p, *inputs, *outputs)

    for operation, row in registry.OPERATIONS.items():
        for implementation in row.implementations:
            if implementation.backend == "numba":
                for arguments in ROWS[operation].problems:
                    p = ROWS[operation].of(arguments, dtype)
                    yield f"{operation}.{implementation.name}", lambda o=operation, n=implementation.name, p=p: call(o, n, p)  # type: ignore[misc]


def warm(units: list[Unit], progress: Callable[[str], None]) -> str:
    """Call everything, and report what was compiled.

    Parameters
    ----------
    units : list of (name, function)
    progress : callable
        Called with each name before its function.

    Returns
    -------
    str, a table: the kernels, how many functions were compiled, in how many seconds, and how many the cache held

    Examples
    --------
    >>> warm([], print)  # doctest: +SKIP
    '0 functions compiled in 0.0 s, 0 from the cache; 0.0 s in all'
    """
    from lamella.kernels._common import nb

    known, start = len(nb.history), time.perf_counter()
    for name, call in units:
        progress(name)
        call()
    took = time.perf_counter() - start
    found: dict[str, list[Any]] = {}
    for made in nb.history[known:]:
        found.setdefault(made.name, []).append(made)
    lines = []
    for name in sorted(found):
        fresh = [made for made in found[name] if not made.cached]
        seconds = sum(made.seconds for made in fresh)
        lines.append(f"{name:40} {len(fresh):3} compiled in {seconds:5.1f} s, {len(found[name]) - len(fresh):3} from the cache")
    fresh = [made for made in nb.history[known:] if not made.cached]
    cached = len(nb.history) - known - len(fresh)
    seconds = sum(made.seconds for made in fresh)
    lines.append(f"{len(fresh)} functions compiled in {seconds:.1f} s, {cached} from the cache; {took:.1f} s in all")
    return "\n".join(lines)
