"""A data set of families as tables: faces, people and how they are related. Readers make it, ``prepare`` keeps it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from kinface.data.annotations import is_measurement, list_own_attributes
from kinface.data.matrices import Problem
from kinface.data.pairs import COLUMNS, read_pairs
from kinface.data.tables import read_table
from swinface.files import InputError, one_line, printable, write_json

DATASET = "dataset.json"  # marks a folder written by `kinface prepare`
PAIRS = "pairs.parquet"  # all lists of that folder
SPLITS = ("train", "tune", "val", "test")
PARTITIONS = {"Train": "train", "Validation": "val", "Test": "test"}  # FIW's folders
FAMILY = re.compile(r"F[0-9]+")
FAMILY_FOLDER = re.compile(rf"({'|'.join(PARTITIONS)})/[^/]+/{FAMILY.pattern}/")  # what a path of RFIW's starts with

# Columns and dtypes of the tables; missing text is None. Behind these, faces and people have two columns, X and
# X_source, for each custom attribute (kinface.data.annotations).
TABLES: dict[str, dict[str, str]] = {
    "faces": {
        "face": "text",  # path below the root
        "family": "text",  # F0001
        "mid": "int64",  # number of the person in the family
        "person": "text",  # F0001/MID1
        "split": "text",  # train, tune, val or test
        "race": "text",  # of this face, as annotated
        "race_source": "text",
        "age": "float64",  # years
        "age_source": "text",
        "gender": "text",  # m or f, as annotated; a person's gender is in people
        "gender_source": "text",
    },
    "people": {
        "person": "text",
        "family": "text",
        "mid": "int64",
        "name": "text",
        "split": "text",
        "faces": "int64",  # number of images; members without any are listed too
        "gender": "text",
        "gender_source": "text",
        "race": "text",  # majority over the person's faces
        "race_source": "text",
        "race_agreement": "float64",  # share of the annotated faces that carry the majority
        "age": "float64",  # median over the person's faces
        "age_source": "text",
    },
    "relations": {
        "person_a": "text",  # the elder; among siblings the brother, else the lower MID
        "person_b": "text",
        "family": "text",
        "split": "text",
        "relation": "text",  # what a is to b: parent, sibling, grandparent, great-grandparent, spouse, or kin somehow
        "type": "text",  # one of the 11, missing where a gender is or the relation has none
        "generation_gap": "Int64",  # missing for spouses
    },
    "problems": {"kind": "text", "where": "text", "message": "text"},
    "annotations": {
        "file": "text",
        "column": "text",
        "attribute": "text",
        "source": "text",
        "faces": "int64",
        "mapped": "text",  # words that were read as something else, such as "white as Caucasian (12)"
    },
}

LISTED = ("problems", "annotations")  # tables for people to read, kept as csv


@dataclass(frozen=True)
class Families:
    """The folder that paths of faces start from, and tables, whose columns ``TABLES`` lists.

    Some members have no faces, some faces no row in ``mid.csv`` (no gender, no relations). ``problems`` says what was
    wrong on disk, and what was done about it; in ``annotations``, ``source`` is missing where a column was not used.
    """

    root: Path
    faces: pd.DataFrame
    people: pd.DataFrame
    relations: pd.DataFrame
    problems: pd.DataFrame
    annotations: pd.DataFrame
    read_with: dict[str, object] = field(default_factory=dict)  #: options of ``read_families``; of a copy of FIW alone


def write_tables(families: Families, folder: Path, record: dict) -> None:
    """Write the tables; ``record``, how they were made, goes into ``dataset.json`` with the root of the images."""
    for name in TABLES:
        if name in LISTED:
            getattr(families, name).to_csv(folder / f"{name}.csv", index=False)
        else:
            getattr(families, name).to_parquet(folder / f"{name}.parquet", index=False)
    record = {"root": str(families.root.resolve()), **record}
    write_json(folder / DATASET, record)


def read_tables(folder: Path) -> Families:
    """Read a folder that ``write_tables`` wrote."""
    try:
        root = Path(json.loads((folder / DATASET).read_text(encoding="utf-8"))["root"])
        tables = {name: read_table(folder / f"{name}.parquet", "table") for name in TABLES if name not in LISTED}
        tables |= {name: read_table(folder / f"{name}.csv", "table") for name in LISTED}
        with np.errstate(invalid="raise"):  # a number beyond int64
            tables = conform_all(tables)
        _check_tables(tables)
        there = root.is_dir()
    except (OSError, ArithmeticError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = one_line(error)
        raise InputError(f"{folder}: not a whole folder of `kinface prepare` ({reason}); prepare it again.") from error
    if not there:
        raise InputError(
            f"{folder} was prepared from {one_line(root)}, which is not there; restore it or prepare again."
        )
    return Families(root, **tables)


def _check_tables(tables: dict[str, pd.DataFrame]) -> None:
    for name, key in (("faces", "face"), ("people", "person")):
        broken = tables[name][key].isna() | tables[name][key].duplicated()
        if broken.any():
            raise ValueError(f"{name}: row {int(broken.to_numpy().argmax()) + 1}: {key} is missing or has two rows")
    for name in ("faces", "people", "relations"):
        for column in tables[name].select_dtypes(object):
            if not tables[name][column].map(lambda value: value is None or isinstance(value, str)).all():
                raise ValueError(f"{name}: {column} must be text")


def read_prepared_list(folder: Path, name: str) -> pd.DataFrame | None:
    """The pairs table of one list, such as ``tune``, in a folder of ``kinface prepare``; None where it is not there."""
    pairs = _read_prepared_pairs(folder)
    pairs = pairs[pairs["list"] == name].reset_index(drop=True)
    return None if pairs.empty else pairs


def name_prepared_lists(folder: Path) -> list[str]:
    """The lists of pairs in a folder of ``kinface prepare``; none where it is no such folder."""
    return sorted(map(str, _read_prepared_pairs(folder)["list"].dropna().unique()))


def find_prepared_list(folder: Path, split: str) -> str | None:
    """The name of the list whose pairs are of a split: the one named as the split, or else the first; None if none is.

    A list of tune pairs, such as ``tune_matched``, is not the first of its split as long as ``tune`` is there.
    """
    pairs = _read_prepared_pairs(folder)
    within = (pairs["split"] == split).groupby(pairs["list"]).all()
    return min(within.index[within], key=lambda name: (name != split, name), default=None)


def _read_prepared_pairs(folder: Path) -> pd.DataFrame:
    return read_pairs(folder / PAIRS) if (folder / PAIRS).is_file() else pd.DataFrame(columns=[*COLUMNS])


def family_races(faces: pd.DataFrame) -> pd.Series:
    """Family to the commonest race of its faces, ``unknown`` without any; families with the most such faces first."""
    counts = faces.groupby(["family", "race"], as_index=False).size()
    counts = counts.sort_values(["size", "race"], ascending=[False, True]).drop_duplicates("family")
    races = counts.set_index("family")["race"]
    return races.reindex([*races.index, *sorted({*faces["family"]} - {*races.index})]).fillna("unknown")


def line_up(families: Iterable[str], races: pd.Series, rng: np.random.Generator) -> list[str]:
    """Shuffle families, then sort them by race: every k-th is then a draw with each race's share (``draw_evenly``)."""
    return sorted(rng.permutation([*families]), key=lambda family: races.get(family, "unknown"))


