# The code of cy_winograd_f2 and cy_winograd_f4, which set M, the side of an output tile, and include this file.
# What it does is described in cy_winograd_f4.
cimport numpy as cnp
from libc.string cimport memset

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.simd cimport (
    LM_MR, LM_NV, LM_VB, lanes, v_add, v_fma, v_load, v_load_n, v_mul, v_prefetch_l2, v_prefetch_write, v_set, v_store, v_store_n, v_sub, v_zero, vec,
)
from lamella.kernels._common.tile cimport BIAS_COLUMN, Epilogue, finish, plain, tile_run
from lamella.kernels._common.transpose cimport square
from lamella.kernels._common.types cimport i64, real
from lamella.kernels.conv2d.gather cimport DH, DW, GROUPS, IC, IH, IW, MB, OC, OH, OW, PH, PW, aligned, ceil_div, epilogue, odd_lines
from lamella.kernels.conv2d.panels cimport add_pixels

cnp.import_array()

cdef enum:
    A = M + 2                   # the side of an input tile
    AA = A * A                  # products
    BLOCK = 330 * 1024          # bytes of V of a task: with M, inside L2
    SUMS = 256 * 1024           # bytes of M of a task
    STREAM = 3 << 20            # bytes of U that may stream past every block of tiles
    SPAN = 8 << 20              # bytes of V that all threads work on at a time, where U is large
    ROWS = 70                   # channels of src per task of backward_weight: dU stays in L2
    SPAN_DU = 4 << 20           # bytes of V and dM that all threads work on at a time
    SPAN_OWN = 2 << 20          # and a thread for itself
    FEW = 96                    # channels of src and dst together, up to which V and dM cost more to exchange than to multiply
    LEAST = 48                  # tiles of a span, at least, where every span adds to sums in memory
    CHUNKS = 8                  # tasks with sums of their own
    SLICE = 128                 # channels of src at a time, where few tiles let U be made in L2 and used up there
    MOST = 64 << 20             # bytes of transformed weights, or of sums of their gradients
    UNITS = 16                  # tasks wanted at least
    WIDE_BYTES = 256            # of a pixel's channels that are transformed together, where there are several groups

# The point p of F(4x4); its powers are exact.
cdef enum:
    P_NUM = 5
    P_DEN = 8


cdef struct Winograd:
    bint double_precision
    i64 item
    double rate                 # flops per ns of one thread
    # images: pixel (r, q) of dst sums over the pixels (r - top + i * dy, q - left + j * dx) of src
    const char *src
    char *dst
    i64 mb, height, width, depth        # of src; depth: its channels in a group
    i64 rows, columns, n                # of dst; n: its channels in a group
    i64 groups, wide                    # groups, and how many of them are transformed together
    i64 src_pixel, dst_pixel            # elements from pixel to pixel: the channels of all groups
    i64 top, left
    i64 dy, dx                          # from tap to tap, and from pixel to pixel of a tile
    i64 down, across, tiles             # tiles per column and per row of a sub-image; of all images
    i64 bytes                           # of images and weights
    Epilogue e
    # weights
    const char *w
    i64 w_in, w_out, w_group    # steps in w from channel to channel of src and of dst, and from group to group, elements
    bint rotated
    i64 nr, panels              # channels of a panel, one register or LM_NV; panels of a group
    bint stationary             # a task holds a panel of U; otherwise a block of tiles
    i64 slice                   # channels of src in U at a time
    i64 span, first             # tiles worked on by all threads together, and the first of them
    i64 block                   # tiles of a task
    i64 pitch, plane            # V: elements from tile to tile, and from product to product
    i64 sums_plane, u_plane     # M and U likewise
    # backward_weight
    i64 n_pitch, n_plane        # dM, as pitch and plane
    i64 height_du, blocks_du    # channels of src per task, tasks per panel
    char *dw
    char *db
    i64 chunks                  # of tiles, each with sums of its own; 0: all threads work on a span together
    char *sums                  # of earlier spans: [chunk][panel][tap][channel of src][nr]
    # scratch
    char *zeros                 # a pixel of zeros
    char *u
    char *v
    char *dm
    char *local                 # of slot 0
    i64 local_bytes


# Transforms of one dimension

cdef inline vec constant(real t, double x) noexcept nogil:
    return v_set(<real>x)


cdef inline double point() noexcept nogil:
    return <double>P_NUM / P_DEN


cdef inline void input_line(real t, const vec *d, vec *r) noexcept nogil:
    """r = B^T d"""
    cdef double p = point()
    cdef double q = p * p
    cdef vec even, odd
    if M == 2:
        r[0] = v_sub(t, d[0], d[2])
        r[1] = v_add(t, d[1], d[2])
        r[2] = v_sub(t, d[2], d[1])
        r[3] = v_sub(t, d[3], d[1])
    else:
        r[0] = v_fma(t, constant(t, q), d[0], v_fma(t, constant(t, -1 - q), d[2], d[4]))
        r[5] = v_fma(t, constant(t, q), d[1], v_fma(t, constant(t, -1 - q), d[3], d[5]))
        even = v_fma(t, constant(t, -q), d[2], d[4])
        odd = v_fma(t, constant(t, -q), d[1], d[3])
        r[1] = v_add(t, even, odd)
        r[2] = v_sub(t, even, odd)
        even = v_sub(t, d[4], d[2])
        odd = v_sub(t, d[3], d[1])
        r[3] = v_fma(t, constant(t, p), odd, even)
        r[4] = v_fma(t, constant(t, -p), odd, even)


