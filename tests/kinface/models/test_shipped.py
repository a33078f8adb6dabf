"""The kinship models that come with the package."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from kinface.data.fiw import read_families
from kinface.data.lists import read_list
from kinface.data.pairs import score_pairs
from kinface.fairness.distributions import EDGES
from kinface.models.kinface import load_model
from kinface.models.verify import SCORES, read_errors, read_record

NAMES = {"shipped": "README.md", "shipped-debiased": "debiased/README.md"}


@pytest.mark.parametrize("name", NAMES)
def test_it_is_whole(name):
    model = load_model(Path(name))
    assert model.trunk is not None and torch.isfinite(model.threshold)
    erasures = [*model.feature_erasures, *model.erasures]
    assert len(erasures) == (4 if name.endswith("debiased") else 0)
    assert all(not torch.equal(it.maps[0], torch.eye(len(it.maps[0]))) for it in erasures)


@pytest.mark.parametrize("name", NAMES)
def test_it_carries_the_scores_that_its_errors_are_of(name):
    errors, rows = read_errors(Path(name)), read_record(Path(name), SCORES)
    overall, threshold = rows[0], float(load_model(Path(name)).threshold)
    assert {rate: overall[rate] for rate in errors} == pytest.approx(errors)
    at = np.searchsorted(EDGES, threshold)  # the threshold lies within a bin
    for kind, rate in (("non_kin", errors["fmr"]), ("kin", 1 - errors["fnmr"])):
        counts = overall[f"{kind}_scores"]
        assert sum(counts[at:]) <= rate * errors[kind] + 1e-6 <= sum(counts[at - 1 :]) + 1e-6
    assert {("race", "Asian"), ("type", "gmgd")} <= {(row["grouping"], row["group"]) for row in rows}


@pytest.mark.parametrize("name", ["shipped", pytest.param("shipped-debiased", marks=pytest.mark.slow)])
def test_its_cards_figure_on_unseen_families(shared_data, name):
    families = read_families(shared_data / "fiw")
    pairs = read_list(shared_data / "fiw" / "lists" / "val_choose.txt", families)
    faces = sorted({*pairs["face_a"], *pairs["face_b"]})
    scored = score_pairs(pairs, faces, load_model(Path(name)).embed(faces, root=families.root))
    card = (files("kinface") / "weights" / NAMES[name]).read_text(encoding="utf-8")
    said = float(re.search(r"\| all pairs \| 2714, 2714 \| (\.\d+)", card)[1])
    assert abs(roc_auc_score(scored["kin"], scored["score"]) - said) < 0.002
