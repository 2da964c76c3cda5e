"""Augmentation, image by image; the Numba twin of cy_images.

    out = gain[c] v + offset[c],  v[c, y, x] = the image at row yy y + yx x + y0, column xy y + xx x + x0, changed in its values

Shapes   x (mb, ic, ih, iw), bytes or floats; out (mb, ic, oh, ow), channels-last; a slot has planes of (ih + 3) x (iw + 3) and of oh x ow, and three rows
Loops    as in cy_images, where the reasons stand: images are the tasks; whole-pixel moves read the source, others its planes with a border; then
         the values, the noise, and the channels interleaved
Cost     four taps and three products per pixel, which wait for loads
"""

from functools import cache, lru_cache

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, array_i32, array_i64, array_u8, floats_of, inline, ints, program, runs, task

ONE, HALF, TABLE = 1 << 16, 1 << 15, 4096
CONSTANT, EDGE, REFLECT, SYMMETRIC = range(4)
VALUES, NOISE, ERASE, CLIP = 1, 2, 4, 8


def slot_bytes(p):
    item = p.dtype.itemsize
    return 8 * (-(-(p.ic * ((p.ih + 3) * (p.iw + 3) + p.oh * p.ow) + 2 * p.ow) * item // 8) + p.ow)


def scratch(pass_, p):
    return 0, slot_bytes(p) if pass_ == "forward" else 0


@cache
def steps_of(dtype):
    """The functions that both tasks of a dtype call."""
    real, number = floats_of(dtype), dtype.type

    @inline
    def placed(at, n, border):
        if border == CONSTANT:
            return np.int32(min(max(at, -ONE), n * ONE))
        if border >= REFLECT:
            half = HALF if border == SYMMETRIC else 0
            length = n * ONE if border == SYMMETRIC else (n - 1) * ONE
            if length == 0:
                return np.int32(0)
            at = (at + half) % (2 * length)
            at = (2 * length - at if at > length else at) - half
        return np.int32(min(max(at, 0), (n - 1) * ONE))

    @inline
    def clipped(v, top):
        v = number(0) if v < 0 else v
        return top if v > top else v

    @inline
    def mixed(h):
        h = np.uint32(h ^ (h >> np.uint32(16)))
        h = np.uint32(h * np.uint32(0x85EBCA6B))
        h = np.uint32(h ^ (h >> np.uint32(13)))
        h = np.uint32(h * np.uint32(0xC2B2AE35))
        return np.uint32(h ^ (h >> np.uint32(16)))

    @inline
    def valued(v, values, n, ic, size, top):
        brightness, contrast = values[3 * n], values[3 * n + 1]
        mean = number(0)
        for c in range(ic):
            total = number(0)
            for i in range(c * size, (c + 1) * size):
                v[i] = clipped(brightness * v[i], top)
                total += v[i]
            if ic == 3:
                total *= number(0.2989) if c == 0 else number(0.587) if c == 1 else number(0.114)
            mean += total
        mean = (number(1) - contrast) * (mean / number(size if ic == 3 else ic * size))
        if contrast != 1:
            for i in range(ic * size):
                v[i] = clipped(contrast * v[i] + mean, top)

    @inline
    def noisy(v, key, normal, sigma, count, clip, top):
        low, high = np.uint32(key & 0xFFFFFFFF), np.uint32((key >> 32) & 0xFFFFFFFF)
        for e in range(count):
            h = mixed(np.uint32(np.uint32(np.uint32(e) * np.uint32(0x9E3779B9)) + low))
            h = mixed(np.uint32(h ^ high))
            changed = v[e] + sigma * (normal[np.int64(h) & (TABLE - 1)] + normal[(np.int64(h) >> 12) & (TABLE - 1)])
            v[e] = clipped(changed, top) if clip else changed

    return real, number, placed, valued, noisy


@cache
def tasks(dtype, source):
    real, number, placed, valued, noisy = steps_of(dtype)
    pixels, item, size_of = (array_u8, 1, dtype.itemsize) if source == "uint8" else (real, dtype.itemsize, dtype.itemsize)

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        ic, ih, iw, oh, ow, last = c[9], c[10], c[11], c[12], c[13], c[14]
        border, nearest, steps, top = c[15], c[16], c[17], number(c[18])
        x, m = pixels(c[0] + task * ic * ih * iw * item), array_i32(c[1] + task * 24)
        values, key, normal, erase = real(c[2]), array_i64(c[3]), real(c[4]), array_i32(c[5])
        fill = real(c[6])
        size, ld, plane = oh * ow, iw + 3, (ih + 3) * (iw + 3)
        out = real(c[7] + task * ic * size * size_of)
        mine = c[8] + slot * c[19]
        at = array_i64(mine)
        planes = real(mine + 8 * ow)
        down = real(mine + 8 * ow + ic * plane * size_of)
        right = real(mine + 8 * ow + (ic * plane + ow) * size_of)
        v = real(mine + 8 * ow + (ic * plane + 2 * ow) * size_of)
        step = ic if last else 1
        turned = m[1] != 0 or m[3] != 0 or (m[2] | m[5]) & (ONE - 1) != 0
        if not turned and (m[0] == ONE or m[0] == -ONE) and (m[4] == ONE or m[4] == -ONE):
            for i in range(ow):
                at[i] = placed(np.int64(m[4]) * i + m[5], iw, border) >> 16
            for k in range(ic):
                for y in range(oh):
                    r = placed(np.int64(m[0]) * y + m[2], ih, border) >> 16
                    row = r * iw * step + (k if last else k * ih * iw)
                    for i in range(ow):
                        inside = 0 <= r and r < ih and 0 <= at[i] and at[i] < iw
                        v[k * size + y * ow + i] = number(x[row + at[i] * step]) if inside else fill[k]
        else:
            for k in range(ic):
                for i in range(plane):
                    planes[k * plane + i] = fill[k]
                for y in range(ih):
                    row = y * iw * step + (k if last else k * ih * iw)
                    for i in range(iw):
                        planes[k * plane + (y + 1) * ld + 1 + i] = number(x[row + i * step])
            half, mask = (HALF, 0) if nearest else (128, 255)
            for y in range(oh):
                for i in range(ow):
                    row = placed(np.int64(m[0]) * y + np.int64(m[1]) * i + m[2], ih, border) + half
                    column = placed(np.int64(m[3]) * y + np.int64(m[4]) * i + m[5], iw, border) + half
                    at[i] = ((row >> 16) + 1) * ld + (column >> 16) + 1
                    down[i] = number((row >> 8) & mask) * number(1 / 256)
                    right[i] = number((column >> 8) & mask) * number(1 / 256)
                for k in range(ic):
                    for i in range(ow):
                        j = k * plane + at[i]
                        a = planes[j] + right[i] * (planes[j + 1] - planes[j])
                        b = planes[j + ld] + right[i] * (planes[j + ld + 1] - planes[j + ld])
                        v[k * size + y * ow + i] = a + down[i] * (b - a)
        if steps & VALUES:
            valued(v, values, task, ic, size, top)
        if steps & NOISE:
            noisy(v, key[task], normal, values[3 * task + 2], ic * size, steps & CLIP != 0, top)
        for k in range(ic):
            gain, offset = fill[ic + k], fill[2 * ic + k]
            for i in range(size):
                out[i * ic + k] = gain * v[k * size + i] + offset
        if steps & ERASE:
            for y in range(erase[4 * task], erase[4 * task + 2]):
                for i in range(y * ow + erase[4 * task + 1], y * ow + erase[4 * task + 3]):
                    for k in range(ic):
                        out[i * ic + k] = fill[3 * ic + k]

    return work


@cache
def mixing(dtype):
    real, number, size_of = floats_of(dtype), dtype.type, dtype.itemsize

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        planes, rows, width, pixel = c[5], c[6], c[7], c[8]
        size = planes * rows * width
        partner, weight, box = array_i32(c[1]), real(c[2])[task], array_i32(c[3] + 16 * task)
        a, b, out = real(c[0] + task * size * size_of), real(c[0] + partner[task] * size * size_of), real(c[4] + task * size * size_of)
        other = number(1) - weight
        for row in range(planes * rows):
            y = row % rows
            left, right = box[1] * pixel, box[3] * pixel
            if y < box[0] or y >= box[2]:
                left, right = width, width
            for i in range(row * width, row * width + left):
                out[i] = a[i]
            for i in range(row * width + left, row * width + right):
                out[i] = weight * a[i] + other * b[i]
            for i in range(row * width + right, (row + 1) * width):
                out[i] = a[i]

    return work


@lru_cache(4096)
def programs(p):
    words = [Argument(i) for i in range(9)]
    words += [p.ic, p.ih, p.iw, p.oh, p.ow, int(p.last), p.border, int(p.nearest), p.steps, p.top, slot_bytes(p)]
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
