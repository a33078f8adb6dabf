"""``kinface kinfacew``: the authors' lists and folds, what is fitted where, and what report and audit are given."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import normalize

from kinface.cli.report import report
from kinface.data.fiw import read_people
from kinface.data.pairs import read_pairs, score_pairs, write_pairs
from kinface.data.vocabulary import ROLE_GENDER
from kinface.debias.whitening import Whitened
from kinface.experiments.kinfacew import CROP, FOLDS, KINDS, decide_on_four, read_kinfacew, train_on_four
from kinface.models.kinface import KinFace
from swinface.data.embeddings import read_arrays
from swinface.data.faces import crop_face
from swinface.files import InputError
from tests.commands import run_kinface

pytestmark = pytest.mark.usefixtures("blank_pictures")

FAMILIES = 3  # of a type in a fold
SIZE = 6
TINY = {"embed_dim": 8, "depths": [1, 1, 1], "num_heads": [1, 1, 1], "patch_size": 4}


def kinfacew(*arguments) -> int:
    return run_kinface("kinfacew", *arguments)


def write_list(path: Path, rows: list[tuple]) -> None:
    """A cell array as the authors' files have it: numbers as (1, 1) uint8, names as text."""
    cells = np.empty((len(rows), 4), dtype=object)
    for number, (fold, kin, *images) in enumerate(rows):
        cells[number] = [np.array([[fold]], np.uint8), np.array([[kin]], np.uint8), *images]
    savemat(path, {"pairs": cells})


