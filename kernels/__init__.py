"""The kernels: a folder is an operation, a file is an implementation, a function is a pass.

    lamella.kernels.<operation>.<implementation>.<pass>(p, inputs..., outputs..., scratch)

    implementation   ref        NumPy, float64 accumulation: the formula and nothing else; every other file is tested against it
                     cy_<way>   Cython, compiled once per instruction set; the best one this processor executes is loaded
                     nb_<way>   Numba, compiled on this machine on first use
    p                the problem: validated geometry (lamella.problems), also as one int64 array, p.geometry
    inputs, outputs  NumPy arrays, validated and allocated by the caller; outputs come last and are always written completely
                     (the optimizers' parameter and state are updated in place)
    scratch          uint8 array, as large as the module's scratch(pass_, p) asks for: bytes shared by all threads, bytes per thread

Who uses what (-> calls, ~> includes)

    gemm.cy_packed ------------------+
    conv2d.cy_im2col, cy_direct -----+~> _common/tile.pxd ~> _common/simd.pxd    the register tile, the vector registers
    batchnorm, pool2d, activation, arithmetic,                ^
    softmax, optimizer  cy_*, conv2d.cy_depthwise ------------+~> _common/vmath.pxd   exp, tanh, ... on registers
    gemm.cy_packed, reorder.cy_blocked, conv2d.cy_lanes ~> _common/transpose.pxd   squares transposed in registers
    integral.cy_scan ~> _common/scan.pxd ~> _common/simd.pxd    prefix sums in a register
    every cy_*  --------------------> _common/pool.pyx (parallel_for)  <--- every nb_*, by the addresses of its tasks
    every nb_*  --------------------> _common/nb.py, program.pyx           tasks, and their calls
    most nb_*  ---------------------> _common/nb_simd.py, nb_math.py, nb_tile.py    the same registers, functions and tile as LLVM IR

Nothing here imports from the rest of lamella; of the rest, only lamella.registry and lamella.testing import from here.
"""

import importlib
import importlib.util
import os
from types import ModuleType

ISAS = ("v4", "v3", "base")


def _choose_isa() -> str:
    from lamella.kernels._common import cpu

    built = [isa for isa in ISAS if importlib.util.find_spec(f"lamella.kernels.gemm.cy_packed__{isa}")]
    forced = os.environ.get("LAMELLA_ISA")
    if forced:
        if forced not in ISAS:
            raise ImportError(f"LAMELLA_ISA={forced!r}: choose one of {', '.join(ISAS)}")
        if forced not in cpu.supported():
            raise ImportError(f"LAMELLA_ISA={forced!r}: this processor executes only {', '.join(cpu.supported())}")
        if forced not in built:
            raise ImportError(f"LAMELLA_ISA={forced!r}: this installation holds only {', '.join(built) or 'no compiled kernels'}")
        return forced
    for isa in cpu.supported():
        if isa in built:
            return isa
    raise ImportError("lamella: no compiled kernel module found for this processor; reinstall with a C compiler present")


def load(operation: str, implementation: str) -> ModuleType:
    """Import an implementation: of a Cython one, the build for the instruction set in use."""
    suffix = f"__{ISA}" if implementation.startswith("cy_") else ""
    return importlib.import_module(f"lamella.kernels.{operation}.{implementation}{suffix}")


def implementations(operation: str):
    """A ``__getattr__`` for an operation's package, so that ``lamella.kernels.gemm.cy_packed`` names the build in use."""

    def __getattr__(name: str) -> ModuleType:
        if name.startswith(("cy_", "nb_")) or name == "ref":
            return load(operation, name)
        raise AttributeError(f"lamella.kernels.{operation} has no implementation {name!r}")

    return __getattr__


ISA: str = _choose_isa()
