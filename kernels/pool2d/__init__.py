"""Pooling: every output is the maximum, average or Lp norm of a window of its channel's plane.

    forward    max   out[i, j] = max_t x[t]                    where[i, j] = number of the tap t that was the maximum
               avg   out[i, j] = sum_t x[t] / div[i, j]
               lp    out[i, j] = (f[i, j] sum_t x[t]^q)^(1/q)  f = kh kw / (taps of the window that ceil_mode left inside the plane)
    backward   max   dx[t] = sum of g[i, j] over the windows in which t was the maximum
               avg   dx[t] = sum_ij g[i, j] / div[i, j]        over the windows that hold t
               lp    dx[t] = sum_ij f[i, j] g[i, j] (x[t] / out[i, j])^(q - 1); windows with out = 0 give 0

Shapes     x, dx (mb, c, ih, iw); out, g, where (mb, c, oh, ow); all in channels-last memory. Arrays a kind does not need are None
           (`where`: of size 0). `where` holds uint8 up to 256 taps, int32 above: an eighth of an int64 index' memory traffic.
Windows    regular (stride, padding, dilation, ceil mode) and adaptive ones are the same to the kernels: the problem's table says for every
           output row and column its first tap inside the input, the number of taps and the divisor, and for every input row and
           column the outputs and taps it belongs to (the transposed list).
Taps       are numbered r * kw + s from the first one inside the input; padding is never looked at.
Backward   *gathers*: every element of dx is computed once, by one task, from the windows that cover it, in rising order. Overlapping windows need no
           atomic addition and no zeroed dx, and the result does not depend on the number of threads.
NaN        in a window makes its maximum NaN; the last NaN is the place of it; without one, the first of equal maxima (as PyTorch).

| implementation | how | when |
|---|---|---|
| ref | NumPy in float64, window by window | the formula |
| cy_last | vector registers over the channels of channels-last memory | default |
| nb_last | the same from Numba | numba |
"""

from lamella.kernels import implementations

__getattr__ = implementations("pool2d")
