"""Integral images by prefix sums in registers; the Numba twin of cy_scan.

    out[y, x] = out[y-1, x] + (x[y-1, 0] + ... + x[y-1, x-1])

Shapes   x (mb, ih, iw); out, squared, tilted (mb, ih + 1, iw + 1)
Loops    as in cy_scan, where the reasons stand, and the recursion of tilted sums with its borders: images; rows; registers of a row, then the rest
         of it element by element
Cost     one read and one write per element and sum; log2(lanes) shuffled additions per register
"""

from functools import cache, lru_cache

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, array_f32, array_f64, array_i32, array_u8, inline, ints, program, task, unknown
from lamella.kernels._common.nb_simd import lanes
from lamella.kernels.integral._nb_scan import pixels, registers
from numba import types


@cache
def tilted_row(source):
    """What makes row y of the tilted sums: its address, those of the pixels of rows y - 1 and y - 2, the width."""
    pixel, item, at, sums, size, number, kind = _types(source)
    count = lanes(number)
    v, given = registers(kind, count), pixels(pixel, kind, count)

    @inline
    def row(out, near, far, iw):
        step = (iw + 1) * size
        t, a, b, x, z = sums(out), sums(out - step), sums(out - 2 * step), at(near), at(far)
        t[0] = a[1] if iw > 0 else number(0)
        i = 1
        while i + count <= iw:
            above, before = out - step + i * size, out - 2 * step + i * size
            both = v.load(above - size) + v.load(above + size) - v.load(before)
            v.store(out + i * size, both + given.load(near + (i - 1) * item) + given.load(far + (i - 1) * item))
            i += count
        while i < iw:
            t[i] = number(number(number(a[i - 1] + a[i + 1]) - b[i]) + number(number(x[i - 1]) + number(z[i - 1])))
            i += 1
        if iw > 0:
            t[iw] = number(a[iw - 1] + number(number(x[iw - 1]) + number(z[iw - 1])))

    return row


def _types(source):
    """Of pixels: type, bytes, array; of sums: array, bytes, NumPy's type, Numba's type."""
    pixel, item, at = {
        "uint8": (types.uint8, 1, array_u8),
        "float32": (types.float32, 4, array_f32),
        "float64": (types.float64, 8, array_f64),
    }[source]
    return (
        (pixel, item, at, array_i32, 4, np.int32, types.int32)
        if source == "uint8"
        else (pixel, item, at, array_f64, 8, np.float64, types.float64)
    )


@cache
def tasks(source, squares, tilts):
    """The task for one type of pixels: sums, with sums of squares and tilted sums if wanted."""
    pixel, item, at, sums, size, number, kind = _types(source)
    count = lanes(number)
    v, w, given = registers(kind, count), registers(types.float64, count), pixels(pixel, kind, count)
    tilted_line = tilted_row(source)

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        ih, iw = c[4], c[5]
        ld, zeros = iw + 1, v.set(number(unknown(0)))
        start = task * (ih + 1) * ld
        image, out, squared, tilted = c[0] + task * ih * iw * item, c[1] + start * size, c[2] + start * 8, c[3] + start * size
        first, first2, first3 = sums(out), array_f64(squared), sums(tilted)
        for i in range(ld):
            first[i] = number(0)
            if squares:
                first2[i] = 0.0
            if tilts:
                first3[i] = number(0)
        for y in range(ih):
            row, above, above2 = image + y * iw * item, out + (y * ld + 1) * size, squared + (y * ld + 1) * 8
            here, here2 = above + ld * size, above2 + ld * 8
            x, a, o, a2, o2 = at(row), sums(above), sums(here), array_f64(above2), array_f64(here2)
            sums(here - size)[0] = number(0)
            if squares:
                array_f64(here2 - 8)[0] = 0.0
            carry, carry2 = v.set(number(0)), w.set(0.0)
            i = 0
            while i + count <= iw:
                p = given.load(row + i * item)
                if squares:
                    q = given.doubles(v.scan(p * p, zeros)) + carry2
                    carry2 = w.last(q)
                    w.store(here2 + i * 8, q + w.load(above2 + i * 8))
                p = v.scan(p, zeros) + carry
                carry = v.last(p)
                v.store(here + i * size, p + v.load(above + i * size))
                i += count
            total, total2 = v.first(carry), w.first(carry2)
            while i < iw:
                total = number(total + number(x[i]))
                o[i] = number(a[i] + total)
                if squares:
                    total2 += np.float64(x[i]) * np.float64(x[i])
                    o2[i] = a2[i] + total2
                i += 1
            if tilts and y > 0:
                tilted_line(tilted + (y + 1) * ld * size, row, row - iw * item, iw)
            if tilts and y == 0:
                line = sums(tilted + ld * size)
                line[0] = number(0)
                for i in range(iw):
                    line[i + 1] = number(x[i])

    return work


@lru_cache(4096)
def programs(p, arrays):
    words = [Argument(i) if i < arrays else 0 for i in range(4)] + [p.ih, p.iw]
    source = "uint8" if p.source == "uint8" else p.dtype.name
    return program(words, Stage(tasks(source, arrays > 2, arrays > 3), p.mb, 0.3 * p.mb * p.ih * p.iw))


def forward(p, x, out, scratch):
    programs(p, 2)(x, out, scratch)


def squared(p, x, out, squared, scratch):
    programs(p, 3)(x, out, squared, scratch)


def tilted(p, x, out, squared, tilted, scratch):
    programs(p, 4)(x, out, squared, tilted, scratch)
