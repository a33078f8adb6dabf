"""Annotations: the values they are mapped to, whom they are trusted over, and a person's majority."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
        ("East Asian", "Asian"), ("Southeast_Asian", "Asian"), ("Latino_Hispanic", "Caucasian"), ("White", "Caucasian"),
    ],
)  # fmt: skip
def test_races_are_mapped_to_four(tmp_path: Path, said: str, race: str | None):
    values, _, problems = read(tmp_path, a=f"face,race_net\n{A},{said}\n")
    assert values.loc[A, "race"] == race
    assert [kind for kind, *_ in problems] == ["no prediction"] * (said == "unknown")
    assert values.loc[A, "race_source"] == ("predicted by net" if race else None)


def test_columns_are_used_or_ignored_and_values_counted(tmp_path: Path):
    text = f"face,race_net,age_net,gender_other,note,gender_score_net\n{A},white,30,Male,1,1\n{B},black,40.5,,1,1\n"
    values, columns, problems = read(tmp_path, a=text)
    assert problems == [] and values["age"].tolist()[:2] == [30, 40.5] and values["gender"].tolist()[:2] == ["m", None]
    assert columns["source"].isna().to_dict() == {
        "race_net": False, "age_net": False, "gender_other": False, "note": True, "gender_score_net": False
    }  # fmt: skip
    assert columns.loc["gender_other", ["file", "attribute", "source", "faces"]].tolist() == [
        "a.csv", "gender", "predicted by other", 1
    ]  # fmt: skip
    assert columns["mapped"].dropna().to_dict() == {
        "race_net": "black as African (1), white as Caucasian (1)", "gender_other": "Male as m (1)"
    }  # fmt: skip


def test_a_face_that_a_model_marks_as_unknown_has_nothing_of_that_model(tmp_path: Path):
    """MiVOLO writes age 0.0, gender unk and score 0 where it finds no face."""
    text = f"""face,race_deepface,age_mivolo,gender_mivolo,gender_score_mivolo
{A},asian,0.0,unk,0.0
{B},white,0.36,female,0.9
{C},unknown,0,male,0.8
"""
    values, columns, problems = read(tmp_path, a=text)
    assert values["age"].fillna(-1).tolist() == [-1, 0.36, 0, -1], "a newborn with a known gender stays"
    assert values["gender"].tolist() == [None, "f", "m", None] and values["race"].tolist()[0] == "Asian"
    assert values["gender_score"].fillna(-1).tolist() == [-1, 0.9, 0.8, -1]
    assert columns.loc["age_mivolo", "faces"] == 2
    assert problems == [
        ("no prediction", "a.csv", f"deepface marks 1 face such as {C} as unknown: its race left out"),
        (
            "no prediction",
            "a.csv",
            f"mivolo marks 1 face such as {A} as unknown: its age, gender, gender_score left out",
        ),
    ]


@pytest.mark.parametrize(
    "row", ["0,,", "0.0,,0", "-1,male,0.9", "-1.0,male,0.9", "30,None,0.9", "30,m,NaN", "30,UNK,1"]
)
def test_marks_of_no_value(tmp_path: Path, row: str):
    values, _, problems = read(tmp_path, a=f"face,age_net,gender_net,sure_net\n{A},{row}\n{B},30,m,0.5\n")
    assert values.loc[A, ["age", "gender", "sure"]].isna().all() and values.loc[B, "age"] == 30
    assert [kind for kind, *_ in problems] == ["no prediction"]


def test_an_age_of_0_alone_is_a_mark_but_not_of_a_person_who_annotates(tmp_path: Path):
    values, _, problems = read(tmp_path, a=f"face,age_net\n{A},0\n{B},1\n", b=f"face,age_human\n{C},0\n")
    assert values["age"].fillna(-1).tolist() == [-1, 1, 0, -1] and len(problems) == 1
    values, _, problems = read(tmp_path, a=f"face,age_human,gender_human\n{A},40,unknown\n")
    assert values.loc[A, "age"] == 40 and pd.isna(values.loc[A, "gender"]) and problems == []


CELLS = {
    "age": st.sampled_from(["0", "0.0", "1", "34.5", "-1", "", "unk", "nan"]),
    "gender": st.sampled_from(["m", "female", "unk", "Unknown", "", "none", "-1"]),
    "smile": st.sampled_from(["0", "1", "nan", "unknown", "", "none"]),
}


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(st.lists(st.fixed_dictionaries(CELLS), min_size=4, max_size=4), st.permutations(list(CELLS)))
def test_any_mark_of_a_model_takes_its_whole_row(rows: list[dict[str, str]], order: list[str]):
    """Computed again, cell by cell."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.csv")
        pd.DataFrame(rows)[order].add_suffix("_net").assign(face=FACES).to_csv(path, index=False)
        values, columns, problems = read_annotations([path], FACES)
    unknown = 0
    for row, read_row in zip(rows, values.to_dict("records"), strict=True):
        marks = {"age": ("-1", "unk", "nan"), "gender": ("unk", "Unknown", "none", "-1"), "smile": ("nan", "unknown")}
        marked = any(row[name] in marks[name] for name in CELLS)
        newborn = row["age"].startswith("0") and row["gender"] == "" and row["smile"] in ("", "0")
        unknown += marked or newborn
        known = {name: None if marked or newborn or not row[name] else row[name] for name in CELLS}
        assert read_row["gender"] == {None: None, "m": "m", "female": "f"}[known["gender"]]
        assert read_row["smile"] == known["smile"]
        assert np.isnan(read_row["age"]) if known["age"] is None else read_row["age"] == float(known["age"])
    assert [message.split()[2] for kind, _, message in problems] == [str(unknown)] * (unknown > 0)
    assert columns.set_index("attribute")["faces"].to_dict() == {n: values[n].notna().sum() for n in CELLS}


