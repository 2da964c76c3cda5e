"""Optimizers and learning-rate schedules, with PyTorch's names, arguments and arithmetic."""

from lamella._lazy import attach as _attach

__getattr__, __dir__, __all__ = _attach(__name__)
