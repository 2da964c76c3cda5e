"""The courses' layers: sizes, convolution and pooling by hand, batch norm in all its writings, folding, counting."""

import numpy as np
import pytest

import lamella
import lamella.functional as F
from lamella import nn
from lamella.testing import gradcheck

X = np.array([[2, 1, 0, 1, 1], [1, 1, 0, 2, 0], [0, 0, 1, 1, 1], [1, 2, 2, 0, 2], [2, 0, 1, 2, 1]], float)
K = np.array([[0, 1, -1], [-1, 1, 0], [0, 1, 1]], float)
POOL = np.array([[2, 13, 3, 1], [1, 20, 2, 3], [15, 14, 7, 1], [10, 2, 2, 9]], float)


def parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.course("G-10", "A-182", "A-187")
def test_convolution_by_hand():
    conv = lambda x, k, **how: F.conv2d(x[None, None], k[None, None], **how)[0, 0]  # noqa: E731
    np.testing.assert_array_equal(conv(X, K, stride=2, padding=1), [[4, 1, 0], [3, 1, 2], [1, 3, 1]])
    np.testing.assert_array_equal(
        conv(X, K[::-1, ::-1], stride=2, padding=1), [[2, -2, -1], [2, 1, 5], [3, 3, 3]]
    )  # a convolution proper: flipped
    whole = [[4, 0, 1, 3, 0], [2, 2, 0, 4, 0], [3, 5, 1, 4, 2], [3, 1, 3, 1, 4], [1, -2, 3, -1, 1]]
    np.testing.assert_array_equal(conv(X, K, padding=1), whole)
    np.testing.assert_array_equal(F.conv1d(X[None, :1], K[None, :1], padding=1)[0, 0], np.correlate(X[0], K[0], "same"))
    volume = F.conv3d(np.stack([X, X])[None, None], np.stack([K, K])[None, None], stride=(1, 2, 2), padding=(0, 1, 1))[0, 0, 0]
    np.testing.assert_array_equal(volume, 2 * np.array([[4, 1, 0], [3, 1, 2], [1, 3, 1]]))


@pytest.mark.course("G-11", "A-188", "A-189")
def test_pooling_by_hand():
    x = POOL[None, None]
    np.testing.assert_array_equal(F.max_pool2d(x, 2)[0, 0], [[20, 3], [15, 9]])
    np.testing.assert_array_equal(F.avg_pool2d(x, 2)[0, 0], [[9, 2.25], [10.25, 4.75]])
    np.testing.assert_allclose(F.lp_pool2d(x, 2, 2)[0, 0], [[23.958297, 4.795832], [22.912878, 11.618950]], atol=5e-7)
    assert F.max_pool2d(x, 2).size / x.size == 0.25  # 75 % are dropped
    assert F.lp_pool2d(-np.ones((1, 1, 1, 3)), 1, (1, 3)).item() == -3  # as torch: x^p; ONNX takes the absolute value
    assert F.lp_pool2d(np.abs(-np.ones((1, 1, 1, 3))), 1, (1, 3)).item() == 3
    out, places = F.max_pool2d(x, 2, return_indices=True)
    np.testing.assert_array_equal(places[0, 0], [[5, 2], [8, 15]])
    np.testing.assert_array_equal(F.max_unpool2d(out, places, 2)[0, 0], [[0, 0, 3, 0], [0, 20, 0, 0], [15, 0, 0, 0], [0, 0, 0, 9]])


@pytest.mark.course("A-180")
def test_both_layouts():
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 3), dtype=np.uint8)
    x = lamella.from_nhwc((images / 255).astype("float32"))
    assert x.shape == (2, 3, 5, 6)
    w = np.ones((4, 3, 3, 3), "float32")
    np.testing.assert_array_equal(F.conv2d(x, w), F.conv2d(np.ascontiguousarray(x), w))
    np.testing.assert_array_equal(lamella.to_nhwc(x), (images / 255).astype("float32"))


@pytest.mark.course("A-181", "A-197")
def test_dense_and_output_layers():
    dense = nn.Linear(3, 2)
    x = lamella.tensor([[1.0, 2.0, 3.0]])
    w, b = dense.weight.detach().numpy(), dense.bias.detach().numpy()
    np.testing.assert_allclose(dense(x).detach().numpy()[0], [sum(w[i] * [1, 2, 3]) + b[i] for i in range(2)], rtol=1e-6)
    net = nn.Sequential(dense, nn.ReLU(), nn.Linear(2, 4), nn.Softmax(-1))
    np.testing.assert_allclose(net(x).detach().numpy().sum(), 1, rtol=1e-6)


