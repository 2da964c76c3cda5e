"""Blocked, register-tiled matrix product, packed where memory asks for it; few rows or columns without tiles.

    out = act(alpha * a @ b + beta * c + bias)

Shapes   a (.., m, k)  b (.., k, n)  c, out (.., m, n)  bias (n,) or (m,); leading axes, equal for all, are a batch
Storage  a, b of any strides (0 for a batch that is broadcast); c and out with unit column stride, any other strides
Tile     mr x nr = LM_MR x LM_NV registers (_common/tile.pxd)

Loops    four ways, by sizes and strides alone:

BLOCKS   A task is a block of C. Inside, from the outside in:

         pass over k by kc       one pass over C; the first applies alpha and beta, the last bias and activation
         ic by mc                a block of A that stays in L2
         strip by nr             kc rows of B, nr columns: streams through L1, fetched into L2 while its predecessor is at work
         panel by mr             the tiles

         Where k is small (SHALLOW), C is what takes the time: the two inner loops change places, so that it is written along its rows, and
         tiles are low if the rows of C would meet in one set of L1.
         The tile broadcasts elements of A and loads rows of B, so both are read in place if their strides are kind: A with rows (or
         everything, if it is small) that fall into different sets of L1, B with rows that fall into different sets of L2. Otherwise
         A is copied as it stands, with a stride of an odd number of cache lines, and B goes into strips, zero-padded to whole ones:
             bp[j / nr][l][j % nr]
         If more than two blocks of A use them, they are packed panel by panel (for one pass over k, up to PANEL bytes, along the rows of B).
         Where A is copied, all threads first pack a panel together, then a task is one block of A, copied once, against all of them. Where
         it is not, a thread has a run of columns, whose strips it packs and no other reads. Otherwise a task packs for itself, a few
         strips at a time if one block uses them. A B with contiguous columns is transposed in registers on the way (_common/transpose.h).
         Passes are deep and blocks of A low: every pass reads and writes C, whose rows come from afar at the start of each tile, while
         strips arrive in time, and each is used by all panels of a block.
RANK     At most 4 rows, or 8 of many columns where there are 32 registers: C += columns of A times rows of B, up to 8 rows of B in one
         sweep. B is read once, in its order; the sums stand in L1. Bound by the bandwidth of B.
DOT      Contiguous rows of A against contiguous columns of B: at most 8 rows, or columns that would leave the tile's registers mostly
         empty (these few are transposed if they have to be). Accumulators are registers along k: 4 x 4 dot products with 16 lanes, so
         that one transposing sum makes one register of results.
TURNED   Columns that leave the last register nearly empty, 49 of them for example: C^T = B^T A^T. Columns of B are what the tile broadcasts, so
         that any number of them fills it, and rows of A, transposed in registers, its strips.

Edges    an odd strip is padded; the last rows make lower tiles, all tiles of a block of equal height, because fewer than eight
         accumulators wait for each other; stores are masked.
Threads  each element of C is summed in one order, however C is cut into tasks, so bits do not depend on threads. Where a panel is packed
         together, threads wait for each other twice per pass, B is packed once, and its lines change sides, which costs where cores share
         no cache. Elsewhere a task packs for itself, and `grid` keeps tasks large: what is packed is packed once per row of tasks, and A is
         copied once per column of tasks.
Cost     2 m n k flops; a tile of depth kc takes kc * mr * nr / lanes / 2 cycles where two FMA start per cycle, and a few per cent more for
         its start and end. Powers of two as row strides cost most: both operands are copied.
After    Goto and van de Geijn, ACM TOMS 34(3), 2008; Van Zee and van de Geijn (BLIS), ACM TOMS 41(3), 2015. Operands in place, as in
         Heinecke et al. (LIBXSMM), SC16.
"""
cimport numpy as cnp
from libc.string cimport memcpy

from lamella.kernels._common.pool cimport num_threads, parallel_for
from lamella.kernels._common.simd cimport LM_MR, LM_NV, LM_VB, lanes, v_fma, v_load, v_load_n, v_prefetch, v_set, v_store, v_zero, vec
from lamella.kernels._common.tile cimport BIAS_COLUMN, BIAS_NONE, BIAS_ROW, Epilogue, finish_block, plain, tile_ahead
from lamella.kernels._common.transpose cimport square, sum_lanes
from lamella.kernels._common.types cimport i64, real

cnp.import_array()

cdef enum:
    KC = 1024           # depth of a pass over C
    MC = 84             # rows of a block of A: mc * kc floats = 344 KiB stay in L2; a multiple of 14 and 6
    RANK_ROWS = 8       # so few rows are summed into L1
    RANK_COLUMNS = 512
    DOT_ROWS = 8        # so few rows, or columns, are computed as dot products
    DOT_DEPTH = 64
    DOT_BLOCK = 32768   # elements of B, so that few columns stay in cache
    RUN = 524288        # bytes of the strips packed at a time, if one block of A uses them: the longer, the better for the memory behind
    SHALLOW = 16        # a depth at which C is what takes the time
    SMALL = 32768       # bytes of an operand that stays in L1 as it is
    PANEL = 8388608     # bytes of shared strips: they stay in L3; of a B that does not
    TURN = 4            # strips of a run of rows, where roles are exchanged
    PACK = 8            # strips of a task that packs
    RATE = 16           # bytes per ns of one thread that packs, for the pool's estimate
    MAX_AXES = 64

