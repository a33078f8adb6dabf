"""Data sets of faces, one class each, in the form in which their authors publish them.

Sets with another alignment than ArcFace's five points have a default crop that brings faces to it; it was measured on
the set. Faces in ``RecordIO`` and in the paper's authors' lists are aligned already. The base class is
``swinface.data.source.Source``.
"""

from __future__ import annotations

import re
import warnings
from abc import abstractmethod
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from swinface.data.cache import digest_files, map_computed
from swinface.data.faces import Crop
from swinface.data.labels import (
    AFFECTNET_CLASSES,
    GENDER_CLASSES,
    RAF_DB_CLASSES,
    decode,
    look_up_labels,
    read_attributes,
    read_celeba,
    read_labels,
)
from swinface.data.recordio import RecordFile
from swinface.data.source import Source
from swinface.files import InputError, inside, naming, printable, read_lines
from swinface.images import read_image, take_images
from swinface.tasks import EXPRESSIONS


def match_names(root: Path, images: list[str], pattern: str, form: str) -> tuple[list[str], pd.DataFrame]:
    """The images whose file names are of the form, and the pattern's groups (text); one warning counts the others.

    Raises ``InputError`` if two have the same name: with two copies of a set, a face could be trained on and held out.
    """
    matches = {image: re.fullmatch(pattern, image.rpartition("/")[2]) for image in images}
    others = [image for image, match in matches.items() if not match]
    if others:
        warnings.warn(
            f"{root}: {len(others)} of {len(images)} images left out, such as {printable(others[0])}: "
            f"not named {form}.",
            stacklevel=2,
        )
    named = [image for image in images if matches[image]]
    places: dict[str, str] = {}
    for image in named:
        if (first := places.setdefault(image.rpartition("/")[2], image)) != image:
            raise InputError(f"{root}: {first} and {image} have the same name; use a single copy of the set.")
    return named, pd.DataFrame(
        [matches[image].groupdict() for image in named], columns=[*re.compile(pattern).groupindex]
    )


class RecordIO(Source):
    """Faces packed by MXNet, as insightface publishes MS1MV2: ``train.rec`` and ``train.idx``.

    The image is a record's key as text, the identity its label.
    """

    @cached_property
    def _records(self) -> RecordFile:
        return RecordFile(self.root / "train.rec")

    def _read_table(self) -> pd.DataFrame:
        keys = self._records.image_keys()
        labels = self._read_identities(keys)
        if not (whole := labels % 1 == 0).all():
            raise InputError(f"{self._records.path}: record {keys[~whole][0]} has no whole number as its label.")
        return pd.DataFrame({"image": keys, "identity": labels.astype(np.int64)}).astype(str)

    def _read_identities(self, keys: np.ndarray) -> np.ndarray:
        """The labels of the records, from a file beside them: to read labels is to read nearly all of ``train.rec``.

        The file is made at the first start. Where the folder cannot be written to, labels are read at each start.
        """
        kept = self._records.path.with_suffix(f".labels-{digest_files(self._list_files())}.npy")
        try:
            return map_computed(
                kept, (len(keys),), np.float32, lambda part: self._records.read_labels(keys[part]), 1 << 16, "labels"
            )
        except InputError:  # if not because of the folder, it is raised again here
            return self._records.read_labels(keys)

    def _list_files(self) -> Iterable[Path]:
        return self._records.path, self._records.path.with_suffix(".idx")

    def _decode(self, image: str) -> np.ndarray:
        _, content = self._records.read(int(image))
        return read_image(content, f"{self._records.path}: record {image}")