@pytest.mark.course("A-191")
def test_activations_are_layers():
    x = np.linspace(-3, 3, 13)
    e = np.exp(x)
    for layer, wanted in (
        (nn.ReLU(), np.maximum(x, 0)),
        (nn.LeakyReLU(0.1), np.where(x > 0, x, 0.1 * x)),
        (nn.Sigmoid(), 1 / (1 + 1 / e)),
        (nn.Tanh(), (e - 1 / e) / (e + 1 / e)),
        (nn.GELU("tanh"), 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))),
        (nn.Softmax(0), e / e.sum()),
        (nn.LogSoftmax(0), x - np.log(e.sum())),
    ):
        np.testing.assert_allclose(nn.Sequential(layer)(lamella.tensor(x)).numpy(), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.course("A-183")
def test_output_size():
    size = lamella.conv_output_size
    assert size(5, 3, stride=2, padding=1, rounding="exact") == (5 - 3 + 2 * 1) // 2 + 1 == 3
    with pytest.raises(ValueError, match="does not divide"):
        size(6, 3, stride=2, rounding="exact")  # the course's formula gives 2.5
    assert size(6, 3, stride=2) == 2 and size(6, 3, stride=2, rounding="ceil") == 3
    for n, k, s, p, d in ((9, 3, 2, 1, 1), (10, 3, 1, 0, 3), (7, 5, 3, 2, 1), (8, 2, 2, 0, 1)):
        assert F.conv2d(np.zeros((1, 1, n, n)), np.zeros((4, 1, k, k)), None, s, p, d).shape == (1, 4, *[size(n, k, s, p, d)] * 2)
        out = F.conv_transpose2d(np.zeros((1, 1, n, n)), np.zeros((1, 1, k, k)), None, s, p, 0, 1, d)
        assert out.shape[2] == lamella.conv_transpose_output_size(n, k, s, p, 0, d)
        for side in ("upper", "lower"):
            low, high = lamella.same_padding(n, k, s, d, side)
            assert size(n, k, s, (low, high), d) == size(n, k, s, "same") and 0 <= (high - low if side == "upper" else low - high) <= 1


@pytest.mark.course("A-184", "A-199", "G-17")
def test_counting():
    alexnet = nn.Conv2d(3, 96, 11, stride=4)
    assert parameters(alexnet) == lamella.summary(alexnet, (3, 227, 227)).parameters == 96 * 11 * 11 * 3 + 96 == 34_944
    assert lamella.summary(alexnet, (3, 227, 227)).layers[0].output_shape == (96, 55, 55)
    neuron = nn.Sequential(nn.Flatten(), nn.Linear(224 * 224 * 3, 1, bias=False))
    assert lamella.summary(neuron, (3, 224, 224)).parameters == 150_528
    assert lamella.summary(nn.Sequential(nn.Flatten(), nn.Linear(3072, 1, bias=False)), (3, 32, 32)).parameters == 32 * 32 * 3 == 3072
    assert 4096**2 == 16_777_216 and (100 * 4096) ** 2 == 409_600**2  # a Jacobian that nobody writes down
    assert (-(-60_000 // 64), 60_000 // 64) == (938, 937)


@pytest.mark.course("A-016", "G-17")
def test_deep_network_counts():
    d, k = 5, 3
    layers = [nn.Linear(1, d), nn.ReLU()]
    for _ in range(k - 1):
        layers += [nn.Linear(d, d), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(d, 1))
    assert lamella.summary(model, (1,)).parameters == 3 * d + 1 + (k - 1) * d * (d + 1) == 76
    assert (d + 1) ** k == 216
    assert parameters(nn.Sequential(nn.Linear(1, d), nn.ReLU(), nn.Linear(d, 1))) == 3 * d + 1 == 16


@pytest.mark.course("A-185")
def test_one_by_one_convolution_is_a_matrix_product():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 8, 4, 5)), rng.standard_normal((3, 8, 1, 1))
    out = F.conv2d(x, w)
    assert out.shape == (2, 3, 4, 5)  # only the depth changes
    np.testing.assert_allclose(out, np.einsum("ncyx,oc->noyx", x, w[:, :, 0, 0]), rtol=1e-12)


@pytest.mark.course("A-186")
def test_dilation_widens_the_receptive_field():
    plain = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3))
    dilated = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3, dilation=2))
    assert lamella.receptive_field(plain, (1, 12, 12))[-1].size == (5, 5)
    assert lamella.receptive_field(dilated, (1, 12, 12))[-1].size == (7, 7)
    x = lamella.zeros(1, 1, 12, 12, dtype=np.float64).requires_grad_()
    model = nn.Sequential(nn.Conv2d(1, 2, 3, dtype=np.float64), nn.AvgPool2d(2), nn.Conv2d(2, 1, 3, padding=1, dtype=np.float64))
    F.getitem(model(x), (0, 0, 2, 2)).backward()
    rows = np.flatnonzero(x.grad.numpy()[0, 0].any(axis=1))
    field = lamella.receptive_field(model, (1, 12, 12))[-1]
    assert field.size[0] == rows[-1] - rows[0] + 1 and field.start[0] + 2 * field.step[0] == rows[0]
    resnet = lamella.receptive_field(lamella.models.create("resnet20"), (1, 28, 28))
    last = next(f for f in resnet if f.name == "layer3.2.bn2")
    assert last.size == (81, 81) and last.step == (4, 4) and not last.whole
    assert resnet[-1].whole


