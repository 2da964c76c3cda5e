"""The checkers are checked: a kernel with one planted fault must fail, for the reason planted."""

import itertools
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from lamella.kernels._common import pool

from lamella.problems import ActivationProblem, GemmProblem, OptimizerProblem
from lamella.testing import check, check_adjoint, check_kernel
from lamella.testing.guard import guarded

F32 = np.dtype(np.float32)
GEMM = GemmProblem.of(15, 33, 17, F32)
RELU = ActivationProblem.of(101, F32, "relu")
KERNEL = check.registry.Kernel


def good_gemm(p, a, b, bias, c, out, scratch):
    out[...] = a.astype(np.float64) @ b.astype(np.float64)


def good_relu(p, x, out, scratch):
    np.maximum(x, 0, out=out)


def test_right_kernels_pass():
    check_kernel("gemm", "forward", good_gemm, GEMM)
    check_kernel("activation", "forward", good_relu, RELU)


# Wrong numbers


def omitted_term(p, a, b, bias, c, out, scratch):
    good_gemm(p, a[:, 1:], b[1:], bias, c, out, scratch)


def doubled_term(p, a, b, bias, c, out, scratch):
    good_gemm(p, a, b, bias, c, out, scratch)
    out += a[:, :1] * b[:1]


def one_element(p, a, b, bias, c, out, scratch):
    good_gemm(p, a, b, bias, c, out, scratch)
    out[-1, -1] += 1


def transposed_order(p, a, b, bias, c, out, scratch):
    good_gemm(p, a[::-1], b, bias, c, out, scratch)


@pytest.mark.parametrize("kernel", [omitted_term, doubled_term, one_element, transposed_order])
def test_exact(kernel):
    with pytest.raises(AssertionError, match="exact"):
        check_kernel("gemm", "forward", kernel, GEMM)


def half_precision(p, a, b, bias, c, out, scratch):
    """Right on small whole numbers: only the bound sees it."""
    out[...] = a.astype(np.float16).astype(np.float64) @ b.astype(np.float16).astype(np.float64)


def bad_when_large(p, a, b, bias, c, out, scratch):
    good_gemm(p, a, b, bias, c, out, scratch)
    out[out != np.round(out)] *= 1 + 1e-5


def infinite(p, a, b, bias, c, out, scratch):
    good_gemm(p, a, b, bias, c, out, scratch)
    if not np.array_equal(a, np.round(a)):
        out[3, 3] = np.inf


@pytest.mark.parametrize("kernel", [half_precision, bad_when_large, infinite])
def test_bounded(kernel):
    with pytest.raises(AssertionError, match="bounded"):
        check_kernel("gemm", "forward", kernel, GEMM)


def test_the_fault_is_named():
    with pytest.raises(
        AssertionError, match=r"gemm\.one_element\.forward on GemmProblem\(15, 33, 17.*1 of 495 .* first at \(14, 32\): got .*expected"
    ):
        check_kernel("gemm", "forward", one_element, GEMM)


# Not clean


def unwritten_first(p, x, out, scratch):
    np.maximum(x[1:], 0, out=out[1:])


def unwritten_last(p, x, out, scratch):
    np.maximum(x[:-1], 0, out=out[:-1])


def accumulating(p, x, out, scratch):
    out += np.maximum(x, 0)


@pytest.mark.parametrize("kernel", [unwritten_first, unwritten_last, accumulating])
def test_unwritten_output(kernel):
    with pytest.raises(AssertionError, match="got np.float32"):
        check_kernel("activation", "forward", kernel, RELU)


def test_unwritten_where_nan_is_right(monkeypatch):
    """NaN expected, NaN found, nothing written: another fill on the second run tells."""
    row = check.ROWS["activation"]

    def make(p, pass_, rng, integers):
        inputs, outputs = row.make(p, pass_, rng, integers)
        inputs[0][5] = np.nan
        return inputs, outputs

    def forgets_nan(p, x, out, scratch):
        np.copyto(out, np.maximum(x, 0), where=~np.isnan(x))

    monkeypatch.setitem(check.ROWS, "activation", check.Row(row.problem, row.problems, make, row.exact, row.bound, row.shapes))
    check_kernel("activation", "forward", good_relu, RELU)
    with pytest.raises(AssertionError, match="other bits"):
        check_kernel("activation", "forward", forgets_nan, RELU)


# Arrays updated in place


def good_sgd(p, h, g, param, buf, scratch):
    scale, decay, l1, keep, lr, momentum, take = h
    for i in range(p.count):
        w = keep * param[i]
        buf[i][...] = momentum * buf[i] + take * (scale * g[i] + decay * w + l1 * np.sign(w))
        param[i][...] = w - lr * buf[i]


def forgets_the_start(p, h, g, param, buf, scratch):
    buf[-1][...] = 0
    good_sgd(p, h, g, param, buf, scratch)


def keeps_the_state(p, h, g, param, buf, scratch):
    good_sgd(p, h, g, param, [*buf[:-1], buf[-1].copy()], scratch)


def updates_the_gradient(p, h, g, param, buf, scratch):
    good_sgd(p, h, g, param, buf, scratch)
    g[-1] += param[-1]


@pytest.mark.parametrize(
    ("kernel", "fault"), [(forgets_the_start, "exact"), (keeps_the_state, "exact"), (updates_the_gradient, "input was changed")]
)
def test_updated_in_place(kernel, fault):
    p = OptimizerProblem.of((3, 98), F32, True)
    check_kernel("optimizer", "sgd", good_sgd, p)
    with pytest.raises(AssertionError, match=fault):
        check_kernel("optimizer", "sgd", kernel, p)


