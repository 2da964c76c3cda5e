"""Convolution with few pixels and many weights: the lanes are output pixels, and every weight is broadcast from where it lies.

    out[pixel, o] = sum over l of  w[o, l] * A[l, pixel]        l = (channel, tap), as in w       A[(c, t), pixel] = x[n, y*sh + ty[t], x*sw + tx[t], c]

Shapes   images (mb, c, h, w) in channels-last memory, weights (oc, ic / groups, kh, kw)
Packed   A, once per call, for all pixels: A[set][l][register], sets of up to three registers of pixels. w is not touched before it is multiplied.
         Where the last register would be less than half full, its pixels are left out (`alone`): they are rows of A instead, over l.
Tile     ROWS output channels x a set of registers: what broadcasts its weights costs least where three registers share each. A set of one register
         takes two times the rows. The sums are pixels in lanes: they are transposed on their way to out.
         Pixels alone: one or two x ROWS output channels, four x half as many; their lanes are l, and are added up for the strip in the end.

Loops    tasks: registers of pixels, while A is packed; then blocks of pixels, whose A stays in L2, x strips of 2 * ROWS output channels
         halves of the strip             their weights come from memory once, ROWS streams side by side, and stay in L2 for the other sets
         sets, then pixels alone; l
Edges    the last strip ends with the channels: it computes some of those of the strip before again, and does not store them.
Cost     2 * mb * oc * oh * ow * ic / groups * kh * kw flops; a copy of A, and the transpose of out.
Gains    over kernels that transpose the weights into panels first: that is 32 pixels' worth of work and more, if each weight meets few of them.
Loses    where pixels are many: A grows with them, and what packing of the weights costs is shared by all.
"""
cimport numpy as cnp
from libc.string cimport memcpy, memset

from lamella.kernels._common.pool cimport parallel_for
from lamella.kernels._common.simd cimport (
    LM_VB, lanes, opaque, v_fma, v_fresh_zero, v_load, v_load_n, v_pin, v_prefetch_write, v_store, v_zero, vacate, vec,
)
from lamella.kernels._common.tile cimport ACT_NONE, BIAS_COLUMN, BIAS_NONE, BIAS_ROW, Epilogue, finish_block, sums
from lamella.kernels._common.transpose cimport square, sum_lanes
from lamella.kernels._common.types cimport i64, real
from lamella.kernels.conv2d.gather cimport KH, KW, Gather, aligned, ceil_div, epilogue, forward_gather, odd_lines, source

cnp.import_array()

cdef enum:
    SET = 3                     # registers of pixels in a tile at most
    BLOCK = 512 * 1024          # bytes of A for which the weights pass by: with half a strip of them, inside L2


cdef extern from *:
    """
    #define LM_ROWS (LM_MR / 2 + 1)
    #define LM_STRIP (2 * LM_ROWS)
    """
    const int ROWS "LM_ROWS"    # output channels in a tile: ROWS * SET accumulators
    const int STRIP "LM_STRIP"  # output channels of a task


cdef struct Pixels:
    Gather v
    Epilogue e
    i64 pixels              # of all images
    i64 registers           # full of pixels, or more than half
    i64 alone               # pixels that are in none of them
    i64 pitch               # elements from row to row of those
    i64 strips              # of a group
    i64 block, blocks       # registers of a task; the last block takes what is left over
    i64 most                # registers of a task at most
    bint crowded            # weights of neighbouring channels meet in one set of L1
    double rate             # flops per ns of one thread
    char *a                 # A[group][set][l][register]
    char *rows              # of pixels alone: [group][pixel][l]
    char *work              # sums of a strip, of slot 0
    i64 work_bytes


cdef inline i64 set_width(i64 left) noexcept nogil:
    """Registers in the next set, if so many are left: four are twice two."""
    return SET if left >= SET and left != 4 else min(left, <i64>2)