cdef inline void weight_line(real t, const vec *g, vec *r) noexcept nogil:
    """r = G g"""
    cdef double p = point()
    cdef double q = p * p
    cdef double one = 0.5 if M == 2 else 0.5 / (1 - q)
    cdef double two = 0.5 / (q * (q - 1))
    cdef vec s = v_add(t, g[0], g[2])
    r[0] = g[0] if M == 2 else v_mul(t, constant(t, 1 / q), g[0])
    r[1] = v_mul(t, constant(t, one), v_add(t, s, g[1]))
    r[2] = v_mul(t, constant(t, one), v_sub(t, s, g[1]))
    if M == 4:
        s = v_fma(t, constant(t, two * q), g[2], v_mul(t, constant(t, two), g[0]))
        r[3] = v_fma(t, constant(t, two * p), g[1], s)
        r[4] = v_fma(t, constant(t, -two * p), g[1], s)
    r[A - 1] = g[2]


cdef inline void output_line(real t, const vec *m, vec *r) noexcept nogil:
    """r = A^T m"""
    cdef double p = point()
    cdef vec s = v_add(t, m[1], m[2])
    cdef vec d = v_sub(t, m[1], m[2])
    cdef vec s2, d2
    if M == 2:
        r[0] = v_add(t, m[0], s)
        r[1] = v_add(t, d, m[3])
    else:
        s2 = v_add(t, m[3], m[4])
        d2 = v_sub(t, m[3], m[4])
        r[0] = v_add(t, v_add(t, m[0], s), s2)
        r[1] = v_fma(t, constant(t, p), d2, d)
        r[2] = v_fma(t, constant(t, p * p), s2, s)
        r[3] = v_add(t, v_fma(t, constant(t, p * p * p), d2, d), m[5])


cdef inline void gradient_line(real t, const vec *y, vec *r) noexcept nogil:
    """r = A y"""
    cdef double p = point()
    cdef vec even, odd
    r[0] = y[0]
    r[A - 1] = y[M - 1]
    if M == 2:
        r[1] = v_add(t, y[0], y[1])
        r[2] = v_sub(t, y[0], y[1])
    else:
        even = v_add(t, y[0], y[2])
        odd = v_add(t, y[1], y[3])
        r[1] = v_add(t, even, odd)
        r[2] = v_sub(t, even, odd)
        even = v_fma(t, constant(t, p * p), y[2], y[0])
        odd = v_fma(t, constant(t, p * p * p), y[3], v_mul(t, constant(t, p), y[1]))
        r[3] = v_add(t, even, odd)
        r[4] = v_sub(t, even, odd)


cdef inline void filter_line(real t, const vec *u, vec *r) noexcept nogil:
    """r = G^T u"""
    cdef double p = point()
    cdef double q = p * p
    cdef double one = 0.5 if M == 2 else 0.5 / (1 - q)
    cdef double two = 0.5 / (q * (q - 1))
    cdef vec s = v_mul(t, constant(t, one), v_add(t, u[1], u[2]))
    cdef vec d = v_mul(t, constant(t, one), v_sub(t, u[1], u[2]))
    cdef vec s2, d2
    if M == 2:
        r[0] = v_add(t, u[0], s)
        r[1] = d
        r[2] = v_add(t, s, u[3])
    else:
        s2 = v_mul(t, constant(t, two), v_add(t, u[3], u[4]))
        d2 = v_mul(t, constant(t, two), v_sub(t, u[3], u[4]))
        r[0] = v_add(t, v_fma(t, constant(t, 1 / q), u[0], s), s2)
        r[1] = v_fma(t, constant(t, p), d2, d)
        r[2] = v_add(t, v_fma(t, constant(t, q), s2, s), u[5])


# Transforms of two dimensions, lanes = channels

cdef inline void place(Winograd *d, i64 tile, i64 *image, i64 *y, i64 *x) noexcept nogil:
    """The image of a tile and its first pixel. Tiles of all sub-images that cover the same square follow each other."""
    cdef i64 square = tile // (d.dy * d.dx)
    image[0] = square // (d.down * d.across)
    y[0] = square // d.across % d.down * M * d.dy + tile // d.dx % d.dy
    x[0] = square % d.across * M * d.dx + tile % d.dx


cdef inline i64 group_of(Winograd *d, i64 panel) noexcept nogil:
    return panel // d.panels


cdef inline i64 place_of(Winograd *d, i64 panel) noexcept nogil:
    """The first channel of a panel, in its group."""
    return panel % d.panels * d.nr


cdef inline i64 channel_of(Winograd *d, i64 panel) noexcept nogil:
    """The same in dst."""
    return group_of(d, panel) * d.n + place_of(d, panel)


cdef inline i64 set_panels(Winograd *d) noexcept nogil:
    """Panels of the groups that are transformed together."""
    return d.wide * d.panels


cdef inline void fetch_tiles(real t, Winograd *d, i64 tile, i64 start, i64 end, i64 channel, bint write) noexcept nogil:
    """Bring what the tiles from tile + start to tile + end will write of a panel that begins with a channel into L2, or read of a set of groups."""
    cdef i64 k, image, y, x, i, j, c
    cdef const char *at
    for k in range(tile + start, min(tile + end, d.tiles)):
        place(d, k, &image, &y, &x)
        for i in range(M):
            for j in range(M):
                if write:
                    if y + i * d.dy < d.rows and x + j * d.dx < d.columns:
                        at = d.dst + (((image * d.rows + y + i * d.dy) * d.columns + x + j * d.dx) * d.dst_pixel + channel) * d.item
                        for c in range(ceil_div(d.nr * d.item, 64)):
                            v_prefetch_write(at + c * 64)
                elif y + i * d.dy < d.height and x + j * d.dx < d.width:
                    at = d.src + (((image * d.height + y + i * d.dy) * d.width + x + j * d.dx) * d.src_pixel + channel) * d.item
                    for c in range(ceil_div(d.wide * d.depth * d.item, 64)):
                        v_prefetch_l2(at + c * 64)


