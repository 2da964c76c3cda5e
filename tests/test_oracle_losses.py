"""Losses of numbers, of two kinds, of distributions and with margins against PyTorch: values, gradients, every option, extremes."""

import itertools

import numpy as np
import pytest

import lamella
from lamella import distributions, nn
from lamella import functional as F
from lamella.testing import gradcheck

torch = pytest.importorskip("torch")
TF = torch.nn.functional
pytestmark = pytest.mark.oracle

REDUCTIONS = ("mean", "sum", "none")
SHAPES = [(), (5,), (7, 3), (2, 3, 4), (0, 3)]


def both(name, arrays, fixed=(), atol=1e-13, **options):
    """Values and all gradients of one call; `fixed` arrays and what is in options need none."""
    a = [lamella.tensor(x, requires_grad=True) for x in arrays]
    b = [torch.tensor(x, requires_grad=True) for x in arrays]
    theirs_options = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    y = getattr(F, name)(*a, *fixed, **options)
    z = getattr(TF, name)(*b, *(torch.tensor(x) for x in fixed), **theirs_options)
    assert y.shape == tuple(z.shape)
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-10, atol=atol)
    plain = getattr(F, name)(*arrays, *fixed, **options)
    np.testing.assert_array_equal(plain, y.data)
    if z.numel():
        upstream = np.random.default_rng(9).standard_normal(tuple(z.shape))
        y.backward(upstream)
        z.backward(torch.tensor(upstream))
        for s, t in zip(a, b):
            np.testing.assert_allclose(s.grad.data, t.grad.numpy(), rtol=1e-10, atol=atol)


def normal(shape, seed=0):
    return np.asarray(2 * np.random.default_rng(seed).standard_normal(shape))


def uniform(shape, seed=1, low=0.02, high=0.98):
    return np.asarray(np.random.default_rng(seed).uniform(low, high, shape))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss"])
def test_regression(name, reduction):
    for shape in SHAPES:
        x, t, weight = normal(shape), normal(shape, 4), uniform(shape)
        both(name, [x, t], reduction=reduction)
        if name != "smooth_l1_loss":
            both(name, [x, t], reduction=reduction, weight=weight)
    for width in (0.3, 2.5):
        if name == "huber_loss":
            both(name, [normal((9, 4)), normal((9, 4), 4)], reduction=reduction, delta=width)
        elif name == "smooth_l1_loss":
            both(name, [normal((9, 4)), normal((9, 4), 4)], reduction=reduction, beta=width)
    d = np.array([0.0, 1.0, -1.0, np.inf, -np.inf, np.nextafter(1, 2)])
    both(name, [d, np.zeros(6)], reduction=reduction)
    with pytest.warns(UserWarning, match="broadcast"):
        both(name, [normal((4, 1)), normal((3, 4, 5), 4)], reduction=reduction)


