"""The formulas of augmentation."""

import numpy as np

ONE, GREY = 1 << 16, (0.2989, 0.587, 0.114)
VALUES, NOISE, ERASE, CLIP = 1, 2, 4, 8
CONSTANT, EDGE, REFLECT, SYMMETRIC = range(4)


def placed(at, n, border):
    """Places, in 1/65536 of a pixel, that lie beyond the n pixels brought to where their value stands."""
    if border == CONSTANT:
        return np.clip(at, -ONE, n * ONE)
    if border in (REFLECT, SYMMETRIC):
        half = ONE // 2 if border == SYMMETRIC else 0
        length = n * ONE if border == SYMMETRIC else (n - 1) * ONE
        at = (at + half) % max(2 * length, 1)
        at = np.where(at > length, 2 * length - at, at) - half
    return np.clip(at, 0, (n - 1) * ONE)


def sampled(p, image, matrix, fill):
    y, x = np.arange(p.oh)[:, None], np.arange(p.ow)
    yy, yx, y0, xy, xx, x0 = (int(m) for m in matrix)
    rows, columns = placed(yy * y + yx * x + y0, p.ih, p.border), placed(xy * y + xx * x + x0, p.iw, p.border)
    rows, columns = rows + (ONE // 2 if p.nearest else 128), columns + (ONE // 2 if p.nearest else 128)
    v, h = ((at >> 8 & 255) / 256.0 * (not p.nearest) for at in (rows, columns))
    i, j = (rows >> 16) + 1, (columns >> 16) + 1
    out = np.empty((p.ic, p.oh, p.ow))
    for c in range(p.ic):
        plane = np.full((p.ih + 3, p.iw + 3), float(fill[c]))
        plane[1 : p.ih + 1, 1 : p.iw + 1] = image[c]
        upper = plane[i, j] + h * (plane[i, j + 1] - plane[i, j])
        lower = plane[i + 1, j] + h * (plane[i + 1, j + 1] - plane[i + 1, j])
        out[c] = upper + v * (lower - upper)
    return out


def mixed(h):
    h = h ^ (h >> np.uint32(16))
    h = h * np.uint32(0x85EBCA6B)
    h = h ^ (h >> np.uint32(13))
    h = h * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))


def noise(p, key, normal):
    low, high = np.uint32(int(key) & 0xFFFFFFFF), np.uint32(int(key) >> 32 & 0xFFFFFFFF)
    e = np.arange(p.ic * p.oh * p.ow, dtype=np.uint32).reshape(p.ic, p.oh, p.ow)
    h = mixed(mixed(e * np.uint32(0x9E3779B9) + low) ^ high)
    return normal[h & 4095] + normal[h >> 12 & 4095]


def forward(p, x, matrix, values, key, normal, erase, channels, out, scratch):
    fill, gain, offset, erased = channels.astype(np.float64)
    for n in range(p.mb):
        v = sampled(p, x[n].astype(np.float64), matrix[n], fill)
        if p.steps & VALUES:
            brightness, contrast = (float(f) for f in values[n, :2])
            v = np.clip(brightness * v, 0, p.top)
            mean = (v.mean((1, 2)) * GREY).sum() if p.ic == 3 else v.mean()
            v = np.clip(contrast * v + (1 - contrast) * mean, 0, p.top)
        if p.steps & NOISE:
            v = v + float(values[n, 2]) * noise(p, key[n], normal)
            if p.steps & CLIP:
                v = np.clip(v, 0, p.top)
        v = gain[:, None, None] * v + offset[:, None, None]
        if p.steps & ERASE:
            top, left, bottom, right = erase[n]
            v[:, top:bottom, left:right] = erased[:, None, None]
        out[n] = v


def mix(p, x, partner, weight, box, out, scratch):
    out[...] = x
    for n in range(p.mb):
        top, left, bottom, right = box[n]
        a, b = (x[i, :, top:bottom, left:right].astype(np.float64) for i in (n, partner[n]))
        out[n, :, top:bottom, left:right] = weight[n] * a + (1 - float(weight[n])) * b
