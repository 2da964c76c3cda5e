"""The network of eleven lines: two layers of sigmoids learn XOR. First with the gradients written by hand, then by lamella's; the same numbers.

python examples/eleven_lines.py --out pictures
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import lamella
from lamella import functional as F
from lamella import optim

X = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]], float)
Y = np.array([[0, 1, 1, 0]], float).T


def by_hand(W0: np.ndarray, W1: np.ndarray, steps: int) -> tuple[np.ndarray, list[float]]:
    errors = []
    for _ in range(steps):
        l1 = 1 / (1 + np.exp(-np.matmul(X, W0)))
        l2 = 1 / (1 + np.exp(-np.matmul(l1, W1)))
        delta_l2 = (Y - l2) * (l2 * (1 - l2))
        delta_l1 = np.matmul(delta_l2, W1.T) * (l1 * (1 - l1))
        W1 = W1 + np.matmul(l1.T, delta_l2)
        W0 = W0 + np.matmul(X.T, delta_l1)
        errors.append(float(((Y - l2) ** 2).mean()))
    return l2, errors


def by_lamella(W0: np.ndarray, W1: np.ndarray, steps: int) -> tuple[np.ndarray, list[float]]:
    w0, w1 = (lamella.Tensor(w.copy(), requires_grad=True) for w in (W0, W1))
    optimizer = optim.SGD([w0, w1], lr=1)
    errors = []
    for _ in range(steps):
        out = F.sigmoid(F.sigmoid(X @ w0) @ w1)
        optimizer.zero_grad()
        (F.mse_loss(out, Y, reduction="sum") / 2).backward()
        optimizer.step()
        errors.append(float(((Y - out.data) ** 2).mean()))
    return out.data, errors


def main(out: Path, steps: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.RandomState(0)  # the numbers of the course's np.random.seed(0)
    W0 = 2 * rng.random_sample((3, 4)) - 1
    W1 = 2 * rng.random_sample((4, 1)) - 1
    hand, errors = by_hand(W0, W1, steps)
    ours, our_errors = by_lamella(W0, W1, steps)
    print("wanted  by hand  lamella")
    for y, a, b in zip(Y[:, 0], hand[:, 0], ours[:, 0]):
        print(f"{y:6.0f}  {a:7.4f}  {b:7.4f}")
    print(f"mean squared error after {steps} steps: {errors[-1]:.2e}; largest difference of the two: {np.abs(hand - ours).max():.1e}")

    figure = Figure(figsize=(6.5, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.loglog(np.arange(1, steps + 1), errors, color="#1f5fa8", linewidth=4, alpha=0.4, label="gradients by hand")
    axis.loglog(np.arange(1, steps + 1), our_errors, color="#d1601f", linewidth=1.2, label="lamella")
    axis.set(xlabel="step", ylabel="mean squared error", title="Two layers of sigmoids learn XOR")
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(out / "eleven_lines.png", dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    parser.add_argument("--steps", type=int, default=5000)
    main(**vars(parser.parse_args()))
