"""Integral images: the sum of everything above and to the left of a point, from which any rectangle's sum takes four reads.

    forward   out[n, y, x]     = sum of x[n, j, i] for j < y, i < x
    squared   also squared     = the same of x * x
    tilted    also tilted[n, y, x] = sum of x[n, j, i] for j < y, |i - x + 1| <= y - j - 1: a triangle whose apex points down at (x - 1, y - 1)

Shapes     x (mb, ih, iw) C-contiguous; out, squared, tilted (mb, ih + 1, iw + 1), the conventions of OpenCV's integral
Types      of bytes, out and tilted are int32 (they wrap around, as differences of them do, so that a rectangle's sum is right wherever
           it fits itself); of floats, float64; squared always float64
Recursion  s(y, x) = s(y, x-1) + i(y, x);  ii(y, x) = ii(y-1, x) + s(y, x): one addition each (some courses print x and y exchanged in one
           of the two, which sums nothing)

| implementation | how | when |
|---|---|---|
| ref | NumPy's cumulative sums; triangles summed line by line | the formula |
| cy_scan | prefix sums in registers | default |
| nb_rows | element by element | numba |
"""

from lamella.kernels import implementations

__getattr__ = implementations("integral")
