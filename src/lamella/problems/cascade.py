"""Cascades over all windows of an image."""

from __future__ import annotations

import numpy as np

from lamella.problems.base import Problem


class CascadeProblem(Problem):
    """oh x ow windows of wh x ww pixels, every `step` pixels of an image of ih x iw, through a cascade of so many features and stages.

    `tilts`: whether any feature is turned by 45 degrees. `skip`: a window that fails in the first stage takes its right neighbour with it.
    """

    operation = "cascade"
    FIELDS = ("ih", "iw", "wh", "ww", "step", "oh", "ow", "features", "stages", "tilts", "skip")
    __slots__ = FIELDS

    def __init__(
        self,
        ih: int,
        iw: int,
        wh: int,
        ww: int,
        step: int,
        oh: int,
        ow: int,
        features: int,
        stages: int,
        tilts: bool,
        skip: bool,
        dtype: np.dtype,
    ):
        self.ih, self.iw, self.wh, self.ww, self.step, self.oh, self.ow = ih, iw, wh, ww, step, oh, ow
        self.features, self.stages, self.tilts, self.skip, self.dtype = features, stages, bool(tilts), bool(skip), np.dtype(dtype)
        if min(wh, ww) < 3 or min(features, stages, step, oh, ow) < 1:
            raise ValueError(
                f"cascade: expected windows of 3 x 3 pixels or more, and at least one of everything else, got {(wh, ww, features, stages, step, oh, ow)}"
            )
        if (oh - 1) * step + wh > ih or (ow - 1) * step + ww > iw:
            raise ValueError(f"cascade: {oh} x {ow} windows of {wh} x {ww} every {step} pixels do not fit an image of {ih} x {iw}")
        self.flops = oh * ow * 100
        self.bytes = 12 * ih * iw + 12 * oh * ow
