"""Viola-Jones on a photograph: the features of a window, boosting on real faces, and a cascade that finds a face.

    python examples/viola_jones.py --out pictures

Needs scikit-image (photographs, faces), opencv-python-headless 4 (its trained cascades, read by lamella) and matplotlib.
"""

import argparse
from pathlib import Path

import cv2
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import skimage.data

from lamella import vision


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/viola_jones"), help="folder for the picture")
    parser.add_argument(
        "--cascade", default=cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml", help="a cascade of OpenCV or lamella"
    )
    options = parser.parse_args()

    counts = {kind: len(vision.haar_features(24, 24, [kind])) for kind in vision.haar.KINDS}
    print(
        "Haar-like features of a 24 x 24 window:", " + ".join(f"{n:,} {kind}" for kind, n in counts.items()), f"= {sum(counts.values()):,}"
    )

    windows = (255 * skimage.data.lfw_subset()).round().astype(np.uint8)[:, :24, :24]
    labels = np.repeat([1, 0], 100)
    features = vision.haar_features(24, 24, step=3)
    values = vision.haar_values(windows, features)
    test = np.arange(200) % 5 == 0
    model = vision.AdaBoost(40).fit(values[~test], labels[~test])
    right = model.score(values[test], labels[test])
    print(f"AdaBoost: {len(model.features_)} of {len(features):,} features tell {right:.1%} of unseen faces and other windows apart")

    photograph = skimage.data.astronaut()
    cascade = vision.CascadeClassifier.load(options.cascade)
    faces = cascade.detect(photograph, min_neighbors=4)
    print(f"{cascade}: {len(faces)} found at {faces.tolist()}")

    figure, axes = plt.subplots(figsize=(5, 5))
    axes.imshow(photograph)
    for x, y, w, h in faces:
        axes.add_patch(plt.Rectangle((x, y), w, h, fill=False, edgecolor="lime", linewidth=2))
    axes.axis("off")
    options.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out / "viola_jones.png", bbox_inches="tight", dpi=80)


if __name__ == "__main__":
    main()
