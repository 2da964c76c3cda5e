"""The update of a parameter from its gradient, in place: one pass over memory for any combination of options.

    sgd     g <- -g                  if maximize
            g <- g + wd * p          if wd != 0
            b <- mu * b + (1 - tau) * g                                  with momentum mu and dampening tau
            p <- p - lr * (g + mu * b  if nesterov  else  b)             (without momentum: p - lr * g)

    adam    g <- -g                  if maximize
            g <- g + wd * p          if wd != 0, coupled       (Adam)
            p <- p * (1 - lr * wd)   if wd != 0, decoupled     (AdamW)
            m <- m + (1 - beta1) * (g - m)
            v <- beta2 * v + (1 - beta2) * g^2
            u <- max(u, v)           with amsgrad; otherwise u is v
            p <- p - lr / (1 - beta1^t) * m / (sqrt(u) / sqrt(1 - beta2^t) + eps)

Shapes   g, param, buf, m, v, vmax (n,): dense arrays of one memory order, in that order; param and the state are updated in place
         buf is None without momentum, vmax without amsgrad
Numbers  what changes from step to step arrives in h, float64, computed once per step by lamella.optim:
         sgd   h = lr, mu, 1 - tau, wd                               (the first step has tau = 0 and b = 0, so that b becomes g)
         adam  h = 1 - beta1, beta2, 1 - beta2, wd, 1 - lr * wd, lr / (1 - beta1^t), 1 / sqrt(1 - beta2^t), eps
Cost     sgd reads g, p, b and writes p, b; adam reads g, p, m, v (u) and writes p, m, v (u): bound by memory
After    Sutskever et al., ICML 2013; Kingma and Ba, ICLR 2015; Reddi et al., ICLR 2018; Loshchilov and Hutter, ICLR 2019; details as PyTorch's.

| implementation | how | when |
|---|---|---|
| ref | NumPy in float64 | the formula |
| cy_flat | vector registers over equal slices of memory | default |
| nb_flat | the same from Numba | numba |
"""

from lamella.kernels import implementations

__getattr__ = implementations("optimizer")
