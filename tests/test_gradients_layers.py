"""Gradients of the layers that PyTorch's tests cover, against finite differences: these tests need no PyTorch."""

import numpy as np
import pytest

import lamella
import lamella.functional as F
from lamella.testing import gradcheck


def leaves(*shapes):
    rng = np.random.default_rng(0)
    return [lamella.tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]


CASES = {
    "conv1d": (lambda x, w, b: F.conv1d(x, w, b, 2, 1), [(1, 2, 7), (3, 2, 3), (3,)]),
    "conv3d": (lambda x, w, b: F.conv3d(x, w, b, 1, (1, 0, 1)), [(1, 2, 3, 4, 3), (2, 2, 2, 2, 2), (2,)]),
    "conv_transpose1d": (lambda x, w, b: F.conv_transpose1d(x, w, b, 2, 1, 1), [(1, 2, 4), (2, 2, 3), (2,)]),
    "conv_transpose2d": (lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1, 1, 2), [(1, 4, 3, 3), (4, 1, 3, 3), (2,)]),
    "pad": (lambda x: F.pad(x, (2, 1, 1, 2), "reflect"), [(2, 3, 4)]),
    "interpolate": (lambda x: F.interpolate(x, (5, 3), mode="bilinear"), [(1, 2, 3, 4)]),
    "pixel_shuffle": (lambda x: F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2), [(1, 4, 2, 3)]),
    "lp_pool1d": (lambda x: F.lp_pool1d(x, 2, 2), [(1, 2, 6)]),
    "max_unpool2d": (lambda x: F.max_unpool2d(x, np.array([[[[0, 5], [8, 15]]]]), 2), [(1, 1, 2, 2)]),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (5,), w, b), [(3, 5), (5,), (5,)]),
    "rms_norm": (lambda x, w: F.rms_norm(x, (5,), w, 1e-3), [(3, 5), (5,)]),
    "group_norm": (lambda x, w, b: F.group_norm(x, 2, w, b), [(2, 4, 3), (4,), (4,)]),
    "instance_norm": (lambda x, w, b: F.instance_norm(x, None, None, w, b), [(2, 3, 4), (3,), (3,)]),
    "prelu": (F.prelu, [(2, 3, 2), (3,)]),
    "swish": (F.swish, [(2, 3, 2), (3,)]),
    **{
        name: (getattr(F, name), [(3, 7)])
        for name in ("hardtanh", "relu6", "hardshrink", "softshrink", "hardsigmoid", "hardswish", "elu", "celu", "selu", "silu", "mish")
        + ("softplus", "logsigmoid", "softsign", "tanhshrink")
    },
    "gelu 1.702": (lambda x: F.gelu(x, "sigmoid"), [(3, 7)]),
    "threshold": (lambda x: F.threshold(x, 0.1, 20), [(3, 7)]),
    "softmin": (lambda x: F.softmin(x, 1), [(3, 7)]),
    "in place": (lambda x: F.mish(F.leaky_relu_(x * 2, 0.5), inplace=True), [(3, 7)]),
    "local_response_norm": (lambda x: F.local_response_norm(x, 3, 0.5), [(1, 4, 2)]),
}


@pytest.mark.parametrize("backend", ["reference", "cython"])
@pytest.mark.parametrize("name", CASES)
def test_gradients(name, backend):
    function, shapes = CASES[name]
    with lamella.use_backend(backend):
        gradcheck(function, leaves(*shapes))
