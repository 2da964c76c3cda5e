"""Initial values of parameters, filled in place; random ones come from lamella's random state.

Every function takes a Tensor (or an ndarray), changes it, and returns it; nothing is recorded.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lamella.random import generator
from lamella.tensor import Tensor

__all__ = [
    "calculate_gain",
    "constant_",
    "default_bias_",
    "default_weight_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "lecun_normal_",
    "lecun_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]


def _set(tensor: Any, values: Any) -> Any:
    if isinstance(tensor, Tensor):
        tensor._version[0] += 1
        tensor.data[...] = values
    else:
        tensor[...] = values
    return tensor


def _fans(tensor: Any, name: str) -> tuple[int, int]:
    shape = tuple(tensor.shape)
    if len(shape) < 2:
        raise ValueError(f"{name}: fan in and fan out can not be computed for a tensor with fewer than 2 dimensions, got shape {shape}")
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity shrinks the standard deviation, inverted.

    Parameters
    ----------
    nonlinearity : {"linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"}
    param : float, optional
        The negative slope of leaky_relu. Default: 0.01.

    Examples
    --------
    >>> calculate_gain("leaky_relu", 0.2)
    1.3867504905630728
    """
    if nonlinearity in ("linear", "conv1d", "conv2d", "conv3d", "sigmoid"):
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        if param is not None and (isinstance(param, bool) or not isinstance(param, (int, float))):
            raise ValueError(f"negative_slope {param} not a valid number")
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def constant_(tensor: Any, val: float) -> Any:
    """Fill with one number.

    Parameters
    ----------
    tensor : Tensor or ndarray
    val : float

    Examples
    --------
    >>> import lamella
    >>> constant_(lamella.empty(2), 0.5)
    tensor([0.5, 0.5])
    """
    return _set(tensor, val)


def zeros_(tensor: Any) -> Any:
    """Fill with zeros.

    Parameters
    ----------
    tensor : Tensor or ndarray

    Examples
    --------
    >>> import lamella
    >>> zeros_(lamella.empty(2))
    tensor([0., 0.])
    """
    return _set(tensor, 0)


def ones_(tensor: Any) -> Any:
    """Fill with ones.

    Parameters
    ----------
    tensor : Tensor or ndarray

    Examples
    --------
    >>> import lamella
    >>> ones_(lamella.empty(2))
    tensor([1., 1.])
    """
    return _set(tensor, 1)


