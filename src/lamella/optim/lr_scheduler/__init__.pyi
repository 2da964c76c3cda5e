from lamella.optim.lr_scheduler.base import LRScheduler
from lamella.optim.lr_scheduler.combined import ChainedScheduler, LambdaLR, MultiplicativeLR, SequentialLR
from lamella.optim.lr_scheduler.curves import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LinearLR,
    PolynomialLR,
    PowerLR,
    TimeBasedLR,
)
from lamella.optim.lr_scheduler.cycles import CyclicLR, OneCycleLR
from lamella.optim.lr_scheduler.plateau import ReduceLROnPlateau
from lamella.optim.lr_scheduler.steps import ConstantLR, MultiStepLR, PiecewiseConstantLR, StepLR

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PiecewiseConstantLR",
    "PolynomialLR",
    "PowerLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "TimeBasedLR",
]
