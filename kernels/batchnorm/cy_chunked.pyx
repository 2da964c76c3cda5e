"""Batch normalisation over chunks of rows, each read from memory once for its statistics.

    out = act((x - mean) * weight / sqrt(var + eps) + bias + residual)            all formulas: the folder's page

Shapes   x, g, residual, out, dx, dresidual n rows of `channels` elements, dense; the others (channels,), or None for weight and bias
Storage  fold rows of few channels count as one wide row of width = fold * channels elements, a whole number of registers (at least NB of
         them, so that sums have independent chains): its columns are summed separately, and those of one channel added at the end
Loops    chunks of wide rows    parallel; 64 KiB, so that the second look at a chunk comes from L2
         columns by NB registers
         rows                   sums stay in registers. Statistics: the chunk's mean first, then squared differences to it
         then, per column       chunks are combined in float64, in order: mean of means, M2 = sum(M2_k + n_k (mean_k - mean)^2)
         then chunks again      out (or dx), row by row, the columns' constants from L1
ReLU     backward takes its mask from the sign of what forward stored before it cut: without a residual that is computed again from x, bit by
         bit as forward did, so that out is not read; with one it is read from out while summing, which leaves the masked gradient
         in dresidual, where the pass over dx finds it
Edges    up to fold - 1 rows that fill no wide row are summed in float64 while combining, and written by masked stores; where width is
         no whole number of registers (many channels), the last one is masked
Threads  chunks depend on the problem only: the same bits for any number of threads
Cost     forward_train reads x twice (and residual once) and writes out; backward reads g and x twice and writes dx, or reads g, out and x,
         writes dresidual, reads it and x and writes dx; the eval passes touch everything once. ReLU apart would read and write out once
         more in both directions, a sum apart again
"""
cimport numpy as cnp
from libc.math cimport sqrt
from libc.string cimport memset

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport (
    LM_VB, lanes, v_add, v_andnot, v_eq, v_fma, v_load, v_load_n, v_max, v_mul, v_set, v_store, v_store_n, v_sub, v_zero, vec,
)
from lamella.kernels._common.types cimport i64, real

cnp.import_array()

cdef enum:
    NB = 4              # registers of columns summed at a time
    CHUNK = 16384       # elements of a chunk, as far as it has between 64 and 256 rows
    COLUMNS = 256       # columns whose chunks one task combines

cdef enum Pass:
    TRAIN = 0
    EVAL = 1
    BACKWARD = 2
    BACKWARD_EVAL = 3

cdef enum Mask:         # what backward multiplies g by
    NONE = 0            # 1
    INPUT = 1           # 0 where the normalised x is not positive
    OUTPUT = 2          # 0 where out is not positive; the product goes to dresidual

cdef struct Context:
    int kind
    int mask
    bint relu
    i64 rows, channels
    i64 fold, width     # rows in a wide row, its elements
    i64 wide            # wide rows; rows % fold are left over
    i64 step, chunks    # wide rows in a chunk, number of chunks
    double eps
    const void *x
    const void *g
    const void *residual
    const void *y       # out, when it is read
    void *out           # or dx
    void *dresidual
    const void *weight
    const void *bias
    void *mean
    void *var
    void *dw
    void *db
    void *k             # constants of the columns, 5 rows of width: mean, scale, shift; backward: factor of x - mean, constant
    double *sums        # 2 rows of width
    void *partial       # per chunk 2 rows of width: mean and M2, or sum(g) and sum(g (x - mean))


cdef inline i64 ceil_div(i64 a, i64 b) noexcept nogil:
    return (a + b - 1) // b


cdef inline vec load(real t, const real *p, i64 n) noexcept nogil:
    return v_load(p) if n == lanes(t) else v_load_n(t, p, n)


cdef inline void store(real t, real *p, i64 n, vec v) noexcept nogil:
    if n == lanes(t):
        v_store(p, v)
    else:
        v_store_n(t, p, n, v)


cdef inline vec normal(real t, vec x, vec mean, vec scale, vec shift) noexcept nogil:
    """What forward computes before a residual and a ReLU, and backward again for its mask."""
    return v_fma(t, v_sub(t, x, mean), scale, shift)


cdef inline vec cut(real t, vec y, vec v) noexcept nogil:
    """0 where y <= 0, else v; NaN in y lets v pass, as in PyTorch."""
    return v_andnot(v_eq(t, v_max(t, v_zero(), y), v_zero()), v)


