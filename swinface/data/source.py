"""The faces of one data set and their labels: the base class of all data sets."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from torch import Tensor

from swinface.data.cache import digest_files
from swinface.data.faces import Crop, fit_face, stack_faces
from swinface.files import InputError, inside
from swinface.images import read_image
from swinface.registry import check_choice

Part = Literal["train", "held_out", "all"]


class Source(ABC):
    """Faces with labels, as the authors of a data set publish them.

    Parameters
    ----------
    root
        The data set's folder.
    part
        The faces to use: ``held_out`` is a fixed draw of people, or of images if the set does not name people;
        ``train`` is the rest. The draw hashes names (see ``draw_held_out``), so it is the same everywhere.
    held_out
        Share of people, or of images, that are held out.
    crop
        (left, top, right, bottom) of the region that is resized to 112x112, as fractions of the image's width and
        height; outside the image its edges are repeated. None is the whole image, which must then be square.
    share
        Share of this source in a training stream that mixes sources; shares are scaled to sum to 1.
    group
        Sources of a stream with the same group pool their shares, in proportion to their numbers of faces.
    teacher
        A ``.npz`` of embeddings (``face``, ``embedding``) whose faces are the table's ``image``.
    """

    def __init__(
        self,
        root: Path,
        *,
        part: Part = "all",
        held_out: float = 0.2,
        crop: Crop | None = None,
        share: float = 1.0,
        group: str | None = None,
        teacher: Path | None = None,
    ) -> None:
        check_choice("part", part, Part)
        if not 0 <= held_out <= 1:
            raise InputError(f"held_out {held_out}: name a share from 0 to 1.")
        if not share > 0:
            raise InputError(f"share {share}: name a share above 0; remove a source that is not to be used.")
        if crop is not None and not (crop[0] < crop[2] and crop[1] < crop[3]):
            raise InputError(f"crop {crop}: name left, top, right and bottom, with left < right and top < bottom.")
        self.root, self.part, self.held_out, self.crop = Path(root), part, held_out, crop
        self.share, self.group, self.teacher = share, group, teacher

    @cached_property
    def table(self) -> pd.DataFrame:
        """The labels of each face of the part.

        Columns ``image`` (path below the root, or key of a record), ``identity`` (text) if the set has people's names
        or numbers, and any name of TASKS: the index of the class in ``Task.labels`` or years, nan where unknown. Raises
        ``InputError`` if the set has another layout than its authors', or the part is empty.
        """
        table = self._read_table().reset_index(drop=True)
        if self.part != "all":
            names = table["identity"] if "identity" in table else table["image"]
            table = table[draw_held_out(names, self.held_out) == (self.part == "held_out")].reset_index(drop=True)
        if table.empty:
            raise InputError(f"{self.root}: no faces of {type(self).__name__}, part {self.part}.")
        return table

    @property
    def people_root(self) -> Path:
        """Where identities start: those of two sources with the same place and name are one person."""
        return self.root

    def __len__(self) -> int:
        return len(self.table)

    def read(self, row: int) -> np.ndarray:
        """Decode, crop and resize the face in a row of the table: (112, 112, 3), uint8, RGB.

        Raises ``InputError`` if the image is missing or unreadable, or not square and without a crop.
        """
        image = self.table["image"].iloc[row]
        return fit_face(self._decode(image), f"{self.root / image}", self.crop)

    def read_all(self) -> Tensor:
        """Read every face of the table on all cores: (N, 3, 112, 112), uint8, RGB."""
        return stack_faces(self.read, range(len(self)))

    def digest(self) -> str:
        """A text of 16 characters that changes with what ``read`` gives: with the class, the crop, the faces and their
        files."""
        kind = type(self)
        about = (kind.__module__, kind.__qualname__, self.root.resolve(), self.crop, *self.table["image"])
        return digest_files(self._list_files(), *about)

    def _list_files(self) -> Iterable[Path]:
        """The files that the pixels of the table's faces come from."""
        return (self.root / image for image in self.table["image"])

    @abstractmethod
    def _read_table(self) -> pd.DataFrame:
        """The table of all parts."""

    def _decode(self, image: str) -> np.ndarray:
        return read_image(inside(self.root, image, type(self).__name__))


def draw_held_out(names: pd.Series, share: float) -> pd.Series:
    """Whether each name is held out: the first 64 bits of its SHA-256, as a fraction of 2^64, are below the share.

    >>> draw_held_out(pd.Series(["a", "b", "a"]), 0.5).tolist()
    [False, True, False]
    """
    unique = {
        name: int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") < share * 2**64
        for name in names.unique()
    }
    return names.map(unique).astype(bool)
