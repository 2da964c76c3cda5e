"""How many samples a data set should have: rules of thumb."""

from __future__ import annotations

import math
from typing import Any


def recommended_size(model: Any = None, *, predictors: int | None = None, classes: int | None = None) -> dict[str, int]:
    """Rules of thumb for the number of samples: ten per parameter, for regression ten per predictor, for classification 1000 per class.

    Parameters
    ----------
    model : Module or int, optional
        The model, or its number of parameters.
    predictors : int, optional
        Input variables of a regression.
    classes : int, optional

    Returns
    -------
    dict of str to int
        What each rule that can be applied says. Networks learn from far fewer than ten samples per parameter when they are regularised.

    Raises
    ------
    ValueError
        Nothing given; numbers that are not positive.

    Examples
    --------
    >>> import lamella
    >>> recommended_size(lamella.nn.Linear(4, 3), classes=3)
    {'parameters': 150, 'classes': 3000}
    """
    parameters = sum(math.prod(p.shape) for p in model.parameters()) if hasattr(model, "parameters") else model
    found = {}
    for name, number, each in (("parameters", parameters, 10), ("predictors", predictors, 10), ("classes", classes, 1000)):
        if number is not None:
            if number < 1:
                raise ValueError(f"recommended_size: expected {name} to be positive, got {number}")
            found[name] = each * int(number)
    if not found:
        raise ValueError("recommended_size: expected a model, predictors or classes")
    return found
