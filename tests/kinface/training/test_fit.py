from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from kinface.data.fiw import read_families
from kinface.data.pairs import read_pairs
from kinface.data.triplets import sample_triplets, score_triplets
from kinface.data.vocabulary import TYPES
from kinface.fairness.audit import audit_fairness
from kinface.fairness.distributions import describe_scores
from kinface.fairness.threshold import choose_threshold
from kinface.models.kinface import KinFace
from kinface.models.trained import warn_of_trained
from kinface.models.verify import SCORES, TRIPLETS, measure_errors, read_errors, read_record
from kinface.training.data import KinshipData, read_tune_pairs
from kinface.training.history import list_runs
from swinface.files import working_alone
from swinface.model import SwinFace
from tests.commands import run_kinface
from tests.kinface.training.conftest import CONFIGS, fit
from tests.training_runs import TINY

EXPERIMENTS = ["base", "methods/reversal", "methods/fair_contrastive", "methods/ours", "type"]


@pytest.fixture(scope="module")
def unbroken(synthetic, tmp_path_factory) -> Path:
    """A run of three epochs without interruption."""
    run = tmp_path_factory.mktemp("runs") / "unbroken"
    assert fit(synthetic, run, "--trainer.max_epochs", 3) == 0
    return run


@pytest.mark.parametrize("config", EXPERIMENTS)
def test_every_experiment_trains_and_leaves_a_model(config, synthetic, tmp_path):
    assert fit(synthetic, tmp_path / "run", config=config) == 0
    assert np.isfinite(float(KinFace.from_pretrained(tmp_path / "run").threshold))
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert list(metrics["epoch"]) == [0, 1]
    assert metrics["tune_auc"].between(0, 1).all()
    assert {"tune_auc_Caucasian", "tune_auc_cross-race"} <= set(metrics)


def test_without_adversaries_every_epoch_may_be_the_best(synthetic, tmp_path):
    run = tmp_path / "run"
    erase = ["--model.erase", "[{attributes: [gender]}]"]
    assert fit(synthetic, run, "--trainer.max_epochs", 3, *erase, config="base") == 0
    metrics = pd.read_csv(run / "metrics.csv")
    assert (metrics["selection"] == metrics["tune_auc"]).all()
    best = torch.load(run / "best.ckpt", weights_only=True)
    assert best["epoch"] == metrics["tune_auc"].argmax()
    erasure = best["state_dict"]["network.erasures.0.maps"][0]
    assert not torch.equal(erasure, torch.eye(len(erasure))), "an epoch that may be selected has its erasures"


