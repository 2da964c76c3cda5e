"""The formula of the matrix product, accumulated in float64."""

import numpy as np


def forward(p, a, b, bias, c, out, scratch):
    y = p.alpha * np.matmul(a.astype(np.float64), b.astype(np.float64))
    if p.beta:
        y += p.beta * c.astype(np.float64)
    if p.bias != "none":
        y += bias.astype(np.float64)[:, None] if p.bias == "row" else bias.astype(np.float64)
    if p.activation == "relu":
        y = np.where(y < 0, 0, y)
    elif p.activation == "leaky_relu":
        y = np.where(y > 0, y, p.slope * y)
    elif p.activation == "sigmoid":
        with np.errstate(over="ignore"):
            y = 1 / (1 + np.exp(-y))
    elif p.activation == "tanh":
        y = np.tanh(y)
    out[...] = y


def backward_bias(p, g, db, scratch):
    db[...] = g.astype(np.float64).sum(axis=0)
