"""Losses and the statistics behind them (A-040 to A-059), with their worked examples (G-02 to G-04, G-14)."""

import math

import numpy as np
import pytest

import lamella
from lamella import functional as F
from lamella import nn, optim, train
from lamella.distributions import Bernoulli, Categorical, Laplace, Normal, Poisson, kl_divergence

SCORES = np.array([[3.2, 1.3, 2.2], [5.1, 4.9, 2.5], [-1.7, 2.0, -3.1]]).T  # rows: images of a cat, a car, a frog
CLASSES = np.array([0, 1, 2])


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.course("A-040")
def test_cost_is_the_mean_loss():
    """J(w, b) = (1/m) sum of L(y_i, yhat_i), for every loss."""
    x, t, labels = rng().uniform(0.1, 0.9, (8, 3)), rng(1).uniform(0.1, 0.9, (8, 3)), rng(2).integers(0, 3, 8)
    for loss, target in (
        (F.mse_loss, t),
        (F.l1_loss, t),
        (F.binary_cross_entropy, t),
        (F.cross_entropy, labels),
        (F.multi_margin_loss, labels),
    ):
        each = loss(x, target, reduction="none")
        np.testing.assert_allclose(loss(x, target), each.mean())
        np.testing.assert_allclose(loss(x, target, reduction="sum"), each.sum())


@pytest.mark.course("A-041")
def test_squared_error_has_no_half():
    """L = (y - yhat)^2 with gradient 2 (yhat - y) for the prediction yhat."""
    prediction = lamella.tensor(np.array(3.0), requires_grad=True)
    loss = F.mse_loss(prediction, np.array(5.0))
    loss.backward()
    assert loss.item() == 4
    assert prediction.grad.item() == 2 * (3 - 5)


@pytest.mark.course("A-042", "A-043")
def test_mean_is_optional():
    y, yhat = np.array([1.0, 2.0, 4.0]), np.array([1.5, 0.0, 4.0])
    assert F.mse_loss(yhat, y, reduction="sum") == 4.25
    assert F.mse_loss(yhat, y) == 4.25 / 3
    assert F.l1_loss(yhat, y, reduction="sum") == 2.5
    assert F.l1_loss(yhat, y) == 2.5 / 3
    pairs = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert F.mse_loss(pairs, 0 * pairs) == 30 / 4  # as PyTorch: over all elements, not samples


@pytest.mark.course("A-044")
def test_binary_hinge():
    """max(0, 1 - t y), t in {-1, 1}, with 0 and 1 as an option."""
    y, t = np.array([2.0, 0.3, -0.3, 1.0]), np.array([1.0, 1.0, 1.0, -1.0])
    np.testing.assert_allclose(F.hinge_loss(y, t, reduction="none"), [0, 0.7, 1.3, 2])
    np.testing.assert_allclose(F.hinge_loss(y, (t + 1) / 2, zero_one=True, reduction="none"), [0, 0.7, 1.3, 2])


@pytest.mark.course("A-045", "G-02")
def test_multiclass_svm():
    """2.9, 0 and 12.9, mean 5.27; PyTorch divides by the classes; a sum over all classes adds 1."""
    course = nn.MultiMarginLoss(normalize_classes=False)
    each = F.multi_margin_loss(SCORES, CLASSES, reduction="none", normalize_classes=False)
    np.testing.assert_allclose(each, [2.9, 0, 12.9], atol=1e-12)
    assert round(float(course(SCORES, CLASSES)), 6) == 5.266667
    assert round(float(nn.MultiMarginLoss()(SCORES, CLASSES)), 6) == 1.755556
    right = SCORES[np.arange(3), CLASSES]
    assert round(float(np.maximum(0, SCORES - right[:, None] + 1).sum(1).mean()), 6) == 6.266667
    hardest = F.multi_margin_loss(SCORES, CLASSES, reduction="none", normalize_classes=False, hardest=True)
    np.testing.assert_allclose(hardest, [2.9, 0, 6.6])


