"""2-d convolution (cross-correlation) of images in channels-last memory.

    forward           out[n, o, y, x]  = act(b[o] + sum_{c, i, j} x[n, c, y*sh - ph + i*dh, x*sw - pw + j*dw] * w[o, c, i, j])
    backward_input    dx[n, c, v, u]   = sum over o, i, j and the outputs (y, x) that read pixel (v, u) through tap (i, j) of  g[n, o, y, x] * w[o, c, i, j]
    backward_weight   dw[o, c, i, j]   = sum_{n, y, x} g[n, o, y, x] * x[n, c, y*sh - ph + i*dh, x*sw - pw + j*dw]
                      db[o]            = sum_{n, y, x} g[n, o, y, x]

Shapes   x, dx (mb, ic, ih, iw)   w, dw (oc, ic / groups, kh, kw)   b, db (oc,) or None   out, g (mb, oc, oh, ow); pixels outside x are 0
Storage  images channels-last (N, H, W, C in memory), weights C-contiguous

Both directions through the images are one computation, a *gather* (gather.pxd): an output grid whose pixels each
sum over taps of a source image, at a step. forward is one gather; backward_input with stride (sh, sw) is sh*sw gathers, one per residue
of (v, u), each with the taps that hit it: no multiplication by inserted zeros.

| implementation | how | when |
|---|---|---|
| ref | NumPy in float64, tap by tap | the formula |
| cy_direct | register tile over pixels of a row, reading the image in place (or a zero-padded band of it) | rows of the output fill the tile; large weights |
| cy_grouped | a register holds one group or several | 2, 4, 8 or 16 channels per group, as many out as in |
| cy_im2col | tiles over all pixels, gathered into panels while packing: never a whole im2col matrix | small images, many channels |
| cy_lanes | images or pixels are the lanes | up to 16 channels; gradients of up to 4 |
| cy_pixels | forward: pixels are the lanes, weights are read as they lie | few pixels, large weights |
| cy_depthwise | channels are the lanes | groups = channels in = channels out |
| cy_depthwise3x3 | the same in place, a tile of pixels by a register | 3 x 3, stride 1 or 2 |
| cy_single | lanes are the channels on the other side, two pixels of few; memory in place | 1 channel in, 5 to 64 out |
| nb_depthwise | as cy_depthwise, in place | numba |
| nb_depthwise3x3 | the same as cy_depthwise3x3 | numba |
| cy_winograd_f2 | 3 x 3 at step 1, dilated or not: 16 products for 4 pixels | many channels, few pixels |
| cy_winograd_f4 | the same: 36 products for 16 pixels | 16 channels and more, 32 in each of several groups |
| cy_winograd_rows | filters 5 wide at step 1: 8 products for 4 pixels of a row | 6 channels and more |
| nb_direct | the same as cy_direct | numba |
| nb_grouped | as cy_grouped, a permutation per run of taps | numba |
| nb_im2col | the same as cy_im2col, packed in rows | numba |
| nb_lanes | the same as cy_lanes | numba |
| nb_pixels | the same as cy_pixels | numba |
| nb_single | the same as cy_single | numba |
| nb_winograd_f2 | the same as cy_winograd_f2 | numba |
| nb_winograd_f4 | the same as cy_winograd_f4 | numba |
| nb_winograd_rows | the same as cy_winograd_rows | numba |
"""

from lamella.kernels import implementations

__getattr__ = implementations("conv2d")
