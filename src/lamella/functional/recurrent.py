"""Recurrent layers: rnn_tanh, rnn_relu, lstm, gru, and their cells."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from lamella.functional.dropout import dropout as _dropout
from lamella.functional.linear import column_sums, product
from lamella.functional.shape import cat, getitem, permute, reshape, stack
from lamella.layout import operand, same_dtype
from lamella.memory import empty
from lamella.problems import CELLS, GemmProblem, RecurrentProblem
from lamella.registry import select
from lamella.tensor import Operation, Tensor, apply

__all__ = ["gru", "gru_cell", "lstm", "lstm_cell", "rnn_relu", "rnn_relu_cell", "rnn_tanh", "rnn_tanh_cell"]


class Layout(NamedTuple):
    """Where the elements of the sequences stand: sequence n at step t is row ``steps[0, t] + n * stride``, for n < ``steps[1, t]``."""

    steps: np.ndarray
    length: int
    batch: int
    stride: int
    axis: int = 0  # of the steps, in arrays with the layout's leading axes
    last: np.ndarray | None = None  # packed: the row of each sequence's last element

    @property
    def packed(self) -> bool:
        return self.last is not None

    @property
    def rows(self) -> int:
        return int(self.steps[1].sum())

    def final(self, reverse: bool) -> tuple[Any, ...]:
        """The index, into a result with the layout's leading axes, of the step each sequence ends with."""
        if self.packed:
            return (slice(0, self.batch) if reverse else self.last,)
        t = 0 if reverse else self.length - 1
        return (*(slice(None),) * self.axis, t)


@lru_cache(1024)
def _dense(length: int, batch: int, batch_first: bool) -> Layout:
    starts = np.arange(length) * (1 if batch_first else batch)
    return Layout(np.array([starts, np.full(length, batch)], np.int64), length, batch, length if batch_first else 1, int(batch_first))


def _packed(name: str, batch_sizes: Any, rows: int) -> Layout:
    sizes = np.asarray(batch_sizes.data if isinstance(batch_sizes, Tensor) else batch_sizes)
    if sizes.ndim != 1 or not sizes.size or sizes.dtype.kind not in "iu" or (np.diff(sizes.astype(np.int64)) > 0).any() or sizes[-1] < 1:
        raise ValueError(f"{name}: expected batch_sizes of a packed sequence: positive integers that never grow; use pack_padded_sequence")
    sizes = sizes.astype(np.int64)
    if sizes.sum() != rows:
        raise ValueError(f"{name}: batch_sizes count {sizes.sum()} elements, input has {rows}")
    starts, batch = np.cumsum(sizes) - sizes, int(sizes[0])
    lengths = (sizes[:, None] > np.arange(batch)).sum(axis=0)
    return Layout(np.array([starts, sizes]), len(sizes), batch, 1, 0, starts[lengths - 1] + np.arange(batch))


# One layer, all its directions. The result is one array with a row per element, the directions side by side; below them, for lstm, a row per
# sequence with the last c: the tape follows one array per operation.


def _multiply(a: np.ndarray, b: np.ndarray, out: np.ndarray, add: bool) -> None:
    """out = a @ b, or out += a @ b."""
    p = GemmProblem.of(len(a), b.shape[1], len(b), a.dtype, 1.0, 1.0 if add else 0.0)
    select("gemm", "forward", p)(p, a, b, None, out if add else None, out)


def _expect(name: str, what: str, x: np.ndarray, shape: tuple[int, ...], why: str) -> None:
    if x.shape != shape:
        raise ValueError(f"{name}: expected {what} of shape {shape}, {why}; got {x.shape}")


