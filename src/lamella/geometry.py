"""What a pixel of every layer sees of the input, and the sizes of what layers give."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lamella.nn.module import Module
from lamella.tensor import Tensor, enable_grad

__all__ = ["conv_output_size", "conv_transpose_output_size", "receptive_field", "same_padding"]


def conv_output_size(size: int, kernel_size: int, stride: int = 1, padding: Any = 0, dilation: int = 1, rounding: str = "floor") -> int:
    """How many positions a window has along one axis: (size - dilation (kernel_size - 1) - 1 + low + high) / stride + 1.

    Parameters
    ----------
    size, kernel_size, stride, dilation : int
        Of the input axis, and of a convolution or pooling.
    padding : int, (int, int), "valid" or "same"
        Of both ends, or of each; "same" gives ceil(size / stride).
    rounding : {"floor", "ceil", "exact"}
        floor: as convolutions do; ceil: pooling with ceil_mode (a last window counts if it starts inside the input or the padding before it); exact: courses write the
        formula without rounding, (W - F + 2 P) / S + 1, and what does not divide is refused.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        The window is larger than the padded input; exact, and the stride does not divide.

    Examples
    --------
    >>> conv_output_size(5, 3, stride=2, padding=1), conv_output_size(227, 11, stride=4), conv_output_size(7, 2, 2, rounding="ceil")
    (3, 55, 4)
    """
    if rounding not in ("floor", "ceil", "exact"):
        raise ValueError(f"conv_output_size: expected rounding to be floor, ceil or exact, got {rounding!r}")
    if padding == "same":
        return -(-size // stride)
    low, high = (0, 0) if padding == "valid" else padding if isinstance(padding, (tuple, list)) else (padding, padding)
    room = size + low + high - dilation * (kernel_size - 1) - 1
    if room < 0:
        raise ValueError(
            f"conv_output_size: a window of {dilation * (kernel_size - 1) + 1} is larger than the padded input of {size + low + high}"
        )
    if rounding == "exact" and room % stride:
        raise ValueError(
            f"conv_output_size: stride {stride} does not divide {room}: the filter does not fit the input a whole number of times"
        )
    if rounding == "ceil":
        out = -(-room // stride) + 1
        return out - ((out - 1) * stride >= size + low)
    return room // stride + 1


def conv_transpose_output_size(
    size: int, kernel_size: int, stride: int = 1, padding: int = 0, output_padding: int = 0, dilation: int = 1
) -> int:
    """The size of a transposed convolution's output along one axis.

    Parameters
    ----------
    size, kernel_size, stride, padding, output_padding, dilation : int

    Returns
    -------
    int, (size - 1) stride - 2 padding + dilation (kernel_size - 1) + output_padding + 1

    Examples
    --------
    >>> conv_transpose_output_size(8, 4, stride=2, padding=1)
    16
    """
    return (size - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1


def same_padding(size: int, kernel_size: int, stride: int = 1, dilation: int = 1, side: str = "upper") -> tuple[int, int]:
    """(low, high) padding that gives ceil(size / stride) positions, for `lamella.functional.pad`: what Keras and ONNX call "same".

    Parameters
    ----------
    size, kernel_size, stride, dilation : int
    side : {"upper", "lower"}
        Where an odd one goes: behind (Keras, TensorFlow, ONNX SAME_UPPER) or before (SAME_LOWER).

    Returns
    -------
    (int, int)

    Examples
    --------
    >>> same_padding(6, 3, stride=2), same_padding(6, 3, stride=2, side="lower")
    ((0, 1), (1, 0))
    """
    if side not in ("upper", "lower"):
        raise ValueError(f"same_padding: expected side 'upper' or 'lower', got {side!r}")
    total = max((-(-size // stride) - 1) * stride + dilation * (kernel_size - 1) + 1 - size, 0)
    return (total // 2, total - total // 2) if side == "upper" else (total - total // 2, total // 2)


class _Seen(NamedTuple):
    """What position 0 along one axis sees, first and last pixel, and how far the next position is moved."""

    first: int
    last: int
    step: int


class Field(NamedTuple):
    """A layer's receptive field, height and width: its size, the step between neighbouring outputs, and the first pixel of the first output
    (negative: in the padding). `whole`: every output sees everything."""

    name: str
    kind: str
    size: tuple[int, int]
    step: tuple[int, int]
    start: tuple[int, int]
    whole: bool


def _plane(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """(height, width) of images or sequences."""
    return shape[2:] if len(shape) == 4 else (1, shape[2]) if len(shape) == 3 else None


def _moved(seen: Any, windows: Any) -> tuple[_Seen, _Seen]:
    """Behind a window (kernel, stride, padding, dilation) per axis."""
    found = [_Seen(a.first - p * a.step, a.last + (d * (k - 1) - p) * a.step, a.step * s) for a, (k, s, p, d) in zip(seen, windows)]
    return found[0], found[1]


class _Tape:
    """Receptive fields of everything on the tape that leads from an input."""

    def __init__(self, input: Tensor):
        self.input, self.known = input, {}  # type: ignore[var-annotated]
        height, width = _plane(input.shape) or (1, 1)
        self.whole = _Seen(0, height - 1, 0), _Seen(0, width - 1, 0)

    def of(self, tensor: Any) -> tuple[_Seen, _Seen] | None:
        """None where nothing of the input arrives."""
        if tensor is self.input:
            return _Seen(0, 0, 1), _Seen(0, 0, 1)
        node = getattr(tensor, "_node", None)
        if node is None:
            return None
        if id(node) not in self.known:
            self.known[id(node)] = (node, self._behind(node))
        return self.known[id(node)][1]

    def _behind(self, node: Any) -> tuple[_Seen, _Seen] | None:
        found = [(parent, seen) for parent in node.parents if parent is not None and (seen := self.of(parent)) is not None]
        if not found:
            return None
        fields = [seen for _, seen in found]
        if any(seen == self.whole for seen in fields):
            return self.whole
        (height, width), before = _merged([f[0] for f in fields], [f[1] for f in fields]), found[0][0]
        name = node.operation.name
        p: Any = node.saved[0] if isinstance(node.saved, tuple) and node.saved else None
        p = p[0] if isinstance(p, tuple) and p else p  # the norm of infinite order keeps another operation's
        if name == "conv2d" or (name.endswith("pool2d") and not p.adaptive):
            return _moved((height, width), ((p.kh, p.sh, p.ph, p.dh), (p.kw, p.sw, p.pw, p.dw)))
        if name.endswith("pool2d") and (p.ih % max(p.oh, 1) == 0 and p.iw % max(p.ow, 1) == 0) and (p.oh > 1 or p.ow > 1):
            return _moved((height, width), ((p.ih // p.oh, p.ih // p.oh, 0, 1), (p.iw // p.ow, p.iw // p.ow, 0, 1)))
        if name == "pad" and _plane(node.shape):
            inner = node.saved[1]
            lows = (inner[-2].start if len(inner) == 4 else 0), inner[-1].start
            return _moved((height, width), [(1, 1, low, 1) for low in lows])
        if _plane(node.shape) is None or name.endswith("pool2d"):
            return self.whole  # flattened, or averaged over everything
        if _plane(node.shape) == _plane(before.shape):
            return height, width  # pixel by pixel; the statistics of normalisation do not count
        raise ValueError(f"receptive_field: no rule for {name}, which makes {node.shape} of {before.shape}")


def _merged(heights: list[_Seen], widths: list[_Seen]) -> tuple[_Seen, _Seen]:
    """What either branch sees."""
    both = [_Seen(min(a.first for a in axis), max(a.last for a in axis), max(a.step for a in axis)) for axis in (heights, widths)]
    return both[0], both[1]


def receptive_field(model: Module, input_shape: Sequence[int]) -> list[Field]:
    """How much of the input a pixel of each layer's output sees, along every path of the network.

    Parameters
    ----------
    model : Module
    input_shape : sequence of int
        Of one input, without the batch: (channels, height, width), or (channels, length).

    Returns
    -------
    list of Field (name, kind, size, step, start, whole), one per call of a layer, in the order of the calls

    Raises
    ------
    TypeError
        The model is not a Module.
    ValueError
        A layer that changes the size by other means than windows and padding (interpolation, transposed convolution).

    Notes
    -----
    The model runs once, in evaluation mode, on zeros; the tape that its output leaves is followed back. A window of kernel k, stride s, dilation d
    behind a field of size r and step j sees r + d (k - 1) j, with step j s. Branches that meet see what either sees.

    Examples
    --------
    >>> net = lamella.nn.Sequential(lamella.nn.Conv2d(1, 2, 3), lamella.nn.Conv2d(2, 2, 3, dilation=2), lamella.nn.MaxPool2d(2))
    >>> [field.size for field in lamella.receptive_field(net, (1, 16, 16))]
    [(3, 3), (7, 7), (8, 8)]
    """
    if not isinstance(model, Module):
        raise TypeError(f"receptive_field: expected a Module, got {type(model).__name__}")
    shape = tuple(operator.index(n) for n in input_shape)
    if len(shape) not in (2, 3):
        raise ValueError(f"receptive_field: expected input_shape (channels, height, width) or (channels, length), got {shape}")
    calls: list[tuple[str, Module, Tensor]] = []

    def hook(name: str) -> Any:
        def record(module: Module, args: tuple[Any, ...], out: Any) -> None:
            out = out[0] if isinstance(out, tuple) and out else out
            if isinstance(out, Tensor) and not module._modules:
                calls.append((name, module, out))

        return record

    modes = [(module, module.training) for module in model.modules()]
    handles = [module.register_forward_hook(hook(name)) for name, module in model.named_modules()]
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    x = Tensor(np.zeros((1, *shape), dtype), requires_grad=True)
    try:
        model.eval()
        with enable_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode
    tape, fields = _Tape(x), []
    for name, module, out in calls:
        seen = tape.of(out)
        if seen is not None:
            h, w = seen
            sizes = (h.last - h.first + 1, w.last - w.first + 1)
            fields.append(Field(name, type(module).__name__, sizes, (h.step, w.step), (h.first, w.first), seen == tape.whole))
    return fields
