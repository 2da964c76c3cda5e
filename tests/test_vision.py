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
