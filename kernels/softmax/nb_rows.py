"""Softmax and its losses, a row at a time; the Numba twin of cy_rows.

    The formulas of every pass stand on the manual page of the folder: loss = log sum exp(x - m) - (x_t - m), ...

Shapes   x, g, y, out, dx (rows, classes); target (rows,) int64 or (rows, classes); weight (classes,); stats (rows, 2)
Storage  C-contiguous: the classes of a row lie side by side
Loops    tasks of about BLOCK elements, whole rows; per row one pass for the maximum, one for the exponentials and their sum, one to
         scale. Rows are indexed from 0: an index that could be negative would be corrected at every access
Sums     along a row by LLVM's vectoriser, which `reassoc`, on these sums alone, allows to split them; over rows in float64 per
         task, combined in the order of the tasks
Edges    LLVM's scalar remainder loop: rows of few classes gain nothing from vectors
Cost     one exponential per element, forward and backward
"""

from functools import cache

import numpy as np
from lamella.kernels._common.nb import array_f64, array_i64, context, doubles, floats_of, inline, ints, run, task
from lamella.kernels._common.nb_math import math_of

BLOCK = 8192
NONE, SUM, MEAN = 0, 1, 2
SPLIT = {"reassoc", "contract"}
# words of the context; the doubles follow the integers
ROWS, CLASSES, PER_TASK, IGNORE, REDUCTION, X, G, TARGET, WEIGHT, STATS, OUT, PARTIAL, SMOOTHING, WEIGHTS, DIVISOR = range(15)


@cache
def row_functions(dtype):
    """max, sum of exp(x - m), and the two weighted sums of a row."""
    f = math_of(dtype)
    exp, key, value = f.exp, f.key, f.value
    real = np.float32 if dtype == np.float32 else np.float64
    zero, lowest = real(0), real(-np.inf)

    @inline
    def row_max(x, n):
        m = key(lowest)
        for i in range(n):
            k = key(x[i])
            m = k if k > m else m
        return value(m)

    @inline(fastmath=SPLIT)
    def row_exp(x, n, m):
        s = zero
        for i in range(n):
            s += exp(x[i] - m)
        return s

    @inline(fastmath=SPLIT)
    def row_sum(x, n):
        s = zero
        for i in range(n):
            s += x[i]
        return s

    @inline(fastmath=SPLIT)
    def row_product(x, y, n):
        s = zero
        for i in range(n):
            s += x[i] * y[i]
        return s

    return exp, row_max, row_exp, row_sum, row_product


@cache
def plain_task(dtype, pass_):
    """softmax and log-softmax, forward and backward."""
    array, item = floats_of(dtype), dtype.itemsize
    real = np.float32 if dtype == np.float32 else np.float64
    exp, row_max, row_exp, row_sum, row_product = row_functions(dtype)
    one = real(1)
    log_forward, forward_, backward_ = pass_ == "log_forward", pass_ == "forward", pass_ == "backward"

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        n = c[CLASSES]
        first = task * c[PER_TASK]
        for row in range(first, min(first + c[PER_TASK], c[ROWS])):
            at = row * n * item
            x, out = array(c[X] + at), array(c[OUT] + at)
            if forward_:
                m = row_max(x, n)
                for i in range(n):
                    out[i] = exp(x[i] - m)
                scale = one / row_sum(out, n)
                for i in range(n):
                    out[i] = out[i] * scale
            elif log_forward:
                m = row_max(x, n)
                logsum = real(np.log(np.float64(row_exp(x, n, m))))
                for i in range(n):
                    out[i] = (x[i] - m) - logsum
            else:
                g = array(c[G] + at)
                if backward_:
                    s = row_product(g, x, n)
                    for i in range(n):
                        out[i] = x[i] * (g[i] - s)
                else:
                    s = row_sum(g, n)
                    for i in range(n):
                        out[i] = g[i] - exp(x[i]) * s

    return work


@cache
def smoothed_sums(dtype, soft, weighted):
    """The sum of a row's smoothed weights w_c q_c, and of them times (x - m); hard labels: q = 1."""
    real = np.float32 if dtype == np.float32 else np.float64
    zero, one = real(0), real(1)

    @inline(fastmath=SPLIT)
    def sums(x, q, w, n, m, keep, spread):
        a, b = zero, zero
        for i in range(n):
            v = q[i] * keep + spread if soft else one
            if weighted:
                v = v * w[i]
            a += v
            b += v * (x[i] - m)
        return np.float64(a), np.float64(b)

    return sums


