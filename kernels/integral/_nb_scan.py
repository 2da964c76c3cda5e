"""Registers of sums for Numba tasks: prefix sums within a register, and pixels as numbers; the twin of _common/scan.h."""

from functools import cache

from lamella.kernels._common.nb_simd import Vector, load, namespace, operation, splat, store
from llvmlite import ir
from numba import types

_I32 = ir.IntType(32)
LLVM = {types.uint8: ir.IntType(8), types.int32: _I32, types.float32: ir.FloatType(), types.float64: ir.DoubleType()}


@cache
def registers(number, count):
    """`count` lanes of int32 (they wrap around) or float64: load, store, set, scan (lane l: the sum of lanes 0 to l), last (in every lane), first.

    scan takes zeros that LLVM does not know to be any: v.set(unknown(0)). It shifts them in by one permutation of two registers; of zeros that it
    knows it makes masked expansions of one, which take several times as long.
    """
    kind, at, real = Vector(number, count), types.int64, isinstance(number, types.Float)
    vector = ir.VectorType(LLVM[number], count)

    def scan(b, x, zeros):
        step = 1
        while step < count:
            shifted = ir.Constant(ir.VectorType(_I32, count), [count - step + lane for lane in range(count)])
            x = (b.fadd if real else b.add)(x, b.shuffle_vector(zeros, x, shifted))
            step *= 2
        return x

    return namespace(
        f"registers_{kind}",
        load=operation(kind, (at,), lambda b, address: load(b, address, vector)),
        store=operation(None, (at, kind), lambda b, address, x: store(b, x, address)),
        set=operation(kind, (number,), lambda b, x: splat(b, x, count)),
        scan=operation(kind, (kind, kind), scan),
        last=operation(kind, (kind,), lambda b, x: splat(b, b.extract_element(x, ir.Constant(_I32, count - 1)), count)),
        first=operation(number, (kind,), lambda b, x: b.extract_element(x, ir.Constant(_I32, 0))),
    )


@cache
def pixels(pixel, number, count):
    """load: `count` pixels as numbers; doubles: such numbers as doubles."""
    kind, doubles = Vector(number, count), Vector(types.float64, count)
    to, wide = ir.VectorType(LLVM[number], count), ir.VectorType(ir.DoubleType(), count)

    def widened(b, address):
        x = load(b, address, ir.VectorType(LLVM[pixel], count))
        return x if pixel == number else b.zext(x, to) if pixel == types.uint8 else b.fpext(x, to)

    return namespace(
        f"pixels_{pixel}_{kind}",
        load=operation(kind, (types.int64,), widened),
        doubles=operation(doubles, (kind,), lambda b, x: x if kind == doubles else b.sitofp(x, wide)),
    )
