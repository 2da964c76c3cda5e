"""The formula of a cascade."""

import numpy as np


def corners(rectangle, slanted):
    """The four corners (dx, dy) of a rectangle, with the signs + - - +."""
    x, y, w, h = (int(v) for v in rectangle)
    if slanted:
        return (x, y), (x - h, y + h), (x + w, y + w), (x + w - h, y + w + h)
    return (x, y), (x + w, y), (x, y + h), (x + w, y + h)


def area_sum(p, table, rectangle, slanted=False):
    """For every window, the sum over a rectangle."""
    rows, columns = p.step * np.arange(p.oh)[:, None], p.step * np.arange(p.ow)
    a, b, c, d = (table[rows + dy, columns + dx] for dx, dy in corners(rectangle, slanted))
    return a - b - c + d


def forward(
    p, sum, squared, tilted, rectangles, weights, slanted, nodes, thresholds, leaves, trees, stages, limits, reached, score, scratch
):
    inner = (1, 1, p.ww - 2, p.wh - 2)
    area = float(inner[2] * inner[3])
    total = area_sum(p, sum, inner).astype(np.float64)
    variance = area * area_sum(p, squared, inner) - total * total
    with np.errstate(divide="ignore", invalid="ignore"):
        norm = np.where(variance > 0, 1 / np.sqrt(variance), 1).astype(np.float32)
    flat = ~((variance > 0) & (area * norm.astype(np.float64) < 0.1))
    values = {}

    def value(f):
        if f not in values:
            table = tilted if slanted[f] else sum
            parts = [np.float32(w) * area_sum(p, table, r, slanted[f]).astype(np.float32) for r, w in zip(rectangles[f], weights[f]) if w]
            values[f] = np.sum(parts, axis=0, dtype=np.float32) * norm
        return values[f]

    alive = ~flat
    reached[...] = np.where(flat, -1, 0)
    score[...] = 0
    for s in range(p.stages):
        result = np.zeros(alive.shape)
        for t in range(stages[s], stages[s + 1]):
            at = np.zeros(alive.shape, np.int64)
            leaf = np.zeros(alive.shape)
            for k in range(trees[t + 1] - trees[t]):
                n = trees[t] + k
                here = at == k if k else np.ones(alive.shape, bool)
                at[here] = np.where(value(nodes[n, 0]) < np.float32(thresholds[n]), nodes[n, 1], nodes[n, 2])[here]
                done = here & (at <= 0)
                leaf[done] = leaves[trees[t] + t - at[done]]
            result += leaf
        score[alive] = result[alive]
        alive &= ~(result < limits[s])
        reached[alive] = s + 1
        if s == 0 and p.skip:
            for row, scores in zip(reached, score):
                skipping = False
                for x in range(p.ow):
                    if skipping:
                        row[x], scores[x], skipping = -2, 0, False
                    else:
                        skipping = row[x] == 0
            alive &= reached > 0
