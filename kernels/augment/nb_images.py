"""Augmentation, image by image; the Numba twin of cy_images.

    out = gain[c] v + offset[c],  v[c, y, x] = the image at row yy y + yx x + y0, column xy y + xx x + x0, changed in its values

Shapes   x (mb, ic, ih, iw), bytes or floats; out (mb, ic, oh, ow), channels-last; a slot has planes of (ih + 3) x (iw + 3) and of oh x ow, and three lines
Loops    as in cy_images, where the reasons stand: images are the tasks; whole-pixel moves read planes without a border, others with one; then
         the values, the noise, and the channels interleaved. All of them go by registers. Where a loop reads one memory and writes another, its last
         register ends with the line and overlaps the one before: no masks
Taps     two neighbours are one load; their places are worked out in registers and read from memory, each once for all channels of a register
Mirrors  a border's `%` is a product with the reciprocal: the quotient is below 2^14, so that it is at most one off, and two choices mend that
Cost     two loads of pairs per pixel and channel
"""

from functools import cache, lru_cache

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, array_i32, array_i64, array_u8, floats_of, inline, ints, program, runs, task
from lamella.kernels._common.nb_simd import lanes, maximum, minimum, select, simd
from lamella.kernels.augment import _nb_registers

ONE, HALF, TABLE = 1 << 16, 1 << 15, 4096
CONSTANT, EDGE, REFLECT, SYMMETRIC = range(4)
VALUES, NOISE, ERASE, CLIP = 1, 2, 4, 8


def line(p):
    """Elements of a line of places or weights, which whole registers may overrun."""
    return max(p.oh, p.ow) + lanes(p.dtype)