@cache
def loss_task(dtype, soft, weighted):
    """Cross entropy, forward."""
    array, item = floats_of(dtype), dtype.itemsize
    real = np.float32 if dtype == np.float32 else np.float64
    _, row_max, row_exp, _, _ = row_functions(dtype)
    sums = smoothed_sums(dtype, soft, weighted)

    @task
    def work(ctx, task, slot):
        c, d = ints(ctx), doubles(ctx)
        n, smoothing = c[CLASSES], d[SMOOTHING]
        keep, spread = real(1.0 - smoothing), real(smoothing / n)
        target, weight, stats, out = array_i64(c[TARGET]), array(c[WEIGHT]), array(c[STATS]), array(c[OUT])
        losses, weights = 0.0, 0.0
        first = task * c[PER_TASK]
        for row in range(first, min(first + c[PER_TASK], c[ROWS])):
            x = array(c[X] + row * n * item)
            m = row_max(x, n)
            s = row_exp(x, n, m)
            stats[2 * row] = m
            stats[2 * row + 1] = s
            logsum = np.log(np.float64(s))
            loss = 0.0
            if soft:
                plain, shifted = sums(x, array(c[TARGET] + row * n * item), weight, n, m, keep, spread)
                loss = plain * logsum - shifted
            else:
                y = target[row]
                if y != c[IGNORE]:
                    w = np.float64(weight[y]) if weighted else 1.0
                    weights += w
                    loss = (1.0 - smoothing) * w * (logsum - np.float64(x[y] - m))
                    if smoothing != 0.0:
                        plain, shifted = sums(x, x, weight, n, m, keep, spread)
                        loss += smoothing / n * (plain * logsum - shifted)
            losses += loss
            if c[REDUCTION] == NONE:
                out[row] = real(loss)
        partial = array_f64(c[PARTIAL])
        partial[2 * task] = losses
        partial[2 * task + 1] = weights

    return work


@cache
def gradient_task(dtype, soft, weighted):
    """Cross entropy, backward."""
    array, item = floats_of(dtype), dtype.itemsize
    real = np.float32 if dtype == np.float32 else np.float64
    exp, *_ = row_functions(dtype)
    sums = smoothed_sums(dtype, soft, weighted)
    zero, one = real(0), real(1)

    @task
    def work(ctx, task, slot):
        c, d = ints(ctx), doubles(ctx)
        n, smoothing = c[CLASSES], d[SMOOTHING]
        keep, spread = real(1.0 - smoothing), real(smoothing / n)
        g, target, weight, stats = array(c[G]), array_i64(c[TARGET]), array(c[WEIGHT]), array(c[STATS])
        first = task * c[PER_TASK]
        for row in range(first, min(first + c[PER_TASK], c[ROWS])):
            at = row * n * item
            x, dx, q = array(c[X] + at), array(c[OUT] + at), array((c[TARGET] if soft else c[X]) + at)
            k = np.float64(g[row if c[REDUCTION] == NONE else 0]) / d[DIVISOR]
            m, s = stats[2 * row], stats[2 * row + 1]
            if soft:
                plain, _ = sums(x, q, weight, n, m, keep, spread)
                a, b = real(k * plain / s), real(k)
                for i in range(n):
                    v = q[i] * keep + spread
                    if weighted:
                        v = v * weight[i]
                    dx[i] = exp(x[i] - m) * a - v * b
            else:
                y = target[row]
                if y == c[IGNORE]:
                    for i in range(n):
                        dx[i] = zero
                else:
                    hard = k * (1.0 - smoothing) * (np.float64(weight[y]) if weighted else 1.0)
                    smooth = k * smoothing / n
                    a, b = real((hard + smooth * d[WEIGHTS]) / s), real(smooth)
                    if smoothing != 0.0:
                        for i in range(n):
                            dx[i] = exp(x[i] - m) * a - (weight[i] if weighted else one) * b
                    else:
                        for i in range(n):
                            dx[i] = exp(x[i] - m) * a
                    dx[y] -= real(hard)

    return work


