"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lamella.optim.optimizer import Optimizer, refuse


class SGD(Optimizer):
    """Stochastic gradient descent, optionally with momentum.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor), or of dict (parameter groups)
    lr : float
        Learning rate.
    momentum, dampening : float
        ``buf = momentum * buf + (1 - dampening) * grad``; the first step sets ``buf = grad``.
    weight_decay : float
        Adds ``weight_decay * param`` to the gradient.
    nesterov : bool
        Step along ``grad + momentum * buf`` instead of ``buf``.
    maximize : bool
        Ascend instead of descend.
    foreach, fused
        Accepted for PyTorch's sake and without effect: the update of a parameter always is one fused pass.

    Raises
    ------
    ValueError
        Negative lr, momentum or weight_decay; nesterov without momentum or with dampening.

    Notes
    -----
    The momentum is that of Sutskever et al., ICML 2013, with the learning rate outside the buffer, as in PyTorch.

    Examples
    --------
    >>> import lamella
    >>> w = lamella.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = SGD([w], lr=0.5)
    >>> w.backward(2 * w.data)  # the gradient of w * w
    >>> optimizer.step()
    >>> w.detach()
    tensor([0., 0.])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        refuse("SGD", differentiable)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        self._check(defaults)
        super().__init__(params, defaults)

    def _check(self, group: dict[str, Any]) -> None:
        for key in ("lr", "momentum", "weight_decay"):
            if not group[key] >= 0:
                raise ValueError(f"SGD: expected {key} >= 0, got {group[key]}")
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError("SGD: nesterov=True needs a momentum > 0 and dampening=0")

    def _step(self, group: dict[str, Any]) -> None:
        lr, momentum, dampening, decay = group["lr"], group["momentum"], group["dampening"], group["weight_decay"]
        options = (momentum != 0, bool(group["nesterov"]))

        def numbers(step: int) -> list[float]:
            """As the kernel's page lists them; a buffer of zeros becomes the gradient itself."""
            return [lr, momentum, 1 if step == 1 else 1 - dampening, decay]

        self._update(group, "sgd", options, ("momentum_buffer" if momentum else None,), numbers)
