"""The formulas of arithmetic, in float64."""

import numpy as np


def forward(p, x, y, out, scratch):
    x, y = x.astype(np.float64), y.astype(np.float64)
    with np.errstate(all="ignore"):
        if p.function == "add":
            z = x + y
        elif p.function == "sub":
            z = x - y
        elif p.function == "mul":
            z = x * y
        else:
            z = x / y
    out[...] = np.where(z <= 0, 0, z) if p.activation == "relu" else z
