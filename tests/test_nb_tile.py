"""The Numba register tile as machine code, and the keys under which Numba's code is cached."""

import re

import lamella.kernels as kernels
import numpy as np
import pytest

numba = pytest.importorskip("numba")

from lamella.kernels._common import nb  # noqa: E402
from lamella.kernels._common.nb_tile import MR, NV, tile  # noqa: E402

REGISTER = {"v4": "zmm", "v3": "ymm", "base": "xmm"}[kernels.ISA]
# multiplications of one step, by instruction: without FMA a product and a sum
ARITHMETIC = r"\bvfn?m\w+p[sd]\b" if kernels.ISA != "base" else r"\bv?mulp[sd]\b"


def assembly(dtype, mr, nv, masked):
    f = tile(np.dtype(dtype), mr, nv, masked)

    @numba.cfunc(numba.types.void(*[numba.types.int64] * 14), nopython=True, error_model="numpy")
    def run(taps, ao, bo, depth, a, ars, aks, b, bls, n, c, ldc, d, ldd):
        f(taps, ao, bo, depth, a, ars, aks, b, bls, n, c, ldc, d, ldd)

    return run._library.get_asm_str()


def innermost_loops(text):
    """The lines of every loop that is one basic block."""
    lines = text.splitlines()
    label, loops = None, []
    for i, line in enumerate(lines):
        if match := re.match(r"(\.LBB\w+):", line):
            label, start = match.group(1), i
        elif label and re.match(rf"\s+j\w+\s+{re.escape(label)}\b", line):
            loops.append(lines[start:i])
        elif re.match(r"\s+(j\w+|ret\w*)\b", line):
            label = None
    return loops


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("mr", "nv", "masked"), [(MR, NV, False), (MR, NV, kernels.ISA != "base"), (MR, 1, False), (1, NV, False)])
def test_accumulators_stay_in_registers(dtype, mr, nv, masked):
    found = 0
    for loop in innermost_loops(assembly(dtype, mr, nv, masked)):
        products = [line for line in loop if re.search(ARITHMETIC, line)]
        if products:
            assert all(REGISTER in line for line in products), "\n".join(loop)
            assert len(products) % (mr * nv) == 0, f"{len(products)} products in a step of {mr} x {nv}"
            assert not [line for line in loop if "%rsp" in line], "the stack is used:\n" + "\n".join(loop)
            found += 1
    assert found, "no loop multiplies"


def test_the_check_sees_a_spill():
    text = ".LBB0_1:\n\tvfmadd231ps %zmm1, %zmm2, %zmm3\n\tvmovups %zmm3, 64(%rsp)\n\tjne .LBB0_1\n"
    (loop,) = innermost_loops(text)
    assert [line for line in loop if "%rsp" in line]


def test_stamp_is_of_code_and_values():
    def factory(number, helper):
        def work(x):
            return helper(x) + number

        return work

    @numba.njit
    def one(x):
        return x

    @numba.njit
    def other(x):
        return x

    stamps = [nb.stamp(factory(number, helper)) for number in (1, 2) for helper in (one, other)]
    assert len(set(stamps)) == 4
    assert nb.stamp(factory(2, other)) == stamps[3]
    with pytest.raises(TypeError, match="no name that lasts"):
        nb.stamp(factory(object(), one))


def test_second_process_compiles_nothing(tmp_path):
    import os
    import subprocess
    import sys

    code = (
        "import numpy as np\n"
        "from lamella.kernels.conv2d import _nb_gather as g\n"
        "tasks = [g.pack_weights(np.dtype(t)) for t in ('float32', 'float64')] + [g.tile_function(np.dtype('float32'), 2, 1)]\n"
        "print(*[task.cache_hits for task in tasks])"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment) for _ in range(2)]
    assert [run.stdout.split() for run in runs] == [["0"] * 3, ["1"] * 3]


def test_without_a_folder_to_write_to_kernels_are_compiled_anew(monkeypatch):
    from numba.core.caching import FunctionCache

    def nowhere(*args):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(FunctionCache, "__init__", nowhere)
    from lamella.kernels._common import nb

    @nb.task
    def double(ctx, task, slot):
        nb.array_i64(nb.ints(ctx)[0])[0] *= 2

    number = np.array([21])
    nb.program([nb.Argument(0)], nb.Stage(double, 1, 0.0))(number)
    assert number[0] == 42
