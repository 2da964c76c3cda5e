"""Datasets, their files, and the loader's order, state and threads."""

import gzip
import hashlib
import struct
import threading
from pathlib import Path

import numpy as np
import pytest

import lamella
from lamella.data import DataLoader, Dataset, Subset, TensorDataset, datasets, random_split, transforms
from lamella.tensor import Tensor


def idx(array, code=8):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape) + array.tobytes()


def labels_of(loader):
    return np.concatenate([np.zeros(0, int)] + [y.data for _, y in loader])


def numbers(n=20, **options):
    return DataLoader(TensorDataset(np.arange(n, dtype=np.float32), np.arange(n)), **options)


# loader


def test_batches_cover_everything_once():
    loader = numbers(20, batch_size=6, shuffle=True)
    assert [len(y) for _, y in loader] == [6, 6, 6, 2] and len(loader) == 4
    assert sorted(labels_of(loader)) == list(range(20))
    assert [len(y) for _, y in numbers(20, batch_size=6, drop_last=True)] == [6, 6, 6]
    assert all(isinstance(part, Tensor) for part in next(iter(loader)))


def test_empty_dataset_gives_no_batches():
    assert list(numbers(0, batch_size=4)) == [] and len(numbers(0, batch_size=4)) == 0


def test_order_depends_on_the_seed_and_the_loop_only():
    lamella.manual_seed(3)
    loader = numbers(50, batch_size=7, shuffle=True)
    first, second = labels_of(loader), labels_of(loader)
    assert (first != second).any()
    lamella.manual_seed(3)
    again = numbers(50, batch_size=7, shuffle=True, num_workers=2)
    assert (labels_of(again) == first).all()
    lamella.random.generator()  # draws in between change nothing
    assert (labels_of(again) == second).all()
    own = numbers(50, batch_size=7, shuffle=True, generator=5)
    assert (labels_of(own) == labels_of(numbers(50, batch_size=7, shuffle=True, generator=5))).all()


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("cut", [0, 1, 3, 4])
def test_state_goes_on_with_the_next_batch(workers, cut):
    whole = numbers(20, batch_size=6, shuffle=True, generator=1)
    expected = np.concatenate([labels_of(whole), labels_of(whole)])
    loader = numbers(20, batch_size=6, shuffle=True, generator=1, num_workers=workers)
    walk = iter(loader)
    got = [next(walk)[1].data for _ in range(cut)]
    state = loader.state_dict()
    walk.close()
    other = numbers(20, batch_size=6, shuffle=True, generator=99, num_workers=workers)
    other.load_state_dict(state)
    assert other.state_dict() == state
    got += [labels_of(other), labels_of(other)]
    assert (np.concatenate(got) == expected).all()


def test_a_broken_loop_starts_a_new_one():
    loader = numbers(20, batch_size=6, shuffle=True, generator=1)
    next(iter(loader))
    reference = numbers(20, batch_size=6, shuffle=True, generator=1)
    labels_of(reference)
    assert (labels_of(loader) == labels_of(reference)).all()


class Slow(Dataset):
    def __init__(self, fail_at=-1):
        self.fail_at, self.threads = fail_at, set()

    def __len__(self):
        return 12

    def __getitem__(self, i):
        self.threads.add(threading.current_thread().name)
        if i == self.fail_at:
            raise OSError("no such picture")
        return np.full(3, i, np.float32), i


def test_workers_are_threads_and_keep_the_order():
    dataset = Slow()
    assert (labels_of(DataLoader(dataset, batch_size=5, num_workers=2)) == np.arange(12)).all()
    assert all(name.startswith("lamella-loader") for name in dataset.threads)
    before = threading.active_count()
    walk = iter(DataLoader(dataset, batch_size=1, num_workers=2))
    next(walk)
    walk.close()
    assert threading.active_count() == before


def test_errors_of_workers_are_raised_in_the_loop():
    with pytest.raises(OSError, match="no such picture"):
        list(DataLoader(Slow(fail_at=7), batch_size=2, num_workers=2))


