"""Tables, CIFAR files and folders of pictures; what is damaged, foreign or dangerous is refused."""

import pickle
import sqlite3
import struct
import zipfile

import numpy as np
import pytest

from lamella.data import DataLoader, datasets, read_picture, read_table, write_table

COLUMNS = {"width": np.array([0.5, np.nan, -3.0]), "count": np.array([1, -2, 3]), "kind": np.array(["a", "b, c", 'say "d"'])}


def same(a, b):
    return list(a) == list(b) and all(
        x.dtype.kind == y.dtype.kind and np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(a.values(), b.values())
    )


@pytest.mark.parametrize("suffix", [".csv", ".json", ".db", ".sqlite3", ".npz"])
def test_tables_come_back(tmp_path, suffix):
    write_table(COLUMNS, tmp_path / f"t{suffix}")
    assert same(read_table(tmp_path / f"t{suffix}"), COLUMNS)
    write_table(read_table(tmp_path / f"t{suffix}"), tmp_path / "other.csv")
    assert same(read_table(tmp_path / "other.csv"), COLUMNS)


def test_json_of_lists_and_missing_keys(tmp_path):
    (tmp_path / "a.json").write_text('{"x": [1, null], "y": ["a", "b"]}')
    assert same(read_table(tmp_path / "a.json"), {"x": np.array([1.0, np.nan]), "y": np.array(["a", "b"])})
    (tmp_path / "b.json").write_text('[{"x": 1}, {"x": 2, "y": 3.5}]')
    assert same(read_table(tmp_path / "b.json"), {"x": np.array([1, 2]), "y": np.array([np.nan, 3.5])})


def test_databases(tmp_path):
    path = tmp_path / "two.db"
    write_table({"a": [1]}, path, table="first")
    write_table({"a": [2]}, path, table='odd "name"; DROP TABLE first')
    assert read_table(path, 'odd "name"; DROP TABLE first')["a"] == [2] and read_table(path, "first")["a"] == [1]
    with pytest.raises(ValueError, match="its name as table="):
        read_table(path)
    with pytest.raises(ValueError, match="got 'third'"):
        read_table(path, "third")


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "empty one"),
        ("a.csv", "x,y\n1,2\n3\n", "got 1 in row 3"),
        ("a.csv", "x,x\n1,2\n", "different names"),
        ("a.csv", b"x\n\xff\n", "damaged"),
        ("a.json", "{", "damaged"),
        ("a.json", "[1, 2]", "list of objects"),
        ("a.json", '{"x": [1], "y": [1, 2]}', "one length"),
        ("a.json", '{"x": [[1]]}', "numbers and text"),
        ("a.db", b"not a database, but long enough to look like a file" * 20, "SQLite"),
        ("a.npz", b"PK", "damaged"),
        ("a.pkl", pickle.dumps({"x": 1}), "may run any program"),
        ("a.xlsx", b"", "ends in .csv"),
    ],
)
def test_bad_tables(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message) as error:
        read_table(write(tmp_path / name, text))
    assert name in str(error.value)


def test_npz_is_checked_before_memory_is_taken(tmp_path):
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="may run any program"):
        read_table(tmp_path / "objects.npz")
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(8))
    with pytest.raises(ValueError, match="expected 8000000000000 bytes"):
        read_table(tmp_path / "huge.npz")
    np.savez_compressed(tmp_path / "good.npz", a=np.asfortranarray(np.arange(6).reshape(2, 3)), b=np.float32(1))
    found = read_table(tmp_path / "good.npz")
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]] and found["b"] == 1


def test_pickles_and_objects_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="pickle"):
        write_table({"x": [1]}, tmp_path / "a.pkl")
    with pytest.raises(ValueError, match="pickled"):
        write_table({"x": [object()]}, tmp_path / "a.npz")
    with pytest.raises(ValueError, match="one length"):
        write_table({"x": [1], "y": [1, 2]}, tmp_path / "a.csv")
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.csv")


# CIFAR


def cifar_file(path, count, labels=1, seed=0):
    data = np.random.default_rng(seed).integers(0, 256, (count, labels + 3072)).astype(np.uint8)
    data[:, :labels] %= 10
    path.parent.mkdir(exist_ok=True)
    data.tofile(path)
    return data


