"""Trainer: the loop over epochs and batches, and what makes it safe to stop at any point.

A checkpoint holds model, optimizer, scheduler, callbacks, history, the random state, and where the loader is, down to the batch; a training
that resumes it computes the same bits as one that was never interrupted.
"""

from __future__ import annotations

import contextlib
import copy
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from lamella import random, serialization, tuning
from lamella.functional import cross_entropy
from lamella.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau
from lamella.tensor import Tensor, no_grad
from lamella.train.callbacks import Callback
from lamella.train.progress import Progress
from lamella.train.uncertainty import MonteCarlo, monte_carlo

__all__ = ["Interrupted", "Trainer"]

_FORMAT = "lamella checkpoint 1"


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a training, after the batch was finished and the checkpoint written; `checkpoint` is its path, or None.

    Examples
    --------
    >>> issubclass(Interrupted, KeyboardInterrupt)
    True
    """

    def __init__(self, message: str, checkpoint: Path | None = None):
        super().__init__(message)
        self.checkpoint = checkpoint


class _CtrlC:
    """While entered in the main thread, the first Ctrl-C only sets `pressed`; the second interrupts as ever."""

    pressed = False

    def __enter__(self) -> _CtrlC:
        self._installed = False
        if threading.current_thread() is threading.main_thread():
            self._before = signal.getsignal(signal.SIGINT)
            if self._before is signal.default_int_handler:  # a handler of the application's own stays
                signal.signal(signal.SIGINT, self._handle)
                self._installed = True
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True

    def __exit__(self, *exc: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, self._before)


class Trainer:
    """Fit a model to batches of inputs and labels.

    Parameters
    ----------
    model : Module
    optimizer : Optimizer, or None to evaluate and predict only
    loss : callable
        ``loss(output, target)`` -> Tensor of one element, the mean over the batch. Default: cross entropy of logits and class numbers.
    scheduler : learning-rate schedule, optional
    schedule_per : {"batch", "epoch"}, optional
        How often the scheduler steps. Default: per batch for OneCycleLR, else per epoch. ReduceLROnPlateau is given val_loss, or
        train_loss without validation data.
    callbacks : sequence of Callback
    checkpoint : str or path, optional
        The file that `fit` replaces after every epoch, and when it is interrupted.
    progress : {"auto", "bar", "lines", "none"}
        A progress bar (needs tqdm), plain lines, or nothing. "auto": a bar on a terminal.
    valid_name : str
        What the validation figures are called in the output.

    Attributes
    ----------
    history : list of dict
        Per epoch: epoch, train_loss, train_accuracy, val_loss, val_accuracy, lr (of the last batch), seconds and images_per_second (of the
        training without the evaluation). The accuracies only where the targets are classes.
    epoch : int
        Epochs finished.
    batch_losses : list of float
        The loss of every batch this Trainer has seen, for `plots.plot_batch_losses`.

    Examples
    --------
    >>> import lamella
    >>> from lamella.data import DataLoader, TensorDataset
    >>> lamella.manual_seed(0)
    >>> x = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
    >>> loader = DataLoader(TensorDataset(x, (x[:, 0] > 0).astype(np.int64)), batch_size=8, shuffle=True)
    >>> model = lamella.nn.Linear(2, 2)
    >>> trainer = Trainer(model, lamella.optim.SGD(model.parameters(), lr=1.0), progress="none")
    >>> trainer.fit(loader, epochs=5)[-1]["train_accuracy"] > 0.9
    True
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        loss: Callable[[Any, Any], Any] = cross_entropy,
        scheduler: Any = None,
        *,
        schedule_per: str | None = None,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | os.PathLike | None = None,
        progress: str = "auto",
        valid_name: str = "validation",
    ):
        if schedule_per not in (None, "batch", "epoch"):
            raise ValueError(f"Trainer: expected schedule_per 'batch' or 'epoch', got {schedule_per!r}")
        self.model, self.optimizer, self.loss, self.scheduler = model, optimizer, loss, scheduler
        self.schedule_per = schedule_per or ("batch" if isinstance(scheduler, OneCycleLR) else "epoch")
        self.callbacks, self.progress, self.valid_name = list(callbacks), progress, valid_name
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.history: list[dict[str, Any]] = []
        self.batch_losses: list[float] = []
        self.epoch = 0
        self.stopped: str | None = None
        self._partial: dict[str, Any] = {}  # of the epoch under way: sums, and where the loader is
        self._loader: Any = None

    # fit

    def stop(self, reason: str) -> None:
        """End `fit` after this epoch; for callbacks."""
        self.stopped = reason

    def fit(
        self, train: Iterable[Any], valid: Iterable[Any] | None = None, epochs: int = 1, resume: bool = False, valid_every: int = 1
    ) -> list[dict[str, Any]]:
        """Train until `epochs` epochs are done, counting those of earlier calls and of a resumed checkpoint.

        Parameters
        ----------
        train, valid : DataLoader, or iterable of (input, target) batches
            Of several targets, (input, y1, y2, ...), the loss is given a tuple.
        epochs : int
        resume : bool
            Load the checkpoint first, if there is one, and go on from there. Model, optimizer, scheduler and data must be made as before.
        valid_every : int
            Validate after every so many epochs, and after the last.

        Returns
        -------
        the history

        Raises
        ------
        RuntimeError
            The loss became NaN or infinite; the weights are those before that batch, and the last checkpoint is kept.
        Interrupted
            Ctrl-C. The batch was finished and the checkpoint written.
        ValueError
            The checkpoint is damaged or of another training, or the optimizer is of another model.
        """
        if valid_every < 1:
            raise ValueError(f"Trainer.fit: expected valid_every to be at least 1, got {valid_every}")
        trained = {id(p) for group in getattr(self.optimizer, "param_groups", []) for p in group["params"]}
        if not any(id(p) in trained for p in self.model.parameters()):
            raise ValueError(
                f"Trainer.fit: expected an optimizer of this {type(self.model).__name__}'s parameters, got {type(self.optimizer).__name__} of none of "
                "them; make it with model.parameters(), of this very model"
            )
        self._loader = train if hasattr(train, "state_dict") and hasattr(train, "load_state_dict") else None
        self.stopped = None
        if resume:
            if self.checkpoint is None:
                raise ValueError("Trainer.fit: resume=True needs Trainer(..., checkpoint=path)")
            if self.checkpoint.exists():
                self.load_checkpoint(self.checkpoint)
        try:
            batches: int | None = len(train)  # type: ignore[arg-type]
        except TypeError:
            batches = None
        progress = Progress(self.progress, epochs, batches, self.valid_name)
        begun, first = time.perf_counter(), self.epoch
        with _CtrlC() as ctrl_c:
            try:
                while self.epoch < epochs and self.stopped is None:
                    due = (self.epoch + 1) % valid_every == 0 or self.epoch + 1 == epochs
                    self._epoch(train, valid if due else None, progress, ctrl_c)
                    left = (time.perf_counter() - begun) / (self.epoch - first) * (epochs - self.epoch)
                    progress.end(self.history[-1], left)
                if self.stopped is not None:
                    progress.say(f"stopped after epoch {self.epoch}: {self.stopped}")
            finally:
                progress.close()
            for callback in self.callbacks:
                callback.on_fit_end(self)
        return self.history

    def _epoch(self, train: Iterable[Any], valid: Iterable[Any] | None, progress: Progress, ctrl_c: _CtrlC) -> None:
        sums = self._partial or {"loss": 0.0, "right": 0, "images": 0, "batches": 0, "seconds": 0.0, "classes": True, "loader": None}
        self._partial = sums
        progress.begin(self.epoch + 1, sums["batches"])
        self.model.train()
        earlier, start = sums["seconds"], time.perf_counter()
        fresh = 0
        for batch in train:
            x, targets = _parts(batch)
            self._step(x, targets, sums)
            fresh += len(targets[0])
            sums["seconds"] = earlier + time.perf_counter() - start
            if self._loader is not None:
                sums["loader"] = self._loader.state_dict()
            progress.batch(
                sums["batches"],
                sums["loss"] / sums["images"],
                sums["right"] / sums["images"] if sums["classes"] else None,
                fresh / (sums["seconds"] - earlier),
            )
            if ctrl_c.pressed:
                self._interrupt(progress)
        if not sums["images"]:
            raise ValueError(
                "Trainer.fit: expected at least one batch to train on, got none; is the dataset empty, or smaller than a batch?"
            )
        record: dict[str, Any] = {"epoch": self.epoch + 1, "train_loss": sums["loss"] / sums["images"]}
        if sums["classes"]:
            record["train_accuracy"] = sums["right"] / sums["images"]
        if valid is not None:
            found = self._evaluate(valid, lambda: self._interrupt(progress) if ctrl_c.pressed else None)
            record.update({f"val_{name}": value for name, value in found.items()})
        record["lr"] = sums["lr"]
        record["seconds"] = sums["seconds"]
        record["images_per_second"] = sums["images"] / sums["seconds"]
        if self.scheduler is not None and self.schedule_per == "epoch":
            if isinstance(self.scheduler, ReduceLROnPlateau):
                self.scheduler.step(record.get("val_loss", record["train_loss"]))
            else:
                self.scheduler.step()
        self.epoch += 1
        self._partial = {}
        self.history.append(record)
        for callback in self.callbacks:
            callback.on_epoch_end(self, record)
        if self.checkpoint is not None:
            self.save_checkpoint(self.checkpoint)

    def _step(self, x: Any, targets: list[Any], sums: dict[str, Any]) -> None:
        y = _target(targets)
        self.optimizer.zero_grad()
        output = self.model(x)
        loss = self.loss(output, y)
        value = float(loss.item())
        if not math.isfinite(value):
            kept = f"; the checkpoint of epoch {self.epoch} is kept" if self.checkpoint is not None and self.epoch else ""
            raise RuntimeError(
                f"Trainer: the loss became {value} in epoch {self.epoch + 1}, batch {sums['batches'] + 1} (learning rate "
                f"{self.optimizer.param_groups[0]['lr']:g}); lower the learning rate, or look for NaN in the data{kept}"
            )
        loss.backward()
        sums["lr"] = float(self.optimizer.param_groups[0]["lr"])
        self.optimizer.step()
        if self.scheduler is not None and self.schedule_per == "batch":
            self.scheduler.step()
        count = len(targets[0])
        right = _right(output, y)
        sums["classes"] = sums["classes"] and right is not None
        sums["right"] += right or 0
        sums["loss"] += value * count
        self.batch_losses.append(value)
        sums["images"] += count
        sums["batches"] += 1

    def _interrupt(self, progress: Progress) -> None:
        progress.close()
        where = f"interrupted in epoch {self.epoch + 1} after batch {self._partial['batches']}"
        if self.checkpoint is None:
            raise Interrupted(f"{where}; without a checkpoint")
        if self._loader is None:
            if not self.checkpoint.exists():
                raise Interrupted(f"{where}, before the first checkpoint")
            raise Interrupted(f"{where}; {self.checkpoint} holds the end of epoch {self.epoch}", self.checkpoint)
        self.save_checkpoint(self.checkpoint)
        raise Interrupted(f"{where}; {self.checkpoint} holds everything to go on from there", self.checkpoint)

    # evaluate and predict

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        training = self.model.training
        self.model.eval()
        try:
            with no_grad():
                yield
        finally:
            self.model.train(training)

    def evaluate(self, data: Iterable[Any]) -> dict[str, float]:
        """The mean loss over the samples, and, where the targets are classes, the accuracy; the model in evaluation mode.

        Parameters
        ----------
        data : DataLoader, or iterable of (input, target) batches

        Returns
        -------
        dict with "loss" and "accuracy"
        """
        return self._evaluate(data, lambda: None)

    def _evaluate(self, data: Iterable[Any], look: Callable[[], None]) -> dict[str, float]:
        total, right, count, classes = 0.0, 0, 0, True
        with self._evaluating():
            for batch in data:
                x, targets = _parts(batch)
                y = _target(targets)
                output = self.model(x)
                total += float(self.loss(output, y).item()) * len(targets[0])
                hits = _right(output, y)
                classes = classes and hits is not None
                right += hits or 0
                count += len(targets[0])
                look()
        if not count:
            raise ValueError("Trainer.evaluate: expected at least one batch, got none")
        return {"loss": total / count, "accuracy": right / count} if classes else {"loss": total / count}

    def predict(self, data: Any, batch_size: int = 256, mc_samples: int = 0, output: Callable[[Any], Any] | None = None) -> Any:
        """What the model puts out (for a classifier: logits), in evaluation mode; or how far it wavers under dropout.

        Parameters
        ----------
        data : array or Tensor of inputs, DataLoader, or iterable of batches (of a batch that is a tuple, the first part)
        batch_size : int
            For an array.
        mc_samples : int
            Monte Carlo dropout: this many passes with dropout at work, everything else in evaluation mode. At least 2; 30 is usual.
        output : callable, optional
            Applied to the model's output first, e.g. ``lambda logits: lamella.functional.softmax(logits, 1)``.

        Returns
        -------
        ndarray, one row per sample; with mc_samples a `MonteCarlo` of two, mean and std. For a model that puts out a dict, a dict of them

        Raises
        ------
        ValueError
            No batches; mc_samples of 1 or less than 0, or for a model without dropout.
        """
        if isinstance(data, (np.ndarray, Tensor)):
            whole = data
            data = (whole[i : i + batch_size] for i in range(0, max(len(whole), 1), batch_size))
        run = self.model if output is None else lambda x: output(self.model(x))
        outputs = []
        with self._evaluating():
            for batch in data:
                x = batch[0] if isinstance(batch, (tuple, list)) else batch
                outputs.append(monte_carlo(self.model, run, x, mc_samples) if mc_samples else _arrays(run(x)))
        if not outputs:
            raise ValueError("Trainer.predict: expected at least one batch, got none")
        return _joined(outputs)

    # checkpoints

    def state_dict(self) -> dict[str, Any]:
        """Everything a training needs to go on, as `lamella.save` can hold it."""
        return {
            "format": _FORMAT,
            **self._own_state(),
            "random": list(random.get_rng_state()),
            "loader": None if self._loader is None else self._partial.get("loader") or self._loader.state_dict(),
        }

    def _own_state(self) -> dict[str, Any]:
        """The state without what others share: the random state, and where the loader is."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "callbacks": [callback.state_dict() for callback in self.callbacks],
            "epoch": self.epoch,
            "stopped": self.stopped,
            "partial": self._partial,
            "history": self.history,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned. What is refused changes nothing, neither the model nor the random state."""
        before, drawn = copy.deepcopy(self._own_state()), random.get_rng_state()
        try:
            self._load_own_state(state_dict)
            random.set_rng_state(tuple(state_dict["random"]))
            if self._loader is not None and state_dict["loader"] is not None:
                self._loader.load_state_dict(state_dict["loader"])
        except BaseException:
            self._load_own_state(before)
            random.set_rng_state(drawn)
            raise

    def _load_own_state(self, state_dict: dict[str, Any]) -> None:
        if len(state_dict["callbacks"]) != len(self.callbacks):
            raise ValueError(
                f"Trainer: expected a checkpoint with {len(self.callbacks)} callbacks, got {len(state_dict['callbacks'])}; make the Trainer as before"
            )
        if (state_dict["scheduler"] is None) != (self.scheduler is None):
            raise ValueError(
                "Trainer: expected a checkpoint of a training with the same scheduler, or without one; make the Trainer as before"
            )
        self.model.load_state_dict(state_dict["model"])
        self.optimizer.load_state_dict(state_dict["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state_dict["scheduler"])
        for callback, state in zip(self.callbacks, state_dict["callbacks"]):
            callback.load_state_dict(state)
        self.epoch, self.stopped = state_dict["epoch"], state_dict["stopped"]
        self._partial, self.history = dict(state_dict["partial"]), list(state_dict["history"])

    def save_checkpoint(self, path: str | os.PathLike) -> None:
        """Write a checkpoint, with the tuning table in use; a file of that name is replaced in one step."""
        serialization.save(self.state_dict(), path, {"lamella.kind": "checkpoint", **tuning.metadata()})

    def load_checkpoint(self, path: str | os.PathLike) -> None:
        """Go on from a checkpoint, with the tuning table it was written under (or without one), so that kernels are chosen as before.

        Raises
        ------
        ValueError
            The file is damaged, no checkpoint, or of another model, optimizer or scheduler.
        """
        state = serialization.load(path)
        if not isinstance(state, dict) or state.get("format") != _FORMAT:
            raise ValueError(f"{path}: expected a checkpoint of lamella's Trainer, got another safetensors file")
        try:
            self.load_state_dict(state)
        except (ValueError, LookupError, TypeError, RuntimeError, AttributeError, OverflowError) as error:
            raise ValueError(f"{path}: expected a checkpoint of this training, got one of another: {error}") from None
        tuning.restore(serialization.read_metadata(path), str(path))


def _parts(batch: Any) -> tuple[Any, list[Any]]:
    """The inputs of a batch, and its targets."""
    if not isinstance(batch, (tuple, list)):
        what = f"{type(batch).__name__} of shape {batch.shape}" if hasattr(batch, "shape") else type(batch).__name__
        raise TypeError(
            f"Trainer: expected batches (inputs, targets), got {what}; of whole arrays make them: DataLoader(TensorDataset(x, y), batch_size=64)"
        )
    if len(batch) < 2:
        raise ValueError("Trainer: expected batches of inputs and targets, got inputs alone")
    x, *targets = batch
    return x, targets


def _target(targets: list[Any]) -> Any:
    """The target of a batch (x, y); of (x, y1, y2, ...), for several tasks, a tuple."""
    return targets[0] if len(targets) == 1 else tuple(targets)


def _arrays(output: Any) -> Any:
    if isinstance(output, dict):
        return {name: _arrays(part) for name, part in output.items()}
    return output.data if isinstance(output, Tensor) else output


def _joined(batches: list[Any]) -> Any:
    first = batches[0]
    if isinstance(first, dict):
        return {name: _joined([batch[name] for batch in batches]) for name in first}
    if isinstance(first, MonteCarlo):
        return MonteCarlo(*(_joined(list(parts)) for parts in zip(*batches)))
    return np.concatenate(batches)


def _right(output: Any, target: Any) -> int | None:
    """How many predictions are right; None where the target is no class number."""
    if isinstance(output, dict) or isinstance(target, tuple):
        return None  # several tasks
    out = output.data if isinstance(output, Tensor) else np.asarray(output)
    labels = target.data if isinstance(target, Tensor) else np.asarray(target)
    if labels.dtype.kind not in "iu" or out.ndim != 2 or labels.ndim != 1:
        return None
    return int((out.argmax(1) == labels).sum())
