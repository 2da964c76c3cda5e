"""Depthwise 3 x 3 convolution at stride 1 or 2: tiles of pixels read the image in place, every value of it once for all its taps.

    dst[n, r, q, c] = act(b[c] + sum over taps t of  src[n, r*s + ty[t], q*s + tx[t], c] * w[c, t])         (gather.pxd, one channel per group)
    dw[c, t] = sum over n, r, q of  x[n, r*s + ty[t], q*s + tx[t], c] * g[n, r, q, c]

Shapes   images (mb, c, h, w) in channels-last memory, weights (c, 1, 3, 3)
Packed   wp[t][c]: the weights of a tap side by side, as the channels of a pixel are
Tile     forward, backward_input: 2 rows x 4 columns of pixels x 1 register of channels (stride 1): 24 loads of pixels and 9 of weights
         for 72 FMA. backward_input at stride 2 has four gathers with 1, 2, 2 and 4 taps, tiles of 1 x 4.
         backward_weight: 9 taps x 1 register of channels, summed over columns, 4 at a time: 22 loads for 36 FMA

Loops    tasks: image, band of rows; backward_input at stride 2 does all four gathers of a band, so that g is read once from memory
         results of 4 MB and more are stored past the caches
         rows, columns of the tile, registers of channels: channels innermost, because they are what lies side by side in memory
         backward_weight: tasks are chunks of bands with a private dw each, added in order afterwards; rows, blocks of columns, registers of
         channels, columns
Edges    rows above and below the image are a line of zeros; tiles whose taps reach outside mask what they load. The last register of channels
         where it is partial is computed pixel by pixel with the taps there are, as are columns at the edges in backward_weight and where that
         saves a tile.
Cost     2 * 9 * mb * c * oh * ow flops; reads and writes every value once: bound by memory for images that do not fit the cache
Gains    over cy_depthwise, which loads a pixel for every tap and copies bands with a border
"""
cimport numpy as cnp
from libc.string cimport memset

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport (
    LM_VB, lanes, v_add, v_fence, v_fma, v_load, v_load_n, v_prefetch, v_store, v_store_n, v_stream, v_zero, vec,
)
from lamella.kernels._common.tile cimport ACT_NONE, BIAS_COLUMN, Epilogue, finish, plain
from lamella.kernels._common.types cimport i64, real
from lamella.kernels.conv2d.gather cimport IC, IH, IW, MB, OH, OW, SH, Gather, aligned, backward_gather, ceil_div, epilogue, forward_gather

cnp.import_array()

cdef enum:
    CHUNKS = 8              # private copies of dw at most
    UNITS = 16              # tasks wanted at least
    BLOCK = 8               # columns over which backward_weight sums in registers
    BAND = 192 * 1024       # bytes of source per task
    STREAM = 4 << 20        # bytes of results from which on they go past the caches
    FAR = 16 << 20          # bytes of images from which on they are fetched ahead: the caches do not hold them


cdef struct Gathered:
    Gather v
    i64 kh, kw              # taps form a rectangle
    i64 first, behind       # columns of the output whose taps are all inside


cdef struct Depthwise:
    Gathered parts[4]       # one per residue of the stride
    int count
    bint double_precision
    i64 item
    i64 channels
    i64 stride
    i64 rows                # of the largest gather
    i64 band_rows, bands
    Epilogue e
    const char *zeros       # a line
    bint stream             # results go past the caches
    bint far                # images lie beyond them
    i64 chunks
    char *private_
    i64 tables[4][27]


cdef inline int columns_of() noexcept nogil:
    return 4 if LM_VB == 64 else 2


cdef inline void row_of_tile(
    real t, int rows, int kh, int kw, int s, int i, const real *x, i64 channels, const vec *w, vec *acc, bint edge, i64 low, i64 high,
) noexcept nogil:
    """What source row i gives to the sums; its columns before low and from high on are zeros if this is an edge. All other numbers are constants."""
    cdef vec xv[9]
    cdef int r, q, j, u
    for u in range((columns_of() - 1) * s + kw):
        xv[u] = v_load_n(t, x + u * channels, lanes(t) if low <= u < high else 0) if edge else v_load(x + u * channels)
    for r in range(rows):
        if 0 <= i - r * s and i - r * s < kh:
            for q in range(columns_of()):
                for j in range(kw):
                    acc[r * columns_of() + q] = v_fma(t, xv[q * s + j], w[(i - r * s) * kw + j], acc[r * columns_of() + q])


