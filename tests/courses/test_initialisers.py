"""Initialisers: their variances, and what becomes of the variance of activations and gradients."""

import math

import numpy as np
import pytest

import lamella
from lamella.nn import init

FAN_IN, FAN_OUT = 600, 400


def drawn(fill, shape=(FAN_OUT, FAN_IN), *arguments, **options):
    lamella.manual_seed(0)
    return fill(np.empty(shape), *arguments, **options)


def has(values, mean, variance):
    """Mean and variance within 5 standard errors (240,000 numbers)."""
    n = values.size
    assert abs(values.mean() - mean) < 5 * math.sqrt(variance / n)
    assert values.var() == pytest.approx(variance, rel=5 * math.sqrt(2 / n))


@pytest.mark.course("A-120")
@pytest.mark.parametrize("activation", ["Tanh", "ReLU", "Sigmoid"])
def test_equal_weights_stay_equal(activation):
    """Zeros: with f(0) = 0 no weight learns; any constant: hidden neurons stay copies of each other."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((32, 3)).astype(np.float32), rng.integers(0, 2, 32)
    for constant in (0.0, 0.3):
        model = lamella.nn.Sequential(lamella.nn.Linear(3, 5), getattr(lamella.nn, activation)(), lamella.nn.Linear(5, 2))
        for p in model.parameters():
            init.constant_(p, constant)
        init.constant_(model[2].weight.data[1], constant / 2)
        optimizer = lamella.optim.SGD(model.parameters(), lr=0.5)
        for _ in range(10):
            optimizer.zero_grad()
            lamella.functional.cross_entropy(model(x), y).backward()
            if constant == 0 and activation != "Sigmoid":
                assert all((p.grad.data == 0).all() for p in (model[0].weight, model[0].bias, model[2].weight))
            optimizer.step()
        first = model[0].weight.data
        np.testing.assert_allclose(first, np.broadcast_to(first[:1], first.shape), rtol=1e-5, atol=1e-7)


@pytest.mark.course("A-121", "A-122", "A-123")
def test_plain_gaussians():
    has(drawn(init.normal_), 0, 1)
    has(drawn(init.uniform_), 0.5, 1 / 12)
    small = drawn(init.normal_, std=0.01)
    has(small, 0, 1e-4)  # erratum: "variance = sqrt(0.01)" would be 0.1
    assert abs(small.var() - math.sqrt(0.01)) > 0.09
    has(drawn(init.lecun_normal_), 0, 1 / FAN_IN)  # randn(n) / sqrt(n)


@pytest.mark.course("A-124", "A-125")
def test_xavier():
    """Errata: the 6 was read as a sigma; r = sqrt(3) * sigma^2 in place of sqrt(3 * sigma^2)."""
    variance = 2 / (FAN_IN + FAN_OUT)
    uniform = drawn(init.xavier_uniform_)
    has(uniform, 0, variance)
    bound = math.sqrt(6 / (FAN_IN + FAN_OUT))
    assert bound == pytest.approx(math.sqrt(3 * variance)) and 0.999 * bound < np.abs(uniform).max() <= bound
    assert math.sqrt(3) * variance < bound / 20  # as printed, far too narrow
    has(drawn(init.xavier_normal_), 0, variance)


@pytest.mark.course("A-126")
def test_he_in_three_ways():
    """The course's fan_in + fan_out in one, 2 / fan_in in PyTorch and the paper, 2 / fan_out for the way back."""
    for mode, variance in (("fan_in", 2 / FAN_IN), ("fan_out", 2 / FAN_OUT), ("fan_avg", 4 / (FAN_IN + FAN_OUT))):
        has(drawn(init.kaiming_normal_, mode=mode, nonlinearity="relu"), 0, variance)
        has(drawn(init.kaiming_uniform_, mode=mode, nonlinearity="relu"), 0, variance)
    filters = drawn(init.kaiming_normal_, (40, 20, 5, 5), nonlinearity="relu")
    assert filters.var() == pytest.approx(2 / (20 * 25), rel=0.05)
    with pytest.raises(ValueError, match="fan_avg"):
        init.kaiming_normal_(np.empty((2, 2)), mode="fan")


