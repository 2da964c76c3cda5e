"""Softmax and its losses, a row at a time.

    loss = log sum exp(x - m) - (x_t - m)        this and the formulas of all passes: the manual page of the folder

Shapes   x, g, y, out, dx (rows, classes); target (rows,) int64 or (rows, classes); weight (classes,); stats (rows, 2)
Storage  C-contiguous: the classes of a row lie side by side
Loops    tasks of about BLOCK elements, whole rows, in groups that fit L1; per row one pass for the maximum, one for the exponentials and
         their sum, one to scale, so that memory is read once. A group goes through a pass together: what a row's maximum or sum over the
         lanes takes hides behind the next row, where it would hold up the row's own next pass. Backward, a row's gradient is written
         while the next row's sum is taken: one reads caches, the other memory
Edges    the last register of a row is masked; a row of few classes is one masked register from end to end
Sums     of the loss over rows: float64 partial sums per task, combined in the order of the tasks, whoever computed them
Cost     one exponential per element, forward and backward; two reads and one write for the gradient of the fused loss, where
         softmax, logarithm and gather apart would take ten
After    Goodfellow et al., Deep Learning, 2016, section 4.1.
"""
cimport numpy as cnp
from libc.math cimport log

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport (
    lanes, v_add, v_fma, v_head, v_hmax, v_hsum, v_load, v_load_n, v_max, v_mul, v_prefetch, v_select, v_set, v_store, v_store_n, v_sub, v_zero,
    vec,
)
from lamella.kernels._common.types cimport i64, real
from lamella.kernels._common.vmath cimport INFINITY, v_exp_below

cnp.import_array()

cdef enum:
    BLOCK = 16384       # elements of a task
    CHAINS = 4          # independent maxima of a row: one after the other, they would wait for each other
    GROUP = 4           # rows that go through a pass one after the other, if they are no more than
    GROUPED = 2048      # elements
    NONE = 0
    SUM = 1
    MEAN = 2

cdef enum Pass:
    FORWARD
    LOG_FORWARD
    BACKWARD
    LOG_BACKWARD
    HARD_FORWARD
    HARD_BACKWARD
    SOFT_FORWARD
    SOFT_BACKWARD
    NLL_FORWARD
    NLL_BACKWARD

cdef struct Context:
    Pass work
    i64 rows, classes
    i64 block           # rows of a task
    i64 ignore
    int reduction
    double smoothing
    double weights      # the sum of all class weights
    double divisor      # of g
    const void *x
    const void *g
    const void *target
    const void *weight  # or NULL
    void *stats
    void *out
    double *partial     # per task: sum of the losses, sum of the weights


cdef inline vec tail(real t, const real *x, i64 n, vec other) noexcept nogil:
    """The last n elements of a row, `other` in the lanes beyond them."""
    return v_select(v_head(t, n), v_load_n(t, x, n), other)


cdef inline real row_max(real t, const real *x, i64 n) noexcept nogil:
    cdef i64 i = 0
    cdef int j
    cdef vec m[CHAINS]
    for j in range(CHAINS):
        m[j] = v_set(<real>-INFINITY)
    while i + CHAINS * lanes(t) <= n:
        for j in range(CHAINS):
            m[j] = v_max(t, m[j], v_load(x + i + j * lanes(t)))
        i += CHAINS * lanes(t)
    while i + lanes(t) <= n:
        m[0] = v_max(t, m[0], v_load(x + i))
        i += lanes(t)
    if i < n:
        m[1] = v_max(t, m[1], tail(t, x + i, n - i, m[1]))
    return v_hmax(t, v_max(t, v_max(t, m[0], m[1]), v_max(t, m[2], m[3])))


