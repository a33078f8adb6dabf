"""A sweep runs the matrix, goes on where it stopped, and measures all runs alike."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from sklearn.metrics import roc_auc_score

from kinface import frontier
from kinface.ablation import Run, merge, read_ablation
from kinface.families import TABLES, Families, conform, write_tables
from kinface.fiw import read_families
from kinface.frontier import FIGURES, read_result
from kinface.model import KinFace
from kinface.pairs import read_pairs, sample_pairs, score_pairs, write_pairs
from kinface.score import embed_faces, load_model
from kinface.sweep import Job
from kinface.train import KinshipTraining
from swinface.cli import run as run_command
from swinface.embeddings import Embeddings, write_embeddings
from swinface.files import InputError, working_alone

SWEEP = {"sweep": ("kinface.sweep:sweep", "")}
SPLITS = {"train": 12, "tune": 9, "val": 18}  # families
RACES = ("African", "Asian", "Caucasian")
RELATIONS = (("fs", 1, 3), ("fd", 1, 4), ("ms", 2, 3), ("md", 2, 4), ("sibs", 3, 4))
ABLATION = """
seeds: [0, 1]
base:
  trainer: {max_epochs: 2, accelerator: cpu, devices: 1}
  model:
    verification: {class_path: kinface.losses.SupervisedContrastive, init_args: {temperature: 0.1}}
    heads: {}
    width: 16
    size: 8
    learning_rate: 1.0e-2
  data: {batch_size: 8, steps: 2}
methods:
  none: {}
  reversal:
    strengths: [0.5, 2]
    model: {heads: {race: {classes: [African, Asian, Caucasian], adversarial: true}}}
"""
NAMES = ["none-0", "none-1", "reversal-0.5-0", "reversal-0.5-1", "reversal-2-0", "reversal-2-1"]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """The tables of families without images, and embeddings that show family, race and gender."""
    root = tmp_path_factory.mktemp("families")
    of_family = [(split, number) for split, count in SPLITS.items() for number in range(count)]
    people, relations = [], []
    for place, (split, number) in enumerate(of_family):
        family = f"F{place:04}"
        shared = {"family": family, "split": split, "race": RACES[number % 3], "race_source": "drawn"}
        people += [
            {"person": f"{family}/MID{mid}", "mid": mid, "gender": "mfmf"[mid - 1], "gender_source": "drawn", **shared}
            for mid in (1, 2, 3, 4)
        ]
        relations += [
            {"person_a": f"{family}/MID{a}", "person_b": f"{family}/MID{b}", "type": code, **shared}
            for code, a, b in RELATIONS
        ]
    people, relations = pd.DataFrame(people).assign(faces=2), pd.DataFrame(relations)
    faces = pd.concat([people.assign(face=people["person"] + f"/{number}.jpg") for number in range(2)])
    tables = {"faces": faces, "people": people, "relations": relations, "problems": None, "annotations": None}
    tables = {name: pd.DataFrame(table, columns=[*TABLES[name]]) for name, table in tables.items()}
    families = Families(root, **{name: conform(table, name) for name, table in tables.items()})
    write_tables(families, root, {})
    write_pairs(sample_pairs(families, "tune"), root / "pairs.parquet")
    write_pairs(sample_pairs(families, "val"), root / "list.parquet")
    random = np.random.default_rng(0)
    codes = pd.factorize(faces["family"])[0]
    embedding = random.normal(size=(len(of_family), 8))[codes] + 0.5 * random.normal(size=(len(faces), 8))
    embedding[:, 0] += 2 * pd.factorize(faces["race"])[0]
    embedding[:, 1] += 2 * (faces["gender"] == "m")
    write_embeddings(root / "embeddings.npz", [*faces["face"]], embedding)
    return root


@pytest.fixture(scope="module")
def few():
    """Fewer resamples and seeds of probes than a sweep has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frontier, "RESAMPLES", 100)
        patch.setattr(frontier, "PROBE_SEEDS", 1)
        yield


