"""Softmax and its losses, a row at a time; the Numba twin of cy_rows.

    The formulas of every pass stand on the manual page of the folder: loss = log sum exp(x - m) - (x_t - m), ...

Shapes   x, g, y, out, dx (rows, classes); target (rows,) int64 or (rows, classes); weight (classes,); stats (rows, 2)
Storage  C-contiguous: the classes of a row lie side by side
Loops    tasks of about BLOCK elements, whole rows, in groups that fit L1; per row one pass for the maximum, one for the exponentials and
         their sum, one to scale. A group goes through a pass together. Backward, a row's gradient is written while the next row's sum is
         taken
Edges    the last register of a row is masked; a row of few classes is one masked register from end to end
Sums     over rows in float64 per task, combined in the order of the tasks by a stage of its own (`total_task`), which also
         divides; what the gradient divides by is brought into the context by `divisor_task`
Cost     one exponential per element, forward and backward
"""

from functools import cache, lru_cache, partial

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, array_f64, array_i64, doubles, floats_of, inline, ints, program, runs, stack, task
from lamella.kernels._common.nb_math import math_of
from lamella.kernels._common.nb_simd import VECTOR_BYTES, maximum, prefetch_l1, select, simd

BLOCK = 16384  # elements of a task
GROUP, GROUPED = 4, 2048  # rows of a group, if they are no more than so many elements
NONE, SUM, MEAN = 0, 1, 2
# words of the context; the doubles follow the integers
(
    ROWS, CLASSES, PER_TASK, TOGETHER, TASKS, IGNORE, REDUCTION, SOFT, X, G, TARGET, WEIGHT, STATS, OUT, TOTAL, PARTIAL, SMOOTHING, WEIGHTS,
    DIVISOR,
) = range(19)  # fmt: skip


