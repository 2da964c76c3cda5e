"""Activations against PyTorch: values and gradients, both dtypes, every memory order, extremes; the layers."""

import numpy as np
import pytest

import lamella
from lamella import functional as F
from lamella.layout import channels_last

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

DTYPES = [np.float32, np.float64]
T, inf, nan = torch.nn.functional, np.inf, np.nan
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-10}
FUNCTIONS = {
    "relu": (F.relu, torch.relu),
    "leaky_relu": (F.leaky_relu, torch.nn.functional.leaky_relu),
    "gelu": (F.gelu, torch.nn.functional.gelu),
    "gelu tanh": (lambda x: F.gelu(x, approximate="tanh"), lambda x: torch.nn.functional.gelu(x, approximate="tanh")),
    "leaky_relu 0.3": (lambda x: F.leaky_relu(x, 0.3), lambda x: torch.nn.functional.leaky_relu(x, 0.3)),
    "sigmoid": (F.sigmoid, torch.sigmoid),
    "tanh": (F.tanh, torch.tanh),
    "leaky_relu -0.3": (lambda x: F.leaky_relu(x, -0.3), lambda x: T.leaky_relu(x, -0.3)),
    "hardtanh": (F.hardtanh, T.hardtanh),
    "hardtanh 0.5 2": (lambda x: F.hardtanh(x, 0.5, 2), lambda x: T.hardtanh(x, 0.5, 2)),
    "relu6": (F.relu6, T.relu6),
    "threshold": (lambda x: F.threshold(x, 0.5, 20), lambda x: T.threshold(x, 0.5, 20)),
    "hardshrink": (F.hardshrink, T.hardshrink),
    "hardshrink -1": (lambda x: F.hardshrink(x, -1), lambda x: T.hardshrink(x, -1)),
    "softshrink": (F.softshrink, T.softshrink),
    "softshrink 0": (lambda x: F.softshrink(x, 0), lambda x: T.softshrink(x, 0)),
    "hardsigmoid": (F.hardsigmoid, T.hardsigmoid),
    "hardswish": (F.hardswish, T.hardswish),
    "elu": (F.elu, T.elu),
    "elu 0.3": (lambda x: F.elu(x, 0.3), lambda x: T.elu(x, 0.3)),
    "elu -1": (lambda x: F.elu(x, -1), lambda x: T.elu(x, -1)),
    "celu": (F.celu, T.celu),
    "celu 0.5": (lambda x: F.celu(x, 0.5), lambda x: T.celu(x, 0.5)),
    "selu": (F.selu, T.selu),
    "silu": (F.silu, T.silu),
    "mish": (F.mish, T.mish),
    "softplus": (F.softplus, T.softplus),
    "softplus 2 3": (lambda x: F.softplus(x, 2, 3), lambda x: T.softplus(x, 2, 3)),
    "logsigmoid": (F.logsigmoid, T.logsigmoid),
    "softsign": (F.softsign, T.softsign),
    "tanhshrink": (F.tanhshrink, T.tanhshrink),
    "rrelu": (F.rrelu, T.rrelu),
}
IN_PLACE = ["relu", "relu6", "leaky_relu", "hardtanh", "hardsigmoid", "hardswish", "elu", "celu", "selu", "silu", "mish", "rrelu"]
# where PyTorch overflows, has NaN as the derivative, though not that of the function, or gives what depends on the place in the array
OTHERWISE = {
    "hardswish": [3e38, -3e38, nan],
    "mish": [inf],
    "softsign": [inf, -inf],
    **{name: [nan] for name in ("hardtanh", "relu6", "hardshrink", "softshrink", "elu", "celu", "selu")},
}
EXTREMES = [
    0.0,
    -0.0,
    1e-30,
    -1e-30,
    0.5,
    -0.5,
    1.0,
    -1.0,
    3.0,
    -3.0,
    6.0,
    -6.0,
    20.0,
    -20.0,
    90.0,
    -87.0,
    1e4,
    -1e4,
    3e38,
    -3e38,
    inf,
    -inf,
    nan,
]