def test_a_run_says_what_its_folder_holds_and_nothing_of_a_hub(unbroken):
    card = (unbroken / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\n") and "config.yaml" in card
    assert not re.search("Hub|pushed|More Information Needed", card)


def test_a_model_says_which_families_it_was_trained_on_and_scoring_them_is_warned_of(unbroken, synthetic, tmp_path):
    def score(name: str) -> int:
        out = tmp_path / "scores.parquet"
        return run_kinface("score", "--model", unbroken, "--root", synthetic, "--list", name, "--out", out)

    families = read_families(synthetic)
    trained = families.faces.loc[families.faces["split"] == "train", "family"]
    assert json.loads((unbroken / "families.json").read_text()).keys() == {*trained}
    with pytest.warns(UserWarning, match=r"train: ([\d,]+) of \1 rows are of families that the model was trained on"):
        assert score("train") == 0
    assert score("val") == 0
    others = families.faces.assign(face="other/" + families.faces["face"])  # families of the same names elsewhere
    warn_of_trained(families.pairs("train"), others, unbroken)


def test_the_model_is_that_of_the_best_epoch_of_the_second_half(unbroken):
    metrics = pd.read_csv(unbroken / "metrics.csv")
    assert (metrics["selection"][:1] == 0).all()
    assert (metrics["selection"][1:] == metrics["tune_auc"][1:]).all()
    best = torch.load(unbroken / "best.ckpt", weights_only=True)
    assert best["epoch"] == metrics["selection"].argmax()
    model = KinFace.from_pretrained(unbroken)
    torch.testing.assert_close(model.projection.weight, best["state_dict"]["network.projection.weight"])


def test_the_threshold_is_that_of_the_tune_pairs(unbroken):
    pairs = read_pairs(unbroken / "tune_scores.parquet", scored=True)
    assert set(pairs["split"]) == {"tune"}
    assert float(KinFace.from_pretrained(unbroken).threshold) == pytest.approx(choose_threshold(pairs))


def test_a_run_keeps_what_it_gets_wrong_on_the_tune_pairs(unbroken):
    pairs = read_pairs(unbroken / "tune_scores.parquet", scored=True)
    threshold = float(KinFace.from_pretrained(unbroken).threshold)
    assert read_errors(unbroken) == measure_errors(pairs, threshold)
    assert read_record(unbroken, SCORES) == describe_scores(pairs, threshold)


def test_a_run_keeps_how_triplets_of_the_tune_faces_are_scored(unbroken, synthetic):
    families, network = read_families(synthetic), KinFace.from_pretrained(unbroken)
    listed = [table[side] for table in read_tune_pairs(synthetic, families).values() for side in ("face_a", "face_b")]
    faces = families.faces[families.faces["face"].isin(pd.concat(listed))]
    triplets = sample_triplets(replace(families, faces=faces), "tune")
    embedding = network.embed(list(faces["face"]), root=families.root, precision="full")
    threshold = float(network.threshold)
    expected = measure_errors(score_triplets(triplets, list(faces["face"]), embedding), threshold)
    overall, *_ = read_record(unbroken, TRIPLETS)
    assert read_errors(unbroken, triplets=True) == pytest.approx(expected, abs=1e-9)
    assert expected == {name: overall[name] for name in expected} and expected["kin"] == sum(overall["kin_scores"]) > 30


@pytest.mark.parametrize("config", ["methods/reversal", pytest.param("methods/ours", marks=pytest.mark.slow)])
def test_a_resumed_run_equals_an_unbroken_one(config, unbroken, synthetic, tmp_path, monkeypatch, capsys):
    from kinface.training.module import KinshipTraining

    run, step = tmp_path / "run", KinshipTraining.training_step
    if config != "methods/reversal":
        unbroken = tmp_path / "unbroken"
        assert fit(synthetic, unbroken, "--trainer.max_epochs", 3, config=config) == 0

    def interrupt(module, batch, number):
        if module.current_epoch == 1 and number == 1:
            raise KeyboardInterrupt
        return step(module, batch, number)

    monkeypatch.setattr(KinshipTraining, "training_step", interrupt)
    assert fit(synthetic, run, "--trainer.max_epochs", 3, config=config) == 130
    assert "resumes from the last checkpoint" in capsys.readouterr().err
    assert not (run / "model.safetensors").exists()
    monkeypatch.setattr(KinshipTraining, "training_step", step)
    assert fit(synthetic, run, "--trainer.max_epochs", 3, config=config) == 0
    pd.testing.assert_frame_equal(pd.read_csv(run / "metrics.csv"), pd.read_csv(unbroken / "metrics.csv"))
    resumed, whole = KinFace.from_pretrained(run).state_dict(), KinFace.from_pretrained(unbroken).state_dict()
    for name, tensor in whole.items():
        assert torch.equal(resumed[name], tensor), name


def test_a_run_ends_with_a_summary_and_tells_a_logger_of_the_engine(synthetic, tmp_path, capsys):
    run = tmp_path / "runs" / "plain"
    assert fit(synthetic, run, "--logger", "csv", config="base") == 0
    metrics = pd.read_csv(run / "metrics.csv")
    said, best = capsys.readouterr().out, metrics.loc[metrics["selection"].idxmax()]
    pairs = read_pairs(run / "tune_scores.parquet", scored=True)
    assert f"best epoch {best['epoch']:.0f} of 2" in said
    groups = audit_fairness(pairs, 0.0).groups.set_index("group")
    for group, interval in (
        ("all pairs", "[{auc_low:.3f}, {auc_high:.3f}]"),
        ("Caucasian", "(too few families for an interval)"),
    ):
        row = groups.loc[group]
        shown = f"{row.auc:.3f} {interval.format(**row)}  {row.pairs:,} pairs of {row.families} families"
        assert re.search(rf"{group} +{re.escape(shown)}", said)
    assert str(run) in said.splitlines()[-1]
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    (logged,) = (run / "csv").rglob("metrics.csv")
    assert pd.read_csv(logged)["tune_auc"].dropna().tolist() == pytest.approx(metrics["tune_auc"].tolist())
    (listed,) = list_runs(tmp_path).to_dict("records")
    assert (listed["run"], listed["tune_auc"]) == ("runs/plain", pytest.approx(best["tune_auc"]))


def test_a_logger_that_cannot_be_had_is_named(synthetic, tmp_path, monkeypatch, capsys):
    logs = ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", tmp_path]
    assert fit(synthetic, tmp_path / "run", "--logger", "csv", *logs) == 2
    assert "--logger and trainer.logger: give only one of them" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "trackio", None)
    assert fit(synthetic, tmp_path / "run", "--logger", "trackio") == 2
    assert "--logger trackio: no package trackio; run `pip install trackio`" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_complete_run_is_not_overwritten(unbroken, synthetic, capsys):
    before = (unbroken / "model.safetensors").read_bytes()
    assert fit(synthetic, unbroken, "--trainer.max_epochs", 3) == 2
    assert "is complete" in capsys.readouterr().err
    assert (unbroken / "model.safetensors").read_bytes() == before