cdef inline real row_exp(real t, const real *x, i64 n, real m, i64 ahead, real *out) noexcept nogil:
    """The sum of exp(x - m); the terms are stored where out is given. What lies `ahead`, of the next group, is fetched meanwhile."""
    cdef i64 i = 0
    cdef vec s = v_zero()
    cdef vec shift = v_set(m)
    cdef vec e
    while i + lanes(t) <= n:
        v_prefetch(x + i + ahead)
        e = v_exp_below(t, v_sub(t, v_load(x + i), shift))
        s = v_add(t, s, e)
        if out != NULL:
            v_store(out + i, e)
        i += lanes(t)
    if i < n:
        e = v_exp_below(t, v_sub(t, v_load_n(t, x + i, n - i), shift))
        s = v_add(t, s, v_select(v_head(t, n - i), e, v_zero()))
        if out != NULL:
            v_store_n(t, out + i, n - i, e)
    return v_hsum(t, s)


cdef inline void row_scale(real t, real *x, i64 n, real scale) noexcept nogil:
    """x = x * scale"""
    cdef i64 i = 0
    cdef vec a = v_set(scale)
    while i + lanes(t) <= n:
        v_store(x + i, v_mul(t, v_load(x + i), a))
        i += lanes(t)
    if i < n:
        v_store_n(t, x + i, n - i, v_mul(t, v_load_n(t, x + i, n - i), a))


cdef inline void row_log(real t, const real *x, i64 n, real m, real logsum, real *out) noexcept nogil:
    """out = (x - m) - logsum: in this order the digits of the sum survive a large m."""
    cdef i64 i = 0
    cdef vec a = v_set(m)
    cdef vec b = v_set(logsum)
    while i + lanes(t) <= n:
        v_store(out + i, v_sub(t, v_sub(t, v_load(x + i), a), b))
        i += lanes(t)
    if i < n:
        v_store_n(t, out + i, n - i, v_sub(t, v_sub(t, v_load_n(t, x + i, n - i), a), b))


cdef inline void lane_softmax(real t, const real *x, i64 n, real *out) noexcept nogil:
    """A row of one register at most stays there; stored and loaded again by masks, it would have to wait for memory."""
    cdef vec e = v_exp_below(t, v_sub(t, v_load_n(t, x, n), v_set(<real>v_hmax(t, tail(t, x, n, v_set(<real>-INFINITY))))))
    cdef real s = v_hsum(t, v_select(v_head(t, n), e, v_zero()))
    v_store_n(t, out, n, v_mul(t, e, v_set(<real>(1 / s))))


cdef inline void group_sums(real t, const real *x, i64 n, i64 rows, real *stats, real *out) noexcept nogil:
    """stats: of each row the maximum m, then the sum of exp(x - m); the terms are stored where out is given."""
    cdef i64 r
    for r in range(rows):
        stats[2 * r] = row_max(t, x + r * n, n)
    for r in range(rows):
        stats[2 * r + 1] = row_exp(t, x + r * n, n, stats[2 * r], rows * n, out + r * n if out != NULL else out)


cdef inline void group_softmax(real t, const real *x, i64 n, i64 rows, real *out) noexcept nogil:
    cdef real stats[2 * GROUP]
    cdef i64 r
    if n <= lanes(t):
        for r in range(rows):
            lane_softmax(t, x + r * n, n, out + r * n)
        return
    group_sums(t, x, n, rows, stats, out)
    for r in range(rows):
        row_scale(t, out + r * n, n, <real>(1 / stats[2 * r + 1]))


cdef inline void group_log(real t, const real *x, i64 n, i64 rows, real *out) noexcept nogil:
    cdef real stats[2 * GROUP]
    cdef i64 r
    group_sums(t, x, n, rows, stats, <real *>NULL)
    for r in range(rows):
        row_log(t, x + r * n, n, stats[2 * r], <real>log(<double>stats[2 * r + 1]), out + r * n)


cdef inline vec product(real t, bint logarithm, vec g, vec y) noexcept nogil:
    return g if logarithm else v_mul(t, g, y)


cdef inline vec through(real t, bint logarithm, vec g, vec y, vec s) noexcept nogil:
    return v_sub(t, g, v_mul(t, v_exp_below(t, y), s)) if logarithm else v_mul(t, y, v_sub(t, g, s))


