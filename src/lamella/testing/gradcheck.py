"""Gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lamella.nn.module import Module
from lamella.tensor import Tensor, no_grad

__all__ = ["gradcheck", "numeric_gradient"]

FULL = 4096  # entries of a Jacobian that are still checked one by one


def numeric_gradient(f: Callable[[Any], Any], x: Any, h: float = 1e-6, form: str = "central") -> np.ndarray:
    """The gradient of a function by finite differences, one element after another, in float64.

    Parameters
    ----------
    f : callable
        Takes an array like x, returns one number.
    x : array or Tensor
    h : float
        The step.
    form : {"central", "forward"}
        (f(x + h) - f(x - h)) / 2h, whose error is O(h**2), or (f(x + h) - f(x)) / h, as courses introduce it, whose error is O(h).

    Returns
    -------
    float64 array of the shape of x

    Raises
    ------
    ValueError
        Another form, a step that is not positive, or f returns more than one number.

    Examples
    --------
    >>> f = lambda x: 0.5 * x**4 - 2 * x**2 + x + 5
    >>> numeric_gradient(f, np.array(-2.0)).round(6), numeric_gradient(f, np.array(-2.0), h=0.001, form="forward").round(6)
    (np.float64(-7.0), np.float64(-6.990004))
    """
    if form not in ("central", "forward"):
        raise ValueError(f"numeric_gradient: form must be 'central' or 'forward', got {form!r}")
    if not h > 0:
        raise ValueError(f"numeric_gradient: expected a positive step h, got {h}")
    tensor = isinstance(x, Tensor)
    at = np.array(x.data if tensor else x, dtype=np.float64)

    def value() -> float:
        with no_grad():
            out = f(Tensor(at.copy()) if tensor else at.copy())
        out = np.asarray(out.data if isinstance(out, Tensor) else out)
        if out.size != 1:
            raise ValueError(f"numeric_gradient: f must return one number, got shape {out.shape}")
        return float(out.reshape(()))

    gradient = np.empty(at.shape)
    middle = value() if form == "forward" else 0.0
    for i in np.ndindex(at.shape):
        kept = at[i]
        at[i] = kept + h
        high = value()
        if form == "forward":
            gradient[i] = (high - middle) / h
        else:
            at[i] = kept - h
            gradient[i] = (high - value()) / (2 * h)
        at[i] = kept
    return gradient


def _outputs(fn: Callable[..., Any], arguments: Sequence[Any]) -> list[Tensor]:
    out = fn(*arguments)
    outputs = list(out) if isinstance(out, (tuple, list)) else [out]
    kept = [o for o in outputs if isinstance(o, Tensor) and o.dtype == np.float64]
    if not kept:
        raise ValueError("gradcheck: fn returned no float64 Tensor")
    return kept


def _flat(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.ravel(a) for a in arrays]) if arrays else np.empty(0)


def _with_parameters(module: Module, inputs: list[Any]) -> tuple[Callable[..., Any], list[Any]]:
    """A function of a module's inputs and parameters, and what to call it with."""
    places = [(m, name, p) for m in module.modules() for name, p in m._parameters.items() if p is not None and p.requires_grad]
    own = list({id(p): p for *_, p in places}.values())

    def call(*given: Any) -> Any:
        stands_for = {id(p): value for p, value in zip(own, given[len(inputs) :])}
        try:
            for m, name, p in places:
                m._parameters[name] = stands_for[id(p)]
            return module(*given[: len(inputs)])
        finally:
            for m, name, p in places:
                m._parameters[name] = p

    return call, [*inputs, *own]


