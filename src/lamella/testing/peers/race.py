"""Libraries in turns: each lives in a process of its own, and is stopped while another one computes: many a pool spins long after its work.
All keep to the same cores, as many as they have threads; these are kept awake (`awake`), and each peer is called for a while before the clock starts.

A round times every peer once, in an order that turns from round to round, and measures FMA peak and copy bandwidth beside them; ratios and shares are taken
within a round, and what counts is their median, with the 95 % interval of its order statistics. What the peers compute is compared before anything is timed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from lamella.testing.peers.cases import Case
from lamella.testing.peers.suites import LIBRARIES, SUITES

US, NUMBA = "lamella:cython", "lamella:numba"
PEERS = (US, NUMBA, "torch:contiguous", "torch:channels_last", "onnxruntime:", "cv2:", "numpy:")
COMPILED = ("torch:contiguous+compiled", "torch:channels_last+compiled")
ORDINARY, ALONE = "lamella:cython, ordinary numbers", "lamella:cython, 1 thread"
HOPELESS = 2.0  # what takes so many times the time of its library's best memory format in the first round is not asked again
SELDOM = 3  # Numba and one thread alone are asked every so many rounds: their figures are means over many cases
HEAVY = 1e8  # flops from which two threads have to gain as much as the FMA peak does
WAKING = 0.01  # seconds of calls before the clock starts


class Peer:
    """One library in its process."""

    def __init__(self, name: str, threads: int):
        self.name, self.threads = name, threads
        pools = ("OMP", "MKL", "OPENBLAS", "LAMELLA")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lamella.testing.peers.worker", name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **{f"{pool}_NUM_THREADS": str(threads) for pool in pools}},
        )

    def send(self, **request: Any) -> None:
        assert self.process.stdin
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} died")
        self.process.send_signal(signal.SIGSTOP)
        return json.loads(line)

    def ask(self, **request: Any) -> Any:
        self.send(**request)
        return self.answer()

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:  # in the middle of something, while another one failed
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def cores(threads: int) -> list[int]:
    """The cores that peers of so many threads keep to; none where the system does not say."""
    return sorted(os.sched_getaffinity(0))[:threads] if hasattr(os, "sched_getaffinity") else []


@contextlib.contextmanager
def together(names: Iterable[str], threads: int) -> Iterator[list[Peer]]:
    """The peers of these names, on cores that are kept awake; all processes end with the block."""
    with contextlib.ExitStack() as stack:
        for core in cores(threads):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-m", "lamella.testing.peers.awake", str(core)]))
            stack.callback(process.kill)
        yield [stack.enter_context(contextlib.closing(Peer(name, threads))) for name in names]


def available(names: Iterable[str] = PEERS) -> list[str]:
    """Those of the peers that are installed."""
    return [
        name
        for name in names
        if importlib.util.find_spec(_library(name)) and (name != NUMBA or importlib.util.find_spec("numba"))
    ]  # fmt: skip


def median_interval(values: list[float]) -> tuple[float, float, float]:
    """The median and its 95 % interval from order statistics (all values, where there are fewer than six)."""
    ordered = sorted(values)
    n = len(ordered)
    k = max(0, int((n - 1.96 * n**0.5) / 2))
    return statistics.median(ordered), ordered[k], ordered[n - 1 - k]


def _library(peer: str) -> str:
    return peer.partition(":")[0]


def _same(where: str, name: str, got: list[Any], reference: list[Any]) -> None:
    for (shape, values), (expected_shape, expected) in zip(got, reference, strict=True):
        scale = np.abs(expected).max(initial=0) + 1e-30
        if shape != expected_shape or not np.abs(np.subtract(values, expected)).max(initial=0) <= 1e-3 * scale:
            raise RuntimeError(f"{where}: {name} computes something else than {US}: nothing to compare")


def best(ratios: dict[str, Any], libraries: tuple[str, ...]) -> str | None:
    """The fastest peer among these libraries."""
    return min((who for who in ratios if _library(who) in libraries), key=lambda who: ratios[who][0], default=None)


def compare(suite: str, name: str, peers: list[Peer], rounds: int, seconds: float) -> dict[str, Any]:
    """Time one case on all peers that have it.

    Parameters
    ----------
    suite, name : str
    peers : list of Peer
        The first is ours; all have the same number of threads.
    rounds : int
    seconds : float
        For how long a peer is called in one round, at least; once, if one call takes longer.

    Returns
    -------
    dict, with the times of every peer by round, and by peer the interval of the ratio of its time to ours
    """
    case = SUITES[suite]()[name]
    ours, where, threads = peers[0], f"{suite}, {name}", peers[0].threads
    denormal = isinstance(case, Case) and bool(case.scales)
    asked = peers[:1] if denormal else peers
    for peer in asked:
        peer.send(prepare=[suite, name])
    found = {peer: peer.answer() for peer in asked}
    taking: dict[str, tuple[Peer, dict[str, Any]]] = {peer.name: (peer, {}) for peer in asked if found[peer] is not None}
    for peer in asked:
        if found[peer] is not None and not denormal:
            _same(where, peer.name, found[peer], found[ours])
    if denormal:
        ours.ask(prepare=[suite, name], ordinary=True)
        taking[ORDINARY] = (ours, {"ordinary": True})
    if threads > 1 and case.flops > HEAVY and not case.memory:
        taking[ALONE] = (ours, {"threads": 1})
    times: dict[str, dict[int, float]] = {who: {} for who in taking}
    machine: dict[str, list[float]] = {"peak": [], "bandwidth": [], "peak alone": []}
    order = list(taking)
    for number in range(rounds + 1):
        seldom = number % SELDOM == min(1, rounds - 1)
        for who in order[number % len(order) :] + order[: number % len(order)]:
            if who in (NUMBA, ALONE) and number and not seldom:
                continue
            peer, request = taking[who]
            times[who][number] = peer.ask(time=seconds if number else 0, waking=WAKING, **request)
        if number:
            measured = ours.ask(machine=threads, bytes=int(case.bytes), waking=WAKING)
            machine["peak"].append(measured["peak"])
            machine["bandwidth"].append(measured["bandwidth"])
            if ALONE in taking and seldom:
                machine["peak alone"].append(ours.ask(machine=1, bytes=0, waking=WAKING)["peak"])
        else:  # the first round warmed up; it counts for nothing but to see who is hopeless
            again = {who: min(t[0], taking[who][0].ask(time=0, waking=WAKING, **taking[who][1])) for who, t in times.items()}
            fastest = {library: min(again[who] for who in order if _library(who) == library) for library in map(_library, order)}
            order = [who for who in order if _library(who) == "lamella" or again[who] <= HOPELESS * fastest[_library(who)]]
            for t in times.values():
                t.clear()
    kept = {who: t for who, t in times.items() if t}
    row = {
        "suite": suite,
        "case": name,
        "threads": threads,
        "flops": case.flops,
        "bytes": case.bytes,
        "memory": case.memory,
        "times": {who: list(t.values()) for who, t in kept.items()},
        "machine": machine,
        "hopeless": [who for who in times if who not in kept],
        "ratios": {who: median_interval([t[i] / times[US][i] for i in t]) for who, t in kept.items() if who != US},
    }
    mine = list(times[US].values())
    row["peak"] = statistics.median(case.flops / t / p for t, p in zip(mine, machine["peak"]))
    row["copy"] = statistics.median(case.bytes / t / b for t, b in zip(mine, machine["bandwidth"]))
    if ALONE in kept:
        gain = statistics.median(row["machine"]["peak"]) / statistics.median(machine["peak alone"])
        row["scaling"] = row["ratios"][ALONE][0] / gain
    row["best"] = best(row["ratios"], tuple(LIBRARIES)) or (ORDINARY if denormal else None)
    return row
