"""Families In the Wild on disk -> tables of faces, people and relations, and its lists -> pairs tables.

The layout is that of the RFIW challenge: ``Train/train-faces/F0001/MID1/*.jpg`` with the family's matrix in
``Train/train-faces/F0001/mid.csv``, likewise ``Validation`` and ``Test``; the image folders may have other names.
"""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from kinface.annotations import describe_people, read_annotations
from kinface.families import DATASET, TABLES, Families, conform, read_prepared_list, read_tables
from kinface.matrices import GENERATION_GAP, Problem, read_matrix
from kinface.pairs import PAIRS_ENDINGS, RACES, TYPES, describe_pairs, read_pairs
from swinface.files import InputError, inside

PARTITIONS = {"Train": "train", "Validation": "val", "Test": "test"}
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")
OFFICIAL_GRANDPARENTS = {"gmgs": "gfgd", "gfgd": "gmgs", "gfgs": "gmgd", "gmgd": "gfgs"}
FAMILY_FOLDER = re.compile(rf"({'|'.join(PARTITIONS)})/[^/]+/F\d+/")  # what a path of FIW's own layout starts with
KFC_RACES = {code: race for race, code in RACES.items()}


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
        Csv files about faces (see ``kinface.annotations``); all of ``ROOT/annotations`` when not given.
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


def read_any_list(
    name: str | Path, root: str | Path, families: Families, *, swap_grandparents: bool = False
) -> pd.DataFrame:
    """Read a list in any of its forms: a list of the prepared folder, a pairs table, or a list of RFIW or KFC.

    Parameters
    ----------
    name
        The name of a list of the prepared folder, such as ``tune``, or else a file, a pairs table where it ends in
        .parquet or .csv.
    root
        Where ``families`` were read from.
    swap_grandparents
        See ``read_list``; only lists of RFIW and KFC are read so.

    Raises
    ------
    InputError
        The file cannot be used, or names a face that is not there.
    """
    prepared = read_prepared_list(Path(root), str(name))
    if prepared is not None:
        return prepared
    if Path(name).suffix not in PAIRS_ENDINGS:
        return read_list(name, families, swap_grandparents=swap_grandparents)
    pairs = read_pairs(name)
    persons = _persons_of_faces(families)
    for row, faces in enumerate(zip(pairs["face_a"], pairs["face_b"], strict=True), start=1):
        for face in faces:
            _check_face(face, f"{name}: row {row}", families.root, persons)
    return pairs


def read_list(path: str | Path, families: Families, *, swap_grandparents: bool = False) -> pd.DataFrame:
    """Read a list of pairs in the form of RFIW or of KFC and describe its persons.

    RFIW Track 1 writes ``index path1 path2 type kin``, KFC ``path1 path2 type kin race``; one file has one form.
    KFC's race (``AA``, ``A``, ``C``, ``I``, or ``C&AA`` for the first and second face of a cross-race pair) goes
    before the annotated one. Paths are relative to the root of ``families``, but may lie elsewhere below it than in a
    family's folder, as RFIW's test faces do (``Test/test-faces/face3118.jpg``): person and family are missing then.

    Parameters
    ----------
    swap_grandparents
        Grandparent types carry the names of the official RFIW lists, which swap them: their ``gmgs`` is
        grandfather-granddaughter, ``gfgd`` grandmother-grandson, and ``gfgs`` and ``gmgd`` likewise.

    Returns
    -------
    pd.DataFrame
        A pairs table with one row per pair of the list, in its order; ``list`` is the file's name without ending.

    Raises
    ------
    InputError
        Names the file and line that cannot be used.

    Warns
    -----
    UserWarning
        Persons' genders contradict most grandparent pairs of the list.
    """
    path = Path(path)
    pairs = pd.DataFrame(_parse_list(path, families)).assign(list=path.stem)
    if swap_grandparents:
        pairs["type"] = pairs["type"].replace(OFFICIAL_GRANDPARENTS)
    pairs = describe_pairs(pairs, families)
    _warn_of_grandparents(pairs, path, swap_grandparents)
    return pairs


