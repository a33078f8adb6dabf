"""Tables of embeddings, one vector per face, found by the face's path: a model's output, or a teacher's."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from swinface.data.npz import ArrayFile
from swinface.files import InputError, replacing, tidy_path


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
            raise InputError(f"{path}: `{name}` is {shape} {dtype}; it must be ({len(faces)}, D), a row per `face`.")
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
    if len(set(faces)) != len(faces):
        raise InputError(f"{table.path}: {len(faces) - len(set(faces))} faces are named more than once.")
    return faces


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
