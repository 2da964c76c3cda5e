"""Direct convolution: the register tile runs over the pixels of an output row and reads the image in place.

    dst[n, r, q, :] = sum over taps t of  src[n, r*sy + ty[t], q*sx + tx[t], :] @ wp[t]         (gather.pxd)
    dw[t] = sum over n, r, q of  x[n, r*sy + ty[t], q*sx + tx[t], :]^T @ g[n, r, q, :]

Shapes   images (mb, c, h, w) in channels-last memory, weights (oc, ic / groups, kh, kw)
Packed   wp (panels.pxd), once per call; the image is not packed: a task works on a band of rows, in place, or copied
         once into a zero-padded buffer where taps reach over the border; with several groups, group by group (bring_slices). Pixels a multiple
         of 2 or 4 KiB apart get a gap there (crowded): the rows of a tile would push one another out of L1.
Tile     forward, backward_input                          backward_weight
         rows: up to mr pixels of an output row            rows: up to mr input channels (of neighbouring taps)
         columns: nr output channels                       columns: nr output channels
         depth: taps x channels of a pixel                 depth: the pixels of the band
         Taps side by side are one contiguous run with their channels: a 5 x 5 filter over one channel is 5 runs of depth 5, not 25 of depth 1. mr is
         chosen so that the tiles of a row are equal. Where a row leaves registers free (7 pixels; 16 channels, of which a pixel
         takes one register), a tile takes the same pixels of two rows, or two runs of dw.

Loops    tasks: as many images, rows of one, or pixels of a long row as stay in L2 x blocks of panels
         panels of nr channels           the panel of weights streams from L2
         images, rows, tiles of the row, taps, depth
         Few pixels under large weights: tasks are panels, which pack their weights into L2 and use them up there; all images pass by, padded once
         beforehand. The residues of backward_input share the packed panel.
         backward_weight: tasks are chunks of (image, band) x blocks of panels with a private dw each, summed in order afterwards.
Edges    tiles have exactly the rows they need; the last panel is padded (weights) or masked (g). Where the gradient of a strided 1 x 1 filter is
         zero, a band's task zeroes it before it writes the pixels between.
Cost     2 * mb * oc * oh * ow * ic / groups * kh * kw flops; (mr + nv) loads per mr * nv FMA.
Loses    to cy_im2col for large weights (dw leaves L2, and is run through for every band) and strided 1 x 1 filters; to cy_grouped for few channels
         per group, to cy_lanes for few channels.
After    Zhang, Franchetti, Low, ICML 2018 (no packing of the image); Georganas et al., SC18, arXiv:1808.05567 (batch-reduce tiles).
"""
cimport numpy as cnp
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport LM_MR, LM_NV, LM_VB, lanes
from lamella.kernels._common.tile cimport BIAS_COLUMN, Epilogue, pair_fits, pair_run, plain, tile_run
from lamella.kernels._common.types cimport i64, real
from lamella.kernels.conv2d.gather cimport (
    CHUNKS, GROUPS, KH, KW, PRIVATE, SH, SW, UNITS, Gather, aligned, bring, bring_slices, ceil_div, epilogue, odd_lines, plan_bands, see_source,
    set_bands, source_row, source_rows,
)
from lamella.kernels.conv2d.panels cimport (
    Panels, add_pixels, channels_tile, fill_rows, first_gather, open_pass, pack_panels, pack_weights, residue, run_backward_input, run_backward_weight,
    run_forward, scratch_of, sum_panels, tables_bytes,
)

cnp.import_array()

cdef enum:
    SOURCE = 384 * 1024     # bytes that a task reads of images: with a panel of weights, inside L2
    PANEL = 640 * 1024      # bytes of a panel of weights that stays in L2 while all images pass
    FEW = 4 << 20           # bytes of those images at most
    LARGE = 1 << 20         # bytes of weights from which that pays
    PARTS = 4               # gathers that share a panel at most
    SETS = 4096             # bytes after which addresses meet in the same set of L1


