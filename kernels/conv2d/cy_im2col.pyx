"""Convolution as a matrix product over all pixels; the im2col matrix exists only as the panel being packed.

    dst[pixel, :] = sum over l of  A[pixel, l] * wp[l, :]       A[pixel, (t, c)] = src[n, r*sy + ty[t], q*sx + tx[t], c]   (gather.pxd)
    dw[l, :] = sum over pixels of  A[pixel, l] * g[pixel, :]

Shapes   images (mb, c, h, w) in channels-last memory, weights (oc, ic / groups, kh, kw)
Packed   wp (gather.pxd), once per call
         forward, backward_input: ap[panel of mr pixels][l][mr], a block of panels at a time, per thread
         backward_weight: ap[pixel][l], a block of pixels and a range of l at a time, per thread
Tile     mr pixels x nr output channels, depth taps x channels; pixels of a tile may lie in several rows and images
         backward_weight: mr of l x nr output channels, depth the pixels of the block

Loops    tasks: blocks of panels         the packed block stays in L2
         groups, panels of nr channels   the panel of weights streams past the block
         panels of mr pixels             one tile each, over the whole depth: no partial sums through memory
         backward_weight: tasks are chunks of pixels x ranges of l x blocks of panels; private copies of dw are summed in order.
Edges    panels are padded with zeros; tiles store what is inside, pixel by pixel where the output grid is not contiguous.
Cost     2 * mb * oc * oh * ow * ic / groups * kh * kw flops, and one packed copy of every value of A per group
Gains    over cy_direct where output rows are short: its tiles end with the row.
Loses    where oc is small: packing one value costs as much as multiplying it with a register of channels.
After    Chetlur et al. (cuDNN), arXiv:1410.0759: the lowering happens while packing, not in memory.
"""
cimport numpy as cnp
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport LM_MR, LM_NV, LM_VB, lanes
from lamella.kernels._common.tile cimport BIAS_COLUMN, Epilogue, plain, tile
from lamella.kernels._common.types cimport i64, real
from lamella.kernels.conv2d.gather cimport (
    CHUNKS, KH, KW, PRIVATE, SH, SW, Gather, add_pixels, aligned, backward_gather, ceil_div, channels_tile, epilogue, forward_gather, pack_weights,
    sum_private,
)

cnp.import_array()

cdef enum:
    BLOCK = 192 * 1024      # bytes of packed panels per task
    PANELS = 8              # panels per task at most
    RANGE = 768             # values of l per task of backward_weight
    PIXELS = 96             # pixels packed at a time in backward_weight: with RANGE, 288 KiB


cdef struct Im2col:
    Gather v
    bint double_precision
    i64 item
    i64 pixels              # of the output grid, all images
    i64 block               # panels per task
    bint contiguous         # the output grid is one run of pixels
    char *ap
    i64 ap_bytes            # per slot
    double rate
    Epilogue e              # of the forward pass, for the first channel; otherwise plain
    i64 ranges, span       # backward_weight
    i64 blocks, block_panels


cdef inline const real *source(real t, Gather *v, i64 image, i64 r, i64 q, i64 tap, i64 group) noexcept nogil:
    """The channels of the pixel that output (image, r, q) reads through a tap, or NULL outside."""
    cdef i64 y = r * v.sy + v.ty[tap]
    cdef i64 x = q * v.sx + v.tx[tap]
    if y < 0 or y >= v.height or x < 0 or x >= v.width:
        return NULL
    return <const real *>v.src + ((image * v.height + y) * v.width + x) * v.channels + group * v.depth


cdef void pack_panels(real t, Im2col *d, i64 pixel, i64 count, i64 group, real *ap) noexcept nogil:
    """`count` pixels from `pixel` on, in panels of LM_MR."""
    cdef Gather *v = &d.v
    cdef i64 k = v.taps * v.depth
    cdef i64 i, tap, c, image, r, q
    cdef const real *src
    cdef real *dst
    for i in range(ceil_div(count, LM_MR) * LM_MR):
        dst = ap + i // LM_MR * LM_MR * k + i % LM_MR
        if i >= count:
            for c in range(k):
                dst[c * LM_MR] = 0
            continue
        image = (pixel + i) // (v.rows * v.columns)
        r = (pixel + i) // v.columns % v.rows
        q = (pixel + i) % v.columns
        for tap in range(v.taps):
            src = source(t, v, image, r, q, tap, group)
            if src == NULL:
                for c in range(v.depth):
                    dst[c * LM_MR] = 0
            else:
                for c in range(v.depth):
                    dst[c * LM_MR] = src[c]
            dst += v.depth * LM_MR