def both(ours, theirs, x, units=1):
    dtype = x.dtype.type
    tolerance = units * TOLERANCE[dtype]
    a, b = lamella.tensor(x, requires_grad=True), torch.tensor(x.copy(), requires_grad=True)
    y, z = ours(a), theirs(b)
    upstream = np.random.default_rng(1).standard_normal(x.shape).astype(dtype)
    y.backward(upstream)
    z.backward(torch.tensor(upstream))
    if ours is F.hardsigmoid:  # PyTorch's sixth is one of float32
        b.grad *= (torch.ones((), dtype=b.dtype) / 6) / torch.tensor(np.float32(1) / np.float32(6))
    for got, want in ((y.data, z.detach().numpy()), (a.grad.data, b.grad.numpy())):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance, equal_nan=True)
    np.testing.assert_array_equal(ours(x), y.data)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_activation(name, dtype):
    rng = np.random.default_rng(0)
    units = 8 if name in ("gelu tanh", "mish", "softsign") else 1  # PyTorch's 1 - tanh^2 cancels; so does its softsign
    for shape in [(), (0,), (1,), (17,), (3, 5), (2, 3, 4, 5), (3, 0, 2)]:
        x = np.asarray(4 * rng.standard_normal(shape)).astype(dtype)
        both(*FUNCTIONS[name], x, units)
        if x.ndim == 4:
            both(*FUNCTIONS[name], channels_last(x), units)
            both(*FUNCTIONS[name], x[:, ::2, ::-1], units)
            both(*FUNCTIONS[name], x.T, units)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_extremes(name, dtype):
    x = np.array(EXTREMES, dtype)
    if "gelu" in name:  # PyTorch's overflows in float32 and then gives NaN
        x = x[~(np.abs(x) > 1e4)]
    for value in OTHERWISE.get(name.split()[0], ()):
        x = x[~np.isnan(x)] if np.isnan(value) else x[x != dtype(value)]
    both(*FUNCTIONS[name], x)
    both(*FUNCTIONS[name], np.repeat(x, 7))


def test_gelu_of_the_largest_numbers():
    for approximate in ("none", "tanh"):
        for dtype in DTYPES:
            np.testing.assert_array_equal(F.gelu(np.array([3e38, -3e38, inf], dtype), approximate), np.array([3e38, 0, inf], dtype))
    with pytest.raises(ValueError, match="approximate must be"):
        F.gelu(np.ones(3), "tan")