def test_smooth_l1_without_a_parabola_is_l1():
    both("smooth_l1_loss", [normal((5, 4)), normal((5, 4), 4)], beta=0.0)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_binary(reduction):
    for shape in SHAPES:
        x, p, t = normal(shape), uniform(shape), uniform(shape, 2)
        for weight in (None, uniform(shape[-1:], 3, 0.5, 2)):
            both("binary_cross_entropy", [p, t], reduction=reduction, weight=weight)
            for pos_weight in (None, uniform(shape[-1:], 5, 0.5, 2)):
                both("binary_cross_entropy_with_logits", [x, t], reduction=reduction, weight=weight, pos_weight=pos_weight)
    edges = np.array([0.0, 1.0, 0.0, 1.0, 1e-300]), np.array([0.0, 0.0, 1.0, 1.0, 1.0])
    both("binary_cross_entropy", edges[:1], edges[1:], reduction=reduction)
    far = np.array([1e4, -1e4, 1e4, -1e4, 0.0]), np.array([0.0, 0.0, 1.0, 1.0, 0.5])
    both("binary_cross_entropy_with_logits", far, reduction=reduction)
    both("binary_cross_entropy_with_logits", [np.array([np.nan, 1.0])], [np.array([1.0, 0.0])], reduction=reduction)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_likelihood(reduction):
    for shape, full in itertools.product(SHAPES, (False, True)):
        x, t = normal(shape), normal(shape, 4)
        both("gaussian_nll_loss", [x, t, uniform(shape, 2, 0.1, 3)], reduction=reduction, full=full)
        if shape:
            both("gaussian_nll_loss", [x, t, uniform(shape[:-1], 2, 0.1, 3)], reduction=reduction, full=full)
        for log_input in (False, True):
            rate = x if log_input else uniform(shape, 2, 0.1, 3)
            both("poisson_nll_loss", [rate, uniform(shape, 5, 0.1, 6)], reduction=reduction, full=full, log_input=log_input)
    both("gaussian_nll_loss", [normal((4, 3)), normal((4, 3), 1), uniform((4, 1))], reduction=reduction)
    both("gaussian_nll_loss", [normal((4, 3)), normal((4, 3), 1), np.zeros((4, 3))], reduction=reduction, eps=1e-2)
    both("gaussian_nll_loss", [normal((4, 3)), normal((4, 3), 1)], reduction=reduction, var=0.7)
    both("poisson_nll_loss", [normal(3)], [np.array([0.0, 1.0, 2.0])], reduction=reduction, full=True)


@pytest.mark.filterwarnings("ignore:kl_div", "ignore:reduction")
@pytest.mark.parametrize("reduction", [*REDUCTIONS, "batchmean"])
def test_kl_div(reduction):
    for shape in SHAPES[1:4]:
        x, t = np.log(uniform(shape)), uniform(shape, 3)
        both("kl_div", [x, t], reduction=reduction)
        both("kl_div", [x, np.log(t)], reduction=reduction, log_target=True)
    both("kl_div", [np.log(uniform((2, 3)))], [np.array([[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])], reduction=reduction)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_multi_margin(reduction):
    for shape, p, margin, weight in itertools.product([(5,), (7, 4), (1, 1)], (1, 2), (1.0, 0.3), (False, True)):
        target = np.asarray(np.random.default_rng(3).integers(0, shape[-1], shape[:-1]))
        options = {"p": p, "margin": margin, "reduction": reduction, "weight": uniform(shape[-1]) if weight else None}
        both("multi_margin_loss", [normal(shape)], [target], **options)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_embedding(reduction):
    for shape in [(5,), (7, 4)]:
        a, b, c = normal(shape), normal(shape, 1), normal(shape, 2)
        for p, swap, margin in itertools.product((1, 2, 3), (False, True), (1.0, 4.0)):
            both("triplet_margin_loss", [a, b, c], reduction=reduction, p=p, swap=swap, margin=margin)
        target = np.asarray(np.sign(normal(shape[:-1], 6)))
        both("cosine_embedding_loss", [a, b], [target], reduction=reduction, margin=-0.2)
    both("cosine_embedding_loss", [np.zeros((2, 3)), normal((2, 3))], [np.array([1.0, -1.0])], reduction=reduction)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_what_pytorch_lacks_by_differences(reduction):
    x, t = lamella.tensor(normal((6, 4)), requires_grad=True), np.sign(normal((6, 4), 1))
    labels = np.random.default_rng(3).integers(0, 4, 6)
    smooth = {"label_smoothing": 0.3, "smoothing_over": "others", "reduction": reduction}
    assert gradcheck(lambda x: F.hinge_loss(x, t, reduction=reduction), [x])
    assert gradcheck(lambda x: F.hinge_loss(x, (t + 1) / 2, 0.5, zero_one=True, reduction=reduction), [x])
    assert gradcheck(lambda x: F.cross_entropy(x, labels, **smooth), [x])
    for hardest, normalize in itertools.product((False, True), repeat=2):
        loss = nn.MultiMarginLoss(2, reduction=reduction, normalize_classes=normalize, hardest=hardest)
        assert gradcheck(lambda x, loss=loss: loss(x, labels), [x])


def test_crammer_singer_takes_the_worst_class():
    x = normal((50, 6))
    y = np.random.default_rng(0).integers(0, 6, 50)
    rows = np.arange(50)
    others = np.where(np.arange(6) == y[:, None], -np.inf, x).max(1)
    expected = np.maximum(0, 1 + others - x[rows, y])
    np.testing.assert_allclose(F.multi_margin_loss(x, y, hardest=True, normalize_classes=False, reduction="none"), expected)


def test_heaviside():
    x = np.array([-2.0, -0.0, 0.0, 3.0, np.inf, -np.inf, np.nan])
    for value in (0.0, 0.5, 1.0):
        expected = torch.heaviside(torch.tensor(x), torch.tensor(value, dtype=torch.float64)).numpy()
        np.testing.assert_array_equal(F.heaviside(x[:-1], value), expected[:-1])
    assert np.isnan(F.heaviside(x)[-1])  # PyTorch says 1


def test_penalties():
    arrays = [normal((3, 4)), normal(5, 1)]
    ours, theirs = [lamella.tensor(a, requires_grad=True) for a in arrays], [torch.tensor(a, requires_grad=True) for a in arrays]
    (F.l1_penalty(ours) + F.l2_penalty(ours, half=True)).backward()
    sum(t.abs().sum() + (t * t).sum() / 2 for t in theirs).backward()
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-12)
    model = nn.Linear(2, 2)
    for bad, match in (
        (lambda: nn.RegularizedLoss(nn.MSELoss(), model, "l3"), "'l1', 'l2' or a function"),
        (lambda: nn.RegularizedLoss(nn.MSELoss(), nn.ReLU()), "no parameters"),
    ):
        with pytest.raises(ValueError, match=match):
            bad()


