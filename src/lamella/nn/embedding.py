"""Embedding."""

from __future__ import annotations

from typing import Any

from lamella import functional as F
from lamella.creation import empty
from lamella.nn import init
from lamella.nn.module import Module, Parameter
from lamella.tensor import Tensor, no_grad

__all__ = ["Embedding"]


class Embedding(Module):
    """A vector for each of `num_embeddings` things (words, pixels' grey levels), looked up by number and learned.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
    padding_idx : int, optional
        A row that starts as zeros and gets no gradient.
    max_norm, norm_type, scale_grad_by_freq, sparse
        As of `functional.embedding`.
    dtype : optional, default float32

    Attributes
    ----------
    weight : Parameter, shape (num_embeddings, embedding_dim)

    Notes
    -----
    Starts standard normal.

    Examples
    --------
    >>> import lamella
    >>> Embedding(10, 3)(lamella.tensor([[1, 2, 4, 5], [4, 3, 2, 9]])).shape
    (2, 4, 3)
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0,
        scale_grad_by_freq: bool = False, sparse: bool = False, dtype: Any = None,
    ):  # fmt: skip
        super().__init__()
        for name, value in (("num_embeddings", num_embeddings), ("embedding_dim", embedding_dim)):
            if not hasattr(value, "__index__") or value < 0:
                raise ValueError(f"Embedding: {name} must be an integer, not negative, got {value!r}")
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(f"Embedding: expected padding_idx as one of {num_embeddings} rows, got {padding_idx}")
        if sparse:
            raise ValueError("Embedding: sparse gradients are not there; use sparse=False")
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse = max_norm, norm_type, scale_grad_by_freq, sparse
        self.weight = Parameter(empty(num_embeddings, embedding_dim, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0

    @classmethod
    def from_pretrained(cls, embeddings: Any, freeze: bool = True, **options: Any) -> Embedding:
        """An Embedding of given rows; with `freeze` they are not trained."""
        data = embeddings.data if isinstance(embeddings, Tensor) else embeddings
        made = cls(data.shape[0], data.shape[1], **options)
        made.weight = Parameter(data, requires_grad=not freeze)
        return made

    def forward(self, input: Any) -> Any:
        return F.embedding(input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse)

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        for name, default in (("padding_idx", None), ("max_norm", None), ("norm_type", 2.0), ("scale_grad_by_freq", False)):
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text
