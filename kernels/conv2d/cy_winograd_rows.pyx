"""Winograd F(4, 5) along the rows of an image: 8 products for 4 pixels of the output, where the formula has 20 per row of a filter 5 wide.

    Y = A^T [ sum over i, c of  (G g[i]) * (B^T d[i]) ]          *: element by element; d[i] 8 pixels of a row, g[i] 5 weights, Y 4 pixels of a row
    dg[i] = G^T [ sum over tiles of  (B^T d[i]) * (A dY) ]       the adjoint: backward_weight

    rows of B^T, for the points 0, +-a with a = 1, 2, 1/2 (b, c the other two), infinity:
        0         -1   0      5.25  0      -5.25 0   1  0
        +-a        0  +-aB    B    -+aA    -A   +-a  1  0            A = b^2 + c^2, B = b^2 c^2
        infinity   0  -1      0     5.25    0  -5.25 0  1
    G = powers of the points / (-1, -9/2, 90, 45/32), the last row (0 0 0 0 1)         A^T = powers of the points, the last column (0 0 0 1)^T

Shapes   images (mb, c, h, w) in channels-last memory, weights (oc, ic, kh, 5) with kh <= 8; stride 1, no dilation, one group, any padding.
         backward_input is the forward pass of g with weights turned by 180 degrees, channels exchanged and padding kh - 1 - ph, 4 - pw.
Storage  V = B^T d [8][row][tile][ic], with the kh - 1 rows around a band    U = G g [panel of nr channels][8][kh][ic][nr]    M = V U [8][row][tile][nr]
         dM = A dY [8][row][tile][oc]    dU = V^T dM [panel][8][kh][ic][nr].  Tiles of V and dM are an odd number of cache lines apart.
         For few channels V is upright, [8][tile][row][ic], and M [8][tile][row][nr]: kh rows of V are one depth of kh * ic.
         Up to half a register of channels share it with those of the next row: V [8][row % 2][row / 2][tile][ic], M [8][row / 2][tile][row % 2, oc],
         U [8][kh + 1][ic][row % 2, oc] with the rows of the filter one further down for the second row.
Transforms   lanes = channels, a tile in registers. A row is transformed once for all rows of the filter: that is what one dimension gains over two
Tile     forward, backward_input                                   backward_weight
         rows: tiles of the band, runs of V, in place; of two runs  rows: channels of x (of two rows of the filter), V in place
         where that fits the registers
         columns: nr channels; depth: rows of the filter, ic        columns: nr channels of g; depth: images, tiles
Loops    U once per call; tasks are bands of an image
           V                     in L2
           panels, 8 products    U and V of a product in L1; what comes next is on its way from memory meanwhile
           Y                     bias and activation on the way out
         backward_weight: tasks are chunks of bands with a private dU each
           blocks of bands       V and dM in L2
           panels, 8 products    adding to dU; in the end dg from the sum of all dU, chunk after chunk
Edges    pixels outside an image are zeros; stores look at the width of the image. The last panel is padded, the last register of channels masked.
Cost     8/20 multiplications, more where 4 does not divide the width; transforms of some 80 cycles per tile and register of channels, on either side
Error    float32: as that of the formula within a factor of 2 (measured 1.5e-6 of max|y| at 32 channels)
Loses    to cy_lanes and cy_direct for very few channels: the transforms, and lanes that are empty
After    Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray, CVPR 2016, arXiv:1509.09308.
"""
cimport numpy as cnp
from libc.string cimport memset

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport (
    LM_MR, LM_NV, LM_VB, lanes, v_add, v_fma, v_load, v_load_n, v_mul, v_permute, v_prefetch_l2, v_set, v_store, v_store_n, v_sub, v_zero, vec,
)
from lamella.kernels._common.tile cimport ACT_NONE, BIAS_COLUMN, BIAS_NONE, Epilogue, finish, pair_fits, pair_run, plain, tile_run
from lamella.kernels._common.transpose cimport square
from lamella.kernels._common.types cimport i64, real
from lamella.kernels.conv2d.gather cimport IC, IH, IW, KH, MB, OC, OH, OW, PH, PW, aligned, ceil_div, epilogue, odd_lines
from lamella.kernels.conv2d.panels cimport add_pixels

cnp.import_array()

cdef enum:
    M = 4                       # pixels of an output tile
    R = 5                       # weights of a row of a filter
    A = M + R - 1               # products
    HIGH = 8                    # rows of a filter at most
    BLOCK = 256 * 1024          # bytes of V and M, or of V and dM, that a task works on
    CHUNKS = 8                  # private copies of dU at most
    PRIVATE = 16 << 20          # bytes of them, from which on there are fewer
    MOST = 64 << 20             # bytes of transformed weights, or of sums of their gradients
    BANDS = 4                   # tasks wanted at least
    LOW = 7                     # rows of a band at least, if that many tasks can be had otherwise
    GRAIN = 12500               # ns of a task at least, likewise
    TALL = 5                    # rows of a band from which on V and M run down its columns
    FLAT = 1024                 # bytes of a pixel's channels up to which rows of V that run down are packed: larger ones would share the sets of L1


