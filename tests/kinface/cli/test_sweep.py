"""A sweep runs the matrix, goes on where it stopped, and measures all runs alike."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from sklearn.metrics import roc_auc_score

from kinface.data.pairs import read_pairs, score_pairs, write_pairs
from kinface.experiments.runner import read_result
from kinface.fairness.calibration import calibrate
from kinface.models.kinface import KinFace, load_model
from kinface.tradeoff.measure import Protocol
from kinface.training.module import KinshipTraining
from swinface.data.embeddings import Embeddings
from swinface.files import InputError, working_alone
from tests.ablations import ABLATION, QUICK, sweep, write_ablation

PROTOCOL = Protocol(resamples=100, seeds=1)
LONGER = ABLATION.replace("max_epochs: 2", "max_epochs: 20")
NAMES = ["none-0", "none-1", "reversal-0.5-0", "reversal-0.5-1", "reversal-2-0", "reversal-2-1"]


@pytest.fixture(scope="module")
def root(embedded_families) -> Path:
    return embedded_families


@pytest.fixture(scope="module")
def done(root, tmp_path_factory, here) -> Path:
    """A sweep without interruption."""
    out = tmp_path_factory.mktemp("sweeps") / "done"
    assert sweep(root, out) == 0
    return out


@pytest.fixture
def no_training(monkeypatch) -> None:
    def fail(arguments):
        raise AssertionError("trained again")

    monkeypatch.setattr("kinface.experiments.runner.fit", fail)


def copy(done: Path, out: Path) -> Path:
    shutil.copytree(done, out)
    return out


def assert_same_results(ours: Path, other: Path, names: list[str]) -> None:
    for name in names:
        left, right = (read_result(folder / "runs" / name, PROTOCOL) for folder in (ours, other))
        np.testing.assert_equal(left.points, right.points)
        np.testing.assert_equal(left.draws, right.draws)


def test_the_matrix_is_run_and_tabulated(done):
    assert sorted(path.name for path in (done / "runs").iterdir()) == NAMES
    assert {path.name for path in done.iterdir() if path.is_file()} == {
        "standard.parquet", "matched.parquet", "frontier.csv", "frontier.json", "frontier.png",
        "frontier.html",
    }  # fmt: skip
    table = pd.read_csv(done / "frontier.csv")
    assert list(table["method"]) == ["none", "reversal", "reversal"]
    assert list(table["strength"][1:]) == [0.5, 2.0]
    assert list(table["seeds"]) == [2, 2, 2]
    for name, row in (("none", 0), ("reversal-2", 2)):
        seeds = [read_result(done / "runs" / f"{name}-{seed}", PROTOCOL).points["auc_matched"] for seed in (0, 1)]
        assert table["auc_matched"][row] == pytest.approx(np.mean(seeds))
        assert table["auc_matched_minus_none"][row] == pytest.approx(np.mean(seeds) - table["auc_matched"][0])
    figures = [*read_result(done / "runs" / "none-0", PROTOCOL).points]
    assert {"tradeoff", "race_best", "gender_mlp", "race_garbe", "gender_equalized_odds"} <= {*figures}
    differences = [f"{figure}_minus_none{end}" for figure in figures for end in ("", "_low", "_high")]
    assert (table[differences].iloc[0] == 0).all()
    assert table[figures].notna().all(axis=None)
    assert json.loads((done / "frontier.json").read_text())["about"]["race"]["faces"] == 18 * 4 * 2


def test_a_run_is_measured_as_its_model_scores(done, root):
    run = done / "runs" / "reversal-0.5-1"
    result, model = read_result(run, PROTOCOL), load_model(run)
    inputs = Embeddings(root / "embeddings.npz")
    for listed in ("standard", "matched"):
        pairs = read_pairs(done / f"{listed}.parquet")
        faces = sorted({*pairs["face_a"], *pairs["face_b"]})
        pairs = score_pairs(pairs, faces, model.embed(inputs[faces]))
        assert result.points[f"auc_{listed}"] == pytest.approx(roc_auc_score(pairs["kin"], pairs["score"]))
        accuracy = ((pairs["score"] >= float(model.threshold)) == pairs["kin"]).mean()
        assert result.points[f"accuracy_{listed}"] == pytest.approx(accuracy)


def test_scores_of_a_method_are_calibrated_by_the_tune_pairs(done, root, tmp_path, here, capsys):
    methods = "methods:\n  calibrated: {calibrate: {method: faircal, options: {clusters: 2}}}\n"
    ablation = ABLATION.split("methods:")[0].replace("[0, 1]", "[0]") + methods
    assert sweep(root, tmp_path / "out", ablation=ablation) == 0
    run, plain = tmp_path / "out" / "runs" / "calibrated-0", read_result(done / "runs" / "none-0", PROTOCOL)
    tune, pairs = read_pairs(run / "tune_scores.parquet", scored=True), read_pairs(tmp_path / "out/standard.parquet")
    result = read_result(run, PROTOCOL)
    faces = sorted({face for table in (tune, pairs) for side in ("face_a", "face_b") for face in table[side]})
    embedding = load_model(run).embed(Embeddings(root / "embeddings.npz")[faces])
    _, expected = calibrate(tune, score_pairs(pairs, faces, embedding), faces, embedding, options={"clusters": 2})
    assert result.points["auc_standard"] == pytest.approx(roc_auc_score(expected["kin"], expected["score"]))
    assert result.points["auc_standard"] != plain.points["auc_standard"]
    assert result.points["race_linear"] == plain.points["race_linear"], "the embedding is the same"
    assert sweep(root, tmp_path / "more", "--fit-on", "tune", ablation=ablation) == 0, "probes have the tune faces too"
    more = read_result(tmp_path / "more" / "runs" / "calibrated-0", replace(PROTOCOL, fit_on=("tune",)))
    assert more.points["auc_standard"] == pytest.approx(result.points["auc_standard"])
    assert sweep(root, tmp_path / "out", ablation=ablation.replace("clusters: 2", "clusters: 3")) == 2
    assert "see its calibrate.yaml" in capsys.readouterr().err


def test_non_kin_pairs_of_the_matched_list_share_race_and_gender(done):
    pairs = read_pairs(done / "matched.parquet")
    kin, other = pairs[pairs["kin"]].reset_index(), pairs[~pairs["kin"]].reset_index()
    for column in ("face_a", "type", "race_b", "gender_b"):
        assert (kin[column] == other[column]).all()


def test_runs_differ_by_method_lambda_and_seed_alone(done):
    files = {name: yaml.safe_load((done / "runs" / name / "experiment.yaml").read_text()) for name in NAMES}
    strengths = [files[f"reversal-{name}-0"]["model"]["hide"]["race"].pop("strength") for name in ("0.5", "2")]
    assert strengths == [0.5, 2]
    assert files["reversal-0.5-0"] == files["reversal-2-0"]
    assert files["none-0"].pop("seed_everything") == 0
    assert files["none-1"].pop("seed_everything") == 1
    assert files["none-0"] == files["none-1"]
    trained = yaml.safe_load((done / "runs" / "reversal-2-1" / "config.yaml").read_text())
    assert (trained["seed_everything"], trained["model"]["hide"]["race"]["strength"]) == (1, 2.0)


def test_what_is_done_is_skipped(done, root, tmp_path, here, no_training, capsys):
    out = copy(done, tmp_path / "out")
    (out / "frontier.csv").unlink()
    assert sweep(root, out) == 0
    assert "6 runs, 6 of them done" in capsys.readouterr().out
    assert (out / "frontier.csv").read_bytes() == (done / "frontier.csv").read_bytes()


def test_a_trained_run_is_only_measured(done, root, tmp_path, here, no_training, capsys):
    out = copy(done, tmp_path / "out")
    (out / "runs" / "none-1" / "result.json").unlink()
    assert sweep(root, out) == 0
    assert "[1/1] none-1: AUC 0." in capsys.readouterr().out
    assert_same_results(out, done, ["none-1"])


def test_an_interrupted_sweep_goes_on(done, root, tmp_path, here, monkeypatch, capsys):
    step, steps = KinshipTraining.training_step, []

    def interrupt(module, batch, number):
        steps.append(module.current_epoch)
        if len(steps) == 2 * 2 + 3:  # in the second epoch of the second run
            raise KeyboardInterrupt
        return step(module, batch, number)

    monkeypatch.setattr(KinshipTraining, "training_step", interrupt)
    assert sweep(root, tmp_path / "out", "--only", "none") == 130
    assert "the same command continues" in capsys.readouterr().err
    assert not (tmp_path / "out" / "frontier.csv").exists()
    monkeypatch.setattr(KinshipTraining, "training_step", step)
    assert sweep(root, tmp_path / "out", "--only", "none") == 0
    assert "2 runs, 1 of them done" in capsys.readouterr().out
    assert_same_results(tmp_path / "out", done, ["none-0", "none-1"])
    table, whole = (pd.read_csv(folder / "frontier.csv") for folder in (tmp_path / "out", done))
    pd.testing.assert_frame_equal(table, whole[:1])


def test_only_some_methods_are_run(root, tmp_path, here, capsys):
    ablation = ABLATION.replace("[0, 1]", "[0]")
    assert sweep(root, tmp_path / "out", "--only", "none", ablation=ablation) == 0
    assert [path.name for path in (tmp_path / "out" / "runs").iterdir()] == ["none-0"]
    assert sweep(root, tmp_path / "out", "--only", "none", "--only", "nine", ablation=ablation) == 2
    assert "no method 'nine'; the methods of" in capsys.readouterr().err


COMMAND = """
import signal
from kinface.cli.main import main

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # not so where the tests run in the background
    main()
