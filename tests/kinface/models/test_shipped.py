"""The kinship models that come with the package."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from sklearn.metrics import roc_auc_score

from kinface.data.fiw import read_families
from kinface.data.lists import read_list
from kinface.data.pairs import score_pairs
from kinface.models.inference import embed
from kinface.models.kinface import load_model

NAMES = {"shipped": "README.md", "shipped-debiased": "debiased/README.md"}


@pytest.mark.parametrize("name", NAMES)
def test_it_is_whole(name):
    model = load_model(Path(name))
    assert model.trunk is not None and torch.isfinite(model.threshold)
    erasures = [*model.feature_erasures, *model.erasures]
    assert len(erasures) == (4 if name.endswith("debiased") else 0)
    assert all(not torch.equal(it.maps[0], torch.eye(len(it.maps[0]))) for it in erasures)


@pytest.mark.parametrize("name", NAMES)
def test_its_cards_figure_on_unseen_families(shared_data, name):
    families = read_families(shared_data / "fiw")
    pairs = read_list(shared_data / "fiw" / "lists" / "val_choose.txt", families)
    faces = sorted({*pairs["face_a"], *pairs["face_b"]})
    scored = score_pairs(pairs, faces, embed(load_model(Path(name)), faces, root=families.root))
    card = (files("kinface") / "weights" / NAMES[name]).read_text(encoding="utf-8")
    said = float(re.search(r"\| all pairs \| 2714, 2714 \| (\.\d+)", card)[1])
    assert abs(roc_auc_score(scored["kin"], scored["score"]) - said) < 0.002
