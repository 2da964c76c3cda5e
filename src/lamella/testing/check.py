"""Proving a kernel against the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import lamella.kernels as kernels
from lamella import registry
from lamella.registry import pool
from lamella.testing.cases import ROWS, Row
from lamella.testing.guard import guarded

Function = Callable[..., None]


def each(function: Callable[..., Any], *arguments: Any) -> Any:
    """function(*arguments), or where these are lists of arrays, the list of what it gives for each; None for None."""
    first = arguments[0]
    if first is None:
        return None
    if isinstance(first, list):
        return [function(*items) for items in zip(*arguments, strict=True)]
    return function(*arguments)


def reference(operation: str, pass_: str, row: Row, p: Any, inputs: list[Any], outputs: list[Any]) -> list[Any]:
    """What the reference computes from the same numbers, in float64."""
    arguments = tuple(np.dtype(np.float64) if isinstance(a, np.dtype) else a for a in p.args)
    p64 = row.problem.of(*arguments)
    doubled = [each(_doubled, x) for x in inputs]
    outs: list[Any] = [each(lambda o: np.empty(o.shape, np.float64 if o.dtype.kind == "f" else o.dtype), o) for o in outputs]
    for i in range(len(outputs) - registry.OPERATIONS[operation].updated(pass_), len(outputs)):
        each(np.copyto, outs[i], outputs[i])
    getattr(kernels.load(operation, "ref"), pass_)(p64, *doubled, *outs, registry.EMPTY)
    return outs


def _flat(arrays: list[Any]) -> list[np.ndarray]:
    """All arrays there are, those in lists too."""
    return [x for item in arrays if item is not None for x in (item if isinstance(item, list) else [item])]


def _doubled(x: np.ndarray) -> np.ndarray:
    """A floating array in float64."""
    return x.astype(np.float64) if x.dtype.kind == "f" else x


def find(operation: str, pass_: str, name: str, p: Any) -> registry.Kernel | None:
    """The named implementation's kernel for a pass, or None if it has no such pass or does not accept the problem."""
    row = next(r for r in registry.OPERATIONS[operation].implementations if r.name == name)
    return registry._load(operation, row, pass_, p) if row.accepts(p) else None


def _where(operation: str, pass_: str, name: str, p: Any) -> str:
    return f"{operation}.{name}.{pass_} on {p}"


def _compare(where: str, what: str, got: np.ndarray, expected: np.ndarray, bound: Any) -> None:
    if got.dtype.kind != "f":
        wrong = got != expected
    else:
        with np.errstate(invalid="ignore"):
            wrong = ~(np.abs(got.astype(np.float64) - expected) <= bound) & ~(np.isnan(got) & np.isnan(expected)) & (got != expected)
    if wrong.any():
        i = tuple(int(v) for v in np.argwhere(wrong)[0])
        allowed = np.broadcast_to(bound, got.shape)[i]
        raise AssertionError(
            f"{where}: {what}: {int(wrong.sum())} of {got.size} elements are wrong; first at {i}: got {got[i]!r}, expected {expected[i]!r}, "
            f"allowed difference {allowed:.3g}"
        )


def _compare_all(where: str, what: str, outputs: list[Any], expected: list[Any], bounds: list[Any]) -> None:
    for got, want, bound in zip(outputs, expected, bounds):
        each(lambda g, w, b: _compare(where, what, g, w, b), got, want, bound)


def _fill(out: np.ndarray, other: bool) -> None:
    """What an output holds before the kernel writes it: NaN, or on the other runs something else, in case NaN is right."""
    if out.dtype.kind == "f":
        out.fill(1e30 if other else np.nan)
    else:
        out.fill(not other if out.dtype.kind == "b" else np.iinfo(out.dtype).max - other)


