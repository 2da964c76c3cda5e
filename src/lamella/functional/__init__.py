"""Every operation as a function: ndarrays in, ndarray out; any Tensor in, Tensor out, recorded for `backward`."""

from lamella.functional.activation import leaky_relu, relu, sigmoid, tanh
from lamella.functional.conv import conv2d
from lamella.functional.linear import gemm, linear, matmul
from lamella.functional.loss import cross_entropy, mse_loss, nll_loss
from lamella.functional.softmax import log_softmax, softmax

__all__ = [
    "conv2d",
    "cross_entropy",
    "gemm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "matmul",
    "mse_loss",
    "nll_loss",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
]
