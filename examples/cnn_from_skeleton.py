"""The skeleton of every convolutional network, INPUT - CONV - RELU - POOL - FC, built, counted, trained and looked at.

First the worked examples by hand: a 3 x 3 filter on a 5 x 5 image with padding 1 and stride 2, and max-pooling 2 x 2. Then the sizes that the formula
(W - F + 2 P) / S + 1 gives, the parameters, what a pixel of each layer sees; then the network learns the embedded images of clothes.

    python examples/cnn_from_skeleton.py --out pictures
"""

import argparse
from pathlib import Path

import numpy as np

import lamella
from lamella import data, nn, optim
from lamella import functional as F

X = np.array([[2, 1, 0, 1, 1], [1, 1, 0, 2, 0], [0, 0, 1, 1, 1], [1, 2, 2, 0, 2], [2, 0, 1, 2, 1]], float)
K = np.array([[0, 1, -1], [-1, 1, 0], [0, 1, 1]], float)
POOL = np.array([[2, 13, 3, 1], [1, 20, 2, 3], [15, 14, 7, 1], [10, 2, 2, 9]], float)


def by_hand() -> None:
    print("convolution, padding 1, stride 2:\n", F.conv2d(X[None, None], K[None, None], stride=2, padding=1)[0, 0])
    print("max-pooling 2 x 2:\n", F.max_pool2d(POOL[None, None], 2)[0, 0])
    print("size of AlexNet's first layer: (227 - 11) / 4 + 1 =", lamella.conv_output_size(227, 11, stride=4, rounding="exact"))
    alexnet = nn.Conv2d(3, 96, 11, stride=4)
    print("its parameters: 96 * 11 * 11 * 3 + 96 =", sum(p.numel() for p in alexnet.parameters()))
    print("weights of one fully connected neuron on 224 x 224 x 3:", 224 * 224 * 3)


def accuracy(model: nn.Module, loader: data.DataLoader) -> float:
    right = count = 0
    with lamella.no_grad():
        for x, y in loader:
            wanted = y.data if isinstance(y, lamella.Tensor) else np.asarray(y)
            right += int((model(x).data.argmax(1) == wanted).sum())
            count += len(wanted)
    return right / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    parser.add_argument("--epochs", type=int, default=4)
    arguments = parser.parse_args()
    by_hand()
    lamella.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 12, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12 * 14 * 14, 10))
    print(lamella.summary(model, (1, 28, 28)))
    for field in lamella.receptive_field(model, (1, 28, 28)):
        print(
            f"{field.kind:10} sees {'everything' if field.whole else f'{field.size[0]} x {field.size[1]} pixels, steps of {field.step[0]}'}"
        )
    print("lint:", lamella.lint(model, nn.CrossEntropyLoss()) or "nothing to say")

    train = data.DataLoader(data.datasets.EmbeddedFashionMNIST(train=True), batch_size=64, shuffle=True)
    test = data.DataLoader(data.datasets.EmbeddedFashionMNIST(train=False), batch_size=500)
    optimizer = optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for epoch in range(arguments.epochs):
        for x, y in train:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: test accuracy {accuracy(model, test):.3f}")

    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subfigures(1, 2)
    axis = left.subplots()
    axis.plot(losses, linewidth=0.7)
    axis.set(title="loss of every batch", xlabel="step")
    right.suptitle("the filters it learned")
    for axis, filter in zip(right.subplots(3, 4).ravel(), model[0].weight.detach().numpy()[:, 0]):
        axis.imshow(filter, cmap="gray")
        axis.set_axis_off()
    arguments.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out / "cnn_from_skeleton.png", dpi=100)
    print(f"picture: {arguments.out / 'cnn_from_skeleton.png'}")


if __name__ == "__main__":
    main()
