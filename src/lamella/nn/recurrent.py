"""RNN, LSTM, GRU, and their cells."""

from __future__ import annotations

import math
from typing import Any

from lamella import functional as F
from lamella.creation import empty
from lamella.nn import init
from lamella.nn.module import Module, Parameter
from lamella.nn.utils.rnn import PackedSequence

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNCell"]


def _sizes(layer: str, **sizes: Any) -> None:
    for name, value in sizes.items():
        if not hasattr(value, "__index__") or isinstance(value, bool) or value <= 0:
            raise ValueError(f"{layer}: {name} must be a positive integer, got {value!r}")


def _start(module: Module, hidden_size: int) -> None:
    bound = 1 / math.sqrt(hidden_size)
    for parameter in module.parameters():
        init.uniform_(parameter, -bound, bound)


class _Recurrent(Module):
    """What RNN, LSTM and GRU share. `_gates` is how many blocks of hidden_size rows the weights have."""

    _gates: int

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False, dropout: float = 0.0,
        bidirectional: bool = False, proj_size: int = 0, dtype: Any = None,
    ):  # fmt: skip
        super().__init__()
        name = type(self).__name__
        _sizes(name, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        if proj_size:
            raise ValueError(f"{name}: proj_size={proj_size!r} is not there; put an nn.Linear behind the layer")
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(f"{name}: dropout is a probability from 0 to 1, got {dropout!r}")
        if dropout and num_layers == 1:
            raise ValueError(f"{name}: dropout={dropout} acts between layers, of which there is one; use num_layers > 1, or nn.Dropout")
        self.input_size, self.hidden_size, self.num_layers, self.bias = input_size, hidden_size, num_layers, bool(bias)
        self.batch_first, self.dropout, self.bidirectional = bool(batch_first), float(dropout), bool(bidirectional)
        rows = self._gates * hidden_size
        for layer in range(num_layers):
            features = input_size if layer == 0 else hidden_size * (1 + self.bidirectional)
            for suffix in ("", "_reverse")[: 1 + self.bidirectional]:
                shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, features), "weight_hh": (rows, hidden_size)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                for kind, shape in shapes.items():
                    setattr(self, f"{kind}_l{layer}{suffix}", Parameter(empty(*shape, dtype=dtype)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values: uniform within 1 / sqrt(hidden_size)."""
        _start(self, self.hidden_size)

    def flatten_parameters(self) -> None:
        """Does nothing; there for PyTorch's sake."""

    def _compute(self, x: Any, hx: Any, batch_sizes: Any, batch_first: bool) -> tuple[Any, Any]:
        """Output and last state of the layers' function."""
        raise NotImplementedError

    def _each(self, hx: Any, change: Any) -> Any:
        """`change` of the state, or of both states of an LSTM."""
        return None if hx is None else change(hx)

    def _options(self, batch_first: bool) -> tuple[Any, ...]:
        return (
            list(self._parameters.values()), self.bias, self.num_layers, self.dropout, self.training, self.bidirectional, batch_first,
        )  # fmt: skip

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        name = type(self).__name__
        if isinstance(input, PackedSequence):
            data, batch_sizes, sorted_indices, unsorted_indices = input
            if sorted_indices is not None:
                hx = self._each(hx, lambda state: F.getitem(state, (slice(None), sorted_indices)))
            out, state = self._compute(data, hx, batch_sizes, False)
            if unsorted_indices is not None:
                state = self._each(state, lambda state: F.getitem(state, (slice(None), unsorted_indices)))
            return PackedSequence(out, batch_sizes, sorted_indices, unsorted_indices), state
        if len(input.shape) not in (2, 3):
            raise ValueError(f"{name}: expected input of 2 axes (length, features) or 3 with a batch, got shape {tuple(input.shape)}")
        if input.shape[-1] != self.input_size:
            raise ValueError(f"{name}: expected input with {self.input_size} features on its last axis, got shape {tuple(input.shape)}")
        if len(input.shape) == 3:
            return self._compute(input, hx, None, self.batch_first)
        out, state = self._compute(F.unsqueeze(input, 1), self._each(hx, lambda state: F.unsqueeze(state, 1)), None, False)
        return F.squeeze(out, 1), self._each(state, lambda state: F.squeeze(state, 1))

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        for name, default in (("num_layers", 1), ("bias", True), ("batch_first", False), ("dropout", 0.0), ("bidirectional", False)):
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text


class RNN(_Recurrent):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or with relu, over sequences.

    Parameters
    ----------
    input_size, hidden_size : int
        Features of the input and of h.
    num_layers : int
        Each reads the outputs of the one below.
    nonlinearity : {"tanh", "relu"}
    bias : bool
    batch_first : bool
        Input and output are (batch, length, features) instead of (length, batch, features). Not the states.
    dropout : float
        Probability of an output between two layers to be dropped in training.
    bidirectional : bool
        A second direction reads from the end; outputs are side by side.
    dtype : optional, default float32

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, weight_ih_l0_reverse, ... : Parameter
        As in PyTorch, per layer and direction.

    Notes
    -----
    ``rnn(input, h_0)`` gives ``(output, h_n)``; h_0 and h_n are (num_layers * directions, batch, hidden_size), h_0 is zero where it is not given. Input
    may be a `nn.utils.rnn.PackedSequence`, and output then is one. An input without batch, (length, features), gives results without batch.
    All parameters start uniform within 1 / sqrt(hidden_size).

    Examples
    --------
    >>> import lamella
    >>> output, h = RNN(10, 20, num_layers=2)(lamella.randn(5, 3, 10))
    >>> output.shape, h.shape
    ((5, 3, 20), (2, 3, 20))
    """

    _gates = 1

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0, dtype: Any = None,
    ):  # fmt: skip
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, dtype)
        self.nonlinearity = nonlinearity

    def _compute(self, x: Any, hx: Any, batch_sizes: Any, batch_first: bool) -> tuple[Any, Any]:
        function = F.rnn_tanh if self.nonlinearity == "tanh" else F.rnn_relu
        return function(x, hx, *self._options(batch_first), batch_sizes=batch_sizes)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}")


class LSTM(_Recurrent):
    """Long short-term memory over sequences: `functional.lstm` holds the formula.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype
        As of `RNN`.
    proj_size : int
        Only 0: projections of h are refused.

    Attributes
    ----------
    weight_ih_l0, ... : Parameter
        As of `RNN`, the gates i f g o below each other.

    Notes
    -----
    ``lstm(input, (h_0, c_0))`` gives ``(output, (h_n, c_n))``; otherwise as `RNN`. Weights from ONNX (gates i o f c) or Keras are converted by
    ``nn.utils.rnn.reorder_gates``.

    Examples
    --------
    >>> import lamella
    >>> output, (h, c) = LSTM(10, 20, bidirectional=True, batch_first=True)(lamella.randn(3, 5, 10))
    >>> output.shape, h.shape, c.shape
    ((3, 5, 40), (2, 3, 20), (2, 3, 20))
    """

    _gates = 4

    def _each(self, hx: Any, change: Any) -> Any:
        if hx is None:
            return None
        if not isinstance(hx, (tuple, list)) or len(hx) != 2:
            raise ValueError("LSTM: expected the state as a pair (h_0, c_0)")
        return change(hx[0]), change(hx[1])

    def _compute(self, x: Any, hx: Any, batch_sizes: Any, batch_first: bool) -> tuple[Any, Any]:
        out, h, c = F.lstm(x, self._each(hx, lambda state: state), *self._options(batch_first), batch_sizes=batch_sizes)
        return out, (h, c)


class GRU(_Recurrent):
    """Gated recurrent units over sequences: `functional.gru` holds the formula.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype
        As of `RNN`.
    reset_after : bool
        True: as in PyTorch, and ONNX's linear_before_reset=1. False: the reset gate is applied to h before its product, ONNX's default.

    Attributes
    ----------
    weight_ih_l0, ... : Parameter
        As of `RNN`, the gates r z n below each other.

    Notes
    -----
    Calls as of `RNN`. Weights from ONNX (gates z r h) or Keras are converted by ``nn.utils.rnn.reorder_gates``.

    Examples
    --------
    >>> import lamella
    >>> output, h = GRU(10, 20, batch_first=True)(lamella.randn(3, 5, 10))
    >>> output.shape, h.shape
    ((3, 5, 20), (1, 3, 20))
    """

    _gates = 3

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False, dropout: float = 0.0,
        bidirectional: bool = False, proj_size: int = 0, dtype: Any = None, *, reset_after: bool = True,
    ):  # fmt: skip
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, dtype)
        self.reset_after = bool(reset_after)

    def _compute(self, x: Any, hx: Any, batch_sizes: Any, batch_first: bool) -> tuple[Any, Any]:
        return F.gru(x, hx, *self._options(batch_first), batch_sizes=batch_sizes, reset_after=self.reset_after)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.reset_after else ", reset_after=False")


class _Cell(Module):
    """What the cells share."""

    _gates: int

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, dtype: Any = None):
        super().__init__()
        _sizes(type(self).__name__, input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bool(bias)
        rows = self._gates * hidden_size
        self.weight_ih = Parameter(empty(rows, input_size, dtype=dtype))
        self.weight_hh = Parameter(empty(rows, hidden_size, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(empty(rows, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values: uniform within 1 / sqrt(hidden_size)."""
        _start(self, self.hidden_size)

    def _batched(self, input: Any, *states: Any) -> list[Any]:
        """Input and states with a batch axis."""
        if len(input.shape) not in (1, 2) or input.shape[-1] != self.input_size:
            raise ValueError(
                f"{type(self).__name__}: expected input of shape (batch, {self.input_size}) or ({self.input_size},), got {tuple(input.shape)}"
            )
        return [x if x is None or len(input.shape) == 2 else F.unsqueeze(x, 0) for x in (input, *states)]

    @property
    def _weights(self) -> tuple[Any, ...]:
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(_Cell):
    """One step of `RNN`: h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or with relu.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
    nonlinearity : {"tanh", "relu"}
    dtype : optional, default float32

    Attributes
    ----------
    weight_ih, weight_hh, bias_ih, bias_hh : Parameter

    Notes
    -----
    ``cell(input, h)``, input (batch, input_size), h (batch, hidden_size) or None for zeros; both also without batch.

    Examples
    --------
    >>> import lamella
    >>> RNNCell(10, 20)(lamella.randn(3, 10)).shape
    (3, 20)
    """

    _gates = 1

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", dtype: Any = None):
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNNCell: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__(input_size, hidden_size, bias, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Any = None) -> Any:
        x, h = self._batched(input, hx)
        out = (F.rnn_tanh_cell if self.nonlinearity == "tanh" else F.rnn_relu_cell)(x, h, *self._weights)
        return out if x is input else F.squeeze(out, 0)


class LSTMCell(_Cell):
    """One step of `LSTM`.

    Parameters
    ----------
    input_size, hidden_size, bias, dtype
        As of `RNNCell`.

    Notes
    -----
    ``cell(input, (h, c))`` gives the new ``(h, c)``.

    Examples
    --------
    >>> import lamella
    >>> h, c = LSTMCell(10, 20)(lamella.randn(3, 10))
    >>> h.shape, c.shape
    ((3, 20), (3, 20))
    """

    _gates = 4

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        x, h, c = self._batched(input, *((None, None) if hx is None else hx))
        out = F.lstm_cell(x, None if hx is None else (h, c), *self._weights)
        return out if x is input else (F.squeeze(out[0], 0), F.squeeze(out[1], 0))


class GRUCell(_Cell):
    """One step of `GRU`.

    Parameters
    ----------
    input_size, hidden_size, bias, dtype
        As of `RNNCell`.
    reset_after : bool
        As of `GRU`.

    Notes
    -----
    ``cell(input, h)`` gives the new h.

    Examples
    --------
    >>> import lamella
    >>> GRUCell(10, 20)(lamella.randn(3, 10)).shape
    (3, 20)
    """

    _gates = 3

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, dtype: Any = None, *, reset_after: bool = True):
        super().__init__(input_size, hidden_size, bias, dtype)
        self.reset_after = bool(reset_after)

    def forward(self, input: Any, hx: Any = None) -> Any:
        x, h = self._batched(input, hx)
        out = F.gru_cell(x, h, *self._weights, reset_after=self.reset_after)
        return out if x is input else F.squeeze(out, 0)