@pytest.mark.course("A-193")
def test_batch_norm_and_its_running_statistics():
    x = np.random.default_rng(0).standard_normal((8, 3))
    mu, var = x.mean(0), x.var(0)
    gamma, beta = np.array([2.0, 1.0, -1.0]), np.array([0.5, 0.0, 1.0])
    for convention, momentum, new_mean, new_var in (
        ("torch", 0.1, 0.1 * mu, 0.9 + 0.1 * x.var(0, ddof=1)),
        ("keras", 0.99, 0.01 * mu, 0.99 + 0.01 * var),
        ("onnx", 0.9, 0.1 * mu, 0.9 + 0.1 * var),
    ):
        m, v = np.zeros(3), np.ones(3)
        out = F.batch_norm(x, m, v, gamma, beta, True, momentum, 1e-5, convention=convention)
        np.testing.assert_allclose(out, gamma * (x - mu) / np.sqrt(var + 1e-5) + beta, rtol=1e-12)
        np.testing.assert_allclose([m, v], [new_mean, new_var], rtol=1e-12)


@pytest.mark.course("A-194")
def test_batch_norm_with_eps_outside_the_root():
    x = np.random.default_rng(0).standard_normal((8, 3, 4)) * 3 + 1
    mu, sigma, eps = x.mean((0, 2), keepdims=True), x.std((0, 2), keepdims=True), 0.1
    m, v = np.zeros(3), np.ones(3)
    out = F.batch_norm(x, m, v, training=True, eps=eps, eps_outside=True)
    np.testing.assert_allclose(out, (x - mu) / (sigma + eps), rtol=1e-12)
    assert np.abs(out - F.batch_norm(x, None, None, training=True, eps=eps)).max() > 0.01
    np.testing.assert_allclose(v, 0.9 + 0.1 * x.var((0, 2), ddof=1), rtol=1e-12)
    back = F.batch_norm(x, None, None, (sigma + eps).ravel(), mu.ravel(), training=True, eps=eps, eps_outside=True)
    np.testing.assert_allclose(back, x, rtol=1e-12)  # alpha = stdev, beta = mean: the identity
    np.testing.assert_allclose(F.batch_norm(x, m, v, eps=eps, eps_outside=True), (x - m[:, None]) / (np.sqrt(v) + eps)[:, None], rtol=1e-12)
    gradcheck(
        lambda x, w, b: F.batch_norm(x, None, None, w, b, True, eps=eps, eps_outside=True),
        [lamella.tensor(a, requires_grad=True) for a in (x[:3, :2], np.array([1.0, 2.0]), np.array([0.0, 1.0]))],
    )


