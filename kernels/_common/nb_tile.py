"""The register tile of _common/tile.pxd for Numba, emitted as LLVM IR.

    C[i, j] = sum over taps q and depth l of  A[q][i, l] * B[q][l, j]  (+ D[i, j])          i < mr, j < nv registers

`tile(dtype, mr, nv, masked, narrow)` returns a function for tasks:

    f(taps, ao, bo, depth, a, ars, aks, b, bls, n, c, ldc, d, ldd)

a, b, c, d, ao, bo are addresses, strides count elements, ao and bo hold the offsets of the taps. d is 0, or c (C is added to), or a bias (ldd 0).
All nv registers of each row are stored; narrow: only the first n columns (and of D read). masked: only the first n columns of B are
read, the others count as 0. `tile_ahead` takes two more arguments, an address and a step in bytes: every step of depth fetches a line there
into L2 and moves on. `pair_function` gives the tile of two blocks of mr rows each, whose two more arguments, in elements, say how much further
the second lies in A and in C.

Shapes   A (mr, taps x depth), B (taps x depth, nv registers), C and D (mr, nv registers)
Loops    taps, then depth; the mr x nv products of a step are unrolled

A task that needs tiles of many sizes takes them by address, `call(address, ...)` or `call_ahead`, from `tile_function`: each then costs
0.1 s to compile instead of a variant of the task.

One intrinsic emits the whole loop nest: the accumulators are phi nodes of <lanes x float> and so stay in registers; built from many small
intrinsics over Numba variables, each would become a stack slot. The explicit vector type also keeps AVX-512 registers where LLVM
prefers 256 bits for its own vectorisation.
"""

from functools import cache

import numpy as np
from lamella.kernels import ISA
from lamella.kernels._common.nb import compiled
from lamella.kernels._common.nb_simd import VECTOR_BYTES, first, fma, lanes, load, opaque, prefetch, splat, store
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

MR, NV = (14, 2) if ISA == "v4" else (6, 2)
_I64 = ir.IntType(64)
_ARGUMENTS = 14


class _Emitter:
    """IR building with the element type fixed."""

    def __init__(self, builder, dtype):
        self.b = builder
        self.dtype = np.dtype(dtype)
        self.element = ir.FloatType() if self.dtype == np.float32 else ir.DoubleType()
        self.lanes = lanes(dtype)
        self.vector = ir.VectorType(self.element, self.lanes)

    def address(self, base, elements, size=None):
        return self.b.add(base, self.b.mul(elements, ir.Constant(_I64, size or self.dtype.itemsize)))

    def scalar(self, address, kind):
        value = self.b.load(self.b.inttoptr(address, kind.as_pointer()))
        value.align = 8 if kind is _I64 else self.dtype.itemsize
        return value


