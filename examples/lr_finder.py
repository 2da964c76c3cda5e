"""How large may the learning rate be? Raise it from batch to batch, take a tenth of where the loss starts to rise, and see that it trains.

python examples/lr_finder.py --out pictures
"""

import argparse
from pathlib import Path

import lamella
from lamella import data, nn, optim, train


def network() -> nn.Module:
    lamella.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Flatten(), nn.Linear(16 * 5 * 5, 10),
    )  # fmt: skip


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    images = data.datasets.EmbeddedFashionMNIST(train=True)
    loader = data.DataLoader(images, batch_size=64, shuffle=True)
    model = network()
    found = train.find_lr(model, optim.SGD(model.parameters(), lr=1.0, momentum=0.9), loader, start=1e-4, end=10, steps=150)
    print(f"the loss starts to rise at {found.rises:.3g}; suggestion: {found.suggestion:.3g}; it falls fastest at {found.steepest:.3g}")
    found.plot(out / "lr_finder.png")
    for factor in (0.01, 1, 100):
        lr = factor * found.suggestion
        model = network()
        trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=lr, momentum=0.9), progress="none")
        last = trainer.fit(loader, epochs=2)[-1]
        print(f"learning rate {lr:8.4f}: training accuracy {last['train_accuracy']:.3f}, loss {last['train_loss']:.3f} in the second epoch")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    main(parser.parse_args().out)
