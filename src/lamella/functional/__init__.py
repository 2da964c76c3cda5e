"""Every operation as a function: ndarrays in, ndarray out; any Tensor in, Tensor out, recorded for `backward`."""

import sys as _sys

from lamella._lazy import attach as _attach
from lamella.core import sums_by as _sums_by
from lamella.functional._broadcast import plus as _plus
from lamella.tensor import bind_functional as _bind

__getattr__, __dir__, __all__ = _attach(__name__)

_sums_by(_plus)
_bind(_sys.modules[__name__])
