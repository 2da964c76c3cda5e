"""The register tile: the one loop nest in which gemm and conv2d spend their time.

    C[i, j] = sum over taps q and depth l of  A[q][i, l] * B[q][l, j]          i < mr, j < nv registers

One row of C is `nv` registers; `mr * nv` accumulators live in registers through
the whole sum:

              b0      b1            one step l: nv loads of B, mr broadcasts of A, mr * nv FMA
       a0   acc00   acc01
       a1   acc10   acc11           AVX-512 14 x 2 registers (14 x 32 floats), otherwise 6 x 2
       ..    ..      ..

A is read at ``a + ao[q] + i * ars + l * aks``, B at ``b + bo[q] + l * bls + j * lanes``:
packed panels (ars 1, aks mr), pixels of an image in place (ars the step from
pixel to pixel, aks 1) and transposed pixels (ars 1, aks the step) are the same
code with other constants. `taps` is the batch of a batch-reduce product: the
filter taps of a convolution, or the image rows of its weight gradient.

`sums` must be inlined with constant mr, nv (and strides where they are known):
that is what lets the compiler unroll the tile into registers. tile_run below
is the switch from run-time sizes to those constants. What follows the sum is
done in registers where it is common, and otherwise from memory by
`finish_block`, whose code then exists once per call, not once per number of rows.
"""
from lamella.kernels._common.simd cimport (
    LM_MR, LM_NV, LM_VB, lanes, opaque, vacate,
    v_add, v_fma, v_fresh_zero, v_gt, v_load, v_load_n, v_max, v_mul, v_pin, v_prefetch, v_prefetch_l2, v_prefetch_write, v_select, v_set, v_store, v_store_n, v_zero, vec,
)
from lamella.kernels._common.types cimport i64, real
from lamella.kernels._common.vmath cimport v_sigmoid, v_tanh

# activations of an epilogue (lamella.problems.ACTIVATIONS holds the same numbers)
cdef enum Activation:
    ACT_NONE = 0
    ACT_RELU = 1
    ACT_LEAKY_RELU = 2
    ACT_SIGMOID = 3
    ACT_TANH = 4

cdef enum BiasKind:
    BIAS_NONE = 0
    BIAS_COLUMN = 1
    BIAS_ROW = 2

# What happens to a tile between the registers and C:  act(alpha * acc + beta * old + bias). beta = 0 never reads old.
cdef struct Epilogue:
    double alpha
    double beta
    double slope
    int act
    int bias_kind
    const void *bias    # of the tile's first column or row
    const void *old     # the tile's place in what beta scales; NULL: C itself
    i64 ld_old


cdef inline Epilogue plain() noexcept nogil:
    """C = acc"""
    cdef Epilogue e
    e.alpha = 1
    e.beta = 0
    e.slope = 0
    e.act = ACT_NONE
    e.bias_kind = BIAS_NONE
    e.bias = NULL
    e.old = NULL
    e.ld_old = 0
    return e


cdef inline vec finish(real t, vec v, const Epilogue *e, const real *c, i64 n, i64 i, i64 column) noexcept nogil:
    """alpha, beta, bias and activation on the first n lanes of row i from `column` on."""
    if e.alpha != 1:
        v = v_mul(t, v, v_set(<real>e.alpha))
    if e.beta != 0:
        v = v_fma(t, v_set(<real>e.beta), v_load_n(t, c, n), v)
    if e.bias_kind == BIAS_COLUMN:
        v = v_add(t, v, v_load_n(t, (<const real *>e.bias) + column, n))
    elif e.bias_kind == BIAS_ROW:
        v = v_add(t, v, v_set((<const real *>e.bias)[i]))
    if e.act == ACT_RELU:
        v = v_max(t, v_zero(), v)
    elif e.act == ACT_LEAKY_RELU:
        v = v_select(v_gt(t, v, v_zero()), v, v_mul(t, v, v_set(<real>e.slope)))
    elif e.act == ACT_SIGMOID:
        v = v_sigmoid(t, v)
    elif e.act == ACT_TANH:
        v = v_tanh(t, v)
    return v