def test_layers():
    x = np.linspace(-7, 7, 29).reshape(1, 29)
    for name, options in [
        ("ReLU", {}),
        ("ReLU", {"inplace": True}),
        ("LeakyReLU", {}),
        ("LeakyReLU", {"negative_slope": 0.3, "inplace": True}),
        ("Sigmoid", {}),
        ("Tanh", {}),
        ("GELU", {}),
        ("GELU", {"approximate": "tanh"}),
        ("Hardtanh", {"min_val": -2.0, "inplace": True}),
        ("ReLU6", {}),
        ("ReLU6", {"inplace": True}),
        ("Threshold", {"threshold": 0.5, "value": -1.0, "inplace": True}),
        ("Hardshrink", {}),
        ("Softshrink", {"lambd": 1.5}),
        ("Hardsigmoid", {"inplace": True}),
        ("Hardswish", {"inplace": True}),
        ("ELU", {"alpha": 2.0, "inplace": True}),
        ("CELU", {"alpha": 2.0}),
        ("SELU", {"inplace": True}),
        ("SiLU", {"inplace": True}),
        ("Mish", {"inplace": True}),
        ("Softplus", {"beta": 2.0, "threshold": 5.0}),
        ("LogSigmoid", {}),
        ("Softsign", {}),
        ("Tanhshrink", {}),
        ("Softmin", {"dim": 1}),
        ("Softmax", {"dim": 1}),
    ]:
        ours, theirs = getattr(lamella.nn, name)(**options), getattr(torch.nn, name)(**options)
        assert repr(ours) == repr(theirs)
        np.testing.assert_allclose(ours(x.copy()), theirs(torch.tensor(x)).numpy(), rtol=1e-12, atol=1e-15)
    for name, options in [
        ("RReLU", {"lower": 0.2}),
        ("RReLU", {"inplace": True}),
        ("AlphaDropout", {"p": 0.2}),
        ("FeatureAlphaDropout", {}),
    ]:
        ours, theirs = getattr(lamella.nn, name)(**options).eval(), getattr(torch.nn, name)(**options).eval()
        assert repr(ours) == repr(theirs)
        np.testing.assert_allclose(ours(x.copy()), theirs(torch.tensor(x)).numpy(), rtol=1e-12, atol=1e-15)
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    np.testing.assert_allclose(lamella.nn.Softmax2d()(x), torch.nn.Softmax2d()(torch.tensor(x)).numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place(name):
    ours, theirs = getattr(F, name), getattr(T, name)
    rng = np.random.default_rng(0)
    for shape in [(), (17,), (2, 3, 4, 5)]:
        x, upstream = np.asarray(3 * rng.standard_normal(shape)), np.asarray(rng.standard_normal(shape))
        a, b = lamella.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        for leaf, function in ((a, ours), (b, theirs)):
            with pytest.raises(RuntimeError, match="leaf"):
                function(leaf, inplace=True)
        y, z = a * 1.5, b * 1.5
        memory = y.data.ctypes.data
        assert ours(y, inplace=True) is y and y.data.ctypes.data == memory
        result = theirs(z, inplace=True)
        np.testing.assert_allclose(y.data, result.detach().numpy(), rtol=1e-10, atol=1e-12)
        (y * upstream).sum().backward()
        (result * torch.tensor(upstream)).sum().backward()
        np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-7 if name == "hardsigmoid" else 1e-10, atol=1e-12)
        assert ours(x, inplace=True) is x
        with lamella.no_grad():
            assert ours(a, inplace=True) is a
        np.testing.assert_array_equal(a.data, x)
    odd = np.random.default_rng(0).standard_normal((4, 6))[:, ::2]
    expected = ours(odd)
    assert ours(odd, inplace=True) is odd
    np.testing.assert_array_equal(odd, expected)


def test_in_place_leaves_alone_what_others_see():
    x = lamella.tensor(np.array([-1.0, 2.0, 3.0]), requires_grad=True)
    y = F.sigmoid(x)  # saves its output
    before = y.data.copy()
    seen, view, used = y.detach(), y[1:], y * 2
    F.silu(y, inplace=True)
    np.testing.assert_array_equal(seen.data, before)
    np.testing.assert_array_equal(view.data, before[1:])
    (y.sum() + used.sum() + view.sum()).backward()
    a = torch.tensor(x.data, requires_grad=True)
    b = torch.sigmoid(a)
    (T.silu(b).sum() + 2 * b.sum() + b[1:].sum()).backward()
    np.testing.assert_allclose(x.grad.data, a.grad.numpy(), rtol=1e-12)


def test_in_place_is_counted():
    x = lamella.tensor(np.array([1.0, -2.0]))
    w = lamella.tensor(np.array([3.0, 4.0]), requires_grad=True)
    y = w * x
    F.relu_(x)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


