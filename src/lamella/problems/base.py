"""What a kernel is asked to do, apart from the numbers: one small immutable object per kind of geometry.

``Problem.of(...)`` validates once and is memoised on its arguments, so that a
repeated call costs a dictionary hit. Compiled kernels read the geometry as one
int64 array, `geometry`, in the order of the class's `FIELDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from lamella.core import Memo


class Problem:
    """Base of all problems.

    Attributes
    ----------
    geometry : int64 array, the class's FIELDS in order
    dtype : numpy.dtype, float32 or float64
    flops : int, multiplications and additions of the forward pass
    bytes : int, bytes read and written by the forward pass, each once
    choices : dict, filled by lamella.registry: what was selected for this problem
    algorithm : str, "auto" or the only algorithm that may compute it (an implementation's name without its prefix)
    """

    operation: ClassVar[str]
    FIELDS: ClassVar[tuple[str, ...]]
    __slots__ = ("geometry", "dtype", "flops", "bytes", "choices", "args")

    geometry: np.ndarray
    dtype: np.dtype
    flops: int
    bytes: int
    choices: dict[Any, Any]
    args: tuple
    algorithm: str = "auto"

    # The problem with these arguments (see the class), validated; the same object for the same arguments.
    of: ClassVar[Callable[..., Any]]

    def __init_subclass__(cls) -> None:
        cls.of = Memo(cls._made)

    @classmethod
    def _made(cls, *args: Any) -> Any:
        p = cls(*args)
        p.args = args
        p.choices = {}
        p.geometry = np.array([int(getattr(p, field)) for field in cls.FIELDS], dtype=np.int64)
        p.geometry.flags.writeable = False
        return p

    def has(self, pass_: str) -> bool:
        """Whether a pass of the operation makes sense for this problem."""
        return True

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.args))})"
