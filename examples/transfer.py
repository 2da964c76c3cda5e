"""Transfer learning: clothes are learned from many good pictures, then from a few that a bad camera took in the dark.

The network is taken over with its weights; its last layer is replaced and the others frozen, or all but the convolutions learn on, more slowly. Against
a network that learns the few pictures from nothing. It helps as far as the tasks are related: --camera negative turns the pictures to negatives, and
what was learned before is in the way.

    python examples/transfer.py --out pictures
"""

import argparse
import copy
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import lamella
from lamella import data, models, nn, optim, train

COUNTS = (2, 5, 10, 20)
CAMERAS = {
    "dark": lambda images, rng: 0.4 * images + 0.15 * rng.standard_normal(images.shape, np.float32),
    "negative": lambda images, rng: 1 - images,
}


def fit(model: nn.Module, groups, images: data.TensorDataset, epochs: int) -> nn.Module:
    loader = data.DataLoader(images, batch_size=32, shuffle=True, generator=0)
    train.Trainer(model, optim.AdamW(groups, lr=2e-3), progress="none").fit(loader, epochs=epochs)
    return model


def accuracy(model: nn.Module, images: data.TensorDataset) -> float:
    return train.Trainer(model, None, progress="none").evaluate(data.DataLoader(images, batch_size=500))["accuracy"]


def main(out: Path, camera: str, epochs: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    clothes, test = (data.datasets.EmbeddedFashionMNIST(train=part) for part in (True, False))
    rng = np.random.default_rng(0)
    many, judged = (data.TensorDataset(part.images / np.float32(255), part.labels) for part in (clothes, test))
    bad = CAMERAS[camera](judged.tensors[0], rng)
    bad_test = data.TensorDataset(bad, test.labels)
    lamella.manual_seed(0)
    old = models.LeNet()
    fit(old, old.parameters(), many, epochs=3)
    print(
        f"good pictures: test accuracy {accuracy(old, judged):.3f}; the {camera} camera's, without learning: {accuracy(old, bad_test):.3f}"
    )
    print("weights that fit a network for five kinds:", nn.utils.load_matching(models.LeNet(num_classes=5), old.state_dict()))

    found: dict[str, list[float]] = {"from nothing": [], "a new last layer, the rest frozen": [], "fine-tuned behind the convolutions": []}
    for count in COUNTS:
        rows = np.concatenate([np.flatnonzero(clothes.labels == k)[:count] for k in range(10)])
        few = data.TensorDataset(CAMERAS[camera](many.tensors[0][rows], rng), clothes.labels[rows])
        lamella.manual_seed(1)
        fresh, frozen, tuned = models.LeNet(), nn.utils.freeze(copy.deepcopy(old)), nn.utils.freeze(copy.deepcopy(old), "conv1", "conv2")
        nn.utils.replace_head(frozen, 10)
        for name, model, groups in zip(
            found,
            (fresh, frozen, tuned),
            ({"": {}}, {"": {}}, {"": {"lr": 5e-4}, "fc3": {"lr": 1e-3}}),
        ):
            fit(model, nn.utils.layer_groups(model, groups), few, epochs)
            found[name].append(accuracy(model, bad_test))
    print(f"{'pictures of each kind':36}", *(f"{count:6}" for count in COUNTS))
    for name, values in found.items():
        print(f"{name:36}", *(f"{value:6.3f}" for value in values))

    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.3])
    left.suptitle(f"good pictures, and the {camera} camera's")
    for i, axis in enumerate(left.subplots(4, 4).ravel()):
        axis.imshow((judged.tensors[0] if i % 2 == 0 else bad)[i // 2, 0], cmap="gray", vmin=0, vmax=1)
        axis.set_axis_off()
    axis = right.subplots()
    for name, values in found.items():
        axis.plot(COUNTS, values, "o-", label=name)
    axis.set(xscale="log", xlabel="pictures of each kind", ylabel="test accuracy")
    axis.set_xticks(COUNTS, [str(count) for count in COUNTS])
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(out / "transfer.png", dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    parser.add_argument("--camera", choices=CAMERAS, default="dark")
    parser.add_argument("--epochs", type=int, default=30, help="epochs on the few pictures")
    main(**vars(parser.parse_args()))
