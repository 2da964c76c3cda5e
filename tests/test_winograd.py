"""Winograd convolutions: what they lose, what they need, when they are chosen, and how to refuse them."""

import lamella.kernels as kernels
import numpy as np
import pytest

import lamella
import lamella.functional as F
from lamella import nn
from lamella.layout import channels_last
from lamella.problems import Conv2dProblem
from lamella.registry import OPERATIONS, select
from lamella.testing.cases import ROWS
from lamella.testing.check import find

F32, F64 = np.dtype("float32"), np.dtype("float64")
IMPLEMENTATIONS = [row.name for row in OPERATIONS["conv2d"].implementations if "winograd" in row.name]
LAYERS = [(64, 56), (128, 28), (256, 14), (512, 7), (64, 32), (128, 16), (256, 8), (512, 4)]


def layer(mb, channels, side, dtype=F32, dilation=(1, 1), groups=1, *more, k=3):
    x, w = (mb, channels, side, side), (channels, channels // groups, k, k)
    return Conv2dProblem.of(x, w, dtype, False, (1, 1), (k // 2, k // 2), dilation, groups, *more)


def width(name):
    return 5 if name.endswith("rows") else 3


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("pass_", ["forward", "backward_input", "backward_weight"])
def test_accuracy_at_many_channels(name, pass_):
    results = {}
    channels = 256 if width(name) == 5 else 512  # of more, transformed weights in float64 are too large
    p64 = layer(2, channels, 7, F64, k=width(name))
    inputs, _ = ROWS["conv2d"].make(p64, pass_, np.random.default_rng(0), False)
    inputs = [None if x is None else x.astype(F32).astype(F64) for x in inputs]
    for dtype, implementation in ((F64, "cy_direct"), (F64, name), (F32, name)):
        p = layer(2, channels, 7, dtype, k=width(name))
        _, outputs = ROWS["conv2d"].make(p, pass_, np.random.default_rng(0), False)
        arrays = [None if x is None else channels_last(x.astype(dtype)) if x.shape != p.w_shape else x.astype(dtype) for x in inputs]
        find("conv2d", pass_, implementation, p)(p, *arrays, *outputs)
        results[dtype, implementation] = outputs[0]
    exact = results[F64, "cy_direct"]
    largest = np.abs(exact).max()
    assert np.abs(results[F64, name] - exact).max() <= 1e-13 * largest
    assert np.abs(results[F32, name] - exact).max() <= (2e-5 if name.endswith("f4") else 1e-5) * largest


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("mb", [1, 8, 64])
def test_scratch_stays_small(name, mb):
    module = kernels.load("conv2d", name)
    for channels, side, groups in [(*sizes, 1) for sizes in LAYERS] + (
        [] if width(name) == 5 else [(64, 28, 2), (512, 14, 32), (512, 28, 4)]
    ):
        p = layer(mb, channels, side, F32, (1, 1), groups, k=width(name))
        for pass_ in OPERATIONS["conv2d"].passes:
            shared, per_thread = module.scratch(pass_, p)
            of_weights = module.transformed(pass_, p)
            assert of_weights <= 64 << 20
            assert shared + 2 * per_thread - of_weights <= max(1.5 * p.bytes, 1 << 20), (p, pass_, shared, per_thread, of_weights)


@pytest.mark.parametrize("name", ["cy_winograd_f2", "cy_winograd_f4"])
def test_groups_of_tiles(name):
    """Few channels and many tiles: sums of weight gradients by group."""
    p, before = layer(9, 20, 33, F32), lamella.get_num_threads()
    inputs, outputs = ROWS["conv2d"].make(p, "backward_weight", np.random.default_rng(0), False)
    results = {}
    for implementation, threads in (("cy_direct", 1), (name, 1), (name, 2), (name, 5)):
        lamella.set_num_threads(threads)
        find("conv2d", "backward_weight", implementation, p)(p, *inputs, *outputs)
        results[implementation, threads] = [x.copy() for x in outputs if x is not None]
    lamella.set_num_threads(before)
    module = kernels.load("conv2d", name)
    assert module.transformed("backward_weight", p) >= 4 * p.w_shape[0] * p.w_shape[1] * 9 * 4  # several sums
    for got, exact in zip(results[name, 1], results["cy_direct", 1]):
        assert np.abs(got - exact).max() <= 1e-5 * np.abs(exact).max()
    for threads in (2, 5):
        for got, expected in zip(results[name, threads], results[name, 1]):
            np.testing.assert_array_equal(got, expected)


def test_winograd_is_chosen_for_many_channels_and_not_for_few():
    for channels, side in LAYERS:
        for pass_ in OPERATIONS["conv2d"].passes:
            assert "winograd" in select("conv2d", pass_, layer(8, channels, side)).name
    for pass_ in OPERATIONS["conv2d"].passes:
        assert select("conv2d", pass_, layer(64, 16, 14, k=5)).name == "cy_winograd_rows"
        assert select("conv2d", pass_, layer(8, 64, 28, F32, (1, 1), 2)).name == "cy_winograd_f4"
    for channels in (1, 3, 8):
        assert "winograd" not in select("conv2d", "forward", layer(8, channels, 32)).name


def test_winograd_can_be_refused():
    p = layer(8, 64, 56)
    assert "winograd" in select("conv2d", "forward", p).name
    with lamella.allow_winograd(False):
        assert "winograd" not in select("conv2d", "forward", p).name
        with lamella.allow_winograd(True):
            assert "winograd" in select("conv2d", "forward", p).name
        with pytest.raises(RuntimeError, match=r"algorithm='winograd_f4' is refused by allow_winograd\(False\)"):
            select("conv2d", "forward", layer(8, 64, 56, F32, (1, 1), 1, "none", "winograd_f4"))
        with lamella.use_backend(conv2d="cy_winograd_f4"), pytest.raises(RuntimeError, match="refused by allow_winograd"):
            select("conv2d", "forward", p)
    lamella.allow_winograd(False)
    try:
        assert "winograd" not in select("conv2d", "forward", p).name
    finally:
        lamella.allow_winograd(True)
    assert "winograd" in select("conv2d", "forward", p).name


@pytest.mark.parametrize("algorithm", ["winograd_f2", "winograd_f4", "winograd_rows"])
def test_algorithm_names_a_winograd(algorithm):
    k = width(algorithm)
    x, w = np.ones((2, 3, 9, 9)), np.ones((4, 3, k, k))
    expected = F.conv2d(x, w, padding=1, algorithm="direct")
    np.testing.assert_allclose(F.conv2d(x, w, padding=1, algorithm=algorithm), expected, rtol=1e-13)
    with pytest.raises(ValueError, match=f"algorithm='{algorithm}' .* does not apply"):
        F.conv2d(x, w, stride=2, algorithm=algorithm)
    module = nn.Conv2d(3, 4, k, padding=k // 2, algorithm=algorithm)
    assert algorithm in repr(module)
    assert module(lamella.ones(1, 3, 5, 5)).shape == (1, 4, 5, 5)
