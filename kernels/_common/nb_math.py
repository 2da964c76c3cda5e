"""exp, log, tanh and the logistic function for Numba tasks: the arithmetic of vmath.pxd, an element at a time.

    f = math_of(np.dtype("float32"))      f.exp(x), f.log(x), f.tanh(x), f.sigmoid(x); f.key(x), f.value(key) for maxima

Shapes   numbers in, numbers out
Loops    none: NumPy's functions become calls of the C library in a task, which keep a loop scalar; these have no branches and no
         calls, so LLVM turns a loop over them into vector code
Bounds   and limits as in vmath.pxd, and tested with it

Only contraction (a * b + c in one instruction) is allowed to the compiler: adding and subtracting ROUND rounds to a whole number,
which any reassociation would undo. `key` maps floats to integers of the same order, and NaN (its sign bit clear) above all of them: LLVM vectorises a
maximum of integers, but not one of floats in which NaN counts.
"""

from functools import cache
from types import SimpleNamespace

import numpy as np
from lamella.kernels._common.nb import inline
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

EXP = {
    np.float32: (0.0013926213466332443, 0.0083632029715758549, 0.041666554437685939, 0.16666576845993976, 0.5),
    np.float64: (
        2.5100424157005067e-8, 2.7620138719733996e-7, 2.7557268378684193e-6, 2.4801521190217728e-5, 1.9841269863105869e-4,
        0.0013888888917281793, 0.0083333333333300513, 0.041666666666623992, 0.16666666666666667, 0.5000000000000001,
    ),
}  # fmt: skip
LOG = {
    np.float32: (0.23331040834029353, 0.28550799730209069, 0.40000122025712325, 0.66666666554269726),
    np.float64: (
        0.14617128399807300, 0.15331666676597174, 0.18182890778026130, 0.22222211112104947, 0.28571428626114518, 0.39999999999898199,
        0.66666666666666697,
    ),
}  # fmt: skip
LN2 = {np.float32: (0.693359375, -2.1219444005469058e-4), np.float64: (0.693145751953125, 1.4286068203094172e-6)}
CONTRACT = {"contract"}
ROUND = {np.float32: 12582912.0, np.float64: 6755399441055744.0}  # 1.5 * 2^23, 1.5 * 2^52


def _integers(real):
    """The types, the width in bits, the digits (bits of the fraction), and the bits of 1 and of sqrt(1/2)."""
    if real is np.float32:
        return types.float32, types.int32, 32, 23, 0x3F800000, 0x3F3504F3
    return types.float64, types.int64, 64, 52, 0x3FF0000000000000, 0x3FE6A09E667F3BCD


@cache
def _bit_operations(real):
    """Operations on the bits of a float, in its own width (Numba's integers would widen to 64 bits)."""
    number, integer, width, digits, one, half = _integers(real)

    def unary(result, code):
        @intrinsic
        def operation(typingctx, x):
            def codegen(context, builder, signature, args):
                return code(builder, args[0], context.get_value_type(result))

            return result(integer if x == integer else number), codegen

        return operation

    def const(value):
        return ir.Constant(ir.IntType(width), value)

    def to_bits(b, x):
        return b.bitcast(x, ir.IntType(width))

    def pow2(b, x, to):
        return b.bitcast(b.add(b.shl(to_bits(b, x), const(digits)), const(one)), to)

    def shifted(b, x):
        return b.add(to_bits(b, x), const(one - half))

    def exponent(b, x, to):
        return b.sitofp(b.sub(b.lshr(shifted(b, x), const(digits)), const(one >> digits)), to)

    def mantissa(b, x, to):
        return b.bitcast(b.add(b.and_(shifted(b, x), const((1 << digits) - 1)), const(half)), to)

    def flip(b, i):
        bits = width - 1
        return b.xor(i, b.and_(b.ashr(i, const(bits)), const((1 << bits) - 1)))

    def key(b, x, to):
        return flip(b, to_bits(b, x))

    def value(b, i, to):
        return b.bitcast(flip(b, i), to)

    def magnitude(b, x, to):
        return b.bitcast(b.and_(to_bits(b, x), const((1 << (width - 1)) - 1)), to)

    def with_sign(b, x, y, to):
        bits = width - 1
        return b.bitcast(b.or_(to_bits(b, x), b.and_(to_bits(b, y), const(-1 << bits))), to)

    @intrinsic
    def copysign(typingctx, x, y):
        def codegen(context, builder, signature, args):
            return with_sign(builder, *args, context.get_value_type(number))

        return number(number, number), codegen

    return SimpleNamespace(
        pow2=unary(number, pow2), exponent=unary(number, exponent), mantissa=unary(number, mantissa), key=unary(integer, key),
        value=unary(number, value), magnitude=unary(number, magnitude), copysign=copysign,
    )  # fmt: skip


