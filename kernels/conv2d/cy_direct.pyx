"""Direct convolution: the register tile runs over the pixels of an output row and reads the image in place.

    dst[n, r, q, :] = sum over taps t of  src[n, r*sy + ty[t], q*sx + tx[t], :] @ wp[t]         (gather.pxd)
    dw[t] = sum over n, r, q of  x[n, r*sy + ty[t], q*sx + tx[t], :]^T @ g[n, r, q, :]

Shapes   images (mb, c, h, w) in channels-last memory, weights (oc, ic / groups, kh, kw)
Packed   wp (gather.pxd), once per call; the image is not packed: a task works on a band of rows, in place, or copied
         once into a zero-padded buffer where taps reach over the border
Tile     forward, backward_input                          backward_weight
         rows: up to mr pixels of an output row            rows: up to mr input channels (of neighbouring taps)
         columns: nr output channels                       columns: nr output channels
         depth: taps x channels of a pixel                 depth: the pixels of the band
         With one group and taps side by side, the taps of a filter row and their channels are one contiguous run: a 5 x 5 filter over one
         channel is 5 runs of depth 5, not 25 of depth 1. mr is chosen so that the tiles of a row are equal.

Loops    tasks: image, band of rows      the band stays in L2
         groups, panels of nr channels   the panel of weights streams from L2
         rows of the band, tiles of the row, taps, depth
         backward_weight: tasks are chunks of (image, band) x blocks of panels with a private dw each, summed in order afterwards.
Edges    tiles have exactly the rows they need; the last panel is padded (weights) or masked (g).
Cost     2 * mb * oc * oh * ow * ic / groups * kh * kw flops; (mr + nv) loads per mr * nv FMA.
Loses    to cy_im2col where output rows are much shorter than mr, and for few channels per group.
After    Zhang, Franchetti, Low, ICML 2018 (no packing of the image); Georganas et al., SC18, arXiv:1808.05567 (batch-reduce tiles).
"""
cimport numpy as cnp
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport LM_MR, LM_NV, LM_VB, lanes
from lamella.kernels._common.tile cimport BIAS_COLUMN, Epilogue, plain, tile_run
from lamella.kernels._common.types cimport i64, real
from lamella.kernels.conv2d.gather cimport (
    CHUNKS, KH, KW, MAX_ROWS, PRIVATE, SH, SW, Gather, add_pixels, aligned, backward_gather, bring, ceil_div, channels_tile, epilogue, forward_gather, pack_weights, plan_bands, sum_private,
)

cnp.import_array()

cdef struct Direct:
    Gather v
    bint double_precision
    i64 item
    i64 runs, run_depth             # contiguous (tap, channel) runs
    i64 *ao
    i64 *bo
    i64 mr
    double rate                     # flops per ns of one thread
    Epilogue e              # of the forward pass, for the first channel; otherwise plain
    # backward_weight
    i64 blocks, block_panels


