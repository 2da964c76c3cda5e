"""Saving and loading: safetensors files with JSON beside the arrays. Nothing is ever pickled or unpickled.

A nested structure of dicts, lists, tuples, arrays, numbers, strings and None becomes one file: the arrays as safetensors under the path to them
("optimizer/state/0/exp_avg"; a flat state_dict keeps its names, so that any safetensors reader can use it), everything else as JSON in the
metadata entry "lamella.tree". Files are written beside their place and then moved there, so that a file of that name is whole at any time.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lamella import __version__
from lamella.tensor import Tensor

__all__ = ["load", "load_model", "read_metadata", "save", "save_model", "write_atomically"]

_TREE, _KIND, _MODEL = "lamella.tree", "lamella.kind", "lamella.model"
_CODES = {
    "float16": "F16", "float32": "F32", "float64": "F64", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64",
    "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64", "bool": "BOOL",
}  # fmt: skip
_MARKS = ("$tensor", "$tuple", "$dict")


def write_atomically(path: str | os.PathLike, data: bytes | str) -> None:
    """Write a file so that, whenever the process ends, either the old or the new content is there in whole.

    Parameters
    ----------
    path : str or path
    data : bytes, or str (written as UTF-8)

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder, "a.txt"), "new")
    ...     Path(folder, "a.txt").read_text()
    'new'
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None
        raise


