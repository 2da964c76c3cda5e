"""Activations (A-020 to A-037; A-036 is advice, and the linter's)."""

import math

import numpy as np
import pytest

import lamella
from lamella import functional as F
from lamella import nn, train
from lamella.testing import gradcheck

GRID = np.linspace(-6, 6, 241)


def check(function, value, slope, *parameters, x=GRID, tolerance=1e-12):
    """Value and derivative against the course's formulas, by central differences, and by the reference."""
    t = lamella.tensor(x, requires_grad=True)
    y = function(t, *parameters)
    y.backward(np.ones_like(x))
    np.testing.assert_allclose(y.data, value(x, *parameters), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(t.grad.data, slope(x, *parameters), rtol=tolerance, atol=tolerance)
    smooth = x[np.abs(x - x.round()) > 0.01]  # no corner of any of them lies elsewhere
    gradcheck(lambda t: function(t, *parameters), [lamella.tensor(smooth, requires_grad=True)])
    with lamella.use_backend("reference"):
        np.testing.assert_allclose(function(x, *parameters), y.data, rtol=tolerance, atol=tolerance)


def in_place(function, *parameters):
    expected, mine = function(GRID, *parameters), GRID.copy()
    assert function(mine, *parameters, inplace=True) is mine
    np.testing.assert_array_equal(mine, expected)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.course("A-020")
def test_linear():
    """a x + b, with the derivative a everywhere; of linear functions, linear functions come."""
    a, b, c, d = 2.5, -1.0, 3.0, 0.5
    check(lambda x: x * a + b, lambda x: a * x + b, lambda x: np.full_like(x, a))
    weight, bias = np.array([[a]]), np.array([b])
    np.testing.assert_allclose(F.linear(GRID[:, None], weight, bias)[:, 0], a * GRID + b)
    np.testing.assert_allclose((GRID * a + b) * c + d, (a * c) * GRID + (b * c + d), rtol=1e-12)
    np.testing.assert_array_equal(nn.Identity()(GRID), GRID)


@pytest.mark.course("A-021")
def test_step_takes_no_part_in_training():
    t = lamella.tensor([-2.0, -0.0, 0.0, 0.5], requires_grad=True)
    y = F.heaviside(t)
    assert y.data.tolist() == [0, 1, 1, 1]  # 1 where x >= 0, also at the 0 that has a sign
    y.sum().backward()
    assert t.grad.data.tolist() == [0, 0, 0, 0]
    assert (2 * F.heaviside(np.array([-1.0, 0.0, 1.0]), 0.5) - 1).tolist() == [-1, 0, 1]  # the sign
    assert F.threshold(np.array([-1.0, 0.0, 1.0]), 0, 0).tolist() == [0, 0, 1]  # PyTorch's threshold lets x through


@pytest.mark.course("A-022")
def test_sigmoid():
    """1 / (1 + e^-x); f (1 - f) = e^-x / (1 + e^-x)^2; without overflow at -1e4; below 1 and above 0, save by rounding."""
    check(F.sigmoid, sigmoid, lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2)
    for dtype in (np.float32, np.float64):
        with np.errstate(all="raise"):
            assert F.sigmoid(np.array([-1e4, 0, 1e4], dtype)).tolist() == [0, 0.5, 1]
    assert 0 < F.sigmoid(np.array([-80], np.float32))[0] and F.sigmoid(np.array([80], np.float32))[0] == 1
    x = GRID.copy()
    assert F.sigmoid_(x) is x and (x == F.sigmoid(GRID)).all()


@pytest.mark.course("A-023")
def test_softplus():
    """ln(1 + e^x), whose derivative is the sigmoid; positive, and for that reason not sparse (erratum E-09)."""
    check(F.softplus, lambda x: np.log(1 + np.exp(x)), sigmoid)
    assert (F.softplus(GRID) > 0).all() and (F.relu(GRID) == 0).mean() > 0.5
    assert F.softplus(np.array([1e4, -1e4])).tolist() == [1e4, 0]
    np.testing.assert_allclose(F.softplus(GRID, beta=2), np.log(1 + np.exp(2 * GRID)) / 2, rtol=1e-10)
    assert F.softplus(np.array([21.0]))[0] == 21 != F.softplus(np.array([21.0]), threshold=30)[0]
    np.testing.assert_allclose(F.softplus(np.array([-40.0])), [math.log1p(math.exp(-40))], rtol=1e-14)  # ln(1 + 4e-18)


@pytest.mark.course("A-024")
def test_tanh():
    """The quotient of exponentials where it does not overflow; 1 - f^2."""
    check(F.tanh, lambda x: (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x)), lambda x: 1 - np.tanh(x) ** 2)
    assert F.tanh(np.array([90, -90, 1e30], np.float32)).tolist() == [1, -1, 1]
    np.testing.assert_allclose(F.tanh(GRID), 2 * F.sigmoid(2 * GRID) - 1, atol=1e-15)


