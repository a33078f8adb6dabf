"""Controls: what a list gives away without kinship, and the model's scores where that cannot help."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from kinface.leakage.controls import controls
from swinface.files import InputError
from tests.commands import run_kinface


@pytest.fixture
def pairs() -> pd.DataFrame:
    """200 pairs of FIW's names; a fifth of the kin pairs are from one photograph, and non-kin mostly of two races."""
    rng, kin = np.random.default_rng(0), np.arange(200) % 2 == 0
    family = np.arange(200) // 5 % 20
    other = np.where(kin, family, (family + 1 + rng.integers(0, 18, 200)) % 20)
    photo = np.where(np.arange(200) % 10 == 0, 1, 1000 + np.arange(200))
    table = {
        "face_a": [f"Train/x/F{it:04}/MID1/P{1:05}_face0.jpg" for it in family],
        "face_b": [f"Train/x/F{it:04}/MID2/P{n:05}_face1.jpg" for it, n in zip(other, photo, strict=True)],
        "person_a": [f"F{it:04}/MID1" for it in family],
        "person_b": [f"F{it:04}/MID2" for it in other],
        "family_a": [f"F{it:04}" for it in family],
        "family_b": [f"F{it:04}" for it in other],
        "race_a": "Asian",
        "race_b": np.where(kin | (rng.random(200) < 0.3), "Asian", "African"),
        "height_a": 1.7,
        "height_b": np.where(kin, 1.7, 1.8) + rng.normal(0, 0.05, 200),
        "kin": kin,
        "score": rng.normal(size=200) + 0.8 * kin + (photo == 1),
    }
    return pd.DataFrame(table)


def find(pairs: pd.DataFrame, *more: object, **options: object) -> pd.DataFrame:
    return controls(pairs, *more, **options).set_index("control")


def test_each_control_has_the_auc_of_its_own_scores(pairs):
    found = find(pairs)
    kin = pairs["kin"]
    one_photo = kin & (np.arange(200) % 10 == 0)
    one_race, gap = pairs["race_a"] == pairs["race_b"], (pairs["height_a"] - pairs["height_b"]).abs()
    expected = {"same photo": one_photo, "same race": one_race, "height gap": -gap, "model": pairs["score"]}
    for name, score in expected.items():
        assert found["auc"][name] == pytest.approx(roc_auc_score(kin, score)), name
    assert found["significant"][[*expected]].all()
    assert not found["significant"]["shuffled labels"]
    assert (found["auc_low"] <= found["auc"]).all() and (found["auc"] <= found["auc_high"]).all()


def test_the_model_is_measured_without_pairs_from_one_photograph(pairs):
    row = find(pairs).loc["same photo"]
    rest = pairs[np.arange(200) % 10 != 0]
    assert row["left_out"] == 20
    assert row["model"] == pytest.approx(roc_auc_score(pairs["kin"], pairs["score"]))
    assert row["model_alike"] == pytest.approx(roc_auc_score(rest["kin"], rest["score"]))
    assert row["difference"] == pytest.approx(row["model_alike"] - row["model"])
    assert row["difference_low"] < row["difference"] < row["difference_high"]


def test_kin_pairs_are_compared_with_non_kin_pairs_that_the_control_scores_alike(pairs):
    found = find(pairs)
    same = pairs["race_a"] == pairs["race_b"]
    assert found["model_alike"]["same race"] == pytest.approx(roc_auc_score(pairs["kin"][same], pairs["score"][same]))
    tenth = pd.qcut(-(pairs["height_a"] - pairs["height_b"]).abs(), 10, labels=False)
    placed = []
    for row in pairs[pairs["kin"]].itertuples():
        others = pairs["score"][~pairs["kin"] & (tenth == tenth[row.Index])]
        placed += [(others < row.score).mean()] if len(others) else []
    assert found["model_alike"]["height gap"] == pytest.approx(np.mean(placed))
    assert found["left_out"]["height gap"] == 100 - len(placed)


def test_attributes_of_faces_and_photos_of_people_are_taken_from_a_table_of_faces(pairs):
    faces = pd.DataFrame({"face": pd.unique(pairs[["face_a", "face_b"]].to_numpy().ravel())})
    faces["person"] = faces["face"].str.extract(r"(F\d+/MID\d)")[0]
    faces["glasses"] = np.where(np.arange(len(faces)) % 3 == 0, "yes", "no")
    faces["glasses_source"] = "drawn"
    faces.loc[faces["face"] == pairs["face_b"][0], "glasses"] = None
    found = find(pairs, faces)
    unknown = pairs["face_b"] == pairs["face_b"][0]
    glasses = faces.set_index("face")["glasses"]
    same = (pairs["face_a"].map(glasses) == pairs["face_b"].map(glasses))[~unknown]
    assert found["pairs"]["same glasses"] == (~unknown).sum()
    assert found["auc"]["same glasses"] == pytest.approx(roc_auc_score(pairs["kin"][~unknown], same))
    photos = faces["person"].value_counts()
    both = pairs["person_a"].map(photos) + pairs["person_b"].map(photos)
    assert found["auc"]["photos per person"] == pytest.approx(roc_auc_score(pairs["kin"], both))
    ordered = pairs.assign(band_a=pd.Categorical(["old"] * 200), band_b=pd.Categorical(["old", "young"] * 100))
    assert find(ordered)["auc"]["same band"] == 1, "categories of two columns may differ"
    with pytest.raises(InputError, match="faces: a column 'face'"):
        find(pairs, pd.concat([faces, faces]))


