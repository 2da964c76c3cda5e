"""Every operation as a function: ndarrays in, ndarray out; any Tensor in, Tensor out, recorded for `backward`."""

from lamella.functional.activation import leaky_relu, relu, sigmoid, tanh

__all__ = ["leaky_relu", "relu", "sigmoid", "tanh"]
