"""Datasets and how to walk through them in batches."""

from lamella.data import datasets, transforms
from lamella.data.augment import augment, mix
from lamella.data.dataset import Dataset, Subset, TensorDataset, random_split
from lamella.data.label_noise import label_noise
from lamella.data.loader import DataLoader

__all__ = [
    "DataLoader",
    "Dataset",
    "Subset",
    "TensorDataset",
    "augment",
    "datasets",
    "label_noise",
    "mix",
    "random_split",
    "transforms",
]
