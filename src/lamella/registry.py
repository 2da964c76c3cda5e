"""Which implementation computes a pass of a problem.

OPERATIONS holds ONE list of implementations per operation. Those that accept
the problem are ranked by a cost model of problem and instruction set (never of
timing or threads, so that runs repeat); list order breaks ties; ``ref`` closes
every list. Where a user has loaded a table of measurements (lamella.tuning), it
goes before the cost model. A forced backend never falls back to ``ref`` silently.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import lamella.kernels as kernels
from lamella import cost
from lamella.core import ALIGN as ALIGN
from lamella.core import EMPTY as EMPTY
from lamella.core import Kernel, choose_by, default_setting, forget_choices, setting, setting_in_use
from lamella.core import scratch as scratch
from lamella.core import select as select
from lamella.kernels._common import cpu
from lamella.kernels._common import pool as pool
from lamella.problems import Problem

BACKENDS = ("auto", "cython", "numba", "reference")
_PREFIX = {"cython": "cy_", "numba": "nb_", "reference": "ref"}
ISA: str = kernels.ISA


def always(p: Any) -> bool:
    return True


def no_cost(pass_: str, p: Any, isa: str) -> float:
    return 0.0


@dataclass(frozen=True)
class Implementation:
    """One row: a file of the operation's folder (or a user's function), the problems it accepts and what they cost it."""

    name: str
    accepts: Callable[[Any], bool] = always
    cost: Callable[[str, Any, str], float] = no_cost
    functions: dict[str, Callable] | None = None  # a user's kernel: pass -> function

    @property
    def backend(self) -> str:
        if self.functions is not None:
            return "user"
        return next(backend for backend, prefix in _PREFIX.items() if self.name.startswith(prefix))

    @property
    def algorithm(self) -> str:
        """The name without its backend's prefix: what ``algorithm=`` of a function asks for."""
        return self.name.removeprefix(_PREFIX.get(self.backend, ""))


@dataclass(frozen=True)
class Operation:
    """An operation's passes, with the names of their arrays, and its implementations.

    Passes are written ``forward(p, x, out, scratch)``; outputs are the names after the bar: ``"x | out"``. Arrays that are read and
    changed in place stand after a second bar, and come last: ``"g | | param buf"``.
    """

    passes: dict[str, str]
    implementations: list[Implementation] = field(default_factory=list)

    def arguments(self, pass_: str) -> tuple[list[str], list[str]]:
        """The names of the inputs, and of the arrays written: outputs, then those updated in place."""
        inputs, *written = self.passes[pass_].split("|")
        return inputs.split(), " ".join(written).split()

    def updated(self, pass_: str) -> int:
        """How many of the arrays written, the last ones, are updated in place."""
        return len(self.passes[pass_].split("|")[2].split()) if self.passes[pass_].count("|") > 1 else 0


def rows(*names: str) -> list[Implementation]:
    return [Implementation(name) for name in names]