cdef enum Way:
    BLOCKS
    RANK
    DOT
    TURNED

cdef struct Context:
    i64 m, n, k
    i64 item            # bytes per element
    const char *a
    i64 ars, acs        # strides in elements
    const char *b
    i64 brs, bcs
    char *out
    i64 ldc
    const char *c
    i64 ldcc
    const char *bias
    Epilogue e
    int axes            # of the batch, with sizes and strides in bytes
    i64 size[MAX_AXES]
    i64 sa[MAX_AXES]
    i64 sb[MAX_AXES]
    i64 sc[MAX_AXES]
    i64 so[MAX_AXES]
    Way way
    i64 row_tasks, column_tasks
    i64 passes          # along k
    i64 a_elements      # of scratch, for a block of A
    bint copy_a, pack_b
    char *scratch
    i64 per_thread
    # tasks compute passes first to last of columns j0 to j1; the strips of these are shared, or everyone packs for himself
    i64 first, last
    i64 j0, j1
    char *shared
    bint together       # the shared strips are packed before; or else by the task that uses them


# One matrix of the batch, moved to the block of a task, rows i0 to i1 and columns j0 to j1.
cdef struct Block:
    const char *a
    const char *b
    const char *c
    char *out
    i64 i0, i1, j0, j1


cdef inline i64 ceil_div(i64 a, i64 b) noexcept nogil:
    return (a + b - 1) // b


