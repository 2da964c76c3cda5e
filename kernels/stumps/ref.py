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
    total = np.cumsum(weight[order & (p.same - 1)], axis=1)
    for f, i in zip(*np.nonzero(order < p.same)):
        if total[f, i] > extreme[f, 0]:
            extreme[f, 0], cut[f, 0] = total[f, i], i
        if total[f, i] < extreme[f, 1]:
            extreme[f, 1], cut[f, 1] = total[f, i], i
