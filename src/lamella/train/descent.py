"""gradient_descent: the plain loop, until the weights stand still."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lamella.tensor import Tensor, no_grad

__all__ = ["Descent", "gradient_descent"]


class Descent(NamedTuple):
    """Where a descent ended.

    weights : array
    loss : the value there
    iterations : steps taken
    converged : whether the last step was at most `tol`
    history : list of the values before each step

    Examples
    --------
    >>> gradient_descent(lambda w: (w * w).sum(), np.array([1.0]), lr=0.25).converged
    True
    """

    weights: np.ndarray
    loss: float
    iterations: int
    converged: bool
    history: list[float]


def gradient_descent(loss: Callable[[Any], Any], start: Any, lr: float = 0.1, tol: float = 1e-6, max_iter: int = 10_000) -> Descent:
    """Repeat w := w - lr dJ/dw until the sum of \\|w - w_old\\| is at most tol.

    Parameters
    ----------
    loss : callable
        From the weights, a Tensor, to a Tensor of one element.
    start : array or Tensor
    lr : float
        Too large, it overshoots and diverges; too small, it crawls.
    tol : float
        The goal for the step's length, in the 1-norm.
    max_iter : int

    Returns
    -------
    Descent
        A descent that diverges ends where a value is no longer finite.

    Raises
    ------
    ValueError
        lr or tol is negative.

    Examples
    --------
    >>> found = gradient_descent(lambda w: ((w - 3) * (w - 3)).sum(), np.array([0.0]), lr=0.25)
    >>> found.weights.round(4), found.iterations, found.converged
    (array([3.]), 22, True)
    """
    if lr < 0 or tol < 0:
        raise ValueError(f"gradient_descent: lr and tol must not be negative, got {lr} and {tol}")
    w = Tensor(np.array(start.data if isinstance(start, Tensor) else start, copy=True), requires_grad=True)
    history: list[float] = []
    converged = False
    for _ in range(max_iter):
        value = loss(w)
        history.append(float(value.item()))
        w.grad = None
        value.backward()
        if not np.isfinite(history[-1]) or w.grad is None:
            break
        step = lr * w.grad.data
        w = Tensor(w.data - step, requires_grad=True)
        if float(np.abs(step).sum()) <= tol:
            converged = True
            break
    with no_grad():
        return Descent(w.data, float(loss(w).item()), len(history), converged, history)
