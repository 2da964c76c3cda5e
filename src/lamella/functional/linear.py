"""linear, matmul and gemm: every matrix product, through the gemm operation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lamella.core import Geometry
from lamella.functional._broadcast import unbroadcast
from lamella.functional.activation import before_activation
from lamella.layout import c_contiguous, operand, same_dtype
from lamella.memory import empty
from lamella.problems import ACTIVATIONS, GemmProblem
from lamella.registry import select
from lamella.tensor import Operation, apply

__all__ = ["gemm", "linear", "matmul"]


def product(a: np.ndarray, b: np.ndarray, bias: np.ndarray | None = None, alpha: float = 1.0) -> np.ndarray:
    """alpha * a @ b + bias (per column), operands of any strides and with the same leading axes, already validated."""
    *batch, m, k = a.shape
    n = b.shape[-1]
    p = GemmProblem.of(m, n, k, a.dtype, alpha, 0.0, "none" if bias is None else "column", "none", 0.0, tuple(batch))
    out = empty((*batch, m, n), a.dtype)
    select("gemm", "forward", p)(p, a, b, bias, None, out)
    return out


def column_sums(g: np.ndarray) -> np.ndarray:
    """The gradient of a bias per column; whatever else was in the product plays no part."""
    m, n = g.shape
    p = GemmProblem.of(m, n, 1, g.dtype, 1.0, 0.0, "column")
    if n > 1 and g.strides[1] != g.itemsize:
        g = np.ascontiguousarray(g)
    out = empty((n,), g.dtype)
    select("gemm", "backward_bias", p)(p, g, out)
    return out


# linear


def _described(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> GemmProblem:
    dtype = same_dtype("linear", input=x, weight=weight, bias=bias)
    if weight.ndim != 2:
        raise ValueError(f"linear: expected weight of shape (out_features, in_features), got shape {weight.shape}")
    n, k = weight.shape
    if x.ndim == 0 or x.shape[-1] != k:
        hint = ""
        if x.ndim > 2 and math.prod(x.shape[1:]) == k:
            hint = "; flatten it first: input.flatten(1), or nn.Flatten()"
        raise ValueError(
            f"linear: expected input with {k} features (its last axis), as weight {weight.shape} has; got shape {x.shape}{hint}"
        )
    if bias is not None and bias.shape != (n,):
        raise ValueError(f"linear: expected bias of shape {(n,)}, one per row of weight {weight.shape}; got {bias.shape}")
    return GemmProblem.of(math.prod(x.shape[:-1]), n, k, dtype, 1.0, 0.0, "none" if bias is None else "column")


_problem = Geometry(_described)


def _linear_forward(x: Any, weight: Any, bias: Any) -> tuple[np.ndarray, Any]:
    x, weight = operand(x, "linear"), operand(weight, "linear", "weight")
    if bias is not None:
        bias = c_contiguous(operand(bias, "linear", "bias"))
    p = _problem(x, weight, bias)
    out = empty((p.m, p.n), p.dtype)
    select("gemm", "forward", p)(p, x if x.ndim == 2 else x.reshape(p.m, p.k), weight.T, bias, None, out)
    return out if x.ndim == 2 else out.reshape(*x.shape[:-1], p.n), (x, weight)


def _linear_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
    x, weight = saved
    rows = x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    g2 = g if g.ndim == 2 else g.reshape(len(rows), weight.shape[0])
    dx = product(g2, weight) if needs[0] else None
    return (
        dx if dx is None or x.ndim == 2 else dx.reshape(x.shape),
        product(g2.T, rows) if needs[1] else None,
        column_sums(g2) if needs[2] else None,
    )


_LINEAR = Operation("linear", _linear_forward, _linear_backward)


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """input @ weight.T + bias.

    Parameters
    ----------
    input : array or Tensor, shape (..., in_features)
    weight : array or Tensor, shape (out_features, in_features)
    bias : array or Tensor, shape (out_features,), optional

    Returns
    -------
    array or Tensor, shape (..., out_features)

    Raises
    ------
    ValueError
        The shapes do not fit.
    TypeError
        Not float32 or float64, or not all of one dtype.

    Examples
    --------
    >>> linear(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [5.0, 6.0]]), np.array([0.0, 1.0]))
    array([[11., 18.]])
    """
    return apply(_LINEAR, (input, weight, bias))


# matmul


def _transposed(x: np.ndarray) -> np.ndarray:
    return x.swapaxes(-1, -2)


def _matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Operands of two axes or more."""
    if b.ndim == 2:
        rows = a if a.ndim == 2 else a.reshape(math.prod(a.shape[:-1]), a.shape[-1])
        return product(rows, b).reshape(*a.shape[:-1], b.shape[-1])
    if a.shape[:-2] != b.shape[:-2]:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a, b = np.broadcast_to(a, batch + a.shape[-2:]), np.broadcast_to(b, batch + b.shape[-2:])
    return product(a, b)


