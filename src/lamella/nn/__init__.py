"""Layers and networks, with PyTorch's names."""

from lamella import functional
from lamella.nn import init
from lamella.nn.activation import GELU, LeakyReLU, LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from lamella.nn.batchnorm import BatchNorm1d, BatchNorm2d
from lamella.nn.container import ModuleList, Sequential
from lamella.nn.conv import Conv2d
from lamella.nn.dropout import Dropout
from lamella.nn.flatten import Flatten
from lamella.nn.linear import Identity, Linear
from lamella.nn.loss import CrossEntropyLoss, MSELoss, NLLLoss
from lamella.nn.module import Module, Parameter
from lamella.nn.pooling import AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, LPPool2d, MaxPool2d

__all__ = [
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "GELU",
    "Identity",
    "LPPool2d",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "functional",
    "init",
]