@pytest.mark.course("A-025")
def test_relu():
    """max(0, x), with the derivative 0 at 0."""
    check(F.relu, lambda x: np.maximum(0, x), lambda x: (x > 0).astype(float))
    in_place(F.relu)
    t = lamella.tensor([0.0, -0.0, 1e-30], requires_grad=True)
    F.relu(t).sum().backward()
    assert t.grad.data.tolist() == [0, 0, 1]


@pytest.mark.course("A-026")
def test_leaky_relu():
    """max(0.01 x, x) by default, 0.2 as an argument; with a slope above 1, the maximum is another function."""
    assert F.leaky_relu(np.array([-100.0]))[0] == -1
    for slope in (0.01, 0.2):
        check(F.leaky_relu, lambda x, a: np.maximum(a * x, x), lambda x, a: np.where(x > 0, 1, a), slope)
        in_place(F.leaky_relu, slope)
    assert F.leaky_relu(np.array([-1.0]), 3.0)[0] == -3 != max(-3.0, -1.0)
    assert nn.LeakyReLU().negative_slope == 0.01


@pytest.mark.course("A-027")
def test_prelu_learns_its_slope():
    """d/dalpha = min(x, 0), summed over what shares an alpha: one for all, or one per channel."""
    rng = np.random.default_rng(0)
    x, upstream = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((2, 3, 4, 5))
    for count, axes in ((1, (0, 1, 2, 3)), (3, (0, 2, 3))):
        alpha = lamella.tensor(np.linspace(0.1, 0.3, count), requires_grad=True)
        y = F.prelu(x, alpha)
        a = alpha.data.reshape(-1, 1, 1)
        np.testing.assert_allclose(y.data, np.maximum(a * x, x))
        y.backward(upstream)
        np.testing.assert_allclose(alpha.grad.data, (upstream * np.minimum(x, 0)).sum(axes).reshape(count), rtol=1e-12)
    layer = nn.PReLU()
    assert layer.weight.data.tolist() == [0.25]
    optimizer = lamella.optim.SGD(layer.parameters(), lr=0.5)
    data = rng.standard_normal((64, 1)).astype(np.float32)
    for _ in range(100):  # learns the slope that made the data
        optimizer.zero_grad()
        F.mse_loss(layer(data), lamella.tensor(np.where(data > 0, data, 0.7 * data))).backward()
        optimizer.step()
    assert abs(layer.weight.item() - 0.7) < 1e-3


@pytest.mark.course("A-028")
def test_randomized_relu():
    """In training each use draws its own slope from an interval; in evaluation the mean is taken. The same for any number of threads."""
    x, layer, threads = -np.ones(20000), nn.RReLU(0.1, 0.5), lamella.get_num_threads()
    draws = []
    for count in (1, 2):
        lamella.set_num_threads(count)
        lamella.manual_seed(5)
        draws.append([-layer(x), -layer(x)])
    lamella.set_num_threads(threads)
    np.testing.assert_array_equal(*draws)
    first, second = draws[0]
    assert 0.1 <= first.min() < 0.101 and 0.499 < first.max() <= 0.5 and abs(first.mean() - 0.3) < 0.003 and (first != second).mean() > 0.99
    assert (layer(np.ones(5)) == 1).all()
    np.testing.assert_allclose(layer.eval()(x), 0.3 * x)
    np.testing.assert_allclose(F.rrelu(np.array([-1.0])), -(1 / 8 + 1 / 3) / 2)


@pytest.mark.course("A-029")
def test_elu():
    """alpha (e^z - 1) for z < 0. It does saturate, to -alpha, and is smooth for alpha = 1 only (erratum E-22)."""
    for alpha in (1.0, 0.3):
        check(F.elu, lambda z, a: np.where(z < 0, a * (np.exp(z) - 1), z), lambda z, a: np.where(z > 0, 1, a * np.exp(z)), alpha)
        in_place(F.elu, alpha)
        assert F.elu(np.array([-1e4]), alpha)[0] == -alpha
    t = lamella.tensor(np.array([-100.0, -1e-9, 1e-9]), requires_grad=True)
    F.elu(t, 0.3).sum().backward()
    assert t.grad.data[0] < 1e-40  # saturated: the gradient is gone
    np.testing.assert_allclose(t.grad.data[1:], [0.3, 1.0])  # a jump
    assert F.elu(np.array([-1e-20]))[0] == -1e-20  # expm1, not exp - 1


