"""The formulas of pooling, window by window, in float64."""

import numpy as np


def _window(p, axis, o):
    """Indices of the inputs under the o-th window along an axis, and the axis' factor of an average's divisor."""
    size, out = ((p.ih, p.oh), (p.iw, p.ow))[axis]
    if p.adaptive:
        taps = np.arange(o * size // out, -(-(o + 1) * size // out))
        return taps, len(taps)
    k, s, pad, d = ((p.kh, p.sh, p.ph, p.dh), (p.kw, p.sw, p.pw, p.dw))[axis]
    start = o * s - pad
    taps = np.array([start + d * i for i in range(k) if 0 <= start + d * i < size], dtype=np.int64)
    return taps, min(start + k, size + pad) - start if p.count_include_pad or p.kind == "lp" else len(taps)


def _windows(p):
    """For every output (i, j): its indices, the window's rows and columns, and what to divide by."""
    for i in range(p.oh):
        rows, dh = _window(p, 0, i)
        for j in range(p.ow):
            cols, dw = _window(p, 1, j)
            yield i, j, np.ix_(rows, cols), len(cols), p.divisor_override or dh * dw


def forward(p, x, out, where, scratch):
    x = x.astype(np.float64)
    result = np.empty(out.shape)
    for i, j, (rows, cols), width, divisor in _windows(p):
        w = x[:, :, rows, cols].reshape(*x.shape[:2], rows.size * cols.size)
        if p.kind == "max":
            if not w.shape[2]:  # no tap inside: only where ceil_mode meets dilation
                w = np.full((*w.shape[:2], 1), -np.inf)
                width = 1
            nan = np.isnan(w)
            last = w.shape[2] - 1 - nan[:, :, ::-1].argmax(2)
            at = np.where(nan.any(2), last, np.where(nan, -np.inf, w).argmax(2))  # the last NaN, else the first maximum
            result[:, :, i, j] = np.take_along_axis(w, at[:, :, None], 2)[:, :, 0]
            if p.indices:
                where[:, :, i, j] = at // width * p.kw + at % width
        elif p.kind == "avg":
            result[:, :, i, j] = w.sum(2) / divisor
        else:
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                result[:, :, i, j] = ((w**p.norm_type).sum(2) * (p.kh * p.kw / divisor)) ** (1 / p.norm_type)
    out[...] = result


def backward(p, g, x, out, where, dx, scratch):
    g = g.astype(np.float64)
    result = np.zeros(dx.shape)
    for i, j, (rows, cols), width, divisor in _windows(p):
        gw = g[:, :, i, j][:, :, None, None]
        if p.kind == "max":
            tap = np.arange(rows.size)[:, None] * p.kw + np.arange(width)
            result[:, :, rows, cols] += np.where(where[:, :, i, j][:, :, None, None] == tap, gw, 0)
        elif p.kind == "avg":
            result[:, :, rows, cols] += gw / divisor
        else:
            norm = out[:, :, i, j][:, :, None, None].astype(np.float64)
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                share = p.kh * p.kw / divisor * (x[:, :, rows, cols].astype(np.float64) / norm) ** (p.norm_type - 1)
            result[:, :, rows, cols] += np.where(norm == 0, 0, gw * share)
    dx[...] = result