# Sums over one chunk. n is the number of lanes in use: all of them, as a constant, but for the last columns of a width that is no multiple

cdef inline void statistics_of(real t, int nb, i64 n, const Context *c, const real *x, i64 rows, real *mean, real *m2) noexcept nogil:
    cdef vec s[NB]
    cdef vec m[NB]
    cdef vec q[NB]
    cdef vec d
    cdef vec share = v_set(<real>(1.0 / rows))
    cdef i64 r
    cdef int i
    for i in range(nb):
        s[i] = v_zero()
    for r in range(rows):
        for i in range(nb):
            s[i] = v_add(t, s[i], load(t, x + r * c.width + i * lanes(t), n))
    for i in range(nb):
        m[i] = v_mul(t, s[i], share)
        s[i] = v_zero()
        q[i] = v_zero()
    for r in range(rows):
        for i in range(nb):
            d = v_sub(t, load(t, x + r * c.width + i * lanes(t), n), m[i])
            s[i] = v_add(t, s[i], d)
            q[i] = v_fma(t, d, d, q[i])
    for i in range(nb):     # s is what rounding left of the sum of differences: zero but for the rounding of m
        d = v_mul(t, s[i], share)
        store(t, mean + i * lanes(t), n, v_add(t, m[i], d))
        store(t, m2 + i * lanes(t), n, v_sub(t, q[i], v_mul(t, d, s[i])))


cdef inline void gradient_sums_of(
    real t, int mask, int nb, i64 n, bint write, const Context *c, i64 start, i64 rows, const real *k, real *sg, real *sgx,
) noexcept nogil:
    """write: dx = scale * g on the way (backward_eval)."""
    cdef const real *g = <const real *>c.g + start
    cdef const real *x = <const real *>c.x + start
    cdef const real *y = <const real *>c.y + start
    cdef real *dx = <real *>c.out + start
    cdef real *dresidual = <real *>c.dresidual + start
    cdef vec a[NB]
    cdef vec b[NB]
    cdef vec m[NB]
    cdef vec scale[NB]
    cdef vec shift[NB]
    cdef vec v, u
    cdef i64 r, at
    cdef int i
    for i in range(nb):
        a[i] = v_zero()
        b[i] = v_zero()
        m[i] = load(t, k + i * lanes(t), n)
        if write or mask == INPUT:
            scale[i] = load(t, k + c.width + i * lanes(t), n)
        if mask == INPUT:
            shift[i] = load(t, k + 2 * c.width + i * lanes(t), n)
    for r in range(rows):
        for i in range(nb):
            at = r * c.width + i * lanes(t)
            v = load(t, g + at, n)
            u = load(t, x + at, n)
            if mask == INPUT:
                v = cut(t, normal(t, u, m[i], scale[i], shift[i]), v)
            elif mask == OUTPUT:
                v = cut(t, load(t, y + at, n), v)
                store(t, dresidual + at, n, v)
            a[i] = v_add(t, a[i], v)
            b[i] = v_fma(t, v, v_sub(t, u, m[i]), b[i])
            if write:
                store(t, dx + at, n, v_mul(t, v, scale[i]))
    for i in range(nb):
        store(t, sg + i * lanes(t), n, a[i])
        store(t, sgx + i * lanes(t), n, b[i])


cdef inline void sum_columns(real t, int kind, int mask, int nb, i64 n, const Context *c, i64 chunk, i64 column) noexcept nogil:
    cdef i64 start = chunk * c.step * c.width + column
    cdef i64 rows = min(c.step, c.wide - chunk * c.step)
    cdef real *first = <real *>c.partial + 2 * chunk * c.width + column
    if kind == TRAIN:
        statistics_of(t, nb, n, c, <const real *>c.x + start, rows, first, first + c.width)
    else:
        gradient_sums_of(t, mask, nb, n, kind == BACKWARD_EVAL, c, start, rows, <const real *>c.k + column, first, first + c.width)


cdef inline void sum_chunk(real t, int kind, int mask, const Context *c, i64 chunk) noexcept nogil:
    cdef i64 j = 0
    while j + NB * lanes(t) <= c.width:
        sum_columns(t, kind, mask, NB, lanes(t), c, chunk, j)
        j += NB * lanes(t)
    while j + lanes(t) <= c.width:
        sum_columns(t, kind, mask, 1, lanes(t), c, chunk, j)
        j += lanes(t)
    if j < c.width:
        sum_columns(t, kind, mask, 1, c.width - j, c, chunk, j)