@pytest.mark.course("A-046", "A-047", "G-03")
def test_softmax_cross_entropy():
    """-log(e^s_y / sum e^s_j) = -(f_y - log sum exp f_j), natural logarithm."""
    np.testing.assert_allclose(F.softmax(SCORES, 1)[0], [0.12998254, 0.86904954, 0.00096793], rtol=0, atol=5e-9)
    each = F.cross_entropy(SCORES, CLASSES, reduction="none")
    np.testing.assert_allclose(each, [2.04035516, 0.07913178, 6.15647720], rtol=0, atol=1e-8)
    np.testing.assert_allclose(F.cross_entropy(SCORES, CLASSES), 2.75865471, rtol=0, atol=5e-9)
    np.testing.assert_allclose(F.cross_entropy(SCORES, CLASSES, reduction="sum"), each.sum())
    assert round(float(each[0]) / math.log(10), 3) == 0.886
    assert F.cross_entropy(np.array([[800.0, 0.0]]), np.array([0])) == 0  # its least value
    assert F.cross_entropy(np.array([[800.0, 0.0]]), np.array([1])) == 800  # and no greatest


@pytest.mark.course("A-048")
def test_one_hot_cross_entropy():
    """-(1/m) sum of y log yhat, with one-hot y."""
    onehot, p = np.eye(3)[CLASSES], F.softmax(SCORES, 1)
    np.testing.assert_allclose(F.cross_entropy(SCORES, onehot), -(onehot * np.log(p)).sum() / 3)
    np.testing.assert_allclose(F.cross_entropy(SCORES, onehot), F.cross_entropy(SCORES, CLASSES))
    np.testing.assert_allclose(F.nll_loss(np.log(p), CLASSES), F.cross_entropy(SCORES, CLASSES))


@pytest.mark.course("G-04")
def test_svm_is_content_and_softmax_never():
    scores, y = np.array([[10.0, -2, 3], [10, 9, 9], [10, -100, -100]]), np.zeros(3, int)
    np.testing.assert_array_equal(F.multi_margin_loss(scores, y, reduction="none"), [0, 0, 0])
    np.testing.assert_allclose(F.cross_entropy(scores, y, reduction="none"), [0.00091761, 0.55144471, 0], rtol=0, atol=5e-9)


@pytest.mark.course("G-14")
def test_ten_class_probabilities():
    p = np.array([0.08, 0.07, 0.04, 0.3, 0.06, 0.1, 0.09, 0.2, 0.04, 0.02])
    np.testing.assert_allclose(p.sum(), 1.0)
    assert Categorical(p).mode == 3  # a cat
    np.testing.assert_allclose(F.nll_loss(np.log(p)[None], np.array([3])), 1.20397280, rtol=0, atol=5e-9)
    np.testing.assert_allclose(F.softmax(np.log(p), 0), p)


@pytest.mark.course("A-049")
def test_maximum_likelihood():
    """The parameter that makes the data most probable makes the sum of logarithms greatest and the NLL least."""
    heads = np.array([1, 1, 0, 1, 0, 1, 1, 0, 1, 1.0])
    grid = np.arange(0.01, 1, 0.01)
    product = [np.prod(np.where(heads == 1, p, 1 - p)) for p in grid]
    nll = [float(F.binary_cross_entropy(np.full(10, p), heads, reduction="sum")) for p in grid]
    np.testing.assert_allclose(np.exp(-np.array(nll)), product)
    assert grid[np.argmax(product)] == grid[np.argmin(nll)] == pytest.approx(heads.mean())