cdef inline void tile(
    real t, int rows, int kh, int kw, int s, const real **x, i64 at, i64 channels, const real *wp, real *c, i64 row, i64 column,
    const Epilogue *e, bint stream, bint edge, i64 low, i64 high,
) noexcept nogil:
    """rows x columns_of() pixels of one register of channels, which source row i begins at x[i] + at."""
    cdef vec acc[8]
    cdef vec w[9]
    cdef int i, r, q
    for i in range(kh * kw):
        w[i] = v_load(wp + i * channels)
    for r in range(rows * columns_of()):
        acc[r] = v_zero()
    row_of_tile(t, rows, kh, kw, s, 0, x[0] + at, channels, w, acc, edge, low, high)
    if kh + (rows - 1) * s > 1:
        row_of_tile(t, rows, kh, kw, s, 1, x[1] + at, channels, w, acc, edge, low, high)
    if kh + (rows - 1) * s > 2:
        row_of_tile(t, rows, kh, kw, s, 2, x[2] + at, channels, w, acc, edge, low, high)
    if kh + (rows - 1) * s > 3:
        row_of_tile(t, rows, kh, kw, s, 3, x[3] + at, channels, w, acc, edge, low, high)
    for r in range(rows):
        for q in range(columns_of()):
            if e.act != ACT_NONE or e.bias_kind == BIAS_COLUMN:
                acc[r * columns_of() + q] = finish(t, acc[r * columns_of() + q], e, c, lanes(t), 0, 0)
            if stream:
                v_stream(c + r * row + q * column, acc[r * columns_of() + q])
            else:
                v_store(c + r * row + q * column, acc[r * columns_of() + q])


cdef inline void pixel(
    real t, i64 kh, i64 kw, i64 j0, i64 j1, const real **x, i64 channels, const real *wp, i64 n, real *c, const Epilogue *e,
) noexcept nogil:
    """One pixel, n channels, with the columns j0 to j1 of the filter."""
    cdef vec acc = v_zero()
    cdef i64 i, j
    for i in range(kh):
        for j in range(j0, j1):
            acc = v_fma(t, v_load_n(t, x[i] + j * channels, n), v_load_n(t, wp + (i * kw + j) * channels, n), acc)
    v_store_n(t, c, n, finish(t, acc, e, c, n, 0, 0))


