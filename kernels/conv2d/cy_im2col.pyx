"""Convolution as a matrix product over all pixels; the im2col matrix exists only as the block being packed.

    dst[pixel, :] = sum over l of  A[pixel, l] * wp[l, :]       A[pixel, (t, c)] = src[n, r*sy + ty[t], q*sx + tx[t], c]   (gather.pxd)
    dw[l, :] = sum over pixels of  A[pixel, l] * g[pixel, :]

Shapes   images (mb, c, h, w) in channels-last memory, weights (oc, ic / groups, kh, kw)
Packed   wp (panels.pxd), once per call; ap[pixel][range of l], a block of pixels and a range at a time, per thread. Its rows are an odd number of cache
         lines apart, so that neighbouring pixels never compete for the same lines of L1.
Tile     mr pixels x nr output channels, depth the values of the range; pixels of a tile may lie in several rows and images
         backward_weight: mr of l x nr output channels, depth the pixels of the block; in place: mr output channels x nr values of a row of dw

Loops    tasks: blocks of pixels x blocks of panels
         groups, ranges of l             the packed block stays in L2; sums of later ranges are added in dst
         panels of nr channels           the panel of weights streams past the block
         tiles of mr pixels
         backward_weight: tasks are chunks of pixels x parts of the ranges x blocks of panels; blocks of pixels, ranges, panels, tiles. As many ranges
         as possible share the tasks before pixels do: a private dw per chunk costs memory and a sum at the end.
         Large weights over few pixels: dw itself takes the time, and is written in place. Tasks are parts of it (rows by columns); A is packed in the
         order of a row of dw, tap after tap of a channel, and g is copied, whose pixels may compete for the same lines of L1.
Edges    tiles have exactly the rows they need; they go through a buffer where the output grid is not contiguous.
Cost     2 * mb * oc * oh * ow * ic / groups * kh * kw flops, and one copy of every value of A per group and block of panels
Gains    over cy_direct where output rows are short (its tiles end with the row) and for the weight gradients of many channels, whose
         private dw cy_direct would run through for every band.
Loses    where oc is small: copying a value costs some of the time of multiplying it with a register of channels.
After    Chetlur et al. (cuDNN), arXiv:1410.0759: the lowering happens while packing, not in memory.
"""
cimport numpy as cnp
from libc.string cimport memcpy, memset

from lamella.kernels._common.pool cimport parallel_for
from lamella.kernels._common.simd cimport LM_MR, LM_NV, LM_VB, lanes, v_load, v_load_n, v_prefetch_write, v_store, v_store_n
from lamella.kernels._common.tile cimport BIAS_COLUMN, Epilogue, plain, tile_ahead, tile_run
from lamella.kernels._common.types cimport i64, real
from lamella.kernels.conv2d.gather cimport CHUNKS, PRIVATE, UNITS, Gather, aligned, ceil_div, odd_lines, source
from lamella.kernels.conv2d.panels cimport (
    Panels, add_pixels, channels_tile, fill_rows, pack_panels, run_backward_input, run_backward_weight, run_forward, scratch_of, sum_panels,
)

cnp.import_array()

cdef enum:
    BLOCK = 320 * 1024      # bytes of a packed block: with a panel of weights, inside L2
    RANGE = 768             # values of l in a block of the forward pass at most
    PIXELS = 512            # pixels in a block of backward_weight at most
    FEW = 256               # pixels at most of a dw that is written in place
    LARGE = 65536           # its values at least
    MAX_TAPS = 64


cdef struct Im2col:
    Panels d
    i64 pixels              # of the output grid, all images
    i64 block               # pixels packed at a time
    i64 ranges, span        # values of l packed at a time
    i64 pitch               # elements from row to row of the block
    i64 parts               # backward_weight: tasks that share the ranges of a chunk
    i64 channels            # output channels of a part of dw that is written in place
    i64 g_pitch             # elements from pixel to pixel of what is copied of g
    bint contiguous         # the output grid is one run of pixels


