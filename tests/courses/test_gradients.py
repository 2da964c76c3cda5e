"""Gradients, backpropagation, checking (A-060 to A-073), with their worked examples (G-05 to G-09)."""

import tracemalloc

import numpy as np
import pytest

import lamella
from lamella import data, nn, optim, train
from lamella import functional as F
from lamella.tensor import Operation, apply
from lamella.testing import gradcheck, numeric_gradient


def leaf(x):
    return lamella.tensor(np.asarray(x, np.float64), requires_grad=True)


@pytest.mark.course("G-05")
def test_numeric_gradient_weight_by_weight():
    """dW = (loss(W + h) - loss(W)) / h with h = 0.0001: 1.25347 becomes 1.25322, then 1.25353."""
    w = np.array([0.34, -1.11, 0.78, 0.12, 0.55, 2.81, -3.1, -1.5, 0.33])
    slopes = np.array([-2.5, 0.6, 0, 0.2, 0.7, -0.5, 1.1, 1.3, -2.1])
    seen = []

    def loss(at):
        seen.append(1.25347 + (slopes * (at - w)).sum())
        return seen[-1]

    np.testing.assert_allclose(numeric_gradient(loss, w, h=0.0001, form="forward"), slopes, atol=1e-9)
    assert [round(value, 5) for value in seen[:3]] == [1.25347, 1.25322, 1.25353]


@pytest.mark.course("A-060", "G-06")
def test_forward_and_central_differences():
    """f = 0.5 x^4 - 2 x^2 + x + 5: value, derivative, (f(x + h) - f(x)) / h with h = 0.001, central difference."""

    def f(x):
        return 0.5 * x**4 - 2 * x**2 + x + 5

    for x, value, slope, forward in (
        (-2, 3, -7, -6.990004),
        (-1, 2.5, 3, 3.000998),
        (0, 5, 1, 0.998000),
        (0.5, 5.03125, -0.75, -0.751249),
        (1, 4.5, -1, -0.998998),
        (2, 7, 9, 9.010004),
    ):
        at = np.array(float(x))
        assert f(at) == value
        assert round(float(numeric_gradient(f, at, h=0.001, form="forward")), 6) == forward
        assert round(float(numeric_gradient(f, at, h=1e-5)), 6) == slope
        t = leaf(at)
        f(t).backward()
        assert t.grad.item() == pytest.approx(slope, abs=1e-12)
    # the forward difference errs in proportion to h, the central one to h^2
    errors = {form: [abs(numeric_gradient(f, np.array(2.0), h, form) - 9) for h in (0.01, 0.001)] for form in ("forward", "central")}
    assert errors["forward"][0] / errors["forward"][1] == pytest.approx(10, rel=0.01)
    assert errors["central"][0] / errors["central"][1] == pytest.approx(100, rel=0.01)


@pytest.mark.course("A-061")
def test_gradcheck():
    """The analytic gradient is used, the numeric one verifies it: of a module with its parameters, and of a function that is wrong."""
    net = nn.Sequential(nn.Linear(3, 4, dtype="float64"), nn.Tanh(), nn.Linear(4, 2, dtype="float64"))
    x = leaf(np.random.default_rng(0).standard_normal((5, 3)))
    assert gradcheck(net, x)
    assert gradcheck(net, x.detach())  # the parameters alone
    assert all(p.grad is None for p in net.parameters())
    wrong = Operation("cube", lambda x: (x**3, x), lambda x, g, needs: (2 * x * x * g,))
    with pytest.raises(AssertionError, match="derivatives are wrong"):
        gradcheck(lambda x: apply(wrong, (x,)), [x])


@pytest.mark.course("A-062")
def test_chain_rule():
    """dL/dtheta1 = dL/dyhat dyhat/df df/dz2 dz2/dg dg/dz1 dz1/dtheta1."""
    x, y = 0.7, 0.2
    theta1, theta2 = leaf(1.3), leaf(-0.8)
    z1 = theta1 * x
    g = F.tanh(z1)
    z2 = theta2 * g
    yhat = F.sigmoid(z2)
    ((yhat - y) * (yhat - y)).backward()
    dl, df, dz2, dg, dz1 = 2 * (yhat.item() - y), yhat.item() * (1 - yhat.item()), -0.8, 1 - g.item() ** 2, x
    assert theta1.grad.item() == pytest.approx(dl * df * dz2 * dg * dz1, rel=1e-14)
    assert theta2.grad.item() == pytest.approx(dl * df * g.item(), rel=1e-14)