cdef inline void rows_run(
    real t, int rows, int kh, int kw, int s, Depthwise *d, Gathered *a, const real **x, real *dst,
) noexcept nogil:
    """`rows` rows of the output: x[i] is where its column 0 reads source row i (before the image's first pixel, if there is padding)."""
    cdef Gather *v = &a.v
    cdef Epilogue e = d.e
    cdef const real *there[4]
    cdef i64 whole = d.channels // lanes(t) * lanes(t)
    cdef i64 q = 0, behind = v.columns, i, j, r, k, start, low, high
    cdef bint tiled
    cdef const real *wp = <const real *>v.wp
    if ceil_div(a.behind - a.first, columns_of()) < ceil_div(v.columns, columns_of()):       # tiles fit between the edges: those pixel by pixel
        q, behind = a.first, a.behind
    tiled = behind - q >= columns_of()
    while tiled and q < behind:
        start = min(q, behind - columns_of())           # the last tile computes some columns twice
        low = -start * s - v.x_low
        high = v.width + low
        for j in range(whole // lanes(t)):
            if e.bias_kind == BIAS_COLUMN:
                e.bias = <const real *>d.e.bias + j * lanes(t)
            for r in range(rows * s):           # the lines that the next rows will read first
                for k in range(columns_of() * s):
                    v_prefetch(x[kh - 1 + (rows - 1) * s] + ((r + 1) * v.width + start * s + k) * d.channels + j * lanes(t))
            if a.first <= start and start + columns_of() <= a.behind:
                tile(
                    t, rows, kh, kw, s, x, start * s * d.channels + j * lanes(t), d.channels, wp + j * lanes(t),
                    dst + start * v.dst_column + j * lanes(t), v.dst_row, v.dst_column, &e, d.stream, False, 0, 0,
                )
            else:
                tile(
                    t, rows, kh, kw, s, x, start * s * d.channels + j * lanes(t), d.channels, wp + j * lanes(t),
                    dst + start * v.dst_column + j * lanes(t), v.dst_row, v.dst_column, &e, d.stream, True, low, high,
                )
        q = start + columns_of()
    for i in range(v.columns):
        j = whole if tiled and (behind == v.columns or a.first <= i < behind) else 0
        while j < d.channels:
            if e.bias_kind == BIAS_COLUMN:
                e.bias = <const real *>d.e.bias + j
            for r in range(rows):
                for k in range(kh):
                    there[k] = x[r * s + k] + i * s * d.channels + j
                pixel(
                    t, kh, kw, max(-i * s - v.x_low, <i64>0), min(<i64>kw, v.width - i * s - v.x_low), there, d.channels, wp + j,
                    min(<i64>lanes(t), d.channels - j), dst + r * v.dst_row + i * v.dst_column + j, &e,
                )
            j += lanes(t)


cdef inline const real *source_row(real t, Depthwise *d, Gather *v, i64 image, i64 y) noexcept nogil:
    """Where column 0 of the output begins to read row y of the source, which is a line of zeros outside the image."""
    cdef const real *line = <const real *>d.zeros
    if 0 <= y and y < v.height:
        line = <const real *>v.src + (image * v.height + y) * v.width * d.channels
    return line + v.x_low * d.channels


cdef inline void rows_of_part(real t, Depthwise *d, Gathered *a, i64 image, i64 r, int rows) noexcept nogil:
    """`rows` rows of one gather, from r on."""
    cdef Gather *v = &a.v
    cdef const real *x[4]
    cdef real *dst = <real *>v.dst + v.dst_first + image * v.dst_image + r * v.dst_row
    cdef i64 i
    for i in range(a.kh + rows - 1):
        x[i] = source_row(t, d, v, image, r * v.sy + v.y_low + i)
    if rows == 2:
        rows_run(t, 2, 3, 3, 1, d, a, x, dst)
    elif v.sy == 2:
        rows_run(t, 1, 3, 3, 2, d, a, x, dst)
    elif a.kh == 3:
        rows_run(t, 1, 3, 3, 1, d, a, x, dst)
    elif a.kh == 2 and a.kw == 2:
        rows_run(t, 1, 2, 2, 1, d, a, x, dst)
    elif a.kh == 2:
        rows_run(t, 1, 2, 1, 1, d, a, x, dst)
    elif a.kw == 2:
        rows_run(t, 1, 1, 2, 1, d, a, x, dst)
    else:
        rows_run(t, 1, 1, 1, 1, d, a, x, dst)


cdef void band_task(real t, Depthwise *d, i64 task, i64 slot) noexcept nogil:
    cdef i64 r = task % d.bands * d.band_rows
    cdef i64 behind = min(d.rows, r + d.band_rows)
    cdef int part, rows
    while r < behind:
        rows = 2 if d.stride == 1 and r + 1 < behind else 1
        for part in range(d.count):
            if r < d.parts[part].v.rows:
                rows_of_part(t, d, &d.parts[part], task // d.bands, r, rows)
        r += rows
    if d.stream:
        v_fence()


cdef inline void sums_block(
    real t, int s, Gathered *a, i64 q, i64 behind, const real **x, const real *g, i64 channels, real *sums, bint far,
) noexcept nogil:
    """sums += x * g over the columns from q on of a row, all nine taps of one register of channels; x and g are where column 0 is."""
    cdef vec acc[9]
    cdef vec gv[4]
    cdef vec xv[9]
    cdef int i, j, k, u
    for i in range(9):
        acc[i] = v_load(sums + i * channels)
    while q < behind:
        if a.first <= q and q + columns_of() <= min(behind, a.behind):
            for k in range(columns_of()):
                gv[k] = v_load(g + (q + k) * channels)
            if far:                                     # what the next row will read first
                for k in range(columns_of()):
                    v_prefetch(g + a.v.dst_row + (q + k) * channels)
                for i in range(s):
                    for u in range(columns_of() * s):
                        v_prefetch(x[2] + ((i + 1) * a.v.width + q * s + u) * channels)
            for i in range(3):
                for u in range((columns_of() - 1) * s + 3):
                    xv[u] = v_load(x[i] + (q * s + u) * channels)
                for j in range(3):
                    for k in range(columns_of()):
                        acc[i * 3 + j] = v_fma(t, gv[k], xv[k * s + j], acc[i * 3 + j])
            q += columns_of()
        else:
            gv[0] = v_load(g + q * channels)
            for j in range(3):
                if 0 <= q * s + j + a.v.x_low and q * s + j + a.v.x_low < a.v.width:
                    for i in range(3):
                        acc[i * 3 + j] = v_fma(t, gv[0], v_load(x[i] + (q * s + j) * channels), acc[i * 3 + j])
            q += 1
    for i in range(9):
        v_store(sums + i * channels, acc[i])


cdef inline void sums_row(real t, int s, Depthwise *d, const real **x, const real *g, real *sums) noexcept nogil:
    """Add a row of g, and what it multiplies, to the private dw and db."""
    cdef Gathered *a = &d.parts[0]
    cdef Gather *v = &a.v
    cdef i64 width = d.channels
    cdef i64 whole = width // lanes(t) * lanes(t)
    cdef i64 q = 0, j, k, l
    cdef i64 n = width - whole
    cdef const real *there[3]
    while q < v.columns:
        for j in range(whole // lanes(t)):
            for k in range(3):
                there[k] = x[k] + j * lanes(t)
            sums_block(t, s, a, q, min(q + BLOCK, v.columns), there, g + j * lanes(t), width, sums + j * lanes(t), d.far)
        q += BLOCK
    if n:
        for q in range(v.columns):
            for k in range(3):
                for l in range(max(-q * s - v.x_low, <i64>0), min(<i64>3, v.width - q * s - v.x_low)):
                    v_store_n(t, sums + (k * 3 + l) * width + whole, n, v_fma(
                        t, v_load_n(t, x[k] + (q * s + l) * width + whole, n), v_load_n(t, g + q * width + whole, n),
                        v_load_n(t, sums + (k * 3 + l) * width + whole, n),
                    ))
    if v.db != NULL:
        for j in range(ceil_div(width, lanes(t))):
            add_row(t, v.columns, g + j * lanes(t), width, min(<i64>lanes(t), width - j * lanes(t)), sums + 9 * width + j * lanes(t))


cdef inline void add_row(real t, i64 columns, const real *g, i64 channels, i64 n, real *sums) noexcept nogil:
    cdef vec s = v_load_n(t, sums, n)
    cdef i64 q
    for q in range(columns):
        s = v_add(t, s, v_load_n(t, g + q * channels, n))
    v_store_n(t, sums, n, s)


cdef void chunk_task(real t, Depthwise *d, i64 chunk, i64 slot) noexcept nogil:
    """The private dw of a chunk of rows of all images: nine rows of channels, and one for db."""
    cdef Gather *v = &d.parts[0].v
    cdef real *sums = <real *>d.private_ + chunk * 10 * d.channels
    cdef const real *x[3]
    cdef i64 row, image, i
    memset(sums, 0, 10 * d.channels * sizeof(real))
    for row in range(chunk * v.mb * v.rows // d.chunks, (chunk + 1) * v.mb * v.rows // d.chunks):
        image = row // v.rows
        for i in range(3):
            x[i] = source_row(t, d, v, image, row % v.rows * v.sy + v.y_low + i)
        if d.stride == 1:
            sums_row(t, 1, d, x, <const real *>v.dst + row * v.dst_row, sums)
        else:
            sums_row(t, 2, d, x, <const real *>v.dst + row * v.dst_row, sums)


cdef void sum_private(real t, Depthwise *d) noexcept nogil:
    """Add up the private copies, in order, and lay the sum out as dw and db."""
    cdef Gather *v = &d.parts[0].v
    cdef real *sums = <real *>d.private_
    cdef i64 size = 10 * d.channels
    cdef i64 chunk, tap, c, i, n
    for i in range(ceil_div(size, lanes(t))):
        n = min(<i64>lanes(t), size - i * lanes(t))
        for chunk in range(1, d.chunks):
            v_store_n(t, sums + i * lanes(t), n, v_add(
                t, v_load_n(t, sums + i * lanes(t), n), v_load_n(t, sums + chunk * size + i * lanes(t), n),
            ))
    for c in range(d.channels):
        for tap in range(9):
            (<real *>v.dw)[c * 9 + tap] = sums[tap * d.channels + c]
        if v.db != NULL:
            (<real *>v.db)[c] = sums[9 * d.channels + c]


cdef void pack(real t, Depthwise *d) noexcept nogil:
    cdef Gather *v
    cdef i64 q, c
    cdef int part
    for part in range(d.count):
        v = &d.parts[part].v
        for c in range(d.channels):
            for q in range(v.taps):
                (<real *>v.wp)[q * d.channels + c] = (<const real *>v.w)[c * 9 + v.tw[q]]


cdef void band_f32(void *d, i64 task, i64 slot) noexcept nogil:
    band_task(<float>0, <Depthwise *>d, task, slot)


cdef void band_f64(void *d, i64 task, i64 slot) noexcept nogil:
    band_task(<double>0, <Depthwise *>d, task, slot)


cdef void chunk_f32(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<float>0, <Depthwise *>d, task, slot)


cdef void chunk_f64(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<double>0, <Depthwise *>d, task, slot)


cdef void plan(Depthwise *d, const i64 *p, bint double_precision, bint backward) noexcept nogil:
    """The gathers that have pixels, and bands of their rows."""
    cdef Gathered *a
    cdef Gather *v
    cdef i64 x, y, row
    memset(d, 0, sizeof(Depthwise))
    d.double_precision = double_precision
    d.item = 8 if double_precision else 4
    d.e = plain()
    d.channels = p[IC]
    d.stride = p[SH]
    for y in range(p[SH] if backward else 1):
        for x in range(p[SH] if backward else 1):
            a = &d.parts[d.count]
            v = &a.v
            v.ty = d.tables[d.count]
            v.tx = v.ty + 9
            v.tw = v.tx + 9
            if backward:
                backward_gather(v, p, d.item, y, x)
            else:
                forward_gather(v, p, d.item)
            if v.rows == 0 or v.columns == 0:
                continue
            a.kh = v.y_high - v.y_low + 1
            a.kw = v.x_high - v.x_low + 1
            a.first = min(max(ceil_div(-v.x_low, v.sx), <i64>0), v.columns)
            a.behind = max(a.first, min(v.columns, (v.width - 1 - v.x_high) // v.sx + 1 if v.width > v.x_high else 0))
            d.rows = max(d.rows, v.rows)
            d.count += 1
    v = &d.parts[0].v
    row = v.sy * v.width * d.channels * d.item
    d.band_rows = max(<i64>2, min(BAND // max(row, <i64>1), ceil_div(d.rows * v.mb, UNITS)) // 2 * 2)
    d.bands = ceil_div(d.rows, d.band_rows)
    d.chunks = max(<i64>1, min(<i64>CHUNKS, v.mb * v.rows))
    d.far = p[MB] * d.channels * d.item * (p[IH] * p[IW] + p[OH] * p[OW]) >= FAR
    d.stream = p[MB] * d.channels * d.item * (p[IH] * p[IW] if backward else p[OH] * p[OW]) >= STREAM


cdef i64 zeros_bytes(Depthwise *d) noexcept nogil:
    """A line of the source, and what its taps may reach beyond."""
    return aligned((d.parts[0].v.width + 4) * d.channels * d.item)


cdef void place(Depthwise *d, char *base) noexcept nogil:
    """Zeros, then packed weights."""
    cdef int part
    memset(base, 0, zeros_bytes(d))
    d.zeros = base
    for part in range(d.count):
        d.parts[part].v.wp = base + zeros_bytes(d) + part * aligned(9 * d.channels * d.item)
    d.private_ = base + zeros_bytes(d)


cdef double nanoseconds(Depthwise *d, const i64 *p) noexcept nogil:
    """A fused multiplication for each tap and pixel, or the memory they lie in."""
    return 0.01 * d.item * p[MB] * d.channels * (p[IH] * p[IW] + 2 * p[OH] * p[OW])


cdef void run_gathers(Depthwise *d, const i64 *p) noexcept nogil:
    if d.double_precision:
        pack(<double>0, d)
    else:
        pack(<float>0, d)
    d.stream = d.stream and <i64>d.parts[0].v.dst % LM_VB == 0 and d.channels * d.item % LM_VB == 0
    parallel_for(band_f64 if d.double_precision else band_f32, d, p[MB] * d.bands, nanoseconds(d, p), ANY_SLOTS)


def accepts(pass_, p):
    """3 x 3 at stride 1 or 2; zeros on either side reach over no more than a filter."""
    return p.groups == p.ic == p.oc and p.w_shape[2:] == (3, 3) and p.sh == p.sw <= 2 and p.dh == p.dw == 1 and max(p.ph, p.pw) <= 2


def scratch(pass_, p):
    """A line of zeros, then packed weights or private copies of dw."""
    cdef Depthwise d
    cdef cnp.ndarray geometry = p.geometry
    plan(&d, <const i64 *>cnp.PyArray_DATA(geometry), p.dtype.itemsize == 8, pass_ == "backward_input")
    if pass_ == "backward_weight":
        return zeros_bytes(&d) + aligned(d.chunks * 10 * d.channels * d.item), 0
    return zeros_bytes(&d) + d.count * aligned(9 * d.channels * d.item), 0


def forward(p, cnp.ndarray x, cnp.ndarray w, b, cnp.ndarray out, cnp.ndarray scratch):
    cdef Depthwise d
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *g = <const i64 *>cnp.PyArray_DATA(geometry)
    if cnp.PyArray_SIZE(out) == 0:
        return
    plan(&d, g, cnp.PyArray_TYPE(out) == cnp.NPY_FLOAT64, False)
    d.e = epilogue(g, p.slope, cnp.PyArray_BYTES(b) if b is not None else NULL)
    d.parts[0].v.src = cnp.PyArray_BYTES(x)
    d.parts[0].v.dst = cnp.PyArray_BYTES(out)
    d.parts[0].v.w = cnp.PyArray_BYTES(w)
    with nogil:
        place(&d, cnp.PyArray_BYTES(scratch))
        run_gathers(&d, g)


def backward_input(p, cnp.ndarray g, cnp.ndarray w, cnp.ndarray dx, cnp.ndarray scratch):
    cdef Depthwise d
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *q = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef int part
    if cnp.PyArray_SIZE(dx) == 0:
        return
    plan(&d, q, cnp.PyArray_TYPE(dx) == cnp.NPY_FLOAT64, True)
    for part in range(d.count):
        d.parts[part].v.src = cnp.PyArray_BYTES(g)
        d.parts[part].v.dst = cnp.PyArray_BYTES(dx)
        d.parts[part].v.w = cnp.PyArray_BYTES(w)
    with nogil:
        place(&d, cnp.PyArray_BYTES(scratch))
        run_gathers(&d, q)


def backward_weight(p, cnp.ndarray x, cnp.ndarray g, cnp.ndarray dw, db, cnp.ndarray scratch):
    cdef Depthwise d
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *q = <const i64 *>cnp.PyArray_DATA(geometry)
    plan(&d, q, cnp.PyArray_TYPE(dw) == cnp.NPY_FLOAT64, False)
    d.parts[0].v.src = cnp.PyArray_BYTES(x)
    d.parts[0].v.dst = cnp.PyArray_BYTES(g)     # the gather's output grid is g: read, not written
    d.parts[0].v.dw = cnp.PyArray_BYTES(dw)
    d.parts[0].v.db = cnp.PyArray_BYTES(db) if db is not None else NULL
    with nogil:
        place(&d, cnp.PyArray_BYTES(scratch))
        parallel_for(chunk_f64 if d.double_precision else chunk_f32, &d, d.chunks, nanoseconds(&d, q), ANY_SLOTS)
        if d.double_precision:
            sum_private(<double>0, &d)
        else:
            sum_private(<float>0, &d)