@cache
def nll_task(dtype, backward, weighted):
    """The negative log-likelihood: a gather, and a scatter into zeros."""
    array, item = floats_of(dtype), dtype.itemsize
    real = np.float32 if dtype == np.float32 else np.float64
    zero = real(0)

    @task
    def work(ctx, task, slot):
        c, d = ints(ctx), doubles(ctx)
        n = c[CLASSES]
        g, target, weight, out = array(c[G]), array_i64(c[TARGET]), array(c[WEIGHT]), array(c[OUT])
        losses, weights = 0.0, 0.0
        first = task * c[PER_TASK]
        for row in range(first, min(first + c[PER_TASK], c[ROWS])):
            y = target[row]
            counts = y != c[IGNORE]
            w = (np.float64(weight[y]) if weighted else 1.0) if counts else 0.0
            if backward:
                dx = array(c[OUT] + row * n * item)
                for i in range(n):
                    dx[i] = zero
                if counts:
                    dx[y] = real(-(np.float64(g[row if c[REDUCTION] == NONE else 0]) / d[DIVISOR] * w))
            else:
                loss = -w * np.float64(array(c[X] + row * n * item)[y]) if counts else 0.0
                losses += loss
                weights += w
                if c[REDUCTION] == NONE:
                    out[row] = real(loss)
        if not backward:
            partial = array_f64(c[PARTIAL])
            partial[2 * task] = losses
            partial[2 * task + 1] = weights

    return work


def _per_task(p):
    return max(1, BLOCK // max(p.classes, 1))


def _start(p, work, out, x=None, g=None, target=None, weight=None, stats=None, divisor=1.0, partial=None):
    weights = float(p.classes) if weight is None else float(weight.sum(dtype=np.float64))
    ctx = context(
        p.rows, p.classes, _per_task(p), p.ignore_index, p.reduction_kind, x, g, target, weight, stats, out, partial,
        p.label_smoothing, weights, float(divisor),
    )  # fmt: skip
    run(work, ctx, -(-p.rows // _per_task(p)), 1.0 * p.rows * (p.classes + 20))


def _finish(p, loss, partial, soft):
    """Combine the partial sums in the order of the tasks; gives the sum of the weights."""
    tasks = -(-p.rows // _per_task(p))
    losses, weights = 0.0, 0.0
    for a, b in partial[: 16 * tasks].view(np.float64).reshape(tasks, 2).tolist():
        losses += a
        weights += b
    if p.reduction_kind != NONE:
        divisor = (p.rows if soft else weights) if p.reduction_kind == MEAN else 1.0
        loss[0] = losses / divisor if divisor else np.nan
    return weights


def scratch(pass_, p):
    """Two partial sums per task of the losses."""
    if pass_ in ("cross_entropy_forward", "cross_entropy_soft_forward", "nll_forward"):
        return 16 * max(1, -(-p.rows // _per_task(p))), 0
    return 0, 0


def forward(p, x, out, scratch):
    _start(p, plain_task(p.dtype, "forward"), out, x)


def backward(p, g, y, dx, scratch):
    _start(p, plain_task(p.dtype, "backward"), dx, y, g)


def log_forward(p, x, out, scratch):
    _start(p, plain_task(p.dtype, "log_forward"), out, x)


def log_backward(p, g, y, dx, scratch):
    _start(p, plain_task(p.dtype, "log_backward"), dx, y, g)


def cross_entropy_forward(p, x, target, weight, loss, stats, total, scratch):
    _start(p, loss_task(p.dtype, False, weight is not None), loss, x, None, target, weight, stats, 1.0, scratch)
    total[0] = _finish(p, loss, scratch, False)


def cross_entropy_backward(p, g, x, target, weight, stats, total, dx, scratch):
    divisor = total[0] if p.reduction_kind == MEAN else 1.0
    _start(p, gradient_task(p.dtype, False, weight is not None), dx, x, g, target, weight, stats, divisor)


def cross_entropy_soft_forward(p, x, target, weight, loss, stats, scratch):
    _start(p, loss_task(p.dtype, True, weight is not None), loss, x, None, target, weight, stats, 1.0, scratch)
    _finish(p, loss, scratch, True)


def cross_entropy_soft_backward(p, g, x, target, weight, stats, dx, scratch):
    divisor = p.rows if p.reduction_kind == MEAN else 1.0
    _start(p, gradient_task(p.dtype, True, weight is not None), dx, x, g, target, weight, stats, divisor)


def nll_forward(p, x, target, weight, loss, total, scratch):
    _start(p, nll_task(p.dtype, False, weight is not None), loss, x, None, target, weight, None, 1.0, scratch)
    total[0] = _finish(p, loss, scratch, False)


def nll_backward(p, g, target, weight, total, dx, scratch):
    divisor = total[0] if p.reduction_kind == MEAN else 1.0
    _start(p, nll_task(p.dtype, True, weight is not None), dx, None, g, target, weight, None, divisor)