def test_what_cannot_be_understood_is_reported_and_missing(tmp_path: Path):
    text = f"face,race_net,age_net,gender_net\n{A},martian,-2,?\n{B},martian,old,f\n{A},white,3,m\ngone.jpg,white,3,m\n"
    values, _, problems = read(tmp_path, a=text)
    assert values["race"].isna().all() and values["age"].isna().all() and values["gender"].dropna().tolist() == ["f"]
    assert sorted(problems) == [
        ("annotation without face", "a.csv", "1 rows such as gone.jpg: ignored"),
        ("face annotated twice", "a.csv", f"1 rows such as {A}: the first is used"),
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
    with pytest.raises(
        InputError, match=r"headless.csv: an annotation file needs a column 'face', .* it has 'Face', 'race_net'"
    ):
        read(tmp_path, headless="Face,race_net\nx,white\n")
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


def test_an_attribute_of_ones_own_is_a_category_or_measured(tmp_path: Path):
    text = f"face,age_band_human,tone_net,glasses_net,type_of_skin_human\n{A},young,3,1,6\n{B},Unknown,4.5,0.0,2\n"
    values, columns, problems = read(tmp_path, a=text)
    assert problems == []
    assert values["age_band"].tolist()[:2] == ["young", None] and values["tone"].tolist()[:2] == [3, 4.5]
    assert values["glasses"].tolist()[:2] == ["1", "0"] and values["type_of_skin"].tolist()[:2] == ["6", "2"]
    assert values.loc[A, ["age_band_source", "tone_source"]].tolist() == ["human annotated", "predicted by net"]
    assert columns.loc["age_band_human", ["attribute", "faces"]].tolist() == ["age_band", 1]


@pytest.mark.parametrize("mark", ["NA", "n/a", "None"])
def test_a_mark_beside_numbers_makes_no_classes_of_them(mark: str, tmp_path: Path):
    (tmp_path / "a.csv").write_text(f"face,blur_human,tone_human\na,0.25,NA\nb,{mark},dark\nc,-1.5,dark\n")
    table, *_ = read_annotations([tmp_path / "a.csv"], pd.Series(["a", "b", "c"]))
    assert table["blur"].fillna(9).tolist() == [0.25, 9, -1.5] and table["tone"].tolist() == ["NA", "dark", "dark"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["0.25", "inf"], "blur: 'inf' of a face is not a number, as others are, so all values count as classes"),
        (["Dark", "dark"], "annotations: values of blur that look alike, yet differ: 'Dark' and 'dark'"),
    ],
)
def test_values_that_make_classes_by_a_slip_are_warned_of(values: list[str], said: str, tmp_path: Path):
    (tmp_path / "a.csv").write_text(f"face,blur_human\na,{values[0]}\nb,{values[1]}\n")
    with pytest.warns(UserWarning, match=said):
        table, *_ = read_annotations([tmp_path / "a.csv"], pd.Series(["a", "b"]))
    assert table["blur"].tolist() == values


