"""Every operation as a function: ndarrays in, ndarray out; any Tensor in, Tensor out, recorded for `backward`."""

from lamella.functional.activation import leaky_relu, relu, sigmoid, tanh
from lamella.functional.conv import conv2d

__all__ = ["conv2d", "leaky_relu", "relu", "sigmoid", "tanh"]