cdef struct Rows:
    bint double_precision
    i64 item
    double rate                 # flops per ns of one thread
    # images: pixel (r, q) of dst sums over the pixels (r - top + i, q - left + j) of src
    const char *src
    char *dst
    i64 mb, height, width, depth        # of src; depth: its channels
    i64 rows, columns, n                # of dst; n: its channels
    i64 top, left
    i64 taps                            # rows of a filter
    i64 across                          # tiles of a row
    i64 band_rows, bands                # rows of a task, tasks of an image
    Epilogue e
    # weights
    const char *w
    i64 w_in, w_out             # steps in w from channel to channel of src and of dst, elements
    bint rotated
    i64 nv, nr, panels          # registers and channels of a panel
    i64 halves                  # rows of dst whose channels share a register
    bint upright                # V and M run down the columns of tiles, not along the rows
    i64 half                    # rows of V of the same remainder by halves
    i64 row, tile, plane        # V: elements from row to row, from tile to tile, and from product to product
    i64 band                    # V of a band, in a plane
    i64 inner, outer            # positions of M that run in V, and such runs, of a whole band
    i64 sums_plane              # M: from product to product
    # backward_weight
    i64 n_pitch, n_plane, n_band        # dM likewise
    i64 block, chunks           # bands multiplied at a time; private copies
    i64 high, parts             # channels of src in a tile, tiles
    char *dw
    char *db
    # scratch
    char *u                     # U, or private copies of dU, each with a row of db per panel
    char *local                 # of slot 0
    i64 local_bytes


cdef inline vec constant(real t, double x) noexcept nogil:
    return v_set(<real>x)


cdef inline void pair_of(real t, double a, double even4, double even2, const vec *d, vec *r) noexcept nogil:
    """The products of the points a and -a: the coefficients of x^2 and 1 in (x^2 - b^2)(x^2 - c^2)."""
    cdef vec even = v_fma(t, constant(t, even2), d[2], v_fma(t, constant(t, even4), d[4], d[6]))
    cdef vec odd = v_fma(t, constant(t, even2), d[1], v_fma(t, constant(t, even4), d[3], d[5]))
    r[0] = v_fma(t, constant(t, a), odd, even)
    r[1] = v_fma(t, constant(t, -a), odd, even)


cdef inline void input_line(real t, const vec *d, vec *r) noexcept nogil:
    """r = B^T d"""
    r[0] = v_fma(t, constant(t, 5.25), v_sub(t, d[2], d[4]), v_sub(t, d[6], d[0]))
    pair_of(t, 1, -4.25, 1, d, r + 1)
    pair_of(t, 2, -1.25, 0.25, d, r + 3)
    pair_of(t, 0.5, -5, 4, d, r + 5)
    r[7] = v_fma(t, constant(t, 5.25), v_sub(t, d[3], d[5]), v_sub(t, d[7], d[1]))


cdef inline void weight_pair(real t, double a, double scale, const vec *g, vec *r) noexcept nogil:
    cdef vec even = v_fma(t, constant(t, scale * a * a), v_fma(t, constant(t, a * a), g[4], g[2]), v_mul(t, constant(t, scale), g[0]))
    cdef vec odd = v_mul(t, constant(t, scale * a), v_fma(t, constant(t, a * a), g[3], g[1]))
    r[0] = v_add(t, even, odd)
    r[1] = v_sub(t, even, odd)


cdef inline void weight_line(real t, const vec *g, vec *r) noexcept nogil:
    """r = G g"""
    r[0] = v_sub(t, v_zero(), g[0])
    weight_pair(t, 1, -2.0 / 9, g, r + 1)
    weight_pair(t, 2, 1.0 / 90, g, r + 3)
    weight_pair(t, 0.5, 32.0 / 45, g, r + 5)
    r[7] = g[4]


cdef inline void output_line(real t, const vec *m, vec *r) noexcept nogil:
    """r = A^T m"""
    cdef vec s1 = v_add(t, m[1], m[2])
    cdef vec d1 = v_sub(t, m[1], m[2])
    cdef vec s2 = v_add(t, m[3], m[4])
    cdef vec d2 = v_sub(t, m[3], m[4])
    cdef vec s3 = v_add(t, m[5], m[6])
    cdef vec d3 = v_sub(t, m[5], m[6])
    r[0] = v_add(t, v_add(t, m[0], s1), v_add(t, s2, s3))
    r[1] = v_fma(t, constant(t, 0.5), d3, v_fma(t, constant(t, 2), d2, d1))
    r[2] = v_fma(t, constant(t, 0.25), s3, v_fma(t, constant(t, 4), s2, s1))
    r[3] = v_fma(t, constant(t, 0.125), d3, v_fma(t, constant(t, 8), d2, v_add(t, d1, m[7])))


