"""Families In the Wild on disk -> tables of faces, people and relations, and its lists -> pairs tables.

The layout is that of the RFIW challenge: ``Train/train-faces/F0001/MID1/*.jpg`` with the family's matrix in
``Train/train-faces/F0001/mid.csv``, likewise ``Validation`` and ``Test``; the image folders may have other names.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

from kinface.data.annotations import describe_people, read_annotations
from kinface.data.families import DATASET, TABLES, Families, conform, read_tables
from kinface.data.matrices import GENERATION_GAP, Problem, read_matrix
from swinface.files import InputError

PARTITIONS = {"Train": "train", "Validation": "val", "Test": "test"}


IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")


FAMILY_FOLDER = re.compile(rf"({'|'.join(PARTITIONS)})/[^/]+/F\d+/")  # what a path of FIW's own layout starts with


def read_families(
    root: str | Path, *, annotations: list[Path] | None = None, tune: float = 0.15, seed: int = 0
) -> Families:
    """Read FIW, or the tables that ``kinface prepare`` wrote from it. Images are listed, not opened.

    Parameters
    ----------
    root
        The folder with ``Train`` and ``Validation``, or one written by ``prepare``, whose annotations and splits are
        fixed.
    annotations
        Csv files about faces (see ``kinface.data.annotations``); all of ``ROOT/annotations`` when not given.
    tune
        Share of the ``Train`` families, the same for every race, that become the split ``tune`` for model selection
        and thresholds.
    seed
        Of the draw of these families.

    Raises
    ------
    InputError
        The folder is missing or laid out otherwise, a family lies in two partitions, an annotation file is unusable.
    """
    root = Path(root)
    if (root / DATASET).is_file():
        if annotations is not None:
            raise InputError(f"{root} is prepared with its annotations; give new ones to `kinface prepare`.")
        return read_tables(root)
    if not 0 <= tune < 1:
        raise InputError(f"tune is a share of the training families, from 0 to below 1; got {tune}.")
    problems: list[Problem] = []
    folders = _find_families(root)
    if folders.empty:
        raise InputError(f"{root}: not FIW's layout; expected folders such as Train/train-faces/F0001/MID1.")
    faces = _list_faces(root, folders, problems)
    members, relations = _read_members(root, folders, faces, problems)
    if annotations is None:
        annotations = sorted((root / "annotations").glob("*.csv"))
    values, columns, unclear = read_annotations(annotations, faces["face"])
    faces = pd.concat([faces, values], axis="columns")
    split = _split_families(folders, faces, tune, seed)
    faces, members, relations = (t.assign(split=t["family"].map(split)) for t in (faces, members, relations))
    return Families(
        root,
        conform(faces, "faces"),
        conform(describe_people(members, faces), "people"),
        conform(relations, "relations"),
        conform(pd.DataFrame(problems + unclear, columns=[*TABLES["problems"]]), "problems"),
        conform(columns, "annotations"),
    )


def read_known_families(root: str | Path) -> Families:
    """Read families as ``read_families`` does; of a folder that is laid out otherwise, empty tables.

    Of the faces of such a folder neither person nor family is known, as of the test faces of RFIW.
    """
    root = Path(root)
    if (root / DATASET).is_file() or not _find_families(root).empty:
        return read_families(root)
    return Families(root, **{name: conform(pd.DataFrame(columns=[*columns]), name) for name, columns in TABLES.items()})


def _find_families(root: Path) -> pd.DataFrame:
    """Columns family, split, folder; sorted by family; empty where the folder is laid out otherwise."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the folder that holds FIW's Train and Validation.")
    found = []
    for partition, split in PARTITIONS.items():
        folders = [folder for folder in root.glob(f"{partition}/*/F*") if re.fullmatch(r"F\d+", folder.name)]
        folders = [folder for folder in folders if folder.is_dir()]
        parents = sorted({folder.parent.name for folder in folders})
        if len(parents) > 1:
            raise InputError(f"{root / partition}: families in several folders ({', '.join(parents)}); keep one.")
        found += [(folder.name, split, folder) for folder in folders]
    table = pd.DataFrame(found, columns=["family", "split", "folder"]).sort_values("family", ignore_index=True)
    twice = table[table["family"].duplicated(keep=False)]
    if len(twice):
        first, second = twice["folder"].iloc[:2]
        raise InputError(f"family {first.name} lies in two partitions, {first} and {second}; splits are by family.")
    return table


def _list_faces(root: Path, folders: pd.DataFrame, problems: list[Problem]) -> pd.DataFrame:
    """Columns face, family, mid, person; sorted by family, MID and file name."""
    rows = []
    for family, folder in zip(folders["family"], folders["folder"], strict=True):
        where = folder.relative_to(root).as_posix()
        before = len(rows)
        for name in sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()):
            member = re.fullmatch(r"MID([1-9]\d*)", name)
            if not member:
                problems.append(("unexpected folder", f"{where}/{name}", "not a MID: its images are left out"))
                continue
            images = [file for file in os.listdir(folder / name) if file.lower().endswith(IMAGE_ENDINGS)]
            rows += [(f"{where}/{name}/{file}", family, int(member[1]), f"{family}/{name}") for file in images]
        if len(rows) == before:
            problems.append(("family without images", where, "its members are in the tables, without faces"))
    if not rows:
        raise InputError(f"{root}: no images; expected files such as Train/train-faces/F0001/MID1/P00001_face0.jpg.")
    faces = pd.DataFrame(rows, columns=["face", "family", "mid", "person"])
    return faces.sort_values(["family", "mid", "face"], ignore_index=True)


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


def _split_families(folders: pd.DataFrame, faces: pd.DataFrame, tune: float, seed: int) -> pd.Series:
    """Family to split; ``tune`` is drawn from ``train`` in proportion to the families' races.

    The shuffled families are lined up by race and every (1 / tune)-th is taken, from a random start (systematic
    sampling): each race gets its share to within one family, however rare it is.
    """
    split = folders.set_index("family")["split"]
    families = split.index[split == "train"]
    count = min(max(round(tune * len(families)), 1), len(families) - 1) if tune else 0
    if count < 1:
        return split
    generator = np.random.default_rng(seed)
    counts = faces.groupby(["family", "race"], as_index=False).size()
    majority = counts.sort_values(["size", "race"], ascending=[False, True]).drop_duplicates("family")
    race = dict(zip(majority["family"], majority["race"], strict=True))
    lined_up = sorted(generator.permutation(families), key=lambda family: race.get(family, "unknown"))
    positions = (np.arange(count) + generator.random()) * len(lined_up) / count
    split[[lined_up[position] for position in positions.astype(int)]] = "tune"
    return split
