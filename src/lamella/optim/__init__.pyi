from lamella.optim import lr_scheduler, swa_utils
from lamella.optim.adam import Adam, Adamax, AdamW, NAdam, RAdam
from lamella.optim.adaptive import Adadelta, Adagrad, RMSprop
from lamella.optim.constraint import max_norm_, weights_only
from lamella.optim.lbfgs import LBFGS
from lamella.optim.optimizer import Optimizer
from lamella.optim.sgd import SGD
from lamella.optim.sign import Lion, NormalizedGD

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "NAdam",
    "NormalizedGD",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "lr_scheduler",
    "max_norm_",
    "swa_utils",
    "weights_only",
]