cdef void pack_register(real t, Pixels *d, i64 group, i64 number) noexcept nogil:
    """A register of pixels, for all l."""
    cdef Gather *v = &d.v
    cdef i64 first = 0, width, i, pixel, tap, channel, n
    cdef i64 count = min(d.pixels - number * lanes(t), <i64>lanes(t))
    cdef i64 image[16]
    cdef i64 y[16]
    cdef i64 x[16]
    cdef real *a
    cdef const real *src[16]
    cdef real corner[256]           # [pixel][channel]
    while first + set_width(d.registers - first) <= number:
        first += set_width(d.registers - first)
    width = set_width(d.registers - first)
    a = <real *>d.a + ((group * d.registers + first) * v.k + number - first) * lanes(t)
    for i in range(count):
        pixel = number * lanes(t) + i
        image[i] = pixel // (v.rows * v.columns)
        y[i] = pixel // v.columns % v.rows
        x[i] = pixel % v.columns
    for i in range(count, lanes(t)):
        src[i] = NULL
    for tap in range(v.taps):
        for i in range(count):
            src[i] = source(t, v, image[i], y[i], x[i], tap, group)
        for channel in range(ceil_div(v.depth, lanes(t))):
            channel *= lanes(t)
            n = min(v.depth - channel, <i64>lanes(t))
            for i in range(lanes(t)):
                v_store(corner + i * lanes(t), v_zero() if src[i] == NULL else v_load_n(t, src[i] + channel, n))
            square(t, corner, lanes(t), a + (channel * v.taps + tap) * width * lanes(t), v.taps * width * lanes(t), lanes(t), n)


cdef void pack_alone(real t, Pixels *d, i64 group, i64 number) noexcept nogil:
    """The row of a pixel alone: its taps side by side, transposed; zero at the end."""
    cdef Gather *v = &d.v
    cdef i64 pixel = d.pixels - d.alone + number
    cdef i64 image = pixel // (v.rows * v.columns)
    cdef i64 y = pixel // v.columns % v.rows
    cdef i64 x = pixel % v.columns
    cdef i64 first, count, channel, n, tap
    cdef const real *src
    cdef real *row = <real *>d.rows + (group * d.alone + number) * d.pitch
    cdef real corner[256]           # [tap][channel]
    memset(row + v.k, 0, (d.pitch - v.k) * sizeof(real))
    if v.taps == 1:
        src = source(t, v, image, y, x, 0, group)
        if src == NULL:
            memset(row, 0, v.k * sizeof(real))
        else:
            memcpy(row, src, v.k * sizeof(real))
        return
    for first in range(ceil_div(v.taps, lanes(t))):
        first *= lanes(t)
        count = min(v.taps - first, <i64>lanes(t))
        for channel in range(ceil_div(v.depth, lanes(t))):
            channel *= lanes(t)
            n = min(v.depth - channel, <i64>lanes(t))
            for tap in range(count):
                src = source(t, v, image, y, x, first + tap, group)
                v_store(corner + tap * lanes(t), v_zero() if src == NULL else v_load_n(t, src + channel, n))
            square(t, corner, lanes(t), row + channel * v.taps + first, v.taps, count, n)


cdef void pack_task(real t, Pixels *d, i64 task) noexcept nogil:
    cdef i64 group = task // (d.registers + d.alone)
    cdef i64 number = task % (d.registers + d.alone)
    if number < d.registers:
        pack_register(t, d, group, number)
    else:
        pack_alone(t, d, group, number - d.registers)


