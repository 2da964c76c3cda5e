from lamella.functional.activation import gelu, leaky_relu, leaky_relu_, relu, relu_, sigmoid, sigmoid_, tanh, tanh_
from lamella.functional.conv import conv2d
from lamella.functional.conv1d import conv1d, conv_transpose1d
from lamella.functional.conv3d import conv3d
from lamella.functional.conv_transpose import conv_transpose2d
from lamella.functional.dropout import dropout, dropout1d, dropout2d, dropout3d
from lamella.functional.elementwise import abs, add, clamp, div, exp, log, maximum, minimum, mul, neg, pow, sqrt, sub, where
from lamella.functional.elementwise import compare as compare  # for Tensor
from lamella.functional.elementwise import contiguous as contiguous
from lamella.functional.elementwise import to as to
from lamella.functional.embedding import embedding
from lamella.functional.group_norm import group_norm, instance_norm, layer_norm, local_response_norm, rms_norm
from lamella.functional.linear import gemm, linear, matmul
from lamella.functional.loss import cross_entropy, nll_loss
from lamella.functional.loss_binary import binary_cross_entropy, binary_cross_entropy_with_logits, hinge_loss
from lamella.functional.loss_likelihood import gaussian_nll_loss, kl_div, poisson_nll_loss
from lamella.functional.loss_margin import cosine_embedding_loss, multi_margin_loss, triplet_margin_loss
from lamella.functional.loss_regression import huber_loss, l1_loss, mse_loss, smooth_l1_loss
from lamella.functional.normalization import batch_norm
from lamella.functional.padding import pad
from lamella.functional.parametric import prelu, rrelu, rrelu_
from lamella.functional.penalty import l1_penalty, l2_penalty
from lamella.functional.piecewise import hardshrink, hardsigmoid, hardswish, hardtanh, hardtanh_, relu6, softshrink, threshold, threshold_
from lamella.functional.pooling import adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, lp_pool2d, max_pool2d
from lamella.functional.pooling1d import adaptive_avg_pool1d, adaptive_max_pool1d, avg_pool1d, lp_pool1d, max_pool1d
from lamella.functional.recurrent import gru, gru_cell, lstm, lstm_cell, rnn_relu, rnn_relu_cell, rnn_tanh, rnn_tanh_cell
from lamella.functional.reduce import argmax, argmin, max, mean, min, sum
from lamella.functional.resize import interpolate, pixel_shuffle, pixel_unshuffle, upsample
from lamella.functional.self_normalizing import alpha_dropout, feature_alpha_dropout
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
from lamella.functional.smooth import celu, celu_, elu, elu_, logsigmoid, mish, selu, selu_, silu, softplus, softsign, swish, tanhshrink
from lamella.functional.softmax import hardmax, log_softmax, softmax, softmin
from lamella.functional.step import heaviside
from lamella.functional.unpooling import max_unpool1d, max_unpool2d

__all__ = [
    "abs",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "add",
    "alpha_dropout",
    "argmax",
    "argmin",
    "avg_pool1d",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cat",
    "celu",
    "celu_",
    "clamp",
    "concat",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "cosine_embedding_loss",
    "cross_entropy",
    "div",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "elu_",
    "embedding",
    "exp",
    "expand",
    "feature_alpha_dropout",
    "flatten",
    "from_nhwc",
    "gaussian_nll_loss",
    "gelu",
    "gemm",
    "group_norm",
    "gru",
    "gru_cell",
    "hardmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "heaviside",
    "hinge_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "l1_penalty",
    "l2_penalty",
    "layer_norm",
    "leaky_relu",
    "leaky_relu_",
    "linear",
    "local_response_norm",
    "log",
    "log_softmax",
    "logsigmoid",
    "lp_pool1d",
    "lp_pool2d",
    "lstm",
    "lstm_cell",
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
    "mish",
    "mse_loss",
    "mul",
    "multi_margin_loss",
    "neg",
    "nll_loss",
    "pad",
    "permute",
    "pixel_shuffle",
    "pixel_unshuffle",
    "poisson_nll_loss",
    "pow",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "reshape",
    "rms_norm",
    "rnn_relu",
    "rnn_relu_cell",
    "rnn_tanh",
    "rnn_tanh_cell",
    "rrelu",
    "rrelu_",
    "selu",
    "selu_",
    "sigmoid",
    "sigmoid_",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "sqrt",
    "squeeze",
    "stack",
    "sub",
    "sum",
    "swish",
    "tanh",
    "tanh_",
    "tanhshrink",
    "threshold",
    "threshold_",
    "to_nhwc",
    "transpose",
    "triplet_margin_loss",
    "unflatten",
    "unsqueeze",
    "upsample",
    "where",
]
