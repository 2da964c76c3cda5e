"""Layers whose slope is learned or drawn: PReLU and RReLU."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella import functional as F
from lamella.nn.module import Module, Parameter

__all__ = ["PReLU", "RReLU"]


class PReLU(Module):
    """x where x > 0, else weight * x, with a weight that is learned. Weight decay would pull it to 0.

    Parameters
    ----------
    num_parameters : int
        1, or the number of channels: a weight for each.
    init : float
        Of the weights.

    Attributes
    ----------
    weight : Parameter of (num_parameters,)

    Examples
    --------
    >>> import lamella
    >>> PReLU()(lamella.tensor([-1.0, 2.0])).detach()
    tensor([-0.25,  2.  ])
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25):
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(np.full(num_parameters, init, np.float32))

    def forward(self, input: Any) -> Any:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class RReLU(Module):
    """Leaky ReLU with slopes drawn, in training, for every element anew; in evaluation, with the mean of the two limits.

    Parameters
    ----------
    lower, upper : float
    inplace : bool
        The input itself becomes the result, as in `lamella.functional.relu`.

    Examples
    --------
    >>> import lamella
    >>> RReLU(0.25, 0.75).eval()(lamella.tensor([-1.0, 2.0]))
    tensor([-0.5,  2. ])
    """

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False):
        super().__init__()
        self.lower, self.upper, self.inplace = lower, upper, inplace

    def forward(self, input: Any) -> Any:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}" + (", inplace=True" if self.inplace else "")