def _matmul_forward(a: Any, b: Any) -> tuple[np.ndarray, Any]:
    a, b = operand(np.asarray(a), "matmul"), operand(np.asarray(b), "matmul", "other")
    if a.ndim == 2 == b.ndim and a.shape[1] == b.shape[0] and a.dtype == b.dtype:
        return product(a, b), (a, b)
    same_dtype("matmul", input=a, other=b)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(f"matmul: expected operands of one axis or more, got shapes {a.shape} and {b.shape}; use * to scale")
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ValueError(
            f"matmul: the last axis of the first operand and the last but one of the second must agree, got shapes {a.shape} and {b.shape}"
        )
    a2, b2 = a[None] if a.ndim == 1 else a, b[:, None] if b.ndim == 1 else b
    try:
        out = _matmul(a2, b2)
    except ValueError as error:
        raise ValueError(f"matmul: the batch axes of shapes {a.shape} and {b.shape} do not broadcast") from error
    if a.ndim == 1:
        out = out[..., 0, :]
    if b.ndim == 1:
        out = out[..., 0]
    return out, (a, b)


def _matmul_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
    a, b = saved
    a2, b2 = a[None] if a.ndim == 1 else a, b[:, None] if b.ndim == 1 else b
    if b.ndim == 1:
        g = g[..., None]
    if a.ndim == 1:
        g = g[..., None, :]
    da = db = None
    if needs[0]:
        da = unbroadcast(_matmul(g, _transposed(b2)), a2.shape).reshape(a.shape)
    if needs[1]:
        if b2.ndim == 2:
            k, n = b2.shape
            rows = math.prod(a2.shape[:-1])
            db = product(a2.reshape(rows, k).T, g.reshape(rows, n)).reshape(b.shape)
        else:
            db = unbroadcast(_matmul(_transposed(a2), g), b2.shape).reshape(b.shape)
    return da, db


_MATMUL = Operation("matmul", _matmul_forward, _matmul_backward)


def matmul(input: Any, other: Any) -> Any:
    """The matrix product, as ``@`` of NumPy and PyTorch: 1-d operands are vectors, leading axes are batches and broadcast.

    Parameters
    ----------
    input : array or Tensor, shape (k,) or (..., m, k)
    other : array or Tensor, shape (k,) or (..., k, n)

    Returns
    -------
    array or Tensor, shape (..., m, n), without m where input is 1-d and without n where other is

    Raises
    ------
    ValueError
        The shapes do not fit.
    TypeError
        Not float32 or float64, or not both of one dtype.

    Examples
    --------
    >>> matmul(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 1.0]))
    array([3., 7.])
    """
    return apply(_MATMUL, (input, other))


# gemm