cdef inline void sum_gradients(real t, int kind, const Context *c, i64 chunk) noexcept nogil:
    if c.mask == NONE:
        sum_chunk(t, kind, NONE, c, chunk)
    elif c.mask == INPUT:
        sum_chunk(t, kind, INPUT, c, chunk)
    else:
        sum_chunk(t, kind, OUTPUT, c, chunk)


cdef void sum_task(real t, const Context *c, i64 chunk) noexcept nogil:
    if c.kind == TRAIN:
        sum_chunk(t, TRAIN, NONE, c, chunk)
    elif c.kind == BACKWARD:
        sum_gradients(t, BACKWARD, c, chunk)
    else:
        sum_gradients(t, BACKWARD_EVAL, c, chunk)


# Combining chunks, in float64

cdef inline i64 rows_of(const Context *c, i64 chunk) noexcept nogil:
    return min(c.step, c.wide - chunk * c.step)


cdef inline double folded(const Context *c, const double *sums, i64 channel) noexcept nogil:
    cdef double total = 0
    cdef i64 i
    for i in range(c.fold):
        total += sums[i * c.channels + channel]
    return total


cdef inline void spread(real t, const Context *c, int row, i64 channel, double value) noexcept nogil:
    """A channel's constant, for every column that holds the channel."""
    cdef real *k = <real *>c.k + row * c.width
    cdef i64 i
    for i in range(c.fold):
        k[i * c.channels + channel] = <real>value


cdef inline double scale_of(real t, const Context *c, i64 channel) noexcept nogil:
    cdef double s = 1 / sqrt(<double>(<const real *>c.var)[channel] + c.eps)
    return s * <double>(<const real *>c.weight)[channel] if c.weight != NULL else s


cdef void combine_statistics(real t, const Context *c, i64 j0, i64 j1) noexcept nogil:
    """mean, var and the constants of the columns from j0 to j1: whole channels, as fold is 1 or these are all columns."""
    cdef i64 h0 = j0 if c.fold == 1 else 0
    cdef i64 h1 = j1 if c.fold == 1 else c.channels
    cdef const real *tail = <const real *>c.x + c.wide * c.width
    cdef i64 left = c.rows - c.wide * c.fold
    cdef double *s = c.sums
    cdef double *q = c.sums + c.width
    cdef const real *mean
    cdef const real *m2
    cdef double n, d, total
    cdef i64 chunk, j, h, i
    for j in range(j0, j1):
        s[j] = 0
        q[j] = 0
    for chunk in range(c.chunks):
        mean = <const real *>c.partial + 2 * chunk * c.width
        n = rows_of(c, chunk)
        for j in range(j0, j1):
            s[j] += n * <double>mean[j]
    for h in range(h0, h1):
        total = folded(c, s, h)
        for i in range(left):
            total += <double>tail[i * c.channels + h]
        total /= <double>c.rows
        for i in range(c.fold):
            s[i * c.channels + h] = total
    for chunk in range(c.chunks):
        mean = <const real *>c.partial + 2 * chunk * c.width
        m2 = mean + c.width
        n = rows_of(c, chunk)
        for j in range(j0, j1):
            d = <double>mean[j] - s[j]
            q[j] += <double>m2[j] + n * d * d
    for h in range(h0, h1):
        total = folded(c, q, h)
        for i in range(left):
            d = <double>tail[i * c.channels + h] - s[h]
            total += d * d
        (<real *>c.mean)[h] = <real>s[h]
        (<real *>c.var)[h] = <real>(total / <double>c.rows)


cdef void constants(real t, const Context *c, i64 h0, i64 h1) noexcept nogil:
    """mean, scale and shift of channels."""
    cdef i64 h
    for h in range(h0, h1):
        spread(t, c, 0, h, <double>(<const real *>c.mean)[h])
        spread(t, c, 1, h, scale_of(t, c, h))
        spread(t, c, 2, h, <double>(<const real *>c.bias)[h] if c.bias != NULL else 0)