def _scratch(call: registry.Kernel, threads: int, other: bool) -> np.ndarray:
    """The kernel's scratch, poisoned, its end flush against an unreadable page (but for its alignment)."""
    size = call.shared + call.per_thread * threads
    if not size:
        return registry.EMPTY
    poison = np.full(-(-size // registry.ALIGN) * registry.ALIGN, 0x5A if other else 0xFF, np.uint8)
    return guarded(poison, "high")


def _fresh(operation: str, pass_: str, outputs: int) -> int:
    """How many outputs a kernel writes; those behind hold values that it updates."""
    return outputs - registry.OPERATIONS[operation].updated(pass_)


def _task(operation: str, pass_: str, name: str, p: Any, seed: int, integers: bool) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """Inputs and outputs of a pass, what the reference computes from them, and how far from that a kernel may be."""
    row = ROWS[operation]
    inputs, outputs = row.make(p, pass_, np.random.default_rng([seed, integers]), integers)
    expected = reference(operation, pass_, row, p, inputs, outputs)
    if integers:
        return inputs, outputs, expected, [each(lambda o: 0.0, o) for o in outputs]
    given = inputs + outputs[_fresh(operation, pass_, len(outputs)) :]
    doubled = [each(_doubled, x) for x in given]
    eps = float(np.finfo(p.dtype).eps)
    bounds = [each(lambda b: np.asarray(b) * eps, b) for b in row.bound(p, pass_, doubled, expected)]
    factor = row.factor(name)
    if factor is not None:
        bounds = [each(lambda b: factor * np.max(b, initial=0.0), b) for b in bounds]
    return inputs, outputs, expected, bounds


def verified(operation: str, pass_: str, kernel: registry.Kernel, p: Any, *, seed: int = 0) -> tuple[list[Any], list[Any]]:
    """Run a kernel once on random inputs and prove the result; returns its inputs and outputs, warm: ready to be timed."""
    inputs, outputs, expected, bounds = _task(operation, pass_, kernel.name, p, seed, False)
    for out in outputs[: _fresh(operation, pass_, len(outputs))]:
        each(lambda o: _fill(o, False), out)
    kernel(p, *inputs, *outputs)
    _compare_all(_where(operation, pass_, kernel.name, p), "bounded", outputs, expected, bounds)
    return inputs, outputs


def check_kernel(operation: str, pass_: str, kernel: str | Function, p: Any, *, seed: int = 0) -> None:
    """Prove one kernel on one problem against the reference; raise AssertionError with the first fault.

    Parameters
    ----------
    operation, pass_ : str
        As in the registry, e.g. "conv2d", "forward".
    kernel : str or callable
        The name of an implementation ("cy_direct"), or a function ``fn(p, *inputs, *outputs, scratch)`` of your own.
    p : Problem
        What to compute, e.g. ``lamella.problems.GemmProblem.of(15, 33, 17, np.dtype("float32"))``.
    seed : int
        Of the random inputs.

    Notes
    -----
    exact    whole-number inputs, compared with zero tolerance: catches every omitted or doubled term (not for algorithms that round on the way)
    bounded  random inputs, within the operation's stated bound
    clean    outputs pre-filled with NaN are written completely; all arrays lie flush against unreadable pages, at either end, so does
             the scratch at its end, which arrives full of NaN; inputs stay unchanged; a second run, and runs on 1 and 3 threads, give the same bits

    Examples
    --------
    >>> import numpy as np
    >>> from lamella.problems import ActivationProblem
    >>> def my_relu(p, x, out, scratch):
    ...     np.maximum(x, 0, out=out)
    >>> check_kernel("activation", "forward", my_relu, ActivationProblem.of(100, np.dtype("float32"), "relu"))
    """
    row = ROWS[operation]
    if callable(kernel):
        call: Any = registry.Kernel(getattr(kernel, "__name__", "kernel"), kernel, 0, 0)
    else:
        call = find(operation, pass_, kernel, p)
        if call is None:
            raise ValueError(f"check_kernel: {operation}.{kernel} has no {pass_} for {p}")
    where = _where(operation, pass_, call.name, p)
    for integers in (True, False):
        if integers and (not row.exact(p, pass_) or row.factor(call.name) is not None):
            continue
        inputs, outputs, expected, bounds = _task(operation, pass_, call.name, p, seed, integers)
        fresh = _fresh(operation, pass_, len(outputs))
        first: list[Any] | None = None
        before = pool.get_num_threads()
        try:
            for run, (threads, end) in enumerate([(before, "high"), (before, "low"), (1, "high"), (3, "high")]):
                pool.set_num_threads(threads)
                ins, outs = ([each(lambda x, end=end: guarded(x, end), x) for x in arrays] for arrays in (inputs, outputs))
                for out in outs[:fresh]:
                    each(lambda o, run=run: _fill(o, bool(run % 2)), out)
                call.function(p, *ins, *outs, _scratch(call, threads, bool(run % 2)))
                if not all(np.array_equal(x, then, equal_nan=x.dtype.kind == "f") for x, then in zip(_flat(ins), _flat(inputs))):
                    raise AssertionError(f"{where}: an input was changed")
                if first is None:
                    first = [o.copy() for o in _flat(outs)]
                    _compare_all(where, "exact" if integers else "bounded", outs, expected, bounds)
                elif any(got.tobytes() != want.tobytes() for got, want in zip(_flat(outs), first)):
                    raise AssertionError(f"{where}: other bits on a second run ({threads} threads, arrays flush {end})")
        finally:
            pool.set_num_threads(before)


def check_adjoint(operation: str, name: str, p: Any, *, seed: int = 0) -> bool:
    """Prove that an implementation's passes are adjoint to each other, where the operation is linear; False where it has no such property.

    Parameters
    ----------
    operation, name : str
        As in the registry, e.g. "gemm", "cy_packed".
    p : Problem
    seed : int
        Of the random inputs.

    Raises
    ------
    AssertionError
        The passes are not adjoint.

    Examples
    --------
    >>> import numpy as np
    >>> from lamella.problems import GemmProblem
    >>> check_adjoint("gemm", "cy_packed", GemmProblem.of(2, 3, 4, np.dtype("float64")))  # one pass only: no property
    False
    """
    row = ROWS[operation]
    if row.adjoint is None:
        return False
    rng = np.random.default_rng(seed)

    def run(pass_: str, *inputs: Any) -> list[np.ndarray]:
        _, outputs = row.make(p, pass_, np.random.default_rng(0), False)
        kernel = find(operation, pass_, name, p)
        if kernel is None:
            raise LookupError
        kernel(p, *inputs, *outputs)
        return outputs

    try:
        row.adjoint(p, run, rng)
    except LookupError:
        return False
    return True