cdef void pack_rows(real t, Im2col *d, i64 pixel, i64 count, i64 group, i64 l0, i64 l1, real *ap) noexcept nogil:
    """The values l0 to l1 of A for `count` pixels, one row each."""
    cdef Gather *v = &d.d.v
    cdef i64 i, tap, image, r, q, start, end
    cdef const real *src
    cdef real *dst
    for i in range(count):
        image = (pixel + i) // (v.rows * v.columns)
        r = (pixel + i) // v.columns % v.rows
        q = (pixel + i) % v.columns
        dst = ap + i * d.pitch
        for tap in range(l0 // v.depth, ceil_div(l1, v.depth)):
            start = max(l0 - tap * v.depth, <i64>0)
            end = min(l1 - tap * v.depth, v.depth)
            src = source(t, v, image, r, q, tap, group)
            if src == NULL:
                memset(dst, 0, (end - start) * sizeof(real))
            else:
                memcpy(dst, src + start, (end - start) * sizeof(real))
            dst += end - start


cdef void see_places(Gather *v, i64 pixel, i64 count, i64 *place) noexcept nogil:
    """Where `count` pixels of the output grid lie in dst."""
    cdef i64 i, p
    for i in range(count):
        p = pixel + i
        place[i] = p // (v.rows * v.columns) * v.dst_image + p // v.columns % v.rows * v.dst_row + p % v.columns * v.dst_column


cdef inline void copy_row(real t, i64 n, const real *src, real *dst) noexcept nogil:
    """The first n channels of a panel."""
    cdef i64 j
    for j in range(LM_NV):
        if n >= (j + 1) * lanes(t):
            v_store(dst + j * lanes(t), v_load(src + j * lanes(t)))
        elif n > j * lanes(t):
            v_store_n(t, dst + j * lanes(t), n - j * lanes(t), v_load_n(t, src + j * lanes(t), n - j * lanes(t)))


cdef void pixels_tile(
    real t, i64 mr, i64 n, i64 depth, const real *a, i64 ars, const real *b, real *c, i64 ldc, const Epilogue *e, const char *next_, i64 next_step,
) noexcept nogil:
    """mr pixels times the first n channels of a panel."""
    if n <= lanes(t):
        tile_ahead(t, mr, 1, depth, a, ars, 1, b, LM_NV * lanes(t), c, ldc, n, e, next_, next_step)
    else:
        tile_ahead(t, mr, LM_NV, depth, a, ars, 1, b, LM_NV * lanes(t), c, ldc, n, e, next_, next_step)


cdef void block_task(real t, Im2col *d, i64 task, i64 slot) noexcept nogil:
    """A block of panels for a block of pixels."""
    cdef Gather *v = &d.d.v
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 first = task % d.d.blocks * d.d.block_panels
    cdef i64 last = min(first + d.d.block_panels, v.groups * v.panels)
    cdef i64 pixel = task // d.d.blocks * d.block
    cdef i64 count = min(d.block, d.pixels - pixel)
    cdef real *ap = <real *>(d.d.work + slot * d.d.work_bytes)
    cdef real *sums = ap + d.block * d.pitch            # a tile on its way to pixels that are not contiguous
    cdef i64 *place = <i64 *>(sums + LM_MR * nr)
    cdef const i64 *row
    cdef i64 start = first, end, group, part, l0, l1, both, channel, strip, height, n, i, j
    cdef const real *wp
    cdef const char *next_
    cdef i64 next_step
    cdef real *c
    cdef Epilogue e
    if not d.contiguous:
        see_places(v, pixel, count, place)
    while start < last:                                 # the panels of a group read the same block
        group = start // v.panels
        end = min(last, (group + 1) * v.panels)
        for part in range(max(d.ranges, <i64>1)):
            l0 = part * d.span
            l1 = min(l0 + d.span, v.k)
            pack_rows(t, d, pixel, count, group, l0, l1, ap)
            for both in range(start, end):
                n = min(nr, v.n - both % v.panels * nr)
                channel = group * v.n + both % v.panels * nr
                wp = <const real *>v.wp + ((both * d.d.filter + d.d.first_tap) * v.depth + l0) * nr
                c = <real *>v.dst + v.dst_first + channel
                e = plain()
                if l1 == v.k:
                    e = d.d.e
                    if e.bias_kind == BIAS_COLUMN:
                        e.bias = <const real *>d.d.e.bias + channel
                e.beta = 1 if part else 0
                for strip in range(ceil_div(count, LM_MR)):
                    next_ = <const char *>ap
                    next_step = 0
                    if strip * 64 < LM_NV * LM_VB and both + 1 < end:       # the next panel, a line of each of its rows at a time
                        next_ = <const char *>(wp + d.d.filter * v.depth * nr) + strip * 64
                        next_step = LM_NV * LM_VB
                    height = min(<i64>LM_MR, count - strip * LM_MR)
                    if d.contiguous:
                        pixels_tile(
                            t, height, n, l1 - l0, ap + strip * LM_MR * d.pitch, d.pitch, wp, c + (pixel + strip * LM_MR) * v.dst_column, v.dst_column, &e,
                            next_, next_step,
                        )
                        continue
                    row = place + strip * LM_MR
                    for i in range(height):
                        if part:
                            copy_row(t, n, c + row[i], sums + i * nr)
                        else:
                            for j in range(LM_NV):
                                v_prefetch_write(c + row[i] + j * lanes(t))
                    pixels_tile(t, height, n, l1 - l0, ap + strip * LM_MR * d.pitch, d.pitch, wp, sums, nr, &e, next_, next_step)
                    for i in range(height):
                        copy_row(t, n, sums + i * nr, c + row[i])
        start = end


cdef void chunk_task(real t, Im2col *d, i64 task, i64 slot) noexcept nogil:
    """The private dw of a chunk of pixels, for a part of the ranges and a block of panels."""
    cdef Gather *v = &d.d.v
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 first = task % d.d.blocks * d.d.block_panels
    cdef i64 last = min(first + d.d.block_panels, v.groups * v.panels)
    cdef i64 part = task // d.d.blocks % d.parts
    cdef i64 chunk = task // (d.d.blocks * d.parts)
    cdef i64 first_range = part * d.ranges // d.parts
    cdef i64 last_range = (part + 1) * d.ranges // d.parts
    cdef i64 low = first_range * d.span
    cdef i64 high = min(last_range * d.span, v.k)
    cdef i64 pixel = chunk * d.pixels // v.chunks
    cdef i64 stop = (chunk + 1) * d.pixels // v.chunks
    cdef i64 size = (v.k + 1) * nr
    cdef i64 zero = 0
    cdef i64 number, l0, l1, mr, start, end, group, both, n, i, count
    cdef real *ap = <real *>(d.d.work + slot * d.d.work_bytes)
    cdef real *private_ = <real *>v.private_ + chunk * v.groups * v.panels * size
    cdef const real *g
    cdef real *c
    cdef Epilogue e = plain()
    for both in range(first, last):
        memset(private_ + both * size + low * nr, 0, (high - low) * nr * sizeof(real))
        if high == v.k:
            memset(private_ + both * size + v.k * nr, 0, nr * sizeof(real))
    e.beta = 1
    while pixel < stop:
        count = min(d.block, stop - pixel)
        start = first
        while start < last:
            group = start // v.panels
            end = min(last, (group + 1) * v.panels)
            for number in range(first_range, last_range):
                l0 = number * d.span
                l1 = min(l0 + d.span, v.k)
                mr = ceil_div(l1 - l0, ceil_div(l1 - l0, LM_MR))
                pack_rows(t, d, pixel, count, group, l0, l1, ap)
                for both in range(start, end):
                    n = min(nr, v.n - both % v.panels * nr)
                    g = <const real *>v.dst + pixel * v.dst_column + group * v.n + both % v.panels * nr
                    c = private_ + both * size
                    i = l0
                    while i < l1:
                        channels_tile(t, min(mr, l1 - i), n, 1, &zero, &zero, count, ap + i - l0, d.pitch, g, v.dst_column, c + i * nr, &e)
                        i += mr
                    if v.db != NULL and l1 == v.k:
                        add_pixels(t, c + v.k * nr, n, g, 1, 0, count, v.dst_column)
            start = end
        pixel += count


cdef void pack_columns(real t, Im2col *d, i64 l0, i64 l1, real *xp) noexcept nogil:
    """The values of A that meet columns l0 to l1 of dw, a row for each pixel."""
    cdef Gather *v = &d.d.v
    cdef const real *from_[MAX_TAPS]
    cdef const real *src
    cdef i64 pixel, l, tap, channel
    cdef real *dst
    if v.taps == 1:
        pack_rows(t, d, 0, d.pixels, 0, l0, l1, xp)
        return
    for pixel in range(d.pixels):
        for tap in range(v.taps):
            from_[tap] = source(t, v, pixel // (v.rows * v.columns), pixel // v.columns % v.rows, pixel % v.columns, tap, 0)
        dst = xp + pixel * d.pitch
        channel = l0 // v.taps
        tap = l0 % v.taps
        for l in range(l1 - l0):
            src = from_[tap]
            dst[l] = src[channel] if src != NULL else 0
            tap += 1
            if tap == v.taps:
                tap = 0
                channel += 1


cdef void part_task(real t, Im2col *d, i64 task, i64 slot) noexcept nogil:
    """A part of dw, in place: some output channels by a range of columns, and db with the first range."""
    cdef Gather *v = &d.d.v
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 l0 = task % d.ranges * d.span
    cdef i64 l1 = min(l0 + d.span, v.k)
    cdef i64 first = task // d.ranges * d.channels
    cdef i64 channels = min(d.channels, v.n - first)
    cdef i64 panels = ceil_div(channels, LM_MR)
    cdef i64 height = ceil_div(channels, panels)
    cdef i64 zero = 0
    cdef i64 i, l
    cdef real *xp = <real *>(d.d.work + slot * d.d.work_bytes)
    cdef real *gp = xp + d.pixels * d.pitch
    cdef real *sums = gp + d.pixels * d.g_pitch
    cdef real *row
    cdef Epilogue e = plain()
    pack_columns(t, d, l0, l1, xp)
    for i in range(d.pixels):
        memcpy(gp + i * d.g_pitch, <const real *>v.dst + i * v.dst_column + first, channels * sizeof(real))
    for i in range(panels):
        row = <real *>v.dw + (first + i * height) * v.w_out + l0
        for l in range(ceil_div(l1 - l0, nr)):
            tile_run(
                t, min(height, channels - i * height), LM_NV, 1, &zero, &zero, d.pixels, gp + i * height, 1, d.g_pitch, xp + l * nr, d.pitch, -1,
                row + l * nr, v.w_out, min(nr, l1 - l0 - l * nr), &e,
            )
    if v.db != NULL and l0 == 0:
        memset(sums, 0, d.g_pitch * sizeof(real))
        for i in range(ceil_div(channels, nr)):
            add_pixels(t, sums + i * nr, min(nr, channels - i * nr), gp + i * nr, 1, 0, d.pixels, d.g_pitch)
        memcpy(<real *>v.db + first, sums, channels * sizeof(real))


cdef void block_f32(void *d, i64 task, i64 slot) noexcept nogil:
    block_task(<float>0, <Im2col *>d, task, slot)


cdef void block_f64(void *d, i64 task, i64 slot) noexcept nogil:
    block_task(<double>0, <Im2col *>d, task, slot)


cdef void chunk_f32(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<float>0, <Im2col *>d, task, slot)


cdef void chunk_f64(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<double>0, <Im2col *>d, task, slot)


cdef void part_f32(void *d, i64 task, i64 slot) noexcept nogil:
    part_task(<float>0, <Im2col *>d, task, slot)


cdef void part_f64(void *d, i64 task, i64 slot) noexcept nogil:
    part_task(<double>0, <Im2col *>d, task, slot)


cdef void fill_f32(void *d, i64 image, i64 slot) noexcept nogil:
    fill_rows(<float>0, &(<Panels *>d).v, image, 0, (<Panels *>d).v.rows)


cdef void fill_f64(void *d, i64 image, i64 slot) noexcept nogil:
    fill_rows(<double>0, &(<Panels *>d).v, image, 0, (<Panels *>d).v.rows)


cdef inline bint in_place(Im2col *d) noexcept nogil:
    """Whether dw is written in place: it is large and pixels are few; with several taps, where A is sorted value by value, against the output
    channels too."""
    cdef Gather *v = &d.d.v
    return (
        v.groups == 1 and v.k * v.n >= LARGE and v.taps <= MAX_TAPS and 0 < d.pixels <= FEW and (v.taps == 1 or 8 * d.pixels <= v.n)
    )


cdef void plan_parts(Im2col *d) noexcept nogil:
    """Parts of dw, as many as tasks are wanted, and so small that what they need of A and g stays in L2."""
    cdef Gather *v = &d.d.v
    cdef i64 nr = LM_NV * LM_VB // d.d.item
    v.chunks = 0
    d.span = ceil_div(v.k, nr) * nr
    d.channels = ceil_div(v.n, LM_MR) * LM_MR
    while ceil_div(v.k, d.span) * ceil_div(v.n, d.channels) < UNITS or d.pixels * (d.span + d.channels) * d.d.item > 2 * BLOCK:
        if 2 * d.span >= d.channels and d.span > nr:
            d.span = ceil_div(d.span, 2 * nr) * nr
        elif d.channels > LM_MR:
            d.channels = ceil_div(d.channels, 2 * LM_MR) * LM_MR
        else:
            break
    d.ranges = ceil_div(v.k, d.span)
    d.d.blocks = ceil_div(v.n, d.channels)
    d.pitch = odd_lines(d.span, d.d.item)
    d.g_pitch = odd_lines(ceil_div(d.channels, nr) * nr, d.d.item)
    d.d.work_bytes = aligned((d.pixels * (d.pitch + d.g_pitch) + d.g_pitch) * d.d.item)


cdef void plan(Panels *p) noexcept nogil:
    """Blocks of pixels and ranges of l, and how tasks share them."""
    cdef Im2col *d = <Im2col *>p
    cdef Gather *v = &p.v
    cdef i64 panels = v.groups * v.panels
    cdef i64 wanted
    v.k = v.taps * v.depth
    d.pixels = v.mb * v.rows * v.columns
    if p.weight_pass and in_place(d):
        plan_parts(d)
        return
    p.block_panels = panels
    if p.weight_pass:
        d.block = max(<i64>1, min(<i64>PIXELS, d.pixels))
        d.span = max(<i64>1, BLOCK // (d.block * p.item * LM_MR)) * LM_MR
    else:
        d.span = RANGE
    d.ranges = ceil_div(v.k, d.span)
    d.span = ceil_div(v.k, max(d.ranges, <i64>1))
    if p.weight_pass:
        d.span = ceil_div(d.span, LM_MR) * LM_MR
        d.ranges = ceil_div(v.k, d.span)
    d.pitch = (d.span * p.item // 64 + 1 | 1) * 64 // p.item
    if p.weight_pass:
        v.chunks = max(<i64>1, min(min(<i64>CHUNKS, d.pixels // PIXELS), PRIVATE // (panels * (v.k + 1) * LM_NV * LM_VB)))
        wanted = ceil_div(UNITS, v.chunks)
        d.parts = min(d.ranges, wanted)
        p.block_panels = ceil_div(panels, min(panels, ceil_div(wanted, d.parts)))
    else:
        d.block = max(<i64>1, BLOCK // (d.pitch * p.item * LM_MR)) * LM_MR
        while ceil_div(d.pixels, d.block) * ceil_div(panels, p.block_panels) < UNITS:
            if p.block_panels > 1 and p.block_panels * LM_NV * LM_VB >= d.block * p.item:
                p.block_panels = ceil_div(p.block_panels, 2)
            elif d.block > LM_MR:
                d.block = ceil_div(d.block, 2 * LM_MR) * LM_MR
            elif p.block_panels > 1:
                p.block_panels = ceil_div(p.block_panels, 2)
            else:
                break
    p.blocks = ceil_div(panels, p.block_panels)
    d.contiguous = v.dst_row == v.dst_column * v.columns and v.dst_image == v.dst_row * v.rows
    p.work_bytes = aligned(d.block * d.pitch * p.item + (0 if d.contiguous or p.weight_pass else LM_MR * LM_NV * LM_VB + d.block * 8))


cdef void run_gather(Panels *p, i64 slots) noexcept nogil:
    cdef Im2col *d = <Im2col *>p
    cdef Gather *v = &p.v
    if p.fill:
        parallel_for(fill_f64 if p.double_precision else fill_f32, d, v.mb, 0.05 * v.mb * v.dst_image, slots)
    parallel_for(
        block_f64 if p.double_precision else block_f32, d, ceil_div(d.pixels, d.block) * p.blocks,
        2.0 * d.pixels * v.groups * v.n * v.k / p.rate + 0.1 * d.pixels * v.groups * v.k, slots,
    )


cdef void run_weight(Panels *p, i64 slots) noexcept nogil:
    cdef Im2col *d = <Im2col *>p
    cdef Gather *v = &p.v
    if v.chunks == 0:
        parallel_for(
            part_f64 if p.double_precision else part_f32, d, d.ranges * p.blocks, 2.0 * d.pixels * v.n * v.k / p.rate + 0.5 * v.n * v.k, slots,
        )
        return
    parallel_for(
        chunk_f64 if p.double_precision else chunk_f32, d, v.chunks * d.parts * p.blocks,
        2.0 * d.pixels * v.groups * v.n * v.k / p.rate + 0.1 * d.pixels * v.k, slots,
    )


cdef void lay_out(Panels *p) noexcept nogil:
    if p.v.chunks:
        sum_panels(p)


def scratch(pass_, p):
    """Index tables and packed weights, or private copies of dw, shared; a packed block per thread."""
    cdef Im2col d
    tables, panels, work = scratch_of(&d.d, sizeof(Im2col), plan, pass_, p)
    return tables + panels, work


def transformed(pass_, p):
    """Bytes of the packed weights or private copies of dw."""
    cdef Im2col d
    return scratch_of(&d.d, sizeof(Im2col), plan, pass_, p)[1]


def forward(p, cnp.ndarray x, cnp.ndarray w, b, cnp.ndarray out, cnp.ndarray scratch):
    cdef Im2col d
    run_forward(&d.d, sizeof(Im2col), plan, pack_panels, run_gather, p, x, w, b, out, scratch)


def backward_input(p, cnp.ndarray g, cnp.ndarray w, cnp.ndarray dx, cnp.ndarray scratch):
    cdef Im2col d
    run_backward_input(&d.d, sizeof(Im2col), plan, pack_panels, run_gather, p, g, w, dx, scratch)


def backward_weight(p, cnp.ndarray x, cnp.ndarray g, cnp.ndarray dw, db, cnp.ndarray scratch):
    cdef Im2col d
    run_backward_weight(&d.d, sizeof(Im2col), plan, run_weight, lay_out, p, x, g, dw, db, scratch)
