"""Winograd F(2x2, 3x3): 16 products for 4 pixels of the output, where the formula has 36; the Numba twin of cy_winograd_f2.

    Y = A^T [ sum over c of  (G g G^T) * (B^T d B) ] A           *: element by element; cy_winograd_f2 has the matrices

Shapes   as nb_winograd_f4, with 16 for 36
Loops    as nb_winograd_f4
Cost     16/4 multiplications per output, channel and channel, and the transforms
After    Lavin and Gray, CVPR 2016, arXiv:1509.09308.
"""

from lamella.kernels.conv2d._nb_winograd import passes

scratch, accepts, transformed, forward, backward_input, backward_weight = passes(2)