cdef inline real row_sum(real t, bint logarithm, const real *g, const real *y, i64 n) noexcept nogil:
    """The sum of g, or of g y."""
    cdef i64 i = 0
    cdef i64 left
    cdef vec s = v_zero()
    while i < n:
        left = min(n - i, <i64>lanes(t))
        s = v_add(t, s, product(t, logarithm, v_load_n(t, g + i, left), v_load_n(t, y + i, left)))
        i += left
    return v_hsum(t, s)


cdef inline real row_through(real t, bint logarithm, const real *g, const real *y, i64 n, real s, i64 ahead, real *dx) noexcept nogil:
    """A row of dx, given its sum s; meanwhile the sum of the row that lies `ahead`."""
    cdef i64 i = 0
    cdef i64 left
    cdef vec total = v_set(s)
    cdef vec a = v_zero()
    cdef vec b = v_zero()
    while i + 2 * lanes(t) <= n:
        v_store(dx + i, through(t, logarithm, v_load(g + i), v_load(y + i), total))
        a = v_add(t, a, product(t, logarithm, v_load(g + ahead + i), v_load(y + ahead + i)))
        i += lanes(t)
        v_store(dx + i, through(t, logarithm, v_load(g + i), v_load(y + i), total))
        b = v_add(t, b, product(t, logarithm, v_load(g + ahead + i), v_load(y + ahead + i)))
        i += lanes(t)
    while i < n:
        left = min(n - i, <i64>lanes(t))
        v_store_n(t, dx + i, left, through(t, logarithm, v_load_n(t, g + i, left), v_load_n(t, y + i, left), total))
        a = v_add(t, a, product(t, logarithm, v_load_n(t, g + ahead + i, left), v_load_n(t, y + ahead + i, left)))
        i += left
    return v_hsum(t, v_add(t, a, b))


cdef inline void rows_backward(real t, bint logarithm, const real *g, const real *y, i64 n, i64 rows, real *dx) noexcept nogil:
    cdef real s = row_sum(t, logarithm, g, y, n)
    cdef i64 r
    for r in range(rows):       # the last row takes its own sum again, for nothing
        s = row_through(t, logarithm, g + r * n, y + r * n, n, s, n if r + 1 < rows else 0, dx + r * n)


cdef inline vec smoothed(real t, Context *c, const real *q, const real *w, i64 i, i64 left) noexcept nogil:
    """w_c ((1 - e) q_c + e / C) of `left` classes from i on, 0 beyond; q = NULL: w_c, w = NULL: weights of 1."""
    cdef vec v = v_set(<real>1)
    if q != NULL:
        v = v_fma(t, v_load_n(t, q + i, left), v_set(<real>(1 - c.smoothing)), v_set(<real>(c.smoothing / c.classes)))
    if w != NULL:
        return v_mul(t, v, v_load_n(t, w + i, left))
    return v_select(v_head(t, left), v, v_zero())


cdef inline void row_weighted(
    real t, Context *c, const real *x, const real *q, real m, double *plain, double *shifted
) noexcept nogil:
    """plain = sum of the smoothed weights, shifted = sum of them times (x - m)."""
    cdef i64 n = c.classes
    cdef i64 i = 0
    cdef i64 left
    cdef vec a = v_zero()
    cdef vec b = v_zero()
    cdef vec shift = v_set(m)
    cdef vec v
    while i < n:
        left = min(n - i, <i64>lanes(t))
        v = smoothed(t, c, q, <const real *>c.weight, i, left)
        a = v_add(t, a, v)
        b = v_fma(t, v, v_sub(t, tail(t, x + i, left, shift), shift), b)
        i += lanes(t)
    plain[0] = v_hsum(t, a)
    shifted[0] = v_hsum(t, b)


