"""conv2d and Conv2d against PyTorch, forward and backward."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lamella
import lamella.functional as F
from lamella import nn
from lamella.layout import channels_last

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle
rng = np.random.default_rng(0)


def both(x, w, b, **options):
    """Outputs and gradients of lamella and of PyTorch for the same call."""
    results = []
    ours = [None if a is None else lamella.tensor(a, requires_grad=True) for a in (x, w, b)]
    if ours[0] is not None and x.flags.c_contiguous is False:
        ours[0] = lamella.from_numpy(x).requires_grad_()
    out = F.conv2d(*ours, **options)
    g = np.random.default_rng(1).standard_normal(out.shape).astype(x.dtype)
    out.backward(g)
    results.append([out.detach().numpy()] + [t.grad.numpy() for t in ours if t is not None])
    theirs = [None if a is None else torch.tensor(np.ascontiguousarray(a), requires_grad=True) for a in (x, w, b)]
    reference = torch.nn.functional.conv2d(*theirs, **options)
    reference.backward(torch.from_numpy(g))
    results.append([reference.detach().numpy()] + [t.grad.numpy() for t in theirs if t is not None])
    return results


def agree(dtype, x_shape, w_shape, bias, memory="c", **options):
    x, w = rng.standard_normal(x_shape).astype(dtype), rng.standard_normal(w_shape).astype(dtype)
    b = rng.standard_normal(w_shape[0]).astype(dtype) if bias else None
    if memory == "channels_last" and x.ndim == 4:
        x = channels_last(x)
    ours, theirs = both(x, w, b, **options)
    for a, e in zip(ours, theirs, strict=True):
        assert a.dtype == e.dtype and a.shape == e.shape
        np.testing.assert_allclose(a, e, rtol=0, atol=(1e-10 if dtype == "float64" else 1e-4) * max(1, np.abs(e).max(initial=0)))


@pytest.mark.parametrize("memory", ["c", "channels_last"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("x", "w", "options"),
    [
        ((2, 1, 28, 28), (6, 1, 5, 5), {"padding": 2}),
        ((2, 6, 14, 14), (16, 6, 5, 5), {}),
        ((2, 16, 9, 9), (32, 16, 3, 3), {"padding": 1, "stride": 2}),
        ((2, 16, 8, 8), (16, 16, 1, 1), {"stride": 2}),
        ((1, 3, 32, 32), (8, 3, 7, 7), {"padding": 3, "stride": 2}),
        ((2, 4, 10, 11), (6, 2, 3, 2), {"padding": (1, 2), "stride": (1, 2), "dilation": (2, 1), "groups": 2}),
        ((2, 4, 10, 11), (8, 1, 3, 3), {"padding": 1, "groups": 4}),
        ((2, 3, 8, 8), (4, 3, 4, 3), {"padding": "same", "dilation": 2}),
        ((2, 3, 8, 8), (4, 3, 4, 3), {"padding": "valid"}),
        ((3, 8, 8), (4, 3, 3, 3), {}),
        ((0, 3, 8, 8), (4, 3, 3, 3), {}),
    ],
    ids=str,
)
def test_conv2d(x, w, options, dtype, memory):
    agree(dtype, x, w, bias=True, memory=memory, **options)
    agree(dtype, x, w, bias=False, memory=memory, **options)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_conv2d_geometry(data):
    draw = data.draw
    groups = draw(st.integers(1, 3))
    ic, oc = groups * draw(st.integers(1, 4)), groups * draw(st.integers(1, 4))
    k = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    stride = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    low = [max(1, d * (n - 1) + 1 - 2 * p) for d, n, p in zip(dilation, k, padding)]
    size = [draw(st.integers(least, least + 12)) for least in low]
    shape = (draw(st.integers(1, 3)), ic, *size)
    agree("float64", shape, (oc, ic // groups, *k), draw(st.booleans()), stride=stride, padding=padding, dilation=dilation, groups=groups)


@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_images_larger_than_caches(stride):
    agree("float32", (4, 40, 120, 122), (40, 1, 3, 3), True, "channels_last", padding=1, groups=40, stride=stride)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_special_values_propagate(special):
    x = rng.standard_normal((1, 2, 6, 6)).astype("float32")
    x[0, 1, 2, 3] = special
    w = rng.standard_normal((3, 2, 3, 3)).astype("float32")
    ours = F.conv2d(x, w, padding=1)
    theirs = torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(w), padding=1).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{}, {"padding": 1, "stride": (2, 1)}, {"bias": False, "dilation": 2}, {"groups": 2, "padding": "same"}], ids=str
)
def test_layer(options):
    ours, theirs = nn.Conv2d(4, 6, 3, **options), torch.nn.Conv2d(4, 6, 3, **options)
    assert repr(ours) == repr(theirs)
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    x = rng.standard_normal((2, 4, 8, 9)).astype("float32")
    np.testing.assert_allclose(ours(lamella.tensor(x)).detach().numpy(), theirs(torch.from_numpy(x)).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_default_initialisation_has_pytorchs_range():
    lamella.manual_seed(0)
    layer = nn.Conv2d(16, 64, 3)
    bound = 1 / np.sqrt(16 * 9)
    for values in (layer.weight.detach().numpy(), layer.bias.detach().numpy()):
        assert np.abs(values).max() <= bound
        assert np.abs(values).max() > 0.9 * bound
    assert abs(layer.weight.detach().numpy().std() - bound / np.sqrt(3)) < 0.01 * bound


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("backend", ["cython", "numba", "reference"])
def test_fused_activation_is_the_same_as_one_after(activation, backend):
    x, w, b = (rng.standard_normal(shape) for shape in ((2, 5, 9, 8), (7, 5, 3, 3), (7,)))
    fused, after = ([lamella.tensor(a, requires_grad=True) for a in (x, w, b)] for _ in range(2))
    with lamella.use_backend(backend):
        out = F.conv2d(*fused, padding=1, activation=activation)
        expected = getattr(F, activation)(F.conv2d(*after, padding=1))
        for y in (out, expected):
            y.backward(np.cos(np.arange(y.numel())).reshape(y.shape))
    np.testing.assert_allclose(out.detach().numpy(), expected.detach().numpy(), rtol=0, atol=1e-12)
    for a, e in zip(fused, after, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), e.grad.numpy(), rtol=0, atol=1e-10)
