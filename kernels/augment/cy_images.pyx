"""Augmentation, image by image.

    out = gain[c] v + offset[c],  v[c, y, x] = the image at row yy y + yx x + y0, column xy y + xx x + x0, changed in its values

Shapes   x (mb, ic, ih, iw), bytes or real; out (mb, ic, oh, ow), channels-last; a slot has planes of (ih + 3) x (iw + 3) and of oh x ow, and four rows
Loops    images are the tasks; each goes through the steps alone, in memory that the first cache level holds for 28 x 28 and 32 x 32 pixels
           moves by whole pixels, mirrored or not: bytes become reals in one sweep, then of each row the part that lies inside is one run of registers
           anything else: the image is copied into planes with a border, which spares the taps every question; a row of places and weights is
           worked out once and serves all channels
         the mean for the contrast needs the whole image: steps follow each other over the planes; the last one interleaves the channels.
         One channel lies in out from the start
Edges    places beyond the image are brought back before a tap is read, so that there are no masks
Cost     four taps and three products per pixel, which wait for loads; a move by whole pixels costs a copy
"""
cimport numpy as cnp

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport lanes, v_add, v_fma, v_hsum, v_load, v_load_n, v_set, v_store_n, v_zero, vec
from lamella.kernels._common.simd_index cimport v_iload, v_permute
from lamella.kernels._common.types cimport i32, i64, real, u8

cnp.import_array()

ctypedef unsigned int u32

cdef enum:
    ONE = 1 << 16
    HALF = 1 << 15
    TABLE = 4096

cdef enum:
    CONSTANT = 0
    EDGE = 1
    REFLECT = 2
    SYMMETRIC = 3

cdef enum:
    VALUES = 1
    NOISE = 2
    ERASE = 4
    CLIP = 8

cdef struct Context:
    const char *x
    const i32 *matrix
    const void *values
    const i64 *key
    const void *normal
    const i32 *erase
    const void *channels
    char *out
    char *scratch
    i64 ic, ih, iw, oh, ow, per_slot
    int border, steps
    bint last, nearest, bytes
    int top

cdef struct Mix:
    const char *x
    const i32 *partner
    const void *weight
    const i32 *box
    char *out
    i64 planes, rows, width, pixel      # a row has `width` numbers, `pixel` of them per pixel


cdef inline i64 rounded(i64 bytes) noexcept nogil:
    return (bytes + 63) // 64 * 64


cdef i64 planes_bytes(i64 ic, i64 ih, i64 iw, i64 item) noexcept nogil:
    return rounded(ic * (ih + 3) * (iw + 3) * item)


cdef i64 work_bytes(i64 ic, i64 oh, i64 ow, i64 item) noexcept nogil:
    return rounded(ic * oh * ow * item) if ic > 1 else 0


cdef i64 slot_bytes(i64 ic, i64 ih, i64 iw, i64 oh, i64 ow, i64 item) noexcept nogil:
    return planes_bytes(ic, ih, iw, item) + work_bytes(ic, oh, ow, item) + 2 * rounded(ow * item) + rounded(4 * ow)


def scratch(pass_, p):
    return 0, slot_bytes(p.ic, p.ih, p.iw, p.oh, p.ow, p.dtype.itemsize) if pass_ == "forward" else 0


cdef inline real element(real t, bint bytes, const void *x, i64 i) noexcept nogil:
    return <real>(<const u8 *>x)[i] if bytes else (<const real *>x)[i]


cdef inline i32 between(i32 at, i32 low, i32 high) noexcept nogil:
    at = low if at < low else at
    return high if at > high else at


cdef inline i32 placed(i32 at, i32 n, int border) noexcept nogil:
    cdef i32 length, half
    if border == CONSTANT:
        return between(at, -ONE, n * ONE)
    if border >= REFLECT:
        half = HALF if border == SYMMETRIC else 0
        length = n * ONE if border == SYMMETRIC else (n - 1) * ONE
        if length == 0:
            return 0
        at = (at + half) % (2 * length)
        at = at + 2 * length if at < 0 else at
        at = (2 * length - at if at > length else at) - half
    return between(at, 0, (n - 1) * ONE)