cdef inline void gradient_pair(real t, double a, const vec *y, vec *r) noexcept nogil:
    cdef vec even = v_fma(t, constant(t, a * a), y[2], y[0])
    cdef vec odd = v_fma(t, constant(t, a * a), y[3], y[1])
    r[0] = v_fma(t, constant(t, a), odd, even)
    r[1] = v_fma(t, constant(t, -a), odd, even)


cdef inline void gradient_line(real t, const vec *y, vec *r) noexcept nogil:
    """r = A y"""
    r[0] = y[0]
    gradient_pair(t, 1, y, r + 1)
    gradient_pair(t, 2, y, r + 3)
    gradient_pair(t, 0.5, y, r + 5)
    r[7] = y[3]


cdef inline void filter_line(real t, const vec *u, vec *r) noexcept nogil:
    """r = G^T u"""
    cdef vec s1 = v_mul(t, constant(t, -2.0 / 9), v_add(t, u[1], u[2]))
    cdef vec d1 = v_mul(t, constant(t, -2.0 / 9), v_sub(t, u[1], u[2]))
    cdef vec s2 = v_mul(t, constant(t, 1.0 / 90), v_add(t, u[3], u[4]))
    cdef vec d2 = v_mul(t, constant(t, 1.0 / 90), v_sub(t, u[3], u[4]))
    cdef vec s3 = v_mul(t, constant(t, 32.0 / 45), v_add(t, u[5], u[6]))
    cdef vec d3 = v_mul(t, constant(t, 32.0 / 45), v_sub(t, u[5], u[6]))
    r[0] = v_add(t, v_sub(t, s1, u[0]), v_add(t, s2, s3))
    r[1] = v_fma(t, constant(t, 0.5), d3, v_fma(t, constant(t, 2), d2, d1))
    r[2] = v_fma(t, constant(t, 0.25), s3, v_fma(t, constant(t, 4), s2, s1))
    r[3] = v_fma(t, constant(t, 0.125), d3, v_fma(t, constant(t, 8), d2, d1))
    r[4] = v_add(t, v_fma(t, constant(t, 0.0625), s3, v_fma(t, constant(t, 16), s2, s1)), u[7])


