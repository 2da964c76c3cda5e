"""Neuron, perceptron, linear models (A-001 to A-018) and the AND perceptron (G-01)."""

import numpy as np
import pytest

import lamella
from lamella import functional as F
from lamella import nn

AND_X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float64)
AND_Y = np.array([0, 0, 0, 1])
XOR_Y = np.array([0, 1, 1, 0])

# (w0, w1, w2) after each sample, and what the neuron answered before, iteration by iteration
TRACE = [
    ([(-1, 0, 0), (-1, 0, 0), (-1, 0, 0), (0, 1, 1)], [1, 0, 0, 0]),
    ([(-1, 1, 1), (-2, 1, 0), (-2, 1, 0), (-1, 2, 1)], [1, 1, 0, 0]),
    ([(-1, 2, 1), (-2, 2, 0), (-3, 1, 0), (-2, 2, 1)], [0, 1, 1, 0]),
    ([(-2, 2, 1), (-2, 2, 1), (-3, 1, 1), (-2, 2, 2)], [0, 0, 1, 0]),
    ([(-2, 2, 2), (-3, 2, 1), (-3, 2, 1), (-3, 2, 1)], [0, 1, 0, 1]),
    ([(-3, 2, 1), (-3, 2, 1), (-3, 2, 1), (-3, 2, 1)], [0, 0, 0, 1]),
]


@pytest.fixture(autouse=True)
def unrecorded():
    with lamella.no_grad():
        yield


def rng():
    return np.random.default_rng(0)


def layer(weight, bias=None, kind=nn.Linear):
    """A layer of float64 with these numbers."""
    weight = np.atleast_2d(np.asarray(weight, np.float64))
    made = (
        kind(weight.shape[1], weight.shape[0], dtype="float64")
        if bias is not None
        else kind(*weight.shape[::-1], bias=False, dtype="float64")
    )
    made.weight.data[...] = weight
    if bias is not None:
        made.bias.data[...] = bias
    return made


@pytest.mark.course("A-001", "A-004")
def test_neuron():
    """y = f(sum of w_i x_i), and with a bias f(w . x + b)."""
    x, w, b = rng().standard_normal(5), rng().standard_normal(5), 0.7
    np.testing.assert_allclose(F.sigmoid(layer(w)(x)), 1 / (1 + np.exp(-sum(w * x))))
    np.testing.assert_allclose(F.tanh(layer(w, b)(x)), np.tanh(sum(w * x) + b))


@pytest.mark.course("A-002")
def test_step_is_one_at_zero():
    x = np.array([-2.0, -1e-300, -0.0, 0.0, 1e-300, 3.0, np.nan])
    np.testing.assert_array_equal(F.heaviside(x), np.heaviside(x, 1))
    np.testing.assert_array_equal(nn.Step()(x), [0, 0, 1, 1, 1, 1, np.nan])
    np.testing.assert_array_equal(nn.Step(at_zero=0.5)(x), np.heaviside(x, 0.5))
    np.testing.assert_array_equal(2 * F.heaviside(x) - 1, [-1, -1, 1, 1, 1, 1, np.nan])  # the convention of -1 and 1
    t = lamella.tensor(x[:-1], requires_grad=True)
    with lamella.enable_grad():
        F.heaviside(t).sum().backward()
    assert not t.grad.data.any()


@pytest.mark.course("A-003")
def test_threshold_is_a_bias():
    """H(w . x - threshold) = H(w . x + b) = H of weights (b, w) on inputs (1, x)."""
    x, w, threshold = rng().standard_normal((50, 3)), np.array([1.0, -2.0, 0.5]), 0.4
    expected = np.heaviside((x * w).sum(1) - threshold, 1)
    np.testing.assert_array_equal(layer(w, -threshold, nn.Perceptron)(x)[:, 0], expected)
    folded = layer([-threshold, *w])(np.concatenate([np.ones((50, 1)), x], 1))
    np.testing.assert_array_equal(F.heaviside(folded)[:, 0], expected)


@pytest.mark.course("A-005", "G-01")
def test_and_perceptron_trace():
    """w += alpha (target - y) x, online, in the order of the data: all six tables of the course."""
    perceptron = nn.Perceptron(2, dtype="float64")
    report = perceptron.learn(AND_X, AND_Y, lr=1.0)
    assert len(report.weights) == 6
    for (weights, outputs), found, answers in zip(TRACE, report.weights, report.outputs):
        np.testing.assert_array_equal(found[:, 0], weights)
        np.testing.assert_array_equal(answers[:, 0], outputs)
    assert (perceptron.bias.item(), *perceptron.weight.data[0]) == (-3, 2, 1)
    assert report.last_change == 5
    assert report.converged == 6
    half = nn.Perceptron(2, dtype="float64")
    half.learn(AND_X, AND_Y, lr=0.5)
    np.testing.assert_array_equal(half.weight.data, [[1, 0.5]])  # from zero, the rate only scales


