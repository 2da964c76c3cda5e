"""BCELoss, BCEWithLogitsLoss and HingeLoss: targets of two kinds."""

from __future__ import annotations

from typing import Any

from lamella import functional as F
from lamella.distributions import Bernoulli
from lamella.functional._pointwise import reduction_of
from lamella.nn._likelihood import Likelihood
from lamella.nn.module import Module

__all__ = ["BCELoss", "BCEWithLogitsLoss", "HingeLoss"]


class BCELoss(Likelihood):
    """The binary cross entropy of probabilities; of logits, BCEWithLogitsLoss is safer and faster.

    Parameters
    ----------
    weight : array or Tensor that broadcasts to the input, optional
        A buffer of the module.
    reduction : {"mean", "sum", "none"}
    size_average, reduce
        Deprecated in PyTorch; use reduction.


    Examples
    --------
    >>> import lamella
    >>> BCELoss()(lamella.tensor([0.5]), lamella.tensor([1.0]))
    tensor(0.6931472)
    """

    weight: Any

    def __init__(self, weight: Any = None, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"):
        super().__init__()
        self.register_buffer("weight", weight)
        self.reduction = reduction_of("BCELoss", reduction, size_average, reduce)

    def forward(self, input: Any, target: Any) -> Any:
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)

    def distribution(self, outputs: Any) -> Bernoulli:
        return Bernoulli(outputs)


class BCEWithLogitsLoss(Likelihood):
    """The binary cross entropy of sigmoid(logits), in one safe formula.

    Parameters
    ----------
    weight : array or Tensor that broadcasts to the input, optional
        A buffer of the module.
    reduction : {"mean", "sum", "none"}
    pos_weight : array or Tensor that broadcasts to the input, optional
        Multiplies the loss of positive targets; a buffer of the module.
    size_average, reduce
        Deprecated in PyTorch; use reduction.


    Examples
    --------
    >>> import lamella
    >>> BCEWithLogitsLoss()(lamella.tensor([0.0]), lamella.tensor([1.0]))
    tensor(0.6931472)
    """

    weight: Any
    pos_weight: Any

    def __init__(
        self,
        weight: Any = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Any = None,
    ):
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)
        self.reduction = reduction_of("BCEWithLogitsLoss", reduction, size_average, reduce)

    def forward(self, input: Any, target: Any) -> Any:
        return F.binary_cross_entropy_with_logits(input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight)

    def distribution(self, outputs: Any) -> Bernoulli:
        return Bernoulli(F.sigmoid(outputs))


class HingeLoss(Module):
    """max(0, margin - t y) of scores y and targets t, -1 or 1.

    Parameters
    ----------
    margin : float
    zero_one : bool
        The targets are 0 and 1 instead.
    reduction : {"mean", "sum", "none"}


    Examples
    --------
    >>> import lamella
    >>> HingeLoss()(lamella.tensor([0.5, -0.5]), lamella.tensor([1.0, 1.0]))
    tensor(1.)
    """

    def __init__(self, margin: float = 1.0, zero_one: bool = False, reduction: str = "mean"):
        super().__init__()
        self.margin = margin
        self.zero_one = zero_one
        self.reduction = reduction_of("HingeLoss", reduction)

    def forward(self, input: Any, target: Any) -> Any:
        return F.hinge_loss(input, target, self.margin, self.zero_one, self.reduction)
