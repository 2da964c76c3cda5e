"""Every operation as a function: ndarrays in, ndarray out; any Tensor in, Tensor out, recorded for `backward`."""

from lamella.functional.activation import leaky_relu, relu, sigmoid, tanh
from lamella.functional.conv import conv2d
from lamella.functional.linear import gemm, linear, matmul

__all__ = [
    "conv2d",
    "gemm",
    "leaky_relu",
    "linear",
    "matmul",
    "relu",
    "sigmoid",
    "tanh",
]