cdef inline vec backwards(real t) noexcept nogil:
    """The lanes' numbers in falling order."""
    cdef i32 lane[16]
    cdef i64 i
    for i in range(lanes(t)):
        lane[i] = <i32>(lanes(t) - 1 - i)
    return v_iload(t, 4, lane, lanes(t))


cdef inline void run(real t, const real *x, i64 n, bint mirrored, vec order, real gain, real offset, real *out) noexcept nogil:
    """gain x + offset, forwards; mirrored: from x downwards, `order` being the lanes backwards."""
    cdef i64 i = 0, full
    cdef vec v, gains = v_set(gain), offsets = v_set(offset)
    while i < n:
        full = min(n - i, <i64>lanes(t))
        if mirrored and full == lanes(t):
            v = v_permute(t, v_load(x - i - full + 1), order)
        elif mirrored:
            while i < n:
                out[i] = gain * x[-i] + offset
                i += 1
            return
        else:
            v = v_load_n(t, x + i, full)
        v_store_n(t, out + i, full, v_fma(t, gains, v, offsets))
        i += lanes(t)


cdef void whole(real t, Context *c, i64 n, const real *planes, i64 ld, i64 size, real gain, real offset, real *v, i32 *at) noexcept nogil:
    """A move by whole pixels, mirrored or not, of planes whose rows are ld apart and which are `size` apart."""
    cdef const i32 *m = c.matrix + 6 * n
    cdef const real *fill = <const real *>c.channels
    cdef i64 iw = c.iw, ow = c.ow, y, x, r, channel, low, high, x0 = m[5] >> 16
    cdef bint mirrored = m[4] < 0
    cdef vec order = backwards(t)
    cdef const real *row
    cdef real *to
    # of a row, the pixels from low to below high lie inside
    low = min(max(x0 - iw + 1 if mirrored else -x0, 0), ow)
    high = max(min(x0 + 1 if mirrored else iw - x0, ow), low)
    if c.border != CONSTANT and (low > 0 or high < ow):
        for x in range(ow):
            at[x] = placed(<i32>((x0 - x if mirrored else x0 + x) * ONE), <i32>iw, c.border) >> 16
    for channel in range(c.ic):
        for y in range(c.oh):
            to = v + (channel * c.oh + y) * ow
            r = placed(m[0] * <i32>y + m[2], <i32>c.ih, c.border) >> 16
            if r < 0 or r >= c.ih:
                for x in range(ow):
                    to[x] = gain * fill[channel] + offset
                continue
            row = planes + channel * size + r * ld
            if c.border == CONSTANT:
                for x in range(low):
                    to[x] = gain * fill[channel] + offset
                for x in range(high, ow):
                    to[x] = gain * fill[channel] + offset
            elif low > 0 or high < ow:
                for x in range(low):
                    to[x] = gain * row[at[x]] + offset
                for x in range(high, ow):
                    to[x] = gain * row[at[x]] + offset
            run(t, row + (x0 - low if mirrored else x0 + low), high - low, mirrored, order, gain, offset, to + low)


cdef void converted(real t, bint bytes, Context *c, i64 n, real *planes) noexcept nogil:
    """The image as planes of reals."""
    cdef i64 size = c.ih * c.iw, i, channel
    cdef const char *x = c.x + n * c.ic * size * (1 if bytes else <i64>sizeof(real))
    if not c.last or c.ic == 1:
        for i in range(c.ic * size):
            planes[i] = element(t, bytes, x, i)
        return
    for channel in range(c.ic):
        for i in range(size):
            planes[channel * size + i] = element(t, bytes, x, i * c.ic + channel)


cdef void bordered(real t, bint bytes, Context *c, i64 n, real *planes) noexcept nogil:
    """The image in planes, with one row and column of fill before and two behind."""
    cdef const real *fill = <const real *>c.channels
    cdef i64 ih = c.ih, iw = c.iw, ld = c.iw + 3
    cdef i64 step = c.ic if c.last else 1
    cdef i64 y, x, channel
    cdef const char *row
    cdef real *to
    cdef real value
    for channel in range(c.ic):
        value = fill[channel]
        for y in range(-1, ih + 2):
            to = planes + (channel * (ih + 3) + y + 1) * ld
            if y < 0 or y >= ih:
                for x in range(ld):
                    to[x] = value
                continue
            row = c.x + (n * c.ic * ih * iw + (y * iw * step + channel if c.last else (channel * ih + y) * iw)) * (1 if bytes else <i64>sizeof(real))
            to[0] = value
            if step == 1:
                for x in range(iw):
                    to[1 + x] = element(t, bytes, row, x)
            else:
                for x in range(iw):
                    to[1 + x] = element(t, bytes, row, x * step)
            to[iw + 1] = value
            to[iw + 2] = value


