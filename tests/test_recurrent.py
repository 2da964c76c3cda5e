"""Recurrent layers and Embedding: gradients against finite differences, learning, what bad input says."""

import numpy as np
import pytest

import lamella
from lamella import data, nn, optim
from lamella import functional as F
from lamella.nn.utils import rnn
from lamella.testing import gradcheck


def tensors(*shapes):
    rng = np.random.default_rng(0)
    return [lamella.Tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("backend", ["cython", "numba", "reference"])
@pytest.mark.parametrize("cell", ["rnn_tanh", "rnn_relu", "lstm", "gru", "gru_before"])
def test_gradients(cell, backend):
    gates = {"lstm": 4, "gru": 3, "gru_before": 3}.get(cell, 1)
    options = {"reset_after": False} if cell == "gru_before" else {}
    weights = ((gates * 2, 3), (gates * 2, 2), (gates * 2,), (gates * 2,)) * 2
    states = [(2, 3, 2)] * (2 if cell == "lstm" else 1)

    def run(x, *rest):
        h, params = (tuple(rest[:2]), rest[2:]) if cell == "lstm" else (rest[0], rest[1:])
        function = getattr(F, cell.removesuffix("_before"))
        if x.ndim == 2:
            return function(x, h, params, bidirectional=True, batch_sizes=[3, 2, 2], **options)
        return function(x, h, params, bidirectional=True, batch_first=True, **options)

    with lamella.use_backend(backend):
        for shape in ((3, 4, 3), (7, 3)):  # batch-major; packed
            assert gradcheck(run, tensors(shape, *states, *weights))


def test_embedding_gradient():
    index = np.array([[0, 2], [2, 2]])
    assert gradcheck(lambda w: F.embedding(index, w), tensors((4, 3)))
    assert gradcheck(lambda w: F.embedding(np.array([1, 3, 1]), w), tensors((4, 3)))


def test_any_number_of_threads_gives_the_same_bits():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5, 70, 9)).astype(np.float32)
    layer = nn.LSTM(9, 40, bidirectional=True)
    before, results = lamella.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            lamella.set_num_threads(threads)
            layer.zero_grad()
            layer(lamella.Tensor(x))[0].sum().backward()
            results.append([p.grad.data.tobytes() for p in layer.parameters()])
    finally:
        lamella.set_num_threads(before)
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("layer", [nn.GRU, nn.LSTM])
def test_learns_images_row_by_row(layer):
    """28 rows of 28 pixels: 28 steps of 28 features."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = layer(28, 48, batch_first=True), nn.Linear(48, 10)

        def forward(self, x):
            return self.head(self.rnn(x)[0][:, -1])

    lamella.manual_seed(0)
    train, test = (data.datasets.EmbeddedFashionMNIST(train=value) for value in (True, False))
    net = Net()
    optimizer = optim.AdamW(net.parameters(), lr=4e-3)
    for _ in range(2):
        for x, y in data.DataLoader(train, batch_size=64, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(net(x[:, 0]), y).backward()
            optimizer.step()
    with lamella.no_grad():
        right = [(net(x[:, 0]).argmax(1) == y).data for x, y in data.DataLoader(test, batch_size=500)]
    assert np.concatenate(right).mean() > 0.55  # ten classes; seeds give 0.62 to 0.73


def test_pad_packed_inverts_pack_padded():
    x = np.random.default_rng(0).standard_normal((4, 6, 2))
    lengths = [2, 6, 1, 6]
    packed = rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    back, found = rnn.pad_packed_sequence(packed, batch_first=True)
    assert found.tolist() == lengths
    for row, original, n in zip(back, x, lengths):
        np.testing.assert_array_equal(row[:n], original[:n])
        assert not row[n:].any()


def test_empty_batch():
    output, (h, c) = nn.LSTM(3, 4, num_layers=2)(lamella.zeros(5, 0, 3))
    assert (output.shape, h.shape, c.shape) == ((5, 0, 4), (2, 0, 4), (2, 0, 4))
    output.sum().backward()


def test_state_dict_names():
    names = list(nn.LSTM(3, 4, num_layers=2, bidirectional=True).state_dict())
    assert names[:8] == [
        f"{kind}_l0{suffix}" for suffix in ("", "_reverse") for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]  # fmt: skip
    assert names[8] == "weight_ih_l1"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.LSTM(3, 4, proj_size=2), "LSTM: proj_size=2 is not there"),
        (lambda: nn.RNN(3, 4, nonlinearity="selu"), "RNN: nonlinearity must be 'tanh' or 'relu', got 'selu'"),
        (lambda: nn.GRU(3, 0), "GRU: hidden_size must be a positive integer, got 0"),
        (lambda: nn.GRU(3, 4, dropout=0.5), "GRU: dropout=0.5 acts between layers, of which there is one"),
        (lambda: nn.GRU(3, 4)(lamella.zeros(5, 2, 7)), r"expected input with 3 features on its last axis, got shape \(5, 2, 7\)"),
        (lambda: nn.LSTM(3, 4)(lamella.zeros(5, 2, 3), lamella.zeros(1, 2, 4)), r"expected the state as a pair \(h_0, c_0\)"),
        (lambda: nn.GRU(3, 4)(lamella.zeros(5, 2, 3), lamella.zeros(2, 2, 4)), r"expected h_0 of shape \(1, 2, hidden_size\)"),
        (lambda: nn.GRU(3, 4)(lamella.zeros(5, 2, 3), lamella.zeros(1, 3, 4)), r"expected h_0 of shape \(1, 2, 4\)"),
        (lambda: nn.GRU(3, 4)(lamella.zeros(0, 2, 3)), "sequences of at least one step"),
        (lambda: nn.GRUCell(3, 4)(lamella.zeros(2, 2, 3)), r"expected input of shape \(batch, 3\) or \(3,\)"),
        (lambda: F.gru(np.zeros((2, 3, 5)), None, [np.zeros((3, 5))], has_biases=False), "gru: expected 2 params"),
        (lambda: F.rnn_tanh(np.zeros((4, 5)), None, [np.zeros((1, 5)), np.zeros((1, 1))], False, batch_sizes=[1, 3]), "never grow"),
        (lambda: rnn.pack_padded_sequence(np.zeros((3, 2, 1)), [2, 3]), "the longest sequence first; pass enforce_sorted=False"),
        (lambda: rnn.pack_padded_sequence(np.zeros((3, 2, 1)), [4, 3]), "a length of 4 is more than the 3 steps"),
        (lambda: rnn.pack_padded_sequence(np.zeros((3, 2, 1)), [3, 0]), "lengths of at least 1"),
        (lambda: rnn.reorder_gates(np.zeros(4), "ioxf"), "reorder_gates: expected orders"),
        (lambda: F.embedding(np.array([0, 5]), np.zeros((5, 2))), "embedding: expected numbers from 0 to 4, got 0 to 5"),
        (lambda: nn.Embedding(5, 2, sparse=True), "sparse gradients are not there"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_summary_counts_weights_and_work():
    found = lamella.summary(nn.LSTM(10, 20, batch_first=True), (5, 10))
    assert found.parameters == 4 * 20 * (10 + 20 + 2)
    assert found.flops == 5 * (2 * 4 * 20 * 30 + 2 * 4 * 20)
