"""Aligned faces as pixels, by their paths below the data root."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from swinface.data.faces import fit_face, stack_faces
from swinface.files import inside, read_image

BATCH = 256  # faces that go through a trunk at once where no gradient is needed


def read_faces(root: Path, faces: Sequence[str]) -> Tensor:
    """Decode aligned faces, on all cores.

    Returns
    -------
    Tensor
        (N, 3, 112, 112), uint8, RGB. Square images of another size are resized.

    Raises
    ------
    InputError
        A face is missing, unreadable or not square (then it was not aligned).
    """
    return stack_faces(lambda face: fit_face(read_image(inside(root, face, "table of faces")), f"{root / face}"), faces)
