"""Regularisation and generalisation (A-130 to A-149), and the dropout layer (A-192)."""

import copy
import math
import runpy
from pathlib import Path

import numpy as np
import pytest

import lamella
from lamella import functional as F
from lamella import nn, optim, train
from lamella.data import DataLoader, TensorDataset, datasets, label_noise, transforms
from lamella.estimators import BaggingClassifier, MLPClassifier


def rng(seed=0):
    return np.random.default_rng(seed)


def blobs(n, seed=0, noise=1.0, dtype=np.float32):
    """Two classes that overlap."""
    y = np.arange(n) % 2
    x = noise * rng(seed).standard_normal((n, 2)) + np.where(y[:, None] == 1, 1.0, -1.0)
    return x.astype(dtype), y


def gradient_of(loss, model):
    model.zero_grad()
    loss().backward()
    return model.weight.grad.data.copy()


@pytest.fixture
def linear():
    lamella.manual_seed(0)
    return nn.Linear(3, 2, dtype="float64")


def nothing():
    return 0.0


@pytest.mark.course("A-130")
def test_l1_adds_the_sum_of_absolute_values(linear):
    """J' = J + alpha sum |w_i|: no half, no 1/n; weights go to zero exactly where a little L1 outweighs them."""
    w = linear.weight.data
    penalty = nn.RegularizedLoss(nothing, linear, "l1", 0.3)
    np.testing.assert_allclose(penalty().item(), 0.3 * np.abs(w).sum())
    np.testing.assert_allclose(gradient_of(penalty, linear), 0.3 * np.sign(w))
    # the same as an option of the optimizer
    linear.weight.grad.zero_()
    before = w.copy()
    optim.SGD([linear.weight], lr=0.1, l1=0.3).step()
    np.testing.assert_allclose(linear.weight.data, before - 0.1 * 0.3 * np.sign(before))


@pytest.mark.course("A-131")
def test_l2_adds_the_sum_of_squares_of_weights(linear):
    """J' = J + alpha sum w_i^2, gradient 2 alpha w; weights, not biases. An optimizer's weight_decay is twice alpha; scikit-learn's alpha half of it."""
    w, alpha = linear.weight.data.copy(), 0.3
    penalty = nn.RegularizedLoss(nothing, linear, "l2", alpha)
    np.testing.assert_allclose(penalty().item(), alpha * (w**2).sum())
    np.testing.assert_allclose(gradient_of(penalty, linear), 2 * alpha * w)
    assert linear.bias.grad is None
    everything = nn.RegularizedLoss(nothing, linear, "l2", alpha, weights_only=False)
    np.testing.assert_allclose(everything().item(), alpha * ((w**2).sum() + (linear.bias.data**2).sum()))
    bias = linear.bias.data.copy()
    optimizer = optim.SGD(optim.weights_only(linear.parameters()), lr=0.1, weight_decay=2 * alpha)
    linear.weight.grad.zero_()
    linear.bias.grad = lamella.zeros(2, dtype="float64")
    optimizer.step()
    np.testing.assert_allclose(linear.weight.data, w - 0.1 * 2 * alpha * w)
    np.testing.assert_array_equal(linear.bias.data, bias)


@pytest.mark.course("A-132")
def test_any_function_can_be_the_regulariser(linear):
    """argmin sum l_i + lambda g(phi) moves the minimum: here g pulls the weights to 1, and its strength decides how far."""
    x = rng().standard_normal((40, 3))
    y = x @ np.array([[0.0, 2.0], [2.0, 0.0], [0.0, 0.0]])
    distance = []
    for strength in (0.0, 1.0, 100.0):
        model = copy.deepcopy(linear)
        loss = nn.RegularizedLoss(nn.MSELoss(reduction="sum"), model, lambda weights: ((weights[0] - 1) ** 2).sum(), strength)
        optimizer = optim.LBFGS(model.parameters(), max_iter=60, line_search_fn="strong_wolfe")

        def closure(model=model, loss=loss, optimizer=optimizer):
            optimizer.zero_grad()
            value = loss(model(x), y)
            value.backward()
            return value

        optimizer.step(closure)
        distance.append(float(np.linalg.norm(model.weight.data - 1)))
    assert distance[0] == pytest.approx(math.sqrt(6), rel=1e-4)
    assert distance[0] > distance[1] > 3 * distance[2] > 0


