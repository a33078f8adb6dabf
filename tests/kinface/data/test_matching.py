"""Matched negatives: what a non-kin pair shares with its kin pair, whom it is drawn from, and what is left out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kinface.cli.pairs import pairs
from kinface.data.families import TABLES, Families, conform
from kinface.data.fiw import read_families
from kinface.data.lists import read_any_list
from kinface.data.matching import MATCHES, describe_matching, match_pairs
from kinface.data.pairs import read_pairs, write_pairs
from kinface.data.sampling import describe_pairs, sample_pairs
from swinface.files import InputError

RELATIONS = [(1, 3, "fs"), (1, 4, "fd"), (2, 3, "ms"), (2, 4, "md"), (3, 4, "sibs"), (1, 2, None)]


def make_families(races: dict[str, str | None], faces: int = 2, split: str = "val", **mothers: str) -> Families:
    """Families of a father (1), a mother (2), a son (3) and a daughter (4), of one race but for some ``mothers``.

    Ages of a family's faces are those of all others, a year later per family.
    """
    people, images, relations = [], [], []
    for number, (family, race) in enumerate(races.items()):
        for mid, (gender, age) in enumerate(zip("mfmf", (50, 45, 20, 10), strict=True), start=1):
            person, own = f"{family}/MID{mid}", mothers.get(family, race) if mid == 2 else race
            people.append([person, family, mid, None, split, faces, gender, "FIW mid.csv", own, "human annotated"])
            images += [[f"{person}/{i}.jpg", family, mid, person, split, own, None, age + number] for i in range(faces)]
        relations += [[f"{family}/MID{a}", f"{family}/MID{b}", family, split, "-", code] for a, b, code in RELATIONS]
    tables = {"people": people, "faces": images, "relations": relations}
    tables = {name: pd.DataFrame(rows, columns=[*TABLES[name]][: len(rows[0])]) for name, rows in tables.items()}
    tables = {name: conform(table.reindex(columns=[*TABLES[name]]), name) for name, table in tables.items()}
    empty = {name: pd.DataFrame(columns=[*TABLES[name]]) for name in ("problems", "annotations")}
    return Families(Path("images"), **tables, **empty)


def list_kin(families: Families, rows: list[tuple[str, str, str]], **columns) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["face_a", "face_b", "type"]).assign(kin=True, list="val", **columns)
    return describe_pairs(table, families)


def split_halves(matched: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    half = len(matched) // 2
    kin, other = matched[:half], matched[half:].reset_index(drop=True)
    assert kin["kin"].all() and not other["kin"].any()
    return kin, other


FOUR_RACES = {f"F{i}": race for i, race in enumerate(["Asian", "Asian", "Asian", "African", "African", "African"])}


def test_a_matched_pair_is_like_its_kin_pair_and_of_two_families():
    families = make_families(FOUR_RACES, F0="African", F4="Asian")
    standard = sample_pairs(families, "val")
    matched, counts = match_pairs(standard, families)
    kin, other = split_halves(matched)
    assert len(kin) == standard["kin"].sum() == counts["matched"].sum() == counts["kin"].sum()
    assert set(matched["list"]) == {"val matched by race, type, gender, age-gap"}
    for column in ("face_a", "person_a", "family_a", "race_a", "race_b", "type", "gender_a", "gender_b", "split"):
        assert other[column].tolist() == kin[column].tolist(), column
    assert {("Asian", "African"), ("African", "Asian")} < set(zip(other["race_a"], other["race_b"], strict=True))
    assert (other["family_a"] != other["family_b"]).all()
    age = families.faces.set_index("face")["age"]
    gaps = [age[table["face_a"]].to_numpy() - age[table["face_b"]].to_numpy() for table in (kin, other)]
    assert np.abs(gaps[0] - gaps[1]).max() <= 5
    mid = families.faces.set_index("face")["mid"]
    role = {"fs": {3}, "ms": {3}, "fd": {4}, "md": {4}, "sibs": {4}}
    assert all(mid[row.face_b] in role[row.type] for row in other.itertuples())
    assert not matched.duplicated(["face_a", "face_b"]).any()
    assert matched["score"].isna().all()


@pytest.mark.parametrize("key", MATCHES)
def test_each_key_matches_what_it_says_and_no_more(key: str):
    families = make_families({f"F{i}": "Asian" if i < 5 else "African" for i in range(10)}, F1="African", F7="Asian")
    kin, other = split_halves(match_pairs(sample_pairs(families, "val"), families, key)[0])
    faces = families.faces.set_index("face")
    mid, age = faces["mid"], faces["age"]
    role = {"fs": {3}, "ms": {3}, "fd": {4}, "md": {4}, "sibs": {4}}
    same = {
        "race": (other["race_b"] == kin["race_b"]).all(),
        "type": all(mid[row.face_b] in role[row.type] for row in other.itertuples()),
        "gender": (other["gender_b"] == kin["gender_b"]).all(),
        "age-gap": (np.abs(age[other["face_b"]].to_numpy() - age[kin["face_b"]].to_numpy()) <= 5).all(),
    }
    implied = {"type": {"type", "gender"}}.get(key, {key})
    assert {name for name, holds in same.items() if holds} == implied


def test_a_brother_second_in_a_list_is_matched_with_brothers():
    families = make_families(dict.fromkeys(["F0", "F1", "F2"], "Asian"))
    standard = list_kin(
        families, [("F0/MID4/0.jpg", "F0/MID3/0.jpg", "sibs"), ("F0/MID3/0.jpg", "F0/MID4/0.jpg", "sibs")]
    )
    _, other = split_halves(match_pairs(standard, families, ["type"])[0])
    assert other["person_b"].str[-4:].tolist() == ["MID3", "MID4"]


def test_either_of_two_brothers_is_a_brother():
    families = make_families(dict.fromkeys(["F0", "F1"], "Asian"), faces=1)
    brothers = [(f"{family}/MID1", f"{family}/MID3", family, "val", "sibling", "bb", 0) for family in ("F0", "F1")]
    families = replace(families, relations=pd.DataFrame(brothers, columns=[*TABLES["relations"]]))
    standard = list_kin(families, [("F0/MID1/0.jpg", "F0/MID3/0.jpg", "bb")] * 2)
    _, other = split_halves(match_pairs(standard, families, ["type"])[0])
    assert set(other["person_b"]) == {"F1/MID1", "F1/MID3"}


def test_the_same_seed_draws_the_same_whatever_the_order_of_rows():
    families = make_families(FOUR_RACES)
    standard = sample_pairs(families, "val")
    shuffled = [table.sample(frac=1, random_state=1) for table in (families.faces, families.people, families.relations)]
    again = replace(families, **dict(zip(("faces", "people", "relations"), shuffled, strict=True)))
    first, _ = match_pairs(standard, families, ["race", "type"], seed=3)
    pd.testing.assert_frame_equal(first, match_pairs(standard, again, ["type", "race"], seed=3)[0])
    other, _ = match_pairs(standard.sample(frac=1, random_state=2), again, ["race", "type"], seed=3)
    drawn = [set(zip(table["face_a"], table["face_b"], table["kin"], strict=True)) for table in (first, other)]
    assert drawn[0] == drawn[1]
    assert not first.equals(match_pairs(standard, families, ["race", "type"], seed=4)[0])
    numbered = match_pairs(standard.assign(kin=standard["kin"].astype(int)), families, ["race", "type"], seed=3)[0]
    pd.testing.assert_frame_equal(numbered, first)


def test_partners_are_spread_over_people_and_no_pair_recurs():
    """12 families of one face per person: a son has 11 partners, and 24 pairs need nobody more than twice."""
    families = make_families({f"F{i}": "Asian" for i in range(12)}, faces=1)
    standard = sample_pairs(families, "val")
    sons = standard[standard["type"].isin(["fs", "ms"])]
    for seed in range(5):
        _, other = split_halves(match_pairs(sons, families, ["type"], seed=seed)[0])
        assert len(other) == 24
        assert max(Counter(other["face_b"]).values()) <= 3  # two, but for the last whose own family is left
        assert not other.duplicated(["face_a", "face_b"]).any()
    siblings = list_kin(
        families, [("F0/MID3/0.jpg", "F0/MID4/0.jpg", "sibs"), ("F1/MID4/0.jpg", "F1/MID3/0.jpg", "sibs")]
    )
    two = replace(families, faces=families.faces[families.faces["family"].isin(["F0", "F1"])])
    matched, counts = match_pairs(siblings, two, ["type"])
    assert len(matched) == 2, "F0's son with F1's daughter is F1's daughter with F0's son"
    assert counts["no_partner"].sum() == 1


def test_what_cannot_be_matched_is_counted_by_type_and_race():
    families = make_families({"F0": "Asian", "F1": "Asian", "F2": "African", "F3": None})
    rows = [(f"F{i}/MID1/0.jpg", f"F{i}/MID{b}/0.jpg", code) for i in range(4) for b, code in ((3, "fs"), (4, "fd"))]
    matched, counts = match_pairs(list_kin(families, rows), families, ["race", "type"])
    assert set(matched["family_a"]) == {"F0", "F1"} and set(matched["family_b"]) == {"F0", "F1"}
    table = counts.set_index(["type", "race"]).to_dict("index")
    assert table == {
        (code, race): {"kin": sum(cells), "matched": cells[0], "unknown": cells[1], "no_partner": cells[2]}
        for code in ("fs", "fd")
        for race, cells in {"Asian": (2, 0, 0), "African": (0, 0, 1), "unknown": (0, 1, 0)}.items()
    }
    text = describe_matching(matched, counts)
    assert "4 of 8 kin pairs; 2 have an unknown label, 2 have no fitting person in another family" in text
    assert "families of face b" in text


def test_missing_ages_and_genders_cannot_be_matched():
    families = make_families({"F0": "Asian", "F1": "Asian", "F2": "Asian"}, faces=1)
    faces = families.faces.assign(age=families.faces["age"].mask(families.faces["face"] == "F0/MID1/0.jpg"))
    aged = replace(families, faces=faces)
    rows = [(f"F{i}/MID1/0.jpg", f"F{i}/MID3/0.jpg", "fs") for i in range(3)]
    _, counts = match_pairs(list_kin(aged, rows), aged, ["age-gap"])
    assert (counts["unknown"].item(), counts["matched"].item()) == (1, 2)
    people = families.people.assign(gender=None, gender_source=None)
    nameless = replace(families, people=people)
    siblings = [("F0/MID3/0.jpg", "F0/MID4/0.jpg", "sibs"), ("F1/MID3/0.jpg", "F1/MID4/0.jpg", "sibs")]
    with pytest.raises(InputError, match=r"none of 2 kin pairs can be matched by gender: 2 have an unknown label"):
        match_pairs(list_kin(nameless, siblings), nameless, ["gender"])


def test_what_the_list_says_of_its_people_counts():
    """KFC's races go before the tables', and roles and genders may be known from the list only (FIW's test)."""
    families = make_families({"F0": "Asian", "F1": "African", "F2": "African"}, faces=1)
    people = families.people.assign(gender=None, gender_source=None)
    families = replace(families, people=people, relations=families.relations[:0])
    rows = [(f"F{i}/MID1/0.jpg", f"F{i}/MID4/0.jpg", "fd") for i in range(3)]
    races = {"race_a": ["Asian", "Asian", "African"], "race_b": ["Asian", "Asian", "African"]}
    standard = list_kin(families, rows, **races, race_source="KFC list")
    matched, counts = match_pairs(standard, families, ["race", "type", "gender"])
    _, other = split_halves(matched)
    assert other[["person_a", "person_b", "race_a", "race_b", "race_source", "gender_b"]].to_numpy().tolist() == [
        ["F0/MID1", "F1/MID4", "Asian", "Asian", "KFC list / human annotated", "f"],
        ["F1/MID1", "F0/MID4", "Asian", "Asian", "KFC list / human annotated", "f"],
    ]
    assert counts["no_partner"].sum() == 1


def test_nobody_leaves_the_split_and_the_list_must_have_kin():
    races = {"F0": "Asian", "F1": "Asian"}
    val, train = make_families(races), make_families({"F8": "Asian", "F9": "Asian"}, split="train")
    tables = {name: pd.concat([getattr(val, name), getattr(train, name)]) for name in ("faces", "people", "relations")}
    both = replace(val, **tables)
    matched, _ = match_pairs(sample_pairs(val, "val"), both, ["type"])
    assert set(matched["family_b"]) == {"F0", "F1"} and set(matched["split"]) == {"val"}
    with pytest.raises(InputError, match="some of race, type, gender, age-gap; got race, colour"):
        match_pairs(matched, both, ["race", "colour"])
    with pytest.raises(InputError, match="the list has no kin pairs"):
        match_pairs(matched[~matched["kin"]], both, ["race"])


def test_a_wrong_name_of_a_list_is_answered_with_those_that_are_there(synthetic):
    with pytest.raises(InputError, match=r"tunes: no such file, and no list of .*; its lists are .*tune"):
        read_any_list("tunes", synthetic, read_families(synthetic))


def test_the_command_reads_a_list_in_any_form(synthetic, tmp_path, capsys):
    families = read_families(synthetic)
    tune = read_any_list("tune", synthetic, families)
    write_pairs(tune.assign(score=0.5), tmp_path / "table.csv")
    kin = tune[tune["kin"]]
    rows = (f"{i} {row.face_a} {row.face_b} {row.type} 1" for i, row in enumerate(kin.itertuples()))
    (tmp_path / "tune.txt").write_text("\n".join(rows))
    drawn = {}
    for name in ("tune", tmp_path / "table.csv", tmp_path / "tune.txt", None):
        out = tmp_path / "matched.parquet"
        pairs(root=synthetic, list=name, split=None if name else "tune", out=out, match=["type"], seed=0)
        drawn[str(name)] = read_pairs(out)
        assert "type: " in capsys.readouterr().out
    first, *others = drawn.values()
    for other in others:
        pd.testing.assert_frame_equal(first, other)
    assert set(first["list"]) == {"tune matched by type"}


def test_the_command_refuses_what_it_cannot_use(synthetic, tmp_path):
    out = tmp_path / "out.parquet"
    for given in ({}, {"list": Path("tune"), "split": "tune"}):
        with pytest.raises(InputError, match="either --list or --split"):
            pairs(root=synthetic, out=out, **given)
    with pytest.raises(InputError, match="written to a file"):
        pairs(root=synthetic, out=tmp_path / "out.txt", split="tune")
    strange = read_any_list("tune", synthetic, read_families(synthetic))
    strange.loc[2, "face_b"] = "elsewhere.jpg"
    write_pairs(strange, tmp_path / "strange.csv")
    with pytest.raises(InputError, match=r"strange.csv: row 3: no face elsewhere.jpg below"):
        pairs(root=synthetic, out=out, list=tmp_path / "strange.csv")
    assert not out.exists()


def test_a_list_of_unknown_families_cannot_be_matched(synthetic, tmp_path):
    families = read_families(synthetic)
    (tmp_path / "flat").mkdir()
    for number, path in enumerate(families.faces["face"][:3]):
        shutil.copyfile(families.root / path, tmp_path / f"flat/face{number}.jpg")
    (tmp_path / "list.txt").write_text("0 face0.jpg face1.jpg fd 1\n1 face0.jpg face2.jpg fd 0\n")
    with pytest.raises(
        InputError, match="families of all 1 kin pairs are unknown, and a matched non-kin pair is of two"
    ):
        pairs(root=tmp_path / "flat", list=tmp_path / "list.txt", out=tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_of_a_mixed_list_what_is_of_known_families_is_matched(synthetic):
    families = read_families(synthetic)
    standard = sample_pairs(families, "val")
    kin = int(standard["kin"].sum())
    strange = standard[standard["kin"]].head(5)
    strange = strange.assign(face_a="x" + strange["face_a"], face_b="x" + strange["face_b"], split=None)
    strange = strange.assign(**dict.fromkeys(["person_a", "person_b", "family_a", "family_b"]))
    expected, _ = match_pairs(standard, families, ["type"])
    matched, counts = match_pairs(pd.concat([standard, strange]), families, ["type"])
    assert (counts["kin"].sum(), counts["unknown"].sum()) == (kin + 5, 5)
    pd.testing.assert_frame_equal(matched, expected)


def test_matching_imports_no_torch():
    code = "import sys, kinface.data.matching; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_real_validation_list(shared_data):
    """Of few families the same people recur, and strangers across races go."""
    families = read_families(shared_data / "fiw")
    standard = read_any_list(shared_data / "fiw/lists/val_choose.txt", shared_data / "fiw", families)
    matched, counts = match_pairs(standard, families, ["race", "type"])
    kin, other = split_halves(matched)
    assert 0.9 * standard["kin"].sum() < len(kin) < standard["kin"].sum() == counts["kin"].sum()
    for name in ("race_a", "race_b", "type", "gender_b"):
        assert (kin[name].to_numpy() == other[name].to_numpy()).all()
    assert (other["family_a"] != other["family_b"]).all() and not other.duplicated(["face_a", "face_b"]).any()


def test_pairs_carry_an_attribute_of_ones_own_and_are_matched_by_it(root, write_annotations):
    faces = read_families(root).faces
    band = ["old" if face.split("/")[-2] in ("MID1", "MID2") else "young" for face in faces["face"]]
    table = {face: {"age_band_human": value} for face, value in zip(faces["face"], band, strict=True)}
    write_annotations(root / "annotations" / "bands.csv", table)
    families = read_families(root, tune=0)
    people = families.people.set_index("person")
    assert people.loc["F0001/MID1", ["age_band", "age_band_source"]].tolist() == ["old", "human annotated"]
    pairs = sample_pairs(families, "train")
    assert (pairs["age_band_a"] == pairs["person_a"].map(people["age_band"])).all()
    matched, _ = match_pairs(pairs, families, ["age_band"])
    assert matched["list"].iloc[0].endswith("matched by age_band")
    kin, other = matched[matched["kin"]], matched[~matched["kin"]]
    assert kin["age_band_b"].tolist() == other["age_band_b"].tolist()
    with pytest.raises(InputError, match="some of race, type, gender, age-gap, age_band; got tone"):
        match_pairs(pairs, families, ["tone"])
