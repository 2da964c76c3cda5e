"""Saving and loading: what comes back, what other programs read, damaged and foreign files, interrupted writing."""

import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
import safetensors.numpy

import lamella
from lamella import models, serialization
from lamella.tensor import Tensor

TREE = {
    "weights": {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "a/b": np.float32(0.1)},
    "state": {0: {"step": np.array(3.0, np.float32)}, 1: {}},
    "list": [1, 2.5, None, True, "text", [np.zeros((0, 3), np.int8)], (1, (2.0, "x"))],
    "numbers": [2**63 + 1, float("inf"), float("-inf"), 0.1 + 0.2, -0.0],
    "$tensor": "a key like a mark",
    "empty": {},
    "unicode": "żółć 🙂",
    "mask": np.array([True, False]),
}


def same(a, b):
    if isinstance(a, Tensor):
        a = a.data
    if isinstance(a, (np.ndarray, np.generic)):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b)


def test_everything_comes_back(tmp_path):
    path = tmp_path / "tree.safetensors"
    lamella.save(TREE, path)
    assert same(TREE, lamella.load(path))
    assert os.listdir(tmp_path) == ["tree.safetensors"]
    nan = lamella.load(path)
    lamella.save([float("nan")], path)
    assert np.isnan(lamella.load(path)[0]) and nan


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1),
        np.arange(12.0)[::-2],
        np.arange(3, dtype=">f8"),
        np.float16([1, 2]),
        np.array(5, np.uint64),
        np.broadcast_to(np.float32(1), (2, 2)),
    ],
    ids=["transposed", "negative stride", "byte-swapped", "half", "0-d", "broadcast"],
)
def test_any_memory_order(tmp_path, array):
    lamella.save(array, tmp_path / "a")
    out = lamella.load(tmp_path / "a")
    assert (out == array).all() and out.shape == array.shape and out.dtype.isnative


def test_every_type_is_read_by_the_library(tmp_path):
    arrays = {name: np.arange(5).astype(name) for name in serialization._CODES}
    lamella.save(arrays, tmp_path / "a", {"note": "x"})
    plain = safetensors.numpy.load_file(tmp_path / "a")
    assert all(plain[name].dtype == name and (plain[name] == array).all() for name, array in arrays.items())
    first = (tmp_path / "a").read_bytes()
    lamella.save(arrays, tmp_path / "a", {"note": "x"})
    assert (tmp_path / "a").read_bytes() == first


def test_state_dicts_are_plain_safetensors_both_ways(tmp_path):
    model = lamella.nn.Linear(3, 2)
    lamella.save(model.state_dict(), tmp_path / "ours")
    plain = safetensors.numpy.load_file(tmp_path / "ours")
    assert sorted(plain) == ["bias", "weight"] and (plain["weight"] == model.weight.data).all()
    safetensors.numpy.save_file(plain, tmp_path / "theirs")
    other = lamella.nn.Linear(3, 2)
    other.load_state_dict(lamella.load(tmp_path / "theirs"))
    assert (other.weight.data == model.weight.data).all()


def test_mode_of_the_file_follows_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        lamella.save({}, tmp_path / "a")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"a": object()}, "got object at 'a'"),
        ({"a": [{1, 2}]}, "got set at 'a/0'"),
        ({1.5: 1}, "keys"),
        (np.array(["x"]), "array of <U1"),
        (np.array([1j]), "complex128"),
    ],
)
def test_what_cannot_be_saved(tmp_path, bad, message):
    with pytest.raises(TypeError, match=message):
        lamella.save(bad, tmp_path / "a")
    assert not os.listdir(tmp_path)


def test_a_module_is_not_a_state(tmp_path):
    with pytest.raises(TypeError, match=r"state_dict\(\)"):
        lamella.save(lamella.nn.Linear(1, 1), tmp_path / "a")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    lamella.save({"x": 1}, path)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        lamella.save({"x": 2}, path)
    assert lamella.load(path) == {"x": 1} and os.listdir(tmp_path) == ["a"]


