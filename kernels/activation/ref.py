"""The formulas of the activations, in float64."""

import math

import numpy as np

erf = np.vectorize(math.erf, otypes=[np.float64])
A = math.sqrt(2 / math.pi)
B = 0.044715


def forward(p, x, out, scratch):
    x = x.astype(np.float64)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        if p.function == "relu":
            y = np.where(x > 0, x, np.where(np.isnan(x), x, 0))
        elif p.function == "leaky_relu":
            y = np.where(x > 0, x, p.slope * x)
        elif p.function == "sigmoid":
            y = 1 / (1 + np.exp(-x))
        elif p.function == "tanh":
            y = np.tanh(x)
        elif p.function == "exp":
            y = np.exp(x)
        elif p.function == "log":
            y = np.log(x)
        elif p.function == "erf":
            y = erf(x)
        elif p.function == "gelu":
            y = 0.5 * x * (1 + erf(x / math.sqrt(2)))
        elif p.function == "gelu_tanh":
            y = 0.5 * x * (1 + np.tanh(A * (x + B * x**3)))
        else:
            raise ValueError(p.function)
    out[...] = y


def backward(p, g, saved, dx, scratch):
    s = saved.astype(np.float64)
    if p.function == "relu":
        d = np.where(s <= 0, 0.0, 1.0)
    elif p.function == "leaky_relu":
        d = np.where(s > 0, 1.0, p.slope)
    elif p.function == "sigmoid":
        d = s * (1 - s)
    elif p.function == "tanh":
        d = 1 - s * s
    elif p.function == "exp":
        d = s
    elif p.function == "log":
        with np.errstate(divide="ignore"):
            d = 1 / s
    elif p.function == "erf":
        d = 2 / math.sqrt(math.pi) * np.exp(-s * s)
    elif p.function == "gelu":
        d = 0.5 * (1 + erf(s / math.sqrt(2))) + s * np.exp(-s * s / 2) / math.sqrt(2 * math.pi)
    elif p.function == "gelu_tanh":
        t = np.tanh(A * (s + B * s**3))
        d = 0.5 * (1 + t) + 0.5 * s * (1 - t * t) * A * (1 + 3 * B * s * s)
    else:
        raise ValueError(p.function)
    dx[...] = g.astype(np.float64) * d
