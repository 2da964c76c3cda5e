"""Optimizers and learning-rate schedules, with PyTorch's names, arguments and arithmetic."""

from lamella.optim import lr_scheduler
from lamella.optim.adam import Adam, AdamW
from lamella.optim.optimizer import Optimizer
from lamella.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "lr_scheduler"]
