"""Pictures of a training: curves, confusion, filters. Drawn by matplotlib without a display, imported when first used."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lamella.tensor import Tensor

__all__ = ["plot_batch_losses", "plot_confusion", "plot_curves", "plot_filters", "plot_lr_find"]

_TRAIN, _VALID = "#1f5fa8", "#d1601f"


def new_figure(width: float, height: float) -> Any:
    """A Matplotlib figure of so many inches.

    Raises
    ------
    RuntimeError
        Matplotlib is not installed.

    Examples
    --------
    >>> new_figure(4, 3).get_size_inches().tolist()
    [4.0, 3.0]
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise RuntimeError("pictures are drawn by Matplotlib; run: pip install 'lamella[train]'") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)  # not pyplot: the user's backend and figures stay as they are
    return figure


def check_target(path: str | os.PathLike) -> None:
    """Raise what drawing into a file would raise in the end, before what is to be drawn has taken its time.

    Parameters
    ----------
    path : str or path

    Raises
    ------
    RuntimeError
        Matplotlib is not installed.
    ValueError
        It does not write this format, or the folder does not exist.

    Examples
    --------
    >>> check_target("roofline.nope")
    Traceback (most recent call last):
    ValueError: roofline.nope: expected the name of a picture, such as roofline.png, .svg or .pdf
    """
    formats = new_figure(1, 1).canvas.get_supported_filetypes()
    path = Path(path)
    if path.suffix.lower().removeprefix(".") not in formats:
        raise ValueError(f"{path}: expected the name of a picture, such as {path.with_suffix('.png')}, .svg or .pdf")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}")


def finish(figure: Any, path: str | os.PathLike | None) -> Any:
    """Save the figure, if a path is given, and return it."""
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure


def plot_curves(
    history: Sequence[dict[str, Any]], path: str | os.PathLike | None = None, title: str | None = None, valid_name: str = "validation"
) -> Any:
    """Loss, accuracy and learning rate over the epochs.

    Parameters
    ----------
    history : list of dict
        Of `Trainer.fit`.
    path : str or path, optional
        Where to save the picture.
    title : str, optional
    valid_name : str
        What the figures named ``val_`` are called.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        An empty history.

    Examples
    --------
    >>> history = [{"epoch": 1, "train_loss": 2.0, "lr": 0.1}, {"epoch": 2, "train_loss": 1.0, "lr": 0.1}]
    >>> plot_curves(history).axes[0].get_ylabel()
    'loss'
    """
    if not history:
        raise ValueError("plot_curves: expected the history of at least one epoch, got none")
    epochs = [record["epoch"] for record in history]
    accuracies = any("train_accuracy" in record for record in history)
    panels = ["loss", "accuracy"] if accuracies else ["loss"]
    figure = new_figure(4.6 * len(panels) + 3.4, 3.6)
    from matplotlib.ticker import MaxNLocator

    axes = figure.subplots(1, len(panels) + 1, width_ratios=[1.35] * len(panels) + [1])
    marker = "o" if len(epochs) <= 40 else None
    for axis, name in zip(axes, panels):
        for key, label, color in ((f"train_{name}", "training", _TRAIN), (f"val_{name}", valid_name, _VALID)):
            values = [record.get(key, np.nan) for record in history]
            if not np.isnan(values).all():
                axis.plot(epochs, values, color=color, label=f"{label} ({values[-1]:.3f})", marker=marker, markersize=3.5, linewidth=1.6)
        axis.set_ylabel(name)
        axis.legend(title="last epoch" if len(epochs) > 1 else None, fontsize=9, title_fontsize=9)
    axes[-1].plot(epochs, [record["lr"] for record in history], color="#555555", marker=marker, markersize=3.5, linewidth=1.6)
    axes[-1].set_ylabel("learning rate (end of epoch)")
    axes[-1].ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    for axis in axes:
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        if len(epochs) < 3:
            axis.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
            axis.set_xticks(epochs)
    axes[-1].set_ylim(bottom=0)
    if title:
        figure.suptitle(title, fontsize=11)
    return finish(figure, path)


