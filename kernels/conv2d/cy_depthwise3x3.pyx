"""Depthwise 3 x 3 convolution at stride 1 or 2: tiles of pixels read the image in place, every value of it once for all its taps.

    dst[n, r, q, c] = act(b[c] + sum over taps t of  src[n, r*s + ty[t], q*s + tx[t], c] * w[c, t])         (gather.pxd, one channel per group)
    dw[c, t] = sum over n, r, q of  x[n, r*s + ty[t], q*s + tx[t], c] * g[n, r, q, c]

Shapes   images (mb, c, h, w) in channels-last memory, weights (c, 1, 3, 3)
Packed   wp[register of channels][t][lanes]
Tile     forward, backward_input: 2 rows x 4 columns of pixels x 1 register of channels (stride 1): 24 loads of pixels and 9 of weights
         for 72 FMA. backward_input at stride 2 has four gathers with 1, 2, 2 and 4 taps, tiles of 1 x 4.
         backward_weight: 9 taps x 1 register of channels, summed over columns, 4 at a time: 22 loads for 36 FMA

Loops    tasks: image, band of rows; backward_input at stride 2 does all four gathers of a band, so that g is read once from memory
         results larger than L2 are stored past the caches: what they would push out is what is read next
         blocks of channels whose rows stay in L1 (one block, if few would), rows, columns of the tile, registers of channels: channels
         innermost, because they are what lies side by side in memory. Of images that no cache holds, the rows that come next are fetched ahead; from
         a cache the processor fetches them itself.
         backward_weight: tasks are chunks of bands, with a private dw each, x blocks of registers, added in order afterwards; groups of rows,
         registers of channels, columns. Images that no cache holds: blocks of columns before registers, in the order of memory, the next row
         fetched ahead.
Edges    rows above and below the image are a line of zeros; tiles whose taps reach outside mask what they load. The last register of channels
         where it is partial is computed pixel by pixel with the taps there are (backward_weight: masked), as are columns at the edges in
         backward_weight and where that saves a tile.
Cost     2 * 9 * mb * c * oh * ow flops; reads and writes every value once: bound by memory for images that do not fit the cache
Gains    over cy_depthwise, which loads a pixel for every tap and copies bands with a border
"""
cimport numpy as cnp
from libc.string cimport memset

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport (
    LM_VB, lanes, opaque, v_add, v_fence, v_fma, v_load, v_load_n, v_pin, v_prefetch, v_store, v_store_n, v_stream, v_zero, vec,
)
from lamella.kernels._common.tile cimport ACT_NONE, BIAS_COLUMN, Epilogue, finish, plain
from lamella.kernels._common.transpose cimport square
from lamella.kernels._common.types cimport i64, real
from lamella.kernels.conv2d.gather cimport IC, IH, IW, MB, OH, OW, SH, Gather, aligned, backward_gather, ceil_div, epilogue, forward_gather

cnp.import_array()

cdef enum:
    TASKS = 8               # of backward_weight, wanted at least
    BLOCK = 16              # registers of channels of such a task, at most
    UNIT = 128 * 1024       # bytes of both images of a band: inside L2
    COLUMNS = 64            # that are summed at once, rows of them, before the next register
    FEW = 8                 # of x, the same in images that no cache holds: read in the order in which they lie there
    UNITS = 16              # tasks of the other passes, wanted at least
    BAND = 192 * 1024       # bytes of source per task
    NEAR = 32 * 1024        # bytes of source rows, those to come too, that stay in L1
    LEAST = 4               # registers of channels in them at least
    FAR = 16 << 20          # bytes of images that no cache holds
    STREAM = 1 << 20        # bytes of results from which on they go past the caches


cdef struct Gathered:
    Gather v
    i64 kh, kw              # taps form a rectangle
    i64 first, behind       # columns of the output whose taps are all inside


cdef struct Depthwise:
    Gathered parts[4]       # one per residue of the stride
    int count
    bint double_precision
    i64 item
    i64 channels, registers
    i64 stride
    i64 rows                # of the largest gather
    i64 band_rows, bands
    Epilogue e
    const char *zeros       # a line
    bint stream             # results go past the caches
    i64 chunks              # backward_weight: private copies of dw, of blocks of registers
    i64 block, blocks
    bint far
    char *private_
    i64 tables[4][27]