def descend(gradient, w, alpha, steps):
    """Points of gradient descent."""
    for _ in range(steps):
        w = w - alpha * gradient(w)
    return w


@pytest.mark.course("A-133")
def test_descent_follows_the_flow_of_a_regularised_loss():
    """Steps of length alpha follow the continuous flow of L + alpha/4 |dL|^2 more closely than that of L."""
    a = np.array([1.0, 4.0])  # L = 1/2 sum a w^2, so |dL|^2 = sum (a w)^2 and both flows are known exactly
    start, alpha, steps = np.array([1.0, 1.0]), 0.05, 20
    model = nn.Linear(2, 1, bias=False, dtype="float64")
    model.weight.data[...] = start
    loss = lambda output, target: 0.5 * (a * model.weight[0] * model.weight[0]).sum()  # noqa: E731
    found = train.implicit_regularization(model, [(np.ones((1, 2)), np.ones(1))], alpha, loss)
    np.testing.assert_allclose(found.gd, alpha / 4 * ((a * start) ** 2).sum())
    np.testing.assert_allclose([found.noise, found.sgd], [0, found.gd], atol=1e-12)
    reached = descend(lambda w: a * w, start, alpha, steps)
    plain = start * np.exp(-a * alpha * steps)
    modified = start * np.exp(-(a + alpha / 2 * a**2) * alpha * steps)
    assert np.abs(reached - modified).max() < np.abs(reached - plain).max() / 8


@pytest.mark.course("A-134")
def test_stochastic_descent_shuns_places_where_batches_disagree():
    """The extra term is alpha / (4 B) sum_b |dL_b - dL|^2."""
    x, y = rng().standard_normal((32, 3)), rng(1).standard_normal((32, 1))
    model = nn.Linear(3, 1, bias=False, dtype="float64")
    loader = DataLoader(TensorDataset(x, y), batch_size=8)
    found = train.implicit_regularization(model, loader, 0.1, F.mse_loss)
    w = model.weight.data[0]
    gradients = np.array([2 * (xb @ w - yb[:, 0]) @ xb / 8 for xb, yb in zip(x.reshape(4, 8, 3), y.reshape(4, 8, 1))])
    mean = gradients.mean(0)
    noise = ((gradients - mean) ** 2).sum(1).mean()
    np.testing.assert_allclose(found.gradient, (mean**2).sum())
    np.testing.assert_allclose(found.noise, noise)
    np.testing.assert_allclose(found.sgd, 0.1 / 4 * (mean**2).sum() + 0.1 / (4 * 4) * ((gradients - mean) ** 2).sum())
    assert model.weight.grad is None


@pytest.mark.course("A-135", "A-192")
def test_inverted_dropout():
    """0 with probability p, h / (1 - p) otherwise: the mean stays; nothing happens in evaluation. Whole channels in its spatial form."""
    lamella.manual_seed(0)
    for p in (0.2, 0.5):
        layer = nn.Dropout(p)
        out = layer(np.ones((200, 500)))
        assert set(np.unique(out)) == {0, 1 / (1 - p)}
        assert (out == 0).mean() == pytest.approx(p, abs=0.01)
        assert out.mean() == pytest.approx(1, abs=0.01)
        x = lamella.tensor(np.ones(1000), requires_grad=True)
        out = layer(x)
        out.sum().backward()
        np.testing.assert_array_equal(x.grad.data, out.data)  # what is dropped learns nothing
        np.testing.assert_array_equal(layer.eval()(np.arange(3.0)), np.arange(3.0))
    for layer, shape in ((nn.Dropout1d(0.3), (50, 40, 7)), (nn.Dropout2d(0.3), (50, 40, 3, 5)), (nn.Dropout3d(0.3), (50, 40, 2, 3, 2))):
        out = layer(np.ones(shape)).reshape(50, 40, -1)
        assert (out == out[..., :1]).all()
        assert (out[..., 0] == 0).mean() == pytest.approx(0.3, abs=0.03)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
    x = rng().standard_normal((5, 4)).astype(np.float32)
    assert (model(x).data != model(x).data).any()
    assert (model.eval()(x).data == model(x).data).all()


