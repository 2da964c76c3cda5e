"""What the Numba kernels share: tasks for the thread pool, and memory by address.

A kernel's *program* is worked out once per problem: a *context* of 8-byte words, which holds addresses, sizes and doubles, and the stages
that run *tasks* over it. A call then costs less than a microsecond (_common/program.pyx):

    @lru_cache(4096)
    def forward_program(p):
        x, out = Argument(0), Argument(1)                  the kernel's arrays, whose addresses each call fills in
        return program([x, out, p.n, p.slope], Stage(work(p.dtype), ntasks, nanoseconds))

    @runs(forward_program)
    def forward(p, x, out, scratch): ...                   the registry calls the program itself

    @task                                                  compiled as void (void *ctx, int64 task, int64 slot)
    def work(ctx, task, slot):
        c = ints(ctx)                                      the words as integers: c[2] is n
        f = doubles(ctx)                                   the same words as doubles: f[3] is the slope
        x = floats(c[0])                                   the memory at an address: x[i]; array_f32 / array_f64

Tasks run without the GIL and cannot raise; they index memory without checks.
Compiled tasks are cached on disk. Numba's own key for a function inside a factory never comes again, because it holds random names of
the functions in its closure, and it does not notice a change in another file; functions of one name from two caches would also
share a symbol. So `task` and `inline` name each function after its `stamp`: a hash of the Numba files of its folder and of this one,
of the instruction set, and of the values that its factory gave it. KEY is the part of it that comes from this folder.
"""

import hashlib
from dataclasses import dataclass, field, replace
from functools import cache, wraps
from pathlib import Path
from time import perf_counter
from types import BuiltinFunctionType, FunctionType, ModuleType

import numpy as np
from lamella.kernels import ISA
from lamella.kernels._common.nb_simd import opaque, operation
from lamella.kernels._common.program import Program
from llvmlite import ir
from numba import carray, njit, types
from numba.core.ccallback import CFunc
from numba.extending import intrinsic


@cache
def _sources(folder):
    """A hash of the Numba files of a folder."""
    files = sorted([*folder.glob("nb*.py"), *folder.glob("_nb*.py")])
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


KEY = _sources(Path(__file__).parent) + ISA
OPTIONS = {"error_model": "numpy", "boundscheck": False}
_WORDS = 1 << 20  # carray wants a length; nothing is checked against it
_LENGTH = 1 << 56

TASK = types.void(types.voidptr, types.int64, types.int64)


def _describe(value):
    """A value of a closure as text that is the same in every process."""
    value = getattr(value, "py_func", getattr(value, "_defn", value))  # of njit and of intrinsic
    if isinstance(value, FunctionType):
        cells = ", ".join(_describe(cell.cell_contents) for cell in value.__closure__ or () if cell.cell_contents is not value)
        return f"{value.__module__}.{value.__qualname__}({_sources(Path(value.__code__.co_filename).parent)}, {cells})"
    if isinstance(value, tuple):
        return f"({', '.join(map(_describe, value))})"
    if value is None or isinstance(
        value, (int, float, str, np.generic, np.dtype, np.ufunc, type, types.Type, BuiltinFunctionType, ModuleType)
    ):
        return repr(value)
    raise TypeError(f"a task depends on {value!r}, which has no name that lasts: pass numbers, strings, types or functions")


def stamp(function):
    """What the compiled code of a function depends on, as a short hash."""
    return hashlib.sha256((KEY + _describe(function)).encode()).hexdigest()[:20]


def _rename(function):
    name = stamp(function)
    function.__qualname__ += "_" + name
    return name


@dataclass(frozen=True)
class Compilation:
    """A function that this process compiled, or took from the cache."""

    name: str
    seconds: float
    cached: bool


history: list[Compilation] = []  # of this process, for `lamella warmup`


def compiled(function, signature):
    """Compile a function with a C signature, or take it from the cache; its machine address is `.address`."""
    start, described = perf_counter(), f"{function.__module__.removeprefix('lamella.kernels.')}.{function.__qualname__.partition('.')[0]}"
    name = _rename(function)
    result = CFunc(function, (signature.args, signature.return_type), {}, {"nopython": True, **OPTIONS})
    try:
        result.enable_caching()
        result._cache._index_key = lambda signature, codegen: (signature, codegen.magic_tuple(), name)
    except RuntimeError:  # no folder to write to, neither beside the file nor in the user's cache: compiled anew in every process
        pass
    result.compile()
    history.append(Compilation(described, perf_counter() - start, bool(result.cache_hits)))
    return result


