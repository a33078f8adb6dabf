"""Every configuration that ships, for 200 steps and more in its own precision, with its own augmentation and processes.

What is made smaller is the trunk, the data and the basis of kernel adversaries, never the way of a face to the losses.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from kinface.data.fiw import read_families
from kinface.debias.adversaries import KernelAdversary
from kinface.experiments.ablation import read_ablation
from kinface.models.kinface import KinFace, load_model
from kinface.training.fit import fit
from swinface.data.embeddings import Embeddings, write_embeddings
from swinface.model import SwinFace
from swinface.settings import merge_settings

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "kinface"
TRUNK = {"embed_dim": 8, "depths": [1, 1, 1], "num_heads": [1, 1, 1], "patch_size": 4}
EPOCHS, STEPS = 2, 104  # of them each; more than 200 steps together
BASIS = 64  # of kernel adversaries
INPUTS = {"embeddings": "embeddings.npz", "teacher": "teacher.npz"}
ABLATION = read_ablation(CONFIGS / "ablation.yaml", {})
TRAINED = {name: next(run.config for run in ABLATION.runs if run.method == name) for name in ABLATION.methods}
# Some methods change a model after training alone: of those that train alike, the first.
METHODS = [name for place, name in enumerate(TRAINED) if TRAINED[name] not in [*TRAINED.values()][:place]]


@pytest.fixture(scope="module")
def inputs(synthetic, tmp_path_factory) -> Path:
    """A folder with embeddings that show person, race and gender, a teacher's, and a small SwinFace and KinFace."""
    folder = tmp_path_factory.mktemp("inputs")
    faces = read_families(synthetic).faces
    random = np.random.default_rng(0)
    for name, size in (("embeddings", 24), ("teacher", 10)):
        family, person = (pd.factorize(faces[column])[0] for column in ("family", "person"))
        embedding = random.normal(size=(family.max() + 1, size))[family]
        embedding = embedding + random.normal(size=(person.max() + 1, size))[person]
        embedding += 0.3 * random.normal(size=embedding.shape)
        embedding[:, 0] += pd.factorize(faces["race"])[0]
        write_embeddings(folder / INPUTS[name], [*faces["face"]], embedding)
    torch.manual_seed(0)
    SwinFace(**TRUNK, width=16).save_pretrained(folder / "swinface")
    KinFace(trunk=TRUNK, width=32, size=32).save_pretrained(folder / "kinface")
    return folder


COMMAND = f"""
from kinface.cli.main import main
from kinface.debias.adversaries import KernelAdversary
KernelAdversary.BASIS = {BASIS}
main()
"""


def fit_in_a_process(config: dict, run: Path) -> None:
    """Train in a process of its own, as a configuration that asks for several processes needs."""
    file, script = run.with_suffix(".yaml"), run.with_suffix(".py")
    file.write_text(yaml.safe_dump(config))
    script.write_text(COMMAND)
    command = [sys.executable, script, "fit", "--config", file, "--run", run]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def check_run(run: Path, config: dict, root: Path) -> None:
    """The steps are done, the losses are numbers, and the model that was written embeds faces."""
    last = torch.load(run / "last.ckpt", map_location="cpu", weights_only=True)
    assert last["global_step"] == config["trainer"]["max_epochs"] * config["data"]["steps"] >= 200
    metrics = pd.read_csv(run / "metrics.csv")
    assert len(metrics) == config["trainer"]["max_epochs"]
    losses = metrics.filter(like="train_")
    assert len(losses.columns) > 0
    assert np.isfinite(losses).all(axis=None)
    assert metrics["tune_auc"].between(0, 1).all()
    model = load_model(run)
    assert np.isfinite(float(model.threshold))
    families = read_families(root)
    table = config["data"].get("embeddings")
    faces = [*families.faces["face"]][:8]
    embedding = model.embed(faces if table is None else Embeddings(Path(table))[faces], root=families.root)
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-5)


def read_config(name: str) -> dict:
    return yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())


OVERLAYS = {"base": [], "demo": ["methods/ours", "demo"], "small_debiased": ["small", "small_debiased"]}
OVERLAYS |= {name: [name] for name in ("type", "joint", "small")}


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_configuration_trains_for_hundreds_of_steps(name, synthetic, inputs, tmp_path):
    config = read_config("base")
    for overlay in OVERLAYS[name]:
        config = merge_settings(config, read_config(overlay))
    config = merge_settings(config, {"trainer": {"max_epochs": EPOCHS, "enable_progress_bar": False}})
    config = merge_settings(config, {"model": {"network": {"width": 32, "size": 32}}})
    config = merge_settings(config, {"data": {"root": str(synthetic), "steps": STEPS}})
    network = config["model"]["network"]
    if network.get("kinface"):
        network["kinface"] = str(inputs / "kinface")
    elif network.get("swinface"):
        network["swinface"] = str(inputs / "swinface")
    else:
        network["trunk"] = TRUNK
    if "small" in OVERLAYS[name]:
        config["data"]["teacher"] = str(inputs / INPUTS["teacher"])
    if name == "demo":
        config["data"]["cache"] = str(tmp_path / "cache")
    run = tmp_path / name
    fit_in_a_process(config, run)
    check_run(run, config, synthetic)
    steps = config["model"].get("erase", [])
    written = json.loads((run / "config.json").read_text())["erase"]
    assert [(step["method"], {*step["attributes"]}, step["inside"]) for step in written] == [
        (step["method"], {*step["attributes"]}, step.get("inside", False)) for step in steps
    ]


@pytest.mark.parametrize("method", METHODS)
def test_a_method_of_the_ablation_trains_for_hundreds_of_steps(method, synthetic, inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(KernelAdversary, "BASIS", BASIS)
    config = TRAINED[method]
    size = 33 if "domains" in config["model"] else 32  # three projections share it
    data = {"root": str(synthetic), "steps": STEPS, "embeddings": str(inputs / INPUTS["embeddings"])}
    changes = {"trainer": {"max_epochs": EPOCHS, "enable_progress_bar": False}, "data": data}
    config = merge_settings(config, changes | {"model": {"network": {"width": 64, "size": size}}})
    file, run = tmp_path / "config.yaml", tmp_path / "run"
    file.write_text(yaml.safe_dump(config))
    fit(file, run=run)
    check_run(run, config, synthetic)
