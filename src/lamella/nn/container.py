"""Sequential and ModuleList."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lamella.nn.module import Module, _indent

__all__ = ["ModuleList", "Sequential"]


class _List(Module):
    """Children named "0", "1", ... unless they brought names."""

    _modules: dict[str, Module]  # type: ignore[assignment]

    def _name(self, index: Any) -> str:
        n = len(self._modules)
        i = operator.index(index)
        if not -n <= i < n:
            raise IndexError(f"index {i} is out of range: {type(self).__name__} has {n} modules")
        return list(self._modules)[i]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._sliced(list(self._modules.items())[index])
        return self._modules[self._name(index)]

    def _sliced(self, items: list[tuple[str, Module]]) -> Any:
        raise NotImplementedError

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._name(index), module)

    def _replace(self, modules: list[Module]) -> None:
        self._modules.clear()
        for module in modules:
            self.append(module)

    def __delitem__(self, index: Any) -> None:
        kept = list(self._modules.values())
        if not isinstance(index, slice):
            self._name(index)
        del kept[index]
        self._replace(kept)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def append(self, module: Module) -> Any:
        """Add a Module at the end. Returns self."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Add Modules at the end. Returns self."""
        for module in modules:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Any:
        """Add a Module before the one at `index`. Returns self."""
        kept = list(self._modules.values())
        kept.insert(index, module)
        self._replace(kept)
        return self

    def pop(self, index: int = -1) -> Module:
        """Take out a Module and return it."""
        module = self[index]
        del self[index]
        return module


class Sequential(_List):
    """Modules applied one after another.

    Parameters
    ----------
    *args : Modules, or one mapping of names to Modules

    Examples
    --------
    >>> import lamella
    >>> net = Sequential(lamella.nn.Linear(4, 3), lamella.nn.Linear(3, 2))
    >>> net[:1]
    Sequential(
      (0): Linear(in_features=4, out_features=3, bias=True)
    )
    >>> net(lamella.zeros(5, 4)).shape
    (5, 2)
    """

    def __init__(self, *args: Any):
        super().__init__()
        named = args[0].items() if len(args) == 1 and isinstance(args[0], Mapping) else ((str(i), module) for i, module in enumerate(args))
        for name, module in named:
            self.add_module(name, module)

    def _sliced(self, items: list[tuple[str, Module]]) -> Sequential:
        return type(self)(dict(items))

    def forward(self, input: Any) -> Any:
        for module in self._modules.values():
            input = module(input)
        return input


class ModuleList(_List):
    """A list of Modules whose parameters are found.

    Parameters
    ----------
    modules : iterable of Modules, optional

    Examples
    --------
    >>> import lamella
    >>> ModuleList(lamella.nn.Linear(2, 2) for _ in range(3))
    ModuleList(
      (0-2): 3 x Linear(in_features=2, out_features=2, bias=True)
    )
    """

    def __init__(self, modules: Iterable[Module] | None = None):
        super().__init__()
        self.extend(modules or ())

    def _sliced(self, items: list[tuple[str, Module]]) -> ModuleList:
        return type(self)(module for _, module in items)

    def __repr__(self) -> str:
        if not self._modules:
            return f"{self._get_name()}()"
        runs: list[list[Any]] = []  # first index, last index, repr
        for i, module in enumerate(self):
            text = repr(module)
            if runs and runs[-1][2] == text:
                runs[-1][1] = i
            else:
                runs.append([i, i, text])
        lines = [f"({a}): {text}" if a == b else f"({a}-{b}): {b - a + 1} x {text}" for a, b, text in runs]
        return f"{self._get_name()}(\n  " + "\n  ".join(_indent(line) for line in lines) + "\n)"
