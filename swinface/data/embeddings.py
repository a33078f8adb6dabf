"""Tables of embeddings, one vector per face, found by the face's path: a model's output, or a teacher's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from swinface.files import InputError, replacing


class Embeddings:
    """A table of embeddings: a ``.npz`` with ``face`` (N,) paths and ``embedding`` (N, D).

    Parameters
    ----------
    path
        The file. It is read without unpickling.

    Raises
    ------
    InputError
        The file is missing, is no such table, or names a face twice.
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
        """(N, D) float32 embeddings of faces.

        Raises
        ------
        InputError
            A face has no embedding.
        """
        missing = [face for face in faces if face not in self.rows]
        if missing:
            raise InputError(f"{self.path}: no embedding of {missing[0]} ({len(missing)} faces are missing).")
        return self.values[[self.rows[face] for face in faces]]


def read_arrays(path: Path, names: Sequence[str] | None = None) -> tuple[list[str], dict[str, np.ndarray]]:
    """Read a table of embeddings, and the other arrays in it with a row per face.

    Parameters
    ----------
    path
        The file. It is read without unpickling.
    names
        The arrays to read; by default ``embedding`` and all others with a row of numbers per face, such as the
        features of each level.

    Returns
    -------
    tuple
        The faces, and name to (N, D) float32, ``embedding`` first.

    Raises
    ------
    InputError
        The file is missing, is no such table, names a face twice, or has numbers that are not finite.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as table:
            faces = [str(face) for face in np.asarray(table["face"])]
            others = [name for name in table.files if name not in ("face", "embedding")]
            names = ["embedding", *others] if names is None else names
            arrays = {name: np.asarray(table[name]) for name in names}  # damaged, an entry is no array but bytes
    except FileNotFoundError:
        raise InputError(f"{path}: no such table of embeddings.") from None
    except Exception as error:  # damaged bytes make numpy, and what unpacks for it, fail in any way
        raise InputError(f"{path}: not a .npz with the arrays `face` (text) and `embedding` (numbers).") from error
    if len(set(faces)) != len(faces):
        raise InputError(f"{path}: {len(faces) - len(set(faces))} faces are named more than once.")
    found = {}
    for name, values in arrays.items():
        if values.ndim != 2 or len(values) != len(faces) or values.dtype.kind not in "fiu":
            if name != "embedding":
                continue  # something else about the faces, or about the model
            raise InputError(f"{path}: `{name}` is {values.shape}; it must be ({len(faces)}, D), a row per `face`.")
        if not np.isfinite(values).all():
            raise InputError(f"{path}: row {np.argmin(np.isfinite(values).all(axis=1))} of `{name}` is not finite.")
        found[name] = values.astype(np.float32)
    return faces, found


def write_embeddings(
    path: Path, faces: Sequence[str], embeddings: np.ndarray, levels: Mapping[str, np.ndarray] | None = None
) -> None:
    """Write a table that ``Embeddings`` reads, (N, D) float32.

    Parameters
    ----------
    levels
        Further arrays with a row per face, by name: (N, D) each.
    """
    arrays = {"embedding": embeddings, **(levels or {})}
    with replacing(path) as partial:
        np.savez(
            partial,
            face=np.asarray(faces, dtype=str),
            **{name: values.astype(np.float32) for name, values in arrays.items()},
        )
