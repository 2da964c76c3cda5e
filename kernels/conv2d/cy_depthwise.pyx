"""Depthwise convolution: every channel has a filter of its own, so channels are the lanes.

    dst[n, r, q, c] = sum over taps t of  src[n, r*sy + ty[t], q*sx + tx[t], c] * w[c, t]         (gather.pxd, one channel per group)
    dw[c, t] = sum over n, r, q of  x[n, r*sy + ty[t], q*sx + tx[t], c] * g[n, r, q, c]

Shapes   images (mb, c, h, w) in channels-last memory, weights (c, 1, kh, kw)
Packed   wp[t][c]: the weights of a tap side by side, as the channels of a pixel are
Tile     forward, backward_input: PIXELS pixels of a row x 1 register of channels; each tap is one load of weights and PIXELS loads of pixels
         backward_weight: up to 9 taps x 1 register of channels, summed over all pixels of the band
Loops    tasks: image, band of rows (in place, or copied into a zero-padded buffer); rows, registers of channels, pixels, taps
         backward_weight: tasks are chunks of (image, band) with a private dw each, summed in order afterwards.
Edges    the last register of channels is masked; pixels left over are computed one at a time.
Cost     2 * mb * c * oh * ow * kh * kw flops; one load per FMA: bound by L1 and L2, and by memory for images that do not fit.
Gains    over cy_direct, which fills one lane of a register per channel.
"""
cimport numpy as cnp
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport LM_VB, lanes, v_add, v_fma, v_load, v_load_n, v_store, v_store_n, v_zero, vec
from lamella.kernels._common.tile cimport BIAS_COLUMN, Epilogue, finish, plain
from lamella.kernels._common.types cimport i64, real
from lamella.kernels.conv2d.gather cimport (
    CHUNKS, KH, KW, SH, SW, Gather, aligned, backward_gather, bring, ceil_div, epilogue, forward_gather, plan_bands,
)

cnp.import_array()

cdef enum:
    PIXELS = 8      # two FMA per cycle, four cycles each


cdef struct Depthwise:
    Gather v
    bint double_precision
    i64 item
    i64 *ao                 # offset of a tap from the band's first pixel
    Epilogue e              # of the forward pass, for the first channel; otherwise plain
    double rate


cdef inline void pixels(
    real t, int count, i64 n, i64 taps, const i64 *ao, const real *a, i64 step, const real *wp, i64 channels,
    real *c, i64 dst_step, const Epilogue *e,
) noexcept nogil:
    """`count` (a constant) pixels, n channels of one register; n = lanes is a constant too in the common case."""
    cdef vec acc[PIXELS]
    cdef vec w
    cdef int i
    cdef i64 q
    for i in range(count):
        acc[i] = v_zero()
    for q in range(taps):
        w = v_load_n(t, wp + q * channels, n)
        for i in range(count):
            if n == lanes(t):
                acc[i] = v_fma(t, v_load(a + ao[q] + i * step), w, acc[i])
            else:
                acc[i] = v_fma(t, v_load_n(t, a + ao[q] + i * step, n), w, acc[i])
    for i in range(count):
        v_store_n(t, c + i * dst_step, n, finish(t, acc[i], e, c, n, 0, 0))


cdef void band_task(real t, Depthwise *d, i64 task, i64 slot) noexcept nogil:
    cdef Gather *v = &d.v
    cdef i64 image = task // (v.bands * v.strips)
    cdef i64 r0 = task // v.strips % v.bands * v.band_rows
    cdef i64 q0 = task % v.strips * v.band_columns
    cdef i64 rows = min(v.band_rows, v.rows - r0)
    cdef i64 columns = min(v.band_columns, v.columns - q0)
    cdef const real *band = bring(t, v, image, r0, rows, q0, columns, slot)
    cdef real *dst = <real *>v.dst + v.dst_first + image * v.dst_image + r0 * v.dst_row + q0 * v.dst_column
    cdef i64 step = v.sx * v.channels
    cdef i64 r, q, j, first, n
    cdef const real *a
    cdef const real *wp
    cdef Epilogue e = d.e
    cdef real *c
    for r in range(rows):
        for j in range(ceil_div(v.channels, lanes(t))):
            first = j * lanes(t)
            n = min(<i64>lanes(t), v.channels - first)
            a = band + r * v.sy * v.pitch * v.channels + first
            c = dst + r * v.dst_row + first
            wp = <const real *>v.wp + first
            if e.bias_kind == BIAS_COLUMN:
                e.bias = <const real *>d.e.bias + first
            q = 0
            while q + PIXELS <= columns:
                if n == lanes(t):
                    pixels(t, PIXELS, lanes(t), v.taps, d.ao, a + q * step, step, wp, v.channels, c + q * v.dst_column, v.dst_column, &e)
                else:
                    pixels(t, PIXELS, n, v.taps, d.ao, a + q * step, step, wp, v.channels, c + q * v.dst_column, v.dst_column, &e)
                q += PIXELS
            while q < columns:
                pixels(t, 1, n, v.taps, d.ao, a + q * step, step, wp, v.channels, c + q * v.dst_column, v.dst_column, &e)
                q += 1


