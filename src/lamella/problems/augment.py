"""A batch of images, augmented."""

from __future__ import annotations

import numpy as np

from lamella.problems.base import Problem

BORDERS = {"constant": 0, "edge": 1, "reflect": 2, "symmetric": 3}
STEPS = {"values": 1, "noise": 2, "erase": 4, "clip": 8}
LARGEST = 1 << 13  # pixels along a side: places have 16 of 31 bits behind the point, and are multiplied by 2


class AugmentProblem(Problem):
    """mb images of ic x ih x iw pixels (bytes: source "uint8", or numbers of the dtype: "float"; `last`: in channels-last memory) to oh x ow.

    `border` is one of BORDERS, `nearest` takes the nearest pixel instead of interpolating, `steps` is a sum of STEPS.
    """

    operation = "augment"
    FIELDS = ("mb", "ic", "ih", "iw", "oh", "ow", "last", "border", "nearest", "steps", "top")
    __slots__ = (*FIELDS, "source", "out_shape")

    def __init__(
        self, mb: int, ic: int, ih: int, iw: int, oh: int, ow: int, source: str, last: bool, border: str, nearest: bool, steps: int,
        dtype: np.dtype,
    ):  # fmt: skip
        if border not in BORDERS:
            raise ValueError(f"augment: expected border to be one of {', '.join(BORDERS)}, got {border!r}")
        if source not in ("uint8", "float"):
            raise ValueError(f"augment: expected source uint8 or float, got {source!r}")
        if mb < 0 or min(ic, ih, iw, oh, ow) < 1 or max(ih, iw, oh, ow) > LARGEST:
            raise ValueError(f"augment: expected images of 1 to {LARGEST} pixels along a side, got {(mb, ic, ih, iw)} to {(oh, ow)}")
        self.mb, self.ic, self.ih, self.iw, self.oh, self.ow = mb, ic, ih, iw, oh, ow
        self.source, self.last, self.border, self.nearest, self.steps = source, bool(last), BORDERS[border], bool(nearest), int(steps)
        self.dtype = np.dtype(dtype)
        self.top = 255 if source == "uint8" else 1  # the brightest value
        self.out_shape = (mb, ic, oh, ow)
        self.flops = 8 * mb * ic * oh * ow
        self.bytes = mb * ic * (ih * iw * (1 if source == "uint8" else self.dtype.itemsize) + oh * ow * self.dtype.itemsize)

    def has(self, pass_: str) -> bool:
        return pass_ == "forward" or (self.source == "float" and (self.ih, self.iw) == (self.oh, self.ow) and not self.steps)
