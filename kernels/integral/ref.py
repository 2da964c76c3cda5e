"""The formulas of integral images."""

import numpy as np


def forward(p, x, out, scratch):
    out[...] = 0
    out[:, 1:, 1:] = np.cumsum(np.cumsum(x, axis=1, dtype=out.dtype), axis=2, dtype=out.dtype)


def squared(p, x, out, squared, scratch):
    forward(p, x, out, scratch)
    forward(p, x.astype(np.float64) ** 2, squared, scratch)


def tilted(p, x, out, squared, tilted, scratch):
    globals()["squared"](p, x, out, squared, scratch)
    line = np.zeros((p.mb, p.ih, p.iw + 1), tilted.dtype)  # sums of the first pixels of each row
    line[:, :, 1:] = np.cumsum(x, axis=2, dtype=tilted.dtype)
    tilted[...] = 0
    for y in range(1, p.ih + 1):
        for j in range(y):
            columns = np.arange(p.iw + 1)
            first = np.clip(columns - 1 - (y - j - 1), 0, p.iw)
            last = np.clip(columns + (y - j - 1), 0, p.iw)
            tilted[:, y] += line[:, j][:, last] - line[:, j][:, first]
