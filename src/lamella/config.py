"""What this installation is and runs on: the text for a bug report."""

from __future__ import annotations

import importlib.util
import os
import platform
from typing import Any

import numpy as np

from lamella import __version__, registry, threads

__all__ = ["get_config", "show_config"]


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(module: str) -> str | None:
    """The version of an installed package, without importing it."""
    if importlib.util.find_spec(module) is None:
        return None
    from importlib import metadata

    try:
        return metadata.version(module)
    except metadata.PackageNotFoundError:
        return "installed"


def get_config() -> dict[str, Any]:
    """What `show_config` prints, as a dict that JSON can hold.

    Examples
    --------
    >>> get_config()["backend"]
    'auto'
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = threads.cgroup_quota()
    numba = _version("numba")
    return {
        "lamella": __version__,
        "instruction set": registry.ISA,
        "instruction sets built and usable": list(registry.isas()),
        "backend": registry.get_backend(),
        "backends available": ["cython", *(["numba"] if numba else []), "reference"],
        "threads": threads.get_num_threads(),
        "processors allowed": count,
        "processors by quota": quota,
        "processor": _processor(),
        "system": platform.platform(),
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "NumPy": np.__version__,
        "numba": numba,
        "safetensors": _version("safetensors"),
        "settings": {name: value for name, value in sorted(os.environ.items()) if name.startswith("LAMELLA_")},
    }


def show_config() -> None:
    """Print version, instruction set, backends, threads, processor, Python and NumPy: what a bug report should hold.

    Examples
    --------
    >>> import lamella
    >>> lamella.show_config()  # doctest: +ELLIPSIS
    lamella ...
    """
    for name, value in get_config().items():
        if isinstance(value, (list, tuple)):
            value = ", ".join(value)
        elif isinstance(value, dict):
            value = " ".join(f"{key}={item}" for key, item in value.items()) or "none"
        elif value is None:
            value = "none" if "quota" in name else "not installed"
        print(f"{name:34}{value}")