def _operands(cell: str, x: Any, h0: Any, c0: Any, weights: tuple[Any, ...], layout: Layout) -> tuple[Any, ...]:
    """All arrays as the kernels take them: x (rows, features), states (directions, batch, hidden) or None, weights per direction."""
    name, gates = cell.removesuffix("_before"), CELLS[cell]
    x = operand(np.asarray(x), name)
    arrays = [None if w is None else operand(np.asarray(w), name, "weight") for w in weights]
    features, directions = x.shape[-1], len(arrays) // 4
    if arrays[1] is None or arrays[1].ndim != 2:
        raise ValueError(f"{name}: expected a weight_hh of shape ({gates} * hidden_size, hidden_size)")
    hidden = arrays[1].shape[1]
    shapes = ((gates * hidden, features), (gates * hidden, hidden), (gates * hidden,), (gates * hidden,))
    for i, w in enumerate(arrays):
        if w is not None:
            what = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")[i % 4]
            _expect(name, what, w, shapes[i % 4], f"for {features} features and {hidden} hidden units")
    states = [None if s is None else operand(np.asarray(s), name, what) for s, what in ((h0, "h_0"), (c0, "c_0"))]
    same_dtype(name, input=x, h_0=states[0], c_0=states[1], **{f"weight {i}": w for i, w in enumerate(arrays)})
    shape = (directions, layout.batch, hidden)
    for s, what in zip(states, ("h_0", "c_0")):
        if s is not None and s.shape not in (shape, shape[1:]):
            _expect(name, what, s, shape, "(directions, batch, hidden_size) of this layer")
    h, c = (None if s is None else np.ascontiguousarray(s).reshape(shape) for s in states)
    return np.ascontiguousarray(x).reshape(-1, features), h, c, [arrays[4 * d : 4 * d + 4] for d in range(directions)], hidden


def _input_bias(cell: str, b_ih: np.ndarray | None, b_hh: np.ndarray | None, hidden: int) -> tuple[Any, Any]:
    """What is added to x @ W_ih.T, and to W h of gru's n, which the reset gate multiplies."""
    if b_ih is None or b_hh is None:
        return None, None
    if cell != "gru":
        return b_ih + b_hh, None
    bias = b_ih.copy()
    bias[: 2 * hidden] += b_hh[: 2 * hidden]
    return bias, np.ascontiguousarray(b_hh[2 * hidden :])


def _layer_forward(x: Any, h0: Any, c0: Any, *rest: Any) -> tuple[np.ndarray, Any]:
    *weights, cell, layout = rest
    shape, state_shape = np.shape(x)[:-1], np.shape(h0)
    x, h0, c0, weights, hidden = _operands(cell, x, h0, c0, tuple(weights), layout)
    rows, directions, lstm = len(x), len(weights), cell == "lstm"
    given = h0 is not None
    if h0 is None or (lstm and c0 is None):
        zeros = np.zeros((directions, layout.batch, hidden), x.dtype)
        h0, c0 = zeros if h0 is None else h0, zeros if lstm and c0 is None else c0
    block = empty((rows + lstm * layout.batch, directions * hidden), x.dtype)
    saved = []
    for d, (w_ih, w_hh, b_ih, b_hh) in enumerate(weights):
        p = RecurrentProblem.of(cell, layout.length, layout.batch, hidden, x.dtype, layout.stride, d == 1)
        bias, b = _input_bias(cell, b_ih, b_hh, hidden)
        gates = product(x, w_ih.T, bias)
        w_hh = np.ascontiguousarray(w_hh)
        out = block[:rows, d * hidden : (d + 1) * hidden]
        kept = empty((rows, hidden), x.dtype) if p.keeps else None
        cn = empty((layout.batch, hidden), x.dtype) if lstm else None
        select("recurrent", "forward", p)(p, w_hh, b, h0[d], c0[d] if lstm else None, layout.steps, out, kept, cn, gates)
        if lstm:
            block[rows:, d * hidden : (d + 1) * hidden] = cn
        saved.append((p, w_ih, w_hh, gates if p.keeps else None, out, kept))
    return block if lstm else block.reshape(*shape, directions * hidden), (x, shape, h0, c0, given, state_shape, layout, saved)


def _previous(p: RecurrentProblem, layout: Layout, out: np.ndarray, h0: np.ndarray) -> np.ndarray:
    """A row per element: the h it was computed from."""
    previous = np.empty((len(out), p.hidden), out.dtype)
    if not layout.packed and layout.stride > 1:
        here, there = (a.reshape(layout.batch, layout.length, p.hidden) for a in (previous, np.ascontiguousarray(out)))
        inner, shifted, start = (slice(0, -1), slice(1, None), -1) if p.reverse else (slice(1, None), slice(0, -1), 0)
        here[:, inner], here[:, start] = there[:, shifted], h0
        return previous
    starts, sizes = layout.steps
    steps = range(p.length)
    for t in steps:
        before, at, size = t + 1 if p.reverse else t - 1, starts[t], sizes[t]
        known = min(size, sizes[before]) if before in steps else 0
        if known:
            previous[at : at + known] = out[starts[before] : starts[before] + known]
        previous[at + known : at + size] = h0[known:size]
    return previous