cdef inline real tail_gradient(real t, const Context *c, i64 at, i64 h) noexcept nogil:
    """g of channel h, element `at` of the rows left over, as `gradient_sums_of` masks it."""
    cdef const real *k = <const real *>c.k + h
    cdef real g = (<const real *>c.g)[at]
    if c.mask == INPUT:
        if ((<const real *>c.x)[at] - k[0]) * k[c.width] + k[2 * c.width] <= 0:
            g = 0
    elif c.mask == OUTPUT:
        if (<const real *>c.y)[at] <= 0:
            g = 0
        (<real *>c.dresidual)[at] = g
    return g


cdef void combine_gradients(real t, const Context *c, i64 j0, i64 j1) noexcept nogil:
    """dw, db and the constants of dx = scale * g + k3 * (x - mean) + k4."""
    cdef i64 h0 = j0 if c.fold == 1 else 0
    cdef i64 h1 = j1 if c.fold == 1 else c.channels
    cdef i64 left = c.rows - c.wide * c.fold
    cdef double *a = c.sums
    cdef double *b = c.sums + c.width
    cdef const real *first
    cdef double total, products, s, scale, g
    cdef i64 chunk, j, h, i, at
    for j in range(j0, j1):
        a[j] = 0
        b[j] = 0
    for chunk in range(c.chunks):
        first = <const real *>c.partial + 2 * chunk * c.width
        for j in range(j0, j1):
            a[j] += <double>first[j]
            b[j] += <double>first[c.width + j]
    for h in range(h0, h1):
        total = folded(c, a, h)
        products = folded(c, b, h)
        for i in range(left):
            at = c.wide * c.width + i * c.channels + h
            g = tail_gradient(t, c, at, h)
            total += g
            products += g * (<double>(<const real *>c.x)[at] - <double>(<const real *>c.mean)[h])
        s = 1 / sqrt(<double>(<const real *>c.var)[h] + c.eps)
        scale = scale_of(t, c, h)
        (<real *>c.db)[h] = <real>total
        (<real *>c.dw)[h] = <real>(products * s)
        if c.kind == BACKWARD:
            spread(t, c, 3, h, -scale * s * s * products / <double>c.rows)
            spread(t, c, 4, h, -scale * total / <double>c.rows)


cdef void combine_task(real t, const Context *c, i64 task) noexcept nogil:
    cdef i64 j0 = task * COLUMNS if c.fold == 1 else 0
    cdef i64 j1 = min(j0 + COLUMNS, c.width) if c.fold == 1 else c.width
    if c.kind == TRAIN:
        combine_statistics(t, c, j0, j1)
        constants(t, c, j0 if c.fold == 1 else 0, j1 if c.fold == 1 else c.channels)
    else:
        combine_gradients(t, c, j0, j1)


# The elementwise pass

cdef inline void normalise(real t, bint relu, bint residual, const Context *c, i64 at, i64 j, i64 n) noexcept nogil:
    cdef const real *k = <const real *>c.k + j
    cdef vec y = normal(t, load(t, <const real *>c.x + at, n), load(t, k, n), load(t, k + c.width, n), load(t, k + 2 * c.width, n))
    if residual:
        y = v_add(t, y, load(t, <const real *>c.residual + at, n))
    if relu:
        y = v_max(t, v_zero(), y)
    store(t, <real *>c.out + at, n, y)


cdef inline void differentiate(real t, bint train, bint mask, const Context *c, i64 at, i64 j, i64 n) noexcept nogil:
    cdef const real *k = <const real *>c.k + j
    cdef vec g = load(t, <const real *>c.g + at, n)
    cdef vec scale = load(t, k + c.width, n)
    cdef vec x, mean
    if train or mask:
        x = load(t, <const real *>c.x + at, n)
        mean = load(t, k, n)
    if mask:
        g = cut(t, normal(t, x, mean, scale, load(t, k + 2 * c.width, n)), g)
    if train:
        x = v_fma(t, v_sub(t, x, mean), load(t, k + 3 * c.width, n), load(t, k + 4 * c.width, n))
        store(t, <real *>c.out + at, n, v_fma(t, g, scale, x))
    else:
        store(t, <real *>c.out + at, n, v_mul(t, g, scale))


cdef inline void apply(real t, int kind, bint relu, bint residual, const Context *c, i64 at, i64 j, i64 n) noexcept nogil:
    if kind == EVAL:
        normalise(t, relu, residual, c, at, j, n)
    else:
        differentiate(t, kind == BACKWARD, relu, c, at, j, n)


