"""Elementwise activations, exp and log, and their derivatives.

    forward    out = f(x)
    backward   dx = g * f'(x)      computed from the output where that is enough: `y` is f(x)

    relu         max(x, 0)                        f' = 0 where y <= 0, else 1 (also for NaN, as in PyTorch)
    leaky_relu   x if x > 0 else slope * x        f' = 1 if x > 0 else slope
    sigmoid      1 / (1 + exp(-x))                f' = y (1 - y)
    tanh         tanh(x)                          f' = 1 - y^2
    exp          e^x                              f' = y
    log          log(x), -inf at 0, NaN below     f' = 1 / x

Shapes   x, out, g, dx (n,): any dense array, in memory order. `saved` is x or y: column `saves` of lamella.problems.activation.FUNCTIONS.
NaN      propagates.
Bounds   exp, log 2 ulp; sigmoid, tanh 4 ulp (_common/vmath.pxd, _common/nb_math.py); results that would be denormal may be 0.
Adding   one: a row in FUNCTIONS, and a branch in the forward and backward formula of each file here.

| implementation | how | when |
|---|---|---|
| ref | NumPy in float64 | the formula |
| cy_flat | vector registers over equal slices of memory | default |
| nb_flat | the same from Numba | numba |
"""

from lamella.kernels import implementations

__getattr__ = implementations("activation")
