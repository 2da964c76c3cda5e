"""Tables of what was measured: one line per case, and the figures of each suite beside its bars."""

from __future__ import annotations

import statistics
from typing import Any

from lamella.testing.peers.race import NUMBA, ORDINARY, US, best
from lamella.testing.peers.suites import BARS, EVERYWHERE, LIBRARIES, Bar

Row = dict[str, Any]
BEYOND_CACHES = 16e6  # bytes; smaller working sets are not bound by memory


def by_bytes(row: Row) -> bool:
    """Whether a row is judged by the copy bandwidth rather than the FMA peak: it does little arithmetic per byte."""
    return bool(row["memory"] or row["flops"] < row["bytes"])


def rate(row: Row) -> str:
    """Speed, and the share of what the machine can do."""
    mine = statistics.median(row["times"][US])
    if not by_bytes(row):
        return f"{row['flops'] / mine / 1e9:.0f} GF/s, {100 * row['peak']:.0f} % of FMA peak"
    return f"{row['bytes'] / mine / 1e9:.1f} GB/s, {100 * row['copy']:.0f} % of copy"


def duration(seconds: float) -> str:
    """With its unit.

    Examples
    --------
    >>> duration(0.0123), duration(4.56e-6)
    ('12.3 ms', '4.56 us')
    """
    unit, factor = next(((u, f) for u, f in (("s", 1), ("ms", 1e3)) if seconds * f >= 1), ("us", 1e6))
    return f"{seconds * factor:.3g} {unit}"


def header(peers: list[str]) -> str:
    cells = ["case", "threads", US, "rate", *(f"x {name.rstrip(':')}" for name in peers)]
    return f"| {' | '.join(cells)} |\n{'|---' * len(cells)}|"


def line(row: Row, peers: list[str]) -> str:
    """One line of the Markdown table: how many times faster than each peer, with the 95 % interval."""
    cells = [row["case"], str(row["threads"]), duration(statistics.median(row["times"][US])), rate(row)]
    for name in peers:
        ratio = row["ratios"].get(name)
        cells.append("hopeless" if name in row["hopeless"] else "" if ratio is None else "{:.2f} ({:.2f}-{:.2f})".format(*ratio))
    return f"| {' | '.join(cells)} |"


def _mean(values: list[float], names: list[str]) -> tuple[float, str, int] | None:
    return (statistics.geometric_mean(values), "", len(values)) if values else None


def _least(values: list[float], names: list[str]) -> tuple[float, str, int] | None:
    return (*min(zip(values, names)), len(values)) if values else None


def figure(bar: Bar, rows: list[Row]) -> tuple[float, str, int] | None:
    """What the rows reach: the figure, the name of the case that sets it (of a mean: none), and how many cases it is made of."""
    rows = [row for row in rows if bar.of(row["case"])]
    peers = {row["case"]: ORDINARY if row["best"] == ORDINARY else best(row["ratios"], bar.against) for row in rows}
    with_peers = [row for row in rows if peers[row["case"]]]
    select, those = {
        "mean": (lambda row: row["ratios"][peers[row["case"]]][0], with_peers),
        "least": (lambda row: row["ratios"][peers[row["case"]]][1], with_peers),
        "peak": (lambda row: row["peak"], rows),
        "copy": (lambda row: row["copy"], [row for row in rows if row["memory"] and row["bytes"] > BEYOND_CACHES]),
        "numba": (lambda row: 1 / row["ratios"][NUMBA][0], [row for row in rows if NUMBA in row["ratios"]]),
        "scaling": (lambda row: row["scaling"], [row for row in rows if "scaling" in row]),
        "least scaling": (lambda row: row["scaling"], [row for row in rows if "scaling" in row]),
    }[bar.figure]
    reduce = _least if bar.figure in ("least", "peak", "copy", "least scaling") else _mean
    return reduce([select(row) for row in those], [row["case"] for row in those])


WORDS = {
    "mean": "geometric mean against the best {}",
    "least": "lowest against the best {} (lower 95 % limit)",
    "peak": "lowest share of the FMA peak",
    "copy": "lowest share of the copy bandwidth",
    "numba": "Numba against Cython, geometric mean",
    "scaling": "two threads against the peak's gain, geometric mean",
    "least scaling": "the lowest of these",
}


def verdicts(rows: list[Row]) -> list[dict[str, Any]]:
    """Every bar with what was reached, per suite and number of threads; the mean and the least row where a suite has no bar for them."""
    out = []
    keys = list(dict.fromkeys((row["suite"], row["threads"]) for row in rows))
    for suite, threads in sorted(keys, key=lambda key: list(BARS).index(key[0]) if key[0] in BARS else len(BARS)):
        mine = [row for row in rows if (row["suite"], row["threads"]) == (suite, threads)]
        bars = [bar for bar in BARS.get(suite, []) + EVERYWHERE if bar.threads in (None, threads)]
        bars = [Bar(name, 0) for name in ("mean", "least") if not any(bar.figure == name for bar in bars)] + bars
        for bar in bars:
            if reached := figure(bar, mine):
                value, case, count = reached
                torch = figure(bar._replace(against=("torch",)), mine) if bar.figure in ("mean", "least") and suite != "denormal" else None
                met = None if not bar.least else value >= bar.least
                out.append({"suite": suite, "threads": threads, "cases": bar.rows, "count": count, "figure": bar.figure, "against": bar.against,
                            "value": value, "least case": case, "PyTorch alone": torch and torch[0], "bar": bar.least or None, "met": met})  # fmt: skip
    return out


def summary(rows: list[Row]) -> str:
    """The bars as a Markdown table."""
    lines = ["| suite | threads | cases | what | reached | PyTorch alone | bar | |", "|---" * 8 + "|"]
    for v in verdicts(rows):
        of = f"{v['count']}, `{v['cases'].strip()}`" if v["cases"] else str(v["count"])
        reached = f"{v['value']:.2f} ({v['least case']})" if v["least case"] else f"{v['value']:.2f}"
        torch = f"{v['PyTorch alone']:.2f}" if v["PyTorch alone"] else ""
        against = "peer" if len(v["against"]) == len(LIBRARIES) else "of " + " and ".join(LIBRARIES[name] for name in v["against"])
        bar, met = (f"{v['bar']:.2f}", "met" if v["met"] else "**missed**") if v["bar"] else ("", "")
        lines.append(
            f"| {v['suite']} | {v['threads']} | {of} | {WORDS[v['figure']].format(against)} | {reached} | {torch} | {bar} | {met} |"
        )
    return "\n".join(lines)
