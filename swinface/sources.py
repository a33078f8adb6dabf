"""Faces with labels, one class per data set, each read as its authors hand it out.

A source is a table (what is known of each face, a column per task) and a way to read a face of it as 112x112 pixels
aligned to ArcFace's five points. Sets that were aligned by another template are brought to it by a crop.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from swinface.files import InputError, inside, read_image
from swinface.labels import (
    AFFECTNET_CLASSES,
    ATTRIBUTE_CLASSES,
    ATTRIBUTES,
    GENDER_CLASSES,
    RAF_DB_CLASSES,
    decode,
    read_labels,
)
from swinface.model import IMAGE_SIZE
from swinface.tasks import EXPRESSIONS

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")

Crop = tuple[float, float, float, float]


class Source:
    """Faces with labels, as one data set's authors hand them out.

    Parameters
    ----------
    root
        The data set's folder.
    part
        The faces to use: ``held_out`` is a fixed draw of people, or of images where the set does not say who is on
        them; ``train`` is the rest. The draw hashes names (see ``draw_held_out``), so it is the same everywhere.
    held_out
        Share of people, or of images, that are held out.
    crop
        (left, top, right, bottom) of the region that is resized to 112x112, as fractions of the image's width and
        height; what lies outside the image is black. The whole image, which must then be square, when None.
    share
        Share of a training stream that mixes sources; shares are scaled to sum to 1.
    teacher
        A ``.npz`` of embeddings (``face``, ``embedding``) whose faces are the table's ``image``.
    """

    def __init__(
        self,
        root: Path,
        *,
        part: Literal["train", "held_out", "all"] = "all",
        held_out: float = 0.2,
        crop: Crop | None = None,
        share: float = 1.0,
        teacher: Path | None = None,
    ) -> None:
        if not 0 <= held_out <= 1:
            raise InputError(f"held_out {held_out}: name a share from 0 to 1.")
        if not share > 0:
            raise InputError(f"share {share}: name a share above 0; leave a source out that is not to be used.")
        if crop is not None and not (crop[0] < crop[2] and crop[1] < crop[3]):
            raise InputError(f"crop {crop}: name left, top, right and bottom, with left < right and top < bottom.")
        self.root, self.part, self.held_out, self.crop = Path(root), part, held_out, crop
        self.share, self.teacher = share, teacher

    @cached_property
    def table(self) -> pd.DataFrame:
        """What is known of each face of the part.

        Columns ``image`` (path below the root, or key of a record), ``identity`` (text) where the set says who it
        is, and any name of TASKS: the index of the class in ``Task.labels`` or years, nan where unknown.

        Raises
        ------
        InputError
            The set is not laid out as its authors hand it out, or the part is empty.
        """
        table = self._read_table().reset_index(drop=True)
        if self.part != "all":
            names = table["identity"] if "identity" in table else table["image"]
            table = table[draw_held_out(names, self.held_out) == (self.part == "held_out")].reset_index(drop=True)
        if table.empty:
            raise InputError(f"{self.root}: no faces of {type(self).__name__}, part {self.part}.")
        return table

    def __len__(self) -> int:
        return len(self.table)

    def read(self, row: int) -> np.ndarray:
        """Decode, crop and resize the face in a row of the table.

        Returns
        -------
        np.ndarray
            (112, 112, 3), uint8, RGB.

        Raises
        ------
        InputError
            The image is missing or unreadable, or not square where there is no crop.
        """
        name = self.table["image"].iat[row]
        pixels = self._decode(name)
        if self.crop is None and pixels.shape[0] != pixels.shape[1]:
            height, width = pixels.shape[:2]
            raise InputError(f"{self.root}: {name} has {width}x{height} pixels; align it to a square, or set crop.")
        return crop_face(pixels, self.crop or (0, 0, 1, 1))

    def read_all(self) -> Tensor:
        """Read every face of the table on all cores: (N, 3, 112, 112), uint8, RGB."""
        faces = torch.empty((len(self), 3, IMAGE_SIZE, IMAGE_SIZE), dtype=torch.uint8)
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding runs outside Python's lock
            for row, face in enumerate(pool.map(self.read, range(len(self)))):
                faces[row] = torch.from_numpy(face.transpose(2, 0, 1).copy())
        return faces

    def _read_table(self) -> pd.DataFrame:
        raise NotImplementedError

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


def crop_face(pixels: np.ndarray, crop: Crop) -> np.ndarray:
    """Cut a region out of an image and resize it, antialiased.

    Parameters
    ----------
    pixels
        (height, width, 3), uint8.
    crop
        (left, top, right, bottom) as fractions of width and height; black outside the image.

    Returns
    -------
    np.ndarray
        (112, 112, 3), uint8.
    """
    height, width = pixels.shape[:2]
    left, top, right, bottom = crop[0] * width, crop[1] * height, crop[2] * width, crop[3] * height
    first, above = math.floor(left), math.floor(top)
    whole = Image.fromarray(pixels).crop((first, above, math.ceil(right), math.ceil(bottom)))
    box = (left - first, top - above, right - first, bottom - above)  # resize takes fractions of a pixel, crop does not
    return np.asarray(whole.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR, box=box))


def list_images(root: Path, below: str = ".") -> Iterator[str]:
    """Paths below ``root`` of the images in one of its folders, however deep, in the order of their names.

    Raises
    ------
    InputError
        The folder is missing, or lies outside ``root``.
    """
    folder = root if below == "." else inside(root, below, "below")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of images.")
    for place, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            if file.lower().endswith(IMAGE_ENDINGS) and not file.startswith("."):
                yield (Path(place, file)).relative_to(root).as_posix()


def match_names(root: Path, images: list[str], pattern: str, form: str) -> tuple[list[str], pd.DataFrame]:
    """The images whose file names are of the form, and the pattern's groups (text); one warning counts the others."""
    matches = {image: re.fullmatch(pattern, image.rpartition("/")[2]) for image in images}
    others = [image for image, match in matches.items() if not match]
    if others:
        warnings.warn(
            f"{root}: {len(others)} of {len(images)} images left out, such as {others[0]}: not named {form}.",
            stacklevel=2,
        )
    named = [image for image in images if matches[image]]
    return named, pd.DataFrame(
        [matches[image].groupdict() for image in named], columns=[*re.compile(pattern).groupindex]
    )


