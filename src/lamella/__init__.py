"""lamella trains and runs convolutional networks on CPUs, with PyTorch's names, on kernels in NumPy, Cython and Numba."""

__version__ = "0.1.0"

import os as _os

from lamella import functional as functional
from lamella._lazy import attach as _attach
from lamella.threads import default_num_threads as _default_num_threads
from lamella.threads import register_threadpoolctl as _register_threadpoolctl
from lamella.threads import set_num_threads as set_num_threads

__getattr__, __dir__, __all__ = _attach(__name__)

set_num_threads(_default_num_threads())
_register_threadpoolctl()

if _os.environ.get("LAMELLA_TUNING"):
    __getattr__("load_tuning")(_os.environ["LAMELLA_TUNING"])  # type: ignore[operator]
