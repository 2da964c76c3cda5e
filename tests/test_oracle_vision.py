"""Classical vision against OpenCV and by brute force."""

import numpy as np
import pytest

from lamella import vision

cv2 = pytest.importorskip("cv2")

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    cv2.setNumThreads(1)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (24, 24), (61, 97)])
def test_integral_image(dtype, shape):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, shape).astype(dtype) if dtype == "uint8" else rng.standard_normal(shape).astype(dtype)
    want = cv2.integral3(image)
    got = vision.integral_image(image, squared=True, tilted=True)
    for a, b in zip(got, want):
        assert a.dtype == b.dtype and a.shape == b.shape
        if dtype == "uint8":
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * np.abs(image).sum())
    np.testing.assert_array_equal(vision.integral_image(image), got[0])


def test_grey():
    image = np.random.default_rng(0).integers(0, 256, (64, 1024, 3)).astype(np.uint8)
    np.testing.assert_array_equal(vision.grey(image), cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
