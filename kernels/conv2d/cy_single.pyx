"""Convolution of images of one channel: the lanes of a register are the channels on the other side, whose memory is read and written in place.

    out[n, r, q, o] = act(b[o] + sum_{i, j} x[n, r - ph + i, q - pw + j] * w[o, i, j])
    dx[n, r, q] = sum_{i, j, o} g[n, r + ph - i, q + pw - j, o] * w[o, i, j]
    dw[o, i, j] = sum_{n, r, q} x[n, r - ph + i, q - pw + j] * g[n, r, q, o]

Shapes   x, dx (mb, 1, h, w), out, g (mb, oc, oh, ow) in channels-last memory, w (oc, 1, kh, kw) with kw 3 or 5; stride 1, no dilation, any padding
Lanes    channels, `pixels` times: two pixels of up to half as many channels as there are lanes, or one pixel of more
         forward, backward_weight: lane = (channel, pixel), neighbours, so that one instruction spreads the pixels of x over the register; what is stored
         or loaded is permuted to (pixel, channel), as it lies in memory
         backward_input: lane = (pixel, channel), pixels half a row apart, so that every load is aligned; sums over lanes in the end
Packed   wp[register of channels][1 + tap][lane]: the bias, then the weights of each tap
Tile     forward: registers of pixels of a row side by side; a tap is one register of weights and a spread load of x for each
         backward_weight: taps, as many rows of the filter as registers hold; a register of g is loaded once for all of them
         backward_input: registers of pixels of a row side by side; a row of the filter in registers, g loaded once for all its taps
Loops    tasks: bands of an image      the rows under a filter stay in L1
         rows, registers of channels, tiles
         backward_weight: tasks are chunks of bands with a private dw each, added in order afterwards
Memory   out, g and the next image's x are asked for ahead: there is too little arithmetic per line of out and g to hide the way from memory
Band     x: rows padded with zeros; g: so, too, and its pixels filled up to a register, or two to a register, of channels: addresses in a tile are constants
Edges    the last tile of a row begins early and computes some pixels twice; its last register is stored, or g loaded, in part
Cost     2 * mb * oc * oh * ow * kh * kw flops; no transposes
Gains    over cy_lanes, which transposes every channel of the larger side, and over cy_direct, whose depth is 1
Loses    where half of the lanes or more are empty
"""
cimport numpy as cnp
from libc.string cimport memcpy, memset

from lamella.kernels._common.pool cimport parallel_for
from lamella.kernels._common.simd cimport (
    LM_MR, LM_VB, lanes, v_add, v_fma, opaque, v_load, v_load_n, v_max, v_permute, v_pin, v_prefetch, v_set, v_store, v_store_n,
    v_zero, vec,
)
from lamella.kernels._common.tile cimport ACT_RELU, Epilogue, finish, plain
from lamella.kernels._common.transpose cimport sum_halves, sum_lanes
from lamella.kernels._common.types cimport i64, real
from lamella.kernels.conv2d.gather cimport IH, IW, KH, KW, MB, OC, OH, OW, PH, PW, aligned, ceil_div, epilogue

cnp.import_array()

cdef enum:
    BAND = 64 * 1024            # bytes of a band
    UNITS = 4                   # tasks wanted at least
    LOW = 7                     # rows of a band at least, if that many tasks can be had otherwise
    GRAIN = 12500               # ns of a task at least, likewise
    CHUNKS = 8                  # private copies of dw at most
    AHEAD = 8 * 1024            # bytes between what is read or written and what is asked for: memory may be that far away


cdef struct Single:
    bint double_precision
    i64 item
    double rate                 # flops per ns of one thread
    const char *src             # x, or g of backward_input
    char *dst                   # out or dx; g of backward_weight, which is read
    i64 mb, height, width       # of src
    i64 rows, columns           # of dst
    i64 depth                   # channels of src
    i64 top, left               # pixel (r, q) of dst sums over the pixels (r - top + i, q - left + j) of src
    i64 n, taps_y, taps_x, taps
    i64 pixels                  # of a register
    i64 wide                    # registers of channels
    i64 across, tiles, height_of_tile       # registers of a row's pixels; tiles of a row, registers of a tile
    i64 pitch                   # band: elements from row to row
    i64 band_rows, bands
    i64 chunks
    bint rotated
    Epilogue e
    const char *w
    const char *bias
    char *dw
    char *db
    char *order                 # permutation of a register from (channel, pixel) to (pixel, channel), and back
    char *wp                    # packed weights, or private dw
    char *local                 # bands, of slot 0
    i64 local_bytes


