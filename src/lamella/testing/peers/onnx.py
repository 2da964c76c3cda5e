"""An ONNX model of one operator, written as bytes: enough to ask ONNX Runtime for it, without the onnx package.

The format is protocol buffers: a message is a run of fields, each a key (number * 8 + kind) and a value, a varint (kind 0), four bytes (5) or a length and
as many bytes (2). The numbers are those of onnx.proto3, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

IR_VERSION, OPSET, FLOAT = 8, 17, 1


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers are written as 64 bits
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, value: int | float | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    if isinstance(value, float):
        return _varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _attribute(name: str, value: Any) -> bytes:
    if isinstance(value, list):
        return _field(1, name) + b"".join(_field(8, v) for v in value) + _field(20, 7)
    kind, number = {int: (2, 3), float: (1, 2), str: (3, 4)}[type(value)]
    return _field(1, name) + _field(number, value) + _field(20, kind)


def _value(name: str, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(_field(1, _field(1, d)) for d in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, FLOAT) + _field(2, dims)))


def _tensor(name: str, array: np.ndarray) -> bytes:
    dims = b"".join(_field(1, d) for d in array.shape)
    return dims + _field(2, FLOAT) + _field(8, name) + _field(9, np.ascontiguousarray(array, "<f4").tobytes())


def model(
    operator: str, attributes: dict[str, Any], arrays: list[np.ndarray], weights: tuple[int, ...], out_shape: tuple[int, ...]
) -> bytes:
    """A model whose inputs x0, x1, ... go into one operator, and whose output is y. Arrays in `weights` are part of it."""
    names = [f"x{i}" for i in range(len(arrays))]
    node = b"".join(_field(1, name) for name in names) + _field(2, "y") + _field(4, operator)
    node += b"".join(_field(5, _attribute(name, value)) for name, value in attributes.items())
    graph = _field(1, node) + _field(2, "one")
    graph += b"".join(_field(5, _tensor(names[i], arrays[i])) for i in weights)
    graph += b"".join(_field(11, _value(name, array.shape)) for i, (name, array) in enumerate(zip(names, arrays)) if i not in weights)
    graph += _field(12, _value("y", out_shape))
    return _field(1, IR_VERSION) + _field(8, _field(2, OPSET)) + _field(7, graph)
