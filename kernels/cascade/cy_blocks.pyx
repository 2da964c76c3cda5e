"""A cascade over blocks of sixteen neighbouring windows.

    value = (w0 * sum over rectangle 0 + w1 * sum over rectangle 1 + w2 * sum over rectangle 2) / spread

Shapes   sum, squared, tilted (ih + 1, iw + 1); reached, score (oh, ow)
Storage  where windows lie `step` columns apart, sums are first dealt out: a row of a plane holds columns 0, step, 2 step ..., then 1, step + 1 ...;
         a corner of sixteen neighbouring windows is then one run of memory, for any step
Loops    tasks are rows of windows
           blocks of a row, a window per lane
             spread, and the first stage of all sixteen; which of them skip their neighbour; then
             stages, as long as FEW windows are left: a corner of a rectangle is one load for all
               trees, nodes: every node for all lanes, those that came to it take its turn
             the windows left alone go on one by one, and only through the nodes they come to
Edges    the last block of a row overlaps the one before; rows shorter than a block go one by one
Cost     most windows fail in the first stages, in flocks: sixteen cost there what one costs alone
Source   Viola, Jones: Rapid object detection using a boosted cascade of simple features, 2001
"""
cimport numpy as cnp
from libc.math cimport sqrt

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport LM_VB
from lamella.kernels._common.types cimport i32, i64, u8

cnp.import_array()

cdef enum:
    LANES = 16
    CORNERS = 12    # of a feature

cdef int FEW = LANES * 4 // LM_VB    # as many as there are registers: fewer windows take less time one by one

cdef struct Context:
    const i32 *sum
    const double *squared
    const i32 *tilted
    const i32 *rectangles
    const float *weights
    const u8 *slanted
    const i32 *nodes
    const float *thresholds
    const float *leaves
    const i32 *trees
    const i32 *stages
    const float *limits
    i32 *reached
    double *score
    const i32 *planes[2]    # of sums, of tilted sums: dealt out
    i32 *dealt
    i32 *offsets            # of the corners of each feature, in its plane
    i64 ih, iw, wh, ww, step, oh, ow, features, nstages
    i64 ld, run             # of a plane: a row, and the columns of one residue
    bint tilts, skip


