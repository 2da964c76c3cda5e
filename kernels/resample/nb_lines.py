"""Images of bytes in another size; the Numba twin of cy_lines.

    out[y, x] = ((256 - h) line[columns[x]] + h line[columns[x] + 1] + 2^15) >> 16,  line = (256 - v) x[rows[y]] + v x[rows[y] + 1]

Shapes   x (ih, iw), out (oh, ow), bytes; a line has iw + 1 whole numbers
Loops    as in cy_lines, where the reasons stand
Cost     for each row of out two rows of x are read; two products per pixel and direction
"""

from functools import cache, lru_cache

import numpy as np
from lamella.kernels._common.nb import Argument, Stage, array_i32, array_u8, ints, program, runs, task

BAND = 16


def scratch(pass_, p):
    return 0, 4 * (p.iw + 1)


@cache
def tasks():
    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        ih, iw, oh, ow = c[5], c[6], c[7], c[8]
        rows, columns, line = array_i32(c[3]), array_i32(c[4]), array_i32(c[2] + slot * 4 * (iw + 1))
        for y in range(task * BAND, min((task + 1) * BAND, oh)):
            first = rows[2 * y]
            a = array_u8(c[0] + first * iw)
            b = array_u8(c[0] + (min(first + 1, ih - 1)) * iw)
            v = np.int32(rows[2 * y + 1])
            for i in range(iw):
                line[i] = np.int32(np.int32(256 - v) * np.int32(a[i]) + v * np.int32(b[i]))
            line[iw] = line[iw - 1]
            out = array_u8(c[1] + y * ow)
            for i in range(ow):
                h = columns[2 * i + 1]
                out[i] = np.uint8(((256 - h) * line[columns[2 * i]] + h * line[columns[2 * i] + 1] + 32768) >> 16)

    return work


@lru_cache(4096)
def programs(p):
    words = [Argument(0), Argument(1), Argument(2), p.rows, p.columns, p.ih, p.iw, p.oh, p.ow]
    return program(words, Stage(tasks(), -(-p.oh // BAND), 1.0 * p.oh * p.ow, per_slot=4 * (p.iw + 1)))


@runs(programs)
def forward(p, x, out, scratch): ...
