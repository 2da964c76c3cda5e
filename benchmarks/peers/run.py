"""Compare lamella with PyTorch and NumPy on this machine.

    python benchmarks/peers/run.py [--suite conv] [--threads 1 2] [--rounds 15] [--quick] [--json FILE]

Each peer lives in a process of its own and sleeps while another computes, so that no spinning pool takes its core. A round times every peer once;
a ratio is taken within a round, and what is printed is the median of the rounds' ratios with its 95 % confidence interval. FMA peak and copy bandwidth
are measured between the same rounds, on the same number of threads. What the peers compute is compared before anything is timed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from cases import SUITES

HERE = Path(__file__).parent
OURS = ("lamella:cython", "lamella:numba")
PEERS = (*OURS, "torch:contiguous", "torch:channels_last", "numpy:")
QUIET = 0.01  # seconds until another pool's threads have stopped spinning
QUICK = 2  # cases of each suite


class Peer:
    def __init__(self, name: str, threads: int):
        self.name = name
        environment = {**os.environ, **{f"{pool}_NUM_THREADS": str(threads) for pool in ("OMP", "MKL", "OPENBLAS", "LAMELLA")}}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, **request: Any) -> Any:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} died on {request}")
        return json.loads(line)

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=30)


def median_interval(values: list[float]) -> tuple[float, float, float]:
    """The median and its 95 % interval from order statistics (all values, where there are fewer than six)."""
    ordered = sorted(values)
    n = len(ordered)
    k = max(0, int((n - 1.96 * n**0.5) / 2))
    return statistics.median(ordered), ordered[k], ordered[n - 1 - k]


def available() -> list[str]:
    return [
        name
        for name in PEERS
        if importlib.util.find_spec(name.split(":")[0]) and (name != "lamella:numba" or importlib.util.find_spec("numba"))
    ]


def compare(suite: str, name: str, peers: list[Peer], threads: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Time one case on all peers that have it."""
    case = SUITES[suite]()[name]
    with tempfile.TemporaryDirectory() as folder:
        paths = {peer: Path(folder) / f"{i}.npy" for i, peer in enumerate(peers)}
        taking = [peer for peer in peers if peer.ask(prepare=[suite, name], result=str(paths[peer]))]
        results = {peer: np.load(paths[peer]) for peer in taking}
    reference = results[taking[0]]
    for peer, result in results.items():
        scale = np.abs(reference).max() + 1e-30
        if result.shape != reference.shape or not np.abs(result - reference).max() <= 1e-3 * scale:
            raise SystemExit(f"{suite}, {name}: {peer.name} computes something else than {taking[0].name}: nothing to compare")
    times: dict[str, list[float]] = {peer.name: [] for peer in taking}
    machine: list[dict[str, float]] = []
    for number in range(rounds + 1):
        for peer in taking:
            time.sleep(QUIET)
            took = peer.ask(time=seconds)
            if number:  # the first round warms up
                times[peer.name].append(took)
        if number % 5 == 1:
            time.sleep(QUIET)
            machine.append(peers[0].ask(machine=threads))
    best = {key: max(m[key] for m in machine) for key in ("peak", "bandwidth")}
    ours = times[OURS[0]]
    return {
        "suite": suite,
        "case": name,
        "threads": threads,
        "times": times,
        "flops": case.flops,
        "bytes": case.bytes,
        **best,
        "ratios": {peer: median_interval([t / mine for t, mine in zip(values, ours)]) for peer, values in times.items() if peer != OURS[0]},
    }


def line(row: dict[str, Any], columns: list[str]) -> str:
    """One line of the Markdown table."""
    mine = statistics.median(row["times"][OURS[0]])
    if row["flops"]:
        rate = f"{row['flops'] / mine / 1e9:.0f} GF/s ({100 * row['flops'] / mine / row['peak']:.0f} % of FMA peak)"
    else:
        rate = f"{row['bytes'] / mine / 1e9:.1f} GB/s ({100 * row['bytes'] / mine / row['bandwidth']:.0f} % of copy)"
    cells = [row["case"], str(row["threads"]), f"{mine * 1e3:.3g}", rate]
    for peer in columns:
        ratio = row["ratios"].get(peer)
        cells.append("" if ratio is None else "{:.2f} ({:.2f}-{:.2f})".format(*ratio))
    return "| " + " | ".join(cells) + " |"


def summary(rows: list[dict[str, Any]]) -> None:
    """Per suite and number of threads: lamella against the best peer of each case, and Numba against Cython."""
    print("\n### Summary: how many times faster than the best peer of each case\n")
    print("| suite | threads | cases | geometric mean | least | most | Numba against Cython, geometric mean |")
    print("|---" * 7 + "|")
    for suite, threads in sorted({(row["suite"], row["threads"]) for row in rows}, key=str):
        mine = [row for row in rows if (row["suite"], row["threads"]) == (suite, threads)]
        best = [
            min(ratio[0] for peer, ratio in row["ratios"].items() if peer not in OURS) for row in mine if set(row["ratios"]) - set(OURS)
        ]
        numba = [1 / row["ratios"][OURS[1]][0] for row in mine if OURS[1] in row["ratios"]]
        if best:
            means = [f"{statistics.geometric_mean(values):.2f}" if values else "" for values in (best, numba)]
            print(f"| {suite} | {threads} | {len(best)} | {means[0]} | {min(best):.2f} | {max(best):.2f} | {means[1]} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", nargs="+", choices=list(SUITES), default=list(SUITES))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--peers", nargs="+", choices=PEERS, help="default: all that are installed")
    parser.add_argument("--quick", action="store_true", help="two cases of each suite, three short rounds: shows that it runs")
    parser.add_argument("--json", type=Path, help="write every single time here")
    options = parser.parse_args()
    rounds, seconds = (3, 0.002) if options.quick else (options.rounds, 0.05)
    names = options.peers or available()
    if OURS[0] not in names:
        names.insert(0, OURS[0])
    names.sort(key=PEERS.index)
    others = [name for name in names if name != OURS[0]]
    rows = []
    for suite in options.suite:
        print(f"\n### {suite}\n")
        print(
            "| case | threads | lamella:cython, ms | rate | "
            + " | ".join(f"{name.rstrip(':')} takes ... times that" for name in others)
            + " |"
        )
        print("|---" * (4 + len(others)) + "|")
        for threads in options.threads:
            peers = [Peer(name, threads) for name in names]
            try:
                for name in list(SUITES[suite]())[: QUICK if options.quick else None]:
                    rows.append(compare(suite, name, peers, threads, rounds, seconds))
                    print(line(rows[-1], others), flush=True)
            finally:
                for peer in peers:
                    peer.close()
    summary(rows)
    if options.json:
        versions = {name: getattr(__import__(name), "__version__", "") for name in sorted({name.split(":")[0] for name in names})}
        options.json.write_text(json.dumps({"versions": versions, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