def task(function):
    """Compile a task for the pool."""
    return compiled(function, TASK)


def inline(function=None, **options):
    """Compile a function that tasks call, inlined: a call with a context and a dozen addresses would cost more than most of them compute.

    ``@inline(fastmath={...})`` names what LLVM may do to its arithmetic.
    """
    if function is None:
        return lambda function: inline(function, **options)
    _rename(function)
    return njit(forceinline=True, **OPTIONS, **options)(function)


def _pointer(element):
    @intrinsic
    def at(typingctx, address):
        def codegen(context, builder, signature, args):
            return builder.inttoptr(args[0], context.get_value_type(types.CPointer(element)))

        return types.CPointer(element)(types.int64), codegen

    return at


_at_f32, _at_f64, _at_i64, _at_i32, _at_u8 = (_pointer(t) for t in (types.float32, types.float64, types.int64, types.int32, types.uint8))


@intrinsic
def word(typingctx, address):
    """The int64 at an address: no test for negative indices, which an array would make."""

    def codegen(context, builder, signature, args):
        kind = context.get_value_type(types.int64)
        return builder.load(builder.inttoptr(args[0], kind.as_pointer()))

    return types.int64(types.int64), codegen


# An int64 whose value LLVM does not see: a loop that steps by unknown(1) is not unrolled, which suits loops of a few turns.
unknown = operation(types.int64, (types.int64,), opaque)


@cache
def stack(nbytes):
    """The function that gives a task the address of `nbytes` of its own stack."""

    @intrinsic
    def address(typingctx):
        def codegen(context, builder, signature, args):
            with builder.goto_entry_block():
                memory = builder.alloca(ir.ArrayType(ir.IntType(8), nbytes))
            memory.align = 64
            return builder.ptrtoint(memory, ir.IntType(64))

        return types.int64(), codegen

    return address


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


@dataclass(frozen=True)
class Argument:
    """A word that each call fills in: the address of one of its arrays (None: 0) plus `offset` bytes, or the array's stride along `axis` in elements."""

    number: int
    offset: int = 0
    axis: int = -1

    def at(self, offset):
        return replace(self, offset=offset)

    def stride(self, axis):
        return replace(self, axis=axis)


@dataclass(frozen=True)
class Stage:
    """A task, how often it runs, how long that would take one thread in ns, what it takes of the scratch per slot, and words that change before it."""

    task: CFunc
    ntasks: int
    nanoseconds: float
    per_slot: int = 0
    settings: dict = field(default_factory=dict)


def program(words, *stages, shared=0, keep=None):
    """The program of these words and stages: call it with the kernel's arrays, the scratch last. Of the scratch, slots begin at `shared`.

    Arrays among the words stay alive with the program, and `keep` does, which owns others whose addresses are words.
    """
    arguments = [(i, word) for i, word in enumerate(words) if isinstance(word, Argument)]
    settings = [item for stage in stages for item in stage.settings.items()]
    ends = np.cumsum([0, *(len(stage.settings) for stage in stages)])
    return Program(
        context(*(0 if isinstance(word, Argument) else word for word in words)),
        _table([(i, word.number, word.axis, word.offset) for i, word in arguments], 4),
        _table([(s.task.address, s.ntasks, s.per_slot, start, end) for s, start, end in zip(stages, ends, ends[1:])], 5),
        np.array([float(stage.nanoseconds) for stage in stages]),
        _table(settings, 2),
        shared,
        1 + max((word.number for _, word in arguments), default=0),
        (words, stages, keep),
    )


def runs(program_of):
    """A pass, of which only the signature is written down: its arrays are those of `program_of(p)`, in this order."""

    def decorated(signature):
        @wraps(signature)
        def run(p, *arrays):
            program_of(p)(*arrays)

        run.program = program_of
        return run

    return decorated


def _table(rows, columns):
    return np.array(rows, np.int64).reshape(-1, columns)


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