@pytest.mark.course("A-050")
def test_bce_with_logits():
    """-(1-y) log(1 - sigma(f)) - y log sigma(f), as max(f, 0) - f y + log1p(exp(-|f|))."""
    f, y = rng().standard_normal(20), rng(1).integers(0, 2, 20).astype(float)
    s = 1 / (1 + np.exp(-f))
    as_written = -(1 - y) * np.log(1 - s) - y * np.log(s)
    np.testing.assert_allclose(F.binary_cross_entropy_with_logits(f, y, reduction="none"), as_written)
    np.testing.assert_allclose(F.binary_cross_entropy(s, y, reduction="sum"), as_written.sum())
    far = F.binary_cross_entropy_with_logits(np.array([1e4, -1e4]), np.array([0.0, 1.0]), reduction="none")
    np.testing.assert_array_equal(far, [1e4, 1e4])


@pytest.mark.course("A-051")
def test_normal_likelihood_is_the_squared_loss():
    f, y, scale = rng().standard_normal(30), rng(1).standard_normal(30), 0.7
    density = np.exp(-((y - f) ** 2) / (2 * scale**2)) / np.sqrt(2 * np.pi * scale**2)
    np.testing.assert_allclose(Normal(f, scale).log_prob(y), np.log(density))
    nll = F.gaussian_nll_loss(f, y, scale**2, full=True, reduction="sum")
    np.testing.assert_allclose(nll, -np.log(density).sum())
    constant = 15 * math.log(2 * math.pi * scale**2)
    np.testing.assert_allclose(nll, F.mse_loss(f, y, reduction="sum") / (2 * scale**2) + constant)


@pytest.mark.course("A-052")
def test_predicted_variance():
    """A network that predicts mean and variance learns where the data are noisy."""
    x = rng().uniform(0, 1, 4000)
    y = x + np.where(x < 0.5, 0.1, 0.8) * rng(1).standard_normal(4000)
    features = np.stack([np.ones(4000), x, x >= 0.5], 1)
    weight = lamella.tensor(np.zeros((2, 3)), requires_grad=True)
    loss, adam = nn.GaussianNLLLoss(), optim.Adam([weight], lr=0.05)
    for _ in range(250):
        out = F.linear(features, weight)
        adam.zero_grad()
        loss(out[:, 0], y, F.exp(out[:, 1])).backward()
        adam.step()
    out = F.linear(features, weight).detach()
    found = loss.predict((out[:, 0], F.exp(out[:, 1])))
    assert found.scale[x < 0.5].mean() == pytest.approx(0.1, rel=0.1)
    assert found.scale[x >= 0.5].mean() == pytest.approx(0.8, rel=0.1)


@pytest.mark.course("A-053")
def test_independent_outputs_add_up():
    """Pr(y) = product over d of Pr(y_d | f_d): the losses of the dimensions are summed."""
    f, y = rng().standard_normal((6, 4)), rng(1).standard_normal((6, 4))
    joint = np.prod(np.exp(Normal(f, 1.0).log_prob(y)), axis=1)
    np.testing.assert_allclose(F.gaussian_nll_loss(f, y, 1.0, full=True, reduction="none").sum(1), -np.log(joint))


@pytest.mark.course("A-054")
def test_kl_divergence():
    """D[q, p] >= 0, 0 for q = p, not symmetric; its least p is q (the course prints arg max)."""
    q, p = np.array([0.1, 0.6, 0.3]), np.array([0.5, 0.25, 0.25])
    forward = float(kl_divergence(Categorical(q), Categorical(p)))
    np.testing.assert_allclose(forward, (q * np.log(q / p)).sum())
    np.testing.assert_allclose(F.kl_div(np.log(p)[None], q[None], reduction="batchmean"), forward)
    np.testing.assert_allclose(nn.KLDivLoss(reduction="sum", log_target=True)(np.log(p), np.log(q)), forward)
    assert forward > 0
    assert kl_divergence(Categorical(q), Categorical(q)) == 0
    assert abs(forward - float(kl_divergence(Categorical(p), Categorical(q)))) > 0.01
    others = rng().dirichlet(np.ones(3), 200)
    assert (kl_divergence(Categorical(np.tile(q, (200, 1))), Categorical(others)) > 0).all()
    y = np.linspace(-12, 12, 200001)
    one, two = Normal(0.5, 1.0), Normal(-0.5, 1.5)
    density = np.exp(one.log_prob(y))
    integral = (density * (one.log_prob(y) - two.log_prob(y))).sum() * (y[1] - y[0])
    np.testing.assert_allclose(kl_divergence(one, two), integral)


