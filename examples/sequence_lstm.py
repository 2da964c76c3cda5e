"""An LSTM tells ten shapes apart that come as sequences, one number after another.

The sequences are made here, after mnist1d (Greydanus and Kobak, ICML 2024): each class is a curve of 12 points, which is scaled, shifted in time,
tilted, smoothed and covered with noise, then resampled to 40 steps. An LSTM reads them from left to right; a linear model on the 40 numbers,
which cannot follow a shift, is what it is compared with.

    python examples/sequence_lstm.py --out pictures
"""

import argparse
from pathlib import Path

import numpy as np

import lamella
from lamella import functional as F
from lamella import nn, optim

STEPS = 40
CURVES = (
    np.array(
        [
            [5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5],
            [5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5],
            [5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5],
            [5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5],
            [5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5],
            [5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5],
            [5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5],
            [5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5],
            [5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5],
            [5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5],
        ]
    )
    - 5
)


def sequences(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(count, STEPS) float32 and their classes."""
    labels = rng.integers(0, len(CURVES), count)
    x = np.zeros((count, STEPS))
    for row, label in zip(x, labels):
        width = rng.integers(22, 35)
        start = rng.integers(0, STEPS - width)
        curve = np.interp(np.linspace(0, 11, width), np.arange(12), CURVES[label] * rng.uniform(0.7, 1.3))
        row[start : start + width] = curve + rng.uniform(-0.4, 0.4) * np.linspace(-1, 1, width)
    noise = np.apply_along_axis(np.convolve, 1, rng.standard_normal((count, STEPS)), [0.25, 0.5, 0.25], "same")
    x += 0.4 * noise
    return ((x - x.mean()) / x.std()).astype(np.float32), labels


class SequenceClassifier(nn.Module):
    def __init__(self, hidden: int):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * hidden, len(CURVES))

    def forward(self, x):
        _, (h, _) = self.lstm(x[:, :, None])
        return self.head(F.cat([h[0], h[1]], dim=1))


def fit(model, train, test, epochs: int, lr: float) -> list[float]:
    """Train; the test accuracy after every epoch."""
    x, y = train
    steps = epochs * (len(x) // 64)
    optimizer = optim.AdamW(model.parameters(), lr=lr)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rng, curve = np.random.default_rng(0), []
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for i in range(len(x) // 64):
            batch = order[i * 64 : (i + 1) * 64]
            optimizer.zero_grad()
            F.cross_entropy(model(lamella.Tensor(x[batch])), y[batch]).backward()
            optimizer.step()
            schedule.step()
        with lamella.no_grad():
            curve.append(float((model(lamella.Tensor(test[0])).argmax(1).data == test[1]).mean()))
    return curve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    parser.add_argument("--epochs", type=int, default=15)
    arguments = parser.parse_args()
    lamella.manual_seed(0)
    rng = np.random.default_rng(0)
    train, test = sequences(4000, rng), sequences(1000, rng)
    curves = {
        "linear": fit(nn.Linear(STEPS, len(CURVES)), train, test, arguments.epochs, 1e-2),
        "LSTM": fit(SequenceClassifier(48), train, test, arguments.epochs, 5e-3),
    }
    for name, curve in curves.items():
        print(f"{name:7s} test accuracy {curve[-1]:.3f}")

    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for label in range(len(CURVES)):
        left.plot(train[0][train[1] == label][0] - 4 * label, label=str(label))
    left.set(title="one sequence of each class", xlabel="step", yticks=[])
    for name, curve in curves.items():
        right.plot(range(1, len(curve) + 1), curve, label=name)
    right.set(title="test accuracy", xlabel="epoch", ylim=(0, 1))
    right.legend()
    arguments.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out / "sequence_lstm.png", dpi=100)
    print(f"picture: {arguments.out / 'sequence_lstm.png'}")


if __name__ == "__main__":
    main()
