from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kinface.data.fiw import read_families, read_known_families
from kinface.data.pairs import check_pairs, write_pairs
from kinface.data.triplets import FACES, read_triplets, sample_triplets, score_triplets, write_triplet_list
from swinface.files import InputError


def face(family: int, mid: int, number: int = 0, part: str = "Train/train-faces") -> str:
    return f"{part}/F000{family}/MID{mid}/P0000{number}_face0.jpg"


def read(root, tmp_path, *lines: str) -> pd.DataFrame:
    path = tmp_path / "triplets.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return read_triplets(path, read_known_families(root))


def test_a_list_is_read_with_and_without_index_and_dots(root, tmp_path):
    kin = f"./{face(1, 1)} ./{face(1, 2)} ./{face(1, 3)} FMD 1"
    stranger = f"7 {face(1, 1)} {face(1, 2)} {face(2, 4)} FMS 0"
    triplets = read(root, tmp_path, kin, "", stranger)
    assert triplets[[*FACES]].to_numpy().tolist() == [
        [face(1, 1), face(1, 2), face(1, 3)],
        [face(1, 1), face(1, 2), face(2, 4)],
    ]
    assert triplets["kin"].tolist() == [True, False]
    assert triplets["triplet"].tolist() == ["FMD", "FMS"]
    assert triplets[["person_a", "person_m", "person_b", "family_b", "gender_b"]].to_numpy().tolist() == [
        ["F0001/MID1", "F0001/MID2", "F0001/MID3", "F0001", "f"],
        ["F0001/MID1", "F0001/MID2", "F0002/MID4", "F0002", "m"],
    ]
    assert triplets[["type", "gender_a", "score"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("places", "names", "said"),
    [
        ((1, 0, 2), ("FMD", "FMS"), r"the father, of [\d,]+ the mother has"),
        ((0, 1, 2), ("FMS", "FMD"), "the child has"),
    ],
)
def test_triplets_whose_genders_contradict_their_places_are_warned_of(places, names, said, synthetic, tmp_path):
    families, path = read_families(synthetic), tmp_path / "triplets.csv"
    drawn = sample_triplets(families, "val")
    changed = drawn.assign(**{side: drawn[FACES[place]] for side, place in zip(FACES, places, strict=True)})
    changed["triplet"] = changed["triplet"].map(dict(zip(("FMD", "FMS"), names, strict=True)))
    changed[[*FACES, "triplet", "kin"]].to_csv(path, index=False)
    with pytest.warns(UserWarning, match=said):
        read_triplets(path, families)


def test_flat_faces_are_of_unknown_people(root, tmp_path):
    flat = root / "Test" / "test-faces"
    flat.mkdir(parents=True)
    for name in ("a", "b", "c"):
        (flat / f"{name}.jpg").write_bytes((root / face(1, 1)).read_bytes())
    triplets = read(root, tmp_path, "./Test/test-faces/a.jpg ./Test/test-faces/b.jpg ./Test/test-faces/c.jpg FMD 1")
    assert triplets[["person_a", "person_m", "person_b", "family_a", "family_b"]].isna().all(axis=None)
    assert triplets["gender_b"].tolist() == ["f"]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (f"{face(1, 1)} {face(1, 2)} {face(1, 3)} FMD", "expected 'father mother child"),
        (f"{face(1, 1)} {face(1, 2)} {face(1, 3)} fd 1", "'fd'"),
        (f"{face(1, 1)} {face(1, 2)} {face(1, 3)} FMD 2", "'2'"),
        (f"{face(1, 1)} {face(1, 2)} {face(1, 2, 1)} FMD 1", "of one person"),
        (f"{face(1, 1)} {face(1, 2)} {face(2, 3)} FMD 1", "cannot be kin"),
        (f"{face(1, 1)} {face(1, 2)} {face(9, 3)} FMD 0", "F0009"),
        (f"../x.jpg {face(1, 2)} {face(1, 3)} FMD 0", "leaves the data root"),
    ],
)
def test_a_bad_line_is_named(line, named, root, tmp_path):
    good = f"{face(1, 1)} {face(1, 2)} {face(1, 3)} FMD 1"
    with pytest.raises(InputError, match=r"triplets\.txt:2") as caught:
        read(root, tmp_path, good, line)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"triplet": "fmd"}, "unknown type 'fmd'"),
        ({"face_m": face(1, 1)}, "of one person"),
        ({"face_m": face(1, 3)}, "of one person"),
        ({"face_m": face(2, 2)}, "cannot be kin"),
    ],
)
def test_a_row_of_a_table_is_checked_as_a_line_of_a_list(changed, named, root, tmp_path):
    row = {"face_a": face(1, 1), "face_m": face(1, 2), "face_b": face(1, 3), "triplet": "FMD", "kin": 1}
    pd.DataFrame([row, row | changed]).to_csv(tmp_path / "triplets.csv", index=False)
    with pytest.raises(InputError, match=rf"triplets\.csv: row 2: .*{named}"):
        read_triplets(tmp_path / "triplets.csv", read_known_families(root))