class ImageFolder(Source):
    """A folder per person: the identity is the path of the image's folder.

    Parameters
    ----------
    below
        Take images from this folder below the root, and count identities from it: with ``Train/train-faces`` of FIW,
        the identity of ``Train/train-faces/F0001/MID1/P00001_face0.jpg`` is ``F0001/MID1``.
    """

    def __init__(self, root: Path, *, below: str = ".", **options) -> None:
        super().__init__(root, **options)
        self.below = below

    def _read_table(self) -> pd.DataFrame:
        table = pd.DataFrame({"image": list(list_images(self.root, self.below))}, dtype=str)
        start = Path(self.below).as_posix()
        people = table["image"] if start == "." else table["image"].str.slice(len(start) + 1)
        loose = ~people.str.contains("/")
        if loose.any():
            raise InputError(
                f"{self.root}: {table['image'][loose.idxmax()]} lies in no person's folder; move it to one."
            )
        return table.assign(identity=people.str.rpartition("/")[0])


class UTKFace(Source):
    """UTKFace (Zhang et al., CVPR 2017), aligned and cropped: files named ``age_gender_race_stamp.jpg``.

    The table has also ``race``, as annotated: white, black, asian, indian or other.
    """

    RACES = ("white", "black", "asian", "indian", "other")

    def __init__(self, root: Path, *, crop: Crop | None = (-0.11, -0.263, 1.11, 0.928), **options) -> None:
        super().__init__(root, crop=crop, **options)

    def _read_table(self) -> pd.DataFrame:
        pattern = r"(?P<age>\d{1,3})_(?P<gender>[01])_(?P<race>[0-4])_\d+.*"
        images, fields = match_names(self.root, list(list_images(self.root)), pattern, "age_gender_race_stamp.jpg")
        numbers = fields.astype(int)
        return pd.DataFrame(
            {
                "image": images,
                "age": numbers["age"].astype(float),
                "gender": 1.0 - numbers["gender"],  # 0 is male in these names
                "race": numbers["race"].map(dict(enumerate(self.RACES))),
            }
        )


