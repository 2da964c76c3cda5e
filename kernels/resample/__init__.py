"""Images of bytes in another size, by linear interpolation in fixed point: the same bits everywhere, and OpenCV's INTER_LINEAR_EXACT.

    forward   out[y, x] = (sum over a, b in {0, 1} of v[y, a] h[x, b] x[rows[y] + a, columns[x] + b] + 2^15) >> 16

Shapes     x (ih, iw), out (oh, ow), bytes
Weights    pixel x of out lies at (x + 1/2) iw / ow - 1/2 of x; h[x, 1] is the fraction of that in 1/256, h[x, 0] = 256 - h[x, 1], beyond the
           borders the border's pixel counts; v likewise (lamella.problems.ResampleProblem has the tables)

| implementation | how | when |
|---|---|---|
| ref | NumPy | the formula |
| cy_lines | two rows to one in registers, then pairs of columns | default |
| nb_lines | the same | numba |
"""

from lamella.kernels import implementations

__getattr__ = implementations("resample")