def test_drawn_triplets_are_families_and_their_copies_with_another_child(families):
    triplets = sample_triplets(families, "val", seed=3)
    people = families.people.set_index("person")
    parents = families.relations[families.relations["relation"] == "parent"]
    related = set(zip(parents["person_a"], parents["person_b"], strict=True))
    assert triplets["kin"].mean() == 0.5
    assert (triplets["person_a"].map(people["gender"]) == "m").all()
    assert (triplets["person_m"].map(people["gender"]) == "f").all()
    assert (triplets["person_b"].map(people["gender"]) == triplets["triplet"].map({"FMD": "f", "FMS": "m"})).all()
    for row in triplets.itertuples():
        both = {(row.person_a, row.person_b), (row.person_m, row.person_b)}
        assert both <= related if row.kin else row.family_a != row.family_b
    kin = triplets[triplets["kin"]]
    assert not kin.duplicated(list(FACES)).any()
    assert kin.groupby("person_b").size().max() == 3
    assert sorted(kin["face_a"] + kin["face_m"]) == sorted(
        triplets.loc[~triplets["kin"], ["face_a", "face_m"]].sum(axis=1)
    )


def test_matched_children_share_their_race(families):
    triplets = sample_triplets(families, "train", match="race")
    kin, other = (triplets[triplets["kin"] == value] for value in (True, False))
    assert (kin["race_b"].to_numpy() == other["race_b"].to_numpy()).all()
    with pytest.raises(InputError, match="age"):
        sample_triplets(families, "val", match=["age"])


def test_the_draw_does_not_depend_on_the_order_of_rows(families, shuffled):
    pd.testing.assert_frame_equal(sample_triplets(families, "val"), sample_triplets(shuffled, "val"))


def test_parents_of_two_races_are_mixed(families):
    triplets = sample_triplets(families, "train")
    race = families.people.set_index("person")["race"]
    father, mother = triplets["person_a"].map(race), triplets["person_m"].map(race)
    assert (triplets.loc[father == mother, "race_a"] == father[father == mother]).all()
    assert (triplets.loc[father.notna() & mother.notna() & (father != mother), "race_a"] == "mixed").all()


def test_the_score_is_the_mean_of_two_cosines():
    triplets = pd.DataFrame([{"face_a": "f", "face_m": "m", "face_b": "c", "kin": 1}])
    embedding = np.array([[2.0, 0.0], [0.0, 3.0], [3.0, 4.0]])  # cosines .6 and .8
    assert score_triplets(triplets, ["f", "m", "c"], embedding)["score"].tolist() == pytest.approx([0.7])


def test_lists_and_tables_are_read_as_they_were_written(families, tmp_path):
    triplets = sample_triplets(families, "val")
    write_triplet_list(triplets, tmp_path / "val.txt")
    read_again = read_triplets(tmp_path / "val.txt", families)
    pd.testing.assert_frame_equal(read_again, triplets)
    write_pairs(triplets, tmp_path / "val.parquet")
    columns = [*FACES, "kin", "triplet", "person_m", "race_a"]
    pd.testing.assert_frame_equal(read_triplets(tmp_path / "val.parquet", families)[columns], triplets[columns])
    write_pairs(triplets.drop(columns="face_m"), tmp_path / "pairs.parquet")
    with pytest.raises(InputError, match="face_m"):
        read_triplets(tmp_path / "pairs.parquet", families)
    write_pairs(triplets.assign(face_m="nowhere.jpg"), tmp_path / "nowhere.parquet")
    with pytest.raises(InputError, match=r"row 1.*nowhere\.jpg"):
        read_triplets(tmp_path / "nowhere.parquet", families)


def test_a_split_without_families_is_named(families):
    with pytest.raises(InputError, match="'test'"):
        sample_triplets(families, "test")


def test_a_table_of_triplets_is_a_table_of_pairs(families):
    triplets = sample_triplets(families, "val")
    pd.testing.assert_frame_equal(check_pairs(triplets, "triplets"), triplets)
