"""Convolution of few channels: the lanes of a register are images or pixels, never channels, so that 1 or 6 channels fill it like 16.

    dst[n, r, q, o] = act(b[o] + sum over taps t and channels c of  src[n, r*sy + ty[t], q*sx + tx[t], c] * w[o, c, t])         (gather.pxd)
    dw[o, c, t] = sum over n, r, q of  x[n, r*sy + ty[t], q*sx + tx[t], c] * g[n, r, q, o]

Shapes   images (mb, c, h, w) in channels-last memory, weights (oc, ic, kh, kw), one group
Lanes    images: as many images as a register has lanes, a band of them transposed into vec[row][column][channel], padded
         pixels: neighbours of a row of one image, a band of it split into padded planes[channel][row][column] (one set per residue of the
         stride); the rows of a plane are one run, and the pixels computed past the end of a row are dropped
         Both are the same tile: only the tables of offsets differ. k = (t, c) is at ao[k] from a position, position p at po[p].
Packed   wp[tile of channels][1 + k][height]: the bias, then the weights of each k side by side
Tile     forward, backward_input: `height` output channels (broadcast weights) x `positions` registers of pixels, summed over k
         backward_weight: height channels of g x as many k, lane by lane, summed over positions; no broadcasts; the lanes are added at
         the very end, sixteen sums at once, by a transpose

                      x0   x1   x2   x3          one step k: 4 loads, 6 broadcasts, 24 FMA
              w0     acc  acc  acc  acc
              ..      ..   ..   ..   ..          AVX-512: 6 x 4, 8 x 3, 4 x 6, ... as the channels divide best
              w5     acc  acc  acc  acc

Loops    tasks: registers of images (or single images) x bands of rows     the band stays in L2
         chunks of positions     their results are still in L1 when they are turned into channels-last pixels
         tiles of channels, tiles of positions, k
         backward_weight: tasks are chunks of bands with a private dw each, register by register, added in order afterwards; tiles of channels,
         chunks of positions whose g stays in L1, tiles of k, positions
Edges    the last tile of channels (and of k) begins early and computes some twice; positions are filled up with copies of the last
         one. Images that fill no register are computed pixel by pixel. backward_weight masks what lies beyond a row.
Cost     2 * mb * oc * oh * ow * ic * kh * kw flops at full width, and a transpose of source and result
Gains    over cy_direct for channels that fill its lanes badly
Loses    for many channels: transposes and bands grow, cy_direct's lanes are full. With many on one side alone, it wins where the few are written.
After    Krizhevsky (cuda-convnet) and Lavin (maxDNN, arXiv:1501.06633) for images side by side.
"""
cimport numpy as cnp
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from lamella.kernels._common.pool cimport parallel_for
from lamella.kernels._common.simd cimport LM_VB, lanes, v_add, v_fma, v_load, v_load_n, v_pin, v_set, v_store, v_store_n, v_zero, vec
from lamella.kernels._common.tile cimport ACT_NONE, Epilogue, finish, plain
from lamella.kernels._common.transpose cimport square
from lamella.kernels._common.types cimport i64, real
from lamella.kernels.conv2d.gather cimport ACT, KH, KW, MB, OC, SH, SW, Gather, aligned, backward_gather, ceil_div, forward_gather

cnp.import_array()

cdef enum:
    TALL = 8                # channels of a tile at most
    BAND = 256 * 1024       # bytes of a band, source and g
    RESULTS = 24 * 1024     # bytes of results (or of g) that stay in L1
    COPY = 64 * 1024        # bytes of a private copy of dw, from which on there are fewer
    UNITS = 8               # tasks wanted at least, and private copies of dw at most
    SQUARE = 256            # the square of the most lanes there are
    GRAIN = 5000            # ns that are worth a task


cdef struct Lanes:
    Gather v
    bint double_precision
    i64 item
    const char *bias
    Epilogue e              # the activation; the bias is where a sum begins
    double rate
    i64 height, tiles       # channels of a tile, tiles
    i64 positions           # registers of a tile's row
    # of one way of filling the lanes:
    bint images
    i64 first, groups       # first image; registers of images, or images
    i64 wide                # columns of the source under the output grid
    i64 pitch, plane        # pixels: from row to row of a plane, from plane to plane
    i64 count, full         # positions of a band; of them (backward_weight, pixels) with all lanes
    i64 tail                # lanes of the others
    i64 chunk               # positions whose results stay in L1
    i64 by_channel          # in the buffer of results or of g, elements; positions are at go
    i64 source_bytes, buffer_bytes
    i64 *ao
    i64 *po
    i64 *go
    i64 *k_first            # output row r needs k_first[r] <= k < k_behind[r]: the others lie above or below the image
    i64 *k_behind
    char *buffers           # of slot 0: source, then results or g
    i64 copy                # backward_weight: private copies used by the other way


