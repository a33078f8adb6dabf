"""The people that faces belong to: a table with a row per face."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from kinface.data.fiw import read_families
from kinface.data.tables import canonical_text, read_table
from swinface.files import InputError, one_line

KEYS = ("face", "person", "family")


def read_people(path: Path) -> pd.DataFrame:
    """Read who faces belong to: a row per face with ``face``, ``person``, ``family`` and attributes of the person.

    These three are text, as ``canonical_text`` gives it. The path is a folder of ``kinface prepare``, or a .parquet or
    .csv table. Raises ``InputError`` if there is none, a column is missing, or a face is named twice.
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
    twice = table["face"].duplicated()
    if twice.any():
        raise InputError(
            f"{path}: row {int(twice.argmax()) + 1}: {one_line(table['face'][twice].iloc[0])} is named twice."
        )
    return table
