"""The formulas of the optimizers, in float64."""

import numpy as np


def _begin(h, g, param):
    """Gradient and parameter after the regularisation."""
    scale, decay, l1, keep = h[:4]
    w = keep * param.astype(np.float64)
    d = scale * g.astype(np.float64) + decay * w
    return (d + l1 * np.sign(w) if l1 else d), w


def _average(array, take, d):
    """array + take * (d - array), stored and returned."""
    a = array.astype(np.float64)
    a = a + take * (d - a)
    array[...] = a
    return a


def _squares(array, keep, take, d):
    """keep * array + take * d^2, stored and returned."""
    v = keep * array.astype(np.float64) + take * d * d
    array[...] = v
    return v


def sgd(p, h, g, param, buf, scratch):
    lr, momentum, take = h[4:]
    for i in range(p.count):
        d, w = _begin(h, g[i], param[i])
        if p.momentum:
            b = momentum * buf[i].astype(np.float64) + take * d
            buf[i][...] = b
            d = d + momentum * b if p.nesterov else b
        param[i][...] = w - lr * d


def adam(p, h, g, param, m, v, vmax, scratch):
    take1, beta2, take2, step, now, correction, inside, eps = h[4:]
    for i in range(p.count):
        d, w = _begin(h, g[i], param[i])
        m1 = step * _average(m[i], take1, d)
        v1 = _squares(v[i], beta2, take2, d)
        if p.amsgrad:
            v1 = np.maximum(vmax[i].astype(np.float64), v1)
            vmax[i][...] = v1
        if p.nesterov:
            m1 = m1 + now * d
        with np.errstate(divide="ignore", invalid="ignore"):
            param[i][...] = w - m1 / (np.sqrt(v1 + inside) * correction + eps)


def rms(p, h, g, param, v, mean, buf, scratch):
    lr, rho, take, momentum, inside, eps = h[4:]
    for i in range(p.count):
        d, w = _begin(h, g[i], param[i])
        u = _squares(v[i], rho, take, d)
        if p.centered:
            u = u - _average(mean[i], take, d) ** 2
        with np.errstate(divide="ignore", invalid="ignore"):
            d = d / (np.sqrt(u + inside) + eps)
        if p.momentum:
            d = momentum * buf[i].astype(np.float64) + d
            buf[i][...] = d
        param[i][...] = w - lr * d


def adamax(p, h, g, param, m, u, scratch):
    take1, beta2, step, inside, eps = h[4:]
    for i in range(p.count):
        d, w = _begin(h, g[i], param[i])
        m1 = _average(m[i], take1, d)
        u1 = np.maximum(beta2 * u[i].astype(np.float64), np.abs(d) + inside)
        u[i][...] = u1
        with np.errstate(divide="ignore", invalid="ignore"):
            param[i][...] = w - step * m1 / (u1 + eps)


def adadelta(p, h, g, param, v, delta, scratch):
    lr, rho, take, eps = h[4:]
    for i in range(p.count):
        d, w = _begin(h, g[i], param[i])
        v1 = _squares(v[i], rho, take, d)
        with np.errstate(divide="ignore", invalid="ignore"):
            d = d * (np.sqrt(delta[i].astype(np.float64) + eps) / np.sqrt(v1 + eps))
        _squares(delta[i], rho, take, d)
        param[i][...] = w - lr * d


def sign(p, h, g, param, m, scratch):
    lr, take1, take2, eps = h[4:]
    for i in range(p.count):
        d, w = _begin(h, g[i], param[i])
        if p.momentum:
            before = m[i].astype(np.float64)
            _average(m[i], take2, d)
            d = before + take1 * (d - before)
        param[i][...] = w - lr * (d / (np.abs(d) + eps) if eps else np.sign(d))
