"""What helps a network to generalise, where it is given what it cannot use, and in the hands of Trainer and of files."""

import copy

import numpy as np
import pytest

import lamella
from lamella import data, nn, optim, train
from lamella import functional as F
from lamella.estimators import BaggingClassifier, LinearClassifier, MLPClassifier, Perceptron

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 4)).astype(np.float32)
Y = np.arange(40) % 2


def net():
    lamella.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))


REFUSALS = [
    (lambda: nn.Dropout2d(1.5), "Dropout2d: probability"),
    (lambda: F.dropout3d(np.ones((2, 3))), r"dropout3d: expected input of shape \(N, C, D, H, W\) or \(C, D, H, W\), got \(2, 3\)"),
    (lambda: F.dropout1d(np.ones(3), mode="old"), "dropout1d: expected input"),
    (lambda: F.dropout2d(np.ones((2, 2, 2, 2)), mode="old"), "dropout2d: mode must be"),
    (lambda: nn.GaussianNoise(-1), "GaussianNoise: expected a standard deviation"),
    (lambda: nn.WeightNoise(net(), np.nan), "WeightNoise"),
    (lambda: nn.Ensemble([]), "at least one model"),
    (lambda: nn.Ensemble([net()], "votes"), "average must be"),
    (lambda: nn.MultiTask(net(), {}), "at least one head"),
    (lambda: nn.MultiTaskLoss({"a": F.mse_loss}, {"b": 1.0}), "a weight for 'b', which has no loss; there are a"),
    (lambda: nn.MultiTaskLoss({})({}, {}), "at least one loss"),
    (lambda: nn.MultiTaskLoss({"a": F.mse_loss, "b": F.mse_loss})({}, [1]), r"expected 2 targets \(a, b\), got 1"),
    (lambda: nn.MultiTaskLoss({"a": F.mse_loss})({"b": 1}, {"a": 1}), "outputs lack a; they have b"),
    (lambda: nn.FeatureExtractor(net(), "7"), "no layer '7'; there are 0, 1, 2, 3, 4"),
    (lambda: nn.utils.freeze(net(), "head"), "Sequential has no layer or parameter 'head'; its layers are 0, 1, 2, 3, 4"),
    (lambda: nn.utils.replace_head(nn.ReLU(), 3), "no Linear or Conv2d below it"),
    (lambda: nn.utils.replace_head(net(), 3, "2"), "2 is a ReLU"),
    (lambda: nn.utils.replace_head(net(), 3, "9"), "no layer '9'"),
    (lambda: nn.utils.load_matching(net(), {"other.weight": X}), "nothing of the state fits Sequential.*pass prefix="),
    (lambda: nn.utils.layer_groups(net(), {"0": {}}), r'no name covers 1.weight; add ""'),
    (lambda: train.Snapshots(every=0), "numbers of at least 1"),
    (lambda: train.Snapshots().ensemble(net()), "nothing kept yet"),
    (lambda: train.learning_verdict([]), "at least one epoch"),
    (lambda: train.learning_verdict([{"epoch": 1, "train_loss": 1.0}]), "no 'val_loss'; pass validation data"),
    (lambda: train.learning_verdict([{"epoch": 1}], measure="rank"), "measure must be"),
    (lambda: train.implicit_regularization(net(), [], 0.1), "at least one batch"),
    (lambda: train.layer_health(nn.utils.freeze(net()), X, Y), "frozen"),
    (lambda: train.monte_carlo(net(), net(), X, 1), "at least 2 samples"),
    (lambda: train.Trainer(net(), None, progress="none").evaluate([(X,)]), "inputs alone"),
    (lambda: data.label_noise(Y, 1.2), "rate has to be between 0 and 1"),
    (lambda: data.label_noise(Y / 2, 0.1), "integer labels"),
    (lambda: data.label_noise(Y, 0.5, num_classes=1), "labels from 0 to 0, got 0 to 1"),
    (lambda: data.label_noise(Y * 0, 0.5), "at least two classes"),
    (lambda: BaggingClassifier(LinearClassifier(), 0).fit(X, Y), "n_estimators of at least 1"),
    (lambda: LinearClassifier(early_stopping=True).fit(X[:3], [0, 0, 1]), "two samples or more of every class, got one of 1"),
    (lambda: LinearClassifier(early_stopping=True, validation_fraction=1.0).fit(X, Y), "validation_fraction between 0 and 1"),
]


@pytest.mark.parametrize(("call", "match"), REFUSALS, ids=[match[:30] for _, match in REFUSALS])
def test_refusals(call, match):
    with pytest.raises(ValueError, match=match), lamella.no_grad():
        call()


def test_dropout_of_channels_accepts_what_pytorch_accepts():
    for function, shapes in (
        (F.dropout1d, [(2, 3, 4), (3, 4)]),
        (F.dropout2d, [(2, 3, 4, 5), (2, 3, 4)]),
        (F.dropout3d, [(2, 3, 4, 5, 6), (3, 4, 5, 6)]),
    ):
        for shape in shapes:
            x = lamella.tensor(rng.normal(size=shape), requires_grad=True)
            out = function(x, 0.5)
            assert out.shape == shape
            out.sum().backward()
            np.testing.assert_array_equal(out.data, x.data * x.grad.data)
            np.testing.assert_array_equal(function(x, 0.5, training=False).data, x.data)
        assert function(np.ones((0, *shapes[0][1:])), 0.5).shape == (0, *shapes[0][1:])


