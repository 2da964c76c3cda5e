"""Detectors: a cascade of boosted stages over all windows of an image, in all sizes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from lamella import serialization
from lamella.memory import empty
from lamella.problems import CascadeProblem
from lamella.registry import select
from lamella.vision import opencv_xml, training
from lamella.vision.boost import MEMORY
from lamella.vision.grouping import group_rectangles
from lamella.vision.haar import HaarFeatures
from lamella.vision.haar import haar_features as haar_features  # for the example
from lamella.vision.integral import grey, integral_image
from lamella.vision.levels import resized

# dtype and dimensions of every array of a cascade
ARRAYS: dict[str, tuple[type, int]] = {
    "rectangles": (np.int32, 3), "weights": (np.float32, 2), "tilted": (np.bool_, 1), "nodes": (np.int32, 2), "thresholds": (np.float32, 1),
    "leaves": (np.float32, 1), "trees": (np.int32, 1), "stages": (np.int32, 1), "limits": (np.float32, 1),
}  # fmt: skip
LARGEST_WINDOW = 1024
TOGETHER = 1024  # windows judged in one image


def _require(condition: Any, what: str) -> None:
    if not condition:
        raise ValueError(f"CascadeClassifier: {what}")


def _check(width: int, height: int, a: dict[str, np.ndarray]) -> None:
    """Raise ValueError unless every number that a kernel follows leads somewhere."""
    _require(
        3 <= width <= LARGEST_WINDOW and 3 <= height <= LARGEST_WINDOW, f"expected a window of 3 to {LARGEST_WINDOW}, got {(width, height)}"
    )
    for name, (_, dims) in ARRAYS.items():
        _require(a[name].ndim == dims, f"expected {name} with {dims} dimensions, got shape {a[name].shape}")
    features, nodes, trees, stages = len(a["weights"]), len(a["nodes"]), len(a["trees"]) - 1, len(a["stages"]) - 1
    shapes = {
        "rectangles": (features, 3, 4), "weights": (features, 3), "tilted": (features,), "nodes": (nodes, 3), "thresholds": (nodes,),
        "leaves": (nodes + trees,), "limits": (stages,),
    }  # fmt: skip
    for name, shape in shapes.items():
        _require(a[name].shape == shape, f"expected {name} of shape {shape}, got {a[name].shape}")
    _require(features and stages > 0, "it has no features or no stages")
    x, y, w, h = np.moveaxis(a["rectangles"].astype(np.int64), 2, 0)
    slanted = a["tilted"][:, None]
    fits = np.where(slanted, (x - h >= 0) & (x + w <= width) & (y + w + h <= height), (x + w <= width) & (y + h <= height))
    _require(
        (fits & (np.minimum(np.minimum(x, y), np.minimum(w, h)) >= 0)).all(), f"a rectangle is not inside the window of {width} x {height}"
    )
    for name, end in (("trees", nodes), ("stages", trees)):
        v = a[name]
        _require(v[0] == 0 and v[-1] == end and (np.diff(v) > 0).all(), f"{name} must rise from 0 to {end}, got {v.tolist()[:5]}...")
    count = np.repeat(np.diff(a["trees"]), np.diff(a["trees"]))  # nodes in the tree of each node
    own = np.arange(nodes) - np.repeat(a["trees"][:-1], np.diff(a["trees"]))
    links = a["nodes"][:, 1:]
    good = np.where(links > 0, (links > own[:, None]) & (links < count[:, None]), -links <= count[:, None])
    _require(good.all(), "a node leads to no node after it and to no leaf of its tree")
    _require(
        ((a["nodes"][:, 0] >= 0) & (a["nodes"][:, 0] < features)).all(), f"a node asks for a feature that is not one of the {features}"
    )
    _require(all(np.isfinite(a[n]).all() for n in ("weights", "thresholds", "leaves", "limits")), "a number is not finite")


def _rint(value: Any) -> int:
    """A float32 or float64 rounded to even."""
    return int(np.rint(value))


class CascadeClassifier:
    """A detector: stages of boosted trees over Haar-like features, each of which sends away most windows that hold no object.

    A window passes a stage if the leaves its trees end in sum up to the stage's limit; the object is found where it passes all stages. Features
    are divided by the spread of the window's pixels, so that brightness and contrast do not count.

    Parameters
    ----------
    width, height : int
        Of the window that was learned.
    rectangles, weights, tilted : int32 (F, 3, 4), float32 (F, 3), bool (F,)
        The features, as in `HaarFeatures`.
    nodes, thresholds : int32 (M, 3), float32 (M,)
        Feature, left, right of each node: below the threshold it goes left; above 0 to a later node of the tree, at -l to leaf l.
    leaves : float32 (M + T,)
        One more than nodes for each tree.
    trees, stages : int32 (T + 1,), (S + 1,)
        The first node of each tree, the first tree of each stage, and the end.
    limits : float32 (S,)

    Attributes
    ----------
    history : list of Stage
        How `fit` trained each stage; not saved.

    Raises
    ------
    ValueError
        Arrays that do not fit each other.

    Notes
    -----
    Viola, Jones: Rapid object detection using a boosted cascade of simple features, 2001. Cascades come from examples by `fit`, or from
    OpenCV's files by `load`: they then find what OpenCV finds, rectangle by rectangle.

    Examples
    --------
    >>> edge = haar_features(24, 24, ["edge_vertical"])[[40000]]
    >>> stump = {"nodes": [[0, 0, -1]], "thresholds": [0.2], "leaves": [0, 1], "trees": [0, 1], "stages": [0, 1], "limits": [0.5]}
    >>> detector = CascadeClassifier(24, 24, edge.rectangles, edge.weights, edge.tilted, **stump)
    >>> image = np.zeros((40, 60), np.uint8)
    >>> image[:, 30:] = 200
    >>> len(detector.detect(image, min_neighbors=0)) > 0
    True
    """

    def __init__(
        self, width: int, height: int, rectangles: Any, weights: Any, tilted: Any, nodes: Any, thresholds: Any, leaves: Any, trees: Any,
        stages: Any, limits: Any,
    ):  # fmt: skip
        given = dict(zip(ARRAYS, (rectangles, weights, tilted, nodes, thresholds, leaves, trees, stages, limits), strict=True))
        arrays: dict[str, Any] = {name: np.ascontiguousarray(value, ARRAYS[name][0]) for name, value in given.items()}
        _check(width, height, arrays)
        self.width, self.height = int(width), int(height)
        self._arrays = arrays
        model = {**arrays, "tilted": arrays["tilted"].view(np.uint8)}
        self._model = tuple(model.values())
        self.history: list[training.Stage] = []

    @classmethod
    def fit(
        cls,
        objects: Any,
        photographs: Sequence[Any] = (),
        *,
        negatives: Any = None,
        features: HaarFeatures | None = None,
        stages: int = 10,
        detection_rate: float = 0.995,
        false_positive_rate: float = 0.5,
        max_trees: int = 100,
        max_negatives: int = 1000,
        scale_factor: float = 1.25,
        memory: int = MEMORY,
        seed: int = 0,
        progress: Callable[[training.Stage], None] | None = None,
    ) -> Self:
        """Train an attentional cascade: a detector that looks long only where it is hard to tell.

        Each stage is boosted, stump by stump, until with the limit that `detection_rate` of the objects reach, at most `false_positive_rate` of
        its negatives do. Its negatives are windows, of all places and sizes in the photographs, that all stages before it take for objects, drawn
        at random. Training ends after `stages`, or as soon as no negatives remain.

        Parameters
        ----------
        objects : uint8 array (N, height, width)
            The object, filling the window the same way each time. Shifted and mirrored copies make the detector bear shifts.
        photographs : sequence of uint8 arrays (H, W) or (H, W, 3)
            Without the object. All of their windows are looked at for each stage.
        negatives : uint8 array (M, height, width), optional
            More windows without the object.
        features : HaarFeatures, optional
            To choose from; by default all upright ones of the window: 162,336 for 24 x 24. ``haar_features(24, 24, step=2)`` has fewer.
        stages, max_trees, max_negatives : int
            At most so many stages, stumps in a stage, and negatives for it.
        detection_rate, false_positive_rate : float
            Of each stage: of ten stages, detection_rate**10 of the objects and false_positive_rate**10 of all other windows pass.
        scale_factor : float
            From one size of the photographs to the next.
        memory : int
            See `AdaBoost`.
        seed : int
            Of what is drawn: the same seed gives the same cascade, with any number of threads.
        progress : callable, optional
            Called with each `Stage` as it is done.

        Returns
        -------
        CascadeClassifier, with `history`

        Raises
        ------
        TypeError
            Images that are not of bytes.
        ValueError
            Windows of different sizes, no negatives, rates beyond 0 to 1, objects that nothing tells from the negatives.

        Notes
        -----
        Viola, Jones, 2001, section 4. A stage that does not come down to its false_positive_rate with `max_trees` is taken as it is.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> noise = rng.integers(0, 256, (100, 120)).astype(np.uint8)
        >>> disks = rng.integers(0, 80, (50, 12, 12)).astype(np.uint8)
        >>> disks[:, 3:9, 3:9] += 150
        >>> detector = CascadeClassifier.fit(disks, [noise], features=haar_features(12, 12, step=2), stages=3)
        >>> bool(detector.predict(disks).all()), detector.history[0].negatives
        (True, 1000)
        """
        plan = training.Plan(
            objects, photographs, negatives, features, stages, detection_rate, false_positive_rate, max_trees, max_negatives, scale_factor,
            memory, seed,
        )  # fmt: skip
        detector, history = training.train(plan, lambda arguments: cls(**arguments), progress)
        detector.history = history
        return detector

    @classmethod
    def load(cls, path: str | os.PathLike) -> Self:
        """A cascade from a file of `save`, or from OpenCV's XML (boosted Haar features; both formats).

        Parameters
        ----------
        path : str or path
            What ends in .xml is read as OpenCV's; document types and entities in it are refused.

        Raises
        ------
        ValueError
            Not a cascade, or one that does not fit together.
        """
        if Path(path).suffix.lower() == ".xml":
            return cls(**opencv_xml.read(path))
        stored = serialization.load(path)
        if not isinstance(stored, dict) or set(stored) != {"width", "height", *ARRAYS}:
            raise ValueError(f"{path}: expected a file of CascadeClassifier.save, or OpenCV's .xml")
        return cls(**stored)

    def save(self, path: str | os.PathLike) -> None:
        """Write the cascade as safetensors with JSON beside the arrays.

        Parameters
        ----------
        path : str or path
        """
        serialization.save(self.state_dict(), path)

    def state_dict(self) -> dict[str, Any]:
        """Everything the cascade is, under the names of the constructor's arguments."""
        return {"width": self.width, "height": self.height, **self._arrays}

    def __len__(self) -> int:
        """The number of stages."""
        return len(self._arrays["limits"])

    def __repr__(self) -> str:
        a = self._arrays
        return f"CascadeClassifier({self.width} x {self.height}, {len(self)} stages, {len(a['trees']) - 1} trees, {len(a['weights'])} features)"

    def windows(self, level: np.ndarray, step: int = 1, skip: bool = False, rows: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """All windows of one image, unscaled.

        Parameters
        ----------
        level : uint8 array (H, W)
        step : int
            Pixels from window to window.
        skip : bool
            A window that fails in the first stage takes its right neighbour with it.
        rows : int, optional
            Only so many rows of windows.

        Returns
        -------
        int32 array, float64 array, both (rows, columns): how many stages each window passes (-1: too flat to judge, -2: skipped), and the sum of
        the last stage it saw

        Raises
        ------
        ValueError
            The image is smaller than the window.
        """
        ih, iw = level.shape
        oh, ow = (ih - self.height) // step + 1, (iw - self.width) // step + 1
        if ih < self.height or iw < self.width:
            raise ValueError(f"windows: expected an image of at least {self.height} rows and {self.width} columns, got {level.shape}")
        oh = oh if rows is None else min(rows, oh)
        tilts = bool(self._arrays["tilted"].any())
        sums = integral_image(level, squared=True, tilted=tilts)
        p = CascadeProblem.of(
            ih, iw, self.height, self.width, step, oh, ow, len(self._arrays["weights"]), len(self), tilts, skip, np.dtype(np.float32)
        )
        reached, score = empty((oh, ow), np.dtype(np.int32)), empty((oh, ow), np.dtype(np.float64))
        select("cascade", "forward", p)(p, *(sums if tilts else (*sums, None)), *self._model, reached, score)
        return reached, score

    def predict(self, windows: Any) -> np.ndarray:
        """Whether windows pass all stages.

        Parameters
        ----------
        windows : uint8 array (N, height, width)

        Returns
        -------
        bool array (N,)

        Raises
        ------
        ValueError
            Windows of another type or size.
        """
        x = np.asarray(windows)
        if x.dtype != np.uint8 or x.ndim != 3 or x.shape[1:] != (self.height, self.width):
            raise ValueError(f"predict: expected windows of uint8, (N, {self.height}, {self.width}), got {x.dtype}, {x.shape}")
        passed = np.zeros(len(x), bool)
        for start in range(0, len(x), TOGETHER):  # one above the other, they are an image with a window every `height` rows
            part = x[start : start + TOGETHER]
            reached, _ = self.windows(part.reshape(-1, self.width), self.height)
            passed[start : start + len(part)] = reached[:, 0] == len(self)
        return passed

    def _scales(self, height: int, width: int, factor: float, smallest: tuple[int, int], largest: tuple[int, int]) -> list[np.float32]:
        """The sizes of window to look for, by OpenCV's rules; sizes as (height, width)."""
        scales, scale = [], 1.0
        while _rint(self.width * scale) <= width and _rint(self.height * scale) <= height:
            scales.append(np.float32(scale))
            scale *= factor
        sizes = [(_rint(np.float32(self.height) * s), _rint(np.float32(self.width) * s)) for s in scales]
        fits = []
        for s, (h, w) in zip(scales, sizes):
            if w > largest[1] or h > largest[0]:
                break
            if w >= smallest[1] and h >= smallest[0]:
                fits.append(s)
        if not fits and scales:  # none between the two: the one that comes closest
            fits = [scales[int(np.argmin([(smallest[0] - h) ** 2 + (smallest[1] - w) ** 2 for h, w in sizes]))]]
        return fits

    def detect(
        self,
        image: Any,
        scale_factor: float = 1.1,
        min_neighbors: int = 3,
        min_size: tuple[int, int] = (0, 0),
        max_size: tuple[int, int] | None = None,
        return_scores: bool = False,
    ) -> Any:
        """Find the objects in an image, in all sizes from the window's own to the image's: what OpenCV's detectMultiScale does.

        Parameters
        ----------
        image : uint8 array (H, W), or (H, W, 3) with red, green, blue
        scale_factor : float
            From one size to the next; above 1.
        min_neighbors : int
            How many windows must agree (more than so many): see `group_rectangles`. 0 returns every window that passes.
        min_size, max_size : (height, width), optional
            Of the objects.
        return_scores : bool
            Also how many windows agreed on each, or with min_neighbors=0 the sum of each window's last stage.

        Returns
        -------
        int32 array (n, 4): x, y, width, height; with return_scores, also an array (n,)

        Raises
        ------
        TypeError
            The image is not of bytes.
        ValueError
            Not an image, or a scale_factor that is not above 1.
        """
        if not scale_factor > 1:
            raise ValueError(f"detect: expected scale_factor above 1, got {scale_factor}")
        x = np.ascontiguousarray(grey(image))
        height, width = x.shape
        scales = self._scales(height, width, scale_factor, min_size, max_size or (height, width))
        stripes = 0
        found, scores = [np.zeros((0, 4), np.int64)], [np.zeros(0)]
        for scale in scales:
            oh, ow = _rint(np.float32(height) / scale), _rint(np.float32(width) / scale)
            if oh < self.height or ow < self.width:
                continue
            level = resized(x, oh, ow)
            step = 1 if scale >= 2 else 2
            # OpenCV cuts a level into stripes, as many as the first one has spans of 32 windows, and the cut can lose the last row
            stripes = stripes or -(-(ow - self.width + 1) // 32)
            stripe = max((oh - self.height + 1) // step + stripes - 1, stripes) // stripes
            reached, score = self.windows(level, step, skip=True, rows=stripes * stripe)
            y, x0 = np.nonzero(reached == len(self))
            at = np.rint(np.stack([x0, y], axis=1).astype(np.float32) * np.float32(step) * scale)
            size = [_rint(np.float32(self.width) * scale), _rint(np.float32(self.height) * scale)]
            found.append(np.column_stack([at, np.broadcast_to(size, at.shape)]).astype(np.int64))
            scores.append(score[y, x0])
        boxes, agreed = group_rectangles(np.concatenate(found), min_neighbors)
        boxes[:, 2:] = np.minimum(boxes[:, :2] + boxes[:, 2:], [width, height]) - boxes[:, :2]
        inside = (boxes[:, 2:] > 0).all(1)
        if not return_scores:
            return boxes[inside]
        return boxes[inside], (np.concatenate(scores) if min_neighbors <= 0 else agreed)[inside]
