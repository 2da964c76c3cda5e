"""Matrix product with epilogue.

    forward        out = act(alpha * a @ b + beta * c + bias)
    backward_bias  db[j] = sum_i g[i, j]                            the gradient of a bias per column

Shapes   a (.., m, k)  b (.., k, n)  c, out (.., m, n)  bias (n,) per column, (m,) per row, or none; g (m, n)  db (n,)
Storage  a and b with any strides: a transposed operand is a transposed view, read in place; out and g have unit column stride. c may be out itself.
Batch    leading axes, the same for all; stride 0 where an operand serves several matrices of the batch
beta     0 never reads c.

| implementation | how | when |
|---|---|---|
| ref | np.matmul in float64 | the formula |
| cy_packed | cache blocks and the register tile of _common/tile.pxd; packed where strides are unkind; dot products and rank updates | default |
| cy_sums | column sums in registers, chunks of rows side by side | backward_bias |
| nb_packed | the same from Numba, the tile emitted as LLVM IR | numba |
| nb_sums | the same from Numba | numba, backward_bias |
"""

from lamella.kernels import implementations

__getattr__ = implementations("gemm")
