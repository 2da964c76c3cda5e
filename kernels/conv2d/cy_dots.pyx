"""Convolution with few pixels and many weights: every output is a dot product, its lanes are the depth, and weights are read where they are.

    out[pixel, o] = sum over l of  w[o, l] * A[pixel, l]        l = (channel, tap), as in w       A[pixel, (c, t)] = x[n, y*sh + ty[t], x*sw + tx[t], c]

Shapes   images (mb, c, h, w) in channels-last memory, weights (oc, ic / groups, kh, kw)
Packed   A, once per call, for all pixels: rows of whole registers, zero at their end, an odd number of cache lines apart. w is not transposed: the
         rows of a tile are copied, for a range of l, to wb[step][row][lane], which is one run through memory and stays in L1.
Tile     mr output channels x nv pixels. A step is one register of l: mr loads of w, nv of A, mr * nv FMA. In the end the lanes of every
         accumulator are added up, those of all channels together: the result is a register of neighbouring channels.

Loops    tasks: pixels, while A is packed; then blocks of output channels
         ranges of l                     A in that range stays in L2; sums of later ranges are added in out
         tiles of mr output channels     their weights come from memory once; those of the next tile are fetched meanwhile, step by step
         2 pixels
Edges    the last step of w is masked; tiles have exactly the rows they need
Cost     2 * mb * oc * oh * ow * ic / groups * kh * kw flops; per tile and range about three instructions for every output; a copy of w and A each.
Gains    over kernels that transpose the weights into panels first: that is 32 pixels' worth of work and more, if each weight meets few of them.
         Lanes are full for any number of pixels.
Loses    where pixels are many (A leaves L2), or the depth is small.
"""
cimport numpy as cnp
from libc.string cimport memcpy, memset

from lamella.kernels._common.pool cimport parallel_for
from lamella.kernels._common.simd cimport (
    LM_MR, LM_VB, lanes, v_fma, v_fresh_zero, v_load, v_load_n, v_pin, v_prefetch, v_prefetch_l2, v_store, v_zero, vacate, vec,
)
from lamella.kernels._common.tile cimport BIAS_COLUMN, Epilogue, finish_block, plain
from lamella.kernels._common.transpose cimport square, sum_lanes
from lamella.kernels._common.types cimport i64, real
from lamella.kernels.conv2d.gather cimport KH, KW, UNITS, Gather, aligned, ceil_div, epilogue, fetch, forward_gather

cnp.import_array()

cdef enum:
    WEIGHTS = 28 * 1024     # bytes of wb: with some rows of A, inside L1
    PIXELS = 2              # of a tile
    ROW = 16                # sums of a pixel in a tile at most


cdef struct Dots:
    Gather v
    Epilogue e
    i64 pixels              # of all images
    i64 pitch               # elements from row to row of A
    i64 ranges, span        # values of l multiplied at a time
    i64 mr, tiles           # rows of a tile, tiles of a group
    i64 blocks, block_tiles
    double rate             # flops per ns of one thread
    char *a                 # A[group][pixel][l]
    char *work              # wb of slot 0
    i64 work_bytes


cdef inline void add_lanes(real t, int mr, vec *acc, real *sums) noexcept nogil:
    """sums[i] of the lanes of acc[i]. (Written out: GCC unrolls no loop over calls as long as these.)"""
    v_store(sums, sum_lanes(t, acc))
    if mr > lanes(t):
        v_store(sums + lanes(t), sum_lanes(t, acc + lanes(t)))
    if mr > 2 * lanes(t):
        v_store(sums + 2 * lanes(t), sum_lanes(t, acc + 2 * lanes(t)))