def sweep(root: Path, out: Path, *options, ablation: str = ABLATION) -> int:
    out.parent.mkdir(exist_ok=True, parents=True)
    file = out.parent / f"{out.name}.yaml"
    file.write_text(ablation)
    inputs = ["--root", root, "--list", root / "list.parquet", "--embeddings", root / "embeddings.npz"]
    arguments = ["sweep", file, *inputs, "--out", out, "--workers", 1, *options]
    return run_command("kinface", "", SWEEP, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def done(root, tmp_path_factory, few) -> Path:
    """A sweep without interruption."""
    out = tmp_path_factory.mktemp("sweeps") / "done"
    assert sweep(root, out) == 0
    return out


@pytest.fixture
def no_training(monkeypatch) -> None:
    def fail(arguments):
        raise AssertionError("trained again")

    monkeypatch.setattr("kinface.sweep.fit", fail)


def copy(done: Path, out: Path) -> Path:
    shutil.copytree(done, out)
    return out


def assert_same_results(ours: Path, other: Path, names: list[str]) -> None:
    for name in names:
        left, right = (read_result(folder / "runs" / name) for folder in (ours, other))
        np.testing.assert_equal(left.points, right.points)
        np.testing.assert_equal(left.draws, right.draws)


def test_the_matrix_is_run_and_tabulated(done):
    assert sorted(path.name for path in (done / "runs").iterdir()) == NAMES
    assert {path.name for path in done.iterdir() if path.is_file()} == {
        "standard.parquet", "matched.parquet", "frontier.csv", "frontier.json",
        "frontier_race.png", "frontier_gender.png",
    }  # fmt: skip
    table = pd.read_csv(done / "frontier.csv")
    assert list(table["method"]) == ["none", "reversal", "reversal"]
    assert list(table["strength"][1:]) == [0.5, 2.0]
    assert list(table["seeds"]) == [2, 2, 2]
    for name, row in (("none", 0), ("reversal-2", 2)):
        seeds = [read_result(done / "runs" / f"{name}-{seed}").points["auc_matched"] for seed in (0, 1)]
        assert table["auc_matched"][row] == pytest.approx(np.mean(seeds))
        assert table["auc_matched_minus_none"][row] == pytest.approx(np.mean(seeds) - table["auc_matched"][0])
    assert (
        table[[f"{figure}_minus_none{end}" for figure in FIGURES for end in ("", "_low", "_high")]].iloc[0] == 0
    ).all()
    assert table[[*FIGURES]].notna().all(axis=None)
    assert json.loads((done / "frontier.json").read_text())["about"]["race"]["faces"] == 18 * 4 * 2


def test_a_run_is_measured_as_its_model_scores(done, root):
    run = done / "runs" / "reversal-0.5-1"
    result, model = read_result(run), load_model(run)
    inputs = Embeddings(root / "embeddings.npz")
    for listed in ("standard", "matched"):
        pairs = read_pairs(done / f"{listed}.parquet")
        faces = sorted({*pairs["face_a"], *pairs["face_b"]})
        pairs = score_pairs(pairs, faces, embed_faces(model, root, faces, inputs))
        assert result.points[f"auc_{listed}"] == pytest.approx(roc_auc_score(pairs["kin"], pairs["score"]))
        accuracy = ((pairs["score"] >= float(model.threshold)) == pairs["kin"]).mean()
        assert result.points[f"accuracy_{listed}"] == pytest.approx(accuracy)


def test_non_kin_pairs_of_the_matched_list_share_race_and_gender(done):
    pairs = read_pairs(done / "matched.parquet")
    kin, other = pairs[pairs["kin"]].reset_index(), pairs[~pairs["kin"]].reset_index()
    for column in ("face_a", "type", "race_b", "gender_b"):
        assert (kin[column] == other[column]).all()


def test_runs_differ_by_method_lambda_and_seed_alone(done):
    files = {name: yaml.safe_load((done / "runs" / name / "experiment.yaml").read_text()) for name in NAMES}
    strengths = [files[f"reversal-{name}-0"]["model"]["heads"]["race"].pop("strength") for name in ("0.5", "2")]
    assert strengths == [0.5, 2]
    assert files["reversal-0.5-0"] == files["reversal-2-0"]
    assert files["none-0"].pop("seed_everything") == 0
    assert files["none-1"].pop("seed_everything") == 1
    assert files["none-0"] == files["none-1"]
    trained = yaml.safe_load((done / "runs" / "reversal-2-1" / "config.yaml").read_text())
    assert (trained["seed_everything"], trained["model"]["heads"]["race"]["strength"]) == (1, 2.0)


def test_what_is_done_is_skipped(done, root, tmp_path, few, no_training, capsys):
    out = copy(done, tmp_path / "out")
    (out / "frontier.csv").unlink()
    assert sweep(root, out) == 0
    assert "6 runs, 6 of them done" in capsys.readouterr().out
    assert (out / "frontier.csv").read_bytes() == (done / "frontier.csv").read_bytes()


def test_a_trained_run_is_only_measured(done, root, tmp_path, few, no_training, capsys):
    out = copy(done, tmp_path / "out")
    (out / "runs" / "none-1" / "result.json").unlink()
    assert sweep(root, out) == 0
    assert "[1/1] none-1: AUC 0." in capsys.readouterr().out
    assert_same_results(out, done, ["none-1"])


def test_an_interrupted_sweep_goes_on(done, root, tmp_path, few, monkeypatch, capsys):
    step, steps = KinshipTraining.training_step, []

    def interrupt(module, batch, number):
        steps.append(module.current_epoch)
        if len(steps) == 2 * 2 + 3:  # in the second epoch of the second run
            raise KeyboardInterrupt
        return step(module, batch, number)

    monkeypatch.setattr(KinshipTraining, "training_step", interrupt)
    assert sweep(root, tmp_path / "out", "--only", "none") == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert not (tmp_path / "out" / "frontier.csv").exists()
    monkeypatch.setattr(KinshipTraining, "training_step", step)
    assert sweep(root, tmp_path / "out", "--only", "none") == 0
    assert "2 runs, 1 of them done" in capsys.readouterr().out
    assert_same_results(tmp_path / "out", done, ["none-0", "none-1"])
    table, whole = (pd.read_csv(folder / "frontier.csv") for folder in (tmp_path / "out", done))
    pd.testing.assert_frame_equal(table, whole[:1])


def test_a_failing_run_is_told_and_the_others_go_on(root, tmp_path, few, capsys):
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


def test_only_some_methods_are_run(root, tmp_path, few, capsys):
    ablation = ABLATION.replace("[0, 1]", "[0]")
    assert sweep(root, tmp_path / "out", "--only", "none", ablation=ablation) == 0
    assert [path.name for path in (tmp_path / "out" / "runs").iterdir()] == ["none-0"]
    assert sweep(root, tmp_path / "out", "--only", "none", "nine", ablation=ablation) == 2
    assert "--only nine: the methods of" in capsys.readouterr().err


COMMAND = """
import signal, sys
from swinface.cli import run

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # not so where the tests run in the background
    sys.exit(run("kinface", "", {"sweep": ("kinface.sweep:sweep", "")}, sys.argv[1:]))
"""


def test_two_processes_are_stopped_go_on_and_make_no_difference(done, root, tmp_path):
    (tmp_path / "command.py").write_text(COMMAND)
    (tmp_path / "ablation.yaml").write_text(ABLATION)
    out = tmp_path / "out"
    inputs = ["--root", root, "--list", root / "list.parquet", "--embeddings", root / "embeddings.npz"]
    command = [sys.executable, tmp_path / "command.py", "sweep", tmp_path / "ablation.yaml", *inputs, "--out", out]
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        stopped = subprocess.Popen(
            [*command, "--workers", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while not (line := stopped.stdout.readline()).startswith("[1/"):
            assert line
        stopped.send_signal(number)
        _, error = stopped.communicate()  # which lasts until no process of the pool is left
        assert stopped.returncode == status
        if number == signal.SIGINT:
            assert error.strip().startswith("kinface: interrupted")
            assert "Traceback" not in error
    complete = sum((out / "runs" / name / "result.json").exists() for name in NAMES)
    assert complete >= 2
    last = subprocess.run([*command, "--workers", "2"], capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stderr
    assert f"6 runs, {complete} of them done" in last.stdout
    for name in NAMES:
        ours, other = (folder / "runs" / name for folder in (out, done))
        assert read_result(ours).points["auc_matched"] == read_result(other).points["auc_matched"]
        model, expected = (KinFace.from_pretrained(run).state_dict() for run in (ours, other))
        for key, value in expected.items():
            assert torch.equal(model[key], value), key


def test_merging_goes_into_mappings_and_replaces_the_rest():
    base = {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}, "f": 1}
    changes = {"a": {"b": 2, "g": 3}, "d": None, "f": {"h": 1}, "c": [3]}
    assert merge(base, changes) == {"a": {"b": 2, "c": [1, 2], "g": 3}, "d": None, "f": {"h": 1}, "c": [3]}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}, "f": 1}


def test_lambda_is_that_of_every_adversarial_head(tmp_path):
    heads = "{race: {adversarial: true, strength: 9}, gender: {adversarial: true}, age: {classes: [a, b]}}"
    file = tmp_path / "a.yaml"
    file.write_text(f"seeds: [3]\nbase: {{model: {{heads: {heads}}}}}\nmethods: {{m: {{strengths: [1.0e-5, 10.0]}}}}")
    runs = read_ablation(file, {"data": {"root": "r"}}).expand()
    assert [run.name for run in runs] == ["m-1e-05-3", "m-10-3"]
    for run, strength in zip(runs, (1e-5, 10.0), strict=True):
        heads = run.config["model"]["heads"]
        assert [head.get("strength") for head in heads.values()] == [strength, strength, None]
        assert (run.config["seed_everything"], run.config["data"]) == (3, {"root": "r"})


def test_references_are_none_and_leace_where_these_are_methods(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("seeds: [0]\nbase: {}\nmethods: {leace: {}, other: {}}")
    assert read_ablation(file, {}).references == ["leace"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("seeds: [0", "not a readable YAML file"),
        ("[1, 2]", "a mapping with"),
        ("sedes: [0]", "unknown key 'sedes'"),
        ("seeds: [0]\nmethods: {a: {}}", "'base' is missing"),
        ("seeds: [0, 0]\nbase: {}\nmethods: {a: {}}", "seeds"),
        ("seeds: [true]\nbase: {}\nmethods: {a: {}}", "seeds"),
        ("seeds: [0]\nbase: {run: here}\nmethods: {a: {}}", "base: unknown key 'run'"),
        ("seeds: [0]\nbase: {}\nmethods: {}", "name one or more"),
        ("seeds: [0]\nbase: {}\nmethods: {a-b: {}}", "'a-b'"),
        ("seeds: [0]\nbase: {}\nmethods: {a: {modle: {}}}", r"methods.a: unknown key 'modle'"),
        ("seeds: [0]\nbase: {}\nmethods: {a: {strengths: [1]}}", "model.heads has none"),
        ("seeds: [0]\nbase: {}\nmethods: {a: {strengths: [1e-3]}}", "different numbers"),  # YAML reads text
        ("seeds: [0]\nbase: {}\nmethods: {a: {}}\nreferences: [b]", "'b' is no method"),
    ],
)
def test_a_bad_ablation_is_refused_by_name(text, named, tmp_path):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError, match=named):
        read_ablation(tmp_path / "a.yaml", {})


