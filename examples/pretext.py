"""Learning without labels: which way was the image turned? The features that answer it also tell clothes apart, from a few labels.

Self-supervised: every image is turned by 0, 90, 180 and 270 degrees, which gives a label that costs nothing. Then the layers that learned it are
frozen, and a new linear layer behind them learns the clothes from a few labelled images: against the same layers with random weights, and against a network
that learns everything from these few.

    python examples/pretext.py --out pictures
"""

import argparse
import copy
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import lamella
from lamella import data, nn, optim, train


def turned(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All images in four directions, and by how many quarters they are turned."""
    quarters = np.repeat(np.arange(4), len(images))
    return np.ascontiguousarray(np.concatenate([np.rot90(images, q, (2, 3)) for q in range(4)])), quarters


def network(classes: int) -> nn.Module:
    trunk = nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(),
    )  # fmt: skip
    head = nn.Sequential(nn.Linear(32 * 5 * 5, 64), nn.ReLU(), nn.Linear(64, classes))
    return nn.Sequential({"trunk": trunk, "head": head})


def fit(model: nn.Module, x: np.ndarray, y: np.ndarray, epochs: int, lr: float = 2e-3) -> train.Trainer:
    optimizer = optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)
    trainer = train.Trainer(model, optimizer, progress="none")
    trainer.fit(data.DataLoader(data.TensorDataset(x, y), batch_size=64, shuffle=True, generator=0), epochs=epochs)
    return trainer


def main(out: Path, images: int, labelled: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    sets = [data.datasets.EmbeddedFashionMNIST(train=part) for part in (True, False)]
    (x, y), (x_test, y_test) = ((s.images.astype(np.float32) / 255, s.labels) for s in sets)
    lamella.manual_seed(0)
    pretext = network(4)
    trainer = fit(pretext, *turned(x[:images]), epochs=3)
    x_turned, quarters = turned(x_test)
    guessed = trainer.predict(x_turned).argmax(1)
    print(f"which way is it turned: {(guessed == quarters).mean():.3f} of the test images right, without a label (guessing: 0.25)")

    few = np.concatenate([np.flatnonzero(y == k)[:labelled] for k in range(10)])
    random = network(4)
    optim.swa_utils.update_bn([x[:images]], random)  # the statistics of the images need no labels either
    found = {}
    for name, start, frozen in (
        ("features of the pretext task, frozen", pretext, True),
        ("random features, frozen", random, True),
        ("everything learned from the few", random, False),
        ("pretext task, then fine-tuned", pretext, False),
    ):
        model = copy.deepcopy(start)
        if frozen:
            nn.utils.freeze(model, "trunk")
        nn.utils.replace_head(model, nn.Linear(32 * 5 * 5, 10), "head")
        found[name] = (fit(model, x[few], y[few], epochs=40).predict(x_test).argmax(1) == y_test).mean()
        print(f"{labelled} labels per class, {name}: test accuracy {found[name]:.3f}")

    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subfigures(1, 2)
    left.suptitle("degrees the network says (red: wrong)")
    for i, axis in enumerate(left.subplots(4, 8).ravel()):
        k = (i // 8) * len(x_test) + i % 8
        axis.imshow(x_turned[k, 0], cmap="gray")
        axis.set_title(f"{90 * guessed[k]}", fontsize=8, color="black" if guessed[k] == quarters[k] else "red", pad=2)
        axis.set_axis_off()
    axis = right.subplots()
    bars = axis.barh(list(found), list(found.values()), color="#1f5fa8")
    axis.bar_label(bars, fmt="%.3f", padding=3)
    axis.invert_yaxis()
    axis.set(xlim=(0, 1), xlabel="test accuracy", title=f"{labelled} labelled images per class")
    figure.savefig(out / "pretext.png", dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    parser.add_argument("--images", type=int, default=6000, help="images for the pretext task")
    parser.add_argument("--labelled", type=int, default=10, help="labelled images per class")
    main(**vars(parser.parse_args()))
