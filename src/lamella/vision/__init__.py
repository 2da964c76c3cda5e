"""Classical vision: integral images, Haar-like features, boosting, and detectors made of cascades."""

from lamella.vision.boost import AdaBoost, haar_values
from lamella.vision.cascade import CascadeClassifier
from lamella.vision.grouping import group_rectangles, non_maximum_suppression
from lamella.vision.haar import HaarFeatures, haar_features
from lamella.vision.integral import grey, integral_image, rectangle_sum

__all__ = ["AdaBoost", "haar_values",
    "CascadeClassifier", "HaarFeatures", "grey", "group_rectangles", "haar_features", "integral_image", "non_maximum_suppression", "rectangle_sum",
]  # fmt: skip
