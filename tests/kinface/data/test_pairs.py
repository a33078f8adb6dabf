"""The pairs table: its one form, its bad input, its groups, and how pairs are drawn."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import kinface
from kinface.data.cosines import BLOCK, compare_rows
from kinface.data.pairs import (
    COLUMNS,
    check_pairs,
    families_known,
    gender_pair,
    generation_gap,
    race_crossing,
    race_group,
    read_pairs,
    resampling_units,
    score_pairs,
    write_pairs,
)
from kinface.data.sampling import sample_pairs
from kinface.data.search import sample_search
from kinface.data.triplets import sample_triplets
from kinface.data.vocabulary import TYPES
from swinface.files import InputError


def make_pairs(**columns) -> pd.DataFrame:
    """Two rows, a father with his daughter and with another family's; ``columns`` replaces some."""
    return pd.DataFrame(
        {
            "face_a": ["F1/a.jpg", "F1/a.jpg"],
            "face_b": ["F1/b.jpg", "F2/b.jpg"],
            "person_a": ["F1/MID1", "F1/MID1"],
            "person_b": ["F1/MID2", "F2/MID2"],
            "family_a": ["F1", "F1"],
            "family_b": ["F1", "F2"],
            "type": ["fd", "fd"],
            "kin": [1, 0],
            "race_a": ["Asian", "Asian"],
            "race_b": ["Asian", None],
            "race_source": ["human annotated", "human annotated"],
            "gender_a": ["m", "m"],
            "gender_b": ["f", None],
            "gender_source": ["FIW mid.csv", "FIW mid.csv"],
            "split": ["val", "val"],
            "list": ["2024", "2024"],
            "score": [0.5, -0.25],
            **columns,
        }
    )


def test_types_are_the_eleven_of_fiw_and_state_their_roles():
    assert list(TYPES) == ["bb", "ss", "sibs", "fd", "fs", "md", "ms", "gfgd", "gfgs", "gmgd", "gmgs"]
    words = {"m": {"brother", "father", "son", "grandfather", "grandson"}}
    words["f"] = {"sister", "mother", "daughter", "grandmother", "granddaughter"}
    for kin_type in TYPES.values():
        a, _, b = kin_type.name.partition(" and ")
        a, b = (a, b) if b else (a.removesuffix("s"), a.removesuffix("s"))  # brothers
        assert a in words[kin_type.gender_a] and b in words[kin_type.gender_b]
        assert kin_type.generation_gap == {"sibling": 0, "parent": 1, "grandparent": 2}[kin_type.relation]


@pytest.mark.parametrize("name", ["pairs.parquet", "pairs.csv"])
def test_a_table_survives_writing_and_reading(tmp_path: Path, name: str, monkeypatch):
    pairs = check_pairs(make_pairs(), "here", scored=True)
    assert pairs["kin"].tolist() == [True, False] and pairs["kin"].dtype == bool
    assert list(pairs) == list(COLUMNS)
    write_pairs(make_pairs(), tmp_path / name)
    pd.testing.assert_frame_equal(read_pairs(tmp_path / name, scored=True), pairs)
    assert read_pairs(tmp_path / name)["race_b"].tolist() == ["Asian", None]
    assert [file.name for file in tmp_path.iterdir()] == [name]
    monkeypatch.setenv("HOME", str(tmp_path))
    write_pairs(make_pairs(), f"~/again_{name}")
    pd.testing.assert_frame_equal(read_pairs(f"~/again_{name}", scored=True), pairs)
    assert (tmp_path / f"again_{name}").exists()


