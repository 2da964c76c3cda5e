"""max_pool2d, avg_pool2d, lp_pool2d and the adaptive ones: one Operation over one Problem."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.layout import channels_last, empty_channels_last, operand
from lamella.problems import Pool2dProblem
from lamella.problems.conv2d import MOST, pair, whole
from lamella.registry import EMPTY, select
from lamella.tensor import Operation, Tensor, apply, is_grad_enabled

Pair = tuple[int, int]
_ONE, _NONE = (1, 1), (0, 0)


def _planes(x: Any, name: str) -> np.ndarray:
    """The input as a validated (N, C, H, W) array in channels-last memory."""
    x = operand(np.asarray(x), name)
    if x.ndim not in (3, 4):
        raise ValueError(f"{name}: expected input of shape (N, C, H, W) or (C, H, W), got {x.shape}")
    return channels_last(x if x.ndim == 4 else x[None])


def _forward(x: np.ndarray, name: str, kind: str, return_indices: bool, *window: Any) -> tuple[Any, Any]:
    planes = _planes(x, name)
    p = Pool2dProblem.of(*planes.shape, planes.dtype, kind, *window)
    out = empty_channels_last(p.out_shape, p.dtype)
    where = empty_channels_last(p.out_shape, p.index_dtype) if p.indices else EMPTY
    select("pool2d", "forward", p)(p, planes, out, where)
    result = out if np.ndim(x) == 4 else out[0]
    # x and result as they came stand in `saved` so that the tape watches them for changes
    saved = (p, planes, out, None, x, result) if kind == "lp" else (p, None, None, where if p.indices else None)
    if return_indices:
        indices = p.flat(where)
        return (result, indices if np.ndim(x) == 4 else indices[0]), saved
    return result, saved


def _backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray]:
    p, x, out, where, *_ = saved
    dx = empty_channels_last((p.mb, p.c, p.ih, p.iw), p.dtype)
    select("pool2d", "backward", p)(p, channels_last(g if g.ndim == 4 else g[None]), x, out, where, dx)
    return (dx if g.ndim == 4 else dx[0],)


_OPERATIONS = {
    name: Operation(name, _forward, _backward)
    for name in ("max_pool2d", "avg_pool2d", "lp_pool2d", "adaptive_max_pool2d", "adaptive_avg_pool2d")
}


def _largest_forward(x: np.ndarray, *arguments: Any) -> tuple[Any, Any]:
    """The norm of order infinity: the maximum of |x|, of order -infinity: the minimum."""
    order, *window = arguments
    x = operand(np.asarray(x), "lp_pool2d")
    out, saved = _forward(np.copysign(x, order), "lp_pool2d", "max", False, *window)
    return (np.abs(out), (saved, x))


def _largest_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray]:
    inner, x = saved
    (dx,) = _backward(inner, g, needs)
    return (dx * np.sign(x),)


_LARGEST = Operation("lp_pool2d", _largest_forward, _largest_backward)


def _recorded(input: Any) -> bool:
    return isinstance(input, Tensor) and input.requires_grad and is_grad_enabled()


def _with_indices(result: Any, input: Any, return_indices: bool) -> Any:
    return (result[0], Tensor(result[1])) if return_indices and isinstance(input, Tensor) else result


def max_pool2d(
    input: Any,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum over windows of every channel's plane.

    Parameters
    ----------
    input : array or Tensor (N, C, H, W) or (C, H, W) of float32 or float64, C-contiguous or channels-last
    kernel_size : int or (int, int)
        Height and width of a window, in taps.
    stride : int or (int, int), optional
        Distance between windows; default: kernel_size.
    padding : int or (int, int)
        Border on both sides that never is a maximum; at most half of kernel_size.
    dilation : int or (int, int)
        Distance between the taps of a window.
    ceil_mode : bool
        Also a last window that reaches over the border, if it starts inside the input or the padding before it.
    return_indices : bool
        Also give the places of the maxima.

    Returns
    -------
    array or Tensor (N, C, OH, OW) in channels-last memory, OH = floor((H + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1, rounded
    up in ceil mode; with return_indices also an int64 array (or Tensor) of that shape: row * W + column of the maximum.

    Raises
    ------
    ValueError
        Not 3 or 4 dimensions, an empty plane, a window larger than the padded input, a kernel_size, stride, dilation below 1, a padding
        below 0 or above half of kernel_size.
    TypeError
        Neither float32 nor float64; sizes that are no ints.

    Notes
    -----
    NaN in a window gives NaN. Among equal maxima the first in row-major order gets the gradient. Source: the formulas of PyTorch's max_pool2d.

    Examples
    --------
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> max_pool2d(x, 2)[0, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    >>> max_pool2d(x, 2, return_indices=True)[1][0, 0]
    array([[ 5,  7],
           [13, 15]])
    """
    name = "max_pool2d"
    kernel = pair(kernel_size, name, "kernel_size")
    window = (kernel, kernel if stride is None else pair(stride, name, "stride"), pair(padding, name, "padding"))
    indices = return_indices or _recorded(input)
    result = apply(
        _OPERATIONS[name],
        (input,),
        name,
        "max",
        return_indices,
        *window,
        pair(dilation, name, "dilation"),
        bool(ceil_mode),
        True,
        0,
        2.0,
        indices,
    )
    return _with_indices(result, input, return_indices)


