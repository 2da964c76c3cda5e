"""Normalisation within images: the layers that do not look at the rest of the batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella import functional as F
from lamella.creation import ones, zeros
from lamella.nn.module import Module, Parameter
from lamella.tensor import Tensor

__all__ = ["GroupNorm", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "LayerNorm", "LocalResponseNorm", "RMSNorm"]


class _Affine(Module):
    """A learned scale and shift, or none."""

    weight: Parameter | None
    bias: Parameter | None

    def _learn(self, shape: tuple[int, ...], weight: bool, bias: bool | None, dtype: Any) -> None:
        """bias None: the layer knows none."""
        self.register_parameter("weight", Parameter(ones(*shape, dtype=dtype)) if weight else None)
        if bias is not None:
            self.register_parameter("bias", Parameter(zeros(*shape, dtype=dtype)) if bias else None)

    def reset_parameters(self) -> None:
        """Scale 1, shift 0."""
        for name, value in (("weight", 1), ("bias", 0)):
            if self._parameters.get(name) is not None:
                self._parameters[name].data[...] = value  # type: ignore[union-attr]


def _shape(name: str, normalized_shape: Any) -> tuple[int, ...]:
    shape = (normalized_shape,) if hasattr(normalized_shape, "__index__") else tuple(normalized_shape)
    if not shape or not all(hasattr(n, "__index__") and n >= 0 for n in shape):
        raise ValueError(f"{name}: expected normalized_shape as an int or a sequence of ints, got {normalized_shape!r}")
    return shape


class LayerNorm(_Affine):
    """Normalise the last axes of every element of the batch.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The sizes of these axes.
    eps : float
        Added to the variance.
    elementwise_affine : bool
        With learned `weight` and, unless bias is False, `bias`.
    bias : bool
    dtype : optional, default float32

    Attributes
    ----------
    weight, bias : Parameter of normalized_shape, or None

    Examples
    --------
    >>> import lamella
    >>> LayerNorm(8)(lamella.randn(2, 5, 8)).shape
    (2, 5, 8)
    """

    def __init__(self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True, dtype: Any = None):
        super().__init__()
        self.normalized_shape = _shape("LayerNorm", normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self._learn(self.normalized_shape, elementwise_affine, elementwise_affine and bias, dtype)

    def forward(self, input: Any) -> Any:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"


class RMSNorm(_Affine):
    """Divide the last axes of every element of the batch by their root mean square.

    Parameters
    ----------
    normalized_shape : int or sequence of int
    eps : float, optional
        Default: the machine epsilon of the dtype.
    elementwise_affine : bool
        With a learned `weight`.
    dtype : optional, default float32

    Attributes
    ----------
    weight : Parameter of normalized_shape, or None

    Examples
    --------
    >>> import lamella
    >>> RMSNorm(8)(lamella.randn(2, 5, 8)).shape
    (2, 5, 8)
    """

    def __init__(self, normalized_shape: Any, eps: float | None = None, elementwise_affine: bool = True, dtype: Any = None):
        super().__init__()
        self.normalized_shape = _shape("RMSNorm", normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self._learn(self.normalized_shape, elementwise_affine, None, dtype)

    def forward(self, input: Any) -> Any:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(_Affine):
    """Normalise groups of neighbouring channels of every image.

    Parameters
    ----------
    num_groups : int, divides num_channels
    num_channels : int
    eps : float
        Added to the variance.
    affine : bool
        With learned `weight` and, unless bias is False, `bias`.
    bias : bool
    dtype : optional, default float32

    Attributes
    ----------
    weight, bias : Parameter, shape (num_channels,), or None

    Examples
    --------
    >>> import lamella
    >>> GroupNorm(2, 6)(lamella.randn(2, 6, 4, 4)).shape
    (2, 6, 4, 4)
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, bias: bool = True, dtype: Any = None):
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(f"GroupNorm: num_groups={num_groups} must divide num_channels={num_channels}")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self._learn((num_channels,), affine, affine and bias, dtype)

    def forward(self, input: Any) -> Any:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, bias={self.bias is not None}"