@pytest.mark.course("A-006")
def test_perceptron_stops():
    """Converged when a whole iteration has no error; else below a threshold of errors, or after the last iteration."""
    report = nn.Perceptron(2).learn(AND_X, AND_Y)
    assert report.errors == [2, 3, 3, 2, 1, 0]
    below = nn.Perceptron(2).learn(AND_X, AND_Y, tol=1)
    assert (below.errors, below.converged) == ([2, 3, 3, 2, 1], None)
    few = nn.Perceptron(2).learn(AND_X, AND_Y, max_iter=3)
    assert (few.errors, few.converged) == ([2, 3, 3], None)


@pytest.mark.course("A-007")
def test_boundary_and_xor():
    """The boundary is w . x = -b (the course prints +b); no straight line separates XOR."""
    perceptron = nn.Perceptron(2, dtype="float64")
    perceptron.learn(AND_X, AND_Y)
    w, b = perceptron.weight.data[0], perceptron.bias.item()
    on = np.array([[0.0, 3.0], [1.5, 0.0]])  # 2 x1 + x2 = 3
    np.testing.assert_array_equal((on * w).sum(1), -b)
    np.testing.assert_array_equal(perceptron(on - 1e-9)[:, 0], 0)
    np.testing.assert_array_equal(perceptron(on + 1e-9)[:, 0], 1)
    assert nn.Perceptron(2).learn(AND_X, AND_X.max(1)).converged  # OR
    xor = nn.Perceptron(2).learn(AND_X, XOR_Y, max_iter=200)
    assert xor.converged is None
    assert min(xor.errors) > 0


@pytest.mark.course("A-008")
def test_single_layer_net_has_a_unit_per_class():
    centres = np.array([[0, 0], [6, 0], [0, 6]])
    x = np.repeat(centres, 10, 0) + 0.5 * rng().standard_normal((30, 2))
    target = np.repeat(np.eye(3), 10, 0)
    net = nn.Perceptron(2, 3, dtype="float64")
    assert net.learn(x, target).converged
    np.testing.assert_array_equal(net(x), target)
    alone = nn.Perceptron(2, dtype="float64")
    alone.learn(x, target[:, 1], max_iter=len(net.learn(x, target).errors) + 1000)
    np.testing.assert_array_equal(alone(x)[:, 0], target[:, 1])


@pytest.mark.course("A-009")
def test_two_layers_of_steps_make_xor():
    net = nn.Sequential(layer([[1, 1], [1, 1]], [-0.5, -1.5], nn.Perceptron), layer([1, -1], -0.5, nn.Perceptron))
    np.testing.assert_array_equal(net(AND_X)[:, 0], XOR_Y)


@pytest.mark.course("A-010")
def test_layer_recursion():
    """a_i(l) = f(sum over j of w_ij a_j(l-1)), a_0 = 1; printed with a_i in the sum, which is a misprint."""
    weights = [rng().standard_normal((n_out, n_in + 1)) for n_in, n_out in ((3, 4), (4, 2))]
    net = nn.Sequential(*(part for w in weights for part in (layer(w[:, 1:], w[:, 0]), nn.Sigmoid())))
    x = a = misprint = rng().standard_normal(3)
    for w in weights:
        a = np.array([1 / (1 + np.exp(-sum(w[i, j] * [1, *a][j] for j in range(w.shape[1])))) for i in range(len(w))])
        misprint = np.array([1 / (1 + np.exp(-sum(w[i, j] * [1, *misprint][i] for j in range(w.shape[1])))) for i in range(len(w))])
    np.testing.assert_allclose(net(x), a)
    assert not np.allclose(net(x), misprint)


@pytest.mark.course("A-011", "A-012")
def test_affine_with_theta():
    """z_j = theta_0j + sum over i of x_i theta_ij: Linear's weight is theta without its first row, transposed."""
    x, theta = rng().standard_normal(4), rng().standard_normal((5, 3))
    many = layer(theta[1:].T, theta[0])
    np.testing.assert_allclose(many(x), [theta[0, j] + sum(x[i] * theta[i + 1, j] for i in range(4)) for j in range(3)])
    np.testing.assert_allclose(layer(theta[1:, 0], theta[0, 0])(x)[0], theta[0, 0] + sum(x * theta[1:, 0]))


@pytest.mark.course("A-013")
def test_linear_classifier_scores():
    """Wx as printed, which leaves b out, and Wx + b."""
    w = np.array([[0.2, -0.5, 0.1, 0.2], [0.4, 0.3, 0.1, 0], [0, 0.25, 0.2, -0.3]])
    x = np.array([152.0, 203, 14, 75])
    np.testing.assert_allclose(layer(w)(x), [-54.7, 123.1, 31.05])
    np.testing.assert_allclose(layer(w, [0.01, 0.03, 0.09])(x), [-54.69, 123.13, 31.14])