def avg_pool2d(
    input: Any,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The average over windows of every channel's plane.

    Parameters
    ----------
    input : array or Tensor (N, C, H, W) or (C, H, W) of float32 or float64, C-contiguous or channels-last
    kernel_size, stride, padding, ceil_mode
        As for `max_pool2d`.
    count_include_pad : bool
        Whether padding counts in the divisor. What a window of ceil mode reaches beyond input and padding never counts.
    divisor_override : int, optional
        Divide every sum by this number instead.

    Returns
    -------
    array or Tensor (N, C, OH, OW) in channels-last memory; for the size see `max_pool2d`

    Raises
    ------
    ValueError, TypeError
        As for `max_pool2d`; also for a divisor_override of 0.

    Notes
    -----
    Source: the formulas of PyTorch's avg_pool2d.

    Examples
    --------
    >>> avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    >>> avg_pool2d(np.ones((1, 1, 2, 2)), 3, stride=2, padding=1)[0, 0]
    array([[0.44444444]])
    """
    name = "avg_pool2d"
    kernel = pair(kernel_size, name, "kernel_size")
    window = (kernel, kernel if stride is None else pair(stride, name, "stride"), pair(padding, name, "padding"))
    if divisor_override is not None:
        divisor_override = whole(divisor_override, name, "divisor_override")
        if abs(divisor_override) >= MOST:
            raise ValueError(f"{name}: expected divisor_override below 2**62, got {divisor_override}")
        if divisor_override == 0:
            raise ValueError(f"{name}: divisor_override must not be 0; None divides by the size of the window")
    return apply(
        _OPERATIONS[name], (input,), name, "avg", False, *window, _ONE, bool(ceil_mode), bool(count_include_pad), divisor_override or 0
    )


def lp_pool2d(input: Any, norm_type: float, kernel_size: int | Pair, stride: int | Pair | None = None, ceil_mode: bool = False) -> Any:
    """The Lp norm over windows of every channel's plane: (f * sum of x^p)^(1/p).

    Parameters
    ----------
    input : array or Tensor (N, C, H, W) or (C, H, W) of float32 or float64, C-contiguous or channels-last
    norm_type : float
        p. 2: Euclidean norm; 1: sum; infinity: largest |x|.
    kernel_size, stride, ceil_mode
        As for `max_pool2d`.

    Returns
    -------
    array or Tensor (N, C, OH, OW) in channels-last memory; for the size see `max_pool2d`

    Raises
    ------
    ValueError, TypeError
        As for `max_pool2d`; also for a norm_type of 0 or NaN.

    Notes
    -----
    As PyTorch computes it: x^p is signed, not |x|^p, so that an odd p gives NaN where the sum is negative (p = 1: the sum), and a broken p
    where any x is; f is 1 but for windows that ceil_mode lets reach beyond the input: there kernel size / taps inside. Where
    the norm is 0 the gradient is 0.

    Examples
    --------
    >>> lp_pool2d(np.array([[[[3.0, -4.0]]]]), 2, (1, 2))
    array([[[[5.]]]])
    """
    name = "lp_pool2d"
    kernel = pair(kernel_size, name, "kernel_size")
    window = (kernel, kernel if stride is None else pair(stride, name, "stride"), _NONE, _ONE, bool(ceil_mode))
    try:
        order = float(norm_type)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected norm_type to be a number, got {norm_type!r}") from None
    if np.isinf(order):
        return apply(_LARGEST, (input,), order, *window, True, 0, 2.0, _recorded(input))
    return apply(_OPERATIONS[name], (input,), name, "lp", False, *window, True, 0, order)


def _adaptive(name: str, kind: str, input: Any, output_size: Any, return_indices: bool) -> Any:
    if isinstance(output_size, (tuple, list)) and None in output_size or output_size is None:
        shape = np.shape(input.data if isinstance(input, Tensor) else input)[-2:]
        sizes = output_size if isinstance(output_size, (tuple, list)) else (None, None)
        output_size = tuple(size if o is None else o for size, o in zip(shape, sizes))
    out = pair(output_size, name, "output_size")
    indices = kind == "max" and (return_indices or _recorded(input))
    result = apply(_OPERATIONS[name], (input,), name, kind, return_indices, out, _ONE, _NONE, _ONE, False, False, 0, 2.0, indices, True)
    return _with_indices(result, input, return_indices)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """The average over windows that divide every channel's plane into output_size parts; output_size 1 is global average pooling.

    Parameters
    ----------
    input : array or Tensor (N, C, H, W) or (C, H, W) of float32 or float64, C-contiguous or channels-last
    output_size : int or (int or None, int or None)
        OH and OW; None keeps the input's.

    Returns
    -------
    array or Tensor (N, C, OH, OW) in channels-last memory

    Raises
    ------
    ValueError, TypeError
        Not 3 or 4 dimensions, an empty plane, a negative size; sizes that are no ints, a dtype other than float32 and float64.

    Notes
    -----
    Window i runs from floor(i * H / OH) to ceil((i + 1) * H / OH), as in PyTorch: they overlap where OH does not divide H.

    Examples
    --------
    >>> adaptive_avg_pool2d(np.arange(12.0).reshape(1, 2, 2, 3), 1).ravel()
    array([2.5, 8.5])
    """
    return _adaptive("adaptive_avg_pool2d", "avg", input, output_size, False)


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The maximum over windows that divide every channel's plane into output_size parts.

    Parameters
    ----------
    input, output_size
        As for `adaptive_avg_pool2d`.
    return_indices : bool
        Also give the places of the maxima, as `max_pool2d` does.

    Returns
    -------
    array or Tensor (N, C, OH, OW) in channels-last memory; with return_indices also int64 places, row * W + column

    Raises
    ------
    ValueError, TypeError
        As for `adaptive_avg_pool2d`.

    Examples
    --------
    >>> adaptive_max_pool2d(np.arange(12.0).reshape(1, 2, 2, 3), (1, 2))[0]
    array([[[ 4.,  5.]],
    <BLANKLINE>
           [[10., 11.]]])
    """
    return _adaptive("adaptive_max_pool2d", "max", input, output_size, return_indices)
