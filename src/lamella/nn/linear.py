"""Linear and Identity."""

from __future__ import annotations

from typing import Any

from lamella import functional as F
from lamella.creation import empty
from lamella.nn import init
from lamella.nn.module import Module, Parameter

__all__ = ["Identity", "Linear"]


class Identity(Module):
    """Returns its input; arguments are accepted and ignored.

    Examples
    --------
    >>> Identity(54, unused=0.1)(3)
    3
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class Linear(Module):
    """y = x @ weight.T + bias.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    dtype : optional, default float32

    Attributes
    ----------
    weight : Parameter, shape (out_features, in_features)
    bias : Parameter, shape (out_features,), or None

    Notes
    -----
    Both start uniform within 1 / sqrt(in_features).

    Examples
    --------
    >>> import lamella
    >>> Linear(20, 30)(lamella.randn(128, 20)).shape
    (128, 30)
    """

    bias: Parameter | None

    def __init__(self, in_features: int, out_features: int, bias: bool = True, dtype: Any = None):
        super().__init__()
        for name, value in (("in_features", in_features), ("out_features", out_features)):
            if not hasattr(value, "__index__") or value < 0:
                raise ValueError(f"Linear: {name} must be an integer, not negative, got {value!r}")
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(empty(out_features, in_features, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_features, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        init.default_weight_(self.weight)
        if self.bias is not None:
            init.default_bias_(self.bias, self.weight)

    def forward(self, input: Any) -> Any:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