cdef inline void taps_sum(
    real t, int count, i64 n, const i64 *ao, const real *x, i64 x_row, i64 x_step, const real *g, i64 g_row, i64 g_step, i64 rows, i64 columns,
    real *sums, i64 width,
) noexcept nogil:
    """sums[i] += sum over the band of x(tap i) * g, for `count` (a constant) taps and n channels of one register."""
    cdef vec acc[9]
    cdef vec gv
    cdef int i
    cdef i64 r, q
    cdef const real *xp
    for i in range(count):
        acc[i] = v_load(sums + i * width)
    for r in range(rows):
        for q in range(columns):
            gv = v_load_n(t, g + r * g_row + q * g_step, n)
            xp = x + r * x_row + q * x_step
            for i in range(count):
                acc[i] = v_fma(t, gv, v_load_n(t, xp + ao[i], n), acc[i])
    for i in range(count):
        v_store(sums + i * width, acc[i])


cdef void chunk_task(real t, Depthwise *d, i64 chunk, i64 slot) noexcept nogil:
    """The private dw of a chunk of units (image, band, strip): k = taps rows and one for db, each of whole registers."""
    cdef Gather *v = &d.v
    cdef i64 width = ceil_div(v.channels, lanes(t)) * lanes(t)
    cdef real *sums = <real *>v.private_ + chunk * (v.taps + 1) * width
    cdef i64 per_image = v.bands * v.strips
    cdef i64 units = v.mb * per_image
    cdef i64 x_step = v.sx * v.channels
    cdef i64 unit, image, r0, q0, rows, columns, j, first, n, tap, r, q, x_row
    cdef const real *x
    cdef const real *g
    cdef vec s
    memset(sums, 0, (v.taps + 1) * width * sizeof(real))
    for unit in range(chunk * units // v.chunks, (chunk + 1) * units // v.chunks):
        image = unit // per_image
        r0 = unit // v.strips % v.bands * v.band_rows
        q0 = unit % v.strips * v.band_columns
        rows = min(v.band_rows, v.rows - r0)
        columns = min(v.band_columns, v.columns - q0)
        x_row = v.sy * v.pitch * v.channels
        for j in range(ceil_div(v.channels, lanes(t))):
            first = j * lanes(t)
            n = min(<i64>lanes(t), v.channels - first)
            if j == 0:
                x = bring(t, v, image, r0, rows, q0, columns, slot)
            g = <const real *>v.dst + image * v.dst_image + r0 * v.dst_row + q0 * v.dst_column + first
            tap = 0
            while tap < v.taps:
                if v.taps - tap >= 9:
                    taps_sum(t, 9, n, d.ao + tap, x + first, x_row, x_step, g, v.dst_row, v.dst_column, rows, columns, sums + tap * width + first, width)
                    tap += 9
                elif v.taps - tap >= 4:
                    taps_sum(t, 4, n, d.ao + tap, x + first, x_row, x_step, g, v.dst_row, v.dst_column, rows, columns, sums + tap * width + first, width)
                    tap += 4
                else:
                    taps_sum(t, 1, n, d.ao + tap, x + first, x_row, x_step, g, v.dst_row, v.dst_column, rows, columns, sums + tap * width + first, width)
                    tap += 1
            if v.db != NULL:
                s = v_load(sums + v.taps * width + first)
                for r in range(rows):
                    for q in range(columns):
                        s = v_add(t, s, v_load_n(t, g + r * v.dst_row + q * v.dst_column, n))
                v_store(sums + v.taps * width + first, s)


cdef void sum_private(real t, Depthwise *d) noexcept nogil:
    """Add up the private copies, in order, and lay the sum out as dw and db."""
    cdef Gather *v = &d.v
    cdef i64 width = ceil_div(v.channels, lanes(t)) * lanes(t)
    cdef i64 chunk, tap, c
    cdef real s
    for tap in range(v.taps + 1):
        for c in range(v.channels):
            s = 0
            for chunk in range(v.chunks):
                s += (<const real *>v.private_)[(chunk * (v.taps + 1) + tap) * width + c]
            if tap < v.taps:
                (<real *>v.dw)[c * v.w_group + v.tw[tap]] = s
            elif v.db != NULL:
                (<real *>v.db)[c] = s


cdef void pack(real t, Depthwise *d) noexcept nogil:
    cdef Gather *v = &d.v
    cdef i64 q, c
    for q in range(v.taps):
        for c in range(v.channels):
            (<real *>v.wp)[q * v.channels + c] = (<const real *>v.w)[c * v.w_group + v.tw[q]]


cdef void band_f32(void *d, i64 task, i64 slot) noexcept nogil:
    band_task(<float>0, <Depthwise *>d, task, slot)


cdef void band_f64(void *d, i64 task, i64 slot) noexcept nogil:
    band_task(<double>0, <Depthwise *>d, task, slot)


cdef void chunk_f32(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<float>0, <Depthwise *>d, task, slot)


cdef void chunk_f64(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<double>0, <Depthwise *>d, task, slot)


cdef void start(Depthwise *d, bint double_precision, void *tables, i64 taps) noexcept nogil:
    memset(d, 0, sizeof(Depthwise))
    d.double_precision = double_precision
    d.item = 8 if double_precision else 4
    d.e = plain()
    d.rate = LM_VB / 8.0 * (1 if double_precision else 2)
    d.v.ty = <i64 *>tables
    d.v.tx = d.v.ty + taps
    d.v.tw = d.v.tx + taps
    d.ao = d.v.tw + taps


cdef i64 tables_bytes(i64 taps) noexcept nogil:
    return aligned(4 * taps * 8)


cdef void plan(Depthwise *d) noexcept nogil:
    cdef Gather *v = &d.v
    cdef i64 t
    plan_bands(v, d.item)
    for t in range(v.taps):
        d.ao[t] = ((v.ty[t] - v.y_low) * v.pitch + v.tx[t] - v.x_low) * v.channels
    v.chunks = max(<i64>1, min(<i64>CHUNKS, v.mb * v.bands * v.strips))


cdef i64 packed_bytes(Depthwise *d) noexcept nogil:
    return aligned(d.v.taps * d.v.channels * d.item)


cdef i64 private_bytes(Depthwise *d) noexcept nogil:
    return aligned(d.v.chunks * (d.v.taps + 1) * ceil_div(d.v.channels * d.item, LM_VB) * LM_VB)


cdef i64 slots_of(Depthwise *d, i64 nbytes) noexcept nogil:
    return ANY_SLOTS if d.v.band_bytes == 0 else nbytes // d.v.band_bytes


cdef void run_gather(Depthwise *d, i64 slots) noexcept nogil:
    cdef Gather *v = &d.v
    if d.double_precision:
        pack(<double>0, d)
    else:
        pack(<float>0, d)
    parallel_for(
        band_f64 if d.double_precision else band_f32, d, v.mb * v.bands * v.strips,
        (2.0 * v.taps / d.rate + 0.5) * v.mb * v.rows * v.columns * v.channels, slots,
    )


def scratch(pass_, p):
    """Index tables, then packed weights or private copies of dw, shared; a padded band per thread."""
    cdef Depthwise d
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *g = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef i64 taps = g[KH] * g[KW]
    cdef i64 shared = 0, band = 0, a, b
    cdef void *tables = malloc(tables_bytes(taps))
    if tables == NULL:
        raise MemoryError
    start(&d, p.dtype.itemsize == 8, tables, taps)
    if pass_ == "backward_input":
        for a in range(g[SH]):
            for b in range(g[SW]):
                backward_gather(&d.v, g, d.item, a, b)
                if d.v.rows and d.v.columns:
                    plan(&d)
                    shared = max(shared, packed_bytes(&d))
                    band = max(band, d.v.band_bytes)
    else:
        forward_gather(&d.v, g, d.item)
        plan(&d)
        shared = packed_bytes(&d) if pass_ == "forward" else private_bytes(&d)
        band = d.v.band_bytes
    free(tables)
    return tables_bytes(taps) + shared, band


def forward(p, cnp.ndarray x, cnp.ndarray w, b, cnp.ndarray out, cnp.ndarray scratch):
    cdef Depthwise d
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *g = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef i64 used = tables_bytes(g[KH] * g[KW]), size = cnp.PyArray_SIZE(scratch)
    cdef char *base = cnp.PyArray_BYTES(scratch)
    if cnp.PyArray_SIZE(out) == 0:
        return
    start(&d, cnp.PyArray_TYPE(out) == cnp.NPY_FLOAT64, base, g[KH] * g[KW])
    d.e = epilogue(g, p.slope, cnp.PyArray_BYTES(b) if b is not None else NULL)
    d.v.src = cnp.PyArray_BYTES(x)
    d.v.dst = cnp.PyArray_BYTES(out)
    d.v.w = cnp.PyArray_BYTES(w)
    d.v.wp = base + used
    with nogil:
        forward_gather(&d.v, g, d.item)
        plan(&d)
        used += packed_bytes(&d)
        d.v.band = base + used
        run_gather(&d, slots_of(&d, size - used))


def backward_input(p, cnp.ndarray g, cnp.ndarray w, cnp.ndarray dx, cnp.ndarray scratch):
    cdef Depthwise d
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *q = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef i64 used = tables_bytes(q[KH] * q[KW]), size = cnp.PyArray_SIZE(scratch), packed, a, b
    cdef char *base = cnp.PyArray_BYTES(scratch)
    if cnp.PyArray_SIZE(dx) == 0:
        return
    start(&d, cnp.PyArray_TYPE(dx) == cnp.NPY_FLOAT64, base, q[KH] * q[KW])
    d.v.src = cnp.PyArray_BYTES(g)
    d.v.dst = cnp.PyArray_BYTES(dx)
    d.v.w = cnp.PyArray_BYTES(w)
    d.v.wp = base + used
    with nogil:
        for a in range(q[SH]):
            for b in range(q[SW]):
                backward_gather(&d.v, q, d.item, a, b)
                if d.v.rows and d.v.columns:
                    plan(&d)
                    packed = packed_bytes(&d)
                    d.v.band = base + used + packed
                    run_gather(&d, slots_of(&d, size - used - packed))


def backward_weight(p, cnp.ndarray x, cnp.ndarray g, cnp.ndarray dw, db, cnp.ndarray scratch):
    cdef Depthwise d
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *q = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef i64 used = tables_bytes(q[KH] * q[KW]), size = cnp.PyArray_SIZE(scratch)
    cdef char *base = cnp.PyArray_BYTES(scratch)
    start(&d, cnp.PyArray_TYPE(dw) == cnp.NPY_FLOAT64, base, q[KH] * q[KW])
    d.v.src = cnp.PyArray_BYTES(x)
    d.v.dst = cnp.PyArray_BYTES(g)          # the gather's output grid is g: read, not written
    d.v.dw = cnp.PyArray_BYTES(dw)
    d.v.db = cnp.PyArray_BYTES(db) if db is not None else NULL
    d.v.private_ = base + used
    with nogil:
        forward_gather(&d.v, q, d.item)
        plan(&d)
        used += private_bytes(&d)
        d.v.band = base + used
        parallel_for(
            chunk_f64 if d.double_precision else chunk_f32, &d, d.v.chunks,
            (2.0 * d.v.taps / d.rate + 0.5) * d.v.mb * d.v.rows * d.v.columns * d.v.channels, slots_of(&d, size - used),
        )
        if d.double_precision:
            sum_private(<double>0, &d)
        else:
            sum_private(<float>0, &d)
