"""What computes a problem, and why: the choice of the registry made visible."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import lamella.kernels as kernels
from lamella import registry
from lamella.problems import Problem
from lamella.registry import Implementation, Kernel
from lamella.testing.measure import SLOW, machine, measured


def candidates(operation: str, pass_: str, p: Problem) -> list[tuple[Implementation, Kernel | None, str]]:
    """Every implementation of an operation, in the order of its list, with its kernel, or None and why it refuses."""
    found = []
    winograd = registry.setting_in_use().winograd
    for row in registry.OPERATIONS[operation].implementations:
        kernel, why = None, ""
        if not winograd and row.algorithm.startswith("winograd"):
            why = "refused by allow_winograd(False)"
        elif p.algorithm not in ("auto", row.algorithm) and row.backend != "reference":
            why = f"algorithm={p.algorithm!r} asks for another"
        elif not row.accepts(p):
            why = "does not accept this problem"
        else:
            try:
                kernel = registry._load(operation, row, pass_, p)
                why = "" if kernel else "has no such pass for this problem"
            except ImportError as error:
                why = str(error)
        found.append((row, kernel, why))
    return found


@dataclass
class Candidate:
    """One implementation of one pass.

    Attributes
    ----------
    state : "chosen", "possible", "other backend" (it computes this, but not under the backend in use) or "refused"
    why : why it was chosen, or why it refuses
    cost : cycles of one thread by the cost model, or None without one
    shared, per_thread : bytes of scratch
    transformed : how many bytes of `shared` hold transformed weights or private gradients
    seconds, flop_rate, peak_share, byte_rate, copy_share : measured, or None
    """

    name: str
    backend: str
    state: str
    why: str = ""
    cost: float | None = None
    shared: int = 0
    per_thread: int = 0
    transformed: int = 0
    seconds: float | None = None
    flop_rate: float | None = None
    peak_share: float | None = None
    byte_rate: float | None = None
    copy_share: float | None = None


@dataclass
class Choice:
    """One pass of one problem: its candidates, the chosen one first, then the possible ones by modelled cost."""

    operation: str
    pass_: str
    problem: Problem
    candidates: list[Candidate]

    @property
    def chosen(self) -> Candidate | None:
        """The one that computes, or None if the backend in use has none."""
        return next((c for c in self.candidates if c.state == "chosen"), None)


@dataclass
class Explanation:
    """What `explain` returns: prints as a table; `choices` are the data, ``explanation["forward"]`` the first of that pass.

    Examples
    --------
    >>> import numpy as np
    >>> from lamella.problems import GemmProblem
    >>> explain(GemmProblem.of(8, 8, 8, np.dtype("float32")))["forward"].chosen.name
    'cy_packed'
    """

    isa: str
    backend: str
    threads: int
    choices: list[Choice]
    machine: dict[str, float] = field(default_factory=dict)  # measured: flop/s and bytes/s

    def __iter__(self) -> Iterator[Choice]:
        return iter(self.choices)

    def __getitem__(self, pass_: str) -> Choice:
        for choice in self.choices:
            if choice.pass_ == pass_:
                return choice
        raise KeyError(pass_)

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        rows = [{**asdict(choice), "problem": repr(choice.problem)} for choice in self.choices]
        return {"isa": self.isa, "backend": self.backend, "threads": self.threads, "machine": self.machine, "choices": rows}

    def __str__(self) -> str:
        lines = [f"instruction set {self.isa}, backend {self.backend}, {self.threads} thread{'s' * (self.threads > 1)}"]
        if self.machine:
            lines[0] += f"; FMA peak {self.machine['peak'] / 1e9:.0f} GF/s, copy {self.machine['bandwidth'] / 1e9:.0f} GB/s"
        problem = None
        for choice in self.choices:
            if choice.problem is not problem:
                problem = choice.problem
                lines += ["", f"{choice.operation}: {problem}"]
            lines += _table(choice, bool(self.machine))
        return "\n".join(lines)


def _bytes(n: int) -> str:
    return f"{n} B" if n < 10_000 else f"{n / 1e3:.0f} kB" if n < 10_000_000 else f"{n / 1e6:.0f} MB"


def _table(choice: Choice, timed: bool) -> list[str]:
    head = [choice.pass_, "", "kcycles", "scratch", "per thread", "transformed"]
    head += ["ms", "GF/s", "of peak", "GB/s", "of copy"] if timed else []
    rows = [head]
    for c in choice.candidates:
        cells = [f"  {c.name}", f"{c.state}{': ' if c.why else ''}{c.why}", "" if c.cost is None else f"{c.cost / 1e3:.0f}"]
        cells += ["", "", ""] if c.state == "refused" else [_bytes(c.shared), _bytes(c.per_thread), _bytes(c.transformed)]
        if timed and c.seconds is not None:
            assert c.flop_rate is not None and c.peak_share is not None and c.byte_rate is not None and c.copy_share is not None
            cells += [
                f"{c.seconds * 1e3:.4g}",
                f"{c.flop_rate / 1e9:.1f}",
                f"{c.peak_share:.0%}",
                f"{c.byte_rate / 1e9:.1f}",
                f"{c.copy_share:.0%}",
            ]
        rows.append(cells + [""] * (len(head) - len(cells)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return ["  ".join(cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))).rstrip() for row in rows]


def _why(chosen: Candidate, possible: list[Candidate], operation: str, pass_: str, p: Problem) -> str:
    setting = registry.setting_in_use()
    if operation in dict(setting.overrides):
        return "forced by use_backend"
    if chosen.backend == "user":
        return "your own kernel goes first"
    if p.algorithm != "auto":
        return f"algorithm={p.algorithm!r}"
    rivals = [c for c in possible if c.backend == chosen.backend and c is not chosen]
    if not rivals:
        return "the only one of its backend"
    if chosen.name in registry.measured_order(operation, pass_, p):
        return "fastest in the tuning table"
    lowest = chosen.cost is not None and all(c.cost is None or chosen.cost < c.cost for c in rivals)
    return "lowest modelled cost" if lowest else "first in the list of equal cost"


def _choice(operation: str, pass_: str, p: Problem) -> Choice:
    setting = registry.setting_in_use()
    eligible = [row.name for row in registry.candidates(operation, pass_, p, setting.backend, setting.winograd)]
    forced = dict(setting.overrides).get(operation)
    found = []
    for row, kernel, why in candidates(operation, pass_, p):
        cost = row.cost(pass_, p, registry.ISA) if row.cost is not registry.no_cost and kernel else None
        c = Candidate(row.name, row.backend, "refused", why, cost)
        if kernel is not None:
            c.state = "possible" if row.name in ([forced] if forced else eligible) else "other backend"
            c.shared, c.per_thread = kernel.shared, kernel.per_thread
            if row.functions is None:
                transformed = getattr(kernels.load(operation, row.name), "transformed", None)
                c.transformed = int(transformed(pass_, p)) if transformed else 0
        found.append(c)
    possible = [c for c in found if c.state == "possible"]
    try:
        name = registry.select(operation, pass_, p).name
    except (RuntimeError, ValueError):
        name = None
    for c in possible:
        if c.name == name:
            c.state, c.why = "chosen", _why(c, possible, operation, pass_, p)
    place = {"chosen": 0, "possible": 1, "other backend": 2, "refused": 3}
    rank = {c.name: i for i, c in enumerate(found)}
    order = sorted(found, key=lambda c: (place[c.state], eligible.index(c.name) if c.name in eligible else rank[c.name]))
    return Choice(operation, pass_, p, order)


def _measure(choice: Choice, machine: dict[str, float], rounds: int, seconds: float) -> None:
    p, operation, pass_ = choice.problem, choice.operation, choice.pass_
    those = [
        kernel
        for row, kernel, _ in candidates(operation, pass_, p)
        if kernel is not None and (row.backend != "reference" or p.flops <= SLOW)
    ]
    times, moved = measured(operation, pass_, p, those, rounds, seconds)
    for c in choice.candidates:
        if (took := times.get(c.name)) is not None:
            c.seconds, c.flop_rate, c.byte_rate = took, p.flops / took, moved / took
            c.peak_share, c.copy_share = c.flop_rate / machine["peak"], c.byte_rate / machine["bandwidth"]


def explain(
    what: Problem | Callable[..., Any], *arguments: Any, measure: bool = False, rounds: int = 5, seconds: float = 0.005, **options: Any
) -> Explanation:
    """Say what computes a problem under the backend in use, what else could, and why the choice fell as it did.

    Parameters
    ----------
    what : Problem or callable
        A problem: each of its passes is explained. A function or model: it is called with the remaining arguments, and every kernel that the call
        chooses is explained.
    *arguments, **options
        Of the callable.
    measure : bool
        Time every candidate, too, in turns, beside FMA peak and copy bandwidth of this machine.
    rounds : int
        How often each is timed; the median counts.
    seconds : float
        For how long a short one is repeated in a round.

    Returns
    -------
    Explanation : prints as a table, holds the same as data

    Raises
    ------
    TypeError
        Neither a Problem nor a callable.

    Examples
    --------
    >>> import numpy as np, lamella
    >>> e = explain(lamella.functional.conv2d, np.ones((1, 1, 9, 9), np.float32), np.ones((8, 1, 3, 3), np.float32))
    >>> [(choice.operation, choice.pass_, choice.chosen.backend) for choice in e]
    [('conv2d', 'forward', 'cython')]
    >>> print(explain(e["forward"].problem))  # doctest: +ELLIPSIS
    instruction set ..., backend auto, ...
    <BLANKLINE>
    conv2d: Conv2dProblem((1, 1, 9, 9), (8, 1, 3, 3), dtype('float32'), ...
    forward ...
    """
    if isinstance(what, Problem):
        passes = registry.OPERATIONS[what.operation].passes
        wanted = [(what.operation, pass_, what) for pass_ in passes if what.has(pass_)]
    elif callable(what):
        with registry.recorded_choices() as wanted:
            what(*arguments, **options)
    else:
        raise TypeError(f"explain: expected a Problem or a callable, got {type(what).__name__}")
    threads = registry.pool.get_num_threads()
    explanation = Explanation(registry.ISA, registry.get_backend(), threads, [_choice(*w) for w in wanted])
    if measure:
        explanation.machine = machine(threads)
        for choice in explanation.choices:
            _measure(choice, explanation.machine, rounds, seconds)
    return explanation
