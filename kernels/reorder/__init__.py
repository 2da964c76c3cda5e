"""A batch of matrices transposed: the copy between C-contiguous and channels-last memory.

    forward    out[n, j, i] = x[n, i, j]

Shapes     x (mb, rows, cols), out (mb, cols, rows), both C-contiguous. An array (N, C, H, W) in C order is mb = N, rows = C, cols = H * W,
           the same in channels-last memory mb = N, rows = H * W, cols = C.
Copies     bits: NaN payloads survive.

| implementation | how | when |
|---|---|---|
| ref | NumPy | the formula |
| cy_blocked | squares of registers transposed by shuffles, strips of the longer side as tasks | default |
| nb_blocked | blocks that fit the first cache level | numba |
"""

from lamella.kernels import implementations

__getattr__ = implementations("reorder")
