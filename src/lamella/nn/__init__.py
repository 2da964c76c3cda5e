"""Layers and networks, with PyTorch's names."""

from lamella._lazy import attach as _attach

__getattr__, __dir__, __all__ = _attach(__name__)
