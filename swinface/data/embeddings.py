"""Tables of embeddings, one vector per face, found by the face's path: a model's output, or a teacher's."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from swinface.data.pickles import read_objects
from swinface.files import InputError, naming, replacing, tidy_path

# A few compressed kilobytes can fill the memory. Embeddings are compressed to a half or so, paths of faces to a tenth.
MOST_BYTES, MOST_TIMES = 1 << 30, 100
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class Embeddings:
    """A table of embeddings: a ``.npz`` with ``face`` (N,) paths and ``embedding`` (N, D), read without unpickling.

    Raises ``InputError`` if the file is missing, is no such table, or names a face twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        faces, arrays = read_arrays(path, ["embedding"])
        self.values = arrays["embedding"]
        self.rows = {face: row for row, face in enumerate(faces)}

    @property
    def size(self) -> int:
        """D, numbers per embedding."""
        return self.values.shape[1]

    def __getitem__(self, faces: Sequence[str]) -> np.ndarray:
        """(N, D) float32 embeddings of faces. Raises ``InputError`` if a face has no embedding."""
        faces = [tidy_path(face) for face in faces]
        missing = [face for face in faces if face not in self.rows]
        if missing:
            has = f"it has {len(self.rows):,} others, such as {next(iter(self.rows), 'none')}"
            whole = next((face for face in self.rows if face.endswith(f"/{missing[0]}")), None)
            has = f"it has {whole}, so write all paths without what comes before" if whole else has
            raise InputError(f"{self.path}: no embedding of {missing[0]} ({len(missing)} faces are missing); {has}.")
        return self.values[[self.rows[face] for face in faces]]


def read_arrays(path: Path, names: Sequence[str] | None = None) -> tuple[list[str], dict[str, np.ndarray]]:
    """Read a table of embeddings, and the other arrays in it with a row per face, without unpickling.

    ``names`` are the arrays to read; by default ``embedding`` and all others with a row of numbers per face, such as
    the features of each level. Gives the faces, and name to (N, D) float32, ``embedding`` first. Raises ``InputError``
    if the file is missing, is no such table, names a face twice, or has numbers that are not finite.
    """
    table = ArrayFile(path)
    lacking = [name for name in ("face", *(names or ["embedding"])) if name not in table.names]
    if lacking:
        raise InputError(f"{path}: no array `{lacking[0]}`; a table has `face` (text) and `embedding` (numbers).")
    faces = _read_faces(table)
    if names is None:
        others = [name for name in table.names if name not in ("face", "embedding")]
        names = ["embedding", *(name for name in others if _is_numbers(table, name, len(faces)))]
    found = {}
    for name in names:
        if not _is_numbers(table, name, len(faces)):
            shape, dtype = table.describe(name)
            raise InputError(f"{path}: `{name}` is {shape} {dtype}; it must be numbers, ({len(faces)}, D).")
        with np.errstate(over="ignore"):  # too large for float32 is as infinite
            values = table.read(name).astype(np.float32)
        if not np.isfinite(values).all():
            raise InputError(f"{path}: row {np.argmin(np.isfinite(values).all(axis=1))} of `{name}` is not finite.")
        found[name] = values
    return faces, found


def _is_numbers(table: ArrayFile, name: str, rows: int) -> bool:
    """Whether an array has a row of numbers per face; another is something else about the faces, or about the model."""
    shape, dtype = table.describe(name)
    return len(shape) == 2 and shape[0] == rows and dtype.kind in "fiu"


def _read_faces(table: ArrayFile) -> list[str]:
    values = table.read("face")
    if values.ndim != 1:
        raise InputError(f"{table.path}: `face` is {values.shape}; it must be (N,), the paths of faces.")
    faces = []
    for row, face in enumerate(values.tolist()):
        if isinstance(face, bytes):
            face = os.fsdecode(face)
        if not isinstance(face, str | int):
            raise InputError(f"{table.path}: row {row} of `face` is a {type(face).__name__}; save paths as text.")
        faces.append(tidy_path(str(face)))
    rows: dict[str, int] = {}
    for row, face in enumerate(faces):
        if (first := rows.setdefault(face, row)) != row:
            raise InputError(
                f"{table.path}: rows {first} and {row} of `face` are both {face}; keep one embedding of it."
            )
    return faces


