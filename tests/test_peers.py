"""The comparison with other libraries: it measures, and notices when two libraries compute different things."""

import re
import sys

import numpy as np
import pytest

import lamella
from lamella import bench
from lamella.testing.peers import onnx, race, report, suites, worker
from lamella.testing.peers.cases import Case, conv, noise
from lamella.testing.peers.suites import BARS, SUITES, Bar


@pytest.fixture(autouse=True)
def settings():
    backend, threads = lamella.get_backend(), lamella.get_num_threads()
    yield
    lamella.use_backend(backend)
    lamella.set_num_threads(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_grad_enabled(True)


SMALL = {
    "5x5 1-6@28 b1 forward": "conv-lenet",
    "relu of 16": "overhead",
    "train b128 64@8 backward": "batchnorm",
    "softmax 128x10 backward": "softmax",
    "SGD momentum resnet20": "optimizer",
}


def test_every_bar_has_rows():
    assert set(BARS) <= set(SUITES)
    for suite, bars in BARS.items():
        for bar in bars:
            assert any(bar.of(name) for name in SUITES[suite]()), f"{suite}: {bar.rows}"


def test_brief_cases_exist():
    assert set(bench.BRIEF) <= set(SUITES)
    for suite, pattern in bench.BRIEF.items():
        assert any(re.search(pattern, name) for name in SUITES[suite]()), suite


@pytest.mark.oracle
@pytest.mark.parametrize(("name", "suite"), SMALL.items())
def test_pytorch_is_asked_for_the_same(name, suite):
    pytest.importorskip("torch")
    case = SUITES[suite]()[name]
    ours = worker.samples(worker.Lamella("cython", 2).bind(case))
    for how in ("contiguous", "channels_last"):
        race._same(name, "PyTorch", worker.samples(worker.Torch(how, 2).bind(case)), ours)


@pytest.mark.parametrize("name", ["5x5 1-6@28 b1 forward", "max 2x2 b64 6@28 forward", "64x64x64", "softmax 128x10 forward"])
def test_onnx_runtime_is_asked_for_the_same(name):
    pytest.importorskip("onnxruntime")
    case = next(cases[name] for suite in SUITES.values() if name in (cases := suite()))
    ours, theirs = worker.Lamella("cython", 2), worker.OnnxRuntime("", 1)
    race._same(name, "ONNX Runtime", worker.samples(theirs.bind(case)), worker.samples(ours.bind(case)))


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["integral tilted uint8 512x512", "integral squared float32 512x512", "detect license_plate_rus_16stages"])
def test_opencv_is_asked_for_the_same(name):
    pytest.importorskip("cv2")
    case = SUITES["vision"]()[name]
    ours, theirs = (worker.samples(library.bind(case)) for library in (worker.Lamella("cython", 2), worker.OpenCV("", 1)))
    race._same(name, "OpenCV", theirs, ours)
    assert worker.NumPy("", 1).bind(case) is None


def test_onnx_bytes():
    assert onnx._varint(300) == b"\xac\x02"
    assert onnx._field(1, "ab") == b"\x0a\x02ab"
    model = onnx.model("Relu", {"alpha": 0.5, "axis": -1, "pads": [1, 2]}, [np.ones((2, 3), np.float32)], (), (2, 3))
    assert b"Relu" in model
    assert b"alpha" in model


def test_race_of_one():
    with race.together([race.US], 2) as peers:
        row = race.compare("conv-lenet", "5x5 1-6@28 b1 forward", peers, 3, 1e-4)
        tiny = race.compare("denormal", "relu 2M", peers, 1, 1e-4)
    assert len(row["times"][race.US]) == 3
    assert 0 < row["peak"] < 2
    assert row["best"] is None
    assert tiny["best"] == race.ORDINARY
    assert "relu 2M" in report.line(tiny, [race.ORDINARY])
    assert "| denormal |" in report.summary([row, tiny])


def test_a_difference_is_noticed():
    x = noise((3, 4))
    wrong = x.copy()
    wrong[1, 2] += 1
    with pytest.raises(RuntimeError, match="computes something else"):
        race._same("a case", "other", worker.samples(lambda: wrong), worker.samples(lambda: x))
    with pytest.raises(RuntimeError, match="computes something else"):
        race._same("a case", "other", worker.samples(lambda: x.T), worker.samples(lambda: x))