cdef inline void dots(
    real t, int mr, int nv, i64 steps, const real *w, const real *a, i64 pitch, const real *one, const real *two, real *sums,
) noexcept nogil:
    """sums[j * ROW + i] of channel i and pixel j. What lies at `one` and `two` is fetched into L2, a register a step: all at once, it would fill the
    queues that the tile's own loads pass."""
    cdef vec acc[ROW]               # registers: indexed by constants alone
    cdef vec other[ROW]             # of the second pixel
    cdef vec s, x, y
    cdef int i
    cdef i64 _l
    vacate()
    for i in range(mr):
        acc[i] = v_fresh_zero()
        if nv == 2:
            other[i] = v_fresh_zero()
    for _l in range(steps):
        x = v_load(a)
        v_prefetch(a + nv * pitch)
        if nv == 2:
            y = v_load(a + pitch)
            v_prefetch(a + 3 * pitch)
        v_prefetch_l2(one)
        v_prefetch_l2(two)
        for i in range(mr):
            s = v_pin(v_load(w + i * lanes(t)))
            acc[i] = v_fma(t, s, x, acc[i])
            if nv == 2:
                other[i] = v_fma(t, s, y, other[i])
        w += mr * lanes(t)
        a += lanes(t)
        one += lanes(t)
        two += lanes(t)
    for i in range(mr, ROW):
        acc[i] = v_zero()
        other[i] = v_zero()
    add_lanes(t, mr, acc, sums)
    if nv == 2:
        add_lanes(t, mr, other, sums + ROW)


cdef extern from "tile.h" nogil:
    ctypedef void (*dots_f32)(float, int, int, i64, const float *, const float *, i64, const float *, const float *, float *) noexcept
    ctypedef void (*dots_f64)(double, int, int, i64, const double *, const double *, i64, const double *, const double *, double *) noexcept
    void rows_f32 "lm_switch_rows"(dots_f32, float, i64, int, i64, const float *, const float *, i64, const float *, const float *, float *) noexcept
    void rows_f64 "lm_switch_rows"(dots_f64, double, i64, int, i64, const double *, const double *, i64, const double *, const double *, double *) noexcept


cdef void pixels_tile(
    real t, i64 mr, i64 pixels, i64 steps, const real *w, const real *a, i64 pitch, const real *one, const real *two,
    real *c, i64 ldc, const Epilogue *e,
) noexcept nogil:
    """mr output channels of one or PIXELS pixels."""
    cdef real sums[PIXELS * ROW]
    if real is float:
        if pixels == PIXELS:
            rows_f32(dots[float], t, mr, PIXELS, steps, w, a, pitch, one, two, sums)
        else:
            rows_f32(dots[float], t, mr, 1, steps, w, a, pitch, one, two, sums)
    else:
        if pixels == PIXELS:
            rows_f64(dots[double], t, mr, PIXELS, steps, w, a, pitch, one, two, sums)
        else:
            rows_f64(dots[double], t, mr, 1, steps, w, a, pitch, one, two, sums)
    finish_block(t, sums, ROW, pixels, mr, c, ldc, e)


cdef void pack_pixel(real t, Dots *d, i64 pixel) noexcept nogil:
    """The rows of A of a pixel: its taps side by side, transposed."""
    cdef Gather *v = &d.v
    cdef i64 image = pixel // (v.rows * v.columns)
    cdef i64 y0 = pixel // v.columns % v.rows * v.sy
    cdef i64 x0 = pixel % v.columns * v.sx
    cdef i64 group, first, count, channel, n, tap, y, x
    cdef const real *src
    cdef real *row
    cdef real corner[256]           # [tap][channel]
    for group in range(v.groups):
        row = <real *>d.a + (group * d.pixels + pixel) * d.pitch
        memset(row + v.k, 0, (d.pitch - v.k) * sizeof(real))
        for first in range(ceil_div(v.taps, lanes(t))):
            first *= lanes(t)
            count = min(v.taps - first, <i64>lanes(t))
            for channel in range(ceil_div(v.depth, lanes(t))):
                channel *= lanes(t)
                n = v.depth if v.taps == 1 else min(v.depth - channel, <i64>lanes(t))
                for tap in range(count):
                    y = y0 + v.ty[first + tap]
                    x = x0 + v.tx[first + tap]
                    src = NULL
                    if 0 <= y < v.height and 0 <= x < v.width:
                        src = <const real *>v.src + ((image * v.height + y) * v.width + x) * v.channels + group * v.depth + channel
                    if v.taps == 1 and src == NULL:
                        memset(row, 0, n * sizeof(real))
                    elif v.taps == 1:
                        memcpy(row, src, n * sizeof(real))
                    else:
                        v_store(corner + tap * lanes(t), v_zero() if src == NULL else v_load_n(t, src, n))
                if v.taps == 1:
                    break
                square(t, corner, lanes(t), row + channel * v.taps + first, v.taps, count, n)