cdef inline void places(real t, int border, Context *c, const i32 *m, i64 y, i32 *at, real *down, real *right) noexcept nogil:
    """A row of first taps and weights; `border` is a constant at every call."""
    cdef i32 x, row, column
    cdef i32 ld = <i32>c.iw + 3, ih = <i32>c.ih, iw = <i32>c.iw
    cdef i32 half = HALF if c.nearest else 128
    cdef i32 mask = 0 if c.nearest else 255
    cdef i32 row0 = m[0] * <i32>y + m[2], column0 = m[3] * <i32>y + m[5], down_step = m[1], right_step = m[4]
    cdef real unit = <real>(1.0 / 256)
    for x in range(<i32>c.ow):
        row = placed(row0 + down_step * x, ih, border) + half
        column = placed(column0 + right_step * x, iw, border) + half
        at[x] = ((row >> 16) + 1) * ld + (column >> 16) + 1
        down[x] = <real>((row >> 8) & mask) * unit
        right[x] = <real>((column >> 8) & mask) * unit


cdef void sampled(real t, Context *c, i64 n, const real *planes, real *v, i32 *at, real *down, real *right) noexcept nogil:
    cdef const i32 *m = c.matrix + 6 * n
    cdef i64 ld = c.iw + 3
    cdef i64 y, x, channel, i
    cdef const real *upper
    cdef const real *lower
    cdef real a, b
    cdef real *to
    for y in range(c.oh):
        if c.border == CONSTANT:
            places(t, CONSTANT, c, m, y, at, down, right)
        elif c.border == EDGE:
            places(t, EDGE, c, m, y, at, down, right)
        elif c.border == REFLECT:
            places(t, REFLECT, c, m, y, at, down, right)
        else:
            places(t, SYMMETRIC, c, m, y, at, down, right)
        for channel in range(c.ic):
            upper = planes + channel * (c.ih + 3) * ld
            lower = upper + ld
            to = v + (channel * c.oh + y) * c.ow
            if c.nearest:
                for x in range(c.ow):
                    to[x] = upper[at[x]]
                continue
            for x in range(c.ow):
                i = at[x]
                a = upper[i] + right[x] * (upper[i + 1] - upper[i])
                b = lower[i] + right[x] * (lower[i + 1] - lower[i])
                to[x] = a + down[x] * (b - a)


cdef inline real clipped(real v, real top) noexcept nogil:
    v = 0 if v < 0 else v
    return top if v > top else v


cdef real total(real t, const real *v, i64 n) noexcept nogil:
    cdef vec sum = v_zero()
    cdef i64 i = 0
    cdef real rest = 0
    while i + lanes(t) <= n:
        sum = v_add(t, sum, v_load(v + i))
        i += lanes(t)
    while i < n:
        rest += v[i]
        i += 1
    return v_hsum(t, sum) + rest


cdef void valued(real t, Context *c, const real *values, real *v) noexcept nogil:
    cdef i64 size = c.oh * c.ow, all = c.ic * size, i
    cdef real brightness = values[0], contrast = values[1], top = <real>c.top, mean
    if brightness != 1:
        for i in range(all):
            v[i] = clipped(brightness * v[i], top)
    else:
        for i in range(all):
            v[i] = clipped(v[i], top)
    if contrast == 1:
        return
    if c.ic == 3:
        mean = <real>0.2989 * total(t, v, size) + <real>0.587 * total(t, v + size, size) + <real>0.114 * total(t, v + 2 * size, size)
        mean = (1 - contrast) * (mean / <real>size)
    else:
        mean = (1 - contrast) * (total(t, v, all) / <real>all)
    for i in range(all):
        v[i] = clipped(contrast * v[i] + mean, top)


cdef inline u32 mixed(u32 h) noexcept nogil:
    h = h ^ (h >> 16)
    h = h * <u32>0x85EBCA6B
    h = h ^ (h >> 13)
    h = h * <u32>0xC2B2AE35
    return h ^ (h >> 16)


