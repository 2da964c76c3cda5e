"""Who computes: backends, overrides, a user's own kernels, and the order of the cost model."""

import threading

import numpy as np
import pytest

import lamella
import lamella.functional as F
from lamella import registry
from lamella.problems import ActivationProblem, Conv2dProblem
from lamella.registry import OPERATIONS, candidates, select

F32 = np.dtype("float32")


@pytest.fixture
def problem():
    return ActivationProblem.of(5, F32, "relu", 0.0)


def chosen(problem, pass_="forward"):
    return select("activation", pass_, problem).name


def test_each_backend_takes_its_own_kind(problem):
    assert chosen(problem) == "cy_flat"
    for backend, name in (("cython", "cy_flat"), ("numba", "nb_flat"), ("reference", "ref")):
        with lamella.use_backend(backend):
            assert chosen(problem) == name
            assert lamella.get_backend() == backend
    assert chosen(problem) == "cy_flat"


def test_the_setting_is_undone_after_an_error(problem):
    with pytest.raises(ZeroDivisionError), lamella.use_backend("reference"):
        raise ZeroDivisionError
    assert chosen(problem) == "cy_flat"


def test_global_setting_reaches_other_threads_and_a_block_does_not(problem):
    seen = {}

    def look(where):
        seen[where] = chosen(problem)

    def in_a_thread(where):
        t = threading.Thread(target=look, args=(where,))
        t.start()
        t.join()

    with lamella.use_backend("reference"):
        in_a_thread("block")
    try:
        lamella.use_backend("reference")
        in_a_thread("global")
    finally:
        lamella.use_backend("auto")
    assert seen == {"block": "cy_flat", "global": "ref"}


def test_one_operation_can_be_forced():
    p = Conv2dProblem.of((1, 8, 9, 9), (8, 8, 3, 3), F32, False)
    for name in ("cy_direct", "cy_im2col", "nb_im2col", "ref"):
        with lamella.use_backend("auto", conv2d=name):
            assert [select("conv2d", pass_, p).name for pass_ in OPERATIONS["conv2d"].passes] == [name] * 3


def test_a_forced_kernel_that_does_not_accept_is_an_error():
    p = Conv2dProblem.of((1, 8, 9, 9), (8, 8, 3, 3), F32, False)
    with (
        lamella.use_backend("auto", conv2d="cy_depthwise"),
        pytest.raises(RuntimeError, match="cy_depthwise, forced by use_backend, has no forward"),
    ):
        select("conv2d", "forward", p)


def test_a_forced_backend_never_falls_back_to_the_reference(problem, monkeypatch):
    listed = OPERATIONS["activation"].implementations
    monkeypatch.setitem(
        OPERATIONS, "activation", registry.Operation(OPERATIONS["activation"].passes, [r for r in listed if r.name == "ref"])
    )
    registry.forget_choices()
    with lamella.use_backend("cython"), pytest.raises(RuntimeError, match="the backend 'cython' has no forward"):
        chosen(problem)


@pytest.mark.parametrize(
    ("arguments", "overrides", "message"),
    [
        (("gpu",), {}, "expected one of auto, cython, numba, reference, got 'gpu'"),
        (("auto",), {"conv3d": "ref"}, "no operation 'conv3d'"),
        (("auto",), {"conv2d": "cy_magic"}, "conv2d has no implementation 'cy_magic'"),
    ],
)
def test_unknown_names_are_refused(arguments, overrides, message):
    with pytest.raises(ValueError, match=message):
        lamella.use_backend(*arguments, **overrides)


def test_a_kernel_of_the_users_comes_first_where_it_accepts(problem):
    calls = []

    def mine(p, x, out, scratch):
        calls.append(p)
        np.maximum(x, 0, out=out)

    assert chosen(problem) == "cy_flat"  # a choice made before is made again
    lamella.register_kernel("activation", "forward", mine, accepts=lambda p: p.function == "relu" and p.n < 10)
    try:
        assert chosen(problem) == "mine"
        assert chosen(problem, "backward") == "cy_flat"
        np.testing.assert_array_equal(F.relu(np.array([-1.0, 2.0])), [0, 2])
        assert len(calls) == 1
        assert chosen(ActivationProblem.of(11, F32, "relu", 0.0)) == "cy_flat"
        with lamella.use_backend("cython"):
            assert chosen(problem) == "cy_flat"
        with pytest.raises(ValueError, match="the name of a built-in implementation"):
            lamella.register_kernel("activation", "forward", mine, name="cy_flat")
    finally:
        lamella.unregister_kernel("activation", "mine")
    assert chosen(problem) == "cy_flat"
    with pytest.raises(ValueError, match="no registered kernel 'mine'"):
        lamella.unregister_kernel("activation", "mine")


def test_the_cost_model_ranks_by_problem_and_never_by_threads():
    tiny_rows = Conv2dProblem.of((8, 512, 1, 1), (512, 512, 1, 1), F32, False, (1, 1), (0, 0))
    wide = Conv2dProblem.of((8, 64, 56, 56), (64, 64, 3, 3), F32, False, (1, 1), (1, 1))
    assert candidates("conv2d", "forward", wide)[0].name == "cy_winograd_f4"
    assert candidates("conv2d", "forward", wide, winograd=False)[0].name == "cy_direct"
    before = lamella.get_num_threads()
    try:
        orders = set()
        for threads in (1, 2, 5):
            lamella.set_num_threads(threads)
            orders.add(tuple(row.name for p in (tiny_rows, wide) for row in candidates("conv2d", "backward_weight", p)))
    finally:
        lamella.set_num_threads(before)
    assert len(orders) == 1


def test_problems_are_memoised_and_bounded():
    arguments = ((1, 2, 5, 5), (3, 2, 3, 3), F32, True)
    assert Conv2dProblem.of(*arguments) is Conv2dProblem.of(*arguments)
    assert not Conv2dProblem.of(*arguments).geometry.flags.writeable


def test_algorithm_forces_one_under_either_backend():
    x, w = np.ones((1, 8, 9, 9), "f"), np.ones((8, 8, 3, 3), "f")
    for backend, prefix in (("cython", "cy_"), ("numba", "nb_")):
        with lamella.use_backend(backend):
            for algorithm in ("direct", "im2col"):
                p = Conv2dProblem.of(x.shape, w.shape, F32, False, (1, 1), (0, 0), (1, 1), 1, "none", algorithm)
                assert {select("conv2d", pass_, p).name for pass_ in OPERATIONS["conv2d"].passes} == {prefix + algorithm}
                assert F.conv2d(x, w, algorithm=algorithm).shape == (1, 8, 7, 7)


def test_algorithm_is_refused_where_it_does_not_apply():
    x, w = np.ones((1, 8, 9, 9), "f"), np.ones((8, 8, 3, 3), "f")
    with pytest.raises(ValueError, match="algorithm must be auto or one of depthwise3x3, .*got 'fft'"):
        F.conv2d(x, w, algorithm="fft")
    with pytest.raises(ValueError, match="algorithm='depthwise' of the backend 'auto' does not apply"):
        F.conv2d(x, w, algorithm="depthwise")
    with lamella.use_backend("reference"):
        assert F.conv2d(x, w, algorithm="direct").shape == (1, 8, 7, 7)


def test_allow_winograd_leaves_the_backend_alone():
    with lamella.use_backend("reference"), lamella.allow_winograd(False):
        assert lamella.get_backend() == "reference"
    with lamella.use_backend("reference"):
        lamella.allow_winograd(False)
        try:
            assert lamella.get_backend() == "reference"
        finally:
            lamella.allow_winograd(True)
    assert lamella.get_backend() == "auto"