@pytest.mark.parametrize("weights", [0, 1, 3])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (2, 3, 4, 5), (0, 3, 2)])
def test_prelu_and_learned_swish(shape, weights):
    rng = np.random.default_rng(0)
    x, w, upstream = rng.standard_normal(shape), rng.standard_normal(weights or ()), rng.standard_normal(shape)
    spread = (-1, *(1,) * (len(shape) - 2)) if weights else ()
    for ours, theirs in ((F.prelu, T.prelu), (F.swish, lambda x, w: x * torch.sigmoid(w.reshape(spread) * x))):
        for data in (x, channels_last(x)) if x.ndim == 4 else (x,):
            arrays = [lamella.tensor(data, requires_grad=True), lamella.tensor(w, requires_grad=True)]
            tensors = [torch.tensor(v, requires_grad=True) for v in (x, w)]
            y, z = ours(*arrays), theirs(*tensors)
            np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-12)
            y.backward(upstream)
            z.backward(torch.tensor(upstream))
            for a, b in zip(arrays, tensors):
                assert a.grad.shape == tuple(b.shape)
                np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-10, atol=1e-12)


def test_prelu_layer():
    ours, theirs = lamella.nn.PReLU(3), torch.nn.PReLU(3)
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict()) == ["weight"]
    ours.load_state_dict({"weight": np.array([0.1, 0.2, 0.3], np.float32)})
    np.testing.assert_allclose(ours(-np.ones((1, 3), np.float32)).data, [[-0.1, -0.2, -0.3]])
    for shape, weight in (((2, 4), 3), ((5,), 5), ((2, 4), (2, 4))):
        with pytest.raises(ValueError, match="expected weight of 1 element"):
            F.prelu(np.ones(shape), np.ones(weight))
    with pytest.raises(TypeError, match="expected one dtype"):
        F.prelu(np.ones((2, 3)), np.ones(3, np.float32))


@pytest.mark.parametrize("layer", ["RReLU", "AlphaDropout", "FeatureAlphaDropout"])
def test_drawn(layer):
    """The same draw for any thread count and memory order; in the backward pass, the same as forward; PyTorch's distribution."""
    ours, theirs = (getattr(package, layer)() for package in (lamella.nn, torch.nn))
    data, results, threads = np.random.default_rng(0).standard_normal((4, 50, 12, 11)), [], lamella.get_num_threads()
    for count in (1, 2):
        lamella.set_num_threads(count)
        for x in (data, channels_last(data)):
            lamella.manual_seed(3)
            t = lamella.tensor(x, requires_grad=True)
            y = ours(t)
            y.backward(np.ones_like(data))
            results.append((y.data, t.grad.data))
    lamella.set_num_threads(threads)
    for y, slope in results[1:]:
        np.testing.assert_array_equal(y, results[0][0])
        np.testing.assert_array_equal(slope, results[0][1])
    y, slope = results[0]
    a = torch.tensor(data, requires_grad=True)
    torch.manual_seed(0)
    b = theirs(a)
    b.sum().backward()
    kept = slope != 0
    np.testing.assert_allclose(
        np.unique((y - slope * data)[kept].round(9)), np.unique((b - a.grad * a).detach().numpy()[a.grad != 0].round(9)), atol=2e-9
    )
    np.testing.assert_allclose(np.unique(y[~kept].round(9)), np.unique(b.detach().numpy()[a.grad == 0].round(9)))
    assert abs(slope.mean() - a.grad.mean().item()) < 0.1 and abs(y.mean() - b.mean().item()) < 0.2


def test_arguments_are_refused():
    x = np.ones((2, 3))
    for call, text in (
        (lambda: F.hardtanh(x, 1, -1), "min_val <= max_val"),
        (lambda: F.softshrink(x, -1), "greater or equal to 0"),
        (lambda: F.celu(x, 0), "cannot be 0"),
        (lambda: F.rrelu(x, 0.5, 0.25), "less than or equal"),
        (lambda: F.alpha_dropout(x, 1.5), "between 0 and 1"),
        (lambda: F.feature_alpha_dropout(x[0], 0.5, True), "expected input of"),
        (lambda: lamella.nn.Softmax2d()(x), "3D or 4D"),
    ):
        with pytest.raises(ValueError, match=text):
            call()
    with pytest.raises(TypeError, match="only an array or a Tensor"):
        F.relu_([1.0])
