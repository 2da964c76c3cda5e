"""The formulas of the optimizers, in float64."""

import numpy as np


def sgd(p, h, g, param, buf, scratch):
    scale, lr, momentum, take, decay = h
    for i in range(p.count):
        d = scale * g[i].astype(np.float64)
        w = param[i].astype(np.float64)
        if decay != 0:
            d = d + decay * w
        if p.momentum:
            b = momentum * buf[i].astype(np.float64) + take * d
            buf[i][...] = b
            d = d + momentum * b if p.nesterov else b
        param[i][...] = w - lr * d


def adam(p, h, g, param, m, v, vmax, scratch):
    scale, take1, beta2, take2, decay, keep, step_size, correction, eps = h
    for i in range(p.count):
        d = scale * g[i].astype(np.float64)
        w = param[i].astype(np.float64)
        if decay != 0:
            if p.decoupled:
                w = w * keep
            else:
                d = d + decay * w
        m1 = m[i].astype(np.float64)
        m1 = m1 + take1 * (d - m1)
        v1 = beta2 * v[i].astype(np.float64) + take2 * d * d
        m[i][...] = m1
        v[i][...] = v1
        if p.amsgrad:
            v1 = np.maximum(vmax[i].astype(np.float64), v1)
            vmax[i][...] = v1
        param[i][...] = w - step_size * m1 / (np.sqrt(v1) * correction + eps)
