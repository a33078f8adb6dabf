"""Aligned faces as pixels, by their paths below the data root."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from swinface.data.faces import IMAGE_SIZE, read_face, stack_faces
from swinface.files import inside
from swinface.photos.alignment import warn_unaligned

BATCH = 256  # faces that go through a trunk at once where no gradient is needed


def read_faces(root: Path | None, faces: Sequence[str], size: int = IMAGE_SIZE) -> Tensor:
    """Decode aligned faces, on all cores: (N, 3, size, size), uint8, RGB. Square images of another size are resized.

    They lie below the root; without one, their paths are of any kind.

    Raises ``InputError`` if a face is missing, unreadable or not square (then it was not aligned).
    """
    return stack_faces(lambda face: _read(root, face, size), faces, size)


def warn_of_unaligned(root: Path | None, faces: Sequence[str]) -> None:
    """Warn, for all that a command reads at once, if most of a few of these faces are not aligned."""
    warn_unaligned(lambda face: _read(root, face), faces, root or Path())


def _read(root: Path | None, face: str, size: int = IMAGE_SIZE) -> np.ndarray:
    return read_face(Path(face.replace("\\", "/")) if root is None else inside(root, face, "table of faces"), size)
