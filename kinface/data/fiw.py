"""Families In the Wild on disk -> tables of faces, people and relations, and its lists -> pairs tables.

The layout is that of the RFIW challenge: ``Train/train-faces/F0001/MID1/*.jpg`` with the family's matrix in
``Train/train-faces/F0001/mid.csv``, likewise ``Validation`` and ``Test``; the image folders may have other names. Or it
is that of Kaggle's "Recognizing Faces in the Wild", ``train/F0001/MID1/*.jpg`` with ``train_relationships.csv`` beside
``train``, which says who are kin and not in what way. TSKinFace is read too (``kinface.data.tskinface``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from kinface.data.annotations import describe_people, read_annotations
from kinface.data.dataset import Dataset
from kinface.data.families import (
    DATASET,
    FAMILY,
    PARTITIONS,
    conform_all,
    draw_evenly,
    family_races,
    line_up,
    list_files,
    list_problems,
    read_tables,
)
from kinface.data.matrices import GENERATION_GAP, LONGEST_NUMBER, Problem, read_matrix
from kinface.data.tables import canonical_text, list_names, read_table
from kinface.data.tskinface import is_tskinface, read_tskinface
from kinface.data.vocabulary import KIN
from swinface.bootstrap import start_drawing
from swinface.files import InputError, one_line, printable, tidy_path
from swinface.images import Images, list_images

KAGGLE = ("train", "train-faces")  # where Kaggle's families lie; its archive has had either name
RELATIONSHIPS = "train_relationships.csv"  # Kaggle's, in the columns p1 and p2
KEYS = ("face", "person", "family")  # of a table of people
PERSON = re.compile(rf"MID([1-9][0-9]{{0,{LONGEST_NUMBER - 1}}})")


def read_families(
    root: str | Path,
    *,
    annotations: list[Path] | None = None,
    meanings: Mapping[str, Mapping[str, str]] | None = None,
    measurements: Collection[str] = (),
    tune: float = 0.15,
    seed: int = 0,
) -> Dataset:
    """Read FIW, or the tables that ``kinface prepare`` wrote from it. Images are listed, not opened.

    Parameters
    ----------
    root
        The folder with ``Train`` and ``Validation``, or of another layout named above, or one written by ``prepare``,
        whose annotations and splits are fixed.
    annotations
        Csv files about faces (see ``kinface.data.annotations``), before those of ``ROOT/annotations``, which are always
        read: where two predict the same, the first counts.
    meanings, measurements
        See ``kinface.data.annotations.read_annotations``.
    tune
        Share of the ``Train`` families, the same for every race, that become the split ``tune`` for model selection
        and thresholds.
    seed
        Seed of the draw of these families.

    Returns
    -------
    Dataset
        Tables of faces, people and relations; its ``pairs``, ``triplets`` and ``search`` read lists, or draw them.

    Raises
    ------
    InputError
        The folder is missing or laid out otherwise, a family lies in two partitions, an annotation file is unusable.

    Examples
    --------
    >>> import tempfile, kinface
    >>> from pathlib import Path
    >>> from kinface.synthetic.families import synthesize
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = synthesize(folder, families=12, photos=1)  # in the place of a copy of FIW
    >>> families = kinface.read_families(folder)
    >>> families.faces["family"].nunique(), families.pairs("val_choose")["kin"].mean()
    (12, np.float64(0.5))
    """
    root, measurements = Path(root), list_names(measurements)
    if (root / DATASET).is_file():
        if annotations is not None or meanings or measurements:
            raise InputError(f"{root} is prepared with its annotations; give new ones to `kinface prepare`.")
        return Dataset(**vars(read_tables(root)), folder=root)
    if not 0 <= tune < 1:
        raise InputError(f"tune is a share of the training families, from 0 to below 1; got {tune}.")
    problems: list[Problem] = []
    read = read_tskinface if is_tskinface(root) else _read_fiw
    faces, members, relations, split = read(root, problems)
    faces = faces.sort_values(["family", "mid", "face"], ignore_index=True)
    given = [*map(Path, [annotations] if isinstance(annotations, str | Path) else annotations or [])]
    there = {file.resolve() for file in given}
    files = [*given, *(it for it in list_files(root / "annotations", (".csv",), problems) if it.resolve() not in there)]
    values, columns, unclear = read_annotations(files, faces["face"], meanings=meanings, measurements=measurements)
    faces = pd.concat([faces, values], axis="columns")
    split = _split_families(split, faces, tune, seed)
    faces, members, relations = (t.assign(split=t["family"].map(split)) for t in (faces, members, relations))
    tables = {"faces": faces, "people": describe_people(members, faces), "relations": relations}
    tables |= {"problems": list_problems(problems + unclear), "annotations": columns}
    read_with = {"tune": tune, "seed": seed, "meanings": meanings or {}, "measurements": sorted(measurements)}
    return Dataset(root, **conform_all(tables), read_with=read_with, folder=root)


def is_families(root: Path) -> bool:
    """Whether ``read_families`` knows the layout of a folder, or this is no folder."""
    if (root / DATASET).is_file() or not root.is_dir():
        return True
    return is_tskinface(root) or not _find_families(root).empty


def read_known_families(root: str | Path) -> Dataset:
    """Read families as ``read_families`` does. Of another layout, such as RFIW's test faces, the tables are empty."""
    root = Path(root)
    return read_families(root) if is_families(root) else Dataset(root, **conform_all({}), folder=root)


