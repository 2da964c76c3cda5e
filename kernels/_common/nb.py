"""What the Numba kernels share: tasks for the thread pool, and memory by address.

A kernel's Python function packs addresses, sizes and doubles into one *context*
of 8-byte words and runs a *task* over it:

    ctx = context(x, out, p.n, p.slope)                    arrays give their address
    run(tasks(np.dtype("float32")), ctx, ntasks, nanoseconds)

    @task                                                  compiled as void (void *ctx, int64 task, int64 slot)
    def work(ctx, task, slot):
        c = ints(ctx)                                      the words as integers: c[2] is n
        f = doubles(ctx)                                   the same words as doubles: f[3] is the slope
        x = floats(c[0])                                   the memory at an address: x[i]; array_f32 / array_f64

Tasks run without the GIL and cannot raise; they index memory without checks.
Numba does not notice a change in another file, so each factory of tasks takes KEY, a hash of the nb*.py files here
and the instruction set in use, into its closure: it becomes part of the key under which the compiled code is cached.
"""

import hashlib
from pathlib import Path

import numpy as np
from lamella.kernels import ISA
from lamella.kernels._common import pool
from numba import carray, cfunc, njit, types
from numba.extending import intrinsic

KEY = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("nb*.py")))).hexdigest() + ISA
OPTIONS = {"error_model": "numpy", "boundscheck": False, "cache": True}
ANY_SLOTS = 1 << 20
_WORDS = 1 << 20  # carray wants a length; nothing is checked against it
_LENGTH = 1 << 56

TASK = types.void(types.voidptr, types.int64, types.int64)


def task(function):
    """Compile a task for the pool; its machine address is `.address`."""
    return cfunc(TASK, nopython=True, **OPTIONS)(function)


def inline(function):
    """Compile a function that tasks call; LLVM inlines it where that pays."""
    return njit(**OPTIONS)(function)


def _pointer(element):
    @intrinsic
    def at(typingctx, address):
        def codegen(context, builder, signature, args):
            return builder.inttoptr(args[0], context.get_value_type(types.CPointer(element)))

        return types.CPointer(element)(types.int64), codegen

    return at


_at_f32, _at_f64, _at_i64, _at_i32, _at_u8 = (_pointer(t) for t in (types.float32, types.float64, types.int64, types.int32, types.uint8))


@njit(inline="always")
def ints(ctx):
    return carray(ctx, _WORDS, np.int64)


@njit(inline="always")
def doubles(ctx):
    return carray(ctx, _WORDS, np.float64)


@njit(inline="always")
def array_f32(address):
    return carray(_at_f32(address), _LENGTH)


@njit(inline="always")
def array_f64(address):
    return carray(_at_f64(address), _LENGTH)


@njit(inline="always")
def array_i64(address):
    return carray(_at_i64(address), _LENGTH)


@njit(inline="always")
def array_i32(address):
    return carray(_at_i32(address), _LENGTH)


@njit(inline="always")
def array_u8(address):
    return carray(_at_u8(address), _LENGTH)


def floats_of(dtype):
    """array_f32 or array_f64."""
    return array_f32 if dtype == np.float32 else array_f64


def context(*words):
    """The words of a task's context: addresses of arrays (None: 0), ints, and doubles bit by bit."""
    out = np.empty(len(words), np.int64)
    for i, word in enumerate(words):
        if word is None:
            out[i] = 0
        elif isinstance(word, np.ndarray):
            out[i] = word.__array_interface__["data"][0]
        elif isinstance(word, float):
            out.view(np.float64)[i] = word
        else:
            out[i] = word
    return out


def run(task, ctx, ntasks, nanoseconds, slots=ANY_SLOTS):
    """Run a task for every number below ntasks, on the pool if the estimated single-thread time is worth it."""
    pool.run(task.address, ctx.__array_interface__["data"][0], ntasks, nanoseconds, slots)
