"""Cascades in OpenCV's XML, in the format of OpenCV 2 to 4 and in the older one, as arrays."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

LARGEST_FILE = 64 << 20
DEEPEST = 32
LIMIT_EPS = np.float32(1e-5)  # OpenCV lowers every stage's threshold by so much when it reads a file


def _parse(path: Path) -> ET.Element:
    """The root of an XML file without document type and entities, of bounded size and depth."""
    size = os.path.getsize(path)
    if size > LARGEST_FILE:
        raise ValueError(f"{path}: expected a cascade of at most {LARGEST_FILE >> 20} MB, got {size >> 20} MB")
    builder, parser, depth = ET.TreeBuilder(), expat.ParserCreate(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise ValueError(f"{path}: elements are nested more than {DEEPEST} deep: no cascade")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: Any) -> None:
        raise ValueError(
            f"{path}: a document type or entities are refused, because they can be made to expand without end; remove the DOCTYPE"
        )

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, builder.data
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        raise ValueError(f"{path}: not well-formed XML: {error}") from None
    return builder.close()


def _find(node: ET.Element, name: str) -> ET.Element:
    found = node.find(name)
    if found is None:
        raise ValueError(f"<{node.tag}> has no <{name}>")
    return found


def _numbers(node: ET.Element, name: str, count: int | None = None) -> list[float]:
    words = (_find(node, name).text or "").split()
    if count is not None and len(words) != count:
        raise ValueError(f"<{name}> holds {len(words)} numbers, expected {count}")
    return [float(word) for word in words]


def _feature(node: ET.Element) -> tuple[np.ndarray, np.ndarray, bool]:
    rectangles, weights = np.zeros((3, 4), np.int32), np.zeros(3, np.float32)
    given = _find(node, "rects").findall("_")
    if len(given) > 3:
        raise ValueError(f"a feature has {len(given)} rectangles, expected at most 3")
    for r, rectangle in enumerate(given):
        words = (rectangle.text or "").split()
        if len(words) != 5:
            raise ValueError(f"a rectangle holds {len(words)} numbers, expected x y width height weight")
        rectangles[r] = [int(word) for word in words[:4]]
        weights[r] = float(words[4])
    return rectangles, weights, int(node.findtext("tilted", "0")) != 0


def _new(root: ET.Element) -> tuple[int, int, list, list]:
    """Window, features, and stages as (limit, trees as (nodes as (feature, left, right, threshold), leaves))."""
    kind, boosted = root.findtext("featureType", "").strip(), root.findtext("stageType", "").strip()
    if (kind, boosted) != ("HAAR", "BOOST"):
        raise ValueError(
            f"expected boosted stages of Haar features, got {boosted or 'nothing'} of {kind or 'nothing'}; LBP and HOG cascades are not read"
        )
    features = [_feature(node) for node in _find(root, "features").findall("_")]
    stages = []
    for stage in _find(root, "stages").findall("_"):
        trees = []
        for weak in _find(stage, "weakClassifiers").findall("_"):
            nodes, leaves = _numbers(weak, "internalNodes"), _numbers(weak, "leafValues")
            if not nodes or len(nodes) % 4 or len(leaves) != len(nodes) // 4 + 1:
                raise ValueError(f"a tree has {len(nodes)} numbers of nodes and {len(leaves)} leaves, expected 4 n and n + 1")
            trees.append(([(int(f), int(left), int(right), t) for left, right, f, t in zip(*(nodes[i::4] for i in range(4)))], leaves))
        stages.append((_numbers(stage, "stageThreshold", 1)[0], trees))
    return int(_numbers(root, "width", 1)[0]), int(_numbers(root, "height", 1)[0]), features, stages


def _old(root: ET.Element) -> tuple[int, int, list, list]:
    """The same of the format of OpenCV 1."""
    width, height = (int(v) for v in _numbers(root, "size", 2))
    features: list = []
    stages = []
    for number, stage in enumerate(_find(root, "stages").findall("_")):
        if stage.findtext("next", "-1").strip() != "-1" or int(stage.findtext("parent", str(number - 1))) != number - 1:
            raise ValueError("stages that branch are read only from the newer format; OpenCV 2 to 4 ship such cascades in it")
        trees = []
        for tree in _find(stage, "trees").findall("_"):
            nodes: list[tuple] = []
            leaves: list[float] = []
            for node in tree.findall("_"):
                links = []
                for side in ("left", "right"):
                    child = node.findtext(side + "_node")
                    if child is None:
                        links.append(-len(leaves))
                        leaves.append(_numbers(node, side + "_val", 1)[0])
                    else:
                        links.append(int(child))
                nodes.append((len(features), *links, _numbers(node, "threshold", 1)[0]))
                features.append(_feature(_find(node, "feature")))
            trees.append((nodes, leaves))
        stages.append((_numbers(stage, "stage_threshold", 1)[0], trees))
    return width, height, features, stages


def read(path: str | os.PathLike) -> dict[str, Any]:
    """The arrays of a cascade (see `lamella.vision.CascadeClassifier`) from a file, unchecked."""
    path = Path(path)
    root = _parse(path)
    new = root.find("cascade")
    old = next((child for child in root if child.get("type_id") == "opencv-haar-classifier"), None)
    if new is None and old is None:
        raise ValueError(f"{path}: expected a cascade of OpenCV, got <{root.tag}> without <cascade>")
    try:
        width, height, features, stages = _new(new) if new is not None else _old(old)  # type: ignore[arg-type]
        trees = [tree for _, trees in stages for tree in trees]
        nodes = [node for nodes, _ in trees for node in nodes]
        return {
            "width": width,
            "height": height,
            "rectangles": np.array([f[0] for f in features], np.int32).reshape(-1, 3, 4),
            "weights": np.array([f[1] for f in features], np.float32).reshape(-1, 3),
            "tilted": np.array([f[2] for f in features], bool),
            "nodes": np.array([node[:3] for node in nodes], np.int32).reshape(-1, 3),
            "thresholds": np.array([node[3] for node in nodes], np.float32),
            "leaves": np.array([leaf for _, leaves in trees for leaf in leaves], np.float32),
            "trees": np.cumsum([0, *(len(nodes) for nodes, _ in trees)], dtype=np.int32),
            "stages": np.cumsum([0, *(len(trees) for _, trees in stages)], dtype=np.int32),
            "limits": np.array([limit for limit, _ in stages], np.float32) - LIMIT_EPS,
        }
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path}: {error}") from None