def _gemm_forward(
    a: Any, b: Any, c: Any, bias: Any, alpha: float, beta: float, trans_a: bool, trans_b: bool, activation: str
) -> tuple[np.ndarray, Any]:
    a, b = operand(np.asarray(a), "gemm", "a"), operand(np.asarray(b), "gemm", "b")
    c = None if c is None or not beta else operand(np.asarray(c), "gemm", "c")
    bias = None if bias is None else operand(np.asarray(bias), "gemm", "bias")
    same_dtype("gemm", a=a, b=b, c=c, bias=bias)
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(f"gemm: expected matrices, got shapes {a.shape} and {b.shape}; use matmul for batches and vectors")
    op_a, op_b = a.T if trans_a else a, b.T if trans_b else b
    if op_a.shape[1] != op_b.shape[0]:
        raise ValueError(
            f"gemm: the inner sizes must agree, got op(a) {op_a.shape} and op(b) {op_b.shape}"
            f" (a {a.shape}, trans_a={trans_a}; b {b.shape}, trans_b={trans_b})"
        )
    (m, k), n = op_a.shape, op_b.shape[1]
    if c is not None:
        if c.shape != (m, n):
            raise ValueError(f"gemm: expected c of shape {(m, n)}, got {c.shape}")
        if n > 1 and c.strides[1] != c.itemsize:  # read with unit column stride
            c = np.ascontiguousarray(c)
    kind = "none"
    if bias is not None:
        if bias.shape not in ((n,), (m, 1)):
            raise ValueError(f"gemm: expected bias of shape {(n,)}, one per column, or {(m, 1)}, one per row; got {bias.shape}")
        kind = "column" if bias.ndim == 1 else "row"
    p = GemmProblem.of(m, n, k, a.dtype, alpha, beta if c is not None else 0.0, kind, activation)
    out = empty((m, n), a.dtype)
    select("gemm", "forward", p)(p, op_a, op_b, None if bias is None else np.ascontiguousarray(bias.reshape(-1)), c, out)
    return out, (a, b, out if activation != "none" else None, p, trans_a, trans_b, beta)


def _gemm_backward(saved: Any, g: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
    a, b, out, p, trans_a, trans_b, beta = saved
    if out is not None:
        g = before_activation(p, out, g)
    op_a, op_b = a.T if trans_a else a, b.T if trans_b else b
    da = db = dc = dbias = None
    if needs[0]:
        da = product(op_b, g.T, alpha=p.alpha) if trans_a else product(g, op_b.T, alpha=p.alpha)
    if needs[1]:
        db = product(g.T, op_a, alpha=p.alpha) if trans_b else product(op_a.T, g, alpha=p.alpha)
    if needs[2]:
        dc = g * g.dtype.type(beta)
    if needs[3]:
        dbias = column_sums(g) if p.bias == "column" else g.sum(1, keepdims=True)
    return da, db, dc, dbias


_GEMM = Operation("gemm", _gemm_forward, _gemm_backward)


def gemm(
    a: Any,
    b: Any,
    c: Any = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    trans_a: bool = False,
    trans_b: bool = False,
    bias: Any = None,
    activation: str = "none",
) -> Any:
    """activation(alpha * op(a) @ op(b) + beta * c + bias), in one pass.

    Parameters
    ----------
    a : array or Tensor, shape (m, k), or (k, m) with trans_a
    b : array or Tensor, shape (k, n), or (n, k) with trans_b
    c : array or Tensor, shape (m, n), optional
    alpha, beta : float
        beta = 0 never reads c.
    trans_a, trans_b : bool
        Read the operand transposed, in place: no copy is made. (Transposed views, of any strides, do the same.)
    bias : array or Tensor, shape (n,): one per column, or (m, 1): one per row; optional
    activation : {"none", "relu", "leaky_relu", "sigmoid", "tanh"}
        The slope of leaky_relu is 0.01.

    Returns
    -------
    array or Tensor, shape (m, n)

    Raises
    ------
    ValueError
        The shapes do not fit.
    TypeError
        Not float32 or float64, or not all of one dtype.

    Notes
    -----
    The level-3 BLAS routine of that name (Dongarra et al., ACM TOMS 16(1), 1990), with an epilogue.

    Examples
    --------
    >>> a = np.array([[1.0, 2.0]])
    >>> gemm(a, a, trans_b=True, bias=np.array([-7.0]), activation="relu")
    array([[0.]])
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"gemm: activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    return apply(_GEMM, (a, b, c, bias), float(alpha), float(beta), bool(trans_a), bool(trans_b), activation)
