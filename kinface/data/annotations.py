"""Attributes of faces from csv files, each with its source, and the attributes of people that follow from them.

A file has a column ``face`` (a path below the data root) and columns ``<attribute>_<source>``: ``race_deepface``,
``age_mivolo``, ``gender_human``, or an attribute of one's own such as ``age_band_human``. The source is the part after
the last underscore: ``self`` is self-described, ``human`` is human annotated, any other name is a model that predicted
the value. Race and gender here are what a source says about a face, not facts about a person.

Race, age and gender have fixed values. An attribute of one's own is a number if all its values are numbers, else text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from kinface.data.matrices import GENDERS, Problem
from kinface.data.tables import read_table
from kinface.data.vocabulary import RACES
from swinface.files import InputError

ATTRIBUTES = ("race", "age", "gender")  # every table has these, others only where they are annotated


SOURCES = {"self": "self-described", "human": "human annotated"}  # in order of trust; then come predictions


PREDICTED = "predicted by "


# The four races by their names, by KFC's codes and by what public predictors call them.
RACE_NAMES = {
    **{name.lower(): race for race, code in RACES.items() for name in (race, code)},
    **{"black": "African", "white": "Caucasian", "middle eastern": "Caucasian", "latino hispanic": "Caucasian"},
}


UNKNOWN = ("", "nan", "none", "unk", "unknown")


# Columns of the tables that are no attributes of a face.
TAKEN = ("face", "faces", "family", "kin", "list", "mid", "name", "person", "race_agreement", "score", "split", "type")


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
        One row per face, in the order of ``faces``; columns race, race_source, age, age_source, gender, gender_source,
        and likewise two for each attribute of one's own.
    columns
        What was found: file, column, attribute, source (both None where the column was ignored) and the number of
        faces it has a value for.
    problems
        Rows about faces that are not there, faces annotated twice, values that cannot be read.

    Raises
    ------
    InputError
        A file is unreadable or has no column ``face``, or an attribute has the name of another column of the tables,
        or one that ends in ``_source``.
    """
    problems: list[Problem] = []
    found, stated = [], []
    for path in paths:
        table = _read_table(path)
        _check_faces(table, faces, path.name, problems)
        table = table.drop_duplicates("face").set_index("face").reindex(faces)
        for column in table:
            match = re.fullmatch(r"(\w+)_([A-Za-z0-9-]+)", column)
            attribute, name = match.groups() if match else (None, None)
            if attribute in TAKEN:
                raise InputError(f"{path}: column {column!r}: {attribute!r} is a column of the tables; rename it.")
            if attribute and attribute.endswith("_source"):
                raise InputError(f"{path}: column {column!r}: {attribute!r} would be the source of another; rename it.")
            source = SOURCES.get(name, f"{PREDICTED}{name}") if name else None
            values = _read_values(table[column], attribute, path.name, problems) if attribute else table[column]
            found.append((path.name, column, attribute, source, int(values.notna().sum())))
            if attribute:
                stated.append((attribute, source, values.reset_index(drop=True)))
    merged = pd.DataFrame(index=range(len(faces)))
    for attribute in dict.fromkeys([*ATTRIBUTES, *(attribute for attribute, _, _ in stated)]):
        numbers = [pd.api.types.is_numeric_dtype(values) for name, _, values in stated if name == attribute]
        merged[attribute] = np.nan if attribute == "age" or (numbers and all(numbers)) else None
        merged[f"{attribute}_source"] = None
        for _, source, values in sorted((s for s in stated if s[0] == attribute), key=lambda s: _distrust(s[1])):
            fill = merged[attribute].isna() & values.notna()
            merged[attribute] = merged[attribute].mask(fill, values)
            merged[f"{attribute}_source"] = merged[f"{attribute}_source"].mask(fill, source)
    return merged, pd.DataFrame(found, columns=["file", "column", "attribute", "source", "faces"]), problems


def _distrust(source: str) -> int:
    return [*SOURCES.values(), source].index(source)


def _read_table(path: Path) -> pd.DataFrame:
    table = read_table(path, "annotation file")
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
    """Bring the values to the four races, m and f, years, or to numbers or text; report what cannot be."""
    texts = texts.fillna("").str.strip()
    if attribute not in ATTRIBUTES:
        texts = texts.mask(texts.str.lower().isin(UNKNOWN))
        numbers = pd.to_numeric(texts, errors="coerce")
        return numbers if (numbers.notna() == texts.notna()).all() else texts.astype(object).where(texts.notna(), None)
    texts = texts.str.lower()
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

    Race is the majority over the person's faces. Only faces with a value of the most trusted source are counted, and a
    tie goes to the race that comes first in the alphabet. ``race_agreement`` is the majority's share. Age is the
    median. Attributes of one's own are treated like race if they are text, and like age if they are numbers.

    Parameters
    ----------
    people
        With a column ``person``.
    faces
        The faces table.
    """
    person = people["person"]
    described = people.assign(faces=person.map(faces["person"].value_counts()).fillna(0).astype("int64"))
    described["race"], described["race_source"], described["race_agreement"] = _find_majority(faces, "race", person)
    described["age"], described["age_source"] = _find_median(faces, "age", person)
    for attribute in list_own_attributes(faces):
        numeric = pd.api.types.is_numeric_dtype(faces[attribute])
        value, source, *_ = (_find_median if numeric else _find_majority)(faces, attribute, person)
        described[attribute], described[f"{attribute}_source"] = value, source
    return described


def list_own_attributes(table: pd.DataFrame) -> list[str]:
    """The attributes besides race, age and gender in a table of faces or of people."""
    named = [column.removesuffix("_source") for column in table if column.endswith("_source")]
    return [name for name in named if name not in ATTRIBUTES and name in table]


def _find_majority(faces: pd.DataFrame, attribute: str, person: pd.Series) -> tuple[pd.Series, pd.Series, pd.Series]:
    """Each person's commonest value, its source, and the share of faces that carry it."""
    counts = _most_trusted(faces, attribute).groupby(["person", attribute], as_index=False)
    counts = counts.agg(count=("face", "size"), source=(f"{attribute}_source", "first"))
    majority = counts.sort_values(["count", attribute], ascending=[False, True]).drop_duplicates("person")
    majority = majority.set_index("person")
    share = majority["count"] / counts.groupby("person")["count"].sum()
    return person.map(majority[attribute]), person.map(majority["source"]), person.map(share)


def _find_median(faces: pd.DataFrame, attribute: str, person: pd.Series) -> tuple[pd.Series, pd.Series]:
    """The median of each person's values, and its source."""
    values = _most_trusted(faces, attribute).groupby("person")
    values = values.agg(value=(attribute, "median"), source=(f"{attribute}_source", "first"))
    return person.map(values["value"]), person.map(values["source"])


def _most_trusted(faces: pd.DataFrame, attribute: str) -> pd.DataFrame:
    """The faces whose value comes from the most trusted source that the person has a value of."""
    known = faces[faces[attribute].notna()].sort_values("face")
    rank = known[f"{attribute}_source"].map(_distrust)
    return known[rank == rank.groupby(known["person"]).transform("min")]
