"""What a kernel is asked to do, apart from the numbers: one small immutable object per kind of geometry."""

from lamella.problems.activation import ACTIVATIONS, ActivationProblem
from lamella.problems.arithmetic import ArithmeticProblem
from lamella.problems.augment import AugmentProblem
from lamella.problems.base import Problem
from lamella.problems.batchnorm import BatchNormProblem
from lamella.problems.cascade import CascadeProblem
from lamella.problems.conv2d import Conv2dProblem
from lamella.problems.gemm import GemmProblem
from lamella.problems.groupnorm import GroupNormProblem
from lamella.problems.integral import IntegralProblem
from lamella.problems.optimizer import OptimizerProblem
from lamella.problems.pool2d import Pool2dProblem
from lamella.problems.recurrent import CELLS, RecurrentProblem
from lamella.problems.reorder import ReorderProblem
from lamella.problems.resample import ResampleProblem
from lamella.problems.softmax import SoftmaxProblem
from lamella.problems.stumps import StumpsProblem

__all__ = [
    "ACTIVATIONS",
    "ActivationProblem",
    "ArithmeticProblem",
    "AugmentProblem",
    "BatchNormProblem",
    "CELLS",
    "CascadeProblem",
    "Conv2dProblem",
    "GemmProblem",
    "GroupNormProblem",
    "IntegralProblem",
    "OptimizerProblem",
    "Pool2dProblem",
    "Problem",
    "RecurrentProblem",
    "ReorderProblem",
    "ResampleProblem",
    "SoftmaxProblem",
    "StumpsProblem",
]
