"""Kinship is trained on other trunks: a timm ConvNeXt, and an IR-50 in a custom file beside the configuration."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from kinface.models.kinface import KinFace
from swinface.data.embeddings import Embeddings
from tests.commands import run_kinface
from tests.training_runs import TRUNKS

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", ["convnext", pytest.param("ir50", marks=pytest.mark.slow)])
def test_kinship_learns_on_any_trunk(name, synthetic, tmp_path, monkeypatch):
    """With an adversary on its levels, a frozen part, a cache where all of it is frozen, scores, and an export."""
    monkeypatch.setattr("swinface.registry._BESIDE", [])
    shutil.copy(ROOT / "tests" / "own" / "ir50.py", tmp_path)
    model = {"hide": {"race": {"reads": "levels"}}}
    model["network"] = {"trunk": TRUNKS[name], "trained_stages": 1, "width": 16, "size": 8}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"model": model, "trainer": {"accelerator": "cpu"}}))
    base = ["--config", ROOT / "configs" / "kinface" / "base.yaml", "--config", ROOT / "configs" / "smoke.yaml"]
    fit = ["fit", *base, "--config", tmp_path / "mine.yaml", "--data.root", synthetic]
    assert run_kinface(*fit, "--run", tmp_path / "run") == 0
    trained = KinFace.from_pretrained(tmp_path / "run")
    assert trained.trunk.arguments == TRUNKS[name]

    torch.save(trained.trunk.network.state_dict(), tmp_path / "weights.pt")
    frozen = ["--model.network.trunk", {**TRUNKS[name], "weights": str(tmp_path / "weights.pt")}]
    frozen += ["--model.network.trained_stages", 0, "--data.augment", "false", "--data.cache", tmp_path / "cache"]
    assert run_kinface(*fit, *frozen, "--run", tmp_path / "frozen") == 0
    start, kept = trained.trunk.state_dict(), KinFace.from_pretrained(tmp_path / "frozen").trunk.state_dict()
    assert all(torch.equal(start[key], kept[key]) for key in start)
    assert len(list((tmp_path / "cache").iterdir())) == 2

    options = ["--root", synthetic, "--out"]
    exported, full = tmp_path / "run.onnx", ["--precision", "full"]
    assert run_kinface("export", "--model", tmp_path / "run", "--out", exported) == 0
    assert run_kinface("embed", "--model", tmp_path / "run", *full, *options, tmp_path / "ours.npz") == 0
    assert run_kinface("embed", "--recogniser", exported, *options, tmp_path / "onnx.npz") == 0
    faces = pd.read_parquet(synthetic / "faces.parquet")["face"].tolist()
    ours, onnx = (Embeddings(tmp_path / f"{table}.npz")[faces] for table in ("ours", "onnx"))
    assert np.allclose(ours, onnx, atol=1e-4)
    sys.modules.pop("ir50", None)
