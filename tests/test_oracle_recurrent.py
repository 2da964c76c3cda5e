"""RNN, LSTM, GRU, their cells, packed sequences and Embedding against PyTorch: the same state_dict, forward and backward."""

import itertools

import numpy as np
import pytest

import lamella
from lamella import nn
from lamella.nn.utils import rnn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

TOLERANCE = {"float64": 1e-10, "float32": 1e-4}
LAYERS = [("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("LSTM", {}), ("GRU", {})]


def draw(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def close(ours, theirs):
    ours = ours.data if isinstance(ours, lamella.Tensor) else ours
    theirs = theirs.detach().numpy()
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE[theirs.dtype.name], atol=TOLERANCE[theirs.dtype.name])


def pair(name, dtype, *arguments, **options):
    """The same layer here and there."""
    theirs = getattr(torch.nn, name)(*arguments, **options, dtype=getattr(torch, dtype))
    ours = getattr(nn, name)(*arguments, **options, dtype=dtype)
    assert [(n, p.shape) for n, p in ours.named_parameters()] == [(n, tuple(p.shape)) for n, p in theirs.named_parameters()]
    assert repr(ours).replace(", nonlinearity=relu", "") == repr(theirs)
    ours.load_state_dict({n: p.numpy() for n, p in theirs.state_dict().items()})
    return ours, theirs


def leaves(*arrays):
    """The arrays as leaves of both libraries; None stays."""
    ours = [None if a is None else lamella.Tensor(a.copy(), requires_grad=True) for a in arrays]
    return ours, [None if a is None else torch.tensor(a, requires_grad=True) for a in arrays]


def flat(result):
    """All arrays of a result, packed sequences' data among them."""
    if hasattr(result, "batch_sizes"):
        return [result.data]
    return [x for item in result for x in flat(item)] if isinstance(result, tuple) else [result]


def same(ours, theirs, ours_out, theirs_out, inputs):
    """Outputs agree, and with the same gradients of all of them, those of inputs and parameters."""
    ours_out, theirs_out = flat(ours_out), flat(theirs_out)
    total, other = 0.0, 0.0
    for i, (a, b) in enumerate(zip(ours_out, theirs_out, strict=True)):
        close(a, b)
        g = draw(a.shape, a.dtype, 50 + i)
        total, other = total + (a * lamella.Tensor(g)).sum(), other + (b * torch.tensor(g)).sum()
    total.backward()
    other.backward()
    for a, b in zip(*inputs, strict=True):
        if a is not None:
            close(a.grad, b.grad)
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert a.grad is not None, name
        close(a.grad, b.grad)


def state(name, shape, dtype):
    return (draw(shape, dtype, 1), draw(shape, dtype, 2) if name == "LSTM" else None)


def given(name, states):
    return tuple(states) if name == "LSTM" else states[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", ["cython", "numba", "reference"])
@pytest.mark.parametrize(("name", "options"), LAYERS, ids=str)
def test_layers(name, options, backend, dtype):
    for layers, bias, batch_first, bidirectional in itertools.product((1, 2), (True, False), (True, False), (True, False)):
        ours, theirs = pair(
            name, dtype, 5, 7, num_layers=layers, bias=bias, batch_first=batch_first, bidirectional=bidirectional, **options
        )  # fmt: skip
        for length, with_state in ((1, False), (6, True), (4, False)):
            x = draw((3, length, 5) if batch_first else (length, 3, 5), dtype)
            states = state(name, (layers * (1 + bidirectional), 3, 7), dtype) if with_state else (None, None)
            inputs = leaves(x, *states)
            ours.zero_grad()
            theirs.zero_grad()
            with lamella.use_backend(backend):
                out = ours(inputs[0][0], given(name, inputs[0][1:]) if with_state else None)
                expected = theirs(inputs[1][0], given(name, inputs[1][1:]) if with_state else None)
                same(ours, theirs, out, expected, inputs)


@pytest.mark.parametrize("backend", ["cython", "numba"])
@pytest.mark.parametrize(("name", "options"), LAYERS, ids=str)
def test_sizes(name, options, backend):
    """Several tasks, panels, strips and odd lanes."""
    for batch, hidden, batch_first in ((37, 70, False), (17, 33, True), (1, 40, False)):
        ours, theirs = pair(name, "float64", 9, hidden, batch_first=batch_first, **options)
        inputs = leaves(draw((batch, 5, 9) if batch_first else (5, batch, 9), "float64"), *state(name, (1, batch, hidden), "float64"))
        with lamella.use_backend(backend):
            same(ours, theirs, *(m(x[0], given(name, x[1:])) for m, x in zip((ours, theirs), inputs)), inputs)


@pytest.mark.parametrize("enforce_sorted", [True, False])
@pytest.mark.parametrize("backend", ["cython", "numba", "reference"])
@pytest.mark.parametrize(("name", "options"), LAYERS, ids=str)
def test_packed(name, options, backend, enforce_sorted):
    lengths = [7, 5, 5, 2, 1] if enforce_sorted else [2, 7, 1, 5, 5]
    for layers, bidirectional, with_state in itertools.product((1, 2), (True, False), (True, False)):
        ours, theirs = pair(name, "float64", 3, 5, num_layers=layers, bidirectional=bidirectional, batch_first=True, **options)
        states = state(name, (layers * (1 + bidirectional), 5, 5), "float64") if with_state else (None, None)
        inputs = leaves(draw((5, 7, 3), "float64"), *states)
        results = []
        with lamella.use_backend(backend):
            for utils, module, x in ((rnn, ours, inputs[0]), (torch.nn.utils.rnn, theirs, inputs[1])):
                packed = utils.pack_padded_sequence(x[0], lengths, batch_first=True, enforce_sorted=enforce_sorted)
                out, last = module(packed, given(name, x[1:]) if with_state else None)
                padded, there = utils.pad_packed_sequence(out, batch_first=True, padding_value=-2.0, total_length=8)
                assert there.tolist() == lengths
                results.append((padded, last))
            same(ours, theirs, *results, inputs)


@pytest.mark.parametrize("backend", ["cython", "numba", "reference"])
@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells(name, backend):
    for bias, batch, with_state in itertools.product((True, False), ((), (4,)), (True, False)):
        ours, theirs = pair(name, "float64", 5, 7, bias=bias)
        states = state(name.removesuffix("Cell"), (*batch, 7), "float64") if with_state else (None, None)
        inputs = leaves(draw((*batch, 5), "float64"), *states)
        with lamella.use_backend(backend):
            results = [m(x[0], given(name.removesuffix("Cell"), x[1:]) if with_state else None) for m, x in zip((ours, theirs), inputs)]
            same(ours, theirs, *results, inputs)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_without_batch(name):
    ours, theirs = pair(name, "float64", 5, 7, num_layers=2, bidirectional=True)
    inputs = leaves(draw((6, 5), "float64"), *state(name, (4, 7), "float64"))
    same(ours, theirs, *(m(x[0], given(name, x[1:])) for m, x in zip((ours, theirs), inputs)), inputs)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_nan_stays_in_its_sequence(name):
    ours, theirs = pair(name, "float64", 5, 7)
    x = draw((6, 4, 5), "float64")
    x[2, 1, 0], x[3, 2, 1] = np.nan, np.inf
    close(ours(lamella.Tensor(x))[0], theirs(torch.tensor(x))[0])


def test_packing():
    x, lengths = draw((6, 4, 2), "float32"), [3, 6, 1, 3]
    ours = rnn.pack_padded_sequence(lamella.Tensor(x), lengths, enforce_sorted=False)
    theirs = torch.nn.utils.rnn.pack_padded_sequence(torch.tensor(x), lengths, enforce_sorted=False)
    close(ours.data, theirs.data)
    assert ours.batch_sizes.tolist() == theirs.batch_sizes.tolist()
    several = [draw((n, 2), "float32", n) for n in (2, 5, 3)]
    for options in ({}, {"batch_first": True, "padding_value": 2.0}, {"padding_side": "left"}):
        padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(s) for s in several], **options)
        close(rnn.pad_sequence([lamella.Tensor(s) for s in several], **options), padded)
    ours = rnn.pack_sequence(several, enforce_sorted=False)
    close(ours.data, torch.nn.utils.rnn.pack_sequence([torch.tensor(s) for s in several], enforce_sorted=False).data)


@pytest.mark.parametrize("options", [{}, {"padding_idx": 2}, {"padding_idx": -1}, {"scale_grad_by_freq": True}, {"max_norm": 1.0},
                                     {"max_norm": 0.5, "norm_type": 1.0, "padding_idx": 0}], ids=str)  # fmt: skip
def test_embedding(options):
    for shape in ((), (5,), (3, 40), (0,), (2, 0)):
        index = np.random.default_rng(1).integers(0, 6, shape)
        ours, theirs = pair("Embedding", "float64", 6, 3, **options)
        a, b = ours(lamella.Tensor(index)), theirs(torch.tensor(index))
        same(ours, theirs, a, b, ([], []))
        close(ours.weight, theirs.weight)


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn_tanh"])
def test_state_alone(name):
    """One of both states without a gradient, and both given as constants."""
    rng = np.random.default_rng(0)
    gates = {"lstm": 4, "gru": 3}.get(name, 1)
    params = [rng.standard_normal(s) for s in ((gates * 5, 3), (gates * 5, 5), (gates * 5,), (gates * 5,))]
    x, h, c = rng.standard_normal((4, 2, 3)), rng.standard_normal((1, 2, 5)), rng.standard_normal((1, 2, 5))
    ours_c, theirs_c = lamella.Tensor(c, requires_grad=True), torch.tensor(c, requires_grad=True)
    hx = (h, ours_c) if name == "lstm" else h
    other = (torch.tensor(h), theirs_c) if name == "lstm" else torch.tensor(h)
    out = getattr(lamella.functional, name)(x, hx, params)
    expected = getattr(torch, name)(torch.tensor(x), other, [torch.tensor(p) for p in params], True, 1, 0.0, False, False, False)
    for a, b in zip(out, expected, strict=True):
        close(a, b)
    if name == "lstm":
        out[2].sum().backward()
        expected[2].sum().backward()
        close(ours_c.grad, theirs_c.grad)