def slot_bytes(p):
    numbers = p.ic * ((p.ih + 3) * (p.iw + 3) + (p.oh * p.ow if p.ic > 1 else 0)) + 2 * line(p)
    return -(-(numbers * p.dtype.itemsize + 4 * line(p)) // 64) * 64


def scratch(pass_, p):
    return 0, slot_bytes(p) if pass_ == "forward" else 0


@cache
def parts_of(dtype):
    """Of a line of n elements, a register, or what is left of one."""
    v = simd(dtype)
    count = v.lanes

    @inline
    def get(src, n):
        return v.load(src) if n >= count else v.load_n(src, n)

    @inline
    def put(to, n, x):
        if n >= count:
            v.store(to, x)
        else:
            v.store_n(to, n, x)

    return get, put


@cache
def steps_of(dtype):
    """What does not depend on the images' type, by registers along lines of memory."""
    v, w, real, number, size_of = simd(dtype), _nb_registers.places(dtype), floats_of(dtype), dtype.type, dtype.itemsize
    get, put = parts_of(dtype)
    count = v.lanes

    @inline
    def filled(to, n, value):
        for i in range(0, n, count):
            put(to + i * size_of, n - i, v.set(value))

    @inline
    def run(src, n, mirrored, gain, offset, to):
        """gain x + offset from src on; mirrored: downwards."""
        if n < count:
            for i in range(n):
                real(to + i * size_of)[0] = gain * real(src - i * size_of if mirrored else src + i * size_of)[0] + offset
            return
        for start in range(0, n, count):
            i = min(start, n - count)
            if mirrored:
                x = w.backwards(v.load(src - (i + count - 1) * size_of))
            else:
                x = v.load(src + i * size_of)
            v.store(to + i * size_of, v.fma(v.set(gain), x, v.set(offset)))

    @inline
    def placed(at, n, border):
        low, high = 0, (n - 1) * ONE
        if border == CONSTANT:
            low, high = -ONE, n * ONE
        if border >= REFLECT:
            half = HALF if border == SYMMETRIC else 0
            length = n * ONE if border == SYMMETRIC else (n - 1) * ONE
            period = max(2 * length, ONE)
            at = at + half
            at = at - w.truncated(w.numbers(at) * number(1.0 / period)) * period
            at = select(at < 0, at + period, at)
            at = select(at >= period, at - period, at)
            at = select(at > length, period - at, at) - half
        return minimum(maximum(at, low), high)

    @inline
    def pixels_at(first, step, n, inside, border, at):
        """The n places first, first + step, ... as whole pixels, of `inside` that there are."""
        for i in range(0, n, count):
            w.store(at + 4 * i, w.shift(placed(w.upwards(i) * step + first, inside, border), 16))

    @inline
    def clipped(x, top):
        return minimum(top, maximum(number(0), x))

    @inline
    def valued(x_at, brightness, contrast, ic, size, top):
        mean = number(0)
        for channel in range(ic):
            total = v.zero()
            for i in range(0, size, count):
                here = x_at + (channel * size + i) * size_of
                x = clipped(get(here, size - i) * brightness, top)
                put(here, size - i, x)
                total = total + x
            share = number(1)
            if ic == 3:
                share = number(0.2989) if channel == 0 else number(0.587) if channel == 1 else number(0.114)
            mean += share * v.sum(total)
        if contrast == 1:
            return
        mean = (number(1) - contrast) * (mean / number(size if ic == 3 else ic * size))
        for i in range(0, ic * size, count):
            here = x_at + i * size_of
            put(here, ic * size - i, clipped(v.fma(v.set(contrast), get(here, ic * size - i), v.set(mean)), top))

    @inline
    def mixed(h):
        h = w.xor(h, w.logical(h, 16)) * w.set(0x85EBCA6B)
        h = w.xor(h, w.logical(h, 13)) * w.set(0xC2B2AE35)
        return w.xor(h, w.logical(h, 16))

    @inline
    def noisy(x_at, key, normal, sigma, n, clip, top, chunk, first, second):
        """Chunk by chunk: the places in the table of a chunk, then its elements."""
        low, high = w.set(key), w.set(key >> 32)
        for start in range(0, n, chunk):
            end = min(n, start + chunk)
            for i in range(start, end, count):
                h = mixed(w.xor(mixed(w.upwards(i) * w.set(0x9E3779B9) + low), high))
                w.store(first + 4 * (i - start), h & (TABLE - 1))
                w.store(second + 4 * (i - start), w.logical(h, 12) & (TABLE - 1))
            for i in range(start, end, count):
                here, taken = x_at + i * size_of, 4 * (i - start)
                z = w.nearest(normal, first + taken) + w.nearest(normal, second + taken)
                x = v.fma(v.set(sigma), z, get(here, end - i))
                put(here, end - i, clipped(x, top) if clip else x)

    return filled, run, placed, pixels_at, valued, noisy


@cache
def tasks(dtype, source):
    v, w, real, number, size_of = simd(dtype), _nb_registers.places(dtype), floats_of(dtype), dtype.type, dtype.itemsize
    given, item, bytes_ = _nb_registers.pixels(dtype, source), 1 if source == "uint8" else size_of, source == "uint8"
    (get, put), (filled, run, placed, pixels_at, valued, noisy) = parts_of(dtype), steps_of(dtype)
    count = v.lanes
    pixel = array_u8 if bytes_ else real

    @inline
    def converted(x, ic, last, rows, width, to, ld, plane):
        """The image as planes of rows that are ld bytes apart."""
        step = ic if last else 1
        if width >= count and step == 3:
            for y in range(rows):
                for start in range(0, width, count):
                    i = min(start, width - count)
                    given.apart(x + (y * width + i) * 3 * item, to + y * ld + i * size_of, plane)
            return
        for channel in range(ic):
            for y in range(rows):
                src, dst = x + (y * width * step + (channel if last else channel * rows * width)) * item, to + channel * plane + y * ld
                if width >= count and step == 1:
                    for start in range(0, width, count):
                        i = min(start, width - count)
                        v.store(dst + i * size_of, given.load(src + i * item))
                else:
                    for i in range(width):
                        real(dst + i * size_of)[0] = number(pixel(src + i * step * item)[0])

    @inline
    def beyond(row, start, end, border, columns, gain, offset, outside, to):
        """Of a row, pixels that lie outside."""
        for i in range(start, end):
            value = outside
            if border != CONSTANT:
                value = gain * real(row + np.int64(array_i32(columns + 4 * i)[0]) * size_of)[0] + offset
            real(to + i * size_of)[0] = value

    @inline
    def whole(m, ic, ih, iw, oh, ow, border, planes, fill, gain, offset, to, columns, rows):
        """A move by whole pixels, mirrored or not."""
        first, mirrored = np.int64(m[5]) >> 16, m[4] < 0
        # of a row, the pixels from low to below high lie inside
        low = min(max(first - iw + 1 if mirrored else -first, 0), ow)
        high = max(min(first + 1 if mirrored else iw - first, ow), low)
        pixels_at(np.int64(m[2]), np.int64(m[0]), oh, ih, border, rows)
        pixels_at(np.int64(m[5]), np.int64(m[4]), ow, iw, border, columns)
        for channel in range(ic):
            outside = gain * fill[channel] + offset
            for y in range(oh):
                r, here = np.int64(array_i32(rows + 4 * y)[0]), to + (channel * oh + y) * ow * size_of
                if r < 0 or r >= ih:
                    filled(here, ow, outside)
                    continue
                row = planes + (channel * ih + r) * iw * size_of
                beyond(row, 0, low, border, columns, gain, offset, outside, here)
                run(row + (first - low if mirrored else first + low) * size_of, high - low, mirrored, gain, offset, here + low * size_of)
                beyond(row, high, ow, border, columns, gain, offset, outside, here)

    @inline
    def sampled(m, ic, ih, iw, oh, ow, border, nearest, planes, gain, offset, to, at, down, right):
        ld, plane = (iw + 3) * size_of, (ih + 3) * (iw + 3) * size_of
        half, mask = (HALF, 0) if nearest else (128, 255)
        for y in range(oh):
            for i in range(0, ow, count):
                x = w.upwards(i)
                row = placed(x * np.int64(m[1]) + (np.int64(m[0]) * y + m[2]), ih, border) + half
                column = placed(x * np.int64(m[4]) + (np.int64(m[3]) * y + m[5]), iw, border) + half
                w.store(at + 4 * i, (w.shift(row, 16) + 1) * (iw + 3) + w.shift(column, 16) + 1)
                v.store(down + i * size_of, w.numbers(w.shift(row, 8) & mask) * number(1 / 256))
                v.store(right + i * size_of, w.numbers(w.shift(column, 8) & mask) * number(1 / 256))
            for channel in range(ic):
                src, here = planes + channel * plane, to + (channel * oh + y) * ow * size_of
                for i in range(0, ow, count):
                    if nearest:
                        x = w.nearest(src, at + 4 * i)
                    else:
                        x = w.bilinear(src, ld, at + 4 * i, v.load(right + i * size_of), v.load(down + i * size_of))
                    put(here + i * size_of, ow - i, v.fma(v.set(gain), x, v.set(offset)))

    @inline
    def finished(src, ic, size, channels, out):
        """Gain and offset, the channels interleaved."""
        if ic == 3 and size >= count:
            for start in range(0, size, count):
                here = src + min(start, size - count) * size_of
                w.together(
                    out + 3 * (here - src),
                    v.fma(v.set(channels[3]), v.load(here), v.set(channels[6])),
                    v.fma(v.set(channels[4]), v.load(here + size * size_of), v.set(channels[7])),
                    v.fma(v.set(channels[5]), v.load(here + 2 * size * size_of), v.set(channels[8])),
                )
        elif ic == 1:
            for i in range(0, size, count):
                x = get(src + i * size_of, size - i)
                put(out + i * size_of, size - i, v.fma(v.set(channels[1]), x, v.set(channels[2])))
        else:
            for channel in range(ic):
                for i in range(size):
                    x = real(src + (channel * size + i) * size_of)[0]
                    real(out + (i * ic + channel) * size_of)[0] = channels[ic + channel] * x + channels[2 * ic + channel]

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        ic, ih, iw, oh, ow, last = c[9], c[10], c[11], c[12], c[13], c[14] and c[9] > 1
        border, nearest, steps, top = c[15], c[16], c[17], number(c[18])
        x, m = c[0] + task * ic * ih * iw * item, array_i32(c[1] + task * 24)
        channels, size, out = real(c[6]), oh * ow, c[7] + task * ic * oh * ow * size_of
        planes = c[8] + slot * c[19]
        to = planes + ic * (ih + 3) * (iw + 3) * size_of
        down = to + (ic * size * size_of if ic > 1 else 0)
        right = down + c[20] * size_of
        at = right + c[20] * size_of
        to = to if ic > 1 else out
        plain = ic == 1 and steps & (VALUES | NOISE) == 0
        gain, offset = (channels[1], channels[2]) if plain else (number(1), number(0))
        turned = m[1] != 0 or m[3] != 0 or (m[2] | m[5]) & (ONE - 1) != 0
        if not turned and (m[0] == ONE or m[0] == -ONE) and (m[4] == ONE or m[4] == -ONE):
            if bytes_ or last:
                converted(x, ic, last, 1, ih * iw, planes, 0, ih * iw * size_of)
            whole(m, ic, ih, iw, oh, ow, border, planes if bytes_ or last else x, channels, gain, offset, to, at, right)
        else:
            plane = (ih + 3) * (iw + 3)
            for channel in range(ic):
                filled(planes + channel * plane * size_of, plane, channels[channel])
            converted(x, ic, last, ih, iw, planes + (iw + 4) * size_of, (iw + 3) * size_of, plane * size_of)
            sampled(m, ic, ih, iw, oh, ow, border, nearest, planes, gain, offset, to, at, down, right)
        changes, key, n = real(c[2] + 3 * task * size_of), array_i64(c[3] + 8 * task), ic * size
        if steps & VALUES:
            valued(to, changes[0], changes[1], ic, size, top)
        if steps & NOISE:
            noisy(to, key[0], c[4], changes[2], n, steps & CLIP != 0, top, c[20] // count * count, at, right)
        if not plain:
            finished(to, ic, size, channels, out)
        if steps & ERASE:
            box = array_i32(c[5] + 16 * task)
            for y in range(box[0], box[2]):
                start, width = out + (y * ow + box[1]) * ic * size_of, np.int64(box[3]) - box[1]
                for channel in range(ic):
                    for i in range(width):
                        real(start + (i * ic + channel) * size_of)[0] = channels[3 * ic + channel]

    return work


@cache
def mixing(dtype):
    v, real, number, size_of = simd(dtype), floats_of(dtype), dtype.type, dtype.itemsize
    count = v.lanes

    @inline
    def copied(src, to, n):
        end = n // count * count
        for i in range(0, end, count):
            v.store(to + i * size_of, v.load(src + i * size_of))
        if end < n:
            v.store_n(to + end * size_of, n - end, v.load_n(src + end * size_of, n - end))

    @inline
    def blended(a, b, weight, to, n):
        end, w, other = n // count * count, v.set(weight), v.set(number(1) - weight)
        for i in range(0, end, count):
            v.store(to + i * size_of, v.fma(w, v.load(a + i * size_of), v.load(b + i * size_of) * other))
        if end < n:
            rest = end * size_of
            v.store_n(to + rest, n - end, v.fma(w, v.load_n(a + rest, n - end), v.load_n(b + rest, n - end) * other))

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        planes, rows, width, pixel = c[5], c[6], c[7], c[8]
        size, row = planes * rows * width * size_of, width * size_of
        weight, box = real(c[2] + task * size_of)[0], array_i32(c[3] + 16 * task)
        a, b, out = c[0] + task * size, c[0] + array_i32(c[1] + 4 * task)[0] * size, c[4] + task * size
        top, bottom, left, right = np.int64(box[0]), np.int64(box[2]), box[1] * pixel, box[3] * pixel
        if bottom <= top or right <= left:
            top, bottom = rows, rows
        for plane in range(planes):
            start = plane * rows * row
            copied(a + start, out + start, top * width)
            for y in range(top, bottom):
                here = start + y * row
                copied(a + here, out + here, left)
                here += left * size_of
                blended(a + here, b + here, weight, out + here, right - left)
                here += (right - left) * size_of
                copied(a + here, out + here, width - right)
            copied(a + start + bottom * row, out + start + bottom * row, (rows - bottom) * width)

    return work


@lru_cache(4096)
def programs(p):
    words = [Argument(i) for i in range(9)]
    words += [p.ic, p.ih, p.iw, p.oh, p.ow, int(p.last), p.border, int(p.nearest), p.steps, p.top, slot_bytes(p), line(p)]
    return program(words, Stage(tasks(p.dtype, p.source), p.mb, 2.0 * p.mb * p.ic * p.oh * p.ow, per_slot=slot_bytes(p)))


@lru_cache(4096)
def mix_programs(p):
    pixel = p.ic if p.last else 1
    words = [*(Argument(i) for i in range(5)), p.ic // pixel, p.ih, p.iw * pixel, pixel]
    return program(words, Stage(mixing(p.dtype), p.mb, 0.2 * p.mb * p.ic * p.ih * p.iw))


@runs(programs)
def forward(p, x, matrix, values, key, normal, erase, channels, out, scratch): ...


@runs(mix_programs)
def mix(p, x, partner, weight, box, out, scratch): ...
