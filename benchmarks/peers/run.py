"""Compare lamella with PyTorch, ONNX Runtime, OpenCV and NumPy on this machine.

    python benchmarks/peers/run.py [--suite conv3x3 ...] [--only REGEX] [--threads 1 2] [--rounds 9] [--quick] [--json FILE] [--markdown FILE]

How it is measured stands in lamella.testing.peers.race, the suites and what they are meant to reach in lamella.testing.peers.suites. A number under a peer says how
many times faster lamella's Cython kernels are; below 1 the peer is faster.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from lamella.config import get_config
from lamella.testing.peers import report
from lamella.testing.peers.race import ALONE, COMPILED, ORDINARY, PEERS, US, available, compare, together
from lamella.testing.peers.suites import SUITES

QUICK = 2  # cases of each suite


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", nargs="+", choices=list(SUITES), default=list(SUITES), metavar="NAME", help=", ".join(SUITES))
    parser.add_argument("--only", metavar="REGEX", default="", help="only cases in whose name this is found")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.005, help="for how long a short call is repeated in a round")
    parser.add_argument("--peers", nargs="+", choices=PEERS + COMPILED, metavar="NAME", help="default: all that are installed")
    parser.add_argument("--compile", action="store_true", help="torch.compile too: needs a C++ compiler, and takes its time")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} cases of each suite, one short round: shows that it runs")
    parser.add_argument("--json", type=Path, help="write every single time here")
    parser.add_argument("--markdown", type=Path, help="write what is printed here, too")
    options = parser.parse_args()
    rounds, seconds = (1, 0.001) if options.quick else (options.rounds, options.seconds)
    names = [US, *(name for name in options.peers or available(PEERS + COMPILED * options.compile) if name != US)]
    work = {
        suite: [name for name in SUITES[suite]() if re.search(options.only, name)][: QUICK if options.quick else None]
        for suite in options.suite
    }
    lines: list[str] = []

    def say(text: str = "") -> None:
        print(text, flush=True)
        lines.append(text)

    start, rows, versions = time.perf_counter(), [], {}
    for threads in options.threads:
        with together(names, threads) as peers:
            versions = {peer.name: peer.ask(versions=[]) for peer in peers}
            for suite, cases in work.items():
                if not cases:
                    continue
                say(f"\n### {suite}, {threads} thread{'s' * (threads > 1)}\n")
                columns = [ORDINARY] if suite == "denormal" else names[1:] + [ALONE] * (threads > 1)
                say(report.header(columns))
                for name in cases:
                    rows.append(compare(suite, name, peers, rounds, seconds))
                    say(report.line(rows[-1], columns))
    if not rows:
        sys.exit(f"no case has {options.only!r} in its name")
    say("\n### Summary: how many times faster than the best peer of each case\n")
    say(report.summary(rows))
    minutes = (time.perf_counter() - start) / 60
    say(f"\n{len(rows)} rows, {rounds} rounds, {minutes:.1f} minutes; {', '.join(f'{name} {v}' for name, v in versions.items())}")
    if options.json:
        result: dict[str, Any] = {"environment": get_config(), "versions": versions, "rounds": rounds, "rows": rows}
        options.json.write_text(json.dumps({**result, "summary": report.verdicts(rows)}, indent=1))
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
