"""Training: Trainer, what it can be told to do after each epoch, metrics, pictures."""

from lamella.train import metrics, plots
from lamella.train.callbacks import Callback, EarlyStopping
from lamella.train.decomposition import BiasVariance, bias_variance
from lamella.train.descent import Descent, gradient_descent
from lamella.train.health import HealthReport, LayerHealth, layer_health
from lamella.train.implicit import ImplicitRegularization, implicit_regularization
from lamella.train.lr_finder import LRFound, find_lr
from lamella.train.metrics import accuracy, confusion_matrix
from lamella.train.snapshots import Snapshots
from lamella.train.trainer import Interrupted, Trainer
from lamella.train.uncertainty import MonteCarlo, mc_dropout, monte_carlo
from lamella.train.verdict import LearningVerdict, learning_verdict

__all__ = [
    "BiasVariance",
    "Callback",
    "Descent",
    "EarlyStopping",
    "HealthReport",
    "ImplicitRegularization",
    "Interrupted",
    "LRFound",
    "LayerHealth",
    "LearningVerdict",
    "MonteCarlo",
    "Snapshots",
    "Trainer",
    "accuracy",
    "bias_variance",
    "confusion_matrix",
    "find_lr",
    "gradient_descent",
    "implicit_regularization",
    "layer_health",
    "learning_verdict",
    "mc_dropout",
    "metrics",
    "monte_carlo",
    "plots",
]
