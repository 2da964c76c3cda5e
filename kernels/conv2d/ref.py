"""The formulas of the convolution, tap by tap, in float64."""

import numpy as np


def _padded(p, x):
    bottom = max((p.oh - 1) * p.sh + (p.kh - 1) * p.dh + 1 - p.ph - p.ih, 0)
    right = max((p.ow - 1) * p.sw + (p.kw - 1) * p.dw + 1 - p.pw - p.iw, 0)
    return np.pad(x.astype(np.float64), ((0, 0), (0, 0), (p.ph, bottom), (p.pw, right)))


def _taps(p):
    """(i, j, the pixels of the padded image that tap (i, j) reads)"""
    for i in range(p.kh):
        for j in range(p.kw):
            rows = slice(i * p.dh, i * p.dh + (p.oh - 1) * p.sh + 1, p.sh)
            columns = slice(j * p.dw, j * p.dw + (p.ow - 1) * p.sw + 1, p.sw)
            yield i, j, (slice(None), slice(None), slice(None), rows, columns)


def _grouped(p, x):
    """(N, C, H, W) as (N, groups, C / groups, H, W)"""
    return x.reshape(x.shape[0], p.groups, x.shape[1] // p.groups, *x.shape[2:])


def forward(p, x, w, b, out, scratch):
    x = _grouped(p, _padded(p, x))
    w = w.astype(np.float64).reshape(p.groups, p.oc // p.groups, *p.w_shape[1:])
    y = np.zeros((p.mb, p.groups, p.oc // p.groups, p.oh, p.ow))
    for i, j, window in _taps(p):
        y += np.einsum("ngchw,goc->ngohw", x[window], w[..., i, j])
    y = y.reshape(p.out_shape)
    if b is not None:
        y += b.astype(np.float64)[:, None, None]
    if p.activation == "relu":
        y = np.where(y < 0, 0, y)
    elif p.activation == "leaky_relu":
        y = np.where(y > 0, y, p.slope * y)
    elif p.activation == "sigmoid":
        with np.errstate(over="ignore"):
            y = 1 / (1 + np.exp(-y))
    elif p.activation == "tanh":
        y = np.tanh(y)
    out[...] = y


def backward_input(p, g, w, dx, scratch):
    g = _grouped(p, g.astype(np.float64))
    w = w.astype(np.float64).reshape(p.groups, p.oc // p.groups, *p.w_shape[1:])
    full = _grouped(p, _padded(p, np.zeros(p.x_shape)))
    for i, j, window in _taps(p):
        full[window] += np.einsum("ngohw,goc->ngchw", g, w[..., i, j])
    dx[...] = full.reshape(p.mb, p.ic, *full.shape[3:])[:, :, p.ph : p.ph + p.ih, p.pw : p.pw + p.iw]


def backward_weight(p, x, g, dw, db, scratch):
    x = _grouped(p, _padded(p, x))
    g = _grouped(p, g.astype(np.float64))
    y = np.zeros((p.groups, p.oc // p.groups, *p.w_shape[1:]))
    for i, j, window in _taps(p):
        y[..., i, j] = np.einsum("ngohw,ngchw->goc", g, x[window])
    dw[...] = y.reshape(p.w_shape)
    if db is not None:
        db[...] = g.sum((0, 3, 4)).reshape(p.oc)
