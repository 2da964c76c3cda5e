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

`tile` must be inlined with constant mr, nv (and strides where they are known):
that is what lets the compiler unroll the tile into registers. tile_run below
is the switch from run-time sizes to those constants.
"""
from lamella.kernels._common.simd cimport (
    LM_MR, LM_NV, lanes,
    v_add, v_fma, v_gt, v_load, v_load_n, v_max, v_mul, v_pin, v_select, v_set, v_store, v_store_n, v_zero, vec,
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

# What happens to a tile between the registers and C:  act(alpha * acc + beta * C + bias). beta = 0 never reads C.
cdef struct Epilogue:
    double alpha
    double beta
    double slope
    int act
    int bias_kind
    const void *bias    # of the tile's first column or row


cdef inline Epilogue plain() noexcept nogil:
    """C = acc"""
    cdef Epilogue e
    e.alpha = 1
    e.beta = 0
    e.slope = 0
    e.act = ACT_NONE
    e.bias_kind = BIAS_NONE
    e.bias = NULL
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


cdef inline void tile(
    real t, int mr, int nv, i64 taps, const i64 *ao, const i64 *bo, i64 depth,
    const real *a, i64 ars, i64 aks, const real *b, i64 bls,
    i64 bn, real *c, i64 ldc, i64 rows, i64 n, const Epilogue *e,
) noexcept nogil:
    """See the module's docstring. Stores the first `rows` rows and n columns. B is read in whole registers,
    unless bn >= 0 says that only bn columns may be touched (the others count as 0)."""
    blocks_tile(t, 1, mr, nv, 0, 0, taps, ao, bo, depth, a, ars, aks, b, bls, bn, c, ldc, rows, n, e)


cdef inline void pair_tile(
    real t, int half, int nv, i64 a_jump, i64 c_jump, i64 taps, const i64 *ao, const i64 *bo, i64 depth,
    const real *a, i64 ars, i64 aks, const real *b, i64 bls,
    i64 bn, real *c, i64 ldc, i64 n, const Epilogue *e,
) noexcept nogil:
    """A tile of two blocks of `half` rows each: the second lies a_jump further in A and c_jump further in C."""
    blocks_tile(t, 2, half, nv, a_jump, c_jump, taps, ao, bo, depth, a, ars, aks, b, bls, bn, c, ldc, 2 * half, n, e)


cdef inline void blocks_tile(
    real t, int blocks, int mr, int nv, i64 a_jump, i64 c_jump, i64 taps, const i64 *ao, const i64 *bo, i64 depth,
    const real *a, i64 ars, i64 aks, const real *b, i64 bls,
    i64 bn, real *c, i64 ldc, i64 rows, i64 n, const Epilogue *e,
) noexcept nogil:
    """One or two blocks of mr rows. (Two loops: GCC unrolls none of more than 16 steps.)"""
    cdef vec acc[2][14][4]          # registers: indexed by constants alone
    cdef vec done[2][14][4]         # memory: what is done with a sum is too much code to be unrolled
    cdef vec bv[4]
    cdef vec s
    cdef int h, i, j
    cdef i64 q, _l, left
    cdef i64 cols[4]
    cdef const real *ap[2]
    cdef const real *bp
    cdef real *ci
    cdef bint simple = e.alpha == 1 and e.beta == 0 and e.bias_kind == BIAS_NONE and e.act == ACT_NONE
    for j in range(nv):
        cols[j] = max(<i64>0, min(bn - j * lanes(t), <i64>lanes(t)))
    for h in range(blocks):
        for i in range(mr):
            for j in range(nv):
                acc[h][i][j] = v_zero()
    for q in range(taps):
        for h in range(blocks):
            ap[h] = a + ao[q] + h * a_jump
        bp = b + bo[q]
        for _l in range(depth):
            for j in range(nv):
                bv[j] = v_load(bp + j * lanes(t)) if bn < 0 else v_load_n(t, bp + j * lanes(t), cols[j])
            for h in range(blocks):
                for i in range(mr):
                    s = v_set(ap[h][i * ars])
                    for j in range(nv):
                        acc[h][i][j] = v_fma(t, s, bv[j], acc[h][i][j])
                ap[h] += aks
            bp += bls
    for h in range(blocks):
        for i in range(mr):
            for j in range(nv):
                acc[h][i][j] = v_pin(acc[h][i][j])
    if simple and n == nv * lanes(t):
        for h in range(blocks):
            for i in range(mr):
                if h * mr + i < rows:
                    for j in range(nv):
                        v_store(c + h * c_jump + i * ldc + j * lanes(t), acc[h][i][j])
        return
    for h in range(blocks):
        for i in range(mr):
            for j in range(nv):
                done[h][i][j] = v_pin(acc[h][i][j])
    for h in range(blocks):
        for i in range(mr):
            if h * mr + i < rows:
                for j in range(nv):
                    left = n - j * lanes(t)
                    if left > 0:
                        left = min(left, <i64>lanes(t))
                        ci = c + h * c_jump + i * ldc + j * lanes(t)
                        v_store_n(t, ci, left, finish(t, done[h][i][j], e, ci, left, i, j * lanes(t)))


cdef extern from "tile.h" nogil:
    ctypedef void (*tile_f32)(
        float, int, int, i64, const i64 *, const i64 *, i64, const float *, i64, i64, const float *, i64, i64, float *, i64, i64, i64,
        const Epilogue *,
    ) noexcept
    ctypedef void (*tile_f64)(
        double, int, int, i64, const i64 *, const i64 *, i64, const double *, i64, i64, const double *, i64, i64, double *, i64, i64, i64,
        const Epilogue *,
    ) noexcept
    void switch_f32 "lm_switch_rows"(
        tile_f32, float, i64, int, i64, const i64 *, const i64 *, i64, const float *, i64, i64, const float *, i64, i64, float *, i64, i64,
        i64, const Epilogue *,
    ) noexcept
    void switch_f64 "lm_switch_rows"(
        tile_f64, double, i64, int, i64, const i64 *, const i64 *, i64, const double *, i64, i64, const double *, i64, i64, double *, i64,
        i64, i64, const Epilogue *,
    ) noexcept
    ctypedef void (*pair_f32)(
        float, int, int, i64, i64, i64, const i64 *, const i64 *, i64, const float *, i64, i64, const float *, i64, i64, float *, i64, i64,
        const Epilogue *,
    ) noexcept
    ctypedef void (*pair_f64)(
        double, int, int, i64, i64, i64, const i64 *, const i64 *, i64, const double *, i64, i64, const double *, i64, i64, double *, i64, i64,
        const Epilogue *,
    ) noexcept
    void pair_switch_f32 "lm_switch_pairs"(
        pair_f32, float, i64, int, i64, i64, i64, const i64 *, const i64 *, i64, const float *, i64, i64, const float *, i64, i64, float *,
        i64, i64, const Epilogue *,
    ) noexcept
    void pair_switch_f64 "lm_switch_pairs"(
        pair_f64, double, i64, int, i64, i64, i64, const i64 *, const i64 *, i64, const double *, i64, i64, const double *, i64, i64, double *,
        i64, i64, const Epilogue *,
    ) noexcept


cdef inline void tile_run(
    real t, i64 mr, int nv, i64 taps, const i64 *ao, const i64 *bo, i64 depth,
    const real *a, i64 ars, i64 aks, const real *b, i64 bls,
    i64 bn, real *c, i64 ldc, i64 n, const Epilogue *e,
) noexcept nogil:
    """`tile` for 1 <= mr <= LM_MR rows known at run time, all of them stored; nv and the constant strides must be constants at the call."""
    if real is float:
        switch_f32(tile[float], t, mr, nv, taps, ao, bo, depth, a, ars, aks, b, bls, bn, c, ldc, mr, n, e)
    else:
        switch_f64(tile[double], t, mr, nv, taps, ao, bo, depth, a, ars, aks, b, bls, bn, c, ldc, mr, n, e)


cdef inline bint pair_fits(i64 half, int nv) noexcept nogil:
    """Whether two blocks of `half` rows are a tile that pair_run has: small ones gain nothing."""
    return 8 < 2 * half * nv <= LM_MR * LM_NV


cdef inline void pair_run(
    real t, i64 half, int nv, i64 a_jump, i64 c_jump, i64 taps, const i64 *ao, const i64 *bo, i64 depth,
    const real *a, i64 ars, i64 aks, const real *b, i64 bls,
    i64 bn, real *c, i64 ldc, i64 n, const Epilogue *e,
) noexcept nogil:
    """`pair_tile` for a run-time `half` with pair_fits(half, nv)."""
    if real is float:
        pair_switch_f32(pair_tile[float], t, half, nv, a_jump, c_jump, taps, ao, bo, depth, a, ars, aks, b, bls, bn, c, ldc, n, e)
    else:
        pair_switch_f64(pair_tile[double], t, half, nv, a_jump, c_jump, taps, ao, bo, depth, a, ars, aks, b, bls, bn, c, ldc, n, e)
