"""Lists in all forms of the field, non-kin pairs for lists of kin pairs alone, and submissions to Kaggle."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinface.data.families import PAIRS, find_prepared_list
from kinface.data.fiw import read_families, read_known_families
from kinface.data.lists import FORMS, read_any_list, read_list
from kinface.data.pairs import check_pairs, write_pairs
from kinface.data.sampling import add_non_kin, draw_non_kin, sample_pairs
from kinface.data.submissions import is_submission, read_submission, write_submission
from kinface.data.triplets import read_triplets
from kinface.data.vocabulary import RACES, TYPES
from swinface.data.embeddings import write_embeddings
from swinface.files import InputError
from tests.commands import run_kinface

FACES = [f"faces/{letter}.jpg" for letter in "abcdef"]


def make_flat(root: Path, faces: list[str] = FACES) -> Path:
    """A folder of faces of unknown people."""
    for face in faces:
        (root / face).parent.mkdir(parents=True, exist_ok=True)
        (root / face).touch()
    return root


def write_lines(path: Path, rows: list[dict[str, str]], form: str, separator: str, encoding: str = "utf-8") -> None:
    quote = separator[0] * (separator[0] == '"')  # as R writes texts
    lines = [quote + separator.join(row[field] for field in FORMS[form]) + quote for row in rows]
    path.write_bytes(("\n".join(lines) + "\n").encode(encoding))


PAIR = st.fixed_dictionaries(
    {
        "faces": st.sampled_from([(a, b) for a in FACES for b in FACES if a != b]),
        "type": st.sampled_from([*TYPES]),
        "kin": st.sampled_from("01"),
        "race": st.sampled_from(["AA", "A", "C", "I", "C&AA", "I&A"]),
    }
)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    st.sampled_from([*FORMS]),
    st.sampled_from(
        [(" ", ".txt"), ("\t", ".lst"), (",", ".txt"), (", ", ".txt"), (",", ".csv"), (", ", ".CSV"), ('";"', ".csv")]
    ),
    st.sampled_from(["/", "\\"]),
    st.sampled_from(["", "./"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.lists(PAIR, min_size=1, max_size=5),
)
def test_each_form_is_read_back(form, separator, slash, before, encoding, drawn):
    rows = [
        {
            "index": str(index),
            "path1": (before + row["faces"][0]).replace("/", slash),
            "path2": (before + row["faces"][1]).replace("/", slash),
            "similarity": "0.37",
            "split": "VAL",
            **row,
        }
        for index, row in enumerate(drawn)
    ]
    with tempfile.TemporaryDirectory() as folder:
        root = make_flat(Path(folder))
        path = root / f"bb_list{separator[1]}"
        write_lines(path, rows, form, separator[0], encoding)
        pairs = read_any_list(path, root, read_known_families(root))
    assert list(zip(pairs["face_a"], pairs["face_b"], strict=True)) == [row["faces"] for row in drawn]
    assert pairs["kin"].tolist() == [row["kin"] == "1" for row in drawn]
    assert pairs["type"].tolist() == [row["type"] if "type" in FORMS[form] else "bb" for row in drawn]
    codes = {code: race for race, code in RACES.items()}
    for side, place in (("a", 0), ("b", -1)):
        races = [codes[row["race"].split("&")[place]] for row in drawn]
        assert pairs[f"race_{side}"].tolist() == (races if "race" in FORMS[form] else [None] * len(drawn))


def test_the_type_of_fiw_krts_lists_is_in_their_names(tmp_path: Path):
    families = read_known_families(make_flat(tmp_path))
    for name, code in (("sibs_val.csv", "sibs"), ("own_val.csv", None)):
        (tmp_path / name).write_text(f"VAL,1,{FACES[0]},{FACES[1]}\n")
        assert read_any_list(tmp_path / name, tmp_path, families)["type"].tolist() == [code]


def test_a_csv_with_a_header_is_a_table_whatever_its_ending(tmp_path: Path):
    families = read_known_families(make_flat(tmp_path))
    for name in ("a.csv", "A.CSV"):
        (tmp_path / name).write_text(f"face_a,face_b,kin\n./{FACES[0]},faces\\b.jpg,1\n")
        pairs = read_any_list(tmp_path / name, tmp_path, families)
        assert pairs[["face_a", "face_b"]].to_numpy().tolist() == [FACES[:2]]


@pytest.mark.parametrize(
    ("before", "message"),
    [
        (b"index path1 path2 type kin\n", r"list\.txt:1: kin is 1 or 0, got 'type'; leave out a line that is no pair"),
        (b"# pairs of faces\n", r"list\.txt:1: kin is 1 or 0, got 'pairs'; leave out a line that is no pair"),
        (b"a.jpg b.jpg c.jpg FMD 1\n", r"list\.txt:1: kin is 1 or 0, got 'FMD'; triplets are not pairs"),
        ("0 é\n".encode("utf-16-le"), r"list\.txt: not a readable list \(it is not in UTF-8\)"),
    ],
)
def test_what_is_no_pair_is_not_called_a_face_that_is_missing(tmp_path: Path, before: bytes, message: str):
    families = read_known_families(make_flat(tmp_path))
    path = tmp_path / "list.txt"
    path.write_bytes(before + f"0 {FACES[0]} {FACES[1]} bb 1\n".encode())
    with pytest.raises(InputError, match=message):
        read_list(path, families)


def test_what_a_table_leaves_out_is_taken_from_the_families(root, tmp_path):
    families = read_families(root)
    known, named = families.pairs("val").assign(type=None), ["face_a", "face_b", "kin"]
    known[named].to_csv(tmp_path / "val.csv", index=False)
    pd.testing.assert_frame_equal(families.pairs(tmp_path / "val.csv"), known)
    known[named].assign(race_a="Inuit", own=1).to_csv(tmp_path / "own.csv", index=False)
    pairs = families.pairs(tmp_path / "own.csv")
    assert set(pairs["race_a"]) == {"Inuit"} and set(pairs["own"]) == {1}
    assert pairs[["race_b", "race_source"]].isna().all(axis=None)  # who said it of the first person is unknown
    assert pairs["family_b"].tolist() == known["family_b"].tolist()
    known[named].assign(race="x", family="y").to_csv(tmp_path / "alone.csv", index=False)  # of a pair, not of people
    alone, others = families.pairs(tmp_path / "alone.csv"), [name for name in known if name != "list"]
    pd.testing.assert_frame_equal(alone[others], known[others])
    known[named].assign(kin=1).to_csv(tmp_path / "wrong.csv", index=False)
    with pytest.raises(InputError, match=r"wrong\.csv: .*: a kin pair must lie in one family"):
        families.pairs(tmp_path / "wrong.csv")


def test_a_table_of_triplets_is_completed_too(root, tmp_path):
    families = read_families(root)
    known = families.triplets("val")
    known[["face_a", "face_m", "face_b", "triplet", "kin", "list"]].to_csv(tmp_path / "own.csv", index=False)
    pd.testing.assert_frame_equal(families.triplets(tmp_path / "own.csv"), known, check_like=True)
    theirs = known.rename(columns={"face_a": "father", "face_m": "mother", "face_b": "child"}).drop(columns="type")
    for name in ("type", "ptype", "triplet"):
        renamed = theirs.rename(columns={"triplet": name})
        renamed[["father", "mother", "child", name, "kin", "list"]].to_csv(tmp_path / "own.csv", index=False)
        pd.testing.assert_frame_equal(families.triplets(tmp_path / "own.csv"), known, check_like=True)


def test_forms_are_not_mixed_and_are_named(tmp_path: Path):
    families = read_known_families(make_flat(tmp_path))
    path = tmp_path / "list.txt"
    path.write_text(f"0 {FACES[0]} {FACES[1]} bb 1 0.5\n1 {FACES[0]} {FACES[1]} bb 1\n")
    with pytest.raises(InputError, match=r"list\.txt:2: expected the 6 fields .* similarity' of the FaCoRNet form"):
        read_list(path, families)
    path.write_text(f"{FACES[0]} {FACES[1]}\n")
    with pytest.raises(InputError, match=r"list\.txt:1: expected the fields of a list, 'index .*FIW_KRT"):
        read_list(path, families)


def test_triplets_may_be_written_as_on_windows(tmp_path: Path):
    families = read_known_families(make_flat(tmp_path))
    (tmp_path / "list.txt").write_text("faces\\a.jpg faces\\b.jpg .\\faces\\c.jpg FMD 1\n")
    triplets = read_triplets(tmp_path / "list.txt", families)
    assert triplets[["face_a", "face_m", "face_b"]].to_numpy().tolist() == [FACES[:3]]


def test_whole_paths_may_begin_with_the_home_folder(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    families = read_known_families(make_flat(tmp_path))
    (tmp_path / "list.txt").write_text(f"~/{FACES[0]} {tmp_path}/{FACES[1]} 1\n")
    assert read_list(tmp_path / "list.txt", families)[["face_a", "face_b"]].to_numpy().tolist() == [FACES[:2]]


def make_kin(pairs: list[tuple[str, str]], **columns) -> pd.DataFrame:
    table = pd.DataFrame(pairs, columns=["face_a", "face_b"]).assign(kin=1, **columns)
    return check_pairs(table, "kin")


def test_non_kin_pairs_are_drawn_for_a_list_of_kin_pairs():
    """As KFC's of Cornell KinFace: a parent and a child in each row."""
    kin = make_kin([(f"p{n}.jpg", f"c{n}.jpg") for n in range(6)], type=["fs", "fs", "md", "md", "md", "fd"])
    drawn = draw_non_kin(kin.assign(race_b=["Asian", None, *["African"] * 4]), seed=1)
    first, other = drawn[drawn["kin"]], drawn[~drawn["kin"]]
    assert first["face_a"].tolist() == other["face_a"].tolist() == [f"p{n}.jpg" for n in range(5)], "fd is left out"
    assert first["type"].tolist() == other["type"].tolist()
    assert (first["face_b"].to_numpy() != other["face_b"].to_numpy()).all()
    assert other["race_b"].tolist()[:2] == [None, "Asian"], "of the second face"
    pd.testing.assert_frame_equal(draw_non_kin(kin, seed=1), draw_non_kin(kin, seed=1))


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12))
def test_no_drawn_pair_is_of_one_family(pairs: list[tuple[int, int, int]]):
    """Children of one parent are of one family, as UB KinFace's of a parent old and young."""
    kin = make_kin([(f"{family}p{a}.jpg", f"{family}c{b}.jpg") for family, a, b in pairs])
    groups = {}  # each face to its family by what the pairs say, computed again: joined until nothing changes
    for a, b in [*zip(kin["face_a"], kin["face_b"], strict=True)] * len(pairs):
        joined = min(groups.get(a, a), groups.get(b, b), a, b)
        groups[a] = groups[b] = joined
    if len({groups[a] for a in kin["face_a"]}) < 2:
        with pytest.raises(InputError, match="no two kin pairs of one type are of two families"):
            draw_non_kin(kin)
        return
    drawn = draw_non_kin(kin)
    other = drawn[~drawn["kin"]]
    assert drawn["kin"].tolist() == [True] * len(other) + [False] * len(other)
    met = [frozenset(pair) for pair in zip(other["face_a"], other["face_b"], strict=True)]
    assert len({*met}) == len(met)
    assert (other["face_a"].map(groups) != other["face_b"].map(groups)).all()


