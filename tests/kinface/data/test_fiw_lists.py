"""Lists of FIW in RFIW's form and in KFC's, of known and of unknown families, with either names of grandparents."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from kinface.data.fiw import read_families, read_known_families
from kinface.data.lists import read_any_list, read_list
from kinface.data.pairs import write_pairs
from swinface.files import InputError
from tests.kinface.conftest import face

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
    for name, text, race, source in [("rfiw", RFIW, "Asian", "predicted by net"), ("kfc", KFC, "African", "KFC list")]:
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


def test_official_grandparent_names_in_a_table(write_family, tmp_path: Path):
    write_family(tmp_path, "F0001", "MID,1,2,Gender\n1,0,6,m\n2,3,0,f\n", mids=(1, 2))
    families = read_families(tmp_path)
    table = tmp_path / "official.csv"
    table.write_text(f"face_a,face_b,type,kin\n{face('F0001', 1)},{face('F0001', 2)},gmgs,1\n")
    with pytest.warns(UserWarning, match=r"contradict the type of 1 of 1 grandparent pairs; .* swap_grandparents"):
        families.pairs(table)
    assert families.pairs(table, swap_grandparents=True)["type"].tolist() == ["gfgd"]
    with pytest.raises(InputError, match="train: swap_grandparents is for a file"):
        families.pairs("train", swap_grandparents=True)


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


def test_whole_paths_below_the_root_are_those_below_it(root: Path, tmp_path: Path):
    families = read_families(root)
    lines = {
        name: f"0 {start}{face('F0001', 1)} {start}{face('F0001', 3)} fd 1"
        for name, start in (("a", ""), ("b", f"{root.resolve()}/"))
    }
    for name, line in lines.items():
        (tmp_path / f"{name}.txt").write_text(line)
    relative, whole = (read_list(tmp_path / f"{name}.txt", families) for name in "ab")
    assert whole["face_a"].tolist() == relative["face_a"].tolist() == [face("F0001", 1)]
    (tmp_path / "c.txt").write_text(f"0 {root.resolve()}/../secret.jpg {face('F0001', 3)} fd 1")
    with pytest.raises(InputError, match="leaves the data root"):
        read_list(tmp_path / "c.txt", families)


def test_a_race_behind_numbered_lines_is_no_similarity(root: Path, tmp_path: Path):
    families, path = read_families(root), tmp_path / "list.txt"
    path.write_text(KFC)
    expected = read_list(path, families)
    path.write_text("".join(f"{row} {line}\n" for row, line in enumerate(KFC.split("\n\n"))))
    pd.testing.assert_frame_equal(read_list(path, families), expected)
    path.write_text(f"0 {face('F0001', 1)} {face('F0001', 3)} fd 1 0.37\n")
    assert read_list(path, families)["race_source"].tolist() == [None]
