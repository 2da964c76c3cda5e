"""TripletMarginLoss and CosineEmbeddingLoss: what is alike shall lie close together."""

from __future__ import annotations

from typing import Any

from lamella import functional as F
from lamella.functional._pointwise import reduction_of
from lamella.nn.module import Module

__all__ = ["CosineEmbeddingLoss", "TripletMarginLoss"]


class TripletMarginLoss(Module):
    """max(0, d(anchor, positive) - d(anchor, negative) + margin).

    Parameters
    ----------
    margin : float, positive
    p : float
        Of the norm that measures distances.
    eps : float
    swap : bool
        The negative's distance is the lesser of those from anchor and from positive.
    reduction : {"mean", "sum", "none"}
    size_average, reduce
        Deprecated in PyTorch; use reduction.


    Examples
    --------
    >>> import lamella
    >>> a = lamella.zeros(2, 3)
    >>> TripletMarginLoss()(a, a, a)
    tensor(1.)
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ):
        super().__init__()
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap
        self.reduction = reduction_of("TripletMarginLoss", reduction, size_average, reduce)

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Any:
        return F.triplet_margin_loss(anchor, positive, negative, self.margin, self.p, self.eps, self.swap, reduction=self.reduction)


class CosineEmbeddingLoss(Module):
    """Of the cosine c of two vectors: 1 - c where the target is 1, max(0, c - margin) where it is -1.

    Parameters
    ----------
    margin : float
    reduction : {"mean", "sum", "none"}
    size_average, reduce
        Deprecated in PyTorch; use reduction.


    Examples
    --------
    >>> import lamella
    >>> CosineEmbeddingLoss()(lamella.ones(1, 2), lamella.ones(1, 2), lamella.tensor([-1]))
    tensor(1.)
    """

    def __init__(self, margin: float = 0.0, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"):
        super().__init__()
        self.margin = margin
        self.reduction = reduction_of("CosineEmbeddingLoss", reduction, size_average, reduce)

    def forward(self, input1: Any, input2: Any, target: Any) -> Any:
        return F.cosine_embedding_loss(input1, input2, target, self.margin, reduction=self.reduction)
