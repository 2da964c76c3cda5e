"""Detectors: files, wrong input, backends."""

import numpy as np
import pytest

import lamella
from lamella import vision

STUMP = {"nodes": [[0, 0, -1]], "thresholds": [0.2], "leaves": [0, 1], "trees": [0, 1], "stages": [0, 1], "limits": [0.5]}
XML = """<?xml version="1.0"?>{doctype}
<opencv_storage><cascade type_id="opencv-cascade-classifier"><stageType>BOOST</stageType><featureType>{kind}</featureType>
<height>24</height><width>24</width><stages><_><maxWeakCount>1</maxWeakCount><stageThreshold>5.0e-01</stageThreshold><weakClassifiers>
<_><internalNodes>0 -1 {feature} 2.0e-01</internalNodes><leafValues>0. 1.</leafValues></_></weakClassifiers></_></stages>
<features><_><rects><_>{x} 0 24 24 -1.</_><_>12 0 12 24 2.</_></rects></_></features></cascade></opencv_storage>"""


def detector():
    edge = vision.haar_features(24, 24, ["edge_vertical"])[[40000]]
    return vision.CascadeClassifier(24, 24, edge.rectangles, edge.weights, edge.tilted, **STUMP)


def scene():
    image = np.random.default_rng(0).integers(0, 30, (50, 70)).astype(np.uint8)
    image[:, 30:] += 180
    return image


def test_save_and_load(tmp_path):
    detector().save(tmp_path / "a.safetensors")
    again = vision.CascadeClassifier.load(tmp_path / "a.safetensors")
    assert repr(again) == "CascadeClassifier(24 x 24, 1 stages, 1 trees, 1 features)"
    for name, value in detector().state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], value)
    lamella.save({"a": 1}, tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="expected a file of CascadeClassifier.save"):
        vision.CascadeClassifier.load(tmp_path / "b.safetensors")


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_backends_agree(backend):
    if backend == "numba":
        pytest.importorskip("numba")
    want = detector().detect(scene(), 1.2, 0)
    assert len(want)
    with lamella.use_backend(backend):
        np.testing.assert_array_equal(detector().detect(scene(), 1.2, 0), want)


def test_xml(tmp_path):
    def load(**changes):
        path = tmp_path / "a.xml"
        path.write_text(XML.format(**{"doctype": "", "kind": "HAAR", "feature": 0, "x": 0, **changes}))
        return vision.CascadeClassifier.load(path)

    assert len(load().detect(scene(), 1.2, 0))
    for changes, message in (
        ({"doctype": '<!DOCTYPE a [<!ENTITY b "c">]>'}, "document type or entities are refused"),
        ({"kind": "LBP"}, "LBP and HOG cascades are not read"),
        ({"feature": 1}, "a node asks for a feature that is not one of the 1"),
        ({"x": 23}, "a rectangle is not inside the window of 24 x 24"),
        ({"x": "<_>" * 40 + "</_>" * 40}, "nested more than 32 deep"),
        ({"x": "one"}, "invalid literal"),
        ({"kind": "HAAR</a>"}, "not well-formed XML"),
    ):
        with pytest.raises(ValueError, match=message):
            load(**changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodes": [[0, 1, -1]]}, "leads to no node after it"),
        ({"nodes": [[0, 0, -2]]}, "leads to no node after it"),
        ({"trees": [0, 2]}, "expected leaves|trees must rise"),
        ({"stages": [0]}, "no features or no stages|limits"),
        ({"leaves": [0, np.nan]}, "not finite"),
        ({"width": 2}, "expected a window of 3"),
    ],
)
def test_arrays_that_do_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        vision.CascadeClassifier(**{**detector().state_dict(), **change})


def test_wrong_input():
    with pytest.raises(TypeError, match="expected an image of uint8, got float64"):
        detector().detect(np.zeros((50, 50)))
    with pytest.raises(ValueError, match="scale_factor above 1"):
        detector().detect(scene(), 1.0)
    with pytest.raises(TypeError, match="pixels of uint8, float32 or float64, got int64"):
        vision.integral_image(np.zeros((2, 2), np.int64))
    assert detector().detect(np.zeros((10, 10), np.uint8)).shape == (0, 4)
    with pytest.raises(ValueError, match="expected 1 scores"):
        vision.non_maximum_suppression([[0, 0, 1, 1]], [])


def test_brightness_and_contrast_do_not_count():
    image = scene() // 2
    np.testing.assert_array_equal(detector().detect(image + 40, 1.2, 0), detector().detect(image, 1.2, 0))


# Training


def training_data(size=12):
    """Squares that are brighter than their surroundings, and noise."""
    rng = np.random.default_rng(1)
    objects = rng.integers(0, 120, (60, size, size)).astype(np.uint8)
    objects[:, 3:9, 3:9] += 80
    return objects, [rng.integers(0, 256, (50, 70)).astype(np.uint8), rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)]


def trained(**options):
    objects, photographs = training_data()
    given = {"features": vision.haar_features(12, 12, step=2), "stages": 4, "false_positive_rate": 0.3, "max_negatives": 300, **options}
    return vision.CascadeClassifier.fit(objects, photographs, **given)