@pytest.mark.course("A-136")
def test_classic_dropout():
    """Nothing is scaled in training; predictions multiply by the probability to be kept. Both forms expect the same."""
    lamella.manual_seed(0)
    for p in (0.2, 0.5):
        layer = nn.Dropout(p, mode="classic")
        assert set(np.unique(layer(np.ones(1000)))) == {0, 1}
        x = rng().standard_normal(7)
        np.testing.assert_allclose(layer.eval()(x), (1 - p) * x)
        lamella.manual_seed(1)
        classic = F.dropout(np.ones(1000), p, mode="classic")
        lamella.manual_seed(1)
        np.testing.assert_allclose(F.dropout(np.ones(1000), p) * (1 - p), classic)
    with pytest.raises(ValueError, match="mode must be 'inverted'"):
        nn.Dropout(0.2, mode="keep")


@pytest.mark.course("A-137")
def test_monte_carlo_dropout_gives_mean_and_spread():
    """Many runs with dropout on: their mean is that of the network, their spread grows away from the data."""
    x = np.linspace(-1, 1, 60, dtype=np.float32)[:, None]
    y = x**3
    lamella.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 1))
    trainer = train.Trainer(model, optim.Adam(model.parameters(), lr=0.01), F.mse_loss, progress="none")
    trainer.fit(DataLoader(TensorDataset(x, y), batch_size=20, shuffle=True), epochs=60)
    at = np.array([[0.0], [0.5], [4.0]], np.float32)
    mean, std = trainer.predict(at, mc_samples=300)
    assert mean.shape == std.shape == (3, 1)
    np.testing.assert_allclose(mean, trainer.predict(at), atol=4 * std.max() / math.sqrt(300) + 0.01)
    assert std[2, 0] > 3 * std[1, 0] > 0
    # one linear layer behind the dropout: the spread is known, sqrt(sum (w h)^2 p / (1 - p))
    hidden = nn.Sequential(*list(model)[:2])(at).data
    expected = np.sqrt(((model[3].weight.data[0] * hidden) ** 2).sum(1) * 0.1 / 0.9)
    np.testing.assert_allclose(std[:, 0], expected, rtol=0.15)
    assert not (trainer.predict(at) != trainer.predict(at)).any()
    with pytest.raises(ValueError, match="no dropout layer"):
        train.Trainer(nn.Linear(1, 1), None, progress="none").predict(at, mc_samples=30)
    # classifiers: of probabilities
    x, y = blobs(60)
    fitted = MLPClassifier((16,), dropout=0.3, lr=0.05, epochs=10, random_state=0).fit(x, y)
    mean, std = fitted.predict_proba(x, mc_samples=30)
    np.testing.assert_allclose(mean.sum(1), 1, rtol=1e-5)
    assert std.max() > 0.01


class Scripted(train.Callback):
    """Overwrites a figure of the history, and marks the weights with the epoch."""

    def __init__(self, name, values):
        self.name, self.values = name, values

    def on_epoch_end(self, trainer, record):
        record[self.name] = self.values[record["epoch"] - 1]
        trainer.model.bias.data[...] = record["epoch"]


def scripted(name, values, stopping):
    model = nn.Linear(2, 2)
    trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.0), callbacks=[Scripted(name, values), stopping], progress="none")
    trainer.fit([blobs(4)], epochs=len(values))
    return trainer


@pytest.mark.course("A-138")
def test_early_stopping_by_patience():
    """Stop after k = 5 epochs without a better VALIDATION error (the slide says test error, E-29), and return to the best weights."""
    errors = [5, 4, 3, 4, 5, 6, 5, 4, 1, 1]
    stopping = train.EarlyStopping("val_loss", patience=4)  # four are forgiven, the fifth stops
    trainer = scripted("val_loss", errors, stopping)
    assert trainer.epoch == 3 + 5
    assert (trainer.model.bias.data == 3).all()
    assert train.EarlyStopping().monitor == "val_loss"
    # with a real training that over-fits, in an estimator
    x, y = blobs(60, noise=2.0)
    options = {"hidden_layer_sizes": (64,), "lr": 0.05, "epochs": 60, "random_state": 0, "batch_size": 10, "alpha": 0.0}
    fitted = MLPClassifier(early_stopping=True, n_iter_no_change=4, validation_fraction=0.3, **options).fit(x, y)
    assert fitted.n_iter_ == fitted.best_epoch_ + 5 < 60
    losses = [epoch["val_loss"] for epoch in fitted.history_]
    assert min(losses) == losses[fitted.best_epoch_ - 1]


