"""``kinface probe``: what it writes and prints, whose faces it audits, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kinface.data.fiw import read_people
from kinface.leakage.leakage import RULE, Leakage, compare_leakage, probe, probe_leakage
from kinface.leakage.probes import PROBES
from kinface.report.plots import plot_leakage
from swinface.data.embeddings import Embeddings, read_arrays, write_embeddings
from tests.commands import run_kinface

pytestmark = pytest.mark.usefixtures("weak_mlp")

SETTINGS = {"seeds": 2, "folds": 2, "resamples": 100}


def measure(embedding: np.ndarray, people: pd.DataFrame, attribute: str, **options: object) -> Leakage:
    labels, families = people[attribute], people["family"]
    options = {"persons": people["person"], "attribute": attribute, "kinds": ["linear"], **SETTINGS, **options}
    return probe_leakage(embedding, labels, families, **options)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")


@pytest.fixture
def files(tmp_path) -> Path:
    """Embeddings that know race, a level that does not, another model's in another order; and whose faces they are."""
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(90), 2)
    people = pd.DataFrame({"face": [f"{row}.jpg" for row in range(180)], "person": [f"P{it}" for it in person]})
    people["family"] = [f"F{it // 3}" for it in person]
    people["split"] = np.where(person < 60, "val", "train")
    people["race"] = np.array(["African", "Asian"])[person // 3 % 2]
    people["gender"] = np.array(["f", "m"])[person % 2]
    people["race_source"] = "predicted by nobody"
    people.to_csv(tmp_path / "people.csv", index=False)
    people.to_parquet(tmp_path / "people.parquet")
    noise = rng.normal(size=(180, 4))
    known = noise + 4 * (people["race"] == "Asian").to_numpy()[:, None]
    faces = list(people["face"])
    write_embeddings(tmp_path / "ours.npz", faces, known, {"FM1": noise})
    write_embeddings(tmp_path / "other.npz", faces[::-1], noise[::-1], {"FM2": noise[::-1]})
    return tmp_path


def call(files: Path, *more: str, people: str = "people.csv", kind: str = "linear") -> int:
    settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
    where = ["--people", str(files / people), "--out", str(files / "out")]
    return run_kinface("probe", files / "ours.npz", *where, *settings, f"--kind={kind}", *more)


def read_record(files: Path) -> dict:
    return json.loads((files / "out" / "leakage.json").read_text(), parse_constant=pytest.fail)


def test_it_writes_a_table_a_record_and_a_figure(files, capsys):
    (files / "out").mkdir()
    (files / "out" / "mine.txt").write_text("stays")
    assert call(files, "--attribute", "race", "--attribute", "gender", "--split", "val", "--kind", "mlp") == 0
    assert {path.name for path in (files / "out").iterdir()} == {
        "leakage.csv", "leakage.json", "leakage.png", "mine.txt",
    }  # fmt: skip
    table, record = pd.read_csv(files / "out" / "leakage.csv"), read_record(files)
    assert len(table) == len(record["leakage"]) == 2 * 2 * 2
    assert list(table["representation"].unique()) == ["embedding", "FM1"]
    assert record["rule"] == RULE
    assert record["sources"] == {"race": "predicted by nobody"}
    assert (record["split"], record["seeds"], record["folds"], record["differences"]) == ("val", 2, 2, [])
    people = read_people(files / "people.csv")
    own = measure(read_arrays(files / "ours.npz")[1]["FM1"][:120], people[:120], "gender", kinds=PROBES).table
    rows = table[(table["representation"] == "FM1") & (table["attribute"] == "gender")]
    pd.testing.assert_frame_equal(
        rows[own.columns].drop(columns=["left_out", "leaks"]).reset_index(drop=True),
        own.drop(columns=["left_out", "leaks"]).astype({"people": int}),
    )
    linear = table[(table["probe"] == "linear") & (table["attribute"] == "race")].set_index("representation")
    assert linear["leaks"].to_dict() == {"embedding": True, "FM1": False}
    assert linear["faces"].to_list() == [120, 120]
    shown = capsys.readouterr().out
    assert "{permuted_low:.3f} to {permuted_high:.3f}".format(**linear.loc["FM1"]) in shown
    value, low, high = linear.loc["embedding", [f"balanced_accuracy{end}" for end in ("", "_low", "_high")]]
    assert f"{value:.3f} [{low:.3f}, {high:.3f}]" in shown
    assert "race, predicted by nobody: African, Asian" in shown
    assert "120 faces, 60 people, 20 families of val" in shown
    assert RULE in shown
    assert "probes fitted on more families read more: add --fit-on train\n" in shown


def test_people_are_attacked_by_the_mean_of_their_faces_and_the_best_attacker_is_named(files, capsys):
    more = ["--attribute", "race", "--kind", "knn", "--each", "person", "--labelled", "20"]
    assert call(files, *more) == 0
    table, record = pd.read_csv(files / "out" / "leakage.csv"), read_record(files)
    assert (record["each"], record["labelled"]) == ("person", 20)
    assert table["faces"].to_list() == [90] * 4
    embedding = read_arrays(files / "ours.npz")[1]["embedding"]
    people = read_people(files / "people.csv")
    means = (embedding[::2] + embedding[1::2]) / 2  # two faces each, one after the other
    rows = people[::2].assign(order=people["person"][::2].to_numpy()).reset_index(drop=True).sort_values("order")
    own = measure(means[rows.index], rows.reset_index(drop=True), "race", kinds=["linear", "knn"], labelled=20)
    found = table[table["representation"] == "embedding"].set_index("probe")["balanced_accuracy"]
    assert found.to_dict() == pytest.approx(own.table.set_index("probe")["balanced_accuracy"].to_dict())
    (worst,) = [row for row in record["worst"] if row["representation"] == "embedding"]
    assert worst["balanced_accuracy"] == pytest.approx(found.max())
    assert f"embedding: best of these ({worst['probe']}): {found.max():.3f}" in capsys.readouterr().out


def test_another_model_is_compared_on_the_same_faces_and_resamples(files, capsys):
    assert call(files, "--attribute", "race", "--compare", str(files / "other.npz"), people="people.parquet") == 0
    table, record = pd.read_csv(files / "out" / "leakage.csv"), read_record(files)
    assert [tuple(row) for row in table[["file", "representation"]].drop_duplicates().to_numpy()] == [
        (str(files / "ours.npz"), "embedding"),
        (str(files / "ours.npz"), "FM1"),
        (str(files / "other.npz"), "embedding"),
    ]
    people, ours = read_people(files / "people.csv"), read_arrays(files / "ours.npz")[1]
    measured = [measure(ours[name], people, "race") for name in ("embedding", "FM1")]
    expected = compare_leakage(*measured)  # the other model's embedding is what FM1 holds
    for row, found in zip(expected.itertuples(), record["differences"], strict=True):
        assert (found["representation"], found["probe"], found["attribute"]) == ("embedding", row.probe, "race")
        assert [found[name] for name in ("difference", "low", "high")] == pytest.approx(
            [row.difference, row.low, row.high]
        )
    assert record["differences"][0]["low"] > 0
    shown = capsys.readouterr().out
    assert f"{record['differences'][0]['difference']:+.3f}" in shown
    assert "--fit-on" not in shown  # the faces of all splits are attacked


def test_the_figure_shows_intervals_chance_and_what_permuted_labels_reach():
    rows = [
        {"file": "a.npz", "representation": name, "attribute": it, "probe": probe, "chance": 1 / 3, "leaks": leaks,
         "balanced_accuracy": 0.6, "balanced_accuracy_low": 0.5, "balanced_accuracy_high": 0.65,
         "permuted": 0.34, "permuted_high": 0.38, "faces": 1234, "people": 50, "families": 20, "classes": "x, y, z"}
        for name in ("embedding", "FM1")
        for it in ("race", "gender")
        for probe, leaks in (("linear", True), ("mlp", False))
    ]  # fmt: skip
    figure = plot_leakage(pd.DataFrame(rows).astype({"leaks": "boolean"}))
    race = figure.axes[0]
    assert "race: 1,234 faces, 50 people,\n20 families" in race.get_title(loc="left")
    assert [label.get_text() for label in race.get_yticklabels()] == ["embedding", "FM1"]
    assert race.get_xlabel() == "balanced accuracy"
    assert race.lines[0].get_xdata() == pytest.approx([1 / 3, 1 / 3])
    segments = [segment[:, 0] for lines in race.collections[::2] for segment in lines.get_segments()]
    np.testing.assert_allclose(segments, [[0.5, 0.65]] * 4)
    np.testing.assert_allclose(
        [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in race.patches], [[0.3, 0.38]] * 4
    )
    filled, hollow = (points.get_facecolors() for points in race.collections[1::2])
    assert not (filled == 1).all(axis=1).any()
    assert (hollow == 1).all()
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {
        "linear probe", "mlp probe", "chance", "labels permuted",
    }  # fmt: skip


def test_it_needs_no_torch():
    code = "import sys, kinface.cli.probe; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_people_come_from_a_prepared_folder(synthetic):
    people = read_people(synthetic)
    faces, persons = (pd.read_parquet(synthetic / f"{name}.parquet") for name in ("faces", "people"))
    assert list(people["face"]) == list(faces["face"])
    known = persons.set_index("person")
    for row in people.sample(20, random_state=0).itertuples():
        person = known.loc[row.person]
        assert (row.family, row.split) == (person["family"], person["split"])
        assert (row.race, row.gender, row.race_source) == (person["race"], person["gender"], person["race_source"])


def test_arrays_of_a_table_of_embeddings(tmp_path):
    values = np.arange(6).reshape(3, 2)
    path = tmp_path / "table.npz"
    np.savez(
        path, FM1=values * 2.0, face=["a", "b", "c"], embedding=values, names=[["x"], ["y"], ["z"]], mean=values[0]
    )
    faces, arrays = read_arrays(path)
    assert (faces, list(arrays)) == (["a", "b", "c"], ["embedding", "FM1"])
    assert arrays["embedding"].dtype == arrays["FM1"].dtype == np.float32
    np.testing.assert_array_equal(arrays["FM1"], values * 2)
    assert Embeddings(path)[["c", "a"]].tolist() == [[4, 5], [0, 1]]


def test_splits_may_be_numbers_of_folds(files, capsys):
    people, table = pd.read_csv(files / "people.csv"), Embeddings(files / "ours.npz")
    assert call(files, "--attribute", "race", "--split", "val") == 0
    expected = pd.read_csv(files / "out" / "leakage.csv")
    people.assign(split=people["split"].map({"val": 0, "train": 1})).to_parquet(files / "folds.parquet")
    assert call(files, "--attribute", "race", "--split", "0", people="folds.parquet") == 0
    pd.testing.assert_frame_equal(pd.read_csv(files / "out" / "leakage.csv"), expected)
    folds = read_people(files / "folds.parquet").astype({"split": int})
    found = probe(table.values, folds, "race", split=0, kinds=["linear"], **SETTINGS).table
    np.testing.assert_array_equal(found["faces"], expected["faces"][:1])
    assert call(files, "--attribute", "race", "--split", "2", people="folds.parquet") == 2
    assert "their splits are 0, 1." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"attribute": "height"}, ["--attribute height", "people.csv", "gender"]),
        ({"attribute": "family"}, ["--attribute family"]),
        ({"split": "tests"}, ["--split tests", "train, val"]),
        ({"seeds": "0"}, ["seeds 0", "one seed"]),
        ({"folds": "1"}, ["folds 1"]),
        ({"folds": "16"}, ["fewer than two classes have 16 families", "African (15 families)"]),
        ({"resamples": "10"}, ["resamples is 10"]),
        ({"seed": "-1"}, ["seed is -1"]),
        ({"people": "none.csv"}, ["none.csv: no such file"]),
        ({"people": "people.txt"}, ["people.txt", "parquet"]),
        ({"people": "short.csv"}, ["ours.npz: 179.jpg", "short.csv; add it there"]),
        ({"people": "twice.csv"}, ["twice.csv: row 181", "0.jpg is named twice"]),
        ({"people": "nobody.csv"}, ["nobody.csv: row 1: person is missing"]),
        ({"people": "unnamed.csv"}, ["unnamed.csv: no column 'person'"]),
        ({"people": "broken.parquet"}, ["broken.parquet: not a readable table"]),
        ({"compare": "ours.npz"}, ["--compare", "another model"]),
        ({"kind": "quadratic"}, ["no attacker 'quadratic'", "linear, mlp, kernel, trees, knn, qda"]),
        ({"compare": "half.npz"}, ["half.npz: 3.jpg (one of 177): there is no embedding of it"]),
        ({"compare": "none.npz"}, ["none.npz: no such table of embeddings"]),
    ],
)
def test_what_cannot_be_audited_is_refused(files, options, said, capsys):
    table = pd.read_csv(files / "people.csv")
    table[:-1].to_csv(files / "short.csv", index=False)
    pd.concat([table, table[:1]]).to_csv(files / "twice.csv", index=False)
    table.assign(person=None).to_csv(files / "nobody.csv", index=False)
    table.drop(columns="person").to_csv(files / "unnamed.csv", index=False)
    (files / "broken.parquet").write_text("no table")
    write_embeddings(files / "half.npz", ["0.jpg", "1.jpg", "2.jpg"], np.ones((3, 4)))
    options = {"attribute": "race", "people": "people.csv"} | options
    options |= {name: str(files / options[name]) for name in ("compare",) if name in options}
    people = options.pop("people")
    more = [f"--{name}={value}" for name, value in options.items()]
    assert call(files, *more, people=people) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for text in said:
        assert text in error
    assert not (files / "out").exists()
