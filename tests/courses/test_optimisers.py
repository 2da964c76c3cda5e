"""Optimisers: the formulas of the courses, written out in NumPy, against lamella's."""

import math

import numpy as np
import pytest

import lamella
from lamella.optim import LBFGS, SGD, Adagrad, Adam, Adamax, AdamW, NAdam, NormalizedGD, RMSprop, max_norm_

CURVATURE = np.array([1.0, 25.0, 4.0])  # of the valley J = sum(c * w^2) / 2
START = np.array([2.0, -1.0, 0.5])


def gradient(w):
    return CURVATURE * w


def walk(make, steps=30, point=gradient):
    """The points of an optimizer of lamella's on the valley."""
    w = lamella.Tensor(START.copy(), requires_grad=True)
    optimizer = make([w])
    points = []
    for _ in range(steps):
        w.grad = lamella.Tensor(point(w.data))
        optimizer.step()
        points.append(w.data.copy())
    return np.array(points)


def written(update, steps=30):
    """The points of a formula: update(w, t, memory) -> new w."""
    w, memory, points = START.copy(), {}, []
    for t in range(steps):
        w = update(w, t, memory)
        points.append(w.copy())
    return np.array(points)


def same(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.course("A-070")
def test_learning_rates_on_a_parabola():
    """J = w^2, w <- w - a * 2 w: converges below a = 1, diverges above; small a is slow."""

    def end(lr):
        w = lamella.Tensor(np.array([1.0]), requires_grad=True)
        optimizer = SGD([w], lr=lr)
        for _ in range(60):
            w.grad = lamella.Tensor(2 * w.data)
            optimizer.step()
        return abs(w.data[0])

    assert end(0.1) < 1e-5 and end(0.9) < 1e-5
    assert end(1.0) == 1
    assert end(1.1) > 1e4
    assert end(0.001) > 0.8


@pytest.mark.course("A-073")
def test_clipping_to_minus_one_one():
    w = lamella.Tensor(np.zeros(4), requires_grad=True)
    w.grad = lamella.Tensor(np.array([-7.0, 0.25, 1.0, 300.0]))
    lamella.nn.utils.clip_grad_value_([w], 1)
    np.testing.assert_array_equal(w.grad.data, [-1, 0.25, 1, 1])
    norm = lamella.nn.utils.clip_grad_norm_([w], 0.5)
    assert float(norm) == pytest.approx(math.sqrt(3.0625))
    assert np.sqrt((w.grad.data**2).sum()) == pytest.approx(0.5, rel=1e-5)


def regression(size, reduction="mean"):
    """The steps of one epoch over 10 examples in batches, and a plain NumPy copy of them."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((10, 3)), rng.standard_normal(10)
    w = lamella.Tensor(np.zeros(3), requires_grad=True)
    optimizer = SGD([w], lr=0.05)
    expected, steps = np.zeros(3), 0
    loader = lamella.data.DataLoader(lamella.data.TensorDataset(x, y), batch_size=size)
    for a, b in loader:
        a, b = (v.data if isinstance(v, lamella.Tensor) else v for v in (a, b))
        optimizer.zero_grad()
        squares = ((lamella.Tensor(a) * w).sum(1) - lamella.Tensor(b)) ** 2
        (squares.mean() if reduction == "mean" else squares.sum()).backward()
        optimizer.step()
        g = (2 * a * ((a * expected).sum(1) - b)[:, None]).sum(0)
        expected = expected - 0.05 * (g / len(b) if reduction == "mean" else g)
        steps += 1
    same(w.data, expected)
    return steps, len(loader)


@pytest.mark.course("A-080", "A-081", "A-082")
def test_batch_stochastic_and_mini_batch_descent():
    """1 epoch = 1, N, or ceil(M / N) iterations (the course's M / N, for 10 examples in batches of 4, is no whole number)."""
    assert regression(10) == (1, 1)
    assert regression(1) == (10, 10)
    assert regression(4) == (3, 3)


@pytest.mark.course("A-083")
def test_descent_along_the_sum():
    assert regression(4, "sum") == (3, 3)


@pytest.mark.course("A-084")
def test_heavy_ball():
    def update(w, t, memory):
        before = memory.get("w", w)
        memory["w"] = w
        return w - 0.02 * gradient(w) + 0.9 * (w - before)

    expected = written(update)
    same(walk(lambda w: SGD(w, lr=0.02, momentum=0.9, momentum_kind="heavy_ball")), expected)
    same(walk(lambda w: SGD(w, lr=0.02, momentum=0.9)), expected)  # while lr is constant
    same(walk(lambda w: SGD(w, lr=0.02, momentum=0.0)), written(lambda w, t, memory: w - 0.02 * gradient(w)))

    def changing(kind):
        w = lamella.Tensor(START.copy(), requires_grad=True)
        optimizer = SGD([w], lr=0.02, momentum=0.9, momentum_kind=kind)
        for lr in (0.02, 0.002):
            optimizer.param_groups[0]["lr"] = lr
            w.grad = lamella.Tensor(gradient(w.data))
            optimizer.step()
        return w.data

    first = START - 0.02 * gradient(START)
    same(changing("heavy_ball"), first - 0.002 * gradient(first) + 0.9 * (first - START))
    same(changing("torch"), first - 0.002 * (gradient(first) + 0.9 * gradient(START)))


def ema(w, t, memory, look=0.0):
    m = memory.get("m", 0 * w)
    memory["m"] = m = 0.9 * m + 0.1 * gradient(w - look * m)
    return w - 0.2 * m


@pytest.mark.course("A-085")
def test_momentum_as_an_average():
    expected = written(ema)
    same(walk(lambda w: SGD(w, lr=0.2, momentum=0.9, momentum_kind="ema")), expected)
    same(walk(lambda w: SGD(w, lr=0.02, momentum=0.9)), expected)  # (1 - beta) times the rate
    damped = walk(lambda w: SGD(w, lr=0.2, momentum=0.9, dampening=0.9))  # the first step undamped
    assert np.allclose(damped[0], START - 0.2 * gradient(START)) and not np.allclose(damped[0], expected[0])


@pytest.mark.course("A-086")
def test_nesterov_looks_ahead():
    expected = written(lambda w, t, memory: ema(w, t, memory, look=0.2 * 0.9))
    w = lamella.Tensor(START.copy(), requires_grad=True)
    optimizer = SGD([w], lr=0.2, momentum=0.9, momentum_kind="ema")
    points = []
    for _ in range(30):
        with optimizer.look_ahead():
            w.grad = lamella.Tensor(gradient(w.data))
        optimizer.step()
        points.append(w.data.copy())
    same(points, expected)
    # PyTorch's form keeps the point ahead: phi - alpha beta m
    ahead = walk(lambda w: SGD(w, lr=0.2, momentum=0.9, momentum_kind="ema", nesterov=True))
    moves = np.diff([START, *expected], axis=0)
    same(ahead, expected + 0.9 * moves)
    same(ahead, walk(lambda w: SGD(w, lr=0.02, momentum=0.9, nesterov=True)))
    with pytest.raises(RuntimeError, match="ahead already"), SGD([w], momentum=0.9, nesterov=True).look_ahead():
        pass


@pytest.mark.course("A-087")
def test_normalised_descent_is_sign_descent():
    def update(w, t, memory):
        m = gradient(w)
        return w - 0.01 * m / (np.sqrt(m**2) + 1e-3)

    same(walk(lambda w: NormalizedGD(w, lr=0.01, eps=1e-3)), written(update))
    same(walk(lambda w: NormalizedGD(w, lr=0.01, eps=0)), written(lambda w, t, memory: w - 0.01 * np.sign(gradient(w))))


@pytest.mark.course("A-088")
def test_adagrad_with_epsilon_inside_and_outside():
    def update(inside):
        def step(w, t, memory):
            g = gradient(w)
            memory["s"] = s = memory.get("s", 0.0) + g**2
            return w - 0.1 * g / (np.sqrt(s + 0.01) if inside else np.sqrt(s) + 0.01)

        return step

    same(walk(lambda w: Adagrad(w, lr=0.1, eps=0.01, eps_placement="inside")), written(update(True)))
    same(walk(lambda w: Adagrad(w, lr=0.1, eps=0.01)), written(update(False)))


@pytest.mark.course("A-089")
def test_rmsprop_with_and_without_epsilon():
    """Erratum: without epsilon a gradient of 0 gives 0 / 0."""

    def update(root):
        def step(w, t, memory):
            g = gradient(w)
            memory["v"] = v = 0.9 * memory.get("v", 0.0) + 0.1 * g**2
            return w - 0.01 * g / root(v)

        return step

    same(walk(lambda w: RMSprop(w, lr=0.01, alpha=0.9, eps=0)), written(update(np.sqrt)))
    same(walk(lambda w: RMSprop(w, lr=0.01, alpha=0.9, eps=0.01)), written(update(lambda v: np.sqrt(v) + 0.01)))
    same(walk(lambda w: RMSprop(w, lr=0.01, alpha=0.9, eps=0.01, eps_placement="inside")), written(update(lambda v: np.sqrt(v + 0.01))))
    nothing = np.array([0.0, 1.0, 1.0])
    as_printed = walk(lambda w: RMSprop(w, eps=0), 1, lambda w: nothing)
    assert np.isnan(as_printed[0, 0]) and np.isfinite(as_printed[0, 1:]).all()
    assert np.isfinite(walk(RMSprop, 1, lambda w: nothing)).all()


def adam(place="outside", lr=0.01, eps=1e-8):
    def update(w, t, memory):
        g = gradient(w)
        memory["m"] = m = 0.9 * memory.get("m", 0.0) + 0.1 * g
        memory["v"] = v = 0.999 * memory.get("v", 0.0) + 0.001 * g**2
        m, c = m / (1 - 0.9 ** (t + 1)), 1 - 0.999 ** (t + 1)
        return (
            w
            - lr
            * m
            / {"outside": np.sqrt(v / c) + eps, "inside": np.sqrt(v / c + eps), "uncorrected": (np.sqrt(v) + eps) / np.sqrt(c)}[place]
        )

    return update


@pytest.mark.course("A-090", "A-091")
def test_adam():
    """With t + 1; as printed first, 1 - beta^t, t = 0 divides by zero."""
    same(walk(lambda w: Adam(w, lr=0.01)), written(adam()))
    for place in ("inside", "uncorrected"):
        same(walk(lambda w, place=place: Adam(w, lr=0.01, eps=0.1, eps_placement=place)), written(adam(place, eps=0.1)))
    group = Adam([lamella.Tensor(np.ones(1))]).param_groups[0]
    assert (group["lr"], group["betas"], group["eps"]) == (0.001, (0.9, 0.999), 1e-8)
    with pytest.raises(ZeroDivisionError):
        1 / (1 - 0.9**0)
    first = walk(lambda w: Adam(w, lr=0.01), 1)[0]
    np.testing.assert_allclose(first, START - 0.01 * np.sign(gradient(START)), atol=1e-8)


@pytest.mark.course("A-092")
def test_nadam():
    def update(w, t, memory):
        g, t = gradient(w), t + 1
        now, later = (0.9 * (1 - 0.5 * 0.96 ** (k * 0.004)) for k in (t, t + 1))
        memory["product"] = product = memory.get("product", 1.0) * now
        memory["m"] = m = 0.9 * memory.get("m", 0.0) + 0.1 * g
        memory["v"] = v = 0.999 * memory.get("v", 0.0) + 0.001 * g**2
        mhat = later * m / (1 - product * later) + (1 - now) * g / (1 - product)
        return w - 0.002 * mhat / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)

    np.testing.assert_allclose(walk(NAdam), written(update), rtol=1e-7)  # the product is kept in single precision, as in PyTorch


@pytest.mark.course("A-093")
def test_adamax():
    def update(outside):
        def step(w, t, memory):
            g = gradient(w)
            memory["m"] = m = 0.9 * memory.get("m", 0.0) + 0.1 * g
            memory["v"] = v = np.maximum(0.999 * memory.get("v", 0.0), np.abs(g) + (0 if outside else 0.01))
            return w - 0.02 * m / (1 - 0.9 ** (t + 1)) / (v + (0.01 if outside else 0))

        return step

    same(walk(lambda w: Adamax(w, lr=0.02, eps=0.01)), written(update(False)))
    same(walk(lambda w: Adamax(w, lr=0.02, eps=0.01, eps_placement="outside")), written(update(True)))


@pytest.mark.course("A-094")
def test_weight_decay():
    course = written(lambda w, t, memory: (1 - 0.05) * w - 0.02 * gradient(w))
    same(walk(lambda w: SGD(w, lr=0.02, weight_decay=0.05, decay_kind="independent")), course)
    same(walk(lambda w: SGD(w, lr=0.02, weight_decay=0.05 / 0.02)), course)  # equivalent to L2 for plain descent
    same(walk(lambda w: SGD(w, lr=0.02, weight_decay=0.05 / 0.02, decay_kind="decoupled")), course)
    l1 = written(lambda w, t, memory: w - 0.02 * (gradient(w) + 0.3 * np.sign(w)))
    same(walk(lambda w: SGD(w, lr=0.02, l1=0.3)), l1)


@pytest.mark.course("A-095")
def test_adamw_is_not_adam_with_l2():
    inner = adam()
    same(walk(lambda w: AdamW(w, lr=0.01, weight_decay=0.5)), written(lambda w, t, memory: inner(w, t, memory) - 0.01 * 0.5 * w))
    assert not np.allclose(walk(lambda w: AdamW(w, lr=0.01, weight_decay=0.5)), walk(lambda w: Adam(w, lr=0.01, weight_decay=0.5)))


@pytest.mark.course("A-096")
def test_max_norm_of_each_neuron():
    np.testing.assert_allclose(max_norm_(np.array([[3.0, 4.0], [0.3, 0.4]]), 2.0), [[1.2, 1.6], [0.3, 0.4]])
    lamella.manual_seed(0)
    model = lamella.nn.Sequential(lamella.nn.Conv2d(2, 3, 3), lamella.nn.Flatten(), lamella.nn.Linear(3, 4))
    optimizer = SGD(model.parameters(), lr=5.0, max_norm=0.7)
    for _ in range(3):
        optimizer.zero_grad()
        (model(np.ones((2, 2, 3, 3), np.float32)) ** 2).sum().backward()
        optimizer.step()
        for w in (model[0].weight, model[2].weight):
            norms = np.sqrt((w.data.reshape(len(w), -1) ** 2).sum(1))
            assert (norms <= 0.7 * (1 + 1e-6)).all()
    assert norms.max() == pytest.approx(0.7)
    assert np.abs(model[2].bias.data).max() > 0.7  # biases are free


@pytest.mark.course("A-097")
def test_lbfgs_on_a_narrow_valley():
    w = lamella.Tensor(np.array([-1.2, 1.0]), requires_grad=True)
    optimizer = LBFGS([w], max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = 100 * ((w[1:] - w[:-1] ** 2) ** 2).sum() + ((1 - w[:-1]) ** 2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(w.data, 1, atol=1e-4)