cdef inline void row_gradient(
    real t, Context *c, const real *x, const real *q, real m, real softmax_scale, real smooth_scale, bint subtract, real *dx
) noexcept nogil:
    """dx = softmax_scale exp(x - m) - smooth_scale * smoothed weights"""
    cdef i64 n = c.classes
    cdef i64 i = 0
    cdef i64 left
    cdef vec shift = v_set(m)
    cdef vec a = v_set(softmax_scale)
    cdef vec b = v_set(smooth_scale)
    cdef vec v
    while i < n:
        left = min(n - i, <i64>lanes(t))
        v = v_mul(t, v_exp_below(t, v_sub(t, v_load_n(t, x + i, left), shift)), a)
        if subtract:
            v = v_sub(t, v, v_mul(t, smoothed(t, c, q, <const real *>c.weight, i, left), b))
        v_store_n(t, dx + i, left, v)
        i += lanes(t)


cdef inline void row_zero(real t, real *dx, i64 n) noexcept nogil:
    cdef i64 i
    for i in range(n):
        dx[i] = 0


cdef inline double class_weight(real t, Context *c, i64 y) noexcept nogil:
    return (<const real *>c.weight)[y] if c.weight != NULL else 1.0


cdef inline double nll_of_row(real t, Context *c, i64 row, double *weight) noexcept nogil:
    """One row's loss, before the reduction; weight: what it adds to the divisor of the mean."""
    cdef i64 y = (<const i64 *>c.target)[row]
    weight[0] = 0
    if y == c.ignore:
        return 0
    weight[0] = class_weight(t, c, y)
    return -weight[0] * (<const real *>c.x)[row * c.classes + y]


cdef inline double loss_of_row(real t, Context *c, i64 row, double *weight) noexcept nogil:
    """As nll_of_row, of the cross entropy, from the row's stats."""
    cdef i64 n = c.classes
    cdef const real *x = <const real *>c.x + row * n
    cdef const real *stats = <const real *>c.stats + 2 * row
    cdef double logsum = log(<double>stats[1])
    cdef double loss, plain, shifted
    cdef real m = stats[0]
    cdef i64 y
    weight[0] = 0
    if c.work == SOFT_FORWARD:
        row_weighted(t, c, x, <const real *>c.target + row * n, m, &plain, &shifted)
        return plain * logsum - shifted
    y = (<const i64 *>c.target)[row]
    if y == c.ignore:
        return 0
    weight[0] = class_weight(t, c, y)
    loss = (1 - c.smoothing) * weight[0] * (logsum - (x[y] - m))
    if c.smoothing != 0:
        row_weighted(t, c, x, <const real *>NULL, m, &plain, &shifted)
        loss += c.smoothing / n * (plain * logsum - shifted)
    return loss


cdef inline void gradient_of_row(real t, Context *c, i64 row) noexcept nogil:
    cdef i64 n = c.classes
    cdef const real *x = <const real *>c.x + row * n
    cdef const real *stats = <const real *>c.stats + 2 * row
    cdef const real *g = <const real *>c.g
    cdef real *dx = <real *>c.out + row * n
    cdef double k = g[row if c.reduction == NONE else 0] / c.divisor
    cdef double hard, smooth, plain, shifted
    cdef i64 y
    if c.work == SOFT_BACKWARD:
        row_weighted(t, c, x, <const real *>c.target + row * n, stats[0], &plain, &shifted)
        row_gradient(t, c, x, <const real *>c.target + row * n, stats[0], <real>(k * plain / stats[1]), <real>k, True, dx)
        return
    y = (<const i64 *>c.target)[row]
    if y == c.ignore:
        row_zero(t, dx, n)
        return
    hard = k * (1 - c.smoothing) * class_weight(t, c, y)
    if c.work == NLL_BACKWARD:
        row_zero(t, dx, n)
        dx[y] = <real>-hard
        return
    smooth = k * c.smoothing / n
    row_gradient(
        t, c, x, <const real *>NULL, stats[0], <real>((hard + smooth * c.weights) / stats[1]), <real>smooth, c.smoothing != 0, dx,
    )
    dx[y] -= <real>hard


