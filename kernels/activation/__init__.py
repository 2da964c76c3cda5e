"""Elementwise activations, exp, log and erf, and their derivatives.

    forward    out = f(x)
    backward   dx = g * f'(x)      computed from the output where that is enough: `y` is f(x)

    relu         max(x, 0)                        f' = 0 where y <= 0, else 1 (also for NaN, as in PyTorch)
    leaky_relu   x if x > 0 else a x              f' = 1 if y > 0 else a, for a >= 0
    sigmoid      1 / (1 + exp(-x))                f' = y (1 - y)
    tanh         tanh(x)                          f' = 1 - y^2
    exp          e^x                              f' = y
    log          log(x), -inf at 0, NaN below     f' = 1 / x
    erf          2 / sqrt(pi) int_0^x e^(-s^2)    f' = 2 / sqrt(pi) e^(-x^2)
    gelu         x Phi(x) = x (1 + erf(x / sqrt(2))) / 2                          f' = Phi(x) + x phi(x), phi = Phi'
    gelu_tanh    x (1 + tanh u) / 2, u = sqrt(2 / pi) (x + 0.044715 x^3)          f' = (1 + h + x (1 - h^2) u') / 2, h = tanh u

    hardtanh     min(max(x, a), b)                f' = 1 strictly between, else 0
    threshold    x if x > a else b                f' = 1 if x > a else 0
    hardshrink   x if |x| > a else 0              f' = 1 if |x| > a else 0
    softshrink   sign(x) max(|x| - a, 0)          f' = 1 if |x| > a else 0
    hardsigmoid  min(max(x + 3, 0), 6) / 6        f' = 1/6 strictly between -3 and 3, else 0
    hardswish    x hardsigmoid(x)                 f' = 0 up to -3, x / 3 + 1/2 between, 1 from 3 on
    softsign     x / (1 + |x|)                    f' = 1 / (1 + |x|)^2
    elu          b x if x > 0 else a (e^(c x) - 1)                                f' = b if x > 0 else a c e^(c x)
    softplus     log(1 + e^z) / a, z = a x; x where z > b                         f' = 1 / (1 + e^-z), 1 where z > b
    swish        x s, s = 1 / (1 + e^(-a x))                                      f' = s + a x s (1 - s)
    mish         x w, w = tanh(log(1 + e^x)) = e (e + 2) / (e (e + 2) + 2)        f' = w + x s (1 - w^2), e = e^x, s = e / (1 + e)
    tanhshrink   x - tanh(x)                                                      f' = tanh(x)^2

    elu with (alpha, 1, 1) is ELU, with (alpha, 1, 1 / alpha) CELU, with (scale alpha, scale, 1) SELU; softplus with (-1, inf) is log(sigmoid);
    swish with 1 is SiLU, with 1.702 the logistic approximation of GELU; hardtanh between 0 and 6 is ReLU6.

Shapes   x, out, g, dx (n,): any dense array, in memory order. `saved` is x or y: column `saves` of lamella.problems.activation.FUNCTIONS.
In place x and out may be the same memory.
NaN      propagates.
Bounds   exp, log 2 ulp; sigmoid, tanh, erf, softplus (with a = 1) 4 ulp (_common/vmath.pxd, _common/nb_math.py); results that would be denormal may be 0.
         elu 4 ulp; swish, mish and hardswish 6 ulp, and 8 ulp of |x| in the tails where the factor nears 0; tanhshrink 4 ulp of x.
         gelu is as far off as its factor 1 + erf (1 + tanh) in its neighbourhood of 0 allows: a few ulp of x, not of the result.
After    gelu: Hendrycks and Gimpel, arXiv:1606.08415
Adding   one: a row in FUNCTIONS, and a branch in the forward and backward formula of each file here.

| implementation | how | when |
|---|---|---|
| ref | NumPy in float64 | the formula |
| cy_flat | vector registers over equal slices of memory | default |
| nb_flat | the same from Numba | numba |
"""

from lamella.kernels import implementations

__getattr__ = implementations("activation")