cdef struct Direct:
    Panels d
    i64 runs, run_depth             # contiguous (tap, channel) runs
    i64 mr                          # rows of a tile
    bint sliced                     # bands are copied group by group
    bint apart                      # bands are copied with a gap after every pixel
    i64 pixel                       # elements from pixel to pixel of a band
    i64 images                      # of a task


cdef struct Few:
    Direct part[PARTS]
    i64 parts
    Gather source                   # all that the parts read of an image is one band of it
    i64 panel_bytes
    bint fill                       # some pixels of dst belong to no part
    char *panels                    # of slot 0


cdef void see_runs(Direct *d) noexcept nogil:
    """Taps side by side are one run, unless the channels of other groups or a gap lie between them."""
    cdef Gather *v = &d.d.v
    cdef i64 t, per_row = 1
    cdef bint together = (v.groups == 1 or d.sliced) and not d.apart
    while per_row < v.taps and v.ty[per_row] == v.ty[0]:
        per_row += 1
    for t in range(1, per_row):
        together = together and v.tx[t] == v.tx[t - 1] + 1
    if not together:
        per_row = 1
    d.runs = v.taps // per_row
    d.run_depth = per_row * v.depth
    for t in range(d.runs):
        d.d.ao[t] = ((v.ty[t * per_row] - v.y_low) * v.pitch + v.tx[t * per_row] - v.x_low) * d.pixel
        d.d.bo[t] = t * d.run_depth * (LM_NV * LM_VB // d.d.item)


cdef bint crowded(Gather *v, i64 item, bint in_place) noexcept nogil:
    """Whether the rows of a tile, an image's pixels, meet in too few sets of L1. Its 12 ways are 6 where another thread runs on the same core; but a
    copy is made for that only if they are not enough in any case."""
    cdef i64 step = v.sx * v.channels * item
    cdef i64 sets = ceil_div(SETS, step & -step)        # that begin a row
    return ceil_div(LM_MR, sets) > (12 if in_place else 6)


cdef void place_bands(Direct *d) noexcept nogil:
    """In place or copied, and how."""
    cdef Gather *v = &d.d.v
    d.sliced = v.groups > 1 and v.taps > 1 and v.band_columns == v.columns
    d.apart = not d.d.weight_pass and not d.sliced and crowded(v, d.d.item, v.in_place)
    d.pixel = odd_lines(v.channels, d.d.item) if d.apart else v.depth if d.sliced else v.channels
    v.in_place = v.in_place and not d.sliced and not d.apart
    set_bands(v, d.d.item)
    if d.apart:
        v.band_bytes = aligned(source_rows(v, v.band_rows) * v.pitch * d.pixel * d.d.item)


cdef const real *bring_apart(real t, Gather *v, i64 pixel, i64 image, i64 r0, i64 rows, i64 q0, i64 columns, i64 slot) noexcept nogil:
    """A padded copy of the band, as `bring` makes it, whose pixels are `pixel` elements apart."""
    cdef i64 y0 = r0 * v.sy + v.y_low
    cdef i64 x0 = q0 * v.sx + v.x_low
    cdef i64 width = (columns - 1) * v.sx + v.x_high - v.x_low + 1
    cdef const real *src = <const real *>v.src + image * v.height * v.width * v.channels
    cdef real *band = <real *>(v.band + slot * v.band_bytes)
    cdef i64 y, x
    for y in range(source_rows(v, rows)):
        for x in range(width):
            if 0 <= y0 + y < v.height and 0 <= x0 + x < v.width:
                memcpy(band + (y * v.pitch + x) * pixel, src + ((y0 + y) * v.width + x0 + x) * v.channels, v.channels * sizeof(real))
            else:
                memset(band + (y * v.pitch + x) * pixel, 0, v.channels * sizeof(real))
    return band


cdef const real *bring_band(real t, Direct *d, i64 image, i64 r0, i64 rows, i64 q0, i64 columns, i64 slot) noexcept nogil:
    if d.apart:
        return bring_apart(t, &d.d.v, d.pixel, image, r0, rows, q0, columns, slot)
    if d.sliced:
        bring_slices(t, &d.d.v, d.d.v.depth, image, r0, rows, slot)
        return <const real *>(d.d.v.band + slot * d.d.v.band_bytes)
    return bring(t, &d.d.v, image, r0, rows, q0, columns, slot)


cdef inline i64 group_step(Direct *d, i64 rows) noexcept nogil:
    """Elements from group to group of a band of `rows` output rows."""
    return source_rows(&d.d.v, rows) * d.d.v.pitch * d.d.v.depth if d.sliced else d.d.v.depth


cdef void plan_gather(Direct *d) noexcept nogil:
    """Tasks: the images, rows or columns whose source fits SOURCE, for all panels; then halves of whatever is read again at less cost, until
    there are enough tasks."""
    cdef Gather *v = &d.d.v
    cdef i64 item = d.d.item
    cdef i64 panel = v.taps * v.depth * LM_NV * LM_VB
    cdef i64 panels = v.groups * v.panels
    cdef i64 source, blocks
    cdef bint long_row
    see_source(v)
    long_row = v.rows == 1 and v.mb == 1
    d.images = 1
    d.d.block_panels = panels
    v.band_rows = 1
    v.band_columns = v.columns
    if long_row:
        v.band_columns = max(<i64>1, SOURCE // (v.sx * v.channels * item * LM_MR)) * LM_MR
    else:
        v.band_rows = max(<i64>1, min(v.rows, (SOURCE // max(source_row(v, v.columns, item), <i64>1) - (v.y_high - v.y_low)) // v.sy))
        if v.band_rows == v.rows:
            d.images = max(<i64>1, min(v.mb, SOURCE // max(source_rows(v, v.rows) * source_row(v, v.columns, item), <i64>1)))
    while True:
        blocks = ceil_div(panels, d.d.block_panels)
        if ceil_div(v.mb, d.images) * ceil_div(v.rows, v.band_rows) * ceil_div(v.columns, max(v.band_columns, <i64>1)) * blocks >= UNITS:
            break
        source = d.images * source_rows(v, v.band_rows) * source_row(v, min(v.band_columns, v.columns), item)
        if d.d.block_panels > 1 and not d.d.fill and (d.d.block_panels * panel >= source or d.images * v.band_rows <= 2 and not long_row):
            d.d.block_panels = ceil_div(d.d.block_panels, 2)
        elif d.images > 1:
            d.images = ceil_div(d.images, 2)
        elif v.band_rows > 2:
            v.band_rows = ceil_div(v.band_rows, 2)
        elif long_row and v.band_columns > LM_MR:
            v.band_columns = ceil_div(v.band_columns, 2 * LM_MR) * LM_MR
        else:
            break
    d.d.blocks = ceil_div(panels, d.d.block_panels)
    v.band_rows = ceil_div(v.rows, ceil_div(v.rows, v.band_rows))       # equal bands, of pairs of rows
    v.band_rows = min(v.band_rows + v.band_rows % 2, v.rows)
    place_bands(d)
    d.mr = LM_MR if long_row else ceil_div(v.columns, max(ceil_div(v.columns, LM_MR), <i64>1))
    d.d.work_bytes = d.images * v.band_bytes


cdef void plan_weight(Direct *d) noexcept nogil:
    """backward_weight: chunks, blocks, private copies, offsets of a band's rows."""
    cdef Gather *v = &d.d.v
    cdef i64 r
    cdef i64 panels = v.groups * v.panels
    plan_bands(v, d.d.item)
    place_bands(d)
    see_runs(d)
    d.d.work_bytes = v.band_bytes
    v.chunks = max(<i64>1, min(<i64>CHUNKS, min(v.mb * v.bands * v.strips, PRIVATE // (panels * (v.k + 1) * LM_NV * LM_VB))))
    d.d.block_panels = ceil_div(panels, min(panels, ceil_div(CHUNKS, v.chunks)))
    d.d.blocks = ceil_div(panels, d.d.block_panels)
    for r in range(v.band_rows):
        d.d.ao[d.runs + r] = r * v.sy * v.pitch * d.pixel
        d.d.bo[d.runs + r] = r * v.dst_row


cdef void plan(Panels *d) noexcept nogil:
    if d.weight_pass:
        plan_weight(<Direct *>d)
    else:
        plan_gather(<Direct *>d)
        see_runs(<Direct *>d)


cdef void pixels_tile(
    real t, i64 mr, i64 n, i64 taps, const i64 *ao, const i64 *bo, i64 depth, const real *a, i64 ars, const real *b,
    real *c, i64 ldc, const Epilogue *e,
) noexcept nogil:
    """mr pixels of a row times the first n channels of a panel."""
    if n <= lanes(t):
        tile_run(t, mr, 1, taps, ao, bo, depth, a, ars, 1, b, LM_NV * lanes(t), -1, c, ldc, n, e)
    else:
        tile_run(t, mr, LM_NV, taps, ao, bo, depth, a, ars, 1, b, LM_NV * lanes(t), -1, c, ldc, n, e)


cdef void two_rows_tile(
    real t, i64 mr, i64 n, i64 a_jump, i64 c_jump, i64 taps, const i64 *ao, const i64 *bo, i64 depth, const real *a, i64 ars, const real *b,
    real *c, i64 ldc, const Epilogue *e,
) noexcept nogil:
    """The same for mr pixels of two rows each."""
    if n <= lanes(t):
        pair_run(t, mr, 1, a_jump, c_jump, taps, ao, bo, depth, a, ars, 1, b, LM_NV * lanes(t), -1, c, ldc, n, e)
    else:
        pair_run(t, mr, LM_NV, a_jump, c_jump, taps, ao, bo, depth, a, ars, 1, b, LM_NV * lanes(t), -1, c, ldc, n, e)


cdef void band_rows(real t, Direct *d, const real *band, real *dst, i64 rows, i64 columns, i64 n, const real *wp, const Epilogue *e) noexcept nogil:
    """The first n channels of a panel, for all pixels of a band."""
    cdef Gather *v = &d.d.v
    cdef i64 step = v.sx * d.pixel
    cdef i64 row = v.sy * v.pitch * d.pixel
    cdef int nv = 1 if n <= lanes(t) else LM_NV
    cdef i64 r = 0, q, mr
    cdef bint two
    while r < rows:
        two = r + 2 <= rows and pair_fits(d.mr, nv)
        q = 0
        while q < columns:
            mr = min(d.mr, columns - q)
            if two and pair_fits(mr, nv):
                two_rows_tile(
                    t, mr, n, row, v.dst_row, d.runs, d.d.ao, d.d.bo, d.run_depth, band + r * row + q * step, step, wp,
                    dst + r * v.dst_row + q * v.dst_column, v.dst_column, e,
                )
            else:
                pixels_tile(
                    t, mr, n, d.runs, d.d.ao, d.d.bo, d.run_depth, band + r * row + q * step, step, wp,
                    dst + r * v.dst_row + q * v.dst_column, v.dst_column, e,
                )
                if two:
                    pixels_tile(
                        t, mr, n, d.runs, d.d.ao, d.d.bo, d.run_depth, band + (r + 1) * row + q * step, step, wp,
                        dst + (r + 1) * v.dst_row + q * v.dst_column, v.dst_column, e,
                    )
            q += mr
        r += 2 if two else 1


cdef void band_task(real t, Direct *d, i64 task, i64 slot) noexcept nogil:
    """A block of panels for some images, for a band of one, or for a strip of a long row."""
    cdef Gather *v = &d.d.v
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 first = task % d.d.blocks * d.d.block_panels
    cdef i64 last = min(first + d.d.block_panels, v.groups * v.panels)
    cdef i64 part = task // d.d.blocks
    cdef i64 q0 = part % v.strips * v.band_columns
    cdef i64 r0 = part // v.strips % v.bands * v.band_rows
    cdef i64 image0 = part // (v.strips * v.bands) * d.images
    cdef i64 images = min(d.images, v.mb - image0)
    cdef i64 rows = min(v.band_rows, v.rows - r0)
    cdef i64 columns = min(v.band_columns, v.columns - q0)
    cdef i64 i, both, group, channel
    cdef const real *band
    cdef real *dst
    cdef Epilogue e = d.d.e
    for i in range(images):
        band = bring_band(t, d, image0 + i, r0, rows, q0, columns, slot * d.images + i)
        if d.d.fill:
            fill_rows(t, v, image0 + i, r0, rows)
    for both in range(first, last):
        group = both // v.panels
        channel = group * v.n + both % v.panels * nr
        if e.bias_kind == BIAS_COLUMN:
            e.bias = <const real *>d.d.e.bias + channel
        for i in range(images):
            if v.in_place:
                band = bring(t, v, image0 + i, r0, rows, q0, columns, slot)
            else:
                band = <const real *>(v.band + (slot * d.images + i) * v.band_bytes)
            dst = <real *>v.dst + v.dst_first + (image0 + i) * v.dst_image + r0 * v.dst_row + q0 * v.dst_column + channel
            band_rows(
                t, d, band + group * group_step(d, rows), dst, rows, columns, min(nr, v.n - both % v.panels * nr),
                <const real *>v.wp + (both * d.d.filter + d.d.first_tap) * v.depth * nr, &e,
            )


cdef void two_runs_tile(
    real t, i64 mr, i64 a_jump, i64 c_jump, i64 rows, const i64 *ao, const i64 *bo, i64 depth, const real *a, i64 aks, const real *g, i64 gls,
    real *c, const Epilogue *e,
) noexcept nogil:
    """mr rows each of two places of dw, times one register of channels."""
    pair_run(t, mr, 1, a_jump, c_jump, rows, ao, bo, depth, a, 1, aks, g, gls, -1, c, LM_NV * lanes(t), lanes(t), e)


cdef void chunk_task(real t, Direct *d, i64 task, i64 slot) noexcept nogil:
    """The private dw of a chunk of units (image, band, strip), for a block of panels."""
    cdef Gather *v = &d.d.v
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 chunk = task // d.d.blocks
    cdef i64 first = task % d.d.blocks * d.d.block_panels
    cdef i64 last = min(first + d.d.block_panels, v.groups * v.panels)
    cdef i64 per_image = v.bands * v.strips
    cdef i64 units = v.mb * per_image
    cdef i64 depth = d.run_depth
    cdef i64 step = v.sx * d.pixel
    cdef i64 unit, image, r0, q0, rows, columns, both, n, run, i, left, mr, half
    cdef const real *band
    cdef const real *a
    cdef const real *g
    cdef real *c
    cdef const i64 *ao = d.d.ao + d.runs            # the rows of a band are the batch of the tile: their offsets follow those of the runs
    cdef const i64 *bo = d.d.bo + d.runs
    cdef Epilogue e = plain()
    memset(<real *>v.private_ + (chunk * v.groups * v.panels + first) * (v.k + 1) * nr, 0, (last - first) * (v.k + 1) * nr * sizeof(real))
    e.beta = 1
    mr = ceil_div(depth, ceil_div(depth, LM_MR))
    half = ceil_div(depth, 2 * ceil_div(depth, 2 * LM_MR))
    for unit in range(chunk * units // v.chunks, (chunk + 1) * units // v.chunks):
        image = unit // per_image
        r0 = unit // v.strips % v.bands * v.band_rows
        q0 = unit % v.strips * v.band_columns
        rows = min(v.band_rows, v.rows - r0)
        columns = min(v.band_columns, v.columns - q0)
        band = bring_band(t, d, image, r0, rows, q0, columns, slot)
        for both in range(first, last):
            n = min(nr, v.n - both % v.panels * nr)
            g = <const real *>v.dst + image * v.dst_image + r0 * v.dst_row + q0 * v.dst_column + both // v.panels * v.n + both % v.panels * nr
            c = <real *>v.private_ + (chunk * v.groups * v.panels + both) * (v.k + 1) * nr
            run = 0
            while run < d.runs:
                a = band + both // v.panels * group_step(d, rows) + d.d.ao[run]
                if n == lanes(t) and run + 1 < d.runs and pair_fits(depth, 1):       # two runs at once
                    two_runs_tile(
                        t, depth, d.d.ao[run + 1] - d.d.ao[run], depth * nr, rows, ao, bo, columns, a, step, g, v.dst_column,
                        c + run * depth * nr, &e,
                    )
                    run += 2
                    continue
                i = 0
                while i < depth:
                    left = depth - i
                    if n == lanes(t) and left >= 2 * half and pair_fits(half, 1):             # two halves of a run at once
                        two_runs_tile(t, half, half, half * nr, rows, ao, bo, columns, a + i, step, g, v.dst_column, c + (run * depth + i) * nr, &e)
                        i += 2 * half
                    else:
                        channels_tile(t, min(mr, left), n, rows, ao, bo, columns, a + i, step, g, v.dst_column, c + (run * depth + i) * nr, &e)
                        i += min(mr, left)
                run += 1
            if v.db != NULL:
                add_pixels(t, c + v.k * nr, n, g, rows, v.dst_row, columns, v.dst_column)


cdef void pad_task(real t, Few *f, i64 image) noexcept nogil:
    """The padded copy of an image."""
    cdef i64 size = f.part[0].d.v.dst_image
    if f.part[0].apart:
        bring_apart(t, &f.source, f.part[0].pixel, image, 0, 1, 0, 1, image)
    elif not f.source.in_place:
        bring(t, &f.source, image, 0, 1, 0, 1, image)
    if f.fill:
        memset(<real *>f.source.dst + image * size, 0, size * sizeof(real))


cdef void panel_task(real t, Few *f, i64 panel, i64 slot) noexcept nogil:
    """A panel of weights: packed, and used up by all images."""
    cdef Gather *s = &f.source
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 n = min(nr, s.n - panel * nr)
    cdef char *wp = f.panels + slot * f.panel_bytes
    cdef Panels packing = f.part[0].d
    cdef Epilogue e = packing.e
    cdef Gather *v
    cdef const real *band
    cdef i64 image, k
    packing.v.wp = wp - panel * packing.filter * s.depth * LM_NV * LM_VB      # where panel 0 would lie
    pack_weights(t, &packing, panel)
    if e.bias_kind == BIAS_COLUMN:
        e.bias = <const real *>e.bias + panel * nr
    for image in range(s.mb):
        band = <const real *>s.src + image * s.height * s.width * s.channels
        if not s.in_place:
            band = <const real *>(s.band + image * s.band_bytes)
        for k in range(f.parts):
            v = &f.part[k].d.v
            band_rows(
                t, &f.part[k], band + ((v.y_low - s.y_low) * s.pitch + v.x_low - s.x_low) * f.part[k].pixel,
                <real *>v.dst + v.dst_first + image * v.dst_image + panel * nr, v.rows, v.columns, n,
                <const real *>wp + f.part[k].d.first_tap * v.depth * nr, &e,
            )


cdef void band_f32(void *d, i64 task, i64 slot) noexcept nogil:
    band_task(<float>0, <Direct *>d, task, slot)


cdef void band_f64(void *d, i64 task, i64 slot) noexcept nogil:
    band_task(<double>0, <Direct *>d, task, slot)


cdef void chunk_f32(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<float>0, <Direct *>d, task, slot)


cdef void chunk_f64(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<double>0, <Direct *>d, task, slot)


cdef void pad_f32(void *f, i64 image, i64 slot) noexcept nogil:
    pad_task(<float>0, <Few *>f, image)


cdef void pad_f64(void *f, i64 image, i64 slot) noexcept nogil:
    pad_task(<double>0, <Few *>f, image)


cdef void panel_f32(void *f, i64 panel, i64 slot) noexcept nogil:
    panel_task(<float>0, <Few *>f, panel, slot)


cdef void panel_f64(void *f, i64 panel, i64 slot) noexcept nogil:
    panel_task(<double>0, <Few *>f, panel, slot)


cdef bint see_few(Few *f, const i64 *p, bint double_precision, bint backward_input, char *tables) noexcept nogil:
    """Few pixels under large weights? Then their gathers, and what these read of an image."""
    cdef Direct d
    cdef Gather *s = &f.source
    cdef Gather *v
    cdef i64 number, read, k
    cdef bint apart
    memset(f, 0, sizeof(Few))
    open_pass(&d.d, sizeof(Direct), double_precision, p, tables)
    if p[GROUPS] > 1 or backward_input and p[SH] * p[SW] > PARTS:
        return False
    for number in range(p[SH] * p[SW] if backward_input else 1):
        if backward_input:
            residue(&d.d, p, number)
        else:
            first_gather(&d.d, p)
        v = &d.d.v
        if v.rows and v.columns and v.taps:
            f.part[f.parts] = d
            f.part[f.parts].d.ao += d.d.first_tap
            f.part[f.parts].d.bo += d.d.first_tap
            f.parts += 1
        elif v.rows and v.columns:
            f.fill = True
    if f.parts == 0:
        return False
    v = &f.part[0].d.v
    if f.parts == 1 and not crowded(v, d.d.item, True):
        see_source(v)               # perhaps one long row
    s[0] = v[0]
    f.panel_bytes = aligned(d.d.filter * v.depth * LM_NV * LM_VB)
    s.y_high = (v.rows - 1) * v.sy + v.y_high
    s.x_high = (v.columns - 1) * v.sx + v.x_high
    for k in range(1, f.parts):
        v = &f.part[k].d.v
        s.y_low = min(s.y_low, v.y_low)
        s.x_low = min(s.x_low, v.x_low)
        s.y_high = max(s.y_high, (v.rows - 1) * v.sy + v.y_high)
        s.x_high = max(s.x_high, (v.columns - 1) * v.sx + v.x_high)
    s.rows = s.columns = s.sy = s.sx = s.band_rows = s.band_columns = 1
    s.in_place = s.y_low >= 0 and s.x_low >= 0 and s.y_high < s.height and s.x_high < s.width
    apart = crowded(&f.part[0].d.v, d.d.item, s.in_place)
    s.in_place = s.in_place and not apart
    if s.in_place:
        s.y_low = s.x_low = 0
    set_bands(s, d.d.item)
    if apart:
        s.band_bytes = aligned(source_rows(s, 1) * s.pitch * odd_lines(s.channels, d.d.item) * d.d.item)
    for k in range(f.parts):
        v = &f.part[k].d.v
        v.pitch = s.pitch
        f.part[k].apart = apart
        f.part[k].pixel = odd_lines(v.channels, d.d.item) if apart else v.channels
        f.part[k].mr = ceil_div(v.columns, ceil_div(v.columns, LM_MR))
        see_runs(&f.part[k])
    read = s.mb * (s.y_high - s.y_low + 1) * (s.x_high - s.x_low + 1) * s.channels * d.d.item
    return s.mb > 0 and f.panel_bytes <= PANEL and read <= FEW and s.panels >= 4 and s.panels * f.panel_bytes >= max(<i64>LARGE, read)


cdef inline i64 padded_bytes(Few *f) noexcept nogil:
    return f.source.mb * f.source.band_bytes


cdef void run_few(Few *f, char *memory, i64 left, const char *src, const char *w, char *dst) noexcept nogil:
    """From the geometry to the result; `memory`: padded images, then a panel of weights for each thread."""
    cdef Gather *s = &f.source
    cdef bint double_precision = f.part[0].d.double_precision
    cdef double flops = 0
    cdef i64 k
    s.src = src
    s.dst = dst
    s.band = memory
    f.panels = memory + padded_bytes(f)
    for k in range(f.parts):
        f.part[k].d.v.dst = dst
        f.part[k].d.v.w = w
        flops += 2.0 * f.part[k].d.v.rows * f.part[k].d.v.columns * f.part[k].d.v.taps
    flops *= s.mb * s.n * s.depth
    if f.fill or not s.in_place:
        parallel_for(pad_f64 if double_precision else pad_f32, f, s.mb, 0.1 * padded_bytes(f), ANY_SLOTS)
    parallel_for(
        panel_f64 if double_precision else panel_f32, f, s.panels, flops / f.part[0].d.rate + 0.1 * s.panels * f.panel_bytes,
        (left - padded_bytes(f)) // f.panel_bytes,
    )


cdef void run_gather(Panels *p, i64 slots) noexcept nogil:
    cdef Direct *d = <Direct *>p
    cdef Gather *v = &p.v
    cdef double flops = 2.0 * v.mb * v.rows * v.columns * v.groups * v.n * v.depth * v.taps
    parallel_for(
        band_f64 if p.double_precision else band_f32, d, ceil_div(v.mb, d.images) * v.bands * v.strips * p.blocks,
        flops / p.rate + 0.3 * v.mb * v.rows * v.columns * v.groups * v.n, slots,
    )


cdef void run_weight(Panels *p, i64 slots) noexcept nogil:
    cdef Gather *v = &p.v
    cdef double flops = 2.0 * v.mb * v.rows * v.columns * v.groups * v.n * v.k
    parallel_for(chunk_f64 if p.double_precision else chunk_f32, p, v.chunks * p.blocks, flops / p.rate, slots)


cdef tuple scratch_of_few(pass_, p):
    """(bytes of tables and padded images, of one thread), or None where there are not few pixels under large weights."""
    cdef Few f
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *g = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef i64 size = tables_bytes(g[KH] * g[KW])
    cdef char *tables = <char *>malloc(size)
    cdef bint few
    if tables == NULL:
        raise MemoryError
    few = pass_ != "backward_weight" and see_few(&f, g, p.dtype.itemsize == 8, pass_ == "backward_input", tables)
    free(tables)
    return (size + padded_bytes(&f), f.panel_bytes) if few else None


def scratch(pass_, p):
    """Index tables and packed weights, or private copies of dw, shared; padded bands per thread. Few pixels under large weights: index tables and padded
    images shared, packed weights per thread."""
    cdef Direct d
    few = scratch_of_few(pass_, p)
    if few is not None:
        return few
    tables, panels, work = scratch_of(&d.d, sizeof(Direct), plan, pass_, p)
    return tables + panels, work


def transformed(pass_, p):
    """Bytes of the packed weights or private copies of dw."""
    cdef Direct d
    return 0 if scratch_of_few(pass_, p) is not None else scratch_of(&d.d, sizeof(Direct), plan, pass_, p)[1]


def forward(p, cnp.ndarray x, cnp.ndarray w, b, cnp.ndarray out, cnp.ndarray scratch):
    cdef Few f
    cdef Direct d
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *g = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef char *base = cnp.PyArray_BYTES(scratch)
    cdef i64 size = tables_bytes(g[KH] * g[KW])
    if see_few(&f, g, cnp.PyArray_TYPE(out) == cnp.NPY_FLOAT64, False, base):
        f.part[0].d.e = epilogue(g, p.slope, cnp.PyArray_BYTES(b) if b is not None else NULL)
        with nogil:
            run_few(&f, base + size, cnp.PyArray_SIZE(scratch) - size, cnp.PyArray_BYTES(x), cnp.PyArray_BYTES(w), cnp.PyArray_BYTES(out))
        return
    run_forward(&d.d, sizeof(Direct), plan, pack_panels, run_gather, p, x, w, b, out, scratch)


def backward_input(p, cnp.ndarray g, cnp.ndarray w, cnp.ndarray dx, cnp.ndarray scratch):
    cdef Few f
    cdef Direct d
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *q = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef char *base = cnp.PyArray_BYTES(scratch)
    cdef i64 size = tables_bytes(q[KH] * q[KW])
    if see_few(&f, q, cnp.PyArray_TYPE(dx) == cnp.NPY_FLOAT64, True, base):
        with nogil:
            run_few(&f, base + size, cnp.PyArray_SIZE(scratch) - size, cnp.PyArray_BYTES(g), cnp.PyArray_BYTES(w), cnp.PyArray_BYTES(dx))
        return
    run_backward_input(&d.d, sizeof(Direct), plan, pack_panels, run_gather, p, g, w, dx, scratch)


def backward_weight(p, cnp.ndarray x, cnp.ndarray g, cnp.ndarray dw, db, cnp.ndarray scratch):
    cdef Direct d
    run_backward_weight(&d.d, sizeof(Direct), plan, run_weight, sum_panels, p, x, g, dw, db, scratch)