def test_each_other_row_of_another_family_is_equally_likely():
    """The copies draw from the others as from a list of them, without making it."""
    kin = pd.DataFrame({"type": list("xxyxyyxxz"), "family": list("abababcac"), "face_b": range(9), "kin": True})
    drawn, generator, expected = add_non_kin(kin, ["type"], np.random.default_rng(0)), np.random.default_rng(0), []
    for row in kin.sort_values("type", kind="stable").itertuples():
        others = kin.loc[(kin["type"] == row.type) & (kin["family"] != row.family), "face_b"].tolist()
        expected += [generator.choice(others)] if others else []
    assert drawn.loc[~drawn["kin"], "face_b"].tolist() == expected and len(expected) == 8


def test_known_families_are_kept_apart():
    kin = make_kin(
        [("a.jpg", "b.jpg"), ("c.jpg", "d.jpg"), ("e.jpg", "f.jpg")],
        family_a=["F1", "F1", "F2"],
        family_b=["F1", "F1", "F2"],
    )
    other = draw_non_kin(kin).query("not kin")
    assert (other["family_a"] != other["family_b"]).all() and len(other) == 3


def test_a_list_with_non_kin_pairs_keeps_its_own():
    with pytest.raises(InputError, match="has non-kin pairs already"):
        draw_non_kin(make_kin([("a.jpg", "b.jpg")]).assign(kin=False))


