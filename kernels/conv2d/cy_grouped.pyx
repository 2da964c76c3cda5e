"""Grouped convolution with few channels per group: a register holds the channels of one group or of several.

    dst[n, r, q, o] = sum over taps t and the channels c of o's group of  src[n, r*sy + ty[t], q*sx + tx[t], o // m * m + c] * w[o, c, t]        (gather.pxd)
    dw[o, c, t] = sum over n, r, q of  x[n, r*sy + ty[t], q*sx + tx[t], o // m * m + c] * g[n, r, q, o]

Shapes   images (mb, groups * m, h, w) in channels-last memory, weights (groups * m, m, kh, kw): as many channels out as in; a register holds
         one group or several
Packed   wp[slice][tap][c][lanes]: a slice is a register of output channels. The image is read in place, or from a zero-padded copy of a band.
Tile     up to mr pixels of a row x one register; one step is a row of three taps and channel c of each group. A pixel of the source is loaded once, c is
         spread over the lanes of its group (by a permutation; by a broadcast, where a group fills the register), and joins the sums of all
         three outputs that lie under it:

             pixel  a0 a1 a2 a3 b0 b1 b2 b3 ..      m = 4, c = 1        a1 a1 a1 a1 b1 b1 b1 b1 ..

             step   3 registers of weights, mr + 2 pixels, 3 * mr FMA   other strides, dilations and widths: taps one by one

         backward_weight: up to 3 taps x 8 channels of a group; a pixel of x is spread once for the three pixels of g it meets

Loops    tasks: image, band of rows      the band stays in L2
         rows, tiles of the row, slices, rows of taps, c         slices lie side by side in memory: whole pixels pass through L1
         backward_weight: tasks are chunks of bands x blocks of slices; private dw for the chunks, summed in order afterwards, as long as they
         are small, more blocks otherwise. A unit of rows is fetched into L2 first; slices, rows of taps, channels, pixels.
Edges    the last slice is masked; backward_weight leaves out what lies outside of the image
Cost     2 * mb * oc * oh * ow * m * kh * kw flops, (mr + 2) / (3 * mr) permutations per FMA
Gains    over cy_direct, which leaves all but m lanes idle, and sorts the channels of an image by group
Loses    once m is more than a register
After    the shuffles of grouped kernels in XNNPACK; Zhang, Franchetti, Low, ICML 2018, for the rest.
"""
cimport numpy as cnp
from libc.string cimport memset

from lamella.kernels._common.pool cimport parallel_for
from lamella.kernels._common.simd cimport (
    LM_MR, LM_VB, lanes, opaque, v_add, v_fma, v_fresh_zero, v_load, v_load_n, v_permute, v_pin, v_set, v_store, v_store_n, vec,
)
from lamella.kernels._common.tile cimport BIAS_COLUMN, Epilogue, finish
from lamella.kernels._common.transpose cimport square
from lamella.kernels._common.types cimport i32, i64, real
from lamella.kernels.conv2d.gather cimport CHUNKS, UNITS, Gather, aligned, bring, ceil_div, fetch, set_bands, source_row
from lamella.kernels.conv2d.panels cimport Panels, fill_rows, run_backward_input, run_backward_weight, run_forward, scratch_of

cnp.import_array()

cdef enum:
    SOURCE = 384 * 1024     # bytes of an image band: with the weights, inside L2
    READ = 320 * 1024       # bytes of both images that backward_weight runs through again and again
    COPIES = 1 << 20        # bytes of all private copies of dw: more cost more than they are worth


cdef struct Grouped:
    Panels d
    bint broadcast          # a group fills a register
    i64 slices
    i64 mr
    i64 kw                  # taps of a run, neighbours or a step apart: 3 or 1
    i64 apart               # pixels from tap to tap of a run
    i64 block               # channels of a group at once (backward_weight)
    i32 spread[16 * 16]     # spread[c]: the lanes of channel c of each group


cdef inline i64 lanes_of(Panels *d) noexcept nogil:
    return LM_VB // d.item


