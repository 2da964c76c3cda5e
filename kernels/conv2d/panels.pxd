"""What the convolutions over panels of output channels share: packed weights, private gradients, and the way from Python into a pass.

Packed weights   wp[group][panel of nr output channels][tap][input channel][nr], zero-padded to whole panels. The taps of all residues of
                 backward_input are packed together, residue after residue: each gather reads its own run of taps.
Private dw       private_[chunk][group][panel][tap * depth + input channel][nr], and one row more for db
Both are transposes between a weight's (channels, taps) and the lanes of a panel: squares of registers, whole cache lines on the panel's side.

A module describes a pass by a struct that begins with a Panels, a `plan` (sizes of a gather's tasks, from the geometry alone), a `run` (its parallel
loops), and how weights are packed before and private dw are laid out after it (pack_panels, sum_panels). Scratch: index tables, then packed weights or private dw, then work_bytes for each thread.
"""
cimport numpy as cnp
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport LM_NV, LM_VB, lanes, v_add, v_load, v_load_n, v_prefetch, v_store, v_store_n, v_zero, vec
from lamella.kernels._common.tile cimport Epilogue, plain, tile_run
from lamella.kernels._common.transpose cimport square
from lamella.kernels._common.types cimport i64, real
from lamella.kernels.conv2d.gather cimport (
    KH, KW, MAX_ROWS, SH, SW, Gather, aligned, backward_gather, ceil_div, epilogue, forward_gather,
)


cdef struct Panels:
    Gather v
    bint double_precision
    bint weight_pass
    i64 item
    double rate             # flops per ns of one thread
    Epilogue e              # of the forward pass, for the first channel; otherwise plain
    i64 filter              # taps of w
    i64 *place              # packed number of tap i * kw + j
    i64 first_tap           # packed number of the gather's first tap
    bint fill               # this gather also zeroes the pixels between its own: no other has taps
    i64 *ao                 # tables of the module: filter + MAX_ROWS entries each
    i64 *bo
    i64 blocks, block_panels    # tasks of the same pixels take a block of panels each
    i64 work_bytes          # of one thread
    char *work


ctypedef void (*plan_fn)(Panels *d) noexcept nogil
ctypedef void (*pack_fn)(Panels *d) noexcept nogil
ctypedef void (*run_fn)(Panels *d, i64 slots) noexcept nogil


cdef inline void pack_weights(real t, Panels *d, i64 task) noexcept nogil:
    """Pack panel task % panels of group task // panels."""
    cdef Gather *v = &d.v
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 group = task // v.panels
    cdef i64 first = task % v.panels * nr
    cdef i64 width = min(nr, v.n - first)
    cdef const real *w = <const real *>v.w + group * v.w_group + first * v.w_out
    cdef real *wp = <real *>v.wp + task * d.filter * v.depth * nr
    cdef bint neighbours = v.w_in == d.filter       # in w, the taps of one input channel follow those of the one before
    cdef i64 span = v.depth * d.filter if neighbours else d.filter
    cdef i64 outer, block, start, n, m, i, j, tap, ci
    cdef real *row
    cdef real corner[256]
    if width < nr:
        memset(wp, 0, d.filter * v.depth * nr * sizeof(real))
    if v.w_out == 1:                                # 1 x 1 filters, backward: the lanes lie side by side in w
        for ci in range(v.depth):
            for i in range(ceil_div(width, lanes(t))):
                j = i * lanes(t)
                v_store_n(t, wp + ci * nr + j, min(width - j, <i64>lanes(t)), v_load_n(t, w + ci * v.w_in + j, min(width - j, <i64>lanes(t))))
        return
    for outer in range(1 if neighbours else v.depth):
        if not neighbours:
            for i in range(ceil_div(width * d.filter * d.item, 64)):
                v_prefetch(<const char *>(w + (outer + 2) * v.w_in) + i * 64)
        for block in range(ceil_div(span, lanes(t))):
            start = block * lanes(t)
            n = min(span - start, <i64>lanes(t))
            for j in range(ceil_div(width, lanes(t))):
                m = min(width - j * lanes(t), <i64>lanes(t))
                if neighbours:                      # many streams: none of them is seen coming
                    for i in range(m):
                        v_prefetch(w + (j * lanes(t) + i) * v.w_out + start + 4 * lanes(t))
                square(t, w + outer * v.w_in + j * lanes(t) * v.w_out + start, v.w_out, corner, lanes(t), m, n)
                tap = start % d.filter
                ci = outer + start // d.filter
                for i in range(n):
                    row = wp + (d.place[tap] * v.depth + ci) * nr + j * lanes(t)
                    if m == lanes(t):
                        v_store(row, v_load(corner + i * lanes(t)))
                    else:
                        v_store_n(t, row, m, v_load(corner + i * lanes(t)))
                    tap += 1
                    if tap == d.filter:
                        tap = 0
                        ci += 1


