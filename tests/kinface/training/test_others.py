"""Erasures are fitted on other people too."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from kinface.debias.erasure import Erasure
from kinface.debias.leace import Leace
from kinface.debias.transport import Transport
from kinface.models.inference import describe_faces
from kinface.models.kinface import KinFace
from swinface.data.embeddings import write_embeddings
from tests.commands import run_kinface
from tests.training_runs import CONFIGS

GENDER = ["f", "m"]


def test_transport_takes_the_others_for_the_same_classes_and_leace_for_classes_of_their_own():
    rng = np.random.default_rng(0)
    labels, others = ({name: torch.from_numpy(rng.integers(-1, 2, count)) for name in names} for count, names in
                      ((60, ("race", "gender")), (40, ("race",))))  # fmt: skip
    x, unknown = torch.from_numpy(rng.normal(size=(100, 4))), torch.full((40,), -1)
    classes = {"race": ["A", "B"], "gender": ["f", "m"]}

    def moved(method: str, names: list[str]) -> np.ndarray:
        erasure = Erasure(4, {name: classes[name] for name in names}, method).eval()
        erasure.fit(x, labels, torch.ones(100), torch.arange(100), others)
        return erasure(x.float()).numpy()

    own = {name: torch.cat([codes, unknown]).numpy() for name, codes in labels.items()}
    theirs = torch.cat([torch.full((60,), -1), others["race"]]).numpy()
    y = np.stack([own["race"], theirs, own["gender"]], axis=1)
    np.testing.assert_allclose(moved("leace", ["race", "gender"]), Leace().fit(x, y).transform(x), atol=1e-5)
    joined = np.concatenate([labels["race"], others["race"]])
    np.testing.assert_allclose(moved("transport", ["race"]), Transport().fit(x, joined).transform(x), atol=1e-5)
    gender = Transport().fit(x, own["gender"]).transform(x)
    np.testing.assert_allclose(moved("transport", ["gender"]), gender, atol=1e-5)


@pytest.fixture
def others(tmp_path) -> dict[str, str]:
    """People with one face each, whose gender shows in the first number and whose race is unknown."""
    rng = np.random.default_rng(1)
    faces = [f"other{number}.jpg" for number in range(80)]
    gender = np.resize(GENDER, len(faces))
    embedding = rng.normal(size=(len(faces), 12))
    embedding[:, 0] += 3 * (gender == "m")
    write_embeddings(tmp_path / "others.npz", faces, embedding)
    people = pd.DataFrame({"face": faces, "person": faces, "family": faces, "gender": gender})
    people.to_csv(tmp_path / "others.csv", index=False)
    return {"data.others": tmp_path / "others.csv", "data.others_embeddings": tmp_path / "others.npz"}


def fit(synthetic, tmp_path, **options) -> int:
    faces = pd.read_parquet(synthetic / "faces.parquet")["face"]
    write_embeddings(tmp_path / "table.npz", list(faces), np.random.default_rng(0).normal(size=(len(faces), 12)))
    model = {"erase": [{"attributes": ["gender"], "at": "features", "inside": True}]}
    (tmp_path / "overlay.yaml").write_text(yaml.safe_dump({"model": model}))
    configs = [CONFIGS / "kinface" / "base.yaml", CONFIGS / "smoke.yaml", tmp_path / "overlay.yaml"]
    given = {"data.root": synthetic, "data.embeddings": tmp_path / "table.npz", "run": tmp_path / "run"}
    given |= {"trainer.accelerator": "cpu", "trainer.devices": 1, "trainer.enable_progress_bar": "false"} | options
    arguments = [f"--config={path}" for path in configs] + [f"--{name}={it}" for name, it in given.items()]
    return run_kinface("fit", *arguments)


def test_the_features_of_others_have_equal_class_means_after_training(synthetic, tmp_path, others, capsys):
    assert fit(synthetic, tmp_path, **others) == 0
    model = KinFace.from_pretrained(tmp_path / "run")
    people = pd.read_csv(others["data.others"])
    found = describe_faces(model, np.load(others["data.others_embeddings"])["embedding"])
    men = people["gender"] == "m"
    apart = {name: np.linalg.norm(it[men].mean(axis=0) - it[~men].mean(axis=0)) for name, it in found.items()}
    assert apart["neck"] > 0.5
    assert apart["features"] < 1e-3 * apart["neck"]
    (tmp_path / "run" / "model.safetensors").unlink()  # as if it had been interrupted
    people.assign(gender=people["gender"].to_numpy()[::-1]).to_csv(others["data.others"], index=False)
    assert fit(synthetic, tmp_path, **others) == 2
    assert "data: its people, lists or embeddings are not those" in capsys.readouterr().err


def test_others_of_a_model_that_sees_images_are_read_from_the_folder_of_their_table(synthetic, tmp_path):
    rng = np.random.default_rng(0)
    names = [f"{number}.png" for number in range(6)]
    for name in names:
        Image.fromarray(rng.integers(0, 255, (112, 112, 3), dtype=np.uint8)).save(tmp_path / name)
    people = pd.DataFrame({"face": names, "person": names, "family": names, "gender": GENDER * 3})
    people.to_csv(tmp_path / "others.csv", index=False)
    assert fit(synthetic, tmp_path, **{"data.others": tmp_path / "others.csv", "data.embeddings": "null"}) == 0


def test_what_does_not_fit_is_refused(synthetic, tmp_path, others, capsys):
    only_table = {"data.others": others["data.others"]}
    assert fit(synthetic, tmp_path, **only_table) == 2
    assert "data.others_embeddings goes with data.others" in capsys.readouterr().err
    pd.read_csv(others["data.others"]).assign(gender="male").to_csv(tmp_path / "others.csv", index=False)
    assert fit(synthetic, tmp_path, **others) == 2
    assert "data.others: no column of gender has two of its classes" in capsys.readouterr().err
