"""Grouped convolution with few channels per group: a register holds the channels of several groups.

    dst[n, r, q, o] = sum over taps t and the channels c of o's group of  src[n, r*sy + ty[t], q*sx + tx[t], o // m * m + c] * w[o, c, t]        (gather.pxd)
    dw[o, c, t] = sum over n, r, q of  x[n, r*sy + ty[t], q*sx + tx[t], o // m * m + c] * g[n, r, q, o]

Shapes   images (mb, groups * m, h, w) in channels-last memory, weights (groups * m, m, kh, kw): as many channels out as in, m of which a register
         holds a whole number
Packed   wp[slice][tap][c][lanes]: a slice is a register of output channels. Bands of the image are copied into slices, too (gather.pxd).
Tile     up to mr pixels x one register; one step (tap, c) is a load of weights, and for each pixel a load of its slice, a permutation that puts
         channel c of each group into all lanes of the group, and an FMA

             pixel  a0 a1 a2 a3 b0 b1 b2 b3 ..      m = 4, c = 1        a1 a1 a1 a1 b1 b1 b1 b1 ..

         backward_weight: the m sums of a tap, twice (even and odd pixels)

Loops    tasks: image, band of rows      the band stays in L2
         slices, rows, tiles of the row, taps, channels of a group
         backward_weight: tasks are chunks of bands with a private dw each, summed in order afterwards; slices, taps, rows, pixels
Edges    the last slice is masked
Cost     2 * mb * oc * oh * ow * m * kh * kw flops, one permutation per FMA
Gains    over cy_direct, which leaves all but m lanes idle
Loses    once m fills a register
After    the shuffles of grouped kernels in XNNPACK; Zhang, Franchetti, Low, ICML 2018, for the rest.
"""
cimport numpy as cnp
from libc.string cimport memset

from lamella.kernels._common.pool cimport parallel_for
from lamella.kernels._common.simd cimport LM_MR, LM_VB, lanes, v_add, v_fma, v_load, v_load_n, v_permute, v_pin, v_store, v_store_n, v_zero, vec
from lamella.kernels._common.tile cimport BIAS_COLUMN, Epilogue, finish
from lamella.kernels._common.types cimport i32, i64, real
from lamella.kernels.conv2d.gather cimport BAND, CHUNKS, UNITS, Gather, aligned, bring_slices, ceil_div, slices_of, source_row, source_rows
from lamella.kernels.conv2d.panels cimport Panels, fill_rows, run_backward_input, run_backward_weight, run_forward, scratch_of

cnp.import_array()

cdef struct Grouped:
    Panels d
    i64 pitch               # pixels from row to row of a slice
    i64 mr
    i32 spread[16 * 16]     # spread[c]: the lanes of channel c of each group


cdef inline i64 lanes_of(Panels *d) noexcept nogil:
    return LM_VB // d.item