@pytest.mark.course("A-127")
def test_lecun():
    has(drawn(init.lecun_normal_), 0, 1 / FAN_IN)
    uniform = drawn(init.lecun_uniform_)
    has(uniform, 0, 1 / FAN_IN)
    assert np.abs(uniform).max() <= math.sqrt(3 / FAN_IN)


@pytest.mark.course("G-16")
def test_half_the_variance_passes_a_relu():
    a = np.random.default_rng(0).standard_normal(1_000_000)
    assert (lamella.functional.relu(a) ** 2).mean() == pytest.approx(0.50134, abs=5e-6)


@pytest.mark.course("A-128")
@pytest.mark.parametrize(
    ("fill", "activation", "keeps"),
    [
        (lambda w: init.kaiming_normal_(w, nonlinearity="relu"), "relu", True),
        (lambda w: init.kaiming_uniform_(w, nonlinearity="relu"), "relu", True),
        (lambda w: init.kaiming_normal_(w, mode="fan_avg", nonlinearity="relu"), "relu", True),
        (init.lecun_normal_, None, True),
        (init.lecun_uniform_, None, True),
        (init.xavier_normal_, None, True),
        (init.xavier_uniform_, None, True),
        (init.orthogonal_, None, True),
        (init.xavier_normal_, "relu", False),  # halves it in every layer
        (lambda w: init.normal_(w, std=0.01), "relu", False),
    ],
)
def test_variance_through_ten_layers(fill, activation, keeps):
    """Forward, sigma'^2 = fan_in * var(w) * E[f^2]; and the gradient on its way back."""
    lamella.manual_seed(1)
    x = lamella.Tensor(np.random.default_rng(0).standard_normal((256, 200)), requires_grad=True)
    f = x
    for _ in range(10):
        w = fill(np.empty((200, 200)))
        f = lamella.functional.linear(lamella.functional.relu(f) if activation else f, w)
    f.backward(np.random.default_rng(1).standard_normal(f.shape))
    forward, backward = f.data.var(), x.grad.data.var()
    if keeps:
        assert 0.4 < forward < 2.5 and 0.4 < backward < 2.5
    else:
        assert forward < 0.01 and backward < 0.01


@pytest.mark.course("A-128")
def test_variance_of_one_layer():
    """E[f'] = 0 and sigma_f'^2 = D * var(w) * sigma_f^2 / 2 after a ReLU."""
    rng = np.random.default_rng(0)
    a = 1.7 * rng.standard_normal((4000, 300))
    out = lamella.functional.linear(lamella.functional.relu(a), 0.1 * rng.standard_normal((300, 300)))
    assert abs(out.mean()) < 0.1
    assert out.var() == pytest.approx(300 * 0.1**2 * 1.7**2 / 2, rel=0.05)


@pytest.mark.course("A-129")
def test_truncated_orthogonal_dirac_identity_sparse():
    values = drawn(init.trunc_normal_, std=0.5, a=-1, b=1)
    assert np.abs(values).max() <= 1
    phi = math.exp(-2) / math.sqrt(2 * math.pi)
    has(values, 0, 0.25 * (1 - 4 * phi / math.erf(math.sqrt(2))))
    q = drawn(init.orthogonal_, (40, 60))
    np.testing.assert_allclose((q[:, None] * q[None]).sum(-1), np.eye(40), atol=1e-12)
    np.testing.assert_array_equal(drawn(init.eye_, (3, 4)), np.eye(3, 4))
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 6))
    np.testing.assert_array_equal(lamella.functional.conv2d(x, drawn(init.dirac_, (4, 4, 3, 3)), padding=1), x)
    sparse = drawn(init.sparse_, (50, 20), 0.21)
    assert ((sparse == 0).sum(0) == 11).all()
    lamella.manual_seed(0)
    default = lamella.nn.Linear(FAN_IN, FAN_OUT).weight.data  # kaiming_uniform(a = sqrt 5): within 1 / sqrt(fan_in)
    has(default.astype(np.float64), 0, 1 / (3 * FAN_IN))