cdef inline int positions_of(int height) noexcept nogil:
    """Registers of a tile's row: the accumulators, one row and a weight fit the processor's registers."""
    if LM_VB == 64:
        return 8 if height <= 2 else 7 if height == 3 else 6 if height == 4 else 5 if height == 5 else 4 if height == 6 else 3
    return 8 if height == 1 else 5 if height == 2 else 3 if height <= 4 else 2


cdef inline int tallest() noexcept nogil:
    return TALL if LM_VB == 64 else 6


cdef inline void forward_tile(
    real t, int height, i64 k, const i64 *ao, const real *x, const i64 *po, const real *bias, const real *wp,
    real *c, i64 by_channel, const i64 *go,
) noexcept nogil:
    cdef vec acc[TALL][TALL]
    cdef vec xv[TALL]
    cdef const real *xp[TALL]
    cdef vec w
    cdef int i, j
    cdef i64 q
    for j in range(positions_of(height)):
        xp[j] = x + po[j]
    for i in range(height):
        for j in range(positions_of(height)):
            acc[i][j] = v_set(bias[i])
    for q in range(k):
        for j in range(positions_of(height)):
            xv[j] = v_load(xp[j] + ao[q])
        for i in range(height):
            w = v_set(wp[i])
            for j in range(positions_of(height)):
                acc[i][j] = v_fma(t, w, xv[j], acc[i][j])
        wp += height
    for i in range(height):
        for j in range(positions_of(height)):
            acc[i][j] = v_pin(acc[i][j])
    for j in range(positions_of(height)):
        for i in range(height):
            v_store(c + go[j] + i * by_channel, acc[i][j])


cdef inline void weight_tile(
    real t, int height, bint whole, i64 n, const real *x, const i64 *ao, const real *g, i64 by_channel, i64 count, const i64 *po, const i64 *go,
    real *sums, i64 channels, i64 skip, i64 k_skip, i64 k_behind,
) noexcept nogil:
    """sums[j, i] += g[i] * x[ao[j]] over `count` positions, n lanes of each (whole: all); only i >= skip and k_skip <= j < k_behind are stored."""
    cdef vec acc[TALL][TALL]
    cdef vec xv[TALL]
    cdef i64 at[TALL]
    cdef vec gv
    cdef int i, j
    cdef i64 p
    cdef const real *xp
    cdef const real *gp
    for j in range(positions_of(height)):
        at[j] = ao[min(<i64>j, k_behind - 1)]
        for i in range(height):
            acc[i][j] = v_zero()
    for p in range(count):
        xp = x + po[p]
        gp = g + go[p]
        for j in range(positions_of(height)):
            xv[j] = v_load(xp + at[j]) if whole else v_load_n(t, xp + at[j], n)
        for i in range(height):
            gv = v_pin(v_load(gp + i * by_channel) if whole else v_load_n(t, gp + i * by_channel, n))     # not read anew for every j
            for j in range(positions_of(height)):
                acc[i][j] = v_fma(t, xv[j], gv, acc[i][j])
    for i in range(height):
        for j in range(positions_of(height)):
            acc[i][j] = v_pin(acc[i][j])
    for j in range(positions_of(height)):
        if k_skip <= j and j < k_behind:
            for i in range(height):
                if i >= skip:
                    v_store(sums + (j * channels + i) * lanes(t), v_add(t, acc[i][j], v_load(sums + (j * channels + i) * lanes(t))))


cdef inline void forward_run(
    real t, i64 height, i64 k, const i64 *ao, const real *x, const i64 *po, const real *bias, const real *wp,
    real *c, i64 by_channel, const i64 *go,
) noexcept nogil:
    """`forward_tile` with a constant height."""
    if height == 1:
        forward_tile(t, 1, k, ao, x, po, bias, wp, c, by_channel, go)
    elif height == 2:
        forward_tile(t, 2, k, ao, x, po, bias, wp, c, by_channel, go)
    elif height == 3:
        forward_tile(t, 3, k, ao, x, po, bias, wp, c, by_channel, go)
    elif height == 4:
        forward_tile(t, 4, k, ao, x, po, bias, wp, c, by_channel, go)
    elif height == 5:
        forward_tile(t, 5, k, ao, x, po, bias, wp, c, by_channel, go)
    elif height == 6:
        forward_tile(t, 6, k, ao, x, po, bias, wp, c, by_channel, go)
    elif LM_VB == 64:
        if height == 7:
            forward_tile(t, 7, k, ao, x, po, bias, wp, c, by_channel, go)
        else:
            forward_tile(t, 8, k, ao, x, po, bias, wp, c, by_channel, go)


