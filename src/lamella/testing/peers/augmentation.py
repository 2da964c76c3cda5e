"""Augmentation of a batch, by lamella.data.transforms and as it is written with NumPy and SciPy: the same draws, so that the results can be compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lamella.data import transforms
from lamella.data.draws import Draws, drawing, keys
from lamella.data.transforms.plan import Plan, Transform

MEAN, STD = 0.45, 0.25


class OnGrid(transforms.RandomAffine):
    """RandomAffine with its matrix rounded to 1/256, so that the places that lamella rounds to are SciPy's."""

    def join(self, plan: Plan, draws: Draws) -> None:
        super().join(plan, draws)
        assert plan.matrix is not None
        plan.matrix = np.rint(plan.matrix * 256) / 256


@dataclass(frozen=True)
class Augmentation:
    """A pipeline over a batch of bytes."""

    steps: tuple[Transform, ...]
    shape: tuple[int, ...]
    memory: bool = False

    @property
    def bytes(self) -> float:
        return 5.0 * float(np.prod(self.shape))

    @property
    def flops(self) -> float:
        return 8.0 * float(np.prod(self.shape))

    def images(self) -> np.ndarray:
        return np.random.default_rng(0).integers(0, 256, self.shape).astype(np.uint8)

    def keys(self) -> np.ndarray:
        return keys(0, count=self.shape[0])

    def ours(self) -> Callable[[], Any]:
        pipeline = transforms.Compose([*self.steps, transforms.Normalize(MEAN, STD)])
        x, given = self.images(), self.keys()

        def call() -> np.ndarray:
            with drawing(Draws(given)):
                return pipeline(x)

        return call

    def numpys(self) -> Callable[[], Any]:
        """The same with SplitMix's numbers drawn beforehand, and as many drawn by NumPy: whole-pixel moves by padding and slicing, others by scipy.ndimage, image by image."""
        from scipy import ndimage

        x, draws = self.images(), Draws(self.keys())
        rng, plans = np.random.default_rng(0), []
        for step in self.steps:
            plans.append(Plan(x))
            step.join(plans[-1], draws)

        def call() -> np.ndarray:
            v: np.ndarray = x.astype(np.float32) / 255
            for step, plan in zip(self.steps, plans):
                rng.random((2, len(x)))
                v = _numpys_step(ndimage, step, plan, v)
            return (v - np.float32(MEAN)) / np.float32(STD)

        return call


def _numpys_step(ndimage: Any, step: Transform, plan: Plan, v: np.ndarray) -> np.ndarray:
    n, c, h, w = v.shape
    m, options = plan.matrix, plan.options
    if m is not None and isinstance(step, transforms.RandomHorizontalFlip):
        return np.where((m[:, 1, 1] < 0)[:, None, None, None], v[..., ::-1], v)
    if m is not None and isinstance(step, transforms.RandomCrop):
        p = step.padding[0]
        padded = np.pad(v, ((0, 0), (0, 0), (p, p), (p, p)))
        out = np.empty_like(v)
        for i, (y, x) in enumerate((m[:, :, 2] + p).astype(int)):
            out[i] = padded[i, :, y : y + h, x : x + w]
        return out
    if m is not None:
        out = np.empty_like(v)
        for i in range(n):
            for k in range(c):
                ndimage.affine_transform(v[i, k], m[i, :, :2], m[i, :, 2], output=out[i, k], order=1, mode="grid-constant")
        return out
    if "box" in options:
        out = v.copy()
        for i, (top, left, bottom, right) in enumerate(options["box"]):
            out[i, :, top:bottom, left:right] = options["value"]
        return out
    brightness, contrast = (options[name].astype(np.float32)[:, None, None, None] for name in ("brightness", "contrast"))
    v = (v * brightness).clip(0, 1)
    grey = v if c == 1 else np.average(v, axis=1, weights=(0.2989, 0.587, 0.114), keepdims=True).astype(np.float32)
    return (contrast * v + (1 - contrast) * grey.mean((2, 3), keepdims=True)).clip(0, 1)


def pipelines() -> dict[str, Any]:
    flip, cut = transforms.RandomHorizontalFlip(), transforms.Cutout(8)
    affine = OnGrid(15, (0.1, 0.1), (0.9, 1.1), interpolation="bilinear")
    jitter = transforms.ColorJitter(0.3, 0.3)
    recipes: dict[str, tuple[Transform, ...]] = {
        "flip": (flip,),
        "flip, crop": (flip, transforms.RandomCrop(28, padding=2)),
        "flip, crop, cutout": (flip, transforms.RandomCrop(28, padding=2), cut),
        "rotate, zoom, move": (affine,),
        "brightness, contrast": (jitter,),
        "flip, rotate, zoom, move, brightness, contrast, cutout": (flip, affine, jitter, cut),
    }
    cases = {}
    for channels, size in ((1, 28), (3, 32)):
        for name, steps in recipes.items():
            sized = tuple(transforms.RandomCrop(size, padding=s.padding[0]) if isinstance(s, transforms.RandomCrop) else s for s in steps)
            cases[f"{channels}x{size}x{size} b64 {name}"] = Augmentation(sized, (64, channels, size, size))
    return cases
