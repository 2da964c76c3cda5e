"""Tensor, the tape, and the one door through which every operation is applied.

An `Operation` is two plain functions on ndarrays:

    forward(*arrays, *attributes) -> (out, saved)
    backward(saved, g, needs)     -> one gradient (or None) per array

`replace` is the door of operations that change their input in place: ``forward(array, keep, shared, *attributes)`` is told whether the derivative is
wanted and whether somebody else still holds the array, which then must stay as it is.

`apply` runs the forward function; if a Tensor that requires a gradient is among
the inputs it also leaves a `Node` behind, and `Tensor.backward` walks the nodes. All five are compiled: lamella/core.pyx.
"""

from __future__ import annotations

import builtins
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lamella import core
from lamella.core import Operation as Operation
from lamella.core import apply as apply
from lamella.core import recording
from lamella.core import replace as replace

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))

# lamella.functional, which stands above and binds itself here when it is imported: Tensor's operators and methods are its functions
F: Any = None


def bind_functional(module: Any) -> None:
    global F
    F = module


class Tensor(core.Recorded):
    """An array that remembers how it was computed.

    Parameters
    ----------
    data : array_like
        Floats become float32 (float64 stays), Python numbers float32 or int64; the memory of an ndarray is shared.
    requires_grad : bool
        Whether operations on it are recorded, so that `backward` leaves its gradient in `grad`.

    Attributes
    ----------
    data : numpy.ndarray
    grad : Tensor or None
    requires_grad : bool

    Notes
    -----
    Every in-place change through the Tensor (``t += 1``, ``t[0] = 1``, ``t.add_(1)``) counts up a version, and a backward pass that needs the old
    values raises. Writes through `numpy()` are not seen.

    Examples
    --------
    >>> import lamella
    >>> x = lamella.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    __slots__ = ("__weakref__",)
    __array_ufunc__ = None  # so that ndarray * Tensor records

    def __init__(self, data: Any, requires_grad: bool = False):
        if isinstance(data, Tensor):
            data = data.data
        elif not isinstance(data, np.ndarray):
            data = np.asarray(data)
            if data.dtype == np.float64:
                data = data.astype(np.float32)
        if data.dtype.kind not in "fiub":
            raise TypeError(f"Tensor: expected numbers or booleans, got {data.dtype}")
        if requires_grad and data.dtype not in FLOATS:
            raise RuntimeError(f"Tensor: only float32 and float64 can require a gradient, got {data.dtype}")
        self.data = data
        self.requires_grad = requires_grad

    # what it is

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by the user, not by a recorded operation."""
        return self._node is None

    def size(self, dim: int | None = None) -> Any:
        return self.data.shape if dim is None else self.data.shape[dim]

    def numel(self) -> int:
        return self.data.size

    def dim(self) -> int:
        return self.data.ndim

    def __len__(self) -> int:
        if not self.data.ndim:
            raise TypeError("len: a single number has no length; of a Tensor without axes, use tensor.item()")
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    # of a single element, what it would be as a Python number

    def __bool__(self) -> bool:
        return bool(self._number("bool"))

    def __float__(self) -> builtins.float:
        return float(self._number("float"))

    def __int__(self) -> int:
        return int(self._number("int"))

    def __index__(self) -> int:
        if self.data.dtype.kind not in "iu":
            raise TypeError(f"index: expected a Tensor of an integer, got {self.data.dtype}")
        return self._number("index")

    def __format__(self, spec: str) -> str:
        return format(self.data.item(), spec) if not self.data.ndim else super().__format__(spec)

    def _number(self, what: str) -> Any:
        if self.data.size != 1:
            raise ValueError(
                f"{what}: expected a Tensor of one element, got shape {self.data.shape}; .any() and .all() answer for all of them"
            )
        return self.data.item()

    def __repr__(self) -> str:
        text = np.array2string(self.data, separator=", ", prefix="tensor(")
        extra = "" if self.data.dtype in (np.float32, np.int64, np.bool_) else f", dtype={self.data.dtype}"
        if self._node is not None:
            extra += f", grad_fn=<{self._node.operation.name}>"
        elif self.requires_grad:
            extra += ", requires_grad=True"
        return f"tensor({text}{extra})"

    # in and out

    def numpy(self) -> np.ndarray:
        """The array itself, sharing memory. A Tensor that requires a gradient must be detached first."""
        if self.requires_grad:
            raise RuntimeError("numpy: this Tensor requires a gradient, which the array would not carry; use tensor.detach().numpy()")
        return self.data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def item(self) -> Any:
        """The only element, as a Python number."""
        return self.data.item()

    def tolist(self) -> Any:
        return self.data.tolist()

    def detach(self) -> Tensor:
        """The same memory without the history; in-place changes of either are counted for both."""
        t = Tensor(self.data)
        t._version = self._version
        return t

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        if not self.is_leaf:
            raise RuntimeError("requires_grad_: only a leaf can change; use detach() to leave the graph")
        if requires_grad and self.data.dtype not in FLOATS:
            raise RuntimeError(f"requires_grad_: only float32 and float64 can require a gradient, got {self.data.dtype}")
        self.requires_grad = requires_grad
        return self

    # in place

    def _changing(self, what: str) -> np.ndarray:
        if self.requires_grad and recording.get():
            kind = "a leaf that requires a gradient" if self.is_leaf else "a recorded Tensor"
            raise RuntimeError(f"{what}: in-place change of {kind}; use the operation that returns a new Tensor, or lamella.no_grad()")
        self._version[0] += 1
        return self.data

    def __setitem__(self, index: Any, value: Any) -> None:
        self._changing("setitem")[_raw(index)] = _raw(value)

    def _in_place(self, name: str, ufunc: Callable[..., Any], other: Any) -> Tensor:
        data = self._changing(name)
        ufunc(data, _raw(other), out=data, casting="same_kind")
        return self

    def add_(self, other: Any, alpha: builtins.float = 1) -> Tensor:
        return self._in_place("add_", np.add, other if alpha == 1 else _raw(other) * alpha)

    def sub_(self, other: Any) -> Tensor:
        return self._in_place("sub_", np.subtract, other)

    def mul_(self, other: Any) -> Tensor:
        return self._in_place("mul_", np.multiply, other)

    def div_(self, other: Any) -> Tensor:
        return self._in_place("div_", np.divide, other)

    __iadd__, __isub__, __imul__, __itruediv__ = add_, sub_, mul_, div_

    def copy_(self, other: Any) -> Tensor:
        np.copyto(self._changing("copy_"), _raw(other), casting="same_kind")
        return self

    def fill_(self, value: builtins.float) -> Tensor:
        self._changing("fill_").fill(value)
        return self

    def zero_(self) -> Tensor:
        return self.fill_(0)

    def relu_(self) -> Tensor:
        return F.relu_(self)

    def sigmoid_(self) -> Tensor:
        return F.sigmoid_(self)

    def tanh_(self) -> Tensor:
        return F.tanh_(self)

    # operations: each is a function of lamella.functional

    def __add__(self, other: Any) -> Tensor:
        return F.add(self, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Tensor:
        return F.sub(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return F.sub(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return F.mul(self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Tensor:
        return F.div(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return F.div(other, self)

    def __pow__(self, exponent: Any) -> Tensor:
        return F.pow(self, exponent)

    def __rpow__(self, base: Any) -> Tensor:
        return F.pow(base, self)

    def __matmul__(self, other: Any) -> Tensor:
        return F.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return F.matmul(other, self)

    def __neg__(self) -> Tensor:
        return F.neg(self)

    def __abs__(self) -> Tensor:
        return F.abs(self)

    def __getitem__(self, index: Any) -> Tensor:
        return F.getitem(self, index)

    # comparisons give boolean Tensors, without a gradient; a Tensor hashes by identity

    __hash__ = object.__hash__

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return NotImplemented if other is None or isinstance(other, str) else F.compare(np.equal, self, other)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return NotImplemented if other is None or isinstance(other, str) else F.compare(np.not_equal, self, other)

    def __lt__(self, other: Any) -> Tensor:
        return F.compare(np.less, self, other)

    def __le__(self, other: Any) -> Tensor:
        return F.compare(np.less_equal, self, other)

    def __gt__(self, other: Any) -> Tensor:
        return F.compare(np.greater, self, other)

    def __ge__(self, other: Any) -> Tensor:
        return F.compare(np.greater_equal, self, other)

    eq, ne, lt, le, gt, ge = __eq__, __ne__, __lt__, __le__, __gt__, __ge__

    def __and__(self, other: Any) -> Tensor:
        return F.compare(np.bitwise_and, self, other, None)

    def __or__(self, other: Any) -> Tensor:
        return F.compare(np.bitwise_or, self, other, None)

    def __xor__(self, other: Any) -> Tensor:
        return F.compare(np.bitwise_xor, self, other, None)

    def __invert__(self) -> Tensor:
        return Tensor(np.asarray(~self.data))

    def all(self) -> Tensor:
        """Whether all elements are true."""
        return Tensor(np.asarray(self.data.all()))

    def any(self) -> Tensor:
        """Whether any element is true."""
        return Tensor(np.asarray(self.data.any()))

    def add(self, other: Any, *, alpha: builtins.float = 1) -> Tensor:
        return F.add(self, other, alpha=alpha)

    def sub(self, other: Any, *, alpha: builtins.float = 1) -> Tensor:
        return F.sub(self, other, alpha=alpha)

    def mul(self, other: Any) -> Tensor:
        return F.mul(self, other)

    def div(self, other: Any) -> Tensor:
        return F.div(self, other)

    def pow(self, exponent: Any) -> Tensor:
        return F.pow(self, exponent)

    def neg(self) -> Tensor:
        return F.neg(self)

    def exp(self) -> Tensor:
        return F.exp(self)

    def log(self) -> Tensor:
        return F.log(self)

    def sqrt(self) -> Tensor:
        return F.sqrt(self)

    def abs(self) -> Tensor:
        return F.abs(self)

    def square(self) -> Tensor:
        return F.pow(self, 2)

    def maximum(self, other: Any) -> Tensor:
        return F.maximum(self, other)

    def minimum(self, other: Any) -> Tensor:
        return F.minimum(self, other)

    def clamp(self, min: builtins.float | None = None, max: builtins.float | None = None) -> Tensor:
        return F.clamp(self, min, max)

    def relu(self) -> Tensor:
        return F.relu(self)

    def sigmoid(self) -> Tensor:
        return F.sigmoid(self)

    def tanh(self) -> Tensor:
        return F.tanh(self)

    def softmax(self, dim: int | None = None) -> Tensor:
        return F.softmax(self, dim)

    def log_softmax(self, dim: int | None = None) -> Tensor:
        return F.log_softmax(self, dim)

    def matmul(self, other: Any) -> Tensor:
        return F.matmul(self, other)

    def sum(self, dim: Any = None, keepdim: bool = False) -> Tensor:
        return F.sum(self, dim, keepdim)

    def mean(self, dim: Any = None, keepdim: bool = False) -> Tensor:
        return F.mean(self, dim, keepdim)

    def max(self, dim: int | None = None, keepdim: bool = False) -> Any:
        return F.max(self, dim, keepdim)

    def min(self, dim: int | None = None, keepdim: bool = False) -> Any:
        return F.min(self, dim, keepdim)

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        return F.argmax(self, dim, keepdim)

    def argmin(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        return F.argmin(self, dim, keepdim)

    def reshape(self, *shape: Any) -> Tensor:
        return F.reshape(self, _spread(shape))

    view = reshape  # also where the memory order makes it a copy

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        return F.flatten(self, start_dim, end_dim)

    def squeeze(self, dim: Any = None) -> Tensor:
        return F.squeeze(self, dim)

    def unsqueeze(self, dim: int) -> Tensor:
        return F.unsqueeze(self, dim)

    def permute(self, *dims: Any) -> Tensor:
        return F.permute(self, _spread(dims))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        return F.transpose(self, dim0, dim1)

    def expand(self, *size: Any) -> Tensor:
        return F.expand(self, _spread(size))

    @property
    def T(self) -> Tensor:
        """All axes in reverse: of a matrix, its transpose."""
        return F.permute(self, range(self.data.ndim)[::-1])

    def t(self) -> Tensor:
        """The transpose of a matrix; a vector or a number is itself."""
        if self.data.ndim > 2:
            raise ValueError(f"t: expected a Tensor of at most 2 axes, got shape {self.data.shape}; permute takes more")
        return self.T

    def to(self, dtype: Any) -> Tensor:
        """The same numbers in another dtype (or, with "cpu", as PyTorch users write, itself)."""
        return self if isinstance(dtype, str) and dtype == "cpu" else F.to(self, dtype)

    def cpu(self) -> Tensor:
        """Itself, as PyTorch users write."""
        return self

    def float(self) -> Tensor:
        """As float32."""
        return F.to(self, np.float32)

    def double(self) -> Tensor:
        """As float64."""
        return F.to(self, np.float64)

    def long(self) -> Tensor:
        """As int64."""
        return F.to(self, np.int64)

    def clone(self) -> Tensor:
        """A copy, recorded."""
        return F.to(self, self.data.dtype, copy=True)

    def contiguous(self) -> Tensor:
        """In C-contiguous memory: itself where it is."""
        return F.contiguous(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            raise RuntimeError("deepcopy: only Tensors made by the user can be copied with all they are; use detach().clone()")
        new = type(self)(self.data.copy(order="K"), self.requires_grad)
        memo[id(self)] = new
        if self.grad is not None:
            new.grad = Tensor(self.grad.data.copy(order="K"))
        return new

    def __reduce__(self) -> Any:
        if not self.is_leaf:
            raise RuntimeError("pickle: only Tensors made by the user can be pickled; use detach()")
        return type(self), (self.data, self.requires_grad)

    # the tape

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Compute the gradient of this Tensor with respect to every leaf it came from, and add it to their `grad`.

        Parameters
        ----------
        gradient : array_like, optional
            The gradient with respect to this Tensor; optional for a single element, where it is 1.
        retain_graph : bool
            Keep what the tape saved, for another backward pass. Default: it is freed.

        Raises
        ------
        RuntimeError
            Nothing was recorded; the graph was freed; a value the tape needs was changed in place; no gradient given for many elements.
        """
        if not self.requires_grad:
            raise RuntimeError("backward: this Tensor was not computed from any Tensor that requires a gradient")
        if gradient is None:
            if self.data.size != 1:
                raise RuntimeError(
                    f"backward: a gradient must be given for a Tensor of shape {self.shape}; without one, only for one element"
                )
            g = np.ones_like(self.data)
        else:
            g = np.asarray(_raw(gradient), dtype=self.data.dtype)
            if g.shape != self.data.shape:
                raise RuntimeError(f"backward: expected a gradient of shape {self.shape}, got {g.shape}")
        core.backward(self, g, retain_graph)


def _spread(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """``f(2, 3)`` and ``f((2, 3))`` mean the same."""
    return tuple(values[0]) if len(values) == 1 and isinstance(values[0], (tuple, list)) else values


def _raw(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.data
    if isinstance(x, tuple):
        return tuple(_raw(i) for i in x)
    return x


core.tensors_are(Tensor)


class _Recording(contextlib.ContextDecorator):
    def __init__(self, mode: bool):
        self._mode = mode
        self._tokens: list[Any] = []

    def __enter__(self) -> _Recording:
        self._tokens.append(recording.set(self._mode))
        return self

    def __exit__(self, *exc: object) -> None:
        recording.reset(self._tokens.pop())


def no_grad() -> _Recording:
    """Context manager and decorator: inside, nothing is recorded.

    Examples
    --------
    >>> import lamella
    >>> with lamella.no_grad():
    ...     lamella.is_grad_enabled()
    False
    """
    return _Recording(False)


def enable_grad() -> _Recording:
    """Context manager and decorator: inside, operations are recorded again.

    Examples
    --------
    >>> import lamella
    >>> with lamella.no_grad(), lamella.enable_grad():
    ...     lamella.is_grad_enabled()
    True
    """
    return _Recording(True)


def is_grad_enabled() -> bool:
    """Whether operations on Tensors that require a gradient are recorded here.

    Examples
    --------
    >>> import lamella
    >>> lamella.is_grad_enabled()
    True
    """
    return recording.get()


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A Tensor holding a copy of `data`. Python floats become float32; arrays keep their dtype.

    Parameters
    ----------
    data : array, Tensor, number or nested sequence of numbers
    dtype : numpy dtype, optional
    requires_grad : bool
        Whether `backward` fills its `.grad`.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import lamella
    >>> lamella.tensor([[1.0, 2.0], [3.0, 4.0]]).shape
    (2, 2)
    """
    if isinstance(data, Tensor):
        data = data.data
    array = np.array(data, dtype=dtype)
    if dtype is None and not isinstance(data, (np.ndarray, np.generic)) and array.dtype == np.float64:
        array = array.astype(np.float32)
    return Tensor(array, requires_grad)


def from_numpy(array: np.ndarray) -> Tensor:
    """A Tensor that shares the memory of an array.

    Parameters
    ----------
    array : numpy.ndarray

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError
        Not an array: `lamella.tensor` converts other data.

    Examples
    --------
    >>> import lamella, numpy as np
    >>> array = np.zeros(2, np.float32)
    >>> shared = lamella.from_numpy(array)
    >>> array[0] = 1
    >>> shared
    tensor([1., 0.])
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: expected a numpy.ndarray, got {type(array).__name__}; use lamella.tensor")
    return Tensor(array)
