"""Layers and networks, with PyTorch's names."""

from lamella import functional
from lamella.nn import init
from lamella.nn.container import ModuleList, Sequential
from lamella.nn.linear import Identity, Linear
from lamella.nn.module import Module, Parameter

__all__ = [
    "Identity",
    "Linear",
    "Module",
    "ModuleList",
    "Parameter",
    "Sequential",
    "functional",
    "init",
]
