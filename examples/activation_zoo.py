"""Activations and their derivatives: every curve, what each does at a few points, and softmax as the course prints it.

python examples/activation_zoo.py --out pictures
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import lamella
import lamella.functional as F

FAR = [(F.sigmoid, -1e4), (F.tanh, 90), (F.softplus, 1e4), (F.mish, 1e4)]  # where the printed formulas overflow
POINTS = [-3.0, -1.0, 0.0, 1.0, 3.0]
ZOO = {
    "linear: 0.5 x + 1": lambda x: 0.5 * x + 1,
    "step": F.heaviside,
    "sigmoid": F.sigmoid,
    "softplus": F.softplus,
    "tanh": F.tanh,
    "ReLU": F.relu,
    "leaky ReLU, 0.2": lambda x: F.leaky_relu(x, 0.2),
    "PReLU, 0.25": lambda x: F.prelu(x, lamella.tensor(np.array(0.25))),
    "RReLU, 1/8 to 1/3": lambda x: F.rrelu(x, training=True),
    "ReLU6": F.relu6,
    "ELU": F.elu,
    "CELU, 0.5": lambda x: F.celu(x, 0.5),
    "SELU": F.selu,
    "GELU": F.gelu,
    "GELU as x sigmoid(1.702 x)": lambda x: F.gelu(x, "sigmoid"),
    "Swish-1 (SiLU)": F.silu,
    "Swish-3": lambda x: F.swish(x, 3.0),
    "Mish": F.mish,
    "HardSwish": F.hardswish,
    "HardSigmoid": F.hardsigmoid,
    "HardTanh": F.hardtanh,
    "Softsign": F.softsign,
    "log sigmoid": F.logsigmoid,
    "tanhshrink": F.tanhshrink,
    "softshrink": F.softshrink,
}


def curve(function, points) -> tuple[np.ndarray, np.ndarray]:
    """Values and, from the tape, derivatives."""
    x = lamella.tensor(np.asarray(points), requires_grad=True)
    y = function(x)
    y.backward(np.ones(len(points)))
    return y.detach().numpy(), x.grad.numpy()


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    lamella.manual_seed(0)
    figure = Figure(figsize=(15, 14), layout="constrained")
    FigureCanvasAgg(figure)
    grid = np.linspace(-5, 5, 501)
    print(f"{'':27}" + "".join(f"f({x:g})".rjust(9) for x in POINTS) + "   largest slope")
    for axis, (name, function) in zip(figure.subplots(5, 5, sharex=True).ravel(), ZOO.items()):
        values, slopes = curve(function, grid)
        at, _ = curve(function, POINTS)
        print(f"{name:27}" + "".join(f"{y:9.4f}" for y in at) + f"{slopes.max():12.4f}")
        axis.axhline(0, color="0.8", linewidth=0.8)
        axis.axvline(0, color="0.8", linewidth=0.8)
        axis.plot(grid, slopes, color="#d1603d", linewidth=1, label="derivative")
        axis.plot(grid, values, color="#1f5fa8", label="function")
        axis.set_title(name, fontsize=9)
        axis.set_ylim(-2, 3)
    axis.legend(loc="upper left", fontsize=8)
    figure.savefig(out / "activation_zoo.png", dpi=100)

    print("\nsoftmax([3, 1, 0.2]) =", F.softmax(np.array([3.0, 1.0, 0.2]), dim=0))
    print("of scores 1000 higher =", F.softmax(np.array([1003.0, 1001.0, 1000.2]), dim=0))
    print("sigmoid(-1e4), tanh(90), softplus(1e4), mish(1e4) in float32 =", *(f(np.float32([x]))[0] for f, x in FAR))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    main(parser.parse_args().out)
