"""softmax and the losses against PyTorch: values and gradients, every option, both dtypes, both memory orders, extremes."""

import itertools

import numpy as np
import pytest

import lamella
from lamella import functional as F
from lamella.layout import channels_last

torch = pytest.importorskip("torch")
TF = torch.nn.functional
pytestmark = pytest.mark.oracle

TOLERANCE = {np.float32: 3e-5, np.float64: 1e-10}
DTYPES = [np.float32, np.float64]
SHAPES = [(5,), (7, 5), (1, 1), (4, 10), (33, 17), (2, 6, 9), (3, 4, 5, 6)]


def close(ours, theirs, dtype):
    ours = ours.data if isinstance(ours, lamella.Tensor) else ours
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], equal_nan=True)


def both(name, arrays, dtype, *more, **options):
    """Values and gradients of one call on arrays that require gradients, with the same upstream gradient."""
    a = [lamella.tensor(x, requires_grad=True) for x in arrays]
    b = [torch.tensor(np.array(x, order="C"), requires_grad=True) for x in arrays]  # its own nll backward refuses channels-last
    y = getattr(F, name)(*a, *more, **options)
    z = getattr(TF, name)(*b, *[torch.tensor(x) if isinstance(x, np.ndarray) else x for x in more], **options)
    close(y, z, dtype)
    if z.numel():
        upstream = np.random.default_rng(9).standard_normal(tuple(z.shape)).astype(dtype)
        y.backward(upstream)
        z.backward(torch.tensor(upstream))
        for s, t in zip(a, b):
            close(s.grad, t.grad, dtype)


def logits(shape, dtype, last=False, seed=0):
    x = (3 * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)
    return channels_last(x) if last and x.ndim > 2 else x


