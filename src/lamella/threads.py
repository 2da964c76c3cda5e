"""How many threads: the processors this process may use, or what the user says."""

from __future__ import annotations

import os
from pathlib import Path

from lamella.registry import pool


def cgroup_quota(root: str | os.PathLike = "/sys/fs/cgroup", membership: str | os.PathLike = "/proc/self/cgroup") -> float | None:
    """Processors' worth of time that control groups (v1 or v2) grant this process, or None without a limit.

    Every group from the process's own up to the root counts; the smallest quota wins.
    """
    root = Path(root)
    try:
        lines = Path(membership).read_text().splitlines()
    except OSError:
        lines = []
    folders = {root, root / "cpu"}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        base = root if not controllers else root / "cpu" if "cpu" in controllers.split(",") else None
        while base is not None and path not in ("", "/"):
            folders.add(base / path.lstrip("/"))
            path = os.path.dirname(path)
    quotas = [quota for folder in folders if (quota := _quota(folder)) is not None]
    return min(quotas, default=None)


def _quota(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()[:2]
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        return None if quota == "max" or int(quota) <= 0 else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def default_num_threads() -> int:
    """LAMELLA_NUM_THREADS, or the smaller of the affinity mask and the control group's quota, rounded up."""
    if text := os.environ.get("LAMELLA_NUM_THREADS"):
        if not text.isdecimal() or int(text) < 1:
            raise ValueError(f"LAMELLA_NUM_THREADS={text!r}: expected a positive number")
        return int(text)
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota()
    return count if quota is None else max(1, min(count, -int(-quota // 1)))


def set_num_threads(n: int) -> None:
    """Use at most n threads for every kernel from now on. Results do not depend on it, bit for bit.

    Parameters
    ----------
    n : int, positive

    Raises
    ------
    ValueError
        Not a positive int.

    Examples
    --------
    >>> import lamella
    >>> before = lamella.get_num_threads()
    >>> lamella.set_num_threads(1)
    >>> lamella.get_num_threads()
    1
    >>> lamella.set_num_threads(before)
    """
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ValueError(f"set_num_threads: expected a positive int, got {n!r}")
    pool.set_num_threads(n)


def get_num_threads() -> int:
    """The number of threads kernels may use.

    Examples
    --------
    >>> import lamella
    >>> lamella.get_num_threads() >= 1
    True
    """
    return pool.get_num_threads()


def register_threadpoolctl() -> None:
    """Let `threadpoolctl.threadpool_limits` and `threadpool_info` see lamella's pool, if threadpoolctl is installed. Done at import."""
    import ctypes

    try:
        import threadpoolctl
    except ImportError:
        return

    class LamellaController(threadpoolctl.LibController):
        user_api = "lamella"
        internal_api = "lamella"
        filename_prefixes = ("pool.",)
        check_symbols = ("lamella_get_num_threads", "lamella_set_num_threads")

        def get_num_threads(self) -> int:
            return int(self.dynlib.lamella_get_num_threads())

        def set_num_threads(self, num_threads: int) -> None:
            self.dynlib.lamella_set_num_threads(ctypes.c_int(num_threads))

        def get_version(self) -> None:
            return None

    threadpoolctl.register(LamellaController)
