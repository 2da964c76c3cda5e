"""Tables of columns from csv, json, SQLite and npz files, and back."""

from __future__ import annotations

import csv
import io
import json
import math
import sqlite3
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

Table = dict[str, np.ndarray]
MISSING = ("", "na", "n/a", "nan", "null", "none")
PICKLES = (".pkl", ".pickle", ".p", ".joblib", ".pt", ".pth")
FORMATS = ".csv, .json, .db, .sqlite, .sqlite3 and .npz"


def _column(values: Sequence[Any]) -> np.ndarray:
    """int64 where all are whole, float64 where all are numbers or missing, else text."""
    texts = [None if v is None or (isinstance(v, str) and v.strip().lower() in MISSING) else v for v in values]
    if any(isinstance(v, (bytes, list, dict)) for v in texts):
        raise ValueError(f"expected numbers and text, got {type(next(v for v in texts if isinstance(v, (bytes, list, dict)))).__name__}")
    kinds: tuple[Any, ...] = (int, float) if None not in texts else (float,)
    for kind in kinds:
        if kind is int and any(isinstance(v, float) for v in texts):
            continue
        try:
            numbers = [math.nan if v is None else kind(v) for v in texts]
            return np.array(numbers, np.int64 if kind is int else np.float64)
        except (ValueError, OverflowError):
            continue
    return np.array(["" if v is None else str(v) for v in values])


def _columns(where: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    if len(set(names)) < len(names) or not names:
        raise ValueError(f"{where}: expected columns of different names, got {list(names)}")
    table = {}
    for i, name in enumerate(names):
        try:
            table[name] = _column([row[i] for row in rows])
        except ValueError as error:
            raise ValueError(f"{where}: column {name!r}: {error}") from None
    return table


def _read_csv(path: Path, _: str | None) -> Table:
    with open(path, newline="", encoding="utf-8-sig") as file:
        try:
            rows = list(csv.reader(file, strict=True))
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: expected a csv file in UTF-8, got a damaged one ({error})") from None
    rows = [row for row in rows if row]
    if not rows:
        raise ValueError(f"{path}: expected a csv file whose first line names the columns, got an empty one")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]):
            raise ValueError(f"{path}: expected {len(rows[0])} fields in each row, as the first has, got {len(row)} in row {number}")
    return _columns(str(path), rows[0], rows[1:])


def _read_json(path: Path, _: str | None) -> Table:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected a json file, got a damaged one ({error})") from None
    if isinstance(found, list) and found and all(isinstance(row, dict) for row in found):
        names = list(dict.fromkeys(name for row in found for name in row))
        return _columns(str(path), names, [[row.get(name) for name in names] for row in found])
    if isinstance(found, dict) and found and all(isinstance(column, list) for column in found.values()):
        if len({len(column) for column in found.values()}) > 1:
            raise ValueError(f"{path}: expected columns of one length, got {[len(column) for column in found.values()]}")
        return _columns(str(path), list(found), list(zip(*found.values())))
    raise ValueError(f"{path}: expected a list of objects, or an object of lists, got {type(found).__name__}")


def _read_sqlite(path: Path, name: str | None) -> Table:
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name")]
            if name is None and len(tables) != 1:
                raise ValueError(f"{path}: expected one table, or its name as table=, got {tables}")
            if name is not None and name not in tables:
                raise ValueError(f"{path}: expected one of the tables {tables}, got {name!r}")
            quoted = (name or tables[0]).replace('"', '""')
            cursor = connection.execute(f'SELECT * FROM "{quoted}"')
            return _columns(str(path), [column[0] for column in cursor.description], cursor.fetchall())
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{path}: expected a SQLite database, got {error}") from None


