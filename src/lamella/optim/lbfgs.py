"""L-BFGS: a quasi-Newton method for small problems whose whole loss can be computed again and again."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from lamella.optim.optimizer import Optimizer
from lamella.tensor import Tensor, enable_grad, no_grad


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum())


class _Point(NamedTuple):
    """A point on the line: where, its loss, its gradient, and the slope along the line."""

    t: float
    loss: float
    grad: np.ndarray
    slope: float


def _cubic(a: _Point, b: _Point, low: float, high: float) -> float:
    """The minimum within [low, high] of the cubic that has the losses and slopes of two points."""
    first, second = (a, b) if a.t <= b.t else (b, a)
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1**2 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    d2 = math.sqrt(square)
    best = second.t - (second.t - first.t) * ((second.slope + d2 - d1) / (second.slope - first.slope + 2 * d2))
    return min(max(best, low), high)


def _strong_wolfe(
    evaluate: Callable[[float], _Point],
    t: float,
    start: _Point,
    longest: float,
    tolerance: float,
    most: int,
    c1: float = 1e-4,
    c2: float = 0.9,
) -> tuple[_Point, int]:
    """A point that satisfies the strong Wolfe conditions, or the best one found in `most` + 1 evaluations; and how many there were.

    Bracket, then zoom: Nocedal and Wright, Numerical Optimization, algorithms 3.5 and 3.6, with the safeguards of minFunc.
    """
    new, before, count, done = evaluate(t), start, 0, False

    def too_high(p: _Point) -> bool:
        return p.loss > start.loss + c1 * p.t * start.slope

    def flat(p: _Point) -> bool:
        return abs(p.slope) <= -c2 * start.slope

    bracket: list[_Point] = []
    while count < most:
        if too_high(new) or (count > 1 and new.loss >= before.loss):
            bracket = [before, new]
            break
        if flat(new):
            return new, count + 1
        if new.slope >= 0:
            bracket = [before, new]
            break
        t = _cubic(before, new, new.t + 0.01 * (new.t - before.t), new.t * 10)
        before, new = new, evaluate(t)
        count += 1
    if not bracket:
        bracket = [start, new]
    low = 0 if bracket[0].loss <= bracket[1].loss else 1
    stuck = False
    while not done and count < most:
        (left, right), high = sorted(p.t for p in bracket), 1 - low
        if (right - left) * longest < tolerance:
            break
        t, margin = _cubic(bracket[0], bracket[1], left, right), 0.1 * (right - left)
        if min(right - t, t - left) < margin:  # close to an end: once is forgiven
            if stuck or t >= right or t <= left:
                t = right - margin if abs(t - right) < abs(t - left) else left + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        new = evaluate(t)
        count += 1
        if too_high(new) or new.loss >= bracket[low].loss:
            bracket[high] = new
            low = 0 if bracket[0].loss <= bracket[1].loss else 1
        else:
            done = flat(new)
            if not done and new.slope * (bracket[high].t - bracket[low].t) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = new
    return bracket[low], count + 1


class LBFGS(Optimizer):
    """L-BFGS: steps along an estimate of the inverse Hessian times the gradient, made from the last steps.

    Parameters
    ----------
    params : iterable of Tensor
        One group.
    lr : float
        Length of a step, or of the first one that the line search tries.
    max_iter, max_eval : int
        Iterations, and evaluations of the loss (default: 1.25 * max_iter), per call of `step`.
    tolerance_grad, tolerance_change : float
        Stop when no component of the gradient, or neither a parameter nor the loss in an iteration, is, or changes by, more.
    history_size : int
        Steps that are remembered.
    line_search_fn : {None, "strong_wolfe"}

    Raises
    ------
    ValueError
        Negative lr, several groups, another line search.

    Notes
    -----
    Liu and Nocedal, Mathematical Programming 45, 1989; Nocedal and Wright, Numerical Optimization, chapters 3 and 7; details as PyTorch's. For full
    batches: the loss must be the same function at every call of the closure. Gradients are not scaled (grad_scale) or regularised.

    Examples
    --------
    >>> import lamella
    >>> w = lamella.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((w - 3.0) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> loss = optimizer.step(closure)
    >>> bool((abs(w.data - 3) < 1e-5).all())
    True
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ):
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError(
                f"LBFGS: expected one parameter group, got {len(self.param_groups)}; its options are those of the whole problem"
            )

    def _check(self, group: dict[str, Any]) -> None:
        self._not_negative(group, "lr")
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise ValueError(f"LBFGS: expected line_search_fn None or 'strong_wolfe', got {group['line_search_fn']!r}")
        super()._check(group)

    def _gradient(self) -> np.ndarray:
        """All gradients as one vector."""
        params = self.param_groups[0]["params"]
        return np.concatenate([(np.zeros(p.data.size, p.data.dtype) if p.grad is None else p.grad.data.ravel()) for p in params])

    def _move(self, t: float, direction: np.ndarray) -> None:
        at = 0
        with no_grad():
            for p in self.param_groups[0]["params"]:
                p.add_(direction[at : at + p.data.size].reshape(p.data.shape), alpha=t)
                at += p.data.size

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """At most max_iter iterations.

        Parameters
        ----------
        closure : callable
            Sets the gradients to zero, computes the loss, calls backward, and returns the loss.

        Returns
        -------
        the loss before the first iteration

        Raises
        ------
        TypeError
            No closure.
        """
        if closure is None:
            raise TypeError("LBFGS.step: expected a closure that computes the loss and its gradient; it is called several times per step")
        group, compute = self.param_groups[0], closure
        params, lr, most, tolerance = group["params"], group["lr"], group["max_eval"], group["tolerance_change"]
        state = self.state[params[0]]
        self._stepped = True

        def evaluate() -> tuple[Any, float, np.ndarray]:
            with enable_grad():
                loss = compute()
            return loss, float(loss.item() if isinstance(loss, Tensor) else loss), self._gradient()

        first, loss, grad = evaluate()
        evaluations = 1
        state["func_evals"] = state.get("func_evals", 0) + 1
        state.setdefault("n_iter", 0)
        if np.abs(grad).max() <= group["tolerance_grad"]:
            return first
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            begins = state["n_iter"] == 1
            direction = -grad if begins else self._direction(state, grad, group["history_size"])
            if begins:
                state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            state["prev_flat_grad"], state["prev_loss"], state["d"] = grad, loss, direction
            t = min(1.0, 1.0 / float(np.abs(grad).sum())) * lr if begins else lr
            state["t"] = t
            slope = _dot(grad, direction)
            if slope > -tolerance:
                break
            used = 0
            if group["line_search_fn"] is not None:
                initial = [p.data.copy(order="K") for p in params]

                def along(t: float, direction: np.ndarray = direction, initial: list[np.ndarray] = initial) -> _Point:
                    self._move(t, direction)
                    _, value, g = evaluate()
                    with no_grad():
                        for p, data in zip(params, initial):
                            p.copy_(data)
                    return _Point(t, value, g, _dot(g, direction))

                start = _Point(0.0, loss, grad, slope)
                found, used = _strong_wolfe(along, t, start, float(np.abs(direction).max()), 1e-9, most - evaluations)
                t, loss, grad = found.t, found.loss, found.grad
                self._move(t, direction)
            else:
                self._move(t, direction)
                if iteration < group["max_iter"]:
                    _, loss, grad = evaluate()
                    used = 1
            state["t"] = t
            evaluations += used
            state["func_evals"] += used
            if (
                evaluations >= most
                or np.abs(grad).max() <= group["tolerance_grad"]
                or np.abs(direction * t).max() <= tolerance
                or abs(loss - state["prev_loss"]) < tolerance
            ):
                break
        return first

    @staticmethod
    def _direction(state: dict[str, Any], grad: np.ndarray, size: int) -> np.ndarray:
        """Remember the last step, and multiply -grad by the inverse Hessian that the remembered ones make: the two loops."""
        y, s = grad - state["prev_flat_grad"], state["d"] * grad.dtype.type(state["t"])
        curvature = _dot(y, s)
        differences, steps, inverse = state["old_dirs"], state["old_stps"], state["ro"]
        if curvature > 1e-10:
            for remembered, value in ((differences, y), (steps, s), (inverse, 1.0 / curvature)):
                remembered.append(value)
                del remembered[:-size]
            state["H_diag"] = curvature / _dot(y, y)
        scalar = grad.dtype.type
        q, weights = -grad, []
        for y, s, r in zip(reversed(differences), reversed(steps), reversed(inverse)):
            weights.append(_dot(s, q) * r)
            q = q - scalar(weights[-1]) * y
        q = q * scalar(state["H_diag"])
        for y, s, r, weight in zip(differences, steps, inverse, reversed(weights)):
            q = q + scalar(weight - _dot(y, q) * r) * s
        return q

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state of this optimizer; the arrays are copied."""
        super().load_state_dict({**state_dict, "state": {}})
        if state_dict["state"]:
            self.state[self.param_groups[0]["params"][0]] = copy.deepcopy(next(iter(state_dict["state"].values())))
