"""What can be done after each epoch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["Callback", "EarlyStopping"]


class Callback:
    """Base of callbacks: methods that `Trainer.fit` calls.

    What changes from epoch to epoch and is needed to go on belongs in `state_dict`, which is kept in checkpoints.

    Examples
    --------
    >>> class Shout(Callback):
    ...     def on_epoch_end(self, trainer, record):
    ...         print("epoch", record["epoch"])
    """

    def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> None:
        """After evaluation; `record` is the new entry of ``trainer.history``. ``trainer.stop(reason)`` ends the training."""

    def on_fit_end(self, trainer: Any) -> None:
        """After the last epoch."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass


class EarlyStopping(Callback):
    """Stop when a figure of the history has not improved for `patience` epochs, and return to the weights of the best epoch.

    Parameters
    ----------
    monitor : str
        A key of the history's entries, e.g. "val_loss", "val_accuracy", "train_loss".
    patience : int, optional
        Epochs without improvement that are forgiven. None: any number.
    min_delta : float
        Smaller improvements do not count.
    mode : {"auto", "min", "max"}
        Whether less or more is better. "auto": more, if the name ends in "accuracy".
    restore_best_weights : bool
    target : float, optional
        Stop, too, when the figure has reached this value. ``EarlyStopping("train_loss", None, target=0.1)`` is the rule of some courses, which
        watch the training error; it cannot see over-fitting.

    Attributes
    ----------
    best : float
    best_epoch : int

    Raises
    ------
    ValueError
        The history has no such figure (at the end of the first epoch).

    Examples
    --------
    >>> EarlyStopping("val_accuracy", patience=3).mode
    'max'
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int | None = 5,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best_weights: bool = True,
        target: float | None = None,
    ):
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"EarlyStopping: expected mode 'auto', 'min' or 'max', got {mode!r}")
        if patience is not None and patience < 0:
            raise ValueError(f"EarlyStopping: expected patience >= 0, got {patience}")
        self.monitor, self.patience, self.min_delta = monitor, patience, abs(min_delta)
        self.mode = ("max" if monitor.endswith("accuracy") else "min") if mode == "auto" else mode
        self.restore_best_weights, self.target = restore_best_weights, target
        self.best, self.best_epoch, self.waited = math.nan, 0, 0
        self.weights: dict[str, np.ndarray] = {}

    def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> None:
        if self.monitor not in record:
            raise ValueError(f"EarlyStopping: the history has no {self.monitor!r}, only {', '.join(record)}; pass validation data to fit")
        value = record[self.monitor]
        gain = value - self.best if self.mode == "max" else self.best - value
        if math.isnan(self.best) or gain > self.min_delta:
            self.best, self.best_epoch, self.waited = value, record["epoch"], 0
            if self.restore_best_weights:
                self.weights = {name: np.array(t.data) for name, t in trainer.model.state_dict().items()}
            if self.target is not None and (value >= self.target if self.mode == "max" else value <= self.target):
                trainer.stop(f"{self.monitor} has reached {self.target:g} ({value:.4f})")
            return
        self.waited += 1
        if self.patience is not None and self.waited > self.patience:
            trainer.stop(f"{self.monitor} has not improved since epoch {self.best_epoch} ({self.best:.4f})")

    def on_fit_end(self, trainer: Any) -> None:
        if self.weights:
            trainer.model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.best_epoch, self.waited = state_dict["best"], state_dict["best_epoch"], state_dict["waited"]
        self.weights = dict(state_dict["weights"])