cdef inline void apply_row(real t, int kind, bint relu, bint residual, const Context *c, i64 at, i64 n) noexcept nogil:
    """The first n elements of the wide row that starts at element `at`."""
    cdef i64 j = 0
    while j + lanes(t) <= n:
        apply(t, kind, relu, residual, c, at + j, j, lanes(t))
        j += lanes(t)
    if j < n:
        apply(t, kind, relu, residual, c, at + j, j, n - j)


cdef inline void apply_chunk(real t, int kind, bint relu, bint residual, const Context *shared, i64 task) noexcept nogil:
    """A chunk of wide rows; as the last task, the rows left over."""
    cdef Context c = shared[0]      # a copy on the stack, which the stores of the loop cannot change
    cdef i64 r0 = task * c.step
    cdef i64 r
    if task == c.chunks:
        apply_row(t, kind, relu, residual, &c, c.wide * c.width, (c.rows - c.wide * c.fold) * c.channels)
        return
    for r in range(r0, min(r0 + c.step, c.wide)):
        apply_row(t, kind, relu, residual, &c, r * c.width, c.width)


cdef void apply_task(real t, const Context *c, i64 task) noexcept nogil:
    if c.kind == TRAIN or c.kind == EVAL:
        if c.residual != NULL:
            if c.relu:
                apply_chunk(t, EVAL, True, True, c, task)
            else:
                apply_chunk(t, EVAL, False, True, c, task)
        elif c.relu:
            apply_chunk(t, EVAL, True, False, c, task)
        else:
            apply_chunk(t, EVAL, False, False, c, task)
    elif c.kind == BACKWARD:
        if c.mask == INPUT:
            apply_chunk(t, BACKWARD, True, False, c, task)
        else:
            apply_chunk(t, BACKWARD, False, False, c, task)
    elif c.mask == INPUT:       # the chunks are written already: only rows left over
        apply_chunk(t, BACKWARD_EVAL, True, False, c, c.chunks)
    else:
        apply_chunk(t, BACKWARD_EVAL, False, False, c, c.chunks)


cdef void sum_f32(void *c, i64 task, i64 slot) noexcept nogil:
    sum_task(<float>0, <const Context *>c, task)


cdef void sum_f64(void *c, i64 task, i64 slot) noexcept nogil:
    sum_task(<double>0, <const Context *>c, task)


cdef void combine_f32(void *c, i64 task, i64 slot) noexcept nogil:
    combine_task(<float>0, <const Context *>c, task)


cdef void combine_f64(void *c, i64 task, i64 slot) noexcept nogil:
    combine_task(<double>0, <const Context *>c, task)


cdef void apply_f32(void *c, i64 task, i64 slot) noexcept nogil:
    apply_task(<float>0, <const Context *>c, task)


cdef void apply_f64(void *c, i64 task, i64 slot) noexcept nogil:
    apply_task(<double>0, <const Context *>c, task)


