"""learning_verdict: whether a training under- or over-fitted, and what helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["LearningVerdict", "learning_verdict"]

MORE_CAPACITY = "a larger model: more layers, more neurons"
MORE_EPOCHS = "more epochs"
OVERFITTING = (
    "more training data, or augmentation of what there is",
    "regularisation: L1 or L2 (weight_decay, nn.RegularizedLoss), nn.Dropout, label smoothing",
)


@dataclass(frozen=True)
class LearningVerdict:
    """What `learning_verdict` found.

    Attributes
    ----------
    kind : "under-fitting", "over-fitting", "both" or "good fit"
        High bias; high variance; high bias and a gap besides; a small training error and a validation error near it.
    measure : "error rate" or "loss"
    train_error, valid_error : float
        Of the last epoch (train_error of its mean over the epoch, as Trainer measures it).
    acceptable, gap : float
        The bounds that were applied to train_error and to valid_error - train_error.
    best_epoch : int
        The epoch with the least validation error.
    still_falling : bool
        Whether the training error fell by more than a twentieth over the last quarter of the epochs.
    remedies : list of str
        In the order to try them.

    Examples
    --------
    >>> print(LearningVerdict("good fit", "loss", 0.1, 0.12, 0.2, 0.1, 9, False, []))
    good fit: loss 0.1 in training, 0.12 in validation (best in epoch 9)
    """

    kind: str
    measure: str
    train_error: float
    valid_error: float
    acceptable: float
    gap: float
    best_epoch: int
    still_falling: bool
    remedies: list[str]

    def __str__(self) -> str:
        lines = [
            f"{self.kind}: {self.measure} {self.train_error:.3g} in training, {self.valid_error:.3g} in validation "
            f"(best in epoch {self.best_epoch})"
        ]
        return "\n".join(lines + [f"  try {remedy}" for remedy in self.remedies])


def learning_verdict(
    history: Sequence[dict[str, Any]], acceptable: float | None = None, gap: float | None = None, measure: str = "auto"
) -> LearningVerdict:
    """Judge the learning curves of a training.

    =============  ==============  ===================  =================================================
    case           training error  validation error     remedies
    =============  ==============  ===================  =================================================
    under-fitting  high            high                 a larger model, more epochs
    over-fitting   low             high                 more data, regularisation, early stopping
    good fit       low             low
    =============  ==============  ===================  =================================================

    Parameters
    ----------
    history : list of dict
        Of `Trainer.fit` with validation data.
    acceptable : float, optional
        Training errors up to it are low. Default: an error rate of 0.1; a loss of a quarter of the first epoch's.
    gap : float, optional
        By how much the validation error may lie above the training error. Default: half of `acceptable`.
    measure : {"auto", "error rate", "loss"}
        "auto": error rates (1 - accuracy) where the history has them.

    Returns
    -------
    LearningVerdict; printed, it is a short report

    Raises
    ------
    ValueError
        An empty history, or one without validation figures.

    Examples
    --------
    >>> epochs = [(0.9, 1.0), (0.5, 0.7), (0.2, 0.6), (0.05, 0.65)]
    >>> history = [{"epoch": i, "train_loss": t, "val_loss": v} for i, (t, v) in enumerate(epochs, 1)]
    >>> verdict = learning_verdict(history)
    >>> print(verdict)
    over-fitting: loss 0.05 in training, 0.65 in validation (best in epoch 3)
      try more training data, or augmentation of what there is
      try regularisation: L1 or L2 (weight_decay, nn.RegularizedLoss), nn.Dropout, label smoothing
      try early stopping: epoch 3 was the best (train.EarlyStopping)
    """
    if not history:
        raise ValueError("learning_verdict: expected the history of at least one epoch, got none")
    if measure not in ("auto", "error rate", "loss"):
        raise ValueError(f"learning_verdict: measure must be 'auto', 'error rate' or 'loss', got {measure!r}")
    rates = all("train_accuracy" in record and "val_accuracy" in record for record in history)
    if measure == "auto":
        measure = "error rate" if rates else "loss"
    key = "accuracy" if measure == "error rate" else "loss"
    try:
        train, valid = (np.array([record[f"{part}_{key}"] for record in history], np.float64) for part in ("train", "val"))
    except KeyError as error:
        raise ValueError(f"learning_verdict: the history has no {error}; pass validation data to Trainer.fit") from None
    if measure == "error rate":
        train, valid = 1 - train, 1 - valid
    if acceptable is None:
        acceptable = 0.1 if measure == "error rate" else float(train[0]) / 4
    if gap is None:
        gap = acceptable / 2
    best = int(valid.argmin())
    quarter = train[-(len(train) // 4 + 1)]
    falling = len(train) > 1 and bool(train[-1] < 0.95 * quarter)
    high_bias, high_variance = bool(train[-1] > acceptable), bool(valid[-1] - train[-1] > gap)
    kind = {(0, 0): "good fit", (1, 0): "under-fitting", (0, 1): "over-fitting", (1, 1): "both"}[high_bias, high_variance]
    remedies = []
    if high_bias:
        remedies += [MORE_EPOCHS, MORE_CAPACITY] if falling else [MORE_CAPACITY, MORE_EPOCHS]
    if high_variance:
        remedies += OVERFITTING
        if best < len(valid) - 1:
            remedies.append(f"early stopping: epoch {history[best]['epoch']} was the best (train.EarlyStopping)")
    return LearningVerdict(kind, measure, float(train[-1]), float(valid[-1]), acceptable, gap, history[best]["epoch"], falling, remedies)
