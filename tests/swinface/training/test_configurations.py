"""Every configuration that ships, for 200 steps and more in its own precision, with its own augmentation and workers.

What is made smaller is the model, the batches and the data, never the way that a face takes to the losses. Rates are
raised, for they are scaled by the size of the batch.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from swinface.data.datasets import CelebA, ImageFolder, RafDb, UTKFace
from swinface.data.embeddings import write_embeddings
from swinface.model import SwinFace

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "swinface"
EPOCHS, STEPS = 4, 52  # of them each; more than 200 steps together
FACES = 4  # of a stream
STREAMS = ("recognition", "age_gender", "celeba", "expression")
SMALLER = {"embed_dim": 8, "num_heads": "[1,1,1,1]", "width": 16, "embedding_size": 16}
PAPER = {**SMALLER, "depths": "[1,1,1,1]"}


def fit(
    file: Path, run: Path, streams: tuple[str, ...], model: dict, *options: str, processes: int = 1
) -> pd.DataFrame:
    """Train as a configuration says, from the folder of the data sets, in a process of its own; its table of losses."""
    command = [Path(sys.executable).parent / "swinface", "fit", f"--config={file}", *options]
    faces = STEPS * FACES * len(streams) * processes
    command += [f"--trainer.max_epochs={EPOCHS}", f"--data.epoch_size={faces}", "--trainer.accelerator=cpu"]
    command += [f"--data.streams.{stream}.batch_size={FACES}" for stream in streams]
    command += [f"--model.swinface.{option}={value}" for option, value in model.items()]
    command += ["--model.optimizer.learning_rate=0.1", f"--run={run}"]
    done = subprocess.run(command, cwd=run.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert torch.load(run / "last.ckpt", weights_only=True)["global_step"] == EPOCHS * STEPS
    metrics = pd.read_csv(run / "metrics.csv")
    assert len(metrics) == EPOCHS
    assert np.isfinite(metrics).all(axis=None)
    losses = metrics.filter(like="train_")
    with torch.no_grad():
        outputs = SwinFace.from_pretrained(run)(torch.zeros(2, 3, 112, 112))
    assert all(output.isfinite().all() for output in outputs.values())
    return losses.rename(columns=lambda name: name.removeprefix("train_"))


@pytest.fixture(scope="module")
def folder(paper_sets, face_sets, tmp_path_factory) -> Path:
    """What the configurations are run from: data sets in the formats and places that they name, teachers' tables."""
    folder = tmp_path_factory.mktemp("experiments")
    (folder / "data" / "teacher").mkdir(parents=True)
    families = folder / "data" / "fiw" / "Train" / "train-faces"
    for family in ("F0001", "F0002"):
        shutil.copytree(face_sets / "fiw" / "Train" / "train-faces" / "F0001", families / family)
    (folder / "tables").mkdir()
    (folder / "tables" / "tune_families.txt").write_text("F0002\n")
    for path in [*(paper_sets / "data").iterdir(), face_sets / "CelebA"]:
        if path.name != "fiw":
            (folder / "data" / path.name).symlink_to(path.resolve())
    sources = {
        "fiw": ImageFolder(folder / "data" / "fiw", below="Train/train-faces"),
        "celeba": CelebA(folder / "data" / "CelebA"),
        "utkface": UTKFace(folder / "data" / "UTKFace"),
        "rafdb": RafDb(folder / "data" / "RAF-DB"),
    }
    random = np.random.default_rng(0)
    table = sources["fiw"].table
    ages = pd.DataFrame({"face": table["image"], "age": random.uniform(1, 80, len(table))})
    ages.to_parquet(folder / "tables" / "faces.parquet")
    people = table["identity"].unique()
    genders = pd.DataFrame({"person": people, "gender": random.choice(["m", "f"], len(people))})
    genders.to_parquet(folder / "tables" / "people.parquet")
    for name, source in sources.items():
        faces = [*source.table["image"]]
        path = folder / "data" / "teacher" / f"dlib_{name}.npz"
        write_embeddings(path, faces, random.normal(size=(len(faces), 8)))
    return folder


@pytest.fixture(scope="module")
def pretrained(folder, paper_configurations) -> Path:
    fit(paper_configurations / "pretrain.yaml", folder / "pretrain", ("recognition",), PAPER, "--trainer.devices=1")
    return folder / "pretrain"


def test_pretraining_learns_its_identities(pretrained):
    metrics = pd.read_csv(pretrained / "metrics.csv")
    assert list(metrics.filter(like="train_")) == ["train_recognition"]
    assert metrics["train_recognition"].iloc[-1] < 0.9 * metrics["train_recognition"].iloc[0]


def test_all_tasks_at_once_learn_from_the_pretrained_trunk(folder, pretrained, paper_configurations):
    options = f"--model.start={pretrained}", "--trainer.devices=1"
    losses = fit(paper_configurations / "multitask.yaml", folder / "multitask", STREAMS, PAPER, *options)
    assert len(losses.columns) == 1 + 42
    for name in ("recognition", "expression"):  # the weight of the age's distance falls by itself
        assert losses[name].iloc[-1] < losses[name].iloc[0], name


def test_one_task_alone_learns(folder, pretrained, paper_configurations):
    overlay = f"--config={CONFIGS / 'single_task.yaml'}"
    options = overlay, f"--model.start={pretrained}", "--trainer.devices=1"
    losses = fit(paper_configurations / "multitask.yaml", folder / "single", STREAMS, PAPER, *options)
    assert list(losses) == ["expression"]
    assert losses["expression"].iloc[-1] < losses["expression"].iloc[0]


def test_a_model_is_fine_tuned_on_clap2015(folder, pretrained, paper_configurations):
    start = folder / "whole"
    SwinFace(**{option: yaml.safe_load(str(value)) for option, value in PAPER.items()}).save_pretrained(start)
    overlay = f"--config={CONFIGS / 'clap2015.yaml'}"
    losses = fit(
        paper_configurations / "multitask.yaml",
        folder / "clap",
        ("age_gender",),
        PAPER,
        overlay,
        f"--model.start={start}",
    )
    assert list(losses) == ["age"]
    metrics = pd.read_csv(folder / "clap" / "metrics.csv")
    assert metrics["error"].tolist() == pytest.approx((metrics["val_age_MAE_years"] / 10).tolist())
    assert metrics["val_age_MAE_years"].iloc[-1] < metrics["val_age_MAE_years"].iloc[0]


def test_the_model_that_ships_learns_in_two_processes(folder):
    losses = fit(CONFIGS / "small.yaml", folder / "small", STREAMS, SMALLER, processes=2)
    assert len(losses.columns) == 3 + 42
    for name in ("recognition", "distillation"):
        assert losses[name].iloc[-1] < losses[name].iloc[0], name
