"""Adam and its relatives: AdamW, NAdam, RAdam, Adamax."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from lamella.optim.optimizer import Optimizer, refuse

PLACES = ("outside", "inside", "uncorrected")


class Averaging(Optimizer):
    """What optimizers with two betas share: options, and their checks."""

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any], differentiable: bool, capturable: bool, **regularisation: Any):
        refuse(type(self).__name__, differentiable, capturable)
        super().__init__(params, defaults, **regularisation)

    def _check(self, group: dict[str, Any]) -> None:
        self._not_negative(group, "lr", "eps", "weight_decay")
        if len(group["betas"]) != 2 or not all(0 <= beta < 1 for beta in group["betas"]):
            raise ValueError(f"{type(self).__name__}: expected two betas in [0, 1), got {group['betas']}")
        super()._check(group)


class Adam(Averaging):
    """Adam: steps scaled by running averages of the gradient and of its square.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor), or of dict (parameter groups)
    lr : float
        Learning rate.
    betas : (float, float)
        Decay of the two averages.
    eps : float
        Added to the root of the second (see eps_placement).
    weight_decay : float
        Adds ``weight_decay * param`` to the gradient; with decoupled_weight_decay, shrinks the parameter by ``lr * weight_decay`` instead (AdamW).
    amsgrad : bool
        Divide by the maximum of the second average so far.
    maximize : bool
        Ascend instead of descend.
    foreach, fused
        Accepted for PyTorch's sake and without effect: the update of all parameters always is one fused pass.
    eps_placement : {"outside", "inside", "uncorrected"}
        Divide by ``sqrt(v / c) + eps``, ``sqrt(v / c + eps)`` or, as ONNX and the paper's short form, ``(sqrt(v) + eps) / sqrt(c)``, where v is the second
        average and c = 1 - beta2**step the correction of its bias.
    **regularisation
        decay_kind, l1, max_norm: see `Optimizer`.

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
        eps_placement: str = "outside",
        **regularisation: Any,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
            "eps_placement": eps_placement,
        }
        super().__init__(params, defaults, differentiable, capturable, **regularisation)

    def _check(self, group: dict[str, Any]) -> None:
        self._one_of(group, "eps_placement", PLACES)
        super()._check(group)

    def _step(self, group: dict[str, Any]) -> None:
        lr, eps, (beta1, beta2), place = group["lr"], group["eps"], group["betas"], group["eps_placement"]
        amsgrad = bool(group["amsgrad"])
        names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq" if amsgrad else None)

        def numbers(step: int) -> list[float]:
            """As the kernel's page lists them."""
            left = 1 - beta2**step
            correction = left**-0.5
            inside, outside = (eps * left, 0.0) if place == "inside" else (0.0, eps * correction if place == "uncorrected" else eps)
            return [1 - beta1, beta2, 1 - beta2, lr / (1 - beta1**step), 0.0, correction, inside, outside]

        self._update(group, "adam", (False, False, amsgrad), names, numbers, counts=True)


class AdamW(Adam):
    """Adam with weight decay that shrinks the parameters directly, by ``lr * weight_decay`` per step.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, amsgrad, maximize, foreach, fused, eps_placement, **regularisation
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
        eps_placement: str = "outside",
        **regularisation: Any,
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
            eps_placement=eps_placement,
            **regularisation,
        )


class NAdam(Averaging):
    """Adam with Nesterov's momentum: the step is along the average as it will be after the next gradient.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, decoupled_weight_decay, maximize, foreach, **regularisation
        As `Adam`.
    momentum_decay : float
        The momentum of step t is ``beta1 * (1 - 0.5 * 0.96**(t * momentum_decay))``.

    Raises
    ------
    ValueError
        Negative lr, eps, weight_decay or momentum_decay; a beta outside [0, 1).

    Notes
    -----
    Dozat, ICLR workshop 2016; as in PyTorch. The state of a parameter is ``step``, ``mu_product``, ``exp_avg`` and ``exp_avg_sq``.

    Examples
    --------
    >>> import lamella
    >>> w = lamella.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = NAdam([w], lr=0.5)
    >>> w.backward(2 * w.data)  # the gradient of w * w
    >>> optimizer.step()
    >>> bool((abs(w.data) < [1, 2]).all())
    True
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        **regularisation: Any,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults, differentiable, capturable, **regularisation)

    def _check(self, group: dict[str, Any]) -> None:
        self._not_negative(group, "momentum_decay")
        super()._check(group)

    def _step(self, group: dict[str, Any]) -> None:
        lr, eps, (beta1, beta2), slow = group["lr"], group["eps"], group["betas"], group["momentum_decay"]
        products: dict[float, list[Any]] = {}  # the product of all momenta so far -> the parameters that have it
        for p in group["params"]:
            if p.grad is not None:
                products.setdefault(float(self.state[p].get("mu_product", 1.0)), []).append(p)

        def momentum(step: int) -> float:
            return beta1 * (1.0 - 0.5 * 0.96 ** (step * slow))

        for before, params in products.items():

            def numbers(step: int, params: list[Any] = params, before: float = before) -> list[float]:
                """As the kernel's page lists them; the product is kept in single precision, as in PyTorch."""
                now, later = momentum(step), momentum(step + 1)
                product = np.float32(before) * np.float32(now)
                for p in params:
                    if int(self.state[p]["step"]) == step:
                        self.state[p]["mu_product"] = np.array(product)
                rates = lr * later / (1 - float(product) * later), lr * (1 - now) / (1 - float(product))
                return [1 - beta1, beta2, 1 - beta2, *rates, (1 - beta2**step) ** -0.5, 0.0, eps]

            names = ("exp_avg", "exp_avg_sq", None)
            self._update({**group, "params": params}, "adam", (False, True), names, numbers, counts=True)


