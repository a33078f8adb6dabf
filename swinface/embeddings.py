"""Tables of embeddings: one vector per face, by the face's path; a model's output, or a teacher's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

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
        try:
            with np.load(path, allow_pickle=False) as table:
                faces, values = table["face"], table["embedding"]
        except FileNotFoundError:
            raise InputError(f"{path}: no such table of embeddings.") from None
        except (KeyError, ValueError, OSError, EOFError) as error:
            raise InputError(f"{path}: not a .npz with the arrays `face` (text) and `embedding` (numbers).") from error
        if values.ndim != 2 or len(values) != len(faces):
            raise InputError(f"{path}: `embedding` is {values.shape}; it must be ({len(faces)}, D), a row per `face`.")
        if not np.isfinite(values).all():
            raise InputError(f"{path}: row {np.argmin(np.isfinite(values).all(axis=1))} is not finite.")
        self.values = torch.from_numpy(values.astype(np.float32))
        self.rows = {str(face): row for row, face in enumerate(faces)}
        if len(self.rows) != len(faces):
            raise InputError(f"{path}: {len(faces) - len(self.rows)} faces are named more than once.")

    @property
    def size(self) -> int:
        """D, numbers per embedding."""
        return self.values.shape[1]

    def __getitem__(self, faces: Sequence[str]) -> Tensor:
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


def write_embeddings(path: Path, faces: Sequence[str], embeddings: np.ndarray) -> None:
    """Write a table that ``Embeddings`` reads, (N, D) float32."""
    with replacing(path) as partial:
        np.savez(partial, face=np.asarray(faces, dtype=str), embedding=embeddings.astype(np.float32))