cdef void rows_of_task(real t, Context *c, i64 task) noexcept nogil:
    cdef i64 n = c.classes
    cdef i64 row = task * c.block
    cdef i64 end = min(row + c.block, c.rows)
    cdef i64 group = max(<i64>1, min(<i64>GROUP, GROUPED // max(n, <i64>1)))
    cdef i64 rows, r
    cdef const real *x
    cdef real *out
    cdef double weight, loss
    cdef double losses = 0
    cdef double weights = 0
    if c.work == BACKWARD or c.work == LOG_BACKWARD:
        group = c.block
    while row < end:
        rows = min(group, end - row)
        x = <const real *>c.x + row * n
        out = <real *>c.out + row * n
        if c.work == FORWARD:
            group_softmax(t, x, n, rows, out)
        elif c.work == LOG_FORWARD:
            group_log(t, x, n, rows, out)
        elif c.work == BACKWARD:
            rows_backward(t, False, <const real *>c.g + row * n, x, n, rows, out)
        elif c.work == LOG_BACKWARD:
            rows_backward(t, True, <const real *>c.g + row * n, x, n, rows, out)
        elif c.work == HARD_FORWARD or c.work == SOFT_FORWARD or c.work == NLL_FORWARD:
            if c.work != NLL_FORWARD:
                group_sums(t, x, n, rows, <real *>c.stats + 2 * row, <real *>NULL)
            for r in range(row, row + rows):
                loss = nll_of_row(t, c, r, &weight) if c.work == NLL_FORWARD else loss_of_row(t, c, r, &weight)
                losses += loss
                weights += weight
                if c.reduction == NONE:
                    (<real *>c.out)[r] = <real>loss
        else:
            for r in range(row, row + rows):
                gradient_of_row(t, c, r)
        row += rows
    if c.partial != NULL:
        c.partial[2 * task] = losses
        c.partial[2 * task + 1] = weights


cdef void task_f32(void *c, i64 task, i64 slot) noexcept nogil:
    rows_of_task(<float>0, <Context *>c, task)


cdef void task_f64(void *c, i64 task, i64 slot) noexcept nogil:
    rows_of_task(<double>0, <Context *>c, task)


cdef i64 rows_per_task(i64 classes) noexcept nogil:
    return max(<i64>1, BLOCK // max(classes, <i64>1))


cdef i64 tasks_of(i64 rows, i64 classes) noexcept nogil:
    cdef i64 block = rows_per_task(classes)
    return (rows + block - 1) // block


cdef void *address(array):
    return NULL if array is None else cnp.PyArray_DATA(<cnp.ndarray>array)


cdef void start(
    p, Pass work, Context *c, cnp.ndarray out, x=None, g=None, target=None, weight=None, stats=None, double divisor=1, double *partial=NULL
):
    cdef bint double_precision = cnp.PyArray_TYPE(out) == cnp.NPY_FLOAT64
    cdef i64 i
    c.work = work
    c.rows = p.rows
    c.classes = p.classes
    c.block = rows_per_task(c.classes)
    c.ignore = p.ignore_index
    c.reduction = p.reduction_kind
    c.smoothing = p.label_smoothing if work != NLL_FORWARD and work != NLL_BACKWARD else 0.0
    c.x = address(x)
    c.g = address(g)
    c.target = address(target)
    c.weight = address(weight)
    c.stats = address(stats)
    c.out = cnp.PyArray_DATA(out)
    c.partial = partial
    c.divisor = divisor
    cdef i64 tasks = tasks_of(c.rows, c.classes)
    with nogil:
        c.weights = c.classes
        if c.weight != NULL:
            c.weights = 0
            for i in range(c.classes):
                c.weights += (<const double *>c.weight)[i] if double_precision else (<const float *>c.weight)[i]
        parallel_for(task_f64 if double_precision else task_f32, c, tasks, 1.0 * c.rows * (c.classes + 20), ANY_SLOTS)


cdef double finish(p, Context *c, cnp.ndarray loss):
    """Combine the partial sums in the order of the tasks; gives the sum of the weights."""
    cdef double losses = 0
    cdef double weights = 0
    cdef i64 i
    for i in range(tasks_of(c.rows, c.classes)):
        losses += c.partial[2 * i]
        weights += c.partial[2 * i + 1]
    if c.reduction != NONE:
        if c.reduction == MEAN:
            losses = losses / (c.rows if c.work == SOFT_FORWARD else weights)
        if cnp.PyArray_TYPE(loss) == cnp.NPY_FLOAT64:
            (<double *>cnp.PyArray_DATA(loss))[0] = losses
        else:
            (<float *>cnp.PyArray_DATA(loss))[0] = <float>losses
    return weights


def scratch(pass_, p):
    """Two partial sums per task of the losses."""
    if pass_ in ("cross_entropy_forward", "cross_entropy_soft_forward", "nll_forward"):
        return 16 * max(1, tasks_of(p.rows, p.classes)), 0
    return 0, 0


def forward(p, cnp.ndarray x, cnp.ndarray out, scratch):
    cdef Context c
    start(p, FORWARD, &c, out, x)


def backward(p, cnp.ndarray g, cnp.ndarray y, cnp.ndarray dx, scratch):
    cdef Context c
    start(p, BACKWARD, &c, dx, y, g)


def log_forward(p, cnp.ndarray x, cnp.ndarray out, scratch):
    cdef Context c
    start(p, LOG_FORWARD, &c, out, x)


def log_backward(p, cnp.ndarray g, cnp.ndarray y, cnp.ndarray dx, scratch):
    cdef Context c
    start(p, LOG_BACKWARD, &c, dx, y, g)


def cross_entropy_forward(
    p, cnp.ndarray x, cnp.ndarray target, weight, cnp.ndarray loss, cnp.ndarray stats, cnp.ndarray total, cnp.ndarray scratch
):
    cdef Context c
    start(p, HARD_FORWARD, &c, loss, x, None, target, weight, stats, 1, <double *>cnp.PyArray_DATA(scratch))
    (<double *>cnp.PyArray_DATA(total))[0] = finish(p, &c, loss)


def cross_entropy_backward(
    p, cnp.ndarray g, cnp.ndarray x, cnp.ndarray target, weight, cnp.ndarray stats, cnp.ndarray total, cnp.ndarray dx, scratch
):
    cdef Context c
    cdef double divisor = (<double *>cnp.PyArray_DATA(total))[0] if p.reduction_kind == MEAN else 1
    start(p, HARD_BACKWARD, &c, dx, x, g, target, weight, stats, divisor)


def cross_entropy_soft_forward(
    p, cnp.ndarray x, cnp.ndarray target, weight, cnp.ndarray loss, cnp.ndarray stats, cnp.ndarray scratch
):
    cdef Context c
    start(p, SOFT_FORWARD, &c, loss, x, None, target, weight, stats, 1, <double *>cnp.PyArray_DATA(scratch))
    finish(p, &c, loss)


def cross_entropy_soft_backward(
    p, cnp.ndarray g, cnp.ndarray x, cnp.ndarray target, weight, cnp.ndarray stats, cnp.ndarray dx, scratch
):
    cdef Context c
    start(p, SOFT_BACKWARD, &c, dx, x, g, target, weight, stats, p.rows if p.reduction_kind == MEAN else 1)


def nll_forward(p, cnp.ndarray x, cnp.ndarray target, weight, cnp.ndarray loss, cnp.ndarray total, cnp.ndarray scratch):
    cdef Context c
    start(p, NLL_FORWARD, &c, loss, x, None, target, weight, None, 1, <double *>cnp.PyArray_DATA(scratch))
    (<double *>cnp.PyArray_DATA(total))[0] = finish(p, &c, loss)


def nll_backward(p, cnp.ndarray g, cnp.ndarray target, weight, cnp.ndarray total, cnp.ndarray dx, scratch):
    cdef Context c
    cdef double divisor = (<double *>cnp.PyArray_DATA(total))[0] if p.reduction_kind == MEAN else 1
    start(p, NLL_BACKWARD, &c, dx, None, g, target, weight, None, divisor)