cdef inline int columns_of() noexcept nogil:
    return 4 if LM_VB == 64 else 2


cdef inline void row_of_tile(
    real t, int rows, int kh, int kw, int s, int i, const real *x, i64 at, i64 channels, const vec *w, vec *acc, bint edge, const real **columns,
) noexcept nogil:
    """What source row i gives to the sums; at an edge, its columns are where a table says. rows, kh, kw, s, i and edge are constants."""
    cdef vec xv[9]
    cdef const real *xp[3]          # as in tile.pxd: of columns 0, 3 and 6
    cdef int r, q, j, u
    for u in range(3):
        xp[u] = <const real *>opaque(x + at + 3 * u * channels)
    for u in range((columns_of() - 1) * s + kw):
        xv[u] = v_load(columns[u] + at) if edge else v_load(xp[u // 3] + u % 3 * channels)
    for r in range(rows):
        if 0 <= i - r * s and i - r * s < kh:
            for q in range(columns_of()):
                for j in range(kw):
                    acc[r * columns_of() + q] = v_fma(t, xv[q * s + j], w[(i - r * s) * kw + j], acc[r * columns_of() + q])


cdef inline void tile(
    real t, int rows, int kh, int kw, int s, const real **x, i64 at, i64 channels, const real *wp, real *c, i64 row, i64 column,
    const Epilogue *e, bint stream, bint edge, const real **columns,
) noexcept nogil:
    """rows x columns_of() pixels of one register of channels, which source row i begins at x[i] + at, or whose columns begin at columns[9 * i ..] + at."""
    cdef vec acc[8]
    cdef vec done[8]
    cdef vec w[9]
    cdef int i, r, q
    for i in range(kh * kw):
        w[i] = v_load(wp + i * lanes(t))
    for r in range(rows * columns_of()):
        acc[r] = v_zero()
    row_of_tile(t, rows, kh, kw, s, 0, x[0], at, channels, w, acc, edge, columns)
    if kh + (rows - 1) * s > 1:
        row_of_tile(t, rows, kh, kw, s, 1, x[1], at, channels, w, acc, edge, columns + 9)
    if kh + (rows - 1) * s > 2:
        row_of_tile(t, rows, kh, kw, s, 2, x[2], at, channels, w, acc, edge, columns + 18)
    if kh + (rows - 1) * s > 3:
        row_of_tile(t, rows, kh, kw, s, 3, x[3], at, channels, w, acc, edge, columns + 27)
    if e.act != ACT_NONE or e.bias_kind == BIAS_COLUMN:
        for r in range(rows * columns_of()):
            done[r] = v_pin(acc[r])             # acc stays in registers: only done is indexed by a variable
        for r in range(rows * columns_of()):
            done[r] = finish(t, done[r], e, c, lanes(t), 0, 0)
        for r in range(rows * columns_of()):
            acc[r] = done[r]
    for r in range(rows):
        for q in range(columns_of()):
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
            acc = v_fma(t, v_load_n(t, x[i] + j * channels, n), v_load_n(t, wp + (i * kw + j) * lanes(t), n), acc)
    v_store_n(t, c, n, finish(t, acc, e, c, n, 0, 0))


cdef inline void rows_run(
    real t, int rows, int kh, int kw, int s, Depthwise *d, Gathered *a, const real **x, real *dst, i64 c0, i64 c1, const real *ahead,
) noexcept nogil:
    """`rows` rows of the output, channels c0 to c1: x[i] is where its column 0 reads source row i (before the image's first pixel, if there is
    padding). ahead: where it will begin to read next."""
    cdef Gather *v = &a.v
    cdef Epilogue e = d.e
    cdef const real *there[4]
    cdef const real *table[36]
    cdef const real *p
    cdef i64 whole = c0 + (c1 - c0) // lanes(t) * lanes(t)
    cdef i64 first = 0, behind = v.columns, q, i, j, r, k, start, _k
    cdef bint tiled, edge, inside
    cdef const real *wp = <const real *>v.wp
    if ceil_div(a.behind - a.first, columns_of()) < ceil_div(v.columns, columns_of()):       # tiles fit between the edges: those pixel by pixel
        first, behind = a.first, a.behind
    tiled = behind - first >= columns_of()
    q = first
    while tiled and q < behind:
        start = min(q, behind - columns_of())           # the last tile computes some columns twice
        edge = start < a.first or start + columns_of() > a.behind
        if edge:
            for i in range(kh + (rows - 1) * s):
                for k in range((columns_of() - 1) * s + kw):
                    inside = 0 <= start * s + k + v.x_low and start * s + k + v.x_low < v.width
                    table[9 * i + k] = x[i] + (start * s + k) * d.channels if inside else <const real *>d.zeros
        j = c0
        while j < whole:
            if e.bias_kind == BIAS_COLUMN:
                e.bias = <const real *>d.e.bias + j
            for r in range(rows * s if ahead != NULL else 0):
                p = ahead + (r * v.width + start * s) * d.channels + j
                for _k in range(columns_of() * s):
                    v_prefetch(p)
                    p = <const real *>opaque(p + d.channels)
            if edge:
                tile(
                    t, rows, kh, kw, s, x, j, d.channels, wp + j * kh * kw,
                    dst + start * v.dst_column + j, v.dst_row, v.dst_column, &e, d.stream, True, table,
                )
            else:
                tile(
                    t, rows, kh, kw, s, x, start * s * d.channels + j, d.channels, wp + j * kh * kw,
                    dst + start * v.dst_column + j, v.dst_row, v.dst_column, &e, d.stream, False, table,
                )
            j += lanes(t)
        q = start + columns_of()
    for i in range(v.columns):
        j = whole if tiled and first <= i < behind else c0
        while j < c1:
            if e.bias_kind == BIAS_COLUMN:
                e.bias = <const real *>d.e.bias + j
            for r in range(rows):
                for k in range(kh):
                    there[k] = x[r * s + k] + i * s * d.channels + j
                pixel(
                    t, kh, kw, max(-i * s - v.x_low, <i64>0), min(<i64>kw, v.width - i * s - v.x_low), there, d.channels, wp + j * kh * kw,
                    min(<i64>lanes(t), c1 - j), dst + r * v.dst_row + i * v.dst_column + j, &e,
                )
            j += lanes(t)


cdef inline const real *source_row(real t, Depthwise *d, Gather *v, i64 image, i64 y) noexcept nogil:
    """Where column 0 of the output begins to read row y of the source, which is a line of zeros outside the image."""
    cdef const real *line = <const real *>d.zeros
    if 0 <= y and y < v.height:
        line = <const real *>v.src + (image * v.height + y) * v.width * d.channels
    return line + v.x_low * d.channels


cdef inline void rows_of_part(real t, Depthwise *d, Gathered *a, i64 image, i64 r, int rows, i64 c0, i64 c1, const real *ahead) noexcept nogil:
    """`rows` rows of one gather, from r on, channels c0 to c1."""
    cdef Gather *v = &a.v
    cdef const real *x[4]
    cdef real *dst = <real *>v.dst + v.dst_first + image * v.dst_image + r * v.dst_row
    cdef i64 i
    for i in range(a.kh + rows - 1):
        x[i] = source_row(t, d, v, image, r * v.sy + v.y_low + i)
    if rows == 2:
        rows_run(t, 2, 3, 3, 1, d, a, x, dst, c0, c1, ahead)
    elif v.sy == 2:
        rows_run(t, 1, 3, 3, 2, d, a, x, dst, c0, c1, ahead)
    elif a.kh == 3:
        rows_run(t, 1, 3, 3, 1, d, a, x, dst, c0, c1, ahead)
    elif a.kh == 2 and a.kw == 2:
        rows_run(t, 1, 2, 2, 1, d, a, x, dst, c0, c1, ahead)
    elif a.kh == 2:
        rows_run(t, 1, 2, 1, 1, d, a, x, dst, c0, c1, ahead)
    elif a.kw == 2:
        rows_run(t, 1, 1, 2, 1, d, a, x, dst, c0, c1, ahead)
    else:
        rows_run(t, 1, 1, 1, 1, d, a, x, dst, c0, c1, ahead)


cdef void band_task(real t, Depthwise *d, i64 task, i64 slot) noexcept nogil:
    cdef Gather *v = &d.parts[0].v
    cdef i64 first = task % d.bands * d.band_rows
    cdef i64 behind = min(d.rows, first + d.band_rows)
    cdef i64 image = task // d.bands
    cdef i64 width = d.block * lanes(t)
    cdef i64 block, r, next_
    cdef int part, rows
    cdef const real *ahead
    for block in range(d.blocks):
        r = first
        while r < behind:
            rows = 2 if d.stride == 1 and r + 1 < behind else 1
            next_ = (r + rows - 1) * v.sy + d.parts[d.count - 1].v.y_high + 1       # the first row that was not read yet
            ahead = <const real *>v.src + (image * v.height + next_) * v.width * d.channels
            if r + rows >= behind and block + 1 < d.blocks:
                ahead = <const real *>v.src + (image * v.height + max(first * v.sy + v.y_low, <i64>0)) * v.width * d.channels + width
            for part in range(d.count):
                if r < d.parts[part].v.rows:
                    rows_of_part(
                        t, d, &d.parts[part], image, r, rows, block * width, min(d.channels, (block + 1) * width), ahead if part == 0 and (d.far or d.count > 1) else NULL)
            r += rows
    if d.stream:
        v_fence()


cdef inline vec value(real t, bint whole, const real *p, i64 n) noexcept nogil:
    return v_load(p) if whole else v_load_n(t, p, n)


cdef inline void register_sums(
    real t, int s, bint whole, i64 n, Depthwise *d, i64 image, i64 r0, i64 r1, i64 q0, i64 q1, i64 at, real *sums,
) noexcept nogil:
    """sums += x * g over rows r0 to r1 and columns q0 to q1 of an image, all nine taps of the n channels from `at` on."""
    cdef Gathered *a = &d.parts[0]
    cdef Gather *v = &a.v
    cdef i64 channels = d.channels, first = a.first, behind = min(a.behind, q1) - columns_of()
    cdef vec acc[9]
    cdef vec gv[4]
    cdef vec xv[9]
    cdef const real *x[3]
    cdef const real *at_x[3]        # as in tile.pxd: of columns 0, 3 and 6
    cdef const real *at_g[2]        # of columns 0 and 2
    cdef const real *g
    cdef i64 r, q, u
    cdef int i, j, k
    for i in range(9):
        acc[i] = v_load(sums + i * lanes(t))
    for r in range(r0, r1):
        for i in range(3):
            x[i] = source_row(t, d, v, image, r * s + v.y_low + i) + at
        g = <const real *>v.dst + (image * v.rows + r) * v.dst_row + at
        for u in range(q0, q1 if d.far else q0):
            v_prefetch(g + v.dst_row + u * channels)
            for i in range(s):
                for j in range(s):
                    v_prefetch(x[2] + ((i + 1) * v.width + u * s + j) * channels)
        q = q0
        while q < q1:
            if first <= q and q <= behind:
                for k in range(2):
                    at_g[k] = <const real *>opaque(g + (q + 2 * k) * channels)
                for k in range(columns_of()):
                    gv[k] = value(t, whole, at_g[k // 2] + k % 2 * channels, n)
                for i in range(3):
                    for k in range(3):
                        at_x[k] = <const real *>opaque(x[i] + (q * s + 3 * k) * channels)
                    for k in range((columns_of() - 1) * s + 3):
                        xv[k] = value(t, whole, at_x[k // 3] + k % 3 * channels, n)
                    for j in range(3):
                        for k in range(columns_of()):
                            acc[i * 3 + j] = v_fma(t, gv[k], xv[k * s + j], acc[i * 3 + j])
                q += columns_of()
            else:
                gv[0] = value(t, whole, g + q * channels, n)
                for j in range(3):
                    if 0 <= q * s + j + v.x_low and q * s + j + v.x_low < v.width:
                        for i in range(3):
                            acc[i * 3 + j] = v_fma(t, gv[0], value(t, whole, x[i] + (q * s + j) * channels, n), acc[i * 3 + j])
                q += 1
    for i in range(9):
        v_store(sums + i * lanes(t), acc[i])


cdef inline void add_pixels(real t, i64 count, const real *g, i64 channels, i64 n, real *sums) noexcept nogil:
    cdef vec s = v_load(sums)
    cdef i64 q
    for q in range(count):
        s = v_add(t, s, v_load_n(t, g + q * channels, n))
    v_store(sums, s)


cdef void chunk_task(real t, Depthwise *d, i64 task, i64 slot) noexcept nogil:
    """The private dw of a chunk of bands, for a block of registers."""
    cdef Gather *v = &d.parts[0].v
    cdef i64 chunk = task // d.blocks
    cdef i64 first = task % d.blocks * d.block
    cdef i64 last = min(first + d.block, d.registers)
    cdef i64 units = v.mb * d.bands
    cdef i64 unit, image, r0, r1, high, q0, q1, j, n
    cdef const real *g
    cdef real *sums
    memset(<real *>d.private_ + (chunk * d.registers + first) * 10 * lanes(t), 0, (last - first) * 10 * LM_VB)
    for unit in range(chunk * units // d.chunks, (chunk + 1) * units // d.chunks):
        image = unit // d.bands
        r0 = unit % d.bands * d.band_rows
        r1 = min(r0 + d.band_rows, v.rows)
        while r0 < r1:
            high = min(r1, r0 + max(<i64>1, COLUMNS // v.columns))
            q0 = 0
            while q0 < v.columns:
                q1 = min(v.columns, q0 + (FEW // d.stride if d.far else v.columns))
                for j in range(first, last):
                    sums = <real *>d.private_ + (chunk * d.registers + j) * 10 * lanes(t)
                    n = min(<i64>lanes(t), d.channels - j * lanes(t))
                    if d.stride == 1:
                        if n == lanes(t):
                            register_sums(t, 1, True, n, d, image, r0, high, q0, q1, j * lanes(t), sums)
                        else:
                            register_sums(t, 1, False, n, d, image, r0, high, q0, q1, j * lanes(t), sums)
                    elif n == lanes(t):
                        register_sums(t, 2, True, n, d, image, r0, high, q0, q1, j * lanes(t), sums)
                    else:
                        register_sums(t, 2, False, n, d, image, r0, high, q0, q1, j * lanes(t), sums)
                    if v.db != NULL and q1 == v.columns:
                        g = <const real *>v.dst + (image * v.rows + r0) * v.dst_row + j * lanes(t)
                        add_pixels(t, (high - r0) * v.columns, g, d.channels, n, sums + 9 * lanes(t))
                q0 = q1
            r0 = high


cdef void sum_private(real t, Depthwise *d) noexcept nogil:
    """Add up the private copies, in order, and lay the sum out as dw and db."""
    cdef Gather *v = &d.parts[0].v
    cdef i64 size = d.registers * 10 * lanes(t)
    cdef const real *sums
    cdef real corner[9 * 16]
    cdef i64 chunk, tap, j, n
    cdef vec s
    for j in range(d.registers):
        n = min(<i64>lanes(t), d.channels - j * lanes(t))
        for tap in range(10):
            sums = <const real *>d.private_ + (j * 10 + tap) * lanes(t)
            s = v_load(sums)
            for chunk in range(1, d.chunks):
                s = v_add(t, s, v_load(sums + chunk * size))
            if tap < 9:
                v_store(corner + tap * lanes(t), s)
            elif v.db != NULL:
                v_store_n(t, <real *>v.db + j * lanes(t), n, s)
        tap = 0
        while tap < 9:
            square(t, corner + tap * lanes(t), lanes(t), <real *>v.dw + j * lanes(t) * 9 + tap, 9, min(<i64>lanes(t), 9 - tap), n)
            tap += lanes(t)


cdef void pack(real t, Depthwise *d) noexcept nogil:
    cdef Gather *v
    cdef real corner[9 * 16]
    cdef i64 j, n, tap, q
    cdef int part
    for j in range(d.registers):
        n = min(<i64>lanes(t), d.channels - j * lanes(t))
        tap = 0
        while tap < 9:
            square(t, <const real *>d.parts[0].v.w + j * lanes(t) * 9 + tap, 9, corner + tap * lanes(t), lanes(t), n, min(<i64>lanes(t), 9 - tap))
            tap += lanes(t)
        for part in range(d.count):
            v = &d.parts[part].v
            for q in range(v.taps):
                v_store(<real *>v.wp + (j * v.taps + q) * lanes(t), v_load_n(t, corner + v.tw[q] * lanes(t), n))


cdef void band_f32(void *d, i64 task, i64 slot) noexcept nogil:
    band_task(<float>0, <Depthwise *>d, task, slot)


cdef void band_f64(void *d, i64 task, i64 slot) noexcept nogil:
    band_task(<double>0, <Depthwise *>d, task, slot)


cdef void chunk_f32(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<float>0, <Depthwise *>d, task, slot)


cdef void chunk_f64(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<double>0, <Depthwise *>d, task, slot)


cdef void plan(Depthwise *d, const i64 *p, bint double_precision, bint backward, bint weight) noexcept nogil:
    """The gathers that have pixels, and bands of their rows."""
    cdef Gathered *a
    cdef Gather *v
    cdef i64 x, y, row, near
    memset(d, 0, sizeof(Depthwise))
    d.double_precision = double_precision
    d.item = 8 if double_precision else 4
    d.e = plain()
    d.channels = p[IC]
    d.registers = ceil_div(d.channels * d.item, LM_VB)
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
    near = NEAR // ((3 + 2 * d.stride) * v.width * LM_VB + 1)
    d.blocks = ceil_div(d.registers, near) if near >= LEAST else 1
    d.band_rows = max(<i64>2, min(BAND // max(row, <i64>1) if d.blocks == 1 else d.rows, ceil_div(d.rows * v.mb, UNITS)) // 2 * 2)
    d.far = p[MB] * d.channels * d.item * (p[IH] * p[IW] + p[OH] * p[OW]) >= FAR
    if weight:
        d.blocks = 1 if d.far else ceil_div(d.registers, BLOCK)
        d.band_rows = max(<i64>1, min(v.rows, UNIT // max(ceil_div(d.registers, d.blocks) * LM_VB * (v.width * v.sy + v.columns), <i64>1)))
    d.block = ceil_div(d.registers, d.blocks)
    d.bands = ceil_div(d.rows, d.band_rows)
    d.chunks = max(<i64>1, min(ceil_div(TASKS, max(d.blocks, <i64>1)), v.mb * d.bands))
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
        d.parts[part].v.wp = base + zeros_bytes(d) + part * aligned(9 * d.registers * LM_VB)
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
    plan(&d, <const i64 *>cnp.PyArray_DATA(geometry), p.dtype.itemsize == 8, pass_ == "backward_input", pass_ == "backward_weight")
    if pass_ == "backward_weight":
        return zeros_bytes(&d) + aligned(d.chunks * d.registers * 10 * LM_VB), 0
    return zeros_bytes(&d) + d.count * aligned(9 * d.registers * LM_VB), 0


def forward(p, cnp.ndarray x, cnp.ndarray w, b, cnp.ndarray out, cnp.ndarray scratch):
    cdef Depthwise d
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *g = <const i64 *>cnp.PyArray_DATA(geometry)
    if cnp.PyArray_SIZE(out) == 0:
        return
    plan(&d, g, cnp.PyArray_TYPE(out) == cnp.NPY_FLOAT64, False, False)
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
    plan(&d, q, cnp.PyArray_TYPE(dx) == cnp.NPY_FLOAT64, True, False)
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
    plan(&d, q, cnp.PyArray_TYPE(dw) == cnp.NPY_FLOAT64, False, True)
    d.parts[0].v.src = cnp.PyArray_BYTES(x)
    d.parts[0].v.dst = cnp.PyArray_BYTES(g)     # the gather's output grid is g: read, not written
    d.parts[0].v.dw = cnp.PyArray_BYTES(dw)
    d.parts[0].v.db = cnp.PyArray_BYTES(db) if db is not None else NULL
    with nogil:
        place(&d, cnp.PyArray_BYTES(scratch))
        parallel_for(chunk_f64 if d.double_precision else chunk_f32, &d, d.chunks * d.blocks, nanoseconds(&d, q), ANY_SLOTS)
        if d.double_precision:
            sum_private(<double>0, &d)
        else:
            sum_private(<float>0, &d)