cdef inline void sum_private(real t, Panels *d, i64 task) noexcept nogil:
    """Add up the private copies of one panel, in order, and lay the sum out as dw and db."""
    cdef Gather *v = &d.v
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 size = (v.k + 1) * nr
    cdef i64 step = v.groups * v.panels * size
    cdef i64 group = task // v.panels
    cdef i64 first = task % v.panels * nr
    cdef i64 width = min(nr, v.n - first)
    cdef const real *c = <const real *>v.private_ + task * size
    cdef const real *row
    cdef real *dw = <real *>v.dw + group * v.w_group + first * v.w_out
    cdef i64 chunk, block, start, n, m, i, j, tap, ci
    cdef real corner[256]
    cdef vec s
    for block in range(ceil_div(v.k, lanes(t))):
        start = block * lanes(t)
        n = min(v.k - start, <i64>lanes(t))
        for j in range(ceil_div(width, lanes(t))):
            m = min(width - j * lanes(t), <i64>lanes(t))
            tap = start % d.filter
            ci = start // d.filter
            for i in range(n):
                row = c + (tap * v.depth + ci) * nr + j * lanes(t)
                s = v_load(row)
                for chunk in range(1, v.chunks):
                    s = v_add(t, s, v_load(row + chunk * step))
                v_store(corner + i * lanes(t), s)
                tap += 1
                if tap == d.filter:
                    tap = 0
                    ci += 1
            square(t, corner, lanes(t), dw + j * lanes(t) * v.w_out + start, v.w_out, n, m)
    if v.db != NULL:
        for j in range(ceil_div(width, lanes(t))):
            m = min(width - j * lanes(t), <i64>lanes(t))
            s = v_load(c + v.k * nr + j * lanes(t))
            for chunk in range(1, v.chunks):
                s = v_add(t, s, v_load(c + chunk * step + v.k * nr + j * lanes(t)))
            v_store_n(t, <real *>v.db + group * v.n + first + j * lanes(t), m, s)


cdef inline void add_pixels(real t, real *sums, i64 n, const real *g, i64 rows, i64 row, i64 columns, i64 column) noexcept nogil:
    """sums[:n] += g over rows x columns pixels, n channels of a panel."""
    cdef i64 j, left, r, q
    cdef vec s
    for j in range(LM_NV):
        left = min(n - j * lanes(t), <i64>lanes(t))
        if left > 0:
            s = v_zero()
            for r in range(rows):
                for q in range(columns):
                    s = v_add(t, s, v_load_n(t, g + r * row + q * column + j * lanes(t), left))
            v_store(sums + j * lanes(t), v_add(t, s, v_load(sums + j * lanes(t))))


cdef inline void channels_tile(
    real t, i64 mr, i64 n, i64 rows, const i64 *ao, const i64 *bo, i64 depth, const real *a, i64 aks, const real *g, i64 gls,
    real *c, const Epilogue *e,
) noexcept nogil:
    """mr rows of dw times the first n channels of a panel: g is read in place, so the last panel is masked."""
    if n == LM_NV * lanes(t):
        tile_run(t, mr, LM_NV, rows, ao, bo, depth, a, 1, aks, g, gls, -1, c, LM_NV * lanes(t), n, e)
    elif n <= lanes(t):
        tile_run(t, mr, 1, rows, ao, bo, depth, a, 1, aks, g, gls, n, c, LM_NV * lanes(t), lanes(t), e)
    else:
        tile_run(t, mr, LM_NV, rows, ao, bo, depth, a, 1, aks, g, gls, n, c, LM_NV * lanes(t), LM_NV * lanes(t), e)


cdef inline void pack_f32(void *d, i64 task, i64 slot) noexcept nogil:
    pack_weights(<float>0, <Panels *>d, task)


cdef inline void pack_f64(void *d, i64 task, i64 slot) noexcept nogil:
    pack_weights(<double>0, <Panels *>d, task)


