"""Two losses for the same scores W x + b: a linear SVM and softmax, on real images of clothes.

First the course's three images by hand: the SVM is content once every wrong class is a margin behind, softmax never. Then both learn the embedded
images; their weights, seen as pictures, are what a linear classifier looks for.

    python examples/svm_vs_softmax.py --out pictures
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lamella import data
from lamella import functional as F
from lamella.estimators import LinearClassifier

SCORES = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])  # one image per row: cat, car, frog


def svm(scores: np.ndarray, y: np.ndarray) -> np.ndarray:
    return F.multi_margin_loss(scores, y, reduction="none", normalize_classes=False)


def by_hand() -> None:
    y = np.arange(3)
    print("scores of cat, car, frog      SVM loss  softmax loss")
    for row, a, b in zip(SCORES, svm(SCORES, y), F.cross_entropy(SCORES, y, reduction="none")):
        print(f"{row!s:28} {a:9.2f} {b:13.6f}")
    print(f"mean {svm(SCORES, y).mean():33.4f} {F.cross_entropy(SCORES, y):13.6f}")
    sure = np.array([[10.0, -2, 3], [10, 9, 9], [10, -100, -100]])
    for row, a, b in zip(sure, svm(sure, y * 0), F.cross_entropy(sure, y * 0, reduction="none")):
        print(f"{row!s:28} {a:9.2f} {b:13.6f}")


def main(out: Path, images: int, epochs: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    by_hand()
    train, test = (data.datasets.EmbeddedFashionMNIST(train=part) for part in (True, False))
    x, x_test = (part.images.reshape(len(part), -1) / np.float32(255) for part in (train, test))
    figure = Figure(figsize=(13, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 10)
    for row, (loss, lr) in zip(axes, (("svm", 5e-4), ("softmax", 1e-3))):
        model = LinearClassifier(loss, lr=lr, epochs=epochs, alpha=1e-3, random_state=0).fit(x[:images], train.labels[:images])
        right = model.score(x_test, test.labels)
        scores = model.decision_function(x_test)
        zero = (svm(scores, test.labels) == 0).mean()
        print(f"{loss:8} {right:.3f} of {len(test)} test images right; its SVM loss is exactly 0 for {zero:.0%} of them, "
              f"its softmax loss for {(F.cross_entropy(scores, test.labels, reduction='none') == 0).mean():.0%}")  # fmt: skip
        bound = np.abs(model.coef_).max() * 0.7
        for axis, weights, name in zip(row, model.coef_, train.classes):
            axis.imshow(weights.reshape(28, 28), cmap="RdBu_r", vmin=-bound, vmax=bound)
            axis.set_title(name, fontsize=8)
            axis.set_xticks([])
            axis.set_yticks([])
        row[0].set_ylabel(f"{loss}: {right:.3f}")
    figure.savefig(out / "svm_vs_softmax.png", dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=15)
    main(**vars(parser.parse_args()))
