"""GaussianNLLLoss, PoissonNLLLoss and KLDivLoss: distances between distributions."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella import functional as F
from lamella.distributions import Normal, Poisson
from lamella.functional._pointwise import reduction_of
from lamella.nn._likelihood import Likelihood
from lamella.nn.module import Module

__all__ = ["GaussianNLLLoss", "KLDivLoss", "PoissonNLLLoss"]


class GaussianNLLLoss(Likelihood):
    """Minus the log-likelihood of normal distributions whose means and variances a network predicts.

    Parameters
    ----------
    full : bool
        Add the constant log(2 pi) / 2.
    eps : float
        Smaller variances count as eps.
    reduction : {"mean", "sum", "none"}

    Notes
    -----
    `predict` takes the pair (means, variances).


    Examples
    --------
    >>> import lamella
    >>> GaussianNLLLoss()(lamella.tensor([1.0]), lamella.tensor([3.0]), lamella.tensor([4.0]))
    tensor(1.1931472)
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean"):
        super().__init__()
        self.full = full
        self.eps = eps
        self.reduction = reduction_of("GaussianNLLLoss", reduction)

    def forward(self, input: Any, target: Any, var: Any) -> Any:
        return F.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)

    def distribution(self, outputs: Any) -> Normal:
        mean, var = outputs
        return Normal(mean, np.sqrt(np.maximum(var, self.eps)))


class PoissonNLLLoss(Likelihood):
    """Minus the log-likelihood of counts whose (logarithmic) rates a network predicts.

    Parameters
    ----------
    log_input : bool
        The network predicts the logarithm of the rate.
    full : bool
        Add Stirling's approximation of log(t!).
    eps : float
        Keeps log(rate + eps) finite, without log_input.
    reduction : {"mean", "sum", "none"}
    size_average, reduce
        Deprecated in PyTorch; use reduction.


    Examples
    --------
    >>> import lamella
    >>> PoissonNLLLoss()(lamella.tensor([0.0]), lamella.tensor([2.0]))
    tensor(1.)
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ):
        super().__init__()
        self.log_input = log_input
        self.full = full
        self.eps = eps
        self.reduction = reduction_of("PoissonNLLLoss", reduction, size_average, reduce)

    def forward(self, input: Any, target: Any) -> Any:
        return F.poisson_nll_loss(input, target, self.log_input, self.full, eps=self.eps, reduction=self.reduction)

    def distribution(self, outputs: Any) -> Poisson:
        return Poisson(np.exp(outputs) if self.log_input else outputs)


class KLDivLoss(Module):
    """The Kullback-Leibler divergence of a model's log-probabilities from target probabilities.

    Parameters
    ----------
    reduction : {"mean", "batchmean", "sum", "none"}
        "batchmean" is the divergence of the formula.
    log_target : bool
        The target holds log-probabilities.
    size_average, reduce
        Deprecated in PyTorch; use reduction.


    Examples
    --------
    >>> import lamella
    >>> loss = KLDivLoss(reduction="batchmean")
    >>> loss(lamella.tensor([[0.5, 0.5]]).log(), lamella.tensor([[0.0, 1.0]]))
    tensor(0.6931472)
    """

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean", log_target: bool = False):
        super().__init__()
        self.reduction = reduction if reduction == "batchmean" else reduction_of("KLDivLoss", reduction, size_average, reduce)
        self.log_target = log_target

    def forward(self, input: Any, target: Any) -> Any:
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)
