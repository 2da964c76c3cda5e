"""Reshaping, reordering, joining and indexing. Results are NumPy views wherever NumPy gives one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lamella.functional._broadcast import axis, channels_last_only, empty, unbroadcast, zeros
from lamella.layout import same_dtype
from lamella.tensor import Operation, Tensor, apply

__all__ = [
    "cat",
    "concat",
    "expand",
    "flatten",
    "from_nhwc",
    "getitem",
    "permute",
    "reshape",
    "squeeze",
    "stack",
    "to_nhwc",
    "transpose",
    "unflatten",
    "unsqueeze",
]


def _view(operation: Operation, input: Any, *attributes: Any) -> Any:
    """Apply an operation whose result shares memory with its input where it can: then in-place changes count for both."""
    result = apply(operation, (input,), *attributes)
    if isinstance(result, Tensor) and np.may_share_memory(result.data, input.data):
        result._version = input._version
    return result


def _integer(x: Any) -> bool:
    return hasattr(x, "__index__") and not isinstance(x, (bool, np.bool_))


# reshape, flatten, squeeze, unsqueeze


def _reshape_forward(x: Any, shape: tuple[int, ...]) -> tuple[np.ndarray, Any]:
    x = np.asarray(x)
    try:
        return x.reshape(shape), x.shape
    except ValueError:
        raise ValueError(f"reshape: shape {tuple(shape)} is invalid for an input of shape {x.shape} with {x.size} elements") from None


def _reshape_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray]:
    return (g.reshape(saved),)


_RESHAPE = Operation("reshape", _reshape_forward, _reshape_backward)


def reshape(input: Any, shape: Sequence[int]) -> Any:
    """The same elements, in the same (C) order of indices, in another shape.

    Parameters
    ----------
    input : array or Tensor
    shape : tuple of int
        One may be -1: whatever remains.

    Returns
    -------
    array or Tensor: a view where the memory allows it, else a copy

    Raises
    ------
    ValueError
        The number of elements differs.

    Examples
    --------
    >>> reshape(np.arange(6.0), (2, -1)).shape
    (2, 3)
    """
    wanted = (shape,) if _integer(shape) else tuple(shape)
    if not all(_integer(n) for n in wanted):
        raise TypeError(f"reshape: expected a shape of integers, got {shape}")
    return _view(_RESHAPE, input, wanted)


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Join neighbouring axes into one.

    Parameters
    ----------
    input : array or Tensor
    start_dim, end_dim : int
        First and last axis to join.

    Examples
    --------
    >>> flatten(np.zeros((2, 3, 4)), 1).shape
    (2, 12)
    """
    shape = np.shape(input) if not isinstance(input, Tensor) else input.shape
    start, end = axis("flatten", start_dim, len(shape)), axis("flatten", end_dim, len(shape))
    if start > end:
        raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim} in shape {shape}")
    joined = math.prod(shape[start : end + 1])
    return _view(_RESHAPE, input, (*shape[:start], joined, *shape[end + 1 :]))


def unflatten(input: Any, dim: int, sizes: Sequence[int]) -> Any:
    """Split one axis into several: the inverse of `flatten`.

    Parameters
    ----------
    input : array or Tensor
    dim : int
    sizes : tuple of int
        One may be -1.

    Examples
    --------
    >>> unflatten(np.zeros((2, 12)), 1, (3, -1)).shape
    (2, 3, 4)
    """
    shape = input.shape if isinstance(input, Tensor) else np.shape(input)
    at = axis("unflatten", dim, len(shape))
    known = -math.prod(sizes)
    if -1 in sizes and known > 0 and shape[at] % known == 0:
        sizes = tuple(shape[at] // known if n == -1 else n for n in sizes)
    if min(sizes, default=-1) < 0 or math.prod(sizes) != shape[at]:
        raise ValueError(f"unflatten: sizes {tuple(sizes)} do not multiply to axis {dim} of shape {shape}")
    return _view(_RESHAPE, input, (*shape[:at], *sizes, *shape[at + 1 :]))


def squeeze(input: Any, dim: int | tuple[int, ...] | None = None) -> Any:
    """Drop axes of size 1: all, or those named (one of another size stays).

    Parameters
    ----------
    input : array or Tensor
    dim : int or tuple of int, optional

    Examples
    --------
    >>> squeeze(np.zeros((1, 3, 1))).shape, squeeze(np.zeros((1, 3, 1)), 0).shape
    ((3,), (3, 1))
    """
    shape = input.shape if isinstance(input, Tensor) else np.shape(input)
    named = (
        range(len(shape)) if dim is None else [axis("squeeze", d, len(shape)) for d in (dim if isinstance(dim, (tuple, list)) else (dim,))]
    )
    return _view(_RESHAPE, input, tuple(n for i, n in enumerate(shape) if n != 1 or i not in named))


def unsqueeze(input: Any, dim: int) -> Any:
    """Insert an axis of size 1 before axis `dim`.

    Parameters
    ----------
    input : array or Tensor
    dim : int

    Examples
    --------
    >>> unsqueeze(np.zeros((2, 3)), 1).shape
    (2, 1, 3)
    """
    shape = input.shape if isinstance(input, Tensor) else np.shape(input)
    at = axis("unsqueeze", dim, len(shape) + 1)
    return _view(_RESHAPE, input, (*shape[:at], 1, *shape[at:]))


# permute, transpose


def _permute_forward(x: Any, dims: tuple[int, ...]) -> tuple[np.ndarray, Any]:
    return np.asarray(x).transpose(dims), dims


def _permute_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray]:
    return (g.transpose(np.argsort(saved)),)


