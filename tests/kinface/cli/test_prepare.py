"""`kinface prepare`: whole tables or none, every problem said, and the same families read back."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from kinface.cli.prepare import prepare
from kinface.data.fiw import read_families
from kinface.data.lists import read_list
from kinface.data.matching import match_pairs
from kinface.data.pairs import check_pairs, read_pairs
from kinface.data.prepare import TUNE_MATCHES
from kinface.data.sampling import sample_pairs
from swinface.files import InputError
from tests.commands import run_kinface
from tests.kinface.conftest import face

RFIW = f"""0 {face("F0001", 1)} {face("F0001", 3)} fd 1
1 {face("F0001", 1)} {face("F0002", 3)} fd 0
"""


def assert_same(first, second):
    assert first.root.resolve() == second.root.resolve()
    for name in ("faces", "people", "relations", "problems", "annotations"):
        pd.testing.assert_frame_equal(getattr(first, name), getattr(second, name))


def test_a_prepared_folder_reads_as_the_folder_itself(
    write_annotations, write_family, root: Path, tmp_path: Path, capsys
):
    write_annotations(root / "annotations/a.csv", {face("F0001", 1): {"race_net": "asian", "age_net": 3, "x": 1}})
    write_family(
        root, "F0007", "MID,1,2,3,4,Gender\n1,0,5,4,0,m\n2,5,0,4,0,f\n3,1,2,0,0,\n4,0,0,0,0,f\n", mids=(1, 2, 3)
    )
    (root / "lists").mkdir()
    (root / "lists/val.txt").write_text(RFIW)
    prepare(root, out=tmp_path / "out", tune=0.5, seed=3)
    families = read_families(tmp_path / "out")
    assert_same(families, read_families(root, tune=0.5, seed=3))
    record = json.loads((tmp_path / "out/dataset.json").read_text())
    assert (record["root"], record["tune"], record["seed"]) == (str(root), 0.5, 3)
    written = read_families(root, tune=0.5, seed=3).write(tmp_path / "written")
    assert_same(written, families)
    assert {it.name: it.read_bytes() for it in written.folder.iterdir()} == {
        it.name: it.read_bytes() for it in families.folder.iterdir()
    }
    with pytest.raises(InputError, match="prepared already"):
        written.write(tmp_path / "again")
    pairs = read_pairs(tmp_path / "out/pairs.parquet")
    lists = [read_list(root / "lists/val.txt", families), sample_pairs(families, "tune", seed=3)]
    pd.testing.assert_frame_equal(pairs, pd.concat(lists, ignore_index=True))
    printed = capsys.readouterr().out
    for said in (
        "father and daughter (fd)",
        "predicted by net",
        "neither self-described",
        "x (a.csv)",
        "MID4 has no images",
    ):
        assert said in printed
    with pytest.raises(InputError, match="is prepared with its annotations"):
        read_families(tmp_path / "out", annotations=[])
    with pytest.raises(InputError, match="prepared already"):
        prepare(tmp_path / "out", out=tmp_path / "again")
    root.rename(tmp_path / "moved")
    with pytest.raises(InputError, match=r"out was prepared from .*fiw, which is not there"):
        read_families(tmp_path / "out")
    (tmp_path / "out/people.parquet").unlink()
    with pytest.raises(InputError, match="not a whole folder of `kinface prepare`"):
        read_families(tmp_path / "out")


@pytest.mark.parametrize(
    ("table", "column", "value", "message"),
    [
        ("faces", "face", face("F0001", 1), "faces: row 2: face is missing or has two rows"),
        ("people", "person", None, "people: row 1: person is missing or has two rows"),
        ("people", "race_source", b"net", "people: race_source must be text"),
        ("relations", "generation_gap", 1e300, "invalid value encountered in cast"),
    ],
)
def test_a_prepared_folder_whose_tables_were_changed_is_refused(root, tmp_path, table, column, value, message):
    prepare(root, out=tmp_path / "out")
    path = tmp_path / "out" / f"{table}.parquet"
    pd.read_parquet(path).assign(**{column: value}).to_parquet(path)
    with pytest.raises(InputError, match=f"not a whole folder of `kinface prepare` .{message}"):
        read_families(tmp_path / "out")


def break_images(root: Path):
    whole = (root / face("F0001", 1)).read_bytes()
    (root / face("F0001", 1)).write_bytes(whole[: len(whole) // 2])
    (root / face("F0001", 2)).write_bytes(b"")


def annotate_races(write_annotations, root: Path, races: dict[str, str]):
    faces = read_families(root).faces
    table = {row.face: {"race_human": races[row.family]} for row in faces.itertuples() if row.family in races}
    write_annotations(root / "annotations/races.csv", table)


def test_the_tune_pairs_have_a_matched_list_beside_them(
    write_annotations, write_family, root: Path, tmp_path: Path, capsys
):
    """Of five tune families the African one has nobody to be matched with."""
    for number in (7, 8):
        write_family(root, f"F000{number}")
    races = dict(zip([f"F000{number}" for number in range(1, 9)], ["African", *["Asian"] * 7], strict=True))
    annotate_races(write_annotations, root, races)
    prepare(root, out=tmp_path / "out", tune=0.9, strict=True)
    families = read_families(tmp_path / "out")
    alone = ((families.faces["split"] == "tune") & (families.faces["family"] == "F0001")).any()
    assert alone, "the seed puts the African family among those for tuning"
    pairs = read_pairs(tmp_path / "out/pairs.parquet")
    standard, matched = (pairs[pairs["list"] == name] for name in ("tune", "tune_matched"))
    wanted, counts = match_pairs(standard, families, TUNE_MATCHES)
    wanted = check_pairs(wanted.assign(list="tune_matched"), "wanted")
    pd.testing.assert_frame_equal(matched.reset_index(drop=True), wanted)
    kin = standard[standard["kin"] & (standard["family_a"] != "F0001")]
    assert matched.loc[matched["kin"], "face_a"].tolist() == kin["face_a"].tolist()
    assert set(matched["race_b"]) == {"Asian"}
    assert (counts["race"] == "African").any()
    printed = capsys.readouterr().out
    assert f"tune_matched is tune matched by race, type, gender: {len(kin):,} of {standard['kin'].sum():,}" in printed
    assert any(line.startswith("tune_matched") and " kin" in line for line in printed.splitlines())


def test_it_is_a_problem_where_nothing_can_be_matched(write_annotations, root: Path, tmp_path: Path):
    annotate_races(
        write_annotations, root, {"F0001": "African", "F0002": "Asian", "F0003": "Indian", "F0004": "Indian"}
    )
    (tmp_path / "tune.txt").write_text(RFIW)
    (tmp_path / "tune_matched.txt").write_text(RFIW)
    for name in ("tune", "tune_matched"):
        with pytest.raises(InputError, match=r"two lists of one name .*tune and tune_matched are sampled"):
            prepare(root, out=tmp_path / "out", lists=[tmp_path / f"{name}.txt"])
    prepare(root, out=tmp_path / "out", tune=0.5)
    families = read_families(tmp_path / "out")
    assert families.problems["kind"].tolist() == ["no pairs matched"]
    assert "none of " in families.problems["message"].item()
    assert set(read_pairs(tmp_path / "out/pairs.parquet")["list"]) == {"tune"}


def test_unreadable_images_are_reported_and_left_out(write_family, root: Path, tmp_path: Path, capsys):
    break_images(root)
    write_family(root, "F0007")  # a second tune family to draw non-kin from
    (root / "lists").mkdir()
    (root / "lists/val.txt").write_text(RFIW + f"2 {face('F0002', 1)} {face('F0002', 3)} fd 1\n")
    prepare(root, out=tmp_path / "out", tune=0.4)
    families = read_families(tmp_path / "out")
    problems = families.problems.groupby("kind")["where"].agg(list).to_dict()
    assert problems == {"unreadable image": [face("F0001", 1), face("F0001", 2)], "pairs left out": ["list val"]}
    assert len(families.faces) == 54 and not families.faces["face"].isin(problems["unreadable image"]).any()
    assert families.people.set_index("person")["faces"][["F0001/MID1", "F0001/MID2", "F0001/MID3"]].tolist() == [
        1,
        1,
        2,
    ]
    pairs = read_pairs(tmp_path / "out/pairs.parquet")
    assert pairs[pairs["list"] == "val"]["face_a"].tolist() == [face("F0002", 1)]
    assert "2 pairs name unreadable images" in capsys.readouterr().out


def test_strict_makes_problems_errors_and_writes_nothing(root: Path, tmp_path: Path, capsys):
    break_images(root)
    with pytest.raises(InputError, match=r"2 problems .* --strict writes nothing"):
        prepare(root, out=tmp_path / "out", tune=0.5, strict=True)
    assert [path.name for path in tmp_path.iterdir()] == ["fiw"]
    assert face("F0001", 2) in capsys.readouterr().out  # the problems are still listed


def test_tables_are_written_though_nobody_reads_what_is_said(root: Path, tmp_path: Path, monkeypatch):
    """As with `kinface prepare FIW --out tables | head`."""

    def leave(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", leave)
    with pytest.raises(BrokenPipeError):
        prepare(root, out=tmp_path / "out")
    monkeypatch.undo()
    assert len(read_families(tmp_path / "out").faces)


def test_prepare_goes_on_where_no_pairs_can_be_sampled(root: Path, tmp_path: Path):
    prepare(root, out=tmp_path / "out")  # one tune family: nobody to be unrelated to
    assert read_families(tmp_path / "out").problems["kind"].tolist() == ["no pairs sampled"]
    assert not (tmp_path / "out/pairs.parquet").exists()
    break_images(root)
    (tmp_path / "val.txt").write_text(RFIW)
    prepare(root, out=tmp_path / "none", tune=0.0, lists=[tmp_path / "val.txt"])
    assert read_families(tmp_path / "none").problems["kind"].tolist() == ["unreadable image"] * 2 + ["pairs left out"]
    assert not (tmp_path / "none/pairs.parquet").exists()


def test_prepare_refuses_what_it_cannot_use(root: Path, tmp_path: Path):
    with pytest.raises(InputError, match="is the FIW folder itself"):
        prepare(root, out=root)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "val.txt").write_text(RFIW)
    with pytest.raises(InputError, match="two lists of one name"):
        prepare(root, out=tmp_path / "out", lists=[tmp_path / "a/val.txt", tmp_path / "b/val.txt"])
    (tmp_path / "a/val.txt").write_text(RFIW + "2 x.jpg y.jpg fd 1\n")
    with pytest.raises(InputError, match=r"val.txt:3: no face x.jpg"):
        prepare(root, out=tmp_path / "out", lists=[tmp_path / "a/val.txt"])
    assert not (tmp_path / "out").exists()


def test_what_is_read_as_what_is_printed_and_can_be_set(write_annotations, root: Path, tmp_path: Path, capsys):
    table = {
        face("F0001", 1): {"race_net": "Latino_Hispanic", "age_net": "0", "hat_human": "1", "yaw_net": "3"},
        face("F0001", 2): {"race_net": "East Asian", "age_net": "30", "hat_human": "0", "yaw_net": "8"},
        face("F0001", 3): {"race_net": "unk", "age_net": "30", "hat_human": "1", "yaw_net": "9"},
    }
    write_annotations(root / "annotations/a.csv", table)
    words = ["prepare", str(root), "--out", str(tmp_path / "out"), "--tune", "0", "--measurement", "yaw"]
    assert run_kinface(*words, "--meaning", "race:Latino_Hispanic=Latino") == 0
    printed = capsys.readouterr().out
    for said in (
        "race_net (a.csv): East Asian as Asian (1), Latino_Hispanic as Latino (1)",
        "hat: human annotated (3 people); 2 categories, a person's value is the majority: 0, 1",
        "yaw: predicted by net (2 people); measured, a person's value is the median",
        f"a.csv: net marks 1 face such as {face('F0001', 3)} as unknown: its race, age, yaw left out",
    ):
        assert said in printed
    people = read_families(tmp_path / "out").people.set_index("person")
    assert people["hat"].dropna().tolist() == ["1", "0", "1"] and people["yaw"].dropna().tolist() == [3.0, 8.0]
    assert people["race"].dropna().to_dict() == {"F0001/MID1": "Latino", "F0001/MID2": "Asian"}
    record = json.loads((tmp_path / "out/dataset.json").read_text())
    assert record["meanings"] == {"race": {"Latino_Hispanic": "Latino"}} and record["measurements"] == ["yaw"]
    assert read_families(root, measurements="yaw").read_with["measurements"] == ["yaw"]
    for option, message in (
        (["--meaning", "race=x"], "--meaning race=x: give an attribute, a word and its meaning"),
        (["--meaning", "race:Martian=x"], "no annotation of race is 'martian'"),
        (["--measurement", "height"], "no annotation file has height"),
    ):
        assert run_kinface(*words, *option) == 2
        assert message in capsys.readouterr().err


def test_hidden_and_other_files_beside_lists_are_accounted_for(root: Path, tmp_path: Path):
    (root / "lists").mkdir()
    for name in ("val.txt", "VAL2.TXT", "._val.txt", "notes.md"):
        (root / "lists" / name).write_text(RFIW)
    prepare(root, out=tmp_path / "out", tune=0.0)
    assert set(read_pairs(tmp_path / "out/pairs.parquet")["list"]) == {"val", "VAL2"}
    problems = read_families(tmp_path / "out").problems
    assert problems.set_index("where")["message"].to_dict() == {
        "lists/._val.txt": "hidden: left out",
        "lists/notes.md": "does not end in .txt: left out",
    }


def test_the_command_line(root: Path, tmp_path: Path, capsys):
    out = tmp_path / "out"
    assert run_kinface("prepare", root, "--out", out, "--tune", "0.5", "--strict") == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "annotations.csv", "dataset.json", "faces.parquet", "pairs.parquet", "people.parquet", "problems.csv",
        "relations.parquet", "tune_families.txt",
    ]  # fmt: skip
    faces = pd.read_parquet(out / "faces.parquet")
    aside = set((out / "tune_families.txt").read_text().split())
    assert aside == set(faces.loc[faces["split"] == "tune", "family"])
    assert aside
    assert run_kinface("prepare", tmp_path / "absent", "--out", tmp_path / "no") == 2
    assert "kinface prepare: error: " in capsys.readouterr().err and not (tmp_path / "no").exists()


def test_it_says_that_earlier_tables_are_replaced(root, tmp_path, capsys):
    for said in ("tables", "tables; what was prepared there before is replaced"):
        prepare(root, out=tmp_path / "tables")
        assert capsys.readouterr().out.endswith(f"{said}\n")
