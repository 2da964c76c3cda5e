"""Batch normalisation layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella import functional as F
from lamella.creation import empty, ones, zeros
from lamella.nn import init
from lamella.nn.module import Module, Parameter
from lamella.tensor import Tensor

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"]


class _BatchNorm(Module):
    """What the layers share; they differ in the inputs they accept."""

    _dims: tuple[int, ...]
    _shape: str
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: Any = None,
        activation: str = "none",
        convention: str = "torch",
        eps_outside: bool = False,
    ):
        super().__init__()
        name = type(self).__name__
        if not hasattr(num_features, "__index__") or num_features < 1:
            raise ValueError(f"{name}: num_features must be a positive integer, got {num_features!r}")
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats, self.activation = affine, track_running_stats, activation
        self.convention, self.eps_outside = convention, eps_outside
        self.register_parameter("weight", Parameter(empty(num_features, dtype=dtype)) if affine else None)
        self.register_parameter("bias", Parameter(empty(num_features, dtype=dtype)) if affine else None)
        self.register_buffer("running_mean", zeros(num_features, dtype=dtype) if track_running_stats else None)
        self.register_buffer("running_var", ones(num_features, dtype=dtype) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", Tensor(np.zeros((), np.int64)) if track_running_stats else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget all batches."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Scale 1, shift 0, and no batch seen."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Any, residual: Any = None) -> Any:
        name = type(self).__name__
        if np.ndim(input.data if isinstance(input, Tensor) else input) not in self._dims:
            raise ValueError(f"{name}: expected input of shape {self._shape}, got {input.shape}")
        if input.shape[1] != self.num_features:
            raise ValueError(f"{name}: expected input with {self.num_features} channels, {self._shape}, got shape {input.shape}")
        tracked = self.track_running_stats and self.training
        momentum = self.momentum
        if tracked and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if momentum is None:
                momentum = 1 / int(self.num_batches_tracked)
                momentum = momentum if self.convention == "torch" else 1 - momentum
        use = tracked or not self.training
        mean, var = (self.running_mean, self.running_var) if use else (None, None)
        return F.batch_norm(
            input,
            mean,
            var,
            self.weight,
            self.bias,
            self.training or mean is None,
            momentum or 0.0,
            self.eps,
            activation=self.activation,
            residual=residual,
            convention=self.convention,
            eps_outside=self.eps_outside,
        )

    def sigma(self, var: np.ndarray) -> np.ndarray:
        """What is divided by at a variance: sqrt(var + eps), or sqrt(var) + eps."""
        return np.sqrt(var) + self.eps if self.eps_outside else np.sqrt(var + self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
            + (f", activation={self.activation!r}" if self.activation != "none" else "")
            + (f", convention={self.convention!r}" if self.convention != "torch" else "")
            + (", eps_outside=True" if self.eps_outside else "")
        )


class BatchNorm1d(_BatchNorm):
    """Normalise the features of vectors, or of sequences, over the batch.

    Parameters
    ----------
    num_features : int
        C of the input (N, C) or (N, C, L).
    eps : float
        Added to the variance.
    momentum : float or None
        Weight of a new batch in the running statistics; None: all batches count the same.
    affine : bool
        With learned `weight` and `bias`.
    track_running_stats : bool
        Keep running statistics and evaluate with them; without, every batch is normalised by its own.
    dtype : optional, default float32
    activation : {"none", "relu"}
        Applied to the result in the same pass, also to ``layer(input, residual)``, the sum with another Tensor.
    convention : {"torch", "keras", "onnx"}
        What momentum weighs, and which variance is kept: see `lamella.functional.batch_norm`.
    eps_outside : bool
        Divide by sqrt(var) + eps instead of sqrt(var + eps).

    Attributes
    ----------
    weight, bias : Parameter, shape (num_features,), or None
    running_mean, running_var, num_batches_tracked : Tensor or None

    Examples
    --------
    >>> import lamella
    >>> BatchNorm1d(1)(lamella.tensor([[1.0], [3.0]])).detach().numpy().round(3)
    array([[-1.],
           [ 1.]], dtype=float32)
    """

    _dims, _shape = (2, 3), "(N, C) or (N, C, L)"


class BatchNorm2d(_BatchNorm):
    """Normalise the channels of images over the batch and all pixels.

    Parameters
    ----------
    num_features : int
        C of the input (N, C, H, W).
    eps : float
        Added to the variance.
    momentum : float or None
        Weight of a new batch in the running statistics; None: all batches count the same.
    affine : bool
        With learned `weight` and `bias`.
    track_running_stats : bool
        Keep running statistics and evaluate with them; without, every batch is normalised by its own.
    dtype : optional, default float32
    activation : {"none", "relu"}
        Applied to the result in the same pass, also to ``layer(input, residual)``, the sum with another Tensor.
    convention : {"torch", "keras", "onnx"}
        What momentum weighs, and which variance is kept: see `lamella.functional.batch_norm`.
    eps_outside : bool
        Divide by sqrt(var) + eps instead of sqrt(var + eps).

    Attributes
    ----------
    weight, bias : Parameter, shape (num_features,), or None
    running_mean, running_var, num_batches_tracked : Tensor or None

    Examples
    --------
    >>> import lamella
    >>> bn = BatchNorm2d(3)
    >>> bn(lamella.randn(2, 3, 4, 4)).shape
    (2, 3, 4, 4)
    >>> bn.eval()
    BatchNorm2d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
    """

    _dims, _shape = (4,), "(N, C, H, W)"


class BatchNorm3d(_BatchNorm):
    """Normalise the channels of volumes over the batch and all voxels.

    Parameters
    ----------
    num_features : int
        C of the input (N, C, D, H, W).
    eps : float
        Added to the variance.
    momentum : float or None
        Weight of a new batch in the running statistics; None: all batches count the same.
    affine : bool
        With learned `weight` and `bias`.
    track_running_stats : bool
        Keep running statistics and evaluate with them; without, every batch is normalised by its own.
    dtype : optional, default float32
    activation : {"none", "relu"}
        Applied to the result in the same pass, also to ``layer(input, residual)``, the sum with another Tensor.
    convention : {"torch", "keras", "onnx"}
        What momentum weighs, and which variance is kept: see `lamella.functional.batch_norm`.
    eps_outside : bool
        Divide by sqrt(var) + eps instead of sqrt(var + eps).

    Attributes
    ----------
    weight, bias : Parameter, shape (num_features,), or None
    running_mean, running_var, num_batches_tracked : Tensor or None

    Examples
    --------
    >>> import lamella
    >>> bn = BatchNorm3d(3)
    >>> bn(lamella.randn(2, 3, 4, 4, 4)).shape
    (2, 3, 4, 4, 4)
    >>> bn.eval()
    BatchNorm3d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
    """

    _dims, _shape = (5,), "(N, C, D, H, W)"
