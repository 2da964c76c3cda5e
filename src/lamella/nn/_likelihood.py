"""Likelihood: a loss that is minus the log-probability of a distribution, which it can therefore return."""

from __future__ import annotations

from typing import Any

import numpy as np

from lamella.nn.module import Module
from lamella.tensor import Tensor


class Likelihood(Module):
    """Base of the losses that assume a distribution of the targets; `distribution` makes it from a network's outputs."""

    def distribution(self, outputs: Any) -> Any:
        """The distribution whose parameters are `outputs`, arrays."""
        raise NotImplementedError

    def predict(self, outputs: Any, mode: str = "distribution") -> Any:
        """What the network's outputs say about the targets, under the distribution that this loss assumes.

        Parameters
        ----------
        outputs : array, Tensor, or tuple of them
            What would be given to the loss.
        mode : {"distribution", "mode"}

        Returns
        -------
        a distribution (see lamella.distributions), or its mode: the most probable target, as an array

        Raises
        ------
        ValueError
            Another mode.
        """
        if mode not in ("distribution", "mode"):
            raise ValueError(f"{type(self).__name__}.predict: mode must be 'distribution' or 'mode', got {mode!r}")
        raw = [np.asarray(x.data if isinstance(x, Tensor) else x) for x in (outputs if isinstance(outputs, tuple) else (outputs,))]
        found = self.distribution(tuple(raw) if isinstance(outputs, tuple) else raw[0])
        return found if mode == "distribution" else found.mode