def eye_(tensor: Any) -> Any:
    """Ones on the diagonal of a matrix, zeros elsewhere.

    Parameters
    ----------
    tensor : Tensor or ndarray

    Examples
    --------
    >>> import lamella
    >>> eye_(lamella.empty(2, 2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    if len(tensor.shape) != 2:
        raise ValueError(f"eye_: only tensors with 2 dimensions are supported, got shape {tuple(tensor.shape)}")
    return _set(tensor, np.eye(*tensor.shape))


def dirac_(tensor: Any, groups: int = 1) -> Any:
    """Filters that pass their input channels through unchanged.

    Parameters
    ----------
    tensor : Tensor or ndarray
        Filters (oc, ic, *window).
    groups : int
        Divides oc.

    Examples
    --------
    >>> import lamella
    >>> int(dirac_(lamella.empty(4, 2, 3, 3)).sum())
    2
    """
    shape = tuple(tensor.shape)
    if len(shape) not in (3, 4, 5):
        raise ValueError(f"dirac_: only tensors with 3, 4, or 5 dimensions are supported, got shape {shape}")
    if shape[0] % groups:
        raise ValueError(f"dirac_: dim 0 must be divisible by groups, got {shape[0]} and {groups}")
    values = np.zeros(shape)
    per_group = shape[0] // groups
    centre = tuple(k // 2 for k in shape[2:])
    for group in range(groups):
        for i in range(min(per_group, shape[1])):
            values[(group * per_group + i, i, *centre)] = 1
    return _set(tensor, values)


def uniform_(tensor: Any, a: float = 0.0, b: float = 1.0) -> Any:
    """Uniform in [a, b).

    Parameters
    ----------
    tensor : Tensor or ndarray
    a, b : float

    Examples
    --------
    >>> import lamella
    >>> uniform_(lamella.empty(3, 5), -1, 1).shape
    (3, 5)
    """
    return _set(tensor, generator().uniform(a, b, tuple(tensor.shape)))


def normal_(tensor: Any, mean: float = 0.0, std: float = 1.0) -> Any:
    """Normal with a mean and a standard deviation.

    Parameters
    ----------
    tensor : Tensor or ndarray
    mean, std : float

    Examples
    --------
    >>> import lamella
    >>> normal_(lamella.empty(3, 5), std=0.02).shape
    (3, 5)
    """
    return _set(tensor, generator().normal(mean, std, tuple(tensor.shape)))


def trunc_normal_(tensor: Any, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0) -> Any:
    """Normal, drawn again until it lies in [a, b].

    Parameters
    ----------
    tensor : Tensor or ndarray
    mean, std, a, b : float

    Examples
    --------
    >>> import lamella
    >>> bool(abs(trunc_normal_(lamella.empty(1000), a=-1, b=1)).max() <= 1)
    True
    """
    if not a < b:
        raise ValueError(f"trunc_normal_: expected a < b, got {a} and {b}")
    rng = generator()
    if mean < a - 2 * std or mean > b + 2 * std:
        raise ValueError(f"trunc_normal_: [{a}, {b}] lies more than 2 std from the mean {mean}, too far out to draw from")
    values = rng.normal(mean, std, tuple(tensor.shape))
    while (outside := (values < a) | (values > b)).any():
        values[outside] = rng.normal(mean, std, int(outside.sum()))
    return _set(tensor, values)


def xavier_uniform_(tensor: Any, gain: float = 1.0) -> Any:
    """Uniform in [-b, b), b = gain * sqrt(6 / (fan_in + fan_out)).

    Parameters
    ----------
    tensor : Tensor or ndarray
        Two axes or more: (out, in, *window).
    gain : float

    Notes
    -----
    After Glorot and Bengio, AISTATS 2010.

    Examples
    --------
    >>> import lamella
    >>> bool(abs(xavier_uniform_(lamella.empty(3, 3))).max() <= 1)
    True
    """
    bound = gain * math.sqrt(6.0 / max(1, sum(_fans(tensor, "xavier_uniform_"))))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Any, gain: float = 1.0) -> Any:
    """Normal with standard deviation gain * sqrt(2 / (fan_in + fan_out)).

    Parameters
    ----------
    tensor : Tensor or ndarray
        Two axes or more: (out, in, *window).
    gain : float

    Notes
    -----
    After Glorot and Bengio, AISTATS 2010.

    Examples
    --------
    >>> import lamella
    >>> xavier_normal_(lamella.empty(3, 3)).shape
    (3, 3)
    """
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / max(1, sum(_fans(tensor, "xavier_normal_")))))


def _kaiming_std(tensor: Any, a: float, mode: str, nonlinearity: str, name: str) -> float:
    fan_in, fan_out = _fans(tensor, name)
    fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
    if mode not in fans:
        raise ValueError(f"{name}: mode must be 'fan_in', 'fan_out' or 'fan_avg', got {mode!r}")
    fan = fans[mode]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan) if fan else 0.0


def kaiming_uniform_(tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Any:
    """Uniform in [-b, b), b = gain * sqrt(3 / fan).

    Parameters
    ----------
    tensor : Tensor or ndarray, two axes or more: (out, in, *window)
    a : float
        The negative slope of the leaky_relu that follows.
    mode : {"fan_in", "fan_out", "fan_avg"}
        Keep the variance of the forward pass, of the backward pass, or something between: with "fan_avg" and relu the variance
        is 4 / (fan_in + fan_out).
    nonlinearity : str
        See `calculate_gain`.

    Notes
    -----
    After He, Zhang, Ren and Sun, ICCV 2015.

    Examples
    --------
    >>> import lamella
    >>> w = kaiming_uniform_(lamella.empty(3, 5), mode="fan_in", nonlinearity="relu")
    >>> bool(abs(w.data).max() <= (2 * 3 / 5) ** 0.5)
    True
    """
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity, "kaiming_uniform_")
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Any:
    """Normal with standard deviation gain / sqrt(fan).

    Parameters
    ----------
    tensor : Tensor or ndarray
        Two axes or more: (out, in, *window).
    a, mode, nonlinearity
        As in `kaiming_uniform_`.

    Notes
    -----
    After He, Zhang, Ren and Sun, ICCV 2015.

    Examples
    --------
    >>> import lamella
    >>> kaiming_normal_(lamella.empty(8, 3, 3, 3), mode="fan_out", nonlinearity="relu").shape
    (8, 3, 3, 3)
    """
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity, "kaiming_normal_"))


def lecun_normal_(tensor: Any) -> Any:
    """Normal with standard deviation 1 / sqrt(fan_in): ``randn(n) / sqrt(n)``, which calibrates the variance of a linear neuron to that of its inputs.

    Parameters
    ----------
    tensor : Tensor or ndarray
        Two axes or more: (out, in, *window).

    Notes
    -----
    After LeCun, Bottou, Orr and Mueller, Efficient BackProp, 1998; for SELU networks.

    Examples
    --------
    >>> import lamella
    >>> lecun_normal_(lamella.empty(3, 5)).shape
    (3, 5)
    """
    return normal_(tensor, 0.0, _kaiming_std(tensor, 0.0, "fan_in", "linear", "lecun_normal_"))


def lecun_uniform_(tensor: Any) -> Any:
    """Uniform in [-b, b), b = sqrt(3 / fan_in): of variance 1 / fan_in, as `lecun_normal_`.

    Parameters
    ----------
    tensor : Tensor or ndarray
        Two axes or more: (out, in, *window).

    Examples
    --------
    >>> import lamella
    >>> bool(abs(lecun_uniform_(lamella.empty(5, 3))).max() <= 1)
    True
    """
    bound = math.sqrt(3.0) * _kaiming_std(tensor, 0.0, "fan_in", "linear", "lecun_uniform_")
    return uniform_(tensor, -bound, bound)


def sparse_(tensor: Any, sparsity: float, std: float = 0.01) -> Any:
    """Normal with mean 0, and in each column a part of zeros, at random places.

    Parameters
    ----------
    tensor : Tensor or ndarray
        Two axes.
    sparsity : float in [0, 1]
        The part of zeros: ``ceil(sparsity * rows)`` in each column.
    std : float

    Notes
    -----
    After Martens, ICML 2010.

    Examples
    --------
    >>> import lamella
    >>> w = sparse_(lamella.empty(10, 3), sparsity=0.3)
    >>> [int(n) for n in (w.data == 0).sum(0)]
    [3, 3, 3]
    """
    if len(tensor.shape) != 2:
        raise ValueError(f"sparse_: only tensors with 2 dimensions are supported, got shape {tuple(tensor.shape)}")
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparse_: expected a sparsity in [0, 1], got {sparsity}")
    rows, columns = tensor.shape
    values = generator().normal(0.0, std, (rows, columns))
    for column in range(columns):
        values[generator().permutation(rows)[: math.ceil(sparsity * rows)], column] = 0
    return _set(tensor, values)


def orthogonal_(tensor: Any, gain: float = 1.0) -> Any:
    """A (semi-)orthogonal matrix (out, in * window), by Gram-Schmidt, run twice, on a random one.

    Parameters
    ----------
    tensor : Tensor or ndarray
        Two axes or more.
    gain : float

    Notes
    -----
    After Saxe, McClelland and Ganguli, ICLR 2014.

    Examples
    --------
    >>> import lamella
    >>> w = orthogonal_(lamella.empty(3, 5))
    >>> bool(abs(w @ w.T - lamella.eye(3)).max() < 1e-6)
    True
    """
    shape = tuple(tensor.shape)
    if len(shape) < 2:
        raise ValueError(f"orthogonal_: only tensors with 2 or more dimensions are supported, got shape {shape}")
    rows, columns = shape[0], math.prod(shape[1:])
    q = generator().standard_normal((min(rows, columns), max(rows, columns)))
    for i in range(len(q)):
        for _ in range(2):
            q[i] -= ((q[:i] * q[i]).sum(1)[:, None] * q[:i]).sum(0)
        q[i] /= math.sqrt((q[i] * q[i]).sum())
    return _set(tensor, gain * (q if rows <= columns else q.T).reshape(shape))


def default_weight_(weight: Any) -> Any:
    """PyTorch's default for the weight of Linear and Conv2d: ``kaiming_uniform_(weight, a=sqrt(5))``, uniform within 1/sqrt(fan_in).

    Parameters
    ----------
    weight : Tensor or ndarray, (out, in, *window)

    Examples
    --------
    >>> import lamella
    >>> bool(abs(default_weight_(lamella.empty(8, 4))).max() <= 0.5)
    True
    """
    return kaiming_uniform_(weight, a=math.sqrt(5)) if weight.shape[0] and math.prod(weight.shape) else weight


def default_bias_(bias: Any, weight: Any) -> Any:
    """PyTorch's default for the bias of Linear and Conv2d: uniform within 1/sqrt(fan_in) of the weight.

    Parameters
    ----------
    bias, weight : Tensor or ndarray

    Examples
    --------
    >>> import lamella
    >>> bool(abs(default_bias_(lamella.empty(8), lamella.empty(8, 4))).max() <= 0.5)
    True
    """
    fan_in, _ = _fans(weight, "default_bias_")
    bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0.0
    return uniform_(bias, -bound, bound)
