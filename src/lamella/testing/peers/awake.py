"""A process that keeps one core awake: python -m lamella.testing.peers.awake CORE

It computes at idle priority: whatever else wants the core gets it at once. Without it, a core on which nothing ran for a fraction of a second needs up to
a tenth of a second to be as fast as before (clock, caches and, in a virtual machine, the host's scheduler), and what is timed is the waking. It ends with
the process that started it.
"""

import os
import sys


def main(core: int) -> None:
    os.sched_setaffinity(0, {core})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    parent = os.getppid()
    while os.getppid() == parent:
        for _ in range(100_000):
            pass


if __name__ == "__main__":
    main(int(sys.argv[1]))