def test_samplers():
    assert [int(y.item()) for _, y in numbers(9, sampler=[4, 2])] == [4, 2]
    assert [y.tolist() for _, y in numbers(9, batch_sampler=[[1, 2], [8]])] == [[1, 2], [8]]


def test_collate():
    class Words(Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return {"word": "ab"[i], "x": 0.5, "y": Tensor(np.ones(2, np.float32))}

    (batch,) = DataLoader(Words(), batch_size=2)
    assert batch["word"] == ["a", "b"] and batch["x"].dtype == np.float32 and batch["y"].shape == (2, 2)

    class Ragged(Words):
        def __getitem__(self, i):
            return np.zeros(i + 1)

    with pytest.raises(ValueError, match="one shape"):
        list(DataLoader(Ragged(), batch_size=2))
    assert list(DataLoader(Ragged(), batch_size=2, collate_fn=len)) == [2]


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"batch_size": 1.5},
        {"num_workers": -1},
        {"shuffle": True, "sampler": [0]},
        {"batch_sampler": [[0]], "drop_last": True},
    ],
)
def test_bad_options(options):
    with pytest.raises(ValueError, match="DataLoader"):
        numbers(4, **options)


def test_datasets_of_arrays():
    with pytest.raises(ValueError, match="one length"):
        TensorDataset(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="single number"):
        TensorDataset(np.float32(1))
    with pytest.raises(ValueError, match="below 3"):
        Subset(TensorDataset(np.zeros(3)), [3])
    parts = random_split(TensorDataset(np.arange(11)), [0.5, 0.25, 0.25], generator=1)
    assert [len(p) for p in parts] == [6, 3, 2]
    assert sorted(int(x) for p in parts for (x,) in p) == list(range(11))
    assert [len(p) for p in random_split(TensorDataset(np.arange(1)), [1])] == [1]
    with pytest.raises(ValueError, match="sum to 11"):
        random_split(TensorDataset(np.arange(11)), [5, 5])


# transforms


def test_transforms():
    images = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.6, 0.7])
    expected = (images / 255 - mean[:, None, None]) / std[:, None, None]
    out = transforms.Normalize(mean, std)(images)
    assert out.dtype == np.float32 and np.abs(out - expected).max() < 1e-6
    both = transforms.Compose([transforms.ToFloat(), transforms.Normalize(mean, std)])(images)
    assert np.abs(both - expected).max() < 1e-6
    for bad in (
        lambda: transforms.Normalize([0.1, 0.2], [1, 1])(images),
        lambda: transforms.Normalize(0, 0),
        lambda: transforms.Normalize([0, 0], 1),
    ):
        with pytest.raises(ValueError, match="Normalize"):
            bad()
    with pytest.raises(TypeError, match="int64"):
        transforms.ToFloat()(np.zeros(3, np.int64))


# files


def test_embedded():
    for train, count in ((True, 600), (False, 100)):
        dataset = datasets.EmbeddedFashionMNIST(train=train)
        assert (np.bincount(dataset.labels) == count).all() and dataset.images.shape == (10 * count, 1, 28, 28)
        assert len({image.tobytes() for image in dataset.images}) > 0.99 * len(dataset)
    image, label = dataset[0]
    assert image.dtype == np.float32 and 0 <= image.min() < image.max() <= 1 and dataset.classes[label] == "Ankle boot"
    licence = (Path(lamella.data.__file__).parent / "embedded" / "LICENSE-fashion-mnist").read_text()
    assert "MIT License" in licence and "Zalando" in licence


def test_real_files_are_the_published_ones():
    try:
        real = datasets.FashionMNIST(train=False, transform=None)
    except FileNotFoundError:
        pytest.skip("Fashion-MNIST is not installed")
    digest = hashlib.sha256(idx(real.images[:, 0])).hexdigest()
    assert digest == "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
    embedded = datasets.EmbeddedFashionMNIST(train=False, transform=None)
    chosen = np.sort(np.concatenate([np.flatnonzero(real.labels == c)[:100] for c in range(10)]))
    assert (real.images[chosen] == embedded.images).all() and (real.labels[chosen] == embedded.labels).all()


