"""FIW on disk to tables and splits, on a tiny folder and on the real one."""

from __future__ import annotations

import io
import os
import tempfile
import time
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinface.data.fiw import read_families
from kinface.data.lists import read_list
from kinface.data.sampling import sample_pairs
from swinface.files import InputError
from tests.kinface.conftest import face


def problems_of(root: Path) -> dict[str, list[str]]:
    """Kind to what was said, of a copy read without a problem elsewhere."""
    problems = read_families(root).problems
    return problems.groupby("kind")["message"].agg(list).to_dict()


def test_tables_of_a_sound_copy(root: Path):
    families = read_families(root)
    assert families.problems.empty
    assert len(families.faces) == 6 * 4 * 2 and families.faces["face"].is_unique
    assert (root / families.faces["face"].iloc[0]).is_file()
    people = families.people.set_index("person")
    assert len(people) == 24 and (people["faces"] == 2).all()
    assert people.loc["F0001/MID2", ["family", "mid", "name", "gender", "gender_source"]].tolist() == [
        "F0001", 2, "member 2", "f", "FIW mid.csv"
    ]  # fmt: skip
    assert people["race"].isna().all() and people["age"].isna().all()
    first = families.relations[families.relations["family"] == "F0001"]
    assert [tuple(row) for row in first[["person_a", "person_b", "relation", "type"]].to_numpy()] == [
        ("F0001/MID1", "F0001/MID2", "spouse", None),
        ("F0001/MID1", "F0001/MID3", "parent", "fd"),
        ("F0001/MID1", "F0001/MID4", "parent", "fs"),
        ("F0001/MID2", "F0001/MID3", "parent", "md"),
        ("F0001/MID2", "F0001/MID4", "parent", "ms"),
        ("F0001/MID4", "F0001/MID3", "sibling", "sibs"),  # the brother first
    ]
    assert first["generation_gap"].tolist() == [pd.NA, 1, 1, 1, 1, 0]


def test_the_faults_of_a_matrix_name_its_file_and_cost_no_face(root: Path):
    folder = root / "Train/train-faces/F0001"
    text = (folder / "mid.csv").read_text()
    (folder / "mid.csv").write_text(text.replace("3,1,1,0,2", "3,1,2,0,2").replace("4,1,1,2,0,member 4, male\n", ""))
    (folder.parent / "F0002/mid.csv").unlink()
    families = read_families(root)
    assert families.problems.groupby("where", sort=False)["kind"].agg(list).to_dict() == {
        "Train/train-faces/F0001/mid.csv": [
            "rows and columns differ", "contradictory matrix", "faces without a usable row"
        ],
        "Train/train-faces/F0002/mid.csv": ["missing mid.csv", *["faces without a usable row"] * 4],
    }  # fmt: skip
    assert len(families.faces) == 48 and families.people["gender"].isna().sum() == 5
    assert len(families.relations) == 4 * 6 + 2 and families.faces["face"].is_unique


def test_members_without_faces_and_folders_that_are_no_member(write_family, root: Path):
    folder = root / "Train/train-faces/F0001"
    for image in (folder / "MID2").iterdir():
        image.unlink()
    (folder / "MID02").mkdir()
    (folder.parent / "f0007/MID1").mkdir(parents=True)
    (folder / "MID1" / "Thumbs.db").write_bytes(b"")
    write_family(root, "F0009", mids=())
    assert problems_of(root) == {
        "member without faces": ["MID2 has no images"],
        "unexpected folder": [
            "not a family such as F0001: its images are left out",
            "not a MID: its images are left out",
        ],
        "family without images": ["its members are in the tables, without faces"],
        "files left out": ["1 file left out: 1 not named as an image (such as Train/train-faces/F0001/MID1/Thumbs.db)"],
    }
    families = read_families(root)
    assert families.people.set_index("person")["faces"]["F0001/MID2"] == 0
    assert not families.faces["face"].str.endswith("Thumbs.db").any()


def test_hidden_files_break_nothing_and_are_accounted_for(root: Path, write_annotations):
    """macOS leaves ._NAME beside each file, and .DS_Store, on disks and in archives of others."""
    write_annotations(root / "annotations/a.csv", {face("F0001", 1): {"race_net": "asian"}})
    sound = read_families(root)
    for path in list(root.rglob("*")):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7\xff")
    (root / "Train/train-faces/F0001/MID1/.DS_Store").touch()
    (root / "Train/train-faces/F0001/MID1/.hidden.jpg").touch()
    families = read_families(root)
    for table in ("faces", "people", "relations", "annotations"):
        pd.testing.assert_frame_equal(getattr(families, table), getattr(sound, table))
    problems = families.problems.set_index("where")["message"]
    count = 6 * 8 + 6 * 4 + 6 + 2  # beside images, folders of people, and each mid.csv; and the two above
    assert problems["."].startswith(f"{count} files left out: {count} hidden (such as Train/train-faces/F0001/")
    assert problems["annotations/._a.csv"] == "hidden: left out"


