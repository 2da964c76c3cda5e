"""Names of a package that are imported when they are first used.

What a package offers stands in its stub, ``__init__.pyi``, as plain imports: type checkers, editors and `attach` read the same lines, and
``import lamella`` loads little more than NumPy. ``from a import b as b`` offers a name without listing it in ``__all__``.
"""

import importlib
import os
import re
import sys
from collections.abc import Callable

_IMPORT = re.compile(r"^from (\S+) import (\([^)]*\)|.*)", re.M)


def attach(package: str) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a package, from its stub.

    A name that is also its module's (``functional.linear``) is imported at once: importing the module later would bind the name to it.
    """
    module = sys.modules[package]
    with open(os.path.join(module.__path__[0], "__init__.pyi"), encoding="utf-8") as file:
        stub = re.sub("#.*", "", file.read())
    sources = {}
    public = []
    for source, names in _IMPORT.findall(stub):
        for entry in filter(None, (name.strip() for name in names.strip("()").split(","))):
            name, hidden, _ = entry.partition(" as ")
            sources[name] = source
            if not hidden:
                public.append(name)

    def __getattr__(name: str) -> object:
        if name not in sources:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if sources[name] == package:
            return importlib.import_module(f"{package}.{name}")
        value = getattr(importlib.import_module(sources[name]), name)
        setattr(module, name, value)
        return value

    for name, source in sources.items():
        if source == f"{package}.{name}":
            __getattr__(name)
    return __getattr__, lambda: sorted({*module.__dict__, *sources}), sorted(public)
