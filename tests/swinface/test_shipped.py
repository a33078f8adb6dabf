"""The models that come with the package: small enough, whole, and as good on unseen faces as their cards say."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pandas as pd
import pytest
from matplotlib import cbook

from swinface.benchmarks.benchmark import Predictor
from swinface.benchmarks.protocols import Age, Gender
from swinface.data.datasets import ImageFolder, UTKFace
from swinface.model import SwinFace
from swinface.photos.predict import predict

MOST_BYTES = 15_000_000


@pytest.fixture(scope="module")
def model() -> SwinFace:
    return SwinFace.from_pretrained("shipped")


@pytest.fixture(scope="module")
def card() -> str:
    return (files("swinface") / "weights" / "README.md").read_text(encoding="utf-8")


def test_all_models_together_are_small_and_each_has_a_card():
    folders = [files(package) / "weights" for package in ("swinface", "kinface")]
    folders.append(folders[-1] / "debiased")
    sizes = [file.stat().st_size for folder in folders for file in folder.iterdir() if file.is_file()]
    assert sum(sizes) <= MOST_BYTES
    for folder in folders:
        text = (folder / "README.md").read_text(encoding="utf-8")
        assert "research only" in text and "must not be used for" in text


def test_every_head_is_trained(model, card):
    assert model.untrained == []
    assert "All heads are trained" in card


def test_the_released_model_describes_a_public_photo(model):
    (face,) = predict(model, Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    assert face["gender"]["label"] == "female"
    assert 50 < face["age"] < 90  # she was 77
    assert face["attributes"]["wearing_hat"] > 0.5
    assert face["attributes"]["mustache"] < 0.1


def test_the_cards_figures_on_unseen_faces(model, card, shared_data):
    source = UTKFace(shared_data / "UTKFace", part="held_out")
    predictor = Predictor(model, runtime="torch")  # as when the card was written
    found = [*Age(source).run(predictor), *Gender(source).run(predictor)]
    said = re.findall(r"\| (?:UTKFace, a fifth)? ?\| .*n = ([\d,]+) \| ([\d.]+) \[", card)
    said = [(int(n.replace(",", "")), float(value)) for n, value in said][-len(found) - 1 :]
    assert len(found) == 4
    for result in found:
        assert any(n == result.n and abs(value - result.ours) < 0.1 for n, value in said), (result.metric, result.ours)


def test_ages_are_right_on_a_set_whose_photos_have_no_bars(model, shared_data, tmp_path):
    """The card's figures on FIW, against the predictions of another model that come with it, on some of the faces."""
    stated = pd.read_csv(shared_data / "fiw" / "annotations" / "faces_predicted.csv").query("age_mivolo > 0")
    stated.rename(columns={"age_mivolo": "age"})[["face", "age"]].to_csv(tmp_path / "ages.csv", index=False)
    source = ImageFolder(shared_data / "fiw", below="Validation/val-faces", labels={"age": tmp_path / "ages.csv"})
    source.table = source.table.dropna(subset=["age"])[::7].reset_index(drop=True)
    error, shift, *_ = Age(source).run(Predictor(model))
    assert error.n > 400
    assert error.ours < 6
    assert abs(shift.ours) < 2