def test_columns_of_others_stay_and_score_may_be_missing_until_scored():
    pairs = check_pairs(make_pairs(weight=[1, 2]).drop(columns="score"), "here")
    assert pairs["score"].isna().all() and pairs["weight"].tolist() == [1, 2]
    with pytest.raises(InputError, match="here: a pairs table needs the column score"):
        check_pairs(pairs.drop(columns="score"), "here", scored=True)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"type": ["fd", "uncle"]}, r"here: row 2: type must be one of bb .*, not 'uncle' \(F1/a.jpg, F2/b.jpg\)"),
        ({"kin": [1, 2]}, "row 2: kin must be 0 or 1, yes or no, true or false, not "),
        ({"kin": [None, 2]}, "row 1: kin must be 0 or 1, .*, and is missing; .*; 1 more rows like it"),
        ({"kin": [1, 1]}, r"row 2: a kin pair must lie in one family, not in 'F1' and 'F2'; correct these"),
        ({"person_b": ["F1/MID2", "F1/MID1"]}, "same person, 'F1/MID1', in two families; name people of all"),
        ({"face_b": [None, "b.jpg"]}, "row 1: face_b is missing"),
        ({"face_b": ["F1/b.jpg", "F1/a.jpg"], "person_b": None}, "row 2: the two faces are of the same person"),
        ({"gender_a": ["m", "x"]}, "row 2: gender must be m, f or missing, not 'x'"),
        ({"score": [0.5, "high"]}, "row 2: score must be a finite number, not 'high'"),
        ({"score": [0.5, None]}, "row 2: score must be a finite number"),
        ({"score": [np.inf, 0.5]}, "row 1: score must be a finite number"),
        ({"score": [0.5, np.ones(2)]}, r"row 2: score must be a finite number, not \[1.0, 1.0\]"),
        ({"score": pd.to_datetime(["2020-01-01", None])}, "row 1: score must be a finite number"),
    ],
)
def test_the_first_wrong_row_is_named(columns: dict, message: str):
    with pytest.raises(InputError, match=message):
        check_pairs(make_pairs(**columns), "here", scored=True)


def test_persons_and_families_may_be_missing():
    unknown = dict.fromkeys(["person_a", "person_b", "family_b"])
    pairs = check_pairs(make_pairs(**unknown), "here")
    assert pairs["family_a"].tolist() == ["F1", "F1"]
    assert pairs["family_b"].tolist() == [None, None]
    assert not families_known(pairs).any()


def test_an_index_of_families_is_not_lost():
    pairs = make_pairs().set_index(["family_a", "family_b"])
    pd.testing.assert_frame_equal(check_pairs(pairs, "here"), check_pairs(make_pairs(), "here"))


def test_a_pair_without_a_known_family_is_a_unit_of_its_own():
    pairs = make_pairs(family_a=["F1", None], family_b=[None, None])
    first, second = resampling_units(pairs)
    assert first.tolist() == second.tolist() == ["F1", "F1/a.jpg and F2/b.jpg"]
    swapped = pairs.assign(face_a=pairs["face_b"], face_b=pairs["face_a"])
    assert resampling_units(swapped)[0].tolist() == first.tolist()
    first, second = resampling_units(make_pairs())
    assert (first.tolist(), second.tolist()) == (["F1", "F1"], ["F1", "F2"])


def test_an_unscored_table_may_lack_scores_but_not_hold_text():
    assert check_pairs(make_pairs(score=[None, 0.5]), "here")["score"].isna().tolist() == [True, False]
    with pytest.raises(InputError, match="row 2: score"):
        check_pairs(make_pairs(score=[None, "high"]), "here")


def test_more_pairs_than_are_compared_at_once_have_the_scores_of_all_at_once():
    rng, count = np.random.default_rng(0), 2 * BLOCK + 1
    unit, rows = rng.normal(size=(50, 7)).astype(np.float32), rng.integers(50, size=(3, count))
    assert (compare_rows(unit, *rows[:2]) == np.einsum("nd,nd->n", unit[rows[0]], unit[rows[1]])).all()
    expected = np.einsum("nd,nd->n", (unit[rows[0]] + unit[rows[1]]) / 2, unit[rows[2]])
    assert (compare_rows(unit, *rows) == expected).all()


def test_a_face_without_an_embedding_is_not_scored():
    with pytest.raises(InputError, match=r"F2/b\.jpg: it is in a pair but not embedded"):
        score_pairs(make_pairs(), ["F1/a.jpg", "F1/b.jpg"], np.ones((2, 3)))


def test_faces_in_another_order_than_the_embeddings_are_refused():
    pairs, faces = make_pairs(), pd.Series(["F1/a.jpg", "F1/b.jpg", "F2/b.jpg"])
    embedding = pd.DataFrame(np.random.default_rng(0).normal(size=(3, 4)))
    kinface.score(pairs, embedding, (face for face in faces))
    with pytest.raises(InputError, match="faces: the embedding has its rows in another order, by its index"):
        kinface.score(pairs, embedding, faces[::-1])


