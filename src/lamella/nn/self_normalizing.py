"""AlphaDropout and FeatureAlphaDropout."""

from __future__ import annotations

from typing import Any

from lamella import functional as F
from lamella.nn.dropout import _Dropout

__all__ = ["AlphaDropout", "FeatureAlphaDropout"]


class _AlphaDropout(_Dropout):
    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__(p, inplace)

    def forward(self, input: Any) -> Any:
        return type(self)._function(input, self.p, self.training, self.inplace)


class AlphaDropout(_AlphaDropout):
    """Dropout for networks of SELU, which keeps mean and variance, as `lamella.functional.alpha_dropout`.

    Parameters
    ----------
    p : float
    inplace : bool
        The input itself becomes the result, as in `lamella.functional.relu`.

    Examples
    --------
    >>> import lamella
    >>> AlphaDropout(0.2).eval()(lamella.ones(3))
    tensor([1., 1., 1.])
    """

    _function = staticmethod(F.alpha_dropout)


class FeatureAlphaDropout(_AlphaDropout):
    """`AlphaDropout` of whole channels.

    Parameters
    ----------
    p : float
    inplace : bool
        The input itself becomes the result, as in `lamella.functional.relu`.

    Examples
    --------
    >>> import lamella
    >>> FeatureAlphaDropout(0.2).eval()(lamella.ones(1, 3))
    tensor([[1., 1., 1.]])
    """

    _function = staticmethod(F.feature_alpha_dropout)
