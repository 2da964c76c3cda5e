"""Layers that change the number of pixels."""

from __future__ import annotations

from typing import Any

from lamella import functional as F
from lamella.nn.module import Module

__all__ = ["PixelShuffle", "PixelUnshuffle", "Upsample"]


class Upsample(Module):
    """Images, sequences or volumes with another number of pixels: `lamella.functional.interpolate`.

    Parameters
    ----------
    size : int or tuple of int, optional
    scale_factor : float or tuple of float, optional
    mode : {"nearest", "nearest-exact", "linear", "bilinear", "trilinear"}
    align_corners, recompute_scale_factor : bool, optional

    Examples
    --------
    >>> import lamella
    >>> Upsample(scale_factor=2, mode="bilinear")(lamella.zeros(2, 3, 4, 5)).shape
    (2, 3, 8, 10)
    """

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ):
        super().__init__()
        self.size = size
        self.scale_factor = (
            tuple(map(float, scale_factor)) if isinstance(scale_factor, (tuple, list)) else scale_factor and float(scale_factor)
        )
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Any) -> Any:
        return F.interpolate(input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor)

    def extra_repr(self) -> str:
        return (f"scale_factor={self.scale_factor!r}" if self.scale_factor is not None else f"size={self.size!r}") + f", mode={self.mode!r}"


class PixelShuffle(Module):
    """Channels become pixels: (N, C r r, H, W) to (N, C, H r, W r).

    Parameters
    ----------
    upscale_factor : int

    Examples
    --------
    >>> import lamella
    >>> PixelShuffle(2)(lamella.zeros(2, 12, 4, 4)).shape
    (2, 3, 8, 8)
    """

    def __init__(self, upscale_factor: int):
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Any) -> Any:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Pixels become channels: (N, C, H r, W r) to (N, C r r, H, W).

    Parameters
    ----------
    downscale_factor : int

    Examples
    --------
    >>> import lamella
    >>> PixelUnshuffle(2)(lamella.zeros(2, 3, 8, 8)).shape
    (2, 12, 4, 4)
    """

    def __init__(self, downscale_factor: int):
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Any) -> Any:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"