def test_images_of_all_endings_count_and_each_other_file_is_accounted_for(root: Path):
    folder = root / "Train/train-faces/F0001"
    for name in ("a.jfif", "b.JPE", "c.tif", "d.HEIC", "e.webp", "f.Jpg"):
        (folder / "MID1" / name).touch()
    for name in ("MID1/notes.txt", "group.jpg", "MID1/deeper/x.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    families = read_families(root)
    assert families.people.set_index("person")["faces"]["F0001/MID1"] == 8
    (message,) = families.problems["message"]
    assert message == (
        "3 files left out: 2 not in a folder such as MID1 (such as Train/train-faces/F0001/group.jpg), "
        "1 not named as an image (such as Train/train-faces/F0001/MID1/notes.txt)"
    )


NAMES = st.sampled_from(["a", "._a", ".DS_Store", "P1_face0", ".x", "Thumbs"])
ENDINGS = st.sampled_from([".jpg", ".JPG", ".jfif", ".tif", ".heic", ".db", ".txt", ".csv", ""])


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(st.sets(st.tuples(st.integers(1, 2), NAMES, ENDINGS), min_size=1))
def test_each_file_is_a_face_or_accounted_for(files: set[tuple[int, str, str]]):
    with tempfile.TemporaryDirectory() as folder:
        for mid, name, ending in files | {(1, "face", ".jpg")}:
            path = Path(folder, f"Train/train-faces/F0001/MID{mid}/{name}{ending}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        Path(folder, "Train/train-faces/F0001/mid.csv").write_text("MID,1,2,Gender\n1,0,4,m\n2,1,0,f\n")
        families = read_families(folder)
    left_out = families.problems.set_index("kind")["message"].get("files left out", "0 files")
    assert len(families.faces) + int(left_out.split()[0]) == len(files | {(1, "face", ".jpg")})
    assert not families.faces["face"].str.contains(r"/\.|\.db|\.txt|\.csv").any()


def test_folders_may_be_links(root: Path, tmp_path: Path):
    sound = read_families(root)
    for place in ("Train/train-faces/F0001/MID1", "Train/train-faces/F0002", "Validation"):
        moved = tmp_path / place.replace("/", "_")
        (root / place).rename(moved)
        (root / place).symlink_to(moved)
    families = read_families(root)
    assert families.problems.empty
    pd.testing.assert_frame_equal(families.faces, sound.faces)


def test_names_that_are_no_text_are_left_out_or_refused(root: Path):
    folder = os.fsencode(root / "Train/train-faces/F0001")
    for name in (b"MID1/\xff.jpg", b"\xff\n/x.jpg"):
        os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
        open(os.path.join(folder, name), "wb").close()
    families = read_families(root)
    families.problems.to_csv(io.BytesIO())
    assert families.problems["where"].tolist() == ["Train/train-faces/F0001/\\udcff\\n", "."]
    assert (
        "1 with a name that is not UTF-8 (such as Train/train-faces/F0001/MID1/\\udcff.jpg)"
        in (families.problems["message"].iloc[1])
    )
    os.rename(os.fsencode(root / "Train/train-faces"), os.fsencode(root / "Train") + b"/\xff")
    with pytest.raises(InputError, match="no UTF-8 in its name; rename it"):
        read_families(root)


KAGGLE = """p1,p2
F0001/MID3,F0001/MID1
F0001/MID1,F0001/MID3
F0002\\MID1,F0002\\MID3
F0003/MID1,F0003/MID9
F0003/MID1,F0004/MID1
F0004/MID2,F0004/MID2
F0004/MID1,F0004/MID2
"""


@pytest.mark.parametrize("name", ["train", "train-faces"])
def test_kaggles_layout(tmp_path: Path, write_family, name: str):
    for number in range(1, 5):
        write_family(tmp_path, f"F000{number}", None, part=name)
    (tmp_path / "train_relationships.csv").write_text(KAGGLE)
    families = read_families(tmp_path, tune=0)
    assert len(families.faces) == 4 * 8 and set(families.faces["split"]) == {"train"}
    assert families.people["gender"].isna().all() and (families.people["faces"] == 2).all()
    assert families.relations[["person_a", "person_b", "relation", "type"]].to_numpy().tolist() == [
        ["F0001/MID1", "F0001/MID3", "kin", None],
        ["F0002/MID1", "F0002/MID3", "kin", None],
        ["F0004/MID1", "F0004/MID2", "kin", None],
    ]
    assert families.problems["message"].tolist() == [
        "1 rows name people without faces, such as F0003/MID1 and F0003/MID9: left out",
        "1 rows name people of two families, such as F0003/MID1 and F0004/MID1: left out",
        "1 rows name one person twice, such as F0004/MID2 and F0004/MID2: left out",
    ]
    pairs = sample_pairs(families, "train")
    assert pairs["kin"].sum() == (~pairs["kin"]).sum() == 9 and pairs["type"].isna().all()
    assert (pairs["family_a"] == pairs["family_b"]).equals(pairs["kin"])


def test_kaggles_relationships_are_checked(tmp_path: Path, write_family):
    write_family(tmp_path, "F0001", None, part="train")
    (tmp_path / "train_relationships.csv").write_text("a,b\nF0001/MID1,F0001/MID2\n")
    with pytest.raises(InputError, match=r"train_relationships\.csv: no column 'p1'"):
        read_families(tmp_path)
    (tmp_path / "train_relationships.csv").write_text("p1,p2\ntrain/F0001/MID1,train/F0001/MID2\n")
    with pytest.raises(InputError, match=r"none of its 1 rows names two people .*; row 1 names train/F0001/MID1 and"):
        read_families(tmp_path)


def test_tskinface(tmp_path: Path):
    for name in ("FMD/FMD-1-F", "FMD/FMD-1-M", "FMD/FMD-1-D", "FMSD/FMSD-2-F", "FMSD/FMSD-2-S", "FMSD/FMSD-2-D"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.jpg").touch()
    (tmp_path / "FMD/readme.txt").touch()
    (tmp_path / "FMD/FMD-1-S.jpg").touch()
    families = read_families(tmp_path, tune=0)
    assert families.faces["person"].tolist() == [
        "FMD-1/F", "FMD-1/M", "FMD-1/D", "FMSD-2/F", "FMSD-2/S", "FMSD-2/D"
    ]  # fmt: skip
    assert families.people["gender"].tolist() == ["m", "f", "f", "m", "m", "f"]
    assert families.relations[["person_a", "person_b", "relation", "type"]].to_numpy().tolist() == [
        ["FMD-1/F", "FMD-1/M", "spouse", None],
        ["FMD-1/F", "FMD-1/D", "parent", "fd"],
        ["FMD-1/M", "FMD-1/D", "parent", "md"],
        ["FMSD-2/F", "FMSD-2/S", "parent", "fs"],
        ["FMSD-2/F", "FMSD-2/D", "parent", "fd"],
        ["FMSD-2/S", "FMSD-2/D", "sibling", "sibs"],
    ]
    assert families.problems["message"].str.startswith("2 files left out").tolist() == [True]


def test_image_folders_may_have_other_names(tmp_path: Path, write_family):
    write_family(tmp_path, "F0001", part="Train/aligned")
    assert read_families(tmp_path).faces["face"].str.startswith("Train/aligned/F0001/MID").all()


def test_families_beside_the_partitions_are_not_passed_over(write_family, root: Path):
    write_family(root, "F0077", part="train/train-faces")
    problems = read_families(root).problems
    assert problems[problems["where"] == "train"]["message"].tolist() == [
        "has families, but is none of Train, Validation, Test: left out"
    ]


def test_wrong_layouts_are_refused(write_family, root: Path, tmp_path: Path):
    with pytest.raises(InputError, match="absent: no such folder"):
        read_families(tmp_path / "absent")
    with pytest.raises(InputError, match="not FIW's layout; expected folders such as Train/train-faces/F0001/MID1"):
        read_families(root / "Train")
    write_family(tmp_path / "bare", "F0001", mids=())
    with pytest.raises(InputError, match="no images"):
        read_families(tmp_path / "bare")
    write_family(root, "F0009", part="Train/other-faces")
    with pytest.raises(InputError, match=r"Train: families in several folders \(other-faces, train-faces\)"):
        read_families(root)


def test_a_family_in_two_partitions_is_refused(write_family, root: Path):
    write_family(root, "F0001", part="Validation/val-faces")
    with pytest.raises(InputError, match=r"family F0001 lies in two partitions, .*Train.* and .*Validation"):
        read_families(root)


def write_many(root: Path, races: dict[str, str], write_family, write_annotations) -> Path:
    """A training family of one person for every entry, with its race annotated."""
    for family in races:
        write_family(root, family, "MID,1,Gender\n1,0,f\n", mids=(1,))
    table = {face(family, 1): {"race_human": race} for family, race in races.items()}
    write_annotations(root / "annotations/human.csv", table)
    return root


def test_the_tune_split_is_by_family_seeded_and_stratified_by_race(tmp_path: Path, write_family, write_annotations):
    races = {f"F{i:04}": "white" if i < 40 else "black" if i < 60 else "indian" for i in range(62)}
    root = write_many(tmp_path, races, write_family, write_annotations)
    draws = set()
    for seed in range(4):
        families = read_families(root, tune=0.2, seed=seed)
        assert families.faces.groupby("family")["split"].nunique().eq(1).all()
        tune = families.people[families.people["split"] == "tune"]
        assert len(tune) == round(0.2 * 62)
        counts = tune["race"].value_counts()
        assert abs(counts["Caucasian"] - 8) <= 1 and abs(counts["African"] - 4) <= 1  # one Indian family or none
        draws.add(tuple(sorted(tune["family"])))
    assert len(draws) == 4
    assert read_families(root, tune=0.2, seed=3).people.equals(families.people)


@pytest.mark.parametrize(("tune", "count"), [(0.0, 0), (0.15, 1), (0.5, 2), (0.99, 3)])
def test_some_families_always_remain_to_train_on(root: Path, tune: float, count: int):
    split = read_families(root, tune=tune).people.groupby("family")["split"].first()
    assert (split == "tune").sum() == count and (split == "val").sum() == 2
    assert set(split[["F0005", "F0006"]]) == {"val"}


def test_a_share_is_checked(root: Path):
    with pytest.raises(InputError, match="tune is a share"):
        read_families(root, tune=1.0)


def test_annotations_reach_faces_and_people(root: Path, write_annotations):
    write_annotations(root / "annotations/a.csv", {face("F0002", 1): {"race_net": "asian", "gender_net": "f", "x": 1}})
    families = read_families(root)
    assert families.faces.set_index("face")["race"].dropna().to_dict() == {face("F0002", 1): "Asian"}
    person = families.people.set_index("person").loc["F0002/MID1"]
    assert person[["race", "race_source", "gender", "gender_source"]].tolist() == [
        "Asian", "predicted by net", "m", "FIW mid.csv"
    ]  # fmt: skip
    assert families.annotations["column"].tolist() == ["race_net", "gender_net", "x"]
    write_annotations(root / "b.csv", {face("F0002", 1): {"race_other": "African", "half_own": "left"}})
    both = read_families(root, annotations=[root / "b.csv", root / "annotations/a.csv"])
    assert both.people.set_index("person").loc["F0002/MID1", ["race", "half"]].tolist() == ["African", "left"]
    assert both.annotations["file"].tolist() == ["b.csv", "b.csv", "a.csv", "a.csv", "a.csv"]


def test_real_fiw(shared_data: Path):
    start = time.perf_counter()
    families = read_families(shared_data / "fiw")
    pairs = read_list(shared_data / "fiw/lists/val_choose.txt", families)
    assert time.perf_counter() - start < 10
    partition = families.faces["face"].str.split("/").str[0]
    assert partition.value_counts().to_dict() == {"Train": 12865, "Validation": 2957}
    assert families.faces.groupby(partition)["family"].nunique().to_dict() == {"Train": 456, "Validation": 114}
    tune = families.people[families.people["split"] == "tune"]
    assert tune["family"].nunique() == round(0.15 * 456)
    assert len(pairs) == 5428 and pairs["kin"].sum() == 2714 and set(pairs["split"]) == {"val"}
    assert families.problems["kind"].value_counts().to_dict() == {
        "member without faces": 123, "contradictory matrix": 9, "faces without a usable row": 9,
        "rows and columns differ": 2, "unknown annotation": 2, "no prediction": 1,
    }  # fmt: skip
    # the list's kin pairs are relations of the matrices, in the order of their roles
    related = families.relations.dropna(subset=["type"]).set_index(["person_a", "person_b"])["type"]
    kin = pairs[pairs["kin"]]
    stated = {**related.to_dict(), **{(b, a): code for (a, b), code in related.items() if code in ("bb", "ss", "sibs")}}
    assert [stated.get(key) for key in zip(kin["person_a"], kin["person_b"], strict=True)] == kin["type"].tolist()