def scratch(pass_, p):
    run = -(-(p.iw + 1) // p.step)
    dealt = 0 if p.step == 1 else (1 + p.tilts) * (p.ih + 1) * run * p.step
    return 4 * (dealt + p.features * CORNERS), 0


cdef void deal(void *context, i64 row, i64 slot) noexcept nogil:
    """A row of the sums, and of the tilted ones, into the planes."""
    cdef Context *c = <Context *>context
    cdef bint slanted = row > c.ih
    cdef const i32 *src = c.tilted + (row - c.ih - 1) * (c.iw + 1) if slanted else c.sum + row * (c.iw + 1)
    cdef i32 *dst = c.dealt + row * c.ld
    cdef i64 r, i
    for r in range(c.step):
        for i in range((c.iw - r) // c.step + 1):
            dst[r * c.run + i] = src[i * c.step + r]


cdef inline i32 place(Context *c, i64 x, i64 y) noexcept nogil:
    return <i32>(y * c.ld + (x % c.step) * c.run + x // c.step)


cdef void locate(Context *c) noexcept nogil:
    cdef i64 f, _r, x, y, w, h
    cdef i32 *o = c.offsets
    cdef const i32 *rectangle = c.rectangles
    for f in range(c.features):
        for _r in range(3):
            x = rectangle[0]
            y = rectangle[1]
            w = rectangle[2]
            h = rectangle[3]
            o[0] = place(c, x, y)
            if c.slanted[f]:
                o[1] = place(c, x - h, y + h)
                o[2] = place(c, x + w, y + w)
                o[3] = place(c, x + w - h, y + w + h)
            else:
                o[1] = place(c, x + w, y)
                o[2] = place(c, x, y + h)
                o[3] = place(c, x + w, y + h)
            o += 4
            rectangle += 4


cdef inline float value(Context *c, i64 f, i64 at) noexcept nogil:
    """A feature of one window, not yet divided by its spread."""
    cdef const i32 *p = c.planes[c.slanted[f]] + at
    cdef const i32 *o = c.offsets + f * CORNERS
    cdef const float *w = c.weights + 3 * f
    cdef float v = w[0] * <float>(p[o[0]] - p[o[1]] - p[o[2]] + p[o[3]]) + w[1] * <float>(p[o[4]] - p[o[5]] - p[o[6]] + p[o[7]])
    if w[2] != 0:
        v += w[2] * <float>(p[o[8]] - p[o[9]] - p[o[10]] + p[o[11]])
    return v


cdef inline bint norm_of(Context *c, double area, double total, double squares, float *norm) noexcept nogil:
    """The reciprocal of the spread; whether the window has any."""
    cdef double variance = area * squares - total * total
    norm[0] = <float>(1 / sqrt(variance)) if variance > 0 else <float>1
    return variance > 0 and area * norm[0] < 0.1


cdef i64 alone(Context *c, i64 at, float norm, i64 stage, double *score) noexcept nogil:
    """One window from a stage on: how many stages it passes."""
    cdef i64 t, root
    cdef i32 k
    cdef double result
    while stage < c.nstages:
        result = 0
        for t in range(c.stages[stage], c.stages[stage + 1]):
            root = c.trees[t]
            k = 0
            while True:
                k = c.nodes[3 * (root + k) + (1 if value(c, c.nodes[3 * (root + k)], at) * norm < c.thresholds[root + k] else 2)]
                if k <= 0:
                    break
            result += c.leaves[root + t - k]
        score[0] = result
        if result < c.limits[stage]:
            break
        stage += 1
    return stage


cdef inline void spread(float *out, float w, const i32 *p, const i32 *o, bint first) noexcept nogil:
    """out = or += w * (sum over a rectangle), for sixteen windows."""
    cdef const i32 *a = p + o[0]
    cdef const i32 *b = p + o[1]
    cdef const i32 *d = p + o[2]
    cdef const i32 *e = p + o[3]
    cdef i64 l
    for l in range(LANES):
        out[l] = (0 if first else out[l]) + w * <float>(a[l] - b[l] - d[l] + e[l])


cdef inline void values(Context *c, i64 f, i64 at, const float *norm, float *v) noexcept nogil:
    """A feature of sixteen windows."""
    cdef const i32 *p = c.planes[c.slanted[f]] + at
    cdef const i32 *o = c.offsets + f * CORNERS
    cdef const float *w = c.weights + 3 * f
    cdef i64 l
    spread(v, w[0], p, o, True)
    spread(v, w[1], p, o + 4, False)
    if w[2] != 0:
        spread(v, w[2], p, o + 8, False)
    for l in range(LANES):
        v[l] *= norm[l]


cdef void together(Context *c, i64 at, const float *norm, i64 stage, double *result) noexcept nogil:
    """The sums of one stage, of sixteen windows."""
    cdef float v[LANES]
    cdef float leaf[LANES]
    cdef i32 go[LANES]
    cdef i64 l, t, n, root, count
    cdef i32 k
    cdef float threshold, low, high, ended
    cdef i32 left, right, taken
    for l in range(LANES):
        result[l] = 0
    for t in range(c.stages[stage], c.stages[stage + 1]):
        root = c.trees[t]
        count = c.trees[t + 1] - root
        for l in range(LANES):
            go[l] = 0
            leaf[l] = 0
        for k in range(count):
            n = root + k
            values(c, c.nodes[3 * n], at, norm, v)
            threshold = c.thresholds[n]
            left = c.nodes[3 * n + 1]
            right = c.nodes[3 * n + 2]
            low = c.leaves[root + t - left] if left <= 0 else 0
            high = c.leaves[root + t - right] if right <= 0 else 0
            left = left if left > 0 else -1
            right = right if right > 0 else -1
            for l in range(LANES):  # without branches, so that the compiler fills registers
                taken = left if v[l] < threshold else right
                ended = low if v[l] < threshold else high
                leaf[l] = ended if go[l] == k else leaf[l]
                go[l] = taken if go[l] == k else go[l]
        for l in range(LANES):
            result[l] += leaf[l]


cdef void row(void *context, i64 y, i64 slot) noexcept nogil:
    cdef Context *c = <Context *>context
    cdef double area = (c.wh - 2) * (c.ww - 2)
    cdef i64 ld = c.iw + 1
    cdef const double *q = c.squared + (y * c.step + 1) * ld + 1
    cdef const i32 *s = c.sum + (y * c.step + 1) * ld + 1
    cdef i64 down = (c.wh - 2) * ld
    cdef i64 right = c.ww - 2
    cdef i32 *reached = c.reached + y * c.ow
    cdef double *score = c.score + y * c.ow
    cdef float norm[LANES]
    cdef double result[LANES]
    cdef bint alive[LANES]
    cdef bint clear[LANES]
    cdef bint skipping = False
    cdef i64 x = 0
    cdef i64 x0, i, l, left, stage, lanes
    while x < c.ow:
        x0 = max(<i64>0, min(x, c.ow - LANES))
        lanes = min(<i64>LANES, c.ow - x0)
        for l in range(lanes):
            i = (x0 + l) * c.step
            clear[l] = norm_of(
                c, area, s[i] - s[i + right] - s[i + down] + s[i + down + right], q[i] - q[i + right] - q[i + down] + q[i + down + right], &norm[l]
            )
        if lanes == LANES:
            together(c, y * c.step * c.ld + x0, norm, 0, result)
        left = 0
        for l in range(lanes):
            alive[l] = False
            if x0 + l < x:
                continue
            if skipping or not clear[l]:
                reached[x0 + l] = -2 if skipping else -1
                score[x0 + l] = 0
                skipping = False
                continue
            if lanes < LANES:
                reached[x0 + l] = <i32>alone(c, y * c.step * c.ld + x0 + l, norm[l], 0, score + x0 + l)
            else:
                alive[l] = not result[l] < c.limits[0]
                reached[x0 + l] = alive[l]
                score[x0 + l] = result[l]
                left += alive[l]
            skipping = c.skip and reached[x0 + l] == 0
        x = x0 + lanes
        stage = 1
        while left >= FEW and stage < c.nstages:
            together(c, y * c.step * c.ld + x0, norm, stage, result)
            for l in range(LANES):
                if alive[l]:
                    score[x0 + l] = result[l]
                    if result[l] < c.limits[stage]:
                        alive[l] = False
                        left -= 1
                    else:
                        reached[x0 + l] = <i32>stage + 1
            stage += 1
        if left and stage < c.nstages:
            for l in range(LANES):
                if alive[l]:
                    reached[x0 + l] = <i32>alone(c, y * c.step * c.ld + x0 + l, norm[l], stage, score + x0 + l)


def forward(
    p, cnp.ndarray sum, cnp.ndarray squared, cnp.ndarray tilted, cnp.ndarray rectangles, cnp.ndarray weights, cnp.ndarray slanted,
    cnp.ndarray nodes, cnp.ndarray thresholds, cnp.ndarray leaves, cnp.ndarray trees, cnp.ndarray stages, cnp.ndarray limits,
    cnp.ndarray reached, cnp.ndarray score, cnp.ndarray scratch,
):
    cdef Context c
    cdef i64 rows
    c.sum = <const i32 *>cnp.PyArray_DATA(sum)
    c.squared = <const double *>cnp.PyArray_DATA(squared)
    c.tilted = <const i32 *>NULL if tilted is None else <const i32 *>cnp.PyArray_DATA(tilted)
    c.rectangles = <const i32 *>cnp.PyArray_DATA(rectangles)
    c.weights = <const float *>cnp.PyArray_DATA(weights)
    c.slanted = <const u8 *>cnp.PyArray_DATA(slanted)
    c.nodes = <const i32 *>cnp.PyArray_DATA(nodes)
    c.thresholds = <const float *>cnp.PyArray_DATA(thresholds)
    c.leaves = <const float *>cnp.PyArray_DATA(leaves)
    c.trees = <const i32 *>cnp.PyArray_DATA(trees)
    c.stages = <const i32 *>cnp.PyArray_DATA(stages)
    c.limits = <const float *>cnp.PyArray_DATA(limits)
    c.reached = <i32 *>cnp.PyArray_DATA(reached)
    c.score = <double *>cnp.PyArray_DATA(score)
    c.ih = p.ih
    c.iw = p.iw
    c.wh = p.wh
    c.ww = p.ww
    c.step = p.step
    c.oh = p.oh
    c.ow = p.ow
    c.features = p.features
    c.nstages = p.stages
    c.tilts = p.tilts
    c.skip = p.skip
    c.run = (c.iw + c.step) // c.step
    c.ld = c.run * c.step
    rows = (c.ih + 1) * (2 if c.tilts else 1)
    c.offsets = <i32 *>cnp.PyArray_DATA(scratch)
    with nogil:
        if c.step == 1:
            c.planes[0] = c.sum
            c.planes[1] = c.tilted
        else:
            c.dealt = c.offsets + c.features * CORNERS
            c.planes[0] = c.dealt
            c.planes[1] = c.dealt + (c.ih + 1) * c.ld
            parallel_for(deal, &c, rows, 0.3 * rows * c.ld, ANY_SLOTS)
        locate(&c)
        parallel_for(row, &c, c.oh, 30.0 * c.oh * c.ow, ANY_SLOTS)