def gradcheck(
    fn: Callable[..., Any],
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    *,
    directions: int = 8,
    seed: int = 0,
    raise_exception: bool = True,
) -> bool:
    """Compare the gradients that the tape computes with central differences in float64.

    Parameters
    ----------
    fn : callable or Module
        Takes the inputs, returns a Tensor or several; the same numbers every time. Of a Module, all parameters are checked as well.
    inputs : Tensor or sequence
        Those that require a gradient must be float64; they are checked. Others are passed on.
    eps : float
        The step.
    atol, rtol : float
        Allowed: ``|analytic - numeric| <= atol + rtol * |numeric|``.
    directions : int
        A Jacobian of up to 4096 entries is checked entry by entry; of a larger one, this many random directions:
        ``<v, J u>`` by differences and ``<J' v, u>`` by the tape.
    seed : int
        Of the directions.
    raise_exception : bool
        Or return False.

    Returns
    -------
    True, where all agree

    Raises
    ------
    AssertionError
        With the worst entry: which output, which input, both numbers.
    ValueError, TypeError
        Nothing to check, or an input that requires a gradient is not float64.

    Examples
    --------
    >>> import lamella
    >>> x = lamella.randn(3, 4, dtype="float64", requires_grad=True)
    >>> gradcheck(lambda x: (x * x).sum(0), [x])
    True
    >>> gradcheck(lamella.nn.Linear(4, 2, dtype="float64"), x)
    True
    """
    if isinstance(fn, Module):
        fn, inputs = _with_parameters(fn, [inputs] if isinstance(inputs, Tensor) else list(inputs))
    arguments = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    checked = [i for i, x in enumerate(arguments) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError("gradcheck: expected at least one input that requires a gradient")
    for i in checked:
        if arguments[i].dtype != np.float64:
            raise TypeError(f"gradcheck: expected input {i} of float64, got {arguments[i].dtype}; differences in float32 are too coarse")

    def leaves(shift: dict[int, np.ndarray] | None = None, record: bool = False) -> list[Any]:
        made = list(arguments)
        for i in checked:
            data = arguments[i].data.copy(order="K")
            made[i] = Tensor(data if shift is None else data + shift[i], requires_grad=record)
        return made

    def values(shift: dict[int, np.ndarray]) -> np.ndarray:
        with no_grad():
            return _flat([o.data for o in _outputs(fn, leaves(shift))])

    def pulled(v: np.ndarray) -> list[np.ndarray]:
        """J' v: the gradients of <v, outputs>."""
        made = leaves(record=True)
        start = 0
        for out in (outputs := _outputs(fn, made)):
            part = v[start : start + out.data.size].reshape(out.shape)
            start += out.data.size
            if out.requires_grad and part.any():
                out.backward(part, retain_graph=len(outputs) > 1)
        return [np.zeros(made[i].shape) if made[i].grad is None else made[i].grad.data for i in checked]

    nothing = {i: np.zeros(arguments[i].shape) for i in checked}
    base = values(nothing)
    if not np.array_equal(base, values(nothing), equal_nan=True):
        raise ValueError("gradcheck: fn gave other numbers when called again; is there a dropout in it?")
    sizes = [arguments[i].data.size for i in checked]
    m, n = base.size, int(sum(sizes))
    faults = []  # (excess, text)
    count = 0

    def compare(analytic: np.ndarray, numeric: np.ndarray, describe: Callable[[int], str]) -> None:
        nonlocal count
        with np.errstate(invalid="ignore"):
            difference = np.abs(analytic - numeric)
            excess = difference - (atol + rtol * np.abs(numeric))
        wrong = ~(excess <= 0)
        count += int(wrong.sum())
        for j in np.flatnonzero(wrong):
            key = np.inf if np.isnan(excess[j]) else excess[j]
            faults.append(
                (key, f"{describe(int(j))}: analytic {analytic[j]:.10g}, numeric {numeric[j]:.10g}, difference {difference[j]:.3g}")
            )

    def split(flat: np.ndarray) -> dict[int, np.ndarray]:
        parts = np.split(flat, np.cumsum(sizes)[:-1])
        return {i: part.reshape(arguments[i].shape) for i, part in zip(checked, parts)}

    def input_name(j: int) -> str:
        for i, size in zip(checked, sizes):
            if j < size:
                return f"input {i}{[int(k) for k in np.unravel_index(j, arguments[i].shape)]}"
            j -= size
        raise IndexError

    if m * n <= FULL:
        numeric = np.empty((m, n))
        for j in range(n):
            step = np.zeros(n)
            step[j] = eps
            numeric[:, j] = (values(split(step)) - values(split(-step))) / (2 * eps)
        analytic = np.empty((m, n))
        for i in range(m):
            analytic[i] = _flat(pulled(np.eye(1, m, i)[0]))
        with no_grad():
            shapes = [o.shape for o in _outputs(fn, leaves())]

        def entry(at: int) -> str:
            i, j = divmod(at, n)
            for number, shape in enumerate(shapes):
                size = int(np.prod(shape))
                if i < size:
                    return f"d output {number}{[int(k) for k in np.unravel_index(i, shape)]} / d {input_name(j)}"
                i -= size
            raise IndexError

        compare(analytic.ravel(), numeric.ravel(), entry)
        of = m * n
    else:
        rng = np.random.default_rng(seed)
        of = directions * len(checked)
        for k in range(directions):
            v = rng.standard_normal(m)
            gradients = pulled(v)
            for i, gradient in zip(checked, gradients):
                u = rng.standard_normal(gradient.shape)
                forward, back = values({**nothing, i: eps * u}), values({**nothing, i: -eps * u})
                numeric_value = np.array([((forward - back) / (2 * eps) * v).sum()])
                text = f"direction {k} of input {i}, shape {gradient.shape}"
                compare(np.array([(gradient * u).sum()]), numeric_value, [text].__getitem__)
    if not faults:
        return True
    if not raise_exception:
        return False
    worst = max(faults)[1]
    raise AssertionError(f"gradcheck: {count} of {of} derivatives are wrong (atol {atol:g}, rtol {rtol:g}); the worst: {worst}")