def test_parts_are_modules():
    """State and safetensors, copies, nesting."""
    model = nn.MultiTask(nn.WeightNoise(net()), {"a": nn.Linear(2, 2), "b": nn.Linear(2, 1)})
    assert {"trunk.module.0.weight", "heads.a.bias", "heads.b.weight"} <= set(model.state_dict())
    twin = copy.deepcopy(model)
    for p in twin.parameters():
        p.data[...] = 0
    twin.load_state_dict(model.state_dict())
    with lamella.no_grad():
        for name, out in twin.eval()(X).items():
            np.testing.assert_array_equal(out.data, model.eval()(X)[name].data)
    pair = nn.Ensemble([net(), net()])
    assert len(pair.state_dict()) == 2 * len(net().state_dict())


def test_frozen_layers_stay_so_in_every_mode():
    model = nn.utils.freeze(net(), "1")
    norm = model[1]
    assert not model.train()[1].training
    assert model[3].training
    model(X)
    assert int(norm.num_batches_tracked) == 0
    nn.utils.unfreeze(model)
    assert norm.training
    model(X)
    assert int(norm.num_batches_tracked) == 1
    nn.utils.freeze(model, "4.bias")
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["4.bias"]


def test_load_matching_takes_a_prefix_away():
    source, target = net(), net()
    state = {f"backbone.{name}": value for name, value in source.state_dict().items()} | {"head.weight": X}
    report = nn.utils.load_matching(target, state, prefix="backbone.")
    assert report.unexpected == ["head.weight"]
    assert not report.missing
    assert not report.mismatched
    assert len(report.loaded) == len(target.state_dict())


def test_health_leaves_everything_as_it_was():
    model = net()
    model[0].weight.data[:6] = 0
    model[0].bias.data[:6] = -1
    model[1].eval()
    before = {name: t.data.copy() for name, t in model.state_dict().items()}
    state = lamella.get_rng_state()
    report = train.layer_health(model, X, Y)
    assert lamella.get_rng_state() == state
    assert all((t.data == before[name]).all() for name, t in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert report.layers[2].dead == 0.75
    assert "dead units" in report.findings
    assert "75%" in str(report)
    assert report.layers[0].name == "0"
    assert report.layers[0].norm > 0


def test_snapshots_go_into_checkpoints(tmp_path):
    def trainer():
        model = net()
        return train.Trainer(
            model, optim.SGD(model.parameters(), lr=0.1), callbacks=[train.Snapshots(last=2)], checkpoint=tmp_path / "c", progress="none"
        )

    whole = trainer()
    whole.fit([(X, Y)], epochs=3)
    again = trainer()
    again.load_checkpoint(tmp_path / "c")
    assert again.callbacks[0].epochs == whole.callbacks[0].epochs == [2, 3]
    ensembles = [t.callbacks[0].ensemble(t.model) for t in (whole, again)]
    with lamella.no_grad():
        np.testing.assert_array_equal(ensembles[0](X).data, ensembles[1](X).data)
    with pytest.raises(ValueError, match="pass a loader"):
        whole.callbacks[0].averaged(whole.model)
    averaged = whole.callbacks[0].averaged(whole.model, [X])
    np.testing.assert_allclose(averaged[1].running_mean.data, averaged[0](X).data.mean(0), rtol=1e-4, atol=1e-6)


def test_monte_carlo_of_several_tasks_and_batches():
    model = nn.MultiTask(net(), {"a": nn.Linear(2, 3), "b": nn.Linear(2, 1)})
    trainer = train.Trainer(model, None, progress="none")
    lamella.manual_seed(1)
    found = trainer.predict(X, batch_size=15, mc_samples=5)
    assert found["a"].mean.shape == found["a"].std.shape == (40, 3)
    assert found["b"].mean.dtype == np.float32
    lamella.manual_seed(1)
    again = trainer.predict(data.DataLoader(data.TensorDataset(X), batch_size=15), mc_samples=5)
    np.testing.assert_array_equal(found["a"].std, again["a"].std)
    assert model.training


def test_bagging_of_anything():
    x, y = X, np.where(X[:, 0] > 0, "right", "left")
    alike = BaggingClassifier(MLPClassifier((4,), epochs=2), 3, bootstrap=False, random_state=0).fit(x, y)
    assert np.isnan(alike.oob_score_)
    assert len({member.module_[0].weight.data.tobytes() for member in alike.estimators_}) == 3
    votes = BaggingClassifier(Perceptron(max_iter=30), 5, max_samples=0.5, random_state=0).fit(x, y)
    assert set(np.unique(votes.predict_proba(x) * 5).round(6)) <= set(range(6))
    assert votes.score(x, y) > 0.8
    assert votes.get_params()["estimator__max_iter"] == 30