cdef void plan(Direct *d) noexcept nogil:
    """Bands, runs and tile of the gather d.v."""
    cdef Gather *v = &d.v
    cdef i64 t
    # contiguous runs
    cdef i64 per_row = 1
    while per_row < v.taps and v.ty[per_row] == v.ty[0]:
        per_row += 1
    cdef bint together = v.groups == 1
    for t in range(1, per_row):
        together = together and v.tx[t] == v.tx[t - 1] + 1
    if not together:
        per_row = 1
    d.runs = v.taps // per_row
    d.run_depth = per_row * v.depth
    plan_bands(v, d.item)
    d.mr = LM_MR if v.strips > 1 else ceil_div(v.columns, max(ceil_div(v.columns, LM_MR), <i64>1))
    for t in range(d.runs):
        d.ao[t] = ((v.ty[t * per_row] - v.y_low) * d.v.pitch + v.tx[t * per_row] - v.x_low) * v.channels
        d.bo[t] = t * d.run_depth * (LM_NV * LM_VB // d.item)


cdef void pixels_tile(
    real t, i64 mr, i64 n, i64 taps, const i64 *ao, const i64 *bo, i64 depth, const real *a, i64 ars, const real *b,
    real *c, i64 ldc, const Epilogue *e,
) noexcept nogil:
    """mr pixels of a row times the first n channels of a panel."""
    if n <= lanes(t):
        tile_run(t, mr, 1, taps, ao, bo, depth, a, ars, 1, b, LM_NV * lanes(t), -1, c, ldc, n, e)
    else:
        tile_run(t, mr, LM_NV, taps, ao, bo, depth, a, ars, 1, b, LM_NV * lanes(t), -1, c, ldc, n, e)


cdef void band_task(real t, Direct *d, i64 task, i64 slot) noexcept nogil:
    """One band of one image (or one strip of a long row), all groups and panels."""
    cdef Gather *v = &d.v
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 image = task // (d.v.bands * d.v.strips)
    cdef i64 r0 = task // d.v.strips % d.v.bands * d.v.band_rows
    cdef i64 q0 = task % d.v.strips * d.v.band_columns
    cdef i64 rows = min(d.v.band_rows, v.rows - r0)
    cdef i64 columns = min(d.v.band_columns, v.columns - q0)
    cdef const real *band = bring(t, v, image, r0, rows, q0, columns, slot)
    cdef real *dst = <real *>v.dst + v.dst_first + image * v.dst_image + r0 * v.dst_row + q0 * v.dst_column
    cdef i64 step = v.sx * v.channels
    cdef i64 group, panel, r, q, n
    cdef const real *wp
    cdef const real *a
    cdef real *c
    cdef Epilogue e = d.e
    for group in range(v.groups):
        for panel in range(v.panels):
            n = min(nr, v.n - panel * nr)
            wp = <const real *>v.wp + (group * v.panels + panel) * v.taps * v.depth * nr
            if e.bias_kind == BIAS_COLUMN:
                e.bias = <const real *>d.e.bias + group * v.n + panel * nr
            for r in range(rows):
                a = band + r * v.sy * d.v.pitch * v.channels + group * v.depth
                c = dst + r * v.dst_row + group * v.n + panel * nr
                q = 0
                while q < columns:
                    pixels_tile(
                        t, min(d.mr, columns - q), n, d.runs, d.ao, d.bo, d.run_depth, a + q * step, step, wp,
                        c + q * v.dst_column, v.dst_column, &e,
                    )
                    q += d.mr


cdef void chunk_task(real t, Direct *d, i64 task, i64 slot) noexcept nogil:
    """The private dw of a chunk of units (image, band, strip), for a block of panels."""
    cdef Gather *v = &d.v
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 chunk = task // d.blocks
    cdef i64 first = task % d.blocks * d.block_panels
    cdef i64 last = min(first + d.block_panels, v.groups * v.panels)
    cdef i64 per_image = d.v.bands * d.v.strips
    cdef i64 units = v.mb * per_image
    cdef i64 unit, image, r0, q0, rows, columns, both, group, panel, n, run, i, height, mr
    cdef const real *band
    cdef const real *g
    cdef real *c
    cdef i64 *ao = d.ao + d.runs                    # of this slot: band_rows offsets each, behind the offsets of the runs
    cdef i64 *bo = d.bo + d.runs
    cdef Epilogue e = plain()
    # rows of a band are the batch of the tile; these offsets are the same for every task
    mr = ceil_div(d.run_depth, ceil_div(d.run_depth, LM_MR))
    memset(<real *>d.v.private_ + (chunk * v.groups * v.panels + first) * (d.v.k + 1) * nr, 0, (last - first) * (d.v.k + 1) * nr * sizeof(real))
    e.beta = 1
    for unit in range(chunk * units // d.v.chunks, (chunk + 1) * units // d.v.chunks):
        image = unit // per_image
        r0 = unit // d.v.strips % d.v.bands * d.v.band_rows
        q0 = unit % d.v.strips * d.v.band_columns
        rows = min(d.v.band_rows, v.rows - r0)
        columns = min(d.v.band_columns, v.columns - q0)
        band = bring(t, v, image, r0, rows, q0, columns, slot)
        for both in range(first, last):
            group = both // v.panels
            panel = both % v.panels
            n = min(nr, v.n - panel * nr)
            g = <const real *>v.dst + image * v.dst_image + r0 * v.dst_row + q0 * v.dst_column + group * v.n + panel * nr
            c = <real *>d.v.private_ + (chunk * v.groups * v.panels + both) * (d.v.k + 1) * nr
            for run in range(d.runs):
                i = 0
                while i < d.run_depth:
                    height = min(mr, d.run_depth - i)
                    channels_tile(
                        t, height, n, rows, ao, bo, columns, band + group * v.depth + d.ao[run] + i, v.sx * v.channels, g, v.dst_column,
                        c + (run * d.run_depth + i) * nr, nr, &e,
                    )
                    i += mr
            if d.v.db != NULL:
                add_pixels(t, c + d.v.k * nr, n, g, rows, v.dst_row, columns, v.dst_column)


cdef void pack_f32(void *d, i64 task, i64 slot) noexcept nogil:
    pack_weights(<float>0, &(<Direct *>d).v, task)


cdef void pack_f64(void *d, i64 task, i64 slot) noexcept nogil:
    pack_weights(<double>0, &(<Direct *>d).v, task)


cdef void band_f32(void *d, i64 task, i64 slot) noexcept nogil:
    band_task(<float>0, <Direct *>d, task, slot)


cdef void band_f64(void *d, i64 task, i64 slot) noexcept nogil:
    band_task(<double>0, <Direct *>d, task, slot)


cdef void chunk_f32(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<float>0, <Direct *>d, task, slot)


cdef void chunk_f64(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<double>0, <Direct *>d, task, slot)


cdef void sum_f32(void *d, i64 task, i64 slot) noexcept nogil:
    sum_private(<float>0, &(<Direct *>d).v, task)


cdef void sum_f64(void *d, i64 task, i64 slot) noexcept nogil:
    sum_private(<double>0, &(<Direct *>d).v, task)


cdef void set_tables(Direct *d, i64 *tables, i64 taps) noexcept nogil:
    """Lay the index tables out: five per tap; offsets of band rows follow those of the runs (TABLE_ROWS entries)."""
    d.v.ty = tables
    d.v.tx = tables + taps
    d.v.tw = tables + 2 * taps
    d.ao = tables + 3 * taps
    d.bo = tables + 4 * taps + MAX_ROWS


cdef i64 tables_bytes(i64 taps) noexcept nogil:
    return aligned((5 * taps + 2 * MAX_ROWS) * 8)


cdef void divide(Direct *d) noexcept nogil:
    """backward_weight: chunks, blocks, private copies, offsets of a band's rows."""
    cdef Gather *v = &d.v
    cdef i64 r
    cdef i64 panels = v.groups * v.panels
    cdef i64 nr = LM_NV * LM_VB // d.item
    cdef i64 units = v.mb * d.v.bands * d.v.strips
    d.v.k = v.taps * v.depth
    d.v.chunks = max(<i64>1, min(<i64>CHUNKS, min(units, PRIVATE // (panels * (d.v.k + 1) * nr * d.item))))
    d.block_panels = ceil_div(panels, min(panels, ceil_div(CHUNKS, d.v.chunks)))
    d.blocks = ceil_div(panels, d.block_panels)
    for r in range(d.v.band_rows):
        d.ao[d.runs + r] = r * v.sy * d.v.pitch * v.channels
        d.bo[d.runs + r] = r * v.dst_row


cdef void run_gather(Direct *d, i64 slots) noexcept nogil:
    cdef Gather *v = &d.v
    cdef double flops = 2.0 * v.mb * v.rows * v.columns * v.groups * v.n * v.depth * v.taps
    parallel_for(pack_f64 if d.double_precision else pack_f32, d, v.groups * v.panels, 0.7 * v.groups * v.n * v.depth * v.taps, ANY_SLOTS)
    parallel_for(
        band_f64 if d.double_precision else band_f32, d, v.mb * d.v.bands * d.v.strips,
        flops / d.rate + 0.3 * v.mb * v.rows * v.columns * v.groups * v.n, slots,
    )


cdef void start(Direct *d, const i64 *p, bint double_precision) noexcept nogil:
    memset(d, 0, sizeof(Direct))
    d.double_precision = double_precision
    d.item = 8 if double_precision else 4
    d.e = plain()
    d.rate = LM_VB / 2.0 * (2 if not double_precision else 1)


cdef i64 packed_bytes(Gather *v, i64 item) noexcept nogil:
    return aligned(v.groups * v.panels * v.taps * v.depth * LM_NV * LM_VB)


def scratch(pass_, p):
    """Index tables, then packed weights or private copies of dw, shared; a padded band per thread."""
    cdef Direct d
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *g = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef i64 taps = g[KH] * g[KW]
    cdef i64 band = 0, packed = 0, a, b
    cdef void *tables = malloc(tables_bytes(taps))
    if tables == NULL:
        raise MemoryError
    start(&d, g, p.dtype.itemsize == 8)
    set_tables(&d, <i64 *>tables, taps)
    if pass_ == "backward_input":
        for a in range(g[SH]):
            for b in range(g[SW]):
                backward_gather(&d.v, g, d.item, a, b)
                if d.v.rows and d.v.columns:
                    plan(&d)
                    band = max(band, d.v.band_bytes)
                    packed = max(packed, packed_bytes(&d.v, d.item))
    else:
        forward_gather(&d.v, g, d.item)
        plan(&d)
        band = d.v.band_bytes
        packed = packed_bytes(&d.v, d.item)
        if pass_ == "backward_weight":
            divide(&d)
            packed = aligned(d.v.chunks * d.v.groups * d.v.panels * (d.v.k + 1) * LM_NV * LM_VB)
    free(tables)
    return tables_bytes(taps) + packed, band


cdef i64 lay_out(Direct *d, cnp.ndarray scratch, i64 taps) noexcept:
    """Tables at the front; returns where the rest begins."""
    set_tables(d, <i64 *>cnp.PyArray_DATA(scratch), taps)
    return tables_bytes(taps)


def forward(p, cnp.ndarray x, cnp.ndarray w, b, cnp.ndarray out, cnp.ndarray scratch):
    cdef Direct d
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *g = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef i64 used, size = cnp.PyArray_SIZE(scratch)
    cdef char *base = cnp.PyArray_BYTES(scratch)
    if cnp.PyArray_SIZE(out) == 0:
        return
    start(&d, g, cnp.PyArray_TYPE(out) == cnp.NPY_FLOAT64)
    used = lay_out(&d, scratch, g[KH] * g[KW])
    d.e = epilogue(g, p.slope, cnp.PyArray_BYTES(b) if b is not None else NULL)
    d.v.src = cnp.PyArray_BYTES(x)
    d.v.dst = cnp.PyArray_BYTES(out)
    d.v.w = cnp.PyArray_BYTES(w)
    d.v.wp = base + used
    with nogil:
        forward_gather(&d.v, g, d.item)
        plan(&d)
        used += packed_bytes(&d.v, d.item)
        d.v.band = base + used
        run_gather(&d, ANY_SLOTS if d.v.band_bytes == 0 else (size - used) // d.v.band_bytes)


def backward_input(p, cnp.ndarray g, cnp.ndarray w, cnp.ndarray dx, cnp.ndarray scratch):
    cdef Direct d
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *q = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef i64 used, a, b, packed = 0, size = cnp.PyArray_SIZE(scratch)
    cdef char *base = cnp.PyArray_BYTES(scratch)
    if cnp.PyArray_SIZE(dx) == 0:
        return
    start(&d, q, cnp.PyArray_TYPE(dx) == cnp.NPY_FLOAT64)
    used = lay_out(&d, scratch, q[KH] * q[KW])
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
                    packed = packed_bytes(&d.v, d.item)
                    d.v.band = base + used + packed
                    run_gather(&d, ANY_SLOTS if d.v.band_bytes == 0 else (size - used - packed) // d.v.band_bytes)


def backward_weight(p, cnp.ndarray x, cnp.ndarray g, cnp.ndarray dw, db, cnp.ndarray scratch):
    cdef Direct d
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *q = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef i64 used, size = cnp.PyArray_SIZE(scratch)
    cdef char *base = cnp.PyArray_BYTES(scratch)
    cdef double flops
    start(&d, q, cnp.PyArray_TYPE(dw) == cnp.NPY_FLOAT64)
    used = lay_out(&d, scratch, q[KH] * q[KW])
    d.v.src = cnp.PyArray_BYTES(x)
    d.v.dst = cnp.PyArray_BYTES(g)          # the gather's output grid is g: read, not written
    d.v.dw = cnp.PyArray_BYTES(dw)
    d.v.db = cnp.PyArray_BYTES(db) if db is not None else NULL
    d.v.private_ = base + used
    with nogil:
        forward_gather(&d.v, q, d.item)
        plan(&d)
        divide(&d)
        used += aligned(d.v.chunks * d.v.groups * d.v.panels * (d.v.k + 1) * LM_NV * LM_VB)
        d.v.band = base + used
        flops = 2.0 * d.v.mb * d.v.rows * d.v.columns * d.v.groups * d.v.n * d.v.k
        parallel_for(
            chunk_f64 if d.double_precision else chunk_f32, &d, d.v.chunks * d.blocks, flops / d.rate,
            ANY_SLOTS if d.v.band_bytes == 0 else (size - used) // d.v.band_bytes,
        )
        parallel_for(
            sum_f64 if d.double_precision else sum_f32, &d, d.v.groups * d.v.panels,
            (d.v.chunks * 0.1 + 0.7) * d.v.groups * d.v.panels * d.v.k * LM_NV * LM_VB / d.item, ANY_SLOTS,
        )
