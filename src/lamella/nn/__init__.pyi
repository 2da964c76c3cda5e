from lamella import functional as functional
from lamella.nn import init, utils
from lamella.nn.activation import GELU, Hardmax, LeakyReLU, LogSoftmax, ReLU, Sigmoid, Softmax, Softmax2d, Softmin, Tanh
from lamella.nn.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from lamella.nn.container import ModuleList, Sequential
from lamella.nn.conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d
from lamella.nn.dropout import Dropout, Dropout1d, Dropout2d, Dropout3d
from lamella.nn.embedding import Embedding
from lamella.nn.ensemble import Ensemble
from lamella.nn.features import FeatureExtractor
from lamella.nn.flatten import Add, Concat, Flatten, Permute, Reshape, Unflatten
from lamella.nn.linear import Identity, Linear
from lamella.nn.loss import CrossEntropyLoss, MultiMarginLoss, NLLLoss
from lamella.nn.loss_binary import BCELoss, BCEWithLogitsLoss, HingeLoss
from lamella.nn.loss_embedding import CosineEmbeddingLoss, TripletMarginLoss
from lamella.nn.loss_likelihood import GaussianNLLLoss, KLDivLoss, PoissonNLLLoss
from lamella.nn.loss_regression import HuberLoss, L1Loss, MSELoss, SmoothL1Loss
from lamella.nn.module import Module, Parameter
from lamella.nn.multitask import MultiTask, MultiTaskLoss
from lamella.nn.noise import GaussianNoise, WeightNoise
from lamella.nn.norm import GroupNorm, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, LayerNorm, LocalResponseNorm, RMSNorm
from lamella.nn.padding import (
    CircularPad1d,
    CircularPad2d,
    CircularPad3d,
    ConstantPad1d,
    ConstantPad2d,
    ConstantPad3d,
    ReflectionPad1d,
    ReflectionPad2d,
    ReflectionPad3d,
    ReplicationPad1d,
    ReplicationPad2d,
    ReplicationPad3d,
    ZeroPad1d,
    ZeroPad2d,
    ZeroPad3d,
)
from lamella.nn.parametric import PReLU, RReLU
from lamella.nn.perceptron import Perceptron, PerceptronReport, Step
from lamella.nn.piecewise import Hardshrink, Hardsigmoid, Hardswish, Hardtanh, ReLU6, Softshrink, Threshold
from lamella.nn.pooling import AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, LPPool2d, MaxPool2d
from lamella.nn.pooling1d import AdaptiveAvgPool1d, AdaptiveMaxPool1d, AvgPool1d, LPPool1d, MaxPool1d, MaxUnpool1d, MaxUnpool2d
from lamella.nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from lamella.nn.regularization import RegularizedLoss
from lamella.nn.resize import PixelShuffle, PixelUnshuffle, Upsample
from lamella.nn.self_normalizing import AlphaDropout, FeatureAlphaDropout
from lamella.nn.smooth import CELU, ELU, SELU, LogSigmoid, Mish, SiLU, Softplus, Softsign, Swish, Tanhshrink

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "Add",
    "AlphaDropout",
    "AvgPool1d",
    "AvgPool2d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "CELU",
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "Concat",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "ELU",
    "Embedding",
    "Ensemble",
    "FeatureAlphaDropout",
    "FeatureExtractor",
    "Flatten",
    "GELU",
    "GRU",
    "GRUCell",
    "GaussianNLLLoss",
    "GaussianNoise",
    "GroupNorm",
    "Hardmax",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "HingeLoss",
    "HuberLoss",
    "Identity",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "KLDivLoss",
    "L1Loss",
    "LPPool1d",
    "LPPool2d",
    "LSTM",
    "LSTMCell",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "LogSigmoid",
    "LogSoftmax",
    "MSELoss",
    "MaxPool1d",
    "MaxPool2d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "Mish",
    "Module",
    "ModuleList",
    "MultiMarginLoss",
    "MultiTask",
    "MultiTaskLoss",
    "NLLLoss",
    "PReLU",
    "Parameter",
    "Perceptron",
    "PerceptronReport",
    "Permute",
    "PixelShuffle",
    "PixelUnshuffle",
    "PoissonNLLLoss",
    "RMSNorm",
    "RNN",
    "RNNCell",
    "RReLU",
    "ReLU",
    "ReLU6",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "RegularizedLoss",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "Reshape",
    "SELU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SmoothL1Loss",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Step",
    "Swish",
    "Tanh",
    "Tanhshrink",
    "Threshold",
    "TripletMarginLoss",
    "Unflatten",
    "Upsample",
    "WeightNoise",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
    "functional",
    "init",
    "utils",
]
