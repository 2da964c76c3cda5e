"""What this machine can do, and how near lamella comes: the command ``lamella bench``.

FMA peak and copy bandwidth are measured in the same rounds as the operations; so are PyTorch, ONNX Runtime and NumPy where they are installed, each in a
process of its own (lamella.testing.peers). benchmarks/peers/run.py does the same for every case there is.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import statistics
from collections.abc import Sequence
from typing import Any

from lamella import threads as _threads
from lamella.config import get_config
from lamella.serialization import write_atomically
from lamella.testing.measure import machine
from lamella.testing.peers import report
from lamella.testing.peers.race import NUMBA, PEERS, US, available, compare, together
from lamella.testing.peers.suites import LIBRARIES, SUITES
from lamella.train import plots

# the cases that are shown where no suite is named: a regular expression per suite
BRIEF = {
    "gemm-square": "^(512|1024)x",
    "gemm-small": "^64x(64x64|500x800)$",
    "conv3x3": r"^resnet18 (64@56|256@14) b8 ",
    "conv-other": r"^(resnet 7x7/2 3-64@224 b8 (forward|backward_weight)|resnet50 1x1 256-64@56 b8|cifar 3x3(/2 16-32@32| 16@32) b64)",
    "conv-lenet": "^5x5 (1-6@28|6-16@14) b64 (forward|backward_weight)",
    "conv-grouped": r"^(depthwise 3x3 144@56|dilated 3x3 d2 256@28) b8 forward",
    "batchnorm": "^train b8 64@56",
    "pool": "^(max 3x3/2 b8 64@112|global avg b64 512@7)",
    "activation": "^(relu|tanh) 2M",
    "softmax": "^(softmax|cross entropy) 8192x100",
    "optimizer": "^(SGD momentum|Adam) resnet18",
    "overhead": "",
}
QUICK = re.compile(r"backward_input|global avg|SGD|64x64x64|tanh 2M b|256@|256-64|16-32")  # is left out by --quick
COLOURS = (
    "#2a6f97",
    "#c1453b",
    "#4f8a41",
    "#8d5a97",
    "#c98a1b",
    "#5b6770",
    "#1d9a9a",
    "#b0547e",
    "#7a6a3a",
    "#3d5a99",
    "#a3623a",
    "#333333",
)


def run(
    suites: Sequence[str] | None = None,
    threads: int | None = None,
    quick: bool = False,
    json_file: str | os.PathLike | None = None,
    plot_file: str | os.PathLike | None = None,
) -> list[dict[str, Any]]:
    """Measure and print.

    Parameters
    ----------
    suites : names of lamella.testing.peers.suites.SUITES, optional
        All cases of these, instead of some of each.
    threads : int, optional
        Default: all that lamella uses.
    quick : bool
        Fewer cases and rounds: less than a minute.
    json_file, plot_file : str or path, optional
        Write every time measured; draw a roofline (needs Matplotlib).

    Returns
    -------
    one dict per case, see `lamella.testing.peers.race.compare`
    """
    if plot_file is not None:
        plots.check_target(plot_file)
    threads = threads or _threads.get_num_threads()
    config = get_config()
    limits = {n: _limits(n) for n in sorted({1, threads})}
    print(
        f"{config['processor']}, {config['processors allowed']} processors, instruction set {config['instruction set']}; lamella {config['lamella']}"
    )
    for n, limit in limits.items():
        print(
            f"{n} thread{'s' * (n > 1)}: FMA peak {limit['peak'] / 1e9:.0f} GF/s (float32), copy bandwidth {limit['bandwidth'] / 1e9:.1f} GB/s"
        )
    names = [name for name in available(PEERS) if name != NUMBA]
    libraries = [library for library in LIBRARIES if any(name.startswith(library) for name in names)]
    rows: list[dict[str, Any]] = []
    with together(names, threads) as peers:
        versions = {peer.name: peer.ask(versions=[]) for peer in peers}
        print(f"times of lamella's Cython kernels on {threads} thread{'s' * (threads > 1)}; times faster than: "
              + (", ".join(f"{LIBRARIES[library]} {next(v for n, v in versions.items() if n.startswith(library))}" for library in libraries)))  # fmt: skip
        print(f"\n{'':48}{'time':>9}  {'rate':<28}" + "".join(f"{LIBRARIES[library]:>14}" for library in libraries))
        for suite in suites or BRIEF:
            print(suite)
            for name in SUITES[suite]():
                if suites is None and (not re.search(BRIEF[suite], name) or (quick and QUICK.search(name))):
                    continue
                rows.append(compare(suite, name, peers, 3 if quick else 9, 0.005))
                print(_line(rows[-1], libraries), flush=True)
    _means(rows, libraries)
    if json_file is not None:
        result = {"environment": config, "limits": limits, "versions": versions, "rows": rows}
        write_atomically(json_file, json.dumps(result, indent=1) + "\n")
    if plot_file is not None:
        draw(rows, limits[threads], f"{config['processor']}, {threads} thread{'s' * (threads > 1)}", plot_file)
    return rows


def _limits(threads: int) -> dict[str, float]:
    several = [machine(threads) for _ in range(5)]
    return {key: statistics.median(m[key] for m in several) for key in ("peak", "bandwidth")}


def _ratio(row: dict[str, Any], library: str) -> float | None:
    """Against a library at its best."""
    return min((ratio[0] for who, ratio in row["ratios"].items() if who.startswith(library)), default=None)


def _line(row: dict[str, Any], libraries: Sequence[str]) -> str:
    ratios = [_ratio(row, library) for library in libraries]
    cells = "".join(f"{'' if ratio is None else f'{ratio:.2f}':>14}" for ratio in ratios)
    return f"  {row['case']:46}{report.duration(statistics.median(row['times'][US])):>9}  {report.rate(row):<28}{cells}".rstrip()


def _means(rows: Sequence[dict[str, Any]], libraries: Sequence[str]) -> None:
    for library in libraries:
        ratios = [ratio for row in rows if (ratio := _ratio(row, library)) is not None]
        if ratios:
            print(
                f"geometric mean against {LIBRARIES[library]}: {statistics.geometric_mean(ratios):.2f} (of {len(ratios)}; {min(ratios):.2f} to {max(ratios):.2f})"
            )


def draw(rows: Sequence[dict[str, Any]], limit: dict[str, float], title: str, path: str | os.PathLike) -> None:
    """A roofline: what each operation reaches against how much arithmetic it does per byte, under what the machine allows.

    Williams, Waterman, Patterson, Roofline, Communications of the ACM 52(4), 2009.
    """
    figure = plots.new_figure(9, 5.6)
    axes = figure.add_subplot()
    points = [(row["suite"], row["flops"] / row["bytes"], row["flops"] / statistics.median(row["times"][US]) / 1e9) for row in rows
              if row["suite"] != "overhead" and row["flops"] > 0 < row["bytes"]]  # fmt: skip
    ridge = limit["peak"] / limit["bandwidth"]
    intensities = [x for _, x, _ in points] or [ridge]
    low, high = min(intensities) / 2, max(intensities) * 2
    peak = limit["peak"] / 1e9
    axes.set(xscale="log", yscale="log", title=title)
    axes.plot([low, ridge, max(high, ridge)], [low * limit["bandwidth"] / 1e9, peak, peak], color="#222222", lw=1.6)
    axes.text(high, peak * 1.08, f"FMA peak {peak:.0f} GF/s", ha="right", va="bottom", fontsize=9)
    if low < ridge:
        slope, middle = limit["bandwidth"] / 1e9, math.sqrt(low * ridge)
        axes.text(middle, middle * slope * 1.1, f"copy bandwidth {slope:.0f} GB/s ", ha="right", va="bottom", fontsize=9)
    for colour, suite in zip(itertools.cycle(COLOURS), dict.fromkeys(suite for suite, *_ in points)):
        x, y = zip(*((x, y) for name, x, y in points if name == suite))
        axes.scatter(x, y, s=26, color=colour, label=suite, alpha=0.85, linewidths=0)
    axes.set_xlim(low, max(high, ridge))
    axes.set_xlabel("arithmetic intensity, flop per byte of operands and result")
    axes.set_ylabel("GF/s")
    axes.grid(which="major", alpha=0.25)
    if points:
        axes.legend(fontsize=8, frameon=False, loc="lower right")
    plots.finish(figure, path)
