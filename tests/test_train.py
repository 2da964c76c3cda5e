"""Trainer: it learns, resumes in the same bits from any batch, stops on Ctrl-C, NaN and no progress; metrics and pictures."""

import copy
import signal

import numpy as np
import pytest

import lamella
from lamella import nn, optim
from lamella.data import DataLoader, TensorDataset
from lamella.train import Callback, EarlyStopping, Interrupted, Trainer, accuracy, confusion_matrix, plots

rng = np.random.default_rng(0)
X = rng.normal(size=(90, 6)).astype(np.float32)
Y = (X[:, :3] + 0.1 * rng.normal(size=(90, 3))).argmax(1)
MADE = {
    "onecycle": lambda o: optim.lr_scheduler.OneCycleLR(o, 0.05, total_steps=4 * 9),
    "cosine": lambda o: optim.lr_scheduler.CosineAnnealingLR(o, T_max=4),
    "plateau": lambda o: optim.lr_scheduler.ReduceLROnPlateau(o, patience=0, threshold=0.5),
    "none": lambda o: None,
}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(6, 16)
        self.bn = nn.BatchNorm1d(16)
        self.drop = nn.Dropout(0.3)
        self.fc2 = nn.Linear(16, 3)

    def forward(self, x):
        return self.fc2(self.drop(lamella.functional.relu(self.bn(self.fc1(x)))))


class Press(Callback):
    """Ctrl-C at a batch, counted over the whole training."""

    def __init__(self, at):
        self.at, self.seen = at, 0

    def __call__(self, output, target):
        self.seen += 1
        if self.seen == self.at:
            signal.raise_signal(signal.SIGINT)
        return lamella.functional.cross_entropy(output, target)


def make(path=None, loss=lamella.functional.cross_entropy, schedule="onecycle", opt=optim.AdamW, workers=0, callbacks=(), seed=0):
    lamella.manual_seed(seed)
    model = Net()
    optimizer = opt(model.parameters(), lr=0.05, **({"momentum": 0.9} if opt is optim.SGD else {}))
    scheduler = MADE[schedule](optimizer)
    trainer = Trainer(model, optimizer, loss, scheduler, checkpoint=path, progress="none", callbacks=callbacks)
    train = DataLoader(TensorDataset(X, Y), 10, shuffle=True, num_workers=workers)
    return trainer, train, DataLoader(TensorDataset(X, Y), 40)


def numbers(history):
    return [{k: v for k, v in record.items() if k not in ("seconds", "images_per_second")} for record in history]


def assert_same(a, b):
    assert numbers(a.history) == numbers(b.history)
    for (name, p), (_, q) in zip(a.model.state_dict().items(), b.model.state_dict().items(), strict=True):
        assert p.data.tobytes() == q.data.tobytes(), name
    for i, state in a.optimizer.state_dict()["state"].items():
        for key, value in state.items():
            assert np.asarray(value).tobytes() == np.asarray(b.optimizer.state_dict()["state"][i][key]).tobytes(), key
    assert a.optimizer.param_groups[0]["lr"] == b.optimizer.param_groups[0]["lr"]
    assert lamella.get_rng_state()


def test_learns():
    trainer, train, valid = make()
    history = trainer.fit(train, valid, epochs=4)
    assert history[-1]["val_accuracy"] > 0.8 and [r["epoch"] for r in history] == [1, 2, 3, 4]
    assert trainer.evaluate(valid)["accuracy"] == history[-1]["val_accuracy"]
    logits = trainer.predict(X)
    assert accuracy(logits, Y) == history[-1]["val_accuracy"] and trainer.model.training
    assert (trainer.predict(valid) == logits).all()