cdef Block locate(Context *c, i64 task, i64 mr, i64 nr) noexcept nogil:
    """Tasks are runs of panels (mr rows), columns runs of strips (nr columns), all as equal as can be."""
    cdef Block x
    cdef i64 row = task // c.column_tasks % c.row_tasks
    cdef i64 column = task % c.column_tasks
    cdef i64 batch = task // c.column_tasks // c.row_tasks
    cdef i64 panels = ceil_div(c.m, mr)
    cdef i64 strips = ceil_div(c.j1 - c.j0, nr)
    cdef i64 index
    cdef int axis
    x.a = c.a
    x.b = c.b
    x.c = c.c
    x.out = c.out
    for axis in range(c.axes - 1, -1, -1):
        index = batch % c.size[axis]
        batch = batch // c.size[axis]
        x.a += index * c.sa[axis]
        x.b += index * c.sb[axis]
        x.c += index * c.sc[axis]
        x.out += index * c.so[axis]
    x.i0 = row * panels // c.row_tasks * mr
    x.i1 = min(c.m, (row + 1) * panels // c.row_tasks * mr)
    x.j0 = c.j0 + column * strips // c.column_tasks * nr
    x.j1 = min(c.j1, c.j0 + (column + 1) * strips // c.column_tasks * nr)
    return x


cdef inline void place(real t, Context *c, Block *x, Epilogue *e, i64 i, i64 j) noexcept nogil:
    """Moves the pointers of the epilogue to element (i, j)."""
    if e.bias_kind == BIAS_COLUMN:
        e.bias = <const real *>c.bias + j
    elif e.bias_kind == BIAS_ROW:
        e.bias = <const real *>c.bias + i
    if e.old != NULL:
        e.old = <const real *>x.c + i * c.ldcc + j


cdef void transpose(real t, const real *src, i64 ld_src, real *dst, i64 ld_dst, i64 m, i64 n) noexcept nogil:
    """dst[j * ld_dst + i] = src[i * ld_src + j] for i < m, j < n."""
    cdef i64 i, j
    cdef i64 w = lanes(t)
    for i in range(ceil_div(m, w)):
        for j in range(ceil_div(n, w)):
            square(t, src + i * w * ld_src + j * w, ld_src, dst + j * w * ld_dst + i * w, ld_dst, min(w, m - i * w), min(w, n - j * w))


cdef inline i64 depth_of(i64 k) noexcept nogil:
    """The deepest pass."""
    return ceil_div(k, max(<i64>1, ceil_div(k, KC)))


cdef inline i64 strip_step(i64 depth, i64 nr) noexcept nogil:
    """Elements from strip to strip: an odd number of rows, so that equal rows of several strips fall into different sets."""
    return (depth | 1) * nr


cdef void pack_b(real t, const real *src, i64 rs, i64 cs, i64 depth, i64 columns, real *dst) noexcept nogil:
    """dst = `columns` columns of B in strips of nr, each row after row; the last strip is filled up with zeros."""
    cdef i64 step = strip_step(depth, LM_NV * lanes(t))
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 whole = columns // nr
    cdef i64 width = columns - whole * nr
    cdef i64 l, j, strip
    if cs == 1:
        for l in range(depth):          # along the rows: the strips are written side by side
            for strip in range(whole):
                for j in range(LM_NV):
                    v_store(dst + strip * step + l * nr + j * lanes(t), v_load(src + l * rs + strip * nr + j * lanes(t)))
            if width > 0:
                for j in range(LM_NV):
                    v_store(
                        dst + whole * step + l * nr + j * lanes(t),
                        v_load_n(t, src + l * rs + whole * nr + j * lanes(t), max(<i64>0, min(width - j * lanes(t), <i64>lanes(t)))),
                    )
        return
    for strip in range(ceil_div(columns, nr)):
        width = min(nr, columns - strip * nr)
        if rs == 1:
            transpose(t, src + strip * nr * cs, cs, dst, nr, width, depth)
        else:
            for l in range(depth):
                for j in range(width):
                    dst[l * nr + j] = src[l * rs + (strip * nr + j) * cs]
        if width < nr:
            for l in range(depth):
                for j in range(width, nr):
                    dst[l * nr + j] = 0
        dst += step


cdef inline i64 strips_at_a_time(i64 depth, i64 nr, i64 item) noexcept nogil:
    return max(<i64>1, RUN // (max(depth, <i64>1) * nr * item))


cdef inline i64 spread(i64 n) noexcept nogil:
    """A stride of at least n elements, an odd number of cache lines: successive rows fall into different sets."""
    return (ceil_div(n, 16) | 1) * 16


cdef void copy_a(real t, const real *src, i64 rs, i64 cs, i64 rows, i64 depth, real *dst) noexcept nogil:
    """dst = a block of A as it stands, with a stride that is kind to the cache: rows of `depth`, or columns of `rows` where those are contiguous."""
    cdef i64 i, l
    cdef i64 ld = spread(depth)
    if rs == 1:
        ld = spread(rows)
        for l in range(depth):
            memcpy(dst + l * ld, src + l * cs, rows * sizeof(real))
    elif cs == 1:
        for i in range(rows):
            memcpy(dst + i * ld, src + i * rs, depth * sizeof(real))
    else:
        for i in range(rows):
            for l in range(depth):
                dst[i * ld + l] = src[i * rs + l * cs]


cdef inline i64 crowd(i64 stride) noexcept nogil:
    """How many of the mr rows of a tile, `stride` bytes apart, meet the first in one set of L1 (64 sets of 64 bytes)."""
    cdef i64 i
    cdef i64 count = 0
    for i in range(LM_MR):
        count += i * stride % 4096 // 64 == 0
    return count


cdef void multiply_block(
    real t, Context *c, Block *x, Epilogue *e, i64 i0, i64 rows, i64 j0, i64 columns, i64 depth,
    const real *a, i64 ars, i64 acs, const real *b, i64 bls, i64 step,
    const char *ahead, i64 reach, i64 ahead_strip, i64 ahead_line, i64 ahead_step,
) noexcept nogil:
    """The tiles of a block of A in L2 and a run of strips, `step` apart. While a strip is at work the one `reach` columns on is fetched
    into L2: tile by tile, from ahead + strip * ahead_strip + tile * ahead_line on, a line every step, ahead_step further each."""
    cdef bint along = depth <= SHALLOW
    cdef i64 mr = LM_MR // 2 if along and crowd(c.ldc * c.item) > LM_MR // 2 else LM_MR
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 panels = ceil_div(rows, mr)
    cdef i64 height = ceil_div(rows, panels)        # panels of equal height: a low one would wait for its few accumulators
    cdef i64 strips = ceil_div(columns, nr)
    cdef i64 tile, strip, panel, i, j, h, width
    cdef real *out
    cdef const char *next_
    cdef i64 next_step
    for tile in range(strips * panels):
        strip = tile % strips if along else tile // panels
        panel = tile // strips if along else tile % panels
        j = strip * nr
        width = min(nr, columns - j)
        i = panel * height
        h = min(height, rows - i)
        place(t, c, x, e, i0 + i, j0 + j)
        out = <real *>x.out + (i0 + i) * c.ldc + j0 + j
        next_ = <const char *>a
        next_step = 0
        if panel * 64 < LM_NV * LM_VB and j0 + j + reach < x.j1:
            next_ = ahead + strip * ahead_strip + panel * ahead_line
            next_step = ahead_step
        if width <= lanes(t):
            tile_ahead(t, h, 1, depth, a + i * ars, ars, acs, b + strip * step, bls, out, c.ldc, width, e, next_, next_step)
        else:
            tile_ahead(t, h, LM_NV, depth, a + i * ars, ars, acs, b + strip * step, bls, out, c.ldc, width, e, next_, next_step)


cdef void block_task(real t, Context *c, i64 task, i64 slot) noexcept nogil:
    """A block of C."""
    cdef i64 nr = LM_NV * lanes(t)
    cdef Block x = locate(c, task, LM_MR, nr)
    cdef i64 rows = x.i1 - x.i0
    cdef i64 columns = x.j1 - x.j0
    cdef i64 blocks = ceil_div(rows, MC)
    cdef i64 mc = ceil_div(ceil_div(rows, LM_MR), blocks) * LM_MR
    cdef i64 pass_, pc, kc, j, run, i, height, ars, acs, step
    cdef real *ap = <real *>(c.scratch + slot * c.per_thread)
    cdef real *bp = ap + c.a_elements
    cdef const real *a
    cdef const real *b
    cdef Epilogue e
    for pass_ in range(c.first, c.last):
        pc = c.k * pass_ // c.passes
        kc = c.k * (pass_ + 1) // c.passes - pc
        step = strip_step(kc, nr)
        e = c.e
        if pass_ > 0:
            e.beta = 1
            e.old = NULL
        if pass_ < c.passes - 1:
            e.bias_kind = BIAS_NONE
            e.act = 0
        j = 0
        while j < columns:
            b = <const real *>x.b + pc * c.brs + (x.j0 + j) * c.bcs
            # whole strips in place; or strips that all share; or a few after the others, if they serve one block of A only; or all of them
            run = columns // nr * nr - j
            if c.shared != NULL:
                run = columns
                bp = <real *>c.shared + (x.j0 - c.j0) // nr * step
            elif c.pack_b or run == 0:
                run = columns - j if blocks > 1 else min(nr * strips_at_a_time(kc, nr, sizeof(real)), columns - j)
            if not c.together and (c.pack_b or run < nr):
                pack_b(t, b, c.brs, c.bcs, kc, run, bp)
            i = 0
            while i < rows:
                height = min(mc, rows - i)
                a = <const real *>x.a + (x.i0 + i) * c.ars + pc * c.acs
                ars = c.ars
                acs = c.acs
                if c.copy_a:
                    if j == 0 or blocks > 1:
                        copy_a(t, a, ars, acs, height, kc, ap)
                    a = ap
                    ars = 1 if c.ars == 1 else spread(kc)
                    acs = spread(height) if c.ars == 1 else 1
                if c.pack_b or run < nr:
                    if blocks > 1 or c.shared != NULL:
                        multiply_block(
                            t, c, &x, &e, x.i0 + i, height, x.j0 + j, run, kc, a, ars, acs, bp, nr, step,
                            <const char *>(bp + step), nr, step * sizeof(real), kc * 64, 64,
                        )
                    else:
                        multiply_block(
                            t, c, &x, &e, x.i0 + i, height, x.j0 + j, run, kc, a, ars, acs, bp, nr, step,
                            <const char *>(b + run), run, nr * sizeof(real), 64, c.brs * <i64>sizeof(real) if c.bcs == 1 else 0,
                        )
                else:
                    multiply_block(
                        t, c, &x, &e, x.i0 + i, height, x.j0 + j, run, kc, a, ars, acs, b, c.brs, nr,
                        <const char *>(b + nr), nr, nr * sizeof(real), 64, c.brs * <i64>sizeof(real),
                    )
                i += mc
            j += run


cdef inline void rank_rows(
    real t, int mr, int steps, const real *a, i64 ars, i64 acs, const real *b, i64 brs, i64 n, bint first, real *sums
) noexcept nogil:
    """sums += `steps` columns of A times `steps` rows of B; mr and steps constants."""
    cdef vec s[8][8]
    cdef vec v[8]
    cdef vec bv
    cdef int i, u
    cdef i64 j, left
    for i in range(mr):
        for u in range(steps):
            s[i][u] = v_set(a[i * ars + u * acs])
    for j in range(n // lanes(t)):
        for i in range(mr):
            v[i] = v_zero() if first else v_load(sums + i * RANK_COLUMNS + j * lanes(t))
        for u in range(steps):
            bv = v_load(b + u * brs + j * lanes(t))
            v_prefetch(b + (steps + u) * brs + j * lanes(t))
            for i in range(mr):
                v[i] = v_fma(t, s[i][u], bv, v[i])
        for i in range(mr):
            v_store(sums + i * RANK_COLUMNS + j * lanes(t), v[i])
    j = n // lanes(t) * lanes(t)
    left = n - j
    if left > 0:
        for i in range(mr):
            v[i] = v_zero() if first else v_load(sums + i * RANK_COLUMNS + j)
        for u in range(steps):
            bv = v_load_n(t, b + u * brs + j, left)
            for i in range(mr):
                v[i] = v_fma(t, s[i][u], bv, v[i])
        for i in range(mr):
            v_store(sums + i * RANK_COLUMNS + j, v[i])


cdef inline void rank_sums(real t, int mr, int steps, Context *c, Block *x, real *sums) noexcept nogil:
    cdef i64 l = 0
    cdef const real *a = <const real *>x.a
    cdef const real *b = <const real *>x.b + x.j0
    while l + steps <= c.k:
        rank_rows(t, mr, steps, a + l * c.acs, c.ars, c.acs, b + l * c.brs, c.brs, x.j1 - x.j0, l == 0, sums)
        l += steps
    while l < c.k:
        rank_rows(t, mr, 1, a + l * c.acs, c.ars, c.acs, b + l * c.brs, c.brs, x.j1 - x.j0, l == 0, sums)
        l += 1


cdef void rank_task(real t, Context *c, i64 task, i64 slot) noexcept nogil:
    """Few rows: B is read once, in its order, several rows at a time; the sums stand in L1."""
    cdef Block x = locate(c, task, c.m, LM_NV * lanes(t))
    cdef real *sums = <real *>(c.scratch + slot * c.per_thread)
    cdef Epilogue e = c.e
    if c.m == 1:
        rank_sums(t, 1, 8, c, &x, sums)
    elif c.m == 2:
        rank_sums(t, 2, 8 if LM_VB == 64 else 4, c, &x, sums)
    elif c.m == 3:
        rank_sums(t, 3, 4 if LM_VB == 64 else 2, c, &x, sums)
    elif c.m == 4:
        rank_sums(t, 4, 4 if LM_VB == 64 else 2, c, &x, sums)
    elif c.m == 5:
        rank_sums(t, 5, 4, c, &x, sums)
    elif c.m == 6:
        rank_sums(t, 6, 4, c, &x, sums)
    elif c.m == 7:
        rank_sums(t, 7, 3, c, &x, sums)
    else:
        rank_sums(t, 8, 3, c, &x, sums)
    place(t, c, &x, &e, 0, x.j0)
    finish_block(t, sums, RANK_COLUMNS, c.m, x.j1 - x.j0, <real *>x.out + x.j0, c.ldc, &e)


cdef inline int dot_columns(real t) noexcept nogil:
    return min(4, lanes(t))


cdef inline int dot_rows(real t) noexcept nogil:
    """Products of a dot tile fill one register."""
    return lanes(t) // dot_columns(t)


cdef inline void dot_tile(
    real t, int mr, i64 rows, i64 columns, i64 k, const real *a, i64 ars, const real *b, i64 bcs, real *sums, i64 ld
) noexcept nogil:
    """sums[i, j] = the dot product of row i of A and column j of B, both contiguous. What is missing to a whole tile repeats the last."""
    cdef vec acc[16]
    cdef vec bv[4]
    cdef vec av
    cdef const real *bj[4]
    cdef real block[16]
    cdef int i, j
    cdef int nr = dot_columns(t)
    cdef i64 l
    cdef i64 w = lanes(t)
    for j in range(nr):
        bj[j] = b + min(<i64>j, columns - 1) * bcs
    for i in range(lanes(t)):
        acc[i] = v_zero()
    for l in range(k // w):
        for j in range(nr):
            bv[j] = v_load(bj[j] + l * w)
        for i in range(mr):
            av = v_load(a + min(<i64>i, rows - 1) * ars + l * w)
            for j in range(nr):
                acc[i * nr + j] = v_fma(t, av, bv[j], acc[i * nr + j])
    l = k // w * w
    if l < k:
        for j in range(nr):
            bv[j] = v_load_n(t, bj[j] + l, k - l)
        for i in range(mr):
            av = v_load_n(t, a + min(<i64>i, rows - 1) * ars + l, k - l)
            for j in range(nr):
                acc[i * nr + j] = v_fma(t, av, bv[j], acc[i * nr + j])
    v_store(block, sum_lanes(t, acc))
    for i in range(rows):
        for j in range(columns):
            sums[i * ld + j] = block[i * nr + j]


cdef void dot_task(real t, Context *c, i64 task, i64 slot) noexcept nogil:
    """Rows of A and columns of B that are contiguous: register against register along k."""
    cdef Block x = locate(c, task, dot_rows(t), LM_NV * lanes(t))
    cdef real *sums = <real *>(c.scratch + slot * c.per_thread)
    cdef real *bp = sums + DOT_ROWS * LM_NV * lanes(t)
    cdef const real *b = <const real *>x.b
    cdef const real *a
    cdef i64 bcs = c.bcs
    cdef i64 i, j, jj, width, rows, columns, height, ii
    cdef i64 dr = dot_rows(t)
    cdef i64 dc = dot_columns(t)
    cdef Epilogue e = c.e
    if c.pack_b:
        bcs = c.k
        if c.bcs == 1:
            transpose(t, b, c.brs, bp, c.k, c.k, c.n)
        else:
            for j in range(c.n):
                for i in range(c.k):
                    bp[j * c.k + i] = b[i * c.brs + j * c.bcs]
        b = bp
    # few rows stay while the columns pass by; few columns stay while the rows do
    height = c.m if c.m <= DOT_ROWS else dr
    i = x.i0
    while i < x.i1:
        rows = min(height, x.i1 - i)
        j = x.j0
        while j < x.j1:
            width = min(LM_NV * <i64>lanes(t), x.j1 - j)
            jj = 0
            while jj < width:
                columns = min(dc, width - jj)
                ii = 0
                while ii < rows:
                    a = <const real *>x.a + (i + ii) * c.ars
                    if rows - ii == 1:
                        dot_tile(t, 1, 1, columns, c.k, a, c.ars, b + (j + jj) * bcs, bcs, sums + ii * LM_NV * lanes(t) + jj, LM_NV * lanes(t))
                    else:
                        dot_tile(
                            t, dot_rows(t), min(dr, rows - ii), columns, c.k, a, c.ars, b + (j + jj) * bcs, bcs,
                            sums + ii * LM_NV * lanes(t) + jj, LM_NV * lanes(t),
                        )
                    ii += dr
                jj += dc
            place(t, c, &x, &e, i, j)
            finish_block(t, sums, LM_NV * lanes(t), rows, width, <real *>x.out + i * c.ldc + j, c.ldc, &e)
            j += LM_NV * lanes(t)
        i += height


cdef void turned_task(real t, Context *c, i64 task, i64 slot) noexcept nogil:
    """C^T = B^T A^T: rows of A, transposed, fill the registers. A run of rows passes over k, and its sums are turned back at the end."""
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 run = TURN * nr
    cdef Block x = locate(c, task, nr, nr)
    cdef real *bp = <real *>(c.scratch + slot * c.per_thread)
    cdef real *sums = bp + TURN * strip_step(depth_of(c.k), nr)
    cdef real *block = sums + c.n * run
    cdef i64 ld = ceil_div(c.n, lanes(t)) * lanes(t)
    cdef i64 panels = ceil_div(c.n, LM_MR)
    cdef i64 height = ceil_div(c.n, panels)
    cdef i64 i, j, rows, pass_, pc, kc, strip, panel
    cdef Epilogue e
    i = x.i0
    while i < x.i1:
        rows = min(run, x.i1 - i)
        e = plain()
        for pass_ in range(c.passes):
            pc = c.k * pass_ // c.passes
            kc = c.k * (pass_ + 1) // c.passes - pc
            pack_b(t, <const real *>x.a + i * c.ars + pc * c.acs, c.acs, c.ars, kc, rows, bp)
            for strip in range(ceil_div(rows, nr)):
                for panel in range(panels):
                    j = panel * height
                    tile_ahead(
                        t, min(height, c.n - j), LM_NV, kc, <const real *>x.b + pc * c.brs + j, 1, c.brs, bp + strip * strip_step(kc, nr), nr,
                        sums + j * run + strip * nr, run, nr, &e, <const char *>bp, 0,
                    )
            e.beta = 1
        transpose(t, sums, run, block, ld, c.n, rows)
        e = c.e
        place(t, c, &x, &e, i, 0)
        finish_block(t, block, ld, rows, c.n, <real *>x.out + i * c.ldc, c.ldc, &e)
        i += run


cdef void pack_task(real t, Context *c, i64 task) noexcept nogil:
    """PACK of the shared strips."""
    cdef i64 nr = LM_NV * lanes(t)
    cdef i64 pc = c.k * c.first // c.passes
    cdef i64 kc = c.k * c.last // c.passes - pc
    cdef i64 j = c.j0 + task * PACK * nr
    pack_b(
        t, <const real *>c.b + pc * c.brs + j * c.bcs, c.brs, c.bcs, kc, min(c.j1 - j, PACK * nr),
        <real *>c.shared + task * PACK * strip_step(kc, nr),
    )


cdef inline void any_task(real t, Context *c, i64 task, i64 slot) noexcept nogil:
    if c.way == BLOCKS:
        block_task(t, c, task, slot)
    elif c.way == RANK:
        rank_task(t, c, task, slot)
    elif c.way == TURNED:
        turned_task(t, c, task, slot)
    else:
        dot_task(t, c, task, slot)


cdef void task_f32(void *c, i64 task, i64 slot) noexcept nogil:
    any_task(<float>0, <Context *>c, task, slot)


cdef void task_f64(void *c, i64 task, i64 slot) noexcept nogil:
    any_task(<double>0, <Context *>c, task, slot)


cdef void pack_f32(void *c, i64 task, i64 slot) noexcept nogil:
    pack_task(<float>0, <Context *>c, task)


cdef void pack_f64(void *c, i64 task, i64 slot) noexcept nogil:
    pack_task(<double>0, <Context *>c, task)


cdef void grid(i64 m, i64 n, i64 k, i64 batch, i64 item, i64 *rows, i64 *columns) noexcept nogil:
    """Tasks along m and n. More tasks balance better over more threads, larger ones pack less."""
    cdef i64 nr = LM_NV * LM_VB // item
    cdef i64 tasks
    cdef double flops
    rows[0] = columns[0] = 1
    while True:
        tasks = batch * rows[0] * columns[0]
        flops = 2.0 * batch * m * n * k / tasks
        if not (tasks < 4 and flops > 4e6 or tasks < 8 and flops > 1e9 or tasks < 32 and flops > 1e10):
            return
        if n * rows[0] >= m * columns[0] and 2 * columns[0] * nr <= n:
            columns[0] *= 2
        elif 2 * rows[0] * LM_MR <= m:
            rows[0] *= 2
        elif 2 * columns[0] * nr <= n:
            columns[0] *= 2
        else:
            return


cdef i64 a_elements(i64 m, i64 k, i64 row_tasks) noexcept nogil:
    """Of a copied block of A, whichever way it lies."""
    cdef i64 kc = depth_of(k)
    cdef i64 mc = min(<i64>MC, ceil_div(ceil_div(m, LM_MR), row_tasks) * LM_MR)
    return max(mc * spread(kc), kc * spread(mc))


cdef inline bint shares(i64 m, i64 batch) noexcept nogil:
    """Whether more than two blocks of A use the strips of a single product: for fewer, columns are a better cut."""
    return m > 2 * MC and batch == 1


cdef i64 panel_strips(i64 n, i64 k, i64 item) noexcept nogil:
    cdef i64 nr = LM_NV * LM_VB // item
    return max(<i64>1, min(ceil_div(n, nr), PANEL // (strip_step(depth_of(k), nr) * item)))


cdef i64 shared_bytes(i64 m, i64 n, i64 k, i64 batch, i64 item) noexcept nogil:
    """Scratch of all: the strips of a panel."""
    if not shares(m, batch):
        return 0
    return panel_strips(n, k, item) * strip_step(depth_of(k), LM_NV * LM_VB // item) * item


cdef inline i64 ranks(i64 n, i64 item) noexcept nogil:
    """Up to how many rows are summed into L1."""
    return RANK_ROWS if LM_VB == 64 and n >= 4 * LM_NV * LM_VB // item else RANK_ROWS // 2


cdef inline bint turns(i64 n, i64 k, i64 item) noexcept nogil:
    """Whether columns leave three quarters of their last register empty, which costs more than to transpose A."""
    cdef i64 w = LM_VB // item
    return w < n < 4 * LM_NV * w and 4 * (-n & (w - 1)) >= 3 * w and k >= DOT_DEPTH


cdef i64 thread_bytes(i64 m, i64 n, i64 k, i64 batch, i64 item) noexcept nogil:
    """Scratch of a thread: a block of A and strips of B, or sums and columns of B."""
    cdef i64 nr = LM_NV * LM_VB // item
    cdef i64 elements, row_tasks, column_tasks
    grid(m, n, k, batch, item, &row_tasks, &column_tasks)
    elements = ceil_div(ceil_div(n, nr), column_tasks)
    if shares(m, batch):
        elements = row_tasks = 1
    elif ceil_div(ceil_div(m, LM_MR), row_tasks) * LM_MR <= MC:
        elements = min(elements, strips_at_a_time(k // max(<i64>1, ceil_div(k, KC)), nr, item))
    elements *= strip_step(depth_of(k), nr)
    elements += a_elements(m, k, row_tasks)
    if m <= RANK_ROWS:
        elements = max(elements, <i64>RANK_ROWS * RANK_COLUMNS)
    if m <= DOT_ROWS or n < nr:
        elements = max(elements, DOT_ROWS * nr + min(n * k, <i64>DOT_BLOCK))
    if turns(n, k, item):
        elements = max(elements, TURN * (strip_step(depth_of(k), nr) + n * nr + ceil_div(n, nr) * nr * nr))
    return ceil_div(elements * item, 128) * 128


cdef void share(Context *c, i64 threads) noexcept nogil:
    """Tasks of a panel: if A is not copied, runs of columns, provided that threads find about as many; otherwise blocks of A, each copied once,
    unless there are more threads than blocks."""
    cdef i64 strips = panel_strips(c.n, c.k, c.item)
    c.together = c.copy_a or 16 * (ceil_div(strips, threads) * threads - strips) > strips
    if not c.together:
        c.row_tasks = 1
        c.column_tasks = threads
        return
    c.row_tasks = ceil_div(ceil_div(c.m, LM_MR), MC // LM_MR)
    c.column_tasks = 1
    if threads <= c.row_tasks:
        c.row_tasks = ceil_div(c.row_tasks, threads) * threads
    else:
        c.column_tasks = min(strips, ceil_div(2 * threads, c.row_tasks))


cdef void plan(Context *c, i64 batch) noexcept nogil:
    """The way and what is packed: by sizes and strides alone; the tasks of one who packs for himself."""
    cdef i64 nr = LM_NV * LM_VB // c.item
    cdef i64 step = c.brs * c.item
    if c.n == 1:
        c.bcs = 1
    grid(c.m, c.n, c.k, batch, c.item, &c.row_tasks, &c.column_tasks)
    c.passes = max(<i64>1, ceil_div(c.k, KC))
    c.copy_a = c.pack_b = False
    if c.acs == 1 and c.k >= DOT_DEPTH and (
        8 * c.n <= 3 * nr and c.n * c.k <= DOT_BLOCK or c.m <= DOT_ROWS and c.brs == 1
    ):
        c.way = DOT
        c.pack_b = c.brs != 1
        if c.m <= DOT_ROWS:
            c.row_tasks = 1
            c.column_tasks = ceil_div(c.n, RANK_COLUMNS)
    elif c.m <= ranks(c.n, c.item) and c.bcs == 1 and c.k > 0:
        c.way = RANK
        c.row_tasks = 1
        c.column_tasks = ceil_div(ceil_div(c.n, nr), RANK_COLUMNS // nr)
    elif turns(c.n, c.k, c.item) and c.bcs == 1 and (c.acs == 1 or c.ars == 1) and c.m >= TURN * nr:
        c.way = TURNED
        c.column_tasks = 1
    else:
        c.way = BLOCKS
        c.a_elements = a_elements(c.m, c.k, 1 if shares(c.m, batch) else c.row_tasks)
        # powers of two send all rows of a strip into few sets of L2; memory wants to be read along the rows
        c.pack_b = c.bcs != 1 or (
            c.m > 2 * LM_MR and c.k * c.n * c.item > SMALL and step & -step > 1024 or c.m <= 2 * MC and c.k * c.n * c.item > PANEL
        )
        c.copy_a = not (c.m * c.k * c.item <= SMALL or c.acs == 1 and crowd(c.ars * c.item) <= LM_MR // 2)


def scratch(pass_, p):
    """A block of A and strips of B per thread."""
    cdef i64 batch = 1
    for size in p.batch:
        batch *= size
    return shared_bytes(p.m, p.n, p.k, batch, p.dtype.itemsize), thread_bytes(p.m, p.n, p.k, batch, p.dtype.itemsize)


cdef void run_panels(Context *c, bint double_precision, double nanoseconds, i64 slots) noexcept nogil:
    """Pass by pass over a panel of C, all threads pack its strips, then all multiply with them; or tasks pack what they alone need."""
    cdef i64 nr = LM_NV * LM_VB // c.item
    cdef i64 strips = ceil_div(c.n, nr)
    cdef i64 panels = ceil_div(strips, panel_strips(c.n, c.k, c.item))
    cdef i64 panel, pass_
    nanoseconds /= panels * c.passes
    for panel in range(panels):
        c.j0 = panel * strips // panels * nr
        c.j1 = min(c.n, (panel + 1) * strips // panels * nr)
        for pass_ in range(c.passes):
            c.first = pass_
            c.last = pass_ + 1
            if c.together:
                parallel_for(
                    pack_f64 if double_precision else pack_f32, c, ceil_div(ceil_div(c.j1 - c.j0, nr), PACK),
                    c.k // c.passes * (c.j1 - c.j0) * c.item / RATE, slots,
                )
            parallel_for(task_f64 if double_precision else task_f32, c, c.row_tasks * c.column_tasks, nanoseconds, slots)


cdef void last_strides(cnp.ndarray x, i64 item, i64 *rows, i64 *columns) noexcept:
    cdef int nd = cnp.PyArray_NDIM(x)
    rows[0] = cnp.PyArray_STRIDE(x, nd - 2) // item
    columns[0] = cnp.PyArray_STRIDE(x, nd - 1) // item


def forward(p, cnp.ndarray a, cnp.ndarray b, bias, c, cnp.ndarray out, cnp.ndarray scratch):
    cdef Context x
    cdef bint double_precision = cnp.PyArray_TYPE(out) == cnp.NPY_FLOAT64
    cdef double rate = 60.0 if double_precision else 120.0     # flops per ns of one thread, for the pool's estimate
    cdef i64 unused
    cdef i64 batch = 1
    cdef int axis
    cdef cnp.ndarray old
    x.item = 8 if double_precision else 4
    x.m = p.m
    x.n = p.n
    x.k = p.k
    x.a = cnp.PyArray_BYTES(a)
    last_strides(a, x.item, &x.ars, &x.acs)
    x.b = cnp.PyArray_BYTES(b)
    last_strides(b, x.item, &x.brs, &x.bcs)
    x.out = cnp.PyArray_BYTES(out)
    last_strides(out, x.item, &x.ldc, &unused)
    x.e = plain()
    x.e.alpha = p.alpha
    x.e.beta = p.beta
    x.e.slope = p.slope
    x.e.act = p.act
    x.e.bias_kind = p.bias_kind
    x.bias = cnp.PyArray_BYTES(bias) if bias is not None else NULL
    x.c = NULL
    x.ldcc = 0
    x.axes = cnp.PyArray_NDIM(out) - 2
    for axis in range(x.axes):
        x.size[axis] = cnp.PyArray_DIM(out, axis)
        x.so[axis] = cnp.PyArray_STRIDE(out, axis)
        x.sa[axis] = cnp.PyArray_STRIDE(a, axis)
        x.sb[axis] = cnp.PyArray_STRIDE(b, axis)
        x.sc[axis] = 0
        batch *= x.size[axis]
    if c is not None:
        old = c
        x.c = cnp.PyArray_BYTES(old)
        last_strides(old, x.item, &x.ldcc, &unused)
        x.e.old = x.c
        x.e.ld_old = x.ldcc
        for axis in range(x.axes):
            x.sc[axis] = cnp.PyArray_STRIDE(old, axis)
    if x.m == 0 or x.n == 0 or batch == 0:
        return
    x.per_thread = thread_bytes(x.m, x.n, x.k, batch, x.item)
    x.shared = NULL
    x.scratch = cnp.PyArray_BYTES(scratch)
    cdef i64 common = shared_bytes(x.m, x.n, x.k, batch, x.item)
    cdef i64 slots = (cnp.PyArray_SIZE(scratch) - common) // x.per_thread if x.per_thread else 1
    cdef double nanoseconds = 2.0 * batch * x.m * x.n * x.k / rate
    with nogil:
        plan(&x, batch)
        x.together = False
        x.first = 0
        x.last = x.passes
        x.j0 = 0
        x.j1 = x.n
        if x.way == BLOCKS and x.pack_b and shares(x.m, batch):
            x.shared = x.scratch
            x.scratch += common
            share(&x, min(slots, <i64>num_threads()))
            run_panels(&x, double_precision, nanoseconds, slots)
        else:
            x.scratch += common
            parallel_for(task_f64 if double_precision else task_f32, &x, batch * x.row_tasks * x.column_tasks, nanoseconds, slots)
