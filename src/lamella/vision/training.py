"""Attentional cascades from examples: each stage is boosted on what the stages before it let through."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lamella.vision import stumps
from lamella.vision.haar import HaarFeatures, haar_features
from lamella.vision.integral import grey
from lamella.vision.levels import resized

SAMPLES = 1 << 20  # most windows of a stage


class Detector(Protocol):
    """What training needs of a cascade."""

    def windows(self, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...
    def predict(self, windows: np.ndarray) -> np.ndarray: ...
    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Stage:
    """How a stage of a cascade was trained.

    Attributes
    ----------
    trees : int
    detection_rate : float
        Share of the objects that pass this stage and all before it.
    false_positive_rate : float
        Share of the stage's negatives that pass it.
    negatives : int
        Windows without the object that it was trained on: all have passed the stages before.
    searched, mistaken : int
        Windows of the photographs that were looked at for them, and how many the stages before took for objects.

    Examples
    --------
    >>> stage = Stage(trees=5, detection_rate=0.99, false_positive_rate=0.4, negatives=1000, searched=80000, mistaken=2000)
    >>> stage.mistaken / stage.searched  # the false positive rate of the stages before
    0.025
    """

    trees: int
    detection_rate: float
    false_positive_rate: float
    negatives: int
    searched: int
    mistaken: int


class Plan:
    """Everything that training is told, validated."""

    def __init__(
        self, objects: Any, photographs: Sequence[Any], negatives: Any, features: HaarFeatures | None, stages: int, detection_rate: float,
        false_positive_rate: float, max_trees: int, max_negatives: int, scale_factor: float, memory: int, seed: int,
    ):  # fmt: skip
        self.objects = _windows(objects, "objects")
        self.height, self.width = self.objects.shape[1:]
        shape = f"({self.height}, {self.width})"
        self.given = _windows(negatives, "negatives") if negatives is not None else self.objects[:0]
        if self.given.shape[1:] != self.objects.shape[1:]:
            raise ValueError(f"fit: negatives must have the size of the objects, {shape}, got {self.given.shape[1:]}")
        self.features = features if features is not None else haar_features(self.width, self.height)
        if (self.features.height, self.features.width) != (self.height, self.width):
            raise ValueError(
                f"fit: expected features of windows of the objects' size, {shape}, got {self.features.height, self.features.width}"
            )
        if not len(self.features) or self.features.tilted.any():
            raise ValueError("fit: expected upright features, and at least one")
        if isinstance(photographs, np.ndarray) and photographs.ndim < 4 and photographs.dtype != object:
            photographs = [photographs] if photographs.ndim == 2 or photographs.shape[-1] in (3, 4) else list(photographs)
        images = [grey(image) for image in photographs]
        self.photographs = [np.ascontiguousarray(x) for x in images if x.shape[0] >= self.height and x.shape[1] >= self.width]
        if not self.photographs and not len(self.given):
            raise ValueError(
                f"fit: nothing to learn from that is not the object: expected negatives, or photographs of at least {shape}; "
                f"got {len(images)}, all smaller"
            )
        for name, rate in (("detection_rate", detection_rate), ("false_positive_rate", false_positive_rate)):
            if not 0 < rate <= 1 or (name == "false_positive_rate" and rate == 1):
                raise ValueError(f"fit: expected {name} between 0 and 1, got {rate}")
        if not scale_factor > 1:
            raise ValueError(f"fit: expected scale_factor above 1, got {scale_factor}")
        if min(stages, max_trees, max_negatives) < 1 or memory < 0:
            raise ValueError(
                "fit: expected stages, max_trees and max_negatives of at least 1 and memory of at least 0, "
                f"got {stages}, {max_trees}, {max_negatives}, {memory}"
            )
        if len(self.objects) + max_negatives > SAMPLES:
            raise ValueError(f"fit: expected at most {SAMPLES} objects and negatives together, got {len(self.objects)} + {max_negatives}")
        self.stages, self.detection_rate, self.false_positive_rate = stages, detection_rate, false_positive_rate
        self.max_trees, self.max_negatives, self.scale_factor, self.memory = max_trees, max_negatives, scale_factor, memory
        self.rng = np.random.default_rng(seed)


def _windows(value: Any, name: str) -> np.ndarray:
    x = np.asarray(value)
    if x.dtype != np.uint8:
        raise TypeError(f"fit: expected {name} of uint8, got {x.dtype}; images in [0, 1] become bytes by (255 * x).round().astype('uint8')")
    if x.ndim != 3 or not len(x) or min(x.shape[1:]) < 3:
        raise ValueError(f"fit: expected {name} (N, height, width) of at least 3 x 3 pixels, grey levels, got {x.shape}")
    return x


class Parts:
    """The arrays of a cascade of stumps, stage by stage."""

    def __init__(self, features: HaarFeatures):
        self.features = features
        self.numbers: list[int] = []
        self.thresholds: list[float] = []
        self.leaves: list[tuple[float, float]] = []
        self.stages = [0]
        self.limits: list[float] = []

    def add(self, found: list[stumps.Stump], limit: np.float32) -> None:
        self.numbers += [stump.feature for stump in found]
        self.thresholds += [stump.threshold for stump in found]
        self.leaves += [(stump.vote, 0.0) if stump.sign > 0 else (0.0, stump.vote) for stump in found]
        self.stages.append(len(self.numbers))
        self.limits.append(float(limit))

    def arguments(self) -> dict[str, Any]:
        """Of CascadeClassifier."""
        used, which = np.unique(self.numbers, return_inverse=True)
        chosen = self.features[used]
        return {
            "width": chosen.width,
            "height": chosen.height,
            "rectangles": chosen.rectangles,
            "weights": chosen.weights,
            "tilted": chosen.tilted,
            "nodes": np.column_stack([which, np.zeros_like(which), -np.ones_like(which)]),
            "thresholds": self.thresholds,
            "leaves": np.ravel(self.leaves),
            "trees": np.arange(len(which) + 1),
            "stages": self.stages,
            "limits": self.limits,
        }


def open_door(features: HaarFeatures) -> Parts:
    """A cascade that lets through whatever it can judge."""
    parts = Parts(features)
    parts.add([stumps.Stump(0, 0.0, 1, 0.0, np.zeros(0, bool))], np.float32(0))
    return parts


def train_stage(windows: np.ndarray, positive: np.ndarray, plan: Plan) -> tuple[list[stumps.Stump], np.float32, np.ndarray]:
    """Boost until few enough of the negatives reach the limit that enough of the objects reach: the stumps, the limit, who passes."""
    missed = int((1 - plan.detection_rate) * positive.sum() + 1e-9)
    scores = np.zeros(len(windows))
    found: list[stumps.Stump] = []
    limit, passed = np.float32(0), np.ones(len(windows), bool)
    for stump in stumps.rounds(stumps.haar(windows, plan.features), len(plan.features), positive, plan.memory):
        found.append(stump)
        scores += np.where(stump.says, np.float32(stump.vote), 0)
        lowest = np.partition(scores[positive], missed)[missed]
        limit = np.float32(lowest)
        limit = limit if limit <= lowest else np.nextafter(limit, np.float32(-np.inf))
        passed = scores >= limit
        if passed[~positive].mean() <= plan.false_positive_rate or len(found) == plan.max_trees:
            break
    return found, limit, passed


def levels(photograph: np.ndarray, plan: Plan) -> Iterator[np.ndarray]:
    """The photograph in all sizes that are not smaller than the window."""
    height, width = photograph.shape
    scale = 1.0
    while (h := round(height / scale)) >= plan.height and (w := round(width / scale)) >= plan.width:
        yield resized(photograph, h, w)
        scale *= plan.scale_factor


def mine(detector: Detector, plan: Plan) -> tuple[np.ndarray, int, int]:
    """Windows of the photographs that a cascade takes for objects, drawn from all of them alike; how many it saw, how many it mistook."""
    windows, keys = plan.objects[:0], np.zeros(0)
    searched = mistaken = 0
    for photograph in plan.photographs:
        for level in levels(photograph, plan):
            reached, _ = detector.windows(level)
            y, x = np.nonzero(reached == len(detector))
            searched += reached.size
            mistaken += len(y)
            key = plan.rng.random(len(y))
            fresh = np.flatnonzero(key < (keys.max() if len(keys) == plan.max_negatives else 1))
            views = np.lib.stride_tricks.sliding_window_view(level, (plan.height, plan.width))
            keys = np.concatenate([keys, key[fresh]])
            lowest = np.sort(np.argsort(keys, kind="stable")[: plan.max_negatives])
            old, new = lowest[lowest < len(windows)], lowest[lowest >= len(windows)] - len(windows)
            windows, keys = np.concatenate([windows[old], views[y[fresh[new]], x[fresh[new]]]]), keys[lowest]
    return windows, searched, mistaken


def train(plan: Plan, build: Callable[[dict[str, Any]], Detector], progress: Callable[[Stage], None] | None) -> tuple[Any, list[Stage]]:
    """The cascade, and how each of its stages was trained."""
    parts, history = Parts(plan.features), []
    detector = build(open_door(plan.features).arguments())
    objects = plan.objects[detector.predict(plan.objects)]
    if not len(objects):
        raise ValueError("fit: all objects are too flat to be judged: the standard deviation of their grey levels is below 10")
    for _ in range(plan.stages):
        hard, searched, mistaken = mine(detector, plan)
        given = plan.given[detector.predict(plan.given)] if len(plan.given) else plan.given
        negatives = np.concatenate([given, hard])[: plan.max_negatives]
        if not len(negatives):
            break
        windows = np.concatenate([objects, negatives])
        positive = np.arange(len(windows)) < len(objects)
        found, limit, passed = train_stage(windows, positive, plan)
        if passed[~positive].all():  # nothing that the features see tells these apart
            break
        parts.add(found, limit)
        objects = objects[passed[positive]]
        rates = len(objects) / len(plan.objects), float(passed[~positive].mean())
        history.append(Stage(len(found), *rates, len(negatives), searched, mistaken))
        if progress is not None:
            progress(history[-1])
        detector = build(parts.arguments())
    if not history:
        raise ValueError(
            "fit: no stage tells any negative from the objects; give photographs with some contrast, other features, or more trees"
        )
    return detector, history
