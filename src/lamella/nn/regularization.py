"""RegularizedLoss: a loss and what large weights cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamella import functional as F
from lamella.nn.module import Module

__all__ = ["RegularizedLoss"]

_PENALTIES: dict[str, Callable[[list[Any]], Any]] = {"l1": F.l1_penalty, "l2": F.l2_penalty}


class RegularizedLoss(Module):
    """loss(output, target) + strength * penalty(parameters).

    Parameters
    ----------
    loss : callable
        Returns one number, e.g. CrossEntropyLoss().
    model : Module, or iterable of parameters
        Whose parameters are penalised; they are looked up at every call.
    penalty : "l1", "l2" or callable
        The sum of absolute values, the sum of squares, or any function of the list of parameters that returns one number.
    strength : float
        The factor lambda.
    half : bool
        Half the penalty: with "l2" then the same as an optimizer's weight_decay of `strength` (SGD), as scikit-learn defines it.
    weights_only : bool
        Of a Module, only parameters of two or more axes: no biases, no scales of a normalisation.

    Raises
    ------
    ValueError
        A penalty that is not known; nothing to penalise.

    Notes
    -----
    Several penalties: wrap it again. `predict` is that of the loss.

    Examples
    --------
    >>> import lamella
    >>> model = lamella.nn.Linear(2, 1)
    >>> _ = model.load_state_dict({"weight": np.array([[1.0, -2.0]]), "bias": np.array([9.0])})
    >>> loss = RegularizedLoss(lamella.nn.MSELoss(), model, "l2", strength=0.1)
    >>> loss(lamella.zeros(3), lamella.zeros(3)).item()
    0.5
    """

    def __init__(
        self,
        loss: Callable[..., Any],
        model: Any,
        penalty: str | Callable[[list[Any]], Any] = "l2",
        strength: float = 1e-4,
        *,
        half: bool = False,
        weights_only: bool = True,
    ):
        super().__init__()
        if not callable(penalty) and penalty not in _PENALTIES:
            raise ValueError(f"RegularizedLoss: penalty must be 'l1', 'l2' or a function of a list of parameters, got {penalty!r}")
        self.loss = loss
        self._of = (
            (model,) if isinstance(model, Module) else list(model)
        )  # a tuple hides the model: its parameters are not those of the loss
        self.penalty = penalty
        self.strength = strength
        self.half = half
        self.weights_only = weights_only
        if not self.penalised():
            raise ValueError("RegularizedLoss: the model has no parameters to penalise; weights_only=False takes biases and scales in")

    def penalised(self) -> list[Any]:
        """The parameters that the penalty is a function of."""
        if isinstance(self._of, tuple):
            return [p for p in self._of[0].parameters() if p.requires_grad and (p.ndim > 1 or not self.weights_only)]
        return self._of

    def forward(self, *args: Any) -> Any:
        penalty: Any = self.penalty if callable(self.penalty) else _PENALTIES[self.penalty]
        return self.loss(*args) + penalty(self.penalised()) * (self.strength / 2 if self.half else self.strength)

    def predict(self, outputs: Any, mode: str = "distribution") -> Any:
        """As the loss."""
        return self.loss.predict(outputs, mode)  # type: ignore[attr-defined]

    def extra_repr(self) -> str:
        name = self.penalty if isinstance(self.penalty, str) else getattr(self.penalty, "__name__", "function")
        return f"penalty={name}, strength={self.strength}" + (", half=True" if self.half else "")