def _read_npz(path: Path, _: str | None) -> Table:
    table = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                with archive.open(member) as file:
                    table[member.filename.removesuffix(".npy")] = _read_npy(f"{path}: {member.filename}", file, member.file_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise ValueError(f"{path}: expected an npz file, got a damaged one ({error})") from None
    return table


def _read_npy(where: str, file: Any, size: int) -> np.ndarray:
    """An array whose size, as its header says, is that of the file: checked before memory is taken."""
    form = np.lib.format
    try:
        version = form.read_magic(file)
        read = {(1, 0): form.read_array_header_1_0, (2, 0): form.read_array_header_2_0}[version]
        shape, fortran, dtype = read(file)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{where}: expected an array of NumPy's format, got {error}") from None
    if dtype.hasobject:
        raise ValueError(f"{where}: expected numbers or text, got Python objects, which are pickled: loading them may run any program")
    wanted = math.prod(shape) * dtype.itemsize
    if file.tell() + wanted != size:
        raise ValueError(f"{where}: expected {wanted} bytes of data for shape {shape}, got {size - file.tell()}")
    data = file.read(wanted)
    array = np.frombuffer(data, dtype).reshape(shape[::-1] if fortran else shape)
    return (array.T if fortran else array).copy()


READERS = {
    ".csv": _read_csv,
    ".json": _read_json,
    ".db": _read_sqlite,
    ".sqlite": _read_sqlite,
    ".sqlite3": _read_sqlite,
    ".npz": _read_npz,
}


def _format(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise ValueError(
            f"{path}: pickles are refused, since loading one may run any program that its author wrote into it; save the data as {FORMATS} "
            "where they come from (a DataFrame: to_csv)"
        )
    if suffix not in READERS:
        raise ValueError(f"{path}: expected a file that ends in {FORMATS}, got {suffix or 'none'}")
    return suffix


def read_table(path: str | PathLike, table: str | None = None) -> Table:
    """Read columns from a file: csv, json, a SQLite database, or npz, by its name's end.

    Parameters
    ----------
    path : str or path
        csv: in UTF-8, the first line names the columns. json: a list of objects, or an object of lists. npz: arrays, never pickled ones.
    table : str, optional
        Which table of a database; needed if there are several.

    Returns
    -------
    dict of str to ndarray
        Whole numbers are int64, numbers float64, anything else text. Missing values (empty, Null, None, NaN, NA) are NaN, of text "".

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        A damaged file, rows of different lengths, an unknown format; a pickle, since loading one may run any program.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "flowers.csv")
    ...     _ = path.write_text("width,kind\\n0.2,setosa\\nNull,virginica\\n")
    ...     read_table(path)
    {'width': array([0.2, nan]), 'kind': array(['setosa', 'virginica'], dtype='<U9')}
    """
    path = Path(path)
    read = READERS[_format(path)]
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a file with a table, found none")
    return read(path, table)


def write_table(columns: Mapping[str, Any], path: str | PathLike, table: str = "data") -> None:
    """Write columns to a file: csv, json, a SQLite database, or npz, by its name's end. What `read_table` reads.

    Parameters
    ----------
    columns : mapping of str to array (N,)
        npz takes arrays of any shape.
    path : str or path
        A database gets the table; another file is replaced.
    table : str
        The name of a database's table, which is replaced.

    Raises
    ------
    ValueError
        Columns of different lengths, an unknown format, a pickle.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_table({"x": [1.5, np.nan], "y": [0, 1]}, Path(folder, "a.sqlite"))
    ...     write_table(read_table(Path(folder, "a.sqlite")), Path(folder, "b.csv"))
    ...     Path(folder, "b.csv").read_text()
    'x,y\\n1.5,0\\n,1\\n'
    """
    path = Path(path)
    suffix = _format(path)
    arrays = {str(name): np.asarray(column) for name, column in columns.items()}
    if any(a.dtype == object for a in arrays.values()):
        raise ValueError(f"{path}: expected columns of numbers or text, got objects, which would have to be pickled")
    if suffix == ".npz":
        np.savez(path, **arrays)  # type: ignore[arg-type]
        return
    if not arrays or len({a.shape for a in arrays.values()}) > 1 or any(a.ndim != 1 for a in arrays.values()):
        raise ValueError(f"{path}: expected columns (N,) of one length, got { ({name: a.shape for name, a in arrays.items()}) }")
    rows = [[None if v != v else v for v in row] for row in zip(*(a.tolist() for a in arrays.values()))]
    if suffix == ".csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([list(arrays), *rows])
        path.write_text(text.getvalue(), encoding="utf-8")
    elif suffix == ".json":
        path.write_text(json.dumps([dict(zip(arrays, row)) for row in rows], allow_nan=False), encoding="utf-8")
    else:
        kinds = {"i": "INTEGER", "u": "INTEGER", "b": "INTEGER", "f": "REAL"}
        quoted = ['"{}"'.format(name.replace('"', '""')) for name in (table, *arrays)]
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"DROP TABLE IF EXISTS {quoted[0]}")
            types = ", ".join(f"{name} {kinds.get(a.dtype.kind, 'TEXT')}" for name, a in zip(quoted[1:], arrays.values()))
            connection.execute(f"CREATE TABLE {quoted[0]} ({types})")
            connection.executemany(f"INSERT INTO {quoted[0]} VALUES ({', '.join('?' * len(arrays))})", rows)