def test_faces_are_found_whatever_their_names_come_in():
    pairs, faces = make_pairs(), ["F1/a.jpg", "F1/b.jpg", "F2/b.jpg"]
    embedding = np.array([[1, 0], [0.6, 0.8], [0, 1]])
    expected = score_pairs(pairs, faces, embedding)["score"].tolist()
    assert expected == [0.6, 0]
    for given in (
        np.array(faces, dtype="S"),
        [*map(Path, faces)],
        [f".\\{face.replace('/', chr(92))}" for face in faces],
    ):
        assert score_pairs(pairs, given, embedding.tolist())["score"].tolist() == expected
    with pytest.raises(InputError, match=r"faces: F1/a\.jpg is listed twice"):
        score_pairs(pairs, [*faces, faces[0]], np.ones((4, 2)))


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        (np.ones((2, 2)), r"the embeddings are \(2, 2\) float64; they must be numbers, \(3, D\), a row per face"),
        (np.ones(3), r"the embeddings are \(3,\) float64"),
        (np.ones((3, 2), dtype=complex), r"the embeddings are \(3, 2\) complex128"),
        ({"a.jpg": [1, 2]}, r"the embeddings are \(\) object"),
    ],
)
def test_embeddings_are_a_row_of_numbers_per_face(embedding, message):
    with pytest.raises(InputError, match=message):
        score_pairs(make_pairs(), ["F1/a.jpg", "F1/b.jpg", "F2/b.jpg"], embedding)


def test_embeddings_of_half_precision_are_not_summed_in_it():
    embedding = np.array([[300, 0], [180, 240], [0, 300]], dtype=np.float16)
    scored = score_pairs(make_pairs(), ["F1/a.jpg", "F1/b.jpg", "F2/b.jpg"], embedding)["score"]
    np.testing.assert_allclose(scored, [0.6, 0], atol=1e-6)


def test_missing_columns_and_empty_tables_are_named():
    with pytest.raises(InputError, match=r"scores.csv: .* columns face_a \(path of the first.*kin"):
        check_pairs(make_pairs().drop(columns=["face_a", "kin"]), "scores.csv")
    bare = make_pairs()[["face_a", "face_b", "kin", "score"]]
    assert check_pairs(bare, "scores.csv", scored=True)["family_a"].tolist() == [None, None]
    with pytest.raises(InputError, match="no pairs"):
        check_pairs(make_pairs().head(0), "here")


def test_names_of_columns_that_are_nearly_ours_are_said():
    faces = pd.DataFrame({"face_a": ["1.jpg", "3.jpg"], "face_b": ["2.jpg", "4.jpg"], "kin": [1, 0]})
    with pytest.warns(UserWarning, match="t: column 'Race A' is taken as one of your own; did you mean race_a"):
        assert "Race A" in check_pairs(faces.assign(**{"Race A": "Asian", "age_band": "x"}), "t")
    for name in ("SCORE", "scroe", "scores"):
        with pytest.raises(InputError, match=f"'face_b', 'kin', '{name}'. '{name}': did you mean score"):
            check_pairs(faces.assign(**{name: [1.0, 0.0]}), "t", scored=True)
    with pytest.raises(InputError, match=r"'similarity'\.$"):
        check_pairs(faces.assign(similarity=[1.0, 0.0]), "t", scored=True)


@pytest.mark.parametrize("name", ["race", "gender", "family", "person"])
@pytest.mark.parametrize(("given", "other"), [("a", "b"), ("b", "a")])
def test_what_is_known_of_one_side_alone_is_told(name, given, other):
    pairs = make_pairs()[["face_a", "face_b", "kin"]].assign(score=0.5, **{f"{name}_{given}": "m"})
    with pytest.warns(UserWarning, match=f"t: column {name}_{given} needs {name}_{other}"):
        check_pairs(pairs, "t", scored=True)


