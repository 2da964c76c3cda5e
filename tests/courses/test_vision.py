"""Course items of classical vision: A-200 to A-204."""

import cv2
import numpy as np
import pytest
import skimage.data

from lamella import vision


def image(height=17, width=23, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)


@pytest.mark.course("A-200")
def test_integral_image_recursion():
    """A-200: s(x, y) = s(x, y-1) + i(x, y), ii(x, y) = ii(x-1, y) + s(x, y); as printed, with s(x-1, y), it sums something else (E-13)."""
    i = image().astype(np.int64)
    h, w = i.shape
    s, right, printed = (np.zeros((h + 1, w + 1), np.int64) for _ in range(3))  # [y + 1, x + 1]: index 0 is the empty border
    for y in range(h):
        for x in range(w):
            s[y + 1, x + 1] = s[y, x + 1] + i[y, x]
            right[y + 1, x + 1] = right[y + 1, x] + s[y + 1, x + 1]
            printed[y + 1, x + 1] = printed[y, x + 1] + s[y + 1, x]
    np.testing.assert_array_equal(vision.integral_image(image()), right)
    assert right[-1, -1] == i.sum()
    assert printed[-1, -1] != i.sum()


@pytest.mark.course("A-201")
def test_rectangle_sum():
    """A-201: A - B - C + D is the sum of every rectangle."""
    i = image(7, 9)
    ii = vision.integral_image(i)
    x, y, w, h = (v.ravel() for v in np.meshgrid(range(10), range(8), range(10), range(8)))
    inside = (x + w <= 9) & (y + h <= 7)
    x, y, w, h = x[inside], y[inside], w[inside], h[inside]
    want = [int(i[b : b + d, a : a + c].sum()) for a, b, c, d in zip(x, y, w, h)]
    np.testing.assert_array_equal(vision.rectangle_sum(ii, x, y, w, h), want)
    with pytest.raises(ValueError, match="inside an image of 7 rows and 9 columns"):
        vision.rectangle_sum(ii, 8, 0, 2, 1)


@pytest.mark.course("A-202")
def test_haar_features_of_a_window():
    """A-202: a 24 x 24 window has 162,336 features of the five kinds, not "180,000+" (E-16)."""
    counts = {kind: len(vision.haar_features(24, 24, [kind])) for kind in vision.haar.KINDS}
    assert list(counts.values()) == [43_200, 43_200, 27_600, 27_600, 20_736]
    features = vision.haar_features(24, 24)
    assert len(features) == sum(counts.values()) == 162_336 < 180_000
    corners = {row.tobytes() for row in features.rectangles}
    assert len(corners) == 162_336
    x, y, w, h = np.moveaxis(features.rectangles, 2, 0)
    assert x.min() == y.min() == 0 and (x + w).max() == (y + h).max() == 24
    balance = (features.weights * (w * h)).sum(1)  # a flat image gives 0
    assert not balance.any()


@pytest.fixture(scope="module")
def examples():
    """100 faces and 100 other windows of 25 x 25 pixels."""
    windows = (255 * skimage.data.lfw_subset()).round().astype(np.uint8)
    return windows[:100], windows[100:]


@pytest.mark.course("A-203")
def test_boosting_selects_features_of_real_faces(examples):
    """A-203: AdaBoost picks few of many weak classifiers; five-fold cross-validation on scikit-image's faces gives at least 0.95."""
    windows, y = np.concatenate(examples)[:, :24, :24], np.repeat([1, 0], 100)
    values = vision.haar_values(windows, vision.haar_features(24, 24, step=2))
    right = []
    for fold in range(5):
        test = np.arange(200) % 5 == fold
        model = vision.AdaBoost(40).fit(values[~test], y[~test])
        assert len(model.features_) <= 40 < values.shape[1]
        right.append(model.score(values[test], y[test]))
    assert np.mean(right) >= 0.95
    every = vision.haar_values(windows, vision.haar_features(24, 24))  # and of all 162,336, on one fold
    assert vision.AdaBoost(20).fit(every[~test], y[~test]).score(every[test], y[test]) >= 0.925


@pytest.mark.course("A-203")
def test_a_cascade_is_trained_and_finds_a_face(examples, tmp_path):
    """A-203: boosting selects weak classifiers, stages of them form a cascade, which is trained on faces and photographs and finds a face in another."""
    faces, others = ([w[:, y : y + 24, x : x + 24] for y in (0, 1) for x in (0, 1)] for w in examples)
    photographs = [skimage.data.coffee()[::2, ::2], skimage.data.chelsea()[::2, ::2], skimage.data.rocket()[::2, ::2]]
    cascade = vision.CascadeClassifier.fit(
        np.concatenate([way for w in faces for way in (w[:80], w[:80, :, ::-1])]),
        [way for x in photographs for way in (x, x[::-1])],
        negatives=np.concatenate([w[:80] for w in others]),
        features=vision.haar_features(24, 24, step=3),
        stages=6,
        false_positive_rate=0.4,
        max_negatives=600,
    )
    assert len(cascade) == 6
    assert all(stage.false_positive_rate <= 0.4 for stage in cascade.history)
    trees = [stage.trees for stage in cascade.history]
    assert trees[0] < trees[-1] < len(vision.haar_features(24, 24, step=3))  # attention: little work on most windows
    assert cascade.history[-1].mistaken < 0.02 * cascade.history[-1].searched
    assert cascade.predict(faces[0][80:]).mean() >= 0.8  # unseen ones
    assert cascade.predict(others[0][80:]).mean() <= 0.1
    cascade.save(tmp_path / "faces.safetensors")
    again = vision.CascadeClassifier.load(tmp_path / "faces.safetensors")
    boxes, agreed = again.detect(skimage.data.astronaut(), min_neighbors=4, return_scores=True)
    x, y, w, h = boxes[vision.non_maximum_suppression(boxes, agreed, 0.3)[0]]
    assert 170 < x < x + w < 275 and 60 < y < y + h < 170  # what most windows agree on is her face


@pytest.mark.course("A-203")
def test_a_cascade_finds_the_face_and_another_is_needed_for_profiles():
    """A-203: OpenCV's cascade of frontal faces, read from its file, finds the astronaut's face, and not the profile of the cameraman."""
    frontal = vision.CascadeClassifier.load(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")
    [(x, y, w, h)] = frontal.detect(skimage.data.astronaut(), 1.2, 5, min_size=(60, 60))
    assert x < 225 < x + w and y < 115 < y + h
    assert not len(frontal.detect(skimage.data.camera(), 1.2, 5, min_size=(60, 60)))


@pytest.mark.course("A-204")
def test_difficulties():
    """A-204: illumination does not hide a face, nor do a clutter of noise around it; half of it covered (occlusion) or on its side (deformation) does."""
    frontal = vision.CascadeClassifier.load(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")
    face = vision.grey(skimage.data.astronaut())[40:220, 130:310]

    def found(image):
        return len(frontal.detect(image, 1.2, 3, min_size=(60, 60))) == 1

    clutter = np.random.default_rng(0).integers(0, 256, (360, 360)).astype(np.uint8)
    clutter[90:270, 90:270] = face
    covered = face.copy()
    covered[60:130] = 0
    assert found(face) and found(face // 3 + 10) and found(face // 3 + 160) and found(clutter)
    assert not found(covered) and not found(face.T)