@cache
def row_functions(dtype):
    """(lane_softmax, group_sums, smoothed weights of a register); x, out, q, w, stats are addresses."""
    v, exp, array, item = simd(dtype), math_of(dtype, 1).exp_below, floats_of(dtype), dtype.itemsize
    lanes = v.lanes
    lowest, one = dtype.type(-np.inf), dtype.type(1)

    @inline
    def row_max(x, n):
        m = v.set(lowest)
        for i in range(n // lanes):
            m = maximum(m, v.load(x + i * VECTOR_BYTES))
        left = n % lanes
        if left:
            m = maximum(m, select(v.head(left), v.load_n(x + n // lanes * VECTOR_BYTES, left), m))
        return v.largest(m)

    @inline
    def row_exp(x, n, m, ahead, out):
        """The sum of exp(x - m); the terms are stored where out is given. What lies `ahead`, of the next group, is fetched meanwhile."""
        s = v.zero()
        for i in range(n // lanes):
            prefetch_l1(x + ahead + i * VECTOR_BYTES)
            e = exp(v.load(x + i * VECTOR_BYTES) - m)
            s = s + e
            if out != 0:
                v.store(out + i * VECTOR_BYTES, e)
        left = n % lanes
        if left:
            at = n // lanes * VECTOR_BYTES
            e = exp(v.load_n(x + at, left) - m)
            s = s + select(v.head(left), e, v.zero())
            if out != 0:
                v.store_n(out + at, left, e)
        return v.sum(s)

    @inline
    def lane_softmax(x, n, out):
        """A row of one register at most stays there."""
        there, a = v.head(n), v.load_n(x, n)
        e = exp(a - v.largest(select(there, a, v.set(lowest))))
        v.store_n(out, n, e * (one / v.sum(select(there, e, v.zero()))))

    @inline
    def group_sums(x, n, rows, stats, out):
        """stats: of each row the maximum m, then the sum of exp(x - m); the terms are stored where out is given."""
        size = n * item
        for r in range(rows):
            array(stats)[2 * r] = row_max(x + r * size, n)
        for r in range(rows):
            array(stats)[2 * r + 1] = row_exp(x + r * size, n, array(stats)[2 * r], rows * size, out + r * size if out != 0 else 0)

    @inline
    def smoothed(q, w, at, left, keep, spread):
        """w_c (keep q_c + spread) of a register of classes, 0 beyond the row; without q or w 1."""
        p = select(v.head(left), spread if q != 0 else one, v.zero())
        if q != 0:
            p = v.fma(v.load_n(q + at, left), v.set(keep), p)
        return p * v.load_n(w + at, left) if w != 0 else p

    return lane_softmax, group_sums, smoothed


@cache
def forward_task(dtype, log):
    """softmax, or its logarithm."""
    array, item, real = floats_of(dtype), dtype.itemsize, dtype.type
    v, stats_of = simd(dtype), stack(2 * GROUP * item)
    lanes = v.lanes
    lane_softmax, group_sums, _ = row_functions(dtype)
    one = real(1)

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        n, stats = c[CLASSES], stats_of()
        row = task * c[PER_TASK]
        end = min(row + c[PER_TASK], c[ROWS])
        while row < end:
            rows = min(c[TOGETHER], end - row)
            x, out = c[X] + row * n * item, c[OUT] + row * n * item
            row += rows
            if n <= lanes and not log:
                for r in range(rows):
                    lane_softmax(x + r * n * item, n, out + r * n * item)
                continue
            group_sums(x, n, rows, stats, 0 if log else out)
            for r in range(rows):
                m, s = array(stats)[2 * r], array(stats)[2 * r + 1]
                scale, logsum = one / s, real(np.log(np.float64(s))) if log else one
                for i in range(0, n, lanes):
                    left = min(n - i, lanes)
                    at = r * n * item + i // lanes * VECTOR_BYTES
                    if log:
                        y = (v.load_n(x + at, left) - m) - logsum  # in this order the digits of the sum survive a large m
                    else:
                        y = v.load_n(out + at, left) * scale
                    v.store_n(out + at, left, y)

    return work


@cache
def backward_task(dtype, log):
    """The gradient of softmax, or of its logarithm: of a row, while the next row's sum is taken."""
    item = dtype.itemsize
    v, exp = simd(dtype), math_of(dtype, 1).exp_below
    lanes = v.lanes

    @inline
    def product(g, y):
        return g if log else g * y

    @inline
    def through(g, y, s):
        return g - exp(y) * s if log else y * (g - s)

    @inline
    def row_sum(g, y, n):
        s = v.zero()
        for i in range(0, n, lanes):
            left = min(n - i, lanes)
            at = i // lanes * VECTOR_BYTES
            s = s + product(v.load_n(g + at, left), v.load_n(y + at, left))
        return v.sum(s)

    @inline
    def row_through(g, y, n, s, ahead, dx):
        """A row of dx, given its sum s; meanwhile the sum of the row that lies `ahead`."""
        a, b, pairs = v.zero(), v.zero(), n // (2 * lanes)
        for i in range(pairs):
            at = 2 * i * VECTOR_BYTES
            v.store(dx + at, through(v.load(g + at), v.load(y + at), s))
            a = a + product(v.load(g + ahead + at), v.load(y + ahead + at))
            at += VECTOR_BYTES
            v.store(dx + at, through(v.load(g + at), v.load(y + at), s))
            b = b + product(v.load(g + ahead + at), v.load(y + ahead + at))
        for i in range(2 * lanes * pairs, n, lanes):
            left = min(n - i, lanes)
            at = i * item
            v.store_n(dx + at, left, through(v.load_n(g + at, left), v.load_n(y + at, left), s))
            a = a + product(v.load_n(g + ahead + at, left), v.load_n(y + ahead + at, left))
        return v.sum(a + b)

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        n = c[CLASSES]
        size = n * item
        first = task * c[PER_TASK]
        rows = min(c[PER_TASK], c[ROWS] - first)
        g, y, dx = c[G] + first * size, c[X] + first * size, c[OUT] + first * size
        s = row_sum(g, y, n)
        for r in range(rows):  # the last row takes its own sum again, for nothing
            s = row_through(g + r * size, y + r * size, n, s, size if r + 1 < rows else 0, dx + r * size)

    return work


@cache
def smoothed_sums(dtype):
    """The sum of a row's smoothed weights, and of them times (x - m)."""
    v = simd(dtype)
    lanes = v.lanes
    *_, smoothed = row_functions(dtype)

    @inline
    def sums(x, q, w, n, m, keep, spread):
        a, b = v.zero(), v.zero()
        for i in range(0, n, lanes):
            left = min(n - i, lanes)
            at = i // lanes * VECTOR_BYTES
            p = smoothed(q, w, at, left, keep, spread)
            a = a + p
            b = v.fma(p, select(v.head(left), v.load_n(x + at, left), v.set(m)) - m, b)
        return np.float64(v.sum(a)), np.float64(v.sum(b))

    return sums


@cache
def loss_task(dtype):
    """Cross entropy, forward."""
    array, item, real = floats_of(dtype), dtype.itemsize, dtype.type
    _, group_sums, _ = row_functions(dtype)
    sums = smoothed_sums(dtype)

    @task
    def work(ctx, task, slot):
        c, d = ints(ctx), doubles(ctx)
        n, smoothing = c[CLASSES], d[SMOOTHING]
        keep, spread = real(1.0 - smoothing), real(smoothing / n)
        target, weight, stats, out = array_i64(c[TARGET]), array(c[WEIGHT]), array(c[STATS]), array(c[OUT])
        losses, weights = 0.0, 0.0
        first = task * c[PER_TASK]
        end = min(first + c[PER_TASK], c[ROWS])
        for row in range(first, end):
            x = c[X] + row * n * item
            if (row - first) % c[TOGETHER] == 0:
                group_sums(x, n, min(c[TOGETHER], end - row), c[STATS] + 2 * row * item, 0)
            m = stats[2 * row]
            logsum = np.log(np.float64(stats[2 * row + 1]))
            loss = 0.0
            if c[SOFT] != 0:
                plain, shifted = sums(x, c[TARGET] + row * n * item, c[WEIGHT], n, m, keep, spread)
                loss = plain * logsum - shifted
            else:
                y = target[row]
                if y != c[IGNORE]:
                    w = np.float64(weight[y]) if c[WEIGHT] != 0 else 1.0
                    weights += w
                    loss = (1.0 - smoothing) * w * (logsum - np.float64(array(x)[y] - m))
                    if smoothing != 0.0:
                        plain, shifted = sums(x, 0, c[WEIGHT], n, m, keep, spread)
                        loss += smoothing / n * (plain * logsum - shifted)
            losses += loss
            if c[REDUCTION] == NONE:
                out[row] = real(loss)
        partial = array_f64(c[PARTIAL])
        partial[2 * task] = losses
        partial[2 * task + 1] = weights

    return work


@cache
def nll_task(dtype):
    """The negative log-likelihood, forward: a gather."""
    array, item, real = floats_of(dtype), dtype.itemsize, dtype.type

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        target, weight, out = array_i64(c[TARGET]), array(c[WEIGHT]), array(c[OUT])
        losses, weights = 0.0, 0.0
        first = task * c[PER_TASK]
        for row in range(first, min(first + c[PER_TASK], c[ROWS])):
            y = target[row]
            loss = 0.0
            if y != c[IGNORE]:
                w = np.float64(weight[y]) if c[WEIGHT] != 0 else 1.0
                weights += w
                loss = -w * np.float64(array(c[X] + row * c[CLASSES] * item)[y])
            losses += loss
            if c[REDUCTION] == NONE:
                out[row] = real(loss)
        partial = array_f64(c[PARTIAL])
        partial[2 * task] = losses
        partial[2 * task + 1] = weights

    return work


@cache
def total_task(dtype):
    """The partial sums of all tasks, in order; the loss, and the sum of the weights where `total` is given."""
    array, real = floats_of(dtype), dtype.type

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        partial, out, total = array_f64(c[PARTIAL]), array(c[OUT]), array_f64(c[TOTAL])
        losses, weights = 0.0, 0.0
        for i in range(c[TASKS]):
            losses += partial[2 * i]
            weights += partial[2 * i + 1]
        if c[REDUCTION] == MEAN:
            losses /= np.float64(c[ROWS]) if c[SOFT] != 0 else weights
        if c[REDUCTION] != NONE:
            out[0] = real(losses)
        if c[TOTAL] != 0:
            total[0] = weights

    return work


@cache
def divisor_task(dtype):
    """What the gradient is divided by, and the sum of all class weights, for the context."""
    array = floats_of(dtype)

    @task
    def work(ctx, task, slot):
        c, d = ints(ctx), doubles(ctx)
        weight = array(c[WEIGHT])
        if c[REDUCTION] == MEAN:
            d[DIVISOR] = np.float64(c[ROWS]) if c[SOFT] != 0 else array_f64(c[TOTAL])[0]
        if c[WEIGHT] != 0:
            weights = 0.0
            for i in range(c[CLASSES]):
                weights += np.float64(weight[i])
            d[WEIGHTS] = weights

    return work


@cache
def gradient_task(dtype, nll):
    """Cross entropy, backward; nll: only the gather's gradient, a scatter into zeros."""
    array, item, real = floats_of(dtype), dtype.itemsize, dtype.type
    v, exp = simd(dtype), math_of(dtype, 1).exp_below
    lanes = v.lanes
    *_, smoothed = row_functions(dtype)
    sums = smoothed_sums(dtype)

    @task
    def work(ctx, task, slot):
        c, d = ints(ctx), doubles(ctx)
        n, smoothing = c[CLASSES], 0.0 if nll else d[SMOOTHING]
        keep, spread = real(1.0 - smoothing), real(smoothing / n)
        g, target, weight, stats = array(c[G]), array_i64(c[TARGET]), array(c[WEIGHT]), array(c[STATS])
        first = task * c[PER_TASK]
        for row in range(first, min(first + c[PER_TASK], c[ROWS])):
            x, dx, q = c[X] + row * n * item, c[OUT] + row * n * item, 0
            k = np.float64(g[row if c[REDUCTION] == NONE else 0]) / d[DIVISOR]
            y, hard, a, b = -1, 0.0, real(0), real(0)
            counts = True
            if c[SOFT] != 0:
                q = c[TARGET] + row * n * item
                plain, _ = sums(x, q, c[WEIGHT], n, stats[2 * row], keep, spread)
                a, b = real(k * plain / stats[2 * row + 1]), real(k)
            else:
                y = target[row]
                counts = y != c[IGNORE]
                if counts:
                    hard = k * (1.0 - smoothing) * (np.float64(weight[y]) if c[WEIGHT] != 0 else 1.0)
                    if not nll:
                        smooth = k * smoothing / n
                        a, b = real((hard + smooth * d[WEIGHTS]) / stats[2 * row + 1]), real(smooth)
            subtract = q != 0 or smoothing != 0.0
            for i in range(0, n, lanes):
                left = min(n - i, lanes)
                at = i // lanes * VECTOR_BYTES
                if nll or not counts:
                    v.store_n(dx + at, left, v.zero())
                    continue
                e = exp(v.load_n(x + at, left) - stats[2 * row]) * a
                if subtract:
                    e = e - smoothed(q, c[WEIGHT], at, left, keep, spread) * b
                v.store_n(dx + at, left, e)
            if counts and y >= 0:
                array(dx)[y] -= real(hard)

    return work


def _per_task(p):
    return max(1, BLOCK // max(p.classes, 1))


def _tasks(p):
    return -(-p.rows // _per_task(p))


def scratch(pass_, p):
    """Two partial sums per task of the losses."""
    if pass_ in ("cross_entropy_forward", "cross_entropy_soft_forward", "nll_forward"):
        return 16 * max(1, _tasks(p)), 0
    return 0, 0


@lru_cache(4096)
def programs(pass_, p):
    arguments = ARGUMENTS[pass_].split()
    of = {name: Argument(arguments.index(name)) for name in arguments}
    words = [
        p.rows, p.classes, _per_task(p), max(1, min(GROUP, GROUPED // max(p.classes, 1))), _tasks(p), p.ignore_index, p.reduction_kind,
        "soft" in pass_, of.get("x", of.get("y")), of.get("g"), of.get("target"), of.get("weight"), of.get("stats"),
        of.get("out", of.get("loss", of.get("dx"))), of.get("total"), of["scratch"],
        p.label_smoothing, float(p.classes), 1.0,
    ]  # fmt: skip
    time = 1.0 * p.rows * (p.classes + 20)
    if "target" not in of:
        work = (forward_task if "x" in of else backward_task)(p.dtype, pass_.startswith("log"))
        return program(words, Stage(work, _tasks(p), time))
    if "loss" in of:
        work = nll_task(p.dtype) if pass_ == "nll_forward" else loss_task(p.dtype)
        return program(words, Stage(work, _tasks(p), time), Stage(total_task(p.dtype), 1, 0.0))
    return program(words, Stage(divisor_task(p.dtype), 1, 0.0), Stage(gradient_task(p.dtype, pass_ == "nll_backward"), _tasks(p), time))


ARGUMENTS = {
    "forward": "x out scratch",
    "backward": "g y out scratch",
    "log_forward": "x out scratch",
    "log_backward": "g y out scratch",
    "cross_entropy_forward": "x target weight loss stats total scratch",
    "cross_entropy_backward": "g x target weight stats total dx scratch",
    "cross_entropy_soft_forward": "x target weight loss stats scratch",
    "cross_entropy_soft_backward": "g x target weight stats dx scratch",
    "nll_forward": "x target weight loss total scratch",
    "nll_backward": "g target weight total dx scratch",
}


@runs(partial(programs, "forward"))
def forward(p, x, out, scratch): ...


@runs(partial(programs, "backward"))
def backward(p, g, y, dx, scratch): ...


@runs(partial(programs, "log_forward"))
def log_forward(p, x, out, scratch): ...


@runs(partial(programs, "log_backward"))
def log_backward(p, g, y, dx, scratch): ...


@runs(partial(programs, "cross_entropy_forward"))
def cross_entropy_forward(p, x, target, weight, loss, stats, total, scratch): ...


@runs(partial(programs, "cross_entropy_backward"))
def cross_entropy_backward(p, g, x, target, weight, stats, total, dx, scratch): ...


@runs(partial(programs, "cross_entropy_soft_forward"))
def cross_entropy_soft_forward(p, x, target, weight, loss, stats, scratch): ...


@runs(partial(programs, "cross_entropy_soft_backward"))
def cross_entropy_soft_backward(p, g, x, target, weight, stats, dx, scratch): ...


@runs(partial(programs, "nll_forward"))
def nll_forward(p, x, target, weight, loss, total, scratch): ...


@runs(partial(programs, "nll_backward"))
def nll_backward(p, g, target, weight, total, dx, scratch): ...
