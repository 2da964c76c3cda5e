"""exp, also of differences, expm1, log, softplus, tanh, the logistic function and erf for Numba tasks: the arithmetic of vmath.pxd.

    f = math_of(np.dtype("float32"))            f.exp(x), f.exp_below(x), f.expm1(x), f.log(x), f.softplus(x), f.tanh(x), f.sigmoid(x),
                                                f.erf(x) of a number
    f = math_of(np.dtype("float32"), 1)         of a vector of one register (nb_simd.py)

Shapes   numbers in, numbers out; vectors in, vectors out
Loops    none: NumPy's functions become calls of the C library in a task, which keep a loop scalar; these have no branches and no
         calls, so LLVM turns a loop over them into vector code
Bounds   and limits as in vmath.pxd, and tested with it

Only contraction (a * b + c in one instruction) is allowed to the compiler: adding and subtracting ROUND rounds to a whole number,
which any reassociation would undo.
"""

from functools import cache

import numpy as np
from lamella.kernels import ISA
from lamella.kernels._common.nb import inline
from lamella.kernels._common.nb_simd import FMA, Vector, declare, lanes, maximum, minimum, namespace, operation, select
from llvmlite import ir
from numba import types

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
ERF = {
    np.float32: (
        9.2173526030146968e-6, -0.00011729798887723357, 0.00063162581948088118, -0.0016648295649846055, 0.0001582190646737319,
        0.019154202597017697, -0.10277810763478229, -0.63661935859461416, -1.1283791718962193,
    ),
    np.float64: (
        3.5869726141413267e-15, -1.6127712827325345e-13, 3.3604500053488893e-12, -4.2973414812194437e-11, 3.7572294022638489e-10,
        -2.3585231121664515e-9, 1.0764729135214863e-8, -3.4555954597130741e-8, 6.5657442910517071e-8, 1.1867160256119703e-8,
        -5.7089710050776765e-7, 2.0375403887624406e-6, -3.1333356347404412e-6, -3.1693569509480844e-6, 2.9575458709101761e-5,
        -6.4420364662582641e-5, -2.5904541463277031e-5, 0.00059013244199477516, -0.0016962076722177874, 0.00020919485422934456,
        0.019128446993070501, -0.1027726033013142, -0.63661977236759104, -1.1283791670955125,
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
def _bit_operations(real, registers):
    """Operations on the bits of a float, in its own width (Numba's integers would widen to 64 bits)."""
    number, _, width, digits, one, half = _integers(real)
    integer, floating = ir.IntType(width), ir.FloatType() if real is np.float32 else ir.DoubleType()
    count = registers * lanes(real)
    if registers:
        number, integer, floating = Vector(number, count), ir.VectorType(integer, count), ir.VectorType(floating, count)

    def const(value):
        return ir.Constant(integer, [value] * count if registers else value)

    def bits(b, x):
        return b.bitcast(x, integer)

    def shifted(b, x):
        return b.add(bits(b, x), const(one - half))

    def pow2(b, x):
        return b.bitcast(b.add(b.shl(bits(b, x), const(digits)), const(one)), floating)

    def exponent(b, x):
        return b.sitofp(b.sub(b.lshr(shifted(b, x), const(digits)), const(one >> digits)), floating)

    def mantissa(b, x):
        return b.bitcast(b.add(b.and_(shifted(b, x), const((1 << digits) - 1)), const(half)), floating)

    def magnitude(b, x):
        return b.bitcast(b.and_(bits(b, x), const((1 << (width - 1)) - 1)), floating)

    def copysign(b, x, y):
        return b.bitcast(b.or_(bits(b, x), b.and_(bits(b, y), const(-1 << (width - 1)))), floating)

    def scalef(b, x, n):
        name = f"llvm.x86.avx512.mask.scalef.p{'s' if real is np.float32 else 'd'}.512"
        mask = ir.IntType(count)
        function = declare(b, name, floating, [floating, floating, floating, mask, ir.IntType(32)])
        return b.call(function, [x, n, x, ir.Constant(mask, -1), ir.Constant(ir.IntType(32), 4)])

    unary = {f.__name__: operation(number, (number,), f) for f in (pow2, exponent, mantissa, magnitude)}
    binary = {f.__name__: operation(number, (number, number), f) for f in (copysign, scalef)}
    return namespace(f"bits_{number}", **unary, **binary)


@cache
def math_of(dtype, registers=0):
    """The functions for float32 or float64; of vectors of so many registers."""
    real = np.float32 if dtype == np.float32 else np.float64
    double = real is np.float64
    e = tuple(real(v) for v in EXP[real])
    g = tuple(real(v) for v in LOG[real])
    w = tuple(tuple(real(v) for v in ERF[real][i : i + 3]) for i in range(0, len(ERF[real]), 3))
    high, low = (real(v) for v in LN2[real])
    magic, log2e, lift = real(ROUND[real]), real(1.4426950408889634), real(2.0**54)
    ln2 = real(0.6931471805599453)
    zero, half, one, two, inf, nan = (real(v) for v in (0, 0.5, 1, 2, np.inf, np.nan))
    tiny, fifty_four = np.finfo(real).tiny, real(54)
    top, bottom, flat = (real(710), real(-746), real(19.1)) if double else (real(89), real(-104), real(9.1))
    highest, lowest = (real(709), real(-40)) if double else (real(88), real(-20))
    middle = real(0.41421356)
    end = real(5.93) if double else real(3.94)
    bits = _bit_operations(real, registers)
    instruction = ISA == "v4" and registers == 1

    @inline(fastmath=CONTRACT)
    def exp_tail(r):
        """(e^r - 1 - r) / r^2 for |r| <= ln2 / 2"""
        if double:
            q = ((((e[0] * r + e[1]) * r + e[2]) * r + e[3]) * r + e[4]) * r + e[5]
            return (((q * r + e[-4]) * r + e[-3]) * r + e[-2]) * r + e[-1]
        return (((e[0] * r + e[1]) * r + e[2]) * r + e[3]) * r + e[4]

    @inline(fastmath=CONTRACT)
    def exp_poly(r):
        """e^r - 1 for |r| <= ln2 / 2, with a small relative error"""
        return r * r * exp_tail(r) + r

    @inline(fastmath=CONTRACT)
    def exp_near(r):
        """e^r for |r| <= ln2 / 2"""
        return (exp_tail(r) * r + one) * r + one

    @inline(fastmath=CONTRACT)
    def scale(v, n):
        """v * 2^n in two steps, as 2^n itself may be out of range."""
        if instruction:
            return bits.scalef(v, n)
        first = n * half + magic
        return v * bits.pow2(first) * bits.pow2(n - (first - magic) + magic)

    @inline(fastmath=CONTRACT)
    def exp(x):
        x = maximum(bottom, minimum(top, x))
        n = (x * log2e + magic) - magic
        return scale(exp_near((x - n * high) - n * low), n)

    @inline(fastmath=CONTRACT)
    def exp_below(x):
        if double or not FMA:  # with FMA, n ln2 is not rounded
            return exp(x)
        x = maximum(bottom, x)
        n = (x * log2e + magic) - magic
        return scale(exp_near(x - n * ln2), n)

    @inline(fastmath=CONTRACT)
    def expm1(x):
        x = maximum(lowest, minimum(highest, x))
        n = (x * log2e + magic) - magic
        power = bits.pow2(n + magic)
        return exp_poly((x - n * high) - n * low) * power + (power - one)

    @inline(fastmath=CONTRACT)
    def log_parts(n, f):
        """log(2^n (1 + f)), sqrt(1/2) <= 1 + f < sqrt(2)"""
        s = f / (f + two)
        z = s * s
        h = f * f * half
        if double:
            p = (((((g[0] * z + g[1]) * z + g[2]) * z + g[3]) * z + g[-3]) * z + g[-2]) * z + g[-1]
        else:
            p = ((g[0] * z + g[1]) * z + g[2]) * z + g[3]
        return n * high + (f - (h - (s * (z * p + h) + n * low)))

    @inline(fastmath=CONTRACT)
    def log(x):
        small = x < tiny
        u = select(small, x * lift, x)
        y = log_parts(bits.exponent(u) - select(small, fifty_four, zero), bits.mantissa(u) - one)
        y = select(x < inf, y, x)
        y = select(x == zero, -inf, y)
        return select(x < zero, nan, y)

    @inline(fastmath=CONTRACT)
    def sigmoid(x):
        return one / (one + exp(-x))

    @inline(fastmath=CONTRACT)
    def softplus(x):
        u = exp(-bits.magnitude(x))
        large = u > middle
        return maximum(zero, x) + log_parts(select(large, one, zero), select(large, (u - one) * half, u))

    @inline(fastmath=CONTRACT)
    def tanh(x):
        a = minimum(flat, bits.magnitude(x))
        a = a + a
        n = (a * log2e + magic) - magic
        power = bits.pow2(n + magic)
        d = exp_poly((a - n * high) - n * low) * power + (power - one)
        return bits.copysign(d / (d + two), x)

    @inline(fastmath=CONTRACT)
    def three(q, a, c):
        return ((q * a + c[0]) * a + c[1]) * a + c[2]

    @inline(fastmath=CONTRACT)
    def erf(x):
        a = minimum(end, bits.magnitude(x))
        q = (w[0][0] * a + w[0][1]) * a + w[0][2]
        q = three(three(q, a, w[1]), a, w[2])
        if double:
            q = three(three(three(three(three(q, a, w[3]), a, w[4]), a, w[5]), a, w[6]), a, w[7])
        g = a * q
        n = (g * log2e + magic) - magic
        power = bits.pow2(n + magic)
        d = exp_poly((g - n * high) - n * low) * power + (power - one)
        return bits.copysign(bits.magnitude(d), x)

    return namespace(
        f"math_{bits.__name__}",
        exp=exp,
        exp_below=exp_below,
        expm1=expm1,
        log=log,
        sigmoid=sigmoid,
        softplus=softplus,
        tanh=tanh,
        erf=erf,
        magnitude=bits.magnitude,
    )