def labels(shape, ignore, seed=1):
    rng = np.random.default_rng(seed)
    rest = shape[:1] + shape[2:] if len(shape) > 1 else ()
    target = rng.integers(0, shape[1 if len(shape) > 1 else 0], rest)
    return np.where(rng.random(rest) < 0.3, ignore, target) if rest else np.asarray(target)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name, dtype):
    for shape in [(), *SHAPES, (0, 4), (3, 0)]:
        for dim in range(-max(len(shape), 1), max(len(shape), 1)):
            for last in (False, True):
                both(name, [logits(shape, dtype, last)], dtype, dim=dim)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy(reduction, dtype):
    for shape, smoothing, ignore, weighted, last in itertools.product(SHAPES, (0.0, 0.1, 1.0), (-100, 0), (False, True), (False, True)):
        classes = shape[1] if len(shape) > 1 else shape[0]
        weight = np.random.default_rng(2).uniform(0.5, 2, classes).astype(dtype) if weighted else None
        target = labels(shape, ignore)
        options = {"reduction": reduction, "label_smoothing": smoothing, "ignore_index": ignore}
        both("cross_entropy", [logits(shape, dtype, last)], dtype, target, weight, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_probabilities_as_target(reduction, dtype):
    for shape, smoothing, weighted, last in itertools.product(SHAPES, (0.0, 0.1), (False, True), (False, True)):
        dim = 1 if len(shape) > 1 else 0
        weight = np.random.default_rng(2).uniform(0.5, 2, shape[dim]).astype(dtype) if weighted else None
        target = np.random.default_rng(3).uniform(0, 1, shape).astype(dtype)
        options = {"reduction": reduction, "label_smoothing": smoothing}
        both("cross_entropy", [logits(shape, dtype, last), target], dtype, weight, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_nll_loss(reduction, dtype):
    for shape, ignore, weighted, last in itertools.product(SHAPES, (-100, 0), (False, True), (False, True)):
        classes = shape[1] if len(shape) > 1 else shape[0]
        weight = np.random.default_rng(2).uniform(0.5, 2, classes).astype(dtype) if weighted else None
        target = labels(shape, ignore)
        both("nll_loss", [logits(shape, dtype, last)], dtype, target, weight, reduction=reduction, ignore_index=ignore)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_mse_loss(reduction, dtype):
    for shape in [(), *SHAPES, (0, 3)]:
        both("mse_loss", [logits(shape, dtype), logits(shape, dtype, seed=4)], dtype, reduction=reduction)
    with pytest.warns(UserWarning, match="broadcast"):
        both("mse_loss", [logits((4, 1), dtype), logits((3, 4, 5), dtype, seed=4)], dtype, reduction=reduction)


EXTREMES = [
    [1e4, -1e4, 0.0, 1.0],
    [-1e4, -1e4 - 1, -1e4 - 2, -1e4 - 3],
    [np.inf, 0.0, 1.0, 2.0],
    [-np.inf, 0.0, 1.0, 2.0],
    [-np.inf, -np.inf, -np.inf, -np.inf],
    [np.nan, 0.0, 1.0, 2.0],
    [0.0, 1.0, 2.0, np.nan],
    [np.inf, -np.inf, np.inf, 0.0],
    [3e38, -3e38, 0.0, 1e-38],
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("repeat", [1, 9])
def test_extremes(repeat, dtype):
    x = np.tile(np.array(EXTREMES, dtype), (1, repeat))
    for name in ("softmax", "log_softmax"):
        both(name, [x], dtype, dim=1)
    for label, smoothing in itertools.product(range(4), (0.0, 0.1)):
        target = np.full(len(x), label)
        both("cross_entropy", [x], dtype, target, reduction="none", label_smoothing=smoothing)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_nothing_counts(smoothing):
    x = logits((4, 3), np.float64)
    target = np.full(4, -100)
    both("cross_entropy", [x], np.float64, target, label_smoothing=smoothing)
    both("nll_loss", [x], np.float64, target)
    empty = np.empty((0, 3))
    for reduction in ("mean", "sum", "none"):
        ours = F.cross_entropy(empty, np.empty(0, np.int64), reduction=reduction)
        close(ours, TF.cross_entropy(torch.tensor(empty), torch.empty(0, dtype=torch.int64), reduction=reduction), np.float64)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.int32, np.uint64, ">i4"])
def test_label_types(kind):
    x = logits((6, 5), np.float64)
    target = np.array([0, 1, 2, 3, 4, 0])
    assert F.cross_entropy(x, target.astype(kind)) == F.cross_entropy(x, target)


def test_labels_out_of_range():
    x = logits((4, 3), np.float32)
    with pytest.raises(ValueError, match=r"\[0, 2\] for 3 classes.*got 3 at position 2; 1 of 4"):
        F.cross_entropy(x, np.array([0, 1, 3, -100]))
    with pytest.raises(ValueError, match=r"got -1 at position 1; 2 of 4"):
        F.nll_loss(x, np.array([0, -1, 2, 99]))
    with pytest.raises(ValueError, match=r"got 7 at position \(1, 0\)"):
        F.cross_entropy(logits((2, 3, 2), np.float32), np.array([[0, 1], [7, 1]]))


def test_refusals():
    x, y = logits((4, 3), np.float32), np.zeros(4, np.int64)
    with pytest.raises(ValueError, match=r"target of shape \(4,\).*got \(5,\)"):
        F.cross_entropy(x, np.zeros(5, np.int64))
    with pytest.raises(TypeError, match="integer class numbers"):
        F.cross_entropy(x, np.zeros(4, np.float32))
    with pytest.raises(TypeError, match="one dtype"):
        F.cross_entropy(x, np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"weight of shape \(3,\)"):
        F.cross_entropy(x, y, np.ones(4, np.float32))
    with pytest.raises(ValueError, match="label_smoothing"):
        F.cross_entropy(x, y, label_smoothing=1.5)
    with pytest.raises(ValueError, match="reduction must be one of"):
        F.nll_loss(x, y, reduction="average")
    with pytest.raises(TypeError, match="astype"):
        F.softmax(y, dim=0)
    with pytest.raises(IndexError, match="dim in"):
        F.softmax(x, dim=2)
    with pytest.raises(ValueError, match="one shape"):
        F.mse_loss(x, np.zeros((4, 2), np.float32))
    with pytest.warns(UserWarning, match="say dim=1"):
        F.softmax(x)
    with pytest.warns(DeprecationWarning, match="reduction='sum'"):
        assert F.cross_entropy(x, y, size_average=False) == F.cross_entropy(x, y, reduction="sum")


def test_layers():
    x, target, weight = logits((6, 5), np.float64), labels((6, 5), -100), np.linspace(1, 2, 5)
    for name, options in [
        ("CrossEntropyLoss", {"label_smoothing": 0.1, "reduction": "sum"}),
        ("CrossEntropyLoss", {"ignore_index": 1}),
        ("NLLLoss", {"reduction": "none"}),
    ]:
        ours = getattr(lamella.nn, name)(weight, **options)
        theirs = getattr(torch.nn, name)(torch.tensor(weight), **options)
        close(ours(lamella.tensor(x), target), theirs(torch.tensor(x), torch.tensor(target)), np.float64)
        assert repr(ours) == repr(theirs)
        assert list(ours.state_dict()) == list(theirs.state_dict()) == ["weight"]
        assert not list(getattr(lamella.nn, name)().state_dict())
    close(
        lamella.nn.MSELoss(reduction="sum")(x, 2 * x), torch.nn.MSELoss(reduction="sum")(torch.tensor(x), torch.tensor(2 * x)), np.float64
    )
    assert repr(lamella.nn.MSELoss()) == repr(torch.nn.MSELoss())
    for name in ("Softmax", "LogSoftmax"):
        ours, theirs = getattr(lamella.nn, name)(dim=1), getattr(torch.nn, name)(dim=1)
        close(ours(x), theirs(torch.tensor(x)), np.float64)
        assert repr(ours) == repr(theirs)