def read_people(path: Path) -> pd.DataFrame:
    """Read who faces belong to: a row per face with ``face``, ``person``, ``family`` and attributes of the person.

    These three, and a ``split``, are text, as ``canonical_text`` gives it. The path is a folder of ``kinface prepare``,
    or a .parquet or .csv table. Raises ``InputError`` if there is none, a column is missing, or a face is named twice.
    """
    if path.is_dir():
        return read_families(path).describe()
    if not path.exists():
        what = "people are a folder of `kinface prepare` or a .parquet or .csv table"
        raise InputError(f"{path}: no such file or folder; {what}.")
    table = read_table(path, "table of people")
    for column in KEYS:
        if column not in table:
            raise InputError(f"{path}: no column {column!r}; a table of people has face, person and family.")
        table[column] = canonical_text(table[column], f"{path}: {column}", paths=column == "face")
        if table[column].isna().any():
            raise InputError(f"{path}: row {int(table[column].isna().argmax()) + 1}: {column} is missing.")
    if "split" in table:  # it may be the number of a fold
        table["split"] = canonical_text(table["split"], f"{path}: split")
    twice = table["face"].duplicated()
    if twice.any():
        raise InputError(
            f"{path}: row {int(twice.argmax()) + 1}: {one_line(table['face'][twice].iloc[0])} is named twice."
        )
    return table


def _read_fiw(root: Path, problems: list[Problem]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.Series]:
    """Faces, members and relations, and the split of each family before ``tune`` is drawn."""
    folders = _find_families(root)
    if folders.empty:
        raise InputError(
            f"{root}: not FIW's layout; expected folders such as Train/train-faces/F0001/MID1, Kaggle's "
            f"train/F0001/MID1 with {RELATIONSHIPS}, or TSKinFace's FMD, FMS and FMSD."
        )
    others = {path.parts[-3] for path in root.glob("*/*/F*") if FAMILY.fullmatch(path.name)} - PARTITIONS.keys()
    for name in sorted(others):
        problems.append(
            ("unexpected folder", printable(name), f"has families, but is none of {', '.join(PARTITIONS)}: left out")
        )
    for parent in dict.fromkeys(folder.parent for folder in folders["folder"]):
        for name in sorted(it.name for it in parent.iterdir() if it.is_dir() and it.name[0] != "."):
            if not FAMILY.fullmatch(name):
                where = printable(f"{parent.relative_to(root).as_posix()}/{name}")
                problems.append(("unexpected folder", where, "not a family such as F0001: its images are left out"))
    faces = _list_faces(root, folders, problems)
    if (root / RELATIONSHIPS).is_file():
        members, relations = _read_relationships(root / RELATIONSHIPS, faces, problems)
    else:
        members, relations = _read_members(root, folders, faces, problems)
    return faces, members, relations, folders.set_index("family")["split"]


