"""Comparisons of trainings: each run is made once, goes on where it was, and is compared on the same resamples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from swinface.benchmarks.benchmark import Result
from swinface.files import InputError
from swinface.training.comparison import Comparison, tabulate, train_runs
from tests.commands import run_swinface

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "swinface"
TINY = {"embed_dim": 8, "depths": [0, 0, 1, 1], "num_heads": [1, 1, 1, 1], "convolutions": [0, 0, 0, 0], "width": 8}


@pytest.fixture(scope="module")
def settings(face_sets, tmp_path_factory) -> dict:
    """Options of a comparison of two short trainings on faces with ages and expressions."""

    def source(name: str, root: str) -> dict:
        return {"class_path": f"swinface.data.datasets.{name}", "init_args": {"root": str(face_sets / root)}}

    config = {
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "devices": 1, "enable_progress_bar": False},
        "model": {"swinface": TINY},
        "data": {
            "epoch_size": 16,
            "streams": {
                "age_gender": {"batch_size": 4, "sources": [source("UTKFace", "UTKFace")]},
                "expression": {"batch_size": 4, "sources": [source("RafDb", "RAF-DB")]},
            },
        },
    }
    path = tmp_path_factory.mktemp("configs") / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    age = {"class_path": "swinface.benchmarks.protocols.Age", "init_args": {"source": source("UTKFace", "UTKFace")}}
    expression = {"init_args": {"source": source("RafDb", "RAF-DB")}}
    expression["class_path"] = "swinface.benchmarks.protocols.Expression"
    return {
        "configs": [str(path)],
        "reference": "together",
        "runs": {"together": {}, "age": {"model": {"tasks": ["age"]}}},
        "benchmarks": {"ages": age, "expressions": expression},
    }


def compare(settings: dict, folder: Path, out: Path) -> int:
    (folder / "comparison.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    options = ["--config", str(folder / "comparison.yaml"), "--out", str(out)]
    return run_swinface("compare", *options)


@pytest.mark.slow
def test_runs_are_trained_once_and_compared_where_they_have_the_same_figure(settings, tmp_path, capfd):
    out = tmp_path / "out"
    assert compare(settings, tmp_path, out) == 0
    said = capfd.readouterr().out
    assert "to together: " in said
    table = pd.read_csv(out / "comparison.csv").set_index(["metric", "run"])
    assert set(table.index) == {
        ("MAE years", "together"),
        ("MAE years", "age"),
        ("mean error years", "together"),
        ("mean error years", "age"),
        ("accuracy %", "together"),
        ("balanced accuracy %", "together"),
    }
    assert {"race white", "gender male"} <= set(table.loc["MAE years"]["group"])
    ages = table[table["group"].isna()].loc["MAE years"]
    assert ages["difference"]["age"] == pytest.approx(ages["ours"]["age"] - ages["ours"]["together"])
    assert ages["difference_low"]["age"] <= ages["difference"]["age"] <= ages["difference_high"]["age"]
    written = {name: (out / "runs" / name / "model.safetensors").stat().st_mtime_ns for name in settings["runs"]}
    (out / "comparison.csv").unlink()
    assert compare(settings, tmp_path, out) == 0
    assert {name: (out / "runs" / name / "model.safetensors").stat().st_mtime_ns for name in written} == written
    pd.testing.assert_frame_equal(pd.read_csv(out / "comparison.csv").set_index(["metric", "run"]), table)
    changed = settings | {"runs": {"together": {}, "age": {"model": {"tasks": ["gender"]}}}}
    described = (out / "runs" / "age.yaml").read_text()
    for half_done in (False, True):
        if half_done:
            (out / "runs" / "age" / "model.safetensors").unlink()
        assert compare(changed, tmp_path, out) == 2
        said = capfd.readouterr().err
        assert "age: holds an unfinished run of another" in said if half_done else "was run with other settings" in said
        assert (out / "runs" / "age.yaml").read_text() == described


@pytest.mark.slow
def test_a_run_that_fails_is_named(settings, tmp_path, capfd):
    changed = settings | {"runs": {"together": {}, "broken": {"model": {"tasks": ["beauty"]}}}}
    assert compare(changed, tmp_path, tmp_path / "out") == 2
    said = capfd.readouterr().err
    assert "no task 'beauty'" in said
    assert "broken: the run failed" in said
    assert (tmp_path / "out" / "runs" / "together" / "model.safetensors").exists()


def test_a_run_that_ends_after_the_comparison_was_killed_is_complete(tmp_path, monkeypatch):
    (tmp_path / "config.yaml").write_text("data: {epoch_size: 16}")
    comparison = Comparison([tmp_path / "config.yaml"], {"a": {}, "b": {"model": {"tasks": ["age"]}}}, "a")
    started = []

    def end(command, check):
        folder = tmp_path / "out" / "runs" / "ab"[len(started)]
        started.append(folder)
        folder.mkdir()
        (folder / "model.safetensors").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("swinface.training.comparison.subprocess.run", end)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train_runs(comparison, tmp_path / "out")
    assert train_runs(comparison, tmp_path / "out") == dict(zip("ab", started, strict=True))
    with pytest.raises(InputError, match="runs/b: was run with other settings"):
        train_runs(replace(comparison, runs={"a": {}, "b": {"model": {"tasks": ["gender"]}}}), tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"reference": "nothing"}, "'nothing' is not a run"),
        ({"runs": {"together": {}}}, "two or more"),
        ({"runs": {"together": {}, "../out": {}}}, "the name of a folder"),
        ({"configs": ["nowhere.yaml"]}, "nowhere.yaml"),
        ({"benchmarks": {"ages": {"class_path": "Nothing"}}}, "Nothing"),
    ],
)
def test_bad_input_is_named(settings, changes, named, tmp_path, capfd):
    assert compare(settings | changes, tmp_path, tmp_path / "out") == 2
    assert named in capfd.readouterr().err


def test_differences_are_those_of_the_same_resamples():
    """Two models whose figures vary with the people, but hardly their difference."""
    random = np.random.default_rng(0)
    people = random.normal(80, 5, 1000)
    draws = {"a": people, "b": people + 1 + random.normal(0, 0.1, 1000)}
    figures = {
        name: {("set", "accuracy %"): Result.drawn("accuracy %", 80 + (name == "b"), values, 50)}
        for name, values in draws.items()
    }
    table = tabulate(figures, "a").set_index("run")
    assert table["high"]["b"] - table["low"]["b"] > 15
    assert table["difference"]["b"] == pytest.approx(1)
    assert 0.7 < table["difference_low"]["b"] < 1 < table["difference_high"]["b"] < 1.3
    assert np.isnan(table["difference"]["a"])


def test_groups_are_compared_as_all_faces_are():
    figures = {}
    for run, years in (("a", (4.0, 6.0)), ("b", (5.0, 5.5))):
        groups = {
            ("race", race): Result.drawn("MAE years", mean, mean + np.linspace(-1, 1, 200), 10)
            for race, mean in zip(("asian", "black"), years, strict=True)
        }
        figures[run] = {("age", "MAE years"): Result("MAE years", sum(years) / 2, 20, groups=groups)}
    table = tabulate(figures, "a").set_index(["group", "run"])
    assert table["difference"].dropna().to_dict() == {
        ("", "b"): 0.25,
        ("race asian", "b"): 1,
        ("race black", "b"): -0.5,
    }
    assert table.loc[("race asian", "b"), ["difference_low", "difference_high", "n"]].tolist() == pytest.approx(
        [1, 1, 10]
    )


def test_an_empty_section_of_a_configuration_changes_nothing(tmp_path):
    files = [tmp_path / name for name in ("base.yaml", "overlay.yaml")]
    for file, text in zip(files, ("data: {epoch_size: 16}", "data:\nmodel: {tasks: [age]}"), strict=True):
        file.write_text(text)
    configured = Comparison(files, {"a": {}, "b": {}}, "a").configure("a")
    assert configured == {"data": {"epoch_size": 16}, "model": {"tasks": ["age"]}}


def test_the_comparisons_that_ship_train_what_they_say():
    for name, reference in (("single_vs_multi", "together"), ("mlca_ablation", "mlca")):
        content = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
        assert content["reference"] == reference
        files = [CONFIGS.parents[1] / file for file in content["configs"]]
        comparison = Comparison(files, content["runs"], reference)
        for run in content["runs"]:
            model = comparison.configure(run)["model"]
            if name == "mlca_ablation":
                assert model["swinface"].get("levels") == ([4] if run in ("without_fusion", "without_both") else None)
                assert model["swinface"].get("channel_attention", True) == (run in ("mlca", "without_fusion"))
            elif run not in ("together", "recognition"):
                assert (model["tasks"], model["recognition"], model["distillation"]) == ([run], None, 0.0)
            assert model["swinface"]["embed_dim"] == 32
