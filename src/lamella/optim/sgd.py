"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from lamella.optim.optimizer import Optimizer, refuse
from lamella.tensor import no_grad

KINDS = ("torch", "heavy_ball", "ema")


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
        Adds ``weight_decay * param`` to the gradient (see decay_kind of `Optimizer`).
    nesterov : bool
        Step along ``grad + momentum * buf`` instead of ``buf``.
    maximize : bool
        Ascend instead of descend.
    foreach, fused
        Accepted for PyTorch's sake and without effect: the update of a parameter always is one fused pass.
    momentum_kind : {"torch", "heavy_ball", "ema"}
        Where learning rate and momentum meet. With g the gradient, mu the momentum, b the buffer, p the parameter:

        - "torch": ``b = mu * b + g; p -= lr * b``. A change of lr also rescales the past.
        - "heavy_ball": ``b = mu * b + lr * g; p -= b``, that is ``p(t+1) = p(t) - lr * g + mu * (p(t) - p(t-1))``, as Keras. The
          same numbers as "torch" while lr is constant.
        - "ema": ``b = mu * b + (1 - mu) * g; p -= lr * b``, an average of gradients, from b = 0; steps are (1 - mu) times as long.

        With nesterov, ``p -= lr * g + mu * b`` in "heavy_ball", ``p -= lr * ((1 - mu) * g + mu * b)`` in "ema".
    **regularisation
        decay_kind, l1, max_norm: see `Optimizer`.

    Raises
    ------
    ValueError
        Negative lr, momentum or weight_decay; nesterov without momentum or with dampening; dampening with another momentum_kind than "torch".

    Notes
    -----
    The momentum is that of Sutskever et al., ICML 2013, with the learning rate outside the buffer, as in PyTorch.
    Nesterov's momentum takes the gradient at the point the momentum leads to. `nesterov` holds that point in the parameters, and so needs one gradient where the
    parameters are; `look_ahead` is the textbook's form. Both walk through the same points.

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
        momentum_kind: str = "torch",
        **regularisation: Any,
    ):
        refuse("SGD", differentiable)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "momentum_kind": momentum_kind,
        }
        super().__init__(params, defaults, **regularisation)

    def _check(self, group: dict[str, Any]) -> None:
        self._not_negative(group, "lr", "momentum", "weight_decay")
        self._one_of(group, "momentum_kind", KINDS)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError("SGD: nesterov=True needs a momentum > 0 and dampening=0")
        if group["dampening"] != 0 and group["momentum_kind"] != "torch":
            raise ValueError(f"SGD: dampening belongs to momentum_kind 'torch', not to {group['momentum_kind']!r}; leave it 0")
        super()._check(group)

    def _step(self, group: dict[str, Any]) -> None:
        lr, momentum, dampening, kind = group["lr"], group["momentum"], group["dampening"], group["momentum_kind"]
        options = (momentum != 0, bool(group["nesterov"]))
        # the gradient's factor stands outside the buffer, where Nesterov's step finds it
        rate, factor = (1.0, lr) if kind == "heavy_ball" else (lr, 1 - momentum if kind == "ema" else 1.0)

        def numbers(step: int) -> list[float]:
            """As the kernel's page lists them; a buffer of zeros becomes the gradient itself."""
            return [rate, momentum, 1 if step == 1 else 1 - dampening]

        self._update(group, "sgd", options, ("momentum_buffer" if momentum else None,), numbers, factor=factor)

    @contextmanager
    def look_ahead(self) -> Iterator[None]:
        """While entered, the parameters stand where the momentum alone would lead: ``p - lr * momentum * buf``; afterwards they are back.

        Nesterov's momentum as textbooks write it: the gradient is taken there, the step made from here (without ``nesterov=True``).

        Raises
        ------
        RuntimeError
            nesterov=True, which looks ahead already.

        Examples
        --------
        >>> import lamella
        >>> w = lamella.tensor([1.0], requires_grad=True)
        >>> optimizer = SGD([w], lr=0.1, momentum=0.9, momentum_kind="ema")
        >>> for _ in range(2):
        ...     optimizer.zero_grad()
        ...     with optimizer.look_ahead():
        ...         w.backward(2 * w.data)
        ...     optimizer.step()
        """
        if any(group["nesterov"] for group in self.param_groups):
            raise RuntimeError(
                "SGD.look_ahead: with nesterov=True the parameters are ahead already; make the optimizer with nesterov=False"
            )
        before = []
        with no_grad():
            for group in self.param_groups:
                rate = 1.0 if group["momentum_kind"] == "heavy_ball" else group["lr"]
                for p in group["params"]:
                    buf = self.state[p].get("momentum_buffer") if p in self.state else None
                    if buf is not None:
                        before.append((p, p.data.copy(order="K")))
                        p.add_(buf, alpha=-rate * group["momentum"])
        try:
            yield
        finally:
            with no_grad():
                for p, data in before:
                    p.copy_(data)
