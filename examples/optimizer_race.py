"""Optimizers race down a narrow, curved valley: who is where after 200 steps, and by which way.

The valley is Rosenbrock's, 10 (y - x^2)^2 + (1 - x)^2, whose lowest point is (1, 1).

    python examples/optimizer_race.py --out pictures
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import lamella
from lamella import optim

STEPS, START = 200, (-1.4, 1.6)
RACERS = {
    "gradient descent": lambda w: optim.SGD(w, lr=0.01),
    "momentum": lambda w: optim.SGD(w, lr=0.004, momentum=0.9, momentum_kind="heavy_ball"),
    "Nesterov": lambda w: optim.SGD(w, lr=0.004, momentum=0.9, nesterov=True),
    "normalised GD": lambda w: optim.NormalizedGD(w, lr=0.02),
    "AdaGrad": lambda w: optim.Adagrad(w, lr=0.4),
    "RMSprop": lambda w: optim.RMSprop(w, lr=0.03, alpha=0.9),
    "Adam": lambda w: optim.Adam(w, lr=0.1),
    "NAdam": lambda w: optim.NAdam(w, lr=0.1),
    "Lion": lambda w: optim.Lion(w, lr=0.02),
    "L-BFGS": lambda w: optim.LBFGS(w, max_iter=1, max_eval=10, line_search_fn="strong_wolfe"),
}


def valley(x, y):
    return 10 * (y - x**2) ** 2 + (1 - x) ** 2


def race(make) -> np.ndarray:
    """The way of one racer, (steps + 1, 2)."""
    w = lamella.Tensor(np.array(START), requires_grad=True)
    optimizer = make([w])

    def closure():
        optimizer.zero_grad()
        loss = valley(w[0], w[1])
        loss.backward()
        return loss

    way = [w.data.copy()]
    for _ in range(STEPS):
        optimizer.step(closure)
        way.append(w.data.copy())
    return np.array(way)


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    x, y = np.meshgrid(np.linspace(-1.9, 1.6, 300), np.linspace(-0.6, 2.3, 240))
    figure = Figure(figsize=(16, 6.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 5, sharex=True, sharey=True).ravel()
    for axis, (name, make) in zip(axes, RACERS.items()):
        way = race(make)
        heights = valley(way[:, 0], way[:, 1])
        done = np.flatnonzero(heights < 1e-3)
        when = f"below 0.001 after {done[0]} steps" if len(done) else f"at {heights[-1]:.2g} after {STEPS}"
        print(f"{name:18} ({way[-1, 0]:6.3f}, {way[-1, 1]:6.3f})  {when}")
        axis.contour(x, y, np.log(valley(x, y) + 0.05), levels=14, cmap="Greys_r", linewidths=0.7)
        axis.plot(way[:, 0], way[:, 1], ".-", color="#d1601f", linewidth=1, markersize=3)
        axis.plot(1, 1, "*", color="#1f5fa8", markersize=12)
        axis.set_xlim(-1.9, 1.6)
        axis.set_ylim(-0.6, 2.3)
        axis.set_title(f"{name}: {when}", fontsize=9)
    figure.savefig(out / "optimizer_race.png", dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    main(parser.parse_args().out)