@pytest.mark.parametrize("code, dtype", [(8, ">u1"), (9, ">i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_types(tmp_path, code, dtype, packed):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    data = idx(array, code)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(data) if packed else data)
    out = datasets.read_idx(path, 3)
    assert out.dtype.isnative and out.dtype == np.dtype(dtype).newbyteorder("=") and (out == array).all()


GOOD = idx(np.zeros((5, 4, 4), np.uint8))
HUGE = struct.pack(">BBBB3I", 0, 0, 8, 3, 2**31, 2**31, 2**31)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "empty file"),
        (b"\0\0", "IDX"),
        (b"\x89PNG\r\n\x1a\n....", "IDX"),
        (b"\0\0\x08\x03\0\0", "end of the file"),
        (GOOD[:-1], "expected 80 bytes .* got 79"),
        (GOOD + b"\0", "expected 80 bytes"),
        (HUGE, "expected .* bytes of data"),
        (idx(np.zeros(5, np.uint8)), "images with 3 axes, got 1"),
    ],
    ids=["empty", "short", "png", "header", "truncated", "long", "huge", "labels"],
)
def test_bad_idx(tmp_path, data, message, packed):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(ValueError, match=message) as error:
        datasets.read_idx(path, 3)
    assert str(path) in str(error.value)


def test_damaged_gzip(tmp_path):
    path = tmp_path / "file.gz"
    data = gzip.compress(idx(np.random.default_rng(0).integers(0, 255, (50, 9, 9), np.uint8)))
    for bad in (data[: len(data) // 2], data[:100] + b"\xff" * 50 + data[150:]):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match="damaged"):
            datasets.read_idx(path)


def test_folders(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "t10k-images-idx3-ubyte").write_bytes(idx(rng.integers(0, 255, (7, 28, 28), np.uint8)))
    (raw / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(rng.integers(0, 10, 7, np.uint8))))
    assert len(datasets.MNIST(tmp_path, train=False)) == len(datasets.MNIST(raw, train=False)) == 7
    with pytest.raises(FileNotFoundError, match="download=True"):
        datasets.MNIST(tmp_path, train=True)
    monkeypatch.setenv("LAMELLA_CACHE_DIR", str(tmp_path / "nothing"))
    with pytest.raises(FileNotFoundError, match="nothing"):
        datasets.MNIST()
    (raw / "t10k-labels-idx1-ubyte.gz").write_bytes(idx(np.zeros(6, np.uint8)))
    with pytest.raises(ValueError, match="7 and 6"):
        datasets.MNIST(raw, train=False)
    (raw / "t10k-labels-idx1-ubyte.gz").write_bytes(idx(np.full(7, 10, np.uint8)))
    with pytest.raises(ValueError, match="labels from 0 to 9"):
        datasets.MNIST(raw, train=False)


def test_download_asks_pooch_with_a_checksum(tmp_path, monkeypatch):
    pooch = pytest.importorskip("pooch")
    asked = []

    def retrieve(url, known_hash, fname, path):
        asked.append((url, known_hash))
        data = np.zeros((3, 28, 28) if "images" in fname else 3, np.uint8)
        path.mkdir(parents=True, exist_ok=True)
        (path / fname).write_bytes(gzip.compress(idx(data)))
        return str(path / fname)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert len(datasets.FashionMNIST(tmp_path / "new", download=True)) == 3
    assert [url.rpartition("/")[2] for url, _ in asked] == ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]
    assert all(known.startswith("sha256:") and len(known) == 71 for _, known in asked)


@pytest.mark.parametrize(
    "arguments", [(np.zeros((3, 4, 4), np.uint8), [0, 1, 2]), (np.zeros((3, 1, 4, 4)), [0, 1]), (np.zeros((1, 1, 4, 4)), [0.5])]
)
def test_bad_images(arguments):
    with pytest.raises(ValueError, match="ImageDataset"):
        datasets.ImageDataset(*arguments)
