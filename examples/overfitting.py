"""Overfitting and its cures: a network that learns 300 images by heart, and what weight decay, dropout, early stopping and the others do about it.

python examples/overfitting.py --out pictures
"""

import argparse
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import lamella
from lamella import data, nn, optim, train
from lamella.data import transforms


def network(dropout: float = 0.0, noise: float = 0.0) -> nn.Module:
    lamella.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Dropout(dropout), nn.Linear(256, 256), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(nn.GaussianNoise(noise), *layers, nn.Linear(256, 10))


AUGMENTATION = transforms.Compose([transforms.RandomHorizontalFlip(), transforms.RandomCrop(28, padding=2)])
CURES = {
    "nothing": {},
    "weight decay": {"decay": 1e-1},
    "max-norm": {"max_norm": 0.4},
    "dropout": {"dropout": 0.5},
    "input noise": {"noise": 0.4},
    "label smoothing": {"smoothing": 0.2},
    "early stopping": {"callbacks": lambda: [train.EarlyStopping("val_loss", patience=5)]},
    "augmentation": {"transform": AUGMENTATION},
    "20 times the data": {"images": 20},
}


def main(out: Path, images: int, epochs: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    clothes, test = (data.datasets.EmbeddedFashionMNIST(train=part) for part in (True, False))
    valid = data.DataLoader(test, batch_size=500)
    figure = Figure(figsize=(12, 10), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, 3, sharex=True, sharey=True).ravel()
    print(f"{'cure':18} {'training':>8} {'test':>6} {'test loss':>9}")
    for axis, (name, cure) in zip(axes, CURES.items()):
        model = network(cure.get("dropout", 0.0), cure.get("noise", 0.0))
        count = images * cure.get("images", 1)
        transform = cure.get("transform", transforms.ToFloat())
        part = data.datasets.ImageDataset(clothes.images[:count], clothes.labels[:count], clothes.classes, transform)
        optimizer = optim.AdamW(model.parameters(), lr=1e-3, weight_decay=cure.get("decay", 0.0) * 10, max_norm=cure.get("max_norm"))
        loss = nn.CrossEntropyLoss(label_smoothing=cure.get("smoothing", 0.0))
        callbacks = cure.get("callbacks", list)()
        trainer = train.Trainer(model, optimizer, loss, callbacks=callbacks, progress="none")
        rounds = max(1, epochs // cure.get("images", 1))
        loader = data.DataLoader(part, batch_size=30, shuffle=True, generator=0)
        history = trainer.fit(loader, valid, epochs=rounds)
        trainer.loss = nn.CrossEntropyLoss()
        found = trainer.evaluate(valid)
        print(f"{name:18} {history[-1]['train_accuracy']:8.3f} {found['accuracy']:6.3f} {found['loss']:9.3f}")
        if name == "nothing":
            print(train.learning_verdict(history))
        steps = [record["epoch"] * len(loader) for record in history]
        axis.plot(steps, [record["train_loss"] for record in history], color="#1f5fa8", label="training")
        axis.plot(steps, [record["val_loss"] for record in history], color="#d1601f", label="test")
        axis.set(title=f"{name}: test accuracy {found['accuracy']:.3f}", ylim=(0, 1.6))
        axis.grid(alpha=0.3)
    axes[0].legend()
    for axis in axes[6:]:
        axis.set_xlabel("step")
    for axis in axes[::3]:
        axis.set_ylabel("loss")
    figure.savefig(out / "overfitting.png", dpi=100)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=60)
    main(**vars(parser.parse_args()))
