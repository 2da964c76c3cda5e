"""implicit_regularization: what gradient descent minimises besides the loss, and how noisy its gradients are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from lamella.functional import cross_entropy
from lamella.nn import Module
from lamella.tensor import enable_grad

__all__ = ["ImplicitRegularization", "implicit_regularization"]


class ImplicitRegularization(NamedTuple):
    """What `implicit_regularization` found.

    loss : the mean over the whole set
    gradient : the squared norm of the whole set's gradient
    noise : the mean squared distance of the batches' gradients from it
    gd, sgd : what full-batch descent, and what stochastic descent adds to the loss: lr / 4 * gradient; that + lr / 4 * noise

    Examples
    --------
    >>> ImplicitRegularization(1.0, 4.0, 8.0, 0.1, 0.3).noise
    8.0
    """

    loss: float
    gradient: float
    noise: float
    gd: float
    sgd: float


def implicit_regularization(
    model: Module, batches: Iterable[Any], lr: float, loss: Callable[[Any, Any], Any] = cross_entropy
) -> ImplicitRegularization:
    """The terms by which steps of finite length differ from continuous descent: steep places, and places where batches disagree, repel.

    L_GD = L + lr/4 |dL|^2 and L_SGD = L_GD + lr/(4 B) sum_b |dL_b - dL|^2, with the loss L_b of each of the B batches.

    Parameters
    ----------
    model : Module
        In the mode it is in; evaluation mode leaves out the noise of dropout.
    batches : DataLoader, or iterable of (input, target) batches
        The whole training set once. Batches of equal size, as the formula has it; others weigh by their size in dL.
    lr : float
    loss : callable
        The mean over a batch.

    Returns
    -------
    ImplicitRegularization

    Raises
    ------
    ValueError
        No batches.

    Notes
    -----
    The parameters' gradients are left as they were. Barrett and Dherin, ICLR 2021; Smith et al., ICLR 2021.

    Examples
    --------
    >>> import lamella
    >>> model = lamella.nn.Linear(1, 1, bias=False)
    >>> _ = model.load_state_dict({"weight": np.ones((1, 1))})
    >>> two = [(np.ones((1, 1), "f"), np.full((1, 1), y, "f")) for y in (0, 4)]
    >>> implicit_regularization(model, two, lr=0.1, loss=lamella.functional.mse_loss)
    ImplicitRegularization(loss=5.0, gradient=4.0, noise=16.0, gd=0.1, sgd=0.5)
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    kept = [p.grad for p in parameters]
    size = sum(p.data.size for p in parameters)
    weighed, plain = np.zeros(size), np.zeros(size)  # sums of the gradients, with and without the batches' sizes
    squares, batch, count, value = 0.0, 0, 0, 0.0
    try:
        for x, y in batches:
            for p in parameters:
                p.grad = None
            with enable_grad():
                found = loss(model(x), y)
                found.backward()
            g = np.concatenate([(np.zeros(p.shape) if p.grad is None else p.grad.data).ravel().astype(np.float64) for p in parameters])
            weighed += len(y) * g
            plain += g
            squares += float((g**2).sum())
            value += float(found.item()) * len(y)
            batch += 1
            count += len(y)
    finally:
        for p, grad in zip(parameters, kept):
            p.grad = grad
    if not count:
        raise ValueError("implicit_regularization: expected at least one batch, got none")
    mean = weighed / count
    gradient = float((mean**2).sum())
    noise = (squares - 2 * float((mean * plain).sum())) / batch + gradient  # the mean of |g - mean|^2, without keeping every g
    return ImplicitRegularization(value / count, gradient, noise, lr / 4 * gradient, lr / 4 * (gradient + noise))