def _hidden_weight_gradient(
    p: RecurrentProblem, layout: Layout, given: bool, da: np.ndarray, dkept: Any, out: np.ndarray, kept: Any, h0: np.ndarray
) -> np.ndarray:
    dw = empty((p.gates * p.hidden, p.hidden), da.dtype)
    plain = (2 if p.cell.startswith("gru") else p.gates) * p.hidden  # rows whose operand is the previous h, and da their gradient
    pairs = [(da[:, :plain], dw[:plain])]
    if p.cell == "gru":
        pairs.append((dkept, dw[plain:]))
    elif p.cell == "gru_before":
        _multiply(da[:, plain:].T, kept, dw[plain:], False)
    n, rows = layout.batch, len(da)
    if layout.packed or layout.stride > 1:
        previous = _previous(p, layout, out, h0)
        for d, to in pairs:
            _multiply(d.T, previous, to, False)
        return dw
    # time-major: the previous h of all rows but those of the first step are rows of out, one batch away
    head, tail = slice(0, rows - n), slice(n, rows)
    later, earlier, first = (head, tail, slice(rows - n, rows)) if p.reverse else (tail, head, slice(0, n))
    for d, to in pairs:
        _multiply(d[later].T, out[earlier], to, False)
        if given:
            _multiply(d[first].T, h0, to, True)
    return dw


def _layer_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
    x, shape, h0, c0, given, state_shape, layout, directions = saved
    g = np.ascontiguousarray(g).reshape(-1, g.shape[-1])
    rows, lstm = len(x), c0 is not None
    dx = empty(x.shape, x.dtype) if needs[0] else None
    dh0, dc0 = np.empty_like(h0), np.empty_like(c0) if lstm else None
    found: list[np.ndarray | None] = []
    for d, (p, w_ih, w_hh, gates, out, kept) in enumerate(directions):
        columns = slice(d * p.hidden, (d + 1) * p.hidden)
        da = empty((rows, p.gates * p.hidden), x.dtype)
        dkept = empty((rows, p.hidden), x.dtype) if p.cell == "gru" else None
        dcn, c, dc = (np.ascontiguousarray(g[rows:, columns]), c0[d], dc0[d]) if lstm else (None, None, None)  # type: ignore[index]
        select("recurrent", "backward", p)(
            p, g[:rows, columns], dcn, w_hh, gates, out, kept, h0[d], c, layout.steps, da, dkept, dh0[d], dc
        )  # fmt: skip
        if dx is not None:
            _multiply(da, w_ih, dx, d > 0)
        need = needs[3 + 4 * d : 7 + 4 * d]
        sums = column_sums(da) if need[2] or need[3] else None
        found.append(product(da.T, x) if need[0] else None)
        found.append(_hidden_weight_gradient(p, layout, given, da, dkept, out, kept, h0[d]) if need[1] else None)
        found.append(sums if need[2] else None)
        if need[3] and dkept is not None:
            sums = np.concatenate([sums[: 2 * p.hidden], column_sums(dkept)])  # type: ignore[index]
        # both biases may have these sums for their gradient, but not one array, which either may change
        found.append(np.array(sums) if need[3] else None)
    if dx is not None:
        dx = dx.reshape(*shape, x.shape[1])
    states = (s.reshape(state_shape) if s is not None and needed else None for s, needed in ((dh0, needs[1]), (dc0, needs[2])))
    return dx, *states, *found


_LAYER = Operation("recurrent", _layer_forward, _layer_backward)


def _layer(cell: str, layout: Layout, x: Any, h0: Any, c0: Any, weights: Sequence[Any]) -> tuple[Any, Any]:
    """The outputs of one layer, with the leading axes of x, and for lstm the last c, (batch, directions * hidden)."""
    out = apply(_LAYER, (x, h0, c0, *weights), cell, layout)
    if cell != "lstm":
        return out, None
    rows = layout.rows
    return reshape(getitem(out, slice(0, rows)), (*np.shape(x.data if isinstance(x, Tensor) else x)[:-1], out.shape[1])), getitem(
        out, slice(rows, None)
    )