class _InstanceNorm(_Affine):
    """What the layers share; they differ in the inputs they accept."""

    _axes: int

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        dtype: Any = None,
    ):
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self._learn((num_features,), affine, affine, dtype)
        self.register_buffer("running_mean", zeros(num_features, dtype=dtype) if track_running_stats else None)
        self.register_buffer("running_var", ones(num_features, dtype=dtype) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", Tensor(np.zeros((), np.int64)) if track_running_stats else None)

    def forward(self, input: Any) -> Any:
        if input.ndim not in (self._axes + 1, self._axes + 2) or input.shape[-self._axes - 1] != self.num_features:
            axes = {1: "L", 2: "H, W", 3: "D, H, W"}[self._axes]
            raise ValueError(
                f"{type(self).__name__}: expected input (N, {self.num_features}, {axes}) or ({self.num_features}, {axes}), got {input.shape}"
            )
        single = input.ndim == self._axes + 1
        x = F.unsqueeze(input, 0) if single else input
        use = self.training or not self.track_running_stats
        out = F.instance_norm(x, self.running_mean, self.running_var, self.weight, self.bias, use, self.momentum, self.eps)
        return F.squeeze(out, 0) if single else out

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.affine}, track_running_stats={self.track_running_stats}"
        )


class InstanceNorm1d(_InstanceNorm):
    """Normalise every channel of sequences by itself.

    Parameters
    ----------
    num_features : int
        C of the input (N, C, L) or (C, L).
    eps : float
        Added to the variance.
    momentum : float
        Weight of a new batch in the running statistics.
    affine : bool
        With learned `weight` and `bias`.
    track_running_stats : bool
        Keep running statistics, and evaluate with them.
    dtype : optional, default float32

    Examples
    --------
    >>> import lamella
    >>> InstanceNorm1d(3)(lamella.randn(2, 3, 8)).shape
    (2, 3, 8)
    """

    _axes = 1


class InstanceNorm2d(_InstanceNorm):
    """Normalise every channel of images by itself.

    Parameters
    ----------
    num_features : int
        C of the input (N, C, H, W) or (C, H, W).
    eps : float
        Added to the variance.
    momentum : float
        Weight of a new batch in the running statistics.
    affine : bool
        With learned `weight` and `bias`.
    track_running_stats : bool
        Keep running statistics, and evaluate with them.
    dtype : optional, default float32

    Examples
    --------
    >>> import lamella
    >>> InstanceNorm2d(3)(lamella.randn(2, 3, 4, 4)).shape
    (2, 3, 4, 4)
    """

    _axes = 2


class InstanceNorm3d(_InstanceNorm):
    """Normalise every channel of volumes by itself.

    Parameters
    ----------
    num_features : int
        C of the input (N, C, D, H, W) or (C, D, H, W).
    eps : float
        Added to the variance.
    momentum : float
        Weight of a new batch in the running statistics.
    affine : bool
        With learned `weight` and `bias`.
    track_running_stats : bool
        Keep running statistics, and evaluate with them.
    dtype : optional, default float32

    Examples
    --------
    >>> import lamella
    >>> InstanceNorm3d(3)(lamella.randn(2, 3, 4, 4, 4)).shape
    (2, 3, 4, 4, 4)
    """

    _axes = 3


class LocalResponseNorm(Module):
    """Divide by what neighbouring channels do at the same pixel.

    Parameters
    ----------
    size : int
        Channels of a window.
    alpha, beta, k : float
        See `lamella.functional.local_response_norm`.

    Examples
    --------
    >>> import lamella
    >>> LocalResponseNorm(5)(lamella.randn(2, 16, 4, 4)).shape
    (2, 16, 4, 4)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Any) -> Any:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