@pytest.mark.parametrize("schedule", MADE)
@pytest.mark.parametrize("opt", [optim.AdamW, optim.SGD])
def test_resume_after_epochs_gives_the_same_bits(tmp_path, schedule, opt):
    whole, train, valid = make(schedule=schedule, opt=opt)
    whole.fit(train, valid, epochs=4)
    state = lamella.get_rng_state()
    first, train, valid = make(tmp_path / "c", schedule=schedule, opt=opt)
    first.fit(train, valid, epochs=2)
    second, train, valid = make(tmp_path / "c", schedule=schedule, opt=opt, seed=99)
    second.fit(train, valid, epochs=4, resume=True)
    assert_same(whole, second)
    assert lamella.get_rng_state() == state


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("at", [1, 4, 9, 10, 18, 23])
def test_ctrl_c_in_an_epoch_and_resume_gives_the_same_bits(tmp_path, at, workers):
    whole, train, valid = make()
    whole.fit(train, valid, epochs=4)
    handler = signal.getsignal(signal.SIGINT)
    first, train, valid = make(tmp_path / "c", loss=Press(at), workers=workers)
    with pytest.raises(Interrupted, match="after batch .*go on") as stop:
        first.fit(train, valid, epochs=4)
    assert stop.value.checkpoint == tmp_path / "c" and signal.getsignal(signal.SIGINT) is handler
    second, train, valid = make(tmp_path / "c", workers=workers, seed=99)
    second.fit(train, valid, epochs=4, resume=True)
    assert_same(whole, second)


def test_ctrl_c_while_evaluating(tmp_path):
    class Valid:
        def __iter__(self):
            signal.raise_signal(signal.SIGINT)
            yield X, Y

    whole, train, valid = make()
    whole.fit(train, valid, epochs=2)
    first, train, _ = make(tmp_path / "c")
    with pytest.raises(Interrupted):
        first.fit(train, Valid(), epochs=2)
    assert first.model.training
    second, train, valid = make(tmp_path / "c", seed=99)
    second.fit(train, valid, epochs=2, resume=True)
    assert_same(whole, second)


def test_interrupted_twice(tmp_path):
    whole, train, valid = make()
    whole.fit(train, valid, epochs=4)
    for at, resume in ((3, False), (2, True), (20, True)):
        part, train, valid = make(tmp_path / "c", loss=Press(at))
        with pytest.raises(Interrupted):
            part.fit(train, valid, epochs=4, resume=resume)
    last, train, valid = make(tmp_path / "c")
    last.fit(train, valid, epochs=4, resume=True)
    assert_same(whole, last)


def test_ctrl_c_without_a_loader_state_keeps_the_last_epoch(tmp_path):
    batches = [(X[i : i + 10], Y[i : i + 10]) for i in range(0, 90, 10)]
    first, _, _ = make(tmp_path / "c", loss=Press(12))
    with pytest.raises(Interrupted, match="holds the end of epoch 1"):
        first.fit(batches, epochs=4)
    second, _, _ = make(tmp_path / "c")
    second.fit(batches, epochs=4, resume=True)
    whole, _, _ = make()
    whole.fit(batches, epochs=4)
    assert_same(whole, second)
    first, _, _ = make(tmp_path / "d", loss=Press(2))
    with pytest.raises(Interrupted, match="before the first checkpoint"):
        first.fit(batches, epochs=4)
    first, train, _ = make(loss=Press(2))
    with pytest.raises(Interrupted, match="without a checkpoint"):
        first.fit(train, epochs=4)


def test_a_crash_in_an_epoch_resumes_from_its_beginning(tmp_path):
    class Crash(Press):
        def __call__(self, output, target):
            self.seen += 1
            if self.seen == self.at:
                raise MemoryError
            return lamella.functional.cross_entropy(output, target)

    whole, train, valid = make()
    whole.fit(train, valid, epochs=3)
    first, train, valid = make(tmp_path / "c", loss=Crash(14))
    with pytest.raises(MemoryError):
        first.fit(train, valid, epochs=3)
    second, train, valid = make(tmp_path / "c")
    second.fit(train, valid, epochs=3, resume=True)
    assert_same(whole, second)


