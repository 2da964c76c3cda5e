"""Worked examples that belong to no section of their own: G-12, G-13, G-15, G-19."""

import numpy as np
import pytest

from lamella import functional as F
from lamella import nn
from lamella.data import datasets
from lamella.data.transforms import ToFloat


@pytest.mark.course("G-12")
def test_softmax_of_three_scores():
    """Printed: [0.8360188, 0.11314284, 0.05083836]."""
    scores = np.array([3.0, 1.0, 0.2])
    np.testing.assert_array_equal(np.round(F.softmax(scores, 0), 8), [0.8360188, 0.11314284, 0.05083836])
    np.testing.assert_array_equal(np.round(nn.Softmax(0)(scores), 8), [0.8360188, 0.11314284, 0.05083836])


W = np.array([[0.2, -0.5, 0.1, 0.2], [0.4, 0.3, 0.1, 0.0], [0.0, 0.25, 0.2, -0.3]])
X = np.array([152.0, 203.0, 14.0, 75.0])


@pytest.mark.course("G-13")
def test_linear_scores_and_a_denormal_probability():
    """The printed scores are W x, without the b beside it (which has four entries for three rows, E-14)."""
    np.testing.assert_allclose(F.linear(X, W), [-54.7, 123.1, 31.05], rtol=1e-14)
    np.testing.assert_allclose(F.linear(X, W, np.array([0.01, 0.03, 0.09])), [-54.69, 123.13, 31.14], rtol=1e-14)
    p = F.softmax(F.linear(X, W), 0)
    np.testing.assert_allclose(p, [6.05956038e-78, 1.0, 1.05485543e-40], rtol=1e-8)
    # in float32 the first underflows, and the third is a denormal, which kernels flush to zero; NumPy goes on computing with denormals
    np.testing.assert_array_equal(F.softmax(np.array([-54.7, 123.1, 31.05], np.float32), 0), [0, 1, 0])
    assert np.float32(1.05485543e-40) * np.float32(1) > 0


@pytest.mark.course("G-15")
def test_whitening_map():
    """[A' B'] = [A B] W + b: [10, 1] -> [-0.34, 0.09], [0, 0] -> [-1.45, 0.12]."""
    w, b = np.array([[0.05, 0.12], [0.61, -1.23]]), np.array([-1.45, 0.12])
    out = F.linear(np.array([[10.0, 1.0], [0.0, 0.0]]), w.T, b)
    np.testing.assert_allclose(out, [[-0.34, 0.09], [-1.45, 0.12]], atol=1e-14)


@pytest.mark.course("G-19")
def test_image_tensor(tmp_path):
    """Pixels [78, 75, 66], [77, 74, 65], [72, 69, 62] of an H x W x 3 picture, to float32 in (N, C, H, W), and back: the same bytes."""
    picture = np.full((2, 3, 3), 255, np.uint8)
    picture[0] = [[78, 75, 66], [77, 74, 65], [72, 69, 62]]
    images = F.from_nhwc(picture[None])
    assert images.shape == (1, 3, 2, 3)
    assert images[0, :, 0, 0].tolist() == [78, 75, 66]
    floats = ToFloat()(images)
    assert floats.dtype == np.float32
    np.testing.assert_allclose(floats[0, :, 0, 1], np.array([77, 74, 65]) / 255, rtol=1e-6)
    back = np.rint(F.to_nhwc(floats) * 255).astype(np.uint8)[0]
    np.testing.assert_array_equal(back, picture)
    every = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    np.testing.assert_array_equal(np.rint(ToFloat()(every) * 255).astype(np.uint8), every)
    # through a file
    (tmp_path / "x").write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 3]) + picture.tobytes())
    np.testing.assert_array_equal(datasets.read_idx(tmp_path / "x"), picture)
