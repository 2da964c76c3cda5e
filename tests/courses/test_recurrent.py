"""Recurrent layers: RNN, LSTM, bidirectional LSTM and GRU follow their formulas; other libraries' gate orders, and the reset gate before its product."""

import numpy as np
import pytest

import lamella
from lamella import nn
from lamella.nn.utils.rnn import reorder_gates


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def weights(layer, suffix=""):
    return [getattr(layer, f"{name}_l0{suffix}").data for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


def rnn(x, h, w, u, b, d):
    return np.tanh(w @ x + b + u @ h + d), None


def lstm(x, state, w, u, b, d):
    h, c = state
    i, f, g, o = np.split(w @ x + b + u @ h + d, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru(x, h, w, u, b, d, reset_after=True):
    (wr, wz, wn), (ur, uz, un), (br, bz, bn), (dr, dz, dn) = (np.split(v, 3) for v in (w, u, b, d))
    r, z = sigmoid(wr @ x + br + ur @ h + dr), sigmoid(wz @ x + bz + uz @ h + dz)
    n = np.tanh(wn @ x + bn + (r * (un @ h + dn) if reset_after else un @ (r * h) + dn))
    return (1 - z) * n + z * h, None


def unrolled(cell, xs, *arguments, **options):
    """The outputs of a cell, step after step, from zeros."""
    h = c = np.zeros(arguments[1].shape[1])
    out = []
    for x in xs:
        h, c = cell(x, (h, c) if cell is lstm else h, *arguments, **options)
        out.append(h)
    return np.array(out)


X = np.random.default_rng(0).standard_normal((6, 3))  # 6 steps of 3 features


@pytest.mark.course("A-190")
def test_layers_follow_their_formulas():
    for cell, layer in ((rnn, nn.RNN), (lstm, nn.LSTM), (gru, nn.GRU)):
        lamella.manual_seed(0)
        made = layer(3, 4, dtype="float64")
        np.testing.assert_allclose(made(lamella.Tensor(X))[0].data, unrolled(cell, X, *weights(made)), rtol=1e-12)
    both = nn.LSTM(3, 4, bidirectional=True, dtype="float64")
    forth, back = unrolled(lstm, X, *weights(both)), unrolled(lstm, X[::-1], *weights(both, "_reverse"))[::-1]
    np.testing.assert_allclose(both(lamella.Tensor(X))[0].data, np.hstack([forth, back]), rtol=1e-12)


@pytest.mark.course("A-190")
def test_conventions():
    """Gates in PyTorch's order ifgo, rzn, the reset gate behind the product; ONNX's iofc, zrh and linear_before_reset=0 are one argument away."""
    w = np.repeat([0, 1, 2, 3], 2)  # two rows per gate
    np.testing.assert_array_equal(reorder_gates(w, "iofc"), [0, 0, 2, 2, 3, 3, 1, 1])
    np.testing.assert_array_equal(reorder_gates(reorder_gates(w, "iofc"), "ifgo", "iofc"), w)
    np.testing.assert_array_equal(reorder_gates(w[:6], "zrh"), [1, 1, 0, 0, 2, 2])
    before, after = (nn.GRU(3, 4, reset_after=value, dtype="float64") for value in (False, True))
    after.load_state_dict(before.state_dict())
    results = [layer(lamella.Tensor(X))[0].data for layer in (before, after)]
    for result, reset_after in zip(results, (False, True)):
        np.testing.assert_allclose(result, unrolled(gru, X, *weights(before), reset_after=reset_after), rtol=1e-12)
    assert np.abs(results[0] - results[1]).max() > 1e-3
