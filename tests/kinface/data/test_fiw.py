"""FIW on disk to tables, splits, and the two forms of lists, on a tiny folder and on the real one."""

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

from kinface.data.fiw import read_families, read_known_families
from kinface.data.lists import read_any_list, read_list
from kinface.data.pairs import write_pairs
from kinface.data.sampling import sample_pairs
from swinface.files import InputError


def face(family: str, mid: int, number: int = 0) -> str:
    return f"Train/train-faces/{family}/MID{mid}/P0000{number}_face0.jpg"


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
    (folder / "MID1" / "Thumbs.db").write_bytes(b"")
    write_family(root, "F0009", mids=())
    assert problems_of(root) == {
        "member without faces": ["MID2 has no images"],
        "unexpected folder": ["not a MID: its images are left out"],
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
    assert read_families(root, annotations=[]).people["race"].isna().all()


RFIW = f"""0 {face("F0001", 1)} {face("F0001", 3)} fd 1
1 {face("F0001", 1)} {face("F0002", 3)} fd 0
"""
KFC = f"""{face("F0001", 1)} {face("F0001", 3)} fd 1 AA

{face("F0001", 1)} {face("F0002", 3)} fd 0 C&AA
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_both_forms_of_lists(root: Path, tmp_path: Path, newline: str):
    for name, text in [("rfiw", RFIW), ("kfc", KFC)]:
        (tmp_path / f"{name}.txt").write_text(text, newline=newline)
    families = read_families(root, tune=0)
    rfiw, kfc = read_list(tmp_path / "rfiw.txt", families), read_list(tmp_path / "kfc.txt", families)
    assert rfiw["person_b"].tolist() == ["F0001/MID3", "F0002/MID3"] and rfiw["kin"].tolist() == [True, False]
    assert rfiw["gender_a"].tolist() == ["m", "m"] and rfiw["gender_b"].tolist() == ["f", "f"]
    assert set(rfiw["split"]) == {"train"} and set(rfiw["list"]) == {"rfiw"} and rfiw["race_a"].isna().all()
    races = ["race_a", "race_b", "race_source"]
    assert kfc[races].to_numpy().tolist() == [["African", "African", "KFC list"], ["Caucasian", "African", "KFC list"]]
    pd.testing.assert_frame_equal(rfiw.drop(columns=[*races, "list"]), kfc.drop(columns=[*races, "list"]))


def test_a_kfc_race_goes_before_an_annotated_one(write_annotations, root: Path, tmp_path: Path):
    write_annotations(root / "annotations/a.csv", {face("F0001", 1): {"race_net": "asian"}})
    families = read_families(root, tune=0)
    for name, text, race, source in [
        ("rfiw", RFIW, "Asian", "predicted by net"),
        ("kfc", KFC, "African", "KFC list"),
    ]:
        (tmp_path / name).write_text(text)
        pair = read_list(tmp_path / name, families).iloc[0]
        assert (pair["race_a"], pair["race_source"]) == (race, source)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            f"2 {face('F0001', 1)} fd 1",
            "list.txt:3: expected the 5 fields 'index path1 path2 type kin' of the RFIW form",
        ),
        (f"{face('F0001', 1)} {face('F0001', 3)} fd 1 AA", "list.txt:3: expected .* of the RFIW form"),
        (
            f"2 {face('F0001', 9)} {face('F0001', 3)} fd 1",
            "list.txt:3: no face .*MID9.* below .*fiw. Paths start there",
        ),
        (f"2 {'x' * 5000} {face('F0001', 3)} fd 1", "list.txt:3: no face xxx"),
        (f"2 ../{face('F0001', 1)} {face('F0001', 3)} fd 1", "list.txt:3: the path .* leaves the data root"),
        (f"2 {face('F0001', 1)} /etc/passwd fd 1", "list.txt:3: the path '/etc/passwd' leaves the data root"),
        (f"2 {face('F0001', 1)} {face('F0001', 3)} uncle 1", "list.txt:3: unknown type 'uncle'"),
        (f"2 {face('F0001', 1)} {face('F0001', 3)} fd yes", "list.txt:3: kin is 1 or 0, got 'yes'"),
    ],
)
def test_the_wrong_line_of_a_list_is_named(root: Path, tmp_path: Path, line: str, message: str):
    (tmp_path / "list.txt").write_text(RFIW + line + "\n")
    with pytest.raises(InputError, match=message):
        read_list(tmp_path / "list.txt", read_families(root))


FLAT = """0 Test/test-faces/face3118.jpg Test/test-faces/face322.jpg fd 1
1 Test/test-faces/face3118.jpg Test/test-faces/face9.jpg bb 0
"""
UNKNOWN = ["person_a", "person_b", "family_a", "family_b", "split", "race_a", "race_b"]


def write_flat(root: Path, faces: Path, names=("face3118", "face322", "face9")) -> None:
    folder = root / "Test/test-faces"
    folder.mkdir(parents=True)
    for name, source in zip(names, sorted(faces.rglob("*.jpg")), strict=False):
        (folder / f"{name}.jpg").write_bytes(source.read_bytes())


def test_faces_outside_of_family_folders_are_of_unknown_families(root: Path, tmp_path: Path):
    write_flat(root, root / "Train")
    (tmp_path / "list.txt").write_text(FLAT + f"2 {face('F0001', 1)} Test/test-faces/face9.jpg fd 0\n")
    families = read_families(root, tune=0)
    pairs = read_list(tmp_path / "list.txt", families)
    assert pairs.loc[:1, UNKNOWN].isna().all(axis=None)
    assert pairs.loc[2, UNKNOWN].tolist() == ["F0001/MID1", None, "F0001", None, None, None, None]
    assert pairs["kin"].tolist() == [True, False, False]
    assert pairs.loc[0, ["gender_a", "gender_b", "gender_source"]].tolist() == ["m", "f", "role in the list"]
    write_pairs(pairs, tmp_path / "pairs.csv")
    pd.testing.assert_frame_equal(read_any_list(tmp_path / "pairs.csv", root, families), pairs)
    known = read_list(tmp_path / "list.txt", read_known_families(root))
    assert known["family_a"].tolist() == [None, None, "F0001"]


def test_a_list_below_a_folder_without_families(root: Path, tmp_path: Path):
    flat = tmp_path / "flat"
    write_flat(flat, root / "Train")
    with pytest.raises(InputError, match="not FIW's layout"):
        read_families(flat)
    families = read_known_families(flat)
    assert all(getattr(families, name).empty for name in ("faces", "people", "relations", "problems", "annotations"))
    (tmp_path / "rfiw.txt").write_text(FLAT)
    assert read_list(tmp_path / "rfiw.txt", families)[UNKNOWN].isna().all(axis=None)
    kfc = "".join(f"{' '.join(line.split()[1:])} C&AA\n" for line in FLAT.splitlines())
    (tmp_path / "kfc.txt").write_text(kfc)
    pairs = read_list(tmp_path / "kfc.txt", families)
    assert pairs[UNKNOWN[:5]].isna().all(axis=None)
    assert set(pairs["race_b"]) == {"African"}
    with pytest.raises(InputError, match="no such folder"):
        read_known_families(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("face322", "face323", r"list.txt:1: no face Test/test-faces/face323.jpg below .*flat. Paths start there."),
        ("face322", "face3118", "list.txt:1: both faces are of Test/test-faces/face3118.jpg"),
        ("Test/test-faces/face9", "../secret", "list.txt:2: the path '../secret.jpg' leaves the data root"),
    ],
)
def test_flat_lists_that_are_refused(root: Path, tmp_path: Path, old: str, new: str, message: str):
    write_flat(tmp_path / "flat", root / "Train")
    (tmp_path / "secret.jpg").touch()
    (tmp_path / "list.txt").write_text(FLAT.replace(old, new))
    with pytest.raises(InputError, match=message):
        read_list(tmp_path / "list.txt", read_known_families(tmp_path / "flat"))


def test_a_file_in_a_family_folder_that_is_no_face_of_it_is_refused(root: Path, tmp_path: Path):
    for name in ("Train/train-faces/F0001/group.jpg", "Train/train-faces/F0001/MID1/notes.txt"):
        (root / name).touch()
        for path in (name, f"./{name}"):
            (tmp_path / "list.txt").write_text(f"0 {path} {face('F0001', 3)} fd 1")
            with pytest.raises(InputError, match=r"list.txt:1: no face .*Train"):
                read_list(tmp_path / "list.txt", read_families(root))


def test_more_lists_that_are_refused(root: Path, tmp_path: Path):
    families = read_families(root)
    path = tmp_path / "list.txt"
    for text, message in [
        ("\n \n", "list.txt: the list is empty"),
        (KFC.replace("C&AA", "C&X"), "list.txt:3: unknown race 'C&X'"),
        (KFC.replace("fd 1", "fd 0").replace("C&AA", "C&AA&A"), "list.txt:3: unknown race"),
        (RFIW.replace("MID3", "MID1"), "list.txt:1: both faces are of F0001/MID1"),
        (RFIW.replace("fd 0", "fd 1"), "list.txt:2: F0001/MID1 and F0002/MID3 are of two families"),
    ]:
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_list(path, families)
    with pytest.raises(InputError, match=r"absent\.txt: not a readable list"):
        read_list(tmp_path / "absent.txt", families)


def test_official_grandparent_names(write_family, tmp_path: Path):
    matrix = "MID,1,2,3,Gender\n1,0,6,6,m\n2,3,0,0,f\n3,3,0,0,m\n"  # a grandfather, granddaughter and grandson
    write_family(tmp_path, "F0001", matrix, mids=(1, 2, 3))
    families = read_families(tmp_path)
    assert set(families.relations["type"]) == {"gfgd", "gfgs"}
    path = tmp_path / "official.txt"
    path.write_text(f"0 {face('F0001', 1)} {face('F0001', 2)} gmgs 1\n1 {face('F0001', 1)} {face('F0001', 3)} gmgd 1\n")
    with pytest.warns(
        UserWarning, match=r"genders contradict the type of 2 of 2 grandparent pairs; .* swap_grandparents"
    ):
        assert read_list(path, families)["type"].tolist() == ["gmgs", "gmgd"]
    assert read_list(path, families, swap_grandparents=True)["type"].tolist() == ["gfgd", "gfgs"]
    path.write_text(f"0 {face('F0001', 1)} {face('F0001', 2)} gfgd 1\n")
    assert read_list(path, families)["gender_a"].tolist() == ["m"]
    with pytest.warns(UserWarning, match="read it without swap_grandparents"):
        read_list(path, families, swap_grandparents=True)


def test_single_contradictions_are_no_matter_of_names(write_family, tmp_path: Path):
    matrix = "MID,1,2,3,Gender\n1,0,6,6,m\n2,3,0,0,f\n3,3,0,0,m\n"
    write_family(tmp_path, "F0001", matrix, mids=(1, 2, 3))
    families = read_families(tmp_path)
    right = f"{face('F0001', 1)} {face('F0001', 2)} gfgd 1"
    wrong = f"{face('F0001', 1)} {face('F0001', 3)} gmgd 1"
    path = tmp_path / "list.txt"
    path.write_text("\n".join(f"{row} {line}" for row, line in enumerate([right, wrong])))
    assert len(read_list(path, families)) == 2  # half: a warning would be an error
    path.write_text("\n".join(f"{row} {line}" for row, line in enumerate([right, wrong, wrong])))
    with pytest.warns(UserWarning, match="contradict the type of 2 of 3 grandparent pairs"):
        read_list(path, families)


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
