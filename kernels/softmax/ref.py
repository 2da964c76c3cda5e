"""The formulas of softmax and its losses, in float64."""

import numpy as np


def _parts(x):
    """m, s and l of the manual page."""
    x = x.astype(np.float64)
    m = x.max(axis=1, keepdims=True, initial=-np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        s = np.exp(x - m).sum(axis=1, keepdims=True)
        return m, s, x - m - np.log(s)


def _weights(weight, classes):
    return np.ones(classes) if weight is None else weight.astype(np.float64)


def _reduce(p, rows, loss, divisor):
    if p.reduction == "none":
        loss[...] = rows
    else:
        with np.errstate(invalid="ignore", divide="ignore"):
            loss[...] = rows.sum() / (divisor if p.reduction == "mean" else 1.0)


def _scale(p, g, divisor):
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.broadcast_to(g.astype(np.float64) / (divisor if p.reduction == "mean" else 1.0), p.rows)[:, None]


def _hit(p, target, weight):
    """Which rows count, the weight w_t of each (0 for the others), and [c = t] as a matrix."""
    counts = target != p.ignore_index
    onehot = (np.arange(p.classes) == target[:, None]) & counts[:, None]
    return counts, onehot @ _weights(weight, p.classes), onehot


def forward(p, x, out, scratch):
    out[...] = np.exp(_parts(x)[2])


def backward(p, g, y, dx, scratch):
    g, y = g.astype(np.float64), y.astype(np.float64)
    dx[...] = y * (g - (g * y).sum(axis=1, keepdims=True))


def log_forward(p, x, out, scratch):
    out[...] = _parts(x)[2]


def log_backward(p, g, y, dx, scratch):
    g, y = g.astype(np.float64), y.astype(np.float64)
    dx[...] = g - np.exp(y) * g.sum(axis=1, keepdims=True)


def cross_entropy_forward(p, x, target, weight, loss, stats, total, scratch):
    m, s, l = _parts(x)
    counts, wt, onehot = _hit(p, target, weight)
    with np.errstate(invalid="ignore"):
        rows = -(1 - p.label_smoothing) * wt * np.where(onehot, l, 0).sum(axis=1)
        if p.label_smoothing:
            rows = rows - p.label_smoothing / max(p.classes, 1) * (l * _weights(weight, p.classes)).sum(axis=1)
    total[...] = wt.sum()
    stats[:, :1], stats[:, 1:] = m, s
    _reduce(p, np.where(counts, rows, 0), loss, total[0])


def cross_entropy_backward(p, g, x, target, weight, stats, total, dx, scratch):
    w = _weights(weight, p.classes)
    counts, wt, onehot = _hit(p, target, weight)
    hard, smooth = (1 - p.label_smoothing) * wt[:, None], p.label_smoothing / max(p.classes, 1)
    with np.errstate(invalid="ignore"):
        d = np.exp(_parts(x)[2]) * (hard + smooth * w.sum()) - smooth * w - hard * onehot
        dx[...] = np.where(counts[:, None], d * _scale(p, g, total[0]), 0)


def _soft(p, target, weight):
    return _weights(weight, p.classes) * ((1 - p.label_smoothing) * target.astype(np.float64) + p.label_smoothing / max(p.classes, 1))


def cross_entropy_soft_forward(p, x, target, weight, loss, stats, scratch):
    m, s, l = _parts(x)
    stats[:, :1], stats[:, 1:] = m, s
    with np.errstate(invalid="ignore"):
        rows = -(_soft(p, target, weight) * l).sum(axis=1)
    _reduce(p, rows, loss, np.float64(p.rows))


def cross_entropy_soft_backward(p, g, x, target, weight, stats, dx, scratch):
    q = _soft(p, target, weight)
    dx[...] = _scale(p, g, np.float64(p.rows)) * (np.exp(_parts(x)[2]) * q.sum(axis=1, keepdims=True) - q)


def nll_forward(p, x, target, weight, loss, total, scratch):
    counts, wt, onehot = _hit(p, target, weight)
    total[...] = wt.sum()
    with np.errstate(invalid="ignore"):
        rows = -wt * np.where(onehot, x.astype(np.float64), 0).sum(axis=1)
    _reduce(p, np.where(counts, rows, 0), loss, total[0])


def nll_backward(p, g, target, weight, total, dx, scratch):
    counts, wt, onehot = _hit(p, target, weight)
    with np.errstate(invalid="ignore"):
        dx[...] = np.where(onehot, -_scale(p, g, total[0]) * wt[:, None], 0)
