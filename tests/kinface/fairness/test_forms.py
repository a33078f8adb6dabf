"""An audit says the same of a table whatever the types, blanks, Unicode form, order and file format it comes in."""

from __future__ import annotations

import re
import unicodedata
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import kinface
from kinface.data.pairs import check_pairs, race_crossing, race_group, read_pairs, resampling_units
from kinface.fairness.audit import FairnessAudit, Origin, audit_fairness
from kinface.fairness.calibration import calibrate
from kinface.fairness.standards import choose_threshold_at_fmr, match_across_groups, measure_acquisition
from kinface.fairness.threshold import choose_threshold
from kinface.report.checks import check_validation, list_doubts, warn_of_fitted_splits, warn_of_threshold
from swinface.files import InputError

COUNT = 240


def draw_table() -> pd.DataFrame:
    """Pairs of 20 families named by numbers, with a group of numbers, one of words and an attribute of both people."""
    rng, number = np.random.default_rng(0), np.arange(COUNT)
    kin = number % 2 == 0
    family = rng.integers(1, 21, COUNT)
    tone = rng.integers(1, 4, (2, COUNT))
    tone[1] = np.where(kin, tone[0], tone[1])
    return pd.DataFrame(
        {
            "face_a": [f"{i}a.jpg" for i in number],
            "face_b": [f"{i}b.jpg" for i in number],
            "kin": kin.astype(int),
            "score": (kin + rng.normal(size=COUNT)).round(4),
            "family_a": family,
            "family_b": np.where(kin, family, family % 20 + 1),
            "tone_a": tone[0],
            "tone_b": tone[1],
            "region": rng.choice(["Métis", "Côte d'Or", "NA"], COUNT),
            "studio": rng.integers(1, 9, COUNT),
        }
    )


TABLE = draw_table()


def audit_table(table: pd.DataFrame) -> FairnessAudit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that spellings are read as one is said elsewhere
        return audit_fairness(table, 0.5, groupings=["tone", "region", "studio"], resamples=20)


@pytest.fixture(scope="module")
def expected() -> FairnessAudit:
    return audit_table(TABLE)


def assert_same(audit: FairnessAudit, expected: FairnessAudit) -> None:
    for name in ("groups", "gaps", "contrasts", "disparities"):
        pd.testing.assert_frame_equal(getattr(audit, name), getattr(expected, name), obj=name)
    assert audit.dyads.keys.tolist() == expected.dyads.keys.tolist()
    pd.testing.assert_frame_equal(match_across_groups(audit, "tone"), match_across_groups(expected, "tone"))


def retype(values: pd.Series, kind: str) -> pd.Series:
    if kind == "mixed":
        return pd.Series([(int, float, str, lambda n: f"{n}.0")[i % 4](n) for i, n in enumerate(values)], dtype=object)
    if kind == "decimals":
        return values.map(lambda number: f" {number}.0")
    return values.astype(kind)