cdef void set_tile(real t, i64 width, int blocks, i64 depth, const real *w, const real *a, real *c) noexcept nogil:
    """c[row][pixel] of ROWS channels and a set; of two times as many and a set of one register."""
    cdef i64 zero = 0
    if width == 3:
        sums(t, ROWS, 3, 1, 0, 0, 1, &zero, &zero, depth, w, depth, 1, a, 3 * lanes(t), -1, False, NULL, 0, NULL, NULL, 0, False, c, 3 * lanes(t), 3 * lanes(t))
    elif width == 2:
        sums(t, ROWS, 2, 1, 0, 0, 1, &zero, &zero, depth, w, depth, 1, a, 2 * lanes(t), -1, False, NULL, 0, NULL, NULL, 0, False, c, 2 * lanes(t), 2 * lanes(t))
    elif blocks == 1:
        sums(t, ROWS, 1, 1, 0, 0, 1, &zero, &zero, depth, w, depth, 1, a, lanes(t), -1, False, NULL, 0, NULL, NULL, 0, False, c, lanes(t), lanes(t))
    else:
        sums(
            t, ROWS, 1, 2, ROWS * depth, ROWS * lanes(t), 1, &zero, &zero, depth, w, depth, 1, a, lanes(t), -1, False, NULL, 0, NULL, NULL, 0, False,
            c, lanes(t), lanes(t),
        )