@pytest.mark.course("A-055")
def test_differential_entropy():
    """-integral of q log q; printed without the minus sign."""
    y = np.linspace(-40, 40, 400001)
    for q in (Normal(0.5, 2.0), Laplace(0.0, 1.5)):
        printed = (np.exp(q.log_prob(y)) * q.log_prob(y)).sum() * (y[1] - y[0])
        np.testing.assert_allclose(q.entropy(), -printed, rtol=1e-6)
        assert printed < 0 < q.entropy()
    np.testing.assert_allclose(Normal(0, 1).entropy(), 0.5 * math.log(2 * math.pi * math.e))


@pytest.mark.course("A-056")
def test_loss_returns_its_distribution_or_mode():
    """Pick a distribution, predict its parameters, minimise the NLL, answer with the distribution or its mode."""
    logits = lamella.tensor(SCORES)
    softmax = nn.CrossEntropyLoss()
    np.testing.assert_allclose(softmax.predict(logits).probs, F.softmax(SCORES, 1))
    np.testing.assert_array_equal(softmax.predict(logits, "mode"), [1, 1, 1])
    assert nn.CrossEntropyLoss().predict(np.zeros((2, 3, 5, 4)), "mode").shape == (2, 5, 4)
    np.testing.assert_array_equal(nn.NLLLoss().predict(F.log_softmax(SCORES, 1), "mode"), [1, 1, 1])
    x = np.array([-2.0, 0.5])
    assert isinstance(nn.BCEWithLogitsLoss().predict(x), Bernoulli)
    np.testing.assert_array_equal(nn.BCEWithLogitsLoss().predict(x, "mode"), [0, 1])
    np.testing.assert_array_equal(nn.BCELoss().predict(F.sigmoid(x), "mode"), [0, 1])
    np.testing.assert_array_equal(nn.MSELoss().predict(x, "mode"), x)
    np.testing.assert_array_equal(nn.L1Loss().predict(x, "mode"), x)
    assert isinstance(nn.L1Loss().predict(x), Laplace)
    np.testing.assert_array_equal(nn.GaussianNLLLoss().predict((x, np.array([4.0, 9.0]))).scale, [2, 3])
    assert isinstance(nn.PoissonNLLLoss().predict(x), Poisson)
    np.testing.assert_array_equal(nn.PoissonNLLLoss().predict(np.log([2.5, 7.5]), "mode"), [2, 7])
    # each loss is minus the log-probability of what it returns (up to a constant)
    y = np.array([1.0, 0.0])
    for loss in (nn.BCEWithLogitsLoss(reduction="none"), nn.PoissonNLLLoss(reduction="none")):
        np.testing.assert_allclose(loss(x, y), -loss.predict(x).log_prob(y))
    np.testing.assert_allclose(
        F.l1_loss(x, y, reduction="none") - F.l1_loss(y, y), -nn.L1Loss().predict(x).log_prob(y) - math.log(2), rtol=1e-12
    )