cdef void geometry(Context *c, i64 rows, i64 channels, i64 item) noexcept nogil:
    cdef i64 vf = LM_VB // item
    cdef i64 unit = vf          # rows that make a whole number of registers: vf / gcd(channels, vf)
    cdef i64 half = channels
    while unit > 1 and half % 2 == 0:
        unit //= 2
        half //= 2
    c.rows = rows
    c.channels = channels
    c.fold = 1
    if 0 < channels < NB * vf:
        c.fold = unit * ceil_div(NB * vf, unit * channels)
    c.width = c.fold * channels
    c.wide = rows // c.fold
    c.step = min(max(CHUNK // max(c.width, <i64>1), <i64>64), <i64>256)
    c.chunks = ceil_div(c.wide, c.step)


cdef i64 round_up(i64 bytes) noexcept nogil:
    return ceil_div(bytes, 128) * 128


def scratch(pass_, p):
    cdef Context c
    cdef i64 item = p.dtype.itemsize
    geometry(&c, p.rows, p.channels, item)
    return round_up(5 * c.width * item) + round_up(16 * c.width) + 2 * c.chunks * c.width * item, 0


cdef void compute(Context *c, bint double_precision) noexcept nogil:
    cdef double n = <double>c.rows * <double>c.channels
    cdef double cost = 0.3 if double_precision else 0.15
    cdef i64 extra = 1 if c.wide * c.fold < c.rows else 0
    if c.kind != TRAIN:
        if double_precision:
            constants(<double>0, c, 0, c.channels)
        else:
            constants(<float>0, c, 0, c.channels)
    if c.kind != EVAL:
        parallel_for(sum_f64 if double_precision else sum_f32, c, c.chunks, cost * n, ANY_SLOTS)
        parallel_for(
            combine_f64 if double_precision else combine_f32, c, 1 if c.fold > 1 else ceil_div(c.channels, COLUMNS),
            1.5 * c.chunks * c.width, ANY_SLOTS,
        )
    if c.mask == OUTPUT:        # the masked gradient stands there
        c.g = c.dresidual
        c.mask = NONE
    if c.kind == BACKWARD_EVAL:
        parallel_for(apply_f64 if double_precision else apply_f32, c, extra, 0, ANY_SLOTS)
    else:
        parallel_for(apply_f64 if double_precision else apply_f32, c, c.chunks + extra, cost * n, ANY_SLOTS)


cdef inline void *address(array):
    return NULL if array is None else cnp.PyArray_DATA(<cnp.ndarray>array)


cdef void start(Context *c, p, int kind, x, weight, bias, mean, var, out, cnp.ndarray scratch):
    """Everything but what only one direction knows, which starts as NULL."""
    cdef bint double_precision = cnp.PyArray_TYPE(<cnp.ndarray>x) == cnp.NPY_FLOAT64
    cdef i64 item = 8 if double_precision else 4
    memset(c, 0, sizeof(Context))
    geometry(c, p.rows, p.channels, item)
    c.kind = kind
    c.relu = p.act != 0
    c.eps = p.eps
    c.x = address(x)
    c.out = address(out)
    c.weight = address(weight)
    c.bias = address(bias)
    c.mean = address(mean)
    c.var = address(var)
    c.k = cnp.PyArray_BYTES(scratch)
    c.sums = <double *>(<char *>c.k + round_up(5 * c.width * item))
    c.partial = <char *>c.sums + round_up(16 * c.width)


cdef forward(p, int kind, cnp.ndarray x, weight, bias, mean, var, residual, out, scratch):
    cdef Context c
    cdef bint double_precision = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT64
    start(&c, p, kind, x, weight, bias, mean, var, out, scratch)
    c.residual = address(residual)
    with nogil:
        compute(&c, double_precision)


cdef differentiated(p, int kind, cnp.ndarray g, x, weight, bias, mean, var, out, dx, dw, db, dresidual, scratch):
    cdef Context c
    cdef bint double_precision = cnp.PyArray_TYPE(g) == cnp.NPY_FLOAT64
    start(&c, p, kind, x, weight, bias, mean, var, dx, scratch)
    c.mask = NONE if not c.relu else OUTPUT if p.residual else INPUT
    c.g = address(g)
    c.y = address(out)
    c.dw = address(dw)
    c.db = address(db)
    c.dresidual = address(dresidual)
    with nogil:
        compute(&c, double_precision)


def forward_train(p, cnp.ndarray x, weight, bias, residual, cnp.ndarray out, cnp.ndarray mean, cnp.ndarray var, scratch):
    forward(p, TRAIN, x, weight, bias, mean, var, residual, out, scratch)


def forward_eval(p, cnp.ndarray x, weight, bias, cnp.ndarray mean, cnp.ndarray var, residual, cnp.ndarray out, scratch):
    forward(p, EVAL, x, weight, bias, mean, var, residual, out, scratch)


def backward(
    p, cnp.ndarray g, cnp.ndarray x, weight, bias, cnp.ndarray mean, cnp.ndarray var, out,
    cnp.ndarray dx, cnp.ndarray dw, cnp.ndarray db, dresidual, scratch,
):
    differentiated(p, BACKWARD, g, x, weight, bias, mean, var, out, dx, dw, db, dresidual, scratch)


def backward_eval(
    p, cnp.ndarray g, cnp.ndarray x, weight, bias, cnp.ndarray mean, cnp.ndarray var, out,
    cnp.ndarray dx, cnp.ndarray dw, cnp.ndarray db, dresidual, scratch,
):
    differentiated(p, BACKWARD_EVAL, g, x, weight, bias, mean, var, out, dx, dw, db, dresidual, scratch)