"""


def wait_until(holds: Callable[[], bool], process: subprocess.Popen | None = None) -> None:
    """Look again and again, for as long as the process that is to make it so runs."""
    while not holds():
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.02)


def is_free(folder: Path) -> bool:
    try:
        with working_alone(folder):
            return True
    except InputError:
        return False


@pytest.fixture(scope="module")
def longer(root, tmp_path_factory, here) -> Path:
    """A sweep without interruption, of runs that are long enough to be stopped."""
    out = tmp_path_factory.mktemp("sweeps") / "longer"
    assert sweep(root, out, "--only", "none", ablation=LONGER) == 0
    return out


@pytest.mark.slow
def test_two_processes_are_stopped_go_on_and_make_no_difference(longer, root, tmp_path, capsys):
    out = tmp_path / "out"
    (tmp_path / "command.py").write_text(COMMAND)
    inputs = ["--root", root, "--list", root / "list.parquet", "--embeddings", root / "embeddings.npz"]
    command = [sys.executable, tmp_path / "command.py", "sweep", f"{longer}.yaml", *inputs, "--out", out]
    command += ["--only", "none", "--workers", "2", *QUICK]
    runs = [out / "runs" / name for name in ("none-0", "none-1")]

    def epochs(run: Path) -> int:
        return len(pd.read_csv(run / "metrics.csv")) if (run / "metrics.csv").exists() else 0

    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)):
        before = [epochs(run) for run in runs]
        stopped = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_until(lambda before=before: [epochs(run) for run in runs] > before, stopped)  # one at least trains
        stopped.send_signal(number)
        _, error = stopped.communicate()
        assert stopped.returncode == status
        assert "Traceback" not in error
        assert error.strip().startswith("kinface: interrupted") == (number == signal.SIGINT)
        if number != signal.SIGKILL:
            assert list(out.rglob(".*")) == []
        wait_until(lambda: all(is_free(run) for run in runs))  # the last stop leaves the processes to end themselves
        assert not any((run / "result.json").exists() for run in runs)
    assert sweep(root, out, "--only", "none", ablation=LONGER) == 0
    assert "2 runs, 0 of them done" in capsys.readouterr().out
    left = [it for it in out.rglob(".*") if not it.name.endswith(".run.lock")]  # a killed process leaves its locks
    assert left == []
    for run in runs:
        other = longer / "runs" / run.name
        assert (run / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()
        assert read_result(run, PROTOCOL).points["auc_matched"] == read_result(other, PROTOCOL).points["auc_matched"]
        model, expected = (KinFace.from_pretrained(folder).state_dict() for folder in (run, other))
        for key, value in expected.items():
            assert torch.equal(model[key], value), key


@pytest.mark.slow
def test_two_processes_share_the_runs_and_make_the_table_of_one(done, root, tmp_path):
    out, file = tmp_path / "out", write_ablation(tmp_path / "ablation.yaml", ABLATION)
    inputs = ["--root", root, "--list", root / "list.parquet", "--embeddings", root / "embeddings.npz"]
    command = [Path(sys.executable).parent / "kinface", "sweep", file, *inputs, "--out", out]
    command += ["--only", "none", "--workers", "1", *QUICK]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    for name in ("none-0", "none-1"):
        assert sum(f"] {name}: AUC" in printed for printed, _ in said) == 1  # by one of them
    table, whole = (pd.read_csv(folder / "frontier.csv") for folder in (out, done))
    pd.testing.assert_frame_equal(table, whole[:1])
    assert list(out.rglob(".*")) == []


def test_a_folder_of_another_sweep_is_left_alone(done, root, tmp_path, here, no_training, capsys):
    out = copy(done, tmp_path / "out")
    assert sweep(root, out, ablation=ABLATION.replace("width: 16", "width: 17")) == 2
    assert "none-0: was run with other settings, see its experiment.yaml" in capsys.readouterr().err
    pairs = read_pairs(out / "standard.parquet")
    write_pairs(pairs[2:], out / "standard.parquet")
    assert sweep(root, out) == 2
    assert "not the pairs of the list" in capsys.readouterr().err


def test_runs_that_were_measured_in_another_way_are_not_mixed_with_others(
    done, root, tmp_path, here, no_training, capsys
):
    out = copy(done, tmp_path / "out")
    assert sweep(root, out, "--resamples", "200") == 2
    said = capsys.readouterr()
    assert "none-0: was measured with Protocol(attributes=('race', 'gender'), " in said.err and not said.out