def test_refusals():
    x = np.zeros((4, 3))
    for call, match in [
        (lambda: F.huber_loss(x, x, delta=0), "delta must be positive"),
        (lambda: F.smooth_l1_loss(x, x, beta=-1), "beta must not be negative"),
        (lambda: F.l1_loss(x, np.zeros((4, 2))), "one shape"),
        (lambda: F.mse_loss(x, x, weight=np.ones(3)), r"weight of the input's shape \(4, 3\)"),
        (lambda: F.binary_cross_entropy(x + 2, x), r"input between 0 and 1, got 2.0 at \(0, 0\)"),
        (lambda: F.binary_cross_entropy(x, x[0]), "target of the input's shape"),
        (lambda: F.binary_cross_entropy_with_logits(x, x, pos_weight=np.ones(4)), "pos_weight to broadcast"),
        (lambda: F.hinge_loss(x, x), "expected targets -1 and 1, got 0.0.*zero_one=True"),
        (lambda: F.gaussian_nll_loss(x, x, x - 1), "no negative variance"),
        (lambda: F.gaussian_nll_loss(x, x, np.ones(2)), r"expected var of shape \(4, 3\)"),
        (lambda: F.gaussian_nll_loss(x, x, x, eps=0), "eps must be positive"),
        (lambda: F.multi_margin_loss(x, np.array([0, 1, 2, 3])), r"\[0, 2\] for 3 classes, got 3 at position 3"),
        (lambda: F.multi_margin_loss(x, np.zeros(4, int), p=3), "p must be 1 or 2"),
        (lambda: F.multi_margin_loss(np.zeros((2, 3, 4)), np.zeros((2, 4), int)), r"shape \(N, C\) or \(C,\)"),
        (lambda: F.triplet_margin_loss(x, x, x, margin=0), "margin must be positive"),
        (lambda: F.cosine_embedding_loss(x, x, np.ones(3)), "target of shape"),
        (lambda: F.cross_entropy(x, np.zeros(4, int), smoothing_over="some"), "smoothing_over"),
        (lambda: F.kl_div(x, x, reduction="median"), "reduction must be one of"),
        (lambda: nn.MSELoss().predict(x, "median"), "mode must be"),
    ]:
        with pytest.raises(ValueError, match=match):
            call()
    with pytest.raises(TypeError, match="one dtype"):
        F.l1_loss(x, x.astype(np.float32))


