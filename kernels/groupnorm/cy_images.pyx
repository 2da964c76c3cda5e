"""Normalisation within images, every image read from memory once.

    out = (x - mean) * weight / sqrt(var + eps) + bias            all formulas: the folder's page

Shapes   x, g, out, dx (images, rows, channels), weight, bias, dw, db (channels,), mean, var (images, groups)
Storage  C-contiguous. Images of one row and one group are *lines*: registers run along the numbers of the set. Others are *planes*: registers run
         along the columns; `fold` rows of few channels count as one wide row of width = fold * channels numbers, so that registers are full
         and sums have independent chains
Loops    images         parallel, in at most TASKS tasks of neighbours: an image is summed and written by one thread, from its cache
         columns by NB  planes: registers of columns; lines: registers of the line, NB chains
         rows by STEP   the sums of a piece stay in registers, pieces are added in float64; then columns make channels, channels groups
         once more      out (or dx), with mean, scale and shift of every column from L1
Edges    the rows left over by the fold are one short wide row; the last register of a row is masked
Threads  tasks depend on the problem only. Each adds its images to its own dw and db, which are summed in the order of tasks, in float64
Cost     forward reads x three times, the first time from memory; backward x and g twice. Few large images use few threads
"""
cimport numpy as cnp
from libc.math cimport sqrt
from libc.string cimport memset

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport (
    LM_VB, lanes, v_add, v_fma, v_head, v_hsum, v_load, v_load_n, v_mul, v_select, v_set, v_store, v_store_n, v_sub, v_zero, vec,
)
from lamella.kernels._common.types cimport i64, real

cnp.import_array()

cdef enum:
    NB = 4              # registers summed at a time
    STEP = 256          # wide rows of a piece
    TASKS = 64          # at most
    COLUMNS = 512       # columns whose dw and db one task combines

cdef enum Sum:
    PLAIN = 0           # sum(x)
    SQUARES = 1         # sum((x - mean)^2)
    GRADIENTS = 2       # sum(g), sum(g (x - mean))

cdef struct Context:
    i64 images, rows, channels, groups
    bint centred, lines
    i64 fold, width     # rows in a wide row, its numbers
    i64 wide, rest      # whole wide rows of an image, numbers behind them
    i64 block, tasks    # images of a task
    i64 private         # bytes of scratch of a task
    double eps
    const void *x
    const void *g
    const void *weight  # or NULL
    const void *bias    # or NULL
    void *out           # or dx
    double *mean
    double *var
    void *dw
    void *db
    char *scratch       # per task: 2 rows of width in float64, 5 + 2 rows of width, 2 rows of channels


cdef inline i64 ceil_div(i64 a, i64 b) noexcept nogil:
    return (a + b - 1) // b


cdef inline i64 round_up(i64 bytes) noexcept nogil:
    return ceil_div(bytes, 128) * 128


cdef inline vec load(real t, const real *p, i64 n) noexcept nogil:
    return v_load(p) if n == lanes(t) else v_load_n(t, p, n)


cdef inline void store(real t, real *p, i64 n, vec v) noexcept nogil:
    if n == lanes(t):
        v_store(p, v)
    else:
        v_store_n(t, p, n, v)


# Planes: sums of columns

cdef inline void sum_block(
    real t, int kind, int nb, i64 n, i64 rows, i64 step, const real *x, const real *g, const real *mean, real *first, real *second
) noexcept nogil:
    """nb registers of columns (n lanes of each, all of them as a constant) over `rows` wide rows."""
    cdef vec a[NB]
    cdef vec b[NB]
    cdef vec m[NB]
    cdef vec d, e
    cdef i64 r
    cdef int i
    for i in range(nb):
        a[i] = v_zero()
        b[i] = v_zero()
        m[i] = v_zero()
        if kind != PLAIN:
            m[i] = load(t, mean + i * lanes(t), n)
    for r in range(rows):
        for i in range(nb):
            d = load(t, x + r * step + i * lanes(t), n)
            if kind == PLAIN:
                a[i] = v_add(t, a[i], d)
            elif kind == SQUARES:
                d = v_sub(t, d, m[i])
                a[i] = v_fma(t, d, d, a[i])
            else:
                e = load(t, g + r * step + i * lanes(t), n)
                a[i] = v_add(t, a[i], e)
                b[i] = v_fma(t, e, v_sub(t, d, m[i]), b[i])
    for i in range(nb):
        store(t, first + i * lanes(t), n, a[i])
        if kind == GRADIENTS:
            store(t, second + i * lanes(t), n, b[i])


