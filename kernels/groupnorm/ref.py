"""The formulas of normalisation within images, in float64."""

import numpy as np


def _sets(p, x):
    """(images, rows, groups, channels of a group)"""
    return x.astype(np.float64).reshape(p.images, p.rows, p.groups, p.channels // p.groups)


def _channels(p, v, otherwise):
    return otherwise if v is None else v.astype(np.float64).reshape(p.groups, -1)


def forward(p, x, weight, bias, out, mean, var, scratch):
    x = _sets(p, x)
    m = x.mean(axis=(1, 3), keepdims=True) if p.centred else np.zeros((p.images, 1, p.groups, 1))
    v = ((x - m) ** 2).mean(axis=(1, 3), keepdims=True)
    mean[...], var[...] = m[:, 0, :, 0], v[:, 0, :, 0]
    out[...] = ((x - m) / np.sqrt(v + p.eps) * _channels(p, weight, 1.0) + _channels(p, bias, 0.0)).reshape(out.shape)


def backward(p, g, x, weight, mean, var, dx, dw, db, scratch):
    g, s = _sets(p, g), 1 / np.sqrt(var[:, None, :, None] + p.eps)
    normal = (_sets(p, x) - mean[:, None, :, None]) * s
    dw[...] = (g * normal).sum(axis=(0, 1)).ravel()
    db[...] = g.sum(axis=(0, 1)).ravel()
    h = g * _channels(p, weight, 1.0)
    shift = h.mean(axis=(1, 3), keepdims=True) if p.centred else 0.0
    dx[...] = (s * (h - shift - normal * (h * normal).mean(axis=(1, 3), keepdims=True))).reshape(dx.shape)