def test_columns_that_lists_of_the_field_name_otherwise_are_read():
    ours = make_pairs()[["face_a", "face_b", "type", "kin"]]
    with pytest.warns(UserWarning, match="p1 as face_a, p2 as face_b, ptype as type, label as kin"):
        read = check_pairs(ours.set_axis(["p1", "p2", "ptype", "label"], axis="columns"), "t")
    pd.testing.assert_frame_equal(read, check_pairs(ours, "t"))
    own = check_pairs(ours.assign(label="x", p1="y"), "t")  # where there are ours, others are custom
    assert own["label"].eq("x").all() and own["face_a"].tolist() == ["F1/a.jpg", "F1/a.jpg"]
    with pytest.raises(InputError, match=r"needs the columns face_a .* It has 'p1', 'p2'\."):  # of Kaggle's people
        check_pairs(pd.DataFrame({"p1": ["F1/MID1"], "p2": ["F1/MID2"]}), "t")


def test_what_is_no_table_is_to_be_read_first():
    with pytest.raises(InputError, match=r"pairs: a list is not a table; make a DataFrame of it"):
        check_pairs([{"face_a": "a.jpg"}], "pairs")
    with pytest.raises(InputError, match=r"pairs: 'scores\.csv' is not a table; read it first, with"):
        check_pairs("scores.csv", "pairs", scored=True)


def test_unreadable_files_are_refused(tmp_path: Path):
    (tmp_path / "broken.parquet").write_bytes(b"not parquet")
    (tmp_path / "empty.csv").write_bytes(b"")
    make_pairs().astype({"race_a": "string"}).to_parquet(tmp_path / "text.parquet", compression=None)
    content = (tmp_path / "text.parquet").read_bytes()
    (tmp_path / "text.parquet").write_bytes(content.replace(b"Asian", b"A\xffian"))
    for name, message in [
        ("absent.parquet", "no such file"),
        ("broken.parquet", "not a readable pairs table"),
        ("empty.csv", "not a readable pairs table"),
        ("text.parquet", "not a readable pairs table"),
        ("pairs.txt", "a .parquet, .csv or .xlsx file"),
    ]:
        with pytest.raises(InputError, match=f"{name}: .*{message}"):
            read_pairs(tmp_path / name)
    with pytest.raises(InputError, match="written to a"):
        write_pairs(make_pairs(), tmp_path / "pairs.txt")
    with pytest.raises(InputError, match="same person"):
        write_pairs(make_pairs(person_b=["F1/MID1"] * 2, family_b=["F1"] * 2), tmp_path / "pairs.csv")
    assert not (tmp_path / "pairs.csv").exists()


def test_groups():
    pairs = pd.DataFrame(
        {
            "race_a": ["Asian", "Asian", "Indian", None],
            "race_b": ["Asian", "Indian", "Asian", "Asian"],
            "gender_a": ["m", "f", "m", "f"],
            "gender_b": ["m", "m", "f", None],
            "type": ["bb", "ms", "gmgd", None],
        }
    )
    assert race_group(pairs).tolist() == ["Asian", "cross-race", "cross-race", None]
    assert race_crossing(pairs).tolist() == ["same-race", "cross-race", "cross-race", None]
    assert gender_pair(pairs).tolist() == ["mm", "mf", "mf", None]
    assert generation_gap(pairs).tolist() == [0, 1, 2, pd.NA]


def test_two_unknown_races_are_not_a_common_race():
    unknown = pd.DataFrame({"race_a": [None], "race_b": [None], "gender_a": [None], "gender_b": [None]})
    assert race_group(unknown).tolist() == race_crossing(unknown).tolist() == gender_pair(unknown).tolist() == [None]


def make_families(sizes: dict[str, int], splits: dict[str, str] | None = None) -> SimpleNamespace:
    """Families of a father (1), a mother (2), a son (3) and a daughter (4); ``sizes`` gives faces per person."""
    faces, people, relations = [], [], []
    for family, size in sizes.items():
        split = (splits or {}).get(family, "tune")
        for mid, gender in enumerate("mfmf", start=1):
            person = f"{family}/MID{mid}"
            race = "Asian" if family == "F1" else "Indian"
            people.append((person, family, mid, split, size, gender, "FIW mid.csv", race, "human annotated"))
            faces += [(f"Train/x/{person}/{i}.jpg", family, mid, person, split) for i in range(size)]
        for a, b, code in [(1, 3, "fs"), (1, 4, "fd"), (2, 3, "ms"), (2, 4, "md"), (3, 4, "sibs"), (1, 2, None)]:
            relations.append((f"{family}/MID{a}", f"{family}/MID{b}", family, split, "-", code))
    columns = ["person", "family", "mid", "split", "faces", "gender", "gender_source", "race", "race_source"]
    return SimpleNamespace(
        faces=pd.DataFrame(faces, columns=["face", "family", "mid", "person", "split"]),
        people=pd.DataFrame(people, columns=columns),
        relations=pd.DataFrame(relations, columns=["person_a", "person_b", "family", "split", "relation", "type"]),
    )