_PERMUTE = Operation("permute", _permute_forward, _permute_backward)


def permute(input: Any, dims: Sequence[int]) -> Any:
    """The axes in another order: a view.

    Parameters
    ----------
    input : array or Tensor
    dims : tuple of int

    Examples
    --------
    >>> permute(np.zeros((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    ndim = input.ndim if isinstance(input, Tensor) else np.ndim(input)
    order = tuple(axis("permute", d, ndim) for d in dims)
    if sorted(order) != list(range(ndim)):
        raise ValueError(f"permute: expected every one of {ndim} axes once, got dims {tuple(dims)}")
    return _view(_PERMUTE, input, order)


def transpose(input: Any, dim0: int, dim1: int) -> Any:
    """Two axes exchanged: a view.

    Parameters
    ----------
    input : array or Tensor
    dim0, dim1 : int

    Examples
    --------
    >>> transpose(np.zeros((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    ndim = input.ndim if isinstance(input, Tensor) else np.ndim(input)
    order = list(range(ndim))
    if ndim:
        i, j = axis("transpose", dim0, ndim), axis("transpose", dim1, ndim)
        order[i], order[j] = j, i
    return _view(_PERMUTE, input, tuple(order))


def from_nhwc(input: Any) -> Any:
    """Images (N, H, W, C) or (H, W, C), as files and Keras hold them, as (N, C, H, W): a view in channels-last memory, which nothing here copies.

    Parameters
    ----------
    input : array or Tensor

    Returns
    -------
    array or Tensor: a view

    Raises
    ------
    ValueError
        Neither 3 nor 4 axes.

    Examples
    --------
    >>> from_nhwc(np.zeros((2, 32, 48, 3))).shape
    (2, 3, 32, 48)
    """
    return _channels("from_nhwc", input, -1, -3)


def to_nhwc(input: Any) -> Any:
    """Images (N, C, H, W) or (C, H, W) as (N, H, W, C): a view, C-contiguous where the memory is channels-last.

    Parameters
    ----------
    input : array or Tensor

    Returns
    -------
    array or Tensor: a view

    Raises
    ------
    ValueError
        Neither 3 nor 4 axes.

    Examples
    --------
    >>> to_nhwc(np.zeros((2, 3, 32, 48))).shape
    (2, 32, 48, 3)
    """
    return _channels("to_nhwc", input, -3, -1)


def _channels(name: str, input: Any, source: int, target: int) -> Any:
    ndim = input.ndim if isinstance(input, Tensor) else np.ndim(input)
    if ndim not in (3, 4):
        raise ValueError(f"{name}: expected images of 4 axes, or one of 3, got {ndim}")
    order = list(range(ndim))
    order.insert(ndim + target, order.pop(source))
    return permute(input, order)


# expand


def _expand_forward(x: Any, shape: tuple[int, ...]) -> tuple[np.ndarray, Any]:
    x = np.asarray(x)
    try:
        return np.broadcast_to(x, shape), x.shape
    except ValueError:
        raise ValueError(f"expand: an input of shape {x.shape} does not broadcast to {shape}") from None


def _expand_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray]:
    return (unbroadcast(g, saved),)


_EXPAND = Operation("expand", _expand_forward, _expand_backward)


def expand(input: Any, size: Sequence[int]) -> Any:
    """Axes of size 1 repeated without a copy: a read-only view.

    Parameters
    ----------
    input : array or Tensor
    size : tuple of int
        -1 keeps the size of an axis; axes may be added in front.

    Examples
    --------
    >>> expand(np.ones((2, 1)), (-1, 3)).shape
    (2, 3)
    """
    shape = input.shape if isinstance(input, Tensor) else np.shape(input)
    lead = len(size) - len(shape)
    if lead < 0:
        raise ValueError(f"expand: an input of shape {shape} does not broadcast to {tuple(size)}")
    return _view(_EXPAND, input, tuple(shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(size)))


# cat, stack


def _cat_forward(*arguments: Any) -> tuple[np.ndarray, Any]:
    *arrays, dim = arguments
    arrays = [np.asarray(x) for x in arrays]
    same_dtype("cat", **{f"tensors[{i}]": x for i, x in enumerate(arrays)})
    first = arrays[0]
    if not first.ndim:
        raise ValueError("cat: arrays without axes cannot be joined; use stack")
    dim = axis("cat", dim, first.ndim)
    for i, x in enumerate(arrays):
        if x.ndim != first.ndim or any(a != b for d, (a, b) in enumerate(zip(x.shape, first.shape)) if d != dim):
            raise ValueError(f"cat: sizes must agree except along axis {dim}; tensors[0] has shape {first.shape}, tensors[{i}] {x.shape}")
    shape = (*first.shape[:dim], sum(x.shape[dim] for x in arrays), *first.shape[dim + 1 :])
    out = empty(shape, first.dtype, any(channels_last_only(x) for x in arrays))
    np.concatenate(arrays, dim, out=out)
    return out, (dim, [x.shape[dim] for x in arrays])


def _cat_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> list[np.ndarray | None]:
    dim, sizes = saved
    gradients: list[np.ndarray | None] = []
    end = 0
    for size, need in zip(sizes, needs):
        start, end = end, end + size
        gradients.append(g[(slice(None),) * dim + (slice(start, end),)] if need else None)
    return gradients


_CAT = Operation("cat", _cat_forward, _cat_backward)


def cat(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Arrays joined along an axis. The result is channels-last when an input is.

    Parameters
    ----------
    tensors : sequence of arrays or Tensors
        Of one dtype, and of one shape except along `dim`.
    dim : int

    Raises
    ------
    ValueError
        Nothing to join, or the shapes do not fit.

    Examples
    --------
    >>> cat([np.zeros((2, 3)), np.ones((1, 3))]).shape
    (3, 3)
    """
    tensors = tuple(tensors)
    if not tensors:
        raise ValueError("cat: expected at least one array")
    return apply(_CAT, tensors, dim)


concat = cat


def _stack_forward(*arguments: Any) -> tuple[np.ndarray, Any]:
    *arrays, dim = arguments
    arrays = [np.asarray(x) for x in arrays]
    same_dtype("stack", **{f"tensors[{i}]": x for i, x in enumerate(arrays)})
    for i, x in enumerate(arrays):
        if x.shape != arrays[0].shape:
            raise ValueError(f"stack: expected equal shapes; tensors[0] has {arrays[0].shape}, tensors[{i}] {x.shape}")
    dim = axis("stack", dim, arrays[0].ndim + 1)
    return np.stack(arrays, dim), dim


def _stack_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> list[np.ndarray]:
    return list(np.moveaxis(g, saved, 0))


_STACK = Operation("stack", _stack_forward, _stack_backward)


def stack(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Arrays of one shape side by side along a new axis.

    Parameters
    ----------
    tensors : sequence of arrays or Tensors
        Of one dtype and shape.
    dim : int
        Where the new axis goes.

    Examples
    --------
    >>> stack([np.zeros(3), np.ones(3)], dim=1).shape
    (3, 2)
    """
    tensors = tuple(tensors)
    if not tensors:
        raise ValueError("stack: expected at least one array")
    return apply(_STACK, tensors, dim)


# indexing


def _plain(item: Any) -> Any:
    """An index as NumPy takes it, and not the caller's array: the tape keeps it."""
    if item is None or item is Ellipsis or isinstance(item, (slice, int, np.integer)):
        return item
    array = np.array(item.data if isinstance(item, Tensor) else item)
    if not array.size and array.dtype == np.float64:
        array = array.astype(np.int64)  # an empty list
    if array.dtype.kind not in "iub":
        raise TypeError(
            f"getitem: expected integers, slices, None, ... or booleans as index, got {array.dtype}; convert it to int64 or bool"
        )
    return array


def _getitem_forward(x: Any, index: tuple[Any, ...], basic: bool) -> tuple[np.ndarray, Any]:
    x = np.asarray(x)
    if basic and Ellipsis not in index:
        index = (*index, Ellipsis)  # a view even where one element is left
    return np.asarray(x[index]), (x.shape, index, basic, channels_last_only(x))


def _getitem_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray]:
    shape, index, basic, channels_last = saved
    dx = zeros(shape, g.dtype, channels_last)
    if basic or all(not isinstance(i, np.ndarray) or i.dtype == np.bool_ for i in index):
        dx[index] = g
    else:
        np.add.at(dx, index, g)  # an element taken twice collects twice
    return (dx,)


_GETITEM = Operation("getitem", _getitem_forward, _getitem_backward)


def getitem(input: Any, index: Any) -> Any:
    """input[index], as in NumPy: integers, slices, None, ..., integer arrays and masks.

    Parameters
    ----------
    input : array or Tensor
    index : anything NumPy takes; Tensors too

    Returns
    -------
    array or Tensor: a view for integers and slices, a copy otherwise

    Examples
    --------
    >>> getitem(np.array([1.0, 2.0, 3.0]), [0, 0, 2])
    array([1., 1., 3.])
    """
    items = tuple(_plain(i) for i in index) if isinstance(index, tuple) else (_plain(index),)
    basic = all(not isinstance(i, (np.ndarray, bool)) for i in items)
    return _view(_GETITEM, input, items, basic) if basic else apply(_GETITEM, (input,), items, basic)
