"""A cascade over blocks of sixteen neighbouring windows; the Numba twin of cy_blocks.

    value = (w0 * sum over rectangle 0 + w1 * sum over rectangle 1 + w2 * sum over rectangle 2) / spread

Shapes   sum, squared, tilted (ih + 1, iw + 1); reached, score (oh, ow)
Storage  sums dealt out by residues of the step, as in cy_blocks
Loops    as in cy_blocks, where the reasons stand: rows, blocks, stages, trees, nodes; windows left alone one by one
Cost     most windows fail in the first stages, in flocks: sixteen cost there what one costs alone
"""

from functools import cache, lru_cache

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, array_f32, array_f64, array_i32, array_u8, inline, ints, program, stack, task
from lamella.kernels._common.nb_simd import VECTOR_BYTES, namespace, select
from lamella.kernels.cascade import _nb_lanes

CORNERS = 12  # of a feature
LANES = _nb_lanes.LANES
FEW = LANES * 4 // VECTOR_BYTES  # as many as there are registers
lanes = namespace("cascade_lanes", **{name: getattr(_nb_lanes, name) for name in dir(_nb_lanes) if name[0] != "_"})

# words of the context
SUM, SQUARED, TILTED, RECTANGLES, WEIGHTS, SLANTED, NODES, THRESHOLDS, LEAVES, TREES, STAGES, LIMITS, REACHED, SCORE = range(14)
OFFSETS, PLANE, PLANE2, IH, IW, WH, WW, STEP, OW, FEATURES, NSTAGES, SKIP, RUN = range(14, 27)


