"""Telling the user how far the training is: a bar on a terminal that has tqdm, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

_LINE_SECONDS = 15.0  # between plain lines inside an epoch


def clock(seconds: float) -> str:
    """12 s, 3:05 min, 1:02:03 h."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02} min"
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02} h"


class Progress:
    """One training's output. `mode`: "auto" (bar on a terminal if tqdm is installed, else lines), "bar", "lines", "none"."""

    def __init__(self, mode: str, epochs: int, batches: int | None, valid_name: str):
        if mode not in ("auto", "bar", "lines", "none"):
            raise ValueError(f"Trainer: expected progress 'auto', 'bar', 'lines' or 'none', got {mode!r}")
        if mode in ("auto", "bar"):
            mode = "bar" if (mode == "bar" or sys.stderr.isatty()) and self._tqdm() is not None else "lines"
        self.mode, self.epochs, self.batches, self.valid_name = mode, epochs, batches, valid_name
        self.bar: Any = None

    @staticmethod
    def _tqdm() -> Any:
        try:
            from tqdm import tqdm
        except ImportError:
            return None
        return tqdm

    def begin(self, epoch: int, done: int) -> None:
        self.epoch, self.started, self.shown, self.first = epoch, time.perf_counter(), time.perf_counter(), done
        if self.mode == "bar":
            self.bar = self._tqdm()(
                total=self.batches,
                initial=done,
                desc=f"epoch {epoch}/{self.epochs}",
                unit="batch",
                leave=False,
                mininterval=0.2,
                bar_format="{desc} {percentage:3.0f}%|{bar:24}| {elapsed} gone, {remaining} left{postfix}",
            )

    def batch(self, done: int, loss: float, accuracy: float | None, rate: float) -> None:
        now = time.perf_counter()
        if self.bar is not None:
            self.bar.update(done - self.bar.n)
            if now - self.shown > 0.2:
                self.shown = now
                self.bar.set_postfix_str(", ".join(_figures(loss, accuracy, rate)), refresh=False)
        elif self.mode == "lines" and now - self.shown > _LINE_SECONDS:
            self.shown = now
            left = ""
            if self.batches:
                left = f"   {clock((now - self.started) / (done - self.first) * (self.batches - done))} left in this epoch"
            print(
                f"epoch {self.epoch}/{self.epochs}, batch {done}/{self.batches or '?'}   {'   '.join(_figures(loss, accuracy, rate))}{left}",
                flush=True,
            )

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def end(self, record: dict[str, Any], left: float) -> None:
        self.close()
        if self.mode == "none":
            return
        width = len(str(self.epochs))
        parts = [f"epoch {record['epoch']:{width}}/{self.epochs}"]
        parts += _figures(record["train_loss"], record.get("train_accuracy"), None)
        if "val_loss" in record:
            parts += [f"{self.valid_name} " + "   ".join(_figures(record["val_loss"], record.get("val_accuracy"), None))]
        parts += [f"{record['images_per_second']:.0f} images/s"]
        parts += [f"{clock(left)} left"] if record["epoch"] < self.epochs else []
        self.say("   ".join(parts))

    def say(self, text: str) -> None:
        if self.mode == "bar":
            self._tqdm().write(text)
        elif self.mode == "lines":
            print(text, flush=True)


def _figures(loss: float, accuracy: float | None, rate: float | None) -> list[str]:
    figures = [f"loss {loss:.4f}"]
    if accuracy is not None:
        figures.append(f"accuracy {accuracy:.4f}")
    if rate is not None:
        figures.append(f"{rate:.0f} images/s")
    return figures