cdef void block_task(real t, Im2col *d, i64 task, i64 slot) noexcept nogil:
    """A block of panels of pixels, all groups and channels."""
    cdef Gather *v = &d.v
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 k = v.taps * v.depth
    cdef i64 pixel = task * d.block * LM_MR
    cdef i64 count = min(d.block * LM_MR, d.pixels - pixel)
    cdef real *ap = <real *>(d.ap + slot * d.ap_bytes)
    cdef real *sums = ap + d.block * LM_MR * k          # a tile on its way to pixels that are not contiguous
    cdef i64 group, panel, strip, i, p, n, height
    cdef i64 zero = 0
    cdef const real *wp
    cdef real *c
    cdef Epilogue e = d.e
    for group in range(v.groups):
        pack_panels(t, d, pixel, count, group, ap)
        for panel in range(v.panels):
            n = min(nr, v.n - panel * nr)
            wp = <const real *>v.wp + (group * v.panels + panel) * k * nr
            if e.bias_kind == BIAS_COLUMN:
                e.bias = <const real *>d.e.bias + group * v.n + panel * nr
            for strip in range(ceil_div(count, LM_MR)):
                height = min(<i64>LM_MR, count - strip * LM_MR)
                c = <real *>v.dst + v.dst_first + group * v.n + panel * nr
                if d.contiguous:
                    c += (pixel + strip * LM_MR) * v.dst_column
                    if n <= lanes(t):
                        tile(
                            t, LM_MR, 1, 1, &zero, &zero, k, ap + strip * LM_MR * k, 1, LM_MR, wp, LM_NV * lanes(t), -1,
                            c, v.dst_column, height, n, &e,
                        )
                    else:
                        tile(
                            t, LM_MR, LM_NV, 1, &zero, &zero, k, ap + strip * LM_MR * k, 1, LM_MR, wp, LM_NV * lanes(t), -1,
                            c, v.dst_column, height, n, &e,
                        )
                else:
                    tile(
                        t, LM_MR, LM_NV, 1, &zero, &zero, k, ap + strip * LM_MR * k, 1, LM_MR, wp, LM_NV * lanes(t), -1,
                        sums, nr, height, n, &e,
                    )
                    for i in range(height):
                        p = pixel + strip * LM_MR + i
                        memcpy(
                            c + p // (v.rows * v.columns) * v.dst_image + p // v.columns % v.rows * v.dst_row + p % v.columns * v.dst_column,
                            sums + i * nr, n * sizeof(real),
                        )