@pytest.mark.course("A-030")
def test_selu_normalises_itself():
    """1.05 ELU_1.67, exactly 1.0507009873554805 and 1.6732632423543772: with LeCun's weights, deep dense nets keep mean 0 and variance 1."""
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    check(
        F.selu,
        lambda z: scale * np.where(z > 0, z, alpha * (np.exp(z) - 1)),
        lambda z: scale * np.where(z > 0, 1, alpha * np.exp(z)),
    )
    in_place(F.selu)
    np.testing.assert_allclose(F.selu(GRID), 1.05 * F.elu(GRID, 1.67), atol=0.005)  # as printed
    lamella.manual_seed(0)
    x = np.random.default_rng(0).standard_normal((512, 256))
    layers = [nn.Linear(256, 256).double() for _ in range(16)]
    with lamella.no_grad():
        for layer in layers:
            nn.init.lecun_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
        spread = {}
        for name, function in (("selu", F.selu), ("relu", F.relu), ("alpha dropout", lambda h: F.alpha_dropout(F.selu(h), 0.1, True))):
            h = x
            for layer in layers:
                h = function(layer(lamella.tensor(h))).data
            spread[name] = h.mean(), h.var()
    for name in ("selu", "alpha dropout"):
        assert abs(spread[name][0]) < 0.1 and abs(spread[name][1] - 1) < 0.25, (name, spread[name])
    assert spread["relu"][1] < 1e-3
    lamella.manual_seed(0)
    dropped = nn.AlphaDropout(0.3)(np.random.default_rng(1).standard_normal(200000))
    assert abs(dropped.mean()) < 0.01 and abs(dropped.var() - 1) < 0.02


