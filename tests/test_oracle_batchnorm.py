"""Batch normalisation against PyTorch: function and layers, forward and backward, running statistics, eval mode."""

import warnings

import numpy as np
import pytest

import lamella
from lamella import nn
from lamella.functional import batch_norm

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

SHAPES = [(2, 1), (16, 5), (7, 17), (64, 130), (3, 4, 9), (2, 16, 1), (2, 3, 5, 7), (4, 16, 8, 8), (1, 33, 6, 5), (3, 70, 4, 4)]
TOLERANCE = {"float64": 1e-10, "float32": 2e-5}


def last(x):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def draw(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def close(ours, theirs, dtype, scale=1.0):
    ours = ours.data if isinstance(ours, lamella.Tensor) else ours
    theirs = theirs.detach().numpy()
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=scale * TOLERANCE[dtype], atol=scale * TOLERANCE[dtype])


def leaves(arrays):
    ours = [None if a is None else lamella.Tensor(a.copy(order="K"), requires_grad=True) for a in arrays]
    return ours, [None if a is None else torch.tensor(np.ascontiguousarray(a), requires_grad=True) for a in arrays]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", ["both", "none", "weight", "bias"])
@pytest.mark.parametrize("memory", ["contiguous", "channels-last"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", ["cython", "numba", "reference"])
def test_function(backend, dtype, memory, affine, training):
    for i, shape in enumerate(SHAPES):
        c = shape[1]
        x, g = draw(shape, dtype, i) * 3 + 2, draw(shape, dtype, 100 + i)
        if memory == "channels-last":
            x, g = last(x), last(g)
        weight = draw(c, dtype, 1) if affine in ("both", "weight") else None
        bias = draw(c, dtype, 2) if affine in ("both", "bias") else None
        mean, var = draw(c, dtype, 3), draw(c, dtype, 4) ** 2 + np.asarray(0.1, dtype)
        ours, theirs = leaves([x, weight, bias])
        running, other = [mean.copy(), var.copy()], [torch.tensor(mean), torch.tensor(var)]
        with lamella.use_backend(backend):
            out = batch_norm(ours[0], *running, *ours[1:], training=training, momentum=0.3, eps=1e-3)
            out.backward(g)
        expected = torch.nn.functional.batch_norm(theirs[0], *other, *theirs[1:], training=training, momentum=0.3, eps=1e-3)
        expected.backward(torch.tensor(np.ascontiguousarray(g)))
        scale = max(1.0, x.size / c / 30)
        close(out, expected, dtype)
        for a, b in zip(running, other):
            close(a, b, dtype)
        for a, b in zip(ours, theirs):
            if a is not None:
                close(a.grad, b.grad, dtype, scale)
        assert np.moveaxis(out.data, 1, -1).flags.c_contiguous


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("activation", ["none", "relu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", ["cython", "numba", "reference"])
def test_fused(backend, dtype, activation, residual, training):
    """The activation and the residual in the same pass: in Cython the bits of the three operations apart, and PyTorch's numbers."""
    for i, shape in enumerate(SHAPES):
        c = shape[1]
        x, g, r = (last(draw(shape, dtype, seed + i)) for seed in (0, 100, 200))
        weight, bias, mean, var = draw(c, dtype, 1), draw(c, dtype, 2), draw(c, dtype, 3), draw(c, dtype, 4) ** 2 + np.asarray(0.1, dtype)
        arrays = [x, weight, bias] + [r] * residual
        fused, theirs = leaves(arrays)
        apart, _ = leaves(arrays)
        with lamella.use_backend(backend):
            out = batch_norm(
                fused[0], mean.copy(), var.copy(), *fused[1:3], training=training, activation=activation, residual=(*fused, None)[3]
            )
            out.backward(g)
            steps = batch_norm(apart[0], mean.copy(), var.copy(), *apart[1:3], training=training)
            steps = steps + apart[3] if residual else steps
            steps = lamella.functional.relu(steps) if activation == "relu" else steps
            steps.backward(g)
        expected = torch.nn.functional.batch_norm(theirs[0], torch.tensor(mean), torch.tensor(var), *theirs[1:3], training=training)
        expected = expected + theirs[3] if residual else expected
        expected = torch.relu(expected) if activation == "relu" else expected
        expected.backward(torch.tensor(np.ascontiguousarray(g)))
        close(out, expected, dtype)
        for a, b, t in zip([out, *[a.grad for a in fused]], [steps, *[a.grad for a in apart]], [expected, *[t.grad for t in theirs]]):
            close(a, t, dtype, max(1.0, x.size / c / 30))
            if backend == "cython":
                np.testing.assert_array_equal(a.data, b.data)


@pytest.mark.parametrize("name", ["resnet20", "vgg-small"])
def test_models_fuse(name):
    """The networks' fused layers give the numbers of the layers apart."""
    x, y = draw((4, 1, 16, 16), "float32"), np.array([1, 2, 3, 4])
    losses = []
    for fused in (True, False):
        lamella.manual_seed(0)
        model = lamella.models.create(name, image_size=16)
        if not fused:
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d) and module.activation == "relu":
                    module.activation = "none"
                    norm = module.forward
                    module.forward = lambda input, residual=None, norm=norm: lamella.functional.relu(
                        norm(input) if residual is None else norm(input) + residual
                    )
        loss = lamella.functional.cross_entropy(model(lamella.Tensor(x)), y)
        loss.backward()
        losses.append([loss.data, *[p.grad.data for p in model.parameters()]])
    for a, b in zip(*losses):
        np.testing.assert_array_equal(a, b)


def test_arrays_in_array_out():
    x = draw((4, 3, 2, 2), "float32")
    mean, var = lamella.Tensor(np.zeros(3, np.float32)), lamella.Tensor(np.ones(3, np.float32))
    out = batch_norm(x, np.zeros(3, np.float32), np.ones(3, np.float32), training=True)
    assert isinstance(out, np.ndarray)
    versions = mean._version[0], var._version[0]
    out = batch_norm(x, mean, var, training=True)
    assert isinstance(out, lamella.Tensor) and not out.requires_grad
    assert (mean._version[0], var._version[0]) == (versions[0] + 1, versions[1] + 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options", [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}, {"momentum": 0.5, "eps": 0.1, "affine": False}]
)
@pytest.mark.parametrize(("layer", "shape"), [("BatchNorm1d", (9, 6)), ("BatchNorm1d", (5, 6, 7)), ("BatchNorm2d", (5, 6, 4, 3))])
def test_layer(layer, shape, options, dtype):
    ours = getattr(nn, layer)(6, **options, dtype=dtype)
    theirs = getattr(torch.nn, layer)(6, **options, dtype=getattr(torch, dtype))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for step in range(6):
        if step == 4:
            ours.eval()
            theirs.eval()
        x, g = draw(shape, dtype, step) * (1 + step) + step, draw(shape, dtype, 50 + step)
        (a,), (b,) = leaves([x])
        y, z = ours(a), theirs(b)
        close(y, z, dtype)
        y.backward(g)
        z.backward(torch.tensor(g))
        close(a.grad, b.grad, dtype)
        for name, value in theirs.state_dict().items():
            assert np.asarray(ours.state_dict()[name]).dtype == value.numpy().dtype
            np.testing.assert_allclose(np.asarray(ours.state_dict()[name]), value.numpy(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    for p, q in zip(ours.parameters(), theirs.parameters()):
        close(p.grad, q.grad, dtype, 10)


def test_state_dict_of_torch_loads():
    theirs = torch.nn.BatchNorm2d(5)
    theirs(torch.tensor(draw((4, 5, 3, 3), "float32")))
    ours = nn.BatchNorm2d(5)
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    x = draw((2, 5, 3, 3), "float32", 1)
    close(ours.eval()(lamella.Tensor(x)), theirs.eval()(torch.tensor(x)), "float32")


@pytest.mark.parametrize("backend", ["cython", "numba", "reference"])
def test_far_from_zero(backend):
    """mean 1e3, std 1 in float32: the statistics of float64 to the digits that float32 can hold."""
    x = (draw((64, 6, 16, 16), "float32") + 1000).astype(np.float32)
    mean, var = np.zeros(6, np.float32), np.zeros(6, np.float32)
    with lamella.use_backend(backend):
        out = batch_norm(x, mean, var, training=True, momentum=1.0)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(axis=(0, 2, 3)), rtol=2e-7)
    np.testing.assert_allclose(var, exact.var(axis=(0, 2, 3), ddof=1), rtol=2e-5)
    normal = (exact - exact.mean(axis=(0, 2, 3), keepdims=True)) / np.sqrt(exact.var(axis=(0, 2, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(out, normal, atol=2e-4)


@pytest.mark.parametrize("backend", ["cython", "numba"])
def test_nan_stays_in_its_channel(backend):
    for channels in (3, 16, 70):
        x = draw((40, channels), "float32")
        x[7, 1] = np.nan
        x[9, 2] = np.inf
        with warnings.catch_warnings(), lamella.use_backend(backend):
            warnings.simplefilter("ignore")
            out = batch_norm(x, None, None, training=True)
        expected = torch.nn.functional.batch_norm(torch.tensor(x), None, None, training=True)
        np.testing.assert_allclose(out, expected.numpy(), rtol=1e-5, atol=1e-5)
        assert np.isnan(out).any(axis=0).nonzero()[0].tolist() == [1, 2]


@pytest.mark.parametrize("training", [True, False])
def test_empty_batch(training):
    x, weight = lamella.Tensor(np.empty((0, 3, 4, 4), np.float32), requires_grad=True), lamella.Tensor(np.ones(3, np.float32), True)
    mean, var = np.zeros(3, np.float32), np.ones(3, np.float32)
    out = batch_norm(x, mean, var, weight, training=training)
    out.backward(np.empty((0, 3, 4, 4), np.float32))
    assert out.shape == x.grad.shape == (0, 3, 4, 4)
    assert (weight.grad.data == 0).all() and (mean == 0).all() and (var == 1).all()


def test_running_statistics_changed_before_backward():
    x = lamella.Tensor(draw((4, 3), "float64"), requires_grad=True)
    bn = nn.BatchNorm1d(3, dtype="float64").eval()
    out = bn(x)
    bn.train()
    bn(x)
    with pytest.raises(RuntimeError, match="changed in place"):
        out.backward(np.ones((4, 3)))


def test_refusals():
    x, ones = draw((4, 3), "float32"), np.ones(3, np.float32)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        batch_norm(x[:1], None, None, training=True)
    with pytest.raises(ValueError, match="running_mean and running_var when training=False"):
        batch_norm(x, None, None)
    with pytest.raises(ValueError, match="both, or neither"):
        batch_norm(x, ones, None, training=True)
    with pytest.raises(ValueError, match=r"weight of shape \(3,\)"):
        batch_norm(x, ones, ones, np.ones(4, np.float32))
    with pytest.raises(ValueError, match="shape"):
        batch_norm(x[0], ones, ones)
    with pytest.raises(TypeError, match="one dtype"):
        batch_norm(x, ones, ones.astype(np.float64))
    with pytest.raises(TypeError, match="float32 or float64"):
        batch_norm(x.astype(int), ones, ones)
    with pytest.raises(ValueError, match="residual of the input's shape"):
        batch_norm(x, ones, ones, residual=x[1:])
    with pytest.raises(ValueError, match="'none' or 'relu'"):
        batch_norm(x, ones, ones, activation="tanh")
    with pytest.raises(ValueError, match="eps"):
        batch_norm(x, ones, ones, eps=-1.0)
    frozen = ones.copy()
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        batch_norm(x, frozen, ones.copy(), training=True)
    with pytest.raises(ValueError, match="3 channels"):
        nn.BatchNorm2d(3)(np.ones((2, 4, 3, 3), np.float32))
    with pytest.raises(ValueError, match="N, C, H, W"):
        nn.BatchNorm2d(3)(np.ones((2, 3, 3), np.float32))
    with pytest.raises(ValueError, match="num_features"):
        nn.BatchNorm1d(0)