def _emit(builder, dtype, mr, nv, masked, narrow, arguments, blocks=1):
    taps, ao, bo, depth, a, ars, aks, b, bls, n, c, ldc, d, ldd, *more = arguments
    e = _Emitter(builder, dtype)
    zero = ir.Constant(e.vector, [0.0] * e.lanes)
    i64 = lambda value: ir.Constant(_I64, value)  # noqa: E731
    item = e.dtype.itemsize
    jumps, ahead = (more, []) if blocks == 2 else ([i64(0)] * 2, more)
    across = [(h, i) for h in range(blocks) for i in range(mr)]  # block and row
    in_a = lambda h, i: builder.add(builder.mul(ars, i64(i)), builder.mul(jumps[0], i64(h)))  # noqa: E731
    in_c = lambda h, i: builder.add(builder.mul(ldc, i64(i)), builder.mul(jumps[1], i64(h)))  # noqa: E731
    # rows 0, 3, 6, .. have addresses of their own: row 3r + s is at bases[r] + s * ars, which is one address of the processor
    steps = [builder.mul(ars, i64(i % 3 * item)) for i in range(mr)]
    a_step, b_step = builder.mul(aks, i64(item)), builder.mul(bls, i64(item))
    masks = [first(builder, builder.sub(n, i64(j * e.lanes)), e.lanes) for j in range(nv)] if masked or narrow else None
    for place in across:  # wanted after the loop: time enough to come from afar
        for j in range(nv):
            prefetch(builder, builder.add(e.address(c, in_c(*place)), i64(j * VECTOR_BYTES)), True)
    entry = builder.block
    tap_head, tap_body, depth_head, depth_body, tap_next, done = (
        builder.append_basic_block(name) for name in ("tap_head", "tap_body", "depth_head", "depth_body", "tap_next", "done")
    )
    builder.branch(tap_head)

    builder.position_at_end(tap_head)
    q = builder.phi(_I64)
    outer = [builder.phi(e.vector) for _ in range(len(across) * nv)] + [builder.phi(_I64) for _ in ahead[:1]]
    for phi, start in zip([q, *outer], [i64(0), *[zero] * (len(across) * nv), *ahead[:1]]):
        phi.add_incoming(start, entry)
    builder.cbranch(builder.icmp_signed("<", q, taps), tap_body, done)

    builder.position_at_end(tap_body)
    a0 = e.address(a, e.scalar(e.address(ao, q, 8), _I64))
    b0 = e.address(b, e.scalar(e.address(bo, q, 8), _I64))
    starts = [e.address(a0, in_a(h, i)) for h, i in across if i % 3 == 0]
    builder.branch(depth_head)

    builder.position_at_end(depth_head)
    l, bp, *now = (builder.phi(_I64) for _ in range(2 + len(starts)))
    inner = [builder.phi(e.vector) for _ in range(len(across) * nv)] + [builder.phi(_I64) for _ in ahead[:1]]
    for phi, start in zip([l, bp, *now, *inner], [i64(0), b0, *starts, *outer]):
        phi.add_incoming(start, tap_body)
    builder.cbranch(builder.icmp_signed("<", l, depth), depth_body, tap_next)

    builder.position_at_end(depth_body)
    bases = [opaque(builder, base) for base in now]  # LLVM would keep the rows' distances from the first one, in memory
    rows = []
    for j in range(nv):
        at = builder.add(bp, i64(j * VECTOR_BYTES))
        rows.append(load(builder, at, e.vector, masks[j] if masked else None))
    summed = []
    for row, (h, i) in enumerate(across):
        base = bases[h * (len(bases) // blocks) + i // 3]
        x = splat(builder, e.scalar(builder.add(base, steps[i]), e.element), e.lanes)
        summed += [fma(builder, x, rows[j], inner[row * nv + j]) for j in range(nv)]
    if ahead:
        prefetch(builder, inner[-1], locality=2)
        summed.append(builder.add(inner[-1], ahead[1]))
    step = [builder.add(l, i64(1)), builder.add(bp, b_step), *(builder.add(base, a_step) for base in bases), *summed]
    for phi, value in zip([l, bp, *now, *inner], step):
        phi.add_incoming(value, depth_body)
    builder.branch(depth_head)

    builder.position_at_end(tap_next)
    for phi, value in zip([q, *outer], [builder.add(q, i64(1)), *inner]):
        phi.add_incoming(value, tap_next)
    builder.branch(tap_head)

    builder.position_at_end(done)
    plus, plain, end = (builder.append_basic_block(name) for name in ("plus", "plain", "end"))
    builder.cbranch(builder.icmp_signed("!=", d, i64(0)), plus, plain)
    for block, plus_d in ((plus, True), (plain, False)):
        builder.position_at_end(block)
        for row, (h, i) in enumerate(across):
            to, added = e.address(c, in_c(h, i)), e.address(d, builder.mul(ldd, i64(i)))
            for j in range(nv):
                at, value = builder.add(to, i64(j * VECTOR_BYTES)), outer[row * nv + j]
                if plus_d:
                    there = builder.add(added, i64(j * VECTOR_BYTES))
                    value = builder.fadd(value, load(builder, there, e.vector, masks[j] if narrow else None))
                store(builder, value, at, masks[j] if narrow else None)
        builder.branch(end)
    builder.position_at_end(end)


@cache
def tile(dtype, mr, nv, masked=False, narrow=False):
    """The tile of mr rows by nv registers as a function that Numba code can call (see the module's docstring)."""

    @intrinsic
    def f(typingctx, taps, ao, bo, depth, a, ars, aks, b, bls, n, c, ldc, d, ldd):
        def codegen(context, builder, signature, arguments):
            _emit(builder, dtype, mr, nv, masked, narrow, arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * _ARGUMENTS), codegen

    return f


@cache
def tile_ahead(dtype, mr, nv, narrow):
    """The tile that fetches what comes next."""

    @intrinsic
    def f(typingctx, taps, ao, bo, depth, a, ars, aks, b, bls, n, c, ldc, d, ldd, ahead, step):
        def codegen(context, builder, signature, arguments):
            _emit(builder, dtype, mr, nv, False, narrow, arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * (_ARGUMENTS + 2)), codegen

    return f


@cache
def tile_function(dtype, mr, nv, masked=False, narrow=False):
    """The tile as a function of its own, with an `.address` for `call`."""
    f = tile(dtype, mr, nv, masked, narrow)

    def run(taps, ao, bo, depth, a, ars, aks, b, bls, n, c, ldc, d, ldd):
        f(taps, ao, bo, depth, a, ars, aks, b, bls, n, c, ldc, d, ldd)

    return compiled(run, types.void(*[types.int64] * _ARGUMENTS))


@cache
def tile_ahead_function(dtype, mr, nv, narrow):
    """The same of `tile_ahead`, for `call_ahead`."""
    f = tile_ahead(dtype, mr, nv, narrow)

    def run(taps, ao, bo, depth, a, ars, aks, b, bls, n, c, ldc, d, ldd, ahead, step):
        f(taps, ao, bo, depth, a, ars, aks, b, bls, n, c, ldc, d, ldd, ahead, step)

    return compiled(run, types.void(*[types.int64] * (_ARGUMENTS + 2)))


@cache
def pair_function(dtype, half, nv, narrow):
    """The tile of two blocks of `half` rows, for `call_pair`, D the same row for all (ldd 0); None where it does not fit or gains nothing."""
    if not 8 < 2 * half * nv <= MR * NV:
        return None

    @intrinsic
    def f(typingctx, taps, ao, bo, depth, a, ars, aks, b, bls, n, c, ldc, d, ldd, a_jump, c_jump):
        def codegen(context, builder, signature, arguments):
            _emit(builder, dtype, half, nv, False, narrow, arguments, 2)
            return context.get_dummy_value()

        return types.void(*[types.int64] * (_ARGUMENTS + 2)), codegen

    def run(taps, ao, bo, depth, a, ars, aks, b, bls, n, c, ldc, d, ldd, a_jump, c_jump):
        f(taps, ao, bo, depth, a, ars, aks, b, bls, n, c, ldc, d, ldd, a_jump, c_jump)

    return compiled(run, types.void(*[types.int64] * (_ARGUMENTS + 2)))


def _call(builder, arguments):
    kind = ir.FunctionType(ir.VoidType(), [_I64] * (len(arguments) - 1))
    builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])


@intrinsic
def call(typingctx, address, taps, ao, bo, depth, a, ars, aks, b, bls, n, c, ldc, d, ldd):
    """Call the tile at an address."""

    def codegen(context, builder, signature, arguments):
        _call(builder, arguments)
        return context.get_dummy_value()

    return types.void(*[types.int64] * (_ARGUMENTS + 1)), codegen


@intrinsic
def call_ahead(typingctx, address, taps, ao, bo, depth, a, ars, aks, b, bls, n, c, ldc, d, ldd, ahead, step):
    """Call a tile of two arguments more at an address: that of `tile_ahead_function` or, as `call_pair`, of `pair_function`."""

    def codegen(context, builder, signature, arguments):
        _call(builder, arguments)
        return context.get_dummy_value()

    return types.void(*[types.int64] * (_ARGUMENTS + 3)), codegen


call_pair = call_ahead
