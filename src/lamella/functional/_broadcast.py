"""Sums that undo a broadcast."""

from __future__ import annotations

import numpy as np


def unbroadcast(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of an operand of `shape` that was broadcast to the shape of g: g itself, or its sum over the repeated axes."""
    if g.shape == shape:
        return g
    lead = g.ndim - len(shape)
    axes = (*range(lead), *(lead + i for i, n in enumerate(shape) if n == 1 and g.shape[lead + i] != 1))
    if g.dtype == np.float32 and axes:
        # NumPy adds slices one after another: past some thousand of them that costs digits in float32
        g = np.add.reduce(g, axis=axes, dtype=np.float64, keepdims=True).astype(np.float32)
    else:
        g = np.add.reduce(g, axis=axes, keepdims=True)
    return g.reshape(shape)