@pytest.mark.course("A-139")
def test_early_stopping_at_a_target():
    """Stop when the TRAINING error reaches a value, as one text has it (E-26); any other figure as well."""
    trainer = scripted("train_loss", [3.0, 2.0, 0.5, 0.1], train.EarlyStopping("train_loss", patience=None, target=0.5))
    assert trainer.epoch == 3
    assert "reached 0.5" in trainer.stopped
    trainer = scripted("val_accuracy", [0.3, 0.6, 0.9, 1.0], train.EarlyStopping("val_accuracy", patience=None, target=0.8))
    assert trainer.epoch == 3


@pytest.mark.course("A-140")
def test_augmentation():
    """New images from those there are: mirrored, cropped, zoomed, of other contrast; another draw for every image and every epoch."""
    images = (rng().random((6, 1, 8, 8)) * 0.2 + 0.4).astype(np.float32)
    np.testing.assert_array_equal(transforms.RandomHorizontalFlip(p=1)(images), images[..., ::-1])
    np.testing.assert_array_equal(transforms.RandomVerticalFlip(p=1)(images), images[..., ::-1, :])
    np.testing.assert_array_equal(transforms.RandomHorizontalFlip(p=0)(images), images)
    mean = images.mean((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(transforms.ColorJitter(contrast=(2, 2))(images), mean + 2 * (images - mean), rtol=1e-5)
    for cropped, image in zip(transforms.RandomCrop(5)(images)[:, 0], images[:, 0]):
        assert any((cropped == image[i : i + 5, j : j + 5]).all() for i in range(4) for j in range(4))
    ramp = np.broadcast_to(np.linspace(0.2, 0.8, 8, dtype=np.float32), (6, 1, 8, 8))
    zoomed = transforms.RandomResizedCrop(8, scale=(0.25, 0.25), ratio=(1, 1))(ramp)
    np.testing.assert_allclose(np.diff(zoomed)[..., 1:-1], np.diff(ramp)[..., 1:-1] / 2, rtol=1e-4)  # half as steep: twice as large
    # between dataset and model, drawn anew in every epoch
    turn = transforms.Compose([transforms.RandomHorizontalFlip(), transforms.RandomCrop(8, padding=1)])
    loader = DataLoader(datasets.ImageDataset(images, np.arange(6), transform=turn), batch_size=6, generator=0)
    first, second = (next(iter(loader))[0].data for _ in range(2))
    assert first.shape == images.shape
    assert (first != second).any()


@pytest.mark.course("A-141")
def test_label_noise():
    """rho % of the labels become other ones, all of them wrong, spread over the other classes."""
    y = np.arange(3000) % 3
    noisy = label_noise(y, 0.1, generator=0)
    wrong = noisy != y
    assert wrong.sum() == 300
    shift = (noisy - y)[wrong] % 3
    assert set(shift) == {1, 2}
    assert abs((shift == 1).mean() - 0.5) < 0.1
    np.testing.assert_array_equal(label_noise(y, 0.1, generator=0), noisy)
    # a network that is trained with them is less sure
    x, labels = blobs(200, noise=0.5)
    sure = [
        MLPClassifier((8,), lr=0.05, epochs=15, random_state=0).fit(x, kind).predict_proba(x).max(1).mean()
        for kind in (labels, label_noise(labels, 0.2, generator=0))
    ]
    assert sure[0] > 0.95 > 0.85 > sure[1]


@pytest.mark.course("A-142")
def test_label_smoothing_both_ways():
    """K = 3, rho = 0.1: [.9, .05, .05] in the course, [.9333, .0333, .0333] in PyTorch and Keras."""
    z = rng().standard_normal((1, 3))
    logs = F.log_softmax(z, 1)[0]
    for over, target in (("others", [0.9, 0.05, 0.05]), ("all", [0.1 / 3 + 0.9, 0.1 / 3, 0.1 / 3])):
        np.testing.assert_allclose(F.cross_entropy(z, np.array([0]), label_smoothing=0.1, smoothing_over=over), -(logs * target).sum())
        x = lamella.tensor(np.log([target]), requires_grad=True)  # the loss is least where the prediction is the target
        F.cross_entropy(x, np.array([0]), label_smoothing=0.1, smoothing_over=over).backward()
        np.testing.assert_allclose(x.grad.data, 0, atol=1e-15)
    np.testing.assert_allclose(np.round([0.1 / 3 + 0.9, 0.1 / 3], 4), [0.9333, 0.0333])
    layer = nn.CrossEntropyLoss(label_smoothing=0.1)
    np.testing.assert_allclose(layer(z, np.array([0])), -(logs * [0.1 / 3 + 0.9, 0.1 / 3, 0.1 / 3]).sum())


@pytest.mark.course("A-143")
def test_input_noise_is_like_l2():
    """Noise of standard deviation s on the inputs of a linear model under the squared loss adds s^2 |w|^2 in expectation."""
    lamella.manual_seed(0)
    model = nn.Linear(3, 1, dtype="float64")
    x = np.repeat(rng().standard_normal((1, 3)), 200_000, axis=0)
    y = np.zeros((len(x), 1))
    noise = nn.GaussianNoise(0.5)
    extra = F.mse_loss(model(noise(x)), y).item() - F.mse_loss(model(x), y).item()
    assert extra == pytest.approx(0.25 * (model.weight.data**2).sum(), rel=0.05)
    assert (noise.eval()(x) == x).all()
    # on weights: the output wavers by s |x|
    noisy = nn.WeightNoise(model, 0.1)
    wavering = np.array([noisy(x[:1]).item() for _ in range(2000)])
    assert wavering.std() == pytest.approx(0.1 * np.linalg.norm(x[0]), rel=0.1)
    noisy(x[:1]).sum().backward()
    np.testing.assert_array_equal(model.weight.grad.data, x[:1])


def regressor(seed):
    lamella.manual_seed(seed)
    return nn.Sequential(nn.Linear(1, 30), nn.Tanh(), nn.Linear(30, 1))


@pytest.mark.course("A-144")
def test_the_mean_of_several_networks_errs_less():
    """Other initial weights, or snapshots of one training: errors that are independent cancel."""
    x = rng().uniform(-2, 2, (20, 1)).astype(np.float32)
    y = (np.sin(2 * x) + 0.3 * rng(1).standard_normal(x.shape)).astype(np.float32)
    loader = DataLoader(TensorDataset(x, y), batch_size=10, shuffle=True, generator=0)
    at = np.linspace(-2, 2, 100, dtype=np.float32)[:, None]
    members = []
    snapshots = train.Snapshots(every=20, start=40)
    for seed in range(4):
        members.append(regressor(seed))
        optimizer = optim.Adam(members[-1].parameters(), lr=0.02)
        train.Trainer(members[-1], optimizer, F.mse_loss, callbacks=[snapshots] if seed == 0 else [], progress="none").fit(
            loader, epochs=100
        )
    with lamella.no_grad():
        errors = [F.mse_loss(member(at), np.sin(2 * at)).item() for member in members]
        together = nn.Ensemble(members)
        assert F.mse_loss(together(at), np.sin(2 * at)).item() < np.mean(errors)
        np.testing.assert_allclose(together(at).data, np.mean([member(at).data for member in members], axis=0), rtol=1e-4, atol=1e-6)
        assert snapshots.epochs == [40, 60, 80, 100]
        four = snapshots.ensemble(members[0], "outputs")
        np.testing.assert_array_equal(four.models[-1](at).data, members[0](at).data)
        mean = snapshots.averaged(members[0])
        weights = np.mean([state["0.weight"] for state in snapshots.states], axis=0)
        np.testing.assert_allclose(mean[0].weight.data, weights, rtol=1e-5, atol=1e-6)
    # of classifiers: the mean of probabilities
    pair = nn.Ensemble([nn.Linear(2, 3), nn.Linear(2, 3)], "probabilities")
    x = rng().standard_normal((5, 2)).astype(np.float32)
    expected = np.mean([F.softmax(model(x), 1).data for model in pair.models], axis=0)
    np.testing.assert_allclose(F.softmax(pair(x), 1).data, expected, rtol=1e-5)


@pytest.mark.course("A-145")
def test_bagging():
    """Samples drawn with replacement: some rows several times, about 1/e of them never, which then judge."""
    x, y = blobs(150, noise=1.0)
    bag = BaggingClassifier(MLPClassifier((8,), lr=0.05, epochs=5), n_estimators=6, random_state=0).fit(x, y)
    missing = [1 - len(np.unique(rows)) / 150 for rows in bag.samples_]
    assert np.mean(missing) == pytest.approx(math.exp(-1), abs=0.03)
    assert all(len(rows) == 150 for rows in bag.samples_)
    members = [member.predict_proba(x) for member in bag.estimators_]
    np.testing.assert_allclose(bag.predict_proba(x), np.mean(members, axis=0), rtol=1e-6)
    x_test, y_test = blobs(400, seed=9)
    assert bag.score(x_test, y_test) > 0.88
    assert bag.oob_score_ == pytest.approx(bag.score(x_test, y_test), abs=0.06)


@pytest.mark.course("A-146")
def test_transfer_learning():
    """Take over what was learned, replace the last layer, freeze the rest or let it learn slowly, take features out."""
    lamella.manual_seed(0)
    old = nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 16), nn.ReLU(), nn.Linear(16, 10)
    )
    new = copy.deepcopy(old)
    head = nn.utils.replace_head(new, 3)
    assert new[6] is head
    assert head.weight.shape == (3, 16)
    nn.utils.freeze(new, "0", "1", "4")
    x, y = rng().standard_normal((30, 1, 8, 8)).astype(np.float32), np.arange(30) % 3
    before = {name: t.data.copy() for name, t in new.state_dict().items()}
    optimizer = optim.SGD(nn.utils.layer_groups(new, {"": {"lr": 1e-3}, "6": {}}), lr=0.1)
    assert [len(group["params"]) for group in optimizer.param_groups] == [2]
    train.Trainer(new, optimizer, progress="none").fit([(x, y)], epochs=3)
    changed = {name for name, t in new.state_dict().items() if (t.data != before[name]).any()}
    assert changed == {"6.weight", "6.bias"}  # not even the statistics of the batch norm
    # fine-tuning: everything, what was taken over more slowly
    nn.utils.unfreeze(new)
    optimizer = optim.SGD(nn.utils.layer_groups(new, {"": {"lr": 1e-3}, "6": {}}), lr=0.1)
    assert [(len(group["params"]), group["lr"]) for group in optimizer.param_groups] == [(5, 1e-3), (2, 0.1)]
    train.Trainer(new, optimizer, progress="none").fit([(x, y)], epochs=1)
    assert {name for name, t in new.state_dict().items() if (t.data != before[name]).any()} == set(before)
    # weights that fit, with a report; features
    fresh = copy.deepcopy(new)
    report = nn.utils.load_matching(fresh, old.state_dict())
    assert set(report.mismatched) == {"6.weight", "6.bias"}
    assert str(report).splitlines()[0] == f"{len(before) - 2} of {len(before)} loaded"
    with pytest.raises(RuntimeError, match="size mismatch for 6.weight"):
        fresh.load_state_dict(old.state_dict(), strict=False)
    features = nn.FeatureExtractor(old.eval(), "5")(x)
    np.testing.assert_array_equal(features.data, old[:6](x).data)