MODULES = [
    ("MSELoss", {"reduction": "sum"}, 1),
    ("L1Loss", {}, 1),
    ("SmoothL1Loss", {"beta": 0.5}, 1),
    ("HuberLoss", {"delta": 0.5, "reduction": "sum"}, 1),
    ("BCELoss", {"weight": uniform(3)}, 1),
    ("BCEWithLogitsLoss", {"pos_weight": uniform(3)}, 1),
    ("GaussianNLLLoss", {"full": True}, 2),
    ("PoissonNLLLoss", {"log_input": False, "full": True}, 1),
    ("KLDivLoss", {"reduction": "batchmean"}, 1),
    ("MultiMarginLoss", {"p": 2, "margin": 0.5, "weight": uniform(3)}, "labels"),
    ("TripletMarginLoss", {"swap": True, "p": 1.0}, 2),
    ("CosineEmbeddingLoss", {"margin": 0.1}, "signs"),
]


@pytest.mark.parametrize(("name", "options", "more"), MODULES, ids=[row[0] for row in MODULES])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_modules(name, options, more, dtype):
    x = uniform((5, 3)).astype(dtype)
    if more == "labels":
        rest = [np.array([0, 1, 2, 0, 1])]
    elif more == "signs":
        rest = [x[::-1].copy(), np.array([1, -1, 1, 1, -1])]
    else:
        rest = [uniform((5, 3), 7 + i).astype(dtype) for i in range(more)]
    options = {key: value.astype(dtype) if isinstance(value, np.ndarray) else value for key, value in options.items()}
    ours = getattr(nn, name)(**options)
    theirs = getattr(torch.nn, name)(**{key: torch.tensor(v) if isinstance(v, np.ndarray) else v for key, v in options.items()})
    y, z = ours(lamella.tensor(x), *rest), theirs(torch.tensor(x), *map(torch.tensor, rest))
    assert y.dtype == dtype
    np.testing.assert_allclose(y.data, z.numpy(), rtol=1e-10 if dtype == np.float64 else 1e-5)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours) == repr(theirs)


def test_distributions():
    p, q, y = uniform((4, 3)), uniform((4, 3), 2), np.array([0.0, 1.0, 1.0])
    theirs = torch.distributions
    share = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    for name, a, b, value in [
        ("Normal", (normal((4, 3)), p), (normal((4, 3), 3), q), y),
        ("Laplace", (normal((4, 3)), p), (normal((4, 3), 3), q), y),
        ("Bernoulli", (p,), (q,), y),
        ("Categorical", share[:1], share[1:], np.array([0, 2, 1, 1])),
        ("Poisson", (5 * p,), (5 * q,), y),
    ]:
        one, two = getattr(distributions, name)(*a), getattr(distributions, name)(*b)
        other, another = getattr(theirs, name)(*map(torch.tensor, a)), getattr(theirs, name)(*map(torch.tensor, b))
        np.testing.assert_allclose(one.log_prob(value), other.log_prob(torch.tensor(value)).numpy(), rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(distributions.kl_divergence(one, two), theirs.kl_divergence(other, another).numpy(), rtol=1e-9)
        np.testing.assert_array_equal(one.mode, other.mode.numpy())
        if name != "Poisson":
            np.testing.assert_allclose(one.entropy(), other.entropy().numpy(), rtol=1e-10)
        if name != "Categorical":
            np.testing.assert_allclose(one.mean, other.mean.numpy())
            np.testing.assert_allclose(one.variance, other.variance.numpy())
    with pytest.raises(TypeError, match="one kind, got Normal and Laplace"):
        distributions.kl_divergence(distributions.Normal(0, 1), distributions.Laplace(0, 1))
