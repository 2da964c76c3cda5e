"""Random transforms gathered into passes of `lamella.data.augment`."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.data import draws as drawn
from lamella.data.augment import augment
from lamella.data.draws import Draws

MOVED, CHANGED, NOISY, SCALED, ERASED = range(1, 6)  # the order of a pass


class Plan:
    """What one pass over a batch will do. Transforms add to it as long as the pass's order allows (`takes`)."""

    def __init__(self, images: np.ndarray):
        self.images = images
        self.size: tuple[int, int] = (images.shape[2], images.shape[3])
        self.matrix: np.ndarray | None = None
        self.mirrored_only, self.stage = True, 0
        self.options: dict[str, Any] = {}
        self.gain: Any = 1.0
        self.offset: Any = 0.0

    def __len__(self) -> int:
        return len(self.images)

    def takes(self, stage: int, mirror: bool = False) -> bool:
        """Whether a step may still join; a second move joins only where nothing has left the image before it."""
        if stage == MOVED:
            return self.stage == 0 or (self.stage == MOVED and (mirror or self.mirrored_only))
        return self.stage < stage

    def move(self, matrix: np.ndarray, size: tuple[int, int], mirror: bool = False, **options: Any) -> None:
        """The result's pixel (y, x) is now the present one's at matrix (N, 2, 3) times (y, x, 1)."""
        if self.matrix is not None:
            a, b = self.matrix, matrix
            product = a[:, :, :1] * b[:, :1] + a[:, :, 1:2] * b[:, 1:]
            product[:, :, 2] += a[:, :, 2]
            matrix = product
        self.matrix, self.size, self.stage = matrix, size, MOVED
        self.mirrored_only &= mirror
        self.options.update(options)

    def add(self, stage: int, **options: Any) -> None:
        self.stage = max(self.stage, stage)
        self.options.update(options)

    def scale(self, gain: Any, offset: Any) -> None:
        """v becomes gain v + offset; what was erased before, too."""
        self.stage = max(self.stage, SCALED)
        self.gain, self.offset = gain * self.gain, gain * self.offset + offset
        if "value" in self.options:
            self.options["value"] = gain * self.options["value"] + offset

    def run(self) -> np.ndarray:
        return augment(self.images, self.matrix, self.size, gain=self.gain, offset=self.offset, **self.options)


class Transform:
    """Base of the transforms that can share a pass."""

    stage = 0
    mirror = False

    def fits(self, plan: Plan) -> bool:
        return plan.takes(self.stage, self.mirror)

    def join(self, plan: Plan, draws: Draws) -> None:
        """Add this transform to a pass, with its random numbers."""
        raise NotImplementedError

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return run([self], images)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value}" for name, value in vars(self).items() if name[0] != "_")
        return f"{type(self).__name__}({shown})"


def run(transforms: Any, images: np.ndarray) -> np.ndarray:
    """Transforms in turn, as few passes as their order allows."""
    plan: Plan | None = None
    draws: Draws | None = None
    for transform in transforms:
        if isinstance(transform, Transform):
            draws = drawn.current(len(images)) if draws is None else draws
            if plan is not None and not transform.fits(plan):
                images, plan = plan.run(), None
            if plan is None:
                plan = Plan(_checked(transform, images))
            transform.join(plan, draws)
        elif plan is not None and hasattr(transform, "scaling") and (scaling := transform.scaling(plan.images.shape[1])):
            plan.scale(*scaling)
        else:
            images, plan = images if plan is None else plan.run(), None
            images = transform(images)
    return images if plan is None else plan.run()


def _checked(transform: Transform, images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4:
        raise ValueError(f"{type(transform).__name__}: expected images of shape (N, C, H, W), got {images.shape}; one image: image[None]")
    return images
