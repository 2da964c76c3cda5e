"""Training: Trainer, what it can be told to do after each epoch, metrics, pictures."""

from lamella.train import metrics, plots
from lamella.train.callbacks import Callback, EarlyStopping
from lamella.train.metrics import accuracy, confusion_matrix
from lamella.train.trainer import Interrupted, Trainer

__all__ = ["Callback", "EarlyStopping", "Interrupted", "Trainer", "accuracy", "confusion_matrix", "metrics", "plots"]
