"""Images turned, moved, changed in their values, erased in part, and mixed: what augmentation does to a batch, in one pass over each image.

    forward   v[c, y, x] = image c at row yy y + yx x + y0, column xy y + xx x + x0              (linear between pixels, or the nearest)
              v = min(max(brightness v, 0), top);  v = min(max(contrast v + (1 - contrast) mean, 0), top)      (VALUES)
              v = v + noise z(key, element), between 0 and top if CLIP                                         (NOISE)
              out = gain[c] v + offset[c], erased[c] inside the box                                            (ERASE)
    mix       out[n] = weight[n] x[n] + (1 - weight[n]) x[partner[n]] inside the box of image n, x[n] outside of it

Shapes     x (mb, ic, ih, iw) of bytes or floats, C-contiguous or channels-last; out (mb, ic, oh, ow), floats, channels-last (of mix: as x)
           matrix (mb, 6) int32, yy yx y0 xy xx x0 in 1/65536 of a pixel; values (mb, 3): brightness, contrast, noise; key (mb,) int64;
           normal (4096,): normal quantiles over sqrt(2); erase, box (mb, 4) int32: top, left, bottom, right; channels (4, ic): fill, gain, offset, erased
Places     whole-number arithmetic in 1/65536 of a pixel, weights rounded to 1/256: every implementation finds the same places and weights, and what it
           makes of bytes before gain and offset is exact, so it has the same bits everywhere
Borders    CONSTANT: fill[c]; EDGE: the nearest pixel; REFLECT: mirrored at the middle of the border's pixel; SYMMETRIC: at its edge
Mean       over all channels; of three, 0.2989 red + 0.587 green + 0.114 blue
Noise      z = normal[h & 4095] + normal[h >> 12 & 4095], h = mix(mix(e * 0x9e3779b9 + low) ^ high) for element e = (c oh + y) ow + x and the
           key's halves; mix is the finaliser of MurmurHash3: a counter, so no element waits for another, and threads change nothing

| implementation | how | when |
|---|---|---|
| ref | NumPy | the formula |
| cy_images | an image at a time through memory that the first cache level holds; whole-pixel moves copy rows | default |
| nb_images | the same | numba |
"""

from lamella.kernels import implementations

__getattr__ = implementations("augment")
