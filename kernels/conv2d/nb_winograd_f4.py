"""Winograd F(4x4, 3x3): 36 products for 16 pixels of the output, where the formula has 144; the Numba twin of cy_winograd_f4.

    Y = A^T [ sum over c of  (G g G^T) * (B^T d B) ] A           *: element by element; cy_winograd_f4 has the matrices
    dg = G^T [ sum over tiles of  (B^T d B) * (A dY A^T) ] G     the adjoint: backward_weight

Shapes   as cy_winograd_f4: images (mb, c, h, w) in channels-last memory, weights (oc, ic, 3, 3)
Loops    as cy_winograd_f4, tasks and blocks the same; _nb_winograd.py holds the code
Cost     36/16 multiplications per output, channel and channel, and the transforms
After    Lavin and Gray, CVPR 2016, arXiv:1509.09308; Barabasz et al., ACM TOMS 46(4), 2020, arXiv:1803.10986 (points and errors).
"""

from lamella.kernels.conv2d._nb_winograd import passes

scratch, accepts, transformed, forward, backward_input, backward_weight = passes(4)