def embed_at_random(path: Path, faces: list[str]) -> Path:
    values = np.random.default_rng(0).normal(size=(len(faces), 4)).astype(np.float32)
    np.savez(path, face=np.array(faces), embedding=values)
    return path


def test_score_draws_non_kin_pairs_on_request(tmp_path: Path, capsys):
    root = make_flat(tmp_path / "faces_of_others")
    (tmp_path / "kin.txt").write_text("".join(f"{n} {FACES[2 * n]} {FACES[2 * n + 1]} fs 1\n" for n in range(3)))
    table = embed_at_random(tmp_path / "e.npz", FACES)
    words = [
        "score",
        "--root",
        root,
        "--list",
        tmp_path / "kin.txt",
        "--embeddings",
        table,
        "--out",
        tmp_path / "s.csv",
    ]
    assert run_kinface(*words) == 0
    assert "all of them are kin; a report needs non-kin pairs: --draw-non-kin" in capsys.readouterr().out
    assert run_kinface(*words, "--draw-non-kin") == 0
    assert "3 non-kin pairs drawn; 0 kin pairs without one" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "s.csv")["kin"].tolist() == [1, 1, 1, 0, 0, 0]
    (tmp_path / "kin.txt").write_text(f"0 {FACES[0]} {FACES[1]} fs 0\n")
    assert run_kinface(*words, "--draw-non-kin") == 2
    assert "kin.txt: the list has non-kin pairs already" in capsys.readouterr().err