cdef void transform_input(real t, Winograd *d, i64 set_, i64 tile, i64 count, real *v) noexcept nogil:
    """v[product][tile][channel] = B^T d B for a set of groups and `count` tiles from `tile` on."""
    cdef const real *at[AA]
    cdef vec w[A][A]
    cdef vec a[A]
    cdef vec r[A]
    cdef i64 c, left, image, y0, x0, y, x, k
    cdef int i, j
    cdef real *to
    cdef i64 plane = d.plane
    cdef i64 channels = d.wide * d.depth
    cdef i64 first = set_ * channels
    for k in range(count):
        fetch_tiles(t, d, tile, k + 2, k + 3, first, False)
        place(d, tile + k, &image, &y0, &x0)
        for i in range(A):
            y = y0 + i * d.dy - d.top
            for j in range(A):
                x = x0 + j * d.dx - d.left
                if y >= 0 and y < d.height and x >= 0 and x < d.width:
                    at[i * A + j] = <const real *>d.src + ((image * d.height + y) * d.width + x) * d.src_pixel + first
                else:
                    at[i * A + j] = <const real *>d.zeros
        c = 0
        while c < channels:
            left = min(channels - c, <i64>lanes(t))
            for j in range(A):
                for i in range(A):
                    a[i] = v_load(at[i * A + j] + c) if left == lanes(t) else v_load_n(t, at[i * A + j] + c, left)
                input_line(t, a, r)
                for i in range(A):
                    w[i][j] = r[i]
            to = v + k * d.pitch + c
            for i in range(A):
                input_line(t, w[i], r)
                for j in range(A):
                    v_store(to + (i * A + j) * plane, r[j])
            c += lanes(t)


cdef inline void transpose_taps(real t, Winograd *d, i64 group, i64 first, i64 left, i64 k, i64 count, real *taps) noexcept nogil:
    """taps[channel of src][tap][lane] of `left` channels of a group of dst from `first` on and `count` of src (one register at most) from k on."""
    cdef const real *src = <const real *>d.w + group * d.w_group + first * d.w_out + k * d.w_in
    cdef i64 i, c, width
    if d.w_in == 9:         # a run of 9 * count values per lane
        for i in range(ceil_div(9 * count, lanes(t))):
            width = min(9 * count - i * lanes(t), <i64>lanes(t))
            square(t, src + i * lanes(t), d.w_out, taps + i * lanes(t) * lanes(t), lanes(t), left, width)
    else:
        for c in range(count):
            for i in range(ceil_div(9, lanes(t))):
                width = min(9 - i * lanes(t), <i64>lanes(t))
                square(t, src + c * d.w_in + i * lanes(t), d.w_out, taps + (9 * c + i * lanes(t)) * lanes(t), lanes(t), left, width)