def find_variance_within(values: np.ndarray, people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Within-person covariance of embeddings, (N, D): variances (D,) and their axes (D, D).

    ``people`` are numbers (N,), -1 where unknown. Raises ``ValueError`` if no person has two photos.
    """
    known = people >= 0
    of_people, codes = values[known], np.unique(people[known], return_inverse=True)[1]
    counts = np.bincount(codes)
    spare = int((counts - 1).sum())
    if spare < 1:
        raise ValueError("no person has two photos, so the within-person covariance is unknown.")
    means = np.zeros((len(counts), values.shape[1]))
    np.add.at(means, codes, of_people)
    within = of_people - (means / counts[:, None])[codes]
    return np.linalg.eigh(within.T @ within / spare)


def write_embeddings(
    path: Path,
    faces: Sequence[str],
    embeddings: np.ndarray,
    levels: Mapping[str, np.ndarray] | None = None,
    runtime: np.ndarray | None = None,
) -> None:
    """Write a table that ``Embeddings`` reads, (N, D) float32; ``levels`` are further arrays (N, D) by name, and
    ``runtime`` is a text, what computed them."""
    arrays = {"embedding": embeddings, **(levels or {})}
    with replacing(path) as partial:
        np.savez(
            partial,
            face=np.asarray(faces, dtype=str),
            **{name: values.astype(np.float32) for name, values in arrays.items()},
            **({} if runtime is None else {"runtime": runtime}),
        )


class ArrayFile:
    """The arrays of a ``.npz`` made by others, each read when it is asked for: numpy unpickles nothing.

    ``names`` are those of the arrays, in the order of the file. Raises ``InputError`` if the file is missing, is no
    ``.npz``, or unpacks to far more than it is.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
            packed = os.path.getsize(path)
        except FileNotFoundError:
            raise InputError(f"{path}: no such table of embeddings (.npz).") from None
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error}); name a .npz.") from error
        except Exception as error:  # damaged bytes make it fail in any way
            raise InputError(f"{path}: not a .npz file, as numpy.savez writes it.") from error
        unpacked = sum(entry.file_size for entry in entries)
        if unpacked > max(MOST_BYTES, MOST_TIMES * packed):
            raise InputError(f"{path}: unpacks from {packed:,} to {unpacked:,} bytes; write it without compression.")
        self.names = [entry.filename.removesuffix(".npy") for entry in entries if entry.filename.endswith(".npy")]

    def describe(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """The shape and the type of an array; raises ``InputError`` if it is damaged."""
        with self._open(name) as (_, shape, dtype, _):
            return shape, dtype

    def read(self, name: str) -> np.ndarray:
        """An array; also one of Python's objects, if they are texts, bytes or numbers.

        Raises ``InputError`` if it is damaged, or holds other objects.
        """
        with self._open(name) as (file, shape, dtype, by_column):
            content = file.read()
        if not dtype.hasobject:
            return np.frombuffer(content, dtype).reshape(shape, order="F" if by_column else "C")
        with naming(f"{self.path}: `{name}` holds Python's objects"):
            return np.fromiter(read_objects(content), dtype=object)

    @contextmanager
    def _open(self, name: str) -> Iterator[tuple[IO[bytes], tuple[int, ...], np.dtype, bool]]:
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as file:
                shape, by_column, dtype = HEADERS[npy.read_magic(file)](file)
                left = archive.getinfo(f"{name}.npy").file_size - file.tell()
                if not dtype.hasobject and (not dtype.itemsize or math.prod(shape) * dtype.itemsize != left):
                    raise ValueError(f"{left} bytes for {shape} {dtype}")
                yield file, shape, dtype, by_column
        except InputError:
            raise
        except Exception as error:  # damaged bytes make numpy, and what unpacks for it, fail in any way
            raise InputError(f"{self.path}: the array `{name}` is damaged; write the file again.") from error