cdef void pack_rows(real t, Im2col *d, i64 pixel, i64 count, i64 group, i64 l0, i64 l1, real *ap) noexcept nogil:
    """The values l0 to l1 of A for `count` pixels, one row each."""
    cdef Gather *v = &d.v
    cdef i64 i, tap, image, r, q, start, end
    cdef const real *src
    cdef real *dst
    for i in range(count):
        image = (pixel + i) // (v.rows * v.columns)
        r = (pixel + i) // v.columns % v.rows
        q = (pixel + i) % v.columns
        dst = ap + i * (l1 - l0)
        for tap in range(l0 // v.depth, ceil_div(l1, v.depth)):
            start = max(l0 - tap * v.depth, <i64>0)
            end = min(l1 - tap * v.depth, v.depth)
            src = source(t, v, image, r, q, tap, group)
            if src == NULL:
                memset(dst, 0, (end - start) * sizeof(real))
            else:
                memcpy(dst, src + start, (end - start) * sizeof(real))
            dst += end - start


cdef void chunk_task(real t, Im2col *d, i64 task, i64 slot) noexcept nogil:
    """The private dw of a chunk of pixels, for a range of l and a block of panels."""
    cdef Gather *v = &d.v
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 chunk = task // (d.ranges * d.blocks)
    cdef i64 l0 = task // d.blocks % d.ranges * d.span
    cdef i64 l1 = min(l0 + d.span, v.k)
    cdef i64 first = task % d.blocks * d.block_panels
    cdef i64 last = min(first + d.block_panels, v.groups * v.panels)
    cdef i64 end = (chunk + 1) * d.pixels // v.chunks
    cdef i64 mr = ceil_div(l1 - l0, ceil_div(l1 - l0, LM_MR))
    cdef i64 size = (v.k + 1) * nr
    cdef i64 zero = 0
    cdef i64 both, group, packed, panel, n, i, pixel, count
    cdef real *ap = <real *>(d.ap + slot * d.ap_bytes)
    cdef const real *g
    cdef real *c
    cdef Epilogue e = plain()
    e.beta = 1
    for both in range(first, last):
        c = <real *>v.private_ + (chunk * v.groups * v.panels + both) * size
        memset(c + l0 * nr, 0, (l1 - l0) * nr * sizeof(real))
        if l1 == v.k:
            memset(c + v.k * nr, 0, nr * sizeof(real))
    pixel = chunk * d.pixels // v.chunks
    while pixel < end:
        count = min(<i64>PIXELS, end - pixel)
        packed = -1
        for both in range(first, last):
            group = both // v.panels
            panel = both % v.panels
            if group != packed:
                pack_rows(t, d, pixel, count, group, l0, l1, ap)
                packed = group
            n = min(nr, v.n - panel * nr)
            g = <const real *>v.dst + pixel * v.dst_column + group * v.n + panel * nr
            c = <real *>v.private_ + (chunk * v.groups * v.panels + both) * size
            i = l0
            while i < l1:
                channels_tile(t, min(mr, l1 - i), n, 1, &zero, &zero, count, ap + i - l0, l1 - l0, g, v.dst_column, c + i * nr, nr, &e)
                i += mr
            if v.db != NULL and l1 == v.k:
                add_pixels(t, c + v.k * nr, n, g, 1, 0, count, v.dst_column)
        pixel += count


cdef void pack_f32(void *d, i64 task, i64 slot) noexcept nogil:
    pack_weights(<float>0, &(<Im2col *>d).v, task)


cdef void pack_f64(void *d, i64 task, i64 slot) noexcept nogil:
    pack_weights(<double>0, &(<Im2col *>d).v, task)


cdef void block_f32(void *d, i64 task, i64 slot) noexcept nogil:
    block_task(<float>0, <Im2col *>d, task, slot)


cdef void block_f64(void *d, i64 task, i64 slot) noexcept nogil:
    block_task(<double>0, <Im2col *>d, task, slot)


cdef void chunk_f32(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<float>0, <Im2col *>d, task, slot)


cdef void chunk_f64(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<double>0, <Im2col *>d, task, slot)


cdef void sum_f32(void *d, i64 task, i64 slot) noexcept nogil:
    sum_private(<float>0, &(<Im2col *>d).v, task)


cdef void sum_f64(void *d, i64 task, i64 slot) noexcept nogil:
    sum_private(<double>0, &(<Im2col *>d).v, task)


cdef void start(Im2col *d, bint double_precision, void *tables, i64 taps) noexcept nogil:
    memset(d, 0, sizeof(Im2col))
    d.double_precision = double_precision
    d.item = 8 if double_precision else 4
    d.e = plain()
    d.rate = LM_VB / 2.0 * (1 if double_precision else 2)
    d.v.ty = <i64 *>tables
    d.v.tx = d.v.ty + taps
    d.v.tw = d.v.tx + taps


cdef i64 tables_bytes(i64 taps) noexcept nogil:
    return aligned(3 * taps * 8)


cdef i64 packed_bytes(Gather *v) noexcept nogil:
    return aligned(v.groups * v.panels * v.taps * v.depth * LM_NV * LM_VB)


cdef void plan(Im2col *d) noexcept nogil:
    """Blocks of the gather d.v for forward and backward_input."""
    cdef Gather *v = &d.v
    cdef i64 panel = v.taps * v.depth * LM_MR * d.item
    d.pixels = v.mb * v.rows * v.columns
    d.block = max(<i64>1, min(<i64>PANELS, BLOCK // max(panel, <i64>1)))
    d.block = max(<i64>1, min(d.block, d.pixels // (16 * LM_MR)))
    d.contiguous = v.dst_row == v.dst_column * v.columns and v.dst_image == v.dst_row * v.rows
    d.ap_bytes = aligned(d.block * panel + LM_MR * LM_NV * LM_VB)


cdef void divide(Im2col *d) noexcept nogil:
    """Chunks, ranges and blocks of backward_weight."""
    cdef Gather *v = &d.v
    cdef i64 panels = v.groups * v.panels
    v.k = v.taps * v.depth
    d.pixels = v.mb * v.rows * v.columns
    d.ranges = ceil_div(v.k, RANGE)
    d.span = ceil_div(v.k, d.ranges)
    v.chunks = max(<i64>1, min(<i64>CHUNKS, min(ceil_div(d.pixels, PIXELS), PRIVATE // (panels * (v.k + 1) * LM_NV * LM_VB))))
    d.block_panels = ceil_div(panels, min(panels, ceil_div(CHUNKS, v.chunks * d.ranges)))
    d.blocks = ceil_div(panels, d.block_panels)
    d.ap_bytes = aligned(PIXELS * d.span * d.item)


cdef i64 private_bytes(Gather *v) noexcept nogil:
    return aligned(v.chunks * v.groups * v.panels * (v.k + 1) * LM_NV * LM_VB)


cdef void run_gather(Im2col *d, i64 slots) noexcept nogil:
    cdef Gather *v = &d.v
    cdef i64 k = v.taps * v.depth
    parallel_for(pack_f64 if d.double_precision else pack_f32, d, v.groups * v.panels, 0.7 * v.groups * v.n * k, ANY_SLOTS)
    parallel_for(
        block_f64 if d.double_precision else block_f32, d, ceil_div(d.pixels, d.block * LM_MR),
        2.0 * d.pixels * v.groups * v.n * k / d.rate + 0.5 * d.pixels * v.groups * k, slots,
    )


def scratch(pass_, p):
    """Index tables, then packed weights or private copies of dw, shared; packed panels per thread."""
    cdef Im2col d
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *g = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef i64 taps = g[KH] * g[KW]
    cdef i64 shared = 0, per_thread = 0, a, b
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
                    shared = max(shared, packed_bytes(&d.v))
                    per_thread = max(per_thread, d.ap_bytes)
    else:
        forward_gather(&d.v, g, d.item)
        if pass_ == "forward":
            plan(&d)
            shared = packed_bytes(&d.v)
        else:
            divide(&d)
            shared = private_bytes(&d.v)
        per_thread = d.ap_bytes
    free(tables)
    return tables_bytes(taps) + shared, per_thread


def forward(p, cnp.ndarray x, cnp.ndarray w, b, cnp.ndarray out, cnp.ndarray scratch):
    cdef Im2col d
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *g = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef i64 taps = g[KH] * g[KW]
    cdef i64 used = tables_bytes(taps), size = cnp.PyArray_SIZE(scratch)
    cdef char *base = cnp.PyArray_BYTES(scratch)
    if cnp.PyArray_SIZE(out) == 0:
        return
    start(&d, cnp.PyArray_TYPE(out) == cnp.NPY_FLOAT64, base, taps)
    d.e = epilogue(g, p.slope, cnp.PyArray_BYTES(b) if b is not None else NULL)
    d.v.src = cnp.PyArray_BYTES(x)
    d.v.dst = cnp.PyArray_BYTES(out)
    d.v.w = cnp.PyArray_BYTES(w)
    d.v.wp = base + used
    with nogil:
        forward_gather(&d.v, g, d.item)
        plan(&d)
        used += packed_bytes(&d.v)
        d.ap = base + used
        run_gather(&d, (size - used) // d.ap_bytes)


def backward_input(p, cnp.ndarray g, cnp.ndarray w, cnp.ndarray dx, cnp.ndarray scratch):
    cdef Im2col d
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *q = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef i64 taps = q[KH] * q[KW]
    cdef i64 used = tables_bytes(taps), size = cnp.PyArray_SIZE(scratch), packed, a, b
    cdef char *base = cnp.PyArray_BYTES(scratch)
    if cnp.PyArray_SIZE(dx) == 0:
        return
    start(&d, cnp.PyArray_TYPE(dx) == cnp.NPY_FLOAT64, base, taps)
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
                    packed = packed_bytes(&d.v)
                    d.ap = base + used + packed
                    run_gather(&d, (size - used - packed) // d.ap_bytes)


def backward_weight(p, cnp.ndarray x, cnp.ndarray g, cnp.ndarray dw, db, cnp.ndarray scratch):
    cdef Im2col d
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *q = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef i64 taps = q[KH] * q[KW]
    cdef i64 used = tables_bytes(taps), size = cnp.PyArray_SIZE(scratch)
    cdef char *base = cnp.PyArray_BYTES(scratch)
    cdef i64 panels
    start(&d, cnp.PyArray_TYPE(dw) == cnp.NPY_FLOAT64, base, taps)
    d.v.src = cnp.PyArray_BYTES(x)
    d.v.dst = cnp.PyArray_BYTES(g)          # the gather's output grid is g: read, not written
    d.v.dw = cnp.PyArray_BYTES(dw)
    d.v.db = cnp.PyArray_BYTES(db) if db is not None else NULL
    d.v.private_ = base + used
    with nogil:
        forward_gather(&d.v, q, d.item)
        divide(&d)
        used += private_bytes(&d.v)
        d.ap = base + used
        panels = d.v.groups * d.v.panels
        parallel_for(
            chunk_f64 if d.double_precision else chunk_f32, &d, d.v.chunks * d.ranges * d.blocks,
            2.0 * d.pixels * d.v.groups * d.v.n * d.v.k / d.rate + 0.3 * d.pixels * d.v.k, (size - used) // d.ap_bytes,
        )
        parallel_for(
            sum_f64 if d.double_precision else sum_f32, &d, panels, (d.v.chunks * 0.1 + 0.7) * panels * d.v.k * LM_NV * LM_VB / d.item,
            ANY_SLOTS,
        )