cdef inline void dots(real t, int mr, int nv, i64 depth, const real *w, const real *a, i64 pitch, real *c) noexcept nogil:
    """c[j * mr + i][lane] of channel i < mr and pixel j < nv: products of rows, whose lanes are still to be added up."""
    cdef vec acc[16]                # registers: indexed by constants alone
    cdef vec x[4]
    cdef const real *row[3]         # of channels 0, 3, 6
    cdef vec s
    cdef int i, j
    cdef i64 _l
    cdef i64 left = depth % lanes(t)
    for i in range((mr + 2) // 3):
        row[i] = <const real *>opaque(w + 3 * i * depth)
    vacate()
    for i in range(mr * nv):
        acc[i] = v_fresh_zero()
    for _l in range(depth // lanes(t)):
        for j in range(nv):
            x[j] = v_load(a + j * pitch)
        for i in range(mr):
            s = v_pin(v_load(row[i // 3] + i % 3 * depth))
            for j in range(nv):
                acc[j * mr + i] = v_fma(t, s, x[j], acc[j * mr + i])
        for i in range((mr + 2) // 3):
            row[i] += lanes(t)
        a += lanes(t)
    if left:
        for i in range(mr):
            s = v_load_n(t, row[i // 3] + i % 3 * depth, left)
            for j in range(nv):
                acc[j * mr + i] = v_fma(t, s, v_load(a + j * pitch), acc[j * mr + i])
    for i in range(mr * nv):
        v_store(c + i * lanes(t), acc[i])


cdef inline i64 alone_together(i64 left) noexcept nogil:
    """Pixels of the next tile of those alone, if so many are left."""
    return 4 if left >= 4 else 2 if left >= 2 else 1


cdef void alone_tiles(real t, i64 pixels, i64 depth, const real *w, const real *a, i64 pitch, real *c) noexcept nogil:
    """c[tile][pixel][channel][lane] of ROWS channels for 1, 2 or 4 pixels."""
    if pixels == 4:
        dots(t, ROWS // 2, 4, depth, w, a, pitch, c)
        dots(t, ROWS // 2, 4, depth, w + ROWS // 2 * depth, a, pitch, c + ROWS // 2 * 4 * lanes(t))
    elif pixels == 2:
        dots(t, ROWS, 2, depth, w, a, pitch, c)
    else:
        dots(t, ROWS, 1, depth, w, a, pitch, c)


cdef void add_lanes(real t, i64 pixels, const real *c, real *sums_) noexcept nogil:
    """sums_[pixel][channel] of the strip, from what alone_tiles left for both of its halves."""
    cdef real total[4 * 16]
    cdef vec each[16]
    cdef i64 rows = ROWS // 2 if pixels == 4 else ROWS
    cdef i64 i, j
    for i in range(STRIP * pixels // lanes(t)):
        for j in range(lanes(t)):
            each[j] = v_load(c + (i * lanes(t) + j) * lanes(t))
        v_store(total + i * lanes(t), sum_lanes(t, each))
    for i in range(STRIP // rows):
        for j in range(pixels):
            memcpy(sums_ + j * STRIP + i * rows, total + (i * pixels + j) * rows, rows * sizeof(real))


cdef void finish_set(real t, i64 width, real *c, i64 skip, i64 pixels, real *out, i64 ldc, const Epilogue *e) noexcept nogil:
    """The sums of a set, transposed, to the first of its pixels in out; the first `skip` channels of the strip are left out."""
    cdef i64 ld = width * lanes(t)
    cdef i64 channel = skip
    cdef i64 n, j
    cdef Epilogue f = e[0]
    if e.bias_kind != BIAS_NONE or e.act != ACT_NONE:       # a channel is a row here
        if e.bias_kind == BIAS_COLUMN:
            f.bias_kind = BIAS_ROW
        finish_block(t, c + skip * ld, ld, STRIP - skip, ld, c + skip * ld, ld, &f)
    while channel < STRIP:
        n = min(STRIP - channel, <i64>lanes(t))
        for j in range(width):
            square(t, c + channel * ld + j * lanes(t), ld, out + j * lanes(t) * ldc + channel - skip, ldc, n, min(pixels - j * lanes(t), <i64>lanes(t)))
        channel += n


cdef void strip_task(real t, Pixels *d, i64 task, i64 slot) noexcept nogil:
    """A strip of output channels, for a block of pixels."""
    cdef Gather *v = &d.v
    cdef i64 group = task // d.strips % v.groups
    cdef i64 block = task // (d.strips * v.groups)
    cdef bint last = block + 1 == d.blocks
    cdef i64 first = min(task % d.strips * STRIP, v.n - STRIP)      # of the group's channels
    cdef i64 skip = task % d.strips * STRIP - first
    cdef i64 channel = group * v.n + first + skip
    cdef const real *w = <const real *>v.w + group * v.w_group + first * v.k
    cdef const real *a = <const real *>d.a + group * d.registers * v.k * lanes(t)
    cdef const real *rows = <const real *>d.rows + group * d.alone * d.pitch
    cdef real *c = <real *>(d.work + slot * d.work_bytes)
    cdef real *rest = c + d.most * STRIP * lanes(t)                 # products of pixels alone
    cdef real *out = <real *>v.dst + channel
    cdef i64 start = block * d.block
    cdef i64 end = d.registers if last else start + d.block
    cdef i64 alone = d.alone if last else 0
    cdef i64 at, width, half, pixels, i
    cdef real *set_
    cdef real *to
    cdef Epilogue e = d.e
    if e.bias_kind == BIAS_COLUMN:
        e.bias = <const real *>d.e.bias + channel
    for half in range(2):
        at = start
        while at < end:
            width = set_width(d.registers - at)
            pixels = min(width * lanes(t), d.pixels - at * lanes(t))
            set_ = c + (at - start) * STRIP * lanes(t)
            to = out + at * lanes(t) * v.dst_column
            if half == 1:                               # time enough for what will be written to come from afar
                for i in range(pixels):
                    v_prefetch_write(to + i * v.dst_column)
            if width > 1 or d.crowded or half == 0:
                set_tile(
                    t, width, 1 if width > 1 or d.crowded else 2, v.k, w + half * ROWS * v.k, a + at * v.k * lanes(t),
                    set_ + half * ROWS * width * lanes(t),
                )
            if half == 1:                               # stores wait for lines of L1 while the next set is multiplied
                finish_set(t, width, set_, skip, pixels, to, v.dst_column, &e)
            at += width
        at = 0
        while at < alone:
            width = alone_together(alone - at)
            alone_tiles(
                t, width, v.k, w + half * ROWS * v.k, rows + at * d.pitch, d.pitch, rest + (at * STRIP + half * ROWS * width) * lanes(t),
            )
            at += width
    at = 0
    while at < alone:
        width = alone_together(alone - at)
        add_lanes(t, width, rest + at * STRIP * lanes(t), c)
        finish_block(t, c + skip, STRIP, width, STRIP - skip, out + (d.pixels - alone + at) * v.dst_column, v.dst_column, &e)
        at += width


cdef void pack_f32(void *d, i64 task, i64 slot) noexcept nogil:
    pack_task(<float>0, <Pixels *>d, task)


cdef void pack_f64(void *d, i64 task, i64 slot) noexcept nogil:
    pack_task(<double>0, <Pixels *>d, task)


cdef void strip_f32(void *d, i64 task, i64 slot) noexcept nogil:
    strip_task(<float>0, <Pixels *>d, task, slot)


cdef void strip_f64(void *d, i64 task, i64 slot) noexcept nogil:
    strip_task(<double>0, <Pixels *>d, task, slot)


cdef inline i64 tables_bytes(const i64 *p) noexcept nogil:
    return aligned(3 * p[KH] * p[KW] * 8)


cdef void plan(Pixels *d, const i64 *p, i64 item, char *tables) noexcept nogil:
    """Which pixels are lanes, and which are alone."""
    cdef Gather *v = &d.v
    cdef i64 width = LM_VB // item
    memset(d, 0, sizeof(Pixels))
    v.ty = <i64 *>tables
    v.tx = v.ty + p[KH] * p[KW]
    v.tw = v.tx + p[KH] * p[KW]
    forward_gather(v, p, item)
    v.k = v.taps * v.depth
    d.pixels = v.mb * v.rows * v.columns
    d.alone = d.pixels % width
    if 2 * d.alone >= width:
        d.alone = 0
    d.registers = ceil_div(d.pixels - d.alone, width)
    d.pitch = odd_lines(v.k + width, item)
    d.strips = ceil_div(v.n, STRIP)
    d.crowded = v.k * item % 4096 == 0
    d.block = max(<i64>1, BLOCK // (SET * v.k * LM_VB)) * SET
    d.blocks = max(<i64>1, d.registers // d.block)
    d.rate = LM_VB / 2.0 * 4 / item
    d.most = max(<i64>1, min(d.registers, 2 * d.block))
    d.work_bytes = aligned((d.most + d.alone) * STRIP * LM_VB + LM_VB)


cdef inline i64 registers_bytes(Pixels *d) noexcept nogil:
    return d.v.groups * d.registers * d.v.k * LM_VB


cdef inline i64 packed_bytes(Pixels *d, i64 item) noexcept nogil:
    return aligned(registers_bytes(d) + d.v.groups * d.alone * d.pitch * item)


def scratch(pass_, p):
    """Index tables and A, shared; the sums of a strip per thread."""
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *g = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef Pixels d
    cdef bytearray tables = bytearray(tables_bytes(g))
    plan(&d, g, p.dtype.itemsize, tables)
    return tables_bytes(g) + packed_bytes(&d, p.dtype.itemsize), d.work_bytes


def forward(p, cnp.ndarray x, cnp.ndarray w, b, cnp.ndarray out, cnp.ndarray scratch):
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *g = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef char *base = cnp.PyArray_BYTES(scratch)
    cdef i64 left = cnp.PyArray_SIZE(scratch)
    cdef bint double_precision = cnp.PyArray_TYPE(out) == cnp.NPY_FLOAT64
    cdef i64 item = 8 if double_precision else 4
    cdef Pixels d
    if cnp.PyArray_SIZE(out) == 0:
        return
    plan(&d, g, item, base)
    d.e = epilogue(g, p.slope, cnp.PyArray_BYTES(b) if b is not None else NULL)
    d.v.src = cnp.PyArray_BYTES(x)
    d.v.dst = cnp.PyArray_BYTES(out)
    d.v.w = cnp.PyArray_BYTES(w)
    d.a = base + tables_bytes(g)
    d.rows = d.a + registers_bytes(&d)
    d.work = d.a + packed_bytes(&d, item)
    left -= d.work - base
    with nogil:
        parallel_for(
            pack_f64 if double_precision else pack_f32, &d, d.v.groups * (d.registers + d.alone), 0.1 * d.pixels * d.v.groups * d.v.k,
            left // d.work_bytes,
        )
        parallel_for(
            strip_f64 if double_precision else strip_f32, &d, d.v.groups * d.strips * d.blocks, 2.0 * d.pixels * d.v.groups * d.v.n * d.v.k / d.rate,
            left // d.work_bytes,
        )
