"""Layers and networks, with PyTorch's names."""

from lamella import functional
from lamella.nn import init
from lamella.nn.container import ModuleList, Sequential
from lamella.nn.conv import Conv2d
from lamella.nn.dropout import Dropout
from lamella.nn.flatten import Flatten
from lamella.nn.linear import Identity, Linear
from lamella.nn.module import Module, Parameter

__all__ = [
    "Conv2d",
    "Dropout",
    "Flatten",
    "Identity",
    "Linear",
    "Module",
    "ModuleList",
    "Parameter",
    "Sequential",
    "functional",
    "init",
]
