"""Module, the base of all layers and networks, and Parameter."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from lamella.tensor import FLOATS, Tensor

__all__ = ["Module", "Parameter"]


class Parameter(Tensor):
    """A Tensor that a Module counts among its parameters, and that requires a gradient unless told otherwise.

    Parameters
    ----------
    data : array_like
        The memory of a Tensor or ndarray is shared.
    requires_grad : bool

    Examples
    --------
    >>> Parameter([1.0, 2.0])
    Parameter containing:
    tensor([1., 2.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True):
        super().__init__(data, requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` found missing and unexpected."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class Handle:
    """What a `register_*_hook` returns; `remove` takes the hook away."""

    def __init__(self, hooks: dict[int, Any], hook: Any):
        self._hooks = hooks
        hooks[id(self)] = hook

    def remove(self) -> None:
        self._hooks.pop(id(self), None)


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")


def _blame(outer: Module, error: Exception) -> None:
    """Make the message of `error`, raised inside `outer`, begin with the name and repr of the innermost layer it came from.

    Every Module that the error passes on its way out rewrites it; the outermost, which knows the whole name, does so last.
    """
    record = getattr(error, "_lamella_layer", None)
    if record is None:
        if len(error.args) != 1 or not isinstance(error.args[0], str):
            return  # an exception that builds its own text
        record = (outer, error.args[0])
        error._lamella_layer = record  # type: ignore[attr-defined]
    layer, text = record
    what = type(layer).__name__ if layer._modules else repr(layer)
    name = next((name for name, module in outer.named_modules() if module is layer), "")
    error.args = (f"{name} ({what}): {text}" if name else f"{what}: {text}",)


class Module:
    """Base of all layers and networks.

    A subclass creates its parameters and children in ``__init__``, after ``super().__init__()``, as plain attributes, and computes in
    ``forward``. Parameters, buffers and children are found by their attribute's name.

    Notes
    -----
    Names, order and behaviour are PyTorch's, so a PyTorch ``state_dict`` whose values are NumPy arrays loads unrenamed. A ValueError,
    TypeError or RuntimeError raised inside a layer leaves the outermost Module as the same exception, its message opened by the name
    and repr of the layer.

    Examples
    --------
    >>> import lamella
    >>> class Net(lamella.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.fc = lamella.nn.Linear(4, 2)
    ...     def forward(self, x):
    ...         return lamella.functional.relu(self.fc(x))
    >>> net = Net()
    >>> net
    Net(
      (fc): Linear(in_features=4, out_features=2, bias=True)
    )
    >>> [name for name, _ in net.named_parameters()]
    ['fc.weight', 'fc.bias']
    >>> net(lamella.zeros(3, 5))
    Traceback (most recent call last):
        ...
    ValueError: fc (Linear(in_features=4, out_features=2, bias=True)): linear: expected input with 4 features (its last axis), as weight (2, 4) has; got shape (3, 5)
    """

    training: bool
    _frozen = False  # set by lamella.nn.utils.freeze where statistics have to stay: in evaluation mode whatever `train` says
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _not_persistent: set[str]
    _forward_hooks: dict[int, Callable[[Module, tuple[Any, ...], Any], Any]]

    def __init__(self) -> None:
        for name, value in (
            ("training", True),
            ("_parameters", {}),
            ("_buffers", {}),
            ("_modules", {}),
            ("_not_persistent", set()),
            ("_forward_hooks", {}),
        ):
            object.__setattr__(self, name, value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the Module computes; every subclass defines it."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            out = self.forward(*args, **kwargs)
        except (ValueError, TypeError, RuntimeError) as error:
            _blame(self, error)
            raise
        if self._forward_hooks:
            for hook in list(self._forward_hooks.values()):
                changed = hook(self, args, out)
                if changed is not None:
                    out = changed
        return out

    def register_forward_hook(self, hook: Callable[[Module, tuple[Any, ...], Any], Any]) -> Handle:
        """Call ``hook(module, args, output)`` after every `forward`; what it returns, unless None, replaces the output."""
        return Handle(self._forward_hooks, hook)

    # attributes

    def __getattr__(self, name: str) -> Any:
        for kind in ("_parameters", "_buffers", "_modules"):
            found = self.__dict__.get(kind)
            if found is not None and name in found:
                return found[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        parameters = self.__dict__.get("_parameters")
        if isinstance(value, (Parameter, Module)):
            if parameters is None:
                kind = "parameters" if isinstance(value, Parameter) else "modules"
                raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
            keep: dict[str, Any] = parameters if isinstance(value, Parameter) else self._modules
            if name not in keep:
                self._forget(name)
            keep[name] = value
        elif parameters is not None and name in parameters:
            if value is not None:
                raise TypeError(f"cannot assign '{type(value).__name__}' as parameter '{name}' (lamella.nn.Parameter or None expected)")
            parameters[name] = None
        elif parameters is not None and name in self._modules:
            if value is not None:
                raise TypeError(f"cannot assign '{type(value).__name__}' as child module '{name}' (lamella.nn.Module or None expected)")
            self._modules[name] = None
        elif parameters is not None and name in self._buffers:
            self._buffers[name] = self._buffer(name, value)
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if name in self._parameters or name in self._buffers or name in self._modules:
            self._forget(name)
        else:
            object.__delattr__(self, name)

    def _forget(self, name: str) -> None:
        for kind in (self.__dict__, self._parameters, self._buffers, self._modules):
            kind.pop(name, None)
        self._not_persistent.discard(name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def _checked_name(self, name: str, kind: str, where: Mapping[str, Any]) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and name not in where:
            raise KeyError(f"attribute '{name}' already exists")

    @staticmethod
    def _buffer(name: str, value: Any) -> Tensor | None:
        if isinstance(value, np.ndarray):
            return Tensor(value)
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(f"cannot assign '{type(value).__name__}' as buffer '{name}' (lamella.Tensor, numpy.ndarray or None expected)")
        return value

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter; None keeps the name for a layer that goes without, like the bias of ``Linear(..., bias=False)``."""
        self._checked_name(name, "parameter", self.__dict__.get("_parameters", {}))
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"cannot assign '{type(param).__name__}' object to parameter '{name}' (lamella.nn.Parameter or None required)")
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | np.ndarray | None, persistent: bool = True) -> None:
        """Add a Tensor that is part of the state but not trained, like the running mean of a batch norm.

        Parameters
        ----------
        name : str
        tensor : Tensor, ndarray or None
        persistent : bool
            Whether it is part of the ``state_dict``.
        """
        self._checked_name(name, "buffer", self.__dict__.get("_buffers", {}))
        self._buffers[name] = self._buffer(name, tensor)
        (self._not_persistent.discard if persistent else self._not_persistent.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child under a name."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._checked_name(name, "module", self.__dict__.get("_modules", {}))
        self._modules[name] = module

    register_module = add_module

    # what is inside

    def named_modules(self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """This Module and all below it with their dotted names, each once."""
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        if remove_duplicate:
            memo.add(id(self))
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This Module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The Modules directly below this one."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        return (module for _, module in self.named_children())

    def _named(self, kind: str, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for where, module in modules:
            for name, tensor in getattr(module, kind).items():
                if tensor is not None and id(tensor) not in seen:
                    if remove_duplicate:
                        seen.add(id(tensor))
                    yield f"{where}.{name}" if where else name, tensor

    def named_parameters(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their dotted names, each once."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once: what an optimizer takes."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator[tuple[str, Tensor]]:
        """All buffers with their dotted names, each once."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The Module of a dotted name, e.g. "layer1.0.conv1"; "" is this one."""
        module = self
        for name in target.split(".") if target else []:
            child = module._modules.get(name)
            if child is None:
                raise AttributeError(f"{type(module).__name__} has no child module `{name}` (looking for {target!r})")
            module = child
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of a dotted name."""
        path, _, name = target.rpartition(".")
        found = self.get_submodule(path)._parameters.get(name)
        if found is None:
            raise AttributeError(f"{type(self).__name__} has no parameter {target!r}")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """The buffer of a dotted name."""
        path, _, name = target.rpartition(".")
        found = self.get_submodule(path)._buffers.get(name)
        if found is None:
            raise AttributeError(f"{type(self).__name__} has no buffer {target!r}")
        return found

    # all at once

    def apply(self, fn: Callable[[Module], Any]) -> Any:
        """Call ``fn(module)`` on every Module inside, children first, then this one. Returns self."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Any:
        """Set training mode, which matters to dropout and batch norm, here and below. Returns self."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode and not self._frozen
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Any:
        """Set evaluation mode: ``train(False)``."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Train all parameters, or freeze them. Returns self."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or set them to zero."""
        for parameter in self.parameters():
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad.zero_()

    def to(self, dtype: Any) -> Any:
        """Convert all floating parameters and buffers to float32 or float64, in place. Returns self.

        "cpu", which PyTorch users write, is accepted and changes nothing.
        """
        if isinstance(dtype, str) and dtype == "cpu":
            return self
        try:
            wanted = np.dtype(dtype)
        except TypeError:
            raise TypeError(f"to: expected float32 or float64, got {dtype!r}") from None
        if wanted not in FLOATS:
            raise TypeError(f"to: expected float32 or float64, got {wanted}")
        for tensor in itertools.chain(self.parameters(), self.buffers()):
            if tensor.data.dtype in FLOATS and tensor.data.dtype != wanted:
                tensor.data = tensor.data.astype(wanted)
                tensor._version[0] += 1
                if tensor.grad is not None:
                    tensor.grad = Tensor(tensor.grad.data.astype(wanted))
        return self

    def double(self) -> Any:
        """Convert to float64. Returns self."""
        return self.to(np.float64)

    def float(self) -> Any:
        """Convert to float32. Returns self."""
        return self.to(np.float32)

    # state

    def state_dict(self, prefix: str = "", keep_vars: bool = False) -> dict[str, Tensor]:
        """All parameters and persistent buffers by dotted name, as detached Tensors that share memory with the Module.

        Examples
        --------
        >>> import lamella
        >>> {name: value.shape for name, value in lamella.nn.Linear(3, 2).state_dict().items()}
        {'weight': (2, 3), 'bias': (2,)}
        """
        state: dict[str, Tensor] = {}
        for where, module in self.named_modules(prefix=prefix.removesuffix("."), remove_duplicate=False):
            for name, tensor in module._state():
                state[f"{where}.{name}" if where else name] = tensor if keep_vars else tensor.detach()
        return state

    def _state(self) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in itertools.chain(self._parameters.items(), self._buffers.items()):
            if tensor is not None and name not in self._not_persistent:
                yield name, tensor

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy values into the parameters and buffers of the same names.

        Parameters
        ----------
        state_dict : mapping of str to Tensor or array
            Values are converted to the dtype of what they fill.
        strict : bool
            Whether missing and unexpected names are an error.

        Returns
        -------
        IncompatibleKeys, with `missing_keys` and `unexpected_keys`

        Raises
        ------
        RuntimeError
            Names or shapes differ; every difference is listed, and nothing has been changed.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        own = self.state_dict(keep_vars=True)
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        errors = []
        copies = []
        for name, tensor in own.items():
            if name in state_dict:
                value = state_dict[name]
                value = value.data if isinstance(value, Tensor) else np.asarray(value)
                if value.dtype.kind not in "fiub":
                    errors.append(f"{name}: expected an array of numbers, got {type(state_dict[name]).__name__} ({value.dtype}).")
                elif value.shape != tensor.shape and not (value.shape == (1,) and tensor.shape == ()):
                    errors.append(
                        f"size mismatch for {name}: copying a param with shape {value.shape} from checkpoint, "
                        f"the shape in current model is {tensor.shape}."
                    )
                else:
                    copies.append((tensor, value.reshape(tensor.shape)))
        if strict and unexpected:
            errors.insert(0, "Unexpected key(s) in state_dict: {}. ".format(", ".join(f'"{name}"' for name in unexpected)))
        if strict and missing:
            errors.insert(0, "Missing key(s) in state_dict: {}. ".format(", ".join(f'"{name}"' for name in missing)))
        if errors:
            raise RuntimeError("Error(s) in loading state_dict for {}:\n\t{}".format(type(self).__name__, "\n\t".join(errors)))
        for tensor, value in copies:
            np.copyto(tensor.data, value, casting="unsafe")
            tensor._version[0] += 1
        return IncompatibleKeys(missing, unexpected)

    # how it looks

    def extra_repr(self) -> str:
        """What stands between the parentheses of the repr; layers override it."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        if len(lines) == 1 and not self._modules:
            return f"{self._get_name()}({extra})"
        lines += [f"({name}): {_indent(repr(module))}" for name, module in self._modules.items()]
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)" if lines else f"{self._get_name()}()"