class ImageFolder(Source):
    """A folder per person: the identity is the path of the image's folder.

    Parameters
    ----------
    below
        Take images from this folder below the root, and count identities from it: with ``Train/train-faces`` of FIW,
        the identity of ``Train/train-faces/F0001/MID1/P00001_face0.jpg`` is ``F0001/MID1``.
    without
        A text file of people, or of folders of people such as families, to leave out, one per line.
    labels
        By task, a table (.csv or .parquet) with a column of the task's name, and ``image`` or ``face`` for labels of
        images, ``identity`` or ``person`` for labels of people, such as ``gender: tables/people.parquet``.
    """

    def __init__(
        self,
        root: Path,
        *,
        below: str = ".",
        without: Path | None = None,
        labels: dict[str, Path] | None = None,
        **options,
    ) -> None:
        super().__init__(root, **options)
        self.below, self.without = below, without
        self.labels = {task: Path(path) for task, path in (labels or {}).items()}

    @property
    def people_root(self) -> Path:
        return self.root / self.below

    def _read_table(self) -> pd.DataFrame:
        table = pd.DataFrame({"image": take_images(self.root, self.below)}, dtype=str)
        start = Path(self.below).as_posix()
        people = table["image"] if start == "." else table["image"].str.slice(len(start) + 1)
        loose = ~people.str.contains("/")
        if loose.any():
            raise InputError(
                f"{self.root}: {table['image'][loose.idxmax()]} lies in no person's folder; move it to one."
            )
        table = table.assign(identity=people.str.rpartition("/")[0])
        if self.without is not None:
            table = table[~self._named(table["identity"])]
        return table.assign(**{task: look_up_labels(task, path, table) for task, path in self.labels.items()})

    def _named(self, identities: pd.Series) -> pd.Series:
        """Whether each is named by ``without``, by itself or by a folder it lies in."""
        named = pd.Series(False, index=identities.index)
        for name in filter(None, map(str.strip, read_lines(self.without, "list of people"))):
            found = (identities == name) | identities.str.startswith(f"{name}/")
            if not found.any():
                raise InputError(f"{self.without}: no person or group below {self.root / self.below} is {name!r}.")
            named |= found
        return named


