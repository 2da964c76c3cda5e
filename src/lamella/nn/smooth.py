"""Layers of the smooth activations: ELU, CELU, SELU; SiLU, Swish, Mish; Softplus, LogSigmoid; Softsign, Tanhshrink."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella import functional as F
from lamella.nn.activation import InPlace
from lamella.nn.module import Module, Parameter

__all__ = ["CELU", "ELU", "LogSigmoid", "Mish", "SELU", "SiLU", "Softplus", "Softsign", "Swish", "Tanhshrink"]


class ELU(Module):
    """x where x > 0, else alpha (e^x - 1).

    Parameters
    ----------
    alpha : float
    inplace : bool
        The input itself becomes the result, as in `lamella.functional.relu`.

    Examples
    --------
    >>> import lamella
    >>> ELU()(lamella.tensor([-100.0, 2.0]))
    tensor([-1.,  2.])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class CELU(Module):
    """x where x > 0, else alpha (e^(x / alpha) - 1).

    Parameters
    ----------
    alpha : float
    inplace : bool
        The input itself becomes the result, as in `lamella.functional.relu`.

    Examples
    --------
    >>> import lamella
    >>> CELU(0.5)(lamella.tensor([-100.0, 2.0]))
    tensor([-0.5,  2. ])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.celu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class SELU(InPlace):
    """scale (x where x > 0, else alpha (e^x - 1)), as in `lamella.functional.selu`.

    Parameters
    ----------
    inplace : bool
        The input itself becomes the result, as in `lamella.functional.relu`.

    Examples
    --------
    >>> import lamella
    >>> SELU()(lamella.tensor([0.0]))
    tensor([0.])
    """

    def forward(self, input: Any) -> Any:
        return F.selu(input, self.inplace)


class SiLU(InPlace):
    """x sigmoid(x), elementwise.

    Parameters
    ----------
    inplace : bool
        The input itself becomes the result, as in `lamella.functional.relu`.

    Examples
    --------
    >>> import lamella
    >>> SiLU()(lamella.tensor([0.0, 100.0]))
    tensor([  0., 100.])
    """

    def forward(self, input: Any) -> Any:
        return F.silu(input, self.inplace)


class Swish(Module):
    """x sigmoid(beta x), with a beta that is learned, or fixed.

    Parameters
    ----------
    num_parameters : int
        1, or the number of channels: a beta for each.
    init : float
        Of beta.
    learned : bool
        Whether beta is a Parameter; otherwise the number `init` stays.

    Attributes
    ----------
    weight : Parameter of (num_parameters,), or None
        beta

    Examples
    --------
    >>> import lamella
    >>> Swish()(lamella.tensor([0.0, 100.0])).detach()
    tensor([  0., 100.])
    """

    def __init__(self, num_parameters: int = 1, init: float = 1.0, learned: bool = True):
        super().__init__()
        self.num_parameters, self.init, self.learned = num_parameters, init, learned
        self.weight = Parameter(np.full(num_parameters, init, np.float32)) if learned else None

    def forward(self, input: Any) -> Any:
        return F.swish(input, self.init if self.weight is None else self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}" if self.learned else f"beta={self.init}"


class Mish(InPlace):
    """x tanh(log(1 + e^x)), elementwise.

    Parameters
    ----------
    inplace : bool
        The input itself becomes the result, as in `lamella.functional.relu`.

    Examples
    --------
    >>> import lamella
    >>> Mish()(lamella.tensor([0.0, 100.0]))
    tensor([  0., 100.])
    """

    def forward(self, input: Any) -> Any:
        return F.mish(input, self.inplace)


class Softplus(Module):
    """log(1 + e^(beta x)) / beta, and x itself where beta x > threshold.

    Parameters
    ----------
    beta, threshold : float

    Examples
    --------
    >>> import lamella
    >>> Softplus()(lamella.tensor([-800.0, 800.0]))
    tensor([  0., 800.])
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Any) -> Any:
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class LogSigmoid(Module):
    """log(1 / (1 + e^-x)), elementwise.

    Examples
    --------
    >>> import lamella
    >>> LogSigmoid()(lamella.tensor([-800.0]))
    tensor([-800.])
    """

    def forward(self, input: Any) -> Any:
        return F.logsigmoid(input)


class Softsign(Module):
    """x / (1 + abs(x)), elementwise.

    Examples
    --------
    >>> import lamella
    >>> Softsign()(lamella.tensor([-1.0, 3.0]))
    tensor([-0.5 ,  0.75])
    """

    def forward(self, input: Any) -> Any:
        return F.softsign(input)


class Tanhshrink(Module):
    """x - tanh(x), elementwise.

    Examples
    --------
    >>> import lamella
    >>> Tanhshrink()(lamella.tensor([0.0]))
    tensor([0.])
    """

    def forward(self, input: Any) -> Any:
        return F.tanhshrink(input)
