"""MSELoss, L1Loss, SmoothL1Loss and HuberLoss: distances between numbers."""

from __future__ import annotations

from typing import Any

from lamella import functional as F
from lamella.distributions import Laplace, Normal
from lamella.functional._pointwise import reduction_of
from lamella.nn._likelihood import Likelihood
from lamella.nn.module import Module

__all__ = ["HuberLoss", "L1Loss", "MSELoss", "SmoothL1Loss"]


class MSELoss(Likelihood):
    """The squared difference, averaged, summed or element by element: minus the log-probability of a normal distribution.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
    size_average, reduce
        Deprecated in PyTorch; use reduction.

    Notes
    -----
    `predict` returns normal distributions of standard deviation 1: the loss says nothing about it. GaussianNLLLoss does.


    Examples
    --------
    >>> import lamella
    >>> MSELoss()(lamella.tensor([1.0, 3.0]), lamella.tensor([1.0, 1.0]))
    tensor(2.)
    """

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"):
        super().__init__()
        self.reduction = reduction_of("MSELoss", reduction, size_average, reduce)

    def forward(self, input: Any, target: Any) -> Any:
        return F.mse_loss(input, target, reduction=self.reduction)

    def distribution(self, outputs: Any) -> Normal:
        return Normal(outputs, 1.0)


class L1Loss(Likelihood):
    """The absolute difference, averaged, summed or element by element: minus the log-probability of a Laplace distribution.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
    size_average, reduce
        Deprecated in PyTorch; use reduction.

    Notes
    -----
    `predict` returns Laplace distributions of scale 1: the loss says nothing about it.


    Examples
    --------
    >>> import lamella
    >>> L1Loss()(lamella.tensor([1.0, 3.0]), lamella.tensor([1.0, 1.0]))
    tensor(1.)
    """

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"):
        super().__init__()
        self.reduction = reduction_of("L1Loss", reduction, size_average, reduce)

    def forward(self, input: Any, target: Any) -> Any:
        return F.l1_loss(input, target, reduction=self.reduction)

    def distribution(self, outputs: Any) -> Laplace:
        return Laplace(outputs, 1.0)


class SmoothL1Loss(Module):
    """d^2 / (2 beta) for differences d smaller than beta, \\|d\\| - beta / 2 for others.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
    beta : float, not negative
    size_average, reduce
        Deprecated in PyTorch; use reduction.


    Examples
    --------
    >>> import lamella
    >>> SmoothL1Loss()(lamella.tensor([0.0, 3.0]), lamella.tensor([0.0, 0.0]))
    tensor(1.25)
    """

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean", beta: float = 1.0):
        super().__init__()
        self.reduction = reduction_of("SmoothL1Loss", reduction, size_average, reduce)
        self.beta = beta

    def forward(self, input: Any, target: Any) -> Any:
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(Module):
    """d^2 / 2 for differences d up to delta, delta (\\|d\\| - delta / 2) for others.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
    delta : float, positive


    Examples
    --------
    >>> import lamella
    >>> HuberLoss(delta=2.0)(lamella.tensor([0.0, 3.0]), lamella.tensor([0.0, 0.0]))
    tensor(2.)
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0):
        super().__init__()
        self.reduction = reduction_of("HuberLoss", reduction)
        self.delta = delta

    def forward(self, input: Any, target: Any) -> Any:
        return F.huber_loss(input, target, self.reduction, self.delta)