def test_boosting_by_hand():
    """The rounds of AdaBoost, one threshold after the other in plain Python."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, (30, 7)).astype(np.float64), rng.integers(0, 2, 30)
    weight = np.where(y == 1, 0.5 / (y == 1).sum(), 0.5 / (y == 0).sum())
    model = vision.AdaBoost(5).fit(x, y)
    for feature, threshold, sign, vote in zip(model.features_, model.thresholds_, model.signs_, model.votes_):
        errors = {
            (f, t, s): weight[((x[:, f] < t) == (s > 0)) != y].sum() for f in range(7) for t in np.arange(0.5, 5) for s in (1, -1)
        }  # fmt: skip
        error = min(errors.values())
        assert errors[feature, threshold, sign] == pytest.approx(error)
        assert vote == pytest.approx(np.log((1 - error) / error))
        right = ((x[:, feature] < threshold) == (sign > 0)) == y
        weight = np.where(right, weight * error / (1 - error), weight)
        weight /= weight.sum()


@pytest.mark.parametrize("backend", ["cython", "numba", "reference"])
def test_boosting_is_the_same_in_any_memory_on_any_backend(backend, monkeypatch):
    if backend == "numba":
        pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 50, (40, 90)).astype(np.float32), rng.integers(0, 2, 40)
    want = vision.AdaBoost(6).fit(x, y)
    monkeypatch.setattr(vision.stumps, "BLOCK", 40 * 7)
    with lamella.use_backend(backend):
        for memory in (0, 2 * 40 * 7 * 3, 1 << 30):
            got = vision.AdaBoost(6, memory).fit(x, y)
            for name in ("features_", "thresholds_", "signs_", "votes_"):
                np.testing.assert_array_equal(getattr(got, name), getattr(want, name))


def test_a_threshold_between_neighbouring_numbers():
    low = np.float32(1)
    high = np.nextafter(low, np.float32(2))
    for y in ([0, 1], [1, 0]):
        assert vision.AdaBoost(1).fit(np.array([[low], [high]]), y).score(np.array([[low], [high]]), y) == 1


def test_a_cascade_does_what_its_history_says(tmp_path):
    seen = []
    cascade = trained(progress=seen.append)
    objects, photographs = training_data()
    assert cascade.history == seen
    assert len(cascade.history) == len(cascade) > 1
    assert sum(stage.trees for stage in seen) == len(cascade.state_dict()["trees"]) - 1
    assert cascade.predict(objects).mean() == seen[-1].detection_rate >= 0.995 ** len(seen)
    assert all(stage.false_positive_rate <= 0.3 for stage in seen)
    assert [stage.mistaken for stage in seen] == sorted([stage.mistaken for stage in seen], reverse=True)
    reached, _ = cascade.windows(photographs[0])
    windows = np.lib.stride_tricks.sliding_window_view(photographs[0], (12, 12)).reshape(-1, 12, 12)
    np.testing.assert_array_equal(cascade.predict(windows), reached.ravel() == len(cascade))
    cascade.save(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(vision.CascadeClassifier.load(tmp_path / "a.safetensors").predict(windows), cascade.predict(windows))


def test_training_repeats_with_its_seed():
    threads = lamella.get_num_threads()
    want = trained(seed=3).state_dict()
    try:
        lamella.set_num_threads(1)
        again = trained(seed=3, memory=0).state_dict()
    finally:
        lamella.set_num_threads(threads)
    for name, value in want.items():
        np.testing.assert_array_equal(again[name], value)
    assert any(not np.array_equal(value, want[name]) for name, value in trained(seed=4).state_dict().items())


def test_training_ends_when_no_negatives_remain():
    objects, _ = training_data()
    flat = np.full((30, 12, 12), 7, np.uint8)
    dark = (np.random.default_rng(0).integers(0, 2, (50, 12, 12)) * 100).astype(np.uint8)
    cascade = vision.CascadeClassifier.fit(objects, negatives=np.concatenate([dark, flat]), features=vision.haar_features(12, 12, step=2))
    assert len(cascade) < 10
    assert cascade.history[0].negatives == 50  # those that are too flat never get to a stage
    assert not cascade.predict(dark).any()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"objects": np.zeros((3, 12, 12))}, TypeError, "objects of uint8, got float64"),
        ({"objects": np.zeros((0, 12, 12), np.uint8)}, ValueError, r"objects \(N, height, width\)"),
        ({"objects": np.zeros((5, 12, 12), np.uint8)}, ValueError, "all objects are too flat"),
        ({"negatives": np.zeros((3, 12, 13), np.uint8)}, ValueError, r"size of the objects, \(12, 12\), got \(12, 13\)"),
        ({"features": vision.haar_features(24, 24, ["checker"])}, ValueError, "features of windows of the objects' size"),
        ({"photographs": [np.zeros((11, 90), np.uint8)]}, ValueError, "photographs of at least .12, 12.; got 1, all smaller"),
        ({"photographs": []}, ValueError, "nothing to learn from"),
        ({"photographs": [np.zeros((30, 30))]}, TypeError, "expected an image of uint8, got float64"),
        ({"photographs": [np.zeros((30, 30), np.uint8)]}, ValueError, "no stage tells any negative"),
        ({"detection_rate": 1.5}, ValueError, "detection_rate between 0 and 1, got 1.5"),
        ({"false_positive_rate": 1.0}, ValueError, "false_positive_rate between 0 and 1"),
        ({"scale_factor": 1.0}, ValueError, "scale_factor above 1"),
        ({"stages": 0}, ValueError, "stages, max_trees and max_negatives of at least 1"),
    ],
)
def test_training_on_wrong_input(change, error, message):
    objects, photographs = training_data()
    given = {"objects": objects, "photographs": photographs, "features": vision.haar_features(12, 12, step=2), **change}
    with pytest.raises(error, match=message):
        vision.CascadeClassifier.fit(**given)
