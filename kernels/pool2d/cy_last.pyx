"""Pooling over channels-last memory, vector lanes over the channels.

    forward    out[i, j, :] = max, average or norm over the window's taps of x[tap, :]
    backward   dx[t, :] = sum over the (window, tap) pairs that are input t

Shapes   x, dx (mb, ih, iw, c); out, g, where (mb, oh, ow, c) in memory; where one byte or one int32 an element
Loops    tasks are blocks of rows of the result (out, or dx; backward of windows side by side: of g): each element is written once, by one
         task, without being zeroed first
           column of the row
             registers of channels, four at a time, then one, the last one masked
               taps of the window, or pairs of the input: rows, then columns, in registers that stay
Tiles    windows that lie side by side (stride = kernel, no padding; adaptive ones that divide the plane): backward goes through the windows,
         loads g and where once and writes all their taps; other windows gather for each input
Squares  2 x 2 and 3 x 3 windows that lie inside are unrolled. Their maximum is taken without looking for NaN; their sum tells whether
         there was one, and the window is done again
Prefetch such loops spend some 40 instructions on a cache line: too many for out-of-order execution to reach far ahead. So each column
         asks for what the row below will need; with caches cold that halves the time
Stream   results of STREAM bytes and more go past the caches where each register of them is aligned: the memory under them is not read before it is
         written, which saves a fifth to two fifths of the time
Few      channels: several windows side by side share a register. Permutes take their taps together (forward of squares) or lay g and where
         out for the taps (backward of tiles), so that memory is read and written in runs
Edges    the problem's table holds each window's first tap inside and the number of taps: no test in the loops, no padding
Cost     forward reads x once from memory (overlapping windows find it in cache), kh * kw loads from cache per register of results;
         backward kh/sh * kw/sw loads of g and where per register of dx, tiles 1 / (kh * kw). Memory-bound from 16 channels on.
Loses    with fewer channels than lanes part of each register is idle where windows are neither squares nor tiles, or channels many
         for sharing one.
"""
cimport numpy as cnp
from libc.math cimport INFINITY
from libc.string cimport memset

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport (
    LM_VB, lanes, v_add, v_andnot, v_any_nan, v_div, v_eq, v_fence, v_fma, v_load, v_load_n, v_max, v_mul, v_prefetch, v_set, v_sqrt, v_store,
    v_store_n, v_stream, v_zero, vec,
)
from lamella.kernels._common.simd_index cimport v_add_at, v_argmax, v_iadd, v_iload, v_iset, v_istore, v_permute, v_permute2, v_place, v_pow
from lamella.kernels._common.types cimport i32, i64, real

cnp.import_array()

cdef enum:
    MAX = 0
    AVG = 1
    LP = 2
    SQUARE = 3  # lp with the exponent 2

cdef enum:
    MANY = 4       # registers of channels at a time
    LANES = 16     # of a register, at most
    GRAIN = 65536  # loads of one element that make a task
    STREAM = 1 << 24    # bytes of results that no cache would keep

cdef struct Axis:
    i64 size            # of the input
    i64 out
    const i64 *lo       # (out,) first tap inside the input
    const i64 *n        # (out,) taps inside
    const i64 *div      # (out,) factor of the divisor
    const i64 *ptr      # (size + 1,)
    const i64 *pairs    # (.., 2) window, tap

cdef struct Row:        # of windows over an input
    i64 windows         # where it starts in g
    i64 tap             # number of the input's row of taps in its windows

cdef struct Context:
    const char *x
    const char *g
    char *out
    char *where
    char *dx
    Axis h
    Axis w
    i64 mb, c, kw, sh, sw, dh, dw, taps, override
    i64 rows            # of the result in a task
    int kind, index_bytes
    int square          # 2 or 3: windows of 2 x 2, 3 x 3, not dilated; else 0
    bint tiled
    bint stream         # results go past the caches
    i64 together        # windows that share a register
    double q            # exponent of the norm


cdef inline vec fetch(real t, bint whole, const real *p, i64 n) noexcept nogil:
    if whole:
        return v_load(p)
    return v_load_n(t, p, n)


cdef inline void put(real t, bint whole, real *p, i64 n, vec v) noexcept nogil:
    if whole:
        v_store(p, v)
    else:
        v_store_n(t, p, n, v)