cdef inline void copy_weights(real t, const real *w, i64 ld, i64 mr, i64 count, real *wb) noexcept nogil:
    cdef i64 i, s
    cdef i64 whole = count // lanes(t)
    for i in range(mr):
        for s in range(whole):
            v_store(wb + (s * mr + i) * lanes(t), v_load(w + i * ld + s * lanes(t)))
        if count > whole * lanes(t):
            v_store(wb + (whole * mr + i) * lanes(t), v_load_n(t, w + i * ld + whole * lanes(t), count - whole * lanes(t)))


cdef void block_task(real t, Dots *d, i64 task, i64 slot) noexcept nogil:
    """A block of tiles of output channels, for all pixels."""
    cdef Gather *v = &d.v
    cdef i64 group = task // d.blocks
    cdef i64 first = task % d.blocks * d.block_tiles
    cdef i64 last = min(first + d.block_tiles, d.tiles)
    cdef const real *w = <const real *>v.w + group * v.w_group
    cdef const real *a = <const real *>d.a + group * d.pixels * d.pitch
    cdef real *wb = <real *>(d.work + slot * d.work_bytes)
    cdef i64 part, tile, l0, count, steps, channel, mr, pixel, rows, fetched, ahead
    cdef const real *coming         # the weights of the next tile
    cdef const real *one
    cdef const real *two
    cdef real *c
    cdef Epilogue e
    for part in range(d.ranges):
        l0 = part * d.span
        count = min(d.span, v.k - l0)
        steps = ceil_div(count, lanes(t))
        for tile in range(first, last):
            mr = min(d.mr, v.n - tile * d.mr)
            channel = group * v.n + tile * d.mr
            copy_weights(t, w + tile * d.mr * v.k + l0, v.k, mr, count, wb)
            coming = w + (tile + 1) * d.mr * v.k + l0 if tile + 1 < last else w + first * d.mr * v.k + l0 + d.span
            rows = mr if tile + 1 < last or part + 1 < d.ranges else 0
            fetched = 0
            e = plain()
            if part + 1 == d.ranges:
                e = d.e
                if e.bias_kind == BIAS_COLUMN:
                    e.bias = <const real *>d.e.bias + channel
            e.beta = 1 if part else 0
            pixel = 0
            while pixel < d.pixels:
                ahead = min((pixel + PIXELS) * rows // d.pixels, rows)
                one = coming + fetched * v.k if ahead > fetched else wb
                two = coming + (fetched + 1) * v.k if ahead > fetched + 1 else wb
                if ahead > fetched + 2:
                    fetch(<const char *>(coming + (fetched + 2) * v.k), ahead - fetched - 2, v.k * sizeof(real), steps * LM_VB)
                fetched = ahead
                c = <real *>v.dst + pixel * v.dst_column + channel
                if pixel + PIXELS <= d.pixels:
                    pixels_tile(t, mr, PIXELS, steps, wb, a + pixel * d.pitch + l0, d.pitch, one, two, c, v.dst_column, &e)
                    pixel += PIXELS
                else:
                    pixels_tile(t, mr, 1, steps, wb, a + pixel * d.pitch + l0, d.pitch, one, two, c, v.dst_column, &e)
                    pixel += 1


cdef void pack_f32(void *d, i64 task, i64 slot) noexcept nogil:
    pack_pixel(<float>0, <Dots *>d, task)


cdef void pack_f64(void *d, i64 task, i64 slot) noexcept nogil:
    pack_pixel(<double>0, <Dots *>d, task)


cdef void block_f32(void *d, i64 task, i64 slot) noexcept nogil:
    block_task(<float>0, <Dots *>d, task, slot)


cdef void block_f64(void *d, i64 task, i64 slot) noexcept nogil:
    block_task(<double>0, <Dots *>d, task, slot)


cdef inline i64 tables_bytes(const i64 *p) noexcept nogil:
    return aligned(3 * p[KH] * p[KW] * 8)


cdef void plan(Dots *d, const i64 *p, i64 item, char *tables) noexcept nogil:
    """Ranges of equal length, tiles of equal height, and how tasks share the tiles."""
    cdef Gather *v = &d.v
    cdef i64 width = LM_VB // item
    memset(d, 0, sizeof(Dots))
    v.ty = <i64 *>tables
    v.tx = v.ty + p[KH] * p[KW]
    v.tw = v.tx + p[KH] * p[KW]
    forward_gather(v, p, item)
    v.k = v.taps * v.depth
    d.pixels = v.mb * v.rows * v.columns
    d.pitch = (ceil_div(v.k, width) * LM_VB // 64 + 1 | 1) * 64 // item
    d.ranges = ceil_div(v.k, WEIGHTS // (LM_MR * LM_VB) * width)
    d.span = ceil_div(ceil_div(v.k, width), d.ranges) * width
    d.ranges = ceil_div(v.k, d.span)
    d.tiles = ceil_div(v.n, LM_MR)
    d.mr = ceil_div(v.n, d.tiles)
    d.tiles = ceil_div(v.n, d.mr)
    d.block_tiles = max(<i64>1, d.tiles * v.groups // UNITS)
    d.blocks = ceil_div(d.tiles, d.block_tiles)
    d.rate = LM_VB / 2.0 * 4 / item
    d.work_bytes = aligned(WEIGHTS)


cdef inline i64 rows_bytes(Dots *d, i64 item) noexcept nogil:
    return aligned(d.v.groups * d.pixels * d.pitch * item)


def scratch(pass_, p):
    """Index tables and A, shared; the weights of a tile per thread."""
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *g = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef Dots d
    cdef bytearray tables = bytearray(tables_bytes(g))
    plan(&d, g, p.dtype.itemsize, tables)
    return tables_bytes(g) + rows_bytes(&d, p.dtype.itemsize), d.work_bytes


def forward(p, cnp.ndarray x, cnp.ndarray w, b, cnp.ndarray out, cnp.ndarray scratch):
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *g = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef char *base = cnp.PyArray_BYTES(scratch)
    cdef i64 left = cnp.PyArray_SIZE(scratch)
    cdef bint double_precision = cnp.PyArray_TYPE(out) == cnp.NPY_FLOAT64
    cdef i64 item = 8 if double_precision else 4
    cdef Dots d
    if cnp.PyArray_SIZE(out) == 0:
        return
    plan(&d, g, item, base)
    d.e = epilogue(g, p.slope, cnp.PyArray_BYTES(b) if b is not None else NULL)
    d.v.src = cnp.PyArray_BYTES(x)
    d.v.dst = cnp.PyArray_BYTES(out)
    d.v.w = cnp.PyArray_BYTES(w)
    d.a = base + tables_bytes(g)
    d.work = d.a + rows_bytes(&d, item)
    left -= d.work - base
    with nogil:
        parallel_for(pack_f64 if double_precision else pack_f32, &d, d.pixels, 0.2 * d.pixels * d.v.groups * d.v.k, left // d.work_bytes)
        parallel_for(
            block_f64 if double_precision else block_f32, &d, d.v.groups * d.blocks, 2.0 * d.pixels * d.v.groups * d.v.n * d.v.k / d.rate,
            left // d.work_bytes,
        )
