"""Every operation as a function: ndarrays in, ndarray out; any Tensor in, Tensor out, recorded for `backward`."""

import sys as _sys

from lamella.core import sums_by as _sums_by
from lamella.functional._broadcast import plus as _plus
from lamella.functional.activation import gelu, leaky_relu, relu, sigmoid, tanh
from lamella.functional.conv import conv2d
from lamella.functional.conv1d import conv1d, conv_transpose1d
from lamella.functional.conv3d import conv3d
from lamella.functional.conv_transpose import conv_transpose2d
from lamella.functional.dropout import dropout
from lamella.functional.elementwise import abs, add, clamp, div, exp, log, maximum, minimum, mul, neg, pow, sqrt, sub, where
from lamella.functional.elementwise import compare as compare  # for Tensor
from lamella.functional.elementwise import contiguous as contiguous
from lamella.functional.elementwise import to as to
from lamella.functional.linear import gemm, linear, matmul
from lamella.functional.loss import cross_entropy, mse_loss, nll_loss
from lamella.functional.normalization import batch_norm
from lamella.functional.padding import pad
from lamella.functional.pooling import adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, lp_pool2d, max_pool2d
from lamella.functional.pooling1d import adaptive_avg_pool1d, adaptive_max_pool1d, avg_pool1d, lp_pool1d, max_pool1d
from lamella.functional.reduce import argmax, argmin, max, mean, min, sum
from lamella.functional.resize import interpolate, pixel_shuffle, pixel_unshuffle, upsample
from lamella.functional.shape import (
    cat,
    concat,
    expand,
    flatten,
    from_nhwc,
    permute,
    reshape,
    squeeze,
    stack,
    to_nhwc,
    transpose,
    unflatten,
    unsqueeze,
)
from lamella.functional.shape import getitem as getitem
from lamella.functional.softmax import log_softmax, softmax
from lamella.functional.unpooling import max_unpool1d, max_unpool2d
from lamella.tensor import bind_functional as _bind

__all__ = [
    "abs",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "add",
    "argmax",
    "argmin",
    "avg_pool1d",
    "avg_pool2d",
    "batch_norm",
    "cat",
    "clamp",
    "concat",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "cross_entropy",
    "div",
    "dropout",
    "exp",
    "expand",
    "flatten",
    "from_nhwc",
    "gelu",
    "gemm",
    "interpolate",
    "leaky_relu",
    "linear",
    "log",
    "log_softmax",
    "lp_pool1d",
    "lp_pool2d",
    "matmul",
    "max",
    "max_pool1d",
    "max_pool2d",
    "max_unpool1d",
    "max_unpool2d",
    "maximum",
    "mean",
    "min",
    "minimum",
    "mse_loss",
    "mul",
    "neg",
    "nll_loss",
    "pad",
    "permute",
    "pixel_shuffle",
    "pixel_unshuffle",
    "pow",
    "relu",
    "reshape",
    "sigmoid",
    "softmax",
    "sqrt",
    "squeeze",
    "stack",
    "sub",
    "sum",
    "tanh",
    "to_nhwc",
    "transpose",
    "unflatten",
    "unsqueeze",
    "upsample",
    "where",
]

_sums_by(_plus)
_bind(_sys.modules[__name__])