cdef void see_runs(Grouped *d) noexcept nogil:
    """Threes of taps as far apart as any other; only neighbours at step 1 help the gathers."""
    cdef Gather *v = &d.d.v
    cdef i64 t
    d.apart = v.tx[1] - v.tx[0] if v.taps > 1 else 1
    d.kw = 3 if v.taps > 0 and v.taps % 3 == 0 else 1
    for t in range(v.taps):
        if t % 3 and (v.ty[t] != v.ty[t - 1] or v.tx[t] != v.tx[t - 1] + d.apart):
            d.kw = 1
    if not d.d.weight_pass and (v.sx > 1 or d.apart > 1):
        d.kw = 1


cdef void plan_weight(Grouped *d) noexcept nogil:
    """Private copies of dw as long as they are small, then blocks of slices."""
    cdef Gather *v = &d.d.v
    cdef i64 row
    v.chunks = max(<i64>1, min(<i64>CHUNKS, COPIES // (d.slices * (v.k + 1) * LM_VB)))
    d.d.block_panels = ceil_div(d.slices, min(d.slices, ceil_div(CHUNKS, v.chunks)))
    d.d.blocks = ceil_div(d.slices, d.d.block_panels)
    row = d.d.block_panels * LM_VB * (v.width * v.sy + v.columns)
    v.band_rows = max(<i64>1, min(v.rows, min(READ // row, max(ceil_div(v.rows * v.mb, UNITS), <i64>2))))
    v.bands = ceil_div(v.rows, v.band_rows)
    v.chunks = max(<i64>1, min(v.chunks, v.mb * v.bands))
    d.block = min(v.depth, <i64>(8 if LM_VB == 64 else 4))


cdef void plan_gather(Grouped *d) noexcept nogil:
    cdef Gather *v = &d.d.v
    cdef i64 t
    v.band_columns = v.columns
    v.in_place = (
        v.y_low >= 0 and v.x_low >= 0 and (v.rows - 1) * v.sy + v.y_high < v.height and (v.columns - 1) * v.sx + v.x_high < v.width
        and v.channels % lanes_of(&d.d) == 0        # the last register of the last pixel
    )
    v.band_rows = (SOURCE // max(source_row(v, v.columns, d.d.item), <i64>1) - (v.y_high - v.y_low)) // v.sy
    v.band_rows = max(<i64>1, min(v.band_rows, min(v.rows, max(ceil_div(v.rows * v.mb, UNITS), <i64>2))))
    set_bands(v, d.d.item)
    if not v.in_place:
        v.band_bytes += aligned(LM_VB)
    d.d.work_bytes = v.band_bytes
    d.mr = ceil_div(v.columns, max(ceil_div(v.columns, LM_MR), <i64>1))
    for t in range(v.taps // d.kw):
        d.d.ao[t] = ((v.ty[t * d.kw] - v.y_low) * v.pitch + v.tx[t * d.kw] - v.x_low) * v.channels


cdef void plan(Panels *p) noexcept nogil:
    cdef Grouped *d = <Grouped *>p
    cdef i64 wide = LM_VB // 4, words = p.item // 4             # 32-bit lanes; of one value
    cdef i64 lane, c
    d.broadcast = p.v.depth == lanes_of(p)
    d.slices = ceil_div(p.v.channels, lanes_of(p))
    see_runs(d)
    if p.weight_pass:
        plan_weight(d)
    else:
        plan_gather(d)
    for c in range(p.v.depth):
        for lane in range(wide):
            d.spread[c * wide + lane] = <i32>((lane // words // p.v.depth * p.v.depth + c) * words + lane % words)


cdef void pack_weights(real t, Panels *d) noexcept nogil:
    """Squares of registers. Forward, the taps and channels of a group side by side are those of a lane; backward, taps are, channel by channel."""
    cdef Gather *v = &d.v
    cdef bint forward = v.w_in == d.filter
    cdef i64 span = v.depth * d.filter if forward else d.filter
    cdef i64 height = lanes(t) if forward else v.depth          # lanes that lie evenly in w
    cdef i64 slice_, part, lane, c, block, start, m, n, i
    cdef real *wp
    cdef const real *w
    cdef real corner[256]
    for slice_ in range(ceil_div(v.channels, lanes(t))):
        wp = <real *>v.wp + slice_ * d.filter * v.depth * lanes(t)
        for part in range(lanes(t) // height):
            lane = part * height
            m = max(<i64>0, min(height, v.channels - slice_ * lanes(t) - lane))
            w = <const real *>v.w + (slice_ * lanes(t) + lane) // v.depth * v.w_group
            for c in range(1 if forward else v.depth):
                for block in range(ceil_div(span, lanes(t))):
                    start = block * lanes(t)
                    n = min(span - start, <i64>lanes(t))
                    square(t, w + c * v.w_in + start, v.w_out, corner, lanes(t), m, n)
                    for i in range(n):
                        v_store_n(
                            t, wp + (d.place[(start + i) % d.filter] * v.depth + c + (start + i) // d.filter) * lanes(t) + lane, height,
                            v_load_n(t, corner + i * lanes(t), m),
                        )


cdef void pack(Panels *d) noexcept nogil:
    if d.double_precision:
        pack_weights(<double>0, d)
    else:
        pack_weights(<float>0, d)


cdef void sum_weights(real t, Panels *d) noexcept nogil:
    """Add up the private copies, in order, and lay the sum out as dw and db."""
    cdef Gather *v = &d.v
    cdef i64 size = (v.k + 1) * lanes(t)
    cdef i64 slices = ceil_div(v.channels, lanes(t))
    cdef i64 slice_, block, start, i, n, m, chunk
    cdef const real *sums
    cdef const real *row
    cdef real corner[256]
    cdef vec s
    for slice_ in range(slices):
        sums = <const real *>v.private_ + slice_ * size
        m = min(v.channels - slice_ * lanes(t), <i64>lanes(t))
        for block in range(ceil_div(v.k + 1, lanes(t))):
            start = block * lanes(t)
            n = min(v.k + 1 - start, <i64>lanes(t))
            for i in range(n):
                row = sums + (start + i) // d.filter * lanes(t) + (start + i) % d.filter * v.depth * lanes(t) if start + i < v.k else sums + v.k * lanes(t)
                s = v_load(row)
                for chunk in range(1, v.chunks):
                    s = v_add(t, s, v_load(row + chunk * slices * size))
                v_store(corner + i * lanes(t), s)
            if start + n > v.k:
                n -= 1
                if v.db != NULL:
                    v_store_n(t, <real *>v.db + slice_ * lanes(t), m, s)
            square(t, corner, lanes(t), <real *>v.dw + slice_ * lanes(t) * v.k + start, v.k, n, m)


cdef void lay_out(Panels *d) noexcept nogil:
    if d.double_precision:
        sum_weights(<double>0, d)
    else:
        sum_weights(<float>0, d)


cdef inline vec spread(real t, bint broadcast, const real *x, i64 n, const i32 *index, i64 c) noexcept nogil:
    """Channel c of each group of a pixel, in all lanes of the group."""
    return v_set(x[c]) if broadcast else v_permute(v_load_n(t, x, n), v_load(index + c * (LM_VB // 4)))


cdef inline void three(
    real t, int mr, bint broadcast, int kw, int first, const real *a, i64 ars, const i32 *index, i64 l, const vec *w, vec *acc,
) noexcept nogil:
    """Pixels first, first + 1 and first + 2 of the source, where a is the first, for all sums they are in. (GCC unrolls no loop over all of them.)"""
    cdef vec x
    cdef int u, j
    for u in range(3):
        if first + u < mr + kw - 1:
            x = spread(t, broadcast, a + u * ars, lanes(t), index, 0 if broadcast else l)
            for j in range(kw):
                if 0 <= first + u - j and first + u - j < mr:
                    acc[first + u - j] = v_fma(t, x, w[j], acc[first + u - j])


cdef inline void pixels(
    real t, int mr, bint broadcast, int kw, i64 runs, const i64 *ao, i64 depth, const i32 *index, const real *a, i64 ars, const real *b,
    real *c, i64 ldc, i64 n, const Epilogue *e,
) noexcept nogil:
    """mr (a constant) pixels of a row, the first n channels of a slice; taps in runs of kw neighbours."""
    cdef vec acc[14]
    cdef vec done[14]
    cdef vec w[3]
    cdef const real *ap[6]          # as in tile.pxd: of pixels 0, 3, 6, ..
    cdef i64 q, l
    cdef int i, j
    for i in range(mr):
        acc[i] = v_fresh_zero()
    for q in range(runs):
        for i in range((mr + kw + 1) // 3):
            ap[i] = <const real *>opaque(a + ao[q] + 3 * i * ars)
        for l in range(depth):
            for j in range(kw):
                w[j] = v_load(b + j * depth * lanes(t))
            three(t, mr, broadcast, kw, 0, ap[0], ars, index, l, w, acc)
            if mr + kw > 4:
                three(t, mr, broadcast, kw, 3, ap[1], ars, index, l, w, acc)
            if mr + kw > 7:
                three(t, mr, broadcast, kw, 6, ap[2], ars, index, l, w, acc)
            if mr + kw > 10:
                three(t, mr, broadcast, kw, 9, ap[3], ars, index, l, w, acc)
            if mr + kw > 13:
                three(t, mr, broadcast, kw, 12, ap[4], ars, index, l, w, acc)
            if mr + kw > 16:
                three(t, mr, broadcast, kw, 15, ap[5], ars, index, l, w, acc)
            for i in range((mr + kw + 1) // 3):
                ap[i] = <const real *>opaque(ap[i] + (1 if broadcast else 0))
            b += lanes(t)
        b += (kw - 1) * depth * lanes(t)
    for i in range(mr):
        done[i] = v_pin(acc[i])
    for i in range(mr):
        v_store_n(t, c + i * ldc, n, finish(t, done[i], e, c + i * ldc, n, i, 0))


cdef inline void gradients(
    real t, int depth, bint broadcast, int kw, bint shared, i64 rows, const i32 *index,
    const real *x, i64 channels, i64 row, i64 width, i64 sx, i64 first, i64 apart,
    const real *g, i64 column, i64 g_row, i64 columns, i64 n, real *c, i64 tap,
) noexcept nogil:
    """c[j * tap + l] += the sum over rows x columns pixels of channel l of each group under tap j times g, for l < depth and j < kw (constants).

    x and g are where column 0 is; tap j reads column q * sx + first + j * apart. shared: sx = apart = 1, so that a pixel is spread once for all taps.
    """
    cdef vec acc[3][8]
    cdef vec gv[3]
    cdef vec s
    cdef i64 _r, q
    cdef int j, l
    for j in range(kw):
        for l in range(depth):
            acc[j][l] = v_fresh_zero()
    for _r in range(rows):
        if shared:
            for q in range(max(first, <i64>0) - first, min(width - first, columns + kw - 1)):
                if kw - 1 <= q and q < columns:
                    for j in range(kw):
                        gv[j] = v_load_n(t, g + (q - j) * column, n)
                    for l in range(depth):
                        s = spread(t, broadcast, x + (q + first) * channels, n, index, l)
                        for j in range(kw):
                            acc[j][l] = v_fma(t, s, gv[j], acc[j][l])
                else:
                    for j in range(kw):
                        if 0 <= q - j and q - j < columns:
                            gv[0] = v_load_n(t, g + (q - j) * column, n)
                            for l in range(depth):
                                acc[j][l] = v_fma(t, spread(t, broadcast, x + (q + first) * channels, n, index, l), gv[0], acc[j][l])
        else:
            for q in range(columns):
                gv[0] = v_load_n(t, g + q * column, n)
                for j in range(kw):
                    if 0 <= q * sx + first + j * apart and q * sx + first + j * apart < width:
                        for l in range(depth):
                            acc[j][l] = v_fma(
                                t, spread(t, broadcast, x + (q * sx + first + j * apart) * channels, n, index, l), gv[0], acc[j][l])
        x += row
        g += g_row
    for j in range(kw):
        for l in range(depth):
            v_store(c + j * tap + l * lanes(t), v_add(t, v_load(c + j * tap + l * lanes(t)), v_pin(acc[j][l])))


cdef extern from "tile.h" nogil:
    ctypedef void (*pixels_f32)(
        float, int, bint, int, i64, const i64 *, i64, const i32 *, const float *, i64, const float *, float *, i64, i64, const Epilogue *) noexcept
    ctypedef void (*pixels_f64)(
        double, int, bint, int, i64, const i64 *, i64, const i32 *, const double *, i64, const double *, double *, i64, i64, const Epilogue *) noexcept
    ctypedef void (*gradients_f32)(
        float, int, bint, int, bint, i64, const i32 *, const float *, i64, i64, i64, i64, i64, i64, const float *, i64, i64, i64, i64, float *, i64,
    ) noexcept
    ctypedef void (*gradients_f64)(
        double, int, bint, int, bint, i64, const i32 *, const double *, i64, i64, i64, i64, i64, i64, const double *, i64, i64, i64, i64, double *, i64,
    ) noexcept
    void pixels_switch_f32 "lm_switch_rows"(
        pixels_f32, float, i64, bint, int, i64, const i64 *, i64, const i32 *, const float *, i64, const float *, float *, i64, i64, const Epilogue *,
    ) noexcept
    void pixels_switch_f64 "lm_switch_rows"(
        pixels_f64, double, i64, bint, int, i64, const i64 *, i64, const i32 *, const double *, i64, const double *, double *, i64, i64, const Epilogue *,
    ) noexcept
    void gradients_switch_f32 "lm_switch_powers"(
        gradients_f32, float, i64, bint, int, bint, i64, const i32 *, const float *, i64, i64, i64, i64, i64, i64,
        const float *, i64, i64, i64, i64, float *, i64,
    ) noexcept
    void gradients_switch_f64 "lm_switch_powers"(
        gradients_f64, double, i64, bint, int, bint, i64, const i32 *, const double *, i64, i64, i64, i64, i64, i64,
        const double *, i64, i64, i64, i64, double *, i64,
    ) noexcept


cdef inline void pixels_of(
    real t, bint broadcast, int kw, Grouped *d, i64 mr, const real *a, const real *b, real *c, i64 n, const Epilogue *e,
) noexcept nogil:
    """`pixels` with a constant mr; broadcast and kw must be constants at the call."""
    cdef Gather *v = &d.d.v
    if real is float:
        pixels_switch_f32(
            pixels[float], t, mr, broadcast, kw, v.taps // kw, d.d.ao, v.depth, d.spread, a, v.sx * v.channels, b, c, v.dst_column, n, e)
    else:
        pixels_switch_f64(
            pixels[double], t, mr, broadcast, kw, v.taps // kw, d.d.ao, v.depth, d.spread, a, v.sx * v.channels, b, c, v.dst_column, n, e)


cdef void band_task(real t, Grouped *d, i64 task, i64 slot) noexcept nogil:
    """One band of one image."""
    cdef Gather *v = &d.d.v
    cdef i64 image = task // v.bands
    cdef i64 r0 = task % v.bands * v.band_rows
    cdef i64 rows = min(v.band_rows, v.rows - r0)
    cdef i64 slice_, r, q, mr, n
    cdef const real *band = bring(t, v, image, r0, rows, 0, v.columns, slot)
    cdef const real *a
    cdef const real *wp
    cdef real *c
    cdef Epilogue e = d.d.e
    if d.d.fill:
        fill_rows(t, v, image, r0, rows)
    for r in range(rows):
        q = 0
        while q < v.columns:
            mr = min(d.mr, v.columns - q)
            for slice_ in range(d.slices):
                n = min(v.channels - slice_ * lanes(t), <i64>lanes(t))
                a = band + (r * v.sy * v.pitch + q * v.sx) * v.channels + slice_ * lanes(t)
                wp = <const real *>v.wp + (slice_ * d.d.filter + d.d.first_tap) * v.depth * lanes(t)
                c = <real *>v.dst + v.dst_first + image * v.dst_image + (r0 + r) * v.dst_row + q * v.dst_column + slice_ * lanes(t)
                if e.bias_kind == BIAS_COLUMN:
                    e.bias = <const real *>d.d.e.bias + slice_ * lanes(t)
                if d.broadcast and d.kw == 3:
                    pixels_of(t, True, 3, d, mr, a, wp, c, lanes(t), &e)
                elif d.broadcast:
                    pixels_of(t, True, 1, d, mr, a, wp, c, lanes(t), &e)
                elif d.kw == 3:
                    pixels_of(t, False, 3, d, mr, a, wp, c, n, &e)
                else:
                    pixels_of(t, False, 1, d, mr, a, wp, c, n, &e)
            q += mr


cdef inline void gradients_of(
    real t, bint broadcast, int kw, bint shared, Grouped *d, i64 run, i64 c0, i64 rows, const real *x, const real *g, i64 n, real *c,
) noexcept nogil:
    """`gradients` of a run of taps and a block of channels, with a constant depth; broadcast, kw and shared must be constants at the call."""
    cdef Gather *v = &d.d.v
    cdef i64 tap = v.depth * lanes(t)
    if real is float:
        gradients_switch_f32(
            gradients[float], t, d.block, broadcast, kw, shared, rows, d.spread, x + c0, v.channels, v.sy * v.width * v.channels, v.width, v.sx,
            v.tx[run * kw], d.apart, g, v.dst_column, v.dst_row, v.columns, n, c + run * kw * tap + c0 * lanes(t), tap)
    else:
        gradients_switch_f64(
            gradients[double], t, d.block, broadcast, kw, shared, rows, d.spread, x + c0, v.channels, v.sy * v.width * v.channels, v.width, v.sx,
            v.tx[run * kw], d.apart, g, v.dst_column, v.dst_row, v.columns, n, c + run * kw * tap + c0 * lanes(t), tap)


cdef void slice_gradients(real t, Grouped *d, i64 image, i64 r0, i64 r1, i64 slice_, real *c) noexcept nogil:
    """Add rows r0 to r1 of an image to the private dw of a slice."""
    cdef Gather *v = &d.d.v
    cdef i64 n = min(v.channels - slice_ * lanes(t), <i64>lanes(t))
    cdef i64 run, y, low, high, block, c0
    cdef const real *x
    cdef const real *g
    for run in range(v.taps // d.kw):
        y = v.ty[run * d.kw]
        low = max(r0, ceil_div(max(-y, <i64>0), v.sy))
        high = min(r1, ceil_div(max(v.height - y, <i64>0), v.sy))
        if low >= high:
            continue
        x = <const real *>v.src + (image * v.height + low * v.sy + y) * v.width * v.channels + slice_ * lanes(t)
        g = <const real *>v.dst + image * v.dst_image + low * v.dst_row + slice_ * lanes(t)
        for block in range(v.depth // d.block):
            c0 = block * d.block
            if d.broadcast and d.kw == 3 and v.sx == 1 and d.apart == 1:
                gradients_of(t, True, 3, True, d, run, c0, high - low, x, g, lanes(t), c)
            elif d.broadcast and d.kw == 3:
                gradients_of(t, True, 3, False, d, run, c0, high - low, x, g, lanes(t), c)
            elif d.broadcast:
                gradients_of(t, True, 1, False, d, run, c0, high - low, x, g, lanes(t), c)
            elif d.kw == 3 and v.sx == 1 and d.apart == 1:
                gradients_of(t, False, 3, True, d, run, c0, high - low, x, g, n, c)
            elif d.kw == 3:
                gradients_of(t, False, 3, False, d, run, c0, high - low, x, g, n, c)
            else:
                gradients_of(t, False, 1, False, d, run, c0, high - low, x, g, n, c)


cdef void chunk_task(real t, Grouped *d, i64 task, i64 slot) noexcept nogil:
    """The private dw of a chunk of bands, for a block of slices."""
    cdef Gather *v = &d.d.v
    cdef i64 size = (v.k + 1) * lanes(t)
    cdef i64 chunk = task // d.d.blocks
    cdef i64 first = task % d.d.blocks * d.d.block_panels
    cdef i64 last = min(first + d.d.block_panels, d.slices)
    cdef i64 units = v.mb * v.bands
    cdef i64 pixel = v.channels * sizeof(real)
    cdef real *sums = <real *>v.private_ + chunk * d.slices * size
    cdef i64 unit, image, r0, r1, y0, y1, slice_, r, q
    cdef const real *g
    cdef vec s
    memset(sums + first * size, 0, (last - first) * size * sizeof(real))
    for unit in range(chunk * units // v.chunks, (chunk + 1) * units // v.chunks):
        image = unit // v.bands
        r0 = unit % v.bands * v.band_rows
        r1 = min(r0 + v.band_rows, v.rows)
        y0 = max(<i64>0, r0 * v.sy + v.y_low)
        y1 = max(y0, min(v.height, (r1 - 1) * v.sy + v.y_high + 1))
        fetch(v.src + ((image * v.height + y0) * v.width * v.channels + first * lanes(t)) * sizeof(real), (y1 - y0) * v.width, pixel, (last - first) * LM_VB)
        fetch(v.dst + ((image * v.rows + r0) * v.columns * v.channels + first * lanes(t)) * sizeof(real), (r1 - r0) * v.columns, pixel, (last - first) * LM_VB)
        for slice_ in range(first, last):
            slice_gradients(t, d, image, r0, r1, slice_, sums + slice_ * size)
            if v.db != NULL:
                s = v_load(sums + slice_ * size + v.k * lanes(t))
                g = <const real *>v.dst + image * v.dst_image + slice_ * lanes(t)
                for r in range(r0, r1):
                    for q in range(v.columns):
                        s = v_add(t, s, v_load_n(t, g + r * v.dst_row + q * v.dst_column, min(v.channels - slice_ * lanes(t), <i64>lanes(t))))
                v_store(sums + slice_ * size + v.k * lanes(t), s)


cdef void band_f32(void *d, i64 task, i64 slot) noexcept nogil:
    band_task(<float>0, <Grouped *>d, task, slot)


cdef void band_f64(void *d, i64 task, i64 slot) noexcept nogil:
    band_task(<double>0, <Grouped *>d, task, slot)


cdef void chunk_f32(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<float>0, <Grouped *>d, task, slot)


cdef void chunk_f64(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<double>0, <Grouped *>d, task, slot)


cdef void run_gather(Panels *d, i64 slots) noexcept nogil:
    cdef double flops = 2.0 * d.v.mb * d.v.rows * d.v.columns * d.v.channels * d.v.depth * d.v.taps
    parallel_for(band_f64 if d.double_precision else band_f32, d, d.v.mb * d.v.bands, 2 * flops / d.rate, slots)


cdef void run_weight(Panels *d, i64 slots) noexcept nogil:
    cdef double flops = 2.0 * d.v.mb * d.v.rows * d.v.columns * d.v.channels * d.v.k
    parallel_for(chunk_f64 if d.double_precision else chunk_f32, d, d.v.chunks * d.blocks, 2 * flops / d.rate, slots)


def scratch(pass_, p):
    """Index tables and packed weights, or private copies of dw, shared; a band in slices per thread."""
    cdef Grouped d
    tables, panels, work = scratch_of(&d.d, sizeof(Grouped), plan, pass_, p)
    return tables + panels, work


def transformed(pass_, p):
    """Bytes of the packed weights or private copies of dw."""
    cdef Grouped d
    return scratch_of(&d.d, sizeof(Grouped), plan, pass_, p)[1]


def forward(p, cnp.ndarray x, cnp.ndarray w, b, cnp.ndarray out, cnp.ndarray scratch):
    cdef Grouped d
    run_forward(&d.d, sizeof(Grouped), plan, pack, run_gather, p, x, w, b, out, scratch)


def backward_input(p, cnp.ndarray g, cnp.ndarray w, cnp.ndarray dx, cnp.ndarray scratch):
    cdef Grouped d
    run_backward_input(&d.d, sizeof(Grouped), plan, pack, run_gather, p, g, w, dx, scratch)


def backward_weight(p, cnp.ndarray x, cnp.ndarray g, cnp.ndarray dw, db, cnp.ndarray scratch):
    cdef Grouped d
    run_backward_weight(&d.d, sizeof(Grouped), plan, run_weight, lay_out, p, x, g, dw, db, scratch)