OPERATIONS: dict[str, Operation] = {
    "gemm": Operation(
        {"forward": "a b bias c | out", "backward_bias": "g | db"}, rows("cy_packed", "cy_sums", "nb_packed", "nb_sums", "ref")
    ),
    "batchnorm": Operation(
        {
            "forward_train": "x weight bias residual | out mean var",
            "forward_eval": "x weight bias mean var residual | out",
            "backward": "g x weight bias mean var out | dx dw db dresidual",
            "backward_eval": "g x weight bias mean var out | dx dw db dresidual",
        },
        rows("cy_chunked", "nb_chunked", "ref"),
    ),
    "cascade": Operation(
        {
            "forward": "sum squared tilted rectangles weights slanted nodes thresholds leaves trees stages limits | reached score",
        },
        rows("cy_blocks", "nb_blocks", "ref"),
    ),
    "conv2d": Operation(
        {"forward": "x w b | out", "backward_input": "g w | dx", "backward_weight": "x g | dw db"},
        [
            Implementation("cy_depthwise3x3", accepts=lambda p: p.groups == p.ic == p.oc and (p.kh, p.kw) == (3, 3)),
            Implementation("cy_depthwise", accepts=lambda p: p.groups == p.ic == p.oc),
            Implementation("cy_direct", cost=cost.conv2d_direct),
            Implementation("cy_grouped", accepts=lambda p: cost.fills_lanes(p, ISA), cost=cost.conv2d_grouped),
            Implementation("cy_im2col", cost=cost.conv2d_im2col),
            Implementation("cy_lanes", accepts=cost.few_channels, cost=cost.conv2d_lanes),
            Implementation("cy_pixels", accepts=cost.few_pixels, cost=cost.conv2d_pixels),
            Implementation("cy_single", accepts=cost.single_channel, cost=cost.conv2d_single),
            Implementation("cy_winograd_f2", accepts=cost.winograd_applies, cost=cost.conv2d_winograd_f2),
            Implementation("cy_winograd_f4", accepts=cost.winograd_applies, cost=cost.conv2d_winograd_f4),
            Implementation("cy_winograd_rows", accepts=cost.winograd_rows_apply, cost=cost.conv2d_winograd_rows),
            Implementation("nb_depthwise3x3", accepts=lambda p: p.groups == p.ic == p.oc and (p.kh, p.kw) == (3, 3)),
            Implementation("nb_depthwise", accepts=lambda p: p.groups == p.ic == p.oc),
            Implementation("nb_direct", cost=cost.conv2d_direct),
            Implementation("nb_grouped", accepts=lambda p: cost.fills_lanes(p, ISA), cost=cost.conv2d_grouped),
            Implementation("nb_im2col", cost=cost.conv2d_im2col),
            Implementation("nb_lanes", accepts=cost.few_channels, cost=cost.conv2d_lanes),
            Implementation("nb_pixels", accepts=cost.few_pixels, cost=cost.conv2d_pixels),
            Implementation("nb_single", accepts=cost.single_channel, cost=cost.conv2d_single),
            Implementation("nb_winograd_f2", accepts=cost.winograd_applies, cost=cost.conv2d_winograd_f2),
            Implementation("nb_winograd_f4", accepts=cost.winograd_applies, cost=cost.conv2d_winograd_f4),
            Implementation("nb_winograd_rows", accepts=cost.winograd_rows_apply, cost=cost.conv2d_winograd_rows),
            Implementation("ref"),
        ],
    ),
    "activation": Operation({"forward": "x | out", "backward": "g saved | dx"}, rows("cy_flat", "nb_flat", "ref")),
    "arithmetic": Operation({"forward": "x y | out"}, rows("cy_flat", "nb_flat", "ref")),
    "augment": Operation(
        {"forward": "x matrix values key normal erase channels | out", "mix": "x partner weight box | out"},
        rows("cy_images", "nb_images", "ref"),
    ),
    "groupnorm": Operation(
        {"forward": "x weight bias | out mean var", "backward": "g x weight mean var | dx dw db"}, rows("cy_images", "nb_images", "ref")
    ),
    "integral": Operation(
        {"forward": "x | out", "squared": "x | out squared", "tilted": "x | out squared tilted"}, rows("cy_scan", "nb_rows", "ref")
    ),
    "optimizer": Operation(
        {
            "adadelta": "h g | | param v delta",
            "adam": "h g | | param m v vmax",
            "adamax": "h g | | param m u",
            "rms": "h g | | param v mean buf",
            "sgd": "h g | | param buf",
            "sign": "h g | | param m",
        },
        rows("cy_flat", "nb_flat", "ref"),
    ),
    "pool2d": Operation({"forward": "x | out where", "backward": "g x out where | dx"}, rows("cy_last", "nb_last", "ref")),
    "recurrent": Operation(
        {
            "forward": "w b h0 c0 steps | out kept cn | gates",
            "backward": "g dcn w gates out kept h0 c0 steps | da dkept dh0 dc0",
        },
        rows("cy_rows", "nb_rows", "ref"),
    ),
    "reorder": Operation({"forward": "x | out"}, rows("cy_blocked", "nb_blocked", "ref")),
    "resample": Operation({"forward": "x | out"}, rows("cy_lines", "nb_lines", "ref")),
    "softmax": Operation(
        {
            "forward": "x | out",
            "backward": "g y | dx",
            "log_forward": "x | out",
            "log_backward": "g y | dx",
            "cross_entropy_forward": "x target weight | loss stats total",
            "cross_entropy_backward": "g x target weight stats total | dx",
            "cross_entropy_soft_forward": "x target weight | loss stats",
            "cross_entropy_soft_backward": "g x target weight stats | dx",
            "nll_forward": "x target weight | loss total",
            "nll_backward": "g target weight total | dx",
        },
        rows("cy_rows", "nb_rows", "ref"),
    ),
    "stumps": Operation(
        {"values": "sum norm rectangles weights | out", "sort": "x | order", "choose": "order weight | extreme cut"},
        rows("cy_radix", "nb_radix", "ref"),
    ),
}


