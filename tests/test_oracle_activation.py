"""Activations against PyTorch: values and gradients, both dtypes, every memory order, extremes; the layers."""

import numpy as np
import pytest

import lamella
from lamella import functional as F
from lamella.layout import channels_last

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

DTYPES = [np.float32, np.float64]
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-10}
FUNCTIONS = {
    "relu": (F.relu, torch.relu),
    "leaky_relu": (F.leaky_relu, torch.nn.functional.leaky_relu),
    "gelu": (F.gelu, torch.nn.functional.gelu),
    "gelu tanh": (lambda x: F.gelu(x, approximate="tanh"), lambda x: torch.nn.functional.gelu(x, approximate="tanh")),
    "leaky_relu 0.3": (lambda x: F.leaky_relu(x, 0.3), lambda x: torch.nn.functional.leaky_relu(x, 0.3)),
    "sigmoid": (F.sigmoid, torch.sigmoid),
    "tanh": (F.tanh, torch.tanh),
}
inf, nan = np.inf, np.nan
EXTREMES = [0.0, -0.0, 1e-30, -1e-30, 1.0, -1.0, 20.0, -20.0, 90.0, -87.0, 1e4, -1e4, 3e38, -3e38, inf, -inf, nan]


def both(ours, theirs, x, units=1):
    dtype = x.dtype.type
    tolerance = units * TOLERANCE[dtype]
    a, b = lamella.tensor(x, requires_grad=True), torch.tensor(x.copy(), requires_grad=True)
    y, z = ours(a), theirs(b)
    upstream = np.random.default_rng(1).standard_normal(x.shape).astype(dtype)
    y.backward(upstream)
    z.backward(torch.tensor(upstream))
    for got, want in ((y.data, z.detach().numpy()), (a.grad.data, b.grad.numpy())):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance, equal_nan=True)
    np.testing.assert_array_equal(ours(x), y.data)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_activation(name, dtype):
    rng = np.random.default_rng(0)
    units = 8 if name == "gelu tanh" else 1  # PyTorch's 1 - tanh^2 cancels
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
    both(*FUNCTIONS[name], x)
    both(*FUNCTIONS[name], np.repeat(x, 7))


def test_gelu_of_the_largest_numbers():
    for approximate in ("none", "tanh"):
        for dtype in DTYPES:
            np.testing.assert_array_equal(F.gelu(np.array([3e38, -3e38, inf], dtype), approximate), np.array([3e38, 0, inf], dtype))
    with pytest.raises(ValueError, match="approximate must be"):
        F.gelu(np.ones(3), "tan")


def test_layers():
    x = np.linspace(-3, 3, 13).reshape(1, 13)
    for name, options in [
        ("ReLU", {}),
        ("ReLU", {"inplace": True}),
        ("LeakyReLU", {}),
        ("LeakyReLU", {"negative_slope": 0.3, "inplace": True}),
        ("Sigmoid", {}),
        ("Tanh", {}),
        ("GELU", {}),
        ("GELU", {"approximate": "tanh"}),
    ]:
        ours, theirs = getattr(lamella.nn, name)(**options), getattr(torch.nn, name)(**options)
        assert repr(ours) == repr(theirs)
        np.testing.assert_allclose(ours(x), theirs(torch.tensor(x)).numpy(), rtol=1e-12)