class UTKFace(Source):
    """UTKFace (Zhang et al., CVPR 2017), aligned and cropped: files named ``age_gender_race_stamp.jpg``.

    The table has also ``race``, as annotated: white, black, asian, indian or other.
    """

    RACES = ("white", "black", "asian", "indian", "other")

    def __init__(self, root: Path, *, crop: Crop | None = (-0.11, -0.263, 1.11, 0.928), **options) -> None:
        super().__init__(root, crop=crop, **options)

    def _read_table(self) -> pd.DataFrame:
        pattern = r"(?P<age>\d{1,3})_(?P<gender>[01])_(?P<race>[0-4])_\d+.*"
        images, fields = match_names(self.root, take_images(self.root), pattern, "age_gender_race_stamp.jpg")
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

    Files are named ``person_sequence_frame.png``. There is no neutral class. Contempt, which the paper does not use, is
    left out.
    """

    FOLDERS = ("surprise", "fear", "disgust", "happy", "sadness", "anger")  # in the order of EXPRESSIONS

    def __init__(self, root: Path, *, crop: Crop | None = (-0.04, -0.13, 1.04, 0.99), **options) -> None:
        super().__init__(root, crop=crop, **options)

    def _read_table(self) -> pd.DataFrame:
        lacking = [folder for folder in self.FOLDERS if not (self.root / folder).is_dir()]
        if lacking:
            raise InputError(
                f"{self.root / lacking[0]}: no such folder of images; name the root of {', '.join(self.FOLDERS)}."
            )
        images = [image for folder in self.FOLDERS for image in take_images(self.root, folder)]
        images, fields = match_names(self.root, images, r"(?P<identity>S\d+)_\d+_\d+\..*", "person_sequence_frame.png")
        folders = pd.Series(images, dtype=str).str.partition("/")[0]
        expression = folders.map({folder: float(index) for index, folder in enumerate(self.FOLDERS)})
        return pd.DataFrame({"image": images, "identity": fields["identity"], "expression": expression})


class RafDb(Source):
    """RAF-DB's basic set (Li and Deng, TIP 2019) in its official layout.

    ``basic/EmoLabel/list_patition_label.txt`` holds lines such as ``train_00001.jpg 5``, and
    ``basic/Image/aligned/train_00001_aligned.jpg`` is that face. Where the first is missing, Kaggle's layout is read:
    ``train_labels.csv``, and ``DATASET/train/5/train_00001_aligned.jpg``.

    Parameters
    ----------
    subset
        The official partition.
    images
        Folder of other faces, below the root, that are aligned to ArcFace's template and named as the photos, such as
        ``train_00001.jpg``: for example those that ``swinface align`` cut from ``basic/Image/original``. By default the
        official aligned faces, brought to the template by the crop.
    """

    def __init__(
        self,
        root: Path,
        *,
        subset: Literal["train", "test"] = "train",
        images: str | None = None,
        crop: Crop | None = (-0.24, -0.211, 1.24, 0.969),
        **options,
    ) -> None:
        super().__init__(root, crop=crop if images is None else None, **options)
        self.subset, self.images = subset, images

    def _read_table(self) -> pd.DataFrame:
        path, kaggle = self.root / "basic/EmoLabel/list_patition_label.txt", self.root / f"{self.subset}_labels.csv"
        if kaggle.exists() and not path.exists() and self.images is None:
            labels = read_labels(kaggle, ["image", "label"], separator=",")
            image = f"DATASET/{self.subset}/" + labels["label"] + "/" + labels["image"]
            return pd.DataFrame({"image": image, "expression": decode(kaggle, labels["label"], RAF_DB_CLASSES)})
        labels = read_labels(path, ["name", "expression"], header=False)
        labels = labels[labels["name"].str.startswith(f"{self.subset}_")]
        stems = labels["name"].str.removesuffix(".jpg")
        expression = decode(path, labels["expression"], RAF_DB_CLASSES)
        official = "basic/Image/aligned/" + stems + "_aligned.jpg"
        image = official if self.images is None else f"{self.images}/" + labels["name"]
        return pd.DataFrame({"image": image, "expression": expression})


class CelebA(Source):
    """CelebA (Liu et al., ICCV 2015): the official files and the images its authors aligned.

    ``img_align_celeba/``, ``list_attr_celeba.txt`` and ``identity_CelebA.txt`` side by side, or in the authors' folders
    ``Img``, ``Anno`` and ``Eval``. If a list is missing, one that ends in .csv is read, as on Kaggle, whose images are
    one folder deeper. Kaggle has no identities; only ``part`` needs them, to hold people out.

    Parameters
    ----------
    subset
        The official partition, read from ``list_eval_partition.txt``; ``all`` is every image and needs no such file.
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
        table = read_attributes(self._find("list_attr_celeba"), skip=1)
        identities = self._find("identity_CelebA")
        if identities.exists():
            table.insert(1, "identity", self._look_up("identity_CelebA", "identity", table["image"]))
        elif self.part != "all":
            raise InputError(
                f"{identities}: no such file, so people cannot be held out; get it from CelebA's authors, or use a "
                "subset with part: all."
            )
        if self.subset != "all":
            number = str(self.SUBSETS.index(self.subset))
            table = table[self._look_up("list_eval_partition", "partition", table["image"]) == number]
        folder = "img_align_celeba"
        deeper = (it for it in (f"{folder}/{folder}", f"Img/{folder}") if (self.root / it).is_dir())
        return table.assign(image=f"{next(deeper, folder)}/" + table["image"])

    def _find(self, name: str) -> Path:
        """A list, in the folder and with the ending that it has."""
        places = [self.root / folder / f"{name}{end}" for end in (".txt", ".csv") for folder in ("", "Anno", "Eval")]
        return next((place for place in places if place.exists()), places[0])

    def _look_up(self, file: str, column: str, images: pd.Series) -> pd.Series:
        path = self._find(file)
        found = images.map(read_celeba(path, [column], header=False).set_index("name")[column])
        if found.isna().any():
            raise InputError(f"{path}: no line for {images[found.isna()].iloc[0]}; use the file of the same CelebA.")
        return found