def test_whole_numbers_are_measured_if_so_declared(tmp_path: Path):
    (tmp_path / "a.csv").write_text(f"face,pose_net,hat_net\n{A},3,no\n{B},6,yes\n")
    values, *_ = read_annotations([tmp_path / "a.csv"], FACES, measurements="pose")
    assert values["pose"].dropna().tolist() == [3.0, 6.0]
    with pytest.raises(InputError, match="measurements: hat of a face is 'no', which is not a number"):
        read_annotations([tmp_path / "a.csv"], FACES, measurements=["hat"])
    with pytest.raises(InputError, match="measurements: no annotation file has yaw"):
        read_annotations([tmp_path / "a.csv"], FACES, measurements=["yaw"])


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(st.lists(st.sampled_from(["0", "1", "1.0", "2.00", "0.0"]), min_size=4, max_size=4))
def test_categories_in_numbers_are_a_persons_majority(codes: list[str]):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.csv")
        pd.DataFrame({"face": FACES, "code_human": codes}).to_csv(path, index=False)
        values, *_ = read_annotations([path], FACES)
    faces = values.assign(face=FACES, person=["one"] * 4)
    person = describe_people(pd.DataFrame({"person": ["one"]}), faces).iloc[0]
    plain = [str(int(float(code))) for code in codes]
    assert person["code"] == min(set(plain), key=lambda code: (-plain.count(code), code))


def test_what_words_mean_can_be_set(tmp_path: Path):
    text = f"face,race_net,gender_net,hat_human\n{A},Latino_Hispanic,Woman,0\n{B},White,lady,1\n{C},other,Man,2\n"
    (tmp_path / "a.csv").write_text(text)
    meanings = {
        "race": {"latino hispanic": "Latino", "Other": ""},
        "gender": {"lady": "f"},
        "hat": {"0": "none", "1": "cap"},
    }
    values, columns, problems = read_annotations([tmp_path / "a.csv"], FACES, meanings=meanings)
    assert values["race"].tolist()[:3] == ["Latino", "Caucasian", None] and problems == []
    assert values["gender"].tolist()[:3] == ["f", "f", "m"] and values["hat"].tolist()[:3] == ["none", "cap", "2"]
    mapped = columns.set_index("column")["mapped"]
    assert mapped["hat_human"] == "0 as none (1), 1 as cap (1)"
    assert mapped["race_net"] == "Latino_Hispanic as Latino (1), White as Caucasian (1), other as unknown (1)"


@pytest.mark.parametrize(
    ("meanings", "message"),
    [
        ({"race": {"Martian": "Asian"}}, "meanings: no annotation of race is 'martian'"),
        ({"hat": {"x": "y"}}, "no annotation of hat is 'x'"),
        ({"gender": {"white": "woman"}}, "meanings: gender is m, f or nothing"),
        ({"age": {"old": "80"}}, "an age is a number of years"),
    ],
)
def test_meanings_that_mean_nothing_are_refused(tmp_path: Path, meanings: dict, message: str):
    (tmp_path / "a.csv").write_text(f"face,race_net\n{A},white\n")
    with pytest.raises(InputError, match=message):
        read_annotations([tmp_path / "a.csv"], FACES, meanings=meanings)


def test_paths_of_faces_may_be_written_as_on_windows(tmp_path: Path):
    values, _, problems = read(tmp_path, a="face,race_net\n.\\F1\\MID1\\a.jpg,white\n./F1/MID1/b.jpg,black\n")
    assert values["race"].tolist() == ["Caucasian", "African", None, None] and problems == []


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