@pytest.mark.course("A-031")
def test_gelu_in_three_ways():
    """z Phi(z) by erf, by tanh, and z sigma(1.702 z): one argument apart."""
    phi = np.array([0.5 * (1 + math.erf(z / math.sqrt(2))) for z in GRID])
    check(F.gelu, lambda z: z * phi, lambda z: phi + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi))

    def quick(z):
        return F.gelu(z, approximate="sigmoid")

    check(quick, lambda z: z * sigmoid(1.702 * z), lambda z: sigmoid(1.702 * z) * (1 + 1.702 * z * (1 - sigmoid(1.702 * z))))
    u = math.sqrt(2 / math.pi) * (GRID + 0.044715 * GRID**3)
    np.testing.assert_allclose(F.gelu(GRID, approximate="tanh"), GRID * (1 + np.tanh(u)) / 2, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(quick(GRID), F.swish(GRID, 1.702), rtol=1e-14)
    errors = [np.abs(F.gelu(GRID, approximate=a) - F.gelu(GRID)).max() for a in ("tanh", "sigmoid")]
    assert errors[0] < 5e-4 < 0.015 < errors[1] < 0.025


@pytest.mark.course("A-032")
def test_swish_with_a_fixed_and_a_learned_beta():
    for beta in (1.0, 0.5, 3.0):
        check(F.swish, lambda z, b: z * sigmoid(b * z), lambda z, b: sigmoid(b * z) * (1 + b * z * (1 - sigmoid(b * z))), beta)
    np.testing.assert_array_equal(F.silu(GRID), F.swish(GRID))
    in_place(F.silu)
    z, beta = np.random.default_rng(0).standard_normal((5, 3)), lamella.tensor(np.array([0.5, 1.0, 2.0]), requires_grad=True)
    gradcheck(F.swish, [lamella.tensor(z, requires_grad=True), beta])
    layer = nn.Swish(init=1.0)
    data = np.random.default_rng(1).standard_normal((256, 1)).astype(np.float32) * 2
    optimizer = lamella.optim.SGD(layer.parameters(), lr=1.0)
    for _ in range(400):
        optimizer.zero_grad()
        F.mse_loss(layer(data), lamella.tensor(F.swish(data, 2.0))).backward()
        optimizer.step()
    assert abs(layer.weight.item() - 2) < 0.02
    assert not list(nn.Swish(learned=False).parameters())


@pytest.mark.course("A-033")
def test_mish():
    """z tanh(ln(1 + e^z)): smooth, not monotonic, and without overflow far out."""
    check(F.mish, lambda z: z * np.tanh(np.log(1 + np.exp(z))), mish_slope)
    in_place(F.mish)
    assert np.diff(F.mish(GRID)).min() < 0 < np.diff(F.mish(GRID)).max()
    for dtype in (np.float32, np.float64):
        assert F.mish(np.array([1e30, -1e30, 100], dtype)).tolist() == np.array([1e30, 0, 100], dtype).tolist()


def mish_slope(z):
    w = np.tanh(np.log(1 + np.exp(z)))
    return w + z * sigmoid(z) * (1 - w * w)


@pytest.mark.course("A-034")
def test_softmax():
    """softmax([3, 1, 0.2]), printed by the course as its NumPy line computes it; ours is shifted, and so does not overflow."""
    scores = np.array([3.0, 1.0, 0.2])
    printed = np.array([0.8360188, 0.11314284, 0.05083836])
    np.testing.assert_allclose(F.softmax(scores, dim=0), printed, atol=5e-9)
    np.testing.assert_allclose(F.softmax(scores, dim=0), np.exp(scores) / np.sum(np.exp(scores), axis=0), rtol=1e-14)
    columns = np.stack([scores, scores + 1000], 1)  # one score set per column, as the course's axis=0
    np.testing.assert_allclose(F.softmax(columns, dim=0), np.stack([printed, printed], 1), atol=5e-9)
    np.testing.assert_allclose(np.exp(F.log_softmax(scores, dim=0)), printed, atol=5e-9)
    np.testing.assert_allclose(F.softmin(-scores, dim=0), printed, atol=5e-9)
    np.testing.assert_allclose(F.softmax(np.array([4.0, 0.0]), 0)[0], F.sigmoid(np.array([4.0]))[0])  # two classes: the sigmoid
    weights = np.array([1.0, -2.0, 0.5])
    t = lamella.tensor(scores, requires_grad=True)
    (F.softmax(t, 0) * weights).sum().backward()
    s = F.softmax(scores, 0)
    np.testing.assert_allclose(t.grad.data, (np.diag(s) - np.outer(s, s)) @ weights, rtol=1e-12)


@pytest.mark.course("A-035")
def test_those_of_onnx():
    check(F.hardswish, lambda x: x * np.clip(x + 3, 0, 6) / 6, lambda x: np.where(x <= -3, 0, np.where(x < 3, x / 3 + 0.5, 1)))
    check(F.hardsigmoid, lambda x: np.clip(x + 3, 0, 6) / 6, lambda x: np.where(abs(x) < 3, 1 / 6, 0))
    check(F.softsign, lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2)
    check(F.relu6, lambda x: np.clip(x, 0, 6), lambda x: ((x > 0) & (x < 6)).astype(float), x=1.5 * GRID[np.abs(GRID) != 4])
    check(lambda x: F.celu(x, 0.5), lambda x: np.where(x > 0, x, 0.5 * np.expm1(x / 0.5)), lambda x: np.where(x > 0, 1, np.exp(x / 0.5)))
    for function in (F.hardswish, F.hardsigmoid, F.relu6, F.celu):
        in_place(function)
    x = np.array([[1.0, 3.0, 3.0], [-1.0, -2.0, -3.0]])
    assert F.hardmax(x).tolist() == [[0, 1, 0], [1, 0, 0]] and F.hardmax(x, 0).tolist() == [[1, 1, 1], [0, 0, 0]]
    np.testing.assert_allclose(F.log_softmax(x, 1), x - np.log(np.exp(x).sum(1, keepdims=True)), rtol=1e-12)
    onnx_default = F.hardtanh(0.2 * GRID + 0.5, 0, 1)  # ONNX's HardSigmoid, alpha = 0.2 and beta = 0.5
    np.testing.assert_allclose(onnx_default, np.clip(0.2 * GRID + 0.5, 0, 1))


@pytest.mark.course("A-037")
def test_vanishing_exploding_and_dying():
    """The three diseases are found, each with the course's remedies; half of the units dead is found as such."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((128, 16)).astype(np.float32), rng.integers(0, 2, 128)

    def deep(activation, scale=None):
        lamella.manual_seed(0)
        model = nn.Sequential(*(layer for _ in range(10) for layer in (nn.Linear(16, 16), activation())), nn.Linear(16, 2))
        if scale:
            with lamella.no_grad():
                for p in model.parameters():
                    p.mul_(scale)
        return model

    sick = train.layer_health(deep(nn.Sigmoid), x, y)
    assert "vanishing" in sick.findings
    assert all(word in sick.findings["vanishing"] for word in ("batch normalisation", "residual", "initial values"))
    assert "vanishing" not in train.layer_health(deep(nn.LeakyReLU, 2.4), x, y).findings
    exploding = train.layer_health(deep(nn.LeakyReLU, 12), x, y).findings["exploding"]
    assert "clipping" in exploding and "lower learning rate" in exploding
    net = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    with lamella.no_grad():
        net[0].bias[:8] = -1e3
    report = train.layer_health(net, x, y, dead=0.4)
    assert report.layers[1].dead == 0.5 and "LeakyReLU or PReLU" in report.findings["dead units"]
    loss = F.cross_entropy(net(lamella.tensor(x)), y)
    loss.backward()
    gradient = net[0].weight.grad.data
    assert (gradient[:8] == 0).all() and (gradient[8:] != 0).any()  # the dead cannot learn; with a leak they could
    net[1] = nn.LeakyReLU()
    net.zero_grad()
    F.cross_entropy(net(lamella.tensor(x)), y).backward()
    assert (net[0].weight.grad.data[:8] != 0).all()
