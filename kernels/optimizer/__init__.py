"""The update of parameters from their gradients, in place: one pass over memory for all parameters and any combination of options.

Every pass begins with the regularisation, and every sum of squares is divided by through two epsilons, inside and outside the root:

              p <- keep * p
              g <- scale * g + wd * p + l1 * sign(p)
              root(x) = sqrt(x + inside) * c + eps

    sgd       b <- mu * b + take * g                                          with momentum mu
              p <- p - lr * (g + mu * b  if nesterov  else  b)                (without momentum: p - lr * g)

    adam      m <- m + (1 - beta1) * (g - m)
              v <- beta2 * v + (1 - beta2) * g^2
              u <- max(u, v)           with amsgrad; otherwise u is v
              p <- p - step * m / root(u)                                     nesterov: (step * m + now * g) / root(u)

    rms       v <- rho * v + take * g^2
              a <- a + take * (g - a)                                         with centered; root(v - a^2) instead of root(v)
              b <- mu * b + g / root(v)                                       with momentum
              p <- p - lr * (b  or  g / root(v))

    adamax    m <- m + (1 - beta1) * (g - m)
              u <- max(beta2 * u, |g| + inside)
              p <- p - step * m / (u + eps)

    adadelta  v <- rho * v + (1 - rho) * g^2
              d <- g * sqrt(a + eps) / sqrt(v + eps)
              a <- rho * a + (1 - rho) * d^2
              p <- p - lr * d

    sign      d <- m + take1 * (g - m)                                        with momentum; otherwise d is g
              m <- m + take2 * (g - m)
              p <- p - lr * (d / (|d| + eps)  or, if eps = 0,  sign(d))

Serves   sgd: SGD in all its conventions; adam: Adam, AdamW, NAdam (nesterov), RAdam; rms: Adagrad (rho = take = 1), RMSprop; sign: Lion, normalised
         gradient descent
Shapes   g, param and the state (b, m, v, a, u): lists of p.count arrays; array i of each has p.sizes[i] elements in one block of memory, in one order
         of axes; param and the state are updated in place. State that no option asks for is None
Numbers  what changes from step to step arrives in h, float64, computed once per step by lamella.optim; scale is negative to ascend, and
         below 1 where gradients are clipped. h = scale, wd, l1, keep, and then
         sgd       lr, mu, take                                       (take is 1 in the first step of a damped momentum, so that b becomes g)
         adam      1 - beta1, beta2, 1 - beta2, step, now, c, inside, eps            (the corrections of bias are in step, now and c)
         rms       lr, rho, take, mu, inside, eps                                    (c = 1)
         adamax    1 - beta1, beta2, step, inside, eps
         adadelta  lr, rho, 1 - rho, eps
         sign      lr, take1, take2, eps
Loops    tasks are equal slices of all elements, counted through all parameters: many small parameters cost one call and no thread waits
         for a large one. p.starts finds the parameter of an element
Cost     g, param and the state are read, param and the state written, once: bound by memory
After    Sutskever et al., ICML 2013; Duchi et al., JMLR 2011; Tieleman and Hinton, 2012; Zeiler, arXiv:1212.5701; Kingma and Ba, ICLR 2015; Dozat, 2016;
         Reddi et al., ICLR 2018; Loshchilov and Hutter, ICLR 2019; Liu et al., ICLR 2020; Chen et al., NeurIPS 2023; details as PyTorch's.

| implementation | how | when |
|---|---|---|
| ref | NumPy in float64 | the formula |
| cy_flat | vector registers over equal slices of all elements | default |
| nb_flat | the same from Numba | numba |
"""

from lamella.kernels import implementations

__getattr__ = implementations("optimizer")
