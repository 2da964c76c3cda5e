"""Learning rates over 100 epochs: every schedule as a curve.

python examples/schedules.py --out pictures
"""

import argparse
import math
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import lamella
from lamella.optim import lr_scheduler as s

EPOCHS = 100
SCHEDULES = {
    "time-based: a / (1 + d t), d = 0.001": lambda o: s.TimeBasedLR(o, 0.001),
    "step: a / 2 every 20": lambda o: s.StepLR(o, 20, 0.5),
    "step, offset 1": lambda o: s.StepLR(o, 20, 0.5, offset=1),
    "piecewise constant": lambda o: s.PiecewiseConstantLR(o, [30, 60], [0.4, 0.1]),
    "exponential: exp(-0.03 t)": lambda o: s.ExponentialLR(o, math.exp(-0.03)),
    "power: 1 / (1 + t / 20)": lambda o: s.PowerLR(o, s=20),
    "polynomial, power 2": lambda o: s.PolynomialLR(o, EPOCHS, 2.0),
    "cosine": lambda o: s.CosineAnnealingLR(o, EPOCHS),
    "cosine with restarts": lambda o: s.CosineAnnealingWarmRestarts(o, 15, 2),
    "warm-up, then cosine": lambda o: s.SequentialLR(o, [s.LinearLR(o, 0.05, total_iters=10), s.CosineAnnealingLR(o, 90)], [10]),
    "1cycle": lambda o: s.OneCycleLR(o, 1.0, EPOCHS + 1, cycle_momentum=False),
    "1cycle, two straight halves": lambda o: s.OneCycleLR(
        o, 1.0, EPOCHS + 1, pct_start=0.5, anneal_strategy="linear", div_factor=10, final_div_factor=1e3, cycle_momentum=False
    ),
    "cyclic, each half as high": lambda o: s.CyclicLR(o, 0.0, 1.0, 12, mode="triangular2", cycle_momentum=False),
    "plateau of a noisy loss": lambda o: s.ReduceLROnPlateau(o, factor=0.5, patience=4),
}


def curve(make) -> list[float]:
    optimizer = lamella.optim.SGD([lamella.tensor([1.0])], lr=1.0)
    scheduler = make(optimizer)
    rng = np.random.default_rng(0)
    rates = [optimizer.param_groups[0]["lr"]]
    for epoch in range(EPOCHS):
        optimizer.step()
        if isinstance(scheduler, s.ReduceLROnPlateau):
            scheduler.step(math.exp(-epoch / 15) + 0.02 * rng.standard_normal())
        else:
            scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(15, 7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, 5, sharex=True, sharey=True).ravel()
    for axis, (name, make) in zip(axes, SCHEDULES.items()):
        rates = curve(make)
        print(f"{name:40} {rates[0]:7.4f} {rates[50]:7.4f} {rates[100]:8.5f}")
        axis.plot(rates, color="#1f5fa8")
        axis.set_title(name, fontsize=9)
        axis.grid(alpha=0.3)
    for axis in axes[len(SCHEDULES) :]:
        figure.delaxes(axis)
    for axis in axes[9:14]:
        axis.set_xlabel("epoch")
        axis.tick_params(labelbottom=True)
    figure.suptitle("learning rate, from 1")
    figure.savefig(out / "schedules.png", dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    main(parser.parse_args().out)
