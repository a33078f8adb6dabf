"""``swinface fit`` on other trunks: a ConvNeXt of timm, and an IR-50 in a file beside the configuration."""

from __future__ import annotations

import shutil
import sys

import pytest
import torch
import yaml

from swinface.model import SwinFace
from tests.training_runs import CONFIGS, TRUNKS, fit


@pytest.mark.parametrize("name", ["ir50", pytest.param("convnext", marks=pytest.mark.slow)])
def test_a_run_on_another_trunk_starts_from_its_weights_and_leaves_a_model(name, config, tmp_path, monkeypatch):
    monkeypatch.setattr("swinface.registry._BESIDE", [])
    settings = yaml.safe_load(config.read_text())
    settings["model"]["swinface"] = {"trunk": TRUNKS[name], "width": 16, "embedding_size": 12}
    settings["trainer"]["max_epochs"] = 1
    mine = tmp_path / "mine.yaml"
    mine.write_text(yaml.safe_dump(settings))
    shutil.copy(CONFIGS.parent / "tests" / "own" / "ir50.py", tmp_path)
    assert fit("--config", mine, "--run", tmp_path / "run") == 0
    first = SwinFace.from_pretrained(tmp_path / "run").trunk
    assert first.arguments == TRUNKS[name]

    torch.save(first.network.state_dict(), tmp_path / "weights.pt")
    settings["model"]["swinface"]["trunk"] = {**TRUNKS[name], "weights": str(tmp_path / "weights.pt")}
    settings["model"]["optimizer"] = {"learning_rate": 0.0, "warmup_rate": 0.0, "final_rate": 0.0}
    mine.write_text(yaml.safe_dump(settings))
    assert fit("--config", mine, "--run", tmp_path / "again") == 0
    again = SwinFace.from_pretrained(tmp_path / "again").trunk
    assert again.arguments == TRUNKS[name]
    for (key, ours), theirs in zip(again.named_parameters(), first.parameters(), strict=True):
        assert torch.equal(ours, theirs), key
    sys.modules.pop("ir50", None)