def test_cifar(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    made = [cifar_file(folder / f"data_batch_{i}.bin", 4, seed=i) for i in range(1, 6)]
    cifar_file(folder / "test_batch.bin", 3)
    images = datasets.CIFAR10(tmp_path, transform=None)
    whole = np.concatenate(made)
    assert len(images) == 20 and images.images.shape == (20, 3, 32, 32) and (images.labels == whole[:, 0]).all()
    assert (images.images[7, 1, 2, 3] == whole[7, 1 + 1024 + 2 * 32 + 3]).all()  # planes of red, green and blue
    assert len(datasets.CIFAR10(folder, train=False)) == 3 and images.classes[3] == "cat"
    cifar_file(tmp_path / "cifar-100-binary" / "train.bin", 5, 2)
    (tmp_path / "cifar-100-binary" / "fine_label_names.txt").write_text("\n".join(f"class{i}" for i in range(100)))
    fine = datasets.CIFAR100(tmp_path)
    assert len(fine) == 5 and fine.classes[99] == "class99"


def test_bad_cifar(tmp_path):
    with pytest.raises(FileNotFoundError, match="data_batch_1.bin"):
        datasets.CIFAR10(tmp_path)
    with pytest.raises(ValueError, match="no whole number"):
        datasets.read_cifar(write(tmp_path / "a.bin", bytes(3072)))
    with pytest.raises(ValueError, match="may run any program"):
        datasets.read_cifar(write(tmp_path / "data_batch_1", pickle.dumps({b"data": 1})))
    with pytest.raises(ValueError, match="no whole number"):
        datasets.read_cifar(write(tmp_path / "b.bin", b""))


# pictures


def test_image_folder(tmp_path):
    Image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, 6, 5, 3)).astype(np.uint8)
    for i, name in enumerate(("cat/b.png", "cat/deep/a.png", "dog/c.png")):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[i]).save(path)
    write(tmp_path / "photos" / "cat" / "notes.txt", "no picture")
    folder = datasets.ImageFolder(tmp_path / "photos", transform=None)
    assert folder.classes == ["cat", "dog"] and folder.labels.tolist() == [0, 0, 1] and folder.image_size == (6, 5)
    images, labels = folder.gather(np.array([2, 0]))
    assert (images == np.moveaxis(pixels[[2, 0]], -1, 1)).all() and labels.tolist() == [1, 0]
    batch, _ = next(iter(DataLoader(datasets.ImageFolder(tmp_path / "photos", size=(4, 4), channels=1), 3)))
    assert batch.shape == (3, 1, 4, 4) and batch.data.dtype == np.float32
    Image.fromarray(pixels[0][:3]).save(tmp_path / "photos" / "dog" / "d.png")
    with pytest.raises(ValueError, match="one size"):
        datasets.ImageFolder(tmp_path / "photos").gather(np.arange(4))
    write(tmp_path / "photos" / "dog" / "e.png", b"\x89PNG but not really")
    with pytest.raises(ValueError, match=r"e\.png: expected a picture"):
        datasets.ImageFolder(tmp_path / "photos")[4]


def test_paths_that_leave_their_folder(tmp_path):
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    secret = write(tmp_path / "secret.png", b"x")
    for name in ("../secret.png", str(secret), "cat/../../secret.png"):
        with pytest.raises(ValueError, match="inside"):
            datasets.ImageFiles(tmp_path / "photos", [name], [0])
    (tmp_path / "photos" / "cat" / "link.png").symlink_to(secret)
    with pytest.raises(ValueError, match="outside of it"):
        datasets.ImageFolder(tmp_path / "photos")
    with pytest.raises(FileNotFoundError, match="one folder per class"):
        datasets.ImageFolder(tmp_path / "nothing")
    (tmp_path / "photos" / "cat" / "link.png").unlink()
    with pytest.raises(FileNotFoundError, match="found none"):
        datasets.ImageFolder(tmp_path / "photos")
    with pytest.raises(ValueError, match="integers as labels"):
        datasets.ImageFiles(tmp_path, [secret.name], [0.5])


def test_picture_size_is_checked_before_decoding(tmp_path, monkeypatch):
    Image = pytest.importorskip("PIL.Image")
    from lamella.data import pictures

    Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr(pictures, "MOST_PIXELS", 599)
    with pytest.raises(ValueError, match="at most 599 pixels, got 30 x 20"):
        read_picture(tmp_path / "a.png")


def test_pictures_of_floats(tmp_path):
    Image = pytest.importorskip("PIL.Image")
    grey = np.linspace(0, 1, 30, dtype=np.float32).reshape(5, 6)
    for scale in (1, 255):
        Image.fromarray(grey * scale).save(tmp_path / "a.tiff")
        np.testing.assert_array_equal(read_picture(tmp_path / "a.tiff", 1)[0], (grey * 255).round())
    for wrong in (grey - 1, grey * 1000, grey * np.nan):
        Image.fromarray(wrong).save(tmp_path / "a.tiff")
        with pytest.raises(ValueError, match="expected grey levels between 0 and 1"):
            read_picture(tmp_path / "a.tiff", 1)


def test_read_only_database_is_left_alone(tmp_path):
    path = tmp_path / "a.db"
    write_table({"x": [1]}, path)
    before = path.read_bytes()
    read_table(path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.db"]
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT x FROM data").fetchall() == [(1,)]
    connection.close()
