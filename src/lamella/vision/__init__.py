"""Classical vision: integral images, Haar-like features, boosting, and detectors made of cascades."""

from lamella.vision.boost import AdaBoost, haar_values
from lamella.vision.cascade import CascadeClassifier
from lamella.vision.grouping import group_rectangles, non_maximum_suppression
from lamella.vision.haar import HaarFeatures, haar_features
from lamella.vision.integral import grey, integral_image, rectangle_sum
from lamella.vision.training import Stage

__all__ = [
    "AdaBoost",
    "CascadeClassifier",
    "HaarFeatures",
    "Stage",
    "grey",
    "group_rectangles",
    "haar_features",
    "haar_values",
    "integral_image",
    "non_maximum_suppression",
    "rectangle_sum",
]