TYPES = st.sampled_from(["int64", "float32", "Int64", "object", "str", "string", "category", "mixed", "decimals"])
NUMBERED = ["family_a", "family_b", "tone_a", "tone_b", "studio"]


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(
    types=st.fixed_dictionaries(dict.fromkeys(NUMBERED, TYPES)),
    spelled=st.lists(st.sampled_from(["{}", "{} ", "\u00a0{}", "NFD"]), min_size=COUNT, max_size=COUNT),
    kin=st.sampled_from(["int64", "bool", "float64", "str", "yes"]),
    form=st.sampled_from(["table", "plain.csv", "EUROPEAN.CSV", "utf16.csv", "t.parquet"]),
)
def test_types_spellings_and_files_change_nothing(types, spelled, kin, form, expected, tmp_path_factory):
    table = TABLE.copy()
    for column, kind in types.items():
        table[column] = retype(table[column], kind)
    decomposed = table["region"].map(lambda text: unicodedata.normalize("NFD", text))
    table["region"] = [
        d if s == "NFD" else s.format(t) for s, t, d in zip(spelled, table["region"], decomposed, strict=True)
    ]
    table["kin"] = table["kin"].map({1: "yes", 0: "No"}) if kin == "yes" else table["kin"].astype(kin)
    if form == "table":
        assert_same(audit_table(table), expected)
        return
    path = tmp_path_factory.mktemp("form") / form
    match form:
        case "t.parquet":  # a column has one type there
            mixed = [column for column, kind in types.items() if kind in ("mixed", "object")]
            table.astype(dict.fromkeys(mixed, str)).to_parquet(path)
        case "EUROPEAN.CSV":
            table.to_csv(path, index=False, sep=";", decimal=",")
        case _:
            table.to_csv(path, index=False, encoding="utf-16" if form == "utf16.csv" else "utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_same(audit_table(read_pairs(path, scored=True)), expected)


@settings(max_examples=10, deadline=None, derandomize=True, database=None)
@given(st.permutations(range(COUNT)), st.permutations(list(TABLE)), st.booleans())
def test_the_order_of_rows_columns_and_faces_changes_nothing(rows, columns, swap):
    table = TABLE.iloc[list(rows)][list(columns)]
    if swap:
        sides = {f"{name}_a": f"{name}_b" for name in ("face", "family", "tone")}
        table = table.rename(columns=sides | {second: first for first, second in sides.items()})
    audit, expected = audit_table(table), audit_table(TABLE)
    pd.testing.assert_frame_equal(audit.groups, expected.groups)
    pd.testing.assert_frame_equal(audit.gaps, expected.gaps)


def test_one_word_among_numbers_leaves_the_other_groups_as_they_are(expected):
    table = TABLE.astype({"tone_b": object})
    table.loc[7, "tone_b"] = "unclear"
    audit = audit_table(table)
    groups, before = (it.groups[it.groups["grouping"] == "tone"].set_index("group") for it in (audit, expected))
    assert groups.index.tolist() == ["1", "2", "3", "cross-tone"]
    assert groups.loc[["1", "2", "3"], "kin"].tolist() == before.loc[["1", "2", "3"], "kin"].tolist()
    assert len(audit.gaps) == len(expected.gaps) > 0
    cells = match_across_groups(audit, "tone")
    assert {*cells["a"], *cells["b"]} == {"1", "2", "3", "unclear"}


@pytest.mark.parametrize("word", ["NA", "None", "null", "nan", "N/A"])
def test_a_group_may_have_any_name(word, tmp_path):
    table = TABLE.assign(region=TABLE["region"].replace("NA", word))
    table.loc[:9, "region"] = None
    table.to_csv(tmp_path / "t.csv", index=False)
    audit = audit_table(read_pairs(tmp_path / "t.csv", scored=True))
    counted = audit.groups[audit.groups["grouping"] == "region"].set_index("group")["pairs"]
    assert counted[word] == (table["region"] == word).sum() > 0
    assert audit.without_group["region"] == 10 == COUNT - counted.sum()


def test_groups_that_look_alike_and_are_two_are_said():
    table = TABLE.assign(region=TABLE["region"].where(TABLE.index % 2 == 0, TABLE["region"].str.upper()))
    with pytest.warns(UserWarning, match="grouping 'region': groups that look alike, .*'MÉTIS' and 'Métis'"):
        audit_fairness(table, 0.5, groupings=["region"], resamples=20)


def test_values_of_two_people_that_look_alike_are_said():
    alike = "grouping 'race': groups that look alike, yet differ: 'Asian' and 'asian'"
    with pytest.warns(UserWarning, match=alike), pytest.warns(UserWarning, match="no pair has one value in race_a and"):
        audit_fairness(TABLE.assign(race_a="Asian", race_b="asian"), 0.5, resamples=20)


def test_spellings_of_one_group_are_said_with_file_and_column(tmp_path):
    TABLE.assign(region=TABLE["region"] + [" ", ""] * (COUNT // 2)).to_csv(tmp_path / "t.csv", index=False)
    with pytest.warns(UserWarning, match=r"t.csv: column region: read as one value: .*'Métis '"):
        read_pairs(tmp_path / "t.csv", scored=True)


def test_one_race_of_two_people_is_refused_and_one_group_of_a_pair_is_not():
    with pytest.raises(
        InputError, match="here: column race: a pair has two people; name the columns race_a and race_b"
    ):
        check_pairs(TABLE.assign(race="Asian"), "here", scored=True)
    check_pairs(TABLE.assign(race="Asian"), "here")
    assert "race" in check_pairs(TABLE.assign(race="Asian", race_a="Asian", race_b="Asian"), "here", scored=True)
    with pytest.raises(InputError, match="here: two columns have the name 'region'"):
        check_pairs(pd.concat([TABLE, TABLE[["region"]]], axis="columns"), "here")
    assert check_pairs(TABLE.assign(note="unknown").rename(columns={"note": 0}), "here")["0"].eq("unknown").all()
    with pytest.raises(InputError, match="here: its columns have names of 2 levels; give each one name"):
        check_pairs(TABLE.set_axis(pd.MultiIndex.from_product([["x"], TABLE]), axis="columns"), "here")


def test_tables_of_other_libraries_are_read():
    named = [name for name in TABLE if name.startswith(("face_", "family_"))]
    validation = TABLE.assign(**{name: "v" + TABLE[name].astype(str) for name in named})
    found = [
        kinface.audit(read(TABLE), read(validation), resamples=20).groups
        for read in (pd.DataFrame, pa.Table.from_pandas)
    ]
    pd.testing.assert_frame_equal(*found)


def test_words_for_genders_are_read_and_said():
    with pytest.warns(UserWarning, match=r"here: gender: 'Female' is read as f, 'male' is read as m\."):
        pairs = check_pairs(TABLE.assign(gender_a="male", gender_b=["Female", "m", None] * 80), "here")
    assert (set(pairs["gender_a"]), set(pairs["gender_b"])) == ({"m"}, {"f", "m", None})


def test_two_people_of_unknown_race_are_not_of_one():
    table = TABLE.assign(race_a=["unknown", "Asian"] * 120, race_b="Unknown", gender_a=["unk", "m", "nan"] * 80)
    with pytest.warns(UserWarning, match="here: 'unknown' of race is read as missing, 'Unknown' of race is"):
        pairs = check_pairs(table, "here")
    assert (set(pairs["race_a"]), set(pairs["gender_a"])) == ({"Asian", None}, {"m", None})
    assert pairs["race_b"].isna().all() and race_crossing(pairs).isna().all()


def test_people_of_an_unknown_family_are_not_of_one():
    codes = np.where(TABLE["tone_a"] == 1, "NA", TABLE["tone_a"].astype(str))
    table = TABLE.assign(person_a="nan", person_b=-1, race_a=codes, race_b=TABLE["tone_b"])
    expected = check_pairs(table.assign(person_a=None, person_b=None, race_a=TABLE["tone_a"].replace(1, None)), "here")
    for mark in ("nan", "None", "NA", -1):
        rows = TABLE["tone_a"] == 1
        marked = table.astype({"family_a": object}).assign(family_b=table["family_b"].where(~rows, mark))
        marked.loc[rows, "family_a"] = mark
        with pytest.warns(UserWarning, match=f"'nan' of person is .*'-1' of person is .*'{mark}' of family is"):
            pairs = check_pairs(marked, "here")
        assert pairs["family_a"].isna().equals(rows) and len(set(resampling_units(pairs)[0])) > 20 + rows.sum() / 2
        pd.testing.assert_series_equal(race_group(pairs), race_group(expected), check_names=False)


def test_two_people_of_an_unknown_attribute_are_not_of_one_group():
    with pytest.warns(UserWarning, match="here: 'unknown' of mood is read as missing, 'unk' of age is"):
        pairs = check_pairs(TABLE.assign(mood_a="unknown", mood_b="glad", age_a=["7", "unk"] * 120, age_b=5), "here")
    assert pairs["mood_a"].isna().all() and set(pairs["mood_b"]) == {"glad"}
    assert pairs["age_a"].dropna().unique().tolist() == [7], "what is left is measured, as with empty cells"
    with pytest.warns(UserWarning, match="here: 'NA' of type is .*, 'NA' of age is .*, '#N/A' of age is"):
        pairs = check_pairs(TABLE.assign(type="NA", age_a=["7", "NA"] * 120, age_b=["#N/A", "-1"] * 120), "here")
    assert pairs["type"].isna().all() and pairs["age_a"].dropna().unique().tolist() == [7], "as R and Excel write it"
    assert pairs["age_b"].dropna().unique().tolist() == [-1]
    assert set(check_pairs(TABLE.assign(mood_a="NA", mood_b="x"), "here")["mood_a"]) == {"NA"}, "a name among words"
    assert set(check_pairs(TABLE.assign(age_band="unknown"), "here")["age_band"]) == {"unknown"}, "a custom group"


def test_photos_are_grouped_by_the_same_rule_and_those_without_a_label_are_counted():
    photos = pd.DataFrame({"acquired": ["1", "no", 1.0, True, "yes", 0], "tone": [1, "1.0", 1.0, " 1", None, None]})
    found = measure_acquisition(photos.assign(person=["p", None, None, "p", 1, "1.0"]), "tone")
    assert found[["photos", "failed"]].to_numpy().tolist() == [[4, 1], [2, 1]]
    assert found["group"][0] == "1" and pd.isna(found["group"][1])
    with pytest.raises(InputError, match="row 3: acquired is 1 or 0"):
        measure_acquisition(photos.assign(acquired=[1, 1, "maybe", 1, 1, 1]), "tone")


def test_thresholds_are_chosen_on_columns_of_any_type():
    typed = TABLE.assign(kin=TABLE["kin"].map({1: "yes", 0: "no"}), score=TABLE["score"].astype(str))
    assert choose_threshold(typed) == choose_threshold(TABLE)
    assert choose_threshold_at_fmr(typed, 0.1) == choose_threshold_at_fmr(TABLE, 0.1)
    for choose in (choose_threshold, lambda pairs: choose_threshold_at_fmr(pairs, 0.1)):
        with pytest.raises(InputError, match="no finite score"):
            choose(TABLE.assign(score=["high", *TABLE["score"][1:]]))
        with pytest.raises(InputError, match="column kin: it is 1 or 0"):
            choose(TABLE.assign(kin=[2, *TABLE["kin"][1:]]))


NAMES = ["face_a", "face_b", "family_a", "family_b"]
VALIDATION = TABLE.assign(**{name: "v" + TABLE[name].astype(str) for name in NAMES})


@pytest.mark.parametrize(
    ("change", "threshold", "doubt"),
    [
        ({"score": 100 * TABLE["score"]}, 50, None),
        ({"score": 100 * TABLE["score"]}, 0.5, "If they are percentages, give the threshold as a percentage too"),
        ({"score": 100 * TABLE["score"]}, VALIDATION, "spread 100 times as far as those in the validation pairs"),
        ({}, VALIDATION.assign(score=100 * TABLE["score"]), "spread 0.01 times as far"),
        (
            {name: "f" + TABLE[name].astype(str) for name in ("family_a", "family_b")},
            VALIDATION.assign(**{name: "F" + TABLE[name].astype(str) for name in ("family_a", "family_b")}),
            "20 audited families, such as 'f1', differ .* in capital letters alone",
        ),
        ({"score": TABLE["score"] > 0.5}, 0.5, "at most two values"),
        ({"score": 0.5}, 0.5, "at most two values"),
        ({}, TABLE[:40].assign(face_a="v"), "chosen on 20 kin and 20 non-kin pairs"),
        ({"score": -TABLE["score"]}, -0.5, "If the scores are distances, give their negative"),
        ({}, 50.0, r"The threshold 50\.0000 accepts 0\.0% of the pairs"),
        ({"split": "train"}, 0.5, "belong to the split train"),
        ({"family_a": None}, 0.5, "families of 240 of the 240 pairs"),
        ({"face_b": "b.jpg", "face_a": [f"{row // 2}.jpg" for row in range(COUNT)]}, 0.5, "called kin in one row and"),
        (
            {"face_b": "b.jpg", "face_a": [f"{row % 200}.jpg" for row in range(COUNT)]},
            0.5,
            "40 rows .* repeat an earlier",
        ),
        (
            {"face_b": "b.jpg", "face_a": [f"{row % 220}.jpg" for row in range(COUNT)]},
            0.5,
            "20 pairs of .* have another score in another row",
        ),
        ({}, TABLE.assign(face_a="v" + TABLE["face_a"]), "20 of the 20 audited families were also used"),
        (
            {"family_a": None, "family_b": None},
            TABLE.assign(face_a="v" + TABLE["face_a"], family_a=None, family_b=None),
            "240 of the 480 audited faces were also used to choose the threshold",
        ),
        (
            {"family_a": ["F1", "f1"] * 120, "family_b": "F1"},
            0.5,
            "families that look alike, yet differ: 'F1' and 'f1'",
        ),
        ({"face_a": "a.jpg"}, 0.5, "1 of the 241 faces .* have more than one family, such as 'a.jpg': '18' and '13'"),
        ({"person_a": "MID1"}, 0.5, "1 of the 1 people .* have more than one family, such as 'MID1': '18' and"),
        ({"face_a": "a.jpg", "gender_a": ["m", "f"] * 120}, 0.5, "have more than one gender, such as 'a.jpg': 'm' and"),
    ],
)
def test_an_audit_in_python_warns_of_what_the_page_warns_of(change, threshold, doubt):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        kinface.audit(TABLE.assign(**change), threshold, resamples=20)
    found = " ".join(str(warning.message) for warning in said)
    assert found == "" if doubt is None else re.search(doubt, found)


def test_one_models_scores_choose_the_thresholds_of_two():
    named = [name for name in TABLE if name.startswith(("face_", "family_"))]
    validation = TABLE.assign(**{name: "v" + TABLE[name].astype(str) for name in named})
    audits = [kinface.audit(TABLE.assign(score=TABLE["score"] + by), validation, resamples=20) for by in (0, 0, 0.1)]
    kinface.compare(*audits[:2])
    with pytest.warns(UserWarning, match="thresholds of both models come from the same scores, in the validation"):
        kinface.compare(*audits[1:])


def test_triplets_of_other_mothers_are_no_repeats():
    triplets = TABLE.assign(face_a="a.jpg", face_b=[f"{row % 80}.jpg" for row in range(COUNT)])
    doubts = [
        [text for text in list_doubts(audit_table(triplets.assign(**more))) if "repeat" in text]
        for more in ({}, {"face_m": TABLE["face_b"]}, {"face_m": triplets["face_b"]})
    ]
    assert [len(texts) for texts in doubts] == [1, 0, 1]


def test_clusters_of_ones_own_are_not_said_to_be_independent():
    assert not list_doubts(audit_fairness(TABLE.assign(family_a=None), 0.5, clusters=["studio"], resamples=20))


@pytest.mark.parametrize(("split", "warned"), [("train", 1), ("Train ", 1), ("TRAINING", 1), ("Tune", 1), ("Val", 0)])
def test_pairs_that_a_model_was_trained_on_are_said_however_their_split_is_written(split, warned):
    assert len(warn_of_fitted_splits(audit_table(TABLE.assign(split=split)))) == warned


def test_a_threshold_is_one_number_of_any_type():
    for threshold in (np.float32(0.5), np.array(0.5), torch.tensor(0.5)):
        assert audit_fairness(TABLE, threshold, resamples=20).threshold == 0.5
    for threshold in (None, float("nan"), [0.5], "high", True, np.True_):
        with pytest.raises(InputError, match=r"threshold: .* is not a finite number"):
            audit_fairness(TABLE, threshold, resamples=20)


def test_calibration_keeps_families_apart_whatever_their_type():
    scored = TABLE.assign(score=TABLE["score"] / 10)
    other = scored.assign(**{f"{name}_{side}": f"v{side}" for name in ("face", "family") for side in "ab"}, kin=0)
    faces = ["va", "vb", *sorted({*TABLE["face_a"], *TABLE["face_b"]})]
    embedding = np.random.default_rng(1).normal(size=(len(faces), 4))
    typed = scored.assign(family_b=scored["family_b"].map("{}.0".format), kin=scored["kin"].astype(str))
    found = [
        calibrate(table, other, faces, embedding, options={"clusters": 2})[0]["score"] for table in (scored, typed)
    ]
    np.testing.assert_array_equal(*found)
    for shared, said in ((typed, "family 1 is"), (typed.assign(family_a=None, family_b=None), r"face 0a\.jpg is")):
        with pytest.raises(InputError, match=f"{said} among the pairs to calibrate too"):
            calibrate(shared, scored, faces, embedding, options={"clusters": 2})


def test_shared_families_and_pairs_are_found_whatever_their_type():
    expected = audit_table(TABLE)
    validation = TABLE.assign(face_a="v" + TABLE["face_a"], list=None, split=None, race_source=None, gender_source=None)
    (warning,) = warn_of_threshold(replace(expected, origin=Origin(validation=validation)))
    assert warning.startswith("20 of the 20 audited families were also used to choose the threshold")
    with pytest.raises(InputError, match="240 of its pairs are also in the audited pairs"):
        check_validation(expected.pairs, Origin(validation=TABLE))
