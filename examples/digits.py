"""Handwritten digits of 8 x 8 pixels: split so that every part has every digit alike, moved a little each time they are seen, told apart by a small network.

python examples/digits.py --seeds 5 --out pictures
"""

import argparse
import statistics
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

import lamella
from lamella import data, nn, optim, train
from lamella.data import transforms


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.25), nn.Linear(64 * 2 * 2, 10),
    )  # fmt: skip


def run(images: np.ndarray, labels: np.ndarray, seed: int, epochs: int) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Accuracy on the test part, its pictures and labels, and what the network says."""
    lamella.manual_seed(seed)
    learn, test = data.stratified_split(data.TensorDataset(images, labels), (0.8, 0.2), labels=labels)
    moves = transforms.RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1))
    loader = data.DataLoader(learn, batch_size=64, shuffle=True, drop_last=True, batch_transform=lambda x, y: (moves(x), y))
    model = network()
    optimizer = optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1e-2)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=epochs * len(loader))
    trainer = train.Trainer(model, optimizer, scheduler=schedule, schedule_per="batch", progress="none")
    trainer.fit(loader, epochs=epochs)
    said = trainer.predict(data.DataLoader(test, batch_size=200)).argmax(1)
    truth = labels[test.indices]
    return float((said == truth).mean()), images[test.indices], truth, said


def main(out: Path, seeds: int, epochs: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    images, labels = digits.images[:, None].astype(np.float32) / 16, digits.target
    accuracies = []
    for seed in range(seeds):
        accuracy, pictures, truth, said = run(images, labels, seed, epochs)
        accuracies.append(accuracy)
        print(f"seed {seed}: {accuracy:.4f} of {len(truth)} test digits right")
    print(
        f"median {statistics.median(accuracies):.4f}, {min(accuracies):.4f} to {max(accuracies):.4f}; {sum(p.numel() for p in network().parameters()):,} parameters"
    )
    draw(out / "digits.png", pictures, truth, said)


def draw(path: Path, pictures: np.ndarray, truth: np.ndarray, said: np.ndarray) -> None:
    """The last seed's mistakes, and digits that were told right beside them."""
    wrong, right = np.flatnonzero(said != truth)[:10], np.flatnonzero(said == truth)[:10]
    figure = Figure(figsize=(10, 2.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("Test digits: told right above, mistaken below")
    for row, chosen in enumerate((right, wrong)):
        for column in range(10):
            axes = figure.add_subplot(2, 10, 10 * row + column + 1)
            axes.axis("off")
            if column < len(chosen):
                i = chosen[column]
                axes.imshow(pictures[i, 0], cmap="gray_r", vmin=0, vmax=1)
                axes.set_title(f"{said[i]}" if row == 0 else f"{said[i]} (is {truth[i]})", fontsize=9)
    figure.savefig(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    parser.add_argument("--seeds", type=int, default=5, help="trainings, each with its own split")
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args()
    main(options.out, options.seeds, options.epochs)
