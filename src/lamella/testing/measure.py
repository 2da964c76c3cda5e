"""Timing of kernels in this process, and what the machine can do at most."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from lamella import registry
from lamella.kernels._common import probe
from lamella.testing.cases import ROWS

SLOW = 2e8  # flops that are too many for the reference


def timed(call: Callable[[], Any], seconds: float, waking: float = 0.0) -> float:
    """Seconds per call, of as many calls as take about that long together; what takes longer is called once.

    Before, it is called untimed until `waking` seconds have passed.
    """
    once = _repeated(call, waking)
    if once >= seconds and not waking:
        return once
    count = max(1, round(seconds / max(once, 1e-7)))
    span = range(count)
    start = time.perf_counter()
    for _ in span:
        call()
    return (time.perf_counter() - start) / count


def _repeated(call: Callable[[], Any], seconds: float) -> float:
    """Call it, once or for that long; seconds of the last call."""
    start = now = time.perf_counter()
    while True:
        call()
        last, now = now, time.perf_counter()
        if now - start >= seconds:
            return now - last


@lru_cache(maxsize=1)
def _buffers(nbytes: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(nbytes, np.uint8), np.ones(nbytes, np.uint8)


def machine(threads: int, nbytes: int = 1 << 27, waking: float = 0.0) -> dict[str, float]:
    """FMA peak (flop/s, float32), and bytes read and written per second by a copy of that working set with ordinary stores; the better of two.

    Before, all threads compute untimed until `waking` seconds have passed.

    Examples
    --------
    >>> sorted(machine(1, 1 << 20))
    ['bandwidth', 'peak']
    """
    to, origin = _buffers(max(nbytes // 2, 1 << 16))
    _repeated(partial(probe.peak, threads, 1), waking)
    probe.copy(threads, to, origin)
    times = max(1, (1 << 23) // origin.nbytes)  # a small copy is repeated until it takes some time

    def copies() -> float:
        return sum(probe.copy(threads, to, origin) for _ in range(times)) / times

    best = 0.0
    for _ in range(2):
        total, flops, seconds = probe.peak(threads, 2)
        assert 2 * total == flops  # every multiply-add was executed
        best = max(best, flops / seconds)
    return {"peak": best, "bandwidth": 2 * origin.nbytes / min(copies(), copies())}


def moved(operation: str, pass_: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Bytes a pass reads and writes, each once; of arrays updated in place, both."""
    updated = registry.OPERATIONS[operation].updated(pass_)
    arrays = [*inputs, *outputs, *outputs[len(outputs) - updated :]]
    return sum(x.nbytes for x in arrays if x is not None)


def measured(
    operation: str, pass_: str, p: Any, kernels: Sequence[registry.Kernel], rounds: int = 5, seconds: float = 0.005
) -> tuple[dict[str, float], int]:
    """Time kernels that compute the same, in turns.

    Returns
    -------
    seconds : dict
        By name, the median over the rounds.
    bytes : int
        What the pass moves.

    Raises
    ------
    RuntimeError
        Two of them compute different things.
    """
    inputs, outputs = ROWS[operation].make(p, pass_, np.random.default_rng(0), False)
    updated = registry.OPERATIONS[operation].updated(pass_)
    start = [None if x is None else x.copy(order="K") for x in outputs[len(outputs) - updated :]]
    results: dict[str, list[Any]] = {}
    for kernel in kernels:  # this compiles and warms up, too
        for x, before in zip(outputs[len(outputs) - updated :], start):
            if x is not None and before is not None:
                x[...] = before
        kernel(p, *inputs, *outputs)
        results[kernel.name] = [sample(x) for x in outputs if x is not None and x.dtype.kind == "f"]
    first, *others = results
    for other in others:
        for a, b in zip(results[first], results[other]):
            if not np.abs(a - b).max(initial=0) <= 1e-3 * np.abs(a).max(initial=1e-30):
                raise RuntimeError(f"{operation}.{other}.{pass_} computes something else than {first} on {p}: nothing to compare")
    times: dict[str, list[float]] = {kernel.name: [] for kernel in kernels}
    for number in range(rounds):
        turn = number % len(kernels)
        for kernel in (*kernels[turn:], *kernels[:turn]):
            times[kernel.name].append(timed(partial(kernel, p, *inputs, *outputs), seconds))
    return {name: statistics.median(values) for name, values in times.items()}, moved(operation, pass_, inputs, outputs)


def sample(x: np.ndarray, count: int = 4096) -> np.ndarray:
    """Some values, spread over an array, in an order that does not depend on its memory."""
    where = np.linspace(0, x.size - 1, min(x.size, count)).astype(np.int64)
    return np.atleast_1d(x)[np.unravel_index(where, np.atleast_1d(x).shape)].astype(np.float64)