class Setting(NamedTuple):
    """What a choice depends on besides the problem: a part of its key."""

    backend: str = "auto"
    overrides: tuple[tuple[str, str], ...] = ()  # (operation, implementation)
    winograd: bool = True


default_setting(Setting())


class _Choice:
    """Changes some fields of the setting: of the default when made, of a block's own when used in ``with``."""

    def __init__(self, **fields: Any):
        self._fields = fields
        self._before = default_setting()
        self._new = default_setting(self._before._replace(**fields))

    def __enter__(self) -> Self:
        if default_setting() is self._new:
            default_setting(self._before)
        self._token = setting.set(setting_in_use()._replace(**self._fields))
        return self

    def __exit__(self, *exc: object) -> None:
        setting.reset(self._token)


def _checked(backend: str, overrides: dict[str, str]) -> dict[str, Any]:
    if backend not in BACKENDS:
        raise ValueError(f"use_backend: expected one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "numba" and importlib.util.find_spec("numba") is None:
        raise RuntimeError("use_backend('numba'): Numba is not installed; run: pip install 'lamella[numba]'")
    for operation, name in overrides.items():
        if operation not in OPERATIONS:
            raise ValueError(f"use_backend: no operation {operation!r}; there are {', '.join(OPERATIONS)}")
        names = [row.name for row in OPERATIONS[operation].implementations]
        if name not in names:
            raise ValueError(f"use_backend: {operation} has no implementation {name!r}; there are {', '.join(names)}")
    return {"backend": backend, "overrides": tuple(sorted(overrides.items()))}


class use_backend(_Choice):
    """Choose who computes: globally when called, until the end of the block when used in ``with``.

    Parameters
    ----------
    backend : {"auto", "cython", "numba", "reference"}
        "auto" takes a user's own kernels first, then Cython. The others take only their own kind, and raise
        RuntimeError where it does not accept a problem. Also set by the environment variable LAMELLA_BACKEND.
    **overrides : operation=implementation
        Force one implementation of one operation, e.g. ``conv2d="cy_im2col"``.

    Examples
    --------
    >>> import lamella, numpy as np
    >>> with lamella.use_backend("reference"):
    ...     lamella.functional.relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    def __init__(self, backend: str = "auto", **overrides: str):
        super().__init__(**_checked(backend, overrides))


class allow_winograd(_Choice):
    """Allow or refuse Winograd convolutions: globally when called, until the end of the block when used in ``with``.

    They multiply a quarter (algorithm "winograd_f4") or less than half ("winograd_f2") of what the formula says, and lose one to two of
    float32's seven digits. They are allowed unless the environment variable LAMELLA_ALLOW_WINOGRAD is 0. Where they are refused,
    asking for one by ``algorithm=`` or ``use_backend`` is a RuntimeError.

    Parameters
    ----------
    allowed : bool

    Examples
    --------
    >>> import lamella
    >>> with lamella.allow_winograd(False):
    ...     out = lamella.functional.conv2d(np.ones((1, 64, 8, 8)), np.ones((64, 64, 3, 3)))
    """

    def __init__(self, allowed: bool):
        super().__init__(winograd=bool(allowed))


def get_backend() -> str:
    """The backend in use here.

    Examples
    --------
    >>> import lamella
    >>> with lamella.use_backend("reference"):
    ...     lamella.get_backend()
    'reference'
    """
    return setting_in_use().backend


if os.environ.get("LAMELLA_BACKEND"):
    use_backend(os.environ["LAMELLA_BACKEND"])
if os.environ.get("LAMELLA_ALLOW_WINOGRAD"):
    allow_winograd(os.environ["LAMELLA_ALLOW_WINOGRAD"] != "0")


def _load(operation: str, row: Implementation, pass_: str, p: Problem) -> Kernel | None:
    if not p.has(pass_):
        return None
    if row.functions is not None:
        function = row.functions.get(pass_)
        return None if function is None else Kernel(row.name, function, 0, 0)
    module = kernels.load(operation, row.name)
    function = getattr(module, pass_, None)
    if function is None or (hasattr(module, "accepts") and not module.accepts(pass_, p)):
        return None
    shared, per_thread = module.scratch(pass_, p) if hasattr(module, "scratch") else (0, 0)
    return Kernel(row.name, function, shared, per_thread)


def _allowed(row: Implementation, p: Problem, winograd: bool) -> bool:
    """Whether the caller's wishes leave an implementation eligible; the reference computes whatever algorithm was asked for."""
    if not winograd and row.algorithm.startswith("winograd"):
        return False
    return p.algorithm in ("auto", row.algorithm)


# By key, the measured order of implementations, best first (lamella.tuning loads it): it goes before the cost model
_measured: dict[tuple, dict[str, int]] = {}


def tuning_key(operation: str, pass_: str, isa: str, dtype: str, geometry: Iterable[int]) -> tuple:
    """What a measurement is valid for."""
    return operation, pass_, isa, dtype, *geometry


def measured_order(operation: str, pass_: str, p: Problem) -> dict[str, int]:
    """Implementation -> its place among those measured, in the tuning table in use; empty where nothing was measured."""
    return _measured.get(tuning_key(operation, pass_, ISA, p.dtype.name, p.geometry.tolist()), {}) if _measured else {}


def order_by(measured: dict[tuple, dict[str, int]]) -> None:
    """Use these measured orders from now on, and no others."""
    global _measured
    _measured = measured
    forget_choices()


@contextlib.contextmanager
def recorded_choices() -> Iterator[list[tuple[str, str, Problem]]]:
    """In the block, collect each (operation, pass, problem) a kernel is chosen for, once."""
    seen: dict[tuple[str, str, Problem], None] = {}
    found: list[tuple[str, str, Problem]] = []

    def choose(operation: str, pass_: str, p: Problem, *setting: Any) -> Kernel:
        seen.setdefault((operation, pass_, p))
        return _select(operation, pass_, p, *setting)

    forget_choices()
    choose_by(choose)
    try:
        yield found
    finally:
        choose_by(_select)
        found += seen


def candidates(operation: str, pass_: str, p: Problem, backend: str = "auto", winograd: bool = True) -> list[Implementation]:
    """The implementations of a backend that accept the problem, best first for this pass: those measured, then by modelled cost."""
    kinds = {"auto": ("user", "cython", "reference")}.get(backend, (backend,))
    accepted = [
        row
        for row in OPERATIONS[operation].implementations
        if row.backend in kinds and row.accepts(p) and (backend == "reference" or _allowed(row, p, winograd))
    ]
    place = measured_order(operation, pass_, p)
    return sorted(accepted, key=lambda row: (kinds.index(row.backend), place.get(row.name, len(place)), row.cost(pass_, p, ISA)))


def _select(operation: str, pass_: str, p: Problem, backend: str, overrides: tuple[tuple[str, str], ...], winograd: bool) -> Kernel:
    if p.algorithm != "auto":
        names = dict.fromkeys(row.algorithm for row in OPERATIONS[operation].implementations)
        if p.algorithm not in names:
            raise ValueError(f"{operation}: algorithm must be auto or one of {', '.join(names)}; got {p.algorithm!r}")
    if name := dict(overrides).get(operation):
        row = next(row for row in OPERATIONS[operation].implementations if row.name == name)
        if not winograd and row.algorithm.startswith("winograd"):
            raise RuntimeError(f"{operation}: {name}, forced by use_backend, is refused by allow_winograd(False)")
        kernel = _load(operation, row, pass_, p) if row.accepts(p) else None
        if kernel is None:
            raise RuntimeError(f"{operation}: {name}, forced by use_backend, has no {pass_} for {p}")
        return kernel
    for row in candidates(operation, pass_, p, backend, winograd):
        kernel = _load(operation, row, pass_, p)
        if kernel is not None:
            return kernel
    if p.algorithm != "auto":
        if not winograd and p.algorithm.startswith("winograd"):
            raise RuntimeError(f"{operation}: algorithm={p.algorithm!r} is refused by allow_winograd(False)")
        raise ValueError(
            f"{operation}: algorithm={p.algorithm!r} of the backend {backend!r} does not apply to {p}; algorithm='auto' finds one that does"
        )
    raise RuntimeError(f"{operation}: the backend {backend!r} has no {pass_} for {p}; use_backend('auto') has one")


choose_by(_select)


def register_kernel(op: str, pass_: str, fn: Callable, accepts: Callable[[Any], bool] = always, name: str | None = None) -> Callable:
    """Add a kernel of your own: from now on it is dispatched first, and tested and timed like ours.

    Parameters
    ----------
    op, pass_ : str
        The operation and the pass it computes, e.g. "conv2d", "forward".
    fn : callable
        ``fn(p, *inputs, *outputs, scratch)``, with the arguments of the operation's reference
        (``lamella.kernels.<op>.ref.<pass>``); every output must be written completely.
    accepts : callable, optional
        ``accepts(p) -> bool``: the problems it can compute. Default: all.
    name : str, optional
        Default: the function's name. A later kernel of the same name replaces it, pass by pass.

    Returns
    -------
    fn, so that it can be used as a decorator through functools.partial.

    Raises
    ------
    ValueError
        No such operation or pass.

    Examples
    --------
    >>> import lamella, numpy as np
    >>> def my_relu(p, x, out, scratch):
    ...     np.maximum(x, 0, out=out)
    >>> _ = lamella.register_kernel("activation", "forward", my_relu, accepts=lambda p: p.function == "relu")
    >>> lamella.functional.relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    >>> lamella.unregister_kernel("activation", "my_relu")
    """
    if op not in OPERATIONS:
        raise ValueError(f"register_kernel: no operation {op!r}; there are {', '.join(OPERATIONS)}")
    if pass_ not in OPERATIONS[op].passes:
        raise ValueError(f"register_kernel: {op} has no pass {pass_!r}; there are {', '.join(OPERATIONS[op].passes)}")
    name = name or fn.__name__
    listed = OPERATIONS[op].implementations
    for row in listed:
        if row.name == name and row.functions is None:
            raise ValueError(f"register_kernel: {name!r} is the name of a built-in implementation of {op}; choose another")
    functions = next((row.functions for row in listed if row.name == name), None) or {}
    listed[:] = [Implementation(name, accepts, functions={**functions, pass_: fn})] + [row for row in listed if row.name != name]
    forget_choices()
    return fn


def unregister_kernel(op: str, name: str) -> None:
    """Remove a kernel added by `register_kernel`.

    Parameters
    ----------
    op, name : str
        The operation and the name under which the kernel was registered.

    Raises
    ------
    ValueError
        No such operation or kernel.

    Examples
    --------
    >>> import lamella
    >>> _ = lamella.register_kernel("activation", "forward", lambda p, x, out, scratch: None, name="mine")
    >>> lamella.unregister_kernel("activation", "mine")
    """
    if op not in OPERATIONS:
        raise ValueError(f"unregister_kernel: no operation {op!r}; there are {', '.join(OPERATIONS)}")
    listed = OPERATIONS[op].implementations
    kept = [row for row in listed if row.functions is None or row.name != name]
    if len(kept) == len(listed):
        raise ValueError(f"unregister_kernel: {op} has no registered kernel {name!r}")
    listed[:] = kept
    forget_choices()


def isas() -> Iterator[str]:
    """Instruction sets this installation holds and this processor executes, best first."""
    for isa in cpu.supported():
        if importlib.util.find_spec(f"lamella.kernels.gemm.cy_packed__{isa}"):
            yield isa
