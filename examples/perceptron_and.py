"""A perceptron learns AND, sample by sample, in the tables of the course; and fails at XOR, which no straight line separates.

python examples/perceptron_and.py --out pictures
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lamella import nn

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
TARGETS = {"AND": np.array([0, 0, 0, 1]), "XOR": np.array([0, 1, 1, 0])}


def show_tables(report: nn.PerceptronReport, target: np.ndarray) -> None:
    for iteration, (weights, outputs) in enumerate(zip(report.weights, report.outputs), 1):
        print(f"iteration {iteration}\n       x0 x1 x2   target  y  error    w0  w1  w2")
        for j, (x, t, y, w) in enumerate(zip(X, target, outputs[:, 0], weights[:, 0]), 1):
            print(f"  j={j}   1  {x[0]:.0f}  {x[1]:.0f}        {t}  {y:.0f}     {t - y:2.0f}    {w[0]:2.0f}  {w[1]:2.0f}  {w[2]:2.0f}")


def boundary(axis, w: np.ndarray, **style) -> None:
    """The line w0 + w1 x1 + w2 x2 = 0."""
    if w[2]:
        at = np.array([-0.5, 1.5])
        axis.plot(at, -(w[0] + w[1] * at) / w[2], **style)
    elif w[1]:
        axis.axvline(-w[0] / w[1], **style)


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, (name, target) in zip(figure.subplots(1, 2), TARGETS.items()):
        layer = nn.Perceptron(2)
        report = layer.learn(X, target, max_iter=20)
        if name == "AND":
            show_tables(report, target)
            w = report.weights[-1][-1, 0]
            print(f"w = ({w[0]:.0f}, {w[1]:.0f}, {w[2]:.0f}), unchanged since iteration {report.last_change}, "
                  f"converged in iteration {report.converged}")  # fmt: skip
            title = "AND: the boundary after each iteration"
        else:
            print(f"XOR: errors per iteration {report.errors}: no line separates it")
            hidden = nn.Sequential(nn.Linear(2, 2), nn.Step(), nn.Linear(2, 1), nn.Step())
            hidden[0].weight.data[...], hidden[0].bias.data[...] = 1, [-0.5, -1.5]  # OR, AND
            hidden[2].weight.data[...], hidden[2].bias.data[...] = [1, -1], -0.5  # OR and not AND
            print(f"XOR by two layers of steps: {hidden(X).detach().numpy()[:, 0].astype(int).tolist()}")
            title = "XOR: it never ends"
        for i, weights in enumerate(report.weights[:-1]):
            boundary(axis, weights[-1, 0], color="#bbbbbb", linewidth=0.6 + i / len(report.weights))
        boundary(axis, report.weights[-1][-1, 0], color="#d1601f", linewidth=2)
        for value, marker in ((0, "o"), (1, "s")):
            axis.scatter(*X[target == value].T, marker=marker, s=90, color="#1f5fa8" if value else "white", edgecolors="#1f5fa8", zorder=3,
                         label=f"{name} = {value}")  # fmt: skip
        axis.set(xlim=(-0.5, 1.5), ylim=(-0.5, 1.5), xlabel="x1", ylabel="x2", title=title)
        axis.legend(loc="center left")
    figure.savefig(out / "perceptron_and.png", dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    main(**vars(parser.parse_args()))
