"""Datasets and how to walk through them in batches."""

from lamella.data import datasets, preprocessing, transforms
from lamella.data.augment import augment, mix
from lamella.data.dataset import ConcatDataset, Dataset, Subset, TensorDataset, random_split
from lamella.data.label_noise import label_noise
from lamella.data.loader import DataLoader
from lamella.data.pictures import read_picture
from lamella.data.sampling import BalancedSampler, Sampler, WeightedRandomSampler, class_weights
from lamella.data.sizes import recommended_size
from lamella.data.splitting import k_fold, labels_of, stratified_split
from lamella.data.tables import read_table, write_table

__all__ = [
    "BalancedSampler",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "Sampler",
    "Subset",
    "TensorDataset",
    "WeightedRandomSampler",
    "augment",
    "class_weights",
    "datasets",
    "k_fold",
    "label_noise",
    "labels_of",
    "mix",
    "preprocessing",
    "random_split",
    "read_picture",
    "read_table",
    "recommended_size",
    "stratified_split",
    "transforms",
    "write_table",
]