def test_a_run_is_trained_by_one_process_at_a_time(synthetic, tmp_path, capsys):
    with working_alone(tmp_path / "run"):
        assert fit(synthetic, tmp_path / "run") == 2
    assert "run: another process is at work here" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_unfinished_run_of_another_configuration_is_left_alone(unbroken, synthetic, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.yaml", "last.ckpt"):
        (run / name).write_bytes((unbroken / name).read_bytes())
    assert fit(synthetic, run, "--seed_everything", 5) == 2
    assert "another configuration" in capsys.readouterr().err


def test_a_run_that_ended_too_early_gives_no_model(synthetic, tmp_path, capsys):
    stop = "--trainer.max_epochs", 500, "--trainer.max_time", "00:00:00:01"
    assert fit(synthetic, tmp_path / "run", *stop) == 2
    assert "before half of its training" in capsys.readouterr().err
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_two_processes_train_one_model(synthetic, tmp_path):
    run = tmp_path / "run"
    options = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.accelerator", "cpu"]
    configs = [f"--config={CONFIGS / name}.yaml" for name in ("kinface/base", "kinface/methods/reversal", "smoke")]
    command = [Path(sys.executable).parent / "kinface", "fit", *configs, f"--data.root={synthetic}", f"--run={run}"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("has the model") == 1
    assert list(pd.read_csv(run / "metrics.csv")["epoch"]) == [0, 1]
    assert np.isfinite(float(KinFace.from_pretrained(run).threshold))


def test_types_are_measured_and_written(synthetic, tmp_path):
    run, out = tmp_path / "run", tmp_path / "scores.parquet"
    assert fit(synthetic, run, config="type") == 0
    assert pd.read_csv(run / "metrics.csv")["tune_type_balanced_accuracy"].between(0, 1).all()
    listed = synthetic.parent / "families" / "lists" / "val_choose.txt"
    assert run_kinface("score", "--model", run, "--root", synthetic, "--list", listed, "--out", out) == 0
    assert set(read_pairs(out, scored=True)["type_predicted"]) <= {*TYPES, "unrelated"}


def test_training_that_diverges_says_so(synthetic, tmp_path, capsys):
    assert fit(synthetic, tmp_path / "run", "--model.optimizer.learning_rate", "1e30") == 2
    assert "training has diverged: embeddings are not finite; lower model.optim" in capsys.readouterr().err


def test_a_loss_of_ones_own_that_is_not_a_number_is_named(synthetic, tmp_path, monkeypatch, capsys):
    own = "from kinface.training.losses import VerificationLoss\n\n\nclass Own(VerificationLoss):\n"
    (tmp_path / "losses_broken.py").write_text(
        f"{own}    def forward(self, a, b):\n        return (a['embedding'] * 0).sum() / 0"
    )
    monkeypatch.chdir(tmp_path)
    changed = ["--model.verification.method", "losses_broken.Own", "--model.verification.options", "{}"]
    assert fit(synthetic, tmp_path / "run", *changed) == 2
    assert (
        "embeddings are not finite, after the loss train_verification was not; fix it, or lo" in capsys.readouterr().err
    )


def test_half_precision_is_kept_out_of_the_losses(synthetic, tmp_path):
    for precision in ("bf16-mixed", "32-true"):
        given = ["--trainer.precision", precision]
        assert fit(synthetic, tmp_path / precision, *given, config="methods/fair_contrastive") == 0
    half, full = (pd.read_csv(tmp_path / p / "metrics.csv")["train_verification"] for p in ("bf16-mixed", "32-true"))
    np.testing.assert_allclose(half, full, rtol=0.02)


@pytest.mark.parametrize(
    "config",
    ["methods/ours", *(pytest.param(it, marks=pytest.mark.slow) for it in EXPERIMENTS if it != "methods/ours")],
)
def test_the_demos_overlay_fits_every_experiment(config, synthetic, tmp_path):
    demo = ["--config", CONFIGS / "kinface" / "demo.yaml", "--trainer.max_epochs", 1, "--data.steps", 2]
    assert fit(synthetic, tmp_path / "run", *demo, config=config) == 0


def test_another_seed_is_another_run(unbroken, synthetic, tmp_path):
    assert fit(synthetic, tmp_path / "run", "--trainer.max_epochs", 3, "--seed_everything", 5) == 0
    assert not pd.read_csv(tmp_path / "run" / "metrics.csv").equals(pd.read_csv(unbroken / "metrics.csv"))


def test_a_frozen_trunk_reads_the_cache_and_learns_the_same(synthetic, tmp_path):
    frozen = ["--model.network.trained_stages", 0, "--data.augment", "false"]
    assert fit(synthetic, tmp_path / "a", *frozen) == 0
    assert fit(synthetic, tmp_path / "b", *frozen, "--data.cache", tmp_path / "cache") == 0
    made = sorted((tmp_path / "cache").iterdir())
    assert len(made) == 2
    assert fit(synthetic, tmp_path / "c", *frozen, "--data.cache", tmp_path / "cache") == 0
    assert sorted((tmp_path / "cache").iterdir()) == made
    a, b, c = (pd.read_csv(tmp_path / name / "metrics.csv")["train_verification"] for name in "abc")
    np.testing.assert_allclose(a, b, rtol=1e-2)  # the cache holds half precision
    np.testing.assert_array_equal(b, c)


def test_a_checkpoint_has_no_trunk_that_a_swinface_gives(synthetic, tmp_path, monkeypatch, capsys):
    from kinface.training.module import KinshipTraining

    torch.manual_seed(0)
    SwinFace(**TINY).save_pretrained(tmp_path / "swinface")
    frozen = ["--model.network.trunk", "null", "--model.network.swinface", tmp_path / "swinface"]
    frozen += ["--model.network.trained_stages", 0, "--data.augment", "false"]
    assert fit(synthetic, tmp_path / "whole", *frozen) == 0
    checkpoint = torch.load(tmp_path / "whole" / "last.ckpt", weights_only=True)
    assert not [name for name in checkpoint["state_dict"] if "trunk" in name]
    assert KinFace.from_pretrained(tmp_path / "whole").trunk is not None
    step = KinshipTraining.training_step

    def interrupt(module, batch, number):
        if module.global_step == 3:
            raise KeyboardInterrupt
        return step(module, batch, number)

    monkeypatch.setattr(KinshipTraining, "training_step", interrupt)
    assert fit(synthetic, tmp_path / "resumed", *frozen) == 130
    monkeypatch.undo()
    kept = shutil.copytree(tmp_path / "swinface", tmp_path / "kept")
    SwinFace(**TINY).save_pretrained(tmp_path / "swinface")
    assert fit(synthetic, tmp_path / "resumed", *frozen) == 2
    assert "not the weights that the run began with" in capsys.readouterr().err
    shutil.copytree(kept, tmp_path / "swinface", dirs_exist_ok=True)
    assert fit(synthetic, tmp_path / "resumed", *frozen) == 0
    first, second = (KinFace.from_pretrained(tmp_path / run).state_dict() for run in ("whole", "resumed"))
    assert all(torch.equal(first[name], second[name]) for name in first if name != "threshold")


def test_embeddings_take_the_place_of_images(synthetic, tmp_path):
    faces = pd.read_parquet(synthetic / "faces.parquet")["face"].to_numpy(str)
    table = tmp_path / "table.npz"
    np.savez(table, face=faces, embedding=np.random.default_rng(0).normal(size=(len(faces), 12)).astype(np.float16))
    assert fit(synthetic, tmp_path / "run", "--data.embeddings", table) == 0
    assert KinFace.from_pretrained(tmp_path / "run").embedding_size == 12


def test_a_run_goes_on_with_the_data_that_it_began_with_alone(synthetic, tmp_path, capsys):
    tables, run, table = shutil.copytree(synthetic, tmp_path / "tables"), tmp_path / "run", tmp_path / "table.npz"
    faces = pd.read_parquet(tables / "faces.parquet")
    embedding = np.random.default_rng(0).normal(size=(len(faces), 12))

    def train(faces, embedding, names=faces["face"]):
        faces.to_parquet(tables / "faces.parquet")
        np.savez(table, face=names.to_numpy(str), embedding=embedding)
        return fit(tables, run, "--data.embeddings", table, config="base")

    assert train(faces, embedding) == 0
    (run / "model.safetensors").unlink()  # as if it had been interrupted
    moved = faces["family"] == faces.loc[faces["split"] == "train", "family"].iloc[0]
    divided = faces.assign(split=faces["split"].mask(moved, "tune"))  # as by `kinface prepare --tune`
    for changed in ((divided, embedding), (faces, embedding + 1)):
        assert train(*changed) == 2
        assert "data: its people, lists or embeddings are not those that the run began with" in capsys.readouterr().err
    seen = faces[faces["split"].isin(["train", "tune"])]  # what the run does not read may change
    assert train(seen, embedding[::-1], faces["face"][::-1]) == 0


@pytest.fixture(scope="module")
def teacher(synthetic, tmp_path_factory) -> Path:
    """A teacher's embeddings: what a person is, and noise."""
    table = pd.read_parquet(synthetic / "faces.parquet")
    random = np.random.default_rng(0)
    people, codes = np.unique(table["person"], return_inverse=True)
    embedding = random.normal(size=(len(people), 10))[codes] + 0.1 * random.normal(size=(len(table), 10)) + 3
    path = tmp_path_factory.mktemp("teacher") / "teacher.npz"
    np.savez(path, face=table["face"].to_numpy(str), embedding=embedding)
    return path


def test_the_model_that_ships_is_distilled_from_a_swinface_and_a_teacher(synthetic, teacher, tmp_path):
    torch.manual_seed(0)
    start = SwinFace(embed_dim=8, depths=(1, 1, 1), num_heads=(1, 1, 1), patch_size=4, width=16)
    start.save_pretrained(tmp_path / "start")
    options = ["--data.teacher", teacher, "--model.network.swinface", tmp_path / "start", "--trainer.max_epochs", 4]
    quick = ["--data.steps", 8, "--data.augment", "false", "--model.optimizer.learning_rate", 0.01]
    assert fit(synthetic, tmp_path / "run", *options, *quick, config="small") == 0
    losses = pd.read_csv(tmp_path / "run" / "metrics.csv")["train_distillation"]
    assert losses.iloc[-1] < 0.97 * losses.iloc[0]


def test_a_teacher_is_centred(synthetic, teacher):
    data = KinshipData(synthetic, teacher=teacher)
    data.train_faces = pd.read_parquet(synthetic / "faces.parquet").query("split == 'train'")
    taught, table = data._read_teacher().numpy(), np.load(teacher)
    known = dict(zip(table["face"], table["embedding"], strict=True))
    expected = np.stack([known[face] for face in data.train_faces["face"]])
    np.testing.assert_allclose(taught, expected - expected.mean(axis=0), atol=1e-5)
