"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lamella.optim.optimizer import Optimizer, refuse


class Adam(Optimizer):
    """Adam: steps scaled by running averages of the gradient and of its square.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor), or of dict (parameter groups)
    lr : float
        Learning rate.
    betas : (float, float)
        Decay of the two averages.
    eps : float
        Added to the root of the second.
    weight_decay : float
        Adds ``weight_decay * param`` to the gradient; with decoupled_weight_decay, shrinks the parameter by ``lr * weight_decay`` instead (AdamW).
    amsgrad : bool
        Divide by the maximum of the second average so far.
    maximize : bool
        Ascend instead of descend.
    foreach, fused
        Accepted for PyTorch's sake and without effect: the update of all parameters always is one fused pass.

    Raises
    ------
    ValueError
        Negative lr, eps or weight_decay; a beta outside [0, 1).

    Notes
    -----
    Kingma and Ba, ICLR 2015; amsgrad: Reddi et al., ICLR 2018. The state of a parameter is ``step``, ``exp_avg``, ``exp_avg_sq``
    and, with amsgrad, ``max_exp_avg_sq``.

    Examples
    --------
    >>> import lamella
    >>> w = lamella.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = Adam([w], lr=0.5)
    >>> w.backward(2 * w.data)  # the gradient of w * w
    >>> optimizer.step()
    >>> w.detach()
    tensor([ 0.5, -1.5])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ):
        refuse(type(self).__name__, differentiable, capturable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        self._check(defaults)
        super().__init__(params, defaults)

    def _check(self, group: dict[str, Any]) -> None:
        name = type(self).__name__
        for key in ("lr", "eps", "weight_decay"):
            if not group[key] >= 0:
                raise ValueError(f"{name}: expected {key} >= 0, got {group[key]}")
        if len(group["betas"]) != 2 or not all(0 <= beta < 1 for beta in group["betas"]):
            raise ValueError(f"{name}: expected two betas in [0, 1), got {group['betas']}")

    def _step(self, group: dict[str, Any]) -> None:
        lr, decay, eps, (beta1, beta2) = group["lr"], group["weight_decay"], group["eps"], group["betas"]
        amsgrad = bool(group["amsgrad"])
        options = (False, False, amsgrad, bool(group["decoupled_weight_decay"]))
        names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq" if amsgrad else None)

        def numbers(step: int) -> list[float]:
            """As the kernel's page lists them."""
            step_size, correction = lr / (1 - beta1**step), (1 - beta2**step) ** -0.5
            return [1 - beta1, beta2, 1 - beta2, decay, 1 - lr * decay, step_size, correction, eps]

        self._update(group, "adam", options, names, numbers, counts=True)


class AdamW(Adam):
    """Adam with weight decay that shrinks the parameters directly, by ``lr * weight_decay`` per step.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, amsgrad, maximize, foreach, fused
        As `Adam`; weight_decay is 0.01 unless given.

    Notes
    -----
    Loshchilov and Hutter, ICLR 2019.

    Examples
    --------
    >>> import lamella
    >>> w = lamella.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = AdamW([w], lr=0.5, weight_decay=0.5)
    >>> w.backward(2 * w.data)  # the gradient of w * w
    >>> optimizer.step()
    >>> w.detach()
    tensor([ 0.25, -1.  ])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            decoupled_weight_decay=True,
        )