def test_a_submission_to_kaggle(tmp_path: Path, capsys):
    faces = ["face1.jpg", "face-2.jpg", "face3.jpg"]
    root = make_flat(tmp_path / "test", faces)
    sample = tmp_path / "sample_submission.csv"
    sample.write_text("img_pair,is_related\nface1.jpg-face-2.jpg,0\nface3.jpg-face1.jpg,0\n")
    table = embed_at_random(tmp_path / "e.npz", faces)
    words = ["score", "--root", root, "--list", sample, "--embeddings", table, "--out"]
    assert run_kinface(*words, tmp_path / "s.csv") == 0
    submission, rows = pd.read_csv(tmp_path / "s.csv"), np.load(table)["embedding"]
    assert submission["img_pair"].tolist() == pd.read_csv(sample)["img_pair"].tolist()
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(
        submission["is_related"], [(1 + unit[0] @ unit[1]) / 2, (1 + unit[2] @ unit[0]) / 2], 1e-5
    )
    assert run_kinface(*words, tmp_path / "s.parquet") == 2
    assert "a submission is written to a file that ends in .csv" in capsys.readouterr().err


def test_submissions_name_two_faces_that_are_there(tmp_path: Path):
    root, path = make_flat(tmp_path / "test", ["a.jpg", "b.jpg"]), tmp_path / "s.csv"
    assert not is_submission(path) and not is_submission(tmp_path / "tune")
    for pair in ("a.jpg-c.jpg", "a.jpg", "", "-a.jpg", "../s.csv-a.jpg"):
        path.write_text(f"img_pair,is_related\na.jpg-b.jpg,0\n{pair},0\n")
        assert is_submission(path)
        with pytest.raises(InputError, match=r"s\.csv: row 2: "):
            read_submission(path, root)


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(st.lists(st.text("ab-_.", min_size=1, max_size=5).filter(lambda name: name.strip(".")), min_size=2, unique=True))
def test_any_names_of_faces_are_told_apart_or_refused(names: list[str]):
    with tempfile.TemporaryDirectory() as folder:
        root = make_flat(Path(folder), names)
        path = root / "s.csv"
        path.write_text(f"img_pair,is_related\n{names[0]}-{names[1]},0\n")
        joined = f"{names[0]}-{names[1]}"
        ways = [(a, b) for a in names for b in names if f"{a}-{b}" == joined]
        if len(ways) == 1:
            pairs = read_submission(path, root)
            assert pairs[["face_a", "face_b"]].to_numpy().tolist() == [list(ways[0])]
            write_submission(pairs.assign(score=-1.0), root / "out.csv")
            assert pd.read_csv(root / "out.csv")["is_related"].tolist() == [0.0]
        else:
            with pytest.raises(InputError, match="does not name two faces"):
                read_submission(path, root)


