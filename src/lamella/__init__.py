"""lamella trains and runs convolutional networks on CPUs, with PyTorch's names, on kernels in NumPy, Cython and Numba."""

__version__ = "0.1.0"

import os as _os

from lamella import functional, nn, optim, random
from lamella.creation import arange, empty, eye, full, ones, ones_like, rand, randn, zeros, zeros_like
from lamella.functional import (
    abs,
    add,
    argmax,
    argmin,
    cat,
    clamp,
    concat,
    div,
    exp,
    flatten,
    from_nhwc,
    log,
    matmul,
    max,
    maximum,
    mean,
    min,
    minimum,
    mul,
    neg,
    permute,
    pow,
    reshape,
    sqrt,
    squeeze,
    stack,
    sub,
    sum,
    to_nhwc,
    transpose,
    unflatten,
    unsqueeze,
    where,
)
from lamella.memory import empty_cache
from lamella.random import get_rng_state, initial_seed, manual_seed, set_rng_state
from lamella.registry import allow_winograd, get_backend, register_kernel, unregister_kernel, use_backend
from lamella.summary import summary
from lamella.tensor import Tensor, enable_grad, from_numpy, is_grad_enabled, no_grad, tensor
from lamella.threads import default_num_threads as _default_num_threads
from lamella.threads import get_num_threads, set_num_threads
from lamella.threads import register_threadpoolctl as _register_threadpoolctl

set_num_threads(_default_num_threads())
_register_threadpoolctl()

# imported when first used: together they cost more than the rest of the package
_LAZY_MODULES = ("data", "distributions", "estimators", "models", "serialization", "train", "tuning", "vision")
_LAZY = {
    "save": "serialization",
    "load": "serialization",
    "save_model": "serialization",
    "load_model": "serialization",
    "show_config": "config",
    "fold_batchnorm": "folding",
    "lint": "linting",
    "receptive_field": "geometry",
    "conv_output_size": "geometry",
    "conv_transpose_output_size": "geometry",
    "same_padding": "geometry",
    "load_tuning": "tuning",
    "clear_tuning": "tuning",
}


def __getattr__(name: str) -> object:
    import importlib

    if name in _LAZY_MODULES:
        return importlib.import_module(f"lamella.{name}")
    if name in _LAZY:
        value = globals()[name] = getattr(importlib.import_module(f"lamella.{_LAZY[name]}"), name)
        return value
    raise AttributeError(f"module 'lamella' has no attribute {name!r}")


if _os.environ.get("LAMELLA_TUNING"):
    __getattr__("load_tuning")(_os.environ["LAMELLA_TUNING"])  # type: ignore[operator]


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY_MODULES, *_LAZY})