cdef void transform_weights(real t, Winograd *d, i64 panel, i64 start, i64 end, real *u) noexcept nogil:
    """u[product][channel of src][nr] = G g G^T for the channels of src from `start` to `end` and a panel of those of dst."""
    cdef real taps[9 * 16 * 16]
    cdef vec w[A][3]
    cdef vec g[3]
    cdef vec r[A]
    cdef i64 plane = d.u_plane
    cdef i64 k, c, count, first, left
    cdef int i, j, q, tap
    cdef const real *at
    cdef real *to
    for q in range(d.nr // lanes(t)):
        first = place_of(d, panel) + q * lanes(t)
        left = min(d.n - first, <i64>lanes(t))
        if left < lanes(t):
            memset(taps, 0, 9 * lanes(t) * LM_VB)
        k = start
        while k < end:
            count = min(end - k, <i64>lanes(t))
            if left > 0:
                transpose_taps(t, d, group_of(d, panel), first, left, k, count, taps)
            for c in range(count):
                at = taps + 9 * c * lanes(t)
                to = u + (k - start + c) * d.nr + q * lanes(t)
                for j in range(3):
                    for i in range(3):
                        tap = i * 3 + j
                        g[i] = v_load(at + (8 - tap if d.rotated else tap) * lanes(t))
                    weight_line(t, g, r)
                    for i in range(A):
                        w[i][j] = r[i]
                for i in range(A):
                    weight_line(t, w[i], r)
                    for j in range(A):
                        v_store(to + (i * A + j) * plane, r[j])
            k += count


cdef void transform_output(real t, Winograd *d, i64 tile, i64 count, i64 panel, const real *m) noexcept nogil:
    """dst = act(A^T m A + bias) for a panel of channels of `count` tiles from `tile` on."""
    cdef i64 channel = channel_of(d, panel)
    cdef i64 plane = d.sums_plane
    cdef vec w[M][A]
    cdef vec a[A]
    cdef vec r[M]
    cdef i64 k, image, y, x, rows, columns, left, row, column, n
    cdef int i, j, q
    cdef const real *origin
    cdef real *to
    cdef Epilogue e = d.e
    if e.bias_kind == BIAS_COLUMN:
        e.bias = <const real *>d.e.bias + channel
    column = d.dx * d.dst_pixel
    row = d.dy * d.columns * d.dst_pixel
    for k in range(count):
        place(d, tile + k, &image, &y, &x)
        rows, columns = ceil_div(d.rows - y, d.dy), ceil_div(d.columns - x, d.dx)      # more than M inside, none for some sub-images at the edge
        to = <real *>d.dst + ((image * d.rows + y) * d.columns + x) * d.dst_pixel + channel
        for q in range(d.nr // lanes(t)):
            left = min(d.n - place_of(d, panel) - q * lanes(t), <i64>lanes(t))
            if left <= 0:
                break
            origin = m + k * d.nr + q * lanes(t)
            for j in range(A):
                for i in range(A):
                    a[i] = v_load(origin + (i * A + j) * plane)
                output_line(t, a, r)
                for i in range(M):
                    w[i][j] = r[i]
            for i in range(M):
                output_line(t, w[i], r)
                if i < rows:
                    for j in range(M):
                        if j < columns:
                            n = q * lanes(t)
                            v_store_n(t, to + i * row + j * column + n, left, finish(t, r[j], &e, to, left, 0, n))


cdef void transform_gradient(real t, Winograd *d, i64 set_, i64 tile, i64 count, real *v) noexcept nogil:
    """v[product][tile][channel] = A y A^T for a set of groups and `count` tiles of g from `tile` on."""
    cdef const real *at[M * M]
    cdef vec w[A][M]
    cdef vec a[M]
    cdef vec r[A]
    cdef i64 c, left, image, y, x, k
    cdef int i, j
    cdef real *to
    cdef i64 plane = d.n_plane
    cdef i64 channels = d.wide * d.n
    cdef i64 first = set_ * channels
    for k in range(count):
        place(d, tile + k, &image, &y, &x)
        for i in range(M):
            for j in range(M):
                if y + i * d.dy < d.rows and x + j * d.dx < d.columns:
                    at[i * M + j] = <const real *>d.dst + ((image * d.rows + y + i * d.dy) * d.columns + x + j * d.dx) * d.dst_pixel + first
                else:
                    at[i * M + j] = <const real *>d.zeros
        c = 0
        while c < channels:
            left = min(channels - c, <i64>lanes(t))
            for j in range(M):
                for i in range(M):
                    a[i] = v_load(at[i * M + j] + c) if left == lanes(t) else v_load_n(t, at[i * M + j] + c, left)
                gradient_line(t, a, r)
                for i in range(A):
                    w[i][j] = r[i]
            to = v + k * d.n_pitch + c
            for i in range(A):
                gradient_line(t, w[i], r)
                for j in range(A):
                    v_store(to + (i * A + j) * plane, r[j])
            c += lanes(t)


cdef void transform_filter(
    real t, Winograd *d, i64 channel, i64 count, i64 panel, const real *u, real *sums, bint before, bint last
) noexcept nogil:
    """G^T dU G for `count` channels of src and a panel of those of dst, plus the sums of earlier spans: the new sums, or dw."""
    cdef i64 nr = d.nr
    cdef i64 plane = d.height_du * nr
    cdef real taps[9 * 16 * 16]             # [channel of src][tap][lane], of one register of channels
    cdef vec w[3][A]
    cdef vec a[A]
    cdef vec r[3]
    cdef i64 k, c, block, first
    cdef int i, j, q
    cdef const real *at
    cdef real *to
    for q in range(nr // lanes(t)):
        first = place_of(d, panel) + q * lanes(t)
        if first >= d.n:
            break
        k = 0
        while k < count:
            block = min(count - k, <i64>lanes(t))
            for c in range(block):
                at = u + (k + c) * nr + q * lanes(t)
                to = sums + (panel * 9 * d.depth + channel + k + c) * nr + q * lanes(t)
                for j in range(A):
                    for i in range(A):
                        a[i] = v_load(at + (i * A + j) * plane)
                    filter_line(t, a, r)
                    for i in range(3):
                        w[i][j] = r[i]
                for i in range(3):
                    filter_line(t, w[i], r)
                    for j in range(3):
                        if before:
                            r[j] = v_add(t, r[j], v_load(to + (i * 3 + j) * d.depth * nr))
                        if last:
                            v_store(taps + (9 * c + i * 3 + j) * lanes(t), r[j])
                        else:
                            v_store(to + (i * 3 + j) * d.depth * nr, r[j])
            if last:
                store_taps(t, d, taps, channel + k, block, group_of(d, panel), first)
            k += block


cdef void store_taps(real t, Winograd *d, const real *taps, i64 channel, i64 block, i64 group, i64 first) noexcept nogil:
    """dw of some channels of src and a register of those of dst, from `first` on in their group: a run of 9 * block values per lane."""
    cdef i64 w = lanes(t)
    cdef real *dw = <real *>d.dw + group * d.w_group + first * d.w_out + channel * 9
    cdef i64 c
    for c in range(ceil_div(9 * block, w)):
        square(t, taps + c * w * w, w, dw + c * w, d.w_out, min(9 * block - c * w, w), min(d.n - first, w))


cdef inline void product_run(
    real t, Winograd *d, i64 rows, i64 depth, const real *a, i64 ars, i64 aks, const real *b, i64 bls, real *c, const Epilogue *e
) noexcept nogil:
    """A register tile of a product and a panel."""
    cdef i64 zero = 0
    if d.nr == lanes(t):
        tile_run(t, rows, 1, 1, &zero, &zero, depth, a, ars, aks, b, bls, -1, c, lanes(t), lanes(t), e)
    else:
        tile_run(t, rows, LM_NV, 1, &zero, &zero, depth, a, ars, aks, b, bls, -1, c, LM_NV * lanes(t), LM_NV * lanes(t), e)


cdef void multiply(real t, Winograd *d, i64 tile, i64 panel, i64 count, i64 depth, const real *v, const real *u, real *m, bint add) noexcept nogil:
    """m[product] (+)= v[product] @ u[product] for `count` tiles and a panel of channels: register tiles of equal height, V read in place."""
    cdef i64 height = ceil_div(count, ceil_div(count, LM_MR))
    cdef i64 i, product
    cdef Epilogue e = plain()
    e.beta = add
    v += group_of(d, panel) % d.wide * d.depth
    for product in range(AA):
        fetch_tiles(t, d, tile, product * count // AA, (product + 1) * count // AA, channel_of(d, panel), True)
        if not d.stationary and panel % set_panels(d) == 0:
            fetch_tiles(t, d, tile + count, product * count // AA, (product + 1) * count // AA, group_of(d, panel) * d.depth, False)
        i = 0
        while i < count:
            product_run(
                t, d, min(height, count - i), depth, v + product * d.plane + i * d.pitch, d.pitch, 1, u + product * d.u_plane, d.nr,
                m + product * d.sums_plane + i * d.nr, &e,
            )
            i += height


# Tasks

cdef void weights_task(real t, Winograd *d, i64 panel) noexcept nogil:
    transform_weights(t, d, panel, 0, d.depth, <real *>d.u + panel * AA * d.u_plane)


cdef void tiles_task(real t, Winograd *d, i64 task, i64 slot) noexcept nogil:
    """A block of tiles and a set of groups: V, then panel by panel M and dst."""
    cdef i64 blocks = ceil_div(d.tiles, d.block)
    cdef i64 set_ = task // blocks
    cdef i64 tile = task % blocks * d.block
    cdef i64 count = min(d.block, d.tiles - tile)
    cdef i64 panel
    cdef real *v = <real *>(d.local + slot * d.local_bytes)
    cdef real *m = v + AA * d.plane
    transform_input(t, d, set_, tile, count, v)
    for panel in range(set_ * set_panels(d), (set_ + 1) * set_panels(d)):
        multiply(t, d, tile, panel, count, d.depth, v, <const real *>d.u + panel * AA * d.u_plane, m, False)
        transform_output(t, d, tile, count, panel, m)


cdef void input_task(real t, Winograd *d, i64 task) noexcept nogil:
    """V of a block of the span."""
    cdef i64 tile = task * d.block
    transform_input(t, d, 0, d.first + tile, min(d.block, min(d.span, d.tiles - d.first) - tile), <real *>d.v + tile * d.pitch)


cdef void panel_task(real t, Winograd *d, i64 panel, i64 slot) noexcept nogil:
    """A panel of channels: U, then block by block M and dst."""
    cdef i64 span = min(d.span, d.tiles - d.first)
    cdef i64 tile, count, part, k, end
    cdef real *u = <real *>(d.local + slot * d.local_bytes)
    cdef real *m = u + AA * d.u_plane
    for part in range(ceil_div(d.depth, d.slice)):
        k = part * d.slice
        end = min(k + d.slice, d.depth)
        transform_weights(t, d, panel, k, end, u)
        tile = 0
        while tile < span:
            count = min(d.block, span - tile)
            multiply(t, d, d.first + tile, panel, count, end - k, <const real *>d.v + tile * d.pitch + k, u, m, k > 0)
            if end == d.depth:
                transform_output(t, d, d.first + tile, count, panel, m)
            tile += count


cdef void both_task(real t, Winograd *d, i64 task) noexcept nogil:
    """V and dM of a block of the span."""
    cdef i64 tile = task * d.block
    cdef i64 count = min(d.block, min(d.span, d.tiles - d.first) - tile)
    transform_input(t, d, 0, d.first + tile, count, <real *>d.v + tile * d.pitch)
    transform_gradient(t, d, 0, d.first + tile, count, <real *>d.dm + tile * d.n_pitch)


cdef void filter_span(
    real t, Winograd *d, i64 panel, i64 channel, i64 span, const real *v, const real *dm, real *u, real *sums, bint before, bint last
) noexcept nogil:
    """dU of some channels of src and a panel of those of dst, over a span, and what becomes of it."""
    cdef i64 count = min(d.height_du, d.depth - channel)
    cdef i64 height = ceil_div(count, ceil_div(count, LM_MR))
    cdef i64 group = group_of(d, panel) % d.wide
    cdef i64 i, product
    cdef Epilogue e = plain()
    v += group * d.depth + channel
    dm += group * d.n + place_of(d, panel)
    for product in range(AA):
        i = 0
        while i < count:
            product_run(
                t, d, min(height, count - i), span, v + product * d.plane + i, 1, d.pitch, dm + product * d.n_plane, d.n_pitch,
                u + (product * d.height_du + i) * d.nr, &e,
            )
            i += height
    transform_filter(t, d, channel, count, panel, u, sums, before, last)


cdef void filter_task(real t, Winograd *d, i64 task, i64 slot) noexcept nogil:
    """Some channels of src and a panel of those of dst, over the span."""
    cdef i64 span = min(d.span, d.tiles - d.first)
    filter_span(
        t, d, task // d.blocks_du, task % d.blocks_du * d.height_du, span, <const real *>d.v, <const real *>d.dm,
        <real *>(d.local + slot * d.local_bytes), <real *>d.sums, d.first > 0, d.first + span == d.tiles,
    )


cdef void chunk_task(real t, Winograd *d, i64 task, i64 slot) noexcept nogil:
    """Sums of a chunk of tiles and a set of groups, span by span."""
    cdef i64 set_ = task // d.chunks
    cdef i64 chunk = task % d.chunks
    cdef i64 tile = d.tiles * chunk // d.chunks
    cdef i64 end = d.tiles * (chunk + 1) // d.chunks
    cdef i64 panel, block, span
    cdef real *v = <real *>(d.local + slot * d.local_bytes)
    cdef real *dm = v + AA * d.plane
    cdef real *sums = <real *>d.sums + chunk * sums_elements(d)
    cdef bint before = False
    while tile < end:
        span = min(d.span, end - tile)
        transform_input(t, d, set_, tile, span, v)
        transform_gradient(t, d, set_, tile, span, dm)
        for panel in range(set_ * set_panels(d), (set_ + 1) * set_panels(d)):
            for block in range(d.blocks_du):
                filter_span(t, d, panel, block * d.height_du, span, v, dm, dm + AA * d.n_plane, sums, before, False)
        tile += span
        before = True


cdef void total_task(real t, Winograd *d, i64 task) noexcept nogil:
    """dw of a register of channels of src and a panel of those of dst: the chunks' sums."""
    cdef i64 nr = d.nr
    cdef i64 registers = ceil_div(d.depth, lanes(t))
    cdef i64 panel = task // registers
    cdef i64 channel = task % registers * lanes(t)
    cdef i64 block = min(<i64>lanes(t), d.depth - channel)
    cdef i64 step = sums_elements(d)
    cdef i64 c, q, tap, chunk
    cdef real taps[9 * 16 * 16]
    cdef const real *at
    cdef vec total
    for q in range(nr // lanes(t)):
        if place_of(d, panel) + q * lanes(t) >= d.n:
            break
        for tap in range(9):
            for c in range(block):
                at = <const real *>d.sums + ((panel * 9 + tap) * d.depth + channel + c) * nr + q * lanes(t)
                total = v_load(at)
                for chunk in range(1, d.chunks):
                    total = v_add(t, total, v_load(at + chunk * step))
                v_store(taps + (9 * c + tap) * lanes(t), total)
        store_taps(t, d, taps, channel, block, group_of(d, panel), place_of(d, panel) + q * lanes(t))


cdef void bias_task(real t, Winograd *d, i64 panel) noexcept nogil:
    """db of a panel: image by image, so that sums stay short."""
    cdef i64 first = channel_of(d, panel)
    cdef i64 n = min(d.nr, d.n - place_of(d, panel))
    cdef i64 pixels = d.rows * d.columns
    cdef i64 image, q
    cdef real total[64]              # two panels
    cdef real *one = total + 32
    memset(total, 0, LM_NV * LM_VB)
    for image in range(d.mb):
        memset(one, 0, LM_NV * LM_VB)
        add_pixels(t, one, n, <const real *>d.dst + image * pixels * d.dst_pixel + first, 1, 0, pixels, d.dst_pixel)
        for q in range(n):
            total[q] += one[q]
    for q in range(n):
        (<real *>d.db)[first + q] = total[q]


cdef void weights_f32(void *d, i64 task, i64 slot) noexcept nogil:
    weights_task(<float>0, <Winograd *>d, task)


cdef void weights_f64(void *d, i64 task, i64 slot) noexcept nogil:
    weights_task(<double>0, <Winograd *>d, task)


cdef void tiles_f32(void *d, i64 task, i64 slot) noexcept nogil:
    tiles_task(<float>0, <Winograd *>d, task, slot)


cdef void tiles_f64(void *d, i64 task, i64 slot) noexcept nogil:
    tiles_task(<double>0, <Winograd *>d, task, slot)


cdef void input_f32(void *d, i64 task, i64 slot) noexcept nogil:
    input_task(<float>0, <Winograd *>d, task)


cdef void input_f64(void *d, i64 task, i64 slot) noexcept nogil:
    input_task(<double>0, <Winograd *>d, task)


cdef void panel_f32(void *d, i64 task, i64 slot) noexcept nogil:
    panel_task(<float>0, <Winograd *>d, task, slot)


cdef void panel_f64(void *d, i64 task, i64 slot) noexcept nogil:
    panel_task(<double>0, <Winograd *>d, task, slot)


cdef void both_f32(void *d, i64 task, i64 slot) noexcept nogil:
    both_task(<float>0, <Winograd *>d, task)


cdef void both_f64(void *d, i64 task, i64 slot) noexcept nogil:
    both_task(<double>0, <Winograd *>d, task)


cdef void filter_f32(void *d, i64 task, i64 slot) noexcept nogil:
    filter_task(<float>0, <Winograd *>d, task, slot)


cdef void filter_f64(void *d, i64 task, i64 slot) noexcept nogil:
    filter_task(<double>0, <Winograd *>d, task, slot)


cdef void chunk_f32(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<float>0, <Winograd *>d, task, slot)


cdef void chunk_f64(void *d, i64 task, i64 slot) noexcept nogil:
    chunk_task(<double>0, <Winograd *>d, task, slot)


cdef void total_f32(void *d, i64 task, i64 slot) noexcept nogil:
    total_task(<float>0, <Winograd *>d, task)


cdef void total_f64(void *d, i64 task, i64 slot) noexcept nogil:
    total_task(<double>0, <Winograd *>d, task)


cdef void bias_f32(void *d, i64 task, i64 slot) noexcept nogil:
    bias_task(<float>0, <Winograd *>d, task)


cdef void bias_f64(void *d, i64 task, i64 slot) noexcept nogil:
    bias_task(<double>0, <Winograd *>d, task)


# Planning

cdef void geometry(Winograd *d, const i64 *p, bint double_precision, bint backward_input) noexcept nogil:
    cdef i64 k
    memset(d, 0, sizeof(Winograd))
    d.double_precision = double_precision
    d.item = 8 if double_precision else 4
    d.rate = LM_VB / 2.0 * (1 if double_precision else 2)
    d.e = plain()
    d.mb = p[MB]
    d.groups = p[GROUPS]
    d.wide = 1
    d.rotated = backward_input
    if backward_input:
        d.height, d.width, d.src_pixel, d.rows, d.columns, d.dst_pixel = p[OH], p[OW], p[OC], p[IH], p[IW], p[IC]
        d.top, d.left = 2 * p[DH] - p[PH], 2 * p[DW] - p[PW]
        d.w_in, d.w_out = p[IC] // d.groups * 9, 9
    else:
        d.height, d.width, d.src_pixel, d.rows, d.columns, d.dst_pixel = p[IH], p[IW], p[IC], p[OH], p[OW], p[OC]
        d.top, d.left = p[PH], p[PW]
        d.w_in, d.w_out = 9, p[IC] // d.groups * 9
    d.depth, d.n = d.src_pixel // d.groups, d.dst_pixel // d.groups
    d.w_group = 9 * d.depth * d.n
    d.dy, d.dx = p[DH], p[DW]
    d.down, d.across = ceil_div(d.rows, M * d.dy), ceil_div(d.columns, M * d.dx)
    d.tiles = d.mb * d.down * d.across * d.dy * d.dx
    d.bytes = (d.mb * (d.height * d.width * d.src_pixel + d.rows * d.columns * d.dst_pixel) + d.groups * d.w_group) * d.item
    d.nr = (1 if d.n * d.item <= LM_VB else LM_NV) * LM_VB // d.item
    d.panels = ceil_div(d.n, d.nr)
    for k in range(2, d.groups + 1):
        if d.groups % k == 0 and k * max(d.depth, d.n) * d.item <= WIDE_BYTES:
            d.wide = k
    set_pitches(d)


cdef void set_pitches(Winograd *d) noexcept nogil:
    d.pitch = odd_lines(ceil_div(d.wide * d.depth * d.item, LM_VB) * LM_VB // d.item, d.item)
    d.n_pitch = odd_lines((d.wide - 1) * d.n + d.panels * d.nr, d.item)


cdef i64 weights_bytes(Winograd *d) noexcept nogil:
    """Of U, all of it."""
    return d.groups * d.panels * AA * odd_lines(d.depth * d.nr, d.item) * d.item


cdef void blocks(Winograd *d) noexcept nogil:
    """Cut the work of forward and backward_input."""
    cdef i64 most, units
    d.slice = d.depth
    d.stationary = d.groups == 1 and (weights_bytes(d) > STREAM or d.panels > 1 and d.tiles < (8 if d.panels >= 4 else 4) * LM_MR)
    if d.stationary:
        d.span = max(<i64>LM_MR, min(d.tiles, min(<i64>SPAN, d.bytes) // (AA * d.pitch * d.item)))
        d.span = ceil_div(d.tiles, ceil_div(d.tiles, d.span))
        most = SUMS // (AA * d.nr * d.item)
        d.block = ceil_div(d.span, ceil_div(d.span, most))
        d.plane = odd_lines(d.span * d.pitch, d.item)
        if d.block == d.span:       # one block: M stays where it is while U passes slice by slice
            d.slice = ceil_div(d.depth, ceil_div(d.depth, SLICE if d.bytes > 4 << 20 else SLICE // 2))
    else:
        most = BLOCK // (AA * d.pitch * d.item)
        units = max(<i64>1, min(ceil_div(UNITS, d.groups // d.wide), d.tiles // (LM_MR // 2)))        # U streams past every block: no fewer tiles than keep the FMA busy
        most = max(<i64>1, min(most // LM_MR * LM_MR if most > LM_MR else most, ceil_div(d.tiles, units)))
        d.block = most
        d.plane = odd_lines(d.block * d.pitch, d.item)
    d.sums_plane = odd_lines(d.block * d.nr, d.item)
    d.u_plane = odd_lines(d.slice * d.nr, d.item)
    d.local_bytes = aligned(AA * (d.sums_plane + (d.u_plane if d.stationary else d.plane)) * d.item)


cdef void divide(Winograd *d) noexcept nogil:
    """Cut the work of backward_weight."""
    cdef i64 of_tile, own, heights = max(<i64>2 * LM_MR, d.depth * d.panels * d.groups // UNITS)
    of_tile = AA * (d.pitch + d.n_pitch) * d.item
    own = min(<i64>SPAN_OWN, d.bytes // 2) // of_tile
    d.chunks = 0
    if d.depth + d.n <= FEW and own >= min(<i64>LEAST, d.tiles) and (d.tiles >= 2 * LEAST or d.tiles > 0 and d.groups > 1):
        d.chunks = max(<i64>1, min(ceil_div(CHUNKS, d.groups // d.wide), d.tiles // LEAST))
        d.span = ceil_div(d.tiles, d.chunks)
        d.span = ceil_div(d.span, ceil_div(d.span, own))
        heights = ROWS
    else:
        d.wide = d.groups
        set_pitches(d)
        of_tile = AA * (d.pitch + d.n_pitch) * d.item
        d.span = max(<i64>LM_MR, min(d.tiles, min(<i64>SPAN_DU, d.bytes) // of_tile))
        d.span = ceil_div(d.tiles, max(ceil_div(d.tiles, d.span), <i64>1))
    d.block = max(ceil_div(d.span, UNITS), <i64>1)
    d.plane = odd_lines(d.span * d.pitch, d.item)
    d.n_plane = odd_lines(d.span * d.n_pitch, d.item)
    d.blocks_du = ceil_div(d.depth, min(<i64>ROWS, heights))
    d.height_du = ceil_div(d.depth, d.blocks_du)
    d.local_bytes = aligned((AA * d.height_du * d.nr + (AA * (d.plane + d.n_plane) if d.chunks > 0 else 0)) * d.item)


cdef inline i64 sums_elements(Winograd *d) noexcept nogil:
    """Of one chunk."""
    return d.groups * d.panels * 9 * d.depth * d.nr


cdef i64 sums_bytes(Winograd *d) noexcept nogil:
    return aligned(max(d.chunks, <i64>(d.span < d.tiles)) * sums_elements(d) * d.item)


cdef i64 together_bytes(Winograd *d) noexcept nogil:
    """Of V and dM of a span, if all threads work on it."""
    return 0 if d.chunks > 0 else aligned(AA * (d.plane + d.n_plane) * d.item)


cdef i64 zeros_bytes(Winograd *d) noexcept nogil:
    return aligned(d.wide * max(d.depth, d.n) * d.item)


cdef i64 shared_bytes(Winograd *d) noexcept nogil:
    return aligned(AA * d.plane * d.item if d.stationary else weights_bytes(d))


cdef void run(Winograd *d, i64 slots) noexcept nogil:
    cdef double time = 2.0 * AA * d.tiles * d.groups * d.depth * d.n / d.rate
    cdef i64 span
    memset(d.zeros, 0, zeros_bytes(d))
    if not d.stationary:
        parallel_for(weights_f64 if d.double_precision else weights_f32, d, d.groups * d.panels, 2.0 * d.groups * d.n * d.depth, ANY_SLOTS)
        parallel_for(tiles_f64 if d.double_precision else tiles_f32, d, d.groups // d.wide * ceil_div(d.tiles, d.block), time, slots)
        return
    d.first = 0
    while d.first < d.tiles:
        span = min(d.span, d.tiles - d.first)
        parallel_for(input_f64 if d.double_precision else input_f32, d, ceil_div(span, d.block), 2.0 * span * d.depth, ANY_SLOTS)
        parallel_for(panel_f64 if d.double_precision else panel_f32, d, d.panels, time * span / d.tiles, slots)
        d.first += d.span


def scratch(pass_, p):
    """A pixel of zeros and U, shared, V and M per thread; where U is large, V shared, a panel of U and M per thread."""
    cdef Winograd d
    cdef cnp.ndarray g = p.geometry
    geometry(&d, <const i64 *>cnp.PyArray_DATA(g), p.dtype.itemsize == 8, pass_ == "backward_input")
    if pass_ == "backward_weight":
        divide(&d)
        return zeros_bytes(&d) + sums_bytes(&d) + together_bytes(&d), d.local_bytes
    blocks(&d)
    return zeros_bytes(&d) + shared_bytes(&d), d.local_bytes


def accepts(pass_, p):
    return transformed(pass_, p) <= MOST


def transformed(pass_, p):
    """How many of the shared bytes are transformed weights, or sums of weight gradients."""
    cdef Winograd d
    cdef cnp.ndarray g = p.geometry
    geometry(&d, <const i64 *>cnp.PyArray_DATA(g), p.dtype.itemsize == 8, pass_ == "backward_input")
    if pass_ == "backward_weight":
        divide(&d)
        return sums_bytes(&d)
    blocks(&d)
    return 0 if d.stationary else weights_bytes(&d)


cdef void start(Winograd *d, cnp.ndarray src, cnp.ndarray w, cnp.ndarray dst, cnp.ndarray scratch) noexcept:
    cdef char *base = cnp.PyArray_BYTES(scratch)
    cdef i64 used
    d.src = cnp.PyArray_BYTES(src)
    d.w = cnp.PyArray_BYTES(w)
    d.dst = cnp.PyArray_BYTES(dst)
    with nogil:
        blocks(d)
        d.zeros = base
        d.u = d.v = base + zeros_bytes(d)
        used = zeros_bytes(d) + shared_bytes(d)
        d.local = base + used
        run(d, (cnp.PyArray_SIZE(scratch) - used) // d.local_bytes)


def forward(p, cnp.ndarray x, cnp.ndarray w, b, cnp.ndarray out, cnp.ndarray scratch):
    cdef Winograd d
    cdef cnp.ndarray numbers = p.geometry
    cdef const i64 *g = <const i64 *>cnp.PyArray_DATA(numbers)
    if cnp.PyArray_SIZE(out) == 0:
        return
    geometry(&d, g, cnp.PyArray_TYPE(out) == cnp.NPY_FLOAT64, False)
    d.e = epilogue(g, p.slope, cnp.PyArray_BYTES(b) if b is not None else NULL)
    start(&d, x, w, out, scratch)


def backward_input(p, cnp.ndarray g, cnp.ndarray w, cnp.ndarray dx, cnp.ndarray scratch):
    cdef Winograd d
    cdef cnp.ndarray numbers = p.geometry
    if cnp.PyArray_SIZE(dx) == 0:
        return
    geometry(&d, <const i64 *>cnp.PyArray_DATA(numbers), cnp.PyArray_TYPE(dx) == cnp.NPY_FLOAT64, True)
    start(&d, g, w, dx, scratch)


def backward_weight(p, cnp.ndarray x, cnp.ndarray g, cnp.ndarray dw, db, cnp.ndarray scratch):
    cdef Winograd d
    cdef cnp.ndarray numbers = p.geometry
    cdef i64 slots, size = cnp.PyArray_SIZE(scratch)
    cdef i64 span
    cdef double time
    geometry(&d, <const i64 *>cnp.PyArray_DATA(numbers), cnp.PyArray_TYPE(dw) == cnp.NPY_FLOAT64, False)
    d.src = cnp.PyArray_BYTES(x)
    d.dst = cnp.PyArray_BYTES(g)            # read, not written
    d.dw = cnp.PyArray_BYTES(dw)
    d.db = cnp.PyArray_BYTES(db) if db is not None else NULL
    with nogil:
        if d.tiles == 0:
            memset(d.dw, 0, d.groups * d.w_group * d.item)
        divide(&d)
        d.zeros = cnp.PyArray_BYTES(scratch)
        d.sums = d.zeros + zeros_bytes(&d)
        d.v = d.sums + sums_bytes(&d)
        d.dm = d.v + AA * d.plane * d.item
        d.local = d.v + together_bytes(&d)
        slots = (size - (d.local - d.zeros)) // d.local_bytes
        time = 2.0 * AA * d.tiles * d.groups * d.depth * d.n / d.rate
        memset(d.zeros, 0, zeros_bytes(&d))
        if d.db != NULL:
            parallel_for(bias_f64 if d.double_precision else bias_f32, &d, d.groups * d.panels, 0.2 * d.mb * d.rows * d.columns * d.dst_pixel, ANY_SLOTS)
        if d.chunks > 0:
            parallel_for(chunk_f64 if d.double_precision else chunk_f32, &d, d.groups // d.wide * d.chunks, time, slots)
            parallel_for(
                total_f64 if d.double_precision else total_f32, &d, d.groups * d.panels * ceil_div(d.depth, LM_VB // d.item),
                0.1 * d.chunks * sums_elements(&d), ANY_SLOTS,
            )
            d.first = d.tiles
        while d.first < d.tiles:
            span = min(d.span, d.tiles - d.first)
            parallel_for(both_f64 if d.double_precision else both_f32, &d, ceil_div(span, d.block), 2.0 * span * (d.src_pixel + d.dst_pixel), ANY_SLOTS)
            parallel_for(
                filter_f64 if d.double_precision else filter_f32, &d, d.groups * d.panels * d.blocks_du, time * span / d.tiles, slots,
            )
            d.first += d.span
