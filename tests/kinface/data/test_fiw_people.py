"""Who faces belong to, from tables of others."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from kinface.data.fiw import read_people
from swinface.files import InputError

PEOPLE = pd.DataFrame(
    {
        "face": ["a.jpg", "b.jpg", "c.jpg"],
        "person": [1, 2, 2],
        "family": [7.0, 8.0, 8.0],
        "race": ["Asian", "African", None],
    }
)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_ids_are_the_same_text_from_each_kind_of_file(tmp_path: Path, ending: str):
    path = tmp_path / f"people.{ending}"
    PEOPLE.to_csv(path, index=False) if ending == "csv" else PEOPLE.to_parquet(path)
    people = read_people(path)
    assert people.to_dict("list") == {
        "face": ["a.jpg", "b.jpg", "c.jpg"],
        "person": ["1", "2", "2"],
        "family": ["7", "8", "8"],
        "race": ["Asian", "African", None],
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"person": [1, None, 2]}, "row 2: person is missing"),
        ({"family": ["F1", "F1", "  "]}, "row 3: family is missing"),
        ({"face": ["a.jpg", "b.jpg", "a.jpg"]}, "row 3: a.jpg is named twice"),
    ],
)
def test_wrong_rows_are_named_with_the_file(tmp_path: Path, change: dict, message: str):
    path = tmp_path / "people.csv"
    PEOPLE.assign(**change).to_csv(path, index=False)
    with pytest.raises(InputError, match=rf"people\.csv: {message}"):
        read_people(path)
    PEOPLE.drop(columns=[*change]).to_csv(path, index=False)
    with pytest.raises(InputError, match=rf"people\.csv: no column '{next(iter(change))}'"):
        read_people(path)
