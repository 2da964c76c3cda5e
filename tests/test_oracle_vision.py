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


@pytest.fixture(scope="module")
def astronaut():
    return vision.grey(pytest.importorskip("skimage.data").astronaut())


# stumps; trees; tilted features in trees; the old format; a branching tree of stages, written as a line
@pytest.mark.parametrize(
    "name",
    [
        "frontalface_default",
        "frontalface_alt2",
        "eye_tree_eyeglasses",
        "license_plate_rus_16stages",
        "frontalface_alt_tree",
        "upperbody",
        "smile",
    ],
)
def test_same_windows_pass_opencvs_cascades(name, astronaut, monkeypatch):
    path = f"{cv2.data.haarcascades}haarcascade_{name}.xml"
    theirs, ours = cv2.CascadeClassifier(path), vision.CascadeClassifier.load(path)
    for image, factor in ((astronaut, 1.2), (astronaut[40:301, 101:360], 1.07)):
        for neighbors in (0, 3):
            want = np.asarray(theirs.detectMultiScale(image, factor, neighbors)).reshape(-1, 4)
            np.testing.assert_array_equal(ours.detect(image, factor, neighbors), want)
    for sizes in (((40, 40), None), ((30, 30), (80, 80)), ((61, 61), (61, 61))):
        want = theirs.detectMultiScale(astronaut, 1.3, 0, 0, sizes[0], sizes[1] or (0, 0))
        np.testing.assert_array_equal(ours.detect(astronaut, 1.3, 0, *sizes), np.asarray(want).reshape(-1, 4))


def test_colours(astronaut):
    import skimage.data

    path = cv2.data.haarcascades + "haarcascade_frontalface_default.xml"
    colour = skimage.data.astronaut()
    want = cv2.CascadeClassifier(path).detectMultiScale(colour[:, :, ::-1])
    np.testing.assert_array_equal(vision.CascadeClassifier.load(path).detect(colour), want)


@pytest.mark.parametrize("neighbors", [1, 2, 3])
def test_group_rectangles(neighbors):
    rng = np.random.default_rng(neighbors)
    for _ in range(20):
        centres, sizes = rng.integers(0, 200, (6, 2)), rng.integers(20, 90, 6)
        which = rng.integers(0, 6, 60)
        boxes = np.column_stack([centres[which], sizes[which], sizes[which]]) + rng.integers(-4, 5, (60, 4))
        want, counts = cv2.groupRectangles(boxes.tolist(), neighbors)
        got, agreed = vision.group_rectangles(boxes, neighbors)
        np.testing.assert_array_equal(got, np.asarray(want).reshape(-1, 4))
        np.testing.assert_array_equal(agreed, np.asarray(counts).ravel())


def test_resized_images_are_opencvs(astronaut):
    from lamella.problems import ResampleProblem
    from lamella.registry import select

    for h, w in ((512, 512), (465, 465), (301, 200), (20, 20), (700, 530)):
        p = ResampleProblem.of(512, 512, h, w, np.dtype("float32"))
        out = np.empty((h, w), np.uint8)
        select("resample", "forward", p)(p, astronaut, out)
        np.testing.assert_array_equal(out, cv2.resize(astronaut, (w, h), interpolation=cv2.INTER_LINEAR_EXACT))