def test_early_stopping_restores_the_best_weights(tmp_path):
    class Script(Callback):
        def __init__(self):
            self.weights = []

        def on_epoch_end(self, trainer, record):
            record["figure"] = [3.0, 1.0, 2.0, 1.5, 1.2, 0.1][record["epoch"] - 1]
            self.weights.append(trainer.model.fc1.weight.data.copy())

    script, stopping = Script(), EarlyStopping("figure", patience=2)
    trainer, train, valid = make(callbacks=[script, stopping], schedule="none")
    trainer.fit(train, valid, epochs=6)
    assert trainer.epoch == 5 and "since epoch 2" in trainer.stopped and stopping.best == 1.0
    assert (trainer.model.fc1.weight.data == script.weights[1]).all()
    script, stopping = Script(), EarlyStopping("figure", patience=2)
    part, train, valid = make(tmp_path / "c", callbacks=[script, stopping], schedule="none")
    part.fit(train, valid, epochs=3)
    rest, train, valid = make(tmp_path / "c", callbacks=[Script(), EarlyStopping("figure", patience=2)], schedule="none", seed=9)
    rest.fit(train, valid, epochs=6, resume=True)
    assert rest.epoch == 5 and (rest.model.fc1.weight.data == trainer.model.fc1.weight.data).all()
    again, train, valid = make(tmp_path / "c", callbacks=[Script(), EarlyStopping("figure", patience=2)], schedule="none", seed=9)
    again.fit(train, valid, epochs=5, resume=True)
    assert (again.model.fc1.weight.data == trainer.model.fc1.weight.data).all()


def test_early_stopping_names_what_there_is():
    trainer, train, _ = make(callbacks=[EarlyStopping()])
    with pytest.raises(ValueError, match="no 'val_loss', only epoch, train_loss"):
        trainer.fit(train, epochs=1)
    for bad in ({"mode": "best"}, {"patience": -1}):
        with pytest.raises(ValueError, match="EarlyStopping"):
            EarlyStopping(**bad)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_stops_before_it_spoils_the_weights(tmp_path, value):
    x = X.copy()
    x[55, 0] = value
    trainer, _, valid = make(tmp_path / "c", schedule="none")
    train = DataLoader(TensorDataset(x, Y), 10)
    with pytest.raises(RuntimeError, match=r"nan in epoch 1, batch 6 \(learning rate 0.05\); lower the learning rate"):
        trainer.fit(train, epochs=3)
    assert all(np.isfinite(p.data).all() for p in trainer.model.parameters())


def test_checkpoints_of_other_trainings_are_refused(tmp_path):
    trainer, train, valid = make(tmp_path / "c")
    trainer.fit(train, valid, epochs=1)
    other = nn.Linear(6, 3)
    wrong = Trainer(other, optim.AdamW(other.parameters()), checkpoint=tmp_path / "c", progress="none")
    with pytest.raises(ValueError, match="expected a checkpoint of this training"):
        wrong.fit(train, epochs=2, resume=True)
    state = lamella.load(tmp_path / "c")
    for damage in (
        {"optimizer": {"state": None, "param_groups": state["optimizer"]["param_groups"]}},
        {"optimizer": {"state": {}, "param_groups": []}},
        {"history": None},
        {"random": [1]},
        {"loader": {"seed": 1}},
    ):
        lamella.save({**state, **damage}, tmp_path / "c")
        fresh, train, _ = make(tmp_path / "c")
        before, drawn = copy.deepcopy(fresh.model.state_dict()), lamella.get_rng_state()
        with pytest.raises(ValueError, match="expected a checkpoint of this training"):
            fresh.fit(train, epochs=2, resume=True)
        assert all(np.array_equal(before[name], value) for name, value in fresh.model.state_dict().items()), damage
        assert lamella.get_rng_state() == drawn and not fresh.history and not fresh.epoch
    lamella.save({"model": {}}, tmp_path / "c")
    with pytest.raises(ValueError, match="got another safetensors file"):
        trainer.fit(train, epochs=2, resume=True)
    (tmp_path / "c").write_bytes(b"")
    with pytest.raises(ValueError, match="empty file"):
        trainer.fit(train, epochs=2, resume=True)
    with pytest.raises(ValueError, match="needs Trainer"):
        make()[0].fit(train, resume=True)


