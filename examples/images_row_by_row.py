"""An LSTM or GRU reads photographs of clothes row by row: 28 steps of 28 pixels, and what it remembers at the end is classified.

python examples/images_row_by_row.py --cell lstm                          6,000 embedded images
python examples/images_row_by_row.py --cell gru --data fashion-mnist      all 60,000, of the Debian package dataset-fashion-mnist
"""

import argparse
import time

import numpy as np

import lamella
from lamella import data, nn, optim
from lamella import functional as F


class RowReader(nn.Module):
    def __init__(self, cell: str, hidden: int):
        super().__init__()
        self.rnn = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell](28, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 10)

    def forward(self, images):
        output, _ = self.rnn(images[:, 0])
        return self.head(output[:, -1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", choices=("rnn", "lstm", "gru"), default="lstm")
    parser.add_argument("--data", choices=("embedded", "fashion-mnist"), default="embedded")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    lamella.manual_seed(arguments.seed)
    dataset = data.datasets.EmbeddedFashionMNIST if arguments.data == "embedded" else data.datasets.FashionMNIST
    train, test = dataset(train=True), dataset(train=False)
    model = RowReader(arguments.cell, arguments.hidden)
    loader = data.DataLoader(train, batch_size=64, shuffle=True)
    optimizer = optim.AdamW(model.parameters(), lr=4e-3)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=arguments.epochs * len(loader))
    start = time.perf_counter()
    for epoch in range(arguments.epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            schedule.step()
        with lamella.no_grad():
            right = [(model(images).argmax(1) == labels).data for images, labels in data.DataLoader(test, batch_size=1000)]
        print(f"epoch {epoch + 1}: test accuracy {np.concatenate(right).mean():.4f}, {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
