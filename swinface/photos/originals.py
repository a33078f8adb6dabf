"""Labels of Adience, MORPH, IMDB-WIKI and AffectNet from the files that their authors publish, and of pose.

``swinface.data.datasets`` reads the lists that SwinFace's authors made of these sets: one line per aligned face. This
module makes such lists: for the photos in the set's own files, and for the faces that ``swinface align`` cut from them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import MAXYEAR, date
from pathlib import Path

import numpy as np
import pandas as pd

from swinface.data.align import ARCFACE, fit_similarity
from swinface.data.labels import AFFECTNET_CLASSES, read_columns
from swinface.data.matlab import read_matlab, refuse_matlab
from swinface.data.pose import ANGLES, fit_pose, measure_turn, turn
from swinface.files import InputError, one_line
from swinface.photos.folder import read_whole_log

AGES = (0.0, 100.0)  # years; IMDB-WIKI has faces of 2,000 years
LARGEST_ERROR = 0.15  # of ``swinface.data.pose.fit_pose``, at which a pose is still believed
MATLAB_EPOCH = 366  # days that Matlab's day numbers are ahead of Python's
AFFECTNET = (  # the columns of its files
    *("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks"),
    *("expression", "valence", "arousal"),
)
NUMBERS = ("dob", "photo_taken", "gender", "face_score", "second_face_score")  # of IMDB-WIKI's structure


def read_adience(path: Path) -> pd.DataFrame:
    """Read Adience's ``fold_*_data.txt`` (Eidinger, Enbar & Hassner, TIFS 2014) in a folder.

    Gives ``photo``, named as in the folder ``faces`` of the set; ``age`` in years, the middle of its range; and
    ``gender``, 0 female and 1 male; rows in which one is unknown are left out. Raises ``InputError`` if there are no
    lists, or if one, which is named, has another form.
    """
    files = sorted(path.glob("fold_*_data.txt"))
    if not files:
        raise InputError(f"{path}: no lists fold_*_data.txt of Adience.")
    columns = ["user_id", "original_image", "face_id", "age", "gender"]
    table = pd.concat([_read(file, "\t", columns) for file in files], ignore_index=True)
    photo = table["user_id"] + "/coarse_tilt_aligned_face." + table["face_id"] + "." + table["original_image"]
    ends = table["age"].str.extractall(r"(\d+)")[0].astype(float).groupby(level=0)
    age = ends.mean().reindex(table.index)
    return _keep_known(photo, age, _read_words(table["gender"], {"f": 0.0, "m": 1.0, "u": None}, path))


def read_morph(path: Path) -> pd.DataFrame:
    """Read MORPH's csv (Ricanek & Tesafaye, FG 2006): its columns ``photo``, ``age`` and ``gender``.

    Returns and raises as ``read_adience``.
    """
    table = _read(path, ",", ["photo", "age", "gender"])
    gender = _read_words(table["gender"], {"f": 0.0, "m": 1.0, "female": 0.0, "male": 1.0}, path)
    return _keep_known(table["photo"], pd.to_numeric(table["age"], errors="coerce"), gender)


def read_imdb_wiki(path: Path) -> pd.DataFrame:
    """Read ``imdb.mat`` or ``wiki.mat`` (Rothe, Timofte & Van Gool, IJCV 2018).

    The age is that on the first of July of the year in which the photo was taken, as its authors advise. Photos without
    a face or with a second one, by the set's own detector, and ages outside 0 to 100 are left out.

    Returns and raises as ``read_adience``.
    """
    what = "imdb.mat or wiki.mat of IMDB-WIKI"
    (content,) = read_matlab([path], ["imdb", "wiki"], what)
    try:
        (fields,) = content.values()
        table = pd.DataFrame({name: np.ravel(fields[name]).astype(float) for name in NUMBERS})
        table["photo"] = np.ravel(fields["full_path"]).astype(str)
    except (KeyError, TypeError, ValueError) as error:
        raise refuse_matlab(path, what, one_line(error)) from error
    years = table["photo_taken"]
    days = [date(int(year), 7, 1).toordinal() if 1 <= year <= MAXYEAR else np.nan for year in years]
    age = (np.array(days, float) - (table["dob"] - MATLAB_EPOCH)) / 365.25
    single = np.isfinite(table["face_score"]) & table["second_face_score"].isna()
    return _keep_known(table["photo"], age.where(single), table["gender"])


def read_affectnet(path: Path) -> pd.DataFrame:
    """Read AffectNet's ``training.csv`` or ``validation.csv`` (Mollahosseini et al., TAC 2019), also without a header.

    Gives ``photo`` and ``expression``, AffectNet's own number, 0 neutral to 6 anger; contempt and faces of no
    expression are left out. Raises ``InputError`` if the file has another form.
    """
    table = _read(path, ",", [AFFECTNET[0], AFFECTNET[6]], AFFECTNET)
    numbers = {str(number): number if place is not None else None for number, place in AFFECTNET_CLASSES.items()}
    expression = _read_words(table[AFFECTNET[6]].str.removesuffix(".0"), numbers, path)
    found = pd.DataFrame({"photo": table[AFFECTNET[0]], "expression": expression})
    return found.dropna().astype({"expression": int}).reset_index(drop=True)


def read_pose(path: Path) -> pd.DataFrame:
    """Estimate head pose from the landmarks in a log of ``swinface align``, for sets without such labels.

    Gives ``photo``, and ``yaw``, ``pitch`` and ``roll`` in degrees, of the aligned face. Faces with an error above
    ``LARGEST_ERROR`` are left out. Raises ``InputError`` if there is no such log.
    """
    log = read_whole_log(path).dropna(subset="face")
    landmarks = log[[f"{axis}{number}" for number in range(1, 6) for axis in "xy"]].to_numpy().reshape(-1, 5, 2)
    rows = []
    for photo, points in zip(log["photo"], landmarks, strict=True):
        name = f"{path}: {photo}"
        pose, error = fit_pose(points, name)
        if error <= LARGEST_ERROR:
            rows.append((photo, *turn(pose, measure_turn(fit_similarity(points, ARCFACE, name))).round(1)))
    return pd.DataFrame(rows, columns=["photo", *ANGLES])


SETS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "adience": read_adience,
    "morph": read_morph,
    "imdb_wiki": read_imdb_wiki,
    "affectnet": read_affectnet,
    "pose": read_pose,
}


def list_faces(labels: pd.DataFrame, log: pd.DataFrame, where: str = "the labels") -> pd.DataFrame:
    """The labels of the faces that were cut out of their photos: ``name``, the face, and the columns of the labels.

    ``labels`` are as ``read_adience`` and the others return them, from what is called ``where``; ``log`` is that of
    ``swinface.photos.folder.align_folder``. If its names and those of the labels have different numbers of folders, the
    ends of the names are compared. Backslashes are slashes. Raises ``InputError`` if no photo has labels, or none of
    those that have a face, or if two photos cannot be told apart by the ends of their names.
    """
    if labels.empty:
        raise InputError(f"{where}: no photo has all labels; use the files as the set's authors publish them.")
    labels = labels.assign(photo=labels["photo"].str.replace("\\", "/", regex=False))
    faces = log.dropna(subset="face")
    depth = min(labels["photo"].str.count("/").max(), faces["photo"].str.count("/").max() if len(faces) else 0)
    wanted, cut = (  # of each path the name and that many folders
        ["/".join(photo.split("/")[-depth - 1 :]) for photo in photos] for photos in (labels["photo"], log["photo"])
    )
    for photos, ends, others in ((labels["photo"], wanted, {*cut}), (log["photo"], cut, {*wanted})):
        by_end: dict[str, str] = {}
        for photo, end in zip(photos, ends, strict=True):
            if end in others and by_end.setdefault(end, photo) != photo:
                raise InputError(
                    f"{where}: {by_end[end]} and {photo} both end in {end}, so labels cannot tell them apart; align "
                    "the photos in the folders of the published set."
                )
    name = pd.Series(wanted, labels.index).map(dict(zip(cut, log["face"], strict=True)))
    if name.isna().all():
        some = f"{len(labels):,} labelled photos, such as {labels['photo'].iloc[0]}"
        raise InputError(f"{where}: none of {some}, has a face; align the photos of this set.")
    table = labels.drop(columns="photo")
    table.insert(0, "name", name)
    return table.dropna(subset="name").reset_index(drop=True)


def _keep_known(photo: pd.Series, age: pd.Series, gender: pd.Series) -> pd.DataFrame:
    """The rows in which all is known."""
    table = pd.DataFrame({"photo": photo.str.strip(), "age": age.round(2), "gender": gender}).dropna()
    return table[table["age"].between(*AGES) & (table["photo"] != "")].reset_index(drop=True)


def _read_words(texts: pd.Series, meanings: dict[str, float | None], path: Path) -> pd.Series:
    """What words mean, whatever their letters' case; nan where a word means nothing, or is missing.

    Raises ``InputError`` if a word is another one: its faces would be left out.
    """
    words = texts.str.strip().str.lower()
    other = words[~words.isin([*meanings, ""])]
    if len(other):
        row, known = other.index[0] + 1, ", ".join(meanings)
        raise InputError(f"{path}: row {row}: {texts.name} is {other.iloc[0]!r}; expected one of {known}.")
    return words.map(meanings).astype("float64")


def _read(path: Path, separator: str, columns: list[str], names: Sequence[str] = ()) -> pd.DataFrame:
    """Some columns of a table, as text; ``names`` are those of all columns where the file does not begin with them."""
    options = {"sep": separator, "dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
    table = read_columns(path, "table", **options)
    if len(table.columns) == len(names) and columns[0] not in table:
        table = read_columns(path, "table", names=list(names), **options)
    table.columns = [re.sub(r"\s+", "", str(name)) for name in table.columns]
    lacking = [name for name in columns if name not in table]
    if not isinstance(table.index, pd.RangeIndex) or not table.columns.is_unique:
        raise InputError(f"{path}: rows have more fields than the header, or two columns have the same name.")
    if lacking:
        raise InputError(f"{path}: no column {lacking[0]!r}; use the file as the set's authors publish it.")
    return table[columns]
