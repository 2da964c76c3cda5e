"""Pooling against PyTorch: forward, backward and indices, every option, both dtypes, both memory formats."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lamella
import lamella.functional as F
from lamella.layout import channels_last

torch = pytest.importorskip("torch")
T = torch.nn.functional
pytestmark = pytest.mark.oracle

CASES = [
    ("max_pool2d", (2,), {}),
    ("max_pool2d", (3,), {"stride": 2, "padding": 1}),
    ("max_pool2d", ((3, 2),), {"stride": (2, 1), "padding": (1, 0), "dilation": (2, 3)}),
    ("max_pool2d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}),
    ("max_pool2d", (3,), {"stride": 1, "padding": 1}),
    ("max_pool2d", ((5, 7),), {"stride": 3, "padding": (2, 3), "ceil_mode": True}),
    ("avg_pool2d", (2,), {}),
    ("avg_pool2d", (3,), {"stride": 2, "padding": 1}),
    ("avg_pool2d", (3,), {"stride": 2, "padding": 1, "count_include_pad": False}),
    ("avg_pool2d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}),
    ("avg_pool2d", ((3, 4),), {"stride": (3, 3), "padding": (1, 2), "ceil_mode": True, "count_include_pad": False}),
    ("avg_pool2d", ((2, 3),), {"stride": (1, 2), "divisor_override": 5}),
    ("lp_pool2d", (2, 2), {}),
    ("lp_pool2d", (2.0, (3, 2)), {"stride": (2, 3), "ceil_mode": True}),
    ("lp_pool2d", (1, 3), {"stride": 2}),
    ("lp_pool2d", (4, 2), {"ceil_mode": True}),
    ("lp_pool2d", (3, 2), {}),
    ("lp_pool2d", (float("inf"), 2), {}),
    ("lp_pool2d", (float("-inf"), 2), {"stride": 1}),
    ("adaptive_avg_pool2d", (1,), {}),
    ("adaptive_avg_pool2d", ((3, 4),), {}),
    ("adaptive_avg_pool2d", ((None, 5),), {}),
    ("adaptive_avg_pool2d", ((17, 20),), {}),
    ("adaptive_max_pool2d", (1,), {}),
    ("adaptive_max_pool2d", ((4, 3),), {}),
    ("adaptive_max_pool2d", ((13, 9),), {}),
]


def compare(name, args, options, x, tolerance):
    """Forward, backward and indices of one call, on a C-contiguous and a channels-last copy of x."""
    indices = {"return_indices": True} if "max" in name else {}
    tx = torch.from_numpy(x.copy()).requires_grad_()
    expected = getattr(T, name)(tx, *args, **options, **indices)
    expected, where = expected if indices else (expected, None)
    g = np.random.default_rng(1).standard_normal(tuple(expected.shape)).astype(x.dtype)
    if tx.numel():
        expected.backward(torch.from_numpy(g))
    for memory in (x, channels_last(x) if x.ndim == 4 else x):
        lx = lamella.from_numpy(memory.copy(order="K"))
        lx.requires_grad_()
        out = getattr(F, name)(lx, *args, **options, **indices)
        if indices:
            out, found = out
            assert found.dtype == np.int64
            np.testing.assert_array_equal(found.numpy(), where.numpy())
        assert out.shape == tuple(expected.shape) and out.dtype == x.dtype
        np.testing.assert_allclose(out.detach().numpy(), expected.detach().numpy(), rtol=tolerance, atol=tolerance)
        np.testing.assert_array_equal(getattr(F, name)(memory, *args, **options), out.detach().numpy())
        if tx.numel():
            out.backward(g)
            np.testing.assert_allclose(lx.grad.numpy(), tx.grad.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("name", "args", "options"), CASES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(2, 5, 12, 13), (3, 1, 11, 9), (1, 33, 10, 11), (4, 9, 8)], ids=str)
def test_against_torch(name, args, options, dtype, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    if name == "lp_pool2d" and args[0] % 2 == 1 and args[0] > 1:
        x = np.abs(x)  # sums near 0 make the root of an odd power arbitrarily ill-conditioned
    compare(name, args, options, x, 1e-10 if dtype == "float64" else 1e-5)


@st.composite
def geometries(draw):
    h, w = draw(st.tuples(st.integers(1, 17), st.integers(1, 17)))
    kernel = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    stride = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    ceil_mode = draw(st.booleans())
    shape = (draw(st.integers(0, 3)), draw(st.sampled_from([1, 2, 3, 4, 7, 8, 16, 19])), h, w)
    return shape, kernel, stride, padding, dilation, ceil_mode


@settings(max_examples=200, deadline=None)
@given(geometries(), st.booleans(), st.integers(0, 2**32))
def test_any_geometry(geometry, count_include_pad, seed):
    shape, kernel, stride, padding, dilation, ceil_mode = geometry
    x = np.random.default_rng(seed).integers(-3, 4, shape).astype(np.float64)  # many ties
    for name, args, options in (
        ("max_pool2d", (kernel, stride, padding, dilation, ceil_mode), {}),
        ("avg_pool2d", (kernel, stride, padding, ceil_mode, count_include_pad), {}),
        ("lp_pool2d", (2, kernel, stride, ceil_mode), {}),
    ):
        try:
            getattr(T, name)(torch.from_numpy(x), *args, **options)
        except RuntimeError:
            with pytest.raises(ValueError, match="pool2d"):
                getattr(F, name)(x, *args, **options)
            continue
        if name == "max_pool2d" and not np.isfinite(getattr(F, name)(x, *args)).all():
            continue  # a window without any tap: PyTorch's index lies outside the plane
        compare(name, args, options, x, 1e-10)


@settings(max_examples=50, deadline=None)
@given(st.tuples(st.integers(1, 12), st.integers(1, 12)), st.tuples(st.integers(1, 12), st.integers(1, 12)), st.sampled_from([1, 2, 5, 17]))
def test_any_adaptive_geometry(size, out, channels):
    x = np.random.default_rng(0).integers(-3, 4, (2, channels, *size)).astype(np.float64)
    compare("adaptive_avg_pool2d", (out,), {}, x, 1e-10)
    compare("adaptive_max_pool2d", (out,), {}, x, 1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [1, 5, 16])
def test_nan_and_infinity(dtype, channels):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, channels, 9, 10)).astype(dtype)
    for value in (np.nan, np.inf, -np.inf):
        x.ravel()[rng.integers(0, x.size, x.size // 8)] = value
    compare("max_pool2d", (3, 2, 1), {}, x, 1e-6)
    compare("adaptive_max_pool2d", ((2, 3),), {}, x, 1e-6)
    compare("avg_pool2d", (3, 2, 1), {}, x, 1e-5)
    all_low = np.full((1, channels, 4, 4), -np.inf, dtype)
    compare("max_pool2d", (2,), {}, all_low, 0)


def test_norm_of_nothing_has_no_gradient():
    compare("lp_pool2d", (2, 2), {}, np.zeros((1, 3, 4, 4)), 0)
    compare("lp_pool2d", (1, 2), {}, np.zeros((1, 3, 4, 4)), 0)


def test_negative_sums_of_odd_powers():
    with np.errstate(invalid="ignore"):
        compare("lp_pool2d", (3, 2), {}, np.full((1, 3, 4, 4), -2.0), 1e-10)
        compare("lp_pool2d", (1, 2), {}, np.full((1, 3, 4, 4), -2.0), 1e-10)
        compare("lp_pool2d", (2.5, 2), {}, np.linspace(-1, 4, 48).reshape(1, 3, 4, 4), 1e-10)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: F.max_pool2d(x, 0), ValueError, "kernel_size must be at least 1"),
        (lambda x: F.max_pool2d(x, 2, stride=0), ValueError, "stride must be at least 1"),
        (lambda x: F.max_pool2d(x, 2, padding=2), ValueError, "padding must be at most half"),
        (lambda x: F.max_pool2d(x, 2, padding=-1), ValueError, "expected padding of at least 0"),
        (lambda x: F.max_pool2d(x, 9), ValueError, "does not fit the padded input"),
        (lambda x: F.max_pool2d(x, 2.5), TypeError, "kernel_size as an int"),
        (lambda x: F.max_pool2d(x, (1, 2, 3)), ValueError, "kernel_size as an int"),
        (lambda x: F.max_pool2d(x[0, 0], 2), ValueError, r"expected input of shape \(N, C, H, W\)"),
        (lambda x: F.max_pool2d(x[:, :0], 2), ValueError, "only N may be 0"),
        (lambda x: F.max_pool2d(x.astype(np.int64), 2), TypeError, "float32 or float64"),
        (lambda x: F.avg_pool2d(x, 2, divisor_override=0), ValueError, "divisor_override"),
        (lambda x: F.avg_pool2d(x, 2, divisor_override=1.5), TypeError, "divisor_override"),
        (lambda x: F.lp_pool2d(x, 0, 2), ValueError, "norm_type"),
        (lambda x: F.adaptive_avg_pool2d(x, -1), ValueError, "output_size"),
        (lambda x: F.adaptive_max_pool2d(x, "a"), TypeError, "output_size"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call(np.zeros((2, 3, 6, 6), np.float32))


def test_odd_arrays():
    """Read-only, non-contiguous, negative strides, byte-swapped, misaligned: the same answer."""
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 10))
    expected = F.max_pool2d(x, 2)
    frozen = x.copy()
    frozen.flags.writeable = False
    raw = np.empty(x.nbytes + 1, np.uint8)
    misaligned = raw[1:].view(np.float64).reshape(x.shape)
    misaligned[...] = x
    for same in (
        frozen,
        np.repeat(x, 2, axis=3)[..., ::2],
        x[..., ::-1].copy()[..., ::-1],
        x.astype(">f8"),
        misaligned,
        np.asfortranarray(x),
    ):
        np.testing.assert_array_equal(F.max_pool2d(same, 2), expected)


def test_an_input_changed_in_place_is_noticed():
    x = lamella.tensor(np.ones((1, 2, 4, 4)), requires_grad=True)
    y = F.relu(x)
    out = F.lp_pool2d(y, 2, 2)
    with lamella.no_grad():
        y += 1
    with pytest.raises(RuntimeError, match="changed in place"):
        out.backward(np.ones(out.shape))


@pytest.mark.parametrize(
    ("name", "args", "options"),
    [
        ("MaxPool2d", (2,), {}),
        ("MaxPool2d", ((3, 2), 2, 1, 1), {"return_indices": True, "ceil_mode": True}),
        ("AvgPool2d", (3, 2, 1), {}),
        ("AvgPool2d", ((2, 3),), {"ceil_mode": True, "count_include_pad": False, "divisor_override": 7}),
        ("LPPool2d", (2, 3), {}),
        ("LPPool2d", (1.0, (3, 2), 1), {"ceil_mode": True}),
        ("AdaptiveAvgPool2d", (1,), {}),
        ("AdaptiveMaxPool2d", ((None, 3),), {"return_indices": True}),
    ],
    ids=str,
)
def test_layers(name, args, options):
    ours, theirs = getattr(lamella.nn, name)(*args, **options), getattr(torch.nn, name)(*args, **options)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == []
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 9))
    out, expected = ours(lamella.from_numpy(x)), theirs(torch.from_numpy(x))
    if options.get("return_indices"):
        (out, found), (expected, where) = out, expected
        np.testing.assert_array_equal(found.numpy(), where.numpy())
    np.testing.assert_allclose(out.numpy(), expected.numpy(), rtol=1e-12)