def _parse_list(path: Path, families: Families) -> list[dict[str, str]]:
    """One row per pair: face_a, face_b, type, kin and, in KFC's form, race_a, race_b, race_source."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable list ({getattr(error, 'strerror', None) or error}).") from error
    persons = _persons_of_faces(families)
    rows, form = [], None
    for number, line in enumerate(lines, start=1):
        where = f"{path}:{number}"
        fields = line.split()
        if not fields:
            continue
        row_form = "RFIW" if fields[0].isdecimal() else "KFC"
        form = form or row_form
        if len(fields) != 5 or row_form != form:
            wanted = "index path1 path2 type kin" if form == "RFIW" else "path1 path2 type kin race"
            raise InputError(f"{where}: expected the five fields '{wanted}' of the {form} form, got {line.strip()!r}.")
        *pair, race = fields if form == "KFC" else [*fields[1:], None]
        row = _parse_pair(pair, where, families.root, persons)
        rows.append(row | (_parse_race(race, where) if race else {}))
    if not rows:
        raise InputError(f"{path}: the list is empty.")
    return rows


def _persons_of_faces(families: Families) -> dict[str, str | None]:
    return dict(zip(families.faces["face"], families.faces["person"], strict=True))


def _check_face(face: str, where: str, root: Path, persons: dict[str, str | None]) -> None:
    """Refuse a face that is not there. One that lies outside of all family folders joins ``persons`` as None."""
    if face in persons:
        return
    path = inside(root, face, where)
    if FAMILY_FOLDER.match(path.relative_to(root).as_posix()) or not path.is_file():
        example = f", as in {next(iter(persons))}" if persons else ""
        raise InputError(f"{where}: no face {face} below {root}. Paths start there{example}.")
    persons[face] = None


def _parse_pair(fields: list[str], where: str, root: Path, persons: dict[str, str | None]) -> dict[str, str]:
    face_a, face_b, kin_type, kin = fields
    for face in (face_a, face_b):
        _check_face(face, where, root, persons)
    if kin_type not in TYPES:
        raise InputError(f"{where}: unknown type {kin_type!r}; the types are {' '.join(TYPES)}.")
    if kin not in ("0", "1"):
        raise InputError(f"{where}: kin is 1 or 0, got {kin!r}.")
    person_a, person_b = (persons[face] or face for face in (face_a, face_b))
    if person_a == person_b:
        raise InputError(f"{where}: both faces are of {person_a}; a pair is of two persons.")
    known = persons[face_a] and persons[face_b]
    if kin == "1" and known and person_a.split("/")[0] != person_b.split("/")[0]:
        raise InputError(f"{where}: {person_a} and {person_b} are of two families and cannot be kin.")
    return {"face_a": face_a, "face_b": face_b, "type": kin_type, "kin": kin}


def _parse_race(code: str, where: str) -> dict[str, str]:
    sides = code.split("&")
    if len(sides) > 2 or not set(sides) <= KFC_RACES.keys():
        raise InputError(f"{where}: unknown race {code!r}; a race is AA, A, C or I, a cross-race pair such as C&AA.")
    return {"race_a": KFC_RACES[sides[0]], "race_b": KFC_RACES[sides[-1]], "race_source": "KFC list"}


def _warn_of_grandparents(pairs: pd.DataFrame, path: Path, swapped: bool) -> None:
    rows = pairs[pairs["type"].isin(OFFICIAL_GRANDPARENTS) & pairs["gender_a"].notna() & pairs["gender_b"].notna()]
    stated = rows["gender_a"] + rows["gender_b"]
    wrong = int((stated != rows["type"].map({code: t.gender_a + t.gender_b for code, t in TYPES.items()})).sum())
    if 2 * wrong > len(rows):  # fewer are slips of single pairs, not another naming
        advice = "read it without" if swapped else "official RFIW lists swap the grandparents' names: read them with"
        warnings.warn(
            f"{path}: genders contradict the type of {wrong} of {len(rows)} grandparent pairs; "
            f"{advice} swap_grandparents.",
            stacklevel=3,
        )