cdef inline void fetch(const char *start, i64 size, i64 part, i64 parts) noexcept nogil:
    """Ask for a part of memory that is transformed, or written, after the products in progress."""
    cdef i64 i
    for i in range(part * size // (parts * 64), (part + 1) * size // (parts * 64)):
        v_prefetch_l2(start + i * 64)


cdef inline vec half_turn(real t) noexcept nogil:
    """The permutation that exchanges the halves of a register."""
    cdef int order[16]
    cdef int i
    for i in range(LM_VB // 4):
        order[i] = (i + LM_VB // 8) % (LM_VB // 4)
    return v_load(<const real *>order)


# Transforms, lanes = channels

cdef inline vec pixel(real t, const real *line, i64 x, i64 width, i64 step, i64 n) noexcept nogil:
    """n channels of pixel x of a row, zeros outside of it."""
    if x < 0 or x >= width:
        return v_zero()
    return v_load(line + x * step) if n == lanes(t) else v_load_n(t, line + x * step, n)


cdef inline i64 place(Rows *d, i64 row) noexcept nogil:
    """Where a row of V begins."""
    return (row % d.halves * d.half + row // d.halves) * d.row


cdef void transform_input(real t, Rows *d, i64 image, i64 r0, real *v) noexcept nogil:
    """v[product][row][tile][channel] = B^T d for the rows of src under a band of dst from r0 on. A register stored may reach into the next row."""
    cdef vec a[A]
    cdef vec r[A]
    cdef i64 row, y, tile, _tile, x, i, c, left
    cdef const real *line
    cdef real *to
    cdef int j
    for row in range(d.band_rows + d.taps - 1):
        y = r0 + row - d.top
        for i in range(ceil_div(d.depth, lanes(t))):
            c = i * lanes(t)
            to = v + place(d, row) + c
            if y < 0 or y >= d.height:
                for _tile in range(d.across):
                    for j in range(A):
                        v_store(to + j * d.plane, v_zero())
                    to += d.tile
                continue
            left = min(d.depth - c, <i64>lanes(t))
            line = <const real *>d.src + (image * d.height + y) * d.width * d.depth + c
            for j in range(A - M):
                a[M + j] = pixel(t, line, j - d.left, d.width, d.depth, left)
            for tile in range(d.across):
                x = (tile + 1) * M - d.left
                for j in range(M):
                    a[j] = a[M + j]
                    a[M + j] = pixel(t, line, x + j, d.width, d.depth, left)
                input_line(t, a, r)
                for j in range(A):
                    v_store(to + j * d.plane, r[j])
                to += d.tile


cdef inline i64 reach(Rows *d) noexcept nogil:
    """Rows of src that the rows of dst of a register sum over."""
    return d.taps + d.halves - 1


cdef void transform_weights(real t, Rows *d, i64 panel) noexcept nogil:
    """U of a panel: taps are transposed in registers, then transformed row by row of the filter. Where two rows of dst share a register,
    the second one's row of the filter lies one row further down."""
    cdef real taps[(HIGH * R + 8) * 16]         # [tap][lane]
    cdef vec g[R]
    cdef vec r[A]
    cdef i64 count = d.taps * R
    cdef i64 step = reach(d) * d.depth * d.nr       # from product to product
    cdef i64 c, q, i, k, first, left, tap
    cdef int j
    cdef real *to = <real *>d.u + panel * A * step
    if d.halves > 1:
        memset(to, 0, A * step * sizeof(real))
    for q in range(d.nv):
        first = panel * d.nr + q * lanes(t)
        left = min(d.n - first, <i64>lanes(t))
        if left < lanes(t):
            memset(taps, 0, sizeof(taps))
        for c in range(d.depth):
            for i in range(ceil_div(count, lanes(t)) if left > 0 else 0):
                square(
                    t, <const real *>d.w + first * d.w_out + c * d.w_in + i * lanes(t), d.w_out, taps + i * lanes(t) * lanes(t), lanes(t), left,
                    min(count - i * lanes(t), <i64>lanes(t)),
                )
            for i in range(d.taps):
                for j in range(R):
                    tap = i * R + j
                    g[j] = v_load(taps + (count - 1 - tap if d.rotated else tap) * lanes(t))
                weight_line(t, g, r)
                to = <real *>d.u + panel * A * step + (i * d.depth + c) * d.nr + q * lanes(t)
                for k in range(A):
                    if d.halves == 1:
                        v_store(to + k * step, r[k])
                    else:
                        v_store_n(t, to + k * step, left, r[k])
                        v_store_n(t, to + k * step + d.depth * d.nr + lanes(t) // 2, left, r[k])


cdef inline void store_tile(real t, const vec *r, i64 pixels, i64 n, i64 channel, const Epilogue *e, real *to, i64 step) noexcept nogil:
    """n channels of the pixels of a tile that the image has."""
    cdef int j
    if e.bias_kind == BIAS_NONE and e.act == ACT_NONE and pixels >= M:
        for j in range(M):
            v_store_n(t, to + j * step, n, r[j])
        return
    for j in range(M):
        if j < pixels:
            v_store_n(t, to + j * step, n, finish(t, r[j], e, to, n, 0, channel))


cdef void transform_output(real t, Rows *d, i64 image, i64 r0, i64 rows, i64 panel, const real *m) noexcept nogil:
    """dst = act(A^T m + bias) for a panel of channels of a band."""
    cdef vec a[A]
    cdef vec r[M]
    cdef vec turn
    cdef i64 row, tile, q, left, n, i
    cdef int j
    cdef const real *at
    cdef real *to
    cdef Epilogue e = d.e
    if e.bias_kind == BIAS_COLUMN:
        e.bias = <const real *>d.e.bias + panel * d.nr
    turn = half_turn(t)
    for i in range(ceil_div(rows, d.halves)):
        row = i * d.halves
        for tile in range(d.across):
            to = <real *>d.dst + ((image * d.rows + r0 + row) * d.columns + tile * M) * d.n + panel * d.nr
            for q in range(d.nv):
                n = q * lanes(t)
                left = min(d.n - panel * d.nr - n, <i64>lanes(t))
                if left <= 0:
                    break
                at = m + (tile * d.inner + i if d.upright else i * d.across + tile) * d.nr + n
                for j in range(A):
                    a[j] = v_load(at + j * d.sums_plane)
                output_line(t, a, r)
                store_tile(t, r, d.columns - tile * M, left, n, &e, to + n, d.n)
                if row + 1 < rows and d.halves > 1:
                    for j in range(M):
                        r[j] = v_permute(r[j], turn)
                    store_tile(t, r, d.columns - tile * M, left, n, &e, to + d.columns * d.n, d.n)


cdef void transform_gradient(real t, Rows *d, i64 image, i64 r0, i64 rows, real *v) noexcept nogil:
    """v[product][row][tile][channel] = A y for a band of g; rows beyond the image are zero."""
    cdef vec a[M]
    cdef vec r[A]
    cdef i64 row, tile, c, left
    cdef int j
    cdef const real *at
    cdef real *to
    for row in range(d.band_rows):
        to = v + row * d.across * d.n_pitch
        if row >= rows:
            for j in range(A):
                memset(to + j * d.n_plane, 0, d.across * d.n_pitch * sizeof(real))
            continue
        for tile in range(d.across):
            at = <const real *>d.dst + ((image * d.rows + r0 + row) * d.columns + tile * M) * d.n
            c = 0
            while c < d.panels * d.nr:
                left = max(<i64>0, min(d.n - c, <i64>lanes(t)))
                for j in range(M):
                    a[j] = v_load_n(t, at + j * d.n + c, left) if tile * M + j < d.columns and left > 0 else v_zero()
                gradient_line(t, a, r)
                for j in range(A):
                    v_store(to + j * d.n_plane + c, r[j])
                c += lanes(t)
            to += d.n_pitch


# Tasks

cdef inline void multiply(real t, Rows *d, int nv, i64 taps, const i64 *ao, const i64 *bo, i64 depth, const real *v, const real *u, real *m) noexcept nogil:
    """A product of a band: blocks of the runs of V, two at a time where they are small, those of the same place in each run one after another."""
    cdef i64 parts = ceil_div(d.inner, LM_MR)
    cdef i64 height = ceil_div(d.inner, parts)
    cdef i64 step = d.row if d.upright else d.tile
    cdef i64 k = 0, first, high, at, to, a_jump, c_jump
    cdef Epilogue e = plain()
    while k < parts * d.outer:
        first = k // d.outer * height
        high = min(height, d.inner - first)
        at = k % d.outer * d.tile + first * step
        to = (k % d.outer * d.inner + first) * nv * lanes(t)
        k += 1
        if k < parts * d.outer and pair_fits(high, nv):
            first = k // d.outer * height
            a_jump = k % d.outer * d.tile + first * step - at
            c_jump = (k % d.outer * d.inner + first) * nv * lanes(t) - to
            if min(height, d.inner - first) == high:
                pair_run(
                    t, high, nv, a_jump, c_jump, taps, ao, bo, depth, v + at, step, 1, u, nv * lanes(t), -1, m + to, nv * lanes(t), nv * lanes(t), &e,
                )
                k += 1
                continue
        tile_run(t, high, nv, taps, ao, bo, depth, v + at, step, 1, u, nv * lanes(t), -1, m + to, nv * lanes(t), nv * lanes(t), &e)


cdef void band_task(real t, Rows *d, i64 task, i64 slot) noexcept nogil:
    """V of a band, then panel by panel M and dst."""
    cdef i64 image = task // d.bands
    cdef i64 r0 = task % d.bands * d.band_rows
    cdef i64 rows = min(d.band_rows, d.rows - r0)
    cdef i64 step = reach(d) * d.depth * d.nr
    cdef real *v = <real *>(d.local + slot * d.local_bytes)
    cdef real *m = v + A * d.plane
    cdef const real *u
    cdef i64 ao[HIGH + 1]
    cdef i64 bo[HIGH + 1]
    cdef bint flat = d.upright and d.row == d.depth     # the depths of successive rows are one
    cdef i64 taps = 1 if flat else reach(d)
    cdef i64 depth = d.depth * reach(d) // taps
    cdef i64 panel, product, i
    cdef i64 line = d.width * d.depth * d.item      # next_: the rows of src after those of this band
    cdef const char *next_ = d.src + (image * d.height + min(d.height, r0 + d.band_rows - d.top + d.taps - 1)) * line
    cdef const char *dst = d.dst + (image * d.rows + r0) * d.columns * d.n * d.item
    for i in range(taps):
        ao[i] = place(d, i)
        bo[i] = i * d.depth * d.nr
    transform_input(t, d, image, r0, v)
    for panel in range(d.panels):
        for product in range(A):
            u = <const real *>d.u + (panel * A + product) * step
            if d.mb * d.bands > 1:
                fetch(next_, d.band_rows * line, panel * A + product, d.panels * A)
            if d.mb * d.bands > 1 and panel == 0:
                fetch(dst, rows * d.columns * d.n * d.item, product, A)
            if d.nv == 1:
                multiply(t, d, 1, taps, ao, bo, depth, v + product * d.plane, u, m + product * d.sums_plane)
            else:
                multiply(t, d, LM_NV, taps, ao, bo, depth, v + product * d.plane, u, m + product * d.sums_plane)
        transform_output(t, d, image, r0, rows, panel, m)


cdef inline void add_products(
    real t, Rows *d, int nv, i64 count, const i64 *ao, const i64 *bo, i64 product, i64 panel, const real *v, const real *g, real *du, bint add,
) noexcept nogil:
    """dU[product] (+)= V^T dM over `count` bands: tiles of `high` channels, two at a time where they are small."""
    cdef i64 depth = d.band_rows * d.across
    cdef i64 items = d.taps * d.parts
    cdef i64 i = 0, tap, first, high, there
    cdef const real *a
    cdef const real *b = g + product * d.n_plane + panel * nv * lanes(t)
    cdef real *c
    cdef Epilogue e = plain()
    e.beta = add
    while i < items:
        tap = i // d.parts
        first = i % d.parts * d.high
        high = min(d.high, d.depth - first)
        a = v + product * d.plane + tap * d.row + first
        c = du + (tap * d.depth + first) * nv * lanes(t)
        i += 1
        if i < items and pair_fits(high, nv):
            tap = i // d.parts
            first = i % d.parts * d.high
            if min(d.high, d.depth - first) == high:
                there = (tap * d.depth + first) * nv * lanes(t)
                pair_run(
                    t, high, nv, v + product * d.plane + tap * d.row + first - a, du + there - c, count, ao, bo, depth,
                    a, 1, d.tile, b, d.n_pitch, -1, c, nv * lanes(t), nv * lanes(t), &e,
                )
                i += 1
                continue
        tile_run(t, high, nv, count, ao, bo, depth, a, 1, d.tile, b, d.n_pitch, -1, c, nv * lanes(t), nv * lanes(t), &e)


cdef inline i64 du_size(Rows *d) noexcept nogil:
    """Elements of a panel's dU, and of its row of db."""
    return (A * d.taps * d.depth + 1) * d.nr


cdef void chunk_task(real t, Rows *d, i64 chunk, i64 slot) noexcept nogil:
    """The private dU of a chunk of bands."""
    cdef i64 units = d.mb * d.bands
    cdef i64 unit = chunk * units // d.chunks
    cdef i64 end = (chunk + 1) * units // d.chunks
    cdef i64 size = du_size(d)
    cdef real *du = <real *>d.u + chunk * d.panels * size
    cdef real *v = <real *>(d.local + slot * d.local_bytes)
    cdef real *g = v + A * d.plane
    cdef i64 *ao = <i64 *>(g + A * d.n_plane)
    cdef i64 *bo = ao + d.block
    cdef i64 count, i, image, r0, rows, panel, product
    cdef i64 x_size = d.height * d.width * d.depth * d.item // d.bands       # bytes of a unit, about
    cdef i64 g_size = d.rows * d.columns * d.n * d.item // d.bands
    cdef bint add = False
    for i in range(d.block):
        ao[i] = i * d.band
        bo[i] = i * d.n_band
    for panel in range(d.panels):
        memset(du + (panel + 1) * size - d.nr, 0, d.nr * sizeof(real))
    while unit < end:
        count = min(d.block, end - unit)
        for i in range(count):
            image = (unit + i) // d.bands
            r0 = (unit + i) % d.bands * d.band_rows
            rows = min(d.band_rows, d.rows - r0)
            transform_input(t, d, image, r0, v + i * d.band)
            transform_gradient(t, d, image, r0, rows, g + i * d.n_band)
            if d.db != NULL:
                for panel in range(d.panels):
                    add_pixels(
                        t, du + (panel + 1) * size - d.nr, min(d.nr, d.n - panel * d.nr),
                        <const real *>d.dst + (image * d.rows + r0) * d.columns * d.n + panel * d.nr, 1, 0, rows * d.columns, d.n,
                    )
        for panel in range(d.panels):
            for product in range(A):
                fetch(d.src + (unit + count) * x_size, count * x_size, panel * A + product, d.panels * A)
                fetch(d.dst + (unit + count) * g_size, count * g_size, panel * A + product, d.panels * A)
                if d.nv == 1:
                    add_products(t, d, 1, count, ao, bo, product, panel, v, g, du + panel * size + product * d.taps * d.depth * d.nr, add)
                else:
                    add_products(t, d, LM_NV, count, ao, bo, product, panel, v, g, du + panel * size + product * d.taps * d.depth * d.nr, add)
        add = True
        unit += count


cdef void filter_task(real t, Rows *d, i64 task) noexcept nogil:
    """dw of a channel of src and a panel of those of dst: G^T of the sum of all private dU. The first channel's task also adds up db."""
    cdef real taps[HIGH * R * 16]               # [tap][lane]
    cdef vec a[A]
    cdef vec r[R]
    cdef vec s
    cdef i64 panel = task // d.depth
    cdef i64 c = task % d.depth
    cdef i64 size = du_size(d)
    cdef i64 step = d.taps * d.depth * d.nr
    cdef i64 q, i, chunk, _chunk, first, left
    cdef int j
    cdef const real *at
    for q in range(d.nv):
        first = panel * d.nr + q * lanes(t)
        left = min(d.n - first, <i64>lanes(t))
        if left <= 0:
            break
        for i in range(d.taps):
            at = <const real *>d.u + panel * size + (i * d.depth + c) * d.nr + q * lanes(t)
            for j in range(A):
                a[j] = v_load(at + j * step)
            for _chunk in range(1, d.chunks):
                at += d.panels * size
                for j in range(A):
                    a[j] = v_add(t, a[j], v_load(at + j * step))
            filter_line(t, a, r)
            for j in range(R):
                v_store(taps + (i * R + j) * lanes(t), r[j])
        for i in range(ceil_div(d.taps * R, lanes(t))):
            square(
                t, taps + i * lanes(t) * lanes(t), lanes(t), <real *>d.dw + first * d.w_out + c * d.w_in + i * lanes(t), d.w_out,
                min(d.taps * R - i * lanes(t), <i64>lanes(t)), left,
            )
        if c == 0 and d.db != NULL:
            at = <const real *>d.u + (panel + 1) * size - d.nr + q * lanes(t)
            s = v_load(at)
            for chunk in range(1, d.chunks):
                s = v_add(t, s, v_load(at + chunk * d.panels * size))
            v_store_n(t, <real *>d.db + first, left, s)


cdef void weights_f32(void *d, i64 task, i64 slot) noexcept nogil:
    transform_weights(<float>0, <Rows *>d, task)


cdef void weights_f64(void *d, i64 task, i64 slot) noexcept nogil:
    transform_weights(<double>0, <Rows *>d, task)


cdef void band_f32(void *d, i64 task, i64 slot) noexcept nogil:
    band_task(<float>0, <Rows *>d, task, slot)


cdef void band_f64(void *d, i64 task, i64 slot) noexcept nogil:
    band_task(<double>0, <Rows *>d, task, slot)


cdef void chunk_f32(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<float>0, <Rows *>d, task, slot)


cdef void chunk_f64(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<double>0, <Rows *>d, task, slot)


cdef void filter_f32(void *d, i64 task, i64 slot) noexcept nogil:
    filter_task(<float>0, <Rows *>d, task)


cdef void filter_f64(void *d, i64 task, i64 slot) noexcept nogil:
    filter_task(<double>0, <Rows *>d, task)


# Planning

cdef double time_of(Rows *d) noexcept nogil:
    return 2.0 * A * d.mb * d.rows * d.across * d.taps * d.depth * d.n / d.rate


cdef void plan(Rows *d, const i64 *p, bint double_precision, pass_) noexcept:
    """Sizes and cuts, from the geometry alone."""
    cdef bint weight = pass_ == "backward_weight"
    cdef i64 bytes_row, most, private_
    memset(d, 0, sizeof(Rows))
    d.double_precision = double_precision
    d.item = 8 if double_precision else 4
    d.rate = LM_VB / 2.0 * (1 if double_precision else 2)
    d.e = plain()
    d.mb, d.taps = p[MB], p[KH]
    d.rotated = pass_ == "backward_input"
    if d.rotated:
        d.height, d.width, d.depth, d.rows, d.columns, d.n = p[OH], p[OW], p[OC], p[IH], p[IW], p[IC]
        d.top, d.left = d.taps - 1 - p[PH], R - 1 - p[PW]
        d.w_in, d.w_out = p[IC] * d.taps * R, d.taps * R
    else:
        d.height, d.width, d.depth, d.rows, d.columns, d.n = p[IH], p[IW], p[IC], p[OH], p[OW], p[OC]
        d.top, d.left = p[PH], p[PW]
        d.w_in, d.w_out = d.taps * R, p[IC] * d.taps * R
    d.across = ceil_div(d.columns, M)
    d.nv = 1 if d.n <= LM_VB // d.item else LM_NV
    d.nr = d.nv * LM_VB // d.item
    d.panels = ceil_div(d.n, d.nr)
    d.halves = 2 if not weight and 2 * d.n <= LM_VB // d.item and d.rows > 1 else 1
    d.tile = odd_lines(ceil_div(d.depth * d.item, LM_VB) * LM_VB // d.item, d.item)
    d.n_pitch = odd_lines(d.panels * d.nr, d.item) if weight else d.nr
    bytes_row = A * d.across * (d.tile + d.n_pitch) * d.item
    most = max(<i64>1, (BLOCK - A * d.across * (d.taps - 1) * d.tile * d.item) // max(bytes_row, <i64>1))
    d.bands = min(min(<i64>BANDS // max(d.mb, <i64>1), d.rows // LOW), <i64>(time_of(d) / GRAIN))
    d.bands = max(ceil_div(d.rows, most), d.bands)
    d.band_rows = max(<i64>1, ceil_div(d.rows, max(d.bands, <i64>1)))
    d.band_rows = ceil_div(d.band_rows, d.halves) * d.halves
    d.bands = ceil_div(d.rows, d.band_rows)
    d.half = ceil_div(d.band_rows + d.taps - 1, d.halves)
    d.upright = not weight and d.halves == 1 and d.nv == 1 and d.band_rows >= TALL
    d.row = d.across * d.tile
    d.inner, d.outer = d.band_rows // d.halves * d.across, 1
    if d.upright:
        d.row = d.depth if d.depth * d.item <= FLAT else d.tile
        d.tile = odd_lines((d.band_rows + d.taps - 1) * d.row + LM_VB // d.item, d.item)
        d.inner, d.outer = d.band_rows, d.across
    d.band = max(d.halves * d.half * d.row, d.across * d.tile)
    d.n_band = d.inner * d.outer * d.n_pitch
    d.block = 1
    if weight:
        private_ = d.panels * du_size(d) * d.item
        d.chunks = max(<i64>1, min(min(<i64>CHUNKS, PRIVATE // max(private_, <i64>1)), d.mb * d.bands))
        d.block = max(<i64>1, min(BLOCK // max(A * (d.band + d.n_band) * d.item, <i64>1), ceil_div(d.mb * d.bands, d.chunks)))
        d.parts = ceil_div(d.depth, LM_MR)
        d.high = ceil_div(d.depth, d.parts)
        d.parts = ceil_div(d.depth, d.high)
    d.plane = odd_lines(d.block * d.band, d.item)
    d.n_plane = d.sums_plane = odd_lines(d.block * d.n_band, d.item)
    d.local_bytes = aligned(A * (d.plane + d.n_plane) * d.item + 2 * d.block * 8)


cdef i64 weights_bytes(Rows *d, bint weight) noexcept nogil:
    return aligned((d.chunks * d.panels * du_size(d) if weight else d.panels * A * reach(d) * d.depth * d.nr) * d.item)


cdef i64 lay(Rows *d, cnp.ndarray scratch, bint weight) noexcept:
    """Distribute the scratch memory; the threads it is enough for."""
    cdef i64 used = weights_bytes(d, weight)
    d.u = cnp.PyArray_BYTES(scratch)
    d.local = d.u + used
    return (cnp.PyArray_SIZE(scratch) - used) // d.local_bytes


def scratch(pass_, p):
    """U or private copies of dU, shared; V, and M or dM, per thread."""
    cdef Rows d
    cdef cnp.ndarray g = p.geometry
    plan(&d, <const i64 *>cnp.PyArray_DATA(g), p.dtype.itemsize == 8, pass_)
    return weights_bytes(&d, pass_ == "backward_weight"), d.local_bytes


def transformed(pass_, p):
    """How many of the shared bytes are transformed weights, or sums of weight gradients."""
    cdef Rows d
    cdef cnp.ndarray g = p.geometry
    plan(&d, <const i64 *>cnp.PyArray_DATA(g), p.dtype.itemsize == 8, pass_)
    return weights_bytes(&d, pass_ == "backward_weight")


def accepts(pass_, p):
    return p.kh <= HIGH and transformed(pass_, p) <= MOST


cdef void run(Rows *d, i64 slots) noexcept nogil:
    parallel_for(
        weights_f64 if d.double_precision else weights_f32, d, d.panels, 0.5 * A * d.taps * d.n * d.depth, ANY_SLOTS,
    )
    parallel_for(band_f64 if d.double_precision else band_f32, d, d.mb * d.bands, time_of(d), slots)


def forward(p, cnp.ndarray x, cnp.ndarray w, b, cnp.ndarray out, cnp.ndarray scratch):
    cdef Rows d
    cdef cnp.ndarray numbers = p.geometry
    cdef const i64 *g = <const i64 *>cnp.PyArray_DATA(numbers)
    cdef i64 slots
    if cnp.PyArray_SIZE(out) == 0:
        return
    plan(&d, g, cnp.PyArray_TYPE(out) == cnp.NPY_FLOAT64, "forward")
    d.e = epilogue(g, p.slope, cnp.PyArray_BYTES(b) if b is not None else NULL)
    d.src, d.w, d.dst = cnp.PyArray_BYTES(x), cnp.PyArray_BYTES(w), cnp.PyArray_BYTES(out)
    slots = lay(&d, scratch, False)
    with nogil:
        run(&d, slots)


def backward_input(p, cnp.ndarray g, cnp.ndarray w, cnp.ndarray dx, cnp.ndarray scratch):
    cdef Rows d
    cdef cnp.ndarray numbers = p.geometry
    cdef i64 slots
    if cnp.PyArray_SIZE(dx) == 0:
        return
    plan(&d, <const i64 *>cnp.PyArray_DATA(numbers), cnp.PyArray_TYPE(dx) == cnp.NPY_FLOAT64, "backward_input")
    d.src, d.w, d.dst = cnp.PyArray_BYTES(g), cnp.PyArray_BYTES(w), cnp.PyArray_BYTES(dx)
    slots = lay(&d, scratch, False)
    with nogil:
        run(&d, slots)


def backward_weight(p, cnp.ndarray x, cnp.ndarray g, cnp.ndarray dw, db, cnp.ndarray scratch):
    cdef Rows d
    cdef cnp.ndarray numbers = p.geometry
    cdef i64 slots
    plan(&d, <const i64 *>cnp.PyArray_DATA(numbers), cnp.PyArray_TYPE(dw) == cnp.NPY_FLOAT64, "backward_weight")
    d.src, d.dst, d.dw = cnp.PyArray_BYTES(x), cnp.PyArray_BYTES(g), cnp.PyArray_BYTES(dw)      # g is read, not written
    d.db = cnp.PyArray_BYTES(db) if db is not None else NULL
    if d.mb == 0:
        memset(d.dw, 0, cnp.PyArray_NBYTES(dw))
        if d.db != NULL:
            memset(d.db, 0, d.n * d.item)
        return
    slots = lay(&d, scratch, True)
    with nogil:
        parallel_for(chunk_f64 if d.double_precision else chunk_f32, &d, d.chunks, time_of(&d), slots)
        parallel_for(
            filter_f64 if d.double_precision else filter_f32, &d, d.panels * d.depth, 0.2 * d.chunks * A * d.taps * d.n * d.depth, ANY_SLOTS,
        )