def _encode(value: Any, where: str, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, Tensor):
        value = value.data
    if isinstance(value, np.ndarray):
        if value.dtype.name not in _CODES:
            raise TypeError(f"save: expected numbers or booleans at {where!r}, got an array of {value.dtype}")
        name = where or "array"
        while name in arrays or name == "__metadata__":
            name += "'"
        arrays[name] = np.asarray(value, value.dtype.newbyteorder("<"), order="C")
        return {"$tensor": name}
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, np.generic) and value.dtype.kind in "fiub":
        return _encode(np.asarray(value), where, arrays)
    below = f"{where}/" if where else ""
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and key not in _MARKS for key in value):
            return {key: _encode(item, below + key, arrays) for key, item in value.items()}
        for key in value:
            if not isinstance(key, (str, int)) or isinstance(key, bool):
                raise TypeError(f"save: expected the keys of {where or 'the dict'!r} to be str or int, got {key!r}")
        return {"$dict": [[key, _encode(item, f"{below}{key}", arrays)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        items = [_encode(item, f"{below}{i}", arrays) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    hint = "; pass module.state_dict(), or use lamella.save_model" if hasattr(value, "state_dict") else ""
    raise TypeError(
        f"save: expected arrays, numbers, strings, None, and dicts, lists and tuples of them, got {type(value).__name__} at {where!r}{hint}"
    )


def _decode(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_decode(item, arrays) for item in value]
    if isinstance(value, dict):
        if "$tensor" in value:
            return arrays[value["$tensor"]]
        if "$tuple" in value:
            return tuple(_decode(item, arrays) for item in value["$tuple"])
        if "$dict" in value:
            return {key: _decode(item, arrays) for key, item in value["$dict"]}
        return {key: _decode(item, arrays) for key, item in value.items()}
    return value


def _serialized(arrays: dict[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file: the length of the header, the header as JSON, the arrays, largest element first, so that each is aligned.

    Written here because the library's own writer puts the metadata in an order that changes from run to run: equal trainings leave equal files.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    ordered = sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0]))
    end = 0
    for name, array in ordered:
        header[name] = {"dtype": _CODES[array.dtype.name], "shape": list(array.shape), "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *(array.tobytes() for _, array in ordered)])


def save(obj: Any, path: str | os.PathLike, metadata: Mapping[str, str] | None = None) -> None:
    """Save a state_dict, or any nesting of dicts, lists, tuples, arrays, numbers, strings and None, as one safetensors file.

    Parameters
    ----------
    obj : dict, list, tuple, array or Tensor
    path : str or path
        Replaced in one step: a reader, or a crash, finds the old or the new file in whole.
    metadata : dict of str to str, optional
        More entries for the file's metadata.

    Raises
    ------
    TypeError
        Something that is neither number, string nor array.

    Examples
    --------
    >>> import tempfile, lamella
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     lamella.save({"weight": np.ones(2, np.float32), "epoch": 3}, folder + "/state.safetensors")
    ...     lamella.load(folder + "/state.safetensors")
    {'weight': array([1., 1.], dtype=float32), 'epoch': 3}
    """
    arrays: dict[str, np.ndarray] = {}
    tree = json.dumps(_encode(obj, "", arrays))
    write_atomically(path, _serialized(arrays, {**(metadata or {}), "lamella.version": __version__, _TREE: tree}))


def _damaged(path: Path, error: object) -> ValueError:
    with open(path, "rb") as file:
        start = file.read(8)
    what = "a damaged file, truncated or of another kind"
    if not start:
        what = "an empty file"
    elif start[:2] == b"PK":
        what = "a ZIP archive, as torch.save and numpy.savez write them"
    elif start[:1] == b"\x80":
        what = "a pickle, which lamella never opens"
    return ValueError(f"{path}: expected a safetensors file, got {what} ({error}); write it with lamella.save or safetensors")


class _Foreign(ValueError):
    """A whole file of numbers that cannot be had here."""


def _read(path: Path, arrays: bool = True) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    with open(path, "rb"):
        pass  # a missing file, a folder or a lack of rights: Python's own error
    try:
        with safe_open(str(path), framework="np") as file:
            for name in file.keys() if arrays else ():
                if (code := file.get_slice(name).get_dtype()) not in _CODES.values():
                    raise _Foreign(f"{path}: {name} holds numbers of type {code}, for which NumPy has none; save it as float32")
            return {name: file.get_tensor(name) for name in file.keys()} if arrays else {}, file.metadata() or {}
    except _Foreign:
        raise
    except (SafetensorError, OSError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, error) from None


def _tree(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> Any:
    if _TREE not in metadata:
        return arrays
    try:
        return _decode(json.loads(metadata[_TREE]), arrays)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: expected lamella's description of the arrays, got one that is damaged ({error!r})") from None


def load(path: str | os.PathLike) -> Any:
    """Load what `save` saved; of other safetensors files, the dict of their arrays. Reads data only: no code runs.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    the saved object, Tensors as arrays

    Raises
    ------
    ValueError
        The file is truncated, or not a safetensors file.

    Examples
    --------
    >>> import tempfile, lamella
    >>> model = lamella.nn.Linear(2, 1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     lamella.save(model.state_dict(), folder + "/linear.safetensors")
    ...     model.load_state_dict(lamella.load(folder + "/linear.safetensors"))
    <All keys matched successfully>
    """
    path = Path(path)
    return _tree(path, *_read(path))


def read_metadata(path: str | os.PathLike) -> dict[str, str]:
    """The metadata of a safetensors file, without its arrays.

    Parameters
    ----------
    path : str or path

    Examples
    --------
    >>> import tempfile, lamella
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     lamella.save({}, folder + "/a.safetensors", {"note": "empty"})
    ...     read_metadata(folder + "/a.safetensors")["note"]
    'empty'
    """
    return _read(Path(path), arrays=False)[1]


def save_model(model: Any, path: str | os.PathLike, **description: Any) -> None:
    """Save a model of `lamella.models` with everything it takes to build and use it again.

    Parameters
    ----------
    model : Module
        Made by `lamella.models.create`, or with an attribute ``architecture = {"name": ..., "arguments": {...}}``.
    path : str or path
    **description
        What else to keep, as JSON can hold it: ``classes=[...]``, ``mean=[...]``, ``std=[...]``.

    Raises
    ------
    ValueError
        The model does not say how it was made.

    Examples
    --------
    >>> import tempfile, lamella
    >>> model = lamella.models.create("mlp", image_size=4, num_classes=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     lamella.save_model(model, folder + "/model.safetensors", classes=["cat", "dog"])
    ...     lamella.load_model(folder + "/model.safetensors").description["classes"]
    ['cat', 'dog']
    """
    architecture = getattr(model, "architecture", None)
    if architecture is None:
        raise ValueError(
            f"save_model: {type(model).__name__} does not say how it was made; make it with lamella.models.create, or set "
            "model.architecture = {'name': ..., 'arguments': {...}} and register the name with lamella.models.register"
        )
    entry = json.dumps({"architecture": architecture, **description})
    save(model.state_dict(), path, {_KIND: "model", _MODEL: entry, "format": "pt"})


def load_model(path: str | os.PathLike, create: Callable[..., Any] | None = None) -> Any:
    """Build the model a file describes and load its weights. The model is in evaluation mode.

    Parameters
    ----------
    path : str or path
    create : callable, optional
        ``create(name, **arguments)`` -> Module. Default: `lamella.models.create`.

    Returns
    -------
    Module, with the attribute `description`: what `save_model` was told

    Raises
    ------
    ValueError
        The file is damaged, holds no model, or a model of an unknown name.

    Examples
    --------
    See `save_model`.
    """
    from lamella import models

    path = Path(path)
    arrays, metadata = _read(path)
    if _MODEL not in metadata:
        raise ValueError(
            f"{path}: expected a model saved by lamella.save_model (or by lamella train), got "
            + (
                "a file of lamella.save, as a checkpoint is; use lamella.load"
                if _TREE in metadata
                else "arrays without a description of the model"
            )
        )
    try:
        description = json.loads(metadata[_MODEL])
        architecture = description.pop("architecture")
        model = (create or models.create)(architecture["name"], **architecture["arguments"])
        model.load_state_dict(_tree(path, arrays, metadata))
    except (ValueError, KeyError, TypeError, RuntimeError, AttributeError, OverflowError, MemoryError) as error:
        raise ValueError(f"{path}: expected a model this version of lamella can build, got {error}") from None
    model.description = description
    return model.eval()