@cache
def math_of(dtype):
    """The functions for float32 or float64."""
    real = np.float32 if dtype == np.float32 else np.float64
    double = real is np.float64
    e = tuple(real(v) for v in EXP[real])
    g = tuple(real(v) for v in LOG[real])
    high, low = (real(v) for v in LN2[real])
    magic, log2e, lift = real(ROUND[real]), real(1.4426950408889634), real(2.0**54)
    zero, half, one, two, inf, nan = (real(v) for v in (0, 0.5, 1, 2, np.inf, np.nan))
    tiny, fifty_four = np.finfo(real).tiny, real(54)
    top, bottom, flat = (real(710), real(-746), real(19.1)) if double else (real(89), real(-104), real(9.1))
    bits = _bit_operations(real)
    pow2, exponent, mantissa, magnitude, copysign = bits.pow2, bits.exponent, bits.mantissa, bits.magnitude, bits.copysign

    @inline(fastmath=CONTRACT)
    def exp_poly(r):
        """e^r - 1 for |r| <= ln2 / 2"""
        if double:
            q = ((((e[0] * r + e[1]) * r + e[2]) * r + e[3]) * r + e[4]) * r + e[5]
            q = (((q * r + e[-4]) * r + e[-3]) * r + e[-2]) * r + e[-1]
        else:
            q = (((e[0] * r + e[1]) * r + e[2]) * r + e[3]) * r + e[4]
        return r * r * q + r

    @inline(fastmath=CONTRACT)
    def scale(v, n):
        """v * 2^n in two steps, as 2^n itself may be out of range."""
        first = n * half + magic
        return v * pow2(first) * pow2(n - (first - magic) + magic)

    @inline(fastmath=CONTRACT)
    def exp(x):
        x = top if x > top else x
        x = bottom if x < bottom else x
        n = (x * log2e + magic) - magic
        r = (x - n * high) - n * low
        return scale(exp_poly(r) + one, n)

    @inline(fastmath=CONTRACT)
    def log(x):
        small = x < tiny
        u = x * lift if small else x
        n = exponent(u) - (fifty_four if small else zero)
        f = mantissa(u) - one
        s = f / (f + two)
        z = s * s
        h = f * f * half
        if double:
            p = (((((g[0] * z + g[1]) * z + g[2]) * z + g[3]) * z + g[-3]) * z + g[-2]) * z + g[-1]
        else:
            p = ((g[0] * z + g[1]) * z + g[2]) * z + g[3]
        y = s * (z * p + h)
        y = n * high + (f - (h - (y + n * low)))
        y = y if x < inf else x
        y = -inf if x == zero else y
        return nan if x < zero else y

    @inline(fastmath=CONTRACT)
    def sigmoid(x):
        return one / (one + exp(-x))

    @inline(fastmath=CONTRACT)
    def tanh(x):
        a = magnitude(x)
        a = flat if a > flat else a
        a = a + a
        n = (a * log2e + magic) - magic
        power = pow2(n + magic)
        d = exp_poly((a - n * high) - n * low) * power + (power - one)
        return copysign(d / (d + two), x)

    return SimpleNamespace(exp=exp, log=log, sigmoid=sigmoid, tanh=tanh, key=bits.key, value=bits.value)