class RAdam(Averaging):
    """Adam whose first steps do without the second average, until that is known well enough.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, decoupled_weight_decay, maximize, foreach, **regularisation
        As `Adam`.

    Raises
    ------
    ValueError
        Negative lr, eps or weight_decay; a beta outside [0, 1).

    Notes
    -----
    Liu et al., ICLR 2020; as in PyTorch. The state of a parameter is ``step``, ``exp_avg`` and ``exp_avg_sq``.

    Examples
    --------
    >>> import lamella
    >>> w = lamella.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = RAdam([w], lr=0.25)
    >>> w.backward(2 * w.data)  # the gradient of w * w
    >>> optimizer.step()
    >>> w.detach()
    tensor([ 0.5, -1. ])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        **regularisation: Any,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults, differentiable, capturable, **regularisation)

    def _step(self, group: dict[str, Any]) -> None:
        lr, eps, (beta1, beta2) = group["lr"], group["eps"], group["betas"]

        def numbers(step: int) -> list[float]:
            """As the kernel's page lists them; without the second average its root counts 0 times, and 1 is divided by."""
            left, rate = 1 - beta2**step, lr / (1 - beta1**step)
            longest = 2 / (1 - beta2) - 1
            length = longest - 2 * step * beta2**step / left  # of an average that weighs its terms alike
            if length <= 5:
                return [1 - beta1, beta2, 1 - beta2, rate, 0.0, 0.0, 0.0, 1.0]
            rectified = ((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)) ** 0.5
            return [1 - beta1, beta2, 1 - beta2, rate * rectified * left**0.5, 0.0, 1.0, 0.0, eps]

        self._update(group, "adam", (), ("exp_avg", "exp_avg_sq", None), numbers, counts=True)


class Adamax(Averaging):
    """Adam with a maximum in place of the second average: steps scaled by the largest recent gradient.

    Parameters
    ----------
    params, lr, betas, weight_decay, maximize, foreach, **regularisation
        As `Adam`.
    eps : float
    eps_placement : {"inside", "outside"}
        ``u = max(beta2 * u, abs(grad) + eps)``, as PyTorch; or ``u = max(beta2 * u, abs(grad))``, and the step is divided by ``u + eps``, as Keras.

    Raises
    ------
    ValueError
        Negative lr, eps or weight_decay; a beta outside [0, 1).

    Notes
    -----
    Kingma and Ba, ICLR 2015, section 7.1. The state of a parameter is ``step``, ``exp_avg`` and ``exp_inf``.

    Examples
    --------
    >>> import lamella
    >>> w = lamella.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = Adamax([w], lr=0.5)
    >>> w.backward(2 * w.data)  # the gradient of w * w
    >>> optimizer.step()
    >>> w.detach()
    tensor([ 0.5, -1.5])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
        eps_placement: str = "inside",
        **regularisation: Any,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "eps_placement": eps_placement,
        }
        super().__init__(params, defaults, differentiable, capturable, **regularisation)

    def _check(self, group: dict[str, Any]) -> None:
        self._one_of(group, "eps_placement", ("inside", "outside"))
        super()._check(group)

    def _step(self, group: dict[str, Any]) -> None:
        lr, (beta1, beta2) = group["lr"], group["betas"]
        inside, outside = (group["eps"], 0.0) if group["eps_placement"] == "inside" else (0.0, group["eps"])

        def numbers(step: int) -> list[float]:
            return [1 - beta1, beta2, lr / (1 - beta1**step), inside, outside]

        self._update(group, "adamax", (), ("exp_avg", "exp_inf"), numbers, counts=True)
