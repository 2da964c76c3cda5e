"""Elementwise activations, exp, log and erf, and their derivatives.

    forward    out = f(x)
    backward   dx = g * f'(x)      computed from the output where that is enough: `y` is f(x)

    relu         max(x, 0)                        f' = 0 where y <= 0, else 1 (also for NaN, as in PyTorch)
    leaky_relu   x if x > 0 else slope * x        f' = 1 if x > 0 else slope
    sigmoid      1 / (1 + exp(-x))                f' = y (1 - y)
    tanh         tanh(x)                          f' = 1 - y^2
    exp          e^x                              f' = y
    log          log(x), -inf at 0, NaN below     f' = 1 / x
    erf          2 / sqrt(pi) int_0^x e^(-s^2)    f' = 2 / sqrt(pi) e^(-x^2)
    gelu         x Phi(x) = x (1 + erf(x / sqrt(2))) / 2                          f' = Phi(x) + x phi(x), phi = Phi'
    gelu_tanh    x (1 + tanh u) / 2, u = sqrt(2 / pi) (x + 0.044715 x^3)          f' = (1 + h + x (1 - h^2) u') / 2, h = tanh u

Shapes   x, out, g, dx (n,): any dense array, in memory order. `saved` is x or y: column `saves` of lamella.problems.activation.FUNCTIONS.
NaN      propagates.
Bounds   exp, log 2 ulp; sigmoid, tanh, erf 4 ulp (_common/vmath.pxd, _common/nb_math.py); results that would be denormal may be 0.
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
