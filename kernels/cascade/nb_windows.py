"""A cascade, window by window; the Numba twin of cy_blocks.

    value = (w0 * sum over rectangle 0 + w1 * sum over rectangle 1 + w2 * sum over rectangle 2) / spread

Shapes   sum, squared, tilted (ih + 1, iw + 1); reached, score (oh, ow)
Loops    one task finds where the corners of all features lie; then tasks are rows of windows
           windows from left to right; stages, trees, and the nodes it comes to
Cost     eight to twelve reads per node
"""

from functools import cache, lru_cache

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, array_f32, array_f64, array_i32, array_u8, ints, program, task

CORNERS = 12  # of a feature


def scratch(pass_, p):
    return 4 * p.features * CORNERS, 0


@cache
def locate():
    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        rectangles, slanted, offsets, ld = array_i32(c[3]), array_u8(c[5]), array_i32(c[14]), c[16] + 1
        for f in range(c[22]):
            for r in range(3):
                i, o = 12 * f + 4 * r, CORNERS * f + 4 * r
                x, y, w, h = np.int64(rectangles[i]), np.int64(rectangles[i + 1]), np.int64(rectangles[i + 2]), np.int64(rectangles[i + 3])
                offsets[o] = y * ld + x
                if slanted[f]:
                    offsets[o + 1] = (y + h) * ld + x - h
                    offsets[o + 2] = (y + w) * ld + x + w
                    offsets[o + 3] = (y + w + h) * ld + x + w - h
                else:
                    offsets[o + 1] = y * ld + x + w
                    offsets[o + 2] = (y + h) * ld + x
                    offsets[o + 3] = (y + h) * ld + x + w

    return work


@cache
def row():
    one, none = np.float32(1), np.float32(0)

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        weights, slanted, nodes, thresholds = array_f32(c[4]), array_u8(c[5]), array_i32(c[6]), array_f32(c[7])
        leaves, trees, stages, limits = array_f32(c[8]), array_i32(c[9]), array_i32(c[10]), array_f32(c[11])
        offsets, ld, step, ow = array_i32(c[14]), c[16] + 1, c[19], c[21]
        reached, score = array_i32(c[12] + task * ow * 4), array_f64(c[13] + task * ow * 8)
        down, right = (c[17] - 2) * ld, c[18] - 2
        area = np.float64((c[17] - 2) * (c[18] - 2))
        skipping = False
        for x in range(ow):
            at = task * step * ld + x * step
            s, q = array_i32(c[0] + (at + ld + 1) * 4), array_f64(c[1] + (at + ld + 1) * 8)
            total = np.float64(s[0]) - np.float64(s[right]) - np.float64(s[down]) + np.float64(s[down + right])
            variance = area * (q[0] - q[right] - q[down] + q[down + right]) - total * total
            norm = np.float32(1 / np.sqrt(variance)) if variance > 0 else one
            score[x] = 0.0
            if skipping or not (variance > 0 and area * np.float64(norm) < 0.1):
                reached[x] = -2 if skipping else -1
                skipping = False
                continue
            stage = 0
            while stage < c[23]:
                result = 0.0
                for t in range(stages[stage], stages[stage + 1]):
                    root = np.int64(trees[t])
                    k = 0
                    while True:
                        n = root + k
                        f = np.int64(nodes[3 * n])
                        p = array_i32((c[2] if slanted[f] else c[0]) + at * 4)
                        o = CORNERS * f
                        v = none
                        for r in range(3):
                            w = weights[3 * f + r]
                            if w != none:
                                v += w * np.float32(p[offsets[o]] - p[offsets[o + 1]] - p[offsets[o + 2]] + p[offsets[o + 3]])
                            o += 4
                        k = np.int64(nodes[3 * n + (1 if v * norm < thresholds[n] else 2)])
                        if k <= 0:
                            break
                    result += np.float64(leaves[root + t - k])
                score[x] = result
                if result < np.float64(limits[stage]):
                    break
                stage += 1
            reached[x] = stage
            skipping = stage == 0 and c[24] != 0

    return work


@lru_cache(4096)
def programs(p):
    words = [*(Argument(i) for i in range(15)), p.ih, p.iw, p.wh, p.ww, p.step, p.oh, p.ow, p.features, p.stages, int(p.skip)]
    return program(words, Stage(locate(), 1, 0.0), Stage(row(), p.oh, 100.0 * p.oh * p.ow), shared=4 * p.features * CORNERS)


def forward(
    p, sum, squared, tilted, rectangles, weights, slanted, nodes, thresholds, leaves, trees, stages, limits, reached, score, scratch
):
    arrays = sum, squared, tilted, rectangles, weights, slanted, nodes, thresholds, leaves, trees, stages, limits
    programs(p)(*arrays, reached, score, scratch)