cdef inline void sum_rows(
    real t, int kind, const Context *c, i64 rows, i64 width, const real *x, const real *g, const real *mean, real *piece, double *sums
) noexcept nogil:
    """Add the sums of the first `width` columns of `rows` wide rows to `sums`."""
    cdef i64 j = 0
    while j + NB * lanes(t) <= width:
        sum_block(t, kind, NB, lanes(t), rows, c.width, x + j, g + j, mean + j, piece + j, piece + c.width + j)
        j += NB * lanes(t)
    while j + lanes(t) <= width:
        sum_block(t, kind, 1, lanes(t), rows, c.width, x + j, g + j, mean + j, piece + j, piece + c.width + j)
        j += lanes(t)
    if j < width:
        sum_block(t, kind, 1, width - j, rows, c.width, x + j, g + j, mean + j, piece + j, piece + c.width + j)
    for j in range(width):
        sums[j] += <double>piece[j]
    if kind == GRADIENTS:
        for j in range(width):
            sums[c.width + j] += <double>piece[c.width + j]


cdef inline void sum_image(
    real t, int kind, const Context *c, const real *x, const real *g, const real *mean, real *piece, double *sums
) noexcept nogil:
    """The sums of all columns of an image, those of the columns of one channel added up in the first `channels` of them."""
    cdef i64 r = 0
    cdef i64 j, f, row
    for j in range(2 * c.width):
        sums[j] = 0
    while r < c.wide:
        sum_rows(t, kind, c, min(c.wide - r, <i64>STEP), c.width, x + r * c.width, g + r * c.width, mean, piece, sums)
        r += STEP
    if c.rest:
        sum_rows(t, kind, c, 1, c.rest, x + c.wide * c.width, g + c.wide * c.width, mean, piece, sums)
    for row in range(2 if kind == GRADIENTS else 1):
        for f in range(1, c.fold):
            for j in range(c.channels):
                sums[row * c.width + j] += sums[row * c.width + f * c.channels + j]


cdef inline void spread(real t, const Context *c, real *k) noexcept nogil:
    """Constants of the channels, for all columns."""
    cdef i64 f, j
    for f in range(1, c.fold):
        for j in range(c.channels):
            k[f * c.channels + j] = k[j]


cdef inline double weight_of(real t, const Context *c, i64 channel) noexcept nogil:
    return <double>(<const real *>c.weight)[channel] if c.weight != NULL else 1.0


cdef inline void write_row(real t, bint backward, const Context *c, i64 n, const real *x, const real *g, const real *k, real *out) noexcept nogil:
    """out, or dx, of the first n numbers of a wide row."""
    cdef i64 j = 0
    cdef i64 left
    cdef vec d
    while j < n:
        left = min(n - j, <i64>lanes(t))
        d = v_sub(t, v_load_n(t, x + j, left), v_load_n(t, k + j, left))
        if backward:
            d = v_fma(t, d, v_load_n(t, k + 3 * c.width + j, left), v_load_n(t, k + 4 * c.width + j, left))
            d = v_fma(t, v_load_n(t, g + j, left), v_load_n(t, k + c.width + j, left), d)
        else:
            d = v_fma(t, d, v_load_n(t, k + c.width + j, left), v_load_n(t, k + 2 * c.width + j, left))
        v_store_n(t, out + j, left, d)
        j += lanes(t)


