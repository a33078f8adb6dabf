"""The three tracks from the command line, on synthetic families and on lists in RFIW's own form."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from kinface.data.fiw import read_families
from kinface.data.pairs import read_pairs, write_pairs
from kinface.models.kinface import KinFace
from swinface.data.embeddings import write_embeddings
from tests.commands import run_kinface

TINY = {"embed_dim": 8, "depths": [1, 1, 1], "num_heads": [1, 1, 1], "patch_size": 4}


@pytest.fixture(scope="module")
def table(synthetic, tmp_path_factory) -> Path:
    """Embeddings of a recogniser that sees families, a little."""
    faces = read_families(synthetic).faces
    rng = np.random.default_rng(0)
    of_family = {family: rng.normal(size=8) for family in sorted(faces["family"].unique())}
    values = np.stack([of_family[family] for family in faces["family"]]) + rng.normal(size=(len(faces), 8))
    path = tmp_path_factory.mktemp("table") / "faces.npz"
    write_embeddings(path, list(faces["face"]), values)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    network, folder = KinFace(TINY, width=16, size=8), tmp_path_factory.mktemp("model")
    network.threshold.fill_(0.5)
    network.save_pretrained(folder)
    return folder


@pytest.mark.usefixtures("no_figures")
def test_track_1_prints_accuracy_by_type_at_the_validation_threshold(synthetic, table, tmp_path, capsys):
    lists = read_families(synthetic).root / "lists"
    list_, out = lists / "val_choose.txt", tmp_path / "out"
    options = ["--root", synthetic, "--embeddings", table, "--threshold-from", "tune"]
    assert run_kinface("rfiw", "--track", "1", "--list", list_, "--out", out, *options) == 0
    printed = capsys.readouterr().out
    scores, how = read_pairs(out / "scores.parquet", scored=True), json.loads((out / "how.json").read_text())
    predictions = pd.read_csv(out / "predictions.csv")
    assert predictions["index"].tolist() == list(range(len(scores)))
    assert (predictions["kin"] == (scores["score"] >= how["threshold"])).all()
    assert how["intervals_over"] == "families"
    right = predictions["kin"] == scores["kin"]
    for group, rows in [("all pairs", right), ("type fd", right[scores["type"] == "fd"])]:
        assert any(line.startswith(group) and f" {100 * rows.mean():.1f}%" in line for line in printed.splitlines())
    assert (
        run_kinface("report", out / "scores.parquet", "--threshold", how["threshold"], "--out", tmp_path / "page") == 0
    )
    write_pairs(scores.assign(race_a=scores["race_a"].mask(scores.index < 7)), tmp_path / "partly.parquet")
    assert run_kinface("rfiw", "--track", "1", "--list", tmp_path / "partly.parquet", "--out", out, *options) == 0
    said = f"race: {scores['race_b'].isna().sum() + 7} of {len(scores)} pairs have no label and are in no group"
    assert said in capsys.readouterr().out.splitlines()


def test_grandparents_of_a_list_are_swapped_whatever_chooses_the_threshold(synthetic, table, tmp_path):
    listed = read_families(synthetic).root / "lists" / "val_choose.txt"
    official = tmp_path / "official.txt"
    names = {"gmgs": "gfgd", "gfgd": "gmgs", "gfgs": "gmgd", "gmgd": "gfgs"}
    official.write_text(re.sub("|".join(names), lambda found: names[found[0]], listed.read_text()))
    options = ["--root", synthetic, "--embeddings", table, "--threshold-from", "tune"]
    swapped = ["--list", official, "--swap-grandparents"]
    for name, given in (("ours", ["--list", listed]), ("official", swapped)):
        assert run_kinface("rfiw", "--track", "1", *given, *options, "--out", tmp_path / name) == 0
    types = [read_pairs(tmp_path / name / "scores.parquet")["type"].tolist() for name in ("ours", "official")]
    assert types[0] == types[1]


@pytest.mark.parametrize("name", ["val", "val_choose_kfc.txt"])
def test_track_1_takes_a_split_and_kfcs_form(name, synthetic, table, tmp_path):
    lists = read_families(synthetic).root / "lists"
    chosen = name if name == "val" else lists / name
    options = ["--root", synthetic, "--embeddings", table, "--threshold-from", "tune"]
    assert run_kinface("rfiw", "--track", "1", "--list", chosen, "--out", tmp_path / "out", *options) == 0
    assert read_pairs(tmp_path / "out" / "scores.parquet")["score"].notna().all()


def test_track_2_from_a_list_and_a_split_with_a_trained_head(synthetic, table, tmp_path, capsys):
    root = read_families(synthetic).root
    source = ["--root", synthetic, "--embeddings", table]
    head = tmp_path / "head"
    assert run_kinface("triplets", *source, "--out", head, "--epochs", "2", "--width", "8") == 0
    assert "chosen by it" in capsys.readouterr().out
    assert len(pd.read_csv(head / "log.csv")) == 3
    common = ["rfiw", "--track", "2", *source]
    listed = ["--list", root / "lists" / "track2" / "val.txt"]
    assert run_kinface(*common, *listed, "--head", head, "--out", tmp_path / "head_out") == 0
    assert run_kinface(*common, *listed, "--threshold-from", "tune", "--out", tmp_path / "mean") == 0
    assert run_kinface(*common, "--list", "val", "--match", "race", "--head", head, "--out", tmp_path / "matched") == 0
    mean = read_pairs(tmp_path / "mean" / "scores.parquet", scored=True)
    matched = read_pairs(tmp_path / "matched" / "scores.parquet", scored=True)
    figures = pd.read_csv(tmp_path / "mean" / "figures.csv")
    assert figures.loc[0, "auc"] == pytest.approx(roc_auc_score(mean["kin"], mean["score"]))
    assert {"FMD", "FMS"} <= set(figures.loc[figures["grouping"] == "triplet", "group"])
    kin, other = matched[matched["kin"]], matched[~matched["kin"]]
    assert (kin["race_b"].to_numpy() == other["race_b"].to_numpy()).all()
    printed = capsys.readouterr().out
    assert "Youden's J on the tune triplets of the head's training" in printed
    assert "Youden's J on the validation list" in printed


def test_track_3_writes_the_order_of_the_gallery_and_its_figures(synthetic, table, tmp_path, capsys):
    lists = read_families(synthetic).root / "lists" / "track3"
    options = ["--root", synthetic, "--embeddings", table]
    named = ["--list", lists / "probe.txt", "--gallery", lists / "gallery.txt"]
    for fusion in ("mean", "max", "agreement"):
        out = tmp_path / fusion
        assert run_kinface("rfiw", "--track", "3", *named, *options, "--fusion", fusion, "--out", out) == 0
        with np.load(out / "scores.npz") as saved:
            scores, gallery = saved["scores"], saved["gallery"]
        order = np.loadtxt(out / "predictions.csv", delimiter=",", dtype=int)
        assert (np.diff(np.take_along_axis(scores, order, axis=1)) <= 0).all()
        family = pd.Series(gallery).str.extract(r"/(F\d+)/")[0].to_numpy()
        queries = pd.read_csv(out / "queries.csv")
        expected = [average_precision_score(family == row.family, scores[row.query]) for row in queries.itertuples()]
        assert queries["map"].tolist() == pytest.approx(expected)
        assert pd.read_csv(out / "figures.csv").loc[0, "map"] == pytest.approx(np.mean(expected))
    assert run_kinface("rfiw", "--track", "3", "--list", "val", *options, "--out", tmp_path / "split") == 0
    assert (tmp_path / "split" / "predictions.csv").read_bytes() == (tmp_path / "mean" / "predictions.csv").read_bytes()
    assert "6 queries" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:The threshold 0.5000 accepts 100.0%")
def test_official_test_lists_of_unknown_people(synthetic, model, tmp_path, capsys):
    """Flat folders, ``./`` before paths, no families: scores and predictions, and intervals over pairs, said so."""
    families, root = read_families(synthetic), tmp_path / "test"
    faces = [families.root / face for face in families.faces["face"][:40]]
    for number, face in enumerate(faces):
        for place in (f"Test/test-faces/face{number}.jpg", f"probes/probe_subjects/s{number % 3}/{number}.jpg"):
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            (root / place).write_bytes(face.read_bytes())
    pairs = [f"{n} ./Test/test-faces/face{n}.jpg Test/test-faces/face{n + 1}.jpg bb {n % 2}\n" for n in range(30)]
    names = [f"./Test/test-faces/face{n}.jpg" for n in range(33)]
    triplets = [f"{names[n]} {names[n + 1]} {names[n + 2]} {('FMD', 'FMS')[n % 2]} {n // 2 % 2}\n" for n in range(30)]
    lists = {
        "pairs.txt": pairs,
        "triplets.txt": triplets,
        "probe.txt": [f"{n} ./probes/probe_subjects/s{n}\n" for n in range(3)],
        "gallery.txt": [f"{n} {name}\n" for n, name in enumerate(names)],
    }
    for name, lines in lists.items():
        (root / name).write_text("".join(lines))
    options = ["--root", root, "--model", model]
    for track, name in ((1, "pairs.txt"), (2, "triplets.txt")):
        out = tmp_path / f"track{track}"
        assert run_kinface("rfiw", "--track", track, "--list", root / name, *options, "--out", out) == 0
        assert "pairs, as families are unknown" in capsys.readouterr().out
        assert len(pd.read_csv(out / "predictions.csv")) == 30
    searched = ["--list", root / "probe.txt", "--gallery", root / "gallery.txt", "--out", tmp_path / "track3"]
    (tmp_path / "track3").mkdir()
    (tmp_path / "track3" / "figures.csv").write_text("of an earlier search")
    assert run_kinface("rfiw", "--track", 3, *searched, *options) == 0
    assert "families are unknown" in capsys.readouterr().out
    order = np.loadtxt(tmp_path / "track3" / "predictions.csv", delimiter=",", dtype=int)
    assert np.array_equal(np.sort(order, axis=1), np.tile(np.arange(33), (3, 1)))
    assert not (tmp_path / "track3" / "figures.csv").exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--track", 3, "--list", "nowhere.txt"], "--gallery"),
        (["--track", 3, "--list", "val", "--threshold-from", "tune"], "no threshold"),
        (["--track", 1, "--list", "val", "--gallery", "gallery.txt"], "--gallery is for Track 3"),
        (["--track", 1, "--list", "val", "--head", "head"], "--head is for Track 2"),
        (["--track", 2, "--list", "val", "--threshold-from", "tune", "--fusion", "max"], "--fusion is for Track 3"),
        (["--track", 2, "--list", "val", "--swap-grandparents"], "--swap-grandparents is for Track 1"),
        (["--track", 1, "--list", "val", "--swap-grandparents"], "val: swap_grandparents is for a file"),
        (["--track", 2, "--list", "nowhere.txt", "--match", "race"], "--match"),
        (["--track", 2, "--list", "val", "--match", "age", "--threshold-from", "tune"], "age"),
        (["--track", 2, "--list", "val"], "--threshold-from"),
        (["--track", 2, "--list", "nowhere.txt", "--threshold-from", "tune"], "nowhere.txt"),
        (["--track", 2, "--list", "val", "--threshold-from", "val"], "are also in val"),
        (["--track", 4, "--list", "val"], "4"),
        (["--track", 1, "--list", "val", "--model", "shipped"], "one of --model and --embeddings"),
    ],
)
def test_bad_input_is_one_message_and_leaves_nothing(options, named, synthetic, table, tmp_path, capsys):
    assert run_kinface("rfiw", "--root", synthetic, "--embeddings", table, *options, "--out", tmp_path / "out") == 2
    assert named in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