cdef inline void keep(real t, bint whole, bint stream, real *p, i64 n, vec v) noexcept nogil:
    """Store results."""
    if whole and stream:
        v_stream(p, v)
    else:
        put(t, whole, p, n, v)


cdef inline void ask(real t, int index_bytes, int many, const real *g, const char *where) noexcept nogil:
    """Prefetch what backward reads for the next row of windows."""
    cdef int u
    for u in range(many):
        v_prefetch(g + u * lanes(t))
    if index_bytes:
        for u in range((many * index_bytes + 3) // 4):
            v_prefetch(where + u * LM_VB)


cdef inline double divisor(Context *c, i64 i, i64 j) noexcept nogil:
    return <double>(c.override if c.override else c.h.div[i] * c.w.div[j])


cdef inline void finish(
    real t, int kind, int index_bytes, bint whole, int many, Context *c, vec *acc, vec *at, double scale, real *out, char *where, i64 n
) noexcept nogil:
    cdef bint stream = c.stream
    cdef int u
    for u in range(many):
        if kind == AVG:
            acc[u] = v_mul(t, acc[u], v_set(<real>scale))
        elif kind == SQUARE:
            acc[u] = v_sqrt(t, v_mul(t, acc[u], v_set(<real>(c.taps * scale))))
        elif kind == LP:
            acc[u] = v_pow(t, v_mul(t, acc[u], v_set(<real>(c.taps * scale))), 1 / c.q)
        keep(t, whole, stream, out + u * lanes(t), n, acc[u])
        if index_bytes:
            v_istore(t, index_bytes, where + u * lanes(t) * index_bytes, n, at[u])


cdef inline void window(
    real t, int kind, int index_bytes, bint whole, int many, Context *c, const real *x, i64 rows, i64 cols, double scale,
    real *out, char *where, i64 n,
) noexcept nogil:
    """Results of the window of rows x cols taps from x on: `many` whole registers, or n lanes of one."""
    cdef i64 row_step = c.dh * c.w.size * c.c
    cdef i64 step = c.dw * c.c
    cdef const real *tap
    cdef i64 r, s
    cdef int u
    cdef vec v, number
    cdef vec acc[MANY]
    cdef vec at[MANY]
    for u in range(many):
        acc[u] = v_set(<real>-INFINITY) if kind == MAX else v_zero()
        at[u] = v_zero()
    for r in range(rows):
        for s in range(cols):
            tap = x + r * row_step + s * step
            number = v_iset(t, r * c.kw + s)
            for u in range(many):
                v = fetch(t, whole, tap + u * lanes(t), n)
                if kind == MAX:
                    v_argmax(t, &acc[u], &at[u], v, number)
                elif kind == AVG:
                    acc[u] = v_add(t, acc[u], v)
                elif kind == SQUARE:
                    acc[u] = v_fma(t, v, v, acc[u])
                else:
                    acc[u] = v_add(t, acc[u], v_pow(t, v, c.q))
    finish(t, kind, index_bytes, whole, many, c, acc, at, scale, out, where, n)


cdef inline void square(
    real t, int kind, int index_bytes, int k, bint whole, int many, Context *c, const real *x, double scale, real *out, char *where, i64 n
) noexcept nogil:
    """As `window`, for k x k taps, a constant; maximum and average only."""
    cdef i64 row_step = c.w.size * c.c
    cdef const real *tap
    cdef int r, s, u
    cdef vec v, number
    cdef vec acc[MANY]
    cdef vec at[MANY]
    cdef vec sums[MANY]
    for r in range(c.sh):
        for s in range(c.sw):
            for u in range(many):
                v_prefetch(x + (k + r) * row_step + s * c.c + u * lanes(t))
    for u in range(many):
        acc[u] = fetch(t, whole, x + u * lanes(t), n)
        sums[u] = acc[u]
        at[u] = v_zero()
    for r in range(k):
        for s in range(1 if r == 0 else 0, k):
            tap = x + r * row_step + s * c.c
            number = v_iset(t, r * k + s)
            for u in range(many):
                v = fetch(t, whole, tap + u * lanes(t), n)
                if kind == MAX:
                    sums[u] = v_add(t, sums[u], v)
                    if index_bytes:
                        at[u] = v_place(t, at[u], v, acc[u], number)
                    acc[u] = v_max(t, v, acc[u])
                else:
                    acc[u] = v_add(t, acc[u], v)
    if kind == MAX:
        for u in range(1, many):
            sums[0] = v_add(t, sums[0], sums[u])
        if v_any_nan(t, sums[0]):
            window(t, kind, index_bytes, whole, many, c, x, k, k, scale, out, where, n)
            return
    finish(t, kind, index_bytes, whole, many, c, acc, at, scale, out, where, n)


cdef inline i64 spread(real t, i32 *table, i64 windows, i64 channels, i64 step) noexcept nogil:
    """Where the lanes of windows side by side find their channels, `step` elements from window to window."""
    cdef i64 w, h
    for w in range(windows):
        for h in range(channels):
            table[w * channels + h] = <i32>(w * step + h)
    return windows * channels


cdef inline bint few(
    real t, int kind, int index_bytes, int k, Context *c, const real *x, i64 windows, vec idx, double scale, i64 at
) noexcept nogil:
    """Results of k x k windows side by side, in one register; False: there is a NaN, and nothing was done."""
    cdef i64 row_step = c.w.size * c.c
    cdef i64 n = windows * c.c
    cdef i64 reach = (windows - 1) * c.sw * c.c + c.c
    cdef i64 first = min(reach, <i64>lanes(t))
    cdef const real *tap
    cdef int r, s
    cdef vec v, total
    cdef vec acc[1]
    cdef vec place[1]
    for r in range(c.sh):
        v_prefetch(x + (k + r) * row_step)
        v_prefetch(x + (k + r) * row_step + lanes(t))
    acc[0] = v_set(<real>-INFINITY) if kind == MAX else v_zero()
    place[0] = v_zero()
    total = v_zero()
    for r in range(k):
        for s in range(k):
            tap = x + r * row_step + s * c.c
            v = v_load_n(t, tap, first)
            v = v_permute2(t, v, v_load_n(t, tap + first, reach - first), idx)
            if kind == MAX:
                total = v_add(t, total, v)
                if index_bytes:
                    place[0] = v_place(t, place[0], v, acc[0], v_iset(t, r * k + s))
                acc[0] = v_max(t, v, acc[0])
            else:
                acc[0] = v_add(t, acc[0], v)
    if kind == MAX and v_any_nan(t, total):
        return False
    finish(t, kind, index_bytes, False, 1, c, acc, place, scale, <real *>c.out + at, c.where + at * index_bytes, n)
    return True


cdef inline void forward_channels(
    real t, int kind, int index_bytes, int k, bint whole, int many, Context *c, const real *x, i64 rows, i64 cols, double scale, i64 at, i64 n
) noexcept nogil:
    cdef real *out = <real *>c.out + at
    cdef char *where = c.where + at * index_bytes
    if k and rows == k and cols == k:
        square(t, kind, index_bytes, k, whole, many, c, x, scale, out, where, n)
    else:
        window(t, kind, index_bytes, whole, many, c, x, rows, cols, scale, out, where, n)


cdef inline void forward_rows(real t, int kind, int index_bytes, int k, Context *c, i64 task) noexcept nogil:
    """The constants kind, index_bytes and k leave one path each."""
    cdef i64 row, image, i, j, channel, rows, cols, at, m
    cdef const real *first
    cdef const real *x
    cdef double scale
    cdef i32 table[LANES]
    cdef vec idx
    if k and c.together > 1:
        idx = v_iload(t, 4, table, spread(t, table, c.together, c.c, c.sw * c.c))
    for row in range(task * c.rows, min((task + 1) * c.rows, c.mb * c.h.out)):
        image = row // c.h.out
        i = row - image * c.h.out
        first = <const real *>c.x + (image * c.h.size + c.h.lo[i]) * c.w.size * c.c
        rows = c.h.n[i]
        j = -1
        while j + 1 < c.w.out:
            j += 1
            x = first + c.w.lo[j] * c.c
            cols = c.w.n[j]
            at = (row * c.w.out + j) * c.c
            scale = 1 / divisor(c, i, j) if kind != MAX else 1.0
            if k and c.together > 1 and rows == k and cols == k:
                m = min(c.together, c.w.out - j)
                while c.w.n[j + m - 1] != k or c.w.lo[j + m - 1] - c.w.lo[j] != (m - 1) * c.sw:     # inside, and as far apart
                    m -= 1
                if (kind == MAX or divisor(c, i, j + m - 1) == divisor(c, i, j)) and few(t, kind, index_bytes, k, c, x, m, idx, scale, at):
                    j += m - 1
                    continue
            channel = 0
            while kind != LP and channel + MANY * lanes(t) <= c.c:
                forward_channels(t, kind, index_bytes, k, True, MANY, c, x + channel, rows, cols, scale, at + channel, lanes(t))
                channel += MANY * lanes(t)
            while channel + lanes(t) <= c.c:
                forward_channels(t, kind, index_bytes, k, True, 1, c, x + channel, rows, cols, scale, at + channel, lanes(t))
                channel += lanes(t)
            if channel < c.c:
                forward_channels(t, kind, index_bytes, k, False, 1, c, x + channel, rows, cols, scale, at + channel, c.c - channel)


cdef inline void covered(
    real t, int kind, int index_bytes, bint whole, int many, Context *c, i64 image, i64 i, i64 j, i64 channel, i64 n
) noexcept nogil:
    """dx of input (i, j): what the windows over it give it, channels from `channel` on: `many` whole registers, or n lanes of one."""
    cdef bint stream = c.stream
    cdef i64 at_dx = ((image * c.h.size + i) * c.w.size + j) * c.c + channel
    cdef i64 a, b, o, row
    cdef int u
    cdef vec g, y, x, number
    cdef vec acc[MANY]
    for u in range(many):
        acc[u] = v_zero()
        if not stream:
            v_prefetch(<real *>c.dx + at_dx + c.w.size * c.c + u * lanes(t))
    for a in range(c.h.ptr[i], c.h.ptr[i + 1]):
        row = (image * c.h.out + c.h.pairs[2 * a]) * c.w.out
        for b in range(c.w.ptr[j], c.w.ptr[j + 1]):
            o = (row + c.w.pairs[2 * b]) * c.c + channel
            if a == c.h.ptr[i + 1] - 1 and b == c.w.ptr[j + 1] - 1:
                ask(t, index_bytes, many, <const real *>c.g + o + c.w.out * c.c, c.where + (o + c.w.out * c.c) * index_bytes)
            if kind == MAX:
                number = v_iset(t, c.h.pairs[2 * a + 1] * c.kw + c.w.pairs[2 * b + 1])
            elif kind == AVG:
                number = v_set(<real>(1 / divisor(c, c.h.pairs[2 * a], c.w.pairs[2 * b])))
            else:
                number = v_set(<real>(c.taps / divisor(c, c.h.pairs[2 * a], c.w.pairs[2 * b])))
            for u in range(many):
                g = fetch(t, whole, <const real *>c.g + o + u * lanes(t), n)
                if kind == MAX:
                    acc[u] = v_add_at(t, acc[u], g, v_iload(t, index_bytes, c.where + (o + u * lanes(t)) * index_bytes, n), number)
                elif kind == AVG:
                    acc[u] = v_fma(t, g, number, acc[u])
                else:
                    y = fetch(t, whole, <const real *>c.out + o + u * lanes(t), n)
                    x = v_div(t, fetch(t, whole, <const real *>c.x + at_dx + u * lanes(t), n), y)
                    if kind == LP:
                        x = v_pow(t, x, c.q - 1)
                    acc[u] = v_add(t, acc[u], v_andnot(v_eq(t, y, v_zero()), v_mul(t, v_mul(t, g, number), x)))
    for u in range(many):
        keep(t, whole, stream, <real *>c.dx + at_dx + u * lanes(t), n, acc[u])


cdef inline void covered_by(
    real t, int index_bytes, int na, int nb, bint whole, int many, Context *c, const Row *rows, const i64 *columns, i64 at, i64 channel, i64 n
) noexcept nogil:
    """As `covered` for a maximum, of an input under na x nb windows, constants; at: its place in dx."""
    cdef bint stream = c.stream
    cdef real *dx = <real *>c.dx + at + channel
    cdef const real *g
    cdef const char *where
    cdef i64 o
    cdef int a, b, u
    cdef vec number
    cdef vec acc[MANY]
    for u in range(many):
        acc[u] = v_zero()
        if not stream:
            v_prefetch(dx + c.w.size * c.c + u * lanes(t))
    for a in range(na):
        for b in range(nb):
            o = rows[a].windows + columns[2 * b] * c.c + channel
            g = <const real *>c.g + o
            where = c.where + o * index_bytes
            number = v_iset(t, rows[a].tap + columns[2 * b + 1])
            if a == na - 1 and b == nb - 1:
                ask(t, index_bytes, many, g + c.w.out * c.c, where + c.w.out * c.c * index_bytes)
            for u in range(many):
                acc[u] = v_add_at(
                    t, acc[u], fetch(t, whole, g + u * lanes(t), n), v_iload(t, index_bytes, where + u * lanes(t) * index_bytes, n), number,
                )
    for u in range(many):
        keep(t, whole, stream, dx + u * lanes(t), n, acc[u])


cdef inline void gather_channels(
    real t, int kind, int index_bytes, int na, int nb, bint whole, int many, Context *c, const Row *rows, i64 image, i64 i, i64 j,
    i64 channel, i64 n,
) noexcept nogil:
    if kind == MAX and na and nb:
        covered_by(
            t, index_bytes, na, nb, whole, many, c, rows, c.w.pairs + 2 * c.w.ptr[j], ((image * c.h.size + i) * c.w.size + j) * c.c, channel, n,
        )
    else:
        covered(t, kind, index_bytes, whole, many, c, image, i, j, channel, n)


cdef inline void gather_pixel(
    real t, int kind, int index_bytes, int na, int nb, Context *c, const Row *rows, i64 image, i64 i, i64 j
) noexcept nogil:
    cdef i64 channel = 0
    while kind != LP and channel + MANY * lanes(t) <= c.c:
        gather_channels(t, kind, index_bytes, na, nb, True, MANY, c, rows, image, i, j, channel, lanes(t))
        channel += MANY * lanes(t)
    while channel + lanes(t) <= c.c:
        gather_channels(t, kind, index_bytes, na, nb, True, 1, c, rows, image, i, j, channel, lanes(t))
        channel += lanes(t)
    if channel < c.c:
        gather_channels(t, kind, index_bytes, na, nb, False, 1, c, rows, image, i, j, channel, c.c - channel)


cdef inline void gather_row(real t, int kind, int index_bytes, int na, Context *c, const Row *rows, i64 image, i64 i) noexcept nogil:
    """na: windows over each input along the columns of the plane, if it is 1 or 2 and kind the maximum; else 0."""
    cdef i64 j, nb
    for j in range(c.w.size):
        nb = c.w.ptr[j + 1] - c.w.ptr[j]
        if na and nb == 1:
            gather_pixel(t, kind, index_bytes, na, 1, c, rows, image, i, j)
        elif na and nb == 2:
            gather_pixel(t, kind, index_bytes, na, 2, c, rows, image, i, j)
        else:
            gather_pixel(t, kind, index_bytes, 0, 0, c, rows, image, i, j)


cdef inline void gather_rows(real t, int kind, int index_bytes, Context *c, i64 task) noexcept nogil:
    cdef Row rows[2]
    cdef i64 row, image, i, na
    cdef int a
    for row in range(task * c.rows, min((task + 1) * c.rows, c.mb * c.h.size)):
        image = row // c.h.size
        i = row - image * c.h.size
        na = c.h.ptr[i + 1] - c.h.ptr[i]
        for a in range(min(na, 2)):
            rows[a].windows = (image * c.h.out + c.h.pairs[2 * (c.h.ptr[i] + a)]) * c.w.out * c.c
            rows[a].tap = c.h.pairs[2 * (c.h.ptr[i] + a) + 1] * c.kw
        if kind == MAX and index_bytes == 1 and na == 1:
            gather_row(t, kind, index_bytes, 1, c, rows, image, i)
        elif kind == MAX and index_bytes == 1 and na == 2:
            gather_row(t, kind, index_bytes, 2, c, rows, image, i)
        else:
            gather_row(t, kind, index_bytes, 0, c, rows, image, i)


cdef inline void tile(
    real t, int kind, int index_bytes, bint stream, bint whole, int many, Context *c, i64 o, double scale, real *dx, i64 rows, i64 cols, i64 n
) noexcept nogil:
    """dx of the rows x cols taps of a window that shares them with no other; o: its place in g and where."""
    cdef i64 row_step = c.w.size * c.c
    cdef i64 below = o + c.w.out * c.c
    cdef real *tap
    cdef i64 r, s
    cdef int u
    cdef vec number
    cdef vec g[MANY]
    cdef vec at[MANY]
    for u in range(many):
        g[u] = fetch(t, whole, <const real *>c.g + o + u * lanes(t), n)
        if kind == MAX:
            at[u] = v_iload(t, index_bytes, c.where + (o + u * lanes(t)) * index_bytes, n)
        else:
            g[u] = v_mul(t, g[u], v_set(<real>scale))
    ask(t, index_bytes, many, <const real *>c.g + below, c.where + below * index_bytes)
    for r in range(rows):
        for s in range(cols):
            tap = dx + r * row_step + s * c.c
            number = v_iset(t, r * c.kw + s)
            for u in range(many):
                if not stream:
                    v_prefetch(tap + rows * row_step + u * lanes(t))
                keep(t, whole, stream, tap + u * lanes(t), n, v_add_at(t, v_zero(), g[u], at[u], number) if kind == MAX else g[u])


cdef inline void few_tiles(
    real t, int kind, int index_bytes, Context *c, i64 o, i64 phases, const vec *idx, const vec *columns, const i64 *base, double scale,
    real *dx, i64 rows
) noexcept nogil:
    """As `tile`, for a row of windows of few channels: dx is written in runs of whole registers. Every `phases` registers a window begins with the
    first lane, as in the beginning; until then each register has lanes of its own in g (idx, from base on), and its taps' columns."""
    cdef i64 values = c.w.out * c.c
    cdef i64 end = values * c.kw
    cdef i64 start = 0
    cdef i64 written = 0
    cdef i64 k, r, n
    cdef vec g, at
    while written < end:
        for k in range(min(phases, (end - written + lanes(t) - 1) // lanes(t))):
            n = min(<i64>lanes(t), values - start - base[k])
            g = v_permute(t, v_load_n(t, <const real *>c.g + o + start + base[k], n), idx[k])
            if kind == MAX:
                at = v_permute(t, v_iload(t, index_bytes, c.where + (o + start + base[k]) * index_bytes, n), idx[k])
            else:
                g = v_mul(t, g, v_set(<real>scale))
            n = min(<i64>lanes(t), end - written)
            for r in range(rows):
                if kind == MAX:
                    v_store_n(
                        t, dx + r * c.w.size * c.c + written, n, v_add_at(t, v_zero(), g, at, v_iadd(t, columns[k], v_iset(t, r * c.kw))),
                    )
                else:
                    v_store_n(t, dx + r * c.w.size * c.c + written, n, g)
            written += lanes(t)
        start += phases * lanes(t) // c.kw


cdef inline void zero(real *dx, i64 n) noexcept nogil:
    memset(dx, 0, n * sizeof(real))


cdef inline void tile_rows(real t, int kind, int index_bytes, bint stream, Context *c, i64 task) noexcept nogil:
    """Rows of windows; what lies right of them, or below the last ones, is in no window."""
    cdef i64 width = c.w.size * c.c
    cdef i64 covered = c.w.lo[c.w.out - 1] + c.w.n[c.w.out - 1]     # columns in windows
    cdef i64 row, image, i, j, r, channel, rows, cols, o
    cdef i64 size = c.kw * c.c                                      # values of a row of a window
    cdef bint few = size <= lanes(t) and c.w.n[0] == c.kw and c.w.n[c.w.out - 1] == c.kw
    cdef i64 phases = 0
    cdef real *first
    cdef real *dx
    cdef double scale
    cdef i32 taken[LANES]
    cdef i32 column[LANES]
    cdef i64 base[LANES]
    cdef vec idx[LANES]
    cdef vec columns[LANES]
    while few and (phases == 0 or phases * lanes(t) % size):
        base[phases] = c.w.out * c.c
        for j in range(lanes(t)):
            r = phases * lanes(t) + j
            taken[j] = <i32>(r // size * c.c + r % c.c)
            column[j] = <i32>(r // c.c % c.kw)
            base[phases] = min(base[phases], <i64>taken[j])
        for j in range(lanes(t)):
            taken[j] -= <i32>base[phases]
        idx[phases] = v_iload(t, 4, taken, lanes(t))
        columns[phases] = v_iload(t, 4, column, lanes(t))
        phases += 1
    for row in range(task * c.rows, min((task + 1) * c.rows, c.mb * c.h.out)):
        image = row // c.h.out
        i = row - image * c.h.out
        first = <real *>c.dx + (image * c.h.size + c.h.lo[i]) * width
        rows = c.h.n[i]
        if few:
            scale = 1 / divisor(c, i, 0) if kind == AVG else 1.0
            few_tiles(t, kind, index_bytes, c, row * c.w.out * c.c, phases, idx, columns, base, scale, first, rows)
        for j in range(0 if few else c.w.out):
            dx = first + c.w.lo[j] * c.c
            cols = c.w.n[j]
            o = (row * c.w.out + j) * c.c
            scale = 1 / divisor(c, i, j) if kind == AVG else 1.0
            channel = 0
            while channel + MANY * lanes(t) <= c.c:
                tile(t, kind, index_bytes, stream, True, MANY, c, o + channel, scale, dx + channel, rows, cols, lanes(t))
                channel += MANY * lanes(t)
            while channel + lanes(t) <= c.c:
                tile(t, kind, index_bytes, stream, True, 1, c, o + channel, scale, dx + channel, rows, cols, lanes(t))
                channel += lanes(t)
            if channel < c.c:
                tile(t, kind, index_bytes, stream, False, 1, c, o + channel, scale, dx + channel, rows, cols, c.c - channel)
        if covered < c.w.size:
            for r in range(rows):
                zero(first + r * width + covered * c.c, (c.w.size - covered) * c.c)
        if i == c.h.out - 1:
            zero(first + rows * width, (c.h.size - c.h.lo[i] - rows) * width)


cdef inline void forward_squares(real t, int kind, int index_bytes, Context *c, i64 task) noexcept nogil:
    if c.square == 2:
        forward_rows(t, kind, index_bytes, 2, c, task)
    elif c.square == 3:
        forward_rows(t, kind, index_bytes, 3, c, task)
    else:
        forward_rows(t, kind, index_bytes, 0, c, task)


cdef void forward_task(real t, Context *c, i64 task) noexcept nogil:
    if c.kind == MAX:
        if c.index_bytes == 0:
            forward_squares(t, MAX, 0, c, task)
        elif c.index_bytes == 1:
            forward_squares(t, MAX, 1, c, task)
        else:
            forward_rows(t, MAX, 4, 0, c, task)
    elif c.kind == AVG:
        forward_squares(t, AVG, 0, c, task)
    elif c.kind == SQUARE:
        forward_rows(t, SQUARE, 0, 0, c, task)
    else:
        forward_rows(t, LP, 0, 0, c, task)
    if c.stream:
        v_fence()


cdef inline void backward_rows(real t, int kind, int index_bytes, bint stream, Context *c, i64 task) noexcept nogil:
    if c.tiled:
        tile_rows(t, kind, index_bytes, stream, c, task)
    else:
        gather_rows(t, kind, index_bytes, c, task)


cdef inline void backward_task(real t, bint stream, Context *c, i64 task) noexcept nogil:
    if c.kind == MAX:
        if c.index_bytes == 1:
            backward_rows(t, MAX, 1, stream, c, task)
        else:
            backward_rows(t, MAX, 4, stream, c, task)
    elif c.kind == AVG:
        backward_rows(t, AVG, 0, stream, c, task)
    elif c.kind == SQUARE:
        gather_rows(t, SQUARE, 0, c, task)
    else:
        gather_rows(t, LP, 0, c, task)
    if stream:
        v_fence()


cdef void forward_f32(void *c, i64 task, i64 slot) noexcept nogil:
    forward_task(<float>0, <Context *>c, task)


cdef void forward_f64(void *c, i64 task, i64 slot) noexcept nogil:
    forward_task(<double>0, <Context *>c, task)


cdef void backward_f32(void *c, i64 task, i64 slot) noexcept nogil:
    backward_task(<float>0, False, <Context *>c, task)


cdef void backward_f64(void *c, i64 task, i64 slot) noexcept nogil:
    backward_task(<double>0, False, <Context *>c, task)


cdef void stream_f32(void *c, i64 task, i64 slot) noexcept nogil:
    backward_task(<float>0, True, <Context *>c, task)


cdef void stream_f64(void *c, i64 task, i64 slot) noexcept nogil:
    backward_task(<double>0, True, <Context *>c, task)


cdef void axis(Axis *a, i64 size, i64 out, const i64 *windows, const i64 *ptr, const i64 *pairs):
    a.size = size
    a.out = out
    a.lo = windows
    a.n = windows + out
    a.div = windows + 2 * out
    a.ptr = ptr
    a.pairs = pairs


cdef void describe(Context *c, p, bint double_precision):
    """Read the problem: its fields stand in `geometry` in the order of Pool2dProblem.FIELDS."""
    cdef cnp.ndarray geometry = p.geometry
    cdef cnp.ndarray table = p.table
    cdef const i64 *f = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef const i64 *at = <const i64 *>cnp.PyArray_DATA(table)
    c.mb = f[0]
    c.c = f[1]
    c.taps = f[6] * f[7]
    c.kw = f[7]
    c.dh = f[8]
    c.dw = f[9]
    c.kind = <int>f[10]
    c.index_bytes = <int>f[11]
    c.override = f[12]
    axis(&c.h, f[2], f[4], at + f[13], at + f[14], at + f[15])
    axis(&c.w, f[3], f[5], at + f[16], at + f[17], at + f[18])
    c.sh = f[19]
    c.sw = f[20]
    c.tiled = f[21]
    c.square = <int>c.kw if f[6] == f[7] and 2 <= c.kw <= 3 and c.dh == c.dw == 1 else 0
    cdef i64 step = lanes(<double>0) if double_precision else lanes(<float>0)
    c.together = min(step // c.c, (2 * step // c.c - 1) // max(c.sw, <i64>1) + 1)    # their channels fill a register, their taps two
    c.q = 2
    if c.kind == LP:
        c.q = p.norm_type
        if c.q == 2:
            c.kind = SQUARE


cdef void launch(Context *c, bint backward, bint double_precision):
    if c.kind > AVG:
        c.tiled = False
    cdef i64 height = c.h.size if backward and not c.tiled else c.h.out
    cdef i64 width = c.w.size if backward else c.w.out
    cdef i64 loads = c.h.out * c.w.out * c.taps // max(<i64>1, height) * c.c + width * c.c  # per row of the result
    cdef i64 step = lanes(<double>0) if double_precision else lanes(<float>0)
    cdef double each = 1.0 / min(step, c.c) * (40 if c.kind == LP else 1)  # ns
    c.rows = max(<i64>1, GRAIN // max(<i64>1, loads))
    cdef i64 tasks = (c.mb * height + c.rows - 1) // c.rows
    with nogil:
        if backward and c.stream:
            parallel_for(stream_f64 if double_precision else stream_f32, c, tasks, each * loads * c.mb * height, ANY_SLOTS)
        elif backward:
            parallel_for(backward_f64 if double_precision else backward_f32, c, tasks, each * loads * c.mb * height, ANY_SLOTS)
        else:
            parallel_for(forward_f64 if double_precision else forward_f32, c, tasks, each * loads * c.mb * height, ANY_SLOTS)


cdef bint streams(Context *c, cnp.ndarray result):
    """Whether results go past the caches: there are many, and each register of them is aligned."""
    cdef i64 item = cnp.PyArray_ITEMSIZE(result)
    return cnp.PyArray_NBYTES(result) >= STREAM and <i64>cnp.PyArray_DATA(result) % LM_VB == 0 and c.c * item % LM_VB == 0


def forward(p, cnp.ndarray x, cnp.ndarray out, where, scratch):
    cdef Context c
    cdef bint double_precision = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT64
    describe(&c, p, double_precision)
    c.x = cnp.PyArray_BYTES(x)
    c.out = cnp.PyArray_BYTES(out)
    c.where = cnp.PyArray_BYTES(where) if c.index_bytes else NULL
    c.stream = streams(&c, out)
    launch(&c, False, double_precision)


def backward(p, cnp.ndarray g, x, out, where, cnp.ndarray dx, scratch):
    cdef Context c
    cdef bint double_precision = cnp.PyArray_TYPE(g) == cnp.NPY_FLOAT64
    describe(&c, p, double_precision)
    c.g = cnp.PyArray_BYTES(g)
    c.x = cnp.PyArray_BYTES(x) if x is not None else NULL
    c.out = cnp.PyArray_BYTES(out) if out is not None else NULL
    c.where = cnp.PyArray_BYTES(where) if where is not None else NULL
    c.dx = cnp.PyArray_BYTES(dx)
    c.stream = streams(&c, dx)
    launch(&c, True, double_precision)