def plot_batch_losses(losses: Sequence[float], path: str | os.PathLike | None = None, batches_per_epoch: int | None = None) -> Any:
    """The loss of every mini-batch of a training, and its moving average.

    Parameters
    ----------
    losses : sequence of float
        `Trainer.batch_losses`.
    path : str or path, optional
        Where to save the picture.
    batches_per_epoch : int, optional
        Marks the ends of epochs.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        No losses.

    Examples
    --------
    >>> plot_batch_losses([2.0, 1.5, 1.7, 1.2]).axes[0].get_xlabel()
    'mini-batch'
    """
    values = np.asarray(losses, np.float64)
    if not values.size:
        raise ValueError("plot_batch_losses: expected the loss of at least one batch, got none")
    width = max(1, len(values) // 50)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    first = np.maximum(np.arange(len(values)) - width + 1, 0)
    average = (sums[1:] - sums[first]) / (np.arange(1, len(values) + 1) - first)
    figure = new_figure(7, 4)
    axis = figure.subplots()
    number = np.arange(1, len(values) + 1)
    axis.plot(number, values, color=_TRAIN, alpha=0.3, linewidth=1, label="loss of a batch")
    axis.plot(number, average, color=_TRAIN, linewidth=2, label=f"mean of the last {width}")
    for end in range(batches_per_epoch, len(values), batches_per_epoch) if batches_per_epoch else ():
        axis.axvline(end, color="#888888", linestyle="--", linewidth=0.5)
    axis.set_xlabel("mini-batch")
    axis.set_ylabel("loss")
    axis.grid(alpha=0.3)
    axis.legend()
    return finish(figure, path)


def plot_confusion(
    matrix: Any, classes: Sequence[str] | None = None, path: str | os.PathLike | None = None, title: str | None = None
) -> Any:
    """A confusion matrix, each row coloured by the part of its images.

    Parameters
    ----------
    matrix : array of int, shape (classes, classes)
        Of `confusion_matrix`.
    classes : sequence of str, optional
    path : str or path, optional
        Where to save the picture.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> plot_confusion([[8, 2], [1, 9]], ["cat", "dog"]).axes[0].get_xlabel()
    'predicted class'
    """
    matrix = np.asarray(matrix)
    n = len(matrix)
    names = [str(i) for i in range(n)] if classes is None else list(classes)
    totals = matrix.sum(1, keepdims=True)
    part = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    side = min(max(0.62 * n, 3.5), 16)
    figure = new_figure(side + 2.3, side + 1.6)
    axis = figure.subplots()
    image = axis.imshow(part, vmin=0, vmax=1, cmap="Blues")
    axis.set_xticks(range(n), names, rotation=45, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(n), names)
    axis.set_xlabel("predicted class")
    axis.set_ylabel("true class")
    if n <= 30:
        for i, j in np.argwhere(matrix > 0):
            axis.text(j, i, str(matrix[i, j]), ha="center", va="center", fontsize=9, color="white" if part[i, j] > 0.55 else "black")
    axis.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    axis.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    axis.grid(which="minor", color="#dddddd", linewidth=0.6)
    axis.tick_params(which="minor", length=0)
    figure.colorbar(image, ax=axis, label="part of the images of the class", shrink=0.85)
    axis.set_title(title or f"{np.trace(matrix)} of {matrix.sum()} right", fontsize=11)
    return finish(figure, path)


def plot_filters(weight: Any, path: str | os.PathLike | None = None, title: str | None = None, limit: int = 64) -> Any:
    """The filters of a first layer as pictures: convolution filters, or the weights of a fully connected layer on the pixels.

    Parameters
    ----------
    weight : array or Tensor, shape (filters, channels, height, width)
        With three channels in colour, otherwise the first channel; red is positive, blue negative, white zero.
    path : str or path, optional
        Where to save the picture.
    title : str, optional
    limit : int
        At most so many filters.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        The weights have no height and width.

    Examples
    --------
    >>> len(plot_filters(np.ones((6, 1, 5, 5))).axes)
    7
    """
    weight = weight.data if isinstance(weight, Tensor) else np.asarray(weight)
    if weight.ndim != 4:
        raise ValueError(f"plot_filters: expected weights of shape (filters, channels, height, width), got {weight.shape}")
    shown = weight[:limit]
    count = len(shown)
    columns = min(count, 8 if count > 6 else 6)
    rows = -(-count // columns)
    color = weight.shape[1] == 3
    figure = new_figure(1.1 * columns + (0.5 if color else 1.3), 1.25 * rows + 0.8)
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    bound = float(np.abs(shown).max()) or 1.0
    image = None
    for i, axis in enumerate(axes):
        axis.set_xticks([])
        axis.set_yticks([])
        if i >= count:
            figure.delaxes(axis)
            continue
        if color:
            axis.imshow(np.moveaxis(shown[i], 0, -1) / (2 * bound) + 0.5, interpolation="nearest")
        else:
            image = axis.imshow(shown[i, 0], vmin=-bound, vmax=bound, cmap="RdBu_r", interpolation="nearest")
        axis.set_title(str(i), fontsize=8, pad=2)
    if image is not None:
        figure.colorbar(image, ax=list(axes[:count]), label="weight", shrink=0.9, aspect=14 if rows < 3 else 24)
    more = f" (the first {limit} of {len(weight)})" if len(weight) > limit else ""
    figure.suptitle((title or f"{len(weight)} filters of {weight.shape[2]} x {weight.shape[3]}") + more, fontsize=11)
    return finish(figure, path)


def plot_lr_find(
    lrs: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    suggestion: float,
    rises: float,
    path: str | os.PathLike | None = None,
) -> Any:
    """The loss over a growing learning rate, with the suggestion.

    Parameters
    ----------
    lrs, losses, smoothed : sequence of float
        Of `lamella.train.find_lr`.
    suggestion, rises : float
        Learning rates to mark.
    path : str or path, optional
        Where to save the picture.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> plot_lr_find([0.1, 1.0, 10.0], [2.0, 1.0, 3.0], [2.0, 1.0, 3.0], 0.1, 1.0).axes[0].get_xscale()
    'log'
    """
    figure = new_figure(7, 4)
    axis = figure.subplots()
    axis.plot(lrs, losses, color=_TRAIN, alpha=0.3, linewidth=1, label="loss of a batch")
    axis.plot(lrs, smoothed, color=_TRAIN, linewidth=2, label="smoothed")
    axis.axvline(rises, color="#888888", linestyle="--", linewidth=1, label=f"starts to rise: {rises:.2g}")
    axis.axvline(suggestion, color=_VALID, linewidth=1.5, label=f"a tenth of it: {suggestion:.2g}")
    axis.set_xscale("log")
    low, high = min(smoothed), max(smoothed[: int(np.argmin(smoothed)) + 1])
    margin = 0.25 * (high - low) or 0.1
    axis.set_ylim(low - margin, high + 2 * margin)
    axis.set_xlabel("learning rate")
    axis.set_ylabel("loss")
    axis.grid(alpha=0.3)
    axis.legend()
    return finish(figure, path)
