"""The formulas of batch normalisation, in float64."""

import numpy as np


def _rows(x):
    """A view with the channels last, whatever the memory order."""
    return np.moveaxis(x, 1, -1)


def _double(v, otherwise):
    return otherwise if v is None else v.astype(np.float64)


def _normal(p, x, weight, bias, mean, var):
    return (_rows(x) - mean) * (_double(weight, 1.0) / np.sqrt(var + p.eps)) + _double(bias, 0.0)


def _normalise(p, x, weight, bias, mean, var, residual, out):
    y = _normal(p, x, weight, bias, mean, var)
    if residual is not None:
        y = y + _rows(residual)
    _rows(out)[...] = np.where(y <= 0, 0, y) if p.activation == "relu" else y


def forward_train(p, x, weight, bias, residual, out, mean, var, scratch):
    x = x.astype(np.float64)
    rows = _rows(x).reshape(-1, p.channels)
    m = rows.mean(axis=0)
    m += (rows - m).mean(axis=0)  # a sum of many numbers far from zero has lost digits that the kernels keep
    v = ((rows - m) ** 2).mean(axis=0)
    mean[...] = m
    var[...] = v
    _normalise(p, x, weight, bias, m, v, residual, out)


def forward_eval(p, x, weight, bias, mean, var, residual, out, scratch):
    _normalise(p, x.astype(np.float64), weight, bias, mean.astype(np.float64), var.astype(np.float64), residual, out)


def _sums(p, g, x, weight, bias, mean, var, out, dw, db, dresidual):
    x, mean, var = (a.astype(np.float64) for a in (x, mean, var))
    s = 1 / np.sqrt(var + p.eps)
    g = _rows(g.astype(np.float64))
    if p.activation == "relu":
        y = _rows(out) if p.residual else _normal(p, x, weight, bias, mean, var)
        g = np.where(y <= 0, 0, g)
        if p.residual:
            _rows(dresidual)[...] = g
    normal = (_rows(x) - mean) * s
    b = g.reshape(-1, p.channels).sum(axis=0)
    w = (g * normal).reshape(-1, p.channels).sum(axis=0)
    dw[...] = w
    db[...] = b
    return g, normal, s, w, b


def backward(p, g, x, weight, bias, mean, var, out, dx, dw, db, dresidual, scratch):
    g, normal, s, w, b = _sums(p, g, x, weight, bias, mean, var, out, dw, db, dresidual)
    _rows(dx)[...] = _double(weight, 1.0) * s * (g - b / p.rows - normal * w / p.rows)


def backward_eval(p, g, x, weight, bias, mean, var, out, dx, dw, db, dresidual, scratch):
    g, _, s, _, _ = _sums(p, g, x, weight, bias, mean, var, out, dw, db, dresidual)
    _rows(dx)[...] = _double(weight, 1.0) * s * g
