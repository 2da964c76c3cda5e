"""The command: every sub-command, model and error, on tiny sizes."""

import csv
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import lamella
from lamella.cli import main
from lamella.data import datasets

TINY = ["--limit", "40", "--epochs", "2", "--batch-size", "10", "--quiet"]
FAST = [*TINY, "--no-pictures"]


def read(path):
    return json.loads(Path(path).read_text())


@pytest.fixture(autouse=True)
def clean_state(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads, backend = lamella.get_num_threads(), lamella.get_backend()
    yield
    lamella.set_num_threads(threads)
    lamella.use_backend(backend)


def fails(capsys, *argv):
    """The one line on stderr."""
    try:
        status = main([str(a) for a in argv])
    except SystemExit as stop:
        status = stop.code
    out, err = capsys.readouterr()
    assert status == 2 and err.count("\n") == 1, (status, out, err)
    return err


@pytest.mark.parametrize("model", ["mlp", "lenet", "vgg-small", "resnet8", "resnet20"])
def test_train_and_predict(tmp_path, capsys, model):
    assert main(["train", "--model", model, "--out", "run", "--threads", "1", *TINY]) == 0
    assert "test accuracy" in capsys.readouterr().out
    files = {
        "metrics.json",
        "history.csv",
        "curves.png",
        "confusion.png",
        "filters.png",
        "model.safetensors",
        "checkpoint.safetensors",
        "config.json",
    }
    assert set(os.listdir("run")) == files
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert {"test_accuracy", "test_loss", "train_seconds", "epochs", "images_per_second", "history", "config"} <= set(metrics)
    assert metrics["epochs"] == 2 and metrics["config"]["options"]["model"] == model
    rows = list(csv.DictReader((tmp_path / "run/history.csv").read_text().splitlines()))
    assert [float(r["train_loss"]) for r in rows] == [h["train_loss"] for h in metrics["history"]]

    test = datasets.EmbeddedFashionMNIST(False, None)
    np.save("batch.npy", test.images[:40])
    assert main(["predict", "run/model.safetensors", "batch.npy", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    right = [max(f["probabilities"], key=f["probabilities"].get) == test.classes[y] for f, y in zip(found, test.labels)]
    assert np.mean(right) == metrics["test_accuracy"] and abs(sum(found[0]["probabilities"].values()) - 1) < 1e-5


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    assert main(["train", "--model", "mlp", "--out", str(out), *FAST]) == 0
    return out / "model.safetensors"


def probabilities(capsys, *argv):
    assert main(["predict", "--json", *map(str, argv)]) == 0
    out, err = capsys.readouterr()
    return [list(entry["probabilities"].values()) for entry in json.loads(out)], err


def test_pictures_and_arrays_agree(trained, tmp_path, capsys):
    image = pytest.importorskip("PIL.Image")
    pixels = datasets.EmbeddedFashionMNIST(False, None).images[0, 0]
    np.save("a.npy", pixels)
    np.save("b.npy", (pixels / 255).astype(np.float32)[None])
    np.save("c.npy", (255 - pixels)[None, None])
    image.fromarray(pixels).save("a.png")
    image.fromarray(pixels).convert("RGB").save("rgb.png")
    image.fromarray(pixels.astype(np.uint16) * 257).save("deep.png")
    image.fromarray(np.dstack([np.full((28, 28, 3), 255, np.uint8), pixels])).save("alpha.png")
    image.fromarray(255 - pixels).save("negative.png")
    image.fromarray(pixels).resize((56, 56)).save("big.jpg", quality=95)
    (expected,), _ = probabilities(capsys, trained, "a.npy")
    for name in ("b.npy", "a.png", "rgb.png", "deep.png", "alpha.png"):
        (got,), _ = probabilities(capsys, trained, name)
        assert np.allclose(got, expected, atol=1e-5), name
    for name in ("c.npy", "negative.png"):
        (got,), _ = probabilities(capsys, trained, name, "--invert")
        assert np.allclose(got, expected, atol=1e-5), name
    (got,), _ = probabilities(capsys, trained, "big.jpg")
    assert np.abs(np.subtract(got, expected)).max() < 0.2
    assert "--invert" in probabilities(capsys, trained, "negative.png")[1]
    assert main(["predict", str(trained), "a.png", "b.npy", "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].startswith("a.png: ") and lines[0].count(",") == 1


def test_predict_errors(trained, tmp_path, capsys):
    np.save("size.npy", np.zeros((2, 1, 32, 32), np.uint8))
    np.save("range.npy", np.full((1, 28, 28), 200.0))
    np.save("ints.npy", np.zeros((1, 28, 28), np.int64))
    np.save("objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez("many.npz", a=np.zeros(3))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "size.npy").read_bytes()[:200])
    (tmp_path / "text.png").write_text("no picture")
    expected = {
        "size.npy": "(N, 1, 28, 28), as the model was trained on, got (2, 1, 32, 32)",
        "range.npy": "between 0 and 1, got 0 to 200",
        "ints.npy": "got int64",
        "objects.npy": "expected an .npy file of numbers",
        "many.npz": ".npz archive",
        "cut.npy": "damaged or foreign",
        "text.png": "expected a picture",
        "missing.png": "No such file",
    }
    for name, message in expected.items():
        error = fails(capsys, "predict", trained, name)
        assert message in error and name in error
    (tmp_path / "cut.safetensors").write_bytes(trained.read_bytes()[:-10])
    assert "expected a safetensors file" in fails(capsys, "predict", "cut.safetensors", "size.npy")
    assert "No such file" in fails(capsys, "predict", "none.safetensors", "size.npy")
    assert "use lamella.load" in fails(capsys, "predict", trained.with_name("checkpoint.safetensors"), "size.npy")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "required"),
        (["fly"], "invalid choice"),
        (["train", "--epochs", "0"], "--epochs: expected a positive integer, got '0'"),
        (["train", "--lr", "nan"], "--lr: expected a positive number"),
        (["train", "--lr", "inf"], "--lr"),
        (["train", "--model", "vit"], "invalid choice: 'vit'"),
        (["train", "--data", "nothing-here"], "expected embedded, fashion-mnist, mnist or a folder"),
        (["train", "--data", "."], "expected train-images-idx3-ubyte"),
        (["train", "--resume", "nothing-here"], "--resume: expected a folder"),
        (["train", "--threads", "-1"], "--threads"),
        (["train", "--backend", "cuda"], "invalid choice"),
        (["train", "--optimizer", "sgd", "--lr", "1e30", "--limit", "40", "--quiet"], "the loss became"),
        (["train", "extra"], "unrecognized"),
        (["train", "--patience", "1", "--limit", "1"], "--patience needs a tenth of the training images"),
        (["predict"], "required"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_errors(capsys, argv, message):
    assert message in fails(capsys, *argv)


def test_resuming_a_finished_or_damaged_run(tmp_path, capsys):
    assert main(["train", "--model", "mlp", "--out", "r", *FAST]) == 0
    assert main(["train", "--resume", "r", "--quiet", "--model", "mlp"]) == 0  # finished: evaluated again
    (tmp_path / "r/config.json").write_text("{")
    assert "config.json: expected the options" in fails(capsys, "train", "--resume", "r")


def test_traceback(capsys):
    with pytest.raises(ValueError, match="nothing-here"):
        main(["train", "--data", "nothing-here", "--traceback"])


def test_damaged_data(tmp_path, capsys):
    folder = tmp_path / "data"
    folder.mkdir()
    source = Path(lamella.data.__file__).parent / "embedded"
    for path in source.glob("*.gz"):
        (folder / path.name).write_bytes(path.read_bytes()[:-20])
    error = fails(capsys, "train", "--data", folder)
    assert "train-images-idx3-ubyte.gz: expected a whole gzip file" in error and "fetch it again" in error


@pytest.mark.parametrize("schedule", ["cosine", "step", "plateau", "none"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_options(schedule, optimizer):
    argv = [
        "train",
        "--model",
        "mlp",
        "--schedule",
        schedule,
        "--optimizer",
        optimizer,
        "--lr",
        "0.01",
        "--workers",
        "1",
        "--out",
        "r",
        *FAST,
    ]
    assert main(argv) == 0
    history = read("r/metrics.json")["history"]
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_backends_learn_the_same_curve():
    pytest.importorskip("numba")
    losses = {}
    for backend in ("cython", "numba", "reference"):
        assert main(["train", "--backend", backend, "--out", backend, *FAST, "--epochs", "1"]) == 0
        losses[backend] = [h["train_loss"] for h in read(f"{backend}/metrics.json")["history"]]
    assert np.allclose(losses["cython"], losses["reference"], rtol=1e-3) and np.allclose(losses["numba"], losses["reference"], rtol=1e-3)


def test_patience_keeps_validation_images_apart(capsys):
    assert (
        main(
            [
                "train",
                "--model",
                "mlp",
                "--patience",
                "0",
                "--limit",
                "200",
                "--epochs",
                "50",
                "--lr",
                "0.05",
                "--schedule",
                "none",
                "--no-pictures",
                "--out",
                "r",
            ]
        )
        == 0
    )
    out = capsys.readouterr().out
    metrics = read("r/metrics.json")
    assert "180 training" in out and metrics["epochs"] < 50 and "val_loss has not improved" in metrics["stopped"] and "stopped after" in out


def test_quiet_prints_the_last_line_only(tmp_path, capsys):
    options = ["train", "--model", "mlp", "--limit", "64", "--epochs", "1", "--no-pictures"]
    assert main([*options, "--quiet", "--out", str(tmp_path / "quiet")]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("test accuracy 0.")
    assert main([*options, "--out", str(tmp_path / "loud")]) == 0
    assert any(
        line.startswith(("under-fitting: ", "over-fitting: ", "both: ", "good fit: ")) for line in capsys.readouterr().out.splitlines()
    )


def test_lr_find(tmp_path, capsys):
    """The suggestion is a tenth of where the loss rises, repeats, and trains: its picture is drawn."""
    options = ["--model", "mlp", "--limit", "640", "--steps", "60", "--seed", "3"]
    assert main(["lr-find", *options, "--plot", str(tmp_path / "lr.png")]) == 0
    found = re.fullmatch(
        r"the loss falls fastest at (\S+) and rises from (\S+) on; suggestion: --lr (\S+)\n.*lr.png\n", capsys.readouterr().out
    )
    steepest, rises, suggestion = map(float, found.groups())
    assert steepest <= rises and suggestion == pytest.approx(rises / 10, rel=0.1) and 1e-5 < suggestion < 1
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")
    assert main(["lr-find", *options]) == 0
    assert f"--lr {found[3]}\n" in capsys.readouterr().out
    assert main(["lr-find", *options, "--start", "1", "--end", "0.1"]) == 2
    assert "expected 0 < start < end" in capsys.readouterr().err


def test_default_folder_and_same_seed():
    for seed in ("1", "1", "2"):
        assert main(["train", "--model", "mlp", "--seed", seed, *FAST]) == 0
    a, b, c = (
        read(f"runs/{name}/metrics.json")["test_loss"] for name in sorted(os.listdir("runs"), key=lambda n: os.stat(f"runs/{n}").st_mtime)
    )
    assert a == b != c


def test_interrupt_and_resume_as_a_user_does(tmp_path, capsys):
    argv = ["train", "--model", "mlp", "--epochs", "8", "--batch-size", "10", "--limit", "600", "--workers", "1", "--no-pictures"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command, pipe = [sys.executable, "-m", "lamella", *argv, "--out", "a"], subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        for line in process.stdout:
            if line.startswith("epoch 2/"):
                break
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err, err
    assert "interrupted in epoch" in err and "lamella train --resume a" in err
    assert "interrupted run; go on with --resume" in fails(capsys, *argv, "--out", "a")
    assert "keeps its options" in fails(capsys, "train", "--resume", "a", "--lr", "0.1")
    assert main(["train", "--resume", "a", "--quiet", "--threads", "1"]) == 0
    assert main([*argv, "--out", "b", "--quiet"]) == 0
    a, b = (read(f"{name}/metrics.json") for name in "ab")
    assert a["test_loss"] == b["test_loss"] and [h["train_loss"] for h in a["history"]] == [h["train_loss"] for h in b["history"]]
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


def test_info_and_help(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert lamella.__version__ in out and "instruction set" in out and np.__version__ in out
    assert main(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["threads"] == lamella.get_num_threads()
    for argv in (["--help"], ["train", "--help"], ["predict", "--help"], ["warmup", "--help"], ["check", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as stop:
            main(argv)
        assert stop.value.code == 0
    assert "resnet20" in capsys.readouterr().out


def test_check_is_handed_on(capsys):
    assert main(["check", "--operation", "activation", "--backend", "reference", "--quick"]) == 0
    assert "activation" in capsys.readouterr().out


def test_help_is_quick_and_light():
    code = "import sys; from lamella.cli import main\ntry: main(['train', '--help'])\nexcept SystemExit: pass\nprint(*sys.modules, file=sys.stderr)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr.split()
    assert not {"numba", "matplotlib", "tqdm", "pooch", "PIL", "torch"} & set(modules)


def test_warmup_compiles_once(tmp_path):
    pytest.importorskip("numba")
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "lamella", "warmup", "--model", "mlp", "--batch-size", "4"]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout for _ in range(2))
    (made,) = re.findall(r"^(\d+) functions compiled in [\d.]+ s, 0 from the cache", first, re.M)
    assert int(made) > 5 and "gemm.nb_packed.block_task" in first
    assert f"0 functions compiled in 0.0 s, {made} from the cache" in second


def test_training_without_matplotlib(tmp_path, capsys, monkeypatch):
    """As with `pip install lamella` alone: everything but the pictures."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "matplotlib" else find(name, *rest))
    assert main(["train", "--model", "mlp", "--out", "run", *TINY]) == 0
    assert "no pictures, which Matplotlib draws; run: pip install 'lamella[train]'" in capsys.readouterr().err
    assert read("run/metrics.json")["epochs"] == 2
    with pytest.raises(RuntimeError, match="pip install"):
        lamella.train.plots.plot_curves([{"epoch": 1, "train_loss": 2.0, "lr": 0.1}])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["bench", "--plot", "roofline.nope"], "such as roofline.png"),
        (["bench", "--plot", "nothing/roofline.png"], "there is no folder nothing"),
        (["bench", "--json", "nothing/b.json"], "there is no folder nothing"),
        (["lr-find", "--plot", "lr.nope"], "such as lr.png"),
        (["tune", "mlp", "--out", "nothing/t.json"], "there is no folder nothing"),
        (["tune", "resnet99"], "expected one of mlp, lenet, vgg-small, resnet8, resnet20, or a saved model, got 'resnet99'"),
    ],
)
def test_what_cannot_be_written_is_said_before_measuring(capsys, monkeypatch, argv, message):
    def measure(*_, **__):
        raise AssertionError("measured first")

    monkeypatch.setattr("lamella.bench._limits", measure)
    monkeypatch.setattr("lamella.tuning.tune", measure)
    monkeypatch.setattr("lamella.train.find_lr", measure)
    assert message in fails(capsys, *argv)


def test_check_reports_as_the_other_commands(capsys, monkeypatch):
    assert "unrecognized arguments: --nope" in fails(capsys, "check", "--nope")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lamella.testing.selfcheck.main", interrupted)
    assert main(["check"]) == 130
    assert "lamella check: interrupted" in capsys.readouterr().err


def test_check_includes_registered_kernels(capsys):
    def my_copy(p, x, out, scratch):
        np.copyto(out, x.transpose(0, 2, 1))

    lamella.register_kernel("reorder", "forward", my_copy)
    try:
        assert main(["check", "--operation", "reorder", "--quick"]) == 0
        assert re.search(r"my_copy: \d+ ok", capsys.readouterr().out)
        assert main(["check", "--operation", "reorder", "--quick", "--backend", "reference"]) == 0
        assert "my_copy" not in capsys.readouterr().out
    finally:
        lamella.unregister_kernel("reorder", "my_copy")
