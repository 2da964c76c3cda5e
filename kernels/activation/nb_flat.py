"""Activations over memory in equal slices; the Numba twin of cy_flat.

    out = f(x)        dx = g * f'(saved)

Shapes   one-dimensional runs of n elements; the caller hands over dense arrays of equal memory order
Loops    slices of SLICE elements are the tasks; inside, one register at a time, the last one masked
Cost     one read and one write per element (backward: two reads)
"""

from functools import cache, lru_cache, partial

from lamella.kernels._common.nb import Argument, Stage, doubles, inline, ints, program, runs, task
from lamella.kernels._common.nb_math import math_of
from lamella.kernels._common.nb_simd import maximum, minimum, select, simd

SLICE = 16384


@cache
def formulas(dtype):
    """name -> (value of x, derivative from what was saved), of registers; a, b and c are the parameters."""
    f, real = math_of(dtype, 1), dtype.type
    exp, expm1, log, sigmoid, softplus, tanh, erf = f.exp, f.expm1, f.log, f.sigmoid, f.softplus, f.tanh, f.erf
    zero, sixth, third, half, one, two, three, four, six, forty = (real(v) for v in (0, 1 / 6, 1 / 3, 0.5, 1, 2, 3, 4, 6, 40))
    root, density, two_over_root = real(0.70710678118654752), real(0.3989422804014327), real(1.1283791670955126)
    # sqrt(2 / pi) times 2, 2 * 0.044715 and 6 * 0.044715
    linear, cubic, cubic3 = real(1.5957691216057308), real(0.07135481627260025), real(0.21406444881780076)

    def relu(x, a, b, c):
        return maximum(zero, x)

    def relu_slope(s, a, b, c):
        return select(s <= zero, zero, one)

    def leaky_relu(x, a, b, c):
        return select(x > zero, x, x * a)

    def leaky_relu_slope(s, a, b, c):
        return select(s > zero, one, a)

    def logistic(x, a, b, c):
        return sigmoid(x)

    def logistic_slope(s, a, b, c):
        return s * (one - s)

    def hyperbolic(x, a, b, c):
        return tanh(x)

    def hyperbolic_slope(s, a, b, c):
        return one - s * s

    def power(x, a, b, c):
        return exp(x)

    def power_slope(s, a, b, c):
        return s

    def logarithm(x, a, b, c):
        return log(x)

    def logarithm_slope(s, a, b, c):
        return one / s

    def error(x, a, b, c):
        return erf(x)

    def error_slope(s, a, b, c):
        return two_over_root * exp(-s * s)

    def gelu(x, a, b, c):
        return x * (half + half * erf(root * x))

    def gelu_slope(s, a, b, c):
        return half + half * erf(root * s) + s * (density * exp(-half * s * s))

    @inline
    def gate(x):
        """(1 + tanh u) / 2, which does not cancel"""
        return sigmoid(x * (linear + cubic * (x * x)))

    def gelu_tanh(x, a, b, c):
        return x * gate(x)

    def gelu_tanh_slope(s, a, b, c):
        h = gate(s)
        return h + s * (linear + cubic3 * (s * s)) * (h * (one - h))

    def hardtanh(x, a, b, c):
        return maximum(a, minimum(b, x))

    def hardtanh_slope(s, a, b, c):
        return select((s == a) | (s == b), zero, one)

    def threshold(x, a, b, c):
        return select(x <= a, b, x)

    def threshold_slope(s, a, b, c):
        return select(s <= a, zero, one)

    def hardshrink(x, a, b, c):
        return select(f.magnitude(x) <= a, zero, x)

    def softshrink(x, a, b, c):
        return select(f.magnitude(x) <= a, zero, x - select(x < zero, -a, a))

    def shrink_slope(s, a, b, c):
        return select(f.magnitude(s) <= a, zero, one)

    def hardsigmoid(x, a, b, c):
        return maximum(zero, minimum(six, x + three)) * sixth

    def hardsigmoid_slope(s, a, b, c):
        return select(f.magnitude(s) < three, sixth, zero)

    def hardswish(x, a, b, c):
        return x * (maximum(zero, minimum(six, x + three)) * sixth)

    def hardswish_slope(s, a, b, c):
        return select(s <= -three, zero, select(s < three, s * third + half, one))

    def softsign(x, a, b, c):
        return x / (one + f.magnitude(x))

    def softsign_slope(s, a, b, c):
        d = one / (one + f.magnitude(s))
        return d * d

    def elu(x, a, b, c):
        return select(x > zero, b * x, a * expm1(c * x))

    def elu_slope(s, a, b, c):
        return select(s <= zero, a * c * exp(c * s), b)

    def smooth_relu(x, a, b, c):
        z = a * x
        return select(z > b, x, softplus(z) / a)

    def smooth_relu_slope(s, a, b, c):
        z = a * s
        return select(z > b, one, sigmoid(z))

    def swish(x, a, b, c):
        return x * sigmoid(a * x)

    def swish_slope(s, a, b, c):
        h = sigmoid(a * s)
        return h * (a * s * (one - h) + one)

    def mish(x, a, b, c):
        e = exp(minimum(forty, x))
        m = e * (e + two)
        return x * (m / (m + two))

    def mish_slope(s, a, b, c):
        x = minimum(forty, s)
        e = exp(x)
        m = e * (e + two)
        d = one / (m + two)
        return d * (x * (four * (e * e + e) * d) + m)

    def tanhshrink(x, a, b, c):
        return x - tanh(x)

    def tanhshrink_slope(s, a, b, c):
        y = tanh(s)
        return y * y

    pairs = {
        "relu": (relu, relu_slope),
        "leaky_relu": (leaky_relu, leaky_relu_slope),
        "sigmoid": (logistic, logistic_slope),
        "tanh": (hyperbolic, hyperbolic_slope),
        "exp": (power, power_slope),
        "log": (logarithm, logarithm_slope),
        "erf": (error, error_slope),
        "gelu": (gelu, gelu_slope),
        "gelu_tanh": (gelu_tanh, gelu_tanh_slope),
        "hardtanh": (hardtanh, hardtanh_slope),
        "threshold": (threshold, threshold_slope),
        "hardshrink": (hardshrink, shrink_slope),
        "softshrink": (softshrink, shrink_slope),
        "hardsigmoid": (hardsigmoid, hardsigmoid_slope),
        "hardswish": (hardswish, hardswish_slope),
        "softsign": (softsign, softsign_slope),
        "elu": (elu, elu_slope),
        "softplus": (smooth_relu, smooth_relu_slope),
        "swish": (swish, swish_slope),
        "mish": (mish, mish_slope),
        "tanhshrink": (tanhshrink, tanhshrink_slope),
    }
    return {name: tuple(inline(function, fastmath={"contract"}) for function in pair) for name, pair in pairs.items()}


