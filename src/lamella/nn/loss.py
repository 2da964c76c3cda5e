"""CrossEntropyLoss, NLLLoss and MultiMarginLoss: losses of classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella import functional as F
from lamella.distributions import Categorical
from lamella.functional._pointwise import reduction_of
from lamella.nn._likelihood import Likelihood
from lamella.nn.module import Module

__all__ = ["CrossEntropyLoss", "MultiMarginLoss", "NLLLoss"]


def _categorical(log_probs: Any) -> Categorical:
    """Of log-probabilities (C,), (N, C) or (N, C, d1, ...)."""
    p = np.exp(log_probs)
    return Categorical(np.moveaxis(p, 1, -1) if p.ndim > 2 else p)


class CrossEntropyLoss(Likelihood):
    """The cross entropy between logits and classes.

    Parameters
    ----------
    weight : array or Tensor, shape (C,), optional
        Of each class; a buffer of the module.
    ignore_index : int
        A label that does not count.
    reduction : {"mean", "sum", "none"}
    label_smoothing : float in [0, 1]
    smoothing_over : {"all", "others"}
        Whether the right class shares in what smoothing takes from it (PyTorch, Keras) or not (some courses).
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
        smoothing_over: str = "all",
    ):
        super().__init__()
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction_of("CrossEntropyLoss", reduction, size_average, reduce)
        self.label_smoothing = label_smoothing
        self.smoothing_over = smoothing_over

    def forward(self, input: Any, target: Any) -> Any:
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
            smoothing_over=self.smoothing_over,
        )

    def distribution(self, outputs: Any) -> Categorical:
        return _categorical(F.log_softmax(outputs, min(outputs.ndim - 1, 1)))


class NLLLoss(Likelihood):
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

    def distribution(self, outputs: Any) -> Categorical:
        return _categorical(outputs)


class MultiMarginLoss(Module):
    """The multi-class hinge loss: the sum over the other classes j of max(0, margin + x_j - x_y)^p.

    Parameters
    ----------
    p : {1, 2}
    margin : float
    weight : array or Tensor, shape (C,), optional
        Of each class; a buffer of the module.
    reduction : {"mean", "sum", "none"}
    normalize_classes : bool
        Divide by C, as PyTorch does; False sums, as courses do (Weston and Watkins).
    hardest : bool
        Only the worst violation counts (Crammer and Singer).
    size_average, reduce
        Deprecated in PyTorch; use reduction.

    Examples
    --------
    >>> import lamella
    >>> MultiMarginLoss(normalize_classes=False)(np.array([[3.2, 5.1, -1.7]]), np.array([0])).round(4)
    np.float64(2.9)
    """

    weight: Any

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Any = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        normalize_classes: bool = True,
        hardest: bool = False,
    ):
        super().__init__()
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss: p must be 1 or 2, got {p}")
        self.p = p
        self.margin = margin
        self.register_buffer("weight", weight)
        self.reduction = reduction_of("MultiMarginLoss", reduction, size_average, reduce)
        self.normalize_classes = normalize_classes
        self.hardest = hardest

    def forward(self, input: Any, target: Any) -> Any:
        return F.multi_margin_loss(
            input,
            target,
            self.p,
            self.margin,
            self.weight,
            reduction=self.reduction,
            normalize_classes=self.normalize_classes,
            hardest=self.hardest,
        )