@pytest.mark.course("A-147")
def test_several_tasks_at_once():
    """One trunk, two heads, the weighted sum of their losses."""
    x = rng().standard_normal((120, 4)).astype(np.float32)
    kind, size = (x[:, 0] > 0).astype(np.int64), (x[:, :1] + x[:, 1:2]).astype(np.float32)
    lamella.manual_seed(0)
    model = nn.MultiTask(nn.Sequential(nn.Linear(4, 16), nn.Tanh()), {"kind": nn.Linear(16, 2), "size": nn.Linear(16, 1)})
    loss = nn.MultiTaskLoss({"kind": nn.CrossEntropyLoss(), "size": nn.MSELoss()}, weights={"size": 0.5})
    total = loss(model(x), {"kind": kind, "size": size}).item()
    assert total == pytest.approx(loss.parts["kind"] + 0.5 * loss.parts["size"])
    trainer = train.Trainer(model, optim.Adam(model.parameters(), lr=0.02), loss, progress="none")
    history = trainer.fit(DataLoader(TensorDataset(x, kind, size), batch_size=30, shuffle=True), epochs=25)
    found = trainer.predict(x)
    assert (found["kind"].argmax(1) == kind).mean() > 0.95
    assert ((found["size"] - size) ** 2).mean() < 0.1 * size.var()
    assert history[-1]["train_loss"] < 0.3 * history[0]["train_loss"]
    trunk = model.trunk[0].weight
    for name in ("kind", "size"):  # both tasks teach the trunk
        model.zero_grad()
        loss.losses[name](model(x)[name], {"kind": kind, "size": size}[name]).backward()
        assert trunk.grad.data.any()


