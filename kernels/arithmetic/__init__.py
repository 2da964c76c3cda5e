"""Arithmetic of two arrays, element by element.

    forward    out = act(x op y)        op one of + - * /, act the identity or relu, max(0, .)

Shapes     x, y, out (n,): any dense arrays of one memory order, as runs of memory
Backward   is made of the same operation: of + and - nothing is left to compute, of * and / it is * and /; of relu it is activation's
NaN        propagates, also through relu. Division by 0 gives inf or NaN.
Why        NumPy computes the same on one thread; and the sum with relu that ends a residual block saves one write and one read.

| implementation | how | when |
|---|---|---|
| ref | NumPy in float64 | the formula |
| cy_flat | vector registers over equal slices of memory | default |
| nb_flat | the same from Numba | numba |
"""

from lamella.kernels import implementations

__getattr__ = implementations("arithmetic")
