"""Transforms that learn from the training set alone, and are then applied to every set: scaling, decorrelation, missing values.

Names are scikit-learn's. Each has fit, transform, fit_transform, most inverse_transform; can be a dataset's `transform`; and has a state_dict.
"""

from lamella.data.preprocessing.decorrelation import PCA, ZCA, AffineMap
from lamella.data.preprocessing.missing import SimpleImputer, drop_missing
from lamella.data.preprocessing.scaling import MinMaxScaler, StandardScaler

__all__ = ["PCA", "ZCA", "AffineMap", "MinMaxScaler", "SimpleImputer", "StandardScaler", "drop_missing"]
