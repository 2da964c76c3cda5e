"""Winograd F(2x2, 3x3): 16 products for 4 pixels of the output, where the formula has 36. Everything else is in cy_winograd_f4.

    Y = A^T [ sum over c of  (G g G^T) * (B^T d B) ] A           *: element by element; d 4 x 4 pixels, g 3 x 3 weights, Y 2 x 2 pixels

           1   0  -1   0           1    0    0
    B^T =  0   1   1   0     G =  1/2  1/2  1/2     A^T =  1  1   1   0       interpolation at 0, 1, -1 and infinity
           0  -1   1   0          1/2 -1/2  1/2            0  1  -1   1
           0  -1   0   1           0    0    1

Shapes   as cy_winograd_f4, with 16 for 36
Loops    as cy_winograd_f4
Error    float32, 512 channels: at most 1e-5 of max|y| (measured 9e-7), float64 3e-15
Gains    over F(4x4) where making U costs most: few pixels, many channels
After    Lavin and Gray, CVPR 2016, arXiv:1509.09308.
"""
cdef enum:
    M = 2

include "winograd.pxi"