@pytest.mark.course("A-014")
def test_two_and_three_layer_nets():
    """W2 max(0, W1 x) and W3 max(0, W2 max(0, W1 x)), without biases."""
    x = rng().standard_normal((6, 3))
    w1, w2, w3 = (rng().standard_normal(shape) for shape in ((5, 3), (4, 5), (2, 4)))
    two = nn.Sequential(layer(w1), nn.ReLU(), layer(w2))
    three = nn.Sequential(layer(w1), nn.ReLU(), layer(w2), nn.ReLU(), layer(w3))
    np.testing.assert_allclose(two(x), np.maximum(0, x @ w1.T) @ w2.T)
    np.testing.assert_allclose(three(x), np.maximum(0, np.maximum(0, x @ w1.T) @ w2.T) @ w3.T)


def deep(widths):
    return nn.Sequential(*[part for a, b in zip(widths, widths[1:]) for part in (nn.Linear(a, b, dtype="float64"), nn.ReLU())][:-1])


@pytest.mark.course("A-015")
def test_deep_net():
    """h_k = a[beta + Omega h], y = beta + Omega h, with Omega of shape (out, in)."""
    net, x = deep([3, 5, 4, 2]), rng().standard_normal(3)
    h = x
    for k, (omega, beta) in enumerate((part.weight.data, part.bias.data) for part in net if isinstance(part, nn.Linear)):
        h = beta + omega @ h
        h = np.maximum(h, 0) if k < 2 else h
    np.testing.assert_allclose(net(x), h)
    assert [tuple(part.weight.shape) for part in net if isinstance(part, nn.Linear)] == [(5, 3), (4, 5), (2, 4)]


def regions(net, x):
    """Linear pieces of a function of one variable, along a fine grid: changes of the pattern of active units."""
    patterns, h = [], x
    for part in net:
        h = part(h)
        if isinstance(part, nn.ReLU):
            patterns.append(h.numpy() > 0)
    return 1 + int((np.diff(np.concatenate(patterns, 1), axis=0) != 0).any(1).sum())


@pytest.mark.course("A-016")
def test_parameters_and_regions():
    """K layers of D units each (per layer, not in total): 3D + 1 + (K-1) D (D+1) parameters, at most (D+1)^K regions."""
    d, k = 5, 3
    net = deep([1, *[d] * k, 1])
    assert lamella.summary(net, (1,)).parameters == 3 * d + 1 + (k - 1) * d * (d + 1) == 76
    assert (d + 1) ** k == 216
    shallow = deep([1, d, 1])
    assert lamella.summary(shallow, (1,)).parameters == 3 * d + 1 == 16
    shallow[0].weight.data[...], shallow[0].bias.data[...] = 1, np.arange(-2, 3)
    grid = np.linspace(-4, 4, 20001)[:, None]
    assert regions(shallow, grid) == d + 1
    # each layer folds the interval six times on itself, with five knots; units 0 and 3 look to the left, which sets the first slope
    slopes = np.array([48 / 11, -16, 48 / 11, -8, 8, -48 / 11])
    knots, kinks, side = np.cumsum(1 / np.abs(slopes))[:d], np.diff(slopes), np.array([-1.0, 1, 1, -1, 1])
    start = -(kinks * knots)[side < 0].sum()
    one, two, three, last = (part for part in net if isinstance(part, nn.Linear))
    one.weight.data[...], one.bias.data[...] = side[:, None], -side * knots
    for part in (two, three):
        part.weight.data[...], part.bias.data[...] = side[:, None] * kinks, side * (start - knots)
    last.weight.data[...], last.bias.data[...] = kinks, start
    assert regions(net, np.linspace(1e-5, 1 - 1e-5, 43201)[:, None]) == 216


@pytest.mark.course("A-017")
def test_universal_approximation():
    """A hidden layer of ReLUs comes as close to a function [0, 1] -> [0, 1] as it has units: here one knot per unit."""

    def target(x):
        return 0.5 + 0.5 * np.sin(7 * x) * np.exp(-x)

    grid, errors = np.linspace(0, 1, 2001)[:, None], []
    for units in (4, 16, 64, 256):
        knots = np.linspace(0, 1, units + 1)
        slopes = np.diff(target(knots)) / np.diff(knots)
        net = nn.Sequential(layer(np.ones((units, 1)), -knots[:-1]), nn.ReLU(), layer(np.diff(slopes, prepend=0), target(0.0)))
        errors.append(np.abs(net(grid).numpy() - target(grid)).max())
    assert errors[-1] < 1e-4
    assert all(later < earlier / 8 for earlier, later in zip(errors, errors[1:]))


@pytest.mark.course("A-018")
def test_linear_layers_collapse():
    """Layers without activations are one layer: f(y) = (aw) x + (ab + c)."""
    one, two, three = (nn.Linear(a, b, dtype="float64") for a, b in ((3, 7), (7, 4), (4, 2)))
    x = rng().standard_normal((10, 3))
    w = three.weight.data @ two.weight.data @ one.weight.data
    b = three.weight.data @ (two.weight.data @ one.bias.data + two.bias.data) + three.bias.data
    np.testing.assert_allclose(nn.Sequential(one, two, three)(x), layer(w, b)(x))
