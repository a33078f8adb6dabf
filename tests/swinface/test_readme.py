"""The README's commands on faces, as written, with the models that ship and small sets in the real ones' places."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pandas as pd
import pytest
from matplotlib import cbook

import kinface.cli.main
import swinface.cli.main

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {"swinface": swinface.cli.main.COMMANDS, "kinface": {"verify": kinface.cli.main.COMMANDS["verify"]}}


def commands() -> list[list[str]]:
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines() if line]
    return [line for line in lines if line[1] in PROGRAMS.get(line[0], {})]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the exporter's own
def test_the_readmes_commands_on_faces_work(paper_sets, tmp_path, monkeypatch):
    for name, original in {"data": paper_sets / "data", "configs": ROOT / "configs"}.items():
        (tmp_path / name).symlink_to(original)
    photo = Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    for name in ("photo", "mother", "daughter"):
        shutil.copy(photo, tmp_path / f"{name}.jpg")
    shutil.copytree(paper_sets / "data" / "fiw" / "Train" / "train-faces" / "F0001" / "MID1", tmp_path / "faces")
    monkeypatch.chdir(tmp_path)
    run = {line[1] for line in commands()}
    assert run == {"predict", "verify", "convert", "fit", "evaluate", "attention", "export"}
    for program, *command in commands():
        if command[0] == "convert":
            continue  # takes a published checkpoint, see test_checkpoint.py
        if command[0] == "fit":
            command += ["--config", "configs/swinface/smoke.yaml", "--trainer.accelerator", "cpu"]
        if "configs/swinface/multitask.yaml" in command:
            command += ["--model.start", "runs/pretrain"]
        assert swinface.cli.main.run(program, "", PROGRAMS[program], command) == 0, command
    assert (tmp_path / "marked" / "photo.jpg").exists()
    results = json.loads((tmp_path / "results" / "results.json").read_text())
    assert {"utkface_age", "utkface_gender"} == set(pd.read_csv(tmp_path / "results" / "results.csv")["benchmark"])
    assert "lfw" in results["skipped"]