cdef inline void weight_run(
    real t, i64 height, bint whole, i64 n, const real *x, const i64 *ao, const real *g, i64 by_channel, i64 count, const i64 *po,
    const i64 *go, real *sums, i64 channels, i64 skip, i64 k_skip, i64 k_behind,
) noexcept nogil:
    """`weight_tile` with a constant height; whole must be one too."""
    if height == 1:
        weight_tile(t, 1, whole, n, x, ao, g, by_channel, count, po, go, sums, channels, skip, k_skip, k_behind)
    elif height == 2:
        weight_tile(t, 2, whole, n, x, ao, g, by_channel, count, po, go, sums, channels, skip, k_skip, k_behind)
    elif height == 3:
        weight_tile(t, 3, whole, n, x, ao, g, by_channel, count, po, go, sums, channels, skip, k_skip, k_behind)
    elif height == 4:
        weight_tile(t, 4, whole, n, x, ao, g, by_channel, count, po, go, sums, channels, skip, k_skip, k_behind)
    elif height == 5:
        weight_tile(t, 5, whole, n, x, ao, g, by_channel, count, po, go, sums, channels, skip, k_skip, k_behind)
    elif height == 6:
        weight_tile(t, 6, whole, n, x, ao, g, by_channel, count, po, go, sums, channels, skip, k_skip, k_behind)
    elif LM_VB == 64:
        if height == 7:
            weight_tile(t, 7, whole, n, x, ao, g, by_channel, count, po, go, sums, channels, skip, k_skip, k_behind)
        else:
            weight_tile(t, 8, whole, n, x, ao, g, by_channel, count, po, go, sums, channels, skip, k_skip, k_behind)