def _run(p):
    """Columns of one residue."""
    return -(-(p.iw + 1) // p.step)


def _offsets(p):
    return 4 * p.features * CORNERS


def scratch(pass_, p):
    return _offsets(p) + (0 if p.step == 1 else 4 * (1 + p.tilts) * (p.ih + 1) * _run(p) * p.step), 0


@cache
def deal():
    """A row of the sums, and of the tilted ones, into the planes."""

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        iw, step, run = c[IW], c[STEP], c[RUN]
        slanted = task > c[IH]
        row = task - c[IH] - 1 if slanted else task
        src = array_i32((c[TILTED] if slanted else c[SUM]) + row * (iw + 1) * 4)
        dst = array_i32((c[PLANE2] if slanted else c[PLANE]) + row * run * step * 4)
        for r in range(step):
            for i in range((iw - r) // step + 1):
                dst[r * run + i] = src[i * step + r]

    return work


@cache
def locate():
    """Where the corners of all features lie in their plane."""

    @inline
    def place(x, y, step, run):
        return np.int32(y * step * run + (x % step) * run + x // step)

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        rectangles, slanted, offsets, step, run = array_i32(c[RECTANGLES]), array_u8(c[SLANTED]), array_i32(c[OFFSETS]), c[STEP], c[RUN]
        for f in range(c[FEATURES]):
            for r in range(3):
                i = CORNERS * f + 4 * r
                x, y, w, h = np.int64(rectangles[i]), np.int64(rectangles[i + 1]), np.int64(rectangles[i + 2]), np.int64(rectangles[i + 3])
                turned = slanted[f] != 0
                offsets[i] = place(x, y, step, run)
                offsets[i + 1] = place(x - h if turned else x + w, y + h if turned else y, step, run)
                offsets[i + 2] = place(x + w if turned else x, y + w if turned else y + h, step, run)
                offsets[i + 3] = place(x + w - h if turned else x + w, y + w + h if turned else y + h, step, run)

    return work


@cache
def alone():
    """One window from a stage on: how many stages it passes; the score goes to an address."""
    none = np.float32(0)

    @inline
    def passed(c, at, norm, stage, score):
        weights, slanted, nodes, thresholds = array_f32(c[WEIGHTS]), array_u8(c[SLANTED]), array_i32(c[NODES]), array_f32(c[THRESHOLDS])
        leaves, trees, stages, limits = array_f32(c[LEAVES]), array_i32(c[TREES]), array_i32(c[STAGES]), array_f32(c[LIMITS])
        offsets = array_i32(c[OFFSETS])
        while stage < c[NSTAGES]:
            result = 0.0
            for t in range(stages[stage], stages[stage + 1]):
                root = np.int64(trees[t])
                k = 0
                while True:
                    n = root + k
                    f = np.int64(nodes[3 * n])
                    p = array_i32((c[PLANE2] if slanted[f] else c[PLANE]) + at * 4)
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
            array_f64(score)[0] = result
            if result < np.float64(limits[stage]):
                break
            stage += 1
        return stage

    return passed


@cache
def together():
    """The sums of one stage, of sixteen windows."""
    none = np.float32(0)

    @inline
    def rectangle(p, offsets):
        o = array_i32(offsets)
        a, b = lanes.load_i32(p + np.int64(o[0]) * 4), lanes.load_i32(p + np.int64(o[1]) * 4)
        d, e = lanes.load_i32(p + np.int64(o[2]) * 4), lanes.load_i32(p + np.int64(o[3]) * 4)
        return lanes.floats(a - b - d + e)

    @inline
    def sums(c, at, norm, stage):
        weights, slanted, nodes, thresholds = array_f32(c[WEIGHTS]), array_u8(c[SLANTED]), array_i32(c[NODES]), array_f32(c[THRESHOLDS])
        leaves, trees, stages = array_f32(c[LEAVES]), array_i32(c[TREES]), array_i32(c[STAGES])
        result = lanes.no_doubles()
        for t in range(stages[stage], stages[stage + 1]):
            root = np.int64(trees[t])
            go, leaf = lanes.no_integers(), lanes.no_floats()
            for k in range(np.int64(trees[t + 1]) - root):
                n = root + k
                f = np.int64(nodes[3 * n])
                p = (c[PLANE2] if slanted[f] else c[PLANE]) + at * 4
                offsets = c[OFFSETS] + CORNERS * 4 * f
                v = weights[3 * f] * rectangle(p, offsets) + weights[3 * f + 1] * rectangle(p, offsets + 16)
                if weights[3 * f + 2] != none:
                    v = v + weights[3 * f + 2] * rectangle(p, offsets + 32)
                left, right = nodes[3 * n + 1], nodes[3 * n + 2]
                low = leaves[root + t - left] if left <= 0 else none
                high = leaves[root + t - right] if right <= 0 else none
                less = v * norm < thresholds[n]
                here = go == np.int32(k)
                leaf = select(here, select(less, low, high), leaf)
                go = select(here, select(less, left if left > 0 else np.int32(-1), right if right > 0 else np.int32(-1)), go)
            result = result + lanes.doubles(leaf)
        return result

    return sums


@cache
def row():
    one, memory, passed, stage_sums = np.float32(1), stack(LANES * 12), alone(), together()

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        ld, step, ow, nstages, limits = c[IW] + 1, c[STEP], c[OW], c[NSTAGES], array_f32(c[LIMITS])
        reached_at, score_at = c[REACHED] + task * ow * 4, c[SCORE] + task * ow * 8
        reached, score = array_i32(reached_at), array_f64(score_at)
        down, right = (c[WH] - 2) * ld, c[WW] - 2
        area = np.float64((c[WH] - 2) * (c[WW] - 2))
        corner = (task * step + 1) * ld + 1
        s, q = array_i32(c[SUM] + corner * 4), array_f64(c[SQUARED] + corner * 8)
        plane_row = task * step * c[RUN] * step
        results_at = memory()
        norms_at = results_at + LANES * 8
        results, norms = array_f64(results_at), array_f32(norms_at)
        skipping = False
        x = 0
        while x < ow:
            x0 = max(0, min(x, ow - LANES))
            width = min(LANES, ow - x0)
            clear = 0
            for l in range(width):
                i = (x0 + l) * step
                total = np.float64(np.int32(s[i] - s[i + right] - s[i + down] + s[i + down + right]))
                variance = area * (q[i] - q[i + right] - q[i + down] + q[i + down + right]) - total * total
                norm = np.float32(1 / np.sqrt(variance)) if variance > 0 else one
                norms[l] = norm
                clear |= (1 if variance > 0 and area * np.float64(norm) < 0.1 else 0) << l
            alive, stage = 0, 0
            while stage < nstages and (stage == 0 or lanes.count(alive) >= FEW):
                if width == LANES:
                    sums = stage_sums(c, plane_row + x0, lanes.load_f32(norms_at), stage)
                    kept = ~lanes.bits(sums < np.float64(limits[stage]))
                if stage > 0:
                    lanes.store_f64(score_at + x0 * 8, select(lanes.mask(alive), sums, lanes.load_f64(score_at + x0 * 8)))
                    alive &= kept
                    lanes.store_i32(
                        reached_at + x0 * 4, select(lanes.mask(alive), np.int32(stage + 1), lanes.load_i32(reached_at + x0 * 4))
                    )
                else:
                    if width == LANES:
                        lanes.store_f64(results_at, sums)
                    for l in range(x - x0, width):
                        if skipping or not clear >> l & 1:
                            reached[x0 + l] = -2 if skipping else -1
                            score[x0 + l] = 0.0
                            skipping = False
                            continue
                        if width < LANES:
                            reached[x0 + l] = passed(c, plane_row + x0 + l, norms[l], 0, score_at + (x0 + l) * 8)
                        else:
                            reached[x0 + l] = kept >> l & 1
                            score[x0 + l] = results[l]
                            alive |= (kept >> l & 1) << l
                        skipping = c[SKIP] != 0 and reached[x0 + l] == 0
                stage += 1
            if stage < nstages:
                for l in range(LANES):
                    if alive >> l & 1:
                        reached[x0 + l] = passed(c, plane_row + x0 + l, norms[l], stage, score_at + (x0 + l) * 8)
            x = x0 + width

    return work


@lru_cache(4096)
def programs(p):
    given = [Argument(i) for i in range(14)]
    offsets, run = Argument(14), _run(p)
    planes = [given[SUM], given[TILTED]]
    stages = [Stage(locate(), 1, 0.0), Stage(row(), p.oh, 30.0 * p.oh * p.ow)]
    if p.step > 1:
        dealt = offsets.at(_offsets(p))
        planes = [dealt, dealt.at(dealt.offset + 4 * (p.ih + 1) * run * p.step)]
        rows = (1 + p.tilts) * (p.ih + 1)
        stages.insert(0, Stage(deal(), rows, 0.3 * rows * run * p.step))
    words = [*given, offsets, *planes, p.ih, p.iw, p.wh, p.ww, p.step, p.ow, p.features, p.stages, int(p.skip), run]
    return program(words, *stages, shared=scratch("forward", p)[0])


def forward(
    p, sum, squared, tilted, rectangles, weights, slanted, nodes, thresholds, leaves, trees, stages, limits, reached, score, scratch
):
    arrays = sum, squared, tilted, rectangles, weights, slanted, nodes, thresholds, leaves, trees, stages, limits
    programs(p)(*arrays, reached, score, scratch)