def test_regression_has_no_accuracy():
    lamella.manual_seed(0)
    model = nn.Linear(6, 1)
    trainer = Trainer(model, optim.SGD(model.parameters(), lr=0.1), lamella.functional.mse_loss, progress="none")
    loader = DataLoader(TensorDataset(X, X[:, :1].copy()), 10)
    history = trainer.fit(loader, loader, epochs=3)
    assert set(trainer.evaluate(loader)) == {"loss"} and "train_accuracy" not in history[0] and history[-1]["val_loss"] < 0.1


def test_bad_arguments():
    trainer, train, _ = make()
    with pytest.raises(ValueError, match="at least one batch"):
        trainer.fit([], epochs=1)
    with pytest.raises(ValueError, match="at least one batch"):
        trainer.evaluate([])
    for whole in ((X, Y), X):
        with pytest.raises(TypeError, match=r"expected batches \(inputs, targets\), got ndarray of shape .*TensorDataset"):
            trainer.fit(whole)
    with pytest.raises(ValueError, match="inputs alone"):
        trainer.fit([(X,)])
    for optimizer in (trainer.optimizer, None):
        with pytest.raises(ValueError, match="expected an optimizer of this Linear's parameters"):
            Trainer(nn.Linear(6, 3), optimizer).fit(train)
    with pytest.raises(ValueError, match="schedule_per"):
        Trainer(trainer.model, trainer.optimizer, schedule_per="step")
    trainer.progress = "loud"
    with pytest.raises(ValueError, match="progress"):
        trainer.fit(train)


@pytest.mark.parametrize("mode", ["lines", "bar"])
def test_progress_says_what_matters(capsys, mode, monkeypatch):
    from lamella.train import progress

    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.0)
    trainer, train, valid = make()
    trainer.progress = mode
    trainer.fit(train, valid, epochs=2)
    out, err = capsys.readouterr()
    last = out.strip().splitlines()[-1]
    assert last.startswith("epoch 2/2   loss") and "accuracy" in last and "validation" in last and "images/s" in last
    assert "left" in (err if mode == "bar" else out)
    assert [progress.clock(s) for s in (3.4, 185, 3723)] == ["3 s", "3:05 min", "1:02:03 h"]


def test_metrics():
    labels = np.array([0, 1, 2, 2])
    assert confusion_matrix(labels, [0, 2, 2, 2], 4)[2].tolist() == [0, 0, 2, 0]
    assert confusion_matrix(labels, np.eye(3)[labels]).tolist() == np.diag([1, 1, 2]).tolist()
    assert np.isnan(accuracy(np.zeros((0, 3)), np.zeros(0, int)))
    for bad in (lambda: confusion_matrix([0, 5], [0, 1], 3), lambda: confusion_matrix([0], [0, 1]), lambda: accuracy([0], [0, 1])):
        with pytest.raises(ValueError, match="expected"):
            bad()


def test_pictures(tmp_path):
    history = [{"epoch": i, "train_loss": 1 / i, "train_accuracy": 0.5, "val_loss": 1.0, "lr": 0.1} for i in range(1, 4)]
    plots.plot_curves(history, tmp_path / "a.png", "title")
    plots.plot_curves(history[:1], tmp_path / "b.png")
    plots.plot_confusion(np.eye(3, dtype=int) * 4, ["a", "b", "c"], tmp_path / "c.png")
    for shape in ((6, 1, 5, 5), (3, 3, 3, 3), (70, 2, 3, 3), (1, 1, 28, 28)):
        plots.plot_filters(rng.normal(size=shape), tmp_path / "d.png")
        assert (tmp_path / "d.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ValueError, match="plot_filters"):
        plots.plot_filters(np.zeros((3, 4)))