cdef inline void sum_f32(void *d, i64 task, i64 slot) noexcept nogil:
    sum_private(<float>0, <Panels *>d, task)


cdef inline void sum_f64(void *d, i64 task, i64 slot) noexcept nogil:
    sum_private(<double>0, <Panels *>d, task)


cdef inline i64 tables_bytes(i64 filter) noexcept nogil:
    return aligned((6 * filter + 2 * MAX_ROWS) * 8)


cdef inline i64 packed_bytes(Panels *d) noexcept nogil:
    return aligned(d.v.groups * d.v.panels * d.filter * d.v.depth * LM_NV * LM_VB)


cdef inline i64 private_bytes(Panels *d) noexcept nogil:
    return aligned(d.v.chunks * d.v.groups * d.v.panels * (d.v.k + 1) * LM_NV * LM_VB)


cdef inline void open_pass(Panels *d, size_t size, bint double_precision, const i64 *p, char *tables) noexcept nogil:
    memset(d, 0, size)
    d.double_precision = double_precision
    d.item = 8 if double_precision else 4
    d.rate = LM_VB / 2.0 * (1 if double_precision else 2)
    d.e = plain()
    d.filter = p[KH] * p[KW]
    d.v.ty = <i64 *>tables
    d.v.tx = d.v.ty + d.filter
    d.v.tw = d.v.tx + d.filter
    d.place = d.v.tw + d.filter
    d.ao = d.place + d.filter
    d.bo = d.ao + d.filter + MAX_ROWS


cdef inline void first_gather(Panels *d, const i64 *p) noexcept nogil:
    cdef i64 t
    forward_gather(&d.v, p, d.item)
    d.v.k = d.v.taps * d.v.depth
    for t in range(d.v.taps):
        d.place[t] = t


