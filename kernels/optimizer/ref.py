"""The formulas of the optimizers, in float64."""

import numpy as np


def _gradient(p, g):
    g = g.astype(np.float64)
    return -g if p.maximize else g


def sgd(p, h, g, param, buf, scratch):
    lr, momentum, take, decay = h
    g = _gradient(p, g)
    w = param.astype(np.float64)
    if decay != 0:
        g = g + decay * w
    if p.momentum:
        b = momentum * buf.astype(np.float64) + take * g
        buf[...] = b
        g = g + momentum * b if p.nesterov else b
    param[...] = w - lr * g


def adam(p, h, g, param, m, v, vmax, scratch):
    take1, beta2, take2, decay, keep, step_size, correction, eps = h
    g = _gradient(p, g)
    w = param.astype(np.float64)
    if decay != 0:
        if p.decoupled:
            w = w * keep
        else:
            g = g + decay * w
    m1 = m.astype(np.float64)
    m1 = m1 + take1 * (g - m1)
    v1 = beta2 * v.astype(np.float64) + take2 * g * g
    m[...] = m1
    v[...] = v1
    if p.amsgrad:
        v1 = np.maximum(vmax.astype(np.float64), v1)
        vmax[...] = v1
    param[...] = w - step_size * m1 / (np.sqrt(v1) * correction + eps)
