"""Lists of pairs in the form of RFIW or KFC -> pairs tables."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pandas as pd

from kinface.data.families import Families, name_prepared_lists, read_prepared_list
from kinface.data.fiw import FAMILY_FOLDER
from kinface.data.pairs import read_pairs
from kinface.data.sampling import describe_pairs
from kinface.data.tables import is_table, one_line
from kinface.data.vocabulary import RACES, TYPES
from swinface.files import InputError, inside

OFFICIAL_GRANDPARENTS = {"gmgs": "gfgd", "gfgd": "gmgs", "gfgs": "gmgd", "gmgd": "gfgs"}


KFC_RACES = {code: race for race, code in RACES.items()}


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
    if not Path(name).exists():
        lists = name_prepared_lists(Path(root))
        there = f"; its lists are {one_line(', '.join(lists))}" if lists else ""
        raise InputError(f"{name}: no such file, and no list of {root}{there}.")
    if not is_table(name):
        return read_list(name, families, swap_grandparents=swap_grandparents)
    pairs = read_pairs(name)
    persons = persons_of_faces(families)
    for row, faces in enumerate(zip(pairs["face_a"], pairs["face_b"], strict=True), start=1):
        for face in faces:
            check_face(face, f"{name}: row {row}", families.root, persons)
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
    persons = persons_of_faces(families)
    rows, form = [], None
    for where, fields in read_fields(path):
        row_form = "RFIW" if fields[0].isdecimal() else "KFC"
        form = form or row_form
        if len(fields) != 5 or row_form != form:
            wanted = "index path1 path2 type kin" if form == "RFIW" else "path1 path2 type kin race"
            raise InputError(
                f"{where}: expected the five fields '{wanted}' of the {form} form, got {' '.join(fields)!r}."
            )
        *pair, race = fields if form == "KFC" else [*fields[1:], None]
        row = _parse_pair(pair, where, families.root, persons)
        rows.append(row | (_parse_race(race, where) if race else {}))
    return rows


def read_fields(path: Path) -> list[tuple[str, list[str]]]:
    """The fields of each line of a list, split at blanks, and where they stand: the file and line, for messages.

    Raises
    ------
    InputError
        The file cannot be read as text, or has no line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable list ({getattr(error, 'strerror', None) or error}).") from error
    rows = [(f"{path}:{number}", line.split()) for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise InputError(f"{path}: the list is empty.")
    return rows


def persons_of_faces(families: Families) -> dict[str, str | None]:
    """Face to person."""
    return dict(zip(families.faces["face"], families.faces["person"], strict=True))


def check_face(face: str, where: str, root: Path, persons: dict[str, str | None]) -> str:
    """The path of a face that a list names, without ``./`` before it.

    A face that lies outside of all family folders joins ``persons`` as None.

    Raises
    ------
    InputError
        There is no such face below the root.
    """
    face = face.removeprefix("./")
    if face in persons:
        return face
    path = inside(root, face, where)
    if FAMILY_FOLDER.match(path.relative_to(root).as_posix()) or not os.path.isfile(path):  # false if too long a name
        example = f", as in {next(iter(persons))}" if persons else ""
        raise InputError(f"{where}: no face {face} below {root}. Paths start there{example}.")
    persons[face] = None
    return face


def _parse_pair(fields: list[str], where: str, root: Path, persons: dict[str, str | None]) -> dict[str, str]:
    *faces, kin_type, kin = fields
    face_a, face_b = (check_face(face, where, root, persons) for face in faces)
    if kin_type not in TYPES:
        raise InputError(f"{where}: unknown type {kin_type!r}; the types are {' '.join(TYPES)}.")
    check_kin(kin, where)
    person_a, person_b = (persons[face] or face for face in (face_a, face_b))
    if person_a == person_b:
        raise InputError(f"{where}: both faces are of {person_a}; a pair is of two persons.")
    known = persons[face_a] and persons[face_b]
    if kin == "1" and known and person_a.split("/")[0] != person_b.split("/")[0]:
        raise InputError(f"{where}: {person_a} and {person_b} are of two families and cannot be kin.")
    return {"face_a": face_a, "face_b": face_b, "type": kin_type, "kin": kin}


def check_kin(kin: str, where: str) -> None:
    """Raise ``InputError`` if a list says of kinship anything but 1 or 0."""
    if kin not in ("0", "1"):
        raise InputError(f"{where}: kin is 1 or 0, got {kin!r}.")


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
