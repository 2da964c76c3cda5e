"""Training: Trainer, what it can be told to do after each epoch, metrics, pictures."""

from lamella.train import metrics, plots
from lamella.train.callbacks import Callback, EarlyStopping
from lamella.train.decomposition import BiasVariance, bias_variance
from lamella.train.descent import Descent, gradient_descent
from lamella.train.lr_finder import LRFound, find_lr
from lamella.train.metrics import accuracy, confusion_matrix
from lamella.train.trainer import Interrupted, Trainer

__all__ = [
    "BiasVariance",
    "Callback",
    "Descent",
    "EarlyStopping",
    "Interrupted",
    "Trainer",
    "accuracy",
    "bias_variance",
    "confusion_matrix",
    "gradient_descent",
    "metrics",
    "plots",
]
