"""What a sweep reads and refuses, runs that fail, and custom attributes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import kinface
from kinface.data.families import write_tables
from kinface.data.fiw import read_families
from kinface.data.pairs import read_pairs, write_pairs
from kinface.data.sampling import sample_pairs
from kinface.experiments.workers import carry_out_all
from swinface.data.embeddings import read_arrays, write_embeddings
from tests.ablations import ABLATION, sweep

OWN = """
from kinface.debias.adversaries import Hider

class Own(Hider):
    def __init__(self, reading):
        super().__init__()
        self.classes = reading.classes

    def forward(self, inputs):
        return inputs.new_zeros(len(inputs), self.classes)

    def hide(self, inputs, labels, class_weights, strength):
        return strength * inputs.square().mean()
"""


@pytest.fixture(scope="module")
def root(embedded_families) -> Path:
    return embedded_families


@pytest.mark.slow
def test_a_failing_run_is_told_and_the_others_go_on(root, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("kinface.experiments.sweep.carry_out_all", carry_out_all)  # in processes
    ablation = ABLATION.replace("[0, 1]", "[0]").replace("[0.5, 2]", "[2]").replace("[African,", "[Martian,")
    ablation = ablation.replace("Asian, Caucasian]", "Venusian]")
    assert sweep(root, tmp_path / "out", ablation=ablation) == 2
    said = capsys.readouterr()
    assert "[1/2] none-0: AUC" in said.out
    assert "[2/2] reversal-2-0: FAILED" in said.out
    assert "Martian" in said.out
    assert "1 of 2 runs failed" in said.err
    assert "Traceback" in (tmp_path / "out" / "runs" / "reversal-2-0" / "log.txt").read_text()
    assert list(pd.read_csv(tmp_path / "out" / "frontier.csv")["method"]) == ["none"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("width: 16", "widht: 16"), "widht"),
        (("method: mlp", "method: lmp"), "methods.reversal: "),
        (("{method: mlp}", "{method: mlp, methud: mlp}"), "methods.reversal: "),
        (("temperature: 0.1", "temperature: 0"), "temperature"),
        (("max_epochs: 2", "max_epochs: many"), "max_epochs"),
    ],
)
def test_a_configuration_that_fit_would_not_read_is_refused_before_any_run(change, named, root, tmp_path, capsys):
    assert sweep(root, tmp_path / "out", ablation=ABLATION.replace(*change)) == 2
    assert named in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [(("--resamples", 99), "resamples is 99"), (("--probe-seeds", 0), "seeds is 0"), (("--workers", 0), "--workers 0")],
)
def test_numbers_that_are_too_small_are_refused(options, named, root, tmp_path, capsys):
    assert sweep(root, tmp_path / "out", *options) == 2
    assert named in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_training_families_are_no_measure(root, tmp_path, capsys):
    families = read_families(root)
    write_pairs(sample_pairs(families, "train"), tmp_path / "train.parquet")
    assert sweep(root, tmp_path / "out", "--list", tmp_path / "train.parquet") == 2
    assert "training families" in capsys.readouterr().err


def test_a_frozen_trunk_and_embeddings_exclude_each_other(root, tmp_path, capsys):
    assert sweep(root, tmp_path / "out", "--swinface", "shipped", "--cache", tmp_path) == 2
    assert "give embeddings, or swinface and cache" in capsys.readouterr().err


def test_any_attributes_are_measured_and_matched_by(tmp_path, here, capsys):
    """Two methods by an age band and gender, on families such as those of the demo."""
    families, images = kinface.make_families(40, seed=1, photos=1.5)
    band = np.random.default_rng(0).choice(["older", "younger"], len(families.people))
    people = families.people.assign(age_band=band, age_band_source="drawn")
    root = tmp_path / "demo"
    root.mkdir()
    write_tables(replace(families, people=people), root, {})
    write_pairs(sample_pairs(families, "tune"), root / "pairs.parquet")
    write_pairs(sample_pairs(families, "val"), root / "list.parquet")
    embedding = images[:, ::28, ::28].reshape(len(images), -1) / 255
    write_embeddings(root / "embeddings.npz", [*families.faces["face"]], embedding)
    ablation = (
        ABLATION.split("methods:")[0].replace("[0, 1]", "[0]")
        + """methods:
  none: {}
  leace:
    model:
      attributes: {age_band: [older, younger], gender: [f, m]}
      erase: [{attributes: [age_band, gender], method: leace}]
"""
    )
    named = ["--attribute", "age_band", "--attribute", "gender", "--match", "type", "--match", "age_band"]
    assert sweep(root, tmp_path / "out", *named, "--show", "leace", ablation=ablation) == 0
    assert "age_band: older, younger" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out" / "frontier.csv").set_index("method")
    assert [*table.index] == ["none", "leace"] and not [name for name in table if name.startswith("race")]
    assert table.loc["leace", ["age_band_best", "gender_best", "age_band_garbe"]].notna().all()
    assert table.loc["leace", "gender_linear"] < table.loc["none", "gender_linear"]
    pairs = read_pairs(tmp_path / "out" / "matched.parquet")
    kin, other = (pairs[pairs["kin"] == it].reset_index() for it in (True, False))
    bands = people.set_index("person")["age_band"]
    assert kin["person_b"].map(bands).equals(other["person_b"].map(bands))
    assert sweep(root, tmp_path / "other", "--attribute", "hair", ablation=ablation) == 2
    assert "no attribute 'hair' with classes; there are" in capsys.readouterr().err


def test_runs_of_other_inputs_are_not_compared(root, tmp_path, here, monkeypatch, capsys):
    """A run is done, one is not, and what they learn from is another when the sweep goes on."""
    copy, out = shutil.copytree(root, tmp_path / "families"), tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("swinface.registry._BESIDE", [])  # the other tests' folders have files of the same name
    own = Path("own_parting.py")
    own.write_text(OWN)
    ablation = ABLATION.replace("[0, 1]", "[0]").replace("[0.5, 2]", "[2]").replace("mlp", "own_parting.Own")
    assert sweep(copy, out, ablation=ablation) == 0
    shutil.rmtree(out / "runs" / "none-0")
    capsys.readouterr()

    def embed_otherwise(path: Path) -> None:
        faces, arrays = read_arrays(path)
        write_embeddings(path, faces, arrays["embedding"][::-1])

    def label_otherwise(path: Path) -> None:
        people = pd.read_parquet(path)
        people.assign(race=people["race"].to_numpy()[::-1]).to_parquet(path)

    for name, path, change in (
        ("data.embeddings", copy / "embeddings.npz", embed_otherwise),
        ("data.root", copy / "people.parquet", label_otherwise),
        ("own_parting", own, lambda path: path.write_text(OWN + "# changed")),
    ):
        before = path.read_bytes()
        change(path)
        assert sweep(copy, out, ablation=ablation) == 2
        said = capsys.readouterr()
        assert f"reversal-2-0: {name} was changed since this run; restore it" in said.err and not said.out
        path.write_bytes(before)
    assert sweep(copy, out, ablation=ablation) == 0
