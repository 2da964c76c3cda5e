"""Picture files as arrays; Pillow decodes them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

MOST_PIXELS = 1 << 28


def read_picture(path: str | os.PathLike, channels: int = 3, size: tuple[int, int] | None = None, invert: bool = False) -> np.ndarray:
    """A picture file (PNG, JPEG, ...) as bytes.

    Parameters
    ----------
    path : str or path
    channels : {1, 3}
        Grey levels, or red, green, blue. Other pictures are converted; transparency becomes black. Floats of at most 1 are taken as shares of white.
    size : (int, int), optional
        Height and width to resize to.
    invert : bool
        The picture is meant dark on bright: transparency becomes white.

    Returns
    -------
    uint8 array, shape (channels, height, width)

    Raises
    ------
    RuntimeError
        Pillow is not installed.
    ValueError
        Pillow cannot read the file; the picture has more than 2**28 pixels, or floats outside of 0 to 255.

    Examples
    --------
    >>> read_picture("cat.png", size=(32, 32)).shape  # doctest: +SKIP
    (3, 32, 32)
    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        raise RuntimeError("pictures need Pillow; run: pip install 'lamella[train]'") from None
    if channels not in (1, 3):
        raise ValueError(f"{path}: expected channels 1 or 3 for pictures, got {channels}")
    try:
        with Image.open(Path(path)) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise ValueError(f"{path}: expected at most {MOST_PIXELS} pixels, got {opened.width} x {opened.height}")
            picture = ImageOps.exif_transpose(opened)
            if picture.mode.startswith("I;16") or picture.mode == "I":
                picture = Image.fromarray((np.asarray(picture, np.float64).clip(0, 65535) / 257).round().astype(np.uint8))
            if picture.mode == "F":
                picture = Image.fromarray(_bytes_of(np.asarray(picture), path))
            if picture.has_transparency_data:
                picture = picture.convert("RGBA")
                # what is transparent counts as background either way: black, of an inverted picture black after the inversion
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white" if invert else "black"), picture)
            picture = picture.convert("L" if channels == 1 else "RGB")
            if size is not None and picture.size != size[::-1]:
                shrinks = min(picture.size) > max(size)
                picture = picture.resize(size[::-1], Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC)
            pixels = np.asarray(picture)
    except (UnidentifiedImageError, SyntaxError, EOFError, OSError, Image.DecompressionBombError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path}: expected a picture Pillow can read, got {error}") from None
    return (pixels[None] if channels == 1 else np.moveaxis(pixels, -1, 0)).copy()


def _bytes_of(grey: np.ndarray, path: str | os.PathLike) -> np.ndarray:
    """Grey levels as floats, of 0 to 1 or of 0 to 255, as bytes."""
    low, high = float(grey.min()), float(grey.max())
    if not (low >= 0 and high <= 255):
        raise ValueError(f"{path}: expected grey levels between 0 and 1, or 0 and 255, got {low:g} to {high:g}")
    return (grey * (255.0 if high <= 1 else 1.0)).round().astype(np.uint8)