@cache
def tasks(dtype, function, backward):
    """The task for one function, one dtype, one direction."""
    v, item, real, formula = simd(dtype), dtype.itemsize, dtype.type, formulas(dtype)[function][backward]
    lanes, step = v.lanes, v.lanes * item

    @task
    def work(ctx, task, slot):
        c, parameters, at = ints(ctx), doubles(ctx), task * SLICE * item
        x, g, out, count = c[0] + at, c[1] + at, c[2] + at, min(SLICE, c[3] - task * SLICE)
        p, q, r = v.set(real(parameters[4])), v.set(real(parameters[5])), v.set(real(parameters[6]))
        whole = count // lanes
        for i in range(whole):
            y = formula(v.load(x + i * step), p, q, r)
            v.store(out + i * step, v.load(g + i * step) * y if backward else y)
        rest, at = count - whole * lanes, whole * step
        if rest > 0:
            y = formula(v.load_n(x + at, rest), p, q, r)
            v.store_n(out + at, rest, v.load_n(g + at, rest) * y if backward else y)

    return work


def accepts(pass_, p):
    """Only the functions that the formulas above know."""
    return p.function in formulas(p.dtype)


@lru_cache(4096)
def programs(pass_, p):
    first, second, third, parameters = Argument(0), Argument(1), Argument(2), (p.n, p.a, p.b, p.c)
    work = Stage(tasks(p.dtype, p.function, pass_ == "backward"), -(-p.n // SLICE), p.nanoseconds)
    return program([first, None, second, *parameters] if pass_ == "forward" else [second, first, third, *parameters], work)


@runs(partial(programs, "forward"))
def forward(p, x, out, scratch): ...


@runs(partial(programs, "backward"))
def backward(p, g, saved, dx, scratch): ...
