"""Matrices transposed block by block; the Numba twin of cy_blocked.

    out[n, j, i] = x[n, i, j]

Shapes   x (mb, rows, cols), out (mb, cols, rows), C-contiguous
Tile     as many registers as one has lanes, read as rows and written as columns
Loops    tasks are strips of the longer side, the whole shorter side wide; blocks of the shorter side, blocks of the strip: as in
         cy_blocked, where the reasons stand
Edges    partial blocks load and store the lanes they have
Cost     one read and one write per element, log2(lanes) shuffles per register
"""

from functools import cache, lru_cache

from lamella.kernels._common.nb import Argument, Stage, ints, program, runs, task
from lamella.kernels._common.nb_simd import simd

STRIP = 16384  # elements of a task
BLOCK = 16


@cache
def tasks(dtype):
    v, item = simd(dtype), dtype.itemsize
    lanes = v.lanes

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        rows, cols, strips, length = c[2], c[3], c[4], c[5]
        image = task // strips
        start = (task - image * strips) * length
        wide = cols >= rows  # strips run along the columns
        stop = min(start + length, cols if wide else rows)
        width = rows if wide else cols
        x, out = c[0] + image * rows * cols * item, c[1] + image * rows * cols * item
        for a in range(0, width, lanes):
            for b in range(start, stop, lanes):
                i, j = (a, b) if wide else (b, a)
                m = min(lanes, (width if wide else stop) - i)
                n = min(lanes, (stop if wide else width) - j)
                src, dst = x + (i * cols + j) * item, out + (j * rows + i) * item
                if m == lanes and n == lanes:
                    v.square(src, cols * item, dst, rows * item)
                else:
                    v.square_n(src, cols * item, dst, rows * item, m, n)

    return work


@lru_cache(4096)
def forward_program(p):
    length = max(1, STRIP // max(1, min(p.rows, p.cols)) // BLOCK) * BLOCK
    strips = -(-max(p.rows, p.cols) // length)
    words = [Argument(0), Argument(1), p.rows, p.cols, strips, length]
    return program(words, Stage(tasks(p.dtype), p.mb * strips, 0.5 * p.mb * p.rows * p.cols))


@runs(forward_program)
def forward(p, x, out, scratch): ...
