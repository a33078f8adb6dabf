"""Race, age and gender of faces from csv files, each with its source, and what they say of a person.

A file has a column ``face`` (a path below the data root) and columns ``<attribute>_<source>``: ``race_deepface``,
``age_mivolo``, ``gender_human``. A source ``self`` is self-described, ``human`` human annotated, any other name is a
model that predicted the value. Race and gender here are what somebody said of a face, not facts about a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from kinface.data.matrices import GENDERS, Problem
from kinface.data.vocabulary import RACES
from swinface.files import InputError

ATTRIBUTES = ("race", "age", "gender")


SOURCES = {"self": "self-described", "human": "human annotated"}  # in order of trust; then come predictions


PREDICTED = "predicted by "


# The four races by their names, by KFC's codes and by what public predictors call them.
RACE_NAMES = {
    **{name.lower(): race for race, code in RACES.items() for name in (race, code)},
    **{"black": "African", "white": "Caucasian", "middle eastern": "Caucasian", "latino hispanic": "Caucasian"},
}


UNKNOWN = ("", "nan", "none", "unk", "unknown")


def read_annotations(paths: Iterable[Path], faces: pd.Series) -> tuple[pd.DataFrame, pd.DataFrame, list[Problem]]:
    """Read annotation files for the given faces.

    Where several columns state an attribute of a face, the most trusted source counts: self-described, then human
    annotated, then predicted; among equals the first column of the first file.

    Parameters
    ----------
    faces
        Paths of the faces below the data root.

    Returns
    -------
    values
        Columns race, race_source, age, age_source, gender, gender_source; one row per face, in the order of ``faces``.
    columns
        What was found: file, column, attribute, source (both None where the column was ignored) and the number of
        faces it has a value for.
    problems
        Rows about faces that are not there, faces annotated twice, values that mean nothing.
    """
    problems: list[Problem] = []
    found, stated = [], []
    for path in paths:
        table = _read_table(path)
        _check_faces(table, faces, path.name, problems)
        table = table.drop_duplicates("face").set_index("face").reindex(faces)
        for column in table:
            match = re.fullmatch(rf"({'|'.join(ATTRIBUTES)})_([A-Za-z0-9-]+)", column)
            attribute, name = match.groups() if match else (None, None)
            source = SOURCES.get(name, f"{PREDICTED}{name}") if name else None
            values = _read_values(table[column], attribute, path.name, problems) if attribute else table[column]
            found.append((path.name, column, attribute, source, int(values.notna().sum())))
            if attribute:
                stated.append((attribute, source, values.reset_index(drop=True)))
    merged = pd.DataFrame(index=range(len(faces)))
    for attribute in ATTRIBUTES:
        merged[attribute] = np.nan if attribute == "age" else None
        merged[f"{attribute}_source"] = None
        for _, source, values in sorted((s for s in stated if s[0] == attribute), key=lambda s: _distrust(s[1])):
            fill = merged[attribute].isna() & values.notna()
            merged[attribute] = merged[attribute].mask(fill, values)
            merged[f"{attribute}_source"] = merged[f"{attribute}_source"].mask(fill, source)
    return merged, pd.DataFrame(found, columns=["file", "column", "attribute", "source", "faces"]), problems


def _distrust(source: str) -> int:
    return [*SOURCES.values(), source].index(source)


def _read_table(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such annotation file.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable csv file ({str(error).splitlines()[0]}).") from error
    if "face" not in table:
        raise InputError(f"{path}: an annotation file needs a column 'face', the image's path below the data root.")
    return table


def _check_faces(table: pd.DataFrame, faces: pd.Series, file: str, problems: list[Problem]) -> None:
    absent = table["face"][~table["face"].isin(faces)]
    if len(absent):
        problems.append(("annotation without face", file, f"{len(absent)} rows such as {absent.iloc[0]}: ignored"))
    twice = table["face"][table["face"].duplicated()]
    if len(twice):
        problems.append(("face annotated twice", file, f"{len(twice)} rows such as {twice.iloc[0]}: the first counts"))


def _read_values(texts: pd.Series, attribute: str, file: str, problems: list[Problem]) -> pd.Series:
    """Bring the values to the four races, m and f, or years; report what cannot be."""
    texts = texts.fillna("").str.strip().str.lower()
    if attribute == "age":
        values = pd.to_numeric(texts, errors="coerce")
        values = values.where(values.between(0, 130))
    else:
        values = texts.map(RACE_NAMES if attribute == "race" else GENDERS).astype(object)
        values = values.where(values.notna(), None)
    unknown = texts[values.isna() & ~texts.isin(UNKNOWN)]
    for text, count in unknown.value_counts().items():
        faces = f"{count} face{'s' * (count > 1)}"
        problems.append(("unknown annotation", file, f"{texts.name} {text!r} of {faces}: {attribute} unknown"))
    return values


def describe_people(people: pd.DataFrame, faces: pd.DataFrame) -> pd.DataFrame:
    """Add to each person what is known of their faces.

    Race is the majority over the person's faces, counting only those of the most trusted source they have; a tie goes
    to the race that comes first in the alphabet. ``race_agreement`` is the majority's share. Age is the median.

    Parameters
    ----------
    people
        With a column ``person``.
    faces
        The faces table.
    """
    person = people["person"]
    described = people.assign(faces=person.map(faces["person"].value_counts()).fillna(0).astype("int64"))
    races = _most_trusted(faces, "race")
    counts = races.groupby(["person", "race"], as_index=False).agg(
        count=("face", "size"), source=("race_source", "first")
    )
    majority = (
        counts.sort_values(["count", "race"], ascending=[False, True]).drop_duplicates("person").set_index("person")
    )
    ages = _most_trusted(faces, "age").groupby("person").agg(age=("age", "median"), source=("age_source", "first"))
    return described.assign(
        race=person.map(majority["race"]),
        race_source=person.map(majority["source"]),
        race_agreement=person.map(majority["count"] / counts.groupby("person")["count"].sum()),
        age=person.map(ages["age"]),
        age_source=person.map(ages["source"]),
    )


def _most_trusted(faces: pd.DataFrame, attribute: str) -> pd.DataFrame:
    """The faces whose value comes from the most trusted source that the person has a value of."""
    known = faces[faces[attribute].notna()].sort_values("face")
    rank = known[f"{attribute}_source"].map(_distrust)
    return known[rank == rank.groupby(known["person"]).transform("min")]
