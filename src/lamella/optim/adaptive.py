"""Optimizers that divide the gradient by the root of past squares: Adagrad, RMSprop, Adadelta."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from lamella.optim.optimizer import Optimizer, refuse

PLACES = ("outside", "inside")


def _epsilons(group: dict[str, Any]) -> tuple[float, float]:
    """What is added inside the root, and outside."""
    return (group["eps"], 0.0) if group["eps_placement"] == "inside" else (0.0, group["eps"])


class Adagrad(Optimizer):
    """Steps scaled by the root of the sum of all squared gradients so far.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor), or of dict (parameter groups)
    lr : float
    lr_decay : float
        The rate of step t is ``lr / (1 + (t - 1) * lr_decay)``.
    weight_decay : float
        Adds ``weight_decay * param`` to the gradient (see decay_kind of `Optimizer`).
    initial_accumulator_value : float
        What the sum s begins with.
    eps : float
    maximize : bool
        Ascend instead of descend.
    foreach, fused
        Accepted for PyTorch's sake and without effect.
    eps_placement : {"outside", "inside"}
        Divide by ``sqrt(s) + eps``, as PyTorch, or ``sqrt(s + eps)``, as Keras.
    **regularisation
        decay_kind, l1, max_norm: see `Optimizer`.

    Raises
    ------
    ValueError
        A negative option.

    Notes
    -----
    Duchi, Hazan and Singer, JMLR 2011. The state of a parameter is ``step`` and ``sum``.

    Examples
    --------
    >>> import lamella
    >>> w = lamella.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = Adagrad([w], lr=0.5)
    >>> w.backward(2 * w.data)  # the gradient of w * w
    >>> optimizer.step()
    >>> w.detach()
    tensor([ 0.5, -1.5])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        eps_placement: str = "outside",
        **regularisation: Any,
    ):
        refuse("Adagrad", differentiable)
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "maximize": maximize,
            "eps_placement": eps_placement,
        }
        super().__init__(params, defaults, **regularisation)

    def _check(self, group: dict[str, Any]) -> None:
        self._not_negative(group, "lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")
        self._one_of(group, "eps_placement", PLACES)
        super()._check(group)

    def _step(self, group: dict[str, Any]) -> None:
        lr, slower, start = group["lr"], group["lr_decay"], group["initial_accumulator_value"]
        if start:
            for p in group["params"]:
                if p.grad is not None and "sum" not in self.state[p]:
                    self.state[p]["sum"] = np.full_like(p.data, start)

        def numbers(step: int) -> list[float]:
            return [lr / (1 + (step - 1) * slower), 1.0, 1.0, 0.0, *_epsilons(group)]

        self._update(group, "rms", (), ("sum", None, None), numbers, counts=True)


class RMSprop(Optimizer):
    """Steps scaled by the root of a running average of the squared gradient.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor), or of dict (parameter groups)
    lr : float
    alpha : float
        Decay of the average ``v = alpha * v + (1 - alpha) * grad**2``.
    eps : float
    weight_decay : float
        Adds ``weight_decay * param`` to the gradient (see decay_kind of `Optimizer`).
    momentum : float
        ``buf = momentum * buf + grad / root``; the step is along buf.
    centered : bool
        Take the running average of the gradient, squared, off v: the root is that of the variance.
    maximize : bool
        Ascend instead of descend.
    foreach
        Accepted for PyTorch's sake and without effect.
    eps_placement : {"outside", "inside"}
        Divide by ``sqrt(v) + eps``, as PyTorch, or ``sqrt(v + eps)``, as Keras. With ``eps=0`` a gradient that has always been 0 gives 0 / 0.
    **regularisation
        decay_kind, l1, max_norm: see `Optimizer`.

    Raises
    ------
    ValueError
        A negative option.

    Notes
    -----
    Tieleman and Hinton, lecture 6e of "Neural networks for machine learning", 2012; centered: Graves, arXiv:1308.0850. The state of a
    parameter is ``step``, ``square_avg`` and, where asked for, ``grad_avg`` and ``momentum_buffer``.

    Examples
    --------
    >>> import lamella
    >>> w = lamella.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = RMSprop([w], lr=0.05, eps=0)
    >>> w.backward(2 * w.data)  # the gradient of w * w
    >>> optimizer.step()
    >>> w.detach()
    tensor([ 0.5, -1.5])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        *,
        eps_placement: str = "outside",
        **regularisation: Any,
    ):
        refuse("RMSprop", differentiable, capturable)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "eps_placement": eps_placement,
        }
        super().__init__(params, defaults, **regularisation)

    def _check(self, group: dict[str, Any]) -> None:
        self._not_negative(group, "lr", "momentum", "alpha", "eps", "weight_decay")
        self._one_of(group, "eps_placement", PLACES)
        super()._check(group)

    def _step(self, group: dict[str, Any]) -> None:
        alpha, momentum, centered = group["alpha"], group["momentum"], bool(group["centered"])
        h = [group["lr"], alpha, 1 - alpha, momentum, *_epsilons(group)]
        names = ("square_avg", "grad_avg" if centered else None, "momentum_buffer" if momentum else None)
        self._update(group, "rms", (momentum != 0, False, False, centered), names, lambda step: h, counts=True)


class Adadelta(Optimizer):
    """Steps with the units of the parameter: the gradient times the root of past squared steps over that of past squared gradients.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor), or of dict (parameter groups)
    lr : float
    rho : float
        Decay of both averages.
    eps : float
        Inside both roots.
    weight_decay : float
        Adds ``weight_decay * param`` to the gradient (see decay_kind of `Optimizer`).
    maximize : bool
        Ascend instead of descend.
    foreach
        Accepted for PyTorch's sake and without effect.
    **regularisation
        decay_kind, l1, max_norm: see `Optimizer`.

    Raises
    ------
    ValueError
        A negative option; rho above 1.

    Notes
    -----
    Zeiler, arXiv:1212.5701. The state of a parameter is ``step``, ``square_avg`` and ``acc_delta``.

    Examples
    --------
    >>> import lamella
    >>> w = lamella.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = Adadelta([w])
    >>> w.backward(2 * w.data)  # the gradient of w * w
    >>> optimizer.step()
    >>> bool((abs(w.data) < [1, 2]).all())
    True
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
        **regularisation: Any,
    ):
        refuse("Adadelta", differentiable, capturable)
        defaults = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults, **regularisation)

    def _check(self, group: dict[str, Any]) -> None:
        self._not_negative(group, "lr", "rho", "eps", "weight_decay")
        if group["rho"] > 1:
            raise ValueError(f"Adadelta: expected rho in [0, 1], got {group['rho']}")
        super()._check(group)

    def _step(self, group: dict[str, Any]) -> None:
        h = [group["lr"], group["rho"], 1 - group["rho"], group["eps"]]
        self._update(group, "adadelta", (), ("square_avg", "acc_delta"), lambda step: h, counts=True)
