"""A convolution pass through images as a *gather*, and the bands of an image that its tasks work on.

    dst[n, r, q, :] = sum over taps t of  src[n, r*sy + ty[t], q*sx + tx[t], :] @ wp[t]          pixels outside src are 0

    forward           src = x, dst = out: one gather, taps (i*dh - ph, j*dw - pw), step (sh, sw)
    backward_input    src = g, dst = dx: the pixels (v, u) = (a, b) modulo (sh, sw) form an output grid of their own; the taps with
                      (a + ph - i*dh) divisible by sh (b + pw - j*dw by sw) hit it, at step 1, from (a + ph - i*dh) / sh

Taps are sorted by (ty, tx).
"""
from libc.string cimport memcpy, memset

from lamella.kernels._common.simd cimport LM_MR, LM_NV, LM_VB, lanes, v_load_n, v_prefetch_l2, v_store_n
from lamella.kernels._common.tile cimport BIAS_COLUMN, Epilogue, plain
from lamella.kernels._common.types cimport i64, real

# the order of Conv2dProblem.FIELDS
cdef enum:
    MB, IC, IH, IW, OC, OH, OW, KH, KW, SH, SW, PH, PW, DH, DW, GROUPS, BIAS, ACT

cdef enum:
    CHUNKS = 8              # private copies of dw at most
    PRIVATE = 32 << 20      # bytes of all private copies at most
    BAND = 160 * 1024       # bytes of an image band: with what is multiplied with it, well inside L2
    UNITS = 16              # tasks wanted at least, so that a few threads share the work evenly
    MAX_ROWS = 128          # rows of a band at most


cdef struct Gather:
    i64 groups
    # source
    const char *src
    i64 mb, height, width, channels     # channels of all groups
    i64 depth                           # channels of one group
    # output grid
    i64 rows, columns
    i64 sy, sx
    char *dst
    i64 dst_first, dst_image, dst_row, dst_column    # elements
    i64 n                               # output channels of one group
    # taps
    i64 taps
    i64 *ty
    i64 *tx
    i64 *tw                             # where tap t lies in w: i * kw + j
    i64 y_low, y_high, x_low, x_high    # extent of the taps
    # weights
    const char *w
    i64 w_group, w_in, w_out            # steps in w, elements
    char *wp
    i64 panels                          # of nr output channels, per group
    # backward_weight: each chunk of pixels sums into a copy of its own, per panel k rows and one more for db, nr wide
    i64 k
    i64 chunks
    char *private_
    char *dw
    char *db
    # bands: what one task reads of an image (plan_bands)
    i64 band_rows, bands                # rows of the output grid per task
    i64 band_columns, strips            # columns per task; one strip unless the grid is a single long row
    bint in_place
    i64 pitch                           # pixels from row to row of the band
    i64 band_bytes                      # of the padded copy, 0 in place
    char *band                          # of slot 0


cdef inline i64 ceil_div(i64 a, i64 b) noexcept nogil:
    return (a + b - 1) // b


cdef inline i64 aligned(i64 nbytes) noexcept nogil:
    return ceil_div(nbytes, 128) * 128


cdef inline i64 odd_lines(i64 elements, i64 item) noexcept nogil:
    """At least so many elements, in an odd number of cache lines: neighbours do not share the sets of L1."""
    return (ceil_div(elements * item, 64) | 1) * 64 // item


cdef inline Epilogue epilogue(const i64 *p, double slope, const char *bias) noexcept nogil:
    """What the forward pass does to a sum: act(sum + bias), for the first channel."""
    cdef Epilogue e = plain()
    e.act = <int>p[ACT]
    e.slope = slope
    if bias != NULL:
        e.bias_kind = BIAS_COLUMN
        e.bias = bias
    return e


cdef inline void extent(Gather *v) noexcept nogil:
    cdef i64 t
    v.y_low = v.y_high = v.x_low = v.x_high = 0
    for t in range(v.taps):
        if t == 0 or v.ty[t] < v.y_low:
            v.y_low = v.ty[t]
        if t == 0 or v.ty[t] > v.y_high:
            v.y_high = v.ty[t]
        if t == 0 or v.tx[t] < v.x_low:
            v.x_low = v.tx[t]
        if t == 0 or v.tx[t] > v.x_high:
            v.x_high = v.tx[t]