def test_kaggles_families_are_prepared_and_scored(tmp_path: Path, write_family):
    for number in range(1, 5):
        write_family(tmp_path / "kaggle", f"F000{number}", None, part="train")
    rows = "".join(f"F000{number}/MID1,F000{number}/MID3\n" for number in range(1, 5))
    (tmp_path / "kaggle/train_relationships.csv").write_text(f"p1,p2\n{rows}")
    words = ["prepare", str(tmp_path / "kaggle"), "--out", str(tmp_path / "tables"), "--tune", "0.5"]
    assert run_kinface(*words) == 0
    families = read_families(tmp_path / "tables")
    tune = read_any_list("tune", tmp_path / "tables", families)
    assert set(tune["split"]) == {"tune"} and tune["kin"].sum() == 6 and families.problems.empty


def test_a_split_stands_for_pairs_drawn_from_it(root, tmp_path, monkeypatch):
    families = read_known_families(root)
    drawn = read_any_list("val", root, families, seed=1)
    pd.testing.assert_frame_equal(drawn, sample_pairs(families, "val", seed=1))
    assert len(read_any_list("val", root, families, people=True)) < len(drawn)
    write_pairs(drawn.head(3), root / PAIRS)
    assert len(read_any_list("val", root, families, seed=1)) == 3, "a list of that name comes first"
    monkeypatch.chdir(tmp_path)
    Path("train").write_text(f"1 {drawn['face_a'][0]} {drawn['face_b'][0]} {drawn['type'][0]} 1\n")
    assert len(read_any_list("train", root, families)) == 1, "and so does a file"


def test_score_says_that_pairs_of_a_split_are_drawn(root, tmp_path, capsys):
    faces = [*read_known_families(root).faces["face"]]
    write_embeddings(tmp_path / "e.npz", faces, np.random.default_rng(0).normal(size=(len(faces), 4)))
    words = ["score", "--root", str(root), "--embeddings", str(tmp_path / "e.npz"), "--out", str(tmp_path / "s.csv")]
    for drawn in (True, False):
        assert run_kinface(*words, "--list", "val") == 0
        assert ("drawn from the split val (seed 0)" in capsys.readouterr().out) == drawn
        write_pairs(read_any_list("val", root, read_known_families(root)), root / PAIRS)


def test_the_list_of_a_split_is_that_of_its_pairs(root):
    assert find_prepared_list(root, "val") is None
    families = read_known_families(root)
    of_split = {split: sample_pairs(families, split) for split in ("train", "val")}
    names = {"a": pd.concat(of_split.values()), "val_choose": of_split["val"], "v2": of_split["val"]}
    names |= {"train": of_split["train"], "m": of_split["train"]}
    write_pairs(pd.concat([table.assign(list=name) for name, table in names.items()]), root / PAIRS)
    assert [find_prepared_list(root, split) for split in ("train", "val", "test")] == ["train", "v2", None]