class LabelList(Source):
    """Aligned images in a folder, and a list of their labels next to it: the layout of the paper's authors.

    Parameters
    ----------
    labels
        The list, below the root.
    images
        The folder, below the root, that the list's names start from.
    """

    def __init__(self, root: Path, *, labels: str = "label.txt", images: str = "data", **options) -> None:
        super().__init__(root, **options)
        self.labels, self.images = labels, images

    def _read_table(self) -> pd.DataFrame:
        table = self._read_list(inside(self.root, self.labels, "labels"))
        return table if self.images == "." else table.assign(image=f"{self.images}/" + table["image"])

    @abstractmethod
    def _read_list(self, path: Path) -> pd.DataFrame:
        """The table, with ``image`` as the list has it."""


class AgeGenderList(LabelList):
    """The authors' lists of Adience, MORPH and IMDB-WIKI: a header ``name age gender``, gender 0 female and 1 male.

    Faces without age or gender (nan) are left out.
    """

    def _read_list(self, path: Path) -> pd.DataFrame:
        labels = read_labels(path, ["name", "age", "gender"])
        age, gender = decode(path, labels["age"]), decode(path, labels["gender"], GENDER_CLASSES)
        return pd.DataFrame({"image": labels["name"], "age": age, "gender": gender}).dropna()


class CelebAList(LabelList):
    """The authors' list of CelebA: a header with the attributes' names in any order, then -1 or 1 for each."""

    def _read_list(self, path: Path) -> pd.DataFrame:
        return read_attributes(path)


class AffectNetList(LabelList):
    """The authors' list of AffectNet (Mollahosseini et al., TAC 2019): a header with ``name`` and ``expression``.

    Other columns are ignored; faces of contempt, or of no expression, are left out.

    Parameters
    ----------
    numbering
        What the numbers of expressions mean: ``model``, places in this model's order, where 0 is surprise, which is how
        the authors' training reads their list; or ``affectnet``, AffectNet's own, where 0 is neutral.
    """

    def __init__(self, root: Path, *, numbering: Literal["model", "affectnet"] = "model", **options) -> None:
        super().__init__(root, **options)
        self.numbering = numbering

    def _read_list(self, path: Path) -> pd.DataFrame:
        labels = read_labels(path, ["name", "expression"], others=True)
        classes = AFFECTNET_CLASSES if self.numbering == "affectnet" else {i: i for i in range(len(EXPRESSIONS))}
        with naming(f"numbering {self.numbering}"):  # 7 may be contempt, in the other one
            expression = decode(path, labels["expression"], classes)
        return pd.DataFrame({"image": labels["name"], "expression": expression}).dropna()


class FgNetList(LabelList):
    """The authors' list of FG-NET: a header ``name age``. In a name such as ``001A02.JPG``, 001 is the person."""

    def _read_list(self, path: Path) -> pd.DataFrame:
        labels = read_labels(path, ["name", "age"])
        people = labels["name"].str.extract(r"(?:^|/)(\d+)[Aa]\d+[^/]*$", expand=False)
        if people.isna().any():
            line = people.isna().idxmax()
            raise InputError(f"{path}: line {line}: {labels['name'][line]!r} must be named like 001A02.JPG.")
        return pd.DataFrame({"image": labels["name"], "identity": people, "age": decode(path, labels["age"])})


class Clap2015(LabelList):
    """ChaLearn's apparent ages (Escalera et al., ICCVW 2015): lines ``name;mean;std``, without a header.

    The table has also ``age_deviation``, the standard deviation of the annotators' guesses, in years.
    """

    def __init__(self, root: Path, *, labels: str = "label.csv", **options) -> None:
        super().__init__(root, labels=labels, **options)

    def _read_list(self, path: Path) -> pd.DataFrame:
        labels = read_labels(path, ["name", "age", "age_deviation"], header=False, separator=";")
        columns = {name: decode(path, labels[name]) for name in ("age", "age_deviation")}
        return pd.DataFrame({"image": labels["name"], **columns})