cdef void noisy(real t, Context *c, i64 n, real sigma, real *v, u32 *hashes) noexcept nogil:
    cdef const real *normal = <const real *>c.normal
    cdef u32 low = <u32>c.key[n], high = <u32>(c.key[n] >> 32), e, h
    cdef i64 ow = c.ow, row, x
    cdef real top = <real>c.top
    for row in range(c.ic * c.oh):
        e = <u32>(row * ow)
        for x in range(ow):
            hashes[x] = mixed(mixed((e + <u32>x) * <u32>0x9E3779B9 + low) ^ high)
        for x in range(ow):
            h = hashes[x]
            v[row * ow + x] += sigma * (normal[h & (TABLE - 1)] + normal[(h >> 12) & (TABLE - 1)])
        if c.steps & CLIP:
            for x in range(ow):
                v[row * ow + x] = clipped(v[row * ow + x], top)


cdef void finished(real t, Context *c, i64 n, bint plain, const real *v, real *out) noexcept nogil:
    """Gain and offset, the channels interleaved, the box erased."""
    cdef i64 ic = c.ic, size = c.oh * c.ow, i, y, channel
    cdef const real *gain = <const real *>c.channels + ic
    cdef const real *offset = gain + ic
    cdef const real *erased = offset + ic
    cdef const i32 *box
    cdef real g0 = gain[0], o0 = offset[0], g1, g2, o1, o2
    if plain:
        pass
    elif ic == 1:
        for i in range(size):
            out[i] = g0 * v[i] + o0
    elif ic == 3:
        g1 = gain[1]
        g2 = gain[2]
        o1 = offset[1]
        o2 = offset[2]
        for i in range(size):
            out[3 * i] = g0 * v[i] + o0
            out[3 * i + 1] = g1 * v[size + i] + o1
            out[3 * i + 2] = g2 * v[2 * size + i] + o2
    else:
        for channel in range(ic):
            for i in range(size):
                out[i * ic + channel] = gain[channel] * v[channel * size + i] + offset[channel]
    if c.steps & ERASE:
        box = c.erase + 4 * n
        for y in range(box[0], box[2]):
            for i in range(y * c.ow + box[1], y * c.ow + box[3]):
                for channel in range(ic):
                    out[i * ic + channel] = erased[channel]


cdef void image(real t, Context *c, i64 n, i64 slot) noexcept nogil:
    cdef i64 item = <i64>sizeof(real)
    cdef char *mine = c.scratch + slot * c.per_slot
    cdef real *planes = <real *>mine
    cdef real *work = <real *>(mine + planes_bytes(c.ic, c.ih, c.iw, item))
    cdef real *down = <real *>(mine + planes_bytes(c.ic, c.ih, c.iw, item) + work_bytes(c.ic, c.oh, c.ow, item))
    cdef real *right = <real *>(<char *>down + rounded(c.ow * item))
    cdef i32 *at = <i32 *>(<char *>right + rounded(c.ow * item))
    cdef real *out = <real *>c.out + n * c.ic * c.oh * c.ow
    cdef real *v = out if c.ic == 1 else work
    cdef const i32 *m = c.matrix + 6 * n
    cdef const real *values = <const real *>c.values
    cdef const real *gain = <const real *>c.channels + c.ic
    cdef const real *source
    cdef bint plain = False     # gain and offset are in already
    if (m[0] == ONE or m[0] == -ONE) and (m[4] == ONE or m[4] == -ONE) and m[1] == 0 and m[3] == 0 and (m[2] | m[5]) & (ONE - 1) == 0:
        plain = c.ic == 1 and c.steps & (VALUES | NOISE) == 0
        source = planes
        if c.bytes:
            converted(t, True, c, n, planes)
        elif c.last and c.ic > 1:
            converted(t, False, c, n, planes)
        else:
            source = <const real *>c.x + n * c.ic * c.ih * c.iw
        whole(t, c, n, source, c.iw, c.ih * c.iw, gain[0] if plain else <real>1, gain[1] if plain else <real>0, v, at)
    else:
        if c.bytes:
            bordered(t, True, c, n, planes)
        else:
            bordered(t, False, c, n, planes)
        sampled(t, c, n, planes, v, at, down, right)
    if c.steps & VALUES:
        valued(t, c, values + 3 * n, v)
    if c.steps & NOISE:
        noisy(t, c, n, values[3 * n + 2], v, <u32 *>at)
    finished(t, c, n, plain, v, out)