cdef inline void forward_gather(Gather *v, const i64 *p, i64 item) noexcept nogil:
    """The one gather of the forward pass; src, dst, w, wp and the tap arrays are the caller's to set."""
    cdef i64 i, j, t = 0
    cdef i64 icg = p[IC] // p[GROUPS]
    v.groups = p[GROUPS]
    v.mb, v.height, v.width, v.channels, v.depth = p[MB], p[IH], p[IW], p[IC], icg
    v.rows, v.columns, v.sy, v.sx = p[OH], p[OW], p[SH], p[SW]
    v.dst_first, v.dst_image, v.dst_row, v.dst_column = 0, p[OH] * p[OW] * p[OC], p[OW] * p[OC], p[OC]
    v.n = p[OC] // p[GROUPS]
    v.w_group, v.w_in, v.w_out = v.n * icg * p[KH] * p[KW], p[KH] * p[KW], icg * p[KH] * p[KW]
    v.panels = ceil_div(v.n, LM_NV * LM_VB // item)
    v.taps = p[KH] * p[KW]
    for i in range(p[KH]):
        for j in range(p[KW]):
            v.ty[t], v.tx[t], v.tw[t] = i * p[DH] - p[PH], j * p[DW] - p[PW], i * p[KW] + j
            t += 1
    extent(v)


cdef inline void backward_gather(Gather *v, const i64 *p, i64 item, i64 a, i64 b) noexcept nogil:
    """The gather of the input pixels (a, b) modulo the stride. It may have no pixels, and it may have no taps (their gradient is 0)."""
    cdef i64 i, j, y, x, t = 0
    cdef i64 icg = p[IC] // p[GROUPS]
    v.groups = p[GROUPS]
    v.mb, v.height, v.width, v.channels, v.depth = p[MB], p[OH], p[OW], p[OC], p[OC] // p[GROUPS]
    v.rows = ceil_div(p[IH] - a, p[SH]) if a < p[IH] else 0
    v.columns = ceil_div(p[IW] - b, p[SW]) if b < p[IW] else 0
    v.sy = v.sx = 1
    v.dst_first = (a * p[IW] + b) * p[IC]
    v.dst_image, v.dst_row, v.dst_column = p[IH] * p[IW] * p[IC], p[SH] * p[IW] * p[IC], p[SW] * p[IC]
    v.n = icg
    v.w_group, v.w_in, v.w_out = v.depth * icg * p[KH] * p[KW], icg * p[KH] * p[KW], p[KH] * p[KW]
    v.panels = ceil_div(v.n, LM_NV * LM_VB // item)
    for i in range(p[KH] - 1, -1, -1):              # descending taps: ascending source pixels
        y = a + p[PH] - i * p[DH]
        if y % p[SH] == 0:
            for j in range(p[KW] - 1, -1, -1):
                x = b + p[PW] - j * p[DW]
                if x % p[SW] == 0:
                    v.ty[t], v.tx[t], v.tw[t] = y // p[SH], x // p[SW], i * p[KW] + j
                    t += 1
    v.taps = t
    extent(v)


cdef inline void see_source(Gather *v) noexcept nogil:
    """Whether the source can be read in place; a 1 x 1 filter at step 1 makes all pixels of all images one long row."""
    v.in_place = (
        v.y_low >= 0 and v.x_low >= 0 and (v.rows - 1) * v.sy + v.y_high < v.height and (v.columns - 1) * v.sx + v.x_high < v.width
    )
    if (
        v.mb > 0 and v.taps == 1 and v.sy == 1 and v.sx == 1 and v.y_low == 0 and v.x_low == 0 and v.rows == v.height and v.columns == v.width
        and v.dst_column == v.n * v.groups and v.dst_row == v.dst_column * v.columns and v.dst_image == v.dst_row * v.rows
    ):
        v.columns = v.width = v.mb * v.rows * v.columns
        v.rows = v.height = v.mb = 1


cdef inline i64 source_row(Gather *v, i64 columns, i64 item) noexcept nogil:
    """Bytes of the source row that `columns` output pixels read."""
    return ((columns - 1) * v.sx + v.x_high - v.x_low + 1) * v.channels * item


cdef inline i64 source_rows(Gather *v, i64 rows) noexcept nogil:
    return (rows - 1) * v.sy + v.y_high - v.y_low + 1


cdef inline void set_bands(Gather *v, i64 item) noexcept nogil:
    """What follows from band_rows and band_columns."""
    v.bands = ceil_div(v.rows, v.band_rows)
    v.strips = max(ceil_div(v.columns, max(v.band_columns, <i64>1)), <i64>1)
    v.pitch = v.width if v.in_place else (v.band_columns - 1) * v.sx + v.x_high - v.x_low + 1
    v.band_bytes = 0 if v.in_place else aligned(source_rows(v, v.band_rows) * source_row(v, v.band_columns, item))


cdef inline void plan_bands(Gather *v, i64 item) noexcept nogil:
    """Cut the output grid into bands of rows whose source stays in L2, or a single long row into strips."""
    cdef i64 wanted
    see_source(v)
    v.band_columns = v.columns
    if v.rows == 1 and v.mb == 1:
        wanted = max(ceil_div(v.columns * v.sx * v.channels * item, BAND), min(<i64>UNITS, ceil_div(v.columns, 2 * LM_MR)))
        v.band_columns = ceil_div(ceil_div(v.columns, max(wanted, <i64>1)), LM_MR) * LM_MR
    v.band_rows = max(<i64>1, (BAND // max(source_row(v, v.band_columns, item), <i64>1) - (v.y_high - v.y_low)) // v.sy)
    v.band_rows = max(<i64>1, min(min(v.band_rows, <i64>MAX_ROWS), min(v.rows, max(ceil_div(v.rows * v.mb, UNITS), <i64>2))))
    set_bands(v, item)


cdef inline const real *bring(real t, Gather *v, i64 image, i64 r0, i64 rows, i64 q0, i64 columns, i64 slot) noexcept nogil:
    """The band of `rows` output rows from r0 and `columns` columns from q0: the source pixel of its first tap, in place or in a padded copy."""
    cdef i64 y0 = r0 * v.sy + v.y_low
    cdef i64 x0 = q0 * v.sx + v.x_low
    cdef const real *src = <const real *>v.src + image * v.height * v.width * v.channels
    if v.in_place:
        return src + (y0 * v.width + x0) * v.channels
    cdef real *band = <real *>(v.band + slot * v.band_bytes)
    cdef real *line = band
    cdef i64 width = (columns - 1) * v.sx + v.x_high - v.x_low + 1
    cdef i64 left = min(max(-x0, <i64>0), width)                    # pixels of padding
    cdef i64 right = max(left, min(width, v.width - x0))            # where the padding on the right begins
    cdef i64 y
    for y in range(y0, y0 + (rows - 1) * v.sy + v.y_high - v.y_low + 1):
        if y < 0 or y >= v.height or right <= left:
            memset(line, 0, width * v.channels * sizeof(real))
        else:
            memset(line, 0, left * v.channels * sizeof(real))
            memcpy(line + left * v.channels, src + (y * v.width + x0 + left) * v.channels, (right - left) * v.channels * sizeof(real))
            memset(line + right * v.channels, 0, (width - right) * v.channels * sizeof(real))
        line += v.pitch * v.channels
    return band


cdef inline const real *source(real t, Gather *v, i64 image, i64 r, i64 q, i64 tap, i64 group) noexcept nogil:
    """The channels of the pixel that output (image, r, q) reads through a tap, or NULL outside."""
    cdef i64 y = r * v.sy + v.ty[tap]
    cdef i64 x = q * v.sx + v.tx[tap]
    if y < 0 or y >= v.height or x < 0 or x >= v.width:
        return NULL
    return <const real *>v.src + ((image * v.height + y) * v.width + x) * v.channels + group * v.depth


cdef inline i64 slices_of(Gather *v, i64 width) noexcept nogil:
    return ceil_div(v.channels, width)


cdef inline void bring_slices(real t, Gather *v, i64 width, i64 image, i64 r0, i64 rows, i64 slot) noexcept nogil:
    """The band of `rows` output rows from r0, padded, cut into slices of `width` channels: band[slice][row][column][width].

    In an image, the few channels of a group lie as far apart from pixel to pixel as all channels are many, and crowd into a few sets of L1.
    """
    cdef i64 y0 = r0 * v.sy + v.y_low
    cdef i64 columns = (v.columns - 1) * v.sx + v.x_high - v.x_low + 1
    cdef i64 left = min(max(-v.x_low, <i64>0), columns)
    cdef i64 right = max(left, min(columns, v.width - v.x_low))
    cdef i64 height = source_rows(v, rows)
    cdef i64 row, y, slice_, x, n, j
    cdef real *line
    cdef const real *src
    for row in range(height):
        y = y0 + row
        if 0 <= y + 1 < v.height:                   # the next row: slices take pieces of it that lie far apart
            src = <const real *>v.src + (image * v.height + y + 1) * v.width * v.channels
            for x in range(ceil_div(v.width * v.channels, 64 // sizeof(real))):
                v_prefetch_l2(src + x * (64 // sizeof(real)))
        for slice_ in range(slices_of(v, width)):
            line = <real *>(v.band + slot * v.band_bytes) + (slice_ * height + row) * columns * width
            if y < 0 or y >= v.height or right <= left:
                memset(line, 0, columns * width * sizeof(real))
                continue
            n = min(width, v.channels - slice_ * width)
            src = <const real *>v.src + ((image * v.height + y) * v.width + v.x_low + left) * v.channels + slice_ * width
            memset(line, 0, left * width * sizeof(real))
            memset(line + right * width, 0, (columns - right) * width * sizeof(real))
            for x in range(right - left):
                for j in range(ceil_div(width, lanes(t))):
                    v_store_n(
                        t, line + (left + x) * width + j * lanes(t), min(width - j * lanes(t), <i64>lanes(t)),
                        v_load_n(t, src + x * v.channels + j * lanes(t), max(<i64>0, min(n - j * lanes(t), <i64>lanes(t)))),
                    )


cdef inline void fetch(const char *p, i64 count, i64 step, i64 nbytes) noexcept nogil:
    """`count` pieces of nbytes, step apart, into L2."""
    cdef i64 i, j
    for i in range(count):
        for j in range(ceil_div(nbytes, 64)):
            v_prefetch_l2(p + i * step + j * 64)
