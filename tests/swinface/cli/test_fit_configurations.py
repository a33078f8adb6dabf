"""The configurations that ship, and options that mean nothing."""

from __future__ import annotations

import pandas as pd
import pytest
import yaml

from swinface.model import SwinFace
from swinface.tasks import PAPER_TASKS
from tests.training_runs import CONFIGS, CPU, fit


def test_the_papers_two_stages_run_on_its_formats(paper_sets, paper_configurations, tmp_path, monkeypatch):
    monkeypatch.chdir(paper_sets)
    smoke = ["--config", CONFIGS / "swinface" / "smoke.yaml", "--trainer.accelerator", "cpu"]
    first, second = tmp_path / "pretrain", tmp_path / "multitask"
    assert fit("--config", paper_configurations / "pretrain.yaml", *smoke, "--run", first) == 0
    multitask = ["--config", paper_configurations / "multitask.yaml", *smoke]
    assert fit(*multitask, "--run", tmp_path / "alone") == 0  # as the overlay's header says
    assert fit(*multitask, "--model.start", first, "--run", second) == 0
    assert SwinFace.from_pretrained(second).untrained == []
    metrics = pd.read_csv(second / "metrics.csv")
    losses = metrics[[f"train_{name}" for name in ("recognition", *PAPER_TASKS)]]
    assert (losses.to_numpy() > 0).all()


def test_the_papers_configurations_are_its_protocol():
    pretrain, multitask = (
        yaml.safe_load((CONFIGS / "swinface" / f"{name}.yaml").read_text()) for name in ("pretrain", "multitask")
    )
    assert pretrain["trainer"]["max_epochs"] == 40
    assert 128 * pretrain["trainer"]["devices"] == 512
    assert round(pretrain["data"]["epoch_size"] / 512) == 11_372
    assert pretrain["model"]["optimizer"]["warmup"] == 5 / 40
    assert 4 * 32 * multitask["trainer"]["devices"] == 512
    assert multitask["trainer"]["max_epochs"] * multitask["data"]["epoch_size"] == 80_000 * 512
    assert multitask["model"]["optimizer"]["warmup"] * 80_000 == 8_000
    assert {name: stream["batch_size"] for name, stream in multitask["data"]["streams"].items()} == {
        "recognition": 32,
        "age_gender": 32,
        "celeba": 32,
        "expression": 32,
    }
    for settings in (pretrain["model"]["optimizer"], multitask["model"]["optimizer"]):
        assert (settings["learning_rate"], settings["warmup_rate"], settings["final_rate"]) == (5e-4, 5e-7, 5e-6)
        assert (settings["weight_decay"], settings["trunk_clip"]) == (0.05, 5.0)
    assert (pretrain["model"]["optimizer"]["trunk_rate"], multitask["model"]["optimizer"]["trunk_rate"]) == (1.0, 0.1)


@pytest.mark.parametrize("name", ["pretrain", "multitask", "small", "heads"])
def test_every_configuration_is_read_in_full(name, capsys, tmp_path, monkeypatch):
    """Up to the data, which is not there: the first thing that is missing is named."""
    path = CONFIGS / "swinface" / f"{name}.yaml"
    settings = yaml.safe_load(path.read_text())["model"]
    start = ["--model.start", "null"] if "start" in settings else []
    cpu = [f"--trainer.{option}={value}" for option, value in CPU.items()]
    monkeypatch.chdir(tmp_path)
    assert fit("--config", path, *cpu, *start, "--run", tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert "data/" in error
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--model.optimizer.learning_rat", "1"], "learning_rat"),
        (["--trainer.max_steps", "5"], "max_steps"),
        (["--model.tasks", "[beauty]"], "beauty"),
        (["--model.loss_weights", "{beauty: 1}"], "beauty"),
        (["--model.start", "nowhere"], "nowhere"),
        (["--data.streams.celeba.augment", "cutout"], "cutout"),
        (["--model.swinface.patch_size", "4"], "7x7"),
        (
            ["--model.tasks=[]", "--model.recognition=null", "--model.distillation=0", "--model.relation=0"],
            "nothing to",
        ),
        (["--model.tasks=[]", "--model.optimizer.trunk_rate=0"], "nothing to"),
        (["--model.optimizer.trunk_rate=0"], "give model.start"),
    ],
)
def test_bad_options_are_named(config, options, named, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fit("--config", config, "--run", tmp_path / "run", *options) == 2
    assert named in capsys.readouterr().err
    assert not (tmp_path / "run" / "model.safetensors").exists()