def rows(*speeds):
    return [
        {"suite": "pool", "threads": 1, "case": f"case {i}", "flops": 0.0, "bytes": 1e8, "memory": True, "times": {race.US: [1.0]}, "peak": 0.0,
         "copy": 0.5 * s, "ratios": {"torch:contiguous": (s, s * 0.9, s * 1.1), race.NUMBA: (2.0, 2.0, 2.0)}, "hopeless": [],
         "best": "torch:contiguous"}
        for i, s in enumerate(speeds)
    ]  # fmt: skip


def test_verdicts():
    found = {v["figure"]: v for v in report.verdicts(rows(1.0, 4.0))}
    assert found["mean"]["value"] == pytest.approx(2)
    assert found["mean"]["met"]
    assert (found["least"]["value"], found["least"]["least case"], found["least"]["met"]) == (pytest.approx(0.9), "case 0", False)
    assert found["copy"]["value"] == 0.5
    assert found["numba"]["value"] == 0.5
    assert report.figure(Bar("mean", 1, "nowhere"), rows(1.0)) is None
    assert report.figure(Bar("mean", 1, against=("numpy",)), rows(1.0)) is None
    assert "**missed**" in report.summary(rows(1.0, 4.0))


def test_median_interval():
    assert race.median_interval([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    assert race.median_interval([float(i) for i in range(9)]) == (4.0, 1.0, 7.0)


def test_cases_count_what_they_compute():
    case = conv(2, 3, 8, 4, 3, stride=2)
    p = lamella.problems.Conv2dProblem.of((2, 3, 8, 8), (4, 3, 3, 3), np.dtype("float32"), False, (2, 2), (1, 1))
    assert (case.flops, case.bytes) == (p.flops, p.bytes)
    assert isinstance(case, Case)
    assert sum(int(np.prod(s)) for s in suites.RESNET18) == 11_689_512
    assert sum(int(np.prod(s)) for s in suites.RESNET20) == 272_474


def test_bench(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(bench, "PEERS", (race.US, "numpy:"))
    monkeypatch.setattr(bench, "BRIEF", {"gemm-small": "^64x64x64$", "pool": "max 2x2 b64"})
    found = bench.run(threads=1, quick=True, json_file=tmp_path / "b.json", plot_file=tmp_path / "b.png")
    assert [row["case"] for row in found] == ["max 2x2 b64 6@28 forward", "max 2x2 b64 6@28 backward"]  # --quick leaves 64x64x64 out
    assert (tmp_path / "b.png").read_bytes()[:4] == b"\x89PNG"
    assert "FMA peak" in capsys.readouterr().out


def test_a_roofline_holds_any_choice_of_suites(tmp_path, monkeypatch):
    """Suites without arithmetic or bytes have no place in it; none is left out for want of colours."""
    pytest.importorskip("matplotlib")
    labels = []
    finish = bench.plots.finish
    monkeypatch.setattr(
        bench.plots,
        "finish",
        lambda figure, path: labels.append([c.get_label() for c in figure.axes[0].collections]) or finish(figure, path),
    )
    times = {race.US: [1e-3]}
    rows = [{"suite": name, "flops": 1e6, "bytes": 1e6, "times": times} for name in SUITES]
    rows[0] = {**rows[0], "bytes": 0}
    bench.draw(rows, {"peak": 1e11, "bandwidth": 1e10}, "all", tmp_path / "all.png")
    bench.draw(rows[:1], {"peak": 1e11, "bandwidth": 1e10}, "none", tmp_path / "none.svg")
    assert labels == [[name for name in list(SUITES)[1:] if name != "overhead"], []]


@pytest.mark.parametrize("name", ["1x28x28 b64 flip, crop, cutout", "3x32x32 b64 flip, rotate, zoom, move, brightness, contrast, cutout"])
def test_numpy_and_scipy_augment_alike(name):
    case = SUITES["augmentation"]()[name]
    race._same(name, "NumPy", worker.samples(worker.NumPy("", 1).bind(case)), worker.samples(worker.Lamella("cython", 1).bind(case)))