@pytest.mark.course("A-195")
def test_lint_finds_a_bias_before_batch_norm():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, bias=False), nn.BatchNorm2d(4))
    (found,) = lamella.lint(net)
    assert found.startswith("0 (Conv2d)") and "bias=False" in found
    bn = nn.BatchNorm2d(4)
    assert parameters(bn) == 2 * 4  # two degrees of freedom per channel
    x = np.random.default_rng(0).standard_normal((4, 4, 3, 3)).astype("float32")
    np.testing.assert_allclose(
        bn(lamella.tensor(x + 5)).detach().numpy(), bn(lamella.tensor(x)).detach().numpy(), atol=1e-4
    )  # a bias is lost
    for name in lamella.models.names():
        assert lamella.lint(lamella.models.create(name), nn.CrossEntropyLoss()) == []


@pytest.mark.course("A-196")
def test_folding_batch_norm():
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((6, 4)), rng.standard_normal((4, 3)), rng.standard_normal(3)
    gamma, beta, mu, var, eps = 1 + rng.random(3), rng.standard_normal(3), rng.standard_normal(3), rng.random(3) + 0.5, 1e-5
    sigma = np.sqrt(var + eps)
    wanted = gamma * (x @ w + b - mu) / sigma + beta
    printed = x @ (gamma * w / (sigma + b)) + gamma * (b - mu) * sigma + beta  # as the course has it
    assert np.abs(printed - wanted).max() > 0.1
    np.testing.assert_allclose(x @ (gamma * w / sigma) + gamma * (b - mu) / sigma + beta, wanted, rtol=1e-12)
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).to(np.float64)
    state = {"0.weight": w.T, "0.bias": b, "1.weight": gamma, "1.bias": beta, "1.running_mean": mu, "1.running_var": var}
    net.load_state_dict(state | {"1.num_batches_tracked": np.array(0)})
    folded = lamella.fold_batchnorm(net)
    np.testing.assert_allclose(folded(lamella.tensor(x)).detach().numpy(), wanted, rtol=1e-12)
    np.testing.assert_allclose(folded[0].weight.detach().numpy(), (gamma * w / sigma).T, rtol=1e-12)


@pytest.mark.course("A-196")
@pytest.mark.parametrize("name", ["vgg-small", "resnet20"])
def test_folding_the_models(name):
    lamella.manual_seed(0)
    model = lamella.models.create(name).to(np.float64)
    x = lamella.tensor(np.random.default_rng(0).standard_normal((2, 1, 28, 28)))
    model.train()(x)  # running statistics that are not those of the start
    folded = lamella.fold_batchnorm(model)
    assert not any("BatchNorm" in type(m).__name__ for m in folded.modules())
    assert any("BatchNorm" in type(m).__name__ for m in model.modules())
    np.testing.assert_allclose(folded(x).detach().numpy(), model.eval()(x).detach().numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "layer", [nn.Conv1d(4, 6, 3, groups=2), nn.ConvTranspose1d(4, 6, 3, groups=2, bias=False), nn.Conv1d(4, 6, 1)], ids=str
)
@pytest.mark.parametrize("outside", [False, True])
def test_folding_every_layer(layer, outside):
    bn = nn.BatchNorm1d(6, eps=0.1, activation="relu", eps_outside=outside)
    rng = np.random.default_rng(0)
    for t, values in ((bn.weight, 1), (bn.bias, 0), (bn.running_mean, 0), (bn.running_var, 1)):
        t.data[...] = values + 0.3 * rng.random(6)
    net = nn.Sequential(layer, bn).to(np.float64).eval()
    x = lamella.tensor(rng.standard_normal((2, 4, 7)))
    np.testing.assert_allclose(lamella.fold_batchnorm(net)(x).detach().numpy(), net(x).detach().numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.course("A-198")
def test_skeleton():
    """INPUT - CONV - RELU - POOL - FC on 32 x 32 x 3, with 12 filters."""
    net = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12 * 16 * 16, 10))
    shapes = [layer.output_shape for layer in lamella.summary(net, (3, 32, 32)).layers]
    assert shapes == [(12, 32, 32), (12, 32, 32), (12, 16, 16), (3072,), (10,)]
    assert {"lenet", "vgg-small", "resnet20"} <= set(lamella.models.names())


@pytest.mark.course("A-036")
def test_lint_finds_softmax_before_cross_entropy_and_saturation():
    net = nn.Sequential(
        nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 2), nn.Softmax(-1)
    )
    softmax, saturating = lamella.lint(net, nn.CrossEntropyLoss())
    assert "Softmax" in softmax and "3 saturating" in saturating
    assert lamella.lint(net[-2:], nn.MSELoss()) == []
