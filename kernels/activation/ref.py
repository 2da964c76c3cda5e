"""The formulas of the activations, in float64."""

import math

import numpy as np

erf = np.vectorize(math.erf, otypes=[np.float64])
A = math.sqrt(2 / math.pi)
B = 0.044715


def sigmoid(x):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def forward(p, x, out, scratch):
    x = x.astype(np.float64)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        if p.function == "relu":
            y = np.where(x > 0, x, np.where(np.isnan(x), x, 0))
        elif p.function == "leaky_relu":
            y = np.where(x > 0, x, p.a * x)
        elif p.function == "sigmoid":
            y = sigmoid(x)
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
        elif p.function == "hardtanh":
            y = np.minimum(np.maximum(x, p.a), p.b)
        elif p.function == "threshold":
            y = np.where(x <= p.a, p.b, x)
        elif p.function == "hardshrink":
            y = np.where(abs(x) <= p.a, 0.0, x)
        elif p.function == "softshrink":
            y = np.where(abs(x) <= p.a, 0.0, x - np.copysign(p.a, x))
        elif p.function == "hardsigmoid":
            y = np.minimum(np.maximum(x + 3, 0), 6) / 6
        elif p.function == "hardswish":
            y = x * (np.minimum(np.maximum(x + 3, 0), 6) / 6)
        elif p.function == "softsign":
            y = x / (1 + abs(x))
        elif p.function == "elu":
            y = np.where(x > 0, p.b * x, p.a * np.expm1(p.c * x))
        elif p.function == "softplus":
            y = np.where(p.a * x > p.b, x, np.logaddexp(0, p.a * x) / p.a)
        elif p.function == "swish":
            y = x * sigmoid(p.a * x)
        elif p.function == "mish":
            y = x * np.tanh(np.logaddexp(0, x))
        elif p.function == "tanhshrink":
            y = x - np.tanh(x)
        else:
            raise ValueError(p.function)
    out[...] = y


def backward(p, g, saved, dx, scratch):
    s = saved.astype(np.float64)
    if p.function == "relu":
        d = np.where(s <= 0, 0.0, 1.0)
    elif p.function == "leaky_relu":
        d = np.where(s > 0, 1.0, p.a)
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
    elif p.function == "hardtanh":
        d = np.where((s == p.a) | (s == p.b), 0.0, 1.0)
    elif p.function == "threshold":
        d = np.where(s <= p.a, 0.0, 1.0)
    elif p.function in ("hardshrink", "softshrink"):
        d = np.where(abs(s) <= p.a, 0.0, 1.0)
    elif p.function == "hardsigmoid":
        d = np.where(abs(s) < 3, 1 / 6, 0.0)
    elif p.function == "hardswish":
        d = np.where(s <= -3, 0.0, np.where(s < 3, s / 3 + 0.5, 1.0))
    elif p.function == "softsign":
        d = 1 / (1 + abs(s)) ** 2
    elif p.function == "elu":
        with np.errstate(over="ignore"):
            d = np.where(s <= 0, p.a * p.c * np.exp(p.c * s), p.b)
    elif p.function == "softplus":
        d = np.where(p.a * s > p.b, 1.0, sigmoid(p.a * s))
    elif p.function == "swish":
        f = sigmoid(p.a * s)
        d = f + p.a * s * f * (1 - f)
    elif p.function == "mish":
        w = np.tanh(np.logaddexp(0, s))
        d = w + s * sigmoid(s) * (1 - w * w)
    elif p.function == "tanhshrink":
        d = np.tanh(s) ** 2
    else:
        raise ValueError(p.function)
    dx[...] = g.astype(np.float64) * d