def damaged(tmp_path):
    lamella.save({"x": np.arange(100.0), "y": [np.ones(3)]}, tmp_path / "good")
    data = (tmp_path / "good").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    yield "empty", b""
    yield "short", data[:5]
    yield "header", data[: 8 + size // 2]
    yield "truncated", data[:-1]
    yield "longer", data + b"\0" * 8
    yield "huge header", struct.pack("<Q", 2**62) + data[8:]
    yield "text", b"hello, this is no safetensors file at all"
    yield "pickle", pickle.dumps({"x": 1})
    (tmp_path / "z").unlink(missing_ok=True)
    with zipfile.ZipFile(tmp_path / "z", "w") as file:
        file.writestr("data.pkl", "x")
    yield "zip", (tmp_path / "z").read_bytes()
    for name, change in (
        ("tree", {"__metadata__": {"lamella.tree": "{"}}),
        ("missing array", {"__metadata__": {"lamella.tree": '{"a": {"$tensor": "nothing"}}'}}),
        ("deep", {"__metadata__": {"lamella.tree": "[" * 100000}}),
    ):
        text = json.dumps({**header, **change}).encode()
        yield name, struct.pack("<Q", len(text)) + text + data[8 + size :]
    for name, spec in (("overlap", {"data_offsets": [0, 8]}), ("size", {"shape": [2**40]}), ("type", {"dtype": "F99"})):
        first = next(key for key in header if key != "__metadata__")
        text = json.dumps({**header, first: {**header[first], **spec}}).encode()
        yield name, struct.pack("<Q", len(text)) + text + data[8 + size :]


def test_damaged_files(tmp_path):
    for name, data in list(damaged(tmp_path)):
        path = tmp_path / "bad.safetensors"
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"bad\.safetensors: expected") as error:
            pytest.fail(f"{name}: {lamella.load(path)}")
        assert "\n" not in str(error.value), name
    with pytest.raises(FileNotFoundError):
        lamella.load(tmp_path / "nothing")
    with pytest.raises(IsADirectoryError):
        lamella.load(tmp_path)


def test_types_that_numpy_lacks_are_named(tmp_path):
    for code, size in (("BF16", 2), ("F8_E4M3", 1)):
        header = json.dumps({"w": {"dtype": code, "shape": [2], "data_offsets": [0, 2 * size]}}).encode()
        (tmp_path / "f").write_bytes(struct.pack("<Q", len(header)) + header + bytes(2 * size))
        with pytest.raises(ValueError, match=f"w holds numbers of type {code}, for which NumPy has none"):
            lamella.load(tmp_path / "f")


def test_a_model_too_large_for_this_machine_is_refused(tmp_path):
    entry = {"architecture": {"name": "mlp", "arguments": {"image_size": 10**7}}}
    lamella.save({}, tmp_path / "f", {"lamella.model": json.dumps(entry)})
    with pytest.raises(ValueError, match="expected a model this version of lamella can build, got Unable to allocate"):
        lamella.load_model(tmp_path / "f")


def test_every_truncation_is_noticed(tmp_path):
    lamella.save({"x": np.arange(9.0)}, tmp_path / "good")
    data = (tmp_path / "good").read_bytes()
    for n in range(0, len(data), 7):
        (tmp_path / "bad").write_bytes(data[:n])
        with pytest.raises(ValueError, match="bad: expected"):
            lamella.load(tmp_path / "bad")


# models


@pytest.mark.parametrize("name", models.names())
def test_models_come_back(tmp_path, name):
    lamella.manual_seed(1)
    model = models.create(name, in_channels=2, num_classes=3, image_size=(14, 16)).eval()
    x = np.random.default_rng(0).random((2, 2, 14, 16), np.float32)
    lamella.save_model(model, tmp_path / "m", classes=["a", "b", "c"], mean=[0.5, 0.5], std=[1.0, 2.0])
    other = lamella.load_model(tmp_path / "m")
    assert not other.training and other.description == {"classes": ["a", "b", "c"], "mean": [0.5, 0.5], "std": [1.0, 2.0]}
    assert (other(x).data == model(x).data).all()
    assert serialization.read_metadata(tmp_path / "m")["lamella.version"] == lamella.__version__


def test_what_is_no_model(tmp_path):
    with pytest.raises(ValueError, match="does not say how it was made"):
        lamella.save_model(lamella.nn.Linear(1, 1), tmp_path / "m")
    lamella.save({"a": 1}, tmp_path / "m")
    with pytest.raises(ValueError, match="use lamella.load"):
        lamella.load_model(tmp_path / "m")
    model = models.create("mlp", image_size=4)
    model.architecture = {"name": "vit", "arguments": {}}
    lamella.save_model(model, tmp_path / "m")
    with pytest.raises(ValueError, match="no model 'vit'"):
        lamella.load_model(tmp_path / "m")
    model.architecture = {"name": "mlp", "arguments": {"image_size": 5}}
    lamella.save_model(model, tmp_path / "m")
    with pytest.raises(ValueError, match="size mismatch"):
        lamella.load_model(tmp_path / "m")


def test_bad_model_arguments():
    with pytest.raises(ValueError, match="there are mlp, lenet"):
        models.create("alexnet")
    with pytest.raises(ValueError, match="at least 12 x 12, got 11 x 28"):
        models.create("lenet", image_size=(11, 28))
    with pytest.raises(TypeError):
        models.create("mlp", channels=3)