cdef void plan(Panels *p) noexcept nogil:
    cdef Grouped *d = <Grouped *>p
    cdef Gather *v = &p.v
    cdef i64 wide = LM_VB // 4, words = p.item // 4             # 32-bit lanes; of one value
    cdef i64 lane, c, t
    v.band_rows = (BAND // max(source_row(v, v.columns, p.item), <i64>1) - (v.y_high - v.y_low)) // v.sy
    v.band_rows = max(<i64>1, min(v.band_rows, min(v.rows, max(ceil_div(v.rows * v.mb, UNITS), <i64>2))))
    v.bands = ceil_div(v.rows, v.band_rows)
    d.pitch = (v.columns - 1) * v.sx + v.x_high - v.x_low + 1
    v.band_bytes = aligned(slices_of(v, lanes_of(p)) * LM_VB * source_rows(v, v.band_rows) * d.pitch)
    p.work_bytes = v.band_bytes
    d.mr = ceil_div(v.columns, max(ceil_div(v.columns, LM_MR), <i64>1))
    v.chunks = max(<i64>1, min(<i64>CHUNKS, v.mb * v.bands))
    for t in range(v.taps):
        p.ao[t] = ((v.ty[t] - v.y_low) * d.pitch + v.tx[t] - v.x_low) * lanes_of(p)
    for c in range(v.depth):
        for lane in range(wide):
            d.spread[c * wide + lane] = <i32>((lane // words // v.depth * v.depth + c) * words + lane % words)


cdef inline i64 weight_of(Gather *v, i64 channel, i64 c) noexcept nogil:
    """Where in w the taps between channel c of a group and an output channel lie."""
    return channel // v.depth * v.w_group + c * v.w_in + channel % v.depth * v.w_out


cdef void pack_weights(real t, Panels *d) noexcept nogil:
    cdef Gather *v = &d.v
    cdef real *wp = <real *>v.wp
    cdef i64 slice_, lane, c, tap, channel
    for slice_ in range(slices_of(v, lanes(t))):
        for lane in range(lanes(t)):
            channel = slice_ * lanes(t) + lane
            for c in range(v.depth):
                for tap in range(d.filter):
                    wp[((slice_ * d.filter + d.place[tap]) * v.depth + c) * lanes(t) + lane] = (
                        (<const real *>v.w)[weight_of(v, channel, c) + tap] if channel < v.channels else 0
                    )


cdef void pack(Panels *d) noexcept nogil:
    if d.double_precision:
        pack_weights(<double>0, d)
    else:
        pack_weights(<float>0, d)


cdef void sum_weights(real t, Panels *d) noexcept nogil:
    cdef Gather *v = &d.v
    cdef i64 size = (v.k + 1) * lanes(t)
    cdef i64 step = slices_of(v, lanes(t)) * size
    cdef i64 chunk, i, channel, c, tap
    cdef real *sums = <real *>v.private_
    for i in range(step // lanes(t)):
        for chunk in range(1, v.chunks):
            v_store(sums + i * lanes(t), v_add(t, v_load(sums + i * lanes(t)), v_load(sums + chunk * step + i * lanes(t))))
    for channel in range(v.channels):
        sums = <real *>v.private_ + channel // lanes(t) * size + channel % lanes(t)
        for c in range(v.depth):
            for tap in range(d.filter):
                (<real *>v.dw)[weight_of(v, channel, c) + tap] = sums[(tap * v.depth + c) * lanes(t)]
        if v.db != NULL:
            (<real *>v.db)[channel] = sums[v.k * lanes(t)]


cdef void lay_out(Panels *d) noexcept nogil:
    if d.double_precision:
        sum_weights(<double>0, d)
    else:
        sum_weights(<float>0, d)


cdef inline void pixels(
    real t, int mr, i64 taps, const i64 *ao, i64 depth, const i32 *spread, const real *a, i64 ars, const real *b, real *c, i64 ldc, i64 n,
    const Epilogue *e,
) noexcept nogil:
    """mr (a constant) pixels of a row, the first n channels of a slice."""
    cdef vec acc[14]
    cdef vec done[14]
    cdef vec w, index
    cdef const real *ap
    cdef i64 q, l
    cdef int i
    for i in range(mr):
        acc[i] = v_zero()
    for q in range(taps):
        ap = a + ao[q]
        for l in range(depth):
            w = v_load(b)
            index = v_load(spread + l * (LM_VB // 4))
            for i in range(mr):
                acc[i] = v_fma(t, v_permute(v_load(ap + i * ars), index), w, acc[i])
            b += lanes(t)
    for i in range(mr):
        done[i] = v_pin(acc[i])
    for i in range(mr):
        v_store_n(t, c + i * ldc, n, finish(t, done[i], e, c + i * ldc, n, i, 0))


cdef inline void gradients(
    real t, int depth, i64 rows, i64 columns, const i32 *spread, const real *a, i64 ars, i64 row, const real *g, i64 gls, i64 g_row, i64 n, real *c,
) noexcept nogil:
    """c[l] += the sum over rows x columns pixels of channel l of each group times g, l < depth (a constant)."""
    cdef vec acc[2][14]
    cdef vec gv, x
    cdef i64 r, q
    cdef int h, l
    for h in range(2):
        for l in range(depth):
            acc[h][l] = v_zero()
    for r in range(rows):
        for q in range(columns // 2):
            for h in range(2):
                gv = v_load_n(t, g + r * g_row + (2 * q + h) * gls, n)
                x = v_load(a + r * row + (2 * q + h) * ars)
                for l in range(depth):
                    acc[h][l] = v_fma(t, v_permute(x, v_load(spread + l * (LM_VB // 4))), gv, acc[h][l])
        if columns % 2:
            gv = v_load_n(t, g + r * g_row + (columns - 1) * gls, n)
            x = v_load(a + r * row + (columns - 1) * ars)
            for l in range(depth):
                acc[0][l] = v_fma(t, v_permute(x, v_load(spread + l * (LM_VB // 4))), gv, acc[0][l])
    for l in range(depth):
        v_store(c + l * lanes(t), v_add(t, v_load(c + l * lanes(t)), v_add(t, acc[0][l], acc[1][l])))


cdef extern from "tile.h" nogil:
    ctypedef void (*pixels_f32)(
        float, int, i64, const i64 *, i64, const i32 *, const float *, i64, const float *, float *, i64, i64, const Epilogue *) noexcept
    ctypedef void (*pixels_f64)(
        double, int, i64, const i64 *, i64, const i32 *, const double *, i64, const double *, double *, i64, i64, const Epilogue *) noexcept
    ctypedef void (*gradients_f32)(
        float, int, i64, i64, const i32 *, const float *, i64, i64, const float *, i64, i64, i64, float *) noexcept
    ctypedef void (*gradients_f64)(
        double, int, i64, i64, const i32 *, const double *, i64, i64, const double *, i64, i64, i64, double *) noexcept
    void pixels_switch_f32 "lm_switch_rows"(
        pixels_f32, float, i64, i64, const i64 *, i64, const i32 *, const float *, i64, const float *, float *, i64, i64, const Epilogue *) noexcept
    void pixels_switch_f64 "lm_switch_rows"(
        pixels_f64, double, i64, i64, const i64 *, i64, const i32 *, const double *, i64, const double *, double *, i64, i64, const Epilogue *) noexcept
    void gradients_switch_f32 "lm_switch_powers"(
        gradients_f32, float, i64, i64, i64, const i32 *, const float *, i64, i64, const float *, i64, i64, i64, float *) noexcept
    void gradients_switch_f64 "lm_switch_powers"(
        gradients_f64, double, i64, i64, i64, const i32 *, const double *, i64, i64, const double *, i64, i64, i64, double *) noexcept


cdef void band_task(real t, Grouped *d, i64 task, i64 slot) noexcept nogil:
    """One band of one image."""
    cdef Gather *v = &d.d.v
    cdef i64 image = task // v.bands
    cdef i64 r0 = task % v.bands * v.band_rows
    cdef i64 rows = min(v.band_rows, v.rows - r0)
    cdef i64 step = v.sx * lanes(t)
    cdef i64 slice_, r, q, mr, n
    cdef const real *band
    cdef const real *a
    cdef const real *wp
    cdef real *c
    cdef Epilogue e = d.d.e
    bring_slices(t, v, lanes(t), image, r0, rows, slot)
    if d.d.fill:
        fill_rows(t, v, image, r0, rows)
    for slice_ in range(slices_of(v, lanes(t))):
        n = min(v.channels - slice_ * lanes(t), <i64>lanes(t))
        band = <const real *>(v.band + slot * v.band_bytes) + slice_ * source_rows(v, rows) * d.pitch * lanes(t)
        wp = <const real *>v.wp + (slice_ * d.d.filter + d.d.first_tap) * v.depth * lanes(t)
        if e.bias_kind == BIAS_COLUMN:
            e.bias = <const real *>d.d.e.bias + slice_ * lanes(t)
        for r in range(rows):
            a = band + r * v.sy * d.pitch * lanes(t)
            c = <real *>v.dst + v.dst_first + image * v.dst_image + (r0 + r) * v.dst_row + slice_ * lanes(t)
            q = 0
            while q < v.columns:
                mr = min(d.mr, v.columns - q)
                if real is float:
                    pixels_switch_f32(
                        pixels[float], t, mr, v.taps, d.d.ao, v.depth, d.spread, a + q * step, step, wp, c + q * v.dst_column, v.dst_column, n, &e)
                else:
                    pixels_switch_f64(
                        pixels[double], t, mr, v.taps, d.d.ao, v.depth, d.spread, a + q * step, step, wp, c + q * v.dst_column, v.dst_column, n, &e)
                q += mr


cdef void chunk_task(real t, Grouped *d, i64 chunk, i64 slot) noexcept nogil:
    """The private dw of a chunk of bands."""
    cdef Gather *v = &d.d.v
    cdef i64 slices = slices_of(v, lanes(t))
    cdef i64 size = (v.k + 1) * lanes(t)
    cdef i64 units = v.mb * v.bands
    cdef real *sums = <real *>v.private_ + chunk * slices * size
    cdef i64 unit, image, r0, rows, slice_, tap, n, r, q
    cdef const real *band
    cdef const real *g
    cdef real *c
    cdef vec s
    memset(sums, 0, slices * size * sizeof(real))
    for unit in range(chunk * units // v.chunks, (chunk + 1) * units // v.chunks):
        image = unit // v.bands
        r0 = unit % v.bands * v.band_rows
        rows = min(v.band_rows, v.rows - r0)
        bring_slices(t, v, lanes(t), image, r0, rows, slot)
        for slice_ in range(slices):
            n = min(v.channels - slice_ * lanes(t), <i64>lanes(t))
            band = <const real *>(v.band + slot * v.band_bytes) + slice_ * source_rows(v, rows) * d.pitch * lanes(t)
            g = <const real *>v.dst + image * v.dst_image + r0 * v.dst_row + slice_ * lanes(t)
            c = sums + slice_ * size
            for tap in range(v.taps):
                if real is float:
                    gradients_switch_f32(
                        gradients[float], t, v.depth, rows, v.columns, d.spread, band + d.d.ao[tap], v.sx * lanes(t), v.sy * d.pitch * lanes(t),
                        g, v.dst_column, v.dst_row, n, c + tap * v.depth * lanes(t))
                else:
                    gradients_switch_f64(
                        gradients[double], t, v.depth, rows, v.columns, d.spread, band + d.d.ao[tap], v.sx * lanes(t), v.sy * d.pitch * lanes(t),
                        g, v.dst_column, v.dst_row, n, c + tap * v.depth * lanes(t))
            if v.db != NULL:
                s = v_load(c + v.k * lanes(t))
                for r in range(rows):
                    for q in range(v.columns):
                        s = v_add(t, s, v_load_n(t, g + r * v.dst_row + q * v.dst_column, n))
                v_store(c + v.k * lanes(t), s)


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
    parallel_for(chunk_f64 if d.double_precision else chunk_f32, d, d.v.chunks, 2 * flops / d.rate, slots)


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