@pytest.mark.course("A-063")
def test_nodes_have_forward_and_backward():
    """A node computes forward and keeps what its backward needs; the graph is walked from the loss back."""
    log = []

    def forward(x, y):
        log.append("forward")
        return x * y, (x, y)

    def backward(saved, g, needs):
        log.append("backward")
        x, y = saved
        return g * y, g * x

    gate = Operation("gate", forward, backward)
    a, b = leaf([2.0, 3.0]), leaf([5.0, 7.0])
    apply(gate, (apply(gate, (a, b)), b)).sum().backward()  # a b^2
    assert log == ["forward", "forward", "backward", "backward"]
    np.testing.assert_array_equal(a.grad.data, [25, 49])
    np.testing.assert_array_equal(b.grad.data, [2 * 2 * 5, 2 * 3 * 7])


@pytest.mark.course("A-064")
def test_gates():
    """add distributes the gradient, max routes it, mul swaps the inputs, branches sum."""
    x, y = leaf(3.0), leaf(-4.0)
    for gate, dx, dy in ((x + y, 2, 2), (F.maximum(x, y), 2, 0), (x * y, -8, 6)):
        x.grad = y.grad = None
        gate.backward(np.array(2.0))
        assert (x.grad.item(), y.grad.item()) == (dx, dy)
    x.grad = None
    (x * 2 + x * 5).backward()
    assert x.grad.item() == 7


@pytest.mark.course("A-065", "G-07")
def test_sum_times():
    """f = (x + y) z at -2, 5, -4."""
    x, y, z = leaf(-2), leaf(5), leaf(-4)
    q = x + y
    f = q * z
    assert (q.item(), f.item()) == (3, -12)
    f.backward()
    assert (x.grad.item(), y.grad.item(), z.grad.item()) == (-4, -4, 3)
    q = leaf(3)
    (q * z.detach()).backward()
    assert q.grad.item() == -4


@pytest.mark.course("A-066", "G-08")
def test_sigmoid_circuit():
    """1 / (1 + exp(-(w0 x0 + w1 x1 + w2))) by its nodes; d(1/x)/dx is -1/x^2 (one slide prints -1/x)."""
    w, x = leaf([2.0, -3.0, -3.0]), leaf([-1.0, -2.0])
    a = w[0] * x[0] + w[1] * x[1] + w[2]
    f = 1.0 / (F.exp(a * -1.0) + 1.0)
    f.backward()
    assert round(f.item(), 8) == 0.73105858
    np.testing.assert_allclose(w.grad.data, [-0.19661193, -0.39322387, 0.19661193], rtol=0, atol=5e-9)
    np.testing.assert_allclose(x.grad.data, [0.39322387, -0.58983580], rtol=0, atol=1e-8)
    for node, at, slope in (
        (F.exp, 0.3, np.exp(0.3)),
        (lambda v: 1.0 / v, 1.37, -1 / 1.37**2),
        (lambda v: v * -1.0, 0.3, -1),
        (lambda v: v + 1.0, 0.3, 1),
    ):
        v = leaf(at)
        node(v).backward()
        assert v.grad.item() == pytest.approx(slope, rel=1e-14)
    v = leaf(1.37)
    (1.0 / v).backward()
    assert abs(v.grad.item() - -1 / 1.37) > 0.1


@pytest.mark.course("A-067")
def test_no_jacobian_is_made():
    """dL/dx = df/dx dL/df without the Jacobian, which for a batch of 100 would have 409,600 x 409,600 entries."""
    n, batch = 4096, 100
    assert (n * n, (n * batch) ** 2) == (16_777_216, 167_772_160_000)
    x = lamella.tensor(np.random.default_rng(0).standard_normal((batch, n), dtype=np.float32), requires_grad=True)
    g = np.ones((batch, n), np.float32)
    lamella.empty_cache()
    tracemalloc.start()
    F.relu(x).backward(g)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * x.data.nbytes < 4 * n * n  # less than the Jacobian of a single sample
    np.testing.assert_array_equal(x.grad.data, x.data > 0)


@pytest.mark.course("A-068", "A-069")
def test_descent_until_the_weights_stand_still():
    """W = W - lr g while sum(abs(W - W_old)) > goal."""
    target = np.array([1.0, -2.0])
    lr, goal = 0.1, 1e-4
    w, steps = np.zeros(2), 0
    while True:
        old, w, steps = w, w - lr * 2 * (w - target), steps + 1
        if np.abs(w - old).sum() <= goal:
            break
    found = train.gradient_descent(lambda w: ((w - target) * (w - target)).sum(), np.zeros(2), lr=lr, tol=goal)
    np.testing.assert_allclose(found.weights, w, rtol=1e-12)
    assert (found.iterations, found.converged) == (steps, True)
    assert np.abs(found.weights - target).sum() < 10 * goal
    assert not train.gradient_descent(lambda w: (w * w).sum(), np.ones(1), lr=0.1, max_iter=5).converged
    # one step of SGD is the same update
    p = nn.Parameter(np.ones(2))
    (p * p).sum().backward()
    optim.SGD([p], lr=lr).step()
    np.testing.assert_allclose(p.data, 1 - lr * 2, rtol=1e-12)


