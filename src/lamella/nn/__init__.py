"""Layers and networks, with PyTorch's names."""

from lamella import functional
from lamella.nn import init
from lamella.nn.batchnorm import BatchNorm1d, BatchNorm2d
from lamella.nn.container import ModuleList, Sequential
from lamella.nn.conv import Conv2d
from lamella.nn.dropout import Dropout
from lamella.nn.flatten import Flatten
from lamella.nn.linear import Identity, Linear
from lamella.nn.module import Module, Parameter
from lamella.nn.pooling import AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, LPPool2d, MaxPool2d

__all__ = [
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "Dropout",
    "Flatten",
    "Identity",
    "LPPool2d",
    "Linear",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "Parameter",
    "Sequential",
    "functional",
    "init",
]
