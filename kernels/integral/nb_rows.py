"""Integral images element by element; the Numba twin of cy_scan.

    out[y, x] = out[y-1, x] + (x[y-1, 0] + ... + x[y-1, x-1])

Shapes   x (mb, ih, iw); out, squared, tilted (mb, ih + 1, iw + 1)
Loops    images are the tasks; rows; the elements of a row, whose running sum is the only chain
           tilted sums as in cy_scan, where the recursion and its borders stand
Cost     one read and one write per element and sum, one addition in a chain
"""

from functools import cache, lru_cache

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, array_f32, array_f64, array_i32, array_u8, ints, program, task


@cache
def tasks(source, squares, tilts):
    """The task for one type of pixels: sums, with sums of squares and tilted sums if wanted."""
    pixels, item = {"uint8": (array_u8, 1), "float32": (array_f32, 4), "float64": (array_f64, 8)}[source]
    sums, size, number = (array_i32, 4, np.int32) if source == "uint8" else (array_f64, 8, np.float64)

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        ih, iw = c[4], c[5]
        ld = iw + 1
        at = task * (ih + 1) * ld
        x, out = pixels(c[0] + task * ih * iw * item), sums(c[1] + at * size)
        squared, tilted = array_f64(c[2] + at * 8), sums(c[3] + at * size)
        for i in range(ld):
            out[i] = number(0)
            if squares:
                squared[i] = 0.0
            if tilts:
                tilted[i] = number(0)
        for y in range(ih):
            here, above = (y + 1) * ld, y * ld
            total, total2 = number(0), 0.0
            out[here] = number(0)
            if squares:
                squared[here] = 0.0
            for i in range(iw):
                v = number(x[y * iw + i])
                total = number(total + v)
                out[here + 1 + i] = number(out[above + 1 + i] + total)
                if squares:
                    total2 += np.float64(v) * np.float64(v)
                    squared[here + 1 + i] = squared[above + 1 + i] + total2
            if tilts and y == 0:
                tilted[here] = number(0)
                for i in range(iw):
                    tilted[here + 1 + i] = number(x[i])
            if tilts and y > 0:
                near, far, before = y * iw, (y - 1) * iw, above - ld
                tilted[here] = tilted[above + 1] if iw > 0 else number(0)
                for i in range(1, iw):
                    both = number(number(x[near + i - 1]) + number(x[far + i - 1]))
                    tilted[here + i] = number(number(tilted[above + i - 1] + tilted[above + i + 1]) - number(tilted[before + i] - both))
                if iw > 0:
                    tilted[here + iw] = number(tilted[above + iw - 1] + number(number(x[near + iw - 1]) + number(x[far + iw - 1])))

    return work


@lru_cache(4096)
def programs(p, arrays):
    words = [Argument(i) if i < arrays else 0 for i in range(4)] + [p.ih, p.iw]
    source = "uint8" if p.source == "uint8" else p.dtype.name
    return program(words, Stage(tasks(source, arrays > 2, arrays > 3), p.mb, 0.5 * p.mb * p.ih * p.iw))


def forward(p, x, out, scratch):
    programs(p, 2)(x, out, scratch)


def squared(p, x, out, squared, scratch):
    programs(p, 3)(x, out, squared, scratch)


def tilted(p, x, out, squared, tilted, scratch):
    programs(p, 4)(x, out, squared, tilted, scratch)