@pytest.mark.course("A-070")
def test_learning_rate():
    """On J = w^2: below 1 converges (slowly when small, over the minimum above 0.5), 1 oscillates, above 1 diverges; a small one stays in a
    local minimum."""

    def j(w):
        return (w * w).sum()

    def run(lr, steps):
        return train.gradient_descent(j, np.ones(1), lr=lr, tol=0.0, max_iter=steps)

    for lr in (0.01, 0.1, 0.5, 0.9):
        np.testing.assert_allclose(run(lr, 20).weights, (1 - 2 * lr) ** 20, atol=1e-14)
    assert run(0.01, 20).weights[0] > 0.6  # slow
    assert run(0.9, 1).weights[0] < 0  # over the minimum, to its other side
    assert abs(run(1.0, 21).weights[0]) == 1
    assert abs(run(1.1, 50).weights[0]) > 1000
    stuck = train.gradient_descent(lambda w: (0.5 * w**4 - 2 * w**2 + w).sum(), np.array([2.0]), lr=0.01)
    best = train.gradient_descent(lambda w: (0.5 * w**4 - 2 * w**2 + w).sum(), np.array([-2.0]), lr=0.01)
    assert stuck.converged
    assert stuck.loss > best.loss + 1


@pytest.mark.course("A-071", "G-09")
def test_eleven_line_network():
    """Two layers of sigmoids learn XOR in 5,000 iterations at lr 1: seven seeds, as seven networks side by side."""
    x = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]], np.float64)
    y = np.array([[0, 1, 1, 0]], np.float64).T
    draws = []
    for seed in (0, 1, 2, 3, 4, 5, 42):
        state = np.random.RandomState(seed)  # the course's np.random.seed
        draws.append((2 * state.random_sample((3, 4)) - 1, 2 * state.random_sample((4, 1)) - 1))
    w0, w1 = (leaf(np.stack(part)) for part in zip(*draws))
    half_step = optim.SGD([w0, w1], lr=0.5)  # the course's delta is that of half the squared error
    inputs = np.broadcast_to(x, (7, 4, 3)).copy()
    for _ in range(5000):
        out = F.sigmoid(F.matmul(F.sigmoid(F.matmul(inputs, w0)), w1))
        half_step.zero_grad()
        F.mse_loss(out, np.broadcast_to(y, out.shape), reduction="sum").backward()
        half_step.step()
    out = F.sigmoid(F.matmul(F.sigmoid(F.matmul(inputs, w0.data)), w1.data))
    mse = ((out - y) ** 2).mean((1, 2))
    assert mse.min() > 1.65e-4
    assert mse.max() < 3.15e-4
    assert np.abs(out - y).max() < 0.021
    np.testing.assert_allclose(out[0, :, 0], [0.0087, 0.9858, 0.9855, 0.0171], rtol=0, atol=5e-5)


@pytest.mark.course("A-072")
def test_training_recipe():
    """Initialise, load, forward, cost, backpropagate and update, repeat; Trainer.fit is this loop."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 4)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] > 0).astype(np.int64)

    def start():
        lamella.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        return net, optim.SGD(net.parameters(), lr=0.5), data.DataLoader(data.TensorDataset(x, y), batch_size=20)

    by_hand, sgd, loader = start()
    costs = []
    for _ in range(10):
        for images, labels in loader:
            cost = F.cross_entropy(by_hand(images), labels)
            sgd.zero_grad()
            cost.backward()
            sgd.step()
            costs.append(cost.item())
    assert costs[-1] < 0.5 * costs[0]
    net, sgd, loader = start()
    history = train.Trainer(net, sgd, progress="none").fit(loader, epochs=10)
    for ours, theirs in zip(net.parameters(), by_hand.parameters()):
        np.testing.assert_array_equal(ours.data, theirs.data)
    assert history[-1]["train_accuracy"] > 0.9


@pytest.mark.course("A-073")
def test_clipping_each_component():
    """Every component of the gradient is clipped to [-1, 1]; by norm, the direction stays."""
    g = np.array([0.5, -3.0, 8.0, -0.2])
    p = nn.Parameter(np.zeros(4))
    p.grad = lamella.tensor(g)
    nn.utils.clip_grad_value_([p], 1.0)
    np.testing.assert_array_equal(p.grad.data, [0.5, -1, 1, -0.2])
    p.grad = lamella.tensor(g)
    before = nn.utils.clip_grad_norm_([p], 1.0)
    np.testing.assert_allclose(float(before), np.linalg.norm(g))
    np.testing.assert_allclose(p.grad.data, g / np.linalg.norm(g), rtol=1e-5)
