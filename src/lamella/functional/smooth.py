"""Smooth activations: elu, celu, selu; silu, swish, mish; softplus, logsigmoid; softsign, tanhshrink."""

from __future__ import annotations

import math
from typing import Any

from lamella.functional.activation import forms
from lamella.functional.parametric import learned_swish

# Klambauer et al.: with these, mean 0 and variance 1 are a stable fixed point
SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717

_ELU, _CELU, _SELU = (forms("elu", name) for name in ("elu", "celu", "selu"))
_SILU, _SWISH = (forms("swish", name) for name in ("silu", "swish"))
_SOFTPLUS, _LOGSIGMOID = (forms("softplus", name) for name in ("softplus", "logsigmoid"))
_MISH, _SOFTSIGN, _TANHSHRINK = (forms(name) for name in ("mish", "softsign", "tanhshrink"))


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where x > 0, else alpha (e^x - 1).

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)
    alpha : float
        What it saturates to, with a minus sign, far to the left; only with 1 is the derivative continuous.
    inplace : bool
        As in `relu`.

    Returns
    -------
    array or Tensor of the same shape

    References
    ----------
    Clevert, Unterthiner and Hochreiter, arXiv:1511.07289.

    Examples
    --------
    >>> elu(np.array([-1e4, -1.0, 2.0])).round(4)
    array([-1.    , -0.6321,  2.    ])
    """
    return _ELU(input, inplace, float(alpha), 1.0, 1.0)


def elu_(input: Any, alpha: float = 1.0) -> Any:
    """`elu` in place.

    Parameters
    ----------
    input : array or Tensor of float32 or float64
    alpha : float

    Examples
    --------
    >>> x = np.array([-1e4, 2.0])
    >>> elu_(x) is x, x
    (True, array([-1.,  2.]))
    """
    return elu(input, alpha, inplace=True)


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where x > 0, else alpha (e^(x / alpha) - 1): the derivative is continuous for every alpha.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)
    alpha : float
        Not 0.
    inplace : bool
        As in `relu`.

    Returns
    -------
    array or Tensor of the same shape

    Raises
    ------
    ValueError
        alpha is 0.

    References
    ----------
    Barron, arXiv:1704.07483.

    Examples
    --------
    >>> celu(np.array([-1.0, 2.0]), 0.5).round(4)
    array([-0.4323,  2.    ])
    """
    if alpha == 0:
        raise ValueError("celu: alpha cannot be 0")
    return _CELU(input, inplace, float(alpha), 1.0, 1.0 / alpha)


def celu_(input: Any, alpha: float = 1.0) -> Any:
    """`celu` in place.

    Parameters
    ----------
    input : array or Tensor of float32 or float64
    alpha : float

    Examples
    --------
    >>> x = np.array([-1e4, 2.0])
    >>> celu_(x, 0.5) is x, x
    (True, array([-0.5,  2. ]))
    """
    return celu(input, alpha, inplace=True)


def selu(input: Any, inplace: bool = False) -> Any:
    """scale (x where x > 0, else alpha (e^x - 1)), scale = 1.0507009873554805, alpha = 1.6732632423543772.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)
    inplace : bool
        As in `relu`.

    Returns
    -------
    array or Tensor of the same shape

    Notes
    -----
    Dense layers with `lecun_normal_` weights then keep mean 0 and variance 1 by themselves; so standardise the input, use `alpha_dropout` and no other
    normalisation.

    References
    ----------
    Klambauer et al., Self-normalizing neural networks, arXiv:1706.02515.

    Examples
    --------
    >>> selu(np.array([-1.0, 2.0])).round(4)
    array([-1.1113,  2.1014])
    """
    return _SELU(input, inplace, SELU_SCALE * SELU_ALPHA, SELU_SCALE, 1.0)


def selu_(input: Any) -> Any:
    """`selu` in place.

    Parameters
    ----------
    input : array or Tensor of float32 or float64

    Examples
    --------
    >>> x = np.array([0.0, -1e4])
    >>> selu_(x) is x, x.round(4)
    (True, array([ 0.    , -1.7581]))
    """
    return selu(input, inplace=True)


def silu(input: Any, inplace: bool = False) -> Any:
    """x sigmoid(x), also known as Swish-1.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)
    inplace : bool
        As in `relu`.

    Returns
    -------
    array or Tensor of the same shape

    References
    ----------
    Elfwing, Uchibe and Doya, arXiv:1702.03118; Hendrycks and Gimpel, arXiv:1606.08415.

    Examples
    --------
    >>> silu(np.array([-1.0, 0.0, 2.0])).round(4)
    array([-0.2689,  0.    ,  1.7616])
    """
    return _SILU(input, inplace, 1.0)


def swish(input: Any, beta: Any = 1.0) -> Any:
    """x sigmoid(beta x): between x / 2 (beta = 0) and ReLU (beta to infinity). PyTorch has it for beta = 1 only, as `silu`.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)
    beta : float; or array or Tensor of one element or one per channel (axis 1), to be learned

    Returns
    -------
    array or Tensor of the same shape

    References
    ----------
    Ramachandran, Zoph and Le, arXiv:1710.05941.

    Examples
    --------
    >>> swish(np.array([-1.0, 2.0]), 2.0).round(4)
    array([-0.1192,  1.964 ])
    """
    return learned_swish(input, beta) if hasattr(beta, "dtype") and hasattr(beta, "ndim") else _SWISH(input, False, float(beta))


def mish(input: Any, inplace: bool = False) -> Any:
    """x tanh(log(1 + e^x)).

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)
    inplace : bool
        As in `relu`.

    Returns
    -------
    array or Tensor of the same shape

    References
    ----------
    Misra, arXiv:1908.08681.

    Examples
    --------
    >>> mish(np.array([-1.0, 0.0, 2.0])).round(4)
    array([-0.3034,  0.    ,  1.944 ])
    """
    return _MISH(input, inplace)


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + e^(beta x)) / beta, and x itself where beta x > threshold: a smooth ReLU, always positive.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)
    beta, threshold : float

    Returns
    -------
    array or Tensor of the same shape

    Examples
    --------
    >>> softplus(np.array([-800.0, 0.0, 30.0])).round(4)
    array([ 0.    ,  0.6931, 30.    ])
    """
    return _SOFTPLUS(input, False, float(beta), float(threshold))


def logsigmoid(input: Any) -> Any:
    """log(1 / (1 + e^-x)), without overflow.

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)

    Returns
    -------
    array or Tensor of the same shape

    Examples
    --------
    >>> logsigmoid(np.array([-800.0, 0.0])).round(4)
    array([-8.000e+02, -6.931e-01])
    """
    return _LOGSIGMOID(input, False, -1.0, math.inf)  # -softplus(-x)


def softsign(input: Any) -> Any:
    """x / (1 + abs(x)).

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)

    Returns
    -------
    array or Tensor of the same shape

    Examples
    --------
    >>> softsign(np.array([-1.0, 3.0]))
    array([-0.5 ,  0.75])
    """
    return _SOFTSIGN(input, False)


def tanhshrink(input: Any) -> Any:
    """x - tanh(x).

    Parameters
    ----------
    input : array or Tensor of float32 or float64, any shape and memory order (kept)

    Returns
    -------
    array or Tensor of the same shape

    Examples
    --------
    >>> tanhshrink(np.array([0.0, 2.0])).round(4)
    array([0.   , 1.036])
    """
    return _TANHSHRINK(input, False)
