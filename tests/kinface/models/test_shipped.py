"""The kinship model that comes with the package."""

from __future__ import annotations

import re
from importlib.resources import files

import torch
from sklearn.metrics import roc_auc_score

from kinface.data.fiw import read_families
from kinface.data.lists import read_list
from kinface.data.pairs import score_pairs
from kinface.models.inference import embed, load_model
from swinface.pretrained import SHIPPED


def test_it_is_whole():
    model = load_model(SHIPPED)
    assert model.trunk is not None and torch.isfinite(model.threshold)


def test_its_cards_figure_on_unseen_families(shared_data):
    families = read_families(shared_data / "fiw")
    pairs = read_list(shared_data / "fiw" / "lists" / "val_choose.txt", families)
    faces = sorted({*pairs["face_a"], *pairs["face_b"]})
    scored = score_pairs(pairs, faces, embed(load_model(SHIPPED), faces, root=families.root))
    card = (files("kinface") / "weights" / "README.md").read_text(encoding="utf-8")
    said = float(re.search(r"\| all pairs \| 2714, 2714 \| (\.\d+)", card)[1])
    assert abs(roc_auc_score(scored["kin"], scored["score"]) - said) < 0.002