cdef inline void to_lanes(real t, const real *src, i64 image, i64 count, real *dst) noexcept nogil:
    """`count` elements of as many images as there are lanes, `image` apart, become registers."""
    cdef i64 e
    for e in range(count // lanes(t)):
        square(t, src + e * lanes(t), image, dst + e * lanes(t) * lanes(t), lanes(t), lanes(t), lanes(t))
    e = count // lanes(t) * lanes(t)
    if e < count:
        square(t, src + e, image, dst + e * lanes(t), lanes(t), lanes(t), count - e)


cdef inline void from_lanes(real t, const real *src, i64 count, real *dst, i64 image) noexcept nogil:
    cdef i64 e
    for e in range(count // lanes(t)):
        square(t, src + e * lanes(t) * lanes(t), lanes(t), dst + e * lanes(t), image, lanes(t), lanes(t))
    e = count // lanes(t) * lanes(t)
    if e < count:
        square(t, src + e * lanes(t), lanes(t), dst + e, image, count - e, lanes(t))


cdef void to_planes(real t, const real *src, i64 channels, i64 count, real *dst, i64 plane) noexcept nogil:
    """`count` pixels of a row become a row of each plane: by squares of registers, those at an edge by way of the stack."""
    cdef real before[SQUARE]
    cdef real after[SQUARE]
    cdef i64 q, c, i, n, high
    if channels == 1:
        memcpy(dst, src, count * sizeof(real))
        return
    for q in range(ceil_div(count, lanes(t))):
        n = min(<i64>lanes(t), count - q * lanes(t))
        for c in range(ceil_div(channels, lanes(t))):
            high = min(<i64>lanes(t), channels - c * lanes(t))
            if n == lanes(t) and high == lanes(t):
                square(t, src + (q * channels + c) * lanes(t), channels, dst + c * lanes(t) * plane + q * lanes(t), plane, lanes(t), lanes(t))
                continue
            for i in range(n):
                v_store(before + i * lanes(t), v_load_n(t, src + (q * lanes(t) + i) * channels + c * lanes(t), high))
            square(t, before, lanes(t), after, lanes(t), lanes(t), lanes(t))
            for i in range(high):
                v_store_n(t, dst + (c * lanes(t) + i) * plane + q * lanes(t), n, v_load(after + i * lanes(t)))


cdef void from_planes(real t, const real *src, i64 plane, i64 channels, i64 count, real *dst, i64 column) noexcept nogil:
    """The inverse; pixels are `column` apart."""
    cdef real before[SQUARE]
    cdef real after[SQUARE]
    cdef i64 q, c, i, n, high
    if channels == 1 and column == 1:
        memcpy(dst, src, count * sizeof(real))
        return
    for q in range(ceil_div(count, lanes(t))):
        n = min(<i64>lanes(t), count - q * lanes(t))
        for c in range(ceil_div(channels, lanes(t))):
            high = min(<i64>lanes(t), channels - c * lanes(t))
            if n == lanes(t) and high == lanes(t):
                square(t, src + c * lanes(t) * plane + q * lanes(t), plane, dst + q * lanes(t) * column + c * lanes(t), column, lanes(t), lanes(t))
                continue
            for i in range(high):
                v_store(before + i * lanes(t), v_load_n(t, src + (c * lanes(t) + i) * plane + q * lanes(t), n))
            square(t, before, lanes(t), after, lanes(t), lanes(t), lanes(t))
            for i in range(n):
                v_store_n(t, dst + (q * lanes(t) + i) * column + c * lanes(t), high, v_load(after + i * lanes(t)))


cdef void bring(real t, Lanes *d, i64 group, i64 r0, i64 rows, real *band) noexcept nogil:
    """The source under `rows` output rows from r0, laid out for the lanes, with zeros outside the image."""
    cdef Gather *v = &d.v
    cdef i64 image = v.height * v.width * v.channels
    cdef i64 left = min(max(-v.x_low, <i64>0), d.wide)
    cdef i64 right = max(left, min(d.wide, v.width - v.x_low))
    cdef i64 y0 = r0 * v.sy + v.y_low
    cdef i64 size = v.channels * lanes(t)
    cdef i64 i, c, x, start, end
    cdef const real *src = <const real *>v.src + (d.first + group * (lanes(t) if d.images else 1)) * image + v.x_low * v.channels
    cdef const real *there
    cdef real *line
    for i in range((rows - 1) * v.sy + v.y_high - v.y_low + 1):
        there = src + (y0 + i) * v.width * v.channels
        start = left
        end = right
        if y0 + i < 0 or y0 + i >= v.height:
            start = end = d.wide
        if d.images:
            line = band + i * d.wide * size
            memset(line, 0, start * size * sizeof(real))
            to_lanes(t, there + start * v.channels, image, (end - start) * v.channels, line + start * size)
            memset(line + end * size, 0, (d.wide - end) * size * sizeof(real))
            continue
        line = band + i % v.sy * v.sx * v.channels * d.plane + i // v.sy * d.pitch
        if v.sx == 1:
            for c in range(v.channels):
                memset(line + c * d.plane, 0, start * sizeof(real))
                memset(line + c * d.plane + end, 0, (d.wide - end) * sizeof(real))
            to_planes(t, there + start * v.channels, v.channels, end - start, line + start, d.plane)
            continue
        for x in range(d.wide):
            for c in range(v.channels):
                line[(x % v.sx * v.channels + c) * d.plane + x // v.sx] = there[x * v.channels + c] if start <= x and x < end else 0


cdef void band_task(real t, Lanes *d, i64 task, i64 slot) noexcept nogil:
    cdef Gather *v = &d.v
    cdef i64 group = task // v.bands
    cdef i64 r0 = task % v.bands * v.band_rows
    cdef i64 rows = min(v.band_rows, v.rows - r0)
    cdef real *band = <real *>(d.buffers + slot * (d.source_bytes + d.buffer_bytes))
    cdef real *results = <real *>(<char *>band + d.source_bytes)
    cdef real *dst = <real *>v.dst + v.dst_first + (d.first + group * (lanes(t) if d.images else 1)) * v.dst_image
    cdef const real *wp
    cdef i64 count = rows * v.columns if d.images else ceil_div((rows - 1) * d.pitch + v.columns, lanes(t))
    cdef i64 each = 1 if d.images else lanes(t)
    cdef i64 edge = v.columns if d.images else d.pitch
    cdef i64 p0, n, p, i, r, q, top, bottom, start = 0      # rows in which positions lie
    bring(t, d, group, r0, rows, band)
    for i in range(ceil_div(count, d.chunk)):
        p0 = i * d.chunk
        n = min(d.chunk, count - p0)
        while edge * (start + 1) <= p0 * each:
            start += 1
        for r in range(d.tiles):
            wp = <const real *>v.wp + r * d.height * (1 + v.k)
            top = bottom = start
            for p in range(ceil_div(n, d.positions)):
                while edge * (top + 1) <= (p0 + p * d.positions) * each:
                    top += 1
                while edge * (bottom + 1) < (p0 + (p + 1) * d.positions) * each and bottom + 1 < rows:
                    bottom += 1
                q = d.k_first[r0 + bottom]
                forward_run(
                    t, d.height, d.k_behind[r0 + top] - q, d.ao + q, band, d.po + p0 + p * d.positions, wp, wp + (1 + q) * d.height,
                    results + min(r * d.height, v.n - d.height) * d.by_channel, d.by_channel, d.go + p * d.positions,
                )
        if d.e.act != ACT_NONE:
            for r in range(v.n * (n if d.images else d.count)):
                v_store(results + r * lanes(t), finish(t, v_load(results + r * lanes(t)), &d.e, results, lanes(t), 0, 0))
        if not d.images:
            continue
        if v.dst_column == v.n and v.dst_row == v.columns * v.n:
            from_lanes(t, results, n * v.n, dst + (r0 * v.columns + p0) * v.n, v.dst_image)
        else:
            for p in range(p0, p0 + n):
                from_lanes(
                    t, results + (p - p0) * v.n * lanes(t), v.n,
                    dst + (r0 + p // v.columns) * v.dst_row + p % v.columns * v.dst_column, v.dst_image,
                )
    if not d.images:
        for r in range(rows):
            from_planes(t, results + r * d.pitch, d.by_channel, v.n, v.columns, dst + (r0 + r) * v.dst_row, v.dst_column)


cdef void chunk_task(real t, Lanes *d, i64 chunk, i64 slot) noexcept nogil:
    """The private dw of a chunk of units (group, band): k rows and one for db, of a register per channel."""
    cdef Gather *v = &d.v
    cdef real *band = <real *>(d.buffers + slot * (d.source_bytes + d.buffer_bytes))
    cdef real *g = <real *>(<char *>band + d.source_bytes)
    cdef real *sums = <real *>v.private_ + (d.copy + chunk) * (v.k + 1) * v.n * lanes(t)
    cdef i64 units = d.groups * v.bands
    cdef i64 unit, rows
    cdef const real *there
    memset(sums, 0, (v.k + 1) * v.n * LM_VB)
    for unit in range(chunk * units // v.chunks, (chunk + 1) * units // v.chunks):
        rows = min(v.band_rows, v.rows - unit % v.bands * v.band_rows)
        bring(t, d, unit // v.bands, unit % v.bands * v.band_rows, rows, band)
        there = <const real *>v.dst + (d.first + unit // v.bands * (lanes(t) if d.images else 1)) * v.dst_image
        there += unit % v.bands * v.band_rows * v.dst_row
        if d.images:
            to_lanes(t, there, v.dst_image, rows * v.columns * v.n, g)
        else:
            to_planes(t, there, v.n, rows * v.columns, g, d.by_channel)
        add_positions(t, d, True, lanes(t), rows * d.full, d.po, d.go, band, g, sums)
        if d.tail:
            add_positions(t, d, False, d.tail, rows, d.po + v.band_rows * d.full, d.go + v.band_rows * d.full, band, g, sums)


cdef inline void add_positions(
    real t, Lanes *d, bint whole, i64 n, i64 count, const i64 *po, const i64 *go, const real *band, const real *g, real *sums,
) noexcept nogil:
    """Add `count` positions, n lanes of each, to dw and db."""
    cdef Gather *v = &d.v
    cdef i64 i, j, p, first, start
    cdef i64 part = ceil_div(count, max(ceil_div(count, d.chunk), <i64>1))
    for i in range(d.tiles):
        first = min(i * d.height, v.n - d.height)
        p = 0
        while p < count:
            for j in range(ceil_div(v.k, d.positions)):
                start = max(min(j * d.positions, v.k - d.positions), <i64>0)
                weight_run(
                    t, d.height, whole, n, band, d.ao + start, g + first * d.by_channel, d.by_channel, min(part, count - p), po + p, go + p,
                    sums + (start * v.n + first) * lanes(t), v.n, i * d.height - first, j * d.positions - start,
                    min(v.k - start, d.positions),
                )
            p += part
    if v.db != NULL:
        i = 0
        while i < v.n:
            first = 4 if i + 4 <= v.n else 1
            if first == 4:
                add_g(t, 4, n, g + i * d.by_channel, d.by_channel, count, go, sums + (v.k * v.n + i) * lanes(t))
            else:
                add_g(t, 1, n, g + i * d.by_channel, d.by_channel, count, go, sums + (v.k * v.n + i) * lanes(t))
            i += first


cdef inline void add_g(
    real t, int channels, i64 n, const real *g, i64 by_channel, i64 count, const i64 *go, real *sums,
) noexcept nogil:
    """sums[i] += g[i] over `count` positions, for a constant number of channels, at most 4."""
    cdef vec acc[4]
    cdef i64 p
    cdef int i
    for i in range(channels):
        acc[i] = v_load(sums + i * lanes(t))
    for p in range(count):
        for i in range(channels):
            acc[i] = v_add(t, acc[i], v_load_n(t, g + go[p] + i * by_channel, n))
    for i in range(channels):
        v_store(sums + i * lanes(t), acc[i])


cdef void sum_task(real t, Lanes *d, i64 task) noexcept nogil:
    """Add up the private copies, in order, and the lanes of as many sums as a register has, and lay them out as dw and db."""
    cdef Gather *v = &d.v
    cdef i64 size = (v.k + 1) * v.n * lanes(t)
    cdef real *sums = <real *>v.private_ + task * lanes(t) * lanes(t)
    cdef real turned[SQUARE]
    cdef i64 n = min(<i64>lanes(t), (v.k + 1) * v.n - task * lanes(t))
    cdef i64 i, copy, o, c, tap
    cdef vec s
    for copy in range(1, d.copy):
        for i in range(n):
            v_store(sums + i * lanes(t), v_add(t, v_load(sums + i * lanes(t)), v_load(sums + copy * size + i * lanes(t))))
    square(t, sums, lanes(t), turned, lanes(t), n, lanes(t))
    s = v_load(turned)
    for i in range(1, lanes(t)):
        s = v_add(t, s, v_load(turned + i * lanes(t)))
    v_store(turned, s)
    o = task * lanes(t) % v.n
    tap = task * lanes(t) // v.n // v.depth
    c = task * lanes(t) // v.n % v.depth
    for i in range(n):
        if tap < v.taps:
            (<real *>v.dw)[o * v.w_out + c * v.w_in + v.tw[tap]] = turned[i]
        elif v.db != NULL:
            (<real *>v.db)[o] = turned[i]
        o += 1
        if o == v.n:
            o = 0
            c += 1
            if c == v.depth:
                c = 0
                tap += 1


cdef void pack(real t, Lanes *d) noexcept nogil:
    cdef Gather *v = &d.v
    cdef const real *w = <const real *>v.w
    cdef real *wp = <real *>v.wp
    cdef i64 i, j, tap, c, first
    for i in range(d.tiles):
        first = min(i * d.height, v.n - d.height)
        for j in range(d.height):
            wp[j] = (<const real *>d.bias)[first + j] if d.bias != NULL else 0
        wp += d.height
        for tap in range(v.taps):
            for c in range(v.depth):
                for j in range(d.height):
                    wp[j] = w[c * v.w_in + (first + j) * v.w_out + v.tw[tap]]
                wp += d.height


cdef void band_f32(void *d, i64 task, i64 slot) noexcept nogil:
    band_task(<float>0, <Lanes *>d, task, slot)


cdef void band_f64(void *d, i64 task, i64 slot) noexcept nogil:
    band_task(<double>0, <Lanes *>d, task, slot)


cdef void chunk_f32(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<float>0, <Lanes *>d, task, slot)


cdef void chunk_f64(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<double>0, <Lanes *>d, task, slot)


cdef void sum_f32(void *d, i64 task, i64 slot) noexcept nogil:
    sum_task(<float>0, <Lanes *>d, task)


cdef void sum_f64(void *d, i64 task, i64 slot) noexcept nogil:
    sum_task(<double>0, <Lanes *>d, task)


cdef void start(Lanes *d, bint double_precision, void *tables, i64 taps) noexcept nogil:
    memset(d, 0, sizeof(Lanes))
    d.double_precision = double_precision
    d.item = 8 if double_precision else 4
    d.e = plain()
    d.rate = LM_VB / 2.0 * (1 if double_precision else 2)
    d.v.ty = <i64 *>tables
    d.v.tx = d.v.ty + taps
    d.v.tw = d.v.tx + taps
    d.ao = d.v.tw + taps


cdef void choose_tile(Lanes *d, bint weight) noexcept nogil:
    """The height whose tiles cost the least: in half cycles, an FMA one, a load a quarter beside them, a step at least a chain of four cycles."""
    cdef Gather *v = &d.v
    cdef double cycles, least = 0
    cdef i64 height, positions
    v.k = v.taps * v.depth
    for height in range(1, min(<i64>tallest(), v.n) + 1):
        positions = positions_of(<int>height)
        cycles = ceil_div(v.n, height) * max(height * positions + 0.25 * (height + positions), 8.0)
        cycles = cycles * ceil_div(v.k, positions) if weight else cycles / positions
        if height == 1 or cycles < least:
            least = cycles
            d.height = height
    d.tiles = ceil_div(v.n, d.height)
    d.positions = positions_of(<int>d.height)


cdef void plan(Lanes *d, bint images, bint weight) noexcept nogil:
    """Bands and sizes for filling the lanes with images, or with the pixels of the images that are left."""
    cdef Gather *v = &d.v
    cdef i64 width = LM_VB // d.item
    cdef i64 whole = v.mb // width * width
    cdef i64 halo = v.y_high - v.y_low
    cdef i64 row, fixed, result, source
    cdef double time = 2.0 * v.columns * v.rows * v.n * v.k / d.rate
    d.images = images
    d.first = 0 if images else whole
    d.groups = v.mb // width if images else v.mb - whole
    d.wide = (v.columns - 1) * v.sx + v.x_high - v.x_low + 1
    # bytes of a row of the source, and of g or (pixels) of results
    row = d.wide * v.channels * (LM_VB if images else d.item)
    result = v.columns * v.n * (LM_VB if images else d.item) if weight or not images else 0
    v.band_rows = max(<i64>1, min(v.rows, (BAND - halo * row) // (v.sy * row + result)))
    v.bands = UNITS if images else min(<i64>UNITS, ceil_div(<i64>time, GRAIN))
    v.band_rows = max(<i64>1, min(v.band_rows, ceil_div(v.rows, max(<i64>1, ceil_div(v.bands, max(<i64>1, d.groups))))))
    v.bands = ceil_div(v.rows, v.band_rows)
    source = (v.band_rows - 1) * v.sy + halo + 1
    if images:
        d.full = v.columns
        d.tail = 0
        d.count = v.band_rows * v.columns
        fixed = d.positions * v.n * LM_VB
        d.chunk = RESULTS // fixed
        d.chunk = max(<i64>1, d.chunk if d.chunk < 4 else d.chunk // 4 * 4) * d.positions
        d.by_channel = width
        d.source_bytes = aligned(source * row)
        d.buffer_bytes = aligned((d.count if weight else d.chunk) * v.n * LM_VB)
    else:
        d.full = v.columns // width
        d.tail = v.columns % width
        d.pitch = ceil_div(d.wide, v.sx)
        d.count = v.band_rows * ceil_div(v.columns, width) if weight else ceil_div((v.band_rows - 1) * d.pitch + v.columns, width)
        d.count = ceil_div(d.count, d.positions) * d.positions
        d.chunk = d.count
        d.plane = (halo // v.sy + 1) * d.pitch + max(d.count * width, v.band_rows * d.pitch)
        d.by_channel = v.band_rows * v.columns if weight else d.count * width
        d.source_bytes = aligned(v.sy * v.sx * v.channels * d.plane * d.item)
        d.buffer_bytes = aligned(v.n * d.by_channel * d.item)
    if weight:
        d.chunk = max(<i64>8, 4 * RESULTS // (3 * d.height * LM_VB))
    d.po = d.ao + v.k
    d.go = d.po + d.count + d.positions
    d.k_first = d.go + d.count + d.positions
    d.k_behind = d.k_first + v.rows
    v.chunks = min(<i64>UNITS if (v.k + 1) * v.n * LM_VB <= COPY else <i64>UNITS // 2, d.groups * v.bands)


cdef i64 tables_bytes(Lanes *d) noexcept nogil:
    return aligned(<char *>(d.k_behind + d.v.rows) - <char *>d.v.ty)


cdef i64 packed_bytes(Lanes *d) noexcept nogil:
    return aligned(d.tiles * d.height * (1 + d.v.k) * d.item)


cdef i64 private_bytes(Lanes *d) noexcept nogil:
    return d.v.chunks * (d.v.k + 1) * d.v.n * LM_VB


cdef void fill_tables(Lanes *d, bint weight) noexcept nogil:
    cdef Gather *v = &d.v
    cdef i64 width = LM_VB // d.item
    cdef i64 tap, c, y, x, p, r, q, first
    for r in range(v.rows):
        d.k_first[r] = 0
        d.k_behind[r] = v.k
        for tap in range(v.taps):
            if r * v.sy + v.ty[tap] < 0:
                d.k_first[r] = (tap + 1) * v.depth
            if r * v.sy + v.ty[v.taps - 1 - tap] >= v.height:
                d.k_behind[r] = (v.taps - 1 - tap) * v.depth
        d.k_behind[r] = max(d.k_first[r], d.k_behind[r])
    for tap in range(v.taps):
        y = v.ty[tap] - v.y_low
        x = v.tx[tap] - v.x_low
        if d.images:
            first = (y * d.wide + x) * v.channels * width
        else:
            first = (y % v.sy * v.sx + x % v.sx) * v.channels * d.plane + y // v.sy * d.pitch + x // v.sx
        for c in range(v.depth):
            d.ao[tap * v.depth + c] = first + c * (width if d.images else d.plane)
    if d.images or weight:
        p = 0
        for r in range(v.band_rows):
            for q in range(d.full):
                d.po[p] = (r * v.sy * d.wide + q * v.sx) * v.channels * width if d.images else r * d.pitch + q * width
                d.go[p] = p * v.n * width if d.images else r * v.columns + q * width
                p += 1
        if d.tail:
            for r in range(v.band_rows):
                d.po[p] = r * d.pitch + d.full * width
                d.go[p] = r * v.columns + d.full * width
                p += 1
        for r in range(d.positions):
            d.po[p + r] = d.po[p - 1]
            d.go[p + r] = (p + r) * v.n * width
    else:
        for p in range(d.count):
            d.po[p] = d.go[p] = p * width


cdef void run_gather(Lanes *d, char *base, i64 size) noexcept nogil:
    """Both ways of filling the lanes, after the tap tables at the front of the scratch memory."""
    cdef Gather *v = &d.v
    cdef int i
    cdef i64 used
    choose_tile(d, False)
    for i in range(2):
        plan(d, i == 0, False)
        if d.groups:
            used = tables_bytes(d)
            v.wp = base + used
            used += packed_bytes(d)
            d.buffers = base + used
            fill_tables(d, False)
            if d.double_precision:
                pack(<double>0, d)
            else:
                pack(<float>0, d)
            parallel_for(
                band_f64 if d.double_precision else band_f32, d, d.groups * v.bands,
                2.0 * d.groups * (LM_VB // d.item if d.images else 1) * v.rows * v.columns * v.n * v.k / d.rate,
                (size - used) // (d.source_bytes + d.buffer_bytes),
            )


cdef measured(pass_, p):
    """(bytes of tables, bytes of packed weights or private copies of dw, bytes per thread)"""
    cdef Lanes d
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *g = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef bint weight = pass_ == "backward_weight"
    cdef i64 tables = 0, transformed = 0, per_thread = 0, a, b, i
    cdef void *taps = malloc(3 * g[KH] * g[KW] * 8)
    if taps == NULL:
        raise MemoryError
    start(&d, p.dtype.itemsize == 8, taps, g[KH] * g[KW])
    for a in range(g[SH] if pass_ == "backward_input" else 1):
        for b in range(g[SW] if pass_ == "backward_input" else 1):
            if pass_ == "backward_input":
                backward_gather(&d.v, g, d.item, a, b)
            else:
                forward_gather(&d.v, g, d.item)
            if d.v.rows and d.v.columns:
                choose_tile(&d, weight)
                for i in range(2):
                    plan(&d, i == 0, weight)
                    if d.groups:
                        tables = max(tables, tables_bytes(&d))
                        transformed = transformed + private_bytes(&d) if weight else max(transformed, packed_bytes(&d))
                        per_thread = max(per_thread, d.source_bytes + d.buffer_bytes)
    free(taps)
    return tables, aligned(transformed), per_thread


def scratch(pass_, p):
    """Tables, then packed weights or private copies of dw, shared; a band of the source and of results or g per thread."""
    tables, transformed_, per_thread = measured(pass_, p)
    return tables + transformed_, per_thread


def transformed(pass_, p):
    """The bytes of packed weights or private copies of dw."""
    return measured(pass_, p)[1]


def forward(p, cnp.ndarray x, cnp.ndarray w, b, cnp.ndarray out, cnp.ndarray scratch):
    cdef Lanes d
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *g = <const i64 *>cnp.PyArray_DATA(geometry)
    if cnp.PyArray_SIZE(out) == 0:
        return
    start(&d, cnp.PyArray_TYPE(out) == cnp.NPY_FLOAT64, cnp.PyArray_DATA(scratch), g[KH] * g[KW])
    d.bias = cnp.PyArray_BYTES(b) if b is not None else NULL
    d.e.act = <int>g[ACT]
    d.e.slope = p.slope
    d.v.src = cnp.PyArray_BYTES(x)
    d.v.dst = cnp.PyArray_BYTES(out)
    d.v.w = cnp.PyArray_BYTES(w)
    with nogil:
        forward_gather(&d.v, g, d.item)
        run_gather(&d, cnp.PyArray_BYTES(scratch), cnp.PyArray_SIZE(scratch))


def backward_input(p, cnp.ndarray g, cnp.ndarray w, cnp.ndarray dx, cnp.ndarray scratch):
    cdef Lanes d
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *q = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef i64 a, b
    if cnp.PyArray_SIZE(dx) == 0:
        return
    start(&d, cnp.PyArray_TYPE(dx) == cnp.NPY_FLOAT64, cnp.PyArray_DATA(scratch), q[KH] * q[KW])
    d.v.src = cnp.PyArray_BYTES(g)
    d.v.dst = cnp.PyArray_BYTES(dx)
    d.v.w = cnp.PyArray_BYTES(w)
    with nogil:
        for a in range(q[SH]):
            for b in range(q[SW]):
                backward_gather(&d.v, q, d.item, a, b)
                if d.v.rows and d.v.columns:
                    run_gather(&d, cnp.PyArray_BYTES(scratch), cnp.PyArray_SIZE(scratch))


def backward_weight(p, cnp.ndarray x, cnp.ndarray g, cnp.ndarray dw, db, cnp.ndarray scratch):
    cdef Lanes d
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *q = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef char *base = cnp.PyArray_BYTES(scratch)
    cdef i64 size = cnp.PyArray_SIZE(scratch), tables = 0, private_ = 0
    cdef int i
    start(&d, cnp.PyArray_TYPE(dw) == cnp.NPY_FLOAT64, base, q[KH] * q[KW])
    d.v.src = cnp.PyArray_BYTES(x)
    d.v.dst = cnp.PyArray_BYTES(g)          # the gather's output grid is g: read, not written
    d.v.dw = cnp.PyArray_BYTES(dw)
    d.v.db = cnp.PyArray_BYTES(db) if db is not None else NULL
    if q[MB] == 0:
        memset(d.v.dw, 0, cnp.PyArray_NBYTES(dw))
        if d.v.db != NULL:
            memset(d.v.db, 0, q[OC] * d.item)
        return
    with nogil:
        forward_gather(&d.v, q, d.item)
        choose_tile(&d, True)
        for i in range(2):
            plan(&d, i == 0, True)
            if d.groups:
                tables = max(tables, tables_bytes(&d))
                private_ += private_bytes(&d)
        d.v.private_ = base + tables
        d.buffers = base + tables + aligned(private_)
        for i in range(2):
            plan(&d, i == 0, True)
            if d.groups:
                fill_tables(&d, True)
                parallel_for(
                    chunk_f64 if d.double_precision else chunk_f32, &d, d.v.chunks,
                    2.0 * d.groups * (LM_VB // d.item if d.images else 1) * d.v.rows * d.v.columns * d.v.n * d.v.k / d.rate,
                    (size - tables - aligned(private_)) // (d.source_bytes + d.buffer_bytes),
                )
                d.copy += d.v.chunks
        parallel_for(
            sum_f64 if d.double_precision else sum_f32, &d, ceil_div((d.v.k + 1) * d.v.n, LM_VB // d.item),
            d.copy * 0.5 * (d.v.k + 1) * d.v.n, UNITS,
        )
