"""The update of parameters from their gradients, in place: one pass over memory for all parameters and any combination of options.

    sgd     g <- scale * g
            g <- g + wd * p          if wd != 0
            b <- mu * b + (1 - tau) * g                                  with momentum mu and dampening tau
            p <- p - lr * (g + mu * b  if nesterov  else  b)             (without momentum: p - lr * g)

    adam    g <- scale * g
            g <- g + wd * p          if wd != 0, coupled       (Adam)
            p <- p * (1 - lr * wd)   if wd != 0, decoupled     (AdamW)
            m <- m + (1 - beta1) * (g - m)
            v <- beta2 * v + (1 - beta2) * g^2
            u <- max(u, v)           with amsgrad; otherwise u is v
            p <- p - lr / (1 - beta1^t) * m / (sqrt(u) / sqrt(1 - beta2^t) + eps)

Shapes   g, param, buf, m, v, vmax: lists of p.count arrays; array i of each has p.sizes[i] elements in one block of memory, in one order
         of axes; param and the state are updated in place. buf is None without momentum, vmax without amsgrad
Numbers  what changes from step to step arrives in h, float64, computed once per step by lamella.optim; scale is negative to ascend, and
         below 1 where gradients are clipped:
         sgd   h = scale, lr, mu, 1 - tau, wd                        (the first step has tau = 0 and b = 0, so that b becomes g)
         adam  h = scale, 1 - beta1, beta2, 1 - beta2, wd, 1 - lr * wd, lr / (1 - beta1^t), 1 / sqrt(1 - beta2^t), eps
Loops    tasks are equal slices of all elements, counted through all parameters: many small parameters cost one call and no thread waits
         for a large one. p.starts finds the parameter of an element
Cost     sgd reads g, p, b and writes p, b; adam reads g, p, m, v (u) and writes p, m, v (u): bound by memory
After    Sutskever et al., ICML 2013; Kingma and Ba, ICLR 2015; Reddi et al., ICLR 2018; Loshchilov and Hutter, ICLR 2019; details as PyTorch's.

| implementation | how | when |
|---|---|---|
| ref | NumPy in float64 | the formula |
| cy_flat | vector registers over equal slices of all elements | default |
| nb_flat | the same from Numba | numba |
"""

from lamella.kernels import implementations

__getattr__ = implementations("optimizer")