def rows_of(kind: str) -> list[tuple]:
    """In each fold every parent with the own child, and with the next family's."""
    rows = []
    for fold in FOLDS:
        names = [f"{kind}_{(fold - 1) * FAMILIES + family:03d}" for family in range(1, FAMILIES + 1)]
        rows += [(fold, 1, f"{name}_1.jpg", f"{name}_2.jpg") for name in names]
        rows += [(fold, 0, f"{name}_1.jpg", f"{names[(i + 1) % FAMILIES]}_2.jpg") for i, name in enumerate(names)]
    return rows


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A small KinFaceW whose kin pairs are of one colour, which differs between families."""
    root, generator = tmp_path_factory.mktemp("sound") / "KinFaceW-T", np.random.default_rng(0)
    (root / "meta_data").mkdir(parents=True)
    for kind, folder in KINDS.items():
        (root / "images" / folder).mkdir(parents=True)
        write_list(root / "meta_data" / f"{kind}_pairs.mat", rows_of(kind))
        for family in range(1, 5 * FAMILIES + 1):
            colour = generator.integers(40, 215, 3)
            for person in (1, 2):
                pixels = (colour + generator.normal(0, 3, (64, 64, 3))).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / "images" / folder / f"{kind}_{family:03d}_{person}.jpg")
    return root


@pytest.fixture
def root(sound, tmp_path) -> Path:
    """A copy of it, to be broken."""
    return shutil.copytree(sound, tmp_path / "KinFaceW-T")


@pytest.fixture(scope="module")
def table(sound) -> Path:
    """Embeddings of all faces in which kin are somewhat alike, of no unit length."""
    generator, faces, values = np.random.default_rng(1), [], []
    for path in sorted((sound / "images").glob("*/*_1.jpg")):
        shared = generator.normal(0, 1, SIZE)
        for person in (1, 2):
            faces.append(path.relative_to(sound).as_posix().replace("_1.jpg", f"_{person}.jpg"))
            values.append(shared + generator.normal(0, 1, SIZE))
    np.savez(sound.parent / "table.npz", face=faces, embedding=np.array(values) * 3)
    return sound.parent / "table.npz"


@pytest.fixture(scope="module")
def judged(sound, table) -> Path:
    out = sound.parent / "out"
    assert kinfacew(sound, "--embeddings", table, "--out", out) == 0
    return out


def test_the_lists_become_a_pairs_table(sound):
    pairs, missing = read_kinfacew(sound)
    assert missing == []
    assert list(pairs["type"].unique()) == ["fd", "fs", "md", "ms"]
    assert (pairs.groupby(["type", "fold", "kin"]).size() == FAMILIES).all()
    row = pairs[(pairs["type"] == "ms") & ~pairs["kin"]].iloc[0]
    assert (row["face_a"], row["face_b"]) == ("images/mother-son/ms_001_1.jpg", "images/mother-son/ms_002_2.jpg")
    assert (row["person_a"], row["person_b"]) == ("ms_001_1", "ms_002_2")
    assert (row["family_a"], row["family_b"]) == ("ms_001", "ms_002")
    assert (row["gender_a"], row["gender_b"], row["gender_source"]) == ("f", "m", "role in the list")
    assert (row["split"], row["list"], row["fold"]) == ("test", "KinFaceW-T", 1)


def judge_naively(scored: pd.DataFrame) -> tuple[float, float]:
    """Accuracy and AUC of a fold by thresholds tried one by one on the four others: (folds,) each."""
    accuracies, aucs = [], []
    for fold in FOLDS:
        tested, rest = scored[scored["fold"] == fold], scored[scored["fold"] != fold]
        best = max(rest["score"], key=lambda t: (((rest["score"] >= t) == rest["kin"]).mean(), t))
        accuracies.append(((tested["score"] >= best) == tested["kin"]).mean())
        aucs.append(roc_auc_score(tested["kin"], tested["score"]))
    return np.array(accuracies), np.array(aucs)


def test_families_in_two_folds_are_warned_of(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "root")
    fold, *first = rows_of("fd")[0]
    write_list(tmp_path / "root" / "meta_data" / "fd_pairs.mat", [(fold % 5 + 1, *first), *rows_of("fd")[1:]])
    with pytest.warns(UserWarning, match=r"fd_pairs\.mat: 1 families are in two folds, such as fd_001"):
        read_kinfacew(tmp_path / "root")


def test_figures_are_those_of_naive_loops(judged):
    scored = read_pairs(judged / "scores.parquet", scored=True)
    results = pd.read_csv(judged / "results.csv").set_index(["method", "type"])
    naive = {kind: judge_naively(listed) for kind, listed in scored.groupby("type")}
    naive["mean"] = tuple(np.mean([naive[kind][i] for kind in KINDS], axis=0) for i in (0, 1))
    for kind, (accuracy, auc) in naive.items():
        row = results.loc["cosine", kind]
        assert row["accuracy"] == pytest.approx(accuracy.mean())
        assert row["accuracy_std"] == pytest.approx(accuracy.std(ddof=1))
        assert row["auc"] == pytest.approx(auc.mean(), abs=1e-6)
        assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
    assert 0.5 < results.loc[("cosine", "mean"), "accuracy"] < 1
    assert results.loc[("cosine", "mean"), ["pairs", "kin", "families"]].tolist() == [120, 60, 60]


def test_colour_alone_tells_the_kin_of_one_photo(judged):
    results = pd.read_csv(judged / "results.csv").set_index(["method", "type"])
    assert results.loc[("colour", "mean"), "auc"] > 0.9
    assert results.loc[("colour", "mean"), "auc"] > results.loc[("cosine", "mean"), "auc"]
    assert "cropped from one photo" in json.loads((judged / "results.json").read_text())["caveat"]


def test_scores_are_cosines(judged, table):
    faces, arrays = read_arrays(table)
    place = {face: row for row, face in enumerate(faces)}
    for row in read_pairs(judged / "scores.parquet").iloc[[0, 50, 119]].itertuples():
        a, b = arrays["embedding"][place[row.face_a]], arrays["embedding"][place[row.face_b]]
        assert row.score == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)


def test_the_threshold_of_a_fold_does_not_see_its_scores(sound):
    listed = read_kinfacew(sound)[0].query("type == 'fd'").reset_index(drop=True)
    score = np.random.default_rng(0).normal(size=len(listed))
    third = (listed["fold"] == 3).to_numpy()
    before = decide_on_four(listed, score)["threshold"]
    after = decide_on_four(listed, np.where(third, score + 9, score))["threshold"]
    assert len(before[third].unique()) == 1
    assert (before[third] == after[third]).all()
    assert (before[~third] != after[~third]).any()


def test_what_is_trained_does_not_see_the_fold_it_is_tested_on(sound):
    listed = read_kinfacew(sound)[0].query("type == 'fd'").reset_index(drop=True)
    a, b = np.random.default_rng(0).normal(size=(2, len(listed), SIZE))
    third = (listed["fold"] == 3).to_numpy()
    before = train_on_four(listed, a, b)
    after = train_on_four(listed.assign(kin=listed["kin"] ^ third), a, b)
    pd.testing.assert_frame_equal(before[third], after[third])
    assert not np.allclose(before.loc[~third, "score"], after.loc[~third, "score"])


def test_training_finds_what_the_cosine_misses(sound):
    """Kin share the sign of one number among six that vary more."""
    listed = read_kinfacew(sound)[0].query("type == 'fd'").reset_index(drop=True)
    generator = np.random.default_rng(0)
    a, b = generator.normal(0, 1, (2, len(listed), SIZE))
    a[:, 0] = generator.choice([-1, 1], len(listed)) * 1.5
    b[:, 0] = np.where(listed["kin"], 1, -1) * a[:, 0]
    cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    right = {}
    for name, decided in (("trained", train_on_four(listed, a, b)), ("cosine", decide_on_four(listed, cosine))):
        right[name] = ((decided["score"] >= decided["threshold"]) == listed["kin"]).mean()
    assert right["trained"] > 0.9
    assert right["trained"] > right["cosine"] + 0.05


def test_another_models_embeddings_are_whitened(sound, table, judged, tmp_path):
    """By people of the split train; here parent and child count as one."""
    people = pd.read_csv(judged / "faces.csv")
    people.assign(person=people["family"], split="train").to_csv(tmp_path / "people.csv", index=False)
    options = ["--embeddings", table, "--whiten", tmp_path / "people.csv", "--out", tmp_path / "out"]
    assert kinfacew(sound, *options) == 0
    faces, arrays = read_arrays(table)
    unit = normalize(arrays["embedding"])
    persons = people.set_index("face")["family"].reindex(faces)
    whitened = Whitened().fit(unit, persons=persons).transform(unit)
    expected = score_pairs(read_pairs(judged / "scores.parquet"), faces, whitened)["score"]
    np.testing.assert_allclose(read_pairs(tmp_path / "out" / "scores.parquet")["score"], expected, atol=1e-6)


def test_report_reads_the_scores(judged, draw_scored, tmp_path):
    write_pairs(draw_scored(count=200), tmp_path / "tune_scores.parquet")
    report(
        judged / "scores.parquet",
        threshold_from=tmp_path / "tune_scores.parquet",
        out=tmp_path / "report",
        resamples=100,
    )
    groups = pd.read_csv(tmp_path / "report" / "groups.csv")
    assert set(groups.loc[groups["grouping"] == "type", "group"]) >= set(KINDS)


def test_audit_is_given_a_row_per_image(judged, table):
    people = read_people(judged / "faces.csv")
    faces, arrays = read_arrays(judged / "embeddings.npz")
    assert list(people["face"]) == faces == sorted(read_arrays(table)[0])
    assert arrays["embedding"].shape == (len(people), SIZE)
    assert people["person"].is_unique
    for row in people.itertuples():
        kind, _, number = row.person.split("_")
        assert row.gender == ROLE_GENDER["a" if number == "1" else "b"][kind]
        assert row.family == row.person[:-2]


def test_a_model_sees_faces_brought_to_its_template(sound, tmp_path, monkeypatch):
    monkeypatch.setattr("swinface.inference.multiplies_bfloat16", lambda device: False)
    torch.manual_seed(0)
    model = KinFace(TINY, width=16, size=8)
    model.save_pretrained(tmp_path / "run")
    options = ["--model", tmp_path / "run", "--out", tmp_path / "out"]
    assert kinfacew(sound, *options) == 0
    faces, arrays = read_arrays(tmp_path / "out" / "embeddings.npz")
    pixels = np.stack([crop_face(np.asarray(Image.open(sound / face)), CROP) for face in faces[:3]])
    with torch.inference_mode():
        wanted = model.eval()(torch.from_numpy(pixels).permute(0, 3, 1, 2))["embedding"]
    np.testing.assert_allclose(arrays["embedding"][:3], wanted, atol=1e-5)


def test_a_model_of_embeddings_reads_its_inputs(sound, table, tmp_path, capsys):
    KinFace(embedding_size=SIZE, width=16, size=8).save_pretrained(tmp_path / "run")
    options = [sound, "--model", tmp_path / "run", "--out", tmp_path / "out"]
    assert kinfacew(*options) == 2
    assert "add --inputs" in capsys.readouterr().err
    assert kinfacew(*options, "--inputs", table) == 0
    assert read_arrays(tmp_path / "out" / "embeddings.npz")[1]["embedding"].shape == (120, 8)


def test_a_type_without_its_list_is_reported(root, table, tmp_path, capsys):
    (root / "meta_data" / "md_pairs.mat").unlink()
    assert kinfacew(root, "--embeddings", table, "--out", tmp_path / "out") == 0
    assert "missing: mother and daughter" in capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert record["missing"] == ["md"]
    assert {row["type"] for row in record["results"]} == {"fd", "fs", "ms", "mean"}


def break_list(kind: str, edit):
    def broken(root: Path) -> None:
        rows = rows_of(kind)
        edit(rows)
        write_list(root / "meta_data" / f"{kind}_pairs.mat", rows)

    return broken


def truncate(root: Path) -> None:
    path = root / "meta_data" / "fs_pairs.mat"
    path.write_bytes(path.read_bytes()[:900])


def misplace(root: Path) -> None:
    """Eight bytes are lost: scipy takes the next for a type, and reads beyond its table of types."""
    path = root / "meta_data" / "fs_pairs.mat"
    content = path.read_bytes()
    path.write_bytes(content[:225] + content[233:])


def rename_meta_data(root: Path) -> None:
    (root / "meta_data").rename(root / "lists")


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (rename_meta_data, ["KinFaceW-T", "meta_data"]),
        (truncate, ["fs_pairs.mat", "not a list of KinFaceW"]),
        (misplace, ["fs_pairs.mat", "not a list of KinFaceW"]),
        (lambda root: (root / "meta_data/fs_pairs.mat").write_text("no such file"), ["fs_pairs.mat"]),
        (lambda root: savemat(root / "meta_data/fs_pairs.mat", {"other": 1}), ["fs_pairs.mat", "pairs"]),
        (lambda root: savemat(root / "meta_data/fs_pairs.mat", {"pairs": np.ones((4, 3))}), ["fs_pairs.mat"]),
        (break_list("md", lambda rows: rows.__setitem__(4, (6, 1, *rows[4][2:]))), ["md_pairs.mat", "row 5", "fold"]),
        (break_list("md", lambda rows: rows.__setitem__(4, (1, 2, *rows[4][2:]))), ["md_pairs.mat", "row 5", "kin"]),
        (break_list("md", lambda rows: rows.__setitem__(0, (1, 1, "md_001_1.jpg", "../b.jpg"))), ["row 1", "image2"]),
        (break_list("md", lambda rows: rows.__delitem__(slice(-6, None))), ["md_pairs.mat", "fold 5"]),
        (lambda root: (root / "images/father-son/fs_002_1.jpg").unlink(), ["fs_002_1.jpg", "no such image"]),
    ],
)
def test_bad_input_is_one_message_and_leaves_nothing(damage, named, root, table, tmp_path, capsys):
    damage(root)
    assert kinfacew(root, "--embeddings", table, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert error.startswith("kinface kinfacew: error: ")
    assert error.count("\n") == 1
    assert all(name in error for name in named), error
    assert not (tmp_path / "out").exists()


def test_options_that_exclude_each_other(sound, table, tmp_path, capsys):
    assert kinfacew(sound, "--embeddings", table, "--model", tmp_path, "--out", tmp_path / "out") == 2
    assert "one of --model and --embeddings" in capsys.readouterr().err
    assert kinfacew(sound, "--embeddings", table, "--inputs", table, "--out", tmp_path / "out") == 2
    assert "--inputs" in capsys.readouterr().err


def test_a_list_cut_anywhere_is_refused(root):
    path = root / "meta_data" / "fd_pairs.mat"
    whole = path.read_bytes()
    for length in range(0, len(whole) - 8, len(whole) // 10):  # a process for each
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"fd_pairs.mat"):
            read_kinfacew(root)


def test_kinfacew_one(shared_data, draw_scored, tmp_path):
    root, out = shared_data / "KinFaceW-I", tmp_path / "out"
    if not root.is_dir():
        pytest.skip(f"no {root}")
    paths = sorted((root / "images").glob("*/*.jpg"))
    small = [np.asarray(Image.open(path).convert("L").resize((4, 4)), dtype=float).ravel() for path in paths]
    values = np.array(small) - np.mean(small, axis=0)
    np.savez(tmp_path / "small.npz", face=[path.relative_to(root).as_posix() for path in paths], embedding=values)
    assert kinfacew(root, "--embeddings", tmp_path / "small.npz", "--out", out) == 0
    results = pd.read_csv(out / "results.csv").set_index(["method", "type"])
    counts = {"fd": 268, "fs": 312, "md": 254, "ms": 232, "mean": 1066}  # the authors' own
    assert results.loc["cosine"]["pairs"].to_dict() == counts
    assert (results.loc["cosine"]["kin"] * 2).to_dict() == counts
    assert (results.loc["cosine"]["families"] * 2).to_dict() == counts
    assert len(pd.read_csv(out / "faces.csv")) == 1066
    scored = read_pairs(out / "scores.parquet", scored=True)
    families = pd.concat([scored[[f"family_{side}", "fold"]].set_axis(["family", "fold"], axis=1) for side in "ab"])
    assert not families.drop_duplicates()["family"].duplicated().any()  # none is in two folds
    write_pairs(draw_scored(count=200), tmp_path / "tune_scores.parquet")
    report(out / "scores.parquet", threshold_from=tmp_path / "tune_scores.parquet", out=tmp_path / "r", resamples=100)
    groups = pd.read_csv(tmp_path / "r" / "groups.csv").query("grouping == 'type'").set_index("group")
    assert groups.loc[[*KINDS], "pairs"].to_dict() == {kind: counts[kind] for kind in KINDS}
