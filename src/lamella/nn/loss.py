"""CrossEntropyLoss, NLLLoss and MSELoss."""

from __future__ import annotations

from typing import Any

from lamella import functional as F
from lamella.functional.loss import reduction_of
from lamella.nn.module import Module

__all__ = ["CrossEntropyLoss", "MSELoss", "NLLLoss"]


class CrossEntropyLoss(Module):
    """The cross entropy between logits and classes.

    Parameters
    ----------
    weight : array or Tensor, shape (C,), optional
        Of each class; a buffer of the module.
    ignore_index : int
        A label that does not count.
    reduction : {"mean", "sum", "none"}
    label_smoothing : float in [0, 1]
    size_average, reduce
        Deprecated in PyTorch; use reduction.

    Notes
    -----
    Called with logits (N, C) or (N, C, d1, ...) and class numbers (N,) or (N, d1, ...), or probabilities of the logits' shape; see
    `lamella.functional.cross_entropy`.

    Examples
    --------
    >>> import lamella
    >>> CrossEntropyLoss()(lamella.zeros(2, 4), np.array([0, 3])).item().__round__(4)
    1.3863
    """

    weight: Any

    def __init__(
        self,
        weight: Any = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ):
        super().__init__()
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction_of("CrossEntropyLoss", reduction, size_average, reduce)
        self.label_smoothing = label_smoothing

    def forward(self, input: Any, target: Any) -> Any:
        return F.cross_entropy(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction, label_smoothing=self.label_smoothing
        )


class NLLLoss(Module):
    """Minus the log-probability of the target class.

    Parameters
    ----------
    weight : array or Tensor, shape (C,), optional
        Of each class; a buffer of the module.
    ignore_index : int
        A label that does not count.
    reduction : {"mean", "sum", "none"}
    size_average, reduce
        Deprecated in PyTorch; use reduction.

    Examples
    --------
    >>> import lamella
    >>> NLLLoss()(lamella.tensor([[-1.0, -2.0]]), np.array([1]))
    tensor(2.)
    """

    weight: Any

    def __init__(
        self,
        weight: Any = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ):
        super().__init__()
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction_of("NLLLoss", reduction, size_average, reduce)

    def forward(self, input: Any, target: Any) -> Any:
        return F.nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class MSELoss(Module):
    """The squared difference, averaged, summed or element by element.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
    size_average, reduce
        Deprecated in PyTorch; use reduction.

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