class CKPlus(Source):
    """CK+48: the last frames of CK+'s sequences (Lucey et al., CVPRW 2010), 48x48 and grey, a folder per expression.

    Files are named ``person_sequence_frame.png``. There is no neutral; contempt, which the paper has not, is left out.
    """

    FOLDERS = ("surprise", "fear", "disgust", "happy", "sadness", "anger")  # in the order of EXPRESSIONS

    def __init__(self, root: Path, *, crop: Crop | None = (-0.04, -0.13, 1.04, 0.99), **options) -> None:
        super().__init__(root, crop=crop, **options)

    def _read_table(self) -> pd.DataFrame:
        images = [image for folder in self.FOLDERS for image in list_images(self.root, folder)]
        images, fields = match_names(self.root, images, r"(?P<identity>S\d+)_\d+_\d+\..*", "person_sequence_frame.png")
        folders = pd.Series(images, dtype=str).str.partition("/")[0]
        expression = folders.map({folder: float(index) for index, folder in enumerate(self.FOLDERS)})
        return pd.DataFrame({"image": images, "identity": fields["identity"], "expression": expression})


class RafDb(Source):
    """RAF-DB's basic set (Li and Deng, TIP 2019) in its official layout.

    ``basic/EmoLabel/list_patition_label.txt`` holds lines such as ``train_00001.jpg 5``, and
    ``basic/Image/aligned/train_00001_aligned.jpg`` is that face.

    Parameters
    ----------
    subset
        The official partition.
    """

    def __init__(
        self,
        root: Path,
        *,
        subset: Literal["train", "test"] = "train",
        crop: Crop | None = (-0.24, -0.211, 1.24, 0.969),
        **options,
    ) -> None:
        super().__init__(root, crop=crop, **options)
        self.subset = subset

    def _read_table(self) -> pd.DataFrame:
        path = self.root / "basic/EmoLabel/list_patition_label.txt"
        labels = read_labels(path, ["name", "expression"], header=False)
        labels = labels[labels["name"].str.startswith(f"{self.subset}_")]
        stems = labels["name"].str.removesuffix(".jpg")
        expression = decode(path, labels["expression"], RAF_DB_CLASSES)
        return pd.DataFrame({"image": "basic/Image/aligned/" + stems + "_aligned.jpg", "expression": expression})


class CelebA(Source):
    """CelebA (Liu et al., ICCV 2015): the official files and the images its authors aligned.

    ``img_align_celeba/``, ``list_attr_celeba.txt`` and ``identity_CelebA.txt`` side by side.

    Parameters
    ----------
    subset
        The official partition, read from ``list_eval_partition.txt``; every image, without that file, when ``all``.
    """

    SUBSETS = ("train", "validation", "test")  # numbered so in list_eval_partition.txt

    def __init__(
        self,
        root: Path,
        *,
        subset: Literal["train", "validation", "test", "all"] = "all",
        crop: Crop | None = (0.163, 0.252, 0.837, 0.810),
        **options,
    ) -> None:
        super().__init__(root, crop=crop, **options)
        self.subset = subset

    def _read_table(self) -> pd.DataFrame:
        table = read_attributes(self.root / "list_attr_celeba.txt", skip=1)
        table.insert(1, "identity", self._look_up("identity_CelebA.txt", table["image"]))
        if self.subset != "all":
            number = str(self.SUBSETS.index(self.subset))
            table = table[self._look_up("list_eval_partition.txt", table["image"]) == number]
        return table.assign(image="img_align_celeba/" + table["image"])

    def _look_up(self, file: str, images: pd.Series) -> pd.Series:
        path = self.root / file
        found = images.map(read_labels(path, ["name", "number"], header=False).set_index("name")["number"])
        if found.isna().any():
            raise InputError(f"{path}: no line for {images[found.isna()].iloc[0]}; take the file of the same CelebA.")
        return found


def read_attributes(path: Path, skip: int = 0) -> pd.DataFrame:
    """Read a list of CelebA's 40 attributes: columns ``image`` and a 0 or 1 for each, float64."""
    labels = read_labels(path, ["name", *ATTRIBUTES], skip=skip)
    columns = {name: decode(path, labels[name], ATTRIBUTE_CLASSES) for name in ATTRIBUTES}
    return pd.DataFrame({"image": labels["name"], **columns})