def test_a_range_of_ages_counts_as_its_middle(tmp_path):
    path = tmp_path / "ages.csv"
    path.write_text(
        'face,age_fairface\na.jpg,20-29\nb.jpg,3 – 9\nc.jpg,29-20\nd.jpg,31\ne.jpg,"(25, 32)"\nf.jpg,"25,5"\n'
    )
    values, columns, problems = read_annotations([path], pd.Series([f"{name}.jpg" for name in "abcdef"]))
    assert values["age"].fillna(-1).tolist() == [24.5, 6.0, -1, 31, 28.5, -1]
    assert columns["mapped"].item() == "(25, 32) as 28.5 (1), 20-29 as 24.5 (1), 3 – 9 as 6 (1)"
    assert {message for *_, message in problems} == {
        "age_fairface '29-20' of 1 face: age unknown",
        "age_fairface '25,5' of 1 face: age unknown",
    }


def test_bins_of_pandas_are_ranges_of_ages(tmp_path):
    ages = pd.Series([12.0, 25.0, 47.0])
    for right, edges in ((True, [0, 20, 30, 120]), (False, [0.0, 20.0, 30.0, 120.0])):
        table = pd.DataFrame({"face": ["a.jpg", "b.jpg", "c.jpg"], "age_net": pd.cut(ages, edges, right=right)})
        table.to_csv(tmp_path / "ages.csv", index=False)
        values, _, problems = read_annotations([tmp_path / "ages.csv"], table["face"])
        assert values["age"].tolist() == [10, 25, 75] and not problems


def test_an_age_without_an_end_is_where_it_begins(tmp_path):
    values, columns, problems = read(tmp_path, a=f"face,age_net\n{A},more than 70\n{B},60+\n{C},(48-53)\n")
    assert values["age"].fillna(-1).tolist() == [70, 60, 50.5, -1] and not problems
    assert columns.loc["age_net", "mapped"] == "(48-53) as 50.5 (1), 60+ as 60 (1), more than 70 as 70 (1)"


def test_ages_are_in_years_or_refused(tmp_path):
    values, *_ = read(tmp_path, a=f"face,age_net\n{A},19 years\n{B},20 yrs old\n{C},21y\n")
    assert values["age"].fillna(-1).tolist() == [19, 20, 21, -1]
    with pytest.raises(InputError, match=r"^a\.csv: age_net: most ages are above 130; give years, not months"):
        read(tmp_path, a=f"face,age_net\n{A},24\n{B},400\n{C},1985\n")


@pytest.mark.parametrize("column", ["race", "Race", "dominant_race"])
def test_a_column_without_a_source_is_not_passed_over(tmp_path: Path, column: str):
    values, _, problems = read(tmp_path, a=f"face,{column},gender_human\n{A},white,f\n")
    assert values["race"].isna().all() and values["gender"].iloc[0] == "f"
    said = f"column {column}: does not say who states it, as race_deepface does: ignored"
    assert problems == [("annotation without source", "a.csv", said)]


@pytest.mark.parametrize("column", ["Race_deepface", "RACE_net", "Age_net"])
def test_race_age_and_gender_are_written_in_small_letters(tmp_path: Path, column: str):
    with pytest.raises(InputError, match=rf"a\.csv: column '{column}' would be another .*; name it {column.lower()}\."):
        read(tmp_path, a=f"face,{column}\n{A},white\n")


@pytest.mark.parametrize("column", ["skin tone_human", "skin-tone_human", "skin.tone_human"])
def test_a_name_with_other_signs_is_not_passed_over(tmp_path: Path, column: str):
    said = f"column {column}: a name has letters, digits and _ alone, as in skin_tone_human: ignored"
    problems = read(tmp_path, a=f"face,{column},gender_human\n{A},1,f\n")[2]
    assert problems == [("annotation with another name", "a.csv", said)]


def test_a_file_about_other_faces_alone_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=rf"a\.csv: has no row of a face below the root, .* as in {A}"):
        read(tmp_path, a=f"face,race_net\n/fiw/{A},white\n/fiw/{B},white\n")
    with pytest.warns(UserWarning, match=r"b\.csv: has no row of a face below the root"):
        values, _, problems = read(tmp_path, a=f"face,race_net\n{A},white\n", b="face,race_net\nTest/x.jpg,white\n")
    assert values["race"].iloc[0] == "Caucasian" and len(problems) == 1  # each partition may have a file of its own
    values, *_ = read(tmp_path, a=f"face,race_net\n.\\{A.replace('/', chr(92))},white\nF1//MID1/./b.jpg,white\n")
    assert values["race"].notna().tolist() == [True, True, False, False]