def _by_direction(x: Any, directions: int) -> Any:
    """(batch, directions * hidden) as (directions, batch, hidden)."""
    batch, columns = x.shape
    return permute(reshape(x, (batch, directions, columns // directions)), (1, 0, 2))


def _run(
    cell: str, input: Any, hx: Any, params: Sequence[Any], has_biases: bool, num_layers: int, dropout: float, train: bool, bidirectional: bool,
    batch_first: bool, batch_sizes: Any,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """(output, h_n, c_n) of all layers."""
    name, lstm = cell.removesuffix("_before"), cell == "lstm"
    x = input if isinstance(input, Tensor) else np.asarray(input)
    each, directions = 4 if has_biases else 2, 2 if bidirectional else 1
    if len(params) != each * directions * num_layers:
        raise ValueError(
            f"{name}: expected {each * directions * num_layers} params, {each} per direction and layer ({num_layers} layers, {directions}"
            f" directions, has_biases={has_biases}); got {len(params)}"
        )
    if batch_sizes is None:
        if x.ndim != 3:
            what = "(batch, length, features)" if batch_first else "(length, batch, features)"
            raise ValueError(f"{name}: expected input of shape {what}, got {tuple(x.shape)}")
        length, batch = (x.shape[1], x.shape[0]) if batch_first else x.shape[:2]
        if not length:
            raise ValueError(f"{name}: expected sequences of at least one step, got input of shape {tuple(x.shape)}")
        layout = _dense(length, batch, batch_first)
    else:
        if x.ndim != 2:
            raise ValueError(f"{name}: expected the data of a packed sequence, (elements, features), got shape {tuple(x.shape)}")
        layout = _packed(name, batch_sizes, len(x))
    h0, c0 = hx if lstm and hx is not None else (hx, None)
    for state, what in ((h0, "h_0"), (c0, "c_0")):
        if state is not None and (len(state.shape) != 3 or state.shape[0] != num_layers * directions):
            raise ValueError(
                f"{name}: expected {what} of shape ({num_layers * directions}, {layout.batch}, hidden_size): (layers * directions, batch,"
                f" hidden_size); got {tuple(state.shape)}"
            )
    states, cells = [], []
    for layer in range(num_layers):
        here = slice(layer * directions, (layer + 1) * directions)
        weights: list[Any] = []
        for d in range(directions):
            at = (layer * directions + d) * each
            weights += [*params[at : at + each], *(() if has_biases else (None, None))]
        x, cn = _layer(
            cell, layout, x, None if h0 is None else getitem(h0, here), None if c0 is None else getitem(c0, here), weights
        )  # fmt: skip
        hidden = x.shape[-1] // directions
        states += [getitem(x, (*layout.final(d == 1), ..., slice(d * hidden, (d + 1) * hidden))) for d in range(directions)]
        if cn is not None:
            cells.append(_by_direction(cn, directions))
        if dropout and layer + 1 < num_layers:
            x = _dropout(x, dropout, train)
    return x, stack(states), (cells[0] if len(cells) == 1 else cat(cells)) if cells else None


def rnn_tanh(
    input: Any, hx: Any, params: Sequence[Any], has_biases: bool = True, num_layers: int = 1, dropout: float = 0.0, train: bool = False,
    bidirectional: bool = False, batch_first: bool = False, *, batch_sizes: Any = None,
) -> tuple[Any, Any]:  # fmt: skip
    """Layers of h' = tanh(W_ih x + b_ih + W_hh h + b_hh) over sequences.

    Parameters
    ----------
    input : array or Tensor, shape (length, batch, features), with batch_first (batch, length, features)
        With `batch_sizes` the data of a packed sequence, (elements, features).
    hx : array or Tensor, shape (layers * directions, batch, hidden), or None
        The first h; None: zeros.
    params : sequence
        Per layer and direction weight_ih (hidden, features), weight_hh (hidden, hidden), and with has_biases bias_ih and bias_hh (hidden,).
        Layers after the first have directions * hidden features.
    has_biases : bool
    num_layers : int
    dropout : float
        In training, between layers.
    train, bidirectional, batch_first : bool
    batch_sizes : array of int64, optional
        How many sequences have a first, second, ... element: ``nn.utils.rnn.pack_padded_sequence`` computes it.

    Returns
    -------
    output : shaped like the input, with directions * hidden features: h of the last layer at every step
    h_n : shape (layers * directions, batch, hidden): the last h of every layer and direction

    Raises
    ------
    ValueError
        Shapes do not fit, sequences without steps.
    TypeError
        Not float32 or float64, or different dtypes.

    Notes
    -----
    Elman, Cognitive Science 14(2), 1990. The product with x is computed for all steps at once, the steps in one call of a kernel.

    Examples
    --------
    >>> one = np.ones((1, 1))
    >>> output, h = rnn_tanh(np.zeros((3, 1, 1)), one[None], [one, one], has_biases=False)
    >>> output[:, 0, 0].round(3), h.round(3)
    (array([0.762, 0.642, 0.566]), array([[[0.566]]]))
    """
    return _run("rnn_tanh", input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first, batch_sizes)[:2]


def rnn_relu(
    input: Any, hx: Any, params: Sequence[Any], has_biases: bool = True, num_layers: int = 1, dropout: float = 0.0, train: bool = False,
    bidirectional: bool = False, batch_first: bool = False, *, batch_sizes: Any = None,
) -> tuple[Any, Any]:  # fmt: skip
    """Layers of h' = relu(W_ih x + b_ih + W_hh h + b_hh) over sequences.

    Parameters
    ----------
    input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first, batch_sizes
        As of `rnn_tanh`.

    Returns
    -------
    output, h_n
        As of `rnn_tanh`.

    Raises
    ------
    ValueError, TypeError
        As of `rnn_tanh`.

    Examples
    --------
    >>> one = np.ones((1, 1))
    >>> rnn_relu(np.ones((3, 1, 1)), None, [one, one], has_biases=False)[0].ravel()
    array([1., 2., 3.])
    """
    return _run("rnn_relu", input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first, batch_sizes)[:2]


def lstm(
    input: Any, hx: Any, params: Sequence[Any], has_biases: bool = True, num_layers: int = 1, dropout: float = 0.0, train: bool = False,
    bidirectional: bool = False, batch_first: bool = False, *, batch_sizes: Any = None,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Layers of long short-term memory over sequences.

    i, f, o = sigmoid(W_ih x + b_ih + W_hh h + b_hh), g = tanh(the same), c' = f c + i g, h' = o tanh(c').

    Parameters
    ----------
    input, has_biases, num_layers, dropout, train, bidirectional, batch_first, batch_sizes
        As of `rnn_tanh`.
    hx : pair (h_0, c_0), each as of `rnn_tanh`, or None
    params : sequence
        As of `rnn_tanh`; weights and biases hold the gates i f g o below each other, (4 * hidden, ...).
        ``nn.utils.rnn.reorder_gates`` converts other orders, ONNX's and Keras'.

    Returns
    -------
    output, h_n, c_n

    Raises
    ------
    ValueError, TypeError
        As of `rnn_tanh`.

    Notes
    -----
    Hochreiter and Schmidhuber, Neural Computation 9(8), 1997; with forget gates, Gers et al., 2000.

    Examples
    --------
    >>> output, h, c = lstm(np.zeros((2, 3, 5)), None, [np.zeros((16, 5)), np.zeros((16, 4))], has_biases=False)
    >>> output.shape, h.shape, c.shape
    ((2, 3, 4), (1, 3, 4), (1, 3, 4))
    """
    return _run("lstm", input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first, batch_sizes)


def gru(
    input: Any, hx: Any, params: Sequence[Any], has_biases: bool = True, num_layers: int = 1, dropout: float = 0.0, train: bool = False,
    bidirectional: bool = False, batch_first: bool = False, *, batch_sizes: Any = None, reset_after: bool = True,
) -> tuple[Any, Any]:  # fmt: skip
    """Layers of gated recurrent units over sequences.

    r, z = sigmoid(W_ih x + b_ih + W_hh h + b_hh), n = tanh(W_in x + b_in + r (W_hn h + b_hn)), h' = (1 - z) n + z h.

    Parameters
    ----------
    input, hx, has_biases, num_layers, dropout, train, bidirectional, batch_first, batch_sizes
        As of `rnn_tanh`.
    params : sequence
        As of `rnn_tanh`; weights and biases hold the gates r z n below each other, (3 * hidden, ...).
        ``nn.utils.rnn.reorder_gates`` converts other orders, ONNX's and Keras'.
    reset_after : bool
        True, as in PyTorch and as ONNX's linear_before_reset=1. False, ONNX's linear_before_reset=0: the reset gate comes before the product,
        n = tanh(W_in x + b_in + W_hn (r h) + b_hn).

    Returns
    -------
    output, h_n
        As of `rnn_tanh`.

    Raises
    ------
    ValueError, TypeError
        As of `rnn_tanh`.

    Notes
    -----
    Cho et al., EMNLP 2014, whose form is reset_after=False.

    Examples
    --------
    >>> output, h = gru(np.zeros((2, 3, 5)), np.ones((1, 3, 1)), [np.zeros((3, 5)), np.zeros((3, 1))], has_biases=False)
    >>> output[:, 0, 0]
    array([0.5 , 0.25])
    """
    cell = "gru" if reset_after else "gru_before"
    return _run(cell, input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first, batch_sizes)[:2]


# Cells: one step


def _step(cell: str, input: Any, hx: Any, cx: Any, weights: tuple[Any, ...]) -> tuple[Any, Any]:
    x = input if isinstance(input, Tensor) else np.asarray(input)
    if x.ndim != 2:
        raise ValueError(f"{cell.removesuffix('_before')}_cell: expected input of shape (batch, features), got {tuple(x.shape)}")
    return _layer(cell, _dense(1, len(x), False), x, hx, cx, weights)


def rnn_tanh_cell(input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
    """One step of `rnn_tanh`: tanh(W_ih x + b_ih + W_hh h + b_hh).

    Parameters
    ----------
    input : array or Tensor, shape (batch, features)
    hx : array or Tensor, shape (batch, hidden), or None: zeros
    w_ih, w_hh, b_ih, b_hh : arrays or Tensors
        One direction of one layer; both biases or none.

    Returns
    -------
    array or Tensor, shape (batch, hidden)

    Raises
    ------
    ValueError, TypeError
        As of `rnn_tanh`.

    Examples
    --------
    >>> rnn_tanh_cell(np.zeros((1, 2)), np.ones((1, 1)), np.zeros((1, 2)), np.ones((1, 1))).round(3)
    array([[0.762]])
    """
    return _step("rnn_tanh", input, hx, None, (w_ih, w_hh, b_ih, b_hh))[0]


def rnn_relu_cell(input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
    """One step of `rnn_relu`: relu(W_ih x + b_ih + W_hh h + b_hh).

    Parameters
    ----------
    input, hx, w_ih, w_hh, b_ih, b_hh
        As of `rnn_tanh_cell`.

    Examples
    --------
    >>> rnn_relu_cell(np.zeros((1, 2)), np.ones((1, 1)), np.zeros((1, 2)), np.full((1, 1), 3.0))
    array([[3.]])
    """
    return _step("rnn_relu", input, hx, None, (w_ih, w_hh, b_ih, b_hh))[0]


def lstm_cell(input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> tuple[Any, Any]:
    """One step of `lstm`.

    Parameters
    ----------
    input, w_ih, w_hh, b_ih, b_hh
        As of `rnn_tanh_cell`.
    hx : pair (h, c), each of shape (batch, hidden), or None: zeros

    Returns
    -------
    h, c : the new ones

    Examples
    --------
    >>> h, c = lstm_cell(np.zeros((1, 2)), (np.zeros((1, 1)), np.ones((1, 1))), np.zeros((4, 2)), np.zeros((4, 1)))
    >>> h.round(4), c
    (array([[0.2311]]), array([[0.5]]))
    """
    h, c = (None, None) if hx is None else hx
    return _step("lstm", input, h, c, (w_ih, w_hh, b_ih, b_hh))


def gru_cell(input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None, *, reset_after: bool = True) -> Any:
    """One step of `gru`.

    Parameters
    ----------
    input, hx, w_ih, w_hh, b_ih, b_hh
        As of `rnn_tanh_cell`.
    reset_after : bool
        As of `gru`.

    Examples
    --------
    >>> gru_cell(np.zeros((1, 2)), np.ones((1, 1)), np.zeros((3, 2)), np.zeros((3, 1)))
    array([[0.5]])
    """
    return _step("gru" if reset_after else "gru_before", input, hx, None, (w_ih, w_hh, b_ih, b_hh))[0]
