"""Viola-Jones on a photograph: boosting on real faces, and an attentional cascade, trained here, that finds a face.

    python examples/viola_jones.py --out pictures

Needs scikit-image (photographs, faces) and matplotlib; with opencv-python-headless 4, one of its cascades is read and shown beside ours.
"""

import argparse
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import skimage.data

from lamella import vision

# nobody is in them
PHOTOGRAPHS = ("coffee", "rocket", "chelsea", "coins", "page", "text", "brick", "moon", "hubble_deep_field", "immunohistochemistry")


def shifted(windows):
    """Windows of 24 x 24 pixels out of larger ones by a pixel, each in four places and two mirrored ways."""
    return np.concatenate([windows[:, y : y + 24, x : x + 24][:, :, ::way] for y in (0, 1) for x in (0, 1) for way in (1, -1)])


def accuracies(faces, others, features, folds=5):
    """Of boosting, on the fifth that it has not seen."""
    values = vision.haar_values(np.concatenate([faces, others])[:, :24, :24], features)
    labels = np.repeat([1, 0], [len(faces), len(others)])
    for fold in range(folds):
        test = np.arange(len(labels)) % folds == fold
        yield vision.AdaBoost(40).fit(values[~test], labels[~test]).score(values[test], labels[test])


def backgrounds():
    """Photographs without faces, also upside down and on their side: what faces are not, and photographs nevertheless."""
    images = [vision.grey(getattr(skimage.data, name)()) for name in PHOTOGRAPHS]
    images.append(skimage.data.camera()[220:])  # below the photographer's head
    return [way for image in images for way in (image, image[::-1], image.T)]


def opencvs_cascade():
    """The cascade of OpenCV that is read if none is named; None without OpenCV."""
    try:
        import cv2
    except ImportError:
        return None
    return cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/viola_jones"), help="folder for the picture and the trained cascade")
    parser.add_argument("--cascade", default=opencvs_cascade(), help="a cascade of OpenCV or lamella, shown beside the trained one")
    parser.add_argument("--stages", type=int, default=14, help="at most so many stages are trained")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    counts = {kind: len(vision.haar_features(24, 24, [kind])) for kind in vision.haar.KINDS}
    print(
        "Haar-like features of a 24 x 24 window:", " + ".join(f"{n:,} {kind}" for kind, n in counts.items()), f"= {sum(counts.values()):,}"
    )

    examples = (255 * skimage.data.lfw_subset()).round().astype(np.uint8)
    faces, others = examples[:100], examples[100:]
    features = vision.haar_features(24, 24, step=2)
    right = list(accuracies(faces, others, features))
    print(f"AdaBoost: 40 of {len(features):,} features tell unseen faces and other windows apart, {np.mean(right):.1%} in cross-validation")

    print("Attentional cascade:\nstage  stumps  faces kept  of its negatives kept   drawn from      out of windows")
    start, done = time.perf_counter(), []

    def report(stage):
        done.append(stage)
        print(
            f"{len(done):5d}  {stage.trees:6d}  {stage.detection_rate:10.1%}  {stage.false_positive_rate:21.1%}  {stage.mistaken:11,d}  {stage.searched:18,d}"
        )

    cascade = vision.CascadeClassifier.fit(
        shifted(faces), backgrounds(), negatives=shifted(others), features=features, stages=options.stages, false_positive_rate=0.4,
        max_negatives=1500, scale_factor=1.4, progress=report,
    )  # fmt: skip
    print(f"{cascade}, in {time.perf_counter() - start:.1f} s")
    cascade.save(options.out / "faces.safetensors")

    photograph = skimage.data.astronaut()
    shown = {"trained here": vision.CascadeClassifier.load(options.out / "faces.safetensors")}
    if options.cascade:
        shown["read from " + Path(options.cascade).name] = vision.CascadeClassifier.load(options.cascade)
    figure, axes = plt.subplots(1, len(shown), figsize=(5 * len(shown), 5.3), squeeze=False)
    for axis, (name, detector) in zip(axes[0], shown.items()):
        boxes, agreed = detector.detect(photograph, min_neighbors=6, return_scores=True)
        best = vision.non_maximum_suppression(boxes, agreed, 0.3)
        print(f"{name}: {[f'{agreed[i]} windows agree on {boxes[i].tolist()}' for i in best]}")
        axis.imshow(photograph)
        for x, y, w, h in boxes[best]:
            axis.add_patch(plt.Rectangle((x, y), w, h, fill=False, edgecolor="lime", linewidth=2))
        axis.set_title(name, fontsize=9)
        axis.axis("off")
    figure.savefig(options.out / "viola_jones.png", bbox_inches="tight", dpi=80)


if __name__ == "__main__":
    main()