def test_a_sweep_is_one_process_at_a_time(root, tmp_path, capsys):
    with working_alone(tmp_path / "out"):
        assert sweep(root, tmp_path / "out") == 2
    assert "out: another process is at work here" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("width: 16", "widht: 16"), "widht"),
        (("adversarial: true", "adversrial: true, adversarial: true"), "methods.reversal: "),
        (("max_epochs: 2", "max_epochs: many"), "max_epochs"),
    ],
)
def test_a_configuration_that_fit_would_not_read_is_refused_before_any_run(change, named, root, tmp_path, capsys):
    assert sweep(root, tmp_path / "out", ablation=ABLATION.replace(*change)) == 2
    assert named in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_another_sweep_is_left_alone(done, root, tmp_path, few, no_training, capsys):
    out = copy(done, tmp_path / "out")
    assert sweep(root, out, ablation=ABLATION.replace("width: 16", "width: 17")) == 2
    assert "none-0: was run with another configuration" in capsys.readouterr().err
    pairs = read_pairs(out / "standard.parquet")
    write_pairs(pairs[2:], out / "standard.parquet")
    assert sweep(root, out) == 2
    assert "not the pairs that --list gives" in capsys.readouterr().err


def test_training_families_are_no_measure(root, tmp_path, capsys):
    families = read_families(root)
    write_pairs(sample_pairs(families, "train"), tmp_path / "train.parquet")
    assert sweep(root, tmp_path / "out", "--list", tmp_path / "train.parquet") == 2
    assert "training families" in capsys.readouterr().err


def test_a_frozen_trunk_is_read_from_the_cache(synthetic, tmp_path):
    torch.manual_seed(0)
    model = KinFace({"embed_dim": 8, "depths": (1, 1, 1), "num_heads": (1, 1, 1), "patch_size": 4}, width=16, size=8)
    model.eval()
    families = read_families(synthetic)
    faces = [*families.faces["face"]][:20]
    expected = embed_faces(model, families.root, faces)
    for _ in range(2):
        job = Job(Run("none", None, 0, {"data": {"cache": str(tmp_path / "cache")}}), tmp_path)
        np.testing.assert_allclose(job._embed(model, families.root, faces), expected, atol=5e-3)  # half precision
        assert len([*(tmp_path / "cache").iterdir()]) == 1


def test_a_frozen_trunk_and_embeddings_exclude_each_other(root, tmp_path, capsys):
    assert sweep(root, tmp_path / "out", "--swinface", "shipped", "--cache", tmp_path) == 2
    assert "give --embeddings, or --swinface and --cache" in capsys.readouterr().err