cdef inline bint two_pixels(real t) noexcept nogil:
    """Whether there are registers of two pixels at all."""
    return lanes(t) == 16


cdef inline vec spread(real t, int pixels, const real *x) noexcept nogil:
    """The values of neighbouring pixels, over and over."""
    cdef double pair
    if real is float:
        if pixels == 2:
            memcpy(&pair, x, 8)
            return v_set(pair)
    return v_set(x[0])


cdef inline void fetch(const char *start, i64 size) noexcept nogil:
    """Ask for memory that will be read."""
    cdef i64 i
    for i in range(ceil_div(size, 64)):
        v_prefetch(start + i * 64)


cdef inline void zero_row(real t, real *to, i64 count) noexcept nogil:
    """In whole registers: the row after it is written later, and there is room behind the last one."""
    cdef i64 i
    for i in range(ceil_div(count, lanes(t))):
        v_store(to + i * lanes(t), v_zero())


cdef inline void copy_row(real t, const real *src, i64 count, real *to) noexcept nogil:
    """Likewise, with zeros behind."""
    cdef i64 i
    for i in range(count // lanes(t)):
        v_store(to + i * lanes(t), v_load(src + i * lanes(t)))
    i = count // lanes(t) * lanes(t)
    if i < count:
        v_store(to + i, v_load_n(t, src + i, count - i))


cdef void bring(real t, Single *d, i64 image, i64 r0, i64 rows, real *band) noexcept nogil:
    """The rows of x under `rows` rows of dst from r0 on, with zeros outside of the image."""
    cdef i64 first = max(<i64>0, -d.left)
    cdef i64 start = max(<i64>0, d.left)
    cdef i64 count = max(<i64>0, min(d.width - first, d.pitch - start))
    cdef i64 row, y
    cdef const real *src
    for row in range(rows + d.taps_y - 1):
        y = r0 + row - d.top
        zero_row(t, band + row * d.pitch, d.pitch)
        if 0 <= y and y < d.height:
            src = <const real *>d.src + (image * d.height + y) * d.width + first
            copy_row(t, src, count, band + row * d.pitch + start)
            if image + 1 < d.mb:
                fetch(<const char *>(src + d.height * d.width), count * sizeof(real))


# forward

cdef inline void forward_tile(
    real t, int height, int pixels, i64 taps_y, i64 taps_x, const real *x, i64 pitch, const real *wp, const real *order,
    real *dst, i64 step, i64 n, i64 last, const Epilogue *e,
) noexcept nogil:
    """`height` registers of pixels, of n lanes each when stored, the last one of `last`, and `step` elements apart."""
    cdef vec acc[16]
    cdef vec w, turn
    cdef real block[16 * 16]
    cdef const real *at
    cdef int j
    cdef i64 i, k, _y
    w = v_load(wp)
    for j in range(height):
        acc[j] = w
        v_prefetch(dst + AHEAD // sizeof(real) + j * step)
    for _y in range(taps_y):
        for k in range(taps_x):
            wp += lanes(t)
            w = v_load(wp)
            at = <const real *>opaque(x + k)        # otherwise GCC passes values of x from one step to the next, through a shuffle
            for j in range(height):
                acc[j] = v_fma(t, w, spread(t, pixels, at + j * pixels), acc[j])
        x += pitch
    for j in range(height):
        acc[j] = v_pin(acc[j])
    turn = v_load(order)
    if e.act <= ACT_RELU:
        if e.act == ACT_RELU:
            for j in range(height):
                acc[j] = v_max(t, v_zero(), acc[j])
        if pixels > 1:
            for j in range(height):
                acc[j] = v_permute(acc[j], turn)
        for j in range(height - 1):
            v_store_n(t, dst + j * step, n, acc[j])
        v_store_n(t, dst + (height - 1) * step, last, acc[height - 1])
        return
    for j in range(height):
        v_store(block + j * lanes(t), acc[j])
    for i in range(height):
        w = finish(t, v_load(block + i * lanes(t)), e, block, lanes(t), 0, 0)
        v_store_n(t, dst + i * step, n if i + 1 < height else last, v_permute(w, turn) if pixels > 1 else w)


cdef extern from "tile.h" nogil:
    ctypedef void (*forward_f32)(
        float, int, int, i64, i64, const float *, i64, const float *, const float *, float *, i64, i64, i64, const Epilogue *) noexcept
    ctypedef void (*forward_f64)(
        double, int, int, i64, i64, const double *, i64, const double *, const double *, double *, i64, i64, i64, const Epilogue *) noexcept
    ctypedef void (*input_f32)(float, int, int, int, i64, i64, const float *, i64, i64, const float *, float *, i64, i64) noexcept
    ctypedef void (*input_f64)(double, int, int, int, i64, i64, const double *, i64, i64, const double *, double *, i64, i64) noexcept
    void switch_forward_f32 "lm_switch_rows"(
        forward_f32, float, i64, int, i64, i64, const float *, i64, const float *, const float *, float *, i64, i64, i64, const Epilogue *,
    ) noexcept
    void switch_forward_f64 "lm_switch_rows"(
        forward_f64, double, i64, int, i64, i64, const double *, i64, const double *, const double *, double *, i64, i64, i64, const Epilogue *,
    ) noexcept
    void switch_input_f32 "lm_switch_rows"(
        input_f32, float, i64, int, int, i64, i64, const float *, i64, i64, const float *, float *, i64, i64) noexcept
    void switch_input_f64 "lm_switch_rows"(
        input_f64, double, i64, int, int, i64, i64, const double *, i64, i64, const double *, double *, i64, i64) noexcept


cdef inline void forward_run(
    real t, i64 height, int pixels, i64 taps_y, i64 taps_x, const real *x, i64 pitch, const real *wp, const real *order,
    real *dst, i64 step, i64 n, i64 last, const Epilogue *e,
) noexcept nogil:
    """`forward_tile` with a constant height; pixels must be a constant at the call."""
    if real is float:
        switch_forward_f32(forward_tile[float], t, height, pixels, taps_y, taps_x, x, pitch, wp, order, dst, step, n, last, e)
    else:
        switch_forward_f64(forward_tile[double], t, height, pixels, taps_y, taps_x, x, pitch, wp, order, dst, step, n, last, e)


cdef void band_task(real t, Single *d, i64 task, i64 slot) noexcept nogil:
    cdef i64 image = task // d.bands
    cdef i64 r0 = task % d.bands * d.band_rows
    cdef i64 rows = min(d.band_rows, d.rows - r0)
    cdef i64 size = (1 + d.taps) * lanes(t)
    cdef i64 row, i, k, first, n, last, step
    cdef real *band = <real *>(d.local + slot * d.local_bytes)
    cdef const real *order = <const real *>d.order
    cdef const real *x
    cdef const real *wp
    cdef real *to
    bring(t, d, image, r0, rows, band)
    step = d.pixels * d.n
    for row in range(rows):
        for i in range(d.wide):
            wp = <const real *>d.wp + i * size
            n = min(step - i * lanes(t), <i64>lanes(t))
            for k in range(d.tiles):
                first = min(k * d.height_of_tile, d.across - d.height_of_tile)
                last = n
                if d.pixels == 2 and 2 * (first + d.height_of_tile) > d.columns:
                    last = d.n
                x = band + row * d.pitch + first * d.pixels
                to = <real *>d.dst + ((image * d.rows + r0 + row) * d.columns + first * d.pixels) * d.n + i * lanes(t)
                if two_pixels(t) and d.pixels == 2:
                    forward_run(t, d.height_of_tile, 2, d.taps_y, d.taps_x, x, d.pitch, wp, order, to, step, n, last, &d.e)
                else:
                    forward_run(t, d.height_of_tile, 1, d.taps_y, d.taps_x, x, d.pitch, wp, order, to, step, n, last, &d.e)


# backward_input

cdef void bring_channels(real t, Single *d, i64 image, i64 r0, i64 rows, real *band) noexcept nogil:
    """The band of g: band[register of channels][row][pixel][lane], a pixel's channels filled up with zeros to a register's; those of half a register
    share it with the pixel `across` further right."""
    cdef i64 size = lanes(t) // d.pixels
    cdef i64 wide = d.across + d.taps_x - 1
    cdef i64 row, y, c, q, n, half, offset
    cdef const real *src
    cdef real *line
    for c in range(d.wide):
        n = min(d.depth - c * size, size)
        for row in range(rows + d.taps_y - 1):
            y = r0 + row - d.top
            line = band + (c * (d.band_rows + d.taps_y - 1) + row) * d.pitch
            zero_row(t, line, d.pitch)
            if y < 0 or y >= d.height:
                continue
            src = <const real *>d.src + (image * d.height + y) * d.width * d.depth + c * size
            if image + 1 < d.mb:
                fetch(<const char *>src + AHEAD, d.width * size * sizeof(real))
            for half in range(d.pixels):
                offset = half * d.across - d.left
                for q in range(max(<i64>0, -offset), min(wide, d.width - offset)):
                    v_store_n(t, line + q * lanes(t) + half * size, size, v_load_n(t, src + (q + offset) * d.depth, n))


cdef inline void add_four(real t, int height, int taps_x, int first, const real *g, const vec *w, vec *acc) noexcept nogil:
    """Four registers of g, each to all the pixels it reaches. (GCC unrolls no loop over all of them.)"""
    cdef vec v
    cdef int j, k
    for j in range(4):
        if first + j < height + taps_x - 1:
            v = v_load(g + (first + j) * lanes(t))
            for k in range(taps_x):
                if 0 <= first + j - k and first + j - k < height:
                    acc[first + j - k] = v_fma(t, w[k], v, acc[first + j - k])


cdef inline void input_tile(
    real t, int height, int pixels, int taps_x, i64 taps_y, i64 wide, const real *g, i64 pitch, i64 plane, const real *wp, real *dst, i64 across,
    i64 count,
) noexcept nogil:
    """`height` pixels of a row of dx, and with two pixels per register `count` more, `across` further right."""
    cdef vec acc[16]
    cdef vec w[5]
    cdef vec v
    cdef int j, k
    cdef i64 i, c
    cdef const real *at
    cdef real sums[64]
    for j in range(height):
        acc[j] = v_zero()
    for c in range(wide):
        for i in range(taps_y):
            at = <const real *>opaque(g + c * plane + i * pitch)
            for k in range(taps_x):
                w[k] = v_pin(v_load(wp + k * lanes(t)))         # not read anew for every pixel
            wp += taps_x * lanes(t)
            add_four(t, height, taps_x, 0, at, w, acc)
            add_four(t, height, taps_x, 4, at, w, acc)
            add_four(t, height, taps_x, 8, at, w, acc)
            add_four(t, height, taps_x, 12, at, w, acc)
            add_four(t, height, taps_x, 16, at, w, acc)
    for j in range(height):
        acc[j] = v_pin(acc[j])
    for j in range(height, 16):
        acc[j] = v_zero()
    if pixels == 2:
        sum_halves(t, acc, &v)
        v_store_n(t, dst, height, acc[0])
        v_store_n(t, dst + across, count, v)
        return
    v_store(sums, sum_lanes(t, acc))
    if height > lanes(t):
        v_store(sums + lanes(t), sum_lanes(t, acc + lanes(t)))
    if height > 2 * lanes(t):
        v_store(sums + 2 * lanes(t), sum_lanes(t, acc + 2 * lanes(t)))
    memcpy(dst, sums, height * sizeof(real))


cdef inline void input_run(
    real t, i64 height, int pixels, int taps_x, i64 taps_y, i64 wide, const real *g, i64 pitch, i64 plane, const real *wp, real *dst, i64 across,
    i64 count,
) noexcept nogil:
    """`input_tile` with a constant height; pixels and taps_x must be constants at the call."""
    if real is float:
        switch_input_f32(input_tile[float], t, height, pixels, taps_x, taps_y, wide, g, pitch, plane, wp, dst, across, count)
    else:
        switch_input_f64(input_tile[double], t, height, pixels, taps_x, taps_y, wide, g, pitch, plane, wp, dst, across, count)


cdef void image_task(real t, Single *d, i64 task, i64 slot) noexcept nogil:
    """A band of dx."""
    cdef i64 image = task // d.bands
    cdef i64 r0 = task % d.bands * d.band_rows
    cdef i64 rows = min(d.band_rows, d.rows - r0)
    cdef i64 h = d.height_of_tile
    cdef i64 plane = (d.band_rows + d.taps_y - 1) * d.pitch
    cdef i64 row, k, first, count
    cdef real *band = <real *>(d.local + slot * d.local_bytes)
    cdef const real *g
    cdef const real *wp = <const real *>d.wp
    cdef real *to
    bring_channels(t, d, image, r0, rows, band)
    for row in range(rows):
        for k in range(d.tiles):
            first = min(k * h, d.across - h)
            count = min(h, d.columns - d.across - first)
            g = band + row * d.pitch + first * lanes(t)
            to = <real *>d.dst + (image * d.rows + r0 + row) * d.columns + first
            if two_pixels(t) and d.pixels == 2:
                if d.taps_x == 3:
                    input_run(t, h, 2, 3, d.taps_y, 1, g, d.pitch, plane, wp, to, d.across, count)
                else:
                    input_run(t, h, 2, 5, d.taps_y, 1, g, d.pitch, plane, wp, to, d.across, count)
            elif d.taps_x == 3:
                input_run(t, h, 1, 3, d.taps_y, d.wide, g, d.pitch, plane, wp, to, 0, 0)
            else:
                input_run(t, h, 1, 5, d.taps_y, d.wide, g, d.pitch, plane, wp, to, 0, 0)


# backward_weight

cdef inline void weight_tile(
    real t, int ny, int taps_x, int pixels, i64 rows, i64 across, const real *x, i64 pitch, const real *g, i64 line, i64 step, i64 n,
    const real *order, real *sums,
) noexcept nogil:
    """sums[tap] += g * x over a band, for ny rows of the filter; n lanes of a register of g are in use."""
    cdef vec acc[5][5]
    cdef vec gv, turn
    cdef int i, j
    cdef i64 r, _q
    cdef const real *gp
    cdef const real *xp[5]
    turn = v_load(order)
    for i in range(ny):
        for j in range(taps_x):
            acc[i][j] = v_load(sums + (i * taps_x + j) * lanes(t))
    for r in range(rows):
        gp = g + r * line
        for i in range(ny):
            xp[i] = <const real *>opaque(x + (r + i) * pitch)
        for _q in range(across):
            gv = v_load_n(t, gp, n)
            if pixels == 2:
                gv = v_permute(gv, turn)
            gv = v_pin(gv)
            v_prefetch(gp + AHEAD // sizeof(real))
            for i in range(ny):
                for j in range(taps_x):
                    acc[i][j] = v_fma(t, gv, spread(t, pixels, xp[i] + j), acc[i][j])
                xp[i] = <const real *>opaque(xp[i] + pixels)
            gp += step
    for i in range(ny):
        for j in range(taps_x):
            acc[i][j] = v_pin(acc[i][j])
    for i in range(ny):
        for j in range(taps_x):
            v_store(sums + (i * taps_x + j) * lanes(t), acc[i][j])


cdef inline i64 rows_at_once(i64 taps_x) noexcept nogil:
    """Rows of a filter whose sums the registers hold."""
    return 5 if LM_VB == 64 else 4 if taps_x == 3 else 2


cdef inline void weight_run(
    real t, i64 ny, int taps_x, int pixels, i64 rows, i64 across, const real *x, i64 pitch, const real *g, i64 line, i64 step, i64 n,
    const real *order, real *sums,
) noexcept nogil:
    """`weight_tile` with a constant ny; taps_x and pixels must be constants at the call."""
    if ny == 1:
        weight_tile(t, 1, taps_x, pixels, rows, across, x, pitch, g, line, step, n, order, sums)
    elif ny == 2:
        weight_tile(t, 2, taps_x, pixels, rows, across, x, pitch, g, line, step, n, order, sums)
    elif LM_VB == 64 or taps_x == 3:
        if ny == 3:
            weight_tile(t, 3, taps_x, pixels, rows, across, x, pitch, g, line, step, n, order, sums)
        elif ny == 4:
            weight_tile(t, 4, taps_x, pixels, rows, across, x, pitch, g, line, step, n, order, sums)
        elif LM_VB == 64:
            weight_tile(t, 5, taps_x, pixels, rows, across, x, pitch, g, line, step, n, order, sums)


cdef void chunk_task(real t, Single *d, i64 chunk, i64 slot) noexcept nogil:
    """The private dw of a chunk of bands, a register per tap, and one more for db."""
    cdef i64 units = d.mb * d.bands
    cdef i64 size = (d.taps + 1) * lanes(t)
    cdef i64 line = d.columns * d.n
    cdef i64 step = d.pixels * d.n
    cdef i64 unit, image, r0, rows, i, y, ny, n, k
    cdef real *band = <real *>(d.local + slot * d.local_bytes)
    cdef real *sums = <real *>d.wp + chunk * d.wide * size
    cdef const real *order = <const real *>d.order
    cdef const real *g
    cdef const real *x
    cdef real *to
    cdef vec s
    memset(sums, 0, d.wide * size * sizeof(real))
    for unit in range(chunk * units // d.chunks, (chunk + 1) * units // d.chunks):
        image = unit // d.bands
        r0 = unit % d.bands * d.band_rows
        rows = min(d.band_rows, d.rows - r0)
        bring(t, d, image, r0, rows, band)
        for i in range(d.wide):
            g = <const real *>d.dst + (image * d.rows + r0) * line + i * lanes(t)
            n = min(step - i * lanes(t), <i64>lanes(t))
            y = 0
            while y < d.taps_y:
                ny = min(d.taps_y - y, rows_at_once(d.taps_x))
                x = band + y * d.pitch
                to = sums + i * size + y * d.taps_x * lanes(t)
                if two_pixels(t) and d.pixels == 2:
                    if d.taps_x == 3:
                        weight_run(t, ny, 3, 2, rows, d.across, x, d.pitch, g, line, step, n, order, to)
                    else:
                        weight_run(t, ny, 5, 2, rows, d.across, x, d.pitch, g, line, step, n, order, to)
                elif d.taps_x == 3:
                    weight_run(t, ny, 3, 1, rows, d.across, x, d.pitch, g, line, step, n, order, to)
                else:
                    weight_run(t, ny, 5, 1, rows, d.across, x, d.pitch, g, line, step, n, order, to)
                y += ny
            if d.db != NULL:
                to = sums + (i + 1) * size - lanes(t)
                s = v_zero()
                for k in range(rows * d.across):
                    s = v_add(t, s, v_load_n(t, g + k * step, n))
                if two_pixels(t) and d.pixels == 2:
                    s = v_permute(s, v_load(order))
                v_store(to, v_add(t, s, v_load(to)))


cdef void sum_task(real t, Single *d) noexcept nogil:
    """dw and db from the private copies, in order."""
    cdef i64 size = (d.taps + 1) * lanes(t)
    cdef i64 i, k, chunk, c, o
    cdef const real *at
    cdef real total[16]
    cdef real value
    cdef vec s
    for i in range(d.wide):
        for k in range(d.taps + (d.db != NULL)):
            at = <const real *>d.wp + i * size + k * lanes(t)
            s = v_load(at)
            for chunk in range(1, d.chunks):
                s = v_add(t, s, v_load(at + chunk * d.wide * size))
            v_store(total, s)
            for c in range(min(d.n - i * lanes(t), <i64>lanes(t))):
                o = i * lanes(t) + c
                value = total[c] if d.pixels == 1 else total[2 * c] + total[2 * c + 1]
                if k < d.taps:
                    (<real *>d.dw)[o * d.taps + k] = value
                else:
                    (<real *>d.db)[o] = value


cdef void pack(real t, Single *d) noexcept nogil:
    """The weights of every tap as the lanes want them."""
    cdef i64 channels = d.depth if d.rotated else d.n
    cdef i64 size = (d.taps + (not d.rotated)) * lanes(t)
    cdef i64 c, k, e
    cdef real *to
    memset(d.wp, 0, d.wide * size * sizeof(real))
    for c in range(channels):
        for e in range(d.pixels):
            to = <real *>d.wp
            if d.pixels == 1:
                to += c // lanes(t) * size + c % lanes(t)
            else:
                to += e * lanes(t) // 2 + c if d.rotated else 2 * c + e
            if not d.rotated:
                to[0] = (<const real *>d.bias)[c] if d.bias != NULL else 0
                to += lanes(t)
            for k in range(d.taps):
                to[k * lanes(t)] = (<const real *>d.w)[c * d.taps + (d.taps - 1 - k if d.rotated else k)]


cdef void band_f32(void *d, i64 task, i64 slot) noexcept nogil:
    band_task(<float>0, <Single *>d, task, slot)


cdef void band_f64(void *d, i64 task, i64 slot) noexcept nogil:
    band_task(<double>0, <Single *>d, task, slot)


cdef void image_f32(void *d, i64 task, i64 slot) noexcept nogil:
    image_task(<float>0, <Single *>d, task, slot)


cdef void image_f64(void *d, i64 task, i64 slot) noexcept nogil:
    image_task(<double>0, <Single *>d, task, slot)


cdef void chunk_f32(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<float>0, <Single *>d, task, slot)


cdef void chunk_f64(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<double>0, <Single *>d, task, slot)


cdef double time_of(Single *d) noexcept nogil:
    return 2.0 * d.mb * d.rows * d.across * d.wide * d.taps * LM_VB / d.item / d.rate


cdef void plan(Single *d, const i64 *p, bint double_precision, pass_) noexcept:
    """Sizes and cuts, from the geometry alone."""
    cdef bint weight = pass_ == "backward_weight"
    cdef i64 width, planes
    memset(d, 0, sizeof(Single))
    d.double_precision = double_precision
    d.item = 8 if double_precision else 4
    d.rate = LM_VB / 2.0 * (1 if double_precision else 2)
    d.e = plain()
    width = LM_VB // d.item
    d.mb, d.taps_y, d.taps_x, d.taps = p[MB], p[KH], p[KW], p[KH] * p[KW]
    d.rotated = pass_ == "backward_input"
    if d.rotated:
        d.height, d.width, d.depth, d.rows, d.columns, d.n = p[OH], p[OW], p[OC], p[IH], p[IW], 1
        d.top, d.left = p[KH] - 1 - p[PH], p[KW] - 1 - p[PW]
    else:
        d.height, d.width, d.depth, d.rows, d.columns, d.n = p[IH], p[IW], 1, p[OH], p[OW], p[OC]
        d.top, d.left = p[PH], p[PW]
    d.pixels = 2 if width == 16 and p[OC] <= 8 and not (weight and d.columns % 2) else 1
    d.wide = ceil_div(p[OC], width)
    d.across = ceil_div(d.columns, d.pixels)
    d.tiles = ceil_div(d.across, LM_MR)
    d.height_of_tile = ceil_div(d.across, max(d.tiles, <i64>1))
    d.pitch = (d.across + d.taps_x - 1) * width if d.rotated else d.across * d.pixels + d.taps_x - 1 + width
    planes = d.wide if d.rotated else 1
    d.band_rows = max(<i64>1, min(d.rows, BAND // (planes * d.pitch * d.item) - d.taps_y + 1))
    d.bands = min(min(<i64>UNITS // max(d.mb, <i64>1), d.rows // LOW), <i64>(time_of(d) / GRAIN))
    d.bands = max(ceil_div(d.rows, d.band_rows), d.bands)
    d.band_rows = ceil_div(d.rows, max(d.bands, <i64>1))
    d.bands = ceil_div(d.rows, max(d.band_rows, <i64>1))
    d.chunks = min(<i64>CHUNKS, d.mb * d.bands) if weight else 1
    d.local_bytes = aligned(planes * (d.band_rows + d.taps_y - 1) * d.pitch * d.item + LM_VB)


cdef i64 packed_bytes(Single *d) noexcept nogil:
    return aligned(d.chunks * d.wide * (d.taps + 1) * LM_VB)


cdef i64 lay(Single *d, cnp.ndarray scratch) noexcept:
    """Distribute the scratch memory; the threads it is enough for."""
    cdef i64 used = aligned(LM_VB) + packed_bytes(d)
    cdef int *order = <int *>cnp.PyArray_DATA(scratch)
    cdef i64 i
    d.order = <char *>order
    d.wp = d.order + aligned(LM_VB)
    d.local = d.order + used
    if d.pixels == 2 and d.dw == NULL:
        for i in range(16):                 # (pixel, channel) from (channel, pixel)
            order[i] = <int>(i % d.n * 2 + i // d.n) if i < 2 * d.n else 0
    elif d.pixels == 2:
        for i in range(16):                 # the inverse; lanes without a channel take one that was not loaded
            order[i] = <int>(i % 2 * d.n + i // 2) if i < 2 * d.n else 15
    return (cnp.PyArray_SIZE(scratch) - used) // d.local_bytes


def scratch(pass_, p):
    """A permutation, then packed weights or private copies of dw, shared; a band per thread."""
    cdef Single d
    cdef cnp.ndarray g = p.geometry
    plan(&d, <const i64 *>cnp.PyArray_DATA(g), p.dtype.itemsize == 8, pass_)
    return aligned(LM_VB) + packed_bytes(&d), d.local_bytes


def transformed(pass_, p):
    """The bytes of packed weights or private copies of dw."""
    cdef Single d
    cdef cnp.ndarray g = p.geometry
    plan(&d, <const i64 *>cnp.PyArray_DATA(g), p.dtype.itemsize == 8, pass_)
    return packed_bytes(&d)


def forward(p, cnp.ndarray x, cnp.ndarray w, b, cnp.ndarray out, cnp.ndarray scratch):
    cdef Single d
    cdef cnp.ndarray numbers = p.geometry
    cdef const i64 *g = <const i64 *>cnp.PyArray_DATA(numbers)
    cdef i64 slots
    if cnp.PyArray_SIZE(out) == 0:
        return
    plan(&d, g, cnp.PyArray_TYPE(out) == cnp.NPY_FLOAT64, "forward")
    d.e = epilogue(g, p.slope, NULL)
    d.bias = cnp.PyArray_BYTES(b) if b is not None else NULL
    d.src, d.w, d.dst = cnp.PyArray_BYTES(x), cnp.PyArray_BYTES(w), cnp.PyArray_BYTES(out)
    slots = lay(&d, scratch)
    with nogil:
        if d.double_precision:
            pack(<double>0, &d)
        else:
            pack(<float>0, &d)
        parallel_for(band_f64 if d.double_precision else band_f32, &d, d.mb * d.bands, time_of(&d), slots)


def backward_input(p, cnp.ndarray g, cnp.ndarray w, cnp.ndarray dx, cnp.ndarray scratch):
    cdef Single d
    cdef cnp.ndarray numbers = p.geometry
    cdef i64 slots
    if cnp.PyArray_SIZE(dx) == 0:
        return
    plan(&d, <const i64 *>cnp.PyArray_DATA(numbers), cnp.PyArray_TYPE(dx) == cnp.NPY_FLOAT64, "backward_input")
    d.src, d.w, d.dst = cnp.PyArray_BYTES(g), cnp.PyArray_BYTES(w), cnp.PyArray_BYTES(dx)
    slots = lay(&d, scratch)
    with nogil:
        if d.double_precision:
            pack(<double>0, &d)
        else:
            pack(<float>0, &d)
        parallel_for(image_f64 if d.double_precision else image_f32, &d, d.mb * d.bands, time_of(&d), slots)


def backward_weight(p, cnp.ndarray x, cnp.ndarray g, cnp.ndarray dw, db, cnp.ndarray scratch):
    cdef Single d
    cdef cnp.ndarray numbers = p.geometry
    cdef i64 slots
    plan(&d, <const i64 *>cnp.PyArray_DATA(numbers), cnp.PyArray_TYPE(dw) == cnp.NPY_FLOAT64, "backward_weight")
    d.src, d.dst, d.dw = cnp.PyArray_BYTES(x), cnp.PyArray_BYTES(g), cnp.PyArray_BYTES(dw)      # g is read, not written
    d.db = cnp.PyArray_BYTES(db) if db is not None else NULL
    if d.mb == 0:
        memset(d.dw, 0, cnp.PyArray_NBYTES(dw))
        if d.db != NULL:
            memset(d.db, 0, d.n * d.item)
        return
    slots = lay(&d, scratch)
    with nogil:
        parallel_for(chunk_f64 if d.double_precision else chunk_f32, &d, d.chunks, time_of(&d), slots)
        if d.double_precision:
            sum_task(<double>0, &d)
        else:
            sum_task(<float>0, &d)
