"""Batch normalisation over rows x channels.

    forward_train   mean = sum(x) / n,  var = sum((x - mean)^2) / n          per channel, over the n rows
                    y = (x - mean) * weight / sqrt(var + eps) + bias + residual
                    out = y, or max(0, y) with the activation relu
    forward_eval    the same out with mean and var given
    backward        of forward_train, with s = 1 / sqrt(var + eps); relu: g is 0 first where y <= 0; dresidual is that g:
                    db = sum(g),  dw = sum(g * (x - mean)) * s
                    dx = weight * s * (g - db / n - (x - mean) * s * dw / n)
    backward_eval   of forward_eval: the same dw and db, dx = weight * s * g

Shapes   x, residual, out, g, dx, dresidual (mb, channels, ...) in channels-last memory, that is n rows of channels; weight, bias, mean, var, dw,
         db (channels,). weight, bias and residual may be None: 1, 0 and 0
Mask     of relu: backward reads it from out if there is a residual, and writes dresidual; else it computes y again from x, and out and
         dresidual are None. A residual without relu has g itself as gradient: backward is asked for the problem without the residual
Safety   var is summed from differences to a mean, never as E[x^2] - E[x]^2: with mean 1e3 and std 1 that would leave float32 without a digit
After    Ioffe and Szegedy, ICML 2015; combining chunks: Chan, Golub and LeVeque, The American Statistician 37(3), 1983.

| implementation | how | when |
|---|---|---|
| ref | NumPy in float64 | the formula |
| cy_chunked | chunks of rows, vector registers over channels (several rows side by side where channels are few) | default |
| nb_chunked | the same from Numba | numba |
"""

from lamella.kernels import implementations

__getattr__ = implementations("batchnorm")
