"""Matrix product with epilogue.

    out = act(alpha * a @ b + beta * c + bias)

Shapes   a (.., m, k)  b (.., k, n)  c, out (.., m, n)  bias (n,) per column, (m,) per row, or none
Storage  a and b with any strides: a transposed operand is a transposed view, read in place; out has unit column stride. c may be out itself.
Batch    leading axes, the same for all; stride 0 where an operand serves several matrices of the batch
beta     0 never reads c.

| implementation | how | when |
|---|---|---|
| ref | np.matmul in float64 | the formula |
| cy_packed | cache blocks and the register tile of _common/tile.pxd; packed where strides are unkind; dot products and rank updates | default |
| nb_packed | the same from Numba, the tile emitted as LLVM IR | numba |
"""

from lamella.kernels import implementations

__getattr__ = implementations("gemm")