def changes_input(p, x, out, scratch):
    np.maximum(x, 0, out=out)
    x[50] += 1


def changes_input_too_late(p, x, out, scratch):
    np.maximum(x, 0, out=out)
    x[-1] = np.nan


@pytest.mark.parametrize("kernel", [changes_input, changes_input_too_late])
def test_input_changed(kernel):
    with pytest.raises(AssertionError, match="input was changed"):
        check_kernel("activation", "forward", kernel, RELU)


def test_second_run_differs():
    counter = itertools.count()

    def unsteady(p, a, b, bias, c, out, scratch):
        good_gemm(p, a, b, bias, c, out, scratch)
        np.copyto(out, np.nextafter(out, np.float32(np.inf)), where=bool(next(counter) % 2) & (out != np.round(out)))

    with pytest.raises(AssertionError, match="other bits on a second run"):
        check_kernel("gemm", "forward", unsteady, GEMM)


@pytest.mark.parametrize("count", [1, 3])
def test_thread_dependent(count, monkeypatch):
    monkeypatch.setattr(check, "pool", pool)
    before = pool.get_num_threads()

    def depends(p, a, b, bias, c, out, scratch):
        good_gemm(p, a, b, bias, c, out, scratch)
        if pool.get_num_threads() == count:
            np.copyto(out, np.nextafter(out, np.float32(np.inf)), where=out != np.round(out))

    pool.set_num_threads(2)
    try:
        with pytest.raises(AssertionError, match=rf"other bits on a second run \({count} threads"):
            check_kernel("gemm", "forward", depends, GEMM)
        assert pool.get_num_threads() == 2
    finally:
        pool.set_num_threads(before)


def reads_scratch(p, x, out, scratch):
    np.maximum(x, 0, out=out)
    out[0] += scratch.view(np.float32)[0]


def test_uninitialised_scratch(monkeypatch):
    monkeypatch.setattr(check.registry, "Kernel", lambda name, function, shared, per_thread: KERNEL(name, function, 256, 0))
    with pytest.raises(AssertionError, match="got"):
        check_kernel("activation", "forward", reads_scratch, RELU)


# Out of bounds: the process dies, so it is another one

OUT_OF_BOUNDS = {
    "reads behind": "ctypes.string_at(x.ctypes.data + x.nbytes, 1)",
    "reads before": "ctypes.string_at(x.ctypes.data - 1, 1)",
    "writes behind": "ctypes.memset(out.ctypes.data + out.nbytes, 0, 1)",
    "writes before": "ctypes.memset(out.ctypes.data - 1, 0, 1)",
    "writes behind its scratch": "ctypes.memset(scratch.ctypes.data + scratch.nbytes, 0, 1)",
}


@pytest.mark.parametrize("fault", OUT_OF_BOUNDS)
@pytest.mark.parametrize("n", [101, 1024])
def test_out_of_bounds(fault, n):
    code = f"""
        import ctypes, sys
        import numpy as np
        from lamella.problems import ActivationProblem
        from lamella.testing import check, check_kernel
        Kernel = check.registry.Kernel
        check.registry.Kernel = lambda name, function, shared, per_thread: Kernel(name, function, 256, 128)
        def kernel(p, x, out, scratch):
            np.maximum(x, 0, out=out)
            if sys.argv[1] == "faulty":
                {OUT_OF_BOUNDS[fault]}
        check_kernel("activation", "forward", kernel, ActivationProblem.of({n}, np.dtype("float32"), "relu"))
    """
    faulty, right = (
        subprocess.run([sys.executable, "-c", textwrap.dedent(code), how], capture_output=True, text=True, timeout=60)
        for how in ("faulty", "right")
    )
    assert right.returncode == 0, right.stderr
    assert faulty.returncode < 0, "survived"  # a signal


@pytest.mark.parametrize("end", ["low", "high"])
@pytest.mark.parametrize(
    "x",
    [
        np.arange(7, dtype=np.float32),
        np.arange(24.0).reshape(2, 3, 4)[:, ::-1, ::2],
        np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1),
        np.empty((0, 3)),
        np.float64(3.0).reshape(()),
        np.arange(5000, dtype=np.int64),
    ],
    ids=["dense", "reversed", "transposed", "empty", "scalar", "pages"],
)
def test_guarded_copies(x, end):
    copy = guarded(x, end)
    assert np.array_equal(copy, x)
    assert copy.dtype == x.dtype
    assert copy.strides == x.strides


# Adjoint


def test_adjoint_sees_a_wrong_backward(monkeypatch):
    """conv2d's passes, one of them scaled by a hair."""
    row = check.ROWS["conv2d"]
    p = row.of(row.problems[0], np.float64)
    assert check_adjoint("conv2d", "ref", p)
    right = check.find
    for faulty in ("backward_input", "backward_weight"):

        def find(operation, pass_, name, p, faulty=faulty):
            kernel = right(operation, pass_, name, p)

            def scaled(p, *arrays):
                kernel(p, *arrays)
                arrays[-1 if pass_ == "backward_input" else -2][...] *= 1 + 1e-8

            return scaled if pass_ == faulty else kernel

        monkeypatch.setattr(check, "find", find)
        with pytest.raises(AssertionError, match=faulty):
            check_adjoint("conv2d", "ref", p)


# Requests that make no sense


def test_unknown_pass_is_an_error():
    with pytest.raises((ValueError, KeyError, AttributeError)):
        check_kernel("gemm", "backward", "cy_packed", GEMM)