cdef inline void write_block(
    real t, bint backward, const Context *c, const real *x, const real *g, const real *k, real *out
) noexcept nogil:
    """One register of columns, whole, over all wide rows: its constants stay in registers."""
    cdef vec mean = v_load(k)
    cdef vec scale = v_load(k + c.width)
    cdef vec shift = v_load(k + 2 * c.width)
    cdef vec factor = shift
    cdef vec d
    cdef i64 r
    if backward:
        factor = v_load(k + 3 * c.width)
        shift = v_load(k + 4 * c.width)
    for r in range(c.wide):
        d = v_sub(t, v_load(x + r * c.width), mean)
        if backward:
            d = v_fma(t, v_load(g + r * c.width), scale, v_fma(t, d, factor, shift))
        else:
            d = v_fma(t, d, scale, shift)
        v_store(out + r * c.width, d)


cdef inline void write_image(real t, bint backward, const Context *c, const real *x, const real *g, const real *k, real *out) noexcept nogil:
    cdef i64 r
    cdef i64 at = c.wide * c.width
    if c.width == lanes(t) * NB or c.width == lanes(t):
        for r in range(0, c.width // lanes(t)):
            write_block(t, backward, c, x + r * lanes(t), g + r * lanes(t), k + r * lanes(t), out + r * lanes(t))
    else:
        for r in range(c.wide):
            write_row(t, backward, c, c.width, x + r * c.width, g + r * c.width, k, out + r * c.width)
    if c.rest:
        write_row(t, backward, c, c.rest, x + at, g + at, k, out + at)


cdef inline void group_means(const Context *c, double *sums) noexcept nogil:
    """sums[0 : groups] = the sums of the channels of each group, divided by what a set has."""
    cdef i64 size = c.channels // c.groups
    cdef i64 i, j
    cdef double total
    for i in range(c.groups):
        total = 0
        for j in range(size):
            total += sums[i * size + j]
        sums[i] = total / (<double>c.rows * <double>size)


cdef inline void forward_plane(real t, const Context *c, i64 image, double *sums, real *k, real *piece) noexcept nogil:
    cdef i64 at = image * c.rows * c.channels
    cdef i64 size = c.channels // c.groups
    cdef const real *x = <const real *>c.x + at
    cdef double *mean = c.mean + image * c.groups
    cdef double *var = c.var + image * c.groups
    cdef i64 i, j
    cdef double s
    for i in range(c.groups):
        mean[i] = 0
    if c.centred:
        sum_image(t, PLAIN, c, x, x, k, piece, sums)
        group_means(c, sums)
        for i in range(c.groups):
            mean[i] = sums[i]
    for i in range(c.groups):
        for j in range(i * size, (i + 1) * size):
            k[j] = <real>mean[i]
    spread(t, c, k)
    sum_image(t, SQUARES, c, x, x, k, piece, sums)
    group_means(c, sums)
    for i in range(c.groups):
        s = mean[i] - <double><real>mean[i]         # what the rounded mean was wrong by
        var[i] = max(sums[i] - s * s, 0.0) if sums[i] == sums[i] else sums[i]
        s = 1 / sqrt(var[i] + c.eps)
        for j in range(i * size, (i + 1) * size):
            k[c.width + j] = <real>(s * weight_of(t, c, j))
            k[2 * c.width + j] = (<const real *>c.bias)[j] if c.bias != NULL else 0
    spread(t, c, k + c.width)
    spread(t, c, k + 2 * c.width)
    write_image(t, False, c, x, x, k, <real *>c.out + at)


cdef inline void backward_plane(real t, const Context *c, i64 image, double *sums, real *k, real *piece, real *dw, real *db) noexcept nogil:
    cdef i64 at = image * c.rows * c.channels
    cdef i64 size = c.channels // c.groups
    cdef const real *x = <const real *>c.x + at
    cdef const real *g = <const real *>c.g + at
    cdef const double *mean = c.mean + image * c.groups
    cdef const double *var = c.var + image * c.groups
    cdef double n = <double>c.rows * <double>size
    cdef double s, plain, products
    cdef i64 i, j
    for i in range(c.groups):
        for j in range(i * size, (i + 1) * size):
            k[j] = <real>mean[i]
    spread(t, c, k)
    sum_image(t, GRADIENTS, c, x, g, k, piece, sums)
    for i in range(c.groups):
        s = 1 / sqrt(var[i] + c.eps)
        plain = 0
        products = 0
        for j in range(i * size, (i + 1) * size):
            db[j] += <real>sums[j]
            dw[j] += <real>(s * sums[c.width + j])
            plain += weight_of(t, c, j) * sums[j]
            products += weight_of(t, c, j) * sums[c.width + j]
        for j in range(i * size, (i + 1) * size):
            k[c.width + j] = <real>(s * weight_of(t, c, j))
            k[3 * c.width + j] = <real>(-s * s * s * products / n)
            k[4 * c.width + j] = <real>(-s * plain / n) if c.centred else 0
    spread(t, c, k + c.width)
    spread(t, c, k + 3 * c.width)
    spread(t, c, k + 4 * c.width)
    write_image(t, True, c, x, g, k, <real *>c.out + at)


# Lines

cdef inline vec within(real t, vec v, i64 n) noexcept nogil:
    return v if n == lanes(t) else v_select(v_head(t, n), v, v_zero())


cdef inline double line_sum(real t, bint squares, const real *x, i64 n, real mean) noexcept nogil:
    """The sum of n numbers, or of their squared differences to the mean: pieces of STEP registers in float64."""
    cdef vec a[NB]
    cdef vec m = v_set(mean)
    cdef vec d
    cdef double total = 0
    cdef i64 j = 0
    cdef i64 end
    cdef i64 left
    cdef int i
    while j < n:
        end = min(n, j + STEP * lanes(t))
        for i in range(NB):
            a[i] = v_zero()
        while j + NB * lanes(t) <= end:
            for i in range(NB):
                d = v_load(x + j + i * lanes(t))
                if squares:
                    d = v_sub(t, d, m)
                    a[i] = v_fma(t, d, d, a[i])
                else:
                    a[i] = v_add(t, a[i], d)
            j += NB * lanes(t)
        while j < end:
            left = min(end - j, <i64>lanes(t))
            d = v_load_n(t, x + j, left)
            if squares:
                d = within(t, v_sub(t, d, m), left)
                a[0] = v_fma(t, d, d, a[0])
            else:
                a[0] = v_add(t, a[0], d)
            j += left
        total += <double>v_hsum(t, v_add(t, v_add(t, a[0], a[1]), v_add(t, a[2], a[3])))
    return total


cdef inline void line_out(real t, const Context *c, i64 at, i64 j, i64 n, vec mean, vec s) noexcept nogil:
    cdef vec scale = s
    cdef vec d
    if c.weight != NULL:
        scale = v_mul(t, s, load(t, <const real *>c.weight + j, n))
    d = v_sub(t, load(t, <const real *>c.x + at + j, n), mean)
    if c.bias != NULL:
        d = v_fma(t, d, scale, load(t, <const real *>c.bias + j, n))
    else:
        d = v_mul(t, d, scale)
    store(t, <real *>c.out + at + j, n, d)


cdef inline void forward_line(real t, const Context *shared, i64 image) noexcept nogil:
    cdef Context c = shared[0]
    cdef i64 n = c.channels
    cdef i64 at = image * n
    cdef i64 j = 0
    cdef const real *x = <const real *>c.x + at
    cdef double mean = line_sum(t, False, x, n, <real>0) / n if c.centred else 0.0
    cdef double var = line_sum(t, True, x, n, <real>mean) / n
    cdef double d = mean - <double><real>mean
    cdef vec m = v_set(<real>mean)
    cdef vec s
    if var == var:
        var = max(var - d * d, 0.0)
    c.mean[image] = mean
    c.var[image] = var
    s = v_set(<real>(1 / sqrt(var + c.eps)))
    while j + lanes(t) <= n:
        line_out(t, &c, at, j, lanes(t), m, s)
        j += lanes(t)
    if j < n:
        line_out(t, &c, at, j, n - j, m, s)


cdef inline void line_gradient_sums(
    real t, const Context *c, i64 at, i64 j, i64 n, vec mean, vec s, real *dw, real *db, vec *plain, vec *products
) noexcept nogil:
    cdef vec g = load(t, <const real *>c.g + at + j, n)
    cdef vec d = v_sub(t, load(t, <const real *>c.x + at + j, n), mean)
    cdef vec h = g
    if n < lanes(t):
        d = within(t, d, n)
    if c.weight != NULL:
        h = v_mul(t, g, load(t, <const real *>c.weight + j, n))
    plain[0] = v_add(t, plain[0], h)
    products[0] = v_fma(t, h, d, products[0])
    store(t, dw + j, n, v_fma(t, v_mul(t, g, s), d, load(t, dw + j, n)))
    store(t, db + j, n, v_add(t, load(t, db + j, n), g))


cdef inline void line_dx(real t, const Context *c, i64 at, i64 j, i64 n, vec mean, vec s, vec factor, vec shift) noexcept nogil:
    cdef vec h = load(t, <const real *>c.g + at + j, n)
    cdef vec d = v_sub(t, load(t, <const real *>c.x + at + j, n), mean)
    if c.weight != NULL:
        h = v_mul(t, h, load(t, <const real *>c.weight + j, n))
    store(t, <real *>c.out + at + j, n, v_fma(t, h, s, v_fma(t, d, factor, shift)))


cdef inline void backward_line(real t, const Context *shared, i64 image, real *dw, real *db) noexcept nogil:
    cdef Context c = shared[0]
    cdef i64 n = c.channels
    cdef i64 at = image * n
    cdef i64 j = 0
    cdef i64 end
    cdef double s = 1 / sqrt(c.var[image] + c.eps)
    cdef vec mean = v_set(<real>c.mean[image])
    cdef vec scale = v_set(<real>s)
    cdef vec plain, products
    cdef double a = 0
    cdef double b = 0
    while j < n:
        end = min(n, j + STEP * lanes(t))
        plain = v_zero()
        products = v_zero()
        while j + lanes(t) <= end:
            line_gradient_sums(t, &c, at, j, lanes(t), mean, scale, dw, db, &plain, &products)
            j += lanes(t)
        if j < end:
            line_gradient_sums(t, &c, at, j, end - j, mean, scale, dw, db, &plain, &products)
            j = end
        a += <double>v_hsum(t, plain)
        b += <double>v_hsum(t, products)
    plain = v_set(<real>(-s * a / n) if c.centred else <real>0)
    products = v_set(<real>(-s * s * s * b / n))
    j = 0
    while j + lanes(t) <= n:
        line_dx(t, &c, at, j, lanes(t), mean, scale, products, plain)
        j += lanes(t)
    if j < n:
        line_dx(t, &c, at, j, n - j, mean, scale, products, plain)


# Tasks

cdef inline void images_of_task(real t, bint backward, const Context *c, i64 task) noexcept nogil:
    cdef char *own = c.scratch + task * c.private
    cdef double *sums = <double *>own
    cdef real *k = <real *>(own + 16 * c.width)
    cdef real *piece = k + 5 * c.width
    cdef real *dw = piece + 2 * c.width
    cdef real *db = dw + c.channels
    cdef i64 image
    if backward:
        memset(dw, 0, 2 * c.channels * sizeof(real))
    for image in range(task * c.block, min((task + 1) * c.block, c.images)):
        if c.lines:
            if backward:
                backward_line(t, c, image, dw, db)
            else:
                forward_line(t, c, image)
        elif backward:
            backward_plane(t, c, image, sums, k, piece, dw, db)
        else:
            forward_plane(t, c, image, sums, k, piece)


cdef inline void combine_columns(real t, const Context *c, i64 task) noexcept nogil:
    cdef const real *own
    cdef double a, b
    cdef i64 i, j
    for j in range(task * COLUMNS, min((task + 1) * COLUMNS, c.channels)):
        a = 0
        b = 0
        for i in range(c.tasks):
            own = <const real *>(c.scratch + i * c.private + 16 * c.width) + 7 * c.width
            a += <double>own[j]
            b += <double>own[c.channels + j]
        (<real *>c.dw)[j] = <real>a
        (<real *>c.db)[j] = <real>b


cdef void forward_f32(void *c, i64 task, i64 slot) noexcept nogil:
    images_of_task(<float>0, False, <const Context *>c, task)


cdef void forward_f64(void *c, i64 task, i64 slot) noexcept nogil:
    images_of_task(<double>0, False, <const Context *>c, task)


cdef void backward_f32(void *c, i64 task, i64 slot) noexcept nogil:
    images_of_task(<float>0, True, <const Context *>c, task)


cdef void backward_f64(void *c, i64 task, i64 slot) noexcept nogil:
    images_of_task(<double>0, True, <const Context *>c, task)


cdef void combine_f32(void *c, i64 task, i64 slot) noexcept nogil:
    combine_columns(<float>0, <const Context *>c, task)


cdef void combine_f64(void *c, i64 task, i64 slot) noexcept nogil:
    combine_columns(<double>0, <const Context *>c, task)


cdef void geometry(Context *c, p):
    cdef i64 item = p.dtype.itemsize
    cdef i64 vf = LM_VB // item
    cdef i64 unit = vf          # rows that make a whole number of registers: vf / gcd(channels, vf)
    cdef i64 half
    memset(c, 0, sizeof(Context))
    c.images, c.rows, c.channels, c.groups, c.centred, c.eps = p.images, p.rows, p.channels, p.groups, p.centred, p.eps
    c.lines = c.rows == 1 and c.groups == 1
    c.fold = 1
    if 0 < c.channels < NB * vf and c.rows > 1:
        half = c.channels
        while unit > 1 and half % 2 == 0:
            unit //= 2
            half //= 2
        c.fold = min(unit * ceil_div(NB * vf, unit * c.channels), c.rows)
    c.width = 0 if c.lines else c.fold * c.channels
    c.wide = c.rows // c.fold
    c.rest = (c.rows - c.wide * c.fold) * c.channels
    c.block = max(ceil_div(c.images, TASKS), <i64>1)
    c.tasks = ceil_div(c.images, c.block)
    c.private = round_up(16 * c.width + (7 * c.width + 2 * c.channels) * item)


def scratch(pass_, p):
    cdef Context c
    geometry(&c, p)
    return (0 if c.lines and pass_ == "forward" else c.tasks * c.private), 0


cdef void *address(array):
    return NULL if array is None else cnp.PyArray_DATA(<cnp.ndarray>array)


def forward(p, cnp.ndarray x, weight, bias, cnp.ndarray out, cnp.ndarray mean, cnp.ndarray var, cnp.ndarray scratch):
    cdef Context c
    cdef bint double_precision = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT64
    geometry(&c, p)
    c.x, c.weight, c.bias, c.out = address(x), address(weight), address(bias), address(out)
    c.mean, c.var, c.scratch = <double *>address(mean), <double *>address(var), cnp.PyArray_BYTES(scratch)
    cdef double cost = (0.5 if double_precision else 0.25) * c.images * c.rows * c.channels
    with nogil:
        parallel_for(forward_f64 if double_precision else forward_f32, &c, c.tasks, cost, ANY_SLOTS)


def backward(
    p, cnp.ndarray g, cnp.ndarray x, weight, cnp.ndarray mean, cnp.ndarray var,
    cnp.ndarray dx, cnp.ndarray dw, cnp.ndarray db, cnp.ndarray scratch,
):
    cdef Context c
    cdef bint double_precision = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT64
    geometry(&c, p)
    c.x, c.g, c.weight, c.out = address(x), address(g), address(weight), address(dx)
    c.mean, c.var, c.scratch = <double *>address(mean), <double *>address(var), cnp.PyArray_BYTES(scratch)
    c.dw, c.db = address(dw), address(db)
    cdef double cost = (0.7 if double_precision else 0.35) * c.images * c.rows * c.channels
    with nogil:
        parallel_for(backward_f64 if double_precision else backward_f32, &c, c.tasks, cost, ANY_SLOTS)
        parallel_for(
            combine_f64 if double_precision else combine_f32, &c, ceil_div(c.channels, COLUMNS), 1.5 * c.tasks * c.channels, ANY_SLOTS
        )
