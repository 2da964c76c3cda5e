"""Eigenvalues and eigenvectors of symmetric matrices, without LAPACK, whose threads would take our cores."""

from __future__ import annotations

import math

import numpy as np


def symmetric_eigen(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """a = v.T diag(w) v: the eigenvalues w, falling, and the eigenvectors as the rows of v.

    Householder's reduction to three diagonals, then the QL algorithm with implicit shifts; O(n**3), some seconds for n = 784.

    Source: Wilkinson, Reinsch, Handbook for Automatic Computation, volume 2, 1971: tred2, tql2.
    """
    n = len(a)
    a = np.array(a, np.float64)
    v = np.eye(n)
    for k in range(n - 2):
        column = a[k + 1 :, k].copy()
        norm = math.sqrt(float((column * column).sum()))
        if norm == 0.0 or not column[1:].any():
            continue
        column[0] += math.copysign(norm, column[0])
        column *= math.sqrt(2.0 / float((column * column).sum()))  # I - column column.T reflects
        part = a[k + 1 :, k + 1 :]
        p = (part * column).sum(1)
        q = p - (0.5 * float((column * p).sum())) * column
        part -= np.multiply.outer(column, q)
        part -= np.multiply.outer(q, column)
        a[k + 1 :, k] = a[k, k + 1 :] = 0.0
        a[k + 1, k] = a[k, k + 1] = -math.copysign(norm, column[0])
        rows = v[k + 1 :]
        rows -= np.multiply.outer(column, (rows * column[:, None]).sum(0))
    d, e = np.diagonal(a).tolist(), [*np.diagonal(a, 1).tolist(), 0.0]
    for low in range(n):
        for _ in range(60):
            m = low
            while m < n - 1 and abs(e[m]) > 2.0**-52 * (abs(d[m]) + abs(d[m + 1])):
                m += 1
            if m == low:
                break
            g = (d[low + 1] - d[low]) / (2.0 * e[low])
            g = d[m] - d[low] + e[low] / (g + math.copysign(math.hypot(g, 1.0), g))
            s, c, p1 = 1.0, 1.0, 0.0
            for i in range(m - 1, low - 1, -1):
                f, b = s * e[i], c * e[i]
                r = math.hypot(f, g)
                e[i + 1] = r
                if r == 0.0:
                    d[i + 1] -= p1
                    e[m] = 0.0
                    break
                s, c = f / r, g / r
                g = d[i + 1] - p1
                r = (d[i] - g) * s + 2.0 * c * b
                p1 = s * r
                d[i + 1] = g + p1
                g = c * r - b
                upper, lower = v[i + 1], v[i]
                turned = s * lower + c * upper
                v[i] = c * lower - s * upper
                v[i + 1] = turned
            else:
                d[low] -= p1
                e[low], e[m] = g, 0.0
        else:
            raise RuntimeError("symmetric_eigen: no convergence; does the matrix hold NaN or infinities?")
    order = np.argsort(d)[::-1]
    return np.array(d)[order], v[order]
