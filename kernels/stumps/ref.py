"""The formulas of boosting over stumps."""

import numpy as np


def values(p, sum, norm, rectangles, weights, out, scratch):
    for f in range(p.features):
        value = np.zeros(p.samples, np.float32)
        for (x, y, w, h), weight in zip(rectangles[f], weights[f]):
            total = sum[y, x] - sum[y, x + w] - sum[y + h, x] + sum[y + h, x + w]
            value += np.float32(weight) * total.astype(np.float32)
        out[f] = value * norm.astype(np.float32)


def sort(p, x, order, scratch):
    order[...] = np.argsort(x, axis=1, kind="stable")
    if p.samples:
        ranked = np.take_along_axis(x, order.astype(np.int64), 1)
        order[:, :-1] |= np.where(ranked[:, 1:] == ranked[:, :-1], p.same, 0).astype(order.dtype)
        order[:, -1] |= p.same


def choose(p, order, weight, extreme, cut, scratch):
    extreme[:] = -np.inf, np.inf
    cut[...] = -1
    if p.samples:
        total = np.cumsum(weight[order & (p.same - 1)], axis=1)
        for column, first in ((0, np.argmax), (1, np.argmin)):
            at_cuts = np.where(order < p.same, total, extreme[:, column : column + 1])
            at = first(at_cuts, axis=1)
            extreme[:, column] = at_cuts[np.arange(p.features), at]
            cut[:, column] = np.where((order < p.same).any(axis=1), at, -1)
