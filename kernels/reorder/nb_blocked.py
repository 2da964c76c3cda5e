"""Matrices transposed block by block; the Numba twin of cy_blocked.

    out[n, j, i] = x[n, i, j]

Shapes   x (mb, rows, cols), out (mb, cols, rows), C-contiguous
Loops    tasks are strips of the longer side, the whole shorter side wide; blocks of BLOCK x BLOCK, whose cache lines of both
         arrays stay in the first level until they are complete
Cost     one read and one write per element, one instruction each
"""

from functools import cache

import numpy as np
from lamella.kernels._common.nb import context, floats_of, ints, run, task

STRIP = 16384  # elements of a task
BLOCK = 16


@cache
def tasks(dtype):
    array = floats_of(dtype)

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        x, out, rows, cols, strips, length = array(c[0]), array(c[1]), c[2], c[3], c[4], c[5]
        image = task // strips
        start = (task - image * strips) * length
        base = image * rows * cols
        if cols >= rows:
            i0, i1, j0, j1 = 0, rows, start, min(start + length, cols)
        else:
            i0, i1, j0, j1 = start, min(start + length, rows), 0, cols
        for i in range(i0, i1, BLOCK):
            for j in range(j0, j1, BLOCK):
                for b in range(j, min(j + BLOCK, j1)):
                    for a in range(i, min(i + BLOCK, i1)):
                        out[base + b * rows + a] = x[base + a * cols + b]

    return work


def forward(p, x, out, scratch):
    size = p.mb * p.rows * p.cols
    if not size:
        return
    length = max(1, STRIP // min(p.rows, p.cols) // BLOCK) * BLOCK
    strips = -(-max(p.rows, p.cols) // length)
    run(tasks(np.dtype(p.dtype)), context(x, out, p.rows, p.cols, strips, length), p.mb * strips, 0.8 * size)
