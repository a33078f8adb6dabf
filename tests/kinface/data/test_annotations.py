"""Annotations: the values they are mapped to, whom they are trusted over, and a person's majority."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from kinface.data.annotations import describe_people, read_annotations
from swinface.files import InputError

FACES = pd.Series(["F1/MID1/a.jpg", "F1/MID1/b.jpg", "F1/MID2/a.jpg", "F1/MID2/b.jpg"])
A, B, C, D = FACES


def read(tmp_path: Path, **tables: str):
    """Read files of these names and texts for ``FACES``."""
    for name, text in tables.items():
        (tmp_path / f"{name}.csv").write_text(text)
    values, columns, problems = read_annotations([tmp_path / f"{name}.csv" for name in tables], FACES)
    return values.set_index(FACES), columns.set_index("column"), problems


@pytest.mark.parametrize(
    ("said", "race"),
    [
        ("white", "Caucasian"), ("Middle Eastern", "Caucasian"), ("latino hispanic", "Caucasian"), ("C", "Caucasian"),
        ("black", "African"), ("AA", "African"), ("African", "African"),
        ("asian", "Asian"), ("A", "Asian"), (" Indian ", "Indian"), ("I", "Indian"), ("", None), ("unknown", None),
    ],
)  # fmt: skip
def test_races_are_mapped_to_four(tmp_path: Path, said: str, race: str | None):
    values, _, problems = read(tmp_path, a=f"face,race_net\n{A},{said}\n")
    assert values.loc[A, "race"] == race and problems == []
    assert values.loc[A, "race_source"] == ("predicted by net" if race else None)


def test_columns_are_used_or_ignored_and_values_counted(tmp_path: Path):
    text = f"face,race_net,age_net,gender_net,note,gender_score_net\n{A},white,30,Male,1,1\n{B},black,40.5,unk,1,1\n"
    values, columns, problems = read(tmp_path, a=text)
    assert problems == [] and values["age"].tolist()[:2] == [30, 40.5] and values["gender"].tolist()[:2] == ["m", None]
    assert columns["source"].isna().to_dict() == {
        "race_net": False, "age_net": False, "gender_net": False, "note": True, "gender_score_net": False
    }  # fmt: skip
    assert columns.loc["gender_net", ["file", "attribute", "source", "faces"]].tolist() == [
        "a.csv", "gender", "predicted by net", 1
    ]  # fmt: skip


def test_what_cannot_be_understood_is_reported_and_missing(tmp_path: Path):
    text = f"face,race_net,age_net,gender_net\n{A},martian,-2,?\n{B},martian,old,f\n{A},white,3,m\ngone.jpg,white,3,m\n"
    values, _, problems = read(tmp_path, a=text)
    assert values["race"].isna().all() and values["age"].isna().all() and values["gender"].dropna().tolist() == ["f"]
    assert sorted(problems) == [
        ("annotation without face", "a.csv", "1 rows such as gone.jpg: ignored"),
        ("face annotated twice", "a.csv", f"1 rows such as {A}: the first counts"),
        ("unknown annotation", "a.csv", "age_net '-2' of 1 face: age unknown"),
        ("unknown annotation", "a.csv", "age_net 'old' of 1 face: age unknown"),
        ("unknown annotation", "a.csv", "gender_net '?' of 1 face: gender unknown"),
        ("unknown annotation", "a.csv", "race_net 'martian' of 2 faces: race unknown"),
    ]


def test_self_described_goes_before_human_before_predicted(tmp_path: Path):
    values, _, _ = read(
        tmp_path,
        a=f"face,race_net,race_human\n{A},white,\n{B},white,black\n{C},white,black\n",
        b=f"face,race_self,race_other\n{C},indian,asian\n{A},,asian\n{D},,asian\n",
    )
    assert values["race"].tolist() == ["Caucasian", "African", "Indian", "Asian"]
    assert values["race_source"].tolist() == [
        "predicted by net", "human annotated", "self-described", "predicted by other"
    ]  # fmt: skip


def test_unusable_files_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"headless.csv: an annotation file needs a column 'face'"):
        read(tmp_path, headless="path,race_net\nx,white\n")
    with pytest.raises(InputError, match=r"empty.csv: not a readable annotation file"):
        read(tmp_path, empty="")
    with pytest.raises(InputError, match=r"absent.csv: no such file"):
        read_annotations([tmp_path / "absent.csv"], FACES)


def describe(races: list, sources: list, ages: list | None = None) -> pd.DataFrame:
    """One person with these faces, beside one without any."""
    ages = ages or [None] * len(races)
    faces = pd.DataFrame({"race": races, "race_source": sources, "age": ages, "age_source": "predicted by net"})
    faces["face"], faces["person"] = [f"{i}.jpg" for i in range(len(faces))], "F1/MID1"
    return describe_people(pd.DataFrame({"person": ["F1/MID1", "F1/MID2"]}), faces).set_index("person")


def test_a_persons_race_is_the_majority_over_their_faces():
    people = describe(["Caucasian", "Asian", "Caucasian", None], ["predicted by net"] * 3 + [None])
    assert people.loc["F1/MID1", ["faces", "race", "race_source"]].tolist() == [4, "Caucasian", "predicted by net"]
    assert people.loc["F1/MID1", "race_agreement"] == pytest.approx(2 / 3)
    assert people.loc["F1/MID2", "faces"] == 0 and pd.isna(people.loc["F1/MID2", "race"])


def test_a_tie_goes_to_the_first_of_the_alphabet():
    assert describe(["Indian", "Asian", "Asian", "Indian"], ["predicted by net"] * 4).loc["F1/MID1", "race"] == "Asian"


def test_only_faces_of_the_most_trusted_source_count():
    people = describe(["Asian", "Asian", "African"], ["predicted by net"] * 2 + ["human annotated"])
    assert people.loc["F1/MID1", ["race", "race_source", "race_agreement"]].tolist() == [
        "African",
        "human annotated",
        1,
    ]


def test_a_persons_age_is_the_median():
    people = describe([None] * 3, [None] * 3, ages=[10, 20, 60])
    assert people.loc["F1/MID1", ["age", "age_source"]].tolist() == [20, "predicted by net"]


def test_an_attribute_of_ones_own_is_text_or_a_number(tmp_path: Path):
    text = f"face,age_band_human,tone_net\n{A},young,3\n{B},Unknown,4.5\n"
    values, columns, problems = read(tmp_path, a=text)
    assert problems == []
    assert values["age_band"].tolist()[:2] == ["young", None] and values["tone"].tolist()[:2] == [3, 4.5]
    assert values.loc[A, ["age_band_source", "tone_source"]].tolist() == ["human annotated", "predicted by net"]
    assert columns.loc["age_band_human", ["attribute", "faces"]].tolist() == ["age_band", 1]


def test_of_an_attribute_of_ones_own_the_most_trusted_source_counts(tmp_path: Path):
    values, *_ = read(tmp_path, a=f"face,tone_net,tone_human\n{A},dark,light\n{B},dark,\n")
    assert values["tone"].tolist()[:2] == ["light", "dark"]
    assert values["tone_source"].tolist()[:2] == ["human annotated", "predicted by net"]


def test_an_attribute_cannot_have_the_name_of_a_column_of_the_tables(tmp_path: Path):
    with pytest.raises(InputError, match=r"a\.csv: column 'split_human': 'split' is a column of the tables; rename it"):
        read(tmp_path, a=f"face,split_human\n{A},x\n")


@pytest.mark.parametrize("attribute", ["race_source", "light_source", "race_agreement"])
def test_an_attribute_does_not_overwrite_a_source_or_an_agreement(tmp_path: Path, attribute: str):
    with pytest.raises(InputError, match=rf"a\.csv: column '{attribute}_human': '{attribute}' .*; rename it"):
        read(tmp_path, a=f"face,race_net,{attribute}_human\n{A},white,x\n")