cdef inline bint in_registers(const Epilogue *e) noexcept nogil:
    """Whether `sums` applies it: a bias per column, a sum with what C holds or with a residual, ReLU. `finish_block` does the rest."""
    return e.alpha == 1 and (e.beta == 0 or e.beta == 1) and e.bias_kind != BIAS_ROW and e.act <= ACT_RELU


cdef inline void finish_block(real t, const real *sums, i64 ld, i64 rows, i64 n, real *c, i64 ldc, const Epilogue *e) noexcept nogil:
    """`finish` for a block of sums in memory, rows of whole registers."""
    cdef const real *old = <const real *>e.old if e.old != NULL else c
    cdef i64 ldo = e.ld_old if e.old != NULL else ldc
    cdef i64 i, column, left
    for i in range(rows):
        column = 0
        while column < n:
            left = min(n - column, <i64>lanes(t))
            v_store_n(t, c + i * ldc + column, left, finish(t, v_load(sums + i * ld + column), e, old + i * ldo + column, left, i, column))
            column += lanes(t)


cdef inline void sums(
    real t, int mr, int nv, int blocks, i64 a_jump, i64 c_jump, i64 taps, const i64 *ao, const i64 *bo, i64 depth,
    const real *a, i64 ars, i64 aks, const real *b, i64 bls, i64 bn,
    bint ahead, const char *next_, i64 next_step,
    const real *bias, const real *old, i64 ldo, bint relu, real *c, i64 ldc, i64 n,
) noexcept nogil:
    """The tile itself: one or two blocks of mr rows, a_jump apart in A, c_jump in C. `bias` and `old` may be NULL. With `ahead`, every
    step also prefetches a line at `next_`, which moves on by `next_step` bytes. (Two loops over rows: GCC unrolls none of more than 16 steps.)"""
    cdef vec acc[2][14][4]          # registers: indexed by constants alone
    cdef vec bv[4]
    cdef vec s
    cdef int h, i, j
    cdef i64 q, _l
    cdef i64 cols[4]
    cdef const real *ap[2][5]       # of rows 0, 3, 6, ..: row 3r + s is at ap[r] + s * ars, which is one address
    cdef const real *bp
    cdef bint whole = LM_VB < 64 and n == nv * lanes(t)    # a mask costs nothing with AVX-512, and much elsewhere
    for j in range(nv):
        cols[j] = max(<i64>0, min(bn - j * lanes(t), <i64>lanes(t)))
    for h in range(blocks):         # wanted after the loop: time enough to come from afar
        for i in range(mr):
            for j in range(nv):
                if old != NULL:
                    v_prefetch(old + h * c_jump + i * ldo + j * lanes(t))
                else:
                    v_prefetch_write(c + h * c_jump + i * ldc + j * lanes(t))
    vacate()
    for h in range(blocks):
        for i in range(mr):
            for j in range(nv):
                acc[h][i][j] = v_fresh_zero()
    for q in range(taps):
        for h in range(blocks):
            for i in range((mr + 2) // 3):
                ap[h][i] = <const real *>opaque(a + ao[q] + h * a_jump + 3 * i * ars)
        bp = b + bo[q]
        for _l in range(depth):
            for j in range(nv):
                bv[j] = v_load(bp + j * lanes(t)) if bn < 0 else v_load_n(t, bp + j * lanes(t), cols[j])
            for h in range(blocks):
                for i in range(mr):
                    s = v_set(ap[h][i // 3][i % 3 * ars])
                    for j in range(nv):
                        acc[h][i][j] = v_fma(t, s, bv[j], acc[h][i][j])
                for i in range((mr + 2) // 3):
                    ap[h][i] += aks
            bp += bls
            if ahead:
                v_prefetch_l2(next_)
                next_ += next_step
    for h in range(blocks):
        for i in range(mr):
            for j in range(nv):
                acc[h][i][j] = v_pin(acc[h][i][j])
    for j in range(nv):
        cols[j] = max(<i64>0, min(n - j * lanes(t), <i64>lanes(t)))
    if old != NULL:
        for h in range(blocks):
            for i in range(mr):
                for j in range(nv):
                    bp = old + h * c_jump + i * ldo + j * lanes(t)
                    acc[h][i][j] = v_add(t, acc[h][i][j], v_load(bp) if whole else v_load_n(t, bp, cols[j]))
    if bias != NULL:
        for j in range(nv):
            s = v_load_n(t, bias + j * lanes(t), cols[j])
            for h in range(blocks):
                for i in range(mr):
                    acc[h][i][j] = v_add(t, acc[h][i][j], s)
    if relu:
        s = v_fresh_zero()
        for h in range(blocks):
            for i in range(mr):
                for j in range(nv):
                    acc[h][i][j] = v_max(t, s, acc[h][i][j])
    for h in range(blocks):
        for i in range(mr):
            for j in range(nv):
                if whole:
                    v_store(c + h * c_jump + i * ldc + j * lanes(t), acc[h][i][j])
                else:
                    v_store_n(t, c + h * c_jump + i * ldc + j * lanes(t), cols[j], acc[h][i][j])


cdef extern from "tile.h" nogil:
    ctypedef void (*sums_f32)(
        float, int, int, int, i64, i64, i64, const i64 *, const i64 *, i64, const float *, i64, i64, const float *, i64, i64, bint,
        const char *, i64, const float *, const float *, i64, bint, float *, i64, i64,
    ) noexcept
    ctypedef void (*sums_f64)(
        double, int, int, int, i64, i64, i64, const i64 *, const i64 *, i64, const double *, i64, i64, const double *, i64, i64, bint,
        const char *, i64, const double *, const double *, i64, bint, double *, i64, i64,
    ) noexcept
    void rows_f32 "lm_switch_rows"(
        sums_f32, float, i64, int, int, i64, i64, i64, const i64 *, const i64 *, i64, const float *, i64, i64, const float *, i64, i64, bint,
        const char *, i64, const float *, const float *, i64, bint, float *, i64, i64,
    ) noexcept
    void rows_f64 "lm_switch_rows"(
        sums_f64, double, i64, int, int, i64, i64, i64, const i64 *, const i64 *, i64, const double *, i64, i64, const double *, i64, i64, bint,
        const char *, i64, const double *, const double *, i64, bint, double *, i64, i64,
    ) noexcept
    void pairs_f32 "lm_switch_pairs"(
        sums_f32, float, i64, int, int, i64, i64, i64, const i64 *, const i64 *, i64, const float *, i64, i64, const float *, i64, i64, bint,
        const char *, i64, const float *, const float *, i64, bint, float *, i64, i64,
    ) noexcept
    void pairs_f64 "lm_switch_pairs"(
        sums_f64, double, i64, int, int, i64, i64, i64, const i64 *, const i64 *, i64, const double *, i64, i64, const double *, i64, i64, bint,
        const char *, i64, const double *, const double *, i64, bint, double *, i64, i64,
    ) noexcept


cdef inline void blocks_run(
    real t, i64 mr, int nv, int blocks, i64 a_jump, i64 c_jump, i64 taps, const i64 *ao, const i64 *bo, i64 depth,
    const real *a, i64 ars, i64 aks, const real *b, i64 bls,
    i64 bn, real *c, i64 ldc, i64 n, const Epilogue *e, bint ahead, const char *next_, i64 next_step,
) noexcept nogil:
    """From run-time rows to `sums`, and from the epilogue to what `sums` does of it."""
    cdef real block[28 * 2 * 16]
    cdef bint inside = in_registers(e)
    cdef const real *bias = NULL
    cdef const real *old = NULL
    cdef bint relu = inside and e.act == ACT_RELU
    cdef i64 ldo = ldc
    cdef real *to = c
    cdef i64 ld = ldc
    cdef i64 jump = c_jump
    cdef i64 width = n
    cdef int h
    cdef Epilogue f
    if inside:
        if e.bias_kind == BIAS_COLUMN:
            bias = <const real *>e.bias
        if e.beta != 0:
            old = c
            if e.old != NULL:
                old = <const real *>e.old
                ldo = e.ld_old
    else:
        to = block
        width = ld = nv * lanes(t)
        jump = mr * ld
    if real is float:
        if blocks == 1:
            rows_f32(
                sums[float], t, mr, nv, blocks, a_jump, jump, taps, ao, bo, depth, a, ars, aks, b, bls, bn, ahead, next_, next_step,
                bias, old, ldo, relu, to, ld, width,
            )
        else:
            pairs_f32(
                sums[float], t, mr, nv, blocks, a_jump, jump, taps, ao, bo, depth, a, ars, aks, b, bls, bn, ahead, next_, next_step,
                bias, old, ldo, relu, to, ld, width,
            )
    else:
        if blocks == 1:
            rows_f64(
                sums[double], t, mr, nv, blocks, a_jump, jump, taps, ao, bo, depth, a, ars, aks, b, bls, bn, ahead, next_, next_step,
                bias, old, ldo, relu, to, ld, width,
            )
        else:
            pairs_f64(
                sums[double], t, mr, nv, blocks, a_jump, jump, taps, ao, bo, depth, a, ars, aks, b, bls, bn, ahead, next_, next_step,
                bias, old, ldo, relu, to, ld, width,
            )
    if not inside:
        for h in range(blocks):
            f = e[0]
            if e.bias_kind == BIAS_ROW:
                f.bias = <const real *>e.bias + h * mr
            finish_block(t, block + h * jump, ld, mr, n, c + h * c_jump, ldc, &f)


cdef inline void tile_run(
    real t, i64 mr, int nv, i64 taps, const i64 *ao, const i64 *bo, i64 depth,
    const real *a, i64 ars, i64 aks, const real *b, i64 bls,
    i64 bn, real *c, i64 ldc, i64 n, const Epilogue *e,
) noexcept nogil:
    """The tile for 1 <= mr <= LM_MR rows known at run time; nv and the constant strides must be constants at the call. n columns are
    stored. B is read in whole registers, unless bn >= 0 says that only bn columns may be touched (the others count as 0)."""
    blocks_run(t, mr, nv, 1, 0, 0, taps, ao, bo, depth, a, ars, aks, b, bls, bn, c, ldc, n, e, False, NULL, 0)


cdef inline void tile_ahead(
    real t, i64 mr, int nv, i64 depth, const real *a, i64 ars, i64 aks, const real *b, i64 bls,
    real *c, i64 ldc, i64 n, const Epilogue *e, const char *next_, i64 next_step,
) noexcept nogil:
    """tile_run without taps, that fetches into L2 what comes next: a line every step, from next_ on, next_step bytes apart."""
    cdef i64 zero = 0
    blocks_run(t, mr, nv, 1, 0, 0, 1, &zero, &zero, depth, a, ars, aks, b, bls, -1, c, ldc, n, e, True, next_, next_step)


cdef inline bint pair_fits(i64 half, int nv) noexcept nogil:
    """Whether two blocks of `half` rows are a tile that pair_run has: small ones gain nothing."""
    return 8 < 2 * half * nv <= LM_MR * LM_NV


cdef inline void pair_run(
    real t, i64 half, int nv, i64 a_jump, i64 c_jump, i64 taps, const i64 *ao, const i64 *bo, i64 depth,
    const real *a, i64 ars, i64 aks, const real *b, i64 bls,
    i64 bn, real *c, i64 ldc, i64 n, const Epilogue *e,
) noexcept nogil:
    """tile_run for two blocks of `half` rows, with pair_fits(half, nv): the second lies a_jump further in A and c_jump further in C."""
    blocks_run(t, half, nv, 2, a_jump, c_jump, taps, ao, bo, depth, a, ars, aks, b, bls, bn, c, ldc, n, e, False, NULL, 0)
