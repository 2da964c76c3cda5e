"""Optimizers whose steps are of one length in every direction: Lion and normalised gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lamella.optim.optimizer import Optimizer


class Lion(Optimizer):
    """Steps along the sign of a momentum; weight decay shrinks the parameters directly.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor), or of dict (parameter groups)
    lr : float
        The length of every step; about a tenth of what suits AdamW.
    betas : (float, float)
        The step is along ``sign(beta1 * m + (1 - beta1) * grad)``; then ``m = beta2 * m + (1 - beta2) * grad``.
    weight_decay : float
        ``param *= 1 - lr * weight_decay`` (decay_kind is "decoupled" unless given).
    maximize : bool
        Ascend instead of descend.
    **regularisation
        decay_kind, l1, max_norm: see `Optimizer`.

    Raises
    ------
    ValueError
        Negative lr or weight_decay; a beta outside [0, 1).

    Notes
    -----
    Chen et al., NeurIPS 2023, algorithm 2. The state of a parameter is ``exp_avg``.

    Examples
    --------
    >>> import lamella
    >>> w = lamella.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = Lion([w], lr=0.25)
    >>> w.backward(2 * w.data)  # the gradient of w * w
    >>> optimizer.step()
    >>> w.detach()
    tensor([ 0.75, -1.75])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        decay_kind: str = "decoupled",
        **regularisation: Any,
    ):
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults, decay_kind=decay_kind, **regularisation)

    def _check(self, group: dict[str, Any]) -> None:
        self._not_negative(group, "lr", "weight_decay")
        if len(group["betas"]) != 2 or not all(0 <= beta < 1 for beta in group["betas"]):
            raise ValueError(f"Lion: expected two betas in [0, 1), got {group['betas']}")
        super()._check(group)

    def _step(self, group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        h = [group["lr"], 1 - beta1, 1 - beta2, 0.0]
        self._update(group, "sign", (True,), ("exp_avg",), lambda step: h)


class NormalizedGD(Optimizer):
    """Gradient descent with each component of the gradient divided by its own size: ``p -= lr * g / (sqrt(g**2) + eps)``.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor), or of dict (parameter groups)
    lr : float
    eps : float
        With 0 the step is along ``sign(g)``, and 0 where g is.
    weight_decay : float
        Adds ``weight_decay * param`` to the gradient (see decay_kind of `Optimizer`).
    maximize : bool
        Ascend instead of descend.
    **regularisation
        decay_kind, l1, max_norm: see `Optimizer`.

    Raises
    ------
    ValueError
        A negative option.

    Notes
    -----
    Components move at most lr, however steep the valley is across. To divide by the norm of the whole gradient instead, use
    `lamella.nn.utils.clip_grad_norm_`.

    Examples
    --------
    >>> import lamella
    >>> w = lamella.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = NormalizedGD([w], lr=0.25)
    >>> w.backward(2 * w.data)  # the gradient of w * w
    >>> optimizer.step()
    >>> w.detach()
    tensor([ 0.75, -1.75])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        eps: float = 1e-8,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        **regularisation: Any,
    ):
        defaults = {"lr": lr, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults, **regularisation)

    def _check(self, group: dict[str, Any]) -> None:
        self._not_negative(group, "lr", "eps", "weight_decay")
        super()._check(group)

    def _step(self, group: dict[str, Any]) -> None:
        h = [group["lr"], 1.0, 1.0, group["eps"]]
        self._update(group, "sign", (), (None,), lambda step: h)