@pytest.mark.course("A-148")
def test_a_task_without_labels_teaches_features():
    """Self-supervised: how an image was turned is a label that costs nothing; examples/pretext.py tells the whole story."""
    pretext = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "pretext.py"))
    network, turned = pretext["network"], pretext["turned"]
    images = rng().standard_normal((5, 1, 6, 6)).astype(np.float32)
    x, y = turned(images)
    assert x.shape == (20, 1, 6, 6)
    assert y.tolist() == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5
    for quarter in range(4):
        np.testing.assert_array_equal(x[y == quarter], np.rot90(images, quarter, (2, 3)))
    assert network(4)(np.zeros((2, 1, 28, 28), np.float32)).shape == (2, 4)


CURVES = {
    "under-fitting": ([0.6, 0.5, 0.42, 0.41, 0.4, 0.4], [0.62, 0.52, 0.45, 0.43, 0.43, 0.43]),
    "over-fitting": ([0.5, 0.3, 0.2, 0.1, 0.05, 0.01], [0.52, 0.4, 0.33, 0.31, 0.34, 0.36]),
    "good fit": ([0.5, 0.3, 0.2, 0.1, 0.06, 0.05], [0.5, 0.33, 0.2, 0.12, 0.08, 0.07]),
    "both": ([0.6, 0.5, 0.42, 0.41, 0.4, 0.4], [0.7, 0.7, 0.68, 0.7, 0.7, 0.7]),
}