def test_sampled_pairs_are_balanced_and_imitate_their_types():
    families = make_families({"F1": 1, "F2": 2, "F3": 40})
    pairs = sample_pairs(families, "tune", per_relation=3)
    kin, other = pairs[pairs["kin"]], pairs[~pairs["kin"]]
    assert kin["type"].value_counts().to_dict() == other["type"].value_counts().to_dict()
    assert set(kin["type"]) == {"fs", "fd", "ms", "md", "sibs"}
    assert (kin["family_a"] == kin["family_b"]).all() and (other["family_a"] != other["family_b"]).all()
    for row in pairs.itertuples():
        kin_type = TYPES[row.type]
        assert (row.gender_a, row.gender_b) == (kin_type.gender_a, kin_type.gender_b)
        assert row.face_a.startswith(f"Train/x/{row.person_a}/")
        assert row.race_a == ("Asian" if row.family_a == "F1" else "Indian")
    # one face each gives one pair; two faces four, of which three; forty no more than three
    for (family, _), drawn in kin.groupby(["family_a", "type"]):
        assert len(drawn) == {"F1": 1, "F2": 3, "F3": 3}[family]
    assert not kin.duplicated(["face_a", "face_b"]).any()
    assert (pairs["list"] == "tune").all() and (pairs["split"] == "tune").all() and pairs["score"].isna().all()


def test_sampling_stays_in_its_split():
    families = make_families({"F1": 2, "F2": 2, "F3": 2}, {"F3": "train"})
    assert {*sample_pairs(families, "tune")["family_b"]} == {"F1", "F2"}


def test_sampling_is_seeded_and_blind_to_the_order_of_rows():
    families = make_families({f"F{i}": 5 for i in range(8)})
    shuffled = SimpleNamespace(**{k: t.sample(frac=1, random_state=1) for k, t in vars(families).items()})
    first = sample_pairs(families, "tune", seed=1)
    pd.testing.assert_frame_equal(first, sample_pairs(shuffled, "tune", seed=1))
    assert not first.equals(sample_pairs(families, "tune", seed=2))


def test_a_kin_pair_without_counterpart_is_left_out():
    families = make_families({"F1": 1, "F2": 1})
    families.relations = families.relations[
        (families.relations["family"] == "F1") | (families.relations["type"] == "fd")
    ]
    assert sample_pairs(families, "tune")["type"].tolist() == ["fd"] * 4
    with pytest.raises(InputError, match="no pairs can be drawn from split 'tune'"):
        sample_pairs(make_families({"F1": 1}), "tune")


def test_a_split_that_is_not_there_is_told_with_those_that_are():
    families = make_families({"F1": 1, "F2": 1})
    for draw in (sample_pairs, sample_triplets, sample_search):
        with pytest.raises(InputError, match="split 'validation': no face belongs to it; the splits are tune"):
            draw(families, "validation")


def test_unknown_genders_come_from_parent_roles_only():
    families = make_families({"F1": 1, "F2": 1})
    families.people = families.people.assign(gender=None, gender_source=None)
    pairs = sample_pairs(families, "tune")
    parents = pairs[pairs["type"] != "sibs"]
    assert parents["gender_a"].tolist() == [TYPES[code].gender_a for code in parents["type"]]
    assert parents["gender_b"].tolist() == [TYPES[code].gender_b for code in parents["type"]]
    assert set(parents["gender_source"]) == {"role in the list"}
    assert pairs[pairs["type"] == "sibs"][["gender_a", "gender_b", "gender_source"]].isna().all(axis=None)


def test_a_table_with_another_separator_is_recognised(tmp_path):
    (tmp_path / "scores.csv").write_text("face_a|face_b|kin|score\na.jpg|b.jpg|1|0.5\n")
    with pytest.raises(InputError, match=r"It has one column, 'face_a\|face_b\|kin\|score'; are its values separated"):
        read_pairs(tmp_path / "scores.csv", scored=True)