@pytest.mark.course("A-057")
def test_regularised_loss():
    """L = (1/N) sum L_i + R(W): L1, L2 with the factor 1 or 1/2, any function; weights only, unless told otherwise."""
    model = nn.Linear(3, 2, dtype="float64")
    x, y = rng().standard_normal((5, 3)), rng().integers(0, 2, 5)
    data = float(F.cross_entropy(model(x), y).item())
    w, b = model.weight.data, model.bias.data
    for penalty, options, expected in (
        ("l1", {}, np.abs(w).sum()),
        ("l2", {}, (w**2).sum()),
        ("l2", {"half": True}, (w**2).sum() / 2),
        ("l2", {"weights_only": False}, (w**2).sum() + (b**2).sum()),
        (lambda parameters: F.max(F.abs(parameters[0])), {}, np.abs(w).max()),
    ):
        loss = nn.RegularizedLoss(nn.CrossEntropyLoss(), model, penalty, strength=0.3, **options)
        np.testing.assert_allclose(loss(model(x), y).item(), data + 0.3 * expected)
        assert not list(loss.parameters())
    for half, factor in ((False, 2), (True, 1)):
        model.zero_grad()
        nn.RegularizedLoss(lambda: 0.0, model, "l2", 0.3, half=half)().backward()
        np.testing.assert_allclose(model.weight.grad.data, factor * 0.3 * w)
        assert model.bias.grad is None


def fit_polynomial(degree):
    def fit(x, y):
        coefficients = np.polynomial.polynomial.polyfit(x, y, degree)
        return lambda at: np.polynomial.polynomial.polyval(at, coefficients)

    return fit


@pytest.mark.course("A-058")
def test_bias_variance_noise():
    """E_D E_y (f - y)^2 = E_D (f - f_mu)^2 + (f_mu - mu)^2 + sigma^2: a stiff model has bias, a supple one variance."""
    at = np.linspace(0, 1, 40)
    mu, sigma = np.sin(2 * np.pi * at), 0.3
    targets = mu + sigma * rng(1).standard_normal((300, 40))

    def draw(generator):
        x = generator.uniform(0, 1, 25)
        return x, np.sin(2 * np.pi * x) + sigma * generator.standard_normal(25)

    parts = {d: train.bias_variance(fit_polynomial(d), None, None, at, targets, mean=mu, draw=draw, repeats=200) for d in (0, 3, 6)}
    for found in parts.values():
        assert found.noise == pytest.approx(sigma**2, rel=0.05)
        assert found.error == pytest.approx(found.variance + found.bias2 + found.noise, rel=0.05)
    assert parts[0].bias2 > 20 * parts[3].bias2
    assert parts[0].bias2 == pytest.approx((mu**2).mean(), rel=0.1)
    assert parts[6].variance > 1.5 * parts[3].variance
    # from one training set, by the bootstrap; and exactly additive where the mean is that of the measurements
    x, y = draw(rng(2))
    booted = train.bias_variance(fit_polynomial(0), x, y, at, targets, repeats=200)
    assert booted.error == pytest.approx(booted.variance + booted.bias2 + booted.noise, rel=1e-12)
    assert booted.variance == pytest.approx(y.var() / 25, rel=0.3)
    assert math.isnan(train.bias_variance(fit_polynomial(0), x, y, at, mu, repeats=5).noise)


@pytest.mark.course("A-059")
def test_double_descent():
    """The test error falls, explodes where the parameters just suffice to interpolate, and falls again beyond."""
    samples = 40
    errors = {}
    for width in (10, samples, 800):
        found = []
        for seed in range(15):
            generator = rng(seed)
            first = nn.Linear(8, width, bias=False, dtype="float64")
            first.weight.data[...] = generator.standard_normal((width, 8)) / math.sqrt(8)
            first.requires_grad_(False)
            hidden = nn.Sequential(first, nn.ReLU())
            x, x_test = generator.standard_normal((samples, 8)), generator.standard_normal((500, 8))
            truth = generator.standard_normal(8) / math.sqrt(8)
            y = x @ truth + 0.2 * generator.standard_normal(samples)
            last = np.linalg.lstsq(hidden(x).numpy(), y, rcond=None)[0]  # of all solutions, the one of least norm
            found.append(float(F.mse_loss(hidden(x_test).numpy() @ last, x_test @ truth)))
        errors[width] = np.median(found)
    assert errors[samples] > 5 * errors[10]
    assert errors[800] < errors[10]