def test_values_and_faces_are_the_same_in_any_type_and_form(pairs):
    """A band that is a number for one person and text for the other; faces with ./ and people that are numbers."""
    rows = np.arange(200)
    band = pairs.assign(band_a=rows % 3, band_b=np.where(pairs["kin"], rows % 3, (rows + 1) % 3).astype(str))
    assert find(band)["auc"]["same band"] == 1
    named = pairs.assign(face_a=[f"x/{row}a.jpg" for row in rows], face_b=[f"x/{row}b.jpg" for row in rows])
    named = named.assign(person_a=rows.astype(str), person_b=(rows + 200).astype(str))
    faces = pd.DataFrame({"face": [*named["face_a"], *named["face_b"]], "person": np.arange(400), "hat": "yes"})
    expected = find(named, faces)
    assert {"same hat", "photos per person"} <= {*expected.index}
    pd.testing.assert_frame_equal(find(named, faces.assign(face=".\\" + faces["face"])), expected)
    with pytest.warns(UserWarning, match=r"faces: has no row of the pairs' faces, such as x/0a\.jpg"):
        find(named, faces.assign(face="y" + faces["face"]))


def test_ages_are_measured_and_unknown_values_are_not_the_same(pairs):
    rows = np.arange(200)
    faces = pd.DataFrame({"face": pd.unique(pairs[["face_a", "face_b"]].to_numpy().ravel())})
    faces["age"] = np.arange(len(faces)) * 7 % 90
    expected = find(pairs, faces)
    assert "age gap" in expected.index
    pd.testing.assert_frame_equal(find(pairs, faces.astype({"age": str}).set_index("face")), expected)
    unsaid = pairs.assign(age_a=rows % 90, age_b=np.where(rows < 20, "unknown", (rows * 7 % 90).astype(str)))
    with pytest.warns(UserWarning, match="pairs: 'unknown' of age is read as missing"):
        found = find(unsaid.assign(mood_a="unknown", mood_b=np.where(rows < 20, "unknown", "glad")), faces)
    assert found["pairs"]["age gap"] == 180 and "same mood" not in found.index


def test_races_of_faces_are_classes_where_the_pairs_have_none(pairs):
    faces = pd.DataFrame({"face": pd.unique(pairs[["face_a", "face_b"]].to_numpy().ravel())})
    faces["race"], bare = np.arange(len(faces)) % 3, pairs[["face_a", "face_b", "kin", "score"]]
    found = find(bare, faces)
    assert "same race" in found.index and "race gap" not in found.index
    pd.testing.assert_frame_equal(find(bare, faces.astype({"race": str})), found)


def test_images_are_told_apart_by_colour_size_and_sharpness(tmp_path):
    """Kin have one colour and sharpness; sizes say nothing."""
    rng, rows = np.random.default_rng(0), []
    for number in range(40):
        kin = number % 2 == 0
        names = [f"{number}{side}.png" for side in "ab"]
        for name, colour, noise in zip(names, (60, 60 if kin else 190), (5, 5 if kin else 50), strict=True):
            pixels = colour + rng.normal(0, noise, (8, 8, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / name)
        rows.append({"face_a": names[0], "face_b": names[1], "kin": kin})
    found = find(pd.DataFrame(rows), root=tmp_path)
    assert found["auc"][["colour histogram", "sharpness", "image size"]].tolist() == [1, 1, 0.5]
    assert found["significant"].tolist() == [True, False, True]
    assert not {"model", "model_alike", "left_out"} & {*found.columns}, "there are no scores"
    with pytest.raises(InputError, match=r"0a\.png: no such image"):
        find(pd.DataFrame(rows), root=tmp_path / "none")


def test_a_list_of_which_nothing_else_is_known_has_the_model_alone(pairs):
    found = find(pairs[["face_a", "face_b", "kin", "score"]].assign(face_a=[f"{row}.jpg" for row in range(200)]))
    assert found.index.tolist() == ["model", "shuffled labels"]
    assert found["model_alike"].isna().all()
    assert find(pairs[["face_a", "face_b", "kin"]].assign(face_a=[f"{row}.jpg" for row in range(200)])).empty


def test_the_command_writes_what_the_function_finds(pairs, tmp_path, capsys):
    scores, out = tmp_path / "scores.csv", tmp_path / "controls.csv"
    pairs.to_csv(scores, index=False)
    assert run_kinface("controls", scores, "--out", out) == 0
    written, expected = pd.read_csv(out), controls(pairs)
    pd.testing.assert_frame_equal(written.drop(columns="left_out"), expected.drop(columns="left_out"))
    shown = capsys.readouterr().out
    assert "200 pairs, 100 of them kin" in shown
    for row in expected.itertuples():
        assert f"{row.control} " in shown
        assert f"{row.auc:.3f} [{row.auc_low:.3f}, {row.auc_high:.3f}]" in shown
    assert run_kinface("controls", scores, "--out", out.with_suffix(".txt")) == 2
    assert "controls.txt" in capsys.readouterr().err


def test_pairs_of_one_kind_and_a_missing_score_are_refused(pairs):
    with pytest.raises(InputError, match="there are no non-kin pairs; both kinds"):
        controls(pairs[pairs["kin"]])
    with pytest.raises(InputError, match="row 2: score is missing"):
        controls(pairs.assign(score=pairs["score"].where(pairs.index != 1)))
