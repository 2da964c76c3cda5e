"""FeatureExtractor: what inner layers of a network put out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lamella.nn.module import Module

__all__ = ["FeatureExtractor"]


class FeatureExtractor(Module):
    """What inner layers of a network put out.

    Parameters
    ----------
    module : Module
    layers : str or sequence of str
        Dotted names: of one layer, its output is returned; of several, a dict.

    Raises
    ------
    ValueError
        No such layer; the layers are listed. A layer that a pass did not reach.

    Notes
    -----
    Parameters are named ``module.*``. Of a layer used several times, the last output counts.

    Examples
    --------
    >>> import lamella
    >>> features = FeatureExtractor(lamella.models.LeNet(), "relu4")
    >>> features(lamella.zeros(2, 1, 28, 28)).shape
    (2, 84)
    """

    def __init__(self, module: Module, layers: str | Sequence[str]):
        super().__init__()
        self.module = module
        self.layers = layers if isinstance(layers, str) else list(layers)
        known = dict(module.named_modules())
        for name in self._names():
            if name not in known:
                raise ValueError(f"FeatureExtractor: no layer {name!r}; there are {', '.join(filter(None, known))}")

    def _names(self) -> list[str]:
        return [self.layers] if isinstance(self.layers, str) else self.layers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        found: dict[str, Any] = {}

        def keep(name: str) -> Callable[..., None]:
            return lambda module, inputs, output: found.__setitem__(name, output)

        handles = [self.module.get_submodule(name).register_forward_hook(keep(name)) for name in self._names()]
        try:
            self.module(*args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()
        absent = [name for name in self._names() if name not in found]
        if absent:
            raise ValueError(f"FeatureExtractor: the network did not use {', '.join(absent)} in this pass")
        return found[self.layers] if isinstance(self.layers, str) else found

    def extra_repr(self) -> str:
        return f"layers={self.layers!r}"
