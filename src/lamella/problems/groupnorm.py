"""The geometry of normalisation within images."""

from __future__ import annotations

import math

import numpy as np

from lamella.problems.base import Problem


class GroupNormProblem(Problem):
    """Normalise every group of channels of each of `images` images of `rows` rows of `channels` numbers; eps is added to the variance.

    centred: subtract the mean (layer, group and instance norm); else only divide (RMS norm).
    """

    operation = "groupnorm"
    FIELDS = ("images", "rows", "channels", "groups", "centred")
    __slots__ = (*FIELDS, "eps")

    def __init__(self, images: int, rows: int, channels: int, groups: int, dtype: np.dtype, eps: float = 1e-5, centred: bool = True):
        if not (eps >= 0 and math.isfinite(eps)):
            raise ValueError(f"group_norm: expected a finite eps >= 0, got {eps}")
        if groups < 1 or channels % groups:
            raise ValueError(f"group_norm: expected num_groups to divide the {channels} channels, got {groups}")
        self.images, self.rows, self.channels, self.groups, self.dtype = images, rows, channels, groups, np.dtype(dtype)
        self.eps, self.centred = float(eps), bool(centred)
        numbers = images * rows * channels
        self.flops = 7 * numbers
        self.bytes = 3 * numbers * self.dtype.itemsize
