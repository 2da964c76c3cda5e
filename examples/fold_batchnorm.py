"""Batch norm folded into the convolution before it: the course's formula, what is wrong with it, and what folding gains.

    weight' = gamma / sigma * weight,  bias' = gamma / sigma * (bias - mu) + beta,  sigma = sqrt(var + eps)

A small network is trained on the embedded images of clothes; then every batch norm is folded away. The accuracy stays to the last image, and
predictions take less time.

    python examples/fold_batchnorm.py --out pictures
"""

import argparse
import time
from pathlib import Path

import numpy as np

import lamella
from lamella import data, nn, optim
from lamella import functional as F


def by_hand() -> None:
    """One neuron layer: X W + b, normalised."""
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((6, 4)), rng.standard_normal((4, 3)), rng.standard_normal(3)
    gamma, beta, mu, var = 1 + rng.random(3), rng.standard_normal(3), rng.standard_normal(3), rng.random(3) + 0.5
    sigma = np.sqrt(var + 1e-5)
    wanted = F.batch_norm(F.linear(x, np.ascontiguousarray(w.T), b), mu, var, gamma, beta)
    for name, weight, bias in (
        ("as printed", gamma * w / (sigma + b), gamma * (b - mu) * sigma + beta),
        ("right     ", gamma * w / sigma, gamma * (b - mu) / sigma + beta),
    ):
        error = np.abs(F.linear(x, np.ascontiguousarray(weight.T), bias) - wanted).max()
        print(f"folding by hand, {name}: largest difference {error:.1e}")


def trained(epochs: int, images: int) -> tuple[nn.Sequential, np.ndarray, np.ndarray]:
    """A network with batch norm, and the test images."""
    layers: list[nn.Module] = []
    channels = 1
    for width in (16, 32, 64):
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
        channels = width
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
    optimizer = optim.AdamW(model.parameters(), lr=5e-3)
    clothes = data.Subset(data.datasets.EmbeddedFashionMNIST(train=True), range(images))
    for _ in range(epochs):
        for x, y in data.DataLoader(clothes, batch_size=64, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    batches = list(data.DataLoader(data.datasets.EmbeddedFashionMNIST(train=False), batch_size=500))
    arrays = [
        np.concatenate([np.asarray(batch[i].data if isinstance(batch[i], lamella.Tensor) else batch[i]) for batch in batches])
        for i in (0, 1)
    ]
    return model.eval(), arrays[0], arrays[1]


def predictions(model: nn.Module, x: np.ndarray) -> tuple[np.ndarray, float]:
    """The logits, and the best time of five."""
    times = []
    with lamella.no_grad():
        for _ in range(5):
            start = time.perf_counter()
            out = model(lamella.Tensor(x))
            times.append(time.perf_counter() - start)
    return out.data, min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--images", type=int, default=6000)
    arguments = parser.parse_args()
    by_hand()
    lamella.manual_seed(0)
    model, x, y = trained(arguments.epochs, arguments.images)
    folded = lamella.fold_batchnorm(model)
    print(folded)
    (before, slow), (after, fast) = predictions(model, x), predictions(folded, x)
    for name, logits, seconds in (("with batch norm", before, slow), ("folded", after, fast)):
        print(f"{name:16} test accuracy {(logits.argmax(1) == y).mean():.3f}, {1e3 * seconds:.1f} ms for {len(x)} images")
    print(f"largest difference of a logit: {np.abs(after - before).max():.1e}")

    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 16, figsize=(12, 2), layout="constrained")
    for row, (net, name) in enumerate(((model, "before"), (folded, "folded"))):
        for i, filter in enumerate(net[0].weight.detach().numpy()[:, 0]):
            axes[row, i].imshow(filter, cmap="gray", vmin=-1, vmax=1)
            axes[row, i].set(xticks=[], yticks=[])
        axes[row, 0].set_ylabel(name)
    arguments.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out / "fold_batchnorm.png", dpi=100)
    print(f"picture: {arguments.out / 'fold_batchnorm.png'}")


if __name__ == "__main__":
    main()
