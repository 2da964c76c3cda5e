"""Classical vision: integral images, Haar-like features, boosting, and detectors made of cascades."""

from lamella.vision.haar import HaarFeatures, haar_features
from lamella.vision.integral import grey, integral_image, rectangle_sum

__all__ = ["HaarFeatures", "grey", "haar_features", "integral_image", "rectangle_sum"]
