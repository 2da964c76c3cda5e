"""Normalisation within images: layer norm, group norm, instance norm and RMS norm are one operation.

An image is `rows` rows of `channels` numbers, the channels divided into `groups` of neighbours; all rows of a group together count as one set of
n = rows * channels / groups numbers:

    forward    mean = sum(x) / n,  var = sum((x - mean)^2) / n       of every set; not centred (RMS norm): mean = 0
               out = (x - mean) * weight / sqrt(var + eps) + bias
    backward   with s = 1 / sqrt(var + eps), h = g * weight, xn = (x - mean) * s:
               dx = s * (h - sum(h) / n - xn * sum(h * xn) / n)      not centred: without sum(h) / n
               dw = sum(g * xn),  db = sum(g)                        over all images and rows

Shapes   x, out, g, dx (images, rows, channels), C-contiguous; weight, bias, dw, db (channels,), weight and bias may be None: 1 and 0;
         mean, var (images, groups), in float64 whatever the dtype: what backward subtracts is what forward did
Layer    images of one row and one group: LayerNorm, RMSNorm
Group    images (N, C, H, W) in channels-last memory have H * W rows; instance norm has as many groups as channels
After    Ba, Kiros, Hinton, arXiv:1607.06450; Wu and He, ECCV 2018; Ulyanov, Vedaldi, Lempitsky, arXiv:1607.08022; Zhang and Sennrich, NeurIPS 2019.

| implementation | how | when |
|---|---|---|
| ref | NumPy in float64 | the formula |
| cy_images | images in parallel; one row: vector registers along it, else registers over columns | default |
| nb_images | the same from Numba | numba |
"""

from lamella.kernels import implementations

__getattr__ = implementations("groupnorm")