def draw_evenly(lined_up: Sequence[str], count: int, start: float) -> list[str]:
    """Systematic sampling: families at even distances, from a random ``start``, 0 to 1.

    Each race gets its share to within one family, however rare it is; folds of scikit-learn need as many families of a
    race as there are folds.
    """
    return [lined_up[int(place)] for place in (np.arange(count) + start) * len(lined_up) / count]


def list_problems(problems: list[Problem]) -> pd.DataFrame:
    """Problems as a table. Their texts, which name files of others, can be printed and written."""
    return pd.DataFrame(
        [(kind, printable(where), printable(message)) for kind, where, message in problems],
        columns=[*TABLES["problems"]],
    )


def conform_all(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """All of ``TABLES``, as ``conform`` gives them; those that are not given are empty."""
    return {name: conform(tables.get(name, pd.DataFrame(columns=[*TABLES[name]])), name) for name in TABLES}


def conform(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table's columns in their order and dtypes, whether built, read from parquet or from csv."""
    dtypes = dict(TABLES[name])
    for attribute in list_own_attributes(table) if name in ("faces", "people") else ():
        measured = is_measurement(table[attribute])
        dtypes |= {attribute: "float64" if measured else "text", f"{attribute}_source": "text"}
    table = table[[*dtypes]].reset_index(drop=True)
    for column, dtype in dtypes.items():
        if dtype == "text":
            text = table[column].astype(object)
            table[column] = text.where(text.notna(), None)
        else:
            table[column] = table[column].astype(dtype)
    return table


def list_files(folder: Path, endings: Sequence[str], problems: list[Problem]) -> list[Path]:
    """The files of a folder that end so, in small or capital letters, sorted; each other file is a problem.

    Hidden files, such as macOS leaves beside each file, are others. A folder that is not there has none.
    """
    files = sorted(file for file in folder.glob("*") if file.is_file())
    taken = [file for file in files if file.suffix.lower() in endings and not file.name.startswith(".")]
    for file in sorted({*files} - {*taken}):
        reason = "hidden" if file.name.startswith(".") else f"does not end in {' or '.join(endings)}"
        problems.append(("files left out", f"{folder.name}/{file.name}", f"{reason}: left out"))
    return taken