def _find_families(root: Path) -> pd.DataFrame:
    """Columns family, split, folder; sorted by family; empty where the folder is laid out otherwise."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the folder that holds FIW's Train and Validation.")
    found = [
        (folder.name, split, folder)
        for partition, split in PARTITIONS.items()
        for folder in _find_below(root, f"{partition}/*", partition)
    ]
    if not found and (root / RELATIONSHIPS).is_file():
        found = [(folder.name, "train", folder) for name in KAGGLE for folder in _find_below(root, name, name)]
    table = pd.DataFrame(found, columns=["family", "split", "folder"]).sort_values("family", ignore_index=True)
    twice = table[table["family"].duplicated(keep=False)]
    if len(twice):
        first, second = twice["folder"].iloc[:2]
        raise InputError(f"family {first.name} lies in two partitions, {first} and {second}; splits are by family.")
    return table


def _find_below(root: Path, pattern: str, partition: str) -> list[Path]:
    folders = [folder for folder in root.glob(f"{pattern}/F*") if FAMILY.fullmatch(folder.name) and folder.is_dir()]
    parents = sorted({folder.parent.name for folder in folders})
    if len(parents) > 1:
        raise InputError(f"{root / partition}: families in several folders ({', '.join(parents)}); keep one.")
    if parents and printable(parents[0]) != parents[0]:
        raise InputError(f"{root / partition}: {parents[0]} has control characters or no UTF-8 in its name; rename it.")
    return folders


def _list_faces(root: Path, folders: pd.DataFrame, problems: list[Problem]) -> pd.DataFrame:
    """Columns face, family, mid, person."""
    rows, left_out = [], {}
    for family, folder in zip(folders["family"], folders["folder"], strict=True):
        where = folder.relative_to(root).as_posix()
        people = {}
        for name in sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."):
            if member := PERSON.fullmatch(name):
                people[f"{where}/{name}"] = (family, int(member[1]), f"{family}/{name}")
            else:
                problems.append(("unexpected folder", f"{where}/{name}", "not a MID: its images are left out"))
        images = list_images(root, where)
        of_people = [(face, *people[place]) for face in images.names if (place := face.rpartition("/")[0]) in people]
        rows += of_people
        if not of_people:
            problems.append(("family without images", where, "its members are in the tables, without faces"))
        outside = [face for face in images.names if face.rpartition("/")[0] not in people]
        left_out |= dict.fromkeys(outside, "not in a folder such as MID1") | images.left_out
        left_out.pop(f"{where}/mid.csv", None)
    if not rows:
        example = f"{folders['folder'].iloc[0].relative_to(root)}/MID1/P00001_face0.jpg"
        raise InputError(f"{root}: no images; expected files such as {example}.")
    if left_out:
        problems.append(("files left out", ".", Images([], left_out).describe_left_out()))
    return pd.DataFrame(rows, columns=["face", "family", "mid", "person"])


def _read_relationships(path: Path, faces: pd.DataFrame, problems: list[Problem]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Kaggle's people, all of whom have faces and no known gender, and who are kin."""
    people = faces[["person", "family", "mid"]].drop_duplicates("person").sort_values(["family", "mid"])
    table = read_table(path, "table of relationships")
    lacking = [column for column in ("p1", "p2") if column not in table]
    if lacking:
        raise InputError(f"{path}: no column {lacking[0]!r}; it has two people in each row, p1 and p2.")
    pairs = pd.DataFrame({side: table[side].fillna("").map(tidy_path) for side in ("p1", "p2")})
    family = pairs.apply(lambda side: side.str.partition("/")[0])
    reasons = {
        "people without faces": ~pairs.isin(people["person"].tolist()).all(axis="columns"),
        "people of two families": family["p1"] != family["p2"],
        "one person twice": pairs["p1"] == pairs["p2"],
    }
    usable = pd.Series(True, pairs.index)
    for reason, broken in reasons.items():
        broken = broken & usable
        if broken.any():
            example = " and ".join(pairs[broken].iloc[0])
            message = f"{int(broken.sum()):,} rows name {reason}, such as {example}: left out"
            problems.append(("relation left out", path.name, message))
        usable &= ~broken
    if len(pairs) and not usable.any():
        raise InputError(
            f"{path}: none of its {len(pairs):,} rows names two people of a family with faces, as in F0001/MID1; row 1 "
            f"names {' and '.join(pairs.iloc[0])}."
        )
    related = pd.DataFrame(np.sort(pairs[usable].to_numpy(object), axis=1), columns=["person_a", "person_b"])
    related = related.drop_duplicates(ignore_index=True)
    related["family"] = related["person_a"].str.partition("/")[0] if len(related) else None
    unknown = {"name": None, "gender": None, "gender_source": None}
    return people.assign(**unknown), related.assign(relation=KIN, type=None, generation_gap=pd.NA)


def _read_members(
    root: Path, folders: pd.DataFrame, faces: pd.DataFrame, problems: list[Problem]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The people of all families, from ``mid.csv`` and from folders of faces, and their relations."""
    people, related = [], []
    pictured = faces.groupby("family")["mid"].agg(set).to_dict()
    for family, folder in zip(folders["family"], folders["folder"], strict=True):
        where = (folder / "mid.csv").relative_to(root).as_posix()
        matrix = read_matrix(folder / "mid.csv", where)
        problems += matrix.problems
        with_faces = pictured.get(family, set())
        for mid in sorted(matrix.members.keys() - with_faces if with_faces else ()):
            problems.append(("member without faces", where, f"MID{mid} has no images"))
        for mid in sorted(with_faces - matrix.members.keys()):
            problems.append(("faces without a usable row", where, f"MID{mid} has faces: gender and relations unknown"))
        for mid in sorted(matrix.members.keys() | with_faces):
            name, gender = matrix.members.get(mid, (None, None))
            people.append((f"{family}/MID{mid}", family, mid, name, gender, "FIW mid.csv" if gender else None))
        for a, b, relation, kin_type in matrix.relations:
            gap = GENERATION_GAP.get(relation)
            related.append((f"{family}/MID{a}", f"{family}/MID{b}", family, relation, kin_type, gap))
    return (
        pd.DataFrame(people, columns=["person", "family", "mid", "name", "gender", "gender_source"]),
        pd.DataFrame(related, columns=["person_a", "person_b", "family", "relation", "type", "generation_gap"]),
    )


def _split_families(split: pd.Series, faces: pd.DataFrame, tune: float, seed: int) -> pd.Series:
    """Family to split; ``tune`` is drawn from ``train`` in proportion to the families' races."""
    families = split.index[split == "train"]
    count = min(max(round(tune * len(families)), 1), len(families) - 1) if tune else 0
    if count < 1:
        return split
    generator = start_drawing(seed)
    lined_up = line_up(families, family_races(faces), generator)
    split[draw_evenly(lined_up, count, generator.random())] = "tune"
    return split