cdef inline void residue(Panels *d, const i64 *p, i64 number) noexcept nogil:
    """The gather of a residue of backward_input; they are visited in order."""
    cdef i64 t
    if number == 0:
        d.v.ty -= d.first_tap
        d.v.tx -= d.first_tap
        d.v.tw -= d.first_tap
        d.first_tap = 0
    else:
        d.first_tap += d.v.taps
        d.v.ty += d.v.taps
        d.v.tx += d.v.taps
        d.v.tw += d.v.taps
    backward_gather(&d.v, p, d.item, number // p[SW], number % p[SW])
    for t in range(d.v.taps):
        d.place[d.v.tw[t]] = d.first_tap + t


cdef inline void survey(Panels *d, const i64 *p) noexcept nogil:
    """Visit all residues: the tables are complete afterwards, and it is known whether a single one has taps."""
    cdef i64 number, reading = 0
    for number in range(p[SH] * p[SW]):
        residue(d, p, number)
        reading += d.v.taps > 0 and d.v.rows > 0 and d.v.columns > 0
    d.fill = reading == 1 and p[SH] * p[SW] > 1


cdef inline void fill_rows(real t, Gather *v, i64 image, i64 r0, i64 rows) noexcept nogil:
    """Zero `rows` rows of the grid from r0 on, with all pixels between them and up to the next."""
    cdef i64 start = r0 * v.dst_row
    cdef i64 end = v.dst_image if r0 + rows == v.rows else (r0 + rows) * v.dst_row
    memset(<real *>v.dst + image * v.dst_image + start, 0, (end - start) * sizeof(real))


cdef inline i64 slots_of(Panels *d, i64 left) noexcept nogil:
    return ANY_SLOTS if d.work_bytes == 0 else left // d.work_bytes


cdef inline tuple scratch_of(Panels *d, size_t size, plan_fn plan, pass_, p):
    """(bytes of tables, of packed weights or private dw, of one thread)"""
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *g = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef i64 filter_ = g[KH] * g[KW], number, panels, work = 0
    cdef char *tables = <char *>malloc(tables_bytes(filter_))
    if tables == NULL:
        raise MemoryError
    open_pass(d, size, p.dtype.itemsize == 8, g, tables)
    if pass_ == "backward_input":
        survey(d, g)
        for number in range(g[SH] * g[SW]):
            residue(d, g, number)
            if d.v.rows and d.v.columns:
                plan(d)
                work = max(work, d.work_bytes)
        panels = packed_bytes(d)
    else:
        d.weight_pass = pass_ == "backward_weight"
        first_gather(d, g)
        plan(d)
        work = d.work_bytes
        panels = private_bytes(d) if d.weight_pass else packed_bytes(d)
    free(tables)
    return tables_bytes(filter_), panels, work


cdef inline void pack_panels(Panels *d) noexcept nogil:
    parallel_for(
        pack_f64 if d.double_precision else pack_f32, d, d.v.groups * d.v.panels, 0.2 * d.v.groups * d.v.n * d.v.depth * d.filter, ANY_SLOTS,
    )


cdef inline void sum_panels(Panels *d) noexcept nogil:
    cdef i64 panels = d.v.groups * d.v.panels
    parallel_for(
        sum_f64 if d.double_precision else sum_f32, d, panels, (d.v.chunks * 0.1 + 0.2) * panels * d.v.k * LM_NV * LM_VB / d.item, ANY_SLOTS,
    )


cdef inline void run_forward(
    Panels *d, size_t size, plan_fn plan, pack_fn pack, run_fn run, p, cnp.ndarray x, cnp.ndarray w, b, cnp.ndarray out, cnp.ndarray scratch,
):
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *g = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef char *base = cnp.PyArray_BYTES(scratch)
    cdef i64 left = cnp.PyArray_SIZE(scratch)
    if cnp.PyArray_SIZE(out) == 0:
        return
    open_pass(d, size, cnp.PyArray_TYPE(out) == cnp.NPY_FLOAT64, g, base)
    d.e = epilogue(g, p.slope, cnp.PyArray_BYTES(b) if b is not None else NULL)
    d.v.src = cnp.PyArray_BYTES(x)
    d.v.dst = cnp.PyArray_BYTES(out)
    d.v.w = cnp.PyArray_BYTES(w)
    d.v.wp = base + tables_bytes(d.filter)
    with nogil:
        first_gather(d, g)
        plan(d)
        pack(d)
        d.v.band = d.work = d.v.wp + packed_bytes(d)
        run(d, slots_of(d, left - (d.work - base)))


cdef inline void run_backward_input(
    Panels *d, size_t size, plan_fn plan, pack_fn pack, run_fn run, p, cnp.ndarray g, cnp.ndarray w, cnp.ndarray dx, cnp.ndarray scratch,
):
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *q = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef char *base = cnp.PyArray_BYTES(scratch)
    cdef i64 left = cnp.PyArray_SIZE(scratch), number
    if cnp.PyArray_SIZE(dx) == 0:
        return
    open_pass(d, size, cnp.PyArray_TYPE(dx) == cnp.NPY_FLOAT64, q, base)
    d.v.src = cnp.PyArray_BYTES(g)
    d.v.dst = cnp.PyArray_BYTES(dx)
    d.v.w = cnp.PyArray_BYTES(w)
    d.v.wp = base + tables_bytes(d.filter)
    with nogil:
        survey(d, q)
        pack(d)
        d.v.band = d.work = d.v.wp + packed_bytes(d)
        for number in range(q[SH] * q[SW]):
            residue(d, q, number)
            if d.v.rows and d.v.columns and (d.v.taps or not d.fill):
                plan(d)
                run(d, slots_of(d, left - (d.work - base)))


cdef inline void run_backward_weight(
    Panels *d, size_t size, plan_fn plan, run_fn run, pack_fn lay_out, p, cnp.ndarray x, cnp.ndarray g, cnp.ndarray dw, db, cnp.ndarray scratch,
):
    cdef cnp.ndarray geometry = p.geometry
    cdef const i64 *q = <const i64 *>cnp.PyArray_DATA(geometry)
    cdef char *base = cnp.PyArray_BYTES(scratch)
    cdef i64 left = cnp.PyArray_SIZE(scratch)
    open_pass(d, size, cnp.PyArray_TYPE(dw) == cnp.NPY_FLOAT64, q, base)
    d.weight_pass = True
    d.v.src = cnp.PyArray_BYTES(x)
    d.v.dst = cnp.PyArray_BYTES(g)          # the gather's output grid is g: read, not written
    d.v.dw = cnp.PyArray_BYTES(dw)
    d.v.db = cnp.PyArray_BYTES(db) if db is not None else NULL
    d.v.private_ = base + tables_bytes(d.filter)
    with nogil:
        first_gather(d, q)
        plan(d)
        d.v.band = d.work = d.v.private_ + private_bytes(d)
        run(d, slots_of(d, left - (d.work - base)))
        lay_out(d)