cdef void task_f32(void *context, i64 n, i64 slot) noexcept nogil:
    image(<float>0, <Context *>context, n, slot)


cdef void task_f64(void *context, i64 n, i64 slot) noexcept nogil:
    image(<double>0, <Context *>context, n, slot)


cdef const void *data(x) noexcept:
    return NULL if x is None else cnp.PyArray_DATA(<cnp.ndarray>x)


def forward(p, cnp.ndarray x, matrix, values, key, normal, erase, channels, cnp.ndarray out, cnp.ndarray scratch):
    cdef Context c
    cdef bint double_precision = cnp.PyArray_TYPE(out) == cnp.NPY_FLOAT64
    c.x = cnp.PyArray_BYTES(x)
    c.matrix = <const i32 *>data(matrix)
    c.values = data(values)
    c.key = <const i64 *>data(key)
    c.normal = data(normal)
    c.erase = <const i32 *>data(erase)
    c.channels = data(channels)
    c.out = cnp.PyArray_BYTES(out)
    c.scratch = cnp.PyArray_BYTES(scratch)
    c.ic = p.ic
    c.ih = p.ih
    c.iw = p.iw
    c.oh = p.oh
    c.ow = p.ow
    c.last = p.last
    c.border = p.border
    c.nearest = p.nearest
    c.steps = p.steps
    c.top = p.top
    c.bytes = cnp.PyArray_TYPE(x) == cnp.NPY_UINT8
    c.per_slot = slot_bytes(c.ic, c.ih, c.iw, c.oh, c.ow, 8 if double_precision else 4)
    cdef i64 mb = p.mb, slots = cnp.PyArray_NBYTES(scratch) // c.per_slot
    with nogil:
        parallel_for(task_f64 if double_precision else task_f32, &c, mb, 1.0 * mb * c.ic * c.oh * c.ow, slots)


cdef void mixed_image(real t, Mix *c, i64 n) noexcept nogil:
    cdef i64 size = c.planes * c.rows * c.width, _, y, i, left, right
    cdef const real *a = <const real *>c.x + n * size
    cdef const real *b = <const real *>c.x + c.partner[n] * size
    cdef real *out = <real *>c.out + n * size
    cdef real weight = (<const real *>c.weight)[n], other = 1 - weight
    cdef const i32 *box = c.box + 4 * n
    left = box[1] * c.pixel
    right = box[3] * c.pixel
    for _ in range(c.planes):
        for y in range(c.rows):
            if y < box[0] or y >= box[2]:
                for i in range(c.width):
                    out[i] = a[i]
            else:
                for i in range(left):
                    out[i] = a[i]
                for i in range(left, right):
                    out[i] = weight * a[i] + other * b[i]
                for i in range(right, c.width):
                    out[i] = a[i]
            a += c.width
            b += c.width
            out += c.width


cdef void mix_f32(void *context, i64 n, i64 slot) noexcept nogil:
    mixed_image(<float>0, <Mix *>context, n)


cdef void mix_f64(void *context, i64 n, i64 slot) noexcept nogil:
    mixed_image(<double>0, <Mix *>context, n)


def mix(p, cnp.ndarray x, cnp.ndarray partner, cnp.ndarray weight, cnp.ndarray box, cnp.ndarray out, scratch):
    cdef Mix c
    cdef bint double_precision = cnp.PyArray_TYPE(out) == cnp.NPY_FLOAT64
    c.x = cnp.PyArray_BYTES(x)
    c.partner = <const i32 *>cnp.PyArray_DATA(partner)
    c.weight = cnp.PyArray_DATA(weight)
    c.box = <const i32 *>cnp.PyArray_DATA(box)
    c.out = cnp.PyArray_BYTES(out)
    c.pixel = p.ic if p.last else 1
    c.planes = 1 if p.last else p.ic
    c.rows = p.ih
    c.width = p.iw * c.pixel
    cdef i64 mb = p.mb
    with nogil:
        parallel_for(mix_f64 if double_precision else mix_f32, &c, mb, 0.2 * mb * c.planes * c.rows * c.width, ANY_SLOTS)