@pytest.mark.course("A-149")
def test_verdict_of_learning_curves():
    """Training error high: under-fitted, a larger model or more epochs. Low, but the other high: over-fitted, data, regularisation, early stopping."""
    remedies = {}
    for kind, errors in CURVES.items():
        history = [{"epoch": i, "train_accuracy": 1 - t, "val_accuracy": 1 - v} for i, (t, v) in enumerate(zip(*errors), 1)]
        found = train.learning_verdict(history)
        assert found.kind == kind
        assert found.best_epoch == int(np.argmin(errors[1])) + 1
        remedies[kind] = " ".join(found.remedies)
        assert str(found).startswith(f"{kind}: error rate")
    for word in ("layers", "neurons", "epochs"):
        assert word in remedies["under-fitting"]
    for word in ("data", "augmentation", "L1 or L2", "Dropout", "early stopping: epoch 4"):
        assert word in remedies["over-fitting"]
    assert not remedies["good fit"]
    assert "layers" in remedies["both"]
    assert "augmentation" in remedies["both"]
    lamella.manual_seed(0)  # and of real trainings: a model too small for a circle, and one that learns wrong labels by heart
    x = rng().standard_normal((400, 2)).astype(np.float32)
    circle = ((x**2).sum(1) > 1.4).astype(np.int64)
    large = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    for model, labels, rows, kind in (
        (nn.Linear(2, 2), circle, 200, "under-fitting"),
        (large, label_noise(circle, 0.2, generator=0), 50, "over-fitting"),
    ):
        parts = [DataLoader(TensorDataset(x[part], labels[part]), 50) for part in (slice(0, rows), slice(200, 400))]
        trainer = train.Trainer(model, optim.Adam(model.parameters(), lr=0.01), progress="none")
        assert train.learning_verdict(trainer.fit(*parts, epochs=120), gap=0.1).kind == kind
