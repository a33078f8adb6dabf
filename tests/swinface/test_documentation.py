"""What the README and the documentation tell a reader to type about faces and photos works.

With the models that ship, and small sets in the real ones' places.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from matplotlib import cbook

import kinface.cli.main
import swinface.cli.main
from tests.documentation import PAGES, ROOT, read_blocks

PROGRAMS = {"swinface": swinface.cli.main.COMMANDS, "kinface": {"verify": kinface.cli.main.COMMANDS["verify"]}}


def list_commands() -> list[list[str]]:
    """Each command once."""
    lines = [
        line for page in PAGES for block in read_blocks(page) if block.language == "bash" for line in block.commands()
    ]
    lines = [line for line in lines if line[1] in PROGRAMS.get(line[0], {})]
    return [line for number, line in enumerate(lines) if line not in lines[:number]]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the exporter's own
def test_the_commands_on_faces_work_as_they_are_written(paper_sets, paper_configurations, tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    for name, original in {"data": paper_sets / "data", "configs/swinface": paper_configurations}.items():
        (tmp_path / name).symlink_to(original)
    photo = Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    for name in ("photo", "mother", "daughter"):
        shutil.copy(photo, tmp_path / f"{name}.jpg")
    shutil.copytree(paper_sets / "data" / "fiw" / "Train" / "train-faces" / "F0001" / "MID1", tmp_path / "faces")
    monkeypatch.chdir(tmp_path)
    commands = list_commands()
    assert {line[1] for line in commands} == {"predict", "verify", "convert", "fit", "evaluate", "attention", "export"}
    for program, *command in commands:
        if command[0] == "convert":
            continue  # takes a published checkpoint, see test_checkpoint.py
        if command[0] == "fit":
            command += ["--config", "configs/swinface/smoke.yaml", "--trainer.accelerator", "cpu"]
        if "configs/swinface/multitask.yaml" in command:
            command += ["--model.start", "runs/pretrain"]
        assert swinface.cli.main.run(program, "", PROGRAMS[program], command) == 0, command
    assert (tmp_path / "marked" / "photo.jpg").exists()
    results = json.loads((tmp_path / "results" / "results.json").read_text())
    run = set(pd.read_csv(tmp_path / "results" / "results.csv")["benchmark"])
    assert run == {"clap2015_validation", "utkface_age", "utkface_gender"}
    assert "lfw" in results["skipped"]
    code = [block.text for block in read_blocks(ROOT / "docs" / "tasks" / "swinface.md") if block.language == "python"]
    assert len(code) == 3
    names: dict[str, object] = {}
    for text in code:
        exec(compile(text, "swinface.md", "exec"), names)
    assert names["outputs"]["embedding"].shape == (2, 128)
