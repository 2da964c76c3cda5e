"""Recurrent layers in NumPy, float64: the formulas of the manual page, step by step."""

import numpy as np


def _sigmoid(x):
    return 0.5 * (1 + np.tanh(0.5 * x))


def _order(p):
    return range(p.length - 1, -1, -1) if p.reverse else range(p.length)


def _rows(p, steps, t):
    """The rows of step t, one per sequence that is so long."""
    return steps[0, t] + p.stride * np.arange(steps[1, t])


def _split(p, x):
    return np.split(x, p.gates, axis=1)


def forward(p, w, b, h0, c0, steps, out, kept, cn, gates, scratch):
    h = np.array(h0, np.float64)
    c = None if c0 is None else np.array(c0, np.float64)
    weights = np.split(np.asarray(w, np.float64), p.gates)
    for t in _order(p):
        at = _rows(p, steps, t)
        m = len(at)
        a = _split(p, gates[at].astype(np.float64))
        s = [h[:m] @ v.T for v in weights]
        if p.cell == "rnn_tanh":
            new = np.tanh(a[0] + s[0])
        elif p.cell == "rnn_relu":
            new = np.maximum(a[0] + s[0], 0)
        elif p.cell == "lstm":
            i, f, g, o = (np.tanh(x + y) if q == 2 else _sigmoid(x + y) for q, (x, y) in enumerate(zip(a, s)))
            c[:m] = f * c[:m] + i * g
            new = o * np.tanh(c[:m])
            gates[at], kept[at] = np.hstack([i, f, g, o]), c[:m]
        else:
            r, z = _sigmoid(a[0] + s[0]), _sigmoid(a[1] + s[1])
            if p.cell == "gru":
                kept[at] = s[2] if b is None else s[2] + b
                n = np.tanh(a[2] + r * kept[at])
            else:
                kept[at] = r * h[:m]
                n = np.tanh(a[2] + kept[at] @ weights[2].T)
            new = (1 - z) * n + z * h[:m]
            gates[at] = np.hstack([r, z, n])
        out[at] = h[:m] = new
    if cn is not None:
        cn[...] = c


def backward(p, g, dcn, w, gates, out, kept, h0, c0, steps, da, dkept, dh0, dc0, scratch):
    dh = np.zeros(h0.shape)
    dc = None if c0 is None else np.zeros(h0.shape) if dcn is None else np.array(dcn, np.float64)
    weights = np.split(np.asarray(w, np.float64), p.gates)
    order = list(_order(p))
    for i in range(p.length - 1, -1, -1):
        t = order[i]
        at = _rows(p, steps, t)
        m = len(at)
        before, cell_before = np.array(h0[:m], np.float64), None if c0 is None else np.array(c0[:m], np.float64)
        if i > 0:
            known = min(m, steps[1, order[i - 1]])  # the others begin here
            earlier = _rows(p, steps, order[i - 1])[:known]
            before[:known] = out[earlier]
            if cell_before is not None:
                cell_before[:known] = kept[earlier]
        d = dh[:m] + g[at]
        y = out[at].astype(np.float64)
        if p.cell == "rnn_tanh":
            to_w = from_a = [d * (1 - y * y)]
            dh[:m] = 0
        elif p.cell == "rnn_relu":
            to_w = from_a = [np.where(y > 0, d, 0)]
            dh[:m] = 0
        elif p.cell == "lstm":
            gi, gf, gg, go = _split(p, gates[at])
            c = np.tanh(kept[at])
            dc[:m] += d * go * (1 - c * c)
            to_w = from_a = [
                dc[:m] * gg * gi * (1 - gi), dc[:m] * cell_before * gf * (1 - gf), dc[:m] * gi * (1 - gg * gg), d * c * go * (1 - go)
            ]  # fmt: skip
            dc[:m] *= gf
            dh[:m] = 0
        else:
            r, z, n = _split(p, gates[at])
            dn, dz = d * (1 - z) * (1 - n * n), d * (before - n) * z * (1 - z)
            dh[:m] = d * z
            if p.cell == "gru":
                dr = dn * kept[at] * r * (1 - r)
                to_w = [dr, dz, dn * r]
                dkept[at] = to_w[2]
            else:
                dq = dn @ weights[2]
                dr = dq * before * r * (1 - r)
                dh[:m] += dq * r
                to_w = [dr, dz]
            from_a = [dr, dz, dn]
        dh[:m] += sum(x @ v for x, v in zip(to_w, weights))
        da[at] = np.hstack(from_a)
    dh0[...] = dh
    if dc0 is not None:
        dc0[...] = dc
